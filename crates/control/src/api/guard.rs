//! What stands before every route: who asks, may they, from where, and was it done already. The one
//! place where the API decides who may do what; handlers only leave out of lists what is not for the
//! one who asks.
//!
//! What changes something runs in a task of its own: a client that hangs up in the middle
//! must not cut a change in half. Whatever came of it is in the audit log before the answer is out.

use std::collections::HashMap;

use axum::extract::{FromRequestParts as _, Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use http::{HeaderValue, Method, StatusCode, header, request};
use tracing::Instrument as _;
use weir_model::policy::{Permission, Place, Verdict};

use super::Api;
use super::auth::{self, Caller};
use super::error::ApiError;
use super::idempotency::{self, Key};
use super::place::{self, Subject};
use crate::asker;
use crate::audit::{Entry, Notes};

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: anybody may ask.
    Open,
    /// It is about whoever asks, or about what everybody may know who is known here.
    SignedIn,
    /// A permission, in what it is about.
    Right(Permission, About),
}

/// A permission, in what it is about.
pub(super) const fn may(permission: Permission, about: About) -> Need {
    Need::Right(permission, about)
}

/// What a request is about; the parts of the path name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The whole Weir.
    Platform,
    /// Something that is a list, or that the body names: the permission is needed somewhere, and the
    /// handler leaves out the rest.
    Somewhere,
    /// `{account}`.
    Account,
    /// `{project}`.
    Project,
    /// `{environment}` of `{project}`.
    Environment,
    /// `{task}`.
    Task,
    /// `{token}`.
    Token,
    /// `{contact}`.
    Contact,
    /// `{invoice}`.
    Invoice,
    /// `{account}`, by its identity.
    ServiceAccount,
}

/// How the body of a request is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyKind {
    /// JSON, held in memory, of bounded size.
    Small,
    /// Streamed to disk by the handler, which also looks after the `Idempotency-Key`.
    Streamed,
}

/// State of the guard of one route.
#[derive(Debug, Clone)]
pub(super) struct Guard {
    pub(super) api: Api,
    pub(super) need: Need,
    pub(super) body: BodyKind,
    /// As it was entered, for the audit log.
    pub(super) route: &'static str,
}

/// The guard of one route.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    let (mut parts, content) = request.into_parts();
    let notes = Notes::default();
    parts.extensions.insert(notes.clone());
    let path = Path::<HashMap<String, String>>::from_request_parts(&mut parts, &guard.api).await;
    let path = path.map(|path| path.0).unwrap_or_default();
    let mut entry = Entry::new(&guard.api.context, guard.route, &parts, auth::peer_of(&parts), &path);
    let passed = pass(&guard, &mut entry, parts, content, &path, next).await;
    let mut response = passed.unwrap_or_else(ApiError::into_response);
    if let Ok(value) = HeaderValue::from_str(&entry.request) {
        response.headers_mut().insert("x-request-id", value);
    }
    if guard.is_noted(&entry, response.status()) {
        guard
            .api
            .audit
            .note(&guard.api.context, entry, response.status(), &notes)
            .await;
    }
    close_in(&mut response);
    response
}

