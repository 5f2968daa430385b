//! `weir cap`, `cost`, `prices`, `account`, `guard`, `ledger`.

use axum::http::Method;
use serde_json::json;

use crate::fake::Fake;
use crate::support::{finish, run, weir};

#[test]
fn caps_are_a_table_and_what_is_stopped_says_why() {
    let fake = Fake::start();
    let outcome = run(&fake, &["cap", "shop"]).ends_with(0).says(&[
        "shop: the spending cap of the project is reached\n  hint: weir cap set shop AMOUNT/month allows more",
        "shop was set to 7.00/month paced when 7.25 were spent and held already",
    ]);
    assert_eq!(
        outcome.stdout,
        "\
SCOPE            CAP               SPENT  HELD   LEFT   PER HOUR  REACHED  AT WORST  STATE
account:default  100.00/month      1.23   0.012  98.75  0.00      -        -         ok
shop             7.00/month paced  1.23   0.012  0.00   0.00      now      -         stopped (project-cap)
shop/production  -                 1.23   0.012  -      0.00      -        -         ok
"
    );
    let json = run(&fake, &["cap", "shop", "--json"]).ends_with(0).json();
    assert_eq!(json[0]["settled"], "1.2345678", "programs get all digits");
    run(&fake, &["cap"]).ends_with(0);
    assert_eq!(fake.asked(&Method::GET, "/v1/caps").len(), 1, "without a project: all");
}

#[test]
fn a_cap_is_explained_before_it_is_set() {
    let fake = Fake::start();
    let outcome = run(&fake, &["cap", "set", "shop", "14.00/month", "--no-pace"]).ends_with(0);
    assert_eq!(outcome.stdout, "shop 14.00/month\n");
    assert_eq!(
        outcome.stderr,
        "\
shop: 7.00/month paced -> 14.00/month (EUR; 1.25 spent and held in this period)
at worst 0.006 per hour, 4.38 per month; requests and bytes out come on top
the cap would stop that now (2020-01-31 12:00 UTC)
account:default is bound to 100.00 in the same time, so that cap is reached first
"
    );
    let bodies: Vec<_> = fake
        .asked(&Method::PUT, "/v1/projects/shop/cap")
        .into_iter()
        .map(|asked| (asked.idempotency_key.is_some(), asked.body))
        .collect();
    let body = |dry| {
        (
            true,
            json!({ "limit": "14.00", "period": "month", "pace": false, "dry_run": dry }),
        )
    };
    assert_eq!(bodies, [body(true), body(false)]);
}

#[test]
fn a_dry_run_changes_nothing() {
    let fake = Fake::start();
    let outcome = run(&fake, &["cap", "set", "account:default", "1.5/day", "--dry-run"])
        .ends_with(0)
        .says(&["nothing was changed"]);
    assert_eq!(outcome.stdout, "");
    let asked = fake.asked(&Method::PUT, "/v1/accounts/default/cap");
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].body,
        json!({ "limit": "1.50", "period": "day", "dry_run": true })
    );
}

#[test]
fn the_scope_of_a_cap_comes_from_where_one_is() {
    let fake = Fake::start();
    let path = "/v1/projects/shop/environments/staging/cap";
    run(&fake, &["cap", "set", "shop/staging", "0.50/week", "--pace"]).ends_with(0);
    run(&fake, &["cap", "set", "0.50/total", "-p", "shop", "-e", "staging"]).ends_with(0);
    assert_eq!(fake.asked(&Method::PUT, path).len(), 4);
    run(&fake, &["cap", "set", "0.50/total", "-p", "shop"]).ends_with(0);
    assert_eq!(fake.asked(&Method::PUT, "/v1/projects/shop/cap").len(), 2);
    let outcome = run(&fake, &["cap", "unset", "shop/staging"])
        .ends_with(0)
        .says(&["bound by the cap of shop alone"]);
    assert_eq!(outcome.stdout, "shop/staging no cap of its own\n");
    assert_eq!(fake.asked(&Method::DELETE, path).len(), 1);
    run(&fake, &["cap", "unset", "shop"])
        .ends_with(2)
        .says(&["always have a cap", "weir cap set"]);
}

