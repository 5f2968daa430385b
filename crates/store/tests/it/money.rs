//! The journal, the hours, accounts and the guard's rules.

use std::collections::BTreeMap;

use weir_ledger::book::Scope;
use weir_ledger::protocol::LineKey;
use weir_ledger::{Nano, Sku};
use weir_model::guard::GuardRules;
use weir_model::route::AccessCounts;
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName};
use weir_store::{Account, Checkpoint, JournalRow, NodeRun, Store, StoreError, UsageHour};

use crate::database::{TestDatabase, look, on_each_database};
use crate::fixtures::{environment, house, project};

const HOUR: i64 = 3_600_000;

fn row(sequence: i64) -> JournalRow {
    JournalRow {
        sequence,
        at_ms: 1_000 + sequence,
        body: format!("{{\"event\":\"{sequence} ünïcode '\"}}"),
        previous_hash: format!("hash {}", sequence - 1),
        hash: format!("hash {sequence}"),
    }
}

fn hour(environment: EnvironmentId, hour: i64, app: Option<&str>, units: u128, amount: i64) -> UsageHour {
    UsageHour {
        hour_ms: hour * HOUR,
        account: Account::default_id(),
        project: project("shop").id,
        environment,
        line: LineKey {
            app: app.map(|app| AppName::new(app).unwrap()),
            process: app.map(|_| ProcessName::web()),
            sku: Sku::MEMORY,
        },
        price_version: 1,
        units,
        amount: Nano(amount),
    }
}

async fn hours(store: &Store, scope: Option<Scope>, from: i64, until: i64) -> Vec<UsageHour> {
    let mut found = Vec::new();
    store
        .usage_hours_each(scope, from * HOUR, until * HOUR, |hour| found.push(hour))
        .await
        .unwrap();
    found.sort_by(|a, b| (a.hour_ms, &a.line).cmp(&(b.hour_ms, &b.line)));
    found
}

#[tokio::test]
async fn the_journal_is_read_back_in_order_as_it_was_written() {
    on_each_database(|TestDatabase { store, .. }| async move {
        // More than fit into one statement.
        let rows: Vec<_> = (1..=450).map(row).collect();
        store.ledger_append(&rows[..1], &[]).await.unwrap();
        store.ledger_append(&rows[1..], &[]).await.unwrap();
        assert_eq!(store.ledger_journal(0, 1_000).await.unwrap(), rows);
        assert_eq!(store.ledger_journal(440, 5).await.unwrap(), rows[440..445]);
        assert_eq!(store.ledger_journal(450, 5).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn of_two_writers_the_second_fails_and_leaves_nothing_behind() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let here = environment(project("shop").id, "production", None).id;
        store.ledger_append(&[row(1), row(2)], &[]).await.unwrap();
        let second = store
            .ledger_append(&[row(3), row(2)], &[hour(here, 1, None, 1, 1)])
            .await;
        assert!(matches!(second, Err(StoreError::Internal(_))), "{second:?}");
        assert_eq!(store.ledger_journal(0, 10).await.unwrap(), [row(1), row(2)]);
        assert_eq!(hours(&store, None, 0, 10).await, []);
    })
    .await;
}

#[tokio::test]
async fn hours_add_up_beyond_64_bits_without_losing_a_unit() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let shop = project("shop").id;
        let here = environment(shop, "production", None).id;
        let used = |units, amount| UsageHour {
            project: shop,
            ..hour(here, 5, Some("web"), units, amount)
        };
        let large = u128::from(u64::MAX) * 1_000 + 999_999_999_999;
        let mut expected = 0;
        for (round, units) in [large, 1, 999_999_999_999, 0, large].into_iter().enumerate() {
            let sequence = i64::try_from(round).unwrap() + 1;
            store.ledger_append(&[row(sequence)], &[used(units, 7)]).await.unwrap();
            expected += units;
        }
        assert_eq!(hours(&store, None, 0, 10).await, [used(expected, 35)]);
    })
    .await;
}

#[tokio::test]
async fn hours_are_found_by_scope_and_time_and_pruned() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let (shop, blog) = (project("shop"), project("blog"));
        let payer = AccountId::from_parts(9, 9);
        let here = environment(shop.id, "production", None).id;
        let there = environment(blog.id, "production", None).id;
        let of = |project, account, hour| UsageHour {
            project,
            account,
            ..hour
        };
        let all = [
            of(shop.id, payer, hour(here, 1, None, 1, 1)),
            of(shop.id, payer, hour(here, 2, Some("web"), 2, 2)),
            of(blog.id, Account::default_id(), hour(there, 3, None, 3, 3)),
        ];
        store.ledger_append(&[row(1)], &all).await.unwrap();
        assert_eq!(hours(&store, None, 0, 10).await, all);
        assert_eq!(store.usage_hours_each(None, 0, 1, |_| ()).await.unwrap(), 1);
        assert_eq!(hours(&store, None, 2, 3).await, all[1..2]);
        assert_eq!(hours(&store, Some(Scope::Project(shop.id)), 0, 10).await, all[..2]);
        assert_eq!(hours(&store, Some(Scope::Environment(there)), 0, 10).await, all[2..]);
        assert_eq!(hours(&store, Some(Scope::Account(payer)), 0, 2).await, all[..1]);
        store.usage_hours_prune(2 * HOUR).await.unwrap();
        assert_eq!(hours(&store, None, 0, 10).await, all[1..]);
    })
    .await;
}

