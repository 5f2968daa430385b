//! What nodes keep of answers, and how control has them forget it.

use serde::{Deserialize, Serialize};

use crate::{DeploymentId, EnvironmentId};

/// What is done with the answers of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheSpec {
    /// Whether answers are kept that say that they may be.
    pub enabled: bool,
    /// Whether text is compressed on its way to clients that take it so.
    pub compress: bool,
}

impl Default for CacheSpec {
    fn default() -> Self {
        Self {
            enabled: true,
            compress: true,
        }
    }
}

/// What a node does with the answers of one route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CacheRules {
    /// Whether answers are kept that say that they may be.
    pub store: bool,
    /// Whether text is compressed on its way to clients that take it so.
    pub compress: bool,
    /// The deployment that serves. What another one answered is not served any more.
    pub deployment: Option<DeploymentId>,
}

impl Default for CacheRules {
    /// Both: only answers that say so are kept, and only clients that say so get them compressed.
    fn default() -> Self {
        Self {
            store: true,
            compress: true,
            deployment: None,
        }
    }
}

/// Answers to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachePurge {
    /// Rises with each purge, also over restarts of control.
    pub number: u64,
    /// Whose.
    pub environment: EnvironmentId,
    /// Under which host, lower case, without port; none: under all of them.
    pub host: Option<String>,
    /// The path, whatever its query; with `*` at the end its beginning, with the query. None: all.
    pub path: Option<String>,
}

/// The last purges, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CachePurges {
    /// The highest number that is not in the list any more. A node that has not come so far forgets
    /// everything.
    #[serde(default)]
    pub dropped: u64,
    /// Those that nodes may not have carried out yet.
    #[serde(default)]
    pub list: Vec<CachePurge>,
}

/// What a node keeps of one environment, and how often that helped, since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CacheCounts {
    /// Answers that are kept.
    pub entries: u64,
    /// Bytes that they take in memory.
    pub bytes: u64,
    /// Bytes that they take on disk.
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
}
