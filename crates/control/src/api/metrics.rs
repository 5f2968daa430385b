//! What those who watch over apps are told, for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use crate::metrics;

/// What was counted and what is known now, in the text format of Prometheus. Who may see one project
/// sees what is of this project.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses((status = 200, description = "Samples in the text format of Prometheus, version 0.0.4", body = String, content_type = "text/plain")))]
pub(super) async fn read_metrics(State(api): State<Api>, caller: Caller) -> Result<Response, ApiError> {
    let text = metrics::text(&api.context, &caller.rights).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}
