//! The kernel's control groups of a container: how much CPU time it has used, and the freezer.
//! Both versions of control groups; nothing here asks the engine.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the kernel's control groups are.
const ROOT: &str = "/sys/fs/cgroup";
/// The file with the CPU time of each period, in the first version.
const QUOTA: &str = "cpu.cfs_quota_us";
/// A period of the CPU limit, as containers are made with it, and the least that the kernel takes.
const PERIOD_US: u64 = 100_000;
const LEAST_QUOTA_US: u64 = 1_000;
/// How long the kernel may take to freeze a group. A process that waits for a disk can delay it.
const FREEZE_PATIENCE: Duration = Duration::from_millis(500);
const FREEZE_POLL: Duration = Duration::from_millis(2);

/// The groups of one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    counter: PathBuf,
    version: Version,
    /// Where its share of CPU time is set.
    quota: PathBuf,
    /// Folder of what it has in memory.
    memory: PathBuf,
    /// Folder of the freezer; in the second version it is the only folder.
    pub(super) freezer: PathBuf,
}

/// What a freezer is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Freeze,
    Thaw,
}

/// Of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    First,
    Second,
}

impl Group {
    /// Finds the groups of a running container by its identifier of 64 characters, and by one of
    /// its processes where they are at an unusual place. `None` if it does not run.
    pub(super) fn find(container: &str, process: Option<i64>) -> Option<Self> {
        let usual = [
            format!("docker/{container}"),
            format!("system.slice/docker-{container}.scope"),
        ];
        let told = process
            .and_then(|process| std::fs::read_to_string(format!("/proc/{process}/cgroup")).ok())
            .and_then(|text| path_of(&text, container));
        usual
            .into_iter()
            .chain(told)
            .find_map(|path| Self::at(Path::new(ROOT), Path::new(&path)))
    }

    fn at(root: &Path, path: &Path) -> Option<Self> {
        let (version, freezer, counter, quota, memory) = if root.join("cgroup.controllers").exists() {
            let folder = root.join(path);
            let (counter, quota) = (folder.join("cpu.stat"), folder.join("cpu.max"));
            (Version::Second, folder.clone(), counter, quota, folder)
        } else {
            let counter = ["cpuacct", "cpu,cpuacct"]
                .map(|controller| root.join(controller).join(path).join("cpuacct.usage"))
                .into_iter()
                .find(|file| file.exists())?;
            let quota = counter.with_file_name(QUOTA);
            let quota = if quota.exists() {
                quota
            } else {
                root.join("cpu").join(path).join(QUOTA)
            };
            let memory = root.join("memory").join(path);
            (Version::First, root.join("freezer").join(path), counter, quota, memory)
        };
        let group = Self {
            counter,
            version,
            quota,
            memory,
            freezer,
        };
        group.state_file().exists().then_some(group)
    }

    /// The group whose freezer is in this folder, if it is that of a container.
    pub(super) fn of_freezer(folder: &Path) -> Option<Self> {
        let is_plain = folder
            .components()
            .all(|part| matches!(part, std::path::Component::RootDir | std::path::Component::Normal(_)));
        let name = folder.file_name()?.to_str()?;
        let container = name
            .strip_prefix("docker-")
            .and_then(|rest| rest.strip_suffix(".scope"))
            .unwrap_or(name);
        let is_container = container.len() == 64 && container.bytes().all(|byte| byte.is_ascii_hexdigit());
        let root = Path::new(ROOT);
        let path = match root.join("cgroup.controllers").exists() {
            true => folder.strip_prefix(root),
            false => folder.strip_prefix(root.join("freezer")),
        };
        if is_plain && is_container {
            Self::at(root, path.ok()?)
        } else {
            None
        }
    }

    fn state_file(&self) -> PathBuf {
        self.freezer.join(match self.version {
            Version::First => "freezer.state",
            Version::Second => "cgroup.events",
        })
    }

