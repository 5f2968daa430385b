//! How the calls of services multiply. Counts, over windows, how many calls a finished call made
//! in its turn, and how calls grow; cuts off services that reproduce.
//!
//! The number of calls of a finished call is known exactly when it ends (its *cohort*), so that
//! a burst which queues does not look like growth. Only calls of instances come here; visitors
//! are only counted, by their [`Target`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use weir_model::guard::{GuardRule, GuardRules};

use crate::circle::{Circle, Measured, Stop};
use crate::descent::WHOLE;
use crate::matrix::{circles, spectral_radius};
use crate::target::Target;

/// How often windows are looked at.
pub(crate) const BIN_US: u64 = 250_000;
/// Services and pairs of services that are watched at most; what comes later is not.
const MOST_NODES: usize = 1024;
const MOST_EDGES: usize = 4096;
/// Services and pairs without a call are forgotten after so long.
const IDLE_US: u64 = 120_000_000;

/// How the calls at a target stand, for `weir guard`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetState {
    /// Calls that a call makes in its turn, in thousandths, by the last window: 1000 and more
    /// grow by themselves. 0 where nothing calls in circles.
    pub reproduction_milli: u64,
    /// Share of the circle's own calls among all its requests, in thousandths.
    pub internal_milli: u64,
    /// Whether it comes close to multiplying (0.8 calls a call).
    pub warning: bool,
    /// What happens to calls within the circle.
    pub gate: Gate,
    /// Calls of instances in flight.
    pub in_flight: u64,
}

/// What happens to calls within a circle of services.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gate {
    /// They pass.
    #[default]
    Open,
    /// So many may be in flight at once as were when it began to multiply.
    Throttled,
    /// They are refused.
    Tripped,
    /// One in a hundred passes, to see whether it is over.
    HalfOpen,
}

/// A call of an instance, as the flow sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) now_us: u64,
    pub(crate) from: u32,
    /// Weight of the call that is due to calls.
    pub(crate) internal: u32,
    /// Of it, what no flight will account for when it ends.
    pub(crate) direct: u32,
    /// Least depth.
    pub(crate) depth: u32,
    /// Whether its maker also calls of its own accord.
    pub(crate) background: bool,
}

/// What the flow says of a call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judgement {
    pub(crate) stop: Option<Stop>,
    /// Calls a call, in thousandths, if that comes close to multiplying and nobody was told yet.
    pub(crate) near_milli: Option<u64>,
}

/// Everything that is known about the calls among services.
#[derive(Debug, Default)]
pub(crate) struct Flow {
    nodes: BTreeMap<u32, Node>,
    edges: BTreeMap<(u32, u32), Edge>,
    circles: Vec<Circle>,
    next_us: u64,
}

#[derive(Debug)]
struct Node {
    target: Arc<Target>,
    visitors_before: u64,
    in_flight: u64,
    calls: u64,
    finished: u64,
    latency: Latency,
    last_us: u64,
}

#[derive(Debug, Default)]
struct Edge {
    /// Weight of calls due to calls that arrived.
    arrived: u64,
    /// Weight of the calls of those that finished.
    of_finished: u64,
    /// Of those that arrived: in this bin.
    bin: u64,
    deepest: u32,
    background: u64,
    last_us: u64,
}

impl Flow {
    /// Why a call may not pass, if so, and what is to be warned of. It is counted if it passes, or
    /// if the guard only watches.
    pub(crate) fn arrive(&mut self, target: &Arc<Target>, rules: &GuardRules, call: Call) -> Judgement {
        self.look(call.now_us);
        let key = (call.from, target.number);
        let circle = self.circle_of(key).filter(|_| rules.reproduction);
        let judgement = circle.map_or_else(Judgement::default, |circle| Judgement {
            stop: circle.admit(call.internal),
            near_milli: circle.take_warning(),
        });
        if judgement.stop.is_none() || !rules.enabled {
            self.count(target, key, call);
        }
        judgement
    }

    /// A call has ended. `served_us` is how long it took; none where it never reached an instance.
    pub(crate) fn finish(&mut self, target: u32, served_us: Option<u64>, children: &[(u32, u64)]) {
        if let Some(node) = self.nodes.get_mut(&target) {
            node.in_flight = node.in_flight.saturating_sub(1);
            if let Some(served_us) = served_us {
                node.finished += 1;
                node.latency.add(served_us);
            }
        }
        let inside = self.circles.iter_mut().find(|circle| circle.members.contains(&target));
        if let Some(circle) = inside {
            circle.in_flight = circle.in_flight.saturating_sub(1);
        }
        for (to, weight) in children {
            if let Some(edge) = self.edges.get_mut(&(target, *to)) {
                edge.of_finished += weight;
            }
        }
    }

