//! One meter, one ledger, and somebody who counts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use weir_ledger::protocol::{
    Answer, Denial, DenialReason, Exchange, Incarnation, LeaseAnswer, LeaseKey, LineKey, Standing, Usage,
};
use weir_ledger::wallet::purse::{Purse, Record};
use weir_ledger::wallet::{Draw, NoMoney, Till, Urgency, Wallets};
use weir_ledger::{Nano, Pico, Price, PriceBook, Sku};
use weir_model::EnvironmentId;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Pay {
        environment: usize,
        units: u64,
        instance: bool,
    },
    Draw {
        environment: usize,
        units: u64,
    },
    Finish {
        index: usize,
        used: u64,
    },
    Log(Fault),
    Exchange,
    QuestionLost,
    AnswerLost,
    /// A question whose answer comes later.
    Late,
    Arrive,
    Pass(i64),
    Floor {
        environment: usize,
        pico: i64,
    },
    Recall,
    TurnOver,
    /// All well, with time for everything: log, talk, log.
    Step,
    /// Nobody draws for so long that leases are closed.
    Idle,
    Crash,
    LogLost,
}

#[derive(Debug, Clone)]
pub(crate) enum Fault {
    None,
    CrashBefore,
    CrashAfter,
    Torn { kept: usize },
    DiskFull { written: bool },
}

#[derive(Debug, Default)]
struct LedgerLease {
    granted: i64,
    returned: i64,
    settled: i64,
    usage: BTreeMap<LineKey, u64>,
    closed: bool,
}

#[derive(Debug)]
struct TinyLedger {
    limit: i64,
    incarnation: Incarnation,
    boot: u64,
    leases: BTreeMap<(Incarnation, LeaseKey), LedgerLease>,
    recall: bool,
    turn_over: bool,
    grants: i64,
}

pub(crate) struct World {
    ledger: TinyLedger,
    log: Vec<Record>,
    purse: Option<Purse>,
    wallets: Wallets,
    tills: Vec<Arc<Till>>,
    draws: Vec<(Draw, u64)>,
    late: Vec<Answer>,
    now_ms: i64,
    boots: u64,
    /// The log has to be written anew.
    stale: bool,
    /// Units of finished work, and of work that may have been done, by SKU.
    requests: u64,
    cpu: u64,
    crashed: bool,
    log_lost: bool,
}

fn environment(index: usize) -> EnvironmentId {
    EnvironmentId::from_parts(1, index as u128)
}

fn book() -> PriceBook {
    PriceBook {
        version: 1,
        currency: "EUR".into(),
        valid_from_ms: 0,
        prices: BTreeMap::from([
            (Sku::REQUESTS, Price { pico: 700, per: 1 }),
            (Sku::CPU, Price { pico: 2_500, per: 18 }),
        ]),
    }
}

fn cost(usage: &BTreeMap<LineKey, u64>) -> i64 {
    let book = book();
    let lines = usage
        .iter()
        .map(|(line, units)| book.price(&line.sku).line(u128::from(*units)).unwrap());
    lines.map(|nano| nano.0).sum()
}

impl LedgerLease {
    fn held(&self) -> i64 {
        if self.closed {
            0
        } else {
            self.granted - self.returned - self.settled
        }
    }

    fn merge(&mut self, usage: &Usage) {
        for (line, units) in usage {
            let known = self.usage.entry(line.clone()).or_default();
            *known = (*known).max(*units);
        }
    }
}

impl TinyLedger {
    fn spent(&self) -> i64 {
        self.leases.values().map(|lease| lease.settled).sum()
    }

    fn held(&self) -> i64 {
        self.leases.values().map(LedgerLease::held).sum()
    }

    fn exchange(&mut self, question: &Exchange) -> Answer {
        let mut answer = Answer {
            incarnation: question.incarnation,
            standing: Standing::Superseded {
                next: self.incarnation + 1,
            },
            leases: Vec::new(),
            prices: BTreeMap::from([(1, book())]),
        };
        let same = question.incarnation == self.incarnation && question.boot == self.boot;
        if question.incarnation < self.incarnation
            || question.incarnation == 0
            || question.incarnation == self.incarnation && !same
        {
            return answer;
        }
        answer.standing = Standing::Current;
        if question.incarnation > self.incarnation {
            self.succeed(question);
        }
        for report in &question.leases {
            answer.leases.push(self.report(report));
        }
        answer
    }

