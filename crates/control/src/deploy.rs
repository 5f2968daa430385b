//! Releases and deployments: what a push, a changed variable, a rollback, a restart or a
//! promotion writes down. The reconciler does the rest.

use std::collections::BTreeMap;

use weir_model::canary::Canary;
use weir_model::deployment::{Deployment, DeploymentKind, DeploymentState};
use weir_model::files::main_app;
use weir_model::project::{Domain, Environment, EnvironmentMode, Variable};
use weir_model::release::{Release, ReleaseApp, ReleaseSource};
use weir_model::task::LineKind;
use weir_model::{AppName, DeploymentId, DomainId, EnvironmentId, ProcessName, ReleaseId, TaskId};
use weir_store::StoreError;

use crate::canary;
use crate::context::Context;
use crate::hosts::{self, platform_host};
use crate::{console_hosts, protecting, tcp, worst_case};

/// How many deployments are looked through for the one to roll back to.
const DEPLOYMENTS_LOOKED_AT: i64 = 200;

/// Longest part of a host name between dots (RFC 1035).
const LONGEST_LABEL: usize = 63;

/// Why nothing could be deployed, in words for people.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The request cannot be fulfilled: nothing to roll back to, environment paused …
    #[error("{0}")]
    Refused(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] weir_store::StoreError),
    /// A secret cannot be opened or sealed.
    #[error(transparent)]
    Secret(#[from] crate::secrets::SecretError),
}

/// What is to be deployed.
#[derive(Debug, Clone)]
pub enum Wish {
    /// New images.
    Apps {
        /// By app.
        apps: BTreeMap<AppName, ReleaseApp>,
        /// Where they came from.
        source: ReleaseSource,
        /// What part of the requests it gets first; none: all of them.
        canary: Option<Canary>,
    },
    /// The images of the live release with the variables as they are now.
    Configuration {
        /// The names that changed.
        names: Vec<String>,
    },
    /// The images of another environment's live release.
    Promotion {
        /// That environment.
        from: Environment,
    },
    /// A release that was live before; `None` is the one right before.
    Rollback {
        /// Its number.
        release: Option<i64>,
    },
    /// The live release with new instances.
    Restart,
}

/// Writes down a release (where one is new) and its deployment, and wakes the reconciler, which
/// supersedes deployments of the environment that have not begun to switch. `task` must exist;
/// the reconciler writes into it and ends it.
pub async fn deploy(
    context: &Context,
    environment: &Environment,
    wish: Wish,
    task: TaskId,
) -> Result<(Release, Deployment), DeployError> {
    refuse_unless_active(environment)?;
    let now_ms = context.clock.now_ms();
    let deployment = |release: ReleaseId, kind: DeploymentKind| Deployment {
        id: DeploymentId::from_parts(now_ms, context.clock.random()),
        environment: environment.id,
        release,
        kind,
        task,
        state: DeploymentState::Pending,
        reason: None,
        canary: None,
        created_ms: now_ms,
        entered_ms: now_ms,
    };
    let mut canary = None;
    let (apps, source) = match wish {
        Wish::Apps {
            apps,
            source,
            canary: part,
        } => {
            canary = part;
            (apps, source)
        }
        Wish::Configuration { names } => (
            live_release(context, environment).await?.apps,
            ReleaseSource::Configuration { names },
        ),
        Wish::Promotion { from } => {
            let release = live_release(context, &from).await?;
            (
                release.apps,
                ReleaseSource::Promotion {
                    from: from.name.to_string(),
                    number: release.number,
                },
            )
        }
        Wish::Rollback { release } => {
            let release = rollback_target(context, environment, release).await?;
            let deployment = deployment(release.id, DeploymentKind::Rollback);
            return go_back_to(context, environment, release, deployment).await;
        }
        Wish::Restart => {
            let release = live_release(context, environment).await?;
            let deployment = deployment(release.id, DeploymentKind::Restart);
            return go_back_to(context, environment, release, deployment).await;
        }
    };
    let configuration = context.store.variable_list(environment.id).await?;
    let specs = apps.values().map(|app| &app.spec);
    let problems = protecting::problems(context, environment.id, &configuration, specs).await;
    if !problems.is_empty() {
        return Err(DeployError::Refused(problems.join("\n")));
    }
    let mut release = Release {
        id: ReleaseId::from_parts(now_ms, context.clock.random()),
        environment: environment.id,
        number: 0,
        apps,
        configuration,
        configuration_version: configuration_version(context, environment.id).await?,
        source,
        created_ms: now_ms,
    };
    tcp::claim(context, environment, &release).await?;
    if canary.is_some() {
        canary::ensure_possible(context, environment, Some(&release)).await?;
    }
    let deployment = Deployment {
        canary,
        ..deployment(release.id, DeploymentKind::Release)
    };
    release.number = context.store.release_insert(&release, Some(&deployment)).await?;
    name_apps(context, environment, &release, task).await?;
    tell_worst_case(context, environment, &release, &deployment).await?;
    context.reconciler.wake(environment.id);
    Ok((release, deployment))
}

