//! The part of the fake that is about money.

use std::collections::BTreeMap;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

/// When the cap of `shop` would be reached at the worst: long ago, so that what is shown of it
/// does not depend on the day.
const PAST: &str = "2020-01-31T12:00:00.000Z";

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    const PROJECT: &str = "/v1/projects/{project}";
    const ENVIRONMENT: &str = "/v1/projects/{project}/environments/{environment}";
    const ACCOUNT: &str = "/v1/accounts/{account}";
    Router::new()
        .route("/v1/caps", get(|| async { Json(json!([account_standing()])) }))
        .route(&format!("{PROJECT}/cap"), get(project_caps).put(set_cap))
        .route(
            &format!("{ENVIRONMENT}/cap"),
            put(set_environment_cap).delete(unset_cap),
        )
        .route(&format!("{ACCOUNT}/cap"), put(set_cap))
        .route("/v1/cost", get(cost))
        .route(&format!("{PROJECT}/cost"), get(cost))
        .route("/v1/prices", get(prices).post(publish))
        .route("/v1/prices/{version}", get(|| async { Json(book(1, true)) }))
        .route(
            "/v1/accounts",
            get(|| async { Json(json!([account()])) }).post(|| answer(account())),
        )
        .route(ACCOUNT, get(|| answer(account())))
        .route(&format!("{ACCOUNT}/deposits"), post(|| answer(account())))
        .route(&format!("{ACCOUNT}/promises"), post(|| answer(account())))
        .route(&format!("{ACCOUNT}/billing"), put(|| answer(account())))
        .route(&format!("{ACCOUNT}/stop-order"), put(|| answer(account())))
        .route(&format!("{ACCOUNT}/transfers"), get(transfers))
        .route(
            &format!("{ENVIRONMENT}/guard"),
            get(|| answer(guard()))
                .merge(patch(|| answer(guard())))
                .merge(delete(|| answer(guard()))),
        )
        .route("/v1/ledger/audit", get(audit))
        .route("/v1/ledger/journal", get(journal))
}

async fn answer(body: Value) -> Json<Value> {
    Json(body)
}

fn standing(scope: &str, kind: &str) -> Value {
    json!({
        "scope": scope, "kind": kind, "currency": "EUR",
        "cap": { "limit": "7.00", "period": "month", "pace": true }, "limit": "7.00",
        "settled": "1.2345678", "held": "0.0123", "reserved": "0.00", "left": "5.7531322",
        "from": PAST, "until": PAST, "burn_per_hour": "0.00", "worst_per_hour": "0.006",
    })
}

fn account_standing() -> Value {
    let mut standing = standing("account:default", "account");
    standing["cap"] = json!({ "limit": "100.00", "period": "month", "pace": false });
    standing["limit"] = json!("100.00");
    standing["left"] = json!("98.7531322");
    standing
}

async fn project_caps(Path(project): Path<String>) -> Json<Value> {
    let mut shop = standing(&project, "project");
    shop["limit"] = json!("7.25");
    shop["left"] = json!("0.00");
    shop["reached"] = json!(PAST);
    shop["stopped"] = json!({
        "reason": "project-cap",
        "message": "the spending cap of the project is reached",
        "hint": format!("weir cap set {project} AMOUNT/month allows more"),
    });
    let mut production = standing(&format!("{project}/production"), "environment");
    for name in ["cap", "limit", "left"] {
        production.as_object_mut().unwrap().remove(name);
    }
    Json(json!([account_standing(), shop, production]))
}

fn change(scope: &str, wanted: Option<&Value>) -> Value {
    let after = wanted.map(|wanted| {
        json!({ "limit": wanted["limit"], "period": wanted["period"], "pace": wanted.get("pace").unwrap_or(&json!(true)) })
    });
    json!({
        "scope": scope, "currency": "EUR",
        "done": wanted.is_none_or(|wanted| wanted["dry_run"] == json!(false)),
        "before": { "limit": "7.00", "period": "month", "pace": true },
        "after": after,
        "limit": wanted.map(|wanted| wanted["limit"].clone()),
        "spent_and_held": "1.2468678", "worst_per_hour": "0.006", "worst_per_month": "4.38",
        "reached_at_worst": PAST,
        "notes": ["account:default is bound to 100.00 in the same time, so that cap is reached first"],
    })
}

async fn set_cap(Path(name): Path<String>, Json(body): Json<Value>) -> Json<Value> {
    Json(change(&name, Some(&body)))
}

