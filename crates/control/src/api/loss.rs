//! What destroying something would lose, and the name that a person has to write for it.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use weir_api::{Loss, LostVolume};
use weir_model::{AppName, VolumeName};

use super::Api;
use super::auth::{Caller, Who};
use super::error::ApiError;
use super::extract::InEnvironment;

/// The query of what cannot be taken back.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfirmQuery {
    confirm: Option<String>,
}

impl ConfirmQuery {
    /// Fails unless the name was written, where it has to be: a person in a browser writes it, a
    /// program may go without. One that is wrong is always refused.
    pub(super) fn require(&self, caller: &Caller, name: &str) -> Result<(), ApiError> {
        let person = matches!(caller.who, Who::Person(..));
        match self.confirm.as_deref() {
            Some(confirmed) if confirmed == name => Ok(()),
            None if !person => Ok(()),
            given => {
                let words = match given {
                    Some(_) => "nothing was destroyed: the name in `confirm` is another one",
                    None => "nothing was destroyed: the name is to be confirmed",
                };
                Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "confirm", words)
                    .with_hint(format!("if that is what you want, send `confirm={name}`")))
            }
        }
    }
}

/// What destroying an environment would lose.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/loss", tag = "environments", responses((status = 200, body = Loss)))]
pub(super) async fn get_loss(State(api): State<Api>, at: InEnvironment) -> Result<Json<Loss>, ApiError> {
    let (store, environment) = (&api.context.store, &at.environment);
    let mut volumes: BTreeMap<(AppName, VolumeName), u64> = BTreeMap::new();
    let usage = api.context.meters.volumes_usage(environment.id).await;
    for (app, volume, bytes) in usage.map_err(unmeasured)? {
        volumes.insert((app, volume), bytes);
    }
    let domains = store.domain_list(environment.id).await?.into_iter();
    let variables = store.variable_list(environment.id).await?;
    let mut notes = vec!["its logs, metrics and variables go, too".to_owned()];
    if environment.live.is_some() {
        notes.push("what serves now is stopped".to_owned());
    }
    let cap = api
        .context
        .money
        .standing(weir_ledger::book::Scope::Environment(environment.id));
    if cap.is_some_and(|standing| standing.cap.is_some()) {
        notes.push("its cap is forgotten; what it has cost stays on the invoice".to_owned());
    }
    Ok(Json(Loss {
        volumes: volumes
            .into_iter()
            .map(|((app, name), bytes)| LostVolume {
                app: app.to_string(),
                name: name.to_string(),
                bytes,
            })
            .collect(),
        domains: domains
            .filter(|domain| !domain.platform)
            .map(|domain| domain.host)
            .collect(),
        releases: i64::try_from(store.release_list(environment.id, i64::MAX).await?.len()).unwrap_or(i64::MAX),
        secrets: variables.iter().filter(|variable| variable.secret).count(),
        notes,
    }))
}

fn unmeasured(error: weir_engine::EngineError) -> ApiError {
    let mut answer = ApiError::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "engine-unavailable",
        "it cannot be seen now what is in the volumes",
    );
    answer.cause = Some(error.to_string().into_boxed_str());
    answer.retry_after_s = Some(5);
    answer.with_hint("try again in a moment; `weir status` tells whether the engine answers")
}
