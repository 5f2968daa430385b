//! Projects, environments, and what belongs to them.

use weir_model::project::{EnvironmentMode, Scale};
use weir_model::{AppName, EnvironmentName, ProcessName, ProjectName, VariableName};
use weir_store::StoreError;

use crate::database::{look, on_each_database};
use crate::fixtures::{deploy, deployment, domain, environment, house, project, release, task, token, variable};

/// The words of a conflict; anything else fails the test.
fn conflict<T: std::fmt::Debug>(result: Result<T, StoreError>) -> (&'static str, String) {
    match result {
        Err(error @ StoreError::Conflict(_)) => {
            assert!(!error.retryable());
            let words = error.to_string();
            let StoreError::Conflict(taken) = error else {
                unreachable!()
            };
            (taken.constraint, words)
        }
        other => panic!("no conflict: {other:?}"),
    }
}

#[tokio::test]
async fn projects_and_environments_read_back_as_they_were_written() {
    on_each_database(|database| async move {
        let store = database.store;
        let (zoo, production) = house(&store, "zoo").await;
        let (shop, _) = house(&store, "shop").await;
        let staging = environment(zoo.id, "staging", None);
        store
            .environment_insert(&staging, &[domain(staging.id, "zoo-staging.localhost")])
            .await
            .unwrap();

        assert_eq!(store.project_by_id(zoo.id).await.unwrap().as_ref(), Some(&zoo));
        assert_eq!(store.project_by_name(&zoo.name).await.unwrap().as_ref(), Some(&zoo));
        assert_eq!(
            store.project_by_name(&ProjectName::new("none").unwrap()).await.unwrap(),
            None
        );
        assert_eq!(store.project_list().await.unwrap(), [shop, zoo.clone()]);
        let name = EnvironmentName::new("staging").unwrap();
        assert_eq!(
            store.environment_by_name(zoo.id, &name).await.unwrap().as_ref(),
            Some(&staging)
        );
        assert_eq!(
            store.environment_by_id(production.id).await.unwrap().as_ref(),
            Some(&production)
        );
        assert_eq!(store.environment_list(zoo.id).await.unwrap(), [production, staging]);
        assert_eq!(store.environment_list_all().await.unwrap().len(), 3);
        let hosts: Vec<String> = store
            .domain_list_all()
            .await
            .unwrap()
            .into_iter()
            .map(|it| it.host)
            .collect();
        assert_eq!(hosts, ["shop.localhost", "zoo-staging.localhost", "zoo.localhost"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_taken_is_said_in_words_and_nothing_is_left_behind() {
    on_each_database(|database| async move {
        let store = database.store;
        let (shop, production) = house(&store, "shop").await;

        let twin = project("shop");
        let twins = environment(twin.id, "production", Some("main"));
        let (constraint, words) = conflict(store.project_insert(&twin, &twins, &[]).await);
        assert_eq!(
            (constraint, words.as_str()),
            ("projects_name_unique", "there is a project shop already")
        );

        let other = project("other");
        let others = environment(other.id, "production", Some("main"));
        let domains = [
            domain(others.id, "other.localhost"),
            domain(others.id, "shop.localhost"),
        ];
        let (constraint, words) = conflict(store.project_insert(&other, &others, &domains).await);
        assert_eq!(
            (constraint, words.as_str()),
            ("domains_host_unique", "the host name shop.localhost is taken")
        );
        assert_eq!(store.project_by_id(other.id).await.unwrap(), None);
        assert_eq!(store.domain_list_all().await.unwrap().len(), 1);

        let again = environment(shop.id, "production", None);
        let (_, words) = conflict(store.environment_insert(&again, &[]).await);
        assert_eq!(words, "the project has an environment production already");
        let rival = environment(shop.id, "rival", Some("main"));
        let (_, words) = conflict(store.environment_insert(&rival, &[]).await);
        assert_eq!(
            words,
            "another environment of the project follows the branch main already"
        );
        let rival = environment(shop.id, "rival", None);
        store.environment_insert(&rival, &[]).await.unwrap();
        let (constraint, words) = conflict(store.environment_set_branch(rival.id, Some("main")).await);
        assert_eq!(constraint, "environments_branch_unique");
        assert_eq!(
            words,
            "another environment of the project follows the branch main already"
        );
        // Any number of environments follow no branch; a branch that was given up is free.
        store.environment_set_branch(production.id, None).await.unwrap();
        store.environment_set_branch(rival.id, Some("main")).await.unwrap();

        let (_, words) = conflict(store.domain_insert(&domain(rival.id, "shop.localhost")).await);
        assert_eq!(words, "the host name shop.localhost is taken");
        assert!(store.domain_delete(production.id, "shop.localhost").await.unwrap());
        assert!(!store.domain_delete(production.id, "shop.localhost").await.unwrap());
        store.domain_insert(&domain(rival.id, "shop.localhost")).await.unwrap();

        store.token_insert(&token("aa", None)).await.unwrap();
        let (constraint, _) = conflict(store.token_insert(&token("aa", None)).await);
        assert_eq!(constraint, "tokens_secret_unique");
    })
    .await;
}

#[tokio::test]
async fn what_belongs_to_nothing_is_refused_and_says_what_is_missing() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, production) = house(&store, "shop").await;
        let nowhere = environment(project("ghost").id, "production", None);
        let missing = |error: StoreError| matches!(&error, StoreError::NotFound(_)).then(|| error.to_string());

        let text = missing(store.environment_insert(&nowhere, &[]).await.unwrap_err()).unwrap();
        assert_eq!(text, format!("the project {} does not exist", nowhere.project));
        let text = missing(
            store
                .domain_insert(&domain(nowhere.id, "a.localhost"))
                .await
                .unwrap_err(),
        )
        .unwrap();
        assert_eq!(text, format!("the environment {} does not exist", nowhere.id));
        assert!(missing(store.release_insert(&release(nowhere.id), None).await.unwrap_err()).is_some());
        let unwritten = deployment(&release(production.id));
        assert!(missing(store.deployment_insert(&unwritten).await.unwrap_err()).is_some());
        assert!(missing(store.variables_update(nowhere.id, &[], &[]).await.unwrap_err()).is_some());
        assert!(missing(store.scale_set(nowhere.id, &[]).await.unwrap_err()).is_some());
        assert!(missing(store.environment_set_branch(nowhere.id, None).await.unwrap_err()).is_some());
        assert!(
            missing(
                store
                    .token_insert(&token("aa", Some(nowhere.project)))
                    .await
                    .unwrap_err()
            )
            .is_some()
        );
        assert!(missing(store.project_mark_destroying(nowhere.project).await.unwrap_err()).is_some());
    })
    .await;
}

#[tokio::test]
async fn a_mode_changes_only_from_the_modes_that_were_expected() {
    use EnvironmentMode::{Active, Destroying, Paused};
    on_each_database(|database| async move {
        let store = database.store;
        let (_, production) = house(&store, "shop").await;
        let id = production.id;
        assert!(!store.environment_set_mode(id, &[Paused], Active).await.unwrap());
        assert!(!store.environment_set_mode(id, &[], Active).await.unwrap());
        assert!(store.environment_set_mode(id, &[Active], Paused).await.unwrap());
        assert!(!store.environment_set_mode(id, &[Active], Paused).await.unwrap());
        assert!(
            store
                .environment_set_mode(id, &[Active, Paused], Destroying)
                .await
                .unwrap()
        );
        assert!(!store.environment_set_mode(id, &[Active, Paused], Active).await.unwrap());
        assert_eq!(store.environment_by_id(id).await.unwrap().unwrap().mode, Destroying);
    })
    .await;
}

#[tokio::test]
async fn variables_change_together_and_count_the_version() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, production) = house(&store, "shop").await;
        let id = production.id;
        let set = [variable("B", "1"), variable("A", "'; DROP TABLE variables; --")];
        assert_eq!(store.variables_update(id, &set, &[]).await.unwrap(), 1);
        assert_eq!(store.variable_list(id).await.unwrap(), [set[1].clone(), set[0].clone()]);
        let newer = variable("B", "2");
        let unset = [VariableName::new("A").unwrap(), VariableName::new("NEVER").unwrap()];
        assert_eq!(
            store
                .variables_update(id, std::slice::from_ref(&newer), &unset)
                .await
                .unwrap(),
            2
        );
        assert_eq!(store.variable_list(id).await.unwrap(), [newer]);
        assert_eq!(
            store
                .environment_by_id(id)
                .await
                .unwrap()
                .unwrap()
                .configuration_version,
            2
        );
    })
    .await;
}

