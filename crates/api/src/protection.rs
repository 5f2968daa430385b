//! What stands before the hosts of an environment.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Who may pass, what is closed, and what was refused. What `weir.toml` says is not in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Protection {
    /// Who may pass to the whole environment; everybody if there is nobody.
    pub users: Vec<AccessUser>,
    /// How it is closed; absent: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// What was not let through.
    pub refused: RefusedRequests,
    /// The path of the link past the maintenance that was asked for with `bypass`, on every host of the
    /// environment. It is told once; only its hash is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bypass_path: Option<String>,
}

/// Somebody with a password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessUser {
    /// The name to give with the password.
    pub name: String,
    /// When the password was set, RFC 3339.
    pub set: String,
}

/// A password for somebody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAccess {
    /// 8 to 512 bytes. Only its hash is kept.
    pub password: String,
}

impl std::fmt::Debug for SetAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SetAccess(hidden)")
    }
}

/// An environment that is closed for a while: visitors get a 503 that says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Maintenance {
    /// Since when, RFC 3339.
    pub since: String,
    /// Until when, as far as was said, RFC 3339. It does not end by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// What visitors are told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Addresses and networks that get through all the same.
    pub allow: Vec<String>,
    /// Whether visitors get a page of the owner's.
    pub own_page: bool,
    /// Whether there is a secret link that lets a browser through.
    #[serde(default)]
    pub bypass: bool,
}

/// Closes an environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetMaintenance {
    /// What visitors are told; at most 1000 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// When it will probably be over, RFC 3339; visitors' programs come again then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Addresses and networks that get through all the same, like `203.0.113.9` or `10.0.0.0/8`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<String>,
    /// A page in HTML for visitors, at most 65536 bytes. It may neither load nor run anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// Makes a secret link that lets whoever opens it through until the end of the maintenance; one of
    /// before holds no more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub bypass: bool,
}

/// Requests that were not let through since the nodes started, by the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RefusedRequests {
    /// More than a rate lets pass.
    pub rate: u64,
    /// Too large.
    pub body: u64,
    /// From an address that may not pass.
    pub address: u64,
    /// Without a password that is right.
    pub password: u64,
    /// Closed for maintenance.
    pub maintenance: u64,
}

impl RefusedRequests {
    /// Whether nothing was refused.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
