//! What every engine promises.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;
use weir_engine::{EngineError, EngineEvent, InstanceState, Session, SessionId};
use weir_model::log::LogStream;
use weir_model::{InstanceId, VolumeName};

use crate::fixture::{Fixture, Scenario, environment, on_docker, unique};

promises! {
    an_instance_runs_and_is_observed
    starting_twice_makes_one_instance
    the_exit_status_is_observed
    sigterm_ends_an_instance_within_its_grace
    an_instance_that_ignores_sigterm_is_killed_after_its_grace
    a_frozen_instance_is_thawed_frozen_and_stopped
    what_does_not_run_cannot_be_frozen
    removing_is_safe_to_repeat
    networks_come_and_go
    volumes_outlive_instances
    an_image_that_is_missing_is_refused_by_name
    output_is_told_and_goes_on_behind_an_instant
    commands_run_in_an_instance
    a_terminal_can_be_attached_before_the_first_byte
    a_watcher_is_told_to_resync_and_of_changes
    environments_are_observed_apart
    images_are_imported_listed_and_removed
}

async fn an_instance_runs_and_is_observed(fixture: Fixture) {
    let environment = environment();
    let network = fixture.engine.network_ensure(environment).await.unwrap();
    let spec = fixture.start(environment, &Scenario::Runs).await;
    let found = fixture.find(spec.labels.instance).await.unwrap();
    assert_eq!(found.labels, spec.labels);
    assert_eq!(found.state, InstanceState::Running);
    assert!(
        found.address.is_some() && found.address != Some(network.gateway),
        "{found:?}"
    );
    assert!(found.started_ms > 0);
}

async fn starting_twice_makes_one_instance(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Runs).await;
    let before = fixture.find(spec.labels.instance).await.unwrap();
    fixture.engine.instance_start(&spec).await.unwrap();
    fixture.engine.instance_create(&spec).await.unwrap();
    let all = fixture.engine.observe(None).await.unwrap();
    assert_eq!(all, [before]);

    fixture.engine.instance_stop(spec.labels.instance, 5).await.unwrap();
    fixture.engine.instance_start(&spec).await.unwrap();
    let state = fixture.state(&spec).await.unwrap();
    assert!(
        matches!(state, InstanceState::Exited { .. }),
        "one that has ended is left alone: {state:?}"
    );
}

async fn the_exit_status_is_observed(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Ends(3)).await;
    let state = fixture.wait_for_exit(&spec).await;
    assert_eq!(
        state,
        InstanceState::Exited {
            status: 3,
            out_of_memory: false
        }
    );
    assert_eq!(fixture.find(spec.labels.instance).await.unwrap().address, None);
}

async fn sigterm_ends_an_instance_within_its_grace(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Runs).await;
    fixture.engine.instance_stop(spec.labels.instance, 20).await.unwrap();
    assert_eq!(
        fixture.state(&spec).await,
        Some(InstanceState::Exited {
            status: 143,
            out_of_memory: false
        })
    );
    fixture.engine.instance_stop(spec.labels.instance, 20).await.unwrap();
}

async fn an_instance_that_ignores_sigterm_is_killed_after_its_grace(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::IgnoresSigterm).await;
    fixture.engine.instance_stop(spec.labels.instance, 1).await.unwrap();
    assert_eq!(
        fixture.state(&spec).await,
        Some(InstanceState::Exited {
            status: 137,
            out_of_memory: false
        })
    );
}

async fn a_frozen_instance_is_thawed_frozen_and_stopped(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Runs).await;
    let id = spec.labels.instance;
    for _twice in 0..2 {
        fixture.engine.instance_freeze(id).await.unwrap();
        assert_eq!(fixture.state(&spec).await, Some(InstanceState::Frozen));
    }
    assert!(fixture.find(id).await.unwrap().address.is_some());
    for _twice in 0..2 {
        fixture.engine.instance_thaw(id).await.unwrap();
        assert_eq!(fixture.state(&spec).await, Some(InstanceState::Running));
    }
    fixture.engine.instance_freeze(id).await.unwrap();
    fixture.engine.instance_stop(id, 10).await.unwrap();
    assert_eq!(
        fixture.state(&spec).await,
        Some(InstanceState::Exited {
            status: 143,
            out_of_memory: false
        })
    );
}

async fn what_does_not_run_cannot_be_frozen(fixture: Fixture) {
    let nobody = InstanceId::from_parts(1, unique());
    assert!(matches!(
        fixture.engine.instance_freeze(nobody).await,
        Err(EngineError::NotFound(_))
    ));
    assert!(matches!(
        fixture.engine.instance_thaw(nobody).await,
        Err(EngineError::NotFound(_))
    ));
    let spec = fixture.start(environment(), &Scenario::Ends(0)).await;
    fixture.wait_for_exit(&spec).await;
    assert!(matches!(
        fixture.engine.instance_freeze(spec.labels.instance).await,
        Err(EngineError::Refused(_))
    ));
    assert!(matches!(
        fixture.engine.instance_thaw(spec.labels.instance).await,
        Err(EngineError::Refused(_))
    ));
}

