//! The decisions of the reconciler, pure: `plan(desired, observed, now) -> routes, actions`.
//!
//! It is level-triggered: it looks at all of what is wanted and all of what is there, never at
//! what happened. It may therefore be killed anywhere, repeated any number of times, and fed
//! with stale or partial observations; what it gets wrong once it corrects when it sees more.
//!
//! Rules that hold whatever comes in (the simulation in `simulation.rs` checks them):
//! - An instance is stopped or frozen only when every node routes without it and it is drained.
//!   Only where there is no money is it frozen at once.
//! - A route's pool holds instances of one release only, and only ready ones.
//! - A deployment that failed or was superseded never gets into a pool.
//! - Two releases of an app with a one-writer volume never run at once.

use std::collections::{BTreeMap, BTreeSet};

use weir_engine::{InstanceRole, InstanceState};
use weir_model::deployment::{DeploymentEvent, DeploymentKind, DeploymentState};
use weir_model::project::EnvironmentMode;
use weir_model::spec::ProcessSpec;
use weir_model::{AppName, ProcessName, UnixMillis};

mod canary;
mod retire;
mod routes;

pub use super::facts::*;
pub use canary::EXCLUSIVE_CANARY;

/// A process that is not routed counts as ready after it has run for so long.
pub const WORKER_READY_MS: i64 = 2_000;
/// Longest time that a request may keep an instance that no longer gets new ones.
pub const REQUEST_DRAIN_MS: i64 = 300_000;
/// So long may requests go on at an instance that no longer answers its checks.
pub const UNHEALTHY_DRAIN_MS: i64 = 5_000;
/// Longest wait of a request in a held route while one release replaces another.
pub const HOLD_TIMEOUT_MS: u64 = 120_000;
/// Longest wait of a request for an app that sleeps, unless its process is slower.
pub const WAKE_TIMEOUT_MS: u64 = 60_000;
/// Longest wait of a request for an instance that is starting.
pub const START_HOLD_TIMEOUT_MS: u64 = 30_000;
/// Longest time for starting what the engine does not start, beyond the readiness time-out.
const START_SLACK_MS: i64 = 60_000;
/// From so many crashes in a row a process is shown as crashed instead of starting.
const CRASHES_SHOWN: u32 = 3;
/// So long are instances without money kept frozen, so that a raised cap is a thaw; then they
/// are stopped. What that costs is held ahead by whoever pays for them.
pub const UNPAID_FROZEN_MS: i64 = 600_000;
/// Time to end gracefully for release commands and one-off commands, in seconds.
pub const ONE_OFF_GRACE_S: u32 = 5;

/// Decides. Pure.
pub fn plan(desired: &Desired, observed: &Observed, now_ms: UnixMillis) -> Plan {
    let mut planner = Planner::new(desired, observed, now_ms);
    let routes = planner.routes();
    planner.settled = observed.applied.as_ref() == Some(&routes);
    match (desired.mode, &desired.unpaid) {
        (EnvironmentMode::Active, None) => {
            planner.supersede_older();
            planner.carry_candidate();
            planner.carry_live();
        }
        (EnvironmentMode::Active, Some(unpaid)) => {
            planner.abandon_candidates();
            planner.go_without_money(unpaid);
        }
        _ => planner.abandon_candidates(),
    }
    planner.retire_others(&routes);
    Plan {
        routes,
        actions: planner.actions,
        wake_at_ms: planner.wake_at_ms,
    }
}

/// The instances of a target that count, by app and process.
type Chosen<'a> = BTreeMap<(AppName, ProcessName), Vec<&'a Fact>>;

struct Planner<'a> {
    desired: &'a Desired,
    observed: &'a Observed,
    now_ms: UnixMillis,
    /// The deployment that is being carried towards serving.
    candidate: Option<&'a Target>,
    chosen_live: Chosen<'a>,
    chosen_candidate: Chosen<'a>,
    /// Whether every node serves by the routes that are wanted now.
    settled: bool,
    actions: Vec<Action>,
    wake_at_ms: Option<UnixMillis>,
}

