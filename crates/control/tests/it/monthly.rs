//! Each month's invoice is made by itself: once, in order, whatever was down or killed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use weir_control::Context;
use weir_control::clock::{Clock, SystemClock};
use weir_control::invoices::automatic::Automatic;
use weir_control::money::{AlertSink, ChangeSink};
use weir_control::{billing, money};
use weir_ledger::protocol::{Exchange, LeaseKey, LeaseReport, LineKey, Want};
use weir_ledger::{Nano, Sku};
use weir_model::{AccountId, EnvironmentId, UnixMillis};
use weir_store::{InvoiceState, NoticeState};

use crate::harness::Control;
use crate::mail_server::{self, Manner, next_mail};
use crate::notices::{add, spend};

/// A clock that is set by hand.
#[derive(Debug)]
struct Hand(AtomicI64);

impl Hand {
    fn set(&self, text: &str) {
        self.0.store(ms(text), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now_ms(&self) -> UnixMillis {
        self.0.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

fn ms(text: &str) -> UnixMillis {
    text.parse::<jiff::Timestamp>().unwrap().as_millisecond()
}

struct World {
    control: Control,
    clock: Arc<Hand>,
    /// So many leases there were.
    leases: u32,
}

impl World {
    /// It is the middle of October, in Berlin.
    async fn start() -> Self {
        let clock = Arc::new(Hand(AtomicI64::new(ms("2026-09-17T10:20:00Z"))));
        let control = Control::start_by(clock.clone()).await;
        let world = Self {
            control,
            clock,
            leases: 0,
        };
        world.put("/v1/time-zone", json!({"time_zone": "Europe/Berlin"})).await;
        // Periods that run end when they were to end; from then on they are those of the zone.
        world.at("2026-10-17T10:20:00Z").await;
        let settings = json!({"seller": "Cloud Ltd", "tax_percent": "19", "series": "{year}-{number:03}"});
        world.put("/v1/invoice-settings", settings).await;
        world
    }

    fn context(&self) -> &Context {
        &self.control.context
    }

    async fn put(&self, path: &str, body: Value) {
        let (status, answer) = self.control.call(Method::PUT, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {answer}");
    }

    async fn post(&self, path: &str, body: Value) {
        let (status, answer) = self.control.call(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {answer}");
    }

    /// An account with a project of its name.
    async fn account(&self, name: &str, is_billed: bool) -> (AccountId, EnvironmentId) {
        if name != "default" {
            self.post("/v1/accounts", json!({"name": name})).await;
        }
        let deposit = json!({"id": name, "fund": "cash", "amount": "100", "reference": "to begin with"});
        self.post(&format!("/v1/accounts/{name}/deposits"), deposit).await;
        self.put(&format!("/v1/accounts/{name}/billing"), json!({"on": is_billed}))
            .await;
        self.post("/v1/projects", json!({"name": name, "account": name})).await;
        let cap = json!({"limit": "50", "period": "month", "pace": false});
        self.put(&format!("/v1/projects/{name}/cap"), cap).await;
        let store = &self.context().store;
        let name = weir_model::ProjectName::new(name).unwrap();
        let project = store.project_by_name(&name).await.unwrap().unwrap();
        (project.account, self.control.production(&project).await.id)
    }

    /// Sets the clock, and waits until the ledger has seen that.
    async fn at(&self, text: &str) {
        self.clock.set(text);
        let money = &self.context().money;
        for _ in 0..200 {
            if money.unsettled(AccountId::from_parts(9, 9), 0).is_some() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the ledger never began the next period");
    }

    /// Uses so many millions of requests, which cost 0.10 each.
    async fn uses(&mut self, environment: EnvironmentId, millions: u64) {
        self.leases += 1;
        let denied = spend(self.context(), environment, self.leases, millions * 1_000_000).await;
        assert_eq!(denied, None);
    }

    /// As control does it after a start.
    async fn round(&self) {
        let mut automatic = Automatic::open(self.context().clone()).await.unwrap();
        automatic.round().await.unwrap();
    }

    /// Number, beginning, end, total of all documents, in the order of their numbers.
    async fn papers(&self) -> Vec<[String; 4]> {
        let mut all = Vec::new();
        for invoice in self.context().store.invoice_list_final(0).await.unwrap() {
            let shown = weir_control::invoices::shown(&invoice).unwrap();
            let document = shown.document;
            assert_eq!(document.time_zone, "Europe/Berlin");
            let total = format!("{} {}", document.account, document.total);
            all.push([shown.number.unwrap(), document.from, document.until, total]);
        }
        all.sort();
        all
    }
}

fn paper(number: &str, from: &str, until: &str, total: &str) -> [String; 4] {
    [number, &format!("{from}.000Z"), &format!("{until}.000Z"), total].map(str::to_owned)
}

const OCTOBER: &str = "2026-10-31T23:00:00";
const NOVEMBER: &str = "2026-11-30T23:00:00";

#[tokio::test]
async fn missed_months_are_made_in_order_for_those_who_used_something() {
    let mut world = World::start().await;
    let (_, shop) = world.account("default", true).await;
    let (_, blog) = world.account("blog", true).await;
    let (_, own) = world.account("own", false).await;
    world.account("idle", true).await;
    world.round().await;
    for environment in [shop, own] {
        world.uses(environment, 1).await;
    }
    // Still October in UTC, but not in Berlin.
    world.at("2026-10-31T23:20:00Z").await;
    world.uses(shop, 2).await;
    world.round().await;
    assert_eq!(world.papers().await, Vec::<[String; 4]>::new(), "an hour is waited for");
    world.at("2026-11-01T00:00:01Z").await;
    world.round().await;
    let first = paper("2026-001", "2026-10-17T10:00:00", OCTOBER, "default 0.10");
    assert_eq!(world.papers().await, std::slice::from_ref(&first));
    world.at("2026-11-20T12:00:00Z").await;
    world.uses(blog, 3).await;
    // Control is down until Christmas.
    world.at("2026-12-24T18:00:00Z").await;
    world.uses(shop, 4).await;
    world.round().await;
    let all = [
        first,
        paper("2026-002", OCTOBER, NOVEMBER, "blog 0.30"),
        paper("2026-003", OCTOBER, NOVEMBER, "default 0.20"),
    ];
    assert_eq!(world.papers().await, all);
    for _ in 0..2 {
        world.round().await;
    }
    assert_eq!(world.papers().await, all, "once");
    // It is 2027 in Berlin, not in UTC, so numbers begin anew.
    world.at("2027-01-01T00:00:01Z").await;
    world.round().await;
    assert_eq!(
        world.papers().await.last(),
        Some(&paper("2027-001", NOVEMBER, "2026-12-31T23:00:00", "default 0.40"))
    );
    let left = |account| world.context().money.account(account).unwrap().usage;
    assert!(
        left(weir_store::Account::default_id())
            .values()
            .all(|left| *left == Nano::ZERO)
    );
    let report = world.context().money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_kills_control_at_any_step_gets_each_invoice_once_and_no_gap() {
    let mut world = World::start().await;
    let mut environments = Vec::new();
    for name in ["default", "blog", "shop"] {
        environments.push(world.account(name, true).await.1);
    }
    world.round().await;
    for month in ["2026-10-20T00:00:00Z", "2026-11-20T00:00:00Z", "2026-12-20T00:00:00Z"] {
        world.at(month).await;
        for environment in environments.clone() {
            world.uses(environment, 1).await;
        }
    }
    world.at("2027-01-15T00:00:00Z").await;
    let mut cuts = 0;
    for micros in 0.. {
        let mut automatic = Automatic::open(world.context().clone()).await.unwrap();
        // Dropped wherever it waits.
        let cut = tokio::time::timeout(Duration::from_micros(micros * 40 % 6_000), automatic.round()).await;
        if cut.is_ok_and(|result| result.is_ok()) {
            break;
        }
        cuts += 1;
        assert!(micros < 20_000, "it gets nowhere");
    }
    assert!(cuts > 9, "it was cut off {cuts} times only");
    world.round().await;
    let papers = world.papers().await;
    let numbers: Vec<&str> = papers.iter().map(|paper| paper[0].as_str()).collect();
    let expected: Vec<String> = (1..=9).map(|number| format!("2027-{number:03}")).collect();
    assert_eq!(numbers, expected, "{papers:#?}");
    let what: BTreeSet<_> = papers.iter().map(|paper| (&paper[2], &paper[3])).collect();
    assert_eq!(what.len(), 9, "one for each account and month: {papers:#?}");
    assert!(papers.is_sorted_by_key(|paper| &paper[2]), "older months first");
    for account in world.context().store.account_list().await.unwrap() {
        let drafts = world.context().store.invoice_list(account.id).await.unwrap();
        assert!(
            drafts.iter().all(|it| it.state != InvoiceState::Draft),
            "none is left over"
        );
    }
    let report = world.context().money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[tokio::test]
async fn a_month_waits_for_whoever_may_still_tell_of_use_in_it() {
    let mut world = World::start().await;
    let (account, shop) = world.account("default", true).await;
    world.round().await;
    world.uses(shop, 1).await;
    let say = |granted, wants, requests: u64, closed| LeaseReport {
        lease: LeaseKey {
            environment: shop,
            number: 1,
        },
        granted,
        returned: Nano::ZERO,
        usage: (requests > 0)
            .then(|| {
                let line = LineKey {
                    app: None,
                    process: None,
                    sku: Sku::REQUESTS,
                };
                (line, requests)
            })
            .into_iter()
            .collect(),
        want: wants,
        closed,
    };
    let exchange = |report| Exchange {
        meter: "node:away".to_owned(),
        incarnation: 1,
        boot: 1,
        closings: Vec::new(),
        leases: vec![report],
    };
    let want = Want {
        needed: Nano(500_000_000),
        rate_per_s: Nano(1),
    };
    let money = world.context().money.clone();
    let answer = money
        .exchange(exchange(say(Nano::ZERO, Some(want), 0, false)))
        .await
        .unwrap();
    let granted = answer.leases[0].granted;
    assert!(granted >= want.needed, "{answer:?}");
    world.at("2026-11-03T12:00:00Z").await;
    world.round().await;
    assert_eq!(world.papers().await, Vec::<[String; 4]>::new());
    let late = money.unsettled(account, ms("2026-10-31T23:00:00Z")).unwrap();
    assert_eq!(late, BTreeSet::from(["node:away".to_owned()]));
    money
        .exchange(exchange(say(granted, None, 4_000_000, true)))
        .await
        .unwrap();
    world.round().await;
    let october = paper("2026-001", "2026-10-17T10:00:00", OCTOBER, "default 0.50");
    assert_eq!(world.papers().await, [october], "with what was told late");
}

#[tokio::test]
async fn it_can_be_switched_off_waits_for_a_seller_and_leaves_out_what_was_made_by_hand() {
    let mut world = World::start().await;
    let (_, shop) = world.account("default", true).await;
    world.round().await;
    world.uses(shop, 1).await;
    world.at("2026-11-10T00:00:00Z").await;
    world.uses(shop, 2).await;
    let settings = |seller: &str, automatic: bool| json!({"seller": seller, "tax_percent": "0", "series": "{number}", "automatic": automatic});
    for settings in [settings("", true), settings("Cloud Ltd", false)] {
        world.put("/v1/invoice-settings", settings).await;
        world.round().await;
        assert_eq!(world.papers().await, Vec::<[String; 4]>::new());
    }
    // Dates are those of the time zone.
    let body = json!({"account": "default", "from": "2026-10-01", "until": "2026-11-01"});
    let (status, draft) = world.control.call(Method::POST, "/v1/invoices", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{draft}");
    assert_eq!(draft["document"]["until"], "2026-10-31T23:00:00.000Z");
    let path = format!("/v1/invoices/{}/finalize", draft["id"].as_str().unwrap());
    world.post(&path, json!({})).await;
    world.put("/v1/invoice-settings", settings("Cloud Ltd", true)).await;
    world.at("2026-12-02T00:00:00Z").await;
    world.round().await;
    let all = [
        paper("1", "2026-09-30T22:00:00", OCTOBER, "default 0.10"),
        paper("2", OCTOBER, NOVEMBER, "default 0.20"),
    ];
    assert_eq!(world.papers().await, all);
    let page = format!("/v1/invoices/{}/html", draft["id"].as_str().unwrap());
    let page = world.control.as_admin(Method::GET, &page).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(
        page.contains("For use from 2026-10-01 until 2026-11-01 (Europe/Berlin), dated 2026-11-10"),
        "{page}"
    );
}

#[tokio::test]
async fn contacts_of_the_account_get_the_paper_once() {
    let mut world = World::start().await;
    let (port, mut said) = mail_server::start(Manner::Plain, None).await;
    let smtp = format!("smtp://127.0.0.1:{port}?from=billing@example.org");
    let config = weir_control::Config {
        smtp: Some(weir_control::secrets::Secret::new(smtp)),
        ..(*world.context().config).clone()
    };
    world.control.context.config = Arc::new(config);
    tokio::spawn(billing::run(world.context().clone()));
    let (_, shop) = world.account("default", true).await;
    add(
        &world.control,
        json!({"channel": "email", "address": "books@example.org"}),
    )
    .await;
    let developer = json!({"channel": "email", "address": "developer@example.org", "project": "default"});
    add(&world.control, developer).await;
    world.round().await;
    world.uses(shop, 1).await;
    world.at("2026-11-03T12:00:00Z").await;
    world.round().await;
    let mail = next_mail(&mut said).await;
    for part in [
        "RCPT TO:<books@example.org>",
        "Subject: account:default: invoice 2026-001 of 0.10 EUR, for use from",
        "weir invoice pdf inv_",
        "Content-Type: application/pdf",
        "filename=\"invoice-2026-001.pdf\"",
        // The first bytes of a PDF.
        "JVBERi0xLjc",
    ] {
        assert!(mail.contains(part), "{part} is missing in\n{mail}");
    }
    for _ in 0..3 {
        world.round().await;
    }
    let notices = world.context().store.notice_list(10).await.unwrap();
    assert_eq!(
        notices.len(),
        1,
        "nothing twice, and nothing for a contact of one project: {notices:#?}"
    );
    assert_eq!(
        (notices[0].kind.as_str(), notices[0].state),
        ("invoice.final", NoticeState::Sent)
    );
}

#[tokio::test]
async fn a_promised_payment_is_reminded_of_before_it_is_due_once_also_after_restarts() {
    let world = World::start().await;
    world.account("default", true).await;
    add(
        &world.control,
        json!({"channel": "email", "address": "books@example.org"}),
    )
    .await;
    // The end of the 27th in Berlin, where clocks went back on the 25th.
    let promise = json!({"id": "p", "amount": "5", "due": "2026-10-27"});
    let (_, account) = world
        .control
        .call(Method::POST, "/v1/accounts/default/promises", Some(promise))
        .await;
    assert_eq!(
        (&account["due"], &account["time_zone"]),
        (&json!("2026-10-27T23:00:00.000Z"), &json!("Europe/Berlin"))
    );
    let mut told = Vec::new();
    for now in [
        "2026-10-20T00:00:00Z",
        "2026-10-24T22:59:59Z",
        "2026-10-24T23:00:00Z",
        "2026-10-25T12:00:00Z",
        "2026-10-26T23:00:00Z",
        "2026-10-27T22:00:00Z",
        "2026-10-27T23:00:00Z",
        "2026-11-05T00:00:00Z",
    ] {
        world.at(now).await;
        // A start of control each time.
        let sinks: Vec<Arc<dyn AlertSink>> = vec![Arc::new(ChangeSink), Arc::new(billing::NoticeSink)];
        let telling = tokio::spawn(money::tell(world.context().clone(), sinks));
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        telling.abort();
        let notices = world.context().store.notice_list(100).await.unwrap();
        told.push(notices.len());
    }
    assert_eq!(told, [0, 0, 1, 1, 2, 2, 3, 3]);
    let notices = world.context().store.notice_list(100).await.unwrap();
    let kinds: Vec<&str> = notices.iter().rev().map(|notice| notice.kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["money.promise-due", "money.promise-due", "money.promise-broken"]
    );
    for words in [
        "5.00 is due within a day, by 2026-10-28 00:00 Europe/Berlin",
        "nothing more is spent until that is paid",
        "weir account topup default AMOUNT",
    ] {
        assert!(
            notices[1].body.contains(words),
            "{words} is missing in\n{}",
            notices[1].body
        );
    }
    let changes = world.context().store.change_list(0, 100).await.unwrap();
    let due = changes
        .iter()
        .filter(|change| change.kind.starts_with("money.promise"))
        .count();
    assert_eq!(due, 3, "also among the changes of the project: {changes:#?}");
}
