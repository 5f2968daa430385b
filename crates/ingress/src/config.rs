//! What a node is told at its start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use tokio::sync::watch;
use weir_ledger::wallet::Wallets;
use weir_model::guard::BackgroundWork;
use weir_model::route::MeteredInstance;
use weir_model::{EnvironmentId, InstanceId};

pub use crate::protect::addresses::ProxyHeader;
pub use crate::protect::pace::LeastPace;
use crate::sleep::Sleeping;
use crate::succession::Succession;

/// Bytes that a node's cache takes at most, unless it is told otherwise.
pub(crate) const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// How a node runs. [`NodeConfig::new`] gives defaults for everything that has one.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Where the ingress listens for HTTP. Port 0 takes a free one, see
    /// [`Node::http_address`](crate::Node::http_address).
    pub http: SocketAddr,
    /// The socket for `http`, where somebody else holds it: connections then wait in it while a
    /// node that died is started again.
    pub listener: Option<Arc<TcpListener>>,
    /// Where it listens for HTTP inside TLS; nowhere unless it is told.
    pub https: Option<SocketAddr>,
    /// The socket for `https`, where somebody else holds it.
    pub https_listener: Option<Arc<TcpListener>>,
    /// The Unix socket on which control answers.
    pub control_socket: PathBuf,
    /// The Unix socket on which the node tells control what it has counted; beside that of control
    /// unless told otherwise.
    pub metrics_socket: PathBuf,
    /// Where the last snapshot is kept, so that a node starts without control.
    pub snapshot_file: PathBuf,
    /// Where the last certificates are kept, with their keys, for nobody else to read; beside the
    /// snapshot unless told otherwise.
    pub certificates_file: PathBuf,
    /// Threads that serve, each with its own runtime; 0 takes one for each core.
    pub workers: usize,
    /// The port on which name lookups are answered at the gateways; 53 unless it is a test.
    pub dns_port: u16,
    /// Where the machine's own resolvers are listed.
    pub resolv_conf: PathBuf,
    /// From what is paid; none where nothing is charged.
    pub spending: Option<Spending>,
    /// Whether runaways are looked for.
    pub guarding: Guarding,
    /// Puts instances to sleep that nobody asks anything of; none: nobody does.
    pub sleeping: Option<Sleeping>,
    /// Its place between the node before it and the one after it.
    pub succession: Succession,
    /// Networks of load balancers that begin each connection with the PROXY protocol, as nobody
    /// else may.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Networks of proxies that are believed about for whom they speak (`X-Forwarded-For`,
    /// `Forwarded`).
    pub trusted_proxies: Vec<IpNet>,
    /// In which headers they say it.
    pub proxy_header: ProxyHeader,
    /// Bytes of memory for answers that may be shared; 0 keeps none.
    pub cache_bytes: u64,
    /// The folder in which large ones of them are kept, and how many bytes at most; nowhere unless it is
    /// told. Whatever is in the folder is removed.
    pub cache_files: Option<(PathBuf, u64)>,
    /// Bounds of time and number.
    pub limits: Limits,
}

/// Whether calls that instances make to addresses of this Weir are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarding {
    /// They are, by the rules of each route.
    On,
    /// They are taken for visitors. Only for measuring what the guard costs.
    Off,
}

/// From what requests and answers are paid, and what the ingress and those who pay for
/// instances tell each other.
#[derive(Debug, Clone)]
pub struct Spending {
    /// For at least [`NodeConfig::worker_count`] shards: each worker draws from its own.
    pub wallets: Wallets,
    /// Gets the instances that have to be paid for, out of each snapshot.
    pub metered: watch::Sender<Vec<MeteredInstance>>,
    /// Instances that are paid for now; goes into the reports, at once when it changes.
    pub paying: watch::Receiver<BTreeSet<InstanceId>>,
    /// Environments that can send past the proxy, for the reports as well; none where nobody
    /// meters that.
    pub sending: Option<watch::Receiver<BTreeSet<EnvironmentId>>>,
    /// For finding work that nobody asked for; none where nobody measures CPU time.
    pub cpu: Option<CpuWatch>,
}

/// What the ingress and those who pay for instances tell each other of CPU time that nobody asked
/// for.
#[derive(Debug, Clone)]
pub struct CpuWatch {
    /// CPU time that each instance has used since its start, in microseconds; about once a second.
    pub used: watch::Receiver<BTreeMap<InstanceId, u64>>,
    /// Gets those that work although no request is in flight there.
    pub working: watch::Sender<BTreeMap<InstanceId, BackgroundWork>>,
}

