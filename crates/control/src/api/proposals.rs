//! A `weir.toml` for what was uploaded, or for what is live.

use std::path::PathBuf;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use tokio::sync::Semaphore;
use weir_api::{Explanation, Proposal, ProposalProblem, ProposedApp, ProposedWorst};
use weir_build::{Source, SourceLimits, kind_word};
use weir_ledger::book::Scope;
use weir_ledger::forecast::{Load, worst_case};
use weir_model::AppName;
use weir_model::policy::{Permission, Place, Rights};
use weir_model::project::{Environment, Project};
use weir_model::release::{Release, ReleaseSource};

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InEnvironment, PathOf};
use super::scopes;
use super::uploads::{UploadPath, ensure_whole, source_of};
use crate::context::Context;
use crate::git::Commit;
use crate::status::live_release;

/// Sources that are looked through at once; each may take some GiB of disk meanwhile.
static TURNS: Semaphore = Semaphore::const_new(2);
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(20);
/// Releases that are gone back through to where the source came from.
const STEPS: usize = 100;

/// A `weir.toml` for an upload that is whole, with the reasons for its lines. Nothing is built.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/uploads/{upload}/proposal", tag = "uploads",
    params(("upload" = String, Path, description = "The upload")), responses((status = 200, body = Proposal)))]
pub(super) async fn get_proposal(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    PathOf(path): PathOf<UploadPath>,
) -> Result<Json<Proposal>, ApiError> {
    let upload = source_of(&api.context, &at.environment, &path.upload).await?;
    ensure_whole(&upload)?;
    let turn = turn().await?;
    propose(&api.context, &caller.rights, &at, upload.part(), turn)
        .await
        .map(Json)
}

/// The same for the source of the live release, where that is kept: for what was pushed.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/proposal", tag = "uploads",
    responses((status = 200, body = Proposal)))]
pub(super) async fn get_live_proposal(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
) -> Result<Json<Proposal>, ApiError> {
    let context = &api.context;
    let Some(live) = live_release(context, &at.environment).await? else {
        return Err(
            ApiError::conflict("nothing-deployed", "nothing is live here yet").with_hint("push, or `weir deploy`")
        );
    };
    let commit = commit_of(context, &at.project, live).await?;
    let turn = turn().await?;
    let archive = Scratch(scratch_file(context).await?);
    let commit = Commit::of_project(context, &at.project.name, commit);
    commit
        .archive(&archive.0)
        .await
        .map_err(|error| not_kept(&error.to_string()))?;
    let path = archive.0.clone();
    propose(context, &caller.rights, &at, path, (turn, archive))
        .await
        .map(Json)
}

async fn turn() -> Result<tokio::sync::SemaphorePermit<'static>, ApiError> {
    match tokio::time::timeout(PATIENCE, TURNS.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        _ => {
            let mut error = ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "busy",
                "other sources are being looked through",
            );
            error.retry_after_s = Some(5);
            Err(error.with_hint("try again in a moment"))
        }
    }
}

async fn scratch_file(context: &Context) -> Result<PathBuf, ApiError> {
    let folder = super::spool_folder(&context.config);
    tokio::fs::create_dir_all(&folder).await.map_err(ApiError::internal)?;
    Ok(folder.join(format!("{:032x}.tar", context.clock.random())))
}

/// A file that goes away with its last user.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        match std::fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(path = %self.0.display(), %error, "an archive was not removed");
            }
            _ => {}
        }
    }
}

/// The commit whose source a release was made of: releases that changed variables only, or were
/// promoted, have that of the one before them.
async fn commit_of(context: &Context, project: &Project, live: Release) -> Result<String, ApiError> {
    let mut release = live;
    for _ in 0..STEPS {
        let before = match &release.source {
            ReleaseSource::Push { commit, .. } => return Ok(commit.clone()),
            ReleaseSource::Upload { .. } => return Err(not_kept("it was uploaded, and archives are not kept")),
            ReleaseSource::Configuration { .. } => {
                let same = |one: &Release| {
                    one.number < release.number
                        && one.apps.len() == release.apps.len()
                        && one
                            .apps
                            .iter()
                            .all(|(name, app)| release.apps.get(name).is_some_and(|other| other.image == app.image))
                };
                let releases = context.store.release_list(release.environment, i64::MAX).await?;
                releases.into_iter().find(same)
            }
            ReleaseSource::Promotion { from, number } => {
                let environments = context.store.environment_list(project.id).await?;
                match environments.iter().find(|one| one.name.as_str() == from) {
                    Some(from) => context.store.release_by_number(from.id, *number).await?,
                    None => None,
                }
            }
        };
        release = before.ok_or_else(|| not_kept("the release that it came from is gone"))?;
    }
    Err(not_kept("it cannot be told where it came from"))
}

