//! `weir invoice`, `notify`, and the time zone of `weir account`.

use axum::http::Method;
use serde_json::json;

use crate::fake::Fake;
use crate::support::{finish, run, weir};

#[test]
fn invoices_are_listed_by_the_days_of_their_time_zone() {
    let fake = Fake::start();
    let outcome = run(&fake, &["invoice", "list", "customer-7"]).ends_with(0);
    assert_eq!(
        outcome.stdout,
        "\
INVOICE  KIND         NUMBER      STATE     FROM        UNTIL       TOTAL
inv_1    credit-note  2026-00043  final     2026-11-01  2026-12-01  -1.23 EUR
inv_1    invoice      2026-00042  credited  2026-11-01  2026-12-01  1.23 EUR
"
    );
    assert_eq!(fake.asked(&Method::GET, "/v1/invoices")[0].query, "account=customer-7");
    let json = run(&fake, &["invoice", "list", "--json"]).ends_with(0).json();
    assert_eq!(json[0]["document"]["from"], "2026-10-31T23:00:00.000Z");
}

#[test]
fn an_invoice_goes_from_draft_to_paper() {
    let fake = Fake::start();
    let words = "invoice create customer-7 --from 2026-11-01 --until 2026-12-01";
    let outcome = run(&fake, &words.split(' ').collect::<Vec<_>>())
        .ends_with(0)
        .says(&["make it final: weir invoice finalize inv_1"]);
    assert_eq!(
        outcome.stdout,
        "\
inv_1  invoice without number (draft)
LINE  ENVIRONMENT      USE       QUANTITY  PRICE             EXACT   AMOUNT
1     shop/production  requests  12.345    0.10 per million  1.2345  1.23
total 1.23 EUR, with 0.20 tax (19 %)
"
    );
    assert_eq!(
        fake.asked(&Method::POST, "/v1/invoices")[0].body,
        json!({ "account": "customer-7", "from": "2026-11-01", "until": "2026-12-01" })
    );
    let outcome = run(&fake, &["invoice", "finalize", "inv_1"]).ends_with(0);
    assert!(
        outcome.stdout.starts_with("inv_1  invoice 2026-00042 (final)\n"),
        "{}",
        outcome.stdout
    );
    assert!(!outcome.stderr.contains("finalize"), "{}", outcome.stderr);
    let folder = tempfile::tempdir().unwrap();
    for (kind, file, content) in [
        ("pdf", "november.pdf", "%PDF-1.7"),
        ("html", "november.html", "<!doctype html>"),
    ] {
        finish(weir(&fake, folder.path()).args(["invoice", kind, "inv_1", file]))
            .ends_with(0)
            .says(&[file, "is written"]);
        assert_eq!(std::fs::read_to_string(folder.path().join(file)).unwrap(), content);
    }
    finish(weir(&fake, folder.path()).args(["invoice", "pdf", "inv_1", "no/such/folder.pdf"]))
        .ends_with(1)
        .says(&["cannot write no/such/folder.pdf"]);
    run(&fake, &["invoice", "discard", "inv_1"])
        .ends_with(0)
        .says(&["inv_1 is gone"]);
    run(
        &fake,
        &["invoice", "credit", "inv_1", "--reason", "an outage", "--lines", "2,3"],
    )
    .ends_with(0);
    assert_eq!(
        fake.asked(&Method::POST, "/v1/invoices/inv_1/credit")[0].body,
        json!({ "lines": [2, 3], "reason": "an outage" })
    );
}

#[test]
fn what_is_wrong_with_an_invoice_is_said_with_the_next_step() {
    let fake = Fake::start();
    run(&fake, &["invoice", "show", "2026-00042"])
        .ends_with(2)
        .says(&["`2026-00042` is no identity of an invoice", "weir invoice list"]);
    run(&fake, &["invoice", "show", "inv_1/../../tokens"]).ends_with(2);
    assert!(fake.memory.lock().unwrap().asked.is_empty(), "nothing was sent");
    run(&fake, &["invoice", "show", "inv_2"])
        .ends_with(3)
        .says(&["there is no such invoice", "weir invoice list"]);
    run(&fake, &["invoice", "discard", "inv_2"])
        .ends_with(6)
        .says(&["a final document is never removed", "weir invoice credit"]);
    run(
        &fake,
        &["invoice", "create", "--from", "2030-01-01", "--until", "2030-02-01"],
    )
    .ends_with(6)
    .says(&["nothing was used in that time"]);
}

