use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use proptest::prelude::*;
use weir_guard::{
    Ask, Caller, ContentHash, Gate, GuardRule, GuardRules, GuardTrip, LineageKey, Passage, Seat, Sentry, Start, Target,
    Verdict,
};
use weir_model::guard::GuardRules as Rules;
use weir_model::route::{Backend, HostRoutes, Route, RouteSnapshot, RouteState};
use weir_model::{EnvironmentId, InstanceId};

const SECOND: u64 = 1_000_000;

fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

fn address(instance: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 1, 0, instance))
}

fn id(instance: u8) -> InstanceId {
    InstanceId::from_parts(1, u128::from(instance))
}

/// `a.web` on instances 1 and 2, `b.web` on 3.
fn snapshot(rules: &Rules) -> RouteSnapshot {
    let mut snapshot = RouteSnapshot::default();
    for (app, instances) in [("a", vec![1, 2]), ("b", vec![3])] {
        let backend = |instance: &u8| Backend {
            instance: id(*instance),
            address: (address(*instance), 80).into(),
        };
        let route = Route {
            path_prefix: "/".to_owned(),
            target: format!("{app}.web"),
            state: RouteState::Serve,
            pool: instances.iter().map(backend).collect(),
            concurrency: 20,
            first_byte_timeout_ms: 1000,
            guard: rules.clone(),
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
        snapshot.hosts.insert(format!("{app}.localhost"), host);
    }
    snapshot
}

struct Bench {
    sentry: Sentry,
    a: Arc<Target>,
    seats: Vec<Arc<Seat>>,
}

impl Bench {
    fn new(rules: &Rules) -> Self {
        let sentry = Sentry::new(Start {
            shards: 2,
            unix_ms_at_zero: 0,
            key: LineageKey::new([1; 32]),
        });
        sentry.update(&snapshot(rules));
        Self {
            a: sentry.target(environment(), "a.web"),
            seats: (1..=3).map(|instance| sentry.seat(id(instance))).collect(),
            sentry,
        }
    }

    fn ask(&self, now_us: u64, from: Option<u8>, ask: &Ask<'_>) -> Result<Passage, Arc<GuardTrip>> {
        let caller = from.map_or(Caller::Visitor, |instance| Caller::Address(address(instance)));
        match self.sentry.arrive(0, now_us, caller, &self.a, ask) {
            Verdict::Pass(passage) => Ok(passage),
            Verdict::Refuse(trip) => Err(trip),
        }
    }

    fn bound(&self, now_us: u64, from: Option<u8>, at: u8, ask: &Ask<'_>) -> Result<Passage, Arc<GuardTrip>> {
        let mut passage = self.ask(now_us, from, ask)?;
        passage.bind(&self.seats[usize::from(at) - 1], 0, now_us, ask);
        Ok(passage)
    }
}

const ASK: Ask<'static> = Ask {
    method: "GET",
    host: "a.localhost",
    path: "/",
    lineage: None,
    traceparent: None,
    content: None,
};

fn only(change: impl FnOnce(&mut Rules)) -> Rules {
    let mut rules = Rules {
        depth: 1000,
        descendants: 1_000_000,
        repeats: 0,
        reproduction: false,
        ..GuardRules::default()
    };
    change(&mut rules);
    rules
}

#[test]
fn a_chain_is_cut_at_its_depth_and_the_evidence_shows_it() {
    let bench = Bench::new(&only(|rules| rules.depth = 3));
    let label = |path| Ask { path, ..ASK };
    let mut last = Some(bench.bound(0, None, 1, &label("/from/outside")).unwrap());
    for step in 1..=3 {
        let (from, to) = if step % 2 == 1 { (1, 2) } else { (2, 1) };
        let next = bench.bound(step, Some(from), to, &label("/again")).unwrap();
        // Not awaited: the one before has ended.
        last.replace(next).unwrap().end(step);
    }
    let trip = bench.ask(9, Some(2), &label("/refused")).unwrap_err();
    assert_eq!((trip.rule, trip.limit, trip.measured), (GuardRule::Depth, 3, 4));
    assert_eq!(trip.chain.first().unwrap(), "GET a.localhost/from/outside");
    assert_eq!(trip.chain.len(), 5);
    assert_eq!(trip.chain.last().unwrap(), "GET a.localhost/refused");
    assert_eq!(bench.sentry.trips(), [GuardTrip::clone(&trip)]);
}

