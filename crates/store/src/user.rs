//! People who sign in.

use sqlx::{Any, Transaction};
use weir_model::{UnixMillis, UserId};

use crate::member::{Membership, insert_membership};
use crate::row::{Fields, FromRow, all, optional, storable};
use crate::{Store, StoreError};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Identity.
    pub id: UserId,
    /// Mail address in lower case; unique on this Weir.
    pub email: String,
    /// As others see it.
    pub name: String,
    /// Of the password, by argon2id; `None` where somebody else says who they are.
    pub password_hash: Option<String>,
    /// Secret of the second factor in force, sealed.
    pub totp_secret: Option<String>,
    /// One that is not confirmed yet, sealed.
    pub totp_pending: Option<String>,
    /// The last step of time whose code was used.
    pub totp_step: i64,
    /// Of mails and pages: `en`, `ru`; empty where nothing was chosen.
    pub language: String,
    /// Whether they are kept out.
    pub disabled: bool,
    /// When they came.
    pub created_ms: UnixMillis,
}

impl FromRow for User {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            email: row.text("email")?,
            name: row.text("name")?,
            password_hash: row.text_optional("password_hash")?,
            totp_secret: row.text_optional("totp_secret")?,
            totp_pending: row.text_optional("totp_pending")?,
            totp_step: row.integer("totp_step")?,
            language: row.text("language")?,
            disabled: row.flag("disabled")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

/// Begins a change of who may what; such changes wait for each other.
pub(crate) async fn begin_change(store: &Store) -> Result<Transaction<'static, Any>, StoreError> {
    let mut transaction = store.begin().await?;
    sqlx::query("UPDATE counters SET value = value + 1 WHERE name = 'people'")
        .execute(&mut *transaction)
        .await?;
    Ok(transaction)
}

/// How many people own the whole Weir, and are not kept out.
pub(crate) async fn owners(transaction: &mut Transaction<'static, Any>) -> Result<i64, StoreError> {
    let row = sqlx::query(
        "SELECT COUNT(*) AS found FROM memberships m JOIN users u ON u.id = m.user_id
         WHERE m.place = 'platform' AND m.role = 'owner' AND u.disabled = 0",
    )
    .fetch_one(&mut **transaction)
    .await?;
    Fields(&row).integer("found")
}

pub(crate) async fn insert_user(transaction: &mut Transaction<'static, Any>, user: &User) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO users (id, email, name, password_hash, totp_secret, totp_pending, totp_step, oidc_subject,
            language, disabled, created_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, $8, $9, $10)",
    )
    .bind(user.id.to_string())
    .bind(&user.email)
    .bind(storable(&user.name))
    .bind(user.password_hash.as_deref())
    .bind(user.totp_secret.as_deref())
    .bind(user.totp_pending.as_deref())
    .bind(user.totp_step)
    .bind(&user.language)
    .bind(i64::from(user.disabled))
    .bind(user.created_ms)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

impl Store {
    /// Whether there is anybody yet.
    pub async fn user_any(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT id FROM users LIMIT 1")
            .fetch_optional(self.read())
            .await?;
        Ok(row.is_some())
    }

    /// Writes the first person, with a role. False, and nothing is written, if there is somebody already.
    pub async fn user_insert_first(&self, user: &User, membership: &Membership) -> Result<bool, StoreError> {
        let mut transaction = begin_change(self).await?;
        let found = sqlx::query("SELECT id FROM users LIMIT 1")
            .fetch_optional(&mut *transaction)
            .await?;
        if found.is_some() {
            return Ok(false);
        }
        insert_user(&mut transaction, user).await?;
        insert_membership(&mut transaction, membership).await?;
        transaction.commit().await?;
        Ok(true)
    }

    /// Everybody, by mail address.
    pub async fn user_list(&self) -> Result<Vec<User>, StoreError> {
        let mut users: Vec<User> = all(&sqlx::query("SELECT * FROM users").fetch_all(self.read()).await?)?;
        users.sort_by(|a, b| a.email.cmp(&b.email));
        Ok(users)
    }

