//! Processes and containers die at the worst moments, and nothing is lost.

use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use e2e::load::{Load, LoadOptions};
use e2e::processes::Part;
use e2e::{Repository, Weir, docker, leftovers, until};

use crate::stage::shaky;

/// A load of which the websockets are left out: they outlive nothing that kills their path.
fn quick_load(repository: &Repository<'_>) -> Load {
    Load::start(LoadOptions {
        websockets: 0,
        ..LoadOptions::usual(repository.weir.http, &repository.host(), "/")
    })
}

/// Fails unless exactly one instance of the web process runs, and none of another release.
async fn one_instance_is_left(repository: &Repository<'_>) -> Result<()> {
    until(
        "one instance serves and the others are frozen or gone",
        Duration::from_secs(90),
        || async {
            let ids = repository
                .weir
                .containers(&repository.project, "production", "web")
                .await?;
            let mut running = 0;
            for id in &ids {
                let state = docker::docker(&["inspect", "--format", "{{.State.Status}}", id])
                    .await
                    .unwrap_or_default();
                running += usize::from(state.trim() == "running");
            }
            Ok((running == 1).then_some(()))
        },
    )
    .await
}

pub(crate) async fn control_killed_during_a_build_goes_on_or_fails_cleanly() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe(weir, "killbuild").await?;
    repository.write("requirements.txt", "# changed, so that it is built anew\n")?;
    repository.write("Procfile", "web: python app.py\n")?;
    repository.set_version(2)?;
    repository.commit("Version 2").await?;
    let load = quick_load(&repository);
    let push = repository.push("main");
    let kill = async {
        weir.wait_for_line("killbuild", &["Building"]).await?;
        let old = weir.kill(Part::Control)?;
        weir.wait_for_new(Part::Control, old).await?;
        weir.wait_until_healthy().await
    };
    let (push, killed) = tokio::join!(push, kill);
    killed?;
    let push = push?;
    ensure!(
        !push.accepted,
        "a push whose server died was accepted:\n{}",
        push.output
    );
    repository.serves("/", "probe").await?;
    // Nothing is stuck: the task ended, and the same push works now.
    until("every task has ended", Duration::from_secs(60), || async {
        Ok((!weir.is_busy("killbuild").await?).then_some(()))
    })
    .await?;
    repository.set_version(3)?;
    repository.commit("Version 3").await?;
    repository.push("main").await?.ok()?;
    repository.serves("/", "probe 3").await?;
    let report = load.finish().await;
    ensure!(report.failed() == 0, "{}: {:#?}", report.summary(), report.wrong);
    one_instance_is_left(&repository).await?;
    repository.destroy().await
}

pub(crate) async fn control_killed_during_a_switch_loses_nothing() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe(weir, "killswitch").await?;
    let load = quick_load(&repository);
    // At several moments after the release is made: starting, switching, just after.
    for (version, delay_ms) in [(2, 0), (3, 300), (4, 700)] {
        repository.set_version(version)?;
        repository.commit(&format!("Version {version}")).await?;
        let push = repository.push("main");
        let kill = async {
            weir.wait_for_line("killswitch", &["Starting", "Switching"]).await?;
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            let old = weir.kill(Part::Control)?;
            weir.wait_for_new(Part::Control, old).await?;
            weir.wait_until_healthy().await
        };
        let (push, killed) = tokio::join!(push, kill);
        killed?;
        let _cut_or_not = push?;
        // What was written down is carried on: the new release goes live, or it failed cleanly
        // and the one before serves.
        let last = std::cell::RefCell::default();
        until("the deployment has ended", Duration::from_secs(90), || async {
            let status = weir.status("killswitch", "production").await?;
            let ended = status["deployment"].is_null() && status["health"] == "running";
            last.replace(status);
            Ok(ended.then_some(()))
        })
        .await
        .with_context(|| format!("the last status is {:#}", last.borrow()))?;
        repository.serves("/", "probe").await?;
        one_instance_is_left(&repository).await?;
    }
    repository.push_version(9).await?.ok()?;
    repository.serves("/", "probe 9").await?;
    let report = load.finish().await;
    println!("control killed in three switches: {}", report.summary());
    ensure!(report.failed() == 0, "{}: {:#?}", report.summary(), report.wrong);
    repository.destroy().await
}

