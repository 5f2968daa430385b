//! What only the simulated engine can show: failures, lies, and that all of it follows from the
//! seed.

use std::time::{Duration, Instant};

use futures_util::{FutureExt as _, StreamExt as _};
use weir_engine::sim::{Behaviour, Faults, SimEngine};
use weir_engine::{Engine, EngineError, EngineEvent, InstanceState};

use crate::fixture::{Fixture, Scenario, environment};

fn sim() -> (SimEngine, weir_engine::InstanceSpec) {
    let sim = SimEngine::new(1);
    let mut spec = Fixture::sim().spec(environment(), &Scenario::Runs);
    spec.image = "app".to_owned();
    sim.behaviour("app", Behaviour::default());
    (sim, spec)
}

#[tokio::test]
async fn an_instance_becomes_ready_and_does_not_age_while_frozen() {
    let (sim, spec) = sim();
    let id = spec.labels.instance;
    sim.instance_start(&spec).await.unwrap();
    sim.advance(60);
    sim.instance_freeze(id).await.unwrap();
    sim.advance(10_000);
    sim.instance_thaw(id).await.unwrap();
    assert!(!sim.is_ready(id));
    sim.advance(40);
    assert!(sim.is_ready(id));
    sim.instance_freeze(id).await.unwrap();
    assert!(!sim.is_ready(id));
}

#[tokio::test]
async fn an_answer_may_be_lost_although_the_work_was_done() {
    let (sim, spec) = sim();
    sim.faults(Faults {
        answer_lost: 1.0,
        ..Faults::default()
    });
    assert!(matches!(
        sim.instance_start(&spec).await,
        Err(EngineError::Unreachable(_))
    ));
    assert_eq!(sim.truth()[0].state, InstanceState::Running);
    sim.faults(Faults {
        unreachable: 1.0,
        ..Faults::default()
    });
    assert!(sim.instance_remove(spec.labels.instance).await.is_err());
    assert_eq!(sim.truth().len(), 1);
}

#[tokio::test]
async fn a_start_may_lie() {
    let (sim, spec) = sim();
    sim.faults(Faults {
        start_dies: 1.0,
        ..Faults::default()
    });
    sim.instance_start(&spec).await.unwrap();
    assert_eq!(
        sim.truth()[0].state,
        InstanceState::Exited {
            status: 1,
            out_of_memory: false
        }
    );
    sim.remove_by_hand(spec.labels.instance);
    sim.faults(Faults {
        start_vanishes: 1.0,
        ..Faults::default()
    });
    sim.instance_start(&spec).await.unwrap();
    assert_eq!(sim.truth(), []);
    assert_eq!(sim.starts(spec.labels.instance), 2);
}

#[tokio::test]
async fn an_observation_may_be_old_and_an_event_may_be_lost() {
    let (sim, spec) = sim();
    assert_eq!(sim.observe(None).await.unwrap(), []);
    let mut events = sim.watch();
    assert_eq!(events.next().await, Some(EngineEvent::Resync));
    sim.faults(Faults {
        stale_observation: 1.0,
        event_lost: 1.0,
        ..Faults::default()
    });
    sim.instance_start(&spec).await.unwrap();
    assert_eq!(sim.observe(None).await.unwrap(), []);
    assert_eq!(events.next().now_or_never(), None);
    sim.faults(Faults::default());
    assert_eq!(sim.observe(None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn after_a_reboot_everything_has_ended_and_watchers_resync() {
    let (sim, spec) = sim();
    let mut events = sim.watch();
    events.next().await;
    sim.instance_start(&spec).await.unwrap();
    sim.reboot(5_000);
    assert!(matches!(sim.observe(None).await, Err(EngineError::Unreachable(_))));
    sim.advance(5_000);
    assert!(matches!(
        sim.observe(None).await.unwrap()[0].state,
        InstanceState::Exited { status: 255, .. }
    ));
    let told: Vec<_> = std::iter::from_fn(|| events.next().now_or_never().flatten()).collect();
    assert_eq!(told.last(), Some(&EngineEvent::Resync));
}

#[tokio::test]
async fn calls_wait_for_the_clock_where_it_is_held() {
    let (sim, spec) = sim();
    sim.hold_clock();
    sim.behaviour(
        "app",
        Behaviour {
            start_ms: 500,
            ignores_sigterm: true,
            ..Behaviour::default()
        },
    );
    let mut start = sim.instance_start(&spec);
    assert!((&mut start).now_or_never().is_none());
    sim.advance(499);
    assert!((&mut start).now_or_never().is_none());
    sim.advance(1);
    assert_eq!((&mut start).now_or_never(), Some(Ok(())));
    let mut stop = sim.instance_stop(spec.labels.instance, 3);
    assert!((&mut stop).now_or_never().is_none());
    assert_eq!(sim.next_change_in_ms(), Some(3_000));
    sim.advance(3_000);
    assert_eq!((&mut stop).now_or_never(), Some(Ok(())));
}

#[tokio::test]
async fn the_clock_can_be_that_of_the_runtime() {
    let (sim, spec) = sim();
    sim.follow_tokio();
    sim.behaviour(
        "app",
        Behaviour {
            start_ms: 30,
            ..Behaviour::default()
        },
    );
    let began = Instant::now();
    sim.instance_start(&spec).await.unwrap();
    assert!(began.elapsed() >= Duration::from_millis(29));
}

/// One random life of an engine, as a text.
async fn life(seed: u64) -> String {
    let sim = SimEngine::new(seed);
    sim.behaviour(
        "app",
        Behaviour {
            start_ms: 20,
            ..Behaviour::default()
        },
    );
    sim.behaviour("job", Behaviour::ends(50, 2));
    sim.faults(Faults {
        unreachable: 0.1,
        answer_lost: 0.1,
        start_refused: 0.05,
        start_dies: 0.1,
        start_vanishes: 0.05,
        stale_observation: 0.2,
        event_lost: 0.2,
        latency_ms: (0, 20),
    });
    let mut random = fastrand::Rng::with_seed(seed);
    let mut specs = Vec::new();
    for number in 0..5_u128 {
        let mut spec = Fixture::sim().spec(weir_model::EnvironmentId::from_parts(1, 1), &Scenario::Runs);
        spec.labels.instance = weir_model::InstanceId::from_parts(1, number);
        spec.image = if number % 2 == 0 { "app" } else { "job" }.to_owned();
        specs.push(spec);
    }
    let mut told = String::new();
    for _step in 0..200 {
        let spec = &specs[random.usize(..specs.len())];
        let id = spec.labels.instance;
        let result = match random.u8(..7) {
            0 | 1 => sim.instance_start(spec).await,
            2 => sim.instance_stop(id, 1).await,
            3 => sim.instance_remove(id).await,
            4 => sim.instance_freeze(id).await,
            5 => sim.instance_thaw(id).await,
            _ => {
                if random.u8(..20) == 0 {
                    sim.reboot(100);
                }
                sim.observe(None)
                    .await
                    .map(|found| told.push_str(&format!("{found:?}\n")))
            }
        };
        told.push_str(&format!("{} {result:?}\n", sim.now_ms()));
    }
    told
}

#[tokio::test]
async fn everything_follows_from_the_seed_and_is_cheap() {
    assert_eq!(life(7).await, life(7).await);
    assert_ne!(life(7).await, life(8).await);
    let began = Instant::now();
    for seed in 0..100 {
        life(seed).await;
    }
    println!("one call of the simulated engine takes {:?}", began.elapsed() / 20_000);
}
