use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use crate::failure::{Failure, Result};
use crate::platform::executable::executable;
use crate::platform::lock::{Holder, holder};
use crate::platform::options::data_folder;
use crate::platform::upgrade::{Order, Word, socket};
use crate::session::Session;

/// Longest wait for the next word of the Weir that is upgraded.
const PATIENCE: Duration = Duration::from_secs(300);
/// Longest time that a node may end what it has.
const LONGEST_DRAIN: Duration = Duration::from_secs(24 * 3600);

/// Have the running Weir go on as this program, or as another one, without dropping a request.
///
/// The new one serves beside the old one first; requests, websockets and downloads that the old
/// one has begun end there. If the new one does not become ready, all goes on as before.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  ./weir-new upgrade\n  weir upgrade /usr/local/bin/weir\n  weir upgrade --drain 1h --data /srv/weir"
)]
pub(crate) struct Args {
    /// The program to go on as; otherwise this one.
    program: Option<PathBuf>,
    /// The data folder of the Weir that is meant.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How long websockets and long answers may go on at the old one; what is left then is cut.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = drain)]
    drain: Duration,
    /// Also where the program is older than what the store was written by.
    #[arg(long)]
    force: bool,
}

fn drain(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if (Duration::from_secs(1)..=LONGEST_DRAIN).contains(&time) => Ok(time),
        Ok(_) => Err("it must be from 1s to 24h".to_owned()),
        Err(_) => Err("that is no time like 30s, 10m or 2h".to_owned()),
    }
}

#[derive(Serialize)]
struct Upgraded {
    from: String,
    to: String,
    program: PathBuf,
    process: i32,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let data = data_folder(args.data.as_deref())?;
    let Holder::Process(process) = holder(&data)? else {
        return Err(Failure::conflict(format!("no Weir runs on {}", data.display()))
            .hint(format!("start it: weir up --data {}", data.display())));
    };
    let program = match args.program {
        Some(program) => program,
        None => executable()
            .map_err(|error| Failure::failed("cannot find the path of weir itself").detail(error.to_string()))?,
    };
    let program = std::fs::canonicalize(&program).map_err(|error| Failure::file("find", &program, &error))?;
    let order = Order {
        program: program.clone(),
        drain_s: args.drain.as_secs(),
        force: args.force,
    };
    let path = socket(&data);
    let stream = UnixStream::connect(&path).await.map_err(|error| {
        Failure::unreachable(format!("Weir (process {process}) takes no orders at {}", path.display()))
            .detail(error.to_string())
            .hint("if it is stopping, start it again: weir up; if it is an older one that cannot do this: weir down && weir up")
    })?;
    let (from, to) = follow(stream, &order, session).await?;
    let upgraded = Upgraded {
        from,
        to,
        program,
        process,
    };
    session.ui.result(&upgraded, || {
        session.ui.note(&format!(
            "Weir {} runs now; before it was {}.",
            upgraded.to, upgraded.from
        ));
        Ok(())
    })
}

/// Says what the running Weir does, until it is done.
async fn follow(mut stream: UnixStream, order: &Order, session: &Session) -> Result<(String, String)> {
    let broke = |error: &std::io::Error| {
        Failure::failed("`weir up` ended in the middle of the upgrade")
            .detail(error.to_string())
            .hint("its log says why; start it again: weir up")
    };
    let mut line = serde_json::to_vec(order)
        .map_err(|error| Failure::failed("cannot write the order").detail(error.to_string()))?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(|error| broke(&error))?;
    let mut words = BufReader::new(stream).lines();
    loop {
        let next = tokio::time::timeout(PATIENCE, words.next_line()).await;
        let next = next.map_err(|_late| {
            Failure::unreachable("Weir does not say how far the upgrade is").hint("see its log, and `weir status`")
        })?;
        let Some(line) = next.map_err(|error| broke(&error))? else {
            return Err(broke(&std::io::ErrorKind::UnexpectedEof.into()));
        };
        // A newer one may say what this one does not know.
        match serde_json::from_str(&line) {
            Ok(Word::Step(words)) => session.ui.note(&words),
            Ok(Word::Done { from, to }) => return Ok((from, to)),
            Ok(Word::Failed { message, detail, hint }) => {
                let mut failure = Failure::failed(message);
                failure.detail = detail;
                failure.hint = hint;
                return Err(failure);
            }
            Err(_unknown) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_drain_is_bounded() {
        assert_eq!(drain("10m"), Ok(Duration::from_secs(600)));
        for wrong in ["0s", "25h", "soon", ""] {
            assert!(drain(wrong).is_err(), "{wrong} was accepted");
        }
    }
}
