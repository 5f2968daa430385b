//! Variables and secrets.

use anyhow::{Result, ensure};
use e2e::{Repository, docker};

use crate::stage::common;

async fn variable(repository: &Repository<'_>, name: &str) -> Result<Option<String>> {
    let environment = repository.serves("/environment", "").await?.json()?;
    Ok(environment[name].as_str().map(str::to_owned))
}

async fn release(repository: &Repository<'_>) -> Result<i64> {
    let status = repository.weir.status(&repository.project, "production").await?;
    Ok(status["environment"]["release"].as_i64().unwrap_or(0))
}

pub(crate) async fn setting_variables_makes_one_release_and_rolls_it_out() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "vars").await?;
    let before = release(&repository).await?;
    repository
        .cli(&["set", "GREETING=hello world", "LEVEL=3"])
        .await?
        .ok()?;
    ensure!(
        release(&repository).await? == before + 1,
        "two variables at once should make one release"
    );
    ensure!(variable(&repository, "GREETING").await?.as_deref() == Some("hello world"));
    ensure!(variable(&repository, "LEVEL").await?.as_deref() == Some("3"));
    repository.cli(&["unset", "LEVEL"]).await?.ok()?;
    ensure!(variable(&repository, "LEVEL").await?.is_none(), "LEVEL is still set");
    for name in [
        "PORT",
        "WEIR_PUBLIC_URL",
        "WEIR_PROJECT",
        "WEIR_ENVIRONMENT",
        "WEIR_APP",
        "WEIR_PROCESS",
        "WEIR_RELEASE",
        "WEIR_INSTANCE",
    ] {
        ensure!(
            variable(&repository, name).await?.is_some(),
            "{name} is not told to the app"
        );
    }
    repository.cli(&["set", "WEIR_RELEASE=7"]).await?.refused(&["WEIR_"])?;
    repository.destroy().await
}

pub(crate) async fn no_deploy_waits_for_the_next_release() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "nodeploy").await?;
    let before = release(&repository).await?;
    repository.cli(&["set", "LATER=yes", "--no-deploy"]).await?.ok()?;
    ensure!(release(&repository).await? == before, "--no-deploy made a release");
    ensure!(variable(&repository, "LATER").await?.is_none());
    repository.push_version(2).await?.ok()?;
    ensure!(variable(&repository, "LATER").await?.as_deref() == Some("yes"));
    repository.destroy().await
}

pub(crate) async fn build_variables_reach_the_build_and_only_those() -> Result<()> {
    let base = docker::busybox_image().await?;
    let repository = Repository::empty(common().await?, "buildvars").await?;
    repository.write(
        "Dockerfile",
        &format!(
            "FROM {base}\nARG SHOWN\nARG HIDDEN\nRUN mkdir -p /www && echo \"shown=$SHOWN hidden=$HIDDEN\" > /www/index.html\n\
             EXPOSE 8000\nCMD [\"httpd\", \"-f\", \"-p\", \"8000\", \"-h\", \"/www\"]\n"
        ),
    )?;
    repository.commit("First version").await?;
    repository
        .cli(&["set", "SHOWN=blue", "--build", "--no-deploy"])
        .await?
        .ok()?;
    repository.cli(&["set", "HIDDEN=red", "--no-deploy"]).await?.ok()?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "shown=blue hidden=").await?;
    ensure!(
        !repository.page("/").await?.body.contains("red"),
        "a build saw a variable that is not for builds"
    );
    repository.destroy().await
}

pub(crate) async fn secret_is_never_shown_again() -> Result<()> {
    const SECRET: &str = "s3cr3t-that-nobody-may-see-9137";
    let repository = Repository::live_probe(common().await?, "secrets").await?;
    let set = repository
        .cli(&["set", &format!("API_KEY={SECRET}"), "--secret"])
        .await?
        .ok()?;
    ensure!(!set.all().contains(SECRET), "`weir set` shows the secret");
    ensure!(
        variable(&repository, "API_KEY").await?.as_deref() == Some(SECRET),
        "the app does not get the secret"
    );
    let (_, list) = repository
        .weir
        .api("GET", "/v1/projects/secrets/environments/production/variables", None)
        .await?;
    ensure!(
        list.to_string().contains("API_KEY") && !list.to_string().contains(SECRET),
        "the API gives: {list}"
    );
    let shown = repository.cli(&["vars"]).await?.ok()?;
    ensure!(!shown.all().contains(SECRET), "`weir vars` shows the secret");
    ensure!(
        !repository.weir.log().contains(SECRET),
        "the log of Weir shows the secret"
    );
    // What is kept on disk: the store, its write-ahead log, everything.
    let mut folders = vec![repository.weir.data.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let bytes = std::fs::read(entry.path()).unwrap_or_default();
                let found = bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
                ensure!(!found, "{} holds the secret in the clear", entry.path().display());
            }
        }
    }
    repository.destroy().await
}
