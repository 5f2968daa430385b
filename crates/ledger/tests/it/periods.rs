//! Periods, prices that change, clocks that jump.

use weir_ledger::book::{Cap, Change, Command, Refusal, Scope, Settings};
use weir_ledger::price::Price;
use weir_ledger::{Nano, Period, PriceBook, Sku};

use crate::meter::Meter;
use crate::world::{DAY, FEBRUARY, HOUR, SECOND, World, environment, line, month, project};

const REQUESTS: Sku = Sku::REQUESTS;

#[test]
fn a_lease_counts_in_the_month_in_which_it_was_granted() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    world.now_ms = FEBRUARY + 28 * DAY - SECOND;
    meter.rate_per_s = Nano(5_000);
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 100));
    let answer = meter.talk(&mut world, None);
    assert_eq!(answer.leases[0].until_ms, FEBRUARY + 28 * DAY);
    let held = world.project().held;
    world.pass(2 * SECOND);
    // A new month: nothing is spent or held in it, whatever the old lease goes on to draw.
    let standing = world.project();
    assert_eq!((standing.settled, standing.held), (Nano::ZERO, Nano::ZERO));
    assert_eq!(standing.from_ms, FEBRUARY + 28 * DAY);
    assert!(held > Nano::ZERO);
    assert!(meter.draw(environment(10), &line("shop", REQUESTS), 1));
    let answer = meter.talk(&mut world, Some((environment(10), 5_000)));
    assert!(answer.leases[0].turn_over, "no more for the old one");
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 50));
    meter.talk(&mut world, None);
    assert_eq!(world.project().settled, Nano(5_000));
    world.shown_is_the_sum_of_lines(Scope::Project(project(1)));
    world.audit();
}

#[test]
fn each_month_has_the_whole_cap() {
    let mut world = World::new(month(10_000));
    let mut meter = Meter::new("node:a");
    for months in 0..3 {
        let mut done = 0;
        while meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 1) {
            done += 1;
        }
        assert_eq!(done, 99, "month {months}");
        world.pass(31 * DAY);
        meter.talk(&mut world, None);
    }
    world.audit();
}

#[test]
fn a_day_on_which_clocks_change_has_one_cap() {
    let daily = Cap {
        period: Period::Day,
        ..month(10_000)
    };
    let mut world = World::with(month(1_000_000), daily);
    world.done(Command::Configure(Settings {
        time_zone: "Europe/Berlin".to_owned(),
        ..Settings::default()
    }));
    // Sunday 29 March 2026 begins at 23:00 UTC on Saturday and has 23 hours.
    world.now_ms = FEBRUARY + 56 * DAY - HOUR;
    world.pass(0);
    let mut meter = Meter::new("node:a");
    let standing = world.project();
    assert_eq!(standing.from_ms, FEBRUARY + 56 * DAY - HOUR);
    assert_eq!(standing.until_ms, Some(FEBRUARY + 57 * DAY - 2 * HOUR));
    let mut in_a_day = 0;
    for _ in 0..23 {
        while meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 1) {
            in_a_day += 1;
        }
        world.now_ms += HOUR;
    }
    assert_eq!(in_a_day, 99);
    assert!(
        meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 1),
        "the next day"
    );
    world.audit();
}

#[test]
fn a_change_of_the_time_zone_brings_no_period_of_hours() {
    for (first, zone) in [
        ("UTC", "Asia/Tokyo"),
        ("America/New_York", "UTC"),
        ("Asia/Tokyo", "America/New_York"),
    ] {
        let mut world = World::new(month(10_000));
        let configure = |world: &mut World, time_zone: &str| {
            world.done(Command::Configure(Settings {
                time_zone: time_zone.to_owned(),
                ..Settings::default()
            }));
        };
        configure(&mut world, first);
        world.now_ms = FEBRUARY + 35 * DAY;
        world.pass(0);
        let march = world.project();
        configure(&mut world, zone);
        let end = march.until_ms.unwrap();
        for hour in -2..20 {
            world.now_ms = end + hour * HOUR;
            world.pass(0);
            let standing = world.project();
            let length = standing.until_ms.unwrap() - standing.from_ms;
            assert!(
                length > 27 * DAY,
                "{first} to {zone}: {length} ms, {hour} h behind the end"
            );
        }
        assert_eq!(world.project().from_ms, end, "no instant is left out or twice");
    }
}

