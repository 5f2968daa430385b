//! Contacts and what is sent to them.

use weir_model::{ContactId, NoticeId};
use weir_store::{Account, Channel, Contact, Notice, NoticeState, Store, StoreError};

use crate::database::on_each_database;
use crate::fixtures::house;

fn contact(number: u128) -> Contact {
    Contact {
        id: ContactId::from_parts(1, number),
        account: Account::default_id(),
        project: None,
        channel: Channel::Webhook,
        address: "https://hooks.example.org/weir".to_owned(),
        secret: "sealed".to_owned(),
        private: true,
        created_ms: 5,
    }
}

fn notice(contact: &Contact, number: u128) -> Notice {
    Notice {
        sequence: 0,
        id: NoticeId::from_parts(1, number),
        contact: contact.id,
        key: format!("journal-{number}"),
        kind: "money.crossed".to_owned(),
        subject: "80 %".to_owned(),
        body: "{}".to_owned(),
        created_ms: 10,
        state: NoticeState::Waiting,
        attempts: 0,
        next_ms: 10,
        problem: None,
    }
}

async fn due(store: &Store, now_ms: i64) -> Vec<Notice> {
    store.notice_due(now_ms, 100).await.unwrap()
}

#[tokio::test]
async fn a_contact_gets_its_notices_in_order_and_each_key_once() {
    on_each_database(|database| async move {
        let store = &database.store;
        let (first, second) = (contact(1), contact(2));
        for contact in [&first, &second] {
            store.contact_insert(contact).await.unwrap();
        }
        assert!(store.notice_insert(&notice(&first, 1)).await.unwrap());
        let again = Notice {
            id: NoticeId::from_parts(1, 99),
            ..notice(&first, 1)
        };
        assert!(!store.notice_insert(&again).await.unwrap());
        assert!(store.notice_insert(&notice(&first, 2)).await.unwrap());
        assert!(
            store
                .notice_insert(&Notice {
                    id: NoticeId::from_parts(1, 3),
                    ..notice(&second, 1)
                })
                .await
                .unwrap()
        );
        assert!(due(store, 9).await.is_empty(), "it is not their time");
        let now = due(store, 10).await;
        assert_eq!(
            now.iter().map(|notice| notice.contact).collect::<Vec<_>>(),
            [first.id, second.id]
        );
        assert!(
            store
                .notice_advance(&now[0], NoticeState::Waiting, 500, Some("no answer"))
                .await
                .unwrap()
        );
        assert!(
            !store
                .notice_advance(&now[0], NoticeState::Sent, 11, None)
                .await
                .unwrap(),
            "another has advanced it"
        );
        let now = due(store, 20).await;
        assert_eq!(
            now.len(),
            1,
            "what waits behind a failure of the first contact goes on waiting"
        );
        assert_eq!(now[0].contact, second.id);
        let late = &due(store, 500).await[1];
        assert_eq!((late.attempts, late.problem.as_deref()), (1, Some("no answer")));
        assert!(store.notice_advance(late, NoticeState::Sent, 501, None).await.unwrap());
        let sent = store.notice_by_id(late.id).await.unwrap().unwrap();
        assert_eq!((sent.state, sent.attempts, sent.problem), (NoticeState::Sent, 2, None));
        assert_eq!(due(store, 502).await[0].key, "journal-2");
        store.notice_prune(10_000).await.unwrap();
        assert_eq!(store.notice_list(10).await.unwrap().len(), 2, "what waits stays");
    })
    .await;
}

#[tokio::test]
async fn what_is_too_much_for_a_contact_is_noted_and_not_sent() {
    on_each_database(|database| async move {
        let store = &database.store;
        let contact = contact(1);
        store.contact_insert(&contact).await.unwrap();
        for number in 0..=1_000 {
            assert!(store.notice_insert(&notice(&contact, number)).await.unwrap());
        }
        let newest = &store.notice_list(1).await.unwrap()[0];
        assert_eq!(newest.state, NoticeState::GivenUp);
        assert!(newest.problem.as_deref().unwrap().contains("too many"));
    })
    .await;
}

#[tokio::test]
async fn contacts_end_with_what_they_are_about() {
    on_each_database(|database| async move {
        let store = &database.store;
        let (shop, _) = house(store, "shop").await;
        let all = contact(1);
        let one = Contact {
            project: Some(shop.id),
            ..contact(2)
        };
        for contact in [&all, &one] {
            store.contact_insert(contact).await.unwrap();
        }
        store.notice_insert(&notice(&one, 1)).await.unwrap();
        assert_eq!(store.contact_list().await.unwrap(), [all.clone(), one.clone()]);
        assert!(store.contact_delete(one.id).await.unwrap());
        assert!(!store.contact_delete(one.id).await.unwrap());
        assert!(store.notice_list(10).await.unwrap().is_empty());
        assert_eq!(store.contact_by_id(all.id).await.unwrap(), Some(all));
        let lost = store.notice_insert(&notice(&one, 2)).await;
        assert!(matches!(lost, Err(StoreError::NotFound(_))), "{lost:?}");
    })
    .await;
}
