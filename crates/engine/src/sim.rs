//! A complete simulated twin: instances that start, become ready, write, freeze, exit and
//! ignore signals as scripted, on a clock that never really sleeps, with failures and lies on
//! request. Everything that happens follows from the seed and the order of the calls.
//!
//! ```
//! use weir_engine::sim::{Behaviour, Faults, SimEngine};
//!
//! let sim = SimEngine::new(7);
//! sim.behaviour("shop:1", Behaviour { ready_after_ms: Some(200), ..Behaviour::default() });
//! sim.faults(Faults { unreachable: 0.1, stale_observation: 0.05, ..Faults::default() });
//! // … drive the code under test with `sim` as its engine …
//! sim.advance(1_000);
//! sim.reboot(5_000);
//! ```
//!
//! **Time.** A call that takes time (a stop with grace, a latency) moves the clock by itself, so
//! that a simulation in one task never gets stuck. [`SimEngine::hold_clock`] makes such calls
//! wait for [`SimEngine::advance`] instead, for simulations in which calls overlap;
//! [`SimEngine::follow_tokio`] ties the clock to tokio's, best paused, for tests of code that
//! itself sleeps. An instance that is frozen does not grow older.

mod engine;
mod meters;
mod session;
mod world;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use weir_model::log::LogStream;
use weir_model::{InstanceId, UnixMillis};

use crate::{BuildEvent, InstanceSpec, ObservedInstance};

use world::World;

/// How the instances of an image behave. The default serves after 100 ms and stops on SIGTERM
/// within 10 ms. Times count from the start and stand still while an instance is frozen.
#[derive(Debug, Clone)]
pub struct Behaviour {
    /// How long the call that starts it takes, in milliseconds.
    pub start_ms: u64,
    /// After how many milliseconds it answers its check; `None`: never.
    pub ready_after_ms: Option<u64>,
    /// How it ends by itself; `None`: it does not.
    pub exit: Option<SimExit>,
    /// How long it goes on after SIGTERM, in milliseconds.
    pub stop_ms: u64,
    /// It ends only by SIGKILL.
    pub ignores_sigterm: bool,
    /// What it writes, in the order of time.
    pub output: Vec<SimOutput>,
    /// CPU time that it uses while it runs, in thousandths of a core.
    pub busy_milli: u32,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            start_ms: 0,
            ready_after_ms: Some(100),
            exit: None,
            stop_ms: 10,
            ignores_sigterm: false,
            output: Vec::new(),
            busy_milli: 0,
        }
    }
}

impl Behaviour {
    /// A command that ends after some milliseconds with a status, such as a release command.
    pub fn ends(after_ms: u64, status: i64) -> Self {
        let exit = Some(SimExit {
            after_ms,
            status,
            out_of_memory: false,
        });
        Self {
            ready_after_ms: None,
            exit,
            ..Self::default()
        }
    }
}

/// How an instance ends by itself.
#[derive(Debug, Clone, Copy)]
pub struct SimExit {
    /// After how many milliseconds.
    pub after_ms: u64,
    /// With which status.
    pub status: i64,
    /// Because it reached its memory limit.
    pub out_of_memory: bool,
}

/// A line that an instance writes.
#[derive(Debug, Clone)]
pub struct SimOutput {
    /// After how many milliseconds.
    pub after_ms: u64,
    /// Where.
    pub stream: LogStream,
    /// Without line end.
    pub text: String,
}

/// What goes wrong, as probabilities from 0 to 1 of each call. The default: nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// A call fails with `Unreachable` and does nothing.
    pub unreachable: f64,
    /// A call does its work and fails with `Unreachable`.
    pub answer_lost: f64,
    /// A start is refused.
    pub start_refused: f64,
    /// A start says that all is well and the instance ends at once with status 1.
    pub start_dies: f64,
    /// A start says that all is well and the instance does not exist.
    pub start_vanishes: f64,
    /// An observation tells what the one before it told.
    pub stale_observation: f64,
    /// A watcher is not told of a change.
    pub event_lost: f64,
    /// Shortest and longest time that a call takes, in milliseconds.
    pub latency_ms: (u64, u64),
}

/// What a build of an image does; see [`SimEngine::build_script`].
#[derive(Debug, Clone)]
pub struct SimBuild {
    /// How long it takes before it tells its end, in milliseconds.
    pub takes_ms: u64,
    /// What it tells before its end.
    pub events: Vec<BuildEvent>,
    /// The reason for which it fails; `None`: it succeeds.
    pub failure: Option<String>,
}

/// How time passes for calls that take time.
#[derive(Debug, Clone, Copy)]
enum Clock {
    /// They move it.
    Moves,
    /// They wait until somebody moves it.
    Held,
    /// It is tokio's.
    Tokio(tokio::time::Instant, u64),
}

