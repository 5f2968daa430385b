//! The reconciler: compares all of what is wanted with all of what is there, and acts on the
//! difference. One worker per environment, woken by changes of the store, of the engine, of
//! checks and of nodes' reports, and by the clock; each pass reads everything anew, decides by
//! the pure [`plan`], publishes the routes and performs the actions. It keeps nothing that
//! could not be lost: after a restart the first passes find out what is the case.
//!
//! A pass, in order (`driver::Worker::pass`): desire, observe, decide, publish, act, conclude.

mod act;
mod autoscale;
mod caching;
mod classes;
mod driver;
mod facts;
mod funds;
mod housekeeping;
mod money;
mod nodes;
pub mod plan;
mod probe;
mod rates;
mod resting;
mod route_feed;
mod routing;
#[cfg(test)]
mod simulation;
mod tcp;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use weir_engine::{Engine, EngineEvent, InstanceSpec};
use weir_ledger::wallet::NoMoney;
use weir_model::cache::CacheCounts;
use weir_model::guard::{BackgroundWork, GuardTrip};
use weir_model::route::{ClassLoad, NodeReport, Refused, RouteSnapshot};
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName, UnixMillis};

use crate::context::Context;
use crate::money::Money;
pub(crate) use act::{Place, container, public_url, variables};
use autoscale::Scalers;
use funds::{Funds, Size};
pub(crate) use funds::{words, words_of};
pub use rates::Rate;
use resting::Visits;
pub use route_feed::RouteBatch;
use routing::Routing;
pub use routing::{Newest, Presence};

/// A node that has said nothing for so long counts as away.
const NODE_SILENT_MS: i64 = 5_000;
/// Environments are looked at at least this often, whatever happened.
const RESYNC: Duration = Duration::from_secs(30);
/// Pauses between further looks after the engine told of a change.
const ECHOES: [Duration; 3] = [
    Duration::from_millis(80),
    Duration::from_millis(300),
    Duration::from_millis(1200),
];
/// Longest wait for a changed host to reach the node.
const HOST_SETTLES: Duration = Duration::from_secs(3);
/// The state of an instance that runs and was not checked yet; not shown outside.
const UNCHECKED: &str = "unchecked";
/// So long the first snapshot waits at most for a first look at every environment.
const FIRST_LOOK: Duration = Duration::from_secs(5);

/// Handle to the reconciler; cheap to clone.
#[derive(Debug, Clone)]
pub struct Reconciler {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    routing: Routing,
    /// Money for what no node pays for yet.
    funds: Funds,
    /// Environments that are to be looked at.
    dirty: Mutex<BTreeSet<EnvironmentId>>,
    woken: Notify,
    views: Mutex<HashMap<EnvironmentId, Vec<InstanceView>>>,
    sessions: Mutex<BTreeSet<InstanceId>>,
    /// How many instances the processes that scale are to have.
    scalers: Scalers,
    /// Environments in whose instances somebody works (`weir exec`): none sleeps meanwhile.
    visits: Mutex<Visits>,
    /// Environments that are looked at again a little later.
    echoing: Mutex<BTreeSet<EnvironmentId>>,
    /// `Err` with the engine's words while it does not answer.
    engine: Mutex<Result<(), String>>,
    /// Whether every environment was looked at once.
    observed: watch::Sender<bool>,
    rates: Mutex<rates::Rates>,
}

/// An instance as the reconciler sees it, for status pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceView {
    /// Identity and place.
    pub labels: weir_engine::InstanceLabels,
    /// `starting`, `ready`, `asleep`, `unhealthy`, `draining`, `frozen`, `exited`, `crashed`.
    pub state: &'static str,
    /// Why, if it is not ready.
    pub reason: Option<String>,
    /// When it was started.
    pub started_ms: UnixMillis,
    /// How often its process crashed in a row.
    pub crashes: u32,
}

/// Somebody works in an instance of an environment.
#[derive(Debug)]
pub struct Visit {
    reconciler: Reconciler,
    environment: EnvironmentId,
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut visits = lock(&self.reconciler.shared.visits);
        if let Some(count) = visits.get_mut(&self.environment) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                visits.remove(&self.environment);
            }
        }
        drop(visits);
        self.reconciler.wake(self.environment);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is replaced as a whole, so it is good after a panic too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Reconciler {
    fn default() -> Self {
        Self::new()
    }
}

