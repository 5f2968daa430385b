//! Instances that nobody asks anything of are frozen, and thawed by the next request.
//!
//! Control says of which processes, and after how long ([`WatchedProcess`]). Eight times a second
//! it is looked what goes on at each of their instances: no request in flight, none waiting, no
//! upgraded connection, and, right before it is frozen, no connection of another app, which would
//! come past this ingress. An instance is *drowsy* for one look before it is frozen, so that
//! control ends its checks; a request ends that at any time. While another node serves beside this
//! one, which it is about to follow, nobody is put to sleep.
//!
//! **A request that comes while an instance is being frozen wins.** It counts itself at the
//! instance and *then* looks whether it sleeps; who freezes says that it sleeps and *then* looks at
//! the count. All are sequentially consistent, so that one of them sees the other, and the kernel
//! is told under a lock, so that the last word is that of the request.
//!
//! **Nobody is thawed who is not paid for.** What the meter, the deadman or control has frozen is
//! not asleep: only who was frozen here, or is found frozen in a pool that may sleep, is.
//!
//! The same look tells control what is asked of the processes that it scales ([`Demand`]).

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use weir_model::route::{Demand, WatchedProcess};
use weir_model::{EnvironmentId, InstanceId};

use crate::admission::Gate;
use crate::instance::{Instance, Phase};
use crate::node::Shared;
use crate::process::Habits;
use crate::succession::Succession;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(125);
/// The mean is that of so many looks.
const MEAN_OF: usize = 8;
/// Every so many looks it is checked whether those that sleep do, and whether somebody calls them
/// past this ingress.
const CHECK_EVERY: u64 = 8;
/// A freezer that was not found is looked for again after so many looks.
const FIND_EVERY: u64 = 16;

/// Longest wait for the place of a freezer: the others are not to wait for a slow engine.
const FIND_PATIENCE: Duration = Duration::from_millis(300);

/// A future in a box.
pub type Found<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where the freezers of instances are.
pub trait Freezers: Send + Sync + Debug {
    /// The freezer of an instance; none if it does not run. May ask the engine.
    fn find(&self, instance: InstanceId) -> Found<'_, Option<Arc<dyn Freezer>>>;
    /// An instance goes on that was found frozen: the engine may believe that it is paused, and is
    /// told. Never on the way of a request.
    fn went_on(&self, instance: InstanceId) -> Found<'_, ()>;
}

/// The freezer of one instance, told without asking the engine.
pub trait Freezer: Send + Sync + Debug {
    /// Takes all CPU time from it, a moment later; may be taken back at once.
    ///
    /// # Errors
    /// It has ended, or the kernel refuses.
    fn freeze(&self) -> io::Result<()>;
    /// Gives it back.
    ///
    /// # Errors
    /// It has ended, or the kernel refuses.
    fn thaw(&self) -> io::Result<()>;
    /// What holds, whoever has said it.
    ///
    /// # Errors
    /// It has ended.
    fn standing(&self) -> io::Result<Standing>;
    /// Whether somebody else than `except` has a connection to `port` open.
    ///
    /// # Errors
    /// It has ended.
    fn has_callers(&self, port: u16, except: &[IpAddr]) -> io::Result<bool>;
}

/// What a freezer was told last, and whether it is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It runs.
    Thawed,
    /// It was told to stand still, and does not yet.
    Freezing,
    /// It stands still.
    Frozen,
}

/// What it takes to put instances to sleep.
#[derive(Debug, Clone)]
pub struct Sleeping {
    /// Where the freezers are.
    pub freezers: Arc<dyn Freezers>,
    /// Told when an instance was woken, so that it is paid for as one that runs at once.
    pub woken: Arc<Notify>,
}

const AWAKE: u8 = 0;
const DROWSY: u8 = 1;
const ASLEEP: u8 = 2;

/// Whether an instance sleeps. A part of [`Instance`].
#[derive(Debug, Default)]
pub(crate) struct Rest {
    state: AtomicU8,
    bed: OnceLock<Bed>,
    /// Held while the kernel is told.
    telling: Mutex<Adopted>,
}

/// Whether an instance was found frozen by the one who holds this.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Adopted {
    #[default]
    No,
    /// Then the engine may believe that it is paused.
    Yes,
}

