//! The protocol: lost, repeated and reordered messages, starts of meters, fences.

use weir_ledger::book::{Change, Command, Scope};
use weir_ledger::protocol::{DenialReason, Exchange, LeaseKey, Standing};
use weir_ledger::{Nano, Pico, Sku};
use weir_model::EnvironmentId;

use crate::meter::Meter;
use crate::world::{HOUR, SECOND, World, account, environment, line, month, project};

const REQUESTS: Sku = Sku::REQUESTS;

fn settled_rows(world: &World) -> usize {
    world
        .changes(|change| matches!(change, Change::Settled { .. }).then_some(()))
        .len()
}

#[test]
fn a_lost_answer_is_given_again_and_nothing_more() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    let question = meter.question(Some((environment(10), 500)));
    let lost = world.exchange(question.clone());
    let rows = world.rows.len();
    let again = world.exchange(question);
    assert_eq!(again.leases[0].granted, lost.leases[0].granted);
    assert_eq!(world.rows.len(), rows, "nothing more was granted");
    assert!(again.prices.contains_key(&1), "who knows no grant has no prices yet");
    meter.hear(&again);
    // Now it knows, so that asking again means more.
    let more = meter.talk(&mut world, Some((environment(10), 500)));
    assert!(more.leases[0].granted > again.leases[0].granted);
    assert!(more.prices.is_empty());
    world.audit();
}

#[test]
fn what_is_shown_is_what_was_reported_and_the_journal_hears_once_a_minute() {
    let mut world = World::new(month(10_000_000));
    let mut meter = Meter::new("node:a");
    let scope = Scope::Project(project(1));
    for second in 1..=150 {
        assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 7));
        assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::CPU), 1_001));
        meter.talk(&mut world, None);
        // 25 pico for 18 micro-CPU-seconds, rounded up once.
        let cpu = (1_001 * second * 25_i64 + 17_999) / 18_000;
        assert_eq!(world.project().settled, Nano(700 * second + cpu));
        world.shown_is_the_sum_of_lines(scope);
        world.pass(SECOND);
    }
    assert_eq!(settled_rows(&world), 2);
    let journaled = world.ledger.journaled(scope).unwrap();
    assert!(journaled.0 < world.project().settled);
    // Control restarts: it forgets the last half minute, and is told again.
    let before = world.project();
    world.restart_control();
    assert!(world.project().settled < before.settled);
    meter.talk(&mut world, None);
    assert_eq!(world.project().settled, before.settled);
    assert_eq!(
        world.project().burn_per_hour,
        Nano::ZERO,
        "told again is not spent again"
    );
    world.audit();
}

#[test]
fn reports_merge_by_maximum_in_any_order() {
    let mut world = World::new(month(10_000_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 1_000_000)));
    let mut questions: Vec<Exchange> = Vec::new();
    for _ in 0..5 {
        assert!(meter.draw(environment(10), &line("shop", REQUESTS), 10));
        questions.push(meter.question(None));
    }
    for place in [4, 0, 2, 4, 1, 3, 0] {
        world.exchange(questions[place].clone());
        world.pass(70 * SECOND);
    }
    assert_eq!(world.project().settled, Nano(5_000));
    assert_eq!(settled_rows(&world), 1);
    // Closed is closed: what comes late changes nothing.
    meter.leave(environment(10));
    let closing = meter.question(None);
    assert!(world.exchange(closing.clone()).leases[0].closed);
    let rows = world.rows.len();
    assert!(world.exchange(questions[1].clone()).leases[0].closed);
    assert!(world.exchange(closing).leases[0].closed);
    assert_eq!(world.rows.len(), rows);
    world.audit();
}

#[test]
fn a_late_opening_question_does_not_open_a_closed_lease_again() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    let opening = meter.question(Some((environment(10), 500)));
    let answer = world.exchange(opening.clone());
    meter.hear(&answer);
    meter.leave(environment(10));
    meter.talk(&mut world, None);
    assert!(world.exchange(opening).leases[0].closed);
    assert!(world.ledger.leases().is_empty());
    world.audit();
}

