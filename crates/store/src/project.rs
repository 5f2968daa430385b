//! Projects.

use weir_model::project::{Domain, Environment, Project};
use weir_model::{ProjectId, ProjectName};

use crate::row::{Fields, FromRow, all, optional};
use crate::{Store, StoreError, domain, environment};

impl FromRow for Project {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            account: row.parsed("account_id")?,
            name: row.parsed("name")?,
            created_ms: row.integer("created_ms")?,
            destroying: row.flag("destroying")?,
        })
    }
}

impl Store {
    /// Writes a project with its first environment and that one's host names, all or nothing.
    /// `Conflict` if the project's name or a host name is taken, `NotFound` if there is no such
    /// account.
    pub async fn project_insert(
        &self,
        project: &Project,
        production: &Environment,
        domains: &[Domain],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("INSERT INTO projects (id, name, destroying, created_ms, account_id) VALUES ($1, $2, $3, $4, $5)")
            .bind(project.id.to_string())
            .bind(project.name.as_str())
            .bind(i64::from(project.destroying))
            .bind(project.created_ms)
            .bind(project.account.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(|error| {
                StoreError::from(error)
                    .taken("projects_name_unique", || {
                        format!("there is a project {} already", project.name)
                    })
                    .missing(|| format!("the account {}", project.account))
            })?;
        environment::insert_in_tx(&mut transaction, production).await?;
        domain::insert_in_tx(&mut transaction, domains).await?;
        Ok(transaction.commit().await?)
    }

    /// The project of this name, also one that is being destroyed.
    pub async fn project_by_name(&self, name: &ProjectName) -> Result<Option<Project>, StoreError> {
        let query = sqlx::query("SELECT * FROM projects WHERE name = $1").bind(name.as_str());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// The project of this identity, also one that is being destroyed.
    pub async fn project_by_id(&self, id: ProjectId) -> Result<Option<Project>, StoreError> {
        let query = sqlx::query("SELECT * FROM projects WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// All projects, by name.
    pub async fn project_list(&self) -> Result<Vec<Project>, StoreError> {
        let mut projects: Vec<Project> = all(&sqlx::query("SELECT * FROM projects").fetch_all(self.read()).await?)?;
        // Sorted here, because databases disagree about where a hyphen comes.
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(projects)
    }

    /// From now on the project gets no further environments and is on its way out. Says whether
    /// it was not before. `NotFound` if there is no such project.
    pub async fn project_mark_destroying(&self, id: ProjectId) -> Result<bool, StoreError> {
        let marked = sqlx::query("UPDATE projects SET destroying = 1 WHERE id = $1 AND destroying = 0")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        if marked.rows_affected() == 0 && self.project_by_id(id).await?.is_none() {
            return Err(StoreError::NotFound(format!("the project {id}")));
        }
        Ok(marked.rows_affected() > 0)
    }

    /// Removes a project and every row below it: environments with all they have, and tokens
    /// that are for it alone. Its tasks stay until they are pruned. Nothing happens if it is gone.
    pub async fn project_delete(&self, id: ProjectId) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        // The locks from above to below, as everywhere; the rest goes with the rows (cascade).
        for statement in [
            "UPDATE projects SET destroying = 1 WHERE id = $1",
            "DELETE FROM environments WHERE project_id = $1",
            "DELETE FROM projects WHERE id = $1",
        ] {
            sqlx::query(statement)
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        Ok(transaction.commit().await?)
    }
}