    pub(crate) fn state(&mut self, target: u32, now_us: u64) -> TargetState {
        self.look(now_us);
        let in_flight = self.nodes.get(&target).map_or(0, |node| node.in_flight);
        let circle = self.circles.iter().find(|circle| circle.members.contains(&target));
        circle.map_or_else(
            || TargetState {
                in_flight,
                ..TargetState::default()
            },
            |circle| TargetState {
                reproduction_milli: milli(circle.last.radius),
                internal_milli: milli(circle.last.share),
                warning: circle.is_near(),
                gate: circle.gate(),
                in_flight,
            },
        )
    }

    /// Sizes, for tests of the bounds.
    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.nodes.len(), self.edges.len())
    }

    fn circle_of(&mut self, (from, to): (u32, u32)) -> Option<&mut Circle> {
        self.circles
            .iter_mut()
            .find(|circle| circle.members.contains(&from) && circle.members.contains(&to))
    }

    fn count(&mut self, target: &Arc<Target>, key: (u32, u32), call: Call) {
        if !self.nodes.contains_key(&target.number) && self.nodes.len() < MOST_NODES {
            self.nodes.insert(target.number, Node::new(target));
        }
        if let Some(node) = self.nodes.get_mut(&target.number) {
            node.in_flight += 1;
            node.calls += 1;
            node.last_us = call.now_us;
        }
        if let Some(circle) = self
            .circles
            .iter_mut()
            .find(|circle| circle.members.contains(&target.number))
        {
            circle.in_flight += 1;
            circle.peak = circle.peak.max(circle.in_flight);
        }
        if !self.edges.contains_key(&key) && self.edges.len() >= MOST_EDGES {
            return;
        }
        let edge = self.edges.entry(key).or_default();
        edge.arrived += u64::from(call.internal);
        edge.bin += u64::from(call.internal);
        edge.of_finished += u64::from(call.direct);
        edge.deepest = edge.deepest.max(call.depth);
        if call.background {
            edge.background += u64::from(call.internal);
        }
        edge.last_us = call.now_us;
    }

    /// Looks at all circles, at most once a bin.
    fn look(&mut self, now_us: u64) {
        if now_us < self.next_us {
            return;
        }
        let bins = match self.next_us {
            0 => 1,
            next => 1 + (now_us - next) / BIN_US,
        };
        self.next_us = (now_us / BIN_US + 1) * BIN_US;
        self.nodes
            .retain(|_, node| node.in_flight > 0 || now_us.saturating_sub(node.last_us) < IDLE_US);
        self.edges
            .retain(|_, edge| now_us.saturating_sub(edge.last_us) < IDLE_US);
        self.find_circles(now_us);
        for place in 0..self.circles.len() {
            self.look_at(place, bins, now_us);
        }
        self.edges.values_mut().for_each(|edge| edge.bin = 0);
    }

    /// Circles that go on keep what is known of them.
    fn find_circles(&mut self, now_us: u64) {
        let pairs: BTreeSet<(u32, u32)> = self.edges.keys().copied().collect();
        let mut before = std::mem::take(&mut self.circles);
        for members in circles(&pairs) {
            let known = before.iter().position(|circle| !circle.members.is_disjoint(&members));
            let mut circle = match known {
                Some(place) => before.swap_remove(place),
                None => Circle::new(now_us),
            };
            if circle.members != members {
                circle.in_flight = self.in_flight(&members);
                circle.peak = circle.peak.max(circle.in_flight);
                circle.members = members;
            }
            self.circles.push(circle);
        }
    }

    fn in_flight(&self, members: &BTreeSet<u32>) -> u64 {
        let nodes = members.iter().filter_map(|member| self.nodes.get(member));
        nodes.map(|node| node.in_flight).sum()
    }

    fn look_at(&mut self, place: usize, bins: u64, now_us: u64) {
        let members = std::mem::take(&mut self.circles[place].members);
        let inside = |(from, to): &(u32, u32)| members.contains(from) && members.contains(to);
        let bin: u64 = self
            .edges
            .iter()
            .filter(|(key, _)| inside(key))
            .map(|(_, edge)| edge.bin)
            .sum();
        let nodes = || members.iter().filter_map(|member| self.nodes.get(member));
        let latency_us = nodes().map(|node| node.latency.median_us()).max().unwrap_or(0);
        let floor = nodes().map(|node| floor(&node.target.rules())).max().unwrap_or(0);
        let circle = &mut self.circles[place];
        circle.bin(bin / u64::from(WHOLE), bins);
        let measured = circle
            .window_due(latency_us, now_us)
            .then(|| self.close_window(&members));
        let circle = &mut self.circles[place];
        circle.judge(measured, floor, latency_us, now_us);
        circle.members = members;
    }

    /// Measures a window of a circle and begins the next one.
    fn close_window(&mut self, members: &BTreeSet<u32>) -> Measured {
        let mut entries = BTreeMap::new();
        let (mut arrived, mut background, mut deepest) = (0, 0, 0);
        for ((from, to), edge) in &mut self.edges {
            if !members.contains(from) || !members.contains(to) {
                continue;
            }
            let finished = self.nodes.get(from).map_or(0, |node| node.finished);
            if finished > 0 {
                let calls = whole(edge.of_finished) / finished as f64;
                entries.insert((*from, *to), calls);
            }
            arrived += edge.arrived;
            background += edge.background;
            deepest = deepest.max(edge.deepest);
            (edge.arrived, edge.of_finished, edge.background, edge.deepest) = (0, 0, 0, 0);
        }
        let mut all = 0;
        for member in members {
            if let Some(node) = self.nodes.get_mut(member) {
                let visitors = node.target.visitors();
                all += node.calls + visitors.saturating_sub(node.visitors_before);
                (node.visitors_before, node.calls, node.finished) = (visitors, 0, 0);
                node.latency.fade();
            }
        }
        Measured {
            radius: spectral_radius(&entries),
            calls: arrived / u64::from(WHOLE),
            share: if all > 0 {
                (whole(arrived) / all as f64).min(1.0)
            } else {
                0.0
            },
            deepest,
            of_own_accord: background * 2 > arrived,
        }
    }
}

