//! Git's smart HTTP protocol. Control checks who asks and for what; the protocol itself is
//! spoken by the `git` program, with bodies streamed both ways.
//!
//! A push whose client vanishes is not cut off: git would be killed in the middle of moving a
//! branch. The push is told that it is alone, ends its build, and git comes to its own end.

use std::io::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures_util::StreamExt;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::{Semaphore, mpsc};
use tracing::Instrument as _;
use weir_model::ProjectName;
use weir_model::policy::{Permission, Place};
use weir_model::project::Project;

use super::receive::Session;
use super::{git, hook, repository_of};
use crate::api::ApiError;
use crate::api::auth::{self, Limiter};
use crate::audit;
use crate::context::Context;
use crate::projects;

/// Fetches at once, and pushes at once; more of each wait. Apart, because pushes take as long
/// as their builds.
const PROCESSES: usize = 32;
/// Bytes of a request: a push brings its pack, anything else is only talk.
const LARGEST_PUSH: u64 = super::LARGEST_PACK + (64 << 20);
const LARGEST_TALK: u64 = 64 << 20;
/// A client that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(300);
/// Pieces of an answer that may wait for the client.
const PIECES: usize = 16;

#[derive(Debug, Clone)]
struct GitHttp {
    context: Context,
    limiter: Arc<Limiter>,
    fetches: Arc<Semaphore>,
    pushes: Arc<Semaphore>,
}

/// What a client wants of a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    /// Clone and fetch.
    UploadPack,
    /// Push.
    ReceivePack,
}

impl Service {
    fn of(name: &str) -> Option<Self> {
        match name {
            "git-upload-pack" => Some(Self::UploadPack),
            "git-receive-pack" => Some(Self::ReceivePack),
            _ => None,
        }
    }

    fn command(self) -> &'static str {
        match self {
            Self::UploadPack => "upload-pack",
            Self::ReceivePack => "receive-pack",
        }
    }

    fn permission(self) -> Permission {
        match self {
            Self::UploadPack => Permission::See,
            Self::ReceivePack => Permission::Deploy,
        }
    }
}

/// `/git/PROJECT.git`, as git clients know it.
pub fn router(context: Context) -> Router {
    let places = || Arc::new(Semaphore::new(PROCESSES));
    let state = GitHttp {
        context: context.clone(),
        limiter: Arc::default(),
        fetches: places(),
        pushes: places(),
    };
    Router::new()
        .route("/git/{repository}/info/refs", get(list_references))
        .route("/git/{repository}/git-upload-pack", post(upload_pack))
        .route("/git/{repository}/git-receive-pack", post(receive_pack))
        .with_state(state)
        .layer(axum::middleware::from_fn_with_state(context, crate::api::peer::settle))
}

#[derive(Debug, Deserialize)]
struct ServiceQuery {
    #[serde(default)]
    service: String,
}

async fn list_references(
    State(git_http): State<GitHttp>,
    Path(repository): Path<String>,
    Query(query): Query<ServiceQuery>,
    request: Request,
) -> Response {
    let Some(service) = Service::of(&query.service) else {
        return plain(
            StatusCode::FORBIDDEN,
            "only git clients that speak the smart protocol are served here\n",
        );
    };
    match admit(&git_http, &repository, service, &request.into_parts().0).await {
        Ok(admitted) => advertise(&git_http, &admitted).await,
        Err(error) => refusal(&error),
    }
}

async fn upload_pack(State(git_http): State<GitHttp>, Path(repository): Path<String>, request: Request) -> Response {
    talk(git_http, repository, Service::UploadPack, request).await
}

async fn receive_pack(State(git_http): State<GitHttp>, Path(repository): Path<String>, request: Request) -> Response {
    talk(git_http, repository, Service::ReceivePack, request).await
}

/// A request that may be served.
struct Admitted {
    service: Service,
    project: Project,
    repository: PathBuf,
    /// Who pushes, by name.
    pusher: String,
    protocol: Option<HeaderValue>,
}

async fn admit(
    git_http: &GitHttp,
    repository: &str,
    service: Service,
    parts: &http::request::Parts,
) -> Result<Admitted, ApiError> {
    let context = &git_http.context;
    auth::check_origin(parts)?;
    let peer: IpAddr = auth::peer_of(parts);
    let caller = auth::authenticate_token(context, &git_http.limiter, &parts.headers, peer).await?;
    let name = repository.strip_suffix(".git").unwrap_or(repository);
    let missing = || projects::no_such_project(name);
    let valid = ProjectName::new(name).map_err(|_| missing())?;
    let project = context.store.project_by_name(&valid).await?.ok_or_else(missing)?;
    let place = Place::Project(project.account, project.id);
    caller.require(service.permission(), place, project.name.as_str(), missing)?;
    if service == Service::ReceivePack {
        projects::ensure_alive(&project, None)?;
        if parts.method == http::Method::POST {
            audit::pushed(context, &caller, &project, parts, peer).await;
        }
    }
    let repository = repository_of(&context.config, &project.name);
    if !tokio::fs::try_exists(repository.join("HEAD")).await.unwrap_or(false) {
        super::create_repository(context, &project.name)
            .await
            .map_err(ApiError::internal)?;
    }
    // Pushes have no second version of the protocol.
    let protocol = parts
        .headers
        .get("git-protocol")
        .filter(|_| service == Service::UploadPack)
        .cloned();
    let protocol = protocol.filter(|value| {
        value.len() <= 100
            && value
                .as_bytes()
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || b"=:._-".contains(byte))
    });
    Ok(Admitted {
        service,
        project,
        repository,
        pusher: caller.name().to_owned(),
        protocol,
    })
}

