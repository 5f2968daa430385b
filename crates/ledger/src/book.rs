//! The ledger: a pure state machine. [`Ledger::handle`] turns a command into events and a reply;
//! the state changes by [`Ledger::apply`] of those events and by nothing else. Whoever keeps the
//! ledger writes the events durably before the reply leaves, and rebuilds it by applying them
//! again, in order.
//!
//! Beside the books there is a little that is not in the journal, because the meters tell it
//! again: usage reported within the last minute, how fast money goes, who was asked to give money
//! back. It decides how much is granted and what people see, never whether a cap holds.
//!
//! For every scope on the path (environment, project, account), in every state that the journal
//! can be in: `settled + held <= limit`. `held` falls by what a meter reports, returns or closes,
//! and by a fence, never because time passes.
//!
//! A room per concern: `scopes` (caps, periods, thresholds), `exchange` (what meters say),
//! `grant` (how much they get), `treasury` (money in), `entry` (double entry), `view` (questions).

mod account;
mod apply;
mod check;
mod entry;
mod event;
mod exchange;
mod funds;
mod grant;
mod handle;
mod live;
mod scopes;
mod settle;
mod state;
mod treasury;
mod view;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_model::{AccountId, EnvironmentId, ProjectId, UnixMillis};

use crate::money::Nano;
use crate::period::Period;
use crate::price::{PriceBook, Sku};
use crate::protocol::{Answer, DenialReason, Exchange, Incarnation, MeterName};

pub use entry::{Pot, Transfer, UnknownPot};
pub use event::{Change, Event, Home, LeaseNumber, LineDelta, Opening, SettledLine, Span};
pub use funds::Funds;
pub use view::{AccountStanding, LeaseStanding, LineStanding, OpenPromise};

/// Most that a cap, a payment or a balance may be: a thousand million units of the currency.
pub const MOST: Nano = Nano(1_000_000_000_000_000_000);

/// Whose money it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "id")]
pub enum Scope {
    /// Who pays.
    Account(AccountId),
    /// One product of an account.
    Project(ProjectId),
    /// One running copy of a project.
    Environment(EnvironmentId),
}

/// What holds for the whole ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// In which civil time periods begin: a name of the IANA database.
    pub time_zone: String,
    /// Most that may be promised at a time.
    pub promise_limit: Nano,
    /// Longest time until a promise is due, in days.
    pub promise_days: u32,
}

impl Default for Settings {
    /// Coordinated universal time; promises up to 50.00 for up to 31 days.
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            promise_limit: Nano(50_000_000_000),
            promise_days: 31,
        }
    }
}

/// What a scope may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cap {
    /// Most that is spent in one period.
    pub limit: Nano,
    /// When it begins anew.
    pub period: Period,
    /// Whether the money is let out slowly after a burst: at once at most a tenth of the limit,
    /// and then the limit in six hours.
    pub pace: bool,
}

/// Which of the account's money: spent in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fund {
    /// Given to begin with.
    Trial,
    /// Promised to be paid until a due date. Raises the balance, never a cap.
    Promised,
    /// Paid in.
    Cash,
}

