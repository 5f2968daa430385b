//! Answers that say they may be shared, kept and given again (RFC 9111, RFC 9110).
//!
//! What it is: a shared cache for all environments of the node, in memory and, what is large, in files;
//! looked into after a request was let in and paid, before an instance is asked. What it gives out is paid and counted like any
//! other answer; it only takes no place at an instance. So it also answers while all instances are
//! busy, asleep or away.
//!
//! What it refuses: to guess how long something is fresh; to keep what did not come whole; to show
//! one environment, deployment or host what another one said. Nothing is kept over a restart of the
//! node.
//!
//! How it fails: where there is no room, or too much goes on, requests go to the instances as if it
//! was not there.
//!
//! The parts: `policy` says what may be kept (pure), `shelf` keeps it and `queue` says what goes first,
//! `tally` counts who has how much, `disk` holds files, `fill` takes an answer in on its way to a client
//! (`pump` where others wait for it), `answer` cuts out of it what a client asked for (pure), `give` and
//! `stored` give it out.

mod answer;
mod disk;
mod fill;
#[cfg(any(fuzzing, test))]
pub(crate) mod fuzzing;
mod give;
pub(crate) mod policy;
mod pump;
mod queue;
mod shelf;
mod stored;
mod tally;

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::response::Parts;
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weir_model::EnvironmentId;
use weir_model::cache::{CacheCounts, CachePurge, CachePurges};

use self::disk::{Disk, Rooms, Writing};
use self::fill::{Fill, Gathered};
use self::policy::{Asked, Fitness, Terms, Timing};
use self::pump::Incoming;
use self::shelf::{EVERYTHING, Entry, Flight, Kept, Medium, Outcome, Path as Where, Range, Shelves, StoredBytes};
use crate::body::RequestBody;
use crate::clock::unix_ms;
use crate::compress;
use crate::headers::{RequestedHost, X_REQUEST_ID, X_WEIR_CACHE};
use crate::table::CompiledRoute;
use crate::upstream::AnswerStream;

pub use self::disk::sane_share;
pub(crate) use self::fill::Through;
pub(crate) use self::shelf::Shelf;
pub(crate) use self::stored::{Part, StoredBody, StoredError};
#[cfg(test)]
pub(crate) use self::tally::Whole;
pub(crate) use self::tally::{Tally, Weight};

/// Longest wait for somebody else who fetches the same.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// So long it is remembered of an address that its answers were kept. Only for such ones requests wait
/// for each other: of all others most may not be kept, and waiting would only make them slow.
const KNOWN_S: u64 = 3_600;
const KNOWN_PLACES: usize = 16_384;
/// So much of a body is made room for before it has come.
const FIRST_BYTES: usize = 64 * 1024;
/// Larger bodies go into files, where there are any; not those that can be compressed.
const LARGE_BYTES: usize = 1024 * 1024;
/// Of what is in files, the head stays in memory; larger ones are not kept so.
const LARGEST_HEAD_BYTES: usize = 4096;
/// So long nobody else writes the same into a file.
const WRITING_PATIENCE: Duration = Duration::from_secs(600);

/// The cache of a node.
#[derive(Debug)]
pub(crate) struct Cache {
    shelves: Shelves,
    /// None where all is kept in memory.
    disk: Option<Arc<Disk>>,
    /// Addresses whose answers were kept: a part of their hash, and until when that counts.
    known: Box<[AtomicU64]>,
    hasher: RandomState,
    /// Who compresses what is kept; one core at most.
    thorough: Arc<Semaphore>,
    purged: AtomicU64,
}

/// One request's way past the cache.
#[derive(Debug, Default)]
pub(crate) struct Way {
    /// None: the request is not for the cache.
    begun: Option<Begun>,
    /// It changes something.
    changes: bool,
    waited: bool,
    /// To be asked whether it still holds, or to stand in for an error.
    stale: Option<Arc<Entry>>,
    /// The instance is asked whether `stale` still holds.
    revalidates: bool,
    /// What the client said, where the instance is asked something else.
    client: Option<HeaderMap>,
    flight: Option<Flight>,
    /// Nobody waits for the answer; it is fetched for those who will ask.
    renewal: bool,
}

