//! The store: what was asked for and what became of it. The only room that knows SQL.
//!
//! One module a noun; a method's name is the noun, then the verb (`deployment_advance`).
//! Everything else in the house sees the nouns of `weir-model` and [`StoreError`].
//!
//! The same statements run on SQLite (embedded, the default) and PostgreSQL. What they have to
//! offer differs in how writers exclude each other, so the rule is the same for both: **a
//! transaction first writes the row that it decides about**, then reads, then writes the rest.
//! On PostgreSQL that locks the row; on SQLite every transaction is the only writer anyway
//! (`BEGIN IMMEDIATE` on one connection, so that no read has to become a write later, which
//! is what fails with "database is locked"). Rows are locked from the project down to the
//! environment down to the rest, and host names in alphabetical order, so that transactions
//! cannot wait for each other in a circle; read committed is then enough, and nothing has to be
//! repeated.
//!
//! Whatever changes by a decision made earlier is a compare-and-set: it says what it expects
//! and returns whether that was so.
//!
//! The room refuses to read a clock or draw random numbers; callers bring both. When the disk
//! is full, writes fail with [`StoreError::Full`] and change nothing; reads go on.

mod access;
mod account;
mod audit;
mod billing;
mod certificate;
mod change;
mod contact;
mod deployment;
mod domain;
mod environment;
mod error;
mod guard_rule;
mod help;
mod idempotency;
mod invoice;
mod ledger;
mod member;
mod metric;
mod migrations;
mod notice;
mod open;
mod project;
mod protection;
mod release;
mod row;
mod scale;
mod search;
mod service_account;
mod setting;
mod sign_in;
mod task;
mod tcp;
mod token;
mod user;
mod variable;

use std::sync::Arc;

use sqlx::{Any, AnyPool, Transaction};

pub use access::NodeRun;
pub use account::Account;
pub use audit::{AuditEntry, AuditPlace, AuditSearch};
pub use billing::{BillingRecord, RecordKind, RecordState, RecordStep, UsageSeen};
pub use certificate::{CertificateCount, CertificateName, CertificateOrigin, CountedKind, StoredCertificate};
pub use change::{Change, ChangeSearch};
pub use contact::{Channel, Contact};
pub use deployment::DeploymentStep;
pub use error::{StoreError, Taken};
pub use help::{HelpBound, HelpMail, HelpMessage, HelpRequest, HelpSearch, HelpState, HelpWritten};
pub use idempotency::Idempotency;
pub use invoice::{Finalize, Invoice, InvoiceState};
pub use ledger::{Checkpoint, JournalRow, UsageHour};
pub use member::{Invitation, Member, Membership};
pub use metric::{MetricChunk, ReleaseMark};
pub use migrations::newest_schema;
pub use notice::{NOTICES_WAITING, Notice, NoticeState};
pub use protection::AccessUser;
pub use service_account::ServiceAccount;
pub use sign_in::SignIn;
pub use task::{LINES_KEPT, TaskSearch};
pub use tcp::{TcpPort, TcpPortRefused, TcpPortWish};
pub use user::User;

/// The store; cheap to clone.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    database: Database,
    /// On SQLite connections that cannot write; on PostgreSQL the same pool as `write`.
    read: AnyPool,
    /// On SQLite one connection: whoever writes waits here, in order, not in the database.
    write: AnyPool,
}

/// Which database it is, for the few places where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Database {
    Sqlite,
    Postgres,
}

impl Store {
    /// Ends every connection, once the calls that use them have ended. Calls after it fail.
    pub async fn close(&self) {
        self.shared.read.close().await;
        self.shared.write.close().await;
    }

    fn database(&self) -> Database {
        self.shared.database
    }

    /// For statements that only read.
    fn read(&self) -> &AnyPool {
        &self.shared.read
    }

    /// For single statements that write.
    fn write(&self) -> &AnyPool {
        &self.shared.write
    }

    /// For several statements that become true together. Dropped without commit, it is rolled
    /// back.
    async fn begin(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let statement = match self.shared.database {
            Database::Sqlite => "BEGIN IMMEDIATE",
            Database::Postgres => "BEGIN",
        };
        Ok(self.shared.write.begin_with(statement).await?)
    }

    /// For several statements that read what was true at one instant.
    async fn begin_snapshot(&self) -> Result<Transaction<'static, Any>, StoreError> {
        let statement = match self.shared.database {
            // The first statement that reads fixes what the others see.
            Database::Sqlite => "BEGIN",
            Database::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        Ok(self.shared.read.begin_with(statement).await?)
    }
}
