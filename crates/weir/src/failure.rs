//! What goes wrong in the CLI, in the words of a person: what is wrong, where, what to do next.

use std::fmt;

use serde::Serialize;

/// How `weir` ends. Documented in `docs/reference/cli.md`; scripts rely on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// It is done.
    Ok,
    /// The operation failed: a build, a deployment, a check.
    Failed,
    /// The command line or what it names is wrong.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// The token is missing, unknown, or may not do this.
    NotAllowed,
    /// Weir does not answer.
    Unreachable,
    /// The state of things forbids it: the name is taken, the environment is paused.
    Conflict,
    /// `weir run` and `weir exec`: Weir could not run the command.
    NotRun,
    /// Ctrl-C.
    Interrupted,
    /// Whoever reads the output went away.
    PipeClosed,
    /// The status of the command that was run.
    Command(u8),
}

impl ExitCode {
    /// The number that the shell sees.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotAllowed => 4,
            Self::Unreachable => 5,
            Self::Conflict => 6,
            Self::NotRun => 125,
            Self::Interrupted => 130,
            Self::PipeClosed => 141,
            Self::Command(status) => status,
        }
    }

    /// All with a fixed number and what they mean, for the reference.
    pub(crate) const DOCUMENTED: [(Self, &'static str); 9] = [
        (Self::Ok, "It is done."),
        (
            Self::Failed,
            "The operation failed: a build, a deployment, a check; or Weir itself failed.",
        ),
        (Self::Usage, "The command line, or a value on it, is wrong."),
        (Self::NotFound, "What was named does not exist."),
        (
            Self::NotAllowed,
            "The token is missing, unknown or expired, or may not do this.",
        ),
        (
            Self::Unreachable,
            "Weir does not answer at its address, or is still starting.",
        ),
        (
            Self::Conflict,
            "The state of things forbids it: a name is taken, an environment is paused.",
        ),
        (
            Self::NotRun,
            "`weir run` and `weir exec`: the command could not be run. Otherwise they end with the command's own status.",
        ),
        (Self::Interrupted, "Ctrl-C. What Weir was asked for goes on."),
    ];
}

/// The result of everything that can fail with words for a person.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a command failed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    /// Stable and machine-readable, as in the API's problems.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// One line.
    #[serde(rename = "title")]
    pub(crate) message: String,
    /// Where, which value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// The next step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
    /// What is wrong with entries of a list.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) entries: Box<[weir_api::EntryProblem]>,
    /// How the process ends.
    #[serde(skip)]
    pub(crate) code: ExitCode,
}

impl Failure {
    fn new(code: ExitCode, kind: &str, message: impl Into<String>) -> Self {
        Self {
            kind: kind.to_owned(),
            message: message.into(),
            detail: None,
            hint: None,
            entries: Box::default(),
            code,
        }
    }

    /// The operation failed.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Failed, "failed", message)
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Usage, "usage", message)
    }

    /// What was named does not exist.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(ExitCode::NotFound, "not-found", message)
    }

    /// The token is missing or may not do this.
    pub(crate) fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(ExitCode::NotAllowed, "not-allowed", message)
    }

    /// Weir does not answer.
    pub(crate) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Unreachable, "unreachable", message)
    }

    /// The state of things forbids it.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Conflict, "conflict", message)
    }

    /// Ctrl-C.
    pub(crate) fn interrupted(message: impl Into<String>) -> Self {
        Self::new(ExitCode::Interrupted, "interrupted", message)
    }

    /// Something with a file.
    pub(crate) fn file(verb: &str, path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::failed(format!("cannot {verb} {}", path.display())).detail(error.to_string())
    }

    /// Adds where and which value.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds the next step.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends with another code.
    #[must_use]
    pub(crate) fn code(mut self, code: ExitCode) -> Self {
        self.code = code;
        self
    }

    /// An error that the API answered with.
    pub(crate) fn from_problem(problem: weir_api::Problem) -> Self {
        let code = match problem.status {
            400 | 413 | 415 | 422 => ExitCode::Usage,
            401 | 403 => ExitCode::NotAllowed,
            404 | 410 => ExitCode::NotFound,
            409 => ExitCode::Conflict,
            503 => ExitCode::Unreachable,
            _ => ExitCode::Failed,
        };
        Self {
            kind: problem.kind,
            message: problem.title,
            detail: problem.detail,
            hint: problem.hint,
            entries: problem.entries.into(),
            code,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            // `weir logs | head`: nobody is left to tell.
            return Self::new(ExitCode::PipeClosed, "pipe-closed", "");
        }
        Self::failed("cannot read or write").detail(error.to_string())
    }
}
