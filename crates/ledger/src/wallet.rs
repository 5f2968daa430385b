//! What a meter spends from: one wallet per environment, drawn by many threads.
//!
//! A warm draw is a few atomic operations: no lock shared between cores, no system call, no
//! allocation. The money that may be drawn was logged durably as spent before (a *chunk* of the
//! lease); what finished work did not need is put back into the chunk, never below the mark in
//! the log. Leases follow each other (a period ends, prices change); a [`Till`] is the handle
//! that stays.
//!
//! Who draws sees [`Wallets`], [`Till`] and [`Draw`]. Who refills drives a [`purse::Purse`]: it
//! holds the leases, says what has to be logged before what, and talks with the ledger.

mod bell;
mod lease;
mod pots;
pub mod purse;
mod waiting;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::task::Context;
use std::time::Duration;

use arc_swap::ArcSwap;
use weir_model::route::MeterMark;
use weir_model::{AppName, EnvironmentId, ProcessName};

use self::bell::{Bell, Switchboard};
use self::lease::{Counter, Lease, Line};
pub use self::pots::Urgency;
use self::waiting::{Queue, Waiting};
use crate::money::{Nano, Pico};
use crate::price::Sku;
use crate::protocol::{DenialReason, Incarnation, LineKey, Usage};

/// The numbers that [`pots`] is made of; its test under loom brings others.
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicI64, Ordering};
}

/// All wallets of one process; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Wallets {
    inner: Arc<Inner>,
}

/// Where one process of one app (or an app, or an environment as a whole) pays. Stays the same
/// over leases; get it once and keep it.
#[derive(Debug)]
pub struct Till {
    wallet: Arc<Wallet>,
    app: Option<AppName>,
    process: Option<ProcessName>,
    desk: ArcSwap<Desk>,
}

/// Money drawn ahead for work that is not finished. Dropped, all of it counts as used.
#[derive(Debug)]
#[must_use = "finish it with what was really used"]
pub struct Draw {
    counter: Arc<Counter>,
    units: u64,
    cost: Pico,
    finished: bool,
}

/// There is not enough in the chunk. More was asked for; it may be there in a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dry;

/// Why there will be no money for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoMoney {
    /// The ledger refused.
    #[error("the ledger grants nothing: {0:?}")]
    Denied(DenialReason),
    /// The ledger did not answer in time, and what was held is spent.
    #[error("the ledger does not answer, and what was held is spent")]
    CutOff,
    /// The log cannot be written (a full disk), so nothing more may be spent.
    #[error("what is spent cannot be recorded")]
    NotRecorded,
}

/// How the wallet of an environment stands, for people. Figures of the lease that is drawn now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gauge {
    /// Granted in total.
    pub granted: Nano,
    /// Given back in total.
    pub returned: Nano,
    /// The mark up to which it may have been drawn, as logged.
    pub drawn: Pico,
    /// Of that, spent on finished work; the rest lies in the pots or is in flight.
    pub spent: Pico,
    /// The version of its prices.
    pub price_version: u32,
    /// Units used, by line.
    pub usage: Usage,
}

#[derive(Debug, Default)]
struct Inner {
    shards: usize,
    wallets: RwLock<BTreeMap<EnvironmentId, Arc<Wallet>>>,
    switchboard: Arc<Switchboard>,
    /// Who refills.
    meter: Mutex<Option<MeterMark>>,
}

