//! What carries workloads: one trait in the words of the domain, `docker` behind it for one
//! machine, and `sim`, a complete simulated twin for tests, with latency, failures and lies on
//! request. One contract test-suite runs on both.
//!
//! The trait is at the level of instances: the switch of releases has to know, drain, freeze
//! and thaw single instances. Everything that an engine creates carries labels, so that what
//! exists can be told from reality alone; an engine keeps no state of its own. Every call is
//! safe to repeat. No call waits longer than the time-outs it is given. Beside it stands a small
//! trait, [`Meters`], for the process that pays for what runs, and [`files`], for what lies in volumes.

pub mod docker;
pub mod files;
mod meters;
pub mod sim;

pub use meters::{FreezePoint, InstanceUsage, Meters};

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use weir_model::log::LogStream;
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId, UnixMillis, VolumeName};

/// A stream that ends by itself or when dropped.
pub type BoxStream<T> = Pin<Box<dyn Stream<Item = T> + Send>>;

/// Why an engine could not do something, as far as a caller can act on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The engine does not answer; trying again later may help.
    #[error("the container engine does not answer: {0}")]
    Unreachable(String),
    /// What was named does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Disk, addresses or memory ran out.
    #[error("the machine has no room left: {0}")]
    Exhausted(String),
    /// The engine refuses: a bad image, a command that cannot be started.
    #[error("{0}")]
    Refused(String),
}

impl EngineError {
    /// Whether the same call may succeed later without any change.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Exhausted(_))
    }
}

/// What an instance is to be. Two calls with the same identity mean the same instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Identity and place, written into labels.
    pub labels: InstanceLabels,
    /// Image by content (`sha256:…`) or reference.
    pub image: String,
    /// `/bin/sh -c` this, or what the image starts by itself.
    pub command: Option<String>,
    /// Complete environment, the platform's variables included.
    pub variables: BTreeMap<String, String>,
    /// Bytes.
    pub memory_bytes: u64,
    /// Thousandths of a core.
    pub cpu_milli: u32,
    /// Most processes and threads.
    pub max_processes: u32,
    /// Most open files.
    pub max_open_files: u32,
    /// Volume to absolute path.
    pub volumes: BTreeMap<VolumeName, String>,
    /// Names under which the other instances of the environment find it (`web`, `api`).
    /// It keeps them while it is frozen or not ready yet, so leave them empty where names must lead
    /// only to instances that serve.
    pub network_names: Vec<String>,
    /// A terminal is attached (`weir run`).
    pub terminal: bool,
    /// Standard input stays open (`weir run`).
    pub interactive: bool,
}

/// Identity and place of an instance, kept as labels of its container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLabels {
    /// Identity.
    pub instance: InstanceId,
    /// What it is for.
    pub role: InstanceRole,
    /// The environment.
    pub environment: EnvironmentId,
    /// The app.
    pub app: AppName,
    /// The process.
    pub process: ProcessName,
    /// The release that it runs.
    pub release: ReleaseId,
    /// The deployment that started it.
    pub deployment: DeploymentId,
    /// The port that it listens on, where it is routed.
    pub port: Option<u16>,
}

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InstanceRole {
    /// A running copy of a process.
    Instance,
    /// Runs a release command, once.
    Release,
    /// Runs a command that a person asked for, once.
    Run,
}

/// What really exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObservedInstance {
    /// Identity and place, read back from its labels.
    pub labels: InstanceLabels,
    /// What it does.
    pub state: InstanceState,
    /// Its address on the environment's network, while it runs or is frozen.
    pub address: Option<IpAddr>,
    /// When it was started, by the engine's clock.
    pub started_ms: UnixMillis,
}

/// What an instance does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InstanceState {
    /// Exists and was not started, or is just starting.
    Created,
    /// Runs.
    Running,
    /// Runs, but gets no CPU time.
    Frozen,
    /// Ended.
    Exited {
        /// Exit status; 128 + signal where a signal ended it.
        status: i64,
        /// The kernel ended it because it reached its memory limit.
        out_of_memory: bool,
    },
}