/// Deploys a release that is there already.
async fn go_back_to(
    context: &Context,
    environment: &Environment,
    release: Release,
    deployment: Deployment,
) -> Result<(Release, Deployment), DeployError> {
    tcp::claim(context, environment, &release).await?;
    context.store.deployment_insert(&deployment).await?;
    context.reconciler.wake(environment.id);
    Ok((release, deployment))
}

/// Says in the deployment's task what it can cost, a canary together with what serves already.
async fn tell_worst_case(
    context: &Context,
    environment: &Environment,
    release: &Release,
    deployment: &Deployment,
) -> Result<(), DeployError> {
    let Some(project) = context.store.project_by_id(environment.project).await? else {
        return Ok(());
    };
    let scales = context.store.scale_list(environment.id).await?;
    let mut loads = worst_case::loads(release, &scales);
    let mut words = String::new();
    if let Some(part) = &deployment.canary
        && let Some(live) = canary::live_release(context, environment.id).await?
    {
        loads.extend(worst_case::loads(&live, &scales));
        words = format!("canary with {}, both releases together: ", part.words());
    }
    words.push_str(&worst_case::sentence(context, &project, environment, &loads));
    context.tasks.line(deployment.task, LineKind::Info, &words).await;
    Ok(())
}

/// Whether the variables of the live release are those of the environment now.
pub async fn configuration_is_live(context: &Context, environment: &Environment) -> Result<bool, DeployError> {
    let live: Vec<Variable> = live_release(context, environment).await?.configuration;
    Ok(live == context.store.variable_list(environment.id).await?)
}

/// Gives every routed app beside the main one a host of its own (`shop-api.localhost`), and takes
/// back those of apps that are no more.
async fn name_apps(
    context: &Context,
    environment: &Environment,
    release: &Release,
    task: TaskId,
) -> Result<(), DeployError> {
    let Some(project) = context.store.project_by_id(environment.project).await? else {
        return Ok(());
    };
    let has_web = |app: &AppName| release.apps[app].spec.processes.contains_key(&ProcessName::web());
    let main = main_app(release.apps.values().map(|app| &app.spec), project.name.as_str());
    let domains = context.store.domain_list(environment.id).await?;
    for domain in &domains {
        if domain.platform && domain.app.as_ref().is_some_and(|app| !release.apps.contains_key(app)) {
            context.store.domain_delete(environment.id, &domain.host).await?;
        }
    }
    for app in release
        .apps
        .keys()
        .filter(|app| Some(*app) != main.as_ref() && has_web(app))
    {
        if domains
            .iter()
            .any(|domain| domain.platform && domain.app.as_ref() == Some(app))
        {
            continue;
        }
        let stem = platform_host(&context.config, &project.name, &environment.name);
        let suffix = format!(".{}", context.config.domain);
        let stem = stem.strip_suffix(&suffix).unwrap_or(&stem);
        let domain = Domain {
            id: DomainId::from_parts(release.created_ms, context.clock.random()),
            environment: environment.id,
            app: Some(app.clone()),
            host: format!("{stem}-{app}{suffix}"),
            platform: true,
            redirect_to: None,
            tcp: None,
            https: hosts::USUAL_HTTPS,
            created_ms: release.created_ms,
        };
        if stem.len() + 1 + app.as_str().len() > LONGEST_LABEL {
            let text = format!("the host of {app} would be too long: weir domain add HOST --app {app}");
            context.tasks.line(task, LineKind::Hint, &text).await;
            continue;
        }
        // People sign in to the console at some names.
        let inserted = match console_hosts::all(context).await?.contains(&domain.host) {
            true => false,
            false => match context.store.domain_insert(&domain).await {
                Ok(()) => true,
                Err(StoreError::Conflict(_)) => false,
                Err(error) => return Err(error.into()),
            },
        };
        if !inserted {
            let text = format!(
                "{} belongs to something else, so {app} has no host of its own: weir domain add HOST --app {app}",
                domain.host
            );
            context.tasks.line(task, LineKind::Hint, &text).await;
        }
    }
    Ok(())
}

