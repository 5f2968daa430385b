//! Caps: limits, lowering, thresholds, pace, stopping and going on.

use weir_ledger::book::{Cap, Change, Command, Refusal, Scope};
use weir_ledger::protocol::DenialReason;
use weir_ledger::{Nano, Period, Sku};

use crate::meter::Meter;
use crate::world::{HOUR, SECOND, UNIT, World, account, environment, line, month, project};

fn crossed(world: &World) -> Vec<(Scope, u8)> {
    world.changes(|change| match change {
        Change::Crossed { scope, percent, .. } => Some((*scope, *percent)),
        _ => None,
    })
}

/// Spends requests one by one until there is no money; how many there were.
fn spend_all(world: &mut World, meter: &mut Meter, environment_number: u128) -> i64 {
    let mut done = 0;
    while meter.spend(world, environment(environment_number), &line("shop", Sku::REQUESTS), 1) {
        done += 1;
        assert!(done < 1_000_000, "a cap that never ends");
    }
    done
}

#[test]
fn a_cap_is_spent_to_the_last_request_and_never_over() {
    // A request costs 100 nano; the first use of a line in a lease draws one more.
    for (limit, requests) in [(0, 0), (1, 0), (100, 0), (101, 1), (10_000, 99), (1_000_001, 10_000)] {
        let mut world = World::new(month(limit));
        let mut meter = Meter::new("node:a");
        let done = spend_all(&mut world, &mut meter, 10);
        assert_eq!(done, requests, "cap {limit}");
        meter.leave(environment(10));
        meter.talk(&mut world, None);
        let standing = world.project();
        assert_eq!(standing.settled, Nano(done * 100));
        assert_eq!(standing.held, Nano::ZERO);
        world.audit();
    }
}

#[test]
fn a_large_cap_is_spent_to_the_end_in_few_steps() {
    let mut world = World::with(month(2_000_000 * UNIT), month(1_000_000 * UNIT));
    let mut meter = Meter::new("node:a");
    meter.rate_per_s = Nano(1_000 * UNIT);
    let cpu = line("shop", Sku::CPU);
    // An hour of two million cores, 10,000 units of the currency, a hundred times.
    let hour = 7_200_000_000_000_000;
    for _ in 0..99 {
        assert!(meter.spend(&mut world, environment(10), &cpu, hour));
    }
    assert!(
        !meter.spend(&mut world, environment(10), &cpu, hour),
        "a nano is for the line"
    );
    // A nano is the price of 720 micro-CPU-seconds.
    assert!(meter.spend(&mut world, environment(10), &cpu, hour - 720));
    assert_eq!(world.project().settled.0 + world.project().held.0, 1_000_000 * UNIT);
    assert!(world.rows.len() < 600, "{}", world.rows.len());
    world.audit();
}

#[test]
fn projects_do_not_feel_each_other_but_the_account_bounds_both() {
    let mut world = World::with(month(150_000), month(100_000));
    let (mut first, mut second) = (Meter::new("node:a"), Meter::new("node:b"));
    let own = spend_all(&mut world, &mut first, 10);
    assert_eq!(first.denied, Some(DenialReason::ProjectCap));
    assert_eq!(own, 999);
    let mut other = spend_all(&mut world, &mut second, 20);
    assert_eq!(
        second.denied,
        Some(DenialReason::Recalling),
        "the first one may hold idle money"
    );
    world.pass(4 * SECOND);
    other += spend_all(&mut world, &mut second, 20);
    assert_eq!(second.denied, Some(DenialReason::AccountCap));
    // The first one holds up to a request's worth that it cannot use.
    assert!((498..=500).contains(&other), "{other}");
    let stopped = |number| world.standing(Scope::Environment(environment(number))).stopped;
    assert_eq!(stopped(10), Some(DenialReason::ProjectCap));
    assert_eq!(stopped(20), Some(DenialReason::AccountCap));
    world.audit();
}

#[test]
fn an_environments_own_cap_bounds_it_alone() {
    let mut world = World::new(month(100_000));
    let scope = Scope::Environment(environment(10));
    world.done(Command::SetCap {
        scope,
        cap: Some(month(10_000)),
    });
    let mut meter = Meter::new("node:a");
    assert_eq!(spend_all(&mut world, &mut meter, 10), 99);
    assert_eq!(meter.denied, Some(DenialReason::EnvironmentCap));
    assert!(spend_all(&mut world, &mut meter, 11) > 890);
    world.done(Command::SetCap { scope, cap: None });
    assert_eq!(world.standing(scope).stopped, Some(DenialReason::ProjectCap));
    world.audit();
}

