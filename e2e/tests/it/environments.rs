//! Branches and environments.

use anyhow::{Result, ensure};
use e2e::Repository;

use crate::stage::common;

pub(crate) async fn branch_without_an_environment_is_accepted_with_a_hint() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "branches").await?;
    repository.git(&["checkout", "--quiet", "-b", "idea"]).await?.ok()?;
    repository.set_version(9)?;
    repository.commit("An idea").await?;
    repository
        .push("idea")
        .await?
        .ok()?
        .says(&["weir env create", "--branch idea"])?;
    repository.serves("/", "probe 1").await?;
    repository.destroy().await
}

pub(crate) async fn staging_has_its_own_url_and_variables_and_is_promoted_without_a_build() -> Result<()> {
    let weir = common().await?;
    let repository = Repository::live_probe(weir, "stages").await?;
    repository.cli(&["set", "WHERE=production"]).await?.ok()?;
    repository
        .cli(&["env", "create", "staging", "--branch", "staging"])
        .await?
        .ok()?;
    repository
        .cli(&["set", "WHERE=staging", "--env", "staging", "--no-deploy"])
        .await?
        .ok()?;
    repository.git(&["checkout", "--quiet", "-b", "staging"]).await?.ok()?;
    repository.set_version(2)?;
    repository.commit("Version 2").await?;
    repository
        .push("staging")
        .await?
        .ok()?
        .says(&["stages-staging.localhost"])?;
    let page = weir.get("stages-staging.localhost", "/").await?;
    ensure!(
        page.body.contains("probe 2"),
        "staging answers {}: {}",
        page.status,
        page.body
    );
    let environment = weir.get("stages-staging.localhost", "/environment").await?.json()?;
    ensure!(environment["WHERE"] == "staging" && environment["WEIR_ENVIRONMENT"] == "staging");
    repository.serves("/", "probe 1").await?;

    let promotion = repository.cli(&["promote", "staging", "production"]).await?.ok()?;
    repository.serves("/", "probe 2").await?;
    let environment = repository.page("/environment").await?.json()?;
    ensure!(
        environment["WHERE"] == "production",
        "the variables were promoted too: {}",
        promotion.all()
    );
    let image = |environment: &'static str| async move {
        let path = format!("/v1/projects/stages/environments/{environment}/releases");
        let (_, releases) = weir.api("GET", &path, None).await?;
        let list = releases
            .as_array()
            .or_else(|| releases["releases"].as_array())
            .cloned()
            .unwrap_or_default();
        let live = list.into_iter().find(|release| release["live"] == true);
        anyhow::Ok(live.map(|release| release["images"].to_string()))
    };
    let (staging, production) = (image("staging").await?, image("production").await?);
    ensure!(
        staging.is_some() && staging == production,
        "not the same image: {staging:?} and {production:?}"
    );
    repository.destroy().await
}
