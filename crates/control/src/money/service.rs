//! The task that owns the ledger: decides, writes, then answers.
//!
//! Whatever goes wrong while it writes, memory is thrown away and built anew from the store: so
//! there is one truth, and no state that only this process believes in. The exception are the
//! reports of meters within the last minute, which they tell again every second.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use weir_ledger::audit::GENESIS;
use weir_ledger::book::{Change, Command, Event, Ledger, Reply};
use weir_model::UnixMillis;
use weir_store::{Checkpoint, JournalRow, Store, StoreError, UsageHour};

use super::hours::{self, Calendar};
use super::{MoneyError, Shared, alerts, chain};

/// Commands that may wait for their turn.
pub(super) const QUEUE: usize = 1024;
/// Commands that are written together.
const BATCH: usize = 256;
/// Pause between two looks at the time.
const TICK: Duration = Duration::from_secs(1);
/// Rows of the journal between two checkpoints.
const CHECKPOINT_ROWS: i64 = 5_000;
/// Checkpoints that are kept beside the newest.
const CHECKPOINTS_KEPT: i64 = 2;
/// Rows of the journal that are read at once.
pub(super) const PAGE: i64 = 1_000;
/// Batches whose hours are kept in memory, for those who read the hours meanwhile.
const RECENT: usize = 256;

/// Where the service writes. The store, and in tests one that fails.
#[async_trait]
pub(super) trait Journal: Send + Sync + std::fmt::Debug {
    /// Appends rows and adds hours, all or nothing, durably.
    async fn append(&self, rows: &[JournalRow], hours: &[UsageHour]) -> Result<(), StoreError>;
}

#[async_trait]
impl Journal for Store {
    async fn append(&self, rows: &[JournalRow], hours: &[UsageHour]) -> Result<(), StoreError> {
        self.ledger_append(rows, hours).await
    }
}

/// What the service is asked for.
#[derive(Debug)]
pub(super) enum Order {
    /// To do something, with nothing in between. The answer is that of the last command.
    Commands {
        commands: Vec<Command>,
        answer: oneshot::Sender<Result<Reply, MoneyError>>,
    },
    /// To tell its whole state, as it is stored.
    State {
        answer: oneshot::Sender<Result<Checkpoint, MoneyError>>,
    },
}

/// What is known now. Readers may see what is written but not durable yet, for some milliseconds.
#[derive(Debug)]
pub(super) struct Books {
    pub(super) ledger: Ledger,
    pub(super) calendar: Calendar,
    /// The newest row of the journal; 0 if there is none.
    pub(super) sequence: i64,
    pub(super) hash: String,
    /// Hours of the newest batches, with the row that each batch ends with.
    recent: VecDeque<(i64, Vec<UsageHour>)>,
    /// `recent` has the hours of all rows after this one.
    recent_after: i64,
}

/// What a checkpoint holds.
#[derive(Debug, Default, Deserialize)]
struct Kept {
    ledger: Ledger,
    calendar: Calendar,
}

#[derive(Debug, Serialize)]
struct KeptRef<'a> {
    ledger: &'a Ledger,
    calendar: &'a Calendar,
}

/// The text of a checkpoint.
pub(super) fn state_of(ledger: &Ledger, calendar: &Calendar) -> Result<String, serde_json::Error> {
    serde_json::to_string(&KeptRef { ledger, calendar })
}

/// Why there is no ledger.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is stored is not what was written.
    #[error("the ledger is damaged: {0}; restore the database from a backup")]
    Damaged(String),
}

impl Books {
    fn new(state: Kept, sequence: i64, hash: String) -> Self {
        Self {
            ledger: state.ledger,
            calendar: state.calendar,
            sequence,
            hash,
            recent: VecDeque::new(),
            recent_after: sequence,
        }
    }

    /// Before the first event.
    pub(super) fn empty() -> Self {
        Self::new(Kept::default(), 0, GENESIS.to_owned())
    }

    /// From the newest checkpoint and the journal behind it.
    pub(super) async fn load(store: &Store) -> Result<Self, LoadError> {
        let mut books = match store.ledger_checkpoint_before(i64::MAX).await? {
            Some(checkpoint) => Self::from_checkpoint(store, &checkpoint).await?,
            None => Self::empty(),
        };
        loop {
            let rows = store.ledger_journal(books.sequence, PAGE).await?;
            if rows.is_empty() {
                books.recent_after = books.sequence;
                return Ok(books);
            }
            for row in &rows {
                let event = chain::read(row, books.sequence + 1, &books.hash).map_err(LoadError::Damaged)?;
                books.replay(row, &event);
            }
        }
    }

