//! From what is counted since something started to what happened between two looks. Pure: counters,
//! gauges and a steady clock come in, sums of one stretch go out.
//!
//! Counters are those of nodes, instances and the ledger, each with a beginning of its own. What was not
//! seen by the first look is only remembered; what appears later is counted whole; a counter that has
//! fallen began anew, and is counted whole.

use std::collections::{BTreeMap, HashMap, HashSet};

use weir_model::metrics::NodeMetrics;
use weir_model::{EnvironmentId, InstanceId, UnixMillis};

use super::point::{Figure, Point};

/// Status of an answer from which on it is an error, by its first digit.
const ERROR_DIGIT: u8 = 5;

/// Whose figures; app and process are empty for what belongs to the environment as a whole.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) environment: EnvironmentId,
    pub(super) app: String,
    pub(super) process: String,
}

impl Key {
    /// The environment as a whole.
    pub(super) fn whole(environment: EnvironmentId) -> Self {
        Self {
            environment,
            app: String::new(),
            process: String::new(),
        }
    }

    pub(super) fn is_whole(&self) -> bool {
        self.app.is_empty() && self.process.is_empty()
    }
}

/// What is there at one instant.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// On a clock that is never set, in milliseconds.
    pub(super) steady_ms: u64,
    /// Those that there are; what is said of others is left out.
    pub(super) environments: HashSet<EnvironmentId>,
    /// What the node has counted; none if it does not tell.
    pub(super) node: Option<NodeMetrics>,
    pub(super) instances: Vec<InstanceLook>,
    pub(super) spent: Vec<Spent>,
}

/// An instance at one instant.
#[derive(Debug, Clone)]
pub(super) struct InstanceLook {
    pub(super) key: Key,
    pub(super) instance: InstanceId,
    pub(super) ready: bool,
    /// Whether it began after the look before.
    pub(super) is_new: bool,
    /// CPU time since its start; none if it cannot be read.
    pub(super) cpu_us: Option<u64>,
    /// None if it cannot be read.
    pub(super) memory_bytes: Option<u64>,
}

/// A line of the ledger at one instant: what it adds up to in its period.
#[derive(Debug, Clone)]
pub(super) struct Spent {
    pub(super) key: Key,
    /// Tells lines of the same process apart.
    pub(super) line: (String, u32),
    pub(super) period_ms: UnixMillis,
    pub(super) egress_bytes: u64,
    pub(super) cost_nano: u64,
}

/// A line of the ledger: whose, and which.
type LineKey = (Key, (String, u32));
/// When its period began, bytes of egress and money since then.
type LineCounts = (UnixMillis, u64, u64);
/// Counters of a route and one kind of status.
type RouteKey = (Key, String, String, u8);

#[derive(Debug, Clone, Default)]
struct RouteCounts {
    requests: u64,
    times: Vec<u64>,
}

/// What was there at the look before.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    looked_ms: Option<u64>,
    /// The node that spoke last, and when.
    node: Option<(u64, u64)>,
    routes: HashMap<RouteKey, RouteCounts>,
    cpu_us: HashMap<InstanceId, u64>,
    spent: HashMap<LineKey, LineCounts>,
}

type Points = BTreeMap<Key, Point>;

impl Sampler {
    /// What happened since the look before; nothing if this is the first one, when not everything may have
    /// been found yet that runs.
    pub(super) fn take(&mut self, look: &Look) -> Points {
        let mut points = Points::new();
        let is_first = self.looked_ms.is_none();
        let elapsed_ms = self.looked_ms.map(|before| look.steady_ms.saturating_sub(before));
        let served_ms = self.serve(look, &mut points);
        for environment in &look.environments {
            let point = points.entry(Key::whole(*environment)).or_default();
            point.add(Figure::Looks, 1);
            point.add(Figure::LookedMs, elapsed_ms.unwrap_or(0));
            point.add(Figure::ServedMs, served_ms);
        }
        self.run(look, is_first, &mut points);
        self.spend(look, is_first, &mut points);
        self.looked_ms = Some(look.steady_ms);
        if is_first {
            return Points::new();
        }
        points.retain(|key, point| !point.is_empty() && look.environments.contains(&key.environment));
        points
    }

    /// Requests. Gives for how long it is known what was served.
    fn serve(&mut self, look: &Look, points: &mut Points) -> u64 {
        let Some(node) = &look.node else { return 0 };
        let before = self.node.replace((node.incarnation, look.steady_ms));
        if before.is_some_and(|(incarnation, _)| incarnation != node.incarnation) {
            self.routes.clear();
        }
        let old = std::mem::take(&mut self.routes);
        for route in &node.routes {
            let Some(environment) = route.environment else { continue };
            let (app, process) = route.target.split_once('.').unwrap_or((&route.target, ""));
            let key = Key {
                environment,
                app: app.to_owned(),
                process: process.to_owned(),
            };
            for status in &route.statuses {
                let pages = status.pages.iter().map(|(_, count)| count);
                let now = RouteCounts {
                    requests: pages.fold(status.app, |sum, count| sum.saturating_add(*count)),
                    times: match status.digit {
                        // The client went before there was a head.
                        0 => Vec::new(),
                        _ => status.first_byte.buckets.clone(),
                    },
                };
                let place = (
                    key.clone(),
                    route.path_prefix.clone(),
                    route.class.clone(),
                    status.digit,
                );
                if before.is_some() {
                    let point = points.entry(key.clone()).or_default();
                    count(point, status.digit, old.get(&place), &now);
                }
                self.routes.insert(place, now);
            }
        }
        before.map_or(0, |(_, before_ms)| look.steady_ms.saturating_sub(before_ms))
    }

