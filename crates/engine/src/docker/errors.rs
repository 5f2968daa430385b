//! The engine's failures in the words of the trait.

use bollard::errors::Error;

use crate::EngineError;

/// Longest text of the engine that is passed on, in characters.
const MOST_MESSAGE_CHARS: usize = 2_000;

/// Phrases by which the engine says that something ran out.
const EXHAUSTED: [&str; 7] = [
    "no space left on device",
    "disk quota exceeded",
    "non-overlapping ipv4 address pool",
    "no available ipv4 address",
    "no available network",
    "cannot allocate memory",
    "too many open files",
];

/// Phrases by which the engine says that it is about to go.
const AWAY: [&str; 4] = [
    "context canceled",
    "shutting down",
    "daemon is stopping",
    "connection refused: unavailable",
];

/// An answer of the engine that is not a success.
pub(super) fn from_status(status: u16, message: &str) -> EngineError {
    let message: String = message.trim().chars().take(MOST_MESSAGE_CHARS).collect();
    let lower = message.to_lowercase();
    if EXHAUSTED.iter().any(|phrase| lower.contains(phrase)) {
        return EngineError::Exhausted(message);
    }
    if AWAY.iter().any(|phrase| lower.contains(phrase)) || matches!(status, 502..=504) {
        return EngineError::Unreachable(message);
    }
    if status == 404 {
        return EngineError::NotFound(named(&message));
    }
    EngineError::Refused(message)
}

/// `No such container: weir-…` becomes `container weir-…`, to be followed by "does not exist".
fn named(message: &str) -> String {
    message
        .strip_prefix("No such ")
        .unwrap_or(message)
        .replacen(": ", " ", 1)
}

/// A failure of the connection.
pub(super) fn from_hyper(error: hyper::Error) -> EngineError {
    EngineError::Unreachable(with_cause(&error))
}

/// A failure of a call through the client library.
pub(super) fn from_client(error: Error) -> EngineError {
    match error {
        Error::DockerResponseServerError { status_code, message } => from_status(status_code, &message),
        Error::DockerStreamError { error } => from_status(500, &error),
        Error::RequestTimeoutError => EngineError::Unreachable("it took too long to answer".to_owned()),
        other => EngineError::Unreachable(with_cause(&other)),
    }
}

/// An error with what caused it, since the outermost one rarely says what is wrong.
fn with_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// Whether a call failed because what it names is gone.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether a call failed because of the state of what it names.
pub(super) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_refusal() {
        let full = from_status(500, "write /var/lib/docker/x: no space left on device");
        assert!(matches!(full, EngineError::Exhausted(_)) && full.retryable());
        assert!(matches!(from_status(400, "bad parameter"), EngineError::Refused(_)));
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = from_status(404, "No such container: weir-1");
        assert_eq!(error.to_string(), "container weir-1 does not exist");
    }
}
