//! What the charts are made of: right over any range, the same after a restart, a gap where nothing was
//! measured, and to each only what he may see.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use weir_control::Context;
use weir_control::clock::{Clock, SystemClock};
use weir_control::metrics::history::{Apart, Range, Recorder, Series};
use weir_model::EnvironmentId;
use weir_model::metrics::{BUCKETS, Histogram, NodeMetrics, RouteMetrics, SOCKET, StatusMetrics};

use crate::harness::{Control, answer};

/// A clock that the test sets.
#[derive(Debug)]
struct HandClock(AtomicI64);

impl Clock for HandClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

/// The beginning of a day, so that steps of every length begin there.
const BEGIN_MS: i64 = 1_800_057_600_000;

/// A control, a node that has counted what the test says, and a recorder.
struct World {
    control: Control,
    clock: Arc<HandClock>,
    node: Arc<Mutex<Option<NodeMetrics>>>,
    recorder: Recorder,
    environment: EnvironmentId,
    steady: Duration,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(HandClock(AtomicI64::new(BEGIN_MS)));
        let control = Control::start_by(clock.clone()).await;
        let shop = control.project("shop").await;
        let environment = control.production(&shop).await.id;
        let node = Arc::new(Mutex::new(None));
        let folder = control.context.config.data.join("run");
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(SOCKET)).unwrap();
        let told = Arc::clone(&node);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let text = told.lock().unwrap().as_ref().map(|it| serde_json::to_vec(it).unwrap());
                let _ = stream.write_all(&text.unwrap_or_default()).await;
            }
        });
        Self {
            recorder: Recorder::new(control.context.clone()),
            control,
            clock,
            node,
            environment,
            steady: Duration::ZERO,
        }
    }

    /// The node has counted so many requests by now: in time, late, and failed. `None`: it does not answer.
    fn counts(&self, counts: Option<(u64, u64, u64)>) {
        let status = |digit, app, buckets: &[(usize, u64)]| {
            let mut all = vec![0; BUCKETS];
            buckets.iter().for_each(|(bucket, count)| all[*bucket] = *count);
            StatusMetrics {
                digit,
                app,
                first_byte: Histogram {
                    buckets: all,
                    sum_us: 0,
                },
                ..StatusMetrics::default()
            }
        };
        *self.node.lock().unwrap() = counts.map(|(fast, slow, failed)| NodeMetrics {
            incarnation: 1,
            routes: vec![RouteMetrics {
                environment: Some(self.environment),
                target: "shop.web".to_owned(),
                path_prefix: "/".to_owned(),
                class: "default".to_owned(),
                statuses: vec![
                    status(2, fast + slow, &[(0, fast), (10, slow)]),
                    status(5, failed, &[(0, failed)]),
                ],
                ..RouteMetrics::default()
            }],
            ..NodeMetrics::default()
        });
    }

    async fn look(&mut self) {
        self.recorder.look(self.steady).await.unwrap();
    }

    /// Ten seconds pass, on both clocks; then a look is taken.
    async fn pass(&mut self) {
        self.clock.0.fetch_add(10_000, Ordering::SeqCst);
        self.steady += Duration::from_secs(10);
        self.look().await;
    }

    async fn get(&self, query: &str, token: &str) -> (StatusCode, Value) {
        let path = format!("/v1/projects/shop/environments/production/metrics?{query}");
        answer(self.control.request(Method::GET, &path).bearer_auth(token)).await
    }

    async fn asked(&self, query: &str) -> Value {
        let (status, body) = self.get(query, &self.control.admin).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }
}

fn values(body: &Value, name: &str) -> Vec<Option<f64>> {
    let series = body["series"].as_array().unwrap();
    let found = series.iter().find(|series| series["name"] == name);
    let values = found.unwrap_or_else(|| panic!("no {name} in {body}"))["values"].as_array();
    values.unwrap().iter().map(Value::as_f64).collect()
}

