//! `cargo xtask bench wake [--rounds N]`: how long the first byte takes from an instance that is
//! frozen and from one that is stopped, beside one that runs, and beside what the engine itself
//! takes for an unpause and for a start of the same image. One run, on a Weir of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
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

async fn measure(weir: &Weir, rounds: usize) -> Result<Vec<Figure>> {
    let runs = app(weir, "runs", "").await?;
    let naps = app(
        weir,
        "naps",
        "[process.web.scaling]\nidle = \"freeze\"\nidle_after = \"1s\"\n",
    )
    .await?;
    let sleeps = app(
        weir,
        "sleeps",
        "[process.web.scaling]\nidle = \"stop\"\nidle_after = \"1s\"\n",
    )
    .await?;
    let mut figures = Vec::new();
    let mut running = Vec::new();
    for _ in 0..rounds {
        running.push(first_byte(weir.http, &runs.host())?);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let running = add(&mut figures, ["running p50", "running p99"], running, [None, None]);
    let mut frozen = Vec::new();
    for _ in 0..rounds {
        until(weir, "naps", |web| web["instances"][0]["state"] == "asleep").await?;
        frozen.push(first_byte(weir.http, &naps.host())?);
    }
    // Over one that runs: at most 2 ms in the median, and 10 ms for the slowest hundredth.
    let targets = [Some(running[0] + 2.0), Some(running[1] + 10.0)];
    add(&mut figures, ["frozen p50", "frozen p99"], frozen, targets);
    let mut stopped = Vec::new();
    for _ in 0..rounds {
        until(weir, "sleeps", |web| {
            web["wanted"] == 0 && web["instances"].as_array().is_none_or(Vec::is_empty)
        })
        .await?;
        stopped.push(first_byte(weir.http, &sleeps.host())?);
    }
    add(&mut figures, ["stopped p50", "stopped p99"], stopped, [None, None]);
    engine(&mut figures, rounds).await?;
    for repository in [runs, naps, sleeps] {
        repository.destroy().await?;
    }
    Ok(figures)
}

/// The engine's own limit: a container of the same image, without Weir.
async fn engine(figures: &mut Vec<Figure>, rounds: usize) -> Result<()> {
    let image = docker::busybox_image().await?;
    let create = ["create", "--label", "weir.bench=wake", image];
    let serve = ["httpd", "-f", "-p", "8000", "-h", "/etc"];
    let id = docker::docker(&[&create[..], &serve[..]].concat())
        .await?
        .trim()
        .to_owned();
    let measured = async {
        let order = |order: &str| ask_engine(&format!("/containers/{id}/{order}"));
        let (mut starts, mut unpauses) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            let began = Instant::now();
            order("start")?;
            let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
            let asked = Instant::now();
            let address = docker::docker(&["inspect", "--format", format, &id]).await?;
            let asking = asked.elapsed();
            let address: SocketAddr = format!("{}:8000", address.trim()).parse()?;
            while first_byte(address, "bench").is_err() {
                ensure!(began.elapsed() < PATIENCE, "the container does not answer");
                std::thread::sleep(Duration::from_millis(2));
            }
            starts.push((began.elapsed() - asking).as_secs_f64() * 1_000.0);
            order("pause")?;
            let began = Instant::now();
            order("unpause")?;
            first_byte(address, "bench")?;
            unpauses.push(began.elapsed().as_secs_f64() * 1_000.0);
            order("kill")?;
            let gone = Instant::now();
            while docker::docker(&["inspect", "--format", "{{.State.Running}}", &id])
                .await?
                .trim()
                == "true"
            {
                ensure!(gone.elapsed() < PATIENCE, "the container does not end");
            }
        }
        add(
            figures,
            ["engine unpause p50", "engine unpause p99"],
            unpauses,
            [None, None],
        );
        add(figures, ["engine start p50", "engine start p99"], starts, [None, None]);
        Ok(())
    }
    .await;
    docker::docker(&["rm", "--force", &id]).await?;
    measured
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
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
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
