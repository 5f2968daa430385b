//! A canary: a release that gets a part of the requests beside the one that serves. Whether there
//! may be one, how it does, and what becomes of it.

use weir_api::{Accepted, CanaryRelease, CanaryStatus, SetCanary};
use weir_model::canary::{Canary, CanaryHeader, Share};
use weir_model::deployment::{Deployment, DeploymentState};
use weir_model::project::{Environment, Project};
use weir_model::release::Release;
use weir_model::spec::AppSpec;
use weir_model::task::TaskKind;
use weir_model::{EnvironmentId, ReleaseId};
use weir_store::StoreError;

use crate::api::{ApiError, present};
use crate::context::Context;
use crate::deploy::DeployError;
use crate::reconcile::plan::EXCLUSIVE_CANARY;
use crate::{projects, status};

/// How often a change is tried again that somebody else's crossed.
const ATTEMPTS: usize = 5;

/// What is asked for by a share, a header, or both. Nothing if neither is given.
pub fn wanted(share: Option<&str>, header: Option<&str>) -> Result<Option<Canary>, String> {
    if share.is_none() && header.is_none() {
        return Ok(None);
    }
    let canary = Canary {
        share: share.map(str::parse::<Share>).transpose()?.unwrap_or_default(),
        header: header.map(str::parse::<CanaryHeader>).transpose()?,
        promoted: false,
    };
    if canary.is_nothing() {
        return Err("nobody would get a canary with 0% of the requests; name a share like 5%, or a header".to_owned());
    }
    Ok(Some(canary))
}

/// Refuses a canary where there cannot be one: beside nothing, or where two releases must not run
/// at once. `release` is the new one, once it is known.
pub async fn ensure_possible(
    context: &Context,
    environment: &Environment,
    release: Option<&Release>,
) -> Result<(), DeployError> {
    let name = &environment.name;
    let Some(live) = live_release(context, environment.id).await? else {
        return Err(DeployError::Refused(format!(
            "nothing serves in {name} yet, so there is nothing that a canary could be beside; deploy without it first"
        )));
    };
    let apps = live
        .apps
        .values()
        .chain(release.iter().flat_map(|release| release.apps.values()));
    let mut exclusive = apps.map(|app| &app.spec).filter(|spec| spec.is_exclusive());
    match exclusive.next() {
        Some(AppSpec { name: app, .. }) => Err(DeployError::Refused(format!(
            "{app} cannot have a canary: {EXCLUSIVE_CANARY}. Deploy it without one; it is switched while requests wait"
        ))),
        None => Ok(()),
    }
}

/// The release that serves.
pub async fn live_release(context: &Context, environment: EnvironmentId) -> Result<Option<Release>, StoreError> {
    // The row at hand may be older than the deployment that went live meanwhile.
    let live = context
        .store
        .environment_by_id(environment)
        .await?
        .and_then(|now| now.live);
    let Some(live) = live else { return Ok(None) };
    match context.store.deployment_by_id(live).await? {
        Some(deployment) => context.store.release_by_id(deployment.release).await,
        None => Ok(None),
    }
}

/// The canary of an environment, once it gets requests.
async fn find(context: &Context, environment: &Environment) -> Result<(Deployment, Canary), ApiError> {
    let in_progress = context.store.deployment_list_in_progress(environment.id).await?;
    let newest = in_progress.into_iter().next_back();
    match newest.map(|deployment| (deployment.canary.clone(), deployment.state, deployment)) {
        Some((Some(canary), DeploymentState::Canary, deployment)) => Ok((deployment, canary)),
        Some((Some(_), state, deployment)) if state != DeploymentState::Switching => Err(ApiError::conflict(
            "canary-not-ready",
            "the canary is still starting, so that it gets no requests yet",
        )
        .with_hint(format!("watch it: `weir task watch {}`", deployment.task))),
        _ => Err(
            ApiError::not_found("no-canary", format!("no canary runs in `{}`", environment.name))
                .with_hint("start one with `weir deploy --canary 5%` or `git push -o canary=5`"),
        ),
    }
}

/// Both releases with what they get and how it goes.
pub async fn status_of(context: &Context, environment: &Environment) -> Result<CanaryStatus, ApiError> {
    let (deployment, canary) = find(context, environment).await?;
    let live = live_release(context, environment.id).await?;
    let mut releases = Vec::new();
    for release in live.map(|live| live.id).into_iter().chain([deployment.release]) {
        releases.push(release_status(context, environment, release, release == deployment.release).await?);
    }
    Ok(CanaryStatus {
        share: canary.share.to_string(),
        header: canary.header.map(|header| header.to_string()),
        promoted: canary.promoted,
        since: present::instant(deployment.entered_ms),
        releases,
    })
}

async fn release_status(
    context: &Context,
    environment: &Environment,
    release: ReleaseId,
    canary: bool,
) -> Result<CanaryRelease, ApiError> {
    let number = context
        .store
        .release_by_id(release)
        .await?
        .map_or(0, |release| release.number);
    let loads = context.reconciler.loads();
    let views = status::instances_of(context, environment);
    let routed = views
        .iter()
        .filter(|view| view.labels.release == release && view.labels.port.is_some());
    let mut told = CanaryRelease {
        release: number,
        canary,
        instances: 0,
        requests: 0,
        failed: 0,
        in_flight: 0,
    };
    for view in routed {
        let load = loads.get(&view.labels.instance).copied().unwrap_or_default();
        told.instances += u32::from(view.state == "ready");
        told.requests += load.requests;
        told.failed += load.failed;
        told.in_flight += load.in_flight;
    }
    Ok(told)
}

