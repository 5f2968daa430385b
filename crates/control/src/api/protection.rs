//! Who may pass to an environment, and whether it is closed for maintenance.

use axum::Json;
use axum::extract::State;
use sha2::{Digest as _, Sha256};
use weir_api::{AccessUser, Maintenance, Protection, RefusedRequests, SetAccess, SetMaintenance};
use weir_model::UnixMillis;
use weir_model::project::{Environment, Project};
use weir_model::protection::{self, BYPASS_PATH, MESSAGE_BYTES, MOST_NETWORKS, MOST_USERS, Network, PAGE_BYTES, User};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody, PathOf};
use super::present::instant;
use crate::context::Context;
use crate::projects::ensure_alive;
use crate::protecting::{self, PASSWORD_BYTES};
use crate::secrets::{hex, random_bytes};

const LEAST_PASSWORD: usize = 8;

/// Who may pass to an environment, how it is closed, and what was refused.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/protection", tag = "protection", responses((status = 200, body = Protection)))]
pub(super) async fn get_protection(State(api): State<Api>, at: InEnvironment) -> Result<Json<Protection>, ApiError> {
    shown(&api.context, &at.environment).await.map(Json)
}

/// Lets somebody pass to an environment, or gives them another password. From the first one on,
/// everybody is asked for one.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/access/{user}", tag = "protection", request_body = SetAccess, responses((status = 200, body = Protection)))]
pub(super) async fn set_access(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf((_, _, name)): PathOf<(String, String, String)>,
    JsonBody(request): JsonBody<SetAccess>,
) -> Result<Json<Protection>, ApiError> {
    ensure_alive(&at.project, Some(&at.environment))?;
    let context = &api.context;
    protecting::check_name(&name).map_err(ApiError::invalid)?;
    if !(LEAST_PASSWORD..=PASSWORD_BYTES).contains(&request.password.len()) {
        return Err(ApiError::invalid(format!(
            "a password has {LEAST_PASSWORD} to {PASSWORD_BYTES} bytes"
        )));
    }
    let present = context.store.access_user_list(at.environment.id).await?;
    if present.len() >= MOST_USERS && !present.iter().any(|user| user.user.name == name) {
        return Err(ApiError::conflict(
            "too-many-users",
            format!("{MOST_USERS} users may pass already, and no more can be added"),
        )
        .with_hint("weir access remove NAME"));
    }
    let hashed = tokio::task::spawn_blocking(move || protecting::fresh_hash(&request.password)).await;
    let hash = hashed
        .map_err(|error| ApiError::internal(error.to_string()))?
        .map_err(ApiError::internal)?;
    let user = weir_store::AccessUser {
        user: User {
            name: name.clone(),
            hash,
        },
        created_ms: context.clock.now_ms(),
    };
    context.store.access_user_put(at.environment.id, &user).await?;
    let message = format!("{name} may pass with a password");
    changed(context, &at, "access.changed", &message).await
}

/// Lets somebody pass no more. Once nobody is left, everybody may pass.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/access/{user}", tag = "protection", responses((status = 200, body = Protection)))]
pub(super) async fn remove_access(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf((_, _, name)): PathOf<(String, String, String)>,
) -> Result<Json<Protection>, ApiError> {
    let context = &api.context;
    if !context.store.access_user_delete(at.environment.id, &name).await? {
        let shown: String = name.chars().take(80).collect();
        return Err(
            ApiError::not_found("user-not-found", format!("nobody called `{shown}` may pass here"))
                .with_hint("weir access list"),
        );
    }
    let message = format!("{name} may pass no more");
    changed(context, &at, "access.changed", &message).await
}

/// Closes an environment for maintenance, within a second. Its instances go on, and so do deploys.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/maintenance", tag = "protection", request_body = SetMaintenance, responses((status = 200, body = Protection)))]
pub(super) async fn set_maintenance(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<SetMaintenance>,
) -> Result<Json<Protection>, ApiError> {
    ensure_alive(&at.project, Some(&at.environment))?;
    let context = &api.context;
    let before = context.store.maintenance_of(at.environment.id).await?;
    let now_ms = context.clock.now_ms();
    let secret = request.bypass.then(|| hex(&random_bytes::<32>()));
    let mut closed = closed(request, now_ms, before.map(|before| before.since_ms))?;
    closed.bypass = secret.as_ref().map(|secret| hex(&Sha256::digest(secret)));
    context.store.maintenance_set(at.environment.id, Some(&closed)).await?;
    let Json(shown) = changed(context, &at, "maintenance.on", "closed for maintenance").await?;
    Ok(Json(Protection {
        bypass_path: secret.map(|secret| format!("{BYPASS_PATH}{secret}")),
        ..shown
    }))
}

