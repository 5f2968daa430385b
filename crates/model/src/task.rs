//! Tasks: every operation that takes time, with a state that one can watch (C3), and done only
//! when reality shows it (C4).

use serde::{Deserialize, Serialize};

use crate::{EnvironmentId, ProjectId, TaskId, UnixMillis};

/// An operation that takes time. Its lines are kept beside it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Identity.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// The project that it is about.
    pub project: ProjectId,
    /// The environment that it is about, if one.
    pub environment: Option<EnvironmentId>,
    /// One line for lists: `push of main 3f2a91c to shop`.
    pub title: String,
    /// How far it is.
    pub state: TaskState,
    /// The step that it is at, for progress: `building web`.
    pub step: String,
    /// Why it failed, in words for people.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_ms: UnixMillis,
    /// When it ended.
    pub ended_ms: Option<UnixMillis>,
}

/// What a task does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskKind {
    /// Builds a source and deploys it. Cannot be continued after a crash of control while it
    /// builds (the client is gone with its pack), only from the deployment on.
    Push,
    /// Deploys what is built: rollback, restart, promotion, changed variables.
    Deploy,
    /// Pauses an environment.
    Pause,
    /// Resumes an environment.
    Resume,
    /// Changes numbers of instances.
    Scale,
    /// Removes an environment or a project with all it has.
    Destroy,
}

impl TaskKind {
    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Deploy => "deploy",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Scale => "scale",
            Self::Destroy => "destroy",
        }
    }
}

impl std::str::FromStr for TaskKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [
            Self::Push,
            Self::Deploy,
            Self::Pause,
            Self::Resume,
            Self::Scale,
            Self::Destroy,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("unknown kind of task `{text}`"))
    }
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TaskState {
    /// Waits for its turn.
    Queued,
    /// Is being worked on.
    Running,
    /// Reality shows what was asked for.
    Done,
    /// It failed; `error` says why.
    Failed,
    /// Something newer took its place.
    Superseded,
}

impl TaskState {
    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
        }
    }

    /// Whether nothing more will happen.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Superseded)
    }
}

impl std::str::FromStr for TaskState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Queued, Self::Running, Self::Done, Self::Failed, Self::Superseded]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| format!("unknown state of a task `{text}`"))
    }
}

/// One line of a task's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskLine {
    /// 1, 2, 3 … in the task.
    pub sequence: i64,
    /// When it was written.
    pub at_ms: UnixMillis,
    /// What kind of line it is.
    pub kind: LineKind,
    /// Without line end; at most 4 KiB.
    pub text: String,
}

/// What kind of line it is; clients show them differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LineKind {
    /// A step begins: `Building web (Python 3.13)`.
    Step,
    /// A detail of the step.
    Info,
    /// Output of a build, a release command or an instance.
    Output,
    /// What went wrong.
    Error,
    /// What to do next.
    Hint,
}

impl LineKind {
    /// The word in SQL and API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Info => "info",
            Self::Output => "output",
            Self::Error => "error",
            Self::Hint => "hint",
        }
    }
}

impl std::str::FromStr for LineKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Step, Self::Info, Self::Output, Self::Error, Self::Hint]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("unknown kind of line `{text}`"))
    }
}
