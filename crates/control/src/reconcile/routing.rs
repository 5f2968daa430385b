//! From the routes of each environment to the one snapshot that nodes serve by, and back: which
//! routes the nodes have said they serve by, and what goes on at each instance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use weir_model::guard::{BackgroundWork, GuardRules, GuardTrip};
use weir_model::project::Domain;
use weir_model::route::{BackendLoad, HostRoutes, MeteredInstance, NodeReport, Route, RouteSnapshot, RouteState};
use weir_model::{AppName, EnvironmentId, InstanceId, UnixMillis};

use super::plan::Routes;

/// Whether a host is to be known to the nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It was added.
    Known,
    /// It was removed.
    Unknown,
}

/// What one environment contributes to the snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EnvironmentRoutes {
    pub(super) title: String,
    pub(super) main_app: Option<AppName>,
    pub(super) domains: Vec<Domain>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) routes: Routes,
    /// Rules of the guard, where an app has its own.
    pub(super) guard: BTreeMap<AppName, GuardRules>,
    /// What the node has to pay for.
    pub(super) metered: Vec<MeteredInstance>,
}

/// Longest wait for the node to buy what a new environment may send first.
const SENDING_PATIENCE: Duration = Duration::from_secs(1);
/// Pause between two looks whether it has.
const LOOK_PAUSE: Duration = Duration::from_millis(10);
/// So many refusals of the guard are kept for each environment.
const TRIPS_KEPT: usize = 50;

/// What the guard refused at the apps of one environment.
#[derive(Debug, Default)]
struct Trips {
    /// The newest ones, oldest first.
    kept: VecDeque<GuardTrip>,
    /// Of `kept`, how many at the end were not told yet.
    untold: usize,
}

#[derive(Debug)]
struct Published {
    current: EnvironmentRoutes,
    /// Generations and routes that no node has confirmed to have left behind yet, oldest first.
    history: VecDeque<(u64, Routes)>,
}

#[derive(Debug, Default)]
struct State {
    environments: BTreeMap<EnvironmentId, Published>,
    generation: u64,
    report: Option<NodeReport>,
    reported_ms: UnixMillis,
    trips: BTreeMap<EnvironmentId, Trips>,
    /// The last refusal that was taken in: incarnation of the node, and its number there.
    last_trip: (u64, u64),
    /// Until every environment was looked at once, nodes go on with what they have.
    open: bool,
}

/// The routes of all environments and the nodes' answers.
#[derive(Debug)]
pub(super) struct Routing {
    state: Mutex<State>,
    snapshot: watch::Sender<RouteSnapshot>,
}

impl State {
    /// Takes in refusals that were not told before. Returns the environments that they are of.
    fn take_trips(&mut self, report: &NodeReport) -> Vec<EnvironmentId> {
        if self.last_trip.0 != report.incarnation {
            self.last_trip = (report.incarnation, 0);
        }
        let mut environments = Vec::new();
        for trip in report.trips.iter().filter(|trip| trip.sequence > self.last_trip.1) {
            let trips = self.trips.entry(trip.environment).or_default();
            if trips.kept.len() == TRIPS_KEPT {
                trips.kept.pop_front();
            }
            trips.kept.push_back(trip.clone());
            trips.untold = (trips.untold + 1).min(TRIPS_KEPT);
            environments.push(trip.environment);
        }
        self.last_trip.1 = report
            .trips
            .iter()
            .map(|trip| trip.sequence)
            .fold(self.last_trip.1, u64::max);
        environments
    }
}