#[test]
fn a_clock_that_jumps_begins_no_period_twice() {
    let mut world = World::new(month(10_000));
    let mut meter = Meter::new("node:a");
    let spend_all = |world: &mut World, meter: &mut Meter| {
        let mut done = 0;
        while meter.spend(world, environment(10), &line("shop", REQUESTS), 1) {
            done += 1;
        }
        done
    };
    assert_eq!(spend_all(&mut world, &mut meter), 99);
    // A year ahead, back to where it was, and before.
    for (jump, expected) in [
        (365 * DAY, 99),
        (-365 * DAY, 0),
        (-100 * DAY, 0),
        (100 * DAY + SECOND, 0),
    ] {
        world.pass(jump);
        meter.talk(&mut world, None);
        assert_eq!(spend_all(&mut world, &mut meter), expected, "{jump}");
    }
    let rolls = world.changes(|change| match change {
        Change::Rolled { scope, span } => Some((*scope, span.from_ms)),
        _ => None,
    });
    let of_project: Vec<_> = rolls
        .iter()
        .filter(|(scope, _)| *scope == Scope::Project(project(1)))
        .collect();
    assert_eq!(of_project.len(), 1);
    world.audit();
}

#[test]
fn an_environment_has_the_period_of_its_project() {
    let mut world = World::new(month(100_000));
    world.done(Command::SetCap {
        scope: Scope::Project(project(1)),
        cap: Some(Cap {
            period: Period::Day,
            ..month(100_000)
        }),
    });
    let env = world.standing(Scope::Environment(environment(10)));
    assert_eq!(env.until_ms, world.project().until_ms);
    assert_eq!(env.until_ms, Some(FEBRUARY + DAY));
    world.pass(DAY);
    let env = world.standing(Scope::Environment(environment(10)));
    assert_eq!(env.until_ms, Some(FEBRUARY + 2 * DAY));
    // The account's month goes on; its lines are those of both days.
    let mut meter = Meter::new("node:a");
    for _ in 0..3 {
        assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 10));
        meter.leave(environment(10));
        meter.talk(&mut world, None);
        world.pass(DAY);
    }
    let account = Scope::Account(crate::world::account());
    assert_eq!(world.standing(account).settled, Nano(3_000));
    world.shown_is_the_sum_of_lines(account);
    world.audit();
}

#[test]
fn a_lease_keeps_its_prices_for_life() {
    let mut world = World::new(month(1_000_000));
    let mut meter = Meter::new("node:a");
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 100));
    let mut dearer = PriceBook::built_in();
    dearer.version = 2;
    dearer.valid_from_ms = world.now_ms + HOUR;
    dearer.prices.insert(REQUESTS, Price { pico: 200_000, per: 1 });
    world.done(Command::Publish { book: dearer.clone() });
    world.done(Command::Publish { book: dearer.clone() });
    assert!(!meter.talk(&mut world, None).leases[0].turn_over, "not valid yet");
    world.pass(HOUR);
    let answer = meter.talk(&mut world, None);
    assert!(answer.leases[0].turn_over);
    assert_eq!(answer.leases[0].price_version, 1);
    let wrong = Command::Publish {
        book: PriceBook { version: 4, ..dearer },
    };
    assert!(matches!(world.refused(wrong), Refusal::Invalid(_)));
    assert!(meter.spend(&mut world, environment(10), &line("shop", REQUESTS), 100));
    meter.talk(&mut world, None);
    let lines = world.ledger.lines(Scope::Project(project(1)));
    let by_version: Vec<_> = lines.iter().map(|line| (line.price_version, line.amount)).collect();
    assert_eq!(by_version, [(1, Nano(10_000)), (2, Nano(20_000))]);
    world.audit();
}

#[test]
fn an_unknown_time_zone_is_refused() {
    let mut world = World::new(month(1));
    let refusal = world.refused(Command::Configure(Settings {
        time_zone: "Mars/Olympus".to_owned(),
        ..Settings::default()
    }));
    assert!(refusal.to_string().contains("Mars/Olympus"));
}
