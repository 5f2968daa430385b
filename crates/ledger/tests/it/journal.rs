//! Journals as earlier versions wrote them, kept word for word in `tests/journals`: what was written
//! once has to be understood for ever, and has to lead to the same sums.
//!
//! A kept journal is never changed. Where an event gets a new shape, or there is a new kind of
//! event, `KEEP_JOURNAL=NAME cargo test -p weir-ledger --test it journal` keeps another one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use weir_ledger::audit::{Auditor, Entry};
use weir_ledger::book::{Cap, Change, Command, Event, Fund, Scope, Settings};
use weir_ledger::{Nano, Period, PriceBook, Sku};

use crate::meter::Meter;
use crate::world::{DAY, SECOND, UNIT, World, account, environment, line, month, project};

/// Kinds of events.
const KINDS: usize = 23;

/// A row as `weir ledger export` prints it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    sequence: i64,
    previous_hash: String,
    body: String,
    hash: String,
}

/// The last line: what the rows led to.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sums {
    pots: BTreeMap<String, i128>,
    transfers: u64,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/journals")
}

/// Whoever adds a kind of event meets this first.
fn kind(change: &Change) -> usize {
    match change {
        Change::Configured(_) => 0,
        Change::Opened { .. } => 1,
        Change::CapSet { .. } => 2,
        Change::Rolled { .. } => 3,
        Change::Gone { .. } => 4,
        Change::Stopped { .. } => 5,
        Change::Resumed { .. } => 6,
        Change::Crossed { .. } => 7,
        Change::Published { .. } => 8,
        Change::BillingSet { .. } => 9,
        Change::StopOrderSet { .. } => 10,
        Change::Deposited { .. } => 11,
        Change::Promised { .. } => 12,
        Change::PromiseBroken { .. } => 13,
        Change::Corrected { .. } => 14,
        Change::Invoiced { .. } => 15,
        Change::Reserved { .. } => 16,
        Change::MeterOpened { .. } => 17,
        Change::Fenced { .. } => 18,
        Change::Granted { .. } => 19,
        Change::Returned { .. } => 20,
        Change::Settled { .. } => 21,
        Change::Closed { .. } => 22,
    }
}

/// Something of everything.
fn life() -> World {
    let mut world = World::new(Cap {
        limit: Nano(UNIT / 1000),
        period: Period::Day,
        pace: false,
    });
    world.done(Command::Configure(Settings {
        time_zone: "Europe/Berlin".to_owned(),
        ..Settings::default()
    }));
    let deposit = |id: &str, fund| Command::Deposit {
        id: id.to_owned(),
        account: account(),
        fund,
        amount: Nano(UNIT),
        reference: "bank".to_owned(),
    };
    world.done(Command::SetBilling {
        account: account(),
        on: true,
    });
    world.done(Command::SetStopOrder {
        account: account(),
        projects: vec![project(2), project(1)],
    });
    world.done(deposit("trial", Fund::Trial));
    world.done(deposit("cash", Fund::Cash));
    world.done(Command::Promise {
        id: "promise".to_owned(),
        account: account(),
        amount: Nano(UNIT),
        due_ms: world.now_ms + DAY,
    });
    world.done(Command::Correct {
        id: "correction".to_owned(),
        account: account(),
        amount: Nano(-7),
        corrects: "cash".to_owned(),
        reason: "a mistake".to_owned(),
    });
    world.done(Command::Reserve {
        environment: environment(11),
        total: Nano(1_000),
    });
    spend(&mut world);
    world.pass(2 * DAY);
    world.done(Command::Invoice {
        id: "R-1".to_owned(),
        account: account(),
        usage: vec![(Sku::REQUESTS, Nano(100))],
        tax: Nano(19),
        rounding: Nano(-1),
    });
    world.done(Command::Close {
        scope: Scope::Environment(environment(20)),
    });
    world
}

/// Up to the cap and beyond, by nodes that leave, die and are given up.
fn spend(world: &mut World) {
    let requests = line("shop", Sku::REQUESTS);
    let mut dies = Meter::new("node:1");
    let mut leaves = Meter::new("node:2");
    assert!(dies.spend(world, environment(10), &requests, 100));
    assert!(leaves.spend(world, environment(11), &line("blog", Sku::CPU), 12_345));
    world.pass(61 * SECOND);
    leaves.give_back();
    leaves.talk(world, None);
    leaves.leave(environment(11));
    leaves.talk(world, None);
    dies.crash(false);
    dies.talk(world, None);
    while dies.spend(world, environment(10), &requests, 500) {
        world.pass(61 * SECOND);
    }
    world.done(Command::SetCap {
        scope: Scope::Project(project(1)),
        cap: Some(month(UNIT)),
    });
    assert!(dies.spend(world, environment(10), &requests, 500));
    world.done(Command::Publish {
        book: PriceBook {
            version: 2,
            ..PriceBook::built_in()
        },
    });
    dies.talk(world, None);
    world.done(Command::Fence {
        meter: "node:1".to_owned(),
        incarnation: 9,
    });
}

fn write(world: &World, name: &str) {
    let mut auditor = Auditor::new();
    let mut text = String::new();
    for row in &world.rows {
        auditor.entry(&row.entry());
        let kept = Kept {
            sequence: row.sequence,
            previous_hash: row.previous_hash.clone(),
            body: row.body.clone(),
            hash: row.hash.clone(),
        };
        text += &(serde_json::to_string(&kept).unwrap() + "\n");
    }
    text += &(serde_json::to_string(&sums(auditor)).unwrap() + "\n");
    let file = folder().join(format!("{name}.jsonl"));
    std::fs::create_dir_all(folder()).unwrap();
    assert!(!file.exists(), "{} is kept already: take another name", file.display());
    std::fs::write(file, text).unwrap();
}

/// Nothing is wrong with it, and this came of it.
fn sums(auditor: Auditor) -> Sums {
    let report = auditor.finish();
    assert_eq!(report.findings, Vec::<String>::new());
    Sums {
        pots: report
            .pots
            .into_iter()
            .map(|(pot, sum)| (pot.to_string(), sum))
            .collect(),
        transfers: report.transfers,
    }
}

#[test]
fn every_journal_that_was_ever_written_is_understood_and_adds_up_the_same() {
    if let Ok(name) = std::env::var("KEEP_JOURNAL") {
        write(&life(), &name);
    }
    let mut seen = BTreeSet::new();
    let mut journals = 0;
    for file in std::fs::read_dir(folder()).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        let (last, rows) = lines.split_last().unwrap();
        let mut auditor = Auditor::new();
        for row in rows {
            let row: Kept = serde_json::from_str(row).unwrap();
            auditor.entry(&Entry {
                sequence: row.sequence,
                previous_hash: &row.previous_hash,
                body: &row.body,
                hash: &row.hash,
            });
            let event: Event = serde_json::from_str(&row.body).unwrap();
            seen.insert(kind(&event.change));
        }
        assert_eq!(sums(auditor), serde_json::from_str(last).unwrap());
        journals += 1;
    }
    let missing: Vec<usize> = (0..KINDS).filter(|kind| !seen.contains(kind)).collect();
    assert!(
        journals > 0 && missing.is_empty(),
        "kinds without a journal: {missing:?}"
    );
}

#[test]
fn what_is_written_now_has_every_kind_of_event() {
    let world = life();
    world.audit();
    let seen: BTreeSet<usize> = world.events.iter().map(|event| kind(&event.change)).collect();
    let missing: Vec<usize> = (0..KINDS).filter(|kind| !seen.contains(kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
