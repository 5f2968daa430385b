//! Builds at low priority and within limits, so that they do not slow running apps.
//!
//! Newer engines (23 and later) put the containers of a build under the control group that the
//! request names. Older ones do not, and use `docker/buildkit` where they manage groups
//! themselves, or a scope of systemd of its own for each command. So the limits are set on
//! every group in which commands of builds can be: before the build where it can exist before,
//! and while the build goes on where it appears only then. They hold for all builds together,
//! except with systemd and an old engine, where they hold for each command.
//!
//! Where several Weirs on one machine share a group, the strictest limits hold (`claims`).

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bollard::Docker;

use self::claims::{Claim, Turn};
use super::DockerOptions;

mod claims;

/// Where the kernel's control groups are.
const ROOT: &str = "/sys/fs/cgroup";
/// A tenth of what a container of one core gets when both want the CPU.
const CPU_SHARES: u32 = 102;
/// The same in the second version, where 100 is usual.
const CPU_WEIGHT: u32 = 10;
/// Where older engines put the builds of everybody, if they manage groups themselves.
const COMMON_GROUP: &str = "docker/buildkit";
/// Where the Weirs of this machine tell each other their limits.
const CLAIMS: &str = "/run/weir-builds";
/// Microseconds in which a quota of CPU time is dealt out.
const CPU_PERIOD_US: u64 = 100_000;
/// Pause between two looks for groups that a build has made.
const WATCH_PAUSE: Duration = Duration::from_millis(250);
/// An identifier of a container has so many characters; that of a build's command has fewer.
const CONTAINER_ID_CHARS: usize = 64;

/// What builds may use.
#[derive(Debug)]
pub(super) struct BuildLimits {
    limits: Arc<Limits>,
    warned: AtomicBool,
}

#[derive(Debug)]
struct Limits {
    installation: String,
    bounds: Bounds,
    /// Made with the first build; holds as long as this Weir lives.
    claim: Mutex<Option<Claim>>,
}

/// What all builds of a group may use together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    memory_bytes: u64,
    cpu_milli: u32,
    max_processes: u32,
}

/// Who manages the groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Driver {
    /// The engine itself.
    Cgroupfs,
    /// systemd.
    Systemd,
}

