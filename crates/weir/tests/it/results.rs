//! Results, errors and exit codes.

use axum::http::Method;
use serde_json::json;

use crate::fake::Fake;
use crate::support::{bare, finish, run, weir};

#[test]
fn problems_of_the_api_become_errors_with_detail_and_hint() {
    let fake = Fake::start();
    let outcome = run(&fake, &["status", "--project", "missing"]).ends_with(3);
    assert_eq!(outcome.stdout, "");
    assert_eq!(
        outcome.stderr,
        "error: there is no project `missing`\n  detail: just so\n  hint: weir project list\n"
    );
    run(&fake, &["status", "--project", "secret"])
        .ends_with(4)
        .says(&["may only read"]);
    run(&fake, &["project", "create", "taken"])
        .ends_with(6)
        .says(&["already", "hint: choose another name"]);
}

#[test]
fn with_json_errors_are_json_on_standard_error() {
    let fake = Fake::start();
    let outcome = run(&fake, &["status", "--project", "missing", "--json"]).ends_with(3);
    let error: serde_json::Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(error["type"], "project-not-found");
    assert_eq!(error["hint"], "weir project list");
    assert_eq!(outcome.stdout, "");
}

#[test]
fn an_unknown_token_and_a_missing_one_are_not_allowed() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let mut command = weir(&fake, folder.path());
    finish(command.args(["project", "list"]).env("WEIR_TOKEN", "weir_bad"))
        .ends_with(4)
        .says(&["not known here", "weir login"]);
    let mut command = weir(&fake, folder.path());
    finish(command.args(["project", "list"]).env_remove("WEIR_TOKEN"))
        .ends_with(4)
        .says(&["there is no token", "weir login"]);
}

#[test]
fn a_weir_that_does_not_answer_is_unreachable_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    // Port 1 is nobody's.
    let mut command = bare(env!("CARGO_BIN_EXE_weir"), folder.path(), folder.path());
    command.env("WEIR_URL", "http://127.0.0.1:1").env("WEIR_TOKEN", "t");
    finish(command.args(["project", "list"]))
        .ends_with(5)
        .says(&["cannot be reached", "weir up", "WEIR_URL"]);
}

#[test]
fn wrong_words_are_a_usage_error() {
    let fake = Fake::start();
    run(&fake, &["statsu"]).ends_with(2).says(&["status"]);
    run(&fake, &["status"])
        .ends_with(2)
        .says(&["which project?", "--project NAME", "weir project create"]);
    run(&fake, &["status", "--project", "No Name"])
        .ends_with(2)
        .says(&["cannot be the name of a project"]);
    run(&fake, &["scale", "web=many", "--project", "shop"])
        .ends_with(2)
        .says(&["weir scale web=3 worker=1"]);
    run(&fake, &["destroy", "shop"])
        .ends_with(2)
        .says(&["3 releases, 1 secrets", "--confirm shop"]);
}

#[test]
fn status_tells_what_is_the_matter() {
    let fake = Fake::start();
    let outcome = run(&fake, &["status", "--project", "shop"]).ends_with(0);
    for words in [
        "shop production  degraded  release 3  http://shop.localhost:8080",
        "web      1/2",
        "512 MiB, 1.0 CPU",
        "KeyError",
        "also at http://shop.example:8080",
    ] {
        assert!(
            outcome.stdout.contains(words),
            "{words:?} is missing:\n{}",
            outcome.stdout
        );
    }
    assert!(!outcome.stdout.contains('\u{1b}'), "a pipe gets no colours");
    let outcome = run(&fake, &["status", "--project", "shop", "--json"]).ends_with(0);
    assert_eq!(outcome.json()["health"], "degraded");
}

#[test]
fn lists_are_tables_or_json() {
    let fake = Fake::start();
    let outcome = run(&fake, &["project", "list"]).ends_with(0);
    assert_eq!(
        outcome.stdout,
        "PROJECT  ADDRESS                     ENVIRONMENTS\nshop     http://shop.localhost:8080  production\n"
    );
    assert_eq!(
        run(&fake, &["tasks", "--json"]).ends_with(0).json()[0]["id"],
        "tsk_done"
    );
    assert_eq!(
        run(&fake, &["open", "-p", "shop"]).ends_with(0).stdout,
        "http://shop.localhost:8080\n"
    );
    run(&fake, &["token", "list"])
        .ends_with(0)
        .says(&["there are no tokens"]);
}

#[test]
fn the_project_comes_from_the_environment_where_nothing_else_says_it() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let mut command = weir(&fake, folder.path());
    let outcome = finish(
        command
            .args(["status", "--json", "-e", "staging"])
            .env("WEIR_PROJECT", "blog"),
    )
    .ends_with(0);
    assert_eq!(outcome.json()["project"], "blog");
    assert_eq!(
        fake.asked(&Method::GET, "/v1/projects/blog/environments/staging").len(),
        1
    );
}

#[test]
fn what_changes_something_carries_a_key_against_doing_it_twice() {
    let fake = Fake::start();
    run(&fake, &["scale", "web=3", "worker=1", "-p", "shop"]).ends_with(0);
    let asked = fake.asked(&Method::PUT, "/v1/projects/shop/environments/production/scale");
    assert_eq!(asked[0].body, json!({ "processes": { "web": 3, "worker": 1 } }));
    assert_eq!(asked[0].idempotency_key.as_ref().map(String::len), Some(32));
}

#[test]
fn a_reader_that_goes_away_is_no_error_worth_words() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let line = format!("{} releases -n 500 -p shop | head -n 1", env!("CARGO_BIN_EXE_weir"));
    let mut command = bare("/bin/sh", folder.path(), folder.path());
    command
        .args(["-c", &line])
        .env("WEIR_URL", &fake.url)
        .env("WEIR_TOKEN", crate::fake::TOKEN);
    let outcome = finish(&mut command).ends_with(0);
    assert_eq!(outcome.stdout.lines().count(), 1);
    assert_eq!(outcome.stderr, "");
}

#[test]
fn versions_of_both_sides_are_told() {
    let fake = Fake::start();
    let outcome = run(&fake, &["version", "--json"]).ends_with(0);
    assert_eq!(outcome.json()["server"], "9.9.9");
}
