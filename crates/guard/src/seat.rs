//! What is in flight at an instance: the candidate parents of the calls that it makes.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use weir_model::{EnvironmentId, InstanceId};

use crate::descent::{Descent, RootId, WHOLE, part, scatter};
use crate::roots::background_root;
use crate::target::Target;

/// A call from an instance that has nothing in flight is charged to what it served last, if that
/// is not longer ago.
pub(crate) const MEMORY_US: u64 = 30_000_000;
/// Longest label of a request in the evidence, in bytes.
const LONGEST_LABEL: usize = 160;
/// Labels kept of a chain, beside the first one.
const LAST_LABELS: usize = 7;
/// Parents among which a call is shared out at most; of more, every n-th is taken.
const MOST_PARENTS: usize = 32;
/// Roots remembered by each shard of an instance after they were served.
const RECENT: usize = 4;
/// A call so soon after another one was answered is made by the same hand.
const GOES_ON_US: u64 = 2_000;
/// So many in a row may look like it by chance.
const BY_CHANCE: u32 = 3;
/// Free places kept for the next requests, per shard of an instance.
const SPARE_PLACES: usize = 64;

/// What the guard remembers of one instance. Get it once per instance and keep it.
#[derive(Debug)]
pub struct Seat {
    instance: InstanceId,
    pub(crate) target: Arc<Target>,
    shards: Box<[Arc<SeatShard>]>,
    /// When it last called with nothing in flight, plus one; 0 for never.
    background_us: AtomicU64,
    /// When a call of it was answered that outlived every request that may have made it, plus one.
    outlived_us: AtomicU64,
    /// How many calls in a row came right after such an answer.
    going_on: AtomicU32,
}

/// The part of an instance's requests that one worker serves: its lock is hardly ever waited for.
#[derive(Debug, Default)]
pub(crate) struct SeatShard {
    state: Mutex<SeatState>,
}

#[derive(Debug, Default)]
struct SeatState {
    flights: Vec<Flight>,
    free: Vec<usize>,
    serial: u64,
    /// The roots served last, each once.
    recent: [Option<Served>; RECENT],
}

/// A root that was served.
#[derive(Debug, Clone, Copy)]
struct Served {
    root: RootId,
    at_us: u64,
    kind: Kind,
    direct_us: u64,
}

/// From whom a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Visitor,
    Internal,
}

/// A request in flight. A free place keeps the space of its texts for the next one.
#[derive(Debug)]
struct Flight {
    /// 0 where the place is free.
    serial: u64,
    kind: Kind,
    descent: Descent,
    depth: u32,
    direct_us: u64,
    trace: u128,
    label: String,
    trail: Option<Arc<Trail>>,
    /// Weight of its own calls, by the number of their target; for calls of instances only.
    children: Vec<(u32, u64)>,
}

/// What a flight is made of.
#[derive(Debug, Clone)]
pub(crate) struct Boarding<'a> {
    pub(crate) kind: Kind,
    pub(crate) descent: Descent,
    pub(crate) depth: u32,
    /// When the root was last known for certain to be at work: see [`Parents::background`].
    pub(crate) direct_us: u64,
    pub(crate) trace: u128,
    pub(crate) label: Label<'a>,
    pub(crate) trail: Option<Arc<Trail>>,
}

/// A request in words: method, host, path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Label<'a>(pub(crate) &'a str, pub(crate) &'a str, pub(crate) &'a str);

/// The evidence: the labels of a chain of calls, the middle left out.
#[derive(Debug)]
pub(crate) struct Trail {
    first: (EnvironmentId, Box<str>),
    last: Vec<(EnvironmentId, Arc<str>)>,
    left_out: u32,
}

/// A place in flight, to be given back.
#[derive(Debug)]
pub(crate) struct Place {
    shard: Arc<SeatShard>,
    index: usize,
    serial: u64,
}

/// What a flight leaves behind.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) children: Vec<(u32, u64)>,
}

/// From where a call may come.
#[derive(Debug)]
pub(crate) struct Parents {
    /// The roots, with their shares.
    pub(crate) descent: Option<Descent>,
    /// The least depth of a candidate.
    pub(crate) depth: u32,
    /// Weight of candidates that are calls of instances themselves.
    pub(crate) internal: u32,
    /// Whether the instance also calls of its own accord, so that no chain is certain.
    pub(crate) background: bool,
    /// When the root was last known for certain to be at work.
    pub(crate) direct_us: u64,
    /// The evidence of the candidate with the least depth.
    pub(crate) trail: Option<Arc<Trail>>,
    /// The candidate that carries the same trace: its root and depth.
    pub(crate) traced: Option<(RootId, u32)>,
    chosen: Vec<Maker>,
    /// All candidates, whoever asked for them.
    pub(crate) makers: Vec<Maker>,
}

