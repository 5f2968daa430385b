//! Services that speak TCP: carried whole, counted, paid, switched and woken like requests.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::version;
use weir_ingress::Succession;
use weir_ledger::Sku;
use weir_ledger::protocol::DenialReason;
use weir_model::route::{Backend, Route, RouteSnapshot, RouteState};
use weir_model::tcp::{TcpListen, TcpRoute, TcpSpec, TcpTls, path_prefix};
use weir_model::{AppName, EnvironmentId, ProcessName, TcpServiceName};

use crate::authority::*;
use crate::fund::*;
use crate::memory::{is_alone, resident};
use crate::paying::{PLENTY, pays_from};
use crate::support::*;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A port on which nobody listens.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind((LOCAL, 0)).await.unwrap();
    listener.local_addr().unwrap().port()
}

/// The service `db` of `shop.db`, at the port of its first instance.
pub(crate) fn service(pool: Vec<Backend>, listen: Option<u16>, change: impl FnOnce(&mut TcpRoute)) -> TcpRoute {
    let name = TcpServiceName::new("db").unwrap();
    let mut tcp = TcpRoute {
        environment: EnvironmentId::from_parts(1, 1),
        title: "shop".to_owned(),
        app: AppName::new("shop").unwrap(),
        listen,
        hosts: Vec::new(),
        route: Route {
            path_prefix: path_prefix(&name),
            target: "shop.db".to_owned(),
            state: RouteState::Serve,
            ..Route::default()
        },
        spec: TcpSpec {
            name,
            process: ProcessName::new("db").unwrap(),
            port: pool.first().map_or(1, |backend| backend.address.port()),
            listen: TcpListen::Any,
            tls: None,
            connections: 100,
            idle_s: None,
            proxy_protocol: false,
            allow: Vec::new(),
            deny: Vec::new(),
        },
    };
    tcp.route.pool = pool;
    change(&mut tcp);
    tcp
}

fn with_service(tcp: TcpRoute) -> RouteSnapshot {
    RouteSnapshot {
        tcp: vec![tcp],
        ..in_state(RouteState::Undeployed)
    }
}

/// Gives back what comes, until the client has ended; then says that it has ended.
async fn echo_app() -> App {
    App::start_raw(|mut stream| async move {
        let (mut reader, mut writer) = stream.split();
        if tokio::io::copy(&mut reader, &mut writer).await.is_ok() {
            let _ = writer.write_all(b"the end").await;
        }
    })
    .await
}

/// Says its name, then gives back what comes.
async fn named_app(name: &'static str) -> App {
    App::start_raw(move |mut stream| async move {
        if stream.write_all(name.as_bytes()).await.is_ok() {
            let (mut reader, mut writer) = stream.split();
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        }
    })
    .await
}

/// A node with a service at a port of its own.
struct Served {
    node: TestNode,
    port: u16,
}

impl Served {
    async fn by(node: TestNode, app: &App, change: impl FnOnce(&mut TcpRoute)) -> Self {
        let port = free_port().await;
        let served = Self { node, port };
        served.publish(&[app], change).await;
        served
    }

    /// The service has these instances from now on.
    async fn publish(&self, pool: &[&App], change: impl FnOnce(&mut TcpRoute)) {
        let pool = pool.iter().map(|app| app.backend.clone()).collect();
        let snapshot = with_service(service(pool, Some(self.port), change));
        self.node.control.publish_and_wait(snapshot).await;
    }

    async fn connect(&self) -> TcpStream {
        connect((LOCAL, self.port).into()).await
    }
}

