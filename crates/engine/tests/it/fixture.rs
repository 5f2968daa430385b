//! Engines to test on, and instances that do what a test needs.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use weir_engine::docker::{DockerEngine, DockerMeters, DockerOptions};
use weir_engine::sim::{Behaviour, SimEngine, SimOutput};
use weir_engine::{
    BoxStream, Engine, InstanceLabels, InstanceRole, InstanceSpec, InstanceState, Meters, ObservedInstance,
};
use weir_model::log::LogStream;
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId};

/// What an instance of a test does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Runs until it gets SIGTERM.
    Runs,
    /// The same, using all the CPU time it gets.
    Burns,
    /// Ends by itself with a status.
    Ends(i64),
    /// Ends only by SIGKILL.
    IgnoresSigterm,
    /// Writes these lines to standard output, then `oops` to standard error, and ends.
    Writes(Vec<String>),
}

/// An engine under test.
#[derive(Debug, Clone)]
pub(crate) struct Fixture {
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) meters: Arc<dyn Meters>,
    sim: Option<SimEngine>,
    pub(crate) image: String,
}

static COUNTER: AtomicU64 = AtomicU64::new(1);

/// Identifiers that nobody else has, not even another run of the tests.
pub(crate) fn unique() -> u128 {
    u128::from(COUNTER.fetch_add(1, Ordering::Relaxed)) << 64 | u128::from(fastrand::u64(..))
}

pub(crate) fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1_700_000_000_000, unique())
}

impl Fixture {
    pub(crate) fn sim() -> Self {
        let sim = SimEngine::new(42);
        sim.behaviour("base", Behaviour::default());
        Self {
            engine: Arc::new(sim.clone()),
            meters: Arc::new(sim.clone()),
            sim: Some(sim),
            image: "base".to_owned(),
        }
    }

    /// The specification of a new instance.
    pub(crate) fn spec(&self, environment: EnvironmentId, scenario: &Scenario) -> InstanceSpec {
        let mut image = self.image.clone();
        if let Some(sim) = &self.sim {
            image = format!("{scenario:?}");
            sim.behaviour(&image, sim_behaviour(scenario));
        }
        InstanceSpec {
            labels: InstanceLabels {
                instance: InstanceId::from_parts(1_700_000_000_000, unique()),
                role: InstanceRole::Instance,
                environment,
                app: AppName::new("shop").unwrap(),
                process: ProcessName::web(),
                release: ReleaseId::from_parts(1, 2),
                deployment: DeploymentId::from_parts(3, 4),
                port: Some(8000),
            },
            image,
            command: Some(shell_of(scenario)),
            variables: BTreeMap::from([("GREETING".to_owned(), "hello world".to_owned())]),
            memory_bytes: 64 << 20,
            cpu_milli: 500,
            max_processes: 50,
            max_open_files: 256,
            volumes: BTreeMap::new(),
            network_names: vec!["web".to_owned()],
            terminal: false,
            interactive: false,
        }
    }

    /// Starts an instance and gives what it was made from.
    pub(crate) async fn start(&self, environment: EnvironmentId, scenario: &Scenario) -> InstanceSpec {
        let spec = self.spec(environment, scenario);
        self.engine.instance_start(&spec).await.unwrap();
        spec
    }

    pub(crate) async fn find(&self, instance: InstanceId) -> Option<ObservedInstance> {
        self.engine
            .observe(None)
            .await
            .unwrap()
            .into_iter()
            .find(|found| found.labels.instance == instance)
    }

    pub(crate) async fn state(&self, spec: &InstanceSpec) -> Option<InstanceState> {
        self.find(spec.labels.instance).await.map(|found| found.state)
    }