/// A request that may have made a call: shard, place and serial.
pub(crate) type Maker = (usize, usize, u64);

impl Seat {
    pub(crate) fn new(instance: InstanceId, target: Arc<Target>, shards: usize) -> Self {
        Self {
            instance,
            target,
            shards: (0..shards.max(1)).map(|_| Arc::default()).collect(),
            background_us: AtomicU64::new(0),
            outlived_us: AtomicU64::new(0),
            going_on: AtomicU32::new(0),
        }
    }

    /// Which instance.
    pub fn instance(&self) -> InstanceId {
        self.instance
    }

    /// Of which process.
    pub fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn board(&self, shard: usize, boarding: Boarding<'_>) -> Place {
        let shard = &self.shards[shard % self.shards.len()];
        let mut state = shard.lock();
        state.serial += 1;
        let serial = state.serial;
        let index = match state.free.pop() {
            Some(index) => index,
            None => {
                state.flights.push(Flight::empty());
                state.flights.len() - 1
            }
        };
        state.flights[index].fill(serial, boarding);
        drop(state);
        Place {
            shard: Arc::clone(shard),
            index,
            serial,
        }
    }

    /// The candidate parents of a call that this instance makes now, and remembers where it has
    /// none. `trace` is 0 where the call carries no trace.
    pub(crate) fn parents(&self, now_us: u64, trace: u128, chance: u64) -> Parents {
        let mut parents = Parents::none();
        let mut candidates: Vec<(usize, usize, u64, Descent, Kind)> = Vec::new();
        let mut recent: Vec<Served> = Vec::new();
        for (number, shard) in self.shards.iter().enumerate() {
            let mut state = shard.lock();
            for (index, flight) in state
                .flights
                .iter_mut()
                .enumerate()
                .filter(|(_, flight)| flight.serial > 0)
            {
                candidates.push((number, index, flight.serial, flight.descent.clone(), flight.kind));
                if parents.trail.is_none() || flight.depth < parents.depth {
                    parents.depth = flight.depth;
                    parents.trail = Some(flight.trail(self.target.environment));
                }
                parents.direct_us = parents.direct_us.max(flight.direct_us);
                if trace != 0 && flight.trace == trace {
                    parents.traced = Some((flight.descent.heaviest(), flight.depth));
                }
            }
            recent.extend(
                state
                    .recent
                    .iter()
                    .flatten()
                    .filter(|served| now_us.saturating_sub(served.at_us) <= MEMORY_US),
            );
        }
        let outlived_us = self.outlived_us.swap(0, Ordering::Relaxed);
        let goes_on = outlived_us > 0 && now_us.saturating_sub(outlived_us) < GOES_ON_US;
        let before = match goes_on {
            true => self.going_on.fetch_add(1, Ordering::Relaxed),
            false => self.going_on.swap(0, Ordering::Relaxed),
        };
        if candidates.is_empty() || goes_on && before >= BY_CHANCE {
            self.background_us.store(now_us.saturating_add(1), Ordering::Relaxed);
        }
        let since = self.background_us.load(Ordering::Relaxed);
        parents.background = since > 0 && now_us.saturating_sub(since) < MEMORY_US;
        let own_accord = parents.background.then(|| self.of_own_accord(&recent, now_us));
        parents.share_out(candidates, own_accord, chance, now_us);
        parents
    }

    /// Remembers a call with the requests in flight that may have made it.
    pub(crate) fn add_child(&self, parents: &Parents, target: u32, weight: u32) {
        let count = parents.chosen.len() as u64;
        for (position, (shard, index, serial)) in parents.chosen.iter().enumerate() {
            let share = part(position as u64, count, u64::from(weight));
            let mut state = self.shards[*shard].lock();
            if let Some(flight) = state.flights.get_mut(*index).filter(|flight| flight.serial == *serial) {
                flight.add_child(target, share);
            }
        }
    }

    /// A call of this instance was answered; those may have made it. If none of them is in flight
    /// any more, whoever made it goes on without a request: a timer, or work after the answer.
    pub(crate) fn answered(&self, makers: &[Maker], now_us: u64) {
        let lasts = |(shard, index, serial): &Maker| {
            let state = self.shards[*shard].lock();
            state.flights.get(*index).is_some_and(|flight| flight.serial == *serial)
        };
        if !makers.iter().any(lasts) {
            self.outlived_us.store(now_us.saturating_add(1), Ordering::Relaxed);
        }
    }

