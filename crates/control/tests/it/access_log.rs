//! Access logs: switched on by whoever may, kept apart from what apps write, shipped without loss.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use weir_control::{access_log, node_link};
use weir_model::access_log::{AccessBatch, AccessEntry, AccessRequest};
use weir_model::log::{LogLine, LogStream};
use weir_model::{AppName, EnvironmentId, ProcessName};

use crate::harness::Control;

const PATH: &str = "/v1/projects/shop/environments/production/access-log";
const SHIPPING: &str = "/v1/projects/shop/environments/production/access-log/shipping";
const LOGS: &str = "/v1/projects/shop/environments/production/logs";

fn shop() -> AppName {
    AppName::new("shop").unwrap()
}

fn entry(environment: EnvironmentId, path: &str) -> AccessEntry {
    AccessEntry {
        environment,
        app: shop(),
        process: "web".to_owned(),
        at_ms: 1_700_000_000_000,
        request: AccessRequest {
            client: [9, 9, 9, 9].into(),
            method: "GET".to_owned(),
            host: "shop.localhost".to_owned(),
            path: path.to_owned(),
            query: None,
            protocol: "HTTP/1.1".to_owned(),
            tls: None,
            user_agent: Some("\"}\n{\"status\":200".to_owned()),
            referer: None,
            request_id: "r".to_owned(),
            trace_id: "t".to_owned(),
        },
        status: Some(200),
        answered_by: Some("app".to_owned()),
        instance: None,
        received_bytes: 1,
        sent_bytes: 2,
        first_byte_us: Some(3),
        duration_us: 4,
    }
}

/// The node tells of requests.
async fn tell(control: &Control, batch: &AccessBatch) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/node/access-log", listener.local_addr().unwrap());
    let router = node_link::router(control.context.clone());
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let answer = reqwest::Client::new().post(url).json(batch).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    serving.abort();
}

async fn lines(control: &Control, query: &str) -> Vec<Value> {
    control.context.logs.flush().await;
    let (status, body) = control.call(Method::GET, &format!("{LOGS}?{query}"), None).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body.as_array().unwrap().clone()
}

fn said(line: &Value) -> Value {
    serde_json::from_str(line["text"].as_str().unwrap()).unwrap()
}

#[tokio::test]
async fn lines_are_kept_apart_from_what_the_app_writes() {
    let control = Control::start().await;
    let project = control.project("shop").await;
    control.live(&project).await;
    let environment = control.production(&project).await.id;
    let own = LogLine {
        at_ms: 1_700_000_000_000,
        app: shop(),
        process: ProcessName::new("web").unwrap(),
        instance: None,
        stream: LogStream::Stdout,
        text: "written by the app".to_owned(),
    };
    control.context.logs.append(environment, &[own]).await;
    let batch = AccessBatch {
        entries: vec![entry(environment, "/a"), entry(environment, "/b")],
        dropped: vec![(environment, shop(), 7)],
    };
    tell(&control, &batch).await;
    let output = lines(&control, "limit=100").await;
    assert_eq!((output.len(), &output[0]["text"]), (1, &json!("written by the app")));
    let access = lines(&control, "access=true&limit=100").await;
    assert_eq!(access.len(), 3);
    assert!(
        access[0]["text"]
            .as_str()
            .unwrap()
            .starts_with("7 requests are left out")
    );
    assert_eq!(access[1]["process"], "access");
    let read = said(&access[1]);
    assert_eq!(
        (&read["path"], &read["status"], &read["client"]),
        (&json!("/a"), &json!(200), &json!("9.9.9.9"))
    );
    assert_eq!(read["user_agent"], "\"}\n{\"status\":200");
    assert_eq!(lines(&control, "access=true&grep=%2Fb").await.len(), 1);
    control.context.logs.remove_environment(environment).await.unwrap();
    assert!(lines(&control, "access=true").await.is_empty());
}

#[tokio::test]
async fn it_is_switched_by_those_who_may_deploy() {
    let control = Control::start().await;
    let project = control.project("shop").await;
    control.live(&project).await;
    let main = |body: &Value| {
        let apps = body["apps"].as_array().unwrap();
        apps.iter().find(|app| app["main"] == true).unwrap().clone()
    };
    let logging = |body: &Value| main(body)["logging"].as_str().unwrap().to_owned();
    let (_, body) = control.call(Method::GET, PATH, None).await;
    assert_eq!((logging(&body), &main(&body)["set"]), ("off".to_owned(), &json!(false)));
    for (asked, is, set) in [
        (json!("with-query"), "with-query", true),
        (json!("on"), "on", true),
        (Value::Null, "off", false),
    ] {
        let (status, body) = control
            .call(Method::PATCH, PATH, Some(json!({ "logging": asked })))
            .await;
        assert_eq!(status, StatusCode::OK, "{body}");
        assert_eq!((logging(&body).as_str(), &main(&body)["set"]), (is, &json!(set)));
    }
    let (status, body) = control
        .call(Method::PATCH, PATH, Some(json!({"logging": "loud"})))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let (status, _) = control
        .call(Method::PATCH, PATH, Some(json!({"app": "nobody", "logging": "on"})))
        .await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let reads = control.token("read", None).await;
    let refused = control
        .request(Method::PATCH, PATH)
        .bearer_auth(reads)
        .json(&json!({"logging": "on"}));
    assert_eq!(refused.send().await.unwrap().status(), StatusCode::FORBIDDEN);
}

