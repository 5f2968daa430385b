//! Projects, variables, scale, domains and tokens over HTTP; errors, idempotency, secrets.

use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::api;
use weir_model::project::EnvironmentMode;
use weir_model::task::{TaskKind, TaskState};

use crate::harness::{Control, answer, config};

const PRODUCTION: &str = "/v1/projects/shop/environments/production";

fn assert_problem(status: StatusCode, body: &Value, wanted: u16, kind: &str) {
    assert_eq!(
        (status.as_u16(), body["type"].as_str(), body["status"].as_u64()),
        (wanted, Some(kind), Some(u64::from(wanted))),
        "{body}"
    );
    assert!(body["title"].as_str().is_some_and(|title| !title.is_empty()), "{body}");
}

#[tokio::test]
async fn pages_are_for_browsers_and_hide_no_error_of_the_api() {
    let control = Control::start().await;
    let ask = async |method: Method, path: &str, accept: &str| {
        let request = control.request(method, path).header("accept", accept);
        request.send().await.unwrap()
    };
    let kind = |response: &reqwest::Response| response.headers()["content-type"].to_str().unwrap().to_owned();
    let page = ask(Method::GET, "/", "text/html").await;
    assert_eq!(kind(&page), "text/html; charset=utf-8");
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let built = weir_control::console::is_built();
    assert_eq!(
        page.status(),
        if built { StatusCode::OK } else { StatusCode::NOT_FOUND }
    );
    assert!(page.text().await.unwrap().starts_with("<!doctype html>"));
    let head = ask(Method::HEAD, "/", "*/*").await;
    assert!(
        head.headers()["content-length"]
            .to_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
            > 0
    );
    assert_eq!(head.text().await.unwrap(), "");
    for (method, path, accept) in [
        (Method::GET, "/projects/shop", "application/json"),
        (Method::GET, "/v1/nothing", "text/html"),
        (Method::GET, "/assets/past.js", "text/html"),
        (Method::POST, "/sign-in", "text/html"),
    ] {
        let response = ask(method, path, accept).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert_eq!(kind(&response), "application/problem+json", "{path}");
    }
    let health = ask(Method::GET, "/v1/health", "*/*").await;
    assert_eq!(health.headers()["x-content-type-options"], "nosniff");
    assert_eq!(health.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn problems_say_what_is_wrong() {
    let control = Control::start().await;
    control.project("shop").await;
    let (status, body) = control.call(Method::GET, "/v2/nothing", None).await;
    assert_problem(status, &body, 404, "no-such-path");
    let (status, body) = control.call(Method::DELETE, "/v1/projects", None).await;
    assert_problem(status, &body, 405, "method-not-allowed");
    let (status, body) = control.call(Method::GET, "/v1/projects/nope", None).await;
    assert_problem(status, &body, 404, "project-not-found");
    assert!(body["hint"].as_str().unwrap().contains("weir project"));
    let (status, body) = control
        .call(Method::GET, "/v1/projects/shop/environments/nope", None)
        .await;
    assert_problem(status, &body, 404, "environment-not-found");
    let (status, body) = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": "a", "colour": 1})))
        .await;
    assert_problem(status, &body, 422, "invalid-input");
    assert!(body["detail"].as_str().unwrap().contains("colour"));
    let (status, body) = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": 7})))
        .await;
    assert_problem(status, &body, 422, "invalid-input");
    let (status, body) = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": "Not A Name"})))
        .await;
    assert_problem(status, &body, 422, "invalid-input");
    let (status, body) = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": "shop"})))
        .await;
    assert_problem(status, &body, 409, "name-taken");
    // Roles for it would be roles for everything.
    let (status, body) = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": "weir"})))
        .await;
    assert_problem(status, &body, 422, "invalid-input");
    let raw = |content_type: &'static str, body: &'static str| {
        answer(
            control
                .as_admin(Method::POST, "/v1/projects")
                .header("content-type", content_type)
                .body(body),
        )
    };
    let (status, body) = raw("application/json", "{").await;
    assert_problem(status, &body, 400, "bad-json");
    let (status, body) = raw("text/plain", "{\"name\":\"a\"}").await;
    assert_problem(status, &body, 415, "not-json");
    let (status, body) = control.call(Method::GET, "/v1/tasks?limit=x", None).await;
    assert_problem(status, &body, 400, "bad-query");
    let huge = json!({"name": "a".repeat(5 << 20)});
    let (status, body) = control.call(Method::POST, "/v1/projects", Some(huge)).await;
    assert_problem(status, &body, 413, "too-large");
    let response = control.request(Method::GET, "/v1/projects").send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    assert!(
        response
            .headers()
            .get_all("www-authenticate")
            .iter()
            .any(|value| value.to_str().unwrap().starts_with("Basic"))
    );
}

#[tokio::test]
async fn tokens_work_as_bearer_and_password_and_end() {
    let control = Control::start().await;
    let token = control.token("read", None).await;
    assert!(token.starts_with("weir_") && token.len() == 48);
    let basic = control
        .request(Method::GET, "/v1/whoami")
        .basic_auth("weir", Some(&token));
    let (status, who) = answer(basic).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        (&who["token"], &who["kind"], &who["scope"]),
        (&json!("read token"), &json!("token"), &json!("read"))
    );
    let permissions = json!(["know", "see", "see-money"]);
    assert_eq!(
        who["rights"],
        json!([{"scope": "weir", "role": "read token", "permissions": permissions}])
    );
    let wrong_user = control
        .request(Method::GET, "/v1/whoami")
        .basic_auth("root", Some(&token));
    assert_eq!(answer(wrong_user).await.0, StatusCode::UNAUTHORIZED);
    let (_, list) = control.call(Method::GET, "/v1/tokens", None).await;
    assert!(
        list.as_array()
            .unwrap()
            .iter()
            .all(|token| token.get("secret").is_none())
    );
    let id = |name: &str| {
        list.as_array()
            .unwrap()
            .iter()
            .find(|token| token["name"] == name)
            .unwrap()["id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let (status, _) = control
        .call(Method::DELETE, &format!("/v1/tokens/{}", id("read token")), None)
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        answer(control.request(Method::GET, "/v1/whoami").bearer_auth(&token))
            .await
            .0,
        StatusCode::UNAUTHORIZED
    );
    let (status, body) = control
        .call(Method::DELETE, &format!("/v1/tokens/{}", id("admin")), None)
        .await;
    assert_problem(status, &body, 409, "admin-token");
    for _ in 0..30 {
        control
            .request(Method::GET, "/v1/whoami")
            .bearer_auth("weir_wrong")
            .send()
            .await
            .unwrap();
    }
    let (status, body) = answer(control.request(Method::GET, "/v1/whoami").bearer_auth("weir_wrong")).await;
    assert_problem(status, &body, 429, "too-many-failures");
    assert_eq!(
        control.call(Method::GET, "/v1/whoami", None).await.0,
        StatusCode::OK,
        "a right token is never locked out"
    );
}

#[tokio::test]
async fn pages_of_other_origins_change_nothing() {
    let control = Control::start().await;
    let request = |origin: &str| {
        control
            .as_admin(Method::POST, "/v1/projects")
            .header("origin", origin)
            .json(&json!({"name": "shop"}))
    };
    let (status, body) = answer(request("http://evil.example")).await;
    assert_problem(status, &body, 403, "cross-origin");
    assert_eq!(answer(request(&control.address)).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn a_repeated_request_is_done_once() {
    let control = Control::start().await;
    let send = |key: &'static str, name: &'static str| {
        control
            .as_admin(Method::POST, "/v1/projects")
            .header("idempotency-key", key)
            .json(&json!({"name": name}))
            .send()
    };
    let first = send("one", "shop").await.unwrap();
    assert_eq!(first.status(), StatusCode::CREATED);
    let first = first.text().await.unwrap();
    let again = send("one", "shop").await.unwrap();
    assert_eq!(again.status(), StatusCode::CREATED);
    assert_eq!(again.headers()["idempotency-replayed"], "true");
    assert_eq!(again.text().await.unwrap(), first);
    let mismatch = send("one", "shoe").await.unwrap();
    assert_eq!(mismatch.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("two", "shop").await.unwrap().status(), StatusCode::CONFLICT);
    let body = json!({"name": "later"}).to_string();
    let fingerprint = control
        .context
        .sealer
        .fingerprint(&[b"POST", b"/v1/projects", body.as_bytes()]);
    let (_, tokens) = control.call(Method::GET, "/v1/tokens", None).await;
    let admin = tokens[0]["id"].as_str().unwrap();
    control
        .context
        .store
        .idempotency_begin(admin, "busy", &fingerprint, 1)
        .await
        .unwrap();
    let busy = send("busy", "later").await.unwrap();
    assert_eq!(
        (busy.status(), busy.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::CONFLICT, "1")
    );
    let token = control
        .as_admin(Method::POST, "/v1/tokens")
        .header("idempotency-key", "three")
        .json(&json!({"name": "ci", "scope": "read"}));
    let (_, token) = answer(token).await;
    assert_nowhere(&control, token["secret"].as_str().unwrap());
}

/// Looks through every file of the data folder except the admin token's.
fn assert_nowhere(control: &Control, secret: &str) {
    let mut folders = vec![control.folder.path().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{} holds the secret", path.display());
        }
    }
}

#[tokio::test]
async fn the_value_of_a_secret_never_comes_out() {
    let control = Control::start().await;
    control.project("shop").await;
    let value = "hunter2-very-secret";
    let path = format!("{PRODUCTION}/variables");
    let body = json!({"set": {"API_KEY": {"value": value, "secret": true}, "PLAIN": {"value": "seen", "build": true}}});
    let request = control
        .as_admin(Method::PATCH, &path)
        .header("idempotency-key", "k")
        .json(&body);
    let (status, body) = answer(request).await;
    assert_eq!(
        (status, body.get("task")),
        (StatusCode::OK, None),
        "nothing is live yet: {body}"
    );
    let (_, variables) = control.call(Method::GET, &path, None).await;
    let key = &variables.as_array().unwrap()[0];
    assert_eq!(
        (key["name"].as_str(), key["secret"].as_bool(), key.get("value")),
        (Some("API_KEY"), Some(true), None)
    );
    assert_eq!(variables.as_array().unwrap()[1]["value"], "seen");
    for path in [
        &path,
        PRODUCTION,
        "/v1/projects",
        "/v1/tasks",
        &format!("{PRODUCTION}/releases"),
        &format!("{PRODUCTION}/logs"),
    ] {
        let text = control
            .as_admin(Method::GET, path)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        assert!(!text.contains(value), "{path}");
    }
    assert_nowhere(&control, value);
    let environment = control
        .production(&control.context.store.project_list().await.unwrap()[0])
        .await;
    let kept = control.context.store.variable_list(environment.id).await.unwrap();
    assert_eq!(
        control
            .context
            .sealer
            .value_of(environment.id, &kept[0])
            .unwrap()
            .expose(),
        value
    );
}

#[tokio::test]
async fn variables_are_changed_all_or_none() {
    let control = Control::start().await;
    control.project("shop").await;
    let path = format!("{PRODUCTION}/variables");
    let patch = |body: Value| control.call(Method::PATCH, &path, Some(body));
    let bad = json!({"set": {"GOOD": {"value": "1"}, "PORT": {"value": "1"}, "NUL": {"value": "a\u{0}b"}}, "unset": ["MISSING", "GOOD"]});
    let (status, body) = patch(bad).await;
    assert_problem(status, &body, 422, "invalid-input");
    let detail = body["detail"].as_str().unwrap();
    for word in ["PORT", "NUL", "MISSING is not set", "GOOD is both set and unset"] {
        assert!(detail.contains(word), "{detail}");
    }
    assert_eq!(control.call(Method::GET, &path, None).await.1, json!([]));
    assert_problem_kind(patch(json!({})).await, "invalid-input");
    assert_problem_kind(
        patch(json!({"set": {"A": {"value": "x".repeat(65_537)}}})).await,
        "invalid-input",
    );
    assert_eq!(patch(json!({"set": {"A": {"value": "1"}}})).await.0, StatusCode::OK);
    let (_, body) = patch(json!({"set": {"A": {"value": "1"}}})).await;
    assert!(body["message"].as_str().unwrap().contains("nothing changed"), "{body}");
    assert_eq!(patch(json!({"unset": ["A"]})).await.0, StatusCode::OK);
    assert_eq!(control.call(Method::GET, &path, None).await.1, json!([]));
}

fn assert_problem_kind((status, body): (StatusCode, Value), kind: &str) {
    assert_problem(status, &body, status.as_u16(), kind);
}

#[tokio::test]
async fn variables_of_a_live_environment_make_one_release() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let path = format!("{PRODUCTION}/variables");
    let waiting = json!({"set": {"A": {"value": "1"}}, "no_deploy": true});
    assert_eq!(
        control.call(Method::PATCH, &path, Some(waiting)).await.1.get("task"),
        None
    );
    assert_eq!(control.call(Method::GET, &path, None).await.1[0]["live"], false);
    let (status, body) = control
        .call(
            Method::PATCH,
            &path,
            Some(json!({"set": {"B": {"value": "2", "secret": true}, "C": {"value": "3"}}})),
        )
        .await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let (_, releases) = control.call(Method::GET, &format!("{PRODUCTION}/releases"), None).await;
    assert_eq!(releases.as_array().unwrap().len(), 2, "{releases}");
    assert_eq!(
        (
            releases[0]["number"].as_i64(),
            releases[0]["source"].as_str(),
            releases[0]["live"].as_bool()
        ),
        (Some(2), Some("configuration"), Some(false))
    );
    assert_eq!(releases[1]["live"], true);
    let (_, deployments) = control
        .call(Method::GET, &format!("{PRODUCTION}/deployments"), None)
        .await;
    assert_eq!(
        (deployments[0]["release"].as_i64(), deployments[0]["state"].as_str()),
        (Some(2), Some("pending"))
    );
    assert_eq!(deployments[0]["task"], body["task"]);
    let (_, status) = control.call(Method::GET, PRODUCTION, None).await;
    assert_eq!(
        (status["health"].as_str(), status["deployment"]["release"].as_i64()),
        (Some("deploying"), Some(2)),
        "{status}"
    );
    let unknown = json!({"kind": "explode"});
    assert_problem_kind(
        control
            .call(Method::POST, &format!("{PRODUCTION}/deployments"), Some(unknown))
            .await,
        "invalid-input",
    );
    let rollback = json!({"kind": "rollback", "release": 77});
    assert_problem_kind(
        control
            .call(Method::POST, &format!("{PRODUCTION}/deployments"), Some(rollback))
            .await,
        "cannot-deploy",
    );
}

#[tokio::test]
async fn hosts_belong_to_one_environment() {
    let control = Control::start().await;
    control.project("shop").await;
    let (status, body) = control
        .call(
            Method::POST,
            "/v1/projects/shop/environments",
            Some(json!({"name": "staging", "branch": "staging"})),
        )
        .await;
    assert_eq!(
        (status, body["url"].as_str()),
        (StatusCode::CREATED, Some("http://shop-staging.localhost:8080"))
    );
    let (status, body) = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": "shop-staging"})))
        .await;
    assert_problem(status, &body, 409, "host-taken");
    // Who makes a project may be a tenant beside the other one, so it is not said whose the host is.
    assert!(
        body["title"]
            .as_str()
            .unwrap()
            .ends_with("`shop-staging.localhost` is taken already"),
        "{body}"
    );
    let branch = json!({"name": "other", "branch": "staging"});
    assert_problem_kind(
        control
            .call(Method::POST, "/v1/projects/shop/environments", Some(branch))
            .await,
        "branch-taken",
    );
    let patch = |branch: &str| {
        control.call(
            Method::PATCH,
            "/v1/projects/shop/environments/staging",
            Some(json!({"branch": branch})),
        )
    };
    assert_problem_kind(patch("main").await, "branch-taken");
    assert_problem_kind(patch("a..b").await, "invalid-input");
    assert_eq!(patch("next").await.1["branch"], "next");
    let path = format!("{PRODUCTION}/domains");
    let add = |host: &str| control.call(Method::POST, &path, Some(json!({"host": host})));
    assert_eq!(add("WWW.Example.org").await.1["url"], "http://www.example.org:8080");
    assert_problem_kind(add("www.example.org.").await, "host-taken");
    for bad in ["shop2.localhost", "localhost", "a_b.org", "10.0.0.1", ""] {
        assert_problem_kind(add(bad).await, "invalid-input");
    }
    assert_eq!(add("api.shop.localhost").await.0, StatusCode::CREATED);
    let delete = async |host: &str| control.call(Method::DELETE, &format!("{path}/{host}"), None).await;
    assert_problem_kind(delete("shop.localhost").await, "domain-of-platform");
    assert_eq!(delete("www.example.org").await.0, StatusCode::NO_CONTENT);
    assert_problem_kind(delete("www.example.org").await, "domain-not-found");
}

#[tokio::test]
async fn scale_knows_processes_and_writers() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let put = |body: Value| {
        control.call(
            Method::PUT,
            "/v1/projects/shop/environments/production/scale",
            Some(json!({"processes": body})),
        )
    };
    assert_problem_kind(put(json!({"web": 2})).await, "nothing-deployed");
    control.live(&shop).await;
    let (status, body) = put(json!({"web": 3, "shop.worker": 0})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let task = body["task"].as_str().unwrap().to_owned();
    assert_eq!(
        control.call(Method::GET, &format!("/v1/tasks/{task}"), None).await.1["kind"],
        "scale"
    );
    let (status, body) = put(json!({"web": 3})).await;
    assert_eq!((status, body.get("task")), (StatusCode::OK, None));
    for bad in [
        json!({}),
        json!({"nope": 1}),
        json!({"web": 101}),
        json!({"store": 2}),
        json!({"web": 1, "shop.web": 1}),
        json!({"web": -1}),
    ] {
        assert_problem_kind(put(bad).await, "invalid-input");
    }
    let (_, status) = control.call(Method::GET, PRODUCTION, None).await;
    let processes = status["processes"].as_array().unwrap();
    let wanted = |name: &str| processes.iter().find(|process| process["process"] == name).unwrap()["wanted"].as_u64();
    assert_eq!(
        (wanted("web"), wanted("worker"), wanted("store")),
        (Some(3), Some(0), Some(1))
    );
}

#[tokio::test]
async fn pause_and_destroy_are_written_down_and_answered_with_a_task() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let (status, body) = control.call(Method::POST, &format!("{PRODUCTION}/pause"), None).await;
    assert_eq!((status, body["task"].is_string()), (StatusCode::ACCEPTED, true));
    assert_eq!(
        control.call(Method::POST, &format!("{PRODUCTION}/pause"), None).await.0,
        StatusCode::OK
    );
    assert_eq!(control.production(&shop).await.mode, EnvironmentMode::Paused);
    assert_eq!(control.call(Method::GET, PRODUCTION, None).await.1["health"], "paused");
    assert_eq!(
        control
            .call(Method::POST, &format!("{PRODUCTION}/resume"), None)
            .await
            .0,
        StatusCode::ACCEPTED
    );
    assert_problem_kind(control.call(Method::DELETE, PRODUCTION, None).await, "production-stays");
    let (_, first) = control.call(Method::DELETE, "/v1/projects/shop", None).await;
    let (_, again) = control.call(Method::DELETE, "/v1/projects/shop", None).await;
    assert_eq!(first["task"], again["task"], "asked again, it is the same task");
    assert_problem_kind(
        control.call(Method::POST, &format!("{PRODUCTION}/resume"), None).await,
        "being-destroyed",
    );
    let project = control.context.store.project_by_id(shop.id).await.unwrap().unwrap();
    weir_control::projects::finish_destroy(&control.context, &project)
        .await
        .unwrap();
    assert_eq!(
        control.call(Method::GET, "/v1/projects/shop", None).await.0,
        StatusCode::NOT_FOUND
    );
    let (_, task) = control
        .call(
            Method::GET,
            &format!("/v1/tasks/{}", first["task"].as_str().unwrap()),
            None,
        )
        .await;
    assert_eq!(task["state"], "done", "{task}");
    assert!(!control.context.config.repositories().join("shop.git").exists());
    control.project("shop").await;
}

#[tokio::test]
async fn a_build_that_control_left_behind_is_failed_at_the_next_start() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let environment = control.production(&shop).await;
    let tasks = &control.context.tasks;
    let task = tasks
        .create(TaskKind::Push, shop.id, Some(environment.id), "push")
        .await
        .unwrap();
    let pause = tasks
        .create(TaskKind::Pause, shop.id, Some(environment.id), "pause")
        .await
        .unwrap();
    tasks.step(task.id, "building").await;
    weir_control::projects::recover(&control.context).await.unwrap();
    let task = control.context.store.task_by_id(task.id).await.unwrap().unwrap();
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.error.unwrap().contains("push again"));
    let pause = control.context.store.task_by_id(pause.id).await.unwrap().unwrap();
    assert_eq!(pause.state, TaskState::Queued, "the reconciler goes on with it");
}

