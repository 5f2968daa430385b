//! The pots of a wallet under loom: every order in which a few threads may meet on them, weak
//! memory included. The file itself is compiled here once more, with loom's atomic numbers.
#![allow(clippy::unwrap_used, reason = "a test")]

use loom::sync::Arc;
use loom::thread;

mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicI64, Ordering};
}

#[path = "../src/wallet/pots.rs"]
#[allow(
    dead_code,
    unreachable_pub,
    reason = "not all of it is needed here, and nothing is public"
)]
mod pots;

use atomic::{AtomicI64, Ordering};
use pots::{Pots, Take, Urgency};

/// Tries all orders with at most so many switches of a thread that could have gone on.
fn explore(preemptions: usize, body: impl Fn() + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(body);
}

/// Draws so much, works, puts a part back; says what was spent.
fn draw(pots: &Pots, shard: usize, urgency: Urgency, amount: i64, back: i64) -> i64 {
    if pots.take(shard, urgency, amount) == Take::Short {
        return 0;
    }
    pots.spend(shard, amount - back);
    pots.put_back(shard, back);
    amount - back
}

#[test]
fn what_was_poured_is_spent_or_still_there_whoever_meets_whom() {
    explore(2, || {
        let pots = Arc::new(Pots::new(2));
        pots.pour(4, 0);
        let drawing: Vec<_> = (0..2)
            .map(|shard| {
                let pots = Arc::clone(&pots);
                thread::spawn(move || draw(&pots, shard, Urgency::Request, 3, 1))
            })
            .collect();
        // The refilling side takes out what it finds and pours a part of it again.
        let mut poured = 4;
        let swept = pots.sweep(0);
        poured -= swept;
        if swept > 1 {
            pots.pour(1, 0);
            poured += 1;
        }
        let spent: i64 = drawing.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(pots.spent(), spent);
        assert_eq!(poured, spent + pots.available(Urgency::Instance));
        assert_eq!(pots.sweep(0), poured - spent);
    });
}

#[test]
fn never_more_is_drawn_than_was_poured() {
    explore(3, || {
        let pots = Arc::new(Pots::new(2));
        pots.pour(2, 0);
        let other = {
            let pots = Arc::clone(&pots);
            thread::spawn(move || draw(&pots, 1, Urgency::Request, 2, 0) + draw(&pots, 1, Urgency::Request, 1, 0))
        };
        let own = draw(&pots, 0, Urgency::Request, 1, 0) + draw(&pots, 0, Urgency::Request, 1, 0);
        let spent = own + other.join().unwrap();
        assert!(spent <= 2, "{spent}");
        assert_eq!(spent + pots.available(Urgency::Instance), 2);
    });
}

#[test]
fn a_lease_that_was_found_quiet_stays_quiet_and_all_its_use_is_seen() {
    explore(3, || {
        let pots = Arc::new(Pots::new(1));
        let units = Arc::new(AtomicI64::new(0));
        pots.pour(2, 0);
        let late = {
            let (pots, units) = (Arc::clone(&pots), Arc::clone(&units));
            thread::spawn(move || {
                // In this order the counters of a line are settled.
                for _ in 0..2 {
                    if pots.take(0, Urgency::Request, 1) != Take::Short {
                        units.fetch_add(1, Ordering::Relaxed);
                        pots.spend(0, 1);
                    }
                }
            })
        };
        // The lease is left: what lies there is taken out, until nothing is in flight.
        let poured = 2 - pots.sweep(0);
        let seen = (pots.spent() == poured).then(|| units.load(Ordering::Relaxed));
        late.join().unwrap();
        let units = units.load(Ordering::Relaxed);
        if let Some(seen) = seen {
            assert_eq!((seen, pots.spent()), (units, poured));
        }
        assert_eq!(pots.spent() + pots.sweep(0), poured);
    });
}

#[test]
fn a_request_never_gets_what_is_reserved_for_instances() {
    explore(3, || {
        let pots = Arc::new(Pots::new(2));
        pots.pour(3, 2);
        let instance = {
            let pots = Arc::clone(&pots);
            thread::spawn(move || draw(&pots, 1, Urgency::Instance, 2, 0))
        };
        let request = draw(&pots, 0, Urgency::Request, 2, 0);
        let instance = instance.join().unwrap();
        assert_eq!(request, 0);
        assert_eq!(instance + pots.available(Urgency::Instance), 3);
        assert_eq!(instance, 2);
    });
}

#[test]
fn levelling_the_reserve_while_others_draw_loses_nothing() {
    explore(3, || {
        let pots = Arc::new(Pots::new(1));
        pots.pour(3, 1);
        let other = {
            let pots = Arc::clone(&pots);
            thread::spawn(move || draw(&pots, 0, Urgency::Instance, 2, 1))
        };
        pots.level(2);
        pots.level(0);
        let spent = other.join().unwrap();
        assert_eq!(spent + pots.available(Urgency::Instance), 3);
    });
}
