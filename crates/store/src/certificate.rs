//! Certificates, and what is remembered of the attempts to get them.

use std::fmt;
use std::str::FromStr;

use sqlx::AnyConnection;
use weir_model::{CertificateId, UnixMillis};

use crate::row::{Fields, FromRow, all, optional, storable, to_json};
use crate::{Store, StoreError};

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCertificate {
    /// Identity.
    pub id: CertificateId,
    /// Where it is from.
    pub origin: CertificateOrigin,
    /// Host names, lower case; `*.example.org` covers one label.
    pub names: Vec<String>,
    /// The chain in PEM, the host's own certificate first.
    pub chain: String,
    /// The private key in PEM, sealed.
    pub key: String,
    /// When it begins.
    pub not_before_ms: UnixMillis,
    /// When it ends.
    pub not_after_ms: UnixMillis,
    /// When its authority wants it to be renewed, if it said so.
    pub renew_ms: Option<UnixMillis>,
    /// When the authority is asked for that again.
    pub ask_ms: UnixMillis,
    /// When it was issued to us or uploaded.
    pub created_ms: UnixMillis,
}

impl fmt::Debug for StoredCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCertificate")
            .field("id", &self.id)
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

/// Where a certificate is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateOrigin {
    /// Weir got it from an authority, and renews it.
    Authority,
    /// Somebody brought it, and has to renew it.
    Uploaded,
}

impl fmt::Display for CertificateOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Authority => "authority",
            Self::Uploaded => "uploaded",
        })
    }
}

impl FromStr for CertificateOrigin {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "authority" => Ok(Self::Authority),
            "uploaded" => Ok(Self::Uploaded),
            _ => Err(format!("`{text}` is no origin of a certificate")),
        }
    }
}

/// A name whose last try went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateName {
    /// The name, perhaps with `*.` before it.
    pub name: String,
    /// How often in a row it was seen that it does not lead here.
    pub looks: u32,
    /// How often in a row the authority refused it.
    pub failures: u32,
    /// Not before this instant it is tried again.
    pub next_ms: UnixMillis,
    /// What was wrong, in words.
    pub problem: String,
}

/// Something that an authority counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateCount {
    /// What.
    pub kind: CountedKind,
    /// Of what: nothing for orders, the registered domain of certificates, the name of failures.
    pub subject: String,
    /// When.
    pub at_ms: UnixMillis,
}

/// What authorities count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountedKind {
    /// Orders of the account.
    Order,
    /// Certificates of a registered domain.
    Certificate,
    /// Failed validations of a name.
    Failure,
}

impl fmt::Display for CountedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Order => "order",
            Self::Certificate => "certificate",
            Self::Failure => "failure",
        })
    }
}

impl FromStr for CountedKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "order" => Ok(Self::Order),
            "certificate" => Ok(Self::Certificate),
            "failure" => Ok(Self::Failure),
            _ => Err(format!("`{text}` is nothing that is counted")),
        }
    }
}

impl FromRow for StoredCertificate {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            id: row.parsed("id")?,
            origin: row.parsed("origin")?,
            names: row.json("names")?,
            chain: row.text("chain")?,
            key: row.text("key")?,
            not_before_ms: row.integer("not_before_ms")?,
            not_after_ms: row.integer("not_after_ms")?,
            renew_ms: row.integer_optional("renew_ms")?,
            ask_ms: row.integer("ask_ms")?,
            created_ms: row.integer("created_ms")?,
        })
    }
}

impl FromRow for CertificateName {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        let count = |column: &str| Ok::<_, StoreError>(u32::try_from(row.integer(column)?).unwrap_or(u32::MAX));
        Ok(Self {
            name: row.text("name")?,
            looks: count("looks")?,
            failures: count("failures")?,
            next_ms: row.integer("next_ms")?,
            problem: row.text("problem")?,
        })
    }
}

impl FromRow for CertificateCount {
    fn from_row(row: &Fields<'_>) -> Result<Self, StoreError> {
        Ok(Self {
            kind: row.parsed("kind")?,
            subject: row.text("subject")?,
            at_ms: row.integer("at_ms")?,
        })
    }
}

