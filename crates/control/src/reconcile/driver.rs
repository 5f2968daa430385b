//! A worker: the passes over one environment. See the room's page for their order.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;
use weir_engine::{EngineError, InstanceLabels, InstanceRole, InstanceState, Network};
use weir_model::canary::Canary;
use weir_model::deployment::{Deployment, DeploymentState};
use weir_model::files::main_app;
use weir_model::project::{Environment, EnvironmentMode, Project, Scale};
use weir_model::release::Release;
use weir_model::route::Backend;
use weir_model::task::{LineKind, Task, TaskKind, TaskState};
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId, UnixMillis};
use weir_store::StoreError;

use super::caching::Caching;
use super::funds::AwaitedPayers;
use super::plan::{CanaryCrashes, CanaryProcess, Crashes, Desired, Fact, Observed, Plan, Probe, Target, is_mine, plan};
use super::probe::Probes;
use super::resting::app_target;
use super::routing::EnvironmentRoutes;
use super::{InstanceView, lock};
use crate::context::Context;
use crate::{access_log, guarding, protecting, tcp};

/// Passes that follow each other at once because each changed something; more mean a bug, and
/// the worker takes a breath.
const MOST_PASSES: u32 = 50;
/// Pause after a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Pause between attempts to remove what is left of an environment.
const DESTROY_PAUSE_MS: i64 = 500;
/// What was started counts as there for so long, even if the engine does not show it yet.
const RECENT_MS: i64 = 5_000;

