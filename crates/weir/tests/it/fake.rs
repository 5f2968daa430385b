//! A small server that speaks the public API, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};
use weir_api::{
    Accepted, Cap, Domain, Environment, EnvironmentMoney, EnvironmentStatus, Health, Instance, LogLine, ProcessStatus,
    Project, Release, Stopped, Task, TaskLine,
};

/// The only token that is known.
pub(crate) const TOKEN: &str = "weir_good";
const NOW: &str = "2030-01-31T12:00:00.000Z";

/// A request that was made.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) body: Value,
}

/// What the server remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) asked: Vec<Asked>,
    /// Paths in the archive that was uploaded, with their kinds and contents.
    pub(crate) archive: BTreeMap<String, String>,
    /// What is done about uploads and files.
    pub(crate) files: crate::fake_files::Files,
    url: String,
}

pub(crate) type Shared = Arc<Mutex<Memory>>;

/// A running server; ends with the test.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) url: String,
    pub(crate) memory: Shared,
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let memory: Shared = Arc::new(Mutex::new(Memory {
            url: url.clone(),
            ..Memory::default()
        }));
        let app = router(Arc::clone(&memory));
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self {
            url,
            memory,
            _runtime: runtime,
        }
    }

    /// The requests to a path with this method.
    pub(crate) fn asked(&self, method: &Method, path: &str) -> Vec<Asked> {
        let memory = self.memory.lock().unwrap();
        memory
            .asked
            .iter()
            .filter(|asked| asked.method == *method && asked.path == path)
            .cloned()
            .collect()
    }
}

fn router(memory: Shared) -> Router {
    const ENVIRONMENT: &str = "/v1/projects/{project}/environments/{environment}";
    let at = |rest: &str| format!("{ENVIRONMENT}{rest}");
    Router::new()
        .route(
            "/v1/whoami",
            get(|| async { Json(json!({ "token": "ci", "scope": "deploy" })) }),
        )
        .route("/v1/projects", get(list_projects).post(create_project))
        .route(
            "/v1/projects/{project}",
            get(get_project).delete(|| accepted("tsk_done")),
        )
        .route(
            "/v1/tasks",
            get(|| async {
                Json(vec![
                    task("tsk_done", "done", None),
                    task("tsk_failed", "failed", Some("no")),
                ])
            }),
        )
        .route("/v1/tasks/{task}/log", get(task_log))
        .route("/v1/tokens", get(|| async { Json(json!([])) }))
        .route(ENVIRONMENT, get(environment).delete(|| accepted("tsk_done")))
        .route(&at("/variables"), patch(update_variables))
        .route(&at("/scale"), put(|| accepted("tsk_done")))
        .route(&at("/pause"), post(|| accepted("tsk_broken")))
        .route(
            &at("/resume"),
            post(|| async {
                Json(Accepted {
                    task: None,
                    message: "it is not paused".into(),
                })
            }),
        )
        .route(&at("/promote"), post(|| accepted("tsk_superseded")))
        .route(&at("/releases"), get(releases))
        .route(
            &at("/loss"),
            get(|| async { Json(json!({ "volumes": [], "domains": [], "releases": 3, "secrets": 1, "notes": [] })) }),
        )
        .route(&at("/deployments"), post(create_deployment))
        .route(&at("/source"), post(upload))
        .route(&at("/domains/{host}"), delete(|| async { StatusCode::NO_CONTENT }))
        .route(&at("/logs"), get(logs))
        .route(&at("/run"), get(session))
        .route(&at("/exec"), get(session))
        .merge(crate::fake_files::router())
        .merge(crate::fake_money::router())
        .merge(crate::fake_billing::router())
        .merge(crate::fake_invoices::router())
        .layer(axum::extract::DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Arc::clone(&memory), remember))
        .route("/v1/health", get(health))
        .with_state(memory)
}

async fn remember(State(memory): State<Shared>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(ToOwned::to_owned)
    };
    let (authorization, idempotency_key, kind) = (text("authorization"), text("idempotency-key"), text("content-type"));
    if authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
        return problem(401, "unauthorized", "the token is not known here", Some("weir login"));
    }
    let mut asked = Asked {
        method: parts.method.clone(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        idempotency_key,
        body: Value::Null,
    };
    let body = if kind.as_deref() == Some("application/json") {
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        asked.body = serde_json::from_slice(&bytes).unwrap();
        Body::from(bytes)
    } else {
        body
    };
    memory.lock().unwrap().asked.push(asked);
    next.run(Request::from_parts(parts, body)).await
}

pub(crate) fn problem(status: u16, kind: &str, title: &str, hint: Option<&str>) -> Response {
    let body = json!({ "type": kind, "title": title, "status": status, "detail": "just so", "hint": hint });
    let headers = [("content-type", "application/problem+json")];
    (StatusCode::from_u16(status).unwrap(), headers, body.to_string()).into_response()
}

