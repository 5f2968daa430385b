//! Programs that act by themselves: a name, roles, and tokens.

use weir_model::policy::Reach;
use weir_model::{ServiceAccountId, UnixMillis};

use crate::member::{Membership, columns_of, insert_membership, reach_of};
use crate::row::{Fields, FromRow, all, optional, storable};
use crate::user::{begin_change, take_back_invitations};
use crate::{Store, StoreError};

/// A program that acts by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccount {
    /// Identity.
    pub id: ServiceAccountId,
    /// Unique among those that belong to the same place.
    pub name: String,
    /// Where it belongs: who looks after people there looks after it.
    pub home: Reach,
    /// Who made it, by name.
    pub created_by: String,
    /// When.
    pub created_ms: UnixMillis,
}

impl FromRow for ServiceAccount {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.text("name")?,
            home: reach_of(row)?,
            created_by: row.text("created_by")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

impl Store {
    /// Writes a service account with its first role.
    pub async fn service_account_insert(
        &self,
        account: &ServiceAccount,
        membership: &Membership,
    ) -> Result<(), StoreError> {
        let [account_id, project_id, environment_id] = columns_of(account.home);
        let mut transaction = begin_change(self).await?;
        sqlx::query(
            "INSERT INTO service_accounts (id, unique_name, name, place, account_id, project_id, environment_id,
                created_by, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(account.id.to_string())
        .bind(storable(&format!("{} {}", account.home.key(), account.name)))
        .bind(storable(&account.name))
        .bind(account.home.key())
        .bind(account_id)
        .bind(project_id)
        .bind(environment_id)
        .bind(storable(&account.created_by))
        .bind(account.created_ms)
        .execute(&mut *transaction)
        .await
        .map_err(|error| StoreError::from(error).missing(|| "where the service account belongs".to_owned()))?;
        insert_membership(&mut transaction, membership).await?;
        Ok(transaction.commit().await?)
    }

    /// All service accounts, oldest first.
    pub async fn service_account_list(&self) -> Result<Vec<ServiceAccount>, StoreError> {
        let statement = "SELECT s.*, e.project_id AS environment_project FROM service_accounts s
            LEFT JOIN environments e ON e.id = s.environment_id ORDER BY s.created_ms, s.id";
        all(&sqlx::query(statement).fetch_all(self.read()).await?)
    }

    /// One.
    pub async fn service_account_by_id(&self, id: ServiceAccountId) -> Result<Option<ServiceAccount>, StoreError> {
        let statement = "SELECT s.*, e.project_id AS environment_project FROM service_accounts s
            LEFT JOIN environments e ON e.id = s.environment_id WHERE s.id = $1";
        let query = sqlx::query(statement).bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// How many belong to a project with its environments, to an account, or to the whole: all that share
    /// the bound of one of them.
    pub async fn service_account_count(&self, home: Reach) -> Result<i64, StoreError> {
        let place = match home {
            Reach::Environment(project, _) => Reach::Project(project).key(),
            home => home.key(),
        };
        let query = sqlx::query(
            "SELECT COUNT(*) AS found FROM service_accounts s LEFT JOIN environments e ON e.id = s.environment_id
             WHERE COALESCE(e.project_id, s.place) = $1",
        );
        Fields(&query.bind(place).fetch_one(self.read()).await?).integer("found")
    }

    /// Removes one, with its roles, tokens and open invitations. Says whether it was there.
    pub async fn service_account_delete(&self, id: ServiceAccountId) -> Result<bool, StoreError> {
        let mut transaction = begin_change(self).await?;
        take_back_invitations(&mut transaction, &id.to_string()).await?;
        let deleted = sqlx::query("DELETE FROM service_accounts WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }
}