#[derive(Debug, Clone)]
struct Begun {
    method: Method,
    since: u64,
    asked_ms: i64,
    hash: u64,
}

/// A kept answer for a request.
#[derive(Debug)]
pub(crate) struct Hit {
    entry: Arc<Entry>,
    outcome: Outcome,
}

/// What a look into the cache gives.
#[derive(Debug)]
pub(crate) enum Look {
    /// An instance is to be asked.
    Ask,
    Answer(Hit),
    /// It answers, and this is the way on which a newer one is to be fetched.
    Renew(Hit, Box<Way>),
    /// The client wants what is kept or nothing (`only-if-cached`).
    Missing,
}

/// What becomes of an instance's answer.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It goes on, perhaps compressed.
    On(Through),
    /// A kept one goes on in its place; the connection may be used again.
    Instead(Hit, AnswerStream),
}

/// A request's address.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) scheme: &'static str,
    pub(crate) host: &'a RequestedHost,
    pub(crate) target: &'a PathAndQuery,
}

impl Address<'_> {
    fn key(&self, scheme: &str) -> String {
        let authority = self.host.authority.to_str().unwrap_or(&self.host.name);
        let mut key = String::with_capacity(scheme.len() + 3 + authority.len() + self.target.as_str().len());
        key.push_str(scheme);
        key.push_str("://");
        key.push_str(authority);
        key.make_ascii_lowercase();
        key.push_str(self.target.as_str());
        key
    }
}

impl Cache {
    /// Keeps so many bytes in memory at most, nothing at all with 0; and so many in files in the folder.
    pub(crate) fn new(limit_bytes: u64, disk: Option<(&Path, u64)>) -> Self {
        let on_disk = disk.map_or(0, |(_, bytes)| bytes);
        let disk = disk.filter(|_| limit_bytes > 0);
        Self {
            shelves: Shelves::new(limit_bytes, on_disk),
            disk: disk.and_then(|(folder, bytes)| Disk::open(folder, bytes)),
            known: (0..KNOWN_PLACES).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            thorough: Arc::new(Semaphore::new(1)),
            purged: AtomicU64::new(0),
        }
    }

    pub(crate) fn shelf(&self, environment: EnvironmentId) -> Arc<Shelf> {
        self.shelves.shelf(environment)
    }

    /// An environment is gone.
    pub(crate) fn forget(&self, environment: EnvironmentId) {
        self.shelves.remove(environment);
    }

    /// A body that is larger is not kept in memory.
    fn largest_in_memory(&self) -> u64 {
        self.shelves.limit() / 8
    }

    /// Begins to write an answer into a file. None: it is not to be kept so, or there is no room.
    fn write(&self, shelf: &Arc<Shelf>, key: &str, expected: Option<u64>) -> Option<Writing> {
        let disk = self.disk.as_ref()?;
        let only = shelf.take_off(&format!("file {key}"), WRITING_PATIENCE).ok()?;
        let rooms = Rooms {
            waiting: Arc::clone(&shelf.tallies.filling),
            unfinished: Arc::clone(&shelf.tallies.unfinished),
            files: Arc::clone(&shelf.tallies.files),
        };
        let make_room = |bytes| self.shelves.make_room(Medium::Files, shelf, bytes);
        Writing::begin(disk, rooms, expected, only, make_room)
    }

    /// What is kept of each environment, where anything is or was.
    pub(crate) fn counts(&self) -> BTreeMap<EnvironmentId, CacheCounts> {
        let shelves = self.shelves.all().into_iter();
        let counts = shelves.map(|(environment, shelf)| (environment, shelf.counts()));
        counts.filter(|(_, counts)| *counts != CacheCounts::default()).collect()
    }

    /// Carries out the purges that it has not carried out yet. When it returns, nothing of what they
    /// name is given out any more, nor kept later because it was on its way.
    pub(crate) fn purge(&self, purges: &CachePurges) {
        let newest = purges
            .list
            .iter()
            .map(|purge| purge.number)
            .fold(purges.dropped, u64::max);
        let before = self.purged.fetch_max(newest, Ordering::SeqCst);
        if purges.dropped > before {
            for (_, shelf) in self.shelves.all() {
                shelf.purge(EVERYTHING);
            }
        }
        for purge in purges.list.iter().filter(|purge| purge.number > before) {
            if let Some(shelf) = self.shelves.find(purge.environment) {
                let entries = shelf.purge(range(purge));
                tracing::info!(environment.id = %purge.environment, entries, "purged kept answers");
            }
        }
    }

