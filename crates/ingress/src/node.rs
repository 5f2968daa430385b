//! The node process: what its workers share, their threads, start and end.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_guard::Sentry;
use weir_model::EnvironmentId;
use weir_model::cache::CacheCounts;
use weir_model::route_feed::Head;

use crate::access_log::{self, AccessLog};
use crate::admission::Gate;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::{Guarding, Limits, NodeConfig, NodeError, Spending};
use crate::connection::Protocols;
use crate::counters::{CounterTotals, Counters};
use crate::listen::{self, Accepted, Crew, Entrance};
use crate::metrics::{self, Series};
use crate::process::Doors;
use crate::protect::Defences;
use crate::protect::connections::Connections;
use crate::registry::{self, Registry};
use crate::route_link::Routes;
use crate::sleep::{self, Demands, Sleeping};
use crate::succession::Succession;
use crate::table::Table;
use crate::tls::{Handshakes, Ports, Tls};
use crate::{background, control_link, guard, kept_file, route_link, tcp, upstream};

/// So long counts of what is kept of answers are good enough for reports.
const COUNTS_AGE: Duration = Duration::from_millis(900);

/// Runs a node until `stop`: binds, serves, ends the requests in flight.
///
/// # Errors
/// The address cannot be listened on, or a worker cannot start or ended by itself.
pub async fn run_node(config: NodeConfig, stop: CancellationToken) -> Result<(), NodeError> {
    Node::bind(config)?.run(stop).await
}

/// A node whose socket listens; connections wait there until [`Node::run`].
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    listeners: Vec<(Entrance, StdListener)>,
    http_address: SocketAddr,
    https_address: Option<SocketAddr>,
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    inboxes: Vec<mpsc::UnboundedReceiver<Accepted>>,
}

/// What all workers share. On the way of a request only atomics and immutable data are used.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) limits: Limits,
    pub(crate) cache: Arc<Cache>,
    pub(crate) spending: Option<Spending>,
    pub(crate) sentry: Option<Sentry>,
    pub(crate) sleeping: Option<Sleeping>,
    /// What is asked of the processes that are watched.
    pub(crate) demands: Mutex<Demands>,
    pub(crate) tls: Tls,
    pub(crate) defences: Arc<Defences>,
    pub(crate) clock: Clock,
    pub(crate) table: ArcSwap<Table>,
    /// The epoch of the newest table, for those who wait for a change.
    changes: watch::Sender<u64>,
    pub(crate) applied_generation: AtomicU64,
    pub(crate) routes: Routes,
    /// What was kept of answers when it was counted last: that takes a while with many environments.
    cache_counts: Mutex<Option<(Instant, BTreeMap<EnvironmentId, CacheCounts>)>>,
    registry: Mutex<Registry>,
    pub(crate) report_wanted: Arc<Notify>,
    waiting: AtomicU64,
    pub(crate) tickets: AtomicU64,
    pub(crate) incarnation: u64,
    /// Where requests are counted that reach no route.
    pub(crate) unrouted: Arc<Series>,
    pub(crate) access_log: Arc<AccessLog>,
    /// Where requests wait before the first table.
    pub(crate) starting: Arc<Gate>,
    pub(crate) succession: Succession,
}

/// One thread that serves.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) index: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: Counters,
    pub(crate) protocols: Protocols,
    pub(crate) handshakes: Handshakes,
    pub(crate) client_connections: Arc<Connections>,
    pub(crate) stop: CancellationToken,
    /// Connections of clients, upgraded ones among them.
    pub(crate) connections: TaskTracker,
    /// How many connections it serves; the next one goes to who has the fewest.
    pub(crate) open: AtomicUsize,
    pub(crate) inbox: mpsc::UnboundedSender<Accepted>,
}