    /// One that this version cannot read is left aside: the journal says the same, more slowly.
    async fn from_checkpoint(store: &Store, checkpoint: &Checkpoint) -> Result<Self, LoadError> {
        let state: Kept = match serde_json::from_str(&checkpoint.state) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!(%error, checkpoint.sequence, "a checkpoint of the ledger cannot be read; the journal is replayed from its beginning");
                return Ok(Self::empty());
            }
        };
        let row = store.ledger_journal(checkpoint.sequence - 1, 1).await?;
        if row
            .first()
            .is_none_or(|row| (row.sequence, &row.hash) != (checkpoint.sequence, &checkpoint.hash))
        {
            return Err(LoadError::Damaged(format!(
                "the checkpoint at row {} does not belong to the journal",
                checkpoint.sequence
            )));
        }
        Ok(Self::new(state, checkpoint.sequence, checkpoint.hash.clone()))
    }

    /// Takes in an event that is in the journal; gives the hours that it adds to.
    pub(super) fn replay(&mut self, row: &JournalRow, event: &Event) -> Vec<UsageHour> {
        self.ledger.apply(event);
        self.sequence = row.sequence;
        self.hash.clone_from(&row.hash);
        self.calendar.take_in(event)
    }

    /// All that the journal has led to, as a checkpoint.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, serde_json::Error> {
        Ok(Checkpoint {
            sequence: self.sequence,
            hash: self.hash.clone(),
            state: state_of(&self.ledger, &self.calendar)?,
        })
    }

    /// Notes an event: the next row of the journal, and the hours that it adds to.
    fn note(&mut self, event: &Event, written: &mut Written) -> Result<(), serde_json::Error> {
        let row = chain::link(self.sequence + 1, &self.hash, event)?;
        written.add(self.calendar.take_in(event));
        self.sequence = row.sequence;
        self.hash.clone_from(&row.hash);
        written.rows.push(row);
        Ok(())
    }

    fn remember(&mut self, hours: Vec<UsageHour>) {
        if hours.is_empty() {
            return;
        }
        self.recent.push_back((self.sequence, hours));
        if self.recent.len() > RECENT
            && let Some((sequence, _)) = self.recent.pop_front()
        {
            self.recent_after = sequence;
        }
    }

    /// Hours that were added after a row; `None` if they are not remembered any more.
    pub(super) fn hours_after(&self, sequence: i64) -> Option<impl Iterator<Item = &UsageHour>> {
        let newer = self.recent.iter().filter(move |(last, _)| *last > sequence);
        (sequence >= self.recent_after).then(|| newer.flat_map(|(_, hours)| hours))
    }
}

/// What one batch writes.
#[derive(Debug, Default)]
struct Written {
    rows: Vec<JournalRow>,
    hours: BTreeMap<hours::Key, UsageHour>,
    /// Events that people are told of, with their row.
    alerts: Vec<(i64, Event)>,
    /// Whether something stopped, resumed or got another cap.
    changed: bool,
}

impl Written {
    fn add(&mut self, hours: Vec<UsageHour>) {
        for hour in hours {
            let sum = self.hours.entry(hours::key(&hour)).or_insert_with(|| UsageHour {
                units: 0,
                amount: weir_ledger::Nano::ZERO,
                ..hour.clone()
            });
            sum.units = sum.units.saturating_add(hour.units);
            sum.amount += hour.amount;
        }
    }
}

/// The task.
#[derive(Debug)]
pub(super) struct Service {
    shared: Arc<Shared>,
    journal: Arc<dyn Journal>,
    orders: mpsc::Receiver<Order>,
    /// Memory may differ from what is stored, and has to be built anew.
    stale: bool,
    /// The row of the newest checkpoint.
    checkpoint: i64,
}

impl Service {
    pub(super) fn new(shared: Arc<Shared>, journal: Arc<dyn Journal>, orders: mpsc::Receiver<Order>) -> Self {
        Self {
            shared,
            journal,
            orders,
            stale: false,
            checkpoint: 0,
        }
    }

