//! Projects and environments: made, changed and taken away. What is said here is what a person
//! asked for; the reconciler makes it true.

use weir_api::{CreateEnvironment, CreateProject};
use weir_model::project::{Domain, Environment, EnvironmentMode, Project};
use weir_model::task::{Task, TaskKind, TaskState};
use weir_model::{DomainId, EnvironmentId, EnvironmentName, ProjectId, ProjectName};
use weir_store::Account;

use crate::api::{ApiError, scopes};
use crate::context::Context;
use crate::money::MoneyError;
use crate::reconcile::Presence;
use crate::{git, hosts};

/// Most projects on one Weir, and environments of one project: every list is bounded.
const PROJECTS: usize = 1000;
const ENVIRONMENTS: usize = 100;

/// The answer for a project that does not exist, or that the token may not know of.
pub fn no_such_project(name: &str) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    ApiError::not_found("project-not-found", format!("there is no project `{shown}`"))
        .with_hint("list projects with `weir project list`, or make one with `weir project create NAME`")
}

/// The answer for an environment that does not exist.
pub fn no_such_environment(project: &ProjectName, name: &str) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    ApiError::not_found(
        "environment-not-found",
        format!("the project `{project}` has no environment `{shown}`"),
    )
    .with_hint("list them with `weir env list`, or make one with `weir env create NAME --branch BRANCH`")
}

/// Fails if the project or the environment is being destroyed: nothing else is possible then.
pub fn ensure_alive(project: &Project, environment: Option<&Environment>) -> Result<(), ApiError> {
    let what = match environment {
        _ if project.destroying => format!("the project `{}`", project.name),
        Some(environment) if environment.mode == EnvironmentMode::Destroying => {
            format!("the environment `{}`", environment.name)
        }
        _ => return Ok(()),
    };
    Err(
        ApiError::conflict("being-destroyed", format!("{what} is being destroyed"))
            .with_hint("wait until it is gone, then create it anew"),
    )
}

/// Makes a project with its production environment, its host and its git repository.
pub async fn create_project(context: &Context, request: &CreateProject) -> Result<Project, ApiError> {
    let name = ProjectName::new(&request.name)?;
    if name.as_str() == crate::people::scope::ALL {
        return Err(
            ApiError::invalid(format!("`{name}` is the name of the whole Weir, where roles are given"))
                .with_hint("choose another name for the project"),
        );
    }
    let branch = check_branch(request.branch.as_deref().unwrap_or("main"))?;
    if context.store.project_by_name(&name).await?.is_some() {
        return Err(
            ApiError::conflict("name-taken", format!("there is a project `{name}` already")).with_hint(format!(
                "choose another name, or connect this folder to it: `weir link {name}`"
            )),
        );
    }
    if context.store.project_list().await?.len() >= PROJECTS {
        return Err(ApiError::conflict(
            "too-many",
            format!("one Weir holds {PROJECTS} projects at most"),
        ));
    }
    let account = match &request.account {
        Some(name) => scopes::account(context, name).await?.id,
        None => Account::default_id(),
    };
    let now_ms = context.clock.now_ms();
    let id = ProjectId::from_parts(now_ms, context.clock.random());
    let project = Project {
        id,
        account,
        name,
        created_ms: now_ms,
        destroying: false,
    };
    let production = new_environment(context, &project, EnvironmentName::production(), Some(branch));
    let domain = new_domain(context, &project, &production).await?;
    context.store.project_insert(&project, &production, &[domain]).await?;
    if let Err(error) = git::create_repository(context, &project.name).await {
        context.store.project_delete(project.id).await?;
        return Err(ApiError::internal(format!(
            "the git repository of {} could not be made: {error:#}",
            project.name
        )));
    }
    if let Err(error) = open_scopes(context, &project, &production).await {
        git::remove_repository(context, &project.name)
            .await
            .map_err(|error| ApiError::internal(format!("{error:#}")))?;
        context.store.project_delete(project.id).await?;
        return Err(error);
    }
    context.reconciler.wake(production.id);
    context
        .tasks
        .change(
            project.name.as_str(),
            None,
            "project.created",
            &format!("{} was created", project.name),
        )
        .await;
    Ok(project)
}

