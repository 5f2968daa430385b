//! Apps in simulated time: services with instances, places and queues, whose requests work, call
//! and answer. Every request goes through a real [`Sentry`], as it would in the ingress.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weir_model::guard::{GuardRule, GuardRules, GuardTrip};
use weir_model::route::{Backend, HostRoutes, MeteredInstance, Route, RouteSnapshot, RouteState};
use weir_model::{AppName, EnvironmentId, InstanceId, ProcessName};

use crate::descent::scatter;
use crate::{Ask, Caller, ContentHash, LineageKey, Passage, Seat, Sentry, Start, Target, Verdict};

/// Time that a call needs to get there.
const NETWORK_US: u64 = 500;
/// Time until a new instance serves.
const COLD_START_US: u64 = 2_000_000;

/// Instances are paid so long ahead.
const SLICE_US: u64 = 250_000;

/// How long a world goes on after the first refusal.
const AFTER_REFUSAL_US: u64 = 1_000_000;

/// What a request does, one after the other.
#[derive(Debug, Clone)]
pub enum Step {
    /// Works for so many microseconds.
    Work(u64),
    /// Sends calls and goes on at once.
    Call(Vec<Outgoing>),
    /// Waits until all calls sent so far have been answered.
    Await,
    /// Calls, and again if that failed, so many times more; waits in between, each time for twice
    /// as long.
    Insist {
        /// What is asked for.
        call: Outgoing,
        /// Further tries.
        tries: u32,
        /// Microseconds before the first of them.
        pause_us: u64,
    },
    /// Answers. What follows is done after the answer, with the place given back.
    Answer,
    /// Answers that it failed.
    Fail,
}

/// A call as its maker sees it.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    /// Which service, counted from 0.
    pub service: usize,
    /// What is asked for: two of the same are the same request.
    pub content: u64,
    /// For the app's own use.
    pub note: u64,
}

/// Whether an app takes the lineage header from the request that it serves to its calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Help {
    /// It does.
    Lineage,
    /// It knows nothing of it.
    None,
}

/// A service of the simulated app.
#[derive(Debug, Clone)]
pub struct Service {
    /// The app's name, a valid one.
    pub name: &'static str,
    /// Instances at the start.
    pub instances: usize,
    /// Instances at most: their number doubles while requests wait.
    pub most: usize,
    /// Requests that an instance serves at once.
    pub concurrency: usize,
    /// Its rules.
    pub rules: GuardRules,
    /// Whether it helps.
    pub help: Help,
}

/// How an app answers a request: from what was asked and a random number to steps.
pub type Behaviour = Box<dyn FnMut(Outgoing, u64) -> Vec<Step> + Send>;

/// Who pays for what the simulated apps use.
pub trait Payer {
    /// One more request, at this microsecond; asked after the guard, before it reaches an
    /// instance.
    fn request(&mut self, now_us: u64) -> Payment;

    /// All running instances for a quarter of a second ahead; asked every quarter of a second.
    /// `Refused`: they are frozen, and that is the end.
    fn running(&mut self, now_us: u64, instances: usize) -> Payment;

    /// So many instances more, until the others are paid the next time.
    fn starting(&mut self, now_us: u64, instances: usize) -> Payment;
}

/// What a payer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// It is paid.
    Paid,
    /// Ask again after so many microseconds.
    Later(u64),
    /// There is no money.
    Refused,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Requests of visitors that were served.
    pub visitors: u64,
    /// Calls of instances that were let through.
    pub calls: u64,
    /// Calls that the guard refused.
    pub refused: u64,
    /// Requests that nobody paid for.
    pub unpaid: u64,
    /// Most instances at once.
    pub instances: usize,
    /// The first trip of each rule.
    pub trips: BTreeMap<GuardRule, FirstTrip>,
    /// Requests let through in each second.
    pub per_second: Vec<u64>,
    /// When the first request was not paid for, in microseconds.
    pub first_unpaid_us: Option<u64>,
}

