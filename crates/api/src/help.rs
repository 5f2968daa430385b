//! Asking those who run Weir for help.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A question to those who run Weir.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HelpRequest {
    /// `hlp_…`.
    pub id: String,
    /// One line.
    pub subject: String,
    /// What it is about: `shop/staging`, `shop`, `account:default`; absent: nothing in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `open`: waits for an answer; `answered`: waits for who asked; `closed`.
    pub state: String,
    /// Who asked: a mail address, or the name of a token.
    pub by: String,
    /// When.
    pub created: String,
    /// When anything was last said or changed.
    pub updated: String,
    /// What was said, oldest first; absent in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<Vec<HelpMessage>>,
    /// How things stood when it was asked; absent in lists, and where it was not attached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context: Option<HelpContext>,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HelpMessage {
    /// `hlm_…`.
    pub id: String,
    /// When.
    pub at: String,
    /// Who: a mail address, or the name of a token.
    pub by: String,
    /// From whoever runs Weir, and not from the one who asked.
    pub operator: bool,
    /// Plain text.
    pub text: String,
}

/// How things stand in an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HelpContext {
    /// When.
    pub at: String,
    /// Status, newest deployment, newest log lines, names of variables, caps: as far as whoever asks may
    /// see them. Values of variables are left out.
    pub parts: Vec<HelpContextPart>,
}

/// A part of how things stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HelpContextPart {
    /// What it is.
    pub title: String,
    /// Plain text; of a long one the end.
    pub text: String,
}

/// `POST /v1/help`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateHelp {
    /// One line of 1 to 200 characters.
    pub subject: String,
    /// 1 to 20,000 characters.
    pub text: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Adds how things stand in the environment that it is about.
    #[serde(default)]
    pub attach: bool,
}

/// `POST /v1/help/{request}/messages`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateHelpMessage {
    /// 1 to 20,000 characters.
    pub text: String,
}

/// `PATCH /v1/help/{request}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateHelp {
    /// `open` or `closed`.
    pub state: String,
}
