//! A ledger with one limit, a machine, and instances on it that burn CPU time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_engine::docker::{DockerEngine, DockerMeters, DockerOptions};
use weir_engine::sim::{Behaviour, SimEngine};
use weir_engine::{Engine, InstanceLabels, InstanceRole, InstanceSpec, Meters};
use weir_ledger::protocol::{Answer, Denial, DenialReason, Exchange, LeaseAnswer, LeaseKey, LineKey, Standing};
use weir_ledger::{Nano, Price, PriceBook, Sku};
use weir_meter::instances::{self, CpuUse, Deadman, Farewell, InstancesConfig};
use weir_meter::{LedgerLink, LinkError, Meter, MeterConfig, Payroll};
use weir_model::guard::BackgroundWork;
use weir_model::route::MeteredInstance;
use weir_model::{AppName, DeploymentId, EnvironmentId, InstanceId, ProcessName, ReleaseId};

/// Microseconds of one core that cost a nano-unit.
pub(crate) const CPU_US_PER_NANO: u64 = 1_000;
/// What an instance of the tests may use.
pub(crate) const CPU_MILLI: u32 = 500;
/// What its tail costs: four seconds to a standstill and ten to end gracefully, at its limit.
pub(crate) const TAIL_NANO: i64 = 14 * 500;

/// Grants what is asked for until the limit.
#[derive(Debug)]
pub(crate) struct TinyLedger(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    limit: i64,
    granted: BTreeMap<LeaseKey, i64>,
    cpu_us: BTreeMap<LeaseKey, u64>,
    /// Of it, what is on lines of background work.
    background_us: BTreeMap<LeaseKey, u64>,
}

impl TinyLedger {
    pub(crate) fn new(limit: i64) -> Arc<Self> {
        let state = State {
            limit,
            ..State::default()
        };
        Arc::new(Self(Mutex::new(state)))
    }

    pub(crate) fn raise(&self, by: i64) {
        self.0.lock().unwrap().limit += by;
    }

    /// Nano-units granted in total.
    pub(crate) fn granted(&self) -> i64 {
        self.0.lock().unwrap().granted.values().sum()
    }

    /// CPU time that was told, in microseconds.
    pub(crate) fn cpu_us(&self) -> u64 {
        self.0.lock().unwrap().cpu_us.values().sum()
    }
}

impl TinyLedger {
    /// Of the CPU time that was told, that on lines of background work.
    pub(crate) fn background_us(&self) -> u64 {
        self.0.lock().unwrap().background_us.values().sum()
    }
}

#[async_trait]
impl LedgerLink for TinyLedger {
    async fn exchange(&self, question: Exchange) -> Result<Answer, LinkError> {
        let mut state = self.0.lock().unwrap();
        if question.incarnation == 0 {
            return Ok(Answer {
                incarnation: 0,
                standing: Standing::Superseded { next: 1 },
                leases: Vec::new(),
                prices: BTreeMap::new(),
            });
        }
        let mut leases = Vec::new();
        for report in &question.leases {
            let room = state.limit - state.granted.values().sum::<i64>();
            let used = report.usage.iter().filter(|(line, _units)| line.sku == Sku::CPU);
            let used = used.map(|(_line, units)| units).sum();
            state.cpu_us.insert(report.lease, used);
            let background = |line: &LineKey| {
                line.process
                    .as_ref()
                    .is_some_and(|name| name.as_str() == "web-background")
            };
            let lines = report.usage.iter().filter(|(line, _units)| background(line));
            state
                .background_us
                .insert(report.lease, lines.map(|(_line, units)| units).sum());
            let granted = state.granted.entry(report.lease).or_default();
            let wanted = report.want.filter(|_| report.granted.0 == *granted);
            let denied = wanted.is_some_and(|want| want.needed.0 > room);
            if let Some(want) = wanted.filter(|_| !denied) {
                *granted += want.needed.0.max(200).min(room);
            }
            leases.push(LeaseAnswer {
                lease: report.lease,
                granted: Nano(*granted),
                price_version: 1,
                until_ms: i64::MAX,
                turn_over: false,
                recall: false,
                denied: denied.then_some(Denial {
                    reason: DenialReason::ProjectCap,
                    retry_after_ms: 200,
                }),
                closed: report.closed,
            });
        }
        Ok(Answer {
            incarnation: question.incarnation,
            standing: Standing::Current,
            leases,
            prices: BTreeMap::from([(1, book())]),
        })
    }
}

