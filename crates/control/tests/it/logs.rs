//! The logs: bounded, whole, searchable, and followed without a gap.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use weir_control::clock::SystemClock;
use weir_control::logs::{LogQuery, Logs};
use weir_engine::sim::{Behaviour, SimEngine, SimOutput};
use weir_engine::{Engine, InstanceLabels, InstanceRole, InstanceSpec};
use weir_model::log::{LogLine, LogStream};
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId};

const DEADLINE: Duration = Duration::from_secs(60);

fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

fn app() -> AppName {
    AppName::new("shop").unwrap()
}

fn open(folder: &Path, bytes: u64, engine: &SimEngine) -> Logs {
    Logs::open(
        folder.to_owned(),
        bytes,
        Arc::new(SystemClock),
        Arc::new(engine.clone()),
    )
}

fn line(at_ms: i64, process: &str, text: impl Into<String>) -> LogLine {
    LogLine {
        at_ms,
        app: app(),
        process: ProcessName::new(process).unwrap(),
        instance: Some(InstanceId::from_parts(1, 9)),
        stream: LogStream::Stdout,
        text: text.into(),
    }
}

fn lines(range: std::ops::Range<i64>) -> Vec<LogLine> {
    range
        .map(|number| line(number, "web", format!("line {number}")))
        .collect()
}

