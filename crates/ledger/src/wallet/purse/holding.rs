//! One lease as its meter holds it: what is granted, what is logged, what was poured.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::UnixMillis;

use super::record::{LeaseRecord, Record};
use crate::money::{Nano, PICO_PER_NANO, Pico};
use crate::price::PriceBook;
use crate::protocol::{Closing, Incarnation, LeaseKey, LeaseReport, LineKey, Usage, Want};
use crate::wallet::bell::Bell;
use crate::wallet::lease::Lease;
use crate::wallet::pots::Urgency;
use crate::wallet::{Figures, Wallet};

/// A chunk is what is spent in so long, in milliseconds.
const CHUNK_MS: i64 = 1_000;
/// A chunk is at least this part of what is left.
const CHUNK_SHARE: i64 = 64;
/// Shortest time over which a rate is measured, in milliseconds.
const RATE_WINDOW_MS: i64 = 100;

/// What the log says of a lease.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) granted: Nano,
    pub(super) returned: Nano,
    /// In pico-units.
    pub(super) drawn: i64,
    pub(super) closed: bool,
}

#[derive(Debug)]
pub(super) struct Holding {
    pub(super) incarnation: Incarnation,
    pub(super) key: LeaseKey,
    pub(super) price_version: u32,
    /// What is drawn from; none until the prices are known.
    pub(super) lease: Option<Arc<Lease>>,
    /// Granted in total, as the ledger said.
    pub(super) told: Nano,
    pub(super) last_grant: Nano,
    pub(super) until_ms: UnixMillis,
    pub(super) turn_over: bool,
    pub(super) recall: bool,
    /// What the log says for certain, and what it will say when the present plan is written.
    pub(super) durable: Facts,
    pub(super) planned: Facts,
    /// Drawn before this process began, for all that is known.
    gone: i64,
    /// Poured into the pots, less what was swept out of them.
    poured: i64,
    /// Used before this process began.
    base: BTreeMap<LineKey, u64>,
    /// Usage as it was last put into a plan.
    noted: BTreeMap<LineKey, u64>,
    pace: Pace,
}

/// How fast it is spent.
#[derive(Debug, Default)]
struct Pace {
    spent: i64,
    measured_ms: UnixMillis,
    rate_per_s: i64,
    /// When it was last seen to be drawn, or was new.
    active_ms: UnixMillis,
    chunk: i64,
    poured_ms: UnixMillis,
}

impl Holding {
    /// A lease to be asked for.
    pub(super) fn new(incarnation: Incarnation, key: LeaseKey, now_ms: UnixMillis) -> Self {
        Self {
            incarnation,
            key,
            price_version: 0,
            lease: None,
            told: Nano::ZERO,
            last_grant: Nano::ZERO,
            until_ms: UnixMillis::MAX,
            turn_over: false,
            recall: false,
            durable: Facts::default(),
            planned: Facts::default(),
            gone: 0,
            poured: 0,
            base: BTreeMap::new(),
            noted: BTreeMap::new(),
            pace: Pace {
                measured_ms: now_ms,
                active_ms: now_ms,
                ..Pace::default()
            },
        }
    }

    /// A lease as the log has it.
    pub(super) fn restored(record: &LeaseRecord, usage: BTreeMap<LineKey, u64>, now_ms: UnixMillis) -> Self {
        let facts = Facts {
            granted: record.granted,
            returned: record.returned,
            drawn: record.drawn.0,
            closed: record.closed,
        };
        Self {
            price_version: record.price_version,
            told: record.granted,
            last_grant: record.granted.saturating_sub(record.returned),
            durable: facts,
            planned: facts,
            gone: record.drawn.0,
            noted: usage.clone(),
            base: usage,
            ..Self::new(record.incarnation, record.lease, now_ms)
        }
    }

    /// The prices are known: it can be drawn from as soon as something is poured.
    pub(super) fn equip(&mut self, book: &Arc<PriceBook>, shards: usize, bell: &Arc<Bell>) {
        if self.lease.is_none() {
            self.price_version = book.version;
            let lease = Lease::new(Arc::clone(book), shards, Arc::clone(bell));
            self.lease = Some(Arc::new(lease));
        }
    }

