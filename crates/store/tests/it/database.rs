//! Runs a test on a new, empty database of each kind.

use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use weir_store::Store;

/// Which kind of database a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// A database of one test's own.
#[derive(Debug, Clone)]
pub(crate) struct TestDatabase {
    pub(crate) kind: Kind,
    /// For `Store::open`.
    pub(crate) url: String,
    pub(crate) store: Store,
}

/// Runs a test on SQLite and, where a server is given, on PostgreSQL. The test runs as a task
/// of its own, so that every future of the store proves to be `Send`.
pub(crate) async fn on_each_database<F, T>(test: F)
where
    F: Fn(TestDatabase) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("weir.db").display());
    run(&test, Kind::Sqlite, url).await;
    let Ok(server) = std::env::var("WEIR_TEST_POSTGRES") else {
        static SAID: Once = Once::new();
        SAID.call_once(|| {
            eprintln!("WEIR_TEST_POSTGRES is not set: the PostgreSQL half of the tests is skipped");
            eprintln!("hint: crates/store/tests/with-postgres cargo test -p weir-store");
        });
        return;
    };
    let name = new_name();
    administrate(&server, &format!("CREATE DATABASE {name}")).await;
    let (before, _) = server.rsplit_once('/').unwrap();
    run(&test, Kind::Postgres, format!("{before}/{name}")).await;
    administrate(&server, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

async fn run<F, T>(test: &F, kind: Kind, url: String)
where
    F: Fn(TestDatabase) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    eprintln!("on {kind:?} ({url})");
    let store = Store::open(&url).await.unwrap();
    let database = TestDatabase {
        kind,
        url,
        store: store.clone(),
    };
    let result = tokio::spawn(test(database)).await;
    store.close().await;
    if let Err(error) = result {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn new_name() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("weir_test_{}_{count}", std::process::id())
}

async fn administrate(server: &str, statement: &str) {
    use sqlx::Connection;
    let mut connection = sqlx::PgConnection::connect(server).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
}

/// A second view of the database, past the store.
pub(crate) async fn look(database: &TestDatabase) -> sqlx::AnyConnection {
    use sqlx::Connection;
    sqlx::AnyConnection::connect(&database.url).await.unwrap()
}