/// The console's pages come from here, too, and people are known here by a cookie: no answer may act as
/// one of those pages, whatever tenants have put into it, nor be kept for whoever asks next.
fn close_in(response: &mut Response) {
    // `sandbox` takes scripts, forms and the origin away. (PDF would not be shown under it.)
    const PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; sandbox";
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_page = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"text/html"));
    if is_page {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

impl Guard {
    /// Whether it goes into the audit log: what changes something, and every refusal; commands in
    /// instances come as GET and are noted, too.
    fn is_noted(&self, entry: &Entry, status: StatusCode) -> bool {
        let looks_only = matches!(entry.method, Method::GET | Method::HEAD);
        let commands = matches!(self.need, Need::Right(Permission::RunCommands | Permission::Files, _));
        // A page that asks whether somebody is signed in is no attempt at anything.
        let refused = status == StatusCode::FORBIDDEN || (status == StatusCode::UNAUTHORIZED && entry.tried);
        !looks_only || commands || refused
    }
}

async fn pass(
    guard: &Guard,
    entry: &mut Entry,
    mut parts: request::Parts,
    content: axum::body::Body,
    path: &HashMap<String, String>,
    next: Next,
) -> Result<Response, ApiError> {
    let api = &guard.api;
    auth::check_origin(&parts)?;
    if guard.need == Need::Open {
        let work = next.run(Request::from_parts(parts, content));
        return finish(entry.changes(), async move { Ok(work.await) }).await;
    }
    let caller = auth::authenticate(&api.context, &api.limiter, &parts, auth::peer_of(&parts)).await?;
    entry.by(&caller);
    let subject = match guard.need {
        Need::Right(permission, about) => decide(api, entry, &caller, permission, about, path).await?,
        Need::Open | Need::SignedIn => Subject::platform(),
    };
    let key = Key::of(&parts.method, &parts.headers, &caller)?;
    let asker = caller.name().to_owned();
    let until_changed = (!entry.changes()).then(|| caller.clone().changed(api.context.clone()));
    parts.extensions.insert(caller);
    parts.extensions.insert(subject);
    if let Some(key) = &key {
        parts.extensions.insert(key.clone());
    }
    let request = Request::from_parts(parts, content);
    let (api, body) = (api.clone(), guard.body);
    let work = async move {
        match body {
            BodyKind::Small => idempotency::run(api, key, request, next).await,
            BodyKind::Streamed => Ok(next.run(request).await),
        }
    };
    let response = finish(entry.changes(), asker::on_behalf_of(asker, work)).await?;
    Ok(match until_changed {
        Some(changed) => cut(response, changed),
        None => response,
    })
}

/// Marks the answer of a stream that ends by itself when who asked may not go on, and says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct SeesToItsEnd;

/// Ends a stream of events when something comes true. (Terminals see to it themselves.)
fn cut(response: Response, end: impl Future<Output = ()> + Send + 'static) -> Response {
    let media_type = response.headers().get(header::CONTENT_TYPE);
    let is_stream = media_type.is_some_and(|value| value.as_bytes().starts_with(b"text/event-stream"));
    if !is_stream || response.extensions().get::<SeesToItsEnd>().is_some() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let pieces = body.into_data_stream().take_until(Box::pin(end));
    Response::from_parts(parts, axum::body::Body::from_stream(pieces))
}

/// Runs what changes something to its end, whoever hangs up.
async fn finish(
    changes: bool,
    work: impl Future<Output = Result<Response, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    if !changes {
        return work.await;
    }
    tokio::spawn(work.instrument(tracing::info_span!("change")))
        .await
        .map_err(|error| ApiError::internal(format!("a handler stopped: {error}")))?
}

/// The one decision. What somebody may not know of is answered as if it did not exist.
async fn decide(
    api: &Api,
    entry: &mut Entry,
    caller: &Caller,
    permission: Permission,
    about: About,
    path: &HashMap<String, String>,
) -> Result<Subject, ApiError> {
    if about == About::Somewhere {
        if caller.rights.may_somewhere(permission) {
            return Ok(Subject::platform());
        }
        return Err(caller.refusal(permission, "anywhere"));
    }
    let subject = place::subject(&api.context, about, path).await?;
    entry.at(&subject.scope, subject.place);
    judge(caller, permission, about, subject, path)
}

/// Whether somebody may do something in what was looked up.
pub(super) fn judge(
    caller: &Caller,
    permission: Permission,
    about: About,
    subject: Subject,
    path: &HashMap<String, String>,
) -> Result<Subject, ApiError> {
    let verdict = match caller.rights.decide(permission, subject.place) {
        Verdict::Forbidden if subject.orphan => Verdict::Unseen,
        verdict => verdict,
    };
    // An environment that is not there, and one that is not for them, are the same to who knows the project.
    let missing = |subject: Subject| match subject.project {
        Some(project) if about == About::Environment => {
            let outer = Place::Project(project.account, project.id);
            match path.get("environment").filter(|_| caller.rights.knows(outer)) {
                Some(name) => crate::projects::no_such_environment(&project.name, name),
                None => subject.missing,
            }
        }
        _ => subject.missing,
    };
    match verdict {
        Verdict::Allowed | Verdict::Forbidden if about == About::Environment && subject.environment.is_none() => {
            Err(missing(subject))
        }
        Verdict::Allowed => Ok(subject),
        Verdict::Forbidden => Err(caller.refusal(permission, &subject.scope)),
        Verdict::Unseen => Err(missing(subject)),
    }
}

impl Caller {
    /// Fails unless something may be done in a place that the body of the request names; `missing` is
    /// told to those who may not know of it.
    pub(crate) fn require(
        &self,
        permission: Permission,
        place: Place,
        scope: &str,
        missing: impl FnOnce() -> ApiError,
    ) -> Result<(), ApiError> {
        match self.rights.decide(permission, place) {
            Verdict::Allowed => Ok(()),
            Verdict::Forbidden => Err(self.refusal(permission, scope)),
            Verdict::Unseen => Err(missing()),
        }
    }

    /// The answer to somebody who may not do something where they may know of it.
    pub(crate) fn refusal(&self, permission: Permission, scope: &str) -> ApiError {
        let needed = weir_model::policy::Role::ALL
            .into_iter()
            .filter(|role| role.allows(permission))
            .map(weir_model::policy::Role::as_str)
            .collect::<Vec<_>>()
            .join(", ");
        let where_ = if scope == "anywhere" { "some scope" } else { scope };
        ApiError::forbidden(format!(
            "{} may not do this: it needs the permission `{}` for {where_}",
            self.title(),
            permission.as_str()
        ))
        .with_detail(format!("these roles have it: {needed}"))
        .with_hint(format!(
            "an administrator gives a role (`weir people role NAME ROLE --scope {}`), or makes a token with a wider scope: `weir token create NAME --scope …`",
            if scope == "anywhere" { "SCOPE" } else { scope }
        ))
    }
}

/// Whether a header says that the answer may be kept by nobody: what a session is told.
pub(super) fn private(response: &mut Response) {
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}
