//! What an instance sends in its first moment.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_engine::docker::{DockerEngine, DockerOptions};
use weir_engine::{Engine, InstanceSpec};
use weir_meter::egress::{self, EgressConfig};
use weir_meter::{LedgerLink, Meter, MeterConfig, Payroll};
use weir_model::{EnvironmentId, InstanceId};

use crate::fixture::{TinyLedger, facts, on_docker};
use crate::world::World;

/// An instance of an environment of its own that greets the world as the first thing it does. It
/// gives up before a packet that was lost is sent again.
fn greeter(image: &str, world: &World) -> InstanceSpec {
    let mut spec = crate::fixture::burner(image);
    spec.labels.instance = InstanceId::from_parts(1_700_000_000_000, fastrand::u128(..));
    spec.labels.environment = EnvironmentId::from_parts(1_700_000_000_000, fastrand::u128(..));
    spec.command = Some(format!("busybox nc -w 1 {} 7000 </dev/null; echo end", world.address));
    spec
}

/// All that an instance writes until it ends.
async fn output(engine: &DockerEngine, spec: &InstanceSpec) -> String {
    let chunks = engine.instance_output(spec.labels.instance, 0);
    let lines: Vec<_> = tokio::time::timeout(Duration::from_secs(20), chunks.collect())
        .await
        .unwrap();
    let texts = lines
        .into_iter()
        .map(|chunk| String::from_utf8(chunk.unwrap().text.to_vec()).unwrap());
    texts.collect::<Vec<_>>().join(" ")
}

async fn remove(engine: &DockerEngine, spec: &InstanceSpec) {
    engine.instance_remove(spec.labels.instance).await.unwrap();
    engine.network_remove(spec.labels.environment).await.unwrap();
}

#[tokio::test]
async fn who_was_announced_reaches_the_world_with_the_first_packet() {
    on_docker(|meters, _engine, spec, installation| async move {
        let mut options = DockerOptions::new(&installation);
        options.guard_default_bridge = false;
        options.firewall = false;
        options.meter_egress = true;
        let engine = DockerEngine::connect(options).await.unwrap();
        let world = World::new("echo welcome");
        let folder = std::env::temp_dir().join(format!("weir-egress-{:016x}", fastrand::u64(..)));
        let config = MeterConfig {
            folder: folder.clone(),
            name: "node:test".to_owned(),
            shards: 1,
        };
        let ledger = TinyLedger::new(1_000_000) as Arc<dyn LedgerLink>;
        let meter = Meter::open(&config, ledger).unwrap();
        let (runs, metered) = watch::channel(Vec::new());
        let (sending, mut told) = watch::channel(BTreeSet::new());
        let payroll = Payroll {
            meters: meters.clone(),
            wallets: meter.wallets(),
            shard: 0,
            metered,
        };
        let stop = CancellationToken::new();
        let paying = tokio::spawn(meter.run(stop.clone()));
        let egress = tokio::spawn(egress::run(EgressConfig { payroll, sending }, stop.clone(), || false));

        let stranger = greeter(&spec.image, &world);
        engine.instance_start(&stranger).await.unwrap();
        let said = output(&engine, &stranger).await;
        assert!(
            said.contains("timed out"),
            "nothing was bought for it, and it said {said}"
        );

        let guest = greeter(&spec.image, &world);
        let environment = guest.labels.environment;
        runs.send_replace(vec![facts(&guest)]);
        let bought = told.wait_for(|sending| sending.contains(&environment));
        tokio::time::timeout(Duration::from_secs(10), bought)
            .await
            .unwrap()
            .unwrap();
        engine.instance_start(&guest).await.unwrap();
        assert_eq!(output(&engine, &guest).await, "welcome end");
        let sent = weir_engine::Meters::egress(&*meters, &BTreeMap::new()).await.unwrap();
        let left = world.settled(1).await;
        assert_eq!(sent[&environment], left, "what the world got is what is paid for");

        stop.cancel();
        egress.await.unwrap();
        paying.await.unwrap();
        remove(&engine, &stranger).await;
        remove(&engine, &guest).await;
        engine.teardown_firewall().await.unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    })
    .await;
}
