//! Who may send a request to which instance, and who waits.
//!
//! An instance gets at most so many requests at once. While one is free and nobody waits,
//! taking it is an atomic increment. Otherwise the request waits in its process's [`Gate`]:
//! whoever gives a place back hands it to the longest waiting.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio::sync::oneshot;
use weir_model::InstanceId;

use crate::clock::Clock;
use crate::instance::{Instance, Phase};
use crate::table::CompiledRoute;

/// Where the requests of one process wait. It outlives snapshots, so that a waiting request
/// keeps its place.
#[derive(Debug)]
pub(crate) struct Gate {
    /// Length of the queue, readable without its lock.
    waiting: AtomicUsize,
    queue: Mutex<BTreeMap<u64, oneshot::Sender<Slot>>>,
    /// Requests that wait because the route is held.
    held: AtomicUsize,
    /// The newest route of the process, if it serves; places are handed out from its pool.
    current: ArcSwapOption<CompiledRoute>,
    /// Requests that were refused because so many waited, and that waited in vain.
    refused_full: AtomicU64,
    refused_late: AtomicU64,
    clock: Clock,
}

/// The right to have one request at an instance; given back on drop.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) instance: Arc<Instance>,
    gate: Arc<Gate>,
    /// Of which class's places it is one, where the process has classes.
    class: Option<usize>,
    hand_on: HandOn,
}

/// Whether a place that is given back goes to the next who waits.
#[derive(Debug, PartialEq, Eq)]
enum HandOn {
    Yes,
    No,
}

/// What a look at the pool gave.
#[derive(Debug)]
pub(crate) enum Pick {
    /// A place.
    Slot(Slot),
    /// All instances have as many requests as they may.
    Full,
    /// There is no instance, or all were tried already.
    Nobody,
}

impl Gate {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(BTreeMap::new()),
            held: AtomicUsize::new(0),
            current: ArcSwapOption::empty(),
            refused_full: AtomicU64::new(0),
            refused_late: AtomicU64::new(0),
            clock,
        }
    }

    /// From now on places are handed out from this route's pool.
    pub(crate) fn set_current(&self, route: Option<Arc<CompiledRoute>>) {
        self.current.store(route);
    }

    /// How many requests wait for a free instance.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }

    /// How many wait because the route is held.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts a request that may not wait, because so many do.
    pub(crate) fn count_full(&self) {
        self.refused_full.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a request that waited in vain.
    pub(crate) fn count_late(&self) {
        self.refused_late.fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused because so many waited, and how many waited in vain.
    pub(crate) fn refused(&self) -> (u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.refused_full), count(&self.refused_late))
    }

    /// Enters the queue. A lower ticket is served earlier, whenever it enters.
    pub(crate) fn enter(self: &Arc<Self>, ticket: u64) -> (QueuePlace, oneshot::Receiver<Slot>) {
        let (sender, receiver) = oneshot::channel();
        {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.insert(ticket, sender);
            self.waiting.store(queue.len(), Ordering::SeqCst);
        }
        // A place may have been given back before the queue was entered.
        self.hand_out();
        (
            QueuePlace {
                gate: Arc::clone(self),
                ticket,
            },
            receiver,
        )
    }

    /// Hands free places to those who wait, the longest waiting first.
    pub(crate) fn hand_out(self: &Arc<Self>) {
        while self.waiting() > 0 {
            let Some(route) = self.current.load_full() else { return };
            let Pick::Slot(slot) = route.pick(&[], self.clock.now_ms()) else {
                return;
            };
            let first = {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                let first = queue.pop_first();
                self.waiting.store(queue.len(), Ordering::SeqCst);
                first
            };
            match first {
                // A receiver that is gone gives the place back, and the next one is tried;
                // quietly, because this loop hands it on.
                Some((_, waiter)) => {
                    if let Err(unwanted) = waiter.send(slot) {
                        unwanted.give_back_quietly();
                    }
                }
                None => slot.give_back_quietly(),
            }
        }
    }

    /// Enters the held requests unless `limit` are there already.
    pub(crate) fn hold(self: &Arc<Self>, limit: usize) -> Option<HeldPlace> {
        let entered = self
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now < limit).then_some(now + 1)
            })
            .is_ok();
        entered.then(|| HeldPlace { gate: Arc::clone(self) })
    }
}

/// A place in a queue; left on drop.
#[derive(Debug)]
pub(crate) struct QueuePlace {
    gate: Arc<Gate>,
    ticket: u64,
}

impl Drop for QueuePlace {
    fn drop(&mut self) {
        let mut queue = self.gate.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.remove(&self.ticket);
        self.gate.waiting.store(queue.len(), Ordering::SeqCst);
    }
}

/// A place among the held requests; left on drop.
#[derive(Debug)]
pub(crate) struct HeldPlace {
    gate: Arc<Gate>,
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.gate.held.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// Gives the place back without handing it on: the caller does that itself.
    fn give_back_quietly(mut self) {
        self.hand_on = HandOn::No;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.instance.release(self.class);
        if self.hand_on == HandOn::Yes && self.gate.waiting() > 0 {
            self.gate.hand_out();
        }
    }
}

