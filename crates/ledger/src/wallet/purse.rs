//! The refilling side of all wallets of one meter, pure: no file, no socket, no clock. Whoever
//! drives it does, in this order and never two at once:
//!
//! 1. [`Purse::plan`]: looks at the wallets and says what has to be logged now;
//! 2. writes [`Plan::records`] durably;
//! 3. [`Purse::commit`]: pours what was logged; or [`Purse::abandon`], if the log cannot be
//!    written: nothing is poured, and the log is to be written anew from [`Purse::snapshot`];
//! 4. at [`Purse::next_exchange_ms`], sends [`Purse::question`], one at a time, and brings back
//!    the answer ([`Purse::answer`]) or the news that there is none ([`Purse::unanswered`]);
//! 5. sleeps until [`Purse::next_look_ms`], or [`Wallets::rung`], or an answer.
//!
//! A restarted meter goes on with the leases of its last incarnation while the ledger is away. It
//! knocks with a question of incarnation 0, which changes nothing in the ledger. Only when that is
//! answered does it close the old leases in its log, begin a new incarnation, and tell the marks.
//!
//! Superseded (another process speaks in its name, or the ledger gave it up), it stops drawing at
//! once, and knocks again after a while, longer each time, so that two who believe to be the same
//! do not take the money from each other all day.

mod holding;
mod record;
mod slot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::{EnvironmentId, UnixMillis};

use self::holding::Holding;
use self::record::Memory;
pub use self::record::{LeaseRecord, Record};
use self::slot::{Circumstances, Slot};
use super::Wallets;
use crate::price::PriceBook;
use crate::protocol::{Answer, Exchange, Incarnation, MeterName, Standing};

/// Between two questions, in milliseconds.
const EXCHANGE_MS: i64 = 1_000;
/// Between two questions when somebody waits and the last one did not help, in milliseconds.
const IMPATIENT_MS: i64 = 50;
/// All wallets are looked at so often, in milliseconds.
const LOOK_MS: i64 = 1_000;
/// With no answer for so long the ledger counts as away, in milliseconds.
const AWAY_MS: i64 = 3_000;
/// Pauses after being superseded, in milliseconds; the longest, and how long all has to be well
/// until they begin anew.
const SUPERSEDED_MS: i64 = 5_000;
const LONGEST_SUPERSEDED_MS: i64 = 300_000;

/// All leases of one meter.
#[derive(Debug)]
pub struct Purse {
    name: MeterName,
    boot: u64,
    wallets: Wallets,
    /// The latest that is in the log.
    incarnation: Incarnation,
    phase: Phase,
    books: BTreeMap<u32, Arc<PriceBook>>,
    slots: BTreeMap<EnvironmentId, Slot>,
    /// Those of them that wait for an instant or for the next exchange.
    busy: BTreeSet<EnvironmentId>,
    /// Of earlier incarnations, never to be drawn again, until the ledger knows.
    closings: Vec<Holding>,
    /// To be logged with the next plan.
    pending: Vec<Record>,
    recording: bool,
    finishing: bool,
    look_ms: UnixMillis,
    exchange_ms: UnixMillis,
    asked_ms: UnixMillis,
    /// All leases are to be named, not only those that want something.
    name_all_ms: UnixMillis,
    heard_ms: UnixMillis,
    /// When it was superseded last, and the pause that followed.
    superseded: Option<(UnixMillis, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The ledger has not answered yet; the leases of the log are drawn.
    Knocking,
    /// The ledger has answered: this incarnation is to be logged.
    Joining(Incarnation),
    /// It is logged. `known`: the ledger has answered to it, and has taken the closings.
    Current { known: bool },
}

/// What has to be logged before the purse goes on. Empty plans are committed, too.
#[derive(Debug)]
#[must_use = "write the records, then commit it; or abandon it"]
pub struct Plan {
    records: Vec<Record>,
    starts: Option<Incarnation>,
    touched: BTreeSet<EnvironmentId>,
}

impl Plan {
    /// To be written durably, in this order, all or from the first on.
    pub fn records(&self) -> &[Record] {
        &self.records
    }
}

impl Purse {
    /// A meter that starts, with what its log says. `boot` is random.
    pub fn open(
        name: MeterName,
        boot: u64,
        wallets: Wallets,
        log: impl IntoIterator<Item = Record>,
        now_ms: UnixMillis,
    ) -> Self {
        let memory = Memory::read(log);
        wallets.inner.switchboard.attend(true);
        let mut purse = Self {
            name,
            boot,
            wallets,
            incarnation: memory.incarnation,
            phase: Phase::Knocking,
            books: memory
                .books
                .into_iter()
                .map(|(version, book)| (version, Arc::new(book)))
                .collect(),
            slots: BTreeMap::new(),
            busy: BTreeSet::new(),
            closings: Vec::new(),
            pending: Vec::new(),
            recording: true,
            finishing: false,
            look_ms: now_ms,
            exchange_ms: now_ms,
            asked_ms: UnixMillis::MIN,
            name_all_ms: now_ms,
            heard_ms: now_ms,
            superseded: None,
        };
        for (record, usage) in memory.leases.into_values() {
            purse.restore(Holding::restored(&record, usage, now_ms));
        }
        purse
    }

