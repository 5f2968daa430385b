//! Thousands of random schedules of pushes, rollbacks, restarts, pauses, crashes of instances,
//! of the engine, of the node and of control itself, with late and stale observations. The
//! world here executes what [`plan`] decides and checks after every step the rules that the
//! plan promises; at the end the faults stop and everything has to come to rest.
//!
//! `WEIR_SIMULATION_SEEDS=100000 cargo test -p weir-control --lib simulation` runs more of
//! them; a failure prints its seed, and `WEIR_SIMULATION_SEED=…` runs that one alone.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use weir_engine::{InstanceLabels, InstanceRole, InstanceState};
use weir_model::deployment::{DeploymentEvent, DeploymentKind, DeploymentState};
use weir_model::project::EnvironmentMode;
use weir_model::route::{Backend, BackendLoad, RouteState};
use weir_model::spec::{AppSpec, ProcessSpec, ReleaseCommand, VolumeSpec, Writers};
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId, VolumeName};

use super::plan::*;

mod canary;
mod money;

/// How a release behaves.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Behaviour {
    Good,
    NeverReady,
    Exits,
    ReleaseCommandFails,
}

struct Container {
    labels: InstanceLabels,
    state: InstanceState,
    started_ms: i64,
    ready_at_ms: i64,
    exits_at_ms: i64,
    stops_at_ms: Option<i64>,
    port: u16,
}

/// What control keeps in memory and loses when it is killed.
#[derive(Default)]
struct Memory {
    stopping: BTreeSet<InstanceId>,
    recent: BTreeMap<InstanceId, (InstanceLabels, i64)>,
    left_pool: BTreeMap<InstanceId, i64>,
    crashes: BTreeMap<(AppName, ProcessName), Crashes>,
    canary_crashes: BTreeMap<CanaryProcess, CanaryCrashes>,
}

struct World {
    rng: Rng,
    seed: u64,
    now_ms: i64,
    exclusive: bool,
    // The store.
    mode: EnvironmentMode,
    live: Option<DeploymentId>,
    previous: Option<(DeploymentId, i64)>,
    deployments: Vec<Target>,
    instances_wanted: u32,
    unpaid_since_ms: Option<i64>,
    /// Frozen for want of money; nodes may route there until they have heard of it.
    unpaid_frozen: BTreeSet<InstanceId>,
    // The engine.
    containers: BTreeMap<InstanceId, Container>,
    stale: Option<Vec<(InstanceLabels, InstanceState, i64)>>,
    behaviours: BTreeMap<ReleaseId, Behaviour>,
    // The node.
    published: Routes,
    applied: Option<Routes>,
    load: BTreeMap<InstanceId, u64>,
    /// Whether none of an app are wanted because nobody asks for it.
    stops_when_quiet: bool,
    /// Frozen by the node; the next request wakes them.
    asleep: BTreeSet<InstanceId>,
    // Control.
    memory: Memory,
    faults: bool,
    went_live: u32,
    canaries: u32,
    slept: u32,
    /// Why the last deployment failed that did.
    reason: Option<String>,
}

fn web() -> ProcessName {
    ProcessName::web()
}

fn worker() -> ProcessName {
    ProcessName::new("worker").unwrap()
}

