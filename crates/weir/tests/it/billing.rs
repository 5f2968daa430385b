//! `weir billing`.

use axum::http::Method;
use serde_json::json;

use crate::fake::Fake;
use crate::support::run;

#[test]
fn what_is_connected_and_what_failed_is_shown() {
    let fake = Fake::start();
    let outcome = run(&fake, &["billing"])
        .ends_with(0)
        .says(&["weir billing retry --failed"]);
    assert_eq!(
        outcome.stdout,
        "\
payments from outside: taken
told: https://billing.example.org/weir since 2030-01-31T12:00:00.000Z
records: 1 pending, 2 unconfirmed, 30 confirmed, 4 failed
"
    );
    let outcome = run(&fake, &["billing", "records", "--state", "failed"]).ends_with(0);
    for words in ["use-acc_0-1-1", "failed", "it shows the amount 1.00 instead of 0.0012"] {
        assert!(outcome.stdout.contains(words), "{}", outcome.stdout);
    }
    run(&fake, &["billing", "records", "--state", "lost"]).ends_with(2);
    let outcome = run(&fake, &["billing", "record", "use-acc_0-1-1"]).ends_with(0).says(&[
        "failed since",
        "the outside said: 200 OK: taken",
        "sha256: ab12",
    ]);
    assert_eq!(outcome.stdout, "{\"id\":\"use-acc_0-1-1\"}\n", "only what is sent");
}

#[test]
fn a_secret_that_was_made_is_shown_once_and_one_that_was_given_never() {
    let fake = Fake::start();
    for words in [
        &["billing", "topups", "on"][..],
        &["billing", "outside", "https://b.example.org"],
    ] {
        let outcome = run(&fake, words).ends_with(0).says(&["it is not shown again"]);
        assert_eq!(outcome.stdout, "whsec_made\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    std::fs::write(&file, "given-secret\n").unwrap();
    let file = file.to_str().unwrap();
    let since = "2026-11-01T00:00:00Z";
    for words in [
        &["billing", "topups", "on", "--secret-from", file][..],
        &[
            "billing",
            "outside",
            "http://10.0.0.1/x",
            "--secret-from",
            file,
            "--allow-private",
            "--since",
            since,
        ],
    ] {
        let outcome = run(&fake, words).ends_with(0);
        assert!(!format!("{}{}", outcome.stdout, outcome.stderr).contains("given-secret"));
    }
    let asked = fake.asked(&Method::PUT, "/v1/billing/topups");
    assert_eq!(asked[1].body, json!({"secret": "given-secret"}));
    let asked = fake.asked(&Method::PUT, "/v1/billing/outside");
    let body = json!({"url": "http://10.0.0.1/x", "allow_private": true, "since": since, "secret": "given-secret"});
    assert_eq!(asked[1].body, body);
    run(&fake, &["billing", "topups", "off"]).ends_with(0);
    run(&fake, &["billing", "outside", "--off"]).ends_with(0);
    for path in ["/v1/billing/topups", "/v1/billing/outside"] {
        assert_eq!(fake.asked(&Method::DELETE, path).len(), 1);
    }
    run(&fake, &["billing", "outside"]).ends_with(2);
    run(&fake, &["billing", "outside", "--off", "--allow-private"]).ends_with(2);
}

#[test]
fn one_record_or_all_that_failed_are_tried_again() {
    let fake = Fake::start();
    run(&fake, &["billing", "retry", "use-acc_0-1-1"])
        .ends_with(0)
        .says(&["1 to be sent again"]);
    run(&fake, &["billing", "retry", "--failed"])
        .ends_with(0)
        .says(&["7 to be sent again"]);
    assert_eq!(
        fake.asked(&Method::POST, "/v1/billing/records/use-acc_0-1-1/retry")
            .len(),
        1
    );
    assert_eq!(fake.asked(&Method::POST, "/v1/billing/retry").len(), 1);
    run(&fake, &["billing", "retry"]).ends_with(2);
    run(&fake, &["billing", "retry", "../tokens"]).ends_with(2);
}
