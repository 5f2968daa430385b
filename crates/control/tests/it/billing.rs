//! Payments that outside systems tell of are booked once, whoever dies in between.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::AsyncReadExt as _;
use weir_control::clock::{Clock, SystemClock};

use crate::harness::{Control, answer, serve_in};

const TOPUPS: &str = "/v1/billing/topups";
/// As the operator of the payment system has made it.
const CHOSEN: &str = "payments-5a1d6f0c2b7e49380f1e2d3c4b5a6978";

/// As the page of the reference says.
pub(crate) fn sign(secret: &str, at_s: i64, content: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{at_s}.{content}").as_bytes());
    let hash: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("t={at_s},v1={hash}")
}

fn now_s() -> i64 {
    SystemClock.now_ms() / 1_000
}

fn topup(id: &str, amount: &str) -> Value {
    json!({"id": id, "account": "default", "amount": amount, "currency": "EUR", "reference": "card 4711"})
}

async fn send(control: &Control, signature: &str, body: &str) -> (StatusCode, Value) {
    let request = control
        .request(Method::POST, TOPUPS)
        .header("weir-signature", signature);
    answer(request.body(body.to_owned())).await
}

async fn tell(control: &Control, body: &Value) -> (StatusCode, Value) {
    let body = body.to_string();
    send(control, &sign(CHOSEN, now_s(), &body), &body).await
}

async fn start() -> Control {
    let control = Control::start().await;
    let (status, told) = control.call(Method::PUT, TOPUPS, Some(json!({"secret": CHOSEN}))).await;
    assert_eq!((status, told), (StatusCode::OK, json!({})), "who has made it knows it");
    control
}

async fn cash(control: &Control) -> Value {
    let (_, account) = control.call(Method::GET, "/v1/accounts/default", None).await;
    account["cash"].clone()
}

#[tokio::test]
async fn a_topup_is_booked_once_however_often_it_is_told() {
    let control = start().await;
    let wanted = topup("pay_1", "10");
    let all = futures_util::future::join_all((0..8).map(|_| tell(&control, &wanted))).await;
    let booked = topup("pay_1", "10.00");
    for (status, body) in all {
        assert_eq!((status, &body), (StatusCode::OK, &booked));
    }
    assert_eq!(tell(&control, &booked).await, (StatusCode::OK, booked.clone()));
    assert_eq!(cash(&control).await, "10.00");
    for (field, other) in [("amount", "10.01"), ("reference", "card 4712")] {
        let mut changed = booked.clone();
        changed[field] = json!(other);
        let (status, problem) = tell(&control, &changed).await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::CONFLICT, &json!("id-taken")),
            "{problem}"
        );
        assert!(problem["title"].as_str().unwrap().contains("`pay_1`"), "{problem}");
    }
    let second = control
        .call(Method::POST, "/v1/accounts", Some(json!({"name": "other"})))
        .await;
    assert_eq!(second.0, StatusCode::CREATED);
    let mut changed = booked.clone();
    changed["account"] = json!("other");
    assert_eq!(tell(&control, &changed).await.0, StatusCode::CONFLICT);
    assert_eq!(cash(&control).await, "10.00");
    // A payment that an administrator books has identities of its own.
    let own = json!({"id": "pay_1", "fund": "cash", "amount": "1", "reference": "by hand"});
    let deposits = "/v1/accounts/default/deposits";
    assert_eq!(control.call(Method::POST, deposits, Some(own)).await.0, StatusCode::OK);
    assert_eq!(cash(&control).await, "11.00");
    let (_, transfers) = control.call(Method::GET, "/v1/accounts/default/transfers", None).await;
    let ids: Vec<&Value> = transfers.as_array().unwrap().iter().map(|moved| &moved["id"]).collect();
    assert_eq!(ids, [&json!("pay_1"), &json!("topup:pay_1")]);
    assert_eq!(transfers[1]["reference"], "card 4711");
    let report = control.context.money.audit().await.unwrap();
    assert_eq!(report.findings, Vec::<String>::new());
}

