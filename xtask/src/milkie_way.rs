//! `cargo xtask bench milkie-way`: the night in which a team with a budget of $7 was billed
//! $72,000, once more, under different policies side by side. What others do is computed from
//! their documented delays ([`others`]). What Weir does is run: the real ledger, purses, wallets
//! and guard serve a simulated crawler that posts every link to itself, and a database that
//! counts for itself has to agree with the books to the unit.

mod cash;
mod chart;
mod network;
mod others;
mod zombies;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use weir_guard::traces::simulator::Outgoing;
use weir_guard::traces::{Mode, incident};
use weir_guard::{GuardRule, GuardRules};
use weir_model::guard::{BackgroundRule, calls_within_a_tenth};

use self::cash::{Cash, Purser};
use self::chart::Curve;
use self::network::Network;

const CAP_NANO: i64 = 7_000_000_000;
/// What one request costs, by which a tenth of the cap is a number of calls.
const CALL_NANO: i64 = 2_111_300;
const SECOND_US: u64 = 1_000_000;
/// Simulated seconds of a run.
const MINUTE_S: u64 = 60;
const DAY_S: u64 = 86_400;

/// What Weir has switched on.
#[derive(Clone, Copy)]
struct Policy {
    name: &'static str,
    nodes: usize,
    pace: bool,
    /// With a guard: which rules stop it. Empty: none does.
    rules: &'static [GuardRule],
    guard: Guard,
    /// Of a hundred messages between wallets and ledger so many are lost, come again or late.
    failing: u64,
    /// Simulated seconds.
    lasts_s: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Guard {
    /// No guard.
    Off,
    /// The run ends when one of the rules is broken: each detector for itself.
    Alone,
    /// All of it, refusing.
    All,
}

/// A line of the table.
struct Row {
    policy: String,
    links: Option<u32>,
    /// Run, not computed.
    run: bool,
    stopped_s: Option<f64>,
    spent: f64,
    drift: Option<u128>,
    note: String,
}

/// Runs all, prints the table, writes a CSV file and a chart.
pub(crate) fn run() -> Result<()> {
    let started = jiff::Timestamp::now();
    let mut rows = computed();
    let mut curves = computed_curves();
    let nights = nights();
    let count = nights.len();
    for (row, curve) in all(&nights)? {
        rows.push(row);
        curves.extend(curve);
    }
    print(&rows);
    write(&rows, &curves)?;
    let took = jiff::Timestamp::now().duration_since(started).as_secs_f64();
    println!("\n{count} nights run, with their books, in {took:.0} s");
    Ok(())
}

/// One run.
#[derive(Clone, Copy)]
enum Night {
    /// Pages with so many links.
    Crawl(Policy, u32),
    /// A thousand machines that nobody asks anything.
    Zombies(&'static str, BackgroundRule),
}

impl Night {
    fn play(self) -> Result<Played> {
        let (row, points) = match self {
            Self::Crawl(policy, links) => play(policy, links)?,
            Self::Zombies(name, rule) => zombies::play(name, rule)?,
        };
        let curve = self.colour().map(|colour| Curve {
            name: row.policy.clone(),
            colour,
            points,
        });
        Ok((row, curve))
    }

