//! Numbers of instances that override those of the apps' specifications.

use weir_model::EnvironmentId;
use weir_model::project::Scale;

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError, environment};

impl FromRow for Scale {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let instances = row.integer("instances")?;
        let most = row.integer_optional("most")?;
        Ok(Self {
            app: row.parsed("app")?,
            process: row.parsed("process")?,
            instances: u32::try_from(instances).map_err(|error| StoreError::unreadable("instances", error))?,
            most: most
                .map(u32::try_from)
                .transpose()
                .map_err(|error| StoreError::unreadable("most", error))?,
        })
    }
}

impl Store {
    /// The numbers that were set in an environment, by app and process.
    pub async fn scale_list(&self, environment: EnvironmentId) -> Result<Vec<Scale>, StoreError> {
        let query = sqlx::query("SELECT * FROM scales WHERE environment_id = $1").bind(environment.to_string());
        let mut scales: Vec<Scale> = all(&query.fetch_all(self.read()).await?)?;
        scales.sort_by(|a, b| (&a.app, &a.process).cmp(&(&b.app, &b.process)));
        Ok(scales)
    }

    /// The numbers that were set in all environments, in no order.
    pub async fn scale_list_all(&self) -> Result<Vec<(EnvironmentId, Scale)>, StoreError> {
        let rows = sqlx::query("SELECT * FROM scales").fetch_all(self.read()).await?;
        let read = |row| Ok((Fields(row).parsed("environment_id")?, Scale::from_row(&Fields(row))?));
        rows.iter().map(read).collect()
    }

    /// Sets the numbers of some processes, all or nothing; others keep theirs. `NotFound` if
    /// there is no such environment.
    pub async fn scale_set(&self, environment: EnvironmentId, scales: &[Scale]) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        environment::lock_in_tx(&mut transaction, environment).await?;
        for scale in scales {
            sqlx::query(
                "INSERT INTO scales (environment_id, app, process, instances, most) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (environment_id, app, process)
                 DO UPDATE SET instances = excluded.instances, most = excluded.most",
            )
            .bind(environment.to_string())
            .bind(scale.app.as_str())
            .bind(scale.process.as_str())
            .bind(i64::from(scale.instances))
            .bind(scale.most.map(i64::from))
            .execute(&mut *transaction)
            .await?;
        }
        Ok(transaction.commit().await?)
    }
}