    /// Somebody.
    pub async fn user_by_id(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let query = sqlx::query("SELECT * FROM users WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Somebody, by mail address in lower case.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>, StoreError> {
        let query = sqlx::query("SELECT * FROM users WHERE email = $1").bind(storable(email));
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Sets name and language.
    pub async fn user_rename(&self, id: UserId, name: &str, language: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET name = $2, language = $3 WHERE id = $1")
            .bind(id.to_string())
            .bind(storable(name))
            .bind(storable(language))
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Sets the hash of the password; links to set it are worth nothing from then on.
    pub async fn user_set_password(&self, id: UserId, hash: &str) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(hash)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM password_resets WHERE user_id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Keeps somebody out, or lets them in again; their sessions and invitations end. False, and nothing is changed, if nobody would own
    /// the Weir any more.
    pub async fn user_set_disabled(&self, id: UserId, disabled: bool) -> Result<bool, StoreError> {
        let mut transaction = begin_change(self).await?;
        let before = owners(&mut transaction).await?;
        sqlx::query("UPDATE users SET disabled = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(i64::from(disabled))
            .execute(&mut *transaction)
            .await?;
        if disabled {
            sqlx::query("DELETE FROM sign_ins WHERE user_id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
            take_back_invitations(&mut transaction, &id.to_string()).await?;
        }
        if before > 0 && owners(&mut transaction).await? == 0 {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Removes somebody with all roles. False, and nothing is changed, if nobody would own the Weir any more.
    pub async fn user_delete(&self, id: UserId) -> Result<bool, StoreError> {
        let mut transaction = begin_change(self).await?;
        let before = owners(&mut transaction).await?;
        take_back_invitations(&mut transaction, &id.to_string()).await?;
        sqlx::query("DELETE FROM users WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        if before > 0 && owners(&mut transaction).await? == 0 {
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Keeps a secret of a second factor (sealed) until it is confirmed.
    pub async fn totp_propose(&self, id: UserId, sealed: &str) -> Result<(), StoreError> {
        sqlx::query("UPDATE users SET totp_pending = $2 WHERE id = $1")
            .bind(id.to_string())
            .bind(sealed)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Puts the proposed secret in force, with the step whose code confirmed it, and new recovery codes.
    /// False if another secret was proposed meanwhile.
    pub async fn totp_confirm(
        &self,
        id: UserId,
        sealed: &str,
        step: i64,
        code_hashes: &[String],
    ) -> Result<bool, StoreError> {
        let mut transaction = self.begin().await?;
        let changed = sqlx::query(
            "UPDATE users SET totp_secret = totp_pending, totp_pending = NULL, totp_step = $3
             WHERE id = $1 AND totp_pending = $2",
        )
        .bind(id.to_string())
        .bind(sealed)
        .bind(step)
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(false);
        }
        forget_codes(&mut transaction, id).await?;
        for hash in code_hashes {
            sqlx::query("INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)")
                .bind(id.to_string())
                .bind(hash)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// Takes the code of a step of time. False if this one, or a later one, was taken already.
    pub async fn totp_take(&self, id: UserId, step: i64) -> Result<bool, StoreError> {
        let changed = sqlx::query("UPDATE users SET totp_step = $2 WHERE id = $1 AND totp_step < $2")
            .bind(id.to_string())
            .bind(step)
            .execute(self.write())
            .await?;
        Ok(changed.rows_affected() > 0)
    }

    /// Takes the second factor away, with its recovery codes.
    pub async fn totp_remove(&self, id: UserId) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("UPDATE users SET totp_secret = NULL, totp_pending = NULL WHERE id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        forget_codes(&mut transaction, id).await?;
        Ok(transaction.commit().await?)
    }

    /// Takes a recovery code, by its hash. False if there is none such (any more).
    pub async fn recovery_code_take(&self, id: UserId, code_hash: &str) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2")
            .bind(id.to_string())
            .bind(code_hash)
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Keeps a link by which somebody sets their password; earlier ones are worth nothing from then on.
    pub async fn password_reset_insert(
        &self,
        id: UserId,
        secret_sha256: &str,
        created_ms: UnixMillis,
        expires_ms: UnixMillis,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query("DELETE FROM password_resets WHERE user_id = $1")
            .bind(id.to_string())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(
            "INSERT INTO password_resets (secret_sha256, user_id, created_ms, expires_ms) VALUES ($1, $2, $3, $4)",
        )
        .bind(secret_sha256)
        .bind(id.to_string())
        .bind(created_ms)
        .bind(expires_ms)
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// For whom a link is that holds now; it goes on holding until the password is set.
    pub async fn password_reset_user(
        &self,
        secret_sha256: &str,
        now_ms: UnixMillis,
    ) -> Result<Option<User>, StoreError> {
        let query = sqlx::query(
            "SELECT u.* FROM password_resets r JOIN users u ON u.id = r.user_id
             WHERE r.secret_sha256 = $1 AND r.expires_ms > $2",
        );
        optional(
            query
                .bind(secret_sha256)
                .bind(now_ms)
                .fetch_optional(self.read())
                .await?,
        )
    }

    /// Uses a link: sets the password and ends every sign-in. False if it holds no more, or was used.
    pub async fn password_reset_use(
        &self,
        secret_sha256: &str,
        hash: &str,
        now_ms: UnixMillis,
    ) -> Result<bool, StoreError> {
        let Some(user) = self.password_reset_user(secret_sha256, now_ms).await? else {
            return Ok(false);
        };
        let mut transaction = self.begin().await?;
        let taken = sqlx::query("DELETE FROM password_resets WHERE secret_sha256 = $1")
            .bind(secret_sha256)
            .execute(&mut *transaction)
            .await?;
        if taken.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("UPDATE users SET password_hash = $2 WHERE id = $1")
            .bind(user.id.to_string())
            .bind(hash)
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM sign_ins WHERE user_id = $1")
            .bind(user.id.to_string())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(true)
    }
}

/// Who is out, by identity, must not come back by an invitation of their own.
pub(crate) async fn take_back_invitations(
    transaction: &mut Transaction<'static, Any>,
    id: &str,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM invitations WHERE used_ms IS NULL AND created_by_id = $1")
        .bind(id)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn forget_codes(transaction: &mut Transaction<'static, Any>, id: UserId) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1")
        .bind(id.to_string())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
