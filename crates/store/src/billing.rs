//! Records for an outside billing system: what is to be told, and how far that is.

use std::fmt;
use std::str::FromStr;

use weir_model::{AccountId, UnixMillis};

use crate::ledger::{UsageHour, parts};
use crate::row::{Fields, FromRow, all, optional, storable};
use crate::{Invoice, Store, StoreError};

/// Something that an outside billing system is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillingRecord {
    /// Identity; the same for the same content, so that it is written once.
    pub id: String,
    /// What it tells of.
    pub kind: RecordKind,
    /// Whose.
    pub account: AccountId,
    /// Of usage: what was there when it was written.
    pub seen: Option<UsageSeen>,
    /// Of money, as in the body.
    pub amount: String,
    /// What is sent.
    pub body: String,
    /// When it was written.
    pub created_ms: UnixMillis,
    /// How far it is …
    pub state: RecordState,
    /// … and since when.
    pub entered_ms: UnixMillis,
    /// Since when it is tried.
    pub queued_ms: UnixMillis,
    /// How many attempts have failed since.
    pub attempts: u32,
    /// While it is tried: when next; afterwards: when it was done with.
    pub next_ms: UnixMillis,
    /// What the outside system said last.
    pub answer: Option<String>,
    /// What is wrong.
    pub problem: Option<String>,
}

/// What a record tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// What an account used in an hour.
    Usage,
    /// A final invoice.
    Invoice,
    /// A final credit note.
    CreditNote,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usage => "usage",
            Self::Invoice => "invoice",
            Self::CreditNote => "credit-note",
        })
    }
}

impl FromStr for RecordKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "usage" => Ok(Self::Usage),
            "invoice" => Ok(Self::Invoice),
            "credit-note" => Ok(Self::CreditNote),
            _ => Err(format!("`{text}` is no kind of record")),
        }
    }
}

/// How far a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordState {
    /// It is to be sent.
    Pending,
    /// The outside system says that it has it.
    Unconfirmed,
    /// It was read back as it was sent.
    Confirmed,
    /// It is not tried any more until somebody asks for it.
    Failed,
}

impl RecordState {
    /// All of them, in the order in which a record goes through them.
    pub const ALL: [Self; 4] = [Self::Pending, Self::Unconfirmed, Self::Confirmed, Self::Failed];
}

impl fmt::Display for RecordState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Unconfirmed => "unconfirmed",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
        })
    }
}

impl FromStr for RecordState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|state| state.to_string() == text);
        found.ok_or_else(|| {
            format!("`{text}` is no state of a record; those are pending, unconfirmed, confirmed, failed")
        })
    }
}

/// What the rows of an hour of an account add up to. They only grow, so that two that are equal
/// are of the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageSeen {
    /// When the hour begins.
    pub hour_ms: UnixMillis,
    high: i64,
    low: i64,
    nano: i64,
}

