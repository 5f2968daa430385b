//! A node whose place another one has taken. It ends what it has and leaves; where it does not, it
//! is ended: whoever hangs keeps money and memory, and control waits for what it serves by.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::child::Child;
use super::door;

/// How often, and how long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pressure {
    /// It is told again after this time: it may have missed it, and the one after it may be another.
    again: Duration,
    /// So long after its time is over it is ended.
    overtime: Duration,
    /// One that does not answer for so long hangs, and is ended at once: it may hold what the one
    /// after it needs in order to pay for instances.
    silence: Duration,
}

impl Default for Pressure {
    fn default() -> Self {
        Self {
            again: Duration::from_secs(5),
            overtime: Duration::from_secs(60),
            silence: Duration::from_secs(20),
        }
    }
}

/// A node that drains, and until when it may.
#[derive(Debug, Clone)]
pub(super) struct Draining {
    pub(super) child: Arc<Child>,
    until: Instant,
}

impl Draining {
    /// It may take so long from now on.
    pub(super) fn new(child: Arc<Child>, longest: Duration) -> Self {
        Self {
            child,
            until: Instant::now() + longest,
        }
    }

    /// How long it still may take.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Tells it again and again that it is to drain, and who takes its place. Ready once it should
    /// have left long ago, or hangs.
    pub(super) async fn urge(&self, data: &Path, successor: impl Fn() -> Option<i32>, pressure: Pressure) {
        let told = async {
            let mut heard = Instant::now();
            while heard.elapsed() < pressure.silence {
                if self.tell(door::path(data, self.child.pid()), successor()).await {
                    heard = Instant::now();
                }
                sleep(pressure.again).await;
            }
        };
        tokio::select! {
            () = told => {}
            () = sleep_until(self.until + pressure.overtime) => {}
        }
    }

    /// Beside, because it may not answer. Gives whether it did.
    async fn tell(&self, door: PathBuf, successor: Option<i32>) -> bool {
        let left = self.left();
        let told = tokio::task::spawn_blocking(move || {
            if let Some(successor) = successor {
                // One of before knows nothing of it.
                let _ = door::succeeded(&door, successor);
            }
            door::drain(&door, left)
        });
        let told = told.await.unwrap_or_else(|error| Err(error.into()));
        if let Err(error) = &told {
            tracing::debug!(pid = self.child.pid(), %error, "a node did not hear that it shall drain; telling it again");
        }
        told.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use weir_ingress::Succession;

    use super::super::door::Standing;
    use super::*;

    fn child() -> Arc<Child> {
        let mut command = Command::new("sleep");
        command.arg("1000").stdout(Stdio::piped()).stderr(Stdio::piped());
        Child::spawn(&mut command).unwrap()
    }

    #[tokio::test]
    async fn a_node_that_missed_it_is_told_again_and_one_that_does_not_leave_is_given_up() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let node = Draining::new(child(), Duration::from_millis(400));
        let door = door::path(folder.path(), node.child.pid());
        let succession = Succession::first();
        let own = i32::try_from(std::process::id()).unwrap();
        let pressure = Pressure {
            again: Duration::from_millis(50),
            overtime: Duration::from_millis(400),
            silence: Duration::from_secs(60),
        };
        let began = Instant::now();
        let urged = node.urge(folder.path(), || Some(own), pressure);
        tokio::pin!(urged);
        // It hangs: nobody answers at its door.
        assert!(tokio::time::timeout(pressure.again, &mut urged).await.is_err());
        door::answer(&door, succession.clone(), Standing::new("nothing")).unwrap();
        urged.await;
        assert!(began.elapsed() >= Duration::from_millis(800), "it had all of its time");
        assert!(succession.is_draining(), "it was told again");
        let marks: Vec<u32> = succession.beside().iter().map(|mark| mark.pid).collect();
        assert_eq!(marks, [std::process::id()], "it knows who takes its place");
        node.child.signal(nix::sys::signal::Signal::SIGKILL);
    }
    #[tokio::test]
    async fn a_node_that_does_not_answer_is_given_up_before_its_time_is_over() {
        let folder = tempfile::tempdir().unwrap();
        let node = Draining::new(child(), Duration::from_secs(600));
        let pressure = Pressure {
            again: Duration::from_millis(20),
            silence: Duration::from_millis(200),
            ..Pressure::default()
        };
        let given_up = node.urge(folder.path(), || None, pressure);
        assert!(tokio::time::timeout(Duration::from_secs(30), given_up).await.is_ok());
        node.child.signal(nix::sys::signal::Signal::SIGKILL);
    }
}