impl<'a> Planner<'a> {
    fn new(desired: &'a Desired, observed: &'a Observed, now_ms: UnixMillis) -> Self {
        // A switch that has begun is finished first; otherwise the newest wins.
        let candidate = match desired.in_progress.first() {
            Some(first) if first.state == DeploymentState::Switching => Some(first),
            _ => desired.in_progress.last(),
        };
        let active = desired.mode == EnvironmentMode::Active;
        let choose = |target: Option<&'a Target>| match target {
            Some(target) if active => choose(target, observed),
            _ => Chosen::new(),
        };
        Self {
            desired,
            observed,
            now_ms,
            candidate,
            chosen_live: choose(desired.live.as_ref()),
            chosen_candidate: choose(candidate),
            settled: false,
            actions: Vec::new(),
            wake_at_ms: None,
        }
    }

    fn wake_at(&mut self, at_ms: UnixMillis) {
        self.wake_at_ms = Some(self.wake_at_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
    }

    fn advance(&mut self, target: &Target, event: DeploymentEvent, reason: Option<String>) {
        self.actions.push(Action::Advance {
            deployment: target.deployment,
            from: target.state,
            event,
            reason,
        });
    }

    // --- a deployment on its way ---

    fn supersede_older(&mut self) {
        let Some(candidate) = self.candidate else { return };
        let desired = self.desired;
        for older in desired
            .in_progress
            .iter()
            .take_while(|target| target.deployment != candidate.deployment)
        {
            self.advance(
                older,
                DeploymentEvent::Superseded,
                Some("a newer deployment took its place".to_owned()),
            );
        }
    }

    fn abandon_candidates(&mut self) {
        let desired = self.desired;
        for target in &desired.in_progress {
            if target.state == DeploymentState::Switching {
                // It has won already; pausing or destroying goes on from there.
                self.advance(target, DeploymentEvent::RoutesSwitched, None);
            } else {
                let reason = match (desired.mode, &desired.unpaid) {
                    (EnvironmentMode::Active, Some(unpaid)) => unpaid.message.as_str(),
                    (EnvironmentMode::Paused, _) => "the environment was paused",
                    _ => "the environment is being destroyed",
                };
                self.advance(target, DeploymentEvent::Failed, Some(reason.to_owned()));
            }
        }
    }

    fn carry_candidate(&mut self) {
        let Some(target) = self.candidate else { return };
        match target.state {
            DeploymentState::Pending => {
                let due = target.kind == DeploymentKind::Release
                    && target.apps.values().any(|app| app.spec.release.is_some());
                let event = if due {
                    DeploymentEvent::ReleaseCommandsDue
                } else {
                    DeploymentEvent::ReleaseCommandsDone
                };
                self.advance(target, event, None);
            }
            DeploymentState::Releasing => self.run_release_commands(target),
            DeploymentState::Starting => self.start_beside(target),
            DeploymentState::Canary => self.carry_canary(target),
            DeploymentState::Holding => self.replace_held(target),
            DeploymentState::Switching => {
                // What dies meanwhile is replaced once it is live, which is a matter of
                // milliseconds, or the node is away and nothing is served anyhow.
                if self.settled {
                    self.advance(target, DeploymentEvent::RoutesSwitched, None);
                }
            }
            DeploymentState::Live
            | DeploymentState::Retired
            | DeploymentState::Failed
            | DeploymentState::Superseded => {}
        }
    }

    fn run_release_commands(&mut self, target: &Target) {
        for (name, app) in &target.apps {
            let Some(release) = &app.spec.release else { continue };
            let fact = self.observed.instances.iter().find(|fact| {
                fact.labels.role == InstanceRole::Release
                    && fact.labels.deployment == target.deployment
                    && fact.labels.app == *name
            });
            let Some(fact) = fact else {
                if let Some(refusal) = self.observed.refused.get(&target.deployment) {
                    let reason = format!("the release command of {name} could not be started: {refusal}");
                    return self.advance(target, DeploymentEvent::Failed, Some(reason));
                }
                return self.actions.push(Action::StartRelease {
                    deployment: target.deployment,
                    app: name.clone(),
                });
            };
            let deadline_ms = fact.started_ms + i64::from(release.timeout_s) * 1000;
            match fact.state {
                InstanceState::Exited { status: 0, .. } => {}
                InstanceState::Exited { status, out_of_memory } => {
                    let reason = format!("the release command of {name} {}", exit_words(status, out_of_memory));
                    return self.advance(target, DeploymentEvent::Failed, Some(reason));
                }
                _ if self.now_ms >= deadline_ms => {
                    let reason = format!(
                        "the release command of {name} did not end within {} s",
                        release.timeout_s
                    );
                    return self.advance(target, DeploymentEvent::Failed, Some(reason));
                }
                _ => return self.wake_at(deadline_ms),
            }
        }
        self.advance(target, DeploymentEvent::ReleaseCommandsDone, None);
    }

    /// Starts what may run beside the old release.
    fn start_beside(&mut self, target: &Target) {
        let held: BTreeSet<AppName> = target.apps.keys().filter(|app| self.needs_hold(app)).cloned().collect();
        if self.is_canary(target) && !held.is_empty() {
            return self.advance(target, DeploymentEvent::Failed, Some(EXCLUSIVE_CANARY.to_owned()));
        }
        if self.bring_up(target, |app| !held.contains(app)) {
            let event = if self.is_canary(target) {
                DeploymentEvent::CanaryReady
            } else if held.is_empty() {
                DeploymentEvent::AllReady
            } else {
                DeploymentEvent::HoldDue
            };
            self.advance(target, event, None);
        }
    }

    /// While requests wait: the old instances of exclusive apps end, the new ones start.
    fn replace_held(&mut self, target: &Target) {
        if !self.settled {
            return;
        }
        // The old ones are stopped by `retire_others` as soon as they are drained; `bring_up`
        // starts a new one only once none of another release is left.
        if self.bring_up(target, |_| true) {
            self.advance(target, DeploymentEvent::AllReady, None);
        }
    }

    /// Whether instances of another release have to end before those of this one start. Also
    /// if none is there at the moment: the live release might be about to start one.
    fn needs_hold(&self, app: &AppName) -> bool {
        self.is_exclusive(app)
            && self
                .desired
                .live
                .as_ref()
                .is_some_and(|live| live.apps.contains_key(app))
    }

    /// Starts what is missing of a target's apps; fails the deployment if something will not
    /// come up. Returns whether all of it is ready.
    fn bring_up(&mut self, target: &Target, wanted: impl Fn(&AppName) -> bool) -> bool {
        if let Some(reason) = self.failure_of(target) {
            self.advance(target, DeploymentEvent::Failed, Some(reason));
            return false;
        }
        let mut all_ready = true;
        for (name, app) in target.apps.iter().filter(|(name, _)| wanted(name)) {
            for (process, &count) in &app.instances {
                // What ran before is known to run: a rollback does not wait for its workers,
                // which start with the switch.
                // Those of a canary start when it is promoted.
                let routed_only = target.kind == DeploymentKind::Rollback || self.is_canary(target);
                if routed_only && !app.spec.is_routed(process) {
                    continue;
                }
                let key = (name.clone(), process.clone());
                let spec = &app.spec.processes[process];
                let facts = self.chosen_candidate.get(&key).cloned().unwrap_or_default();
                all_ready &= facts.len() >= count as usize;
                for fact in &facts {
                    if !self.is_ready(app, fact) {
                        all_ready = false;
                        self.wake_at(ready_deadline_ms(spec, fact, self.now_ms));
                    }
                }
                self.start_missing(target, &key, count as usize, &facts);
            }
        }
        if target.state != DeploymentState::Canary {
            self.wake_at(start_deadline_ms(target));
        }
        all_ready
    }

    /// Why a deployment that is starting cannot succeed, if so.
    fn failure_of(&self, target: &Target) -> Option<String> {
        if target.state == DeploymentState::Canary {
            return self.failure_of_canary(target);
        }
        if let Some(refusal) = self.observed.refused.get(&target.deployment) {
            return Some(format!("an instance could not be started: {refusal}"));
        }
        for fact in &self.observed.instances {
            let labels = &fact.labels;
            if labels.role != InstanceRole::Instance || labels.deployment != target.deployment || fact.stopping {
                continue;
            }
            let name = format!("{}.{}", labels.app, labels.process);
            let spec = target
                .apps
                .get(&labels.app)
                .and_then(|app| app.spec.processes.get(&labels.process));
            let Some(spec) = spec else { continue };
            let timeout_s = spec.check.ready_timeout_s;
            match (&fact.state, &fact.probe) {
                (InstanceState::Exited { status, out_of_memory }, _) => {
                    return Some(format!(
                        "{name} {} before it was ready",
                        exit_words(*status, *out_of_memory)
                    ));
                }
                (_, Probe::Unhealthy(why)) => return Some(format!("{name} stopped answering: {why}")),
                (InstanceState::Running, Probe::Waiting(why))
                    if labels.port.is_some() && self.now_ms >= ready_deadline_ms(spec, fact, self.now_ms) =>
                {
                    let why = why.clone().unwrap_or_else(|| "no answer".to_owned());
                    return Some(format!("{name} was not ready within {timeout_s} s: {why}"));
                }
                _ => {}
            }
        }
        (self.now_ms >= start_deadline_ms(target)).then(|| "not all instances came up in time".to_owned())
    }

    fn is_ready(&mut self, app: &AppTarget, fact: &Fact) -> bool {
        if fact.state != InstanceState::Running {
            return false;
        }
        if app.spec.is_routed(&fact.labels.process) {
            return fact.probe == Probe::Ready && fact.backend.is_some();
        }
        let ready_at_ms = fact.started_ms + WORKER_READY_MS;
        if self.now_ms < ready_at_ms {
            self.wake_at(ready_at_ms);
        }
        self.now_ms >= ready_at_ms
    }

    // --- what serves ---

    /// Keeps as many instances of the live release running as are wanted. An exclusive app is
    /// left alone while another release of it takes over.
    fn carry_live(&mut self) {
        let desired = self.desired;
        let Some(target) = &desired.live else { return };
        for (name, app) in &target.apps {
            let taken_over = self.is_exclusive(name)
                && self.candidate.is_some_and(|candidate| {
                    matches!(candidate.state, DeploymentState::Holding | DeploymentState::Switching)
                });
            if taken_over {
                continue;
            }
            for (process, &count) in &app.instances {
                let key = (name.clone(), process.clone());
                let facts = self.chosen_live.get(&key).cloned().unwrap_or_default();
                self.start_missing(target, &key, count as usize, &facts);
            }
        }
        self.count_crashes(target);
    }

    fn start_missing(&mut self, target: &Target, key: &(AppName, ProcessName), wanted: usize, facts: &[&Fact]) {
        for fact in facts
            .iter()
            .filter(|fact| fact.state == InstanceState::Frozen && !fact.asleep)
        {
            self.actions.push(Action::Thaw {
                instance: fact.labels.instance,
            });
        }
        let missing = wanted.saturating_sub(facts.len());
        if missing == 0 || self.is_blocked(target, key) {
            return;
        }
        let crashes = match target.state {
            DeploymentState::Live => self.observed.crashes.get(key).copied().unwrap_or_default(),
            DeploymentState::Canary => self.crashes_of_canary(target, key),
            _ => Crashes::default(),
        };
        if crashes.count > 0 && self.now_ms < crashes.not_before_ms {
            return self.wake_at(crashes.not_before_ms);
        }
        for _ in 0..missing {
            let (app, process) = key.clone();
            self.actions.push(Action::Start {
                deployment: target.deployment,
                app,
                process,
            });
        }
    }

    /// Whether something that must not run beside a new instance is still there.
    fn is_blocked(&self, target: &Target, (app, process): &(AppName, ProcessName)) -> bool {
        self.is_exclusive(app)
            && self.observed.instances.iter().any(|fact| {
                let labels = &fact.labels;
                labels.role == InstanceRole::Instance
                    && labels.app == *app
                    && !matches!(fact.state, InstanceState::Exited { .. })
                    && (fact.stopping || !is_mine(target, fact) || labels.process == *process)
            })
    }

    fn count_crashes(&mut self, target: &Target) {
        for fact in &self.observed.instances {
            if !is_mine(target, fact) || fact.stopping || fact.labels.role != InstanceRole::Instance {
                continue;
            }
            let reason = match (&fact.state, &fact.probe) {
                (InstanceState::Exited { status, out_of_memory }, _) => exit_words(*status, *out_of_memory),
                (InstanceState::Running, Probe::Unhealthy(why)) => format!("stopped answering ({why})"),
                _ => match self.overdue(target, fact) {
                    Some(reason) => reason,
                    None => continue,
                },
            };
            self.actions.push(Action::Crashed {
                instance: fact.labels.instance,
                reason,
            });
        }
    }

    /// A replacement that never gets ready is as dead as one that exits.
    fn overdue(&mut self, target: &Target, fact: &Fact) -> Option<String> {
        let spec = target
            .apps
            .get(&fact.labels.app)?
            .spec
            .processes
            .get(&fact.labels.process)?;
        let waiting = matches!(fact.probe, Probe::Waiting(_)) && fact.state == InstanceState::Running;
        if !waiting || fact.labels.port.is_none() {
            return None;
        }
        let deadline_ms = ready_deadline_ms(spec, fact, self.now_ms);
        if self.now_ms < deadline_ms {
            self.wake_at(deadline_ms);
            return None;
        }
        Some(format!("was not ready within {} s", spec.check.ready_timeout_s))
    }
}

