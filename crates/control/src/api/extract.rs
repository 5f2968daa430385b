//! What handlers take out of a request. Whatever cannot be read is a problem with the reason,
//! and a project outside of the token's reach looks like one that does not exist.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{StatusCode, header};
use serde::de::DeserializeOwned;
use weir_model::project::{Environment, Project};
use weir_store::Account;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::place::Subject;
use super::scopes;

impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        // The guard of the route put it there.
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal("a route without a guard"))
    }
}

/// The body as JSON.
#[derive(Debug)]
pub(super) struct JsonBody<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Api> for JsonBody<T> {
    type Rejection = ApiError;
    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let content_type = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .unwrap_or("");
        let media_type = content_type.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if media_type != "application/json" && !media_type.ends_with("+json") {
            return Err(
                ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-json", "the body must be JSON")
                    .with_hint("send `Content-Type: application/json`"),
            );
        }
        let bytes = Bytes::from_request(request, api)
            .await
            .map_err(|error| body_error(error.status(), &error.body_text()))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| json_error(&error))
    }
}

/// The problem of a body that could not be received.
pub(super) fn body_error(status: StatusCode, reason: &str) -> ApiError {
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::new(status, "too-large", "the body is too large").with_detail(reason.to_owned());
    }
    ApiError::new(StatusCode::BAD_REQUEST, "bad-body", "the body could not be received").with_detail(reason.to_owned())
}

fn json_error(error: &serde_json::Error) -> ApiError {
    let hint = "the shapes are in /v1/openapi.json";
    match error.classify() {
        serde_json::error::Category::Data => ApiError::invalid("the body is JSON, but not what is wanted here")
            .with_detail(error.to_string())
            .with_hint(hint),
        _ => ApiError::new(StatusCode::BAD_REQUEST, "bad-json", "the body is not JSON")
            .with_detail(error.to_string())
            .with_hint(hint),
    }
}

/// The query.
#[derive(Debug)]
pub(super) struct QueryOf<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Api> for QueryOf<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, api).await.map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "bad-query", "the query cannot be read")
                .with_detail(error.body_text())
        })?;
        Ok(Self(query.0))
    }
}

/// A part of the path that reads as `T`; what does not, names nothing that exists.
#[derive(Debug)]
pub(super) struct PathOf<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for PathOf<T> {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let path = Path::<T>::from_request_parts(parts, api).await;
        path.map(|path| Self(path.0))
            .map_err(|error| ApiError::not_found("not-found", error.body_text()))
    }
}

/// What the guard of the route has looked up.
fn subject(parts: &Parts) -> Result<&Subject, ApiError> {
    let found = parts.extensions.get::<Subject>();
    found.ok_or_else(|| ApiError::internal("a route without a guard"))
}

/// The project in the path, which the caller may know of.
#[derive(Debug, Clone)]
pub(super) struct InProject {
    /// The project.
    pub(super) project: Project,
}

impl FromRequestParts<Api> for InProject {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let project = subject(parts)?.project.clone();
        let project = project.ok_or_else(|| ApiError::internal("the route is about no project"))?;
        Ok(Self { project })
    }
}

/// The environment in the path, of a project that the caller may know of.
#[derive(Debug, Clone)]
pub(super) struct InEnvironment {
    /// The project.
    pub(super) project: Project,
    /// The environment.
    pub(super) environment: Environment,
}

impl FromRequestParts<Api> for InEnvironment {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let Subject {
            project, environment, ..
        } = subject(parts)?.clone();
        match (project, environment) {
            (Some(project), Some(environment)) => Ok(Self { project, environment }),
            _ => Err(ApiError::internal("the route is about no environment")),
        }
    }
}

/// The account in the path, which the caller may know of.
#[derive(Debug, Clone)]
pub(super) struct InAccount {
    /// The account.
    pub(super) account: Account,
}

impl FromRequestParts<Api> for InAccount {
    type Rejection = ApiError;
    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        if let Some(account) = subject(parts)?.account.clone() {
            return Ok(Self { account });
        }
        // Where the right is one over the whole Weir, the account is only named.
        let path = Path::<HashMap<String, String>>::from_request_parts(parts, api).await;
        let path = path.map_err(|error| ApiError::not_found("not-found", error.body_text()))?;
        let name = path.0.get("account").map_or("", String::as_str);
        let account = scopes::account(&api.context, name).await?;
        Ok(Self { account })
    }
}
