//! What is counted is what was sent, to the unit.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use http::{Request, Response};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use weir_model::metrics::{Histogram, NodeMetrics, RouteMetrics, SOCKET};
use weir_model::route::RouteState;

use crate::support::*;
use crate::upgrades::{echo, shouting_app, upgrade_over};

async fn scrape(node: &TestNode) -> NodeMetrics {
    let path = node.folder.path().join(SOCKET);
    let mut stream = loop {
        match UnixStream::connect(&path).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let mut text = Vec::new();
    within(5, "metrics", stream.read_to_end(&mut text)).await.unwrap();
    serde_json::from_slice(&text).unwrap()
}

fn of<'a>(metrics: &'a NodeMetrics, prefix: &str) -> Option<&'a RouteMetrics> {
    metrics.routes.iter().find(|route| route.path_prefix == prefix)
}

fn count(histogram: &Histogram) -> u64 {
    histogram.buckets.iter().sum()
}

/// Answers with the status and the length in the path: `/404/10`.
async fn obedient_app() -> App {
    App::start(|request: Request<hyper::body::Incoming>| async move {
        use http_body_util::BodyExt;
        let path = request.uri().path().trim_start_matches("/api").to_owned();
        let _ = request.into_body().collect().await;
        let mut parts = path.trim_matches('/').split('/');
        let status: u16 = parts.next().and_then(|part| part.parse().ok()).unwrap_or(200);
        let length: usize = parts.next().and_then(|part| part.parse().ok()).unwrap_or(0);
        Response::builder()
            .status(status)
            .body(full("x".repeat(length)))
            .unwrap()
    })
    .await
}

