//! A running Weir: the real binary with a data folder and ports of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::http::{Answer, Ask, send};
use crate::processes::{self, Part};
use crate::{docker, leftovers, until};

/// How long a command of the CLI may take.
const COMMAND_LIMIT: Duration = Duration::from_secs(600);
/// How long Weir may take until it is healthy.
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running Weir.
#[derive(Debug)]
pub struct Weir {
    /// Its data folder.
    pub data: PathBuf,
    /// Address of the ingress.
    pub http: SocketAddr,
    /// The same for TLS, where it speaks it.
    pub https: Option<SocketAddr>,
    /// Address of the API and the git remotes.
    pub control: SocketAddr,
    /// Ports that its TCP services get.
    pub tcp_ports: RangeInclusive<u16>,
    binary: PathBuf,
    log: PathBuf,
    child: Mutex<Option<Child>>,
    installation: Mutex<Option<String>>,
}

/// What a command did.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The command line, for messages.
    pub command: String,
    /// Exit status; -1 where a signal ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Standard output and standard error.
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails with everything that it wrote unless it ended well.
    pub fn ok(self) -> Result<Self> {
        ensure!(
            self.status == 0,
            "`{}` ended with {}:\n{}",
            self.command,
            self.status,
            self.all()
        );
        Ok(self)
    }

    /// Fails unless the command failed and wrote all of these.
    pub fn refused(self, words: &[&str]) -> Result<Self> {
        ensure!(
            self.status != 0,
            "`{}` should have failed:\n{}",
            self.command,
            self.all()
        );
        for word in words {
            ensure!(
                self.all().contains(word),
                "`{}` does not say {word:?}:\n{}",
                self.command,
                self.all()
            );
        }
        Ok(self)
    }

    /// Standard output as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("`{}` gave no JSON:\n{}", self.command, self.all()))
    }
}

/// The binary under test: `WEIR_E2E_BINARY`, or the one that cargo built beside the test.
pub fn binary() -> Result<PathBuf> {
    let path = match std::env::var_os("WEIR_E2E_BINARY") {
        Some(path) => PathBuf::from(path),
        None => {
            let this = std::env::current_exe()?;
            let folder = this.ancestors().find(|folder| folder.join("weir").is_file());
            folder
                .context("no `weir` beside the test; build it with: cargo build -p weir")?
                .join("weir")
        }
    };
    ensure!(
        path.is_file(),
        "{} does not exist; build it with: cargo build -p weir",
        path.display()
    );
    Ok(path)
}

/// Ten ports in a row, below those that the kernel gives to clients.
fn free_ports() -> Result<RangeInclusive<u16>> {
    for _ in 0..100 {
        let first = 10_000 + fastrand::u16(..2_000) * 10;
        let mut ports = first..=first + 9;
        if ports.all(|port| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return Ok(first..=first + 9);
        }
    }
    anyhow::bail!("no ten ports in a row are free")
}

/// A port that nobody listens on now.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// A new one, which nothing else has.
fn data_folder(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!(
        "{}{name}-{}-{:06x}",
        leftovers::FOLDER_PREFIX,
        std::process::id(),
        fastrand::u32(..0x0100_0000)
    ))
}

/// Collects the output of a command, and ends the command when it takes too long.
pub async fn run(mut command: Command, words: &str) -> Result<Outcome> {
    let begin = Instant::now();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start `{words}`"))?;
    let output = tokio::time::timeout(COMMAND_LIMIT, child.wait_with_output())
        .await
        .with_context(|| format!("`{words}` takes longer than {COMMAND_LIMIT:?}"))??;
    Ok(Outcome {
        command: words.to_owned(),
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        took: begin.elapsed(),
    })
}

impl Weir {
    /// Starts a new, empty Weir and waits until it is healthy.
    pub async fn start(name: &str) -> Result<Self> {
        Self::start_binary(name, binary()?).await
    }

    /// The same with this binary.
    pub async fn start_binary(name: &str, binary: PathBuf) -> Result<Self> {
        Self::start_in(data_folder(name), binary).await
    }

    /// The same, and it speaks TLS, too.
    pub async fn start_with_tls(name: &str, binary: PathBuf) -> Result<Self> {
        let https = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        Self::start_at(data_folder(name), binary, Some(https)).await
    }

    /// The same without TLS in this data folder.
    pub async fn start_in(data: PathBuf, binary: PathBuf) -> Result<Self> {
        Self::start_at(data, binary, None).await
    }

    async fn start_at(data: PathBuf, binary: PathBuf, https: Option<SocketAddr>) -> Result<Self> {
        std::fs::create_dir_all(&data)?;
        let weir = Self {
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
            https,
            control: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
            tcp_ports: free_ports()?,
            binary,
            log: data.with_extension("log"),
            data,
            child: Mutex::new(None),
            installation: Mutex::new(None),
        };
        weir.start_again().await?;
        Ok(weir)
    }

