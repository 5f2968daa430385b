//! The wiring of control: opens the store and the engine, starts the parts, stops them in order.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use nix::fcntl::{Flock, FlockArg};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use weir_engine::docker::{DockerEngine, DockerMeters, DockerOptions};
use weir_engine::{Engine, Meters};
use weir_store::Store;

use crate::api::{auth, spool_folder};
use crate::billing::{self, Mailer, NoticeSink};
use crate::certificates::{self, Certificates};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::context::Context;
use crate::logs::Logs;
use crate::money::{self, AlertSink, ChangeSink, Money};
use crate::push::{self, Pushes};
use crate::reconcile::{self, Reconciler};
use crate::secrets::{Sealer, hex, random_bytes};
use crate::tasks::Tasks;
use crate::{access_log, api, console, git, help, invoices, metrics, node_link, projects, volumes};

/// So long may parts go on after control was told to stop.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Finished tasks and notices, changes and kept answers live so long.
const KEEP_TASKS_MS: i64 = 30 * 86_400_000;
const KEEP_ANSWERS_MS: i64 = 86_400_000;
/// The audit log lives for 13 months, as its triggers in the database have it, too; sign-ins that nobody
/// uses as long as they hold.
const KEEP_AUDIT_MS: i64 = 396 * 86_400_000;
const KEEP_IDLE_MS: i64 = api::IDLE_MS;
const KEEP_CHANGES: i64 = 10_000;
const KEEP_NEWEST_TASKS: i64 = 200;
const PRUNE: Duration = Duration::from_secs(3600);
/// Pause between attempts to reach the container engine at the start.
const RECONNECT: Duration = Duration::from_secs(2);

/// Where control is reached.
#[derive(Debug)]
pub struct Listeners {
    api: TcpListener,
    node: UnixListener,
}

impl Listeners {
    /// Listens on the API's address and the nodes' socket. Port 0 becomes a free one, which the
    /// configuration then names. Fails with words if the address is taken.
    pub async fn bind(config: &mut Config) -> anyhow::Result<Self> {
        let api = listen(config).await?;
        config.control = api.local_addr()?;
        Ok(Self {
            api,
            node: listen_node(config)?,
        })
    }
}

/// Runs control until `stop` is cancelled. Fails if it cannot start.
pub async fn serve(mut config: Config, stop: CancellationToken) -> anyhow::Result<()> {
    prepare_folders(&config)?;
    let _lock = lock(&config.data)?;
    let listeners = Listeners::bind(&mut config).await?;
    let store = Store::open(&config.database)
        .await
        .context("cannot open the database")?;
    let Some(engine) = connect_engine(&config, &store, &stop).await? else {
        store.close().await;
        return Ok(());
    };
    let meters = Arc::new(DockerMeters::new(installation(&store, &config.data).await?, None));
    let context = open(config, store, engine, meters, Arc::new(SystemClock), stop).await?;
    run(context, listeners).await
}

/// Runs the parts until control is told to stop. Fails if one of them ends before.
pub async fn run(context: Context, listeners: Listeners) -> anyhow::Result<()> {
    let mut parts = start(&context, listeners);
    let config = &context.config;
    tracing::info!(address = %config.control, "control is up at http://{}", config.control);
    if console::is_built() {
        let token = config.data.join("admin-token");
        tracing::info!(
            "the console is at http://{}/; its first visit asks for the token in {}",
            config.control,
            token.display()
        );
    }
    let early = tokio::select! {
        () = context.stop.cancelled() => None,
        name = first_end(&mut parts) => Some(name),
    };
    // A part that ends because control is told to stop may be seen before the order itself.
    let early = early.filter(|_| !context.stop.is_cancelled());
    context.stop.cancel();
    parts.retain(|(_, part)| !part.is_finished());
    shut_down(&context, parts).await;
    match early {
        // Better started anew as a whole than running with a part missing.
        Some(name) => Err(anyhow::anyhow!(
            "control stopped, because its part `{name}` ended by itself"
        )),
        None => Ok(()),
    }
}

/// The first part that ends, which none does before control is told to stop.
async fn first_end(parts: &mut [Part]) -> &'static str {
    let ends = parts.iter_mut().map(|(name, part)| {
        Box::pin(async move {
            if let Err(error) = part.await {
                tracing::error!(%error, "the part `{name}` failed");
            }
            *name
        })
    });
    futures_util::future::select_all(ends).await.0
}

