//! What the plan reasons about: what is wanted, what is there, and what may be done. Data only.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use weir_engine::{InstanceLabels, InstanceState};
use weir_model::canary::{Canary, CanaryHeader, Share};
use weir_model::deployment::{DeploymentEvent, DeploymentKind, DeploymentState};
use weir_model::project::EnvironmentMode;
use weir_model::route::{Backend, BackendLoad, RouteState};
use weir_model::scaling::Bounds;
use weir_model::spec::{AppSpec, ClassSpec, ProcessSpec, RouteSpec};
use weir_model::tcp::TcpSpec;
use weir_model::{AppName, ClassName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId, UnixMillis};

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
    /// What part of the requests it gets first; none where it gets all at once.
    pub canary: Option<Canary>,
    /// Since when it is so far.
    pub entered_ms: UnixMillis,
    /// What to run, by app.
    pub apps: BTreeMap<AppName, AppTarget>,
}

impl Target {
    /// The apps, as their release says.
    pub(super) fn specs(&self) -> impl Iterator<Item = (&AppName, &AppSpec)> {
        self.apps.iter().map(|(name, app)| (name, &app.spec))
    }
}

/// One app of a target.
#[derive(Debug, Clone)]
pub struct AppTarget {
    /// How it runs.
    pub spec: AppSpec,
    /// How many instances, by process, scale applied.
    pub instances: BTreeMap<ProcessName, u32>,
    /// Processes that have none because nobody asks for them; who does wakes them.
    pub asleep: BTreeSet<ProcessName>,
    /// Within what the numbers follow what is asked, and when instances sleep.
    pub bounds: BTreeMap<ProcessName, Bounds>,
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
    /// The same of canaries, which are nothing against the release that serves.
    pub canary_crashes: BTreeMap<CanaryProcess, CanaryCrashes>,
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
    /// A node has frozen it, or is about to, because nobody asks anything of it, and thaws it for
    /// the next request. It counts as one that runs and is ready.
    pub asleep: bool,
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

impl Fact {
    /// Whether it runs, or does as soon as it is asked.
    pub fn is_up(&self) -> bool {
        self.state == InstanceState::Running || (self.asleep && self.state == InstanceState::Frozen)
    }
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

/// A process of a canary.
pub type CanaryProcess = (DeploymentId, AppName, ProcessName);

/// Crashes of a process of a canary, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CanaryCrashes {
    /// How many, and when the next one may be started.
    pub crashes: Crashes,
    /// Why the last one, for people: `exited with status 1`.
    pub reason: String,
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
    /// What leads here by its path; `web` gets all the rest as well.
    pub routes: Vec<RouteSpec>,
    /// The app's classes of requests.
    pub classes: BTreeMap<ClassName, ClassSpec>,
    /// TCP services that lead here.
    pub tcp: Vec<TcpSpec>,
    /// A new release that gets a part of the requests.
    pub canary: Option<CanaryEntry>,
}

/// A new release beside the one that serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanaryEntry {
    /// Its deployment: with another one, visitors are divided anew.
    pub deployment: DeploymentId,
    /// The part of the visitors that gets it.
    pub share: Share,
    /// Requests with this header get it whatever the share is.
    pub header: Option<CanaryHeader>,
    /// How it answers. It has no canary itself.
    pub entry: Box<Entry>,
}

impl Routes {
    /// Whether an instance gets requests.
    pub fn serves(&self, instance: InstanceId) -> bool {
        let canaries = self.entries.values().filter_map(|entry| entry.canary.as_ref());
        let entries = self.entries.values().chain(canaries.map(|canary| &*canary.entry));
        let mut pools = entries.flat_map(|entry| &entry.pool);
        pools.any(|backend| backend.instance == instance)
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
