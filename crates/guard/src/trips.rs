//! What the guard has refused lately.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_model::UnixMillis;
use weir_model::guard::{GuardRule, GuardTrip};

use crate::target::Target;

/// Trips kept.
const MOST: usize = 64;
/// What is refused by the same rule at the same target within so long is one trip.
const SAME_MS: i64 = 10_000;
/// The same for warnings.
const SAME_WARNING_MS: i64 = 600_000;

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finding {
    pub(crate) rule: GuardRule,
    pub(crate) limit: u64,
    pub(crate) measured: u64,
    pub(crate) at_ms: UnixMillis,
    pub(crate) outcome: Outcome,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Calls are refused.
    Refused,
    /// It is only told.
    Seen,
    /// It only comes close.
    Warned,
}

impl Outcome {
    fn same_ms(self) -> i64 {
        match self {
            Self::Refused | Self::Seen => SAME_MS,
            Self::Warned => SAME_WARNING_MS,
        }
    }
}

/// The latest trips.
#[derive(Debug, Default)]
pub(crate) struct Trips {
    count: u64,
    latest: VecDeque<Arc<GuardTrip>>,
    by_rule: BTreeMap<(u32, GuardRule, bool), Arc<GuardTrip>>,
}

impl Trips {
    /// Records a trip, unless it is the same as a moment ago, and returns what is recorded.
    /// None for a target without a name. `evidence` is asked for what is new.
    pub(crate) fn record(
        &mut self,
        target: &Target,
        found: Finding,
        evidence: impl FnOnce() -> Vec<String>,
    ) -> Option<Arc<GuardTrip>> {
        let (app, process) = target.names.clone()?;
        let warning = found.outcome == Outcome::Warned;
        let key = (target.number, found.rule, warning);
        let is_recent = |known: &GuardTrip, same_ms| found.at_ms - known.at_ms < same_ms;
        if let Some(known) = self.by_rule.get(&key)
            && is_recent(known, found.outcome.same_ms())
        {
            return Some(Arc::clone(known));
        }
        self.count += 1;
        let trip = Arc::new(GuardTrip {
            sequence: self.count,
            at_ms: found.at_ms,
            environment: target.environment,
            app,
            process,
            rule: found.rule,
            limit: found.limit,
            measured: found.measured,
            refused: found.outcome == Outcome::Refused,
            warning,
            chain: evidence(),
        });
        self.by_rule.retain(|_, known| is_recent(known, SAME_WARNING_MS));
        self.by_rule.insert(key, Arc::clone(&trip));
        if self.latest.len() == MOST {
            self.latest.pop_front();
        }
        self.latest.push_back(Arc::clone(&trip));
        Some(trip)
    }

    /// How many there were.
    #[cfg(feature = "traces")]
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Oldest first.
    pub(crate) fn latest(&self) -> Vec<GuardTrip> {
        self.latest.iter().map(|trip| GuardTrip::clone(trip)).collect()
    }
}