    /// The ledger has granted so much in total.
    pub(super) fn hear(&mut self, granted: Nano, now_ms: UnixMillis) -> bool {
        let more = granted > self.told;
        if more {
            self.last_grant = granted.saturating_sub(self.told);
            self.told = granted;
            self.pace.active_ms = now_ms;
        }
        more
    }

    /// What may still be logged as drawn, in pico-units.
    pub(super) fn left(&self) -> i64 {
        let held = self.told.saturating_sub(self.planned.returned);
        let held = held.to_pico().unwrap_or(Pico(i64::MAX)).0;
        (held - self.planned.drawn).max(0)
    }

    /// What is planned to be poured, in pico-units.
    pub(super) fn pouring(&self) -> i64 {
        (self.planned.drawn - self.gone - self.poured).max(0)
    }

    /// What a draw could take now, in pico-units.
    pub(super) fn available(&self, urgency: Urgency) -> i64 {
        self.lease.as_ref().map_or(0, |lease| lease.pots.available(urgency))
    }

    /// What lies in the reserve, in pico-units.
    pub(super) fn reserved(&self) -> i64 {
        self.lease.as_ref().map_or(0, |lease| lease.pots.reserved())
    }

    fn spent(&self) -> i64 {
        self.lease.as_ref().map_or(0, |lease| lease.pots.spent())
    }

    /// Nothing is in the pots, and nobody has a draw that is not finished.
    pub(super) fn is_quiet(&self) -> bool {
        self.poured == self.spent() && !self.lease.as_ref().is_some_and(|lease| lease.is_in_hand())
    }

    /// How long nothing was drawn, in milliseconds.
    pub(super) fn idle_ms(&self, now_ms: UnixMillis) -> i64 {
        now_ms.saturating_sub(self.pace.active_ms)
    }

    /// Somebody wants to draw, even if there was nothing.
    pub(super) fn touch(&mut self, now_ms: UnixMillis) {
        self.pace.active_ms = now_ms;
    }

    pub(super) fn rate_per_s(&self) -> i64 {
        self.pace.rate_per_s
    }

    /// Looks how fast it is spent.
    pub(super) fn measure(&mut self, now_ms: UnixMillis) {
        let spent = self.spent();
        let elapsed_ms = now_ms.saturating_sub(self.pace.measured_ms);
        if spent > self.pace.spent {
            self.pace.active_ms = self.pace.active_ms.max(now_ms);
        }
        if elapsed_ms < 0 {
            // The clock was set back; begin anew.
            self.pace.measured_ms = now_ms;
            self.pace.active_ms = now_ms;
            self.pace.poured_ms = now_ms;
        }
        if elapsed_ms < RATE_WINDOW_MS {
            return;
        }
        let rate = i128::from(spent - self.pace.spent) * 1_000 / i128::from(elapsed_ms);
        let rate = i64::try_from(rate).unwrap_or(i64::MAX);
        // Up at once, down over some seconds.
        if rate >= self.pace.rate_per_s {
            self.pace.rate_per_s = rate;
        } else if elapsed_ms >= CHUNK_MS {
            self.pace.rate_per_s = self.pace.rate_per_s / 8 * 7 + rate / 8;
        } else {
            return;
        }
        self.pace.spent = spent;
        self.pace.measured_ms = now_ms;
    }

    /// Plans to pour a chunk, at least so much where it is there.
    pub(super) fn plan_chunk(&mut self, at_least: i64, now_ms: UnixMillis) {
        let share = self.left() / CHUNK_SHARE;
        let doubled = if now_ms.saturating_sub(self.pace.poured_ms) < CHUNK_MS {
            // The last one did not last: the rate is not known yet.
            self.pace.chunk.saturating_mul(2)
        } else {
            0
        };
        let usual = self.pace.rate_per_s.max(share).max(doubled);
        let chunk = usual.max(at_least).min(self.left());
        self.planned.drawn = (self.gone + self.poured).saturating_add(chunk);
    }

    /// Takes everything above `floor` out of reach. It stays part of the lease; the mark is to
    /// be lowered by it.
    pub(super) fn sweep(&mut self, floor: i64) {
        if let Some(lease) = &self.lease {
            self.poured -= lease.pots.sweep(floor);
        }
        self.planned.drawn = self.gone + self.poured;
    }

