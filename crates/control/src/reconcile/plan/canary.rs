//! A canary: the new release serves a part of the requests beside the one that is live.

use weir_model::deployment::{DeploymentEvent, DeploymentState};
use weir_model::route::RouteState;

use super::*;

/// Why an app with a one-writer volume has no canary.
pub const EXCLUSIVE_CANARY: &str = "a volume of it admits one writer, so that two releases cannot run at once";

impl Planner<'_> {
    /// Whether a deployment gets only a part of the requests, for now. The first one of an
    /// environment gets all of them: there is nothing beside it.
    pub(super) fn is_canary(&self, target: &Target) -> bool {
        self.desired.live.is_some() && target.canary.as_ref().is_some_and(|canary| !canary.promoted)
    }

    /// Keeps the instances of a canary running: who dies or stops answering is replaced, as those of
    /// the live release are, and the canary ends only when they do so again and again. What was
    /// promoted gets its workers too, and then everything.
    pub(super) fn carry_canary(&mut self, target: &Target) {
        if target.apps.keys().any(|app| self.needs_hold(app)) {
            // Refused when it was asked for; the live release may have changed since.
            return self.advance(target, DeploymentEvent::Failed, Some(EXCLUSIVE_CANARY.to_owned()));
        }
        let ready = self.bring_up(target, |_| true);
        self.count_crashes(target);
        if ready && !self.is_canary(target) {
            self.advance(target, DeploymentEvent::AllReady, None);
        }
    }

    /// Why a canary cannot go on, if so.
    pub(super) fn failure_of_canary(&self, target: &Target) -> Option<String> {
        if let Some(refusal) = self.observed.refused.get(&target.deployment) {
            return Some(format!("an instance could not be started: {refusal}"));
        }
        let mut known = self.observed.canary_crashes.iter();
        let is_loop = |crashes: &CanaryCrashes| crashes.crashes.count >= CRASHES_SHOWN;
        known.find_map(|((deployment, app, process), crashes)| {
            let in_loop = *deployment == target.deployment && is_loop(crashes);
            in_loop.then(|| {
                format!(
                    "{app}.{process} crashed {} times in a row; at last it {}",
                    crashes.crashes.count, crashes.reason
                )
            })
        })
    }

    pub(super) fn crashes_of_canary(&self, target: &Target, (app, process): &(AppName, ProcessName)) -> Crashes {
        let key = (target.deployment, app.clone(), process.clone());
        let known = self.observed.canary_crashes.get(&key);
        known.map(|known| known.crashes).unwrap_or_default()
    }

    /// Adds the canary to the routes of the live release.
    pub(super) fn share_with_canary(&self, entries: &mut BTreeMap<(AppName, ProcessName), Entry>) {
        let of_canary = self.candidate.filter(|target| target.state == DeploymentState::Canary);
        let Some(target) = of_canary else { return };
        let Some(canary) = &target.canary else { return };
        for (key, entry) in entries {
            if entry.state != RouteState::Serve {
                continue;
            }
            let Some(app) = target.apps.get(&key.0).filter(|app| app.spec.is_routed(&key.1)) else {
                continue;
            };
            let Some(process) = app.spec.processes.get(&key.1) else {
                continue;
            };
            let facts = self.chosen_candidate.get(key).into_iter().flatten();
            let serving = facts.filter(|fact| self.is_ready_to_serve(fact));
            let mut pool: Vec<_> = serving.filter_map(|fact| fact.backend.clone()).collect();
            pool.sort();
            if pool.is_empty() {
                continue;
            }
            let routes = app.spec.routes.iter().filter(|route| route.process == key.1);
            entry.canary = Some(CanaryEntry {
                deployment: target.deployment,
                share: canary.share,
                header: canary.header.clone(),
                entry: Box::new(Entry {
                    state: RouteState::Serve,
                    pool,
                    process: process.clone(),
                    routes: routes.cloned().collect(),
                    classes: app.spec.classes.clone(),
                    tcp: Vec::new(),
                    canary: None,
                }),
            });
        }
    }
}
