//! Remotes, credentials, log-ins.

use std::os::unix::fs::PermissionsExt as _;

use axum::http::Method;

use crate::fake::{Fake, TOKEN};
use crate::support::{bare, finish, finish_with_input, git, weir};

#[test]
fn creating_a_project_in_a_repository_sets_remote_and_credential_helper() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet"]);
    let outcome = finish(weir(&fake, folder.path()).args(["project", "create", "shop"]))
        .ends_with(0)
        .says(&["git push weir main"]);
    assert_eq!(outcome.stdout, "http://shop.localhost:8080\n");
    assert_eq!(
        git(folder.path(), &["remote", "get-url", "weir"]),
        format!("{}/git/shop.git", fake.url)
    );
    let configuration = std::fs::read_to_string(folder.path().join(".git/config")).unwrap();
    assert!(!configuration.contains(TOKEN), "{configuration}");

    // Git itself asks the helper.
    let authority = fake.url.trim_start_matches("http://");
    let question = format!("protocol=http\nhost={authority}\n\n");
    let mut command = bare("git", folder.path(), folder.path());
    command
        .args(["credential", "fill"])
        .env("WEIR_URL", &fake.url)
        .env("WEIR_TOKEN", TOKEN)
        .env("GIT_TERMINAL_PROMPT", "0");
    let outcome = finish_with_input(&mut command, &question).ends_with(0);
    assert!(
        outcome.stdout.contains("username=weir\n") && outcome.stdout.contains(&format!("password={TOKEN}\n")),
        "{}",
        outcome.stdout
    );

    // From now on the folder says which project is meant, and which Weir.
    let mut command = weir(&fake, folder.path());
    let outcome = finish(
        command
            .args(["status", "--json"])
            .env_remove("WEIR_URL")
            .env("WEIR_PROJECT", "other"),
    )
    .ends_with(0);
    assert_eq!(outcome.json()["project"], "shop");
}

#[test]
fn a_token_goes_only_to_the_weir_that_it_is_for() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let question = "protocol=http\nhost=elsewhere.example\n\n";
    let outcome = finish_with_input(weir(&fake, folder.path()).args(["git-credential", "get"]), question).ends_with(0);
    assert_eq!(outcome.stdout, "");
    outcome.says(&["weir login http://elsewhere.example"]);
    let outcome =
        finish_with_input(weir(&fake, folder.path()).args(["git-credential", "store"]), question).ends_with(0);
    assert_eq!(outcome.stdout, "");
}

#[test]
fn a_remote_that_leads_elsewhere_is_not_taken_away() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    git(folder.path(), &["init", "--quiet"]);
    git(
        folder.path(),
        &["remote", "add", "weir", "http://elsewhere.example/git/blog.git"],
    );
    finish(weir(&fake, folder.path()).args(["project", "create", "shop"]))
        .ends_with(6)
        .says(&["elsewhere.example", "weir link shop"]);
    assert!(fake.asked(&Method::POST, "/v1/projects").is_empty());
    finish(weir(&fake, folder.path()).args(["link", "shop"])).ends_with(0);
    finish(weir(&fake, folder.path()).args(["project", "connect", "shop"])).ends_with(0);
    assert_eq!(
        git(folder.path(), &["remote", "get-url", "weir"]),
        format!("{}/git/shop.git", fake.url)
    );
}

#[test]
fn a_log_in_is_kept_for_its_owner_only_and_forgotten_on_request() {
    let fake = Fake::start();
    let home = tempfile::tempdir().unwrap();
    let command = || bare(env!("CARGO_BIN_EXE_weir"), home.path(), home.path());
    let outcome = finish_with_input(
        command().args(["login", &fake.url, "--token-stdin"]),
        &format!("{TOKEN}\n"),
    )
    .ends_with(0);
    let outcome = outcome.says(&["logged in", "`ci`, which may deploy"]);
    assert!(!outcome.stderr.contains(TOKEN));
    let file = home.path().join(".config/weir/credentials.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    // The address of the log-in is the default now.
    finish(command().args(["project", "list"])).ends_with(0);
    finish(command().args(["logout"])).ends_with(0).says(&["is forgotten"]);
    finish(command().args(["project", "list", "--json"]).env("WEIR_URL", &fake.url)).ends_with(4);
    finish_with_input(command().args(["login", &fake.url, "--token-stdin"]), "weir_bad\n").ends_with(4);
    finish_with_input(command().args(["login", "https://weir.example"]), "")
        .ends_with(2)
        .says(&["ssh -N -L"]);
}