async fn accepted(task: &'static str) -> Response {
    (
        StatusCode::ACCEPTED,
        Json(Accepted {
            task: Some(task.into()),
            message: "it is being done".into(),
        }),
    )
        .into_response()
}

async fn health() -> Json<Health> {
    Json(Health {
        installation: "00000000".to_owned(),
        status: "ready".into(),
        version: "9.9.9".into(),
        parts: BTreeMap::new(),
        ingress: "127.0.0.1:8080".into(),
        domain: "localhost".into(),
    })
}

fn project(memory: &Shared, name: &str) -> Project {
    let url = &memory.lock().unwrap().url;
    Project {
        name: name.into(),
        id: "prj_1".into(),
        git_url: format!("{url}/git/{name}.git"),
        url: format!("http://{name}.localhost:8080"),
        destroying: false,
        created: NOW.into(),
        environments: vec![environment_of(name, "production")],
    }
}

fn environment_of(project: &str, name: &str) -> Environment {
    Environment {
        name: name.into(),
        id: "env_1".into(),
        branch: Some("main".into()),
        mode: "active".into(),
        url: format!("http://{project}.localhost:8080"),
        release: Some(3),
    }
}

async fn list_projects(State(memory): State<Shared>) -> Json<Vec<Project>> {
    Json(vec![project(&memory, "shop")])
}

async fn create_project(State(memory): State<Shared>, Json(body): Json<Value>) -> Response {
    match body["name"].as_str().unwrap() {
        "taken" => problem(
            409,
            "name-taken",
            "there is a project `taken` already",
            Some("choose another name"),
        ),
        name => (StatusCode::CREATED, Json(project(&memory, name))).into_response(),
    }
}

async fn get_project(State(memory): State<Shared>, Path(name): Path<String>) -> Response {
    match name.as_str() {
        "missing" => problem(
            404,
            "project-not-found",
            "there is no project `missing`",
            Some("weir project list"),
        ),
        name => Json(project(&memory, name)).into_response(),
    }
}

async fn environment(Path((project, name)): Path<(String, String)>) -> Response {
    if project == "missing" {
        return problem(
            404,
            "project-not-found",
            "there is no project `missing`",
            Some("weir project list"),
        );
    }
    if project == "secret" {
        return problem(403, "forbidden", "the token `ci` may only read", None);
    }
    let instance = Instance {
        id: "ins_01".into(),
        release: 3,
        state: "crashed".into(),
        reason: Some("exited with status 1".into()),
        started: NOW.into(),
        crashes: 4,
        background: None,
        last_lines: vec!["KeyError: 'PORT'".into()],
    };
    let process = ProcessStatus {
        app: project.clone(),
        process: "web".into(),
        wanted: 2,
        range: None,
        idle: None,
        ready: 1,
        command: None,
        memory_bytes: 512 << 20,
        cpu_milli: 1000,
        instances: vec![instance],
        classes: Vec::new(),
        tcp: Vec::new(),
    };
    let domain = Domain {
        host: "shop.example".into(),
        url: "http://shop.example:8080".into(),
        app: None,
        platform: false,
        redirect_to: None,
        tcp: None,
        https_redirect: true,
        hsts_s: 0,
        certificate: None,
    };
    Json(EnvironmentStatus {
        maintenance: None,
        refused: weir_api::RefusedRequests::default(),
        environment: environment_of(&project, &name),
        project,
        health: "degraded".into(),
        detail: Some("1 of 2 instances of web crashes".into()),
        processes: vec![process],
        domains: vec![domain],
        deployment: None,
        money: Some(EnvironmentMoney {
            currency: "EUR".into(),
            spent: "1.2345678".into(),
            cap: Some(Cap {
                limit: "7.00".into(),
                period: "month".into(),
                pace: true,
            }),
            scope: "shop".into(),
            left: Some("0.00".into()),
            stopped: Some(Stopped {
                reason: "project-cap".into(),
                message: "the spending cap of the project is reached".into(),
                hint: "weir cap set shop AMOUNT/month allows more".into(),
                kept_until: None,
            }),
        }),
    })
    .into_response()
}

async fn update_variables(Json(body): Json<Value>) -> Response {
    if body["no_deploy"] == json!(true) {
        return Json(Accepted {
            task: None,
            message: "kept for the next release".into(),
        })
        .into_response();
    }
    accepted("tsk_done").await
}

async fn create_deployment(Json(body): Json<Value>) -> Response {
    accepted(if body["release"] == json!(99) {
        "tsk_failed"
    } else {
        "tsk_done"
    })
    .await
}

async fn releases() -> Json<Vec<Release>> {
    let release = |number: i64| Release {
        number,
        id: format!("rel_{number}"),
        live: number == 3,
        source: "push".into(),
        description: format!("commit number {number}"),
        commit: None,
        images: BTreeMap::new(),
        outcome: Some("retired".into()),
        created: NOW.into(),
        by: None,
        message: None,
    };
    Json((1..=500).rev().map(release).collect())
}