/// What an instance needs to sleep.
#[derive(Debug)]
struct Bed {
    freezer: Arc<dyn Freezer>,
    instance: InstanceId,
    /// Those that are paid for; none where nothing is charged.
    paying: Option<watch::Receiver<BTreeSet<InstanceId>>>,
    woken: Arc<Notify>,
    /// Those that the engine has to be told of.
    went_on: tokio::sync::mpsc::UnboundedSender<InstanceId>,
    report_wanted: Arc<Notify>,
    succession: Succession,
}

impl Rest {
    /// Whether it stands still, or is about to.
    pub(crate) fn is_resting(&self) -> bool {
        self.state.load(Ordering::SeqCst) != AWAKE
    }

    /// Sees to it that it runs; false where nobody pays for that. Whoever calls this has counted
    /// what it wants before.
    pub(crate) fn rouse(&self) -> bool {
        self.state.load(Ordering::SeqCst) == AWAKE || self.rouse_now()
    }

    #[cold]
    fn rouse_now(&self) -> bool {
        let Some(bed) = self.bed.get() else { return true };
        let mut adopted = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        match self.state.load(Ordering::SeqCst) {
            AWAKE => return true,
            DROWSY => {}
            _asleep => {
                let is_paid = |paying: &watch::Receiver<BTreeSet<InstanceId>>| paying.borrow().contains(&bed.instance);
                // Where this node is about to end, the one after it pays.
                if !bed.succession.is_draining() && !bed.paying.as_ref().is_none_or(is_paid) {
                    return false;
                }
                if let Err(error) = bed.freezer.thaw() {
                    // It has ended: whoever connects finds out.
                    tracing::debug!(instance.id = %bed.instance, %error, "an instance cannot be woken");
                }
                bed.woken.notify_one();
                if std::mem::take(&mut *adopted) == Adopted::Yes {
                    let _node_ends = bed.went_on.send(bed.instance);
                }
            }
        }
        self.state.store(AWAKE, Ordering::SeqCst);
        drop(adopted);
        bed.report_wanted.notify_one();
        true
    }

    /// Freezes it, unless `is_busy`.
    fn fall_asleep(&self, is_busy: impl FnOnce() -> bool) {
        let Some(bed) = self.bed.get() else { return };
        let adopted = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        if self.state.load(Ordering::SeqCst) != DROWSY {
            return;
        }
        self.state.store(ASLEEP, Ordering::SeqCst);
        if is_busy() {
            self.state.store(AWAKE, Ordering::SeqCst);
        } else if let Err(error) = bed.freezer.freeze() {
            tracing::warn!(instance.id = %bed.instance, %error, "an instance cannot be frozen; it goes on");
            self.state.store(AWAKE, Ordering::SeqCst);
        }
        drop(adopted);
    }

    /// Takes over what is found: somebody else may have thawed it, or an earlier process of the
    /// node may have frozen it.
    fn check(&self) {
        let Some(bed) = self.bed.get() else { return };
        let mut adopted = self.telling.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = bed.freezer.standing();
        match (self.state.load(Ordering::SeqCst), standing) {
            (ASLEEP, Ok(Standing::Thawed) | Err(_)) => self.state.store(AWAKE, Ordering::SeqCst),
            // The first version of control groups misses processes that are just being made.
            (ASLEEP, Ok(Standing::Freezing)) => {
                if let Err(error) = bed.freezer.freeze() {
                    tracing::debug!(instance.id = %bed.instance, %error, "an instance cannot be frozen");
                }
                return;
            }
            (AWAKE | DROWSY, Ok(Standing::Frozen)) => {
                *adopted = Adopted::Yes;
                self.state.store(ASLEEP, Ordering::SeqCst);
            }
            _ => return,
        }
        bed.report_wanted.notify_one();
    }
}

/// Lookups of a name that wait for an instance, and when the last one was.
#[derive(Debug, Default)]
pub(crate) struct Knocks {
    waiting: AtomicUsize,
    /// How many there have been.
    pub(crate) count: AtomicU64,
}

impl Knocks {
    /// Counts a lookup that waits until the guard is dropped.
    pub(crate) fn wait(&self) -> Knock<'_> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Knock(self)
    }
}

/// A lookup that waits.
pub(crate) struct Knock<'a>(&'a Knocks);

impl Drop for Knock<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A process whose demand control wants to know, or whose instances may sleep. A part of the table.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) environment: EnvironmentId,
    pub(crate) target: Box<str>,
    /// Where its requests wait.
    pub(crate) gates: Vec<Arc<Gate>>,
    pub(crate) habits: Arc<Habits>,
    pub(crate) pool: Vec<Arc<Instance>>,
    pub(crate) rule: WatchedProcess,
}