impl Node {
    /// Binds the sockets and prepares everything that can fail.
    ///
    /// # Errors
    /// An address cannot be listened on, or the system gives no random numbers.
    pub fn bind(config: NodeConfig) -> Result<Self, NodeError> {
        let (listener, http_address) = listen_on(config.http, config.listener.as_deref(), "--http")?;
        let mut listeners = vec![(Entrance::Http, listener)];
        let mut https_address = None;
        if let Some(address) = config.https {
            let (listener, address) = listen_on(address, config.https_listener.as_deref(), "--https")?;
            listeners.push((Entrance::Https, listener));
            https_address = Some(address);
        }
        let workers = config.worker_count();
        let ports = Ports {
            http: http_address.port(),
            https: https_address.map(|address| address.port()),
        };
        let shared = Arc::new(Shared::new(&config, ports)?);
        let stop = CancellationToken::new();
        let (members, inboxes) = (0..workers).map(|index| worker(index, workers, &shared, &stop)).unzip();
        let crew = Arc::new(Crew { members, stop });
        Ok(Self {
            config,
            listeners,
            http_address,
            https_address,
            shared,
            crew,
            inboxes,
        })
    }

    /// Where it listens.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Where it listens for TLS.
    pub fn https_address(&self) -> Option<SocketAddr> {
        self.https_address
    }

    /// Sums of what the workers counted; callable while it runs.
    pub fn counters(&self) -> impl Fn() -> CounterTotals + Send + Sync + use<> {
        let crew = Arc::clone(&self.crew);
        move || {
            let mut totals = CounterTotals::default();
            for worker in &crew.members {
                worker.counters.add_to(&mut totals);
            }
            totals
        }
    }

    /// Serves until `stop`, or until another node takes its place; then accepts no more and lets
    /// the requests in flight end, at most for [`Limits::stop_timeout`] or for as long as it may
    /// drain. What it serves by it follows to the end.
    ///
    /// # Errors
    /// A worker cannot start, or ended by itself.
    pub async fn run(self, stop: CancellationToken) -> Result<(), NodeError> {
        let (shared, crew, config) = (Arc::clone(&self.shared), Arc::clone(&self.crew), self.config.clone());
        let _halt_on_drop = crew.stop.clone().drop_guard();
        let gone = CancellationToken::new();
        let _gone_on_drop = gone.clone().drop_guard();
        if let Some(set) = kept_file::read_or_warn(&config.certificates_file) {
            shared.tls.apply(&set);
        }
        route_link::start(&shared, &config.snapshot_file);
        let beside = TaskTracker::new();
        beside.spawn(control_link::run(Arc::clone(&shared), config.clone(), gone.clone()));
        beside.spawn(
            gone.clone()
                .run_until_cancelled_owned(background::watch(Arc::clone(&shared))),
        );
        beside.spawn(gone.clone().run_until_cancelled_owned(sleep::run(Arc::clone(&shared))));
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => false,
            () = shared.succession.opened() => true,
        };
        let served = match opened {
            true => self.serve(&beside, stop).await,
            false => Ok(()),
        };
        crew.stop.cancel();
        gone.cancel();
        beside.close();
        beside.wait().await;
        access_log::flush(&shared, &config.control_socket).await;
        control_link::report_leaving(&shared, &config.control_socket).await;
        served
    }

    /// Accepts and serves, until all connections have ended that it may wait for.
    async fn serve(self, beside: &TaskTracker, stop: CancellationToken) -> Result<(), NodeError> {
        let Self {
            config,
            listeners,
            http_address,
            https_address,
            shared,
            crew,
            inboxes,
        } = self;
        let failed = CancellationToken::new();
        let mut threads = Vec::new();
        for (worker, inbox) in crew.members.iter().zip(inboxes) {
            let listeners = clone_all(&listeners).map_err(|source| NodeError::Worker { source })?;
            threads.push(start_worker(
                Arc::clone(worker),
                Arc::clone(&crew),
                listeners,
                inbox,
                failed.clone(),
            )?);
        }
        drop(listeners);
        let workers = threads.len();
        tracing::info!(http.address = %http_address, https.address = ?https_address, workers, "the ingress listens");
        let https = https_address.map(|address| (Entrance::Https, address));
        let everywhere = [(Entrance::Http, http_address)].into_iter().chain(https).collect();
        beside.spawn(metrics::serve(
            Arc::clone(&shared),
            Arc::clone(&crew),
            config.metrics_socket.clone(),
        ));
        beside.spawn(tcp::doors::serve(
            Arc::clone(&shared),
            Arc::clone(&crew),
            http_address.ip(),
        ));
        beside.spawn(listen::serve_gateways(
            Arc::clone(&shared),
            Arc::clone(&crew),
            config,
            everywhere,
        ));
        let ended = tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = shared.succession.drained() => Ok(()),
            () = failed.cancelled() => Err(NodeError::WorkerEnded),
        };
        crew.stop.cancel();
        shared.succession.let_go();
        let join = move || threads.into_iter().map(JoinHandle::join).all(|end| end.is_ok());
        let mut joined = tokio::task::spawn_blocking(join);
        let joined = tokio::select! {
            joined = &mut joined => joined,
            () = stop.cancelled() => {
                shared.succession.hurry();
                joined.await
            }
        };
        match joined {
            Ok(true) => ended,
            _ => Err(NodeError::WorkerEnded),
        }
    }
}