#[test]
fn mistakes_with_money_are_refused_before_anything_is_sent() {
    let fake = Fake::start();
    for (words, told) in [
        (&["cap", "set", "shop", "7.00"][..], "for example: 7.00/month"),
        (&["cap", "set", "shop", "7.00/mont"], "did you mean 7.00/month?"),
        (&["cap", "set", "shop", "0/month"], "a cap of nothing"),
        (&["cap", "set", "shop", "-7.00/month"], "unexpected argument"),
        (&["cap", "set", "shop", "7,00/month"], "with a point, as in 7.00"),
        (&["cap", "set", "shop", "0.0000000001/month"], "at most nine digits"),
        (&["cap", "set", "Shop", "7.00/month"], "cannot be the name of a project"),
        (
            &["cap", "set", "account:", "7.00/month"],
            "cannot be the name of an account",
        ),
        (&["cap", "set", "7.00/month"], "which project?"),
        (
            &["account", "topup", "default", "0", "--reference", "x"],
            "not above zero",
        ),
        (
            &["account", "topup", "default", "-3", "--reference", "x"],
            "not above zero",
        ),
        (
            &["account", "topup", "default", "ten", "--reference", "x"],
            "write digits",
        ),
        (
            &["account", "topup", "default", "1", "--reference", " "],
            "the reference is empty",
        ),
        (
            &["account", "billing", "default", "perhaps"],
            "possible values: on, off",
        ),
        (&["guard", "set", "shop", "--depth", "0"], "1..=1000"),
        (
            &["cost", "--by", "colour"],
            "possible values: environment, app, process, sku",
        ),
        (&["prices", "show", "first"], "invalid digit"),
    ] {
        let outcome = run(&fake, words).ends_with(2);
        assert!(outcome.stderr.contains(told), "{words:?}: {}", outcome.stderr);
    }
    assert!(fake.memory.lock().unwrap().asked.is_empty());
}

#[test]
fn costs_are_rounded_for_people_and_exact_for_programs() {
    let fake = Fake::start();
    let outcome = run(&fake, &["cost", "shop", "--since", "24h", "--per", "day"]).ends_with(0);
    assert_eq!(
        outcome.stdout,
        "\
PROJECT  ENVIRONMENT  APP   PROCESS  FOR                          EUR
shop     production   shop  web      requests                     1.23
shop     production   -     -        lost in crashes, not billed  0.000000001

total  1.23 EUR  from 2030-01-01 01:00 to 2030-01-31 13:00 (Europe/Berlin)
"
    );
    let asked = fake.asked(&Method::GET, "/v1/projects/shop/cost");
    assert_eq!(asked[0].query, "by=sku-of-process&since=24h&per=day");
    let outcome = run(&fake, &["cost", "shop", "--by", "environment"]).ends_with(0);
    assert!(
        outcome
            .stdout
            .contains("lost in crashes, not billed  0.000000001 EUR (in the total)"),
        "{}",
        outcome.stdout
    );
    let outcome = run(&fake, &["cost", "--csv"]).ends_with(0);
    assert_eq!(
        outcome.stdout,
        "\
at,project,environment,app,process,sku,units,price_version,price_pico,price_per,amount,currency
,shop,production,shop,web,requests,12345678,1,100000000000,1000000,1.2345678,EUR
,shop,production,,,lost,0,1,100000000000,1000000,0.000000001,EUR
"
    );
    assert_eq!(
        run(&fake, &["cost", "--json"]).ends_with(0).json()["total"],
        "1.234567801"
    );
    run(&fake, &["cost", "--json", "--csv"]).ends_with(2);
}

