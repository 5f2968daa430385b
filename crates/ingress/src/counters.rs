//! What a worker counts. One set for each worker, summed on reading, so that no two cores
//! write to the same line of memory.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of one worker. Aligned to two cache lines, the unit that cores fetch.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) connections_accepted: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
    pub(crate) handshakes: AtomicU64,
    pub(crate) handshakes_failed: AtomicU64,
    pub(crate) requests: AtomicU64,
    pub(crate) pages: AtomicU64,
    pub(crate) upstream_connects: AtomicU64,
    pub(crate) upstream_reuses: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) held: AtomicU64,
    pub(crate) queued: AtomicU64,
    pub(crate) upgrades: AtomicU64,
}

/// Sums over all workers since the node's start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CounterTotals {
    /// Connections accepted from clients.
    pub connections_accepted: u64,
    /// Of them, those that were refused: too many, or without the PROXY header that they owe.
    pub connections_refused: u64,
    /// Of them, those whose TLS handshake came about.
    pub handshakes: u64,
    /// Of them, those whose TLS handshake did not.
    pub handshakes_failed: u64,
    /// Requests received.
    pub requests: u64,
    /// Requests answered by a page of Weir's own.
    pub pages: u64,
    /// Connections opened to instances.
    pub upstream_connects: u64,
    /// Requests sent over a connection that was already open.
    pub upstream_reuses: u64,
    /// Requests sent again because the first attempt certainly had no effect.
    pub retries: u64,
    /// Requests that waited at a held route.
    pub held: u64,
    /// Requests that waited for a free instance.
    pub queued: u64,
    /// Connections upgraded.
    pub upgrades: u64,
}

/// Adds one.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    /// Adds what this worker counted to the sums.
    pub(crate) fn add_to(&self, totals: &mut CounterTotals) {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        totals.connections_accepted += read(&self.connections_accepted);
        totals.connections_refused += read(&self.connections_refused);
        totals.handshakes += read(&self.handshakes);
        totals.handshakes_failed += read(&self.handshakes_failed);
        totals.requests += read(&self.requests);
        totals.pages += read(&self.pages);
        totals.upstream_connects += read(&self.upstream_connects);
        totals.upstream_reuses += read(&self.upstream_reuses);
        totals.retries += read(&self.retries);
        totals.held += read(&self.held);
        totals.queued += read(&self.queued);
        totals.upgrades += read(&self.upgrades);
    }
}
