//! The past of what was measured.

use weir_model::deployment::DeploymentKind;
use weir_store::{MetricChunk, ReleaseMark};

use crate::database::on_each_database;
use crate::fixtures::{self, house};

#[tokio::test]
async fn chunks_are_replaced_found_by_age_and_go_with_their_environment() {
    on_each_database(|database| async move {
        let store = database.store;
        let (project, production) = house(&store, "shop").await;
        let chunk = |app: &str, from_ms: i64, data: &[u8]| MetricChunk {
            environment: production.id,
            app: app.to_owned(),
            process: "web".to_owned(),
            step_ms: 10,
            from_ms,
            data: data.to_vec(),
        };
        let nobodys = MetricChunk {
            environment: fixtures::environment(project.id, "gone", None).id,
            ..chunk("a", 100, &[1])
        };
        let many: Vec<MetricChunk> = (0..450)
            .map(|number| chunk(&format!("b{number}"), 300, &[0, 255, 7]))
            .collect();
        store.metric_chunk_put(&many).await.unwrap();
        let some = [chunk("a", 100, &[1]), nobodys, chunk("a", 200, &[])];
        store.metric_chunk_put(&some).await.unwrap();
        store.metric_chunk_put(&[chunk("a", 100, &[2, 0])]).await.unwrap();
        let found = store.metric_chunk_list(production.id, 10, 100, 300).await.unwrap();
        assert_eq!(found, [chunk("a", 100, &[2, 0]), chunk("a", 200, &[])]);
        assert_eq!(
            store.metric_chunk_list(production.id, 11, 0, i64::MAX).await.unwrap(),
            []
        );
        let mut at = store.metric_chunk_list_at(10, 300).await.unwrap();
        at.sort_by_key(|chunk| chunk.app[1..].parse::<u32>().unwrap());
        assert_eq!(at, many);
        store.metric_chunk_prune(10, 200).await.unwrap();
        store.metric_chunk_prune(11, i64::MAX).await.unwrap();
        assert_eq!(store.metric_chunk_list_at(10, 100).await.unwrap(), []);
        assert_eq!(store.metric_chunk_list_at(10, 200).await.unwrap().len(), 1);
        store.environment_delete(production.id).await.unwrap();
        assert_eq!(store.metric_chunk_list_at(10, 300).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_became_live_is_marked_when_it_does() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, production) = house(&store, "shop").await;
        let (release, deployment) = fixtures::deploy(&store, production.id).await;
        assert_eq!(store.release_mark_list(production.id, 0, 1_000, 9).await.unwrap(), []);
        fixtures::lead_to_switch(&store, deployment.id).await;
        assert!(store.deployment_go_live(deployment.id, 900, 500).await.unwrap());
        let mark = ReleaseMark {
            at_ms: 500,
            release: release.number,
            kind: DeploymentKind::Release,
        };
        assert_eq!(
            store.release_mark_list(production.id, 500, 501, 9).await.unwrap(),
            [mark]
        );
        assert_eq!(store.release_mark_list(production.id, 501, 900, 9).await.unwrap(), []);
        assert_eq!(store.release_mark_list(production.id, 0, 900, 0).await.unwrap(), []);
        store.release_mark_prune(501).await.unwrap();
        assert_eq!(store.release_mark_list(production.id, 0, 900, 9).await.unwrap(), []);
    })
    .await;
}
