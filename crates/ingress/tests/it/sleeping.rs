//! Instances that nobody asks anything of are frozen, and thawed by the next request.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use simple_dns::{RCODE, TYPE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use weir_ingress::{Found, Freezer, Freezers, Sleeping, Spending, Standing};
use weir_model::InstanceId;
use weir_model::route::{Demand, MeteredInstance, NodeReport, RouteSnapshot, RouteState, WatchedProcess};

use crate::fund::{Fund, environment};
use crate::lookups::{ask, free_port};
use crate::paying::PLENTY;
use crate::support::*;

/// Where the instance's network reaches the node.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 72));

/// A kernel that has one instance.
#[derive(Debug, Default)]
struct Kernel {
    frozen: watch::Sender<bool>,
    freezes: AtomicU64,
    thaws: AtomicU64,
    told: AtomicU64,
    called: AtomicBool,
}

impl Kernel {
    fn is_frozen(&self) -> bool {
        *self.frozen.borrow()
    }

    /// Waits until it runs, as a process of it does.
    async fn run(&self) {
        let mut frozen = self.frozen.subscribe();
        frozen.wait_for(|frozen| !frozen).await.unwrap();
    }
}

#[derive(Debug)]
struct Handle(Arc<Kernel>);

impl Freezer for Handle {
    fn freeze(&self) -> io::Result<()> {
        self.0.freezes.fetch_add(1, Ordering::SeqCst);
        self.0.frozen.send_replace(true);
        Ok(())
    }

    fn thaw(&self) -> io::Result<()> {
        self.0.thaws.fetch_add(1, Ordering::SeqCst);
        self.0.frozen.send_replace(false);
        Ok(())
    }

    fn standing(&self) -> io::Result<Standing> {
        Ok(if self.0.is_frozen() {
            Standing::Frozen
        } else {
            Standing::Thawed
        })
    }

    fn has_callers(&self, _port: u16, except: &[IpAddr]) -> io::Result<bool> {
        assert!(except.iter().all(|address| *address == GATEWAY));
        Ok(self.0.called.load(Ordering::SeqCst))
    }
}

#[derive(Debug)]
struct OneFreezer(Arc<Kernel>);

impl Freezers for OneFreezer {
    fn find(&self, _instance: InstanceId) -> Found<'_, Option<Arc<dyn Freezer>>> {
        Box::pin(async { Some(Arc::new(Handle(Arc::clone(&self.0))) as Arc<dyn Freezer>) })
    }

    fn went_on(&self, _instance: InstanceId) -> Found<'_, ()> {
        self.0.told.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {})
    }
}

/// A node, and an app that answers only while it is not frozen.
struct Dormitory {
    node: TestNode,
    app: App,
    kernel: Arc<Kernel>,
    pays: watch::Sender<BTreeSet<InstanceId>>,
    woken: Arc<Notify>,
    lookups: SocketAddr,
    _fund: Fund,
}

impl Dormitory {
    async fn start(freeze_after_ms: u64, change: impl FnOnce(&Kernel, &mut RouteSnapshot)) -> Self {
        let kernel = Arc::new(Kernel::default());
        let runs = Arc::clone(&kernel);
        let app = App::start(move |request: Request<_>| {
            let runs = Arc::clone(&runs);
            async move {
                runs.run().await;
                if request.uri().path() == "/slow" {
                    tokio::time::sleep(Duration::from_millis(3_000)).await;
                    runs.run().await;
                }
                Response::new(full("page"))
            }
        })
        .await;
        let fund = Fund::of(PLENTY);
        let (pays, paying) = watch::channel(BTreeSet::from([app.backend.instance]));
        let woken = Arc::new(Notify::new());
        let lookups = SocketAddr::new(GATEWAY, free_port(GATEWAY).await);
        let node = TestNode::start_with(|config| {
            config.dns_port = lookups.port();
            config.sleeping = Some(Sleeping {
                freezers: Arc::new(OneFreezer(Arc::clone(&kernel))),
                woken: Arc::clone(&woken),
            });
            config.spending = Some(Spending {
                wallets: fund.wallets.clone(),
                metered: watch::channel(Vec::new()).0,
                paying,
                sending: None,
                cpu: None,
            });
        })
        .await;
        let mut snapshot = with_route(routes(&[&app]), |route| route.target = "shop.web".to_owned());
        watch_it(&mut snapshot, &app, Some(freeze_after_ms));
        change(&kernel, &mut snapshot);
        node.control.publish_and_wait(snapshot).await;
        Self {
            node,
            app,
            kernel,
            pays,
            woken,
            lookups,
            _fund: fund,
        }
    }

    fn report(&self) -> NodeReport {
        self.node.control.last_report().unwrap_or_default()
    }

    fn is_told_asleep(&self) -> bool {
        self.report().asleep.contains(&self.app.backend.instance)
    }

