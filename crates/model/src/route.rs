//! What control tells the nodes, and what the nodes tell control. A node serves from the last
//! snapshot alone; control may be away for as long as it likes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::access_log::AccessLogging;
use crate::cache::{CacheCounts, CachePurges, CacheRules};
use crate::canary::{CanaryHeader, Share};
use crate::certificate::HttpsPolicy;
use crate::guard::{BackgroundWork, GuardRules, GuardTrip};
use crate::protection::Protection;
use crate::tcp::TcpRoute;
use crate::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName};

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
    /// Processes whose number of instances follows what is asked of them, or which sleep while
    /// nobody asks, by `app.process`: of these the node tells what goes on.
    #[serde(default)]
    pub watched: BTreeMap<EnvironmentId, BTreeMap<String, WatchedProcess>>,
    /// Kept answers to be forgotten.
    #[serde(default)]
    pub cache_purges: CachePurges,
    /// What is reached by TCP and not by HTTP.
    #[serde(default)]
    pub tcp: Vec<TcpRoute>,
}

/// What a node has to know of a process that scales or sleeps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchedProcess {
    /// Its instances are frozen after so many milliseconds without a request, a waiting one, or an
    /// open connection, until the next one; none: never.
    pub freeze_after_ms: Option<u64>,
    /// Control stops them after so many; none: never.
    #[serde(default)]
    pub stop_after_ms: Option<u64>,
    /// The private names that lead to it. Looking one up asks for the process.
    #[serde(default)]
    pub names: BTreeSet<String>,
}

/// What is asked of a process, as a node sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// Requests in flight and open upgraded connections, in thousandths; the mean of the last
    /// second.
    pub in_flight_milli: u64,
    /// Requests, and lookups of its name, that wait for an instance now.
    pub waiting: u64,
    /// Since when nobody asked anything of it, in milliseconds.
    pub quiet_ms: u64,
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
    /// What stands before all of them; none where everything is let through.
    #[serde(default)]
    pub protection: Option<Protection>,
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
    /// Methods that it answers, in capitals; empty: all of them.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The class of its requests, where the process has any. `concurrency` and
    /// `first_byte_timeout_ms` are the class's then.
    #[serde(default)]
    pub class: Option<RouteClass>,
    /// A new release that gets a part of the requests, while the route serves.
    #[serde(default)]
    pub canary: Option<RouteCanary>,
    /// Whether its requests are logged.
    #[serde(default)]
    pub access_log: AccessLogging,
    /// What is kept of its answers.
    #[serde(default)]
    pub cache: CacheRules,
}

/// A new release beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCanary {
    /// Which visitors get it follows from this: the same ones as long as it is the same.
    pub deployment: DeploymentId,
    /// The part of the visitors that gets it.
    pub share: Share,
    /// Requests with this header get it whatever the share is.
    #[serde(default)]
    pub header: Option<CanaryHeader>,
    /// Its instances.
    pub pool: Vec<Backend>,
    /// How many requests an instance gets at once; further ones wait.
    pub concurrency: u32,
    /// Longest wait for the first byte of an answer, in milliseconds.
    pub first_byte_timeout_ms: u64,
    /// The class of its requests, as of a [`Route`].
    #[serde(default)]
    pub class: Option<RouteClass>,
}

impl Default for Route {
    /// What answers where nothing was ever deployed.
    fn default() -> Self {
        Self {
            path_prefix: "/".to_owned(),
            target: String::new(),
            state: RouteState::Undeployed,
            pool: Vec::new(),
            concurrency: 1,
            first_byte_timeout_ms: 60_000,
            guard: GuardRules::default(),
            methods: Vec::new(),
            class: None,
            canary: None,
            access_log: AccessLogging::Off,
            cache: CacheRules::default(),
        }
    }
}

