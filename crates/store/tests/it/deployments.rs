//! Deployments.

use weir_model::deployment::DeploymentState::{Failed, Live, Pending, Releasing, Retired, Starting, Switching};
use weir_store::Store;

use crate::database::on_each_database;
use crate::fixtures::{deploy, house, lead_to_switch};

#[tokio::test]
async fn a_deployment_reads_back_and_advances_only_from_its_state() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, mut deployment) = deploy(&store, shop.id).await;
        let id = deployment.id;
        assert_eq!(store.deployment_by_id(id).await.unwrap().as_ref(), Some(&deployment));
        assert!(
            !store
                .deployment_advance(id, Releasing, Starting, None, 10)
                .await
                .unwrap()
        );
        assert!(
            store
                .deployment_advance(id, Pending, Releasing, None, 11)
                .await
                .unwrap()
        );
        assert!(
            !store
                .deployment_advance(id, Pending, Releasing, None, 12)
                .await
                .unwrap()
        );
        assert!(
            store
                .deployment_advance(id, Releasing, Failed, Some("exit status 1"), 13)
                .await
                .unwrap()
        );
        deployment.state = Failed;
        deployment.reason = Some("exit status 1".to_owned());
        deployment.entered_ms = 13;
        assert_eq!(store.deployment_by_id(id).await.unwrap(), Some(deployment));
    })
    .await;
}

#[tokio::test]
async fn deployments_are_listed_in_their_order() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(deploy(&store, shop.id).await.1.id);
        }
        assert!(
            store
                .deployment_advance(ids[1], Pending, Failed, None, 1)
                .await
                .unwrap()
        );
        let newest: Vec<_> = store
            .deployment_list(shop.id, 3)
            .await
            .unwrap()
            .iter()
            .map(|it| it.id)
            .collect();
        assert_eq!(newest, [ids[3], ids[2], ids[1]]);
        let work = store.deployment_list_in_progress(shop.id).await.unwrap();
        assert_eq!(
            work.iter().map(|it| it.id).collect::<Vec<_>>(),
            [ids[0], ids[2], ids[3]]
        );
    })
    .await;
}

#[tokio::test]
async fn going_live_retires_the_one_before_and_keeps_it_for_a_while() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, first) = deploy(&store, shop.id).await;
        assert!(
            !store.deployment_go_live(first.id, 900, 5).await.unwrap(),
            "it was not switching"
        );
        lead_to_switch(&store, first.id).await;
        assert!(store.deployment_go_live(first.id, 900, 5).await.unwrap());
        assert!(
            !store.deployment_go_live(first.id, 900, 6).await.unwrap(),
            "it is live already"
        );
        let now = store.environment_by_id(shop.id).await.unwrap().unwrap();
        assert_eq!(
            (now.live, now.previous, now.previous_until_ms),
            (Some(first.id), None, 0)
        );

        let (_, second) = deploy(&store, shop.id).await;
        lead_to_switch(&store, second.id).await;
        assert!(store.deployment_go_live(second.id, 900, 7).await.unwrap());
        let now = store.environment_by_id(shop.id).await.unwrap().unwrap();
        assert_eq!(
            (now.live, now.previous, now.previous_until_ms),
            (Some(second.id), Some(first.id), 900)
        );
        let states = (state(&store, first.id).await, state(&store, second.id).await);
        assert_eq!(states, ((Retired, 7), (Live, 7)));

        // A restart is the same release once more: a rollback still leads to the one before.
        let restart = weir_model::deployment::Deployment {
            id: weir_model::DeploymentId::from_parts(9, 9),
            kind: weir_model::deployment::DeploymentKind::Restart,
            state: Pending,
            ..second.clone()
        };
        store.deployment_insert(&restart).await.unwrap();
        lead_to_switch(&store, restart.id).await;
        assert!(store.deployment_go_live(restart.id, 1_800, 8).await.unwrap());
        let now = store.environment_by_id(shop.id).await.unwrap().unwrap();
        assert_eq!(
            (now.live, now.previous, now.previous_until_ms),
            (Some(restart.id), Some(first.id), 900)
        );

        let unknown = weir_model::DeploymentId::from_parts(1, 1);
        assert!(!store.deployment_go_live(unknown, 1, 1).await.unwrap());
    })
    .await;
}

