//! What those who watch over apps are told, for Prometheus.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderMap};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use crate::metrics;

/// What was counted and what is known now, in the text format of Prometheus, or as OpenMetrics 1.0 if
/// `Accept` asks for that. Who may see one project sees what is of this project.
#[utoipa::path(get, path = "/metrics", tag = "metrics", responses((status = 200, description = "Samples in the text format of Prometheus, version 0.0.4", body = String, content_type = "text/plain")))]
pub(super) async fn read_metrics(
    State(api): State<Api>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let (media_type, text) = metrics::asked(&api.context, &caller.rights, accept.unwrap_or_default()).await?;
    Ok(([(header::CONTENT_TYPE, media_type), (header::VARY, "accept")], text).into_response())
}