/// Requests of a kind, with places of their own at each instance and a queue of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteClass {
    /// Its name; `default` for what has no class.
    pub name: String,
    /// Under which number each instance counts its requests, 0 to
    /// [`MOST_CLASSES`](crate::spec::MOST_CLASSES). The same for the whole life of an instance.
    pub number: u8,
    /// How many requests wait for a place; none: as many as the node lets wait.
    pub queue: Option<u32>,
    /// Longest wait for a place, in milliseconds; none: as long as the node lets wait.
    pub queue_timeout_ms: Option<u64>,
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
    /// No instance runs, because nobody asked for it: it waits like in a held route, the node
    /// reports at once that the process is asked for, and control starts one.
    Asleep {
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
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
    /// What goes on in the classes of each environment that has any.
    #[serde(default)]
    pub classes: BTreeMap<EnvironmentId, Vec<ClassLoad>>,
    /// Instances that the node has frozen, or is about to freeze, because nobody asks anything of
    /// them. It thaws them itself.
    #[serde(default)]
    pub asleep: BTreeSet<InstanceId>,
    /// What is asked of the processes that are watched, by `app.process`.
    #[serde(default)]
    pub demand: BTreeMap<EnvironmentId, BTreeMap<String, Demand>>,
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
    /// What is kept of each environment's answers, where anything is or was.
    #[serde(default)]
    pub cache: BTreeMap<EnvironmentId, CacheCounts>,
    /// What was not let through at each environment.
    #[serde(default)]
    pub refused: BTreeMap<EnvironmentId, Refused>,
    /// Who pays for it; none where nothing is charged.
    #[serde(default)]
    pub meter: Option<MeterMark>,
    /// The node has stopped serving: these are its last counts.
    #[serde(default)]
    pub leaving: bool,
    /// Which process it is; none of one that does not say.
    #[serde(default)]
    pub process: Option<ProcessMark>,
    /// Nodes that live beside it and may serve: those whose place it takes, and those that take its
    /// own.
    #[serde(default)]
    pub beside: BTreeSet<ProcessMark>,
}

/// A process of this machine; no other one ever is the same, whatever its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessMark {
    /// Its number.
    pub pid: u32,
    /// When it began, in ticks of the kernel since the machine started.
    pub started: u64,
}

impl ProcessMark {
    /// From the text of `/proc/PID/stat`; none of a process that has ended and was not waited for
    /// yet, and where the text is not understood.
    pub fn of_stat(text: &str) -> Option<Self> {
        let pid = text.split_once(' ')?.0.parse().ok()?;
        // The name of the program comes in brackets and may hold anything, brackets too.
        let mut rest = text.rsplit_once(')')?.1.split_whitespace();
        if matches!(rest.next()?, "Z" | "X" | "x") {
            return None;
        }
        let started = rest.nth(18)?.parse().ok()?;
        Some(Self { pid, started })
    }
}

/// What was not let through at one environment since the node started, by the reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Refused {
    /// More requests than its rates let pass.
    pub rate: u64,
    /// Bodies that were too large.
    pub body: u64,
    /// Addresses that may not pass.
    pub address: u64,
    /// Without a password that is right; a browser's first request is one of these, too.
    pub password: u64,
    /// Closed for maintenance.
    pub maintenance: u64,
}

/// What was served of one environment since the node started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessCounts {
    /// Requests that were handed to an instance or answered by what is kept, each once.
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

/// What goes on in one class of the requests to one process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassLoad {
    /// The app and process, as `app.process`.
    pub target: String,
    /// The class; `default` for what has none.
    pub class: String,
    /// Requests at instances, whose answer has not ended.
    pub in_flight: u64,
    /// How many there may be, at all instances together.
    pub places: u64,
    /// Requests that wait for a place.
    pub waiting: u64,
    /// Requests that were refused since the node started, because so many waited.
    pub refused_full: u64,
    /// Requests that waited in vain since the node started.
    pub refused_late: u64,
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
    /// Requests since the node started that were answered with 500 to 599, or not at all.
    #[serde(default)]
    pub failed: u64,
}