#[tokio::test]
async fn a_topup_that_cannot_be_booked_says_why() {
    let control = start().await;
    for (field, value, status, words) in [
        ("account", "nobody", 404, "no account `nobody`"),
        ("currency", "USD", 422, "`USD`, but this Weir counts in EUR"),
        ("currency", "eur", 422, "counts in EUR"),
        ("amount", "0", 422, "above zero"),
        ("amount", "-5", 422, "above zero"),
        ("amount", "0.001", 422, "smallest coin"),
        ("amount", "1e3", 422, "not an amount"),
        ("amount", "99999999999", 422, "too large"),
        ("id", "", 422, "the id has 1 to 100"),
        ("reference", "a\u{1b}[2J", 422, "the reference has 1 to 200"),
    ] {
        let mut body = topup("pay_1", "10.00");
        body[field] = json!(value);
        let (got, problem) = tell(&control, &body).await;
        assert_eq!(got.as_u16(), status, "{field} {value}: {problem}");
        assert!(
            problem["title"].as_str().unwrap().contains(words),
            "{field} {value}: {problem}"
        );
    }
    for body in [json!({"id": "x"}), json!([]), json!({"id": 1})] {
        assert_eq!(tell(&control, &body).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    }
    let mut more = topup("pay_1", "10.00");
    more["fee"] = json!("0.30");
    assert_eq!(
        tell(&control, &more).await.0,
        StatusCode::UNPROCESSABLE_ENTITY,
        "what is not understood is not ignored"
    );
    assert_eq!(cash(&control).await, "0.00");
    assert_eq!(
        tell(&control, &topup("pay_1", "10.00")).await.0,
        StatusCode::OK,
        "a refusal uses no id up"
    );
}

#[tokio::test]
async fn what_is_not_signed_lately_with_the_secret_is_not_believed() {
    let control = start().await;
    let body = topup("pay_1", "10.00").to_string();
    let tampered = topup("pay_1", "90.00").to_string();
    let now = now_s();
    let good = sign(CHOSEN, now, &body);
    for (signature, body, words) in [
        (
            sign("another-secret-of-32-characters-or-more", now, &body),
            &body,
            "does not fit",
        ),
        (good.clone(), &tampered, "does not fit"),
        (
            good.replace(&format!("t={now}"), &format!("t={}", now + 1)),
            &body,
            "does not fit",
        ),
        (sign(CHOSEN, now - 400, &body), &body, "apart"),
        (sign(CHOSEN, now + 400, &body), &body, "apart"),
        ("v1=abc".to_owned(), &body, "of the form"),
    ] {
        let (status, problem) = send(&control, &signature, body).await;
        assert_eq!(
            (status, &problem["type"]),
            (StatusCode::FORBIDDEN, &json!("bad-signature")),
            "{signature}"
        );
        assert!(
            problem["title"].as_str().unwrap().contains(words),
            "{signature}: {problem}"
        );
        assert!(!problem.to_string().contains(CHOSEN));
    }
    // A token is no signature.
    let (status, _) = answer(control.as_admin(Method::POST, TOPUPS).body(body.clone())).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(cash(&control).await, "0.00");
    // Somebody who guesses is slowed down; who knows the secret is not.
    let mut last = StatusCode::FORBIDDEN;
    for _ in 0..20 {
        last = send(&control, "t=1,v1=00", &body).await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(send(&control, &good, &body).await.0, StatusCode::OK);
    assert_eq!(
        send(&control, &good, &body).await.0,
        StatusCode::OK,
        "replayed, it changes nothing"
    );
    assert_eq!(cash(&control).await, "10.00");
    // Another secret ends the first; none ends all.
    let (_, told) = control.call(Method::PUT, TOPUPS, Some(json!({}))).await;
    let made = told["secret"].as_str().unwrap();
    assert!(!send(&control, &good, &body).await.0.is_success());
    assert_eq!(
        send(&control, &sign(made, now_s(), &body), &body).await.0,
        StatusCode::OK
    );
    let (status, _) = control.call(Method::DELETE, TOPUPS, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (status, problem) = send(&control, &sign(made, now_s(), &body), &body).await;
    assert_eq!(
        (status, &problem["type"]),
        (StatusCode::NOT_FOUND, &json!("topups-off"))
    );
    let (status, _) = control
        .call(Method::PUT, TOPUPS, Some(json!({"secret": "short"})))
        .await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// Where the victim leaves its address.
fn address_file(folder: &Path) -> PathBuf {
    folder.join("address")
}

#[tokio::test]
#[ignore = "not a test: the process that the next test kills"]
async fn victim() {
    let Some(folder) = std::env::var_os("WEIR_TEST_VICTIM").map(PathBuf::from) else {
        return;
    };
    let (_context, address, _engine) = serve_in(&folder).await;
    std::fs::write(folder.join("address.new"), address).unwrap();
    std::fs::rename(folder.join("address.new"), address_file(&folder)).unwrap();
    // Ends at the latest with who has started it.
    let _ = tokio::io::stdin().read(&mut [0]).await;
}

/// A control in a process of its own.
struct Victim {
    child: Child,
    address: String,
}

impl Victim {
    async fn start(folder: &Path) -> Self {
        let _ = std::fs::remove_file(address_file(folder));
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "billing::victim"])
            .env("WEIR_TEST_VICTIM", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut victim = Self {
            child,
            address: String::new(),
        };
        for _ in 0..600 {
            if let Ok(address) = std::fs::read_to_string(address_file(folder)) {
                victim.address = address;
                return victim;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the victim does not start");
    }

    /// SIGKILL.
    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topup_is_booked_once_although_control_is_killed_at_any_moment() {
    const PAYMENTS: u64 = 60;
    let folder = tempfile::tempdir().unwrap();
    let client = reqwest::Client::new();
    let mut random = fastrand::Rng::with_seed(4711);
    let mut victim = Victim::start(folder.path()).await;
    let admin = std::fs::read_to_string(folder.path().join("admin-token")).unwrap();
    let put = client
        .put(format!("{}{TOPUPS}", victim.address))
        .bearer_auth(admin.trim());
    assert_eq!(answer(put.json(&json!({"secret": CHOSEN}))).await.0, StatusCode::OK);
    let pay = |address: String, number: u64| {
        let body = topup(&format!("pay_{number}"), &format!("{number}.00")).to_string();
        let request = client.post(format!("{address}{TOPUPS}"));
        let request = request.header("weir-signature", sign(CHOSEN, now_s(), &body));
        async move {
            let response = request.body(body).send().await.ok()?;
            Some(response.status())
        }
    };
    // What is not answered is unknown, and told again.
    let mut unanswered: Vec<u64> = (1..=PAYMENTS).collect();
    let mut lost = 0;
    for round in 0..12 {
        random.shuffle(&mut unanswered);
        let tries = unanswered.iter().copied().take(16).map(|number| {
            let answer = pay(victim.address.clone(), number);
            async move { (number, answer.await) }
        });
        let tries = tokio::spawn(futures_util::future::join_all(tries.collect::<Vec<_>>()));
        tokio::time::sleep(Duration::from_micros(random.u64(0..25_000))).await;
        victim.kill();
        for (number, status) in tries.await.unwrap() {
            match status {
                Some(status) => {
                    assert_eq!(status, StatusCode::OK, "round {round}");
                    unanswered.retain(|other| *other != number);
                }
                None => lost += 1,
            }
        }
        victim = Victim::start(folder.path()).await;
    }
    assert!(lost > 0, "no answer was ever lost, so nothing was shown");
    for number in 1..=PAYMENTS {
        assert_eq!(pay(victim.address.clone(), number).await, Some(StatusCode::OK));
    }
    let account = client.get(format!("{}/v1/accounts/default", victim.address));
    let (_, account) = answer(account.bearer_auth(admin.trim())).await;
    assert_eq!(account["cash"], format!("{}.00", PAYMENTS * (PAYMENTS + 1) / 2));
}