/// Scrapes until nothing is in flight.
async fn settled(node: &TestNode, requests: u64) -> NodeMetrics {
    for _ in 0..2_000 {
        let metrics = scrape(node).await;
        let ended: u64 = metrics
            .routes
            .iter()
            .flat_map(|route| &route.statuses)
            .map(|status| count(&status.duration))
            .sum();
        if ended == requests && metrics.routes.iter().all(|route| route.in_flight == 0) {
            return metrics;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{requests} requests were not counted: {:?}", scrape(node).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_counted_to_the_unit() {
    let node = TestNode::start().await;
    let app = obedient_app().await;
    let pool = || vec![app.backend.clone()];
    let two = vec![
        route("/api", RouteState::Serve, pool()),
        route("/", RouteState::Serve, pool()),
    ];
    node.control.publish_and_wait(snapshot(two)).await;
    for length in [0, 1, 70_000] {
        assert_eq!(node.get(&format!("/200/{length}")).await.body.len(), length);
    }
    assert_eq!(node.get("/404/7").await.status, 404);
    let mut client = Client::connect(node.address).await;
    let post = Request::post("/api/201/5").header("host", "shop.localhost");
    assert_eq!(
        client.send(post.body(full(vec![b'y'; 100_000])).unwrap()).await.status,
        201
    );
    let elsewhere = Request::get("/")
        .header("host", "nobody.localhost")
        .body(empty())
        .unwrap();
    assert_eq!(client.send(elsewhere).await.weir(), Some("unknown-host"));
    let metrics = settled(&node, 6).await;

    let whole = of(&metrics, "/").unwrap();
    assert_eq!((whole.target.as_str(), whole.class.as_str()), ("app.web", "default"));
    assert_eq!((whole.sent_bytes, whole.received_bytes), (70_008, 0));
    let digits: Vec<_> = whole.statuses.iter().map(|status| (status.digit, status.app)).collect();
    assert_eq!(digits, [(2, 3), (4, 1)]);
    for status in &whole.statuses {
        assert!(status.pages.is_empty());
        assert_eq!(
            (count(&status.duration), count(&status.first_byte)),
            (status.app, status.app)
        );
        assert!(status.first_byte.sum_us > 0 && status.first_byte.sum_us <= status.duration.sum_us);
    }
    let api = of(&metrics, "/api").unwrap();
    assert_eq!(
        (api.received_bytes, api.sent_bytes, api.statuses[0].app),
        (100_000, 5, 1)
    );
    let nowhere = of(&metrics, "").unwrap();
    assert_eq!(nowhere.environment, None);
    assert_eq!(nowhere.statuses[0].pages, [("unknown-host".to_owned(), 1)]);
    let totals = metrics.totals;
    assert_eq!((totals.connections_accepted, totals.retries, totals.waiting), (5, 0, 0));
    assert_eq!(totals.upstream_connects + totals.upstream_reuses, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_on_is_in_flight_and_a_client_that_goes_is_counted() {
    let node = TestNode::start().await;
    let app = App::start(|_| std::future::pending()).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let address = node.address;
    let client = tokio::spawn(async move { Client::connect(address).await.try_send(Request::new(empty())).await });
    eventually("the app has it", || app.requests() == 1).await;
    assert_eq!(of(&scrape(&node).await, "/").unwrap().in_flight, 1);
    client.abort();
    let metrics = settled(&node, 1).await;
    let status = &of(&metrics, "/").unwrap().statuses[0];
    assert_eq!(
        (status.digit, count(&status.first_byte), count(&status.duration)),
        (0, 0, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_weir_are_told_apart_and_waiting_is_seen() {
    let node = TestNode::start().await;
    node.control.publish_and_wait(in_state(RouteState::Paused)).await;
    for _ in 0..3 {
        assert_eq!(node.get("/").await.weir(), Some("paused"));
    }
    node.control
        .publish_and_wait(in_state(RouteState::Hold { timeout_ms: 60_000 }))
        .await;
    let address = node.address;
    let held = tokio::spawn(async move { Client::connect(address).await.send(Request::new(empty())).await });
    let mut waiting = Vec::new();
    for _ in 0..2_000 {
        waiting = scrape(&node).await.waiting;
        if !waiting.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((waiting[0].target.as_str(), waiting[0].waiting), ("app.web", 1));
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    assert_eq!(held.await.unwrap().text(), "hello");
    let metrics = settled(&node, 4).await;
    let statuses = &of(&metrics, "/").unwrap().statuses;
    assert_eq!(statuses[1].pages, [("paused".to_owned(), 3)]);
    assert_eq!((statuses[0].app, metrics.totals.held, metrics.waiting.len()), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn upgrades_are_counted_and_counters_go_with_their_environment() {
    let node = TestNode::start().await;
    let app = shouting_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    echo(&mut upgrade_over(Client::connect(node.address).await).await).await;
    let metrics = settled(&node, 1).await;
    assert_eq!(
        (of(&metrics, "/").unwrap().statuses[0].digit, metrics.totals.upgrades),
        (1, 1)
    );
    // Both ways, and for as long as it lasted.
    let whole = of(&metrics, "/").unwrap();
    assert_eq!((whole.received_bytes, whole.sent_bytes), (5, 5));
    assert!(whole.statuses[0].first_byte.sum_us <= whole.statuses[0].duration.sum_us);
    node.control.publish_and_wait(snapshot(Vec::new())).await;
    assert!(of(&scrape(&node).await, "/").is_some());
    node.control.publish_and_wait(Default::default()).await;
    assert!(of(&scrape(&node).await, "/").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_through_a_tunnel_is_counted_while_it_lasts() {
    let node = TestNode::start().await;
    let app = shouting_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut socket = upgrade_over(Client::connect(node.address).await).await;
    for _ in 0..500 {
        echo(&mut socket).await;
    }
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    echo(&mut socket).await;
    let metrics = scrape(&node).await;
    let whole = of(&metrics, "/").unwrap();
    assert!(whole.received_bytes >= 2_500 && whole.sent_bytes >= 2_500, "{whole:?}");
    assert_eq!((whole.in_flight, whole.statuses.len()), (1, 0));
    drop(socket);
    let metrics = settled(&node, 1).await;
    let whole = of(&metrics, "/").unwrap();
    assert_eq!((whole.received_bytes, whole.sent_bytes), (2_505, 2_505));
    assert!(whole.statuses[0].duration.sum_us > 1_000_000, "{whole:?}");
    assert!(whole.statuses[0].first_byte.sum_us < 1_000_000, "{whole:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_owner_may_ask_and_a_restart_takes_the_socket_over() {
    let mut node = TestNode::start().await;
    let first = scrape(&node).await.incarnation;
    let socket = node.folder.path().join(SOCKET);
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    node.stop().await;
    node.start_again();
    for _ in 0..2_000 {
        if scrape(&node).await.incarnation != first {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the node that was started again does not answer");
}
