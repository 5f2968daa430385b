//! What an app is: the specification that a release carries, complete and with every default
//! filled in. The readers of `weir.toml` and `Procfile` and the detection of languages end
//! here; nothing after them looks at source files again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::access_log::AccessLogging;
use crate::cache::CacheSpec;
use crate::protection::ProtectionSpec;
use crate::scaling::Scaling;
use crate::tcp::TcpSpec;
use crate::{AppName, ClassName, ProcessName, VolumeName};

/// One app of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Unique in the project.
    pub name: AppName,
    /// What runs, by name; `web` is routed. Never contains `release`.
    pub processes: BTreeMap<ProcessName, ProcessSpec>,
    /// Runs once per deployment, in a container of the new image, before anything is switched.
    pub release: Option<ReleaseCommand>,
    /// What survives releases, rollbacks and restarts.
    pub volumes: BTreeMap<VolumeName, VolumeSpec>,
    /// Path prefixes under the app's hosts that go to other processes than `web`, or are of a
    /// class. The longest prefix wins; what matches none goes to `web`.
    pub routes: Vec<RouteSpec>,
    /// Variables from `weir.toml`; those that are set in the environment override them.
    pub variables: BTreeMap<String, String>,
    /// How long upgraded connections (websockets) may go on after a switch, in seconds.
    pub drain_s: u32,
    /// Whether its requests are logged, unless `weir access-log` says otherwise.
    #[serde(default)]
    pub access_log: AccessLogging,
    /// Kinds of requests with places and a queue of their own; routes name them.
    #[serde(default)]
    pub classes: BTreeMap<ClassName, ClassSpec>,
    /// What is let through to the app.
    #[serde(default)]
    pub protection: ProtectionSpec,
    /// What is done with its answers on their way.
    #[serde(default)]
    pub cache: CacheSpec,
    /// What is reached by TCP and not by HTTP.
    #[serde(default)]
    pub tcp: Vec<TcpSpec>,
}

impl AppSpec {
    /// Whether two releases of this app must never run at once, because a volume of it admits
    /// one writer. Such an app is switched by holding requests.
    pub fn is_exclusive(&self) -> bool {
        self.volumes.values().any(|volume| volume.writers == Writers::One)
    }

    /// Whether instances of this process are reached through the ingress.
    pub fn is_routed(&self, process: &ProcessName) -> bool {
        process.is_web()
            || self.routes.iter().any(|route| route.process == *process)
            || self.tcp.iter().any(|service| service.process == *process)
    }
}

/// How one process of an app runs. Limits are always set; there is no "unlimited".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The command line for `/bin/sh -c`, or `None` for what the image starts by itself.
    pub command: Option<String>,
    /// How many instances run unless `weir scale` says otherwise; 0 to 100.
    pub instances: u32,
    /// Memory limit of an instance, in bytes; at least 16 MiB.
    pub memory_bytes: u64,
    /// CPU limit of an instance, in thousandths of a core; at least 50.
    pub cpu_milli: u32,
    /// Most processes and threads of an instance.
    pub max_processes: u32,
    /// Most open files of an instance.
    pub max_open_files: u32,
    /// The port that a routed instance listens on; handed to it as `PORT`.
    pub port: u16,
    /// How many requests an instance gets at once; further ones wait at the ingress.
    pub concurrency: u32,
    /// Longest wait for the first byte of an answer, in seconds.
    pub request_timeout_s: u32,
    /// How readiness and health of a routed instance are judged.
    pub check: Check,
    /// Time between SIGTERM and SIGKILL, in seconds.
    pub grace_s: u32,
    /// How the number of instances follows what is asked of it, and what becomes of quiet ones.
    #[serde(default)]
    pub scaling: Scaling,
}

impl Default for ProcessSpec {
    /// The defaults that protect: 512 MiB, one core, one instance, 20 requests at once.
    fn default() -> Self {
        Self {
            command: None,
            instances: 1,
            memory_bytes: 512 << 20,
            cpu_milli: 1000,
            max_processes: 512,
            max_open_files: 16_384,
            port: 8000,
            concurrency: 20,
            request_timeout_s: 60,
            check: Check::default(),
            grace_s: 10,
            scaling: Scaling::default(),
        }
    }
}

/// How readiness and health of a routed instance are judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// `None`: `GET /` must answer below 500. `Some(path)`: it must answer 200 to 399.
    pub path: Option<String>,
    /// It must accept a connection, and is asked nothing; for processes that speak no HTTP.
    #[serde(default)]
    pub tcp: bool,
    /// How long an instance may take until its first passed check, in seconds.
    pub ready_timeout_s: u32,
    /// Pause between checks of a live instance, in seconds.
    pub interval_s: u32,
    /// Longest wait for the answer to one check, in seconds.
    pub timeout_s: u32,
    /// So many failed checks in a row and the instance is replaced.
    pub failures: u32,
}

impl Default for Check {
    fn default() -> Self {
        Self {
            path: None,
            tcp: false,
            ready_timeout_s: 60,
            interval_s: 10,
            timeout_s: 5,
            failures: 3,
        }
    }
}

/// The command of the `release` process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseCommand {
    /// The command line for `/bin/sh -c`.
    pub command: String,
    /// Longest run, in seconds.
    pub timeout_s: u32,
}

/// A folder that survives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Absolute path in the instance.
    pub path: String,
    /// How many instances may have it open at once.
    pub writers: Writers,
}

/// How many instances may have a volume open at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Writers {
    /// One: releases never overlap and a process has one instance at most.
    One,
    /// Any number: the app coordinates itself.
    Many,
}

/// A path prefix that goes to a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteSpec {
    /// Begins with `/`; matches whole segments (`/api` matches `/api` and `/api/x`).
    pub path_prefix: String,
    /// The process that answers.
    pub process: ProcessName,
    /// Methods that it is for, in capitals; empty: all of them.
    #[serde(default)]
    pub methods: Vec<String>,
    /// The class of its requests; none: the default one.
    #[serde(default)]
    pub class: Option<ClassName>,
    /// What is let through under this path, on top of what holds for the app.
    #[serde(default)]
    pub protection: ProtectionSpec,
    /// Whether answers under this path are kept, where the app's are.
    #[serde(default = "kept")]
    pub cache: bool,
}

fn kept() -> bool {
    true
}

/// Most classes of an app, the default one not counted.
pub const MOST_CLASSES: usize = 16;

/// What requests of one class may use. It is theirs alone: other classes of the process cannot
/// take it, and they cannot take more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSpec {
    /// How many of them an instance gets at once, out of the process's `concurrency`; from 1.
    pub concurrency: u32,
    /// How many wait for a place; further ones get a 503.
    pub queue: u32,
    /// Longest wait for a place, in seconds.
    pub queue_timeout_s: u32,
    /// Longest wait for the first byte of an answer, in seconds; none: the process's.
    pub request_timeout_s: Option<u32>,
}
