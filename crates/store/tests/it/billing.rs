//! Records for an outside billing system.

use weir_ledger::protocol::LineKey;
use weir_ledger::{Nano, Sku};
use weir_model::{AccountId, AppName, InvoiceId, ProcessName};
use weir_store::{
    Account, BillingRecord, Finalize, Invoice, InvoiceState, JournalRow, RecordKind, RecordState, RecordStep, Store,
    UsageHour, UsageSeen,
};

use crate::database::{TestDatabase, on_each_database};
use crate::fixtures::{environment, project};

const HOUR: i64 = 3_600_000;

fn record(number: u32) -> BillingRecord {
    BillingRecord {
        id: format!("record-{number}"),
        kind: RecordKind::Invoice,
        account: Account::default_id(),
        seen: None,
        amount: "1.20".to_owned(),
        body: "{\"ü\": 1}".to_owned(),
        created_ms: 10 + i64::from(number),
        state: RecordState::Pending,
        entered_ms: 10,
        queued_ms: 10,
        attempts: 0,
        next_ms: 10,
        answer: None,
        problem: None,
    }
}

fn step(state: RecordState, attempts: u32, next_ms: i64) -> RecordStep {
    RecordStep {
        state,
        attempts,
        next_ms,
        answer: Some("200 OK".to_owned()),
        problem: Some("it \u{0}forgot".to_owned()),
    }
}

async fn get(store: &Store, number: u32) -> BillingRecord {
    let found = store.billing_record_by_id(&format!("record-{number}")).await;
    found.unwrap().unwrap()
}

