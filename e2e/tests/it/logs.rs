//! What apps write.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::processes::{Part, memory_bytes};
use e2e::{Repository, until};

use crate::stage::common;

pub(crate) async fn logs_are_found_by_text_process_and_time() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "findlogs").await?;
    for text in ["apple-1", "pear-2", "apple-3"] {
        repository.serves(&format!("/say?text={text}"), "probe").await?;
    }
    until("the lines are there within seconds", Duration::from_secs(5), || async {
        Ok(repository
            .cli(&["logs"])
            .await?
            .ok()?
            .stdout
            .contains("apple-3")
            .then_some(()))
    })
    .await?;
    let found = repository.cli(&["logs", "--grep", "apple"]).await?.ok()?.stdout;
    ensure!(
        found.contains("apple-1") && found.contains("apple-3") && !found.contains("pear"),
        "--grep apple gave:\n{found}"
    );
    let web = repository
        .cli(&["logs", "--process", "web", "--since", "1h"])
        .await?
        .ok()?
        .stdout;
    ensure!(web.contains("pear-2"), "--process web --since 1h gave:\n{web}");
    let worker = repository.cli(&["logs", "--process", "worker"]).await?;
    ensure!(!worker.stdout.contains("pear-2"), "--process worker gave lines of web");
    let build = repository.cli(&["logs", "--build"]).await?.ok()?.stdout;
    ensure!(
        !build.trim().is_empty() && !build.contains("pear-2"),
        "--build gave:\n{build}"
    );
    // They outlive the instance that wrote them.
    repository.cli(&["restart"]).await?.ok()?;
    ensure!(
        repository
            .cli(&["logs", "--grep", "apple-1"])
            .await?
            .ok()?
            .stdout
            .contains("apple-1")
    );
    repository.destroy().await
}

/// Bytes of all files below a folder.
fn size_of(folder: &std::path::Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}

pub(crate) async fn flood_of_lines_is_bounded_and_said() -> Result<()> {
    let weir = common().await?;
    let repository = Repository::live_probe(weir, "flood").await?;
    let other = Repository::live_probe(weir, "besideflood").await?;
    let control = weir.pid(Part::Control)?;
    let disk_before = size_of(&weir.data);
    let flood = async {
        let answer = repository.serves("/flood?s=6", "wrote").await?;
        let lines: f64 = answer.body.split_whitespace().last().context("count")?.parse()?;
        anyhow::Ok(lines / 6.0)
    };
    let watch = async {
        let (mut slowest, mut memory) = (Duration::ZERO, 0);
        let end = Instant::now() + Duration::from_secs(6);
        while Instant::now() < end {
            let begin = Instant::now();
            other.serves("/", "probe").await?;
            slowest = slowest.max(begin.elapsed());
            memory = memory.max(memory_bytes(control)?);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        anyhow::Ok((slowest, memory))
    };
    let (rate, watched) = tokio::join!(flood, watch);
    let (rate, (slowest, memory)) = (rate?, watched?);
    let grown = size_of(&weir.data).saturating_sub(disk_before);
    println!(
        "flood: {rate:.0} lines/s; another app's slowest answer {slowest:.0?}; control at {} MiB; disk grew {} MiB",
        memory >> 20,
        grown >> 20
    );
    ensure!(
        slowest < Duration::from_secs(2),
        "another app was slowed to {slowest:?}"
    );
    ensure!(memory < 200 << 20, "control grew to {} MiB", memory >> 20);
    ensure!(grown < 200 << 20, "the logs grew by {} MiB", grown >> 20);
    until(
        // A million lines are read first.
        "what was dropped is said in the log",
        Duration::from_secs(120),
        || async {
            let log = repository.cli(&["logs"]).await?.ok()?.stdout;
            // By control, or by an engine that could not keep them until they were read.
            let said = log.contains("lines dropped") || log.contains("some lines are missing here");
            Ok(said.then_some(()))
        },
    )
    .await?;
    repository.destroy().await?;
    other.destroy().await
}
