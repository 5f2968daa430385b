//! Outside payment and billing systems: what they pay in, and what they are told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::InvoiceDocument;

/// Money that a payment system has taken in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Topup {
    /// Made by the payment system: the same id with the same content is booked once.
    pub id: String,
    /// Name of the account.
    pub account: String,
    /// Above zero, in whole cents (or what the currency has): `10.00`.
    pub amount: String,
    /// That of the prices: three capital letters (ISO 4217).
    pub currency: String,
    /// Of the payment, for people.
    pub reference: String,
}

/// Which outside systems are connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Billing {
    /// Whether top-ups are taken from a payment system.
    pub topups: bool,
    /// The system that is told of usage, invoices and credit notes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<OutsideSystem>,
    /// How many records are in which state.
    pub records: RecordCounts,
}

/// The system that is told of usage, invoices and credit notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OutsideSystem {
    /// Records are put below it.
    pub url: String,
    /// It may lead to the machine itself and to private networks.
    pub allow_private: bool,
    /// What was used, or became final, from then on is told.
    pub since: String,
    /// What records are signed with; told once, and only if Weir has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// How many records are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordCounts {
    /// To be sent.
    pub pending: i64,
    /// The outside system says that it has them; that is not proven yet.
    pub unconfirmed: i64,
    /// Read back as they were sent.
    pub confirmed: i64,
    /// Not tried any more until somebody asks for it.
    pub failed: i64,
}

/// The payment system that top-ups are taken from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetTopups {
    /// What it signs with, 32 to 200 printable characters; one is made if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// What top-ups are to be signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TopupsSecret {
    /// Told once, and only if Weir has made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// The system that is to be told of usage, invoices and credit notes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetOutside {
    /// Records are put below it.
    pub url: String,
    /// It may lead to the machine itself and to private networks, also without TLS.
    #[serde(default)]
    pub allow_private: bool,
    /// An instant: what was used, or became final, from then on is told. If absent, it stays as it
    /// is, or is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// What records are signed with, 32 to 200 printable characters. If absent, it stays as it is,
    /// or one is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A record for the outside system, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BillingRecord {
    /// Identity: the last part of its path there, and its `Idempotency-Key`.
    pub id: String,
    /// `usage`, `invoice` or `credit-note`.
    pub kind: String,
    /// Name of the account.
    pub account: String,
    /// Of money.
    pub amount: String,
    /// SHA-256 of the body, in hex.
    pub sha256: String,
    /// `pending`, `unconfirmed`, `confirmed` or `failed` …
    pub state: String,
    /// … since then.
    pub since: String,
    /// When it was written.
    pub created: String,
    /// How many attempts have failed since it was written, or since somebody had it tried again.
    pub attempts: u32,
    /// When it is tried next; absent if it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// What the outside system said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    /// What is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// As it is sent; only of a single record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// How many records are tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Retried {
    /// So many.
    pub records: u64,
}

/// What an outside system is told of an hour of an account: what was used and was not told before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageRecord {
    /// Identity.
    pub id: String,
    /// `usage`.
    pub kind: String,
    /// Name of the account.
    pub account: String,
    /// Its identity.
    pub account_id: String,
    /// The sum of the lines, exact.
    pub amount: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// When the hour begins.
    pub hour: String,
    /// 1 for the first record of the hour; what became known later follows in further ones.
    pub part: u32,
    /// By app, process, kind of use and version of the prices.
    pub lines: Vec<UsageLine>,
}

/// A line of what was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsageLine {
    /// Name of the project; its identity if it is gone.
    pub project: String,
    /// Its identity.
    pub project_id: String,
    /// Name of the environment; its identity if it is gone.
    pub environment: String,
    /// Its identity.
    pub environment_id: String,
    /// The app; absent for what belongs to the environment as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// The process; absent for what belongs to the app as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// What was used.
    pub sku: String,
    /// The version of the prices.
    pub price_version: u32,
    /// How much, in raw units, as text: it may be more than a number of JSON holds.
    pub units: String,
    /// What it cost, exact.
    pub amount: String,
}

/// What an outside system is told of an invoice or a credit note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentRecord {
    /// Identity.
    pub id: String,
    /// `invoice` or `credit-note`.
    pub kind: String,
    /// Name of the account.
    pub account: String,
    /// Its identity.
    pub account_id: String,
    /// The total, with tax; of a credit note below zero.
    pub amount: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// In the series.
    pub number: String,
    /// When it got its number.
    pub finalized: String,
    /// What is on it.
    pub document: InvoiceDocument,
}

/// What an outside system answers when a record is read back. Other fields do not matter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecordShown {
    /// Of the record.
    pub id: String,
    /// Of the record.
    pub amount: String,
    /// SHA-256 of the body of the record as it is kept there, in hex.
    pub sha256: String,
}