fn book() -> PriceBook {
    let price = Price {
        pico: 1_000,
        per: CPU_US_PER_NANO,
    };
    PriceBook {
        version: 1,
        currency: "EUR".to_owned(),
        valid_from_ms: 0,
        prices: BTreeMap::from([(Sku::CPU, price)]),
    }
}

/// Somebody who pays for instances, as a node does.
pub(crate) struct Paying {
    pub(crate) runs: watch::Sender<Vec<MeteredInstance>>,
    pub(crate) paid: watch::Receiver<BTreeSet<InstanceId>>,
    pub(crate) used: watch::Receiver<BTreeMap<InstanceId, u64>>,
    pub(crate) works: watch::Sender<BTreeMap<InstanceId, BackgroundWork>>,
    stop: CancellationToken,
    instances: JoinHandle<()>,
    meter: JoinHandle<()>,
    meter_stop: CancellationToken,
}

impl Paying {
    pub(crate) fn start(
        folder: &Path,
        ledger: &Arc<TinyLedger>,
        meters: Arc<dyn Meters>,
        deadman: Option<Deadman>,
    ) -> Self {
        let config = MeterConfig {
            folder: folder.join("wallet"),
            name: "node:test".to_owned(),
            shards: 1,
        };
        let meter = Meter::open(&config, Arc::clone(ledger) as Arc<dyn LedgerLink>).unwrap();
        let (runs, metered) = watch::channel(Vec::new());
        let (paying, paid) = watch::channel(BTreeSet::new());
        let (uses, used) = watch::channel(BTreeMap::new());
        let (works, working) = watch::channel(BTreeMap::new());
        let (stop, meter_stop) = (CancellationToken::new(), CancellationToken::new());
        let payroll = Payroll {
            meters,
            wallets: meter.wallets(),
            shard: 0,
            metered,
        };
        let config = InstancesConfig {
            woken: None,
            payroll,
            paying,
            cpu: Some(CpuUse { used: uses, working }),
            deadman,
        };
        Self {
            runs,
            paid,
            used,
            works,
            instances: tokio::spawn(instances::run(config, stop.clone(), || Farewell::LetRun)),
            meter: tokio::spawn(meter.run(meter_stop.clone())),
            stop,
            meter_stop,
        }
    }

    pub(crate) fn pays_for(&self, spec: &InstanceSpec) -> bool {
        self.paid.borrow().contains(&spec.labels.instance)
    }

    /// As if the process had been killed.
    pub(crate) fn kill(self) {
        self.instances.abort();
        self.meter.abort();
    }

    /// A clean end.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.instances.await.unwrap();
        self.meter_stop.cancel();
        self.meter.await.unwrap();
    }
}

/// An instance that burns all the CPU time that it gets.
pub(crate) fn burner(image: &str) -> InstanceSpec {
    InstanceSpec {
        labels: InstanceLabels {
            instance: InstanceId::from_parts(1_700_000_000_000, fastrand::u128(..)),
            role: InstanceRole::Instance,
            environment: EnvironmentId::from_parts(1_700_000_000_000, fastrand::u128(..)),
            app: AppName::new("shop").unwrap(),
            process: ProcessName::web(),
            release: ReleaseId::from_parts(1, 2),
            deployment: DeploymentId::from_parts(3, 4),
            port: None,
        },
        image: image.to_owned(),
        command: Some("while :; do :; done".to_owned()),
        variables: BTreeMap::new(),
        memory_bytes: 64 << 20,
        cpu_milli: CPU_MILLI,
        max_processes: 50,
        max_open_files: 256,
        volumes: BTreeMap::new(),
        network_names: Vec::new(),
        terminal: false,
        interactive: false,
    }
}

