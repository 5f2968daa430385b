//! What is served is counted by itself, whether or not it is paid, and agrees with what is paid.

use std::time::Duration;

use weir_ledger::Sku;
use weir_model::route::{AccessCounts, RouteState};

use crate::fund::*;
use crate::paying::{PLENTY, pays_from, streaming_app};
use crate::support::*;

fn counts(node: &TestNode) -> AccessCounts {
    let report = node.control.last_report();
    report
        .and_then(|report| report.access.get(&environment()).copied())
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_served_is_counted_as_it_is_paid() {
    let fund = Fund::of(PLENTY);
    let app = streaming_app().await;
    let mut node = TestNode::start_with(pays_from(&fund)).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    for parts in [0, 1, 7, 300] {
        assert_eq!(node.get(&format!("/{parts}")).await.body.len(), parts * 1_000);
    }
    // One whose client goes in the middle.
    let mut client = Client::connect(node.address).await;
    let request = http::Request::get("/5000").header("host", "shop.localhost");
    let answer = client.begin(request.body(empty()).unwrap()).await.unwrap();
    drop((answer, client));
    eventually("counted and paid", || {
        let counts = counts(&node);
        counts.requests == 5
            && counts.open == 0
            && fund.used(&Sku::REQUESTS) == 5
            && fund.used(&Sku::EGRESS) == counts.egress_bytes
    })
    .await;
    assert!(counts(&node).egress_bytes > 308_000);
    assert_eq!(counts(&node).turned_away, 0);
    let mark = node.control.last_report().unwrap().meter.unwrap();
    assert_eq!((mark.first, mark.incarnation), (1, 1));
    // Its last word has all of it.
    let last = counts(&node);
    node.stop().await;
    let report = node.control.last_report().unwrap();
    assert!(report.leaving);
    assert_eq!(counts(&node), last);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_paid_and_reaches_no_instance_is_told() {
    let fund = Fund::of(PLENTY);
    let node = TestNode::start_with(|config| {
        pays_from(&fund)(config);
        config.limits.unreachable_timeout = Duration::from_millis(100);
    })
    .await;
    let nobody = vec![dead_backend().await];
    node.control
        .publish_and_wait(snapshot(vec![route("/", RouteState::Serve, nobody)]))
        .await;
    assert!(node.get("/").await.status.is_server_error());
    eventually("told", || counts(&node).turned_away == 1).await;
    assert_eq!((counts(&node).requests, fund.used(&Sku::REQUESTS)), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_pays_for_is_counted_all_the_same() {
    let app = App::says("hello").await;
    let node = TestNode::start().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    assert_eq!(node.get("/").await.status, 200);
    eventually("counted", || {
        let counts = counts(&node);
        counts.requests == 1 && counts.egress_bytes > 5
    })
    .await;
}