    /// CPU time used, in microseconds.
    pub(super) fn cpu_us(&self) -> io::Result<u64> {
        let text = std::fs::read_to_string(&self.counter)?;
        let number = match self.version {
            Version::First => text.trim().parse().ok().map(|nanoseconds: u64| nanoseconds / 1000),
            Version::Second => field(&text, "usage_usec"),
        };
        number.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{}: {text}", self.counter.display()),
            )
        })
    }

    /// Bytes in memory, without pages of files that were not used lately: those are taken back as soon as
    /// somebody else needs room.
    pub(super) fn memory_bytes(&self) -> io::Result<u64> {
        let (file, idle) = match self.version {
            Version::First => ("memory.usage_in_bytes", "total_inactive_file"),
            Version::Second => ("memory.current", "inactive_file"),
        };
        let text = std::fs::read_to_string(self.memory.join(file))?;
        let unreadable = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{file}: {text}"));
        let all: u64 = text.trim().parse().map_err(unreadable)?;
        let details = std::fs::read_to_string(self.memory.join("memory.stat"))?;
        Ok(all.saturating_sub(field(&details, idle).unwrap_or(0)))
    }

    /// Whether all of its processes stand still.
    pub(super) fn is_frozen(&self) -> io::Result<bool> {
        let text = std::fs::read_to_string(self.state_file())?;
        Ok(match self.version {
            Version::First => text.trim() == "FROZEN",
            Version::Second => field(&text, "frozen") == Some(1),
        })
    }

    /// Takes all CPU time from it; returns once all of its processes stand still.
    pub(super) fn freeze(&self) -> io::Result<()> {
        let end = Instant::now() + FREEZE_PATIENCE;
        loop {
            // Once more each time: the first version misses processes that are just being made.
            self.order(Order::Freeze)?;
            if self.is_frozen()? {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the kernel does not freeze it"));
            }
            std::thread::sleep(FREEZE_POLL);
        }
    }

    /// Gives it back.
    pub(super) fn thaw(&self) -> io::Result<()> {
        self.order(Order::Thaw)
    }

    /// Tells the kernel, and does not wait until it is so.
    pub(super) fn order(&self, order: Order) -> io::Result<()> {
        let (file, value) = match (self.version, order) {
            (Version::First, Order::Freeze) => ("freezer.state", "FROZEN"),
            (Version::First, Order::Thaw) => ("freezer.state", "THAWED"),
            (Version::Second, Order::Freeze) => ("cgroup.freeze", "1"),
            (Version::Second, Order::Thaw) => ("cgroup.freeze", "0"),
        };
        write(&self.freezer.join(file), value)
    }

    /// What the kernel was told last, by whomever.
    pub(super) fn ordered(&self) -> io::Result<Order> {
        let (file, thawed) = match self.version {
            Version::First => ("freezer.state", "THAWED"),
            Version::Second => ("cgroup.freeze", "0"),
        };
        let text = std::fs::read_to_string(self.freezer.join(file))?;
        Ok(if text.trim() == thawed {
            Order::Thaw
        } else {
            Order::Freeze
        })
    }

    /// Gives it at most so many thousandths of a core.
    pub(super) fn limit_cpu(&self, cpu_milli: u32) -> io::Result<()> {
        let quota_us = (u64::from(cpu_milli) * (PERIOD_US / 1000)).max(LEAST_QUOTA_US);
        match self.version {
            Version::First => write(&self.quota, &quota_us.to_string()),
            Version::Second => write(&self.quota, &format!("{quota_us} {PERIOD_US}")),
        }
    }
}

/// Never makes a file: the group may be gone.
fn write(file: &Path, value: &str) -> io::Result<()> {
    let mut file = std::fs::OpenOptions::new().write(true).truncate(true).open(file)?;
    io::Write::write_all(&mut file, value.as_bytes())
}

/// A line `NAME NUMBER` of a file of the kernel.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .and_then(|number| number.trim().parse().ok())
}

