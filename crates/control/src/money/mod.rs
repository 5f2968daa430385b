//! The ledger's service: the one place where money is decided about.
//!
//! One task owns the ledger. It takes commands from a bounded queue, decides and applies many of
//! them, writes all their events in one transaction (group commit), and only then answers. If
//! the write fails, nothing of it counts: the ledger is built anew from what is stored, and
//! those who asked get an error. Control may die at any instant: what was answered is stored,
//! and what is stored is all there is.

mod access;
mod alerts;
mod audit;
mod builds;
mod chain;
mod costs;
mod hours;
mod kept;
mod meter;
mod reminders;
mod scopes;
mod service;
pub mod storage;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use weir_ledger::book::{AccountStanding, Command, LineDelta, LineStanding, Refusal, Reply, Scope, Settings, Standing};
use weir_ledger::protocol::{Answer, DenialReason, Exchange, MeterName};
use weir_ledger::wallet::Wallets;
use weir_ledger::{Nano, PriceBook, Sku};
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName, ProjectId, UnixMillis};
use weir_store::{Checkpoint, Store, StoreError};

pub use self::alerts::{Alert, AlertSink, ChangeSink, reason_in_words, run as tell};
pub use self::builds::BuildBudget;
pub(crate) use self::hours::kept_from;
use self::service::{Books, Journal, Order, Service};
use crate::clock::Clock;

/// Longest wait for a place in the queue.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often costs are read again when too much was written meanwhile.
const ATTEMPTS: u32 = 5;

/// Handle to all money; cheap to clone.
#[derive(Debug, Clone)]
pub struct Money {
    shared: Arc<Shared>,
    orders: mpsc::Sender<Order>,
    wallets: Wallets,
}

/// What the service and those who ask share.
#[derive(Debug)]
struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    books: RwLock<Books>,
    changes: watch::Sender<u64>,
    alerts: alerts::Waiting,
    /// Environments whose tail of storage does not fit under the cap.
    unreserved: RwLock<BTreeMap<EnvironmentId, DenialReason>>,
    /// What may be had of the tail when control's meter asks for money next.
    /// Locked while it asks: who closes a tail knows what was had of it.
    tails: tokio::sync::Mutex<BTreeMap<EnvironmentId, Nano>>,
    /// Until when data is kept that only its tail pays for.
    keeping: RwLock<BTreeMap<EnvironmentId, Keeping>>,
    /// What meters said, for the audit.
    counters: Mutex<audit::Counters>,
    /// What nodes have served, for the audit.
    runs: Mutex<access::Runs>,
    /// Control's own meter is to give back what it holds …
    leaving: CancellationToken,
    /// … and this says when it has.
    meters: TaskTracker,
    /// Nothing more is taken in; what waits is done still.
    closing: CancellationToken,
    /// The service has ended.
    ended: CancellationToken,
}

/// How long data is kept that only its tail pays for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Keeping {
    until_ms: UnixMillis,
    /// It is over.
    forfeited: bool,
}

/// Why the ledger did not do something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The ledger says no; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It could not be recorded; nothing has changed, or (where the connection broke at the very
    /// end) it is unknown whether it has. Asking again is safe: commands that move money have
    /// an `id`.
    #[error("the ledger cannot record anything: {0}")]
    NotRecorded(String),
    /// Too much waits already; ask again in a moment.
    #[error("the ledger has too much to do; try again in a moment")]
    Busy,
    /// Control is stopping.
    #[error("the ledger is stopping")]
    Stopped,
}

/// Which costs are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CostQuery {
    /// Whose.
    pub scope: Scope,
    /// Hours that begin at this instant or later …
    pub from_ms: UnixMillis,
    /// … and before this one.
    pub until_ms: UnixMillis,
    /// How time is divided.
    pub bucket: Bucket,
    /// By what it is told apart; empty for one sum a bucket.
    pub by: Vec<CostColumn>,
}

/// How time is divided, in civil time of the ledger's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bucket {
    /// By hour.
    Hour,
    /// By day.
    Day,
    /// By month.
    Month,
    /// Not at all.
    Total,
}

/// By what costs are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CostColumn {
    /// The project.
    Project,
    /// The environment.
    Environment,
    /// The app.
    App,
    /// The process.
    Process,
    /// What was used. Only with it have rows units.
    Sku,
    /// The version of the prices.
    PriceVersion,
}