    /// Waits until an instance is in a state that is asked for.
    pub(crate) async fn wait_for(&self, spec: &InstanceSpec, is_it: impl Fn(InstanceState) -> bool) -> InstanceState {
        for _attempt in 0..2_000 {
            if let Some(state) = self.state(spec).await.filter(|state| is_it(*state)) {
                return state;
            }
            match &self.sim {
                Some(sim) => sim.advance(10),
                None => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("the instance did not get there; it is {:?}", self.state(spec).await);
    }

    pub(crate) async fn wait_for_exit(&self, spec: &InstanceSpec) -> InstanceState {
        self.wait_for(spec, |state| matches!(state, InstanceState::Exited { .. }))
            .await
    }

    /// Lets time pass for the simulated engine, whose listeners do not move the clock.
    pub(crate) fn pass(&self, ms: u64) {
        if let Some(sim) = &self.sim {
            sim.advance(ms);
        }
    }
}

fn shell_of(scenario: &Scenario) -> String {
    match scenario {
        Scenario::Runs => "exec sleep 1000".to_owned(),
        Scenario::Burns => "while :; do :; done".to_owned(),
        Scenario::Ends(status) => format!("exit {status}"),
        Scenario::IgnoresSigterm => "trap '' TERM; while true; do sleep 1; done".to_owned(),
        Scenario::Writes(lines) => {
            let echo: Vec<String> = lines
                .iter()
                .map(|line| format!("echo '{line}'; sleep 0.02; "))
                .collect();
            format!("{}echo oops >&2; sleep 0.1", echo.concat())
        }
    }
}

fn sim_behaviour(scenario: &Scenario) -> Behaviour {
    match scenario {
        Scenario::Runs => Behaviour::default(),
        Scenario::Burns => Behaviour {
            busy_milli: 500,
            ..Behaviour::default()
        },
        Scenario::Ends(status) => Behaviour::ends(5, *status),
        Scenario::IgnoresSigterm => Behaviour {
            ignores_sigterm: true,
            ..Behaviour::default()
        },
        Scenario::Writes(lines) => {
            let line = |(after_ms, text): (u64, &String)| SimOutput {
                after_ms,
                stream: LogStream::Stdout,
                text: text.clone(),
            };
            let mut output: Vec<SimOutput> = (1..).zip(lines).map(line).collect();
            output.push(SimOutput {
                after_ms: 100,
                stream: LogStream::Stderr,
                text: "oops".to_owned(),
            });
            Behaviour {
                output,
                ..Behaviour::ends(200, 0)
            }
        }
    }
}

// ---- Docker ----

/// Runs a test on the real engine with an installation of its own, and removes what it left.
pub(crate) async fn on_docker<F, T>(test: F)
where
    F: FnOnce(Fixture, DockerEngine) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let mut options = DockerOptions::new(format!("{:08x}", fastrand::u32(..)));
    options.guard_default_bridge = false;
    on_docker_with(options, test).await;
}

pub(crate) async fn on_docker_with<F, T>(options: DockerOptions, test: F)
where
    F: FnOnce(Fixture, DockerEngine) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let must = std::env::var("WEIR_TEST_DOCKER").is_ok_and(|value| value == "1");
    let installation = options.installation.clone();
    let engine = match DockerEngine::connect(options).await {
        Ok(engine) => engine,
        Err(error) if must => panic!("WEIR_TEST_DOCKER is 1 and {error}"),
        Err(error) => {
            eprintln!("left out: {error}");
            return;
        }
    };
    let image = format!("weir-engine-test/{installation}:base");
    engine
        .image_import(&image, &labels_of(&installation), base_image())
        .await
        .unwrap();
    let fixture = Fixture {
        engine: Arc::new(engine.clone()),
        meters: Arc::new(DockerMeters::new(&installation, None)),
        sim: None,
        image,
    };
    let outcome = tokio::spawn(test(fixture, engine.clone())).await;
    clean_up(&engine, &installation).await;
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

pub(crate) fn labels_of(installation: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("weir.test".to_owned(), installation.to_owned())])
}

async fn clean_up(engine: &DockerEngine, installation: &str) {
    for found in engine.observe(None).await.unwrap() {
        engine.instance_remove(found.labels.instance).await.unwrap();
    }
    for (environment, app, volume) in engine.volume_list().await.unwrap() {
        engine.volume_remove(environment, &app, &volume).await.unwrap();
    }
    for (environment, _network) in engine.network_list().await.unwrap() {
        engine.network_remove(environment).await.unwrap();
    }
    for image in engine.image_list(&format!("weir.test={installation}")).await.unwrap() {
        engine.image_remove(&image.id).await.unwrap();
    }
    engine
        .image_remove(&format!("weir-engine-test/{installation}:base"))
        .await
        .unwrap();
    engine.teardown_firewall().await.unwrap();
}

/// A root file system of one static program, as a tar stream.
fn base_image() -> BoxStream<std::io::Result<Bytes>> {
    let program = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .expect("the tests on Docker need a static busybox: apt-get install busybox-static");
    let mut tar = tar::Builder::new(Vec::new());
    let header = |kind: tar::EntryType, mode: u32, size: usize| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(u64::try_from(size).unwrap());
        header
    };
    for folder in ["bin/", "etc/", "data/"] {
        tar.append_data(
            &mut header(tar::EntryType::Directory, 0o755, 0),
            folder,
            std::io::empty(),
        )
        .unwrap();
    }
    tar.append_data(
        &mut header(tar::EntryType::Directory, 0o1777, 0),
        "tmp/",
        std::io::empty(),
    )
    .unwrap();
    tar.append_data(
        &mut header(tar::EntryType::Regular, 0o755, program.len()),
        "bin/busybox",
        &program[..],
    )
    .unwrap();
    let passwd = b"root:x:0:0::/root:/bin/sh\n";
    tar.append_data(
        &mut header(tar::EntryType::Regular, 0o644, passwd.len()),
        "etc/passwd",
        &passwd[..],
    )
    .unwrap();
    for name in [
        "sh", "cat", "echo", "sleep", "nc", "id", "grep", "head", "dd", "true", "false", "ps", "kill", "tail", "yes",
        "stty", "seq", "nslookup", "hostname", "httpd", "touch", "ls", "tr", "wc",
    ] {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{name}"), "busybox").unwrap();
    }
    let bytes = Bytes::from(tar.into_inner().unwrap());
    futures_util::stream::iter([Ok(bytes)]).boxed()
}
