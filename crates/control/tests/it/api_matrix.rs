//! Every endpoint with every kind of token, and in the description of the API.

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir_control::api;

use crate::harness::{Control, answer};

fn filled(path: &str) -> String {
    path.replace("{project}", "shop")
        .replace("{environment}", "production")
        .replace("{task}", "tsk_00000000000000000000000000")
        .replace("{token}", "tok_00000000000000000000000000")
        .replace("{host}", "www.example.org")
        .replace("{user}", "anna")
        .replace("{volume}", "data")
        .replace("{upload}", "upl_00000000000000000000000000000000")
        .replace("{account}", "default")
        .replace("{version}", "1")
        .replace("{number}", "1")
}

/// What each role may, written by hand: the code has a table of its own.
const ROLES: &[(&str, &[&str])] = &[
    ("know", &["viewer", "billing", "developer", "admin", "owner"]),
    ("see", &["viewer", "developer", "admin", "owner"]),
    ("see-money", &["billing", "developer", "admin", "owner"]),
    ("see-audit", &["admin", "owner"]),
    ("deploy", &["developer", "admin", "owner"]),
    ("configure", &["developer", "admin", "owner"]),
    ("domains", &["developer", "admin", "owner"]),
    ("run-commands", &["developer", "admin", "owner"]),
    ("files", &["developer", "admin", "owner"]),
    ("set-caps", &["admin", "owner"]),
    ("send-out", &["admin", "owner"]),
    ("billing", &["billing", "admin", "owner"]),
    ("create-projects", &["admin", "owner"]),
    ("destroy-projects", &["owner"]),
    ("people", &["admin", "owner"]),
    ("platform", &["admin", "owner"]),
];

/// Scopes for which roles are given; what is asked for is in `shop/production`, or in `shop`, which
/// is paid by `default`.
const SCOPES: &[&str] = &[
    "weir",
    "account:default",
    "shop",
    "shop/production",
    "other",
    "account:second",
];

/// What is expected of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Done,
    Forbidden,
    /// As if what it is about did not exist.
    Unseen,
}

fn expected(permission: &str, about: &str, role: &str, scope: &str) -> Expected {
    let has = ROLES
        .iter()
        .find(|(name, _)| *name == permission)
        .unwrap_or_else(|| panic!("nobody said who has `{permission}`"))
        .1
        .contains(&role);
    let (covers, knows) = match about {
        "somewhere" => (true, true),
        "platform" => (scope == "weir", true),
        "account" | "invoice" => {
            let covers = ["weir", "account:default"].contains(&scope);
            (covers, covers)
        }
        "project" => {
            let covers = ["weir", "account:default", "shop"].contains(&scope);
            (covers, covers || scope == "shop/production")
        }
        // The token, the contact and the service account of the test are those of the project.
        "token" | "contact" | "service-account" => {
            let covers = ["weir", "account:default", "shop"].contains(&scope);
            (covers, covers || scope == "shop/production")
        }
        "environment" | "task" => {
            let covers = ["weir", "account:default", "shop", "shop/production"].contains(&scope);
            (covers, covers)
        }
        other => panic!("nobody said what `{other}` is in"),
    };
    match (covers && has, knows) {
        (true, _) => Expected::Done,
        // Who has an environment knows its project by name.
        (false, true) if permission == "know" => Expected::Done,
        (false, true) => Expected::Forbidden,
        (false, false) => Expected::Unseen,
    }
}

/// The lines of the table: method, path, permission, and what it is about.
fn table() -> Vec<(String, String, String)> {
    let mut rows = Vec::new();
    let mut group = "";
    for line in include_str!("policy_table.txt").lines() {
        match line.strip_prefix("    ") {
            None => group = line.trim_end_matches(':'),
            Some(row) => {
                let (method, path) = row.split_once(' ').unwrap();
                let path = path.replace('…', "/v1/projects/{project}/environments/{environment}");
                rows.push((method.to_owned(), path, group.to_owned()));
            }
        }
    }
    rows
}

/// Things of the project `shop`, to be named in paths.
struct Things {
    task: String,
    token: String,
    contact: String,
    account: String,
    invoice: String,
}

impl Things {
    async fn of(control: &Control) -> Self {
        let shop = control.project("shop").await;
        control.live(&shop).await;
        let made = async |path: &str, body| {
            let (status, body) = control.call(Method::POST, path, Some(body)).await;
            assert!(status.is_success(), "{path}: {body}");
            body["id"].as_str().unwrap_or_default().to_owned()
        };
        made("/v1/accounts", json!({"name": "second"})).await;
        made("/v1/projects", json!({"name": "other", "account": "second"})).await;
        let invoice = weir_store::Invoice {
            id: weir_model::InvoiceId::from_parts(1, 1),
            account: weir_store::Account::default_id(),
            state: weir_store::InvoiceState::Draft,
            number: None,
            credits: None,
            from_ms: 0,
            until_ms: 1,
            created_ms: 1,
            final_ms: None,
            document: "{}".to_owned(),
        };
        control.context.store.invoice_insert(&invoice).await.unwrap();
        let tasks = control.context.store.task_list(Some(shop.id), 1).await.unwrap();
        let contact = json!({"channel": "email", "address": "a@example.org", "project": "shop"});
        Self {
            task: tasks[0].id.to_string(),
            token: made("/v1/tokens", json!({"name": "x", "scope": "read", "project": "shop"})).await,
            contact: made("/v1/contacts", contact).await,
            account: made(
                "/v1/service-accounts",
                json!({"name": "probe", "grant": {"role": "viewer", "scope": "shop"}}),
            )
            .await,
            invoice: invoice.id.to_string(),
        }
    }

