//! Idempotency keys: a request that is sent again gets the answer of the first time.

use weir_model::UnixMillis;

use crate::row::Fields;
use crate::{Store, StoreError};

/// How often a key that was freed in the middle is tried again.
const ATTEMPTS: u32 = 3;

/// What is known of a request with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Idempotency {
    /// It was never seen: do it, then finish or abandon it.
    New,
    /// It was answered: give the same answer.
    Replay {
        /// The HTTP status.
        status: u16,
        /// The body, as it was handed to `idempotency_finish`.
        body: String,
    },
    /// The key was used for another request.
    Mismatch,
    /// The same request is being worked on.
    InProgress,
}

impl Store {
    /// Notes that a request is being worked on, or tells what is known of it. Of two at once,
    /// one gets `New`. Keys of different tokens are different keys.
    pub async fn idempotency_begin(
        &self,
        token: &str,
        key: &str,
        request_sha256: &str,
        now_ms: UnixMillis,
    ) -> Result<Idempotency, StoreError> {
        // Whoever holds the key may abandon it between the two statements; then it is free again.
        for _ in 0..ATTEMPTS {
            let begun = sqlx::query(
                "INSERT INTO idempotency (token, request_key, request_sha256, created_ms) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (token, request_key) DO NOTHING",
            )
            .bind(token)
            .bind(key)
            .bind(request_sha256)
            .bind(now_ms)
            .execute(self.write())
            .await?;
            if begun.rows_affected() > 0 {
                return Ok(Idempotency::New);
            }
            let known = sqlx::query(
                "SELECT request_sha256, status, body FROM idempotency WHERE token = $1 AND request_key = $2",
            )
            .bind(token)
            .bind(key)
            .fetch_optional(self.read())
            .await?;
            if let Some(known) = known {
                return known_of(&Fields(&known), request_sha256);
            }
        }
        Ok(Idempotency::InProgress)
    }

    /// Keeps the answer of a request that was begun. Nothing happens if it was abandoned or
    /// pruned in the meantime.
    pub async fn idempotency_finish(&self, token: &str, key: &str, status: u16, body: &str) -> Result<(), StoreError> {
        sqlx::query(
            "UPDATE idempotency SET status = $3, body = $4 WHERE token = $1 AND request_key = $2 AND status IS NULL",
        )
        .bind(token)
        .bind(key)
        .bind(i64::from(status))
        .bind(body)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// Frees the key of a request that has no answer to keep. An answer that is kept stays.
    pub async fn idempotency_abandon(&self, token: &str, key: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM idempotency WHERE token = $1 AND request_key = $2 AND status IS NULL")
            .bind(token)
            .bind(key)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// Frees the keys of all requests without an answer: for the start of control, when nobody
    /// works on them any more. Returns how many there were.
    pub async fn idempotency_abandon_all(&self) -> Result<u64, StoreError> {
        let abandoned = sqlx::query("DELETE FROM idempotency WHERE status IS NULL")
            .execute(self.write())
            .await?;
        Ok(abandoned.rows_affected())
    }

    /// Forgets every request that was begun before this instant.
    pub async fn idempotency_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM idempotency WHERE created_ms < $1")
            .bind(before_ms)
            .execute(self.write())
            .await?;
        Ok(())
    }
}

fn known_of(row: &Fields<'_>, request_sha256: &str) -> Result<Idempotency, StoreError> {
    if row.text("request_sha256")? != request_sha256 {
        return Ok(Idempotency::Mismatch);
    }
    let Some(status) = row.integer_optional("status")? else {
        return Ok(Idempotency::InProgress);
    };
    let status = u16::try_from(status).map_err(|error| StoreError::unreadable("status", error))?;
    Ok(Idempotency::Replay {
        status,
        body: row.text("body")?,
    })
}
