//! Opening the database, and how its connections behave.

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection};

use crate::{Database, Shared, Store, StoreError, migrations};

/// How long a call waits for a connection; on SQLite for its turn to write.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Each has a thread of its own.
const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 8;

/// Durable before it answers; readers and the writer do not wait for each other. The time-out
/// is only for other processes that have the file open (a predecessor that is being stopped,
/// somebody's `sqlite3`), because in this one there is one writer.
const SQLITE_WRITER: &str = "
    PRAGMA busy_timeout = 10000;
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = FULL;
    PRAGMA foreign_keys = ON;
    PRAGMA journal_size_limit = 16777216;
";
const SQLITE_READER: &str = "
    PRAGMA busy_timeout = 10000;
    PRAGMA query_only = ON;
";
/// The rules in the crate's documentation are made for read committed, whatever the server's
/// default is; and nobody waits for a lock for ever. What is answered is durable, even where the
/// server's own default is to answer first (stricter ones than that stay).
const POSTGRES: &str = "
    SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED;
    SET lock_timeout = '10s';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
";

impl Store {
    /// Opens a database and brings its schema up to date: `sqlite:PATH` (created, with mode
    /// 0600, if it is not there; its folder must be) or `postgres://…`. Harmless if done again.
    /// Fails with `Internal` when the URL or the database is unusable, with `Unavailable` when
    /// it cannot be reached now.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        // Does nothing when called again.
        sqlx::any::install_default_drivers();
        let shared = if let Some(path) = url.strip_prefix("sqlite:") {
            open_sqlite(path.strip_prefix("//").unwrap_or(path)).await?
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let options = options(url)?;
            probe(&options, POSTGRES).await?;
            let pool = pool(POSTGRES_CONNECTIONS, POSTGRES).connect_with(options).await?;
            Shared {
                database: Database::Postgres,
                read: pool.clone(),
                write: pool,
            }
        } else {
            return Err(StoreError::Internal(
                "the address of the database must be sqlite:PATH or postgres://USER@HOST/DATABASE".to_owned(),
            ));
        };
        let store = Self {
            shared: Arc::new(shared),
        };
        migrations::run(&store).await?;
        Ok(store)
    }
}

async fn open_sqlite(path: &str) -> Result<Shared, StoreError> {
    if path.is_empty() || path.starts_with(":memory:") {
        return Err(StoreError::Internal(
            "sqlite: needs the path of a file; a database in memory is not supported".to_owned(),
        ));
    }
    let path = std::path::absolute(path).map_err(|error| cannot_open(Path::new(path), &error))?;
    create_private(&path)
        .await
        .map_err(|error| cannot_open(&path, &error))?;
    let options = options(&sqlite_url(&path))?;
    // The writer's way first: it sets the journal mode, which readers cannot.
    probe(&options, SQLITE_WRITER).await?;
    let write: AnyPool = pool(1, SQLITE_WRITER).connect_with(options.clone()).await?;
    let read = pool(SQLITE_READERS, SQLITE_READER).connect_with(options).await?;
    Ok(Shared {
        database: Database::Sqlite,
        read,
        write,
    })
}

/// Creates the file for its owner alone: it holds hashes of tokens and sealed secrets. SQLite
/// gives the same mode to the files that it puts beside it.
async fn create_private(path: &Path) -> std::io::Result<()> {
    tokio::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .await?;
    Ok(())
}

fn cannot_open(path: &Path, error: &std::io::Error) -> StoreError {
    let text = format!("the file {} cannot be opened: {error}", path.display());
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreError::Full(text),
        _ => StoreError::Internal(text),
    }
}

/// Everything but plain characters is escaped, so that any path is one.
fn sqlite_url(path: &Path) -> String {
    let mut url = "sqlite://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => url.push(char::from(*byte)),
            // Writing to a string cannot fail.
            other => _ = write!(url, "%{other:02X}"),
        }
    }
    url + "?mode=rw"
}

fn options(url: &str) -> Result<AnyConnectOptions, StoreError> {
    let options: AnyConnectOptions = url.parse().map_err(|error: sqlx::Error| {
        StoreError::Internal(format!("the address of the database cannot be understood: {error}"))
    })?;
    // Values may be secrets, and what is slow is told by those who waited.
    Ok(options.disable_statement_logging())
}

/// Connects once without a pool. A pool tries again and again until its time-out and then only
/// knows that the time is over; this knows why.
async fn probe(options: &AnyConnectOptions, prepare: &'static str) -> Result<(), StoreError> {
    let mut connection = AnyConnection::connect_with(options).await?;
    sqlx::raw_sql(prepare).execute(&mut connection).await?;
    connection.close().await?;
    Ok(())
}

fn pool(connections: u32, prepare: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(prepare).execute(connection).await?;
                Ok(())
            })
        })
        .after_release(|connection, _| Box::pin(is_reusable(connection)))
}

/// Whether a connection is out of its transaction. When SQLite itself rolled a transaction back
/// (full disk, input or output error), the driver's own rollback fails and it believes itself
/// to be in a transaction for ever; such a connection is closed, and the pool opens another.
async fn is_reusable(connection: &mut AnyConnection) -> Result<bool, sqlx::Error> {
    // Waits for the rollback that dropping a transaction has queued.
    connection.ping().await?;
    Ok(!connection.is_in_transaction())
}
