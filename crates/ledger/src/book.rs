//! The ledger: a pure state machine. [`Ledger::decide`] turns a command into events or a refusal;
//! [`Ledger::apply`] takes an event in. Whoever keeps it writes the events durably before the
//! reply leaves, and rebuilds it by applying them again, in order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_model::{AccountId, EnvironmentId, ProjectId, UnixMillis};

use crate::money::Nano;
use crate::period::Period;
use crate::price::PriceBook;
use crate::protocol::{Answer, DenialReason, Exchange, Incarnation, MeterName};

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
    /// Opens a scope below its parent (an account has none). Fine if it is open.
    Open {
        scope: Scope,
        parent: Option<Scope>,
        cap: Option<Cap>,
    },
    /// Sets a cap. Lowering it below what is settled and held makes that the limit for now, and
    /// recalls. An environment without one is bound by its project's.
    SetCap { scope: Scope, cap: Option<Cap> },
    /// The scope is gone: nothing more is granted; what is held is settled when its holders say so.
    Close { scope: Scope },
    /// New prices.
    Publish { book: PriceBook },
    /// Whether the account's balance bounds what it spends. Off: only caps do.
    SetBilling { account: AccountId, on: bool },
    /// In which order projects stop when the balance ends: the first of the list first. Those
    /// not named stop before those named.
    SetStopOrder {
        account: AccountId,
        projects: Vec<ProjectId>,
    },
    /// Money comes in. Repays debt first.
    Deposit {
        id: String,
        account: AccountId,
        fund: Fund,
        amount: Nano,
        reference: String,
    },
    /// A promised payment: one at a time.
    Promise {
        id: String,
        account: AccountId,
        amount: Nano,
        due_ms: UnixMillis,
    },
    /// A correction or refund: moves money between two accounts of the double entry, naming the
    /// transfer that it corrects.
    Correct {
        id: String,
        account: AccountId,
        amount: Nano,
        corrects: String,
        reason: String,
    },
    /// Holds money for the time after the spending ends: the tail of what is stored. The new
    /// total for the environment; lowering it frees.
    Reserve { environment: EnvironmentId, total: Nano },
    /// A meter's question.
    Exchange(Exchange),
    /// A node is proven off for good: its leases count as spent to the end, the invoice shows
    /// only what was reported.
    Fence { meter: MeterName, incarnation: Incarnation },
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
    pub limit: Nano,
    /// Spent in this period.
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

/// The state of all money. See the module's page.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    _scopes: BTreeMap<Scope, ()>,
}
