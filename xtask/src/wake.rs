//! `cargo xtask bench wake [--rounds N]`: how long the first byte takes from an instance that is
//! frozen and from one that is stopped, beside one that runs, and beside the limits of the machine:
//! the kernel's freezer written by hand, the engine's own unpause, the engine's own start, each with one
//! request straight to a container. One run, on a Weir of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use e2e::{Repository, Weir, docker};

use crate::bench::{Figure, build_release, print, write};

/// Where the engine listens.
const ENGINE: &str = "/var/run/docker.sock";
/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measures, prints the table and writes `bench/results/DATE-wake.json`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let rounds = match arguments {
        [] => 100,
        ["--rounds", number] => number.parse().context("--rounds needs a number")?,
        other => bail!("unknown options {other:?}; there is --rounds N"),
    };
    let binary = build_release()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(async {
        let weir = Weir::start_binary("wake", binary).await?;
        let figures = measure(&weir, rounds).await;
        let figures = figures.with_context(|| format!("the log of Weir ends with:\n{}", weir.log_tail(20)));
        weir.remove().await?;
        figures
    })?;
    print(&figures);
    write(&figures, "-wake")
}

/// Milliseconds from the request, or from the order that wakes, to the first byte.
#[derive(Default)]
struct Times {
    running: Vec<f64>,
    frozen: Vec<f64>,
    stopped: Vec<f64>,
    thawed: Vec<f64>,
    unpaused: Vec<f64>,
    started: Vec<f64>,
}

async fn measure(weir: &Weir, rounds: usize) -> Result<Vec<Figure>> {
    let sleep_by = |how: &str| format!("[process.web.scaling]\nidle = \"{how}\"\nidle_after = \"1s\"\n");
    let runs = app(weir, "runs", "").await?;
    let naps = app(weir, "naps", &sleep_by("freeze")).await?;
    let sleeps = app(weir, "sleeps", &sleep_by("stop")).await?;
    let mut container = Container::create().await?;
    let mut times = Times::default();
    let measured = async {
        for _ in 0..rounds {
            until(weir, "naps", |web| web["instances"][0]["state"] == "asleep").await?;
            until(weir, "sleeps", |web| {
                web["wanted"] == 0 && web["instances"].as_array().is_none_or(Vec::is_empty)
            })
            .await?;
            // Now all is quiet: the container first, and the app that is started last, because they keep
            // the engine at work for a while.
            container.round(&mut times).await?;
            tokio::time::sleep(Duration::from_millis(200)).await;
            times.running.push(first_byte(weir.http, &runs.host())?);
            times.frozen.push(first_byte(weir.http, &naps.host())?);
            times.stopped.push(first_byte(weir.http, &sleeps.host())?);
        }
        anyhow::Ok(())
    }
    .await;
    docker::docker(&["rm", "--force", &container.id]).await?;
    measured?;
    for repository in [runs, naps, sleeps] {
        repository.destroy().await?;
    }
    Ok(figures(times))
}

fn figures(times: Times) -> Vec<Figure> {
    let mut figures = Vec::new();
    let no_target = [None; 2];
    let names = ["running, p50", "running, p99"];
    let running = add(&mut figures, names, times.running, no_target);
    // Over one that runs: at most 2 ms in the median, and 10 ms for the slowest hundredth.
    let targets = [Some(running[0] + 2.0), Some(running[1] + 10.0)];
    add(&mut figures, ["frozen, p50", "frozen, p99"], times.frozen, targets);
    let names = ["  limit: the freezer alone, p50", "  limit: the freezer alone, p99"];
    add(&mut figures, names, times.thawed, no_target);
    let names = [
        "  limit: the engine's unpause, p50",
        "  limit: the engine's unpause, p99",
    ];
    add(&mut figures, names, times.unpaused, no_target);
    let at = figures.len();
    let names = ["  limit: the engine's start, p50", "  limit: the engine's start, p99"];
    let started = add(&mut figures, names, times.started, no_target);
    // Over the engine's start, in which the app boots as well.
    let limits = figures.split_off(at);
    let targets = [Some(started[0] + 150.0), None];
    add(&mut figures, ["stopped, p50", "stopped, p99"], times.stopped, targets);
    figures.extend(limits);
    figures
}

/// A container of the same image, without Weir.
struct Container {
    id: String,
    /// It gets the same one at each start, unless others take it; asking each time would take longer than
    /// the start.
    address: SocketAddr,
}

impl Container {
    async fn create() -> Result<Self> {
        let image = docker::busybox_image().await?;
        let run = ["run", "--detach", "--label", "weir.bench=wake", image];
        let serve = ["httpd", "-f", "-p", "8000", "-h", "/etc"];
        let id = docker::docker(&[&run[..], &serve[..]].concat()).await?;
        let id = id.trim().to_owned();
        let address = address_of(&id).await?;
        let container = Self { id, address };
        container.end().await?;
        Ok(container)
    }

    /// Started, thawed by the freezer, unpaused; and ended.
    async fn round(&mut self, times: &mut Times) -> Result<()> {
        let ms = |began: Instant| began.elapsed().as_secs_f64() * 1_000.0;
        let began = Instant::now();
        self.order("start")?;
        wait_for_container(self.address, Duration::from_secs(5));
        let took = ms(began);
        let address = address_of(&self.id).await?;
        if address == self.address {
            times.started.push(took);
        }
        self.address = address;
        wait_for_container(address, PATIENCE);
        let freezer = Freezer::of(&self.id).await?;
        freezer.freeze()?;
        let began = Instant::now();
        freezer.thaw()?;
        first_byte(address, "bench")?;
        times.thawed.push(ms(began));
        self.order("pause")?;
        let began = Instant::now();
        self.order("unpause")?;
        first_byte(address, "bench")?;
        times.unpaused.push(ms(began));
        self.end().await
    }

