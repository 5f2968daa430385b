//! Caps, costs, prices, accounts, the guard and the ledger over HTTP.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use weir_ledger::protocol::{Exchange, LeaseKey, LeaseReport, LineKey, Usage, Want};
use weir_ledger::{Nano, Sku};
use weir_model::{AppName, EnvironmentId, ProcessName};

use crate::harness::{Control, answer};

const CAP: &str = "/v1/projects/shop/cap";
const COST: &str = "/v1/projects/shop/cost";
const GUARD: &str = "/v1/projects/shop/environments/production/guard";

fn line(process: &str, sku: Sku) -> LineKey {
    LineKey {
        app: Some(AppName::new("shop").unwrap()),
        process: Some(ProcessName::new(process).unwrap()),
        sku,
    }
}

/// A node that spends by the protocol.
struct Meter<'a> {
    control: &'a Control,
    incarnation: u64,
    lease: LeaseKey,
    granted: Nano,
}

impl<'a> Meter<'a> {
    fn new(control: &'a Control, environment: EnvironmentId, incarnation: u64) -> Self {
        let lease = LeaseKey { environment, number: 1 };
        Self {
            control,
            incarnation,
            lease,
            granted: Nano::ZERO,
        }
    }

    async fn say(&mut self, usage: Usage, needed: Option<Nano>, closed: bool) {
        let report = LeaseReport {
            lease: self.lease,
            granted: self.granted,
            returned: Nano::ZERO,
            usage,
            want: needed.map(|needed| Want {
                needed,
                rate_per_s: Nano(1),
            }),
            closed,
        };
        let exchange = Exchange {
            meter: "node:test".to_owned(),
            incarnation: self.incarnation,
            boot: self.incarnation,
            closings: Vec::new(),
            leases: vec![report],
        };
        let answer = self.control.context.money.exchange(exchange).await.unwrap();
        assert_eq!(answer.incarnation, self.incarnation, "{answer:?}");
        self.granted = answer.leases[0].granted;
        assert_eq!(answer.leases[0].denied, None);
    }

    async fn lease(&mut self, needed: i64) {
        self.say(Vec::new(), Some(Nano(needed)), false).await;
        assert!(self.granted >= Nano(needed), "{:?}", self.granted);
    }
}

/// Spends 0.25 on requests, some on memory, and 1 nano on CPU.
async fn spend(control: &Control, environment: EnvironmentId) {
    let mut meter = Meter::new(control, environment, 1);
    meter.lease(300_000_000).await;
    let usage = vec![
        (line("web", Sku::REQUESTS), 2_500_000),
        (line("web", Sku::MEMORY), 123_456_789_012_345),
        (line("worker", Sku::CPU), 1),
    ];
    meter.say(usage, None, false).await;
}

fn nano(value: &Value) -> Nano {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
        .parse()
        .unwrap()
}