pub(crate) async fn node_killed_is_back_within_a_second() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe(weir, "killnode").await?;
    repository.serves("/", "probe 1").await?;
    weir.kill(Part::Node)?;
    let begin = Instant::now();
    weir.wait_for_page("killnode.localhost", "/", "probe 1", Duration::from_secs(10))
        .await?;
    let away = begin.elapsed();
    println!("node killed: served again after {away:.0?}");
    ensure!(away < Duration::from_secs(1), "it took {away:?}");
    // Without control, from the snapshot on disk alone.
    let control = weir.kill(Part::Control)?;
    weir.kill(Part::Node)?;
    weir.wait_for_page("killnode.localhost", "/", "probe 1", Duration::from_secs(10))
        .await?;
    weir.wait_for_new(Part::Control, control).await?;
    weir.wait_until_healthy().await?;
    repository.destroy().await
}

pub(crate) async fn container_removed_by_hand_comes_back() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe(weir, "removed").await?;
    let ids = weir.containers("removed", "production", "web").await?;
    for id in &ids {
        docker::docker(&["rm", "--force", id]).await?;
    }
    weir.wait_for_page("removed.localhost", "/", "probe 1", Duration::from_secs(30))
        .await?;
    let new = weir.containers("removed", "production", "web").await?;
    ensure!(!new.is_empty() && new != ids, "no new container: {new:?}");
    repository.destroy().await
}

pub(crate) async fn platform_stopped_and_started_adopts_the_apps() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe(weir, "adopted").await?;
    let before = weir.containers("adopted", "production", "web").await?;
    weir.stop().await?;
    let running = docker::docker(&["inspect", "--format", "{{.State.Running}}", &before[0]]).await?;
    ensure!(running.trim() == "true", "stopping the platform stopped the app");
    weir.start_again().await?;
    weir.wait_for_page("adopted.localhost", "/", "probe 1", Duration::from_secs(15))
        .await?;
    weir.cut_power().await?;
    weir.start_again().await?;
    weir.wait_for_page("adopted.localhost", "/", "probe 1", Duration::from_secs(15))
        .await?;
    let after = weir.containers("adopted", "production", "web").await?;
    ensure!(
        before == after,
        "the app was not adopted: {before:?} before, {after:?} after"
    );
    repository.destroy().await
}

/// Fails unless nothing of the environment is left in Docker and nothing of the project's name
/// in the data folder.
async fn nothing_is_left(weir: &Weir, project: &str, environment: &str) -> Result<()> {
    let label = format!("weir.environment={environment}");
    for (what, left) in [
        ("containers", docker::containers(&label).await?),
        ("networks", docker::networks(&label).await?),
        ("volumes", docker::volumes(&label).await?),
        ("images", docker::images(&label).await?),
    ] {
        ensure!(left.is_empty(), "{what} of {project} are left: {left:?}");
    }
    let mut folders = vec![weir.data.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            ensure!(
                !name.contains(project) && !name.contains(environment),
                "{} is left",
                entry.path().display()
            );
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    let page = weir.get(&format!("{project}.localhost"), "/").await?;
    ensure!(page.status == 404, "its host still answers {}", page.status);
    Ok(())
}

async fn environment_id(weir: &Weir, project: &str) -> Result<String> {
    Ok(weir.status(project, "production").await?["environment"]["id"]
        .as_str()
        .unwrap_or("")
        .to_owned())
}

pub(crate) async fn destroy_leaves_nothing() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe_with_volume(weir, "gone").await?;
    repository.serves("/count", "count 1").await?;
    repository.push_version(2).await?.ok()?;
    let environment = environment_id(weir, "gone").await?;
    ensure!(!environment.is_empty());
    repository
        .cli(&["destroy", "gone"])
        .await?
        .refused(&["--confirm gone"])?;
    repository.serves("/", "probe 2").await?;
    repository.destroy().await?;
    nothing_is_left(weir, "gone", &environment).await
}