/// The first time that a rule was broken.
#[derive(Debug, Clone)]
pub struct FirstTrip {
    /// Requests let through before, those of visitors included.
    pub requests: u64,
    /// When, in microseconds.
    pub at_us: u64,
    /// What was recorded.
    pub trip: GuardTrip,
}

enum Event {
    Arrive(Incoming),
    Place(Incoming, Passage),
    Resume(u64),
    Up(usize),
    Slice,
}

struct Incoming {
    ask: Outgoing,
    /// The address that it comes from, and the request that waits for it.
    from: Option<(IpAddr, Option<u64>)>,
    lineage: Option<String>,
}

struct Running {
    service: usize,
    /// None for what an instance does of its own accord.
    instance: usize,
    passage: Option<Passage>,
    lineage: Option<String>,
    holds_place: bool,
    steps: VecDeque<Step>,
    parent: Option<u64>,
    pending: usize,
    awaiting: bool,
    insisting: Option<(Outgoing, u32, u64)>,
    failed: bool,
}

struct Instance {
    seat: Arc<Seat>,
    address: IpAddr,
    busy: usize,
}

struct Site {
    service: Service,
    target: Arc<Target>,
    instances: Vec<Instance>,
    starting: bool,
    queue: VecDeque<(Incoming, Passage)>,
    behaviour: Behaviour,
}

impl Site {
    fn has_room(&self) -> bool {
        self.instances
            .iter()
            .any(|instance| instance.busy < self.service.concurrency)
    }
}

/// The simulated world.
pub struct World {
    sentry: Sentry,
    now_us: u64,
    sequence: u64,
    random: u64,
    next: u64,
    events: BinaryHeap<Reverse<(u64, u64)>>,
    what: BTreeMap<(u64, u64), Event>,
    running: BTreeMap<u64, Running>,
    sites: Vec<Site>,
    payer: Option<Box<dyn Payer>>,
    stop_at: Vec<GuardRule>,
    frozen: bool,
    trips_seen: u64,
    outcome: Outcome,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("now_us", &self.now_us)
            .finish_non_exhaustive()
    }
}

/// All simulated services belong to one environment.
fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

impl World {
    /// Services with their behaviour, in the order in which calls name them.
    pub fn new(seed: u64, services: Vec<(Service, Behaviour)>) -> Self {
        let sentry = Sentry::new(Start {
            shards: 2,
            unix_ms_at_zero: 1_584_662_400_000,
            key: LineageKey::new([3; 32]),
        });
        let sites = services.into_iter().map(|(service, behaviour)| Site {
            target: sentry.target(environment(), &format!("{}.web", service.name)),
            instances: Vec::new(),
            starting: false,
            queue: VecDeque::new(),
            service,
            behaviour,
        });
        let mut world = Self {
            sites: sites.collect(),
            sentry,
            now_us: 0,
            sequence: 0,
            random: seed,
            next: 0,
            events: BinaryHeap::new(),
            what: BTreeMap::new(),
            running: BTreeMap::new(),
            payer: None,
            stop_at: Vec::new(),
            frozen: false,
            trips_seen: 0,
            outcome: Outcome::default(),
        };
        for site in 0..world.sites.len() {
            world.grow(site, world.sites[site].service.instances);
        }
        world
    }

    /// From now on all has to be paid for.
    pub fn pay_by(&mut self, payer: Box<dyn Payer>) {
        self.payer = Some(payer);
        self.schedule(self.now_us, Event::Slice);
    }

    /// Ends as soon as one of these rules is broken; for a guard that only watches.
    pub fn stop_at(&mut self, rules: &[GuardRule]) {
        self.stop_at = rules.to_vec();
    }

    /// A visitor asks at that time.
    pub fn visit(&mut self, at_us: u64, ask: Outgoing) {
        self.schedule(
            at_us,
            Event::Arrive(Incoming {
                ask,
                from: None,
                lineage: None,
            }),
        );
    }

    /// An instance of a service does something of its own accord at that time.
    pub fn job(&mut self, at_us: u64, service: usize, instance: usize, steps: Vec<Step>) {
        let id = self.run_new(Running {
            service,
            instance,
            passage: None,
            lineage: None,
            holds_place: false,
            steps: steps.into(),
            parent: None,
            pending: 0,
            awaiting: false,
            insisting: None,
            failed: false,
        });
        self.schedule(at_us, Event::Resume(id));
    }

