//! Volumes of an environment: which there are, and the way to their files. What is done in them is
//! done by [`weir_engine::files`], on threads of their own, a few at once for each environment, so that
//! nobody's thousands of files keep others waiting.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weir_engine::EngineError;
use weir_engine::files::{Amount, FileError, Tree};
use weir_model::spec::{VolumeSpec, Writers};
use weir_model::{AppName, EnvironmentId, UnixMillis, VolumeName};
use weir_store::StoreError;

use crate::context::Context;

/// What an environment may have done at once in its volumes.
const AT_ONCE: usize = 4;
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// What was counted is not counted again for so long.
const COUNT_AGAIN_MS: i64 = 30_000;
/// Most volumes whose amounts are remembered.
const REMEMBERED: usize = 4096;

/// Why something with volumes did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// There is none of that name.
    #[error("there is no volume `{0}`")]
    NotFound(String),
    /// Too much is being done in the volumes of the environment.
    #[error("{} things are being done in the volumes of this environment already", AT_ONCE)]
    Busy,
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
    gates: Mutex<HashMap<EnvironmentId, Arc<Semaphore>>>,
    amounts: Mutex<HashMap<(EnvironmentId, String), (UnixMillis, Amount)>>,
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
    /// Waits for a turn in the volumes of an environment.
    pub(crate) async fn turn(&self, environment: EnvironmentId) -> Result<OwnedSemaphorePermit, VolumeError> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody uses are as good as new ones.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            gates
                .entry(environment)
                .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE)))
                .clone()
        };
        match tokio::time::timeout(PATIENCE, gate.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(VolumeError::Busy),
        }
    }

    /// Does something with the files of a volume, on a thread of its own and to its end, whoever
    /// hangs up meanwhile.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        context: &Context,
        volume: &Volume,
        work: impl FnOnce(&Tree) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, VolumeError> {
        let permit = self.turn(volume.environment).await?;
        let folder = self.folder(context, volume).await?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&Tree::open(&folder)?)
        });
        let done = done.await.map_err(|error| VolumeError::Stopped(error.to_string()))?;
        Ok(done?)
    }

    /// Where the files of a volume are.
    pub(crate) async fn folder(&self, context: &Context, volume: &Volume) -> Result<PathBuf, VolumeError> {
        let engine = &context.engine;
        let folder = engine
            .volume_folder(volume.environment, &volume.app, &volume.volume)
            .await?;
        folder.ok_or_else(|| VolumeError::NotFound(volume.name.clone()))
    }

    /// How much is in a volume, and when that was counted.
    pub(crate) async fn amount(&self, context: &Context, volume: &Volume) -> Result<(UnixMillis, Amount), VolumeError> {
        let key = (volume.environment, volume.name.clone());
        let now_ms = context.clock.now_ms();
        let known = self
            .amounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
            .copied();
        if let Some((at_ms, amount)) = known
            && now_ms.abs_diff(at_ms) < COUNT_AGAIN_MS.unsigned_abs()
        {
            return Ok((at_ms, amount));
        }
        let amount = self.run(context, volume, Tree::amount).await?;
        let mut amounts = self.amounts.lock().unwrap_or_else(PoisonError::into_inner);
        if amounts.len() >= REMEMBERED {
            amounts.clear();
        }
        amounts.insert(key, (now_ms, amount));
        Ok((now_ms, amount))
    }
}
