//! Domains.

use sqlx::AnyConnection;
use weir_model::EnvironmentId;
use weir_model::project::Domain;

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError};

impl FromRow for Domain {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            environment: row.parsed("environment_id")?,
            app: row.parsed_optional("app")?,
            host: row.text("host")?,
            platform: row.flag("platform")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

/// In the order of the host names, so that two who insert the same ones never wait for each
/// other in a circle.
pub(crate) async fn insert_in_tx(connection: &mut AnyConnection, domains: &[Domain]) -> Result<(), StoreError> {
    let mut domains: Vec<&Domain> = domains.iter().collect();
    domains.sort_by(|a, b| a.host.cmp(&b.host));
    for domain in domains {
        insert(&mut *connection, domain).await?;
    }
    Ok(())
}

async fn insert<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    domain: &Domain,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO domains (id, environment_id, app, host, platform, created_ms) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(domain.id.to_string())
    .bind(domain.environment.to_string())
    .bind(domain.app.as_ref().map(|app| app.as_str()))
    .bind(&domain.host)
    .bind(i64::from(domain.platform))
    .bind(domain.created_ms)
    .execute(executor)
    .await
    .map_err(|error| {
        StoreError::from(error)
            .taken("domains_host_unique", || {
                format!("the host name {} is taken", domain.host)
            })
            .missing(|| format!("the environment {}", domain.environment))
    })?;
    Ok(())
}

fn sorted(mut domains: Vec<Domain>) -> Vec<Domain> {
    domains.sort_by(|a, b| (!a.platform, &a.host).cmp(&(!b.platform, &b.host)));
    domains
}

impl Store {
    /// All host names of this Weir: its own first, then by name.
    pub async fn domain_list_all(&self) -> Result<Vec<Domain>, StoreError> {
        Ok(sorted(all(&sqlx::query("SELECT * FROM domains")
            .fetch_all(self.read())
            .await?)?))
    }

    /// The host names of an environment: those that Weir gave first, then by name.
    pub async fn domain_list(&self, environment: EnvironmentId) -> Result<Vec<Domain>, StoreError> {
        let query = sqlx::query("SELECT * FROM domains WHERE environment_id = $1").bind(environment.to_string());
        Ok(sorted(all(&query.fetch_all(self.read()).await?)?))
    }

    /// Adds a host name. `Conflict` if it is taken, `NotFound` if there is no such environment.
    pub async fn domain_insert(&self, domain: &Domain) -> Result<(), StoreError> {
        insert(self.write(), domain).await
    }

    /// Removes a host name from an environment. Says whether it had it.
    pub async fn domain_delete(&self, environment: EnvironmentId, host: &str) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM domains WHERE environment_id = $1 AND host = $2")
            .bind(environment.to_string())
            .bind(host)
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}
