//! What can go wrong in the store, in the words of those who must act on it.

use std::fmt;

use sqlx::error::DatabaseError;

/// Why the store could not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// What was to be unique is taken already, or is not possible any more.
    #[error("{0}")]
    Conflict(Taken),
    /// What was to be changed, or what it belongs to, is not there (any more).
    #[error("{0} does not exist")]
    NotFound(String),
    /// The database cannot be reached or is too busy; nothing was changed, or (when the
    /// connection broke during a commit) it is unknown whether it was. Trying again may help.
    #[error("the database is unavailable: {0}")]
    Unavailable(String),
    /// The disk is full. Nothing was changed; what is stored can still be read.
    #[error("the disk of the database is full, so nothing can be written: free some space and try again ({0})")]
    Full(String),
    /// A bug, a damaged database or a wrong configuration; a person must look.
    #[error("the database failed: {0}")]
    Internal(String),
}

/// What is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The constraint's name, for programs: `domains_host_unique`.
    pub constraint: &'static str,
    /// A sentence for people, without full stop: `the host name shop.localhost is taken`.
    pub words: String,
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

/// A unique constraint of the schema, how SQLite tells of it (it gives the columns, not the
/// name), and the words to use where the caller has no better ones.
struct Unique {
    constraint: &'static str,
    columns: &'static str,
    words: &'static str,
}

/// Those that people run into, then those that only a bug can violate.
const UNIQUE: &[Unique] = &[
    Unique {
        constraint: "projects_name_unique",
        columns: "projects.name",
        words: "there is a project of this name already",
    },
    Unique {
        constraint: "environments_name_unique",
        columns: "environments.project_id, environments.name",
        words: "the project has an environment of this name already",
    },
    Unique {
        constraint: "environments_branch_unique",
        columns: "environments.project_id, environments.branch",
        words: "another environment of the project follows this branch already",
    },
    Unique {
        constraint: "domains_host_unique",
        columns: "domains.host",
        words: "the host name is taken",
    },
    Unique {
        constraint: "accounts_name_unique",
        columns: "accounts.name",
        words: "there is an account of this name already",
    },
    Unique {
        constraint: "tokens_secret_unique",
        columns: "tokens.secret_sha256",
        words: "there is a token with this secret already",
    },
    Unique {
        constraint: "users_email_unique",
        columns: "users.email",
        words: "there is somebody with this mail address already",
    },
    Unique {
        constraint: "users_oidc_unique",
        columns: "users.oidc_subject",
        words: "somebody signs in by this identity already",
    },
    Unique {
        constraint: "service_accounts_name_unique",
        columns: "service_accounts.unique_name",
        words: "there is a service account of this name in the same place already",
    },
    Unique {
        constraint: "memberships_user_unique",
        columns: "memberships.user_id, memberships.place",
        words: "they have a role there already",
    },
    Unique {
        constraint: "memberships_service_account_unique",
        columns: "memberships.service_account_id, memberships.place",
        words: "it has a role there already",
    },
    Unique {
        constraint: "releases_number_unique",
        columns: "releases.environment_id, releases.number",
        words: "the environment has a release of this number already",
    },
    Unique {
        constraint: "tcp_ports_primary",
        columns: "tcp_ports.port",
        words: "the port of a TCP service was taken by another one at this moment",
    },
    Unique {
        constraint: "accounts_primary",
        columns: "accounts.id",
        words: "the account exists already",
    },
    Unique {
        constraint: "projects_primary",
        columns: "projects.id",
        words: "the project exists already",
    },
    Unique {
        constraint: "environments_primary",
        columns: "environments.id",
        words: "the environment exists already",
    },
    Unique {
        constraint: "domains_primary",
        columns: "domains.id",
        words: "the domain exists already",
    },
    Unique {
        constraint: "tokens_primary",
        columns: "tokens.id",
        words: "the token exists already",
    },
    Unique {
        constraint: "releases_primary",
        columns: "releases.id",
        words: "the release exists already",
    },
    Unique {
        constraint: "deployments_primary",
        columns: "deployments.id",
        words: "the deployment exists already",
    },
    Unique {
        constraint: "tasks_primary",
        columns: "tasks.id",
        words: "the task exists already",
    },
];

impl StoreError {
    /// Whether the same call may succeed a moment later without anybody doing anything.
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Better words for a conflict, from a caller who knows the values.
    pub(crate) fn taken(self, constraint: &str, words: impl FnOnce() -> String) -> Self {
        match self {
            Self::Conflict(taken) if taken.constraint == constraint => Self::Conflict(Taken {
                words: words(),
                ..taken
            }),
            other => other,
        }
    }

    /// Better words for a missing parent, from a caller who knows which it is.
    pub(crate) fn missing(self, what: impl FnOnce() -> String) -> Self {
        match self {
            Self::NotFound(_) => Self::NotFound(what()),
            other => other,
        }
    }

