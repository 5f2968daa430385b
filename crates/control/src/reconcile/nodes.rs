//! What the nodes have said. There is one, except while a newer Weir takes the place of an older
//! one: then the older ones end what they have, and what is true of the service is what is true of
//! all of them together.
//!
//! A node counts until it says that it leaves, or its process is gone; however long it is silent
//! meanwhile, it may still route to what it was told last.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::guard::{BackgroundWork, GuardTrip};
use weir_model::route::{BackendLoad, NodeReport, ProcessMark};
use weir_model::{EnvironmentId, InstanceId, UnixMillis};

/// Whether a process lives.
pub(super) type IsAlive = fn(&ProcessMark) -> bool;

/// Reads it from the kernel.
pub(super) fn is_alive(mark: &ProcessMark) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", mark.pid));
    text.is_ok_and(|text| ProcessMark::of_stat(&text) == Some(*mark))
}

#[derive(Debug)]
struct Heard {
    report: NodeReport,
    at_ms: UnixMillis,
    /// The last refusal of the guard that was taken in.
    last_trip: u64,
}

/// All nodes that count, by incarnation.
#[derive(Debug)]
pub(super) struct Nodes {
    heard: BTreeMap<u64, Heard>,
    /// Those that said that they leave; their processes may live a little longer.
    departed: BTreeSet<ProcessMark>,
    is_alive: IsAlive,
}

impl Nodes {
    pub(super) fn new(is_alive: IsAlive) -> Self {
        Self {
            heard: BTreeMap::new(),
            departed: BTreeSet::new(),
            is_alive,
        }
    }

    /// Takes in a report; gives the refusals in it that were not told before.
    pub(super) fn take(&mut self, report: NodeReport, now_ms: UnixMillis) -> Vec<GuardTrip> {
        let incarnation = report.incarnation;
        let last_trip = self.heard.get(&incarnation).map_or(0, |heard| heard.last_trip);
        let news = report.trips.iter().filter(|trip| trip.sequence > last_trip);
        let news: Vec<GuardTrip> = news.cloned().collect();
        let heard = Heard {
            last_trip: news.iter().map(|trip| trip.sequence).fold(last_trip, u64::max),
            at_ms: now_ms,
            report,
        };
        self.forget(incarnation);
        self.heard.remove(&incarnation);
        let leaves = heard.report.leaving;
        if leaves {
            self.departed.extend(heard.report.process);
        }
        // The last one's word is kept: as long as nobody else serves, that is how things stand.
        if !leaves || self.heard.is_empty() {
            self.heard.insert(incarnation, heard);
        }
        news
    }

    /// Leaves out all that do not serve any more, now that this one speaks.
    fn forget(&mut self, speaking: u64) {
        let is_alive = self.is_alive;
        self.departed.retain(is_alive);
        self.heard.retain(|incarnation, heard| {
            let lives = || heard.report.process.as_ref().is_some_and(is_alive);
            *incarnation == speaking || (!heard.report.leaving && lives())
        });
    }

    /// The newest snapshot that all serve by; `None` while one of them has not said so.
    pub(super) fn applied(&self) -> Option<u64> {
        if self.is_one_unheard() {
            return None;
        }
        self.reports().map(|report| report.applied_generation).min()
    }

    /// Whether a node lives of which another one says so, and that has not spoken yet: the one
    /// before it, or the one after it.
    fn is_one_unheard(&self) -> bool {
        let known: BTreeSet<ProcessMark> = self.reports().filter_map(|report| report.process).collect();
        let mut beside = self.reports().flat_map(|report| &report.beside);
        let is_alive = self.is_alive;
        beside.any(|mark| !known.contains(mark) && !self.departed.contains(mark) && is_alive(mark))
    }

    /// Whether one node takes the place of another.
    pub(super) fn is_handing_over(&self) -> bool {
        self.heard.len() > 1 || self.reports().any(|report| !report.beside.is_empty())
    }

    /// The newest certificates that all serve by.
    pub(super) fn applied_certificates(&self) -> Option<u64> {
        self.reports().map(|report| report.applied_certificates).min()
    }

    /// What is paid for by any; `None` as long as nobody has said so, and while one has not spoken
    /// that may pay.
    pub(super) fn paying(&self) -> Option<BTreeSet<InstanceId>> {
        let all = || {
            self.reports()
                .flat_map(|report| report.paying.iter().copied())
                .collect()
        };
        (!self.heard.is_empty() && !self.is_one_unheard()).then(all)
    }

    /// Whether instances of an environment can send past the proxy, as far as anybody has a say in
    /// it.
    pub(super) fn can_send(&self, environment: EnvironmentId) -> bool {
        let mut sending = self.reports().filter_map(|report| report.sending.as_ref()).peekable();
        sending.peek().is_none() || sending.any(|sending| sending.contains(&environment))
    }

    /// What goes on at the instances, at all nodes together.
    pub(super) fn load(&self) -> BTreeMap<InstanceId, BackendLoad> {
        let mut sums: BTreeMap<InstanceId, BackendLoad> = BTreeMap::new();
        for (instance, load) in self.reports().flat_map(|report| &report.load) {
            let sum = sums.entry(*instance).or_default();
            sum.in_flight += load.in_flight;
            sum.upgraded += load.upgraded;
            sum.requests += load.requests;
            sum.connect_failures += load.connect_failures;
            sum.failed += load.failed;
        }
        sums
    }

    /// What an instance does although no request is in flight there: only who pays for instances
    /// looks for it.
    pub(super) fn background(&self, instance: InstanceId) -> Option<BackgroundWork> {
        self.reports()
            .find_map(|report| report.background.get(&instance))
            .copied()
    }