impl Admitted {
    fn command(&self, context: &Context, options: &[&str]) -> Command {
        let mut arguments = vec![self.service.command(), "--stateless-rpc"];
        arguments.extend(options);
        arguments.push(".");
        let mut command = git(&context.config, &self.repository, &arguments);
        if let Some(protocol) = self.protocol.as_ref().and_then(|value| value.to_str().ok()) {
            command.env("GIT_PROTOCOL", protocol);
        }
        command
    }
}

async fn advertise(git_http: &GitHttp, admitted: &Admitted) -> Response {
    // Short, whichever service it is for.
    let Ok(_place) = git_http.fetches.acquire().await else {
        return failed("no more processes");
    };
    let command = admitted.command(&git_http.context, &["--http-backend-info-refs"]);
    let references = match super::run_git(command, admitted.service.command()).await {
        Ok(references) => references,
        Err(error) => return failed(&error),
    };
    let service = admitted.service.command();
    let mut body = Vec::with_capacity(references.len() + 64);
    let second_version = admitted
        .protocol
        .as_ref()
        .is_some_and(|value| value.as_bytes().split(|&b| b == b':').any(|p| p == b"version=2"));
    if !second_version {
        let line = format!("# service=git-{service}\n");
        let _ = write!(body, "{:04x}{line}0000", line.len() + 4);
    }
    body.extend(references);
    git_response(&format!("application/x-git-{service}-advertisement"), Body::from(body))
}

async fn talk(git_http: GitHttp, repository: String, service: Service, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let admitted = match admit(&git_http, &repository, service, &parts).await {
        Ok(admitted) => admitted,
        Err(error) => return refusal(&error),
    };
    let expected = format!("application/x-git-{}-request", service.command());
    if parts
        .headers
        .get(header::CONTENT_TYPE)
        .is_none_or(|value| value.as_bytes() != expected.as_bytes())
    {
        return plain(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this is not the request of a git client\n",
        );
    }
    let Some(encoding) = encoding_of(&parts.headers) else {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bodies may be plain or gzip\n");
    };
    let places = if service == Service::ReceivePack {
        &git_http.pushes
    } else {
        &git_http.fetches
    };
    let Ok(place) = places.clone().acquire_owned().await else {
        return failed("no more processes");
    };
    let mut command = admitted.command(&git_http.context, &[]);
    let session = (service == Service::ReceivePack).then(|| begin_session(&git_http.context, &admitted, &mut command));
    let mut child = match command.stdin(std::process::Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            end_session(&git_http.context, session.as_deref());
            return failed(&error);
        }
    };
    if let Some(input) = child.stdin.take() {
        let limit = if service == Service::ReceivePack {
            LARGEST_PUSH
        } else {
            LARGEST_TALK
        };
        let feed = async move {
            if let Err(reason) = feed(body, input, encoding, limit).await {
                tracing::debug!("a git client's request was cut off: {reason}");
            }
        };
        tokio::spawn(feed.instrument(tracing::info_span!("git request", project.name = %admitted.project.name)));
    }
    let (sender, pieces) = mpsc::channel(PIECES);
    let span = tracing::info_span!("git", service = service.command(), project.name = %admitted.project.name);
    let context = git_http.context;
    tokio::spawn(
        async move {
            let _place = place;
            attend(child, sender, session.as_deref()).await;
            end_session(&context, session.as_deref());
        }
        .instrument(span),
    );
    let pieces = futures_util::stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece| (piece, pieces))
    });
    git_response(
        &format!("application/x-git-{}-result", service.command()),
        Body::from_stream(pieces),
    )
}

/// What the hooks of a push need to find back to it.
fn begin_session(context: &Context, admitted: &Admitted, command: &mut Command) -> Arc<Session> {
    let session = Arc::new(Session::new(
        context,
        admitted.project.clone(),
        admitted.repository.clone(),
        admitted.pusher.clone(),
    ));
    command
        .env(hook::SOCKET, context.config.node_socket())
        .env(hook::KEY, &session.key)
        .env(hook::PROGRAM, &context.config.executable)
        .env(hook::ONE_BY_ONE, &session.one_by_one)
        // A group of its own: Ctrl-C in the terminal of `weir up` must not reach it.
        .process_group(0)
        .kill_on_drop(false);
    context.pushes.sessions.insert(session.clone());
    session
}

