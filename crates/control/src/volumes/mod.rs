//! Volumes of an environment: which there are, and the way to their files. What is done in them is
//! done by [`weir_engine::files`], on threads of their own, and only so much at once ([`turns`]), so that
//! nobody's thousands of files keep others waiting.

mod counting;
mod taking_in;
mod turns;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use weir_engine::EngineError;
use weir_engine::files::{FileError, Tree};
use weir_model::spec::{VolumeSpec, Writers};
use weir_model::{AccountId, AppName, EnvironmentId, VolumeName};
use weir_store::StoreError;

use crate::context::Context;
use crate::uploads::UploadError;
use counting::{Counted, Counts};
pub(crate) use taking_in::complete;
pub use taking_in::go_on;
use turns::{Turn, Turns};

/// Why something with volumes did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// There is none of that name.
    #[error("there is no volume `{0}`")]
    NotFound(String),
    /// Too much is being done already.
    #[error("{0}")]
    Busy(String),
    /// Something with an upload.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// Something with the files.
    #[error(transparent)]
    File(#[from] FileError),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A thread of Weir's stopped.
    #[error("a thread stopped: {0}")]
    Stopped(String),
}

/// A volume that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Volume {
    /// As the API names it.
    pub(crate) name: String,
    /// The app that has it.
    pub(crate) app: AppName,
    /// Its name in `weir.toml`.
    pub(crate) volume: VolumeName,
    environment: EnvironmentId,
}

/// What is remembered of volumes, and who waits for his turn in them.
#[derive(Debug, Default)]
pub struct Volumes {
    turns: Turns,
    counts: Arc<Counts>,
}

/// The volumes of an environment that exist, by name.
pub(crate) async fn list(context: &Context, environment: EnvironmentId) -> Result<Vec<Volume>, VolumeError> {
    let mut found: Vec<(AppName, VolumeName)> = Vec::new();
    for (owner, app, volume) in context.engine.volume_list().await? {
        if owner == environment {
            found.push((app, volume));
        }
    }
    let mut count: BTreeMap<VolumeName, usize> = BTreeMap::new();
    for (_, volume) in &found {
        *count.entry(volume.clone()).or_default() += 1;
    }
    let mut volumes: Vec<Volume> = found
        .into_iter()
        .map(|(app, volume)| Volume {
            name: match count.get(&volume) {
                Some(1) => volume.to_string(),
                _ => format!("{app}.{volume}"),
            },
            app,
            volume,
            environment,
        })
        .collect();
    volumes.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(volumes)
}

/// A volume by its name in the API.
pub(crate) async fn find(context: &Context, environment: EnvironmentId, name: &str) -> Result<Volume, VolumeError> {
    let volumes = list(context, environment).await?;
    let found = volumes
        .into_iter()
        .find(|one| one.name == name || format!("{}.{}", one.app, one.volume) == name);
    found.ok_or_else(|| VolumeError::NotFound(name.chars().take(100).collect()))
}

/// What the newest release that has a volume says of it.
pub(crate) async fn specs(
    context: &Context,
    environment: EnvironmentId,
) -> Result<BTreeMap<(AppName, VolumeName), VolumeSpec>, StoreError> {
    let mut specs = BTreeMap::new();
    let mut releases = context.store.release_list(environment, i64::MAX).await?;
    releases.sort_by_key(|release| std::cmp::Reverse(release.number));
    for release in releases {
        for (app, built) in release.apps {
            for (name, spec) in built.spec.volumes {
                specs.entry((app.clone(), name)).or_insert(spec);
            }
        }
    }
    Ok(specs)
}

/// The word in the API.
pub(crate) fn word(writers: Writers) -> &'static str {
    match writers {
        Writers::One => "one",
        Writers::Many => "many",
    }
}

impl Volumes {
    /// Does something short with the files of a volume, on a thread of its own and to its end, whoever
    /// hangs up meanwhile.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        context: &Context,
        volume: &Volume,
        work: impl FnOnce(&Tree) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let turn = self.turns.short(volume.environment).await?;
        let folder = self.folder(context, volume).await?;
        on_a_thread(turn, folder, work).await
    }

    /// The same for what may take long because much is there.
    pub(crate) async fn run_long<T: Send + 'static>(
        &self,
        context: &Context,
        (account, volume): (AccountId, &Volume),
        work: impl FnOnce(&Tree) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let turn = self.turns.long(volume.environment, account).await?;
        let folder = self.folder(context, volume).await?;
        on_a_thread(turn, folder, work).await
    }

    /// A turn for something long that is to be done elsewhere; it ends when dropped.
    pub(crate) async fn long_turn(&self, account: AccountId, volume: &Volume) -> Result<Turn, VolumeError> {
        self.turns.long(volume.environment, account).await
    }

    /// Where the files of a volume are.
    pub(crate) async fn folder(&self, context: &Context, volume: &Volume) -> Result<PathBuf, VolumeError> {
        let engine = &context.engine;
        let folder = engine
            .volume_folder(volume.environment, &volume.app, &volume.volume)
            .await?;
        folder.ok_or_else(|| VolumeError::NotFound(volume.name.clone()))
    }

    /// How much is in a volume. Counting goes on behind `until`; what is told then is what was counted
    /// before, or so far.
    pub(crate) async fn amount(
        &self,
        context: &Context,
        (account, volume): (AccountId, &Volume),
        until: Instant,
    ) -> Counted {
        let key = (volume.environment, volume.name.clone());
        let counting = {
            let (context, volume) = (context.clone(), volume.clone());
            |so_far: counting::SoFar| async move {
                let volumes = &context.volumes;
                let turn = volumes.turns.counting(volume.environment, account).await?;
                let folder = volumes.folder(&context, &volume).await?;
                on_a_thread(turn, folder, move |tree| so_far.count(tree)).await
            }
        };
        self.counts.get(key, &context.clock, until, counting).await
    }
}

async fn on_a_thread<T: Send + 'static>(
    turn: Turn,
    folder: PathBuf,
    work: impl FnOnce(&Tree) -> Result<T, FileError> + Send + 'static,
) -> Result<T, VolumeError> {
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        work(&Tree::open(&folder)?)
    });
    let done = done.await.map_err(|error| VolumeError::Stopped(error.to_string()))?;
    Ok(done?)
}
