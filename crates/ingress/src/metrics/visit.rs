//! One connection to a TCP service, counted like a request: it is counted when this is dropped,
//! however it ends. Who reached an instance counts as answered with a 2xx, who did not under the
//! reason, and the time to the first byte is that until an instance had accepted it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::series::{Outcome, Series, page_kind};
use crate::clock::Clock;
use crate::node::Worker;
use crate::table::CompiledRoute;
use crate::tcp::Flows;

/// First digit under which a connection counts that reached an instance.
const REACHED: usize = 2;

/// A connection that goes on.
#[derive(Debug)]
pub(crate) struct Visit {
    worker: usize,
    clock: Clock,
    begun_us: u64,
    series: Arc<Series>,
    flows: Arc<Flows>,
    digit: usize,
    page: Option<usize>,
    first_byte_us: Option<u64>,
}

impl Visit {
    /// A connection that came to a service.
    pub(crate) fn begin(worker: &Worker, route: &CompiledRoute, flows: Arc<Flows>) -> Self {
        let (clock, series) = (worker.shared.clock, Arc::clone(&route.watched.series));
        series.begin(worker.index);
        Self {
            worker: worker.index,
            clock,
            begun_us: clock.now_us(),
            series,
            flows,
            digit: 0,
            page: None,
            first_byte_us: None,
        }
    }

    /// An instance has accepted it.
    pub(crate) fn reached(&mut self) {
        self.digit = REACHED;
        self.first_byte_us = Some(self.since());
    }

    /// It is closed without having reached an instance.
    pub(crate) fn refused(&mut self, digit: usize, mark: &str) {
        self.digit = digit;
        self.page = Some(page_kind(mark));
    }

    fn since(&self) -> u64 {
        self.clock.now_us().saturating_sub(self.begun_us)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let outcome = Outcome {
            digit: self.digit,
            page: self.page,
            first_byte_us: self.first_byte_us,
            duration_us: self.since(),
            received_bytes: self.flows.received.load(Ordering::Relaxed),
            sent_bytes: self.flows.sent.load(Ordering::Relaxed),
        };
        self.series.end(self.worker, &outcome, (0, 0));
    }
}
