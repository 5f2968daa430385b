//! Whether requests are logged, and where the lines are shipped to.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use weir_api::{AccessLog, AccessLogApp, AccessLogShipping, MadeSecret, SetAccessLog, SetAccessLogShipping};
use weir_model::AppName;
use weir_model::access_log::AccessLogging;
use weir_model::project::{Environment, Project};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody};
use super::present::instant;
use crate::access_log;
use crate::context::Context;
use crate::projects::ensure_alive;
use crate::status::{main_app, newest_release};

/// Whether requests to each app are logged, and where the lines are shipped to.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/access-log", tag = "logs", responses((status = 200, body = AccessLog)))]
pub(super) async fn get_access_log(State(api): State<Api>, at: InEnvironment) -> Result<Json<AccessLog>, ApiError> {
    shown(&api.context, &at.project, &at.environment).await.map(Json)
}

/// Switches the access log of an app on or off; it holds within a second.
#[utoipa::path(patch, path = "/v1/projects/{project}/environments/{environment}/access-log", tag = "logs", request_body = SetAccessLog, responses((status = 200, body = AccessLog)))]
pub(super) async fn set_access_log(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<SetAccessLog>,
) -> Result<Json<AccessLog>, ApiError> {
    ensure_alive(&at.project, Some(&at.environment))?;
    let context = &api.context;
    let logging = request.logging.as_deref().map(str::parse::<AccessLogging>).transpose();
    let logging = logging.map_err(|words| ApiError::invalid(words).with_hint("`null` leaves it to weir.toml again"))?;
    let app = app_of(context, &at.project, &at.environment, request.app.as_deref()).await?;
    access_log::set_app(context, at.environment.id, &app, logging).await?;
    shown(context, &at.project, &at.environment).await.map(Json)
}

/// Ships the lines of all apps of an environment to a collector from now on. The answer has the
/// secret for its signatures, if one was made; it is not shown again.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/access-log/shipping", tag = "logs", request_body = SetAccessLogShipping, responses((status = 200, body = MadeSecret)))]
pub(super) async fn set_shipping(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    JsonBody(request): JsonBody<SetAccessLogShipping>,
) -> Result<Json<MadeSecret>, ApiError> {
    if request.allow_private {
        caller.require_platform()?;
    }
    ensure_alive(&at.project, Some(&at.environment))?;
    let made = access_log::set_shipping(&api.context, at.environment.id, &request).await?;
    let secret = made.map(crate::secrets::Secret::into_exposed);
    Ok(Json(MadeSecret { secret }))
}

/// Ships no more.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/access-log/shipping", tag = "logs", responses((status = 200, body = AccessLog)))]
pub(super) async fn unset_shipping(State(api): State<Api>, at: InEnvironment) -> Result<Json<AccessLog>, ApiError> {
    let context = &api.context;
    if !access_log::unset_shipping(context, at.environment.id).await? {
        return Err(
            ApiError::not_found("not-shipped", "the access logs of this environment are not shipped")
                .with_hint("weir access-log ship URL"),
        );
    }
    shown(context, &at.project, &at.environment).await.map(Json)
}

/// The app that is meant: the one that is named, which need not run yet, or the main app.
async fn app_of(
    context: &Context,
    project: &Project,
    environment: &Environment,
    wanted: Option<&str>,
) -> Result<AppName, ApiError> {
    let release = newest_release(context, environment).await?;
    let Some(wanted) = wanted else {
        let main = release.as_ref().and_then(|release| main_app(project, release));
        return main.ok_or_else(|| {
            ApiError::conflict(
                "nothing-deployed",
                "nothing is deployed here, so there is no app to take",
            )
            .with_hint("name the app: `weir access-log on --app APP`")
        });
    };
    let app = AppName::new(wanted)?;
    match release {
        Some(release) if !release.apps.contains_key(&app) => {
            let names: Vec<&str> = release.apps.keys().map(AppName::as_str).collect();
            let error = ApiError::not_found("app-not-found", format!("there is no app `{app}` here"));
            Err(error.with_hint(format!("there is: {}", names.join(", "))))
        }
        _ => Ok(app),
    }
}

async fn shown(context: &Context, project: &Project, environment: &Environment) -> Result<AccessLog, ApiError> {
    let set = access_log::set_apps(&context.store, environment.id).await?;
    let release = newest_release(context, environment).await?;
    let main = release.as_ref().and_then(|release| main_app(project, release));
    let released = release.iter().flat_map(|release| &release.apps);
    let mut apps: BTreeMap<AppName, AccessLogging> = released
        .map(|(name, app)| (name.clone(), app.spec.access_log))
        .collect();
    apps.extend(set.iter().map(|(name, logging)| (name.clone(), *logging)));
    let apps = apps.into_iter().map(|(name, logging)| AccessLogApp {
        set: set.contains_key(&name),
        main: main.as_ref() == Some(&name),
        app: name.to_string(),
        logging: logging.as_str().to_owned(),
    });
    let shipped = access_log::shipping(context, environment.id).await?;
    Ok(AccessLog {
        apps: apps.collect(),
        shipping: shipped.map(|shipped| AccessLogShipping {
            url: shown_url(&shipped.shipping.url),
            allow_private: shipped.shipping.private,
            sent_until: shipped.sent_ms.map(instant),
            problem: shipped.problem,
        }),
    })
}

/// Scheme and host: collectors take keys in the rest of it.
fn shown_url(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
}
