//! `weir run` and `weir exec`.

use axum::http::Method;

use crate::fake::Fake;
use crate::support::{finish_with_input, run, weir};

#[test]
fn a_command_gets_its_input_and_gives_its_status() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let mut command = weir(&fake, folder.path());
    let outcome = finish_with_input(
        command.args(["run", "-p", "shop", "psql", "--file", "a b"]),
        "select 1;\n",
    )
    .ends_with(7);
    assert_eq!(outcome.stdout, "command: psql --file 'a b'\nselect 1;\n");
    assert_eq!(outcome.stderr, "to standard error\n");
}

#[test]
fn exec_names_the_instance_and_json_collects() {
    let fake = Fake::start();
    let outcome = run(
        &fake,
        &["--json", "exec", "-p", "shop", "--instance", "ins_1", "ls | wc"],
    )
    .ends_with(7);
    assert_eq!(outcome.json()["stdout"], "command: ls | wc\n");
    assert_eq!(outcome.json()["status"], 7);
    let asked = fake.asked(&Method::GET, "/v1/projects/shop/environments/production/exec");
    assert_eq!(asked[0].query, "command=ls+%7C+wc&instance=ins_1");
}

#[test]
fn what_cannot_be_run_has_a_status_of_its_own() {
    let fake = Fake::start();
    run(&fake, &["run", "-p", "shop", "refused"])
        .ends_with(125)
        .says(&["nothing runs here", "hint: deploy something"]);
    run(&fake, &["run", "-p", "shop"]).ends_with(2);
}
