//! Invoices: numbers without gaps, and papers that never change.

use weir_model::{AccountId, InvoiceId};
use weir_store::{Account, Finalize, Invoice, InvoiceState, Store, StoreError};

use crate::database::on_each_database;
use crate::writers::at_once;

fn draft(number: u128) -> Invoice {
    Invoice {
        id: InvoiceId::from_parts(1, number),
        account: Account::default_id(),
        state: InvoiceState::Draft,
        number: None,
        credits: None,
        from_ms: 100,
        until_ms: 200,
        created_ms: 300,
        final_ms: None,
        document: "{\"total\":\"1.23 €\"}".to_owned(),
    }
}

async fn finalize(store: &Store, invoice: &Invoice, series: &str, now_ms: i64) -> Option<String> {
    let finalize = Finalize {
        id: invoice.id,
        series,
        now_ms,
        credited: None,
    };
    let number = |number| format!("{series}-{number}");
    store.invoice_finalize(finalize, number).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn numbers_given_at_once_are_different_and_without_gaps() {
    on_each_database(|database| async move {
        // Two stores on one database, as two processes have.
        let second = Store::open(&database.url).await.unwrap();
        let given = at_once(40, |number| {
            let store = if number % 2 == 0 {
                database.store.clone()
            } else {
                second.clone()
            };
            async move {
                let invoice = draft(number as u128);
                store.invoice_insert(&invoice).await.unwrap();
                // Some change their mind, some ask twice, some fail in the middle: none of them may
                // use a number up.
                match number % 5 {
                    0 => {
                        assert!(store.invoice_discard(invoice.id).await.unwrap());
                        finalize(&store, &invoice, "2026", 400).await
                    }
                    1 => {
                        let series = if number % 2 == 0 { "2026" } else { "2027" };
                        let given = finalize(&store, &invoice, series, 400).await;
                        assert_eq!(
                            finalize(&store, &invoice, series, 401).await,
                            None,
                            "it is final already"
                        );
                        given
                    }
                    2 => {
                        let broken = Finalize {
                            id: invoice.id,
                            series: "2026",
                            now_ms: 400,
                            credited: None,
                        };
                        let clash = store.invoice_insert(&invoice).await;
                        assert!(clash.is_err(), "the same identity is not written twice");
                        // Given up while it waits for its turn or writes.
                        let giving_up = store.invoice_finalize(broken, |number| format!("2026-{number}"));
                        let micros = u64::try_from(number).unwrap() * 50;
                        let _ = tokio::time::timeout(std::time::Duration::from_micros(micros), giving_up).await;
                        finalize(&store, &invoice, "2026", 402).await;
                        let invoice = store.invoice_by_id(invoice.id).await.unwrap().unwrap();
                        assert_eq!(invoice.state, InvoiceState::Final);
                        invoice.number
                    }
                    _ => finalize(&store, &invoice, "2026", 403).await,
                }
            }
        })
        .await;
        for (series, count) in [("2026", 28), ("2027", 4)] {
            let mut numbers: Vec<u32> = given
                .iter()
                .flatten()
                .filter_map(|number| number.strip_prefix(series)?.strip_prefix('-')?.parse().ok())
                .collect();
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{series}");
        }
        second.close().await;
    })
    .await;
}

#[tokio::test]
async fn a_final_paper_never_changes() {
    on_each_database(|database| async move {
        let store = &database.store;
        let invoice = draft(1);
        store.invoice_insert(&invoice).await.unwrap();
        assert_eq!(store.invoice_by_id(invoice.id).await.unwrap(), Some(invoice.clone()));
        assert_eq!(finalize(store, &invoice, "R", 400).await.as_deref(), Some("R-1"));
        let paper = Invoice {
            state: InvoiceState::Final,
            number: Some("R-1".to_owned()),
            final_ms: Some(400),
            ..invoice.clone()
        };
        assert!(!store.invoice_discard(invoice.id).await.unwrap());
        assert_eq!(finalize(store, &invoice, "R", 500).await, None);
        assert_eq!(store.invoice_by_id(invoice.id).await.unwrap(), Some(paper));
        let other = draft(2);
        store.invoice_insert(&other).await.unwrap();
        let same = Finalize {
            id: other.id,
            series: "another",
            now_ms: 500,
            credited: None,
        };
        let taken = store.invoice_finalize(same, |_| "R-1".to_owned()).await;
        assert!(taken.is_err(), "a number is on one paper: {taken:?}");
        assert_eq!(
            finalize(store, &other, "another", 600).await.as_deref(),
            Some("another-1")
        );
    })
    .await;
}

#[tokio::test]
async fn a_credit_note_marks_what_nothing_is_left_of() {
    on_each_database(|database| async move {
        let store = &database.store;
        let invoice = draft(1);
        store.invoice_insert(&invoice).await.unwrap();
        finalize(store, &invoice, "R", 400).await;
        let note = Invoice {
            credits: Some(invoice.id),
            created_ms: 301,
            ..draft(2)
        };
        store.invoice_insert(&note).await.unwrap();
        let finalize = Finalize {
            id: note.id,
            series: "R",
            now_ms: 500,
            credited: Some(invoice.id),
        };
        let number = store.invoice_finalize(finalize, |number| format!("R-{number}")).await;
        assert_eq!(number.unwrap().as_deref(), Some("R-2"), "one series for both");
        let states = |found: &[Invoice]| found.iter().map(|it| (it.id, it.state)).collect::<Vec<_>>();
        let listed = store.invoice_list(Account::default_id()).await.unwrap();
        assert_eq!(
            states(&listed),
            [(note.id, InvoiceState::Final), (invoice.id, InvoiceState::Credited)]
        );
        store.invoice_insert(&draft(3)).await.unwrap();
        let since = |since_ms| async move { states(&store.invoice_list_final(since_ms).await.unwrap()) };
        assert_eq!(
            since(400).await,
            [(invoice.id, InvoiceState::Credited), (note.id, InvoiceState::Final)],
            "in the order of their numbers, without drafts"
        );
        assert_eq!(since(401).await, [(note.id, InvoiceState::Final)]);
        assert_eq!(since(501).await, []);
    })
    .await;
}

#[tokio::test]
async fn an_invoice_is_for_an_account_that_exists() {
    on_each_database(|database| async move {
        let store = &database.store;
        let nobody = Invoice {
            account: AccountId::from_parts(9, 9),
            ..draft(1)
        };
        let error = store.invoice_insert(&nobody).await;
        assert!(matches!(error, Err(StoreError::NotFound(_))), "{error:?}");
        let of_nothing = Invoice {
            credits: Some(InvoiceId::from_parts(9, 9)),
            ..draft(1)
        };
        assert!(store.invoice_insert(&of_nothing).await.is_err());
        assert_eq!(store.invoice_list(Account::default_id()).await.unwrap(), []);
    })
    .await;
}