#[tokio::test]
async fn caps_are_told_explained_set_and_taken_away() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let (status, rows) = control.call(Method::GET, CAP, None).await;
    assert_eq!(status, StatusCode::OK, "{rows}");
    let scopes: Vec<&str> = rows
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["scope"].as_str())
        .collect();
    assert_eq!(scopes, ["account:default", "shop", "shop/production"]);
    assert_eq!(
        rows[0]["cap"],
        json!({"limit": "100.00", "period": "month", "pace": false})
    );
    assert_eq!(
        rows[1]["cap"],
        json!({"limit": "7.00", "period": "month", "pace": true})
    );
    assert_eq!(
        (&rows[1]["left"], &rows[1]["settled"]),
        (&json!("7.00"), &json!("0.00"))
    );
    assert_eq!(
        (rows[2].get("cap"), rows[2].get("left")),
        (None, None),
        "bound by the project's"
    );
    // Three processes with a core and 512 MiB each, by the first prices.
    assert_eq!(rows[2]["worst_per_hour"], "0.017054795");
    assert_eq!(rows[0]["worst_per_hour"], rows[2]["worst_per_hour"]);

    let wanted = |limit: &str, period: &str, dry_run| json!({"limit": limit, "period": period, "dry_run": dry_run});
    let (_, told) = control
        .call(Method::PUT, CAP, Some(wanted("0.01", "total", true)))
        .await;
    assert_eq!(
        (&told["done"], &told["worst_per_month"]),
        (&json!(false), &json!("12.45"))
    );
    assert!(told["reached_at_worst"].is_string(), "{told}");
    let (_, rows) = control.call(Method::GET, CAP, None).await;
    assert_eq!(rows[1]["cap"]["limit"], "7.00", "it was only told");

    let (status, done) = control
        .call(Method::PUT, CAP, Some(wanted("200", "month", false)))
        .await;
    assert_eq!((status, &done["done"]), (StatusCode::OK, &json!(true)), "{done}");
    assert_eq!(done["before"]["limit"], "7.00");
    assert_eq!(
        done["after"],
        json!({"limit": "200.00", "period": "month", "pace": true}),
        "the pace stays"
    );
    assert!(
        done["notes"][0]
            .as_str()
            .unwrap()
            .contains("account:default is bound to 100.00"),
        "{done}"
    );

    let at = "/v1/projects/shop/environments/production/cap";
    let body = json!({"limit": "0.5", "period": "day", "pace": true});
    let (status, done) = control.call(Method::PUT, at, Some(body)).await;
    assert_eq!((status, done.get("before")), (StatusCode::OK, None), "{done}");
    let (_, rows) = control.call(Method::GET, "/v1/caps", None).await;
    assert_eq!(rows[2]["left"], "0.50");
    let (_, done) = control.call(Method::DELETE, at, None).await;
    assert_eq!(
        (done["before"]["limit"].as_str(), done.get("after")),
        (Some("0.50"), None)
    );
    let (_, done) = control
        .call(
            Method::PUT,
            "/v1/accounts/default/cap",
            Some(wanted("50", "month", false)),
        )
        .await;
    assert_eq!(done["scope"], "account:default");
}

#[tokio::test]
async fn a_cap_below_what_is_spent_stops_and_says_so() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    spend(&control, control.production(&shop).await.id).await;
    let lower = json!({"limit": "0.01", "period": "month"});
    let (status, done) = control.call(Method::PUT, CAP, Some(lower)).await;
    assert_eq!(status, StatusCode::OK, "{done}");
    assert!(nano(&done["limit"]) >= Nano(250_000_000), "{done}");
    assert!(
        done["notes"][0]
            .as_str()
            .unwrap()
            .contains("are spent and held already"),
        "{done}"
    );
    let (_, rows) = control.call(Method::GET, CAP, None).await;
    assert_eq!(
        (rows[1]["left"].as_str(), rows[1]["cap"]["limit"].as_str()),
        (Some("0.00"), Some("0.01"))
    );
    let (settled, held, limit) = (
        nano(&rows[1]["settled"]),
        nano(&rows[1]["held"]),
        nano(&rows[1]["limit"]),
    );
    assert_eq!(settled.checked_add(held), Some(limit), "{rows}");
    assert!(rows[1]["reached"].is_string(), "{rows}");
    let (_, status) = control
        .call(Method::GET, "/v1/projects/shop/environments/production", None)
        .await;
    assert_eq!(status["money"]["scope"], "shop");
    assert_eq!(status["money"]["left"], "0.00");
    assert_eq!(status["money"]["spent"], rows[2]["settled"]);
}