#[tokio::test]
async fn charts_say_what_the_node_has_counted_with_gaps_where_it_was_silent() {
    let mut world = World::new().await;
    world.counts(Some((1_000, 50, 7)));
    world.look().await;
    world.counts(Some((1_090, 50, 17)));
    world.pass().await;
    world.counts(None);
    world.pass().await;
    world.counts(Some((1_090, 60, 17)));
    world.pass().await;

    let body = world
        .asked("from=60s&series=requests,errors,latency_p50,latency_p99,instances")
        .await;
    assert_eq!(
        (&body["step_s"], &body["until"]),
        (&10.into(), &"2027-01-16T00:00:30.000Z".into()),
        "{body}"
    );
    let newest = |name| values(&body, name).split_off(3);
    // The node was silent in the second step, and known again for the twenty seconds until the end of the third.
    assert_eq!(newest("requests"), [Some(10.0), None, Some(0.5)]);
    assert_eq!(newest("errors"), [Some(1.0), None, Some(0.0)]);
    let p50 = newest("latency_p50");
    assert!(
        p50[0].unwrap() <= 0.001 && p50[1].is_none() && p50[2].unwrap() > 1.0,
        "{p50:?}"
    );
    assert_eq!(newest("instances"), [Some(0.0), Some(0.0), Some(0.0)]);
    let before = values(&body, "requests");
    assert_eq!(before[..3], [None; 3], "nobody looked then: {before:?}");

    // Over a minute: 100 quick ones and 10 slow ones, of which p50 knows none and p99 all.
    let body = world
        .asked("from=60s&step_s=60&series=latency_p99,latency_p50,requests")
        .await;
    let newest = |name| *values(&body, name).last().unwrap();
    assert!(newest("latency_p50").unwrap() <= 0.001 && newest("latency_p99").unwrap() > 1.0);
    assert_eq!(newest("requests"), Some(110.0 / 30.0));
}

#[tokio::test]
async fn a_restart_loses_nothing_that_was_written_and_shows_the_time_between_as_a_gap() {
    let mut world = World::new().await;
    world.counts(Some((0, 0, 0)));
    world.look().await;
    for look in 1..=12_u64 {
        world.counts(Some((look * 20, 0, 0)));
        world.pass().await;
    }
    world.recorder.flush().await.unwrap();

    // A control that knows only what is stored, a minute later; the node went on counting.
    world.clock.0.fetch_add(60_000, Ordering::SeqCst);
    let again = Context {
        history: Arc::default(),
        ..world.control.context.clone()
    };
    world.recorder = Recorder::new(again.clone());
    world.counts(Some((500, 0, 0)));
    world.look().await;
    world.counts(Some((530, 0, 0)));
    world.pass().await;
    let now_ms = world.clock.now_ms();
    let read = async |step_s| {
        let range = Range::choose(BEGIN_MS, now_ms, Some(step_s), Apart::Nothing, now_ms).unwrap();
        let series = [Series::Requests];
        let store = &again.store;
        let lines = again
            .history
            .read(store, world.environment, &range, &series, Apart::Nothing);
        lines.await.unwrap().remove(0).values
    };
    let told = read(10).await;
    let expected: Vec<Option<f64>> = (0..19)
        .map(|step| match step {
            0..12 => Some(2.0),
            18 => Some(3.0),
            _ => None,
        })
        .collect();
    assert_eq!(told, expected);
    assert_eq!(read(60).await, [Some(2.0), Some(2.0), None, Some(3.0)]);
    // 240 in 120 s and 30 in 10 s.
    assert_eq!(read(900).await, [Some(270.0 / 130.0)]);
}