    /// Looks at the wallets that rang, now and then at all, and says what is to be logged.
    pub fn plan(&mut self, now_ms: UnixMillis) -> Plan {
        let mut touched: BTreeSet<EnvironmentId> = self.wallets.inner.switchboard.take_calls().into_iter().collect();
        // The second condition: the clock was set back.
        if now_ms >= self.look_ms || self.look_ms > now_ms.saturating_add(LOOK_MS) || self.finishing {
            self.look_ms = now_ms.saturating_add(LOOK_MS);
            touched.extend(self.wallets.all().iter().map(|wallet| wallet.environment));
        }
        let due = self
            .busy
            .iter()
            .filter(|environment| self.slots.get(environment).is_some_and(|slot| slot.is_due(now_ms)));
        touched.extend(due);
        let mut records = std::mem::take(&mut self.pending);
        let starts = match self.phase {
            Phase::Joining(incarnation) => Some(incarnation),
            Phase::Knocking | Phase::Current { .. } => None,
        };
        if let Some(incarnation) = starts {
            self.revoke_all();
            records.push(Record::Start { incarnation });
        }
        let circumstances = self.circumstances(now_ms);
        for environment in &touched {
            let slot = self
                .slots
                .entry(*environment)
                .or_insert_with(|| Slot::new(self.wallets.wallet(*environment)));
            slot.plan(&circumstances);
            records.extend(slot.holdings_mut().filter_map(Holding::record));
        }
        records.extend(self.closings.iter_mut().filter_map(Holding::record));
        Plan {
            records,
            starts,
            touched,
        }
    }

    /// The records of the plan are durable.
    pub fn commit(&mut self, plan: Plan, now_ms: UnixMillis) {
        self.recording = true;
        if let Some(incarnation) = plan.starts {
            self.incarnation = incarnation;
            self.wallets.drawn_by(&self.name, incarnation);
            self.phase = Phase::Current { known: false };
            self.exchange_ms = now_ms;
            // Those who were told that the ledger is away look again.
            self.look_ms = now_ms;
        }
        for closing in &mut self.closings {
            closing.commit(0, now_ms);
        }
        let circumstances = self.circumstances(now_ms);
        for environment in plan.touched {
            let Some(slot) = self.slots.get_mut(&environment) else {
                continue;
            };
            slot.commit(&circumstances);
            self.note_busy(environment);
        }
        self.hurry(now_ms);
    }

    /// The records of the plan could not be written, or nobody knows. The log has to be written
    /// anew from [`Purse::snapshot`] before the next plan.
    pub fn abandon(&mut self, plan: Plan, now_ms: UnixMillis) {
        self.recording = false;
        for closing in &mut self.closings {
            closing.abandon();
        }
        let circumstances = self.circumstances(now_ms);
        for environment in plan.touched {
            let Some(slot) = self.slots.get_mut(&environment) else {
                continue;
            };
            slot.abandon(&circumstances);
            self.note_busy(environment);
        }
    }

