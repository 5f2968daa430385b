//! Money in: payments, promises, corrections, invoices, reserves, and what stops first.

use std::collections::BTreeMap;

use weir_ledger::book::{AccountStanding, Change, Command, Fund, Refusal, Scope};
use weir_ledger::protocol::DenialReason;
use weir_ledger::{Nano, Sku};

use crate::meter::Meter;
use crate::world::{DAY, SECOND, UNIT, World, account, environment, line, month, project};

const REQUESTS: Sku = Sku::REQUESTS;

fn billed() -> World {
    let mut world = World::new(month(50 * UNIT));
    world.done(Command::SetBilling {
        account: account(),
        on: true,
    });
    world
}

fn deposit(id: &str, fund: Fund, amount: i64) -> Command {
    Command::Deposit {
        id: id.to_owned(),
        account: account(),
        fund,
        amount: Nano(amount),
        reference: "bank".to_owned(),
    }
}

fn promise(id: &str, amount: i64, due_ms: i64) -> Command {
    Command::Promise {
        id: id.to_owned(),
        account: account(),
        amount: Nano(amount),
        due_ms,
    }
}

fn correct(id: &str, amount: i64, corrects: &str) -> Command {
    Command::Correct {
        id: id.to_owned(),
        account: account(),
        amount: Nano(amount),
        corrects: corrects.to_owned(),
        reason: "mistake".to_owned(),
    }
}

fn money(world: &World) -> AccountStanding {
    world.ledger.account(account()).unwrap()
}

/// Spends so many requests and closes the lease.
fn use_up(world: &mut World, meter: &mut Meter, requests: u64) {
    assert!(meter.spend(world, environment(10), &line("shop", REQUESTS), requests));
    meter.leave(environment(10));
    meter.talk(world, None);
}

#[test]
fn trial_is_spent_before_promised_before_cash() {
    let mut world = billed();
    let mut meter = Meter::new("node:a");
    assert!(!meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 1));
    assert_eq!(meter.denied, Some(DenialReason::Balance));
    world.done(deposit("cash", Fund::Cash, 1_000_000));
    world.done(deposit("trial", Fund::Trial, 1_000_000));
    let due = world.now_ms + DAY;
    world.done(promise("soon", 1_000_000, due));
    assert_eq!(world.project().stopped, None);
    for (requests, trial, promised, cash) in [
        (6_000, 400_000, 1_000_000, 1_000_000),
        (6_000, 0, 800_000, 1_000_000),
        (10_000, 0, 0, 800_000),
    ] {
        use_up(&mut world, &mut meter, requests);
        let free = money(&world).free;
        assert_eq!((free.trial.0, free.promised.0, free.cash.0), (trial, promised, cash));
    }
    assert_eq!(money(&world).usage[&REQUESTS], Nano(2_200_000));
    world.audit();
}

#[test]
fn a_balance_is_spent_to_the_end_and_a_top_up_resumes_at_once() {
    let mut world = billed();
    world.done(deposit("a", Fund::Cash, 100_000));
    let mut meter = Meter::new("node:a");
    let mut done = 0;
    while meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 1) {
        done += 1;
    }
    assert_eq!(done, 999);
    assert_eq!(meter.denied, Some(DenialReason::Balance));
    assert_eq!(world.project().stopped, Some(DenialReason::Balance));
    world.done(deposit("b", Fund::Cash, 1_000));
    assert_eq!(world.project().stopped, None);
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 10));
    world.audit();
}

#[test]
fn the_same_id_is_done_once_and_with_another_body_refused() {
    let mut world = billed();
    for _ in 0..3 {
        world.done(deposit("webhook-1", Fund::Cash, 5_000));
    }
    assert_eq!(money(&world).free.cash, Nano(5_000));
    let taken = Refusal::IdTaken("webhook-1".to_owned());
    assert_eq!(world.refused(deposit("webhook-1", Fund::Cash, 5_001)), taken);
    let due = world.now_ms + DAY;
    assert_eq!(world.refused(promise("webhook-1", 5_000, due)), taken);
    world.restart_control();
    world.done(deposit("webhook-1", Fund::Cash, 5_000));
    assert_eq!(world.refused(deposit("webhook-1", Fund::Trial, 5_000)), taken);
    assert_eq!(money(&world).free.cash, Nano(5_000));
    world.audit();
}