impl Watched {
    fn waiting(&self) -> u64 {
        let knocks = self.habits.knocks.waiting.load(Ordering::SeqCst);
        let waiting: usize = self.gates.iter().map(|gate| gate.waiting() + gate.held()).sum();
        u64::try_from(waiting + knocks).unwrap_or(u64::MAX)
    }

    fn knocks(&self) -> u64 {
        self.habits.knocks.count.load(Ordering::SeqCst)
    }
}

/// A process without an instance whose name was looked up.
pub(crate) struct Asked {
    habits: Arc<Habits>,
    environment: EnvironmentId,
    target: Box<str>,
}

/// Lets `decide` look names up that are asked for at a gateway. Looking up the name of a process
/// that may sleep wakes its instances; where it has none, control is told, and it is given back.
pub(crate) fn look_up<T>(
    shared: &Shared,
    gateway: IpAddr,
    decide: impl FnOnce(&dyn Fn(&str) -> Option<Vec<IpAddr>>) -> T,
) -> (T, Option<Asked>) {
    let table = shared.table.load();
    let asked = Cell::new(None);
    let decision = decide(&|name| {
        let addresses = table.addresses_of(name, gateway);
        let of_network = table
            .environment_at(gateway)
            .and_then(|environment| table.watched.get(&environment));
        let is_meant = |watched: &&Watched| watched.rule.names.contains(name);
        let Some(watched) = of_network.and_then(|watched| watched.iter().find(is_meant)) else {
            return addresses;
        };
        watched.habits.knocks.count.fetch_add(1, Ordering::SeqCst);
        for instance in &watched.pool {
            instance.rest.rouse();
        }
        if addresses.as_ref().is_none_or(Vec::is_empty) {
            asked.set(Some(Asked {
                habits: Arc::clone(&watched.habits),
                environment: watched.environment,
                target: watched.target.clone(),
            }));
        }
        Some(addresses.unwrap_or_default())
    });
    (decision, asked.into_inner())
}

impl Asked {
    /// Waits until it has an instance; false after `patience`.
    pub(crate) async fn until_awake(&self, shared: &Shared, patience: Duration) -> bool {
        let _waiting = self.habits.knocks.wait();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let table = shared.table.load_full();
            let is_this = |watched: &&Watched| watched.target == self.target;
            let of_environment = table.watched.get(&self.environment);
            let watched = of_environment.and_then(|watched| watched.iter().find(is_this));
            if watched.is_none_or(|watched| !watched.pool.is_empty()) {
                return true;
            }
            if !shared.table_changed(table.epoch, deadline).await {
                return false;
            }
        }
    }
}

/// What was said last of all processes that are watched; for the reports.
pub(crate) type Demands = BTreeMap<EnvironmentId, BTreeMap<String, Demand>>;

/// Looks until the node stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    let (went_on, mut tell) = tokio::sync::mpsc::unbounded_channel::<InstanceId>();
    let mut dormitory = Dormitory {
        went_on,
        processes: BTreeMap::new(),
        instances: BTreeMap::new(),
        resting: BTreeMap::new(),
        looks: 0,
        shared: Arc::clone(&shared),
    };
    let telling = async {
        while let Some(instance) = tell.recv().await {
            if let Some(sleeping) = &shared.sleeping {
                sleeping.freezers.went_on(instance).await;
            }
        }
    };
    let looking = async {
        let mut ticks = tokio::time::interval(LOOK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            dormitory.look().await;
        }
    };
    tokio::select! {
        () = telling => {}
        () = looking => {}
    }
}

/// What is known of a process that is watched.
#[derive(Debug)]
struct Pulse {
    /// Requests in flight at the last looks.
    samples: VecDeque<u64>,
    quiet_since_ms: u64,
    requests: u64,
    knocks: u64,
    was_waiting: bool,
}

/// What is known of an instance that may sleep.
#[derive(Debug)]
struct Calm {
    quiet_since_ms: u64,
    requests: u64,
    knocks: u64,
}

struct Dormitory {
    shared: Arc<Shared>,
    processes: BTreeMap<(EnvironmentId, Box<str>), Pulse>,
    instances: BTreeMap<InstanceId, Calm>,
    /// Those that could be put to sleep: whoever may sleep no more is woken.
    resting: BTreeMap<InstanceId, Arc<Instance>>,
    looks: u64,
    went_on: tokio::sync::mpsc::UnboundedSender<InstanceId>,
}

