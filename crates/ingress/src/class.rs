//! Classes of requests: bulkheads between kinds of requests to one process. Each class has its
//! own places at each instance, which no other takes, and its own [`Gate`](crate::admission::Gate)
//! where its requests wait.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use weir_model::EnvironmentId;
use weir_model::route::{ClassLoad, RouteClass};
use weir_model::spec::MOST_CLASSES;

use crate::config::Limits;
use crate::table::CompiledRoute;

/// What has no class has this number.
pub(crate) const DEFAULT: usize = 0;

/// The class of a route, ready to be served by.
#[derive(Debug)]
pub(crate) struct Class {
    pub(crate) name: Box<str>,
    /// Where instances count its requests; 0 to [`MOST_CLASSES`].
    pub(crate) number: usize,
    queue: Option<usize>,
    queue_timeout: Option<Duration>,
}

impl Class {
    pub(crate) fn of(class: &RouteClass) -> Self {
        Self {
            name: class.name.as_str().into(),
            number: usize::from(class.number).min(MOST_CLASSES),
            queue: class.queue.and_then(|length| usize::try_from(length).ok()),
            queue_timeout: class.queue_timeout_ms.map(Duration::from_millis),
        }
    }
}

/// How many requests of each class are at an instance. Not there before the first one, so that
/// instances without classes stay small.
#[derive(Debug, Default)]
pub(crate) struct ClassCounts(OnceLock<Box<[AtomicU64; MOST_CLASSES + 1]>>);

impl ClassCounts {
    fn counts(&self) -> &[AtomicU64; MOST_CLASSES + 1] {
        self.0
            .get_or_init(|| Box::new(std::array::from_fn(|_| AtomicU64::new(0))))
    }

    fn count(&self, number: usize) -> &AtomicU64 {
        &self.counts()[number.min(MOST_CLASSES)]
    }

    /// Counts one in, unless there are `limit` of them.
    pub(crate) fn try_enter(&self, number: usize, limit: u64) -> bool {
        let below = |now| (now < limit).then_some(now + 1);
        let count = self.count(number);
        count.fetch_update(Ordering::SeqCst, Ordering::Relaxed, below).is_ok()
    }

    /// Counts one out.
    pub(crate) fn leave(&self, number: usize) {
        self.count(number).fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn of(&self, number: usize) -> u64 {
        self.count(number).load(Ordering::SeqCst)
    }
}

impl CompiledRoute {
    /// The number of its class; none where the process has no classes, and its instances count
    /// all requests together.
    pub(crate) fn class_number(&self) -> Option<usize> {
        self.class.as_ref().map(|class| class.number)
    }

    /// How many of its requests wait for a place.
    pub(crate) fn queue_length(&self, limits: &Limits) -> usize {
        let own = self.class.as_ref().and_then(|class| class.queue);
        own.unwrap_or(limits.queue_length)
    }