    /// Requests in flight.
    #[cfg(test)]
    pub(crate) fn in_flight(&self) -> usize {
        let count = |shard: &Arc<SeatShard>| {
            let state = shard.lock();
            state.flights.len() - state.free.len()
        };
        self.shards.iter().map(count).sum()
    }

    /// From what the instance does of its own accord descends: from the roots that it served a
    /// moment ago, in equal shares, or from nothing but itself.
    fn of_own_accord(&self, recent: &[Served], now_us: u64) -> OwnAccord {
        // A chain through the background ends when its root was quiet for long, or a process that
        // polls itself would lengthen it forever.
        let known: Vec<&Served> = recent
            .iter()
            .filter(|served| now_us.saturating_sub(served.direct_us) <= MEMORY_US)
            .collect();
        let kind = recent
            .iter()
            .max_by_key(|served| served.at_us)
            .map_or(Kind::Visitor, |served| served.kind);
        let direct_us = known.iter().map(|served| served.direct_us).max().unwrap_or(now_us);
        let roots: Vec<Descent> = known.iter().map(|served| Descent::One(served.root)).collect();
        let itself = || Descent::One(background_root(self.target.number));
        OwnAccord {
            descent: Descent::of_parents(roots.iter(), now_us).unwrap_or_else(itself),
            kind,
            direct_us,
        }
    }
}

/// What an instance may do without being asked, as one more candidate.
#[derive(Debug)]
struct OwnAccord {
    descent: Descent,
    kind: Kind,
    direct_us: u64,
}

impl Parents {
    /// Those of a call from nowhere.
    pub(crate) fn none() -> Self {
        Self {
            descent: None,
            depth: 0,
            internal: 0,
            background: false,
            direct_us: 0,
            trail: None,
            traced: None,
            chosen: Vec::new(),
            makers: Vec::new(),
        }
    }

    /// Gives every candidate its share. What an instance may do of its own accord is one more.
    fn share_out(
        &mut self,
        mut candidates: Vec<(usize, usize, u64, Descent, Kind)>,
        own: Option<OwnAccord>,
        chance: u64,
        now_us: u64,
    ) {
        if candidates.len() > MOST_PARENTS {
            let step = candidates.len().div_ceil(MOST_PARENTS);
            let first = usize::try_from(scatter(chance) % step as u64).unwrap_or(0);
            candidates = candidates.into_iter().skip(first).step_by(step).collect();
        }
        match &own {
            Some(own) => {
                self.depth = 0;
                if candidates.is_empty() {
                    self.direct_us = own.direct_us;
                }
            }
            None => self.direct_us = now_us,
        }
        let total = (candidates.len() + usize::from(own.is_some())) as u64;
        let internal = candidates
            .iter()
            .filter(|candidate| candidate.4 == Kind::Internal)
            .count();
        let own_internal = own.as_ref().is_some_and(|own| own.kind == Kind::Internal);
        let internal = (internal + usize::from(own_internal)) as u64;
        self.internal = u32::try_from(internal * u64::from(WHOLE) / total.max(1)).unwrap_or(WHOLE);
        let all: Vec<&Descent> = candidates
            .iter()
            .map(|candidate| &candidate.3)
            .chain(own.as_ref().map(|own| &own.descent))
            .collect();
        self.descent = Descent::of_parents(all.into_iter(), chance);
        let all = candidates.iter();
        self.makers = all.map(|candidate| (candidate.0, candidate.1, candidate.2)).collect();
        let internal = candidates.iter().filter(|candidate| candidate.4 == Kind::Internal);
        self.chosen = internal
            .map(|candidate| (candidate.0, candidate.1, candidate.2))
            .collect();
    }

    /// Whether any of the weight lies on requests in flight that are calls themselves.
    pub(crate) fn has_chosen(&self) -> bool {
        !self.chosen.is_empty()
    }
}

