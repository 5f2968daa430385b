//! Where answers are kept: a shelf for each environment, all under one bound of bytes.
//!
//! Room is made on the fullest shelf, so that an environment which uses no more than its share never
//! loses anything to one that uses more. On a shelf, what is asked for once goes before what is asked
//! for again (S3-FIFO: a small queue for what is new, a main one, and a memory of what went).
//!
//! Each shelf has a clock of its own that counts what makes answers invalid. An answer may only be
//! put there if nothing of the kind happened since its request began.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use weir_model::EnvironmentId;
use weir_model::cache::CacheCounts;

use super::policy::{Selecting, Terms};
use crate::compress::Coding;

/// Answers of one address that differ by what `Vary` names.
const MOST_VARIANTS: usize = 16;
/// What an entry takes besides its text.
const ENTRY_BYTES: u64 = 512;
/// Addresses that were invalidated are remembered in so many places; two that share one only keep each
/// other from being stored for a moment.
const INVALIDATED_PLACES: usize = 64;
/// Of what went from the small queue, so many for each that is kept are remembered.
const MOST_GHOSTS: usize = 8_192;

/// An answer that is kept. Never changed; a newer one takes its place.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) key: Box<str>,
    /// Of which deployment; none where control does not say.
    pub(super) deployment: Deployment,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) terms: Terms,
    pub(super) selecting: Selecting,
    /// The body compressed, made when it is first wanted; None within: it does not get smaller.
    pub(super) coded: [OnceCell<Option<Bytes>>; Coding::COUNT],
    asked_again: AtomicBool,
    gone: AtomicBool,
    /// In the small queue.
    small: AtomicBool,
    bytes: AtomicU64,
}

/// Which deployment serves; answers of another one are not served.
pub(crate) type Deployment = Option<weir_model::DeploymentId>;

/// What makes an entry.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) key: Box<str>,
    pub(super) deployment: Deployment,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) terms: Terms,
    pub(super) selecting: Selecting,
}

impl Entry {
    pub(super) fn new(kept: Kept) -> Self {
        let head: usize = kept
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 64)
            .sum();
        let selecting: usize = kept
            .selecting
            .iter()
            .map(|(name, value)| name.as_str().len() + value.as_ref().map_or(0, Vec::len) + 64)
            .sum();
        let text = length(head + selecting + kept.body.len() + 2 * kept.key.len());
        Self {
            key: kept.key,
            deployment: kept.deployment,
            status: kept.status,
            headers: kept.headers,
            body: kept.body,
            terms: kept.terms,
            selecting: kept.selecting,
            coded: Default::default(),
            asked_again: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            small: AtomicBool::new(false),
            bytes: AtomicU64::new(text + ENTRY_BYTES),
        }
    }
}

impl Entry {
    /// The same body under a newer head.
    pub(super) fn with(&self, terms: Terms, headers: HeaderMap) -> Self {
        let coded = self
            .coded
            .each_ref()
            .map(|coded| OnceCell::new_with(coded.get().cloned()));
        let of_coded: usize = coded
            .iter()
            .filter_map(|coded| coded.get()?.as_ref())
            .map(Bytes::len)
            .sum();
        let entry = Self::new(Kept {
            key: self.key.clone(),
            deployment: self.deployment,
            status: self.status,
            headers,
            body: self.body.clone(),
            terms,
            selecting: self.selecting.clone(),
        });
        entry.bytes.fetch_add(length(of_coded), Ordering::Relaxed);
        Self { coded, ..entry }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// Where it is remembered that an address was invalidated.
fn place(hash: u64) -> usize {
    usize::try_from(hash).unwrap_or(0) % INVALIDATED_PLACES
}

/// What is kept of one environment.
#[derive(Debug)]
pub(crate) struct Shelf {
    kept: Mutex<State>,
    entries: AtomicU64,
    bytes: AtomicU64,
    clock: AtomicU64,
    /// When all that was there became invalid, and when each address did.
    cleared: AtomicU64,
    invalidated: OnceLock<Box<[AtomicU64; INVALIDATED_PLACES]>>,
    counts: Counts,
    whole: Arc<Whole>,
}

#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
    stale: AtomicU64,
    revalidated: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    by_key: HashMap<Box<str>, Vec<Arc<Entry>>, RandomState>,
    small: VecDeque<Weak<Entry>>,
    main: VecDeque<Weak<Entry>>,
    small_bytes: u64,
    /// Entries that are kept.
    live: usize,
    /// The newest one of which anything was kept.
    deployment: Deployment,
    ghosts: HashSet<u64>,
    ghost_order: VecDeque<u64>,
    /// Being fetched now, by whoever came first.
    flights: HashMap<Box<str>, CancellationToken, RandomState>,
}

/// Of all shelves together.
#[derive(Debug)]
pub(super) struct Whole {
    limit: u64,
    used: AtomicU64,
    hasher: RandomState,
}

/// How an answer came about, for the counts and for `x-weir-cache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Hit,
    Miss,
    Stale,
    Revalidated,
}