impl Dormitory {
    async fn look(&mut self) {
        let table = self.shared.table.load_full();
        let now_ms = self.shared.clock.now_ms();
        self.looks += 1;
        if table.watched.is_empty() && self.processes.is_empty() {
            return;
        }
        self.processes.retain(|(environment, target), _pulse| {
            let of_environment = table.watched.get(environment);
            of_environment.is_some_and(|watched| watched.iter().any(|watched| watched.target == *target))
        });
        let known: BTreeSet<InstanceId> = table
            .watched
            .values()
            .flat_map(|watched| watched.iter())
            .flat_map(|watched| &watched.pool)
            .map(|instance| instance.backend.instance)
            .collect();
        self.instances.retain(|id, _calm| known.contains(id));
        let forgotten = self.resting.extract_if(.., |id, _instance| !known.contains(id));
        for (_id, instance) in forgotten {
            if instance.phase() == Phase::Active {
                instance.rest.rouse();
            }
        }
        let mut demands = Demands::new();
        let mut is_news = false;
        for watched in table.watched.values().flat_map(|watched| watched.iter()) {
            let mut is_called = false;
            for instance in &watched.pool {
                is_called |= self.attend(watched, instance, &table.gateways, now_ms).await;
            }
            let demand = self.feel(watched, is_called, now_ms, &mut is_news);
            let of_environment = demands.entry(watched.environment).or_default();
            of_environment.insert(watched.target.to_string(), demand);
            if demand.waiting > 0 {
                // Who was turned away because nobody paid has not been handed a place.
                watched.gates.iter().for_each(Gate::hand_out);
            }
        }
        *self.shared.demands.lock().unwrap_or_else(PoisonError::into_inner) = demands;
        if is_news {
            self.shared.report_wanted.notify_one();
        }
    }

    /// What is asked of a process.
    fn feel(&mut self, watched: &Watched, is_called: bool, now_ms: u64, is_news: &mut bool) -> Demand {
        let loads = || watched.pool.iter().map(|instance| instance.load());
        let in_flight: u64 = loads().map(|load| load.in_flight + load.upgraded).sum();
        let requests: u64 = loads().map(|load| load.requests).sum();
        let knocks = watched.knocks();
        let waiting = watched.waiting();
        let key = (watched.environment, watched.target.clone());
        let pulse = self.processes.entry(key).or_insert_with(|| Pulse {
            samples: VecDeque::new(),
            quiet_since_ms: now_ms,
            requests,
            knocks,
            was_waiting: false,
        });
        if pulse.samples.len() == MEAN_OF {
            pulse.samples.pop_front();
        }
        pulse.samples.push_back(in_flight);
        let is_quiet = in_flight == 0 && waiting == 0 && (requests, knocks) == (pulse.requests, pulse.knocks);
        if !is_quiet || is_called {
            pulse.quiet_since_ms = now_ms;
        }
        (pulse.requests, pulse.knocks) = (requests, knocks);
        *is_news |= waiting > 0 && !pulse.was_waiting;
        pulse.was_waiting = waiting > 0;
        let sum: u64 = pulse.samples.iter().sum();
        let number = u64::try_from(pulse.samples.len()).unwrap_or(1).max(1);
        Demand {
            in_flight_milli: sum * 1_000 / number,
            waiting,
            quiet_ms: now_ms.saturating_sub(pulse.quiet_since_ms),
        }
    }

