//! Meters and brakes: what both machines promise, and what only the kernel can show.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_engine::docker::{DockerMeters, DockerOptions};
use weir_engine::{Engine as _, EngineError, FreezePoint, InstanceSpec, InstanceState, Meters as _};
use weir_model::{InstanceId, VolumeName};

use crate::docker::shell;
use crate::fixture::{Fixture, Scenario, environment, on_docker, on_docker_with, unique};
use crate::world::World;

promises! {
    cpu_time_is_counted_and_stands_still_while_frozen
    what_does_not_run_has_no_meter
    freezing_and_thawing_are_safe_to_repeat
}

/// CPU time used so far, in microseconds.
async fn cpu_us(fixture: &Fixture, spec: &InstanceSpec) -> u64 {
    fixture
        .meters
        .usage(spec.labels.instance)
        .await
        .unwrap()
        .unwrap()
        .cpu_us
}

/// Waits until an instance has used more than that.
async fn burnt(fixture: &Fixture, spec: &InstanceSpec, than_us: u64) -> u64 {
    for _attempt in 0..1_000 {
        let now_us = cpu_us(fixture, spec).await;
        if now_us > than_us {
            return now_us;
        }
        pass(fixture).await;
    }
    panic!("it uses no CPU time");
}

async fn pass(fixture: &Fixture) {
    fixture.pass(50);
    tokio::time::sleep(Duration::from_millis(10)).await;
}

async fn cpu_time_is_counted_and_stands_still_while_frozen(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Burns).await;
    let id = spec.labels.instance;
    fixture.wait_for(&spec, |state| state == InstanceState::Running).await;
    let first = burnt(&fixture, &spec, 0).await;
    let second = burnt(&fixture, &spec, first).await;
    assert!(second > first);

    fixture.meters.freeze(id).await.unwrap();
    let frozen = fixture.meters.usage(id).await.unwrap().unwrap();
    assert!(frozen.frozen);
    for _moment in 0..10 {
        pass(&fixture).await;
    }
    assert_eq!(fixture.meters.usage(id).await.unwrap().unwrap(), frozen);
    assert_eq!(fixture.state(&spec).await, Some(InstanceState::Frozen));

    fixture.meters.thaw(id).await.unwrap();
    burnt(&fixture, &spec, frozen.cpu_us).await;
}

async fn what_does_not_run_has_no_meter(fixture: Fixture) {
    let unknown = InstanceId::from_parts(1, unique());
    assert_eq!(fixture.meters.usage(unknown).await, Ok(None));
    assert_eq!(fixture.meters.memory_bytes(unknown).await, Ok(None));
    let error = fixture.meters.freeze(unknown).await.unwrap_err();
    assert!(matches!(error, EngineError::NotFound(_)), "{error:?}");

    let spec = fixture.start(environment(), &Scenario::Runs).await;
    fixture.wait_for(&spec, |state| state == InstanceState::Running).await;
    assert!(fixture.meters.usage(spec.labels.instance).await.unwrap().is_some());
    let bytes = fixture
        .meters
        .memory_bytes(spec.labels.instance)
        .await
        .unwrap()
        .unwrap();
    assert!((1..=spec.memory_bytes).contains(&bytes), "{bytes}");
    fixture.engine.instance_stop(spec.labels.instance, 1).await.unwrap();
    assert_eq!(fixture.meters.usage(spec.labels.instance).await, Ok(None));
    assert_eq!(fixture.meters.memory_bytes(spec.labels.instance).await, Ok(None));
}

async fn freezing_and_thawing_are_safe_to_repeat(fixture: Fixture) {
    let spec = fixture.start(environment(), &Scenario::Runs).await;
    let id = spec.labels.instance;
    fixture.wait_for(&spec, |state| state == InstanceState::Running).await;
    for _time in 0..2 {
        fixture.meters.freeze(id).await.unwrap();
    }
    assert_eq!(fixture.state(&spec).await, Some(InstanceState::Frozen));
    for _time in 0..2 {
        fixture.meters.thaw(id).await.unwrap();
    }
    assert_eq!(fixture.state(&spec).await, Some(InstanceState::Running));
    fixture.meters.freeze(id).await.unwrap();
    fixture.engine.instance_stop(id, 5).await.unwrap();
    assert!(matches!(fixture.state(&spec).await, Some(InstanceState::Exited { .. })));
}

/// Meters whose engine does not answer, as when its daemon hangs.
fn without_engine(installation: &str) -> DockerMeters {
    DockerMeters::new(installation, Some("/nonexistent/docker.sock"))
}

/// Freezes an instance by the kernel alone.
async fn freeze_behind(fixture: &Fixture, installation: &str, id: InstanceId) {
    let point = fixture.meters.freeze_point(id).await.unwrap();
    without_engine(installation).freeze_at(&point).await.unwrap();
}

fn options() -> DockerOptions {
    let mut options = DockerOptions::new(format!("{:08x}", fastrand::u32(..)));
    options.guard_default_bridge = false;
    options
}

