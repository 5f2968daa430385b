//! What a meter and the ledger say to each other. A meter is whatever spends: a node, or control
//! itself for builds and storage.
//!
//! One question, one answer, both stated as *totals since the lease was opened*, never as
//! differences: a message may be lost, repeated, delayed or reordered, and taking the maximum of
//! what was said is always right. A meter asks for more by saying how much it knows to be
//! granted; if that is less than what is granted, the answer to an earlier question was lost, and
//! it gets the same total again instead of more.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_model::{AppName, EnvironmentId, ProcessName, UnixMillis};

use crate::money::{Nano, Pico};
use crate::price::{PriceBook, Sku};

/// Who holds leases: `node:local`, `control`.
pub type MeterName = String;

/// Counts the starts of a meter; kept in its log. A lease belongs to one incarnation.
pub type Incarnation = u64;

/// Which lease, within one incarnation of one meter. An environment has a new one in each
/// period and for each version of the prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LeaseKey {
    /// Who spends.
    pub environment: EnvironmentId,
    /// Counts the leases of the environment in this incarnation, from 1; chosen by the meter.
    pub number: u32,
}

/// What is counted apart: who used what. `process` is empty for what belongs to the app as a
/// whole, `app` too for what belongs to the environment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LineKey {
    /// The app.
    pub app: Option<AppName>,
    /// The process.
    pub process: Option<ProcessName>,
    /// What of.
    pub sku: Sku,
}

/// Raw units used (requests, bytes, byte-seconds, micro-CPU-seconds) by line, since the lease
/// was opened. A list and not a map, because JSON's keys are texts.
pub type Usage = Vec<(LineKey, u64)>;

/// A meter speaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Who.
    pub meter: MeterName,
    /// Which start of it. 0 where the log was lost: the answer then says which one to take.
    pub incarnation: Incarnation,
    /// Random, made at the start of the process; tells two processes apart that believe to be the
    /// same incarnation (a cloned machine).
    pub boot: u64,
    /// Leases of earlier incarnations, as the log has them; sent until an answer came. The ledger
    /// counts a lease of an earlier incarnation that is not listed as spent to the end.
    pub closings: Vec<Closing>,
    /// Leases of this incarnation that are open or were closed since the last answer.
    pub leases: Vec<LeaseReport>,
}

/// A lease of an earlier incarnation, as its log tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closing {
    /// Of which incarnation.
    pub incarnation: Incarnation,
    /// Which.
    pub lease: LeaseKey,
    /// The mark up to which it may have been drawn; at least what was used.
    pub drawn: Pico,
    /// Given back before.
    pub returned: Nano,
    /// Used as far as it was logged.
    pub usage: Usage,
}

/// How a lease of this incarnation stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseReport {
    /// Which.
    pub lease: LeaseKey,
    /// Granted in total, as far as this meter knows; 0 opens the lease.
    pub granted: Nano,
    /// Given back in total; logged before it is said, and never drawn again.
    pub returned: Nano,
    /// Used in total: finished work only.
    pub usage: Usage,
    /// Asks for more.
    pub want: Option<Want>,
    /// Nothing of it will be drawn any more, and `usage` is complete: the rest is free.
    pub closed: bool,
}

/// Asks for more money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// The least that is of use: what waits now costs so much. A grant is never less.
    pub needed: Nano,
    /// What is spent per second at present.
    pub rate_per_s: Nano,
}

/// The ledger answers, durably.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// To which incarnation. A meter drops an answer to another one.
    pub incarnation: Incarnation,
    /// How the meter stands.
    pub standing: Standing,
    /// One for each lease that the question named.
    pub leases: Vec<LeaseAnswer>,
    /// Prices by version, for leases that were opened by this answer or have none yet.
    pub prices: BTreeMap<u32, PriceBook>,
}

/// How a meter stands with the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It may spend what it holds; its closings are taken.
    Current,
    /// A newer incarnation, or another process of the same one, has taken its place: it must not
    /// draw any more. `next` is the incarnation to begin with if it means to go on.
    Superseded {
        /// The lowest incarnation that was never used.
        next: Incarnation,
    },
}

/// How a lease stands in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAnswer {
    /// Which.
    pub lease: LeaseKey,
    /// Granted in total. Only ever rises; the meter takes the maximum of what it was told.
    pub granted: Nano,
    /// The version of the prices that it is drawn by, for its whole life.
    pub price_version: u32,
    /// Instant from which a new lease has to be asked for (the end of a period). Safe to miss:
    /// what is drawn later still counts where it was granted.
    pub until_ms: UnixMillis,
    /// Ask for a new lease now, move to it, close this one: prices or the period have changed.
    pub turn_over: bool,
    /// Others need money: give back what no running work needs.
    pub recall: bool,
    /// Why nothing was granted though it was wanted.
    pub denied: Option<Denial>,
    /// The lease is closed in the ledger; forget it.
    pub closed: bool,
}

/// Why nothing was granted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// What stands in the way.
    pub reason: DenialReason,
    /// When asking again may help, in milliseconds from now; a top-up may help earlier.
    pub retry_after_ms: u64,
}

/// What stands in the way of a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenialReason {
    /// The environment's own cap is reached.
    EnvironmentCap,
    /// The project's cap is reached.
    ProjectCap,
    /// The account's cap is reached.
    AccountCap,
    /// The account's balance is empty.
    Balance,
    /// The cap is not reached, but so much of it was spent so fast that the rest is let out
    /// slowly; asking again helps soon.
    Pace,
    /// Idle money of others was recalled; ask again at once.
    Recalling,
    /// The scope does not exist (any more).
    Gone,
}