/// From now on they can get money, up to the project's cap. Done again at the next start, should
/// control die in between.
async fn open_scopes(context: &Context, project: &Project, environment: &Environment) -> Result<(), ApiError> {
    let opened = async {
        context.money.open_project(project).await?;
        context.money.open_environment(environment).await
    };
    opened.await.map_err(|error| ledger_failed(&error))
}

fn ledger_failed(error: &MoneyError) -> ApiError {
    ApiError::internal(format!("the ledger did not do its part: {error}"))
}

/// Makes a further environment of a project.
pub async fn create_environment(
    context: &Context,
    project: &Project,
    request: &CreateEnvironment,
) -> Result<Environment, ApiError> {
    ensure_alive(project, None)?;
    let name = EnvironmentName::new(&request.name)?;
    let branch = request.branch.as_deref().map(check_branch).transpose()?;
    let others = context.store.environment_list(project.id).await?;
    if others.iter().any(|other| other.name == name) {
        return Err(ApiError::conflict(
            "name-taken",
            format!("the project `{}` has an environment `{name}` already", project.name),
        ));
    }
    if others.len() >= ENVIRONMENTS {
        return Err(ApiError::conflict(
            "too-many",
            format!("a project has {ENVIRONMENTS} environments at most"),
        ));
    }
    ensure_branch_free(&others, None, branch.as_deref())?;
    let environment = new_environment(context, project, name, branch);
    let domain = new_domain(context, project, &environment).await?;
    let host = domain.host.clone();
    context.store.environment_insert(&environment, &[domain]).await?;
    if let Err(error) = open_scopes(context, project, &environment).await {
        context.store.environment_delete(environment.id).await?;
        return Err(error);
    }
    context.reconciler.wake(environment.id);
    context.reconciler.host_settled(&host, Presence::Known).await;
    let message = format!("{} was created", environment.name);
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "environment.created",
            &message,
        )
        .await;
    Ok(environment)
}

fn new_environment(context: &Context, project: &Project, name: EnvironmentName, branch: Option<String>) -> Environment {
    let now_ms = context.clock.now_ms();
    let id = EnvironmentId::from_parts(now_ms, context.clock.random());
    Environment {
        branch,
        ..Environment::new(id, project.id, name, now_ms)
    }
}

async fn new_domain(context: &Context, project: &Project, environment: &Environment) -> Result<Domain, ApiError> {
    let host = hosts::platform_host(&context.config, &project.name, &environment.name);
    hosts::ensure_free(context, None, &host).await?;
    let now_ms = environment.created_ms;
    let id = DomainId::from_parts(now_ms, context.clock.random());
    Ok(Domain {
        id,
        environment: environment.id,
        app: None,
        host,
        platform: true,
        redirect_to: None,
        tcp: None,
        https: hosts::USUAL_HTTPS,
        created_ms: now_ms,
    })
}

/// Lets an environment follow another branch from now on.
pub async fn follow_branch(
    context: &Context,
    project: &Project,
    environment: &Environment,
    branch: &str,
) -> Result<Environment, ApiError> {
    ensure_alive(project, Some(environment))?;
    let branch = check_branch(branch)?;
    let others = context.store.environment_list(project.id).await?;
    ensure_branch_free(&others, Some(environment.id), Some(&branch))?;
    context
        .store
        .environment_set_branch(environment.id, Some(&branch))
        .await?;
    let message = format!("follows the branch {branch}");
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "environment.branch",
            &message,
        )
        .await;
    Ok(Environment {
        branch: Some(branch),
        ..environment.clone()
    })
}

fn ensure_branch_free(
    others: &[Environment],
    own: Option<EnvironmentId>,
    branch: Option<&str>,
) -> Result<(), ApiError> {
    let taken = others
        .iter()
        .find(|other| branch.is_some() && Some(other.id) != own && other.branch.as_deref() == branch);
    match taken {
        Some(other) => Err(ApiError::conflict(
            "branch-taken",
            format!(
                "the environment `{}` follows the branch `{}` already",
                other.name,
                branch.unwrap_or_default()
            ),
        )
        .with_hint("one branch deploys to one environment; use another branch, or `weir promote`")),
        None => Ok(()),
    }
}