    fn hash(&self, shelf: &Arc<Shelf>, address: &Address<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write_usize(Arc::as_ptr(shelf).addr());
        hasher.write(address.host.authority.as_bytes());
        hasher.write(address.scheme.as_bytes());
        hasher.write(address.target.as_str().as_bytes());
        hasher.finish()
    }

    fn place(&self, hash: u64) -> &AtomicU64 {
        &self.known[usize::try_from(hash).unwrap_or(0) % KNOWN_PLACES]
    }

    /// Whether its answers were kept lately, so that it is worth waiting for somebody else's.
    fn is_kept(&self, hash: u64, now_ms: i64) -> bool {
        let mark = self.place(hash).load(Ordering::Relaxed);
        let until_s = mark & u64::from(u32::MAX);
        mark >> 32 == hash >> 32 && until_s > u64::try_from(now_ms / 1000).unwrap_or(0)
    }

    fn note_kept(&self, hash: u64, now_ms: i64) {
        let until_s = (u64::try_from(now_ms / 1000).unwrap_or(0) + KNOWN_S) & u64::from(u32::MAX);
        self.place(hash).store((hash >> 32 << 32) | until_s, Ordering::Relaxed);
    }

    fn note_not_kept(&self, hash: u64) {
        let place = self.place(hash);
        if place.load(Ordering::Relaxed) >> 32 == hash >> 32 {
            place.store(0, Ordering::Relaxed);
        }
    }

    /// Looks for an answer; waits a while if somebody fetches it now. What it finds out about the
    /// request stays in `way`, for when an instance answers.
    pub(crate) async fn look(
        &self,
        route: &CompiledRoute,
        way: &mut Way,
        address: Address<'_>,
        request: &mut Request<RequestBody>,
    ) -> Look {
        if way.flight.is_some() || !self.begin(route, way, &address, request) {
            return Look::Ask;
        }
        let Some(begun) = way.begun.clone() else {
            return Look::Ask;
        };
        if route.shelf.is_empty() && !self.is_kept(begun.hash, begun.asked_ms) {
            return Look::Ask;
        }
        let asked = Asked::of(request.headers());
        if asked.control.no_store {
            way.begun = None;
            return Look::Ask;
        }
        let key = address.key(address.scheme);
        loop {
            let found = find(route, &key, request.headers());
            let fitness = found.as_ref().map(|entry| entry.terms.fitness(&asked, unix_ms()));
            let lands = match (found, fitness) {
                (Some(entry), Some(Fitness::Fresh)) => return Look::Answer(Hit::new(entry, Outcome::Hit)),
                (Some(entry), Some(Fitness::StaleWhileRevalidate)) => return renew(route, &key, way, entry),
                (_, Some(Fitness::NotForThis)) => return Look::Ask,
                _ if asked.control.only_if_cached => return Look::Missing,
                (Some(_), _) if begun.method == Method::HEAD => return Look::Ask,
                (Some(entry), _) => {
                    let flight = route.shelf.take_off(&key, LONGEST_WAIT);
                    way.revalidate(entry, request.headers_mut());
                    flight
                }
                (None, _) if way.waited || !may_lead(&asked, request) || !self.is_kept(begun.hash, begun.asked_ms) => {
                    return Look::Ask;
                }
                (None, _) => route.shelf.take_off(&key, LONGEST_WAIT),
            };
            match lands {
                Ok(flight) => {
                    way.flight = Some(flight);
                    return Look::Ask;
                }
                Err(_) if way.waited => return Look::Ask,
                Err(landed) => {
                    way.waited = true;
                    let _ = timeout(LONGEST_WAIT.min(route.first_byte_timeout), landed.cancelled()).await;
                    way.take_back(request.headers_mut());
                }
            }
        }
    }