    async fn end(&self) -> Result<()> {
        self.order("kill")?;
        e2e::until("the container ends", PATIENCE, || async {
            let running = docker::docker(&["inspect", "--format", "{{.State.Running}}", &self.id]).await?;
            Ok((running.trim() == "false").then_some(()))
        })
        .await
    }

    fn order(&self, order: &str) -> Result<()> {
        ask_engine(&format!("/containers/{}/{order}", self.id))
    }
}

async fn address_of(id: &str) -> Result<SocketAddr> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker::docker(&["inspect", "--format", format, id]).await?;
    let address = format!("{}:8000", address.trim());
    address
        .parse()
        .with_context(|| format!("the container's address is {address}"))
}

/// Whoever does not answer in time has another address.
fn wait_for_container(address: SocketAddr, patience: Duration) {
    let began = Instant::now();
    while first_byte(address, "bench").is_err() && began.elapsed() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The file by which the kernel freezes a container.
struct Freezer {
    file: PathBuf,
    /// What freezes and what thaws.
    words: [&'static str; 2],
    /// What says so, and with what.
    state: (PathBuf, &'static str),
}

impl Freezer {
    async fn of(id: &str) -> Result<Self> {
        let pid = docker::docker(&["inspect", "--format", "{{.State.Pid}}", id]).await?;
        let groups = std::fs::read_to_string(format!("/proc/{}/cgroup", pid.trim()))?;
        let root = Path::new("/sys/fs/cgroup");
        for line in groups.lines() {
            let Some((controllers, group)) = line.split_once(':').and_then(|(_, rest)| rest.split_once(':')) else {
                continue;
            };
            let group = group.trim_start_matches('/');
            if controllers == "freezer" {
                let file = root.join("freezer").join(group).join("freezer.state");
                return Ok(Self {
                    state: (file.clone(), "FROZEN"),
                    file,
                    words: ["FROZEN", "THAWED"],
                });
            }
            let file = root.join(group).join("cgroup.freeze");
            if controllers.is_empty() && file.exists() {
                return Ok(Self {
                    state: (file.with_file_name("cgroup.events"), "frozen 1"),
                    file,
                    words: ["1", "0"],
                });
            }
        }
        bail!(
            "the kernel's freezer of a container is not where it should be, below {}",
            root.display()
        )
    }

    fn freeze(&self) -> Result<()> {
        std::fs::write(&self.file, self.words[0])?;
        let began = Instant::now();
        while !std::fs::read_to_string(&self.state.0)?.contains(self.state.1) {
            ensure!(began.elapsed() < PATIENCE, "the container does not freeze");
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn thaw(&self) -> Result<()> {
        let thaw = std::fs::write(&self.file, self.words[1]);
        thaw.with_context(|| format!("write {}; are you root?", self.file.display()))
    }
}

async fn app<'a>(weir: &'a Weir, name: &str, scaling: &str) -> Result<Repository<'a>> {
    let base = docker::busybox_image().await?;
    let repository = Repository::empty(weir, name).await?;
    let serve = "CMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]";
    repository.write(
        "Dockerfile",
        &format!("FROM {base}\nCOPY www /www\nEXPOSE 8000\n{serve}\n"),
    )?;
    repository.write("www/index.html", "good morning\n")?;
    repository.write("weir.toml", &format!("[process.web]\ngrace = \"0s\"\n{scaling}"))?;
    repository.commit("First version").await?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "good morning").await?;
    Ok(repository)
}

async fn until(weir: &Weir, project: &str, is_so: impl Fn(&serde_json::Value) -> bool) -> Result<()> {
    e2e::until("the app sleeps", PATIENCE, || async {
        let status = weir.status(project, "production").await?;
        Ok(is_so(&status["processes"][0]).then_some(()))
    })
    .await
}

/// Milliseconds from connecting to the first byte of a whole answer.
fn first_byte(address: SocketAddr, host: &str) -> Result<f64> {
    let began = Instant::now();
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let took = began.elapsed();
    // The engine's own container has no page, which is an answer as well.
    let answered = head.ends_with(b"200") || (host == "bench" && head.ends_with(b"404"));
    ensure!(answered, "{host} answers {}", String::from_utf8_lossy(&head));
    Ok(took.as_secs_f64() * 1_000.0)
}

/// An order to the engine, by its socket: without the time that a command of its own takes.
fn ask_engine(target: &str) -> Result<()> {
    let mut stream = UnixStream::connect(ENGINE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(
        format!("POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").as_bytes(),
    )?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    ensure!(head.ends_with(b"204"), "{target}: {}", String::from_utf8_lossy(&head));
    Ok(())
}

/// Adds the median and the 99th percentile; gives them.
fn add(
    figures: &mut Vec<Figure>,
    names: [&'static str; 2],
    mut times: Vec<f64>,
    targets: [Option<f64>; 2],
) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| {
        let at = (times.len() * percent / 100).min(times.len().saturating_sub(1));
        times.get(at).copied().unwrap_or(f64::NAN)
    };
    let values = [at(50), at(99)];
    for ((name, value), target) in names.into_iter().zip(values).zip(targets) {
        figures.push(Figure {
            name,
            value,
            unit: "ms",
            target,
        });
    }
    values
}
