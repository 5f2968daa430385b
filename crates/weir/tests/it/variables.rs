//! `weir set` and its relatives.

use axum::http::Method;
use serde_json::json;

use crate::fake::Fake;
use crate::support::{finish, finish_with_input, run, weir};

const PATH: &str = "/v1/projects/shop/environments/production/variables";

#[test]
fn several_at_once_make_one_request_and_secrets_are_not_repeated() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(".env"), "# for tests\nA=1\nTOKEN='from file'\n").unwrap();
    let mut command = weir(&fake, folder.path());
    command.args([
        "set",
        "KEY=-",
        "B=x=y",
        "--from-file",
        ".env",
        "--secret",
        "--build",
        "-p",
        "shop",
    ]);
    let outcome = finish_with_input(&mut command, "hunter2\n").ends_with(0);
    assert!(
        !outcome.stderr.contains("hunter2") && !outcome.stderr.contains("from file"),
        "{}",
        outcome.stderr
    );
    let asked = fake.asked(&Method::PATCH, PATH);
    assert_eq!(asked.len(), 1);
    let variable = |value: &str| json!({ "value": value, "secret": true, "build": true });
    let set =
        json!({ "A": variable("1"), "B": variable("x=y"), "KEY": variable("hunter2"), "TOKEN": variable("from file") });
    assert_eq!(asked[0].body, json!({ "set": set, "unset": [], "no_deploy": false }));
}

#[test]
fn they_are_unset_under_each_name_of_the_verb() {
    let fake = Fake::start();
    run(&fake, &["unset", "A", "B", "--no-deploy", "-p", "shop"])
        .ends_with(0)
        .says(&["kept for the next release"]);
    run(&fake, &["var", "unset", "A", "-p", "shop"]).ends_with(0);
    run(&fake, &["variable", "set", "A=1", "-p", "shop"]).ends_with(0);
    assert_eq!(
        fake.asked(&Method::PATCH, PATH)[0].body,
        json!({ "set": {}, "unset": ["A", "B"], "no_deploy": true })
    );
}

#[test]
fn mistakes_are_refused_before_anything_is_sent_and_values_are_not_repeated() {
    let fake = Fake::start();
    let outcome = run(&fake, &["set", "hunter2", "-p", "shop"])
        .ends_with(2)
        .says(&["KEY=VALUE"]);
    assert!(!outcome.stderr.contains("hunter2"));
    run(&fake, &["set", "PORT=1", "-p", "shop"])
        .ends_with(2)
        .says(&["set by Weir itself"]);
    run(&fake, &["set", "A=-", "B=-", "-p", "shop"])
        .ends_with(2)
        .says(&["--from-file"]);
    let folder = tempfile::tempdir().unwrap();
    finish(weir(&fake, folder.path()).args(["set", "--from-file", "none", "-p", "shop"]))
        .ends_with(1)
        .says(&["cannot read none"]);
    assert!(fake.asked(&Method::PATCH, PATH).is_empty());
}
