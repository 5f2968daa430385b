//! Money as nodes and projects meet it.

use std::time::Duration;

use serde_json::json;
use weir_control::money::storage;
use weir_control::{node_link, projects};
use weir_ledger::book::{Cap, Command, Scope};
use weir_ledger::protocol::{Answer, DenialReason, Exchange, LeaseKey, LeaseReport, LineKey, Standing, Want};
use weir_ledger::wallet::NoMoney;
use weir_ledger::{Nano, Period, Sku};
use weir_model::{AppName, EnvironmentId};

use crate::harness::Control;

/// Control's end of the nodes' socket, on a port.
async fn node_socket(control: &Control) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = node_link::router(control.context.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// What a node says that has served so many requests.
fn question(environment: EnvironmentId, granted: Nano, requests: u64, needed: Option<i64>) -> Exchange {
    let line = LineKey {
        app: Some(AppName::new("shop").unwrap()),
        process: None,
        sku: Sku::REQUESTS,
    };
    Exchange {
        meter: "node:test".to_owned(),
        incarnation: 1,
        boot: 7,
        closings: Vec::new(),
        leases: vec![LeaseReport {
            lease: LeaseKey { environment, number: 1 },
            granted,
            returned: Nano::ZERO,
            usage: vec![(line, requests)],
            want: needed.map(|needed| Want {
                needed: Nano(needed),
                rate_per_s: Nano::ZERO,
            }),
            closed: false,
        }],
    }
}

async fn set_cap(control: &Control, scope: Scope, limit: &str) {
    let cap = Cap {
        limit: limit.parse().unwrap(),
        period: Period::Month,
        pace: false,
    };
    let command = Command::SetCap { scope, cap: Some(cap) };
    control.context.money.command(command).await.unwrap();
}

/// Waits until something is so, at most ten seconds.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..400 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("it did not happen: {what}");
}

#[tokio::test]
async fn a_node_gets_money_spends_it_and_is_denied_at_the_cap() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    set_cap(&control, Scope::Project(shop.id), "0.0001").await;
    let address = format!("{}/node/ledger", node_socket(&control).await);
    let client = reqwest::Client::new();
    let ask = async |question: Exchange| -> Answer {
        let response = client.post(&address).json(&question).send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    };
    let (mut granted, mut requests) = (Nano::ZERO, 0);
    let denied = loop {
        let answer = ask(question(production.id, granted, requests, Some(10_000))).await;
        assert_eq!(answer.standing, Standing::Current);
        let lease = &answer.leases[0];
        match &lease.denied {
            Some(denial) if denial.reason == DenialReason::Recalling => {}
            Some(denial) => break denial.reason,
            None => {
                assert!(lease.granted > granted || requests == 0, "{lease:?}");
                granted = lease.granted;
                requests = u64::try_from(granted.0 / 100).unwrap();
            }
        }
    };
    assert_eq!(denied, DenialReason::ProjectCap);
    assert_eq!((granted, requests), (Nano(100_000), 1_000));
    assert_eq!(
        control.context.money.stopped(production.id),
        Some(DenialReason::ProjectCap)
    );
    let standing = control.context.money.standing(Scope::Project(shop.id)).unwrap();
    assert_eq!((standing.settled, standing.held), (Nano(100_000), Nano::ZERO));
    // What was asked twice is answered as the first time.
    let again = ask(question(production.id, Nano::ZERO, requests, Some(10_000))).await;
    assert_eq!(again.leases[0].granted, granted);
    let bad = client
        .post(&address)
        .body("{}")
        .header("content-type", "application/json");
    assert!(bad.send().await.unwrap().status().is_client_error());
    let report = control.context.money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[tokio::test]
async fn projects_and_environments_come_and_go_in_the_ledger() {
    let control = Control::start().await;
    let money = &control.context.money;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let standing = money.standing(Scope::Project(shop.id)).unwrap();
    assert_eq!(standing.limit.to_string(), "7.00");
    assert!(money.standing(Scope::Environment(production.id)).is_some());
    let body = json!({"name": "staging"});
    let (status, body) = control
        .call(reqwest::Method::POST, "/v1/projects/shop/environments", Some(body))
        .await;
    assert_eq!(status, 201, "{body}");
    let environments = control.context.store.environment_list(shop.id).await.unwrap();
    let staging = environments.iter().find(|found| found.id != production.id).unwrap();
    assert_eq!(money.stopped(staging.id), None);
    projects::finish_destroy_environment(&control.context, staging)
        .await
        .unwrap();
    assert_eq!(money.stopped(staging.id), Some(DenialReason::Gone));
    assert_eq!(money.stopped(production.id), None);
    projects::finish_destroy(&control.context, &shop).await.unwrap();
    assert_eq!(money.stopped(production.id), Some(DenialReason::Gone));
}

