//! One instance as the node sees it: what goes on there, and its idle connections.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use weir_guard::Seat;
use weir_model::route::{Backend, BackendLoad};

use crate::class::ClassCounts;
use crate::sleep::Rest;
use crate::upstream::IdleConnection;

/// Whether an instance gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It does.
    Active,
    /// It finishes what it has.
    Draining,
    /// It is gone from the snapshot; everything to it is cut.
    Gone,
}

const ACTIVE: u8 = 0;
const DRAINING: u8 = 1;
const GONE: u8 = 2;

/// What goes on at one instance. Shared by all workers and by the tables of several snapshots.
pub(crate) struct Instance {
    /// Identity and address.
    pub(crate) backend: Backend,
    /// Where the guard notes what is in flight here; none where nothing is guarded.
    pub(crate) seat: Option<Arc<Seat>>,
    /// Cancelled when every connection to the instance is to be cut.
    pub(crate) cut: CancellationToken,
    /// Whether it sleeps.
    pub(crate) rest: Rest,
    phase: AtomicU8,
    in_flight: AtomicU64,
    /// Of them, those of each class.
    classes: ClassCounts,
    upgraded: AtomicU64,
    requests: AtomicU64,
    connect_failures: AtomicU64,
    failed: AtomicU64,
    /// Until then (milliseconds of the node's clock) others are preferred, because a connection
    /// failed: an instance without requests would otherwise attract all of them.
    suspect_until_ms: AtomicU64,
    /// Idle connections by worker. Only that worker takes the lock, and the one who clears all.
    idle: Box<[Mutex<Vec<IdleConnection>>]>,
    report_wanted: Arc<Notify>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance")
            .field("backend", &self.backend)
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

impl Instance {
    /// An active instance with nothing going on.
    pub(crate) fn new(backend: Backend, workers: usize, report_wanted: Arc<Notify>, seat: Option<Arc<Seat>>) -> Self {
        Self {
            backend,
            seat,
            cut: CancellationToken::new(),
            rest: Rest::default(),
            phase: AtomicU8::new(ACTIVE),
            in_flight: AtomicU64::new(0),
            classes: ClassCounts::default(),
            upgraded: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            connect_failures: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            suspect_until_ms: AtomicU64::new(0),
            idle: (0..workers).map(|_| Mutex::new(Vec::new())).collect(),
            report_wanted,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Ordering::SeqCst) {
            ACTIVE => Phase::Active,
            DRAINING => Phase::Draining,
            _ => Phase::Gone,
        }
    }

    /// Changes the phase. Leaving `Active` closes the idle connections, `Gone` cuts the others.
    ///
    /// A request counts itself *before* it looks at the phase ([`Instance::try_take`]), and here
    /// the phase changes before anyone reads the count. So whoever reads the count after this
    /// call sees every request that the instance will still get; from then on it only falls.
    pub(crate) fn set_phase(&self, phase: Phase) {
        let value = match phase {
            Phase::Active => ACTIVE,
            Phase::Draining => DRAINING,
            Phase::Gone => GONE,
        };
        self.phase.store(value, Ordering::SeqCst);
        if phase != Phase::Active {
            self.close_idle();
        }
        if phase == Phase::Gone {
            self.cut.cancel();
        }
    }

    /// Counts one request in, unless the instance has `limit` of its class (of all, where there
    /// are no classes) or gets none any more.
    pub(crate) fn try_take(&self, limit: u64, class: Option<usize>) -> bool {
        let counted = match class {
            None => {
                let below = |now| (now < limit).then_some(now + 1);
                let counted = self.in_flight.fetch_update(Ordering::SeqCst, Ordering::Relaxed, below);
                counted.is_ok()
            }
            Some(class) => {
                let entered = self.classes.try_enter(class, limit);
                if entered {
                    self.in_flight.fetch_add(1, Ordering::SeqCst);
                }
                entered
            }
        };
        // Who sleeps is woken by the first one; unless nobody pays for that.
        if counted && (self.phase.load(Ordering::SeqCst) != ACTIVE || !self.rest.rouse()) {
            self.release(class);
            return false;
        }
        counted
    }

    /// How many requests of a class it has; of all, where there are no classes.
    pub(crate) fn load_of(&self, class: Option<usize>) -> u64 {
        class.map_or_else(|| self.in_flight(), |class| self.classes.of(class))
    }

    /// Counts one request out.
    pub(crate) fn release(&self, class: Option<usize>) {
        if let Some(class) = class {
            self.classes.leave(class);
        }
        let before = self.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.phase.load(Ordering::SeqCst) != ACTIVE {
            self.report_wanted.notify_one();
        }
    }

    pub(crate) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::SeqCst)
    }

    /// Counts an upgraded connection in; it is counted out when the guard is dropped.
    pub(crate) fn upgraded(self: &Arc<Self>) -> UpgradedGuard {
        self.upgraded.fetch_add(1, Ordering::SeqCst);
        UpgradedGuard {
            instance: Arc::clone(self),
        }
    }

    /// Counts an answered request.
    pub(crate) fn count_answer(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that was answered with an error of the server's, or not at all.
    pub(crate) fn count_failure(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a failed connection; others are preferred until `suspect_until_ms`.
    pub(crate) fn count_connect_failure(&self, suspect_until_ms: u64) {
        self.connect_failures.fetch_add(1, Ordering::Relaxed);
        self.suspect_until_ms.store(suspect_until_ms, Ordering::Relaxed);
        // Control may want to look at the instance at once.
        self.report_wanted.notify_one();
    }

    /// Whether a connection failed a moment ago.
    pub(crate) fn is_suspect(&self, now_ms: u64) -> bool {
        self.suspect_until_ms.load(Ordering::Relaxed) > now_ms
    }

    /// A connection worked.
    pub(crate) fn clear_suspicion(&self) {
        if self.suspect_until_ms.load(Ordering::Relaxed) != 0 {
            self.suspect_until_ms.store(0, Ordering::Relaxed);
        }
    }

    /// What the report says about this instance.
    pub(crate) fn load(&self) -> BackendLoad {
        BackendLoad {
            in_flight: self.in_flight(),
            upgraded: self.upgraded.load(Ordering::SeqCst),
            requests: self.requests.load(Ordering::Relaxed),
            connect_failures: self.connect_failures.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }

    /// Works on the idle connections of a worker.
    pub(crate) fn with_idle<T>(&self, worker: usize, work: impl FnOnce(&mut Vec<IdleConnection>) -> T) -> Option<T> {
        let pool = self.idle.get(worker)?;
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        Some(work(&mut pool))
    }

    /// Keeps a connection for the next request, at most `limit` of them.
    pub(crate) fn keep_idle(&self, worker: usize, connection: IdleConnection, limit: usize) {
        self.with_idle(worker, |idle| {
            if idle.len() < limit {
                idle.push(connection);
            }
        });
        // The phase may have changed since the caller looked, and the clearing may be over.
        if self.phase() != Phase::Active {
            self.close_idle();
        }
    }

    fn close_idle(&self) {
        for worker in 0..self.idle.len() {
            let closed = self.with_idle(worker, std::mem::take);
            drop(closed);
        }
    }
}

/// An upgraded connection that is open.
pub(crate) struct UpgradedGuard {
    instance: Arc<Instance>,
}

impl Drop for UpgradedGuard {
    fn drop(&mut self) {
        let before = self.instance.upgraded.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.instance.phase() != Phase::Active {
            self.instance.report_wanted.notify_one();
        }
    }
}
