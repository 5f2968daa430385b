//! Releases change under load: nothing fails, and control can trust what is reported.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use weir_model::route::RouteState;

use crate::support::*;

/// Clients that send without pause, on connections that stay and on new ones.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    fn start(node: &TestNode, clients: usize) -> Self {
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let address = node.address;
        let clients = (0..clients)
            .map(|number| {
                let (stop, sent) = (Arc::clone(&stop), Arc::clone(&sent));
                tokio::spawn(async move {
                    let mut failures = Vec::new();
                    let mut client = Client::connect(address).await;
                    while !stop.load(Ordering::Relaxed) {
                        if number % 4 == 0 {
                            client = Client::connect(address).await;
                        }
                        let request = match number % 2 {
                            0 => Request::get("/").body(empty()),
                            _ => Request::post("/").body(full("some body")),
                        };
                        sent.fetch_add(1, Ordering::Relaxed);
                        match client.try_send(request.unwrap()).await {
                            Ok(answer) if answer.status == 200 => {}
                            Ok(answer) => failures.push(format!("{} {}", answer.status, answer.text())),
                            Err(error) => {
                                failures.push(error.to_string());
                                client = Client::connect(address).await;
                            }
                        }
                    }
                    failures
                })
            })
            .collect();
        Self { stop, sent, clients }
    }

    async fn reach(&self, more: u64) {
        let goal = self.sent.load(Ordering::Relaxed) + more;
        eventually("requests go on", || self.sent.load(Ordering::Relaxed) >= goal).await;
    }

    async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in self.clients {
            failures.extend(within(20, "a client ends", client).await.unwrap());
        }
        (self.sent.load(Ordering::Relaxed), failures)
    }
}