/// Why a pass could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum PassError {
    #[error("the store failed: {0}")]
    Store(#[from] StoreError),
    #[error("{0}")]
    Engine(#[from] EngineError),
}

/// What is to follow a pass.
pub(super) enum Next {
    /// Something was done: look again at once.
    Again,
    /// Wait until something happens, or until this instant.
    Wait(Option<UnixMillis>),
    /// The environment is gone.
    Gone,
}

/// The passes over one environment, with what they remember of each other. All of it may be
/// lost: it saves work and counts crashes, nothing else.
pub(super) struct Worker {
    pub(super) context: Context,
    pub(super) environment: EnvironmentId,
    pub(super) network: Option<Network>,
    pub(super) releases: HashMap<ReleaseId, Arc<Release>>,
    pub(super) probes: Probes,
    pub(super) crashes: BTreeMap<(AppName, ProcessName), Crashes>,
    pub(super) canary_crashes: BTreeMap<CanaryProcess, CanaryCrashes>,
    pub(super) refused: BTreeMap<DeploymentId, String>,
    /// Being stopped or removed by a task of `background`.
    pub(super) stopping: BTreeSet<InstanceId>,
    /// Started lately.
    pub(super) recent: HashMap<InstanceId, (InstanceLabels, UnixMillis)>,
    left_pool: HashMap<InstanceId, UnixMillis>,
    pub(super) destroy_attempts: u32,
    /// Counted as crashed; one that hangs is seen several times until it is gone.
    pub(super) counted: BTreeSet<InstanceId>,
    /// Reported as ready in the deployment's task.
    announced: BTreeSet<InstanceId>,
    /// Instances between two nodes that pay.
    pub(super) awaited_payers: AwaitedPayers,
    /// Since when there is no money, as this worker has seen it.
    pub(super) unpaid_since_ms: Option<UnixMillis>,
    /// Output of release commands on its way into the deployment's task.
    pub(super) forwarding: HashMap<InstanceId, tokio::task::JoinHandle<()>>,
    /// Stops and removals, which take as long as the app's grace.
    pub(super) background: JoinSet<(InstanceId, Result<(), EngineError>)>,
}

/// What the store says about an environment.
pub(super) struct Wanted {
    pub(super) project: Project,
    pub(super) environment: Environment,
    pub(super) deployments: BTreeMap<DeploymentId, Deployment>,
    pub(super) desired: Desired,
}

impl Wanted {
    /// What part of the requests the newest deployment gets, for people.
    pub(super) fn canary_words(&self) -> String {
        let newest = self.desired.in_progress.last();
        let canary = newest.and_then(|target| target.canary.as_ref());
        canary.map_or_else(String::new, Canary::words)
    }

    /// `shop` for production, else `shop (staging)`.
    pub(super) fn title(&self) -> String {
        match self.environment.name.is_production() {
            true => self.project.name.to_string(),
            false => format!("{} ({})", self.project.name, self.environment.name),
        }
    }
}

impl Worker {
    pub(super) fn new(context: Context, environment: EnvironmentId) -> Self {
        Self {
            context,
            environment,
            network: None,
            releases: HashMap::new(),
            probes: Probes::default(),
            crashes: BTreeMap::new(),
            canary_crashes: BTreeMap::new(),
            refused: BTreeMap::new(),
            stopping: BTreeSet::new(),
            recent: HashMap::new(),
            left_pool: HashMap::new(),
            destroy_attempts: 0,
            counted: BTreeSet::new(),
            announced: BTreeSet::new(),
            awaited_payers: AwaitedPayers::default(),
            unpaid_since_ms: None,
            forwarding: HashMap::new(),
            background: JoinSet::new(),
        }
    }

    /// Passes until the environment is gone or control stops.
    pub(super) async fn run(mut self, notify: Arc<Notify>) {
        let mut passes = 0;
        let mut failing = false;
        loop {
            let next = self.pass().await;
            // An outage is told once, and the many things that wake a worker then are not heeded.
            if let Err(error) = &next
                && !failing
            {
                tracing::warn!(environment.id = %self.environment, %error, "cannot bring the environment up to date; trying again every second");
            }
            failing = next.is_err();
            let answer = match &next {
                Err(PassError::Engine(error @ EngineError::Unreachable(_))) => Err(error.to_string()),
                _ => Ok(()),
            };
            *lock(&self.context.reconciler.shared.engine) = answer;
            let wake_at = match next {
                Ok(Next::Gone) => return self.forget(),
                Ok(Next::Again) if passes < MOST_PASSES => {
                    passes += 1;
                    None
                }
                Ok(Next::Again) => {
                    tracing::error!(environment.id = %self.environment, "the environment does not come to rest; looking again in a second");
                    Some(AFTER_FAILURE)
                }
                Ok(Next::Wait(at_ms)) => Some(self.until(at_ms)),
                Err(_) => Some(AFTER_FAILURE),
            };
            let Some(wait) = wake_at else { continue };
            passes = 0;
            tokio::select! {
                () = self.context.stop.cancelled() => return,
                () = notify.notified(), if !failing => {}
                Some(ended) = self.background.join_next() => self.stopped(ended),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn until(&self, at_ms: Option<UnixMillis>) -> Duration {
        let wait_ms = at_ms.map_or(3_600_000, |at_ms| {
            (at_ms - self.context.clock.now_ms()).clamp(5, 3_600_000)
        });
        Duration::from_millis(u64::try_from(wait_ms).unwrap_or(1000))
    }

    fn stopped(&mut self, ended: Result<(InstanceId, Result<(), EngineError>), tokio::task::JoinError>) {
        match ended {
            Ok((instance, result)) => {
                self.stopping.remove(&instance);
                if let Err(error) = result {
                    tracing::warn!(instance.id = %instance, %error, "cannot stop the instance; trying again");
                }
            }
            Err(error) => tracing::error!(%error, "a task that stopped an instance broke off"),
        }
    }

    fn forget(&mut self) {
        let shared = &self.context.reconciler.shared;
        shared.routing.withdraw(self.environment, self.context.clock.now_ms());
        lock(&shared.views).remove(&self.environment);
    }

    /// One pass: desire, observe, decide, publish, act, conclude.
    async fn pass(&mut self) -> Result<Next, PassError> {
        while let Some(ended) = self.background.try_join_next() {
            self.stopped(ended);
        }
        // Read before what is wanted: a task that comes later may mean something newer.
        let tasks = self.context.store.task_list_unfinished_of(self.environment).await?;
        let Some(mut wanted) = self.desire().await? else {
            return Ok(Next::Gone);
        };
        let observed = self.observe(&wanted).await?;
        let now_ms = self.context.clock.now_ms();
        self.scale(&mut wanted.desired, &observed, now_ms);
        let plan = plan(&wanted.desired, &observed, now_ms);
        self.publish(&wanted, &plan, &observed, now_ms).await?;
        self.view(&wanted, &observed, &plan);
        self.announce(&wanted, &observed).await;
        self.tell_trips(&wanted).await;
        self.tell_scaling(&wanted).await;
        self.hold_for(&wanted, &observed, now_ms).await?;
        let acted = self.act(&wanted, &observed, plan.actions).await?;
        if acted {
            return Ok(Next::Again);
        }
        if wanted.desired.unpaid.is_some() && self.context.money.is_forfeited(self.environment) {
            self.delete_data(&observed).await?;
        }
        if wanted.desired.mode == EnvironmentMode::Destroying {
            return Ok(match self.destroy(&wanted, &observed).await? {
                true => Next::Gone,
                false => Next::Wait(Some(now_ms + DESTROY_PAUSE_MS)),
            });
        }
        self.conclude(&wanted, &observed, tasks).await?;
        let wake_at_ms = plan
            .wake_at_ms
            .into_iter()
            .chain(self.context.reconciler.shared.funds.wake_ms(self.environment))
            .min();
        Ok(Next::Wait(wake_at_ms))
    }

    // --- desire ---

    async fn desire(&mut self) -> Result<Option<Wanted>, PassError> {
        let store = self.context.store.clone();
        let Some(environment) = store.environment_by_id(self.environment).await? else {
            return Ok(None);
        };
        let Some(project) = store.project_by_id(environment.project).await? else {
            return Ok(None);
        };
        let scale = store.scale_list(self.environment).await?;
        let mut deployments = BTreeMap::new();
        let mut in_progress = Vec::new();
        for deployment in store.deployment_list_in_progress(self.environment).await? {
            in_progress.extend(self.target(&deployment, &scale).await?);
            deployments.insert(deployment.id, deployment);
        }
        let mut served = Vec::new();
        for id in [environment.live, environment.previous] {
            let deployment = match id {
                Some(id) => store.deployment_by_id(id).await?,
                None => None,
            };
            served.push(match deployment {
                Some(deployment) => {
                    let target = self.target(&deployment, &scale).await?;
                    deployments.insert(deployment.id, deployment);
                    target
                }
                None => None,
            });
        }
        let previous = served
            .pop()
            .flatten()
            .map(|target| (target, environment.previous_until_ms));
        let live = served.pop().flatten();
        let desired = Desired {
            environment: environment.id,
            mode: environment.mode,
            live,
            previous,
            in_progress,
            unpaid: self.unpaid(&project, &environment),
        };
        Ok(Some(Wanted {
            project,
            environment,
            deployments,
            desired,
        }))
    }

    async fn target(&mut self, deployment: &Deployment, scale: &[Scale]) -> Result<Option<Target>, PassError> {
        let Some(release) = self.release(deployment.release).await? else {
            return Ok(None);
        };
        let apps = release
            .apps
            .iter()
            .map(|(name, app)| (name.clone(), app_target(&app.spec, scale)))
            .collect();
        Ok(Some(Target {
            deployment: deployment.id,
            release: deployment.release,
            kind: deployment.kind,
            state: deployment.state,
            canary: deployment.canary.clone(),
            entered_ms: deployment.entered_ms,
            apps,
        }))
    }

    /// A release; they are immutable, so the few that matter are kept.
    pub(super) async fn release(&mut self, id: ReleaseId) -> Result<Option<Arc<Release>>, PassError> {
        if let Some(release) = self.releases.get(&id) {
            return Ok(Some(Arc::clone(release)));
        }
        let Some(release) = self.context.store.release_by_id(id).await? else {
            return Ok(None);
        };
        if self.releases.len() >= 8 {
            self.releases.clear();
        }
        let release = Arc::new(release);
        self.releases.insert(id, Arc::clone(&release));
        Ok(Some(release))
    }

    // --- observe ---

    async fn observe(&mut self, wanted: &Wanted) -> Result<Observed, PassError> {
        let now_ms = self.context.clock.now_ms();
        let asleep = self.asleep();
        let seen = self.context.engine.observe(Some(self.environment)).await?;
        // What a node says may be newer than what was seen, and older.
        let asleep = [asleep, self.asleep()];
        let routing = &self.context.reconciler.shared.routing;
        let applied = routing.applied(self.environment);
        let loads = routing.load();
        let sessions = lock(&self.context.reconciler.shared.sessions).clone();
        self.recent.retain(|_, (_, at_ms)| now_ms - *at_ms < RECENT_MS);
        let mut instances = Vec::new();
        for instance in seen {
            let id = instance.labels.instance;
            let started_here = self.recent.remove(&id).is_some();
            // Made and never started: control was killed between the two, or the engine did not
            // answer. Nobody else will start it, and one that is started anew must not wait for it.
            if instance.state == InstanceState::Created && !started_here && !sessions.contains(&id) {
                self.stop(id, None);
            }
            let address = instance.address.zip(instance.labels.port);
            let backend = address.map(|(ip, port)| Backend {
                instance: id,
                address: (ip, port).into(),
            });
            instances.push(Fact {
                state: instance.state,
                address: instance.address,
                backend,
                started_ms: instance.started_ms,
                asleep: false,
                probe: self.probes.state(id),
                checked_since_ms: self.probes.since_ms(id),
                load: loads.get(&id).copied().unwrap_or_default(),
                stopping: self.stopping.contains(&id),
                left_pool_ms: self.left_pool.get(&id).copied(),
                in_session: sessions.contains(&id),
                labels: instance.labels,
            });
        }
        instances.extend(self.recent.values().map(|(labels, at_ms)| Fact {
            labels: labels.clone(),
            state: InstanceState::Created,
            address: None,
            backend: None,
            started_ms: *at_ms,
            asleep: false,
            probe: Probe::Waiting(None),
            checked_since_ms: None,
            load: weir_model::route::BackendLoad::default(),
            stopping: self.stopping.contains(&labels.instance),
            left_pool_ms: None,
            in_session: false,
        }));
        instances.sort_by_key(|fact| fact.labels.instance);
        self.heed_sleepers(&wanted.desired, &mut instances, &asleep);
        self.watch_probes(wanted, &instances);
        Ok(Observed {
            instances,
            applied,
            crashes: self.crashes.clone(),
            canary_crashes: self.canary_crashes.clone(),
            refused: self.refused.clone(),
        })
    }

    /// Checks what runs and is routed; ends the checks of the rest, so that what is thawed is
    /// checked anew.
    fn watch_probes(&mut self, wanted: &Wanted, facts: &[Fact]) {
        let host = format!("{}.{}", wanted.project.name, self.context.config.domain);
        let mut checked = BTreeSet::new();
        for fact in facts {
            let Some(backend) = fact
                .backend
                .as_ref()
                .filter(|_| fact.state == InstanceState::Running && !fact.stopping && !fact.asleep)
            else {
                continue;
            };
            let Some(release) = self.releases.get(&fact.labels.release) else {
                continue;
            };
            let spec = release
                .apps
                .get(&fact.labels.app)
                .and_then(|app| app.spec.processes.get(&fact.labels.process));
            let Some(spec) = spec else { continue };
            checked.insert(fact.labels.instance);
            let (reconciler, environment) = (self.context.reconciler.clone(), self.environment);
            let now_ms = self.context.clock.now_ms();
            self.probes.watch(
                fact.labels.instance,
                backend.address,
                &host,
                &spec.check,
                now_ms,
                move || reconciler.wake(environment),
            );
        }
        self.probes.retain(|instance| checked.contains(&instance));
    }

    // --- publish ---

    async fn publish(
        &mut self,
        wanted: &Wanted,
        plan: &Plan,
        observed: &Observed,
        now_ms: UnixMillis,
    ) -> Result<(), PassError> {
        let switching = wanted
            .desired
            .in_progress
            .first()
            .filter(|target| target.state == DeploymentState::Switching);
        let serving = switching
            .or(wanted.desired.live.as_ref())
            .or(wanted.desired.in_progress.last());
        let canary = wanted
            .desired
            .in_progress
            .iter()
            .filter(|target| target.state == DeploymentState::Canary);
        let metered = self.metered(observed).await?;
        let specs = || serving.into_iter().flat_map(Target::specs);
        let store = &self.context.store;
        let routes = EnvironmentRoutes {
            title: wanted.title(),
            main_app: serving
                .and_then(|target| main_app(target.apps.values().map(|app| &app.spec), wanted.project.name.as_str())),
            domains: match wanted.desired.mode {
                EnvironmentMode::Destroying => Vec::new(),
                _ => store.domain_list(self.environment).await?,
            },
            gateway: self.network.map(|network| network.gateway),
            routes: plan.routes.clone(),
            protections: protecting::in_force(
                &self.context,
                self.environment,
                // A canary answers under the same hosts: what stands before it stands there, too.
                serving.into_iter().chain(canary).flat_map(Target::specs),
            )
            .await?,
            guard: guarding::rules(
                &self.context,
                &wanted.project,
                &wanted.environment,
                store.guard_rules_of(self.environment).await?,
                specs(),
            ),
            access_log: access_log::in_force(store, self.environment, specs()).await?,
            caching: Caching {
                apps: specs().map(|(name, app)| (name.clone(), app.cache)).collect(),
                deployment: serving.map(|target| target.deployment),
            },
            metered,
            watched: self.watched(&wanted.desired),
            tcp_ports: tcp::ports(store, self.environment, specs()).await?,
        };
        for fact in &observed.instances {
            let id = fact.labels.instance;
            if plan.routes.serves(id) {
                self.left_pool.remove(&id);
            } else {
                self.left_pool.entry(id).or_insert(now_ms);
            }
        }
        self.counted
            .retain(|id| observed.instances.iter().any(|fact| fact.labels.instance == *id));
        self.left_pool
            .retain(|id, _| observed.instances.iter().any(|fact| fact.labels.instance == *id));
        let routing = &self.context.reconciler.shared.routing;
        routing.publish(self.environment, routes.clone(), now_ms);
        if self.network.is_none() && wanted.desired.mode != EnvironmentMode::Destroying {
            // Making a network takes a while; that the host exists is known before.
            let network = self.context.engine.network_ensure(self.environment).await?;
            self.network = Some(network);
            let gateway = Some(network.gateway);
            routing.publish(self.environment, EnvironmentRoutes { gateway, ..routes }, now_ms);
        }
        Ok(())
    }

    fn view(&self, wanted: &Wanted, observed: &Observed, plan: &Plan) {
        let views = observed.instances.iter().map(|fact| {
            let crashes = self.crashes_of(wanted, fact);
            let (state, reason) = describe(wanted, fact, plan);
            InstanceView {
                labels: fact.labels.clone(),
                state,
                reason,
                started_ms: fact.started_ms,
                crashes,
            }
        });
        let views = views.collect();
        lock(&self.context.reconciler.shared.views).insert(self.environment, views);
    }

    /// Tells the task of a deployment which instances are ready.
    async fn announce(&mut self, wanted: &Wanted, observed: &Observed) {
        self.announced
            .retain(|id| observed.instances.iter().any(|fact| fact.labels.instance == *id));
        let Some(target) = wanted.desired.in_progress.last() else {
            return;
        };
        let Some(task) = wanted
            .deployments
            .get(&target.deployment)
            .map(|deployment| deployment.task)
        else {
            return;
        };
        for fact in &observed.instances {
            let mine = is_mine(target, fact) && target.state != DeploymentState::Pending;
            let ready = fact.state == InstanceState::Running && fact.probe == Probe::Ready;
            if mine && ready && self.announced.insert(fact.labels.instance) {
                let took_ms = self.context.clock.now_ms() - fact.started_ms.max(target.entered_ms);
                let text = format!(
                    "{}.{} answers after {:.1} s",
                    fact.labels.app,
                    fact.labels.process,
                    took_ms as f64 / 1000.0
                );
                self.context.tasks.line(task, LineKind::Info, &text).await;
            }
        }
    }

    // --- conclude ---

    /// Ends the tasks whose goal reality shows.
    async fn conclude(&mut self, wanted: &Wanted, observed: &Observed, tasks: Vec<Task>) -> Result<(), PassError> {
        for task in tasks {
            let outcome = match task.kind {
                TaskKind::Push | TaskKind::Deploy => self.outcome_of_deployment(task.id).await?,
                TaskKind::Pause => {
                    let quiet = observed
                        .instances
                        .iter()
                        .all(|fact| matches!(fact.state, InstanceState::Exited { .. }));
                    (wanted.desired.mode == EnvironmentMode::Paused && quiet).then_some((TaskState::Done, None))
                }
                TaskKind::Resume | TaskKind::Scale => scaled(wanted, observed),
                TaskKind::Destroy => None,
            };
            if let Some((state, error)) = outcome {
                self.context.tasks.end(task.id, state, error.as_deref()).await;
            }
        }
        Ok(())
    }

    /// A deployment may have ended right before control was killed, its task not.
    async fn outcome_of_deployment(
        &self,
        task: weir_model::TaskId,
    ) -> Result<Option<(TaskState, Option<String>)>, PassError> {
        let deployments = self.context.store.deployment_list(self.environment, 50).await?;
        let deployment = deployments.into_iter().find(|deployment| deployment.task == task);
        Ok(deployment.and_then(|deployment| match deployment.state {
            DeploymentState::Live | DeploymentState::Retired => Some((TaskState::Done, None)),
            // What it was asked for is done; a promotion has a task of its own.
            DeploymentState::Canary if deployment.is_resting_canary() => Some((TaskState::Done, None)),
            DeploymentState::Failed => Some((TaskState::Failed, deployment.reason)),
            DeploymentState::Superseded => Some((TaskState::Superseded, deployment.reason)),
            _ => None,
        }))
    }
}

/// State and reason of an instance, in the words of the API.
fn describe(wanted: &Wanted, fact: &Fact, plan: &Plan) -> (&'static str, Option<String>) {
    let routed = fact.labels.port.is_some();
    match (&fact.state, &fact.probe) {
        (InstanceState::Exited { status, out_of_memory }, _) => {
            let words = super::plan::exit_words(*status, *out_of_memory);
            (if *status == 0 { "exited" } else { "crashed" }, Some(words))
        }
        (InstanceState::Frozen, _) if fact.asleep => {
            let why = "frozen, because nobody asks anything of it; the next request wakes it";
            ("asleep", Some(why.to_owned()))
        }
        (InstanceState::Frozen, _) => ("frozen", Some(frozen_because(wanted, fact))),
        (InstanceState::Created, _) => ("starting", None),
        (InstanceState::Running, _) if fact.stopping => ("draining", Some("it is being stopped".to_owned())),
        (InstanceState::Running, Probe::Unhealthy(why)) => ("unhealthy", Some(why.clone())),
        (InstanceState::Running, Probe::Waiting(None)) if routed => (super::UNCHECKED, None),
        (InstanceState::Running, Probe::Waiting(Some(why))) if routed => ("starting", Some(why.clone())),
        (InstanceState::Running, _) => {
            let serves = plan.routes.serves(fact.labels.instance);
            let old = wanted
                .desired
                .live
                .as_ref()
                .is_some_and(|live| live.release != fact.labels.release);
            if serves || !routed || !old {
                ("ready", None)
            } else {
                ("draining", Some("another release serves".to_owned()))
            }
        }
    }
}

fn frozen_because(wanted: &Wanted, fact: &Fact) -> String {
    let live = wanted.desired.live.as_ref();
    match &wanted.desired.unpaid {
        Some(unpaid) if live.is_some_and(|live| is_mine(live, fact)) => unpaid.message.clone(),
        _ => "kept for a quick rollback".to_owned(),
    }
}

/// Whether as many instances are ready as are wanted; failed if a process crashes in a loop.
fn scaled(wanted: &Wanted, observed: &Observed) -> Option<(TaskState, Option<String>)> {
    if wanted.desired.mode != EnvironmentMode::Active {
        return Some((TaskState::Superseded, Some("the environment was paused".to_owned())));
    }
    if let Some(unpaid) = &wanted.desired.unpaid {
        return Some((TaskState::Failed, Some(unpaid.message.clone())));
    }
    let Some(live) = &wanted.desired.live else {
        return Some((TaskState::Done, None));
    };
    for (name, app) in &live.apps {
        for (process, &count) in &app.instances {
            let key = (name.clone(), process.clone());
            if observed.crashes.get(&key).is_some_and(|crashes| crashes.count >= 3) {
                let error = format!("{name}.{process} crashes again and again: see `weir logs --process {process}`");
                return Some((TaskState::Failed, Some(error)));
            }
            let routed = app.spec.is_routed(process);
            let ready = observed.instances.iter().filter(|fact| {
                let labels = &fact.labels;
                labels.role == InstanceRole::Instance
                    && labels.release == live.release
                    && (&labels.app, &labels.process) == (name, process)
                    && fact.is_up()
                    && !fact.stopping
                    && (!routed || fact.probe == Probe::Ready)
            });
            if ready.count() != count as usize {
                return None;
            }
        }
    }
    Some((TaskState::Done, None))
}