async fn count_in_tx(connection: &mut AnyConnection, count: &CertificateCount) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO certificate_counts (kind, subject, at_ms) VALUES ($1, $2, $3)")
        .bind(count.kind.to_string())
        .bind(&count.subject)
        .bind(count.at_ms)
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Writes a certificate in the place of others, forgets what was wrong with its names, and
    /// counts it, all together.
    pub async fn certificate_insert(
        &self,
        certificate: &StoredCertificate,
        replaced: &[CertificateId],
        counted: Option<&CertificateCount>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        sqlx::query(
            "INSERT INTO certificates
                (id, origin, names, chain, key, not_before_ms, not_after_ms, renew_ms, ask_ms, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(certificate.id.to_string())
        .bind(certificate.origin.to_string())
        .bind(to_json(&certificate.names)?)
        .bind(&certificate.chain)
        .bind(&certificate.key)
        .bind(certificate.not_before_ms)
        .bind(certificate.not_after_ms)
        .bind(certificate.renew_ms)
        .bind(certificate.ask_ms)
        .bind(certificate.created_ms)
        .execute(&mut *transaction)
        .await?;
        for id in replaced {
            sqlx::query("DELETE FROM certificates WHERE id = $1")
                .bind(id.to_string())
                .execute(&mut *transaction)
                .await?;
        }
        for name in &certificate.names {
            sqlx::query("DELETE FROM certificate_names WHERE name = $1")
                .bind(name)
                .execute(&mut *transaction)
                .await?;
        }
        if let Some(count) = counted {
            count_in_tx(&mut transaction, count).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// All certificates, oldest first.
    pub async fn certificate_list(&self) -> Result<Vec<StoredCertificate>, StoreError> {
        all(&sqlx::query("SELECT * FROM certificates ORDER BY created_ms, id")
            .fetch_all(self.read())
            .await?)
    }

    /// Which certificates there are.
    pub async fn certificate_id_list(&self) -> Result<Vec<CertificateId>, StoreError> {
        let rows = sqlx::query("SELECT id FROM certificates")
            .fetch_all(self.read())
            .await?;
        rows.iter().map(|row| Fields(row).parsed("id")).collect()
    }

    /// A certificate.
    pub async fn certificate_by_id(&self, id: CertificateId) -> Result<Option<StoredCertificate>, StoreError> {
        let query = sqlx::query("SELECT * FROM certificates WHERE id = $1").bind(id.to_string());
        optional(query.fetch_optional(self.read()).await?)
    }

    /// Removes a certificate. Says whether it was there.
    pub async fn certificate_delete(&self, id: CertificateId) -> Result<bool, StoreError> {
        let deleted = sqlx::query("DELETE FROM certificates WHERE id = $1")
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(deleted.rows_affected() > 0)
    }

    /// Writes when the authority wants a certificate to be renewed, and when to ask again.
    pub async fn certificate_set_renewal(
        &self,
        id: CertificateId,
        renew_ms: Option<UnixMillis>,
        ask_ms: UnixMillis,
    ) -> Result<(), StoreError> {
        sqlx::query("UPDATE certificates SET renew_ms = $1, ask_ms = $2 WHERE id = $3")
            .bind(renew_ms)
            .bind(ask_ms)
            .bind(id.to_string())
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// The names whose last try went wrong.
    pub async fn certificate_name_list(&self) -> Result<Vec<CertificateName>, StoreError> {
        all(&sqlx::query("SELECT * FROM certificate_names ORDER BY name")
            .fetch_all(self.read())
            .await?)
    }

    /// Writes what went wrong with names, and what the authority counts of it, together.
    pub async fn certificate_name_set(
        &self,
        names: &[CertificateName],
        counted: &[CertificateCount],
    ) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        for name in names {
            sqlx::query(
                "INSERT INTO certificate_names (name, looks, failures, next_ms, problem) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (name) DO UPDATE SET looks = excluded.looks, failures = excluded.failures,
                    next_ms = excluded.next_ms, problem = excluded.problem",
            )
            .bind(&name.name)
            .bind(i64::from(name.looks))
            .bind(i64::from(name.failures))
            .bind(name.next_ms)
            .bind(storable(&name.problem))
            .execute(&mut *transaction)
            .await?;
        }
        for count in counted {
            count_in_tx(&mut transaction, count).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Forgets what was wrong with a name.
    pub async fn certificate_name_delete(&self, name: &str) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM certificate_names WHERE name = $1")
            .bind(name)
            .execute(self.write())
            .await?;
        Ok(())
    }

    /// What was counted since an instant, oldest first.
    pub async fn certificate_count_list(&self, since_ms: UnixMillis) -> Result<Vec<CertificateCount>, StoreError> {
        let query = sqlx::query("SELECT * FROM certificate_counts WHERE at_ms >= $1 ORDER BY at_ms").bind(since_ms);
        all(&query.fetch_all(self.read()).await?)
    }

    /// Forgets what was counted before an instant, and limits that have ended by then.
    pub async fn certificate_count_prune(&self, before_ms: UnixMillis) -> Result<(), StoreError> {
        for statement in [
            "DELETE FROM certificate_counts WHERE at_ms < $1",
            "DELETE FROM certificate_limits WHERE until_ms < $1",
        ] {
            sqlx::query(statement).bind(before_ms).execute(self.write()).await?;
        }
        Ok(())
    }

    /// Writes until when an authority wants to hear nothing of a subject.
    pub async fn certificate_limit_set(&self, subject: &str, until_ms: UnixMillis) -> Result<(), StoreError> {
        sqlx::query(
            "INSERT INTO certificate_limits (subject, until_ms) VALUES ($1, $2)
             ON CONFLICT (subject) DO UPDATE SET until_ms = excluded.until_ms",
        )
        .bind(subject)
        .bind(until_ms)
        .execute(self.write())
        .await?;
        Ok(())
    }

    /// What authorities want to hear nothing of, and until when.
    pub async fn certificate_limit_list(&self) -> Result<Vec<(String, UnixMillis)>, StoreError> {
        let rows = sqlx::query("SELECT subject, until_ms FROM certificate_limits ORDER BY subject")
            .fetch_all(self.read())
            .await?;
        rows.iter()
            .map(|row| Ok((Fields(row).text("subject")?, Fields(row).integer("until_ms")?)))
            .collect()
    }
}
