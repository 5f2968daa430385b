//! Instances pay for what they use, ahead; who cannot pay stands still.
//!
//! Eight times a second the kernel's counters of every instance of this node are read, and its
//! `Account`, which is pure, decides what to draw and whether to freeze. Reading takes no call to
//! the engine; freezing goes on beside, so that a slow engine delays nobody else. Twice a second
//! the deadman is told what runs ([`crate::deadman`]): by this loop and no other, so that it also
//! acts when the loop hangs.
//!
//! Requests are refused a little earlier than instances are frozen: what the instances of an
//! environment need for the next seconds is kept back from them.
//!
//! Why an instance stands still is not told to control by this loop: control sees it in the
//! engine, and that it is not among those that are paid for.

mod account;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use weir_engine::{EngineError, FreezePoint};
use weir_ledger::wallet::{Draw, Till, Urgency};
use weir_ledger::{Pico, Sku};
use weir_model::guard::BackgroundWork;
use weir_model::route::MeteredInstance;
use weir_model::{EnvironmentId, InstanceId, ProcessName};

use self::account::{Account, Held, Order, Payer, Seen};
use crate::Payroll;
use crate::deadman::{self, Line};

/// How often counters are read.
const TICK: Duration = Duration::from_millis(125);
/// For so long requests leave money to instances, in milliseconds.
const FLOOR_MS: u64 = 2_000;
/// An instance that does not run yet is looked for again after this time.
const LOOK_AGAIN_MS: u64 = 500;

/// With what, for whom, and who is told.
#[derive(Debug)]
pub struct InstancesConfig {
    /// With what, and for whom.
    pub payroll: Payroll,
    /// Is told which instances are paid for.
    pub paying: watch::Sender<BTreeSet<InstanceId>>,
    /// Tells that an instance goes on that stood still: it is looked at once, and not with the
    /// next reading.
    pub woken: Option<Arc<Notify>>,
    /// Who finds work that nobody asked for; `None`: nobody.
    pub cpu: Option<CpuUse>,
    /// Who freezes them should this process die; `None`: nobody.
    pub deadman: Option<Deadman>,
}

/// What those who see requests and those who see CPU time tell each other.
#[derive(Debug)]
pub struct CpuUse {
    /// Gets the CPU time that each instance has used since its start, in microseconds.
    pub used: watch::Sender<BTreeMap<InstanceId, u64>>,
    /// Those that work although no request is in flight there: what they use has a line of its own,
    /// and some are slowed down.
    pub working: watch::Receiver<BTreeMap<InstanceId, BackgroundWork>>,
}

/// Where the deadman is reached, and what it froze.
#[derive(Debug, Clone)]
pub struct Deadman {
    /// Its socket.
    pub socket: PathBuf,
    /// Its list of instances.
    pub frozen_file: PathBuf,
}

/// How the loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// On purpose: what runs goes on, unpaid, until Weir is back.
    LetRun,
    /// Nobody will be back for sure: the deadman freezes what runs.
    Freeze,
}

/// Pays for instances until `stop`; `farewell` is asked then.
pub async fn run(config: InstancesConfig, stop: CancellationToken, farewell: impl FnOnce() -> Farewell) {
    let woken = config.woken.clone().unwrap_or_default();
    let mut accounts = Accounts::new(config);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = woken.notified() => accounts.renewed_ms = None,
            _ = ticks.tick() => {}
        }
        accounts.tick().await;
    }
    accounts.free().await;
    accounts.end(farewell());
}

/// How much of its CPU time an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    Whole,
    /// A hundredth.
    Little,
}

impl Share {
    /// In thousandths of a core.
    fn of(self, facts: &MeteredInstance) -> u32 {
        match self {
            Self::Whole => facts.cpu_milli,
            Self::Little => facts.cpu_milli / 100,
        }
    }
}