impl SeatShard {
    fn lock(&self) -> MutexGuard<'_, SeatState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Ends the flight.
    pub(crate) fn leave(self, now_us: u64) -> Landed {
        let mut state = self.shard.lock();
        let state = &mut *state;
        let flight = &mut state.flights[self.index];
        if flight.serial != self.serial {
            return Landed { children: Vec::new() };
        }
        flight.serial = 0;
        flight.trail = None;
        let served = Served {
            root: flight.descent.heaviest(),
            at_us: now_us,
            kind: flight.kind,
            direct_us: flight.direct_us,
        };
        remember(&mut state.recent, served);
        let children = std::mem::take(&mut flight.children);
        state.free.push(self.index);
        if state.flights.len() > SPARE_PLACES && state.free.len() == state.flights.len() {
            state.flights.truncate(SPARE_PLACES);
            state.free.retain(|index| *index < SPARE_PLACES);
        }
        Landed { children }
    }
}

/// Replaces what is known of the same root, or else the oldest.
fn remember(recent: &mut [Option<Served>; RECENT], served: Served) {
    let same = recent
        .iter()
        .position(|known| known.is_some_and(|known| known.root == served.root));
    let oldest = || (0..RECENT).min_by_key(|place| recent[*place].map_or(0, |known| known.at_us));
    if let Some(place) = same.or_else(oldest) {
        recent[place] = Some(served);
    }
}

impl Flight {
    fn empty() -> Self {
        Self {
            serial: 0,
            kind: Kind::Visitor,
            descent: Descent::One(0),
            depth: 0,
            direct_us: 0,
            trace: 0,
            label: String::new(),
            trail: None,
            children: Vec::new(),
        }
    }

    fn fill(&mut self, serial: u64, boarding: Boarding<'_>) {
        self.serial = serial;
        self.kind = boarding.kind;
        self.descent = boarding.descent;
        self.depth = boarding.depth;
        self.direct_us = boarding.direct_us;
        self.trace = boarding.trace;
        self.trail = boarding.trail;
        self.label.clear();
        if self.trail.is_none() {
            boarding.label.write_to(&mut self.label);
        }
    }

    /// The evidence; that of a visitor's request is only made when it is needed.
    fn trail(&mut self, environment: EnvironmentId) -> Arc<Trail> {
        let label = &self.label;
        let trail = self
            .trail
            .get_or_insert_with(|| Arc::new(Trail::begin(environment, label)));
        Arc::clone(trail)
    }

    fn add_child(&mut self, target: u32, weight: u32) {
        if let Some((_, sum)) = self.children.iter_mut().find(|(known, _)| *known == target) {
            *sum += u64::from(weight);
        } else if self.children.len() < MOST_PARENTS {
            self.children.push((target, u64::from(weight)));
        }
    }
}

impl Label<'_> {
    fn write_to(self, text: &mut String) {
        text.push_str(self.0);
        text.push(' ');
        for part in [self.1, self.2] {
            let room = LONGEST_LABEL.saturating_sub(text.len());
            text.push_str(&part[..part.floor_char_boundary(room)]);
        }
    }

    fn to_text(self) -> String {
        let mut text = String::new();
        self.write_to(&mut text);
        text
    }
}

impl Trail {
    fn begin(environment: EnvironmentId, label: &str) -> Self {
        Self {
            first: (environment, label.into()),
            last: Vec::new(),
            left_out: 0,
        }
    }

    /// A trail of one request.
    pub(crate) fn begin_with(environment: EnvironmentId, label: Label<'_>) -> Self {
        Self::begin(environment, &label.to_text())
    }

    /// A trail that begins with what an instance does of its own accord.
    pub(crate) fn of_own_accord(target: &Target) -> Self {
        Self::begin(target.environment, &format!("{} of its own accord", target.text))
    }

    /// One call further.
    pub(crate) fn extended(&self, environment: EnvironmentId, label: Label<'_>) -> Self {
        let skip = usize::from(self.last.len() >= LAST_LABELS);
        let mut last: Vec<_> = Vec::with_capacity(LAST_LABELS);
        last.extend(self.last.iter().skip(skip).cloned());
        last.push((environment, label.to_text().into()));
        Self {
            first: self.first.clone(),
            last,
            left_out: self.left_out + u32::from(skip > 0),
        }
    }

    /// For people of one environment: what belongs to others is named, not shown.
    pub(crate) fn told_to(&self, environment: EnvironmentId) -> Vec<String> {
        let show = |owner: EnvironmentId, label: &str| match owner == environment {
            true => label.to_owned(),
            false => format!("a request of {owner}"),
        };
        let mut lines = vec![show(self.first.0, &self.first.1)];
        if self.left_out > 0 {
            lines.push(format!("… {} more …", self.left_out));
        }
        lines.extend(self.last.iter().map(|(owner, label)| show(*owner, label)));
        lines
    }
}