    /// Notes what counts of the request. False if there is nothing to be looked for.
    fn begin(
        &self,
        route: &CompiledRoute,
        way: &mut Way,
        address: &Address<'_>,
        request: &Request<RequestBody>,
    ) -> bool {
        if way.renewal {
            return false;
        }
        way.changes = !request.method().is_safe();
        way.begun = None;
        if !may_be_kept(request) || !route.cache.store || self.shelves.limit() == 0 {
            return false;
        }
        way.begun = Some(Begun {
            method: request.method().clone(),
            since: route.shelf.now(),
            asked_ms: unix_ms(),
            hash: self.hash(&route.shelf, address),
        });
        true
    }

    /// Whether a fresh enough answer is there now, whatever the route's state is.
    pub(crate) fn would_answer(
        &self,
        route: &CompiledRoute,
        address: Address<'_>,
        request: Option<&Request<RequestBody>>,
    ) -> bool {
        let Some(request) = request.filter(|_| route.cache.store && !route.shelf.is_empty()) else {
            return false;
        };
        if !may_be_kept(request) {
            return false;
        }
        let found = find(route, &address.key(address.scheme), request.headers());
        let asked = Asked::of(request.headers());
        let good = [Fitness::Fresh, Fitness::StaleWhileRevalidate];
        !asked.control.no_store && found.is_some_and(|entry| good.contains(&entry.terms.fitness(&asked, unix_ms())))
    }

    /// Takes in an instance's answer, whose head is ready for the client.
    pub(crate) fn take_in(
        self: &Arc<Self>,
        route: &CompiledRoute,
        way: &mut Way,
        address: Address<'_>,
        parts: &mut Parts,
        mut stream: AnswerStream,
    ) -> Taken {
        // None: the answer came before all of the request had gone out, so nobody knows any more what it
        // said of its client; and nothing is done that would be wrong for some.
        let request = stream.take_asked();
        if way.changes && parts.status.as_u16() < 400 {
            // RFC 9111, 4.4.
            for scheme in ["http", "https"] {
                route.shelf.invalidate(&address.key(scheme));
            }
        }
        let timing = Timing {
            asked_ms: way.begun.as_ref().map_or(0, |begun| begun.asked_ms),
            came_ms: unix_ms(),
        };
        if let Some(entry) = way.stale.clone() {
            if way.revalidates && parts.status == StatusCode::NOT_MODIFIED {
                let entry = self.freshen(route, way, &entry, request.as_ref(), parts, timing);
                return Taken::Instead(Hit::new(entry, Outcome::Revalidated), stream);
            }
            if is_failure(parts.status) && stands_in(&entry) {
                return Taken::Instead(Hit::new(entry, Outcome::Stale), stream);
            }
        }
        let fill = self.fill(route, way, address, (parts, request.as_ref()), (&stream, timing));
        let method = way.begun.as_ref().map_or(&Method::GET, |begun| &begun.method);
        let coder = match request {
            Some(request) if route.cache.compress && !way.renewal && !stream.is_end_stream() => compress::choose(
                &route.shelf.tallies.coders,
                method,
                &request,
                parts.status,
                &mut parts.headers,
                &stream.size_hint(),
            ),
            _ => None,
        };
        let ended = stream.is_end_stream();
        let body = Incoming::Direct(stream);
        match (fill, ended) {
            (Some(fill), true) => {
                fill.finish();
                Taken::On(Through::new(body, None, coder))
            }
            (fill, _) => Taken::On(Through::new(body, fill, coder)),
        }
    }

