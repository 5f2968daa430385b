//! Where answers are kept: a shelf for each environment, all under one bound of bytes.
//!
//! Room is made on the fullest shelf, so that an environment which uses no more than its share never
//! loses anything to one that uses more. On a shelf, what is asked for once goes before what is asked
//! for again (S3-FIFO: a small queue for what is new, a main one, and a memory of what went).
//!
//! Each shelf has a clock of its own that counts what makes answers invalid. An answer may only be
//! put there if nothing of the kind happened since its request began.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use weir_model::EnvironmentId;
use weir_model::cache::CacheCounts;

use super::disk::StoredFile;
use super::policy::{Selecting, Terms};
use super::queue::Queue;
use super::tally::{Tally, Weight, Whole};
use crate::compress::Coding;

/// Answers of one address that differ by what `Vary` names.
const MOST_VARIANTS: usize = 16;
/// What an entry takes besides its text.
const ENTRY_BYTES: u64 = 512;
/// Addresses that were invalidated are remembered in so many places; two that share one only keep each
/// other from being stored for a moment.
const INVALIDATED_PLACES: usize = 64;
/// So many answers are compressed at once on the way, over all workers: each takes about a MiB.
const MOST_CODERS: u64 = 256;

/// An answer that is kept. Never changed; a newer one takes its place.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) key: Box<str>,
    /// Of which deployment; none where control does not say.
    pub(super) deployment: Deployment,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: StoredBytes,
    pub(super) terms: Terms,
    pub(super) selecting: Selecting,
    /// The body compressed, made when it is first wanted; None within: it does not get smaller.
    pub(super) coded: [OnceCell<Option<Bytes>>; Coding::COUNT],
    pub(super) asked_again: AtomicBool,
    gone: AtomicBool,
    /// In the small queue.
    pub(super) small: AtomicBool,
    /// Memory, or where the body is in a file, of the disk.
    bytes: AtomicU64,
    /// Memory for what is not body.
    head: HeadWeight,
}

/// Where a body is.
#[derive(Debug, Clone)]
pub(super) enum StoredBytes {
    /// In memory; not counted yet.
    Fresh(Bytes),
    /// In memory that counts until the last reader lets go of it.
    Memory(Bytes),
    File(Arc<StoredFile>),
}

impl StoredBytes {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Fresh(body) | Self::Memory(body) => length(body.len()),
            Self::File(file) => file.length(),
        }
    }

    /// Of a body in memory.
    pub(super) fn in_memory(&self) -> Option<&Bytes> {
        match self {
            Self::Fresh(body) | Self::Memory(body) => Some(body),
            Self::File(_) => None,
        }
    }
}

#[derive(Debug)]
struct HeadWeight {
    bytes: u64,
    taken: Option<Weight>,
}

/// Of what room is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Medium {
    Memory,
    Files,
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
    pub(super) body: StoredBytes,
    pub(super) terms: Terms,
    pub(super) selecting: Selecting,
}

