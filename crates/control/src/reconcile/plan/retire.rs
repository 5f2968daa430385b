//! What becomes of instances that are not wanted: they drain, then they are frozen or stopped.

use std::collections::BTreeSet;

use weir_engine::{InstanceRole, InstanceState};
use weir_model::InstanceId;
use weir_model::deployment::DeploymentState;
use weir_model::project::EnvironmentMode;

use super::*;

impl Planner<'_> {
    pub(super) fn retire_others(&mut self, routes: &Routes) {
        let kept: BTreeSet<InstanceId> = self
            .chosen_live
            .values()
            .chain(self.chosen_candidate.values())
            .flatten()
            .map(|fact| fact.labels.instance)
            .collect();
        let observed = self.observed;
        for fact in &observed.instances {
            let wanted = kept.contains(&fact.labels.instance) && !self.is_dead(fact) && !self.must_give_way(fact);
            let handled = self.desired.unpaid.is_some() && fact.labels.role == InstanceRole::Run;
            if !wanted && !fact.stopping && !fact.in_session && !handled {
                self.retire(fact, routes);
            }
        }
        if let Some((previous, until_ms)) = &self.desired.previous {
            if self.now_ms >= *until_ms {
                self.actions.push(Action::ForgetPrevious {
                    deployment: previous.deployment,
                });
            } else {
                self.wake_at(*until_ms);
            }
        }
    }

    /// Freezes what runs, so that it costs no more than was held for it, and stops it after a
    /// while. One-off commands are stopped at once: nobody waits for a frozen one.
    pub(super) fn go_without_money(&mut self, unpaid: &Unpaid) {
        let kept_until_ms = unpaid.since_ms + UNPAID_FROZEN_MS;
        let observed = self.observed;
        for fact in observed.instances.iter().filter(|fact| !fact.stopping) {
            let instance = fact.labels.instance;
            let ended = matches!(fact.state, InstanceState::Exited { .. });
            if fact.labels.role == InstanceRole::Run {
                if !ended {
                    self.actions.push(Action::Stop {
                        instance,
                        grace_s: ONE_OFF_GRACE_S,
                    });
                }
            } else if fact.labels.role == InstanceRole::Instance && !ended && self.is_kept(fact) {
                if self.now_ms >= kept_until_ms {
                    // Held since it ran, as its process has it.
                    let grace_s = self.grace_s(&fact.labels);
                    self.actions.push(Action::Stop { instance, grace_s });
                } else if fact.state == InstanceState::Running {
                    self.actions.push(Action::Freeze { instance });
                }
            }
        }
        if self.now_ms < kept_until_ms {
            self.wake_at(kept_until_ms);
        }
    }

    fn is_kept(&self, fact: &Fact) -> bool {
        let instance = fact.labels.instance;
        self.chosen_live
            .values()
            .flatten()
            .any(|kept| kept.labels.instance == instance)
    }

    /// Whether an instance of the live release has to end so that the next one can start.
    fn must_give_way(&self, fact: &Fact) -> bool {
        self.is_held(&fact.labels.app) && self.candidate.is_some_and(|target| !is_mine(target, fact))
    }

    /// Whether an instance counts as dead although it runs.
    fn is_dead(&self, fact: &Fact) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Crashed { instance, .. } if *instance == fact.labels.instance))
    }

    fn retire(&mut self, fact: &Fact, routes: &Routes) {
        let instance = fact.labels.instance;
        if matches!(fact.state, InstanceState::Exited { .. }) {
            // A release command's end is read until its deployment has gone on.
            let awaited = fact.labels.role == InstanceRole::Release
                && self
                    .desired
                    .in_progress
                    .iter()
                    .any(|target| target.deployment == fact.labels.deployment);
            if !awaited {
                self.actions.push(Action::Remove { instance });
            }
            return;
        }
        if fact.labels.role == InstanceRole::Release {
            let awaited = self.candidate.is_some_and(|target| {
                target.deployment == fact.labels.deployment && target.state == DeploymentState::Releasing
            }) && self.desired.mode == EnvironmentMode::Active;
            if !awaited {
                self.actions.push(Action::Stop {
                    instance,
                    grace_s: ONE_OFF_GRACE_S,
                });
            }
            return;
        }
        let running = fact.state == InstanceState::Running;
        if let Some(backend) = fact.backend.as_ref().filter(|_| running)
            && (!self.settled || routes.draining.contains(backend))
        {
            return self.wake_for_drain(fact);
        }
        if self.may_wake(fact) {
            return self.wake_for_drain(fact);
        }
        match self.keeps_frozen(fact) {
            true if running => self.actions.push(Action::Freeze { instance }),
            true => {}
            false => self.actions.push(Action::Stop {
                instance,
                grace_s: self.grace_s(&fact.labels),
            }),
        }
    }

    /// Whether an instance that sleeps may still be woken by a request, or was a moment ago.
    pub(super) fn may_wake(&self, fact: &Fact) -> bool {
        let serves = |routes: &Routes| routes.serves(fact.labels.instance);
        let is_known =
            self.observed.applied.as_ref().is_some_and(serves) || fact.load.in_flight + fact.load.upgraded > 0;
        fact.state == InstanceState::Frozen
            && self.desired.unpaid.is_none()
            && fact.backend.is_some()
            && is_known
            && !self.is_drained(fact)
    }

    /// Whether an instance of the release before is kept for a quick rollback. Only routed ones
    /// are: a frozen worker could sit on a job or a lock that others wait for.
    fn keeps_frozen(&self, fact: &Fact) -> bool {
        let labels = &fact.labels;
        let Some((previous, until_ms)) = &self.desired.previous else {
            return false;
        };
        let live_release = self.desired.live.as_ref().map(|live| live.release);
        self.desired.mode == EnvironmentMode::Active
            && previous.release == labels.release
            && live_release != Some(labels.release)
            && self.now_ms < *until_ms
            && labels.port.is_some()
            && !self.is_exclusive(&labels.app)
            && (fact.state == InstanceState::Frozen || fact.probe == Probe::Ready)
    }

    fn wake_for_drain(&mut self, fact: &Fact) {
        let Some(left_ms) = fact.left_pool_ms else { return };
        for wait_ms in [
            UNHEALTHY_DRAIN_MS,
            i64::from(self.drain_s(&fact.labels)) * 1000,
            REQUEST_DRAIN_MS,
        ] {
            if left_ms + wait_ms > self.now_ms {
                return self.wake_at(left_ms + wait_ms);
            }
        }
    }
}
