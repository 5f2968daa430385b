//! What the guard has refused lately.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use weir_model::UnixMillis;
use weir_model::guard::{GuardRule, GuardTrip};

use crate::seat::Trail;
use crate::target::Target;

/// Trips kept.
const MOST: usize = 64;
/// What is refused by the same rule at the same target within so long is one trip.
const SAME_MS: i64 = 10_000;

/// What was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Finding {
    pub(crate) rule: GuardRule,
    pub(crate) limit: u64,
    pub(crate) measured: u64,
    pub(crate) at_ms: UnixMillis,
}

/// The latest trips.
#[derive(Debug, Default)]
pub(crate) struct Trips {
    count: u64,
    latest: VecDeque<Arc<GuardTrip>>,
    by_rule: BTreeMap<(u32, GuardRule), Arc<GuardTrip>>,
}

impl Trips {
    /// Records a trip, unless it is the same as a moment ago, and returns what is recorded.
    /// None for a target without a name.
    pub(crate) fn record(
        &mut self,
        target: &Target,
        found: Finding,
        refused: bool,
        trail: &Trail,
    ) -> Option<Arc<GuardTrip>> {
        let (app, process) = target.names.clone()?;
        let key = (target.number, found.rule);
        if let Some(known) = self
            .by_rule
            .get(&key)
            .filter(|known| found.at_ms - known.at_ms < SAME_MS)
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
            refused,
            chain: trail.told_to(target.environment),
        });
        self.by_rule.retain(|_, known| found.at_ms - known.at_ms < SAME_MS);
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
