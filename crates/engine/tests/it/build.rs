//! Builds on the real engine.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt as _;
use weir_engine::docker::{DockerEngine, DockerOptions};
use weir_engine::{BuildEvent, Engine, ImageBuild};

use crate::fixture::{Fixture, labels_of, on_docker, on_docker_with, unique};

/// A build of a Dockerfile and a file that no other build has.
fn build(fixture: &Fixture, dockerfile: &str) -> ImageBuild {
    let mut tar = tar::Builder::new(Vec::new());
    let dockerfile = format!("FROM {}\nCOPY seed /seed\n{dockerfile}", fixture.image);
    for (name, text) in [("Dockerfile", dockerfile), ("seed", unique().to_string())] {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(u64::try_from(text.len()).unwrap());
        tar.append_data(&mut header, name, text.as_bytes()).unwrap();
    }
    let context = tar.into_inner().unwrap();
    let installation = fixture.image.split(['/', ':']).nth(1).unwrap().to_owned();
    ImageBuild {
        context: futures_util::stream::iter([Ok(context.into())]).boxed(),
        dockerfile: "Dockerfile".to_owned(),
        target: None,
        arguments: BTreeMap::from([("COLOUR".to_owned(), "deep blue".to_owned())]),
        labels: labels_of(&installation),
        tag: format!("weir-engine-test/{installation}:built"),
        timeout_s: 60,
    }
}

async fn events(engine: &DockerEngine, build: ImageBuild) -> Vec<BuildEvent> {
    let stream = engine.image_build(build).await.unwrap();
    tokio::time::timeout(Duration::from_secs(90), stream.collect())
        .await
        .expect("the build ends")
}

