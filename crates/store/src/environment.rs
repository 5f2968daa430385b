//! Environments.

use sqlx::AnyConnection;
use weir_model::project::{Domain, Environment, EnvironmentMode};
use weir_model::{DeploymentId, EnvironmentId, EnvironmentName, ProjectId};

use crate::row::{Fields, FromRow, all, optional};
use crate::{Store, StoreError, Taken, domain};

impl FromRow for Environment {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            project: row.parsed("project_id")?,
            name: row.parsed("name")?,
            branch: row.text_optional("branch")?,
            mode: row.parsed("mode")?,
            live: row.parsed_optional("live")?,
            previous: row.parsed_optional("previous")?,
            previous_until_ms: row.integer("previous_until_ms")?,
            configuration_version: row.integer("configuration_version")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

pub(crate) async fn insert_in_tx(connection: &mut AnyConnection, environment: &Environment) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO environments (id, project_id, name, branch, mode, live, previous, previous_until_ms,
            configuration_version, last_release_number, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)",
    )
    .bind(environment.id.to_string())
    .bind(environment.project.to_string())
    .bind(environment.name.as_str())
    .bind(environment.branch.as_deref())
    .bind(environment.mode.as_str())
    .bind(environment.live.map(|id| id.to_string()))
    .bind(environment.previous.map(|id| id.to_string()))
    .bind(environment.previous_until_ms)
    .bind(environment.configuration_version)
    .bind(environment.created_ms)
    .execute(connection)
    .await
    .map_err(|error| {
        StoreError::from(error)
            .taken("environments_name_unique", || {
                format!("the project has an environment {} already", environment.name)
            })
            .taken("environments_branch_unique", || {
                branch_taken(environment.branch.as_deref())
            })
            .missing(|| format!("the project {}", environment.project))
    })?;
    Ok(())
}

fn branch_taken(branch: Option<&str>) -> String {
    format!(
        "another environment of the project follows the branch {} already",
        branch.unwrap_or_default()
    )
}

/// Locks the environment's row until the transaction ends, so that whoever decides about the
/// environment decides alone. `NotFound` if there is no such environment.
pub(crate) async fn lock_in_tx(connection: &mut AnyConnection, id: EnvironmentId) -> Result<(), StoreError> {
    let locked = sqlx::query("UPDATE environments SET mode = mode WHERE id = $1")
        .bind(id.to_string())
        .execute(connection)
        .await?;
    match locked.rows_affected() {
        0 => Err(missing(id)),
        _ => Ok(()),
    }
}

pub(crate) fn missing(id: EnvironmentId) -> StoreError {
    StoreError::NotFound(format!("the environment {id}"))
}

impl Store {
    /// Writes an environment with its host names, all or nothing. `Conflict` if its name, its
    /// branch or a host name is taken or the project is being destroyed, `NotFound` if there is
    /// no such project.
    pub async fn environment_insert(&self, environment: &Environment, domains: &[Domain]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        let open = sqlx::query("UPDATE projects SET destroying = 0 WHERE id = $1 AND destroying = 0")
            .bind(environment.project.to_string())
            .execute(&mut *transaction)
            .await?;
        if open.rows_affected() == 0 {
            drop(transaction);
            return Err(match self.project_by_id(environment.project).await? {
                Some(project) => StoreError::Conflict(Taken {
                    constraint: "projects_destroying",
                    words: format!("the project {} is being destroyed", project.name),
                }),
                None => StoreError::NotFound(format!("the project {}", environment.project)),
            });
        }
        insert_in_tx(&mut transaction, environment).await?;
        domain::insert_in_tx(&mut transaction, domains).await?;
        Ok(transaction.commit().await?)
    }

    /// The environment of this name.
    pub async fn environment_by_name(
        &self,
        project: ProjectId,
        name: &EnvironmentName,
    ) -> Result<Option<Environment>, StoreError> {
        let query = sqlx::query("SELECT * FROM environments WHERE project_id = $1 AND name = $2")
            .bind(project.to_string())
            .bind(name.as_str());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The environment of this identity.
    pub async fn environment_by_id(&self, id: EnvironmentId) -> Result<Option<Environment>, StoreError> {
        let query = sqlx::query("SELECT * FROM environments WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The environments of a project, oldest first, so that production comes first.
    pub async fn environment_list(&self, project: ProjectId) -> Result<Vec<Environment>, StoreError> {
        let query = sqlx::query("SELECT * FROM environments WHERE project_id = $1 ORDER BY created_ms, id")
            .bind(project.to_string());
        all(&query.fetch_all(self.read()).await?)
    }

    /// All environments, oldest first.
    pub async fn environment_list_all(&self) -> Result<Vec<Environment>, StoreError> {
        let query = sqlx::query("SELECT * FROM environments ORDER BY created_ms, id");
        all(&query.fetch_all(self.read()).await?)
    }

    /// The branch whose pushes deploy here, or none. `Conflict` if another environment of the
    /// project follows it.
    pub async fn environment_set_branch(&self, id: EnvironmentId, branch: Option<&str>) -> Result<(), StoreError> {
        let changed = sqlx::query("UPDATE environments SET branch = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(branch)
            .execute(self.write())
            .await
            .map_err(|error| StoreError::from(error).taken("environments_branch_unique", || branch_taken(branch)))?;
        match changed.rows_affected() {
            0 => Err(missing(id)),
            _ => Ok(()),
        }
    }

    /// Compare-and-set: says whether the environment was in one of the modes `from`.
    pub async fn environment_set_mode(
        &self,
        id: EnvironmentId,
        from: &[EnvironmentMode],
        to: EnvironmentMode,
    ) -> Result<bool, StoreError> {
        let Some(first) = from.first() else { return Ok(false) };
        // There are three modes; repeating the first where fewer are given changes nothing.
        let mode = |index: usize| from.get(index).unwrap_or(first).as_str();
        let changed = sqlx::query("UPDATE environments SET mode = $2 WHERE id = $1 AND mode IN ($3, $4, $5)")
            .bind(id.to_string())
            .bind(to.as_str())
            .bind(mode(0))
            .bind(mode(1))
            .bind(mode(2))
            .execute(self.write())
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Removes an environment with its releases, deployments, variables, scale and host names.
    /// Nothing happens if it is gone.
    pub async fn environment_delete(&self, id: EnvironmentId) -> Result<(), StoreError> {
        // The rest goes with the row (cascade), in the same transaction.
        sqlx::query("DELETE FROM environments WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Compare-and-set: the previous deployment is not kept for a quick rollback any more. Says
    /// whether `previous` was it.
    pub async fn environment_forget_previous(
        &self,
        id: EnvironmentId,
        previous: DeploymentId,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE environments SET previous = NULL, previous_until_ms = 0 WHERE id = $1 AND previous = $2",
        )
        .bind(id.to_string())
        .bind(previous.to_string())
        .execute(self.write())
        .await?;
        Ok(changed.rows_affected() > 0)
    }
}
