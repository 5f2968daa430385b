//! What nodes keep of answers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `GET …/cache`: what is kept of an environment's answers, over all nodes, and how often that helped
/// since they started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CacheStatus {
    /// Answers that are kept.
    pub entries: u64,
    /// Bytes of memory that they take.
    pub bytes: u64,
    /// Bytes on disk that they take.
    #[serde(default)]
    pub disk_bytes: u64,
    /// Requests that were answered without asking the app.
    pub hits: u64,
    /// Requests whose answer was then kept.
    pub misses: u64,
    /// Requests that were answered by what was not fresh any more, as it allowed.
    pub stale: u64,
    /// Requests that were answered after the app had said that what is kept still holds.
    pub revalidated: u64,
    /// The part of them that needed no new answer of the app, from 0 to 1; absent before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_rate: Option<f64>,
}

/// `POST …/cache/purge`: which answers are to be forgotten; all of the environment if nothing is named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeCache {
    /// Only under this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Only this path, with any query; with `*` at the end everything that begins so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// They are forgotten: every node has said so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CachePurged {
    /// Rises with each purge.
    pub number: u64,
}