#[test]
fn prices_are_shown_checked_and_published() {
    let fake = Fake::start();
    let outcome = run(&fake, &["prices"]).ends_with(0);
    assert_eq!(
        outcome.stdout,
        "version 1  EUR  valid from 2030-01-01 00:00 UTC  in force\nFOR       PRICE\nrequests  0.10 per million\n"
    );
    assert!(
        run(&fake, &["prices", "--all"])
            .ends_with(0)
            .stdout
            .contains("version 2")
    );
    let toml = run(&fake, &["prices", "show", "1", "--toml"]).ends_with(0).stdout;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("prices.toml"), &toml).unwrap();
    let outcome = finish(weir(&fake, folder.path()).args(["prices", "publish", "prices.toml", "--dry-run"]))
        .ends_with(0)
        .says(&["nothing was published; it would be version 3"]);
    assert_eq!(
        outcome.stdout,
        "FOR       BEFORE            AFTER\nrequests  0.10 per million  0.20 per million\ngpu       free              1.00 per one\n"
    );
    finish(weir(&fake, folder.path()).args(["prices", "publish", "prices.toml"]))
        .ends_with(0)
        .says(&["version 3 is published", "what is leased keeps its prices"]);
    assert_eq!(
        fake.asked(&Method::POST, "/v1/prices")[1].body,
        json!({ "toml": toml, "dry_run": false })
    );
    std::fs::write(folder.path().join("prices.toml"), "\nwrong = 1\n").unwrap();
    finish(weir(&fake, folder.path()).args(["prices", "publish", "prices.toml"]))
        .ends_with(2)
        .says(&["these are not prices", "line 2: `wrong`"]);
    finish(weir(&fake, folder.path()).args(["prices", "publish", "none.toml"]))
        .ends_with(1)
        .says(&["cannot read none.toml"]);
}

#[test]
fn accounts_are_filled_and_shown() {
    let fake = Fake::start();
    let outcome = run(&fake, &["account"]).ends_with(0).says(&["billing is off"]);
    assert_eq!(
        outcome.stdout,
        "\
default  balance 12.34 EUR  billing off
FUND        LEFT
trial       2.00
promised    5.00  due 2020-01-31 13:00 Europe/Berlin
cash        6.34
held ahead  0.25
debt        1.00
projects: blog, shop
when the balance ends, stops first: blog
"
    );
    run(
        &fake,
        &[
            "account",
            "topup",
            "default",
            "10",
            "--reference",
            "transfer 4711",
            "--id",
            "one",
        ],
    )
    .ends_with(0);
    let asked = fake.asked(&Method::POST, "/v1/accounts/default/deposits");
    assert_eq!(
        asked[0].body,
        json!({ "id": "one", "fund": "cash", "amount": "10.00", "reference": "transfer 4711" })
    );
    run(&fake, &["account", "trial", "default", "2.00"])
        .ends_with(0)
        .says(&["its id is cli-", "repeat it with --id cli-"]);
    run(
        &fake,
        &[
            "account",
            "promise",
            "default",
            "5.00",
            "--due",
            "2026-12-01",
            "--id",
            "p",
        ],
    )
    .ends_with(0);
    assert_eq!(
        fake.asked(&Method::POST, "/v1/accounts/default/promises")[0].body,
        json!({ "id": "p", "amount": "5.00", "due": "2026-12-01" })
    );
    run(&fake, &["account", "billing", "default", "on"]).ends_with(0);
    run(&fake, &["account", "stop-order", "default", "blog,shop"]).ends_with(0);
    assert_eq!(
        fake.asked(&Method::PUT, "/v1/accounts/default/stop-order")[0].body,
        json!({ "projects": ["blog", "shop"] })
    );
    let transfers = run(&fake, &["account", "transfers", "default"]).ends_with(0).stdout;
    assert!(
        transfers.contains("external:payments  wallet:cash  6.3400001"),
        "{transfers}"
    );
    run(&fake, &["account", "list"]).ends_with(0);
    run(&fake, &["project", "create", "shop", "--account", "customer-7"]).ends_with(0);
    assert_eq!(
        fake.asked(&Method::POST, "/v1/projects")[0].body["account"],
        "customer-7"
    );
}

