//! The real ledger and the real wallets in a world that fails in every way that we could think
//! of, one seed a world. Somebody who shares no sums with them counts the work as it is done.
//!
//! `WEIR_SIMULATION_SEEDS=100000` runs so many seeds, `WEIR_SIMULATION_SEED=7` one.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that panics has failed")]
#![allow(clippy::print_stdout, reason = "it says which seed failed, and what was tried")]

mod control;
mod disk;
mod node;
mod oracle;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use world::{Cheat, Tally, World};

const SEEDS: u64 = 200;
const STEPS: u32 = 400;

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    match (number("WEIR_SIMULATION_SEED"), number("WEIR_SIMULATION_SEEDS")) {
        (Some(seed), _) => seed..seed + 1,
        (None, seeds) => 0..seeds.unwrap_or(SEEDS),
    }
}

/// Runs one in so many seeds; says how to repeat the one that fails.
fn each_seed(test: &str, one_in: usize, run: impl Fn(u64) -> Tally) -> Vec<Tally> {
    seeds()
        .step_by(one_in)
        .map(|seed| match catch_unwind(AssertUnwindSafe(|| run(seed))) {
            Ok(tally) => tally,
            Err(panic) => {
                println!(
                    "seed {seed} fails; again: WEIR_SIMULATION_SEED={seed} cargo test -p weir-ledger --test simulation {test}"
                );
                resume_unwind(panic)
            }
        })
        .collect()
}

#[test]
fn no_fault_makes_work_cost_more_than_was_allowed() {
    let tallies = each_seed("no_fault_makes", 1, |seed| {
        let mut world = World::new(seed);
        (0..STEPS).for_each(|_| world.step());
        world.come_to_rest();
        world.tally
    });
    let sum = |what: fn(&Tally) -> u64| tallies.iter().map(what).sum::<u64>();
    println!(
        "{} seeds: {} draws, {} refused, {} kills, {} logs lost, {} fences, {} rows, {} leases lost something",
        tallies.len(),
        sum(|tally| tally.worked),
        sum(|tally| tally.refused),
        sum(|tally| tally.kills),
        sum(|tally| tally.logs_lost),
        sum(|tally| tally.fences),
        sum(|tally| tally.rows),
        sum(|tally| tally.lost.leases),
    );
    // A simulation in which nothing happens proves nothing.
    if tallies.len() >= 100 {
        assert!(sum(|tally| tally.worked) > 10_000 && sum(|tally| tally.lost.leases) > 100);
    }
}

/// The oracle has eyes.
#[test]
fn what_is_not_written_before_it_counts_is_caught() {
    for cheat in [Cheat::Log, Cheat::Journal] {
        let is_caught = |seed: &u64| {
            let run = || {
                let mut world = World::cheating(*seed, cheat);
                (0..STEPS).for_each(|_| world.step());
                world.come_to_rest();
            };
            catch_unwind(AssertUnwindSafe(run)).is_err()
        };
        let seed = (0..50).find(is_caught);
        println!("{cheat:?}: caught by seed {seed:?}");
        assert!(seed.is_some(), "{cheat:?} is not caught");
    }
}

#[test]
fn little_is_stranded_when_the_cap_refuses() {
    let tallies = each_seed("little_is_stranded", 4, |seed| {
        let mut world = World::plain(seed);
        let (unspent, allowed) = world.spend_all();
        assert!(
            unspent <= allowed,
            "{unspent} pico are left at the first refusal, {allowed} may be"
        );
        world.tally
    });
    assert!(tallies.iter().all(|tally| tally.worked > 100));
}