/// A collector that keeps what it gets, and answers as it is told to, then 200.
#[derive(Debug, Clone, Default)]
struct Collector {
    got: Arc<Mutex<Vec<(HeaderMap, String, StatusCode)>>>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
}

impl Collector {
    async fn start(&self) -> String {
        let receive = |State(collector): State<Self>, headers: HeaderMap, body: String| async move {
            let answer = collector.answers.lock().unwrap().pop_front().unwrap_or(StatusCode::OK);
            collector.got.lock().unwrap().push((headers, body, answer));
            answer
        };
        let router = axum::Router::new()
            .route("/lines", axum::routing::post(receive))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/lines", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    /// The paths of all lines that it took.
    fn taken(&self) -> Vec<String> {
        let got = self.got.lock().unwrap();
        let bodies = got.iter().filter(|(_, _, answer)| answer.is_success());
        let lines = bodies.flat_map(|(_, body, _)| body.lines());
        let path = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap()["path"]
                .as_str()
                .unwrap()
                .to_owned()
        };
        lines.map(path).collect()
    }

    async fn until(&self, number: usize) -> Vec<String> {
        for _ in 0..600 {
            let taken = self.taken();
            if taken.len() >= number {
                return taken;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{number} lines never came: {:?}", self.taken());
    }
}

#[tokio::test]
async fn lines_are_shipped_signed_in_order_and_again_until_they_are_taken() {
    let control = Control::start().await;
    let project = control.project("shop").await;
    let environment = control.production(&project).await.id;
    let collector = Collector::default();
    let wanted = json!({"url": collector.start().await, "allow_private": true});
    let (status, made) = control.call(Method::PUT, SHIPPING, Some(wanted)).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let secret = made["secret"].as_str().unwrap().to_owned();
    collector.answers.lock().unwrap().extend([StatusCode::BAD_GATEWAY]);
    let batch = |from: usize, to: usize| AccessBatch {
        entries: (from..to)
            .map(|number| entry(environment, &format!("/{number}")))
            .collect(),
        dropped: Vec::new(),
    };
    let shipping = tokio::spawn(access_log::run(control.context.clone()));
    tell(&control, &batch(0, 40)).await;
    let paths = |from: usize, to: usize| (from..to).map(|number| format!("/{number}")).collect::<Vec<_>>();
    assert_eq!(collector.until(40).await, paths(0, 40));
    let (headers, body, refused) = collector.got.lock().unwrap()[0].clone();
    assert_eq!(
        (refused, &headers["content-type"]),
        (StatusCode::BAD_GATEWAY, &"application/x-ndjson".parse().unwrap())
    );
    let signature = headers["weir-signature"].to_str().unwrap();
    let (at, given) = signature.split_once(",v1=").unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{}.{body}", at.strip_prefix("t=").unwrap()).as_bytes());
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(given, expected);
    let mut shown = Value::Null;
    for _ in 0..200 {
        shown = control.call(Method::GET, PATH, None).await.1;
        if shown["shipping"]["sent_until"].is_string() && shown["shipping"]["problem"].is_null() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert!(shown["shipping"]["sent_until"].is_string(), "{shown}");
    assert!(!shown.to_string().contains(&secret));

    // Control goes and comes back: what was written meanwhile is shipped, and hardly anything twice.
    shipping.abort();
    let _ = shipping.await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    tell(&control, &batch(40, 60)).await;
    tokio::spawn(access_log::run(control.context.clone()));
    let mut taken = collector.until(60).await;
    for _ in 0..200 {
        if taken.last().is_some_and(|last| last == "/59") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        taken = collector.taken();
    }
    taken.dedup();
    let new: Vec<String> = taken
        .iter()
        .filter(|path| !paths(0, 40).contains(path))
        .cloned()
        .collect();
    assert_eq!(new, paths(40, 60));
    let (status, _) = control.call(Method::DELETE, SHIPPING, None).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = control.call(Method::DELETE, SHIPPING, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn shipping_leads_inside_only_for_administrators_of_the_whole() {
    let control = Control::start().await;
    control.project("shop").await;
    for (url, private) in [
        ("https://127.0.0.1/", false),
        ("http://example.org/", false),
        ("ftp://example.org/", true),
    ] {
        let (status, body) = control
            .call(
                Method::PUT,
                SHIPPING,
                Some(json!({"url": url, "allow_private": private})),
            )
            .await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{url}: {body}");
    }
    let token = control.token("admin", Some("shop")).await;
    let put = |body: Value| {
        control
            .request(Method::PUT, SHIPPING)
            .bearer_auth(&token)
            .json(&body)
            .send()
    };
    let inside = put(json!({"url": "https://127.0.0.1/", "allow_private": true}))
        .await
        .unwrap();
    assert_eq!(inside.status(), StatusCode::FORBIDDEN);
    let outside = put(json!({"url": "https://collector.example.org/"})).await.unwrap();
    assert_eq!(outside.status(), StatusCode::OK);
}