impl Worker {
    /// Ready once connections on which nothing goes on are to be closed.
    pub(crate) async fn idle_over(&self) {
        self.stop.cancelled().await;
        self.shared.succession.linger().await;
    }
}

/// A socket for everyone, and where it listens.
fn listen_on(
    address: SocketAddr,
    held: Option<&StdListener>,
    option: &'static str,
) -> Result<(StdListener, SocketAddr), NodeError> {
    let listener = match held {
        Some(listener) => listener.try_clone().and_then(listen::adopt),
        None => listen::bind(address),
    };
    let bound = listener.and_then(|listener| {
        let address = listener.local_addr()?;
        Ok((listener, address))
    });
    bound.map_err(|source| NodeError::Bind {
        option,
        address,
        source,
    })
}

fn clone_all(listeners: &[(Entrance, StdListener)]) -> io::Result<Vec<(Entrance, StdListener)>> {
    let clone = |(entrance, listener): &(Entrance, StdListener)| Ok((*entrance, listener.try_clone()?));
    listeners.iter().map(clone).collect()
}

fn worker(
    index: usize,
    workers: usize,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> (Arc<Worker>, mpsc::UnboundedReceiver<Accepted>) {
    let (sender, inbox) = mpsc::unbounded_channel();
    let worker = Worker {
        index,
        shared: Arc::clone(shared),
        counters: Counters::default(),
        protocols: Protocols::new(&shared.limits),
        handshakes: Handshakes::new(shared.limits.handshakes),
        client_connections: Arc::new(Connections::new(shared.limits.connections.div_ceil(workers))),
        stop: stop.child_token(),
        connections: TaskTracker::new(),
        open: AtomicUsize::new(0),
        inbox: sender,
    };
    (Arc::new(worker), inbox)
}

fn start_worker(
    worker: Arc<Worker>,
    crew: Arc<Crew>,
    listeners: Vec<(Entrance, StdListener)>,
    inbox: mpsc::UnboundedReceiver<Accepted>,
    failed: CancellationToken,
) -> Result<JoinHandle<io::Result<()>>, NodeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| NodeError::Worker { source })?;
    let name = format!("weir-worker-{}", worker.index);
    let body = move || {
        // Also when it panics: without one of its workers a node is not whole.
        let _failed = failed.drop_guard();
        runtime.block_on(async {
            let idle = tokio::spawn(close_idle_now_and_then(Arc::clone(&worker)));
            listen::accept(&worker, &crew, listeners, inbox).await?;
            worker.connections.close();
            let limits = &worker.shared.limits;
            tokio::select! {
                biased;
                () = worker.connections.wait() => {}
                () = worker.shared.succession.patience(limits.stop_timeout) => {
                    let left = worker.connections.len();
                    tracing::warn!(connections = left, "cut connections that did not end while the node stopped");
                }
            }
            idle.abort();
            Ok(())
        })
    };
    std::thread::Builder::new()
        .name(name)
        .spawn(body)
        .map_err(|source| NodeError::Worker { source })
}

async fn close_idle_now_and_then(worker: Arc<Worker>) {
    let mut ticks = tokio::time::interval(worker.shared.limits.idle_timeout / 4);
    loop {
        ticks.tick().await;
        upstream::close_idle(&worker);
    }
}

