//! Turns a snapshot into a table, keeping what outlives snapshots: instances and gates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;
use weir_model::EnvironmentId;
use weir_model::cache::CacheRules;
use weir_model::metrics::WaitingMetrics;
use weir_model::route::{Backend, ClassLoad, HostRoutes, Route, RouteSnapshot, RouteState};

use crate::access::Access;
use crate::admission::Gate;
use crate::alike::Alike;
use crate::canary::{self, Canary};
use crate::class::{self, Class};
use crate::clock::Clock;
use crate::instance::{Instance, Phase};
use crate::metrics::{Book, Watched};
use crate::process::{Doors, Habits, Process};
use crate::protect::Fence;
use crate::sleep;
use crate::table::{CompiledRoute, HostEntry, Table};
use crate::tcp::{Services, Standing};
use crate::tls::HostPolicy;

mod tcp;

/// Everything that tables refer to. One task changes it, under a lock that no request takes.
#[derive(Debug)]
pub(crate) struct Registry {
    workers: usize,
    clock: Clock,
    report_wanted: Arc<Notify>,
    doors: Doors,
    epoch: u64,
    /// In a pool or draining, by identity and address: an instance that comes back under
    /// another address is another one.
    instances: BTreeMap<Backend, Arc<Instance>>,
    /// Cut, but not yet without requests.
    departed: Vec<Arc<Instance>>,
    processes: Processes,
    /// Of every environment that this process has known: sums must not begin anew.
    accesses: BTreeMap<EnvironmentId, Arc<Access>>,
    /// Where requests of a class wait, by environment, target and class. Those of the default
    /// class wait at the gate of their process.
    class_gates: ClassGates,
    /// Where requests are counted and logged.
    series: Book,
    /// Of each gate of a process with classes: a route that serves from it.
    classed: HashMap<usize, (EnvironmentId, Box<str>, Arc<CompiledRoute>)>,
    /// The connections of each TCP service, by environment and `app.service`.
    standings: HashMap<(EnvironmentId, Box<str>), Arc<Standing>>,
}

/// Where the requests of each class wait, by environment, target and class.
type ClassGates = HashMap<(EnvironmentId, Box<str>, Box<str>), Arc<Gate>>;

/// What outlives snapshots of each process, by environment and target.
type Processes = HashMap<(EnvironmentId, Box<str>), Process>;

/// A new table, and what must happen before and after it is the one that serves.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) table: Table,
    /// Get requests by the new table: to be made active before it serves.
    pub(crate) active: Vec<Arc<Instance>>,
    /// To be changed once it serves.
    pub(crate) draining: Vec<Arc<Instance>>,
    /// To be cut once it serves.
    pub(crate) gone: Vec<Arc<Instance>>,
    /// The route from whose pool each gate hands out places from now on.
    pub(crate) gates: Vec<(Arc<Gate>, Option<Arc<CompiledRoute>>)>,
}

impl Registry {
    pub(crate) fn new(workers: usize, clock: Clock, report_wanted: Arc<Notify>, doors: Doors) -> Self {
        Self {
            workers,
            clock,
            report_wanted,
            doors,
            epoch: 0,
            instances: BTreeMap::new(),
            departed: Vec::new(),
            processes: HashMap::new(),
            accesses: BTreeMap::new(),
            class_gates: HashMap::new(),
            series: Book::new(workers),
            classed: HashMap::new(),
            standings: HashMap::new(),
        }
    }

    /// What was served of each environment.
    pub(crate) fn accesses(&self) -> &BTreeMap<EnvironmentId, Arc<Access>> {
        &self.accesses
    }

    /// What goes on in the classes of each environment that has any.
    pub(crate) fn class_loads(&self) -> BTreeMap<EnvironmentId, Vec<ClassLoad>> {
        let classed = self.classed.values();
        class::loads(classed.map(|(environment, target, route)| (*environment, &**target, &**route)))
    }

    /// What is counted of requests.
    pub(crate) fn series(&self) -> &Book {
        &self.series
    }

    /// Where requests wait, and how many.
    pub(crate) fn waiting(&self) -> Vec<WaitingMetrics> {
        let of_processes = self
            .processes
            .iter()
            .map(|((environment, target), process)| (environment, target, &process.gate));
        let of_classes = self
            .class_gates
            .iter()
            .map(|((environment, target, _), gate)| (environment, target, gate));
        let mut waiting: BTreeMap<(EnvironmentId, &str), u64> = BTreeMap::new();
        for (environment, target, gate) in of_processes.chain(of_classes) {
            let now = u64::try_from(gate.waiting() + gate.held()).unwrap_or(u64::MAX);
            if now > 0 {
                *waiting.entry((*environment, target)).or_default() += now;
            }
        }
        let told = waiting
            .into_iter()
            .map(|((environment, target), waiting)| WaitingMetrics {
                environment,
                target: target.to_owned(),
                waiting,
            });
        told.collect()
    }