#[tokio::test]
async fn mistakes_with_caps_are_told_with_what_is_right() {
    let control = Control::start().await;
    control.project("shop").await;
    for (limit, period, words) in [
        (json!("0"), "month", "zero"),
        (json!("-1"), "month", "below zero"),
        (json!("7,00"), "month", "with a point"),
        (json!("0.0000000001"), "month", "at most nine digits"),
        (json!("99999999999"), "month", "too large"),
        (json!("7.00"), "moth", "not a period"),
        (json!(7), "month", "not what is wanted"),
    ] {
        let body = json!({"limit": limit, "period": period});
        let (status, body) = control.call(Method::PUT, CAP, Some(body)).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert!(body["title"].as_str().unwrap().contains(words), "{words}: {body}");
    }
    let body = json!({"limit": "7.00", "period": "moth"});
    let (_, body) = control.call(Method::PUT, CAP, Some(body)).await;
    assert_eq!(body["hint"], "did you mean `month`?");
    let right = json!({"limit": "7.00", "period": "month"});
    for (path, kind) in [
        ("/v1/projects/nope/cap", "project-not-found"),
        ("/v1/projects/shop/environments/nope/cap", "environment-not-found"),
        ("/v1/accounts/nope/cap", "account-not-found"),
    ] {
        let (status, body) = control.call(Method::PUT, path, Some(right.clone())).await;
        assert_eq!((status, body["type"].as_str()), (StatusCode::NOT_FOUND, Some(kind)));
    }
}

#[tokio::test]
async fn costs_equal_the_ledger_to_the_last_unit() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let environment = control.production(&shop).await.id;
    spend(&control, environment).await;
    let settled = async || {
        let (_, rows) = control.call(Method::GET, CAP, None).await;
        assert_eq!(rows[0]["settled"], rows[1]["settled"]);
        assert_eq!(rows[1]["settled"], rows[2]["settled"]);
        nano(&rows[1]["settled"])
    };
    // Reported, and not in the journal yet.
    let (_, report) = control.call(Method::GET, COST, None).await;
    assert_eq!(
        (nano(&report["total"]), &report["lost"]),
        (settled().await, &json!("0.00")),
        "{report}"
    );
    let lines = report["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 3, "{report}");
    let requests = lines.iter().find(|line| line["sku"] == "requests").unwrap();
    assert_eq!(
        (&requests["units"], &requests["amount"]),
        (&json!("2500000"), &json!("0.25"))
    );
    assert_eq!(requests["price"]["text"], "0.10 per million");
    let memory = lines.iter().find(|line| line["sku"] == "memory").unwrap();
    assert_eq!(
        (&memory["price_version"], &memory["process"]),
        (&json!(1), &json!("web"))
    );
    // 123,456,789,012,345 byte-milliseconds at 1.00 per GiB and 730 hours, rounded up once.
    let exact = 123_456_789_012_345_u128 * 1_000_000_000 / ((1_u128 << 30) * 730 * 3_600_000) + 1;
    assert_eq!(nano(&memory["amount"]), Nano(i64::try_from(exact).unwrap()));

    // A start of the node whose log is lost: what its lease held counts as spent, and is not billed.
    let mut meter = Meter::new(&control, environment, 2);
    meter.say(Vec::new(), None, false).await;
    let now = settled().await;
    for by in ["line", "sku", "environment", "app", "process", "sku-of-process"] {
        for per in ["", "&per=hour", "&per=day", "&per=month"] {
            let path = format!("{COST}?by={by}{per}");
            let (status, report) = control.call(Method::GET, &path, None).await;
            assert_eq!(status, StatusCode::OK, "{path}: {report}");
            let sum: Nano = report["lines"]
                .as_array()
                .unwrap()
                .iter()
                .map(|line| nano(&line["amount"]))
                .sum();
            assert_eq!((sum, nano(&report["total"])), (now, now), "{path}: {report}");
            assert!(nano(&report["lost"]) > Nano::ZERO, "{path}: {report}");
        }
    }
    let (_, all) = control.call(Method::GET, "/v1/cost", None).await;
    assert_eq!(nano(&all["total"]), now);
    let (_, one) = control
        .call(Method::GET, &format!("{COST}?environment=production&since=24h"), None)
        .await;
    assert_eq!(nano(&one["total"]), now);
    let (_, before) = control
        .call(Method::GET, &format!("{COST}?since=2020-01-01&until=2020-02-01"), None)
        .await;
    assert_eq!(
        (&before["total"], &before["from"]),
        (&json!("0.00"), &json!("2020-01-01T00:00:00.000Z"))
    );
}