    fn demand(&self) -> Option<Demand> {
        self.report().demand.get(&environment())?.get("shop.web").copied()
    }

    async fn until_asleep(&self) {
        eventually("it sleeps", || self.kernel.is_frozen() && self.is_told_asleep()).await;
    }
}

fn watch_it(snapshot: &mut RouteSnapshot, app: &App, freeze_after_ms: Option<u64>) {
    let address = app.backend.address.ip();
    snapshot.gateways.push(GATEWAY);
    snapshot.networks.insert(GATEWAY, environment());
    let names = BTreeMap::from([("shop".to_owned(), vec![address])]);
    snapshot.names.insert(GATEWAY, names);
    snapshot.metered.push(MeteredInstance {
        instance: app.backend.instance,
        environment: environment(),
        app: "shop".parse().unwrap(),
        process: "web".parse().unwrap(),
        memory_bytes: 1 << 20,
        cpu_milli: 100,
        grace_s: 10,
        address: Some(address),
        frozen: false,
        stopping: false,
    });
    let rule = WatchedProcess {
        freeze_after_ms,
        stop_after_ms: None,
        names: BTreeSet::from(["shop".to_owned(), "web.shop".to_owned()]),
    };
    let processes = BTreeMap::from([("shop.web".to_owned(), rule)]);
    snapshot.watched.insert(environment(), processes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_instance_sleeps_and_the_next_request_wakes_it() {
    let room = Dormitory::start(300, |_, _| {}).await;
    assert_eq!(room.node.get("/").await.status, 200);
    room.until_asleep().await;
    let (answer, ()) = tokio::join!(room.node.get("/"), async {
        within(2, "who pays is told at once", room.woken.notified()).await;
    });
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "page"));
    assert!(!room.kernel.is_frozen());
    eventually("control is told", || !room.is_told_asleep()).await;
    room.until_asleep().await;
    assert_eq!(room.kernel.told.load(Ordering::SeqCst), 0, "the engine need not know");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_sleeps_with_a_request_in_flight() {
    let room = Dormitory::start(200, |_, _| {}).await;
    let began = Instant::now();
    assert_eq!(room.node.get("/slow").await.status, 200);
    assert!(began.elapsed() >= Duration::from_secs(3));
    assert_eq!(room.kernel.freezes.load(Ordering::SeqCst), 0);
    room.until_asleep().await;
}

/// The time without a request is shorter than a look: instances fall asleep all the time, and
/// every request comes at a bad moment.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_while_it_is_frozen_wins() {
    let room = Arc::new(Dormitory::start(1, |_, _| {}).await);
    let mut visitors = tokio::task::JoinSet::new();
    for visitor in 0..2_u64 {
        let room = Arc::clone(&room);
        visitors.spawn(async move {
            let mut rng = fastrand::Rng::with_seed(visitor);
            for _ in 0..40 {
                tokio::time::sleep(Duration::from_millis(rng.u64(250..650))).await;
                let answer = within(5, "an answer", room.node.get("/")).await;
                assert_eq!(answer.status, 200);
            }
        });
    }
    while let Some(done) = visitors.join_next().await {
        done.unwrap();
    }
    let freezes = room.kernel.freezes.load(Ordering::SeqCst);
    assert!(freezes >= 10, "only {freezes} freezes: it never came at a bad moment");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_paid_for_stays_asleep() {
    let room = Dormitory::start(200, |_, _| {}).await;
    room.until_asleep().await;
    room.pays.send_replace(BTreeSet::new());
    let waiting = tokio::time::timeout(Duration::from_millis(700), room.node.get("/")).await;
    assert!(waiting.is_err(), "it waits");
    assert!(room.kernel.is_frozen());
    assert_eq!(room.kernel.thaws.load(Ordering::SeqCst), 0);
    let (answer, ()) = tokio::join!(room.node.get("/"), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        room.pays.send_replace(BTreeSet::from([room.app.backend.instance]));
    });
    assert_eq!(answer.status, 200, "and goes on as soon as it is paid for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_node_finds_who_sleeps() {
    let room = Dormitory::start(600_000, |kernel, _| {
        kernel.frozen.send_replace(true);
    })
    .await;
    eventually("it is known to sleep", || room.is_told_asleep()).await;
    assert_eq!(room.kernel.freezes.load(Ordering::SeqCst), 0);
    assert_eq!(room.node.get("/").await.status, 200);
    eventually("the engine is told, which may believe that it is paused", || {
        room.kernel.told.load(Ordering::SeqCst) == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_thawed_by_somebody_else_is_awake() {
    let room = Dormitory::start(2_000, |_, _| {}).await;
    room.until_asleep().await;
    room.kernel.frozen.send_replace(false);
    eventually("it is believed to be awake", || !room.is_told_asleep()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_past_the_ingress_keeps_it_awake_and_wakes_it() {
    let room = Dormitory::start(200, |kernel, _| kernel.called.store(true, Ordering::SeqCst)).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert_eq!(room.kernel.freezes.load(Ordering::SeqCst), 0);
    room.kernel.called.store(false, Ordering::SeqCst);
    room.until_asleep().await;
    room.kernel.called.store(true, Ordering::SeqCst);
    eventually("it is woken", || !room.kernel.is_frozen()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_of_its_name_wakes_it() {
    let room = Dormitory::start(1_000, |_, _| {}).await;
    room.until_asleep().await;
    let (code, found) = ask(room.lookups, "shop", TYPE::A).await;
    assert_eq!((code, found.len()), (RCODE::NoError, 1));
    assert!(!room.kernel.is_frozen());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_a_stopped_app_waits_and_is_told_at_once() {
    let room = Dormitory::start(600_000, |_, snapshot| stop(snapshot)).await;
    let began = Instant::now();
    let woken = async {
        eventually("control is told", || {
            room.demand().is_some_and(|demand| demand.waiting == 1)
        })
        .await;
        let told = began.elapsed();
        let mut snapshot = with_route(routes(&[&room.app]), |route| route.target = "shop.web".to_owned());
        watch_it(&mut snapshot, &room.app, None);
        room.node.control.publish(snapshot);
        told
    };
    let (answer, told) = tokio::join!(room.node.get("/"), woken);
    assert_eq!(answer.status, 200);
    assert!(
        told < Duration::from_millis(900),
        "it did not wait for the next report: {told:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_does_not_wake_has_a_page_that_says_so() {
    let room = Dormitory::start(600_000, |_, snapshot| stop(snapshot)).await;
    let answer = room.node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (503, Some("wake-timeout")));
    assert!(answer.text().contains("nobody asked for it"), "{}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lookup_of_a_stopped_app_waits_for_it() {
    let room = Dormitory::start(600_000, |_, snapshot| stop(snapshot)).await;
    let woken = async {
        eventually("control is told", || {
            room.demand().is_some_and(|demand| demand.waiting > 0)
        })
        .await;
        let mut snapshot = with_route(routes(&[&room.app]), |route| route.target = "shop.web".to_owned());
        watch_it(&mut snapshot, &room.app, None);
        room.node.control.publish(snapshot);
    };
    let ((code, found), ()) = tokio::join!(ask(room.lookups, "web.shop", TYPE::A), woken);
    // Both names lead there; the snapshot of this test has an address for one of them.
    assert_eq!(code, RCODE::NoError);
    assert!(found.is_empty());
    let (code, found) = ask(room.lookups, "shop", TYPE::A).await;
    assert_eq!((code, found.len()), (RCODE::NoError, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_of_a_process_is_told() {
    let room = Arc::new(Dormitory::start(600_000, |_, _| {}).await);
    let mut visitors = tokio::task::JoinSet::new();
    for visitor in 0..3 {
        let room = Arc::clone(&room);
        visitors.spawn(async move { room.node.get(&format!("/slow?{visitor}")).await.status });
    }
    eventually("three are in flight", || {
        room.demand()
            .is_some_and(|demand| demand.in_flight_milli >= 2_500 && demand.quiet_ms == 0)
    })
    .await;
    while let Some(done) = visitors.join_next().await {
        assert_eq!(done.unwrap(), 200);
    }
    eventually("and then none", || {
        room.demand()
            .is_some_and(|demand| demand.in_flight_milli == 0 && demand.quiet_ms > 1_000)
    })
    .await;
}

fn stop(snapshot: &mut RouteSnapshot) {
    snapshot.metered.clear();
    snapshot.names.clear();
    for route in snapshot.hosts.values_mut().flat_map(|host| &mut host.routes) {
        route.pool.clear();
        route.state = RouteState::Asleep { timeout_ms: 1_500 };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_to_a_tcp_service_wakes_it_and_keeps_it_awake() {
    let port = crate::tcp::free_port().await;
    let dormitory = Dormitory::start(300, |_, snapshot| {
        let pool = snapshot.hosts["shop.localhost"].routes[0].pool.clone();
        snapshot.tcp = vec![crate::tcp::service(pool, Some(port), |tcp| {
            tcp.route.target = "shop.web".to_owned();
        })];
    })
    .await;
    dormitory.until_asleep().await;
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let ask = async |stream: &mut tokio::net::TcpStream| {
        stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut page = [0; 8];
        stream.read_exact(&mut page).await.unwrap();
        assert_eq!(&page, b"HTTP/1.1");
    };
    within(5, "it wakes", ask(&mut stream)).await;
    let thaws = dormitory.kernel.thaws.load(Ordering::SeqCst);
    assert_eq!(thaws, 1);
    // Five times as long as it may be quiet.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!dormitory.kernel.is_frozen(), "an open connection keeps it awake");
    drop(stream);
    dormitory.until_asleep().await;
}