    /// Lets it run for so long, or until nothing happens any more, or so many requests were let
    /// through, or for some seconds after the first call was refused.
    pub fn run(mut self, until_us: u64, most_requests: u64) -> Outcome {
        let mut until_us = until_us;
        while let Some(Reverse(key)) = self.events.pop() {
            if key.0 > until_us || self.outcome.visitors + self.outcome.calls >= most_requests {
                break;
            }
            if self.outcome.refused == 1 && self.payer.is_none() {
                until_us = until_us.min(key.0 + AFTER_REFUSAL_US);
            }
            if self.frozen || self.stop_at.iter().any(|rule| self.outcome.trips.contains_key(rule)) {
                break;
            }
            self.now_us = key.0;
            match self.what.remove(&key) {
                Some(Event::Arrive(incoming)) => self.arrive(incoming),
                Some(Event::Resume(id)) => self.resume(id),
                Some(Event::Place(incoming, passage)) => self.pay(incoming, passage),
                Some(Event::Up(site)) => self.up(site),
                Some(Event::Slice) => self.slice(),
                None => {}
            }
        }
        self.outcome
    }

    fn schedule(&mut self, at_us: u64, event: Event) {
        self.sequence += 1;
        let key = (at_us, self.sequence);
        self.events.push(Reverse(key));
        self.what.insert(key, event);
    }

    fn run_new(&mut self, running: Running) -> u64 {
        self.next += 1;
        self.running.insert(self.next, running);
        self.next
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(1);
        scatter(self.random)
    }

    fn arrive(&mut self, incoming: Incoming) {
        let site = &self.sites[incoming.ask.service];
        let text = format!("/{:x}", incoming.ask.content);
        let ask = Ask {
            lineage: incoming.lineage.as_deref(),
            ..ask_of(&text, site.service.name)
        };
        let caller = incoming
            .from
            .map_or(Caller::Visitor, |(address, _)| Caller::Address(address));
        let shard = usize::from(self.sequence.is_multiple_of(2));
        match self.sentry.arrive(shard, self.now_us, caller, &site.target, &ask) {
            Verdict::Pass(passage) => self.pay(incoming, passage),
            Verdict::Refuse(_) => {
                self.outcome.refused += 1;
                self.answered(incoming.from, false);
            }
        }
        self.note_trips();
    }

    /// It is paid for and goes on, or waits for money, or gets none.
    fn pay(&mut self, incoming: Incoming, passage: Passage) {
        let now_us = self.now_us;
        match self.payer.as_mut().map_or(Payment::Paid, |payer| payer.request(now_us)) {
            Payment::Later(us) => self.schedule(now_us + us.max(1), Event::Place(incoming, passage)),
            Payment::Refused => {
                self.outcome.unpaid += 1;
                self.outcome.first_unpaid_us.get_or_insert(now_us);
                self.answered(incoming.from, false);
            }
            Payment::Paid => {
                match incoming.from {
                    None => self.outcome.visitors += 1,
                    Some(_) => self.outcome.calls += 1,
                }
                let second = usize::try_from(self.now_us / 1_000_000).unwrap_or(0);
                if self.outcome.per_second.len() <= second {
                    self.outcome.per_second.resize(second + 1, 0);
                }
                self.outcome.per_second[second] += 1;
                self.place(incoming, passage);
            }
        }
    }

    fn slice(&mut self) {
        let instances = self.sites.iter().map(|site| site.instances.len()).sum();
        let now_us = self.now_us;
        let Some(payer) = self.payer.as_mut() else { return };
        match payer.running(now_us, instances) {
            Payment::Paid => self.schedule(now_us + SLICE_US, Event::Slice),
            Payment::Later(us) => self.schedule(now_us + us.max(1), Event::Slice),
            Payment::Refused => self.frozen = true,
        }
    }