fn output(events: &[BuildEvent]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| match event {
            BuildEvent::Output(line) => Some(line.as_str()),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_build_tells_its_steps_its_output_and_its_image() {
    on_docker(|fixture, engine| async move {
        let dockerfile = "ARG COLOUR\nRUN echo one; echo two >&2; echo $COLOUR; printf three\n\
                          RUN --mount=type=cache,target=/cache echo x > /cache/x\nEXPOSE 8000\nCMD [\"sleep\", \"9\"]\n";
        let tag = build(&fixture, "").tag;
        let told = events(&engine, build(&fixture, dockerfile)).await;
        let mut lines = output(&told);
        lines.sort_unstable();
        assert_eq!(lines, ["deep blue", "one", "three", "two"]);
        let ran = |event: &BuildEvent| {
            matches!(event, BuildEvent::Step { name, cached: false } if name.contains("RUN echo one"))
        };
        assert!(told.iter().any(ran), "{told:#?}");
        let Some(BuildEvent::Done { image }) = told.last() else { panic!("{told:#?}") };

        let facts = engine.image_inspect(&tag).await.unwrap().unwrap();
        assert_eq!((&facts.id, facts.exposed_ports.as_slice(), facts.has_command), (image, [8000].as_slice(), true));
        assert!(facts.labels.contains_key("weir.test"));

        let mut again = build(&fixture, dockerfile);
        let mut other = build(&fixture, dockerfile);
        // The same context once more: everything is in the cache.
        let mut context = Vec::new();
        while let Some(chunk) = other.context.next().await {
            context.push(chunk.unwrap());
        }
        again.context = futures_util::stream::iter(context.clone().into_iter().map(Ok)).boxed();
        events(&engine, again).await;
        other.context = futures_util::stream::iter(context.into_iter().map(Ok)).boxed();
        let told = events(&engine, other).await;
        let cached = |event: &&BuildEvent| matches!(event, BuildEvent::Step { cached: true, .. });
        assert_eq!(told.iter().filter(cached).count(), 3, "{told:#?}");
        assert_eq!(output(&told), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn a_build_that_fails_says_why_and_leaves_no_image() {
    on_docker(|fixture, engine| async move {
        let build = build(&fixture, "RUN echo about to fail; exit 3\n");
        let tag = build.tag.clone();
        let told = events(&engine, build).await;
        assert_eq!(output(&told), ["about to fail"]);
        let Some(BuildEvent::Failed { message }) = told.last() else {
            panic!("{told:#?}")
        };
        assert!(message.contains("exit code: 3"), "{message}");
        assert_eq!(engine.image_inspect(&tag).await, Ok(None));

        let mut broken = self::build(&fixture, "");
        broken.dockerfile = "nowhere/Dockerfile".to_owned();
        let told = events(&engine, broken).await;
        assert!(matches!(told.last(), Some(BuildEvent::Failed { .. })), "{told:#?}");
    })
    .await;
}

#[tokio::test]
async fn a_build_that_takes_too_long_or_is_dropped_is_stopped() {
    on_docker(|fixture, engine| async move {
        let mark = format!("sleep 30{:05}", fastrand::u32(..100_000));
        let mut slow = build(&fixture, &format!("RUN {mark}\n"));
        slow.timeout_s = 3;
        let told = events(&engine, slow).await;
        let Some(BuildEvent::Failed { message }) = told.last() else {
            panic!("{told:#?}")
        };
        assert!(message.contains("longer than 3 seconds"), "{message}");
        gone(&mark).await;

        let mark = format!("sleep 31{:05}", fastrand::u32(..100_000));
        let mut stream = engine
            .image_build(build(&fixture, &format!("RUN echo begun; {mark}\n")))
            .await
            .unwrap();
        while stream.next().await != Some(BuildEvent::Output("begun".to_owned())) {}
        // The command is seen on the machine, or `gone` would prove nothing.
        for _attempt in 0..200 {
            if runs(&mark) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(runs(&mark));
        drop(stream);
        gone(&mark).await;
    })
    .await;
}

/// Whether a process of this command line runs on the machine.
fn runs(mark: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).replace('\0', " ").trim_end() == mark
    })
}

async fn gone(mark: &str) {
    for _attempt in 0..200 {
        if !runs(mark) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the build still runs");
}

#[tokio::test]
async fn builds_run_within_limits() {
    let mut options = DockerOptions::new(format!("{:08x}", fastrand::u32(..)));
    options.guard_default_bridge = false;
    options.build_memory_bytes = 256 << 20;
    on_docker_with(options, |fixture, engine| async move {
        if !std::fs::metadata("/sys/fs/cgroup").is_ok_and(|folder| !folder.permissions().readonly()) {
            eprintln!("left out: control groups cannot be changed");
            return;
        }
        let told = events(&engine, build(&fixture, "RUN cat /proc/self/cgroup\n")).await;
        let lines = output(&told);
        let group = lines
            .iter()
            .find_map(|line| line.split_once(":memory:").or_else(|| line.split_once("0::")))
            .map(|(_number, path)| std::path::Path::new(path).parent().unwrap().to_owned())
            .unwrap_or_else(|| panic!("{told:#?}"));
        let group = group.strip_prefix("/").unwrap();
        let limit = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].iter().find_map(|root| {
            let folder = std::path::Path::new(root).join(group);
            ["memory.limit_in_bytes", "memory.max"]
                .iter()
                .find_map(|file| std::fs::read_to_string(folder.join(file)).ok())
        });
        assert_eq!(
            limit.as_deref().map(str::trim),
            Some("268435456"),
            "{}",
            group.display()
        );

        let told = events(&engine, build(&fixture, "RUN tail /dev/zero\n")).await;
        let Some(BuildEvent::Failed { message }) = told.last() else {
            panic!("{told:#?}")
        };
        assert!(message.contains("137"), "it is ended when it takes too much: {message}");
        engine.build_cache_prune(1 << 40).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn the_commands_of_a_build_cannot_reach_the_machine() {
    let port = crate::docker::welcoming().await;
    let options = DockerOptions::new(format!("{:08x}", fastrand::u32(..)));
    on_docker_with(options, move |fixture, engine| async move {
        let dockerfile = format!("RUN nc -w 3 172.17.0.1 {port} 2>&1; nc -w 3 169.254.169.254 80 2>&1; true\n");
        let told = events(&engine, build(&fixture, &dockerfile)).await;
        let lines = output(&told);
        assert_eq!(lines.len(), 2, "{told:#?}");
        assert!(lines.iter().all(|line| line.contains("refused")), "{lines:?}");
    })
    .await;
}
