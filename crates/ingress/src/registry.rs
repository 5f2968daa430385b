//! Turns a snapshot into a table, keeping what outlives snapshots: instances and gates.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::Notify;
use weir_model::cache::CacheRules;
use weir_model::metrics::WaitingMetrics;
use weir_model::route::{Backend, ClassLoad, HostRoutes, MeteredInstance, Route, RouteState};
use weir_model::route_feed::Part;
use weir_model::{EnvironmentId, InstanceId};

use crate::access::{Access, Used};
use crate::admission::Gate;
use crate::canary::{self, Canary};
use crate::class::{self, Class};
use crate::clock::Clock;
use crate::era::Era;
use crate::instance::{Instance, Phase};
use crate::metrics::{Book, Watched};
use crate::process::{Doors, Process};
use crate::protect::Fence;
use crate::sleep;
use crate::table::{CompiledRoute, HostEntry, Network, Resident, Table};
use crate::tcp::{Service, Services};
use crate::tenant::{self, ClassGates, Edition, Tenant};
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
    tenants: HashMap<EnvironmentId, Tenant>,
    /// In a pool or draining, by identity and address: an instance that comes back under
    /// another address is another one.
    instances: BTreeMap<Backend, Known>,
    /// Cut, but not yet without requests.
    departed: Vec<Arc<Instance>>,
    /// Of every environment that this process has known: sums must not begin anew.
    accesses: HashMap<EnvironmentId, Arc<Access>>,
    used: Arc<Used>,
    /// Where requests are counted and logged.
    series: Book,
    /// Of each gate of a process with classes: a route that serves from it, with its target.
    classed: BTreeMap<EnvironmentId, Vec<Classed>>,
    /// What has to be paid for.
    metered: BTreeMap<EnvironmentId, Vec<MeteredInstance>>,
    /// What is reached by TCP and not by HTTP.
    services: BTreeMap<EnvironmentId, Vec<Arc<Service>>>,
    /// As it is to be served by next.
    table: Table,
    staged: Staged,
}

/// A route that serves from a gate, with its target.
type Classed = (Box<str>, Arc<CompiledRoute>);

/// An instance, and in how many environments it is in a pool, and finishes what it has. It is in one
/// only; unless control says otherwise.
#[derive(Debug)]
struct Known {
    instance: Arc<Instance>,
    pooled: u32,
    draining: u32,
}

/// What has changed since the last table.
#[derive(Debug, Default)]
struct Staged {
    /// Instances that were, or are, named by an environment that changed.
    touched: BTreeSet<Backend>,
    gates: CurrentRoutes,
    forgotten_gates: Vec<Arc<Gate>>,
    eras: Vec<Arc<Era>>,
    gateways: bool,
    metered: bool,
    services: bool,
}

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
    /// Of the environments that changed; to begin anew once it serves.
    pub(crate) eras: Vec<Arc<Era>>,
    /// All that has to be paid for; none where that is as before.
    pub(crate) metered: Option<Vec<MeteredInstance>>,
}

impl Registry {
    pub(crate) fn new(workers: usize, clock: Clock, report_wanted: Arc<Notify>, doors: Doors) -> Self {
        Self {
            workers,
            clock,
            report_wanted,
            doors,
            epoch: 0,
            tenants: HashMap::new(),
            instances: BTreeMap::new(),
            departed: Vec::new(),
            accesses: HashMap::new(),
            used: Arc::default(),
            series: Book::new(workers),
            classed: BTreeMap::new(),
            metered: BTreeMap::new(),
            services: BTreeMap::new(),
            table: Table::default(),
            // Whoever pays is told of the first table whatever it says.
            staged: Staged {
                metered: true,
                ..Staged::default()
            },
        }
    }

    /// What was served of each environment, of which anything was.
    pub(crate) fn accesses(&self) -> impl Iterator<Item = (EnvironmentId, &Arc<Access>)> {
        let used = self.used.all().into_iter();
        used.filter_map(|environment| Some((environment, self.accesses.get(&environment)?)))
    }

