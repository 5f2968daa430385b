//! Brings the schema to the version of this binary, forward only.
//!
//! Each migration runs in one transaction together with the note that it ran, so that a crash
//! leaves either both or neither. A lock keeps two processes from migrating at once.

use sqlx::{Any, Row, Transaction};

use crate::{Database, Store, StoreError};

/// One step of the schema.
struct Migration {
    version: i64,
    name: &'static str,
    sql: &'static str,
}

/// In order, without gaps. Never change one that was released: add the next.
const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "house",
        sql: include_str!("../migrations/0001_house.sql"),
    },
    Migration {
        version: 2,
        name: "money",
        sql: include_str!("../migrations/0002_money.sql"),
    },
    Migration {
        version: 3,
        name: "notices",
        sql: include_str!("../migrations/0003_notices.sql"),
    },
    Migration {
        version: 4,
        name: "invoices",
        sql: include_str!("../migrations/0004_invoices.sql"),
    },
    Migration {
        version: 5,
        name: "billing",
        sql: include_str!("../migrations/0005_billing.sql"),
    },
    Migration {
        version: 6,
        name: "access",
        sql: include_str!("../migrations/0006_access.sql"),
    },
    Migration {
        version: 7,
        name: "certificates",
        sql: include_str!("../migrations/0007_certificates.sql"),
    },
    Migration {
        version: 8,
        name: "canary",
        sql: include_str!("../migrations/0008_canary.sql"),
    },
    Migration {
        version: 9,
        name: "protection",
        sql: include_str!("../migrations/0009_protection.sql"),
    },
    Migration {
        version: 10,
        name: "scaling",
        sql: include_str!("../migrations/0010_scaling.sql"),
    },
    Migration {
        version: 11,
        name: "tcp",
        sql: include_str!("../migrations/0011_tcp.sql"),
    },
    Migration {
        version: 12,
        name: "people",
        sql: include_str!("../migrations/0012_people.sql"),
    },
    Migration {
        version: 13,
        name: "past",
        sql: include_str!("../migrations/0013_past.sql"),
    },
    Migration {
        version: 14,
        name: "metrics",
        sql: include_str!("../migrations/0014_metrics.sql"),
    },
    Migration {
        version: 15,
        name: "help",
        sql: include_str!("../migrations/0015_help.sql"),
    },
    Migration {
        version: 16,
        name: "shares",
        sql: include_str!("../migrations/0016_shares.sql"),
    },
];

/// What a migration needs besides in the words of one database: triggers are written in other words on each.
fn in_words_of(database: Database, version: i64) -> Option<&'static str> {
    match (database, version) {
        (Database::Sqlite, 12) => Some(include_str!("../migrations/sqlite/0012_people.sql")),
        (Database::Postgres, 12) => Some(include_str!("../migrations/postgres/0012_people.sql")),
        _ => None,
    }
}

/// The newest version of the schema that this program understands.
pub fn newest_schema() -> i64 {
    MIGRATIONS.last().map_or(0, |migration| migration.version)
}

/// Any number that nobody else uses on the same PostgreSQL database.
const LOCK: i64 = 0x7765_6972;

/// Runs what has not run yet. Fails if the database was written by a newer Weir, which this
/// one would misunderstand.
pub(crate) async fn run(store: &Store) -> Result<(), StoreError> {
    let newest = MIGRATIONS.last().map_or(0, |migration| migration.version);
    let mut transaction = locked(store).await?;
    let present: i64 = sqlx::query("SELECT COALESCE(MAX(version), 0) AS present FROM schema_migrations")
        .fetch_one(&mut *transaction)
        .await?
        .try_get("present")?;
    transaction.commit().await?;
    if present > newest {
        return Err(StoreError::Internal(format!(
            "it was written by a newer Weir (schema {present}, this one knows {newest}): start that version"
        )));
    }
    for migration in MIGRATIONS.iter().filter(|migration| migration.version > present) {
        apply(store, migration).await?;
    }
    Ok(())
}

async fn apply(store: &Store, migration: &Migration) -> Result<(), StoreError> {
    let mut transaction = locked(store).await?;
    // Another process may have been quicker while this one waited for the lock.
    let noted = sqlx::query("INSERT INTO schema_migrations (version, name) VALUES ($1, $2) ON CONFLICT DO NOTHING")
        .bind(migration.version)
        .bind(migration.name)
        .execute(&mut *transaction)
        .await?;
    if noted.rows_affected() == 0 {
        return Ok(());
    }
    sqlx::raw_sql(migration.sql).execute(&mut *transaction).await?;
    if let Some(sql) = in_words_of(store.database(), migration.version) {
        sqlx::raw_sql(sql).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    tracing::info!(
        migration.version,
        migration.name,
        "migrated the database to schema {}",
        migration.version
    );
    Ok(())
}

/// A transaction that no other migration runs beside, with the table of notes in place.
async fn locked(store: &Store) -> Result<Transaction<'static, Any>, StoreError> {
    let mut transaction = store.begin().await?;
    if store.database() == Database::Postgres {
        // Released by the end of the transaction. SQLite's transactions exclude each other.
        sqlx::query("SELECT 1 AS locked FROM pg_advisory_xact_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut *transaction)
            .await?;
    }
    sqlx::raw_sql(
        "CREATE TABLE IF NOT EXISTS schema_migrations (
            version BIGINT NOT NULL,
            name TEXT NOT NULL,
            CONSTRAINT schema_migrations_primary PRIMARY KEY (version)
        )",
    )
    .execute(&mut *transaction)
    .await?;
    Ok(transaction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn migrations_are_numbered_without_gaps_and_say_why() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version, i64::try_from(index).unwrap() + 1);
            assert!(migration.sql.starts_with("-- "), "{} does not say why", migration.name);
        }
    }
}
