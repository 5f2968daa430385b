//! The part of the fake that is about outside systems.

use axum::extract::Query;
use axum::http::StatusCode;
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

const NOW: &str = "2030-01-31T12:00:00.000Z";

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let nothing = || async { StatusCode::NO_CONTENT };
    Router::new()
        .route("/v1/billing", get(|| async { Json(billing()) }))
        .route("/v1/billing/topups", put(set_topups).delete(nothing))
        .route("/v1/billing/outside", put(set_outside).delete(nothing))
        .route("/v1/billing/records", get(records))
        .route(
            "/v1/billing/records/{record}",
            get(|| async { Json(record("failed", true)) }),
        )
        .route(
            "/v1/billing/records/{record}/retry",
            post(|| async { Json(json!({"records": 1})) }),
        )
        .route("/v1/billing/retry", post(|| async { Json(json!({"records": 7})) }))
}

fn billing() -> Value {
    json!({
        "topups": true,
        "outside": {"url": "https://billing.example.org/weir", "allow_private": false, "since": NOW},
        "records": {"pending": 1, "unconfirmed": 2, "confirmed": 30, "failed": 4},
    })
}

async fn set_topups(Json(body): Json<Value>) -> Json<Value> {
    Json(match body.get("secret") {
        Some(_) => json!({}),
        None => json!({"secret": "whsec_made"}),
    })
}

async fn set_outside(Json(body): Json<Value>) -> Json<Value> {
    let mut told = json!({"url": body["url"], "allow_private": body["allow_private"], "since": NOW});
    if body.get("secret").is_none() {
        told["secret"] = json!("whsec_made");
    }
    Json(told)
}

async fn records(Query(query): Query<Vec<(String, String)>>) -> Json<Value> {
    let state = query.into_iter().find(|(name, _)| name == "state");
    Json(json!([record(
        &state.map_or("confirmed".to_owned(), |(_, state)| state),
        false
    )]))
}

fn record(state: &str, whole: bool) -> Value {
    let mut record = json!({
        "id": "use-acc_0-1-1", "kind": "usage", "account": "customer-7", "amount": "0.0012", "sha256": "ab12",
        "state": state, "since": NOW, "created": NOW, "attempts": 3,
    });
    if state == "failed" {
        record["answer"] = json!("200 OK: taken");
        record["problem"] = json!("it shows the amount 1.00 instead of 0.0012");
    }
    if whole {
        record["body"] = json!("{\"id\":\"use-acc_0-1-1\"}");
    }
    record
}
