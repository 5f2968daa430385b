//! The real wallets and the real purse against a ledger of forty lines, with crashes, torn logs,
//! lost, repeated and late messages at every step. An oracle counts the work by itself.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test")]

mod wallet_world;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use wallet_world::{Fault, Op, World};

fn op() -> impl Strategy<Value = Op> {
    let environment = 0..2_usize;
    prop_oneof![
        8 => (environment.clone(), 1..40_u64, any::<bool>()).prop_map(|(environment, units, instance)| Op::Pay { environment, units, instance }),
        4 => (environment.clone(), 1..200_u64).prop_map(|(environment, units)| Op::Draw { environment, units }),
        4 => (0..4_usize, 0..220_u64).prop_map(|(index, used)| Op::Finish { index, used }),
        12 => Just(Op::Step),
        8 => Just(Op::Log(Fault::None)),
        1 => Just(Op::Log(Fault::CrashBefore)),
        1 => Just(Op::Log(Fault::CrashAfter)),
        1 => (0..6_usize).prop_map(|kept| Op::Log(Fault::Torn { kept })),
        1 => any::<bool>().prop_map(|written| Op::Log(Fault::DiskFull { written })),
        8 => Just(Op::Exchange),
        1 => Just(Op::QuestionLost),
        1 => Just(Op::AnswerLost),
        1 => Just(Op::Late),
        1 => Just(Op::Arrive),
        2 => (1..7_000_i64).prop_map(Op::Pass),
        1 => (environment.clone(), 0..3_000_000_i64).prop_map(|(environment, pico)| Op::Floor { environment, pico }),
        1 => Just(Op::Recall),
        1 => Just(Op::TurnOver),
        2 => Just(Op::Crash),
        1 => Just(Op::Idle),
        // Seldom, because after it the log proves nothing.
        1 => (0..10_u8).prop_map(|roll| if roll == 0 { Op::LogLost } else { Op::Step }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn work_never_costs_more_than_was_granted(limit in prop_oneof![1 => 1..3_000_i64, 4 => 3_000..200_000_i64], ops in prop::collection::vec(op(), 1..160)) {
        let mut world = World::new(limit);
        for op in ops {
            world.apply(&op);
            world.check();
        }
        world.end();
    }
}

#[test]
fn all_of_the_limit_can_be_spent_and_no_more() {
    let mut world = World::new(2_000);
    let mut paid = 0;
    for _ in 0..4_000 {
        paid += u64::from(world.pay(0, 1));
        world.apply(&Op::Log(Fault::None));
        world.apply(&Op::Exchange);
        world.apply(&Op::Pass(20));
        world.check();
    }
    // 700 pico each; the first use of the line costs a nano more.
    assert_eq!(paid, (2_000_000 - 1_000) / 700);
}

#[test]
fn what_is_drawn_together_is_asked_for_together() {
    // 28,000 and 25,000 nano: whoever has the one has enough for the other, and never for both.
    let mut world = World::new(60_000);
    let paid = (0..20).any(|_| {
        let paid = world.pay_together(0, 40_000, 180_000);
        world.step();
        paid
    });
    assert!(paid);
    // No money is left for it once more, and what was drawn of it went back.
    assert!((0..20).all(|_| {
        world.step();
        !world.pay_together(0, 40_000, 180_000)
    }));
    world.end();
}

#[test]
fn a_recall_leaves_to_those_who_were_called_what_they_come_for() {
    let mut world = World::new(28_000);
    let mut waiting = pin!(world.wait(0, 10_000));
    let context = &mut Context::from_waker(Waker::noop());
    assert!(waiting.as_mut().poll(context).is_pending());
    for _ in 0..8 {
        world.step();
    }
    // It was called, and its task has not run yet: nobody takes it away, however long it lay idle.
    world.apply(&Op::Recall);
    for _ in 0..8 {
        world.step();
        world.apply(&Op::Pass(1_000));
    }
    assert_eq!(waiting.as_mut().poll(context), Poll::Ready(Ok(())));
    assert!(world.pay(0, 10_000));
    world.end();
}

#[test]
fn who_was_called_and_does_not_come_keeps_nobody_waiting() {
    let mut world = World::new(28_000);
    let (mut late, mut next) = (pin!(world.wait(0, 10_000)), pin!(world.wait(0, 15_000)));
    let context = &mut Context::from_waker(Waker::noop());
    assert!(late.as_mut().poll(context).is_pending());
    for _ in 0..8 {
        world.step();
    }
    assert!(next.as_mut().poll(context).is_pending());
    for _ in 0..4 {
        world.step();
    }
    assert_eq!(next.as_mut().poll(context), Poll::Ready(Ok(())));
    assert!(world.pay(0, 15_000));
    assert_eq!(late.as_mut().poll(context), Poll::Ready(Ok(())));
    assert!(world.pay(0, 10_000));
    world.end();
}

#[test]
fn a_recall_waits_for_nobody_whose_time_is_over_or_who_went_away() {
    for gone in [false, true] {
        let mut world = World::new(28_000);
        let mut waiting = Box::pin(world.wait(0, 10_000));
        let context = &mut Context::from_waker(Waker::noop());
        assert!(waiting.as_mut().poll(context).is_pending());
        for _ in 0..8 {
            world.step();
        }
        let kept = (!gone).then_some(waiting);
        world.apply(&Op::Recall);
        for _ in 0..if gone { 3 } else { 40 } {
            world.step();
            world.apply(&Op::Pass(1_000));
        }
        assert!(!world.pay(0, 10_000));
        drop(kept);
        world.end();
    }
}

#[test]
fn after_a_crash_with_the_ledger_away_the_old_lease_is_drawn_on() {
    let mut world = World::new(1_000_000);
    assert!(world.pay_patiently(0, 10));
    world.apply(&Op::Crash);
    // The ledger does not answer; what the log holds is drawn on, from the mark.
    let mut paid = 0;
    for _ in 0..20 {
        paid += u64::from(world.pay(0, 10));
        world.apply(&Op::Log(Fault::None));
        world.apply(&Op::QuestionLost);
        world.apply(&Op::Pass(500));
        world.check();
    }
    assert!(paid >= 19, "{paid}");
    // It comes back: the old lease is closed at its mark, and a new one is drawn.
    for _ in 0..4 {
        world.step();
    }
    assert_eq!(world.open_leases(), 0);
    assert!(world.pay_patiently(0, 10));
    assert_eq!(world.open_leases(), 1);
    world.end();
}

#[test]
fn what_the_ledger_may_have_been_told_as_closed_is_never_drawn_again() {
    let mut world = World::new(3_000);
    assert!(world.pay_patiently(0, 10));
    world.apply(&Op::Crash);
    // It knocks, logs the new incarnation, tells the marks; the answer is lost, and it dies again.
    world.step();
    world.apply(&Op::Pass(1_000));
    world.apply(&Op::AnswerLost);
    assert_eq!(world.open_leases(), 0);
    world.apply(&Op::Crash);
    for _ in 0..20 {
        assert!(!world.pay(0, 1));
        world.apply(&Op::Log(Fault::None));
        world.apply(&Op::QuestionLost);
        world.apply(&Op::Pass(500));
        world.check();
    }
    assert!(world.pay_patiently(0, 10));
    world.end();
}

#[test]
fn with_a_full_disk_only_what_was_logged_is_drawn() {
    let mut world = World::new(1_000_000);
    assert!(world.pay_patiently(0, 10));
    let paid = (0..200).filter(|_| {
        let paid = world.pay(0, 10);
        world.apply(&Op::Log(Fault::DiskFull { written: false }));
        world.check();
        paid
    });
    assert!(paid.count() < 100);
    assert!(world.pay_patiently(0, 10));
    world.end();
}

#[test]
fn superseded_it_stops_at_once_and_comes_back_later_as_another() {
    let mut world = World::new(1_000_000);
    assert!(world.pay_patiently(0, 10));
    world.supersede();
    world.step();
    assert!((0..3).all(|_| {
        let refused = !world.pay(0, 10);
        world.step();
        refused
    }));
    assert!(world.pay_patiently(0, 10));
    world.end();
}
