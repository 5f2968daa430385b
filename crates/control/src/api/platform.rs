//! The platform itself: health, who asks, tokens, and the description of the API.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{StatusCode, header};
use weir_api::{CreateToken, Health, Token, WhoAmI};
use weir_model::policy::{Permission, Power, Role};

use super::Api;
use super::auth::{Caller, Who};
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::{openapi, place, present};
use crate::audit::Notes;
use crate::people::Scopes;
use crate::tokens;

/// State of the platform: 200 once everything is ready, else 503. Needs no token.
#[utoipa::path(get, path = "/v1/health", tag = "platform", responses((status = 200, body = Health), (status = 503, body = Health)))]
pub(super) async fn get_health(State(api): State<Api>) -> (StatusCode, Json<Health>) {
    let health = health_of(&api).await;
    let status = if health.status == "ready" {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

async fn health_of(api: &Api) -> Health {
    let context = &api.context;
    let mut parts = context.reconciler.health(context.clock.now_ms());
    let store = context.store.setting_get("installation").await;
    let installation = store.as_ref().ok().cloned().flatten().unwrap_or_default();
    parts.insert("store".to_owned(), store.map(|_| ()).map_err(|error| error.to_string()));
    let ready = parts.values().all(Result::is_ok) && !context.stop.is_cancelled();
    Health {
        installation,
        status: if ready { "ready" } else { "starting" }.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        parts: parts
            .into_iter()
            .map(|(part, state)| (part, state.err().unwrap_or_else(|| "ok".to_owned())))
            .collect(),
        ingress: context.config.http.to_string(),
        domain: context.config.domain.clone(),
    }
}

/// Who asks.
#[utoipa::path(get, path = "/v1/whoami", tag = "platform", responses((status = 200, body = WhoAmI)))]
pub(super) async fn get_whoami(State(api): State<Api>, caller: Caller) -> Result<Json<WhoAmI>, ApiError> {
    let scopes = Scopes::of(&api.context).await?;
    let rights = caller.rights.grants().iter().filter_map(|grant| {
        let permissions = Permission::ALL
            .into_iter()
            .filter(|permission| grant.power.allows(*permission));
        Some(weir_api::WhereRights {
            scope: scopes.find(grant.reach)?.1,
            role: grant.power.words().to_owned(),
            permissions: permissions.map(|permission| permission.as_str().to_owned()).collect(),
        })
    });
    let rights = rights.collect();
    let (kind, scope, project) = match &caller.who {
        Who::Token(token) => {
            let shown = present::token(&api.context, token).await?;
            ("token", shown.scope, shown.project)
        }
        Who::ServiceAccount(token, _) => ("service-account", token.scope.as_str().to_owned(), None),
        Who::Person(..) => {
            let roles = caller.rights.grants().iter().filter_map(|grant| match grant.power {
                Power::Role(role) => Some(role),
                Power::Token(_) | Power::Within(..) => None,
            });
            let highest = roles.max().map_or("none", Role::as_str);
            ("person", highest.to_owned(), None)
        }
    };
    Ok(Json(WhoAmI {
        token: caller.name().to_owned(),
        kind: kind.to_owned(),
        scope,
        project,
        rights,
    }))
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "platform", responses((status = 200, content_type = "application/json")))]
pub(super) async fn get_openapi() -> Result<Response, ApiError> {
    let text = openapi::text().map_err(ApiError::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/json")], text).into_response())
}

/// Lists tokens, without their secrets.
#[utoipa::path(get, path = "/v1/tokens", tag = "tokens", responses((status = 200, body = Vec<Token>)))]
pub(super) async fn list_tokens(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<Token>>, ApiError> {
    let mut answer = Vec::new();
    for token in tokens::list(&api.context, &caller).await? {
        answer.push(present::token(&api.context, &token).await?);
    }
    Ok(Json(answer))
}

/// Makes a token. The answer is the only place where its secret is ever shown.
#[utoipa::path(post, path = "/v1/tokens", tag = "tokens", request_body = CreateToken, responses((status = 201, body = Token)))]
pub(super) async fn create_token(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateToken>,
) -> Result<(StatusCode, Json<Token>), ApiError> {
    if let Some(name) = &request.project
        && let Ok(subject) = place::project(&api.context, name).await
    {
        notes.at(&subject.scope, subject.place);
    }
    let (token, secret) = tokens::create(&api.context, &caller, &request).await?;
    notes.target(&token.id.to_string());
    notes.detail(&format!("{} {}", token.scope.as_str(), token.name));
    let shown = present::token(&api.context, &token).await?;
    Ok((
        StatusCode::CREATED,
        Json(Token {
            secret: Some(secret.into_exposed()),
            ..shown
        }),
    ))
}

/// Takes a token away; it is refused from the next request on.
#[utoipa::path(delete, path = "/v1/tokens/{token}", tag = "tokens", params(("token" = String, Path, description = "Identity of the token")), responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_token(
    State(api): State<Api>,
    PathOf(token): PathOf<String>,
) -> Result<StatusCode, ApiError> {
    tokens::delete(&api.context, &token).await?;
    Ok(StatusCode::NO_CONTENT)
}
