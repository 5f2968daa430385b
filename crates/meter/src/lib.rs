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
mod link;
mod log;

pub use client::{Meter, MeterConfig};
pub use link::{LedgerLink, LinkError, SocketLink};
pub use log::LogError;
