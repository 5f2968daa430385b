//! Deployments. Every step is a compare-and-set of the row; see `weir_model::deployment`.

use sqlx::AnyConnection;
use weir_model::canary::Canary;
use weir_model::deployment::{Deployment, DeploymentState};
use weir_model::{DeploymentId, EnvironmentId, TaskId, UnixMillis};

use crate::row::{Fields, FromRow, all, askers, optional, storable, to_json};
use crate::{Store, StoreError, environment};

/// A state that a deployment has entered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeploymentStep {
    /// Whose.
    pub deployment: DeploymentId,
    /// The state.
    pub state: DeploymentState,
    /// When it was entered.
    pub entered_ms: UnixMillis,
}

impl FromRow for DeploymentStep {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            deployment: row.parsed("deployment_id")?,
            state: row.parsed("state")?,
            entered_ms: row.integer("entered_ms")?,
        })
    }
}

/// Notes that a deployment has entered a state. Its row is locked.
async fn step_in_tx(
    connection: &mut AnyConnection,
    deployment: DeploymentId,
    state: DeploymentState,
    now_ms: UnixMillis,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO deployment_steps (deployment_id, sequence, state, entered_ms)
         SELECT $1, COALESCE(MAX(sequence), 0) + 1, $2, $3 FROM deployment_steps WHERE deployment_id = $1",
    )
    .bind(deployment.to_string())
    .bind(state.as_str())
    .bind(now_ms)
    .execute(connection)
    .await?;
    Ok(())
}

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
        "INSERT INTO deployments (id, environment_id, release_id, kind, task_id, state, reason, created_ms, entered_ms, canary,
            asked_by)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, (SELECT asked_by FROM tasks WHERE tasks.id = $5))",
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
    .execute(&mut *connection)
    .await
    .map_err(|error| {
        StoreError::from(error).missing(|| {
            format!(
                "the environment {} or the release {}",
                deployment.environment, deployment.release
            )
        })
    })?;
    step_in_tx(connection, deployment.id, deployment.state, deployment.entered_ms).await
}

/// The compare-and-set of the state: whether it was `from`.
async fn advance_in_tx(
    connection: &mut AnyConnection,
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
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    step_in_tx(connection, id, to, now_ms).await?;
    Ok(true)
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

    /// The deployments that serve, of all environments.
    pub async fn deployment_list_live(&self) -> Result<Vec<Deployment>, StoreError> {
        let query = sqlx::query(
            "SELECT deployments.* FROM environments JOIN deployments ON deployments.id = environments.live",
        );
        all(&query.fetch_all(self.read()).await?)
    }

    /// The deployments of all environments that still have work to do, oldest first.
    pub async fn deployment_list_in_progress_all(&self) -> Result<Vec<Deployment>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM deployments
             WHERE state IN ('pending', 'releasing', 'starting', 'canary', 'holding', 'switching') ORDER BY created_ms, id",
        );
        all(&query.fetch_all(self.read()).await?)
    }

    /// The deployments that have failed and are the newest of their environment.
    pub async fn deployment_list_failed_last(&self) -> Result<Vec<Deployment>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM deployments AS failed WHERE state = 'failed' AND NOT EXISTS (
                 SELECT 1 FROM deployments AS newer WHERE newer.environment_id = failed.environment_id
                 AND (newer.created_ms > failed.created_ms
                     OR (newer.created_ms = failed.created_ms AND newer.id > failed.id)))",
        );
        all(&query.fetch_all(self.read()).await?)
    }

    /// The states that the newest deployments of an environment have entered, each in order.
    pub async fn deployment_steps(
        &self,
        environment: EnvironmentId,
        newest: i64,
    ) -> Result<Vec<DeploymentStep>, StoreError> {
        let query = sqlx::query(
            "SELECT * FROM deployment_steps WHERE deployment_id IN (
                 SELECT id FROM deployments WHERE environment_id = $1 ORDER BY created_ms DESC, id DESC LIMIT $2)
             ORDER BY deployment_id, sequence",
        )
        .bind(environment.to_string())
        .bind(newest.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Who asked for the newest deployments of an environment, where that is known.
    pub async fn deployment_askers(
        &self,
        environment: EnvironmentId,
        newest: i64,
    ) -> Result<Vec<(DeploymentId, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, asked_by FROM deployments WHERE environment_id = $1 ORDER BY created_ms DESC, id DESC LIMIT $2",
        )
        .bind(environment.to_string())
        .bind(newest.max(0))
        .fetch_all(self.read())
        .await?;
        askers(&rows, |row| row.parsed("id"))
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
        let mut transaction = self.begin().await?;
        let advanced = advance_in_tx(&mut transaction, id, (from, to), reason, now_ms).await?;
        transaction.commit().await?;
        Ok(advanced)
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
        if !advance_in_tx(&mut transaction, id, switch, None, now_ms).await? {
            return Ok(false);
        }
        if let Some(old) = old {
            let retirement = (DeploymentState::Live, DeploymentState::Retired);
            advance_in_tx(&mut transaction, old, retirement, None, now_ms).await?;
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