    /// Plans to pour no more than this, where it is there.
    pub(super) fn plan_rest(&mut self, amount: i64) {
        self.planned.drawn = (self.gone + self.poured).saturating_add(amount.min(self.left()));
    }

    /// Plans to give back what lies above the mark.
    pub(super) fn plan_return(&mut self) {
        let returned = self.told.saturating_sub(Pico(self.planned.drawn).to_nano_up());
        self.planned.returned = self.planned.returned.max(returned);
        // What is kept is enough until most of it is gone; else it would be asked for again at once.
        self.last_grant = self.told.saturating_sub(self.planned.returned);
    }

    /// Moves money between the chunk and the reserve.
    pub(super) fn level(&self, floor: i64) {
        if let Some(lease) = &self.lease {
            lease.pots.level(floor);
        }
    }

    /// Whether the chunk is below its mark.
    pub(super) fn is_low(&self) -> bool {
        self.lease.as_ref().is_some_and(|lease| lease.pots.is_low())
    }

    /// What has to be logged, if something has.
    pub(super) fn record(&mut self) -> Option<Record> {
        self.planned.granted = self.told;
        if self.planned == self.durable {
            return None;
        }
        let usage = self.usage();
        let changed = usage.iter().filter(|(line, units)| self.noted.get(line) != Some(units));
        let changed: Usage = changed.cloned().collect();
        self.noted.extend(changed.iter().cloned());
        Some(Record::Lease(self.as_record(self.planned, changed)))
    }

    /// All that the log has to say of it.
    pub(super) fn snapshot(&self) -> Record {
        Record::Lease(self.as_record(self.durable, self.usage()))
    }

    fn as_record(&self, facts: Facts, usage: Usage) -> LeaseRecord {
        LeaseRecord {
            incarnation: self.incarnation,
            lease: self.key,
            price_version: self.price_version,
            granted: facts.granted,
            returned: facts.returned,
            drawn: Pico(facts.drawn),
            closed: facts.closed,
            usage,
        }
    }

    /// The plan is durable: what was logged as drawn may be drawn.
    pub(super) fn commit(&mut self, floor: i64, now_ms: UnixMillis) {
        self.durable = self.planned;
        let chunk = self.durable.drawn - self.gone - self.poured;
        if chunk <= 0 || self.durable.closed {
            return;
        }
        if let Some(lease) = &self.lease {
            lease.pots.pour(chunk, floor);
            self.poured += chunk;
            self.pace.chunk = chunk;
            self.pace.poured_ms = now_ms;
        }
    }

    /// The plan could not be written, or nobody knows whether it was. What was swept stays out
    /// of reach until another plan says so; nothing is poured or given back.
    pub(super) fn abandon(&mut self) {
        self.planned = Facts {
            drawn: self.gone + self.poured,
            ..self.durable
        };
        // The log is written anew before it is used again, with all usage.
    }

    /// Units used, in total.
    pub(super) fn usage(&self) -> Usage {
        let mut usage = self.base.clone();
        for (line, units) in self.lease.iter().flat_map(|lease| lease.usage()) {
            let total = usage.entry(line).or_default();
            *total = total.saturating_add(units);
        }
        usage.into_iter().collect()
    }

    /// For the ledger.
    pub(super) fn report(&self, want: Option<Want>) -> LeaseReport {
        LeaseReport {
            lease: self.key,
            granted: self.told,
            returned: self.durable.returned,
            usage: self.usage(),
            want: want.filter(|_| !self.durable.closed),
            closed: self.durable.closed,
        }
    }

    /// For the ledger, when a later incarnation speaks.
    pub(super) fn closing(&self) -> Closing {
        Closing {
            incarnation: self.incarnation,
            lease: self.key,
            drawn: Pico(self.durable.drawn),
            returned: self.durable.returned,
            usage: self.usage(),
        }
    }

    /// For people.
    pub(super) fn show(&self, wallet: &Wallet) {
        wallet.show(Figures {
            granted: self.told,
            returned: self.durable.returned,
            drawn: Pico(self.durable.drawn),
        });
    }

    /// What is spent per second, for the ledger.
    pub(super) fn rate_nano(&self) -> Nano {
        Pico(self.rate_per_s().saturating_add(PICO_PER_NANO - 1)).to_nano_down()
    }
}
