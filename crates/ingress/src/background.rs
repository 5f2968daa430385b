//! Work that nobody asked for: those who pay for instances tell how much CPU time each has used,
//! the ingress knows what is in flight there.
//!
//! Only instances that answer under a route are judged: workers work of their own accord. Nor are
//! those whose private name was looked up, because requests may reach them that do not come
//! through here.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use weir_guard::background::{Asked, Detector, Sample, Work};
use weir_guard::{BackgroundRule, Sentry};
use weir_model::InstanceId;
use weir_model::guard::BackgroundWork;

use crate::instance::Instance;
use crate::node::Shared;

/// Pause between two looks at the requests of those that are slowed down: the next request frees
/// them.
const PAUSE: Duration = Duration::from_millis(125);
/// Between two looks at CPU time, in milliseconds.
const LOOK_MS: u64 = 1_000;

/// Looks until the node stops.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let cpu = shared.spending.as_ref().and_then(|spending| spending.cpu.clone());
    let (Some(cpu), Some(sentry)) = (cpu, shared.sentry.clone()) else {
        return;
    };
    let mut watchman = Watchman {
        shared,
        sentry,
        used: cpu.used,
        detectors: BTreeMap::new(),
        looked_ms: None,
    };
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let before = cpu.working.borrow().clone();
        let now = watchman.look(&before);
        cpu.working.send_if_modified(|working| {
            let changed = *working != now;
            *working = now;
            changed
        });
    }
}

struct Watchman {
    shared: Arc<Shared>,
    sentry: Sentry,
    used: watch::Receiver<BTreeMap<InstanceId, u64>>,
    detectors: BTreeMap<InstanceId, Detector>,
    looked_ms: Option<u64>,
}

impl Watchman {
    fn look(&mut self, before: &BTreeMap<InstanceId, BackgroundWork>) -> BTreeMap<InstanceId, BackgroundWork> {
        let now_ms = self.shared.clock.now_ms();
        if self.looked_ms.is_some_and(|at_ms| now_ms < at_ms + LOOK_MS) {
            return self.without_asked(before);
        }
        self.looked_ms = Some(now_ms);
        let instances: Vec<Arc<Instance>> = self.shared.registry().instances().cloned().collect();
        let used = self.used.borrow().clone();
        let mut detectors = std::mem::take(&mut self.detectors);
        // What is in flight at another node is not seen here.
        if !self.shared.succession.is_alone() {
            return BTreeMap::new();
        }
        let mut working = BTreeMap::new();
        for instance in &instances {
            let id = instance.backend.instance;
            let (Some(cpu_us), Some(seat)) = (used.get(&id), &instance.seat) else {
                continue;
            };
            let sample = Sample {
                at_ms: now_ms,
                cpu_us: *cpu_us,
                asked: asked(instance),
            };
            let direct = self
                .shared
                .table
                .load()
                .is_called_directly(instance.backend.address.ip());
            let rule = match direct {
                true => BackgroundRule::Allow,
                false => seat.target().rules().background,
            };
            let mut detector = detectors.remove(&id).unwrap_or_default();
            if let Some(work) = detector.observe(sample, rule) {
                working.insert(id, self.noted(work));
                if work.is_news {
                    let milli = work.cpu_us / (now_ms - work.since_ms).max(1);
                    let evidence = evidence(instance, sample, work);
                    let now_us = self.shared.clock.now_us();
                    self.sentry.note_background(seat.target(), now_us, milli, evidence);
                    self.shared.report_wanted.notify_one();
                }
            }
            self.detectors.insert(id, detector);
        }
        working
    }

    /// Between two looks: those that nobody asked anything of meanwhile.
    fn without_asked(&self, before: &BTreeMap<InstanceId, BackgroundWork>) -> BTreeMap<InstanceId, BackgroundWork> {
        let mut working = before.clone();
        if working.is_empty() {
            return working;
        }
        for instance in self.shared.registry().instances() {
            let detector = self.detectors.get(&instance.backend.instance);
            if detector.is_some_and(|detector| detector.is_asked(asked(instance))) {
                working.remove(&instance.backend.instance);
            }
        }
        working
    }

    fn noted(&self, work: Work) -> BackgroundWork {
        BackgroundWork {
            since_ms: self.sentry.unix_ms(work.since_ms * 1_000),
            cpu_us: work.cpu_us,
            slowed: work.slow,
        }
    }
}

fn asked(instance: &Instance) -> Asked {
    let load = instance.load();
    Asked {
        in_flight: load.in_flight + load.upgraded,
        requests: load.requests,
    }
}

fn evidence(instance: &Instance, sample: Sample, work: Work) -> Vec<String> {
    let lasted_ms = sample.at_ms - work.since_ms;
    vec![
        format!(
            "nothing is in flight at {} for {lasted_ms} ms",
            instance.backend.instance
        ),
        format!("{} ms of CPU time used in that time", work.cpu_us / 1_000),
        format!("{} requests answered before", sample.asked.requests),
    ]
}