impl CompiledRoute {
    /// Takes a place at the instance with the least requests in flight, not counting those
    /// that were `tried` already. Instances that just failed to accept a connection come last.
    pub(crate) fn pick(&self, tried: &[InstanceId], now_ms: u64) -> Pick {
        // Another worker may take the last place between the look and the take: look again,
        // but not for ever.
        for _ in 0..4 {
            let Some(best) = self.least_loaded(tried, now_ms) else {
                return Pick::Nobody;
            };
            let class = self.class_number();
            if best.try_take(self.concurrency, class) {
                let (instance, gate) = (Arc::clone(best), Arc::clone(&self.gate));
                return Pick::Slot(Slot {
                    instance,
                    gate,
                    class,
                    hand_on: HandOn::Yes,
                });
            }
            if best.load_of(class) >= self.concurrency {
                return Pick::Full;
            }
        }
        Pick::Full
    }

    fn least_loaded(&self, tried: &[InstanceId], now_ms: u64) -> Option<&Arc<Instance>> {
        if let [only] = self.pool.as_slice() {
            let usable = only.phase() == Phase::Active && !tried.contains(&only.backend.instance);
            return usable.then_some(only);
        }
        // Begin anywhere, so that instances with equal load get equal shares.
        let offset = fastrand::usize(..self.pool.len().max(1));
        let (head, tail) = self.pool.split_at(offset.min(self.pool.len()));
        tail.iter()
            .chain(head)
            .filter(|instance| instance.phase() == Phase::Active && !tried.contains(&instance.backend.instance))
            .min_by_key(|instance| {
                let load = instance.load_of(self.class_number());
                // A suspect with a free place still beats others that are full.
                let suspect = instance.is_suspect(now_ms);
                // Waking one costs a moment: those that run are half filled before.
                let rest = if instance.rest.is_resting() {
                    self.concurrency / 2
                } else {
                    0
                };
                (load >= self.concurrency, suspect, load + rest, instance.in_flight())
            })
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;
    use weir_model::route::Backend;

    use super::*;

    fn instance(number: u128) -> Arc<Instance> {
        let backend = Backend {
            instance: InstanceId::from_parts(1, number),
            address: ([127, 0, 0, 1], 1).into(),
        };
        Arc::new(Instance::new(backend, 1, Arc::new(Notify::new()), None))
    }

    fn route(pool: Vec<Arc<Instance>>, concurrency: u64) -> Arc<CompiledRoute> {
        let gate = Arc::new(Gate::new(Clock::start()));
        let route = Arc::new(CompiledRoute {
            pool,
            concurrency,
            gate: Arc::clone(&gate),
            ..CompiledRoute::for_test()
        });
        gate.set_current(Some(Arc::clone(&route)));
        route
    }

    fn take(route: &CompiledRoute) -> Slot {
        match route.pick(&[], 0) {
            Pick::Slot(slot) => slot,
            other => panic!("expected a place, got {other:?}"),
        }
    }

    #[test]
    fn requests_spread_to_the_least_loaded() {
        let (a, b) = (instance(1), instance(2));
        let route = route(vec![a.clone(), b.clone()], 10);
        let slots: Vec<Slot> = (0..6).map(|_| take(&route)).collect();
        assert_eq!((a.in_flight(), b.in_flight()), (3, 3));
        drop(slots);
        assert_eq!((a.in_flight(), b.in_flight()), (0, 0));
    }

    #[test]
    fn a_full_pool_is_full_and_a_tried_one_has_nobody() {
        let a = instance(1);
        let route = route(vec![a.clone()], 1);
        let slot = take(&route);
        assert!(matches!(route.pick(&[], 0), Pick::Full));
        assert!(matches!(route.pick(&[a.backend.instance], 0), Pick::Nobody));
        drop(slot);
        a.set_phase(Phase::Draining);
        assert!(matches!(route.pick(&[], 0), Pick::Nobody));
        assert_eq!(a.in_flight(), 0);
    }

    #[test]
    fn a_suspect_is_taken_only_when_the_others_are_full() {
        let (a, b) = (instance(1), instance(2));
        let route = route(vec![a.clone(), b.clone()], 1);
        a.count_connect_failure(100);
        assert_eq!(take(&route).instance.backend, b.backend);
        let held = take(&route);
        assert_eq!(held.instance.backend, b.backend);
        assert_eq!(take(&route).instance.backend, a.backend);
    }

    #[test]
    fn places_go_to_the_longest_waiting() {
        let a = instance(1);
        let route = route(vec![a.clone()], 1);
        let slot = take(&route);
        let (_second_place, mut second) = route.gate.enter(2);
        let (_first_place, mut first) = route.gate.enter(1);
        assert!(first.try_recv().is_err());
        drop(slot);
        let handed = first.try_recv().unwrap();
        assert!(second.try_recv().is_err());
        assert_eq!(a.in_flight(), 1);
        drop(handed);
        assert!(second.try_recv().is_ok());
        assert_eq!(route.gate.waiting(), 0);
    }

    #[test]
    fn a_waiter_who_left_is_passed_over() {
        let a = instance(1);
        let route = route(vec![a.clone()], 1);
        let slot = take(&route);
        let (first_place, first) = route.gate.enter(1);
        let (_second_place, mut second) = route.gate.enter(2);
        drop(first);
        drop(slot);
        drop(first_place);
        assert!(second.try_recv().is_ok());
        assert_eq!(a.in_flight(), 0);
    }
}
