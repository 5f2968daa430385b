//! What outlives snapshots of one process of one app: where its requests wait, from what they
//! are paid, and by what name the guard knows it.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use weir_guard::{Sentry, Target};
use weir_ledger::wallet::{Till, Wallets};
use weir_model::{AppName, EnvironmentId, ProcessName};

use crate::access::Access;
use crate::admission::Gate;
use crate::cache::{Cache, Shelf};
use crate::clock::Clock;
use crate::protect::Defences;
use crate::sleep::Knocks;

/// One process, the same for all hosts that lead to it.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// Where requests wait.
    pub(crate) gate: Arc<Gate>,
    /// What was served of the environment.
    pub(crate) access: Arc<Access>,
    /// None where nothing is charged.
    pub(crate) till: Option<Arc<Till>>,
    /// None where nothing is guarded.
    pub(crate) target: Option<Arc<Target>>,
    /// What its instances have done since the node began.
    pub(crate) habits: Arc<Habits>,
    /// What is kept of the environment's answers.
    pub(crate) shelf: Arc<Shelf>,
}

/// What the instances of a process have done since the node began.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    /// They called addresses of this Weir. Only such apps get a lineage to pass on: signing it
    /// costs more than the rest of the guard.
    pub(crate) calls: AtomicBool,
    /// Somebody asked for their private name, so that requests may reach them that the node does
    /// not see.
    pub(crate) called_directly: AtomicBool,
    /// Lookups of its names, where they ask for it.
    pub(crate) knocks: Knocks,
}

/// What pays and what guards, for all processes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doors {
    pub(crate) wallets: Option<Wallets>,
    pub(crate) sentry: Option<Sentry>,
    /// None where everything is let through.
    pub(crate) defences: Option<Arc<Defences>>,
    pub(crate) cache: Arc<Cache>,
}

impl Process {
    /// The process that answers as `target` (`app.process`).
    pub(crate) fn new(
        environment: EnvironmentId,
        target: &str,
        access: Arc<Access>,
        clock: Clock,
        doors: &Doors,
    ) -> Self {
        Self {
            gate: Arc::new(Gate::new(clock)),
            access,
            till: doors.wallets.as_ref().map(|wallets| till(wallets, environment, target)),
            target: doors.sentry.as_ref().map(|sentry| sentry.target(environment, target)),
            habits: Arc::default(),
            shelf: doors.cache.shelf(environment),
        }
    }
}

/// The till of the process; that of the environment as a whole if the target is not
/// `app.process`, so that nothing is free for want of a name.
fn till(wallets: &Wallets, environment: EnvironmentId, target: &str) -> Arc<Till> {
    let names = target
        .split_once('.')
        .and_then(|(app, process)| Some((AppName::from_str(app).ok()?, ProcessName::from_str(process).ok()?)));
    let (app, process) = names.as_ref().map(|(app, process)| (app, process)).unzip();
    wallets.till(environment, app, process)
}
