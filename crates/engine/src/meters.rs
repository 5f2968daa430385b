//! What is read and stopped by the one who pays: the second small trait of an engine. The node
//! uses it without the store, many times a second, so reading takes no call to the engine's
//! daemon, and stopping works although the daemon does not answer.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::EngineError;

/// What the kernel has counted for a running instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceUsage {
    /// CPU time since its start, in millionths of a second of one core. Begins anew with another
    /// start.
    pub cpu_us: u64,
    /// Whether it gets no CPU time at present, whoever has taken it.
    pub frozen: bool,
}

/// Where the kernel takes all CPU time from an instance: enough to do it without asking anybody.
/// Handed to the process that does so when the one that pays has died.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FreezePoint {
    /// The instance.
    pub instance: InstanceId,
    /// The folder of its control group.
    pub folder: PathBuf,
}

/// Meters and brakes of what runs.
#[async_trait]
pub trait Meters: Send + Sync + std::fmt::Debug {
    /// What an instance has used; `None` if it does not run. Cheap: two small files of the kernel.
    async fn usage(&self, instance: InstanceId) -> Result<Option<InstanceUsage>, EngineError>;
    /// Bytes of memory that an instance has in use, what the kernel could take back at once left out;
    /// `None` if it does not run, or the machine does not tell.
    async fn memory_bytes(&self, instance: InstanceId) -> Result<Option<u64>, EngineError>;
    /// Takes all CPU time from it, and returns once the kernel says so. Where the daemon does not
    /// answer within half a second, the kernel is told directly. Fine if it is frozen.
    async fn freeze(&self, instance: InstanceId) -> Result<(), EngineError>;
    /// Gives it back, whoever took it. Fine if it runs.
    async fn thaw(&self, instance: InstanceId) -> Result<(), EngineError>;
    /// Gives it at most so many thousandths of a core from now on, until it is started anew or told
    /// otherwise. The engine is not asked: for it the limit stays that of the start. Fine if it
    /// does not run.
    async fn limit_cpu(&self, instance: InstanceId, cpu_milli: u32) -> Result<(), EngineError>;
    /// Where it can be frozen by another process; `None` if it does not run.
    async fn freeze_point(&self, instance: InstanceId) -> Option<FreezePoint>;
    /// Freezes an instance at a place that was told before. Fine if it is gone; a place that is
    /// not that of an instance is refused.
    async fn freeze_at(&self, point: &FreezePoint) -> Result<(), EngineError>;

    /// Sets how many bytes each of these environments may have sent *in total* past the proxy to
    /// the world; the kernel drops what is more. Then tells how many each has sent, of all that
    /// are counted. Totals never fall while this process lives. An environment that was never
    /// named can send nothing. Traffic within an environment and to the machine itself is free.
    async fn egress(&self, allow: &BTreeMap<EnvironmentId, u64>) -> Result<BTreeMap<EnvironmentId, u64>, EngineError>;
    /// Stops counting an environment that has no instances any more. Fine if it is not counted.
    async fn egress_forget(&self, environment: EnvironmentId) -> Result<(), EngineError>;

    /// Bytes on disk of each volume of an environment.
    async fn volumes_usage(&self, environment: EnvironmentId) -> Result<Vec<(AppName, VolumeName, u64)>, EngineError>;
}
