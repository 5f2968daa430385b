//! The ledger's journal, its checkpoints, and what was used by hour.
//!
//! The journal has one writer. Two that believe to be it would write the same sequence, and the
//! second one fails: the primary key is the compare-and-set.

use std::fmt::Write as _;

use futures_util::TryStreamExt as _;
use weir_ledger::book::Scope;
use weir_ledger::protocol::LineKey;
use weir_ledger::{Nano, Sku};
use weir_model::{AccountId, EnvironmentId, ProjectId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional};
use crate::{Store, StoreError};

/// Rows in one statement; each has five values, and SQLite takes 32,766.
const ROWS: usize = 200;
/// What `units_low` stays below. Small enough that the sum of millions of them fits.
const LOW: u128 = 1_000_000_000_000;

/// One row of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// From 1, without gaps.
    pub sequence: i64,
    /// When it was decided.
    pub at_ms: UnixMillis,
    /// The event, as JSON.
    pub body: String,
    /// The hash of the row before.
    pub previous_hash: String,
    /// Covers all of the above.
    pub hash: String,
}

impl FromRow for JournalRow {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            at_ms: row.integer("at_ms")?,
            body: row.text("body")?,
            previous_hash: row.text("previous_hash")?,
            hash: row.text("hash")?,
        })
    }
}

/// The whole state after a row of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The row.
    pub sequence: i64,
    /// Its hash.
    pub hash: String,
    /// The state, as JSON.
    pub state: String,
}

impl FromRow for Checkpoint {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            hash: row.text("hash")?,
            state: row.text("state")?,
        })
    }
}

/// What was used in one hour, of one thing, by one user of it, at one version of the prices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageHour {
    /// When the hour begins.
    pub hour_ms: UnixMillis,
    /// Who paid.
    pub account: AccountId,
    /// Whose.
    pub project: ProjectId,
    /// Whose.
    pub environment: EnvironmentId,
    /// What, and by whom.
    pub line: LineKey,
    /// At which version of the prices.
    pub price_version: u32,
    /// Raw units.
    pub units: u128,
    /// What it cost.
    pub amount: Nano,
}

impl FromRow for UsageHour {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let named = |text: String| Some(text).filter(|text| !text.is_empty());
        let sku = row.text("sku")?;
        let part = |column| {
            let value = row.integer(column)?;
            u128::try_from(value).map_err(|error| StoreError::unreadable(column, error))
        };
        Ok(Self {
            hour_ms: row.integer("hour_ms")?,
            account: row.parsed("account_id")?,
            project: row.parsed("project_id")?,
            environment: row.parsed("environment_id")?,
            line: LineKey {
                app: named(row.text("app")?).map(|_| row.parsed("app")).transpose()?,
                process: named(row.text("process")?).map(|_| row.parsed("process")).transpose()?,
                sku: Sku::new(&sku).ok_or_else(|| StoreError::unreadable("sku", sku))?,
            },
            price_version: u32::try_from(row.integer("price_version")?)
                .map_err(|error| StoreError::unreadable("price_version", error))?,
            units: part("units_high")? * LOW + part("units_low")?,
            amount: Nano(row.integer("amount_nano")?),
        })
    }
}

impl Store {
    /// Appends rows to the journal and adds what they say was used to the hours, all or nothing,
    /// durably. Hours that have the same key are added up. Fails with `Internal` if a row of the
    /// same sequence is there: somebody else writes.
    pub async fn ledger_append(&self, rows: &[JournalRow], hours: &[UsageHour]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for rows in rows.chunks(ROWS) {
            let mut query = sqlx::query(sqlx::AssertSqlSafe(journal_insert(rows.len())));
            for row in rows {
                query = query
                    .bind(row.sequence)
                    .bind(row.at_ms)
                    .bind(&row.body)
                    .bind(&row.previous_hash)
                    .bind(&row.hash);
            }
            query.execute(&mut *transaction).await?;
        }
        for hour in hours {
            add_in_tx(&mut transaction, hour).await?;
        }
        Ok(transaction.commit().await?)
    }

    /// The rows of the journal after a sequence, in order, at most `limit`.
    pub async fn ledger_journal(&self, after: i64, limit: i64) -> Result<Vec<JournalRow>, StoreError> {
        let query = sqlx::query("SELECT * FROM ledger_journal WHERE sequence > $1 ORDER BY sequence LIMIT $2")
            .bind(after)
            .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Keeps a checkpoint, and of those before only the newest `keep`. Nothing happens if there
    /// is one of the same row.
    pub async fn ledger_checkpoint_insert(&self, checkpoint: &Checkpoint, keep: i64) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO ledger_checkpoints (sequence, hash, state) VALUES ($1, $2, $3)
             ON CONFLICT (sequence) DO NOTHING",
        )
        .bind(checkpoint.sequence)
        .bind(&checkpoint.hash)
        .bind(&checkpoint.state)
        .execute(&mut *transaction)
        .await?;
        sqlx::query(
            "DELETE FROM ledger_checkpoints WHERE sequence < $1 AND sequence NOT IN
                (SELECT sequence FROM ledger_checkpoints WHERE sequence < $1 ORDER BY sequence DESC LIMIT $2)",
        )
        .bind(checkpoint.sequence)
        .bind(keep.max(0))
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The newest checkpoint at or before a row, if there is any.
    pub async fn ledger_checkpoint_before(&self, sequence: i64) -> Result<Option<Checkpoint>, StoreError> {
        let query = sqlx::query("SELECT * FROM ledger_checkpoints WHERE sequence <= $1 ORDER BY sequence DESC LIMIT 1")
            .bind(sequence);
        optional(query.fetch_optional(self.read()).await?)
    }