/// The private network of an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The machine's own address on it.
    pub gateway: IpAddr,
}

/// Something changed; what, is to be observed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// An instance of this environment changed.
    Changed(EnvironmentId),
    /// Events may have been lost (the engine was away); observe everything.
    Resync,
}

/// A piece of what an instance wrote, as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputChunk {
    /// When, in nanoseconds since the Unix epoch, so that reading can go on behind it.
    pub at_ns: i64,
    /// Standard output or standard error.
    pub stream: LogStream,
    /// One line, without line end, or a part of a very long one.
    pub text: Bytes,
}

/// A build of an image.
pub struct ImageBuild {
    /// A tar stream: the source with the Dockerfile in it.
    pub context: BoxStream<std::io::Result<Bytes>>,
    /// Path of the Dockerfile in the context.
    pub dockerfile: String,
    /// Stage to build, if not the last.
    pub target: Option<String>,
    /// Build arguments; they may stay visible in the image's history.
    pub arguments: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Reference to tag the result with.
    pub tag: String,
    /// Longest time for the whole build, in seconds.
    pub timeout_s: u32,
}

impl std::fmt::Debug for ImageBuild {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Arguments may carry secrets.
        f.debug_struct("ImageBuild")
            .field("tag", &self.tag)
            .finish_non_exhaustive()
    }
}

/// What a build says while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step begins (`[3/6] RUN pip install …`) or was found in the cache.
    Step {
        /// The step in the builder's words.
        name: String,
        /// Its result was there already.
        cached: bool,
    },
    /// A line that a command of the build wrote.
    Output(String),
    /// The image is there.
    Done {
        /// By content (`sha256:…`).
        image: String,
    },
    /// The build failed; nothing follows.
    Failed {
        /// The builder's words.
        message: String,
    },
}

/// What can be told about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFacts {
    /// By content (`sha256:…`).
    pub id: String,
    /// Bytes on disk, shared layers counted in full.
    pub size_bytes: u64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// TCP ports that it says it listens on.
    pub exposed_ports: Vec<u16>,
    /// Whether it starts something by itself.
    pub has_command: bool,
    /// Absolute paths that it declares as volumes.
    pub volumes: Vec<String>,
    /// When it was made.
    pub created_ms: UnixMillis,
}

/// A command in a running instance, or the attached main process of a one-off container.
pub struct Session {
    /// What the command reads; dropping it closes its standard input.
    pub input: Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
    /// What the command writes; ends with its exit.
    pub output: BoxStream<Result<(LogStream, Bytes), EngineError>>,
    /// Identity for `session_resize` and `session_status`.
    pub id: SessionId,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Which session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionId {
    /// A command in a running instance, by the engine's own identifier.
    Exec(String),
    /// The main process of an instance.
    Attach(InstanceId),
}

/// What carries workloads.
#[async_trait]
pub trait Engine: Send + Sync + std::fmt::Debug {
    /// Fails unless the engine answers.
    async fn ping(&self) -> Result<(), EngineError>;

    /// Everything of this Weir that exists, whatever its state; of one environment if named.
    async fn observe(&self, environment: Option<EnvironmentId>) -> Result<Vec<ObservedInstance>, EngineError>;

    /// Tells of changes until dropped. Begins with `Resync`, and says it again after every
    /// interruption; reconnects by itself.
    fn watch(&self) -> BoxStream<EngineEvent>;

    /// The environment's private network; created if it is missing.
    async fn network_ensure(&self, environment: EnvironmentId) -> Result<Network, EngineError>;
    /// Removes it; nothing may be on it any more. Fine if it is gone.
    async fn network_remove(&self, environment: EnvironmentId) -> Result<(), EngineError>;
    /// Networks of this Weir that exist.
    async fn network_list(&self) -> Result<Vec<(EnvironmentId, Network)>, EngineError>;