#[tokio::test]
async fn scale_of_one_process_leaves_the_others() {
    on_each_database(|database| async move {
        let store = database.store;
        let (_, production) = house(&store, "shop").await;
        let scale = |process: &str, instances| Scale {
            app: AppName::new("web").unwrap(),
            process: ProcessName::new(process).unwrap(),
            instances,
            most: (process == "web").then_some(instances + 2),
        };
        store
            .scale_set(production.id, &[scale("worker", 0), scale("web", 3)])
            .await
            .unwrap();
        store.scale_set(production.id, &[scale("web", 100)]).await.unwrap();
        assert_eq!(
            store.scale_list(production.id).await.unwrap(),
            [scale("web", 100), scale("worker", 0)]
        );
    })
    .await;
}

#[tokio::test]
async fn tokens_are_found_by_the_hash_of_their_secret() {
    on_each_database(|database| async move {
        let store = database.store;
        let (shop, _) = house(&store, "shop").await;
        let (all, one) = (token("aa", None), token("bb", Some(shop.id)));
        store.token_insert(&all).await.unwrap();
        store.token_insert(&one).await.unwrap();
        assert_eq!(store.token_list().await.unwrap(), [all.clone(), one.clone()]);
        assert_eq!(store.token_by_secret_sha256("bb").await.unwrap(), Some(one));
        assert_eq!(store.token_by_secret_sha256("").await.unwrap(), None);
        assert!(store.token_delete(all.id).await.unwrap());
        assert!(!store.token_delete(all.id).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn destroying_a_project_removes_all_below_it_but_its_tasks() {
    on_each_database(|database| async move {
        let store = database.store.clone();
        let (shop, production) = house(&store, "shop").await;
        let (zoo, zoo_production) = house(&store, "zoo").await;
        for environment in [&production, &zoo_production] {
            deploy(&store, environment.id).await;
            store
                .variables_update(environment.id, &[variable("KEY", "1")], &[])
                .await
                .unwrap();
            let scale = Scale {
                app: AppName::new("web").unwrap(),
                process: ProcessName::web(),
                instances: 2,
                most: None,
            };
            store.scale_set(environment.id, &[scale]).await.unwrap();
        }
        store.token_insert(&token("aa", Some(shop.id))).await.unwrap();
        store.token_insert(&token("bb", None)).await.unwrap();
        store.token_insert(&token("cc", Some(zoo.id))).await.unwrap();
        let destroy = task(shop.id, Some(production.id));
        store.task_insert(&destroy).await.unwrap();

        assert!(store.project_mark_destroying(shop.id).await.unwrap());
        assert!(!store.project_mark_destroying(shop.id).await.unwrap());
        assert!(store.project_by_id(shop.id).await.unwrap().unwrap().destroying);
        let (_, words) = conflict(store.environment_insert(&environment(shop.id, "late", None), &[]).await);
        assert_eq!(words, "the project shop is being destroyed");

        store.project_delete(shop.id).await.unwrap();
        store.project_delete(shop.id).await.unwrap();
        assert_eq!(store.project_list().await.unwrap(), [zoo]);
        assert_eq!(store.token_list().await.unwrap().len(), 2);
        assert_eq!(store.task_by_id(destroy.id).await.unwrap(), Some(destroy.clone()));
        assert_eq!(
            store.task_project_name(destroy.id).await.unwrap().as_deref(),
            Some("shop")
        );
        // Of what both had, one is left.
        let mut connection = look(&database).await;
        for table in [
            "environments",
            "variables",
            "scales",
            "domains",
            "releases",
            "deployments",
        ] {
            let statement = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
            let count: i64 = sqlx::query_scalar(statement).fetch_one(&mut connection).await.unwrap();
            assert_eq!(count, 1, "in {table}");
        }
        // The name and the host name are free again.
        house(&store, "shop").await;
    })
    .await;
}

#[tokio::test]
async fn destroying_an_environment_leaves_the_project() {
    on_each_database(|database| async move {
        let store = database.store;
        let (shop, production) = house(&store, "shop").await;
        let staging = environment(shop.id, "staging", None);
        store
            .environment_insert(&staging, &[domain(staging.id, "shop-staging.localhost")])
            .await
            .unwrap();
        let (gone, _) = deploy(&store, staging.id).await;
        let (kept, _) = deploy(&store, production.id).await;
        store.environment_delete(staging.id).await.unwrap();
        store.environment_delete(staging.id).await.unwrap();
        assert_eq!(store.environment_list(shop.id).await.unwrap().len(), 1);
        assert_eq!(store.release_by_id(gone.id).await.unwrap(), None);
        assert!(store.release_by_id(kept.id).await.unwrap().is_some());
        assert_eq!(store.domain_list_all().await.unwrap().len(), 1);
    })
    .await;
}