/// What something cost. What the query does not tell apart is `None`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CostRow {
    /// When the bucket begins.
    pub from_ms: UnixMillis,
    /// The project.
    pub project: Option<ProjectId>,
    /// The environment.
    pub environment: Option<EnvironmentId>,
    /// The app; also `None` for what belongs to the environment as a whole.
    pub app: Option<AppName>,
    /// The process; also `None` for what belongs to the app as a whole.
    pub process: Option<ProcessName>,
    /// What was used.
    pub sku: Option<Sku>,
    /// The version of the prices.
    pub price_version: Option<u32>,
    /// How much of it, in raw units of the SKU; `None` unless told apart by SKU.
    pub units: Option<u128>,
    /// What it cost.
    pub amount: Nano,
}

/// What a replay of everything has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    /// Events that were replayed.
    pub events: u64,
    /// The hash of the last one, in hex; all others hang on it.
    pub hash: String,
    /// Checkpoints that were compared.
    pub checkpoints: u64,
    /// Hourly rows that were compared.
    pub hours: u64,
    /// Leases whose holders' counters were compared.
    pub leases: u64,
    /// Environments of which what nodes served was compared with what is paid, each once for
    /// every series of runs of a node.
    pub accesses: u64,
    /// Requests that were paid for and not served, or not known to be because a node was killed.
    pub unserved_requests: u64,
    /// What is not as it has to be, in words; empty is good. At most 100.
    pub findings: Vec<String>,
}

impl Money {
    /// Builds the ledger from what is stored and starts its service and control's own meter,
    /// which keeps its log in `folder`. Fails if what is stored is damaged or cannot be read.
    pub async fn open(store: Store, clock: Arc<dyn Clock>, folder: &Path) -> anyhow::Result<Self> {
        let journal = Arc::new(store.clone());
        let mut money = Self::open_with(store, journal, clock).await?;
        money
            .start_meter(folder)
            .context("cannot open the log of what control has spent")?;
        Ok(money)
    }

    async fn open_with(store: Store, journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let (money, service) = Self::assemble(store, journal, clock).await?;
        let ended = money.shared.ended.clone().drop_guard();
        let work = async move {
            let _ended = ended;
            service.run().await;
        };
        tokio::spawn(tracing::Instrument::instrument(work, tracing::info_span!("ledger")));
        money.begin().await.context("cannot prepare the ledger")?;
        Ok(money)
    }