/// Memory that counts as long as anybody reads it.
struct Counted {
    data: Bytes,
    _weight: Weight,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// The same bytes, counted until the last one lets go of them; none if there is no room.
fn counted(data: Bytes, tally: &Arc<Tally>) -> Option<Bytes> {
    if data.is_empty() {
        return Some(data);
    }
    let weight = tally.take(length(data.len()))?;
    Some(Bytes::from_owner(Counted { data, _weight: weight }))
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
        let head = length(head + selecting + 2 * kept.key.len()) + ENTRY_BYTES;
        let bytes = match &kept.body {
            StoredBytes::Fresh(body) | StoredBytes::Memory(body) => head + length(body.len()),
            StoredBytes::File(file) => file.weight(),
        };
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
            bytes: AtomicU64::new(bytes),
            head: HeadWeight {
                bytes: head,
                taken: None,
            },
        }
    }

    /// What it takes of its medium.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Memory that it needs and does not have yet.
    fn memory(&self) -> u64 {
        match &self.body {
            StoredBytes::Fresh(body) => self.head.bytes + length(body.len()),
            StoredBytes::Memory(_) | StoredBytes::File(_) => self.head.bytes,
        }
    }

    fn medium(&self) -> Medium {
        match &self.body {
            StoredBytes::Fresh(_) | StoredBytes::Memory(_) => Medium::Memory,
            StoredBytes::File(_) => Medium::Files,
        }
    }

    /// It was replaced, purged, or had to make room.
    pub(super) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// Takes its memory; none if there is not as much.
    fn weighed(mut self, tally: &Arc<Tally>) -> Option<Self> {
        self.head.taken = Some(tally.take(self.head.bytes)?);
        if let StoredBytes::Fresh(body) = &mut self.body {
            self.body = StoredBytes::Memory(counted(std::mem::take(body), tally)?);
        }
        Some(self)
    }

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
    /// Made when it is looked at for the first time: there may be a hundred thousand environments.
    kept: OnceLock<Box<Mutex<State>>>,
    entries: AtomicU64,
    /// Of them, in files.
    in_files: AtomicU64,
    pub(super) tallies: Tallies,
    clock: AtomicU64,
    /// When all that was there became invalid, and when each address did.
    cleared: AtomicU64,
    invalidated: OnceLock<Box<[AtomicU64; INVALIDATED_PLACES]>>,
    counts: Counts,
    hasher: RandomState,
}

/// What an environment takes of what all share.
#[derive(Debug)]
pub(super) struct Tallies {
    pub(super) memory: Arc<Tally>,
    pub(super) files: Arc<Tally>,
    /// Memory for what is on its way.
    pub(super) filling: Arc<Tally>,
    /// Files that are not whole yet.
    pub(super) unfinished: Arc<Tally>,
    /// Answers that are compressed on their way.
    pub(super) coders: Arc<Tally>,
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
    in_memory: Queue,
    in_files: Queue,
    /// The newest one of which anything was kept.
    deployment: Deployment,
    /// Being fetched now, by whoever came first.
    flights: HashMap<Box<str>, InFlight, RandomState>,
    flight_number: u64,
}

#[derive(Debug)]
struct InFlight {
    number: u64,
    since: Instant,
    landed: CancellationToken,
}

