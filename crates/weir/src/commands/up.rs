use std::path::Path;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, Result};
use crate::platform::executable::this_program;
use crate::platform::handover::HandedOver;
use crate::platform::lock::Lock;
use crate::platform::log::{Log, RotatingFile, Sink};
use crate::platform::options::PlatformOptions;
use crate::platform::ready::{Addresses, is_ready};
use crate::platform::supervisor::{self, End, Stops};
use crate::platform::{background, engine_check, lock, prepare, strays};
use crate::session::Session;

/// Run the platform on this machine.
///
/// Stays in the foreground with a readable log (times are UTC); Ctrl-C stops the platform and
/// leaves the apps running, and the next start finds them. WEIR_LOG=debug says more.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir up\n  weir up --background && weir project create shop\n  weir up --data /srv/weir --http 0.0.0.0:80 --domain apps.example.org\n  WEIR_DATABASE=postgres://weir@db/weir weir up"
)]
pub(crate) struct Args {
    #[command(flatten)]
    options: PlatformOptions,
    /// Return once everything is ready; the log is DIR/log/weir.log.
    #[arg(long)]
    background: bool,
    /// What `--background` starts: without a terminal, with the log in a file.
    #[arg(long, hide = true, conflicts_with = "background")]
    detached: bool,
    /// The program before has handed over what it kept.
    #[arg(long, hide = true, conflicts_with = "background")]
    handed_over_on_stdin: bool,
}

pub(crate) async fn run(mut args: Args, session: &Session) -> Result<()> {
    if args.background {
        engine_check::check(|words| session.ui.note(words)).await?;
        return background::start(&args.options, &session.ui).await;
    }
    if args.detached {
        // Out of the terminal's session, so that closing it does not end the platform.
        let _ = nix::unistd::setsid();
    }
    let data = args.options.data()?;
    // Said here, where somebody reads it, and not by the part that needs it.
    args.options.config()?;
    prepare::data_folder(&data)?;
    let (lock, handed) = match args.handed_over_on_stdin {
        true => take_over(&mut args)?,
        false => (begin(&mut args, &data, session).await?, None),
    };
    let sink = if args.detached {
        let path = background::log_file(&data);
        Sink::File(RotatingFile::open(&path).map_err(|error| Failure::file("open", &path, &error))?)
    } else if session.ui.is_json() {
        Sink::Json(session.ui.clone())
    } else {
        Sink::Screen(session.ui.clone())
    };
    let log = Log::start(sink);
    let result = supervise(&args, session, &log, handed).await;
    if let Ok(End::GoOnAs(program, handed)) = result {
        return Err(go_on_as(&program, handed, &lock, &log));
    }
    log.finish();
    drop(lock);
    result.map(drop)
}

/// From nothing: nobody else may have the data folder or the addresses.
async fn begin(args: &mut Args, data: &Path, session: &Session) -> Result<Lock> {
    let lock = lock::take(data)?;
    let say = |words: &str| session.ui.note(words);
    strays::end(data, say).await;
    engine_check::check(say).await?;
    prepare::free_address(args.options.control, "--control", say).await?;
    prepare::free_address(args.options.http, "--http", say).await?;
    args.options.settle_https(say);
    if let Some(address) = args.options.https() {
        prepare::free_address(address, "--https", say).await?;
    }
    Ok(lock)
}

/// From what this process had as the program before.
fn take_over(args: &mut Args) -> Result<(Lock, Option<HandedOver>)> {
    let lost = |why: String| {
        Failure::failed("what the program before has handed over is not understood")
            .detail(why)
            .hint("start it anew: weir up")
    };
    let mut handed = HandedOver::take(std::io::stdin()).map_err(|error| lost(error.to_string()))?;
    let lock = handed
        .lock
        .take()
        .ok_or_else(|| lost("the lock of the data folder is missing".to_owned()))?;
    args.options.https_is(handed.https);
    Ok((Lock::adopt(lock), Some(handed)))
}

/// Comes back only if that fails; then the parts end as after the death of this process.
fn go_on_as(program: &Path, mut handed: HandedOver, lock: &Lock, log: &Log) -> Failure {
    let cannot = |error: std::io::Error| {
        Failure::failed(format!("cannot go on as {}", program.display())).detail(error.to_string())
    };
    handed.lock = match lock.descriptor() {
        Ok(descriptor) => Some(descriptor),
        Err(error) => return cannot(error),
    };
    log.flush();
    let error = handed.go_on_as(program);
    log.warn(&format!(
        "cannot go on as {} ({error}); going on as before",
        program.display()
    ));
    log.flush();
    match this_program() {
        Ok(own) => cannot(handed.go_on_as(&own)),
        Err(error) => cannot(error),
    }
}

async fn supervise(args: &Args, session: &Session, log: &Log, handed: Option<HandedOver>) -> Result<End> {
    if handed.is_none() {
        log.say(&format!(
            "starting weir {} on {}",
            env!("CARGO_PKG_VERSION"),
            args.options.data()?.display()
        ));
    }
    for words in prepare::protect() {
        log.say(words);
    }
    let stops = Stops {
        control: CancellationToken::new(),
        node: CancellationToken::new(),
        at_once: CancellationToken::new(),
    };
    let result = tokio::select! {
        result = supervisor::watch_over(&args.options, log, &stops, handed) => result,
        // Neither of these two ever ends.
        result = stop_by_signal(log, &stops) => result,
        result = announce(args, session, log) => result,
    };
    if matches!(result, Ok(End::GoOnAs(..))) {
        return result;
    }
    log.say("stopped; the apps go on, unmetered, until the next start (`weir down --stop-apps` ends them)");
    result
}

/// The first signal stops the parts in order, the second one at once.
async fn stop_by_signal(log: &Log, stops: &Stops) -> Result<End> {
    let watch =
        |kind| signal(kind).map_err(|error| Failure::failed("cannot watch for signals").detail(error.to_string()));
    let (mut terminate, mut interrupt, mut hang_up) = (
        watch(SignalKind::terminate())?,
        watch(SignalKind::interrupt())?,
        watch(SignalKind::hangup())?,
    );
    loop {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = hang_up.recv() => {}
        }
        if stops.control.is_cancelled() {
            stops.at_once.cancel();
            continue;
        }
        log.say("stopping (again to stop at once)");
        stops.control.cancel();
    }
}

/// Says once that it is ready.
async fn announce(args: &Args, session: &Session, log: &Log) -> Result<End> {
    let addresses = Addresses::of(&args.options)?;
    while !is_ready(&args.options).await {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    let https = args.options.https();
    let https = https.map_or_else(String::new, |address| format!(" and, by TLS, on {address}"));
    log.say(&format!(
        "ready: API and git on {}, applications on {}{https}",
        args.options.control, args.options.http
    ));
    if !args.detached && !args.handed_over_on_stdin && !session.ui.is_json() {
        session.ui.say(&addresses.text(&session.ui));
    }
    std::future::pending().await
}
