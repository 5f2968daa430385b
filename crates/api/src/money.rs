//! Caps, costs, prices, accounts, the guard and the ledger.
//!
//! Amounts are decimal text with a point and all digits (`7.00`, `0.0000004`), in the currency
//! that the answer names; numbers of units are whole numbers as text, because they outgrow what
//! JSON's numbers hold everywhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a scope stands: what it may cost, and how much of that is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CapStanding {
    /// As `weir cap set` takes it: `account:default`, `shop`, `shop/staging`.
    pub scope: String,
    /// `account`, `project` or `environment`.
    pub kind: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// Its own cap; absent for an environment that is bound by its project's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Cap>,
    /// The limit in force: the cap's, or what was spent and held when the cap was set below that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Spent in this period.
    pub settled: String,
    /// Held ahead: for what runs now, and for the tail of what is stored.
    pub held: String,
    /// Of `held`: the tail of what is stored.
    pub reserved: String,
    /// What is left of the limit in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// The period began.
    pub from: String,
    /// The period ends; absent for `total`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Spent per hour, over the last minutes.
    pub burn_per_hour: String,
    /// What instances cost per hour that use all the memory and CPU time they may.
    pub worst_per_hour: String,
    /// When the cap is reached at the present pace; absent where it is not within the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<String>,
    /// When the cap is reached at the worst; absent where it is not within the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_at_worst: Option<String>,
    /// Why nothing more is spent at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

/// What a scope may cost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Cap {
    /// Most that is spent in one period.
    pub limit: String,
    /// `day`, `week`, `month` or `total`.
    pub period: String,
    /// Whether the money is let out slowly after a burst.
    pub pace: bool,
}

/// Why nothing more is spent, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Stopped {
    /// `environment-cap`, `project-cap`, `account-cap`, `balance`, `pace`, `recalling`, `gone`.
    pub reason: String,
    /// One line for people.
    pub message: String,
    /// The next step.
    pub hint: String,
    /// Until when what an environment stores is kept without money; then it is deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<String>,
}

/// `PUT …/cap`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCap {
    /// Most that may be spent in one period: above 0, at most nine digits after the point.
    pub limit: String,
    /// `day`, `week`, `month` or `total`.
    pub period: String,
    /// Whether the money is let out slowly after a burst; absent: as it was, and for a first cap
    /// only for projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pace: Option<bool>,
    /// Only tell what would be.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a change of a cap means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CapChange {
    /// As `weir cap set` takes it.
    pub scope: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// Whether it was done, or only told.
    pub done: bool,
    /// The cap before; absent where the scope had none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Cap>,
    /// The cap after; absent where the scope has none of its own then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Cap>,
    /// The limit in force then: what is spent and held already, where the cap is below that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<String>,
    /// Spent and held in this period.
    pub spent_and_held: String,
    /// What instances cost per hour that use all the memory and CPU time they may.
    pub worst_per_hour: String,
    /// The same for 730 hours.
    pub worst_per_month: String,
    /// When the cap stops it at the worst; absent where it does not within the period.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached_at_worst: Option<String>,
    /// What is to be known besides, each one line.
    pub notes: Vec<String>,
}

/// `GET …/cost`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostReport {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// From when.
    pub from: String,
    /// Until when; what is still being used is in it up to the last report of its node.
    pub until: String,
    /// In which days and months begin, and dates are understood; a name of the IANA database.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Sorted by time, then by name.
    pub lines: Vec<CostLine>,
    /// The part of `total` that went with crashes of nodes: counted against the caps, not billed.
    pub lost: String,
    /// What all lines cost, to the last unit.
    pub total: String,
}

/// What something cost. What the report was not asked to tell apart is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CostLine {
    /// Begin of the hour, day or month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The project.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    /// The app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// What was used: `requests`, `cpu`, …; `lost` for what went with a crash.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sku: Option<String>,
    /// How much, in raw units of the SKU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub units: Option<String>,
    /// By which version of the prices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_version: Option<u32>,
    /// By which price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
    /// What it cost.
    pub amount: String,
}

/// A price: so much money for so many raw units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Price {
    /// Millionths of a millionth of the currency.
    pub pico: String,
    /// Raw units.
    pub per: String,
    /// For people: `1.00 per GiB-month`.
    pub text: String,
}