#[test]
fn one_promise_at_a_time_within_its_limits() {
    let mut world = billed();
    let now = world.now_ms;
    assert!(matches!(
        world.refused(promise("a", 51 * UNIT, now + DAY)),
        Refusal::Invalid(_)
    ));
    assert!(matches!(world.refused(promise("a", 0, now + DAY)), Refusal::Invalid(_)));
    assert!(matches!(world.refused(promise("a", UNIT, now)), Refusal::Invalid(_)));
    assert!(matches!(
        world.refused(promise("a", UNIT, now + 32 * DAY)),
        Refusal::Invalid(_)
    ));
    world.done(promise("a", UNIT, now + DAY));
    assert_eq!(world.refused(promise("b", UNIT, now + DAY)), Refusal::PromiseOpen);
    world.audit();
}

#[test]
fn a_promise_raises_the_balance_and_never_a_cap() {
    let mut world = billed();
    world.done(Command::SetCap {
        scope: Scope::Project(project(1)),
        cap: Some(month(10_000)),
    });
    let due = world.now_ms + DAY;
    world.done(promise("a", UNIT, due));
    let mut meter = Meter::new("node:a");
    while meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 1) {}
    assert_eq!(meter.denied, Some(DenialReason::ProjectCap));
    world.audit();
}

#[test]
fn a_kept_promise_becomes_cash() {
    let mut world = billed();
    let due = world.now_ms + DAY;
    world.done(promise("a", 1_000_000, due));
    let mut meter = Meter::new("node:a");
    use_up(&mut world, &mut meter, 2_000);
    // Half of it first, then the rest and more.
    world.done(deposit("half", Fund::Cash, 500_000));
    let half = money(&world);
    assert_eq!(half.promise.unwrap().outstanding, Nano(500_000));
    assert_eq!((half.free.promised.0, half.free.cash.0), (500_000, 300_000));
    world.done(deposit("rest", Fund::Cash, 700_000));
    let whole = money(&world);
    assert_eq!(whole.promise, None);
    assert_eq!((whole.free.promised.0, whole.free.cash.0), (0, 1_000_000));
    world.pass(2 * DAY);
    assert_eq!(money(&world).debt, Nano::ZERO);
    world.audit();
}

#[test]
fn a_promise_that_is_not_kept_is_taken_back_and_stops_everything_until_paid() {
    let mut world = billed();
    let due = world.now_ms + DAY;
    world.done(promise("a", 1_000_000, due));
    let mut meter = Meter::new("node:a");
    use_up(&mut world, &mut meter, 2_000);
    // Something is held while it falls due.
    meter.talk(&mut world, Some((environment(10), 100_000)));
    let held = money(&world).held.total().0;
    world.pass(2 * DAY);
    let broken = money(&world);
    assert_eq!((broken.free.total().0, broken.promise), (0, None));
    assert_eq!(broken.debt, Nano(200_000 + held));
    meter.talk(&mut world, Some((environment(10), 100_000)));
    assert_eq!(meter.denied, Some(DenialReason::Balance));
    let another = promise("b", UNIT, world.now_ms + DAY);
    assert!(matches!(world.refused(another), Refusal::Invalid(_)));
    // What was held and not spent comes back and repays.
    meter.leave(environment(10));
    meter.talk(&mut world, None);
    assert_eq!(money(&world).debt, Nano(200_000));
    world.done(deposit("paid", Fund::Cash, 250_000));
    let paid = money(&world);
    assert_eq!((paid.debt.0, paid.free.cash.0), (0, 50_000));
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 400));
    world.audit();
}

#[test]
fn corrections_name_what_they_correct_and_may_make_debt() {
    let mut world = billed();
    world.done(deposit("a", Fund::Cash, 1_000_000));
    let unknown = Refusal::Unknown("b".to_owned());
    assert_eq!(world.refused(correct("x", -1, "b")), unknown);
    world.done(correct("x", -400_000, "a"));
    world.done(correct("x", -400_000, "a"));
    assert_eq!(money(&world).free.cash, Nano(600_000));
    let mut meter = Meter::new("node:a");
    use_up(&mut world, &mut meter, 5_000);
    // The bank takes the payment back after most of it was spent.
    world.done(correct("back", -300_000, "a"));
    assert_eq!((money(&world).free.cash.0, money(&world).debt.0), (0, 200_000));
    meter.talk(&mut world, Some((environment(10), 1)));
    assert_eq!(meter.denied, Some(DenialReason::Balance));
    world.done(correct("kind", 250_000, "x"));
    assert_eq!((money(&world).free.cash.0, money(&world).debt.0), (50_000, 0));
    world.audit();
}

