//! Any sequence of commands, from meters that keep to the protocol over a network that does not.

use std::collections::BTreeMap;

use proptest::prelude::*;
use weir_ledger::book::{Cap, Command, Fund, Reply, Scope};
use weir_ledger::protocol::{Answer, Exchange, LineKey};
use weir_ledger::{Nano, Period, PriceBook, Sku};

use crate::meter::Meter;
use crate::world::{UNIT, World, account, environment, line, month, project};

#[derive(Debug, Clone)]
enum Step {
    /// A meter works: so many units of a kind of use, in an environment.
    Work(usize, usize, usize, u64),
    /// A meter speaks; the question may be lost, the answer may be lost, or kept for later.
    Talk(usize, Fate),
    /// An old message comes once more.
    Again(usize),
    GiveBack(usize),
    Leave(usize, usize),
    Crash(usize, bool),
    RestartControl,
    Pass(i64),
    Cap(usize, i64, Period, bool),
    Fence(usize),
    Reserve(usize, i64),
    Billing(bool),
    Deposit(u8, i64, bool),
    Promise(u8, i64, i64),
    Correct(u8, u8, i64),
    NewPrices(i64),
    Reopen(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Fine,
    QuestionLost,
    AnswerLost,
    AnswerLate,
}

fn step() -> impl Strategy<Value = Step> {
    let fate = prop_oneof![
        4 => Just(Fate::Fine),
        1 => Just(Fate::QuestionLost),
        1 => Just(Fate::AnswerLost),
        1 => Just(Fate::AnswerLate),
    ];
    let period = prop_oneof![
        Just(Period::Day),
        Just(Period::Week),
        Just(Period::Month),
        Just(Period::Total)
    ];
    let units = prop_oneof![1..200_u64, 1..2_000_000_u64];
    prop_oneof![
        30 => (0..3_usize, 0..3_usize, 0..3_usize, units).prop_map(|(m, e, l, u)| Step::Work(m, e, l, u)),
        20 => (0..3_usize, fate).prop_map(|(m, fate)| Step::Talk(m, fate)),
        4 => any::<usize>().prop_map(Step::Again),
        4 => (0..3_usize).prop_map(Step::GiveBack),
        3 => (0..3_usize, 0..3_usize).prop_map(|(m, e)| Step::Leave(m, e)),
        3 => (0..3_usize, prop::bool::weighted(0.2)).prop_map(|(m, lost)| Step::Crash(m, lost)),
        2 => Just(Step::RestartControl),
        8 => prop_oneof![5 => 0..5_000_i64, 3 => 0..100_000_000_i64, 1 => -100_000_000..0_i64].prop_map(Step::Pass),
        4 => (0..4_usize, 0..2_000_000_i64, period, any::<bool>()).prop_map(|(s, l, p, pace)| Step::Cap(s, l, p, pace)),
        1 => (0..3_usize).prop_map(Step::Fence),
        2 => (0..3_usize, 0..200_000_i64).prop_map(|(e, total)| Step::Reserve(e, total)),
        1 => any::<bool>().prop_map(Step::Billing),
        3 => (0..8_u8, 1..500_000_i64, any::<bool>()).prop_map(|(id, amount, trial)| Step::Deposit(id, amount, trial)),
        2 => (0..8_u8, 1..500_000_i64, 1..200_000_000_i64).prop_map(|(id, amount, due)| Step::Promise(id, amount, due)),
        1 => (0..8_u8, 0..8_u8, -300_000..300_000_i64).prop_map(|(id, of, amount)| Step::Correct(id, of, amount)),
        1 => (1..400_000_i64).prop_map(Step::NewPrices),
        1 => (0..3_usize).prop_map(Step::Reopen),
    ]
}

const ENVIRONMENTS: [u128; 3] = [10, 11, 20];

fn lines() -> [LineKey; 3] {
    [
        line("shop", Sku::REQUESTS),
        line("shop", Sku::CPU),
        line("blog", Sku::EGRESS),
    ]
}

struct Play {
    world: World,
    meters: Vec<Meter>,
    /// Everything that was ever said, to be said again.
    said: Vec<Exchange>,
    late: Vec<(usize, Answer)>,
    fenced: Vec<usize>,
    /// Work that was really done, in raw units, counted apart from all meters.
    work: BTreeMap<(u128, LineKey), u128>,
}

impl Play {
    fn new(cap: Cap) -> Self {
        Self {
            world: World::with(month(3_000_000), cap),
            meters: (0..3).map(|number| Meter::new(&format!("node:{number}"))).collect(),
            said: Vec::new(),
            late: Vec::new(),
            fenced: Vec::new(),
            work: BTreeMap::new(),
        }
    }

