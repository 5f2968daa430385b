//! Requests that wait: at held routes, in queues, for instances that do not answer yet.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use weir_model::route::RouteState;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn held_requests_go_on_with_their_bodies_when_the_hold_ends() {
    let node = TestNode::start_with(|config| config.limits.queue_length = 10).await;
    let app = App::start(|request| async move {
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(body))
    })
    .await;
    node.control
        .publish_and_wait(in_state(RouteState::Hold { timeout_ms: 10_000 }))
        .await;
    let address = node.address;
    let clients: Vec<_> = (0..200)
        .map(|number| {
            tokio::spawn(async move {
                let mut client = Client::connect(address).await;
                let answer = client
                    .send(Request::post("/").body(full(format!("body {number}"))).unwrap())
                    .await;
                (answer.status.as_u16(), answer.text() == format!("body {number}"))
            })
        })
        .collect();
    eventually("all wait", || {
        node.control.last_report().is_some_and(|report| report.waiting == 200)
    })
    .await;
    assert_eq!(app.requests(), 0);
    // Fewer places than requests, and a short queue: those that were held wait nevertheless.
    node.control
        .publish(with_route(routes(&[&app]), |route| route.concurrency = 4));
    for answer in within(20, "all are answered", join_all(clients)).await {
        assert_eq!(answer.unwrap(), (200, true));
    }
    assert_eq!(node.counters().held, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_takes_too_long_is_a_503_that_says_so() {
    let node = TestNode::start_with(|config| config.limits.held_requests = 1).await;
    node.control
        .publish_and_wait(in_state(RouteState::Hold { timeout_ms: 300 }))
        .await;
    let (first, second) = tokio::join!(node.get("/"), async {
        eventually("one waits", || node.counters().held == 1).await;
        node.get("/").await
    });
    assert_eq!((first.status.as_u16(), first.weir()), (503, Some("hold-timeout")));
    assert!(first.headers.contains_key("retry-after"));
    assert_eq!((second.status.as_u16(), second.weir()), (503, Some("hold-full")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_gets_no_more_requests_at_once_than_it_may() {
    let node = TestNode::start_with(|config| config.limits.queue_length = 40).await;
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let permits = Arc::new(Semaphore::new(0));
    let (now_in_app, most_in_app, permits_in_app) = (Arc::clone(&now), Arc::clone(&most), Arc::clone(&permits));
    let app = App::start(move |_| {
        let (now, most, permits) = (
            Arc::clone(&now_in_app),
            Arc::clone(&most_in_app),
            Arc::clone(&permits_in_app),
        );
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            permits.acquire().await.unwrap().forget();
            now.fetch_sub(1, Ordering::SeqCst);
            Response::new(full("ok"))
        }
    })
    .await;
    node.control
        .publish_and_wait(with_route(routes(&[&app]), |route| route.concurrency = 5))
        .await;
    let address = node.address;
    let ask = move || async move {
        Client::connect(address)
            .await
            .send(Request::get("/").body(empty()).unwrap())
            .await
    };
    let clients: Vec<_> = (0..45).map(|_| tokio::spawn(ask())).collect();
    eventually("the queue is full", || {
        node.control.last_report().is_some_and(|report| report.waiting == 40)
    })
    .await;
    let refused = ask().await;
    assert_eq!((refused.status.as_u16(), refused.weir()), (503, Some("queue-full")));
    permits.add_permits(45);
    for answer in within(20, "all are answered", join_all(clients)).await {
        assert_eq!(answer.unwrap().status, 200);
    }
    assert_eq!(most.load(Ordering::SeqCst), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_too_long_in_the_queue_is_told_to_come_again() {
    let node = TestNode::start_with(|config| config.limits.queue_timeout = Duration::from_millis(200)).await;
    let app = App::start(|_| std::future::pending::<Response<AppBody>>()).await;
    node.control
        .publish_and_wait(with_route(routes(&[&app]), |route| route.concurrency = 1))
        .await;
    let address = node.address;
    let stuck = tokio::spawn(async move {
        Client::connect(address)
            .await
            .try_send(Request::get("/").body(empty()).unwrap())
            .await
    });
    eventually("in flight", || node.control.load(app.backend.instance).in_flight == 1).await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (503, Some("queue-timeout")));
    assert!(answer.headers.contains_key("retry-after"));
    stuck.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_goes_on_when_another_instance_comes() {
    let node = TestNode::start().await;
    let stuck = App::start(|_| std::future::pending::<Response<AppBody>>()).await;
    let one_each = |route: &mut weir_model::route::Route| route.concurrency = 1;
    node.control
        .publish_and_wait(with_route(routes(&[&stuck]), one_each))
        .await;
    let address = node.address;
    let ask = move || async move {
        Client::connect(address)
            .await
            .send(Request::get("/").body(empty()).unwrap())
            .await
    };
    let first = tokio::spawn(ask());
    eventually("in flight", || node.control.load(stuck.backend.instance).in_flight == 1).await;
    let waiting: Vec<_> = (0..20).map(|_| tokio::spawn(ask())).collect();
    eventually("they wait", || {
        node.control.last_report().is_some_and(|report| report.waiting == 20)
    })
    .await;
    let quick = App::says("quick").await;
    node.control.publish(with_route(routes(&[&stuck, &quick]), one_each));
    for answer in within(10, "the queue goes on", join_all(waiting)).await {
        assert_eq!(answer.unwrap().text(), "quick");
    }
    first.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_refuses_connections_is_passed_over() {
    let node = TestNode::start().await;
    let alive = App::says("alive").await;
    let dead = dead_backend().await;
    let pool = vec![dead.clone(), alive.backend.clone()];
    node.control
        .publish_and_wait(snapshot(vec![route("/", RouteState::Serve, pool)]))
        .await;
    for _ in 0..50 {
        assert_eq!(node.send(Request::post("/")).await.text(), "alive");
    }
    eventually("the failures are reported", || {
        node.control.load(dead.instance).connect_failures > 0
    })
    .await;
    assert!(
        node.control.load(dead.instance).connect_failures < 40,
        "suspects are not avoided"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_wait_for_the_successor_of_an_instance_that_died() {
    let node = TestNode::start().await;
    let dead = dead_backend().await;
    node.control
        .publish_and_wait(snapshot(vec![route("/", RouteState::Serve, vec![dead])]))
        .await;
    let address = node.address;
    let waiting = tokio::spawn(async move {
        Client::connect(address)
            .await
            .send(Request::post("/").body(full("x")).unwrap())
            .await
    });
    eventually("it waits", || {
        node.control.last_report().is_some_and(|report| report.waiting == 1)
    })
    .await;
    let successor = App::says("successor").await;
    node.control.publish(routes(&[&successor]));
    assert_eq!(within(5, "the answer", waiting).await.unwrap().text(), "successor");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_never_comes_gets_a_page_in_the_end() {
    let node = TestNode::start_with(|config| config.limits.unreachable_timeout = Duration::from_millis(200)).await;
    let dead = dead_backend().await;
    node.control
        .publish_and_wait(snapshot(vec![route("/", RouteState::Serve, vec![dead])]))
        .await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (502, Some("unreachable")));
    node.control
        .publish_and_wait(snapshot(vec![route("/", RouteState::Serve, vec![])]))
        .await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (503, Some("no-instance")));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_before_the_first_snapshot_wait_for_it() {
    let node = TestNode::start_with(|config| config.limits.unreachable_timeout = Duration::from_millis(500)).await;
    let answer = node.get("/").await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (503, Some("starting")));
    let app = App::says("there").await;
    let address = node.address;
    let waiting = tokio::spawn(async move {
        Client::connect(address)
            .await
            .send(Request::get("/").body(empty()).unwrap())
            .await
    });
    node.control.publish(routes(&[&app]));
    assert_eq!(within(5, "the answer", waiting).await.unwrap().text(), "there");
}
