//! Following tasks and logs.

use axum::http::Method;
use serde_json::json;

use crate::fake::Fake;
use crate::support::run;

const PRODUCTION: &str = "/v1/projects/shop/environments/production";

#[test]
fn steps_are_shown_and_the_address_is_the_result() {
    let fake = Fake::start();
    let outcome = run(&fake, &["rollback", "2", "-p", "shop"])
        .ends_with(0)
        .says(&["-----> Starting web\n", "       ready in 0.4 s\n"]);
    assert_eq!(outcome.stdout, "http://shop.localhost:8080\n");
    let asked = fake.asked(&Method::POST, &format!("{PRODUCTION}/deployments"));
    assert_eq!(asked[0].body, json!({ "kind": "rollback", "release": 2 }));
}

#[test]
fn a_failed_task_fails_the_command_with_its_reason() {
    let fake = Fake::start();
    let outcome = run(&fake, &["rollback", "99", "-p", "shop"]).ends_with(1);
    let outcome = outcome.says(&[
        " !     the check failed",
        "hint: look at /health",
        "error: web did not become ready",
        "weir task show tsk_failed",
    ]);
    assert_eq!(outcome.stdout, "");
    let outcome = run(&fake, &["rollback", "99", "-p", "shop", "--json"]).ends_with(1);
    assert_eq!(outcome.json()["state"], "failed");
    run(&fake, &["promote", "staging", "production", "-p", "shop"])
        .ends_with(1)
        .says(&["superseded"]);
}

#[test]
fn a_broken_connection_is_resumed_behind_the_last_line() {
    let fake = Fake::start();
    let outcome = run(&fake, &["pause", "-p", "shop"]).ends_with(0).says(&[
        "-----> Starting web",
        "-----> Stopping",
        "is paused",
    ]);
    assert_eq!(outcome.stderr.matches("-----> Starting web").count(), 1);
}

#[test]
fn detached_work_is_told_by_its_task_and_nothing_to_do_is_no_error() {
    let fake = Fake::start();
    assert_eq!(
        run(&fake, &["restart", "-p", "shop", "--detach"]).ends_with(0).stdout,
        "tsk_done\n"
    );
    run(&fake, &["resume", "-p", "shop"])
        .ends_with(0)
        .says(&["it is not paused"]);
    assert_eq!(
        run(&fake, &["task", "watch", "tsk_done", "--json"]).ends_with(0).json()["state"],
        "done"
    );
    run(&fake, &["task", "watch", "tsk_none"])
        .ends_with(3)
        .says(&["weir tasks"]);
    run(&fake, &["task", "watch", "../projects"]).ends_with(2);
}

#[test]
fn a_project_is_destroyed_without_questions_where_that_is_wanted() {
    let fake = Fake::start();
    run(&fake, &["destroy", "shop", "--yes"])
        .ends_with(0)
        .says(&["nothing of shop is left"]);
    assert_eq!(fake.asked(&Method::DELETE, "/v1/projects/shop").len(), 1);
    run(&fake, &["destroy", "shop", "--env", "staging", "--yes"]).ends_with(0);
    assert_eq!(
        fake.asked(&Method::DELETE, "/v1/projects/shop/environments/staging")
            .len(),
        1
    );
}

#[test]
fn logs_are_lines_that_cannot_move_the_cursor() {
    let fake = Fake::start();
    let outcome = run(
        &fake,
        &[
            "logs",
            "-p",
            "shop",
            "--process",
            "web",
            "--since",
            "1h",
            "--grep",
            "a b",
            "-n",
            "7",
        ],
    )
    .ends_with(0);
    assert_eq!(
        outcome.stdout,
        "2030-01-31 12:00:00 shop.web[abcd]: one two\n2030-01-31 12:00:00 shop.web[abcd]: three\n"
    );
    let asked = fake.asked(&Method::GET, &format!("{PRODUCTION}/logs"));
    assert_eq!(asked[0].query, "limit=7&process=web&since=1h&grep=a+b");
    let outcome = run(&fake, &["logs", "-p", "shop", "--json", "--build"]).ends_with(0);
    let first: serde_json::Value = serde_json::from_str(outcome.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first["process"], "web");
}

#[test]
fn followed_logs_go_on_after_a_break_without_repeating_lines() {
    let fake = Fake::start();
    let outcome = run(&fake, &["logs", "-f", "-p", "shop"])
        .ends_with(3)
        .says(&["the environment is gone"]);
    let texts: Vec<&str> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    assert_eq!(texts, ["first", "second", "third"]);
}