    /// What goes on in the classes of each environment that has any.
    pub(crate) fn class_loads(&self) -> BTreeMap<EnvironmentId, Vec<ClassLoad>> {
        let classed = self.classed.iter().flat_map(|(environment, routes)| {
            let named = routes.iter();
            named.map(|(target, route)| (*environment, &**target, &**route))
        });
        class::loads(classed)
    }

    /// What is counted of requests.
    pub(crate) fn series(&self) -> &Book {
        &self.series
    }

    /// Where requests wait, and how many.
    pub(crate) fn waiting(&self) -> Vec<WaitingMetrics> {
        let of_processes = self.tenants.iter().flat_map(|(environment, tenant)| {
            let named = tenant.processes.iter();
            named.map(move |(target, process)| (environment, target, &process.gate))
        });
        let of_classes = self.tenants.iter().flat_map(|(environment, tenant)| {
            let named = tenant.gates.iter();
            named.map(move |gate| (environment, &gate.target, &gate.gate))
        });
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

    /// Takes in what an environment contributes from now on; none: it is gone. Nothing serves by it
    /// yet, until [`Self::finish`]. What this costs depends on the environment alone.
    pub(crate) fn change(&mut self, environment: EnvironmentId, part: Option<&Part>) {
        if let Some(sentry) = &self.doors.sentry {
            sentry.learn(environment, part);
        }
        let epoch = self.epoch + 1;
        let before = self.tenants.remove(&environment);
        let mut before = before.unwrap_or_else(|| Tenant::new(self.epoch));
        self.take_out(environment, &before);
        self.staged.eras.push(Arc::clone(&before.era));
        let was_there = !before.processes.is_empty();
        let mut processes = std::mem::take(&mut before.processes).into_vec();
        let mut gates = ClassGates::new(self.clock, std::mem::take(&mut before.gates));
        let services = self.services.remove(&environment).unwrap_or_default();
        self.staged.services |= !services.is_empty();
        if let Some(part) = part {
            let edition = Edition {
                environment,
                epoch,
                era: before.era,
            };
            let tenant = self.settle(&edition, part, &mut processes, &mut gates, &services);
            self.tenants.insert(environment, tenant);
        }
        if part.is_none_or(|part| part.metered.is_empty()) && self.metered.remove(&environment).is_some() {
            self.staged.metered = true;
        }
        // A gate that is in no table any more hands out nothing; who waits there is woken by
        // the change and leaves.
        let of_classes = gates.previous.into_iter().map(|gate| gate.gate);
        let of_processes = processes.into_iter().map(|(_, process)| process.gate);
        self.staged.forgotten_gates.extend(of_processes.chain(of_classes));
        let now = self.tenants.get(&environment);
        // Nothing is kept of environments whose last process went.
        if was_there && now.is_none_or(|now| now.processes.is_empty()) {
            self.doors.cache.forget(environment);
        }
        let has_hosts = part.is_some_and(|part| !part.hosts.is_empty() || !part.tcp.is_empty());
        self.series.sweep(epoch, environment, has_hosts);
    }

    /// What was taken in since the last time, as a table. Nothing serves by it yet.
    pub(crate) fn finish(&mut self) -> Compiled {
        self.epoch += 1;
        if let Some(sentry) = &self.doors.sentry {
            sentry.learned();
        }
        let staged = std::mem::take(&mut self.staged);
        let (mut active, mut draining, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for backend in staged.touched {
            let Some(known) = self.instances.get(&backend) else {
                continue;
            };
            let instance = Arc::clone(&known.instance);
            if known.pooled > 0 {
                self.table.instances.insert(backend, Arc::clone(&instance));
                active.push(instance);
                continue;
            }
            self.table.instances.remove_if(&backend, |_| true);
            if known.draining > 0 {
                draining.push(instance);
            } else {
                self.instances.remove(&backend);
                gone.push(instance);
            }
        }
        self.departed.retain(has_load);
        self.departed.extend(gone.iter().cloned());
        let forgotten = staged.forgotten_gates.into_iter().map(|gate| (gate, None));
        let gates = forgotten.chain(staged.gates.into_values()).collect();
        if staged.gateways {
            let mut gateways: Vec<IpAddr> = self.table.networks.iter().map(|(gateway, _)| *gateway).collect();
            gateways.sort_unstable();
            self.table.gateways = gateways.into();
        }
        if staged.services {
            self.table.tcp = Arc::new(Services::of(self.services.values().flatten()));
        }
        self.table.epoch = self.epoch;
        Compiled {
            table: self.table.clone(),
            active,
            draining,
            gone,
            gates,
            eras: staged.eras,
            metered: staged
                .metered
                .then(|| self.metered.values().flatten().cloned().collect()),
        }
    }

    /// Environments that are there.
    #[cfg(test)]
    pub(crate) fn environments(&self) -> Vec<EnvironmentId> {
        self.tenants.keys().copied().collect()
    }

    /// Every instance that the node knows, also those that were cut and have something going
    /// on still.
    pub(crate) fn instances(&mut self) -> impl Iterator<Item = &Arc<Instance>> {
        self.departed.retain(has_load);
        let known = self.instances.values().map(|known| &known.instance);
        known.chain(&self.departed)
    }

    /// Takes what is an environment's own out of the next table.
    fn take_out(&mut self, environment: EnvironmentId, tenant: &Tenant) {
        for name in &tenant.hosts {
            self.table
                .hosts
                .remove_if(&**name, |entry| entry.environment == environment);
        }
        for address in &tenant.addresses {
            let is_ours = |resident: &Resident| resident.environment == environment;
            self.table.residents.remove_if(address, is_ours);
        }
        for gateway in &tenant.gateways {
            let is_ours = |network: &Arc<Network>| network.owner == environment;
            self.table.networks.remove_if(gateway, is_ours);
            self.staged.gateways = true;
        }
        self.table.watched.remove_if(&environment, |_| true);
        self.classed.remove(&environment);
        for backend in &tenant.pooled {
            if let Some(known) = self.instances.get_mut(backend) {
                known.pooled = known.pooled.saturating_sub(1);
            }
        }
        for backend in &tenant.draining {
            if let Some(known) = self.instances.get_mut(backend) {
                known.draining = known.draining.saturating_sub(1);
            }
        }
        let named = tenant.pooled.iter().chain(&tenant.draining);
        self.staged.touched.extend(named.cloned());
    }

    /// Puts what an environment contributes into the next table. What it had of `processes` and
    /// `gates` and has still is taken over.
    fn settle(
        &mut self,
        edition: &Edition,
        part: &Part,
        processes: &mut Vec<(Box<str>, Process)>,
        gates: &mut ClassGates,
        services: &[Arc<Service>],
    ) -> Tenant {
        let environment = edition.environment;
        let mut making = Making {
            edition,
            except: part.draining.iter().collect(),
            previous: processes,
            processes: Vec::new(),
            gates,
            pooled: BTreeSet::new(),
        };
        let mut shared: Vec<Option<Arc<HostEntry>>> = vec![None; part.kinds.len()];
        let mut names: Vec<Arc<str>> = Vec::with_capacity(part.hosts.len());
        for (name, index) in &part.hosts {
            let index = usize::try_from(*index).unwrap_or(usize::MAX);
            let Some(host) = part.kinds.get(index) else { continue };
            let entry = match &shared[index] {
                Some(entry) => Arc::clone(entry),
                None => Arc::new(self.host(&mut making, name, host)),
            };
            if !tenant::is_its_own(host) {
                shared[index] = Some(Arc::clone(&entry));
            }
            let name: Arc<str> = name.as_str().into();
            self.table.hosts.insert(Arc::clone(&name), entry);
            names.push(name);
        }
        self.settle_services(&mut making, part, services);
        let Making { processes, pooled, .. } = making;
        for backend in &pooled {
            if let Some(known) = self.instances.get_mut(backend) {
                known.pooled += 1;
            }
        }
        let draining: BTreeSet<Backend> = part.draining.iter().cloned().collect();
        for backend in &draining {
            self.known(backend).draining += 1;
        }
        self.staged.touched.extend(pooled.iter().chain(&draining).cloned());
        let mut tenant = Tenant {
            era: Arc::clone(&edition.era),
            hosts: names.into_boxed_slice(),
            processes: processes.into_boxed_slice(),
            gates: std::mem::take(&mut gates.current).into_boxed_slice(),
            pooled: pooled.into_iter().collect(),
            draining: draining.into_iter().collect(),
            gateways: part.gateways.keys().copied().collect(),
            addresses: Box::default(),
        };
        tenant.addresses = self.house(environment, part, &tenant);
        self.watch(environment, part, &tenant);
        tenant
    }

    /// Networks, addresses and what has to be paid for. Returns the addresses of the instances.
    fn house(&mut self, environment: EnvironmentId, part: &Part, tenant: &Tenant) -> Box<[IpAddr]> {
        for (gateway, names) in &part.gateways {
            let network = Network {
                owner: environment,
                names: names.clone(),
            };
            self.table.networks.insert(*gateway, Arc::new(network));
            self.staged.gateways = true;
        }
        let mut addresses = BTreeSet::new();
        for metered in &part.metered {
            let Some(address) = metered.address else { continue };
            let text = format!("{}.{}", metered.app, metered.process);
            let process = tenant.processes.iter().find(|(target, _)| **target == *text);
            let habits = process.map(|(_, process)| Arc::clone(&process.habits));
            // Only those with routes are of interest, and there is one of an address.
            if habits.is_some() || addresses.insert(address) {
                addresses.insert(address);
                let resident = Resident { environment, habits };
                self.table.residents.insert(address, resident);
            }
        }
        if self.metered.get(&environment).map_or(&[][..], |metered| metered) != part.metered {
            self.staged.metered = true;
            self.metered.insert(environment, part.metered.clone());
        }
        addresses.into_iter().collect()
    }

    /// Processes that scale or sleep, with the instances of theirs that get requests.
    fn watch(&mut self, environment: EnvironmentId, part: &Part, tenant: &Tenant) {
        let of_target = |target: &str| -> Vec<Arc<Instance>> {
            let meant = part.metered.iter().filter(|metered| {
                let (app, process) = (metered.app.as_str(), metered.process.as_str());
                target.strip_prefix(app).and_then(|rest| rest.strip_prefix('.')) == Some(process)
            });
            let ids: BTreeSet<InstanceId> = meant.map(|metered| metered.instance).collect();
            let of = tenant.pooled.iter().filter(|backend| ids.contains(&backend.instance));
            of.filter_map(|backend| Some(Arc::clone(&self.instances.get(backend)?.instance)))
                .collect()
        };
        let watched: Vec<sleep::Watched> = part
            .watched
            .iter()
            .filter_map(|(target, rule)| {
                let (target, process) = tenant.processes.iter().find(|(of, _)| **of == **target)?;
                let of_classes = tenant.gates.iter().filter(|gate| gate.target == *target);
                let gates = of_classes.map(|gate| &gate.gate).chain([&process.gate]);
                Some(sleep::Watched {
                    environment,
                    gates: gates.cloned().collect(),
                    habits: Arc::clone(&process.habits),
                    pool: of_target(target),
                    rule: rule.clone(),
                    target: target.clone(),
                })
            })
            .collect();
        if !watched.is_empty() {
            self.table.watched.insert(environment, watched.into());
        }
    }

    /// Compiles what a host says.
    fn host(&mut self, making: &mut Making<'_>, name: &str, host: &HostRoutes) -> HostEntry {
        let environment = making.edition.environment;
        let routes = host
            .routes
            .iter()
            .map(|route| {
                let mut process = self.process(making, &route.target);
                if let Some(gate) = making.gates.of_class(route) {
                    process.gate = gate;
                }
                let pool = self.pool(making, &route.pool);
                let watched = self.series.watched(making.edition.epoch, environment, route);
                let canary = route.canary.as_ref().map(|canary| {
                    let of_canary = canary::route_of(route, canary);
                    let process = Process {
                        gate: making.gates.of_canary(&of_canary),
                        ..process.clone()
                    };
                    let pool = self.pool(making, &canary.pool);
                    let compiled = compile_route(making.edition, host, &of_canary, pool, process, watched.clone());
                    Canary::of(canary, self.remember(environment, &of_canary, compiled))
                });
                let mut compiled = compile_route(making.edition, host, route, pool, process, watched);
                compiled.cache.store &= canary.is_none();
                compiled.canary = canary;
                self.remember(environment, route, compiled)
            })
            .collect();
        host_entry(environment, routes, HostPolicy::of(name, host), self.fence(host))
    }

    /// Notes from which route its gate hands out places, and its class.
    fn remember(&mut self, environment: EnvironmentId, route: &Route, compiled: CompiledRoute) -> Arc<CompiledRoute> {
        let compiled = Arc::new(compiled);
        remember_current(&mut self.staged.gates, &compiled);
        if compiled.class.is_some() {
            let classed = self.classed.entry(environment).or_default();
            if !classed
                .iter()
                .any(|(_, known)| Arc::ptr_eq(&known.gate, &compiled.gate))
            {
                classed.push((route.target.as_str().into(), Arc::clone(&compiled)));
            }
        }
        compiled
    }

    /// What stands before the host.
    fn fence(&self, host: &HostRoutes) -> Option<Arc<Fence>> {
        let (defences, protection) = (self.doors.defences.as_ref()?, host.protection.as_ref()?);
        Fence::of(defences, host.environment, &host.title, protection)
    }

    fn pool(&mut self, making: &mut Making<'_>, backends: &[Backend]) -> Vec<Arc<Instance>> {
        backends
            .iter()
            .filter(|backend| !making.except.contains(backend))
            .map(|backend| {
                making.pooled.insert(backend.clone());
                Arc::clone(&self.known(backend).instance)
            })
            .collect()
    }

    fn known(&mut self, backend: &Backend) -> &mut Known {
        self.instances.entry(backend.clone()).or_insert_with(|| {
            let report_wanted = Arc::clone(&self.report_wanted);
            let seat = self.doors.sentry.as_ref().map(|sentry| sentry.seat(backend.instance));
            Known {
                instance: Arc::new(Instance::new(backend.clone(), self.workers, report_wanted, seat)),
                pooled: 0,
                draining: 0,
            }
        })
    }

    fn process(&mut self, making: &mut Making<'_>, target: &str) -> Process {
        let environment = making.edition.environment;
        if let Some((_, process)) = making.processes.iter().find(|(known, _)| **known == *target) {
            return process.clone();
        }
        let kept = making.previous.iter().position(|(known, _)| **known == *target);
        let entry = match kept {
            Some(place) => making.previous.swap_remove(place),
            None => {
                let fresh = || Arc::new(Access::of(environment, self.workers, &self.used));
                let access = Arc::clone(self.accesses.entry(environment).or_insert_with(fresh));
                let process = Process::new(environment, target, access, self.clock, &self.doors);
                (target.into(), process)
            }
        };
        let process = entry.1.clone();
        making.processes.push(entry);
        process
    }
}

/// One environment while its routes are compiled.
struct Making<'a> {
    edition: &'a Edition,
    /// Instances that get no requests.
    except: BTreeSet<&'a Backend>,
    previous: &'a mut Vec<(Box<str>, Process)>,
    processes: Vec<(Box<str>, Process)>,
    gates: &'a mut ClassGates,
    pooled: BTreeSet<Backend>,
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
    edition: &Edition,
    host: &HostRoutes,
    route: &Route,
    pool: Vec<Arc<Instance>>,
    process: Process,
    watched: Watched,
) -> CompiledRoute {
    CompiledRoute {
        epoch: edition.epoch,
        era: Arc::clone(&edition.era),
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

fn host_entry(
    environment: EnvironmentId,
    mut routes: Vec<Arc<CompiledRoute>>,
    policy: HostPolicy,
    fence: Option<Arc<Fence>>,
) -> HostEntry {
    // Of the same prefix, those come first that are for some methods only.
    routes.sort_by_key(|route| (std::cmp::Reverse(route.prefix.len()), route.methods.is_empty()));
    HostEntry {
        environment,
        routes,
        policy,
        fence,
    }
}

fn has_load(instance: &Arc<Instance>) -> bool {
    let load = instance.load();
    load.in_flight > 0 || load.upgraded > 0
}

/// Makes a compiled table the one that serves. The order is what zero loss rests on:
/// an instance is active before a request can choose it, and its count is read (by the report,
/// after this call) only once no request can choose it uncounted.
pub(crate) fn install(compiled: Compiled, serve_by: impl FnOnce(Table)) {
    let epoch = compiled.table.epoch;
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
    for era in &compiled.eras {
        era.begin(epoch);
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