    /// Compiles a snapshot. Nothing serves by it yet.
    pub(crate) fn compile(&mut self, snapshot: &RouteSnapshot) -> Compiled {
        self.epoch += 1;
        if let Some(sentry) = &self.doors.sentry {
            sentry.update(snapshot);
        }
        let draining: BTreeSet<&Backend> = snapshot.draining.iter().collect();
        let mut previous = std::mem::take(&mut self.instances);
        let mut previous_processes = std::mem::take(&mut self.processes);
        let mut previous_gates = std::mem::take(&mut self.class_gates);
        self.classed.clear();
        let mut current = HashMap::new();
        let mut hosts = HashMap::with_capacity(snapshot.hosts.len());
        let mut alike = Alike::default();
        for (name, host) in &snapshot.hosts {
            if let Some(entry) = alike.find(host) {
                hosts.insert(name.as_str().into(), entry);
                continue;
            }
            let routes = host
                .routes
                .iter()
                .map(|route| {
                    let mut process = self.process(&mut previous_processes, host.environment, &route.target);
                    if let Some(gate) = self.class_gate(&mut previous_gates, host.environment, route) {
                        process.gate = gate;
                    }
                    let pool = self.pool(&mut previous, &route.pool, &draining);
                    let watched = self.series.watched(self.epoch, host.environment, route);
                    let canary = route.canary.as_ref().map(|canary| {
                        let of_canary = canary::route_of(route, canary);
                        let process = Process {
                            gate: self.canary_gate(&mut previous_gates, host.environment, &of_canary),
                            ..process.clone()
                        };
                        let pool = self.pool(&mut previous, &canary.pool, &draining);
                        let compiled = compile_route(self.epoch, host, &of_canary, pool, process, watched.clone());
                        let compiled = Arc::new(compiled);
                        remember_current(&mut current, &compiled);
                        self.remember_class(host.environment, &of_canary, &compiled);
                        Canary::of(canary, compiled)
                    });
                    let mut compiled = compile_route(self.epoch, host, route, pool, process, watched);
                    compiled.cache.store &= canary.is_none();
                    compiled.canary = canary;
                    let compiled = Arc::new(compiled);
                    remember_current(&mut current, &compiled);
                    self.remember_class(host.environment, route, &compiled);
                    compiled
                })
                .collect();
            let entry = Arc::new(host_entry(routes, HostPolicy::of(name, host), self.fence(host)));
            alike.remember(host, &entry);
            hosts.insert(name.as_str().into(), entry);
        }
        let tcp = self.tcp(snapshot, &mut previous, &mut previous_processes, &draining);
        let active: Vec<_> = self.instances.values().cloned().collect();
        let draining_now = self.pool(&mut previous, &snapshot.draining, &BTreeSet::new());
        let gone: Vec<_> = previous.into_values().collect();
        // A gate that is in no table any more hands out nothing; who waits there is woken by
        // the change and leaves.
        self.forget_answers(&previous_processes);
        let forgotten = previous_processes.into_values().map(|process| (process.gate, None));
        let forgotten_classes = previous_gates.into_values().map(|gate| (gate, None));
        let gates = current
            .into_values()
            .chain(forgotten)
            .chain(forgotten_classes)
            .collect();
        self.series.sweep(self.epoch, snapshot);
        self.departed.retain(has_load);
        self.departed.extend(gone.iter().cloned());
        let table = self.table(snapshot, hosts, tcp, active.clone());
        Compiled {
            table,
            active,
            draining: draining_now,
            gone,
            gates,
        }
    }

    fn table(
        &self,
        snapshot: &RouteSnapshot,
        hosts: HashMap<Box<str>, Arc<HostEntry>>,
        tcp: Services,
        active: Vec<Arc<Instance>>,
    ) -> Table {
        Table {
            epoch: self.epoch,
            hosts,
            tcp,
            gateways: snapshot.gateways.clone(),
            insiders: snapshot.metered.iter().filter_map(|metered| metered.address).collect(),
            networks: snapshot.networks.clone(),
            names: snapshot.names.clone(),
            habits: self.habits(snapshot),
            watched: self.asleep_or_scaled(snapshot, &active),
            instances: active,
        }
    }

