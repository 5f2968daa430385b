//! The meters and brakes of containers, for the process that pays for them.
//!
//! It needs nothing but the name of the installation, the engine's socket and the kernel's files,
//! so that it can be made while the engine is away. Where a container's groups are is asked once
//! and kept; from then on the engine is asked only to pause and to go on, so that its own idea of
//! a container stays right.
//!
//! **Frozen behind the engine's back.** Where the engine does not answer in time, the freezer of
//! the kernel is told directly. The engine then believes that the container runs, and refuses
//! both to pause it ("not running") and to unpause it ("not paused"). So the kernel's word
//! counts everywhere here: `observe` tells such an instance as frozen, a thaw asks the engine
//! first and then sees to it that the kernel agrees, and a stop thaws by the same way.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hyper::Method;
use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::EngineError;
use crate::meters::{FreezePoint, InstanceUsage, Meters};

use super::egress::Egress;
use super::groups::Group;
use super::{DEFAULT_SOCKET, disk, names, raw};

/// How long the engine may take to pause a container before the kernel is told directly.
const PAUSE_PATIENCE: Duration = Duration::from_millis(500);
/// How long it may take with anything else.
const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// An instance that does not run is not asked about again before this time has passed.
const ASK_AGAIN: Duration = Duration::from_millis(400);
/// Largest answer of the engine that is read.
const ANSWER_BYTES: usize = 8 << 20;

/// Meters and brakes of the containers of one installation.
#[derive(Debug)]
pub struct DockerMeters {
    installation: String,
    socket: PathBuf,
    places: Mutex<HashMap<InstanceId, Place>>,
    egress: Egress,
}

/// What is known of where an instance runs.
#[derive(Debug, Clone)]
enum Place {
    Runs(Group),
    /// Did not run when it was looked for.
    Nowhere(Instant),
}

impl DockerMeters {
    /// For the Weir of this name. Asks nobody yet. `socket` is the engine's,
    /// `/var/run/docker.sock` if `None`.
    pub fn new(installation: impl Into<String>, socket: Option<&str>) -> Self {
        let installation = installation.into();
        let socket = socket.unwrap_or(DEFAULT_SOCKET);
        Self {
            egress: Egress::new(&installation),
            installation,
            socket: PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket)),
            places: Mutex::default(),
        }
    }

    /// From now on an environment that is not allowed anything sends nothing past the proxy.
    pub(super) async fn egress_ensure(&self) -> Result<(), EngineError> {
        self.egress.ensure().await
    }

    /// Everybody may send what they like.
    pub(super) async fn egress_remove(&self) -> Result<(), EngineError> {
        self.egress.remove().await
    }

    /// Whether the kernel keeps all CPU time from an instance, whatever the engine believes.
    pub(super) async fn is_frozen(&self, instance: InstanceId) -> bool {
        matches!(self.usage(instance).await, Ok(Some(usage)) if usage.frozen)
    }

    async fn freeze_group(&self, instance: InstanceId, group: Group) -> Result<(), EngineError> {
        let paused = tokio::time::timeout(PAUSE_PATIENCE, self.order(instance, "pause")).await;
        if !matches!(paused, Ok(Ok(()))) {
            tracing::debug!(instance.id = %instance, answer = ?paused, "the engine does not pause an instance; telling the kernel");
        }
        let frozen = tokio::task::spawn_blocking(move || match group.is_frozen() {
            Ok(true) => Ok(()),
            Ok(false) => group.freeze(),
            Err(error) => Err(error),
        });
        match frozen.await {
            Ok(Ok(())) => Ok(()),
            // It has ended, and uses nothing any more.
            Ok(Err(error)) if is_gone(&error) => Ok(()),
            Ok(Err(error)) => Err(EngineError::Refused(format!(
                "the instance {instance} cannot be frozen: {error}"
            ))),
            Err(error) => Err(EngineError::Refused(error.to_string())),
        }
    }

    /// The groups of an instance, from what is known or by asking the engine.
    async fn place(&self, instance: InstanceId) -> Result<Option<Group>, EngineError> {
        match self.places().get(&instance) {
            Some(Place::Runs(group)) => return Ok(Some(group.clone())),
            Some(Place::Nowhere(asked)) if asked.elapsed() < ASK_AGAIN => return Ok(None),
            Some(Place::Nowhere(_)) | None => {}
        }
        let group = find_group(&self.socket, &names::container(&self.installation, instance)).await?;
        let place = group
            .clone()
            .map_or_else(|| Place::Nowhere(Instant::now()), Place::Runs);
        let mut places = self.places();
        // Those that ended long ago are nobody's concern.
        places.retain(|_instance, place| !matches!(place, Place::Nowhere(asked) if asked.elapsed() > ANSWER_PATIENCE));
        places.insert(instance, place);
        Ok(group)
    }

    /// The instance has ended; nothing is known of its place.
    fn forget(&self, instance: InstanceId) {
        self.places().insert(instance, Place::Nowhere(Instant::now()));
    }

    fn places(&self) -> std::sync::MutexGuard<'_, HashMap<InstanceId, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `pause` or `unpause`.
    async fn order(&self, instance: InstanceId, order: &str) -> Result<(), EngineError> {
        let name = names::container(&self.installation, instance);
        let target = format!("/containers/{name}/{order}");
        ask(&self.socket, Method::POST, &target).await.map(drop)
    }
}

