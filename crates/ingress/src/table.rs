//! The compiled routes: host and path to a pool of instances. Immutable once made; a new
//! snapshot makes a new table.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::Method;
use tokio::time::Instant;
use weir_guard::Target;
use weir_ledger::wallet::Till;
use weir_model::EnvironmentId;
use weir_model::cache::CacheRules;
use weir_model::route::{Backend, RouteState};
use weir_model::route_feed::nobody;

use crate::access::Access;
use crate::admission::Gate;
use crate::cache::Shelf;
use crate::canary::Canary;
use crate::class::Class;
use crate::era::Era;
use crate::instance::Instance;
use crate::metrics::Watched;
use crate::process::Habits;
use crate::protect::Fence;
use crate::sharded::Sharded;
use crate::sleep;
use crate::tcp::Services;
use crate::tls::HostPolicy;

/// All routes. A copy takes no time, and a change of one environment changes little of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    /// Counts the tables of this process. Unlike the snapshot's generation it rises even if
    /// control should begin anew.
    pub(crate) epoch: u64,
    /// By host name, lower case, without port.
    pub(crate) hosts: Sharded<Arc<str>, Arc<HostEntry>, 1024>,
    /// What is reached by TCP and not by HTTP.
    pub(crate) tcp: Arc<Services>,
    /// Where the ingress listens too, and answers name lookups.
    pub(crate) gateways: Arc<[IpAddr]>,
    /// By the address of an instance: what it says about for whom it speaks is not believed.
    pub(crate) residents: Sharded<IpAddr, Resident>,
    /// The network behind each gateway.
    pub(crate) networks: Sharded<IpAddr, Arc<Network>>,
    /// Processes that scale or sleep.
    pub(crate) watched: Sharded<EnvironmentId, Arc<[sleep::Watched]>>,
    /// Every instance in a pool, each once.
    pub(crate) instances: Sharded<Backend, Arc<Instance>>,
}

/// Who is behind the address of an instance.
#[derive(Debug, Clone)]
pub(crate) struct Resident {
    pub(crate) environment: EnvironmentId,
    /// Where to note what its process does; none without routes.
    pub(crate) habits: Option<Arc<Habits>>,
}

/// The network behind a gateway.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) owner: EnvironmentId,
    /// Private names, and where they lead.
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
}

/// The routes of one host, longest prefix first.
#[derive(Debug)]
pub(crate) struct HostEntry {
    /// Whose they are.
    pub(crate) environment: EnvironmentId,
    pub(crate) routes: Vec<Arc<CompiledRoute>>,
    /// What it says before any of them.
    pub(crate) policy: HostPolicy,
    /// What stands before them; none where everything is let through.
    pub(crate) fence: Option<Arc<Fence>>,
}

impl HostEntry {
    /// The route that answers, if there is one for the path and the method.
    pub(crate) fn route(&self, path: &str, method: &Method) -> Option<&Arc<CompiledRoute>> {
        let fits = |route: &&Arc<CompiledRoute>| prefix_matches(&route.prefix, path) && route.answers(method);
        self.routes.iter().find(fits)
    }
}

/// One route, ready to be served from.
#[derive(Debug)]
pub(crate) struct CompiledRoute {
    /// Of the table it belongs to.
    pub(crate) epoch: u64,
    /// Tells whether its environment has newer ones.
    pub(crate) era: Arc<Era>,
    /// Without the slash at the end, so `/` is empty.
    pub(crate) prefix: Box<str>,
    /// `project` or `project (environment)`, for pages.
    pub(crate) title: Arc<str>,
    pub(crate) state: RouteState,
    /// Instances that get requests.
    pub(crate) pool: Vec<Arc<Instance>>,
    /// Requests an instance gets at once.
    pub(crate) concurrency: u64,
    pub(crate) first_byte_timeout: Duration,
    /// Where requests of this process wait; the same for all hosts and all snapshots.
    pub(crate) gate: Arc<Gate>,
    /// Where its requests are counted and logged for those who watch over it.
    pub(crate) watched: Watched,
    /// What was served of the environment, however it is paid.
    pub(crate) access: Arc<Access>,
    /// From what requests and answers are paid; none where nothing is charged.
    pub(crate) till: Option<Arc<Till>>,
    /// By what name the guard knows it; none where nothing is guarded.
    pub(crate) target: Option<Arc<Target>>,
    /// What the process does; the same for all hosts and all snapshots.
    pub(crate) habits: Arc<Habits>,
    /// Methods that it answers; empty: all of them.
    pub(crate) methods: Vec<Method>,
    /// The class of its requests, where the process has any.
    pub(crate) class: Option<Class>,
    /// A new release that gets a part of the requests.
    pub(crate) canary: Option<Canary>,
    /// What is kept of its answers, and where.
    pub(crate) cache: CacheRules,
    pub(crate) shelf: Arc<Shelf>,
}

