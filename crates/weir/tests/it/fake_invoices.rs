//! The part of the fake that is about invoices, contacts and notices.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::fake::problem;

const THEN: &str = "2020-01-31T12:00:00.000Z";

pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let settings = Arc::new(Mutex::new(json!({
        "seller": "", "tax_percent": "0", "series": "{year}-{number:05}", "automatic": true,
    })));
    let (read, written) = (settings.clone(), settings);
    let read = move || async move { Json(read.lock().unwrap().clone()) };
    let write = move |Json(body): Json<Value>| async move {
        written.lock().unwrap().clone_from(&body);
        Json(body)
    };
    Router::new()
        .route("/v1/invoices", get(invoices).post(create))
        .route("/v1/invoices/{invoice}", get(one).delete(discard))
        .route(
            "/v1/invoices/{invoice}/finalize",
            post(|| async { Json(invoice("final")) }),
        )
        .route("/v1/invoices/{invoice}/credit", post(credit))
        .route(
            "/v1/invoices/{invoice}/pdf",
            get(|| async { ([(header::CONTENT_TYPE, "application/pdf")], "%PDF-1.7") }),
        )
        .route("/v1/invoices/{invoice}/html", get(|| async { "<!doctype html>" }))
        .route("/v1/invoice-settings", get(read).put(write))
        .route(
            "/v1/accounts/{account}/address",
            put(|| async { StatusCode::NO_CONTENT }),
        )
        .route(
            "/v1/time-zone",
            get(|| async { Json(json!({ "time_zone": "UTC" })) }).put(set_time_zone),
        )
        .route("/v1/contacts", get(|| async { Json(contacts()) }).post(add))
        .route("/v1/contacts/{contact}", delete(|| async { StatusCode::NO_CONTENT }))
        .route("/v1/contacts/{contact}/test", post(test))
        .route("/v1/notices", get(notices))
}

/// Of November in Berlin, where months begin an hour before they do in UTC.
fn invoice(state: &str) -> Value {
    let mut invoice = json!({
        "id": "inv_1", "kind": "invoice", "state": state, "created": THEN,
        "document": {
            "seller": "Cloud Ltd", "customer": "Example Ltd", "account": "customer-7", "currency": "EUR",
            "from": "2026-10-31T23:00:00.000Z", "until": "2026-11-30T23:00:00.000Z", "time_zone": "Europe/Berlin",
            "lines": [{
                "number": 1, "project": "shop", "environment": "production", "sku": "requests", "quantity": "12.345",
                "price": "0.10 per million", "price_version": 1, "exact": "1.2345", "amount": "1.23",
            }],
            "total": "1.23", "tax_percent": "19", "tax": "0.20", "net": "1.03", "rounding": "-0.0045",
        },
    });
    if state != "draft" {
        invoice["number"] = json!("2026-00042");
        invoice["finalized"] = json!(THEN);
    }
    invoice
}

async fn invoices() -> Json<Value> {
    let mut note = invoice("final");
    note["kind"] = json!("credit-note");
    note["number"] = json!("2026-00043");
    note["document"]["total"] = json!("-1.23");
    Json(json!([note, invoice("credited")]))
}

async fn create(Json(body): Json<Value>) -> Response {
    if body["from"] == "2030-01-01" {
        return problem(409, "nothing-used", "nothing was used in that time", None);
    }
    (StatusCode::CREATED, Json(invoice("draft"))).into_response()
}

async fn one(Path(id): Path<String>) -> Response {
    if id == "inv_1" {
        return Json(invoice("draft")).into_response();
    }
    let hint = "list them with `weir invoice list`";
    problem(404, "invoice-not-found", "there is no such invoice", Some(hint))
}

async fn discard(Path(id): Path<String>) -> Response {
    if id == "inv_1" {
        return StatusCode::NO_CONTENT.into_response();
    }
    let hint = "take it back with `weir invoice credit`";
    problem(409, "not-a-draft", "a final document is never removed", Some(hint))
}

async fn credit(Json(body): Json<Value>) -> Response {
    let mut note = invoice("draft");
    note["kind"] = json!("credit-note");
    note["document"]["reason"] = body["reason"].clone();
    (StatusCode::CREATED, Json(note)).into_response()
}

async fn set_time_zone(Json(body): Json<Value>) -> Response {
    let name = body["time_zone"].as_str().unwrap();
    if name.contains('/') {
        return Json(body).into_response();
    }
    problem(422, "invalid-input", &format!("`{name}` is not a time zone"), None)
}

fn contact(id: &str, channel: &str, address: &str) -> Value {
    json!({
        "id": id, "account": "default", "channel": channel, "address": address, "allow_private": false, "created": THEN,
    })
}

fn contacts() -> Value {
    json!([
        contact("con_1", "email", "ops@example.org"),
        contact("con_2", "webhook", "https://hooks.example.org/weir"),
        contact("con_3", "email", "twice@example.org"),
        contact("con_4", "email", "twice@example.org"),
    ])
}

async fn add(Json(body): Json<Value>) -> Response {
    let text = |name: &str| body[name].as_str().unwrap().to_owned();
    let mut contact = contact("con_9", &text("channel"), &text("address"));
    if text("channel") == "webhook" {
        contact["secret"] = json!("whsec_shown_once");
    }
    (StatusCode::CREATED, Json(contact)).into_response()
}

/// The first contact takes what it gets after a moment; the second one never does.
fn notice(contact: &str, state: &str, attempts: u32) -> Value {
    let address = if contact == "con_1" {
        "ops@example.org"
    } else {
        "https://hooks.example.org/weir"
    };
    let mut notice = json!({
        "id": format!("ntc_{contact}"), "contact": contact, "address": address, "kind": "test",
        "subject": "account:default: this is a test", "state": state, "attempts": attempts, "created": THEN,
        "next": THEN,
    });
    if state == "waiting" && attempts > 0 {
        notice["problem"] = json!("the receiver answered 503 Service Unavailable");
    }
    notice
}

async fn test(Path(contact): Path<String>) -> Response {
    (StatusCode::ACCEPTED, Json(notice(&contact, "waiting", 0))).into_response()
}

async fn notices(Query(query): Query<std::collections::BTreeMap<String, u32>>) -> Json<Value> {
    let all = [notice("con_2", "waiting", 1), notice("con_1", "sent", 1)];
    Json(all.into_iter().take(usize::try_from(query["limit"]).unwrap()).collect())
}
