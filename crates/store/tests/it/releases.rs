//! Releases.

use crate::database::on_each_database;
use crate::fixtures::{deploy, deployment, house, lead_to_switch, release};
use weir_model::deployment::DeploymentState;

#[tokio::test]
async fn releases_are_numbered_in_their_environment_and_read_back_whole() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, zoo) = house(&store, "zoo").await;
        let (first, _) = deploy(&store, shop.id).await;
        let mut second = release(shop.id);
        second.number = 99;
        assert_eq!(store.release_insert(&second, None).await.unwrap(), 2);
        second.number = 2;
        assert_eq!(deploy(&store, zoo.id).await.0.number, 1);
        assert_eq!(store.release_by_id(first.id).await.unwrap().as_ref(), Some(&first));
        assert_eq!(
            store.release_by_number(shop.id, 2).await.unwrap().as_ref(),
            Some(&second)
        );
        assert_eq!(store.release_by_number(zoo.id, 2).await.unwrap(), None);
        assert_eq!(
            store.release_list(shop.id, i64::MAX).await.unwrap(),
            [second.clone(), first]
        );
        assert_eq!(store.release_list(shop.id, 1).await.unwrap(), [second]);
    })
    .await;
}

#[tokio::test]
async fn a_number_is_never_used_twice() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let newest = release(shop.id);
        assert_eq!(store.release_insert(&newest, None).await.unwrap(), 1);
        assert!(store.release_delete(newest.id).await.unwrap());
        assert!(!store.release_delete(newest.id).await.unwrap());
        assert_eq!(store.release_insert(&release(shop.id), None).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_release_whose_deployment_cannot_be_written_is_not_written_either() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        let (_, first) = deploy(&store, shop.id).await;
        let second = release(shop.id);
        let mut twin = deployment(&second);
        twin.id = first.id;
        assert!(store.release_insert(&second, Some(&twin)).await.is_err());
        assert_eq!(store.release_by_id(second.id).await.unwrap(), None);
        assert_eq!(store.release_insert(&second, None).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn only_releases_that_nobody_needs_are_pruned() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        // v1 served and retired, v2 is previous, v3 is live, v4 failed, v5 is on its way.
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(deploy(&store, shop.id).await);
        }
        for (_, deployment) in &all[..3] {
            lead_to_switch(&store, deployment.id).await;
            assert!(store.deployment_go_live(deployment.id, 500, 3).await.unwrap());
        }
        let failed = all[3].1.id;
        let (pending, end) = (DeploymentState::Pending, DeploymentState::Failed);
        assert!(
            store
                .deployment_advance(failed, pending, end, Some("no"), 4)
                .await
                .unwrap()
        );

        let prunable = async |keep| {
            let releases = store.release_list_prunable(shop.id, keep).await.unwrap();
            releases.iter().map(|release| release.number).collect::<Vec<_>>()
        };
        assert_eq!(prunable(0).await, [1, 4]);
        assert_eq!(prunable(2).await, [1]);
        assert!(prunable(5).await.is_empty());
        for (index, (release, deployment)) in all.iter().enumerate() {
            let number = index + 1;
            let removed = store.release_delete(release.id).await.unwrap();
            assert_eq!(removed, [1, 4].contains(&number), "v{number}");
            let kept = store.deployment_by_id(deployment.id).await.unwrap().is_some();
            assert_eq!(kept, !removed, "the deployment of v{number}");
        }
        assert!(store.environment_forget_previous(shop.id, all[1].1.id).await.unwrap());
        assert!(!store.environment_forget_previous(shop.id, all[1].1.id).await.unwrap());
        assert_eq!(prunable(0).await, [2]);
    })
    .await;
}