#[test]
fn thresholds_are_told_once_in_order() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    let scope = Scope::Project(project(1));
    for requests in 1..=999 {
        assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 1));
        meter.talk(&mut world, None);
        let told: Vec<u8> = crossed(&world).iter().map(|(_, percent)| *percent).collect();
        let expected: &[u8] = match requests {
            ..=499 => &[],
            500..=799 => &[50],
            _ => &[50, 80],
        };
        assert_eq!(told, expected, "{requests}");
    }
    assert!(!meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 1));
    assert_eq!(crossed(&world), [(scope, 50), (scope, 80), (scope, 100)]);
    // A raise lets them be told again when they are reached again.
    world.done(Command::SetCap {
        scope,
        cap: Some(month(150_000)),
    });
    assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 250));
    meter.talk(&mut world, None);
    assert_eq!(crossed(&world).last(), Some(&(scope, 80)));
    assert_eq!(crossed(&world).len(), 4);
    world.audit();
}

#[test]
fn a_raise_lets_a_stopped_project_go_on_at_once() {
    let mut world = World::new(month(10_000));
    let mut meter = Meter::new("node:a");
    spend_all(&mut world, &mut meter, 10);
    assert_eq!(world.project().stopped, Some(DenialReason::ProjectCap));
    world.done(Command::SetCap {
        scope: Scope::Project(project(1)),
        cap: Some(month(10_500)),
    });
    assert_eq!(world.project().stopped, None);
    assert_eq!(spend_all(&mut world, &mut meter, 10), 5);
    let turns = world.changes(|change| match change {
        Change::Stopped { .. } => Some("stopped"),
        Change::Resumed { .. } => Some("resumed"),
        _ => None,
    });
    assert_eq!(turns, ["stopped", "resumed", "stopped"]);
    world.audit();
}

#[test]
fn a_cap_lowered_in_a_burst_falls_as_money_comes_back() {
    let mut world = World::new(month(UNIT));
    let mut meter = Meter::new("node:a");
    meter.rate_per_s = Nano(UNIT / 100);
    assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 1_000));
    let held = world.project().held;
    assert!(held > Nano(1_000_000));
    world.done(Command::SetCap {
        scope: Scope::Project(project(1)),
        cap: Some(month(500_000)),
    });
    let standing = world.project();
    assert_eq!(standing.limit.0, standing.settled.0 + standing.held.0);
    // The holder is asked to give back; what it spends meanwhile was held before.
    let answer = meter.talk(&mut world, None);
    assert!(answer.leases[0].recall);
    assert!(meter.draw(environment(10), &line("shop", Sku::REQUESTS), 1_000));
    meter.give_back();
    meter.talk(&mut world, None);
    let standing = world.project();
    assert!(standing.limit < held, "{standing:?}");
    assert_eq!(standing.settled, Nano(200_000));
    assert_eq!(standing.limit, Nano(500_000));
    assert!(!meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 3_001));
    assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 2_900));
    world.audit();
}

#[test]
fn the_pace_lets_out_a_tenth_at_once_and_the_rest_over_hours() {
    let paced = Cap {
        pace: true,
        ..month(1_000_000)
    };
    let mut world = World::new(paced);
    let mut meter = Meter::new("node:a");
    let burst = spend_all(&mut world, &mut meter, 10);
    assert!((990..=1000).contains(&burst), "{burst}");
    assert_eq!(meter.denied, Some(DenialReason::Pace));
    assert_eq!(world.project().stopped, Some(DenialReason::Pace));
    // A sixth of the cap in an hour, of which the bucket holds a tenth.
    world.pass(HOUR / 2);
    assert_eq!(world.project().stopped, None);
    let more = spend_all(&mut world, &mut meter, 10);
    assert!((823..=834).contains(&more), "{more}");
    for _ in 0..20 {
        world.pass(HOUR);
        spend_all(&mut world, &mut meter, 10);
    }
    assert_eq!(meter.denied, Some(DenialReason::ProjectCap));
    world.audit();
}

#[test]
fn a_purchase_larger_than_the_bucket_needs_a_full_one() {
    let paced = Cap {
        pace: true,
        ..month(1_000_000)
    };
    let mut world = World::new(paced);
    let mut meter = Meter::new("node:a");
    // 250,000 of a bucket of 100,000.
    assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 2_500));
    assert!(!meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 10));
    world.pass(HOUR / 2);
    assert!(!meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 10));
    world.pass(HOUR);
    assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 10));
    world.audit();
}

#[test]
fn money_that_comes_back_refills_the_bucket() {
    let paced = Cap {
        pace: true,
        ..month(1_000_000)
    };
    let mut world = World::new(paced);
    let mut meter = Meter::new("node:a");
    for _ in 0..1_000 {
        meter.talk(&mut world, Some((environment(10), 90_000)));
        assert_eq!(meter.denied, None);
        meter.give_back();
        meter.talk(&mut world, None);
    }
    world.audit();
}

