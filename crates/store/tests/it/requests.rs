//! Idempotency keys, changes and settings.

use weir_store::{ChangeSearch, Idempotency};

use crate::database::on_each_database;
use crate::fixtures::house;

#[tokio::test]
async fn a_request_that_is_sent_again_gets_the_same_answer() {
    on_each_database(|database| async move {
        let store = database.store;
        let begin = async |token: &str, request: &str| store.idempotency_begin(token, "k", request, 10).await.unwrap();
        assert_eq!(begin("t", "a").await, Idempotency::New);
        assert_eq!(begin("t", "a").await, Idempotency::InProgress);
        assert_eq!(begin("t", "b").await, Idempotency::Mismatch);
        assert_eq!(begin("other", "b").await, Idempotency::New);
        store
            .idempotency_finish("t", "k", 201, "{\"name\":\"shop\"}")
            .await
            .unwrap();
        let replay = Idempotency::Replay {
            status: 201,
            body: "{\"name\":\"shop\"}".to_owned(),
        };
        assert_eq!(begin("t", "a").await, replay);
        assert_eq!(begin("t", "b").await, Idempotency::Mismatch);
        // An answer stays; only a request without one is abandoned.
        store.idempotency_abandon("t", "k").await.unwrap();
        assert_eq!(begin("t", "a").await, replay);
        store.idempotency_abandon("other", "k").await.unwrap();
        assert_eq!(begin("other", "c").await, Idempotency::New);
        assert_eq!(store.idempotency_abandon_all().await.unwrap(), 1);
        assert_eq!(begin("other", "d").await, Idempotency::New);
        store.idempotency_prune(10).await.unwrap();
        assert_eq!(begin("t", "a").await, replay);
        store.idempotency_prune(11).await.unwrap();
        assert_eq!(begin("t", "b").await, Idempotency::New);
    })
    .await;
}

#[tokio::test]
async fn changes_are_read_on_from_the_last_one_seen() {
    on_each_database(|database| async move {
        let store = database.store;
        assert_eq!(store.change_list(0, 10).await.unwrap(), []);
        let first = store
            .change_insert(1, "shop", Some("production"), "deployment.live", "v1")
            .await
            .unwrap();
        let second = store
            .change_insert(2, "shop", None, "project.destroyed", "gone")
            .await
            .unwrap();
        let third = store
            .change_insert(2, "zoo", None, "project.created", "zoo")
            .await
            .unwrap();
        assert_eq!((first.sequence, second.sequence, third.sequence), (1, 2, 3));
        assert_eq!(store.change_list(0, 2).await.unwrap(), [first.clone(), second.clone()]);
        assert_eq!(
            store.change_list(first.sequence, 10).await.unwrap(),
            [second, third.clone()]
        );
        store.change_prune(1).await.unwrap();
        assert_eq!(store.change_list(0, 10).await.unwrap(), [third]);
        store.change_prune(0).await.unwrap();
        let fourth = store.change_insert(3, "zoo", None, "x", "y").await.unwrap();
        assert_eq!(fourth.sequence, 4, "sequences go on after all were pruned");
    })
    .await;
}

#[tokio::test]
async fn a_setting_is_what_it_was_last_set_to() {
    on_each_database(|database| async move {
        let store = database.store;
        assert_eq!(store.setting_get("generation").await.unwrap(), None);
        store.setting_set("generation", "1").await.unwrap();
        store.setting_set("generation", "2").await.unwrap();
        assert_eq!(store.setting_get("generation").await.unwrap().as_deref(), Some("2"));
    })
    .await;
}

#[tokio::test]
async fn changes_of_the_past_are_those_of_what_is_there_now() {
    on_each_database(|database| async move {
        let store = database.store;
        let (shop, production) = house(&store, "shop").await;
        let (zoo, _) = house(&store, "zoo").await;
        let late_ms = zoo.created_ms + 1_000;
        let insert = async |at_ms, project: &str, environment: Option<&str>, kind: &str| {
            store
                .change_insert(at_ms, project, environment, kind, "x")
                .await
                .unwrap()
                .sequence
        };
        let old = insert(shop.created_ms - 1, "shop", Some("production"), "deployment.live").await;
        let live = insert(late_ms, "shop", Some("production"), "deployment.live").await;
        let variables = insert(late_ms, "shop", None, "variables.changed").await;
        let of_zoo = insert(late_ms, "zoo", Some("production"), "deployment.failed").await;
        let found = async |search: ChangeSearch| {
            let found = store.change_search(&ChangeSearch { limit: 9, ..search }).await.unwrap();
            found.iter().map(|it| it.sequence).collect::<Vec<_>>()
        };
        let all = ChangeSearch::default();
        assert_eq!(found(all.clone()).await, [of_zoo, variables, live, old]);
        let between = ChangeSearch {
            before: Some(of_zoo),
            after: Some(old),
            ..all.clone()
        };
        assert_eq!(found(between).await, [variables, live]);
        let kind = |kind: &str| ChangeSearch {
            kind: Some(kind.to_owned()),
            ..all.clone()
        };
        assert_eq!(found(kind("deployment.")).await, [of_zoo, live, old]);
        assert_eq!(found(kind("deployment._ive")).await, Vec::<i64>::new(), "no pattern");
        assert_eq!(found(kind("")).await.len(), 4);
        let within = |keys: &[String]| ChangeSearch {
            within: Some(keys.to_vec()),
            ..all.clone()
        };
        assert_eq!(
            found(within(&[shop.id.to_string()])).await,
            [variables, live],
            "not what was before it"
        );
        assert_eq!(found(within(&[production.id.to_string()])).await, [live]);
        assert_eq!(
            found(within(&[shop.account.to_string()])).await,
            [of_zoo, variables, live]
        );
        assert_eq!(found(within(&[])).await, Vec::<i64>::new());
    })
    .await;
}
