//! Asking those who run Weir for help.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use weir_api::{CreateHelp, CreateHelpMessage, HelpContext, HelpMessage, HelpRequest, UpdateHelp};
use weir_model::HelpRequestId;
use weir_store::HelpState;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf, QueryOf};
use super::present::instant;
use crate::help::{self, Conversation};

/// Requests of one answer, unless fewer or more are asked for.
const REQUESTS: i64 = 100;
const MOST: i64 = 500;

/// Which requests.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HelpQuery {
    state: Option<String>,
    before: Option<String>,
    limit: Option<i64>,
}

/// Of what.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextQuery {
    scope: String,
}

/// One's own requests and those about what one looks after, newest first.
#[utoipa::path(get, path = "/v1/help", tag = "help",
    params(("state" = Option<String>, Query, description = "open, answered or closed"),
        ("before" = Option<String>, Query, description = "Only older than this one"),
        ("limit" = Option<i64>, Query, description = "1 to 500; 100 if absent")),
    responses((status = 200, body = Vec<HelpRequest>)))]
pub(super) async fn list_help(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<HelpQuery>,
) -> Result<Json<Vec<HelpRequest>>, ApiError> {
    let state = query.state.as_deref().filter(|state| !state.is_empty());
    let state = state.map(str::parse::<HelpState>).transpose();
    let state = state.map_err(|words| ApiError::invalid(words).with_hint("states are open, answered and closed"))?;
    let before = query.before.as_deref().map(id_of).transpose()?;
    let limit = query.limit.unwrap_or(REQUESTS).clamp(1, MOST);
    let found = help::list(&api.context, &caller, state, before, limit).await?;
    Ok(Json(found.iter().map(request).collect()))
}

/// Asks for help; at most 20 times a day. Those who run Weir get mail, if there is a mail server.
#[utoipa::path(post, path = "/v1/help", tag = "help", request_body = CreateHelp, responses((status = 201, body = HelpRequest)))]
pub(super) async fn create_help(
    State(api): State<Api>,
    caller: Caller,
    JsonBody(wanted): JsonBody<CreateHelp>,
) -> Result<(StatusCode, Json<HelpRequest>), ApiError> {
    let made = help::create(&api.context, &caller, &wanted).await?;
    Ok((StatusCode::CREATED, whole(&made)?))
}

/// A request with all that was said, and how things stood.
#[utoipa::path(get, path = "/v1/help/{request}", tag = "help", params(("request" = String, Path, description = "Identity")), responses((status = 200, body = HelpRequest)))]
pub(super) async fn get_help(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
) -> Result<Json<HelpRequest>, ApiError> {
    whole(&help::get(&api.context, &caller, id_of(&id)?).await?)
}

/// Says something to it; the other side gets mail.
#[utoipa::path(post, path = "/v1/help/{request}/messages", tag = "help", params(("request" = String, Path, description = "Identity")), request_body = CreateHelpMessage, responses((status = 200, body = HelpRequest)))]
pub(super) async fn answer_help(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    JsonBody(message): JsonBody<CreateHelpMessage>,
) -> Result<Json<HelpRequest>, ApiError> {
    whole(&help::answer(&api.context, &caller, id_of(&id)?, &message.text).await?)
}

/// Closes it, or opens it again.
#[utoipa::path(patch, path = "/v1/help/{request}", tag = "help", params(("request" = String, Path, description = "Identity")), request_body = UpdateHelp, responses((status = 200, body = HelpRequest)))]
pub(super) async fn update_help(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    JsonBody(update): JsonBody<UpdateHelp>,
) -> Result<Json<HelpRequest>, ApiError> {
    whole(&help::set_state(&api.context, &caller, id_of(&id)?, &update.state).await?)
}

/// How an environment stands, as it would be attached to a request.
#[utoipa::path(get, path = "/v1/help-context", tag = "help", params(("scope" = String, Query, description = "An environment: shop/production")), responses((status = 200, body = HelpContext)))]
pub(super) async fn get_help_context(
    State(api): State<Api>,
    caller: Caller,
    QueryOf(query): QueryOf<ContextQuery>,
) -> Result<Json<HelpContext>, ApiError> {
    help::context_of(&api.context, &caller, &query.scope).await.map(Json)
}

/// What is no identity names nothing that exists.
fn id_of(text: &str) -> Result<HelpRequestId, ApiError> {
    text.parse().map_err(|_| help::missing())
}

fn request(request: &weir_store::HelpRequest) -> HelpRequest {
    HelpRequest {
        id: request.id.to_string(),
        subject: request.subject.clone(),
        scope: Some(request.scope.clone()).filter(|scope| !scope.is_empty()),
        state: request.state.to_string(),
        by: request.by_name.clone(),
        created: instant(request.created_ms),
        updated: instant(request.updated_ms),
        messages: None,
        context: None,
    }
}

fn whole(conversation: &Conversation) -> Result<Json<HelpRequest>, ApiError> {
    let context = conversation.request.context.as_deref();
    let context: Option<HelpContext> = context
        .map(serde_json::from_str)
        .transpose()
        .map_err(ApiError::internal)?;
    let message = |message: &weir_store::HelpMessage| HelpMessage {
        id: message.id.to_string(),
        at: instant(message.at_ms),
        by: message.by_name.clone(),
        operator: message.operator,
        text: message.text.clone(),
    };
    Ok(Json(HelpRequest {
        messages: Some(conversation.messages.iter().map(message).collect()),
        context,
        ..request(&conversation.request)
    }))
}