/// The instances of a target that count: alive, not dead by their checks, at most as many as
/// are wanted, the ready and then the oldest first.
fn choose<'a>(target: &Target, observed: &'a Observed) -> Chosen<'a> {
    let mut chosen = Chosen::new();
    for fact in &observed.instances {
        let unhealthy = matches!(fact.probe, Probe::Unhealthy(_));
        if is_mine(target, fact) && is_alive(fact) && !unhealthy {
            chosen
                .entry((fact.labels.app.clone(), fact.labels.process.clone()))
                .or_default()
                .push(fact);
        }
    }
    chosen.retain(|(app, process), facts| {
        let wanted = target
            .apps
            .get(app)
            .and_then(|app| app.instances.get(process))
            .copied()
            .unwrap_or(0);
        facts.sort_by_key(|fact| {
            let running = fact.is_up();
            (
                !(running && fact.probe == Probe::Ready),
                !running,
                fact.started_ms,
                fact.labels.instance,
            )
        });
        facts.truncate(wanted as usize);
        wanted > 0
    });
    chosen
}

/// Whether an instance may serve for a target. A restart wants new ones.
pub(super) fn is_mine(target: &Target, fact: &Fact) -> bool {
    fact.labels.role == InstanceRole::Instance
        && fact.labels.release == target.release
        && (target.kind != DeploymentKind::Restart || fact.labels.deployment == target.deployment)
}

