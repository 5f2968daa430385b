//! Browsers in which somebody is signed in.

use std::collections::HashMap;

use weir_model::{SignInId, UnixMillis, UserId};

use crate::row::{Fields, FromRow, all, optional, storable};
use crate::{Store, StoreError};

/// Most of one person; the ones that were not used for longest end for newer ones.
const MOST: i64 = 50;

/// A browser in which somebody is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignIn {
    /// Identity.
    pub id: SignInId,
    /// SHA-256 of the secret, in hex.
    pub secret_sha256: String,
    /// Who.
    pub user: UserId,
    /// By what: `password`, `totp`, `recovery-code`, `invitation`, `setup`.
    pub how: String,
    /// The second factor is still to come: nothing else may be done with it.
    pub waits: bool,
    /// Address of the last request.
    pub address: String,
    /// What the browser says that it is.
    pub agent: String,
    /// When it began.
    pub created_ms: UnixMillis,
    /// When it was last used, to the minute.
    pub used_ms: UnixMillis,
    /// After this instant it is refused, however often it was used.
    pub expires_ms: UnixMillis,
}

impl FromRow for SignIn {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            secret_sha256: row.text("secret_sha256")?,
            user: row.parsed("user_id")?,
            how: row.text("how")?,
            waits: row.flag("waits")?,
            address: row.text("address")?,
            agent: row.text("agent")?,
            created_ms: row.integer("created_ms")?,
            used_ms: row.integer("used_ms")?,
            expires_ms: row.integer("expires_ms")?,
        })
    }
}

impl Store {
    /// Writes a sign-in in place of another one, if that is given. `NotFound` if its user does not exist.
    pub async fn sign_in_insert(&self, sign_in: &SignIn, instead_of: Option<SignInId>) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        if let Some(old) = instead_of {
            sqlx::query("DELETE FROM sign_ins WHERE id = $1")
                .bind(old.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        sqlx::query(
            "INSERT INTO sign_ins (id, secret_sha256, user_id, how, waits, address, agent, created_ms, used_ms, expires_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(sign_in.id.to_string())
        .bind(&sign_in.secret_sha256)
        .bind(sign_in.user.to_string())
        .bind(&sign_in.how)
        .bind(i64::from(sign_in.waits))
        .bind(storable(&sign_in.address))
        .bind(storable(&sign_in.agent))
        .bind(sign_in.created_ms)
        .bind(sign_in.used_ms)
        .bind(sign_in.expires_ms)
        .execute(&mut *transaction)
        .await
        .map_err(|error| StoreError::from(error).missing(|| "the person".to_owned()))?;
        sqlx::query(
            "DELETE FROM sign_ins WHERE user_id = $1 AND id NOT IN
                (SELECT id FROM sign_ins WHERE user_id = $1 ORDER BY used_ms DESC, id DESC LIMIT $2)",
        )
        .bind(sign_in.user.to_string())
        .bind(MOST)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The sign-in of a secret, by the SHA-256 of it in lower-case hex; also one that is past.
    pub async fn sign_in_by_secret_sha256(&self, secret_sha256: &str) -> Result<Option<SignIn>, StoreError> {
        let query = sqlx::query("SELECT * FROM sign_ins WHERE secret_sha256 = $1").bind(secret_sha256);
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Those of a person, last used first.
    pub async fn sign_in_list(&self, user: UserId) -> Result<Vec<SignIn>, StoreError> {
        let query = sqlx::query("SELECT * FROM sign_ins WHERE user_id = $1 ORDER BY used_ms DESC, id DESC");
        all(&query.bind(user.to_string()).fetch_all(self.read()).await?)
    }

    /// When each person who has any was last seen.
    pub async fn sign_in_last_used(&self) -> Result<HashMap<UserId, UnixMillis>, StoreError> {
        let statement = "SELECT user_id, MAX(used_ms) AS used_ms FROM sign_ins GROUP BY user_id";
        let rows = sqlx::query(statement).fetch_all(self.read()).await?;
        let used = rows.iter().map(|row| {
            let row = Fields(row);
            Ok((row.parsed("user_id")?, row.integer("used_ms")?))
        });
        used.collect()
    }

    /// Notes that it was used.
    pub async fn sign_in_touch(&self, id: SignInId, now_ms: UnixMillis, address: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE sign_ins SET used_ms = $2, address = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(now_ms)
            .bind(storable(address))
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Gives a sign-in another secret; the one of before is worth nothing from then on. Says whether it
    /// was there.
    pub async fn sign_in_rotate(&self, id: SignInId, secret_sha256: &str) -> Result<bool, StoreError> {
        let changed = sqlx::query("UPDATE sign_ins SET secret_sha256 = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(secret_sha256)
            .execute(self.write())
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Ends one of a person. Says whether it was there.
    pub async fn sign_in_delete(&self, user: UserId, id: SignInId) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM sign_ins WHERE id = $1 AND user_id = $2")
            .bind(id.to_string())
            .bind(user.to_string())
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Ends all of a person but one. Says how many.
    pub async fn sign_in_delete_others(&self, user: UserId, keep: SignInId) -> Result<u64, StoreError> {
        let deleted = sqlx::query("DELETE FROM sign_ins WHERE user_id = $1 AND id <> $2")
            .bind(user.to_string())
            .bind(keep.to_string())
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected())
    }

    /// Removes what is past: sign-ins that ended or were not used since `idle_before_ms`, and links.
    pub async fn sign_in_prune(&self, now_ms: UnixMillis, idle_before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sign_ins WHERE expires_ms <= $1 OR used_ms <= $2")
            .bind(now_ms)
            .bind(idle_before_ms)
            .execute(self.write())
            .await?;
        for table in ["password_resets", "invitations"] {
            sqlx::query(sqlx::AssertSqlSafe(format!(
                "DELETE FROM {table} WHERE expires_ms <= $1"
            )))
            .bind(now_ms)
            .execute(self.write())
            .await?;
        }
        Ok(())
    }
}