#[async_trait]
impl Meters for DockerMeters {
    async fn usage(&self, instance: InstanceId) -> Result<Option<InstanceUsage>, EngineError> {
        let Some(group) = self.place(instance).await? else {
            return Ok(None);
        };
        // The counter is read last: what is said to be frozen has used no more than it tells.
        let read = group.is_frozen().and_then(|frozen| Ok((frozen, group.cpu_us()?)));
        match read {
            Ok((frozen, cpu_us)) => Ok(Some(InstanceUsage { cpu_us, frozen })),
            Err(error) if is_gone(&error) => {
                self.forget(instance);
                Ok(None)
            }
            Err(error) => Err(EngineError::Refused(format!(
                "the meter of {instance} cannot be read: {error}"
            ))),
        }
    }

    async fn memory_bytes(&self, instance: InstanceId) -> Result<Option<u64>, EngineError> {
        let Some(group) = self.place(instance).await? else {
            return Ok(None);
        };
        match group.memory_bytes() {
            Ok(bytes) => Ok(Some(bytes)),
            // It has ended, or the machine does not count memory.
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(EngineError::Refused(format!(
                "the memory of {instance} cannot be read: {error}"
            ))),
        }
    }

    async fn freeze(&self, instance: InstanceId) -> Result<(), EngineError> {
        match self.place(instance).await? {
            Some(group) => self.freeze_group(instance, group).await,
            None => Err(EngineError::NotFound(format!("the instance {instance}"))),
        }
    }

    async fn thaw(&self, instance: InstanceId) -> Result<(), EngineError> {
        let Some(group) = self.place(instance).await? else {
            return Err(EngineError::NotFound(format!("the instance {instance}")));
        };
        let asked = tokio::time::timeout(ANSWER_PATIENCE, self.order(instance, "unpause")).await;
        match group.is_frozen() {
            Ok(false) => Ok(()),
            // The engine says "not paused": somebody froze it behind its back.
            Ok(true) if matches!(asked, Ok(Err(EngineError::Refused(_)))) => group
                .thaw()
                .map_err(|error| EngineError::Refused(format!("the instance {instance} cannot be thawed: {error}"))),
            // Not behind its back: it would believe that the instance is paused for ever.
            Ok(true) => Err(match asked {
                Ok(Err(error)) => error,
                _ => EngineError::Unreachable("it took too long to answer".to_owned()),
            }),
            Err(_ended) => {
                self.forget(instance);
                Ok(())
            }
        }
    }

    async fn limit_cpu(&self, instance: InstanceId, cpu_milli: u32) -> Result<(), EngineError> {
        let Some(group) = self.place(instance).await? else {
            return Ok(());
        };
        match group.limit_cpu(cpu_milli) {
            Ok(()) => Ok(()),
            Err(error) if is_gone(&error) => Ok(()),
            Err(error) => Err(EngineError::Refused(format!(
                "the CPU limit of the instance {instance} cannot be set: {error}"
            ))),
        }
    }

