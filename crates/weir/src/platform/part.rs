//! What `control` and `node` have in common: they end when they are told to, and when their
//! supervisor is gone.

use std::time::Duration;

use nix::unistd::{Pid, getppid};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::options::PlatformOptions;
use crate::failure::{Failure, Result};

/// How often a part looks whether its supervisor still lives.
const WATCH: Duration = Duration::from_millis(500);
/// How long a part may take to end once it should.
const LONGEST_END: Duration = Duration::from_secs(20);

/// The options of a part.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PartOptions {
    #[command(flatten)]
    pub(crate) platform: PlatformOptions,
    /// Process id of the supervisor; the part ends with it.
    #[arg(long, value_name = "PID")]
    pub(crate) supervisor: Option<i32>,
}

/// A token that is cancelled by SIGTERM, SIGINT, or the end of the supervisor. If the part then
/// does not end by itself, it is ended.
pub(crate) fn stop_token(supervisor: Option<i32>) -> Result<CancellationToken> {
    let stop = CancellationToken::new();
    let watch =
        |kind| signal(kind).map_err(|error| Failure::failed("cannot watch for signals").detail(error.to_string()));
    let (mut terminate, mut interrupt) = (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = orphaned(supervisor) => tracing::warn!("`weir up` is gone; this part of it ends"),
        }
        token.cancel();
    });
    let token = stop.clone();
    // A thread, because a runtime that is stuck would not end itself.
    std::thread::spawn(move || {
        while !token.is_cancelled() {
            std::thread::sleep(WATCH);
        }
        std::thread::sleep(LONGEST_END);
        std::process::exit(1);
    });
    Ok(stop)
}

/// Whether the supervisor has gone; never without one.
pub(crate) fn is_orphan(supervisor: Option<i32>) -> bool {
    supervisor.is_some_and(|supervisor| getppid() != Pid::from_raw(supervisor))
}

/// Ends when the supervisor is no longer our parent; never without one.
async fn orphaned(supervisor: Option<i32>) {
    let Some(supervisor) = supervisor.map(Pid::from_raw) else {
        return std::future::pending().await;
    };
    while getppid() == supervisor {
        tokio::time::sleep(WATCH).await;
    }
}