    /// Every instance that the node knows, also those that were cut and have something going
    /// on still.
    pub(crate) fn instances(&mut self) -> impl Iterator<Item = &Arc<Instance>> {
        self.departed.retain(has_load);
        self.instances.values().chain(&self.departed)
    }

    /// Where requests wait that are for the canary: its places are not those of the other release.
    fn canary_gate(&mut self, previous: &mut ClassGates, environment: EnvironmentId, route: &Route) -> Arc<Gate> {
        let class = route.class.as_ref().map_or("", |class| class.name.as_str());
        // No class has a space in its name.
        let name = format!("canary {class}").into();
        let key = (environment, route.target.as_str().into(), name);
        let kept = previous.remove(&key);
        let clock = self.clock;
        let fresh = || kept.unwrap_or_else(|| Arc::new(Gate::new(clock)));
        Arc::clone(self.class_gates.entry(key).or_insert_with(fresh))
    }

    /// Where requests of the route's class wait, if that is not where all of the process do.
    fn class_gate(
        &mut self,
        previous: &mut ClassGates,
        environment: EnvironmentId,
        route: &Route,
    ) -> Option<Arc<Gate>> {
        let class = route
            .class
            .as_ref()
            .filter(|class| usize::from(class.number) != class::DEFAULT)?;
        let key = (environment, route.target.as_str().into(), class.name.as_str().into());
        let kept = previous.remove(&key);
        let clock = self.clock;
        let fresh = || kept.unwrap_or_else(|| Arc::new(Gate::new(clock)));
        Some(Arc::clone(self.class_gates.entry(key).or_insert_with(fresh)))
    }

    fn remember_class(&mut self, environment: EnvironmentId, route: &Route, compiled: &Arc<CompiledRoute>) {
        if compiled.class.is_some() {
            let place = Arc::as_ptr(&compiled.gate).addr();
            let named = || (environment, route.target.as_str().into(), Arc::clone(compiled));
            self.classed.entry(place).or_insert_with(named);
        }
    }

    /// Nothing is kept of environments whose last process went.
    fn forget_answers(&self, gone: &Processes) {
        let environments: BTreeSet<EnvironmentId> = gone.keys().map(|(environment, _)| *environment).collect();
        for environment in environments {
            if !self.processes.keys().any(|(there, _)| *there == environment) {
                self.doors.cache.forget(environment);
            }
        }
    }

    /// What stands before the host.
    fn fence(&self, host: &HostRoutes) -> Option<Arc<Fence>> {
        let (defences, protection) = (self.doors.defences.as_ref()?, host.protection.as_ref()?);
        Fence::of(defences, host.environment, &host.title, protection)
    }

    fn pool(
        &mut self,
        previous: &mut BTreeMap<Backend, Arc<Instance>>,
        backends: &[Backend],
        except: &BTreeSet<&Backend>,
    ) -> Vec<Arc<Instance>> {
        backends
            .iter()
            .filter(|backend| !except.contains(backend))
            .map(|backend| {
                let instance = self.instances.entry(backend.clone()).or_insert_with(|| {
                    previous.remove(backend).unwrap_or_else(|| {
                        let report_wanted = Arc::clone(&self.report_wanted);
                        let seat = self.doors.sentry.as_ref().map(|sentry| sentry.seat(backend.instance));
                        Arc::new(Instance::new(backend.clone(), self.workers, report_wanted, seat))
                    })
                });
                Arc::clone(instance)
            })
            .collect()
    }

    /// The process of each address; only those with routes are of interest.
    fn habits(&self, snapshot: &RouteSnapshot) -> HashMap<IpAddr, Arc<Habits>> {
        let known = snapshot.metered.iter().filter_map(|metered| {
            let target = format!("{}.{}", metered.app, metered.process);
            let process = self.processes.get(&(metered.environment, target.into()))?;
            Some((metered.address?, Arc::clone(&process.habits)))
        });
        known.collect()
    }