#[test]
fn a_root_has_a_budget_and_others_have_theirs() {
    let bench = Bench::new(&only(|rules| rules.descendants = 100));
    let _first = bench.bound(0, None, 1, &ASK).unwrap();
    let _second = bench.bound(0, None, 2, &ASK).unwrap();
    for call in 0..100 {
        bench.bound(call, Some(1), 3, &ASK).unwrap().end(call);
    }
    let trip = bench.ask(200, Some(1), &ASK).unwrap_err();
    assert_eq!((trip.rule, trip.limit), (GuardRule::Descendants, 100));
    // Visitors, and calls of the other root, go on.
    assert!(bench.ask(200, None, &ASK).is_ok());
    assert!(bench.ask(200, Some(2), &ASK).is_ok());
}

#[test]
fn the_budget_of_a_long_websocket_grows_back() {
    let bench = Bench::new(&only(|rules| rules.descendants = 100));
    let _socket = bench.bound(0, None, 1, &ASK).unwrap();
    // One call a minute, for a day.
    for minute in 0..24 * 60 {
        let now_us = minute * 60 * SECOND;
        bench.bound(now_us, Some(1), 3, &ASK).unwrap().end(now_us);
    }
}

#[test]
fn the_same_content_is_refused_and_other_content_is_not() {
    let bench = Bench::new(&only(|rules| rules.repeats = 64));
    let _page = bench.bound(0, None, 1, &ASK).unwrap();
    let content = |number: u64| Ask {
        content: Some(ContentHash::of("POST", "/", None, &number.to_le_bytes())),
        ..ASK
    };
    for number in 0..500 {
        bench.ask(number, Some(1), &content(number)).unwrap().end(number);
    }
    let first = (0..100).find(|_| bench.ask(600, Some(1), &content(7)).is_err());
    assert!(first.is_some_and(|times| (56..=64).contains(&times)), "{first:?}");
    assert!(bench.ask(600, Some(1), &content(1_000)).is_ok());
    assert!(bench.ask(600, Some(1), &ASK).is_ok());
}

#[test]
fn a_guard_that_only_watches_tells_and_refuses_nothing() {
    let bench = Bench::new(&only(|rules| {
        rules.enabled = false;
        rules.descendants = 10;
    }));
    let _page = bench.bound(0, None, 1, &ASK).unwrap();
    for _ in 0..50 {
        assert!(bench.ask(1, Some(1), &ASK).is_ok());
    }
    let trips = bench.sentry.trips();
    assert_eq!(trips.len(), 1);
    assert!(!trips[0].refused);
}

#[test]
fn a_call_after_the_answer_is_charged_to_what_was_served() {
    let bench = Bench::new(&only(|rules| rules.descendants = 50));
    bench.bound(0, None, 1, &ASK).unwrap().end(SECOND);
    let refused = (0..60).find(|_| bench.ask(2 * SECOND, Some(1), &ASK).is_err());
    assert_eq!(refused, Some(50));
    // Much later it is nobody's, and so is what a process does that serves nothing.
    for _ in 0..200 {
        assert!(bench.ask(40 * SECOND, Some(1), &ASK).is_ok());
        assert!(bench.ask(2 * SECOND, Some(3), &ASK).is_ok());
    }
}

#[test]
fn an_instance_that_left_is_a_visitor() {
    let bench = Bench::new(&only(|rules| rules.descendants = 1));
    assert!(bench.sentry.internal(address(1)));
    bench.sentry.update(&RouteSnapshot::default());
    assert!(!bench.sentry.internal(address(1)));
    assert!(bench.ask(0, Some(1), &ASK).is_ok());
}

