//! A burner with little money stands still before it has used more than was granted, and goes on
//! when there is more.

use std::sync::Arc;
use std::time::Duration;

use weir_engine::{InstanceSpec, Meters};

use crate::fixture::{
    CPU_US_PER_NANO, Paying, TAIL_NANO, TinyLedger, cpu_us, facts, is_frozen, on_docker, on_sim, until,
};

#[tokio::test(start_paused = true)]
async fn on_the_simulated_machine() {
    let (sim, spec) = on_sim().await;
    burns_and_stops(sim, spec).await;
}

#[tokio::test]
async fn on_docker_by_the_kernels_own_counter() {
    on_docker(|meters, _engine, spec, _installation| burns_and_stops(meters, spec)).await;
}

/// The counter of the kernel, priced, against what was granted.
async fn assert_covered(meters: &dyn Meters, spec: &InstanceSpec, ledger: &TinyLedger, since_us: u64) {
    let used_us = cpu_us(meters, spec).await - since_us;
    let granted_us = u64::try_from(ledger.granted()).unwrap() * CPU_US_PER_NANO;
    assert!(used_us <= granted_us, "used {used_us} us, granted for {granted_us} us");
    assert!(ledger.cpu_us() <= used_us, "more is charged than the kernel counted");
}

async fn burns_and_stops(meters: Arc<dyn Meters>, spec: InstanceSpec) {
    let folder = tempfile::tempdir().unwrap();
    // The tail and about three seconds.
    let ledger = TinyLedger::new(TAIL_NANO + 1_500 + 10);
    let since_us = cpu_us(&*meters, &spec).await;
    let paying = Paying::start(folder.path(), &ledger, Arc::clone(&meters), None);
    paying.runs.send_replace(vec![facts(&spec)]);
    until("it is paid for", || async { paying.pays_for(&spec) }).await;
    until("it stands still", || is_frozen(&*meters, &spec)).await;
    assert_covered(&*meters, &spec, &ledger, since_us).await;
    let frozen_us = cpu_us(&*meters, &spec).await;
    assert!(frozen_us - since_us > 500_000, "it ran for a while: {frozen_us} us");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(cpu_us(&*meters, &spec).await, frozen_us);

    // The cap is raised. Who thaws is control.
    ledger.raise(2 * TAIL_NANO);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(is_frozen(&*meters, &spec).await, "not this loop's decision");
    meters.thaw(spec.labels.instance).await.unwrap();
    until("it burns again", || async {
        cpu_us(&*meters, &spec).await > frozen_us + 300_000
    })
    .await;
    assert!(paying.pays_for(&spec));
    until("its use is told", || async { ledger.cpu_us() > frozen_us - since_us }).await;
    assert_covered(&*meters, &spec, &ledger, since_us).await;

    // A clean end lets it run.
    paying.stop().await;
    assert!(!is_frozen(&*meters, &spec).await);
}