/// Opens an environment again.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/maintenance", tag = "protection", responses((status = 200, body = Protection)))]
pub(super) async fn unset_maintenance(State(api): State<Api>, at: InEnvironment) -> Result<Json<Protection>, ApiError> {
    let context = &api.context;
    context.store.maintenance_set(at.environment.id, None).await?;
    changed(context, &at, "maintenance.off", "open again").await
}

/// What is asked for, checked.
fn closed(
    request: SetMaintenance,
    now_ms: UnixMillis,
    since_ms: Option<UnixMillis>,
) -> Result<protection::Maintenance, ApiError> {
    let until = request.until.as_deref().map(|text| {
        let at: jiff::Timestamp = text
            .parse()
            .map_err(|_| ApiError::invalid("`until` is no instant").with_hint("write it like 2026-11-21T14:00:00Z"))?;
        match at.as_millisecond() {
            at_ms if at_ms > now_ms => Ok(at_ms),
            _ => Err(ApiError::invalid("`until` is in the past")),
        }
    });
    if request
        .message
        .as_ref()
        .is_some_and(|message| message.len() > MESSAGE_BYTES)
    {
        return Err(ApiError::invalid(format!(
            "`message` has more than {MESSAGE_BYTES} bytes"
        )));
    }
    if request.page.as_ref().is_some_and(|page| page.len() > PAGE_BYTES) {
        return Err(ApiError::invalid(format!("`page` has more than {PAGE_BYTES} bytes"))
            .with_hint("leave pictures out, or put them in as SVG; it may load nothing"));
    }
    if request.allow.len() > MOST_NETWORKS {
        return Err(ApiError::invalid(format!(
            "`allow` has more than {MOST_NETWORKS} entries"
        )));
    }
    let allow: Result<Vec<Network>, String> = request.allow.iter().map(|text| text.parse()).collect();
    Ok(protection::Maintenance {
        since_ms: since_ms.unwrap_or(now_ms),
        until_ms: until.transpose()?,
        message: request.message,
        allow: allow.map_err(|problem| ApiError::invalid(format!("`allow`: {problem}")))?,
        page: request.page,
        bypass: None,
    })
}

async fn changed(
    context: &Context,
    at: &InEnvironment,
    kind: &str,
    message: &str,
) -> Result<Json<Protection>, ApiError> {
    let Project { name, .. } = &at.project;
    let environment = at.environment.name.as_str();
    context
        .tasks
        .change(name.as_str(), Some(environment), kind, message)
        .await;
    context.reconciler.wake(at.environment.id);
    shown(context, &at.environment).await.map(Json)
}

async fn shown(context: &Context, environment: &Environment) -> Result<Protection, ApiError> {
    let users = context.store.access_user_list(environment.id).await?;
    let user = |user: weir_store::AccessUser| AccessUser {
        name: user.user.name,
        set: instant(user.created_ms),
    };
    Ok(Protection {
        users: users.into_iter().map(user).collect(),
        maintenance: maintenance(context, environment).await?,
        refused: refused(context, environment),
        bypass_path: None,
    })
}

/// How an environment is closed, if it is.
pub(crate) async fn maintenance(context: &Context, environment: &Environment) -> Result<Option<Maintenance>, ApiError> {
    let closed = context.store.maintenance_of(environment.id).await?;
    Ok(closed.map(|closed| Maintenance {
        since: instant(closed.since_ms),
        until: closed.until_ms.map(instant),
        message: closed.message,
        allow: closed.allow.iter().map(ToString::to_string).collect(),
        own_page: closed.page.is_some(),
        bypass: closed.bypass.is_some(),
    }))
}

/// What nodes did not let through.
pub(crate) fn refused(context: &Context, environment: &Environment) -> RefusedRequests {
    let refused = context.reconciler.refused(environment.id);
    RefusedRequests {
        rate: refused.rate,
        body: refused.body,
        address: refused.address,
        password: refused.password,
        maintenance: refused.maintenance,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |request: SetMaintenance, words: &str| {
            let told = format!("{:?}", closed(request, 1_000_000, None).unwrap_err());
            assert!(told.contains(words), "{told}");
        };
        let ask = SetMaintenance::default;
        refused(
            SetMaintenance {
                until: Some("14:00".to_owned()),
                ..ask()
            },
            "no instant",
        );
        refused(
            SetMaintenance {
                until: Some("1970-01-01T00:00:01Z".to_owned()),
                ..ask()
            },
            "in the past",
        );
        refused(
            SetMaintenance {
                allow: vec!["office.example".to_owned()],
                ..ask()
            },
            "names of hosts",
        );
        refused(
            SetMaintenance {
                page: Some("x".repeat(PAGE_BYTES + 1)),
                ..ask()
            },
            "more than 65536",
        );
        refused(
            SetMaintenance {
                message: Some("x".repeat(1001)),
                ..ask()
            },
            "more than 1000",
        );
        let again = closed(ask(), 5, Some(3)).unwrap();
        assert_eq!(
            (again.since_ms, again.until_ms),
            (3, None),
            "since when it is closed stays"
        );
    }
}