fn texts(lines: &[LogLine]) -> Vec<&str> {
    lines.iter().map(|line| line.text.as_str()).collect()
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            if entry.path().is_dir() {
                bytes_in(&entry.path())
            } else {
                entry.metadata().unwrap().len()
            }
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn old_lines_go_when_the_bound_is_reached() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 1 << 20, &SimEngine::new(1));
    for start in (0..60_000).step_by(1000) {
        logs.append(environment(), &lines(start..start + 1000)).await;
    }
    logs.flush().await;
    let bytes = bytes_in(folder.path());
    assert!((700_000..=1 << 20).contains(&bytes), "{bytes} bytes");
    let newest = logs
        .read(LogQuery {
            limit: 3,
            ..LogQuery::new(environment())
        })
        .await
        .unwrap();
    assert_eq!(texts(&newest), ["line 59997", "line 59998", "line 59999"]);
    let all = logs
        .read(LogQuery {
            limit: 100_000,
            ..LogQuery::new(environment())
        })
        .await
        .unwrap();
    assert_eq!(all.len(), 10_000);
    assert!(all.windows(2).all(|pair| pair[0].at_ms + 1 == pair[1].at_ms));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_line_is_left_out_and_writing_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SimEngine::new(1);
    let logs = open(folder.path(), 1 << 20, &engine);
    logs.append(environment(), &lines(0..3)).await;
    logs.flush().await;
    drop(logs);
    let path = folder
        .path()
        .join(environment().to_string())
        .join("shop")
        .join(format!("{:020}.log", 0));
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() - 4]).unwrap();
    let logs = open(folder.path(), 1 << 20, &engine);
    logs.append(environment(), &lines(3..5)).await;
    logs.flush().await;
    let read = logs.read(LogQuery::new(environment())).await.unwrap();
    assert_eq!(texts(&read), ["line 0", "line 1", "line 3", "line 4"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_lines_are_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let shop = folder.path().join(environment().to_string()).join("shop");
    std::fs::create_dir_all(&shop).unwrap();
    std::fs::write(
        shop.join(format!("{:020}.log", 0)),
        b"nonsense\n\0\xff\t\t\n1000000\t-\tweb\to\tgood\n\n",
    )
    .unwrap();
    let logs = open(folder.path(), 1 << 20, &SimEngine::new(1));
    let read = logs.read(LogQuery::new(environment())).await.unwrap();
    assert_eq!(texts(&read), ["good"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_found_by_time_process_and_text() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 1 << 20, &SimEngine::new(1));
    let mut given = lines(0..100);
    given.push(line(100, "worker", "An ERROR happened"));
    given.push(line(101, "build", "error: no such package"));
    given.push(line(102, "web", "fine"));
    logs.append(environment(), &given).await;
    logs.flush().await;
    let read = |query: LogQuery| {
        let logs = logs.clone();
        async move { logs.read(query).await.unwrap() }
    };
    let query = LogQuery::new(environment());
    let found = read(LogQuery {
        grep: Some("error".to_owned()),
        ..query.clone()
    })
    .await;
    assert_eq!(texts(&found), ["An ERROR happened"]);
    let found = read(LogQuery {
        build: true,
        ..query.clone()
    })
    .await;
    assert_eq!(texts(&found), ["error: no such package"]);
    let found = read(LogQuery {
        process: Some(ProcessName::new("worker").unwrap()),
        ..query.clone()
    })
    .await;
    assert_eq!(found.len(), 1);
    let found = read(LogQuery {
        since_ms: Some(97),
        until_ms: Some(100),
        ..query.clone()
    })
    .await;
    assert_eq!(texts(&found), ["line 97", "line 98", "line 99"]);
    assert!(
        read(LogQuery {
            app: Some(AppName::new("other").unwrap()),
            ..query.clone()
        })
        .await
        .is_empty()
    );
    assert!(read(LogQuery::new(EnvironmentId::from_parts(1, 2))).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn following_has_no_gap_between_old_and_new() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 4 << 20, &SimEngine::new(1));
    logs.append(environment(), &lines(0..500)).await;
    logs.flush().await;
    let writer = logs.clone();
    let writing = tokio::spawn(async move {
        for start in (500..20_000).step_by(100) {
            writer.append(environment(), &lines(start..start + 100)).await;
        }
    });
    let mut followed = Box::pin(logs.follow(LogQuery {
        limit: 50,
        ..LogQuery::new(environment())
    }));
    let mut last = None;
    while last != Some(19_999) {
        let line = tokio::time::timeout(DEADLINE, followed.next()).await.unwrap().unwrap();
        assert!(
            last.is_none_or(|last| last + 1 == line.at_ms),
            "{last:?} is followed by {}",
            line.at_ms
        );
        last = Some(line.at_ms);
    }
    writing.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_follower_is_told_how_many_lines_went() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 512 << 10, &SimEngine::new(1));
    logs.append(environment(), &lines(0..1)).await;
    logs.flush().await;
    let mut followed = Box::pin(logs.follow(LogQuery::new(environment())));
    assert_eq!(followed.next().await.unwrap().text, "line 0");
    for start in (1..60_001).step_by(1000) {
        logs.append(environment(), &lines(start..start + 1000)).await;
    }
    logs.flush().await;
    let first = tokio::time::timeout(DEADLINE, followed.next()).await.unwrap().unwrap();
    assert_eq!(first.stream, LogStream::Weir);
    let missed: i64 = first.text.split(' ').next().unwrap().parse().unwrap();
    let next = tokio::time::timeout(DEADLINE, followed.next()).await.unwrap().unwrap();
    assert_eq!(next.at_ms, missed + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_is_seen_by_followers_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 1 << 20, &SimEngine::new(1));
    let mut followed = Box::pin(logs.follow(LogQuery::new(environment())));
    let reader = tokio::spawn(async move { followed.next().await.unwrap().text });
    logs.append(environment(), &lines(7..8)).await;
    let text = tokio::time::timeout(Duration::from_secs(1), reader)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(text, "line 7");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_removed_environment() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 1 << 20, &SimEngine::new(1));
    logs.append(environment(), &lines(0..10)).await;
    let mut followed = Box::pin(logs.follow(LogQuery::new(environment())));
    logs.flush().await;
    assert!(followed.next().await.is_some());
    logs.remove_environment(environment()).await.unwrap();
    logs.append(environment(), &lines(10..20)).await;
    logs.flush().await;
    assert_eq!(bytes_in(folder.path()), 0);
    let end = tokio::time::timeout(DEADLINE, async { while followed.next().await.is_some() {} }).await;
    assert!(end.is_ok(), "following goes on although there is nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_could_not_be_written_are_counted_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let logs = open(folder.path(), 1 << 20, &SimEngine::new(1));
    logs.append(environment(), &lines(0..3)).await;
    logs.flush().await;
    let path = folder
        .path()
        .join(environment().to_string())
        .join("shop")
        .join(format!("{:020}.log", 0));
    // A folder in the place of the file: writing fails, even for root.
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    logs.append(environment(), &lines(3..10)).await;
    logs.flush().await;
    std::fs::remove_dir(&path).unwrap();
    logs.append(environment(), &lines(10..11)).await;
    logs.flush().await;
    let read = logs.read(LogQuery::new(environment())).await.unwrap();
    assert_eq!(
        texts(&read),
        ["7 lines could not be kept: the disk was full or failed", "line 10"]
    );
}

const IMAGE: &str = "shop:1";

fn labels(random: u128) -> InstanceLabels {
    InstanceLabels {
        instance: InstanceId::from_parts(1, random),
        role: InstanceRole::Instance,
        environment: environment(),
        app: app(),
        process: ProcessName::new("worker").unwrap(),
        release: ReleaseId::from_parts(1, 1),
        deployment: DeploymentId::from_parts(1, 1),
        port: None,
    }
}

async fn start(engine: &SimEngine, labels: &InstanceLabels) {
    let spec = InstanceSpec {
        labels: labels.clone(),
        image: IMAGE.to_owned(),
        command: None,
        variables: BTreeMap::new(),
        memory_bytes: 64 << 20,
        cpu_milli: 100,
        max_processes: 10,
        max_open_files: 100,
        volumes: BTreeMap::new(),
        network_names: Vec::new(),
        terminal: false,
        interactive: false,
    };
    engine.network_ensure(environment()).await.unwrap();
    engine.instance_start(&spec).await.unwrap();
}

fn output(count: u64, every_lines_per_ms: u64) -> Vec<SimOutput> {
    let line = |number: u64| SimOutput {
        after_ms: 1 + number / every_lines_per_ms,
        stream: LogStream::Stdout,
        text: format!("line {number} of a flood"),
    };
    (0..count).map(line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_a_million_lines_stays_bounded_and_says_what_was_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SimEngine::new(3);
    let mut behaviour = Behaviour::ends(12_000, 0);
    behaviour.output = output(1_000_000, 100);
    engine.behaviour(IMAGE, behaviour);
    let logs = open(folder.path(), 4 << 20, &engine);
    let labels = labels(1);
    start(&engine, &labels).await;
    engine.advance(13_000);
    logs.watch_instance(&labels);
    let query = LogQuery {
        limit: 1,
        ..LogQuery::new(environment())
    };
    let until = tokio::time::Instant::now() + DEADLINE;
    loop {
        logs.flush().await;
        let last = logs.read(query.clone()).await.unwrap();
        // The flood ends at ten seconds and one of the simulated clock's own.
        if last.first().is_some_and(|line| line.at_ms >= 10_900) && bytes_in(folder.path()) > 0 {
            break;
        }
        assert!(tokio::time::Instant::now() < until, "the flood was not read: {last:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    logs.finish_instance(labels.instance).await;
    let bytes = bytes_in(folder.path());
    assert!(bytes <= 4 << 20, "{bytes} bytes");
    let told = LogQuery {
        grep: Some("lines dropped".to_owned()),
        ..LogQuery::new(environment())
    };
    let told = logs.read(told).await.unwrap();
    assert!(told.len() >= 5, "{told:?}");
    assert!(told.iter().all(|line| line.stream == LogStream::Weir));
    let kept = logs
        .read(LogQuery {
            limit: 10_000,
            ..LogQuery::new(environment())
        })
        .await
        .unwrap();
    assert!(kept.len() == 10_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_goes_on_behind_the_last_line_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let engine = SimEngine::new(4);
    let behaviour = Behaviour {
        output: output(3000, 1),
        ..Behaviour::default()
    };
    engine.behaviour(IMAGE, behaviour);
    let labels = labels(2);
    start(&engine, &labels).await;
    engine.advance(1000);
    let first = open(folder.path(), 1 << 20, &engine);
    let stop = CancellationToken::new();
    let collecting = {
        let (logs, stop) = (first.clone(), stop.clone());
        tokio::spawn(async move { logs.collect(stop).await })
    };
    wait_for_line(&first, "line 99").await;
    first.note(&labels, "a note of Weir itself").await;
    stop.cancel();
    collecting.await.unwrap();
    // What the first one still reads must not be told twice, so it is asked last.
    engine.advance(1);
    let second_folder = tempfile::tempdir().unwrap();
    first.flush().await;
    copy(folder.path(), second_folder.path());
    let second = open(second_folder.path(), 1 << 20, &engine);
    let stop = CancellationToken::new();
    let collecting = {
        let (logs, stop) = (second.clone(), stop.clone());
        tokio::spawn(async move { logs.collect(stop).await })
    };
    engine.advance(1000);
    wait_for_line(&second, "line 1900 ").await;
    let all = second
        .read(LogQuery {
            limit: 10_000,
            ..LogQuery::new(environment())
        })
        .await
        .unwrap();
    let numbers: Vec<u64> = all
        .iter()
        .filter(|line| line.stream == LogStream::Stdout)
        .map(|line| line.text.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(
        numbers.iter().copied().eq(0..numbers.len() as u64),
        "lines are missing or come twice: {numbers:?}"
    );
    stop.cancel();
    collecting.await.unwrap();
}

async fn wait_for_line(logs: &Logs, text: &str) {
    let until = tokio::time::Instant::now() + DEADLINE;
    let query = LogQuery {
        grep: Some(text.to_owned()),
        ..LogQuery::new(environment())
    };
    while logs.read(query.clone()).await.unwrap().is_empty() {
        assert!(tokio::time::Instant::now() < until, "`{text}` did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
