//! Migrations.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::sync::Mutex;

use sqlx::Row;
use weir_ledger::audit::{Auditor, Entry};
use weir_ledger::book::Event;
use weir_store::{JournalRow, Store, StoreError};

use crate::database::{Kind, TestDatabase, look, on_each_database};
use crate::fixtures::{self, deploy, house};

/// From zero once more.
async fn drop_all(connection: &mut sqlx::AnyConnection) {
    for table in [
        "audit_entries",
        "invitations",
        "memberships",
        "password_resets",
        "sign_ins",
        "recovery_codes",
        "users",
        "help_mails",
        "help_messages",
        "help_requests",
        "metric_chunks",
        "release_marks",
        "access_users",
        "maintenance",
        "certificate_counts",
        "certificate_limits",
        "certificate_names",
        "certificates",
        "billing_records",
        "access_counts",
        "node_runs",
        "invoices",
        "notices",
        "contacts",
        "usage_hours",
        "ledger_checkpoints",
        "ledger_journal",
        "guard_rules",
        "task_lines",
        "tasks",
        "deployment_steps",
        "deployments",
        "releases",
        "tokens",
        "service_accounts",
        "tcp_ports",
        "domains",
        "scales",
        "variables",
        "environments",
        "projects",
        "accounts",
        "changes",
        "counters",
        "idempotency",
        "settings",
        "schema_migrations",
    ] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP TABLE {table}")))
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

/// `table.column type nullable`, `table unique(columns)`, `table -> other`: what a schema means,
/// without how the database writes it.
async fn meaning(database: &TestDatabase) -> BTreeSet<String> {
    let statements: &[&str] = match database.kind {
        Kind::Sqlite => &[
            "SELECT m.name || '.' || c.name || ' ' || lower(c.type) || CASE c.\"notnull\" WHEN 1 THEN '' ELSE ' null' END AS fact
             FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'",
            "SELECT m.name || ' unique(' || (SELECT group_concat(c.name, ',') FROM pragma_index_info(i.name) c) || ')' AS fact
             FROM sqlite_master m, pragma_index_list(m.name) i WHERE m.type = 'table' AND i.\"unique\" = 1",
            "SELECT m.name || ' -> ' || f.\"table\" || CASE f.on_delete WHEN 'CASCADE' THEN ' cascade' ELSE ' other' END AS fact
             FROM sqlite_master m, pragma_foreign_key_list(m.name) f WHERE m.type = 'table'",
            "SELECT tbl_name || ' index ' || name AS fact FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
        ],
        Kind::Postgres => &[
            "SELECT table_name || '.' || column_name || ' ' || data_type
                || CASE is_nullable WHEN 'NO' THEN '' ELSE ' null' END AS fact
             FROM information_schema.columns WHERE table_schema = 'public'",
            "SELECT conrelid::regclass || ' unique(' || (SELECT string_agg(attname::text, ',' ORDER BY place)
                FROM unnest(conkey) WITH ORDINALITY AS k (number, place)
                JOIN pg_attribute ON attrelid = conrelid AND attnum = number) || ')' AS fact
             FROM pg_constraint WHERE contype IN ('p', 'u') AND connamespace = 'public'::regnamespace",
            "SELECT conrelid::regclass || ' -> ' || confrelid::regclass
                || CASE confdeltype WHEN 'c' THEN ' cascade' ELSE ' other' END AS fact
             FROM pg_constraint WHERE contype = 'f'",
            "SELECT tablename || ' index ' || indexname AS fact FROM pg_indexes
             WHERE schemaname = 'public' AND indexname LIKE '%\\_by\\_%'",
        ],
    };
    let mut connection = look(database).await;
    let mut facts = BTreeSet::new();
    for statement in statements {
        for row in sqlx::query(*statement).fetch_all(&mut connection).await.unwrap() {
            facts.insert(row.get::<String, _>("fact"));
        }
    }
    facts
}

