//! A meter that keeps to the protocol, much simpler than the real one: it logs every draw.

use std::collections::BTreeMap;

use weir_ledger::protocol::{
    Answer, Closing, DenialReason, Exchange, LeaseKey, LeaseReport, LineKey, Standing, Usage, Want,
};
use weir_ledger::{Nano, Pico, PriceBook};
use weir_model::EnvironmentId;

use crate::world::World;

#[derive(Debug, Clone, Default)]
pub(crate) struct Held {
    pub(crate) granted: Nano,
    pub(crate) returned: Nano,
    pub(crate) drawn: Pico,
    pub(crate) usage: BTreeMap<LineKey, u64>,
    version: u32,
    leaving: bool,
    closed: bool,
}

impl Held {
    fn usage(&self) -> Usage {
        self.usage.iter().map(|(line, units)| (line.clone(), *units)).collect()
    }

    /// What can still be drawn, in pico-units.
    fn left(&self) -> i64 {
        (self.granted.0 - self.returned.0) * 1000 - self.drawn.0
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Meter {
    pub(crate) name: String,
    pub(crate) incarnation: u64,
    pub(crate) boot: u64,
    pub(crate) leases: BTreeMap<LeaseKey, Held>,
    closings: Vec<Closing>,
    numbers: BTreeMap<EnvironmentId, u32>,
    books: BTreeMap<u32, PriceBook>,
    pub(crate) rate_per_s: Nano,
    pub(crate) superseded: bool,
    pub(crate) denied: Option<DenialReason>,
    pub(crate) recalled: bool,
    /// What it may have of tails.
    pub(crate) tails: BTreeMap<EnvironmentId, Nano>,
}

impl Meter {
    pub(crate) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            incarnation: 1,
            boot: 1,
            leases: BTreeMap::new(),
            closings: Vec::new(),
            numbers: BTreeMap::new(),
            books: BTreeMap::new(),
            rate_per_s: Nano::ZERO,
            superseded: false,
            denied: None,
            recalled: false,
            tails: BTreeMap::new(),
        }
    }

    /// The lease that an environment draws from; opened when there is none.
    pub(crate) fn lease(&mut self, environment: EnvironmentId) -> LeaseKey {
        let mut current = self
            .leases
            .iter()
            .filter(|(key, held)| key.environment == environment && !held.leaving && !held.closed);
        if let Some((key, _)) = current.next_back() {
            return *key;
        }
        let number = self.numbers.entry(environment).or_default();
        *number += 1;
        let key = LeaseKey {
            environment,
            number: *number,
        };
        self.leases.insert(key, Held::default());
        key
    }

    /// What a use costs this lease: rounded up, and a nano more for the first use of a line.
    fn cost(&self, key: LeaseKey, line: &LineKey, units: u64) -> i64 {
        let held = &self.leases[&key];
        let Some(book) = self.books.get(&held.version) else {
            return i64::MAX;
        };
        let first = if held.usage.contains_key(line) { 0 } else { 1000 };
        book.price(&line.sku).cost_up(units).unwrap().0 + first
    }

    /// Spends from what is there; false if there is not enough.
    pub(crate) fn draw(&mut self, environment: EnvironmentId, line: &LineKey, units: u64) -> bool {
        let key = self.lease(environment);
        let cost = self.cost(key, line, units);
        let held = self.leases.get_mut(&key).unwrap();
        if self.superseded || held.left() < cost {
            return false;
        }
        held.drawn.0 += cost;
        *held.usage.entry(line.clone()).or_default() += units;
        true
    }

    /// What a question says now.
    pub(crate) fn question(&mut self, want: Option<(EnvironmentId, i64)>) -> Exchange {
        let want = want.map(|(environment, needed)| (self.lease(environment), needed));
        let leases = self.leases.iter().map(|(key, held)| LeaseReport {
            lease: *key,
            granted: held.granted,
            returned: held.returned,
            usage: held.usage(),
            want: want.filter(|(wanted, _)| wanted == key).map(|(_, needed)| Want {
                needed: Nano(needed),
                rate_per_s: self.rate_per_s,
            }),
            closed: held.leaving,
        });
        Exchange {
            meter: self.name.clone(),
            incarnation: self.incarnation,
            boot: self.boot,
            closings: self.closings.clone(),
            leases: leases.collect(),
        }
    }

    /// Takes in an answer; one to another incarnation is dropped.
    pub(crate) fn hear(&mut self, answer: &Answer) {
        if answer.incarnation != self.incarnation {
            return;
        }
        if let Standing::Superseded { .. } = answer.standing {
            self.superseded = true;
            return;
        }
        self.closings.clear();
        self.books.extend(answer.prices.clone());
        self.denied = None;
        self.recalled = false;
        for told in &answer.leases {
            let Some(held) = self.leases.get_mut(&told.lease) else {
                continue;
            };
            if told.closed {
                self.leases.remove(&told.lease);
                continue;
            }
            held.granted = held.granted.max(told.granted);
            held.version = told.price_version;
            held.leaving |= told.turn_over && held.granted > Nano::ZERO;
            self.recalled |= told.recall;
            self.denied = told.denied.as_ref().map(|denial| denial.reason).or(self.denied);
        }
    }

    /// Gives back what is not drawn, of all leases.
    pub(crate) fn give_back(&mut self) {
        for held in self.leases.values_mut() {
            let idle = held.left().div_euclid(1000).max(0);
            held.returned.0 += idle;
        }
    }

    /// Closes the lease of an environment with the next question.
    pub(crate) fn leave(&mut self, environment: EnvironmentId) {
        let key = self.lease(environment);
        self.leases.get_mut(&key).unwrap().leaving = true;
    }

    /// One question and its answer.
    pub(crate) fn talk(&mut self, world: &mut World, want: Option<(EnvironmentId, i64)>) -> Answer {
        let question = self.question(want);
        let answer = world.exchange_on_tail(question, &self.tails);
        self.hear(&answer);
        answer
    }

    /// Spends, asking for money where it is needed; false if there is none.
    pub(crate) fn spend(&mut self, world: &mut World, environment: EnvironmentId, line: &LineKey, units: u64) -> bool {
        for _ in 0..4 {
            if self.draw(environment, line, units) {
                return true;
            }
            let key = self.lease(environment);
            let cost = match self.cost(key, line, units) {
                i64::MAX => PriceBook::built_in().price(&line.sku).cost_up(units).unwrap().0 + 1000,
                cost => cost,
            };
            let needed = (cost - self.leases[&key].left() + 999).div_euclid(1000);
            self.talk(world, Some((environment, needed)));
        }
        self.draw(environment, line, units)
    }

    /// Dies and starts anew. With the log, what is drawn is known; without it, nothing is, not
    /// even how often it has started: the ledger tells.
    pub(crate) fn crash(&mut self, log_is_lost: bool) {
        let incarnation = self.incarnation;
        let leases = std::mem::take(&mut self.leases);
        if !log_is_lost {
            self.closings.extend(leases.into_iter().map(|(lease, held)| Closing {
                incarnation,
                lease,
                drawn: held.drawn,
                returned: held.returned,
                usage: held.usage(),
            }));
        }
        self.numbers.clear();
        self.boot += 1;
        self.incarnation += 1;
    }
}
