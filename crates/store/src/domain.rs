//! Domains.

use sqlx::AnyConnection;
use weir_model::EnvironmentId;
use weir_model::certificate::HttpsPolicy;
use weir_model::project::Domain;

use crate::row::{Fields, FromRow, all};
use crate::{Store, StoreError, Taken};

impl FromRow for Domain {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            environment: row.parsed("environment_id")?,
            app: row.parsed_optional("app")?,
            host: row.text("host")?,
            platform: row.flag("platform")?,
            redirect_to: row.text_optional("redirect_to")?,
            tcp: row.parsed_optional("tcp")?,
            https: HttpsPolicy {
                redirect: row.flag("https_redirect")?,
                hsts_s: u32::try_from(row.integer("hsts_s")?).unwrap_or(u32::MAX),
            },
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

const INSERT: &str = "INSERT INTO domains
    (id, environment_id, app, host, platform, redirect_to, https_redirect, hsts_s, created_ms, tcp)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

/// The same, and where the environment has the host already, how it answers from now on.
const PUT: &str = "INSERT INTO domains
    (id, environment_id, app, host, platform, redirect_to, https_redirect, hsts_s, created_ms, tcp)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    ON CONFLICT (host) DO UPDATE SET app = excluded.app, redirect_to = excluded.redirect_to,
        https_redirect = excluded.https_redirect, hsts_s = excluded.hsts_s, tcp = excluded.tcp
    WHERE domains.environment_id = excluded.environment_id";

async fn insert<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    domain: &Domain,
) -> Result<(), StoreError> {
    write(executor, INSERT, domain).await.map(drop)
}

/// Returns how many rows were written.
async fn write<'e>(
    executor: impl sqlx::Executor<'e, Database = sqlx::Any>,
    statement: &'static str,
    domain: &Domain,
) -> Result<u64, StoreError> {
    let written = sqlx::query(statement)
        .bind(domain.id.to_string())
        .bind(domain.environment.to_string())
        .bind(domain.app.as_ref().map(|app| app.as_str()))
        .bind(&domain.host)
        .bind(i64::from(domain.platform))
        .bind(domain.redirect_to.as_deref())
        .bind(i64::from(domain.https.redirect))
        .bind(i64::from(domain.https.hsts_s))
        .bind(domain.created_ms)
        .bind(domain.tcp.as_ref().map(|service| service.as_str()))
        .execute(executor)
        .await
        .map_err(|error| {
            StoreError::from(error)
                .taken("domains_host_unique", || taken(domain))
                .missing(|| format!("the environment {}", domain.environment))
        })?;
    Ok(written.rows_affected())
}

fn taken(domain: &Domain) -> String {
    format!("the host name {} is taken", domain.host)
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

    /// Adds host names to an environment, or changes how those answer that it has already; all or
    /// none. `Conflict` if another environment has one, `NotFound` if there is no such environment.
    pub async fn domain_put(&self, domains: &[Domain]) -> Result<(), StoreError> {
        let mut domains: Vec<&Domain> = domains.iter().collect();
        domains.sort_by(|a, b| a.host.cmp(&b.host));
        let mut transaction = self.begin().await?;
        for domain in domains {
            if write(&mut *transaction, PUT, domain).await? == 0 {
                return Err(StoreError::Conflict(Taken {
                    constraint: "domains_host_unique",
                    words: taken(domain),
                }));
            }
        }
        transaction.commit().await?;
        Ok(())
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