impl UsageSeen {
    /// Adds up the rows of an hour.
    pub fn of(hour_ms: UnixMillis, rows: &[UsageHour]) -> Result<Self, StoreError> {
        let mut seen = Self {
            hour_ms,
            high: 0,
            low: 0,
            nano: 0,
        };
        for row in rows {
            let (high, low) = parts(row.units)?;
            seen.high = seen.high.saturating_add(high);
            seen.low = seen.low.saturating_add(low);
            seen.nano = seen.nano.saturating_add(row.amount.0);
        }
        Ok(seen)
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordStep {
    /// The state from now on.
    pub state: RecordState,
    /// How many attempts have failed.
    pub attempts: u32,
    /// When it is tried next, or was done with.
    pub next_ms: UnixMillis,
    /// What the outside system said.
    pub answer: Option<String>,
    /// What is wrong.
    pub problem: Option<String>,
}

impl FromRow for BillingRecord {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let seen = match row.integer_optional("hour_ms")? {
            Some(hour_ms) => Some(UsageSeen {
                hour_ms,
                high: row.integer("seen_high")?,
                low: row.integer("seen_low")?,
                nano: row.integer("seen_nano")?,
            }),
            None => None,
        };
        Ok(Self {
            id: row.text("id")?,
            kind: row.parsed("kind")?,
            account: row.parsed("account_id")?,
            seen,
            amount: row.text("amount")?,
            body: row.text("body")?,
            created_ms: row.integer("created_ms")?,
            state: row.parsed("state")?,
            entered_ms: row.integer("entered_ms")?,
            queued_ms: row.integer("queued_ms")?,
            attempts: u32::try_from(row.integer("attempts")?).unwrap_or(u32::MAX),
            next_ms: row.integer("next_ms")?,
            answer: row.text_optional("answer")?,
            problem: row.text_optional("problem")?,
        })
    }
}

impl Store {
    /// Writes a record. Says whether it is new: the same identity is written once.
    pub async fn billing_record_insert(&self, record: &BillingRecord) -> Result<bool, StoreError> {
        let seen = record.seen;
        let written = sqlx::query(
            "INSERT INTO billing_records (id, kind, account_id, hour_ms, seen_high, seen_low, seen_nano, amount, body,
                created_ms, state, entered_ms, queued_ms, attempts, next_ms, answer, problem)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             ON CONFLICT (id) DO NOTHING",
        )
        .bind(&record.id)
        .bind(record.kind.to_string())
        .bind(record.account.to_string())
        .bind(seen.map(|seen| seen.hour_ms))
        .bind(seen.map(|seen| seen.high))
        .bind(seen.map(|seen| seen.low))
        .bind(seen.map(|seen| seen.nano))
        .bind(&record.amount)
        .bind(&record.body)
        .bind(record.created_ms)
        .bind(record.state.to_string())
        .bind(record.entered_ms)
        .bind(record.queued_ms)
        .bind(i64::from(record.attempts))
        .bind(record.next_ms)
        .bind(record.answer.as_deref().map(storable))
        .bind(record.problem.as_deref().map(storable))
        .execute(self.write())
        .await?;
        Ok(written.rows_affected() > 0)
    }