#[tokio::test]
async fn health_names_what_it_waits_for() {
    let control = Control::start().await;
    let response = control.request(Method::GET, "/v1/health").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body: Value = response.json().await.unwrap();
    assert_eq!(
        (body["status"].as_str(), body["parts"]["store"].as_str()),
        (Some("starting"), Some("ok"))
    );
    assert!(body["parts"]["node"].as_str().unwrap().contains("no node has reported"));
}

#[tokio::test]
async fn two_controls_do_not_share_a_folder_or_a_port() {
    let folder = tempfile::tempdir().unwrap();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = weir_control::Config {
        control: taken.local_addr().unwrap(),
        ..config(folder.path().to_owned())
    };
    let error = weir_control::serve(config.clone(), tokio_util::sync::CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    let file = std::fs::File::create(folder.path().join("lock")).unwrap();
    let _held = nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock).unwrap();
    let error = weir_control::serve(config, tokio_util::sync::CancellationToken::new())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("another Weir"), "{error}");
}

#[tokio::test]
async fn an_upload_that_is_no_source_fails_with_the_reason() {
    let control = Control::start().await;
    control.project("shop").await;
    let path = format!("{PRODUCTION}/source?message=first");
    let send = |body: &'static str| {
        answer(
            control
                .as_admin(Method::POST, &path)
                .header("idempotency-key", "up")
                .body(body),
        )
    };
    assert_problem_kind(send("").await, "invalid-input");
    let (status, body) = send("this is no tar archive").await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    assert_eq!(
        send("this is no tar archive").await.1,
        body,
        "a repeated upload is the same one"
    );
    assert_eq!(send("another one").await.0, StatusCode::UNPROCESSABLE_ENTITY);
    let id = body["task"].as_str().unwrap().parse().unwrap();
    let events: Vec<_> = tokio::time::timeout(
        std::time::Duration::from_secs(20),
        control.context.tasks.follow(id, 0).collect(),
    )
    .await
    .unwrap();
    let Some(weir_control::tasks::TaskEvent::End(task)) = events.last() else {
        panic!("{events:?}")
    };
    assert_eq!(task.state, TaskState::Failed, "{task:?}");
    let spool = api::spool_folder(&control.context.config);
    assert_eq!(std::fs::read_dir(spool).unwrap().count(), 0, "nothing of it stays");
}
