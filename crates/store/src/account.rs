//! Accounts: who pays.

use weir_model::{AccountId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional};
use crate::{Store, StoreError};

/// Who pays. What it owns and owes is in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Identity.
    pub id: AccountId,
    /// Unique on this Weir.
    pub name: String,
    /// When it was created; 0 for the first one.
    pub created_ms: UnixMillis,
}

impl Account {
    /// The account that exists always and pays for what nobody else pays for.
    pub fn default_id() -> AccountId {
        AccountId::from_parts(0, 0)
    }
}

impl FromRow for Account {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.text("name")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

impl Store {
    /// Writes an account. `Conflict` if its name is taken.
    pub async fn account_insert(&self, account: &Account) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO accounts (id, name, created_ms) VALUES ($1, $2, $3)")
            .bind(account.id.to_string())
            .bind(&account.name)
            .bind(account.created_ms)
            .execute(self.write())
            .await
            .map_err(|error| {
                StoreError::from(error).taken("accounts_name_unique", || {
                    format!("there is an account {} already", account.name)
                })
            })?;
        Ok(())
    }

    /// The account of this name.
    pub async fn account_by_name(&self, name: &str) -> Result<Option<Account>, StoreError> {
        let query = sqlx::query("SELECT * FROM accounts WHERE name = $1").bind(name);
        optional(query.fetch_optional(self.read()).await?)
    }

    /// All accounts, by name.
    pub async fn account_list(&self) -> Result<Vec<Account>, StoreError> {
        let mut accounts: Vec<Account> = all(&sqlx::query("SELECT * FROM accounts").fetch_all(self.read()).await?)?;
        accounts.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(accounts)
    }
}
