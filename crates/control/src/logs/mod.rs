//! What instances, builds and Weir itself wrote: a store of its own, in files under
//! `DIR/logs/ENVIRONMENT/APP/`, bounded in bytes per app and apart from the database, so that
//! an app that writes a lot costs nobody else anything.
//!
//! Lines pass through one bounded queue to one writer, which puts all that came within a few
//! hundredths of a second into one write. Those who follow are only told *that* something is
//! new and read it from the files behind the last line that they have: they miss nothing that
//! is still there, and are told how many lines went before they could be read. A full disk
//! loses lines, says so in the log once it can, and stops nothing.

mod collect;
mod find;
mod follow;
mod limit;
mod line;
mod segments;
mod walk;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::Instrument as _;
use weir_engine::{Engine, InstanceLabels};
use weir_model::log::{LogLine, LogStream};
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName, UnixMillis};

use crate::clock::Clock;
pub use find::{Found, LineId, Mark, Start};
pub use follow::Followed;
use line::{Entry, Needle, RawLine, Writer};
use segments::{Position, Segments};
pub use walk::Range;

/// Orders that may wait for the writer; whoever writes more waits.
const QUEUE: usize = 64;
/// Most bytes of text in one order.
const ORDER_BYTES: usize = 256 * 1024;
/// Most bytes of text in one write.
const BATCH_BYTES: usize = 2 << 20;
/// The writer waits so long for more before it writes.
const GATHER: Duration = Duration::from_millis(50);
/// Most bytes of text in one answer.
const ANSWER_BYTES: usize = 16 << 20;
/// Most lines in one answer.
const ANSWER_LINES: usize = 10_000;
/// So many who take whole logs along read at once.
const WALKS: usize = 2;
/// Environments that are gone are remembered, so that a late line does not bring back a folder.
const REMOVED: usize = 10_000;

/// Why logs could not be read or removed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A file or folder failed.
    #[error("the log files failed: {0}")]
    Files(#[from] std::io::Error),
    /// Control is about to stop.
    #[error("the logs are closed: control is about to stop")]
    Closed,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogQuery {
    /// The environment.
    pub environment: EnvironmentId,
    /// Only of this app.
    pub app: Option<AppName>,
    /// Only of this process.
    pub process: Option<ProcessName>,
    /// Only of this instance.
    pub instance: Option<InstanceId>,
    /// Only of this stream.
    pub stream: Option<LogStream>,
    /// Only from this instant on.
    pub since_ms: Option<UnixMillis>,
    /// Only before this instant.
    pub until_ms: Option<UnixMillis>,
    /// Only lines with this text in them; upper and lower case are the same.
    pub grep: Option<String>,
    /// Lines of builds instead of lines of instances.
    pub build: bool,
    /// Lines of the access log, which is kept apart, instead of what apps wrote.
    pub access: bool,
    /// So many of the newest lines; 10,000 at most.
    pub limit: usize,
}

impl LogQuery {
    /// The newest 100 lines of all instances of an environment.
    pub fn new(environment: EnvironmentId) -> Self {
        Self {
            environment,
            app: None,
            process: None,
            instance: None,
            stream: None,
            since_ms: None,
            until_ms: None,
            grep: None,
            build: false,
            access: false,
            limit: 100,
        }
    }
}

/// Handle to the logs; cheap to clone.
#[derive(Debug, Clone)]
pub struct Logs {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    bytes_per_app: u64,
    clock: Arc<dyn Clock>,
    engine: Arc<dyn Engine>,
    environments: Mutex<HashMap<EnvironmentId, Arc<EnvironmentLogs>>>,
    removed: Mutex<HashSet<EnvironmentId>>,
    /// Turns of those who take whole logs along.
    walks: Arc<Semaphore>,
    /// Instances whose output is read, or was read to its end.
    watched: Mutex<HashMap<InstanceId, watch::Receiver<bool>>>,
}

/// The logs of one environment.
#[derive(Debug)]
struct EnvironmentLogs {
    folder: PathBuf,
    bytes_per_app: u64,
    apps: Mutex<BTreeMap<AppName, Arc<Segments>>>,
    /// Access logs, each with bounds of its own: they must not push out what an app writes.
    access: Mutex<BTreeMap<AppName, Arc<Segments>>>,
    /// Counts writes.
    news: watch::Sender<u64>,
}

/// Which log of an app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// What its instances and builds wrote, and Weir about them.
    Output,
    /// Requests to it.
    Access,
}

