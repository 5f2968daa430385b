//! Holds leases and spends them: the log that a [`Meter`] keeps of what it may have spent, its
//! talk with the ledger, and the slices that running instances pay ahead.
//!
//! What is drawn, by whom, and in which order things are logged and said is decided in
//! `weir_ledger::wallet`, which is pure; this room brings it a clock, a file and a socket. It
//! never blocks who draws, and it fails closed: without a log nothing is spent, and without the
//! ledger no more than what was leased.

mod client;
pub mod deadman;
pub mod egress;
pub mod instances;
mod left;
mod link;
mod log;

use std::sync::Arc;

use tokio::sync::watch;
use weir_engine::Meters;
use weir_ledger::wallet::Wallets;
use weir_model::route::MeteredInstance;

pub use client::{Meter, MeterConfig};
pub use left::Left;
pub use link::{LedgerLink, LinkError, SocketLink};
pub use log::LogError;

/// What it takes to pay for instances and for what they send: with what, and for whom.
#[derive(Debug, Clone)]
pub struct Payroll {
    /// The kernel's counters, brakes and allowances.
    pub meters: Arc<dyn Meters>,
    /// Where the money is.
    pub wallets: Wallets,
    /// The number of the thread in draws.
    pub shard: usize,
    /// What runs on this node or is about to, as control tells it.
    pub metered: watch::Receiver<Vec<MeteredInstance>>,
}