    /// Removes a volume with all its data. Fine if it is gone.
    async fn volume_remove(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<(), EngineError>;
    /// Where the files of a volume are on this machine; `None` if it does not exist. To be used by
    /// [`files`] only: what is in there belongs to an app, links included.
    async fn volume_folder(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<Option<PathBuf>, EngineError>;
    /// Volumes of this Weir that exist.
    async fn volume_list(&self) -> Result<Vec<(EnvironmentId, AppName, VolumeName)>, EngineError>;

    /// Creates (with volumes that are missing) and starts an instance. An instance with this
    /// identity that exists and was never started is started; one that runs is left alone.
    async fn instance_start(&self, spec: &InstanceSpec) -> Result<(), EngineError>;
    /// Creates it without starting it, so that a terminal can be attached before its first byte.
    async fn instance_create(&self, spec: &InstanceSpec) -> Result<(), EngineError>;
    /// SIGTERM, at most `grace_s` seconds, then SIGKILL; thaws a frozen one first. Returns once
    /// it has ended. Fine if it is gone.
    async fn instance_stop(&self, instance: InstanceId, grace_s: u32) -> Result<(), EngineError>;
    /// Removes it, ending it at once if it runs. Fine if it is gone.
    async fn instance_remove(&self, instance: InstanceId) -> Result<(), EngineError>;
    /// Takes all CPU time from it. Fine if it is frozen.
    async fn instance_freeze(&self, instance: InstanceId) -> Result<(), EngineError>;
    /// Gives it back. Fine if it runs.
    async fn instance_thaw(&self, instance: InstanceId) -> Result<(), EngineError>;
    /// What it wrote after `after_ns` (nanoseconds since the Unix epoch), oldest first, and goes
    /// on until it ends.
    fn instance_output(&self, instance: InstanceId, after_ns: i64) -> BoxStream<Result<OutputChunk, EngineError>>;
    /// Runs a command in it.
    async fn instance_exec(
        &self,
        instance: InstanceId,
        command: &[String],
        terminal: bool,
    ) -> Result<Session, EngineError>;
    /// Attaches to the main process of one that was created and not started.
    async fn instance_attach(&self, instance: InstanceId) -> Result<Session, EngineError>;
    /// Sets the size of a session's terminal, in characters.
    async fn session_resize(&self, session: &SessionId, columns: u16, rows: u16) -> Result<(), EngineError>;
    /// The exit status of a session whose output has ended.
    async fn session_status(&self, session: &SessionId) -> Result<i64, EngineError>;

    /// Builds an image. Dropping the stream cancels the build.
    async fn image_build(&self, build: ImageBuild) -> Result<BoxStream<BuildEvent>, EngineError>;
    /// Makes an image of one layer out of a tar stream of a root file system.
    async fn image_import(
        &self,
        tag: &str,
        labels: &BTreeMap<String, String>,
        root: BoxStream<std::io::Result<Bytes>>,
    ) -> Result<String, EngineError>;
    /// What is known of an image by reference or content; `None` if it is not on this machine.
    async fn image_inspect(&self, image: &str) -> Result<Option<ImageFacts>, EngineError>;
    /// Fetches an image from its registry.
    async fn image_pull(&self, reference: &str) -> Result<(), EngineError>;
    /// Images that carry a label.
    async fn image_list(&self, label: &str) -> Result<Vec<ImageFacts>, EngineError>;
    /// Removes an image. Fine if it is gone or in use.
    async fn image_remove(&self, image: &str) -> Result<(), EngineError>;
    /// Shrinks the builder's cache to at most so many bytes.
    async fn build_cache_prune(&self, keep_bytes: u64) -> Result<(), EngineError>;

    /// Control stops. If nothing of this Weir is left, what it set on the machine for the sake
    /// of its instances (rules of the firewall) is taken back; while anything runs, it stays.
    async fn leave(&self) -> Result<(), EngineError>;
}
