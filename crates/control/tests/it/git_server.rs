//! A control that git can push to, and working copies of people who do. Only images are made by
//! a builder of the test, and instances are simulated.

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
use weir_model::protection::ProtectionSpec;
use weir_model::release::{ReleaseApp, ReleaseSource};
use weir_model::route::NodeReport;
use weir_model::spec::{AppSpec, ProcessSpec, ReleaseCommand, RouteSpec};
use weir_model::task::LineKind;
use weir_model::{AppName, EnvironmentName, ProcessName, ProjectName, VariableName};

pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// An image whose release command never ends.
pub(crate) const STUCK: &str = "sha256:stuck";
pub(crate) const GOOD: &str = "sha256:good";

/// Builds by what the file `behaviour` of the source says.
#[derive(Debug)]
pub(crate) struct TestBuilder {
    /// A slow build waits for one of these.
    pub(crate) gate: Semaphore,
    pub(crate) begun: AtomicUsize,
    pub(crate) dropped: Arc<AtomicUsize>,
}

pub(crate) struct CountDrop(Arc<AtomicUsize>, bool);

impl Drop for CountDrop {
    fn drop(&mut self) {
        if self.1 {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Builder for TestBuilder {
    async fn build(
        &self,
        context: &Context,
        order: &BuildOrder<'_>,
    ) -> Result<BTreeMap<AppName, ReleaseApp>, PushError> {
        context.tasks.step(order.task, "Building shop (of the test)").await;
        context
            .tasks
            .line(order.task, LineKind::Output, "\u{1b}[32mcompiling\u{1b}[0m")
            .await;
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
        let release = stuck.then(|| ReleaseCommand {
            command: "sleep 1000".to_owned(),
            timeout_s: 600,
        });
        let name = AppName::new(order.project.name.as_str()).unwrap();
        let mut processes = BTreeMap::from([(ProcessName::new("worker").unwrap(), ProcessSpec::default())]);
        if archive.contains("behaviour: web") {
            processes.insert(ProcessName::web(), ProcessSpec::default());
        }
        let closed = archive.contains("behaviour: web closed").then(|| RouteSpec {
            path_prefix: "/admin".to_owned(),
            process: ProcessName::web(),
            methods: Vec::new(),
            class: None,
            protection: ProtectionSpec {
                password: Some(VariableName::new("STAFF").unwrap()),
                ..ProtectionSpec::default()
            },
            cache: false,
        });
        let spec = AppSpec {
            name: name.clone(),
            processes,
            release,
            volumes: BTreeMap::new(),
            routes: closed.into_iter().collect(),
            variables: BTreeMap::new(),
            drain_s: 1,
            protection: ProtectionSpec::default(),
            classes: BTreeMap::new(),
            access_log: weir_model::access_log::AccessLogging::Off,
            cache: weir_model::cache::CacheSpec::default(),
            tcp: Vec::new(),
        };
        let image = if stuck { STUCK } else { GOOD }.to_owned();
        Ok(BTreeMap::from([(name, ReleaseApp { image, spec })]))
    }
}

/// The simulated engine's time: deadlines are reckoned from when it says that things started.
#[derive(Debug)]
pub(crate) struct EngineClock(SimEngine);

impl Clock for EngineClock {
    fn now_ms(&self) -> i64 {
        self.0.now_ms()
    }

    fn random(&self) -> u128 {
        SystemClock.random()
    }
}

/// A control with git, hooks, a reconciler and a node that does what it is told.
pub(crate) struct Server {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) context: Context,
    pub(crate) address: String,
    pub(crate) token: String,
    pub(crate) project: Project,
    pub(crate) builder: Arc<TestBuilder>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.context.stop.cancel();
    }
}

impl Server {
    pub(crate) async fn start() -> Self {
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
            engine.behaviour_of(
                image,
                InstanceRole::Release,
                Behaviour {
                    ready_after_ms: None,
                    ..Behaviour::default()
                },
            );
        }
        let (clock, engine) = (Arc::new(EngineClock(engine.clone())), Arc::new(engine));
        let opened = serve::open(config, store, engine.clone(), engine, clock, CancellationToken::new()).await;
        let mut context = opened.unwrap();
        let builder = Arc::new(TestBuilder {
            gate: Semaphore::new(0),
            begun: AtomicUsize::new(0),
            dropped: Arc::default(),
        });
        context.pushes = Pushes::with_builder(2, builder.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let public = Router::new()
            .merge(git::router(context.clone()))
            .merge(api::router(context.clone()));
        let public = public.into_make_service_with_connect_info::<std::net::SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, public).await });
        let socket = tokio::net::UnixListener::bind(context.config.node_socket()).unwrap();
        let hooks = git::hook_router(context.clone());
        tokio::spawn(async move { axum::serve(socket, hooks).await });
        tokio::spawn(reconcile::run(context.clone()));
        tokio::spawn(obedient_node(context.clone()));
        let token = std::fs::read_to_string(context.config.admin_token_file())
            .unwrap()
            .trim()
            .to_owned();
        let client = reqwest::Client::new();
        let created = client
            .post(format!("http://{address}/v1/projects"))
            .bearer_auth(&token)
            .json(&json!({"name": "shop"}))
            .send()
            .await
            .unwrap();
        assert_eq!(
            created.status(),
            StatusCode::CREATED,
            "{}",
            created.text().await.unwrap()
        );
        let project = context
            .store
            .project_by_name(&ProjectName::new("shop").unwrap())
            .await
            .unwrap()
            .unwrap();
        Self {
            folder,
            context,
            address,
            token,
            project,
            builder,
        }
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: serde_json::Value) -> serde_json::Value {
        let client = reqwest::Client::new();
        let request = client
            .request(method, format!("http://{}{path}", self.address))
            .bearer_auth(&self.token)
            .json(&body);
        let response = request.send().await.unwrap();
        assert!(
            response.status().is_success(),
            "{path}: {}",
            response.text().await.unwrap()
        );
        response.json().await.unwrap()
    }

    pub(crate) async fn environment(&self, name: &str) -> Environment {
        let name = EnvironmentName::new(name).unwrap();
        self.context
            .store
            .environment_by_name(self.project.id, &name)
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) fn remote(&self) -> String {
        format!("http://weir:{}@{}/git/shop.git", self.token, self.address)
    }

    /// A working copy with one commit.
    pub(crate) async fn working_copy(&self, name: &str, content: &str) -> WorkingCopy {
        let copy = WorkingCopy {
            folder: self.folder.path().join(name),
        };
        std::fs::create_dir_all(&copy.folder).unwrap();
        copy.git(&["init", "--quiet", "--initial-branch=main", "."]).await;
        copy.git(&["remote", "add", "weir", &self.remote()]).await;
        copy.commit(content).await;
        copy
    }

    /// The commit of a branch, as the server has it.
    pub(crate) async fn branch(&self, name: &str) -> Option<String> {
        let repository = self.context.config.repositories().join("shop.git");
        let output = git_in(
            &repository,
            &["rev-parse", "--verify", "--quiet", &format!("refs/heads/{name}")],
        )
        .await;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The commit that serves.
    pub(crate) async fn live_commit(&self, environment: &str) -> Option<String> {
        let deployment = self.environment(environment).await.live?;
        let deployment = self.context.store.deployment_by_id(deployment).await.unwrap()?;
        match self
            .context
            .store
            .release_by_id(deployment.release)
            .await
            .unwrap()?
            .source
        {
            ReleaseSource::Push { commit, .. } => Some(commit),
            _ => None,
        }
    }

    pub(crate) async fn builds_begun(&self, count: usize) {
        wait_until("a build begins", || self.builder.begun.load(Ordering::SeqCst) >= count).await;
    }

    pub(crate) fn leftovers(&self) -> Vec<PathBuf> {
        let objects = self.context.config.repositories().join("shop.git/objects");
        let quarantines = files_of(&objects)
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("tmp_objdir"));
        let scratch = files_of(&self.context.config.data.join("build"));
        quarantines.chain(scratch).collect()
    }
}

