//! Notices: what is to be sent to contacts, kept until it is delivered or given up.

use std::fmt;
use std::str::FromStr;

use weir_model::{ContactId, NoticeId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional, storable};
use crate::{Store, StoreError};

/// Most notices that wait for one contact; what comes on top of it is noted as not sent.
pub const NOTICES_WAITING: i64 = 1_000;

/// Something that a contact is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Rises with every notice; a contact gets its notices in this order.
    pub sequence: i64,
    /// Identity; the receiver sees the same one however often it is delivered.
    pub id: NoticeId,
    /// To whom.
    pub contact: ContactId,
    /// The same for the same news.
    pub key: String,
    /// `money.crossed`, `guard.tripped` …
    pub kind: String,
    /// One line for people.
    pub subject: String,
    /// What is sent: text for mail, JSON for webhooks.
    pub body: String,
    /// When it was handed in.
    pub created_ms: UnixMillis,
    /// How far it is.
    pub state: NoticeState,
    /// How often it was tried.
    pub attempts: u32,
    /// While it waits: when it is tried next; afterwards: when it was done with.
    pub next_ms: UnixMillis,
    /// What went wrong at the last attempt.
    pub problem: Option<String>,
}

/// How far a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoticeState {
    /// It is to be sent.
    Waiting,
    /// The receiver has taken it.
    Sent,
    /// It will not be tried again.
    GivenUp,
}

impl fmt::Display for NoticeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Sent => "sent",
            Self::GivenUp => "given-up",
        })
    }
}

impl FromStr for NoticeState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "waiting" => Ok(Self::Waiting),
            "sent" => Ok(Self::Sent),
            "given-up" => Ok(Self::GivenUp),
            _ => Err(format!("`{text}` is no state of a notice")),
        }
    }
}

impl FromRow for Notice {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            id: row.parsed("id")?,
            contact: row.parsed("contact_id")?,
            key: row.text("key")?,
            kind: row.text("kind")?,
            subject: row.text("subject")?,
            body: row.text("body")?,
            created_ms: row.integer("created_ms")?,
            state: row.parsed("state")?,
            attempts: u32::try_from(row.integer("attempts")?).unwrap_or(u32::MAX),
            next_ms: row.integer("next_ms")?,
            problem: row.text_optional("problem")?,
        })
    }
}

impl Store {
    /// Hands in a notice, whose sequence is given here. Says whether it is new: the same key for
    /// the same contact is written once. With [`NOTICES_WAITING`] before it, it is written as
    /// given up. `NotFound` if there is no such contact.
    pub async fn notice_insert(&self, notice: &Notice) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the counter until the commit, so that what follows sees what others have written.
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'notice' RETURNING value")
            .fetch_one(&mut *transaction)
            .await?;
        let sequence = Fields(&row).integer("value")?;
        let row = sqlx::query("SELECT COUNT(*) AS waiting FROM notices WHERE contact_id = $1 AND state = 'waiting'")
            .bind(notice.contact.to_string())
            .fetch_one(&mut *transaction)
            .await?;
        let full = Fields(&row).integer("waiting")? >= NOTICES_WAITING;
        let (state, problem) = if full {
            (NoticeState::GivenUp, Some("too many wait for this contact already"))
        } else {
            (notice.state, notice.problem.as_deref())
        };
        let written = sqlx::query(
            "INSERT INTO notices
                (sequence, id, contact_id, key, kind, subject, body, created_ms, state, attempts, next_ms, problem)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
             ON CONFLICT (contact_id, key) DO NOTHING",
        )
        .bind(sequence)
        .bind(notice.id.to_string())
        .bind(notice.contact.to_string())
        .bind(&notice.key)
        .bind(&notice.kind)
        .bind(storable(&notice.subject))
        .bind(storable(&notice.body))
        .bind(notice.created_ms)
        .bind(state.to_string())
        .bind(i64::from(notice.attempts))
        .bind(notice.next_ms)
        .bind(problem)
        .execute(&mut *transaction)
        .await
        .map_err(|error| StoreError::from(error).missing(|| format!("the contact {}", notice.contact)))?;
        transaction.commit().await?;
        Ok(written.rows_affected() > 0)
    }

    /// What is to be sent now: of each contact the oldest that waits, if it is its time.
    pub async fn notice_due(&self, now_ms: UnixMillis, limit: i64) -> Result<Vec<Notice>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM notices n WHERE state = 'waiting' AND next_ms <= $1 AND NOT EXISTS (
                SELECT 1 FROM notices o
                WHERE o.contact_id = n.contact_id AND o.state = 'waiting' AND o.sequence < n.sequence)
             ORDER BY next_ms, sequence LIMIT $2",
        )
        .bind(now_ms)
        .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Writes how an attempt ended, if nobody has since the notice was read. Says whether that
    /// was so.
    pub async fn notice_advance(
        &self,
        notice: &Notice,
        state: NoticeState,
        next_ms: UnixMillis,
        problem: Option<&str>,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE notices SET state = $1, attempts = attempts + 1, next_ms = $2, problem = $3
             WHERE sequence = $4 AND state = 'waiting' AND attempts = $5",
        )
        .bind(state.to_string())
        .bind(next_ms)
        .bind(problem.map(storable))
        .bind(notice.sequence)
        .bind(i64::from(notice.attempts))
        .execute(self.write())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// A notice.
    pub async fn notice_by_id(&self, id: NoticeId) -> Result<Option<Notice>, StoreError> {
        let query = sqlx::query("SELECT * FROM notices WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The newest notices, newest first.
    pub async fn notice_list(&self, limit: i64) -> Result<Vec<Notice>, StoreError> {
        let query = sqlx::query("SELECT * FROM notices ORDER BY sequence DESC LIMIT $1").bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Removes what was done with before an instant.
    pub async fn notice_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM notices WHERE state <> 'waiting' AND next_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}