/// What control tells of an instance.
pub(crate) fn facts(spec: &InstanceSpec) -> MeteredInstance {
    MeteredInstance {
        instance: spec.labels.instance,
        environment: spec.labels.environment,
        app: spec.labels.app.clone(),
        process: spec.labels.process.clone(),
        memory_bytes: spec.memory_bytes,
        cpu_milli: spec.cpu_milli,
        grace_s: 10,
        address: None,
        frozen: false,
        stopping: false,
    }
}

pub(crate) async fn cpu_us(meters: &dyn Meters, spec: &InstanceSpec) -> u64 {
    meters.usage(spec.labels.instance).await.unwrap().unwrap().cpu_us
}

pub(crate) async fn is_frozen(meters: &dyn Meters, spec: &InstanceSpec) -> bool {
    meters.usage(spec.labels.instance).await.unwrap().unwrap().frozen
}

/// Waits until something is so.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _attempt in 0..3_000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true that {what}");
}

/// The simulated machine with one burning instance, on the clock of the test.
pub(crate) async fn on_sim() -> (Arc<SimEngine>, InstanceSpec) {
    let sim = SimEngine::new(7);
    sim.behaviour(
        "burner",
        Behaviour {
            busy_milli: CPU_MILLI,
            ..Behaviour::default()
        },
    );
    sim.follow_tokio();
    let spec = burner("burner");
    sim.instance_start(&spec).await.unwrap();
    (Arc::new(sim), spec)
}

/// Real Docker with one burning instance; `None` where there is none. Removes what it left.
pub(crate) async fn on_docker<T: Future<Output = ()> + Send + 'static>(
    test: impl FnOnce(Arc<DockerMeters>, DockerEngine, InstanceSpec, String) -> T,
) {
    let must = std::env::var("WEIR_TEST_DOCKER").is_ok_and(|value| value == "1");
    let installation = format!("{:08x}", fastrand::u32(..));
    let mut options = DockerOptions::new(&installation);
    options.guard_default_bridge = false;
    options.firewall = false;
    let engine = match DockerEngine::connect(options).await {
        Ok(engine) => engine,
        Err(error) if must => panic!("WEIR_TEST_DOCKER is 1 and {error}"),
        Err(error) => {
            eprintln!("left out: {error}");
            return;
        }
    };
    let image = format!("weir-meter-test/{installation}:base");
    let root: weir_engine::BoxStream<std::io::Result<Bytes>> = Box::pin(tokio_stream_of(root()));
    engine.image_import(&image, &BTreeMap::new(), root).await.unwrap();
    let spec = burner(&image);
    engine.instance_start(&spec).await.unwrap();
    let meters = Arc::new(DockerMeters::new(&installation, None));
    let outcome = tokio::spawn(test(meters, engine.clone(), spec.clone(), installation)).await;
    engine.instance_remove(spec.labels.instance).await.unwrap();
    engine.network_remove(spec.labels.environment).await.unwrap();
    engine.image_remove(&image).await.unwrap();
    if let Err(error) = outcome {
        std::panic::resume_unwind(error.into_panic());
    }
}

fn tokio_stream_of(bytes: Bytes) -> impl futures_util::Stream<Item = std::io::Result<Bytes>> {
    futures_util::stream::iter([Ok(bytes)])
}

/// A root file system of one static shell.
fn root() -> Bytes {
    let program = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"]
        .iter()
        .find_map(|path| std::fs::read(path).ok())
        .expect("the tests on Docker need a static busybox: apt-get install busybox-static");
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(u64::try_from(program.len()).unwrap());
    tar.append_data(&mut header, "bin/busybox", &program[..]).unwrap();
    let mut link = tar::Header::new_gnu();
    link.set_entry_type(tar::EntryType::Symlink);
    link.set_mode(0o777);
    link.set_size(0);
    tar.append_link(&mut link, "bin/sh", "busybox").unwrap();
    Bytes::from(tar.into_inner().unwrap())
}