    fn note_trips(&mut self) {
        if self.sentry.trip_count() == self.trips_seen {
            return;
        }
        self.trips_seen = self.sentry.trip_count();
        let requests = self.outcome.visitors + self.outcome.calls;
        for trip in self.sentry.trips().into_iter().filter(|trip| !trip.warning) {
            self.outcome.trips.entry(trip.rule).or_insert_with(|| FirstTrip {
                requests,
                at_us: self.now_us,
                trip,
            });
        }
    }

    /// Gives it to the instance with the least to do, or lets it wait.
    fn place(&mut self, incoming: Incoming, mut passage: Passage) {
        let number = incoming.ask.service;
        let random = self.random();
        let site = &mut self.sites[number];
        let free = site
            .instances
            .iter()
            .enumerate()
            .filter(|(_, instance)| instance.busy < site.service.concurrency);
        let Some((index, _)) = free.min_by_key(|(_, instance)| instance.busy) else {
            site.queue.push_back((incoming, passage));
            if !site.starting && site.instances.len() < site.service.most {
                site.starting = true;
                self.schedule(self.now_us + COLD_START_US, Event::Up(number));
            }
            return;
        };
        let text = format!("/{:x}", incoming.ask.content);
        let ask = ask_of(&text, site.service.name);
        let shard = usize::from(random.is_multiple_of(2));
        passage.bind(&site.instances[index].seat, shard, self.now_us, &ask);
        site.instances[index].busy += 1;
        let steps = (site.behaviour)(incoming.ask, random);
        let running = Running {
            service: number,
            instance: index,
            lineage: passage.lineage().filter(|_| site.service.help == Help::Lineage),
            passage: Some(passage),
            holds_place: true,
            steps: steps.into(),
            parent: incoming.from.and_then(|(_, parent)| parent),
            pending: 0,
            awaiting: false,
            insisting: None,
            failed: false,
        };
        let id = self.run_new(running);
        self.resume(id);
    }

    /// Goes on with a request until it has to wait.
    fn resume(&mut self, id: u64) {
        let Some(mut running) = self.running.remove(&id) else {
            return;
        };
        while let Some(step) = running.steps.pop_front() {
            match step {
                Step::Work(us) => {
                    self.running.insert(id, running);
                    return self.schedule(self.now_us + us, Event::Resume(id));
                }
                Step::Call(calls) => {
                    for call in calls {
                        running.pending += 1;
                        self.send(id, &running, call);
                    }
                }
                Step::Await if running.pending > 0 => {
                    running.awaiting = true;
                    self.running.insert(id, running);
                    return;
                }
                Step::Await => {}
                Step::Insist { call, tries, pause_us } => {
                    running.pending += 1;
                    running.awaiting = true;
                    running.insisting = Some((call, tries, pause_us));
                    self.send(id, &running, call);
                    self.running.insert(id, running);
                    return;
                }
                Step::Answer => self.answer(&mut running, true),
                Step::Fail => self.answer(&mut running, false),
            }
        }
        self.answer(&mut running, true);
    }

    fn send(&mut self, id: u64, running: &Running, call: Outgoing) {
        let address = self.sites[running.service].instances[running.instance].address;
        let incoming = Incoming {
            ask: call,
            from: Some((address, Some(id))),
            lineage: running.lineage.clone(),
        };
        self.schedule(self.now_us + NETWORK_US, Event::Arrive(incoming));
    }

    /// Ends the request, if it has not ended, and gives its place to the next.
    fn answer(&mut self, running: &mut Running, well: bool) {
        if let Some(passage) = running.passage.take() {
            passage.end(self.now_us);
            let parent = running.parent.take();
            self.answered(
                parent.map(|parent| (IpAddr::V4(Ipv4Addr::LOCALHOST), Some(parent))),
                well,
            );
        }
        if running.holds_place {
            running.holds_place = false;
            self.sites[running.service].instances[running.instance].busy -= 1;
            if let Some((incoming, passage)) = self.sites[running.service].queue.pop_front() {
                self.place(incoming, passage);
            }
        }
    }

