//! What an app can and cannot do to others and to the machine.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Repository, docker, until};

use crate::stage::common;

pub(crate) async fn limits_and_privileges_are_set_on_every_container() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "limits").await?;
    let ids = repository.weir.containers("limits", "production", "web").await?;
    let id = ids.first().context("no container")?;
    let facts: serde_json::Value = serde_json::from_str(&docker::docker(&["inspect", id]).await?)?;
    let host = &facts[0]["HostConfig"];
    ensure!(
        host["Memory"].as_i64().is_some_and(|bytes| bytes > 0),
        "no limit of memory: {host}"
    );
    ensure!(
        host["NanoCpus"].as_i64().unwrap_or(0) > 0 || host["CpuQuota"].as_i64().unwrap_or(0) > 0,
        "no limit of CPU"
    );
    ensure!(
        host["PidsLimit"].as_i64().is_some_and(|limit| limit > 0),
        "no limit of processes"
    );
    ensure!(
        host["Ulimits"].as_array().is_some_and(|limits| !limits.is_empty()),
        "no limit of open files"
    );
    ensure!(host["Privileged"] == false, "privileged");
    ensure!(
        host["SecurityOpt"].to_string().contains("no-new-privileges"),
        "new privileges can be had"
    );
    ensure!(
        host["CapDrop"].to_string().to_uppercase().contains("ALL"),
        "capabilities are kept: {}",
        host["CapDrop"]
    );
    ensure!(
        host["PortBindings"].as_object().is_none_or(serde_json::Map::is_empty),
        "ports are published"
    );
    ensure!(
        !facts[0]["Mounts"].to_string().contains("docker.sock"),
        "the socket of Docker is mounted"
    );
    repository.destroy().await
}

/// Address of the one instance of the web process.
async fn address(repository: &Repository<'_>) -> Result<String> {
    let ids = repository
        .weir
        .containers(&repository.project, "production", "web")
        .await?;
    let id = ids.first().context("no container")?;
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    let addresses = docker::docker(&["inspect", "--format", format, id]).await?;
    Ok(addresses.split_whitespace().next().context("no address")?.to_owned())
}

pub(crate) async fn environments_do_not_reach_each_other() -> Result<()> {
    let weir = common().await?;
    let inside = Repository::live_probe(weir, "inside").await?;
    let other = Repository::live_probe(weir, "other").await?;
    let port = other.serves("/environment", "").await?.json()?["PORT"]
        .as_str()
        .context("PORT")?
        .to_owned();
    let targets = [
        format!("http://{}:{port}/", address(&other).await?),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        format!("http://{}/v1/health", weir.control),
    ];
    for target in targets {
        let answer = inside.page(&format!("/fetch?url={target}")).await?;
        ensure!(
            answer.body.starts_with("error"),
            "an app reaches {target}: {}",
            answer.body
        );
    }
    inside.destroy().await?;
    other.destroy().await
}

pub(crate) async fn public_names_resolve_to_the_ingress_inside() -> Result<()> {
    let weir = common().await?;
    let caller = Repository::live_probe(weir, "caller").await?;
    let called = Repository::live_probe(weir, "called").await?;
    let url = format!("http://called.localhost:{}/", weir.http.port());
    weir.wait_for_page(
        "caller.localhost",
        &format!("/fetch?url={url}"),
        "200 probe 1",
        Duration::from_secs(20),
    )
    .await?;
    caller.destroy().await?;
    called.destroy().await
}

pub(crate) async fn crash_loop_is_shown_and_costs_others_nothing() -> Result<()> {
    let weir = common().await?;
    let repository = Repository::live_probe(weir, "crashy").await?;
    let other = Repository::live_probe(weir, "calm").await?;
    // One crash: replaced at once.
    let _ = repository.page("/crash").await;
    weir.wait_for_page("crashy.localhost", "/", "probe 1", Duration::from_secs(30))
        .await?;
    // Again and again: shown as such, with the last lines of the log.
    let shown = until("the crash loop is shown", Duration::from_secs(120), || async {
        let _ = repository.page("/crash").await;
        let status = weir.status("crashy", "production").await?;
        let text = status.to_string();
        Ok((text.contains("\"crashed\"") && text.contains("about to crash as asked")).then_some(status))
    })
    .await?;
    ensure!(shown["health"] != "running", "health is {}", shown["health"]);
    for _ in 0..20 {
        other.serves("/", "probe 1").await?;
    }
    let status = repository.cli(&["status"]).await?;
    ensure!(
        status.all().contains("crash"),
        "`weir status` does not show it:\n{}",
        status.all()
    );
    repository.destroy().await?;
    other.destroy().await
}

pub(crate) async fn instance_that_stops_answering_is_replaced() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "hanging", &e2e::probe()).await?;
    repository.write(
        "weir.toml",
        "[process.web.check]\ninterval = \"1s\"\ntimeout = \"1s\"\nfailures = 2\n",
    )?;
    repository.commit("Check often").await?;
    repository.push("main").await?.ok()?;
    let before = repository.weir.containers("hanging", "production", "web").await?;
    repository.serves("/hang", "hanging").await?;
    until("another instance answers", Duration::from_secs(30), || async {
        let mut ask = e2e::http::Ask::get("hanging.localhost", "/");
        ask.timeout = Duration::from_secs(2);
        let answer = e2e::http::send(repository.weir.http, ask).await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    let after = repository.weir.containers("hanging", "production", "web").await?;
    ensure!(before != after, "the same container answers again: {after:?}");
    // It stopped answering once, so it is counted once; otherwise the pause before the next
    // start would grow out of all proportion.
    let status = repository.weir.status("hanging", "production").await?;
    let instances = status["processes"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|process| process["instances"].as_array().into_iter().flatten());
    let crashes = instances
        .filter_map(|instance| instance["crashes"].as_u64())
        .max()
        .unwrap_or(0);
    let counted = repository
        .weir
        .log()
        .lines()
        .filter(|line| line.contains("hanging.web stopped answering"))
        .count();
    ensure!(
        crashes <= 1 && counted == 1,
        "one hang was counted {crashes} times and logged {counted} times"
    );
    repository.destroy().await
}

pub(crate) async fn instance_over_its_memory_limit_is_replaced_and_told() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "hungry", &e2e::probe()).await?;
    repository.write("weir.toml", "[process.web]\nmemory = \"64MiB\"\n")?;
    repository.commit("Little memory").await?;
    repository.push("main").await?.ok()?;
    let _ = repository.page("/memory?mib=200").await;
    repository
        .weir
        .wait_for_page("hungry.localhost", "/", "probe 1", Duration::from_secs(30))
        .await?;
    until(
        "the log says that it was for want of memory",
        Duration::from_secs(20),
        || async {
            let log = repository.cli(&["logs"]).await?.ok()?.stdout;
            let status = repository.weir.status("hungry", "production").await?.to_string();
            Ok((log.contains("memory") || status.contains("memory limit")).then_some(()))
        },
    )
    .await?;
    repository.destroy().await
}
