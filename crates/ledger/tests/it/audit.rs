//! The audit finds what somebody has changed.

use std::collections::BTreeMap;

use weir_ledger::audit::{AuditReport, Auditor, Counted, GENESIS, chain_hash};
use weir_ledger::book::{Change, Event};
use weir_ledger::{Nano, Sku};
use weir_model::AppName;

use crate::meter::Meter;
use crate::world::{SECOND, World, environment, line, month};

fn busy() -> World {
    let mut world = World::new(month(1_000_000));
    let mut meter = Meter::new("node:a");
    for _ in 0..5 {
        assert!(meter.spend(&mut world, environment(10), &line("shop", Sku::REQUESTS), 100));
        meter.talk(&mut world, None);
        world.pass(61 * SECOND);
    }
    world.audit();
    world
}

/// Reads the journal with all hashes right, after somebody has changed events.
fn forged(world: &World, change: impl Fn(&mut Vec<Event>)) -> AuditReport {
    let mut events = world.events.clone();
    change(&mut events);
    let mut auditor = Auditor::new();
    let mut previous = GENESIS.to_owned();
    for (place, event) in events.iter().enumerate() {
        let sequence = i64::try_from(place).unwrap() + 1;
        let body = serde_json::to_string(event).unwrap();
        let hash = chain_hash(&previous, sequence, &body);
        auditor.entry(&weir_ledger::audit::Entry {
            sequence,
            previous_hash: &previous,
            body: &body,
            hash: &hash,
        });
        previous = hash;
    }
    auditor.finish()
}

fn finds(report: &AuditReport, words: &str) {
    assert!(report.findings.iter().any(|found| found.contains(words)), "{report:#?}");
}

#[test]
fn a_changed_row_and_a_missing_row_are_found() {
    let world = busy();
    let mut auditor = Auditor::new();
    for row in &world.rows {
        let body = row.body.replace("\"shop\"", "\"shot\"");
        auditor.entry(&weir_ledger::audit::Entry {
            body: &body,
            ..row.entry()
        });
    }
    finds(&auditor.finish(), "was changed: its hash is another");
    let mut auditor = Auditor::new();
    for row in world.rows.iter().filter(|row| row.sequence != 9) {
        auditor.entry(&row.entry());
    }
    let report = auditor.finish();
    finds(&report, "row 9 is missing");
    finds(&report, "row 10 does not follow");
}

#[test]
fn a_grant_over_the_cap_is_found_though_all_hashes_are_right() {
    let world = busy();
    let report = forged(&world, |events| {
        let grant = events.iter_mut().find_map(|event| match &mut event.change {
            Change::Granted { funds, .. } => Some(funds),
            _ => None,
        });
        grant.unwrap().own = Nano(1_000_001);
    });
    finds(&report, "more than its limit");
}

#[test]
fn usage_that_was_made_cheaper_is_found() {
    let world = busy();
    let report = forged(&world, |events| {
        for event in events {
            if let Change::Settled { lines, .. } = &mut event.change {
                lines[0].paid.own = Nano(lines[0].paid.own.0 - 1);
            }
        }
    });
    finds(&report, "is not its units at their price");
}

#[test]
fn money_from_nowhere_is_found() {
    let world = busy();
    let report = forged(&world, |events| {
        let row = events.iter_mut().rev().find_map(|event| match &mut event.change {
            Change::Settled { lines, .. } => Some(&mut lines[0]),
            _ => None,
        });
        // More paid than was taken from the lease.
        row.unwrap().taken.own = Nano(0);
    });
    finds(&report, "overdraws");
}

#[test]
fn what_meters_counted_is_compared_to_the_unit() {
    let world = busy();
    let counted = Counted {
        environment: environment(10),
        app: Some(AppName::new("shop").unwrap()),
        process: None,
        sku: Sku::REQUESTS,
    };
    for (units, findings) in [(500, 0), (501, 1), (499, 1)] {
        let mut auditor = Auditor::new();
        world.rows.iter().for_each(|row| auditor.entry(&row.entry()));
        auditor.compare(&BTreeMap::from([(counted.clone(), units)]));
        assert_eq!(auditor.finish().findings.len(), findings, "{units}");
    }
}
