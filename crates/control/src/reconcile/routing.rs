//! From the routes of each environment to the one snapshot that nodes serve by, and back: which
//! routes the nodes have said they serve by, and what goes on at each instance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;
use weir_model::access_log::AccessLogging;
use weir_model::cache::{CacheCounts, CachePurge, CachePurges};
use weir_model::guard::{BackgroundWork, GuardRules, GuardTrip};
use weir_model::project::Domain;
use weir_model::route::{
    BackendLoad, ClassLoad, Demand, HostRoutes, MeteredInstance, NodeReport, Refused, Route, RouteCanary,
    RouteSnapshot, WatchedProcess,
};
use weir_model::tcp::TcpPorts;
use weir_model::{AppName, ClassName, EnvironmentId, InstanceId, UnixMillis};

use super::caching::{self, Caching};
use super::classes;
use super::nodes::{self, Nodes};
use super::route_feed::{RouteBatch, RouteFeed};
use super::tcp;
use crate::protecting::Protections;

use super::plan::{CanaryEntry, Routes};

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
    /// What stands before the hosts.
    pub(super) protections: Protections,
    /// Whether requests are logged, by app.
    pub(super) access_log: BTreeMap<AppName, AccessLogging>,
    /// What is kept of answers.
    pub(super) caching: Caching,
    /// What the node has to pay for.
    pub(super) metered: Vec<MeteredInstance>,
    /// Processes that scale or sleep.
    pub(super) watched: BTreeMap<String, WatchedProcess>,
    /// Ports of the machine at which TCP services are reached.
    pub(super) tcp_ports: TcpPorts,
}

/// The prefix of what matches no other one.
const ROOT: &str = "/";
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

#[derive(Debug)]
struct State {
    environments: BTreeMap<EnvironmentId, Published>,
    generation: u64,
    nodes: Nodes,
    trips: BTreeMap<EnvironmentId, Trips>,
    purges: CachePurges,
    /// Until every environment was looked at once, nodes go on with what they have.
    open: bool,
    feed: RouteFeed,
}

/// The newest of what nodes may be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Newest {
    /// Its generation; 0 while they are to be told nothing yet.
    pub generation: u64,
}

/// The routes of all environments and the nodes' answers.
#[derive(Debug)]
pub(super) struct Routing {
    state: Mutex<State>,
    newest: watch::Sender<Newest>,
}

impl State {
    fn new() -> Self {
        Self {
            environments: BTreeMap::new(),
            generation: 0,
            nodes: Nodes::new(nodes::is_alive),
            trips: BTreeMap::new(),
            purges: CachePurges::default(),
            open: false,
            feed: RouteFeed::new(),
        }
    }

    /// Another environment has a host no more, or has it again.
    fn tell_others(&mut self, others: BTreeSet<EnvironmentId>) {
        for other in others {
            if let Some(published) = self.environments.get(&other) {
                self.feed.set(other, &published.current, self.generation);
            }
        }
    }

    /// Keeps refusals. Returns the environments that they are of.
    fn keep_trips(&mut self, news: Vec<GuardTrip>) -> Vec<EnvironmentId> {
        let mut environments = Vec::new();
        for trip in news {
            environments.push(trip.environment);
            let trips = self.trips.entry(trip.environment).or_default();
            if trips.kept.len() == TRIPS_KEPT {
                trips.kept.pop_front();
            }
            trips.kept.push_back(trip);
            trips.untold = (trips.untold + 1).min(TRIPS_KEPT);
        }
        environments
    }
}

