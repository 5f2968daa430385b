use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Failure, Result};
use crate::output::Spinner;
use crate::platform::lock::{Holder, holder};
use crate::platform::options::data_folder;
use crate::session::Session;

/// Longer than the supervisor waits for both of its parts.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stop the platform on this machine; the apps go on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir down\n  weir down --data /srv/weir")]
pub(crate) struct Args {
    /// The data folder of the Weir that is meant.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let data = data_folder(args.data.as_deref())?;
    let ui = &session.ui;
    let Holder::Process(pid) = holder(&data)? else {
        return ui.result(&serde_json::json!({ "stopped": false }), || {
            ui.note(&format!("no Weir runs on {}", data.display()));
            Ok(())
        });
    };
    match kill(Pid::from_raw(pid), Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(Errno::EPERM) => {
            return Err(
                Failure::not_allowed(format!("Weir runs as process {pid} of another user")).hint("sudo weir down"),
            );
        }
        Err(error) => return Err(Failure::failed(format!("cannot stop process {pid}")).detail(error.to_string())),
    }
    let end = Instant::now() + PATIENCE;
    let mut spinner = Spinner::new(ui, "stopping Weir");
    while holder(&data)? == Holder::Process(pid) {
        if Instant::now() > end {
            return Err(Failure::failed(format!("Weir (process {pid}) does not end"))
                .hint(format!("end it the hard way: kill -9 {pid}")));
        }
        tokio::time::sleep(Spinner::PERIOD).await;
        spinner.tick();
    }
    spinner.clear();
    ui.result(&serde_json::json!({ "stopped": true, "process": pid }), || {
        ui.note("Weir is stopped; the apps go on");
        Ok(())
    })
}