#[test]
fn the_guard_shows_rules_trips_and_the_worst_case() {
    let fake = Fake::start();
    let outcome = run(&fake, &["guard", "shop"]).ends_with(0).says(&[
        "shop: one request from outside costs at most about 0.083 EUR",
        "crawler: the guard is off, so only the cap bounds",
    ]);
    for words in [
        "shop     on                 16     331 (a tenth of the cap)  64        on            tell",
        "crawler  off, only watches  32     5000                      no limit  off           slow",
        "shop.web  reproduction: 1.500 (limit 1.000)  refused\n  GET shop.localhost/a\n",
        "shop.web  repeats: 16 (limit 16)  warning\n  GET shop.localhost/again\n",
        "shop.web works with no request in flight: 12.3 s of CPU time since",
    ] {
        assert!(
            outcome.stdout.contains(words),
            "{words:?} is missing:\n{}",
            outcome.stdout
        );
    }
    assert!(!outcome.stdout.contains('\u{1b}'), "evidence cannot move the cursor");
    let only = run(&fake, &["guard", "shop", "crawler", "--json"]).ends_with(0).json();
    assert_eq!(
        (only["rules"].as_array().unwrap().len(), &only["trips"]),
        (1, &json!([]))
    );
    let words = "guard set shop crawler -e staging --depth 32 --descendants 5000 --repeats 0 --no-reproduction --on";
    run(&fake, &words.split(' ').collect::<Vec<_>>()).ends_with(0);
    let asked = fake.asked(&Method::PATCH, "/v1/projects/shop/environments/staging/guard");
    let wanted = json!({
        "app": "crawler", "enabled": true, "depth": 32, "descendants": 5000, "repeats": 0, "reproduction": false,
    });
    assert_eq!(asked[0].body, wanted);
    run(&fake, &["guard", "set", "shop", "--off"]).ends_with(0);
    let asked = fake.asked(&Method::PATCH, "/v1/projects/shop/environments/production/guard");
    assert_eq!(asked[0].body, json!({ "enabled": false }));
    run(&fake, &["guard", "set", "shop", "--background", "slow"]).ends_with(0);
    let asked = fake.asked(&Method::PATCH, "/v1/projects/shop/environments/production/guard");
    assert_eq!(asked[1].body, json!({ "background": "slow" }));
    run(&fake, &["guard", "reset", "shop", "crawler"]).ends_with(0);
    let asked = fake.asked(&Method::DELETE, "/v1/projects/shop/environments/production/guard");
    assert_eq!(asked.len(), 1);
}

#[test]
fn an_audit_that_finds_something_fails_and_the_journal_comes_out_whole() {
    let fake = Fake::start();
    let outcome = run(&fake, &["ledger", "audit"]).ends_with(1);
    assert!(
        outcome.stdout.contains("entries replayed      12\n") && outcome.stdout.contains("paid and not served   1\n"),
        "{}",
        outcome.stdout
    );
    assert!(
        outcome.stdout.contains("wrong: row 7 of the journal was changed"),
        "{}",
        outcome.stdout
    );
    let json = run(&fake, &["ledger", "audit", "--json"]).ends_with(1).json();
    assert_eq!(json["findings"][0], "row 7 of the journal was changed");
    let sequences = |outcome: &str| -> Vec<i64> {
        outcome
            .lines()
            .map(|line| {
                serde_json::from_str::<serde_json::Value>(line).unwrap()["sequence"]
                    .as_i64()
                    .unwrap()
            })
            .collect()
    };
    let all = run(&fake, &["ledger", "export"]).ends_with(0).stdout;
    assert_eq!(sequences(&all), (1..=1_500).collect::<Vec<_>>());
    let some = run(&fake, &["ledger", "export", "--from", "499", "--to", "1499"])
        .ends_with(0)
        .stdout;
    assert_eq!(sequences(&some), (499..=1_499).collect::<Vec<_>>());
}

#[test]
fn the_status_tells_what_was_spent_and_why_it_stopped() {
    let fake = Fake::start();
    let outcome = run(&fake, &["status", "--project", "shop"]).ends_with(0);
    for words in [
        "spent 1.23 EUR in this period; 0.00 left of 7.00/month paced (cap of shop)\n",
        "stopped: the spending cap of the project is reached; weir cap set shop AMOUNT/month allows more\n",
    ] {
        assert!(
            outcome.stdout.contains(words),
            "{words:?} is missing:\n{}",
            outcome.stdout
        );
    }
}
