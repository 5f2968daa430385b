//! The proof of the cap: the protocol of leases as a model, explored to the end in small sizes.
//!
//! The network loses, repeats, reorders and delays for ever; meters are killed between any two
//! steps, logs are lost, nodes are fenced, clocks say anything. In every state that can be
//! reached, what is settled and held fits below the limit, and covers the work that was done.
//!
//! A proof that cannot fail proves nothing: each [`Mutant`] builds one fault into the protocol,
//! and has to be caught.

#![expect(clippy::print_stdout, reason = "it says how much was explored")]

mod book;
mod meter;
mod model;
mod words;

use std::time::Instant;

use model::World;
use stateright::{Checker, HasDiscoveries, Model};

/// A fault in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    /// The ledger frees a lease when its holder was silent for long.
    FreeAtExpiry,
    /// A meter takes an answer to an incarnation before its own.
    OlderIncarnationsGrant,
    /// A meter takes an answer that another process of its name asked for.
    AnswerToAnother,
    /// Work begins before its money is logged as drawn.
    WorkBeforeLog,
    /// Reports tell what was used since the report before.
    DeltaReports,
    /// Answers tell what was granted since the answer before.
    DifferencesInAnswers,
    /// The ledger answers before its journal is durable, and restarts in between.
    AnswerBeforeJournal,
    /// The ledger closes a lease that a new incarnation does not list at what was reported.
    UnlistedAtReported,
    /// A fenced lease counts at what was reported.
    FenceAtReported,
    /// The meter draws money again that it gave back.
    ReturnedIsDrawnAgain,
    /// The meter says that it gave money back before that is logged.
    SaidBeforeLogged,
    /// The meter says that old leases are over before that is logged.
    ClosingSaidBeforeLogged,
    /// The ledger does not care which process speaks for an incarnation.
    BootIsNotLookedAt,
    /// A process that was told to be superseded goes on.
    SupersededGoesOn,
    /// The ledger closes a lease by the word of a process that never held it.
    ClosingOfAnother,
}

const SMALL: World = World {
    limit: 2,
    meters: 1,
    machines: 1,
    boots: 2,
    incarnations: 3,
    log_losses: 0,
    numbers: 1,
    chunk: 1,
    fences: false,
    returns: 0,
    forgets: true,
    mutant: None,
};

/// Explores a world to its end; says how many states it has.
fn prove(name: &str, world: World) -> usize {
    let began = Instant::now();
    let checker = world.checker().threads(2).spawn_bfs().join();
    checker.assert_properties();
    let states = checker.unique_state_count();
    println!(
        "{name}: {states} states, at most {} steps deep, {:.1} s",
        checker.max_depth(),
        began.elapsed().as_secs_f32()
    );
    states
}

/// Explores a world with a fault until it is caught.
fn catch(mutant: Mutant, world: World) {
    let world = World {
        mutant: Some(mutant),
        ..world
    };
    let checker = world
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let mut caught: Vec<_> = checker.discoveries().into_iter().collect();
    caught.retain(|(name, _)| name.contains("<="));
    let (property, path) = caught.pop().unwrap_or_else(|| panic!("{mutant:?} was not caught"));
    println!(
        "{mutant:?}: `{property}` is broken after {} steps",
        path.into_actions().len()
    );
}

#[test]
fn the_cap_holds_in_every_state_that_can_be_reached() {
    let two = World { meters: 2, ..SMALL };
    let worlds = [
        ("one meter, three starts", World { boots: 3, ..SMALL }),
        (
            "one meter, leases that follow each other, money given back",
            World {
                numbers: 2,
                returns: 1,
                ..SMALL
            },
        ),
        (
            "one meter, its log lost, and fenced",
            World {
                incarnations: 2,
                log_losses: 1,
                fences: true,
                ..SMALL
            },
        ),
        (
            "one meter, larger chunks, its log lost",
            World {
                limit: 3,
                incarnations: 2,
                chunk: 2,
                log_losses: 1,
                ..SMALL
            },
        ),
        ("two meters, a restart each", two.clone()),
        (
            "two meters, a restart each, a larger limit",
            World {
                limit: 3,
                incarnations: 2,
                ..two.clone()
            },
        ),
        (
            "two meters, a restart each, money given back",
            World {
                returns: 1,
                incarnations: 2,
                ..two.clone()
            },
        ),
        (
            "two meters, both fenced, rightly or not",
            World {
                fences: true,
                incarnations: 1,
                ..two
            },
        ),
        (
            "three meters",
            World {
                meters: 3,
                limit: 3,
                boots: 1,
                ..SMALL
            },
        ),
        (
            "two machines of one name",
            World {
                machines: 2,
                incarnations: 2,
                ..SMALL
            },
        ),
    ];
    let states: usize = worlds.into_iter().map(|(name, world)| prove(name, world)).sum();
    println!("{states} states in all");
}

/// Messages that can change nothing are taken off the network above. Here they stay.
#[test]
fn nothing_rests_on_forgetting_messages() {
    let whole = World {
        forgets: false,
        ..SMALL
    };
    prove("all messages kept, a restart", whole.clone());
    prove(
        "all messages kept, the log lost",
        World {
            log_losses: 1,
            ..whole.clone()
        },
    );
    prove(
        "all messages kept, two meters",
        World {
            meters: 2,
            boots: 1,
            ..whole
        },
    );
}

/// Each fault, in a world that is large enough for it to matter.
#[test]
fn every_fault_is_caught() {
    let two = World { meters: 2, ..SMALL };
    let twins = World { machines: 2, ..SMALL };
    for (mutant, world) in [
        (Mutant::FreeAtExpiry, SMALL),
        (Mutant::OlderIncarnationsGrant, SMALL),
        (Mutant::AnswerToAnother, twins.clone()),
        (Mutant::WorkBeforeLog, SMALL),
        (Mutant::DeltaReports, World { numbers: 2, ..SMALL }),
        (Mutant::DifferencesInAnswers, SMALL),
        (Mutant::AnswerBeforeJournal, SMALL),
        (Mutant::UnlistedAtReported, World { log_losses: 1, ..SMALL }),
        (Mutant::FenceAtReported, World { fences: true, ..SMALL }),
        (
            Mutant::ReturnedIsDrawnAgain,
            World {
                returns: 1,
                ..two.clone()
            },
        ),
        (Mutant::SaidBeforeLogged, World { returns: 1, ..two }),
        (Mutant::ClosingSaidBeforeLogged, World { boots: 3, ..SMALL }),
        (Mutant::BootIsNotLookedAt, twins.clone()),
        (Mutant::SupersededGoesOn, twins.clone()),
        (Mutant::ClosingOfAnother, twins),
    ] {
        catch(
            mutant,
            World {
                forgets: false,
                ..world
            },
        );
    }
}