    /// What is to be sent or read back now, the longest due first.
    pub async fn billing_record_due(&self, now_ms: UnixMillis, limit: i64) -> Result<Vec<BillingRecord>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM billing_records WHERE state IN ('pending', 'unconfirmed') AND next_ms <= $1
             ORDER BY next_ms, created_ms, id LIMIT $2",
        )
        .bind(now_ms)
        .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Writes how an attempt ended, if nobody has since the record was read. Says whether that
    /// was so.
    pub async fn billing_record_advance(
        &self,
        record: &BillingRecord,
        step: &RecordStep,
        now_ms: UnixMillis,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE billing_records SET entered_ms = CASE WHEN state = $1 THEN entered_ms ELSE $2 END,
                state = $1, attempts = $3, next_ms = $4, answer = $5, problem = $6
             WHERE id = $7 AND state = $8 AND attempts = $9",
        )
        .bind(step.state.to_string())
        .bind(now_ms)
        .bind(i64::from(step.attempts))
        .bind(step.next_ms)
        .bind(step.answer.as_deref().map(storable))
        .bind(step.problem.as_deref().map(storable))
        .bind(&record.id)
        .bind(record.state.to_string())
        .bind(i64::from(record.attempts))
        .execute(self.write())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Has a record sent anew, whatever became of it; without an identity, all that failed.
    /// Returns how many.
    pub async fn billing_record_retry(&self, id: Option<&str>, now_ms: UnixMillis) -> Result<u64, StoreError> {
        let statement = match id {
            Some(_) => {
                "UPDATE billing_records SET state = 'pending', entered_ms = $1, queued_ms = $1, attempts = 0,
                    next_ms = $1 WHERE id = $2"
            }
            None => {
                "UPDATE billing_records SET state = 'pending', entered_ms = $1, queued_ms = $1, attempts = 0,
                    next_ms = $1 WHERE state = $2"
            }
        };
        let changed = sqlx::query(statement)
            .bind(now_ms)
            .bind(id.unwrap_or("failed"))
            .execute(self.write())
            .await?;
        Ok(changed.rows_affected())
    }

    /// A record.
    pub async fn billing_record_by_id(&self, id: &str) -> Result<Option<BillingRecord>, StoreError> {
        let query = sqlx::query("SELECT * FROM billing_records WHERE id = $1").bind(id);
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The newest records (of a state), newest first.
    pub async fn billing_record_list(
        &self,
        state: Option<RecordState>,
        limit: i64,
    ) -> Result<Vec<BillingRecord>, StoreError> {
        let statement = match state {
            Some(_) => "SELECT * FROM billing_records WHERE state = $2 ORDER BY created_ms DESC, id DESC LIMIT $1",
            None => "SELECT * FROM billing_records ORDER BY created_ms DESC, id DESC LIMIT $1",
        };
        let mut query = sqlx::query(statement).bind(limit.max(0));
        if let Some(state) = state {
            query = query.bind(state.to_string());
        }
        all(&query.fetch_all(self.read()).await?)
    }

    /// How many records are in which state.
    pub async fn billing_record_count(&self) -> Result<Vec<(RecordState, i64)>, StoreError> {
        let rows = sqlx::query("SELECT state, COUNT(*) AS records FROM billing_records GROUP BY state")
            .fetch_all(self.read())
            .await?;
        let count = |row| {
            let row = Fields(row);
            Ok((row.parsed("state")?, row.integer("records")?))
        };
        rows.iter().map(count).collect()
    }

    /// What was told of an hour of an account, in the order in which it was.
    pub async fn billing_record_of_hour(
        &self,
        account: AccountId,
        hour_ms: UnixMillis,
    ) -> Result<Vec<BillingRecord>, StoreError> {
        let query =
            sqlx::query("SELECT * FROM billing_records WHERE account_id = $1 AND hour_ms = $2 ORDER BY created_ms, id")
                .bind(account.to_string())
                .bind(hour_ms);
        all(&query.fetch_all(self.read()).await?)
    }

    /// Hours that begin at an instant or later and before another, and in which more was used
    /// than was told. What was lost is not told.
    pub async fn billing_usage_untold(
        &self,
        from_ms: UnixMillis,
        until_ms: UnixMillis,
        limit: i64,
    ) -> Result<Vec<(AccountId, UnixMillis)>, StoreError> {
        let rows = sqlx::query(
            "SELECT h.account_id AS account_id, h.hour_ms AS hour_ms FROM (
                SELECT account_id, hour_ms, CAST(SUM(units_high) AS BIGINT) AS high,
                    CAST(SUM(units_low) AS BIGINT) AS low, CAST(SUM(amount_nano) AS BIGINT) AS nano
                FROM usage_hours WHERE hour_ms >= $1 AND hour_ms < $2 AND sku <> 'lost'
                GROUP BY account_id, hour_ms) h
             WHERE NOT EXISTS (
                SELECT 1 FROM billing_records r
                WHERE r.account_id = h.account_id AND r.hour_ms = h.hour_ms
                    AND r.seen_high = h.high AND r.seen_low = h.low AND r.seen_nano = h.nano)
             ORDER BY h.hour_ms, h.account_id LIMIT $3",
        )
        .bind(from_ms)
        .bind(until_ms)
        .bind(limit.max(0))
        .fetch_all(self.read())
        .await?;
        let hour = |row| {
            let row = Fields(row);
            Ok((row.parsed("account_id")?, row.integer("hour_ms")?))
        };
        rows.iter().map(hour).collect()
    }

    /// Invoices and credit notes that became final at an instant or later and were not told.
    pub async fn billing_invoice_untold(&self, from_ms: UnixMillis, limit: i64) -> Result<Vec<Invoice>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM invoices i WHERE i.state <> 'draft' AND i.final_ms >= $1
                AND NOT EXISTS (SELECT 1 FROM billing_records r WHERE r.id = i.id)
             ORDER BY i.final_ms, i.id LIMIT $2",
        )
        .bind(from_ms)
        .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Forgets confirmed usage of hours before an instant, which has to be one before which the
    /// hours themselves are forgotten: otherwise it would be told anew.
    pub async fn billing_record_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM billing_records WHERE state = 'confirmed' AND hour_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}
