//! Changes of state, as a stream that clients resume where they left it.

use weir_model::UnixMillis;

use crate::row::{Fields, FromRow, all, storable};
use crate::{Store, StoreError};

/// Something that changed and that people may want to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Rises by one with every change, also across restarts; becomes visible in this order.
    pub sequence: i64,
    /// When it happened.
    pub at_ms: UnixMillis,
    /// Name of the project.
    pub project: String,
    /// Name of the environment, if it is about one.
    pub environment: Option<String>,
    /// `deployment.live`, `environment.paused` …
    pub kind: String,
    /// One line for people.
    pub message: String,
}

impl FromRow for Change {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            sequence: row.integer("sequence")?,
            at_ms: row.integer("at_ms")?,
            project: row.text("project")?,
            environment: row.text_optional("environment")?,
            kind: row.text("kind")?,
            message: row.text("message")?,
        })
    }
}

impl Store {
    /// Writes a change and returns it with its sequence.
    pub async fn change_insert(
        &self,
        now_ms: UnixMillis,
        project: &str,
        environment: Option<&str>,
        kind: &str,
        message: &str,
    ) -> Result<Change, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the counter until the commit: no one with a higher number is visible earlier.
        let row = sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'change' RETURNING value")
            .fetch_one(&mut *transaction)
            .await?;
        let change = Change {
            sequence: Fields(&row).integer("value")?,
            at_ms: now_ms,
            project: project.to_owned(),
            environment: environment.map(str::to_owned),
            kind: kind.to_owned(),
            message: storable(message),
        };
        sqlx::query(
            "INSERT INTO changes (sequence, at_ms, project, environment, kind, message)
             VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(change.sequence)
        .bind(change.at_ms)
        .bind(&change.project)
        .bind(change.environment.as_deref())
        .bind(&change.kind)
        .bind(&change.message)
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(change)
    }

    /// The changes after a sequence, oldest first, at most `limit`.
    pub async fn change_list(&self, after: i64, limit: i64) -> Result<Vec<Change>, StoreError> {
        let query = sqlx::query("SELECT * FROM changes WHERE sequence > $1 ORDER BY sequence LIMIT $2")
            .bind(after)
            .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Removes all but the newest `keep` changes. Sequences go on rising.
    pub async fn change_prune(&self, keep: i64) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM changes WHERE sequence <= (SELECT value FROM counters WHERE name = 'change') - $1")
            .bind(keep.max(0))
            .execute(self.write())
            .await?;
        Ok(())
    }
}
