//! Years of certificates in random worlds: names whose DNS is wrong, becomes right and breaks
//! again, authorities that are away, refuse and count, and crashes of control. Whatever happens,
//! the authority's limits hold, names that are right get certificates, and none ends unrenewed.

use std::collections::BTreeMap;

use weir_model::{CertificateId, UnixMillis};

use super::decide::{Held, Limits, Order, Proof, Subject, Wanted, certificate_of};
use super::memory::Memory;
use super::names;

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// When something is so, as stretches in order.
#[derive(Debug, Clone, Default)]
struct Stretches(Vec<(UnixMillis, UnixMillis)>);

impl Stretches {
    fn holds(&self, at: UnixMillis) -> bool {
        self.0.iter().any(|(from, to)| (*from..*to).contains(&at))
    }
}

#[derive(Debug)]
struct Name {
    wanted: Wanted,
    /// DNS leads elsewhere.
    astray: Stretches,
    /// The authority sees something wrong that we do not see.
    disliked: Stretches,
}

impl Name {
    /// Since when it is right; now, if it is not.
    fn is_right_since(&self, now: UnixMillis) -> UnixMillis {
        let wrong = self.astray.0.iter().chain(&self.disliked.0);
        let begun = wrong.filter(|(from, _)| *from < now);
        begun.map(|(_, to)| (*to).min(now)).max().unwrap_or(0)
    }
}

/// Counts by itself, and answers as Let's Encrypt would.
#[derive(Debug, Default)]
struct Authority {
    away: Stretches,
    life_ms: i64,
    orders: Vec<UnixMillis>,
    certificates: BTreeMap<String, Vec<UnixMillis>>,
    failures: BTreeMap<String, Vec<UnixMillis>>,
    /// What it has said not to want to hear of.
    told: BTreeMap<Subject, UnixMillis>,
}

fn count(past: &mut Vec<UnixMillis>, now: UnixMillis, stretch_ms: i64, most: usize, what: &str) {
    past.retain(|at| *at > now - stretch_ms);
    past.push(now);
    assert!(past.len() <= most, "{} {what} within {stretch_ms} ms", past.len());
}

impl Authority {
    fn order(&mut self, order: &Order, now: UnixMillis) {
        count(&mut self.orders, now, 3 * HOUR_MS, 300, "orders");
        let subjects = [Subject::Account, Subject::Domain(order.registered.clone())];
        let names = order.names.iter().map(|name| Subject::Name(name.clone()));
        for subject in subjects.into_iter().chain(names) {
            let until = self.told.get(&subject).copied().unwrap_or(0);
            assert!(
                until <= now,
                "{subject:?} was asked for although it is barred until {until}, at {now}"
            );
        }
    }

    /// The longest time in one go that it was there between two instants.
    fn longest_there(&self, from: UnixMillis, to: UnixMillis) -> i64 {
        let (mut longest, mut since) = (0, from);
        for (away, back) in self.away.0.iter().filter(|(away, back)| *back > from && *away < to) {
            longest = longest.max(away - since);
            since = *back;
        }
        longest.max(to - since)
    }

    fn fail(&mut self, name: &str, now: UnixMillis) {
        let past = self.failures.entry(name.to_owned()).or_default();
        count(past, now, HOUR_MS, 5, "failures");
    }

    fn issue(&mut self, registered: &str, now: UnixMillis) {
        let past = self.certificates.entry(registered.to_owned()).or_default();
        count(past, now, 7 * DAY_MS, 50, "certificates");
    }
}

#[derive(Debug)]
struct Running {
    order: Order,
    /// What is left of it after the looks.
    placed: Vec<String>,
    ends: UnixMillis,
}

struct Simulation {
    random: fastrand::Rng,
    now: UnixMillis,
    names: Vec<Name>,
    authority: Authority,
    memory: Memory,
    running: Vec<Running>,
    issued: u128,
    /// Whether limits leave room enough that nobody waits for long.
    checks_missing: bool,
}