    /// When any of them last reported.
    pub(super) fn reported_ms(&self) -> Option<UnixMillis> {
        self.heard.values().map(|heard| heard.at_ms).max()
    }

    /// Their reports, each the newest of its node.
    pub(super) fn reports(&self) -> impl Iterator<Item = &NodeReport> {
        self.heard.values().map(|heard| &heard.report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In these tests a process lives unless its number is even.
    fn odd_ones(mark: &ProcessMark) -> bool {
        mark.pid % 2 == 1
    }

    fn mark(pid: u32) -> ProcessMark {
        ProcessMark { pid, started: 7 }
    }

    fn report(incarnation: u64, pid: u32, generation: u64) -> NodeReport {
        NodeReport {
            incarnation,
            applied_generation: generation,
            process: Some(mark(pid)),
            ..NodeReport::default()
        }
    }

    #[test]
    fn this_process_lives_and_another_with_its_number_does_not() {
        let text = std::fs::read_to_string("/proc/self/stat").unwrap();
        let mut own = ProcessMark::of_stat(&text).unwrap();
        assert_eq!(own.pid, std::process::id());
        assert!(is_alive(&own));
        own.started += 1;
        assert!(!is_alive(&own));
        assert_eq!(ProcessMark::of_stat("7 (a) b) Z 1 1"), None);
    }

    #[test]
    fn what_all_serve_by_is_what_the_slowest_serves_by() {
        let mut nodes = Nodes::new(odd_ones);
        assert_eq!(nodes.applied(), None);
        nodes.take(report(1, 1, 10), 0);
        assert_eq!(nodes.applied(), Some(10));
        nodes.take(report(2, 3, 20), 0);
        assert_eq!(nodes.applied(), Some(10));
        nodes.take(report(1, 1, 20), 0);
        assert_eq!(nodes.applied(), Some(20));
        nodes.take(
            NodeReport {
                leaving: true,
                ..report(1, 1, 20)
            },
            0,
        );
        nodes.take(report(2, 3, 30), 0);
        assert_eq!((nodes.applied(), nodes.reports().count()), (Some(30), 1));
    }

    #[test]
    fn a_node_that_lives_beside_and_was_not_heard_yet_is_waited_for() {
        let mut nodes = Nodes::new(odd_ones);
        let newer = || NodeReport {
            beside: BTreeSet::from([mark(1)]),
            ..report(2, 3, 20)
        };
        nodes.take(newer(), 0);
        assert_eq!(nodes.applied(), None, "it may still serve by anything");
        nodes.take(report(1, 1, 10), 0);
        assert_eq!(nodes.applied(), Some(10));
        nodes.take(
            NodeReport {
                leaving: true,
                ..report(1, 1, 10)
            },
            0,
        );
        nodes.take(newer(), 0);
        assert_eq!(
            nodes.applied(),
            Some(20),
            "it has left, though its process has not ended"
        );
    }

    #[test]
    fn who_has_heard_only_the_one_that_drains_waits_for_the_one_after_it() {
        let mut nodes = Nodes::new(odd_ones);
        let drains = |beside| NodeReport {
            beside: BTreeSet::from([mark(beside)]),
            ..report(1, 1, 10)
        };
        nodes.take(drains(3), 0);
        assert_eq!(nodes.applied(), None, "the next one may serve by something older");
        assert_eq!(nodes.paying(), None, "the next one may pay");
        assert!(nodes.is_handing_over());
        nodes.take(report(2, 3, 7), 0);
        assert_eq!(nodes.applied(), Some(7));
        assert!(nodes.paying().is_some());
        // It has died: nobody waits for it.
        nodes.take(report(1, 1, 10), 0);
        let mut alone = Nodes::new(odd_ones);
        alone.take(drains(4), 0);
        assert_eq!(alone.applied(), Some(10));
    }

    #[test]
    fn a_node_whose_process_is_gone_counts_no_more_and_the_last_words_of_the_last_one_do() {
        let mut nodes = Nodes::new(odd_ones);
        nodes.take(report(1, 2, 10), 0);
        assert_eq!(nodes.applied(), Some(10), "who speaks lives");
        nodes.take(report(2, 3, 20), 0);
        assert_eq!(nodes.applied(), Some(20));
        nodes.take(
            NodeReport {
                leaving: true,
                ..report(2, 3, 20)
            },
            5,
        );
        assert_eq!((nodes.applied(), nodes.reported_ms()), (Some(20), Some(5)));
        nodes.take(report(3, 5, 1), 6);
        assert_eq!(nodes.applied(), Some(1));
    }

    #[test]
    fn an_instance_is_idle_when_it_is_at_all_nodes_and_paid_for_when_it_is_at_one() {
        let (mut nodes, instance) = (Nodes::new(odd_ones), InstanceId::from_parts(1, 1));
        let at = |in_flight| {
            let load = BackendLoad {
                in_flight,
                ..BackendLoad::default()
            };
            BTreeMap::from([(instance, load)])
        };
        nodes.take(
            NodeReport {
                load: at(2),
                paying: BTreeSet::from([instance]),
                ..report(1, 1, 1)
            },
            0,
        );
        nodes.take(
            NodeReport {
                load: at(1),
                ..report(2, 3, 1)
            },
            0,
        );
        assert_eq!(nodes.load()[&instance].in_flight, 3);
        assert!(nodes.paying().unwrap().contains(&instance));
        nodes.take(
            NodeReport {
                leaving: true,
                ..report(1, 1, 1)
            },
            0,
        );
        assert_eq!(nodes.load()[&instance].in_flight, 1);
        assert!(nodes.paying().unwrap().is_empty());
    }
}