    fn succeed(&mut self, question: &Exchange) {
        (self.incarnation, self.boot) = (question.incarnation, question.boot);
        for (key, lease) in self.leases.iter_mut().filter(|(_, lease)| !lease.closed) {
            let closing = question
                .closings
                .iter()
                .find(|closing| (closing.incarnation, closing.lease) == *key);
            lease.settled = match closing {
                Some(closing) => {
                    let drawn = closing.drawn.to_nano_up().0;
                    assert!(drawn + lease.returned <= lease.granted, "more drawn than granted");
                    lease.merge(&closing.usage);
                    assert!(cost(&lease.usage) <= drawn.max(lease.settled), "more used than drawn");
                    lease.settled.max(drawn)
                }
                None => lease.granted - lease.returned,
            };
            lease.closed = true;
        }
    }

    fn report(&mut self, report: &weir_ledger::protocol::LeaseReport) -> LeaseAnswer {
        let room = self.limit - self.spent() - self.held();
        let lease = self.leases.entry((self.incarnation, report.lease)).or_default();
        let mut answer = LeaseAnswer {
            lease: report.lease,
            granted: Nano(lease.granted),
            price_version: 1,
            until_ms: i64::MAX,
            turn_over: self.turn_over,
            recall: self.recall,
            denied: None,
            closed: lease.closed,
        };
        if lease.closed {
            return answer;
        }
        lease.merge(&report.usage);
        lease.returned = lease.returned.max(report.returned.0);
        lease.settled = lease.settled.max(cost(&lease.usage));
        assert!(
            lease.settled + lease.returned <= lease.granted,
            "a report settles more than the lease holds"
        );
        lease.closed = report.closed;
        answer.closed = report.closed;
        if let Some(want) = report.want
            && !lease.closed
            && report.granted.0 == lease.granted
        {
            if want.needed.0 > room {
                let denial = Denial {
                    reason: DenialReason::ProjectCap,
                    retry_after_ms: 10,
                };
                answer.denied = Some(denial);
            } else {
                self.grants += 1;
                lease.granted += want.needed.0.max(1_000 + self.grants % 3 * 1_000).min(room.max(0));
                answer.granted = Nano(lease.granted);
            }
        }
        answer
    }
}