    async fn freeze_point(&self, instance: InstanceId) -> Option<FreezePoint> {
        let group = self.place(instance).await.ok()??;
        Some(FreezePoint {
            instance,
            folder: group.freezer,
        })
    }

    async fn freeze_at(&self, point: &FreezePoint) -> Result<(), EngineError> {
        if !point.folder.exists() {
            return Ok(());
        }
        match Group::of_freezer(&point.folder) {
            Some(group) => self.freeze_group(point.instance, group).await,
            None => Err(EngineError::Refused(format!(
                "{} is not the control group of a container",
                point.folder.display()
            ))),
        }
    }

    async fn egress(&self, allow: &BTreeMap<EnvironmentId, u64>) -> Result<BTreeMap<EnvironmentId, u64>, EngineError> {
        self.egress.set(allow).await
    }

    async fn egress_forget(&self, environment: EnvironmentId) -> Result<(), EngineError> {
        self.egress.forget(environment).await
    }

    async fn volumes_usage(&self, environment: EnvironmentId) -> Result<Vec<(AppName, VolumeName, u64)>, EngineError> {
        let filters = serde_json::json!({ "label": [
            format!("{}={}", names::INSTALLATION, self.installation),
            format!("{}={environment}", names::ENVIRONMENT),
        ] });
        let target = raw::path_with_query("/volumes", &[("filters", filters.to_string())]);
        let answer: VolumesAnswer = parsed(&ask(&self.socket, Method::GET, &target).await?)?;
        let mut usage = Vec::new();
        for volume in answer.volumes.unwrap_or_default() {
            let Some((_environment, app, name)) = names::read_volume_labels(&volume.labels.unwrap_or_default()) else {
                continue;
            };
            let bytes = tokio::task::spawn_blocking(move || disk::bytes_in(&volume.mountpoint))
                .await
                .map_err(|error| EngineError::Refused(error.to_string()))?
                .map_err(|error| EngineError::Refused(format!("the size of volume {name} cannot be read: {error}")))?;
            usage.push((app, name, bytes));
        }
        Ok(usage)
    }
}

#[derive(Debug, serde::Deserialize)]
struct VolumesAnswer {
    #[serde(rename = "Volumes")]
    volumes: Option<Vec<VolumeAnswer>>,
}

#[derive(Debug, serde::Deserialize)]
struct VolumeAnswer {
    #[serde(rename = "Labels")]
    labels: Option<HashMap<String, String>>,
    #[serde(rename = "Mountpoint")]
    mountpoint: PathBuf,
}

#[derive(Debug, serde::Deserialize)]
struct ContainerAnswer {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "State")]
    state: StateAnswer,
}

#[derive(Debug, serde::Deserialize)]
struct StateAnswer {
    #[serde(rename = "Pid")]
    process: i64,
}

/// The groups of a container by its name; `None` if it does not run.
async fn find_group(socket: &Path, name: &str) -> Result<Option<Group>, EngineError> {
    let answer = match ask(socket, Method::GET, &format!("/containers/{name}/json")).await {
        Ok(answer) => answer,
        Err(EngineError::NotFound(_)) => return Ok(None),
        Err(error) => return Err(error),
    };
    let found: ContainerAnswer = parsed(&answer)?;
    if found.state.process == 0 {
        return Ok(None);
    }
    Ok(Group::find(&found.id, Some(found.state.process)))
}

fn parsed<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(answer)
        .map_err(|error| EngineError::Refused(format!("the engine's answer is not understood: {error}")))
}

async fn ask(socket: &Path, method: Method, target: &str) -> Result<bytes::Bytes, EngineError> {
    let call = async {
        let answer = raw::send(socket, method, target, None, raw::Upgrade::None, raw::empty()).await?;
        answer.bytes(ANSWER_BYTES).await
    };
    tokio::time::timeout(ANSWER_PATIENCE, call)
        .await
        .map_err(|_elapsed| EngineError::Unreachable("it took too long to answer".to_owned()))?
}

/// A file of a group that has gone: its container has ended.
fn is_gone(error: &std::io::Error) -> bool {
    // ENODEV is what a file says that was open while its group went.
    error.kind() == std::io::ErrorKind::NotFound || error.raw_os_error() == Some(19)
}