#[tokio::test]
async fn both_databases_get_the_same_schema() {
    static FOUND: Mutex<Vec<(Kind, BTreeSet<String>)>> = Mutex::new(Vec::new());
    on_each_database(|database| async move {
        let facts = meaning(&database).await;
        FOUND.lock().unwrap().push((database.kind, facts));
    })
    .await;
    let found = FOUND.lock().unwrap();
    for (kind, facts) in found.iter() {
        for fact in [
            "environments.branch text null",
            "domains unique(host)",
            "tcp_ports -> environments cascade",
            "environments unique(project_id,branch)",
            "deployments -> releases cascade",
            "deployments index deployments_by_release",
            "task_lines.sequence bigint",
            "projects -> accounts other",
            "accounts unique(name)",
            "usage_hours index usage_hours_by_project",
            "guard_rules -> environments cascade",
            "access_counts -> node_runs cascade",
            "metric_chunks -> environments cascade",
            "release_marks -> environments cascade",
        ] {
            assert!(facts.contains(fact), "{fact} is missing on {kind:?} in {facts:#?}");
        }
    }
    if let [(_, sqlite), (_, postgres)] = &found[..] {
        let difference: Vec<_> = sqlite.symmetric_difference(postgres).collect();
        assert!(difference.is_empty(), "{difference:#?}");
    }
}

#[tokio::test]
async fn opening_again_is_harmless_and_keeps_what_is_stored() {
    on_each_database(|database| async move {
        let (shop, _) = house(&database.store, "shop").await;
        let before = meaning(&database).await;
        let again = Store::open(&database.url).await.unwrap();
        assert_eq!(again.project_list().await.unwrap(), [shop]);
        again.close().await;
        assert_eq!(meaning(&database).await, before);
        assert!(
            matches!(again.project_list().await, Err(StoreError::Unavailable(_))),
            "it was closed"
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_who_open_a_new_database_at_once_all_succeed() {
    on_each_database(|database| async move {
        let mut connection = look(&database).await;
        // From zero once more, by many.
        drop_all(&mut connection).await;
        drop(connection);
        let openers: Vec<_> = (0..6)
            .map(|_| {
                let url = database.url.clone();
                tokio::spawn(async move { Store::open(&url).await })
            })
            .collect();
        for opener in openers {
            let store = opener.await.unwrap().unwrap();
            assert_eq!(store.change_list(0, 1).await.unwrap(), []);
            store.close().await;
        }
        house(&database.store, "shop").await;
    })
    .await;
}

#[tokio::test]
async fn the_first_schema_grows_with_the_data_in_it() {
    on_each_database(|database| async move {
        let newest = meaning(&database).await;
        let mut connection = look(&database).await;
        drop_all(&mut connection).await;
        sqlx::raw_sql(
            "CREATE TABLE schema_migrations (
                version BIGINT NOT NULL,
                name TEXT NOT NULL,
                CONSTRAINT schema_migrations_primary PRIMARY KEY (version)
            );
            INSERT INTO schema_migrations (version, name) VALUES (1, 'house');",
        )
        .execute(&mut connection)
        .await
        .unwrap();
        sqlx::raw_sql(include_str!("../../migrations/0001_house.sql"))
            .execute(&mut connection)
            .await
            .unwrap();
        let project = fixtures::project("shop");
        let production = fixtures::environment(project.id, "production", Some("main"));
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "INSERT INTO projects (id, name, destroying, created_ms) VALUES ('{}', 'shop', 0, {});
             INSERT INTO environments (id, project_id, name, branch, mode, previous_until_ms, configuration_version,
                last_release_number, created_ms) VALUES ('{}', '{}', 'production', 'main', 'active', 0, 0, 4, {});",
            project.id, project.created_ms, production.id, project.id, production.created_ms
        )))
        .execute(&mut connection)
        .await
        .unwrap();
        drop(connection);

        let store = Store::open(&database.url).await.unwrap();
        assert_eq!(store.project_list().await.unwrap(), std::slice::from_ref(&project));
        assert_eq!(project.account, weir_store::Account::default_id());
        assert_eq!(
            store.environment_list(project.id).await.unwrap(),
            std::slice::from_ref(&production)
        );
        assert_eq!(deploy(&store, production.id).await.0.number, 5);
        assert_eq!(meaning(&database).await, newest);
        store.close().await;
    })
    .await;
}

