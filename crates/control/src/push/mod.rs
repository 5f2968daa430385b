//! A push: source to images, images to a release, and the release live. The same for
//! `git push` and for `weir deploy`, which differ only in where the source comes from.
//!
//! [`run`] shows the order: archive, build, deploy, follow. Until the deployment is written down
//! a push can be cancelled and leaves nothing behind; from then on it belongs to the
//! reconciler, and goes on whoever is still watching.

mod build;
mod queue;
mod report;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use weir_model::canary::Canary;
use weir_model::deployment::Deployment;
use weir_model::project::{Environment, EnvironmentMode, Project};
use weir_model::release::{Release, ReleaseApp, ReleaseSource};
use weir_model::task::{LineKind, Task, TaskState};
use weir_model::{AppName, EnvironmentId, TaskId};

use crate::config::Config;
use crate::context::Context;
use crate::deploy::{self, DeployError, Wish};
use crate::git::Commit;
use crate::tasks::TaskEvent;
pub use build::ContainerBuilder;
use queue::{BuildPlaces, Turns};

pub use queue::Turn;
pub use report::{line_for_terminal, summary};

/// While a deployment goes on for so long and something newer waits, it gives way.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked whether something newer waits, from then on.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Pushes and uploads that are under way; cheap to clone.
#[derive(Debug, Clone)]
pub struct Pushes {
    turns: Arc<Turns>,
    places: Arc<BuildPlaces>,
    builder: Arc<dyn Builder>,
    /// Git pushes whose hooks may call.
    pub(crate) sessions: crate::git::Sessions,
}

impl Pushes {
    /// Pushes that are built in containers, so many at once.
    pub fn new(concurrent_builds: usize) -> Self {
        Self::with_builder(concurrent_builds, Arc::new(ContainerBuilder))
    }

    /// Pushes that are built by something else: tests of git and of the queue need no engine.
    pub fn with_builder(concurrent_builds: usize, builder: Arc<dyn Builder>) -> Self {
        Self {
            turns: Arc::default(),
            places: Arc::new(BuildPlaces::new(concurrent_builds)),
            builder,
            sessions: crate::git::Sessions::default(),
        }
    }

    /// Waits until all pushes before are through, and tells both sides. Dropped while it waits,
    /// it leaves the queue.
    pub async fn take_turn(&self, context: &Context, environment: EnvironmentId, task: TaskId, label: &str) -> Turn {
        self.turns.take(context, environment, task, label).await
    }
}

/// Makes images of a source. What it says goes into the task; what it returns is deployed.
#[async_trait]
pub trait Builder: Send + Sync + std::fmt::Debug {
    /// Builds every app of the source. Dropped, it stops the build.
    async fn build(
        &self,
        context: &Context,
        order: &BuildOrder<'_>,
    ) -> Result<BTreeMap<AppName, ReleaseApp>, PushError>;
}

/// What a builder needs to know.
#[derive(Debug, Clone, Copy)]
pub struct BuildOrder<'a> {
    /// The project.
    pub project: &'a Project,
    /// The environment, whose build variables are used.
    pub environment: &'a Environment,
    /// The source: a tar, plain or gzip, or a zip.
    pub archive: &'a Path,
    /// Takes the place of the `weir.toml` in the source.
    pub toml: Option<&'a str>,
    /// A folder for what is needed meanwhile; it is removed afterwards.
    pub scratch: &'a Path,
    /// Gets the lines.
    pub task: TaskId,
}

/// Why a push failed, in words for the person who pushed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PushError {
    /// What is the matter.
    pub message: String,
    /// What to try.
    pub hint: Option<String>,
}

impl PushError {
    /// An error without a hint.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            hint: None,
        }
    }

    /// Adds what to try.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<weir_store::StoreError> for PushError {
    fn from(error: weir_store::StoreError) -> Self {
        Self::new(error.to_string()).with_hint("this is not the fault of your source: try again in a moment")
    }
}

