//! The part of the fake that is about uploads and the files of volumes.

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, patch, post};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::fake::{Shared, problem};

/// Tag of the file.
pub(crate) const TAG: &str = "\"one\"";

/// How the fake behaves, and what it was sent.
#[derive(Debug)]
pub(crate) struct Files {
    /// So often it says that too much is being done.
    pub(crate) busy: u32,
    /// So often it says that somebody else has the upload.
    pub(crate) upload_busy: u32,
    /// Why the last part is refused.
    pub(crate) refusal: Option<(u16, &'static str)>,
    /// What the source lacks.
    pub(crate) lacks: Option<&'static str>,
    /// What was uploaded.
    pub(crate) received: Vec<u8>,
    size: usize,
    /// The file.
    pub(crate) content: Vec<u8>,
    /// Its tag.
    pub(crate) tag: &'static str,
    /// So many bytes come before the connection breaks, each time; 0: all.
    pub(crate) breaks_after: usize,
    /// So often it breaks.
    pub(crate) breaks: u32,
    /// The ranges that were asked for.
    pub(crate) ranges: Vec<Option<String>>,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            busy: 0,
            upload_busy: 0,
            refusal: None,
            lacks: None,
            received: Vec::new(),
            size: 0,
            content: (0..100_000_u32).map(|number| (number % 251) as u8).collect(),
            tag: TAG,
            breaks_after: 0,
            breaks: 0,
            ranges: Vec::new(),
        }
    }
}

pub(crate) fn router() -> Router<Shared> {
    const ENVIRONMENT: &str = "/v1/projects/{project}/environments/{environment}";
    let at = |rest: &str| format!("{ENVIRONMENT}{rest}");
    let upload = || patch(append).get(look).delete(|| async { StatusCode::NO_CONTENT });
    Router::new()
        .route(&at("/uploads"), post(begin))
        .route(&at("/uploads/upl_1"), upload())
        .route(&at("/uploads/upl_1/proposal"), get(proposal))
        .route(&at("/volumes/data/uploads"), post(begin))
        .route(&at("/volumes/data/uploads/upl_1"), upload())
        .route(
            &at("/volumes/data/files"),
            get(|| async { problem(422, "not-a-folder", "/app.db is not a folder", None) }),
        )
        .route(&at("/volumes/data/content"), get(content))
}

fn busy(memory: &Shared) -> Option<Response> {
    let mut memory = memory.lock().unwrap();
    memory.files.busy = memory.files.busy.checked_sub(1)?;
    let mut answer = problem(429, "busy", "too much is being done", None);
    answer.headers_mut().insert("retry-after", "0".parse().unwrap());
    Some(answer)
}

fn told(memory: &Shared) -> Response {
    let files = &memory.lock().unwrap().files;
    Json(json!({"id": "upl_1", "size": files.size, "received": files.received.len(), "expires": ""})).into_response()
}

async fn begin(State(memory): State<Shared>, Json(request): Json<Value>) -> Response {
    if let Some(busy) = busy(&memory) {
        return busy;
    }
    memory.lock().unwrap().files.size = usize::try_from(request["size"].as_u64().unwrap()).unwrap();
    (StatusCode::CREATED, told(&memory)).into_response()
}

async fn append(State(memory): State<Shared>, body: Bytes) -> Response {
    let refusal = {
        let mut memory = memory.lock().unwrap();
        memory.files.received.extend_from_slice(&body);
        if memory.files.upload_busy > 0 {
            Some((503, "upload-busy"))
        } else {
            memory.files.refusal
        }
    };
    match refusal {
        Some((status, kind)) => problem(status, kind, "it cannot be put there", None),
        None => told(&memory),
    }
}

async fn look(State(memory): State<Shared>) -> Response {
    {
        let mut memory = memory.lock().unwrap();
        if memory.files.upload_busy > 0 {
            memory.files.upload_busy -= 1;
            return problem(503, "upload-busy", "another request writes this upload", None);
        }
    }
    told(&memory)
}

async fn proposal(State(memory): State<Shared>) -> Response {
    if let Some(busy) = busy(&memory) {
        return busy;
    }
    let problems = match memory.lock().unwrap().files.lacks {
        Some(title) => json!([{"title": title, "hint": "add it", "line": 2}]),
        None => json!([]),
    };
    Json(json!({
        "apps": [{"app": "shop", "folder": ".", "kind": "python", "because": "app.py"}],
        "toml": "[process.web]\ncommand = \"python app.py\"\n",
        "explanations": [{"line": 2, "text": "app.py was found."}],
        "problems": problems,
        "worst": {"currency": "EUR", "worst_per_hour": "0.02", "worst_per_month": "14", "scope": "shop"},
    }))
    .into_response()
}

async fn content(State(memory): State<Shared>, headers: HeaderMap) -> Response {
    if let Some(busy) = busy(&memory) {
        return busy;
    }
    let mut memory = memory.lock().unwrap();
    let files = &mut memory.files;
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let range = text("range");
    files.ranges.push(range.clone());
    let whole = files.content.len();
    let from = range.filter(|_| text("if-range").as_deref() == Some(files.tag));
    let from: Option<usize> = from.map(|range| range[6..range.len() - 1].parse().unwrap());
    if from.is_some_and(|from| from >= whole) {
        let headers = [("content-range", format!("bytes */{whole}"))];
        return (StatusCode::RANGE_NOT_SATISFIABLE, headers).into_response();
    }
    let rest = Bytes::copy_from_slice(&files.content[from.unwrap_or(0)..]);
    let length = rest.len();
    let body = if files.breaks > 0 {
        files.breaks -= 1;
        let some = rest.slice(..files.breaks_after.min(length));
        let first = futures_util::stream::once(async { Ok(some) });
        let last = futures_util::stream::once(async {
            // What was sent has to have left by then.
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            Err(std::io::Error::other("the machine went away"))
        });
        Body::from_stream(first.chain(last))
    } else {
        Body::from(rest)
    };
    let mut response = body.into_response();
    let head = response.headers_mut();
    head.insert("etag", files.tag.parse().unwrap());
    head.insert("content-length", length.into());
    if let Some(from) = from {
        let range = format!("bytes {from}-{}/{whole}", whole - 1);
        head.insert("content-range", range.parse().unwrap());
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}