/// Of all shelves together.
#[derive(Debug)]
struct Wholes {
    memory: Arc<Whole>,
    files: Arc<Whole>,
    filling: Arc<Whole>,
    unfinished: Arc<Whole>,
    coders: Arc<Whole>,
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
    fn new(wholes: &Wholes) -> Self {
        Self {
            kept: OnceLock::new(),
            entries: AtomicU64::new(0),
            in_files: AtomicU64::new(0),
            tallies: Tallies {
                memory: Tally::new(&wholes.memory),
                files: Tally::new(&wholes.files),
                filling: Tally::new(&wholes.filling),
                unfinished: Tally::new(&wholes.unfinished),
                coders: Tally::new(&wholes.coders),
            },
            clock: AtomicU64::new(1),
            cleared: AtomicU64::new(0),
            invalidated: OnceLock::new(),
            counts: Counts::default(),
            hasher: wholes.hasher.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each section below leaves the state whole.
        let kept = self.kept.get_or_init(Box::default);
        kept.lock().unwrap_or_else(PoisonError::into_inner)
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
            bytes: self.tallies.memory.own(),
            disk_bytes: self.tallies.files.own(),
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
        let hash = self.hash(&entry.key);
        let entry = Arc::new(entry.weighed(&self.tallies.memory)?);
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
        let known = dropped.iter().any(|old| old.asked_again.load(Ordering::Relaxed));
        for old in &dropped {
            self.forget(&mut state, old);
        }
        state.queue(entry.medium()).list(&entry, hash, known);
        self.entries.fetch_add(1, Ordering::Relaxed);
        if entry.medium() == Medium::Files {
            self.in_files.fetch_add(1, Ordering::Relaxed);
        }
        Some(entry)
    }

    /// Its body compressed is kept, too, if there is room; whether it is or not, this is settled then.
    fn add_coded(&self, entry: &Entry, coding: Coding, coded: Option<Vec<u8>>) {
        let coded = coded.and_then(|coded| counted(coded.into(), &self.tallies.memory));
        let bytes = length(coded.as_ref().map_or(0, Bytes::len));
        let mut state = self.lock();
        if entry.coded[coding.index()].set(coded).is_ok() && !entry.is_gone() {
            // In this order: what is listed is what it takes.
            state.queue(entry.medium()).grew(entry, bytes);
            entry.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    fn tally(&self, medium: Medium) -> &Arc<Tally> {
        match medium {
            Medium::Memory => &self.tallies.memory,
            Medium::Files => &self.tallies.files,
        }
    }

    /// Whether anything could go from it.
    fn has_any(&self, medium: Medium) -> bool {
        match medium {
            Medium::Memory => !self.is_empty(),
            Medium::Files => self.in_files.load(Ordering::Relaxed) > 0,
        }
    }

    /// It is in no list of variants any more.
    fn forget(&self, state: &mut State, entry: &Entry) {
        if entry.gone.swap(true, Ordering::Relaxed) {
            return;
        }
        self.entries.fetch_sub(1, Ordering::Relaxed);
        if entry.medium() == Medium::Files {
            self.in_files.fetch_sub(1, Ordering::Relaxed);
        }
        state.queue(entry.medium()).unlist(entry);
    }

    /// Has so many bytes go, or all there is. Returns how many went; what somebody still reads is free
    /// only after that.
    fn evict(&self, medium: Medium, bytes: u64) -> u64 {
        let mut state = self.lock();
        let mut went = 0;
        while went < bytes {
            let hash = |key: &str| self.hash(key);
            let mut next = state.queue(medium).next(hash);
            // What is in files takes some memory, too; last, because little of it comes back.
            if next.is_none() && medium == Medium::Memory {
                next = state.in_files.next(hash);
            }
            let Some(entry) = next else { break };
            went += match medium {
                Medium::Files => entry.bytes(),
                Medium::Memory if entry.medium() == Medium::Memory => entry.bytes(),
                Medium::Memory => entry.head.bytes,
            };
            state.unlist(&entry);
            self.forget(&mut state, &entry);
        }
        went
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
        places[place(self.hash(key))].fetch_max(now, Ordering::SeqCst);
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
        state.in_memory.drop_dead_places();
        state.in_files.drop_dead_places();
        entries.len()
    }

    /// Begins to fetch an address for all who want it meanwhile; or who does so already. Who has done so
    /// for longer than `patience` is waited for no more.
    pub(super) fn take_off(self: &Arc<Self>, key: &str, patience: Duration) -> Result<Flight, CancellationToken> {
        let mut state = self.lock();
        if let Some(flight) = state
            .flights
            .get(key)
            .filter(|flight| flight.since.elapsed() < patience)
        {
            return Err(flight.landed.clone());
        }
        state.flight_number += 1;
        let number = state.flight_number;
        let flight = InFlight {
            number,
            since: Instant::now(),
            landed: CancellationToken::new(),
        };
        let landed = flight.landed.clone();
        if let Some(before) = state.flights.insert(key.into(), flight) {
            before.landed.cancel();
        }
        Ok(Flight {
            shelf: Arc::clone(self),
            key: key.into(),
            number,
            landed,
        })
    }
}

impl State {
    fn queue(&mut self, medium: Medium) -> &mut Queue {
        match medium {
            Medium::Memory => &mut self.in_memory,
            Medium::Files => &mut self.in_files,
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
}

/// Somebody fetches an address. Others wait until this is dropped.
#[derive(Debug)]
pub(super) struct Flight {
    shelf: Arc<Shelf>,
    key: Box<str>,
    number: u64,
    landed: CancellationToken,
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.shelf.lock();
        if state
            .flights
            .get(&self.key)
            .is_some_and(|flight| flight.number == self.number)
        {
            state.flights.remove(&self.key);
        }
        drop(state);
        self.landed.cancel();
    }
}

/// The shelves of all environments.
#[derive(Debug)]
pub(super) struct Shelves {
    wholes: Wholes,
    by_environment: Mutex<BTreeMap<EnvironmentId, Arc<Shelf>>>,
}

impl Shelves {
    /// Under bounds of bytes in memory and in files.
    pub(super) fn new(memory: u64, files: u64) -> Self {
        Self {
            wholes: Wholes {
                memory: Whole::new(memory),
                files: Whole::new(files),
                filling: Whole::new(memory / 4),
                unfinished: Whole::new(files / 2),
                coders: Whole::new(MOST_CODERS),
                hasher: RandomState::new(),
            },
            by_environment: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<EnvironmentId, Arc<Shelf>>> {
        self.by_environment.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of memory, at most.
    pub(super) fn limit(&self) -> u64 {
        self.wholes.memory.limit()
    }

    /// Bytes of memory that are taken in all, also by what clients still read.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        self.wholes.memory.used()
    }

    pub(super) fn shelf(&self, environment: EnvironmentId) -> Arc<Shelf> {
        let fresh = || Arc::new(Shelf::new(&self.wholes));
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

    /// Keeps an answer, and makes room for it; see [`Shelf::put`].
    pub(super) fn put(&self, shelf: &Shelf, entry: Entry, since: u64) -> Option<Arc<Entry>> {
        self.make_room(Medium::Memory, shelf, entry.memory()).then_some(())?;
        shelf.put(entry, since)
    }

    /// Keeps what the compression of an entry gave; see [`Shelf::add_coded`].
    pub(super) fn add_coded(&self, shelf: &Shelf, entry: &Entry, coding: Coding, coded: Option<Vec<u8>>) {
        let bytes = coded.as_ref().map_or(0, |coded| length(coded.len()));
        self.make_room(Medium::Memory, shelf, bytes);
        shelf.add_coded(entry, coding, coded);
    }

    /// Takes from the fullest shelf until so many bytes more fit, which are for `shelf`. Whoever has less
    /// than that one loses nothing to it. False if there is no room to be made: the more is still being
    /// read of what was forgotten, the less can be kept.
    pub(super) fn make_room(&self, medium: Medium, shelf: &Shelf, bytes: u64) -> bool {
        let whole = match medium {
            Medium::Memory => &self.wholes.memory,
            Medium::Files => &self.wholes.files,
        };
        let mut in_vain = 0;
        loop {
            let used = whole.used();
            if used.saturating_add(bytes) <= whole.limit() {
                return true;
            }
            if bytes > whole.limit() || in_vain > bytes.max(whole.limit() / 64) {
                return false;
            }
            let own = shelf.tally(medium).own();
            let shelves = self.lock();
            let may_lose = |other: &&Arc<Shelf>| {
                other.has_any(medium) && (std::ptr::eq(Arc::as_ptr(other), shelf) || other.tally(medium).own() >= own)
            };
            let fullest = shelves.values().filter(may_lose);
            let fullest = fullest.max_by_key(|other| other.tally(medium).own()).cloned();
            drop(shelves);
            let Some(fullest) = fullest else { return false };
            // Some more than is needed, so that it is not looked for at each answer.
            let batch = (whole.limit() / 256).min(fullest.tally(medium).own() / 8);
            let went = fullest.evict(medium, batch.max(1));
            if went == 0 {
                return false;
            }
            if whole.used() >= used {
                in_vain += went;
            }
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