    /// Longest wait for a place.
    pub(crate) fn queue_timeout(&self, limits: &Limits) -> Duration {
        let own = self.class.as_ref().and_then(|class| class.queue_timeout);
        own.unwrap_or(limits.queue_timeout)
    }
}

/// What goes on in each class, for the report: of each, one route that serves it.
pub(crate) fn loads<'a>(
    routes: impl Iterator<Item = (EnvironmentId, &'a str, &'a CompiledRoute)>,
) -> BTreeMap<EnvironmentId, Vec<ClassLoad>> {
    let mut loads: BTreeMap<EnvironmentId, Vec<ClassLoad>> = BTreeMap::new();
    for (environment, target, route) in routes {
        let Some(class) = &route.class else { continue };
        let in_flight = route.pool.iter().map(|instance| instance.load_of(Some(class.number)));
        let instances = u64::try_from(route.pool.len()).unwrap_or(u64::MAX);
        let (refused_full, refused_late) = route.gate.refused();
        loads.entry(environment).or_default().push(ClassLoad {
            target: target.to_owned(),
            class: class.name.to_string(),
            in_flight: in_flight.sum(),
            places: route.concurrency.saturating_mul(instances),
            waiting: u64::try_from(route.gate.waiting()).unwrap_or(u64::MAX),
            refused_full,
            refused_late,
        });
    }
    for classes in loads.values_mut() {
        classes.sort_by(|a, b| (&a.target, &a.class).cmp(&(&b.target, &b.class)));
    }
    loads
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Notify, oneshot};
    use weir_model::InstanceId;
    use weir_model::route::{Backend, RouteState};

    use super::*;
    use crate::admission::{Gate, Pick, QueuePlace, Slot};
    use crate::clock::Clock;
    use crate::instance::{Instance, Phase};

    const LIMITS: [u64; 3] = [3, 1, 2];

    fn instance(number: u128) -> Arc<Instance> {
        let backend = Backend {
            instance: InstanceId::from_parts(1, number),
            address: ([127, 0, 0, 1], 1).into(),
        };
        Arc::new(Instance::new(backend, 1, Arc::new(Notify::new()), None))
    }

    /// Routes of a process with classes 0, 1 and 2, each to the same pool.
    fn routes(gates: &[Arc<Gate>], pool: &[Arc<Instance>]) -> Vec<Arc<CompiledRoute>> {
        let route = |(number, gate): (usize, &Arc<Gate>)| {
            let class = RouteClass {
                name: format!("class-{number}"),
                number: u8::try_from(number).unwrap(),
                queue: None,
                queue_timeout_ms: None,
            };
            let route = Arc::new(CompiledRoute {
                state: RouteState::Serve,
                pool: pool.to_vec(),
                concurrency: LIMITS[number],
                gate: Arc::clone(gate),
                class: Some(Class::of(&class)),
                ..CompiledRoute::for_test()
            });
            gate.set_current(Some(Arc::clone(&route)));
            route
        };
        gates.iter().enumerate().map(route).collect()
    }

    /// A request that waits.
    struct Waiter {
        class: usize,
        ticket: u64,
        receiver: oneshot::Receiver<Slot>,
        _place: QueuePlace,
    }

    struct World {
        random: fastrand::Rng,
        gates: Vec<Arc<Gate>>,
        instances: Vec<Arc<Instance>>,
        pool: Vec<Arc<Instance>>,
        routes: Vec<Arc<CompiledRoute>>,
        slots: Vec<(usize, Slot)>,
        waiters: Vec<Waiter>,
        tickets: u64,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let gates: Vec<_> = (0..3).map(|_| Arc::new(Gate::new(Clock::start()))).collect();
            let instances: Vec<_> = (1..4).map(instance).collect();
            let routes = routes(&gates, &instances);
            Self {
                random: fastrand::Rng::with_seed(seed),
                gates,
                pool: instances.clone(),
                instances,
                routes,
                slots: Vec::new(),
                waiters: Vec::new(),
                tickets: 0,
            }
        }

        /// A request comes, as `serve::admit` lets it in.
        fn arrive(&mut self) {
            let class = self.random.usize(..3);
            let route = Arc::clone(&self.routes[class]);
            if route.gate.waiting() == 0
                && let Pick::Slot(slot) = route.pick(&[], 0)
            {
                return self.slots.push((class, slot));
            }
            self.tickets += 1;
            let (place, receiver) = route.gate.enter(self.tickets);
            self.waiters.push(Waiter {
                class,
                ticket: self.tickets,
                receiver,
                _place: place,
            });
        }

        fn step(&mut self) {
            match self.random.u32(..10) {
                0..=4 => self.arrive(),
                5..=7 if !self.slots.is_empty() => {
                    let which = self.random.usize(..self.slots.len());
                    drop(self.slots.swap_remove(which));
                }
                8 if !self.waiters.is_empty() => {
                    let which = self.random.usize(..self.waiters.len());
                    drop(self.waiters.swap_remove(which));
                }
                9 => self.change_pool(),
                _ => {}
            }
            self.take_what_was_handed_out();
        }

        /// As a new table does: those of the pool are active before they can be chosen, the others
        /// drain after that.
        fn change_pool(&mut self) {
            let random = &mut self.random;
            self.pool = self.instances.iter().filter(|_| random.bool()).cloned().collect();
            for instance in &self.pool {
                instance.set_phase(Phase::Active);
            }
            self.routes = routes(&self.gates, &self.pool);
            for instance in self.instances.iter().filter(|instance| !self.serves(instance)) {
                instance.set_phase(Phase::Draining);
            }
            // A new table wakes those who wait; they look again with the ticket that they have.
            for gate in &self.gates {
                gate.hand_out();
            }
        }

        fn serves(&self, instance: &Arc<Instance>) -> bool {
            self.pool.iter().any(|other| Arc::ptr_eq(other, instance))
        }

        fn take_what_was_handed_out(&mut self) {
            let mut served: Vec<(usize, u64)> = Vec::new();
            let mut waiting = Vec::new();
            for mut waiter in std::mem::take(&mut self.waiters) {
                if let Ok(slot) = waiter.receiver.try_recv() {
                    served.push((waiter.class, waiter.ticket));
                    self.slots.push((waiter.class, slot));
                } else {
                    waiting.push(waiter);
                }
            }
            for (class, ticket) in served {
                let overtaken = waiting
                    .iter()
                    .any(|waiter| waiter.class == class && waiter.ticket < ticket);
                assert!(
                    !overtaken,
                    "ticket {ticket} of class {class} overtook one that waits still"
                );
            }
            self.waiters = waiting;
        }

        fn check(&self) {
            for instance in &self.instances {
                let held = |class: usize| {
                    let mine = |(of, slot): &&(usize, Slot)| *of == class && Arc::ptr_eq(&slot.instance, instance);
                    u64::try_from(self.slots.iter().filter(mine).count()).unwrap()
                };
                for (class, most) in LIMITS.iter().enumerate() {
                    let counted = instance.load_of(Some(class));
                    assert_eq!(counted, held(class), "a place of class {class} was lost or given twice");
                    assert!(counted <= *most, "class {class} has more than its places");
                }
                assert_eq!(instance.in_flight(), (0..3).map(held).sum::<u64>());
            }
            for (class, gate) in self.gates.iter().enumerate() {
                let waiting = self.waiters.iter().filter(|waiter| waiter.class == class).count();
                assert_eq!(gate.waiting(), waiting);
                let free = |instance: &Arc<Instance>| instance.load_of(Some(class)) < LIMITS[class];
                assert!(
                    waiting == 0 || !self.pool.iter().any(free),
                    "{waiting} of class {class} wait, and there is a free place"
                );
            }
        }
    }

    #[test]
    fn no_place_is_lost_or_given_twice_in_random_schedules() {
        for seed in 0..100 {
            let mut world = World::new(seed);
            for _ in 0..300 {
                world.step();
                world.check();
            }
            world.waiters.clear();
            world.slots.clear();
            assert!(world.instances.iter().all(|instance| instance.in_flight() == 0));
        }
    }

    #[test]
    fn a_saturated_class_leaves_the_others_their_places() {
        let gates: Vec<_> = (0..3).map(|_| Arc::new(Gate::new(Clock::start()))).collect();
        let routes = routes(&gates, &[instance(1)]);
        let pick = |class: usize| match routes[class].pick(&[], 0) {
            Pick::Slot(slot) => Some(slot),
            _ => None,
        };
        let heavy = pick(1).unwrap();
        assert!(pick(1).is_none());
        let (_place, mut waiter) = gates[1].enter(1);
        let light: Vec<Slot> = (0..3).map(|_| pick(0).unwrap()).collect();
        assert!(pick(0).is_none());
        // A place of the light ones is not for the heavy ones.
        drop(light);
        assert!(waiter.try_recv().is_err());
        drop(heavy);
        assert!(waiter.try_recv().is_ok());
    }

    #[test]
    fn many_threads_take_and_give_back_and_nothing_is_left() {
        let gates: Vec<_> = (0..3).map(|_| Arc::new(Gate::new(Clock::start()))).collect();
        let shared = instance(1);
        let routes = routes(&gates, &[Arc::clone(&shared)]);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let (routes, shared) = (&routes, &shared);
                scope.spawn(move || {
                    let mut random = fastrand::Rng::with_seed(thread);
                    for turn in 0..5_000_u64 {
                        let class = random.usize(..3);
                        let route = &routes[class];
                        match route.pick(&[], 0) {
                            Pick::Slot(slot) => {
                                assert!(shared.load_of(Some(class)) <= LIMITS[class]);
                                drop(slot);
                            }
                            _ => {
                                let (_place, receiver) = route.gate.enter(turn * 4 + thread);
                                // Whoever gives a place back hands it on: this ends.
                                drop(receiver.blocking_recv().unwrap());
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(shared.in_flight(), 0);
        assert!(gates.iter().all(|gate| gate.waiting() == 0));
    }
}