    /// All hours of a scope (or of everybody) from an instant on and before another, in no
    /// order, one at a time: there may be hundreds of thousands. Returns the newest row of the
    /// journal at the instant that they were all read of; 0 if there is none.
    pub async fn usage_hours_each(
        &self,
        scope: Option<Scope>,
        from_ms: UnixMillis,
        until_ms: UnixMillis,
        mut each: impl FnMut(UsageHour) + Send,
    ) -> Result<i64, StoreError> {
        let (statement, id) = match scope {
            None => ("SELECT * FROM usage_hours WHERE hour_ms >= $1 AND hour_ms < $2", None),
            Some(Scope::Account(id)) => (
                "SELECT * FROM usage_hours WHERE hour_ms >= $1 AND hour_ms < $2 AND account_id = $3",
                Some(id.to_string()),
            ),
            Some(Scope::Project(id)) => (
                "SELECT * FROM usage_hours WHERE hour_ms >= $1 AND hour_ms < $2 AND project_id = $3",
                Some(id.to_string()),
            ),
            Some(Scope::Environment(id)) => (
                "SELECT * FROM usage_hours WHERE hour_ms >= $1 AND hour_ms < $2 AND environment_id = $3",
                Some(id.to_string()),
            ),
        };
        let mut transaction = self.begin_snapshot().await?;
        let newest = sqlx::query("SELECT COALESCE(MAX(sequence), 0) AS newest FROM ledger_journal")
            .fetch_one(&mut *transaction)
            .await?;
        let mut query = sqlx::query(statement).bind(from_ms).bind(until_ms);
        if let Some(id) = id {
            query = query.bind(id);
        }
        {
            let mut rows = query.fetch(&mut *transaction);
            while let Some(row) = rows.try_next().await? {
                each(UsageHour::from_row(&Fields(&row))?);
            }
        }
        transaction.commit().await?;
        Fields(&newest).integer("newest")
    }

    /// Forgets the hours before an instant. The journal still knows them.
    pub async fn usage_hours_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM usage_hours WHERE hour_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}

/// Inserts so many rows of the journal at once; one by one takes several times as long.
fn journal_insert(rows: usize) -> String {
    let mut statement = "INSERT INTO ledger_journal (sequence, at_ms, body, previous_hash, hash) VALUES ".to_owned();
    for row in 0..rows {
        let separator = if row == 0 { "" } else { ", " };
        let [a, b, c, d, e] = [1, 2, 3, 4, 5].map(|column| row * 5 + column);
        // Writing to a string cannot fail.
        let _ = write!(statement, "{separator}(${a}, ${b}, ${c}, ${d}, ${e})");
    }
    statement
}

/// Adds to an hour; the carry from the low to the high part happens in the statement.
async fn add_in_tx(connection: &mut sqlx::AnyConnection, hour: &UsageHour) -> Result<(), StoreError> {
    let (high, low) = parts(hour.units)?;
    sqlx::query(
        "INSERT INTO usage_hours (environment_id, hour_ms, app, process, sku, price_version, account_id, project_id,
            units_high, units_low, amount_nano)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
         ON CONFLICT (environment_id, hour_ms, app, process, sku, price_version, account_id) DO UPDATE SET
            units_high = usage_hours.units_high + excluded.units_high
                + (usage_hours.units_low + excluded.units_low) / 1000000000000,
            units_low = (usage_hours.units_low + excluded.units_low) % 1000000000000,
            amount_nano = usage_hours.amount_nano + excluded.amount_nano",
    )
    .bind(hour.environment.to_string())
    .bind(hour.hour_ms)
    .bind(hour.line.app.as_ref().map_or("", |app| app.as_str()))
    .bind(hour.line.process.as_ref().map_or("", |process| process.as_str()))
    .bind(hour.line.sku.as_str())
    .bind(i64::from(hour.price_version))
    .bind(hour.account.to_string())
    .bind(hour.project.to_string())
    .bind(high)
    .bind(low)
    .bind(hour.amount.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Units as they are kept: the high and the low part.
pub(crate) fn parts(units: u128) -> Result<(i64, i64), StoreError> {
    let part = |units| {
        let too_many = |error| StoreError::Internal(format!("so many units cannot be kept: {error}"));
        i64::try_from(units).map_err(too_many)
    };
    Ok((part(units / LOW)?, part(units % LOW)?))
}
