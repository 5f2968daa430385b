//! Kinds of requests to one process: each with its own places, queue and time-outs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Method, Request, Response};
use tokio::sync::Semaphore;
use weir_model::EnvironmentId;
use weir_model::route::{ClassLoad, Route, RouteClass, RouteSnapshot, RouteState};

use crate::support::*;

/// `/` with three places, `POST /upload` with two and a queue of three.
fn classed(apps: &[&App]) -> RouteSnapshot {
    let pool: Vec<_> = apps.iter().map(|app| app.backend.clone()).collect();
    let class = |name: &str, number, queue| RouteClass {
        name: name.to_owned(),
        number,
        queue,
        queue_timeout_ms: queue.map(|_| 20_000),
    };
    let light = Route {
        target: "shop.web".to_owned(),
        concurrency: 3,
        class: Some(class("default", 0, None)),
        ..route("/", RouteState::Serve, pool)
    };
    let heavy = Route {
        path_prefix: "/upload".to_owned(),
        concurrency: 2,
        methods: vec!["POST".to_owned()],
        class: Some(class("heavy", 1, Some(3))),
        ..light.clone()
    };
    snapshot(vec![light, heavy])
}

/// Answers heavy requests only with a permit, and remembers how many of them it had at once.
async fn app(permits: &Arc<Semaphore>, most: &Arc<AtomicU64>) -> App {
    let (permits, most, now) = (Arc::clone(permits), Arc::clone(most), Arc::new(AtomicU64::new(0)));
    App::start(move |request| {
        let (permits, most, now) = (Arc::clone(&permits), Arc::clone(&most), Arc::clone(&now));
        async move {
            if request.method() == Method::POST {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                permits.acquire().await.unwrap().forget();
                now.fetch_sub(1, Ordering::SeqCst);
            }
            Response::new(full("ok"))
        }
    })
    .await
}

fn load(node: &TestNode, class: &str) -> ClassLoad {
    let report = node.control.last_report().unwrap_or_default();
    let classes = report.classes.get(&EnvironmentId::from_parts(1, 1)).cloned();
    let of_class = classes.into_iter().flatten().find(|load| load.class == class);
    of_class.unwrap_or_default()
}

async fn ask(address: std::net::SocketAddr, method: Method, path: &str) -> (u16, Option<String>) {
    let request = Request::builder().method(method).uri(path).body(empty()).unwrap();
    let answer = Client::connect(address).await.send(request).await;
    (answer.status.as_u16(), answer.weir().map(str::to_owned))
}

#[tokio::test(flavor = "multi_thread")]
async fn heavy_requests_that_fill_their_class_leave_the_light_ones_alone() {
    let node = TestNode::start().await;
    let (permits, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let app = app(&permits, &most).await;
    node.control.publish_and_wait(classed(&[&app])).await;
    let address = node.address;
    let heavy: Vec<_> = (0..5)
        .map(|_| tokio::spawn(ask(address, Method::POST, "/upload/x")))
        .collect();
    eventually("the class and its queue are full", || {
        let heavy = load(&node, "heavy");
        (heavy.in_flight, heavy.places, heavy.waiting) == (2, 2, 3)
    })
    .await;
    let refused = ask(address, Method::POST, "/upload").await;
    assert_eq!(refused, (503, Some("queue-full".to_owned())));
    for _ in 0..20 {
        // By another path, and by another method on the same one.
        let (page, status) = tokio::join!(
            ask(address, Method::GET, "/"),
            ask(address, Method::GET, "/upload/status")
        );
        assert_eq!((page.0, status.0), (200, 200));
    }
    eventually("the refusal is told", || load(&node, "heavy").refused_full == 1).await;
    let light = load(&node, "default");
    assert_eq!((light.waiting, light.refused_full, light.places), (0, 0, 3));
    permits.add_permits(5);
    for answer in within(20, "the heavy ones are answered", join_all(heavy)).await {
        assert_eq!(answer.unwrap().0, 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), 2);
    eventually("nothing is left", || load(&node, "heavy").in_flight == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_a_class_keeps_its_place_over_a_new_table() {
    let node = TestNode::start().await;
    let (permits, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let first = app(&permits, &most).await;
    node.control.publish_and_wait(classed(&[&first])).await;
    let address = node.address;
    let heavy: Vec<_> = (0..5)
        .map(|_| tokio::spawn(ask(address, Method::POST, "/upload")))
        .collect();
    eventually("three wait", || load(&node, "heavy").waiting == 3).await;
    // Two more places at a second instance: two of the three go there at once.
    let second = app(&permits, &most).await;
    node.control.publish(classed(&[&first, &second]));
    eventually("one waits", || {
        let heavy = load(&node, "heavy");
        (heavy.in_flight, heavy.waiting) == (4, 1)
    })
    .await;
    permits.add_permits(5);
    for answer in within(20, "all are answered", join_all(heavy)).await {
        assert_eq!(answer.unwrap().0, 200);
    }
    assert_eq!(first.requests() + second.requests(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_class_has_its_own_time_outs() {
    let node = TestNode::start().await;
    let (permits, most) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicU64::new(0)));
    let app = app(&permits, &most).await;
    let mut impatient = classed(&[&app]);
    for route in &mut impatient.hosts.get_mut("shop.localhost").unwrap().routes {
        if let Some(class) = route.class.as_mut().filter(|class| class.number == 1) {
            route.concurrency = 1;
            route.first_byte_timeout_ms = 1_500;
            class.queue_timeout_ms = Some(200);
        }
    }
    node.control.publish_and_wait(impatient).await;
    let address = node.address;
    let stuck = tokio::spawn(ask(address, Method::POST, "/upload"));
    eventually("in flight", || load(&node, "heavy").in_flight == 1).await;
    let late = ask(address, Method::POST, "/upload").await;
    assert_eq!(late, (503, Some("queue-timeout".to_owned())));
    eventually("it is told", || load(&node, "heavy").refused_late == 1).await;
    let stuck = tokio::time::timeout(Duration::from_secs(20), stuck).await.unwrap();
    assert_eq!(stuck.unwrap(), (504, Some("first-byte-timeout".to_owned())));
}
