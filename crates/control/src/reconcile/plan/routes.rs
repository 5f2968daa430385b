//! How requests are to be answered, as it follows from what is wanted and what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_engine::{InstanceLabels, InstanceRole, InstanceState};
use weir_model::deployment::DeploymentState;
use weir_model::project::EnvironmentMode;
use weir_model::route::{Backend, RouteState};
use weir_model::spec::ProcessSpec;
use weir_model::{AppName, ProcessName};

use super::*;

impl<'a> Planner<'a> {
    pub(super) fn routes(&self) -> Routes {
        if self.desired.mode == EnvironmentMode::Destroying {
            return Routes::default();
        }
        let switching = self
            .candidate
            .filter(|target| target.state == DeploymentState::Switching);
        let (serving, chosen) = match switching {
            Some(target) => (Some(target), &self.chosen_candidate),
            None => (self.desired.live.as_ref(), &self.chosen_live),
        };
        // Before anything ever served, the routes of the first deployment are known already, so
        // that its visitors wait instead of being told that there is nothing.
        let mut entries = BTreeMap::new();
        if let Some(target) = serving.or(self.candidate) {
            for (app, app_target) in &target.apps {
                for (process, spec) in &app_target.spec.processes {
                    if app_target.spec.is_routed(process) {
                        let key = (app.clone(), process.clone());
                        let entry = self.entry(app_target, &key, spec, chosen.get(&key), serving.is_some());
                        entries.insert(key, entry);
                    }
                }
            }
        }
        self.share_with_canary(&mut entries);
        let names = serving
            .filter(|_| self.desired.unpaid.is_none())
            .map(|_| names(chosen))
            .unwrap_or_default();
        let mut routes = Routes {
            entries,
            draining: BTreeSet::new(),
            names,
        };
        routes.draining = self
            .observed
            .instances
            .iter()
            .filter(|fact| fact.labels.role == InstanceRole::Instance)
            .filter(|fact| fact.state == InstanceState::Running || self.may_wake(fact))
            .filter(|fact| !routes.serves(fact.labels.instance) && !self.is_drained(fact))
            .filter_map(|fact| fact.backend.clone())
            .collect();
        routes
    }

    fn entry(
        &self,
        app: &AppTarget,
        key: &(AppName, ProcessName),
        spec: &ProcessSpec,
        chosen: Option<&Vec<&Fact>>,
        serving: bool,
    ) -> Entry {
        let routes = app.spec.routes.iter().filter(|route| route.process == key.1);
        let services = app.spec.tcp.iter().filter(|service| service.process == key.1);
        let mut pool: Vec<Backend> = chosen
            .into_iter()
            .flatten()
            .filter(|fact| serving && self.is_ready_to_serve(fact))
            .filter_map(|fact| fact.backend.clone())
            .collect();
        pool.sort();
        let crashes = self.observed.crashes.get(key).copied().unwrap_or_default();
        let state = if self.desired.mode == EnvironmentMode::Paused {
            RouteState::Paused
        } else if let Some(unpaid) = &self.desired.unpaid {
            RouteState::Unpaid {
                message: unpaid.message.clone(),
                retry_after_s: unpaid.retry_after_s,
            }
        } else if self.is_held(&key.0) {
            RouteState::Hold {
                timeout_ms: HOLD_TIMEOUT_MS,
            }
        } else if !pool.is_empty() {
            RouteState::Serve
        } else if app.asleep.contains(&key.1) {
            RouteState::Asleep {
                timeout_ms: WAKE_TIMEOUT_MS.max(u64::from(spec.check.ready_timeout_s) * 1_000),
            }
        } else if app.instances.get(&key.1) == Some(&0) {
            RouteState::Crashed {
                message: format!("{}.{} is scaled to 0 instances.", key.0, key.1),
            }
        } else if serving && crashes.count >= CRASHES_SHOWN {
            RouteState::Crashed {
                message: format!("{}.{} crashed {} times in a row.", key.0, key.1, crashes.count),
            }
        } else {
            RouteState::Hold {
                timeout_ms: START_HOLD_TIMEOUT_MS,
            }
        };
        if state != RouteState::Serve {
            pool.clear();
        }
        Entry {
            state,
            pool,
            process: spec.clone(),
            routes: routes.cloned().collect(),
            classes: app.spec.classes.clone(),
            tcp: services.cloned().collect(),
            canary: None,
        }
    }