    /// What will be kept of an answer, if it may be.
    fn fill(
        self: &Arc<Self>,
        route: &CompiledRoute,
        way: &mut Way,
        address: Address<'_>,
        (parts, request): (&mut Parts, Option<&HeaderMap>),
        (stream, timing): (&AnswerStream, Timing),
    ) -> Option<Fill> {
        let begun = way.begun.as_ref().filter(|begun| begun.method == Method::GET)?;
        let length = stream.size_hint().exact();
        let may_spill = says_how_long(parts) && self.may_spill(route, parts);
        let large = length.is_some_and(|length| length > length_of(LARGE_BYTES)) && may_spill;
        let fits = stream.is_delimited() && (large || length.is_none_or(|length| length <= self.largest_in_memory()));
        let agreed = fits.then(|| agreed(request, parts, timing)).flatten();
        let Some(agreed) = agreed else {
            // Only of one for whom others wait: parts and conditional answers say nothing of the whole.
            if way.flight.take().is_some() {
                self.note_not_kept(begun.hash);
            }
            if way.stale.take().is_some() && parts.status.is_success() {
                route.shelf.invalidate(&address.key(address.scheme));
            }
            return None;
        };
        let key = address.key(address.scheme);
        let known = self.is_kept(begun.hash, timing.came_ms);
        let into = match large {
            true => {
                // It goes at the pace of its client, so nobody is to wait for it.
                way.flight = None;
                Gathered::File(self.write(&route.shelf, &key, length)?)
            }
            false => {
                let expected = usize::try_from(length.unwrap_or(0)).unwrap_or(0);
                let room = route.shelf.tallies.filling.borrow(0)?;
                self.note_kept(begun.hash, timing.came_ms);
                Gathered::Memory {
                    data: Vec::with_capacity(expected.min(FIRST_BYTES)),
                    room,
                }
            }
        };
        let fill = Fill {
            cache: Arc::clone(self),
            shelf: Arc::clone(&route.shelf),
            kept: Some(Box::new(kept(key.into(), route, parts, agreed))),
            since: begun.since,
            hash: begun.hash,
            known,
            into: Some(into),
            may_spill,
            failed: false,
            flight: way.flight.take(),
        };
        parts.headers.insert(X_WEIR_CACHE, HeaderValue::from_static("miss"));
        Some(fill)
    }

    /// Whether an answer is kept in a file where it is large. What can be compressed is not: it would go out
    /// as it is.
    fn may_spill(&self, route: &CompiledRoute, parts: &Parts) -> bool {
        let head = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        self.disk.as_ref().is_some_and(|disk| disk.is_ready())
            && !(route.cache.compress && compress::is_compressible(parts.status, &parts.headers))
            && parts.headers.iter().map(head).sum::<usize>() <= LARGEST_HEAD_BYTES
    }

    /// The instance says that what is kept still holds (RFC 9111, 4.3.4).
    fn freshen(
        &self,
        route: &CompiledRoute,
        way: &mut Way,
        entry: &Arc<Entry>,
        request: Option<&HeaderMap>,
        parts: &Parts,
        timing: Timing,
    ) -> Arc<Entry> {
        way.flight = None;
        if speaks_of_another(entry, parts) {
            // What it says does not belong to this body.
            route.shelf.invalidate(&entry.key);
            return Arc::clone(entry);
        }
        let mut headers = entry.headers.clone();
        for name in parts.headers.keys().filter(|name| may_freshen(name)) {
            headers.remove(name);
            for value in parts.headers.get_all(name) {
                let (name, value) = alone(name, value);
                headers.append(name, value);
            }
        }
        let since = way.begun.as_ref().map_or(0, |begun| begun.since);
        let asked = way.client.as_ref().or(request).map(Asked::of);
        let terms = asked.and_then(|asked| policy::terms(&asked, entry.status, &headers, timing));
        if let Some(terms) = terms {
            let fresh = entry.with(terms, headers.clone());
            if let Some(fresh) = self.shelves.put(&route.shelf, fresh, since) {
                return fresh;
            }
        }
        // It goes to this client, with all that it is told: a new cookie, that it may not be kept.
        route.shelf.invalidate(&entry.key);
        Arc::new(entry.with(Terms::of_one_answer(&headers, timing), headers))
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(crate::config::CACHE_BYTES, None)
    }
}

impl Hit {
    fn new(entry: Arc<Entry>, outcome: Outcome) -> Self {
        Self { entry, outcome }
    }
}

impl Way {
    /// Nobody waits any more for what this request would fetch.
    pub(crate) fn leave_the_lead(&mut self) {
        self.flight = None;
    }

    /// Whether nobody waits for the answer.
    pub(crate) fn is_renewal(&self) -> bool {
        self.renewal
    }