async fn removing_is_safe_to_repeat(fixture: Fixture) {
    let running = fixture.start(environment(), &Scenario::Runs).await;
    let frozen = fixture.start(environment(), &Scenario::Runs).await;
    fixture.engine.instance_freeze(frozen.labels.instance).await.unwrap();
    for spec in [&running, &frozen] {
        for _twice in 0..2 {
            fixture.engine.instance_remove(spec.labels.instance).await.unwrap();
            assert_eq!(fixture.state(spec).await, None);
        }
        fixture.engine.instance_stop(spec.labels.instance, 1).await.unwrap();
    }
}

async fn networks_come_and_go(fixture: Fixture) {
    let (first, second) = (environment(), environment());
    let network = fixture.engine.network_ensure(first).await.unwrap();
    assert_eq!(fixture.engine.network_ensure(first).await.unwrap(), network);
    let other = fixture.engine.network_ensure(second).await.unwrap();
    assert_ne!(network.gateway, other.gateway);
    let mut listed = fixture.engine.network_list().await.unwrap();
    listed.sort_by_key(|(id, _network)| *id);
    let mut expected = vec![(first, network), (second, other)];
    expected.sort_by_key(|(id, _network)| *id);
    assert_eq!(listed, expected);

    let spec = fixture.start(first, &Scenario::Runs).await;
    assert!(matches!(
        fixture.engine.network_remove(first).await,
        Err(EngineError::Refused(_))
    ));
    fixture.engine.instance_remove(spec.labels.instance).await.unwrap();
    for id in [first, second, first] {
        fixture.engine.network_remove(id).await.unwrap();
    }
    assert_eq!(fixture.engine.network_list().await.unwrap(), []);
}

async fn volumes_outlive_instances(fixture: Fixture) {
    let environment = environment();
    let volume = VolumeName::new("data").unwrap();
    let mut spec = fixture.spec(environment, &Scenario::Runs);
    spec.volumes.insert(volume.clone(), "/data".to_owned());
    fixture.engine.instance_start(&spec).await.unwrap();
    let listed = vec![(environment, spec.labels.app.clone(), volume.clone())];
    assert_eq!(fixture.engine.volume_list().await.unwrap(), listed);
    let in_use = fixture
        .engine
        .volume_remove(environment, &spec.labels.app, &volume)
        .await;
    assert!(matches!(in_use, Err(EngineError::Refused(_))));
    fixture.engine.instance_remove(spec.labels.instance).await.unwrap();
    assert_eq!(fixture.engine.volume_list().await.unwrap(), listed);
    for _twice in 0..2 {
        fixture
            .engine
            .volume_remove(environment, &spec.labels.app, &volume)
            .await
            .unwrap();
    }
    assert_eq!(fixture.engine.volume_list().await.unwrap(), []);
}

async fn an_image_that_is_missing_is_refused_by_name(fixture: Fixture) {
    let mut spec = fixture.spec(environment(), &Scenario::Runs);
    spec.image = "weir-engine-test/nobody:1".to_owned();
    let error = fixture.engine.instance_start(&spec).await.unwrap_err();
    assert!(
        matches!(error, EngineError::Refused(_)) && error.to_string().contains("nobody:1"),
        "{error:?}"
    );
    assert!(!error.retryable());
    assert_eq!(fixture.state(&spec).await, None);
    assert_eq!(
        fixture.engine.image_inspect("weir-engine-test/nobody:1").await,
        Ok(None)
    );
}

async fn output_is_told_and_goes_on_behind_an_instant(fixture: Fixture) {
    let lines: Vec<String> = (1..=5).map(|number| format!("line {number}")).collect();
    let spec = fixture.start(environment(), &Scenario::Writes(lines.clone())).await;
    fixture.pass(10_000);
    let read = |after_ns: i64| {
        let stream = fixture.engine.instance_output(spec.labels.instance, after_ns);
        stream.map(Result::unwrap).collect::<Vec<_>>()
    };
    let all = tokio::time::timeout(Duration::from_secs(20), read(0))
        .await
        .expect("it ends with the instance");
    let stdout: Vec<_> = all.iter().filter(|chunk| chunk.stream == LogStream::Stdout).collect();
    let texts: Vec<String> = stdout
        .iter()
        .map(|chunk| String::from_utf8_lossy(&chunk.text).into_owned())
        .collect();
    assert_eq!(texts, lines);
    assert!(
        all.iter()
            .any(|chunk| chunk.stream == LogStream::Stderr && chunk.text.as_ref() == b"oops")
    );
    assert!(all.windows(2).all(|pair| pair[0].at_ns <= pair[1].at_ns));

    let rest = read(stdout[2].at_ns).await;
    assert_eq!(rest.len(), 3, "{rest:?}");
    assert_eq!(rest[0].text.as_ref(), b"line 4");
}

