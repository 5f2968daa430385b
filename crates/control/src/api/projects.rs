//! Projects and their environments.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use weir_api::{
    Accepted, CreateEnvironment, CreateProject, Environment, EnvironmentStatus, Project, UpdateEnvironment,
};
use weir_model::policy::{Permission, Place};

use super::Api;
use super::auth::Caller;
use super::caps::MoneyOfEnvironment;
use super::error::ApiError;
use super::extract::{InEnvironment, InProject, JsonBody, QueryOf};
use super::loss::ConfirmQuery;
use super::{present, scopes};
use crate::audit::Notes;
use crate::{projects, status};

/// Lists the projects that the token may know of.
#[utoipa::path(get, path = "/v1/projects", tag = "projects", responses((status = 200, body = Vec<Project>)))]
pub(super) async fn list_projects(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<Project>>, ApiError> {
    let mut answer = Vec::new();
    for project in api
        .context
        .store
        .project_list()
        .await?
        .iter()
        .filter(|project| caller.rights.knows(project_place(project)))
    {
        answer.push(shown(&api, &caller, project).await?);
    }
    Ok(Json(answer))
}

/// Makes a project with its production environment and its git repository.
#[utoipa::path(post, path = "/v1/projects", tag = "projects", request_body = CreateProject, responses((status = 201, body = Project)))]
pub(super) async fn create_project(
    State(api): State<Api>,
    caller: Caller,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateProject>,
) -> Result<(StatusCode, Json<Project>), ApiError> {
    let account = request.account.as_deref().unwrap_or("default");
    let place = Place::Account(scopes::account(&api.context, account).await?.id);
    notes.target(&request.name);
    notes.at(&format!("account:{account}"), place);
    caller.require(Permission::CreateProjects, place, &format!("account:{account}"), || {
        scopes::no_such_account(account)
    })?;
    let project = projects::create_project(&api.context, &request).await?;
    Ok((
        StatusCode::CREATED,
        Json(present::project(&api.context, &project).await?),
    ))
}

/// One project.
#[utoipa::path(get, path = "/v1/projects/{project}", tag = "projects", responses((status = 200, body = Project)))]
pub(super) async fn get_project(
    State(api): State<Api>,
    caller: Caller,
    at: InProject,
) -> Result<Json<Project>, ApiError> {
    Ok(Json(shown(&api, &caller, &at.project).await?))
}

/// Removes a project with everything it has: containers, images, networks, volumes, files.
#[utoipa::path(delete, path = "/v1/projects/{project}", tag = "projects", params(("confirm" = Option<String>, Query, description = "Name of the project; a person in a browser has to write it")), responses((status = 202, body = Accepted)))]
pub(super) async fn destroy_project(
    State(api): State<Api>,
    caller: Caller,
    at: InProject,
    QueryOf(query): QueryOf<ConfirmQuery>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    query.require(&caller, at.project.name.as_str())?;
    let task = projects::destroy_project(&api.context, &at.project).await?;
    let message = format!("{} is being destroyed", at.project.name);
    Ok((
        StatusCode::ACCEPTED,
        Json(Accepted {
            task: Some(task.id.to_string()),
            message,
        }),
    ))
}

/// Lists the environments of a project.
#[utoipa::path(get, path = "/v1/projects/{project}/environments", tag = "environments", responses((status = 200, body = Vec<Environment>)))]
pub(super) async fn list_environments(
    State(api): State<Api>,
    caller: Caller,
    at: InProject,
) -> Result<Json<Vec<Environment>>, ApiError> {
    Ok(Json(shown(&api, &caller, &at.project).await?.environments))
}

fn project_place(project: &weir_model::project::Project) -> Place {
    Place::Project(project.account, project.id)
}

/// A project with those of its environments that the one who asks may know of.
async fn shown(api: &Api, caller: &Caller, project: &weir_model::project::Project) -> Result<Project, ApiError> {
    let mut shown = present::project(&api.context, project).await?;
    shown.environments.retain(|environment| {
        environment.id.parse().is_ok_and(|id| {
            let place = Place::Environment(project.account, project.id, id);
            caller.rights.may(Permission::Know, place)
        })
    });
    Ok(shown)
}

/// Makes an environment with its own variables, network and address.
#[utoipa::path(post, path = "/v1/projects/{project}/environments", tag = "environments", request_body = CreateEnvironment, responses((status = 201, body = Environment)))]
pub(super) async fn create_environment(
    State(api): State<Api>,
    at: InProject,
    JsonBody(request): JsonBody<CreateEnvironment>,
) -> Result<(StatusCode, Json<Environment>), ApiError> {
    let environment = projects::create_environment(&api.context, &at.project, &request).await?;
    Ok((
        StatusCode::CREATED,
        Json(present::environment(&api.context, &at.project, &environment).await?),
    ))
}

/// What runs in an environment, from reality.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}", tag = "environments", responses((status = 200, body = EnvironmentStatus)))]
pub(super) async fn get_environment(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
) -> Result<Json<EnvironmentStatus>, ApiError> {
    let mut status = status::of_environment(&api.context, &at.project, &at.environment).await?;
    let money = MoneyOfEnvironment::of(&api.context, &at.project, &at.environment).await?;
    status.money = money.and_then(|money| money.seen_by(&caller.rights));
    Ok(Json(status))
}

/// Lets an environment follow another branch.
#[utoipa::path(patch, path = "/v1/projects/{project}/environments/{environment}", tag = "environments", request_body = UpdateEnvironment, responses((status = 200, body = Environment)))]
pub(super) async fn update_environment(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<UpdateEnvironment>,
) -> Result<Json<Environment>, ApiError> {
    let environment = projects::follow_branch(&api.context, &at.project, &at.environment, &request.branch).await?;
    Ok(Json(
        present::environment(&api.context, &at.project, &environment).await?,
    ))
}

/// Removes an environment with everything it has. Production goes only with its project.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}", tag = "environments", params(("confirm" = Option<String>, Query, description = "PROJECT/ENVIRONMENT; a person in a browser has to write it")), responses((status = 202, body = Accepted)))]
pub(super) async fn destroy_environment(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    QueryOf(query): QueryOf<ConfirmQuery>,
) -> Result<(StatusCode, Json<Accepted>), ApiError> {
    query.require(&caller, &format!("{}/{}", at.project.name, at.environment.name))?;
    let task = projects::destroy_environment(&api.context, &at.project, &at.environment).await?;
    let message = format!("{} is being destroyed", at.environment.name);
    Ok((
        StatusCode::ACCEPTED,
        Json(Accepted {
            task: Some(task.id.to_string()),
            message,
        }),
    ))
}