fn end_session(context: &Context, session: Option<&Session>) {
    if let Some(session) = session {
        context.pushes.sessions.remove(&session.key);
        session.end();
    }
}

/// Passes git's answer on until git has ended.
async fn attend(mut child: Child, sender: mpsc::Sender<std::io::Result<Bytes>>, session: Option<&Session>) {
    let (Some(mut output), Some(mut errors)) = (child.stdout.take(), child.stderr.take()) else {
        return;
    };
    let mut said = Vec::new();
    let read_errors = async {
        let _ = (&mut errors).take(8192).read_to_end(&mut said).await;
        // What is more than that is read too, or git would wait for ever.
        let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
    };
    let pass_on = async {
        let mut gone = false;
        loop {
            let mut piece = bytes::BytesMut::with_capacity(32 << 10);
            let read = tokio::select! {
                read = output.read_buf(&mut piece) => read,
                () = sender.closed(), if !gone => {
                    gone = true;
                    match session {
                        Some(session) => session.gone.cancel(),
                        None => return,
                    }
                    continue;
                }
            };
            match read {
                Ok(0) | Err(_) => return,
                Ok(_) if gone => {}
                // A client that is gone is noticed above.
                Ok(_) => drop(sender.send(Ok(piece.freeze())).await),
            }
        }
    };
    match session {
        Some(_) => {
            tokio::join!(pass_on, read_errors);
        }
        None => tokio::select! {
            () = async { tokio::join!(pass_on, read_errors); } => {}
            () = sender.closed() => drop(child.start_kill()),
        },
    }
    match child.wait().await {
        // 128 is what git says when a client went away or sent nonsense.
        Ok(status) if status.success() => {}
        Ok(status) => {
            let said = String::from_utf8_lossy(&said);
            tracing::debug!(%status, "git ended badly: {}", said.trim());
        }
        Err(error) => tracing::warn!(%error, "git could not be waited for"),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encoding {
    Plain,
    Gzip,
}

fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => Some(Encoding::Plain),
        Some(b"gzip" | b"x-gzip") => Some(Encoding::Gzip),
        Some(_) => None,
    }
}

/// Passes a request on to git, unpacked, up to a limit. When this ends git's input does.
async fn feed(body: Body, mut input: ChildStdin, encoding: Encoding, limit: u64) -> Result<(), String> {
    let mut body = body.into_data_stream();
    let mut gunzip = flate2::write::GzDecoder::new(Vec::new());
    let mut left = limit;
    loop {
        let piece = match tokio::time::timeout(SILENCE, body.next()).await {
            Ok(Some(piece)) => piece.map_err(|error| error.to_string())?,
            Ok(None) => break,
            Err(_) => return Err(format!("nothing came for {} s", SILENCE.as_secs())),
        };
        // Small steps bound what a bomb can unpack to at once.
        for step in piece.chunks(if encoding == Encoding::Gzip {
            1024
        } else {
            piece.len().max(1)
        }) {
            let unpacked = match encoding {
                Encoding::Plain => std::borrow::Cow::Borrowed(step),
                Encoding::Gzip => {
                    gunzip
                        .write_all(step)
                        .map_err(|error| format!("the gzip stream is broken: {error}"))?;
                    std::borrow::Cow::Owned(std::mem::take(gunzip.get_mut()))
                }
            };
            left = left
                .checked_sub(unpacked.len() as u64)
                .ok_or_else(|| format!("it is larger than {limit} bytes"))?;
            input.write_all(&unpacked).await.map_err(|error| error.to_string())?;
        }
    }
    if encoding == Encoding::Gzip {
        let rest = gunzip
            .finish()
            .map_err(|error| format!("the gzip stream is broken: {error}"))?;
        input.write_all(&rest).await.map_err(|error| error.to_string())?;
    }
    input.shutdown().await.map_err(|error| error.to_string())
}

fn git_response(content_type: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("no-cache, max-age=0, must-revalidate"),
    );
    response
}

fn plain(status: StatusCode, text: impl Into<String>) -> Response {
    (
        status,
        [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
        text.into(),
    )
        .into_response()
}

fn failed(error: &(impl std::fmt::Display + ?Sized)) -> Response {
    tracing::error!(%error, "git could not be served");
    plain(
        StatusCode::INTERNAL_SERVER_ERROR,
        "Weir failed; this is not your fault. Look into the log of `weir up`\n",
    )
}

/// An error as git clients show it: they print plain text.
fn refusal(error: &ApiError) -> Response {
    if let Some(cause) = &error.cause {
        tracing::error!(error.cause = %cause, "a request of a git client failed");
    }
    let mut text = format!("{}\n", error.title);
    for line in [&error.detail, &error.hint].into_iter().flatten() {
        text.push_str(line);
        text.push('\n');
    }
    let mut response = plain(error.status, text);
    if error.status == StatusCode::UNAUTHORIZED {
        let realm = HeaderValue::from_static("Basic realm=\"weir: user weir, password = token\", charset=\"UTF-8\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
    }
    response
}
