//! What stands before every route: who asks, may they, from where, and was it done already.
//!
//! What changes something runs in a task of its own: a client that hangs up in the middle
//! must not cut a change in half.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use tracing::Instrument as _;

use super::Api;
use super::auth::{self, Need};
use super::error::ApiError;
use super::idempotency::{self, Key};

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
}

/// The guard of one route.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    match pass(guard, request, next).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

async fn pass(Guard { api, need, body }: Guard, request: Request, next: Next) -> Result<Response, ApiError> {
    let (mut parts, content) = request.into_parts();
    auth::check_origin(&parts)?;
    if need == Need::Open {
        return Ok(next.run(Request::from_parts(parts, content)).await);
    }
    let caller = auth::authenticate(&api.context, &api.limiter, &parts.headers, auth::peer_of(&parts)).await?;
    caller.require(need)?;
    let key = Key::of(&parts.method, &parts.headers, &caller)?;
    parts.extensions.insert(caller);
    if let Some(key) = &key {
        parts.extensions.insert(key.clone());
    }
    let looks_only = matches!(parts.method, Method::GET | Method::HEAD);
    let request = Request::from_parts(parts, content);
    if looks_only {
        return Ok(next.run(request).await);
    }
    let work = async move {
        match body {
            BodyKind::Small => idempotency::run(api, key, request, next).await,
            BodyKind::Streamed => Ok(next.run(request).await),
        }
    };
    let work = tokio::spawn(work.instrument(tracing::info_span!("change")));
    work.await
        .map_err(|error| ApiError::internal(format!("a handler stopped: {error}")))?
}
