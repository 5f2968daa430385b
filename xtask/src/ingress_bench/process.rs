//! What processes cost, read from `/proc`.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::processes::{Signal, children};

/// A program that ends with this value.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// On one core, with its output in the file.
    pub(super) fn start(core: usize, command: &Command, log: &std::path::Path) -> Result<Self> {
        Self::start_anywhere(on_core(core, command), log)
    }

    /// On any core, with its output in the file.
    pub(crate) fn start_anywhere(mut command: Command, log: &std::path::Path) -> Result<Self> {
        let log = fs::File::create(log)?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("start {command:?}"))?;
        Ok(Self { child })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// The process and all below it.
    fn tree(&self) -> Vec<u32> {
        let mut tree = vec![self.child.id()];
        let mut next = 0;
        while let Some(pid) = tree.get(next) {
            tree.extend(children(*pid));
            next += 1;
        }
        tree
    }

    /// Processor time that all of its threads have used, in user space and in the kernel.
    pub(super) fn cpu(&self) -> Duration {
        let mut sum = Duration::ZERO;
        for pid in self.tree() {
            // The sums in `stat` have steps of 10 ms, which is too coarse for a round of a second.
            for thread in fs::read_dir(format!("/proc/{pid}/task"))
                .into_iter()
                .flatten()
                .flatten()
            {
                let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                let ns = text.split(' ').next().and_then(|number| number.parse().ok());
                sum += Duration::from_nanos(ns.unwrap_or(0));
            }
        }
        sum
    }

    /// Memory in KiB; what several processes share counts once.
    pub(super) fn memory_kib(&self) -> u64 {
        let pss = |pid: &u32| {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
            let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        self.tree().iter().filter_map(pss).sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The children of a process that is killed would go on; and one that still runs would start others
        // in the place of those that are killed.
        let _ = e2e::processes::signal(self.child.id(), Signal::SIGSTOP);
        for pid in self.tree().into_iter().skip(1) {
            let _ = e2e::processes::kill_now(pid);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, tied to a core.
pub(super) fn on_core(core: usize, command: &Command) -> Command {
    let mut pinned = Command::new("taskset");
    pinned
        .args(["--cpu-list", &core.to_string()])
        .arg(command.get_program());
    pinned.args(command.get_args());
    for (key, value) in command.get_envs() {
        pinned.env(key, value.unwrap_or_default());
    }
    pinned
}

/// What the whole machine has worked, and what ended children of this process have.
#[derive(Clone, Copy)]
pub(super) struct Machine {
    busy: Duration,
    children: Duration,
}

impl Machine {
    pub(super) fn now() -> Result<Self> {
        let ticks = |text: &str, range: std::ops::Range<usize>| -> Duration {
            let numbers = text.split_whitespace().skip(range.start).take(range.len());
            let sum: u64 = numbers.filter_map(|number| number.parse::<u64>().ok()).sum();
            Duration::from_millis(sum * 10)
        };
        let all = fs::read_to_string("/proc/stat")?;
        let line = all.lines().next().context("/proc/stat is empty")?;
        let own = fs::read_to_string("/proc/self/stat")?;
        let own = own.rsplit_once(')').context("/proc/self/stat")?.1;
        Ok(Self {
            // user nice system, then irq softirq steal; between them idle and iowait.
            busy: ticks(line, 1..4) + ticks(line, 6..9),
            children: ticks(own, 13..15),
        })
    }

    /// What others than this benchmark have worked since `before`; `known` are its processes that go
    /// on.
    pub(super) fn foreign_since(self, before: Self, known: Duration) -> Duration {
        let ours = self.children.saturating_sub(before.children) + known;
        self.busy.saturating_sub(before.busy).saturating_sub(ours)
    }
}
