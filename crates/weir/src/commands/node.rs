use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use weir_engine::Meters;
use weir_engine::docker::DockerMeters;
use weir_ingress::{CpuWatch, Freezers, NodeConfig, Sleeping, Spending, Succession};
use weir_ledger::Sku;
use weir_ledger::wallet::{NoMoney, Urgency, Wallets};
use weir_meter::egress::{self, EgressConfig};
use weir_meter::instances::{self, CpuUse, Deadman, Farewell, InstancesConfig};
use weir_meter::{Payroll, SocketLink};
use weir_model::route::MeteredInstance;
use weir_model::{EnvironmentId, InstanceId};

use crate::client::chain;
use crate::failure::{Failure, Result};
use crate::platform::door::{self, Standing};
use crate::platform::freezers::ContainerFreezers;
use crate::platform::part::{PartOptions, is_orphan, stop_token};
use crate::platform::sockets::Sockets;
use crate::platform::{installation, prepare, tracing_format, wallets};

/// After the start, so long until what earlier nodes left is looked after.
const LEFT_PAUSE: Duration = Duration::from_secs(3);
/// Pause between two looks whether another node still pays for instances.
const PAY_LOOK: Duration = Duration::from_millis(10);
/// Before a node takes another's place, it waits so long at most for the money of environments
/// that get none at present.
const MONEY_PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two looks whether there is money.
const MONEY_LOOK: Duration = Duration::from_millis(10);
/// What is drawn to find that out: bytes of an answer.
const SAMPLE_BYTES: u64 = 64 << 10;

