//! Variables of environments.

use weir_model::project::Variable;
use weir_model::{EnvironmentId, VariableName};

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError, environment};

impl FromRow for Variable {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            name: row.parsed("name")?,
            value: row.text("value")?,
            secret: row.flag("secret")?,
            build: row.flag("build")?,
            updated_ms: row.integer("updated_ms")?,
        })
    }
}

impl Store {
    /// The variables of an environment, by name.
    pub async fn variable_list(&self, environment: EnvironmentId) -> Result<Vec<Variable>, StoreError> {
        let query = sqlx::query("SELECT * FROM variables WHERE environment_id = $1").bind(environment.to_string());
        let mut variables: Vec<Variable> = all(&query.fetch_all(self.read()).await?)?;
        variables.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(variables)
    }

    /// Sets and then unsets variables, all or nothing, and returns the environment's new
    /// configuration version. `NotFound` if there is no such environment.
    pub async fn variables_update(
        &self,
        environment: EnvironmentId,
        set: &[Variable],
        unset: &[VariableName],
    ) -> Result<i64, StoreError> {
        let mut transaction = self.begin().await?;
        let version = sqlx::query(
            "UPDATE environments SET configuration_version = configuration_version + 1 WHERE id = $1
             RETURNING configuration_version",
        )
        .bind(environment.to_string())
        .fetch_optional(&mut *transaction)
        .await?
        .ok_or_else(|| environment::missing(environment))?;
        for variable in set {
            sqlx::query(
                "INSERT INTO variables (environment_id, name, value, secret, build, updated_ms)
                 VALUES ($1, $2, $3, $4, $5, $6)
                 ON CONFLICT (environment_id, name) DO UPDATE SET value = excluded.value, secret = excluded.secret,
                    build = excluded.build, updated_ms = excluded.updated_ms",
            )
            .bind(environment.to_string())
            .bind(variable.name.as_str())
            .bind(&variable.value)
            .bind(i64::from(variable.secret))
            .bind(i64::from(variable.build))
            .bind(variable.updated_ms)
            .execute(&mut *transaction)
            .await?;
        }
        for name in unset {
            sqlx::query("DELETE FROM variables WHERE environment_id = $1 AND name = $2")
                .bind(environment.to_string())
                .bind(name.as_str())
                .execute(&mut *transaction)
                .await?;
        }
        let version = Fields(&version).integer("configuration_version")?;
        transaction.commit().await?;
        Ok(version)
    }
}
