//! `cargo xtask bench deploy`: how long a push, a second push and a rollback take, and what the
//! platform itself costs while it does nothing. Everything on a Weir of its own, release build,
//! measured from outside: from the command to the page.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::processes::{Part, cpu_ms, memory_bytes};
use e2e::{Repository, Weir, docker};
use serde_json::{Value, json};

/// One figure, with what it should be at most.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
    pub(crate) target: Option<f64>,
}

/// Key in what a measurement prints, name in the table, unit, and what it should be less than.
pub(crate) type Known = (&'static str, &'static str, &'static str, Option<f64>);

struct Options {
    apps: u32,
    first: First,
}

#[derive(PartialEq, Eq)]
enum First {
    /// Remove the stacks, so that the first push builds them as on a fresh machine.
    WithoutStacks,
    /// Leave that figure out.
    LeaveOut,
}

fn options(arguments: &[&str]) -> Result<Options> {
    let mut options = Options {
        apps: 20,
        first: First::WithoutStacks,
    };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--no-first" => options.first = First::LeaveOut,
            "--apps" => {
                options.apps = words
                    .next()
                    .context("--apps needs a number")?
                    .parse()
                    .context("--apps")?
            }
            other => anyhow::bail!("unknown option {other}"),
        }
    }
    Ok(options)
}

/// Measures, prints the table and writes `bench/results/DATE.json`.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let options = options(arguments)?;
    let binary = build_release()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(async {
        e2e::leftovers::remove_all().await?;
        let weir = Weir::start_binary("bench", binary).await?;
        let figures = measure(&weir, &options).await;
        weir.remove().await?;
        figures.with_context(|| format!("the log of Weir ends with:\n{}", weir.log_tail(20)))
    })?;
    print(&figures);
    write(&figures, "")
}

/// Has cargo build and run a measurement of another room, and makes figures of the line of JSON that it
/// prints last. `words` are those of cargo.
pub(crate) fn measured_by(words: &[&str], known: &[Known]) -> Result<Vec<Figure>> {
    let output = std::process::Command::new("cargo")
        .args(words)
        .current_dir(e2e::root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("run cargo")?;
    ensure!(output.status.success(), "`cargo {}` failed", words.join(" "));
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().context("the measurement says nothing")?;
    let answer: Value = serde_json::from_str(last).context("read what was measured")?;
    let figure = |(key, name, unit, target): &Known| {
        let value = answer[key].as_f64();
        let value = value.with_context(|| format!("the measurement tells no `{key}`"))?;
        Ok(Figure {
            name,
            value,
            unit,
            target: *target,
        })
    };
    known.iter().map(figure).collect()
}

/// How many processes were running or waiting on average, over one minute, five and fifteen: where it is
/// more than what is measured here needs, others were at work.
pub(crate) fn load_of_machine() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// The binary to measure: `WEIR_E2E_BINARY`, or a release build made now.
pub(crate) fn build_release() -> Result<PathBuf> {
    let root = e2e::root();
    if let Some(binary) = std::env::var_os("WEIR_E2E_BINARY") {
        return Ok(PathBuf::from(binary));
    }
    let status = std::process::Command::new("cargo")
        .args(["build", "--release", "--locked", "--package", "weir"])
        .current_dir(&root)
        .status()?;
    ensure!(status.success(), "the release build failed");
    Ok(target_folder().join("release/weir"))
}

/// Where cargo builds.
pub(crate) fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| e2e::root().join("target"), PathBuf::from)
}

async fn measure(weir: &Weir, options: &Options) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let example = e2e::example("python");
    if options.first == First::WithoutStacks {
        for image in docker::images("weir.stack").await? {
            let _ = docker::docker(&["rmi", "--force", &image]).await;
        }
        let repository = Repository::from_folder(weir, "fresh", &example).await?;
        let took = push_to_page(&repository).await?;
        figures.push(Figure {
            name: "first push, stack to be built",
            value: took,
            unit: "s",
            target: None,
        });
        repository.destroy().await?;
    }
    let repository = Repository::from_folder(weir, "bench", &example).await?;
    let took = push_to_page(&repository).await?;
    figures.push(Figure {
        name: "first push, stack present",
        value: took,
        unit: "s",
        target: None,
    });
    let mut times = Vec::new();
    for round in 0..5 {
        change(&repository, round)?;
        repository.commit(&format!("Change {round}")).await?;
        times.push(push_to_page(&repository).await?);
    }
    figures.push(Figure {
        name: "push of changed code (median of 5)",
        value: median(&mut times),
        unit: "s",
        target: Some(5.0),
    });
    repository.destroy().await?;
    figures.push(Figure {
        name: "rollback, call to live (median of 5)",
        value: rollback_ms(weir).await?,
        unit: "ms",
        target: Some(300.0),
    });
    idle(weir, options.apps, &mut figures).await?;
    Ok(figures)
}

/// Pushes, and waits until the page answers 200; in seconds.
async fn push_to_page(repository: &Repository<'_>) -> Result<f64> {
    let begin = Instant::now();
    repository.push("main").await?.ok()?;
    repository
        .weir
        .wait_for_page(&repository.host(), "/", "", Duration::from_secs(10))
        .await?;
    Ok(begin.elapsed().as_secs_f64())
}

/// Appends a comment to the first Python file: changed code, same dependencies.
fn change(repository: &Repository<'_>, round: u32) -> Result<()> {
    let mut files: Vec<_> = std::fs::read_dir(repository.path())?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    let file = files
        .into_iter()
        .find(|path| path.extension().is_some_and(|extension| extension == "py"));
    let file = file.context("the example has no Python file")?;
    let text = std::fs::read_to_string(&file)? + &format!("\n# change {round}\n");
    Ok(std::fs::write(file, text)?)
}

