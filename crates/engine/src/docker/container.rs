//! The life of a container: create, start, freeze, thaw, stop, remove.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use bollard::errors::Error;
use bollard::models::{
    ContainerCreateBody, ContainerStateStatusEnum as Status, EndpointSettings, HostConfig, HostConfigLogConfig, Mount,
    MountTypeEnum, NetworkingConfig, ResourcesUlimits, VolumeCreateRequest,
};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
    StopContainerOptionsBuilder,
};
use weir_model::InstanceId;

use crate::{EngineError, InstanceSpec, Meters as _};

use super::{CA_BUNDLE_PATH, DockerEngine, errors, names};

/// All capabilities are dropped but these, without which common images do not start. All of
/// them act only on the container's own files and processes.
///
/// - `CHOWN`, `FOWNER`, `DAC_OVERRIDE`: entry points that run as root hand data folders over to
///   the user that the service runs as (PostgreSQL, Redis, nginx).
/// - `SETUID`, `SETGID`: and then become that user; servers start workers as another user.
/// - `KILL`: a supervisor that is root stops those workers.
/// - `NET_BIND_SERVICE`: programs that carry it as a file capability (Caddy) could not even be
///   executed without it, and port 80 inside of a container is nobody else's.
///
/// Left out on purpose: `NET_RAW` (spoofing on the bridge), `MKNOD`, `SYS_CHROOT`, `SETPCAP`,
/// `SETFCAP`, `FSETID`, `AUDIT_WRITE`.
const CAPABILITIES: [&str; 7] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
];

/// When memory is short, the kernel ends instances before the platform.
const OOM_SCORE_ADJ: i64 = 500;
/// A second of CPU time is dealt out in so many periods of so many microseconds.
const CPU_PERIOD_US: i64 = 100_000;
/// How long a container whose removal goes on already is waited for.
const REMOVAL_TIMEOUT: Duration = Duration::from_secs(20);
/// Pause between two looks at such a container.
const REMOVAL_POLL: Duration = Duration::from_millis(50);

/// Variables by which common programs are told of certificate authorities.
const CA_VARIABLES: [&str; 6] = [
    "SSL_CERT_FILE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
];

/// Whether a container was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Created {
    /// It was made now.
    Now,
    /// It was there.
    Before,
}

impl DockerEngine {
    /// Creates what is missing and starts what was never started.
    pub(super) async fn start_container(&self, spec: &InstanceSpec) -> Result<(), EngineError> {
        let created = self.create_container(spec).await?;
        let docker = self.docker().await?;
        let name = names::container(self.installation(), spec.labels.instance);
        if created == Created::Before && self.status_of(spec.labels.instance).await? != Some(Status::CREATED) {
            return Ok(());
        }
        let Err(error) = docker.start_container(&name, None::<StartContainerOptions>).await else {
            return Ok(());
        };
        let error = start_error(error);
        if !error.retryable() {
            // What cannot be started is not left behind as something that may start some day.
            self.remove_container(spec.labels.instance).await?;
        }
        Err(error)
    }

    /// Creates a container, its network and its volumes, as far as they are missing.
    pub(super) async fn create_container(&self, spec: &InstanceSpec) -> Result<Created, EngineError> {
        let name = names::container(self.installation(), spec.labels.instance);
        if self.status_of(spec.labels.instance).await?.is_some() {
            return Ok(Created::Before);
        }
        let gateway = self.ensure_network(spec.labels.environment).await?.gateway;
        let docker = self.docker().await?;
        for volume in spec.volumes.keys() {
            let request = VolumeCreateRequest {
                name: Some(names::volume(
                    self.installation(),
                    spec.labels.environment,
                    &spec.labels.app,
                    volume,
                )),
                labels: Some(names::volume_labels(
                    self.installation(),
                    spec.labels.environment,
                    &spec.labels.app,
                    volume,
                )),
                ..Default::default()
            };
            docker.create_volume(request).await.map_err(errors::from_client)?;
        }
        let options = CreateContainerOptionsBuilder::new().name(&name).build();
        match docker
            .create_container(Some(options), self.container_body(spec, gateway))
            .await
        {
            Ok(_created) => Ok(Created::Now),
            Err(error) if errors::is_conflict(&error) => Ok(Created::Before),
            Err(error) if errors::is_gone(&error) && error.to_string().contains("image") => {
                Err(EngineError::Refused(format!(
                    "the image {} is not on this machine; deploy once more to build it",
                    spec.image
                )))
            }
            Err(error) => Err(errors::from_client(error)),
        }
    }