impl Simulation {
    fn new(seed: u64, days: i64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let life_days = [90, 47, 10][random.usize(..3)];
        let mut memory = Memory::new(Limits::USUAL);
        memory.limits.at_once = random.usize(1..9);
        let domains = random.usize(1..6);
        let names = (0..random.usize(1..12))
            .map(|number| Name {
                wanted: wanted(&format!("h{number}.d{}.org", random.usize(..domains))),
                astray: stretches(&mut random, days / 3, 8 * DAY_MS),
                disliked: stretches(&mut random, days / 3, 10 * DAY_MS),
            })
            .collect();
        // It is up for a day at least in each last quarter of a life, however they lie.
        let longest = (life_days * DAY_MS / 4 - 26 * HOUR_MS * 2).max(HOUR_MS);
        let mut away = Vec::new();
        let mut at = random.i64(0..10 * DAY_MS);
        while at < days * DAY_MS {
            let end = at + random.i64(1..longest);
            away.push((at, end));
            at = end + random.i64(27 * HOUR_MS..20 * DAY_MS);
        }
        let authority = Authority {
            away: Stretches(away),
            life_ms: life_days * DAY_MS,
            ..Authority::default()
        };
        Self {
            random,
            now: 1,
            names,
            authority,
            memory,
            running: Vec::new(),
            issued: 0,
            checks_missing: true,
        }
    }

    fn run(&mut self, days: i64) {
        let wanted: Vec<Wanted> = self.names.iter().map(|name| name.wanted.clone()).collect();
        while self.now < days * DAY_MS {
            let under_way: Vec<Order> = self.running.iter().map(|running| running.order.clone()).collect();
            let plan = self.memory.plan(&wanted, &under_way, self.now);
            for order in plan.orders {
                self.begin(order);
            }
            let ends = self.running.iter().map(|running| running.ends).min();
            let next = [plan.next_ms, ends].into_iter().flatten().min();
            let next = next.expect("there is always something to wait for");
            assert!(next > self.now || ends.is_some_and(|ends| ends <= self.now), "it spins");
            self.now = next.max(self.now);
            self.end_what_ends();
            self.memory.prune(self.now);
            if self.random.u32(..2_000) == 0 {
                // Control dies; what was under way is forgotten.
                self.running.clear();
            }
            if self.checks_missing {
                self.look_for_missing();
            }
        }
    }

    fn begin(&mut self, order: Order) {
        let mut placed = Vec::new();
        for name in &order.names {
            if self.name(name).astray.holds(self.now) {
                let random = self.random.u64(..);
                self.memory.led_elsewhere(name, self.now, random);
            } else {
                placed.push(name.clone());
            }
        }
        let ends = self.now + self.random.i64(1_000..3 * MINUTE_MS);
        if !placed.is_empty() && !self.authority.away.holds(self.now) {
            let left = Order {
                names: placed.clone(),
                ..order.clone()
            };
            self.memory.ordered(self.now);
            self.authority.order(&left, self.now);
        }
        self.running.push(Running { order, placed, ends });
    }

    fn end_what_ends(&mut self) {
        let (ended, running) = std::mem::take(&mut self.running)
            .into_iter()
            .partition(|running| running.ends <= self.now);
        self.running = running;
        let ended: Vec<Running> = ended;
        for running in ended {
            self.end(&running);
        }
    }

    fn end(&mut self, running: &Running) {
        if running.placed.is_empty() {
            return;
        }
        let random = self.random.u64(..);
        if self.authority.away.holds(self.now) {
            self.memory.unreachable(self.now, random);
            return;
        }
        if self.random.u32(..40) == 0 {
            let until = self.now + self.random.i64(MINUTE_MS..3 * HOUR_MS);
            let subject = match self.random.u32(..3) {
                0 => Subject::Account,
                1 => Subject::Domain(running.order.registered.clone()),
                _ => Subject::Name(running.placed[0].clone()),
            };
            self.memory.limited(subject.clone(), until);
            let told = self.authority.told.entry(subject).or_default();
            *told = until.max(*told);
            return;
        }
        let disliked: Vec<String> = running
            .placed
            .iter()
            .filter(|name| self.name(name).disliked.holds(self.now))
            .cloned()
            .collect();
        for name in &disliked {
            self.authority.fail(name, self.now);
            let random = self.random.u64(..);
            self.memory.refused(name, self.now, random);
        }
        if disliked.is_empty() {
            self.issue(running);
        }
    }