/// What of a shelf is to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range<'a> {
    /// Without port; none: all hosts.
    pub(crate) host: Option<&'a str>,
    /// The path, or its beginning.
    pub(crate) path: Path<'a>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Path<'a> {
    Beginning(&'a str),
    Whole(&'a str),
}

impl Range<'_> {
    /// Whether it covers the address: `scheme://authority/path?query`.
    fn covers(&self, key: &str) -> bool {
        let Some((_, rest)) = key.split_once("://") else {
            return true;
        };
        let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => authority,
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        let of_path = match self.path {
            Path::Beginning(path) => target.starts_with(path),
            Path::Whole(path) => target.split('?').next() == Some(path),
        };
        of_path && self.host.is_none_or(|host| host == name)
    }
}

impl Shelf {
    fn new(whole: Arc<Whole>) -> Self {
        Self {
            kept: Mutex::default(),
            entries: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            clock: AtomicU64::new(1),
            cleared: AtomicU64::new(0),
            invalidated: OnceLock::new(),
            counts: Counts::default(),
            whole,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each section below leaves the state whole.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The moment, for [`Shelf::put`].
    pub(super) fn now(&self) -> u64 {
        self.clock.load(Ordering::SeqCst)
    }

    /// Whether nothing is kept there.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.load(Ordering::Relaxed) == 0
    }

    pub(super) fn count(&self, outcome: Outcome) {
        let count = match outcome {
            Outcome::Hit => &self.counts.hits,
            Outcome::Miss => &self.counts.misses,
            Outcome::Stale => &self.counts.stale,
            Outcome::Revalidated => &self.counts.revalidated,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> CacheCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        CacheCounts {
            entries: read(&self.entries),
            bytes: read(&self.bytes),
            hits: read(&self.counts.hits),
            misses: read(&self.counts.misses),
            stale: read(&self.counts.stale),
            revalidated: read(&self.counts.revalidated),
        }
    }

    /// The variant that a request selects.
    pub(super) fn find(&self, key: &str, selected: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        let state = self.lock();
        let found = state.by_key.get(key)?.iter().find(|entry| selected(entry))?;
        found.asked_again.store(true, Ordering::Relaxed);
        Some(Arc::clone(found))
    }

    /// Keeps an answer whose request began at `since`, in place of the one that the same request
    /// would get; not if it became invalid meanwhile.
    pub(super) fn put(&self, entry: Entry, since: u64) -> Option<Arc<Entry>> {
        let bytes = entry.bytes.load(Ordering::Relaxed);
        if bytes > self.whole.limit {
            return None;
        }
        let hash = self.whole.hash(&entry.key);
        let entry = Arc::new(entry);
        let mut state = self.lock();
        // Under the lock: what invalidates takes it after it has moved the clock.
        if self.cleared.load(Ordering::SeqCst) > since || self.invalidated_at(hash) > since {
            return None;
        }
        // Identifiers of deployments rise: what older ones said goes with the first answer of a newer
        // one. Whatever is left, or comes late, is of another deployment and never found.
        if entry.deployment > state.deployment {
            state.deployment = entry.deployment;
            self.clear(&mut state);
        }
        let variants = state.by_key.entry(entry.key.clone()).or_default();
        let replaced = variants.iter().position(|old| old.selecting == entry.selecting);
        let mut dropped: Vec<_> = replaced.map(|at| variants.remove(at)).into_iter().collect();
        // Another list of what it varies by makes the older ones doubtful.
        let names = |entry: &Entry| entry.selecting.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let same = names(&entry);
        dropped.extend(variants.extract_if(.., |old| names(old) != same));
        if variants.len() >= MOST_VARIANTS {
            dropped.push(variants.remove(0));
        }
        variants.push(Arc::clone(&entry));
        let known = dropped.iter().any(|old| old.asked_again.load(Ordering::Relaxed)) || state.ghosts.remove(&hash);
        for old in &dropped {
            self.forget(&mut state, old);
        }
        if known {
            state.main.push_back(Arc::downgrade(&entry));
        } else {
            entry.small.store(true, Ordering::Relaxed);
            state.small_bytes += bytes;
            state.small.push_back(Arc::downgrade(&entry));
        }
        self.grow(bytes);
        state.live += 1;
        self.entries.fetch_add(1, Ordering::Relaxed);
        state.drop_dead_places();
        Some(entry)
    }

    fn grow(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.whole.used.fetch_add(bytes, Ordering::Relaxed);
    }

    /// An entry takes more than it did: a compressed body was made.
    pub(super) fn add_to(&self, entry: &Entry, bytes: usize) {
        let bytes = length(bytes);
        let mut state = self.lock();
        if !entry.gone.load(Ordering::Relaxed) {
            entry.bytes.fetch_add(bytes, Ordering::Relaxed);
            if entry.small.load(Ordering::Relaxed) {
                state.small_bytes += bytes;
            }
            self.grow(bytes);
        }
    }

    /// It is in no list of variants any more.
    fn forget(&self, state: &mut State, entry: &Entry) {
        if entry.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        let bytes = entry.bytes.load(Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.whole.used.fetch_sub(bytes, Ordering::Relaxed);
        self.entries.fetch_sub(1, Ordering::Relaxed);
        state.live -= 1;
        state.leave_small(entry);
    }

    /// Makes room: until so many bytes are free of it, or nothing is left.
    fn evict(&self, bytes: u64) {
        let mut state = self.lock();
        let until = self.bytes.load(Ordering::Relaxed).saturating_sub(bytes);
        while self.bytes.load(Ordering::Relaxed) > until {
            let small_is_large = state.small_bytes > self.bytes.load(Ordering::Relaxed) / 10;
            let from_small = state.main.is_empty() || (small_is_large && !state.small.is_empty());
            let next = match from_small {
                true => state.small.pop_front(),
                false => state.main.pop_front(),
            };
            let Some(next) = next else {
                if state.small.is_empty() && state.main.is_empty() {
                    break;
                }
                continue;
            };
            let Some(entry) = next.upgrade().filter(|entry| !entry.gone.load(Ordering::Relaxed)) else {
                continue;
            };
            state.leave_small(&entry);
            if entry.asked_again.swap(false, Ordering::Relaxed) {
                state.main.push_back(next);
                continue;
            }
            if from_small {
                state.remember(self.whole.hash(&entry.key));
            }
            state.unlist(&entry);
            self.forget(&mut state, &entry);
        }
    }

    fn clear(&self, state: &mut State) {
        for entry in std::mem::take(&mut state.by_key).into_values().flatten() {
            self.forget(state, &entry);
        }
    }

    /// When an address with this hash was invalidated last; 0 for never.
    fn invalidated_at(&self, hash: u64) -> u64 {
        let places = self.invalidated.get();
        places.map_or(0, |places| places[place(hash)].load(Ordering::SeqCst))
    }

    /// The address may mean something else from now on (RFC 9111, 4.4).
    pub(super) fn invalidate(&self, key: &str) {
        let now = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        let places = self.invalidated.get_or_init(|| {
            let fresh = [const { AtomicU64::new(0) }; INVALIDATED_PLACES];
            Box::new(fresh)
        });
        places[place(self.whole.hash(key))].fetch_max(now, Ordering::SeqCst);
        let mut state = self.lock();
        for entry in state.by_key.remove(key).unwrap_or_default() {
            self.forget(&mut state, &entry);
        }
    }

    /// Everything in the range goes, also what is on its way. Returns how many entries went.
    pub(crate) fn purge(&self, range: Range<'_>) -> usize {
        let now = self.clock.fetch_add(1, Ordering::SeqCst) + 1;
        self.cleared.fetch_max(now, Ordering::SeqCst);
        let mut state = self.lock();
        let gone: Vec<_> = state.by_key.extract_if(|key, _| range.covers(key)).collect();
        let entries: Vec<_> = gone.into_iter().flat_map(|(_, variants)| variants).collect();
        for entry in &entries {
            self.forget(&mut state, entry);
        }
        state.drop_dead_places();
        entries.len()
    }

    /// Begins to fetch an address for all who want it meanwhile; or who does so already.
    pub(super) fn take_off(self: &Arc<Self>, key: &str) -> Result<Flight, CancellationToken> {
        let mut state = self.lock();
        if let Some(landed) = state.flights.get(key) {
            return Err(landed.clone());
        }
        let landed = CancellationToken::new();
        state.flights.insert(key.into(), landed.clone());
        Ok(Flight {
            shelf: Arc::clone(self),
            key: key.into(),
            landed,
        })
    }
}

impl State {
    fn leave_small(&mut self, entry: &Entry) {
        if entry.small.swap(false, Ordering::Relaxed) {
            self.small_bytes -= entry.bytes.load(Ordering::Relaxed);
        }
    }

    fn unlist(&mut self, entry: &Entry) {
        let Some(variants) = self.by_key.get_mut(&entry.key) else {
            return;
        };
        variants.retain(|other| !std::ptr::eq(Arc::as_ptr(other), entry));
        if variants.is_empty() {
            self.by_key.remove(&entry.key);
        }
    }

    fn remember(&mut self, hash: u64) {
        if self.ghosts.insert(hash) {
            self.ghost_order.push_back(hash);
        }
        while self.ghost_order.len() > MOST_GHOSTS {
            if let Some(oldest) = self.ghost_order.pop_front() {
                self.ghosts.remove(&oldest);
            }
        }
    }

    /// What was replaced or purged keeps its place in a queue; not too many of them.
    fn drop_dead_places(&mut self) {
        if self.small.len() + self.main.len() > 2 * self.live + 64 {
            let lives = |place: &Weak<Entry>| place.upgrade().is_some_and(|entry| !entry.gone.load(Ordering::Relaxed));
            self.small.retain(lives);
            self.main.retain(lives);
        }
    }
}

/// Somebody fetches an address. Others wait until this is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    shelf: Arc<Shelf>,
    key: Box<str>,
    landed: CancellationToken,
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.shelf.lock().flights.remove(&self.key);
        self.landed.cancel();
    }
}

impl Whole {
    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }
}

/// The shelves of all environments.
#[derive(Debug)]
pub(super) struct Shelves {
    whole: Arc<Whole>,
    by_environment: Mutex<BTreeMap<EnvironmentId, Arc<Shelf>>>,
}

impl Shelves {
    pub(super) fn new(limit: u64) -> Self {
        let whole = Whole {
            limit,
            used: AtomicU64::new(0),
            hasher: RandomState::new(),
        };
        Self {
            whole: Arc::new(whole),
            by_environment: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EnvironmentId, Arc<Shelf>>> {
        self.by_environment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn limit(&self) -> u64 {
        self.whole.limit
    }

    /// Bytes that are kept in all.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.whole.used.load(Ordering::Relaxed)
    }

    pub(super) fn shelf(&self, environment: EnvironmentId) -> Arc<Shelf> {
        let fresh = || Arc::new(Shelf::new(Arc::clone(&self.whole)));
        Arc::clone(self.lock().entry(environment).or_insert_with(fresh))
    }

    pub(super) fn find(&self, environment: EnvironmentId) -> Option<Arc<Shelf>> {
        self.lock().get(&environment).cloned()
    }

    pub(super) fn all(&self) -> Vec<(EnvironmentId, Arc<Shelf>)> {
        let shelves = self.lock();
        shelves
            .iter()
            .map(|(environment, shelf)| (*environment, Arc::clone(shelf)))
            .collect()
    }

    /// An environment that is gone leaves nothing behind.
    pub(super) fn remove(&self, environment: EnvironmentId) {
        let shelf = self.lock().remove(&environment);
        if let Some(shelf) = shelf {
            // For ever: requests that are on their way know it still.
            shelf.cleared.store(u64::MAX, Ordering::SeqCst);
            shelf.purge(EVERYTHING);
        }
    }

    /// Takes from the fullest shelf until all fits.
    pub(super) fn make_room(&self) {
        while self.whole.used.load(Ordering::Relaxed) > self.whole.limit {
            let shelves = self.lock();
            let fullest = shelves.values().max_by_key(|shelf| shelf.bytes.load(Ordering::Relaxed));
            let Some(fullest) = fullest.cloned().filter(|shelf| !shelf.is_empty()) else {
                return;
            };
            drop(shelves);
            // Some more than is needed, so that it is not looked for at each answer.
            let batch = (self.whole.limit / 256).min(fullest.bytes.load(Ordering::Relaxed) / 8);
            fullest.evict(batch.max(1));
        }
    }
}

/// All hosts, all paths.
pub(crate) const EVERYTHING: Range<'static> = Range {
    host: None,
    path: Path::Beginning(""),
};

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
