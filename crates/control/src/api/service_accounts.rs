//! Service accounts and their tokens.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use weir_api::{CreateServiceAccount, CreateServiceToken, ServiceAccount, SetGrants, Token};

use super::auth::Caller;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::people::{note_changed, note_grants};
use super::{Api, present};
use crate::audit::Notes;
use crate::people::service::{self, Programs};

/// Service accounts of what the one who asks looks after, with their tokens.
#[utoipa::path(get, path = "/v1/service-accounts", tag = "people", responses((status = 200, body = Vec<ServiceAccount>)))]
pub(super) async fn list_service_accounts(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Vec<ServiceAccount>>, ApiError> {
    service::list(&api.context, &caller).await.map(Json)
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
    note_grants(&api, &notes, std::slice::from_ref(&request.grant)).await?;
    let account = service::create(&api.context, &caller, &request).await?;
    let programs = Programs::of(&api.context).await?;
    Ok((StatusCode::CREATED, Json(programs.shown(&caller, &account))))
}

/// Sets the roles of a service account, in place of those that the one who asks looks after. Its tokens may
/// from then on what these roles allow.
#[utoipa::path(put, path = "/v1/service-accounts/{account}/grants", tag = "people", params(("account" = String, Path, description = "Identity")), request_body = SetGrants, responses((status = 200, body = ServiceAccount)))]
pub(super) async fn set_service_account_grants(
    State(api): State<Api>,
    caller: Caller,
    PathOf(id): PathOf<String>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<SetGrants>,
) -> Result<Json<ServiceAccount>, ApiError> {
    let account = service::find(&api.context, &id).await?;
    notes.target(&account.name);
    note_grants(&api, &notes, &request.grants).await?;
    let changed = service::set_grants(&api.context, &caller, &account, &request.grants).await?;
    note_changed(&notes, &changed);
    let programs = Programs::of(&api.context).await?;
    Ok(Json(programs.shown(&caller, &account)))
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