    /// What the client said, where the instance was asked something else.
    pub(crate) fn take_client(&mut self) -> Option<HeaderMap> {
        self.client.take()
    }

    /// The method of a request that is for the cache.
    pub(crate) fn method(&self) -> Method {
        self.begun.as_ref().map_or(Method::GET, |begun| begun.method.clone())
    }

    /// What stands in for an answer that cannot be had.
    pub(crate) fn stand_in(&mut self) -> Option<Hit> {
        let entry = self.stale.take()?;
        stands_in(&entry).then(|| Hit::new(entry, Outcome::Stale))
    }

    /// Has the instance asked whether an answer still holds, in place of what the client wants to
    /// know.
    pub(crate) fn ask_again(&self, headers: &mut HeaderMap) {
        let Some(entry) = &self.stale else { return };
        for name in [
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
        ] {
            headers.remove(name);
        }
        for (condition, validator) in [
            (header::IF_NONE_MATCH, header::ETAG),
            (header::IF_MODIFIED_SINCE, header::LAST_MODIFIED),
        ] {
            if let Some(value) = entry.headers.get(validator) {
                headers.insert(condition, value.clone());
            }
        }
    }

    fn revalidate(&mut self, entry: Arc<Entry>, headers: &mut HeaderMap) {
        self.client.get_or_insert_with(|| headers.clone());
        self.revalidates =
            entry.headers.contains_key(header::ETAG) || entry.headers.contains_key(header::LAST_MODIFIED);
        self.stale = Some(entry);
        if self.revalidates {
            self.ask_again(headers);
        }
    }

    /// The request is again as the client made it.
    fn take_back(&mut self, headers: &mut HeaderMap) {
        if let Some(client) = self.client.take() {
            *headers = client;
        }
        (self.stale, self.revalidates) = (None, false);
    }
}

impl Outcome {
    fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
        })
    }
}

fn find(route: &CompiledRoute, key: &str, request: &HeaderMap) -> Option<Arc<Entry>> {
    let selected = |entry: &Entry| {
        let readable = !matches!(&entry.body, StoredBytes::File(file) if file.is_broken());
        readable && entry.deployment == route.cache.deployment && policy::selects(&entry.selecting, request)
    };
    route.shelf.find(key, selected)
}

/// A stale answer, and who fetches a newer one unless somebody does.
fn renew(route: &CompiledRoute, key: &str, way: &Way, entry: Arc<Entry>) -> Look {
    let hit = Hit::new(Arc::clone(&entry), Outcome::Stale);
    let Ok(flight) = route.shelf.take_off(key, LONGEST_WAIT) else {
        return Look::Answer(hit);
    };
    let renewal = Way {
        begun: way.begun.clone().map(|begun| Begun {
            method: Method::GET,
            ..begun
        }),
        revalidates: true,
        stale: Some(entry),
        flight: Some(flight),
        renewal: true,
        ..Way::default()
    };
    Look::Renew(hit, Box::new(renewal))
}

/// Whether what is kept can be an answer to it at all.
fn may_be_kept(request: &Request<RequestBody>) -> bool {
    let for_apps = [header::UPGRADE, header::IF_MATCH, header::IF_UNMODIFIED_SINCE];
    matches!(*request.method(), Method::GET | Method::HEAD)
        && request.body().is_empty()
        && !for_apps.iter().any(|name| request.headers().contains_key(name))
}

/// Whether others may wait for this request's answer, and it for theirs: not where it is likely that
/// each gets another one, and where it gets less than the whole.
fn may_lead(asked: &Asked, request: &Request<RequestBody>) -> bool {
    let partial = [header::RANGE, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE];
    *request.method() == Method::GET
        && !asked.cookie
        && !asked.authorization
        && !partial.iter().any(|name| request.headers().contains_key(name))
}

/// Whether it may answer where no instance can. What was purged meanwhile, or replaced, may not.
fn stands_in(entry: &Entry) -> bool {
    !entry.is_gone() && entry.terms.holds_on_error(unix_ms())
}

/// Most answers say nothing of it, and must not cost more than this look.
fn says_how_long(parts: &Parts) -> bool {
    parts.headers.contains_key(header::CACHE_CONTROL) || parts.headers.contains_key(header::EXPIRES)
}

