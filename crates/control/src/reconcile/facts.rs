//! What the plan reasons about: what is wanted, what is there, and what may be done. Data only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_engine::{InstanceLabels, InstanceState};
use weir_model::deployment::{DeploymentEvent, DeploymentKind, DeploymentState};
use weir_model::project::EnvironmentMode;
use weir_model::route::{Backend, BackendLoad, RouteState};
use weir_model::spec::{AppSpec, ProcessSpec};
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId, UnixMillis};

/// All that is wanted of one environment, from the store.
#[derive(Debug, Clone)]
pub struct Desired {
    /// Which.
    pub environment: EnvironmentId,
    /// What the owner asked for.
    pub mode: EnvironmentMode,
    /// What serves.
    pub live: Option<Target>,
    /// What served before, and until when its instances stay frozen.
    pub previous: Option<(Target, UnixMillis)>,
    /// Deployments that do not serve yet, oldest first.
    pub in_progress: Vec<Target>,
    /// Set while there is no money for it.
    pub unpaid: Option<Unpaid>,
}

/// There is no money for an environment: its instances are frozen, and stopped after a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unpaid {
    /// What stands in the way, for people: `the spending cap of shop is reached`.
    pub message: String,
    /// When asking again may help, in seconds; 0 where nobody knows.
    pub retry_after_s: u64,
    /// Since when.
    pub since_ms: UnixMillis,
}

/// A deployment with what it is to run.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which.
    pub deployment: DeploymentId,
    /// Of which release.
    pub release: ReleaseId,
    /// Why.
    pub kind: DeploymentKind,
    /// How far it is.
    pub state: DeploymentState,
    /// Since when it is so far.
    pub entered_ms: UnixMillis,
    /// What to run, by app.
    pub apps: BTreeMap<AppName, AppTarget>,
}

/// One app of a target.
#[derive(Debug, Clone)]
pub struct AppTarget {
    /// How it runs.
    pub spec: AppSpec,
    /// How many instances, by process, scale applied.
    pub instances: BTreeMap<ProcessName, u32>,
}

/// All that is known of one environment's reality.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// What exists.
    pub instances: Vec<Fact>,
    /// The routes by which every node serves, if a node has said so.
    pub applied: Option<Routes>,
    /// Processes that crashed lately.
    pub crashes: BTreeMap<(AppName, ProcessName), Crashes>,
    /// Deployments of which the engine refused to start an instance, with its words.
    pub refused: BTreeMap<DeploymentId, String>,
}

/// One instance as it is.
#[derive(Debug, Clone)]
pub struct Fact {
    /// Identity and place.
    pub labels: InstanceLabels,
    /// What it does.
    pub state: InstanceState,
    /// Its address on the environment's network.
    pub address: Option<IpAddr>,
    /// Its address with the port that it listens on, if it is routed.
    pub backend: Option<Backend>,
    /// When it was started.
    pub started_ms: UnixMillis,
    /// What its checks say.
    pub probe: Probe,
    /// Since when this control has been checking it; a time-out to get ready counts from here,
    /// because an instance may have run long before.
    pub checked_since_ms: Option<UnixMillis>,
    /// What a node says of it.
    pub load: BackendLoad,
    /// It is being stopped.
    pub stopping: bool,
    /// When it left the routes' pools, if it was seen outside of them.
    pub left_pool_ms: Option<UnixMillis>,
    /// A session owns it (`weir run`).
    pub in_session: bool,
}

/// What the checks of an instance say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// None has passed yet; the last one failed like this.
    Waiting(Option<String>),
    /// The last ones passed.
    Ready,
    /// They passed once, and now so many failed that it counts as dead.
    Unhealthy(String),
}

/// Crashes of a process, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crashes {
    /// How many in a row.
    pub count: u32,
    /// Before this instant none is started.
    pub not_before_ms: UnixMillis,
}

/// How requests to an environment are to be answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes {
    /// By app and routed process.
    pub entries: BTreeMap<(AppName, ProcessName), Entry>,
    /// Instances that may finish what they have.
    pub draining: BTreeSet<Backend>,
    /// Private names of what serves (`api`, `worker.api`) on the environment's network.
    pub names: BTreeMap<String, Vec<IpAddr>>,
}

/// How requests to one process are to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What happens to a request.
    pub state: RouteState,
    /// Who answers, in the order of their identifiers.
    pub pool: Vec<Backend>,
    /// The process's limits and time-outs.
    pub process: ProcessSpec,
    /// Path prefixes that lead here; empty for `web`, which gets all the rest.
    pub prefixes: Vec<String>,
}

impl Routes {
    /// Whether an instance gets requests.
    pub fn serves(&self, instance: InstanceId) -> bool {
        self.entries
            .values()
            .any(|entry| entry.pool.iter().any(|backend| backend.instance == instance))
    }
}

/// One step towards what is wanted. Each is safe to repeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start one more instance of a process.
    Start {
        /// For which deployment.
        deployment: DeploymentId,
        /// The app.
        app: AppName,
        /// The process.
        process: ProcessName,
    },
    /// Run the release command of an app.
    StartRelease {
        /// For which deployment.
        deployment: DeploymentId,
        /// The app.
        app: AppName,
    },
    /// End an instance gracefully.
    Stop {
        /// Which.
        instance: InstanceId,
        /// Seconds until SIGKILL.
        grace_s: u32,
    },
    /// Remove what has ended.
    Remove {
        /// Which.
        instance: InstanceId,
    },
    /// Take its CPU time.
    Freeze {
        /// Which.
        instance: InstanceId,
    },
    /// Give it back.
    Thaw {
        /// Which.
        instance: InstanceId,
    },
    /// A live instance died or stopped answering; count it.
    Crashed {
        /// Which.
        instance: InstanceId,
        /// Why, for people.
        reason: String,
    },
    /// Take a step in the life of a deployment.
    Advance {
        /// Which.
        deployment: DeploymentId,
        /// The state that it is in.
        from: DeploymentState,
        /// What happens to it.
        event: DeploymentEvent,
        /// Why, where it ends badly.
        reason: Option<String>,
    },
    /// The instances of the release before are no longer kept.
    ForgetPrevious {
        /// Which deployment that was.
        deployment: DeploymentId,
    },
}

/// What follows from what is wanted and what is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How requests are to be answered from now on.
    pub routes: Routes,
    /// What to do now.
    pub actions: Vec<Action>,
    /// When to look again even if nothing happens.
    pub wake_at_ms: Option<UnixMillis>,
}
