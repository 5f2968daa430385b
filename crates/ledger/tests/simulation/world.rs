//! A small world and what may happen to it, drawn from one seed.

use std::collections::BTreeMap;

use fastrand::Rng;
use weir_ledger::book::{Cap, Command, Fund, Ledger, Reply, Scope, Settings};
use weir_ledger::protocol::{Answer, DenialReason, Exchange, LineKey};
use weir_ledger::wallet::{NoMoney, Urgency};
use weir_ledger::{Nano, Period, Pico, Price, PriceBook, Sku};
use weir_model::{AccountId, EnvironmentId, ProjectId};

use crate::control::Control;
use crate::disk::Fault;
use crate::node::{Job, Node};
use crate::oracle::{Lost, Oracle};

const SKUS: [&str; 5] = ["requests", "cpu", "memory", "egress", "free-of-charge"];

/// On its way.
#[derive(Debug, Clone)]
struct Message {
    at_ms: i64,
    node: usize,
    boot: u64,
    number: u64,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    Question(Exchange),
    Answer(Answer),
    Nothing,
}

/// How often things go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weather {
    Storm,
    Calm,
}

/// What a world may do wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cheat {
    /// Meters work before their log is written.
    Log,
    /// The ledger answers before its journal is written.
    Journal,
}

/// Whether the balance bounds the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Billing {
    Never,
    Always,
    NowAndThen,
}

/// Everything.
#[derive(Debug)]
pub(crate) struct World {
    random: Rng,
    weather: Weather,
    /// True time, which only goes forward; clocks show something else.
    true_ms: i64,
    control_clock_ms: i64,
    control: Control,
    nodes: Vec<Node>,
    network: Vec<Message>,
    oracle: Oracle,
    account: AccountId,
    projects: Vec<ProjectId>,
    environments: Vec<EnvironmentId>,
    limit: i64,
    period: Period,
    billing: Billing,
    pace: bool,
    prices: u32,
    /// Counts boots, questions and ids.
    count: u64,
    pub(crate) tally: Tally,
}

