//! Invoices and credit notes.

use std::fmt;
use std::str::FromStr;

use weir_model::{AccountId, InvoiceId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional};
use crate::{Store, StoreError};

/// A document of what was charged, or of what is not after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Identity.
    pub id: InvoiceId,
    /// Whom it is for.
    pub account: AccountId,
    /// How far it is.
    pub state: InvoiceState,
    /// Unique; `None` for drafts.
    pub number: Option<String>,
    /// The invoice that it takes back, or lines of; `None` for an invoice itself.
    pub credits: Option<InvoiceId>,
    /// What was used from then on …
    pub from_ms: UnixMillis,
    /// … and before then.
    pub until_ms: UnixMillis,
    /// When it was made.
    pub created_ms: UnixMillis,
    /// When it got its number.
    pub final_ms: Option<UnixMillis>,
    /// What is on it, as JSON.
    pub document: String,
}

/// How far a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvoiceState {
    /// May be discarded.
    Draft,
    /// Numbered; never changes.
    Final,
    /// Final, and all of it was taken back by credit notes.
    Credited,
}

impl fmt::Display for InvoiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Draft => "draft",
            Self::Final => "final",
            Self::Credited => "credited",
        })
    }
}

impl FromStr for InvoiceState {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "draft" => Ok(Self::Draft),
            "final" => Ok(Self::Final),
            "credited" => Ok(Self::Credited),
            _ => Err(format!("`{text}` is no state of an invoice")),
        }
    }
}

/// What becomes true together with a number.
#[derive(Debug, Clone)]
pub struct Finalize<'a> {
    /// Which draft.
    pub id: InvoiceId,
    /// Numbers of the same series are counted together, from 1.
    pub series: &'a str,
    /// When.
    pub now_ms: UnixMillis,
    /// The invoice that nothing is left of by it.
    pub credited: Option<InvoiceId>,
}

impl FromRow for Invoice {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            account: row.parsed("account_id")?,
            state: row.parsed("state")?,
            number: row.text_optional("number")?,
            credits: row.parsed_optional("credits_id")?,
            from_ms: row.integer("from_ms")?,
            until_ms: row.integer("until_ms")?,
            created_ms: row.integer("created_ms")?,
            final_ms: row.integer_optional("final_ms")?,
            document: row.text("document")?,
        })
    }
}

impl Store {
    /// Writes a draft.
    pub async fn invoice_insert(&self, invoice: &Invoice) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO invoices
                (id, account_id, kind, state, credits_id, from_ms, until_ms, created_ms, document)
             VALUES ($1, $2, $3, 'draft', $4, $5, $6, $7, $8)",
        )
        .bind(invoice.id.to_string())
        .bind(invoice.account.to_string())
        .bind(if invoice.credits.is_some() {
            "credit-note"
        } else {
            "invoice"
        })
        .bind(invoice.credits.map(|id| id.to_string()))
        .bind(invoice.from_ms)
        .bind(invoice.until_ms)
        .bind(invoice.created_ms)
        .bind(&invoice.document)
        .execute(self.write())
        .await
        .map_err(|error| StoreError::from(error).missing(|| "the account of the invoice".to_owned()))?;
        Ok(())
    }

    /// Gives a draft the next number of a series: no number is given twice or left out. `None` if
    /// it is no draft any more.
    pub async fn invoice_finalize(
        &self,
        finalize: Finalize<'_>,
        number: impl FnOnce(i64) -> String + Send,
    ) -> Result<Option<String>, StoreError> {
        let mut transaction = self.begin().await?;
        let row = sqlx::query(
            "INSERT INTO counters (name, value) VALUES ($1, 1)
             ON CONFLICT (name) DO UPDATE SET value = counters.value + 1 RETURNING value",
        )
        .bind(format!("invoice:{}", finalize.series))
        .fetch_one(&mut *transaction)
        .await?;
        let number = number(Fields(&row).integer("value")?);
        let changed = sqlx::query(
            "UPDATE invoices SET state = 'final', number = $1, final_ms = $2 WHERE id = $3 AND state = 'draft'",
        )
        .bind(&number)
        .bind(finalize.now_ms)
        .bind(finalize.id.to_string())
        .execute(&mut *transaction)
        .await?;
        if changed.rows_affected() == 0 {
            return Ok(None);
        }
        if let Some(id) = finalize.credited {
            sqlx::query("UPDATE invoices SET state = 'credited' WHERE id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(Some(number))
    }

    /// Removes a draft. Says whether it was one.
    pub async fn invoice_discard(&self, id: InvoiceId) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM invoices WHERE id = $1 AND state = 'draft'")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// An invoice or credit note.
    pub async fn invoice_by_id(&self, id: InvoiceId) -> Result<Option<Invoice>, StoreError> {
        let query = sqlx::query("SELECT * FROM invoices WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Invoices and credit notes that got their number at an instant or later, in that order.
    pub async fn invoice_list_final(&self, since_ms: UnixMillis) -> Result<Vec<Invoice>, StoreError> {
        let query = sqlx::query("SELECT * FROM invoices WHERE final_ms >= $1 ORDER BY final_ms, id").bind(since_ms);
        all(&query.fetch_all(self.read()).await?)
    }

    /// All invoices and credit notes of an account, newest first.
    pub async fn invoice_list(&self, account: AccountId) -> Result<Vec<Invoice>, StoreError> {
        let query = sqlx::query("SELECT * FROM invoices WHERE account_id = $1 ORDER BY created_ms DESC, id DESC")
            .bind(account.to_string());
        all(&query.fetch_all(self.read()).await?)
    }
}
