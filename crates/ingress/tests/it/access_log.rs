//! Entries of access logs reach control, and names of requests reach everybody.

use http::{Request, Response};
use weir_model::access_log::{AccessEntry, AccessLogging};
use weir_model::route::{RouteSnapshot, RouteState};

use crate::support::*;
use crate::upgrades::{echo, shouting_app, upgrade_over};

fn logging(snapshot: RouteSnapshot, mode: AccessLogging) -> RouteSnapshot {
    with_route(snapshot, |route| route.access_log = mode)
}

async fn entries(node: &TestNode, number: usize) -> Vec<AccessEntry> {
    eventually("entries come", || node.control.access_entries().len() >= number).await;
    node.control.access_entries()
}

/// Tells the names that the request has.
async fn naming_app() -> App {
    App::start(|request| async move {
        let told = |name: &str| {
            request
                .headers()
                .get(name)
                .map_or("-", |value| value.to_str().unwrap())
                .to_owned()
        };
        let text = format!(
            "{} {} {}",
            told("x-request-id"),
            told("traceparent"),
            told("tracestate")
        );
        let own = Response::builder().header("x-request-id", "the-apps-own");
        own.body(full(text)).unwrap()
    })
    .await
}

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_logged_with_all_that_is_known_of_it() {
    let node = TestNode::start().await;
    let app = naming_app().await;
    node.control
        .publish_and_wait(logging(routes(&[&app]), AccessLogging::On))
        .await;
    let request = Request::post("/buy?token=secret")
        .header("host", "Shop.localhost:80")
        .header("user-agent", "agent\"} \\ \t{")
        .header("referer", "https://a.example/list?token=secret")
        .header("x-request-id", "order-1")
        .header("traceparent", PARENT)
        .header("tracestate", "a=1");
    let answer = Client::connect(node.address)
        .await
        .send(request.body(full("12345")).unwrap())
        .await;
    assert_eq!(answer.text(), format!("order-1 {PARENT} a=1"));
    assert_eq!(answer.headers["x-request-id"], "order-1");
    let entry = entries(&node, 1).await.remove(0);
    let asked = &entry.request;
    assert_eq!(
        (asked.method.as_str(), asked.host.as_str(), asked.path.as_str()),
        ("POST", "shop.localhost", "/buy")
    );
    assert_eq!(
        (asked.query.as_deref(), asked.referer.as_deref()),
        (None, Some("https://a.example/list"))
    );
    assert_eq!(asked.user_agent.as_deref(), Some("agent\"} \\ \t{"));
    assert_eq!(
        (asked.request_id.as_str(), asked.trace_id.as_str()),
        ("order-1", &PARENT[3..35])
    );
    assert_eq!((asked.protocol.as_str(), asked.tls.as_deref()), ("HTTP/1.1", None));
    assert!(asked.client.is_loopback());
    assert_eq!((entry.status, entry.answered_by.as_deref()), (Some(200), Some("app")));
    assert_eq!((entry.received_bytes, entry.sent_bytes), (5, answer.body.len() as u64));
    assert_eq!(
        (entry.instance, entry.process.as_str()),
        (Some(app.backend.instance), "web")
    );
    assert!(entry.first_byte_us.unwrap() > 0 && entry.first_byte_us.unwrap() <= entry.duration_us);
    assert!(!serde_json::to_string(&entry).unwrap().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_logged_unless_it_is_switched_on_and_pages_are_logged_too() {
    let node = TestNode::start().await;
    let app = naming_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let answer = node.get("/?a=1").await;
    // Nobody gave it names, so it got some.
    let names: Vec<&str> = answer.text().split(' ').collect();
    assert_eq!((names[0].len(), names[1].len(), names[2]), (32, 55, "-"));
    assert!(names[1].ends_with("-00"));
    assert_eq!(answer.headers["x-request-id"], names[0]);
    node.control
        .publish_and_wait(logging(routes(&[&app]), AccessLogging::WithQuery))
        .await;
    node.get("/?b=2").await;
    node.control
        .publish_and_wait(logging(in_state(RouteState::Paused), AccessLogging::On))
        .await;
    let page = node.get("/?c=3").await;
    assert_eq!(page.weir(), Some("paused"));
    let entries = entries(&node, 2).await;
    let queries: Vec<_> = entries.iter().map(|entry| entry.request.query.as_deref()).collect();
    assert_eq!(queries, [Some("b=2"), None]);
    assert_eq!(
        (entries[1].status, entries[1].answered_by.as_deref()),
        (Some(503), Some("paused"))
    );
    assert_eq!(entries[1].instance, None);
    assert_eq!(page.headers["x-request-id"], entries[1].request.request_id.as_str());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tunnel_is_logged_at_its_end_with_what_went_through() {
    let node = TestNode::start().await;
    let app = shouting_app().await;
    node.control
        .publish_and_wait(logging(routes(&[&app]), AccessLogging::On))
        .await;
    let mut socket = upgrade_over(Client::connect(node.address).await).await;
    echo(&mut socket).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert!(node.control.access_entries().is_empty(), "it goes on");
    drop(socket);
    let entry = entries(&node, 1).await.remove(0);
    assert_eq!(
        (entry.status, entry.received_bytes, entry.sent_bytes),
        (Some(101), 5, 5)
    );
    assert!(entry.duration_us > 300_000 && entry.first_byte_us.unwrap() < entry.duration_us);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_tells_what_it_has() {
    let mut node = TestNode::start().await;
    let app = naming_app().await;
    node.control
        .publish_and_wait(logging(routes(&[&app]), AccessLogging::On))
        .await;
    let mut client = Client::connect(node.address).await;
    for _ in 0..700 {
        client.send(Request::new(empty())).await;
    }
    drop(client);
    node.stop().await;
    assert_eq!(node.control.access_entries().len(), 700);
}
