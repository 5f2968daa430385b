//! Releases: immutable, so that a rollback needs no build and gives what ran before.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::spec::AppSpec;
use crate::{AppName, EnvironmentId, ReleaseId, UnixMillis};

/// Image digests, the configuration and the app specifications they were made from. One
/// release covers all apps of an environment, so that a push of a repository with several
/// apps goes live, and is rolled back, as one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Identity.
    pub id: ReleaseId,
    /// The environment that it was made for.
    pub environment: EnvironmentId,
    /// 1, 2, 3 … in the environment.
    pub number: i64,
    /// What runs, by app.
    pub apps: BTreeMap<AppName, ReleaseApp>,
    /// The variables of the environment at the time, secrets sealed; `VariableName` to value.
    pub configuration: Vec<crate::project::Variable>,
    /// The version of the environment's configuration that it was made from.
    pub configuration_version: i64,
    /// Where it came from.
    pub source: ReleaseSource,
    /// When it was made.
    pub created_ms: UnixMillis,
}

/// One app of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseApp {
    /// The image, by content (`sha256:…`).
    pub image: String,
    /// How it runs.
    pub spec: AppSpec,
}

/// Where a release came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum ReleaseSource {
    /// `git push`.
    Push {
        /// The commit, in hex.
        commit: String,
        /// The branch that was pushed.
        branch: String,
        /// First line of the commit's message.
        message: String,
    },
    /// `weir deploy` from a folder.
    Upload {
        /// What the person said it is.
        message: String,
    },
    /// Variables were set; the images are those of an earlier release.
    Configuration {
        /// The names that were set or unset.
        names: Vec<String>,
    },
    /// Promoted from another environment; the images are those of its release.
    Promotion {
        /// The environment that it was promoted from.
        from: String,
        /// The number of the release there.
        number: i64,
    },
}