    /// Tells the one that waits for it.
    fn answered(&mut self, from: Option<(IpAddr, Option<u64>)>, well: bool) {
        let Some((_, Some(parent))) = from else { return };
        let Some(running) = self.running.get_mut(&parent) else {
            return;
        };
        running.pending = running.pending.saturating_sub(1);
        running.failed |= !well;
        if running.pending > 0 || !running.awaiting {
            return;
        }
        running.awaiting = false;
        let mut pause_us = 0;
        if let Some((call, tries, pause)) = running.insisting.take()
            && !well
            && tries > 0
        {
            pause_us = pause;
            running.steps.push_front(Step::Insist {
                call,
                tries: tries - 1,
                pause_us: pause.saturating_mul(2),
            });
        }
        self.schedule(self.now_us + pause_us, Event::Resume(parent));
    }

    fn up(&mut self, site: usize) {
        self.sites[site].starting = false;
        let present = self.sites[site].instances.len();
        let more = present.min(self.sites[site].service.most.saturating_sub(present));
        let now_us = self.now_us;
        let paid = self
            .payer
            .as_mut()
            .map_or(Payment::Paid, |payer| payer.starting(now_us, more));
        if paid == Payment::Paid {
            self.grow(site, more);
        }
        while self.sites[site].has_room() {
            let Some((incoming, passage)) = self.sites[site].queue.pop_front() else {
                break;
            };
            self.place(incoming, passage);
        }
        if !self.sites[site].queue.is_empty() && self.sites[site].instances.len() < self.sites[site].service.most {
            self.sites[site].starting = true;
            self.schedule(self.now_us + COLD_START_US, Event::Up(site));
        }
    }

    fn grow(&mut self, site: usize, more: usize) {
        let from = self.sites[site].instances.len();
        for number in from..from + more {
            let unique = u32::try_from(site * 65_536 + number).unwrap_or(0);
            let instance = InstanceId::from_parts(1, u128::from(unique));
            let address = IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + unique));
            self.sites[site].instances.push(Instance {
                seat: self.sentry.seat(instance),
                address,
                busy: 0,
            });
        }
        self.sentry.update(&self.snapshot());
        for site in &mut self.sites {
            for instance in &mut site.instances {
                instance.seat = self.sentry.seat(instance.seat.instance());
            }
        }
        let all = self.sites.iter().map(|site| site.instances.len()).sum();
        self.outcome.instances = self.outcome.instances.max(all);
    }

    fn snapshot(&self) -> RouteSnapshot {
        let mut snapshot = RouteSnapshot::default();
        for site in &self.sites {
            let name = site.service.name;
            let backends = site.instances.iter().map(|instance| Backend {
                instance: instance.seat.instance(),
                address: (instance.address, 8080).into(),
            });
            let route = Route {
                path_prefix: "/".to_owned(),
                target: format!("{name}.web"),
                state: RouteState::Serve,
                pool: backends.collect(),
                concurrency: u32::try_from(site.service.concurrency).unwrap_or(1),
                first_byte_timeout_ms: 60_000,
                guard: site.service.rules.clone(),
                ..Route::default()
            };
            let host = HostRoutes {
                environment: environment(),
                title: "shop".to_owned(),
                routes: vec![route],
                https: weir_model::certificate::HttpsPolicy::default(),
                redirect_to: None,
                protection: None,
            };
            snapshot.hosts.insert(format!("{name}.shop.localhost"), host);
            let (Ok(app), Ok(process)) = (AppName::new(name), ProcessName::new("web")) else {
                continue;
            };
            snapshot
                .metered
                .extend(site.instances.iter().map(|instance| MeteredInstance {
                    instance: instance.seat.instance(),
                    environment: environment(),
                    app: app.clone(),
                    process: process.clone(),
                    memory_bytes: 1 << 28,
                    cpu_milli: 1000,
                    grace_s: 10,
                    address: Some(instance.address),
                    frozen: false,
                    stopping: false,
                }));
        }
        snapshot
    }
}

fn ask_of<'a>(path: &'a str, host: &'a str) -> Ask<'a> {
    Ask {
        method: "POST",
        host,
        path,
        lineage: None,
        traceparent: None,
        content: Some(ContentHash::of("POST", path, None, b"")),
    }
}