/// Changes what the canary gets.
pub async fn set(context: &Context, environment: &Environment, request: &SetCanary) -> Result<CanaryStatus, ApiError> {
    let wrong = |message: String| ApiError::invalid(message).with_hint("for example `weir canary set 25%`");
    let given = wanted(request.share.as_deref(), request.header.as_deref()).map_err(wrong)?;
    let given = given.ok_or_else(|| wrong("name a share of the requests, a header, or both".to_owned()))?;
    for _ in 0..ATTEMPTS {
        let (deployment, before) = find(context, environment).await?;
        refuse_promoted(&before)?;
        let after = Canary {
            share: if request.share.is_some() {
                given.share
            } else {
                before.share
            },
            header: given.header.clone().or_else(|| before.header.clone()),
            promoted: false,
        };
        let set = context
            .store
            .deployment_set_canary(deployment.id, &before, &after, None);
        if set.await? {
            context.reconciler.wake(environment.id);
            return status_of(context, environment).await;
        }
    }
    Err(crossed())
}

/// Has the canary become the release that serves: its workers start, then it gets everything.
pub async fn promote(context: &Context, project: &Project, environment: &Environment) -> Result<Accepted, ApiError> {
    projects::ensure_alive(project, Some(environment))?;
    // Refused before there is a task that would have to tell of it.
    refuse_promoted(&find(context, environment).await?.1)?;
    let title = format!("promotion of the canary of {} ({})", project.name, environment.name);
    let task = context
        .tasks
        .create(TaskKind::Deploy, project.id, Some(environment.id), &title)
        .await?
        .id;
    let promoted = promote_by(context, environment, task).await;
    if let Err(error) = &promoted {
        let told = error.to_string();
        context
            .tasks
            .end(task, weir_model::task::TaskState::Failed, Some(&told))
            .await;
    }
    promoted?;
    context.reconciler.wake(environment.id);
    Ok(Accepted {
        task: Some(task.to_string()),
        message: "the canary is being promoted".to_owned(),
    })
}

async fn promote_by(context: &Context, environment: &Environment, task: weir_model::TaskId) -> Result<(), ApiError> {
    for _ in 0..ATTEMPTS {
        let (deployment, before) = find(context, environment).await?;
        refuse_promoted(&before)?;
        let after = Canary {
            promoted: true,
            ..before.clone()
        };
        let set = context
            .store
            .deployment_set_canary(deployment.id, &before, &after, Some(task));
        if set.await? {
            return Ok(());
        }
    }
    Err(crossed())
}

/// Gives the canary up: everybody gets the release that serves. Also one that is only starting.
pub async fn abort(context: &Context, environment: &Environment) -> Result<(), ApiError> {
    for _ in 0..ATTEMPTS {
        let in_progress = context.store.deployment_list_in_progress(environment.id).await?;
        let newest = in_progress.into_iter().next_back();
        let Some(deployment) = newest.filter(|deployment| deployment.canary.is_some()) else {
            // Says that there is none.
            find(context, environment).await?;
            continue;
        };
        if deployment.state == DeploymentState::Switching {
            return Err(ApiError::conflict(
                "canary-promoted",
                "the canary is becoming the release that serves this very moment",
            )
            .with_hint("go back to the one before with `weir rollback`"));
        }
        let now_ms = context.clock.now_ms();
        let given_up = context.store.deployment_advance(
            deployment.id,
            deployment.state,
            DeploymentState::Failed,
            Some("the canary was given up"),
            now_ms,
        );
        if given_up.await? {
            context.reconciler.wake(environment.id);
            return Ok(());
        }
    }
    Err(crossed())
}

fn refuse_promoted(canary: &Canary) -> Result<(), ApiError> {
    match canary.promoted {
        true => Err(
            ApiError::conflict("canary-promoted", "the canary is being promoted already")
                .with_hint("watch it with `weir status`, or give it up with `weir canary abort`"),
        ),
        false => Ok(()),
    }
}

fn crossed() -> ApiError {
    ApiError::conflict("canary-changed", "the canary was changed by others meanwhile")
        .with_hint("look with `weir canary`, then try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_for_somebody() {
        assert_eq!(wanted(None, None), Ok(None));
        let five = wanted(Some("5%"), None).unwrap().unwrap();
        assert_eq!(five.words(), "5 % of the requests");
        let header = wanted(None, Some("X-Canary: yes")).unwrap().unwrap();
        assert_eq!(header.words(), "requests with `x-canary: yes`");
        let both = wanted(Some("0%"), Some("X-Canary: yes")).unwrap().unwrap();
        assert_eq!(both, header);
        assert!(wanted(Some("0%"), None).unwrap_err().contains("nobody would get"));
        assert!(wanted(Some("much"), None).unwrap_err().contains("like 5%"));
    }
}
