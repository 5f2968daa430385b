//! Tenants beside each other: none uses up what others need, takes a name from them, or reads in the audit
//! log what is not theirs; and from where somebody asks is known behind a proxy, too.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use weir_control::clock::{Clock, SystemClock};
use weir_model::UnixMillis;

use crate::browser::{PASSWORD, kind, owner, somebody};
use crate::harness::{Control, answer};
use crate::reach::program;

/// The machine's clock, ahead by what the test says.
#[derive(Debug, Default)]
struct Ahead(AtomicI64);

impl Clock for Ahead {
    fn now_ms(&self) -> UnixMillis {
        SystemClock.now_ms() + self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

/// A clock that stands still: nobody's pause ends while a busy machine works out hashes.
#[derive(Debug)]
struct Still(UnixMillis);

impl Clock for Still {
    fn now_ms(&self) -> UnixMillis {
        self.0
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

fn still() -> Arc<dyn Clock> {
    Arc::new(Still(SystemClock.now_ms()))
}

fn sign_in(control: &Control, email: &str, password: &str) -> RequestBuilder {
    let body = json!({"email": email, "password": password});
    control.request(Method::POST, "/v1/session").json(&body)
}

#[tokio::test]
async fn behind_a_proxy_that_is_believed_each_client_counts_for_itself() {
    let control = Control::start_behind_a_proxy(still()).await;
    owner(&control).await;
    let try_from = async |address: &str, password: &str| {
        let request = sign_in(&control, "anna@example.org", password);
        kind(answer(request.header("x-forwarded-for", address)).await)
    };
    for _ in 0..5 {
        let tried = try_from("6.6.6.6, 192.0.2.1", "wrong wrong wrong").await;
        assert_eq!(tried, (401, "wrong-credentials".to_owned()));
    }
    let tried = try_from("7.7.7.7, 192.0.2.1", PASSWORD).await;
    assert_eq!(
        tried,
        (429, "too-many-failures".to_owned()),
        "what it wrote itself says nothing"
    );
    assert_eq!(try_from("192.0.2.2", PASSWORD).await.0, 200);
    let (_, audit) = control
        .call(Method::GET, "/v1/audit?operation=POST+/v1/session", None)
        .await;
    assert_eq!(
        (&audit[0]["address"], &audit[1]["address"]),
        (&json!("192.0.2.2"), &json!("192.0.2.1")),
        "{audit}"
    );
    let both = sign_in(&control, "anna@example.org", PASSWORD)
        .header("x-forwarded-for", "192.0.2.3")
        .header("forwarded", "for=192.0.2.4");
    assert_eq!(kind(answer(both).await), (400, "ambiguous-client".to_owned()));

    // Where nobody is believed, all come from where their connections come from.
    let control = Control::start_by(still()).await;
    owner(&control).await;
    for number in 0..6 {
        let request = sign_in(&control, "anna@example.org", "wrong wrong wrong");
        let tried = answer(request.header("x-forwarded-for", format!("192.0.2.{number}"))).await;
        assert_eq!(tried.0, if number < 5 { 401 } else { 429 }, "{number}");
    }
}

#[tokio::test]
async fn who_has_an_invitation_is_not_kept_out_by_those_who_guess() {
    let control = Control::start_by(still()).await;
    owner(&control).await;
    let body = json!({"grants": [{"role": "viewer", "scope": "weir"}]});
    let (_, made) = control.call(Method::POST, "/v1/invitations", Some(body)).await;
    let accept = |secret: &Value| {
        let body = json!({"secret": secret, "email": "dora@example.org", "name": "Dora", "password": PASSWORD});
        answer(control.request(Method::POST, "/v1/invitations/accept").json(&body))
    };
    let mut last = String::new();
    for _ in 0..8 {
        last = kind(accept(&json!("guessed")).await).1;
    }
    assert_eq!(last, "too-many-failures");
    assert_eq!(accept(&made["secret"]).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn one_source_does_not_take_all_places_where_passwords_are_checked() {
    let control = Control::start_behind_a_proxy(Arc::new(SystemClock)).await;
    let mut anna = owner(&control).await;
    somebody(&control, "dora@example.org", "viewer", "weir").await;
    let (_, link) = anna
        .call(Method::POST, "/v1/people/dora@example.org/password-reset", None)
        .await;
    let body = json!({"secret": link["secret"], "password": "some other words"});
    let flood = (0..60).map(|_| {
        let request = control.request(Method::POST, "/v1/password-resets/use").json(&body);
        let request = request.header("x-forwarded-for", "192.0.2.1");
        async move { request.send().await.unwrap().status() }
    });
    let flood = tokio::spawn(futures_util::future::join_all(flood.collect::<Vec<_>>()));
    // They are there before the others ask.
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let others = (2..8).map(|number| {
        let request = sign_in(&control, "anna@example.org", PASSWORD);
        let request = request.header("x-forwarded-for", format!("192.0.2.{number}"));
        async move { request.send().await.unwrap().status() }
    });
    let others = futures_util::future::join_all(others).await;
    assert!(others.iter().all(|status| *status == StatusCode::OK), "{others:?}");
    let flood = flood.await.unwrap();
    let refused = flood
        .iter()
        .filter(|status| **status == StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.count() >= 30, "{flood:?}");
    assert_eq!(flood.iter().filter(|status| **status == StatusCode::OK).count(), 1);
}

#[tokio::test]
async fn where_people_sign_in_is_no_name_for_an_app() {
    let clock = Arc::new(Ahead::default());
    let control = Control::start_by(clock.clone()).await;
    owner(&control).await;
    somebody(&control, "ben@example.org", "admin", "account:default").await;
    let project = control.project("shop").await;
    let enter = async |email: &str, host: &str| {
        let entered = answer(sign_in(&control, email, PASSWORD).header("host", host)).await;
        assert_eq!(entered.0, StatusCode::OK, "{}", entered.1);
    };
    enter("anna@example.org", "Weir.Example.org:8081").await;
    enter("anna@example.org", "console.localhost").await;
    // A tenant cannot take a name from others by signing in there.
    enter("ben@example.org", "www.example.net").await;
    const DOMAINS: &str = "/v1/projects/shop/environments/production/domains";
    let add = |host: &str| control.call(Method::POST, DOMAINS, Some(json!({"host": host})));
    let of_console = (409, "host-of-console".to_owned());
    assert_eq!(kind(add("weir.example.org").await), of_console);
    let several = json!({"hosts": ["a.example.org", "weir.example.org"]});
    let (status, body) = control.call(Method::PUT, DOMAINS, Some(several)).await;
    assert!(
        status.is_client_error() && body.to_string().contains("sign in"),
        "{status} {body}"
    );
    let answer = control
        .call(Method::POST, "/v1/projects", Some(json!({"name": "console"})))
        .await;
    assert_eq!(kind(answer), of_console);
    for host in ["www.example.net", "example.org", "a.weir.example.org"] {
        assert_eq!(add(host).await.0, StatusCode::CREATED, "{host}");
    }
    let known = control.context.store.domain_list_all().await.unwrap();
    assert!(known.iter().all(|domain| domain.host != "weir.example.org"));
    // No session lives there any more.
    clock.0.store(92 * 86_400_000, Ordering::SeqCst);
    assert_eq!(add("weir.example.org").await.0, StatusCode::CREATED);
    assert_eq!(project.name.as_str(), "shop");
}

#[tokio::test]
async fn bounds_and_names_are_those_of_one_place() {
    let control = Control::start().await;
    owner(&control).await;
    for name in ["shop", "other"] {
        control.project(name).await;
    }
    let mut ben = somebody(&control, "ben@example.org", "admin", "shop").await;
    let mut eve = somebody(&control, "eve@example.org", "admin", "other").await;
    // Names.
    const ACCOUNTS: &str = "/v1/service-accounts";
    let account = |name: &str, scope: &str| Some(json!({"name": name, "grant": {"role": "viewer", "scope": scope}}));
    assert_eq!(ben.call(Method::POST, ACCOUNTS, account("ci", "shop")).await.0, 201);
    assert_eq!(eve.call(Method::POST, ACCOUNTS, account("ci", "other")).await.0, 201);
    assert_eq!(ben.call(Method::POST, ACCOUNTS, account("ci", "shop")).await.0, 409);
    // Service accounts: those of the environments count with the project's.
    for number in 1..100 {
        let scope = if number % 2 == 0 { "shop" } else { "shop/production" };
        let (status, body) = ben
            .call(Method::POST, ACCOUNTS, account(&format!("ci-{number}"), scope))
            .await;
        assert_eq!(status, 201, "{number}: {body}");
    }
    let answer = ben
        .call(Method::POST, ACCOUNTS, account("more", "shop/production"))
        .await;
    assert_eq!(kind(answer), (409, "too-many".to_owned()));
    assert_eq!(eve.call(Method::POST, ACCOUNTS, account("more", "other")).await.0, 201);
    // Tokens of a service account, and of a project.
    let (_, list) = ben.call(Method::GET, ACCOUNTS, None).await;
    assert_eq!(list.as_array().unwrap().len(), 100);
    let path = format!("{ACCOUNTS}/{}/tokens", list[0]["id"].as_str().unwrap());
    for number in 0..=20 {
        let (status, _) = ben.call(Method::POST, &path, Some(json!({"name": "x"}))).await;
        assert_eq!(status, if number < 20 { 201 } else { 409 }, "{number}");
    }
    let (_, list) = ben.call(Method::GET, ACCOUNTS, None).await;
    assert_eq!(list[0]["tokens"].as_array().unwrap().len(), 20);
    let token = |project: &str| Some(json!({"name": "x", "scope": "read", "project": project}));
    for number in 0..=100 {
        let (status, _) = ben.call(Method::POST, "/v1/tokens", token("shop")).await;
        assert_eq!(status, if number < 100 { 201 } else { 409 }, "{number}");
    }
    assert_eq!(eve.call(Method::POST, "/v1/tokens", token("other")).await.0, 201);
    // Invitations.
    let invite = |scope: &str| Some(json!({"grants": [{"role": "viewer", "scope": scope}]}));
    for number in 0..=100 {
        let (status, _) = ben.call(Method::POST, "/v1/invitations", invite("shop")).await;
        assert_eq!(status, if number < 100 { 201 } else { 409 }, "{number}");
    }
    assert_eq!(eve.call(Method::POST, "/v1/invitations", invite("other")).await.0, 201);
}

#[tokio::test]
async fn roles_of_a_service_account_are_changed_by_those_who_could_give_them() {
    let control = Control::start().await;
    owner(&control).await;
    for name in ["shop", "other"] {
        control.project(name).await;
    }
    let mut ben = somebody(&control, "ben@example.org", "admin", "shop").await;
    let mut eve = somebody(&control, "eve@example.org", "admin", "other").await;
    let token = program(&control, "ci", "viewer", "shop").await;
    let variables = async |value: &str| {
        let body = json!({"set": {"KEY": {"value": value, "secret": false}}});
        let path = "/v1/projects/shop/environments/production/variables";
        answer(control.request(Method::PATCH, path).bearer_auth(&token).json(&body))
            .await
            .0
    };
    assert_eq!(variables("1").await, StatusCode::FORBIDDEN);
    let (_, list) = ben.call(Method::GET, "/v1/service-accounts", None).await;
    let path = format!("/v1/service-accounts/{}/grants", list[0]["id"].as_str().unwrap());
    let grants = |role: &str, scope: &str| Some(json!({"grants": [{"role": role, "scope": scope}]}));
    assert_eq!(eve.call(Method::PUT, &path, grants("viewer", "other")).await.0, 404);
    assert_eq!(ben.call(Method::PUT, &path, grants("owner", "shop")).await.0, 403);
    assert_eq!(ben.call(Method::PUT, &path, grants("viewer", "other")).await.0, 404);
    let (status, body) = ben.call(Method::PUT, &path, grants("developer", "shop")).await;
    assert_eq!(
        (status, &body["grants"]),
        (StatusCode::OK, &json!([{"role": "developer", "scope": "shop"}])),
        "{body}"
    );
    assert_eq!(
        variables("2").await,
        StatusCode::OK,
        "the tokens that there are may it, too"
    );
    // Roles that somebody else gave elsewhere stay, and are not told.
    let both = json!({"grants": [{"role": "developer", "scope": "shop"}, {"role": "viewer", "scope": "other"}]});
    assert_eq!(control.call(Method::PUT, &path, Some(both)).await.0, StatusCode::OK);
    let (status, body) = ben.call(Method::PUT, &path, Some(json!({"grants": []}))).await;
    assert_eq!((status, &body["grants"]), (StatusCode::OK, &json!([])), "{body}");
    assert_eq!(variables("3").await, StatusCode::NOT_FOUND);
    let (_, list) = control.call(Method::GET, "/v1/service-accounts", None).await;
    assert_eq!(
        list[0]["grants"],
        json!([{"role": "viewer", "scope": "other"}]),
        "{list}"
    );
}

#[tokio::test]
async fn what_was_done_stands_where_it_was_done() {
    let control = Control::start().await;
    let mut anna = owner(&control).await;
    for name in ["shop", "other"] {
        control.project(name).await;
    }
    let mut ben = somebody(&control, "ben@example.org", "admin", "shop").await;
    somebody(&control, "dora@example.org", "viewer", "shop").await;
    const GRANTS: &str = "/v1/people/dora@example.org/grants";
    let both = json!({"grants": [{"role": "developer", "scope": "shop"}, {"role": "viewer", "scope": "other"}]});
    assert_eq!(anna.call(Method::PUT, GRANTS, Some(both)).await.0, StatusCode::OK);
    let none = Some(json!({"grants": []}));
    assert_eq!(ben.call(Method::PUT, GRANTS, none).await.0, StatusCode::OK);
    let token = Some(json!({"name": "Развёртывание", "scope": "deploy", "project": "shop"}));
    assert_eq!(ben.call(Method::POST, "/v1/tokens", token).await.0, StatusCode::CREATED);
    let invite = json!({"grants": [{"role": "viewer", "scope": "shop"}]});
    let (_, invitation) = ben.call(Method::POST, "/v1/invitations", Some(invite)).await;
    let path = format!("/v1/invitations/{}", invitation["id"].as_str().unwrap());
    assert_eq!(ben.call(Method::DELETE, &path, None).await.0, StatusCode::NO_CONTENT);
    let (_, audit) = ben.call(Method::GET, "/v1/audit", None).await;
    let told = |index: usize| {
        let entry = &audit[index];
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        (text("operation"), text("scope"), text("detail"))
    };
    let expected = [
        ("DELETE /v1/invitations/{invitation}", "viewer"),
        ("POST /v1/invitations", "viewer"),
        ("PUT /v1/people/{person}/grants", "no developer any more"),
    ];
    for (index, (operation, detail)) in [0, 1, 3].into_iter().zip(expected) {
        let wanted = (operation.to_owned(), "shop".to_owned(), detail.to_owned());
        assert_eq!(told(index), wanted, "{audit}");
    }
    assert_eq!(told(2).0, "POST /v1/tokens");
    let (_, of_anna, words) = told(4);
    assert_eq!(
        (of_anna.as_str(), words.contains("developer")),
        ("shop", true),
        "{audit}"
    );
    assert!(!audit.to_string().contains("other"), "{audit}");
    let (_, elsewhere) = anna.call(Method::GET, "/v1/audit?scope=other&who=anna", None).await;
    assert_eq!(elsewhere[0]["detail"], "viewer", "{elsewhere}");
    assert_eq!(elsewhere.as_array().unwrap().len(), 1);
    // Of a great many roles, which are refused, none is written down.
    let many = json!({"grants": vec![json!({"role": "r".repeat(20), "scope": "weir"}); 10_000]});
    let (status, body) = anna.call(Method::PUT, GRANTS, Some(many)).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let (_, latest) = anna.call(Method::GET, "/v1/audit", None).await;
    assert_eq!(latest[0]["detail"], "10000 roles", "{}", latest[0]);
    // In any language, whatever the database knows of it.
    for text in ["РАЗВЁРТ", "вание"] {
        let found = control.request(Method::GET, "/v1/audit").query(&[("text", text)]);
        let (_, found) = answer(found.bearer_auth(&control.admin)).await;
        assert_eq!(found.as_array().unwrap().len(), 1, "{text}: {found}");
    }
}