pub(crate) async fn obedient_node(context: Context) {
    let mut snapshots = context.reconciler.snapshots();
    loop {
        let applied_generation = snapshots.borrow_and_update().generation;
        let report = NodeReport {
            incarnation: 1,
            applied_generation,
            ..NodeReport::default()
        };
        let now_ms = context.clock.now_ms();
        context.reconciler.node_reported(report, now_ms);
        tokio::select! {
            () = context.stop.cancelled() => return,
            _ = snapshots.changed() => {}
            () = tokio::time::sleep(Duration::from_millis(200)) => {}
        }
    }
}

pub(crate) struct WorkingCopy {
    pub(crate) folder: PathBuf,
}

impl WorkingCopy {
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
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
            command
                .env(format!("GIT_{who}_NAME"), "A Person")
                .env(format!("GIT_{who}_EMAIL"), "person@example.org");
        }
        command
    }

    pub(crate) async fn git(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().await.unwrap();
        assert!(
            output.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    pub(crate) async fn commit(&self, content: &str) -> String {
        std::fs::write(self.folder.join("behaviour"), content).unwrap();
        self.git(&["add", "."]).await;
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            &format!("Change to {content}"),
        ])
        .await;
        self.git(&["rev-parse", "HEAD"]).await
    }

    /// Pushes; gives whether it was accepted, and what the person saw.
    pub(crate) async fn push(&self, arguments: &[&str]) -> (bool, String) {
        let mut all = vec!["push", "weir"];
        all.extend(arguments);
        let output = tokio::time::timeout(DEADLINE, self.command(&all).output())
            .await
            .expect("the push ends")
            .unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    }

    pub(crate) fn push_in_background(&self, arguments: &[&str]) -> tokio::process::Child {
        let mut all = vec!["push", "weir"];
        all.extend(arguments);
        // A group of its own, as a terminal gives it: Ctrl-C reaches git's helpers too.
        self.command(&all).process_group(0).spawn().unwrap()
    }
}

pub(crate) async fn end_of(child: tokio::process::Child) -> (bool, String) {
    let output = tokio::time::timeout(DEADLINE, child.wait_with_output())
        .await
        .expect("the push ends")
        .unwrap();
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

pub(crate) async fn git_in(folder: &Path, arguments: &[&str]) -> Output {
    Command::new("git")
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .await
        .unwrap()
}

pub(crate) fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub(crate) fn files_of(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect()
}

pub(crate) async fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let until = tokio::time::Instant::now() + DEADLINE;
    while !condition() {
        assert!(tokio::time::Instant::now() < until, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) fn assert_said(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "`{part}` is not in:\n{output}");
    }
}
