//! Questions, answers, and the mail about them.

use weir_model::{AccountId, EnvironmentId, HelpMailId, HelpMessageId, HelpRequestId, ProjectId};
use weir_store::{HelpBound, HelpMail, HelpMessage, HelpRequest, HelpSearch, HelpState, HelpWritten, Store};

use crate::database::on_each_database;

const FREE: HelpBound = HelpBound {
    most: 1_000,
    most_of_place: 1_000,
    since_ms: 0,
};

fn request(number: u128, by: &str) -> HelpRequest {
    HelpRequest {
        id: HelpRequestId::from_parts(1_000 + i64::try_from(number).unwrap(), number),
        subject: format!("question {number} \0'"),
        scope: "shop/production".to_owned(),
        account: Some(AccountId::from_parts(1, 1)),
        project: Some(ProjectId::from_parts(1, number)),
        environment: Some(EnvironmentId::from_parts(1, number)),
        state: HelpState::Open,
        by: by.to_owned(),
        by_name: "anna@example.org".to_owned(),
        created_ms: 1_000,
        updated_ms: 1_000,
        context: Some("{}".to_owned()),
    }
}

fn message(request: &HelpRequest, number: u128, at_ms: i64) -> HelpMessage {
    HelpMessage {
        id: HelpMessageId::from_parts(at_ms, number),
        request: request.id,
        at_ms,
        by: request.by.clone(),
        by_name: request.by_name.clone(),
        operator: number % 2 == 1,
        text: format!("text {number}"),
    }
}

fn mail(message: &HelpMessage, next_ms: i64) -> HelpMail {
    HelpMail {
        id: HelpMailId::from_parts(next_ms, 7),
        message: message.id,
        address: "ops@example.org".to_owned(),
        subject: "s".to_owned(),
        body: "b".to_owned(),
        created_ms: 1,
        attempts: 0,
        next_ms,
    }
}

async fn ask(store: &Store, request: &HelpRequest, bound: HelpBound) -> HelpWritten {
    let number = request.subject.bytes().map(u128::from).sum();
    store
        .help_insert(request, &message(request, number, 1_000), &[], bound)
        .await
        .unwrap()
}

#[tokio::test]
async fn questions_are_found_by_who_asked_and_who_looks_after_what_they_are_about() {
    on_each_database(|database| async move {
        let store = database.store;
        let asked: Vec<HelpRequest> = (1..=3).map(|number| request(number, "usr_anna")).collect();
        for request in &asked {
            assert_eq!(ask(&store, request, FREE).await, HelpWritten::Done);
        }
        assert_eq!(ask(&store, &request(4, "usr_ben"), FREE).await, HelpWritten::Done);
        let found = async |by: &str, within: Option<Vec<String>>, state, before| {
            let by = by.to_owned();
            let search = HelpSearch {
                state,
                before,
                by,
                within,
                limit: 2,
            };
            let found = store.help_list(&search).await.unwrap();
            found.into_iter().map(|request| request.id).collect::<Vec<_>>()
        };
        let ids: Vec<HelpRequestId> = (1..=4).map(|number| request(number, "").id).collect();
        assert_eq!(found("usr_anna", Some(vec![]), None, None).await, [ids[2], ids[1]]);
        assert_eq!(found("usr_anna", Some(vec![]), None, Some(ids[1])).await, [ids[0]]);
        assert_eq!(found("x", None, None, None).await, [ids[3], ids[2]]);
        let project = Some(vec!["env_none".to_owned(), asked[0].project.unwrap().to_string()]);
        assert_eq!(found("x", project, None, None).await, [ids[0]]);
        let environment = Some(vec![asked[1].environment.unwrap().to_string()]);
        assert_eq!(found("usr_ben", environment, None, None).await, [ids[3], ids[1]]);
        assert!(store.help_set_state(ids[1], HelpState::Closed, 5_000).await.unwrap());
        assert_eq!(
            found("usr_anna", Some(vec![]), Some(HelpState::Open), None).await,
            [ids[2], ids[0]]
        );
        let kept = store.help_by_id(ids[0]).await.unwrap().unwrap();
        assert_eq!(
            (kept.subject.as_str(), kept.context.as_deref()),
            ("question 1 \u{fffd}'", Some("{}"))
        );
        store.help_prune(5_001).await.unwrap();
        assert_eq!(store.help_by_id(ids[1]).await.unwrap(), None, "it was closed");
        assert!(
            store.help_by_id(ids[0]).await.unwrap().is_some(),
            "nobody has answered yet"
        );
    })
    .await;
}