    /// Instances.
    fn run(&mut self, look: &Look, is_first: bool, points: &mut Points) {
        let old = std::mem::take(&mut self.cpu_us);
        for seen in &look.instances {
            let point = points.entry(seen.key.clone()).or_default();
            point.add(Figure::Instances, u64::from(seen.ready));
            match seen.memory_bytes {
                Some(bytes) => point.add(Figure::MemoryBytes, bytes),
                None => point.add(Figure::MemoryUnread, 1),
            }
            let before = old.get(&seen.instance).copied();
            // One that was not read before may have run for a month: only of one that has just begun is
            // all that it used something of this look.
            if let Some(now_us) = seen.cpu_us.filter(|_| !is_first && (before.is_some() || seen.is_new)) {
                point.add(Figure::CpuUs, grown(before, now_us));
            }
            // One whose meter cannot be read now is counted whole stretches later, not anew.
            self.cpu_us
                .extend(seen.cpu_us.or(before).map(|cpu_us| (seen.instance, cpu_us)));
        }
    }

    /// Money and egress.
    fn spend(&mut self, look: &Look, is_first: bool, points: &mut Points) {
        let old = std::mem::take(&mut self.spent);
        for spent in &look.spent {
            let place = (spent.key.clone(), spent.line.clone());
            // A period that has begun begins at nothing.
            let before = old.get(&place).filter(|(period_ms, ..)| *period_ms == spent.period_ms);
            if !is_first {
                let point = points.entry(spent.key.clone()).or_default();
                point.add(Figure::EgressBytes, grown(before.map(|it| it.1), spent.egress_bytes));
                point.add(Figure::CostNano, grown(before.map(|it| it.2), spent.cost_nano));
            }
            self.spent
                .insert(place, (spent.period_ms, spent.egress_bytes, spent.cost_nano));
        }
    }
}

fn count(point: &mut Point, digit: u8, before: Option<&RouteCounts>, now: &RouteCounts) {
    // A route that was forgotten and is there again began anew, with its times.
    let before = before.filter(|before| before.requests <= now.requests);
    let requests = grown(before.map(|it| it.requests), now.requests);
    point.add(Figure::Requests, requests);
    if digit >= ERROR_DIGIT {
        point.add(Figure::Errors, requests);
    }
    for (bucket, count) in now.times.iter().enumerate() {
        let before = before.and_then(|before| before.times.get(bucket)).copied();
        point.add_times(bucket, grown(before, *count));
    }
}