#[test]
fn a_restarted_meter_closes_what_it_held_at_the_mark_in_its_log() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 50_000)));
    assert!(meter.draw(environment(10), &line("shop", REQUESTS), 100));
    // Drawn for work of which the log knows nothing more.
    let key = meter.lease(environment(10));
    meter.leases.get_mut(&key).unwrap().drawn.0 += 2_500_500;
    meter.crash(false);
    meter.talk(&mut world, None);
    // 10,001 of the line and 2,500.5 lost, rounded up; nothing is held any more.
    let standing = world.project();
    assert_eq!((standing.settled, standing.held), (Nano(12_502), Nano::ZERO));
    let lost: Vec<_> = world.ledger.lines(Scope::Project(project(1)));
    let lost = lost.iter().find(|line| line.sku == Sku::LOST).unwrap();
    assert_eq!((lost.amount, lost.units), (Nano(2_502), 2_502));
    let money = world.ledger.account(account()).unwrap();
    assert_eq!(money.loss, Nano(2_502));
    world.audit();
}

#[test]
fn a_meter_that_lost_its_log_is_told_where_to_begin_and_all_counts_as_spent() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 50_000)));
    assert!(meter.draw(environment(10), &line("shop", REQUESTS), 100));
    meter.talk(&mut world, None);
    let held = world.project().held.0 + world.project().settled.0;
    meter.crash(true);
    meter.incarnation = 0;
    let answer = meter.talk(&mut world, None);
    assert_eq!(answer.standing, Standing::Superseded { next: 2 });
    meter.superseded = false;
    meter.incarnation = 2;
    meter.talk(&mut world, None);
    let standing = world.project();
    assert_eq!((standing.settled, standing.held), (Nano(held), Nano::ZERO));
    // Only what was reported is usage.
    let lines = world.ledger.lines(Scope::Project(project(1)));
    let usage = lines.iter().find(|line| line.sku == REQUESTS).unwrap();
    assert_eq!(usage.amount, Nano(10_000));
    world.audit();
}

#[test]
fn older_incarnations_and_twins_must_not_draw() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 500)));
    let mut twin = meter.clone();
    twin.boot = 77;
    twin.talk(&mut world, Some((environment(10), 500)));
    assert!(twin.superseded);
    let mut old = meter.clone();
    meter.crash(false);
    meter.talk(&mut world, Some((environment(10), 500)));
    assert!(!meter.superseded);
    old.talk(&mut world, Some((environment(10), 500)));
    assert!(old.superseded);
    assert!(!old.draw(environment(10), &line("shop", REQUESTS), 1));
    world.audit();
}

#[test]
fn a_fenced_meter_counts_to_the_end_and_the_invoice_shows_what_was_reported() {
    let mut world = World::new(month(100_000));
    world.done(Command::SetBilling {
        account: account(),
        on: true,
    });
    world.done(Command::Deposit {
        id: "a".to_owned(),
        account: account(),
        fund: weir_ledger::book::Fund::Cash,
        amount: Nano(1_000_000),
        reference: String::new(),
    });
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 50_000)));
    assert!(meter.draw(environment(10), &line("shop", REQUESTS), 100));
    meter.talk(&mut world, None);
    let granted = world.ledger.leases()[0].granted;
    let fence = Command::Fence {
        meter: "node:a".to_owned(),
        incarnation: 1,
    };
    world.done(fence.clone());
    let rows = world.rows.len();
    world.done(fence);
    assert_eq!(world.rows.len(), rows);
    assert_eq!(world.project().settled, granted);
    assert_eq!(world.project().held, Nano::ZERO);
    let money = world.ledger.account(account()).unwrap();
    assert_eq!(money.usage[&REQUESTS], Nano(10_000));
    assert_eq!(money.free.cash, Nano(990_000), "only what was reported is paid");
    assert_eq!(money.loss, Nano(granted.0 - 10_000));
    meter.talk(&mut world, None);
    assert!(meter.superseded);
    world.audit();
}

#[test]
fn a_report_of_more_than_was_held_never_breaks_the_cap() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 50_000)));
    let key = meter.lease(environment(10));
    let granted = world.ledger.leases()[0].granted;
    let held = meter.leases.get_mut(&key).unwrap();
    held.usage.insert(line("shop", REQUESTS), 2_000);
    // More than any wallet could draw is not even believed.
    held.usage.insert(line("shop", Sku::CPU), u64::MAX);
    meter.leave(environment(10));
    meter.talk(&mut world, None);
    let standing = world.project();
    assert_eq!((standing.settled, standing.held), (granted, Nano::ZERO));
    assert_eq!(world.ledger.account(account()).unwrap().loss, Nano(200_000 - granted.0));
    let mut auditor = weir_ledger::audit::Auditor::new();
    world.rows.iter().for_each(|row| auditor.entry(&row.entry()));
    let report = auditor.finish();
    assert_eq!(report.findings.len(), 1);
    assert!(
        report.findings[0].contains("used more requests than it held"),
        "{report:?}"
    );
}

