//! Access logs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether requests are logged, and where the lines are shipped to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessLog {
    /// By app.
    pub apps: Vec<AccessLogApp>,
    /// Where lines are shipped to; `null`: nowhere.
    pub shipping: Option<AccessLogShipping>,
}

/// Whether requests to one app are logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessLogApp {
    /// The app.
    pub app: String,
    /// `off`, `on` or `with-query`.
    pub logging: String,
    /// Whether that was set here; otherwise `weir.toml` says so.
    pub set: bool,
    /// Whether it is the one that is meant when none is named.
    pub main: bool,
}

/// Where the lines of an environment are shipped to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccessLogShipping {
    /// The collector.
    pub url: String,
    /// Whether it may be on this machine or in a private network.
    pub allow_private: bool,
    /// When the newest line was written that the collector has taken, RFC 3339.
    pub sent_until: Option<String>,
    /// Why the last batch was not taken.
    pub problem: Option<String>,
}

/// Switches the access log of an app.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAccessLog {
    /// The app; absent: the only one, or the main app.
    #[serde(default)]
    pub app: Option<String>,
    /// `off`, `on` or `with-query` (with the query of URLs, in which secrets may be); `null`: as
    /// `weir.toml` says.
    pub logging: Option<String>,
}

/// Ships lines to a collector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetAccessLogShipping {
    /// Gets batches of lines by POST; `https://…`.
    pub url: String,
    /// What batches are signed with, 32 to 200 characters; absent: the present one, or a new one.
    #[serde(default)]
    pub secret: Option<String>,
    /// It may be on this machine or in a private network, and without TLS.
    #[serde(default)]
    pub allow_private: bool,
}

/// A secret that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct MadeSecret {
    /// It is not shown again; `null` if none was made.
    pub secret: Option<String>,
}