#[tokio::test]
async fn a_build_is_paid_while_it_runs_and_ends_when_the_money_does() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let production = control.production(&shop).await;
    let money = &control.context.money;
    let app = AppName::new("shop").unwrap();
    let budget = money.build_budget(production.id, &app, 1_000, 1 << 30);
    let work = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        "built"
    };
    assert_eq!(budget.pay_for(work).await, Ok("built"));
    // Far less than the 30 s that were held.
    let scope = Scope::Project(shop.id);
    until("its cost is told", async || {
        money.standing(scope).unwrap().settled > Nano::ZERO
    })
    .await;
    let thirty_seconds = 30 * (5_000_000_000 / 3_600_000);
    assert!(money.standing(scope).unwrap().settled < Nano(thirty_seconds / 10));

    set_cap(&control, scope, "0.00").await;
    let began = std::sync::atomic::AtomicBool::new(false);
    let other = projects_environment(&control, "poor").await;
    set_cap(&control, other.0, "0.00").await;
    let refused = money
        .build_budget(other.1, &app, 1_000, 1 << 30)
        .pay_for(async { began.store(true, std::sync::atomic::Ordering::SeqCst) })
        .await;
    assert_eq!(refused, Err(NoMoney::Denied(DenialReason::ProjectCap)));
    assert!(!began.into_inner());
}

async fn projects_environment(control: &Control, name: &str) -> (Scope, EnvironmentId) {
    let project = control.project(name).await;
    (Scope::Project(project.id), control.production(&project).await.id)
}

#[tokio::test]
async fn what_is_stored_is_paid_and_its_tail_is_held() {
    let control = Control::start().await;
    let (scope, production) = projects_environment(&control, "shop").await;
    let money = &control.context.money;
    // A log of 10 GB; the file has a hole.
    let logs = control
        .folder
        .path()
        .join("logs")
        .join(production.to_string())
        .join("shop");
    std::fs::create_dir_all(&logs).unwrap();
    let log = std::fs::File::create(logs.join("0.log")).unwrap();
    log.set_len(10_000_000_000).unwrap();
    let keeper = tokio::spawn(storage::run(control.context.clone()));
    until("a minute of it is paid", async || {
        money.standing(scope).unwrap().settled > Nano::ZERO
    })
    .await;
    // 0.50 for a month of 730 hours are 11,415 nano-units a minute.
    assert_eq!(money.standing(scope).unwrap().settled, Nano(11_416));
    until("the tail is held", async || {
        money.standing(scope).unwrap().reserved > Nano(493_000_000)
    })
    .await;
    control.context.stop.cancel();
    keeper.await.unwrap();
    money.close().await;
    assert_eq!(
        money.standing(scope).unwrap().held,
        money.standing(scope).unwrap().reserved
    );
}

#[tokio::test]
async fn thresholds_are_told_once_also_over_restarts() {
    let control = Control::start().await;
    let (scope, production) = projects_environment(&control, "shop").await;
    let context = &control.context;
    set_cap(&control, scope, "0.0001").await;
    let sinks = || -> Vec<std::sync::Arc<dyn weir_control::money::AlertSink>> {
        vec![std::sync::Arc::new(weir_control::money::ChangeSink)]
    };
    let teller = tokio::spawn(weir_control::money::tell(context.clone(), sinks()));
    let answer = context
        .money
        .exchange(question(production, Nano::ZERO, 0, Some(90_000)))
        .await;
    let granted = answer.unwrap().leases[0].granted;
    let mut over = question(production, granted, 600, None);
    over.leases[0].closed = true;
    context.money.exchange(over).await.unwrap();
    let told = async || {
        let changes = context.store.change_list(0, 100).await.unwrap();
        let money = changes.into_iter().filter(|change| change.kind == "money.crossed");
        money.collect::<Vec<_>>()
    };
    until("it is told", async || !told().await.is_empty()).await;
    let changes = told().await;
    assert_eq!(
        (changes[0].project.as_str(), changes[0].environment.as_deref()),
        ("shop", None)
    );
    assert_eq!(changes[0].message, "50 % of the cap of 0.0001 is spent: 0.00006");
    teller.abort();
    let _ = teller.await;
    // Another teller begins where this one ended, and only tells what is new.
    let teller = tokio::spawn(weir_control::money::tell(context.clone(), sinks()));
    let deposit = Command::Promise {
        id: "promise".to_owned(),
        account: weir_store::Account::default_id(),
        amount: Nano(1_000),
        due_ms: context.clock.now_ms() + 4_000,
    };
    context.money.command(deposit).await.unwrap();
    let broken = async || {
        let changes = context.store.change_list(0, 100).await.unwrap();
        changes.iter().any(|change| change.kind == "money.promise-broken")
    };
    until("the broken promise is told", broken).await;
    assert_eq!(told().await.len(), 1);
    teller.abort();
}