impl Routing {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State::new()),
            newest: watch::Sender::new(Newest::default()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every section below leaves the state whole, so a poisoned lock is still good.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Generations as they are made.
    pub(super) fn subscribe(&self) -> watch::Receiver<Newest> {
        self.newest.subscribe()
    }

    /// Everything, for a node of an earlier version.
    pub(super) fn snapshot(&self) -> RouteSnapshot {
        compose(&self.lock())
    }

    /// What changed since a generation of a run of control, as far as that is known; otherwise
    /// everything.
    pub(super) fn batch(&self, epoch: u64, after: u64) -> RouteBatch {
        let state = self.lock();
        state.feed.answer(epoch, after, state.generation, &state.purges)
    }

    /// The number of this run of control.
    pub(super) fn epoch(&self) -> u64 {
        self.lock().feed.epoch()
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
        let before = state.environments.get(&environment);
        let before = before.map(|published| published.current.domains.clone());
        let others = state
            .feed
            .claim(environment, &before.unwrap_or_default(), &routes.domains);
        state.feed.set(environment, &routes, generation);
        state.tell_others(others);
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
        self.lock().nodes.can_send(environment)
    }

    /// Forgets an environment that is gone.
    pub(super) fn withdraw(&self, environment: EnvironmentId, now_ms: UnixMillis) {
        let mut state = self.lock();
        state.trips.remove(&environment);
        if let Some(published) = state.environments.remove(&environment) {
            state.generation = next_generation(state.generation, now_ms);
            let generation = state.generation;
            let others = state.feed.claim(environment, &published.current.domains, &[]);
            state.feed.remove(environment, generation);
            state.tell_others(others);
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
            self.newest.send_replace(Newest {
                generation: state.generation,
            });
        }
    }

    /// Takes in a node's report. Returns the environments that have to be looked at again.
    pub(super) fn report(&self, report: NodeReport, now_ms: UnixMillis) -> Vec<EnvironmentId> {
        let mut state = self.lock();
        if report.applied_generation > state.generation {
            // The node's snapshot is from a control whose clock was ahead: go on above it.
            state.generation = report.applied_generation + 1;
            for published in state.environments.values_mut() {
                published.history = VecDeque::from([(report.applied_generation + 1, published.current.routes.clone())]);
            }
            self.send(&state);
        }
        let asleep = asleep_in(&state);
        let (before, paying) = (state.nodes.applied(), state.nodes.paying());
        let news = state.nodes.take(report, now_ms);
        let mut changed = state.keep_trips(news);
        if paying != state.nodes.paying() {
            // Control holds money for what no node pays for; whose it is, the passes find out.
            changed.extend(state.environments.keys().copied());
        }
        let now_asleep = asleep_in(&state);
        if asleep != now_asleep {
            changed.extend(owners(&state, asleep.symmetric_difference(&now_asleep)));
        }
        // What not all serve by is not applied.
        let Some(applied) = state.nodes.applied() else {
            return changed;
        };
        let before_report = before;
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
            // All others were looked at when theirs were applied.
            let confirmed = published.history.front().is_some_and(|(generation, _)| {
                *generation <= applied && before_report.is_none_or(|before| before < *generation)
            });
            if waiting || confirmed {
                changed.push(*environment);
            }
        }
        changed
    }

    /// What the node pays for; `None` as long as it has not said so.
    pub(super) fn paying(&self) -> Option<BTreeSet<InstanceId>> {
        self.lock().nodes.paying()
    }

    /// Whether one node takes the place of another.
    pub(super) fn is_handing_over(&self) -> bool {
        self.lock().nodes.is_handing_over()
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
        let applied = state.nodes.applied()?;
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
        if state.nodes.reports().next().is_none() {
            return true;
        }
        let known = state
            .environments
            .values()
            .any(|published| published.current.domains.iter().any(|domain| domain.host == host));
        known == (presence == Presence::Known) && state.nodes.applied() >= Some(state.generation)
    }

    /// Has nodes forget answers. Returns the number under which they confirm it.
    pub(super) fn purge(
        &self,
        environment: EnvironmentId,
        host: Option<String>,
        path: Option<String>,
        now_ms: UnixMillis,
    ) -> u64 {
        let mut state = self.lock();
        state.generation = next_generation(state.generation, now_ms);
        let number = state.generation;
        let purge = CachePurge {
            number,
            environment,
            host,
            path,
        };
        caching::add(&mut state.purges, purge);
        self.send(&state);
        number
    }

    /// Whether all nodes have carried out a purge. Without a node nothing is kept.
    pub(super) fn purged(&self, number: u64) -> bool {
        let state = self.lock();
        state.nodes.reports().next().is_none() || state.nodes.applied() >= Some(number)
    }

    /// What nodes keep of the answers of an environment.
    pub(super) fn cache_counts(&self, environment: EnvironmentId) -> CacheCounts {
        caching::counts(self.lock().nodes.reports(), environment)
    }

    /// Which instances nodes keep asleep; `None` as long as none has said anything.
    pub(super) fn asleep(&self) -> Option<BTreeSet<InstanceId>> {
        let state = self.lock();
        let mut reports = state.nodes.reports().peekable();
        reports.peek()?;
        Some(reports.flat_map(|report| report.asleep.iter().copied()).collect())
    }

    /// What is asked of the processes that scale, at all nodes together.
    pub(super) fn demands(&self) -> BTreeMap<EnvironmentId, BTreeMap<String, Demand>> {
        let state = self.lock();
        let mut sums: BTreeMap<EnvironmentId, BTreeMap<String, Demand>> = BTreeMap::new();
        for (environment, targets) in state.nodes.reports().flat_map(|report| &report.demand) {
            for (target, demand) in targets {
                let sums = sums.entry(*environment).or_default();
                let sum = sums.entry(target.clone()).or_insert(Demand {
                    quiet_ms: u64::MAX,
                    ..Demand::default()
                });
                sum.in_flight_milli += demand.in_flight_milli;
                sum.waiting += demand.waiting;
                sum.quiet_ms = sum.quiet_ms.min(demand.quiet_ms);
            }
        }
        sums
    }

    /// What goes on at the instances, by the last report.
    pub(super) fn load(&self) -> BTreeMap<InstanceId, BackendLoad> {
        self.lock().nodes.load()
    }

    /// What an instance does although no request is in flight there, by the last report.
    pub(super) fn background(&self, instance: InstanceId) -> Option<BackgroundWork> {
        self.lock().nodes.background(instance)
    }

    /// What goes on in the classes of requests to an environment, at all nodes together.
    pub(super) fn class_loads(&self, environment: EnvironmentId) -> Vec<ClassLoad> {
        classes::loads(self.lock().nodes.reports(), environment)
    }

    /// What the nodes did not let through to an environment since they started.
    pub(super) fn refused(&self, environment: EnvironmentId) -> Refused {
        let state = self.lock();
        let of = state
            .nodes
            .reports()
            .filter_map(|report| report.refused.get(&environment));
        of.fold(Refused::default(), |sum, one| Refused {
            rate: sum.rate + one.rate,
            body: sum.body + one.body,
            address: sum.address + one.address,
            password: sum.password + one.password,
            maintenance: sum.maintenance + one.maintenance,
        })
    }

    /// When a node last reported.
    pub(super) fn reported_ms(&self) -> Option<UnixMillis> {
        self.lock().nodes.reported_ms()
    }

    /// The newest certificates that all nodes serve by.
    pub(super) fn applied_certificates(&self) -> Option<u64> {
        self.lock().nodes.applied_certificates()
    }
}