    /// Of those that are in the picture.
    fn colour(self) -> Option<&'static str> {
        match self {
            Self::Zombies(_, BackgroundRule::Tell) => Some("#777"),
            Self::Crawl(policy, 3) if policy.nodes == 1 && policy.lasts_s == MINUTE_S => match policy.guard {
                Guard::All => Some("#0a0"),
                Guard::Off if policy.pace => None,
                Guard::Off => Some("#00c"),
                Guard::Alone => None,
            },
            Self::Crawl(policy, 3) if policy.lasts_s == DAY_S && policy.pace => Some("#0aa"),
            Self::Crawl(..) | Self::Zombies(..) => None,
        }
    }
}

type Played = (Row, Option<Curve>);

/// As many at a time as there are cores; in the order in which they are named.
fn all(nights: &[Night]) -> Result<Vec<Played>> {
    let next = AtomicUsize::new(0);
    let played = Mutex::new(BTreeMap::new());
    let work = || {
        while let Some((index, night)) = nights.iter().enumerate().nth(next.fetch_add(1, Ordering::Relaxed)) {
            let result = night.play();
            played
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(index, result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.into_values().collect()
}

fn nights() -> Vec<Night> {
    let mut nights = Vec::new();
    for policy in policies() {
        // Where many nodes share the cap, or it goes on for long, one kind of page tells all.
        let one = policy.nodes > 1 || policy.lasts_s > MINUTE_S;
        let pages: &[u32] = if one { &[3] } else { &[2, 3, 10, 50] };
        nights.extend(pages.iter().map(|links| Night::Crawl(policy, *links)));
    }
    nights.push(Night::Zombies("Weir, zombies: cap alone", BackgroundRule::Tell));
    nights.push(Night::Zombies("Weir, zombies: slowed down", BackgroundRule::Slow));
    nights
}

fn policies() -> Vec<Policy> {
    let cap = |name, nodes| Policy {
        name,
        nodes,
        pace: false,
        rules: &[],
        guard: Guard::Off,
        failing: 0,
        lasts_s: MINUTE_S,
    };
    let alone = |name, rules| Policy {
        rules,
        guard: Guard::Alone,
        ..cap(name, 1)
    };
    vec![
        cap("Weir: cap alone", 1),
        cap("Weir: cap alone, 4 nodes", 4),
        cap("Weir: cap alone, 64 nodes", 64),
        Policy {
            failing: 20,
            ..cap("Weir: cap alone, 4 nodes, a fifth lost", 4)
        },
        alone("Weir: cap + depth", &[GuardRule::Depth]),
        alone("Weir: cap + descendants (a tenth)", &[GuardRule::Descendants]),
        alone("Weir: cap + repeats", &[GuardRule::Repeats]),
        alone(
            "Weir: cap + reproduction",
            &[GuardRule::Reproduction, GuardRule::Growth],
        ),
        Policy {
            guard: Guard::All,
            ..cap("Weir: cap + guard", 1)
        },
        Policy {
            pace: true,
            ..cap("Weir: cap + pace", 1)
        },
        Policy {
            pace: true,
            lasts_s: DAY_S,
            ..cap("Weir: cap + pace, a day", 1)
        },
        Policy {
            guard: Guard::All,
            lasts_s: DAY_S,
            ..cap("Weir: cap + guard, a day", 1)
        },
    ]
}

/// One night under Weir.
fn play(policy: Policy, links: u32) -> Result<(Row, Vec<(f64, f64)>)> {
    let rules = GuardRules {
        enabled: policy.guard == Guard::All,
        descendants: calls_within_a_tenth(CAP_NANO, CALL_NANO).min(1_000),
        ..GuardRules::default()
    };
    let purser = Purser(Arc::new(Mutex::new(Cash::new(
        CAP_NANO,
        policy.pace,
        policy.nodes,
        Network::failing(policy.failing),
    )?)));
    let mut world = incident(1, Mode::Watch, u64::from(links), Some(rules));
    world.pay_by(Box::new(purser.clone()));
    world.stop_at(policy.rules);
    // Where not all is over at once, somebody posts the first page again and again.
    let every_s = if policy.lasts_s == DAY_S { 60 } else { 10 };
    let again = if policy.pace || policy.lasts_s == DAY_S {
        1..policy.lasts_s / every_s
    } else {
        0..0
    };
    for again in again {
        let ask = Outgoing {
            service: 0,
            content: 1,
            note: 1,
        };
        world.visit(again * every_s * SECOND_US, ask);
    }
    let outcome = world.run(policy.lasts_s * SECOND_US, u64::MAX);
    let cash = Arc::into_inner(purser.0).context("the world still holds the till")?;
    let cash = cash.into_inner().unwrap_or_else(PoisonError::into_inner);
    let curve = cash.curve();
    let left = cash.left_at_refusal;
    let settled = cash.settle(policy.lasts_s * SECOND_US)?;
    settled.check()?;
    // All nodes can be reached: no more may be left than that, or one of the smallest grants each.
    let most_left = (CAP_NANO / 200).max(CAP_NANO / 2_000 * i64::try_from(policy.nodes)?);
    ensure!(
        policy.pace || left.is_none_or(|left| left <= most_left),
        "{left:?} were not spent when the first request was refused, at most {most_left} may be"
    );
    let first = outcome
        .trips
        .iter()
        .filter(|(rule, _)| policy.guard == Guard::All || policy.rules.contains(rule));
    let first = first.min_by_key(|(_, trip)| trip.at_us);
    let mut note = match (first, outcome.first_unpaid_us) {
        (Some((rule, trip)), _) => format!("{rule:?} after {} requests", trip.requests).to_lowercase(),
        (None, Some(_)) => format!(
            "refused: no money; {} not spent then",
            dollars(left.unwrap_or(0) as f64)
        ),
        (None, None) => "never refused".to_owned(),
    };
    if let (true, Some((last_s, _))) = (policy.lasts_s == DAY_S, curve.last()) {
        let _ = write!(note, "; the last of it after {:.1} h", last_s / 3_600.0);
    }
    let _ = write!(note, "; {} journal rows", settled.rows);
    let stopped_us = first.map(|(_, trip)| trip.at_us).or(outcome.first_unpaid_us);
    let row = Row {
        policy: policy.name.to_owned(),
        links: Some(links),
        run: true,
        stopped_s: stopped_us.map(|us| us as f64 / 1e6),
        spent: settled.ledger_nano as f64,
        drift: Some(settled.drift),
        note,
    };
    Ok((row, curve))
}

/// What others do, for three links a page where that matters.
fn computed() -> Vec<Row> {
    let night = others::night(3);
    let cap = CAP_NANO as f64;
    let row = |policy: String, links, stopped_s, spent, note: &str| Row {
        policy,
        links,
        run: false,
        stopped_s,
        spent,
        drift: None,
        note: note.to_owned(),
    };
    let end = night.last().map_or(0.0, |point| point.1);
    let mut rows = vec![row(
        "as it was: alerts".to_owned(),
        Some(3),
        Some(86_400.0),
        end,
        "stopped by hand",
    )];
    let reached = others::reaches(&night, cap, |point| point.1).unwrap_or(0.0);
    for minutes in [1.0, 5.0, 10.0, 15.0] {
        let at = reached + minutes * 60.0;
        let spent = others::spent_at(&night, at);
        rows.push(row(
            format!("checked every {minutes} min"),
            Some(3),
            Some(at),
            spent,
            "worst phase",
        ));
    }
    let own = others::reaches(&night, cap, |point| point.2).unwrap_or(0.0);
    let spent = others::spent_at(&night, own);
    rows.push(row(
        "cap on the machines' product only".to_owned(),
        Some(3),
        Some(own),
        spent,
        "without any delay",
    ));
    for links in [2, 3] {
        let spent = others::depth_only(links, 16);
        rows.push(row(
            "depth limit of 16 alone".to_owned(),
            Some(links),
            None,
            spent,
            "every generation up to it",
        ));
    }
    let (stopped_s, spent) = others::zombies();
    rows.push(row(
        "zombies, as they were".to_owned(),
        None,
        Some(stopped_s),
        spent,
        "stopped by hand",
    ));
    let (day, seven_s) = others::two_machines(cap);
    let note = format!("a day of it; the $7 are gone after {:.0} min", seven_s / 60.0);
    rows.push(row(
        "2 instances, 1 request at a time".to_owned(),
        None,
        None,
        day,
        &note,
    ));
    rows
}

fn computed_curves() -> Vec<Curve> {
    let night = others::night(3);
    let until = |end_s: f64| -> Vec<(f64, f64)> {
        night
            .iter()
            .filter(|point| point.0 <= end_s)
            .map(|point| (point.0, point.1 / 1e9))
            .collect()
    };
    let reached = others::reaches(&night, CAP_NANO as f64, |point| point.1).unwrap_or(0.0);
    let own = others::reaches(&night, CAP_NANO as f64, |point| point.2).unwrap_or(0.0);
    let curve = |name: &str, colour, points| Curve {
        name: name.to_owned(),
        colour,
        points,
    };
    vec![
        curve("as it was", "#c00", until(86_400.0)),
        curve("checked every 5 min", "#e80", until(reached + 300.0)),
        curve("cap on machines only", "#a0a", until(own)),
    ]
}

fn dollars(nano: f64) -> String {
    let units = nano / 1e9;
    if units >= 100.0 {
        format!("${units:.0}")
    } else {
        format!("${units:.4}")
    }
}

fn print(rows: &[Row]) {
    println!(
        "{:<36} {:>5}  {:<8} {:>10} {:>12} {:>12} {:>5}  notes",
        "policy", "links", "how", "stops at", "spent", "over $7", "drift"
    );
    for row in rows {
        println!(
            "{:<36} {:>5}  {:<8} {:>10} {:>12} {:>12} {:>5}  {}",
            row.policy,
            row.links.map_or_else(|| "-".to_owned(), |links| links.to_string()),
            if row.run { "run" } else { "computed" },
            row.stopped_s.map_or_else(|| "-".to_owned(), |at| format!("{at:.1} s")),
            dollars(row.spent),
            dollars((row.spent - CAP_NANO as f64).max(0.0)),
            row.drift.map_or_else(|| "-".to_owned(), |drift| drift.to_string()),
            row.note,
        );
    }
}

fn write(rows: &[Row], curves: &[Curve]) -> Result<()> {
    let root = e2e::root();
    let folder = root.join("bench/results");
    std::fs::create_dir_all(&folder)?;
    let mut csv = "policy,links,how,stops_at_s,spent_usd,over_cap_usd,drift_units,notes\n".to_owned();
    for row in rows {
        let _ = writeln!(
            csv,
            "\"{}\",{},{},{},{:.9},{:.9},{},\"{}\"",
            row.policy,
            row.links.map_or_else(String::new, |links| links.to_string()),
            if row.run { "run" } else { "computed" },
            row.stopped_s.map_or_else(String::new, |at| format!("{at:.3}")),
            row.spent / 1e9,
            (row.spent - CAP_NANO as f64).max(0.0) / 1e9,
            row.drift.map_or_else(String::new, |drift| drift.to_string()),
            row.note,
        );
    }
    for (name, text) in [("milkie-way.csv", csv), ("milkie-way.svg", chart::svg(curves))] {
        let file = folder.join(name);
        std::fs::write(&file, text).with_context(|| format!("write {}", file.display()))?;
        println!("written to bench/results/{name}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_with_a_cap_costs_the_cap_and_no_more() {
        for (nodes, pace, failing) in [
            (1, false, 0),
            (4, false, 0),
            (16, false, 0),
            (4, false, 20),
            (1, true, 0),
        ] {
            let policy = Policy {
                nodes,
                pace,
                failing,
                ..policies()[0]
            };
            // Drift, audit, the cap itself and what is left are checked within.
            let (row, _) = play(policy, 10).unwrap();
            assert!(row.spent <= CAP_NANO as f64);
            assert!(
                pace || row.spent >= CAP_NANO as f64 * 0.99,
                "{} {}",
                row.spent,
                row.note
            );
        }
    }
}
