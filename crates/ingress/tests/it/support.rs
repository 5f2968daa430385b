//! A control, apps and clients for tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_ingress::{CounterTotals, Limits, Node, NodeConfig, NodeError};
use weir_model::access_log::{AccessBatch, AccessEntry};
use weir_model::certificate::CertificateSet;
use weir_model::route::{Backend, BackendLoad, HostRoutes, NodeReport, Route, RouteSnapshot, RouteState};
use weir_model::{EnvironmentId, InstanceId};

pub(crate) type AppBody = BoxBody<Bytes, Infallible>;

/// What has come once a head is whole, or the stream has ended.
pub(crate) async fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut read = Vec::new();
    while !read.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut read).await.unwrap_or_default() == 0 {
            break;
        }
    }
    read
}

/// Waits until the condition holds; panics with `what` after ten seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..2_000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("did not come about within ten seconds: {what}");
}

/// Fails the test when it hangs.
pub(crate) async fn within<T>(seconds: u64, what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(seconds), work).await {
        Ok(value) => value,
        Err(_) => panic!("took longer than {seconds} s: {what}"),
    }
}

/// The control that a test plays: it serves the snapshot and the certificates, and collects the
/// reports.
pub(crate) struct Control {
    pub(crate) socket: PathBuf,
    desk: Desk,
    task: JoinHandle<()>,
}

/// What it gives out and gets.
#[derive(Clone)]
struct Desk {
    snapshot: watch::Sender<RouteSnapshot>,
    certificates: watch::Sender<CertificateSet>,
    reports: Arc<Mutex<Vec<NodeReport>>>,
    access: Arc<Mutex<Vec<AccessBatch>>>,
}

impl Control {
    pub(crate) fn start(folder: &Path) -> Self {
        let socket = folder.join("control.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let desk = Desk {
            snapshot: watch::channel(RouteSnapshot::default()).0,
            certificates: watch::channel(CertificateSet::default()).0,
            reports: Arc::default(),
            access: Arc::default(),
        };
        let served = desk.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let served = served.clone();
                let service = service_fn(move |request| served.clone().answer(request));
                connections.spawn(async move {
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { socket, desk, task }
    }

    /// Gives out certificates under the next version, and waits until the node serves by them.
    pub(crate) async fn certify(&self, mut set: CertificateSet) {
        self.desk.certificates.send_modify(|current| {
            set.version = current.version + 1;
            *current = set;
        });
        let version = self.desk.certificates.borrow().version;
        eventually("the certificates are applied", || {
            self.last_report()
                .is_some_and(|report| report.applied_certificates == version)
        })
        .await;
    }

    /// Gives out a snapshot under the next generation, which is returned.
    pub(crate) fn publish(&self, mut snapshot: RouteSnapshot) -> u64 {
        self.desk.snapshot.send_modify(|current| {
            snapshot.generation = current.generation + 1;
            *current = snapshot;
        });
        self.desk.snapshot.borrow().generation
    }

    pub(crate) fn last_report(&self) -> Option<NodeReport> {
        self.desk.reports.lock().unwrap().last().cloned()
    }

    /// The entries of access logs that came so far.
    pub(crate) fn access_entries(&self) -> Vec<AccessEntry> {
        let batches = self.desk.access.lock().unwrap();
        batches.iter().flat_map(|batch| batch.entries.clone()).collect()
    }

    pub(crate) fn reports_of_generation(&self, generation: u64) -> Vec<NodeReport> {
        let reports = self.desk.reports.lock().unwrap();
        reports
            .iter()
            .filter(|report| report.applied_generation == generation)
            .cloned()
            .collect()
    }

    pub(crate) fn load(&self, instance: InstanceId) -> BackendLoad {
        self.last_report()
            .and_then(|report| report.load.get(&instance).copied())
            .unwrap_or_default()
    }

    pub(crate) async fn applied(&self, generation: u64) {
        eventually("the snapshot is applied", || {
            self.last_report()
                .is_some_and(|report| report.applied_generation == generation)
        })
        .await;
    }

    pub(crate) async fn publish_and_wait(&self, snapshot: RouteSnapshot) -> u64 {
        let generation = self.publish(snapshot);
        self.applied(generation).await;
        generation
    }

    /// Control dies.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Desk {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        if request.method() == Method::POST {
            let is_access = request.uri().path() == "/node/access-log";
            let body = request.into_body().collect().await.unwrap().to_bytes();
            if is_access {
                self.access.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
                return Ok(Response::builder().status(204).body(Full::default()).unwrap());
            }
            self.reports
                .lock()
                .unwrap()
                .push(serde_json::from_slice(&body).unwrap());
            return Ok(Response::builder().status(204).body(Full::default()).unwrap());
        }
        let query = request.uri().query().unwrap_or_default();
        // Like a control of an earlier version, it knows nothing of differences.
        let after = query.split('&').find_map(|one| one.strip_prefix("after="));
        let after: u64 = after.unwrap().parse().unwrap();
        let newer = match request.uri().path() {
            "/node/snapshot" => newer(&self.snapshot, |snapshot| snapshot.generation > after).await,
            "/node/certificates" => newer(&self.certificates, |set| set.version > after).await,
            other => panic!("the node asks for {other}"),
        };
        Ok(match newer {
            Some(text) => Response::new(Full::from(text)),
            None => Response::builder().status(204).body(Full::default()).unwrap(),
        })
    }
}

