//! The verbs of the CLI.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::{Repository, Weir, docker, until};
use serde_json::json;

use crate::stage::common;

/// Ids of the containers of the web process in production that are not frozen.
async fn awake(weir: &Weir, project: &str) -> Result<Vec<String>> {
    let mut awake = Vec::new();
    for id in weir.containers(project, "production", "web").await? {
        if docker::docker(&["inspect", "--format", "{{.State.Status}}", &id])
            .await
            .is_ok_and(|state| state.trim() == "running")
        {
            awake.push(id);
        }
    }
    Ok(awake)
}

pub(crate) async fn rollback_to_the_release_before_is_a_thaw() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "thaw").await?;
    let before = awake(repository.weir, "thaw").await?;
    repository.push_version(2).await?.ok()?;
    repository.serves("/", "probe 2").await?;
    let took = repository.cli(&["rollback"]).await?.ok()?.took;
    repository.serves("/", "probe 1").await?;
    let after = until("the old instance alone is awake", Duration::from_secs(60), || async {
        let after = awake(repository.weir, "thaw").await?;
        Ok((after.len() == 1).then_some(after))
    })
    .await?;
    ensure!(
        after == before,
        "the rollback started new instances: {before:?} before, {after:?} after"
    );
    ensure!(took < Duration::from_secs(5), "the rollback took {took:?}");
    repository.destroy().await
}

pub(crate) async fn rollback_to_an_older_release_starts_it_again() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "older").await?;
    repository.push_version(2).await?.ok()?;
    repository.push_version(3).await?.ok()?;
    let releases = repository.cli(&["releases"]).await?.ok()?;
    ensure!(
        releases.stdout.lines().count() >= 3,
        "three releases should be listed:\n{}",
        releases.stdout
    );
    repository.cli(&["rollback", "1"]).await?.ok()?;
    repository.serves("/", "probe 1").await?;
    repository.cli(&["rollback", "99"]).await?.refused(&["99"])?;
    repository.serves("/", "probe 1").await?;
    repository.destroy().await
}

pub(crate) async fn scaling_starts_and_stops_instances() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "scale").await?;
    repository.cli(&["scale", "web=3"]).await?.ok()?;
    ensure!(
        awake(repository.weir, "scale").await?.len() == 3,
        "three instances should run"
    );
    let mut instances = std::collections::BTreeSet::new();
    for _ in 0..60 {
        instances.insert(repository.serves("/environment", "").await?.json()?["WEIR_INSTANCE"].to_string());
    }
    ensure!(
        instances.len() == 3,
        "the requests went to {} of 3 instances",
        instances.len()
    );
    repository.cli(&["scale", "web=1"]).await?.ok()?;
    until("one instance is left", Duration::from_secs(60), || async {
        Ok((awake(repository.weir, "scale").await?.len() == 1).then_some(()))
    })
    .await?;
    repository.serves("/", "probe 1").await?;
    repository.destroy().await
}

pub(crate) async fn paused_environment_says_so_and_comes_back() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "pause").await?;
    repository.cli(&["pause"]).await?.ok()?;
    let page = repository.page("/").await?;
    ensure!(
        page.status == 503 && page.body.contains("paused"),
        "a paused app answers {}: {}",
        page.status,
        page.body
    );
    ensure!(
        repository
            .weir
            .containers("pause", "production", "web")
            .await?
            .is_empty(),
        "a paused app runs"
    );
    repository.cli(&["resume"]).await?.ok()?;
    repository.serves("/", "probe 1").await?;
    repository.destroy().await
}

pub(crate) async fn one_off_command_gives_its_output_and_exit_status() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "oneoff").await?;
    repository.cli(&["set", "COLOUR=green"]).await?.ok()?;
    let outcome = repository
        .cli(&["run", "--", "sh", "-c", "echo $COLOUR; echo wrong >&2; exit 7"])
        .await?;
    ensure!(
        outcome.status == 7,
        "exit status {}:\n{}",
        outcome.status,
        outcome.all()
    );
    ensure!(
        outcome.stdout.trim() == "green",
        "standard output is {:?}",
        outcome.stdout
    );
    ensure!(
        outcome.stderr.contains("wrong"),
        "standard error is {:?}",
        outcome.stderr
    );
    let left = until(
        "the container of the command is gone",
        Duration::from_secs(20),
        || async {
            let label = "label=weir.role=run";
            let own = format!("label={}", repository.weir.label().await?);
            let ids = docker::lines(&["ps", "--all", "--quiet", "--filter", label, "--filter", &own]).await?;
            Ok(ids.is_empty().then_some(()))
        },
    );
    left.await?;
    repository.destroy().await
}

pub(crate) async fn exec_runs_in_the_live_instance() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "exec").await?;
    let page = repository.serves("/environment", "").await?.json()?;
    let outcome = repository
        .cli(&["exec", "--", "sh", "-c", "echo $WEIR_INSTANCE; hostname"])
        .await?
        .ok()?;
    let instance = page["WEIR_INSTANCE"].as_str().context("WEIR_INSTANCE")?;
    ensure!(
        outcome.stdout.contains(instance),
        "{} is not {instance}",
        outcome.stdout
    );
    repository.destroy().await
}