/// Puts together what the parts share, and makes up for what a crash left behind.
pub async fn open(
    config: Config,
    store: Store,
    engine: Arc<dyn Engine>,
    meters: Arc<dyn Meters>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) -> anyhow::Result<Context> {
    if let Some(url) = &config.smtp {
        Mailer::open(url, config.ca_bundle.as_deref())?;
    }
    auth::ensure_admin_token(&config, &store, &*clock).await?;
    let sealer = Sealer::open_or_create(&config.data.join("secret-key"))?;
    let logs = Logs::open(
        config.data.join("logs"),
        config.log_bytes_per_app,
        clock.clone(),
        engine.clone(),
    );
    let pushes = Pushes::new(config.concurrent_builds);
    git::prepare(&config).context("cannot prepare the folder of git repositories")?;
    push::remove_leftovers(&config);
    let money = Money::open(store.clone(), clock.clone(), &config.wallet()).await?;
    let certificates = Certificates::new(clock.clone());
    let context = Context {
        tasks: Tasks::new(store.clone(), clock.clone()),
        config: Arc::new(config),
        store,
        engine,
        meters,
        clock,
        logs,
        pushes,
        volumes: Arc::default(),
        history: Arc::default(),
        sealer,
        hashes: crate::protecting::Hashes::default(),
        money,
        certificates,
        reconciler: Reconciler::new(),
        stop,
    };
    // Nobody works on the requests of before any more; repeated, they are to be done.
    context.store.idempotency_abandon_all().await?;
    projects::recover(&context)
        .await
        .context("cannot take up what was left behind")?;
    Ok(context)
}

fn prepare_folders(config: &Config) -> anyhow::Result<()> {
    let run = config.data.join("run");
    for folder in [&config.data, &run, &config.repositories()] {
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    // Everything in it belongs to Weir alone: keys, sources, logs.
    std::fs::set_permissions(&config.data, std::fs::Permissions::from_mode(0o700))
        .with_context(|| format!("cannot protect the folder {}", config.data.display()))
}

/// Keeps two controls from working on one data folder. Held as long as the value lives, and
/// released by the kernel however the process ends.
fn lock(data: &Path) -> anyhow::Result<Flock<std::fs::File>> {
    let path = data.join("lock");
    let file = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| {
        anyhow::anyhow!(
            "another Weir works on the folder {} already ({error}); stop it first, or use another folder with --data",
            data.display()
        )
    })
}

async fn listen(config: &Config) -> anyhow::Result<TcpListener> {
    TcpListener::bind(config.control).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => anyhow::anyhow!(
            "the address {} of the API is in use already; see who has it with `ss -ltnp`, or choose another with --control",
            config.control
        ),
        _ => anyhow::anyhow!("cannot listen on {} for the API: {error}", config.control),
    })
}

fn listen_node(config: &Config) -> anyhow::Result<UnixListener> {
    let path = config.node_socket();
    // The lock says that nobody listens there any more.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove the old socket {}", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
        .with_context(|| format!("cannot protect {}", path.display()))?;
    Ok(listener)
}