#[test]
fn a_lineage_cuts_what_left_and_came_back_as_a_visitor() {
    let bench = Bench::new(&only(|rules| rules.depth = 3));
    let mut passage = bench.bound(0, None, 1, &ASK).unwrap();
    for step in 0..3 {
        let header = passage.lineage().unwrap();
        let ask = Ask {
            lineage: Some(&header),
            ..ASK
        };
        passage = bench.bound(step, None, 1, &ask).unwrap();
    }
    let header = passage.lineage().unwrap();
    let ask = Ask {
        lineage: Some(&header),
        ..ASK
    };
    assert_eq!(bench.ask(5, None, &ask).unwrap_err().rule, GuardRule::Depth);
}

#[test]
fn what_multiplies_is_cut_off_tried_again_and_let_go() {
    let bench = Bench::new(&only(|rules| {
        rules.reproduction = true;
        rules.descendants = 1_000;
    }));
    let state = |now_us| bench.sentry.state(environment(), "a.web", now_us).unwrap();
    let mut flights = vec![bench.bound(0, None, 1, &ASK).unwrap()];
    let mut now_us = 0;
    // Generations of 0.3 seconds, each twice as large.
    while state(now_us).gate != Gate::Tripped {
        now_us += 300_000;
        assert!(now_us < 3 * SECOND, "{:?}", state(now_us));
        let calls = flights.len() * 2;
        let next: Vec<Passage> = (0..calls)
            .filter_map(|_| bench.bound(now_us, Some(1), 1, &ASK).ok())
            .collect();
        for flight in std::mem::replace(&mut flights, next) {
            flight.end(now_us + 1);
        }
    }
    assert!(bench.ask(now_us, Some(1), &ASK).is_err());
    assert!(bench.ask(now_us, None, &ASK).is_ok());
    flights.clear();
    assert_eq!(state(now_us + 31 * SECOND).gate, Gate::HalfOpen);
    let passed = (0..300)
        .filter(|_| bench.ask(now_us + 32 * SECOND, Some(1), &ASK).is_ok())
        .count();
    assert_eq!(passed, 3);
    assert_eq!(state(now_us + 45 * SECOND).gate, Gate::Open);
}

/// A step of a random storm.
#[derive(Debug, Clone)]
enum Move {
    Visit { at: u8 },
    Call { from: u8, at: u8, content: u8 },
    End { which: usize },
    Wait { us: u64 },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        (1..=3_u8).prop_map(|at| Move::Visit { at }),
        (1..=3_u8, 1..=3_u8, any::<u8>()).prop_map(|(from, at, content)| Move::Call { from, at, content }),
        any::<usize>().prop_map(|which| Move::End { which }),
        (0..2_000_000_u64).prop_map(|us| Move::Wait { us }),
    ];
    prop::collection::vec(one, 1..300)
}

