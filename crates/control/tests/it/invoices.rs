//! What is on invoices is what the ledger has, numbered without gaps, and taken back on paper.

use std::sync::Arc;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::api;
use weir_control::clock::{Clock, SystemClock};
use weir_ledger::protocol::{Exchange, LeaseKey, LeaseReport, LineKey, Want};
use weir_ledger::{Nano, Sku};
use weir_model::{AppName, ProcessName, UnixMillis};

use crate::harness::Control;

/// Two hours later, so that the stretch with the use in it is over.
#[derive(Debug)]
struct Later;

const LATER_MS: i64 = 7_200_000;

impl Clock for Later {
    fn now_ms(&self) -> UnixMillis {
        SystemClock.now_ms() + LATER_MS
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

/// Control in which 1.2345 were used: 12345000 requests, and some CPU.
async fn start() -> (Control, Value) {
    let mut control = Control::start().await;
    let shop = control.project("shop").await;
    let environment = control.production(&shop).await.id;
    let line = |sku| LineKey {
        app: Some(AppName::new("shop").unwrap()),
        process: Some(ProcessName::new("web").unwrap()),
        sku,
    };
    let say = |granted, needed: Option<Nano>, usage, closed| Exchange {
        meter: "node:test".to_owned(),
        incarnation: 1,
        boot: 1,
        closings: Vec::new(),
        leases: vec![LeaseReport {
            lease: LeaseKey { environment, number: 1 },
            granted,
            returned: Nano::ZERO,
            usage,
            want: needed.map(|needed| Want {
                needed,
                rate_per_s: Nano(1),
            }),
            closed,
        }],
    };
    let cap = json!({"limit": "50", "period": "month", "pace": false});
    control.call(Method::PUT, "/v1/projects/shop/cap", Some(cap)).await;
    let money = &control.context.money;
    let asked = say(Nano::ZERO, Some(Nano(2_000_000_000)), Vec::new(), false);
    let granted = money.exchange(asked).await.unwrap().leases[0].granted;
    assert!(granted >= Nano(2_000_000_000));
    let usage = vec![(line(Sku::REQUESTS), 12_345_000), (line(Sku::CPU), 3_600_000_007)];
    money.exchange(say(granted, None, usage, true)).await.unwrap();
    let hour_ms = SystemClock.now_ms() / 3_600_000 * 3_600_000;
    let text = |ms| api::present::instant(ms);
    let stretch = json!({"account": "default", "from": text(hour_ms), "until": text(hour_ms + 3_600_000)});
    control.context.clock = Arc::new(Later);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    control.address = format!("http://{}", listener.local_addr().unwrap());
    let router = api::router(control.context.clone()).into_make_service_with_connect_info::<std::net::SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (control, stretch)
}

async fn post(control: &Control, path: &str, body: Value) -> (StatusCode, Value) {
    control.call(Method::POST, path, Some(body)).await
}

fn sum(invoice: &Value, column: &str) -> i64 {
    let lines = invoice["document"]["lines"].as_array().unwrap();
    let amount = |line: &Value| line[column].as_str().unwrap().parse::<Nano>().unwrap().0;
    lines.iter().map(amount).sum()
}

#[tokio::test]
async fn an_invoice_is_the_ledger_on_paper_and_a_credit_note_takes_it_back() {
    let (control, stretch) = start().await;
    let settings = json!({"seller": "Облако GmbH\nStraße 1", "tax_percent": "19", "series": "R{year}-{number:03}"});
    let (status, problem) = control.call(Method::PUT, "/v1/invoice-settings", Some(settings)).await;
    assert_eq!(status, StatusCode::OK, "{problem}");
    let used = control
        .context
        .money
        .account(weir_store::Account::default_id())
        .unwrap()
        .usage;
    let used: i64 = used.values().map(|amount| amount.0).sum();
    let (status, draft) = post(&control, "/v1/invoices", stretch.clone()).await;
    assert_eq!(status, StatusCode::CREATED, "{draft}");
    assert_eq!((&draft["state"], draft.get("number")), (&json!("draft"), None));
    assert_eq!(sum(&draft, "exact"), used, "to the unit");
    let paper = &draft["document"];
    // 1.2345 rounds to 1.23 and 0.005000000010 to 0.01; both with tax in them.
    assert_eq!((&paper["total"], &paper["tax"]), (&json!("1.24"), &json!("0.20")));
    assert_eq!(
        sum(&draft, "amount") - used,
        paper["rounding"].as_str().unwrap().parse::<Nano>().unwrap().0
    );
    let (_, second) = post(&control, "/v1/invoices", stretch.clone()).await;
    let finalize = |invoice: &Value| format!("/v1/invoices/{}/finalize", invoice["id"].as_str().unwrap());
    let (status, invoice) = control.call(Method::POST, &finalize(&draft), None).await;
    assert_eq!(
        (status, &invoice["state"]),
        (StatusCode::OK, &json!("final")),
        "{invoice}"
    );
    let number = invoice["number"].as_str().unwrap().to_owned();
    assert!(number.starts_with("R20") && number.ends_with("-001"), "{number}");
    assert_eq!(invoice["document"], draft["document"]);
    for other in [&draft, &second] {
        let (status, _) = control.call(Method::POST, &finalize(other), None).await;
        assert_eq!(status, StatusCode::CONFLICT, "nothing is on two invoices");
    }
    let left = control
        .context
        .money
        .account(weir_store::Account::default_id())
        .unwrap()
        .usage;
    assert_eq!(left.values().map(|amount| amount.0).sum::<i64>(), 0);
    let id = invoice["id"].as_str().unwrap();
    let (status, _) = control.call(Method::DELETE, &format!("/v1/invoices/{id}"), None).await;
    assert_eq!(status, StatusCode::CONFLICT, "a final one stays");

    let credit = format!("/v1/invoices/{number}/credit");
    let (status, note) = post(&control, &credit, json!({"lines": [1], "reason": "an outage"})).await;
    assert_eq!(status, StatusCode::CREATED, "{note}");
    let (_, note) = control.call(Method::POST, &finalize(&note), None).await;
    assert!(
        note["number"].as_str().unwrap().ends_with("-002"),
        "without gaps: {note}"
    );
    let (status, _) = post(&control, &credit, json!({"lines": [1], "reason": "again"})).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    let (_, rest) = post(&control, &credit, json!({"reason": "the rest"})).await;
    let (status, rest) = control.call(Method::POST, &finalize(&rest), None).await;
    assert_eq!(status, StatusCode::OK, "{rest}");
    assert_eq!(sum(&note, "exact") + sum(&rest, "exact"), -used);
    let (_, invoice) = control.call(Method::GET, &format!("/v1/invoices/{id}"), None).await;
    assert_eq!(invoice["state"], "credited");
    let report = control.context.money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[tokio::test]
async fn an_invoice_is_a_page_and_a_pdf() {
    let (control, stretch) = start().await;
    let address = json!({"address": "Иван <b>Петров</b>\nМосква"});
    let (status, _) = control
        .call(Method::PUT, "/v1/accounts/default/address", Some(address))
        .await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, draft) = post(&control, "/v1/invoices", stretch).await;
    let path = format!("/v1/invoices/{}", draft["id"].as_str().unwrap());
    let page = control
        .as_admin(Method::GET, &format!("{path}/html"))
        .send()
        .await
        .unwrap();
    // It is shown where people are signed in, and tenants have written in it.
    let policy = page.headers()["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'") && policy.ends_with("; sandbox"),
        "{policy}"
    );
    let page = page.text().await.unwrap();
    assert!(
        page.contains("Иван &lt;b&gt;Петров") && page.contains("0.10 per million"),
        "{page}"
    );
    let pdf = control
        .as_admin(Method::GET, &format!("{path}/pdf"))
        .send()
        .await
        .unwrap();
    assert_eq!(pdf.headers()["content-type"], "application/pdf");
    let pdf = pdf.bytes().await.unwrap();
    assert!(pdf.starts_with(b"%PDF-1.7") && pdf.ends_with(b"%%EOF\n"));
    let (status, _) = control.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "a draft may go");
    let (_, none) = control.call(Method::GET, "/v1/invoices", None).await;
    assert_eq!(none, json!([]));
}