    /// Processes that scale or sleep, with the instances of theirs that get requests.
    fn asleep_or_scaled(&self, snapshot: &RouteSnapshot, active: &[Arc<Instance>]) -> Vec<sleep::Watched> {
        let mut watched = Vec::new();
        if snapshot.watched.is_empty() {
            return watched;
        }
        let active: HashMap<_, _> = active
            .iter()
            .map(|instance| (instance.backend.instance, instance))
            .collect();
        let mut pools: HashMap<(EnvironmentId, String), Vec<Arc<Instance>>> = HashMap::new();
        for metered in &snapshot.metered {
            if let Some(instance) = active.get(&metered.instance) {
                let target = format!("{}.{}", metered.app, metered.process);
                let pool = pools.entry((metered.environment, target)).or_default();
                pool.push(Arc::clone(instance));
            }
        }
        for (environment, processes) in &snapshot.watched {
            for (target, rule) in processes {
                let key = (*environment, target.as_str().into());
                let Some(process) = self.processes.get(&key) else {
                    continue;
                };
                let of_classes = self
                    .class_gates
                    .iter()
                    .filter(|((owner, of, _), _)| (*owner, of) == (key.0, &key.1));
                let gates = of_classes.map(|(_, gate)| gate).chain([&process.gate]);
                watched.push(sleep::Watched {
                    environment: *environment,
                    gates: gates.cloned().collect(),
                    habits: Arc::clone(&process.habits),
                    pool: pools.remove(&(*environment, target.clone())).unwrap_or_default(),
                    rule: rule.clone(),
                    target: key.1,
                });
            }
        }
        watched
    }

    fn process(&mut self, previous: &mut Processes, environment: EnvironmentId, target: &str) -> Process {
        let key = (environment, target.into());
        if let Some(process) = self.processes.get(&key) {
            return process.clone();
        }
        let process = previous.remove(&key).unwrap_or_else(|| {
            let fresh = || Arc::new(Access::new(self.workers));
            let access = Arc::clone(self.accesses.entry(environment).or_insert_with(fresh));
            Process::new(environment, target, access, self.clock, &self.doors)
        });
        self.processes.insert(key, process.clone());
        process
    }
}

type CurrentRoutes = HashMap<usize, (Arc<Gate>, Option<Arc<CompiledRoute>>)>;

/// Hosts of the same process have the same pool; any one that serves will do.
fn remember_current(current: &mut CurrentRoutes, route: &Arc<CompiledRoute>) {
    let serving = matches!(route.state, RouteState::Serve).then(|| Arc::clone(route));
    let address = Arc::as_ptr(&route.gate).addr();
    let entry = current
        .entry(address)
        .or_insert_with(|| (Arc::clone(&route.gate), None));
    if entry.1.is_none() {
        entry.1 = serving;
    }
}

fn compile_route(
    epoch: u64,
    host: &HostRoutes,
    route: &Route,
    pool: Vec<Arc<Instance>>,
    process: Process,
    watched: Watched,
) -> CompiledRoute {
    CompiledRoute {
        epoch,
        prefix: route.path_prefix.trim_end_matches('/').into(),
        title: host.title.as_str().into(),
        state: route.state.clone(),
        pool,
        concurrency: u64::from(route.concurrency.max(1)),
        first_byte_timeout: Duration::from_millis(route.first_byte_timeout_ms.max(1)),
        gate: process.gate,
        watched,
        access: process.access,
        till: process.till,
        target: process.target,
        habits: process.habits,
        methods: methods(route),
        class: route.class.as_ref().map(Class::of),
        cache: cache_rules(route),
        canary: None,
        shelf: process.shelf,
    }
}

/// While two releases serve the same address, nothing is kept: it would be shown to visitors of the
/// other one.
fn cache_rules(route: &Route) -> CacheRules {
    CacheRules {
        store: route.cache.store && route.canary.is_none(),
        ..route.cache.clone()
    }
}

/// The methods that it is for; control has checked that they are such.
fn methods(route: &Route) -> Vec<Method> {
    let read = |method: &String| Method::from_bytes(method.as_bytes()).ok();
    route.methods.iter().filter_map(read).collect()
}

fn host_entry(mut routes: Vec<Arc<CompiledRoute>>, policy: HostPolicy, fence: Option<Arc<Fence>>) -> HostEntry {
    // Of the same prefix, those come first that are for some methods only.
    routes.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), route.methods.is_empty()));
    HostEntry { routes, policy, fence }
}

fn has_load(instance: &Arc<Instance>) -> bool {
    let load = instance.load();
    load.in_flight > 0 || load.upgraded > 0
}