impl Routing {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            snapshot: watch::Sender::new(RouteSnapshot::default()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every section below leaves the state whole, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Snapshots as they are made; generation 0 means that there is none yet.
    pub(super) fn subscribe(&self) -> watch::Receiver<RouteSnapshot> {
        self.snapshot.subscribe()
    }

    /// Sets what an environment contributes. Makes a new snapshot only if something changed.
    pub(super) fn publish(&self, environment: EnvironmentId, routes: EnvironmentRoutes, now_ms: UnixMillis) {
        let mut state = self.lock();
        if state
            .environments
            .get(&environment)
            .is_some_and(|published| published.current == routes)
        {
            return;
        }
        state.generation = next_generation(state.generation, now_ms);
        let generation = state.generation;
        let entry = (generation, routes.routes.clone());
        match state.environments.get_mut(&environment) {
            Some(published) => {
                published.current = routes;
                published.history.push_back(entry);
            }
            None => {
                state.environments.insert(
                    environment,
                    Published {
                        current: routes,
                        history: VecDeque::from([entry]),
                    },
                );
            }
        }
        self.send(&state);
    }

    /// Tells the node of instances that are about to start, and has it buy the first bytes that
    /// their environment may send: whoever connects to the world at once would lose those packets
    /// otherwise. A node that is away, or a wallet that is empty, delays the start only a little.
    pub(super) async fn announce(
        &self,
        environment: EnvironmentId,
        starting: Vec<MeteredInstance>,
        now_ms: UnixMillis,
    ) {
        let current = self
            .lock()
            .environments
            .get(&environment)
            .map(|published| published.current.clone());
        let Some(mut routes) = current else { return };
        routes.metered.extend(starting);
        self.publish(environment, routes, now_ms);
        let bought = async {
            while !self.can_send(environment) {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        if tokio::time::timeout(SENDING_PATIENCE, bought).await.is_err() {
            tracing::debug!(environment.id = %environment, "the node has not bought what the environment may send first");
        }
    }

    /// Whether instances of an environment can send past the proxy, as far as there is a node
    /// that has a say in it.
    fn can_send(&self, environment: EnvironmentId) -> bool {
        let state = self.lock();
        let sending = state.report.as_ref().and_then(|report| report.sending.as_ref());
        sending.is_none_or(|sending| sending.contains(&environment))
    }

    /// Forgets an environment that is gone.
    pub(super) fn withdraw(&self, environment: EnvironmentId, now_ms: UnixMillis) {
        let mut state = self.lock();
        state.trips.remove(&environment);
        if state.environments.remove(&environment).is_some() {
            state.generation = next_generation(state.generation, now_ms);
            self.send(&state);
        }
    }

    /// From now on nodes are told. Before that they serve by what they had from an earlier
    /// control, which knew more than one that has just begun to look.
    pub(super) fn open(&self, now_ms: UnixMillis) {
        let mut state = self.lock();
        state.open = true;
        if state.generation == 0 {
            // Nothing is there to route: that, too, nodes have to know.
            state.generation = next_generation(0, now_ms);
        }
        self.send(&state);
    }

    fn send(&self, state: &State) {
        if state.open {
            self.snapshot.send_replace(compose(state));
        }
    }

    /// Takes in a node's report. Returns the environments that have to be looked at again.
    pub(super) fn report(&self, report: NodeReport, now_ms: UnixMillis) -> Vec<EnvironmentId> {
        let mut state = self.lock();
        state.reported_ms = now_ms;
        if report.applied_generation > state.generation {
            // The node's snapshot is from a control whose clock was ahead: go on above it.
            state.generation = report.applied_generation + 1;
            for published in state.environments.values_mut() {
                published.history = VecDeque::from([(report.applied_generation + 1, published.current.routes.clone())]);
            }
            self.send(&state);
        }
        let applied = report.applied_generation;
        let newer = state.report.as_ref().is_none_or(|old| old.applied_generation < applied);
        let mut changed = Vec::new();
        for (environment, published) in &mut state.environments {
            let before = published.history.len();
            while published
                .history
                .get(1)
                .is_some_and(|(generation, _)| *generation <= applied)
            {
                published.history.pop_front();
            }
            let waiting = before > 1 || !published.current.routes.draining.is_empty();
            let first = published
                .history
                .front()
                .is_some_and(|(generation, _)| *generation <= applied);
            if waiting || (first && newer) {
                changed.push(*environment);
            }
        }
        changed.extend(state.take_trips(&report));
        let paying = state.report.as_ref().map(|old| &old.paying);
        if paying != Some(&report.paying) {
            // Control holds money for what no node pays for; whose it is, the passes find out.
            changed.extend(state.environments.keys().copied());
        }
        state.report = Some(report);
        changed
    }

    /// What the node pays for; `None` as long as it has not said so.
    pub(super) fn paying(&self) -> Option<BTreeSet<InstanceId>> {
        self.lock().report.as_ref().map(|report| report.paying.clone())
    }

    /// What the guard refused lately at the apps of an environment, oldest first.
    pub(super) fn trips(&self, environment: EnvironmentId) -> Vec<GuardTrip> {
        let state = self.lock();
        let trips = state.trips.get(&environment);
        trips
            .map(|trips| trips.kept.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Of those, the ones that were not told yet; each is given once.
    pub(super) fn untold_trips(&self, environment: EnvironmentId) -> Vec<GuardTrip> {
        let mut state = self.lock();
        let Some(trips) = state.trips.get_mut(&environment) else {
            return Vec::new();
        };
        let told = trips.kept.len() - trips.untold;
        trips.untold = 0;
        trips.kept.iter().skip(told).cloned().collect()
    }

    /// The routes by which the node serves an environment, if it has said so.
    pub(super) fn applied(&self, environment: EnvironmentId) -> Option<Routes> {
        let state = self.lock();
        let applied = state.report.as_ref()?.applied_generation;
        let history = &state.environments.get(&environment)?.history;
        history
            .iter()
            .rev()
            .find(|(generation, _)| *generation <= applied)
            .map(|(_, routes)| routes.clone())
    }

    /// Whether the node serves by routes in which a host is known, or is not. Without a node
    /// there is nothing to wait for.
    pub(super) fn host_is(&self, host: &str, presence: Presence) -> bool {
        let state = self.lock();
        let Some(report) = &state.report else { return true };
        let known = state
            .environments
            .values()
            .any(|published| published.current.domains.iter().any(|domain| domain.host == host));
        known == (presence == Presence::Known) && report.applied_generation >= state.generation
    }

    /// What goes on at the instances, by the last report.
    pub(super) fn load(&self) -> BTreeMap<InstanceId, BackendLoad> {
        self.lock()
            .report
            .as_ref()
            .map(|report| report.load.clone())
            .unwrap_or_default()
    }

    /// What an instance does although no request is in flight there, by the last report.
    pub(super) fn background(&self, instance: InstanceId) -> Option<BackgroundWork> {
        self.lock().report.as_ref()?.background.get(&instance).copied()
    }

    /// When a node last reported.
    pub(super) fn reported_ms(&self) -> Option<UnixMillis> {
        let state = self.lock();
        state.report.as_ref().map(|_| state.reported_ms)
    }
}

/// Rises with every snapshot, also over restarts of control, without being stored: it follows
/// the clock where the clock is ahead.
fn next_generation(generation: u64, now_ms: UnixMillis) -> u64 {
    (generation + 1).max(u64::try_from(now_ms).unwrap_or(0))
}

fn compose(state: &State) -> RouteSnapshot {
    let mut snapshot = RouteSnapshot {
        generation: state.generation,
        ..RouteSnapshot::default()
    };
    for (environment, published) in &state.environments {
        let current = &published.current;
        if let Some(gateway) = current.gateway {
            snapshot.gateways.push(gateway);
            snapshot.networks.insert(gateway, *environment);
            snapshot.names.insert(gateway, current.routes.names.clone());
        }
        snapshot.draining.extend(current.routes.draining.iter().cloned());
        snapshot.metered.extend(current.metered.iter().cloned());
        for domain in &current.domains {
            if let Some(app) = domain.app.as_ref().or(current.main_app.as_ref()) {
                snapshot
                    .hosts
                    .insert(domain.host.clone(), host_routes(*environment, current, domain, app));
            } else {
                snapshot
                    .hosts
                    .insert(domain.host.clone(), undeployed(*environment, current, domain));
            }
        }
    }
    snapshot
}

fn host_routes(environment: EnvironmentId, current: &EnvironmentRoutes, domain: &Domain, app: &AppName) -> HostRoutes {
    let mut routes = Vec::new();
    for ((entry_app, process), entry) in &current.routes.entries {
        if entry_app != app {
            continue;
        }
        let whole = process.is_web().then(|| "/".to_owned());
        for path_prefix in entry.prefixes.iter().cloned().chain(whole) {
            routes.push(Route {
                path_prefix,
                target: format!("{entry_app}.{process}"),
                state: entry.state.clone(),
                pool: entry.pool.clone(),
                concurrency: entry.process.concurrency,
                first_byte_timeout_ms: u64::from(entry.process.request_timeout_s) * 1000,
                guard: current.guard.get(app).cloned().unwrap_or_default(),
            });
        }
    }
    if routes.is_empty() {
        return undeployed(environment, current, domain);
    }
    routes.sort_by(|a, b| {
        b.path_prefix
            .len()
            .cmp(&a.path_prefix.len())
            .then_with(|| a.path_prefix.cmp(&b.path_prefix))
    });
    HostRoutes {
        environment,
        title: current.title.clone(),
        routes,
        https: domain.https,
        redirect_to: domain.redirect_to.clone(),
    }
}

fn undeployed(environment: EnvironmentId, current: &EnvironmentRoutes, domain: &Domain) -> HostRoutes {
    let route = Route {
        path_prefix: "/".to_owned(),
        target: String::new(),
        state: RouteState::Undeployed,
        pool: Vec::new(),
        concurrency: 1,
        first_byte_timeout_ms: 60_000,
        guard: GuardRules::default(),
    };
    HostRoutes {
        environment,
        title: current.title.clone(),
        routes: vec![route],
        https: domain.https,
        redirect_to: domain.redirect_to.clone(),
    }
}