    fn talk(&mut self, who: usize, want: Option<(u128, i64)>, fate: Fate) {
        let meter = &mut self.meters[who];
        let question = meter.question(want.map(|(number, needed)| (environment(number), needed)));
        self.said.push(question.clone());
        if fate == Fate::QuestionLost {
            return;
        }
        let answer = self.world.exchange(question);
        match fate {
            Fate::Fine => meter.hear(&answer),
            Fate::AnswerLate => self.late.push((who, answer)),
            Fate::AnswerLost | Fate::QuestionLost => {}
        }
    }

    fn work(&mut self, who: usize, place: usize, which: usize, units: u64) {
        let key = lines()[which].clone();
        let number = ENVIRONMENTS[place];
        if !self.meters[who].draw(environment(number), &key, units) {
            let price = PriceBook::built_in().price(&key.sku);
            let needed = price.cost_up(units).unwrap().to_nano_up().0 * 2 + 1;
            self.meters[who].rate_per_s = Nano(needed);
            self.talk(who, Some((number, needed)), Fate::Fine);
            if !self.meters[who].draw(environment(number), &key, units) {
                return;
            }
        }
        *self.work.entry((number, key)).or_default() += u128::from(units);
    }

    fn step(&mut self, step: &Step) {
        match step.clone() {
            Step::Work(who, place, which, units) => self.work(who, place, which, units),
            Step::Talk(who, fate) => self.talk(who, None, fate),
            Step::Again(which) => {
                if let Some(question) = self.said.get(which % self.said.len().max(1)) {
                    self.world.exchange(question.clone());
                }
                if let Some((who, answer)) = self.late.pop() {
                    self.meters[who].hear(&answer);
                }
            }
            Step::GiveBack(who) => self.meters[who].give_back(),
            Step::Leave(who, place) => self.meters[who].leave(environment(ENVIRONMENTS[place])),
            Step::Crash(who, log_is_lost) => {
                if !self.fenced.contains(&who) {
                    self.meters[who].crash(log_is_lost);
                    self.late.retain(|(whose, _)| *whose != who);
                }
            }
            Step::RestartControl => self.world.restart_control(),
            Step::Pass(time) => self.world.pass(time),
            Step::Cap(which, limit, period, pace) => {
                let scope = match which {
                    0 => Scope::Account(account()),
                    1 => Scope::Project(project(1)),
                    2 => Scope::Project(project(2)),
                    _ => Scope::Environment(environment(10)),
                };
                let limit = Nano(limit);
                let cap = Some(Cap { limit, period, pace });
                self.world.done(Command::SetCap { scope, cap });
            }
            Step::Fence(who) => {
                // Whoever is fenced is off: it works no more.
                self.fenced.push(who);
                self.meters[who].superseded = true;
                let meter = self.meters[who].name.clone();
                let incarnation = self.meters[who].incarnation;
                self.world.done(Command::Fence { meter, incarnation });
            }
            Step::Reserve(place, total) => self.any(&Command::Reserve {
                environment: environment(ENVIRONMENTS[place]),
                total: Nano(total),
            }),
            Step::Billing(on) => self.any(&Command::SetBilling { account: account(), on }),
            Step::Deposit(id, amount, trial) => self.any(&Command::Deposit {
                id: id.to_string(),
                account: account(),
                fund: if trial { Fund::Trial } else { Fund::Cash },
                amount: Nano(amount),
                reference: String::new(),
            }),
            Step::Promise(id, amount, due) => {
                let due_ms = self.world.now_ms + due;
                self.any(&Command::Promise {
                    id: id.to_string(),
                    account: account(),
                    amount: Nano(amount),
                    due_ms,
                });
            }
            Step::Correct(id, of, amount) => self.any(&Command::Correct {
                id: format!("c{id}"),
                account: account(),
                amount: Nano(amount),
                corrects: of.to_string(),
                reason: String::new(),
            }),
            Step::NewPrices(pico) => {
                let version = self.world.ledger.price_books().len();
                let mut book = PriceBook::built_in();
                book.version = u32::try_from(version).unwrap() + 1;
                book.prices.insert(Sku::REQUESTS, weir_ledger::Price { pico, per: 3 });
                self.any(&Command::Publish { book });
            }
            Step::Reopen(place) => self.any(&Command::Open {
                scope: Scope::Environment(environment(ENVIRONMENTS[place])),
                parent: Some(Scope::Project(project(ENVIRONMENTS[place] / 10))),
                cap: None,
            }),
        }
    }

