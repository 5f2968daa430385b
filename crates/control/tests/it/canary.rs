//! A canary from `git push -o canary=5` to its end: git, hooks, store, API and the reconciler are
//! real; instances are simulated.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_model::deployment::DeploymentState;
use weir_model::project::Scale;
use weir_model::{AppName, ProcessName};

use super::git_server::{Server, WorkingCopy, assert_said, wait_until};

const CANARY: &str = "/v1/projects/shop/environments/production/canary";

async fn ask(server: &Server, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    let request = reqwest::Client::new()
        .request(method, format!("http://{}{path}", server.address))
        .bearer_auth(&server.token);
    let request = match body {
        Some(body) => request.json(&body),
        None => request,
    };
    super::harness::answer(request).await
}

async fn ended(server: &Server, task: &Value) -> weir_model::task::TaskState {
    let task = task.as_str().unwrap().parse().unwrap();
    let state = async || server.context.store.task_by_id(task).await.unwrap().unwrap().state;
    for _ in 0..600 {
        let now = state().await;
        if now != weir_model::task::TaskState::Running && now != weir_model::task::TaskState::Queued {
            return now;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("the task does not end");
}

async fn newest_state(server: &Server) -> (DeploymentState, Option<String>) {
    let environment = server.environment("production").await;
    let newest = server.context.store.deployment_list(environment.id, 1).await.unwrap();
    (newest[0].state, newest[0].reason.clone())
}

/// Something serves, and a second commit is a canary.
async fn with_canary(server: &Server) -> (WorkingCopy, String, String) {
    let copy = server.working_copy("a", "good").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
    let first = copy.git(&["rev-parse", "HEAD"]).await;
    let second = copy.commit("good again").await;
    let (accepted, output) = copy.push(&["-o", "canary=5", "main"]).await;
    assert!(accepted, "{output}");
    assert_said(
        &output,
        &[
            "canary with 5 % of the requests, both releases together: at worst",
            "Release 2 is a canary and gets 5 % of the requests",
            "hint: See how it does: weir canary",
            "It is a canary and gets 5 % of the requests",
        ],
    );
    (copy, first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_pushed_widened_and_promoted() {
    let server = Server::start().await;
    let (_copy, first, second) = with_canary(&server).await;
    assert_eq!(server.live_commit("production").await.as_ref(), Some(&first));
    assert_eq!(server.branch("main").await.as_ref(), Some(&second));
    let (status, canary) = ask(&server, Method::GET, CANARY, None).await;
    assert_eq!(status, StatusCode::OK, "{canary}");
    assert_eq!((&canary["share"], &canary["promoted"]), (&json!("5 %"), &json!(false)));
    let releases = canary["releases"].as_array().unwrap();
    assert_eq!(
        (&releases[0]["release"], &releases[0]["canary"]),
        (&json!(1), &json!(false))
    );
    assert_eq!(
        (&releases[1]["release"], &releases[1]["canary"]),
        (&json!(2), &json!(true))
    );
    let widened = json!({"share": "25%", "header": "X-Canary: yes"});
    let (status, canary) = ask(&server, Method::PUT, CANARY, Some(widened)).await;
    assert_eq!((status, &canary["share"]), (StatusCode::OK, &json!("25 %")));
    assert_eq!(canary["header"], json!("x-canary: yes"));
    let (status, wrong) = ask(&server, Method::PUT, CANARY, Some(json!({"share": "much"}))).await;
    assert!(status.is_client_error(), "{wrong}");
    let (status, accepted) = ask(&server, Method::POST, &format!("{CANARY}/promote"), None).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{accepted}");
    assert_eq!(
        ended(&server, &accepted["task"]).await,
        weir_model::task::TaskState::Done
    );
    assert_eq!(server.live_commit("production").await.as_ref(), Some(&second));
    assert_eq!(newest_state(&server).await.0, DeploymentState::Live);
    assert_eq!(ask(&server, Method::GET, CANARY, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_is_given_up_or_ended_by_a_newer_push() {
    let server = Server::start().await;
    let (copy, first, _second) = with_canary(&server).await;
    assert_eq!(
        ask(&server, Method::DELETE, CANARY, None).await.0,
        StatusCode::NO_CONTENT
    );
    let (state, reason) = newest_state(&server).await;
    assert_eq!(
        (state, reason.as_deref()),
        (DeploymentState::Failed, Some("the canary was given up"))
    );
    assert_eq!(server.live_commit("production").await.as_ref(), Some(&first));
    let (status, again) = ask(&server, Method::DELETE, CANARY, None).await;
    assert_eq!(
        (status, again["type"].as_str()),
        (StatusCode::NOT_FOUND, Some("no-canary"))
    );
    copy.commit("good once more").await;
    assert!(copy.push(&["-o", "canary-header=X-Canary: yes", "main"]).await.0);
    assert_eq!(newest_state(&server).await.0, DeploymentState::Canary);
    let canary = server.environment("production").await;
    let canary = server
        .context
        .store
        .deployment_list(canary.id, 1)
        .await
        .unwrap()
        .remove(0);
    let newest = copy.commit("good at last").await;
    assert!(copy.push(&["main"]).await.0);
    assert_eq!(server.live_commit("production").await.as_ref(), Some(&newest));
    let state = server
        .context
        .store
        .deployment_by_id(canary.id)
        .await
        .unwrap()
        .unwrap()
        .state;
    assert_eq!(state, DeploymentState::Superseded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_beside_nothing_and_options_that_do_not_exist_are_refused() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    let (accepted, output) = copy.push(&["-o", "canary=5", "main"]).await;
    assert!(!accepted, "{output}");
    assert_said(
        &output,
        &["nothing serves in production yet", "deploy without it first"],
    );
    let (accepted, output) = copy.push(&["-o", "ci.skip", "main"]).await;
    assert!(!accepted, "{output}");
    assert_said(&output, &["a push has no option `ci.skip`", "git push -o canary=5"]);
    let (accepted, output) = copy.push(&["-o", "canary=0", "main"]).await;
    assert!(!accepted, "{output}");
    assert_said(&output, &["nobody would get a canary with 0%"]);
    assert_eq!(server.live_commit("production").await, None);
}

/// Who may pass under `/admin` by password, as the nodes are told; none where nobody is asked.
fn admins(server: &Server) -> Option<Vec<String>> {
    let snapshot = server.context.reconciler.snapshot();
    let mut hosts = snapshot.hosts.iter();
    let (_, host) = hosts.find(|(name, _)| name.starts_with("shop."))?;
    let layers = &host.protection.as_ref()?.layers;
    let access = layers
        .iter()
        .find(|layer| layer.path_prefix == "/admin")?
        .access
        .as_ref()?;
    Some(access.users.iter().flatten().map(|user| user.name.clone()).collect())
}

/// What a canary asks passwords for is asked for at once: it answers under the same host. Once it is
/// given up nothing is left of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_passwords_of_a_canary_are_in_force_as_long_as_it_is() {
    let server = Server::start().await;
    let production = server.environment("production").await.id;
    // The simulated instances answer no checks.
    let none = Scale {
        app: AppName::new("shop").unwrap(),
        process: ProcessName::web(),
        instances: 0,
        most: None,
    };
    server.context.store.scale_set(production, &[none]).await.unwrap();
    let copy = server.working_copy("a", "behaviour: web").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
    assert_eq!(admins(&server), None);
    copy.commit("behaviour: web closed").await;
    let (accepted, output) = copy.push(&["-o", "canary=5", "main"]).await;
    assert!(!accepted, "without the secret it is refused: {output}");
    assert_said(&output, &["/admin", "STAFF"]);
    let set = json!({"set": {"STAFF": {"value": "anna:geheim-und-lang", "secret": true}}, "no_deploy": true});
    let path = "/v1/projects/shop/environments/production/variables";
    let (status, told) = ask(&server, Method::PATCH, path, Some(set)).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    copy.commit("behaviour: web closed again").await;
    let (accepted, output) = copy.push(&["-o", "canary=5", "main"]).await;
    assert!(accepted, "{output}");
    assert_eq!(newest_state(&server).await.0, DeploymentState::Canary);
    wait_until("the password is asked for", || {
        admins(&server) == Some(vec!["anna".to_owned()])
    })
    .await;
    assert_eq!(
        ask(&server, Method::DELETE, CANARY, None).await.0,
        StatusCode::NO_CONTENT
    );
    wait_until("nobody is asked any more", || admins(&server).is_none()).await;
}
