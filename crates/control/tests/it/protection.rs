//! Who may pass, and what is closed, over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::Control;

const AT: &str = "/v1/projects/shop/environments/production";

async fn call(control: &Control, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
    control.call(method, &format!("{AT}{path}"), body).await
}

#[tokio::test]
async fn people_are_let_in_with_a_password_that_is_never_shown() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let put = async |name: &str, password: &str| {
        let body = json!({ "password": password });
        call(&control, Method::PUT, &format!("/access/{name}"), Some(body)).await
    };
    let (status, protection) = put("anna", "geheim-und-lang").await;
    assert_eq!(status, StatusCode::OK, "{protection}");
    assert_eq!(protection["users"][0]["name"], "anna");
    let (_, protection) = put("ben%20b", "swordfish").await;
    assert_eq!(protection["users"][1]["name"], "ben b");
    assert!(!protection.to_string().contains("argon2") && !protection.to_string().contains("swordfish"));
    for (name, password) in [("carl", "short"), ("a%3Ab", "long enough"), ("carl", &"x".repeat(513))] {
        assert_eq!(
            put(name, password).await.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{name} {password}"
        );
    }
    let environments = control.context.store.environment_list(shop.id).await.unwrap();
    let kept = control
        .context
        .store
        .access_user_list(environments[0].id)
        .await
        .unwrap();
    assert!(kept[0].user.hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    let (status, protection) = call(&control, Method::DELETE, "/access/ben%20b", None).await;
    assert_eq!(
        (status, protection["users"].as_array().unwrap().len()),
        (StatusCode::OK, 1)
    );
    let (status, problem) = call(&control, Method::DELETE, "/access/ben%20b", None).await;
    assert_eq!(
        (status, &problem["hint"]),
        (StatusCode::NOT_FOUND, &json!("weir access list"))
    );
}

#[tokio::test]
async fn an_environment_is_closed_and_opened_again() {
    let control = Control::start().await;
    control.project("shop").await;
    let (_, protection) = call(&control, Method::GET, "/protection", None).await;
    assert_eq!(protection.get("maintenance"), None);
    let body = json!({"message": "We move.", "until": "2999-01-01T00:00:00Z", "allow": ["203.0.113.9/32", "10.0.0.0/8"], "page": "<h1>x</h1>"});
    let (status, protection) = call(&control, Method::PUT, "/maintenance", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{protection}");
    let closed = &protection["maintenance"];
    assert_eq!(closed["allow"], json!(["203.0.113.9", "10.0.0.0/8"]));
    assert_eq!(
        (&closed["message"], &closed["own_page"]),
        (&json!("We move."), &json!(true))
    );
    let (_, status) = call(&control, Method::GET, "", None).await;
    assert_eq!(&status["maintenance"], closed);
    let (status, problem) = call(
        &control,
        Method::PUT,
        "/maintenance",
        Some(json!({"allow": ["office.example"]})),
    )
    .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        problem.to_string().contains("names of hosts cannot be used"),
        "{problem}"
    );
    assert_eq!(
        (closed["bypass"].as_bool(), protection.get("bypass_path")),
        (Some(false), None)
    );
    let again = || call(&control, Method::PUT, "/maintenance", Some(json!({ "bypass": true })));
    let (status, protection) = again().await;
    assert_eq!(
        (status, protection["maintenance"]["bypass"].as_bool()),
        (StatusCode::OK, Some(true))
    );
    let path = protection["bypass_path"].as_str().unwrap().to_owned();
    let secret = path.strip_prefix("/.weir/bypass/").unwrap();
    assert_eq!(secret.len(), 64);
    let (_, another) = again().await;
    assert_ne!(another["bypass_path"], path.as_str(), "each is another one");
    let (_, shown) = call(&control, Method::GET, "/protection", None).await;
    assert!(
        shown.get("bypass_path").is_none() && !shown.to_string().contains(secret),
        "told once"
    );
    let (status, protection) = call(&control, Method::DELETE, "/maintenance", None).await;
    assert_eq!((status, protection.get("maintenance")), (StatusCode::OK, None));
}