    fn container_body(&self, spec: &InstanceSpec, gateway: IpAddr) -> ContainerCreateBody {
        let labels = &spec.labels;
        let network = names::network(self.installation(), labels.environment);
        let endpoint = EndpointSettings {
            aliases: Some(spec.network_names.clone()),
            ..Default::default()
        };
        let id = labels.instance.to_string();
        let tail = id.get(id.len().saturating_sub(6)..).unwrap_or(&id);
        ContainerCreateBody {
            hostname: Some(format!("{}-{tail}", labels.process)),
            image: Some(spec.image.clone()),
            entrypoint: spec
                .command
                .as_ref()
                .map(|_command| vec!["/bin/sh".to_owned(), "-c".to_owned()]),
            cmd: spec.command.as_ref().map(|command| vec![command.clone()]),
            env: Some(self.variables(&spec.variables)),
            labels: Some(names::instance_labels(self.installation(), labels)),
            tty: Some(spec.terminal),
            open_stdin: Some(spec.interactive),
            stdin_once: Some(spec.interactive),
            attach_stdin: Some(spec.interactive),
            host_config: Some(self.host_config(spec, &network, gateway)),
            networking_config: Some(NetworkingConfig {
                endpoints_config: Some(HashMap::from([(network, endpoint)])),
            }),
            ..Default::default()
        }
    }

    fn host_config(&self, spec: &InstanceSpec, network: &str, gateway: IpAddr) -> HostConfig {
        let memory = i64::try_from(spec.memory_bytes).unwrap_or(i64::MAX);
        let cpu_milli = i64::from(spec.cpu_milli.max(10));
        let open_files = i64::from(spec.max_open_files);
        let limit = |name: &str, value: i64| ResourcesUlimits {
            name: Some(name.to_owned()),
            soft: Some(value),
            hard: Some(value),
        };
        let mut dns = if self.shared.options.dns {
            vec![gateway.to_string()]
        } else {
            Vec::new()
        };
        dns.extend(host_resolvers());
        HostConfig {
            network_mode: Some(network.to_owned()),
            dns: (!dns.is_empty()).then_some(dns),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(CAPABILITIES.map(str::to_owned).to_vec()),
            security_opt: Some(vec!["no-new-privileges:true".to_owned()]),
            memory: Some(memory),
            // The same as memory: no swap, which would only make an app slow before it dies.
            memory_swap: Some(memory),
            // A quota rather than `nano_cpus`, which refuses more than the machine has.
            cpu_period: Some(CPU_PERIOD_US),
            cpu_quota: Some(cpu_milli.saturating_mul(CPU_PERIOD_US / 1000)),
            cpu_shares: Some((cpu_milli * 1024 / 1000).clamp(2, 262_144)),
            pids_limit: Some(i64::from(spec.max_processes)),
            // A core dump would fill the disk with the app's secrets.
            ulimits: Some(vec![limit("nofile", open_files), limit("core", 0)]),
            oom_score_adj: Some(OOM_SCORE_ADJ),
            // An init reaps zombies, and hands SIGTERM on to programs that as process 1 would
            // never get it.
            init: Some(true),
            log_config: Some(HostConfigLogConfig {
                typ: Some("local".to_owned()),
                // Blocking, which is the default: an app that floods its log is itself slowed,
                // nothing else. Not compressed: that would cost the engine more than the app.
                config: Some(HashMap::from(
                    [("max-size", "2m"), ("max-file", "2"), ("compress", "false")]
                        .map(|(key, value)| (key.to_owned(), value.to_owned())),
                )),
            }),
            mounts: Some(self.mounts(spec)),
            ..Default::default()
        }
    }