#[cfg(test)]
impl CompiledRoute {
    /// A route that serves nothing yet, for tests that care for a few of its fields.
    pub(crate) fn for_test() -> Self {
        Self {
            epoch: 1,
            era: Arc::new(Era::new(1)),
            prefix: "".into(),
            title: "shop".into(),
            state: RouteState::Serve,
            pool: Vec::new(),
            concurrency: 1,
            first_byte_timeout: Duration::from_secs(1),
            gate: Arc::new(Gate::new(crate::clock::Clock::start())),
            access: Arc::new(Access::new(1)),
            till: None,
            target: None,
            habits: Arc::default(),
            methods: Vec::new(),
            class: None,
            canary: None,
            cache: CacheRules::default(),
            shelf: crate::cache::Cache::default().shelf(EnvironmentId::from_parts(1, 1)),
            watched: crate::metrics::Watched {
                series: Arc::new(crate::metrics::Series::new(1)),
                access_log: None,
            },
        }
    }
}

impl CompiledRoute {
    /// Whether its environment has newer ones.
    pub(crate) fn is_past(&self) -> bool {
        self.era.is_past(self.epoch)
    }

    /// Waits until its environment has newer ones; false at the deadline.
    pub(crate) async fn passed(&self, deadline: Instant) -> bool {
        self.era.passed(self.epoch, deadline).await
    }

    fn answers(&self, method: &Method) -> bool {
        let is = |named: &Method| named.as_str().eq_ignore_ascii_case(method.as_str());
        self.methods.is_empty() || self.methods.iter().any(is)
    }
}

impl Table {
    /// Where a name leads that is looked up at a gateway; none if it is not ours to say. Of whom
    /// the private name is asked for, it is noted.
    pub(crate) fn addresses_of(&self, name: &str, gateway: IpAddr) -> Option<Vec<IpAddr>> {
        if self.hosts.contains_key(name) || self.tcp.of_host(name).is_some() {
            return Some(vec![gateway]);
        }
        let addresses = self.networks.get(&gateway)?.names.get(name)?;
        for habits in addresses.iter().filter_map(|address| self.habits(*address)) {
            habits.called_directly.store(true, Ordering::Relaxed);
        }
        Some(addresses.clone())
    }

    /// What the process of an instance does; only of those with routes.
    pub(crate) fn habits(&self, address: IpAddr) -> Option<&Arc<Habits>> {
        self.residents.get(&address)?.habits.as_ref()
    }

    /// Whose network is behind a gateway: who pays for lookups of outside names there.
    pub(crate) fn environment_at(&self, gateway: IpAddr) -> Option<EnvironmentId> {
        let owner = self.networks.get(&gateway)?.owner;
        (owner != nobody()).then_some(owner)
    }

    /// Whether requests may reach whoever has this address that the node does not see.
    pub(crate) fn is_called_directly(&self, address: IpAddr) -> bool {
        let habits = self.habits(address);
        habits.is_some_and(|habits| habits.called_directly.load(Ordering::Relaxed))
    }
}

/// Whether the prefix (without a slash at the end) covers the path on whole segments.
pub(crate) fn prefix_matches(prefix: &str, path: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => prefix.is_empty() || rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_whole_segments_only() {
        assert!(prefix_matches("/api", "/api"));
        assert!(prefix_matches("/api", "/api/"));
        assert!(prefix_matches("/api", "/api/users"));
        assert!(!prefix_matches("/api", "/apiary"));
        assert!(!prefix_matches("/api", "/"));
    }

    #[test]
    fn the_root_prefix_matches_everything() {
        assert!(prefix_matches("", "/"));
        assert!(prefix_matches("", "/anything"));
        assert!(prefix_matches("", "*"));
    }
}
