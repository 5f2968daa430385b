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
    /// What happens when an instance works although no request is in flight there.
    pub background: BackgroundRule,
}

/// What happens when an instance works although nobody asked anything of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackgroundRule {
    /// It is meant to be so: nothing.
    Allow,
    /// It is told, and has a line of its own in what was spent.
    #[default]
    Tell,
    /// Besides, it gets only a hundredth of its CPU time until the next request.
    Slow,
}

impl Default for GuardRules {
    fn default() -> Self {
        Self {
            enabled: true,
            depth: 16,
            descendants: 1_000,
            repeats: 64,
            reproduction: true,
            background: BackgroundRule::Tell,
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
    /// An instance works although no request is in flight there.
    Background,
}

impl GuardRule {
    /// Its name, as in requests, in events and on pages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Descendants => "descendants",
            Self::Repeats => "repeats",
            Self::Reproduction => "reproduction",
            Self::Growth => "growth",
            Self::Background => "background",
        }
    }
}

/// An instance that works although no request is in flight there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackgroundWork {
    /// Since when.
    pub since_ms: UnixMillis,
    /// CPU time used since, in microseconds.
    pub cpu_us: u64,
    /// Whether it is slowed down for it.
    pub slowed: bool,
}

/// The guard has refused calls (or would have, where it only watches), or warns.
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
    /// What was measured; for reproduction in thousandths, for background work in thousandths of
    /// a core.
    pub measured: u64,
    /// Whether the calls were refused.
    pub refused: bool,
    /// Whether it only comes close to what the rule refuses; `limit` is what it warns of.
    #[serde(default)]
    pub warning: bool,
    /// The evidence: the chain of calls, from the request from outside to the one that was
    /// refused, as `GET shop.example.com/path`; long ones have their middle left out.
    pub chain: Vec<String>,
}

/// How many calls a tenth of a cap pays for, at so much a call: the budget of descendants of one
/// request, where the owner has not declared another. At least 1. Both in the same unit of money.
pub fn calls_within_a_tenth(limit: i64, call: i64) -> u64 {
    let calls = limit / 10 / call.max(1);
    u64::try_from(calls).unwrap_or(0).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_seven_pays_for_331_calls_of_the_incident() {
        assert_eq!(calls_within_a_tenth(7_000_000_000, 2_111_300), 331);
        assert_eq!(calls_within_a_tenth(0, 0), 1);
        assert_eq!(calls_within_a_tenth(-5, 1), 1);
    }
}
