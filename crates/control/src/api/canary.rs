//! The canary of an environment.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use weir_api::{Accepted, CanaryStatus, SetCanary};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody};
use crate::canary;

/// Both releases, what part of the requests the canary gets, and how each does.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/canary", tag = "deployments", responses((status = 200, body = CanaryStatus), (status = 404, description = "No canary runs")))]
pub(super) async fn get_canary(State(api): State<Api>, at: InEnvironment) -> Result<Json<CanaryStatus>, ApiError> {
    canary::status_of(&api.context, &at.environment).await.map(Json)
}

/// Changes what part of the requests the canary gets.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/canary", tag = "deployments", request_body = SetCanary, responses((status = 200, body = CanaryStatus), (status = 404, description = "No canary runs")))]
pub(super) async fn set_canary(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<SetCanary>,
) -> Result<Json<CanaryStatus>, ApiError> {
    crate::projects::ensure_alive(&at.project, Some(&at.environment))?;
    canary::set(&api.context, &at.environment, &request).await.map(Json)
}

/// Makes the canary the release that serves.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/canary/promote", tag = "deployments", responses((status = 202, body = Accepted), (status = 404, description = "No canary runs")))]
pub(super) async fn promote_canary(
    State(api): State<Api>,
    at: InEnvironment,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    let accepted = canary::promote(&api.context, &at.project, &at.environment).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// Gives the canary up: everybody gets the release that serves.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/canary", tag = "deployments", responses((status = 204, description = "It gets no more requests, and ends"), (status = 404, description = "No canary runs")))]
pub(super) async fn abort_canary(State(api): State<Api>, at: InEnvironment) -> Result<StatusCode, ApiError> {
    crate::projects::ensure_alive(&at.project, Some(&at.environment))?;
    canary::abort(&api.context, &at.environment).await?;
    Ok(StatusCode::NO_CONTENT)
}
