//! `weir deploy`: what is sent.

use std::path::Path;

use axum::http::Method;

use crate::fake::Fake;
use crate::support::{finish, git, run, weir};

fn write(folder: &Path, path: &str, text: &str) {
    let file = folder.join(path);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

#[test]
fn a_folder_is_sent_without_what_is_ignored_and_without_git() {
    use std::os::unix::fs::PermissionsExt as _;
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("site");
    write(&root, "app.py", "print(1)");
    write(&root, ".env.example", "A=1");
    write(&root, ".gitignore", "*.log\n/node_modules/\n");
    write(&root, ".weirignore", "docs\n");
    write(&root, "debug.log", "x");
    write(&root, "node_modules/a/index.js", "x");
    write(&root, "docs/index.md", "x");
    write(&root, "sub/.gitignore", "tmp\n");
    write(&root, "sub/tmp/x", "x");
    write(&root, "sub/run.sh", "#!/bin/sh");
    write(&root, ".git/config", "secret");
    write(&root, "vendor/.git/config", "secret");
    std::fs::set_permissions(root.join("sub/run.sh"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("app.py", root.join("main.py")).unwrap();
    let outcome =
        finish(weir(&fake, folder.path()).args(["deploy", "site", "-p", "shop", "-m", "a test"])).ends_with(0);
    assert_eq!(outcome.stdout, "http://shop.localhost:8080\n");
    let outcome = outcome.says(&["-----> Sending 6 files", "-----> Starting web"]);
    let memory = fake.memory.lock().unwrap();
    let expected = [
        (".env.example", "644 A=1"),
        (".gitignore", "644 *.log\n/node_modules/\n"),
        (".weirignore", "644 docs\n"),
        ("app.py", "644 print(1)"),
        ("main.py", "link to app.py"),
        ("sub", "folder"),
        ("sub/.gitignore", "644 tmp\n"),
        ("sub/run.sh", "755 #!/bin/sh"),
        ("vendor", "folder"),
    ];
    let sent: Vec<(&str, &str)> = memory
        .archive
        .iter()
        .map(|(path, what)| (path.as_str(), what.as_str()))
        .collect();
    assert_eq!(sent, expected, "{}", outcome.stderr);
    drop(memory);
    let asked = fake.asked(&Method::POST, "/v1/projects/shop/environments/production/source");
    assert_eq!(asked[0].query, "message=a+test");
    assert!(asked[0].idempotency_key.is_some());
}

#[test]
fn the_commit_describes_a_folder_of_a_repository() {
    let fake = Fake::start();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "index.html", "hello");
    git(folder.path(), &["init", "--quiet"]);
    git(folder.path(), &["add", "--all"]);
    git(
        folder.path(),
        &[
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "--quiet",
            "-m",
            "Say hello",
        ],
    );
    let outcome = finish(weir(&fake, folder.path()).args(["deploy", "-p", "shop", "--json"])).ends_with(0);
    assert_eq!(outcome.json()["url"], "http://shop.localhost:8080");
    assert_eq!(outcome.json()["release"], 3);
    let asked = fake.asked(&Method::POST, "/v1/projects/shop/environments/production/source");
    assert!(asked[0].query.ends_with("+Say+hello"), "{}", asked[0].query);
}

#[test]
fn nothing_is_sent_where_there_is_nothing_to_send() {
    let fake = Fake::start();
    run(&fake, &["deploy", "-p", "shop"])
        .ends_with(2)
        .says(&["there is nothing to deploy"]);
    run(&fake, &["deploy", "nowhere", "-p", "shop"])
        .ends_with(3)
        .says(&["nowhere"]);
    run(&fake, &["deploy", "-p", "missing"])
        .ends_with(3)
        .says(&["there is no project"]);
    assert!(
        fake.asked(&Method::POST, "/v1/projects/shop/environments/production/source")
            .is_empty()
    );
}