async fn newer<T: serde::Serialize>(given: &watch::Sender<T>, is_newer: impl FnMut(&T) -> bool) -> Option<Vec<u8>> {
    let mut given = given.subscribe();
    let found = tokio::time::timeout(Duration::from_secs(1), given.wait_for(is_newer)).await;
    Some(serde_json::to_vec(&*found.ok()?.unwrap()).unwrap())
}

/// A running node, with its control.
pub(crate) struct TestNode {
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    pub(crate) folder: TempDir,
    pub(crate) config: NodeConfig,
    /// Where it listens for TLS, if it was told to.
    pub(crate) https: Option<SocketAddr>,
    counters: Box<dyn Fn() -> CounterTotals + Send + Sync>,
    stop: CancellationToken,
    ended: Option<JoinHandle<Result<(), NodeError>>>,
}

impl TestNode {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut NodeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let control = Control::start(folder.path());
        let http = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = NodeConfig::new(http, control.socket.clone(), folder.path().join("snapshot.json"));
        config.workers = 2;
        config.limits = Limits {
            stop_timeout: Duration::from_secs(2),
            ..Limits::default()
        };
        change(&mut config);
        let (address, https, counters, stop, ended) = run(config.clone());
        Self {
            address,
            https,
            control,
            folder,
            config,
            counters,
            stop,
            ended: Some(ended),
        }
    }

    pub(crate) fn counters(&self) -> CounterTotals {
        (self.counters)()
    }

    /// Asks the node to stop and waits for its end.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        if let Some(ended) = self.ended.take() {
            within(10, "the node stops", ended).await.unwrap().unwrap();
        }
    }

    /// Starts it again with the same folder.
    pub(crate) fn start_again(&mut self) {
        let (address, https, counters, stop, ended) = run(self.config.clone());
        (self.address, self.https, self.counters) = (address, https, counters);
        (self.stop, self.ended) = (stop, Some(ended));
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path)).await
    }

    /// One request on a connection of its own, to the host `shop.localhost`.
    pub(crate) async fn send(&self, request: http::request::Builder) -> Answer {
        let mut client = Client::connect(self.address).await;
        client.send(request.body(empty()).unwrap()).await
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

type Started = (
    SocketAddr,
    Option<SocketAddr>,
    Box<dyn Fn() -> CounterTotals + Send + Sync>,
    CancellationToken,
    JoinHandle<Result<(), NodeError>>,
);

fn run(config: NodeConfig) -> Started {
    let node = Node::bind(config).unwrap();
    let (address, https) = (node.http_address(), node.https_address());
    let (counters, stop) = (Box::new(node.counters()), CancellationToken::new());
    let ended = tokio::spawn(node.run(stop.clone()));
    (address, https, counters, stop, ended)
}

/// A keep-alive connection of a client.
pub(crate) struct Client {
    sender: hyper::client::conn::http1::SendRequest<AppBody>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    /// The reason of a page of Weir's own.
    pub(crate) fn weir(&self) -> Option<&str> {
        self.headers.get("x-weir").map(|value| value.to_str().unwrap())
    }
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    pub(crate) async fn over(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection.with_upgrades());
        Self { sender }
    }

    pub(crate) async fn send(&mut self, request: Request<AppBody>) -> Answer {
        self.try_send(request).await.unwrap()
    }

    pub(crate) async fn try_send(&mut self, request: Request<AppBody>) -> Result<Answer, hyper::Error> {
        let answer = self.begin(request).await?;
        let (parts, body) = answer.into_parts();
        let collected = body.collect().await?;
        let trailers = collected.trailers().cloned();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body: collected.to_bytes(),
            trailers,
        })
    }

    /// Sends, and gives the answer once its head is there.
    pub(crate) async fn begin(&mut self, mut request: Request<AppBody>) -> Result<Response<Incoming>, hyper::Error> {
        if !request.headers().contains_key("host") {
            request.headers_mut().insert("host", "shop.localhost".parse().unwrap());
        }
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }
}