/// Looks for new groups of a build until dropped.
#[derive(Debug)]
pub(super) struct Watch(tokio::task::JoinHandle<()>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl BuildLimits {
    pub(super) fn new(options: &DockerOptions) -> Self {
        Self {
            limits: Arc::new(Limits {
                installation: options.installation.clone(),
                bounds: Bounds {
                    memory_bytes: options.build_memory_bytes,
                    cpu_milli: options.build_cpu_milli,
                    max_processes: options.build_max_processes,
                },
                claim: Mutex::default(),
            }),
            warned: AtomicBool::new(false),
        }
    }

    /// Sets the limits where that can be done before a build. Gives the group to ask the engine
    /// for. What fails is logged the first time; the build goes on.
    pub(super) async fn prepare(&self, docker: &Docker) -> String {
        let info = docker.info().await.unwrap_or_default();
        let driver = match info.cgroup_driver {
            Some(bollard::models::SystemInfoCgroupDriverEnum::SYSTEMD) => Driver::Systemd,
            _ => Driver::Cgroupfs,
        };
        if driver == Driver::Systemd {
            return self.limits.slice();
        }
        let limits = Arc::clone(&self.limits);
        let applied = tokio::task::spawn_blocking(move || limits.apply_to_groups()).await;
        let applied = applied.unwrap_or_else(|broken| Err(io::Error::other(broken)));
        if let Err(error) = applied
            && !self.warned.swap(true, Ordering::Relaxed)
        {
            tracing::warn!(
                %error,
                "builds run without limits of memory and CPU: a control group cannot be set; run Weir as root to \
                 keep builds from slowing apps"
            );
        }
        format!("/{}", self.limits.group())
    }

    /// Sets the limits on groups that appear while a build goes on.
    pub(super) fn watch(&self) -> Watch {
        let limits = Arc::clone(&self.limits);
        Watch(tokio::spawn(async move {
            loop {
                limits.apply_to_scopes(Path::new(ROOT));
                tokio::time::sleep(WATCH_PAUSE).await;
            }
        }))
    }
}

impl Limits {
    /// The group of builds where the engine manages groups.
    fn group(&self) -> String {
        format!("weir-{}-build", self.installation)
    }

    /// The same where systemd does; `-` would make a tree of it.
    fn slice(&self) -> String {
        format!("weir{}build.slice", self.installation)
    }

    /// Makes the groups that builds can be in, with their limits.
    fn apply_to_groups(&self) -> io::Result<()> {
        let root = Path::new(ROOT);
        let (bounds, _turn) = self.strictest();
        bounds.apply(root, Path::new(COMMON_GROUP))?;
        self.bounds.apply(root, Path::new(&self.group()))
    }

    /// The strictest limits of all Weirs on this machine, and the turn to set them. Where they
    /// cannot be told each other, one's own.
    fn strictest(&self) -> (Bounds, Option<Turn>) {
        let mut claim = self.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if claim.is_none() {
            *claim = Claim::new(Path::new(CLAIMS), &self.installation, self.bounds).ok();
        }
        match claim.as_ref().map(|claim| claim.strictest(self.bounds)) {
            Some(Ok((bounds, turn))) => (bounds, Some(turn)),
            _ => (self.bounds, None),
        }
    }

    /// Sets the limits on what systemd made for builds: the slice that newer engines honour, and
    /// the scopes of commands of older ones. A group that vanishes meanwhile is no failure.
    fn apply_to_scopes(&self, root: &Path) {
        let slice = root.join(self.slice());
        if slice.join("memory.max").exists() {
            let _gone_meanwhile = self.bounds.write_second(&slice);
        }
        let Ok(entries) = std::fs::read_dir(root.join("system.slice")) else {
            return;
        };
        let mut scopes = entries
            .flatten()
            .filter(|entry| is_scope_of_build(&entry.file_name().to_string_lossy()))
            .peekable();
        if scopes.peek().is_none() {
            return;
        }
        let (bounds, _turn) = self.strictest();
        for scope in scopes {
            let _gone_meanwhile = bounds.write_second(&scope.path());
        }
    }
}

impl Bounds {
    /// Of each bound the lower one.
    fn stricter(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.min(other.memory_bytes),
            cpu_milli: self.cpu_milli.min(other.cpu_milli),
            max_processes: self.max_processes.min(other.max_processes),
        }
    }

    /// Makes a group with the limits, in either version of control groups.
    fn apply(self, root: &Path, group: &Path) -> io::Result<()> {
        if root.join("cgroup.controllers").exists() {
            let folder = root.join(group);
            std::fs::create_dir_all(&folder)?;
            let mut parent = PathBuf::from(root);
            for part in group.parent().unwrap_or(Path::new("")) {
                write(&parent, "cgroup.subtree_control", "+cpu +memory +pids")?;
                parent.push(part);
            }
            write(&parent, "cgroup.subtree_control", "+cpu +memory +pids")?;
            return self.write_second(&folder);
        }
        let folder = |controller: &str| {
            let folder = root.join(controller).join(group);
            std::fs::create_dir_all(&folder).map(|()| folder)
        };
        let memory = folder("memory")?;
        // The limit together with swap is not there on kernels that do not count swap. Where it
        // is, the one without may never be above it, so it is lifted before that is set.
        let _not_counted = write(&memory, "memory.memsw.limit_in_bytes", "-1");
        write(&memory, "memory.limit_in_bytes", &self.memory_bytes.to_string())?;
        let _not_counted = write(&memory, "memory.memsw.limit_in_bytes", &self.memory_bytes.to_string());
        let cpu = folder("cpu")?;
        write(&cpu, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
        write(&cpu, "cpu.cfs_quota_us", &self.quota_us().to_string())?;
        write(&cpu, "cpu.shares", &CPU_SHARES.to_string())?;
        write(&folder("pids")?, "pids.max", &self.max_processes.to_string())
    }

    fn write_second(self, folder: &Path) -> io::Result<()> {
        write(folder, "memory.max", &self.memory_bytes.to_string())?;
        let _not_counted = write(folder, "memory.swap.max", "0");
        write(folder, "cpu.max", &format!("{} {CPU_PERIOD_US}", self.quota_us()))?;
        write(folder, "cpu.weight", &CPU_WEIGHT.to_string())?;
        write(folder, "pids.max", &self.max_processes.to_string())
    }

    /// CPU time in a period, in microseconds; the kernel takes no less than one millisecond.
    fn quota_us(self) -> u64 {
        (u64::from(self.cpu_milli) * CPU_PERIOD_US / 1000).max(1000)
    }
}

/// Whether a scope holds a command of a build rather than a container.
fn is_scope_of_build(name: &str) -> bool {
    name.strip_prefix("docker-")
        .and_then(|rest| rest.strip_suffix(".scope"))
        .is_some_and(|id| (20..CONTAINER_ID_CHARS).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// Writes a file of the kernel that exists; never makes one.
fn write(folder: &Path, file: &str, value: &str) -> io::Result<()> {
    use std::io::Write as _;
    let path = folder.join(file);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
    file.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_of_builds_are_told_from_those_of_containers() {
        assert!(is_scope_of_build("docker-r8latdiev9xctvj017oqbtk2r.scope"));
        assert!(!is_scope_of_build(&format!("docker-{}.scope", "a".repeat(64))));
        assert!(!is_scope_of_build("docker.service"));
    }

    #[test]
    fn limits_are_written_in_the_second_version() {
        let bounds = Bounds {
            memory_bytes: 1 << 30,
            cpu_milli: 1500,
            max_processes: 99,
        };
        let root = std::env::temp_dir().join(format!("weir-cgroup-{}", std::process::id()));
        let group = root.join("docker/buildkit");
        std::fs::create_dir_all(&group).unwrap();
        for folder in [&root, &root.join("docker")] {
            std::fs::write(folder.join("cgroup.subtree_control"), "").unwrap();
        }
        std::fs::write(root.join("cgroup.controllers"), "").unwrap();
        for file in ["memory.max", "cpu.max", "cpu.weight", "pids.max"] {
            std::fs::write(group.join(file), "").unwrap();
        }
        bounds.apply(&root, Path::new("docker/buildkit")).unwrap();
        assert_eq!(std::fs::read_to_string(group.join("cpu.max")).unwrap(), "150000 100000");
        assert_eq!(std::fs::read_to_string(group.join("memory.max")).unwrap(), "1073741824");
        let controllers = std::fs::read_to_string(root.join("docker/cgroup.subtree_control")).unwrap();
        assert_eq!(controllers, "+cpu +memory +pids");
        std::fs::remove_dir_all(&root).unwrap();
    }
}