#[tokio::test]
async fn wrong_questions_about_costs_are_told() {
    let control = Control::start().await;
    control.project("shop").await;
    for (query, status) in [
        ("since=yesterday", 422),
        ("since=2030-01-02&until=2030-01-01", 422),
        ("by=colour", 400),
        ("per=minute", 400),
        ("color=1", 400),
        ("environment=nope", 404),
    ] {
        let (found, body) = control.call(Method::GET, &format!("{COST}?{query}"), None).await;
        assert_eq!(found.as_u16(), status, "{query}: {body}");
    }
    let (status, _) = control.call(Method::GET, "/v1/cost?environment=production", None).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn prices_are_published_once_they_are_right() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let (_, books) = control.call(Method::GET, "/v1/prices", None).await;
    assert_eq!(
        (books.as_array().unwrap().len(), &books[0]["in_force"]),
        (1, &json!(true))
    );
    let old = books[0]["toml"].as_str().unwrap();
    // Without the line that says from when, it holds at once.
    let old: String = old
        .lines()
        .filter(|line| !line.starts_with("valid-from"))
        .map(|line| format!("{line}\n"))
        .collect();
    let publish = async |toml: String, dry_run: bool| {
        let body = json!({"toml": toml, "dry_run": dry_run});
        control.call(Method::POST, "/v1/prices", Some(body)).await
    };
    let new = old.replace("0.10 per million", "0.20 per million");
    let (status, told) = publish(new.clone(), true).await;
    assert_eq!(
        (status, &told["version"], &told["done"]),
        (StatusCode::OK, &json!(2), &json!(false))
    );
    let changes = told["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{told}");
    assert_eq!(changes[0]["after"]["pico"], "200000000000");
    let (status, _) = publish(new, false).await;
    assert_eq!(status, StatusCode::CREATED);
    let (_, books) = control.call(Method::GET, "/v1/prices", None).await;
    assert_eq!((&books[0]["version"], &books[0]["in_force"]), (&json!(2), &json!(true)));
    assert_eq!(control.call(Method::GET, "/v1/prices/1", None).await.0, StatusCode::OK);
    for missing in ["3", "0", "x"] {
        let (status, body) = control.call(Method::GET, &format!("/v1/prices/{missing}"), None).await;
        assert_eq!(
            (status, &body["type"]),
            (StatusCode::NOT_FOUND, &json!("prices-not-found"))
        );
    }
    let (status, body) = publish(old.replace("per million", "per dozen"), false).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        body["detail"].as_str().unwrap().contains("the price file, line "),
        "{body}"
    );
    let (status, body) = publish(format!("valid-from = 2020-01-01T00:00:00Z\n{old}"), false).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
    let francs = old.replace("EUR", "CHF");
    assert_eq!(
        publish(francs.clone(), true).await.0,
        StatusCode::OK,
        "nothing was spent yet"
    );
    spend(&control, control.production(&shop).await.id).await;
    let (status, body) = publish(francs, false).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::CONFLICT, &json!("other-currency"))
    );
}