/// The simulated engine. Clones are the same engine.
#[derive(Debug, Clone)]
pub struct SimEngine {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    world: Mutex<World>,
    clock: Mutex<Clock>,
    /// Told whenever something has changed.
    changed: Notify,
}

impl SimEngine {
    /// An empty machine whose luck follows from the seed. Its clock begins at one second after
    /// the Unix epoch.
    pub fn new(seed: u64) -> Self {
        let shared = Shared {
            world: Mutex::new(World::new(seed)),
            clock: Mutex::new(Clock::Moves),
            changed: Notify::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Calls that take time wait until [`Self::advance`] has moved the clock far enough.
    pub fn hold_clock(&self) -> &Self {
        *self.clock_cell() = Clock::Held;
        self
    }

    /// The clock follows tokio's from now on. Must be called within a runtime.
    pub fn follow_tokio(&self) -> &Self {
        let now_ms = self.world().now_ms;
        *self.clock_cell() = Clock::Tokio(tokio::time::Instant::now(), now_ms);
        self
    }

    /// How every instance of an image behaves that is started from now on, and that the image
    /// is on the machine.
    pub fn behaviour(&self, image: &str, behaviour: Behaviour) -> &Self {
        self.world().set_behaviour(image, None, behaviour);
        self
    }

    /// The same for containers of one role, such as those of release commands.
    pub fn behaviour_of(&self, image: &str, role: crate::InstanceRole, behaviour: Behaviour) -> &Self {
        self.world().set_behaviour(image, Some(role), behaviour);
        self
    }

    /// What a build with this tag does; without a script it succeeds at once.
    pub fn build_script(&self, tag: &str, build: SimBuild) -> &Self {
        self.world().builds.insert(tag.to_owned(), build);
        self
    }

    /// What goes wrong from now on.
    pub fn faults(&self, faults: Faults) -> &Self {
        self.world().faults = faults;
        self
    }

    /// Moves the clock; everything that falls due happens in the order of time.
    pub fn advance(&self, ms: u64) {
        let mut world = self.world();
        let target_ms = world.now_ms + ms;
        world.advance_to(target_ms);
        drop(world);
        self.shared.changed.notify_waiters();
    }

    /// The simulated instant.
    pub fn now_ms(&self) -> UnixMillis {
        i64::try_from(self.world().now_ms).unwrap_or(i64::MAX)
    }

    /// Milliseconds until something happens by itself; `None`: never.
    pub fn next_change_in_ms(&self) -> Option<u64> {
        let world = self.world();
        world.next_due_ms().map(|due_ms| due_ms.saturating_sub(world.now_ms))
    }

    /// Whether an instance would pass its check now: it runs, is not frozen, and is old enough.
    pub fn is_ready(&self, instance: InstanceId) -> bool {
        self.world().is_ready(instance)
    }

    /// What really exists, without failures and lies.
    pub fn truth(&self) -> Vec<ObservedInstance> {
        self.world().observe(None)
    }

    /// What an instance was made from, if it exists.
    pub fn spec(&self, instance: InstanceId) -> Option<InstanceSpec> {
        self.world().instances.get(&instance).map(|found| found.spec.clone())
    }

    /// How often an instance of this identity was started since the beginning, which is at most
    /// once for code that is right.
    pub fn starts(&self, instance: InstanceId) -> u64 {
        self.world().starts.get(&instance).copied().unwrap_or(0)
    }

    /// The engine does not answer for so many milliseconds; what runs goes on.
    pub fn go_away(&self, for_ms: u64) {
        self.change(|world| world.go_away(for_ms));
    }

    /// The machine goes down and comes back after so many milliseconds: everything that ran has
    /// exited with status 255.
    pub fn reboot(&self, for_ms: u64) {
        self.change(|world| {
            world.end_all(255);
            world.go_away(for_ms);
        });
    }

    /// Somebody removes an instance by hand.
    pub fn remove_by_hand(&self, instance: InstanceId) {
        self.change(|world| world.remove(instance));
    }

    /// An instance ends now, frozen or not.
    pub fn kill(&self, instance: InstanceId, status: i64, out_of_memory: bool) {
        self.change(|world| world.end(instance, status, out_of_memory));
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut self.world());
        self.shared.changed.notify_waiters();
    }

    /// The world, brought to the present instant.
    fn world(&self) -> MutexGuard<'_, World> {
        let clock = *self.clock_cell();
        let mut world = self.shared.world.lock().unwrap_or_else(PoisonError::into_inner);
        if let Clock::Tokio(begin, begin_ms) = clock {
            let passed_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
            world.advance_to(begin_ms + passed_ms);
        }
        world
    }

    fn clock_cell(&self) -> MutexGuard<'_, Clock> {
        self.shared.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