/// Checks the name of a branch by git's rules (`git check-ref-format`).
fn check_branch(branch: &str) -> Result<String, ApiError> {
    let branch = branch.strip_prefix("refs/heads/").unwrap_or(branch);
    let forbidden = |c: char| c.is_ascii_control() || c.is_whitespace() || "~^:?*[\\\"'`$;|<>&".contains(c);
    let bad_part =
        |part: &str| part.is_empty() || part.starts_with('.') || part.ends_with('.') || part.ends_with(".lock");
    let bad = branch.is_empty()
        || branch.len() > 200
        || branch.starts_with('-')
        || branch == "@"
        || branch == "HEAD"
        || branch.contains("..")
        || branch.contains("@{")
        || branch.contains(forbidden)
        || branch.split('/').any(bad_part);
    if bad {
        let shown: String = branch.chars().take(80).collect();
        return Err(ApiError::invalid(format!("`{shown}` cannot be the name of a branch"))
            .with_hint("use the name as `git branch` shows it, for example `main`"));
    }
    Ok(branch.to_owned())
}

/// Asks for everything of a project to be removed. Asked again, it gives the task that is at it.
pub async fn destroy_project(context: &Context, project: &Project) -> Result<Task, ApiError> {
    context.store.project_mark_destroying(project.id).await?;
    let task = destroy_task(context, project, None).await?;
    let environments = context.store.environment_list(project.id).await?;
    for environment in &environments {
        mark_destroying(context, environment).await?;
    }
    context
        .tasks
        .change(
            project.name.as_str(),
            None,
            "project.destroying",
            &format!("{} is being destroyed", project.name),
        )
        .await;
    if environments.is_empty() {
        finish_destroy(context, project).await?;
    }
    Ok(task)
}

/// Asks for everything of an environment to be removed. Production goes only with its project.
pub async fn destroy_environment(
    context: &Context,
    project: &Project,
    environment: &Environment,
) -> Result<Task, ApiError> {
    if environment.name.is_production() {
        return Err(ApiError::conflict(
            "production-stays",
            "the production environment goes only with its project",
        )
        .with_hint(format!(
            "`weir pause` stops what runs in it; `weir destroy {}` removes the whole project",
            project.name
        )));
    }
    let task = destroy_task(context, project, Some(environment)).await?;
    mark_destroying(context, environment).await?;
    let message = format!("{} is being destroyed", environment.name);
    context
        .tasks
        .change(
            project.name.as_str(),
            Some(environment.name.as_str()),
            "environment.destroying",
            &message,
        )
        .await;
    Ok(task)
}

async fn mark_destroying(context: &Context, environment: &Environment) -> Result<(), ApiError> {
    let from = [EnvironmentMode::Active, EnvironmentMode::Paused];
    context
        .store
        .environment_set_mode(environment.id, &from, EnvironmentMode::Destroying)
        .await?;
    context.reconciler.wake(environment.id);
    Ok(())
}

async fn destroy_task(
    context: &Context,
    project: &Project,
    environment: Option<&Environment>,
) -> Result<Task, ApiError> {
    let id = environment.map(|environment| environment.id);
    let unfinished = context.store.task_list_unfinished().await?;
    let same = |task: &Task| task.kind == TaskKind::Destroy && task.project == project.id && task.environment == id;
    if let Some(task) = unfinished.into_iter().find(same) {
        return Ok(task);
    }
    let title = match environment {
        Some(environment) => format!("destroy {} of {}", environment.name, project.name),
        None => format!("destroy {}", project.name),
    };
    Ok(context.tasks.create(TaskKind::Destroy, project.id, id, &title).await?)
}

/// Called by the reconciler once nothing of an environment exists any more: removes its logs
/// and rows, and ends its tasks. Safe to repeat.
pub async fn finish_destroy_environment(context: &Context, environment: &Environment) -> Result<(), ApiError> {
    let tasks = context.store.task_list_unfinished_of(environment.id).await?;
    remove_logs(context, environment.id).await?;
    let closed = context.money.close_environment(environment.id).await;
    closed.map_err(|error| ledger_failed(&error))?;
    context.store.environment_delete(environment.id).await?;
    end_tasks(context, tasks).await;
    if let Some(project) = context.store.project_by_id(environment.project).await? {
        let message = format!("{} was destroyed", environment.name);
        context
            .tasks
            .change(
                project.name.as_str(),
                Some(environment.name.as_str()),
                "environment.destroyed",
                &message,
            )
            .await;
        // Of several environments that end at once, each may have taken another for the last.
        if project.destroying && context.store.environment_list(project.id).await?.is_empty() {
            return finish_destroy(context, &project).await;
        }
    }
    Ok(())
}

