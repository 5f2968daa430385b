//! What Prometheus is told: right to the unit, and to each only what he may see.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use weir_model::EnvironmentId;
use weir_model::metrics::{BUCKETS, Histogram, NodeMetrics, NodeTotals, RouteMetrics, SOCKET, StatusMetrics};

use crate::harness::Control;

/// A node that answers every question with this.
fn node(control: &Control, metrics: &NodeMetrics) {
    let folder = control.context.config.data.join("run");
    std::fs::create_dir_all(&folder).unwrap();
    let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
    let text = serde_json::to_vec(metrics).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&text).await;
        }
    });
}

fn histogram(bucket: usize, count: u64, sum_us: u64) -> Histogram {
    let mut buckets = vec![0; BUCKETS];
    buckets[bucket] = count;
    Histogram { buckets, sum_us }
}

fn route(environment: Option<EnvironmentId>, target: &str, app: u64, pages: &[(&str, u64)]) -> RouteMetrics {
    let digit = if pages.is_empty() { 2 } else { 5 };
    let status = StatusMetrics {
        digit,
        app,
        pages: pages.iter().map(|(page, count)| ((*page).to_owned(), *count)).collect(),
        first_byte: histogram(0, app, 700),
        duration: histogram(1, app, 1_500_000),
    };
    RouteMetrics {
        environment,
        target: target.to_owned(),
        path_prefix: if target.is_empty() { "" } else { "/" }.to_owned(),
        class: "default".to_owned(),
        in_flight: 4,
        received_bytes: 11,
        sent_bytes: 22,
        statuses: vec![status],
    }
}

async fn scrape(control: &Control, token: &str) -> String {
    let answer = control
        .request(Method::GET, "/metrics")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let kind = answer.headers()["content-type"].to_str().unwrap();
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    answer.text().await.unwrap()
}

/// Each family is told once, with help and type before its samples, and no sample comes twice.
fn check_format(text: &str) {
    assert!(text.ends_with('\n'));
    let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
    let mut current = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let name = rest.split(' ').next().unwrap();
            assert!(families.insert(name.to_owned()), "{name} comes twice");
            current = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, current.0);
            current.1 = kind.to_owned();
        } else {
            let (series, value) = line.rsplit_once(' ').unwrap();
            value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
            let name = series.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| name.strip_suffix(end).filter(|_| current.1 == "histogram"));
            assert_eq!(base.unwrap_or(name), current.0, "{line}");
            assert!(samples.insert(series.to_owned()), "{series} comes twice");
        }
    }
}

#[tokio::test]
async fn what_was_counted_and_what_is_known_is_told() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let own = control.production(&shop).await.id;
    let metrics = NodeMetrics {
        totals: NodeTotals {
            retries: 3,
            handshakes_failed: 2,
            ..NodeTotals::default()
        },
        routes: vec![
            route(Some(own), "shop.web", 7, &[]),
            route(Some(own), "shop.api", 0, &[("queue-full", 5)]),
            route(None, "", 0, &[("unknown-host", 9)]),
            route(Some(EnvironmentId::from_parts(1, 77)), "gone.web", 1, &[]),
        ],
        ..NodeMetrics::default()
    };
    node(&control, &metrics);
    let text = scrape(&control, &control.admin).await;
    check_format(&text);
    let of_web =
        "project=\"shop\",environment=\"production\",app=\"shop\",process=\"web\",route=\"/\",class=\"default\"";
    for line in [
        "weir_node_up 1".to_owned(),
        "weir_retries_total 3".to_owned(),
        "weir_tls_handshakes_total{result=\"failed\"} 2".to_owned(),
        format!("weir_requests_total{{{of_web},status=\"2xx\",answered_by=\"app\"}} 7"),
        format!("weir_request_duration_seconds_bucket{{{of_web},status=\"2xx\",le=\"0.001\"}} 0"),
        format!("weir_request_duration_seconds_bucket{{{of_web},status=\"2xx\",le=\"0.0025\"}} 7"),
        format!("weir_request_duration_seconds_bucket{{{of_web},status=\"2xx\",le=\"+Inf\"}} 7"),
        format!("weir_request_duration_seconds_sum{{{of_web},status=\"2xx\"}} 1.5"),
        format!("weir_request_first_byte_seconds_sum{{{of_web},status=\"2xx\"}} 0.0007"),
        format!("weir_requests_in_flight{{{of_web}}} 4"),
        format!("weir_request_body_bytes_total{{{of_web}}} 11"),
        format!("weir_response_body_bytes_total{{{of_web}}} 22"),
    ] {
        assert!(text.lines().any(|there| there == line), "there is no {line} in\n{text}");
    }
    assert!(text.contains("status=\"5xx\",answered_by=\"queue-full\"} 5"));
    assert!(text.contains("answered_by=\"unknown-host\"} 9"));
    assert!(text.contains("weir_deployment_duration_seconds{project=\"shop\",environment=\"production\"}"));
    assert!(text.contains("weir_cap_settled{scope=\"shop\","));
    assert!(!text.contains("gone"));
}

#[tokio::test]
async fn a_token_of_one_project_sees_only_this_project() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let other = control.project("other").await;
    control.live(&shop).await;
    let (own, foreign) = (control.production(&shop).await.id, control.production(&other).await.id);
    let metrics = NodeMetrics {
        routes: vec![
            route(Some(own), "shop.web", 7, &[]),
            route(Some(foreign), "other.web", 8, &[]),
            route(None, "", 0, &[("unknown-host", 9)]),
        ],
        ..NodeMetrics::default()
    };
    node(&control, &metrics);
    let text = scrape(&control, &control.token("read", Some("shop")).await).await;
    check_format(&text);
    assert!(text.contains("project=\"shop\"") && text.contains("scope=\"shop\""));
    for word in [
        "other",
        "unknown-host",
        "account:",
        "weir_retries_total",
        "weir_connections",
    ] {
        assert!(!text.contains(word), "{word} is in\n{text}");
    }
    let text = scrape(&control, &control.token("read", None).await).await;
    assert!(text.contains("project=\"other\"") && text.contains("account:default"));
    let nobody = control.request(Method::GET, "/metrics").send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn without_a_node_the_rest_is_told() {
    let control = Control::start().await;
    control.project("shop").await;
    let text = scrape(&control, &control.admin).await;
    check_format(&text);
    assert!(text.contains("weir_node_up 0\n") && text.contains("weir_cap_settled"));
    assert!(!text.contains("weir_requests_total"));
}
