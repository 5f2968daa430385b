//! Pushes with a real git client: the protocol, the hooks, the queue and the deployment are
//! real; only images are made by a builder of the test, and instances are simulated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use reqwest::{Method, StatusCode};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use weir_control::clock::{Clock, SystemClock};
use weir_control::push::{BuildOrder, Builder, PushError, Pushes};
use weir_control::{Context, api, git, reconcile, serve};
use weir_engine::InstanceRole;
use weir_engine::sim::{Behaviour, SimEngine};
use weir_model::project::{Environment, Project};
use weir_model::release::{ReleaseApp, ReleaseSource};
use weir_model::route::NodeReport;
use weir_model::spec::{AppSpec, ProcessSpec, ReleaseCommand};
use weir_model::task::{LineKind, TaskState};
use weir_model::{AppName, EnvironmentName, ProcessName, ProjectName};

const DEADLINE: Duration = Duration::from_secs(60);
/// An image whose release command never ends.
const STUCK: &str = "sha256:stuck";
const GOOD: &str = "sha256:good";

/// Not a test: the hook of the pushes below is this binary, run with this name.
#[tokio::test]
async fn as_a_hook() {
    let Ok(arguments) = std::env::var("WEIR_TEST_HOOK") else { return };
    let mut words = arguments.split(' ').map(ToOwned::to_owned);
    assert_eq!(words.next().as_deref(), Some("git-hook"));
    let hook = words.next().unwrap();
    let arguments: Vec<String> = words.collect();
    std::process::exit(git::hook::hook_main(&hook, &arguments).await);
}

/// Builds by what the file `behaviour` of the source says.
#[derive(Debug)]
struct TestBuilder {
    /// A slow build waits for one of these.
    gate: Semaphore,
    begun: AtomicUsize,
    dropped: Arc<AtomicUsize>,
}

struct CountDrop(Arc<AtomicUsize>, bool);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Builder for TestBuilder {
    async fn build(&self, context: &Context, order: &BuildOrder<'_>) -> Result<BTreeMap<AppName, ReleaseApp>, PushError> {
        context.tasks.step(order.task, "Building shop (of the test)").await;
        context.tasks.line(order.task, LineKind::Output, "\u{1b}[32mcompiling\u{1b}[0m").await;
        let mut cut_off = CountDrop(self.dropped.clone(), true);
        self.begun.fetch_add(1, Ordering::SeqCst);
        let archive = String::from_utf8_lossy(&std::fs::read(order.archive)?).into_owned();
        if archive.contains("behaviour: slow") {
            self.gate.acquire().await.unwrap().forget();
        }
        cut_off.1 = false;
        if archive.contains("behaviour: fail") {
            return Err(PushError::new("pip found no version of flaskk").with_hint("did you mean flask?"));
        }
        let stuck = archive.contains("behaviour: stuck");
        let release = stuck.then(|| ReleaseCommand { command: "sleep 1000".to_owned(), timeout_s: 600 });
        let name = AppName::new(order.project.name.as_str()).unwrap();
        let spec = AppSpec {
            name: name.clone(),
            processes: BTreeMap::from([(ProcessName::new("worker").unwrap(), ProcessSpec::default())]),
            release,
            volumes: BTreeMap::new(),
            routes: Vec::new(),
            variables: BTreeMap::new(),
            drain_s: 1,
        };
        let image = if stuck { STUCK } else { GOOD }.to_owned();
        Ok(BTreeMap::from([(name, ReleaseApp { image, spec })]))
    }
}

/// The simulated engine's time: deadlines are reckoned from when it says that things started.
#[derive(Debug)]
struct EngineClock(SimEngine);

impl Clock for EngineClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

/// A control with git, hooks, a reconciler and a node that does what it is told.
struct Server {
    folder: tempfile::TempDir,
    context: Context,
    address: String,
    token: String,
    project: Project,
    builder: Arc<TestBuilder>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.context.stop.cancel();
    }
}