/// An app that takes a moment, and notices when it is asked after it was said to be drained.
async fn watched_app(closed: Arc<AtomicBool>, late: Arc<AtomicU64>) -> App {
    App::start(move |request: Request<hyper::body::Incoming>| {
        let (closed, late) = (Arc::clone(&closed), Arc::clone(&late));
        async move {
            if closed.load(Ordering::SeqCst) {
                late.fetch_add(1, Ordering::SeqCst);
            }
            let _ = request.into_body().collect().await;
            tokio::time::sleep(Duration::from_millis(fastrand::u64(0..5))).await;
            Response::new(full("ok"))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pools_switch_under_load_without_a_failed_request() {
    let node = TestNode::start().await;
    let late = Arc::new(AtomicU64::new(0));
    let mut closed = Arc::new(AtomicBool::new(false));
    let mut old = watched_app(Arc::clone(&closed), Arc::clone(&late)).await;
    node.control.publish_and_wait(routes(&[&old])).await;
    let load = Load::start(&node, 16);
    for _ in 0..20 {
        load.reach(50).await;
        let new_closed = Arc::new(AtomicBool::new(false));
        let new = watched_app(Arc::clone(&new_closed), Arc::clone(&late)).await;
        let generation = node.control.publish(with_draining(routes(&[&new]), &[&old]));
        let instance = old.backend.instance;
        eventually("the old instance is drained", || {
            let reports = node.control.reports_of_generation(generation);
            let loads: Vec<u64> = reports
                .iter()
                .map(|report| report.load.get(&instance).map_or(0, |load| load.in_flight))
                .collect();
            assert!(
                loads.is_sorted_by(|earlier, later| earlier >= later),
                "in flight rose while draining: {loads:?}"
            );
            loads.last() == Some(&0)
        })
        .await;
        // What control does now: it believes the report and ends the instance.
        closed.store(true, Ordering::SeqCst);
        old.kill();
        node.control.publish_and_wait(routes(&[&new])).await;
        (old, closed) = (new, new_closed);
    }
    let (sent, failures) = load.end().await;
    println!("{sent} requests over 20 switches");
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(
        late.load(Ordering::SeqCst),
        0,
        "requests that came after the instance was reported drained"
    );
    assert!(sent >= 1_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_held_route_delays_requests_and_loses_none() {
    let node = TestNode::start().await;
    let late = Arc::new(AtomicU64::new(0));
    let mut closed = Arc::new(AtomicBool::new(false));
    let mut old = watched_app(Arc::clone(&closed), Arc::clone(&late)).await;
    node.control.publish_and_wait(routes(&[&old])).await;
    let load = Load::start(&node, 12);
    for _ in 0..5 {
        load.reach(50).await;
        let hold = in_state(RouteState::Hold { timeout_ms: 10_000 });
        let generation = node.control.publish(with_draining(hold, &[&old]));
        eventually("the old instance is drained", || {
            let reports = node.control.reports_of_generation(generation);
            reports.last().is_some_and(|report| {
                report
                    .load
                    .get(&old.backend.instance)
                    .is_none_or(|load| load.in_flight == 0)
            })
        })
        .await;
        closed.store(true, Ordering::SeqCst);
        old.kill();
        closed = Arc::new(AtomicBool::new(false));
        old = watched_app(Arc::clone(&closed), Arc::clone(&late)).await;
        eventually("requests wait", || {
            node.control.last_report().is_some_and(|report| report.waiting > 0)
        })
        .await;
        node.control.publish(routes(&[&old]));
    }
    load.reach(50).await;
    let (sent, failures) = load.end().await;
    println!("{sent} requests over 5 holds");
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(late.load(Ordering::SeqCst), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_instance_finishes_what_it_has_and_its_end_is_reported_at_once() {
    let node = TestNode::start().await;
    let release = Arc::new(tokio::sync::Notify::new());
    let released = Arc::clone(&release);
    let old = App::start(move |_| {
        let released = Arc::clone(&released);
        async move {
            released.notified().await;
            Response::new(full("from the old"))
        }
    })
    .await;
    let new = App::says("from the new").await;
    node.control.publish_and_wait(routes(&[&old])).await;
    let mut client = Client::connect(node.address).await;
    let slow = tokio::spawn(async move { client.send(Request::get("/").body(empty()).unwrap()).await });
    eventually("in flight", || node.control.load(old.backend.instance).in_flight == 1).await;
    let generation = node
        .control
        .publish_and_wait(with_draining(routes(&[&new]), &[&old]))
        .await;
    assert_eq!(
        node.control.reports_of_generation(generation)[0].load[&old.backend.instance].in_flight,
        1
    );
    assert_eq!(node.get("/").await.text(), "from the new");
    let start = std::time::Instant::now();
    release.notify_one();
    eventually("drained", || node.control.load(old.backend.instance).in_flight == 0).await;
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "reported after {:?}",
        start.elapsed()
    );
    assert_eq!(slow.await.unwrap().text(), "from the old");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_is_gone_from_the_snapshot_is_cut_at_once() {
    let node = TestNode::start().await;
    let stuck = App::start(|_| std::future::pending::<Response<AppBody>>()).await;
    node.control.publish_and_wait(routes(&[&stuck])).await;
    let address = node.address;
    let post = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        client.send(Request::post("/").body(full("x")).unwrap()).await
    });
    let get = tokio::spawn(async move {
        let mut client = Client::connect(address).await;
        client.send(Request::get("/").body(empty()).unwrap()).await
    });
    eventually("in flight", || node.control.load(stuck.backend.instance).in_flight == 2).await;
    let other = App::says("other").await;
    node.control.publish_and_wait(routes(&[&other])).await;
    let post = within(5, "the post ends", post).await.unwrap();
    assert_eq!((post.status.as_u16(), post.weir()), (502, Some("upstream-closed")));
    // What does no harm when repeated goes to the new instance.
    assert_eq!(within(5, "the get ends", get).await.unwrap().text(), "other");
    eventually("nothing left", || {
        node.control.load(stuck.backend.instance).in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_to_a_draining_instance_are_closed() {
    let node = TestNode::start().await;
    let closed = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&closed);
    let old = App::start_raw(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            let mut buffer = [0; 1024];
            while stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nold")
                    .await;
            }
            seen.store(true, Ordering::Relaxed);
        }
    })
    .await;
    let new = App::says("new").await;
    node.control.publish_and_wait(routes(&[&old])).await;
    assert_eq!(node.get("/").await.text(), "old");
    assert!(!closed.load(Ordering::Relaxed));
    node.control
        .publish_and_wait(with_draining(routes(&[&new]), &[&old]))
        .await;
    eventually("the idle connection is closed", || closed.load(Ordering::Relaxed)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_node_ends_what_is_in_flight() {
    let mut node = TestNode::start().await;
    let app = App::start(|_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Response::new(full("finished"))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    let slow = tokio::spawn(async move { client.try_send(Request::get("/").body(empty()).unwrap()).await });
    eventually("in flight", || app.requests() == 1).await;
    node.stop().await;
    assert_eq!(slow.await.unwrap().unwrap().text(), "finished");
}