    fn filled(&self, path: &str) -> String {
        let path = match path.contains("/service-accounts/") {
            true => path.replace("{account}", &self.account),
            false => path.to_owned(),
        };
        filled(
            &path
                .replace("{task}", &self.task)
                .replace("{token}", &self.token)
                .replace("{contact}", &self.contact)
                .replace("{invoice}", &self.invoice)
                .replace("{person}", "nobody@example.org"),
        )
    }
}

/// What the answers are to somebody for whom the thing does not exist.
const UNSEEN: &[&str] = &[
    "project-not-found",
    "account-not-found",
    "task-not-found",
    "token-not-found",
    "contact-not-found",
    "service-account-not-found",
    "invoice-not-found",
];

fn words(status: StatusCode, kind: &str) -> Expected {
    match (status, kind) {
        (StatusCode::FORBIDDEN, "forbidden") => Expected::Forbidden,
        (StatusCode::NOT_FOUND, kind) if UNSEEN.contains(&kind) => Expected::Unseen,
        _ => Expected::Done,
    }
}

/// A token of a service account with one role; it goes with its account.
async fn token_of(control: &Control, role: &str, scope: &str) -> String {
    let name = format!("{role}-{}", scope.replace([':', '/'], "-"));
    let body = json!({"name": name, "grant": {"role": role, "scope": scope}});
    let (status, account) = control.call(Method::POST, "/v1/service-accounts", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{account}");
    let path = format!("/v1/service-accounts/{}/tokens", account["id"].as_str().unwrap());
    let (status, token) = control.call(Method::POST, &path, Some(json!({"name": "x"}))).await;
    assert_eq!(status, StatusCode::CREATED, "{token}");
    token["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_endpoint_is_in_the_table_and_nothing_else_is() {
    let control = Control::start().await;
    let mut endpoints: Vec<String> = api::build(control.context.clone())
        .1
        .iter()
        .map(|endpoint| format!("{} {}", endpoint.method, endpoint.path))
        .collect();
    let mut rows: Vec<String> = table()
        .iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    endpoints.sort();
    rows.sort();
    assert_eq!(
        endpoints, rows,
        "write new endpoints into tests/it/policy_table.txt, with what they need"
    );
}

#[tokio::test]
async fn every_endpoint_gives_every_role_what_the_table_says() {
    let control = Control::start().await;
    let things = Things::of(&control).await;
    let mut tokens = Vec::new();
    for role in ["viewer", "billing", "developer", "admin", "owner"] {
        for scope in SCOPES {
            tokens.push((role, *scope, token_of(&control, role, scope).await));
        }
    }
    let mut asked = 0;
    for (method, path, group) in table() {
        let method: Method = method.parse().unwrap();
        let request = || {
            let request = control.request(method.clone(), &things.filled(&path));
            match method {
                Method::GET => request,
                _ => request.json(&json!({"nonsense": true})),
            }
        };
        let nobody = request().send().await.unwrap().status();
        if group == "open" {
            assert_ne!(nobody, StatusCode::FORBIDDEN, "{method} {path}");
            continue;
        }
        assert_eq!(nobody, StatusCode::UNAUTHORIZED, "{method} {path} without anything");
        let Some((permission, about)) = group.split_once(" in ") else {
            assert_eq!(group, "known");
            continue;
        };
        for (role, scope, token) in &tokens {
            let expected = expected(permission, about, role, scope);
            // What would be destroyed is needed further on; tests of their own do this.
            let harm = method == Method::DELETE || path.ends_with("/discard");
            if expected == Expected::Done && harm {
                continue;
            }
            let response = request().bearer_auth(token).send().await.unwrap();
            let status = response.status();
            // Events never end, so the body is left alone where all is well.
            let kind = match status.is_client_error() {
                true => response.json::<serde_json::Value>().await.unwrap_or_default()["type"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
                false => String::new(),
            };
            let what = format!("{method} {path} as {role} of {scope}: {status} {kind}");
            assert!(!matches!(status.as_u16(), 401 | 405), "{what}");
            // A list, or what the body names: which entry it is about is decided later.
            if about == "somewhere" && expected == Expected::Done {
                assert!(status != StatusCode::FORBIDDEN || method != Method::GET, "{what}");
            } else {
                assert_eq!(words(status, &kind), expected, "{what}");
            }
            asked += 1;
        }
    }
    assert!(asked > 2_500, "{asked}");
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
        StatusCode::NOT_FOUND
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
