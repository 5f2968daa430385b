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

    /// Counts a crash of an instance of a canary. Gives whether it is one.
    pub(super) fn count_canary_crash(&mut self, labels: &InstanceLabels) -> bool {
        let mut canaries = self.deployments.iter();
        let canary =
            canaries.find(|target| target.state == DeploymentState::Canary && target.release == labels.release);
        let Some(canary) = canary else { return false };
        let key = (canary.deployment, labels.app.clone(), labels.process.clone());
        let known = self.memory.canary_crashes.entry(key).or_default();
        known.crashes.count += 1;
        known.crashes.not_before_ms = self.now_ms + 500;
        known.reason = "exited with status 1".to_owned();
        true
    }

    /// Time goes on without faults, until something is so.
    fn until(&mut self, what: &str, so: impl Fn(&Self) -> bool) {
        for _ in 0..200 {
            if so(self) {
                return;
            }
            self.elapse();
            self.load.clear();
            self.pass();
            self.check();
        }
        panic!("seed {}: it never came true that {what}", self.seed);
    }

    fn state_of(&self, release: ReleaseId) -> DeploymentState {
        let mut deployments = self.deployments.iter();
        deployments.find(|target| target.release == release).unwrap().state
    }

    /// Who serves of a canary, and lives.
    fn canary_pool(&self) -> Vec<InstanceId> {
        let entry = self
            .applied
            .as_ref()
            .and_then(|routes| routes.entries.get(&(shop(), web())));
        let canary = entry.and_then(|entry| entry.canary.as_ref());
        let pool = canary.into_iter().flat_map(|canary| &canary.entry.pool);
        let lives = |id: &InstanceId| {
            let container = self.containers.get(id);
            container.is_some_and(|container| container.state == InstanceState::Running)
        };
        pool.map(|backend| backend.instance).filter(lives).collect()
    }

    fn kill(&mut self, instance: InstanceId) {
        self.containers.get_mut(&instance).unwrap().state = InstanceState::Exited {
            status: 1,
            out_of_memory: false,
        };
    }

    /// A world in which a release is live and another one is its canary.
    fn with_canary(seed: u64) -> (Self, ReleaseId) {
        let mut world = Self::new(seed);
        (world.exclusive, world.faults) = (false, false);
        world.push(Behaviour::Good);
        world.until("it is live", |world| world.went_live == 1);
        world.push_canary(Behaviour::Good);
        let release = world.deployments.last().unwrap().release;
        world.until("the canary serves", |world| world.canary_pool().len() == 1);
        (world, release)
    }

    /// Somebody decides in the end.
    pub(super) fn promote_canaries(&mut self) {
        let canaries = self.deployments.iter_mut();
        for target in canaries.filter(|target| target.state == DeploymentState::Canary) {
            target.canary.as_mut().unwrap().promoted = true;
        }
    }
}

#[test]
fn an_instance_of_a_canary_that_dies_is_replaced_and_counts_nothing_against_the_live_release() {
    for seed in 0..20 {
        let (mut world, release) = World::with_canary(seed);
        let died = world.canary_pool()[0];
        world.kill(died);
        world.until("another one serves in its place", |world| {
            !world.canary_pool().is_empty() && !world.canary_pool().contains(&died)
        });
        assert_eq!(world.state_of(release), DeploymentState::Canary);
        assert!(world.memory.crashes.is_empty());
        world.promote_canaries();
        world.until("it is promoted", |world| {
            world.state_of(release) == DeploymentState::Live
        });
    }
}

#[test]
fn a_canary_that_crashes_again_and_again_ends_with_a_reason() {
    for seed in 0..20 {
        let (mut world, release) = World::with_canary(seed);
        for _ in 0..2 {
            world.until("one serves", |world| !world.canary_pool().is_empty());
            let serving = world.canary_pool()[0];
            world.kill(serving);
            world.until("it is gone", |world| !world.containers.contains_key(&serving));
        }
        assert_eq!(world.state_of(release), DeploymentState::Canary);
        world.until("one serves", |world| !world.canary_pool().is_empty());
        world.kill(world.canary_pool()[0]);
        world.until("it has ended", |world| {
            world.state_of(release) == DeploymentState::Failed
        });
        let reason = "shop.web crashed 3 times in a row; at last it exited with status 1";
        assert_eq!(world.reason.as_deref(), Some(reason));
        world.until("nobody gets it", |world| world.canary_pool().is_empty());
        assert_eq!(world.went_live, 1, "the live release goes on");
    }
}