/// The migrations that there are, in order, as a store of each version has run them.
fn migrations() -> Vec<(i64, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let files: BTreeSet<_> = files.collect();
    // What is only in the words of one database lies in folders beside them.
    let files = files.into_iter().filter(|file| file.is_file());
    let version = |file: &std::path::Path| file.file_name().unwrap().to_str().unwrap()[..4].parse().unwrap();
    files
        .map(|file| (version(&file), std::fs::read_to_string(&file).unwrap()))
        .collect()
}

/// An empty store that has run only these migrations.
async fn go_back_to(connection: &mut sqlx::AnyConnection, migrations: &[(i64, String)]) {
    drop_all(connection).await;
    let notes = "CREATE TABLE schema_migrations (version BIGINT NOT NULL, name TEXT NOT NULL,
        CONSTRAINT schema_migrations_primary PRIMARY KEY (version))";
    sqlx::raw_sql(notes).execute(&mut *connection).await.unwrap();
    for (version, migration) in migrations {
        sqlx::raw_sql(sqlx::AssertSqlSafe(migration.clone()))
            .execute(&mut *connection)
            .await
            .unwrap();
        sqlx::query("INSERT INTO schema_migrations (version, name) VALUES ($1, 'then')")
            .bind(*version)
            .execute(&mut *connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn service_accounts_and_invitations_of_before_go_on() {
    on_each_database(|database| async move {
        let mut connection = look(&database).await;
        go_back_to(&mut connection, &migrations()[..15]).await;
        let account = weir_model::ServiceAccountId::from_parts(1, 2);
        let user = weir_model::UserId::from_parts(1, 1);
        sqlx::raw_sql(sqlx::AssertSqlSafe(format!(
            "INSERT INTO users (id, email, name, totp_step, language, disabled, created_ms)
             VALUES ('{user}', 'anna@example.org', 'Anna', 0, '', 0, 1);
             INSERT INTO service_accounts (id, name, place, created_by, created_ms)
             VALUES ('{account}', 'ci', 'platform', 'anna@example.org', 1);
             INSERT INTO memberships (id, service_account_id, role, place, created_by, created_ms)
             VALUES ('{}', '{account}', 'viewer', 'platform', 'anna@example.org', 1);
             INSERT INTO invitations (id, secret_sha256, roles, created_by, created_ms, expires_ms)
             VALUES ('{}', 'secret', '[]', 'anna@example.org', 1, 100)",
            weir_model::MembershipId::from_parts(1, 3),
            weir_model::InvitationId::from_parts(1, 4),
        )))
        .execute(&mut connection)
        .await
        .unwrap();
        drop(connection);
        let store = Store::open(&database.url).await.unwrap();
        let accounts = store.service_account_list().await.unwrap();
        assert_eq!((accounts.len(), accounts[0].name.as_str()), (1, "ci"));
        let member = weir_store::Member::ServiceAccount(account);
        let roles = store.membership_list_of(member).await.unwrap();
        assert_eq!(roles.len(), 1);
        let again = weir_store::ServiceAccount {
            id: weir_model::ServiceAccountId::from_parts(9, 9),
            ..accounts[0].clone()
        };
        let role = weir_store::Membership {
            id: weir_model::MembershipId::from_parts(9, 9),
            member: weir_store::Member::ServiceAccount(again.id),
            ..roles[0].clone()
        };
        let conflict = store.service_account_insert(&again, &role).await.unwrap_err();
        assert!(matches!(conflict, StoreError::Conflict(_)), "{conflict}");
        let open = store.invitation_count_of(&user.to_string(), 50).await.unwrap();
        assert_eq!(open, 1, "it is hers");
        store.close().await;
    })
    .await;
}

/// A journal that an earlier Weir has written, and what it adds up to.
fn kept_journal() -> (Vec<JournalRow>, serde_json::Value) {
    let mut lines: Vec<serde_json::Value> = include_str!("../../../ledger/tests/journals/0001.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let sums = lines.pop().unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let row = |row: serde_json::Value| {
        let event: Event = serde_json::from_str(row["body"].as_str().unwrap()).unwrap();
        JournalRow {
            sequence: row["sequence"].as_i64().unwrap(),
            at_ms: event.at_ms,
            body: text(&row["body"]),
            previous_hash: text(&row["previous_hash"]),
            hash: text(&row["hash"]),
        }
    };
    (lines.into_iter().map(row).collect(), sums)
}

#[tokio::test]
async fn a_journal_outlives_every_migration_and_replays_to_the_same_sums() {
    on_each_database(|database| async move {
        let newest = meaning(&database).await;
        let all = migrations();
        let (rows, sums) = kept_journal();
        for present in 1..=all.len() {
            let mut connection = look(&database).await;
            go_back_to(&mut connection, &all[..present]).await;
            // The first version has no journal; there it begins after the migration.
            let has_journal = present > 1;
            if has_journal {
                insert(&mut connection, &rows).await;
            }
            drop(connection);
            let store = Store::open(&database.url).await.unwrap();
            assert_eq!(meaning(&database).await, newest, "from version {present}");
            if !has_journal {
                store.ledger_append(&rows, &[]).await.unwrap();
            }
            assert_eq!(replayed(&store).await, sums, "from version {present}");
            store.close().await;
        }
    })
    .await;
}

/// As the store of that time did; its columns were never others.
async fn insert(connection: &mut sqlx::AnyConnection, rows: &[JournalRow]) {
    for row in rows {
        sqlx::query(
            "INSERT INTO ledger_journal (sequence, at_ms, body, previous_hash, hash) VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(row.sequence)
        .bind(row.at_ms)
        .bind(&row.body)
        .bind(&row.previous_hash)
        .bind(&row.hash)
        .execute(&mut *connection)
        .await
        .unwrap();
    }
}

/// What the journal of a store adds up to, if nothing is wrong with it.
async fn replayed(store: &Store) -> serde_json::Value {
    let mut auditor = Auditor::new();
    for row in store.ledger_journal(0, i64::MAX).await.unwrap() {
        auditor.entry(&Entry {
            sequence: row.sequence,
            previous_hash: &row.previous_hash,
            body: &row.body,
            hash: &row.hash,
        });
    }
    let report = auditor.finish();
    assert_eq!(report.findings, Vec::<String>::new());
    let pots: serde_json::Map<String, serde_json::Value> = report
        .pots
        .into_iter()
        .map(|(pot, sum)| (pot.to_string(), i64::try_from(sum).unwrap().into()))
        .collect();
    serde_json::json!({ "pots": pots, "transfers": report.transfers })
}

#[tokio::test]
async fn a_database_of_a_newer_weir_is_refused() {
    on_each_database(|database| async move {
        let mut connection = look(&database).await;
        sqlx::raw_sql("INSERT INTO schema_migrations (version, name) VALUES (1000, 'future')")
            .execute(&mut connection)
            .await
            .unwrap();
        let error = Store::open(&database.url).await.unwrap_err().to_string();
        assert!(error.contains("newer Weir") && error.contains("1000"), "{error}");
    })
    .await;
}

#[tokio::test]
async fn a_new_file_is_for_its_owner_alone_whatever_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a folder?#%20é");
    std::fs::create_dir(&path).unwrap();
    let path = path.join("weir.db");
    let store = Store::open(&format!("sqlite:{}", path.display())).await.unwrap();
    house(&store, "shop").await;
    for file in [
        path.clone(),
        path.with_extension("db-wal"),
        path.with_extension("db-shm"),
    ] {
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", file.display());
    }
    store.close().await;
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let open = async |url: &str| Store::open(url).await.unwrap_err().to_string();
    assert!(open("mysql://x").await.contains("sqlite:PATH or postgres://"));
    assert!(open("sqlite::memory:").await.contains("path of a file"));
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing/weir.db");
    let error = open(&format!("sqlite:{}", missing.display())).await;
    assert!(
        error.contains("missing/weir.db cannot be opened: No such file"),
        "{error}"
    );
    let text = folder.path().join("text.db");
    std::fs::write(&text, "this is no database, however long it may be ".repeat(100)).unwrap();
    let error = open(&format!("sqlite:{}", text.display())).await;
    assert!(error.contains("damaged"), "{error}");
}
