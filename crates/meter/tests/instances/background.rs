//! What an instance uses although nobody asked has a line of its own, and it can be slowed down.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_engine::{InstanceSpec, Meters};
use weir_model::guard::BackgroundWork;

use crate::fixture::{CPU_MILLI, Paying, TAIL_NANO, TinyLedger, cpu_us, facts, on_docker, on_sim, until};

const WORK: BackgroundWork = BackgroundWork {
    since_ms: 0,
    cpu_us: 0,
    slowed: false,
};

#[tokio::test(start_paused = true)]
async fn on_the_simulated_machine() {
    let (sim, spec) = on_sim().await;
    has_its_own_line_and_is_slowed_down(sim, spec).await;
}

#[tokio::test]
async fn on_docker_by_the_kernels_own_counter() {
    on_docker(|meters, _engine, spec, _installation| has_its_own_line_and_is_slowed_down(meters, spec)).await;
}

/// CPU time used in two seconds from now, as a share of what the instance may use.
async fn share(meters: &dyn Meters, spec: &InstanceSpec) -> f64 {
    let before_us = cpu_us(meters, spec).await;
    let began = tokio::time::Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used_us = cpu_us(meters, spec).await - before_us;
    let may_us = began.elapsed().as_secs_f64() * f64::from(CPU_MILLI) * 1_000.0;
    f64::from(u32::try_from(used_us).unwrap()) / may_us
}

async fn has_its_own_line_and_is_slowed_down(meters: Arc<dyn Meters>, spec: InstanceSpec) {
    let folder = tempfile::tempdir().unwrap();
    let ledger = TinyLedger::new(TAIL_NANO + 1_000_000);
    let id = spec.labels.instance;
    // The process before this one has slowed it down and died.
    meters.limit_cpu(id, CPU_MILLI / 100).await.unwrap();
    let paying = Paying::start(folder.path(), &ledger, Arc::clone(&meters), None);
    paying.runs.send_replace(vec![facts(&spec)]);
    until("its use is told", || async {
        paying.used.borrow().get(&id).is_some_and(|used_us| *used_us > 300_000)
    })
    .await;
    assert!(share(&*meters, &spec).await > 0.1);
    assert_eq!(ledger.background_us(), 0);

    paying.works.send_replace(BTreeMap::from([(id, WORK)]));
    until("its use has a line of its own", || async {
        ledger.background_us() > 300_000
    })
    .await;
    assert!(share(&*meters, &spec).await > 0.1, "it is told, not slowed down");

    let slowed = BackgroundWork { slowed: true, ..WORK };
    paying.works.send_replace(BTreeMap::from([(id, slowed)]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let little = share(&*meters, &spec).await;
    assert!(little < 0.05, "it still has {little} of its CPU time");

    paying.works.send_replace(BTreeMap::new());
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(share(&*meters, &spec).await > 0.1);

    // Nobody would free it after a clean end.
    paying.works.send_replace(BTreeMap::from([(id, slowed)]));
    tokio::time::sleep(Duration::from_millis(500)).await;
    paying.stop().await;
    assert!(share(&*meters, &spec).await > 0.1);
}