/// What happened, so that a simulation in which nothing happens is seen.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Tally {
    pub(crate) worked: u64,
    pub(crate) refused: u64,
    pub(crate) kills: u64,
    pub(crate) logs_lost: u64,
    pub(crate) fences: u64,
    pub(crate) rows: u64,
    pub(crate) lost: Lost,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let starts = [
            "2026-03-28T22:59:50Z", // Berlin: the day that has 23 hours begins soon.
            "2026-10-25T00:59:55Z", // The hour that comes twice.
            "2026-10-31T22:59:50Z", // A month ends.
            "2026-06-15T10:00:00Z",
        ];
        let start: jiff::Timestamp = starts[random.usize(..starts.len())].parse().unwrap();
        let periods = [Period::Day, Period::Week, Period::Month, Period::Total];
        let billings = [Billing::Never, Billing::Always, Billing::NowAndThen];
        let nodes = random.usize(1..=4);
        let mut world = Self {
            weather: Weather::Calm,
            true_ms: start.as_millisecond(),
            control_clock_ms: 0,
            control: Control::new(),
            nodes: (0..nodes).map(|index| Node::new(format!("node:{index}"))).collect(),
            network: Vec::new(),
            oracle: Oracle::default(),
            account: AccountId::from_parts(0, 0),
            projects: (1..=2).map(|index| ProjectId::from_parts(1, index)).collect(),
            environments: (1..=3).map(|index| EnvironmentId::from_parts(1, index)).collect(),
            limit: 10_i64.pow(random.u32(3..=10)) * random.i64(1..=9),
            period: periods[random.usize(..periods.len())],
            billing: billings[random.usize(..billings.len())],
            pace: random.bool(),
            prices: 0,
            count: 0,
            tally: Tally::default(),
            random,
        };
        world.found();
        world.weather = Weather::Storm;
        world
    }

    /// No faults, no pace, no balance, one price: for what is left when the cap refuses.
    pub(crate) fn plain(seed: u64) -> Self {
        let mut world = Self::new(seed);
        world.weather = Weather::Calm;
        world.limit = world.limit.max(10_000_000);
        let cap = Cap {
            limit: Nano(world.limit),
            period: Period::Total,
            pace: false,
        };
        for scope in world.scopes() {
            let cap = (!matches!(scope, Scope::Environment(_))).then_some(cap);
            world.order(&Command::SetCap { scope, cap });
        }
        let account = world.account;
        world.order(&Command::SetBilling { account, on: false });
        let price = Price {
            pico: world.limit / world.random.i64(2_000..=20_000) * 1000 + world.random.i64(0..1000),
            per: 1,
        };
        let book = PriceBook {
            version: 2,
            currency: "EUR".to_owned(),
            valid_from_ms: 0,
            prices: BTreeMap::from([(Sku::REQUESTS, price)]),
        };
        assert_eq!(world.order(&Command::Publish { book }), Some(Reply::Done));
        world
    }

    /// The same world with a fault in how it is driven, which has to be seen.
    pub(crate) fn cheating(seed: u64, cheat: Cheat) -> Self {
        let mut world = Self::new(seed);
        match cheat {
            Cheat::Log => world.nodes.iter_mut().for_each(|node| node.cheats = true),
            Cheat::Journal => world.control.cheats = true,
        }
        world
    }

    fn found(&mut self) {
        let settings = Settings {
            time_zone: "Europe/Berlin".to_owned(),
            promise_limit: Nano(self.limit),
            ..Settings::default()
        };
        self.order(&Command::Configure(settings));
        self.publish();
        let account = Scope::Account(self.account);
        let caps = [self.cap(100), self.cap(80), self.cap(60)];
        let mut open = vec![(account, None, Some(caps[0]))];
        for (index, project) in self.projects.iter().enumerate() {
            open.push((Scope::Project(*project), Some(account), Some(caps[1 + index])));
        }
        for (index, environment) in self.environments.clone().into_iter().enumerate() {
            let cap = self.random.bool().then(|| self.cap(50));
            let project = Scope::Project(self.projects[index % 2]);
            open.push((Scope::Environment(environment), Some(project), cap));
        }
        for (scope, parent, cap) in open {
            self.order(&Command::Open { scope, parent, cap });
        }
        if self.billing == Billing::Always {
            let account = self.account;
            self.order(&Command::SetBilling { account, on: true });
        }
        for node in 0..self.nodes.len() {
            self.start(node);
        }
    }

    /// A cap of so many hundredths of the world's limit.
    fn cap(&mut self, percent: i64) -> Cap {
        Cap {
            limit: Nano((self.limit / 100 * percent).max(1)),
            period: self.period,
            pace: self.pace,
        }
    }

    fn scopes(&self) -> Vec<Scope> {
        let mut scopes = vec![Scope::Account(self.account)];
        scopes.extend(self.projects.iter().copied().map(Scope::Project));
        scopes.extend(self.environments.iter().copied().map(Scope::Environment));
        scopes
    }

    fn next(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn is_stormy(&self) -> bool {
        self.weather == Weather::Storm
    }

    /// Once in so many times, in bad weather.
    fn mishap(&mut self, once_in: u32) -> bool {
        self.is_stormy() && self.random.u32(..once_in) == 0
    }

    fn fault(&mut self, once_in: u32) -> Fault {
        if !self.mishap(once_in) {
            return Fault::None;
        }
        let faults = [
            Fault::Full,
            Fault::Torn,
            Fault::Doubtful,
            Fault::KilledBefore,
            Fault::KilledWithin,
            Fault::KilledAfter,
        ];
        faults[self.random.usize(..faults.len())]
    }

    /// One step: time passes, somebody works, messages arrive, something goes wrong.
    pub(crate) fn step(&mut self) {
        self.pass();
        for _ in 0..self.random.u32(..8) {
            self.work();
        }
        self.control_turn();
        for node in 0..self.nodes.len() {
            self.node_turn(node);
        }
        self.deliver();
        self.check_balance();
    }

    fn pass(&mut self) {
        self.true_ms += self.random.i64(1..=100);
        if self.mishap(60) {
            self.true_ms += self.random.i64(1_000..=20_000);
        }
        if self.mishap(300) {
            self.true_ms += self.random.i64(1..=40) * 3_600_000;
        }
        if self.mishap(100) {
            self.control_clock_ms = self.random.i64(-5..=5) * 3_600_000;
        }
    }

    fn control_turn(&mut self) {
        if self.mishap(60) {
            self.control.kill();
            self.tally.kills += 1;
        }
        if !self.is_stormy() || self.random.u32(..8) == 0 {
            self.control.start();
        }
        if self.mishap(30) {
            self.control.write_checkpoint();
        }
        if self.random.u32(..5) == 0 {
            self.order(&Command::Tick);
        }
        if self.mishap(8) {
            self.rule();
        }
    }

    /// Somebody who may changes something.
    fn rule(&mut self) {
        let scopes = self.scopes();
        let scope = scopes[self.random.usize(..scopes.len())];
        let account = self.account;
        let amount = Nano(self.random.i64(1..=self.limit.max(2) / 2));
        let id = self.next().to_string();
        match self.random.u32(..12) {
            0..=2 => {
                // Lowered in a burst, or raised.
                for _ in 0..self.random.u32(1..=4) {
                    let percent = self.random.i64(0..150);
                    let none = matches!(scope, Scope::Environment(_)) && self.random.bool();
                    let cap = (!none).then(|| self.cap(percent));
                    self.order(&Command::SetCap { scope, cap });
                }
            }
            3 => self.publish(),
            4 if self.billing == Billing::NowAndThen => {
                let on = self.random.bool();
                self.order(&Command::SetBilling { account, on });
            }
            4..=6 => {
                let fund = [Fund::Trial, Fund::Cash][self.random.usize(..2)];
                let reference = String::new();
                self.order(&Command::Deposit {
                    id,
                    account,
                    fund,
                    amount,
                    reference,
                });
            }
            7 => {
                let due_ms = self.true_ms + self.control_clock_ms + self.random.i64(1_000..=86_400_000);
                self.order(&Command::Promise {
                    id,
                    account,
                    amount,
                    due_ms,
                });
            }
            8 => {
                let environment = self.environments[self.random.usize(..self.environments.len())];
                let total = Nano(self.random.i64(0..=self.limit / 20));
                self.order(&Command::Reserve { environment, total });
            }
            9 => {
                // Rightly or not: what it holds counts as spent.
                let node = self.random.usize(..self.nodes.len());
                let incarnation = self.random.u64(1..=4);
                let meter = self.nodes[node].name.clone();
                self.oracle.harm(&meter, incarnation);
                self.order(&Command::Fence { meter, incarnation });
                self.tally.fences += 1;
            }
            10 => {
                let mut projects = self.projects.clone();
                self.random.shuffle(&mut projects);
                self.order(&Command::SetStopOrder { account, projects });
            }
            _ if self.random.u32(..8) == 0 => {
                let environment = self.environments[self.random.usize(..self.environments.len())];
                let scope = Scope::Environment(environment);
                self.order(&Command::Close { scope });
            }
            _ => {}
        }
    }

    fn publish(&mut self) {
        let mut prices = BTreeMap::new();
        for sku in &SKUS[..4] {
            let price = Price {
                pico: self.random.i64(0..=self.limit) * 2,
                per: self.random.u64(1..=10_000),
            };
            prices.insert(Sku::new(sku).unwrap(), price);
        }
        let book = PriceBook {
            version: self.prices + 1,
            currency: "EUR".to_owned(),
            valid_from_ms: 0,
            prices,
        };
        if self.order(&Command::Publish { book }) == Some(Reply::Done) {
            self.prices += 1;
        } else if let Some(ledger) = self.control.ledger() {
            self.prices = ledger.price_books().last_key_value().map_or(0, |(version, _)| *version);
        }
    }

    fn order(&mut self, command: &Command) -> Option<Reply> {
        let fault = self.fault(40);
        let now_ms = self.true_ms + self.control_clock_ms;
        self.control.handle(command, now_ms, fault, &mut self.oracle)
    }

    fn start(&mut self, node: usize) {
        let boot = self.next();
        if self.mishap(4) {
            // While a process runs, its clock is that of its start and what has passed since.
            self.nodes[node].clock_ms = self.random.i64(-5..=5) * 3_600_000;
        }
        self.nodes[node].start(boot, self.true_ms);
    }

    fn work(&mut self) {
        let node = self.random.usize(..self.nodes.len());
        let sku = SKUS[self.random.usize(..SKUS.len())];
        let most = 10_u64.pow(self.random.u32(1..=4));
        let job = Job {
            environment: self.environments[self.random.usize(..self.environments.len())],
            app: self.random.usize(..2),
            sku: Sku::new(sku).unwrap(),
            units: self.random.u64(0..=most),
            shard: self.random.usize(..2),
            urgency: [Urgency::Request, Urgency::Instance][self.random.usize(..2)],
            ends: self.random.bool(),
        };
        let Node { process, name, .. } = &mut self.nodes[node];
        let Some(process) = process else { return };
        if self.random.u32(..100) == 0 {
            let floor = Pico(self.random.i64(0..=self.limit) * 20);
            process.wallets.set_floor(job.environment, floor);
        }
        match process.work(job, name, &mut self.oracle) {
            Ok(()) => self.tally.worked += 1,
            Err(_) => self.tally.refused += 1,
        }
        if self.random.bool() {
            process.end_work(&mut self.random, &mut self.oracle);
        }
    }

    fn node_turn(&mut self, node: usize) {
        if self.mishap(80) {
            self.nodes[node].kill(&mut self.random, &mut self.oracle);
            self.tally.kills += 1;
        }
        if self.mishap(600) {
            self.nodes[node].lose_log(&mut self.random, &mut self.oracle);
            self.tally.logs_lost += 1;
        }
        if self.mishap(120) {
            self.nodes[node].cut_off_ms = self.true_ms + self.random.i64(100..=60_000);
        }
        if self.nodes[node].process.is_none() && (!self.is_stormy() || self.random.u32(..8) == 0) {
            self.start(node);
        }
        let fault = self.fault(40);
        self.nodes[node].turn(self.true_ms, fault, &mut self.random, &mut self.oracle);
        let number = self.next();
        if let Some((boot, question)) = self.nodes[node].ask(self.true_ms, number) {
            self.send(node, boot, number, Body::Question(question));
        }
    }

    /// Loses, repeats, delays.
    fn send(&mut self, node: usize, boot: u64, number: u64, body: Body) {
        let cut_off = self.true_ms < self.nodes[node].cut_off_ms;
        if self.is_stormy() && cut_off || self.mishap(8) {
            return;
        }
        let copies = if self.mishap(8) { 2 } else { 1 };
        for _ in 0..copies {
            let delay_ms = if self.mishap(10) {
                self.random.i64(1_000..=100_000)
            } else {
                self.random.i64(0..=20)
            };
            self.network.push(Message {
                at_ms: self.true_ms + delay_ms,
                node,
                boot,
                number,
                body: body.clone(),
            });
        }
    }

    fn deliver(&mut self) {
        let mut due = Vec::new();
        let now_ms = self.true_ms;
        self.network.retain(|message| {
            let is_due = message.at_ms <= now_ms;
            if is_due {
                due.push(message.clone());
            }
            !is_due
        });
        self.random.shuffle(&mut due);
        for message in due {
            let Message { node, boot, number, .. } = message;
            match message.body {
                Body::Question(question) => {
                    let reply = self.order(&Command::Exchange(question));
                    let body = match reply {
                        Some(Reply::Answer(answer)) => Body::Answer(answer),
                        _ => Body::Nothing,
                    };
                    self.send(node, boot, number, body);
                }
                Body::Answer(answer) => self.nodes[node].hear(boot, number, answer, now_ms),
                Body::Nothing => self.nodes[node].unanswered(boot, number, now_ms),
            }
        }
    }

    fn check_balance(&self) {
        if self.billing == Billing::Always {
            let cost = self.oracle.cost_of(Scope::Account(self.account));
            let money = self.oracle.money_in;
            assert!(cost <= money * 1000, "work for {cost} pico was done with {money} nano");
        }
    }

    /// Everything works again, and everybody comes to rest: what is shown is what was done.
    pub(crate) fn come_to_rest(&mut self) {
        self.weather = Weather::Calm;
        self.control.start();
        // Longer than any pause, and than any delay of the network.
        for _ in 0..120 {
            self.true_ms += 5_000;
            self.quiet_step();
        }
        self.check_shown();
        for round in 0.. {
            self.nodes.iter_mut().for_each(Node::finish);
            self.true_ms += 100;
            self.quiet_step();
            if self.nodes.iter().all(Node::is_settled) {
                break;
            }
            assert!(round < 10_000, "some meter never comes to rest: {:?}", self.nodes);
        }
        let ledger = self.control.ledger().expect("control is up");
        assert_eq!(ledger.leases(), [], "money is held for nobody");
        self.tally.rows = u64::try_from(self.control.journal.len()).unwrap();
        self.tally.lost = self.oracle.settle_up();
        let (replayed, report) = self.control.journal.audit();
        assert_eq!(report.findings, Vec::<String>::new());
        let text = |ledger: &Ledger| serde_json::to_string(ledger).unwrap();
        assert_eq!(text(&replayed), text(ledger), "the journal leads to another state");
    }

    fn quiet_step(&mut self) {
        for node in &mut self.nodes {
            if let Some(process) = &mut node.process {
                while process.is_working() {
                    process.end_work(&mut self.random, &mut self.oracle);
                }
            }
        }
        self.control_turn();
        for node in 0..self.nodes.len() {
            self.node_turn(node);
        }
        self.true_ms += 21;
        self.deliver();
        self.true_ms += 21;
        self.deliver();
    }

    /// What people see, with what meters have reported and no row tells yet.
    fn check_shown(&self) {
        let ledger = self.control.ledger().expect("control is up");
        for environment in &self.environments {
            let scope = Scope::Environment(*environment);
            let Some(done) = self.oracle.shown(scope) else {
                continue;
            };
            let mut shown = BTreeMap::new();
            for line in ledger.lines(scope).into_iter().filter(|line| line.units > 0) {
                let key = LineKey {
                    app: line.app,
                    process: line.process,
                    sku: line.sku,
                };
                shown.insert((key, line.price_version), line.units);
            }
            assert_eq!(shown, done, "what {environment} is shown to have used");
        }
    }

    /// Works on all nodes until the cap refuses: what is not spent then, and how much that may be,
    /// both in pico-units.
    pub(crate) fn spend_all(&mut self) -> (i128, i128) {
        let limit = i128::from(self.limit);
        let mut favourite = 0;
        for round in 0..100_000 {
            self.true_ms += self.random.i64(1..=20);
            if round % 100 == 0 {
                favourite = self.random.usize(..self.nodes.len());
            }
            for _ in 0..4 {
                let elsewhere = self.random.u32(..10) == 0;
                let node = if elsewhere {
                    self.random.usize(..self.nodes.len())
                } else {
                    favourite
                };
                let job = Job {
                    environment: self.environments[self.random.usize(..self.environments.len())],
                    app: self.random.usize(..2),
                    sku: Sku::REQUESTS,
                    units: 1,
                    shard: self.random.usize(..2),
                    urgency: Urgency::Request,
                    ends: true,
                };
                let Node { process, name, .. } = &mut self.nodes[node];
                let process = process.as_mut().expect("nothing is killed");
                match process.work(job, name, &mut self.oracle) {
                    Err(Some(NoMoney::Denied(reason))) if reason != DenialReason::Recalling => {
                        let cost = self.oracle.cost_of(Scope::Account(self.account));
                        let smallest = limit * 1000 / 2000 * i128::try_from(self.nodes.len()).unwrap();
                        return (limit * 1000 - cost, smallest.max(limit * 5));
                    }
                    Ok(()) => self.tally.worked += 1,
                    Err(_) => self.tally.refused += 1,
                }
            }
            self.control_turn();
            for node in 0..self.nodes.len() {
                self.node_turn(node);
            }
            self.deliver();
        }
        panic!("the cap never refuses");
    }
}
