//! `Idempotency-Key`: the same request under the same key is done once, however often a client
//! that lost the answer repeats it. Answers are kept sealed, because that of a new token holds
//! the token.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use weir_store::Idempotency;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::body_error;
use crate::context::Context;

/// The header.
const HEADER: &str = "idempotency-key";
const KEY_BYTES: usize = 200;
/// Largest answer that is kept, in bytes.
const ANSWER_BYTES: usize = 1 << 20;

/// Who repeats what.
#[derive(Debug, Clone)]
pub(super) struct Key {
    token: String,
    key: String,
}

impl Key {
    /// The key of a request that changes something, if it has one.
    pub(super) fn of(method: &Method, headers: &HeaderMap, caller: &Caller) -> Result<Option<Self>, ApiError> {
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(None);
        }
        let Some(value) = headers.get(HEADER) else {
            return Ok(None);
        };
        let key = value
            .to_str()
            .ok()
            .filter(|key| !key.is_empty() && key.len() <= KEY_BYTES)
            .ok_or_else(|| {
                ApiError::new(
                    StatusCode::BAD_REQUEST,
                    "bad-idempotency-key",
                    format!("Idempotency-Key must have 1 to {KEY_BYTES} printable characters"),
                )
                .with_hint("use a new random UUID for each request")
            })?;
        Ok(Some(Self {
            token: caller.identity(),
            key: key.to_owned(),
        }))
    }

    fn place(&self) -> String {
        format!("idempotency\0{}\0{}", self.token, self.key)
    }
}

/// Runs a request with a small body, under its key if it has one.
pub(super) async fn run(api: Api, key: Option<Key>, request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(key) = key else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), &api)
        .await
        .map_err(|error| body_error(error.status(), &error.body_text()))?;
    let target = parts.uri.path_and_query().map_or("", |target| target.as_str());
    let fingerprint = api
        .context
        .sealer
        .fingerprint(&[parts.method.as_str().as_bytes(), target.as_bytes(), &bytes]);
    let request = Request::from_parts(parts, Body::from(bytes));
    once(&api.context, key, &fingerprint, async move { next.run(request).await }).await
}

/// Does the work unless it was done under this key; then gives the answer of that time.
pub(super) async fn once(
    context: &Context,
    key: Key,
    fingerprint: &str,
    work: impl Future<Output = Response>,
) -> Result<Response, ApiError> {
    let now_ms = context.clock.now_ms();
    match context
        .store
        .idempotency_begin(&key.token, &key.key, fingerprint, now_ms)
        .await?
    {
        Idempotency::New => {}
        Idempotency::Replay { status, body } => return replay(context, &key, status, &body),
        Idempotency::Mismatch => {
            return Err(ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-mismatch",
                "this Idempotency-Key was used for another request",
            )
            .with_hint("use a new key for a new request"));
        }
        Idempotency::InProgress => {
            let mut error = ApiError::conflict(
                "idempotency-in-progress",
                "the request with this Idempotency-Key is still being worked on",
            );
            error.retry_after_s = Some(1);
            return Err(error.with_hint("try again in a moment, with the same key"));
        }
    }
    let response = work.await;
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, ANSWER_BYTES).await;
    // What Weir or the moment is to blame for is not the answer for ever.
    let passing = parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS;
    let bytes = match bytes {
        Ok(bytes) if !passing => bytes,
        other => {
            context.store.idempotency_abandon(&key.token, &key.key).await?;
            let bytes = other.map_err(ApiError::internal)?;
            return Ok(Response::from_parts(parts, Body::from(bytes)));
        }
    };
    let sealed = context
        .sealer
        .seal_text(&key.place(), &String::from_utf8_lossy(&bytes))?;
    context
        .store
        .idempotency_finish(&key.token, &key.key, parts.status.as_u16(), &sealed)
        .await?;
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

fn replay(context: &Context, key: &Key, status: u16, sealed: &str) -> Result<Response, ApiError> {
    let body = context.sealer.open_text(&key.place(), sealed)?;
    let status = StatusCode::from_u16(status).map_err(ApiError::internal)?;
    let media_type = if status.is_success() {
        "application/json"
    } else {
        "application/problem+json"
    };
    let mut response = (status, body.into_exposed()).into_response();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
        .headers_mut()
        .insert("idempotency-replayed", HeaderValue::from_static("true"));
    Ok(response)
}
