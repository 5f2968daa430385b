//! Work that nobody asked for is found by the requests that are not there.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use http::Response;
use simple_dns::{RCODE, TYPE};
use tokio::sync::watch;
use weir_ingress::{CpuWatch, Spending};
use weir_model::InstanceId;
use weir_model::guard::{BackgroundRule, BackgroundWork, GuardRule};
use weir_model::route::{MeteredInstance, NodeReport, RouteSnapshot};

use crate::fund::{Fund, environment};
use crate::lookups::{ask, free_port};
use crate::paying::PLENTY;
use crate::support::*;

/// Where the instance's network reaches the node.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 71));

/// A node, an app whose instance burns a core from the first moment, and what is said of it.
struct Burning {
    node: TestNode,
    app: App,
    working: watch::Receiver<BTreeMap<InstanceId, BackgroundWork>>,
    burner: tokio::task::JoinHandle<()>,
    /// Where names are looked up.
    lookups: SocketAddr,
    _fund: Fund,
}

impl Drop for Burning {
    fn drop(&mut self) {
        self.burner.abort();
    }
}

impl Burning {
    async fn start(change: impl FnOnce(RouteSnapshot, InstanceId) -> RouteSnapshot) -> Self {
        let app = App::start(|_request| async { Response::new(full("page")) }).await;
        let id = app.backend.instance;
        let fund = Fund::of(PLENTY);
        let (uses, used) = watch::channel(BTreeMap::new());
        let (works, working) = watch::channel(BTreeMap::new());
        let wallets = fund.wallets.clone();
        let lookups = SocketAddr::new(GATEWAY, free_port(GATEWAY).await);
        let node = TestNode::start_with(|config| {
            config.dns_port = lookups.port();
            config.spending = Some(Spending {
                wallets,
                metered: watch::channel(Vec::new()).0,
                paying: watch::channel(BTreeSet::new()).1,
                sending: None,
                cpu: Some(CpuWatch { used, working: works }),
            });
        })
        .await;
        let began = Instant::now();
        let burner = tokio::spawn(async move {
            loop {
                let used_us = u64::try_from(began.elapsed().as_micros()).unwrap();
                uses.send_replace(BTreeMap::from([(id, used_us)]));
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        });
        let snapshot = with_route(routes(&[&app]), |route| route.target = "shop.web".to_owned());
        node.control.publish_and_wait(change(snapshot, id)).await;
        Self {
            node,
            app,
            working,
            burner,
            lookups,
            _fund: fund,
        }
    }

    fn work(&self) -> Option<BackgroundWork> {
        self.working.borrow().get(&self.app.backend.instance).copied()
    }

    fn report(&self) -> NodeReport {
        self.node.control.last_report().unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_after_the_answer_is_told_within_seconds_and_the_next_request_ends_it() {
    let burning =
        Burning::start(|snapshot, _id| with_route(snapshot, |route| route.guard.background = BackgroundRule::Slow))
            .await;
    assert_eq!(burning.node.get("/").await.status, 200);
    let answered = Instant::now();
    eventually("control is told", || !burning.report().background.is_empty()).await;
    assert!(
        answered.elapsed() >= Duration::from_secs(2),
        "it had no time to be sure"
    );
    assert!(answered.elapsed() < Duration::from_secs(6), "{:?}", answered.elapsed());
    eventually("with the evidence", || {
        let trips = burning.report().trips;
        trips.iter().any(|trip| {
            let chain = trip.chain.join("\n");
            trip.rule == GuardRule::Background && !trip.refused && chain.contains("nothing is in flight")
        })
    })
    .await;
    assert!(
        burning
            .work()
            .is_some_and(|work| work.slowed && work.cpu_us > 1_000_000)
    );
    assert_eq!(burning.node.get("/").await.status, 200);
    let asked = Instant::now();
    eventually("it is let go", || burning.work().is_none()).await;
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_asked_by_a_way_of_its_own_is_not_judged() {
    let burning = Burning::start(|mut snapshot, instance| {
        let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
        snapshot.gateways.push(GATEWAY);
        let names = BTreeMap::from([("web".to_owned(), vec![address])]);
        snapshot.names.insert(GATEWAY, names);
        snapshot.metered.push(MeteredInstance {
            instance,
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
        snapshot
    })
    .await;
    assert_eq!(burning.node.get("/").await.status, 200);
    eventually("it is judged like all others", || burning.work().is_some()).await;
    let (code, found) = ask(burning.lookups, "web", TYPE::A).await;
    assert_eq!((code, found.len()), (RCODE::NoError, 1));
    eventually("it may be serving somebody", || burning.work().is_none()).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(burning.work(), None);
}
