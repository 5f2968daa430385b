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
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use weir_engine::{EngineError, FreezePoint, Meters};
use weir_ledger::wallet::{Draw, Till, Urgency, Wallets};
use weir_ledger::{Pico, Sku};
use weir_model::route::MeteredInstance;
use weir_model::{EnvironmentId, InstanceId};

use self::account::{Account, Held, Order, Payer, Seen};
use crate::deadman::{self, Line};

/// How often counters are read.
const TICK: Duration = Duration::from_millis(125);
/// For so long requests leave money to instances, in milliseconds.
const FLOOR_MS: u64 = 2_000;
/// An instance that does not run yet is looked for again after this time.
const LOOK_AGAIN_MS: u64 = 500;

/// With what, and for whom.
#[derive(Debug)]
pub struct InstancesConfig {
    /// Meters and brakes.
    pub meters: Arc<dyn Meters>,
    /// Where the money is.
    pub wallets: Wallets,
    /// The number of the thread in draws.
    pub shard: usize,
    /// What runs on this node, as control tells it.
    pub metered: watch::Receiver<Vec<MeteredInstance>>,
    /// Is told which instances are paid for.
    pub paying: watch::Sender<BTreeSet<InstanceId>>,
    /// Who freezes them should this process die; `None`: nobody.
    pub deadman: Option<Deadman>,
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
    let mut payroll = Payroll::new(config);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
        }
        payroll.tick().await;
    }
    payroll.end(farewell());
}

/// Everybody who is paid for.
struct Payroll {
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
    /// Whether the first list of instances was seen.
    started: bool,
    renewed_ms: Option<u64>,
}

impl Payroll {
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
            started: false,
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
        }
    }

    /// Opens accounts for those that are new, and closes those of nobody's concern.
    fn heed(&mut self) {
        let now_ms = self.now_ms();
        let metered = self.config.metered.borrow_and_update().clone();
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
            if let Ok((id, Some(point))) = found
                && self.looking.remove(&id).is_some()
            {
                self.points.insert(id, point);
            }
        }
        let now_ms = self.now_ms();
        for (id, at_ms) in self.looking.iter_mut().filter(|(_id, at_ms)| **at_ms <= now_ms) {
            *at_ms = now_ms + LOOK_AGAIN_MS;
            let (id, meters) = (*id, Arc::clone(&self.config.meters));
            self.places.spawn(async move { (id, meters.freeze_point(id).await) });
        }
    }

    /// Reads one instance's counter and does what its account says.
    async fn read(&mut self, id: InstanceId) {
        let usage = self.config.meters.usage(id).await;
        let now_ms = self.now_ms();
        let Some(account) = self.accounts.get_mut(&id) else {
            return;
        };
        let order = match usage {
            Ok(Some(usage)) => account.tick(now_ms, usage),
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
        let meters = Arc::clone(&self.config.meters);
        self.orders.spawn(async move {
            let done = match order {
                Order::Freeze => meters.freeze(id).await,
                Order::Thaw => meters.thaw(id).await,
            };
            (id, order, done)
        });
    }

    /// Opens an account. Its place is looked for from that instant on.
    fn open(&mut self, facts: MeteredInstance, seen: Seen, look_ms: u64) {
        let purse = Purse {
            till: self
                .config
                .wallets
                .till(facts.environment, Some(&facts.app), Some(&facts.process)),
            shard: self.config.shard,
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
            self.config.wallets.set_floor(environment, Pico(floor));
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
        line.renew(&points);
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
    }
}

/// A process's money, as one thread draws it.
#[derive(Debug)]
struct Purse {
    till: Arc<Till>,
    shard: usize,
}

impl Payer for Purse {
    type Held = Draw;

    fn draw(&self, sku: &Sku, units: u64) -> Option<Draw> {
        self.till.draw(self.shard, Urgency::Instance, sku, units).ok()
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
