//! A deployment is the act of making a release live in an environment. Its life is one
//! state machine; every step is a compare-and-set of the row, so that a control process that
//! is killed and started again, or two of them at once, cannot take a step twice.

use serde::{Deserialize, Serialize};

use crate::canary::Canary;
use crate::{DeploymentId, EnvironmentId, ReleaseId, TaskId, UnixMillis};

/// The act of making a release live.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Identity.
    pub id: DeploymentId,
    /// Where.
    pub environment: EnvironmentId,
    /// What.
    pub release: ReleaseId,
    /// Why, which decides whether instances that exist already may be taken over.
    pub kind: DeploymentKind,
    /// The task that tells people of it.
    pub task: TaskId,
    /// How far it is.
    pub state: DeploymentState,
    /// Why it failed or was superseded, in words for people.
    pub reason: Option<String>,
    /// What part of the requests it gets before all of them; none where it gets all at once.
    pub canary: Option<Canary>,
    /// When it was asked for.
    pub created_ms: UnixMillis,
    /// When the present state was entered.
    pub entered_ms: UnixMillis,
}

/// Why a deployment was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentKind {
    /// A release that is new: its release command runs.
    Release,
    /// A release that was live before: its release command does not run again, and instances
    /// of it that are still frozen are thawed.
    Rollback,
    /// The live release once more, with new instances.
    Restart,
}

impl Deployment {
    /// Whether it gets a part of the requests, and waits for somebody to decide what becomes of it.
    pub fn is_resting_canary(&self) -> bool {
        let undecided = self.canary.as_ref().is_some_and(|canary| !canary.promoted);
        self.state == DeploymentState::Canary && undecided
    }
}

impl DeploymentKind {
    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Rollback => "rollback",
            Self::Restart => "restart",
        }
    }
}

impl std::str::FromStr for DeploymentKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Release, Self::Rollback, Self::Restart]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind of deployment `{text}`"))
    }
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeploymentState {
    /// Written down; nothing has been done.
    Pending,
    /// The release command runs.
    Releasing,
    /// New instances start beside the old ones and are checked.
    Starting,
    /// It gets a part of the requests beside the one that serves, until it is promoted or given up.
    Canary,
    /// Requests of apps with a one-writer volume wait at the ingress while old instances stop
    /// and new ones start.
    Holding,
    /// The route is being switched; it counts once every node has said so.
    Switching,
    /// It serves.
    Live,
    /// It served, and another one serves now.
    Retired,
    /// It never served.
    Failed,
    /// Another deployment took its place before it served.
    Superseded,
}

/// What may happen to a deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeploymentEvent {
    /// Work begins, and there are release commands to run.
    ReleaseCommandsDue,
    /// There is no release command, or all of them ended well.
    ReleaseCommandsDone,
    /// All instances that may run beside the old ones are ready, and some app must be held.
    HoldDue,
    /// Every routed instance of a canary is ready.
    CanaryReady,
    /// Every new instance is ready.
    AllReady,
    /// Every node routes to the new instances.
    RoutesSwitched,
    /// Something failed before the switch.
    Failed,
    /// A newer deployment takes over before the switch.
    Superseded,
    /// A newer deployment went live.
    Replaced,
}

/// An event that cannot happen in a state: a bug, or a step taken twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a deployment that is {state:?} cannot go on with {event:?}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub state: DeploymentState,
    /// What was to happen.
    pub event: DeploymentEvent,
}

impl DeploymentState {
    /// All states, in the order of a deployment's life.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Releasing,
        Self::Starting,
        Self::Canary,
        Self::Holding,
        Self::Switching,
        Self::Live,
        Self::Retired,
        Self::Failed,
        Self::Superseded,
    ];

    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Releasing => "releasing",
            Self::Starting => "starting",
            Self::Canary => "canary",
            Self::Holding => "holding",
            Self::Switching => "switching",
            Self::Live => "live",
            Self::Retired => "retired",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }

    /// Whether work on it is still to be done before it serves.
    pub fn is_in_progress(self) -> bool {
        match self {
            Self::Pending | Self::Releasing | Self::Starting | Self::Canary | Self::Holding | Self::Switching => true,
            Self::Live | Self::Retired | Self::Failed | Self::Superseded => false,
        }
    }

    /// The state after an event. From `Switching` there is no way back: nodes may route to the
    /// new instances already.
    pub fn on(self, event: DeploymentEvent) -> Result<Self, IllegalTransition> {
        use DeploymentEvent as E;
        let next = match (self, event) {
            (Self::Pending, E::ReleaseCommandsDue) => Self::Releasing,
            (Self::Pending | Self::Releasing, E::ReleaseCommandsDone) => Self::Starting,
            (Self::Starting, E::HoldDue) => Self::Holding,
            (Self::Starting, E::CanaryReady) => Self::Canary,
            (Self::Starting | Self::Canary | Self::Holding, E::AllReady) => Self::Switching,
            (Self::Switching, E::RoutesSwitched) => Self::Live,
            (Self::Pending | Self::Releasing | Self::Starting | Self::Canary | Self::Holding, E::Failed) => {
                Self::Failed
            }
            (Self::Pending | Self::Releasing | Self::Starting | Self::Canary | Self::Holding, E::Superseded) => {
                Self::Superseded
            }
            (Self::Live, E::Replaced) => Self::Retired,
            (state, event) => return Err(IllegalTransition { state, event }),
        };
        Ok(next)
    }
}

impl std::str::FromStr for DeploymentState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("unknown state of a deployment `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [DeploymentEvent; 9] = [
        DeploymentEvent::ReleaseCommandsDue,
        DeploymentEvent::ReleaseCommandsDone,
        DeploymentEvent::HoldDue,
        DeploymentEvent::CanaryReady,
        DeploymentEvent::AllReady,
        DeploymentEvent::RoutesSwitched,
        DeploymentEvent::Failed,
        DeploymentEvent::Superseded,
        DeploymentEvent::Replaced,
    ];

    #[test]
    fn a_failed_deployment_never_serves() {
        for state in [
            DeploymentState::Failed,
            DeploymentState::Superseded,
            DeploymentState::Retired,
        ] {
            for event in EVENTS {
                assert!(state.on(event).is_err(), "{state:?} went on with {event:?}");
            }
        }
    }

    #[test]
    fn a_canary_is_promoted_or_given_up() {
        let canary = DeploymentState::Starting.on(DeploymentEvent::CanaryReady).unwrap();
        assert!(canary.is_in_progress());
        assert_eq!(canary.on(DeploymentEvent::AllReady), Ok(DeploymentState::Switching));
        assert_eq!(canary.on(DeploymentEvent::Failed), Ok(DeploymentState::Failed));
        assert_eq!(canary.on(DeploymentEvent::Superseded), Ok(DeploymentState::Superseded));
        assert!(canary.on(DeploymentEvent::RoutesSwitched).is_err());
        assert!(DeploymentState::Live.on(DeploymentEvent::CanaryReady).is_err());
    }

    #[test]
    fn nothing_stops_a_switch_that_has_begun() {
        assert!(DeploymentState::Switching.on(DeploymentEvent::Failed).is_err());
        assert!(DeploymentState::Switching.on(DeploymentEvent::Superseded).is_err());
        assert_eq!(
            DeploymentState::Switching.on(DeploymentEvent::RoutesSwitched),
            Ok(DeploymentState::Live)
        );
    }
}