#[tokio::test]
async fn accounts_take_payments_once_and_promises_one_at_a_time() {
    let control = Control::start().await;
    let post = async |path: &str, body: Value| control.call(Method::POST, path, Some(body)).await;
    let (status, account) = post("/v1/accounts", json!({"name": "customer-7"})).await;
    assert_eq!(
        (status, &account["balance"], &account["billing"]),
        (StatusCode::CREATED, &json!("0.00"), &json!(false))
    );
    assert_eq!(
        post("/v1/accounts", json!({"name": "customer-7"})).await.0,
        StatusCode::CONFLICT
    );
    assert_eq!(
        post("/v1/accounts", json!({"name": "No"})).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    let (status, _) = post("/v1/projects", json!({"name": "shop", "account": "customer-7"})).await;
    assert_eq!(status, StatusCode::CREATED);

    let deposits = "/v1/accounts/customer-7/deposits";
    let deposit =
        |id: &str, amount: &str| json!({"id": id, "fund": "cash", "amount": amount, "reference": "transfer 4711"});
    let (status, account) = post(deposits, deposit("one", "10.00")).await;
    assert_eq!(
        (status, &account["cash"]),
        (StatusCode::OK, &json!("10.00")),
        "{account}"
    );
    assert_eq!(account["projects"], json!(["shop"]));
    let (_, account) = post(deposits, deposit("one", "10.00")).await;
    assert_eq!(account["cash"], "10.00", "the same payment is booked once");
    let (status, body) = post(deposits, deposit("one", "11.00")).await;
    assert_eq!((status, &body["type"]), (StatusCode::CONFLICT, &json!("id-taken")));
    for wrong in ["0", "-1", "x", "0.0000000001"] {
        assert_eq!(
            post(deposits, deposit("two", wrong)).await.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}"
        );
    }
    let trial = json!({"id": "t", "fund": "trial", "amount": "2", "reference": "welcome"});
    assert_eq!(post(deposits, trial).await.1["trial"], "2.00");
    let gold = json!({"id": "g", "fund": "gold", "amount": "2", "reference": "x"});
    assert_eq!(post(deposits, gold).await.0, StatusCode::UNPROCESSABLE_ENTITY);

    let promises = "/v1/accounts/customer-7/promises";
    let due = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(72);
    let promise = |id: &str, due: String| json!({"id": id, "amount": "5.00", "due": due});
    let (status, account) = post(promises, promise("p", due.to_string())).await;
    assert_eq!(
        (status, &account["promised"], &account["balance"]),
        (StatusCode::OK, &json!("5.00"), &json!("17.00"))
    );
    assert!(account["due"].is_string());
    let (status, body) = post(promises, promise("q", due.to_string())).await;
    assert_eq!((status, &body["type"]), (StatusCode::CONFLICT, &json!("promise-open")));
    assert_eq!(
        post(promises, promise("r", "2020-01-01".to_owned())).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );

    let (_, transfers) = control
        .call(Method::GET, "/v1/accounts/customer-7/transfers", None)
        .await;
    let ids: Vec<&str> = transfers
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|moved| moved["id"].as_str())
        .collect();
    assert_eq!(ids, ["p", "t", "one"], "{transfers}");
    assert_eq!(
        (&transfers[2]["from"], &transfers[2]["to"]),
        (&json!("external:payments"), &json!("wallet:cash"))
    );
    let (_, one) = control
        .call(Method::GET, "/v1/accounts/customer-7/transfers?limit=1", None)
        .await;
    assert_eq!(one.as_array().unwrap().len(), 1);
    let (_, others) = control.call(Method::GET, "/v1/accounts/default/transfers", None).await;
    assert_eq!(others, json!([]));
}