/// Which of the moves are let through; `help` may add headers to calls.
fn play(moves: &[Move], help: impl Fn(usize, &[Passage]) -> (Option<String>, Option<String>)) -> Vec<bool> {
    // Watching only, so that both runs go the same way and differ in what is found.
    let bench = Bench::new(&Rules {
        enabled: false,
        depth: 4,
        descendants: 6,
        repeats: 3,
        reproduction: false,
        ..Rules::default()
    });
    let mut passages: Vec<Passage> = Vec::new();
    let mut now_us = 0;
    let mut refused = Vec::new();
    for (number, one) in moves.iter().enumerate() {
        match one {
            Move::Visit { at } => passages.push(bench.bound(now_us, None, *at, &ASK).unwrap()),
            Move::Call { from, at, content } => {
                let (lineage, traceparent) = help(number, &passages);
                let ask = Ask {
                    lineage: lineage.as_deref(),
                    traceparent: traceparent.as_deref(),
                    content: Some(ContentHash::of("GET", "/", None, &[*content % 4])),
                    ..ASK
                };
                passages.push(bench.bound(now_us, Some(*from), *at, &ask).unwrap());
            }
            Move::End { which } if !passages.is_empty() => {
                let which = which % passages.len();
                passages.swap_remove(which).end(now_us);
            }
            Move::End { .. } => {}
            Move::Wait { us } => now_us += us,
        }
        refused.push(!bench.sentry.trips().is_empty());
    }
    refused
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_header_however_made_up_or_borrowed_loosens_anything(moves in moves(), text in "[0-9a-f;]{0,80}", pick in any::<u64>()) {
        let without = play(&moves, |_, _| (None, None));
        let forged = play(&moves, |_, _| (Some(text.clone()), Some(format!("00-{pick:032x}-0000000000000001-01"))));
        let borrowed = play(&moves, |number, passages| {
            let any = usize::try_from(pick).unwrap_or(0).wrapping_add(number * 7);
            let lineage = passages.get(any % passages.len().max(1)).and_then(Passage::lineage);
            (lineage, None)
        });
        for (place, plain) in without.iter().enumerate() {
            prop_assert!(!plain || forged[place], "a forged header hides a trip at {place}");
            prop_assert!(!plain || borrowed[place], "a borrowed header hides a trip at {place}");
        }
    }
}

#[test]
fn sixteen_repeats_are_warned_of_once_and_refuse_nothing() {
    let bench = Bench::new(&only(|rules| rules.repeats = 64));
    let _page = bench.bound(0, None, 1, &ASK).unwrap();
    let same = Ask {
        content: Some(ContentHash::of("GET", "/", None, b"")),
        ..ASK
    };
    for call in 1..=40 {
        assert!(bench.ask(call, Some(1), &same).is_ok(), "{call}");
        let told = usize::from(call >= 16);
        assert_eq!(bench.sentry.trips().len(), told, "{call}");
    }
    let trip = &bench.sentry.trips()[0];
    assert_eq!((trip.rule, trip.limit, trip.measured), (GuardRule::Repeats, 16, 16));
    assert!(trip.warning && !trip.refused);
}

#[test]
fn what_comes_close_to_multiplying_is_warned_of_once() {
    let bench = Bench::new(&only(|rules| rules.reproduction = true));
    let mut flights = vec![bench.bound(0, None, 1, &ASK).unwrap()];
    // Chains that go on at nine of ten steps: begun by one request, kept up by what it left behind.
    for step in 1..200_u64 {
        let now_us = step * 100_000;
        let calls = match flights.len() {
            0 | 1 => 20,
            many => many * 9 / 10,
        };
        let next: Vec<Passage> = (0..calls)
            .filter_map(|_| bench.bound(now_us, Some(1), 1, &ASK).ok())
            .collect();
        for flight in std::mem::replace(&mut flights, next) {
            flight.end(now_us + 1);
        }
    }
    let trips = bench.sentry.trips();
    let warnings: Vec<&GuardTrip> = trips.iter().filter(|trip| trip.warning).collect();
    assert_eq!(warnings.len(), 1, "{trips:?}");
    assert_eq!((warnings[0].rule, warnings[0].limit), (GuardRule::Reproduction, 800));
    assert!(warnings[0].measured >= 800 && !warnings[0].refused, "{warnings:?}");
}

#[test]
fn timers_that_began_during_a_request_are_told_from_it() {
    let bench = Bench::new(&only(|rules| rules.depth = 16));
    let visitor = bench.bound(0, None, 1, &ASK).unwrap();
    let mut jobs: Vec<Passage> = (1..=3).map(|_| bench.bound(1, Some(1), 1, &ASK).unwrap()).collect();
    visitor.end(2_000);
    // Three timers, each of which calls as soon as its last call was answered, so that calls of the
    // two others are always in flight.
    for call in 1..200_u64 {
        let now_us = call * 10_000;
        jobs.remove(0).end(now_us);
        jobs.push(bench.bound(now_us + 600, Some(1), 1, &ASK).unwrap());
    }
}