    async fn assemble(
        store: Store,
        journal: Arc<dyn Journal>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<(Self, Service)> {
        let books = Books::load(&store).await.context("cannot open the ledger")?;
        let (orders, queue) = mpsc::channel(service::QUEUE);
        let shared = Arc::new(Shared {
            store,
            clock,
            books: RwLock::new(books),
            changes: watch::channel(0).0,
            alerts: alerts::Waiting::default(),
            unreserved: RwLock::default(),
            tails: tokio::sync::Mutex::default(),
            keeping: RwLock::default(),
            counters: Mutex::default(),
            runs: Mutex::default(),
            leaving: CancellationToken::new(),
            meters: TaskTracker::new(),
            closing: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let service = Service::new(shared.clone(), journal, queue);
        let money = Self {
            shared,
            orders,
            wallets: Wallets::new(1),
        };
        Ok((money, service))
    }

    /// Returns when the service has ended, which it does not before it is closed.
    pub async fn ended(&self) {
        self.shared.ended.cancelled().await;
    }

    /// Gives back what control itself holds, does what waits, writes a checkpoint, ends the
    /// service.
    pub async fn close(&self) {
        self.shared.leaving.cancel();
        self.shared.meters.close();
        self.shared.meters.wait().await;
        self.shared.closing.cancel();
        self.ended().await;
    }

    /// Has the ledger do something. Durable before it returns; dropped in the middle, it may or
    /// may not happen. What the ledger refuses is [`MoneyError::Refused`].
    pub async fn command(&self, command: Command) -> Result<Reply, MoneyError> {
        let (answer, result) = oneshot::channel();
        let commands = vec![command];
        self.order(Order::Commands { commands, answer }).await?;
        result.await.map_err(|_| MoneyError::Stopped)?
    }

    /// Answers a meter. Durable before it returns.
    pub async fn exchange(&self, exchange: Exchange) -> Result<Answer, MoneyError> {
        lock(&self.shared.counters).note(&exchange);
        match self.command(Command::Exchange(exchange)).await? {
            Reply::Answer(answer) => Ok(answer),
            other => Err(MoneyError::NotRecorded(format!("the ledger gave no answer: {other:?}"))),
        }
    }

    async fn order(&self, order: Order) -> Result<(), MoneyError> {
        match self.orders.send_timeout(order, PATIENCE).await {
            Ok(()) => Ok(()),
            Err(mpsc::error::SendTimeoutError::Timeout(_)) => Err(MoneyError::Busy),
            Err(mpsc::error::SendTimeoutError::Closed(_)) => Err(MoneyError::Stopped),
        }
    }

    /// The whole state, as it is stored now.
    async fn state(&self) -> Result<Checkpoint, MoneyError> {
        let (answer, result) = oneshot::channel();
        self.order(Order::State { answer }).await?;
        result.await.map_err(|_| MoneyError::Stopped)?
    }

    /// How a scope stands now, what meters have reported and the journal does not have yet
    /// included (at most two seconds old). Does not wait. `None` if the ledger does not know it.
    pub fn standing(&self, scope: Scope) -> Option<Standing> {
        self.shared.books().ledger.standing(scope, self.shared.clock.now_ms())
    }

    /// What each line of an environment adds up to in the period that runs, and when that began. `None` if
    /// the ledger does not know it.
    pub fn spent(&self, environment: EnvironmentId) -> Option<(UnixMillis, Vec<LineStanding>)> {
        let scope = Scope::Environment(environment);
        let books = self.shared.books();
        let standing = books.ledger.standing(scope, self.shared.clock.now_ms())?;
        Some((standing.from_ms, books.ledger.lines(scope)))
    }

    /// How every scope stands that is not gone.
    pub fn standings(&self) -> Vec<Standing> {
        self.shared.books().ledger.standings(self.shared.clock.now_ms())
    }

    /// The tightest reason on the environment's path why it gets no money at present.
    pub fn stopped(&self, environment: EnvironmentId) -> Option<DenialReason> {
        let unreserved = read(&self.shared.unreserved).get(&environment).copied();
        unreserved.or_else(|| self.standing(Scope::Environment(environment))?.stopped)
    }

    /// Rises when a scope stops or resumes, or a cap changes.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    /// What a scope has cost, to the last unit that meters have told: it adds up to what the
    /// ledger says for the same time.
    pub async fn costs(&self, query: CostQuery) -> Result<Vec<CostRow>, MoneyError> {
        let zone = self.shared.time_zone();
        for _ in 0..ATTEMPTS {
            let mut sums = costs::Sums::new(&query, &zone);
            let (from, until) = (query.from_ms, query.until_ms);
            let hours = self
                .shared
                .store
                .usage_hours_each(Some(query.scope), from, until, |hour| sums.add(&hour));
            let sequence = hours.await?;
            if !self.shared.add_newer(sequence, &mut sums) {
                continue;
            }
            if sums.is_too_much() {
                let words = format!("that are more than {} rows; ask for less at a time", costs::ROWS);
                return Err(Refusal::Invalid(words).into());
            }
            return Ok(sums.into_rows());
        }
        Err(MoneyError::Busy)
    }

    /// What holds for the whole ledger.
    pub fn settings(&self) -> Settings {
        self.shared.books().ledger.settings().clone()
    }

    /// The time zone in which periods begin.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        self.shared.time_zone()
    }

    /// Who may still tell of what an account used before an instant that is over: meters that hold
    /// leases of a period that ended by then. `None` while a period is over and the ledger has not
    /// begun the next one, which takes it a second.
    pub fn unsettled(&self, account: AccountId, before_ms: UnixMillis) -> Option<BTreeSet<MeterName>> {
        let now_ms = self.shared.clock.now_ms();
        let books = self.shared.books();
        let standings = books.ledger.standings(now_ms);
        if standings
            .iter()
            .any(|standing| standing.until_ms.is_some_and(|until| until <= now_ms))
        {
            return None;
        }
        let open = books.calendar.open_before(account, before_ms);
        let leases = books.ledger.leases().into_iter();
        let late = leases.filter(|lease| open.contains(&lease.number));
        Some(late.map(|lease| lease.meter).collect())
    }

    /// How an account stands. `None` if the ledger does not know it.
    pub fn account(&self, account: AccountId) -> Option<AccountStanding> {
        self.shared.books().ledger.account(account)
    }

    /// Every price book that was published, oldest first.
    pub fn books(&self) -> Vec<PriceBook> {
        self.shared.books().ledger.price_books().values().cloned().collect()
    }

    /// The prices that hold for new leases.
    pub fn book(&self) -> PriceBook {
        let now_ms = self.shared.clock.now_ms();
        let book = self.shared.books().ledger.prices(now_ms).cloned();
        book.unwrap_or_else(PriceBook::built_in)
    }

    /// Forgets hours that are older than 13 months.
    pub async fn prune(&self) -> Result<(), StoreError> {
        let from_ms = hours::kept_from(self.shared.clock.now_ms());
        self.shared.store.usage_hours_prune(from_ms).await
    }

    /// Control's own wallets, for builds and storage.
    pub fn wallets(&self) -> &Wallets {
        &self.wallets
    }

    fn set_unreserved(&self, environment: EnvironmentId, reason: Option<DenialReason>) {
        let mut unreserved = self.shared.unreserved.write().unwrap_or_else(PoisonError::into_inner);
        let before = match reason {
            Some(reason) => unreserved.insert(environment, reason),
            None => unreserved.remove(&environment),
        };
        if before != reason {
            self.shared.changes.send_modify(|count| *count += 1);
        }
    }

    /// Until when the data of an environment is kept that has no money; `None` where there is
    /// money, or nothing is stored.
    pub fn kept_until(&self, environment: EnvironmentId) -> Option<UnixMillis> {
        read(&self.shared.keeping)
            .get(&environment)
            .map(|keeping| keeping.until_ms)
    }

    /// Whether the data of an environment is to be deleted: its tail is used up, and its owner was
    /// told in time.
    pub fn is_forfeited(&self, environment: EnvironmentId) -> bool {
        let keeping = read(&self.shared.keeping).get(&environment).copied();
        keeping.is_some_and(|keeping| keeping.forfeited)
    }

    fn set_keeping(&self, environment: EnvironmentId, is: Option<Keeping>) {
        let mut keeping = self.shared.keeping.write().unwrap_or_else(PoisonError::into_inner);
        match is {
            Some(is) => keeping.insert(environment, is),
            None => keeping.remove(&environment),
        };
    }

    /// So much may be had of the tail of what an environment stores when control's meter asks
    /// for it next. Gives back what was not had of what was allowed before; waits for the meter
    /// where it is just asking.
    async fn use_tail(&self, environment: EnvironmentId, amount: Option<Nano>) -> Option<Nano> {
        let mut tails = self.shared.tails.lock().await;
        match amount {
            Some(amount) => tails.insert(environment, amount),
            None => tails.remove(&environment),
        }
    }
}

impl Shared {
    fn books(&self) -> RwLockReadGuard<'_, Books> {
        read(&self.books)
    }

    fn books_mut(&self) -> RwLockWriteGuard<'_, Books> {
        self.books.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was settled since a row of the journal and what is reported and not settled.
    /// Says whether that is known.
    fn add_newer(&self, sequence: i64, sums: &mut costs::Sums<'_>) -> bool {
        let now_ms = self.clock.now_ms();
        let books = self.books();
        let Some(hours) = books.hours_after(sequence) else {
            return false;
        };
        hours.for_each(|hour| sums.add(hour));
        for line in books.ledger.lines(sums.scope()) {
            if line.reported_units == 0 {
                continue;
            }
            let delta = LineDelta {
                environment: line.environment,
                app: line.app,
                process: line.process,
                sku: line.sku,
                price_version: line.price_version,
                units: line.reported_units,
                amount: line.reported_amount,
            };
            if let Some(hour) = books.calendar.reported(delta, now_ms) {
                sums.add(&hour);
            }
        }
        true
    }

    /// The time zone of periods.
    fn time_zone(&self) -> jiff::tz::TimeZone {
        let books = self.books();
        // The ledger takes none that it does not know.
        weir_ledger::period::time_zone(&books.ledger.settings().time_zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }
}

impl From<StoreError> for MoneyError {
    fn from(error: StoreError) -> Self {
        Self::NotRecorded(error.to_string())
    }
}

/// A poisoned lock is a panic of the service, after which control starts anew.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
