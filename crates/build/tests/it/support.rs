//! Sources out of lists of files, builds on the local Docker, requests to what was built.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use weir_build::{AppPlan, BuildError, BuildLine, BuildOptions, BuiltApp, Source, SourceLimits, build_app, detect};
use weir_engine::Engine as _;
use weir_engine::docker::{DockerEngine, DockerOptions};
use weir_model::{AppName, ProcessName};

/// An archive of files with their contents.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(u64::try_from(content.len()).unwrap());
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    archive.into_inner().unwrap()
}

pub(crate) fn source(files: &[(&str, &str)]) -> Source {
    Source::from_tar(
        archive(files).as_slice(),
        &SourceLimits::default(),
        &std::env::temp_dir(),
    )
    .unwrap()
}

/// One of the examples of the repository.
pub(crate) fn example(name: &str) -> Source {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples").join(name);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_dir_all("", folder).unwrap();
    Source::from_tar(
        archive.into_inner().unwrap().as_slice(),
        &SourceLimits::default(),
        &std::env::temp_dir(),
    )
    .unwrap()
}

pub(crate) fn project() -> AppName {
    AppName::new("shop").unwrap()
}

pub(crate) fn plans(source: &Source) -> Vec<AppPlan> {
    detect(source, &project()).unwrap()
}

pub(crate) fn command_of(plan: &AppPlan, process: &str) -> Option<String> {
    plan.spec
        .processes
        .get(&ProcessName::new(process).unwrap())
        .unwrap_or_else(|| panic!("no {process} in {:?}", plan.spec.processes))
        .command
        .clone()
}

/// `None` where there is no Docker.
pub(crate) async fn engine() -> Option<DockerEngine> {
    let mut options = DockerOptions::new("b01d");
    options.firewall = false;
    options.guard_default_bridge = false;
    let engine = DockerEngine::connect(options).await.ok();
    if engine.is_none() {
        println!("skipped: no Docker here");
    }
    engine
}

/// What came of a build.
pub(crate) struct Outcome {
    pub(crate) result: Result<BuiltApp, BuildError>,
    pub(crate) lines: Vec<BuildLine>,
    pub(crate) took: Duration,
    pub(crate) tag: String,
}

pub(crate) async fn build(
    engine: &DockerEngine,
    source: &Source,
    plan: &AppPlan,
    name: &str,
    variables: &[(&str, &str)],
) -> Outcome {
    let bundle = Path::new("/etc/ssl/certs/ca-certificates.crt");
    let tag = format!("weir-build-test/{name}:1");
    let options = BuildOptions {
        tag: tag.clone(),
        labels: BTreeMap::from([("weir.test".to_owned(), name.to_owned())]),
        build_variables: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ca_bundle: bundle.exists().then(|| bundle.to_owned()),
        cache_key: format!("test-{name}"),
        timeout_s: 900,
        stack_folder: std::env::temp_dir().join("weir-build-test-stacks"),
    };
    let lines = Mutex::new(Vec::new());
    let started = Instant::now();
    let result = build_app(engine, source, plan, &options, &|line| lines.lock().unwrap().push(line)).await;
    let took = started.elapsed();
    let lines = lines.into_inner().unwrap();
    println!("{name}: {took:?}, {:?}", result.as_ref().map(|built| &built.steps));
    if result.is_err() || std::env::var_os("SHOW").is_some() {
        println!("{lines:#?}");
    }
    Outcome {
        result,
        lines,
        took,
        tag,
    }
}

/// A running container; removed when dropped.
pub(crate) struct Container {
    id: String,
    address: String,
}

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "docker {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs a command in a new container of an image and gives what it wrote.
pub(crate) fn run(image: &str, command: &str) -> String {
    docker(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "/bin/sh",
        image,
        "-c",
        command,
    ])
}

impl Container {
    pub(crate) fn start(built: &BuiltApp) -> Self {
        let web = &built.spec.processes[&ProcessName::web()];
        let port = format!("PORT={}", web.port);
        let mut arguments = vec![
            "run",
            "-d",
            "--cap-drop",
            "ALL",
            "--security-opt",
            "no-new-privileges",
            "-e",
            &port,
        ];
        let variables: Vec<String> = built
            .spec
            .variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        variables.iter().for_each(|variable| arguments.extend(["-e", variable]));
        match &web.command {
            Some(command) => arguments.extend(["--entrypoint", "/bin/sh", &built.image, "-c", command]),
            None => arguments.push(&built.image),
        }
        let id = docker(&arguments);
        let ip = docker(&["inspect", "-f", "{{.NetworkSettings.IPAddress}}", &id]);
        Self {
            address: format!("{ip}:{}", web.port),
            id,
        }
    }

    /// Status line and body of an answer; waits until it listens.
    pub(crate) fn get(&self, path: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let mut answer = String::new();
            if let Ok(mut stream) = TcpStream::connect(&self.address) {
                stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
                let _ = stream.read_to_string(&mut answer);
            }
            if !answer.is_empty() {
                return answer;
            }
            assert!(
                Instant::now() < deadline,
                "no answer from {}: {}",
                self.address,
                docker(&["logs", &self.id])
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.id]).output();
    }
}

pub(crate) async fn remove(engine: &DockerEngine, outcome: &Outcome) {
    engine.image_remove(&outcome.tag).await.unwrap();
}