/// The part that carries: the ingress, and who pays for what runs. `weir up` starts it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    options: PartOptions,
    /// The listening sockets come by the standard input; `weir up` holds them over restarts.
    #[arg(long, hide = true)]
    sockets_on_stdin: bool,
    /// Process id of the node whose place this one takes: it serves once it is told so.
    #[arg(long, hide = true, value_name = "PID")]
    successor_of: Option<i32>,
    /// Process ids of nodes that still end what they have.
    #[arg(long, hide = true, value_name = "PID")]
    beside: Vec<i32>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    tracing_format::start();
    let config = args.options.platform.config()?;
    prepare::data_folder(&config.data)?;
    let stop = stop_token(args.options.supervisor)?;
    let mut node = as_the_options_say(&args, &config)?;
    let standing = Standing::new("the log of its wallets");
    node.succession = succession(&args, &config.data)?;
    let succession = node.succession.clone();
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let door = door::path(&config.data, own);
    door::answer(&door, succession.clone(), standing.clone())
        .map_err(|error| Failure::file("listen on", &door, &error))?;
    let shard = node.worker_count();
    let link = Arc::new(SocketLink::new(config.node_socket()));
    let Some(meter) = wallets::open(&config.data, shard + 1, &link, &stop).await? else {
        return Ok(());
    };
    let left = wallets::settle_left(config.data.clone(), Arc::clone(&link), stop.clone());
    tokio::spawn(until_drained(succession.clone(), after(LEFT_PAUSE, left)));
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
    let (freezers, woken) = (Arc::new(ContainerFreezers::default()), Arc::new(Notify::new()));
    node.sleeping = Some(Sleeping {
        freezers: Arc::clone(&freezers) as Arc<dyn Freezers>,
        woken: Arc::clone(&woken),
    });
    let payer = Payer {
        freezers,
        woken,
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
    tokio::spawn(tell_when_ready(
        payer.runs.clone(),
        payer.wallets.clone(),
        shard,
        standing,
    ));
    let meter_stop = CancellationToken::new();
    let mut paying = tokio::spawn(pay(payer, config.data.clone(), succession.clone()));
    let mut refilling = tokio::spawn(meter.run(meter_stop.clone()));
    let served = tokio::select! {
        served = weir_ingress::run_node(node, stop) => served.map_err(|error| Failure::failed(chain(&error))),
        () = ended_too_early(&mut paying, &succession) => Err(Failure::failed("who pays for instances ended unexpectedly")),
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

/// The node as the options say, with the sockets that it was handed.
fn as_the_options_say(args: &Args, config: &weir_control::Config) -> Result<NodeConfig> {
    let mut node = NodeConfig::new(config.http, config.node_socket(), config.data.join("routes.json"));
    node.https = config.https;
    args.options.platform.protection.apply(&mut node);
    node.cache_bytes = args.options.platform.cache_bytes();
    node.cache_files = Some(args.options.platform.cache_files(&config.data));
    if args.sockets_on_stdin {
        let sockets = Sockets::take(std::io::stdin());
        let sockets =
            sockets.map_err(|error| Failure::failed(format!("cannot take the listening sockets: {error}")))?;
        node.listener = sockets.http.map(Arc::new);
        node.https_listener = sockets.https.map(Arc::new);
    }
    Ok(node)
}

/// What the node after this one does, too.
async fn until_drained(succession: Succession, work: impl Future<Output = ()>) {
    tokio::select! {
        () = succession.drained() => {}
        () = work => {}
    }
}

async fn after(pause: Duration, work: impl Future<Output = ()>) {
    tokio::time::sleep(pause).await;
    work.await;
}

/// Its place between the node before it and the one after it.
fn succession(args: &Args, data: &Path) -> Result<Succession> {
    let marks = args.successor_of.iter().chain(&args.beside);
    let marks = marks.filter_map(|pid| weir_ingress::process(u32::try_from(*pid).ok()));
    let sockets = match args.successor_of {
        // Those that it cannot have now it gets once the other one lets go of them.
        Some(pid) => door::sockets(&door::path(data, pid)).unwrap_or_else(|error| {
            tracing::warn!(%error, "the node before does not hand over its sockets at the gateways");
            Vec::new()
        }),
        None => Vec::new(),
    };
    let succession = Succession::after(marks.collect(), sockets)
        .map_err(|error| Failure::failed(format!("cannot take the sockets of the node before: {error}")))?;
    if args.successor_of.is_none() {
        succession.open();
    }
    Ok(succession)
}

/// Says that this node could serve, once it knows what, and every environment that runs has money
/// here: nobody is to wait for it at the moment in which this node takes another's place.
async fn tell_when_ready(
    mut runs: watch::Receiver<Vec<MeteredInstance>>,
    wallets: Wallets,
    shard: usize,
    standing: Standing,
) {
    standing.waits_for("the routes that control gives out");
    if runs.changed().await.is_err() {
        return;
    }
    standing.waits_for("money from the ledger, which is part of control");
    let metered = runs.borrow().clone();
    let environments: BTreeSet<EnvironmentId> = metered.iter().map(|instance| instance.environment).collect();
    let end = tokio::time::Instant::now() + MONEY_PATIENCE;
    for environment in environments {
        let till = wallets.till(environment, None, None);
        loop {
            match till.draw(shard, Urgency::Instance, &Sku::EGRESS, SAMPLE_BYTES) {
                Ok(draw) => {
                    draw.finish(0);
                    break;
                }
                // It gets none from the old node either.
                Err(_dry) if matches!(till.trouble(), Some(NoMoney::Denied(_))) => break,
                // Where the ledger answers others, this one has none left.
                Err(_dry) if wallets.meter().is_some() && tokio::time::Instant::now() > end => break,
                Err(_dry) => tokio::time::sleep(MONEY_LOOK).await,
            }
        }
    }
    standing.is_ready();
}

/// Ready if who pays ends although this node has not handed that over.
async fn ended_too_early(paying: &mut tokio::task::JoinHandle<()>, succession: &Succession) {
    let _ = paying.await;
    if succession.is_draining() {
        std::future::pending::<()>().await;
    }
}

/// Waits until no other node pays for instances. The kernel lets go of the file when a node dies.
async fn be_the_only_payer(data: &Path) -> std::io::Result<File> {
    let file = File::create(data.join("run/payroll.lock"))?;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => tokio::time::sleep(PAY_LOOK).await,
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
}

/// Who pays for what runs.
struct Payer {
    freezers: Arc<ContainerFreezers>,
    /// Told when an instance was woken.
    woken: Arc<Notify>,
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

/// Pays for instances and for what they send, until it is stopped, or the next node is to do so:
/// it is always one node that does.
async fn pay(payer: Payer, data: impl AsRef<Path>, succession: Succession) {
    let data = data.as_ref();
    let only = tokio::select! {
        () = payer.stop.cancelled() => return,
        only = be_the_only_payer(data) => only,
    };
    let _only = match only {
        Ok(only) => only,
        Err(error) => return tracing::error!(%error, "cannot find out whether another node pays for instances"),
    };
    let stop = payer.stop.clone();
    let handing_over = tokio::spawn(async move {
        succession.drained().await;
        stop.cancel();
    });
    // On the very first start control has still to give this Weir its name.
    let installation = tokio::select! {
        () = payer.stop.cancelled() => return,
        installation = installation::name(data) => installation,
    };
    let meters = Arc::new(DockerMeters::new(installation, None));
    payer.freezers.open(Arc::clone(&meters));
    let meters: Arc<dyn Meters> = meters;
    let payroll = Payroll {
        meters,
        wallets: payer.wallets,
        shard: payer.shard,
        metered: payer.runs,
    };
    let instances = InstancesConfig {
        payroll: payroll.clone(),
        paying: payer.pays,
        woken: Some(payer.woken),
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
    handing_over.abort();
}