    /// Works until control closes the ledger; then what waits is done, and a checkpoint written.
    pub(super) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        let closing = self.shared.closing.clone();
        loop {
            let time_passes = tokio::select! {
                count = self.orders.recv_many(&mut batch, BATCH) => {
                    if count == 0 {
                        break;
                    }
                    false
                }
                _ = tick.tick() => true,
                () = closing.cancelled(), if !self.orders.is_closed() => {
                    self.orders.close();
                    continue;
                }
            };
            self.serve(std::mem::take(&mut batch), time_passes).await;
        }
        self.write_checkpoint().await;
    }

    async fn serve(&mut self, orders: Vec<Order>, time_passes: bool) {
        let (mut commands, mut answers, mut states) = (Vec::new(), Vec::new(), Vec::new());
        if time_passes {
            commands.push(Command::Tick);
        }
        for order in orders {
            match order {
                Order::Commands { commands: more, answer } => {
                    commands.extend(more);
                    // Behind the last one.
                    answers.push((commands.len(), answer));
                }
                Order::State { answer } => states.push(answer),
            }
        }
        let result = self.commit(commands).await;
        if let Err(error) = &result {
            tracing::warn!(%error, "the ledger could not record what was decided; nothing of it counts");
        }
        for (behind, answer) in answers {
            let reply = match &result {
                Ok(replies) => replies.get(behind.saturating_sub(1)).cloned().unwrap_or(Reply::Done),
                Err(error) => {
                    let _ = answer.send(Err(error.clone()));
                    continue;
                }
            };
            let _ = answer.send(match reply {
                Reply::Refused(refusal) => Err(refusal.into()),
                reply => Ok(reply),
            });
        }
        for answer in states {
            let _ = answer.send(self.state());
        }
        if !self.stale && self.shared.books().sequence - self.checkpoint >= CHECKPOINT_ROWS {
            self.write_checkpoint().await;
        }
    }

    /// Decides and applies commands in order and writes all that follows in one transaction.
    /// Fails as a whole.
    async fn commit(&mut self, commands: Vec<Command>) -> Result<Vec<Reply>, MoneyError> {
        if self.stale {
            self.rebuild().await?;
        }
        // Whoever drops this future in the middle leaves memory ahead of the store.
        self.stale = true;
        let now_ms = self.shared.clock.now_ms();
        let decided = decide(&mut self.shared.books_mut(), commands, now_ms);
        let (replies, written) = decided.map_err(|error| MoneyError::NotRecorded(error.to_string()))?;
        let hours: Vec<UsageHour> = written.hours.into_values().collect();
        if !written.rows.is_empty() {
            let result = self.journal.append(&written.rows, &hours).await;
            result.map_err(|error| MoneyError::NotRecorded(error.to_string()))?;
            self.shared.books_mut().remember(hours);
        }
        self.stale = false;
        self.shared.alerts.push(written.alerts);
        if written.changed {
            self.shared.changes.send_modify(|count| *count += 1);
        }
        Ok(replies)
    }

    async fn rebuild(&mut self) -> Result<(), MoneyError> {
        let books = Books::load(&self.shared.store).await;
        let books = books.map_err(|error| MoneyError::NotRecorded(error.to_string()))?;
        tracing::info!(
            sequence = books.sequence,
            "the ledger was built anew from what is stored"
        );
        *self.shared.books_mut() = books;
        self.stale = false;
        // A write that failed may have happened nevertheless.
        self.shared.alerts.missed();
        self.shared.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    fn state(&self) -> Result<Checkpoint, MoneyError> {
        if self.stale {
            return Err(MoneyError::NotRecorded("it is being built anew".to_owned()));
        }
        let checkpoint = self.shared.books().checkpoint();
        checkpoint.map_err(|error| MoneyError::NotRecorded(error.to_string()))
    }

    /// Only makes the next start quicker, so that a failure is no more than a warning.
    async fn write_checkpoint(&mut self) {
        let checkpoint = match self.state() {
            Ok(checkpoint) if checkpoint.sequence > 0 => checkpoint,
            _ => return,
        };
        self.checkpoint = checkpoint.sequence;
        let store = &self.shared.store;
        if let Err(error) = store.ledger_checkpoint_insert(&checkpoint, CHECKPOINTS_KEPT).await {
            tracing::warn!(%error, "a checkpoint of the ledger could not be written");
        }
    }
}

/// In the order in which they came; each sees what those before it have changed.
fn decide(
    books: &mut Books,
    commands: Vec<Command>,
    now_ms: UnixMillis,
) -> Result<(Vec<Reply>, Written), serde_json::Error> {
    let mut written = Written::default();
    let mut replies = Vec::with_capacity(commands.len());
    for command in commands {
        let (events, reply) = books.ledger.handle(&command, now_ms);
        for event in events {
            books.note(&event, &mut written)?;
            written.changed |= wakes(&event.change);
            if alerts::is_told(&event.change) {
                written.alerts.push((books.sequence, event));
            }
        }
        replies.push(reply);
    }
    Ok((replies, written))
}

/// Whether the reconciler may have something to do after it.
fn wakes(change: &Change) -> bool {
    match change {
        Change::Opened { .. }
        | Change::CapSet { .. }
        | Change::Rolled { .. }
        | Change::Gone { .. }
        | Change::Stopped { .. }
        | Change::Resumed { .. }
        | Change::BillingSet { .. }
        | Change::StopOrderSet { .. }
        | Change::Deposited { .. }
        | Change::Promised { .. }
        | Change::PromiseBroken { .. }
        | Change::Corrected { .. } => true,
        Change::Configured(_)
        | Change::Crossed { .. }
        | Change::Published { .. }
        | Change::Invoiced { .. }
        | Change::Reserved { .. }
        | Change::MeterOpened { .. }
        | Change::Fenced { .. }
        | Change::Granted { .. }
        | Change::Returned { .. }
        | Change::Settled { .. }
        | Change::Closed { .. } => false,
    }
}
