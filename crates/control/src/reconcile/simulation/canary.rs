//! Canaries in the random schedules: pushed, widened, given up, promoted, and what must hold of them.

use weir_model::canary::{Canary, Share};

use super::*;

impl World {
    pub(super) fn push_canary(&mut self, behaviour: Behaviour) {
        self.push(behaviour);
        if let Some(target) = self.deployments.last_mut() {
            let share = Share::try_from(self.rng.u16(..=Share::WHOLE)).unwrap();
            target.canary = Some(Canary {
                share,
                ..Canary::default()
            });
        }
    }

    /// The owner promotes a canary, gives it up, or changes what it gets.
    pub(super) fn decide_on_canary(&mut self) {
        let decision = self.rng.u8(..3);
        let share = Share::try_from(self.rng.u16(..=Share::WHOLE)).unwrap();
        let mut canaries = self.deployments.iter_mut();
        let Some(target) = canaries.find(|target| target.state == DeploymentState::Canary) else {
            return;
        };
        let canary = target.canary.as_mut().unwrap();
        match decision {
            0 => canary.promoted = true,
            1 => target.state = DeploymentState::Failed,
            _ if !canary.promoted => canary.share = share,
            _ => {}
        }
    }

    /// Only a deployment that is a canary now gets a part of the requests, and none of an app with
    /// a one-writer volume; its instances are in no other pool.
    pub(super) fn must_be_a_canary(&self, desired: &Desired, plan: &Plan) {
        let seed = self.seed;
        for canary in plan
            .routes
            .entries
            .values()
            .filter_map(|entry| Some((entry, entry.canary.as_ref()?)))
        {
            let (entry, canary) = canary;
            assert!(!self.exclusive, "seed {seed}: a canary beside an app with one writer");
            let mut targets = desired.in_progress.iter();
            let target = targets.find(|target| target.deployment == canary.deployment);
            let target = target.unwrap_or_else(|| panic!("seed {seed}: what is no canary any more gets requests"));
            assert_eq!(target.state, DeploymentState::Canary, "seed {seed}");
            assert_eq!(entry.state, RouteState::Serve, "seed {seed}");
            for backend in &canary.entry.pool {
                assert!(
                    !entry.pool.contains(backend),
                    "seed {seed}: an instance serves for two releases"
                );
                let release = self
                    .containers
                    .get(&backend.instance)
                    .map(|container| container.labels.release);
                assert!(release.is_none_or(|release| release == target.release), "seed {seed}");
            }
        }
    }

    /// Somebody decides in the end.
    pub(super) fn promote_canaries(&mut self) {
        let canaries = self.deployments.iter_mut();
        for target in canaries.filter(|target| target.state == DeploymentState::Canary) {
            target.canary.as_mut().unwrap().promoted = true;
        }
    }
}