/// By how much a counter grew.
fn grown(before: Option<u64>, now: u64) -> u64 {
    match before {
        Some(before) if before <= now => now - before,
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use weir_model::metrics::{BUCKETS, Histogram, RouteMetrics, StatusMetrics};

    use super::*;

    fn environment() -> EnvironmentId {
        EnvironmentId::from_parts(1, 1)
    }

    fn web() -> Key {
        Key {
            environment: environment(),
            app: "shop".to_owned(),
            process: "web".to_owned(),
        }
    }

    fn node(incarnation: u64, digit: u8, requests: u64) -> NodeMetrics {
        let mut buckets = vec![0; BUCKETS];
        buckets[3] = requests;
        NodeMetrics {
            incarnation,
            routes: vec![RouteMetrics {
                environment: Some(environment()),
                target: "shop.web".to_owned(),
                statuses: vec![StatusMetrics {
                    digit,
                    app: requests,
                    first_byte: Histogram { buckets, sum_us: 0 },
                    ..StatusMetrics::default()
                }],
                ..RouteMetrics::default()
            }],
            ..NodeMetrics::default()
        }
    }

    fn look(steady_ms: u64, node: Option<NodeMetrics>) -> Look {
        Look {
            steady_ms,
            environments: HashSet::from([environment()]),
            node,
            ..Look::default()
        }
    }

    fn instance(number: u128, cpu_us: u64) -> InstanceLook {
        InstanceLook {
            key: web(),
            instance: InstanceId::from_parts(1, number),
            ready: true,
            is_new: false,
            cpu_us: Some(cpu_us),
            memory_bytes: Some(1_000),
        }
    }

    fn spent(period_ms: UnixMillis, egress_bytes: u64, cost_nano: u64) -> Spent {
        Spent {
            key: web(),
            line: ("egress".to_owned(), 1),
            period_ms,
            egress_bytes,
            cost_nano,
        }
    }

    fn sum(points: &Points, key: &Key, figure: Figure) -> u64 {
        points.get(key).map_or(0, |point| point.get(figure))
    }

    #[test]
    fn the_first_look_only_remembers_what_was_counted_before() {
        let mut sampler = Sampler::default();
        let mut first = look(5, Some(node(1, 2, 1_000)));
        first.instances = vec![instance(1, 777)];
        first.spent = vec![spent(0, 50, 60)];
        assert!(sampler.take(&first).is_empty());

        let mut second = look(10_005, Some(node(1, 2, 1_007)));
        let new = InstanceLook {
            is_new: true,
            ..instance(2, 30)
        };
        // It has run for a month, and was not found by the first look.
        let found_late = instance(3, 2_592_000_000_000);
        second.instances = vec![instance(1, 877), new, found_late];
        second.spent = vec![spent(0, 51, 80)];
        let points = sampler.take(&second);
        let found = [
            Figure::Requests,
            Figure::CpuUs,
            Figure::EgressBytes,
            Figure::CostNano,
            Figure::Instances,
        ];
        assert_eq!(found.map(|figure| sum(&points, &web(), figure)), [7, 130, 1, 20, 3]);
        let whole = Key::whole(environment());
        assert_eq!(sum(&points, &whole, Figure::LookedMs), 10_000);
        assert_eq!(sum(&points, &whole, Figure::ServedMs), 10_000);
    }

    #[test]
    fn what_began_anew_is_counted_from_its_beginning() {
        let mut sampler = Sampler::default();
        let mut first = look(0, Some(node(1, 5, 1_000)));
        first.instances = vec![instance(1, 900)];
        first.spent = vec![spent(0, 50, 60)];
        sampler.take(&first);
        // Another node, an instance that was started again, and another period with more spent in it.
        let mut second = look(10_000, Some(node(2, 5, 1_200)));
        second.instances = vec![instance(1, 40)];
        second.spent = vec![spent(7, 70, 80)];
        let points = sampler.take(&second);
        let found = [
            Figure::Requests,
            Figure::Errors,
            Figure::CpuUs,
            Figure::EgressBytes,
            Figure::CostNano,
        ];
        assert_eq!(
            found.map(|figure| sum(&points, &web(), figure)),
            [1_200, 1_200, 40, 70, 80]
        );
    }

    #[test]
    fn a_silent_node_is_a_gap_and_what_it_counted_meanwhile_comes_later() {
        let mut sampler = Sampler::default();
        let whole = Key::whole(environment());
        sampler.take(&look(0, Some(node(1, 2, 10))));
        let silent = sampler.take(&look(10_000, None));
        assert_eq!(sum(&silent, &whole, Figure::LookedMs), 10_000);
        assert_eq!(sum(&silent, &whole, Figure::ServedMs), 0);
        let points = sampler.take(&look(20_000, Some(node(1, 2, 30))));
        assert_eq!(sum(&points, &web(), Figure::Requests), 20);
        assert_eq!(sum(&points, &whole, Figure::ServedMs), 20_000);
    }

    #[test]
    fn what_is_said_of_environments_that_are_gone_is_left_out() {
        let mut sampler = Sampler::default();
        sampler.take(&look(0, Some(node(1, 2, 10))));
        let mut gone = look(10_000, Some(node(1, 2, 30)));
        gone.environments.clear();
        assert!(sampler.take(&gone).is_empty());
    }

    #[test]
    fn who_went_before_the_answer_has_no_latency() {
        let mut sampler = Sampler::default();
        sampler.take(&look(0, Some(node(1, 0, 0))));
        let points = sampler.take(&look(1, Some(node(1, 0, 3))));
        assert_eq!(sum(&points, &web(), Figure::Requests), 3);
        assert_eq!(points[&web()].quantile_s(0.5), None);
    }

    proptest! {
        /// Whenever is looked, and whatever restarts meanwhile: all requests are counted, each once.
        #[test]
        fn all_that_was_counted_is_summed_up(steps in proptest::collection::vec((0..50_u64, 0..8_u8), 1..60)) {
            let mut sampler = Sampler::default();
            let (mut incarnation, mut counter, mut all, mut found) = (1, 0, 0, 0);
            sampler.take(&look(0, Some(node(1, 2, 0))));
            for (at, (requests, event)) in steps.iter().enumerate() {
                // What a node that ends has counted since the last look is lost, so it is looked just before.
                if *event == 7 {
                    (incarnation, counter) = (incarnation + 1, 0);
                }
                counter += requests;
                all += requests;
                let tells = *event != 1 || steps.get(at + 1).is_some_and(|(_, event)| *event == 7) || at + 1 == steps.len();
                let told = tells.then(|| node(incarnation, 2, counter));
                found += sum(&sampler.take(&look(10 * at as u64, told)), &web(), Figure::Requests);
            }
            prop_assert_eq!(found, all);
        }
    }
}
