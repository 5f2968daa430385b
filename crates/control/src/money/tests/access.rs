//! What nodes have served against what they have paid.

use std::collections::BTreeMap;

use weir_ledger::Pico;
use weir_ledger::protocol::{Closing, Usage};
use weir_model::ProcessName;
use weir_model::route::{AccessCounts, MeterMark, NodeReport};

use super::*;

const METER: &str = "node:test";

/// What the process of a node says that it has served.
fn served(run: u64, incarnation: u64, requests: u64) -> NodeReport {
    let counts = AccessCounts {
        requests,
        egress_bytes: requests * 1_000,
        ..AccessCounts::default()
    };
    NodeReport {
        incarnation: run,
        access: BTreeMap::from([(environment().id, counts)]),
        meter: Some(MeterMark {
            meter: METER.to_owned(),
            first: incarnation,
            incarnation,
        }),
        ..NodeReport::default()
    }
}

fn last(report: NodeReport) -> NodeReport {
    NodeReport {
        leaving: true,
        ..report
    }
}

async fn reports(money: &Money, report: NodeReport) {
    if let Some(run) = money.note_access(&report) {
        money.keep_access(run).await;
    }
}

fn usage(requests: u64) -> Usage {
    let line = |sku| LineKey {
        app: Some(AppName::new("shop").unwrap()),
        process: Some(ProcessName::web()),
        sku,
    };
    // Lookups of names are paid by nobody's process, and not served by the ingress.
    let lookups = LineKey {
        app: None,
        process: None,
        sku: Sku::EGRESS,
    };
    vec![
        (line(Sku::REQUESTS), requests),
        (line(Sku::EGRESS), requests * 1_000),
        (lookups, 77),
    ]
}

/// A meter says what it has paid for; asks for more money first.
async fn pays(money: &Money, incarnation: u64, requests: u64, closed: bool) {
    let mut node = Node::new(incarnation);
    let mut says = node.says(Some(1_000_000), false);
    says.leases[0].usage = Vec::new();
    node.granted = money.exchange(says).await.unwrap().leases[0].granted;
    let mut says = node.says(None, closed);
    says.leases[0].usage = usage(requests);
    money.exchange(says).await.unwrap();
}

async fn findings(money: &Money) -> Vec<String> {
    money.audit().await.unwrap().findings
}

#[tokio::test]
async fn what_was_served_and_paid_alike_is_no_drift() {
    let house = House::new().await;
    let money = house.open().await;
    pays(&money, 1, 7, true).await;
    reports(&money, last(served(1, 1, 7))).await;
    let report = money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
    assert_eq!((report.accesses, report.unserved_requests), (1, 0));
}

#[tokio::test]
async fn a_request_that_was_served_without_payment_is_found_also_after_a_restart() {
    let house = House::new().await;
    let money = house.open().await;
    pays(&money, 1, 7, true).await;
    reports(&money, last(served(1, 1, 8))).await;
    let expected = [
        format!(
            "{} at {METER}: 1 requests were served and not paid for: 8 went to instances, 7 are in the ledger",
            environment().id
        ),
        format!(
            "{} at {METER}: 1000 bytes of answers were sent and not paid for: 8000 went to clients, 7000 are in the ledger",
            environment().id
        ),
    ];
    assert_eq!(findings(&money).await, expected);
    money.close().await;
    let money = house.open().await;
    assert_eq!(findings(&money).await, expected);
}

#[tokio::test]
async fn what_was_paid_and_not_served_needs_a_reason() {
    let house = House::new().await;
    let money = house.open().await;
    pays(&money, 1, 7, true).await;
    let mut report = last(served(1, 1, 6));
    if let Some(counts) = report.access.get_mut(&environment().id) {
        counts.egress_bytes = 7_000;
    }
    reports(&money, report.clone()).await;
    let found = findings(&money).await;
    assert!(
        matches!(&found[..], [one] if one.contains("1 requests were paid for and not served")),
        "{found:?}"
    );
    // It was turned away.
    if let Some(counts) = report.access.get_mut(&environment().id) {
        counts.turned_away = 1;
    }
    reports(&money, report).await;
    let report = money.audit().await.unwrap();
    assert_eq!((report.findings, report.unserved_requests), (Vec::new(), 1));
}

/// A node is killed; its log knew of 5 requests, and that up to `drawn` nano were drawn.
async fn killed(house: &House, money: &Money, served_by_then: u64, drawn: i64) {
    pays(money, 1, 5, false).await;
    reports(money, served(1, 1, served_by_then)).await;
    house.clock.forward(10_000);
    let closing = Closing {
        incarnation: 1,
        lease: LeaseKey {
            environment: environment().id,
            number: 1,
        },
        drawn: Pico(drawn * 1_000),
        returned: Nano::ZERO,
        usage: usage(5),
    };
    let begins = Exchange {
        meter: METER.to_owned(),
        incarnation: 2,
        boot: 2,
        closings: vec![closing],
        leases: Vec::new(),
    };
    money.exchange(begins).await.unwrap();
    pays(money, 2, 3, true).await;
    reports(money, last(served(2, 2, 3))).await;
}

#[tokio::test]
async fn what_a_killed_node_had_served_is_in_what_was_lost() {
    let house = House::new().await;
    let money = house.open().await;
    // It served 9 of which 5 are accounted for; what it had drawn pays for the others.
    killed(&house, &money, 9, 100_000).await;
    let report = money.audit().await.unwrap();
    assert_eq!((report.findings, report.accesses), (Vec::new(), 2));
}

#[tokio::test]
async fn what_a_killed_node_had_not_told_is_not_known_to_be_served() {
    let house = House::new().await;
    let money = house.open().await;
    killed(&house, &money, 2, 100_000).await;
    let report = money.audit().await.unwrap();
    assert_eq!((report.findings, report.unserved_requests), (Vec::new(), 3));
}

#[tokio::test]
async fn a_killed_node_that_served_more_than_it_had_drawn_is_found() {
    let house = House::new().await;
    let money = house.open().await;
    killed(&house, &money, 9_000, 100_000).await;
    let found = findings(&money).await;
    assert!(
        found
            .iter()
            .any(|found| found.contains("8995 requests were served and not paid for")),
        "{found:?}"
    );
}

#[tokio::test]
async fn nodes_that_serve_meanwhile_are_compared_to_the_unit() {
    let house = House::new().await;
    let money = house.open().await;
    for unpaid in [0, 1] {
        let busy = {
            let money = money.clone();
            // Pays first, serves then, and tells both apart.
            tokio::spawn(async move {
                for requests in 10.. {
                    pays(&money, 1, requests, false).await;
                    reports(&money, served(1, 1, requests - 3 + unpaid * 100_000)).await;
                    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                    let mut later = served(1, 1, requests + unpaid * 100_000);
                    later.access.values_mut().for_each(|counts| counts.open = 1);
                    reports(&money, later).await;
                }
            })
        };
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let report = money.audit().await.unwrap();
        busy.abort();
        let _ = busy.await;
        assert_eq!(report.accesses, 1);
        assert_eq!(report.findings.is_empty(), unpaid == 0, "{:?}", report.findings);
    }
}