/// From the call of the API until the page is that of the release before, in milliseconds.
async fn rollback_ms(weir: &Weir) -> Result<f64> {
    let repository = Repository::live_probe(weir, "rollback").await?;
    repository.push_version(2).await?.ok()?;
    let mut times = Vec::new();
    for round in 0..5 {
        let wanted = if round % 2 == 0 { "probe 1" } else { "probe 2" };
        let begin = Instant::now();
        let path = "/v1/projects/rollback/environments/production/deployments";
        let (status, answer) = weir.api("POST", path, Some(json!({ "kind": "rollback" }))).await?;
        ensure!(status == 202 || status == 200, "{status}: {answer}");
        while !repository.page("/").await?.body.contains(wanted) {
            ensure!(
                begin.elapsed() < Duration::from_secs(60),
                "the rollback is not live after a minute"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        times.push(begin.elapsed().as_secs_f64() * 1000.0);
        wait_for_end(weir, &answer).await?;
    }
    repository.destroy().await?;
    Ok(median(&mut times))
}

async fn wait_for_end(weir: &Weir, accepted: &Value) -> Result<()> {
    let task = accepted["task"].as_str().context("no task")?.to_owned();
    e2e::until("the task ends", Duration::from_secs(60), || async {
        let (_, task) = weir.api("GET", &format!("/v1/tasks/{task}"), None).await?;
        Ok((task["state"] == "done").then_some(()))
    })
    .await
}

/// What control and node cost with so many idle apps.
async fn idle(weir: &Weir, apps: u32, figures: &mut Vec<Figure>) -> Result<()> {
    const WINDOW: Duration = Duration::from_secs(30);
    for number in 0..apps {
        let repository = Repository::live_probe(weir, &format!("idle-{number}x")).await?;
        drop(repository);
    }
    // What the last push set in motion is over.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let pids = [weir.supervisor()?, weir.pid(Part::Control)?, weir.pid(Part::Node)?];
    let cpu = |pids: &[u32]| pids.iter().map(|pid| cpu_ms(*pid)).sum::<Result<u64>>();
    let before = cpu(&pids)?;
    tokio::time::sleep(WINDOW).await;
    let used = cpu(&pids)?.saturating_sub(before);
    let mib = |pid: u32| memory_bytes(pid).map(|bytes| bytes as f64 / f64::from(1 << 20));
    let (supervisor, control, node) = (mib(pids[0])?, mib(pids[1])?, mib(pids[2])?);
    figures.push(Figure {
        name: "idle apps",
        value: f64::from(apps),
        unit: "",
        target: None,
    });
    figures.push(Figure {
        name: "memory of control, idle",
        value: control,
        unit: "MiB",
        target: None,
    });
    figures.push(Figure {
        name: "memory of node, idle",
        value: node,
        unit: "MiB",
        target: None,
    });
    figures.push(Figure {
        name: "memory of the supervisor, idle",
        value: supervisor,
        unit: "MiB",
        target: None,
    });
    figures.push(Figure {
        name: "memory of control and node together",
        value: control + node,
        unit: "MiB",
        target: Some(80.0),
    });
    let percent = used as f64 / WINDOW.as_millis() as f64 * 100.0;
    figures.push(Figure {
        name: "CPU of all three, idle, of one core",
        value: percent,
        unit: "%",
        target: Some(1.0),
    });
    Ok(())
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

pub(crate) fn print(figures: &[Figure]) {
    println!("\n{:<52} {:>10}  {:>12}", "", "measured", "target");
    for figure in figures {
        let target = figure
            .target
            .map_or(String::new(), |target| format!("< {target:.2} {}", figure.unit));
        let verdict = match figure.target {
            Some(target) if figure.value < target => "met",
            Some(_) => "MISSED",
            None => "",
        };
        println!(
            "{:<52} {:>6.2} {:<3}  {target:>12}  {verdict}",
            figure.name, figure.value, figure.unit
        );
    }
    println!("load of the machine: {}", load_of_machine());
}

/// Into `bench/results/DATE{suffix}.json`.
pub(crate) fn write(figures: &[Figure], suffix: &str) -> Result<()> {
    let list: Vec<Value> = figures
        .iter()
        .map(|figure| json!({ "name": figure.name, "value": figure.value, "unit": figure.unit, "target": figure.target }))
        .collect();
    write_document(json!({ "figures": list }), suffix)
}

/// The object into `bench/results/DATE{suffix}.json`, with date, commit and machine.
pub(crate) fn write_document(mut document: Value, suffix: &str) -> Result<()> {
    let root = e2e::root();
    let date = jiff::Zoned::now().strftime("%Y-%m-%d").to_string();
    let say = |program: &str, arguments: &[&str]| {
        let output = std::process::Command::new(program)
            .args(arguments)
            .current_dir(&root)
            .output()
            .ok();
        output
            .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
            .unwrap_or_default()
    };
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .unwrap_or("")
        .trim_start_matches([' ', '\t', ':']);
    document["date"] = json!(date);
    document["commit"] = json!(say("git", &["rev-parse", "--short", "HEAD"]));
    document["machine"] = json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map(std::num::NonZero::get).unwrap_or(0),
        "load": load_of_machine(),
        "docker": say("docker", &["version", "--format", "{{.Server.Version}}"]),
    });
    let folder = root.join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{date}{suffix}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&document)? + "\n")?;
    println!("\nwritten to {}", file.strip_prefix(&root).unwrap_or(&file).display());
    Ok(())
}