fn is_alive(fact: &Fact) -> bool {
    !fact.stopping && !matches!(fact.state, InstanceState::Exited { .. })
}

/// When a deployment that is starting has had its time: that of its slowest process, and some
/// for what the engine does not start.
fn start_deadline_ms(target: &Target) -> UnixMillis {
    let processes = target.apps.values().flat_map(|app| app.spec.processes.values());
    let slowest_s = processes.map(|spec| spec.check.ready_timeout_s).max().unwrap_or(60);
    target.entered_ms + i64::from(slowest_s) * 1000 + START_SLACK_MS
}

/// When an instance that is not ready counts as one that will not be. Its time begins with its
/// first check: a thawed instance, or one that an earlier control left, started long before.
fn ready_deadline_ms(spec: &ProcessSpec, fact: &Fact, now_ms: UnixMillis) -> UnixMillis {
    fact.checked_since_ms.unwrap_or(now_ms) + i64::from(spec.check.ready_timeout_s) * 1000
}

/// `exited with status 1`, for the end of a sentence.
pub fn exit_words(status: i64, out_of_memory: bool) -> String {
    match status {
        _ if out_of_memory => "ran out of memory".to_owned(),
        0 => "exited with status 0".to_owned(),
        126 | 127 => format!("exited with status {status} (its command could not be found or run)"),
        137 => "was killed (SIGKILL)".to_owned(),
        139 => "crashed (SIGSEGV)".to_owned(),
        status => format!("exited with status {status}"),
    }
}