    /// A row that cannot be understood.
    pub(crate) fn unreadable(column: &str, reason: impl fmt::Display) -> Self {
        Self::Internal(format!(
            "the column {column} holds something that cannot be read: {reason}"
        ))
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => from_database(error.as_ref()),
            sqlx::Error::PoolTimedOut => Self::Unavailable("every connection is busy".to_owned()),
            sqlx::Error::PoolClosed => Self::Unavailable("the store was closed".to_owned()),
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed => {
                Self::Unavailable(error.to_string())
            }
            other => Self::Internal(other.to_string()),
        }
    }
}

/// What both databases tell of a failure. The code is five letters and digits on PostgreSQL, a
/// number of at most four digits on SQLite.
struct Report<'e> {
    code: &'e str,
    message: &'e str,
    /// Only PostgreSQL tells it.
    constraint: Option<&'e str>,
}

fn from_database(error: &dyn DatabaseError) -> StoreError {
    let code = error.code().unwrap_or_default();
    let report = Report {
        code: &code,
        message: error.message(),
        constraint: error.constraint(),
    };
    match code.parse::<u32>() {
        Ok(number) if code.len() < 5 => from_sqlite(number, &report),
        _ => from_postgres(&report),
    }
}

/// <https://www.sqlite.org/rescode.html>; the low byte of an extended code is the primary one.
fn from_sqlite(code: u32, report: &Report<'_>) -> StoreError {
    const FOREIGN_KEY: u32 = 787;
    const SHARED_MEMORY_SIZE: u32 = 4874;
    let message = report.message.to_owned();
    match (code, code & 0xff) {
        (FOREIGN_KEY, _) => StoreError::NotFound("what this belongs to".to_owned()),
        (_, 19) => {
            let columns = message.strip_prefix("UNIQUE constraint failed: ");
            match UNIQUE.iter().find(|unique| Some(unique.columns) == columns) {
                Some(unique) => conflict(unique),
                None => StoreError::Internal(message),
            }
        }
        // The file of shared memory beside the database cannot grow.
        (SHARED_MEMORY_SIZE, _) | (_, 13) => StoreError::Full(message),
        // Busy, locked, cannot open, locking protocol.
        (_, 5 | 6 | 14 | 15) => StoreError::Unavailable(message),
        (_, 11 | 26) => StoreError::Internal(format!("{message}; the file is damaged: restore it from a backup")),
        (_, 8) => StoreError::Internal(format!(
            "{message}; give Weir the right to write the file and its folder"
        )),
        _ => StoreError::Internal(format!("{message} (SQLite's code {code})")),
    }
}

/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>
fn from_postgres(report: &Report<'_>) -> StoreError {
    let message = report.message.to_owned();
    match report.code {
        "23505" => match UNIQUE
            .iter()
            .find(|unique| Some(unique.constraint) == report.constraint)
        {
            Some(unique) => conflict(unique),
            None => StoreError::Internal(message),
        },
        "23503" => StoreError::NotFound("what this belongs to".to_owned()),
        "53100" => StoreError::Full(message),
        // Serialization, deadlock, lock not had in time, only readable while it recovers.
        "40001" | "40P01" | "55P03" | "25006" => StoreError::Unavailable(message),
        // Connection lost, out of resources, being shut down or starting.
        code if code.starts_with("08") || code.starts_with("53") || code.starts_with("57P") => {
            StoreError::Unavailable(message)
        }
        code => StoreError::Internal(format!("{message} (SQLSTATE {code})")),
    }
}

fn conflict(unique: &Unique) -> StoreError {
    StoreError::Conflict(Taken {
        constraint: unique.constraint,
        words: unique.words.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn postgres(code: &str) -> StoreError {
        from_postgres(&Report {
            code,
            message: "words",
            constraint: None,
        })
    }

    fn sqlite(code: u32) -> StoreError {
        from_sqlite(
            code,
            &Report {
                code: "",
                message: "words",
                constraint: None,
            },
        )
    }

    #[test]
    fn a_full_disk_is_not_worth_trying_again() {
        for error in [postgres("53100"), sqlite(13), sqlite(4874)] {
            assert!(matches!(error, StoreError::Full(_)) && !error.retryable(), "{error:?}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_worth_trying_again() {
        for code in ["40001", "40P01", "55P03", "53300", "57P01", "57P03", "08006"] {
            assert!(postgres(code).retryable(), "{code}");
        }
        // Busy, busy because of a snapshot, locked.
        for code in [5, 517, 6] {
            assert!(sqlite(code).retryable(), "{code}");
        }
    }

    #[test]
    fn bugs_and_damage_are_not_worth_trying_again() {
        for error in [
            postgres("42601"),
            postgres("23505"),
            sqlite(1),
            sqlite(11),
            sqlite(2067),
            sqlite(8),
        ] {
            assert!(matches!(error, StoreError::Internal(_)), "{error:?}");
        }
    }
}