fn not_kept(reason: &str) -> ApiError {
    ApiError::not_found("source-not-kept", "the source of the live release is not kept")
        .with_detail(reason.to_owned())
        .with_hint("push with git, or upload it and ask for a proposal of the upload")
}

/// `held` is let go of when the archive was looked through, also if nobody waits for that any more.
async fn propose(
    context: &Context,
    rights: &Rights,
    at: &InEnvironment,
    archive: PathBuf,
    held: impl Send + 'static,
) -> Result<Proposal, ApiError> {
    let main_app = AppName::new(at.project.name.as_str())?;
    let scratch = super::spool_folder(&context.config);
    tokio::fs::create_dir_all(&scratch).await.map_err(ApiError::internal)?;
    let looked = tokio::task::spawn_blocking(move || {
        let _held = held;
        let file = std::fs::File::open(archive).map_err(ApiError::internal)?;
        let source = Source::from_archive(file, &SourceLimits::default(), &scratch).map_err(|error| {
            ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unreadable-archive",
                error.to_string(),
            )
            .with_hint("send a tar, plain or gzip, or a zip")
        })?;
        Ok::<_, ApiError>(weir_build::propose(&source, &main_app))
    });
    let found = looked.await.map_err(ApiError::internal)??;
    let worst = worst_of(context, &at.project, &at.environment, rights, &found).await?;
    let lines = found
        .explanations
        .into_iter()
        .map(|(line, text)| Explanation { line, text });
    let apps = found.apps.iter().map(|plan| ProposedApp {
        app: plan.spec.name.to_string(),
        folder: if plan.folder.is_empty() {
            ".".to_owned()
        } else {
            plan.folder.clone()
        },
        kind: kind_word(plan).to_owned(),
        because: plan.findings.join("; "),
    });
    let problems = found.problems.into_iter().map(|problem| ProposalProblem {
        title: problem.title,
        hint: problem.hint,
        line: problem.line,
    });
    Ok(Proposal {
        apps: apps.collect(),
        toml: found.toml,
        explanations: lines.collect(),
        present: found.present,
        problems: problems.collect(),
        worst,
    })
}

/// What it would cost at worst, and the cap that would stop it first.
async fn worst_of(
    context: &Context,
    project: &Project,
    environment: &Environment,
    rights: &Rights,
    found: &weir_build::Proposal,
) -> Result<Option<ProposedWorst>, ApiError> {
    if found.apps.is_empty() {
        return Ok(None);
    }
    let scales = context.store.scale_list(environment.id).await?;
    let mut loads = Vec::new();
    for spec in found.apps.iter().map(|plan| &plan.spec) {
        loads.extend(spec.processes.iter().map(|(process, limits)| Load {
            instances: spec.bounds(process, &scales).most,
            cpu_milli: limits.cpu_milli,
            memory_bytes: limits.memory_bytes,
        }));
    }
    let book = context.money.book();
    let worst = worst_case(&book, &loads);
    let (account, _) = scopes::path_of(context, project).await?;
    let name = project.name.as_str();
    let path = [
        (
            Place::Environment(account.id, project.id, environment.id),
            format!("{name}/{}", environment.name),
            Scope::Environment(environment.id),
        ),
        (
            Place::Project(account.id, project.id),
            name.to_owned(),
            Scope::Project(project.id),
        ),
        (
            Place::Account(account.id),
            format!("account:{}", account.name),
            Scope::Account(account.id),
        ),
    ];
    // How far a cap is says what is spent there.
    let seen = path
        .into_iter()
        .filter(|(place, _, _)| rights.may(Permission::SeeMoney, *place));
    let bounds = seen.filter_map(|(_, scope, of)| {
        let standing = context.money.standing(of).filter(|standing| standing.cap.is_some())?;
        let left = standing
            .limit
            .saturating_sub(standing.settled)
            .saturating_sub(standing.reserved);
        Some((left, scope, standing.until_ms))
    });
    let Some((left, scope, until_ms)) = bounds.min_by_key(|(left, _, _)| *left) else {
        return Ok(None);
    };
    Ok(Some(ProposedWorst {
        currency: book.currency.clone(),
        worst_per_hour: worst.per_hour.to_string(),
        worst_per_month: worst.per_month.to_string(),
        reached_at_worst: scopes::reached(left, worst.per_hour, context.clock.now_ms(), until_ms),
        scope,
    }))
}