fn task(id: &str, state: &str, error: Option<&str>) -> Task {
    Task {
        id: id.into(),
        kind: "deploy".into(),
        project: "shop".into(),
        environment: Some("production".into()),
        title: "rollback of shop".into(),
        state: state.into(),
        step: "end".into(),
        error: error.map(Into::into),
        created: NOW.into(),
        ended: Some(NOW.into()),
    }
}

fn line_event(sequence: i64, kind: &str, text: &str) -> String {
    let line = TaskLine {
        sequence,
        at: NOW.into(),
        kind: kind.into(),
        text: text.into(),
    };
    format!(
        "id: {sequence}\nevent: line\ndata: {}\n\n",
        serde_json::to_string(&line).unwrap()
    )
}

fn end_event(task: &Task) -> String {
    format!("event: end\ndata: {}\n\n", serde_json::to_string(task).unwrap())
}

async fn task_log(Path(id): Path<String>, headers: HeaderMap) -> Response {
    let first = line_event(1, "step", "Starting web");
    let text = match (
        id.as_str(),
        headers.get("last-event-id").map(|value| value.to_str().unwrap()),
    ) {
        ("tsk_done", None) => first + &line_event(2, "info", "ready in 0.4 s") + &end_event(&task(&id, "done", None)),
        ("tsk_failed", None) => {
            let error = line_event(2, "error", "the check failed") + &line_event(3, "hint", "look at /health");
            first + &error + &end_event(&task(&id, "failed", Some("web did not become ready")))
        }
        ("tsk_superseded", None) => end_event(&task(&id, "superseded", None)),
        // The connection breaks off after the first line; whoever resumes gets the rest.
        ("tsk_broken", None) => first,
        ("tsk_broken", Some("1")) => line_event(2, "step", "Stopping") + &end_event(&task(&id, "done", None)),
        _ => return problem(404, "task-not-found", "there is no such task", Some("weir tasks")),
    };
    ([("content-type", "text/event-stream")], text).into_response()
}

async fn upload(State(memory): State<Shared>, body: Bytes) -> Response {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&body[..]));
    let mut entries = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().trim_end_matches('/').to_owned();
        let mut content = String::new();
        let what = match entry.header().entry_type() {
            tar::EntryType::Directory => "folder".to_owned(),
            tar::EntryType::Symlink => format!("link to {}", entry.link_name().unwrap().unwrap().display()),
            _ => {
                entry.read_to_string(&mut content).unwrap();
                format!("{:o} {content}", entry.header().mode().unwrap())
            }
        };
        entries.insert(path, what);
    }
    memory.lock().unwrap().archive = entries;
    accepted("tsk_done").await
}

async fn logs(Query(query): Query<BTreeMap<String, String>>, headers: HeaderMap) -> Response {
    let line = |text: &str, at: &str| LogLine {
        id: format!("shop:{at}"),
        at: at.into(),
        app: "shop".into(),
        process: "web".into(),
        instance: Some("ins_01jdabcd".into()),
        stream: "stdout".into(),
        text: text.into(),
    };
    if query.get("follow").is_none_or(|follow| follow != "true") {
        return Json(vec![line("one \u{1b}[2Jtwo", NOW), line("three", NOW)]).into_response();
    }
    let event = |line: &LogLine| {
        format!(
            "id: {}\nevent: line\ndata: {}\n\n",
            line.id,
            serde_json::to_string(line).unwrap()
        )
    };
    let second = line("second", "2030-01-31T12:00:01.000Z");
    let text = match headers.get("last-event-id").map(|value| value.to_str().unwrap()) {
        None => event(&line("first", NOW)) + &event(&second),
        // Then there is news, and then no more Weir.
        Some(last) if last == second.id => event(&line("third", "2030-01-31T12:00:02.000Z")),
        Some(_) => return problem(410, "gone", "the environment is gone", None),
    };
    ([("content-type", "text/event-stream")], text).into_response()
}

async fn session(Query(query): Query<BTreeMap<String, String>>, upgrade: WebSocketUpgrade) -> Response {
    if query["command"] == "refused" {
        return problem(409, "nothing-runs", "nothing runs here", Some("deploy something"));
    }
    upgrade.on_upgrade(move |socket| answer(socket, query)).into_response()
}

async fn answer(mut socket: WebSocket, query: BTreeMap<String, String>) {
    let frame = |stream: u8, text: &str| Message::Binary([&[stream], text.as_bytes()].concat().into());
    let _ = socket.send(frame(1, &format!("command: {}\n", query["command"]))).await;
    let _ = socket.send(frame(2, "to standard error\n")).await;
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Binary(bytes) => {
                let _ = socket.send(frame(1, &String::from_utf8_lossy(&bytes))).await;
            }
            Message::Text(text) if text.contains("eof") => break,
            _ => {}
        }
    }
    let _ = socket
        .send(Message::Text(json!({ "type": "exit", "status": 7 }).to_string().into()))
        .await;
}