/// What the ledger is asked to do. `id`s are made by the caller; a repeated one with the same
/// body is answered as the first time, with another body it is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Sets what holds for the whole ledger.
    Configure(Settings),
    /// Opens a scope below its parent (an account has none). Fine if it is open. Accounts and
    /// projects must have a cap.
    Open {
        /// Which.
        scope: Scope,
        /// The project of an environment, the account of a project.
        parent: Option<Scope>,
        /// Its own cap.
        cap: Option<Cap>,
    },
    /// Sets a cap. Lowering it below what is settled and held makes that the limit for now, and
    /// recalls. An environment without one is bound by its project's.
    SetCap {
        /// Whose.
        scope: Scope,
        /// The cap.
        cap: Option<Cap>,
    },
    /// The scope and all below it are gone: nothing more is granted; what is held is settled
    /// when its holders say so.
    Close {
        /// Which.
        scope: Scope,
    },
    /// New prices: the version after the last one.
    Publish {
        /// The prices.
        book: PriceBook,
    },
    /// Whether the account's balance bounds what it spends. Off: only caps do.
    SetBilling {
        /// Whose.
        account: AccountId,
        /// Whether it does.
        on: bool,
    },
    /// In which order projects stop when the balance ends: the first of the list first. Those
    /// not named stop before those named.
    SetStopOrder {
        /// Whose.
        account: AccountId,
        /// The first of the list first.
        projects: Vec<ProjectId>,
    },
    /// Money comes in. Cash repays debt first, then an open promise.
    Deposit {
        /// Made by the caller.
        id: String,
        /// Whose.
        account: AccountId,
        /// Trial or cash; a promise has its own command.
        fund: Fund,
        /// How much; above 0.
        amount: Nano,
        /// Of the payment, for people.
        reference: String,
    },
    /// A promised payment: one at a time, at most as much as the settings allow.
    Promise {
        /// Made by the caller.
        id: String,
        /// By whom.
        account: AccountId,
        /// How much; above 0.
        amount: Nano,
        /// Until when.
        due_ms: UnixMillis,
    },
    /// A correction, refund or chargeback: a new movement that names the one it corrects. Of a
    /// deposit: against the outside. Of an invoice or a correction: against the revenue.
    Correct {
        /// Made by the caller.
        id: String,
        /// Whose.
        account: AccountId,
        /// Into the wallet; negative: out of it, and what cash cannot pay becomes debt.
        amount: Nano,
        /// The id of a deposit, an invoice or another correction of this account.
        corrects: String,
        /// In words, for the record.
        reason: String,
    },
    /// Puts usage on an invoice: from the usage accounts into revenue and tax.
    Invoice {
        /// Made by the caller.
        id: String,
        /// Whose.
        account: AccountId,
        /// By kind of use, as the ledger has it; at most what is not invoiced yet.
        usage: Vec<(Sku, Nano)>,
        /// Of the sum: tax.
        tax: Nano,
        /// The document's total less the sum: from whole cents; may be negative.
        rounding: Nano,
    },
    /// Holds money for the time after the spending ends: the tail of what is stored. The new
    /// total for the environment; lowering it frees.
    Reserve {
        /// For what.
        environment: EnvironmentId,
        /// All that is to be held.
        total: Nano,
    },
    /// A meter's question.
    Exchange(Exchange),
    /// The same of a meter that pays for storage: where caps and balance leave no room for what it
    /// wants, it may have so much of the tail of what an environment stores. That is held already,
    /// so it is there also after a cap was lowered.
    ExchangeOnTail {
        /// The question.
        exchange: Exchange,
        /// By environment.
        tails: BTreeMap<EnvironmentId, Nano>,
    },
    /// A node is proven off for good: its leases count as spent to the end, the invoice shows
    /// only what was reported.
    Fence {
        /// Which.
        meter: MeterName,
        /// The newest that is off.
        incarnation: Incarnation,
    },
    /// Time passes: periods roll over, promises fall due, thresholds are told.
    Tick,
}

/// What the ledger answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// Done (or was done before).
    Done,
    /// To a meter.
    Answer(Answer),
    /// Not done; nothing has changed.
    Refused(Refusal),
}

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The scope, account or transfer is not known.
    #[error("{0} is not known to the ledger")]
    Unknown(String),
    /// The same id was used with another body.
    #[error("the id `{0}` was used before for something else")]
    IdTaken(String),
    /// There is an open promise already.
    #[error("there is a promised payment already; pay it first")]
    PromiseOpen,
    /// There is no room for it under the cap or the balance.
    #[error("there is no room for it: {0:?}")]
    NoRoom(DenialReason),
    /// The command makes no sense.
    #[error("{0}")]
    Invalid(String),
}

/// What bounds a scope now, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Which.
    pub scope: Scope,
    /// Its own cap, if it has one.
    pub cap: Option<Cap>,
    /// The limit in force: the cap's, or what is settled and held where it was lowered below.
    /// [`Nano::MAX`] where the scope has no cap of its own.
    pub limit: Nano,
    /// Spent in this period, to the last unit that meters have told.
    pub settled: Nano,
    /// Held ahead in this period: leases and reserves.
    pub held: Nano,
    /// Of `held`: the tail of what is stored.
    pub reserved: Nano,
    /// The period.
    pub from_ms: UnixMillis,
    /// Its end; `None` for a total.
    pub until_ms: Option<UnixMillis>,
    /// Why nothing is granted at present.
    pub stopped: Option<DenialReason>,
    /// Spent per hour, over the last minutes.
    pub burn_per_hour: Nano,
}

/// The state of all money. See the module's page. As JSON it is a checkpoint: everything that
/// the journal has led to.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger {
    books: state::Books,
    #[serde(skip)]
    live: live::Live,
}
