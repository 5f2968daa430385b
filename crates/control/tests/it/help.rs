//! Requests for help: to each only what he may see, mail to the other side, and no value of a variable
//! ever goes along.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::secrets::Secret;
use weir_control::{Config, api, help};
use weir_model::log::{LogLine, LogStream};
use weir_model::task::LineKind;
use weir_model::{AppName, ProcessName};

use crate::browser::{owner, somebody};
use crate::harness::{Control, answer};
use crate::mail_server::{self, Manner};

/// A control whose mail goes to a server of the test, with the part that sends.
async fn with_mail(port: u16) -> Control {
    let mut control = Control::start().await;
    let smtp = format!("smtp://127.0.0.1:{port}?from=weir@example.org");
    control.context.config = Arc::new(Config {
        smtp: Some(Secret::new(smtp)),
        ..(*control.context.config).clone()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    control.address = format!("http://{}", listener.local_addr().unwrap());
    let router = api::router(control.context.clone()).into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    tokio::spawn(help::run(control.context.clone()));
    control
}

#[tokio::test]
async fn who_asks_is_answered_and_each_side_gets_mail_of_the_other() {
    let (port, mut mails) = mail_server::start(Manner::Plain, None).await;
    let control = with_mail(port).await;
    control.project("shop").await;
    let mut anna = owner(&control).await;
    let mut ben = somebody(&control, "ben@example.org", "developer", "shop").await;

    let body = json!({"subject": "Deploys hang", "text": "Since noon.\nAll of them.", "scope": "shop/production", "attach": true});
    let (status, asked) = ben.call(Method::POST, "/v1/help", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{asked}");
    assert_eq!(
        (&asked["state"], &asked["by"]),
        (&json!("open"), &json!("ben@example.org"))
    );
    let titles: Vec<&str> = asked["context"]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|part| part["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        titles,
        [
            "Status",
            "Newest deployment",
            "Newest log lines",
            "Variables (names only)",
            "Money"
        ]
    );
    let path = format!("/v1/help/{}", asked["id"].as_str().unwrap());
    let mail = mail_server::next_mail(&mut mails).await;
    assert!(
        mail.contains("To: anna@example.org") && mail.contains("Since noon."),
        "{mail}"
    );
    assert!(
        mail.contains(asked["id"].as_str().unwrap()) && !mail.contains("Newest log lines"),
        "{mail}"
    );

    let (_, list) = anna.call(Method::GET, "/v1/help?state=open", None).await;
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    assert_eq!(
        (&list[0]["messages"], &list[0]["context"]),
        (&Value::Null, &Value::Null)
    );
    let messages = format!("{path}/messages");
    let say = |text: &str| Some(json!({ "text": text }));
    let (status, answered) = anna.call(Method::POST, &messages, say("Try again.")).await;
    assert_eq!(
        (status, &answered["state"]),
        (StatusCode::OK, &json!("answered")),
        "{answered}"
    );
    assert_eq!(answered["messages"][1]["operator"], true);
    assert_eq!(answered["messages"][0]["operator"], false);
    let mail = mail_server::next_mail(&mut mails).await;
    assert!(
        mail.contains("To: ben@example.org") && mail.contains("Try again."),
        "{mail}"
    );

    let (_, reply) = ben.call(Method::POST, &messages, say("It works, thanks.")).await;
    assert_eq!(reply["state"], "open");
    assert!(
        mail_server::next_mail(&mut mails)
            .await
            .contains("To: anna@example.org")
    );
    let (_, closed) = ben.call(Method::PATCH, &path, Some(json!({"state": "closed"}))).await;
    assert_eq!(
        (&closed["state"], closed["messages"].as_array().unwrap().len()),
        (&json!("closed"), 3)
    );
    let (status, refused) = anna.call(Method::POST, &messages, say("And?")).await;
    assert_eq!(
        (status, &refused["type"]),
        (StatusCode::CONFLICT, &json!("help-closed"))
    );
    let (_, open) = anna.call(Method::PATCH, &path, Some(json!({"state": "open"}))).await;
    assert_eq!(open["state"], "open");
    assert_eq!(open["context"], asked["context"], "how things stood stays as it was");
}

#[tokio::test]
async fn nobody_sees_what_others_ask_unless_they_look_after_it() {
    let control = Control::start().await;
    control.project("shop").await;
    control.project("other").await;
    owner(&control).await;
    let mut ben = somebody(&control, "ben@example.org", "developer", "shop").await;
    let mut chief = somebody(&control, "chief@example.org", "admin", "shop").await;
    let mut stranger = somebody(&control, "eve@example.org", "admin", "other").await;
    let ask = |scope: &str| Some(json!({"subject": "Why", "text": "Why?", "scope": scope}));
    let (_, asked) = ben.call(Method::POST, "/v1/help", ask("shop/production")).await;
    let path = format!("/v1/help/{}", asked["id"].as_str().unwrap());
    assert_eq!(chief.call(Method::GET, &path, None).await.0, StatusCode::OK);
    assert_eq!(
        chief
            .call(Method::GET, "/v1/help", None)
            .await
            .1
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let say = || Some(json!({"text": "Because."}));
    let (_, answered) = chief.call(Method::POST, &format!("{path}/messages"), say()).await;
    assert_eq!(
        (&answered["state"], &answered["messages"][1]["operator"]),
        (&json!("answered"), &json!(false))
    );

    assert_eq!(stranger.call(Method::GET, "/v1/help", None).await.1, json!([]));
    let close = Some(json!({"state": "closed"}));
    for (method, path, body) in [
        (Method::GET, path.clone(), None),
        (Method::PATCH, path.clone(), close),
        (Method::POST, format!("{path}/messages"), say()),
        (Method::GET, "/v1/help/nonsense".to_owned(), None),
    ] {
        let (status, body) = stranger.call(method, &path, body).await;
        assert_eq!(
            (status, &body["type"]),
            (StatusCode::NOT_FOUND, &json!("help-not-found")),
            "{path}"
        );
    }
    // Not even that it is there.
    for scope in ["shop/production", "shop", "shop/none", "nothing"] {
        let (status, body) = stranger.call(Method::POST, "/v1/help", ask(scope)).await;
        assert_eq!(
            (status, &body["type"]),
            (StatusCode::NOT_FOUND, &json!("project-not-found")),
            "{scope}"
        );
        let (status, _) = stranger
            .call(Method::GET, &format!("/v1/help-context?scope={scope}"), None)
            .await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{scope}");
    }
    assert_eq!(ben.call(Method::GET, &path, None).await.1["state"], "answered");
}

#[tokio::test]
async fn twenty_a_day_are_enough_and_odd_texts_are_explained() {
    let control = Control::start().await;
    control.project("shop").await;
    let token = control.token("read", Some("shop")).await;
    let ask = async |body: Value| {
        let request = control
            .request(Method::POST, "/v1/help")
            .bearer_auth(&token)
            .json(&body);
        request.send().await.unwrap()
    };
    for (subject, text, scope, attach) in [
        ("", "x", None, false),
        ("two\nlines", "x", None, false),
        ("x", " ", None, false),
        ("x", "\u{1b}[2J", None, false),
        ("x", "x", Some("shop"), true),
        ("x", "x", None, true),
    ] {
        let refused = ask(json!({"subject": subject, "text": text, "scope": scope, "attach": attach})).await;
        assert_eq!(
            refused.status(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "{subject:?} {text:?}"
        );
    }
    let long = ask(json!({"subject": "x", "text": "ä".repeat(20_001)})).await;
    assert_eq!(long.status(), StatusCode::UNPROCESSABLE_ENTITY);
    for number in 0..20 {
        let asked = ask(json!({"subject": format!("question {number}"), "text": "ä".repeat(20_000)})).await;
        assert_eq!(asked.status(), StatusCode::CREATED, "{number}");
    }
    let refused = ask(json!({"subject": "one more", "text": "x"})).await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let other = control.token("read", Some("shop")).await;
    let request = control.request(Method::POST, "/v1/help").bearer_auth(&other);
    let (status, _) = answer(request.json(&json!({"subject": "mine", "text": "x"}))).await;
    assert_eq!(status, StatusCode::CREATED, "somebody else is not kept from asking");
    let request = control.request(Method::GET, "/v1/help?limit=5").bearer_auth(&token);
    let (_, list) = answer(request).await;
    assert_eq!(
        (list.as_array().unwrap().len(), &list[0]["subject"]),
        (5, &json!("question 19"))
    );
}

#[tokio::test]
async fn many_tokens_ask_no_more_than_their_project_may() {
    let control = Control::start().await;
    for project in ["shop", "other"] {
        control.project(project).await;
    }
    let ask = async |token: &str| {
        let request = control.request(Method::POST, "/v1/help").bearer_auth(token);
        answer(request.json(&json!({"subject": "x", "text": "x"}))).await
    };
    for _ in 0..3 {
        let token = control.token("read", Some("shop")).await;
        for _ in 0..20 {
            let (status, asked) = ask(&token).await;
            assert_eq!(
                (status, &asked["scope"]),
                (StatusCode::CREATED, &json!("shop")),
                "{asked}"
            );
        }
    }
    let (status, refused) = ask(&control.token("read", Some("shop")).await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
    assert!(
        refused["title"].as_str().unwrap().contains("the same project"),
        "{refused}"
    );
    assert_eq!(
        ask(&control.token("read", Some("other")).await).await.0,
        StatusCode::CREATED
    );
    assert_eq!(ask(&control.admin).await.0, StatusCode::CREATED);
}

#[tokio::test]
async fn names_of_variables_go_along_and_values_never() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let environment = control.production(&shop).await;
    let variables = "/v1/projects/shop/environments/production/variables";
    let set = json!({"no_deploy": true, "set": {
        "DATABASE_URL": {"value": "postgres://shop:tr0ub4dor-3@db/shop", "secret": true},
        "PASSWORD": {"value": "tr0ub4dor-3", "secret": true},
        "GREETING": {"value": "good morning, all", "secret": false},
    }});
    let (status, body) = control.call(Method::PATCH, variables, Some(set)).await;
    assert!(status.is_success(), "{body}");
    let (_, deployment) = control.live(&shop).await;
    let context = &control.context;
    let said = "cannot log in as shop with tr0ub4dor-3; good morning, all";
    context.tasks.line(deployment.task, LineKind::Output, said).await;
    context.tasks.flush().await;
    let line = LogLine {
        at_ms: 1,
        app: AppName::new("shop").unwrap(),
        process: ProcessName::new("web").unwrap(),
        instance: None,
        stream: LogStream::Stderr,
        text: format!("connecting to postgres://shop:tr0ub4dor-3@db/shop: {said}"),
    };
    context.logs.append(environment.id, &[line]).await;
    context.logs.flush().await;

    let body = json!({"subject": "x", "text": "y", "scope": "shop/production", "attach": true});
    let (status, asked) = control.call(Method::POST, "/v1/help", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{asked}");
    let (_, shown) = control
        .call(Method::GET, "/v1/help-context?scope=shop/production", None)
        .await;
    assert_eq!(
        shown["parts"], asked["context"]["parts"],
        "what is shown is what is sent"
    );
    let text = asked.to_string();
    for value in ["tr0ub4dor", "good morning", "postgres://"] {
        assert!(!text.contains(value), "{value} is in {text}");
    }
    for told in [
        "connecting to [value of DATABASE_URL]: cannot log in as shop with [value of PASSWORD]; [value of GREETING]",
        "DATABASE_URL\\nGREETING\\nPASSWORD",
        "v1 (release)",
    ] {
        assert!(text.contains(told), "{told} is not in {text}");
    }
    // A viewer gets no money, and whoever sees only money nothing else.
    for (role, parts) in [("viewer", 4), ("billing", 1)] {
        let body = json!({"name": role, "grant": {"role": role, "scope": "shop"}});
        let (_, account) = control.call(Method::POST, "/v1/service-accounts", Some(body)).await;
        let path = format!("/v1/service-accounts/{}/tokens", account["id"].as_str().unwrap());
        let (_, token) = control.call(Method::POST, &path, Some(json!({"name": "x"}))).await;
        let request = control.request(Method::GET, "/v1/help-context?scope=shop/production");
        let (status, shown) = answer(request.bearer_auth(token["secret"].as_str().unwrap())).await;
        assert_eq!(
            (status, shown["parts"].as_array().unwrap().len()),
            (StatusCode::OK, parts),
            "{role}: {shown}"
        );
        assert_eq!(shown.to_string().contains("Money"), role == "billing");
    }
}
