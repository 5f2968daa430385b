//! Docker Engine over its socket, for one machine.
//!
//! Ordinary calls go through `bollard`; what must flow byte by byte (builds, logs, terminals)
//! goes through [`raw`], because the library waits for line ends there and cannot build with
//! BuildKit without a session. Nothing is kept here but what the engine told and can tell
//! again: everything that is created carries labels, and everything is found by them.
//!
//! How it fails: a daemon that is away makes every call `Unreachable`; `watch` says `Resync`
//! once it is back. A machine whose firewall or control groups may not be changed is used
//! without those protections, which is said once.

mod build;
mod build_limits;
mod container;
mod disk;
mod egress;
mod errors;
mod events;
mod firewall;
mod freezer;
mod groups;
mod image;
mod names;
mod network;
mod observe;
mod output;
mod progress;
mod raw;
mod session;
mod usage;

pub use freezer::{FreezerState, KernelFreezer};
pub use usage::DockerMeters;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bollard::{ClientVersion, Docker};
use bytes::Bytes;
use hyper::Method;
use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::{
    BoxStream, BuildEvent, Engine, EngineError, EngineEvent, ImageBuild, ImageFacts, InstanceSpec, Network,
    ObservedInstance, OutputChunk, Session, SessionId,
};

/// Where Docker Engine listens unless told otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";
/// Longest wait for the answer to an ordinary call.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest wait for an engine to say which version it is.
const HELLO_TIMEOUT: Duration = Duration::from_secs(5);
/// The newest version of the protocol that this code was written against.
const NEWEST_PROTOCOL: usize = 47;
/// Where an instance finds the machine's certificate authorities.
pub const CA_BUNDLE_PATH: &str = "/run/weir/ca-certificates.crt";

/// How Docker Engine is used.
#[derive(Debug, Clone)]
pub struct DockerOptions {
    /// Path of the engine's socket; `/var/run/docker.sock` if `None`.
    pub socket: Option<String>,
    /// Which Weir this is, in 4 to 12 lower-case hexadecimal characters: several live side by
    /// side on one machine and none sees what belongs to another. The first four characters
    /// should differ, too: they name the bridges that a firewall rule matches.
    pub installation: String,
    /// A file of certificate authorities that every instance is given (read-only) and told of
    /// by the variables that common programs read, for machines whose TLS is intercepted.
    pub ca_bundle: Option<PathBuf>,
    /// Whether the machine answers DNS on the gateway of each network; instances then ask there
    /// first.
    pub dns: bool,
    /// Ports of the ingress, which instances may reach on the machine.
    pub ingress_ports: Vec<u16>,
    /// Whether to keep instances from the machine's own services and from the metadata services
    /// of clouds (169.254.0.0/16 and others) by rules of iptables.
    pub firewall: bool,
    /// Whether the same rules hold for the engine's default bridge, where the commands of
    /// builds run. Containers on it that are not Weir's are then bound by them, too.
    pub guard_default_bridge: bool,
    /// Whether instances send past the proxy only what [`Meters::egress`](crate::Meters::egress)
    /// allows them, and nothing before.
    pub meter_egress: bool,
    /// Memory that all builds together may use, in bytes.
    pub build_memory_bytes: u64,
    /// CPU that all builds together may use, in thousandths of a core.
    pub build_cpu_milli: u32,
    /// Most processes and threads of all builds together.
    pub build_max_processes: u32,
}

impl DockerOptions {
    /// Memory that all builds together may use unless told otherwise, in bytes.
    pub const BUILD_MEMORY_BYTES: u64 = 4 << 30;
    /// CPU that all builds together may use unless told otherwise, in thousandths of a core.
    pub const BUILD_CPU_MILLI: u32 = 1_500;

    /// The defaults, for the Weir of this name.
    pub fn new(installation: impl Into<String>) -> Self {
        Self {
            socket: None,
            installation: installation.into(),
            ca_bundle: None,
            dns: false,
            ingress_ports: vec![8080],
            firewall: true,
            guard_default_bridge: true,
            meter_egress: false,
            build_memory_bytes: Self::BUILD_MEMORY_BYTES,
            build_cpu_milli: Self::BUILD_CPU_MILLI,
            build_max_processes: 4_096,
        }
    }
}

/// Docker Engine as what carries workloads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct DockerEngine {
    shared: Arc<Shared>,
}

/// What the clones of an engine have in common.
#[derive(Debug)]
struct Shared {
    options: DockerOptions,
    socket: PathBuf,
    client: Mutex<Option<Client>>,
    facts: observe::FactsCache,
    firewall: firewall::Firewall,
    meters: DockerMeters,
    egress_warned: AtomicBool,
    build_limits: build_limits::BuildLimits,
    /// One network is made at a time: two at once could choose the same addresses.
    network_creation: tokio::sync::Mutex<()>,
}

