//! The reconciler and what is asked of processes: how many instances each is to have now, which of
//! them sleep, and what nodes are told of it.

use std::collections::{BTreeMap, BTreeSet};

use weir_engine::{InstanceRole, InstanceState};
use weir_model::project::EnvironmentMode;
use weir_model::route::WatchedProcess;
use weir_model::scaling::Idle;
use weir_model::spec::AppSpec;
use weir_model::{AppName, InstanceId, ProcessName, UnixMillis};

use super::autoscale::Subject;
use super::driver::{Wanted, Worker};
use super::lock;
use super::plan::{AppTarget, Desired, Fact, Observed, Probe, is_mine};

/// Who is awake because somebody works in it (`weir exec`): as many guards as there are.
pub(super) type Visits = BTreeMap<weir_model::EnvironmentId, usize>;

/// An app of a target with what was set in its environment.
pub(super) fn app_target(spec: &AppSpec, scales: &[weir_model::project::Scale]) -> AppTarget {
    let bounds: BTreeMap<ProcessName, _> = spec
        .processes
        .keys()
        .map(|process| (process.clone(), spec.bounds(process, scales)))
        .collect();
    AppTarget {
        instances: bounds
            .iter()
            .map(|(process, bounds)| (process.clone(), bounds.least))
            .collect(),
        asleep: BTreeSet::new(),
        bounds,
        spec: spec.clone(),
    }
}

impl Worker {
    /// Applies the numbers that follow from what is asked.
    pub(super) fn scale(&self, desired: &mut Desired, observed: &Observed, now_ms: UnixMillis) {
        let scalers = &self.context.reconciler.shared.scalers;
        let may_run = desired.mode == EnvironmentMode::Active && desired.unpaid.is_none();
        let Some(live) = desired.live.as_mut().filter(|_live| may_run) else {
            return scalers.forget(self.environment);
        };
        let mut subjects = Vec::new();
        for (name, app) in &live.apps {
            for (process, bounds) in app.bounds.iter().filter(|(_process, bounds)| bounds.is_moving()) {
                let there = observed.instances.iter().filter(|fact| {
                    let labels = &fact.labels;
                    is_mine(live, fact)
                        && (&labels.app, &labels.process) == (name, process)
                        && !fact.stopping
                        && !matches!(fact.state, InstanceState::Exited { .. })
                });
                subjects.push(Subject {
                    key: (name.clone(), process.clone()),
                    bounds: *bounds,
                    there: u32::try_from(there.count()).unwrap_or(u32::MAX),
                });
            }
        }
        let may_shrink = desired.in_progress.is_empty();
        let counts = scalers.settle(self.environment, subjects, may_shrink, now_ms);
        for ((app, process), count) in counts {
            let Some(target) = live.apps.get_mut(&app) else {
                continue;
            };
            target.instances.insert(process.clone(), count);
            if count == 0 {
                target.asleep.insert(process.clone());
            }
            // A release that takes over is as strong as the one before it.
            for next in desired
                .in_progress
                .iter_mut()
                .filter_map(|next| next.apps.get_mut(&app))
            {
                if let Some(bounds) = next.bounds.get(&process) {
                    let strength = count.clamp(bounds.least, bounds.most);
                    next.instances.insert(process.clone(), strength);
                }
            }
        }
    }

    /// What nodes are to know of the processes that scale or sleep. While a deployment is on its way
    /// or somebody works in an instance, none is put to sleep.
    pub(super) fn watched(&self, desired: &Desired) -> BTreeMap<String, WatchedProcess> {
        let visited = lock(&self.context.reconciler.shared.visits).contains_key(&self.environment);
        let may_sleep = desired.in_progress.is_empty() && !visited;
        let may_run = desired.mode == EnvironmentMode::Active && desired.unpaid.is_none();
        let mut watched = BTreeMap::new();
        let Some(live) = desired.live.as_ref().filter(|_live| may_run) else {
            return watched;
        };
        for (name, app) in &live.apps {
            for (process, bounds) in &app.bounds {
                if !bounds.is_moving() && bounds.idle == Idle::Never {
                    continue;
                }
                let after = |idle| (bounds.idle == idle && may_sleep).then_some(bounds.idle_after_ms);
                let rule = WatchedProcess {
                    freeze_after_ms: after(Idle::Freeze),
                    stop_after_ms: after(Idle::Stop),
                    names: names(name, process),
                };
                watched.insert(format!("{name}.{process}"), rule);
            }
        }
        watched
    }

    /// Which instances a node keeps asleep; `None` as long as none has said so.
    pub(super) fn asleep(&self) -> Option<BTreeSet<InstanceId>> {
        self.context.reconciler.shared.routing.asleep()
    }

    /// Notes which of the instances sleep. Those are not checked, and count as ready.
    pub(super) fn heed_sleepers(
        &mut self,
        desired: &Desired,
        facts: &mut [Fact],
        reported: &[Option<BTreeSet<InstanceId>>],
    ) {
        for fact in &mut *facts {
            let id = fact.labels.instance;
            let is_known = reported.iter().any(Option::is_some);
            let is_said = reported.iter().flatten().any(|asleep| asleep.contains(&id));
            // Before a node has spoken to this control, what is frozen and may sleep does.
            let may_be = !is_known && fact.state == InstanceState::Frozen && may_sleep(desired, fact);
            fact.asleep = (is_said || may_be)
                && desired.unpaid.is_none()
                && fact.labels.role == InstanceRole::Instance
                && matches!(fact.state, InstanceState::Running | InstanceState::Frozen)
                && !fact.stopping
                && !matches!(fact.probe, Probe::Unhealthy(_));
            if fact.asleep {
                self.probes.rest(id);
                fact.probe = Probe::Ready;
            }
        }
        self.probes.retain_resting(|instance| {
            facts
                .iter()
                .any(|fact| fact.labels.instance == instance && (fact.asleep || fact.state == InstanceState::Running))
        });
    }

    /// Tells how numbers of instances changed, and why.
    pub(super) async fn tell_scaling(&self, wanted: &Wanted) {
        for (key, change) in self.context.reconciler.shared.scalers.take_news(self.environment) {
            let (project, environment) = (wanted.project.name.as_str(), wanted.environment.name.as_str());
            let words = change.words(&key);
            tracing::info!(
                project.name = project,
                environment.name = environment,
                "{}: {words}",
                wanted.title()
            );
            let tasks = &self.context.tasks;
            tasks.change(project, Some(environment), change.kind(), &words).await;
        }
    }
}

fn may_sleep(desired: &Desired, fact: &Fact) -> bool {
    let Some(live) = &desired.live else { return false };
    let app = live.apps.get(&fact.labels.app).filter(|_app| is_mine(live, fact));
    app.and_then(|app| app.bounds.get(&fact.labels.process))
        .is_some_and(|bounds| bounds.idle == Idle::Freeze)
}

/// The private names of a process.
fn names(app: &AppName, process: &ProcessName) -> BTreeSet<String> {
    let short = process.is_web().then(|| app.to_string());
    short.into_iter().chain([format!("{process}.{app}")]).collect()
}
