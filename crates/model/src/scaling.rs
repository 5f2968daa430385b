//! How the number of instances of a routed process follows what is asked of it, and what becomes
//! of instances that nobody asks anything of.

use serde::{Deserialize, Serialize};

use crate::ProcessName;
use crate::project::Scale;
use crate::spec::AppSpec;

/// Most instances of a process.
pub const MOST_INSTANCES: u32 = 100;
/// Of the requests that an instance gets at once, so many in a hundred are aimed at.
const TARGET_PERCENT: u32 = 70;

/// How a process scales.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Scaling {
    /// Within what its number of instances follows the requests; `None`: its number is fixed.
    pub range: Option<InstanceRange>,
    /// Requests in flight per instance that are aimed at, 1 to the concurrency; `None`: 70 % of it.
    pub target: Option<u32>,
    /// What becomes of instances that nobody asks anything of.
    pub idle: Idle,
    /// After so many seconds without a request.
    pub idle_after_s: u32,
}

impl Default for Scaling {
    fn default() -> Self {
        Self {
            range: None,
            target: None,
            idle: Idle::Never,
            idle_after_s: 15 * 60,
        }
    }
}

/// From how many to how many instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceRange {
    /// At least; 0 means that it is stopped while nobody asks for it.
    pub min: u32,
    /// At most, 1 to 100.
    pub max: u32,
}

/// What becomes of instances that nobody asks anything of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// They go on.
    #[default]
    Never,
    /// They keep their memory and get no CPU time until the next request.
    Freeze,
    /// They end; the next request starts one.
    Stop,
}

/// What holds for a process at present: its specification with what was set by `weir scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Least number of instances while it is awake; 0 only where it is switched off.
    pub least: u32,
    /// Most.
    pub most: u32,
    /// Requests in flight per instance that are aimed at; at least 1.
    pub target: u32,
    /// What becomes of it when it is quiet.
    pub idle: Idle,
    /// After so many milliseconds.
    pub idle_after_ms: u64,
}

impl Bounds {
    /// Whether its number follows what is asked of it.
    pub fn is_moving(&self) -> bool {
        self.least < self.most || (self.idle == Idle::Stop && self.most > 0)
    }

    /// `2`, or `1..5`; `0..5` where it is stopped while nobody asks for it.
    pub fn words(&self) -> String {
        let least = if self.idle == Idle::Stop { 0 } else { self.least };
        if least == self.most {
            self.most.to_string()
        } else {
            format!("{least}..{}", self.most)
        }
    }
}

impl AppSpec {
    /// What holds for one of its processes, with what was set in its environment.
    pub fn bounds(&self, process: &ProcessName, scales: &[Scale]) -> Bounds {
        let Some(spec) = self.processes.get(process) else {
            return Bounds::fixed(0);
        };
        let scale = scales
            .iter()
            .find(|scale| scale.app == self.name && scale.process == *process);
        let range = match scale {
            Some(scale) => scale.range(),
            None => spec.scaling.range.unwrap_or(InstanceRange::fixed(spec.instances)),
        };
        let ceiling = if self.is_exclusive() { 1 } else { MOST_INSTANCES };
        let (min, most) = (range.min.min(ceiling), range.max.min(ceiling));
        // Workers have work of their own, of which nobody here knows.
        if most == 0 || !self.is_routed(process) {
            return Bounds::fixed(most);
        }
        let usual = (spec.concurrency * TARGET_PERCENT / 100).max(1);
        Bounds {
            least: min.max(1),
            most,
            target: spec.scaling.target.unwrap_or(usual).max(1),
            idle: if min == 0 { Idle::Stop } else { spec.scaling.idle },
            idle_after_ms: u64::from(spec.scaling.idle_after_s.max(1)) * 1_000,
        }
    }
}

impl Bounds {
    fn fixed(number: u32) -> Self {
        Self {
            least: number,
            most: number,
            target: 1,
            idle: Idle::Never,
            idle_after_ms: u64::MAX,
        }
    }
}

impl InstanceRange {
    /// Always the same number.
    pub fn fixed(number: u32) -> Self {
        Self {
            min: number,
            max: number,
        }
    }
}

impl Scale {
    /// From how many to how many it may have.
    pub fn range(&self) -> InstanceRange {
        InstanceRange {
            min: self.instances,
            max: self.most.unwrap_or(self.instances).max(self.instances),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AppName;
    use crate::files::{Detected, ProjectFile};

    fn app(text: &str) -> AppSpec {
        let file = ProjectFile::parse(text).unwrap();
        let apps = file.apps(&AppName::new("shop").unwrap());
        let (name, app) = apps.iter().next().unwrap();
        app.spec(name.clone(), &Detected::default()).unwrap()
    }

    fn scale(instances: u32, most: Option<u32>) -> Scale {
        Scale {
            app: AppName::new("shop").unwrap(),
            process: ProcessName::web(),
            instances,
            most,
        }
    }

    #[test]
    fn what_was_set_wins_over_the_file() {
        let app = app("[process.web.scaling]\nmax = 5\nidle = \"freeze\"\n");
        let web = ProcessName::web();
        let bounds = app.bounds(&web, &[]);
        assert_eq!((bounds.words().as_str(), bounds.target), ("1..5", 14));
        assert_eq!(bounds.idle, Idle::Freeze);
        let bounds = app.bounds(&web, &[scale(3, None)]);
        assert_eq!((bounds.words().as_str(), bounds.is_moving()), ("3", false));
        let bounds = app.bounds(&web, &[scale(0, Some(4))]);
        assert_eq!((bounds.words().as_str(), bounds.idle), ("0..4", Idle::Stop));
        assert_eq!(bounds.least, 1, "awake it has one");
        let off = app.bounds(&web, &[scale(0, None)]);
        assert_eq!((off.most, off.is_moving(), off.idle), (0, false, Idle::Never));
    }

    #[test]
    fn one_writer_means_one_and_workers_stay_as_they_are() {
        let app = app(
            "[process.web.scaling]\nidle = \"stop\"\n[process.worker]\ninstances = 1\n[volume.data]\npath = \"/data\"\n",
        );
        let worker = app.bounds(&ProcessName::new("worker").unwrap(), &[]);
        assert!(!worker.is_moving() && worker.idle == Idle::Never);
        let many = app.bounds(&ProcessName::web(), &[scale(1, Some(5))]);
        assert_eq!((many.least, many.most), (1, 1), "a volume for one writer");
        let bounds = app.bounds(&ProcessName::web(), &[]);
        assert_eq!((bounds.least, bounds.most, bounds.idle), (1, 1, Idle::Stop));
        assert!(bounds.is_moving());
    }

    #[test]
    fn what_an_earlier_weir_wrote_scales_not() {
        let read: Scaling = serde_json::from_str("{}").unwrap();
        assert_eq!(read, Scaling::default());
    }
}