async fn set_environment_cap(
    Path((project, environment)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Json<Value> {
    Json(change(&format!("{project}/{environment}"), Some(&body)))
}

async fn unset_cap(Path((project, environment)): Path<(String, String)>) -> Json<Value> {
    Json(change(&format!("{project}/{environment}"), None))
}

async fn cost(Query(query): Query<BTreeMap<String, String>>) -> Json<Value> {
    let line = |process: Option<&str>, sku: &str, units: &str, amount: &str| {
        let mut line = json!({
            "project": "shop", "environment": "production", "app": process.map(|_| "shop"), "process": process,
            "sku": sku, "units": units, "amount": amount,
        });
        if query["by"] == "line" {
            line["price_version"] = json!(1);
            line["price"] = json!({ "pico": "100000000000", "per": "1000000", "text": "0.10 per million" });
        }
        line
    };
    let mut lines = vec![
        line(Some("web"), "requests", "12345678", "1.2345678"),
        line(None, "lost", "0", "0.000000001"),
    ];
    if query["by"] == "environment" {
        lines = vec![json!({ "project": "shop", "environment": "production", "amount": "1.234567801" })];
    }
    Json(json!({
        "currency": "EUR", "from": "2030-01-01T00:00:00.000Z", "until": "2030-01-31T12:00:00.000Z",
        "time_zone": "Europe/Berlin", "lines": lines, "lost": "0.000000001", "total": "1.234567801",
    }))
}

fn book(version: u32, in_force: bool) -> Value {
    let price = json!({ "pico": "100000000000", "per": "1000000", "text": "0.10 per million" });
    json!({
        "version": version, "currency": "EUR", "valid_from": "2030-01-01T00:00:00.000Z", "in_force": in_force,
        "prices": [{ "sku": "requests", "price": price }],
        "toml": "currency = \"EUR\"\n\n[prices]\nrequests = \"0.10 per million\"\n",
    })
}

async fn prices() -> Json<Value> {
    Json(json!([book(2, false), book(1, true)]))
}

async fn publish(Json(body): Json<Value>) -> Response {
    let toml = body["toml"].as_str().unwrap();
    if toml.contains("wrong") {
        let problem = json!({
            "type": "invalid-input", "title": "these are not prices", "status": 422,
            "detail": "the price file, line 2: `wrong` is not known here",
        });
        return (StatusCode::UNPROCESSABLE_ENTITY, problem.to_string()).into_response();
    }
    let price = |text: &str| json!({ "pico": "1", "per": "1", "text": text });
    let change = json!({
        "version": 3, "valid_from": "2030-01-01T00:00:00.000Z", "done": body["dry_run"] == json!(false),
        "changes": [
            { "sku": "requests", "before": price("0.10 per million"), "after": price("0.20 per million") },
            { "sku": "gpu", "after": price("1.00 per one") },
        ],
    });
    Json(change).into_response()
}

fn account() -> Value {
    json!({
        "name": "default", "id": "acc_1", "currency": "EUR", "billing": false, "balance": "12.3400001",
        "trial": "2.00", "promised": "5.00", "cash": "6.3400001", "held": "0.25", "debt": "1.00", "due": PAST,
        "time_zone": "Europe/Berlin", "stop_order": ["blog"], "projects": ["blog", "shop"],
    })
}

async fn transfers() -> Json<Value> {
    Json(json!([{
        "id": "one", "at": PAST, "from": "external:payments", "to": "wallet:cash", "amount": "6.3400001",
        "reference": "transfer 4711",
    }]))
}

fn guard() -> Value {
    json!({
        "currency": "EUR",
        "rules": [
            { "app": "shop", "set": false, "enabled": true, "depth": 16, "descendants": 1000, "budget": 331, "repeats": 64, "reproduction": true, "background": "tell", "worst_per_root": "0.0834" },
            { "app": "crawler", "set": true, "enabled": false, "depth": 32, "descendants": 5000, "budget": 5000, "repeats": 0, "reproduction": false, "background": "slow" },
        ],
        "background": [
            { "app": "shop", "process": "web", "instance": "ins_1", "since": PAST, "cpu_ms": 12_345, "slowed": true },
        ],
        "trips": [
            { "at": PAST, "app": "shop", "process": "web", "rule": "repeats", "limit": 16, "measured": 16, "refused": false, "warning": true, "chain": ["GET shop.localhost/again"] },
            { "at": PAST, "app": "shop", "process": "web", "rule": "reproduction", "limit": 1000, "measured": 1500, "refused": true, "chain": ["GET shop.localhost/a", "GET shop.localhost/\u{1b}[2Jb"] },
        ],
    })
}

async fn audit() -> Json<Value> {
    Json(json!({
        "sound": false, "at": PAST, "events": 12, "hash": "ab", "checkpoints": 1, "hours": 3, "leases": 4,
        "accesses": 2, "unserved_requests": 1,
        "findings": ["row 7 of the journal was changed"],
    }))
}

/// A journal of 1,500 entries, at most 1,000 of them in one answer.
async fn journal(Query(query): Query<BTreeMap<String, i64>>) -> Json<Value> {
    let entries = (query["from"]..=1_500).take(usize::try_from(query["limit"]).unwrap().min(1_000));
    let entry =
        |sequence: i64| json!({ "sequence": sequence, "at_ms": 5, "body": "{}", "previous_hash": "a", "hash": "b" });
    Json(entries.map(entry).collect())
}