/// Calls that a circle must have made before it can be cut off. Where the owner declared that one
/// request may cause more calls than usual, growth is expected until so many are made.
fn floor(rules: &GuardRules) -> u64 {
    match rules.descendants > GuardRules::default().descendants {
        true => rules.descendants,
        false => 50,
    }
}

fn whole(weight: u64) -> f64 {
    weight as f64 / f64::from(WHOLE)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held within the range before"
)]
fn milli(value: f64) -> u64 {
    (value.clamp(0.0, 1e9) * 1000.0).round() as u64
}

/// The rule that a circle breaks, for a trip.
pub(crate) fn rule_limit(rule: GuardRule) -> u64 {
    match rule {
        // Doubling within ten seconds.
        GuardRule::Growth => 10_000,
        _ => 1_000,
    }
}

impl Node {
    fn new(target: &Arc<Target>) -> Self {
        Self {
            visitors_before: target.visitors(),
            target: Arc::clone(target),
            in_flight: 0,
            calls: 0,
            finished: 0,
            latency: Latency::default(),
            last_us: 0,
        }
    }
}

/// Times in buckets, four to each doubling.
#[derive(Debug)]
struct Latency {
    buckets: [u32; 128],
}

impl Default for Latency {
    fn default() -> Self {
        Self { buckets: [0; 128] }
    }
}

impl Latency {
    fn add(&mut self, time_us: u64) {
        let time_us = time_us.max(4);
        let octave = time_us.ilog2();
        let quarter = (time_us >> (octave - 2)) & 3;
        let bucket = usize::try_from(u64::from(octave) * 4 + quarter).unwrap_or(0);
        let bucket = &mut self.buckets[bucket.min(127)];
        *bucket = bucket.saturating_add(1);
    }

    /// The upper end of the bucket in which the median lies; 0 where nothing is known.
    fn median_us(&self) -> u64 {
        let total: u64 = self.buckets.iter().map(|count| u64::from(*count)).sum();
        let mut sum = 0;
        for (bucket, count) in (0_u64..).zip(&self.buckets) {
            sum += u64::from(*count);
            if sum * 2 >= total.max(1) {
                return ((bucket % 4) + 5) << (bucket / 4).saturating_sub(2);
            }
        }
        0
    }

    /// The past counts half.
    fn fade(&mut self) {
        self.buckets.iter_mut().for_each(|count| *count /= 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_within_a_quarter_octave() {
        let mut latency = Latency::default();
        assert_eq!(latency.median_us(), 0);
        for time in 1..=1000 {
            latency.add(time * 1000);
        }
        let median = latency.median_us();
        assert!((500_000..=640_000).contains(&median), "{median}");
    }
}
