//! Nothing fails while releases are switched.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use e2e::http::{Ask, send};
use e2e::load::{Load, LoadOptions, Report};
use e2e::{Repository, until};

use crate::stage::common;

/// How many pushes each of these tests makes.
fn pushes() -> u32 {
    if std::env::var_os("WEIR_SOAK").is_some_and(|value| value == "1") {
        20
    } else {
        3
    }
}

async fn push_under_load(repository: &Repository<'_>, options: LoadOptions) -> Result<Report> {
    let drain = options.drain;
    let load = Load::start(options);
    let mut times = Vec::new();
    for version in 2..2 + pushes() {
        let push = repository.push_version(version).await?.ok()?;
        times.push(push.took);
        repository.serves("/", &format!("probe {version}")).await?;
        // Some requests of ordinary life between two pushes.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    if drain.is_some() {
        until(
            "websockets of the first release are drained",
            Duration::from_secs(45),
            || async {
                let report = load.so_far();
                ensure!(report.drained > 0, "{}: {:#?}", report.summary(), report.wrong);
                Ok(Some(()))
            },
        )
        .await?;
    }
    let report = load.finish().await;
    println!(
        "{}: {} pushes ({times:.1?}); {}",
        repository.project,
        times.len(),
        report.summary()
    );
    report.none_failed()
}

pub(crate) async fn pushes_under_load_fail_no_request_of_a_stateless_app() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "loaded", &e2e::probe()).await?;
    repository.write("weir.toml", "[deploy]\ndrain = \"4s\"\n")?;
    repository.commit("Drain websockets soon").await?;
    repository.push("main").await?.ok()?;
    let usual = LoadOptions::usual(repository.weir.http, &repository.host(), "/");
    push_under_load(
        &repository,
        LoadOptions {
            drain: Some(Duration::from_secs(4)),
            ..usual
        },
    )
    .await?;
    repository.destroy().await
}

/// The count that the probe keeps in its volume, after adding one.
async fn count(repository: &Repository<'_>) -> Result<u64> {
    let answer = repository.serves("/count", "count ").await?;
    Ok(answer.body.split_whitespace().last().unwrap_or("").parse()?)
}

pub(crate) async fn pushes_under_load_fail_no_request_of_an_app_with_a_volume() -> Result<()> {
    let repository = Repository::live_probe_with_volume(common().await?, "held").await?;
    let first = count(&repository).await?;
    let options = LoadOptions::usual(repository.weir.http, &repository.host(), "/count");
    let report = push_under_load(&repository, options).await?;
    let last = count(&repository).await?;
    // Each request was counted once: none was lost, none was sent twice, and there never were
    // two writers.
    let counted: u64 = ["kept alive", "new connection"]
        .iter()
        .filter_map(|kind| report.right.get(kind))
        .sum();
    ensure!(
        last == first + counted + 1,
        "counted from {first} to {last} for {counted} requests"
    );
    repository.destroy().await
}

pub(crate) async fn rollback_under_load_fails_no_request() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "back").await?;
    repository.push_version(1).await?.ok()?;
    let load = Load::start(LoadOptions {
        websockets: 0,
        ..LoadOptions::usual(repository.weir.http, &repository.host(), "/")
    });
    for _ in 0..pushes() {
        repository.cli(&["rollback"]).await?.ok()?;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    repository.cli(&["restart"]).await?.ok()?;
    let report = load.finish().await;
    println!("rollbacks: {}", report.summary());
    ensure!(
        report.failed() == 0 && report.sent() > 50,
        "{}: {:#?}",
        report.summary(),
        report.wrong
    );
    repository.destroy().await
}

pub(crate) async fn large_bodies_stream_both_ways() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "bodies").await?;
    let body = vec![b'w'; 64 << 20];
    let host = format!("{}:{}", repository.host(), repository.weir.http.port());
    let answer = send(repository.weir.http, Ask::get(&host, "/").with("POST", body)).await?;
    let digest = "probe 1 ";
    ensure!(
        answer.status == 200 && answer.body.starts_with(digest),
        "{}: {}",
        answer.status,
        answer.body
    );
    let begin = Instant::now();
    let slow = repository.serves("/slow?ms=3000", "probe 1").await?;
    ensure!(slow.body.ends_with(".........."), "the slow answer is not whole");
    ensure!(
        begin.elapsed() < Duration::from_secs(6),
        "a slow answer of 3 s took {:?}",
        begin.elapsed()
    );
    repository.destroy().await
}
