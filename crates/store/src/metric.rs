//! The past of what was measured: chunks of points as control packs them, and when releases became live.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use weir_model::deployment::DeploymentKind;
use weir_model::{EnvironmentId, UnixMillis};

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError};

/// So many chunks are written in one transaction, so that nobody else waits long for theirs.
const AT_ONCE: usize = 200;

/// Points of one process in one stretch of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricChunk {
    /// Whose.
    pub environment: EnvironmentId,
    /// The app; empty for what belongs to the environment as a whole.
    pub app: String,
    /// The process; empty for what belongs to the environment as a whole.
    pub process: String,
    /// Milliseconds between two points.
    pub step_ms: i64,
    /// Where the stretch begins.
    pub from_ms: UnixMillis,
    /// The points, packed.
    pub data: Vec<u8>,
}

/// A release became live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReleaseMark {
    /// When.
    pub at_ms: UnixMillis,
    /// The number of the release.
    pub release: i64,
    /// By what: a new release, a rollback, a restart.
    pub kind: DeploymentKind,
}

impl FromRow for MetricChunk {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let data = STANDARD.decode(row.text("data")?);
        Ok(Self {
            environment: row.parsed("environment_id")?,
            app: row.text("app")?,
            process: row.text("process")?,
            step_ms: row.integer("step_ms")?,
            from_ms: row.integer("from_ms")?,
            data: data.map_err(|error| StoreError::unreadable("data", error))?,
        })
    }
}

impl FromRow for ReleaseMark {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            at_ms: row.integer("at_ms")?,
            release: row.integer("release_number")?,
            kind: row.parsed("kind")?,
        })
    }
}

impl Store {
    /// Writes chunks in place of those that are there; those of environments that are gone are left out.
    /// Some hundred at a time become true together.
    pub async fn metric_chunk_put(&self, chunks: &[MetricChunk]) -> Result<(), StoreError> {
        for some in chunks.chunks(AT_ONCE) {
            let mut transaction = self.begin().await?;
            for chunk in some {
                sqlx::query(
                    "INSERT INTO metric_chunks (environment_id, app, process, step_ms, from_ms, data)
                     SELECT id, $2, $3, $4, $5, $6 FROM environments WHERE id = $1
                     ON CONFLICT (environment_id, step_ms, from_ms, app, process) DO UPDATE SET data = excluded.data",
                )
                .bind(chunk.environment.to_string())
                .bind(&chunk.app)
                .bind(&chunk.process)
                .bind(chunk.step_ms)
                .bind(chunk.from_ms)
                .bind(STANDARD.encode(&chunk.data))
                .execute(&mut *transaction)
                .await?;
            }
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Chunks of an environment that begin at `from_ms` or later and before `until_ms`, oldest first.
    pub async fn metric_chunk_list(
        &self,
        environment: EnvironmentId,
        step_ms: i64,
        from_ms: UnixMillis,
        until_ms: UnixMillis,
    ) -> Result<Vec<MetricChunk>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM metric_chunks WHERE environment_id = $1 AND step_ms = $2 AND from_ms >= $3 AND from_ms < $4
             ORDER BY from_ms, app, process",
        );
        let query = query.bind(environment.to_string()).bind(step_ms);
        let rows = query.bind(from_ms).bind(until_ms).fetch_all(self.read()).await?;
        all(&rows)
    }

    /// The chunks of all environments that begin at this instant.
    pub async fn metric_chunk_list_at(
        &self,
        step_ms: i64,
        from_ms: UnixMillis,
    ) -> Result<Vec<MetricChunk>, StoreError> {
        let query = sqlx::query("SELECT * FROM metric_chunks WHERE step_ms = $1 AND from_ms = $2");
        all(&query.bind(step_ms).bind(from_ms).fetch_all(self.read()).await?)
    }

    /// Removes the chunks of one resolution that begin before an instant.
    pub async fn metric_chunk_prune(&self, step_ms: i64, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM metric_chunks WHERE step_ms = $1 AND from_ms < $2")
            .bind(step_ms)
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The newest `limit` releases that became live from `from_ms` on and before `until_ms`, oldest first.
    pub async fn release_mark_list(
        &self,
        environment: EnvironmentId,
        from_ms: UnixMillis,
        until_ms: UnixMillis,
        limit: i64,
    ) -> Result<Vec<ReleaseMark>, StoreError> {
        let query = sqlx::query(
            "SELECT at_ms, release_number, kind FROM release_marks
             WHERE environment_id = $1 AND at_ms >= $2 AND at_ms < $3 ORDER BY at_ms DESC, release_number DESC LIMIT $4",
        );
        let query = query.bind(environment.to_string()).bind(from_ms).bind(until_ms);
        let mut marks: Vec<ReleaseMark> = all(&query.bind(limit.max(0)).fetch_all(self.read()).await?)?;
        marks.reverse();
        Ok(marks)
    }

    /// Removes marks of before an instant.
    pub async fn release_mark_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM release_marks WHERE at_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}