impl From<DeployError> for PushError {
    fn from(error: DeployError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<std::io::Error> for PushError {
    fn from(error: std::io::Error) -> Self {
        let full = matches!(
            error.kind(),
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
        );
        if full {
            return Self::new("the disk of the machine is full")
                .with_hint("free some space there (`df -h`), then push again");
        }
        Self::new(format!("the source could not be kept: {error}"))
    }
}

/// Where the source of a push is.
#[derive(Debug)]
pub enum Material {
    /// A commit, in a repository or in the quarantine of a push.
    Commit(Commit),
    /// An archive that was uploaded.
    Archive(Uploaded),
}

/// An archive that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uploaded {
    /// Where it is.
    pub path: PathBuf,
    /// Takes the place of the `weir.toml` in it.
    pub toml: Option<String>,
}

/// What is to be built and deployed.
#[derive(Debug)]
pub struct PushOrder {
    /// The project.
    pub project: Project,
    /// The environment.
    pub environment: Environment,
    /// The source.
    pub material: Material,
    /// What the release remembers of it.
    pub source: ReleaseSource,
    /// What part of the requests it gets first; none: all of them.
    pub canary: Option<Canary>,
    /// The task; it exists, and is ended by [`run`] or by the reconciler.
    pub task: TaskId,
}

/// A push that is live.
#[derive(Debug)]
pub struct Live {
    /// The release.
    pub release: Release,
    /// What part of the requests it gets; none: all of them.
    pub canary: Option<Canary>,
    /// How long the build took, the archive included.
    pub build_ms: i64,
    /// How long it took from then on.
    pub deploy_ms: i64,
}

/// Builds and deploys, and returns once the release is live or the task ended otherwise.
/// `cancel` counts until the deployment is written down.
pub async fn run(
    context: &Context,
    order: PushOrder,
    turn: &Turn,
    cancel: &CancellationToken,
) -> Result<Live, PushError> {
    let begin_ms = context.clock.now_ms();
    let built = tokio::select! {
        built = build(context, &order) => built,
        () = cancel.cancelled() => Err(PushError::new("the push was broken off while it was built; nothing was deployed")),
        () = context.stop.cancelled() => {
            Err(PushError::new("Weir was stopped while this was built; nothing was deployed").with_hint("push again once it is back"))
        }
    };
    let deployed = match built {
        Ok(apps) => start_deployment(context, &order, apps).await,
        Err(error) => Err(error),
    };
    let (release, deployment) = match deployed {
        Ok(deployed) => deployed,
        Err(error) => {
            fail(context, order.task, &error).await;
            return Err(error);
        }
    };
    turn.deploying(deployment.id);
    let built_ms = context.clock.now_ms();
    let task = follow(context, &order, &deployment, turn).await?;
    match task.state {
        TaskState::Done => {
            let deploy_ms = context.clock.now_ms() - built_ms;
            Ok(Live {
                release,
                canary: order.canary.clone(),
                build_ms: built_ms - begin_ms,
                deploy_ms,
            })
        }
        _ => Err(PushError::new(
            task.error.unwrap_or_else(|| "it did not become live".to_owned()),
        )),
    }
}

/// Ends a task with an error and what to try.
pub(crate) async fn fail(context: &Context, task: TaskId, error: &PushError) {
    if let Some(hint) = &error.hint {
        // The error's own line comes with the end, so the hint says what it belongs to by itself.
        context.tasks.line(task, LineKind::Hint, hint).await;
    }
    context.tasks.end(task, TaskState::Failed, Some(&error.message)).await;
}

async fn build(context: &Context, order: &PushOrder) -> Result<BTreeMap<AppName, ReleaseApp>, PushError> {
    let Some(_place) = context.pushes.places.take(context, order.task).await else {
        return Err(PushError::new("Weir is about to stop"));
    };
    let scratch = Scratch::new(&context.config, order.task).await?;
    let archive = match &order.material {
        Material::Archive(uploaded) => uploaded.path.clone(),
        Material::Commit(commit) => {
            let archive = scratch.0.join("source.tar");
            for warning in commit.archive(&archive).await? {
                context.tasks.line(order.task, LineKind::Info, &warning).await;
            }
            archive
        }
    };
    let build = BuildOrder {
        project: &order.project,
        environment: &order.environment,
        archive: &archive,
        toml: match &order.material {
            Material::Archive(uploaded) => uploaded.toml.as_deref(),
            Material::Commit(_) => None,
        },
        scratch: &scratch.0,
        task: order.task,
    };
    context.pushes.builder.build(context, &build).await
}

async fn start_deployment(
    context: &Context,
    order: &PushOrder,
    apps: BTreeMap<AppName, ReleaseApp>,
) -> Result<(Release, Deployment), PushError> {
    let environment = current(context, &order.environment).await?;
    Ok(deploy::deploy(
        context,
        &environment,
        Wish::Apps {
            apps,
            source: order.source.clone(),
            canary: order.canary.clone(),
        },
        order.task,
    )
    .await?)
}

/// The environment as it is now. Fails if nothing can be deployed there.
pub(crate) async fn current(context: &Context, environment: &Environment) -> Result<Environment, PushError> {
    let name = &environment.name;
    match context.store.environment_by_id(environment.id).await? {
        None => Err(PushError::new(format!("the environment `{name}` was destroyed"))),
        Some(now) => match now.mode {
            EnvironmentMode::Active => Ok(now),
            EnvironmentMode::Paused => Err(PushError::new(format!("the environment `{name}` is paused"))
                .with_hint(format!("start it with `weir resume --env {name}`, then push again"))),
            EnvironmentMode::Destroying => Err(PushError::new(format!("the environment `{name}` is being destroyed"))),
        },
    }
}

/// Waits until the task of a deployment has ended. One that gets nowhere gives way to what
/// waits behind it.
async fn follow(context: &Context, order: &PushOrder, deployment: &Deployment, turn: &Turn) -> Result<Task, PushError> {
    let end = wait_for_end(context, order.task);
    tokio::pin!(end);
    let mut patience = PATIENCE;
    loop {
        tokio::select! {
            ended = &mut end => return ended,
            () = context.stop.cancelled() => {
                return Err(PushError::new("Weir was stopped; the deployment goes on once it is back")
                    .with_hint("look with `weir status`, and push again if the branch was not updated"));
            }
            () = tokio::time::sleep(patience) => {
                patience = LOOK_AGAIN;
                if let Some(next) = turn.next() {
                    queue::supersede(context, order.environment.id, deployment.id, &next).await;
                }
            }
        }
    }
}

async fn wait_for_end(context: &Context, task: TaskId) -> Result<Task, PushError> {
    // Only its end matters here: lines that are there already need not be read again.
    let mut after = i64::MAX - 1;
    loop {
        let events = context.tasks.follow(task, after);
        tokio::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                TaskEvent::Line(line) => after = line.sequence,
                TaskEvent::End(task) => return Ok(task),
                TaskEvent::Lost => break,
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Builds and deploys an archive that was uploaded. Returns once it is live.
pub async fn deploy_archive(
    context: &Context,
    environment: &Environment,
    archive: Uploaded,
    message: &str,
    canary: Option<Canary>,
    task: TaskId,
) -> Result<(), PushError> {
    let Some(project) = context.store.project_by_id(environment.project).await? else {
        return Err(PushError::new("the project was destroyed"));
    };
    let turn = context
        .pushes
        .take_turn(context, environment.id, task, "an upload")
        .await;
    let order = PushOrder {
        project,
        environment: current(context, environment).await?,
        material: Material::Archive(archive),
        source: ReleaseSource::Upload {
            message: message.to_owned(),
        },
        canary,
        task,
    };
    run(context, order, &turn, &CancellationToken::new()).await.map(drop)
}

fn scratch_folder(config: &Config) -> PathBuf {
    config.data.join("build")
}

/// Removes what builds left behind that a crash cut off. To be called at the start, before
/// anything is built.
pub fn remove_leftovers(config: &Config) {
    let folder = scratch_folder(config);
    if let Err(error) = std::fs::remove_dir_all(&folder)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %folder.display(), %error, "what old builds left behind was not removed");
    }
}

/// The folder of one build; removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    async fn new(config: &Config, task: TaskId) -> std::io::Result<Self> {
        let path = scratch_folder(config).join(task.to_string());
        tokio::fs::create_dir_all(&path).await?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "the folder of a build was not removed");
        }
    }
}