/// The port is opened a moment after the routes are there.
async fn connect(address: SocketAddr) -> TcpStream {
    let start = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return stream,
            Err(error) => assert!(start.elapsed().as_secs() < 10, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn says(stream: &mut (impl AsyncReadExt + Unpin), expected: &str) {
    let mut read = vec![0; expected.len()];
    within(10, "an answer", stream.read_exact(&mut read)).await.unwrap();
    assert_eq!(String::from_utf8_lossy(&read), expected);
}

async fn is_closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let read = within(10, "the end", stream.read(&mut [0; 1])).await;
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");
}

async fn echoes(stream: &mut (impl AsyncReadExt + AsyncWriteExt + Unpin), words: &str) {
    stream.write_all(words.as_bytes()).await.unwrap();
    says(stream, words).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_go_both_ways_and_each_side_ends_by_itself() {
    let (node, app) = (TestNode::start().await, echo_app().await);
    let served = Served::by(node, &app, |_| {}).await;
    let mut stream = served.connect().await;
    echoes(&mut stream, "hello").await;
    let instance = app.backend.instance;
    eventually("counted like a websocket", || {
        let load = served.node.control.load(instance);
        (load.upgraded, load.in_flight) == (1, 0)
    })
    .await;
    stream.shutdown().await.unwrap();
    says(&mut stream, "the end").await;
    is_closed(&mut stream).await;
    eventually("counted out", || served.node.control.load(instance).upgraded == 0).await;
    let bytes = u64::try_from("hello".len() + "the end".len()).unwrap();
    eventually("counted for the audit", || {
        let report = served.node.control.last_report().unwrap();
        let access = report.access.get(&environment());
        access.is_some_and(|access| (access.requests, access.open, access.egress_bytes) == (1, 0, bytes))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gigabyte_goes_through_in_constant_memory_at_the_pace_of_the_slower_side() {
    const GIGABYTE: usize = 1 << 30;
    if !is_alone("tcp::a_gigabyte_goes_through_in_constant_memory_at_the_pace_of_the_slower_side") {
        return;
    }
    let app = App::start_raw(|mut stream| async move {
        let block = vec![7; 256 << 10];
        let mut left = GIGABYTE;
        while left > 0 {
            let length = left.min(block.len());
            if stream.write_all(&block[..length]).await.is_err() {
                return;
            }
            left -= length;
        }
    })
    .await;
    let served = Served::by(TestNode::start().await, &app, |_| {}).await;
    let mut stream = served.connect().await;
    let mut buffer = vec![0; 256 << 10];
    stream.read_exact(&mut buffer).await.unwrap();
    // Who does not read is not read for: what is under way stays in buffers of the kernel.
    let before = resident();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (mut received, mut most) = (buffer.len(), before);
    let start = Instant::now();
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        received += length;
        if received % (64 << 20) < length {
            most = most.max(resident());
        }
    }
    assert_eq!(received, GIGABYTE);
    let grown = most.saturating_sub(before);
    eprintln!("1 GiB in {:?}; memory grew by {} KiB", start.elapsed(), grown >> 10);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn new_connections_go_to_the_new_release_and_old_ones_go_on_until_their_instance_goes() {
    let (old, new) = (named_app("old").await, named_app("new").await);
    let served = Served::by(TestNode::start().await, &old, |_| {}).await;
    let mut first = served.connect().await;
    says(&mut first, "old").await;
    let new_service = |served: &Served| service(vec![new.backend.clone()], Some(served.port), |_| {});
    let switched = with_draining(with_service(new_service(&served)), &[&old]);
    served.node.control.publish_and_wait(switched).await;
    let mut second = served.connect().await;
    says(&mut second, "new").await;
    echoes(&mut first, "still here").await;
    assert_eq!(served.node.control.load(old.backend.instance).upgraded, 1);
    served
        .node
        .control
        .publish_and_wait(with_service(new_service(&served)))
        .await;
    is_closed(&mut first).await;
    echoes(&mut second, "and so am I").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_wait_while_their_route_is_held_or_asleep_and_control_hears_of_it() {
    let app = named_app("awake").await;
    let served = Served::by(TestNode::start().await, &app, |_| {}).await;
    for state in [
        RouteState::Hold { timeout_ms: 20_000 },
        RouteState::Asleep { timeout_ms: 20_000 },
    ] {
        served.publish(&[], |tcp| tcp.route.state = state.clone()).await;
        let mut stream = served.connect().await;
        eventually("it waits", || {
            served
                .node
                .control
                .last_report()
                .is_some_and(|report| report.waiting == 1)
        })
        .await;
        served.publish(&[&app], |_| {}).await;
        says(&mut stream, "awake").await;
    }
    served
        .publish(&[], |tcp| tcp.route.state = RouteState::Hold { timeout_ms: 100 })
        .await;
    is_closed(&mut served.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_does_not_answer_is_passed_over() {
    let app = named_app("alive").await;
    let served = Served::by(TestNode::start().await, &app, |_| {}).await;
    let mut dead = dead_backend().await;
    // Every instance listens on the port of the service: this one has another address.
    dead.address = SocketAddr::new("127.0.0.99".parse().unwrap(), app.backend.address.port());
    let pool = vec![dead, app.backend.clone()];
    let snapshot = with_service(service(pool, Some(served.port), |tcp| {
        tcp.spec.port = app.backend.address.port();
    }));
    served.node.control.publish_and_wait(snapshot).await;
    for _ in 0..8 {
        says(&mut served.connect().await, "alive").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_to_the_client_is_paid_and_without_money_the_connection_ends() {
    let app = App::start_raw(|mut stream| async move {
        let block = [b'x'; 4096];
        while stream.write_all(&block).await.is_ok() {}
    })
    .await;
    let bytes = 1_000_000;
    let fund = Fund::of(REQUEST_NANO + bytes + LINES_NANO);
    let node = TestNode::start_with(pays_from(&fund)).await;
    let served = Served::by(node, &app, |_| {}).await;
    let mut stream = served.connect().await;
    let (mut received, mut buffer) = (0_u64, vec![0; 64 << 10]);
    while let Ok(length @ 1..) = within(20, "bytes, or the end", stream.read(&mut buffer)).await {
        received += u64::try_from(length).unwrap();
    }
    let all = u64::try_from(bytes).unwrap();
    assert!(received <= all && received > all * 9 / 10, "{received}");
    eventually("paid to the byte", || fund.used(&Sku::EGRESS) == received).await;
    assert_eq!(fund.used(&Sku::REQUESTS), 1);
    eventually("counted for the audit like that", || {
        let report = served.node.control.last_report().unwrap();
        let access = report.access.get(&environment());
        access.is_some_and(|access| (access.egress_bytes, access.open) == (received, 0))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_without_money_is_closed_at_once_also_for_those_who_only_send() {
    let fund = Fund::of(PLENTY);
    fund.refuse_with(DenialReason::ProjectCap);
    let app = named_app("open").await;
    let node = TestNode::start_with(pays_from(&fund)).await;
    let served = Served::by(node, &app, |_| {}).await;
    let mut stream = served.connect().await;
    says(&mut stream, "open").await;
    let unpaid = RouteState::Unpaid {
        message: "the cap is reached".to_owned(),
        retry_after_s: 0,
    };
    served.publish(&[&app], |tcp| tcp.route.state = unpaid).await;
    is_closed(&mut stream).await;
    is_closed(&mut served.connect().await).await;
    served.publish(&[&app], |_| {}).await;
    says(&mut served.connect().await, "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_numbers_and_silence_are_bounded() {
    let app = named_app("in").await;
    let served = Served::by(TestNode::start().await, &app, |tcp| tcp.spec.connections = 1).await;
    let mut first = served.connect().await;
    says(&mut first, "in").await;
    is_closed(&mut served.connect().await).await;
    drop(first);
    eventually("the instance is free", || {
        served.node.control.load(app.backend.instance).upgraded == 0
    })
    .await;
    // The place of the service a moment later.
    let freed = Instant::now();
    while served.connect().await.read_exact(&mut [0; 2]).await.is_err() {
        assert!(freed.elapsed().as_secs() < 10, "its place is not free");
    }

    let network = |text: &str| vec![text.parse().unwrap()];
    served
        .publish(&[&app], |tcp| tcp.spec.deny = network("127.0.0.1"))
        .await;
    is_closed(&mut served.connect().await).await;
    served
        .publish(&[&app], |tcp| tcp.spec.allow = network("10.0.0.0/8"))
        .await;
    is_closed(&mut served.connect().await).await;
    served
        .publish(&[&app], |tcp| tcp.spec.allow = network("127.0.0.0/8"))
        .await;
    says(&mut served.connect().await, "in").await;
    eventually("told", || {
        let report = served.node.control.last_report().unwrap();
        report
            .refused
            .get(&environment())
            .is_some_and(|refused| refused.address == 2)
    })
    .await;

    served.publish(&[&app], |tcp| tcp.spec.idle_s = Some(1)).await;
    let mut stream = served.connect().await;
    says(&mut stream, "in").await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        echoes(&mut stream, "not idle").await;
    }
    let silent = Instant::now();
    is_closed(&mut stream).await;
    assert!(silent.elapsed() >= Duration::from_millis(900), "{:?}", silent.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_asks_for_it_is_told_who_the_client_is() {
    let served = Served::by(TestNode::start().await, &echo_app().await, |_| {}).await;
    let app = echo_app().await;
    served.publish(&[&app], |tcp| tcp.spec.proxy_protocol = true).await;
    let mut stream = served.connect().await;
    let own = stream.local_addr().unwrap();
    stream.write_all(b"hello").await.unwrap();
    let line = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", own.port(), served.port);
    says(&mut stream, &format!("{line}hello")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_no_service_has_any_more_is_closed() {
    let app = named_app("in").await;
    let served = Served::by(TestNode::start().await, &app, |_| {}).await;
    let mut stream = served.connect().await;
    says(&mut stream, "in").await;
    let elsewhere = free_port().await;
    let moved = with_service(service(vec![app.backend.clone()], Some(elsewhere), |_| {}));
    served.node.control.publish_and_wait(moved).await;
    says(&mut connect((LOCAL, elsewhere).into()).await, "in").await;
    let start = Instant::now();
    while TcpStream::connect((LOCAL, served.port)).await.is_ok() {
        assert!(start.elapsed().as_secs() < 10, "it is still open");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    echoes(&mut stream, "who is in stays in").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_by_name_and_weir_ends_the_tls() {
    let node = tls_node().await;
    let app = named_app("in the clear").await;
    let authority = Authority::new();
    let by_name = |tcp: &mut TcpRoute| {
        tcp.spec.tls = Some(TcpTls::End);
        tcp.hosts = vec!["db.example.org".to_owned()];
    };
    let page = App::says("page").await;
    let mut snapshot = routes(&[&page]);
    snapshot.tcp = vec![service(vec![app.backend.clone()], None, by_name)];
    node.control.publish_and_wait(snapshot).await;
    node.control
        .certify(authority.set(&[&["db.example.org"], &["shop.localhost"]]))
        .await;
    // PostgreSQL's clients insist on a protocol of theirs.
    for protocols in [&[][..], &[&b"postgresql"[..]][..]] {
        let client = authority.client_with(&[&version::TLS13], protocols);
        let mut stream = client.connect(node.tls(), "db.example.org").await;
        assert_eq!(stream.get_ref().1.alpn_protocol(), protocols.first().copied());
        says(&mut stream, "in the clear").await;
        echoes(&mut stream, "and back").await;
    }
    // Others at the same port are served as ever.
    let client = authority.client_with(&[&version::TLS13], &[b"http/1.1"]);
    let mut web = Client::over(client.connect(node.tls(), "shop.localhost").await).await;
    assert_eq!(
        web.send(http::Request::get("/").body(empty()).unwrap()).await.status,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_come_by_name_and_the_app_ends_the_tls() {
    let node = tls_node().await;
    let authority = Authority::new();
    let certificate = authority.issue(&["db.example.org"]);
    let chain = CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes());
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
    let app = App::start_raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            stream.write_all(b"my own key").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await;
    let by_name = |tcp: &mut TcpRoute| {
        tcp.spec.tls = Some(TcpTls::Passthrough);
        tcp.hosts = vec!["db.example.org".to_owned()];
    };
    let snapshot = with_service(service(vec![app.backend.clone()], None, by_name));
    node.control.publish_and_wait(snapshot).await;
    // Weir has no certificate for it at all.
    let mut stream = authority.client().connect(node.tls(), "db.example.org").await;
    let mut told = String::new();
    stream.read_to_string(&mut told).await.unwrap();
    assert_eq!(told, "my own key");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_port_goes_from_node_to_node_and_open_connections_go_on() {
    let app = named_app("in").await;
    let old = Served::by(TestNode::start().await, &app, |_| {}).await;
    let mut stream = old.connect().await;
    says(&mut stream, "in").await;
    let sockets = old.node.config.succession.gateway_sockets().unwrap();
    assert_eq!(sockets.len(), 1);
    let succession = Succession::after(Vec::new(), sockets).unwrap();
    succession.open();
    let new = TestNode::start_with(|config| config.succession = succession).await;
    old.node.config.succession.drain(Duration::from_secs(20));
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Nobody serves at this moment; who knocks waits.
    let mut waiting = old.connect().await;
    let snapshot = with_service(service(vec![app.backend.clone()], Some(old.port), |_| {}));
    new.control.publish_and_wait(snapshot).await;
    says(&mut waiting, "in").await;
    echoes(&mut stream, "at the old node").await;
    echoes(&mut waiting, "at the new node").await;
    eventually("counted at the new node", || {
        new.control.load(app.backend.instance).upgraded == 1
    })
    .await;
}