/// On what terms an answer is kept, and for which requests; none if it is not. So it is where nobody knows
/// what the request said.
fn agreed(request: Option<&HeaderMap>, parts: &Parts, timing: Timing) -> Option<(Terms, policy::Selecting)> {
    let request = request.filter(|_| says_how_long(parts))?;
    let terms = policy::terms(&Asked::of(request), parts.status, &parts.headers, timing)?;
    Some((terms, policy::selecting(&parts.headers, request)?))
}

/// Whether a 304 is about another body than the one that is kept (RFC 9111, 4.3.4).
fn speaks_of_another(entry: &Entry, parts: &Parts) -> bool {
    let tags = (entry.headers.get(header::ETAG), parts.headers.get(header::ETAG));
    let opaque = |tag: &HeaderValue| answer::opaque(tag.as_bytes()).to_vec();
    matches!(tags, (Some(kept), Some(said)) if opaque(kept) != opaque(said))
}

fn length_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn is_failure(status: StatusCode) -> bool {
    matches!(status.as_u16(), 500 | 502 | 503 | 504)
}

/// What a 304 may change of what is kept (RFC 9111, 3.2).
fn may_freshen(name: &HeaderName) -> bool {
    !matches!(
        *name,
        header::CONTENT_LENGTH | header::CONTENT_ENCODING | header::CONTENT_TYPE | header::CONTENT_RANGE | header::VARY
    ) && !is_of_one_request(name)
}

/// What belongs to one request, and is never given to another one.
fn is_of_one_request(name: &HeaderName) -> bool {
    *name == X_REQUEST_ID || *name == header::AGE || name.as_str().starts_with("x-weir")
}

fn kept(key: Box<str>, route: &CompiledRoute, parts: &Parts, (terms, selecting): (Terms, policy::Selecting)) -> Kept {
    let keeps = |(name, _): &(&HeaderName, &HeaderValue)| !is_of_one_request(name);
    let fields = parts.headers.iter().filter(keeps);
    let mut headers: HeaderMap = fields.map(|(name, value)| alone(name, value)).collect();
    headers.remove(header::CONTENT_LENGTH);
    if !headers.contains_key(header::DATE) {
        let since = Duration::from_millis(u64::try_from(unix_ms()).unwrap_or(0));
        let now = httpdate::fmt_http_date(std::time::SystemTime::UNIX_EPOCH + since);
        if let Ok(now) = HeaderValue::from_str(&now) {
            headers.insert(header::DATE, now);
        }
    }
    Kept {
        key,
        deployment: route.cache.deployment,
        status: parts.status,
        headers,
        body: StoredBytes::Fresh(Bytes::new()),
        terms,
        selecting,
    }
}

/// A field that does not hold on to the buffer in which it came, which may be much larger.
fn alone(name: &HeaderName, value: &HeaderValue) -> (HeaderName, HeaderValue) {
    (
        HeaderName::from_bytes(name.as_str().as_bytes()).unwrap_or_else(|_| name.clone()),
        HeaderValue::from_bytes(value.as_bytes()).unwrap_or_else(|_| value.clone()),
    )
}

fn range(purge: &CachePurge) -> Range<'_> {
    let path = match purge.path.as_deref() {
        None => Where::Beginning(""),
        Some(path) => match path.strip_suffix('*') {
            Some(beginning) => Where::Beginning(beginning),
            None => Where::Whole(path),
        },
    };
    Range {
        host: purge.host.as_deref(),
        path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_nobody_knows_what_the_request_said_nothing_is_kept() {
        let answer = http::Response::builder().header("cache-control", "max-age=60").body(());
        let (parts, ()) = answer.unwrap().into_parts();
        let timing = Timing {
            asked_ms: 0,
            came_ms: 0,
        };
        let mut request = HeaderMap::new();
        assert!(agreed(Some(&request), &parts, timing).is_some());
        // What it may have said.
        request.insert(header::COOKIE, HeaderValue::from_static("user=1"));
        assert!(agreed(Some(&request), &parts, timing).is_none());
        assert!(agreed(None, &parts, timing).is_none());
    }
}