/// Called by the reconciler once nothing of any environment of a project exists any more:
/// removes its repository, logs and rows, and ends its tasks. Safe to repeat.
pub async fn finish_destroy(context: &Context, project: &Project) -> Result<(), ApiError> {
    let unfinished = context.store.task_list_unfinished().await?;
    let tasks = unfinished
        .into_iter()
        .filter(|task| task.project == project.id)
        .collect();
    for environment in context.store.environment_list(project.id).await? {
        remove_logs(context, environment.id).await?;
    }
    git::remove_repository(context, &project.name)
        .await
        .map_err(|error| ApiError::internal(format!("{error:#}")))?;
    let closed = context.money.close_project(project).await;
    closed.map_err(|error| ledger_failed(&error))?;
    context.store.project_delete(project.id).await?;
    end_tasks(context, tasks).await;
    context
        .tasks
        .change(
            project.name.as_str(),
            None,
            "project.destroyed",
            &format!("{} was destroyed", project.name),
        )
        .await;
    Ok(())
}

async fn remove_logs(context: &Context, environment: EnvironmentId) -> Result<(), ApiError> {
    crate::access_log::forget(&context.store, environment).await?;
    context
        .logs
        .remove_environment(environment)
        .await
        .map_err(|error| ApiError::internal(format!("logs could not be removed: {error}")))
}

/// Ends the tasks of what is gone: its destruction is done, anything else came too late.
async fn end_tasks(context: &Context, tasks: Vec<Task>) {
    for task in tasks {
        match task.kind {
            TaskKind::Destroy => context.tasks.end(task.id, TaskState::Done, None).await,
            _ => {
                context
                    .tasks
                    .end(task.id, TaskState::Superseded, Some("it was destroyed meanwhile"))
                    .await
            }
        }
    }
}

/// After a start: makes up for what a crash left half done between the store and the disk.
pub async fn recover(context: &Context) -> Result<(), ApiError> {
    for project in context.store.project_list().await? {
        if !project.destroying {
            git::create_repository(context, &project.name)
                .await
                .map_err(|error| ApiError::internal(format!("{error:#}")))?;
        } else if context.store.environment_list(project.id).await?.is_empty() {
            finish_destroy(context, &project).await?;
        }
    }
    recover_tasks(context).await
}

/// After a start: ends the tasks that a crash left behind. Tasks of deployments go on with the
/// reconciler; a build cannot, because its source came from a client that is gone.
async fn recover_tasks(context: &Context) -> Result<(), ApiError> {
    for task in context.store.task_list_unfinished().await? {
        if is_of_something_gone(context, &task).await? {
            end_tasks(context, vec![task]).await;
        } else if task.kind == TaskKind::Push && !has_deployment(context, &task).await? {
            let error = "control was restarted while this was built; push again";
            context.tasks.end(task.id, TaskState::Failed, Some(error)).await;
        }
    }
    Ok(())
}

async fn is_of_something_gone(context: &Context, task: &Task) -> Result<bool, ApiError> {
    if context.store.project_by_id(task.project).await?.is_none() {
        return Ok(true);
    }
    match task.environment {
        Some(environment) => Ok(context.store.environment_by_id(environment).await?.is_none()),
        None => Ok(false),
    }
}

async fn has_deployment(context: &Context, task: &Task) -> Result<bool, ApiError> {
    let Some(environment) = task.environment else {
        return Ok(false);
    };
    let in_progress = context.store.deployment_list_in_progress(environment).await?;
    if in_progress.iter().any(|deployment| deployment.task == task.id) {
        return Ok(true);
    }
    // It may have ended just before its task was told.
    let newest = context.store.deployment_list(environment, 20).await?;
    Ok(newest.iter().any(|deployment| deployment.task == task.id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn branches_are_checked_by_gits_rules() {
        assert_eq!(check_branch("refs/heads/feature/one").unwrap(), "feature/one");
        for bad in [
            "",
            "-x",
            "a b",
            "a..b",
            "a~1",
            "a.lock",
            "/a",
            "a/",
            "a//b",
            ".a",
            "@",
            "a@{1}",
            "a\nb",
            "$(x)",
            &"a".repeat(201),
        ] {
            assert!(check_branch(bad).is_err(), "{bad} was accepted");
        }
    }
}
