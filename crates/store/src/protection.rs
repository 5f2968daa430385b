//! Who may pass to an environment, and what is closed for maintenance.

use weir_model::protection::{Maintenance, User};
use weir_model::{EnvironmentId, UnixMillis};

use crate::row::{Fields, FromRow, all, to_json};
use crate::{Store, StoreError};

/// Somebody who may pass to a whole environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUser {
    /// Name and hash of the password.
    pub user: User,
    /// When the password was set.
    pub created_ms: UnixMillis,
}

impl FromRow for AccessUser {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            user: User {
                name: row.text("name")?,
                hash: row.text("hash")?,
            },
            created_ms: row.integer("created_ms")?,
        })
    }
}

impl Store {
    /// Who may pass to an environment, by name; nobody is asked for a password if there is none.
    pub async fn access_user_list(&self, environment: EnvironmentId) -> Result<Vec<AccessUser>, StoreError> {
        let query = sqlx::query("SELECT * FROM access_users WHERE environment_id = $1").bind(environment.to_string());
        let mut users: Vec<AccessUser> = all(&query.fetch_all(self.read()).await?)?;
        users.sort_by(|a, b| a.user.name.cmp(&b.user.name));
        Ok(users)
    }

    /// Lets somebody pass, or gives them another password. `NotFound` if there is no such
    /// environment.
    pub async fn access_user_put(&self, environment: EnvironmentId, user: &AccessUser) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO access_users (environment_id, name, hash, created_ms) VALUES ($1, $2, $3, $4)
             ON CONFLICT (environment_id, name) DO UPDATE SET hash = excluded.hash, created_ms = excluded.created_ms",
        )
        .bind(environment.to_string())
        .bind(user.user.name.as_str())
        .bind(user.user.hash.as_str())
        .bind(user.created_ms)
        .execute(self.write())
        .await
        .map_err(|error| StoreError::from(error).missing(|| format!("the environment {environment}")))?;
        Ok(())
    }

    /// Lets somebody pass no more. False if nobody had this name.
    pub async fn access_user_delete(&self, environment: EnvironmentId, name: &str) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM access_users WHERE environment_id = $1 AND name = $2")
            .bind(environment.to_string())
            .bind(name)
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// How an environment is closed, if it is.
    pub async fn maintenance_of(&self, environment: EnvironmentId) -> Result<Option<Maintenance>, StoreError> {
        let row = sqlx::query("SELECT closed FROM maintenance WHERE environment_id = $1")
            .bind(environment.to_string())
            .fetch_optional(self.read())
            .await?;
        row.map(|row| Fields(&row).json("closed")).transpose()
    }

    /// Closes an environment, or (`None`) opens it again. `NotFound` if there is no such
    /// environment.
    pub async fn maintenance_set(
        &self,
        environment: EnvironmentId,
        maintenance: Option<&Maintenance>,
    ) -> Result<(), StoreError> {
        let Some(maintenance) = maintenance else {
            sqlx::query("DELETE FROM maintenance WHERE environment_id = $1")
                .bind(environment.to_string())
                .execute(self.write())
                .await?;
            return Ok(());
        };
        sqlx::query(
            "INSERT INTO maintenance (environment_id, closed) VALUES ($1, $2)
             ON CONFLICT (environment_id) DO UPDATE SET closed = excluded.closed",
        )
        .bind(environment.to_string())
        .bind(to_json(maintenance)?)
        .execute(self.write())
        .await
        .map_err(|error| StoreError::from(error).missing(|| format!("the environment {environment}")))?;
        Ok(())
    }
}