pub(crate) fn empty() -> AppBody {
    Empty::new().boxed()
}

pub(crate) fn full(data: impl Into<Bytes>) -> AppBody {
    Full::new(data.into()).boxed()
}

/// Sends bytes as they are and reads until the node closes, or is silent for half a second.
pub(crate) async fn raw(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut read = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(Ok(length @ 1..)) = tokio::time::timeout(Duration::from_millis(500), stream.read(&mut buffer)).await {
        read.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// An app behind the node.
pub(crate) struct App {
    pub(crate) backend: Backend,
    pub(crate) requests: Arc<AtomicU64>,
    pub(crate) connections: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

fn new_instance() -> InstanceId {
    InstanceId::from_parts(1, u128::from(NUMBER.fetch_add(1, Ordering::Relaxed)))
}

impl App {
    /// An app that answers by the function.
    pub(crate) async fn start<F, R>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Response<AppBody>> + Send + 'static,
    {
        let requests = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&requests);
        let mut app = Self::start_raw(move |stream| {
            let (answer, counted) = (answer.clone(), Arc::clone(&counted));
            async move {
                let service = service_fn(move |request| {
                    counted.fetch_add(1, Ordering::Relaxed);
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let connection =
                    hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                let _ = connection.with_upgrades().await;
            }
        })
        .await;
        app.requests = requests;
        app
    }

    /// An app that does with each connection what it likes.
    pub(crate) async fn start_raw<F, R>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Backend {
            instance: new_instance(),
            address: listener.local_addr().unwrap(),
        };
        let connections = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut open = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                open.spawn(serve(stream));
            }
        });
        Self {
            backend,
            requests: Arc::default(),
            connections,
            task,
        }
    }

    /// An app that answers every request with its text.
    pub(crate) async fn says(text: &'static str) -> Self {
        Self::start(move |_| async move { Response::new(full(text)) }).await
    }

    /// It dies, with all its connections.
    pub(crate) fn kill(&self) {
        self.task.abort();
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A backend on which nobody listens.
pub(crate) async fn dead_backend() -> Backend {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Backend {
        instance: new_instance(),
        address: listener.local_addr().unwrap(),
    }
}

/// Everything under `shop.localhost` goes to the apps.
pub(crate) fn routes(pool: &[&App]) -> RouteSnapshot {
    let pool = pool.iter().map(|app| app.backend.clone()).collect();
    snapshot(vec![route("/", RouteState::Serve, pool)])
}

pub(crate) fn in_state(state: RouteState) -> RouteSnapshot {
    snapshot(vec![route("/", state, Vec::new())])
}

pub(crate) fn route(prefix: &str, state: RouteState, pool: Vec<Backend>) -> Route {
    Route {
        path_prefix: prefix.to_owned(),
        target: format!("app{}.web", prefix.replace('/', "-").trim_end_matches('-')),
        state,
        pool,
        concurrency: 1_000,
        first_byte_timeout_ms: 10_000,
        guard: weir_model::guard::GuardRules::default(),
        ..Route::default()
    }
}

pub(crate) fn snapshot(routes: Vec<Route>) -> RouteSnapshot {
    let host = HostRoutes {
        environment: EnvironmentId::from_parts(1, 1),
        title: "shop".to_owned(),
        routes,
        https: weir_model::certificate::HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    };
    RouteSnapshot {
        hosts: BTreeMap::from([("shop.localhost".to_owned(), host)]),
        ..RouteSnapshot::default()
    }
}

/// Changes the only route of the snapshot.
pub(crate) fn with_route(mut snapshot: RouteSnapshot, change: impl Fn(&mut Route)) -> RouteSnapshot {
    for route in snapshot.hosts.values_mut().flat_map(|host| &mut host.routes) {
        change(route);
    }
    snapshot
}

pub(crate) fn with_draining(mut snapshot: RouteSnapshot, apps: &[&App]) -> RouteSnapshot {
    snapshot.draining = apps.iter().map(|app| app.backend.clone()).collect();
    snapshot
}

pub(crate) fn with_gateway(mut snapshot: RouteSnapshot, gateway: IpAddr) -> RouteSnapshot {
    snapshot.gateways = vec![gateway];
    snapshot
}