impl NodeConfig {
    /// A configuration with the default limits, a worker for each core, and port 53 for lookups.
    pub fn new(http: SocketAddr, control_socket: PathBuf, snapshot_file: PathBuf) -> Self {
        Self {
            http,
            listener: None,
            https: None,
            https_listener: None,
            metrics_socket: control_socket.with_file_name(weir_model::metrics::SOCKET),
            control_socket,
            certificates_file: snapshot_file.with_file_name("certificates.json"),
            snapshot_file,
            workers: 0,
            dns_port: 53,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
            spending: None,
            guarding: Guarding::On,
            sleeping: None,
            succession: Succession::first(),
            proxy_protocol_from: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_header: ProxyHeader::default(),
            cache_bytes: CACHE_BYTES,
            cache_files: None,
            limits: Limits::default(),
        }
    }

    /// Threads that serve: `workers`, or as many as there are cores.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            number => number,
        }
    }
}

/// Bounds of time and number on the way of a request.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest time that a TLS handshake takes.
    pub handshake_timeout: Duration,
    /// How many handshakes go on at once in each worker; the oldest one is given up for a further
    /// one.
    pub handshakes: usize,
    /// Longest wait for a complete request head, from its first byte on, or from the beginning of
    /// the connection.
    pub header_read_timeout: Duration,
    /// Longest idle time of a client's connection between two requests.
    pub keep_alive_timeout: Duration,
    /// Largest request head, in bytes.
    pub header_bytes: usize,
    /// Most fields of a request head.
    pub headers: usize,
    /// Longest path and query, in bytes.
    pub target_bytes: usize,
    /// How many connections an address of clients may have; 0 sets no bound. With IPv6 a network
    /// of 64 bits is one address.
    pub connections_per_address: usize,
    /// How many connections clients may have in all; those that are idle for longest make room for
    /// others. 0 sets no bound.
    pub connections: usize,
    /// The slowest pace at which a body is waited for, until the answer begins.
    pub body_pace: LeastPace,
    /// The slowest pace at which a client may take what is sent to it.
    pub answer_pace: LeastPace,
    /// Longest silence of a client that owes the rest of a request's body.
    pub body_idle_timeout: Duration,
    /// Longest time in which a client takes nothing of what is sent to it. Without this bound
    /// clients that do not read would keep an instance busy for ever.
    pub write_stall_timeout: Duration,
    /// How many requests of one process wait for a free instance; further ones get a 503.
    pub queue_length: usize,
    /// Longest wait for a free instance.
    pub queue_timeout: Duration,
    /// How many requests of one process wait while its route is held; further ones get a 503.
    pub held_requests: usize,
    /// Longest wait for a connection to an instance.
    pub connect_timeout: Duration,
    /// Longest wait for an instance that accepts connections, when none does.
    pub unreachable_timeout: Duration,
    /// Pause between attempts while no instance accepts connections.
    pub unreachable_pause: Duration,
    /// Idle connections kept for each instance, by each worker.
    pub idle_connections: usize,
    /// Idle connections to instances are closed after this time.
    pub idle_timeout: Duration,
    /// A request that cannot be repeated uses only a connection that was used within this time,
    /// because an instance may close an idle one at any moment.
    pub fresh_enough: Duration,
    /// Longest wait for money that the ledger may still grant.
    pub money_timeout: Duration,
    /// How long requests in flight may go on when the node stops.
    pub stop_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(10),
            handshakes: 1_000,
            header_read_timeout: Duration::from_secs(30),
            keep_alive_timeout: Duration::from_secs(60),
            header_bytes: 64 * 1024,
            headers: 200,
            target_bytes: 32 * 1024,
            connections_per_address: 2_000,
            connections: 50_000,
            body_pace: LeastPace {
                bytes_per_s: 240,
                window: Duration::from_secs(15),
            },
            answer_pace: LeastPace {
                bytes_per_s: 240,
                window: Duration::from_secs(30),
            },
            body_idle_timeout: Duration::from_secs(60),
            write_stall_timeout: Duration::from_secs(60),
            queue_length: 1_000,
            queue_timeout: Duration::from_secs(30),
            held_requests: 10_000,
            connect_timeout: Duration::from_secs(2),
            unreachable_timeout: Duration::from_secs(10),
            unreachable_pause: Duration::from_millis(50),
            idle_connections: 64,
            idle_timeout: Duration::from_secs(30),
            fresh_enough: Duration::from_secs(1),
            money_timeout: Duration::from_secs(3),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// Why a node does not start, or ended without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; is another process using it? choose another with {option} ADDRESS")]
    Bind {
        /// `--http` or `--https`.
        option: &'static str,
        /// The address asked for.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The system gives no random numbers.
    #[error("cannot draw random numbers")]
    Random {
        /// What the system says.
        source: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS")]
    Tls {
        /// What is the matter.
        source: tokio_rustls::rustls::Error,
    },
    /// A thread or its runtime cannot be made.
    #[error("cannot start a worker of the ingress")]
    Worker {
        /// What the system says.
        source: std::io::Error,
    },
    /// A worker ended by itself; the log says why. Starting the node again is right.
    #[error("a worker of the ingress ended unexpectedly")]
    WorkerEnded,
}
