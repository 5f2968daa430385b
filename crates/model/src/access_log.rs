//! The access log: one entry for each request to an app that has it switched on.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::{AppName, EnvironmentId, InstanceId, UnixMillis};

/// Whether requests to an app are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AccessLogging {
    /// They are not.
    #[default]
    Off,
    /// They are, without the query of the URL, in which secrets may be.
    On,
    /// They are, with the query.
    WithQuery,
}

impl AccessLogging {
    /// `off`, `on` or `with-query`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::WithQuery => "with-query",
        }
    }
}

impl std::str::FromStr for AccessLogging {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Off, Self::On, Self::WithQuery]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or_else(|| "an access log is `off`, `on` or `with-query`".to_owned())
    }
}

/// Entries on their way from a node to control.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessBatch {
    /// In the order in which the requests ended.
    pub entries: Vec<AccessEntry>,
    /// How many were left out before these, because control did not take them in time.
    pub dropped: Vec<(EnvironmentId, AppName, u64)>,
}

/// One request and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessEntry {
    /// Whose it is.
    pub environment: EnvironmentId,
    /// The app.
    pub app: AppName,
    /// The process.
    pub process: String,
    /// When its head had come.
    pub at_ms: UnixMillis,
    /// What was asked.
    pub request: AccessRequest,
    /// The status of the answer; none where the client went before there was one.
    pub status: Option<u16>,
    /// Who answered: `app`, or what Weir's page is marked with; none without an answer.
    pub answered_by: Option<String>,
    /// The instance that was asked last.
    pub instance: Option<InstanceId>,
    /// Bytes of the request's body that came.
    pub received_bytes: u64,
    /// Bytes of the answer's body that went to the client.
    pub sent_bytes: u64,
    /// From the head of the request to the head of the answer, in microseconds.
    pub first_byte_us: Option<u64>,
    /// From the head of the request to the end of the answer, in microseconds.
    pub duration_us: u64,
}

/// What a client asked. Its own words are bounded in length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRequest {
    /// The client's address.
    pub client: IpAddr,
    /// The method.
    pub method: String,
    /// The host, lower case.
    pub host: String,
    /// The path, without the query.
    pub path: String,
    /// The query, where the app logs it.
    pub query: Option<String>,
    /// `HTTP/1.1` and the like.
    pub protocol: String,
    /// `TLSv1.3` and the like; none without TLS.
    pub tls: Option<String>,
    /// The header `User-Agent`.
    pub user_agent: Option<String>,
    /// The header `Referer`, without its query.
    pub referer: Option<String>,
    /// `x-request-id`.
    pub request_id: String,
    /// Of `traceparent`.
    pub trace_id: String,
}