type Part = (&'static str, JoinHandle<()>);

fn start(context: &Context, listeners: Listeners) -> Vec<Part> {
    empty_spool(&context.config);
    let stopped = |context: &Context| context.stop.clone().cancelled_owned();
    let public = Router::new()
        .merge(git::router(context.clone()))
        .merge(api::router(context.clone()));
    let public = public.into_make_service_with_connect_info::<std::net::SocketAddr>();
    let api = axum::serve(listeners.api, public).with_graceful_shutdown(stopped(context));
    let link = axum::serve(
        listeners.node,
        node_link::router(context.clone()).merge(git::hook_router(context.clone())),
    )
    .with_graceful_shutdown(stopped(context));
    vec![
        part("api", async move { tell("api", api.await) }),
        part("node link", async move { tell("node link", link.await) }),
        part("reconciler", reconcile::run(context.clone())),
        part("logs", collect_logs(context.clone())),
        part("git maintenance", git::maintain(context.clone())),
        part("pruning", prune(context.clone())),
        part("ledger", ledger(context.clone())),
        part("money alerts", money::tell(context.clone(), sinks())),
        part("notices", billing::run(context.clone())),
        part("invoices", invoices::automatic::run(context.clone())),
        part("outside billing", billing::run_outside(context.clone())),
        part("certificates", certificates::run(context.clone())),
        part("uploads", volumes::go_on(context.clone())),
        part("storage", money::storage::run(context.clone())),
        part("help", help::run(context.clone())),
        part("metrics", metrics::history::run(context.clone())),
        part("access log shipping", access_log::run(context.clone())),
    ]
}

/// Who is told about money: those who watch the projects, and contacts.
pub(crate) fn sinks() -> Vec<Arc<dyn AlertSink>> {
    vec![Arc::new(ChangeSink), Arc::new(NoticeSink)]
}

fn part(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Part {
    (name, tokio::spawn(work.instrument(tracing::info_span!("part", name))))
}

fn tell(name: &str, result: std::io::Result<()>) {
    if let Err(error) = result {
        tracing::error!(%error, "the {name} stopped");
    }
}

/// Uploads whose control died are nobody's any more.
fn empty_spool(config: &Config) {
    let folder = spool_folder(config);
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        if let Err(error) = std::fs::remove_file(entry.path()) {
            tracing::warn!(path = %entry.path().display(), %error, "an old upload was not removed");
        }
    }
}

/// Ends when control is told to stop; before, only if the ledger's service fails.
async fn ledger(context: Context) {
    tokio::select! {
        () = context.stop.cancelled() => {}
        () = context.money.ended() => {}
    }
}

async fn collect_logs(context: Context) {
    context.logs.collect(context.stop.clone()).await;
}

/// Keeps what is only kept for a while within bounds.
async fn prune(context: Context) {
    loop {
        let now_ms = context.clock.now_ms();
        let store = &context.store;
        let results = [
            store
                .task_prune(now_ms - KEEP_TASKS_MS, KEEP_NEWEST_TASKS)
                .await
                .map(drop),
            store.change_prune(KEEP_CHANGES).await.map(drop),
            store.idempotency_prune(now_ms - KEEP_ANSWERS_MS).await.map(drop),
            context.money.prune().await,
            store.notice_prune(now_ms - KEEP_TASKS_MS).await,
            store.billing_record_prune(money::kept_from(now_ms)).await,
            store.sign_in_prune(now_ms, now_ms - KEEP_IDLE_MS).await,
            store.audit_prune(now_ms - KEEP_AUDIT_MS).await,
            store.help_prune(now_ms - KEEP_AUDIT_MS).await,
            store.invitation_prune(now_ms).await,
        ];
        for error in results.into_iter().filter_map(Result::err) {
            tracing::warn!(%error, "old rows were not pruned; trying again in an hour");
        }
        if let Err(error) = crate::uploads::sweep(&context).await {
            tracing::warn!(%error, "old uploads were not removed; trying again in an hour");
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(PRUNE) => {}
        }
    }
}

/// Stops in order: `stop` is cancelled, so nothing new is accepted; each part gets until the
/// deadline; what was said of tasks is written; the store is closed. A late part names itself.
async fn shut_down(context: &Context, parts: Vec<Part>) {
    let deadline = tokio::time::Instant::now() + SHUTDOWN;
    for (name, mut part) in parts {
        match tokio::time::timeout_at(deadline, &mut part).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "the part `{name}` stopped badly"),
            Err(_) => {
                tracing::warn!(
                    "the part `{name}` did not stop within {} s and is cut off",
                    SHUTDOWN.as_secs()
                );
                part.abort();
            }
        }
    }
    if tokio::time::timeout(Duration::from_secs(2), context.tasks.flush())
        .await
        .is_err()
    {
        tracing::warn!("the last lines of tasks were not written in time");
    }
    if tokio::time::timeout(Duration::from_secs(2), context.logs.flush())
        .await
        .is_err()
    {
        tracing::warn!("the last lines of logs were not written in time");
    }
    match tokio::time::timeout(Duration::from_secs(5), context.engine.leave()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "what was set on the machine stays"),
        Err(_) => tracing::debug!("the container engine did not answer in time"),
    }
    // Last of all, because everybody else may still have to pay.
    if tokio::time::timeout(Duration::from_secs(5), context.money.close())
        .await
        .is_err()
    {
        tracing::warn!("the ledger did not end in time; its next start takes longer");
    }
    context.store.close().await;
}

/// The container engine, once it answers; `None` if control is told to stop before.
async fn connect_engine(
    config: &Config,
    store: &Store,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    let options = DockerOptions {
        ca_bundle: config.ca_bundle.clone(),
        // Only root may answer name lookups on the port that they go to.
        dns: nix::unistd::geteuid().is_root(),
        ingress_ports: [Some(config.http), config.https]
            .into_iter()
            .flatten()
            .map(|address| address.port())
            .collect(),
        meter_egress: true,
        ..DockerOptions::new(installation(store, &config.data).await?)
    };
    loop {
        match DockerEngine::connect(options.clone()).await {
            Ok(engine) => return Ok(Some(Arc::new(engine))),
            Err(error) if error.retryable() => {
                tracing::warn!(%error, "the container engine does not answer; trying again in {} s (is it started? `docker info`)", RECONNECT.as_secs());
            }
            Err(error) => return Err(error).context("cannot use the container engine"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(RECONNECT) => {}
        }
    }
}

/// Which Weir this is, so that several on one machine leave each other's containers alone. Kept
/// in the database, and so moves with it.
async fn installation(store: &Store, data: &Path) -> anyhow::Result<String> {
    const SETTING: &str = "installation";
    let installation = match store.setting_get(SETTING).await? {
        Some(installation) => installation,
        None => {
            let made = hex(&random_bytes::<4>());
            store.setting_set(SETTING, &made).await?;
            made
        }
    };
    // For people and scripts that look for this Weir's containers by their label.
    std::fs::write(data.join("installation"), &installation).context("cannot write the installation's name")?;
    Ok(installation)
}