    /// Whether an instance can be in a pool.
    pub(super) fn is_ready_to_serve(&self, fact: &Fact) -> bool {
        fact.is_up() && fact.probe == Probe::Ready && !fact.stopping
    }

    /// Whether requests to an app wait while one release replaces another.
    pub(super) fn is_held(&self, app: &AppName) -> bool {
        self.candidate
            .is_some_and(|target| target.state == DeploymentState::Holding && self.is_exclusive(app))
    }

    /// Whether two releases of an app must not run at once, by its old or its new specification.
    pub(super) fn is_exclusive(&self, app: &AppName) -> bool {
        [self.desired.live.as_ref(), self.candidate]
            .into_iter()
            .flatten()
            .filter_map(|target| target.apps.get(app))
            .any(|app| app.spec.is_exclusive())
    }

    /// Whether an instance that is not wanted in a pool has nothing left to finish, or has had
    /// its time. Only what a node said *after* it stopped routing there counts: before that,
    /// zero requests in flight means nothing.
    pub(super) fn is_drained(&self, fact: &Fact) -> bool {
        if self.desired.mode == EnvironmentMode::Destroying {
            return true;
        }
        let Some(applied) = &self.observed.applied else {
            return false;
        };
        if applied.serves(fact.labels.instance) {
            return false;
        }
        if fact.load.in_flight == 0 && fact.load.upgraded == 0 {
            return true;
        }
        let waited_ms = fact.left_pool_ms.map_or(0, |left| self.now_ms - left);
        if matches!(fact.probe, Probe::Unhealthy(_)) {
            return waited_ms >= UNHEALTHY_DRAIN_MS;
        }
        // Held requests wait for this one: its websockets are not waited for.
        if self.is_held(&fact.labels.app) && fact.load.in_flight == 0 {
            return true;
        }
        let window_ms = i64::from(self.drain_s(&fact.labels)) * 1000;
        (fact.load.in_flight == 0 && waited_ms >= window_ms) || waited_ms >= window_ms.max(REQUEST_DRAIN_MS)
    }

    pub(super) fn drain_s(&self, labels: &InstanceLabels) -> u32 {
        self.spec_of(labels).map_or(30, |app| app.spec.drain_s)
    }

    pub(super) fn grace_s(&self, labels: &InstanceLabels) -> u32 {
        self.spec_of(labels)
            .and_then(|app| app.spec.processes.get(&labels.process))
            .map_or(10, |process| process.grace_s)
    }

    fn spec_of(&self, labels: &InstanceLabels) -> Option<&'a AppTarget> {
        let previous = self.desired.previous.as_ref().map(|(target, _)| target);
        let targets = [self.desired.live.as_ref(), self.candidate, previous];
        let of_release = |target: &&Target| target.release == labels.release;
        // A release further back is not looked up any more: the app's present ways serve it too.
        let exact = targets.into_iter().flatten().find(of_release);
        exact
            .into_iter()
            .chain(targets.into_iter().flatten())
            .find_map(|target| target.apps.get(&labels.app))
    }
}

/// The private names of what serves: `app` for its web process, `process.app` for each.
fn names(chosen: &Chosen<'_>) -> BTreeMap<String, Vec<IpAddr>> {
    let mut names: BTreeMap<String, Vec<IpAddr>> = BTreeMap::new();
    for ((app, process), facts) in chosen {
        let serving = facts
            .iter()
            .filter(|fact| fact.is_up() && (fact.labels.port.is_none() || fact.probe == Probe::Ready));
        let mut addresses: Vec<IpAddr> = serving.filter_map(|fact| fact.address).collect();
        addresses.sort();
        if process.is_web() {
            names.insert(app.to_string(), addresses.clone());
        }
        names.insert(format!("{process}.{app}"), addresses);
    }
    names
}