/// A version of all prices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceBook {
    /// 1, 2, 3 …
    pub version: u32,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// From when it holds for what is leased anew.
    pub valid_from: String,
    /// Whether what is leased now is leased by it.
    pub in_force: bool,
    /// The prices, by SKU.
    pub prices: Vec<SkuPrice>,
    /// As the file that `weir prices publish` takes.
    pub toml: String,
}

/// What a kind of use costs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkuPrice {
    /// The kind of use.
    pub sku: String,
    /// The price.
    pub price: Price,
}

/// `POST /v1/prices`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishPrices {
    /// The file.
    pub toml: String,
    /// Only tell what would change.
    #[serde(default)]
    pub dry_run: bool,
}

/// What a new version of the prices changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PriceChange {
    /// The version that was published, or would be.
    pub version: u32,
    /// From when it holds.
    pub valid_from: String,
    /// Whether it was published, or only looked at.
    pub done: bool,
    /// Prices that differ from those of the version before.
    pub changes: Vec<SkuChange>,
}

/// A price that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SkuChange {
    /// The kind of use.
    pub sku: String,
    /// The price before; absent where it had none, so that it was free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Price>,
    /// The price after; absent where it has none, so that it is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Price>,
}

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Account {
    /// Name.
    pub name: String,
    /// Identity.
    pub id: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// Whether its balance bounds what is spent. Off: only caps do.
    pub billing: bool,
    /// What can be spent of all funds, less debt.
    pub balance: String,
    /// Given to begin with, and left.
    pub trial: String,
    /// Promised to be paid, and left.
    pub promised: String,
    /// Paid in, and left.
    pub cash: String,
    /// Held ahead: leased to what runs, and the tail of what is stored. In no fund any more.
    pub held: String,
    /// Owed: promises that were not kept.
    pub debt: String,
    /// When the promised payment falls due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<String>,
    /// In which dates are understood and months begin; a name of the IANA database.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Which project stops first when the balance ends; those that are not named stop before.
    pub stop_order: Vec<String>,
    /// Its projects.
    pub projects: Vec<String>,
}

/// `POST /v1/accounts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateAccount {
    /// 1 to 30 of `a-z 0-9 -`.
    pub name: String,
}

/// In which civil time the periods of caps and the months of invoices begin, and dates are
/// understood; one for the whole Weir.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TimeZone {
    /// A name of the IANA database: `Europe/Berlin`, `UTC`.
    pub time_zone: String,
}

pub(crate) fn utc() -> String {
    "UTC".to_owned()
}

/// `POST /v1/accounts/{account}/deposits`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateDeposit {
    /// Made by the caller; the same one again with the same content changes nothing.
    pub id: String,
    /// `cash` or `trial`.
    pub fund: String,
    /// Above 0.
    pub amount: String,
    /// What it was: the number of a bank transfer, say.
    pub reference: String,
}

/// `POST /v1/accounts/{account}/promises`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreatePromise {
    /// Made by the caller; the same one again with the same content changes nothing.
    pub id: String,
    /// Above 0.
    pub amount: String,
    /// Until when it will be paid: an instant in the future.
    pub due: String,
}

/// `PUT /v1/accounts/{account}/billing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetBilling {
    /// Whether the balance bounds what is spent.
    pub on: bool,
}

/// `PUT /v1/accounts/{account}/stop-order`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStopOrder {
    /// Names of projects: the first stops first. Those that are not named stop before.
    pub projects: Vec<String>,
}

/// Money that moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Transfer {
    /// Identity.
    pub id: String,
    /// When.
    pub at: String,
    /// From which account of the double entry.
    pub from: String,
    /// To which.
    pub to: String,
    /// How much; above 0.
    pub amount: String,
    /// What it was.
    pub reference: String,
}

/// `GET …/guard`: the rules against runaways of an environment, and what they caught.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Guard {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// By app.
    pub rules: Vec<GuardRules>,
    /// Instances that work although no request is in flight there.
    #[serde(default)]
    pub background: Vec<BackgroundWork>,
    /// Lately refused (or, where the guard is off, seen) and warned of, newest first.
    pub trips: Vec<GuardTrip>,
}

/// What happens when an instance that answers requests works although none is in flight there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnBackground {
    /// Nothing: it is meant to be so.
    Allow,
    /// It is told.
    Tell,
    /// It is told, and gets only a hundredth of its CPU time until the next request.
    Slow,
}

