//! The processes of a Weir, found through `/proc`: only those below the one that the test
//! itself started.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
pub use nix::sys::signal::Signal;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// Which of Weir's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Decides.
    Control,
    /// Carries.
    Node,
}

impl Part {
    fn verb(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Node => "node",
        }
    }
}

fn read(pid: u32, file: &str) -> Option<String> {
    let bytes = std::fs::read(PathBuf::from(format!("/proc/{pid}/{file}"))).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The parent of a process.
fn parent(pid: u32) -> Option<u32> {
    // The second field is the program's name in brackets and may hold spaces.
    read(pid, "stat")?
        .rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
}

/// All processes whose parent is `of`.
pub fn children(of: u32) -> Vec<u32> {
    let Ok(folder) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    folder
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| parent(*pid) == Some(of))
        .collect()
}

/// The process of a part of the Weir whose supervisor is `supervisor`.
pub fn find(supervisor: u32, part: Part) -> Result<u32> {
    for pid in children(supervisor) {
        let line = read(pid, "cmdline").unwrap_or_default();
        if line.split('\0').nth(1) == Some(part.verb()) {
            return Ok(pid);
        }
    }
    bail!("process {supervisor} has no child `weir {}`", part.verb())
}

/// Ends a process at once (SIGKILL).
pub fn kill_now(pid: u32) -> Result<()> {
    signal(pid, Signal::SIGKILL)
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let pid = i32::try_from(pid).context("pid")?;
    kill(Pid::from_raw(pid), signal).with_context(|| format!("send {signal} to {pid}"))
}

/// Memory that a process really occupies, in bytes.
pub fn memory_bytes(pid: u32) -> Result<u64> {
    let status = read(pid, "status").with_context(|| format!("process {pid} is gone"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// CPU time that a process has used, in milliseconds.
pub fn cpu_ms(pid: u32) -> Result<u64> {
    let stat = read(pid, "stat").with_context(|| format!("process {pid} is gone"))?;
    let fields: Vec<&str> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
    let ticks: u64 =
        fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?;
    // The kernel counts in hundredths of a second for user space, whatever it does inside.
    Ok(ticks * 10)
}