    /// Sees whether an instance is to sleep, or sleeps no more. Returns whether another app calls
    /// it, as far as that matters now.
    async fn attend(&mut self, watched: &Watched, instance: &Arc<Instance>, gateways: &[IpAddr], now_ms: u64) -> bool {
        let (id, rule) = (instance.backend.instance, &watched.rule);
        let is_new = !self.instances.contains_key(&id);
        let quiet_ms = self.quiet_ms(watched, instance, now_ms);
        if rule.freeze_after_ms.is_none() && instance.rest.is_resting() && !instance.rest.rouse() {
            tracing::debug!(instance.id = %id, "an instance that is to run is not paid for");
        }
        let Some(after_ms) = rule.freeze_after_ms.or(rule.stop_after_ms) else {
            return false;
        };
        let Some(sleeping) = self.shared.sleeping.clone() else {
            return false;
        };
        if instance.rest.bed.get().is_none() {
            // Who has requests may stand still for want of a freezer here.
            let is_due = is_new || self.looks.is_multiple_of(FIND_EVERY);
            if !(is_due || is_busy(instance) && self.looks.is_multiple_of(2)) {
                return false;
            }
            let found = tokio::time::timeout(FIND_PATIENCE, sleeping.freezers.find(id)).await;
            let Ok(Some(freezer)) = found else { return false };
            self.make_bed(&sleeping, instance, freezer);
            self.resting.insert(id, Arc::clone(instance));
        }
        let may_freeze = rule.freeze_after_ms.is_some();
        let mut is_called = false;
        if may_freeze && (is_new || self.looks.is_multiple_of(CHECK_EVERY)) {
            is_called |= self.check(instance, gateways, now_ms);
        }
        let now_quiet_ms = self
            .instances
            .get(&id)
            .map_or(0, |calm| now_ms.saturating_sub(calm.quiet_since_ms));
        let quiet_ms = quiet_ms.min(now_quiet_ms);
        match instance.rest.state.load(Ordering::SeqCst) {
            AWAKE if quiet_ms >= after_ms && self.shared.succession.is_alone() => {
                is_called |= self.is_called(instance, gateways, now_ms);
                if may_freeze && !is_called {
                    instance.rest.state.store(DROWSY, Ordering::SeqCst);
                    self.shared.report_wanted.notify_one();
                }
            }
            DROWSY if quiet_ms < after_ms => {
                instance.rest.rouse();
            }
            // What it has was sent before it was known to sleep.
            ASLEEP if is_busy(instance) => {
                instance.rest.rouse();
            }
            DROWSY if instance.phase() == Phase::Active => {
                instance.rest.fall_asleep(|| is_busy(instance));
                self.shared.report_wanted.notify_one();
            }
            _ => {}
        }
        is_called
    }

    /// For how long nobody has asked anything of an instance.
    fn quiet_ms(&mut self, watched: &Watched, instance: &Instance, now_ms: u64) -> u64 {
        let (requests, knocks) = (instance.load().requests, watched.knocks());
        let calm = self.instances.entry(instance.backend.instance).or_insert(Calm {
            quiet_since_ms: now_ms,
            requests,
            knocks,
        });
        if is_busy(instance) || (requests, knocks) != (calm.requests, calm.knocks) {
            calm.quiet_since_ms = now_ms;
        }
        (calm.requests, calm.knocks) = (requests, knocks);
        now_ms.saturating_sub(calm.quiet_since_ms)
    }

    fn make_bed(&self, sleeping: &Sleeping, instance: &Instance, freezer: Arc<dyn Freezer>) {
        let bed = Bed {
            freezer,
            instance: instance.backend.instance,
            paying: self.shared.spending.as_ref().map(|spending| spending.paying.clone()),
            woken: Arc::clone(&sleeping.woken),
            went_on: self.went_on.clone(),
            report_wanted: Arc::clone(&self.shared.report_wanted),
            succession: self.shared.succession.clone(),
        };
        // Nobody else makes one.
        let _made = instance.rest.bed.set(bed);
    }

    /// Whether it stands as it is believed to, and whether somebody calls it in its sleep.
    fn check(&mut self, instance: &Instance, gateways: &[IpAddr], now_ms: u64) -> bool {
        let was_asleep = instance.rest.state.load(Ordering::SeqCst) == ASLEEP;
        instance.rest.check();
        let is_asleep = instance.rest.state.load(Ordering::SeqCst) == ASLEEP;
        if was_asleep
            && !is_asleep
            && let Some(calm) = self.instances.get_mut(&instance.backend.instance)
        {
            // Somebody had a reason to wake it.
            calm.quiet_since_ms = now_ms;
        }
        let is_called = is_asleep && self.is_called(instance, gateways, now_ms);
        if is_called {
            tracing::debug!(instance.id = %instance.backend.instance, "another app calls an instance that sleeps; waking it");
            instance.rest.rouse();
        }
        is_called
    }

    /// Whether another app has a connection to it open. If so, it is not quiet.
    fn is_called(&mut self, instance: &Instance, gateways: &[IpAddr], now_ms: u64) -> bool {
        let backend = &instance.backend;
        let Some(bed) = instance.rest.bed.get() else {
            return true;
        };
        let called = bed.freezer.has_callers(backend.address.port(), gateways);
        let is_called = called.unwrap_or(true);
        if is_called && let Some(calm) = self.instances.get_mut(&backend.instance) {
            calm.quiet_since_ms = now_ms;
        }
        is_called
    }
}

fn is_busy(instance: &Instance) -> bool {
    let load = instance.load();
    load.in_flight + load.upgraded > 0
}
