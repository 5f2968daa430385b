//! Whether routes are still those of their environment. Each environment has an era of its own, so
//! that a change of one disturbs nobody who waits at another.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The epoch of the newest routes of one environment.
#[derive(Debug)]
pub(crate) struct Era {
    epoch: AtomicU64,
    changed: Notify,
}

impl Era {
    pub(crate) fn new(epoch: u64) -> Self {
        Self {
            epoch: AtomicU64::new(epoch),
            changed: Notify::new(),
        }
    }

    /// Newer routes are there, and serve. A request counts itself at its instance and *then* looks at
    /// this; the counts are read after this store. All are sequentially consistent, so a request
    /// either sees the new epoch and begins anew, or is in the counts.
    pub(crate) fn begin(&self, epoch: u64) {
        self.epoch.store(epoch, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// Whether there are newer routes than those of `epoch`.
    pub(crate) fn is_past(&self, epoch: u64) -> bool {
        self.epoch.load(Ordering::SeqCst) > epoch
    }

    /// Waits until there are newer routes than those of `epoch`; false at the deadline.
    pub(crate) async fn passed(&self, epoch: u64, deadline: Instant) -> bool {
        let mut changed = pin!(self.changed.notified());
        // Whoever changes it from here on wakes us.
        changed.as_mut().enable();
        self.is_past(epoch) || timeout_at(deadline, changed).await.is_ok() || self.is_past(epoch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn who_waits_is_woken_by_the_change_and_not_before() {
        let era = Arc::new(Era::new(1));
        let soon = Instant::now() + Duration::from_millis(20);
        assert!(!era.passed(1, soon).await);
        let late = Instant::now() + Duration::from_secs(30);
        assert!(era.passed(0, late).await);
        let waits: Vec<_> = (0..100)
            .map(|_| {
                let era = Arc::clone(&era);
                tokio::spawn(async move { era.passed(1, late).await })
            })
            .collect();
        tokio::task::yield_now().await;
        era.begin(2);
        for wait in waits {
            assert!(wait.await.unwrap());
        }
        assert!(Instant::now() < late - Duration::from_secs(10));
    }
}