/// An instance that works although no request is in flight there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackgroundWork {
    /// The app.
    pub app: String,
    /// Its process.
    pub process: String,
    /// The instance.
    pub instance: String,
    /// Since when.
    pub since: String,
    /// CPU time used since, in milliseconds.
    pub cpu_ms: u64,
    /// Whether it is slowed down for it.
    pub slowed: bool,
}

/// The rules for one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuardRules {
    /// The app.
    pub app: String,
    /// Whether they were set; else they are the defaults.
    pub set: bool,
    /// Whether the guard refuses. Off, it only watches and tells.
    pub enabled: bool,
    /// Longest chain of calls from one request from outside.
    pub depth: u32,
    /// Most calls that may descend from one request from outside.
    pub descendants: u64,
    /// Of them, those that the guard lets pass: fewer where the number was not set and a tenth of
    /// the cap pays for fewer.
    pub budget: u64,
    /// Most times that the same content is asked for among them; 0 for no limit.
    pub repeats: u32,
    /// Whether a service whose own calls multiply is cut off before any of the limits.
    pub reproduction: bool,
    /// What happens when an instance works although no request is in flight there.
    pub background: OnBackground,
    /// What the calls that descend from one request from outside may cost at worst by these
    /// rules; absent where the guard is off, so that only the cap bounds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_per_root: Option<String>,
}

/// `PATCH …/guard`: what is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateGuard {
    /// The app; absent: the only one, or the main app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Whether the guard refuses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// 1 to 1000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u32>,
    /// 1 to 1,000,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descendants: Option<u64>,
    /// 0 for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repeats: Option<u32>,
    /// Whether a service whose own calls multiply is cut off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reproduction: Option<bool>,
    /// What happens when an instance works although no request is in flight there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub background: Option<OnBackground>,
}

/// The guard has refused calls, or seen what it would have refused, or warns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct GuardTrip {
    /// When.
    pub at: String,
    /// The app that was called.
    pub app: String,
    /// Its process.
    pub process: String,
    /// `depth`, `descendants`, `repeats`, `reproduction`, `growth` or `background`.
    pub rule: String,
    /// The limit.
    pub limit: u64,
    /// What was measured; for reproduction in thousandths, for growth in milliseconds, for
    /// background work in thousandths of a core.
    pub measured: u64,
    /// Whether the calls were refused.
    pub refused: bool,
    /// Whether it only comes close to what the rule refuses; `limit` is what it warns of.
    #[serde(default)]
    pub warning: bool,
    /// The chain of calls, from the request from outside to the one that was refused.
    pub chain: Vec<String>,
}

/// `GET /v1/ledger/audit`: the journal replayed and compared with the books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Audit {
    /// Whether nothing was found.
    pub sound: bool,
    /// When it was made.
    pub at: String,
    /// Entries of the journal that were replayed.
    pub events: u64,
    /// Hash of the newest entry, in hex. Written down elsewhere, it proves later that nothing
    /// before it was changed.
    pub hash: String,
    /// Checkpoints that were compared with the replay.
    pub checkpoints: u64,
    /// Hourly rows of what was used that were compared.
    pub hours: u64,
    /// Leases whose holders' counters were compared.
    pub leases: u64,
    /// Environments of which what nodes served was compared with what is paid, each once for
    /// every series of runs of a node.
    pub accesses: u64,
    /// Requests that were paid for and not served, or not known to be because a node was killed.
    pub unserved_requests: u64,
    /// What is not as it has to be, each one line; at most 100.
    pub findings: Vec<String>,
}

/// An entry of the ledger's journal, for an independent checker. `docs/reference/ledger.md`
/// says what the hash covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct JournalEntry {
    /// 1, 2, 3 …, without gaps.
    pub sequence: i64,
    /// When it was decided, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The event: JSON as it was hashed, to the byte.
    pub body: String,
    /// Hash of the entry before, in hex.
    pub previous_hash: String,
    /// Hash of this one, in hex.
    pub hash: String,
}

/// The money line of an environment's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EnvironmentMoney {
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// Spent by the environment in this period.
    pub spent: String,
    /// The cap that leaves it the least, of those that one may see; absent where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Cap>,
    /// Whose cap that is, as `weir cap set` takes it; without one the environment itself.
    pub scope: String,
    /// What is left of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<String>,
    /// Why nothing more is spent at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}