/// Everything that a session writes, by stream.
pub(crate) async fn read_all(session: &mut Session) -> (String, String) {
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let reading = async {
        while let Some(piece) = session.output.next().await {
            let (stream, bytes) = piece.unwrap();
            if stream == LogStream::Stderr {
                stderr.extend(bytes)
            } else {
                stdout.extend(bytes)
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("the session ends");
    (
        String::from_utf8_lossy(&stdout).into_owned(),
        String::from_utf8_lossy(&stderr).into_owned(),
    )
}

fn words(command: &[&str]) -> Vec<String> {
    command.iter().map(|word| (*word).to_owned()).collect()
}

async fn commands_run_in_an_instance(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Runs).await;
    let id = spec.labels.instance;
    let script = words(&["/bin/sh", "-c", "echo one two; echo three >&2; exit 7"]);
    let mut session = fixture.engine.instance_exec(id, &script, false).await.unwrap();
    assert_eq!(
        read_all(&mut session).await,
        ("one two\n".to_owned(), "three\n".to_owned())
    );
    assert_eq!(fixture.engine.session_status(&session.id).await, Ok(7));

    let mut session = fixture.engine.instance_exec(id, &words(&["cat"]), false).await.unwrap();
    session.input.write_all(b"typed\n").await.unwrap();
    // Dropping the input closes it, which ends `cat`.
    session.input = Box::pin(tokio::io::sink());
    assert_eq!(read_all(&mut session).await.0, "typed\n");
    assert_eq!(fixture.engine.session_status(&session.id).await, Ok(0));

    let nobody = InstanceId::from_parts(1, unique());
    let error = fixture
        .engine
        .instance_exec(nobody, &words(&["true"]), false)
        .await
        .unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");
}

async fn a_terminal_can_be_attached_before_the_first_byte(fixture: Fixture) {
    let spec = fixture.spec(
        environment(),
        &Scenario::Writes(vec!["first".to_owned(), "second".to_owned()]),
    );
    fixture.engine.instance_create(&spec).await.unwrap();
    assert_eq!(fixture.state(&spec).await, Some(InstanceState::Created));
    let mut session = fixture.engine.instance_attach(spec.labels.instance).await.unwrap();
    assert_eq!(session.id, SessionId::Attach(spec.labels.instance));
    fixture.engine.instance_start(&spec).await.unwrap();
    fixture.pass(10_000);
    assert_eq!(
        read_all(&mut session).await,
        ("first\nsecond\n".to_owned(), "oops\n".to_owned())
    );
    assert_eq!(fixture.engine.session_status(&session.id).await, Ok(0));
}

async fn a_watcher_is_told_to_resync_and_of_changes(fixture: Fixture) {
    let environment = environment();
    let mut events = fixture.engine.watch();
    assert_eq!(events.next().await, Some(EngineEvent::Resync));
    let spec = fixture.start(environment, &Scenario::Ends(0)).await;
    fixture.wait_for_exit(&spec).await;
    let told = async {
        loop {
            if events.next().await == Some(EngineEvent::Changed(environment)) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), told)
        .await
        .expect("the change is told");
}

async fn environments_are_observed_apart(fixture: Fixture) {
    let (first, second) = (environment(), environment());
    let here = fixture.start(first, &Scenario::Runs).await;
    let there = fixture.start(second, &Scenario::Runs).await;
    let ids =
        |found: Vec<weir_engine::ObservedInstance>| found.into_iter().map(|it| it.labels.instance).collect::<Vec<_>>();
    assert_eq!(
        ids(fixture.engine.observe(Some(first)).await.unwrap()),
        [here.labels.instance]
    );
    assert_eq!(
        ids(fixture.engine.observe(Some(second)).await.unwrap()),
        [there.labels.instance]
    );
    assert_eq!(fixture.engine.observe(None).await.unwrap().len(), 2);
}

async fn images_are_imported_listed_and_removed(fixture: Fixture) {
    let name = format!("weir-engine-test/import-{:x}:1", unique());
    let labels = std::collections::BTreeMap::from([(name.replace(['/', ':'], "."), "a \"b\" $c".to_owned())]);
    let key = labels.keys().next().unwrap();
    // An archive without a file: two blocks of nothing.
    let empty = futures_util::stream::iter([Ok(vec![0_u8; 1024].into())]).boxed();
    let id = fixture.engine.image_import(&name, &labels, empty).await.unwrap();
    assert!(id.starts_with("sha256:"), "{id}");
    let facts = fixture.engine.image_inspect(&name).await.unwrap().unwrap();
    assert_eq!((&facts.id, &facts.labels), (&id, &labels));
    assert_eq!(
        fixture.engine.image_list(key).await.unwrap(),
        std::slice::from_ref(&facts)
    );
    assert_eq!(fixture.engine.image_inspect(&id).await.unwrap(), Some(facts));
    for _twice in 0..2 {
        fixture.engine.image_remove(&name).await.unwrap();
    }
    assert_eq!(fixture.engine.image_inspect(&name).await, Ok(None));
}