#[tokio::test]
async fn processes_are_told_apart_and_releases_marked() {
    let mut world = World::new().await;
    let shop = weir_model::ProjectName::new("shop").unwrap();
    let shop = world
        .control
        .context
        .store
        .project_by_name(&shop)
        .await
        .unwrap()
        .unwrap();
    world.counts(Some((0, 0, 0)));
    world.look().await;
    let (release, _) = world.control.live(&shop).await;
    world.counts(Some((30, 0, 0)));
    world.pass().await;
    let body = world.asked("by=process&series=requests,cpu").await;
    let series = body["series"].as_array().unwrap();
    assert_eq!(series.len(), 2, "{body}");
    for one in series {
        assert_eq!((&one["app"], &one["process"]), (&"shop".into(), &"web".into()));
        assert_eq!(one["values"].as_array().unwrap().len(), 360);
    }
    assert_eq!(values(&body, "requests").last().unwrap(), &Some(3.0));
    assert_eq!(
        body["marks"],
        serde_json::json!([{"at": "2027-01-16T00:00:00.000Z", "release": release.number, "kind": "release"}])
    );
}

#[tokio::test]
async fn who_sees_no_money_sees_no_cost_and_wrong_questions_are_explained() {
    let mut world = World::new().await;
    world.look().await;
    world.pass().await;
    let viewer = world
        .control
        .call(
            Method::POST,
            "/v1/service-accounts",
            Some(serde_json::json!({"name": "eye", "grant": {"role": "viewer", "scope": "shop"}})),
        )
        .await;
    let path = format!("/v1/service-accounts/{}/tokens", viewer.1["id"].as_str().unwrap());
    let body = serde_json::json!({"name": "eye"});
    let (status, token) = world.control.call(Method::POST, &path, Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{token}");
    let token = token["secret"].as_str().unwrap();
    let (status, body) = world.get("", token).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let names: BTreeSet<&str> = body["series"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    assert!(names.contains("cpu") && !names.contains("cost"), "{names:?}");
    assert_eq!(world.get("series=cpu,cost", token).await.0, StatusCode::FORBIDDEN);
    let body = world.asked("series=cost").await;
    assert_eq!(body["series"][0]["unit"], "EUR/h");
    for (query, word) in [
        ("series=sheep", "sheep"),
        ("from=1h&until=2h", "before"),
        ("from=yesterday", "yesterday"),
        ("by=sku", "sku"),
        ("step=1", "step"),
    ] {
        let (status, body) = world.get(query, &world.control.admin).await;
        assert!(
            status.is_client_error() && body.to_string().contains(word),
            "{query}: {body}"
        );
    }
}

/// Names of what `/metrics` tells, histograms with their parts.
async fn told_names(control: &Control) -> BTreeSet<String> {
    let text = control
        .as_admin(Method::GET, "/metrics")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let mut names = BTreeSet::new();
    for line in text.lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        names.insert(name.to_owned());
        if kind == "histogram" {
            names.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        }
    }
    names
}

/// All queries of a dashboard, wherever they are in it.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                match value {
                    Value::String(text) if key == "expr" || key == "definition" => found.push(text.clone()),
                    value => queries(value, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| queries(value, found)),
        _ => {}
    }
}

#[tokio::test]
async fn the_dashboard_asks_for_nothing_that_is_not_told() {
    let mut world = World::new().await;
    world.counts(Some((1, 1, 1)));
    world.look().await;
    let told = told_names(&world.control).await;
    let dashboard: Value = serde_json::from_str(include_str!("../../../../deploy/grafana-dashboard.json")).unwrap();
    let mut asked = Vec::new();
    queries(&dashboard, &mut asked);
    let mut names = BTreeSet::new();
    for query in &asked {
        let words = query.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
        let own: Vec<&str> = words.filter(|word| word.starts_with("weir_")).collect();
        assert!(!own.is_empty(), "{query} is about nothing of Weir");
        names.extend(own.into_iter().map(str::to_owned));
    }
    assert!(names.len() >= 10, "{names:?}");
    let missing: Vec<_> = names.difference(&told).collect();
    assert!(missing.is_empty(), "not told: {missing:?}");
}
