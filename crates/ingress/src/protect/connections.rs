//! How many connections clients may have: each address, and all together. Where all together have
//! too many, the one that has been idle for longest makes room, so that clients that only sit
//! there keep nobody out.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::addresses::ClientKey;
use crate::clock::Clock;

/// Locks by which addresses are counted; enough that two cores hardly meet.
const SHARDS: usize = 64;
/// Of idle connections, one in so many is ended at once when there is no room: looking for them
/// takes a moment, which is not to be spent on each new connection.
const SHARE_ENDED: usize = 50;

/// How many connections each address has, over all workers. As many entries at most as there are
/// connections.
#[derive(Debug)]
pub(crate) struct PerAddress {
    most: usize,
    hasher: RandomState,
    shards: Vec<Mutex<HashMap<ClientKey, usize>>>,
}

impl PerAddress {
    /// At most so many for each; 0 sets no bound.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// How many each may have; 0 sets no bound.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// A place for one more; none if the address has as many as it may.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<AddressPlace> {
        let key = ClientKey::of(address);
        if self.most > 0 {
            let mut shard = self.shard(key);
            let open = shard.entry(key).or_insert(0);
            if *open >= self.most {
                return None;
            }
            *open += 1;
        }
        Some(AddressPlace {
            counts: Arc::clone(self),
            key,
        })
    }

    fn shard(&self, key: ClientKey) -> MutexGuard<'_, HashMap<ClientKey, usize>> {
        let number = usize::try_from(self.hasher.hash_one(key)).unwrap_or_default();
        self.shards[number % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Until it is dropped, the connection counts for its address.
#[derive(Debug)]
pub(crate) struct AddressPlace {
    counts: Arc<PerAddress>,
    key: ClientKey,
}

impl Drop for AddressPlace {
    fn drop(&mut self) {
        if self.counts.most == 0 {
            return;
        }
        let mut shard = self.counts.shard(self.key);
        if let Some(open) = shard.get_mut(&self.key) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&self.key);
            }
        }
    }
}

/// What one connection does, as those see it who look for room.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    requests: AtomicUsize,
    begun: AtomicU64,
    /// A request was refused before all of it was read.
    refused: AtomicBool,
    /// What is left of an answer waits for the client to take it.
    stalled: AtomicBool,
    idle_since_ms: AtomicU64,
    /// Wakes the connection, which then ends.
    pub(crate) give_up: Notify,
}

impl Activity {
    /// A request is being answered until the guard is dropped.
    pub(crate) fn request(self: &Arc<Self>, clock: Clock) -> ActiveRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        ActiveRequest {
            activity: Arc::clone(self),
            clock,
        }
    }

    /// The body of a request comes until the guard is dropped, maybe for longer than it is answered.
    pub(crate) fn upload(self: &Arc<Self>, clock: Clock) -> ActiveRequest {
        self.requests.fetch_add(1, Ordering::Relaxed);
        ActiveRequest {
            activity: Arc::clone(self),
            clock,
        }
    }

    /// How many requests there were.
    pub(crate) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// A request was refused or broken off, and what is left of it will not be read.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    pub(crate) fn was_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Ends once nothing has gone on for so long.
    pub(crate) async fn idle_for(&self, clock: Clock, longest: Duration) {
        loop {
            let idle = self
                .idle_since()
                .map_or(Duration::ZERO, |since_ms| clock.since(since_ms));
            if idle >= longest {
                return;
            }
            tokio::time::sleep(longest - idle).await;
        }
    }

    /// What is sent waits for the client from now on.
    pub(crate) fn stall(&self) {
        self.stalled.store(true, Ordering::Relaxed);
    }

    /// The client has taken some of it.
    pub(crate) fn go_on(&self, now_ms: u64) {
        self.idle_since_ms.store(now_ms, Ordering::Relaxed);
        self.stalled.store(false, Ordering::Relaxed);
    }

    /// Whether no request is being answered.
    pub(crate) fn is_idle(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    fn idle_since(&self) -> Option<u64> {
        // The last of an answer may go out long after it was made.
        let is_idle = self.is_idle() && !self.stalled.load(Ordering::Relaxed);
        is_idle.then(|| self.idle_since_ms.load(Ordering::Relaxed))
    }
}