#[test]
fn settings_are_shown_and_only_what_is_named_is_changed() {
    let fake = Fake::start();
    let outcome = run(&fake, &["invoice", "settings"]).ends_with(0);
    assert_eq!(
        outcome.stdout,
        "\
series     {year}-{number:05}
tax        0 %, in the prices
automatic  on, as soon as a seller is set
seller     \n"
    );
    let path = "/v1/invoice-settings";
    assert!(fake.asked(&Method::PUT, path).is_empty());
    let outcome = run(&fake, &["invoice", "settings", "--seller", "Cloud Ltd\n1 High Street"]).ends_with(0);
    assert!(
        outcome.stdout.ends_with(
            "automatic  on, each month for accounts with billing on\nseller     Cloud Ltd\n           1 High Street\n"
        ),
        "{}",
        outcome.stdout
    );
    run(&fake, &["invoice", "settings", "--automatic", "off", "--tax", "7.5"]).ends_with(0);
    let body = fake.asked(&Method::PUT, path)[1].body.clone();
    assert_eq!(
        body,
        json!({
            "seller": "Cloud Ltd\n1 High Street", "tax_percent": "7.5", "series": "{year}-{number:05}",
            "automatic": false,
        })
    );
    run(&fake, &["invoice", "settings", "--automatic", "perhaps"]).ends_with(2);
    run(&fake, &["invoice", "customer", "customer-7", "Example Ltd"])
        .ends_with(0)
        .says(&["invoices of customer-7 that are made from now on"]);
    assert_eq!(
        fake.asked(&Method::PUT, "/v1/accounts/customer-7/address")[0].body,
        json!({ "address": "Example Ltd" })
    );
}

#[test]
fn the_time_zone_is_shown_and_set() {
    let fake = Fake::start();
    assert_eq!(run(&fake, &["account", "time-zone"]).ends_with(0).stdout, "UTC\n");
    let outcome = run(&fake, &["account", "time-zone", "Europe/Berlin"]).ends_with(0);
    assert_eq!(outcome.stdout, "Europe/Berlin\n");
    run(&fake, &["account", "time-zone", "Berlin"])
        .ends_with(2)
        .says(&["`Berlin` is not a time zone"]);
    assert_eq!(fake.asked(&Method::PUT, "/v1/time-zone").len(), 2);
}

#[test]
fn contacts_are_added_found_by_address_and_removed() {
    let fake = Fake::start();
    let outcome = run(
        &fake,
        &["notify", "add", "--email", "new@example.org", "--project", "shop"],
    )
    .ends_with(0)
    .says(&["new@example.org is told; try it: weir notify test con_9"]);
    assert_eq!(outcome.stdout, "con_9\n");
    let hook = "https://hooks.example.org/new";
    let outcome = run(
        &fake,
        &[
            "notify",
            "add",
            "--webhook",
            hook,
            "--account",
            "customer-7",
            "--allow-private",
        ],
    )
    .ends_with(0)
    .says(&["it is not shown again"]);
    assert_eq!(outcome.stdout, "whsec_shown_once\n", "only the secret, for a pipe");
    let bodies: Vec<_> = fake
        .asked(&Method::POST, "/v1/contacts")
        .into_iter()
        .map(|asked| asked.body)
        .collect();
    assert_eq!(
        bodies,
        [
            json!({ "channel": "email", "address": "new@example.org", "project": "shop", "allow_private": false }),
            json!({ "channel": "webhook", "address": hook, "account": "customer-7", "allow_private": true }),
        ]
    );
    for words in [
        &["notify", "add"][..],
        &["notify", "add", "--email", "a@example.org", "--webhook", hook],
        &["notify", "add", "--email", "a@example.org", "--allow-private"],
        &[
            "notify",
            "add",
            "--email",
            "a@example.org",
            "--project",
            "shop",
            "--account",
            "b",
        ],
    ] {
        run(&fake, words).ends_with(2);
    }
    let outcome = run(&fake, &["notify", "list"]).ends_with(0);
    assert!(
        outcome
            .stdout
            .contains("con_2    webhook  https://hooks.example.org/weir  default  all"),
        "{}",
        outcome.stdout
    );
    run(&fake, &["notify", "remove", "ops@example.org"])
        .ends_with(0)
        .says(&["ops@example.org is told nothing more"]);
    assert_eq!(fake.asked(&Method::DELETE, "/v1/contacts/con_1").len(), 1);
    run(&fake, &["notify", "remove", "nobody@example.org"])
        .ends_with(3)
        .says(&["there is no contact `nobody@example.org`", "weir notify list"]);
    run(&fake, &["notify", "remove", "twice@example.org"])
        .ends_with(2)
        .says(&["several contacts are `twice@example.org`"]);
}

#[test]
fn a_test_ends_as_the_receiver_took_it_and_the_log_says_what_went_wrong() {
    let fake = Fake::start();
    run(&fake, &["notify", "test", "ops@example.org"])
        .ends_with(0)
        .says(&["ops@example.org has taken it"]);
    run(&fake, &["notify", "test", "con_2"]).ends_with(1).says(&[
        "https://hooks.example.org/weir was not reached",
        "503 Service Unavailable",
        "it is tried again by itself",
    ]);
    let log = run(&fake, &["notify", "log"]).ends_with(0).stdout;
    for words in [
        "waiting  1      account:default: this is a test  the receiver answered 503",
        "sent     1",
    ] {
        assert!(log.contains(words), "{words:?} is missing:\n{log}");
    }
    run(&fake, &["notify", "log", "-n", "1"]).ends_with(0);
    let asked = fake.asked(&Method::GET, "/v1/notices");
    assert_eq!(asked.last().unwrap().query, "limit=1");
    run(&fake, &["notify", "log", "-n", "501"]).ends_with(2);
}