    /// Starts it on its data folder, and waits until it is healthy.
    pub async fn start_again(&self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.binary)
            .arg("up")
            .arg("--data")
            .arg(&self.data)
            .args(["--http", &self.http.to_string(), "--control", &self.control.to_string()])
            .args(
                self.https
                    .iter()
                    .flat_map(|address| ["--https".to_owned(), address.to_string()]),
            )
            .args([
                "--tcp-ports",
                &format!("{}-{}", self.tcp_ports.start(), self.tcp_ports.end()),
            ])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(false)
            .spawn()
            .context("start weir")?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        self.wait_until_healthy().await
    }

    /// Waits until `/v1/health` says ready.
    pub async fn wait_until_healthy(&self) -> Result<()> {
        let healthy = until("weir is healthy", START_LIMIT, || async {
            let answer = send(self.control, Ask::get(&self.control.to_string(), "/v1/health")).await?;
            ensure!(answer.status == 200, "health: {}", answer.body);
            Ok(Some(()))
        });
        healthy
            .await
            .with_context(|| format!("its log ends with:\n{}", self.log_tail(40)))
    }

    /// The value of the label `weir.installation` of everything that this Weir has in Docker,
    /// learnt from the network of one of its environments; `None` while there is none. The
    /// first time, it is noted for the case that this run is killed.
    pub async fn installation(&self) -> Result<Option<String>> {
        let known = self.installation.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if known.is_some() {
            return Ok(known);
        }
        let (_, projects) = self.api("GET", "/v1/projects", None).await?;
        for environment in projects
            .as_array()
            .into_iter()
            .flatten()
            .flat_map(|project| project["environments"].as_array().into_iter().flatten())
        {
            let label = format!(
                "weir.environment={}",
                environment["id"].as_str().context("environment id")?
            );
            let Some(network) = docker::networks(&label).await?.into_iter().next() else {
                continue;
            };
            let format = format!("{{{{index .Labels \"{}\"}}}}", leftovers::LABEL);
            let found = docker::docker(&["network", "inspect", "--format", &format, &network])
                .await?
                .trim()
                .to_owned();
            leftovers::note(&self.data, &found)?;
            *self.installation.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
            return Ok(Some(found));
        }
        Ok(None)
    }

    /// The label by which everything of this Weir is found in Docker.
    pub async fn label(&self) -> Result<String> {
        let installation = self
            .installation()
            .await?
            .context("this Weir has nothing in Docker yet")?;
        Ok(format!("{}={installation}", leftovers::LABEL))
    }

    /// The last lines of what the binary wrote.
    pub fn log_tail(&self, lines: usize) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Everything that the binary wrote.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Process id of the supervisor.
    pub fn supervisor(&self) -> Result<u32> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.as_ref().and_then(Child::id).context("weir does not run")
    }

    /// Process id of a part.
    pub fn pid(&self, part: Part) -> Result<u32> {
        processes::find(self.supervisor()?, part)
    }

    /// Ends a part with SIGKILL; gives the process id that it had.
    pub fn kill(&self, part: Part) -> Result<u32> {
        let pid = self.pid(part)?;
        processes::kill_now(pid)?;
        Ok(pid)
    }

    /// Waits until a part runs again under another process id than `old`.
    pub async fn wait_for_new(&self, part: Part, old: u32) -> Result<u32> {
        until("the supervisor starts it again", Duration::from_secs(20), || async {
            Ok(self.pid(part).ok().filter(|pid| *pid != old))
        })
        .await
    }

    /// Stops the platform as Ctrl-C does; the apps go on.
    pub async fn stop(&self) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        if let Some(pid) = child.id() {
            processes::signal(pid, Signal::SIGTERM)?;
        }
        tokio::time::timeout(Duration::from_secs(60), child.wait())
            .await
            .with_context(|| format!("weir does not stop; its log ends with:\n{}", self.log_tail(20)))??;
        Ok(())
    }

    /// Ends the supervisor and both parts at once, as a power cut does; the containers go on.
    pub async fn cut_power(&self) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        if let Some(pid) = child.id() {
            let parts = processes::children(pid);
            processes::kill_now(pid)?;
            for part in parts {
                let _ = processes::kill_now(part);
            }
        }
        child.wait().await?;
        Ok(())
    }

    /// Stops it and removes everything of it, also what it should have removed itself.
    pub async fn remove(&self) -> Result<()> {
        let installation = self.installation().await.ok().flatten();
        let stopped = self.stop().await;
        if stopped.is_err() {
            self.cut_power().await?;
        }
        if let Some(installation) = installation {
            leftovers::remove(&installation).await?;
        }
        let _ = std::fs::remove_dir_all(&self.data);
        let _ = std::fs::remove_file(&self.log);
        Ok(())
    }

    /// The admin token.
    pub fn token(&self) -> Result<String> {
        let file = self.data.join("admin-token");
        Ok(std::fs::read_to_string(&file)
            .with_context(|| format!("read {}", file.display()))?
            .trim()
            .to_owned())
    }

    /// A command with what a user of this Weir has in the environment: `weir` on the path,
    /// `WEIR_URL` and `WEIR_TOKEN`; and git that reads no configuration of the machine.
    pub fn command(&self, program: &str, folder: &Path) -> Result<Command> {
        let beside = self.binary.parent().context("the binary has no folder")?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env("PATH", format!("{}:{path}", beside.display()))
            .env("WEIR_URL", format!("http://{}", self.control))
            .env("WEIR_TOKEN", self.token()?)
            .env("HOME", &self.data)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_AUTHOR_NAME", "A Tester")
            .env("GIT_AUTHOR_EMAIL", "tester@example.org")
            .env("GIT_COMMITTER_NAME", "A Tester")
            .env("GIT_COMMITTER_EMAIL", "tester@example.org")
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE");
        Ok(command)
    }

    /// Runs the CLI in a folder.
    pub async fn cli(&self, folder: &Path, arguments: &[&str]) -> Result<Outcome> {
        let binary = self.binary.to_string_lossy().into_owned();
        let mut command = self.command(&binary, folder)?;
        command.args(arguments);
        run(command, &format!("weir {}", arguments.join(" "))).await
    }

    /// A request to the ingress with this host (without port).
    pub async fn get(&self, host: &str, path: &str) -> Result<Answer> {
        send(self.http, Ask::get(&format!("{host}:{}", self.http.port()), path)).await
    }

    /// Waits until a page answers 200 with a body that contains `text`.
    pub async fn wait_for_page(&self, host: &str, path: &str, text: &str, limit: Duration) -> Result<Answer> {
        let what = format!("http://{host}{path} says {text:?}");
        until(&what, limit, || async {
            let answer = self.get(host, path).await?;
            if answer.status == 200 && answer.body.contains(text) {
                return Ok(Some(answer));
            }
            bail!(
                "status {}: {}",
                answer.status,
                answer.body.chars().take(500).collect::<String>()
            )
        })
        .await
    }

    /// A request to the API with the admin token. `body` is sent as JSON if there is one.
    pub async fn api(&self, method: &'static str, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        let mut ask = Ask::get(&self.control.to_string(), path)
            .header("authorization", &format!("Bearer {}", self.token()?))
            .header("accept", "application/json")
            .with(method, Vec::new());
        if let Some(body) = body {
            ask = ask
                .header("content-type", "application/json")
                .with(method, body.to_string());
        }
        let answer = send(self.control, ask).await?;
        let json = if answer.body.is_empty() {
            Value::Null
        } else {
            answer.json()?
        };
        Ok((answer.status, json))
    }

    /// The newest tasks of a project, newest first.
    pub async fn tasks(&self, project: &str) -> Result<Vec<Value>> {
        let (status, list) = self.api("GET", "/v1/tasks?limit=200", None).await?;
        ensure!(status == 200, "status {status}: {list}");
        Ok(list
            .as_array()
            .into_iter()
            .flatten()
            .filter(|task| task["project"] == project)
            .cloned()
            .collect())
    }

    /// Whether a task of the project is queued or running.
    pub async fn is_busy(&self, project: &str) -> Result<bool> {
        Ok(self
            .tasks(project)
            .await?
            .iter()
            .any(|task| task["state"] == "running" || task["state"] == "queued"))
    }

    /// Waits until the log of a running task of the project has a line that contains one of
    /// these words.
    pub async fn wait_for_line(&self, project: &str, words: &[&str]) -> Result<()> {
        until(
            &format!("a task of {project} says one of {words:?}"),
            Duration::from_secs(120),
            || async {
                for task in self
                    .tasks(project)
                    .await?
                    .iter()
                    .filter(|task| task["state"] == "running")
                {
                    let path = format!("/v1/tasks/{}/log", task["id"].as_str().unwrap_or(""));
                    let (_, lines) = self.api("GET", &path, None).await?;
                    let mut texts = lines
                        .as_array()
                        .into_iter()
                        .flatten()
                        .filter_map(|line| line["text"].as_str());
                    if texts.any(|text| words.iter().any(|word| text.contains(word))) {
                        return Ok(Some(()));
                    }
                }
                Ok(None)
            },
        )
        .await
    }

    /// State of an environment from the API.
    pub async fn status(&self, project: &str, environment: &str) -> Result<Value> {
        let (status, body) = self
            .api(
                "GET",
                &format!("/v1/projects/{project}/environments/{environment}"),
                None,
            )
            .await?;
        ensure!(status == 200, "status {status}: {body}");
        Ok(body)
    }

    /// Ids of the containers of an app's process in an environment (running instances, not
    /// those of commands).
    pub async fn containers(&self, project: &str, environment: &str, process: &str) -> Result<Vec<String>> {
        let status = self.status(project, environment).await?;
        let id = status["environment"]["id"]
            .as_str()
            .context("environment id")?
            .to_owned();
        let process = format!("label=weir.process={process}");
        let environment = format!("label=weir.environment={id}");
        docker::lines(&[
            "ps",
            "--quiet",
            "--no-trunc",
            "--filter",
            &environment,
            "--filter",
            &process,
        ])
        .await
    }
}
