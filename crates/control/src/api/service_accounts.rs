//! Service accounts and their tokens.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use weir_api::{CreateServiceAccount, CreateServiceToken, ServiceAccount, Token};

use super::auth::Caller;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::{Api, present};
use crate::audit::Notes;
use crate::people::{Scopes, service};

/// Service accounts of what the one who asks looks after, with their tokens.
#[utoipa::path(get, path = "/v1/service-accounts", tag = "people", responses((status = 200, body = Vec<ServiceAccount>)))]
pub(super) async fn list_service_accounts(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Vec<ServiceAccount>>, ApiError> {
    let mut answer = Vec::new();
    for account in service::list(&api.context, &caller).await? {
        answer.push(service::shown(&api.context, &account).await?);
    }
    Ok(Json(answer))
}

/// Makes a service account with a role. It belongs to where its role is.
#[utoipa::path(post, path = "/v1/service-accounts", tag = "people", request_body = CreateServiceAccount, responses((status = 201, body = ServiceAccount)))]
pub(super) async fn create_service_account(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateServiceAccount>,
) -> Result<(StatusCode, Json<ServiceAccount>), ApiError> {
    notes.target(&request.name);
    notes.detail(&format!("{} of {}", request.grant.role, request.grant.scope));
    let account = service::create(&api.context, &caller, &request).await?;
    if let Some((place, scope)) = Scopes::of(&api.context).await?.find(account.home) {
        notes.at(&scope, place);
    }
    Ok((StatusCode::CREATED, Json(service::shown(&api.context, &account).await?)))
}

/// Removes a service account with its roles and tokens.
#[utoipa::path(delete, path = "/v1/service-accounts/{account}", tag = "people", params(("account" = String, Path, description = "Identity")), responses((status = 204)))]
pub(super) async fn delete_service_account(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, ApiError> {
    let account = service::find(&api.context, &id).await?;
    api.context.store.service_account_delete(account.id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes a token of a service account. The answer is the only place where its secret is ever shown.
#[utoipa::path(post, path = "/v1/service-accounts/{account}/tokens", tag = "people", params(("account" = String, Path, description = "Identity")), request_body = CreateServiceToken, responses((status = 201, body = Token)))]
pub(super) async fn create_service_token(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateServiceToken>,
) -> Result<(StatusCode, Json<Token>), ApiError> {
    let account = service::find(&api.context, &id).await?;
    let (token, secret) = service::create_token(&api.context, &caller, &account, &request).await?;
    notes.detail(&format!("{} of {}: {}", token.name, account.name, token.id));
    let shown = present::token(&api.context, &token).await?;
    Ok((
        StatusCode::CREATED,
        Json(Token {
            secret: Some(secret.into_exposed()),
            ..shown
        }),
    ))
}
