//! What fails rejects the push, says why, and leaves what runs alone.

use anyhow::{Result, ensure};
use e2e::{Push, Repository};

use crate::stage::common;

pub(crate) async fn failing_build_rejects_the_push_and_leaves_the_old_release_serving() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "badbuild").await?;
    repository.write("requirements.txt", "this-package-does-not-exist-at-all==1.0\n")?;
    repository.set_version(2)?;
    repository.commit("A dependency that there is not").await?;
    repository
        .push("main")
        .await?
        .refused(&["this-package-does-not-exist-at-all"])?;
    repository.serves("/", "probe 1").await?;
    // The branch did not move, so the corrected commit is an ordinary push.
    repository.write("requirements.txt", "# nothing\n")?;
    repository.commit("Without it").await?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "probe 2").await?;
    repository.destroy().await
}

pub(crate) async fn failing_release_command_rejects_the_push_and_leaves_the_old_release_serving() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "badrelease").await?;
    repository.write(
        "Procfile",
        "web: python app.py\nrelease: echo 'no such table: users' && exit 4\n",
    )?;
    repository.set_version(2)?;
    repository.commit("A migration that fails").await?;
    repository.push("main").await?.refused(&["no such table: users", "4"])?;
    repository.serves("/", "probe 1").await?;
    repository.destroy().await
}

pub(crate) async fn failing_check_rejects_the_push_and_shows_the_log() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "badcheck").await?;
    repository.write(
        "Procfile",
        "web: python -c \"print('cannot find the configuration'); raise SystemExit(2)\"\n",
    )?;
    repository.set_version(2)?;
    repository.commit("Ends at once").await?;
    repository
        .push("main")
        .await?
        .refused(&["cannot find the configuration"])?;
    repository.serves("/", "probe 1").await?;
    let failed = repository.weir.containers("badcheck", "production", "web").await?;
    ensure!(
        failed.len() == 1,
        "instances of the failed release are left: {failed:?}"
    );
    repository.destroy().await
}

pub(crate) async fn app_that_does_not_listen_on_its_port_is_told_so() -> Result<()> {
    let repository = Repository::from_folder(common().await?, "badport", &e2e::probe()).await?;
    repository.write("Procfile", "web: PORT=4999 python app.py\n")?;
    repository.write("weir.toml", "[process.web.check]\nready_timeout = \"5s\"\n")?;
    repository.commit("Another port").await?;
    repository.push("main").await?.refused(&["PORT"])?;
    let answer = repository.page("/").await?;
    ensure!(
        answer.status == 404 || answer.status == 503,
        "an app that never was live answers {}",
        answer.status
    );
    repository.destroy().await
}

/// Pushes version 2 and, once that push has come so far, version 3. Gives what both said.
async fn push_twice(repository: &Repository<'_>, so_far: &str) -> Result<(Push, Push)> {
    repository.set_version(2)?;
    repository.commit("Version 2").await?;
    let first = repository.push("main");
    let later = async {
        repository.weir.wait_for_line(&repository.project, &[so_far]).await?;
        repository.set_version(3)?;
        repository.commit("Version 3").await?;
        repository.push("main").await
    };
    let (first, later) = tokio::join!(first, later);
    Ok((first?, later?))
}

pub(crate) async fn two_pushes_at_once_take_turns_and_are_both_told() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "twopushes").await?;
    // A build that takes its time.
    repository.write("weir.toml", "[build]\ncommand = \"sleep 4\"\n")?;
    let (first, later) = push_twice(&repository, "Building").await?;
    ensure!(first.accepted, "the first push was refused:\n{}", first.output);
    let first = first.says(&["Another push is waiting"])?;
    let later = later.says(&["Queued behind"])?;
    // git names the commit that a push begins from; that one is no longer the newest, so git
    // would refuse it after a build for nothing. Weir says so instead, and again it works.
    if !later.accepted {
        later.says(&["moved while this push waited"])?;
        repository.push("main").await?.ok()?;
    }
    repository.serves("/", "probe 3").await?;
    ensure!(
        !repository.weir.is_busy("twopushes").await?,
        "a task is left over:\n{}",
        first.output
    );
    repository.destroy().await
}

pub(crate) async fn newer_push_supersedes_one_that_is_still_starting() -> Result<()> {
    let repository = Repository::live_probe(common().await?, "supersede").await?;
    // Version 2 never answers; without the newer push it would be waited for.
    repository.write(
        "Procfile",
        "web: if grep -q '^VERSION = 2' app.py; then sleep 600; else exec python app.py; fi\n",
    )?;
    let (first, later) = push_twice(&repository, "Starting").await?;
    first.refused(&["supersede"])?;
    later.ok()?;
    repository.serves("/", "probe 3").await?;
    repository.destroy().await
}
