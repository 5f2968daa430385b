use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use weir_engine::EngineError;

use crate::failure::{Failure, Result};
use crate::output::Spinner;
use crate::platform::left::LeftApps;
use crate::platform::lock::{Holder, holder};
use crate::platform::options::data_folder;
use crate::session::Session;

/// Longer than the supervisor waits for both of its parts.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stop the platform on this machine; the apps go on, unless told otherwise.
///
/// What goes on is not metered and knows no cap until the next `weir up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir down\n  weir down --stop-apps\n  weir down --data /srv/weir")]
pub(crate) struct Args {
    /// The data folder of the Weir that is meant.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// End the apps, too, each within its grace; the next `weir up` starts them again. What they
    /// write while they end is not kept.
    #[arg(long)]
    stop_apps: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let data = data_folder(args.data.as_deref())?;
    let ui = &session.ui;
    let Holder::Process(pid) = holder(&data)? else {
        let apps = look_after_apps(&args, &data).await?;
        return ui.result(
            &serde_json::json!({ "stopped": false, "apps_running": apps.running, "apps_ended": apps.ended }),
            || {
                ui.note(&format!("no Weir runs on {}; {}", data.display(), apps.words()));
                Ok(())
            },
        );
    };
    stop(pid)?;
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
    let apps = look_after_apps(&args, &data).await?;
    ui.result(
        &serde_json::json!({
            "stopped": true, "process": pid, "apps_running": apps.running, "apps_ended": apps.ended
        }),
        || {
            ui.note(&format!("Weir is stopped; {}", apps.words()));
            Ok(())
        },
    )
}

fn stop(pid: i32) -> Result<()> {
    match kill(Pid::from_raw(pid), Signal::SIGTERM) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(Errno::EPERM) => {
            Err(Failure::not_allowed(format!("Weir runs as process {pid} of another user")).hint("sudo weir down"))
        }
        Err(error) => Err(Failure::failed(format!("cannot stop process {pid}")).detail(error.to_string())),
    }
}

/// What became of the apps. Of what is not known there is nothing.
#[derive(Debug, Default)]
struct Apps {
    running: Option<usize>,
    ended: Option<usize>,
}

impl Apps {
    fn words(&self) -> String {
        match (self.ended, self.running) {
            (Some(count), _) => format!(
                "the apps are ended, too ({}); `weir up` starts them again",
                instances(count)
            ),
            (None, Some(0)) => "no apps run".to_owned(),
            (None, running) => format!(
                "the apps go on{}, unmetered and beyond their caps until `weir up`; `weir down --stop-apps` ends them",
                running.map_or_else(String::new, |count| format!(" ({})", instances(count)))
            ),
        }
    }
}

fn instances(count: usize) -> String {
    match count {
        1 => "1 instance".to_owned(),
        count => format!("{count} instances"),
    }
}

/// Ends the apps if that is asked for, else tells how many go on.
async fn look_after_apps(args: &Args, data: &Path) -> Result<Apps> {
    let left = match LeftApps::of(data).await {
        Ok(left) => left,
        Err(error) if args.stop_apps => return Err(not_ended(&error)),
        // Weir is stopped all the same.
        Err(_away) => return Ok(Apps::default()),
    };
    let Some(left) = left else {
        return Ok(Apps {
            running: Some(0),
            ended: args.stop_apps.then_some(0),
        });
    };
    if !args.stop_apps {
        return Ok(Apps {
            running: Some(left.running),
            ended: None,
        });
    }
    let ended = left.end().await.map_err(|error| not_ended(&error))?;
    Ok(Apps {
        running: Some(0),
        ended: Some(ended),
    })
}

fn not_ended(error: &EngineError) -> Failure {
    Failure::unreachable("Weir is stopped, but its apps could not be ended")
        .detail(error.to_string())
        .hint("look after Docker Engine (systemctl status docker), then: weir down --stop-apps")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_unpaid_is_said() {
        let apps = |running, ended| Apps { running, ended }.words();
        assert!(apps(Some(3), None).starts_with("the apps go on (3 instances), unmetered"));
        assert!(apps(None, None).starts_with("the apps go on, unmetered"));
        assert_eq!(apps(Some(0), None), "no apps run");
        assert!(apps(Some(0), Some(1)).contains("ended, too (1 instance)"));
    }
}
