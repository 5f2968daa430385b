//! The compiled routes: host and path to a pool of instances. Immutable once made; a new
//! snapshot makes a new table.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_guard::Target;
use weir_ledger::wallet::Till;
use weir_model::EnvironmentId;
use weir_model::route::RouteState;

use crate::access::Access;
use crate::admission::Gate;
use crate::instance::Instance;
use crate::process::Habits;
use crate::tls::HostPolicy;

/// All routes of one snapshot.
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Counts the tables of this process. Unlike the snapshot's generation it rises even if
    /// control should begin anew.
    pub(crate) epoch: u64,
    /// By host name, lower case, without port.
    pub(crate) hosts: HashMap<Box<str>, HostEntry>,
    /// Where the ingress listens too, and answers name lookups.
    pub(crate) gateways: Vec<IpAddr>,
    /// Whose network is behind each gateway.
    pub(crate) networks: BTreeMap<IpAddr, EnvironmentId>,
    /// Private names of the network behind each gateway.
    pub(crate) names: BTreeMap<IpAddr, BTreeMap<String, Vec<IpAddr>>>,
    /// By the address of an instance: where to note what its process does.
    pub(crate) habits: HashMap<IpAddr, Arc<Habits>>,
    /// Every instance in a pool, each once.
    pub(crate) instances: Vec<Arc<Instance>>,
}

/// The routes of one host, longest prefix first.
#[derive(Debug)]
pub(crate) struct HostEntry {
    pub(crate) routes: Vec<Arc<CompiledRoute>>,
    /// What it says before any of them.
    pub(crate) policy: HostPolicy,
}

impl HostEntry {
    /// The route that answers, if there is one for the path.
    pub(crate) fn route(&self, path: &str) -> Option<&Arc<CompiledRoute>> {
        self.routes.iter().find(|route| prefix_matches(&route.prefix, path))
    }
}

/// One route, ready to be served from.
#[derive(Debug)]
pub(crate) struct CompiledRoute {
    /// Of the table it belongs to.
    pub(crate) epoch: u64,
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
    /// What was served of the environment, however it is paid.
    pub(crate) access: Arc<Access>,
    /// From what requests and answers are paid; none where nothing is charged.
    pub(crate) till: Option<Arc<Till>>,
    /// By what name the guard knows it; none where nothing is guarded.
    pub(crate) target: Option<Arc<Target>>,
    /// What the process does; the same for all hosts and all snapshots.
    pub(crate) habits: Arc<Habits>,
}

impl Table {
    /// Where a name leads that is looked up at a gateway; none if it is not ours to say. Of whom
    /// the private name is asked for, it is noted.
    pub(crate) fn addresses_of(&self, name: &str, gateway: IpAddr) -> Option<Vec<IpAddr>> {
        if self.hosts.contains_key(name) {
            return Some(vec![gateway]);
        }
        let addresses = self.names.get(&gateway)?.get(name)?;
        for habits in addresses.iter().filter_map(|address| self.habits.get(address)) {
            habits.called_directly.store(true, Ordering::Relaxed);
        }
        Some(addresses.clone())
    }

    /// Whether requests may reach whoever has this address that the node does not see.
    pub(crate) fn is_called_directly(&self, address: IpAddr) -> bool {
        let habits = self.habits.get(&address);
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