#[tokio::test]
async fn only_the_newest_checkpoints_are_kept() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let checkpoint = |sequence| Checkpoint {
            sequence,
            hash: format!("hash {sequence}"),
            state: "{}".to_owned(),
        };
        for sequence in [5, 9, 9, 14, 20] {
            store.ledger_checkpoint_insert(&checkpoint(sequence), 2).await.unwrap();
        }
        let before = async |sequence| store.ledger_checkpoint_before(sequence).await.unwrap();
        assert_eq!(before(i64::MAX).await, Some(checkpoint(20)));
        assert_eq!(before(19).await, Some(checkpoint(14)));
        assert_eq!(before(13).await, Some(checkpoint(9)));
        assert_eq!(before(8).await, None);
    })
    .await;
}

#[tokio::test]
async fn there_is_always_a_default_account_and_names_are_unique() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let default = Account {
            id: Account::default_id(),
            name: "default".to_owned(),
            created_ms: 0,
        };
        assert_eq!(store.account_list().await.unwrap(), std::slice::from_ref(&default));
        let acme = Account {
            id: AccountId::from_parts(5, 5),
            name: "acme".to_owned(),
            created_ms: 5,
        };
        store.account_insert(&acme).await.unwrap();
        let again = Account {
            id: AccountId::from_parts(6, 6),
            ..acme.clone()
        };
        let error = store.account_insert(&again).await.unwrap_err();
        assert_eq!(error.to_string(), "there is an account acme already");
        assert_eq!(store.account_list().await.unwrap(), [acme.clone(), default]);
        assert_eq!(store.account_by_name("acme").await.unwrap(), Some(acme.clone()));
        assert_eq!(store.account_by_name("Acme").await.unwrap(), None);

        let mut shop = project("shop");
        let production = environment(shop.id, "production", None);
        shop.account = again.id;
        let error = store.project_insert(&shop, &production, &[]).await.unwrap_err();
        assert!(matches!(error, StoreError::NotFound(_)), "{error}");
        shop.account = acme.id;
        store.project_insert(&shop, &production, &[]).await.unwrap();
        assert_eq!(store.project_by_id(shop.id).await.unwrap(), Some(shop));
    })
    .await;
}

#[tokio::test]
async fn an_app_has_the_rules_it_was_given_until_its_environment_goes() {
    on_each_database(|database| async move {
        let store = &database.store;
        let (_, production) = house(store, "shop").await;
        let web = AppName::new("web").unwrap();
        let rules = GuardRules {
            depth: 3,
            ..GuardRules::default()
        };
        assert!(store.guard_rules_of(production.id).await.unwrap().is_empty());
        for depth in [9, 3] {
            let rules = GuardRules { depth, ..rules.clone() };
            store.guard_rules_set(production.id, &web, Some(&rules)).await.unwrap();
        }
        let other = AppName::new("other").unwrap();
        store
            .guard_rules_set(production.id, &other, Some(&GuardRules::default()))
            .await
            .unwrap();
        store.guard_rules_set(production.id, &other, None).await.unwrap();
        let found = store.guard_rules_of(production.id).await.unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [(web.clone(), rules.clone())]);

        store.environment_delete(production.id).await.unwrap();
        let error = store
            .guard_rules_set(production.id, &web, Some(&rules))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::NotFound(_)), "{error}");
        let mut connection = look(&database).await;
        let left = sqlx::query("SELECT * FROM guard_rules")
            .fetch_all(&mut connection)
            .await;
        assert!(left.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn what_a_node_has_served_is_kept_by_run_and_its_last_word_counts() {
    on_each_database(|TestDatabase { store, .. }| async move {
        assert_eq!(store.node_run_list().await.unwrap(), []);
        let (shop, other) = (EnvironmentId::from_parts(1, 1), EnvironmentId::from_parts(1, 2));
        let counts = |requests| AccessCounts {
            requests,
            open: 2,
            turned_away: 1,
            egress_bytes: 1 << 40,
        };
        let run = |run, began_ms| NodeRun {
            run,
            meter: "node:local".to_owned(),
            first_incarnation: 1,
            last_incarnation: 2,
            began_ms,
            seen_ms: began_ms,
            ended: false,
            counts: BTreeMap::from([(shop, counts(5))]),
        };
        // The largest number that nodes draw.
        let (first, mut second) = (run((1 << 53) - 1, 10), run(7, 20));
        store.node_run_put(&second).await.unwrap();
        store.node_run_put(&first).await.unwrap();
        assert_eq!(store.node_run_list().await.unwrap(), [first.clone(), second.clone()]);
        second.seen_ms = 30;
        second.last_incarnation = 3;
        second.ended = true;
        second.counts = BTreeMap::from([(shop, counts(6)), (other, counts(1))]);
        store.node_run_put(&second).await.unwrap();
        assert_eq!(store.node_run_list().await.unwrap(), [first, second]);
    })
    .await;
}
