//! Invoices and credit notes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An invoice or a credit note.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Invoice {
    /// Identity.
    pub id: String,
    /// `invoice` or `credit-note`.
    pub kind: String,
    /// `draft`, `final` or `credited`.
    pub state: String,
    /// Absent for drafts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<String>,
    /// When it was made.
    pub created: String,
    /// When it got its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finalized: Option<String>,
    /// What is on it.
    pub document: InvoiceDocument,
}

/// What is on an invoice. Amounts are in the currency's smallest unit that is paid, tax included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceDocument {
    /// Name and address, in lines.
    pub seller: String,
    /// Name and address, in lines.
    pub customer: String,
    /// The account.
    pub account: String,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// What was used from then on …
    pub from: String,
    /// … and before then.
    pub until: String,
    /// In which dates on the paper are; a name of the IANA database.
    #[serde(default = "crate::money::utc")]
    pub time_zone: String,
    /// The identity of the invoice that a credit note takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits: Option<String>,
    /// Its number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credits_number: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// By project, environment, kind of use and version of the prices.
    pub lines: Vec<InvoiceLine>,
    /// The sum of the lines, with tax.
    pub total: String,
    /// Of the total, in percent: `19`, `7.5`.
    pub tax_percent: String,
    /// Of the total: tax.
    pub tax: String,
    /// Total less tax.
    pub net: String,
    /// Total less what the ledger has: rounding of the lines.
    pub rounding: String,
}

/// A line of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvoiceLine {
    /// From 1; on a credit note, that of the invoice.
    pub number: u32,
    /// The project.
    pub project: String,
    /// The environment.
    pub environment: String,
    /// What was used.
    pub sku: String,
    /// How much, in the unit of the price.
    pub quantity: String,
    /// For example `0.10 per million`.
    pub price: String,
    /// The version of the prices.
    pub price_version: u32,
    /// What the ledger has, to the last digit.
    pub exact: String,
    /// The same, rounded once.
    pub amount: String,
}

/// An invoice to be made, of a month or of another stretch that is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInvoice {
    /// For whom.
    pub account: String,
    /// A date (its beginning in the time zone of the account) or an instant at a full hour.
    pub from: String,
    /// The same; not included.
    pub until: String,
}

/// A credit note to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreditInvoice {
    /// Lines of the invoice; empty for all that are not taken back yet.
    #[serde(default)]
    pub lines: Vec<u32>,
    /// Why.
    pub reason: String,
}

/// What is the same on all invoices.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InvoiceSettings {
    /// Name and address of the seller, in lines.
    pub seller: String,
    /// Part of the prices, in percent with at most two digits behind the point.
    pub tax_percent: String,
    /// Numbers: `{year}`, and `{number}` or, filled up with zeros, `{number:05}`.
    pub series: String,
    /// Whether each month's invoice is made and numbered by itself, for accounts with billing on
    /// and as soon as there is a seller.
    #[serde(default = "yes")]
    pub automatic: bool,
}

fn yes() -> bool {
    true
}

/// Whom invoices of an account are for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCustomer {
    /// Name and address, in lines.
    pub address: String,
}