#[tokio::test]
async fn a_record_is_written_once_and_goes_on_only_from_where_it_is() {
    on_each_database(|TestDatabase { store, .. }| async move {
        assert!(store.billing_record_insert(&record(1)).await.unwrap());
        let other = BillingRecord {
            body: "other".to_owned(),
            ..record(1)
        };
        assert!(!store.billing_record_insert(&other).await.unwrap());
        assert_eq!(get(&store, 1).await, record(1));
        assert_eq!(store.billing_record_due(9, 5).await.unwrap(), []);
        let due = store.billing_record_due(10, 5).await.unwrap();
        assert_eq!(due, [record(1)]);
        let taken = step(RecordState::Unconfirmed, 0, 30);
        assert!(store.billing_record_advance(&due[0], &taken, 20).await.unwrap());
        assert!(
            !store.billing_record_advance(&due[0], &taken, 21).await.unwrap(),
            "somebody has advanced it"
        );
        let taken = get(&store, 1).await;
        assert_eq!((taken.state, taken.entered_ms), (RecordState::Unconfirmed, 20));
        assert_eq!(taken.problem.as_deref(), Some("it \u{fffd}forgot"));
        let unread = step(RecordState::Unconfirmed, 1, 40);
        assert!(store.billing_record_advance(&taken, &unread, 35).await.unwrap());
        let unread = get(&store, 1).await;
        assert_eq!(
            (unread.entered_ms, unread.attempts),
            (20, 1),
            "since when it is in its state"
        );
        assert_eq!(store.billing_record_due(39, 5).await.unwrap(), []);
        assert_eq!(store.billing_record_due(40, 5).await.unwrap().len(), 1);
        let proven = step(RecordState::Confirmed, 1, 41);
        assert!(store.billing_record_advance(&unread, &proven, 41).await.unwrap());
        assert_eq!(store.billing_record_due(i64::MAX, 5).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_failed_is_kept_counted_and_tried_again_when_asked_for() {
    on_each_database(|TestDatabase { store, .. }| async move {
        for number in 1..=4 {
            store.billing_record_insert(&record(number)).await.unwrap();
        }
        for (number, state) in [
            (1, RecordState::Failed),
            (2, RecordState::Failed),
            (3, RecordState::Confirmed),
        ] {
            let changed = store
                .billing_record_advance(&record(number), &step(state, 9, 50), 50)
                .await;
            assert!(changed.unwrap());
        }
        let mut counts = store.billing_record_count().await.unwrap();
        counts.sort_unstable();
        let expected = [
            (RecordState::Pending, 1),
            (RecordState::Confirmed, 1),
            (RecordState::Failed, 2),
        ];
        assert_eq!(counts, expected);
        let failed = store.billing_record_list(Some(RecordState::Failed), 10).await.unwrap();
        let ids: Vec<_> = failed.iter().map(|record| record.id.as_str()).collect();
        assert_eq!(ids, ["record-2", "record-1"], "newest first");
        assert_eq!(store.billing_record_list(None, 3).await.unwrap().len(), 3);
        assert_eq!(store.billing_record_retry(Some("record-3"), 60).await.unwrap(), 1);
        assert_eq!(store.billing_record_retry(None, 70).await.unwrap(), 2);
        assert_eq!(store.billing_record_retry(Some("record-9"), 70).await.unwrap(), 0);
        let again = get(&store, 1).await;
        assert_eq!(
            (again.state, again.attempts, again.queued_ms),
            (RecordState::Pending, 0, 70)
        );
        assert_eq!(
            again.problem.as_deref(),
            Some("it \u{fffd}forgot"),
            "what was wrong stays to be seen"
        );
        assert_eq!(store.billing_record_due(70, 10).await.unwrap().len(), 4);
    })
    .await;
}

fn used(account: AccountId, hour: i64, sku: Sku, units: u128, amount: i64) -> UsageHour {
    UsageHour {
        hour_ms: hour * HOUR,
        account,
        project: project("shop").id,
        environment: environment(project("shop").id, "production", None).id,
        line: LineKey {
            app: Some(AppName::new("shop").unwrap()),
            process: Some(ProcessName::web()),
            sku,
        },
        price_version: 1,
        units,
        amount: Nano(amount),
    }
}

async fn append(store: &Store, sequence: i64, hours: &[UsageHour]) {
    let row = JournalRow {
        sequence,
        at_ms: sequence,
        body: String::new(),
        previous_hash: String::new(),
        hash: String::new(),
    };
    store.ledger_append(&[row], hours).await.unwrap();
}

async fn untold(store: &Store) -> Vec<(AccountId, i64)> {
    let found = store.billing_usage_untold(0, 100 * HOUR, 10).await.unwrap();
    found
        .into_iter()
        .map(|(account, hour_ms)| (account, hour_ms / HOUR))
        .collect()
}

async fn tell(store: &Store, account: AccountId, hour: i64, part: u32) {
    let mut rows = Vec::new();
    let scope = weir_ledger::book::Scope::Account(account);
    let all = store.usage_hours_each(Some(scope), hour * HOUR, hour * HOUR + 1, |row| rows.push(row));
    all.await.unwrap();
    rows.retain(|row| row.line.sku != Sku::LOST);
    let told = BillingRecord {
        id: format!("use-{account}-{hour}-{part}"),
        kind: RecordKind::Usage,
        account,
        seen: Some(UsageSeen::of(hour * HOUR, &rows).unwrap()),
        ..record(part)
    };
    assert!(store.billing_record_insert(&told).await.unwrap());
    assert_eq!(store.billing_record_by_id(&told.id).await.unwrap(), Some(told));
}

#[tokio::test]
async fn an_hour_is_untold_whenever_more_was_used_than_was_told() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let (first, second) = (Account::default_id(), AccountId::from_parts(1, 1));
        // Together more than a BIGINT, with a carry between the parts that are kept.
        let half = u128::from(u64::MAX) * 1_000 + 999_999_999_999;
        let memory = used(first, 5, Sku::MEMORY, half, 7);
        append(
            &store,
            1,
            &[
                memory.clone(),
                used(first, 5, Sku::LOST, 1, 1),
                used(second, 6, Sku::CPU, 0, 3),
            ],
        )
        .await;
        append(&store, 2, &[used(second, 7, Sku::LOST, 1, 1)]).await;
        assert_eq!(
            untold(&store).await,
            [(first, 5), (second, 6)],
            "what was lost is not told"
        );
        assert_eq!(store.billing_usage_untold(0, 100 * HOUR, 1).await.unwrap().len(), 1);
        assert_eq!(store.billing_usage_untold(6 * HOUR, 6 * HOUR, 9).await.unwrap(), []);
        tell(&store, first, 5, 1).await;
        tell(&store, second, 6, 1).await;
        assert_eq!(untold(&store).await, []);
        append(&store, 3, &[memory]).await;
        assert_eq!(untold(&store).await, [(first, 5)]);
        tell(&store, first, 5, 2).await;
        assert_eq!(untold(&store).await, []);
        // Units that cost nothing are told, too.
        append(&store, 4, &[used(second, 6, Sku::CPU, 1, 0)]).await;
        assert_eq!(untold(&store).await, [(second, 6)]);
        let parts = store.billing_record_of_hour(first, 5 * HOUR).await.unwrap();
        assert_eq!(parts.len(), 2);
        let done = step(RecordState::Confirmed, 0, 99);
        store.billing_record_advance(&parts[0], &done, 99).await.unwrap();
        store.billing_record_prune(5 * HOUR).await.unwrap();
        assert_eq!(store.billing_record_list(None, 10).await.unwrap().len(), 3);
        store.billing_record_prune(6 * HOUR).await.unwrap();
        let left = store.billing_record_of_hour(first, 5 * HOUR).await.unwrap();
        assert_eq!(left, [parts[1].clone()], "what is not proven stays");
    })
    .await;
}

#[tokio::test]
async fn final_documents_are_untold_until_they_have_a_record() {
    on_each_database(|TestDatabase { store, .. }| async move {
        let invoice = |number| Invoice {
            id: InvoiceId::from_parts(1, number),
            account: Account::default_id(),
            state: InvoiceState::Draft,
            number: None,
            credits: None,
            from_ms: 0,
            until_ms: HOUR,
            created_ms: 1,
            final_ms: None,
            document: "{}".to_owned(),
        };
        for number in 1..=3 {
            store.invoice_insert(&invoice(number)).await.unwrap();
        }
        for (number, now_ms) in [(1, 500), (2, 1_000)] {
            let finalize = Finalize {
                id: invoice(number).id,
                series: "R",
                now_ms,
                credited: None,
            };
            let given = store.invoice_finalize(finalize, |number| number.to_string()).await;
            assert!(given.unwrap().is_some());
        }
        let untold = |from_ms| store.billing_invoice_untold(from_ms, 10);
        let ids = |invoices: Vec<Invoice>| invoices.into_iter().map(|invoice| invoice.id).collect::<Vec<_>>();
        assert_eq!(
            ids(untold(0).await.unwrap()),
            [invoice(1).id, invoice(2).id],
            "no drafts"
        );
        assert_eq!(ids(untold(501).await.unwrap()), [invoice(2).id]);
        let told = BillingRecord {
            id: invoice(2).id.to_string(),
            ..record(1)
        };
        store.billing_record_insert(&told).await.unwrap();
        assert_eq!(ids(untold(0).await.unwrap()), [invoice(1).id]);
    })
    .await;
}
