//! What has happened: the rows of the journal. An event carries every amount that follows from
//! it, so that taking it in is adding and subtracting, and whoever reads the journal later (the
//! audit, a report, a test) needs no rules to know what it did.

use serde::{Deserialize, Serialize};
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName, ProjectId, UnixMillis};

use super::{Cap, Fund, Funds, Scope, Settings};
use crate::money::Nano;
use crate::price::{PriceBook, Sku};
use crate::protocol::{DenialReason, Incarnation, LeaseKey, LineKey, MeterName};

/// A row of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When it was decided.
    pub at_ms: UnixMillis,
    /// What has changed.
    pub change: Change,
}

/// Counts all leases of this ledger, from 1.
pub type LeaseNumber = u64;

/// A stretch of time that a scope's cap is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Its first instant.
    pub from_ms: UnixMillis,
    /// The first instant after it; `None` for a total.
    pub until_ms: Option<UnixMillis>,
}

/// What has changed. Amounts are never negative unless it is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Settings of the ledger were set.
    Configured(Settings),
    /// A scope was opened.
    Opened {
        /// Which.
        scope: Scope,
        /// Below which.
        parent: Option<Scope>,
        /// Its own cap.
        cap: Option<Cap>,
        /// Its first period.
        span: Span,
    },
    /// A cap was set.
    CapSet {
        /// Whose.
        scope: Scope,
        /// The cap; `None`: bound by its parent's.
        cap: Option<Cap>,
        /// The period that runs now. What is spent in it so far stays counted.
        span: Span,
        /// Thresholds that are reached under the new cap too, and not told again.
        told: Vec<u8>,
    },
    /// A new period has begun.
    Rolled {
        /// Whose.
        scope: Scope,
        /// The new period.
        span: Span,
    },
    /// Nothing more is granted to a scope.
    Gone {
        /// Which.
        scope: Scope,
    },
    /// Nothing was granted though it was wanted.
    Stopped {
        /// What is bounded.
        scope: Scope,
        /// By what.
        reason: DenialReason,
        /// What was wanted.
        needed: Nano,
    },
    /// There is money again for a scope that was stopped.
    Resumed {
        /// Which.
        scope: Scope,
    },
    /// So much of a cap is spent; told once in a period.
    Crossed {
        /// Whose.
        scope: Scope,
        /// 50, 80 or 100.
        percent: u8,
        /// Spent.
        spent: Nano,
        /// The cap.
        limit: Nano,
    },
    /// New prices.
    Published {
        /// The prices.
        book: PriceBook,
    },
    /// Whether the balance bounds an account.
    BillingSet {
        /// Whose.
        account: AccountId,
        /// Whether it does.
        on: bool,
    },
    /// In which order projects stop when the balance ends.
    StopOrderSet {
        /// Whose.
        account: AccountId,
        /// The first of the list first.
        projects: Vec<ProjectId>,
    },
    /// Money came in.
    Deposited {
        /// Of the command, with the hash of its body.
        id: String,
        /// SHA-256 of the command.
        body: String,
        /// Whose.
        account: AccountId,
        /// Trial or cash.
        fund: Fund,
        /// How much.
        amount: Nano,
        /// Of the payment.
        reference: String,
        /// Of the amount: repaid debt.
        debt: Nano,
        /// Of the amount: paid on a promise.
        promise: Nano,
        /// Promised money, not spent yet, that is cash now because the promise was kept.
        kept: Nano,
    },
    /// A payment was promised.
    Promised {
        /// Of the command, with the hash of its body.
        id: String,
        /// SHA-256 of the command.
        body: String,
        /// By whom.
        account: AccountId,
        /// How much.
        amount: Nano,
        /// Until when.
        due_ms: UnixMillis,
    },
    /// A promise was not kept in time.
    PromiseBroken {
        /// Whose.
        account: AccountId,
        /// Taken back, because it was not spent.
        unspent: Nano,
        /// Spent, and now a debt.
        debt: Nano,
        /// Of the debt: repaid from cash at once.
        repaid: Nano,
    },
    /// A correction, refund or chargeback.
    Corrected {
        /// Of the command, with the hash of its body.
        id: String,
        /// SHA-256 of the command.
        body: String,
        /// Whose.
        account: AccountId,
        /// Into the wallet; negative: out of it.
        amount: Nano,
        /// The movement that it corrects.
        corrects: String,
        /// In words.
        reason: String,
        /// Whether the money comes from, or goes to, outside (a payment is corrected); else it
        /// is the provider's revenue (an invoice or a correction is corrected).
        outside: bool,
        /// Debt repaid by it; negative: debt made by it, where cash did not suffice.
        debt: Nano,
    },
    /// Usage was put on an invoice.
    Invoiced {
        /// Of the command, with the hash of its body.
        id: String,
        /// SHA-256 of the command.
        body: String,
        /// Whose.
        account: AccountId,
        /// By kind of use.
        usage: Vec<(Sku, Nano)>,
        /// Of the sum: tax.
        tax: Nano,
        /// Document less ledger, from rounding to whole cents; may be negative.
        rounding: Nano,
    },
    /// Money is held for the time after the spending, or is freed again.
    Reserved {
        /// For what.
        environment: EnvironmentId,
        /// Who pays.
        account: AccountId,
        /// Added to what is held.
        added: Funds,
        /// Taken from what is held.
        freed: Funds,
        /// Where the freed money goes.
        home: Home,
    },
    /// A meter has begun a new incarnation.
    MeterOpened {
        /// Which.
        meter: MeterName,
        /// The new one.
        incarnation: Incarnation,
        /// Which process.
        boot: u64,
    },
    /// A meter is off for good, up to this incarnation.
    Fenced {
        /// Which.
        meter: MeterName,
        /// The newest that must not draw.
        incarnation: Incarnation,
    },
    /// Money was granted.
    Granted {
        /// To which lease.
        lease: LeaseNumber,
        /// Who pays.
        account: AccountId,
        /// How much more.
        funds: Funds,
        /// For the first grant: what the lease is.
        opens: Option<Opening>,
        /// It comes out of the tail of what is stored: what is held stays the same.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        from_tail: bool,
    },
    /// Money that was not needed came back.
    Returned {
        /// Of which lease.
        lease: LeaseNumber,
        /// Who pays.
        account: AccountId,
        /// How much more.
        funds: Funds,
        /// Where it goes.
        home: Home,
    },
    /// Usage was rated, and its cost moved from held to settled.
    Settled {
        /// Of which lease.
        lease: LeaseNumber,
        /// Whose usage.
        environment: EnvironmentId,
        /// Who pays.
        account: AccountId,
        /// By which prices.
        price_version: u32,
        /// By line.
        lines: Vec<SettledLine>,
    },
    /// A lease has ended; what it still held is free.
    Closed {
        /// Which.
        lease: LeaseNumber,
        /// Whose.
        environment: EnvironmentId,
        /// Who pays.
        account: AccountId,
        /// By which prices.
        price_version: u32,
        /// May have been drawn, and no usage explains it: counts against the caps, is never
        /// invoiced.
        lost: Nano,
        /// What the lease held still, and what rounding left of the lines where it was the last
        /// lease on them.
        freed: Funds,
        /// Where the freed money goes. What is lost is not taken from the account either.
        home: Home,
    },
}

