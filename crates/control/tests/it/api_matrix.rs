//! Every endpoint with every kind of token, and in the description of the API.

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir_control::api::{self, Need};

use crate::harness::{Control, answer};

fn filled(path: &str) -> String {
    path.replace("{project}", "shop")
        .replace("{environment}", "production")
        .replace("{task}", "tsk_00000000000000000000000000")
        .replace("{token}", "tok_00000000000000000000000000")
        .replace("{host}", "www.example.org")
        .replace("{user}", "anna")
        .replace("{account}", "default")
        .replace("{version}", "1")
}

#[tokio::test]
async fn every_endpoint_asks_for_what_it_needs() {
    let control = Control::start().await;
    control.project("shop").await;
    control.project("other").await;
    let endpoints = api::build(control.context.clone()).1;
    assert!(endpoints.len() > 30);
    let tokens = [
        (Need::Open, None),
        (Need::Read, Some(control.token("read", None).await)),
        (Need::Deploy, Some(control.token("deploy", None).await)),
        (Need::Admin, Some(control.token("admin", None).await)),
    ];
    for endpoint in &endpoints {
        for (has, token) in &tokens {
            let allowed = *has >= endpoint.need;
            if allowed && endpoint.method == Method::DELETE {
                continue; // What it deletes is needed further on; tests of their own do this.
            }
            let mut request = control.request(endpoint.method.clone(), &filled(endpoint.path));
            if endpoint.method != Method::GET {
                request = request.json(&json!({"nonsense": true}));
            }
            if let Some(token) = token {
                request = request.bearer_auth(token);
            }
            // Events never end, so the body is left alone where all is well.
            let status = request.send().await.unwrap().status();
            let what = format!("{} {} with {has:?}: {status}", endpoint.method, endpoint.path);
            match (allowed, token) {
                (true, _) => assert!(!matches!(status.as_u16(), 401 | 403 | 405), "{what}"),
                (false, None) => assert_eq!(status, StatusCode::UNAUTHORIZED, "{what}"),
                (false, Some(_)) => assert_eq!(status, StatusCode::FORBIDDEN, "{what}"),
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_another_project_sees_nothing() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.project("other").await;
    control.live(&shop).await;
    let task = control
        .context
        .store
        .task_list(Some(shop.id), 1)
        .await
        .unwrap()
        .remove(0);
    let token = control.token("admin", Some("other")).await;
    for endpoint in api::build(control.context.clone())
        .1
        .iter()
        .filter(|endpoint| endpoint.path.contains("{project}"))
    {
        let request = control
            .request(endpoint.method.clone(), &filled(endpoint.path))
            .bearer_auth(&token);
        let request = if endpoint.method == Method::GET {
            request
        } else {
            request.json(&json!({}))
        };
        let (status, body) = answer(request).await;
        assert_eq!(
            (status, body["type"].as_str()),
            (StatusCode::NOT_FOUND, Some("project-not-found")),
            "{} {}",
            endpoint.method,
            endpoint.path
        );
    }
    for path in [format!("/v1/tasks/{}", task.id), format!("/v1/tasks/{}/log", task.id)] {
        assert_eq!(
            answer(control.request(Method::GET, &path).bearer_auth(&token)).await.0,
            StatusCode::NOT_FOUND
        );
    }
    let list = |path: &'static str| answer(control.request(Method::GET, path).bearer_auth(&token));
    assert_eq!(list("/v1/projects").await.1.as_array().unwrap().len(), 1);
    assert_eq!(list("/v1/tokens").await.1.as_array().unwrap().len(), 1);
    assert_eq!(list("/v1/tasks").await.1.as_array().unwrap().len(), 0);
    let create = |path: &'static str, body| answer(control.request(Method::POST, path).bearer_auth(&token).json(&body));
    assert_eq!(
        create("/v1/projects", json!({"name": "mine"})).await.0,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        create("/v1/tokens", json!({"name": "all", "scope": "admin"})).await.0,
        StatusCode::FORBIDDEN
    );
    let foreign = json!({"name": "x", "scope": "admin", "project": "shop"});
    assert_eq!(create("/v1/tokens", foreign).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_description_lists_every_route_and_no_other() {
    let control = Control::start().await;
    let described = serde_json::to_value(api::openapi::document()).unwrap();
    let mut wanted: Vec<String> = Vec::new();
    for endpoint in api::build(control.context.clone()).1 {
        wanted.push(format!(
            "{} {}",
            endpoint.method.as_str().to_ascii_lowercase(),
            endpoint.path
        ));
    }
    let mut found: Vec<String> = Vec::new();
    for (path, item) in described["paths"].as_object().unwrap() {
        found.extend(
            item.as_object()
                .unwrap()
                .keys()
                .map(|method| format!("{method} {path}")),
        );
    }
    wanted.sort();
    found.sort();
    assert_eq!(wanted, found);
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
}

#[tokio::test]
async fn the_description_in_the_repository_is_the_one_that_is_served() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let text = api::openapi::text().unwrap();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        kept == text,
        "the API has changed: run `UPDATE=1 cargo test -p weir-control --test it the_description` and commit docs/reference/openapi.json"
    );
    let control = Control::start().await;
    let served = control
        .request(Method::GET, "/v1/openapi.json")
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(served, text);
}