    /// The whole log in as few records as can be; says the same as the log.
    pub fn snapshot(&self) -> Vec<Record> {
        let mut records = vec![Record::Start {
            incarnation: self.incarnation,
        }];
        let held = || self.slots.values().flat_map(Slot::holdings).chain(&self.closings);
        records.extend(self.books.values().map(|book| Record::Book {
            book: PriceBook::clone(book),
        }));
        // A lease that nobody was granted anything of says nothing.
        records.extend(
            held()
                .filter(|holding| holding.durable != holding::Facts::default())
                .map(Holding::snapshot),
        );
        records
    }

    /// When a question is to be sent, if none is on its way.
    pub fn next_exchange_ms(&self) -> UnixMillis {
        match self.phase {
            // First the log.
            Phase::Joining(_) => UnixMillis::MAX,
            Phase::Knocking | Phase::Current { .. } => self.exchange_ms,
        }
    }

    /// When there is something to plan even if nothing happens.
    pub fn next_look_ms(&self) -> UnixMillis {
        let busy = self.busy.iter().filter_map(|environment| self.slots.get(environment));
        let waiting = busy.filter_map(Slot::due_ms).min();
        self.look_ms.min(waiting.unwrap_or(UnixMillis::MAX))
    }

    /// What to ask the ledger.
    pub fn question(&mut self, now_ms: UnixMillis) -> Exchange {
        self.asked_ms = now_ms;
        self.exchange_ms = now_ms.saturating_add(EXCHANGE_MS);
        let mut question = Exchange {
            meter: self.name.clone(),
            incarnation: 0,
            boot: self.boot,
            closings: Vec::new(),
            leases: Vec::new(),
        };
        let Phase::Current { known } = self.phase else {
            // A knock.
            return question;
        };
        question.incarnation = self.incarnation;
        if !known {
            question.closings = self.closings.iter().map(Holding::closing).collect();
        }
        let all = now_ms >= self.name_all_ms || self.name_all_ms > now_ms.saturating_add(EXCHANGE_MS);
        if all {
            self.name_all_ms = now_ms.saturating_add(EXCHANGE_MS);
        }
        for slot in self.slots.values_mut().filter(|slot| all || slot.is_pressing()) {
            slot.report(&mut question.leases);
        }
        question
    }

    /// The ledger has answered.
    pub fn answer(&mut self, answer: Answer, now_ms: UnixMillis) {
        match (self.phase, answer.standing) {
            (Phase::Knocking, Standing::Superseded { next }) if answer.incarnation == 0 => {
                self.heard_ms = now_ms;
                self.phase = Phase::Joining(next.max(self.incarnation.saturating_add(1)));
            }
            (Phase::Current { .. }, standing) if answer.incarnation == self.incarnation => {
                self.heard_ms = now_ms;
                match standing {
                    Standing::Current => self.take_in(answer, now_ms),
                    Standing::Superseded { .. } => self.give_way(now_ms),
                }
            }
            // To another incarnation, or too late.
            _ => {}
        }
    }

    /// The question was not answered, or not in time.
    pub fn unanswered(&mut self, now_ms: UnixMillis) {
        self.exchange_ms = now_ms.saturating_add(EXCHANGE_MS / 4);
        self.name_all_ms = now_ms;
    }

    /// Shutting down: nobody may draw any more; the next plans close what can be closed.
    pub fn finish(&mut self) {
        self.finishing = true;
        self.wallets.inner.switchboard.attend(false);
    }

    /// Nothing is left to tell the ledger.
    pub fn is_settled(&self) -> bool {
        matches!(self.phase, Phase::Current { known: true }) && self.slots.values().all(Slot::is_empty)
    }

    /// Whether the ledger has answered of late.
    pub fn is_heard(&self, now_ms: UnixMillis) -> bool {
        now_ms.saturating_sub(self.heard_ms) < AWAY_MS
    }

    /// The incarnation in the log.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Since when another has taken its place, and for how long it will not knock, in
    /// milliseconds.
    pub fn superseded(&self) -> Option<(UnixMillis, i64)> {
        self.superseded.filter(|_| self.phase == Phase::Knocking)
    }