/// Ends the folder of an access log; no name of an app has a dot.
const ACCESS_FOLDER: &str = ".access";

/// What the writer is to do, in this order.
#[derive(Debug)]
enum Order {
    Append {
        environment: EnvironmentId,
        app: AppName,
        kind: Kind,
        entries: Vec<Entry>,
    },
    Remove {
        environment: EnvironmentId,
        done: oneshot::Sender<std::io::Result<()>>,
    },
    Flush {
        done: oneshot::Sender<()>,
    },
}

impl Logs {
    /// Starts the writer, which ends once every handle is dropped and all is written. Must be
    /// called in a runtime.
    pub fn open(folder: PathBuf, bytes_per_app: u64, clock: Arc<dyn Clock>, engine: Arc<dyn Engine>) -> Self {
        let (orders, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            folder,
            bytes_per_app,
            clock,
            engine,
            environments: Mutex::default(),
            removed: Mutex::default(),
            walks: Arc::new(Semaphore::new(WALKS)),
            watched: Mutex::default(),
        });
        tokio::spawn(write(shared.clone(), queue).instrument(tracing::info_span!("log writer")));
        Self { shared, orders }
    }

    /// Adds lines; they are written within a tenth of a second. Waits only while the queue is
    /// full.
    pub async fn append(&self, environment: EnvironmentId, lines: &[LogLine]) {
        let mut rest = lines;
        while let Some(first) = rest.first() {
            let same = rest.iter().take_while(|line| line.app == first.app).count();
            self.append_entries(environment, &first.app, rest[..same].iter().map(Entry::of).collect())
                .await;
            rest = &rest[same..];
        }
    }

    /// Adds lines to the access log of an app.
    pub async fn append_access(&self, environment: EnvironmentId, app: &AppName, lines: &[LogLine]) {
        let entries = lines.iter().map(Entry::of).collect();
        self.append_to(environment, app, Kind::Access, entries).await;
    }

    async fn append_entries(&self, environment: EnvironmentId, app: &AppName, entries: Vec<Entry>) {
        self.append_to(environment, app, Kind::Output, entries).await;
    }

    async fn append_to(&self, environment: EnvironmentId, app: &AppName, kind: Kind, entries: Vec<Entry>) {
        let (mut order, mut bytes) = (Vec::new(), 0);
        for entry in entries {
            bytes += entry.text.len();
            order.push(entry);
            if bytes >= ORDER_BYTES {
                let entries = std::mem::take(&mut order);
                self.send(Order::Append {
                    environment,
                    app: app.clone(),
                    kind,
                    entries,
                })
                .await;
                bytes = 0;
            }
        }
        if !order.is_empty() {
            self.send(Order::Append {
                environment,
                app: app.clone(),
                kind,
                entries: order,
            })
            .await;
        }
    }

    /// Adds a line by Weir itself about an instance: `exited with status 1`.
    pub async fn note(&self, labels: &InstanceLabels, text: &str) {
        let entry = Entry {
            at_ns: self.shared.clock.now_ms().saturating_mul(1_000_000),
            instance: Some(labels.instance),
            process: labels.process.clone(),
            writer: Writer::Weir,
            text: line::cut(text),
        };
        self.append_entries(labels.environment, &labels.app, vec![entry]).await;
    }

    /// The newest lines that match, oldest first.
    pub async fn read(&self, query: LogQuery) -> Result<Vec<LogLine>, LogError> {
        let found = self.find(query, Start::End).await?.unwrap_or_default();
        Ok(found.into_iter().map(|found| found.line).collect())
    }

    /// The newest lines that an instance wrote, oldest first, those included that were given
    /// right before.
    pub async fn last_lines(&self, environment: EnvironmentId, instance: InstanceId, limit: usize) -> Vec<String> {
        self.flush().await;
        let query = LogQuery {
            instance: Some(instance),
            limit,
            ..LogQuery::new(environment)
        };
        match self.read(query).await {
            Ok(lines) => lines.into_iter().map(|line| line.text).collect(),
            Err(error) => {
                tracing::warn!(instance.id = %instance, %error, "the last lines of an instance cannot be read");
                Vec::new()
            }
        }
    }

    /// Returns once everything given so far is written.
    pub async fn flush(&self) {
        let (done, written) = oneshot::channel();
        self.send(Order::Flush { done }).await;
        let _ = written.await;
    }

    /// Removes all logs of an environment that is destroyed; lines that come later are left
    /// out. Fine if there are none.
    pub async fn remove_environment(&self, environment: EnvironmentId) -> Result<(), LogError> {
        let (done, removed) = oneshot::channel();
        self.send(Order::Remove { environment, done }).await;
        removed.await.map_err(|_| LogError::Closed)?.map_err(LogError::from)
    }

    async fn send(&self, order: Order) {
        if self.orders.send(order).await.is_err() {
            tracing::error!("the log writer has ended; lines are lost");
        }
    }
}