impl Server {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let executable = folder.path().join("weir");
        let own = std::env::current_exe().unwrap();
        let script = format!(
            "#!/bin/sh\nWEIR_TEST_HOOK=\"$*\" exec '{}' --exact git::as_a_hook --nocapture --quiet >/dev/null\n",
            own.display()
        );
        write_program(&executable, &script);
        let mut config = super::harness::config(folder.path().to_owned());
        config.executable = executable;
        std::fs::create_dir_all(folder.path().join("run")).unwrap();
        let store = weir_store::Store::open(&config.database).await.unwrap();
        let engine = SimEngine::new(7);
        engine.follow_tokio();
        for image in [GOOD, STUCK] {
            engine.behaviour(image, Behaviour::default());
            engine.behaviour_of(image, InstanceRole::Release, Behaviour { ready_after_ms: None, ..Behaviour::default() });
        }
        let stop = CancellationToken::new();
        let clock = Arc::new(EngineClock(engine.clone()));
        let mut context = serve::open(config, store, Arc::new(engine), clock, stop).await.unwrap();
        let builder = Arc::new(TestBuilder { gate: Semaphore::new(0), begun: AtomicUsize::new(0), dropped: Arc::default() });
        context.pushes = Pushes::with_builder(2, builder.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let public = Router::new().merge(git::router(context.clone())).merge(api::router(context.clone()));
        let public = public.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, public).await });
        let socket = tokio::net::UnixListener::bind(context.config.node_socket()).unwrap();
        let hooks = git::hook_router(context.clone());
        tokio::spawn(async move { axum::serve(socket, hooks).await });
        tokio::spawn(reconcile::run(context.clone()));
        tokio::spawn(obedient_node(context.clone()));
        let token = std::fs::read_to_string(context.config.admin_token_file()).unwrap().trim().to_owned();
        let client = reqwest::Client::new();
        let created = client
            .post(format!("http://{address}/v1/projects"))
            .bearer_auth(&token)
            .json(&json!({"name": "shop"}))
            .send()
            .await
            .unwrap();
        assert_eq!(created.status(), StatusCode::CREATED, "{}", created.text().await.unwrap());
        let project = context.store.project_by_name(&ProjectName::new("shop").unwrap()).await.unwrap().unwrap();
        Self { folder, context, address, token, project, builder }
    }

    async fn call(&self, method: Method, path: &str, body: serde_json::Value) -> serde_json::Value {
        let client = reqwest::Client::new();
        let request = client.request(method, format!("http://{}{path}", self.address)).bearer_auth(&self.token).json(&body);
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    async fn environment(&self, name: &str) -> Environment {
        let name = EnvironmentName::new(name).unwrap();
        self.context.store.environment_by_name(self.project.id, &name).await.unwrap().unwrap()
    }

    fn remote(&self) -> String {
        format!("http://weir:{}@{}/git/shop.git", self.token, self.address)
    }

    /// A working copy with one commit.
    async fn working_copy(&self, name: &str, content: &str) -> WorkingCopy {
        let copy = WorkingCopy { folder: self.folder.path().join(name) };
        std::fs::create_dir_all(&copy.folder).unwrap();
        copy.git(&["init", "--quiet", "--initial-branch=main", "."]).await;
        copy.git(&["remote", "add", "weir", &self.remote()]).await;
        copy.commit(content).await;
        copy
    }

    /// The commit of a branch, as the server has it.
    async fn branch(&self, name: &str) -> Option<String> {
        let repository = self.context.config.repositories().join("shop.git");
        let output = git_in(&repository, &["rev-parse", "--verify", "--quiet", &format!("refs/heads/{name}")]).await;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The commit that serves.
    async fn live_commit(&self, environment: &str) -> Option<String> {
        let deployment = self.environment(environment).await.live?;
        let deployment = self.context.store.deployment_by_id(deployment).await.unwrap()?;
        match self.context.store.release_by_id(deployment.release).await.unwrap()?.source {
            ReleaseSource::Push { commit, .. } => Some(commit),
            _ => None,
        }
    }

    async fn builds_begun(&self, count: usize) {
        wait_until("a build begins", || self.builder.begun.load(Ordering::SeqCst) >= count).await;
    }

    fn leftovers(&self) -> Vec<PathBuf> {
        let objects = self.context.config.repositories().join("shop.git/objects");
        let quarantines = files_of(&objects).into_iter().filter(|path| path.to_string_lossy().contains("tmp_objdir"));
        let scratch = files_of(&self.context.config.data.join("build"));
        quarantines.chain(scratch).collect()
    }
}

async fn obedient_node(context: Context) {
    let mut snapshots = context.reconciler.snapshots();
    loop {
        let applied_generation = snapshots.borrow_and_update().generation;
        let report = NodeReport { incarnation: 1, applied_generation, ..NodeReport::default() };
        let now_ms = context.clock.now_ms();
        context.reconciler.node_reported(report, now_ms);
        tokio::select! {
            () = context.stop.cancelled() => return,
            _ = snapshots.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

struct WorkingCopy {
    folder: PathBuf,
}

impl WorkingCopy {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .args(arguments)
            .current_dir(&self.folder)
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env_remove("http_proxy")
            .env_remove("HTTP_PROXY")
            .env("NO_PROXY", "*")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "A Person").env(format!("GIT_{who}_EMAIL"), "person@example.org");
        }
        command
    }

    async fn git(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    async fn commit(&self, content: &str) -> String {
        std::fs::write(self.folder.join("behaviour"), content).unwrap();
        self.git(&["add", "."]).await;
        self.git(&["commit", "--quiet", "--allow-empty", "-m", &format!("Change to {content}")]).await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Pushes; gives whether it was accepted, and what the person saw.
    async fn push(&self, arguments: &[&str]) -> (bool, String) {
        let mut all = vec!["push", "weir"];
        all.extend(arguments);
        let output = tokio::time::timeout(DEADLINE, self.command(&all).output()).await.expect("the push ends").unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    fn push_in_background(&self, arguments: &[&str]) -> tokio::process::Child {
        let mut all = vec!["push", "weir"];
        all.extend(arguments);
        // A group of its own, as a terminal gives it: Ctrl-C reaches git's helpers too.
        self.command(&all).process_group(0).spawn().unwrap()
    }
}

async fn end_of(child: tokio::process::Child) -> (bool, String) {
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("the push ends").unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

async fn git_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git").args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").output().await.unwrap()
}

fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn assert_said(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "`{part}` is not in:\n{output}");
    }
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
            "Release 1 of shop is live after",
            "worker: 1 instance of 512 MiB",
            "http://shop.localhost:8080",
        ],
    );
    let head = copy.git(&["rev-parse", "HEAD"]).await;
    assert_eq!(server.branch("main").await.as_ref(), Some(&head));
    assert_eq!(server.live_commit("production").await.as_ref(), Some(&head));
    copy.git(&["clone", "--quiet", &server.remote(), "cloned"]).await;
    assert_eq!(std::fs::read_to_string(copy.folder.join("cloned/behaviour")).unwrap(), "good");
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
    assert!(output.find("flaskk") < output.find("hint: did"), "the hint comes behind the error:\n{output}");
    assert_eq!(output.matches("flaskk").count(), 1, "{output}");
    assert_eq!(server.branch("main").await, Some(good.clone()));
    assert_eq!(server.live_commit("production").await, Some(good));
    let repository = server.context.config.repositories().join("shop.git");
    assert!(!git_in(&repository, &["cat-file", "-e", &bad]).await.status.success(), "objects of the rejected push are kept");
    assert_eq!(server.leftovers(), Vec::<PathBuf>::new());
    let tasks = server.context.store.task_list(None, 10).await.unwrap();
    assert_eq!(tasks[0].state, TaskState::Failed);
    // A force push of something good afterwards works.
    copy.git(&["commit", "--quiet", "--amend", "-m", "Another history"]).await;
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
    assert_said(&output, &["No environment follows it", "weir env create feature-one --branch Feature/one", "Tag v1 kept"]);
    assert!(server.branch("Feature/one").await.is_some());
    let (accepted, output) = copy.push(&["--delete", "main"]).await;
    assert!(!accepted);
    assert_said(&output, &["the branch `main` is followed by the environment `production` and cannot be deleted"]);
    assert!(server.branch("main").await.is_some());
    let (accepted, output) = copy.push(&["--delete", "Feature/one"]).await;
    assert!(accepted, "{output}");
    assert!(server.branch("Feature/one").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_pushes_at_once_are_queued_and_both_told_so() {
    let server = Server::start().await;
    let (one, two) = (server.working_copy("one", "behaviour: slow").await, server.working_copy("two", "good").await);
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
    assert_said(&output, &["Queued behind the push of", "by admin", "moved while this push waited", "git pull --rebase"]);
    assert_eq!(server.builder.begun.load(Ordering::SeqCst), 1, "what git will refuse is not built");
    assert_eq!(server.live_commit("production").await, server.branch("main").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_push_has_its_turn_when_the_one_before_fails() {
    let server = Server::start().await;
    let (one, two) = (server.working_copy("one", "behaviour: slow behaviour: fail").await, server.working_copy("two", "good").await);
    let first = one.push_in_background(&["main"]);
    server.builds_begun(1).await;
    let second = two.push_in_background(&["main"]);
    server.builder.gate.add_permits(1);
    assert!(!end_of(first).await.0);
    let (accepted, output) = end_of(second).await;
    assert!(accepted, "{output}");
    assert_eq!(server.live_commit("production").await, Some(two.git(&["rev-parse", "HEAD"]).await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_push_takes_the_place_of_one_that_is_being_deployed() {
    let server = Server::start().await;
    let (one, two) = (server.working_copy("one", "behaviour: stuck").await, server.working_copy("two", "good").await);
    let first = one.push_in_background(&["main"]);
    let until = tokio::time::Instant::now() + DEADLINE;
    let environment = server.environment("production").await.id;
    while server.context.store.deployment_list_in_progress(environment).await.unwrap().is_empty() {
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
    wait_until("the build is cut off", || server.builder.dropped.load(Ordering::SeqCst) == 1).await;
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
    server.call(Method::POST, "/v1/projects/shop/environments", json!({"name": "staging", "branch": "staging"})).await;
    let copy = server.working_copy("a", "good").await;
    copy.git(&["branch", "staging"]).await;
    let (accepted, output) = copy.push(&["main", "staging"]).await;
    assert!(accepted, "{output}");
    assert_said(&output, &["2 branches are deployed", "http://shop.localhost:8080", "http://shop-staging.localhost:8080"]);
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
    assert!(files_of(&server.folder.path().join("run")).iter().all(|path| !path.to_string_lossy().contains("push-")));
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
    for (body, encoding) in [(b"nonsense".to_vec(), "identity"), (vec![0; 100_000], "identity"), (b"xx".to_vec(), "gzip"), (bomb.finish().unwrap(), "gzip")] {
        let request = client
            .post(&url)
            .basic_auth("weir", Some(&server.token))
            .header("content-type", "application/x-git-receive-pack-request")
            .header("content-encoding", encoding)
            .body(body);
        // Whatever the answer is, it comes.
        let _ = tokio::time::timeout(DEADLINE, async { request.send().await?.bytes().await }).await.expect("an answer");
    }
    let copy = server.working_copy("a", "good").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
}

#[tokio::test(flavor = "multi_thread")]
async fn repositories_are_only_for_those_who_may() {
    let server = Server::start().await;
    let created = server.call(Method::POST, "/v1/tokens", json!({"name": "reader", "scope": "read"})).await;
    let reader = created["secret"].as_str().unwrap();
    server.call(Method::POST, "/v1/projects", json!({"name": "other"})).await;
    let created = server.call(Method::POST, "/v1/tokens", json!({"name": "one", "scope": "deploy", "project": "other"})).await;
    let other = created["secret"].as_str().unwrap();
    let client = reqwest::Client::new();
    let ask = |token: Option<String>, repository: &str, service: &str| {
        let mut request = client.get(format!("http://{}/git/{repository}/info/refs?service={service}", server.address));
        if let Some(token) = token {
            request = request.basic_auth("weir", Some(token));
        }
        async move { request.send().await.unwrap() }
    };
    let answer = ask(None, "shop.git", "git-receive-pack").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
    assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
    let own = |token: &str| Some(token.to_owned());
    assert_eq!(ask(own(reader), "shop.git", "git-upload-pack").await.status(), StatusCode::OK);
    assert_eq!(ask(own(reader), "shop.git", "git-receive-pack").await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ask(own(other), "shop.git", "git-upload-pack").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(own(&server.token), "nothing.git", "git-upload-pack").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(own(&server.token), "..%2fshop.git", "git-upload-pack").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask(own(&server.token), "shop.git", "git-nothing").await.status(), StatusCode::FORBIDDEN);
    // The hooks' endpoint answers to pushes only, and not on the public address at all.
    let body = json!({"key": "guessed", "references": []});
    let answer = client.post(format!("http://{}/hook/pre-receive", server.address)).json(&body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_push_does_not_carry_is_said() {
    let server = Server::start().await;
    let copy = server.working_copy("a", "good").await;
    let head = copy.git(&["rev-parse", "HEAD"]).await;
    copy.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{head},vendor/library")]).await;
    copy.git(&["commit", "--quiet", "-m", "A submodule"]).await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(accepted, "{output}");
    assert_said(&output, &["does not carry submodules", "`vendor/library`"]);
    std::fs::write(copy.folder.join(".gitattributes"), "*.bin filter=lfs diff=lfs merge=lfs -text\n").unwrap();
    std::fs::write(copy.folder.join("large.bin"), "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n").unwrap();
    copy.commit("good with large files").await;
    let (accepted, output) = copy.push(&["main"]).await;
    assert!(!accepted, "{output}");
    assert_said(&output, &["Git LFS", "`large.bin`", "weir deploy"]);
}