    fn circumstances(&self, now_ms: UnixMillis) -> Circumstances {
        Circumstances {
            now_ms,
            incarnation: match self.phase {
                Phase::Current { .. } => Some(self.incarnation),
                Phase::Knocking | Phase::Joining(_) => None,
            },
            recording: self.recording,
            heard: self.is_heard(now_ms) && self.superseded().is_none(),
            finishing: self.finishing,
        }
    }

    /// A lease of the log: drawn on if it is the best of its environment, else only told.
    fn restore(&mut self, mut holding: Holding) {
        let environment = holding.key.environment;
        let book = self.books.get(&holding.price_version);
        let (Some(book), false) = (book, holding.durable.closed) else {
            self.closings.push(holding);
            return;
        };
        let wallet = self.wallets.wallet(environment);
        let slot = self
            .slots
            .entry(environment)
            .or_insert_with(|| Slot::new(Arc::clone(&wallet)));
        holding.equip(book, self.wallets.inner.shards.max(1), &wallet.bell);
        self.wallets.drawn_by(&self.name, holding.incarnation);
        self.closings.extend(slot.take_over(holding));
    }

    /// Nothing that is held now is drawn any more; it is told as closings.
    fn revoke_all(&mut self) {
        for slot in self.slots.values_mut() {
            self.closings.extend(slot.revoke());
        }
        for closing in &mut self.closings {
            closing.sweep(0);
            closing.planned.closed = true;
        }
    }

    fn give_way(&mut self, now_ms: UnixMillis) {
        self.revoke_all();
        let pause = match self.superseded {
            Some((since, pause)) if now_ms.saturating_sub(since) < pause.saturating_add(LONGEST_SUPERSEDED_MS) => {
                pause.saturating_mul(2).min(LONGEST_SUPERSEDED_MS)
            }
            _ => SUPERSEDED_MS,
        };
        self.superseded = Some((now_ms, pause));
        self.phase = Phase::Knocking;
        self.exchange_ms = now_ms.saturating_add(pause);
    }

    /// An answer to this incarnation.
    fn take_in(&mut self, answer: Answer, now_ms: UnixMillis) {
        if self.phase == (Phase::Current { known: false }) {
            self.phase = Phase::Current { known: true };
            for closing in self.closings.drain(..) {
                self.pending.push(Record::Forgot {
                    incarnation: closing.incarnation,
                    lease: closing.key,
                });
            }
        }
        for (version, book) in answer.prices {
            if !self.books.contains_key(&version) {
                self.pending.push(Record::Book { book: book.clone() });
                self.books.insert(version, Arc::new(book));
            }
        }
        let shards = self.wallets.inner.shards.max(1);
        for lease in answer.leases {
            let Some(slot) = self.slots.get_mut(&lease.lease.environment) else {
                continue;
            };
            let book = self.books.get(&lease.price_version);
            if slot.take_in(&lease, book, shards, now_ms) {
                self.pending.push(Record::Forgot {
                    incarnation: self.incarnation,
                    lease: lease.lease,
                });
            }
        }
    }

    fn note_busy(&mut self, environment: EnvironmentId) {
        let slot = self.slots.get(&environment);
        if slot.is_some_and(|slot| slot.is_pressing() || slot.due_ms().is_some()) {
            self.busy.insert(environment);
        } else {
            self.busy.remove(&environment);
        }
    }

    /// Asks soon if somebody needs it.
    fn hurry(&mut self, now_ms: UnixMillis) {
        if self.superseded().is_some() {
            return;
        }
        let busy = self.busy.iter().filter_map(|environment| self.slots.get(environment));
        let soonest = busy
            .filter(|slot| slot.is_pressing())
            .map(|slot| {
                let impatient = self.asked_ms.saturating_add(IMPATIENT_MS);
                if slot.is_impatient() { impatient } else { now_ms }
            })
            .min();
        if let Some(soonest) = soonest {
            self.exchange_ms = self.exchange_ms.min(soonest.max(now_ms));
        }
    }
}

impl Drop for Purse {
    /// Nobody refills any more.
    fn drop(&mut self) {
        self.wallets.inner.switchboard.attend(false);
        for wallet in self.wallets.all() {
            wallet.serve(UnixMillis::MAX, Some(super::NoMoney::CutOff), super::NoMoney::CutOff);
        }
    }
}