impl Reconciler {
    /// A reconciler that does nothing until [`run`] runs.
    pub fn new() -> Self {
        let shared = Shared {
            routing: Routing::new(),
            funds: Funds::default(),
            dirty: Mutex::default(),
            woken: Notify::new(),
            views: Mutex::default(),
            sessions: Mutex::default(),
            scalers: Scalers::default(),
            visits: Mutex::default(),
            echoing: Mutex::default(),
            engine: Mutex::new(Err("it was not asked yet".to_owned())),
            observed: watch::Sender::new(false),
            rates: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Something about this environment's desired state changed.
    pub fn wake(&self, environment: EnvironmentId) {
        lock(&self.shared.dirty).insert(environment);
        self.shared.woken.notify_one();
    }

    /// What really runs of an environment, as last observed; one-off containers, too.
    pub fn instances(&self, environment: EnvironmentId) -> Vec<InstanceView> {
        let mut views = lock(&self.shared.views).get(&environment).cloned().unwrap_or_default();
        // Whether a first check was made is nobody's business outside.
        views
            .iter_mut()
            .filter(|view| view.state == UNCHECKED)
            .for_each(|view| view.state = "starting");
        views
    }

    /// What is ready, with the reason where not. Keys `engine`, `node`, `observed`.
    pub fn health(&self, now_ms: UnixMillis) -> BTreeMap<String, Result<(), String>> {
        let node = match self.shared.routing.reported_ms() {
            None => Err("no node has reported yet".to_owned()),
            Some(at_ms) if now_ms - at_ms > NODE_SILENT_MS => Err("the node does not report".to_owned()),
            Some(_) => Ok(()),
        };
        let observed = match *self.shared.observed.borrow() {
            true => Ok(()),
            false => Err("not all environments were looked at yet".to_owned()),
        };
        BTreeMap::from([
            ("engine".to_owned(), lock(&self.shared.engine).clone()),
            ("node".to_owned(), node),
            ("observed".to_owned(), observed),
        ])
    }

    /// Buys the first seconds of an instance that a session is about to start, and what it may
    /// send first.
    pub async fn secure(&self, money: &Money, spec: &InstanceSpec, now_ms: UnixMillis) -> Result<(), NoMoney> {
        let size = Size {
            memory_bytes: spec.memory_bytes,
            cpu_milli: spec.cpu_milli,
            grace_s: plan::ONE_OFF_GRACE_S,
        };
        let (labels, shared) = (&spec.labels, &self.shared);
        shared.funds.secure(money.wallets(), labels, size, now_ms).await?;
        let starting = vec![money::metered_instance(labels, size)];
        shared.routing.announce(labels.environment, starting, now_ms).await;
        Ok(())
    }

    /// A session (`weir run`) owns this one-off container: the reconciler leaves it alone.
    pub fn session_started(&self, instance: InstanceId) {
        lock(&self.shared.sessions).insert(instance);
    }

    /// The session has ended; its container may be removed.
    pub fn session_ended(&self, instance: InstanceId, environment: EnvironmentId) {
        lock(&self.shared.sessions).remove(&instance);
        self.wake(environment);
    }

    /// Waits until the node serves by routes in which a host is known, or is not: an action is
    /// done when reality shows it. After a few seconds it is left to come true later.
    pub async fn host_settled(&self, host: &str, presence: Presence) {
        let deadline = tokio::time::Instant::now() + HOST_SETTLES;
        while !self.shared.routing.host_is(host, presence) && tokio::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has nodes forget answers. Returns the number for [`Self::cache_purged`].
    pub fn cache_purge(
        &self,
        environment: EnvironmentId,
        host: Option<String>,
        path: Option<String>,
        now_ms: UnixMillis,
    ) -> u64 {
        self.shared.routing.purge(environment, host, path, now_ms)
    }

    /// Waits until all nodes have carried out a purge; false if one has not after a few seconds.
    pub async fn cache_purged(&self, number: u64) -> bool {
        let deadline = tokio::time::Instant::now() + HOST_SETTLES;
        while !self.shared.routing.purged(number) {
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }

    /// What nodes keep of the answers of an environment, and how often that helped.
    pub fn cache_counts(&self, environment: EnvironmentId) -> CacheCounts {
        self.shared.routing.cache_counts(environment)
    }

    /// Generations of routes for nodes, as they are made.
    pub fn snapshots(&self) -> watch::Receiver<Newest> {
        self.shared.routing.subscribe()
    }

    /// Everything that nodes are to serve by; for those of an earlier version.
    pub fn snapshot(&self) -> RouteSnapshot {
        self.shared.routing.snapshot()
    }

    /// What changed since a generation of a run of control, as far as that is known; otherwise
    /// everything.
    pub fn route_batch(&self, epoch: u64, after: u64) -> RouteBatch {
        self.shared.routing.batch(epoch, after)
    }

    /// The number of this run of control: only of this one's generations it is known what changed
    /// since.
    pub fn route_epoch(&self) -> u64 {
        self.shared.routing.epoch()
    }

    /// How many instances a process that scales is to have now; `None` where it does not.
    pub fn scaled_to(&self, environment: EnvironmentId, app: &AppName, process: &ProcessName) -> Option<u32> {
        let key = (app.clone(), process.clone());
        self.shared.scalers.count_of(environment, &key)
    }

    /// Somebody works in an instance: while what is given back lives, none of the environment is
    /// put to sleep.
    pub async fn visit(&self, engine: &dyn Engine, environment: EnvironmentId, instance: InstanceId) -> Visit {
        *lock(&self.shared.visits).entry(environment).or_default() += 1;
        self.wake(environment);
        let asleep = self
            .instances(environment)
            .into_iter()
            .any(|view| view.labels.instance == instance && view.state == "asleep");
        if asleep && let Err(error) = engine.instance_thaw(instance).await {
            tracing::warn!(instance.id = %instance, %error, "an instance stays asleep although somebody is to work in it");
        }
        Visit {
            reconciler: self.clone(),
            environment,
        }
    }

    /// What the guard refused lately at the apps of an environment, oldest first.
    pub fn trips(&self, environment: EnvironmentId) -> Vec<GuardTrip> {
        self.shared.routing.trips(environment)
    }

    /// What an instance does although no request is in flight there.
    pub fn background(&self, instance: InstanceId) -> Option<BackgroundWork> {
        self.shared.routing.background(instance)
    }

    /// What goes on at the instances, at all nodes together.
    pub fn loads(&self) -> std::collections::BTreeMap<InstanceId, weir_model::route::BackendLoad> {
        self.shared.routing.load()
    }

    /// What goes on in the classes of requests to an environment, at all nodes together.
    pub fn class_loads(&self, environment: EnvironmentId) -> Vec<ClassLoad> {
        self.shared.routing.class_loads(environment)
    }

    /// What the nodes did not let through to an environment since they started.
    pub fn refused(&self, environment: EnvironmentId) -> Refused {
        self.shared.routing.refused(environment)
    }

    /// Takes in what a node says.
    pub fn node_reported(&self, report: NodeReport, now_ms: UnixMillis) {
        let changed = self.shared.routing.report(report, now_ms);
        let demands = self.shared.routing.demands();
        let scaled = self.shared.scalers.feed(&demands, now_ms);
        for environment in changed.into_iter().chain(scaled) {
            self.wake(environment);
        }
        self.look_at_rates(now_ms);
    }

    fn look_at_rates(&self, now_ms: UnixMillis) {
        let mut rates = lock(&self.shared.rates);
        if !rates.is_due(now_ms) {
            return;
        }
        let loads = self.shared.routing.load();
        let views = lock(&self.shared.views);
        let environments = views
            .iter()
            .flat_map(|(environment, views)| views.iter().map(|view| (view.labels.instance, *environment)))
            .collect();
        drop(views);
        rates.look(&loads, &environments, now_ms);
    }

    /// How many requests a second environments have answered in the last minute; those that have
    /// answered none are left out.
    pub fn rates(&self, now_ms: UnixMillis) -> HashMap<EnvironmentId, Rate> {
        lock(&self.shared.rates).of_all(now_ms)
    }

    /// The newest certificates that all nodes serve by, as far as they have said so.
    pub fn applied_certificates(&self) -> Option<u64> {
        self.shared.routing.applied_certificates()
    }
}

/// Runs the reconciler until control stops. Workers finish the pass that they are in.
pub async fn run(context: Context) {
    let mut workers: HashMap<EnvironmentId, Arc<Notify>> = HashMap::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(housekeeping::run(context.clone()));
    tasks.spawn(open_routing(context.clone()));
    let shared = Arc::clone(&context.reconciler.shared);
    let mut events = context.engine.watch();
    let mut resync = tokio::time::interval(RESYNC);
    let mut money = context.money.changes();
    loop {
        tokio::select! {
            () = context.stop.cancelled() => break,
            () = shared.woken.notified() => {}
            _ = resync.tick() => wake_all(&context).await,
            Ok(()) = money.changed() => wake_all(&context).await,
            event = events.next() => match event {
                Some(EngineEvent::Changed(environment)) => {
                    context.reconciler.wake(environment);
                    if lock(&shared.echoing).insert(environment) {
                        tasks.spawn(echo(context.clone(), environment));
                    }
                }
                Some(EngineEvent::Resync) => wake_all(&context).await,
                None => {
                    events = context.engine.watch();
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            },
        }
        for environment in std::mem::take(&mut *lock(&shared.dirty)) {
            let worker = workers.entry(environment).or_insert_with(|| {
                let notify = Arc::new(Notify::new());
                tasks.spawn(driver::Worker::new(context.clone(), environment).run(Arc::clone(&notify)));
                notify
            });
            // A worker that ended with its environment holds the other end no more.
            if Arc::strong_count(worker) == 1 {
                workers.remove(&environment);
            } else {
                worker.notify_one();
            }
        }
        while tasks.try_join_next().is_some() {}
    }
    while tasks.join_next().await.is_some() {}
}

/// Looks again a little after the engine told of a change: Docker tells that a container died
/// before it lists it as ended.
async fn echo(context: Context, environment: EnvironmentId) {
    for (index, pause) in ECHOES.into_iter().enumerate() {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        if index + 1 == ECHOES.len() {
            // From here on a further change begins anew.
            lock(&context.reconciler.shared.echoing).remove(&environment);
        }
        context.reconciler.wake(environment);
    }
}

/// Wakes every environment. The engine's state is asked first, so that `health` is right even
/// where there is no environment at all.
async fn wake_all(context: &Context) {
    let answer = context.engine.ping().await.map_err(|error| error.to_string());
    *lock(&context.reconciler.shared.engine) = answer;
    match context.store.environment_list_all().await {
        Ok(environments) => environments
            .iter()
            .for_each(|environment| context.reconciler.wake(environment.id)),
        Err(error) => tracing::error!(%error, "cannot list the environments; trying again in {} s", RESYNC.as_secs()),
    }
}

/// Lets nodes have snapshots once every environment was looked at and its instances were
/// checked, or after a while: until then the nodes' last snapshot is the better one.
async fn open_routing(context: Context) {
    let shared = &context.reconciler.shared;
    let mut deadline = tokio::time::Instant::now() + FIRST_LOOK;
    while !context.stop.is_cancelled() {
        let ready = lock(&shared.engine).is_ok() && first_look_done(&context).await;
        let engine_away = lock(&shared.engine).is_err();
        if engine_away {
            // With the engine away nothing is known, and what the nodes have is all there is.
            deadline = tokio::time::Instant::now() + FIRST_LOOK;
        }
        if ready || tokio::time::Instant::now() >= deadline {
            shared.routing.open(context.clock.now_ms());
            shared.observed.send_replace(true);
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn first_look_done(context: &Context) -> bool {
    let Ok(environments) = context.store.environment_list_all().await else {
        return false;
    };
    let views = lock(&context.reconciler.shared.views);
    environments.iter().all(|environment| {
        views
            .get(&environment.id)
            .is_some_and(|views| views.iter().all(|view| view.state != UNCHECKED))
    })
}
