//! When an app's own calls count as a runaway, and what is told when they do.

use serde::{Deserialize, Serialize};

use crate::{AppName, EnvironmentId, ProcessName, UnixMillis};

/// The rules of the guard for one app. Only calls that instances make to addresses of this Weir
/// are judged by them; visitors from outside never are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GuardRules {
    /// Whether the guard refuses. Off, it only watches and tells.
    pub enabled: bool,
    /// Longest chain of calls from one request from outside; 1 to 1000.
    pub depth: u32,
    /// Most calls that may descend from one request from outside; 1 to 1,000,000.
    pub descendants: u64,
    /// Most times that the same content is asked for among the descendants of one request;
    /// 0 for no limit.
    pub repeats: u32,
    /// Whether a service whose own calls multiply is cut off before any of the limits.
    pub reproduction: bool,
}

impl Default for GuardRules {
    fn default() -> Self {
        Self {
            enabled: true,
            depth: 16,
            descendants: 1_000,
            repeats: 64,
            reproduction: true,
        }
    }
}

/// Which rule was broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardRule {
    /// A chain of calls was too long.
    Depth,
    /// One request from outside caused too many calls.
    Descendants,
    /// The same content was asked for again and again.
    Repeats,
    /// Every call caused at least one more, over several windows.
    Reproduction,
    /// Calls doubled several times within seconds.
    Growth,
}

/// The guard has refused calls (or would have, where it only watches).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardTrip {
    /// Counts the trips of this incarnation of the node, from 1.
    pub sequence: u64,
    /// When.
    pub at_ms: UnixMillis,
    /// Whose.
    pub environment: EnvironmentId,
    /// The app that was called.
    pub app: AppName,
    /// Its process.
    pub process: ProcessName,
    /// What was broken.
    pub rule: GuardRule,
    /// The limit.
    pub limit: u64,
    /// What was measured; for reproduction in thousandths.
    pub measured: u64,
    /// Whether the calls were refused.
    pub refused: bool,
    /// The evidence: the chain of calls, from the request from outside to the one that was
    /// refused, as `GET shop.example.com/path`; long ones have their middle left out.
    pub chain: Vec<String>,
}
