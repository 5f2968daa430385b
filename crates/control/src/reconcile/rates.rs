//! How many requests environments answer a second, over the last minute: from what nodes count for
//! each instance since they started.

use std::collections::{BTreeMap, HashMap, VecDeque};

use weir_model::route::BackendLoad;
use weir_model::{EnvironmentId, InstanceId, UnixMillis};

/// A slice of the minute.
const SLICE_MS: i64 = 5_000;
/// Slices of a minute.
const SLICES: usize = 12;
/// What is older says nothing about the last minute.
const STALE_MS: i64 = 60_000;

/// Requests per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rate {
    /// That instances have answered.
    pub requests: f64,
    /// Of those, with 500 to 599, or not at all.
    pub errors: f64,
}

/// The last minute, in slices.
#[derive(Debug, Default)]
pub(super) struct Rates {
    /// When the counts were looked at last; `None` before the first time.
    looked_ms: Option<UnixMillis>,
    /// What the nodes had counted then.
    counted: HashMap<InstanceId, (u64, u64)>,
    slices: VecDeque<Slice>,
}

#[derive(Debug)]
struct Slice {
    from_ms: UnixMillis,
    until_ms: UnixMillis,
    answered: HashMap<EnvironmentId, (u64, u64)>,
}

impl Rates {
    /// Whether it is time to look at the counts again.
    pub(super) fn is_due(&self, now_ms: UnixMillis) -> bool {
        // A clock that was set back must not stop it.
        self.looked_ms
            .is_none_or(|looked_ms| !(0..SLICE_MS).contains(&(now_ms - looked_ms)))
    }

    /// Takes in the counts of all instances, with the environments of those that are known.
    pub(super) fn look(
        &mut self,
        loads: &BTreeMap<InstanceId, BackendLoad>,
        environments: &HashMap<InstanceId, EnvironmentId>,
        now_ms: UnixMillis,
    ) {
        let counted: HashMap<InstanceId, (u64, u64)> = loads
            .iter()
            .map(|(instance, load)| (*instance, (load.requests, load.failed)))
            .collect();
        // The first look is what the others are compared with.
        if let Some(from_ms) = self.looked_ms.filter(|looked_ms| *looked_ms < now_ms) {
            let mut answered: HashMap<EnvironmentId, (u64, u64)> = HashMap::new();
            for (instance, (requests, failed)) in &counted {
                let Some(environment) = environments.get(instance) else {
                    continue;
                };
                let (requests_before, failed_before) = self.counted.get(instance).copied().unwrap_or_default();
                let sum = answered.entry(*environment).or_default();
                // A node that went away takes its counts with it.
                sum.0 += requests.saturating_sub(requests_before);
                sum.1 += failed.saturating_sub(failed_before);
            }
            self.slices.push_back(Slice {
                from_ms,
                until_ms: now_ms,
                answered,
            });
            while self.slices.len() > SLICES {
                self.slices.pop_front();
            }
        }
        self.looked_ms = Some(now_ms);
        self.counted = counted;
    }

    /// The rates of the environments that have answered anything in the last minute.
    pub(super) fn of_all(&self, now_ms: UnixMillis) -> HashMap<EnvironmentId, Rate> {
        let recent = || {
            self.slices
                .iter()
                .filter(|slice| now_ms - slice.from_ms <= STALE_MS + SLICE_MS)
        };
        let (first, last) = (recent().next(), recent().next_back());
        let (Some(first), Some(last)) = (first, last) else {
            return HashMap::new();
        };
        let took_ms = last.until_ms - first.from_ms;
        let mut sums: HashMap<EnvironmentId, (u64, u64)> = HashMap::new();
        for (environment, (requests, failed)) in recent().flat_map(|slice| &slice.answered) {
            let sum = sums.entry(*environment).or_default();
            *sum = (sum.0 + requests, sum.1 + failed);
        }
        let rate = |(requests, failed): (u64, u64)| Rate {
            requests: per_second(requests, took_ms),
            errors: per_second(failed, took_ms),
        };
        sums.into_iter()
            .filter(|(_, (requests, _))| *requests > 0)
            .map(|(environment, sum)| (environment, rate(sum)))
            .collect()
    }
}

/// To hundredths, which is more than is shown.
#[expect(clippy::cast_precision_loss, reason = "a rate to look at")]
fn per_second(count: u64, took_ms: i64) -> f64 {
    (count as f64 / took_ms.max(1) as f64 * 100_000.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loads(counts: &[(u128, u64, u64)]) -> BTreeMap<InstanceId, BackendLoad> {
        let load = |requests, failed| BackendLoad {
            requests,
            failed,
            ..BackendLoad::default()
        };
        let of = |(id, requests, failed): &(u128, u64, u64)| (InstanceId::from_parts(1, *id), load(*requests, *failed));
        counts.iter().map(of).collect()
    }

    #[test]
    fn the_last_minute_counts_and_a_new_control_begins_at_what_it_finds() {
        let shop = EnvironmentId::from_parts(1, 1);
        let environments = HashMap::from([
            (InstanceId::from_parts(1, 1), shop),
            (InstanceId::from_parts(1, 2), shop),
        ]);
        let mut rates = Rates::default();
        assert!(rates.is_due(0));
        rates.look(&loads(&[(1, 1_000_000, 5)]), &environments, 0);
        assert!(rates.of_all(0).is_empty(), "nothing is known of the time before");
        assert!(!rates.is_due(4_999));
        assert!(rates.is_due(5_000));
        rates.look(
            &loads(&[(1, 1_000_050, 10), (2, 50, 0), (3, 9, 9)]),
            &environments,
            5_000,
        );
        let found = rates.of_all(5_000);
        assert_eq!(found.len(), 1, "an instance of nobody counts for nobody");
        assert_eq!(
            found[&shop],
            Rate {
                requests: 20.0,
                errors: 1.0
            }
        );
        // An instance ends, another answers nothing more.
        for second in 2..=14 {
            rates.look(&loads(&[(2, 50, 0)]), &environments, second * 5_000);
        }
        assert!(rates.of_all(70_000).is_empty(), "it is more than a minute ago");
        rates.look(&loads(&[(2, 110, 0)]), &environments, 75_000);
        assert_eq!(rates.of_all(75_000)[&shop].requests, 1.0);
        assert!(
            rates.of_all(75_000 + 2 * STALE_MS).is_empty(),
            "the node says nothing any more"
        );
    }
}