/// The words of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// Who holds it.
    pub meter: MeterName,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Which, for the meter.
    pub key: LeaseKey,
    /// Its prices.
    pub price_version: u32,
    /// The environment's project.
    pub project: ProjectId,
}

/// Where money goes that was held and is free again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    /// Back into the wallets.
    pub funds: Funds,
    /// Repays debt.
    #[serde(default)]
    pub debt: Nano,
}

/// Usage of one line, rated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SettledLine {
    /// Which.
    pub line: LineKey,
    /// So many more raw units.
    pub units: u64,
    /// What the line, with all leases on it, costs more.
    pub paid: Funds,
    /// Of the cost: not held by the lease, so the provider bears it. An honest meter never
    /// causes it; the audit tells of it.
    pub loss: Nano,
    /// Taken from the lease. More than `paid` where the line was rounded up by another lease
    /// before; the rest stays held with the line.
    pub taken: Funds,
}

/// What one line costs more, for keeping history by the hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineDelta {
    /// Whose.
    pub environment: EnvironmentId,
    /// The app, if it is one's.
    pub app: Option<AppName>,
    /// The process, if it is one's.
    pub process: Option<ProcessName>,
    /// What of.
    pub sku: Sku,
    /// By which prices.
    pub price_version: u32,
    /// So many more raw units.
    pub units: u128,
    /// What they cost. The last unit is rounded up once a line.
    pub amount: Nano,
}

impl Event {
    /// What lines cost more by this event. [`Sku::LOST`] counts against caps and is never to be
    /// invoiced.
    pub fn line_deltas(&self) -> Vec<LineDelta> {
        match &self.change {
            Change::Settled {
                environment,
                price_version,
                lines,
                ..
            } => lines
                .iter()
                .map(|settled| LineDelta {
                    environment: *environment,
                    app: settled.line.app.clone(),
                    process: settled.line.process.clone(),
                    sku: settled.line.sku.clone(),
                    price_version: *price_version,
                    units: u128::from(settled.units),
                    amount: settled.paid.total(),
                })
                .collect(),
            Change::Closed {
                environment,
                price_version,
                lost,
                ..
            } if lost.0 > 0 => vec![LineDelta {
                environment: *environment,
                app: None,
                process: None,
                sku: Sku::LOST,
                price_version: *price_version,
                units: u128::from(lost.0.unsigned_abs()),
                amount: *lost,
            }],
            _ => Vec::new(),
        }
    }
}