/// A request that a connection is about; also while its answer goes out.
#[derive(Debug)]
pub(crate) struct ActiveRequest {
    activity: Arc<Activity>,
    clock: Clock,
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        self.activity
            .idle_since_ms
            .store(self.clock.now_ms(), Ordering::Relaxed);
        self.activity.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one worker.
#[derive(Debug)]
pub(crate) struct Connections {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    begun: u64,
    connections: HashMap<u64, Arc<Activity>>,
}

impl Connections {
    /// At most so many; 0 sets no bound.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: Mutex::default(),
        }
    }

    /// A place for one more; none if all are taken by connections that are not idle.
    pub(crate) fn enter(self: &Arc<Self>, now_ms: u64) -> Option<ConnectionPlace> {
        let mut open = self.lock();
        if self.most > 0 && open.connections.len() >= self.most && !open.make_room() {
            return None;
        }
        open.begun += 1;
        let number = open.begun;
        let activity = Arc::new(Activity::default());
        activity.idle_since_ms.store(now_ms, Ordering::Relaxed);
        open.connections.insert(number, Arc::clone(&activity));
        Some(ConnectionPlace {
            connections: Arc::clone(self),
            number,
            activity,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Tells those to end that have been idle for longest. False if none is idle.
    fn make_room(&mut self) -> bool {
        let mut idle: Vec<(u64, u64)> = self
            .connections
            .iter()
            .filter_map(|(number, activity)| Some((activity.idle_since()?, *number)))
            .collect();
        if idle.is_empty() {
            return false;
        }
        let ended = (idle.len() / SHARE_ENDED).max(1);
        idle.select_nth_unstable(ended - 1);
        for (_, number) in &idle[..ended] {
            if let Some(activity) = self.connections.remove(number) {
                activity.give_up.notify_one();
            }
        }
        true
    }
}

/// The places of one connection; also of what it was upgraded to.
#[derive(Debug)]
pub(crate) struct Places {
    at_worker: ConnectionPlace,
    /// None for those from inside.
    _of_address: Option<AddressPlace>,
}

impl Places {
    pub(crate) fn new(at_worker: ConnectionPlace, of_address: Option<AddressPlace>) -> Self {
        Self {
            at_worker,
            _of_address: of_address,
        }
    }

    /// What goes on there.
    pub(crate) fn activity(&self) -> &Arc<Activity> {
        &self.at_worker.activity
    }
}

/// Until it is dropped, the connection counts at its worker.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    connections: Arc<Connections>,
    number: u64,
    pub(crate) activity: Arc<Activity>,
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.connections.lock().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let counts = Arc::new(PerAddress::new(2));
        let address: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let stranger: IpAddr = "2001:db8:0:1::1".parse().unwrap();
        let first = counts.enter(address).unwrap();
        let _second = counts.enter(neighbour).unwrap();
        assert!(counts.enter(address).is_none(), "the same /64");
        assert!(counts.enter(stranger).is_some());
        drop(first);
        assert!(counts.enter(address).is_some());
        let left: usize = counts.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert_eq!(left, 1, "who has none any more takes no memory");
    }

    #[test]
    fn who_was_idle_for_longest_makes_room_and_who_is_busy_stays() {
        let clock = Clock::start();
        let connections = Arc::new(Connections::new(3));
        let busy = connections.enter(1).unwrap();
        let _request = busy.activity.request(clock);
        let oldest = connections.enter(2).unwrap();
        let newer = connections.enter(3).unwrap();
        let newest = connections.enter(4).unwrap();
        let told = |place: &ConnectionPlace| !connections.lock().connections.contains_key(&place.number);
        assert_eq!(
            [told(&busy), told(&oldest), told(&newer), told(&newest)],
            [false, true, false, false]
        );
        let _requests = [newer.activity.request(clock), newest.activity.request(clock)];
        assert!(connections.enter(5).is_none(), "all are busy");
        drop(newer);
        assert!(connections.enter(6).is_some());
    }
}
