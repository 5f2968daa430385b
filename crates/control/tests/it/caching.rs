//! What nodes keep of answers over HTTP: seen, and forgotten once every node has confirmed it.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir_model::cache::CacheCounts;
use weir_model::route::NodeReport;

use crate::harness::Control;

const CACHE: &str = "/v1/projects/shop/environments/production/cache";
const PURGE: &str = "/v1/projects/shop/environments/production/cache/purge";

#[tokio::test]
async fn a_purge_is_done_when_every_node_has_confirmed_it() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let environment = control.production(&shop).await;
    let purge = async |body| control.call(Method::POST, PURGE, Some(body)).await;
    // Without a node nothing is kept.
    let (status, first) = purge(json!({})).await;
    assert_eq!(status, StatusCode::OK, "{first}");
    let (_, second) = purge(json!({"host": "shop.localhost", "path": "/img/*"})).await;
    assert!(second["number"].as_u64() > first["number"].as_u64(), "{first} {second}");
    for body in [json!({"host": "a b"}), json!({"path": "img"}), json!({"path": "/*/x"})] {
        let (status, problem) = purge(body.clone()).await;
        let found = (status, &problem["type"]);
        assert_eq!(
            found,
            (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid-input")),
            "{body}"
        );
    }
    let counts = CacheCounts {
        entries: 3,
        bytes: 4_000,
        disk_bytes: 5_000_000,
        hits: 3,
        misses: 1,
        ..CacheCounts::default()
    };
    let report = move |applied_generation| NodeReport {
        incarnation: 1,
        applied_generation,
        cache: [(environment.id, counts)].into(),
        ..NodeReport::default()
    };
    let reconciler = control.context.reconciler.clone();
    reconciler.node_reported(report(1), control.context.clock.now_ms());
    let (_, status) = control.call(Method::GET, CACHE, None).await;
    let expected = json!({
        "entries": 3, "bytes": 4_000, "disk_bytes": 5_000_000, "hits": 3, "misses": 1, "stale": 0, "revalidated": 0,
        "hit_rate": 0.75
    });
    assert_eq!(status, expected);
    let (status, problem) = purge(json!({})).await;
    let found = (status, &problem["type"]);
    assert_eq!(
        found,
        (StatusCode::SERVICE_UNAVAILABLE, &json!("not-confirmed")),
        "{problem}"
    );
    // A node that goes on to newer and newer routes.
    let context = control.context.clone();
    let node = tokio::spawn(async move {
        let mut generation = u64::try_from(context.clock.now_ms()).unwrap() + 1_000_000;
        loop {
            generation += 10;
            context
                .reconciler
                .node_reported(report(generation), context.clock.now_ms());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (status, purged) = purge(json!({})).await;
    assert_eq!(status, StatusCode::OK, "{purged}");
    node.abort();
}
