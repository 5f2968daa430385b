//! Nodes of an earlier `weir up` that was killed. They end by themselves, unless they hang; none of
//! them may go on beside those of the next one.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

use super::door;

/// A node that is told to end lets requests in flight end.
const PATIENCE: Duration = Duration::from_secs(12);
/// The kernel needs little to end a process.
const END: Duration = Duration::from_secs(3);

/// Ends those that still live, and removes what is left of the others; no `weir up` runs now.
pub(crate) async fn end(data: &Path, say: impl Fn(&str)) {
    end_within(data, say, PATIENCE).await;
}

async fn end_within(data: &Path, say: impl Fn(&str), patience: Duration) {
    for (pid, path) in doors(data) {
        if let Some(ended) = living(pid, &path) {
            say(&format!(
                "a node of an earlier Weir still runs (process {pid}); waiting for it to end"
            ));
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            if timeout(patience, ended.readable()).await.is_err() {
                say(&format!("it does not end; ending it the hard way (process {pid})"));
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
                let _ = timeout(END, ended.readable()).await;
            }
        }
        let _ = std::fs::remove_file(path);
    }
}

/// The sockets at which nodes are spoken to, or were.
fn doors(data: &Path) -> Vec<(i32, PathBuf)> {
    let entries = std::fs::read_dir(data.join("run")).into_iter().flatten().flatten();
    let door = |entry: std::fs::DirEntry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix("node-")?.strip_suffix(".sock")?.parse().ok()?;
        Some((pid, entry.path()))
    };
    entries.filter_map(door).filter(|(pid, _)| *pid > 1).collect()
}

/// Readable once the process has ended; none if it is not the one that listens there. A process
/// that got the number of one that has ended is nobody's stray.
#[expect(
    deprecated,
    reason = "sound for an owned descriptor; what replaces it may only be called as unsafe"
)]
fn living(pid: i32, path: &Path) -> Option<AsyncFd<OwnedFd>> {
    let number = rustix::process::Pid::from_raw(pid)?;
    let process = pidfd_open(number, PidfdFlags::empty()).ok()?;
    (door::listener(path).ok()? == pid).then_some(())?;
    AsyncFd::with_interest(process, tokio::io::Interest::READABLE).ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Command, Stdio};

    use tokio::signal::unix::{SignalKind, signal};
    use weir_ingress::Succession;

    use super::super::door::Standing;
    use super::*;

    const FOLDER: &str = "WEIR_TEST_STRAY_FOLDER";

    /// Not a test: a node that hears no signal.
    #[tokio::test]
    async fn stray() {
        let Ok(folder) = std::env::var(FOLDER) else { return };
        let _deaf = signal(SignalKind::terminate()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let door = door::path(Path::new(&folder), own);
        door::answer(&door, Succession::first(), Standing::new("nothing")).unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    }

    #[tokio::test]
    async fn a_node_that_hangs_is_ended_and_nobody_else_is() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let mut stray = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "platform::strays::tests::stray"])
            .env(FOLDER, folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let pid = i32::try_from(stray.id()).unwrap();
        while door::listener(&door::path(folder.path(), pid)).is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The number of a node that has ended is another's now.
        let mut other = Command::new("sleep").arg("60").spawn().unwrap();
        let left = door::path(folder.path(), i32::try_from(other.id()).unwrap());
        std::fs::write(&left, "").unwrap();
        end_within(folder.path(), |_| {}, Duration::from_millis(300)).await;
        assert_eq!(stray.wait().unwrap().signal(), Some(9));
        assert!(other.try_wait().unwrap().is_none(), "it is nobody's stray");
        assert!(doors(folder.path()).is_empty());
        other.kill().unwrap();
        other.wait().unwrap();
    }
}