#[test]
fn rounding_between_leases_charges_each_line_once() {
    // Many leases on one line, each with a fraction of a nano, in turns.
    let mut world = World::new(month(1_000_000));
    let mut meters: Vec<Meter> = (0..8).map(|number| Meter::new(&format!("node:{number}"))).collect();
    let cpu = line("shop", Sku::CPU);
    for round in 0..40 {
        for meter in &mut meters {
            assert!(meter.spend(&mut world, environment(10), &cpu, 100 + round));
            meter.talk(&mut world, None);
        }
        world.pass(61 * SECOND);
    }
    let units: i64 = (0..40).map(|round| (100 + round) * 8).sum();
    let expected = Nano((units * 25 + 17_999) / 18_000);
    assert_eq!(world.ledger.journaled(Scope::Project(project(1))).unwrap().0, expected);
    for meter in &mut meters {
        meter.leave(environment(10));
        meter.talk(&mut world, None);
    }
    assert_eq!(world.project().settled, expected);
    assert_eq!(world.project().held, Nano::ZERO, "the last one leaves nothing held");
    world.audit();
}

#[test]
fn a_lease_never_pays_for_the_rounding_of_others() {
    // 720 units cost a nano. One meter uses 1 of them, another 719, in turns, and every time it
    // is the first one's unit that begins a new nano.
    let mut world = World::new(month(4_000));
    let (mut small, mut large) = (Meter::new("node:a"), Meter::new("node:b"));
    let cpu = line("shop", Sku::CPU);
    small.talk(&mut world, Some((environment(10), 2)));
    assert_eq!(world.project().held, Nano(2));
    for _ in 0..20 {
        for (meter, units) in [(&mut small, 1), (&mut large, 719)] {
            assert!(meter.spend(&mut world, environment(10), &cpu, units));
            world.now_ms += 61 * SECOND;
            meter.talk(&mut world, None);
        }
    }
    assert_eq!(world.ledger.journaled(Scope::Project(project(1))).unwrap().0, Nano(20));
    assert_eq!(world.ledger.account(account()).unwrap().loss, Nano::ZERO);
    world.audit();
}

#[test]
fn an_unknown_environment_gets_nothing() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((EnvironmentId::from_parts(9, 9), 500)));
    assert_eq!(meter.denied, Some(DenialReason::Gone));
    assert!(world.ledger.leases().is_empty());
}

#[test]
fn burn_is_told_per_hour() {
    let mut world = World::new(month(100_000_000));
    let mut meter = Meter::new("node:a");
    for _ in 0..600 {
        assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 10));
        meter.talk(&mut world, None);
        world.pass(SECOND);
    }
    let burn = world.project().burn_per_hour.0;
    assert!((3_500_000..=3_700_000).contains(&burn), "{burn}");
    assert_eq!(world.standing(Scope::Project(project(2))).burn_per_hour, Nano::ZERO);
    world.pass(HOUR);
    assert_eq!(world.project().burn_per_hour, Nano::ZERO);
}

#[test]
fn odd_messages_from_meters_do_no_harm() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    meter.talk(&mut world, Some((environment(10), 500)));
    let mut question = meter.question(Some((environment(10), -5)));
    question.leases[0].returned = Nano(i64::MAX);
    world.exchange(question);
    assert_eq!(
        world.project().held.0 + world.ledger.leases()[0].returned.0,
        world.ledger.leases()[0].granted.0
    );
    let mut question = meter.question(Some((environment(10), i64::MAX)));
    question.leases[0].granted = Nano(i64::MAX);
    question.leases[0].returned = Nano(i64::MIN);
    world.exchange(question);
    let mut question = meter.question(None);
    question.leases[0].lease = LeaseKey {
        environment: environment(10),
        number: u32::MAX,
    };
    question.leases[0].granted = Nano(5);
    assert!(world.exchange(question).leases[0].closed);
    let mut question = meter.question(None);
    question.incarnation = u64::MAX - 1;
    question.closings.push(weir_ledger::protocol::Closing {
        incarnation: 1,
        lease: LeaseKey {
            environment: environment(10),
            number: 1,
        },
        drawn: Pico(i64::MIN),
        returned: Nano(i64::MIN),
        usage: Vec::new(),
    });
    world.exchange(question);
    assert_eq!(world.project().settled.0 + world.project().held.0, 0);
    world.audit();
}