async fn state(store: &Store, id: weir_model::DeploymentId) -> (weir_model::deployment::DeploymentState, i64) {
    let deployment = store.deployment_by_id(id).await.unwrap().unwrap();
    (deployment.state, deployment.entered_ms)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_take_the_same_step_one_succeeds() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, deployment) = deploy(&store, shop.id).await;
        let racers: Vec<_> = (0..16)
            .map(|number| {
                let store = store.clone();
                let to = if number % 2 == 0 { Starting } else { Failed };
                tokio::spawn(async move {
                    store
                        .deployment_advance(deployment.id, Pending, to, None, 1)
                        .await
                        .unwrap()
                })
            })
            .collect();
        assert_eq!(winners(racers).await, 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_switches_at_once_one_deployment_ends_live() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        for round in 0..10 {
            let mut racers = Vec::new();
            let mut ids = Vec::new();
            for _ in 0..3 {
                let (_, deployment) = deploy(&store, shop.id).await;
                lead_to_switch(&store, deployment.id).await;
                ids.push(deployment.id);
                // Two processes may both want to finish the same switch.
                for _ in 0..2 {
                    let store = store.clone();
                    let go = async move { store.deployment_go_live(deployment.id, 1, round).await.unwrap() };
                    racers.push(tokio::spawn(go));
                }
            }
            assert_eq!(winners(racers).await, 3);
            let now = store.environment_by_id(shop.id).await.unwrap().unwrap();
            let mut live = Vec::new();
            for deployment in store.deployment_list(shop.id, 100).await.unwrap() {
                if deployment.state == Live {
                    live.push(deployment.id);
                } else {
                    assert_eq!(deployment.state, Retired);
                }
            }
            assert_eq!(live, [now.live.unwrap()]);
            assert!(ids.contains(&live[0]) && ids.contains(&now.previous.unwrap()));
            assert!(
                !store
                    .deployment_advance(live[0], Switching, Failed, None, 1)
                    .await
                    .unwrap()
            );
        }
    })
    .await;
}

async fn winners(racers: Vec<tokio::task::JoinHandle<bool>>) -> usize {
    let mut winners = 0;
    for racer in racers {
        winners += usize::from(racer.await.unwrap());
    }
    winners
}

#[tokio::test]
async fn a_canary_is_changed_only_as_it_was_seen() {
    on_each_database(|database| async move {
        use weir_model::canary::Canary as Part;
        use weir_model::deployment::DeploymentState::Canary;
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, first) = deploy(&store, shop.id).await;
        let part = |share: &str, promoted| Part {
            share: share.parse().unwrap(),
            header: Some("X-Canary: it's \"yes\"".parse().unwrap()),
            promoted,
        };
        let deployment = weir_model::deployment::Deployment {
            id: weir_model::DeploymentId::from_parts(9, 10),
            canary: Some(part("5%", false)),
            ..first.clone()
        };
        store.deployment_insert(&deployment).await.unwrap();
        let id = deployment.id;
        let kept = store.deployment_by_id(id).await.unwrap().unwrap();
        assert_eq!(kept, deployment);
        let set = async |before: &Part, after: &Part, task| {
            store.deployment_set_canary(id, before, after, task).await.unwrap()
        };
        assert!(
            !set(&part("5%", false), &part("25%", false), None).await,
            "it is not one yet"
        );
        assert!(store.deployment_advance(id, Pending, Starting, None, 1).await.unwrap());
        assert!(store.deployment_advance(id, Starting, Canary, None, 2).await.unwrap());
        assert!(set(&part("5%", false), &part("25%", false), None).await);
        assert!(
            !set(&part("5%", false), &part("50%", false), None).await,
            "somebody was faster"
        );
        let task = weir_model::TaskId::from_parts(9, 11);
        assert!(set(&part("25%", false), &part("25%", true), Some(task)).await);
        let now = store.deployment_by_id(id).await.unwrap().unwrap();
        assert_eq!((now.task, now.canary), (task, Some(part("25%", true))));
        let work = store.deployment_list_in_progress(shop.id).await.unwrap();
        assert!(work.iter().any(|it| it.id == id));
    })
    .await;
}

#[tokio::test]
async fn every_state_of_a_deployment_is_kept_and_those_of_all_environments_are_found_at_once() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, zoo) = house(&store, "zoo").await;
        let (_, first) = deploy(&store, shop.id).await;
        lead_to_switch(&store, first.id).await;
        assert!(store.deployment_go_live(first.id, 5, 50).await.unwrap());
        let steps = store.deployment_steps(shop.id, 9).await.unwrap();
        assert!(steps.iter().all(|step| step.deployment == first.id));
        let states: Vec<_> = steps.iter().map(|step| step.state).collect();
        assert_eq!(
            (states[0], states[states.len() - 2], states[states.len() - 1]),
            (Pending, Switching, Live)
        );
        assert_eq!(steps[states.len() - 1].entered_ms, 50);
        // One that does not come about leaves no step.
        assert!(
            !store
                .deployment_advance(first.id, Pending, Failed, None, 60)
                .await
                .unwrap()
        );
        assert_eq!(store.deployment_steps(shop.id, 9).await.unwrap(), steps);
        let (_, failed) = deploy(&store, zoo.id).await;
        assert!(
            store
                .deployment_advance(failed.id, Pending, Failed, Some("x"), 70)
                .await
                .unwrap()
        );
        let ids = |found: Vec<weir_model::deployment::Deployment>| found.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(store.deployment_list_live().await.unwrap()), [first.id]);
        assert_eq!(ids(store.deployment_list_failed_last().await.unwrap()), [failed.id]);
        let (_, next) = deploy(&store, zoo.id).await;
        assert_eq!(ids(store.deployment_list_in_progress_all().await.unwrap()), [next.id]);
        assert_eq!(
            ids(store.deployment_list_failed_last().await.unwrap()),
            [],
            "a newer one is under way"
        );
    })
    .await;
}
