//! Access tokens of the API.

use weir_model::project::Token;
use weir_model::{ProjectId, ServiceAccountId, TokenId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional};
use crate::user::take_back_invitations;
use crate::{Store, StoreError};

impl FromRow for Token {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            name: row.text("name")?,
            secret_sha256: row.text("secret_sha256")?,
            scope: row.parsed("scope")?,
            project: row.parsed_optional("project_id")?,
            created_ms: row.integer("created_ms")?,
            expires_ms: row.integer_optional("expires_ms")?,
            service_account: row.parsed_optional("service_account_id")?,
            used_ms: row.integer_optional("used_ms")?,
        })
    }
}

impl Store {
    /// Writes a token. `NotFound` if it is for a project that does not exist.
    pub async fn token_insert(&self, token: &Token) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO tokens (id, name, secret_sha256, scope, project_id, created_ms, expires_ms, service_account_id)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(token.id.to_string())
        .bind(&token.name)
        .bind(&token.secret_sha256)
        .bind(token.scope.as_str())
        .bind(token.project.map(|id| id.to_string()))
        .bind(token.created_ms)
        .bind(token.expires_ms)
        .bind(token.service_account.map(|id| id.to_string()))
        .execute(self.write())
        .await
        .map_err(|error| StoreError::from(error).missing(|| "the project of the token".to_owned()))?;
        Ok(())
    }

    /// All tokens, oldest first, expired ones too.
    pub async fn token_list(&self) -> Result<Vec<Token>, StoreError> {
        all(&sqlx::query("SELECT * FROM tokens ORDER BY created_ms, id")
            .fetch_all(self.read())
            .await?)
    }

    /// The token of this secret, by the SHA-256 of it in lower-case hex; also an expired one.
    pub async fn token_by_secret_sha256(&self, secret_sha256: &str) -> Result<Option<Token>, StoreError> {
        let query = sqlx::query("SELECT * FROM tokens WHERE secret_sha256 = $1").bind(secret_sha256);
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Notes that it was used.
    pub async fn token_touch(&self, id: TokenId, now_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("UPDATE tokens SET used_ms = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(now_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// How many tokens there are that belong to nobody: of a project, or for everything.
    pub async fn token_count(&self, project: Option<ProjectId>) -> Result<i64, StoreError> {
        let query = sqlx::query(
            "SELECT COUNT(*) AS found FROM tokens
             WHERE service_account_id IS NULL AND COALESCE(project_id, '') = $1",
        );
        let project = project.map_or_else(String::new, |id| id.to_string());
        Fields(&query.bind(project).fetch_one(self.read()).await?).integer("found")
    }

    /// How many tokens a service account has.
    pub async fn token_count_of(&self, account: ServiceAccountId) -> Result<i64, StoreError> {
        let query = sqlx::query("SELECT COUNT(*) AS found FROM tokens WHERE service_account_id = $1");
        Fields(&query.bind(account.to_string()).fetch_one(self.read()).await?).integer("found")
    }

    /// Removes a token, and takes back the open invitations that were made with it. Says whether it was there.
    pub async fn token_delete(&self, id: TokenId) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        take_back_invitations(&mut transaction, &id.to_string()).await?;
        let deleted = sqlx::query("DELETE FROM tokens WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected() > 0)
    }
}