pub(crate) async fn power_cut_in_a_destroy_leaves_nothing() -> Result<()> {
    let (weir, _guard) = shaky().await?;
    let repository = Repository::live_probe_with_volume(weir, "halfgone").await?;
    let environment = environment_id(weir, "halfgone").await?;
    let (status, answer) = weir.api("DELETE", "/v1/projects/halfgone", None).await?;
    ensure!(status == 202 || status == 200, "{status}: {answer}");
    weir.kill(Part::Control)?;
    weir.cut_power().await?;
    weir.start_again().await?;
    until("the destroy is carried on", Duration::from_secs(90), || async {
        nothing_is_left(weir, "halfgone", &environment).await.map(Some)
    })
    .await?;
    drop(repository);
    let again = Repository::live_probe(weir, "halfgone").await?;
    again.destroy().await
}

pub(crate) async fn two_weirs_run_side_by_side() -> Result<()> {
    let first = crate::stage::common().await?;
    let (second, _guard) = shaky().await?;
    let one = Repository::live_probe(first, "sameproject").await?;
    let two = Repository::from_folder(second, "sameproject", &e2e::probe()).await?;
    two.push_version(2).await?.ok()?;
    one.serves("/", "probe 1").await?;
    two.serves("/", "probe 2").await?;
    ensure!(first.installation().await? != second.installation().await?);
    two.destroy().await?;
    one.serves("/", "probe 1").await?;
    one.destroy().await
}

/// A file system of its own for a data folder; gone when dropped.
struct SmallDisk(PathBuf);

impl SmallDisk {
    async fn new(mib: u32) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!(
            "{}disk-{}-000000",
            leftovers::FOLDER_PREFIX,
            std::process::id()
        ));
        std::fs::create_dir_all(&folder)?;
        let size = format!("size={mib}m");
        let status = tokio::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(&folder)
            .status()
            .await?;
        ensure!(
            status.success(),
            "a small file system could not be mounted (this test needs root)"
        );
        Ok(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = std::fs::remove_dir(&self.0);
    }
}

pub(crate) async fn full_disk_is_said_and_survived() -> Result<()> {
    let disk = SmallDisk::new(24).await?;
    let weir = Weir::start_in(disk.0.clone(), e2e::weir::binary()?).await?;
    let played = play_on_full_disk(&weir).await;
    let log = weir.log_tail(20);
    weir.remove().await?;
    played.with_context(|| format!("the log of Weir ends with:\n{log}"))
}

async fn play_on_full_disk(weir: &Weir) -> Result<()> {
    let repository = Repository::live_probe(weir, "fulldisk").await?;
    let filler = weir.data.join("filler");
    let mut file = std::fs::File::create(&filler)?;
    while file.write_all(&[0; 4096]).is_ok() {}
    // The space is free again only when nobody has the file open.
    drop(file);
    // Reads go on, and nothing that runs is touched.
    repository.serves("/", "probe 1").await?;
    repository.cli(&["status"]).await?.ok()?;
    let push = repository.push_version(2).await?;
    if !push.accepted {
        let words = push.output.to_lowercase();
        ensure!(
            words.contains("space") || words.contains("full") || words.contains("room"),
            "not said:\n{}",
            push.output
        );
    }
    repository.serves("/", "probe").await?;
    std::fs::remove_file(&filler)?;
    until("it works again once there is room", Duration::from_secs(60), || async {
        repository.push_version(3).await?.ok()?;
        Ok(Some(()))
    })
    .await?;
    repository.serves("/", "probe 3").await?;
    repository.destroy().await
}