fn asleep_in(state: &State) -> BTreeSet<InstanceId> {
    let reports = state.nodes.reports();
    reports.flat_map(|report| report.asleep.iter().copied()).collect()
}

/// The environments of these instances.
fn owners<'a>(state: &State, instances: impl Iterator<Item = &'a InstanceId>) -> BTreeSet<EnvironmentId> {
    let instances: BTreeSet<&InstanceId> = instances.collect();
    let has = |published: &Published| {
        published
            .current
            .metered
            .iter()
            .any(|metered| instances.contains(&metered.instance))
    };
    let of = state.environments.iter().filter(|(_, published)| has(published));
    of.map(|(environment, _)| *environment).collect()
}

/// Rises with every snapshot, also over restarts of control, without being stored: it follows
/// the clock where the clock is ahead.
fn next_generation(generation: u64, now_ms: UnixMillis) -> u64 {
    (generation + 1).max(u64::try_from(now_ms).unwrap_or(0))
}

fn compose(state: &State) -> RouteSnapshot {
    let mut snapshot = RouteSnapshot {
        generation: state.generation,
        cache_purges: state.purges.clone(),
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
        if !current.watched.is_empty() {
            snapshot.watched.insert(*environment, current.watched.clone());
        }
        snapshot.tcp.extend(tcp::routes(*environment, current));
        for domain in current.domains.iter().filter(|domain| domain.tcp.is_none()) {
            let host = host_of(*environment, current, domain);
            snapshot.hosts.insert(domain.host.clone(), host);
        }
    }
    snapshot
}