#[tokio::test]
async fn an_account_is_billed_and_its_projects_stop_in_order() {
    let control = Control::start().await;
    for (path, body) in [
        ("/v1/accounts", json!({"name": "customer-7"})),
        ("/v1/projects", json!({"name": "shop", "account": "customer-7"})),
    ] {
        assert_eq!(
            control.call(Method::POST, path, Some(body)).await.0,
            StatusCode::CREATED
        );
    }
    let (status, body) = control
        .call(
            Method::POST,
            "/v1/projects",
            Some(json!({"name": "blog", "account": "nope"})),
        )
        .await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::NOT_FOUND, &json!("account-not-found"))
    );
    let put = async |path: &str, body: Value| control.call(Method::PUT, path, Some(body)).await;
    let (_, account) = put("/v1/accounts/customer-7/billing", json!({"on": true})).await;
    assert_eq!(account["billing"], true);
    let order = "/v1/accounts/customer-7/stop-order";
    assert_eq!(
        put(order, json!({"projects": ["shop"]})).await.1["stop_order"],
        json!(["shop"])
    );
    control.project("mine").await;
    for wrong in [json!(["mine"]), json!(["shop", "shop"])] {
        assert_eq!(
            put(order, json!({"projects": wrong})).await.0,
            StatusCode::UNPROCESSABLE_ENTITY
        );
    }
    assert_eq!(put(order, json!({"projects": ["nope"]})).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_token_of_one_project_sees_and_sets_only_what_is_its_own() {
    let control = Control::start().await;
    control.project("shop").await;
    control.project("other").await;
    let token = control.token("admin", Some("shop")).await;
    let ask = async |method: Method, path: &str, body: Option<Value>| {
        let request = control.request(method, path).bearer_auth(&token);
        answer(match body {
            Some(body) => request.json(&body),
            None => request,
        })
        .await
    };
    for path in ["/v1/caps", CAP] {
        let (_, rows) = ask(Method::GET, path, None).await;
        let scopes: Vec<&str> = rows
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|row| row["scope"].as_str())
            .collect();
        assert_eq!(scopes, ["shop", "shop/production"], "{path}");
    }
    assert_eq!(ask(Method::GET, "/v1/cost", None).await.0, StatusCode::OK);
    let cap = json!({"limit": "1.00", "period": "month"});
    assert_eq!(ask(Method::PUT, CAP, Some(cap.clone())).await.0, StatusCode::OK);
    assert_eq!(
        ask(Method::GET, "/v1/accounts", None).await,
        (StatusCode::OK, json!([]))
    );
    // What is not theirs looks as if it did not exist; what concerns everybody is refused.
    for (method, path, body) in [
        (Method::GET, "/v1/accounts/default", None),
        (Method::GET, "/v1/accounts/default/transfers", None),
        (Method::GET, "/v1/ledger/audit", None),
        (Method::GET, "/v1/ledger/journal", None),
        (Method::POST, "/v1/accounts", Some(json!({"name": "mine"}))),
        (Method::PUT, "/v1/accounts/default/cap", Some(cap)),
        (Method::PUT, "/v1/accounts/default/billing", Some(json!({"on": true}))),
        (Method::POST, "/v1/prices", Some(json!({"toml": ""}))),
        (
            Method::POST,
            "/v1/accounts/default/deposits",
            Some(json!({"id": "1", "fund": "cash", "amount": "1", "reference": "x"})),
        ),
    ] {
        let unseen =
            path.starts_with("/v1/accounts/default") && !path.ends_with("deposits") && !path.ends_with("billing");
        let expected = if unseen {
            StatusCode::NOT_FOUND
        } else {
            StatusCode::FORBIDDEN
        };
        let (status, body) = ask(method, path, body).await;
        assert_eq!(status, expected, "{path}: {body}");
    }
}