#[test]
fn invoices_take_what_is_used_and_nothing_twice() {
    let mut world = billed();
    world.done(deposit("a", Fund::Cash, 1_000_000));
    let mut meter = Meter::new("node:a");
    use_up(&mut world, &mut meter, 5_000);
    let invoice = |id: &str, amount: i64, tax: i64| Command::Invoice {
        id: id.to_owned(),
        account: account(),
        usage: vec![(REQUESTS, Nano(amount))],
        tax: Nano(tax),
        rounding: Nano(-17),
    };
    assert!(matches!(world.refused(invoice("i", 500_001, 0)), Refusal::Invalid(_)));
    assert!(matches!(
        world.refused(invoice("i", 500_000, 500_001)),
        Refusal::Invalid(_)
    ));
    world.done(invoice("i", 500_000, 80_000));
    world.done(invoice("i", 500_000, 80_000));
    assert!(matches!(world.refused(invoice("j", 1, 0)), Refusal::Invalid(_)));
    // Money back for an invoice is a new movement, out of the revenue.
    world.done(correct("credit-note", 100_000, "i"));
    assert_eq!(money(&world).free.cash, Nano(600_000));
    world.audit();
}

#[test]
fn a_reserve_is_held_under_the_cap_over_periods() {
    let mut world = World::new(month(100_000));
    let reserve = |total: i64| Command::Reserve {
        environment: environment(10),
        total: Nano(total),
    };
    world.done(reserve(60_000));
    assert_eq!(
        world.refused(reserve(100_001)),
        Refusal::NoRoom(DenialReason::ProjectCap)
    );
    let mut meter = Meter::new("node:a");
    assert!(!meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 400));
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 390));
    assert_eq!(world.project().reserved, Nano(60_000));
    world.pass(40 * DAY);
    let standing = world.project();
    assert_eq!((standing.held, standing.reserved), (Nano(60_000), Nano(60_000)));
    world.done(reserve(0));
    assert_eq!(world.project().held, Nano::ZERO);
    world.audit();
}

#[test]
fn a_reserve_is_paid_from_the_balance_and_comes_back() {
    let mut world = billed();
    let reserve = |total: i64| Command::Reserve {
        environment: environment(10),
        total: Nano(total),
    };
    assert_eq!(world.refused(reserve(1)), Refusal::NoRoom(DenialReason::Balance));
    world.done(deposit("a", Fund::Cash, 5_000));
    world.done(reserve(4_000));
    assert_eq!(
        (money(&world).free.cash.0, money(&world).reserved.cash.0),
        (1_000, 4_000)
    );
    world.done(reserve(1_500));
    assert_eq!(
        (money(&world).free.cash.0, money(&world).reserved.cash.0),
        (3_500, 1_500)
    );
    world.audit();
}

#[test]
fn projects_stop_in_the_order_that_the_owner_declared() {
    let mut world = billed();
    world.done(deposit("a", Fund::Cash, 10_000_000));
    // The first project stops before the second, which is named.
    world.done(Command::SetStopOrder {
        account: account(),
        projects: vec![project(2)],
    });
    let (mut first, mut second) = (Meter::new("node:a"), Meter::new("node:b"));
    let mut stopped = Vec::new();
    for _ in 0..4_500 {
        for (meter, number) in [(&mut first, 10), (&mut second, 20)] {
            let fine = meter.spend(&mut world, environment(number), &line("shop", REQUESTS), 20);
            let is_refused = !fine && meter.denied == Some(DenialReason::Balance);
            if is_refused && !stopped.contains(&number) {
                stopped.push(number);
            }
            meter.give_back();
            meter.talk(&mut world, None);
        }
        world.pass(SECOND);
    }
    assert_eq!(stopped, [10, 20]);
    let order = world.changes(|change| match change {
        Change::Stopped { scope, .. } => Some(*scope),
        _ => None,
    });
    assert_eq!(order[0], Scope::Project(project(1)));
    world.audit();
}

#[test]
fn the_tail_pays_for_storage_also_after_the_cap_was_lowered_below_it() {
    let mut world = World::new(month(100_000));
    let environment = environment(10);
    world.done(Command::Reserve {
        environment,
        total: Nano(60_000),
    });
    world.done(Command::SetCap {
        scope: Scope::Project(project(1)),
        cap: Some(month(1_000)),
    });
    let mut meter = Meter::new("node:a");
    // Without being said to be for the tail, nothing is granted.
    assert!(!meter.spend(&mut world, environment, &line("shop", REQUESTS), 5));
    meter.tails = BTreeMap::from([(environment, Nano(501))]);
    assert!(
        !meter.spend(&mut world, environment, &line("shop", REQUESTS), 6),
        "more than is allowed"
    );
    assert!(meter.spend(&mut world, environment, &line("shop", REQUESTS), 5));
    let standing = world.project();
    assert_eq!(standing.reserved, Nano(60_000 - 501));
    assert_eq!(
        standing.settled.0 + standing.held.0,
        60_000,
        "what is committed has not grown"
    );
    world.audit();
}