/// What is held for one environment: the lease that is drawn now, and who waits for more.
#[derive(Debug)]
struct Wallet {
    environment: EnvironmentId,
    bell: Arc<Bell>,
    counter: Mutex<CurrentLease>,
    /// What requests leave to instances, in pico-units.
    floor: AtomicI64,
    /// The least that a draw lacked since the refiller last looked; requests, instances.
    short: [AtomicI64; 2],
    /// Index into [`TROUBLES`] plus one; with [`FIRM`] if asking again makes no sense yet.
    trouble: AtomicU8,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct CurrentLease {
    lease: Option<Arc<Lease>>,
    figures: Option<Figures>,
    tills: BTreeMap<(Option<AppName>, Option<ProcessName>), Weak<Till>>,
}

#[derive(Debug, Clone, Copy)]
struct Figures {
    granted: Nano,
    returned: Nano,
    drawn: Pico,
}

/// A till's view of one lease: the lines that it has used, found without a search.
#[derive(Debug, Default)]
struct Desk {
    lease: Option<Arc<Lease>>,
    known: [OnceLock<Arc<Line>>; KNOWN.len()],
    others: RwLock<BTreeMap<Sku, Arc<Line>>>,
}

/// What nearly everything is paid for.
const KNOWN: [&str; 6] = ["requests", "egress", "cpu", "memory", "memory-frozen", "storage"];

const TROUBLES: [NoMoney; 9] = [
    NoMoney::CutOff,
    NoMoney::NotRecorded,
    NoMoney::Denied(DenialReason::EnvironmentCap),
    NoMoney::Denied(DenialReason::ProjectCap),
    NoMoney::Denied(DenialReason::AccountCap),
    NoMoney::Denied(DenialReason::Balance),
    NoMoney::Denied(DenialReason::Pace),
    NoMoney::Denied(DenialReason::Recalling),
    NoMoney::Denied(DenialReason::Gone),
];
const FIRM: u8 = 0x80;

/// Nothing was lacked.
const NOT_SHORT: i64 = i64::MAX;

/// A poisoned lock is a panic elsewhere; what it guards here is whole at every instant.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Wallets {
    /// Wallets for so many threads that draw (their numbers are the `shard` of every draw).
    pub fn new(shards: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                shards,
                ..Inner::default()
            }),
        }
    }

    /// The till of a payer; the same for the same payer, as long as somebody keeps it.
    pub fn till(&self, environment: EnvironmentId, app: Option<&AppName>, process: Option<&ProcessName>) -> Arc<Till> {
        self.wallet(environment).till(app.cloned(), process.cloned())
    }

    /// Keeps so much for [`Urgency::Instance`]: what the running instances of an environment need
    /// for their next seconds, and until they are frozen. Stays until it is set anew.
    pub fn set_floor(&self, environment: EnvironmentId, floor: Pico) {
        let wallet = self.wallet(environment);
        if wallet.floor.swap(floor.0.max(0), Ordering::SeqCst) != floor.0 {
            wallet.bell.ring();
        }
    }

    /// How the wallet of an environment stands; `None` while it holds no lease.
    pub fn gauge(&self, environment: EnvironmentId) -> Option<Gauge> {
        let (lease, figures) = {
            let wallets = self.read();
            let current = lock(&wallets.get(&environment)?.counter);
            (Arc::clone(current.lease.as_ref()?), current.figures?)
        };
        Some(Gauge {
            granted: figures.granted,
            returned: figures.returned,
            drawn: figures.drawn,
            spent: Pico(lease.pots.spent()),
            price_version: lease.prices.version,
            usage: lease.usage(),
        })
    }

    /// From whose leases is drawn; `None` while there are none.
    pub fn meter(&self) -> Option<MeterMark> {
        lock(&self.inner.meter).clone()
    }

    /// Leases of this incarnation are drawn from now on.
    fn drawn_by(&self, meter: &str, incarnation: Incarnation) {
        let mut mark = lock(&self.inner.meter);
        let first = mark.as_ref().map_or(incarnation, |mark| mark.first.min(incarnation));
        *mark = Some(MeterMark {
            meter: meter.to_owned(),
            first,
            incarnation,
        });
    }

    /// Ready as soon as some wallet needs its refiller.
    pub async fn rung(&self) {
        std::future::poll_fn(|context: &mut Context<'_>| self.inner.switchboard.poll_ring(context)).await;
    }

    fn wallet(&self, environment: EnvironmentId) -> Arc<Wallet> {
        if let Some(wallet) = self.read().get(&environment) {
            return Arc::clone(wallet);
        }
        let mut wallets = self.inner.wallets.write().unwrap_or_else(PoisonError::into_inner);
        let fresh = || Arc::new(Wallet::new(environment, &self.inner.switchboard));
        Arc::clone(wallets.entry(environment).or_insert_with(fresh))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<EnvironmentId, Arc<Wallet>>> {
        self.inner.wallets.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> Vec<Arc<Wallet>> {
        self.read().values().cloned().collect()
    }
}

impl Till {
    /// Pays for so many units of finished or certain use: the warm path of a request.
    pub fn pay(&self, shard: usize, urgency: Urgency, sku: &Sku, units: u64) -> Result<(), Dry> {
        let paid = self.with_counter(shard, urgency, sku, units, |counter, cost| {
            counter.settle(units, cost.0, 0);
        });
        paid.map_err(|lacking| self.dry(urgency, lacking))
    }

    /// Draws for work of which only the most is known.
    pub fn draw(&self, shard: usize, urgency: Urgency, sku: &Sku, units: u64) -> Result<Draw, Dry> {
        let drawn = self.take(shard, urgency, sku, units);
        drawn.map_err(|lacking| self.dry(urgency, lacking))
    }

    /// Draws for work that uses several things, all or nothing. Whoever drew one after the other
    /// and put them back would never be given the whole: each alone is there already.
    pub fn draw_together<const N: usize>(
        &self,
        shard: usize,
        urgency: Urgency,
        wanted: [(&Sku, u64); N],
    ) -> Result<[Draw; N], Dry> {
        let mut drawn = Vec::with_capacity(N);
        for (sku, units) in wanted {
            match self.take(shard, urgency, sku, units) {
                Ok(draw) => drawn.push(draw),
                Err(_lacking) => break,
            }
        }
        drawn.try_into().map_err(|drawn: Vec<Draw>| {
            drawn.into_iter().for_each(|draw| draw.finish(0));
            let costs = wanted.map(|(sku, units)| self.cost(sku, units).map_or(0, |cost| cost.0));
            self.dry(urgency, Pico(costs.into_iter().fold(0, i64::saturating_add)))
        })
    }

    /// Waits until so much could be drawn (it is not drawn yet: try again), at most so long.
    /// Fails at once where the ledger has refused and asking again makes no sense yet. Time is
    /// measured by who refills; where nobody does, it fails at once.
    pub async fn wait(&self, urgency: Urgency, sku: &Sku, units: u64, at_most: Duration) -> Result<(), NoMoney> {
        self.wait_together(urgency, [(sku, units)], at_most).await
    }

    /// Waits until all of it could be drawn together, like [`Till::wait`].
    pub async fn wait_together<const N: usize>(
        &self,
        urgency: Urgency,
        wanted: [(&Sku, u64); N],
        at_most: Duration,
    ) -> Result<(), NoMoney> {
        let wanted = wanted.map(|(sku, units)| (sku.clone(), units));
        Waiting::new(&self.wallet, urgency, wanted.into(), at_most).await
    }

    /// Why draws fail at present, if they do; for pages.
    pub fn trouble(&self) -> Option<NoMoney> {
        self.wallet.trouble().map(|(trouble, _)| trouble)
    }

    /// What so many units cost by the prices of the present lease, rounded up; `None` while there
    /// is no lease.
    pub fn cost(&self, sku: &Sku, units: u64) -> Option<Pico> {
        let desk = self.desk.load();
        desk.lease.as_ref()?.prices.price(sku).cost_up(units)
    }

    fn take(&self, shard: usize, urgency: Urgency, sku: &Sku, units: u64) -> Result<Draw, Pico> {
        self.with_counter(shard, urgency, sku, units, |counter, cost| Draw {
            counter: Arc::clone(counter),
            units,
            cost,
            finished: false,
        })
    }

    /// Where there is not enough, tells what would have been.
    fn with_counter<T>(
        &self,
        shard: usize,
        urgency: Urgency,
        sku: &Sku,
        units: u64,
        then: impl FnOnce(&Arc<Counter>, Pico) -> T,
    ) -> Result<T, Pico> {
        let desk = self.desk.load();
        let opened;
        let known = KNOWN.iter().position(|name| *name == sku.as_str());
        let line = match known.and_then(|index| desk.known[index].get()) {
            Some(line) => line,
            None => {
                opened = self
                    .open_line(&desk, known, shard, urgency, sku)
                    .ok_or(Pico(crate::money::PICO_PER_NANO))?;
                &opened
            }
        };
        let counter = line.counter(shard);
        let cost = counter.price.cost_up(units).unwrap_or(Pico(i64::MAX));
        if cost.0 > 0 && !counter.take(urgency, cost.0) {
            return Err(cost);
        }
        Ok(then(counter, cost))
    }

    /// The first use of a line by this till since the lease began.
    #[cold]
    fn open_line(
        &self,
        desk: &Desk,
        known: Option<usize>,
        shard: usize,
        urgency: Urgency,
        sku: &Sku,
    ) -> Option<Arc<Line>> {
        let lease = desk.lease.as_ref()?;
        if known.is_none() {
            let others = desk.others.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(line) = others.get(sku) {
                return Some(Arc::clone(line));
            }
        }
        let key = LineKey {
            app: self.app.clone(),
            process: self.process.clone(),
            sku: sku.clone(),
        };
        let line = lease.line(key, shard, urgency)?;
        match known {
            // Another thread may have been first, with the same line.
            Some(index) => drop(desk.known[index].set(Arc::clone(&line))),
            None => {
                let mut others = desk.others.write().unwrap_or_else(PoisonError::into_inner);
                others.insert(sku.clone(), Arc::clone(&line));
            }
        }
        Some(line)
    }

    #[cold]
    fn dry(&self, urgency: Urgency, cost: Pico) -> Dry {
        self.wallet.note_short(urgency, cost);
        Dry
    }
}

impl Draw {
    /// What was drawn.
    pub fn cost(&self) -> Pico {
        self.cost
    }

    /// So many units were really used (at most those drawn); the rest goes back.
    pub fn finish(mut self, used: u64) {
        self.settle(used);
    }

    fn settle(&mut self, used: u64) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let used = used.min(self.units);
        // What stays drawn is the cost of the used units, rounded up by itself.
        let spent = self.counter.price.cost_up(used).unwrap_or(self.cost).0.min(self.cost.0);
        self.counter.settle(used, spent, self.cost.0 - spent);
    }
}

impl Drop for Draw {
    fn drop(&mut self) {
        self.settle(self.units);
    }
}

impl Wallet {
    fn new(environment: EnvironmentId, switchboard: &Arc<Switchboard>) -> Self {
        Self {
            environment,
            bell: Arc::new(Bell::new(environment, Arc::clone(switchboard))),
            counter: Mutex::default(),
            floor: AtomicI64::new(0),
            short: [AtomicI64::new(NOT_SHORT), AtomicI64::new(NOT_SHORT)],
            trouble: AtomicU8::new(0),
            queue: Mutex::default(),
        }
    }

    fn till(self: &Arc<Self>, app: Option<AppName>, process: Option<ProcessName>) -> Arc<Till> {
        let mut current = lock(&self.counter);
        let key = (app, process);
        if let Some(till) = current.tills.get(&key).and_then(Weak::upgrade) {
            return till;
        }
        let till = Arc::new(Till {
            wallet: Arc::clone(self),
            app: key.0.clone(),
            process: key.1.clone(),
            desk: ArcSwap::from_pointee(Desk::of(current.lease.clone())),
        });
        current.tills.insert(key, Arc::downgrade(&till));
        till
    }

    /// From here on tills pay from this lease; what was drawn before finishes against the old.
    fn turn_to(&self, lease: Option<Arc<Lease>>) {
        let mut current = lock(&self.counter);
        current.tills.retain(|_, till| {
            let Some(till) = till.upgrade() else { return false };
            till.desk.store(Arc::new(Desk::of(lease.clone())));
            true
        });
        current.figures = None;
        current.lease = lease;
    }

    fn show(&self, figures: Figures) {
        lock(&self.counter).figures = Some(figures);
    }

    fn floor(&self) -> i64 {
        self.floor.load(Ordering::SeqCst)
    }

    /// A draw found too little. Calls for more, unless that was refused just now.
    fn note_short(&self, urgency: Urgency, cost: Pico) {
        self.short[short_index(urgency)].fetch_min(cost.0.max(1), Ordering::SeqCst);
        if !self.trouble().is_some_and(|(_, firm)| firm) {
            self.bell.ring();
        }
    }

    /// The least that draws lacked since this was last asked.
    fn take_short(&self, urgency: Urgency) -> Option<i64> {
        let short = self.short[short_index(urgency)].swap(NOT_SHORT, Ordering::SeqCst);
        (short != NOT_SHORT).then_some(short)
    }

    /// Why draws fail, and whether asking again makes no sense yet.
    fn trouble(&self) -> Option<(NoMoney, bool)> {
        let code = self.trouble.load(Ordering::SeqCst);
        let trouble = TROUBLES.get(usize::from(code & !FIRM).checked_sub(1)?)?;
        Some((*trouble, code & FIRM != 0))
    }

    fn set_trouble(&self, trouble: Option<(NoMoney, bool)>) {
        let code = trouble.map_or(0, |(trouble, firm)| {
            let index = TROUBLES.iter().position(|known| *known == trouble).unwrap_or(0);
            let code = u8::try_from(index + 1).unwrap_or(1);
            if firm { code | FIRM } else { code }
        });
        self.trouble.store(code, Ordering::SeqCst);
    }
}

impl Desk {
    fn of(lease: Option<Arc<Lease>>) -> Self {
        Self {
            lease,
            ..Self::default()
        }
    }
}

fn short_index(urgency: Urgency) -> usize {
    match urgency {
        Urgency::Request => 0,
        Urgency::Instance => 1,
    }
}