/// A connection to an engine of a known version.
#[derive(Debug, Clone)]
struct Client {
    docker: Docker,
    /// `/v1.41`, to be put before the path of a raw request.
    prefix: String,
}

impl DockerEngine {
    /// Connects. Fails if no engine answers or the installation is not a short hexadecimal name.
    /// An engine that goes away later is found again by itself.
    pub async fn connect(options: DockerOptions) -> Result<Self, EngineError> {
        let valid = (4..=12).contains(&options.installation.len())
            && options
                .installation
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !valid {
            return Err(EngineError::Refused(format!(
                "`{}` cannot name an installation: 4 to 12 characters of 0-9 and a-f are needed",
                options.installation
            )));
        }
        let socket = options.socket.as_deref().unwrap_or(DEFAULT_SOCKET);
        let socket = PathBuf::from(socket.strip_prefix("unix://").unwrap_or(socket));
        let engine = Self {
            shared: Arc::new(Shared {
                firewall: firewall::Firewall::new(&options),
                build_limits: build_limits::BuildLimits::new(&options),
                meters: DockerMeters::new(&options.installation, options.socket.as_deref()),
                egress_warned: AtomicBool::new(false),
                options,
                socket,
                client: Mutex::new(None),
                facts: observe::FactsCache::default(),
                network_creation: tokio::sync::Mutex::new(()),
            }),
        };
        engine.client().await?;
        engine.firewall_ensure().await;
        Ok(engine)
    }