fn refuse_unless_active(environment: &Environment) -> Result<(), DeployError> {
    match environment.mode {
        EnvironmentMode::Active => Ok(()),
        EnvironmentMode::Paused => Err(DeployError::Refused(format!(
            "{} is paused, so nothing can be deployed to it; resume it first: weir resume",
            environment.name
        ))),
        EnvironmentMode::Destroying => Err(DeployError::Refused(format!("{} is being destroyed", environment.name))),
    }
}

async fn configuration_version(context: &Context, environment: EnvironmentId) -> Result<i64, DeployError> {
    Ok(context
        .store
        .environment_by_id(environment)
        .await?
        .map_or(0, |environment| environment.configuration_version))
}

/// The release that serves.
pub async fn live_release(context: &Context, environment: &Environment) -> Result<Release, DeployError> {
    let nothing = || {
        DeployError::Refused(format!(
            "nothing was deployed to {} yet; push something first",
            environment.name
        ))
    };
    // The row may be older than the deployment that went live meanwhile.
    let fresh = context
        .store
        .environment_by_id(environment.id)
        .await?
        .ok_or_else(nothing)?;
    let live = context
        .store
        .deployment_by_id(fresh.live.ok_or_else(nothing)?)
        .await?
        .ok_or_else(nothing)?;
    context.store.release_by_id(live.release).await?.ok_or_else(nothing)
}

async fn rollback_target(
    context: &Context,
    environment: &Environment,
    number: Option<i64>,
) -> Result<Release, DeployError> {
    let live = live_release(context, environment).await?;
    if let Some(number) = number {
        if number == live.number {
            return Err(DeployError::Refused(format!(
                "release {number} is the one that serves; to start it anew: weir restart"
            )));
        }
        let release = context.store.release_by_number(environment.id, number).await?;
        return release.ok_or_else(|| DeployError::Refused(format!("{} has no release {number}", environment.name)));
    }
    // The one whose instances may still be frozen comes first.
    let fresh = context.store.environment_by_id(environment.id).await?;
    let mut served = Vec::new();
    if let Some(previous) = fresh.and_then(|environment| environment.previous) {
        served.extend(context.store.deployment_by_id(previous).await?);
    }
    served.extend(
        context
            .store
            .deployment_list(environment.id, DEPLOYMENTS_LOOKED_AT)
            .await?,
    );
    let served = served
        .iter()
        .find(|deployment| deployment.state == DeploymentState::Retired && deployment.release != live.id);
    let release = match served {
        Some(deployment) => context.store.release_by_id(deployment.release).await?,
        None => None,
    };
    release.ok_or_else(|| {
        DeployError::Refused(format!(
            "no other release of {} was live before release {}",
            environment.name, live.number
        ))
    })
}