/// Makes a compiled table the one that serves. The order is what zero loss rests on:
/// an instance is active before a request can choose it, and its count is read (by the report,
/// after this call) only once no request can choose it uncounted.
pub(crate) fn install(compiled: Compiled, serve_by: impl FnOnce(Table)) {
    for instance in &compiled.active {
        if instance.phase() != Phase::Active {
            instance.set_phase(Phase::Active);
        }
    }
    for (gate, route) in compiled.gates {
        gate.set_current(route);
    }
    serve_by(compiled.table);
    for instance in &compiled.draining {
        instance.set_phase(Phase::Draining);
    }
    for instance in &compiled.gone {
        instance.set_phase(Phase::Gone);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use weir_model::InstanceId;
    use weir_model::certificate::HttpsPolicy;
    use weir_model::guard::GuardRules;

    use super::*;

    fn backend(number: u128) -> Backend {
        Backend {
            instance: InstanceId::from_parts(1, number),
            address: ([127, 0, 0, 1], 80).into(),
        }
    }

    fn route(prefix: &str, pool: Vec<Backend>) -> Route {
        Route {
            path_prefix: prefix.to_owned(),
            target: "web.web".to_owned(),
            state: RouteState::Serve,
            pool,
            concurrency: 1,
            first_byte_timeout_ms: 1_000,
            guard: GuardRules::default(),
            ..Route::default()
        }
    }

    fn snapshot(generation: u64, routes: Vec<Route>, draining: Vec<Backend>) -> RouteSnapshot {
        let host = HostRoutes {
            environment: EnvironmentId::from_parts(1, 1),
            title: "shop".to_owned(),
            routes,
            https: HttpsPolicy::default(),
            redirect_to: None,
            protection: None,
        };
        RouteSnapshot {
            generation,
            hosts: BTreeMap::from([("shop.localhost".to_owned(), host)]),
            draining,
            ..RouteSnapshot::default()
        }
    }

    fn registry() -> Registry {
        Registry::new(1, Clock::start(), Arc::new(Notify::new()), Doors::default())
    }

    #[test]
    fn the_longest_prefix_answers() {
        let routes = vec![route("/", vec![]), route("/api/v1/", vec![]), route("/api", vec![])];
        let table = registry().compile(&snapshot(1, routes, vec![])).table;
        let prefix = |path: &str| {
            table.hosts["shop.localhost"]
                .route(path, &Method::GET)
                .map(|route| route.prefix.to_string())
        };
        assert_eq!(prefix("/api/v1/users").as_deref(), Some("/api/v1"));
        assert_eq!(prefix("/api/v2").as_deref(), Some("/api"));
        assert_eq!(prefix("/apiary").as_deref(), Some(""));
        assert!(!table.hosts.contains_key("other.localhost"));
    }

    #[test]
    fn an_instance_drains_comes_back_and_goes() {
        let mut registry = registry();
        let mut apply = |snapshot| {
            let compiled = registry.compile(&snapshot);
            let (active, gone) = (compiled.active.clone(), compiled.gone.clone());
            install(compiled, drop);
            (active, gone)
        };
        let (active, _) = apply(snapshot(1, vec![route("/", vec![backend(1)])], vec![]));
        let first = Arc::clone(&active[0]);
        apply(snapshot(2, vec![route("/", vec![backend(2)])], vec![backend(1)]));
        assert_eq!(first.phase(), Phase::Draining);
        let (active, _) = apply(snapshot(3, vec![route("/", vec![backend(1)])], vec![backend(2)]));
        assert_eq!(first.phase(), Phase::Active);
        assert!(Arc::ptr_eq(&first, &active[0]));
        let (_, gone) = apply(snapshot(4, vec![route("/", vec![])], vec![]));
        assert_eq!(gone.len(), 2);
        assert_eq!(first.phase(), Phase::Gone);
        assert!(first.cut.is_cancelled());
    }

    #[test]
    fn one_that_is_in_a_pool_and_draining_gets_nothing() {
        let mut registry = registry();
        let compiled = registry.compile(&snapshot(1, vec![route("/", vec![backend(1)])], vec![backend(1)]));
        assert!(
            compiled.table.hosts["shop.localhost"]
                .route("/", &Method::GET)
                .unwrap()
                .pool
                .is_empty()
        );
        let instance = Arc::clone(&compiled.draining[0]);
        install(compiled, drop);
        assert_eq!(instance.phase(), Phase::Draining);
    }

    #[test]
    fn hundred_thousand_hosts_compile_quickly() {
        let one = snapshot(1, vec![route("/", vec![backend(1)])], vec![]);
        let host = &one.hosts["shop.localhost"];
        let hosts = (0..100_000)
            .map(|number| (format!("app-{number}.localhost"), host.clone()))
            .collect();
        let many = RouteSnapshot { hosts, ..one.clone() };
        let mut registry = registry();
        let start = Instant::now();
        let compiled = registry.compile(&many);
        println!("100,000 hosts compiled in {:?}", start.elapsed());
        assert_eq!(compiled.table.hosts.len(), 100_000);
        // They say the same, and so they are one.
        let one = &compiled.table.hosts["app-0.localhost"];
        assert!(compiled.table.hosts.values().all(|host| Arc::ptr_eq(host, one)));
        assert!(start.elapsed() < Duration::from_secs(10));
    }
}
