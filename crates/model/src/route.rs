//! What control tells the nodes, and what the nodes tell control. A node serves from the last
//! snapshot alone; control may be away for as long as it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::certificate::HttpsPolicy;
use crate::guard::{BackgroundWork, GuardRules, GuardTrip};
use crate::{AppName, EnvironmentId, InstanceId, ProcessName};

/// Everything that a node needs to serve. Whole, not a difference: a node that missed any
/// number of them needs only the newest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSnapshot {
    /// Rises with every change; the node reports which one it serves from. Survives restarts
    /// of control (control goes on above the highest number that it ever gave out).
    pub generation: u64,
    /// Addresses of the environments' networks on this machine. The ingress listens on them
    /// too, so that instances reach public names, and answers their name lookups there.
    pub gateways: Vec<IpAddr>,
    /// Whose network is behind each gateway: who pays for lookups of outside names there.
    #[serde(default)]
    pub networks: BTreeMap<IpAddr, EnvironmentId>,
    /// Private names of each network, by its gateway: where lookups from that network lead.
    /// Only what serves now is in it, so that nobody is led to an instance that is frozen.
    #[serde(default)]
    pub names: BTreeMap<IpAddr, BTreeMap<String, Vec<IpAddr>>>,
    /// By host name, lower case, without port.
    pub hosts: BTreeMap<String, HostRoutes>,
    /// Instances that get no new requests but may finish what they have. An instance that is
    /// neither here nor in a pool has its connections cut.
    pub draining: Vec<Backend>,
    /// Every instance on this node that uses CPU time or memory, or is about to: the node pays for
    /// them, and freezes what it cannot pay for.
    #[serde(default)]
    pub metered: Vec<MeteredInstance>,
}

/// An instance that has to be paid for while it exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MeteredInstance {
    /// Which.
    pub instance: InstanceId,
    /// Who pays.
    pub environment: EnvironmentId,
    /// The app.
    pub app: AppName,
    /// The process; `release` and `run` for one-off commands.
    pub process: ProcessName,
    /// Bytes reserved for it.
    pub memory_bytes: u64,
    /// Most CPU time that it gets, in thousandths of a core.
    pub cpu_milli: u32,
    /// So long it may take to end, in seconds: held ahead, so that it can end gracefully without
    /// money.
    #[serde(default = "usual_grace_s")]
    pub grace_s: u32,
    /// Its address on the environment's network, by which its calls are recognised.
    pub address: Option<IpAddr>,
    /// Whether it is frozen (kept for a quick rollback, or out of money).
    pub frozen: bool,
    /// Whether it is being ended: it gets the time for that, money or not.
    #[serde(default)]
    pub stopping: bool,
}

/// The grace of processes that name none; also of a snapshot that an earlier control wrote.
fn usual_grace_s() -> u32 {
    crate::spec::ProcessSpec::default().grace_s
}

/// What answers under one host name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRoutes {
    /// The environment that owns it.
    pub environment: EnvironmentId,
    /// `project` or `project (environment)`, for error pages.
    pub title: String,
    /// Longest prefix first; the last one is `/`.
    pub routes: Vec<Route>,
    /// What happens to requests without TLS, and what those with it are told.
    #[serde(default)]
    pub https: HttpsPolicy,
    /// Another host that everybody is sent to, with path and query: `www.example.org` for
    /// `example.org`.
    #[serde(default)]
    pub redirect_to: Option<String>,
}

/// Host and path prefix to a pool of instances.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// Begins with `/`; matches whole segments.
    pub path_prefix: String,
    /// The app and process that answer, as `app.process`; for error pages and metrics.
    pub target: String,
    /// What happens to a request now.
    pub state: RouteState,
    /// The instances that answer.
    pub pool: Vec<Backend>,
    /// How many requests an instance gets at once; further ones wait.
    pub concurrency: u32,
    /// Longest wait for the first byte of an answer, in milliseconds.
    pub first_byte_timeout_ms: u64,
    /// When calls of its own count as a runaway.
    #[serde(default)]
    pub guard: GuardRules,
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RouteState {
    /// It goes to an instance of the pool.
    Serve,
    /// It waits until the state changes, at most so long; then it gets a 503 that says so.
    Hold {
        /// Longest wait, in milliseconds.
        timeout_ms: u64,
    },
    /// The owner paused the environment: 503 page.
    Paused,
    /// Nothing was ever deployed: 404 page that says how.
    Undeployed,
    /// Every instance crashed: 503 page.
    Crashed {
        /// One line for the page; never anything from the app's log.
        message: String,
    },
    /// There is no money for it: 402 page. Nothing is woken.
    Unpaid {
        /// What stands in the way, for the page: `The spending cap of shop is reached.`
        message: String,
        /// When looking again may help, in seconds; 0 where nobody knows.
        retry_after_s: u64,
    },
}

/// One instance as the ingress sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Backend {
    /// Identity.
    pub instance: InstanceId,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What a node tells control: after each snapshot that it serves from, whenever the last
/// request of an instance that control waits for has ended, and every second.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeReport {
    /// Made anew at each start of the node.
    pub incarnation: u64,
    /// The newest snapshot that every worker of the node serves from.
    pub applied_generation: u64,
    /// The version of the certificates and challenges that it serves by.
    #[serde(default)]
    pub applied_certificates: u64,
    /// By instance; one with nothing going on may be left out.
    pub load: BTreeMap<InstanceId, BackendLoad>,
    /// How many requests are waiting in a held route or a full queue.
    pub waiting: u64,
    /// Instances that the node pays for.
    #[serde(default)]
    pub paying: BTreeSet<InstanceId>,
    /// Environments that can send past the proxy, because their first bytes are bought; none where
    /// the node does not meter that.
    #[serde(default)]
    pub sending: Option<BTreeSet<EnvironmentId>>,
    /// What the guard refused lately, oldest first; the same one may be told several times.
    #[serde(default)]
    pub trips: Vec<GuardTrip>,
    /// Instances that work although no request is in flight there.
    #[serde(default)]
    pub background: BTreeMap<InstanceId, BackgroundWork>,
    /// What was served of each environment, counted apart from what was paid; for the audit.
    #[serde(default)]
    pub access: BTreeMap<EnvironmentId, AccessCounts>,
    /// Who pays for it; none where nothing is charged.
    #[serde(default)]
    pub meter: Option<MeterMark>,
    /// The node has stopped serving: these are its last counts.
    #[serde(default)]
    pub leaving: bool,
}

/// What was served of one environment since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessCounts {
    /// Requests that were handed to an instance, each once.
    pub requests: u64,
    /// Of them, those whose answer has not ended.
    pub open: u64,
    /// Requests that were paid for and reached no instance.
    pub turned_away: u64,
    /// Bytes of answers that went to clients; of each open one up to 64 KiB are not counted yet.
    pub egress_bytes: u64,
}

/// Whose leases a node pays from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeterMark {
    /// The meter's name in the ledger.
    pub meter: String,
    /// The earliest of its incarnations whose leases this process has drawn.
    pub first: u64,
    /// The present one.
    pub incarnation: u64,
}

/// What goes on at one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendLoad {
    /// Requests whose answer has not ended.
    pub in_flight: u64,
    /// Connections that were upgraded (websockets) and are open.
    pub upgraded: u64,
    /// Requests answered since the node started.
    pub requests: u64,
    /// Attempts to connect that failed since the node started.
    pub connect_failures: u64,
}