/// What answers under a domain of the environment.
pub(super) fn host_of(environment: EnvironmentId, current: &EnvironmentRoutes, domain: &Domain) -> HostRoutes {
    match domain.app.as_ref().or(current.main_app.as_ref()) {
        Some(app) => host_routes(environment, current, domain, app),
        None => undeployed(environment, current, domain),
    }
}

fn host_routes(environment: EnvironmentId, current: &EnvironmentRoutes, domain: &Domain, app: &AppName) -> HostRoutes {
    let mut routes = Vec::new();
    for ((entry_app, process), entry) in &current.routes.entries {
        if entry_app != app {
            continue;
        }
        let whole = (process.is_web() && !is_taken(current, app)).then_some((ROOT, None));
        let specified = entry.routes.iter().map(|spec| (spec.path_prefix.as_str(), Some(spec)));
        for (path_prefix, spec) in specified.chain(whole) {
            let mut route = Route {
                path_prefix: path_prefix.to_owned(),
                target: format!("{entry_app}.{process}"),
                state: entry.state.clone(),
                pool: entry.pool.clone(),
                guard: current.guard.get(app).cloned().unwrap_or_default(),
                access_log: current.access_log.get(app).copied().unwrap_or_default(),
                cache: current.caching.rules(app, spec),
                methods: spec.map(|spec| spec.methods.clone()).unwrap_or_default(),
                ..Route::default()
            };
            let class = spec.and_then(|spec| spec.class.as_ref());
            classes::apply(&mut route, entry, class);
            route.canary = entry.canary.as_ref().map(|canary| canary_of(canary, class));
            routes.push(route);
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
            .then_with(|| a.methods.is_empty().cmp(&b.methods.is_empty()))
    });
    HostRoutes {
        environment,
        title: current.title.clone(),
        routes,
        https: domain.https,
        redirect_to: domain.redirect_to.clone(),
        protection: current.protections.of(Some(app)),
    }
}

fn canary_of(canary: &CanaryEntry, class: Option<&ClassName>) -> RouteCanary {
    let mut limits = Route::default();
    classes::apply(&mut limits, &canary.entry, class);
    RouteCanary {
        deployment: canary.deployment,
        share: canary.share,
        header: canary.header.clone(),
        pool: canary.entry.pool.clone(),
        concurrency: limits.concurrency,
        first_byte_timeout_ms: limits.first_byte_timeout_ms,
        class: limits.class,
    }
}

/// Whether a route of the app answers everything that no other one does.
fn is_taken(current: &EnvironmentRoutes, app: &AppName) -> bool {
    let of_app = current
        .routes
        .entries
        .iter()
        .filter(|((entry_app, _), _)| entry_app == app);
    let mut routes = of_app.flat_map(|(_, entry)| &entry.routes);
    routes.any(|route| route.path_prefix == ROOT && route.methods.is_empty())
}

fn undeployed(environment: EnvironmentId, current: &EnvironmentRoutes, domain: &Domain) -> HostRoutes {
    HostRoutes {
        environment,
        title: current.title.clone(),
        routes: vec![Route::default()],
        https: domain.https,
        redirect_to: domain.redirect_to.clone(),
        protection: current.protections.of(None),
    }
}
