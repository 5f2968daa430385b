//! Instances sleep while nobody asks for them, and their number follows the requests.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::load::{Load, LoadOptions};
use e2e::{Repository, Weir, docker, until};
use serde_json::Value;

use crate::stage::common;

/// A page that busybox serves, asleep after a second.
async fn sleeper<'a>(name: &str, scaling: &str) -> Result<Repository<'a>> {
    sleeper_on(common().await?, name, scaling).await
}

/// The same on this Weir.
pub(crate) async fn sleeper_on<'a>(weir: &'a Weir, name: &str, scaling: &str) -> Result<Repository<'a>> {
    let base = docker::busybox_image().await?;
    let repository = Repository::empty(weir, name).await?;
    repository.write(
        "Dockerfile",
        &format!(
            "FROM {base}\nCOPY www /www\nEXPOSE 8000\nCMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\n"
        ),
    )?;
    repository.write("www/index.html", "good morning\n")?;
    repository.write(
        "weir.toml",
        &format!("[process.web]\ngrace = \"1s\"\n[process.web.scaling]\nidle_after = \"1s\"\n{scaling}\n"),
    )?;
    repository.commit("First version").await?;
    repository.push("main").await?.ok()?;
    Ok(repository)
}

async fn web(repository: &Repository<'_>, project: &str) -> Result<Value> {
    let status = repository.weir.status(project, "production").await?;
    Ok(status["processes"][0].clone())
}

fn states(web: &Value) -> Vec<String> {
    let instances = web["instances"].as_array().into_iter().flatten();
    instances
        .map(|one| one["state"].as_str().unwrap_or_default().to_owned())
        .collect()
}

/// Waits until its only instance sleeps.
pub(crate) async fn asleep(repository: &Repository<'_>) -> Result<()> {
    until("it sleeps", Duration::from_secs(40), || async {
        let web = web(repository, &repository.project).await?;
        Ok((states(&web) == ["asleep"]).then_some(()))
    })
    .await
}

pub(crate) async fn frozen_instance_is_woken_by_a_request() -> Result<()> {
    let repository = sleeper("napper", "idle = \"freeze\"").await?;
    let mut slowest = Duration::ZERO;
    for _ in 0..5 {
        until("it sleeps", Duration::from_secs(20), || async {
            let web = web(&repository, "napper").await?;
            Ok((states(&web) == ["asleep"]).then_some(()))
        })
        .await?;
        let began = Instant::now();
        repository.serves("/", "good morning").await?;
        slowest = slowest.max(began.elapsed());
    }
    println!("slowest of five wakes of a frozen instance: {slowest:?}");
    ensure!(slowest < Duration::from_secs(2), "a wake took {slowest:?}");
    let web = web(&repository, "napper").await?;
    ensure!(web["ready"] == 1, "who sleeps counts as ready: {web}");
    // Who works in it is not put to sleep.
    until("it sleeps again", Duration::from_secs(20), || async {
        let web = self::web(&repository, "napper").await?;
        Ok((states(&web) == ["asleep"]).then_some(()))
    })
    .await?;
    let worked = repository
        .cli(&["exec", "--", "sh", "-c", "sleep 4; echo done"])
        .await?
        .ok()?;
    ensure!(worked.stdout.contains("done"), "{}", worked.all());
    // The node comes back and finds who sleeps.
    until("it sleeps once more", Duration::from_secs(20), || async {
        let web = self::web(&repository, "napper").await?;
        Ok((states(&web) == ["asleep"]).then_some(()))
    })
    .await?;
    repository.write("www/index.html", "good evening\n")?;
    repository.commit("Evening").await?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "good evening").await?;
    repository.destroy().await
}

pub(crate) async fn stopped_instance_is_started_by_a_request() -> Result<()> {
    let repository = sleeper("sleeper", "idle = \"stop\"").await?;
    for _ in 0..3 {
        until("it is stopped", Duration::from_secs(30), || async {
            let web = web(&repository, "sleeper").await?;
            let none = web["wanted"] == 0 && states(&web).is_empty();
            Ok(none.then_some(()))
        })
        .await?;
        let began = Instant::now();
        repository.serves("/", "good morning").await?;
        println!("a wake of a stopped instance took {:?}", began.elapsed());
    }
    repository.destroy().await
}

pub(crate) async fn instances_follow_the_load_and_no_request_fails() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "tide").await?;
    let weir = repository.weir;
    repository.write(
        "weir.toml",
        "[process.web]\nconcurrency = 4\n[process.web.scaling]\nmin = 1\nmax = 3\ntarget = 2\n",
    )?;
    repository.commit("It scales").await?;
    repository.push("main").await?.ok()?.says(&["1..3 instances"])?;
    let options = LoadOptions {
        slow: 5,
        websockets: 0,
        ..LoadOptions::usual(weir.http, "tide.localhost", "/")
    };
    let load = Load::start(options);
    until("all are there", Duration::from_secs(40), || async {
        let web = web(&repository, "tide").await?;
        Ok((web["ready"] == 3).then_some(()))
    })
    .await?;
    let report = load.finish().await.none_failed()?;
    println!("{}", report.summary());
    let options = LoadOptions {
        // So few that a busy machine, too, seldom has two of them at once.
        kept_alive_per_s: 4,
        fresh_per_s: 2,
        slow: 0,
        websockets: 0,
        ..LoadOptions::usual(weir.http, "tide.localhost", "/")
    };
    let load = Load::start(options);
    until("one is enough again", Duration::from_secs(120), || async {
        let web = web(&repository, "tide").await?;
        let states = states(&web);
        // That of the release before is kept for a rollback.
        let run = states.iter().filter(|state| *state != "frozen");
        Ok((web["wanted"] == 1 && run.eq(["ready"])).then_some(()))
    })
    .await?;
    let report = load.finish().await.none_failed()?;
    println!("{}", report.summary());
    repository.destroy().await
}