    /// Done or refused, and the same once more: then nothing may happen.
    fn any(&mut self, command: &Command) {
        let reply = self.world.command(command);
        let rows = self.world.rows.len();
        let again = self.world.command(command);
        assert_eq!(self.world.rows.len(), rows, "{command:?} was done twice");
        if reply == Reply::Done {
            assert_eq!(again, Reply::Done);
        }
    }

    /// Works until there is no money, so that whatever was forgotten shows.
    fn fill(&mut self, limit: i64) {
        let most = u64::try_from(limit / 100).unwrap();
        for part in [3, 10, 100, 10_000] {
            for turn in 0..24 {
                self.work(turn % 3, turn % 2 * 2, 0, (most / part).max(1));
                self.meters[(turn + 1) % 3].give_back();
                self.talk((turn + 1) % 3, None, Fate::Fine);
            }
        }
    }

    /// The checks that hold at any time.
    fn check(&self) {
        for standing in self.world.ledger.standings(self.world.now_ms) {
            assert!(
                standing.settled >= Nano::ZERO && standing.held >= Nano::ZERO,
                "{standing:?}"
            );
            assert!(standing.settled.0 + standing.held.0 <= standing.limit.0, "{standing:?}");
        }
        for number in [1, 2] {
            self.world.shown_is_the_sum_of_lines(Scope::Project(project(number)));
        }
    }

    fn end(mut self) {
        for who in 0..self.meters.len() {
            if !self.fenced.contains(&who) {
                self.talk(who, None, Fate::Fine);
            }
        }
        self.check();
        self.world.audit();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_prefix_keeps_the_caps_and_replays_to_the_same_state(
        limit in prop_oneof![0..2_000_i64, 0..2_000_000_i64],
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let mut play = Play::new(month(limit));
        for step in &steps {
            play.step(step);
            play.check();
        }
        play.end();
    }

    #[test]
    fn work_that_was_done_never_costs_more_than_the_cap(
        limit in prop_oneof![1..5_000_i64, 1..3_000_000_i64, Just(UNIT)],
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let total = Cap { limit: Nano(limit), period: Period::Total, pace: false };
        let mut play = Play::new(total);
        let steps = steps.iter().filter(|step| !matches!(step, Step::Cap(..) | Step::NewPrices(..)));
        for step in steps {
            play.step(step);
        }
        play.fill(limit);
        for number in [1, 2] {
            let spent: i64 = play
                .work
                .iter()
                .filter(|((environment, _), _)| environment / 10 == number)
                .map(|((_, key), units)| PriceBook::built_in().price(&key.sku).line(*units).unwrap().0)
                .sum();
            prop_assert!(spent <= limit, "project {} did work for {} of {}", number, spent, limit);
        }
        play.end();
    }
}