impl World {
    pub(crate) fn new(limit: i64) -> Self {
        let ledger = TinyLedger {
            limit,
            incarnation: 0,
            boot: 0,
            leases: BTreeMap::new(),
            recall: false,
            turn_over: false,
            grants: 0,
        };
        let mut world = Self {
            ledger,
            log: Vec::new(),
            purse: None,
            wallets: Wallets::default(),
            tills: Vec::new(),
            draws: Vec::new(),
            late: Vec::new(),
            now_ms: 1_000_000,
            boots: 0,
            stale: false,
            requests: 0,
            cpu: 0,
            crashed: false,
            log_lost: false,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.boots += 1;
        self.stale = false;
        self.wallets = Wallets::new(2);
        self.tills = (0..2)
            .map(|index| self.wallets.till(environment(index), None, None))
            .collect();
        // Work that was in flight may have been done to its end.
        self.cpu += self.draws.drain(..).map(|(_, units)| units).sum::<u64>();
        let (wallets, log) = (self.wallets.clone(), self.log.clone());
        self.purse = Some(Purse::open("node:test".into(), self.boots, wallets, log, self.now_ms));
    }

    fn crash(&mut self) {
        self.crashed = true;
        self.purse = None;
        self.start();
    }

    pub(crate) fn open_leases(&self) -> usize {
        self.ledger.leases.values().filter(|lease| !lease.closed).count()
    }

    /// Another process has spoken in the meter's name.
    pub(crate) fn supersede(&mut self) {
        let question = Exchange {
            meter: "node:test".into(),
            incarnation: self.ledger.incarnation + 1,
            boot: 99,
            closings: Vec::new(),
            leases: Vec::new(),
        };
        self.ledger.exchange(&question);
        self.crashed = true;
    }

    pub(crate) fn pay(&mut self, environment: usize, units: u64) -> bool {
        self.apply(&Op::Pay {
            environment,
            units,
            instance: false,
        })
    }

    /// Somebody who waits half a minute for the money of so many requests.
    pub(crate) fn wait(&self, environment: usize, units: u64) -> impl Future<Output = Result<(), NoMoney>> + use<> {
        let till = Arc::clone(&self.tills[environment]);
        let patience = Duration::from_secs(30);
        async move { till.wait(Urgency::Request, &Sku::REQUESTS, units, patience).await }
    }

    /// Requests and CPU time, all or nothing.
    pub(crate) fn pay_together(&mut self, environment: usize, requests: u64, cpu: u64) -> bool {
        let wanted = [(&Sku::REQUESTS, requests), (&Sku::CPU, cpu)];
        let Ok([request, work]) = self.tills[environment].draw_together(0, Urgency::Request, wanted) else {
            return false;
        };
        request.finish(requests);
        work.finish(cpu);
        self.requests += requests;
        self.cpu += cpu;
        true
    }

    /// True if it was paid, where it was to be.
    pub(crate) fn apply(&mut self, op: &Op) -> bool {
        match op {
            Op::Pay {
                environment,
                units,
                instance,
            } => {
                let urgency = if *instance { Urgency::Instance } else { Urgency::Request };
                let shard = usize::from(*instance);
                let paid = self.tills[*environment]
                    .pay(shard, urgency, &Sku::REQUESTS, *units)
                    .is_ok();
                self.requests += if paid { *units } else { 0 };
                return paid;
            }
            Op::Draw { environment, units } => {
                if let Ok(draw) = self.tills[*environment].draw(1, Urgency::Request, &Sku::CPU, *units) {
                    self.draws.push((draw, *units));
                }
            }
            Op::Finish { index, used } if *index < self.draws.len() => {
                let (draw, units) = self.draws.swap_remove(*index);
                self.cpu += (*used).min(units);
                draw.finish(*used);
            }
            Op::Finish { .. } => {}
            Op::Log(fault) => self.log(fault),
            Op::Pass(ms) => self.now_ms += ms,
            Op::Floor {
                environment: index,
                pico,
            } => self.wallets.set_floor(environment(*index), Pico(*pico)),
            Op::Recall => self.ledger.recall = !self.ledger.recall,
            Op::TurnOver => self.ledger.turn_over = !self.ledger.turn_over,
            Op::Step => self.step(),
            Op::Idle => {
                for _ in 0..4 {
                    self.now_ms += 30_000;
                    self.step();
                }
            }
            Op::Crash => self.crash(),
            Op::LogLost => {
                self.log.clear();
                self.log_lost = true;
                self.crash();
            }
            Op::Exchange | Op::QuestionLost | Op::AnswerLost | Op::Late | Op::Arrive => self.talk(op),
        }
        true
    }

    fn talk(&mut self, op: &Op) {
        let purse = self.purse.as_mut().unwrap();
        if let Op::Arrive = op {
            for answer in self.late.drain(..).rev() {
                purse.answer(answer, self.now_ms);
            }
            return;
        }
        if purse.next_exchange_ms() > self.now_ms {
            return;
        }
        let question = purse.question(self.now_ms);
        if let Op::QuestionLost = op {
            return purse.unanswered(self.now_ms);
        }
        let answer = self.ledger.exchange(&question);
        match op {
            Op::AnswerLost => purse.unanswered(self.now_ms),
            Op::Late => {
                self.late.push(answer);
                purse.unanswered(self.now_ms);
            }
            _ => purse.answer(answer, self.now_ms),
        }
    }

    fn log(&mut self, fault: &Fault) {
        let purse = self.purse.as_mut().unwrap();
        let plan = purse.plan(self.now_ms);
        if std::mem::take(&mut self.stale) {
            self.log = purse.snapshot();
        }
        let mut after = self.log.clone();
        after.extend(plan.records().iter().cloned());
        match fault {
            Fault::None => {
                self.log = after;
                purse.commit(plan, self.now_ms);
            }
            Fault::CrashBefore => self.crash(),
            Fault::CrashAfter => {
                self.log = after;
                self.crash();
            }
            Fault::Torn { kept } => {
                after.truncate(self.log.len() + kept);
                self.log = after;
                self.crash();
            }
            Fault::DiskFull { written } => {
                if *written {
                    self.log = after;
                }
                purse.abandon(plan, self.now_ms);
                // Before the next plan the log is written anew, unless the process dies first.
                self.stale = true;
            }
        }
    }

    /// All well: log, talk, and some time.
    pub(crate) fn step(&mut self) {
        self.apply(&Op::Log(Fault::None));
        self.apply(&Op::Pass(1_000));
        self.apply(&Op::Exchange);
        self.apply(&Op::Log(Fault::None));
        self.check();
    }

    pub(crate) fn pay_patiently(&mut self, environment: usize, units: u64) -> bool {
        (0..10).any(|_| {
            let paid = self.pay(environment, units);
            self.step();
            paid
        })
    }

    /// The promise.
    pub(crate) fn check(&self) {
        let counted = self.ledger.spent() + self.ledger.held();
        assert!(counted <= self.ledger.limit, "the ledger itself");
        let in_flight: u64 = self.draws.iter().map(|(_, units)| units).sum();
        let worked = u128::from(self.requests) * 700 * 18 + u128::from(self.cpu + in_flight) * 2_500;
        let exact = |pico: i64| u128::try_from(pico).unwrap() * 18;
        let counted = exact(counted * 1_000);
        assert!(
            worked <= counted,
            "worked {worked}, counted {counted} (18ths of a pico)"
        );
        if !self.log_lost {
            let logged = exact(self.logged());
            assert!(worked <= logged, "worked {worked}, logged {logged} (18ths of a pico)");
        }
    }

    /// Closed in the ledger, or drawn by the log: what would be counted if the process died now.
    fn logged(&self) -> i64 {
        let mut marks = BTreeMap::new();
        for record in &self.log {
            match record {
                Record::Lease(lease) => drop(marks.insert((lease.incarnation, lease.lease), lease.drawn.0)),
                Record::Start { .. } | Record::Book { .. } | Record::Forgot { .. } => {}
            }
        }
        let leases = self.ledger.leases.iter();
        let counted = leases.map(|(key, lease)| match lease.closed {
            true => lease.settled * 1_000,
            false => marks.get(key).copied().unwrap_or(0),
        });
        counted.sum()
    }

    /// Everything ends well: what is told is what was done, to the unit, unless something crashed.
    pub(crate) fn end(&mut self) {
        (self.ledger.recall, self.ledger.turn_over) = (false, false);
        self.apply(&Op::Arrive);
        for (draw, units) in self.draws.drain(..) {
            self.cpu += units;
            drop(draw);
        }
        for _ in 0..4 {
            self.step();
        }
        self.purse.as_mut().unwrap().finish();
        for _ in 0..4 {
            self.step();
        }
        assert!(self.purse.as_ref().unwrap().is_settled(), "all leases are closed");
        assert_eq!(self.ledger.held(), 0, "nothing is left in a lease");
        let mut told = BTreeMap::<Sku, u64>::new();
        for (line, units) in self.ledger.leases.values().flat_map(|lease| &lease.usage) {
            *told.entry(line.sku.clone()).or_default() += units;
        }
        let told = |sku: &Sku| told.get(sku).copied().unwrap_or(0);
        if self.crashed {
            assert!(told(&Sku::REQUESTS) <= self.requests && told(&Sku::CPU) <= self.cpu);
        } else {
            assert_eq!((told(&Sku::REQUESTS), told(&Sku::CPU)), (self.requests, self.cpu));
        }
    }
}
