//! Many who write at once.

use std::time::Duration;

use weir_model::task::{LineKind, TaskState};
use weir_store::{Idempotency, Store};

use crate::database::{Kind, on_each_database};
use crate::fixtures::{deploy, deployment, domain, environment, house, project, release, task, variable};

/// Runs something in many tasks at once and returns what each returned.
pub(crate) async fn at_once<T, F>(count: usize, work: impl Fn(usize) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let handles: Vec<_> = (0..count).map(|number| tokio::spawn(work(number))).collect();
    let mut results = Vec::new();
    for handle in handles {
        results.push(handle.await.unwrap());
    }
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn releases_made_at_once_get_different_numbers_without_gaps() {
    on_each_database(|database| async move {
        let (_, shop) = house(&database.store, "shop").await;
        // Two stores on one database, as two processes have.
        let second = Store::open(&database.url).await.unwrap();
        let mut numbers = at_once(40, |number| {
            let store = if number % 2 == 0 {
                database.store.clone()
            } else {
                second.clone()
            };
            async move { deploy(&store, shop.id).await.0.number }
        })
        .await;
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
        second.close().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lines_and_changes_written_at_once_lose_nothing() {
    on_each_database(|database| async move {
        let store = database.store;
        let task = task(project("shop").id, None);
        store.task_insert(&task).await.unwrap();
        at_once(20, |writer| {
            let store = store.clone();
            async move {
                for number in 0..5 {
                    let lines: Vec<_> = (0..9)
                        .map(|it| (LineKind::Output, format!("{writer} {number} {it}")))
                        .collect();
                    store.task_lines_append(task.id, 1, &lines).await.unwrap();
                    store.change_insert(1, "shop", None, "x", "y").await.unwrap();
                }
            }
        })
        .await;
        let lines = store.task_lines(task.id, 0, i64::MAX).await.unwrap();
        let sequences: Vec<i64> = lines.iter().map(|line| line.sequence).collect();
        assert_eq!(sequences, (1..=900).collect::<Vec<_>>());
        // The lines of one call stand together.
        for chunk in lines.chunks(9) {
            let call = |line: &weir_model::task::TaskLine| line.text.rsplit_once(' ').unwrap().0.to_owned();
            assert!(chunk.iter().all(|line| call(line) == call(&chunk[0])));
        }
        let changes = store.change_list(0, i64::MAX).await.unwrap();
        assert_eq!(
            changes.iter().map(|it| it.sequence).collect::<Vec<_>>(),
            (1..=100).collect::<Vec<_>>()
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_follows_the_changes_misses_none() {
    on_each_database(|database| async move {
        let store = database.store;
        let follower = tokio::spawn({
            let store = store.clone();
            async move {
                let mut seen = Vec::new();
                while seen.len() < 60 {
                    let after = seen.last().copied().unwrap_or(0);
                    seen.extend(store.change_list(after, 7).await.unwrap().iter().map(|it| it.sequence));
                    tokio::task::yield_now().await;
                }
                seen
            }
        });
        at_once(12, |_| {
            let store = store.clone();
            async move {
                for _ in 0..5 {
                    store.change_insert(1, "shop", None, "x", "y").await.unwrap();
                }
            }
        })
        .await;
        let seen = tokio::time::timeout(Duration::from_secs(60), follower)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(seen, (1..=60).collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_want_the_same_one_gets_it() {
    on_each_database(|database| async move {
        let store = database.store;
        let created = at_once(12, |_| {
            let store = store.clone();
            async move {
                let project = project("shop");
                let production = environment(project.id, "production", Some("main"));
                let domains = [
                    domain(production.id, "b.localhost"),
                    domain(production.id, "a.localhost"),
                ];
                store.project_insert(&project, &production, &domains).await.is_ok()
            }
        })
        .await;
        assert_eq!(created.iter().filter(|ok| **ok).count(), 1);
        let begun = at_once(12, |_| {
            let store = store.clone();
            async move { store.idempotency_begin("t", "k", "a", 1).await.unwrap() }
        })
        .await;
        assert_eq!(begun.iter().filter(|it| **it == Idempotency::New).count(), 1);
        assert_eq!(begun.iter().filter(|it| **it == Idempotency::InProgress).count(), 11);
        let task = task(project("shop").id, None);
        store.task_insert(&task).await.unwrap();
        let ended = at_once(12, |_| {
            let store = store.clone();
            async move { store.task_end(task.id, TaskState::Done, None, 1).await.unwrap() }
        })
        .await;
        assert_eq!(ended.iter().filter(|ok| **ok).count(), 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_at_once_neither_deadlocks_nor_tears() {
    on_each_database(|database| async move {
        let store = database.store;
        let (shop, production) = house(&store, "shop").await;
        let (kept, _) = deploy(&store, production.id).await;
        at_once(24, |number| {
            let (store, kept) = (store.clone(), kept.clone());
            async move {
                for round in 0..5 {
                    match number % 6 {
                        0 => drop(store.release_insert(&release(production.id), None).await.unwrap()),
                        1 => {
                            let set = [variable("A", "1"), variable("B", "2")];
                            store.variables_update(production.id, &set, &[]).await.unwrap();
                        }
                        2 => {
                            let name = format!("preview-{number}-{round}");
                            let preview = environment(shop.id, &name, None);
                            let host = format!("{name}.localhost");
                            store
                                .environment_insert(&preview, &[domain(preview.id, &host)])
                                .await
                                .unwrap();
                            deploy(&store, preview.id).await;
                            store.environment_delete(preview.id).await.unwrap();
                        }
                        3 => store.deployment_insert(&deployment(&kept)).await.unwrap(),
                        4 => {
                            for release in store.release_list_prunable(production.id, 2).await.unwrap() {
                                store.release_delete(release.id).await.unwrap();
                            }
                        }
                        _ => drop(store.environment_list_all().await.unwrap()),
                    }
                }
            }
        })
        .await;
        let production = store.environment_by_id(production.id).await.unwrap().unwrap();
        assert_eq!(production.configuration_version, 20);
        assert_eq!(store.environment_list(shop.id).await.unwrap().len(), 1);
        assert_eq!(
            store.deployment_list_in_progress(production.id).await.unwrap().len(),
            21
        );
        assert_eq!(store.release_insert(&release(production.id), None).await.unwrap(), 22);
        assert!(store.release_by_id(kept.id).await.unwrap().is_some());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_project_that_goes_while_it_is_used_goes_whole() {
    on_each_database(|database| async move {
        let store = database.store;
        for _ in 0..5 {
            let (shop, production) = house(&store, "shop").await;
            at_once(9, |number| {
                let store = store.clone();
                async move {
                    match number {
                        4 => store.project_delete(shop.id).await.unwrap(),
                        // The project may be gone; then these say so, and leave nothing.
                        0 | 5 => drop(store.release_insert(&release(production.id), None).await),
                        1 | 6 => drop(store.variables_update(production.id, &[variable("A", "1")], &[]).await),
                        2 | 7 => {
                            let staging = environment(shop.id, &format!("staging-{number}"), None);
                            drop(store.environment_insert(&staging, &[]).await);
                        }
                        _ => drop(
                            store
                                .domain_insert(&domain(production.id, &format!("{number}.localhost")))
                                .await,
                        ),
                    }
                }
            })
            .await;
            assert_eq!(store.project_list().await.unwrap(), []);
            assert_eq!(store.environment_list_all().await.unwrap(), []);
            assert_eq!(store.domain_list_all().await.unwrap(), []);
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_caller_who_gives_up_leaves_the_store_usable() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, shop) = house(&store, "shop").await;
        for micros in 0..150 {
            let giving_up = deploy(&store, shop.id);
            let _ = tokio::time::timeout(Duration::from_micros(micros * 20), giving_up).await;
        }
        // What the last one was just writing when it gave up may become durable still; this one follows it.
        deploy(&store, shop.id).await;
        let numbers: Vec<i64> = store
            .release_list(shop.id, i64::MAX)
            .await
            .unwrap()
            .iter()
            .map(|it| it.number)
            .collect();
        let count = i64::try_from(numbers.len()).unwrap();
        assert_eq!(numbers, (1..=count).rev().collect::<Vec<_>>());
        assert_eq!(deploy(&store, shop.id).await.0.number, count + 1);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_do_not_wait_for_a_writer() {
    on_each_database(|database| async move {
        let store = database.store.clone();
        let (shop, _) = house(&store, "shop").await;
        let mut other = crate::database::look(&database).await;
        // Somebody else, another process even, is in the middle of a long transaction.
        let begin = if database.kind == Kind::Sqlite {
            "BEGIN IMMEDIATE"
        } else {
            "BEGIN"
        };
        sqlx::raw_sql(begin).execute(&mut other).await.unwrap();
        sqlx::raw_sql("UPDATE projects SET destroying = 1")
            .execute(&mut other)
            .await
            .unwrap();
        let read = tokio::time::timeout(Duration::from_secs(2), store.project_by_id(shop.id)).await;
        assert!(!read.unwrap().unwrap().unwrap().destroying);
        // A writer waits until it is over.
        let waiting = tokio::spawn({
            let store = store.clone();
            async move { store.project_mark_destroying(shop.id).await }
        });
        sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
        assert!(waiting.await.unwrap().unwrap());
    })
    .await;
}