    fn mounts(&self, spec: &InstanceSpec) -> Vec<Mount> {
        let labels = &spec.labels;
        let mut mounts: Vec<Mount> = spec
            .volumes
            .iter()
            .map(|(volume, path)| Mount {
                typ: Some(MountTypeEnum::VOLUME),
                source: Some(names::volume(
                    self.installation(),
                    labels.environment,
                    &labels.app,
                    volume,
                )),
                target: Some(path.clone()),
                ..Default::default()
            })
            .collect();
        if let Some(bundle) = self.ca_bundle() {
            mounts.push(Mount {
                typ: Some(MountTypeEnum::BIND),
                source: Some(bundle),
                target: Some(CA_BUNDLE_PATH.to_owned()),
                read_only: Some(true),
                ..Default::default()
            });
        }
        mounts
    }

    /// The bundle to hand to instances, if it is there: a missing file must not keep apps from
    /// starting.
    fn ca_bundle(&self) -> Option<String> {
        let bundle = self
            .shared
            .options
            .ca_bundle
            .as_ref()
            .filter(|bundle| bundle.is_file())?;
        Some(bundle.to_string_lossy().into_owned())
    }

    fn variables(&self, variables: &BTreeMap<String, String>) -> Vec<String> {
        let mut list: Vec<String> = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if self.ca_bundle().is_some() {
            let missing = CA_VARIABLES.iter().filter(|name| !variables.contains_key(**name));
            list.extend(missing.map(|name| format!("{name}={CA_BUNDLE_PATH}")));
        }
        list
    }

