//! Contacts and what they are told.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who is told about money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Contact {
    /// Identity.
    pub id: String,
    /// The account whose money it is.
    pub account: String,
    /// The only project that it is told of, beside what concerns the account; absent for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// `email` or `webhook`.
    pub channel: String,
    /// Mail address or URL.
    pub address: String,
    /// It may lead to the machine itself and to private networks.
    pub allow_private: bool,
    /// When it was added.
    pub created: String,
    /// What webhooks are signed with; told once, when it is added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A contact to be added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateContact {
    /// `email` or `webhook`.
    pub channel: String,
    /// Mail address or URL.
    pub address: String,
    /// Only this project, and what concerns its account as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// All projects of this account; `default` if neither is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The URL may lead to the machine itself and to private networks, also without TLS.
    #[serde(default)]
    pub allow_private: bool,
}

/// Something that a contact is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Notice {
    /// Identity; the receiver sees the same one however often it is delivered.
    pub id: String,
    /// Whom it is for.
    pub contact: String,
    /// Mail address or URL.
    pub address: String,
    /// `money.crossed`, `money.stopped`, `money.resumed`, `money.forecast`, `guard.tripped` …
    pub kind: String,
    /// One line.
    pub subject: String,
    /// `waiting`, `sent` or `given-up`.
    pub state: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was handed in.
    pub created: String,
    /// While it waits: when it is tried next; afterwards: when it was done with.
    pub next: String,
    /// What went wrong at the last attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}