/// Everybody who is paid for.
struct Accounts {
    config: InstancesConfig,
    line: Option<Line>,
    begin: Instant,
    accounts: BTreeMap<InstanceId, Account<Purse>>,
    points: BTreeMap<InstanceId, FreezePoint>,
    /// Those whose place is being looked for, and when to look again.
    looking: BTreeMap<InstanceId, u64>,
    places: JoinSet<(InstanceId, Option<FreezePoint>)>,
    orders: JoinSet<(InstanceId, Order, Result<(), EngineError>)>,
    /// Environments that have a floor.
    floors: BTreeSet<EnvironmentId>,
    /// The newest counters.
    used: BTreeMap<InstanceId, u64>,
    /// How much of its CPU time each may use, as the kernel was told last.
    shares: BTreeMap<InstanceId, Share>,
    /// Whether the first list of instances was seen.
    started: bool,
    /// Whether a list was given at all, be it an empty one.
    told: bool,
    /// Whether everything that ran before this process has been looked for once. Until then the
    /// deadman is to go on watching what the process before has told it.
    complete: bool,
    /// Those that were looked for, and were not found yet.
    unfound: BTreeSet<InstanceId>,
    renewed_ms: Option<u64>,
}

impl Accounts {
    fn new(config: InstancesConfig) -> Self {
        Self {
            line: config.deadman.as_ref().map(|deadman| Line::new(deadman.socket.clone())),
            begin: Instant::now(),
            accounts: BTreeMap::new(),
            points: BTreeMap::new(),
            looking: BTreeMap::new(),
            places: JoinSet::new(),
            orders: JoinSet::new(),
            floors: BTreeSet::new(),
            used: BTreeMap::new(),
            shares: BTreeMap::new(),
            started: false,
            told: false,
            complete: false,
            unfound: BTreeSet::new(),
            renewed_ms: None,
            config,
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    async fn tick(&mut self) {
        self.heed();
        self.look();
        let known: Vec<InstanceId> = self.points.keys().copied().collect();
        for id in known {
            self.read(id).await;
        }
        self.heed_work().await;
        self.settle_orders();
        let paid = |(id, account): (&InstanceId, &Account<Purse>)| account.is_paid().then_some(*id);
        let paying: BTreeSet<InstanceId> = self.accounts.iter().filter_map(paid).collect();
        self.config.paying.send_if_modified(|before| {
            let changed = *before != paying;
            *before = paying;
            changed
        });
        let now_ms = self.now_ms();
        let renew_ms = u64::try_from(deadman::RENEW.as_millis()).unwrap_or(u64::MAX);
        if self.renewed_ms.is_none_or(|at_ms| now_ms >= at_ms + renew_ms) {
            self.renewed_ms = Some(now_ms);
            self.wake();
            self.set_floors();
            self.renew();
            if let Some(cpu) = &self.config.cpu {
                cpu.used.send_replace(self.used.clone());
            }
        }
    }

    /// Opens accounts for those that are new, and closes those of nobody's concern.
    fn heed(&mut self) {
        let now_ms = self.now_ms();
        self.told |= self.config.payroll.metered.has_changed().unwrap_or(false);
        let metered = self.config.payroll.metered.borrow_and_update().clone();
        self.told |= !metered.is_empty();
        let seen = if self.started { Seen::Now } else { Seen::Before };
        self.started |= !metered.is_empty();
        let wanted: BTreeSet<InstanceId> = metered.iter().map(|facts| facts.instance).collect();
        let gone: Vec<InstanceId> = self
            .accounts
            .keys()
            .copied()
            .filter(|id| !wanted.contains(id))
            .collect();
        for id in gone {
            self.close(id);
            self.looking.remove(&id);
        }
        self.looking.retain(|id, _at_ms| wanted.contains(id));
        for facts in metered {
            if let Some(account) = self.accounts.get_mut(&facts.instance) {
                account.update(&facts);
                continue;
            }
            self.open(facts, seen, now_ms);
        }
    }

    /// Finds out where instances are, which may mean to ask the engine; never waits for it.
    fn look(&mut self) {
        while let Some(found) = self.places.try_join_next() {
            match found {
                Ok((id, Some(point))) if self.looking.remove(&id).is_some() => {
                    self.points.insert(id, point);
                }
                Ok((id, None)) if !self.complete => {
                    self.unfound.insert(id);
                }
                _ => {}
            }
        }
        let now_ms = self.now_ms();
        for (id, at_ms) in self.looking.iter_mut().filter(|(_id, at_ms)| **at_ms <= now_ms) {
            *at_ms = now_ms + LOOK_AGAIN_MS;
            let (id, meters) = (*id, Arc::clone(&self.config.payroll.meters));
            self.places.spawn(async move { (id, meters.freeze_point(id).await) });
        }
    }

    /// Reads one instance's counter and does what its account says.
    async fn read(&mut self, id: InstanceId) {
        let usage = self.config.payroll.meters.usage(id).await;
        let now_ms = self.now_ms();
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        let order = match usage {
            Ok(Some(usage)) => {
                self.used.insert(id, usage.cpu_us);
                account.tick(now_ms, usage)
            }
            Ok(None) => {
                // Control still lists it: it does not know yet, or it was too early.
                let facts = account.facts().clone();
                self.close(id);
                self.open(facts, Seen::Before, now_ms + LOOK_AGAIN_MS);
                return;
            }
            Err(error) => {
                tracing::warn!(%error, instance.id = %id, "an instance's use cannot be read; freezing it");
                account.unread(now_ms)
            }
        };
        let Some(order) = order else { return };
        let facts = account.facts();
        match order {
            Order::Freeze => tracing::info!(
                instance.id = %id, environment.id = %facts.environment, app = %facts.app, process = %facts.process,
                "an instance is not paid for; freezing it"
            ),
            Order::Thaw => tracing::info!(instance.id = %id, "an instance is paid for again; it goes on"),
        }
        let meters = Arc::clone(&self.config.payroll.meters);
        self.orders.spawn(async move {
            let done = match order {
                Order::Freeze => meters.freeze(id).await,
                Order::Thaw => meters.thaw(id).await,
            };
            (id, order, done)
        });
    }

    /// What is used by those that work although nobody asked goes on a line of its own, and some are
    /// slowed down until they are asked. That an instance has its whole share is said once as well:
    /// the process before this one may have slowed it down.
    async fn heed_work(&mut self) {
        let Some(cpu) = &mut self.config.cpu else { return };
        let working = cpu.working.borrow_and_update().clone();
        for (id, account) in &self.accounts {
            let work = working.get(id);
            account.payer().works.store(work.is_some(), Ordering::Relaxed);
            let share = match work.is_some_and(|work| work.slowed) {
                true => Share::Little,
                false => Share::Whole,
            };
            if !self.points.contains_key(id) || self.shares.get(id) == Some(&share) {
                continue;
            }
            let limit = self.config.payroll.meters.limit_cpu(*id, share.of(account.facts()));
            match limit.await {
                Ok(()) => drop(self.shares.insert(*id, share)),
                Err(error) => {
                    tracing::warn!(%error, instance.id = %id, "the CPU time of an instance stays as it was; trying again")
                }
            }
        }
    }

    /// Nobody stays slowed down without this loop.
    async fn free(&mut self) {
        for (id, share) in std::mem::take(&mut self.shares) {
            if let (Share::Little, Some(account)) = (share, self.accounts.get(&id)) {
                let whole = Share::Whole.of(account.facts());
                if let Err(error) = self.config.payroll.meters.limit_cpu(id, whole).await {
                    tracing::warn!(%error, instance.id = %id, "an instance stays slowed down");
                }
            }
        }
    }

    /// Opens an account. Its place is looked for from that instant on.
    fn open(&mut self, facts: MeteredInstance, seen: Seen, look_ms: u64) {
        let till = |process: &ProcessName| {
            let wallets = &self.config.payroll.wallets;
            wallets.till(facts.environment, Some(&facts.app), Some(process))
        };
        let purse = Purse {
            till: till(&facts.process),
            background: till(&facts.process.in_background()),
            works: AtomicBool::new(false),
            shard: self.config.payroll.shard,
        };
        let (id, now_ms) = (facts.instance, self.now_ms());
        self.looking.insert(id, look_ms);
        self.accounts.insert(id, Account::new(facts, purse, seen, now_ms));
    }

    fn settle_orders(&mut self) {
        while let Some(done) = self.orders.try_join_next() {
            match done {
                Ok((_id, _order, Ok(()) | Err(EngineError::NotFound(_)))) => {}
                Ok((id, order, Err(error))) => {
                    tracing::error!(%error, instance.id = %id, ?order, "an order to an instance had no effect; giving it again");
                }
                Err(error) => tracing::error!(%error, "an order to an instance ended badly"),
            }
        }
    }

    fn close(&mut self, id: InstanceId) {
        self.points.remove(&id);
        self.used.remove(&id);
        self.shares.remove(&id);
        let now_ms = self.now_ms();
        if let Some(account) = self.accounts.remove(&id) {
            account.close(now_ms);
        }
    }

    /// Sees to it that what the deadman froze runs again.
    fn wake(&mut self) {
        let Some(deadman) = &self.config.deadman else { return };
        let frozen = deadman::read_frozen(&deadman.frozen_file);
        if frozen.is_empty() {
            return;
        }
        let mut is_done = self.started;
        for id in frozen {
            // One that is gone, or has been seen running since, needs nothing.
            let Some(account) = self.accounts.get_mut(&id) else {
                continue;
            };
            is_done &= !account.is_to_be_woken();
            account.wake();
        }
        if is_done {
            deadman::forget_frozen(&deadman.frozen_file);
        }
    }

    fn set_floors(&mut self) {
        let mut floors: BTreeMap<EnvironmentId, i64> =
            std::mem::take(&mut self.floors).into_iter().map(|id| (id, 0)).collect();
        for account in self.accounts.values() {
            let till = &account.payer().till;
            let (cpu, memory, frozen) = account.needs(FLOOR_MS);
            let costs = [(&Sku::CPU, cpu), (&Sku::MEMORY, memory), (&Sku::MEMORY_FROZEN, frozen)]
                .map(|(sku, units)| till.cost(sku, units).map_or(0, |cost| cost.0));
            let floor = floors.entry(account.facts().environment).or_default();
            *floor = costs.iter().fold(*floor, |sum, cost| sum.saturating_add(*cost));
        }
        for (environment, floor) in floors {
            self.config.payroll.wallets.set_floor(environment, Pico(floor));
            if floor > 0 {
                self.floors.insert(environment);
            }
        }
    }

    fn renew(&mut self) {
        let Some(line) = &mut self.line else { return };
        let watched = |(id, account): (&InstanceId, &Account<Purse>)| {
            account.is_watched().then(|| self.points.get(id).cloned()).flatten()
        };
        let points: Vec<FreezePoint> = self.accounts.iter().filter_map(watched).collect();
        if !self.complete {
            let looked_for = |id: &InstanceId| self.points.contains_key(id) || self.unfound.contains(id);
            self.complete = self.told && self.accounts.keys().all(looked_for);
        }
        if self.complete {
            self.unfound.clear();
            line.renew(&points);
        } else {
            line.begin(&points);
        }
    }

    fn end(mut self, farewell: Farewell) {
        if farewell == Farewell::LetRun
            && let Some(line) = &mut self.line
        {
            line.goodbye();
        }
        let all: Vec<InstanceId> = self.accounts.keys().copied().collect();
        for id in all {
            self.close(id);
        }
        // Nothing is paid for from here any more: another node may do so now.
        self.config.paying.send_replace(BTreeSet::new());
    }
}

/// A process's money, as one thread draws it.
#[derive(Debug)]
struct Purse {
    till: Arc<Till>,
    /// For CPU time that nobody asked for.
    background: Arc<Till>,
    /// Whether it is that at present.
    works: AtomicBool,
    shard: usize,
}

impl Payer for Purse {
    type Held = Draw;

    fn draw<const N: usize>(&self, wanted: [(Sku, u64); N]) -> Option<[Draw; N]> {
        let all = wanted.each_ref().map(|(sku, units)| (sku, *units));
        // Also where it is drawn from two lines, the whole is asked for at once: whoever asks for
        // one after the other is not given what both take.
        let drawn = self.till.draw_together(self.shard, Urgency::Instance, all).ok()?;
        if !self.works.load(Ordering::Relaxed) {
            return Some(drawn);
        }
        drawn.into_iter().for_each(|draw| draw.finish(0));
        let mut drawn = Vec::with_capacity(N);
        for (sku, units) in all {
            let till = if *sku == Sku::CPU { &self.background } else { &self.till };
            match till.draw(self.shard, Urgency::Instance, sku, units) {
                Ok(draw) => drawn.push(draw),
                Err(_dry) => break,
            }
        }
        drawn
            .try_into()
            .map_err(|part: Vec<Draw>| part.into_iter().for_each(|draw| draw.finish(0)))
            .ok()
    }

    fn is_refused(&self) -> bool {
        matches!(self.till.trouble(), Some(weir_ledger::wallet::NoMoney::Denied(_)))
    }
}

impl Held for Draw {
    fn finish(self, used: u64) {
        Draw::finish(self, used);
    }
}