    fn issue(&mut self, running: &Running) {
        self.authority.issue(&running.order.registered, self.now);
        self.issued += 1;
        let life_ms = self.authority.life_ms;
        let asked = self
            .random
            .bool()
            .then(|| self.now + self.random.i64(life_ms / 4..life_ms));
        let held = Held {
            id: CertificateId::from_parts(self.now, self.issued),
            names: running.placed.clone(),
            not_before_ms: self.now,
            not_after_ms: self.now + life_ms,
            renew_ms: asked,
            uploaded: false,
        };
        self.memory.issued(held, &running.order.registered, self.now);
    }

    fn name(&self, name: &str) -> &Name {
        let found = self.names.iter().find(|other| other.wanted.name == name);
        found.expect("only names that were added are ordered")
    }

    /// A name that is right, while the authority was there for a day and a half in one go, has a
    /// certificate: a pause is a day at most, and what the authority bars ends within hours.
    fn look_for_missing(&self) {
        for name in &self.names {
            let held = certificate_of(&self.memory.held, &name.wanted.name);
            if held.is_some_and(|held| held.not_after_ms > self.now) {
                continue;
            }
            let there = self.authority.longest_there(name.is_right_since(self.now), self.now);
            assert!(
                there < 36 * HOUR_MS,
                "{} has none at {} after {there} ms; tried: {:?}",
                name.wanted.name,
                self.now,
                self.memory.tried.get(&name.wanted.name)
            );
        }
    }
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        name: name.to_owned(),
        registered: names::registered(name),
        proof: Proof::Node,
    }
}

fn stretches(random: &mut fastrand::Rng, days: i64, longest: i64) -> Stretches {
    let mut all = Vec::new();
    for _ in 0..random.usize(..3) {
        let from = random.i64(0..(days * DAY_MS).max(1));
        all.push((from, from + random.i64(1..longest)));
    }
    Stretches(all)
}

#[test]
fn limits_hold_and_names_that_are_right_get_certificates_that_never_end() {
    let seeds = std::env::var("WEIR_SIMULATION_SEEDS");
    let seeds: u64 = seeds.ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(150);
    for seed in 0..seeds {
        let caught = std::panic::catch_unwind(|| {
            let mut simulation = Simulation::new(seed, 120);
            simulation.run(120);
            simulation.issued
        });
        assert!(caught.is_ok_and(|issued| issued > 0), "seed {seed}");
    }
}

/// A world in which only the limits stand in the way. Names lead here from given hours on.
fn peaceful(names: impl Iterator<Item = (String, i64)>) -> Simulation {
    let mut simulation = Simulation::new(1, 1);
    simulation.authority.away = Stretches::default();
    simulation.authority.life_ms = 90 * DAY_MS;
    simulation.memory.limits.at_once = 8;
    simulation.names = names
        .map(|(name, hours)| Name {
            wanted: wanted(&name),
            astray: Stretches(vec![(0, hours * HOUR_MS)]),
            disliked: Stretches::default(),
        })
        .collect();
    simulation
}

#[test]
fn hundreds_of_domains_get_certificates_as_fast_as_the_limit_of_orders_allows() {
    let mut simulation = peaceful((0..450).map(|number| (format!("shop{number}.org"), 0)));
    simulation.checks_missing = false;
    simulation.run(2);
    // Now and then the authority bars something for hours.
    assert!(simulation.memory.held.len() >= 445, "{}", simulation.memory.held.len());
}

#[test]
fn names_of_one_domain_that_come_one_by_one_wait_for_its_week() {
    let mut simulation = peaceful((0..120).map(|number| (format!("h{number}.shop.org"), number)));
    simulation.checks_missing = false;
    simulation.run(25);
    simulation.look_for_missing();
    assert!(
        simulation.issued < 120,
        "those that waited share: {}",
        simulation.issued
    );
}