impl Shared {
    fn new(config: &NodeConfig, ports: Ports) -> Result<Self, NodeError> {
        let clock = Clock::start();
        let sentry = match config.guarding {
            Guarding::On => Some(guard::sentry(config.worker_count())?),
            Guarding::Off => None,
        };
        let report_wanted = Arc::new(Notify::new());
        let defences = Arc::new(Defences::new(config).map_err(|source| NodeError::Random { source })?);
        let files = config.cache_files.as_ref();
        let files = files.map(|(folder, bytes)| (folder.as_path(), *bytes));
        let cache = Arc::new(Cache::new(config.cache_bytes, files));
        let doors = Doors {
            cache: Arc::clone(&cache),
            defences: Some(Arc::clone(&defences)),
            wallets: config.spending.as_ref().map(|spending| spending.wallets.clone()),
            sentry: sentry.clone(),
        };
        let registry = Registry::new(config.worker_count(), clock, Arc::clone(&report_wanted), doors);
        Ok(Self {
            cache,
            limits: config.limits.clone(),
            spending: config.spending.clone(),
            sentry,
            sleeping: config.sleeping.clone(),
            demands: Mutex::default(),
            defences,
            tls: Tls::new(ports).map_err(|source| NodeError::Tls { source })?,
            clock,
            table: ArcSwap::from_pointee(Table::default()),
            changes: watch::Sender::new(0),
            applied_generation: AtomicU64::new(0),
            routes: Routes::default(),
            cache_counts: Mutex::default(),
            unrouted: registry.series().unrouted(),
            access_log: registry.series().access_log(),
            registry: Mutex::new(registry),
            report_wanted,
            waiting: AtomicU64::new(0),
            tickets: AtomicU64::new(0),
            // Below 2^53, so that every reader of JSON gets it whole.
            incarnation: fastrand::u64(1..1 << 53),
            starting: Arc::new(Gate::new(clock)),
            succession: config.succession.clone(),
        })
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves by what the registry was told of from now on. When it returns, each request that was
    /// routed by older routes of an environment that changed is counted at its instance, or is
    /// routed anew (see [`Era::begin`](crate::era::Era::begin)).
    pub(crate) fn serve_by(&self, head: &Head) {
        let mut registry = self.registry();
        let mut compiled = registry.finish();
        let (epoch, hosts) = (compiled.table.epoch, compiled.table.hosts.len());
        let metered = compiled.metered.take();
        registry::install(compiled, |table| self.table.store(Arc::new(table)));
        self.defences.sweep();
        self.table.load().tcp.close_unpaid();
        self.cache.purge(&head.cache_purges);
        self.applied_generation.store(head.generation, Ordering::SeqCst);
        drop(registry);
        self.changes.send_replace(epoch);
        if let (Some(spending), Some(metered)) = (&self.spending, metered) {
            spending.metered.send_replace(metered);
        }
        self.report_wanted.notify_one();
        tracing::debug!(generation = head.generation, hosts, "serving by new routes");
    }

    /// What is kept of answers, as of a second ago at most; `exactly` as of now.
    pub(crate) fn cache_counts(&self, exactly: bool) -> BTreeMap<EnvironmentId, CacheCounts> {
        let mut last = self.cache_counts.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = last.as_ref().filter(|(at, _)| !exactly && at.elapsed() < COUNTS_AGE);
        if let Some((_, counts)) = fresh {
            return counts.clone();
        }
        let counts = self.cache.counts();
        *last = Some((Instant::now(), counts.clone()));
        counts
    }

    /// Waits until there is a newer table than that of `epoch`; false at the deadline.
    pub(crate) async fn table_changed(&self, epoch: u64, deadline: Instant) -> bool {
        let mut changes = self.changes.subscribe();
        if *changes.borrow_and_update() > epoch {
            return true;
        }
        timeout_at(deadline, changes.changed())
            .await
            .is_ok_and(|changed| changed.is_ok())
    }

    /// For those who act on every new table.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Counts one waiting request until the guard is dropped.
    pub(crate) fn waiting(&self) -> WaitingGuard<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        WaitingGuard { waiting: &self.waiting }
    }

    pub(crate) fn waiting_now(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// A request that waits.
pub(crate) struct WaitingGuard<'a> {
    waiting: &'a AtomicU64,
}

impl Drop for WaitingGuard<'_> {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