#[tokio::test]
async fn what_was_frozen_behind_the_engines_back_is_seen_thawed_and_stopped() {
    let options = options();
    let installation = options.installation.clone();
    on_docker_with(options, |fixture, engine| async move {
        let spec = fixture.start(environment(), &Scenario::Runs).await;
        let id = spec.labels.instance;
        freeze_behind(&fixture, &installation, id).await;
        assert_eq!(fixture.state(&spec).await, Some(InstanceState::Frozen));
        engine.instance_freeze(id).await.unwrap();
        engine.instance_thaw(id).await.unwrap();
        assert_eq!(shell(&engine, &spec, "echo alive").await, "alive\n");

        freeze_behind(&fixture, &installation, id).await;
        fixture.meters.thaw(id).await.unwrap();
        assert_eq!(fixture.state(&spec).await, Some(InstanceState::Running));

        freeze_behind(&fixture, &installation, id).await;
        engine.instance_stop(id, 20).await.unwrap();
        let state = fixture.state(&spec).await;
        let terminated = InstanceState::Exited {
            status: 143,
            out_of_memory: false,
        };
        assert_eq!(state, Some(terminated), "it heard SIGTERM");

        let gone = FreezePoint {
            instance: id,
            folder: "/sys/fs/cgroup/freezer/docker/gone".into(),
        };
        without_engine(&installation).freeze_at(&gone).await.unwrap();
        let foreign = FreezePoint {
            instance: id,
            folder: "/sys/fs/cgroup".into(),
        };
        without_engine(&installation).freeze_at(&foreign).await.unwrap_err();
    })
    .await;
}

#[tokio::test]
async fn what_is_sent_past_the_proxy_stops_at_its_allowance_and_goes_on_after_a_refill() {
    let mut options = options();
    options.meter_egress = true;
    let installation = options.installation.clone();
    on_docker_with(options, |fixture, engine| async move {
        let home = environment();
        let world = World::new("wc -c");
        let spec = fixture.start(home, &Scenario::Runs).await;
        let friend = fixture.start(home, &Scenario::Runs).await;
        let try_send = format!("head -c 100000 /dev/zero | nc -w 2 {} 7000", world.address);
        shell(&engine, &spec, &format!("{try_send}; true")).await;
        assert_eq!(world.bytes(), 0, "nothing was allowed yet");

        let allow = |total: u64| BTreeMap::from([(home, total)]);
        let nothing = BTreeMap::new();
        fixture.meters.egress(&allow(20_000)).await.unwrap();
        shell(&engine, &spec, &format!("({try_send} > /tmp/said &); true")).await;
        let first = world.settled(15_000).await;
        assert!((15_000..=20_000).contains(&first), "{first}");
        let told = fixture.meters.egress(&nothing).await.unwrap();
        assert_eq!(told, allow(first), "what is told is what left the machine");

        // Among themselves they send as before.
        let found = fixture.find(friend.labels.instance).await.unwrap().address.unwrap();
        shell(&engine, &friend, "(sleep 30 | nc -l -p 7000 > /tmp/got &) ; sleep 0.3").await;
        shell(
            &engine,
            &spec,
            &format!("head -c 50000 /dev/zero | nc -w 2 {found} 7000; true"),
        )
        .await;
        let got =
            "for i in $(seq 100); do test $(wc -c < /tmp/got) = 50000 && break; sleep 0.1; done; wc -c < /tmp/got";
        let got = shell(&engine, &friend, got).await;
        assert_eq!(got.trim(), "50000");
        assert_eq!(fixture.meters.egress(&nothing).await.unwrap(), told);

        // Somebody else's meters, as after a restart of the node: the total goes on, and so does
        // the connection.
        let other = DockerMeters::new(&installation, None);
        assert_eq!(other.egress(&nothing).await.unwrap(), told);
        other.egress(&allow(1_000_000)).await.unwrap();
        let answer = shell(
            &engine,
            &spec,
            "for i in $(seq 100); do test -s /tmp/said && break; sleep 0.1; done; cat /tmp/said",
        )
        .await;
        assert_eq!(answer.trim(), "100000", "the world got all of it");

        // What was not used is taken back.
        let used = other.egress(&allow(0)).await.unwrap();
        let second = world.bytes();
        assert_eq!(used, allow(second));
        shell(&engine, &spec, &format!("{try_send}; true")).await;
        assert_eq!(world.bytes(), second);
        for _time in 0..2 {
            other.egress_forget(home).await.unwrap();
        }
        assert_eq!(other.egress(&nothing).await.unwrap(), nothing);
        shell(&engine, &spec, &format!("{try_send}; true")).await;
        assert_eq!(world.bytes(), second, "what is not counted sends nothing");
    })
    .await;
}

#[tokio::test]
async fn the_size_of_volumes_is_told() {
    on_docker(|fixture, engine| async move {
        let home = environment();
        let mut spec = fixture.spec(home, &Scenario::Runs);
        spec.volumes
            .insert(VolumeName::new("data").unwrap(), "/data".to_owned());
        engine.instance_start(&spec).await.unwrap();
        shell(&engine, &spec, "head -c 300000 /dev/zero > /data/file").await;
        let usage = fixture.meters.volumes_usage(home).await.unwrap();
        assert_eq!(usage.len(), 1);
        let (app, volume, bytes) = &usage[0];
        assert_eq!((app.as_str(), volume.as_str()), ("shop", "data"));
        assert!((300_000..400_000).contains(bytes), "{bytes}");
        assert_eq!(fixture.meters.volumes_usage(environment()).await.unwrap(), []);
    })
    .await;
}
