//! What an environment has and does: variables, releases, deployments, scale, domains.

use std::collections::{BTreeMap, HashMap};

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use weir_api::{
    Accepted, AddDomain, CreateDeployment, Deployment, DeploymentStep, Domain, DomainsPut, Promote, PutDomains,
    Release, SetScale, UpdateVariables, Variable,
};
use weir_model::policy::{Permission, Place};
use weir_model::project::Environment;
use weir_model::{DeploymentId, EnvironmentId};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody, PathOf, QueryOf};
use super::present;
use crate::context::Context;
use crate::status::{Numbers, live_release};
use crate::{configuration, hosts};

/// Entries of a list, unless fewer or more are asked for.
const LIST: i64 = 50;
const LONGEST_LIST: i64 = 500;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    limit: Option<i64>,
}

impl ListQuery {
    /// How many entries, within bounds.
    pub(super) fn limit(&self) -> i64 {
        self.limit.unwrap_or(LIST).clamp(1, LONGEST_LIST)
    }
}

type Answer = Result<(StatusCode, Json<Accepted>), ApiError>;

/// 202 with a task to watch, or 200 where nothing was to do.
fn accepted(accepted: Accepted) -> (StatusCode, Json<Accepted>) {
    let status = if accepted.task.is_some() {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    (status, Json(accepted))
}

/// Lists variables; values of secrets are never given out.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/variables", tag = "configuration", responses((status = 200, body = Vec<Variable>)))]
pub(super) async fn list_variables(State(api): State<Api>, at: InEnvironment) -> Result<Json<Vec<Variable>>, ApiError> {
    let live = live_release(&api.context, &at.environment).await?;
    let variables = api.context.store.variable_list(at.environment.id).await?;
    Ok(Json(
        variables
            .iter()
            .map(|variable| present::variable(variable, live.as_ref()))
            .collect(),
    ))
}

/// Sets and unsets any number of variables at once, and makes one release of it.
#[utoipa::path(patch, path = "/v1/projects/{project}/environments/{environment}/variables", tag = "configuration", request_body = UpdateVariables, responses((status = 202, body = Accepted), (status = 200, body = Accepted, description = "Kept, or nothing was to do")))]
pub(super) async fn update_variables(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<UpdateVariables>,
) -> Answer {
    configuration::update_variables(&api.context, &at.project, &at.environment, &request)
        .await
        .map(accepted)
}

/// Lists releases, newest first.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/releases", tag = "deployments", params(("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<Release>)))]
pub(super) async fn list_releases(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Vec<Release>>, ApiError> {
    Ok(Json(releases(&api.context, &at.environment, query.limit()).await?))
}

/// The newest releases of an environment, newest first.
pub(super) async fn releases(
    context: &Context,
    environment: &Environment,
    limit: i64,
) -> Result<Vec<Release>, ApiError> {
    let store = &context.store;
    let live = live_release(context, environment).await?;
    let deployments = store.deployment_list(environment.id, LONGEST_LIST).await?;
    let askers: BTreeMap<i64, String> = store.release_askers(environment.id, limit).await?.into_iter().collect();
    let mut shown = Vec::new();
    for release in store.release_list(environment.id, limit).await? {
        let latest = deployments.iter().find(|deployment| deployment.release == release.id);
        let mut one = present::release(&release, latest, live.as_ref());
        one.by = askers.get(&release.number).cloned();
        shown.push(one);
    }
    Ok(shown)
}

/// Lists deployments, newest first.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/deployments", tag = "deployments", params(("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<Deployment>)))]
pub(super) async fn list_deployments(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Vec<Deployment>>, ApiError> {
    Ok(Json(deployments(&api.context, &at.environment, query.limit()).await?))
}

/// The newest deployments of an environment, newest first.
pub(super) async fn deployments(
    context: &Context,
    environment: &Environment,
    limit: i64,
) -> Result<Vec<Deployment>, ApiError> {
    let store = &context.store;
    let mut askers: HashMap<DeploymentId, String> = store
        .deployment_askers(environment.id, limit)
        .await?
        .into_iter()
        .collect();
    let mut steps: HashMap<DeploymentId, Vec<DeploymentStep>> = HashMap::new();
    for step in store.deployment_steps(environment.id, limit).await? {
        let shown = DeploymentStep {
            state: step.state.as_str().to_owned(),
            entered: present::instant(step.entered_ms),
        };
        steps.entry(step.deployment).or_default().push(shown);
    }
    let (mut numbers, mut shown) = (Numbers::default(), Vec::new());
    for deployment in store.deployment_list(environment.id, limit).await? {
        let number = numbers.of(context, deployment.release).await?;
        shown.push(Deployment {
            by: askers.remove(&deployment.id),
            steps: steps.remove(&deployment.id).unwrap_or_default(),
            ..present::deployment(&deployment, number)
        });
    }
    Ok(shown)
}

/// Rolls back, restarts, or deploys what `--no-deploy` left waiting.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/deployments", tag = "deployments", request_body = CreateDeployment, responses((status = 202, body = Accepted), (status = 200, body = Accepted, description = "Nothing was to do")))]
pub(super) async fn create_deployment(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<CreateDeployment>,
) -> Answer {
    configuration::create_deployment(&api.context, &at.project, &at.environment, &request)
        .await
        .map(accepted)
}

/// Runs the live images of another environment here, without a build.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/promote", tag = "deployments", request_body = Promote, responses((status = 202, body = Accepted)))]
pub(super) async fn promote_environment(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    JsonBody(request): JsonBody<Promote>,
) -> Answer {
    // Who takes what runs elsewhere has to be allowed to see it there.
    let environments = api.context.store.environment_list(at.project.id).await?;
    let from = environments
        .iter()
        .find(|environment| environment.name.as_str() == request.from);
    if let Some(from) = from {
        let place = Place::Environment(at.project.account, at.project.id, from.id);
        let missing = || crate::projects::no_such_environment(&at.project.name, &request.from);
        caller.require(
            Permission::See,
            place,
            &format!("{}/{}", at.project.name, from.name),
            missing,
        )?;
    }
    configuration::promote(&api.context, &at.project, &at.environment, &request.from)
        .await
        .map(accepted)
}

/// Sets numbers of instances.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/scale", tag = "configuration", request_body = SetScale, responses((status = 202, body = Accepted), (status = 200, body = Accepted, description = "Nothing was to do")))]
pub(super) async fn set_scale(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<SetScale>,
) -> Answer {
    configuration::set_scale(&api.context, &at.project, &at.environment, &request)
        .await
        .map(accepted)
}

/// Stops everything that runs, and keeps volumes, images and variables.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/pause", tag = "environments", responses((status = 202, body = Accepted), (status = 200, body = Accepted, description = "It is paused already")))]
pub(super) async fn pause_environment(State(api): State<Api>, at: InEnvironment) -> Answer {
    configuration::pause(&api.context, &at.project, &at.environment)
        .await
        .map(accepted)
}

/// Starts again what was paused.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/resume", tag = "environments", responses((status = 202, body = Accepted), (status = 200, body = Accepted, description = "It is not paused")))]
pub(super) async fn resume_environment(State(api): State<Api>, at: InEnvironment) -> Answer {
    configuration::resume(&api.context, &at.project, &at.environment)
        .await
        .map(accepted)
}

/// Lists host names.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/domains", tag = "domains", responses((status = 200, body = Vec<Domain>)))]
pub(super) async fn list_domains(State(api): State<Api>, at: InEnvironment) -> Result<Json<Vec<Domain>>, ApiError> {
    Ok(Json(domains(&api.context, at.environment.id).await?))
}

/// The host names of an environment.
pub(super) async fn domains(context: &Context, environment: EnvironmentId) -> Result<Vec<Domain>, ApiError> {
    let domains = context.store.domain_list(environment).await?;
    Ok(domains.iter().map(|domain| present::domain(context, domain)).collect())
}

/// Adds a host name of one's own.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/domains", tag = "domains", request_body = AddDomain, responses((status = 201, body = Domain)))]
pub(super) async fn add_domain(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    JsonBody(request): JsonBody<AddDomain>,
) -> Result<(StatusCode, Json<Domain>), ApiError> {
    crate::projects::ensure_alive(&at.project, Some(&at.environment))?;
    let domain = hosts::add_domain(&api.context, &caller.rights, &at.project, &at.environment, &request).await?;
    Ok((StatusCode::CREATED, Json(present::domain(&api.context, &domain))))
}

/// Adds host names of one's own, or changes how they answer: all or none. Those that the environment
/// has already are fine.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/domains", tag = "domains", request_body = PutDomains, responses((status = 200, body = DomainsPut)))]
pub(super) async fn put_domains(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    JsonBody(request): JsonBody<PutDomains>,
) -> Result<Json<DomainsPut>, ApiError> {
    crate::projects::ensure_alive(&at.project, Some(&at.environment))?;
    let (domains, added) =
        hosts::put_domains(&api.context, &caller.rights, &at.project, &at.environment, &request).await?;
    let domains = domains
        .iter()
        .map(|domain| present::domain(&api.context, domain))
        .collect();
    Ok(Json(DomainsPut { added, domains }))
}

/// A host name, and how it stands with its certificate.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/domains/{host}", tag = "domains", params(("host" = String, Path, description = "The host name")), responses((status = 200, body = Domain)))]
pub(super) async fn get_domain(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf((_, _, host)): PathOf<(String, String, String)>,
) -> Result<Json<Domain>, ApiError> {
    let domain = hosts::find_domain(&api.context, &at.environment, &host).await?;
    Ok(Json(present::domain(&api.context, &domain)))
}

/// Tries to get the certificate of a host name now, without the rest of its pause.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/domains/{host}/retry", tag = "domains", params(("host" = String, Path, description = "The host name")), responses((status = 202, body = Domain)))]
pub(super) async fn retry_domain(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf((_, _, host)): PathOf<(String, String, String)>,
) -> Result<(StatusCode, Json<Domain>), ApiError> {
    let domain = hosts::find_domain(&api.context, &at.environment, &host).await?;
    api.context.certificates.retry(&domain.host);
    Ok((StatusCode::ACCEPTED, Json(present::domain(&api.context, &domain))))
}

/// Removes a host name of one's own.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/domains/{host}", tag = "domains", params(("host" = String, Path, description = "The host name")), responses((status = 204, description = "It is gone")))]
pub(super) async fn remove_domain(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf((_, _, host)): PathOf<(String, String, String)>,
) -> Result<StatusCode, ApiError> {
    hosts::remove_domain(&api.context, &at.project, &at.environment, &host).await?;
    Ok(StatusCode::NO_CONTENT)
}
