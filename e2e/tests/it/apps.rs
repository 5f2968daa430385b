//! Every kind of source, from a push to a page.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::{Repository, docker, example};

use crate::stage::common;

pub(crate) async fn python_app_with_pip_dependencies_is_live_after_one_push() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "python", &example("python")).await?;
    let push = repository.push("main").await?.ok()?;
    let url = format!("http://python.localhost:{}", repository.weir.http.port());
    push.says(&["Python", "requirements.txt", &url])?;
    repository.serves("/", "").await?;
    repository.destroy().await
}

pub(crate) async fn node_app_with_npm_dependencies_is_live_after_one_push() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "node", &example("node")).await?;
    repository.push("main").await?.ok()?.says(&["Node", "package.json"])?;
    repository.serves("/", "").await?;
    repository.destroy().await
}

pub(crate) async fn static_site_is_live_after_one_push() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "static", &example("static")).await?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "<html").await?;
    let missing = repository.page("/no/such/page").await?;
    ensure!(missing.status == 404, "a missing page answers {}", missing.status);
    repository.destroy().await
}

pub(crate) async fn dockerfile_is_built_as_it_is() -> Result<()> {
    let base = docker::busybox_image().await?;
    let repository = Repository::empty(common().await?, "dockerfile").await?;
    repository.write(
        "Dockerfile",
        &format!(
            "FROM {base}\nCOPY www /www\nEXPOSE 8000\nCMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\n"
        ),
    )?;
    repository.write("www/index.html", "from a Dockerfile\n")?;
    repository.commit("First version").await?;
    repository.push("main").await?.ok()?.says(&["Dockerfile"])?;
    repository.serves("/", "from a Dockerfile").await?;
    repository.destroy().await
}

pub(crate) async fn procfile_runs_web_worker_and_release() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "procfile", &e2e::probe()).await?;
    repository.write(
        "Procfile",
        "web: python app.py\nworker: python -u -c \"import time; print('worker works'); time.sleep(1000000)\"\n\
         release: echo \"migrating for release $WEIR_RELEASE\"\n",
    )?;
    repository.commit("With a worker").await?;
    repository.push("main").await?.ok()?.says(&["migrating for release"])?;
    repository.serves("/", "probe 1").await?;
    let weir = repository.weir;
    // Processes other than web run one instance where the app says nothing else.
    repository.cli(&["scale", "worker=1"]).await?.ok()?;
    e2e::until("the worker writes its log", Duration::from_secs(20), || async {
        let logs = repository.cli(&["logs", "--process", "worker"]).await?.ok()?;
        Ok(logs.stdout.contains("worker works").then_some(()))
    })
    .await?;
    let workers = weir.containers("procfile", "production", "worker").await?;
    ensure!(workers.len() == 1, "{} workers run", workers.len());
    repository.destroy().await
}

pub(crate) async fn monorepo_deploys_every_app_under_its_own_host() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "mono", &example("monorepo")).await?;
    repository.push("main").await?.ok()?;
    let status = repository.weir.status("mono", "production").await?;
    let hosts: Vec<&str> = status["domains"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|d| d["host"].as_str())
        .collect();
    ensure!(
        hosts.len() >= 2,
        "a monorepo should have a host for each routed app, but has {hosts:?}"
    );
    for host in hosts {
        let answer = repository.weir.get(host, "/").await?;
        ensure!(
            answer.status == 200,
            "{host} answers {}: {}",
            answer.status,
            answer.body
        );
    }
    repository.destroy().await
}

/// The count that the probe keeps in its volume, after adding one.
async fn count(repository: &Repository<'_>) -> Result<u32> {
    let answer = repository.serves("/count", "count ").await?;
    Ok(answer.body.split_whitespace().last().unwrap_or("").parse()?)
}

pub(crate) async fn app_with_a_volume_keeps_its_data_over_releases_rollback_and_restart() -> Result<()> {
    let repository = Repository::live_probe_with_volume(common().await?, "volume").await?;
    ensure!(count(&repository).await? == 1);
    repository.push_version(2).await?.ok()?;
    repository.serves("/", "probe 2").await?;
    ensure!(count(&repository).await? == 2, "the count did not survive a release");
    repository.cli(&["rollback"]).await?.ok()?;
    repository.serves("/", "probe 1").await?;
    ensure!(count(&repository).await? == 3, "the count did not survive a rollback");
    repository.cli(&["restart"]).await?.ok()?;
    ensure!(count(&repository).await? == 4, "the count did not survive a restart");
    let refused = repository.cli(&["scale", "web=2"]).await?;
    ensure!(
        refused.status != 0,
        "two instances with a volume for one writer were allowed: {}",
        refused.all()
    );
    repository.destroy().await
}

pub(crate) async fn folder_without_git_is_deployed_by_the_cli() -> Result<()> {
    let weir = common().await?;
    weir.cli(&std::env::temp_dir(), &["project", "create", "upload"])
        .await?
        .ok()?;
    let folder = tempfile::tempdir()?;
    for file in ["app.py", "Procfile", "requirements.txt"] {
        std::fs::copy(e2e::probe().join(file), folder.path().join(file))?;
    }
    std::fs::write(folder.path().join(".gitignore"), "ignored.txt\n")?;
    std::fs::write(folder.path().join("ignored.txt"), "not for others")?;
    weir.cli(folder.path(), &["deploy", "--project", "upload"])
        .await?
        .ok()?;
    weir.wait_for_page("upload.localhost", "/", "probe 1", Duration::from_secs(5))
        .await?;
    let inside = weir
        .cli(folder.path(), &["run", "--project", "upload", "--", "ls", "-a"])
        .await?
        .ok()?;
    ensure!(
        inside.stdout.contains("app.py"),
        "the source is not there:\n{}",
        inside.all()
    );
    ensure!(
        !inside.stdout.contains("ignored.txt"),
        "a file that git ignores was uploaded"
    );
    weir.cli(folder.path(), &["destroy", "upload", "--yes"]).await?.ok()?;
    Ok(())
}

pub(crate) async fn names_of_the_same_environment_resolve_to_each_other() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "names", &e2e::probe()).await?;
    repository.write("Procfile", "web: python app.py\napi: PORT=9000 python app.py\n")?;
    repository.commit("Two processes").await?;
    repository.push("main").await?.ok()?;
    repository.cli(&["scale", "api=1"]).await?.ok()?;
    repository
        .weir
        .wait_for_page(
            "names.localhost",
            "/fetch?url=http://api.names:9000/",
            "200 probe 1",
            Duration::from_secs(20),
        )
        .await?;
    repository.destroy().await
}
