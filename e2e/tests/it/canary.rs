//! A new release that gets a part of the visitors, with real instances.

use anyhow::{Result, ensure};
use e2e::http::{Ask, send};
use e2e::load::{Load, LoadOptions};
use e2e::{Answer, Repository};

use crate::stage::common;

/// How many of so many visitors without a cookie get which version.
async fn share_of(repository: &Repository<'_>, version: u32, visitors: u32) -> Result<u32> {
    let mut taken = 0;
    for _ in 0..visitors {
        let answer = repository.serves("/", "probe ").await?;
        taken += u32::from(answer.body.contains(&format!("probe {version}")));
    }
    Ok(taken)
}

async fn asked_for(repository: &Repository<'_>) -> Result<Answer> {
    let host = format!("{}:{}", repository.host(), repository.weir.http.port());
    send(repository.weir.http, Ask::get(&host, "/").header("x-canary", "yes")).await
}

async fn push_canary(repository: &Repository<'_>, version: u32) -> Result<()> {
    repository.set_version(version)?;
    repository.commit(&format!("Version {version}")).await?;
    let push = [
        "push",
        "-o",
        "canary=30",
        "-o",
        "canary-header=X-Canary: yes",
        "weir",
        "main",
    ];
    let pushed = repository.git(&push).await?.ok()?;
    let said = pushed.all();
    for words in [
        "both releases together: at worst",
        "is a canary and gets 30 % of the requests",
    ] {
        ensure!(said.contains(words), "no {words:?} in: {said}");
    }
    Ok(())
}

pub(crate) async fn a_canary_gets_its_share_and_fails_no_request_however_it_ends() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "canary").await?;
    let load = Load::start(LoadOptions {
        websockets: 0,
        mixed: true,
        ..LoadOptions::usual(repository.weir.http, &repository.host(), "/")
    });
    push_canary(&repository, 2).await?;
    let taken = share_of(&repository, 2, 100).await?;
    // Five standard deviations around thirty.
    ensure!((7..=53).contains(&taken), "{taken} of 100 visitors got the canary");
    let asked = asked_for(&repository).await?;
    ensure!(asked.body.contains("probe 2"), "{}", asked.body);
    let shown = repository.cli(&["canary", "--json"]).await?.ok()?.json()?;
    ensure!(shown["releases"][1]["canary"] == true, "{shown}");
    let status = repository.cli(&["status", "--json"]).await?.ok()?.json()?;
    ensure!(status["health"] == "running", "{status}");
    repository.cli(&["canary", "set", "100%"]).await?.ok()?;
    repository.cli(&["canary", "abort"]).await?.ok()?;
    repository.cli(&["canary"]).await?.refused(&["no canary runs"])?;
    // Control says so at once, the node a moment later.
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    ensure!(share_of(&repository, 1, 20).await? == 20, "the canary was given up");
    let asked = asked_for(&repository).await?;
    ensure!(asked.body.contains("probe 1"), "{}", asked.body);
    push_canary(&repository, 3).await?;
    repository.cli(&["canary", "promote"]).await?.ok()?;
    ensure!(share_of(&repository, 3, 20).await? == 20, "the canary was promoted");
    let report = load.finish().await;
    println!("canary: {}", report.summary());
    report.none_failed()?;
    repository.destroy().await
}