#[tokio::test]
async fn rules_of_the_guard_are_set_for_one_app() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    let patch = async |body: Value| control.call(Method::PATCH, GUARD, Some(body)).await;
    let (status, body) = patch(json!({"depth": 3})).await;
    assert_eq!(
        (status, &body["type"]),
        (StatusCode::CONFLICT, &json!("nothing-deployed"))
    );
    control.live(&shop).await;
    let (_, guard) = control.call(Method::GET, GUARD, None).await;
    let apps: Vec<&str> = guard["rules"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|rules| rules["app"].as_str())
        .collect();
    assert_eq!(apps, ["data", "shop"]);
    assert_eq!(
        (&guard["rules"][1]["descendants"], &guard["rules"][1]["set"]),
        (&json!(1000), &json!(false))
    );
    // 1,001 requests, and as many minutes of a core.
    assert_eq!(guard["rules"][1]["worst_per_root"], "0.083516767");
    let (status, guard) = patch(json!({"descendants": 5000, "repeats": 0, "reproduction": false})).await;
    assert_eq!(status, StatusCode::OK, "{guard}");
    let shop_rules = &guard["rules"][1];
    assert_eq!(
        (&shop_rules["app"], &shop_rules["set"], &shop_rules["depth"]),
        (&json!("shop"), &json!(true), &json!(16))
    );
    assert_eq!(shop_rules["descendants"], 5000);
    assert_eq!(
        (&shop_rules["background"], &shop_rules["budget"]),
        (&json!("tell"), &json!(5000))
    );
    let (_, guard) = patch(json!({"app": "data", "enabled": false, "background": "slow"})).await;
    assert_eq!(guard["rules"][0]["background"], "slow");
    assert_eq!(
        (&guard["rules"][0]["enabled"], guard["rules"][0].get("worst_per_root")),
        (&json!(false), None)
    );
    for wrong in [
        json!({"depth": 0}),
        json!({"depth": 1001}),
        json!({"descendants": 0}),
        json!({"dept": 1}),
    ] {
        assert_eq!(
            patch(wrong.clone()).await.0,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{wrong}"
        );
    }
    let (status, body) = patch(json!({"app": "nope", "depth": 3})).await;
    assert_eq!(
        (status, &body["hint"]),
        (StatusCode::NOT_FOUND, &json!("there is: data, shop"))
    );
}

#[tokio::test]
async fn rules_go_back_to_the_defaults_and_these_follow_the_cap() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    control.live(&shop).await;
    let set = json!({"app": "data", "descendants": 5000, "depth": 99});
    control.call(Method::PATCH, GUARD, Some(set)).await;
    let (status, guard) = control.call(Method::DELETE, &format!("{GUARD}?app=data"), None).await;
    assert_eq!(status, StatusCode::OK, "{guard}");
    let rules = &guard["rules"][0];
    assert_eq!(
        (&rules["set"], &rules["depth"], &rules["budget"]),
        (&json!(false), &json!(16), &json!(1000))
    );
    let (status, _) = control.call(Method::DELETE, &format!("{GUARD}?app=nope"), None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    // A tenth of a cap of two cents pays for fewer calls than a thousand.
    let cap = json!({"limit": "0.02", "period": "month"});
    let (status, body) = control.call(Method::PUT, "/v1/projects/shop/cap", Some(cap)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (_, guard) = control.call(Method::GET, GUARD, None).await;
    let budget = guard["rules"][0]["budget"].as_u64().unwrap();
    assert!((2..1000).contains(&budget), "{guard}");
    assert_eq!(guard["rules"][0]["descendants"], 1000);
}

#[tokio::test]
async fn the_journal_proves_itself_and_the_audit_agrees() {
    let control = Control::start().await;
    let shop = control.project("shop").await;
    spend(&control, control.production(&shop).await.id).await;
    let (_, audit) = control.call(Method::GET, "/v1/ledger/audit", None).await;
    assert_eq!(
        (&audit["sound"], &audit["findings"]),
        (&json!(true), &json!([])),
        "{audit}"
    );
    let (mut hash, mut next) = ("0".repeat(64), 1);
    loop {
        let path = format!("/v1/ledger/journal?from={next}&limit=3");
        let (_, page) = control.call(Method::GET, &path, None).await;
        let page = page.as_array().unwrap().clone();
        if page.is_empty() {
            break;
        }
        for entry in page {
            assert_eq!(
                (&entry["sequence"], &entry["previous_hash"]),
                (&json!(next), &json!(hash))
            );
            let text = format!("{hash}\n{next}\n{}", entry["body"].as_str().unwrap());
            hash = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(entry["hash"], hash);
            next += 1;
        }
    }
    assert_eq!(
        (&audit["hash"], audit["events"].as_i64()),
        (&json!(hash), Some(next - 1))
    );
}