    /// Puts the rules in place that keep instances from the machine's services; harmless when
    /// they are. What cannot be done is logged once.
    pub async fn firewall_ensure(&self) {
        self.shared.firewall.ensure().await;
        if !self.shared.options.meter_egress {
            return;
        }
        if let Err(error) = self.shared.meters.egress_ensure().await
            && !self.shared.egress_warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %error,
                "what apps send past the proxy is neither counted nor capped: run Weir as root with nftables installed"
            );
        }
    }

    /// Removes the rules of this installation. Instances that still run are then free to reach
    /// the machine's services.
    pub async fn teardown_firewall(&self) -> Result<(), EngineError> {
        if self.shared.options.meter_egress {
            self.shared.meters.egress_remove().await?;
        }
        self.shared.firewall.remove().await.map_err(EngineError::Refused)
    }

    fn installation(&self) -> &str {
        &self.shared.options.installation
    }

    fn socket(&self) -> &Path {
        &self.shared.socket
    }

    /// The client, made on first use: the version of the protocol is the engine's own, up to
    /// the newest that this code knows.
    async fn client(&self) -> Result<Client, EngineError> {
        if let Some(client) = self
            .shared
            .client
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
        {
            return Ok(client.clone());
        }
        let hello = async {
            let answer = raw::send(
                self.socket(),
                Method::GET,
                "/version",
                None,
                raw::Upgrade::None,
                raw::empty(),
            )
            .await?;
            answer.bytes(1 << 20).await
        };
        let answer = tokio::time::timeout(HELLO_TIMEOUT, hello)
            .await
            .map_err(|_elapsed| EngineError::Unreachable("it took too long to say its version".to_owned()))??;
        let minor_version = protocol_of(&answer)?;
        let version = ClientVersion {
            major_version: 1,
            minor_version,
        };
        let docker = Docker::connect_with_unix(&self.socket().to_string_lossy(), CALL_TIMEOUT.as_secs(), &version)
            .map_err(errors::from_client)?;
        let client = Client {
            docker,
            prefix: format!("/v1.{minor_version}"),
        };
        *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = Some(client.clone());
        Ok(client)
    }

    async fn docker(&self) -> Result<Docker, EngineError> {
        Ok(self.client().await?.docker)
    }

    /// Forgets the version of the engine, which may be another one after a restart.
    fn forget_client(&self) {
        *self.shared.client.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The version of the protocol to speak, from the engine's answer to `GET /version`.
fn protocol_of(answer: &[u8]) -> Result<usize, EngineError> {
    let minor =
        |value: &serde_json::Value, key: &str| value.get(key)?.as_str()?.strip_prefix("1.")?.parse::<usize>().ok();
    let value: serde_json::Value = serde_json::from_slice(answer)
        .map_err(|error| EngineError::Refused(format!("what answers on the socket is no Docker Engine: {error}")))?;
    let newest = minor(&value, "ApiVersion")
        .ok_or_else(|| EngineError::Refused("what answers on the socket is no Docker Engine".to_owned()))?;
    let oldest = minor(&value, "MinAPIVersion").unwrap_or(0);
    if newest < 41 {
        return Err(EngineError::Refused(format!(
            "this Docker Engine speaks protocol 1.{newest}; Weir needs 1.41, which is Docker 20.10 or newer"
        )));
    }
    Ok(newest.min(NEWEST_PROTOCOL).max(oldest))
}

#[async_trait]
impl Engine for DockerEngine {
    async fn ping(&self) -> Result<(), EngineError> {
        let docker = self.docker().await?.with_timeout(HELLO_TIMEOUT);
        docker.ping().await.map(|_ok| ()).map_err(errors::from_client)
    }

    async fn observe(&self, environment: Option<EnvironmentId>) -> Result<Vec<ObservedInstance>, EngineError> {
        self.observe_containers(environment).await
    }

    fn watch(&self) -> BoxStream<EngineEvent> {
        events::watch(self.clone())
    }

    async fn network_ensure(&self, environment: EnvironmentId) -> Result<Network, EngineError> {
        self.ensure_network(environment).await
    }

    async fn network_remove(&self, environment: EnvironmentId) -> Result<(), EngineError> {
        self.remove_network(environment).await
    }

    async fn network_list(&self) -> Result<Vec<(EnvironmentId, Network)>, EngineError> {
        self.list_networks().await
    }

    async fn volume_remove(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        self.remove_volume(environment, app, volume).await
    }

    async fn volume_folder(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<Option<PathBuf>, EngineError> {
        self.folder_of_volume(environment, app, volume).await
    }

    async fn volume_list(&self) -> Result<Vec<(EnvironmentId, AppName, VolumeName)>, EngineError> {
        self.list_volumes().await
    }

    async fn instance_start(&self, spec: &InstanceSpec) -> Result<(), EngineError> {
        self.start_container(spec).await
    }

    async fn instance_create(&self, spec: &InstanceSpec) -> Result<(), EngineError> {
        self.create_container(spec).await.map(|_created| ())
    }

    async fn instance_stop(&self, instance: InstanceId, grace_s: u32) -> Result<(), EngineError> {
        self.stop_container(instance, grace_s).await
    }

    async fn instance_remove(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.remove_container(instance).await
    }

    async fn instance_freeze(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.freeze_container(instance).await
    }

    async fn instance_thaw(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.thaw_container(instance).await
    }

    fn instance_output(&self, instance: InstanceId, after_ns: i64) -> BoxStream<Result<OutputChunk, EngineError>> {
        output::follow(self.clone(), instance, after_ns)
    }

    async fn instance_exec(
        &self,
        instance: InstanceId,
        command: &[String],
        terminal: bool,
    ) -> Result<Session, EngineError> {
        self.exec_session(instance, command, terminal).await
    }

    async fn instance_attach(&self, instance: InstanceId) -> Result<Session, EngineError> {
        self.attach_session(instance).await
    }

    async fn session_resize(&self, session: &SessionId, columns: u16, rows: u16) -> Result<(), EngineError> {
        self.resize_session(session, columns, rows).await
    }

    async fn session_status(&self, session: &SessionId) -> Result<i64, EngineError> {
        self.status_of_session(session).await
    }

    async fn image_build(&self, build: ImageBuild) -> Result<BoxStream<BuildEvent>, EngineError> {
        self.build_image(build).await
    }

    async fn image_import(
        &self,
        tag: &str,
        labels: &BTreeMap<String, String>,
        root: BoxStream<std::io::Result<Bytes>>,
    ) -> Result<String, EngineError> {
        self.import_image(tag, labels, root).await
    }

    async fn image_inspect(&self, image: &str) -> Result<Option<ImageFacts>, EngineError> {
        self.inspect_image(image).await
    }

    async fn image_pull(&self, reference: &str) -> Result<(), EngineError> {
        self.pull_image(reference).await
    }

    async fn image_list(&self, label: &str) -> Result<Vec<ImageFacts>, EngineError> {
        self.list_images(label).await
    }

    async fn image_remove(&self, image: &str) -> Result<(), EngineError> {
        self.remove_image(image).await
    }

    async fn build_cache_prune(&self, keep_bytes: u64) -> Result<(), EngineError> {
        self.prune_build_cache(keep_bytes).await
    }

    async fn leave(&self) -> Result<(), EngineError> {
        if self.observe(None).await?.is_empty() && self.network_list().await?.is_empty() {
            self.teardown_firewall().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_the_engines_own_up_to_the_newest_known() {
        let of = |text: &str| protocol_of(text.as_bytes());
        assert_eq!(of(r#"{"ApiVersion":"1.41","MinAPIVersion":"1.12"}"#), Ok(41));
        assert_eq!(of(r#"{"ApiVersion":"1.60","MinAPIVersion":"1.44"}"#), Ok(47));
        assert!(of(r#"{"ApiVersion":"1.30"}"#).is_err());
        assert!(of("<html>").is_err());
    }
}
