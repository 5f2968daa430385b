//! Tasks and their lines.

use weir_model::TaskId;
use weir_model::task::{LineKind, TaskState};
use weir_store::{LINES_KEPT, StoreError};

use crate::database::on_each_database;
use crate::fixtures::{house, project, task};

fn output(count: i64) -> Vec<(LineKind, String)> {
    (0..count)
        .map(|number| (LineKind::Output, format!("line {number}")))
        .collect()
}

#[tokio::test]
async fn a_task_ends_once_and_then_stays_as_it_ended() {
    on_each_database(|database| async move {
        let store = database.store;
        let mut task = task(project("shop").id, None);
        store.task_insert(&task).await.unwrap();
        assert!(
            store
                .task_set_step(task.id, TaskState::Running, "building web")
                .await
                .unwrap()
        );
        assert!(
            store
                .task_end(task.id, TaskState::Failed, Some("exit status 1\0"), 50)
                .await
                .unwrap()
        );
        assert!(!store.task_end(task.id, TaskState::Done, None, 60).await.unwrap());
        assert!(!store.task_set_step(task.id, TaskState::Running, "again").await.unwrap());
        assert!(store.task_end(task.id, TaskState::Running, None, 70).await.is_err());
        assert!(store.task_set_step(task.id, TaskState::Done, "").await.is_err());
        task.state = TaskState::Failed;
        task.step = "building web".to_owned();
        task.error = Some("exit status 1\u{fffd}".to_owned());
        task.ended_ms = Some(50);
        assert_eq!(store.task_by_id(task.id).await.unwrap(), Some(task));
        assert!(
            !store
                .task_end(TaskId::from_parts(1, 1), TaskState::Done, None, 1)
                .await
                .unwrap()
        );
    })
    .await;
}

#[tokio::test]
async fn tasks_are_listed_and_pruned_by_age() {
    on_each_database(|database| async move {
        let store = database.store;
        let (shop, production) = house(&store, "shop").await;
        let tasks = [
            task(shop.id, Some(production.id)),
            task(project("zoo").id, None),
            task(shop.id, None),
            task(shop.id, Some(production.id)),
        ];
        for task in &tasks {
            store.task_insert(task).await.unwrap();
        }
        let ids = |found: Vec<weir_model::task::Task>| found.iter().map(|it| it.id).collect::<Vec<_>>();
        assert_eq!(ids(store.task_list(None, 2).await.unwrap()), [tasks[3].id, tasks[2].id]);
        assert_eq!(
            ids(store.task_list(Some(shop.id), 9).await.unwrap()),
            [tasks[3].id, tasks[2].id, tasks[0].id]
        );
        assert!(store.task_end(tasks[0].id, TaskState::Done, None, 100).await.unwrap());
        assert!(
            store
                .task_end(tasks[1].id, TaskState::Superseded, None, 200)
                .await
                .unwrap()
        );
        assert_eq!(
            ids(store.task_list_unfinished().await.unwrap()),
            [tasks[2].id, tasks[3].id]
        );
        assert_eq!(
            ids(store.task_list_unfinished_of(production.id).await.unwrap()),
            [tasks[3].id]
        );

        store.task_lines_append(tasks[0].id, 1, &output(3)).await.unwrap();
        store.task_prune(150, 4).await.unwrap();
        assert!(
            store.task_by_id(tasks[0].id).await.unwrap().is_some(),
            "it is among the newest four"
        );
        store.task_prune(150, 2).await.unwrap();
        assert!(store.task_by_id(tasks[0].id).await.unwrap().is_none());
        assert_eq!(store.task_lines(tasks[0].id, 0, 10).await.unwrap(), []);
        store.task_prune(i64::MAX, 0).await.unwrap();
        assert_eq!(
            ids(store.task_list(None, 9).await.unwrap()),
            [tasks[3].id, tasks[2].id],
            "unfinished ones stay"
        );
    })
    .await;
}

#[tokio::test]
async fn lines_are_numbered_without_gaps_and_read_on_from_any() {
    on_each_database(|database| async move {
        let store = database.store;
        let task = task(project("shop").id, None);
        store.task_insert(&task).await.unwrap();
        let mut written = store.task_lines_append(task.id, 5, &output(19)).await.unwrap();
        let odd = [
            (LineKind::Step, "Building web (Python 3.13)".to_owned()),
            (
                LineKind::Error,
                "nul \0 and a long one: ".to_owned() + &"é".repeat(5000),
            ),
            (LineKind::Hint, String::new()),
        ];
        written.extend(store.task_lines_append(task.id, 6, &odd).await.unwrap());
        assert_eq!(store.task_lines_append(task.id, 7, &[]).await.unwrap(), []);
        let sequences: Vec<i64> = written.iter().map(|line| line.sequence).collect();
        assert_eq!(sequences, (1..=22).collect::<Vec<_>>());
        assert!(written[20].text.len() <= 4096 && written[20].text.ends_with("(cut)"));
        assert!(written[20].text.starts_with("nul \u{fffd} and"));
        assert_eq!(store.task_lines(task.id, 0, 100).await.unwrap(), written);
        assert_eq!(store.task_lines(task.id, 10, 5).await.unwrap(), written[10..15]);
        assert_eq!(
            store.task_lines_last(task.id, 5).await.unwrap(),
            written[written.len() - 5..]
        );
        let missing = store.task_lines_append(TaskId::from_parts(1, 1), 1, &output(1)).await;
        assert!(matches!(missing, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn a_task_that_talks_too_much_is_cut_but_says_why_it_failed() {
    on_each_database(|database| async move {
        let store = database.store;
        let task = task(project("shop").id, None);
        store.task_insert(&task).await.unwrap();
        store
            .task_lines_append(task.id, 1, &output(LINES_KEPT - 2))
            .await
            .unwrap();
        let edge = store.task_lines_append(task.id, 2, &output(10)).await.unwrap();
        assert_eq!(edge.len(), 3);
        assert_eq!(edge[2].kind, LineKind::Info);
        assert_eq!(
            edge[2].text,
            "there are more than 20000 lines; further output is left out"
        );
        assert_eq!(store.task_lines_append(task.id, 3, &output(1000)).await.unwrap(), []);
        let why = [
            (LineKind::Error, "pip failed".to_owned()),
            (LineKind::Output, "noise".to_owned()),
        ];
        let why = store.task_lines_append(task.id, 4, &why).await.unwrap();
        assert_eq!(why.len(), 1);
        assert_eq!((why[0].sequence, why[0].text.as_str()), (LINES_KEPT + 2, "pip failed"));
        // Errors are bounded too.
        let errors: Vec<_> = (0..2000).map(|_| (LineKind::Error, "again".to_owned())).collect();
        store.task_lines_append(task.id, 5, &errors).await.unwrap();
        let newest = store.task_lines(task.id, LINES_KEPT, i64::MAX).await.unwrap();
        assert_eq!(newest.last().unwrap().sequence, LINES_KEPT + 1000);
    })
    .await;
}
