//! Contacts are told: by webhooks that somebody receives, and by mail to a server in this process.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use hmac::{Hmac, Mac as _};
use http::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use weir_control::secrets::Secret;
use weir_control::{Config, Context, billing, money};
use weir_ledger::protocol::{DenialReason, Exchange, LeaseKey, LeaseReport, LineKey, Want};
use weir_ledger::{Nano, Sku};
use weir_model::guard::{GuardRule, GuardTrip};
use weir_model::{AppName, EnvironmentId, ProcessName};

use crate::harness::{Control, answer};
use crate::mail_server::{self, Manner};

const CONTACTS: &str = "/v1/contacts";

/// Somebody else's system: keeps what it gets, and answers as it is told to, then 200.
#[derive(Debug, Clone, Default)]
struct Receiver {
    got: Arc<Mutex<Vec<(HeaderMap, String)>>>,
    answers: Arc<Mutex<VecDeque<StatusCode>>>,
}

impl Receiver {
    async fn start(&self) -> String {
        let receive = |State(receiver): State<Self>, headers: HeaderMap, body: String| async move {
            receiver.got.lock().unwrap().push((headers, body));
            let next = receiver.answers.lock().unwrap().pop_front();
            next.unwrap_or(StatusCode::OK)
        };
        let router = axum::Router::new()
            .route("/hook", axum::routing::post(receive))
            .with_state(self.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    fn bodies(&self) -> Vec<Value> {
        let got = self.got.lock().unwrap();
        got.iter()
            .map(|(_, body)| serde_json::from_str(body).unwrap())
            .collect()
    }

    /// What was sent once it satisfies a condition.
    async fn until(&self, is_enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        for _ in 0..600 {
            let bodies = self.bodies();
            if is_enough(&bodies) {
                return bodies;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it never came; there is {:#?}", self.bodies());
    }
}

/// Control with the parts that tell.
pub(crate) async fn start(smtp: Option<&str>, ca_bundle: Option<PathBuf>) -> Control {
    let mut control = Control::start().await;
    let config = Config {
        smtp: smtp.map(|url| Secret::new(url.to_owned())),
        ca_bundle,
        ..(*control.context.config).clone()
    };
    control.context.config = Arc::new(config);
    tokio::spawn(billing::run(control.context.clone()));
    let sinks: Vec<Arc<dyn money::AlertSink>> = vec![Arc::new(billing::NoticeSink)];
    tokio::spawn(money::tell(control.context.clone(), sinks));
    control
}

pub(crate) async fn add(control: &Control, body: Value) -> Value {
    let (status, contact) = control.call(Method::POST, CONTACTS, Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{contact}");
    contact
}

async fn add_webhook(control: &Control, url: &str) -> Value {
    let body = json!({"channel": "webhook", "address": url, "project": "shop", "allow_private": true});
    add(control, body).await
}

/// Asks the ledger for money and uses up a number of requests of it (100 nano each).
pub(crate) async fn spend(
    context: &Context,
    environment: EnvironmentId,
    number: u32,
    requests: u64,
) -> Option<DenialReason> {
    let lease = LeaseKey { environment, number };
    let say = |granted: Nano, needed: Option<Nano>, requests: u64, closed: bool| {
        let line = LineKey {
            app: Some(AppName::new("shop").unwrap()),
            process: Some(ProcessName::new("web").unwrap()),
            sku: Sku::REQUESTS,
        };
        let report = LeaseReport {
            lease,
            granted,
            returned: Nano::ZERO,
            usage: if requests > 0 {
                vec![(line, requests)]
            } else {
                Vec::new()
            },
            want: needed.map(|needed| Want {
                needed,
                rate_per_s: Nano(1),
            }),
            closed,
        };
        let exchange = Exchange {
            meter: "node:test".to_owned(),
            incarnation: 1,
            boot: 1,
            closings: Vec::new(),
            leases: vec![report],
        };
        async move { context.money.exchange(exchange).await.unwrap().leases[0].clone() }
    };
    let needed = Nano(i64::try_from(requests).unwrap() * 100);
    let answer = say(Nano::ZERO, Some(needed), 0, false).await;
    if answer.denied.is_none() {
        say(answer.granted, None, requests, true).await;
    }
    answer.denied.map(|denied| denied.reason)
}

async fn set_cap(control: &Control, limit: &str) {
    let body = json!({"limit": limit, "period": "month", "pace": false});
    let (status, told) = control.call(Method::PUT, "/v1/projects/shop/cap", Some(body)).await;
    assert_eq!(status, StatusCode::OK, "{told}");
}

fn kinds(bodies: &[Value]) -> Vec<&str> {
    bodies.iter().filter_map(|body| body["kind"].as_str()).collect()
}

#[tokio::test]
async fn a_webhook_learns_of_every_threshold_of_the_stop_and_that_it_goes_on() {
    let control = start(None, None).await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let receiver = Receiver::default();
    let contact = add_webhook(&control, &receiver.start().await).await;
    set_cap(&control, "0.01").await;
    assert_eq!(spend(&control.context, production.id, 1, 60_000).await, None);
    let told = receiver.until(|bodies| kinds(bodies).contains(&"money.crossed")).await;
    let half = told.iter().find(|body| body["kind"] == "money.crossed").unwrap();
    assert!(half["message"].as_str().unwrap().starts_with("50 %"), "{half}");
    assert_eq!(
        (&half["account"], &half["project"]),
        (&json!("default"), &json!("shop"))
    );
    assert_eq!(spend(&control.context, production.id, 2, 30_000).await, None);
    let is_80 = |body: &Value| {
        body["message"]
            .as_str()
            .is_some_and(|message| message.starts_with("80 %"))
    };
    receiver.until(|bodies| bodies.iter().any(is_80)).await;
    assert_eq!(
        spend(&control.context, production.id, 3, 60_000).await,
        Some(DenialReason::ProjectCap)
    );
    receiver.until(|bodies| kinds(bodies).contains(&"money.stopped")).await;
    set_cap(&control, "5").await;
    let told = receiver.until(|bodies| kinds(bodies).contains(&"money.resumed")).await;
    let mut ids: Vec<&str> = told.iter().filter_map(|body| body["id"].as_str()).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "each was told once: {told:#?}");
    // Signed with what was told once.
    let secret = contact["secret"].as_str().unwrap();
    for (headers, body) in receiver.got.lock().unwrap().iter() {
        let signed = headers["weir-signature"].to_str().unwrap();
        let (time, hash) = signed.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(format!("{time}.{body}").as_bytes());
        let computed: String = mac
            .finalize()
            .into_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hash, computed);
        let id = serde_json::from_str::<Value>(body).unwrap()["id"].clone();
        assert_eq!(headers["idempotency-key"].to_str().unwrap(), id.as_str().unwrap());
    }
    let (_, listed) = control.call(Method::GET, CONTACTS, None).await;
    assert_eq!(listed[0].get("secret"), None, "it is told once");
}

#[tokio::test]
async fn what_a_receiver_refuses_comes_again_the_same_and_in_order() {
    let control = start(None, None).await;
    control.project("shop").await;
    let receiver = Receiver::default();
    let refusals = [StatusCode::SERVICE_UNAVAILABLE];
    receiver.answers.lock().unwrap().extend(refusals);
    let contact = add_webhook(&control, &receiver.start().await).await;
    let path = format!("{CONTACTS}/{}/test", contact["id"].as_str().unwrap());
    let (status, first) = control.call(Method::POST, &path, None).await;
    assert_eq!((status, &first["state"]), (StatusCode::ACCEPTED, &json!("waiting")));
    let (_, second) = control.call(Method::POST, &path, None).await;
    receiver.until(|bodies| bodies.len() == 1).await;
    let bodies = receiver.until(|bodies| bodies.len() >= 3).await;
    let ids: Vec<&Value> = bodies.iter().map(|body| &body["id"]).collect();
    assert_eq!(ids, [&first["id"], &first["id"], &second["id"]]);
    assert_eq!(bodies[0], bodies[1]);
    for _ in 0..100 {
        let (_, log) = control.call(Method::GET, "/v1/notices", None).await;
        if log[0]["state"] == "sent" {
            assert_eq!((&log[1]["state"], &log[1]["attempts"]), (&json!("sent"), &json!(2)));
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the log never said that it was sent");
}

#[tokio::test]
async fn mail_goes_to_the_address_with_what_to_do_next() {
    let (port, mut mails) = mail_server::start(Manner::Plain, None).await;
    let control = start(Some(&format!("smtp://127.0.0.1:{port}?from=weir@example.org")), None).await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    add(&control, json!({"channel": "email", "address": "ops@example.org"})).await;
    set_cap(&control, "0.01").await;
    spend(&control.context, production.id, 1, 60_000).await;
    let mail = mail_server::next_mail(&mut mails).await;
    for part in [
        "MAIL FROM:<weir@example.org>",
        "RCPT TO:<ops@example.org>",
        "To: ops@example.org",
        "Subject: shop: 50 % of the cap of 0.01 is spent",
        "Message-ID: <ntc_",
        "weir cap set shop AMOUNT/month",
    ] {
        assert!(mail.contains(part), "{part} is missing in\n{mail}");
    }
}

#[tokio::test]
async fn without_a_mail_server_the_log_says_so() {
    let control = start(None, None).await;
    let contact = add(&control, json!({"channel": "email", "address": "ops@example.org"})).await;
    let path = format!("{CONTACTS}/{}/test", contact["id"].as_str().unwrap());
    control.call(Method::POST, &path, None).await;
    for _ in 0..200 {
        let (_, log) = control.call(Method::GET, "/v1/notices", None).await;
        if log[0]["attempts"] == 1 {
            assert_eq!(log[0]["state"], "waiting");
            assert!(log[0]["problem"].as_str().unwrap().contains("WEIR_SMTP"), "{log}");
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it was never tried");
}

#[tokio::test]
async fn the_guard_tells_of_an_app_once_in_ten_minutes() {
    let control = start(None, None).await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let receiver = Receiver::default();
    add_webhook(&control, &receiver.start().await).await;
    let trip = |at_ms, rule| GuardTrip {
        sequence: 0,
        environment: production.id,
        at_ms,
        app: AppName::new("crawler").unwrap(),
        process: ProcessName::new("web").unwrap(),
        rule,
        limit: 32,
        measured: 33,
        refused: true,
        warning: false,
        chain: vec!["crawler.web".to_owned()],
    };
    for trip in [
        trip(600_000, GuardRule::Depth),
        trip(600_500, GuardRule::Depth),
        trip(1_199_999, GuardRule::Depth),
        trip(700_000, GuardRule::Repeats),
        trip(1_200_000, GuardRule::Depth),
    ] {
        billing::guard_tripped(&control.context, &shop, &production, &trip, "the guard refused calls").await;
    }
    let notices = control.context.store.notice_list(10).await.unwrap();
    assert_eq!(notices.len(), 3);
    let told = receiver.until(|bodies| bodies.len() == 3).await;
    assert_eq!(told[0]["kind"], "guard.tripped");
    assert_eq!(told[0]["next_step"], "weir guard shop crawler --env production");
}

#[tokio::test]
async fn contacts_lead_only_where_their_owner_may_go() {
    let control = Control::start().await;
    control.project("shop").await;
    control.project("other").await;
    let own = control.token("admin", Some("shop")).await;
    let create =
        |token: String, body: Value| answer(control.request(Method::POST, CONTACTS).bearer_auth(token).json(&body));
    let inside = json!({"channel": "webhook", "address": "http://127.0.0.1:8081/v1/tokens", "project": "shop"});
    let (status, problem) = create(control.admin.clone(), inside).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
    let allowed =
        json!({"channel": "webhook", "address": "https://10.0.0.1/", "project": "shop", "allow_private": true});
    assert_eq!(create(own.clone(), allowed.clone()).await.0, StatusCode::FORBIDDEN);
    let foreign = json!({"channel": "email", "address": "a@example.org", "project": "other"});
    assert_eq!(create(own.clone(), foreign.clone()).await.0, StatusCode::NOT_FOUND);
    let account = json!({"channel": "email", "address": "a@example.org"});
    assert_eq!(create(own.clone(), account.clone()).await.0, StatusCode::NOT_FOUND);
    let mine = json!({"channel": "email", "address": "mine@example.org", "project": "shop"});
    assert_eq!(create(own.clone(), mine.clone()).await.0, StatusCode::CREATED);
    assert_eq!(create(own.clone(), mine).await.0, StatusCode::CONFLICT);
    for body in [allowed, foreign, account] {
        assert_eq!(create(control.admin.clone(), body).await.0, StatusCode::CREATED);
    }
    let (_, seen) = answer(control.request(Method::GET, CONTACTS).bearer_auth(&own)).await;
    assert_eq!(seen.as_array().unwrap().len(), 2, "those of the project: {seen}");
    let (_, all) = control.call(Method::GET, CONTACTS, None).await;
    assert_eq!(all.as_array().unwrap().len(), 4);
    let other = all
        .as_array()
        .unwrap()
        .iter()
        .find(|contact| contact["project"] == "other")
        .unwrap();
    let path = format!("{CONTACTS}/{}", other["id"].as_str().unwrap());
    let (status, _) = answer(control.request(Method::DELETE, &path).bearer_auth(&own)).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = control.call(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
}
