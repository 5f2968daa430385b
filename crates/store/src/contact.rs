//! Contacts: who is told about money, and how.

use std::fmt;
use std::str::FromStr;

use weir_model::{AccountId, ContactId, ProjectId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional};
use crate::{Store, StoreError};

/// Who is told about the money of an account or of one project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Identity.
    pub id: ContactId,
    /// Whose money.
    pub account: AccountId,
    /// Only this project, and what concerns the account as a whole; `None` for all projects.
    pub project: Option<ProjectId>,
    /// How.
    pub channel: Channel,
    /// Mail address or URL.
    pub address: String,
    /// What webhooks are signed with, sealed; empty for mail.
    pub secret: String,
    /// It may lead to the machine itself and to private networks.
    pub private: bool,
    /// When it was added.
    pub created_ms: UnixMillis,
}

/// How somebody is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// By mail.
    Email,
    /// By an HTTP request.
    Webhook,
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Email => "email",
            Self::Webhook => "webhook",
        })
    }
}

impl FromStr for Channel {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "email" => Ok(Self::Email),
            "webhook" => Ok(Self::Webhook),
            _ => Err(format!("`{text}` is no channel")),
        }
    }
}

impl FromRow for Contact {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            account: row.parsed("account_id")?,
            project: row.parsed_optional("project_id")?,
            channel: row.parsed("channel")?,
            address: row.text("address")?,
            secret: row.text("secret")?,
            private: row.flag("private")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

impl Store {
    /// Writes a contact. `NotFound` if its account or project does not exist.
    pub async fn contact_insert(&self, contact: &Contact) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO contacts (id, account_id, project_id, channel, address, secret, private, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(contact.id.to_string())
        .bind(contact.account.to_string())
        .bind(contact.project.map(|id| id.to_string()))
        .bind(contact.channel.to_string())
        .bind(&contact.address)
        .bind(&contact.secret)
        .bind(i64::from(contact.private))
        .bind(contact.created_ms)
        .execute(self.write())
        .await
        .map_err(|error| StoreError::from(error).missing(|| "the account or project of the contact".to_owned()))?;
        Ok(())
    }

    /// All contacts, oldest first.
    pub async fn contact_list(&self) -> Result<Vec<Contact>, StoreError> {
        all(&sqlx::query("SELECT * FROM contacts ORDER BY created_ms, id")
            .fetch_all(self.read())
            .await?)
    }

    /// A contact.
    pub async fn contact_by_id(&self, id: ContactId) -> Result<Option<Contact>, StoreError> {
        let query = sqlx::query("SELECT * FROM contacts WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Removes a contact and its notices. Says whether it was there.
    pub async fn contact_delete(&self, id: ContactId) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM contacts WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }
}
