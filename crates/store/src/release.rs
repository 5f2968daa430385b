//! Releases.

use weir_model::deployment::Deployment;
use weir_model::release::Release;
use weir_model::{EnvironmentId, ReleaseId};

use crate::row::{Fields, FromRow, all, askers, optional, to_json};
use crate::{Store, StoreError, deployment, environment};

impl FromRow for Release {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            environment: row.parsed("environment_id")?,
            number: row.integer("number")?,
            apps: row.json("apps")?,
            configuration: row.json("configuration")?,
            configuration_version: row.integer("configuration_version")?,
            source: row.json("source")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

/// Whether a release is needed: live, kept for a quick rollback, or on its way.
macro_rules! in_use {
    () => {
        "EXISTS (
            SELECT 1 FROM deployments
            JOIN environments ON environments.id = deployments.environment_id
            WHERE deployments.release_id = releases.id
              AND (deployments.id = environments.live OR deployments.id = environments.previous
                OR deployments.state IN ('pending', 'releasing', 'starting', 'canary', 'holding', 'switching')))"
    };
}

impl Store {
    /// Writes a release, and the deployment that is to make it live if there is one, all or
    /// nothing. Returns the number that the release got: one more than the highest that was ever
    /// given in the environment; `release.number` is ignored. `NotFound` if there is no such
    /// environment.
    pub async fn release_insert(&self, release: &Release, deployment: Option<&Deployment>) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        // Locks the environment's row: whoever comes second waits, and gets the next number.
        let row = sqlx::query(
            "UPDATE environments SET last_release_number = last_release_number + 1 WHERE id = $1
             RETURNING last_release_number",
        )
        .bind(release.environment.to_string())
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| environment::missing(release.environment))?;
        let number = Fields(&row).integer("last_release_number")?;
        sqlx::query(
            "INSERT INTO releases (id, environment_id, number, apps, configuration, configuration_version, source,
                created_ms, asked_by)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, (SELECT asked_by FROM tasks WHERE tasks.id = $9))",
        )
        .bind(release.id.to_string())
        .bind(release.environment.to_string())
        .bind(number)
        .bind(to_json(&release.apps)?)
        .bind(to_json(&release.configuration)?)
        .bind(release.configuration_version)
        .bind(to_json(&release.source)?)
        .bind(release.created_ms)
        .bind(deployment.map(|deployment| deployment.task.to_string()))
        .execute(&mut *transaction)
        .await?;
        if let Some(deployment) = deployment {
            deployment::insert_in_tx(&mut transaction, deployment).await?;
        }
        transaction.commit().await?;
        Ok(number)
    }

    /// The release of this identity.
    pub async fn release_by_id(&self, id: ReleaseId) -> Result<Option<Release>, StoreError> {
        let query = sqlx::query("SELECT * FROM releases WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The release of this number in an environment.
    pub async fn release_by_number(
        &self,
        environment: EnvironmentId,
        number: i64,
    ) -> Result<Option<Release>, StoreError> {
        let query = sqlx::query("SELECT * FROM releases WHERE environment_id = $1 AND number = $2")
            .bind(environment.to_string())
            .bind(number);
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The newest releases of an environment, newest first, at most `limit`.
    pub async fn release_list(&self, environment: EnvironmentId, limit: i64) -> Result<Vec<Release>, StoreError> {
        let query = sqlx::query("SELECT * FROM releases WHERE environment_id = $1 ORDER BY number DESC LIMIT $2")
            .bind(environment.to_string())
            .bind(limit.max(0));
        all(&query.fetch_all(self.read()).await?)
    }

    /// Who made the newest releases of an environment, where that is known, by number.
    pub async fn release_askers(
        &self,
        environment: EnvironmentId,
        newest: i64,
    ) -> Result<Vec<(i64, String)>, StoreError> {
        let rows = sqlx::query(
            "SELECT number, asked_by FROM releases WHERE environment_id = $1 ORDER BY number DESC LIMIT $2",
        )
        .bind(environment.to_string())
        .bind(newest.max(0))
        .fetch_all(self.read())
        .await?;
        askers(&rows, |row| row.integer("number"))
    }

    /// Removes a release and the deployments that tell of it. Says whether it did: one that is
    /// live, kept for a quick rollback or being deployed stays.
    pub async fn release_delete(&self, id: ReleaseId) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let locked = sqlx::query(
            "UPDATE environments SET mode = mode WHERE id = (SELECT environment_id FROM releases WHERE id = $1)",
        )
        .bind(id.to_string())
        .execute(&mut *transaction)
        .await?;
        if locked.rows_affected() == 0 {
            return Ok(false);
        }
        let deleted = sqlx::query(concat!("DELETE FROM releases WHERE id = $1 AND NOT ", in_use!()))
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// The releases of an environment that may be removed, oldest first: not among the newest
    /// `keep`, not live, not kept for a quick rollback, not being deployed.
    pub async fn release_list_prunable(
        &self,
        environment: EnvironmentId,
        keep: i64,
    ) -> Result<Vec<Release>, StoreError> {
        let query = sqlx::query(concat!(
            "SELECT * FROM releases WHERE environment_id = $1
             AND id NOT IN (SELECT id FROM releases WHERE environment_id = $1 ORDER BY number DESC LIMIT $2)
             AND NOT ",
            in_use!(),
            " ORDER BY number"
        ))
        .bind(environment.to_string())
        .bind(keep.max(0));
        all(&query.fetch_all(self.read()).await?)
    }
}