#[test]
fn idle_money_is_recalled_before_anybody_is_denied() {
    let mut world = World::new(month(100_000));
    let (mut idle, mut busy) = (Meter::new("node:a"), Meter::new("node:b"));
    idle.rate_per_s = Nano(UNIT);
    idle.talk(&mut world, Some((environment(10), 1)));
    let parked = world.project().held;
    assert!(parked >= Nano(40_000));
    while busy.draw(environment(11), &line("shop", Sku::REQUESTS), 10) || {
        busy.talk(&mut world, Some((environment(11), 1_001)));
        busy.denied.is_none()
    } {}
    assert_eq!(busy.denied, Some(DenialReason::Recalling));
    idle.talk(&mut world, None);
    assert!(idle.recalled);
    idle.give_back();
    idle.talk(&mut world, None);
    assert!(busy.spend(&mut world, environment(11), &line("shop", Sku::REQUESTS), 10));
    // At the end nearly nothing is stranded.
    while busy.spend(&mut world, environment(11), &line("shop", Sku::REQUESTS), 1) {}
    assert_eq!(busy.denied, Some(DenialReason::ProjectCap));
    world.pass(60 * SECOND);
    assert!(world.project().settled >= Nano(99_500), "{:?}", world.project());
    world.audit();
}

#[test]
fn a_meter_out_of_reach_is_not_waited_for_and_keeps_what_it_holds() {
    let mut world = World::new(month(100_000));
    let (mut away, mut busy) = (Meter::new("node:a"), Meter::new("node:b"));
    away.rate_per_s = Nano(UNIT);
    away.talk(&mut world, Some((environment(10), 1)));
    let parked = world.project().held.0;
    busy.talk(&mut world, Some((environment(11), 70_000)));
    assert_eq!(busy.denied, Some(DenialReason::Recalling));
    for _ in 0..4 {
        world.pass(SECOND);
        busy.talk(&mut world, Some((environment(11), 70_000)));
    }
    assert_eq!(busy.denied, Some(DenialReason::ProjectCap));
    world.pass(10 * 24 * HOUR);
    assert_eq!(world.project().held.0, parked, "time frees nothing");
    assert!(away.draw(environment(10), &line("shop", Sku::REQUESTS), 100));
    world.audit();
}

#[test]
fn scopes_that_make_no_sense_are_refused() {
    let mut world = World::new(month(1_000));
    let scope = Scope::Project(project(1));
    let without = Command::SetCap { scope, cap: None };
    assert!(matches!(world.refused(without), Refusal::Invalid(_)));
    let negative = Command::SetCap {
        scope,
        cap: Some(month(-1)),
    };
    assert!(matches!(world.refused(negative), Refusal::Invalid(_)));
    let unknown = Command::SetCap {
        scope: Scope::Project(project(9)),
        cap: Some(month(1)),
    };
    assert_eq!(world.refused(unknown), Refusal::Unknown(project(9).to_string()));
    let moved = Command::Open {
        scope: Scope::Environment(environment(10)),
        parent: Some(Scope::Project(project(2))),
        cap: None,
    };
    assert!(matches!(world.refused(moved), Refusal::Invalid(_)));
    let upside_down = Command::Open {
        scope: Scope::Project(project(5)),
        parent: Some(Scope::Environment(environment(10))),
        cap: Some(month(1)),
    };
    assert!(matches!(world.refused(upside_down), Refusal::Invalid(_)));
    let rows = world.rows.len();
    world.open(Scope::Environment(environment(10)), Some(scope), None);
    assert_eq!(world.rows.len(), rows, "opened before");
}

#[test]
fn a_scope_that_is_gone_gets_nothing_and_what_it_holds_is_settled() {
    let mut world = World::new(month(100_000));
    let mut meter = Meter::new("node:a");
    assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 10));
    world.done(Command::Close {
        scope: Scope::Project(project(1)),
    });
    let env = Scope::Environment(environment(10));
    assert_eq!(world.standing(env).stopped, Some(DenialReason::Gone));
    meter.talk(&mut world, Some((environment(10), 50_000)));
    assert_eq!(meter.denied, Some(DenialReason::Gone));
    meter.leave(environment(10));
    meter.talk(&mut world, None);
    assert_eq!(world.standing(Scope::Account(account())).settled, Nano(1_000));
    assert_eq!(world.standing(Scope::Account(account())).held, Nano::ZERO);
    world.pass(40 * 24 * HOUR);
    assert!(
        world.ledger.standing(env, world.now_ms).is_none(),
        "forgotten after its period"
    );
    world.audit();
}

#[test]
fn changing_the_period_to_and_fro_frees_nothing() {
    let mut world = World::new(month(10_000));
    let mut meter = Meter::new("node:a");
    spend_all(&mut world, &mut meter, 10);
    for period in [Period::Day, Period::Total, Period::Week, Period::Month] {
        world.done(Command::SetCap {
            scope: Scope::Project(project(1)),
            cap: Some(Cap {
                period,
                ..month(10_000)
            }),
        });
        assert_eq!(spend_all(&mut world, &mut meter, 10), 0, "{period:?}");
    }
    world.audit();
}