impl Shared {
    /// The logs of an environment; reads what is on disk on first use. Blocking.
    fn environment(&self, id: EnvironmentId) -> std::io::Result<Arc<EnvironmentLogs>> {
        let mut environments = lock(&self.environments);
        if let Some(environment) = environments.get(&id) {
            return Ok(environment.clone());
        }
        let folder = self.folder.join(id.to_string());
        let (mut apps, mut access) = (BTreeMap::new(), BTreeMap::new());
        match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            entries => {
                for entry in entries? {
                    let entry = entry?;
                    let name = entry.file_name();
                    let Some(name) = name.to_str() else { continue };
                    let (name, logs) = match name.strip_suffix(ACCESS_FOLDER) {
                        Some(name) => (name, &mut access),
                        None => (name, &mut apps),
                    };
                    if let Ok(app) = AppName::new(name) {
                        logs.insert(app, Arc::new(Segments::open(entry.path(), self.bytes_per_app)?));
                    }
                }
            }
        }
        let environment = Arc::new(EnvironmentLogs {
            folder,
            bytes_per_app: self.bytes_per_app,
            apps: Mutex::new(apps),
            access: Mutex::new(access),
            news: watch::Sender::new(0),
        });
        environments.insert(id, environment.clone());
        Ok(environment)
    }

    /// Blocking.
    fn remove(&self, id: EnvironmentId) -> std::io::Result<()> {
        let mut removed = lock(&self.removed);
        if removed.len() >= REMOVED {
            removed.clear();
        }
        removed.insert(id);
        lock(&self.environments).remove(&id);
        match std::fs::remove_dir_all(self.folder.join(id.to_string())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl EnvironmentLogs {
    /// The log of an app; made on first use. Blocking.
    fn app(&self, app: &AppName) -> std::io::Result<Arc<Segments>> {
        self.log(app, Kind::Output)
    }

    /// One of the logs of an app; made on first use. Blocking.
    fn log(&self, app: &AppName, kind: Kind) -> std::io::Result<Arc<Segments>> {
        let (logs, suffix) = match kind {
            Kind::Output => (&self.apps, ""),
            Kind::Access => (&self.access, ACCESS_FOLDER),
        };
        let mut logs = lock(logs);
        if let Some(segments) = logs.get(app) {
            return Ok(segments.clone());
        }
        let folder = self.folder.join(format!("{app}{suffix}"));
        let segments = Arc::new(Segments::open(folder, self.bytes_per_app)?);
        logs.insert(app.clone(), segments.clone());
        Ok(segments)
    }

    /// The logs that a query is about.
    fn asked(&self, query: &LogQuery) -> Vec<(AppName, Arc<Segments>)> {
        let apps = lock(if query.access { &self.access } else { &self.apps });
        let asked = apps
            .iter()
            .filter(|(app, _)| query.app.as_ref().is_none_or(|asked| asked == *app));
        asked.map(|(app, segments)| (app.clone(), segments.clone())).collect()
    }

    /// The logs that a query is about, with their ends.
    fn ends(&self, query: &LogQuery) -> Vec<(AppName, Arc<Segments>, Position)> {
        let asked = self.asked(query).into_iter();
        asked
            .map(|(app, segments)| (app, segments.clone(), segments.end()))
            .collect()
    }
}

/// Decides which lines are wanted; cheap for those that are not.
#[derive(Debug, Clone)]
struct Filter {
    process: Option<String>,
    instance: Option<String>,
    since_ms: UnixMillis,
    until_ms: UnixMillis,
    stream: Option<LogStream>,
    needle: Option<Needle>,
    build: Option<bool>,
}

const BUILD: &[u8] = b"build";

impl Filter {
    fn new(query: &LogQuery) -> Self {
        let process = query.process.as_ref().map(ToString::to_string);
        // Who names a process gets it, whatever it is.
        let build = if query.build {
            Some(true)
        } else {
            process.is_none().then_some(false)
        };
        Self {
            process: process.filter(|_| !query.build),
            instance: query.instance.map(|instance| instance.to_string()),
            stream: query.stream,
            since_ms: query.since_ms.unwrap_or(UnixMillis::MIN),
            until_ms: query.until_ms.unwrap_or(UnixMillis::MAX),
            needle: query.grep.as_deref().filter(|text| !text.is_empty()).map(Needle::new),
            build,
        }
    }

    fn read<'a>(&self, app: &AppName, line: &'a [u8]) -> Option<(RawLine<'a>, LogLine)> {
        let raw = RawLine::parse(line)?;
        let at_ms = raw.at_ms();
        let wanted = self.since_ms <= at_ms
            && at_ms < self.until_ms
            && self
                .process
                .as_ref()
                .is_none_or(|process| process.as_bytes() == raw.process)
            && self
                .instance
                .as_ref()
                .is_none_or(|instance| instance.as_bytes() == raw.instance)
            && self.stream.is_none_or(|stream| stream == raw.stream())
            && self.build.is_none_or(|build| build == (raw.process == BUILD));
        if !wanted {
            return None;
        }
        let line = raw.read(app)?;
        let found = self.needle.as_ref().is_none_or(|needle| needle.is_in(&line.text));
        found.then_some((raw, line))
    }
}

/// The writer: gathers what comes in a moment and writes it at once.
async fn write(shared: Arc<Shared>, mut orders: mpsc::Receiver<Order>) {
    let mut batch = HashMap::new();
    while let Some(order) = orders.recv().await {
        let until = tokio::time::Instant::now() + GATHER;
        let mut bytes = 0;
        let mut next = Some(order);
        while let Some(Order::Append {
            environment,
            app,
            kind,
            mut entries,
        }) = next.take_if(|order| matches!(order, Order::Append { .. }))
        {
            bytes += entries.iter().map(|entry| entry.text.len()).sum::<usize>();
            batch
                .entry((environment, app, kind))
                .or_insert_with(Vec::new)
                .append(&mut entries);
            if bytes < BATCH_BYTES {
                next = tokio::time::timeout_at(until, orders.recv()).await.ok().flatten();
            }
        }
        write_batch(&shared, &mut batch).await;
        match next {
            Some(Order::Flush { done }) => drop(done.send(())),
            Some(Order::Remove { environment, done }) => {
                let shared = shared.clone();
                let removed = tokio::task::spawn_blocking(move || shared.remove(environment)).await;
                let _ = done.send(removed.unwrap_or_else(|error| Err(std::io::Error::other(error))));
            }
            Some(Order::Append { .. }) | None => {}
        }
    }
}

type Batch = HashMap<(EnvironmentId, AppName, Kind), Vec<Entry>>;

async fn write_batch(shared: &Arc<Shared>, batch: &mut Batch) {
    if batch.is_empty() {
        return;
    }
    let (shared, batch) = (shared.clone(), std::mem::take(batch));
    let written = tokio::task::spawn_blocking(move || {
        for ((id, app, kind), entries) in batch {
            if lock(&shared.removed).contains(&id) {
                continue;
            }
            let written = shared.environment(id).and_then(|environment| {
                let result = environment.log(&app, kind)?.append(&entries);
                environment.news.send_modify(|news| *news += 1);
                result
            });
            if let Err(error) = written {
                tracing::warn!(environment.id = %id, app.name = %app, %error, "{} log lines could not be written", entries.len());
            }
        }
    });
    if let Err(error) = written.await {
        tracing::error!(%error, "writing log lines broke off");
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| LogError::Closed)?
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is changed in single steps, so it is good after a panic too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