    /// What the engine says of a container; `None` if there is none.
    pub(super) async fn status_of(&self, instance: InstanceId) -> Result<Option<Status>, EngineError> {
        let name = names::container(self.installation(), instance);
        match self
            .docker()
            .await?
            .inspect_container(&name, None::<InspectContainerOptions>)
            .await
        {
            Ok(found) => Ok(Some(
                found.state.and_then(|state| state.status).unwrap_or(Status::EMPTY),
            )),
            Err(error) if errors::is_gone(&error) => Ok(None),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    /// Takes all CPU time from a container. The engine's own call rather than the freezer of
    /// the kernel, so that everybody who asks the engine sees it.
    pub(super) async fn freeze_container(&self, instance: InstanceId) -> Result<(), EngineError> {
        let name = names::container(self.installation(), instance);
        let Err(error) = self.docker().await?.pause_container(&name).await else {
            return Ok(());
        };
        match self.status_of(instance).await? {
            Some(Status::PAUSED) => Ok(()),
            Some(Status::RUNNING) if self.shared.meters.is_frozen(instance).await => Ok(()),
            Some(Status::RUNNING) => Err(errors::from_client(error)),
            Some(_other) => Err(EngineError::Refused(format!(
                "the instance {instance} does not run and cannot be frozen"
            ))),
            None => Err(EngineError::NotFound(format!("the instance {instance}"))),
        }
    }

    /// Gives it back.
    pub(super) async fn thaw_container(&self, instance: InstanceId) -> Result<(), EngineError> {
        let name = names::container(self.installation(), instance);
        let Err(error) = self.docker().await?.unpause_container(&name).await else {
            return Ok(());
        };
        match self.status_of(instance).await? {
            Some(Status::RUNNING | Status::RESTARTING) => self.thaw_behind(instance).await,
            Some(Status::PAUSED) => Err(errors::from_client(error)),
            Some(_other) => Err(EngineError::Refused(format!(
                "the instance {instance} does not run and cannot be thawed"
            ))),
            None => Err(EngineError::NotFound(format!("the instance {instance}"))),
        }
    }

    /// Gives CPU time back to a container that the engine believes to run.
    async fn thaw_behind(&self, instance: InstanceId) -> Result<(), EngineError> {
        if !self.shared.meters.is_frozen(instance).await {
            return Ok(());
        }
        match self.shared.meters.thaw(instance).await {
            Err(EngineError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    /// SIGTERM (or the signal that the image asks for), grace, SIGKILL.
    pub(super) async fn stop_container(&self, instance: InstanceId, grace_s: u32) -> Result<(), EngineError> {
        match self.status_of(instance).await? {
            None | Some(Status::EXITED | Status::CREATED | Status::DEAD | Status::REMOVING) => return Ok(()),
            Some(Status::PAUSED) => match self.thaw_container(instance).await {
                Ok(()) | Err(EngineError::NotFound(_)) => {}
                // It may have ended meanwhile, which is what is wanted.
                Err(EngineError::Refused(_)) => {}
                Err(error) => return Err(error),
            },
            // One that was frozen behind the engine's back would never hear SIGTERM.
            Some(_running) => self.thaw_behind(instance).await?,
        }
        let name = names::container(self.installation(), instance);
        let docker = self.docker().await?;
        let docker = docker.with_timeout(Duration::from_secs(u64::from(grace_s) + 30));
        let options = StopContainerOptionsBuilder::new()
            .t(i32::try_from(grace_s).unwrap_or(i32::MAX))
            .build();
        match docker.stop_container(&name, Some(options)).await {
            Ok(()) => Ok(()),
            Err(error) if errors::is_gone(&error) => Ok(()),
            Err(error) => Err(errors::from_client(error)),
        }
    }

    /// Removes a container with the volumes that nobody named, and returns once it is gone.
    pub(super) async fn remove_container(&self, instance: InstanceId) -> Result<(), EngineError> {
        let name = names::container(self.installation(), instance);
        let docker = self.docker().await?;
        let options = || Some(RemoveContainerOptionsBuilder::new().force(true).v(true).build());
        let deadline = tokio::time::Instant::now() + REMOVAL_TIMEOUT;
        loop {
            match docker.remove_container(&name, options()).await {
                Ok(()) => return Ok(()),
                Err(error) if errors::is_gone(&error) => return Ok(()),
                // Somebody removes it already, or a frozen one could not be ended by force.
                Err(error) if tokio::time::Instant::now() > deadline => return Err(errors::from_client(error)),
                Err(error) if errors::is_conflict(&error) => {
                    if self.status_of(instance).await? == Some(Status::PAUSED) {
                        self.thaw_container(instance).await?;
                    }
                    tokio::time::sleep(REMOVAL_POLL).await;
                }
                Err(error) => return Err(errors::from_client(error)),
            }
        }
    }
}

/// Why a container did not start, without the layers of programs that passed the message on.
fn start_error(error: Error) -> EngineError {
    match errors::from_client(error) {
        EngineError::Refused(message) | EngineError::NotFound(message) => {
            let words = message
                .split_once("OCI runtime create failed: ")
                .map_or(message.as_str(), |(_before, words)| words)
                .trim_end_matches(": unknown");
            EngineError::Refused(format!("the container cannot be started: {words}"))
        }
        other => other,
    }
}

/// The machine's resolvers as far as a container can reach them. A resolver on the loopback
/// address (systemd-resolved) is one's own; what it asks is written beside.
fn host_resolvers() -> Vec<String> {
    for path in ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"] {
        let resolvers = parse_resolvers(&std::fs::read_to_string(path).unwrap_or_default());
        if !resolvers.is_empty() {
            return resolvers;
        }
    }
    Vec::new()
}

fn parse_resolvers(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok())
        .filter(|address| !address.is_loopback())
        .map(|address| address.to_string())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_on_the_loopback_address_are_left_out() {
        let text = "# made by hand\nnameserver 127.0.0.53\nnameserver 10.0.0.2\noptions edns0\nnameserver ::1\n";
        assert_eq!(parse_resolvers(text), ["10.0.0.2"]);
    }
}