/// The path of a container's group in `/proc/PID/cgroup`, without the slash before it.
fn path_of(text: &str, container: &str) -> Option<String> {
    text.lines()
        .filter_map(|line| line.splitn(3, ':').nth(2))
        .find(|path| path.contains(container))
        .map(|path| path.trim_start_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "9def67fd3930bc669ca2ab2cf43721623e32afb04776bba01f20ea6ab82004d8";

    fn root(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("weir-groups-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        root
    }

    #[test]
    fn the_first_version_is_read_and_ordered() {
        let root = root("first");
        for folder in ["cpu,cpuacct/docker/x", "freezer/docker/x"] {
            std::fs::create_dir_all(root.join(folder)).unwrap();
        }
        std::fs::write(root.join("cpu,cpuacct/docker/x/cpuacct.usage"), "1234567\n").unwrap();
        std::fs::write(root.join("freezer/docker/x/freezer.state"), "THAWED\n").unwrap();
        let group = Group::at(&root, Path::new("docker/x")).unwrap();
        assert_eq!(group.cpu_us().unwrap(), 1234);
        assert!(group.memory_bytes().is_err(), "the machine does not count it");
        let memory = root.join("memory/docker/x");
        std::fs::create_dir_all(&memory).unwrap();
        std::fs::write(memory.join("memory.usage_in_bytes"), "5000\n").unwrap();
        std::fs::write(
            memory.join("memory.stat"),
            "inactive_file 7\ntotal_inactive_file 2000\n",
        )
        .unwrap();
        assert_eq!(group.memory_bytes().unwrap(), 3000);
        assert!(!group.is_frozen().unwrap());
        group.freeze().unwrap();
        assert!(group.is_frozen().unwrap());
        assert!(group.limit_cpu(500).is_err(), "it never makes a file");
        std::fs::create_dir_all(root.join("cpu/docker/x")).unwrap();
        let quota = root.join("cpu/docker/x/cpu.cfs_quota_us");
        std::fs::write(&quota, "100000\n").unwrap();
        group.limit_cpu(500).unwrap();
        assert_eq!(std::fs::read_to_string(&quota).unwrap(), "50000");
        assert_eq!(Group::at(&root, Path::new("docker/y")), None);
        std::fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn the_second_version_is_read_and_ordered() {
        let root = root("second");
        let folder = root.join("system.slice/docker-x.scope");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(root.join("cgroup.controllers"), "").unwrap();
        std::fs::write(folder.join("cpu.stat"), "nr_periods 3\nusage_usec 77\nuser_usec 5\n").unwrap();
        std::fs::write(folder.join("cgroup.events"), "populated 1\nfrozen 1\n").unwrap();
        std::fs::write(folder.join("cgroup.freeze"), "0").unwrap();
        std::fs::write(folder.join("cpu.max"), "max 100000\n").unwrap();
        let group = Group::at(&root, Path::new("system.slice/docker-x.scope")).unwrap();
        assert_eq!(group.cpu_us().unwrap(), 77);
        std::fs::write(folder.join("memory.current"), "5000\n").unwrap();
        std::fs::write(folder.join("memory.stat"), "anon 1\ninactive_file 6000\n").unwrap();
        assert_eq!(group.memory_bytes().unwrap(), 0);
        group.limit_cpu(5).unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("cpu.max")).unwrap(), "1000 100000");
        group.freeze().unwrap();
        assert_eq!(std::fs::read_to_string(folder.join("cgroup.freeze")).unwrap(), "1");
        std::fs::write(folder.join("cgroup.events"), "populated 1\nfrozen 0\n").unwrap();
        assert!(!group.is_frozen().unwrap());
        std::fs::remove_dir_all(&root).unwrap();
    }

    /// A hierarchy of the second version, mounted for a test; `None` where that is not allowed.
    struct Mounted(PathBuf);

    impl Mounted {
        fn new() -> Option<Self> {
            let folder = root("mounted");
            let mounted = std::process::Command::new("mount")
                .args(["-t", "cgroup2", "none"])
                .arg(&folder)
                .status();
            mounted.is_ok_and(|status| status.success()).then_some(Self(folder))
        }
    }

    impl Drop for Mounted {
        fn drop(&mut self) {
            let _unmounted = std::process::Command::new("umount").arg(&self.0).status();
            let _empty = std::fs::remove_dir(&self.0);
        }
    }

    #[test]
    fn the_kernels_own_second_version_counts_and_freezes() {
        let Some(mounted) = Mounted::new() else {
            eprintln!("left out: control groups of the second version cannot be mounted");
            return;
        };
        let name = format!("weir-test-{}", std::process::id());
        let folder = mounted.0.join(&name);
        std::fs::create_dir(&folder).unwrap();
        let mut burner = std::process::Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        std::fs::write(folder.join("cgroup.procs"), burner.id().to_string()).unwrap();
        let group = Group::at(&mounted.0, Path::new(&name)).unwrap();
        let before_us = group.cpu_us().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(group.cpu_us().unwrap() > before_us, "it burns");

        group.freeze().unwrap();
        assert!(group.is_frozen().unwrap());
        let frozen_us = group.cpu_us().unwrap();
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(group.cpu_us().unwrap(), frozen_us);

        group.thaw().unwrap();
        std::thread::sleep(Duration::from_millis(200));
        assert!(!group.is_frozen().unwrap() && group.cpu_us().unwrap() > frozen_us);
        burner.kill().unwrap();
        burner.wait().unwrap();
        assert_eq!(
            (std::fs::remove_dir(&folder).is_ok(), group.cpu_us().is_err()),
            (true, true)
        );
    }

    #[test]
    fn only_the_group_of_a_container_is_taken_for_one() {
        for wrong in [
            "/etc".to_owned(),
            "/sys/fs/cgroup/freezer/docker".to_owned(),
            format!("/sys/fs/cgroup/freezer/docker/../../{CONTAINER}"),
            format!("/tmp/{CONTAINER}"),
            format!("/sys/fs/cgroup/freezer/docker/{CONTAINER}/inner"),
        ] {
            assert_eq!(Group::of_freezer(Path::new(&wrong)), None, "{wrong}");
        }
    }

    #[test]
    fn an_unusual_place_is_found_by_a_process() {
        let text = format!("3:freezer:/kubepods/{CONTAINER}\n0::/\n");
        assert_eq!(path_of(&text, CONTAINER), Some(format!("kubepods/{CONTAINER}")));
        assert_eq!(path_of("0::/\n", CONTAINER), None);
    }
}
