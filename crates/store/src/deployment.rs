//! Deployments. Every step is a compare-and-set of the row; see `weir_model::deployment`.

use sqlx::AnyConnection;
use weir_model::canary::Canary;
use weir_model::deployment::{Deployment, DeploymentState};
use weir_model::{DeploymentId, EnvironmentId, TaskId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional, storable, to_json};
use crate::{Store, StoreError, environment};

impl FromRow for Deployment {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            environment: row.parsed("environment_id")?,
            release: row.parsed("release_id")?,
            kind: row.parsed("kind")?,
            task: row.parsed("task_id")?,
            state: row.parsed("state")?,
            reason: row.text_optional("reason")?,
            canary: canary_of(row)?,
            created_ms: row.integer("created_ms")?,
            entered_ms: row.integer("entered_ms")?,
        })
    }
}

fn canary_of(row: &Fields<'_>) -> Result<Option<Canary>, StoreError> {
    match row.text_optional("canary")? {
        Some(_) => row.json("canary").map(Some),
        None => Ok(None),
    }
}

pub(crate) async fn insert_in_tx(connection: &mut AnyConnection, deployment: &Deployment) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deployments (id, environment_id, release_id, kind, task_id, state, reason, created_ms, entered_ms, canary)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(deployment.id.to_string())
    .bind(deployment.environment.to_string())
    .bind(deployment.release.to_string())
    .bind(deployment.kind.as_str())
    .bind(deployment.task.to_string())
    .bind(deployment.state.as_str())
    .bind(deployment.reason.as_deref().map(storable))
    .bind(deployment.created_ms)
    .bind(deployment.entered_ms)
    .bind(deployment.canary.as_ref().map(to_json).transpose()?)
    .execute(connection)
    .await
    .map_err(|error| {
        StoreError::from(error).missing(|| {
            format!(
                "the environment {} or the release {}",
                deployment.environment, deployment.release
            )
        })
    })?;
    Ok(())
}

/// The compare-and-set of the state: whether it was `from`.
async fn advance<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    id: DeploymentId,
    (from, to): (DeploymentState, DeploymentState),
    reason: Option<&str>,
    now_ms: UnixMillis,
) -> Result<bool, StoreError> {
    let changed = sqlx::query(
        "UPDATE deployments SET state = $3, reason = COALESCE($4, reason), entered_ms = $5 WHERE id = $1 AND state = $2",
    )
    .bind(id.to_string())
    .bind(from.as_str())
    .bind(to.as_str())
    .bind(reason.map(storable))
    .bind(now_ms)
    .execute(executor)
    .await?;
    Ok(changed.rows_affected() > 0)
}

impl Store {
    /// Writes a deployment of a release that exists. `NotFound` if the release or the
    /// environment does not (any more).
    pub async fn deployment_insert(&self, deployment: &Deployment) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        // Excludes the removal of the release at the same time.
        environment::lock_in_tx(&mut transaction, deployment.environment).await?;
        insert_in_tx(&mut transaction, deployment).await?;
        Ok(transaction.commit().await?)
    }

    /// The deployment of this identity.
    pub async fn deployment_by_id(&self, id: DeploymentId) -> Result<Option<Deployment>, StoreError> {
        let query = sqlx::query("SELECT * FROM deployments WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The newest deployments of an environment, newest first, at most `limit`.
    pub async fn deployment_list(&self, environment: EnvironmentId, limit: i64) -> Result<Vec<Deployment>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM deployments WHERE environment_id = $1 ORDER BY created_ms DESC, id DESC LIMIT $2",
        )
        .bind(environment.to_string())
        .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// The deployments of an environment that still have work to do, oldest first.
    pub async fn deployment_list_in_progress(&self, environment: EnvironmentId) -> Result<Vec<Deployment>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM deployments WHERE environment_id = $1
             AND state IN ('pending', 'releasing', 'starting', 'canary', 'holding', 'switching') ORDER BY created_ms, id",
        )
        .bind(environment.to_string());
        all(&query.fetch_all(self.read()).await?)
    }

    /// Compare-and-set of the state: says whether the deployment was `from` and is now `to`.
    /// A reason is kept beside it; without one, an earlier reason stays. Whether the transition
    /// is legal is `DeploymentState::on`'s business; going live is
    /// [`deployment_go_live`](Self::deployment_go_live)'s.
    pub async fn deployment_advance(
        &self,
        id: DeploymentId,
        from: DeploymentState,
        to: DeploymentState,
        reason: Option<&str>,
        now_ms: UnixMillis,
    ) -> Result<bool, StoreError> {
        advance(self.write(), id, (from, to), reason, now_ms).await
    }

    /// Changes what part of the requests a canary gets, or that it is promoted, and, where one is
    /// given, the task that tells of it from now on. Says whether it was a canary in this state;
    /// one that is promoted is not changed any more.
    pub async fn deployment_set_canary(
        &self,
        id: DeploymentId,
        before: &Canary,
        canary: &Canary,
        task: Option<TaskId>,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE deployments SET canary = $3, task_id = COALESCE($4, task_id)
             WHERE id = $1 AND state = 'canary' AND canary = $2",
        )
        .bind(id.to_string())
        .bind(to_json(before)?)
        .bind(to_json(canary)?)
        .bind(task.map(|task| task.to_string()))
        .execute(self.write())
        .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// A deployment that was `Switching` is now the one that serves, all or nothing: it is
    /// `Live`, the one that served before is `Retired` and kept for a quick rollback until
    /// `previous_until_ms`. A restart, which is the same release once more, leaves alone what a
    /// rollback leads to. Says whether it was `Switching`; nothing changes if not.
    pub async fn deployment_go_live(
        &self,
        id: DeploymentId,
        previous_until_ms: UnixMillis,
        now_ms: UnixMillis,
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        // First the environment's row: of two switches at once, the second sees what the first did.
        let environment = sqlx::query(
            "UPDATE environments SET mode = mode WHERE id = (SELECT environment_id FROM deployments WHERE id = $1)
             RETURNING id, live",
        )
        .bind(id.to_string())
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(environment) = environment else {
            return Ok(false);
        };
        let old: Option<DeploymentId> = Fields(&environment).parsed_optional("live")?;
        let switch = (DeploymentState::Switching, DeploymentState::Live);
        if !advance(&mut *transaction, id, switch, None, now_ms).await? {
            return Ok(false);
        }
        if let Some(old) = old {
            let retirement = (DeploymentState::Live, DeploymentState::Retired);
            advance(&mut *transaction, old, retirement, None, now_ms).await?;
        }
        let environment = Fields(&environment).text("id")?;
        // For the charts, on which it is marked for as long as they reach back.
        sqlx::query(
            "INSERT INTO release_marks (environment_id, deployment_id, at_ms, release_number, kind)
             SELECT deployments.environment_id, deployments.id, $2, releases.number, deployments.kind
             FROM deployments JOIN releases ON releases.id = deployments.release_id WHERE deployments.id = $1",
        )
        .bind(id.to_string())
        .bind(now_ms)
        .execute(&mut *transaction)
        .await?;
        sqlx::query("UPDATE environments SET live = $2 WHERE id = $1")
            .bind(environment.clone())
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "UPDATE environments SET previous = $2, previous_until_ms = $3 WHERE id = $1 AND NOT EXISTS (
                 SELECT 1 FROM deployments AS old, deployments AS new
                 WHERE old.id = $2 AND new.id = $4 AND old.release_id = new.release_id)",
        )
        .bind(environment)
        .bind(old.map(|id| id.to_string()))
        .bind(if old.is_some() { previous_until_ms } else { 0 })
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(true)
    }
}