fn shop() -> AppName {
    AppName::new("shop").unwrap()
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let exclusive = rng.bool();
        Self {
            seed,
            now_ms: 1_000_000,
            exclusive,
            mode: EnvironmentMode::Active,
            live: None,
            previous: None,
            deployments: Vec::new(),
            instances_wanted: 1,
            unpaid_since_ms: None,
            unpaid_frozen: BTreeSet::new(),
            containers: BTreeMap::new(),
            stale: None,
            behaviours: BTreeMap::new(),
            published: Routes::default(),
            applied: None,
            load: BTreeMap::new(),
            stops_when_quiet: rng.bool(),
            asleep: BTreeSet::new(),
            memory: Memory::default(),
            faults: true,
            went_live: 0,
            canaries: 0,
            slept: 0,
            reason: None,
            rng,
        }
    }

    fn spec(&self, behaviour: Behaviour) -> AppSpec {
        let mut volumes = BTreeMap::new();
        if self.exclusive {
            let data = VolumeSpec {
                path: "/data".to_owned(),
                writers: Writers::One,
            };
            volumes.insert(VolumeName::new("data").unwrap(), data);
        }
        let command = (behaviour == Behaviour::ReleaseCommandFails).then(|| ReleaseCommand {
            command: "migrate".to_owned(),
            timeout_s: 60,
        });
        AppSpec {
            name: shop(),
            processes: BTreeMap::from([(web(), ProcessSpec::default()), (worker(), ProcessSpec::default())]),
            release: command,
            volumes,
            routes: Vec::new(),
            variables: BTreeMap::new(),
            drain_s: 30,
            protection: weir_model::protection::ProtectionSpec::default(),
            classes: BTreeMap::new(),
            access_log: weir_model::access_log::AccessLogging::Off,
            cache: weir_model::cache::CacheSpec::default(),
            tcp: Vec::new(),
        }
    }

    fn push(&mut self, behaviour: Behaviour) {
        let release = ReleaseId::from_parts(self.now_ms, self.rng.u128(..));
        self.behaviours.insert(release, behaviour);
        self.deploy(release, DeploymentKind::Release);
    }

    fn deploy(&mut self, release: ReleaseId, kind: DeploymentKind) {
        let deployment = DeploymentId::from_parts(self.now_ms, self.rng.u128(..));
        let spec = self.spec(self.behaviours[&release]);
        let app = AppTarget {
            spec,
            instances: BTreeMap::new(),
            asleep: BTreeSet::new(),
            bounds: BTreeMap::new(),
        };
        self.deployments.push(Target {
            deployment,
            release,
            kind,
            state: DeploymentState::Pending,
            canary: None,
            entered_ms: self.now_ms,
            apps: BTreeMap::from([(shop(), app)]),
        });
    }

    fn target(&self, id: DeploymentId) -> Target {
        let mut target = self
            .deployments
            .iter()
            .find(|target| target.deployment == id)
            .unwrap()
            .clone();
        let wanted = if self.exclusive {
            self.instances_wanted.min(1)
        } else {
            self.instances_wanted
        };
        for app in target.apps.values_mut() {
            app.instances = BTreeMap::from([(web(), wanted), (worker(), 1)]);
            if wanted == 0 && self.stops_when_quiet {
                app.asleep.insert(web());
            }
        }
        target
    }

    fn desired(&self) -> Desired {
        let in_progress = self.deployments.iter().filter(|target| target.state.is_in_progress());
        Desired {
            environment: EnvironmentId::from_parts(1, 1),
            mode: self.mode,
            live: self.live.map(|id| self.target(id)),
            previous: self.previous.map(|(id, until_ms)| (self.target(id), until_ms)),
            in_progress: in_progress.map(|target| self.target(target.deployment)).collect(),
            unpaid: self.unpaid_since_ms.map(|since_ms| Unpaid {
                message: "the spending cap of shop is reached".to_owned(),
                retry_after_s: 0,
                since_ms,
            }),
        }
    }

    fn observed(&mut self) -> Observed {
        let truth: Vec<_> = self
            .containers
            .values()
            .map(|c| (c.labels.clone(), c.state, c.started_ms))
            .collect();
        // Now and then the engine shows what was the case a while ago.
        let stale = self.faults && self.rng.u8(..10) == 0;
        let seen = if stale {
            self.stale.clone().unwrap_or(truth.clone())
        } else {
            truth.clone()
        };
        self.stale = Some(truth);
        let now_ms = self.now_ms;
        self.memory.recent.retain(|_, (_, at_ms)| now_ms - *at_ms < 5_000);
        let mut instances = Vec::new();
        for (labels, state, started_ms) in seen {
            let id = labels.instance;
            let Some(container) = self.containers.get(&id) else {
                continue;
            };
            if !stale {
                self.memory.recent.remove(&id);
            }
            let ready = state == InstanceState::Running && now_ms >= container.ready_at_ms;
            let stopping = self.memory.stopping.contains(&id);
            let up = matches!(state, InstanceState::Running | InstanceState::Frozen);
            let asleep = self.asleep.contains(&id) && self.unpaid_since_ms.is_none() && up && !stopping;
            let address = ([10, 0, 0, 1], container.port).into();
            instances.push(Fact {
                address: None,
                backend: labels.port.map(|_| Backend { instance: id, address }),
                state,
                started_ms,
                asleep,
                probe: if ready || asleep {
                    Probe::Ready
                } else {
                    Probe::Waiting(None)
                },
                checked_since_ms: Some(started_ms),
                load: BackendLoad {
                    in_flight: self.load.get(&id).copied().unwrap_or(0),
                    ..BackendLoad::default()
                },
                stopping,
                left_pool_ms: self.memory.left_pool.get(&id).copied(),
                in_session: false,
                labels,
            });
        }
        let shown: BTreeSet<_> = instances.iter().map(|fact| fact.labels.instance).collect();
        for (labels, at_ms) in self
            .memory
            .recent
            .values()
            .filter(|(labels, _)| !shown.contains(&labels.instance))
        {
            instances.push(Fact {
                labels: labels.clone(),
                state: InstanceState::Created,
                address: None,
                backend: None,
                started_ms: *at_ms,
                asleep: false,
                probe: Probe::Waiting(None),
                checked_since_ms: None,
                load: BackendLoad::default(),
                stopping: self.memory.stopping.contains(&labels.instance),
                left_pool_ms: None,
                in_session: false,
            });
        }
        let crashes = self.memory.crashes.clone();
        Observed {
            instances,
            applied: self.applied.clone(),
            crashes,
            canary_crashes: self.memory.canary_crashes.clone(),
            refused: BTreeMap::new(),
        }
    }

    /// One pass of control; it may be killed between any two actions.
    fn pass(&mut self) {
        let (desired, observed) = (self.desired(), self.observed());
        let plan = plan(&desired, &observed, self.now_ms);
        self.must_cost_nothing(&desired, &observed, &plan);
        self.must_be_a_canary(&desired, &plan);
        for fact in &observed.instances {
            let id = fact.labels.instance;
            if plan.routes.serves(id) {
                self.memory.left_pool.remove(&id);
            } else {
                self.memory.left_pool.entry(id).or_insert(self.now_ms);
            }
        }
        self.published = plan.routes;
        for action in plan.actions {
            if self.faults && self.rng.u16(..200) == 0 {
                self.forget();
                return;
            }
            self.perform(action);
        }
    }

    /// Control was killed and started again. Its first look is at what really is there: what an
    /// engine has shown once it does not take back before something changes.
    fn forget(&mut self) {
        self.memory = Memory::default();
        self.stale = None;
    }

    fn perform(&mut self, action: Action) {
        let engine_fails = self.faults && self.rng.u8(..20) == 0;
        match action {
            Action::Start { .. } | Action::StartRelease { .. } | Action::Freeze { .. } | Action::Thaw { .. }
                if engine_fails => {}
            Action::Start {
                deployment,
                app: _,
                process,
            } => self.start(deployment, process, InstanceRole::Instance),
            Action::StartRelease { deployment, .. } => {
                self.start(deployment, ProcessName::new("release").unwrap(), InstanceRole::Release);
            }
            Action::Stop { instance, .. } => {
                self.must_not_serve(instance, "stopped");
                let delay_ms = self.rng.i64(..3_000);
                if let Some(container) = self.containers.get_mut(&instance) {
                    self.memory.stopping.insert(instance);
                    container.stops_at_ms = Some(self.now_ms + delay_ms);
                }
                self.memory.recent.remove(&instance);
            }
            Action::Remove { instance } => {
                self.containers.remove(&instance);
                self.load.remove(&instance);
            }
            Action::Freeze { instance } => {
                self.must_not_serve(instance, "frozen");
                if self.unpaid_since_ms.is_some() {
                    self.unpaid_frozen.insert(instance);
                }
                self.set_state(instance, InstanceState::Running, InstanceState::Frozen);
            }
            Action::Thaw { instance } => {
                self.unpaid_frozen.remove(&instance);
                self.asleep.remove(&instance);
                self.set_state(instance, InstanceState::Frozen, InstanceState::Running);
            }
            Action::Crashed { instance, .. } => {
                if let Some(labels) = self.containers.get(&instance).map(|container| container.labels.clone())
                    && !self.count_canary_crash(&labels)
                {
                    let crashes = self.memory.crashes.entry((labels.app, labels.process)).or_default();
                    crashes.count += 1;
                    crashes.not_before_ms = self.now_ms + 500;
                }
            }
            Action::Advance {
                deployment,
                from,
                event,
                reason,
            } => {
                self.reason = reason.or(self.reason.take());
                self.advance(deployment, from, event);
            }
            Action::ForgetPrevious { .. } => self.previous = None,
        }
    }

    fn start(&mut self, deployment: DeploymentId, process: ProcessName, role: InstanceRole) {
        let target = self.target(deployment);
        let behaviour = self.behaviours[&target.release];
        let id = InstanceId::from_parts(self.now_ms, self.rng.u128(..));
        let routed = role == InstanceRole::Instance && process.is_web();
        let labels = InstanceLabels {
            instance: id,
            role,
            environment: EnvironmentId::from_parts(1, 1),
            app: shop(),
            process,
            release: target.release,
            deployment,
            port: routed.then_some(8000),
        };
        let never = i64::MAX;
        let soon = self.now_ms + self.rng.i64(..1_500);
        let container = Container {
            state: InstanceState::Running,
            started_ms: self.now_ms,
            ready_at_ms: if behaviour == Behaviour::NeverReady {
                never
            } else {
                soon
            },
            exits_at_ms: if role == InstanceRole::Release || behaviour == Behaviour::Exits {
                soon
            } else {
                never
            },
            stops_at_ms: None,
            port: self.rng.u16(1..),
            labels: labels.clone(),
        };
        self.containers.insert(id, container);
        self.memory.recent.insert(id, (labels, self.now_ms));
    }

    fn set_state(&mut self, instance: InstanceId, from: InstanceState, to: InstanceState) {
        if let Some(container) = self
            .containers
            .get_mut(&instance)
            .filter(|container| container.state == from)
        {
            container.state = to;
        }
    }

    fn advance(&mut self, id: DeploymentId, from: DeploymentState, event: DeploymentEvent) {
        let to = from
            .on(event)
            .unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        let target = self
            .deployments
            .iter_mut()
            .find(|target| target.deployment == id)
            .unwrap();
        if target.state != from {
            return;
        }
        target.state = to;
        target.entered_ms = self.now_ms;
        self.canaries += u32::from(to == DeploymentState::Canary);
        if to == DeploymentState::Live {
            self.went_live += 1;
            if let Some(old) = self.live.replace(id) {
                self.deployments
                    .iter_mut()
                    .find(|target| target.deployment == old)
                    .unwrap()
                    .state = DeploymentState::Retired;
                // As in the store: a restart leaves alone what a rollback leads to.
                if self.target(old).release != self.target(id).release {
                    self.previous = Some((old, self.now_ms + 600_000));
                }
            }
        }
    }

    /// What the plan promises: nothing that nodes route to, or that has requests to finish
    /// within its time, is stopped or frozen.
    fn must_not_serve(&self, instance: InstanceId, done: &str) {
        let routed = self.applied.as_ref().is_some_and(|routes| routes.serves(instance));
        if self.unpaid_since_ms.is_some() || self.unpaid_frozen.contains(&instance) {
            // Its requests had no money either.
            return;
        }
        assert!(
            !routed,
            "seed {}: {instance} was {done} while a node routes to it",
            self.seed
        );
        let in_flight = self.load.get(&instance).copied().unwrap_or(0);
        let waited_ms = self
            .memory
            .left_pool
            .get(&instance)
            .map_or(0, |left| self.now_ms - left);
        let destroying = self.mode == EnvironmentMode::Destroying;
        assert!(
            in_flight == 0 || waited_ms >= UNHEALTHY_DRAIN_MS || destroying,
            "seed {}: {instance} was {done} with {in_flight} requests in flight after {waited_ms} ms",
            self.seed
        );
    }

    /// Time goes on: containers end, the node takes in routes, requests come and go.
    fn elapse(&mut self) {
        self.now_ms += self.rng.i64(1..400);
        let (now_ms, behaviours) = (self.now_ms, &self.behaviours);
        for container in self.containers.values_mut() {
            let alive = !matches!(container.state, InstanceState::Exited { .. });
            if alive && container.stops_at_ms.is_some_and(|at_ms| now_ms >= at_ms) {
                container.state = InstanceState::Exited {
                    status: 143,
                    out_of_memory: false,
                };
            } else if container.state == InstanceState::Running && now_ms >= container.exits_at_ms {
                let fails = behaviours[&container.labels.release] != Behaviour::Good;
                container.state = InstanceState::Exited {
                    status: i64::from(fails),
                    out_of_memory: false,
                };
            }
        }
        // A stop ends with the removal.
        let gone: Vec<_> = (self.memory.stopping.iter().copied())
            .filter(|id| {
                !self
                    .containers
                    .get(id)
                    .is_some_and(|c| !matches!(c.state, InstanceState::Exited { .. }))
            })
            .collect();
        for id in gone {
            self.memory.stopping.remove(&id);
            self.containers.remove(&id);
            self.load.remove(&id);
        }
        if !self.faults || self.rng.u8(..3) > 0 {
            self.applied = Some(self.published.clone());
        }
        self.requests();
        self.sleep();
    }

    /// The node puts those to sleep that have nothing to do, and wakes all while a deployment is on
    /// its way. Who is in no pool any more is not its concern.
    fn sleep(&mut self) {
        let applied = self.applied.clone().unwrap_or_default();
        let deploying = self.deployments.iter().any(|target| target.state.is_in_progress());
        self.asleep.retain(|id| applied.serves(*id));
        for (id, container) in &mut self.containers {
            let idle = self.load.get(id).copied().unwrap_or(0) == 0;
            match container.state {
                InstanceState::Frozen if self.asleep.contains(id) && (deploying || !self.faults) => {
                    container.state = InstanceState::Running;
                    self.asleep.remove(id);
                }
                InstanceState::Running
                    if self.faults && idle && !deploying && applied.serves(*id) && self.rng.u8(..8) == 0 =>
                {
                    container.state = InstanceState::Frozen;
                    self.asleep.insert(*id);
                    self.slept += 1;
                }
                _ => {}
            }
        }
    }

    fn requests(&mut self) {
        for count in self.load.values_mut() {
            *count = count.saturating_sub(self.rng.u64(..3));
        }
        let Some(applied) = &self.applied else { return };
        let live: BTreeSet<_> = self
            .deployments
            .iter()
            .filter(|t| !is_lost(t.state))
            .map(|t| t.release)
            .collect();
        for entry in applied.entries.values() {
            assert!(entry.state == RouteState::Serve || entry.pool.is_empty());
            let releases: BTreeSet<_> = entry
                .pool
                .iter()
                .filter_map(|backend| self.containers.get(&backend.instance))
                .map(|container| container.labels.release)
                .collect();
            assert!(releases.len() <= 1, "seed {}: two releases in one pool", self.seed);
            for release in releases {
                assert!(
                    live.contains(&release),
                    "seed {}: a release that failed gets requests",
                    self.seed
                );
            }
            let of_canary = entry.canary.iter().flat_map(|canary| &canary.entry.pool);
            for backend in entry.pool.iter().chain(of_canary) {
                if let Some(container) = self.containers.get_mut(&backend.instance) {
                    let wakes = self.asleep.contains(&backend.instance) && self.rng.u8(..4) == 0;
                    if wakes && container.state == InstanceState::Frozen {
                        container.state = InstanceState::Running;
                        self.asleep.remove(&backend.instance);
                        *self.load.entry(backend.instance).or_default() += 1;
                    }
                    assert!(
                        container.state != InstanceState::Frozen
                            || self.unpaid_frozen.contains(&backend.instance)
                            || self.asleep.contains(&backend.instance),
                        "seed {}: a frozen instance gets requests",
                        self.seed
                    );
                    if container.state == InstanceState::Running {
                        *self.load.entry(backend.instance).or_default() += self.rng.u64(..2);
                    }
                }
            }
        }
    }

    fn check(&self) {
        let live = self
            .deployments
            .iter()
            .filter(|target| target.state == DeploymentState::Live)
            .count();
        assert!(live <= 1, "seed {}: {live} live deployments", self.seed);
        if self.exclusive {
            let releases: BTreeSet<_> = self
                .containers
                .values()
                .filter(|c| c.labels.role == InstanceRole::Instance && !matches!(c.state, InstanceState::Exited { .. }))
                .map(|container| container.labels.release)
                .collect();
            assert!(
                releases.len() <= 1,
                "seed {}: two releases write to one volume",
                self.seed
            );
        }
    }

    fn disturb(&mut self) {
        let known: Vec<ReleaseId> = self.behaviours.keys().copied().collect();
        let any = self.containers.keys().copied().collect::<Vec<_>>();
        match self.rng.u8(..60) {
            0..4 => self.push(Behaviour::Good),
            4 => self.push(Behaviour::NeverReady),
            5 => self.push(Behaviour::Exits),
            6 => self.push(Behaviour::ReleaseCommandFails),
            7 | 8 if self.live.is_some() => {
                let release = known[self.rng.usize(..known.len())];
                if self.behaviours[&release] == Behaviour::Good {
                    self.deploy(release, DeploymentKind::Rollback);
                }
            }
            9 if self.live.is_some() => self.deploy(self.target(self.live.unwrap()).release, DeploymentKind::Restart),
            10 => self.mode = EnvironmentMode::Paused,
            11..16 => self.mode = EnvironmentMode::Active,
            16 => self.instances_wanted = self.rng.u32(..4),
            17 => self.forget(),
            18 if !any.is_empty() => {
                // An instance dies.
                let container = self.containers.get_mut(&any[self.rng.usize(..any.len())]).unwrap();
                container.state = InstanceState::Exited {
                    status: 1,
                    out_of_memory: false,
                };
            }
            19 if !any.is_empty() => {
                // Somebody removes a container by hand.
                self.containers.remove(&any[self.rng.usize(..any.len())]);
            }
            20 if self.rng.u8(..4) == 0 => {
                // The engine restarts: everything ends.
                for container in self.containers.values_mut() {
                    container.state = InstanceState::Exited {
                        status: 137,
                        out_of_memory: false,
                    };
                }
            }
            21 => self.load.clear(),
            30 => self.push_canary(Behaviour::Good),
            31 if self.rng.bool() => self.push_canary(Behaviour::Exits),
            31 => self.push_canary(Behaviour::NeverReady),
            32..35 => self.decide_on_canary(),
            22 => self.unpaid_since_ms = Some(self.now_ms),
            23..30 => self.unpaid_since_ms = None,
            _ => {}
        }
    }

    fn run(&mut self) {
        for _ in 0..250 {
            self.disturb();
            self.elapse();
            self.pass();
            self.check();
        }
        self.faults = false;
        self.mode = EnvironmentMode::Active;
        self.unpaid_since_ms = None;
        self.instances_wanted = 2;
        for _ in 0..700 {
            self.elapse();
            self.load.clear();
            self.promote_canaries();
            self.pass();
            self.check();
        }
        self.must_be_at_rest();
    }

    fn must_be_at_rest(&self) {
        let seed = self.seed;
        let unfinished = self
            .deployments
            .iter()
            .filter(|target| target.state.is_in_progress())
            .count();
        assert_eq!(unfinished, 0, "seed {seed}: deployments never ended");
        let Some(live) = self.live.map(|id| self.target(id)) else {
            assert!(
                self.containers.is_empty(),
                "seed {seed}: something runs although nothing is live"
            );
            return;
        };
        let previous = self.previous.map(|(id, _)| self.target(id).release);
        for container in self.containers.values() {
            let labels = &container.labels;
            let mine = labels.release == live.release;
            let kept = previous == Some(labels.release) && container.state == InstanceState::Frozen;
            assert!(
                mine || kept,
                "seed {seed}: {labels:?} is orphaned ({:?})",
                container.state
            );
        }
        // A release that never gets ready can be live if it was deployed with no web at all.
        if self.behaviours[&live.release] != Behaviour::Good {
            return;
        }
        let running = |process: &ProcessName| {
            let matching = self.containers.values().filter(|container| {
                container.labels.process == *process
                    && container.labels.release == live.release
                    && container.state == InstanceState::Running
            });
            u32::try_from(matching.count()).unwrap()
        };
        let wanted = &live.apps[&shop()].instances;
        assert_eq!(running(&worker()), 1, "seed {seed}: workers");
        assert_eq!(running(&web()), wanted[&web()], "seed {seed}: web");
        let entry = &self.applied.as_ref().unwrap().entries[&(shop(), web())];
        assert_eq!(entry.state, RouteState::Serve, "seed {seed}: nothing serves");
        assert_eq!(
            entry.pool.len(),
            wanted[&web()] as usize,
            "seed {seed}: the pool is not complete"
        );
    }
}

fn is_lost(state: DeploymentState) -> bool {
    matches!(state, DeploymentState::Failed | DeploymentState::Superseded)
}

#[test]
fn random_schedules_keep_every_promise_and_come_to_rest() {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    if let Some(seed) = number("WEIR_SIMULATION_SEED") {
        return World::new(seed).run();
    }
    let (mut went_live, mut slept, mut canaries) = (0, 0, 0);
    for seed in 0..number("WEIR_SIMULATION_SEEDS").unwrap_or(600) {
        let mut world = World::new(seed);
        world.run();
        went_live += world.went_live;
        canaries += world.canaries;
        slept += world.slept;
    }
    // A simulation in which nothing happens proves nothing.
    assert!(went_live > 600, "only {went_live} deployments went live");
    assert!(canaries > 200, "only {canaries} canaries got requests");
    assert!(slept > 200, "only {slept} instances fell asleep");
}