#[tokio::test]
async fn bounds_hold_and_mail_waits_until_it_is_sent() {
    on_each_database(|database| async move {
        let store = database.store;
        let bound = HelpBound {
            most: 2,
            since_ms: 999,
            ..FREE
        };
        for number in 1..=2 {
            assert_eq!(
                ask(&store, &request(number, "usr_anna"), bound).await,
                HelpWritten::Done
            );
        }
        assert_eq!(ask(&store, &request(3, "usr_anna"), bound).await, HelpWritten::TooMany);
        assert_eq!(ask(&store, &request(4, "usr_ben"), bound).await, HelpWritten::Done);
        let later = HelpBound {
            most: 2,
            since_ms: 1_000,
            ..FREE
        };
        assert_eq!(ask(&store, &request(5, "usr_anna"), later).await, HelpWritten::Done);

        let first = request(1, "usr_anna");
        let said = message(&first, 11, 2_000);
        let say = async |message: &HelpMessage, mails: &[HelpMail], bound, most| {
            store
                .help_say(message, mails, HelpState::Answered, bound, most)
                .await
                .unwrap()
        };
        assert_eq!(
            say(&said, &[mail(&said, 10), mail(&said, 20)], FREE, 2).await,
            HelpWritten::Done
        );
        assert_eq!(
            say(&message(&first, 12, 2_001), &[], FREE, 2).await,
            HelpWritten::TooMany
        );
        let narrow = HelpBound {
            most: 1,
            since_ms: 1_999,
            ..FREE
        };
        assert_eq!(
            say(&message(&first, 12, 2_001), &[], narrow, 9).await,
            HelpWritten::TooMany
        );
        let messages = store.help_messages(first.id).await.unwrap();
        assert_eq!((messages.len(), &messages[1]), (2, &said));
        assert_eq!(
            store.help_by_id(first.id).await.unwrap().unwrap().state,
            HelpState::Answered
        );

        let due = store.help_mail_due(15, 9).await.unwrap();
        assert_eq!(due, [mail(&said, 10)]);
        store.help_mail_later(due[0].id, 30).await.unwrap();
        assert_eq!(store.help_mail_due(29, 9).await.unwrap(), [mail(&said, 20)]);
        store.help_mail_delete(mail(&said, 20).id).await.unwrap();
        assert_eq!(store.help_mail_due(30, 9).await.unwrap()[0].attempts, 1);
        store.help_set_state(first.id, HelpState::Closed, 3_000).await.unwrap();
        assert_eq!(say(&message(&first, 13, 4_000), &[], FREE, 9).await, HelpWritten::Gone);
        store.help_prune(3_001).await.unwrap();
        assert_eq!(store.help_messages(first.id).await.unwrap(), []);
        assert_eq!(store.help_mail_due(i64::MAX, 9).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn so_much_is_asked_and_said_about_a_place_whoever_does() {
    on_each_database(|database| async move {
        let store = database.store;
        let bound = HelpBound {
            most_of_place: 2,
            since_ms: 999,
            ..FREE
        };
        let about = |number: u128, project: Option<u128>| HelpRequest {
            project: project.map(|project| ProjectId::from_parts(1, project)),
            ..request(number, &format!("tok_{number}"))
        };
        for number in 1..=2 {
            assert_eq!(ask(&store, &about(number, Some(7)), bound).await, HelpWritten::Done);
            assert_eq!(ask(&store, &about(number + 10, None), bound).await, HelpWritten::Done);
        }
        assert_eq!(
            ask(&store, &about(3, Some(7)), bound).await,
            HelpWritten::TooManyOfPlace
        );
        assert_eq!(ask(&store, &about(13, None), bound).await, HelpWritten::TooManyOfPlace);
        assert_eq!(
            ask(&store, &about(4, Some(8)), bound).await,
            HelpWritten::Done,
            "another project"
        );
        let later = HelpBound {
            since_ms: 1_000,
            ..bound
        };
        assert_eq!(
            ask(&store, &about(3, Some(7)), later).await,
            HelpWritten::Done,
            "another day"
        );
        let nowhere = |number| HelpRequest {
            account: None,
            ..about(number, None)
        };
        for number in 80..=83 {
            assert_eq!(ask(&store, &nowhere(number), bound).await, HelpWritten::Done);
        }

        let say = async |to: u128, number: u128| {
            let message = message(&about(to, Some(7)), number, 2_000);
            let bound = HelpBound {
                since_ms: 1_999,
                ..bound
            };
            let said = store.help_say(&message, &[], HelpState::Open, bound, 99).await;
            said.unwrap()
        };
        // Even numbers are of those who ask, odd ones of those who run it.
        assert_eq!(say(1, 100).await, HelpWritten::Done);
        assert_eq!(say(1, 101).await, HelpWritten::Done);
        assert_eq!(say(2, 102).await, HelpWritten::Done);
        assert_eq!(say(1, 104).await, HelpWritten::TooManyOfPlace);
        assert_eq!(say(1, 105).await, HelpWritten::Done, "it can be answered");
        let elsewhere = message(&about(4, Some(8)), 106, 2_000);
        let said = store.help_say(&elsewhere, &[], HelpState::Open, bound, 99).await;
        assert_eq!(said.unwrap(), HelpWritten::Done);
    })
    .await;
}
