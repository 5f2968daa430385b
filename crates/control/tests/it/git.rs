//! Pushes with a real git client: the protocol, the hooks, the queue and the deployment are
//! real; only images are made by a builder of the test, and instances are simulated.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::json;
use weir_control::git;
use weir_model::task::TaskState;

use super::git_server::{DEADLINE, Server, WorkingCopy, assert_said, end_of, files_of, git_in, wait_until};

/// Not a test: the hook of the pushes below is this binary, run with this name.
#[tokio::test]
async fn as_a_hook() {
    let Ok(arguments) = std::env::var("WEIR_TEST_HOOK") else {
        return;
    };
    let mut words = arguments.split(' ').map(ToOwned::to_owned);
    assert_eq!(words.next().as_deref(), Some("git-hook"));
    let hook = words.next().unwrap();
    let arguments: Vec<String> = words.collect();
    std::process::exit(git::hook::hook_main(&hook, &arguments).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_push_is_live_when_it_ends_and_can_be_cloned() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
    assert_said(
        &output,
        &[
            "remote: -----> Building shop (of the test)",
            "remote:        compiling",
            "Release 1 of shop: ",
            "worker: 1 instance of 512 MiB",
            // The app of the test has a worker only: an address would lead nowhere.
            "No process is called `web`, so nothing answers at an address",
        ],
    );
    let head = copy.git(&["rev-parse", "HEAD"]).await;
    assert_eq!(server.branch("main").await.as_ref(), Some(&head));
    assert_eq!(server.live_commit("production").await.as_ref(), Some(&head));
    copy.git(&["clone", "--quiet", &server.remote(), "cloned"]).await;
    assert_eq!(
        std::fs::read_to_string(copy.folder.join("cloned/behaviour")).unwrap(),
        "good"
    );
    assert_eq!(server.leftovers(), Vec::<PathBuf>::new());
    // Nothing changed: git asks nobody.
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted && output.contains("up-to-date"), "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_push_leaves_everything_as_it_was() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    assert!(copy.push(&["main"]).await.0);
    let good = copy.git(&["rev-parse", "HEAD"]).await;
    let bad = copy.commit("behaviour: fail").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(!accepted);
    assert_said(
        &output,
        &[
            " !     pip found no version of flaskk",
            "hint: did you mean flask?",
            "The push was rejected; what ran before still runs",
            "pre-receive hook declined",
        ],
    );
    assert!(
        output.find("flaskk") < output.find("hint: did"),
        "the hint comes behind the error:\n{output}"
    );
    assert_eq!(output.matches("flaskk").count(), 1, "{output}");
    assert_eq!(server.branch("main").await, Some(good.clone()));
    assert_eq!(server.live_commit("production").await, Some(good));
    let repository = server.context.config.repositories().join("shop.git");
    assert!(
        !git_in(&repository, &["cat-file", "-e", &bad]).await.status.success(),
        "objects of the rejected push are kept"
    );
    assert_eq!(server.leftovers(), Vec::<PathBuf>::new());
    let tasks = server.context.store.task_list(None, 10).await.unwrap();
    assert_eq!(tasks[0].state, TaskState::Failed);
    // A force push of something good afterwards works.
    copy.git(&["commit", "--quiet", "--amend", "-m", "Another history"])
        .await;
    let other = copy.commit("good again").await;
    let (accepted, output) = copy.push(&["--force", "main"]).await;
    assert!(accepted, "{output}");
    assert_eq!(server.branch("main").await, Some(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn other_branches_and_tags_are_kept_and_a_followed_branch_cannot_be_deleted() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    assert!(copy.push(&["main"]).await.0);
    copy.git(&["branch", "Feature/one"]).await;
    copy.git(&["tag", "v1"]).await;
    let (accepted, output) = copy.push(&["Feature/one", "v1"]).await;
    assert!(accepted, "{output}");
    assert_said(
        &output,
        &[
            "No environment follows it",
            "weir env create feature-one --branch Feature/one",
            "Tag v1 kept",
        ],
    );
    assert!(server.branch("Feature/one").await.is_some());
    let (accepted, output) = copy.push(&["--delete", "main"]).await;
    assert!(!accepted);
    assert_said(
        &output,
        &["the branch `main` is followed by the environment `production` and cannot be deleted"],
    );
    assert!(server.branch("main").await.is_some());
    let (accepted, output) = copy.push(&["--delete", "Feature/one"]).await;
    assert!(accepted, "{output}");
    assert!(server.branch("Feature/one").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pushes_at_once_are_queued_and_both_told_so() {
    let server = Server::start().await;
    let (one, two) = (
        server.working_copy("one", "behaviour: slow").await,
        server.working_copy("two", "good").await,
    );
    let first = one.push_in_background(&["main"]);
    server.builds_begun(1).await;
    let second = two.push_in_background(&["main"]);
    let tasks = || server.context.store.task_list(None, 10);
    let until = tokio::time::Instant::now() + DEADLINE;
    while tasks().await.unwrap().len() < 2 {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let waits = tasks().await.unwrap()[0].id;
    while server.context.store.task_lines(waits, 0, 10).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < until);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.builder.gate.add_permits(1);
    let (accepted, output) = end_of(first).await;
    assert!(accepted, "{output}");
    assert_said(&output, &["Another push is waiting: the push of"]);
    let (accepted, output) = end_of(second).await;
    assert!(!accepted, "{output}");
    assert_said(
        &output,
        &[
            "Queued behind the push of",
            "by admin",
            "moved while this push waited",
            "git pull --rebase",
        ],
    );
    assert_eq!(
        server.builder.begun.load(Ordering::SeqCst),
        1,
        "what git will refuse is not built"
    );
    assert_eq!(server.live_commit("production").await, server.branch("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_push_has_its_turn_when_the_one_before_fails() {
    let server = Server::start().await;
    let (one, two) = (
        server.working_copy("one", "behaviour: slow behaviour: fail").await,
        server.working_copy("two", "good").await,
    );
    let first = one.push_in_background(&["main"]);
    server.builds_begun(1).await;
    let second = two.push_in_background(&["main"]);
    server.builder.gate.add_permits(1);
    assert!(!end_of(first).await.0);
    let (accepted, output) = end_of(second).await;
    assert!(accepted, "{output}");
    assert_eq!(
        server.live_commit("production").await,
        Some(two.git(&["rev-parse", "HEAD"]).await)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_push_takes_the_place_of_one_that_is_being_deployed() {
    let server = Server::start().await;
    let (one, two) = (
        server.working_copy("one", "behaviour: stuck").await,
        server.working_copy("two", "good").await,
    );
    let first = one.push_in_background(&["main"]);
    let until = tokio::time::Instant::now() + DEADLINE;
    let environment = server.environment("production").await.id;
    while server
        .context
        .store
        .deployment_list_in_progress(environment)
        .await
        .unwrap()
        .is_empty()
    {
        assert!(tokio::time::Instant::now() < until, "the first push is not deployed");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (accepted, output) = two.push(&["main"]).await;
    assert!(accepted, "{output}");
    let (accepted, output) = end_of(first).await;
    assert!(!accepted, "{output}");
    assert_said(&output, &["superseded by the push of", "The push was rejected"]);
    let head = two.git(&["rev-parse", "HEAD"]).await;
    assert_eq!(server.live_commit("production").await, Some(head.clone()));
    assert_eq!(server.branch("main").await, Some(head));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_ends_when_its_client_goes_away() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "behaviour: slow").await;
    let mut push = copy.push_in_background(&["main"]);
    server.builds_begun(1).await;
    let group = nix::unistd::Pid::from_raw(i32::try_from(push.id().unwrap()).unwrap());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    push.wait().await.unwrap();
    wait_until("the build is cut off", || {
        server.builder.dropped.load(Ordering::SeqCst) == 1
    })
    .await;
    let until = tokio::time::Instant::now() + DEADLINE;
    while server.context.store.task_list(None, 1).await.unwrap()[0].state != TaskState::Failed {
        assert!(tokio::time::Instant::now() < until, "the task does not end");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    wait_until("nothing is left behind", || server.leftovers().is_empty()).await;
    assert_eq!(server.branch("main").await, None);
    // The environment is free for the next push.
    let head = copy.commit("good").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
    assert_eq!(server.branch("main").await, Some(head));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_branches_in_one_push_are_deployed_and_judged_one_by_one() {
    let server = Server::start().await;
    server
        .call(
            Method::POST,
            "/v1/projects/shop/environments",
            json!({"name": "staging", "branch": "staging"}),
        )
        .await;
    let copy = server.working_copy("a", "good").await;
    copy.git(&["branch", "staging"]).await;
    let (accepted, output) = copy.push(&["main", "staging"]).await;
    assert!(accepted, "{output}");
    assert_said(
        &output,
        &[
            "2 branches are deployed",
            "Release 1 of shop: ",
            "Release 1 of shop (staging): ",
        ],
    );
    let head = copy.git(&["rev-parse", "HEAD"]).await;
    assert_eq!(server.live_commit("staging").await, Some(head.clone()));
    copy.git(&["checkout", "--quiet", "staging"]).await;
    copy.commit("behaviour: fail").await;
    copy.git(&["checkout", "--quiet", "main"]).await;
    let good = copy.commit("good too").await;
    let (accepted, output) = copy.push(&["main", "staging"]).await;
    assert!(!accepted);
    assert_said(&output, &["flaskk", "hook declined"]);
    assert_eq!(server.branch("main").await, Some(good.clone()));
    assert_eq!(server.live_commit("production").await, Some(good));
    assert_eq!(server.branch("staging").await, Some(head.clone()));
    assert_eq!(server.live_commit("staging").await, Some(head));
    assert!(
        files_of(&server.folder.path().join("run"))
            .iter()
            .all(|path| !path.to_string_lossy().contains("push-"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_objects_are_refused() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    let blob = copy.git(&["hash-object", "-w", "behaviour"]).await;
    for entry in [format!("100644 blob {blob}\t.git"), format!("100644 blob {blob}\t..")] {
        std::fs::write(copy.folder.join("tree"), format!("{entry}\n")).unwrap();
        let tree = tree_of(&copy).await;
        let commit = copy.git(&["commit-tree", "-m", "hostile", &tree]).await;
        let (accepted, output) = copy.push(&[&format!("{commit}:refs/heads/main")]).await;
        assert!(!accepted, "{entry}: {output}");
        assert_eq!(server.builder.begun.load(Ordering::SeqCst), 0);
    }
    assert_eq!(server.branch("main").await, None);
}

/// `git mktree` of the file `tree`, without the checks of the client.
async fn tree_of(copy: &WorkingCopy) -> String {
    let input = std::fs::File::open(copy.folder.join("tree")).unwrap();
    let output = copy.command(&["mktree"]).stdin(input).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_instead_of_a_pack_harms_nobody() {
    use std::io::Write as _;
    let server = Server::start().await;
    let url = format!("http://{}/git/shop.git/git-receive-pack", server.address);
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..256 {
        bomb.write_all(&vec![b'0'; 1 << 20]).unwrap();
    }
    let client = reqwest::Client::new();
    for (body, encoding) in [
        (b"nonsense".to_vec(), "identity"),
        (vec![0; 100_000], "identity"),
        (b"xx".to_vec(), "gzip"),
        (bomb.finish().unwrap(), "gzip"),
    ] {
        let request = client
            .post(&url)
            .basic_auth("weir", Some(&server.token))
            .header("content-type", "application/x-git-receive-pack-request")
            .header("content-encoding", encoding)
            .body(body);
        // Whatever the answer is, it comes.
        let _ = tokio::time::timeout(DEADLINE, async { request.send().await?.bytes().await })
            .await
            .expect("an answer");
    }
    let copy = server.working_copy("a", "good").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_are_only_for_those_who_may() {
    let server = Server::start().await;
    let created = server
        .call(Method::POST, "/v1/tokens", json!({"name": "reader", "scope": "read"}))
        .await;
    let reader = created["secret"].as_str().unwrap();
    server
        .call(Method::POST, "/v1/projects", json!({"name": "other"}))
        .await;
    let created = server
        .call(
            Method::POST,
            "/v1/tokens",
            json!({"name": "one", "scope": "deploy", "project": "other"}),
        )
        .await;
    let other = created["secret"].as_str().unwrap();
    let client = reqwest::Client::new();
    let ask = |token: Option<String>, repository: &str, service: &str| {
        let mut request = client.get(format!(
            "http://{}/git/{repository}/info/refs?service={service}",
            server.address
        ));
        if let Some(token) = token {
            request = request.basic_auth("weir", Some(token));
        }
        async move { request.send().await.unwrap() }
    };
    let answer = ask(None, "shop.git", "git-receive-pack").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(
        answer.headers()["www-authenticate"]
            .to_str()
            .unwrap()
            .starts_with("Basic")
    );
    let own = |token: &str| Some(token.to_owned());
    assert_eq!(
        ask(own(reader), "shop.git", "git-upload-pack").await.status(),
        StatusCode::OK
    );
    assert_eq!(
        ask(own(reader), "shop.git", "git-receive-pack").await.status(),
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        ask(own(other), "shop.git", "git-upload-pack").await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ask(own(&server.token), "nothing.git", "git-upload-pack").await.status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ask(own(&server.token), "..%2fshop.git", "git-upload-pack")
            .await
            .status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        ask(own(&server.token), "shop.git", "git-nothing").await.status(),
        StatusCode::FORBIDDEN
    );
    // The hooks' endpoint answers to pushes only, and not on the public address at all.
    let body = json!({"key": "guessed", "references": []});
    let answer = client
        .post(format!("http://{}/hook/pre-receive", server.address))
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_does_not_carry_is_said() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    let head = copy.git(&["rev-parse", "HEAD"]).await;
    copy.git(&[
        "update-index",
        "--add",
        "--cacheinfo",
        &format!("160000,{head},vendor/library"),
    ])
    .await;
    copy.git(&["commit", "--quiet", "-m", "A submodule"]).await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
    assert_said(&output, &["does not carry submodules", "`vendor/library`"]);
    std::fs::write(
        copy.folder.join(".gitattributes"),
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    )
    .unwrap();
    std::fs::write(
        copy.folder.join("large.bin"),
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
    )
    .unwrap();
    copy.commit("good with large files").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(!accepted, "{output}");
    assert_said(&output, &["Git LFS", "`large.bin`", "weir deploy"]);
}
