//! What was served, counted apart from what was paid: control's audit compares the two. Whatever
//! goes to an instance or to a client passes here, whether or not anybody has paid for it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use weir_model::EnvironmentId;
use weir_model::route::AccessCounts;

/// So many bytes of one answer are counted at once. Payment counts in blocks of the same size, so
/// that the two differ by no more than this for each answer that goes on.
const COUNTED_BYTES: u64 = 64 * 1024;

/// The counts of one environment since the node started.
#[derive(Debug)]
pub(crate) struct Access {
    /// Made when they count for the first time: there may be a hundred thousand environments.
    workers: Box<[OnceLock<Box<Cell>>]>,
    /// Whose they are, and where to say that there are any.
    owner: Option<(EnvironmentId, Arc<Used>)>,
}

/// Environments of which anything was counted: of the others there is nothing to report, and they may
/// be many.
#[derive(Debug, Default)]
pub(crate) struct Used(Mutex<BTreeSet<EnvironmentId>>);

impl Used {
    fn note(&self, environment: EnvironmentId) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(environment);
    }

    pub(crate) fn all(&self) -> Vec<EnvironmentId> {
        let used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.iter().copied().collect()
    }
}

/// Those of one worker, in cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Cell {
    requests: AtomicU64,
    ended: AtomicU64,
    turned_away: AtomicU64,
    egress_bytes: AtomicU64,
}

impl Access {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers.max(1)).map(|_| OnceLock::new()).collect(),
            owner: None,
        }
    }

    /// One that says so when it counts for the first time.
    pub(crate) fn of(environment: EnvironmentId, workers: usize, used: &Arc<Used>) -> Self {
        Self {
            owner: Some((environment, Arc::clone(used))),
            ..Self::new(workers)
        }
    }

    /// Sums over all workers. What has ended is read first, so that nothing that goes on is missed.
    pub(crate) fn counts(&self) -> AccessCounts {
        let sum = |of: fn(&Cell) -> &AtomicU64| -> u64 {
            let cells = self.workers.iter().filter_map(OnceLock::get);
            cells.map(|cell| of(cell).load(Ordering::Acquire)).sum()
        };
        let ended = sum(|cell| &cell.ended);
        let requests = sum(|cell| &cell.requests);
        AccessCounts {
            requests,
            open: requests.saturating_sub(ended),
            turned_away: sum(|cell| &cell.turned_away),
            egress_bytes: sum(|cell| &cell.egress_bytes),
        }
    }

    fn cell(&self, worker: usize) -> &Cell {
        self.workers[worker % self.workers.len()].get_or_init(|| {
            if let Some((environment, used)) = &self.owner {
                used.note(*environment);
            }
            Box::default()
        })
    }
}

/// A request that was handed to an instance. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    access: Arc<Access>,
    worker: usize,
    /// Gone to the client and not counted yet.
    bytes: u64,
    /// There is no client: Weir itself asked.
    to_nobody: bool,
}

impl Served {
    /// Counts the request.
    pub(crate) fn begin(access: &Arc<Access>, worker: usize) -> Self {
        access.cell(worker).requests.fetch_add(1, Ordering::Release);
        Self {
            access: Arc::clone(access),
            worker,
            bytes: 0,
            to_nobody: false,
        }
    }

    /// What comes goes to no client.
    pub(crate) fn sent_to_nobody(self) -> Self {
        let mut served = self;
        served.to_nobody = true;
        served
    }

    /// So much more of the answer goes to the client.
    pub(crate) fn send(&mut self, bytes: u64) {
        if self.to_nobody {
            return;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes >= COUNTED_BYTES {
            self.count();
        }
    }

    fn count(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.access
            .cell(self.worker)
            .egress_bytes
            .fetch_add(bytes, Ordering::Release);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.count();
        self.access.cell(self.worker).ended.fetch_add(1, Ordering::Release);
    }
}

/// A request that is paid and was not handed to an instance yet. Dropped as such, it was turned
/// away: its client went, or no instance had a place for it.
#[derive(Debug)]
pub(crate) struct Unserved {
    access: Option<Arc<Access>>,
    worker: usize,
}

impl Unserved {
    pub(crate) fn new(access: &Arc<Access>, worker: usize) -> Self {
        Self {
            access: Some(Arc::clone(access)),
            worker,
        }
    }

    /// An instance has it.
    pub(crate) fn handed_on(mut self) {
        self.access = None;
    }
}

impl Drop for Unserved {
    fn drop(&mut self) {
        if let Some(access) = &self.access {
            access.cell(self.worker).turned_away.fetch_add(1, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_goes_on_ends_or_is_turned_away_is_counted_once() {
        let access = Arc::new(Access::new(2));
        let mut first = Served::begin(&access, 0);
        let mut second = Served::begin(&access, 3);
        first.send(10);
        second.send(COUNTED_BYTES);
        Unserved::new(&access, 1).handed_on();
        drop(Unserved::new(&access, 1));
        let counts = AccessCounts {
            requests: 2,
            open: 2,
            turned_away: 1,
            egress_bytes: COUNTED_BYTES,
        };
        assert_eq!(access.counts(), counts);
        drop((first, second));
        let ended = AccessCounts {
            open: 0,
            egress_bytes: COUNTED_BYTES + 10,
            ..counts
        };
        assert_eq!(access.counts(), ended);
    }
}
