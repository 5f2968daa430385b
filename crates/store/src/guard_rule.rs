//! The rules of the guard, by app.

use std::collections::BTreeMap;

use weir_model::guard::GuardRules;
use weir_model::{AppName, EnvironmentId};

use crate::row::{Fields, to_json};
use crate::{Store, StoreError};

impl Store {
    /// The apps of an environment that have rules of their own.
    pub async fn guard_rules_of(
        &self,
        environment: EnvironmentId,
    ) -> Result<BTreeMap<AppName, GuardRules>, StoreError> {
        let rows = sqlx::query("SELECT app, rules FROM guard_rules WHERE environment_id = $1")
            .bind(environment.to_string())
            .fetch_all(self.read())
            .await?;
        rows.iter()
            .map(|row| Ok((Fields(row).parsed("app")?, Fields(row).json("rules")?)))
            .collect()
    }

    /// Gives an app rules of its own, or (`None`) those of the house again. `NotFound` if there
    /// is no such environment.
    pub async fn guard_rules_set(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        rules: Option<&GuardRules>,
    ) -> Result<(), StoreError> {
        let Some(rules) = rules else {
            sqlx::query("DELETE FROM guard_rules WHERE environment_id = $1 AND app = $2")
                .bind(environment.to_string())
                .bind(app.as_str())
                .execute(self.write())
                .await?;
            return Ok(());
        };
        sqlx::query(
            "INSERT INTO guard_rules (environment_id, app, rules) VALUES ($1, $2, $3)
             ON CONFLICT (environment_id, app) DO UPDATE SET rules = excluded.rules",
        )
        .bind(environment.to_string())
        .bind(app.as_str())
        .bind(to_json(rules)?)
        .execute(self.write())
        .await
        .map_err(|error| StoreError::from(error).missing(|| format!("the environment {environment}")))?;
        Ok(())
    }
}
