use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_engine::Meters;
use weir_engine::docker::DockerMeters;
use weir_ingress::{CpuWatch, NodeConfig, Spending};
use weir_ledger::wallet::Wallets;
use weir_meter::egress::{self, EgressConfig};
use weir_meter::instances::{self, CpuUse, Deadman, Farewell, InstancesConfig};
use weir_meter::{LogError, Meter, MeterConfig, Payroll, SocketLink};
use weir_model::route::MeteredInstance;
use weir_model::{EnvironmentId, InstanceId};

use crate::client::chain;
use crate::failure::{Failure, Result};
use crate::platform::part::{PartOptions, is_orphan, stop_token};
use crate::platform::sockets::Sockets;
use crate::platform::{installation, prepare, tracing_format};

/// A node that ends keeps the log of its wallets for so long, at most; then something is wrong.
const LOG_PATIENCE: Duration = Duration::from_secs(30);

/// The part that carries: the ingress, and who pays for what runs. `weir up` starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: PartOptions,
    /// The listening sockets come by the standard input; `weir up` holds them over restarts.
    #[arg(long, hide = true)]
    sockets_on_stdin: bool,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    tracing_format::start();
    let config = args.options.platform.config()?;
    prepare::data_folder(&config.data)?;
    let stop = stop_token(args.options.supervisor)?;
    let mut node = NodeConfig::new(config.http, config.node_socket(), config.data.join("routes.json"));
    node.https = config.https;
    if args.sockets_on_stdin {
        let sockets = Sockets::take(std::io::stdin());
        let sockets =
            sockets.map_err(|error| Failure::failed(format!("cannot take the listening sockets: {error}")))?;
        node.listener = sockets.http.map(Arc::new);
        node.https_listener = sockets.https.map(Arc::new);
    }
    let shard = node.worker_count();
    let link = Arc::new(SocketLink::new(config.node_socket()));
    let meter = MeterConfig {
        folder: config.data.join("wallet-node"),
        name: "node:local".to_owned(),
        shards: shard + 1,
    };
    let Some(meter) = open_meter(&meter, &link, &stop).await? else {
        return Ok(());
    };
    let (metered, runs) = watch::channel(Vec::new());
    let (pays, paying) = watch::channel(BTreeSet::new());
    let (opens, sending) = watch::channel(BTreeSet::new());
    let (uses, used) = watch::channel(BTreeMap::new());
    let (working, works) = watch::channel(BTreeMap::new());
    let wallets = meter.wallets();
    node.spending = Some(Spending {
        wallets: wallets.clone(),
        metered,
        paying,
        sending: Some(sending),
        cpu: Some(CpuWatch { used, working }),
    });
    let payer = Payer {
        wallets,
        shard,
        runs,
        pays,
        opens,
        cpu: CpuUse {
            used: uses,
            working: works,
        },
        stop: CancellationToken::new(),
        let_run: Arc::new(AtomicBool::new(false)),
    };
    // In this order they end, too: nothing is charged any more when the meter gives back the rest.
    let (payroll_stop, let_run) = (payer.stop.clone(), Arc::clone(&payer.let_run));
    let meter_stop = CancellationToken::new();
    let mut paying = tokio::spawn(pay(payer, config.data.clone()));
    let mut refilling = tokio::spawn(meter.run(meter_stop.clone()));
    let served = tokio::select! {
        served = weir_ingress::run_node(node, stop) => served.map_err(|error| Failure::failed(chain(&error))),
        _ = &mut paying => Err(Failure::failed("who pays for instances ended unexpectedly")),
        _ = &mut refilling => Err(Failure::failed("the meter ended unexpectedly")),
    };
    // Only a clean end lets everything go on unpaid. Where the node failed, the next one goes on
    // before the deadman acts; where `weir up` itself was killed, nobody may ever come.
    let clean = served.is_ok() && !is_orphan(args.options.supervisor);
    let_run.store(clean, Ordering::SeqCst);
    for (stop, task) in [(payroll_stop, paying), (meter_stop, refilling)] {
        stop.cancel();
        if !task.is_finished()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "a part of the node ended badly");
        }
    }
    served
}

/// The meter, once a node that is still ending has let go of its log; `None` if told to stop.
async fn open_meter(config: &MeterConfig, link: &Arc<SocketLink>, stop: &CancellationToken) -> Result<Option<Meter>> {
    let began = tokio::time::Instant::now();
    loop {
        match Meter::open(config, Arc::clone(link) as Arc<dyn weir_meter::LedgerLink>) {
            Ok(meter) => return Ok(Some(meter)),
            Err(LogError::InUse(_)) if began.elapsed() < LOG_PATIENCE => {}
            Err(error) => return Err(Failure::failed(chain(&error))),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(Duration::from_millis(50)) => {}
        }
    }
}

/// Who pays for what runs.
struct Payer {
    wallets: Wallets,
    shard: usize,
    runs: watch::Receiver<Vec<MeteredInstance>>,
    pays: watch::Sender<BTreeSet<InstanceId>>,
    opens: watch::Sender<BTreeSet<EnvironmentId>>,
    cpu: CpuUse,
    stop: CancellationToken,
    /// Whether the end is clean.
    let_run: Arc<AtomicBool>,
}

/// Pays for instances and for what they send, until it is stopped.
async fn pay(payer: Payer, data: impl AsRef<Path>) {
    let data = data.as_ref();
    // On the very first start control has still to give this Weir its name.
    let installation = tokio::select! {
        () = payer.stop.cancelled() => return,
        installation = installation::name(data) => installation,
    };
    let meters: Arc<dyn Meters> = Arc::new(DockerMeters::new(installation, None));
    let payroll = Payroll {
        meters,
        wallets: payer.wallets,
        shard: payer.shard,
        metered: payer.runs,
    };
    let instances = InstancesConfig {
        payroll: payroll.clone(),
        paying: payer.pays,
        cpu: Some(payer.cpu),
        deadman: Some(Deadman {
            socket: installation::deadman_socket(data),
            frozen_file: installation::frozen_file(data),
        }),
    };
    let egress = EgressConfig {
        payroll,
        sending: payer.opens,
    };
    let let_run = || payer.let_run.load(Ordering::SeqCst);
    let farewell = || if let_run() { Farewell::LetRun } else { Farewell::Freeze };
    tokio::join!(
        instances::run(instances, payer.stop.clone(), farewell),
        egress::run(egress, payer.stop.clone(), let_run),
    );
}