pub(crate) async fn every_command_speaks_json() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "json").await?;
    for arguments in [
        &["status", "--json"][..],
        &["releases", "--json"],
        &["vars", "--json"],
        &["project", "list", "--json"],
        &["env", "list", "--json"],
        &["domain", "list", "--json"],
        &["token", "list", "--json"],
    ] {
        let outcome = repository.cli(arguments).await?.ok()?;
        outcome.json()?;
        ensure!(
            !outcome.all().contains('\u{1b}'),
            "`{}` writes colours into a pipe",
            outcome.command
        );
    }
    repository.destroy().await
}

pub(crate) async fn unknown_things_are_errors_with_a_hint() -> Result<()> {
    let weir = common().await?;
    let folder = tempfile::tempdir()?;
    weir.cli(folder.path(), &["status", "--project", "there-is-none"])
        .await?
        .refused(&["there-is-none", "hint"])?;
    weir.cli(folder.path(), &["project", "create", "Not A Name"])
        .await?
        .refused(&["Not A Name"])?;
    weir.cli(folder.path(), &["no-such-verb"])
        .await?
        .refused(&["no-such-verb"])?;
    let (status, problem) = weir.api("GET", "/v1/projects/there-is-none", None).await?;
    ensure!(
        status == 404 && problem["type"].is_string() && problem["title"].is_string(),
        "{status}: {problem}"
    );
    let (status, problem) = weir
        .api("POST", "/v1/projects", Some(json!({ "name": "x", "colour": "red" })))
        .await?;
    ensure!(
        status == 400 || status == 422,
        "an unknown key is answered with {status}: {problem}"
    );
    let page = weir.get("nobody-has-this.localhost", "/").await?;
    ensure!(
        page.status == 404,
        "an unknown host answers {}: {}",
        page.status,
        page.body
    );
    Ok(())
}

pub(crate) async fn tokens_reach_as_far_as_their_scope() -> Result<()> {
    let weir = common().await?;
    let repository = Repository::empty(weir, "scopes").await?;
    let (status, token) = weir
        .api("POST", "/v1/tokens", Some(json!({ "name": "reader", "scope": "read" })))
        .await?;
    ensure!(status == 201 || status == 200, "{status}: {token}");
    let secret = token["secret"].as_str().context("secret")?.to_owned();
    let ask = |method: &'static str, path: &str, body: &str| {
        let ask = e2e::http::Ask::get("weir", path)
            .header("authorization", &format!("Bearer {secret}"))
            .header("content-type", "application/json")
            .with(method, body.to_owned());
        e2e::http::send(weir.control, ask)
    };
    ensure!(ask("GET", "/v1/projects/scopes", "").await?.status == 200);
    ensure!(ask("POST", "/v1/projects", "{\"name\":\"forbidden\"}").await?.status == 403);
    ensure!(ask("DELETE", "/v1/projects/scopes", "").await?.status == 403);
    let unknown = e2e::http::Ask::get("weir", "/v1/projects").header("authorization", "Bearer weir_wrong");
    ensure!(e2e::http::send(weir.control, unknown).await?.status == 401);
    ensure!(
        e2e::http::send(weir.control, e2e::http::Ask::get("weir", "/v1/projects"))
            .await?
            .status
            == 401
    );
    repository.destroy().await
}

pub(crate) async fn own_domain_leads_to_the_app() -> Result<()> {
    let weir = common().await?;
    let repository = Repository::live_probe(weir, "domains").await?;
    ensure!(weir.get("shop.example.org", "/").await?.status == 404);
    repository.cli(&["domain", "add", "shop.example.org"]).await?.ok()?;
    weir.wait_for_page("shop.example.org", "/", "probe 1", Duration::from_secs(5))
        .await?;
    let folder = tempfile::tempdir()?;
    weir.cli(folder.path(), &["project", "create", "thief"]).await?.ok()?;
    let stolen = weir
        .cli(
            folder.path(),
            &["domain", "add", "shop.example.org", "--project", "thief"],
        )
        .await?;
    stolen.refused(&["shop.example.org"])?;
    repository.cli(&["domain", "remove", "shop.example.org"]).await?.ok()?;
    ensure!(
        weir.get("shop.example.org", "/").await?.status == 404,
        "a removed domain still answers"
    );
    weir.cli(folder.path(), &["destroy", "thief", "--yes"]).await?.ok()?;
    repository.destroy().await
}

pub(crate) async fn same_idempotency_key_creates_once() -> Result<()> {
    let weir = common().await?;
    let token = weir.token()?;
    let create = |name: &str| {
        let ask = e2e::http::Ask::get("weir", "/v1/projects")
            .header("authorization", &format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("idempotency-key", "4711")
            .with("POST", format!("{{\"name\":\"{name}\"}}"));
        e2e::http::send(weir.control, ask)
    };
    let (first, again) = (create("onlyonce").await?, create("onlyonce").await?);
    ensure!(
        first.status == 201 || first.status == 200,
        "{}: {}",
        first.status,
        first.body
    );
    ensure!(
        again.status == first.status && again.body == first.body,
        "{}: {}",
        again.status,
        again.body
    );
    let other = create("another").await?;
    ensure!(
        other.status == 409 || other.status == 422,
        "another request with the key: {}",
        other.status
    );
    weir.cli(&std::env::temp_dir(), &["destroy", "onlyonce", "--yes"])
        .await?
        .ok()?;
    Ok(())
}
