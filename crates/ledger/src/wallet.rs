//! What a meter spends from: one wallet per environment and lease, drawn by many threads.
//!
//! A warm draw is a few atomic operations: no lock shared between cores, no system call, no
//! allocation. The money that may be drawn was logged durably as spent before (a *chunk* of the
//! lease); what finished work did not need is put back into the chunk, never below the mark in
//! the log. Leases follow each other (a period ends, prices change); a [`Till`] is the handle
//! that stays.

use std::sync::Arc;
use std::time::Duration;

use weir_model::{AppName, EnvironmentId, ProcessName};

use crate::money::Pico;
use crate::price::Sku;
use crate::protocol::DenialReason;

/// All wallets of one process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wallets {}

/// Where one process of one app (or an app, or an environment as a whole) pays. Stays the same
/// over leases; get it once and keep it.
#[derive(Debug)]
pub struct Till {}

/// Money drawn ahead for work that is not finished. Dropped, all of it counts as used.
#[derive(Debug)]
#[must_use = "finish it with what was really used"]
pub struct Draw {}

/// Who draws: visitors are refused a little before the instances that serve them are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// May not touch what running instances need for their next seconds.
    Request,
    /// Running instances, and the tail until they are frozen.
    Instance,
}

/// There is not enough in the chunk. More was asked for; it may be there in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dry;

/// Why there will be no money for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMoney {
    /// The ledger refused.
    #[error("the ledger grants nothing: {0:?}")]
    Denied(DenialReason),
    /// The ledger did not answer in time, and what was held is spent.
    #[error("the ledger does not answer, and what was held is spent")]
    CutOff,
    /// The log cannot be written (a full disk), so nothing more may be spent.
    #[error("what is spent cannot be recorded")]
    NotRecorded,
}

impl Wallets {
    /// Wallets for so many threads that draw (their numbers are the `shard` of every draw).
    pub fn new(shards: usize) -> Self {
        let _ = shards;
        Self {}
    }

    /// The till of a payer; the same for the same payer.
    pub fn till(&self, environment: EnvironmentId, app: Option<&AppName>, process: Option<&ProcessName>) -> Arc<Till> {
        let _ = (environment, app, process);
        unimplemented!("wallets are being written")
    }
}

impl Till {
    /// Pays for so many units of finished or certain use: the warm path of a request.
    pub fn pay(&self, shard: usize, urgency: Urgency, sku: &Sku, units: u64) -> Result<(), Dry> {
        let _ = (shard, urgency, sku, units);
        Err(Dry)
    }

    /// Draws for work of which only the most is known.
    pub fn draw(&self, shard: usize, urgency: Urgency, sku: &Sku, units: u64) -> Result<Draw, Dry> {
        let _ = (shard, urgency, sku, units);
        Err(Dry)
    }

    /// Waits until so much could be drawn (it is not drawn yet: try again), at most so long.
    /// Fails at once where the ledger has refused and asking again makes no sense yet.
    pub async fn wait(&self, urgency: Urgency, sku: &Sku, units: u64, at_most: Duration) -> Result<(), NoMoney> {
        let _ = (urgency, sku, units, at_most);
        Err(NoMoney::CutOff)
    }

    /// Why draws fail at present, if they do; for pages.
    pub fn trouble(&self) -> Option<NoMoney> {
        None
    }
}

impl Draw {
    /// What was drawn.
    pub fn cost(&self) -> Pico {
        Pico::ZERO
    }

    /// So many units were really used (at most those drawn); the rest goes back.
    pub fn finish(self, used: u64) {
        let _ = used;
    }
}
