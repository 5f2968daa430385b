//! What nobody renews is frozen, although who paid was killed without a word.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use weir_engine::docker::DockerMeters;
use weir_engine::{Engine as _, InstanceSpec, InstanceState, Meters};
use weir_meter::deadman;
use weir_meter::instances::Deadman;
use weir_model::route::MeteredInstance;

use crate::fixture::{Paying, TAIL_NANO, TinyLedger, cpu_us, facts, is_frozen, on_docker, on_sim, until};

/// How the process that pays is told what to do.
const ORDERS: &str = "WEIR_TEST_PAYING_PROCESS";

#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Orders {
    installation: String,
    folder: PathBuf,
    facts: MeteredInstance,
}

fn deadman_in(folder: &Path) -> Deadman {
    Deadman {
        socket: folder.join("deadman.sock"),
        frozen_file: folder.join("frozen.json"),
    }
}

/// Not a test: the process that is killed.
#[tokio::test]
async fn paying_process() {
    let Ok(orders) = std::env::var(ORDERS) else { return };
    let orders: Orders = serde_json::from_str(&orders).unwrap();
    let meters = Arc::new(DockerMeters::new(orders.installation, None));
    let ledger = TinyLedger::new(100 * TAIL_NANO);
    let paying = Paying::start(&orders.folder, &ledger, meters, Some(deadman_in(&orders.folder)));
    paying.runs.send_replace(vec![orders.facts]);
    let mut paid = paying.paid.clone();
    paid.wait_for(|paid| !paid.is_empty()).await.unwrap();
    std::fs::write(orders.folder.join("pays"), "").unwrap();
    // Until the test is gone, also where it failed before it killed this process.
    let gone = tokio::task::spawn_blocking(|| std::io::read_to_string(std::io::stdin()));
    let _ = gone.await;
}

fn spawn(orders: &Orders) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "deadman::paying_process"])
        .env(ORDERS, serde_json::to_string(orders).unwrap())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

#[tokio::test]
async fn killed_while_it_pays_and_what_it_paid_for_stands_still_and_is_woken_by_the_next() {
    on_docker(|meters, engine, spec, installation| async move {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path();
        let stop = CancellationToken::new();
        let deadman = deadman_in(home);
        let watching = tokio::spawn({
            let (deadman, meters, stop) = (deadman.clone(), Arc::clone(&meters), stop.clone());
            async move { deadman::watch(&deadman.socket, &deadman.frozen_file, meters, stop).await }
        });
        let orders = Orders {
            installation,
            folder: home.to_owned(),
            facts: facts(&spec),
        };
        let mut process = spawn(&orders);
        until("it is paid for", || async { home.join("pays").exists() }).await;
        tokio::time::sleep(deadman::DEADLINE + deadman::RENEW).await;
        assert!(!is_frozen(&*meters, &spec).await, "it is renewed");

        process.kill().unwrap();
        process.wait().unwrap();
        let (killed, burnt_us) = (Instant::now(), cpu_us(&*meters, &spec).await);
        until("it stands still", || is_frozen(&*meters, &spec)).await;
        let (took, used_us) = (killed.elapsed(), cpu_us(&*meters, &spec).await - burnt_us);
        assert!(took < Duration::from_millis(4_000), "{took:?}");
        // What its tail holds for the way to a standstill: four seconds at its limit.
        assert!(used_us < 4 * 500_000, "{used_us} us");
        let seen = engine.observe(None).await.unwrap();
        assert_eq!(seen.first().map(|found| found.state), Some(InstanceState::Frozen));

        // The next one pays, and wakes it; nobody else does.
        let ledger = TinyLedger::new(100 * TAIL_NANO);
        let paying = Paying::start(
            &home.join("next"),
            &ledger,
            Arc::clone(&meters) as _,
            Some(deadman.clone()),
        );
        paying.runs.send_replace(vec![facts(&spec)]);
        until("it runs again", || async { !is_frozen(&*meters, &spec).await }).await;
        until("nothing is left to wake", || async { !deadman.frozen_file.exists() }).await;
        assert!(paying.pays_for(&spec));

        // A clean end freezes nothing.
        paying.stop().await;
        tokio::time::sleep(deadman::DEADLINE * 2).await;
        assert!(!is_frozen(&*meters, &spec).await);
        stop.cancel();
        watching.await.unwrap().unwrap();
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_still_freezes_what_is_not_renewed() {
    let (sim, spec): (_, InstanceSpec) = on_sim().await;
    let folder = tempfile::tempdir().unwrap();
    let deadman = deadman_in(folder.path());
    let stop = CancellationToken::new();
    let meters: Arc<dyn Meters> = Arc::clone(&sim) as _;
    let watching = deadman::watch(&deadman.socket, &deadman.frozen_file, meters, stop.clone());
    let telling = async {
        until("it listens", || async { deadman.socket.exists() }).await;
        let point = sim.freeze_point(spec.labels.instance).await.unwrap();
        deadman::Line::new(deadman.socket.clone()).renew(&[point]);
        // Heard, before it is told to stop.
        tokio::time::sleep(deadman::RENEW).await;
        assert!(!is_frozen(&*sim, &spec).await);
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(watching, telling);
    ended.unwrap();
    assert!(is_frozen(&*sim, &spec).await);
    assert!(deadman::read_frozen(&deadman.frozen_file).contains(&spec.labels.instance));
}

/// Between two processes that pay, and before the second one knows what runs.
#[tokio::test(start_paused = true)]
async fn who_dies_right_after_it_began_to_pay_leaves_nothing_that_runs_unpaid() {
    let (sim, spec): (_, InstanceSpec) = on_sim().await;
    let folder = tempfile::tempdir().unwrap();
    let deadman = deadman_in(folder.path());
    let stop = CancellationToken::new();
    let meters: Arc<dyn Meters> = Arc::clone(&sim) as _;
    let watching = deadman::watch(&deadman.socket, &deadman.frozen_file, Arc::clone(&meters), stop.clone());
    let paying = async {
        until("it listens", || async { deadman.socket.exists() }).await;
        let point = sim.freeze_point(spec.labels.instance).await.unwrap();
        deadman::Line::new(deadman.socket.clone()).renew(&[point]);
        let ledger = TinyLedger::new(100 * TAIL_NANO);
        let next = Paying::start(&folder.path().join("next"), &ledger, meters, Some(deadman.clone()));
        tokio::time::sleep(deadman::DEADLINE * 2).await;
        assert!(
            !is_frozen(&*sim, &spec).await,
            "who begins to pay renews what there was"
        );
        next.kill();
        tokio::time::sleep(deadman::DEADLINE * 2).await;
        assert!(is_frozen(&*sim, &spec).await, "nobody pays any more");
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(watching, paying);
    ended.unwrap();
}
