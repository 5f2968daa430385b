//! What somebody with a role for one environment learns of what is beside and above it.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::{owner, somebody};
use crate::harness::{Control, answer};

const MONTH: &str = "month";

/// A token of a service account with one role.
pub(crate) async fn program(control: &Control, name: &str, role: &str, scope: &str) -> String {
    let body = json!({"name": name, "grant": {"role": role, "scope": scope}});
    let (status, account) = control.call(Method::POST, "/v1/service-accounts", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{account}");
    let path = format!("/v1/service-accounts/{}/tokens", account["id"].as_str().unwrap());
    let (_, token) = control.call(Method::POST, &path, Some(json!({"name": "x"}))).await;
    token["secret"].as_str().unwrap().to_owned()
}

async fn with_staging(control: &Control) {
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let body = json!({"name": "staging", "branch": "staging"});
    let path = "/v1/projects/shop/environments";
    assert_eq!(
        control.call(Method::POST, path, Some(body)).await.0,
        StatusCode::CREATED
    );
}

#[tokio::test]
async fn an_environment_that_is_not_theirs_looks_like_one_that_is_not_there() {
    let control = Control::start().await;
    with_staging(&control).await;
    let token = program(&control, "ci", "admin", "shop/staging").await;
    let ask = async |method: Method, path: String, body: Option<Value>| {
        let mut request = control.request(method, &path).bearer_auth(&token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let (status, body) = answer(request).await;
        (status, body.to_string())
    };
    let of = async |project: &str, name: &str| {
        let path = |rest: &str| format!("/v1/projects/{project}/environments/{name}{rest}");
        let scope = format!("{project}/{name}");
        let grant = json!({"role": "viewer", "scope": scope});
        vec![
            ask(Method::GET, path(""), None).await,
            ask(Method::GET, path("/logs"), None).await,
            ask(Method::POST, path("/pause"), Some(json!({}))).await,
            ask(Method::POST, path("/promote"), Some(json!({"from": "staging"}))).await,
            ask(
                Method::POST,
                "/v1/invitations".to_owned(),
                Some(json!({"grants": [grant]})),
            )
            .await,
            ask(
                Method::POST,
                "/v1/service-accounts".to_owned(),
                Some(json!({"name": "x", "grant": grant})),
            )
            .await,
            ask(Method::GET, format!("/v1/help-context?scope={scope}"), None).await,
        ]
    };
    let there = of("shop", "production").await;
    let not_there = of("shop", "nothing").await;
    for (there, not_there) in there.iter().zip(&not_there) {
        assert_eq!(there.0, StatusCode::NOT_FOUND, "{there:?}");
        assert!(there.1.contains("environment-not-found"), "{there:?}");
        assert_eq!(there.1.replace("production", "nothing"), not_there.1);
    }
    // Of a project that they do not know, not even that is told.
    control.project("other").await;
    for (there, absent) in of("other", "production")
        .await
        .iter()
        .zip(&of("absent", "production").await)
    {
        assert!(there.1.contains("project-not-found"), "{there:?}");
        assert_eq!(there.1.replace("other", "absent"), absent.1);
    }
    // Live, too.
    let path = "/v1/live?topic=environment:shop/production&topic=environment:shop/nothing";
    let mut response = control
        .request(Method::GET, path)
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    let mut text = String::new();
    while text.matches("event: refused").count() < 2 {
        text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert_eq!(text.matches("environment-not-found").count(), 2, "{text}");
}

#[tokio::test]
async fn whose_a_host_name_is_is_told_to_those_who_know_of_it() {
    let control = Control::start().await;
    control.project("shop").await;
    control.project("secret").await;
    let add = async |token: &str, project: &str| {
        let path = format!("/v1/projects/{project}/environments/production/domains");
        let body = json!({"host": "www.example.org"});
        let request = control.request(Method::POST, &path).bearer_auth(token).json(&body);
        let (status, body) = answer(request).await;
        (status.as_u16(), body["title"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(add(&control.admin, "secret").await.0, 201);
    let token = program(&control, "ci", "admin", "shop").await;
    let (status, title) = add(&token, "shop").await;
    assert_eq!(
        (status, title.as_str()),
        (409, "the host `www.example.org` is taken already")
    );
    let (_, title) = add(&control.admin, "shop").await;
    assert!(title.contains("`secret`"), "{title}");
}

#[tokio::test]
async fn money_above_an_environment_is_for_those_who_see_money_there() {
    let control = Control::start().await;
    with_staging(&control).await;
    let cap = |limit: &str| Some(json!({"limit": limit, "period": MONTH}));
    for (path, limit) in [("/v1/projects/shop/cap", "7.00"), ("/v1/accounts/default/cap", "5.00")] {
        let (status, body) = control.call(Method::PUT, path, cap(limit)).await;
        assert_eq!(status, StatusCode::OK, "{body}");
    }
    let environment = "/v1/projects/shop/environments/production";
    let expected = [
        ("weir", json!("account:default"), json!("shop")),
        ("shop", json!("shop"), json!("shop")),
        ("shop/production", json!("shop/production"), json!("shop/production")),
    ];
    for (number, (scope, tightest, nearest)) in expected.into_iter().enumerate() {
        let token = program(&control, &format!("ci-{number}"), "developer", scope).await;
        let get = async |path: &str| answer(control.request(Method::GET, path).bearer_auth(&token)).await.1;
        let money = get(environment).await["money"].clone();
        assert_eq!(money["scope"], tightest, "{scope}: {money}");
        let overview = get("/v1/overview").await;
        let of_overview = overview["environments"][0]["money"].clone();
        assert_eq!(of_overview["scope"], nearest, "{scope}: {overview}");
        let is_above = scope != "shop/production";
        for (what, amount) in [
            ("left", &money["left"]),
            ("cap", &money["cap"]),
            ("limit", &of_overview["limit"]),
        ] {
            assert_eq!(!amount.is_null(), is_above, "{scope}: {what} {money} {of_overview}");
        }
        let live = "/v1/live?topic=environment:shop/production";
        let mut response = control
            .request(Method::GET, live)
            .bearer_auth(&token)
            .send()
            .await
            .unwrap();
        let mut text = String::new();
        while !text.contains("event: state") || !text.ends_with("\n\n") {
            text.push_str(std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap());
        }
        assert_eq!(text.contains("\"left\""), is_above, "{scope}: {text}");
        let help = get("/v1/help-context?scope=shop/production").await.to_string();
        assert_eq!(help.contains("left "), is_above, "{scope}: {help}");
    }
    // Nor does a change of one's own cap tell how far the one above it goes.
    let path = format!("{environment}/cap");
    for (name, scope, told) in [("a", "shop", true), ("b", "shop/production", false)] {
        let token = program(&control, name, "admin", scope).await;
        let body = json!({"limit": "9.00", "period": MONTH, "dry_run": true});
        let request = control.request(Method::PUT, &path).bearer_auth(&token).json(&body);
        let (status, change) = answer(request).await;
        assert_eq!(status, StatusCode::OK, "{change}");
        assert_eq!(change["notes"].to_string().contains("7"), told, "{scope}: {change}");
    }
}

#[tokio::test]
async fn what_was_made_by_the_right_of_a_role_ends_with_it() {
    let control = Control::start().await;
    let mut anna = owner(&control).await;
    control.project("shop").await;
    let mut ben = somebody(&control, "ben@example.org", "admin", "shop").await;
    let invite = Some(json!({"grants": [{"role": "viewer", "scope": "shop"}]}));
    let (_, of_ben) = ben.call(Method::POST, "/v1/invitations", invite.clone()).await;
    let (_, of_anna) = anna.call(Method::POST, "/v1/invitations", invite).await;
    let look = async |invitation: &Value| {
        let body = json!({"secret": invitation["secret"]});
        let request = control.request(Method::POST, "/v1/invitations/look").json(&body);
        answer(request).await.0
    };
    assert_eq!(
        (look(&of_ben).await, look(&of_anna).await),
        (StatusCode::OK, StatusCode::OK)
    );
    let reset = "/v1/people/ben@example.org/password-reset";
    let (status, link) = anna.call(Method::POST, reset, None).await;
    assert_eq!(status, StatusCode::CREATED, "{link}");
    // He becomes more in one place, and less in the other: his invitations go, and so does the link, which was
    // made by who may have been enough for who he was.
    let grants =
        json!({"grants": [{"role": "viewer", "scope": "shop"}, {"role": "owner", "scope": "account:default"}]});
    let (status, body) = anna
        .call(Method::PUT, "/v1/people/ben@example.org/grants", Some(grants))
        .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(look(&of_ben).await, StatusCode::NOT_FOUND);
    assert_eq!(look(&of_anna).await, StatusCode::OK, "that of somebody else holds");
    let body = json!({"secret": link["secret"], "password": "some other words"});
    let used = answer(control.request(Method::POST, "/v1/password-resets/use").json(&body)).await;
    assert_eq!(
        (used.0, &used.1["type"]),
        (StatusCode::NOT_FOUND, &json!("reset-not-found"))
    );

    // Those of a service account end with its role, of another one of the same name they do not.
    control.project("other").await;
    let first = program(&control, "ci", "admin", "shop").await;
    let second = program(&control, "ci", "admin", "other").await;
    let made = async |token: &str, scope: &str| {
        let body = json!({"grants": [{"role": "viewer", "scope": scope}]});
        let request = control
            .request(Method::POST, "/v1/invitations")
            .bearer_auth(token)
            .json(&body);
        answer(request).await.1
    };
    let (of_first, of_second) = (made(&first, "shop").await, made(&second, "other").await);
    let (_, accounts) = control.call(Method::GET, "/v1/service-accounts", None).await;
    let mut accounts = accounts.as_array().unwrap().iter();
    let account = accounts.find(|account| account["scope"] == "shop").unwrap();
    let path = format!("/v1/service-accounts/{}/grants", account["id"].as_str().unwrap());
    let (status, body) = control.call(Method::PUT, &path, Some(json!({"grants": []}))).await;
    assert_eq!((status, &body["grants"]), (StatusCode::OK, &json!([])), "{body}");
    assert_eq!(
        (look(&of_first).await, look(&of_second).await),
        (StatusCode::NOT_FOUND, StatusCode::OK)
    );
}
