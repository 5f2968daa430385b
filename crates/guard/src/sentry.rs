//! The guard's place on the way of a request.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use weir_model::guard::{GuardRule, GuardTrip};
use weir_model::{EnvironmentId, InstanceId, UnixMillis};

use crate::background;
use crate::circle::Circle;
use crate::descent::{Descent, RootId, scatter};
use crate::flow::{Call, Flow, Judgement, TargetState, rule_limit};
use crate::lineage::{Lineage, LineageKey, trace_id};
use crate::repeats::ContentHash;
use crate::residents::Residents;
use crate::roots::{Charge, Found, Roots, background_root, has_budget};
use crate::seat::{Boarding, Kind, Label, Maker, Parents, Place, Seat, Trail};
use crate::target::{Counter, Target};
use crate::trips::{Finding, Outcome, Trips};

/// Watches the calls that instances make to addresses of this Weir. Cheap to clone. Bounded:
/// besides what is in flight, at most 4,096 roots (of up to 4.5 KiB), 1,024 services and 4,096
/// pairs of services in circles, 64 trips; what was quiet for longest is forgotten first.
#[derive(Debug, Clone)]
pub struct Sentry {
    pub(crate) inner: Arc<Inner>,
}

/// What a sentry begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Threads that call it; each passes its number from 0 as `shard`.
    pub shards: usize,
    /// The wall clock when the callers' clock showed 0 microseconds.
    pub unix_ms_at_zero: UnixMillis,
    /// Signs lineages.
    pub key: LineageKey,
}

#[derive(Debug)]
pub(crate) struct Inner {
    shards: usize,
    unix_ms_at_zero: UnixMillis,
    lanes: Box<[Arc<Lane>]>,
    chance: AtomicU64,
    pub(crate) targets: Mutex<HashMap<TargetName, Arc<Target>>>,
    next_target: AtomicU32,
    pub(crate) seats: Mutex<HashMap<InstanceId, Arc<Seat>>>,
    /// Those that are routed or paid for.
    pub(crate) residents: Mutex<Residents>,
    pub(crate) addresses: ArcSwap<Addresses>,
    descents: Arc<Descents>,
    flow: Mutex<Flow>,
    trips: Mutex<Trips>,
}

/// Instances by address. Nobody from outside chooses the keys, so that a quick hash is enough.
pub(crate) type Addresses = HashMap<IpAddr, Arc<Seat>, BuildHasherDefault<AddressHasher>>;

/// Spreads the bytes of an address.
#[derive(Debug, Default)]
pub(crate) struct AddressHasher(u64);

impl Hasher for AddressHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = scatter(self.0 ^ u64::from_le_bytes(word));
        }
    }

    fn write_isize(&mut self, number: isize) {
        // Which kind of address it is; its bytes say enough.
        let _ = number;
    }

    fn write_usize(&mut self, number: usize) {
        // How long it is; the same.
        let _ = number;
    }
}

/// The environment and `app.process`.
pub(crate) type TargetName = (EnvironmentId, Box<str>);

/// What one shard has of its own, so that visitors' requests share nothing with other shards.
#[derive(Debug)]
struct Lane {
    /// The last instant that it has seen, in microseconds.
    clock: Counter,
    next_root: Counter,
    descents: Arc<Descents>,
}

#[derive(Debug)]
struct Descents {
    roots: Roots,
    key: LineageKey,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Caller {
    /// Someone from outside.
    Visitor,
    /// Whoever has this address: an instance, or else a visitor.
    Address(IpAddr),
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The method.
    pub method: &'a str,
    /// The host's name.
    pub host: &'a str,
    /// The path, without the query: it is shown in evidence.
    pub path: &'a str,
    /// The value of [`LINEAGE_HEADER`](crate::LINEAGE_HEADER), if it came with one.
    pub lineage: Option<&'a str>,
    /// The value of `traceparent`, if it came with one.
    pub traceparent: Option<&'a str>,
    /// What it asks for, if that is known; only calls of instances need it.
    pub content: Option<ContentHash>,
}

/// Whether a request may go on.
#[derive(Debug)]
pub enum Verdict {
    /// It may.
    Pass(Passage),
    /// It is a call of an instance, and part of a runaway.
    Refuse(Arc<GuardTrip>),
}

/// A request on its way. Dropped, it has ended at the last instant that its shard has seen.
#[derive(Debug)]
#[must_use = "a request that is not bound is nobody's parent"]
pub struct Passage {
    root: RootId,
    began_us: u64,
    trace: u128,
    call: Option<Box<InternalCall>>,
    place: Option<Place>,
    lane: Arc<Lane>,
    /// The rule's limit of descendants, for the lineage header.
    descendants: u64,
}

/// What only calls of instances carry.
#[derive(Debug)]
struct InternalCall {
    sentry: Sentry,
    target: u32,
    /// Whose call it is, and the requests that may have made it.
    maker: Option<(Arc<Seat>, Vec<Maker>)>,
    descent: Descent,
    depth: u32,
    direct_us: u64,
    trail: Arc<Trail>,
    told: Option<RootId>,
    /// Whether the flow counts it.
    counted: bool,
    children: Vec<(u32, u64)>,
    bound_us: Option<u64>,
}

impl Sentry {
    /// A sentry that knows nobody.
    pub fn new(start: Start) -> Self {
        let shards = start.shards.max(1);
        let descents = Arc::new(Descents {
            roots: Roots::new(),
            key: start.key,
        });
        let lane = |_| {
            Arc::new(Lane {
                clock: Counter::default(),
                next_root: Counter::default(),
                descents: Arc::clone(&descents),
            })
        };
        Self {
            inner: Arc::new(Inner {
                shards,
                unix_ms_at_zero: start.unix_ms_at_zero,
                lanes: (0..shards).map(lane).collect(),
                chance: AtomicU64::new(0),
                targets: Mutex::default(),
                next_target: AtomicU32::new(1),
                seats: Mutex::default(),
                residents: Mutex::default(),
                addresses: ArcSwap::default(),
                descents,
                flow: Mutex::default(),
                trips: Mutex::default(),
            }),
        }
    }

    /// The target `app.process`; the same for the same name while anybody keeps it.
    pub fn target(&self, environment: EnvironmentId, text: &str) -> Arc<Target> {
        let mut targets = lock(&self.inner.targets);
        let target = targets.entry((environment, text.into())).or_insert_with(|| {
            let number = self.inner.next_target.fetch_add(1, Ordering::Relaxed);
            Arc::new(Target::new(number, environment, text, self.inner.shards))
        });
        Arc::clone(target)
    }

    /// The seat of an instance that [`update`](Self::update) has learned of; one without a name
    /// for another.
    pub fn seat(&self, instance: InstanceId) -> Arc<Seat> {
        let mut seats = lock(&self.inner.seats);
        let nowhere = || EnvironmentId::from_parts(0, 0);
        let seat = seats
            .entry(instance)
            .or_insert_with(|| Arc::new(self.new_seat(instance, nowhere(), "")));
        Arc::clone(seat)
    }

    /// Whether an address is that of an instance.
    pub fn internal(&self, address: IpAddr) -> bool {
        self.inner.addresses.load().contains_key(&address)
    }

    /// Judges a request that has come, once, however often it is tried. Visitors always pass.
    pub fn arrive(&self, shard: usize, now_us: u64, caller: Caller, target: &Arc<Target>, ask: &Ask<'_>) -> Verdict {
        let inner = &*self.inner;
        let shard = shard % inner.lanes.len();
        let lane = &inner.lanes[shard];
        lane.clock.0.store(now_us, Ordering::Relaxed);
        let lineage = ask.lineage.and_then(|text| inner.descents.key.read(text));
        let seat = match caller {
            Caller::Visitor => None,
            Caller::Address(address) => inner.addresses.load().get(&address).map(Arc::clone),
        };
        if seat.is_some() || lineage.is_some() {
            return self.judge(shard, now_us, seat.as_ref(), target, ask, lineage);
        }
        target.count_visitor(shard);
        let count = lane.next_root.0.fetch_add(1, Ordering::Relaxed);
        Verdict::Pass(Passage {
            root: root_id(shard, count),
            began_us: now_us,
            trace: ask.traceparent.map_or(0, trace_id),
            call: None,
            place: None,
            lane: Arc::clone(lane),
            descendants: target.descendants(),
        })
    }

    /// The latest trips, oldest first; at most 64.
    pub fn trips(&self) -> Vec<GuardTrip> {
        lock(&self.inner.trips).latest()
    }

    /// How the calls at a target stand; none for a target that is not known.
    pub fn state(&self, environment: EnvironmentId, text: &str, now_us: u64) -> Option<TargetState> {
        let target = lock(&self.inner.targets).get(&(environment, text.into())).cloned()?;
        Some(lock(&self.inner.flow).state(target.number, now_us))
    }

    /// A call of an instance, or one that proves by its lineage to descend from one.
    fn judge(
        &self,
        shard: usize,
        now_us: u64,
        seat: Option<&Arc<Seat>>,
        target: &Arc<Target>,
        ask: &Ask<'_>,
        lineage: Option<Lineage>,
    ) -> Verdict {
        let inner = &*self.inner;
        let rules = target.rules();
        let trace = ask.traceparent.map_or(0, trace_id);
        let chance = inner.chance.fetch_add(1, Ordering::Relaxed);
        let parents = seat.map_or_else(Parents::none, |seat| seat.parents(now_us, trace, chance));
        // A header never takes the place of what is seen: an instance that borrowed that of another
        // request would spread its repeats over roots that are not its own.
        let descent = match (&parents.descent, lineage) {
            (Some(descent), _) => descent.clone(),
            (None, Some(lineage)) if seat.is_none() => Descent::One(lineage.root),
            (None, _) => Descent::One(background_root(target.number)),
        };
        let told_depth = lineage.map_or(0, |lineage| lineage.depth);
        let traced_depth = parents.traced.map_or(0, |(_, depth)| depth);
        let depth = parents.depth.max(told_depth).max(traced_depth).saturating_add(1);
        let trail = extended(&parents, seat.map(Arc::as_ref), target, ask);
        let charge = Charge {
            now_us,
            limit: rules.descendants,
            content: ask.content.map(|content| content.at(target.number)),
            repeats: rules.repeats,
        };
        let mut broken = Broken::new();
        if depth > rules.depth {
            broken.push(Break::of(GuardRule::Depth, u64::from(rules.depth), u64::from(depth)));
        }
        let attributed = seat.is_some().then_some(&descent);
        self.charge(&parents, attributed, lineage, charge, &mut broken);
        let mut counted = false;
        if broken.iter().all(|one| one.warning) || !rules.enabled {
            let call = Call {
                now_us,
                from: seat.map_or(0, |seat| seat.target.number),
                internal: parents.internal,
                direct: if parents.has_chosen() { 0 } else { parents.internal },
                depth,
                background: parents.background,
            };
            let Judgement { stop, near_milli } = lock(&inner.flow).arrive(target, &rules, call);
            counted = stop.is_none() || !rules.enabled;
            broken.extend(stop.map(|stop| Break::of(stop.rule, rule_limit(stop.rule), stop.measured)));
            broken.extend(near_milli.map(|near| Break {
                warning: true,
                ..Break::of(GuardRule::Reproduction, Circle::warning_limit(), near)
            }));
        }
        if let Some(trip) = self.tell(target, rules.enabled, now_us, broken, &trail) {
            return Verdict::Refuse(trip);
        }
        if let (Some(seat), true) = (seat, parents.has_chosen()) {
            seat.add_child(&parents, target.number, parents.internal);
        }
        let told = lineage
            .map(|lineage| lineage.root)
            .or(parents.traced.map(|(root, _)| root));
        Verdict::Pass(Passage {
            root: told.unwrap_or_else(|| descent.heaviest()),
            began_us: now_us,
            trace,
            call: Some(Box::new(InternalCall {
                sentry: self.clone(),
                target: target.number,
                maker: seat.map(|seat| (Arc::clone(seat), parents.makers)),
                descent,
                depth,
                direct_us: parents.direct_us,
                trail: Arc::new(trail),
                told,
                counted,
                children: Vec::new(),
                bound_us: None,
            })),
            place: None,
            lane: Arc::clone(&inner.lanes[shard]),
            descendants: rules.descendants,
        })
    }

    /// Records what was broken, and what comes close. Gives the first of it for which a call is to
    /// be refused.
    fn tell(
        &self,
        target: &Target,
        enabled: bool,
        now_us: u64,
        broken: Broken,
        trail: &Trail,
    ) -> Option<Arc<GuardTrip>> {
        for one in broken {
            let outcome = match (one.warning, enabled) {
                (true, _) => Outcome::Warned,
                (false, true) => Outcome::Refused,
                (false, false) => Outcome::Seen,
            };
            let found = Finding {
                rule: one.rule,
                limit: one.limit,
                measured: one.measured,
                at_ms: self.unix_ms(now_us),
                outcome,
            };
            let trip = lock(&self.inner.trips).record(target, found, || trail.told_to(target.environment));
            if let Some(trip) = trip.filter(|_| outcome == Outcome::Refused) {
                return Some(trip);
            }
        }
        None
    }

    /// Records that an instance works although nobody asked anything of it: so many thousandths of
    /// a core. The evidence is the caller's.
    pub fn note_background(&self, target: &Target, now_us: u64, milli: u64, evidence: Vec<String>) {
        let found = Finding {
            rule: GuardRule::Background,
            limit: background::SHARE_MILLI,
            measured: milli,
            at_ms: self.unix_ms(now_us),
            outcome: Outcome::Seen,
        };
        lock(&self.inner.trips).record(target, found, || evidence);
    }

    /// The wall clock at an instant of the callers' clock.
    pub fn unix_ms(&self, now_us: u64) -> UnixMillis {
        self.inner.unix_ms_at_zero + i64::try_from(now_us / 1000).unwrap_or(0)
    }

    /// Charges a call by attribution, if it is an instance's, and besides to the root that it
    /// names itself.
    fn charge(
        &self,
        parents: &Parents,
        attributed: Option<&Descent>,
        lineage: Option<Lineage>,
        charge: Charge,
        broken: &mut Broken,
    ) {
        let roots = &self.inner.descents.roots;
        let mut found = attributed.map_or_else(Found::default, |descent| roots.charge(descent, charge));
        let mut told = |root, budget| {
            let more = roots.charge_told(root, budget, charge);
            found.descendants = found.descendants.max(more);
        };
        if let Some(lineage) = lineage {
            told(lineage.root, Some(lineage.budget));
        } else if let Some((root, _)) = parents.traced {
            told(root, None);
        }
        let repeats = |times: u32, limit: u32| Break::of(GuardRule::Repeats, u64::from(limit), u64::from(times));
        broken.extend(found.repeats.map(|times| repeats(times, charge.repeats)));
        broken.extend(
            found
                .descendants
                .map(|(measured, limit)| Break::of(GuardRule::Descendants, limit, measured)),
        );
        broken.extend(found.repeats_near.map(|times| Break {
            warning: true,
            ..repeats(times, charge.repeats_warned())
        }));
    }

    /// Trips so far.
    #[cfg(feature = "traces")]
    pub(crate) fn trip_count(&self) -> u64 {
        lock(&self.inner.trips).count()
    }

    pub(crate) fn new_seat(&self, instance: InstanceId, environment: EnvironmentId, text: &str) -> Seat {
        Seat::new(instance, self.target(environment, text), self.inner.shards)
    }
}

/// Rules that a call breaks or comes close to. Hardly ever any.
type Broken = Vec<Break>;

/// One of them, with its limit and what was measured.
#[derive(Debug, Clone, Copy)]
struct Break {
    rule: GuardRule,
    limit: u64,
    measured: u64,
    /// It only comes close.
    warning: bool,
}

impl Break {
    fn of(rule: GuardRule, limit: u64, measured: u64) -> Self {
        Self {
            rule,
            limit,
            measured,
            warning: false,
        }
    }
}

/// The evidence of a call: that of the parent with the least depth, and the call itself.
fn extended(parents: &Parents, seat: Option<&Seat>, target: &Target, ask: &Ask<'_>) -> Trail {
    let label = Label(ask.method, ask.host, ask.path);
    match (&parents.trail, seat) {
        (Some(trail), _) => trail.extended(target.environment, label),
        (None, Some(seat)) => Trail::of_own_accord(&seat.target).extended(target.environment, label),
        (None, None) => Trail::begin_with(target.environment, label),
    }
}

fn root_id(shard: usize, count: u64) -> RootId {
    // 15 bits of shard, 48 of count; the topmost is that of roots without a budget.
    ((shard as u64 & 0x7fff) << 48) | (count & 0xffff_ffff_ffff)
}

/// The addresses by which this machine calls itself. The loopback has others.
pub(crate) fn is_own(address: &IpAddr) -> bool {
    address.is_unspecified() || [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()].contains(address)
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Passage {
    /// An instance was chosen: the request is in flight there, and may be the parent of calls.
    /// Another attempt at another instance moves it there.
    pub fn bind(&mut self, seat: &Seat, shard: usize, now_us: u64, ask: &Ask<'_>) {
        self.unbind(now_us);
        let (kind, descent, depth, direct_us, trail) = match &mut self.call {
            None => (Kind::Visitor, Descent::One(self.root), 0, self.began_us, None),
            Some(call) => {
                call.bound_us.get_or_insert(now_us);
                let trail = Some(Arc::clone(&call.trail));
                (Kind::Internal, call.descent.clone(), call.depth, call.direct_us, trail)
            }
        };
        self.place = Some(seat.board(
            shard,
            Boarding {
                kind,
                descent,
                depth,
                direct_us,
                trace: self.trace,
                label: Label(ask.method, ask.host, ask.path),
                trail,
            },
        ));
    }

    /// The lineage header for the request to the app; none for what instances do of their own
    /// accord, which has no budget.
    pub fn lineage(&self) -> Option<String> {
        let descents = &self.lane.descents;
        let (root, depth) = match &self.call {
            None => (self.root, 0),
            Some(call) => (call.told.unwrap_or(self.root), call.depth),
        };
        has_budget(root).then(|| {
            let budget = descents.roots.left(root, self.descendants);
            descents.key.write(Lineage { root, depth, budget })
        })
    }

    /// The answer has ended.
    pub fn end(mut self, now_us: u64) {
        self.finish(now_us);
    }

    fn unbind(&mut self, now_us: u64) {
        if let Some(place) = self.place.take() {
            let landed = place.leave(now_us);
            if let Some(call) = &mut self.call {
                call.children.extend(landed.children);
            }
        }
    }

    fn finish(&mut self, now_us: u64) {
        self.unbind(now_us);
        let Some(call) = self.call.take() else { return };
        if let Some((seat, makers)) = &call.maker {
            seat.answered(makers, now_us);
        }
        if call.counted {
            let served_us = call.bound_us.map(|bound_us| now_us.saturating_sub(bound_us));
            lock(&call.sentry.inner.flow).finish(call.target, served_us, &call.children);
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.place.is_some() || self.call.is_some() {
            let now_us = self.lane.clock.0.load(Ordering::Relaxed);
            self.finish(now_us);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;
    use weir_model::route::MeteredInstance;
    use weir_model::route::RouteSnapshot;
    use weir_model::{AppName, ProcessName};

    use super::*;
    use crate::descent::WHOLE;
    use crate::roots::MOST_ROOTS;

    fn sentry(services: u8) -> (Sentry, Vec<Arc<Target>>, Vec<Arc<Seat>>) {
        let sentry = Sentry::new(Start {
            shards: 3,
            unix_ms_at_zero: 0,
            key: LineageKey::new([1; 32]),
        });
        let metered = |number: u8| MeteredInstance {
            instance: InstanceId::from_parts(1, u128::from(number)),
            environment: EnvironmentId::from_parts(1, 1),
            app: AppName::new(&format!("app{number}")).unwrap(),
            process: ProcessName::new("web").unwrap(),
            memory_bytes: 1,
            cpu_milli: 1,
            grace_s: 10,
            address: Some(address(number)),
            frozen: false,
            stopping: false,
        };
        let snapshot = RouteSnapshot {
            metered: (0..services).map(metered).collect(),
            ..RouteSnapshot::default()
        };
        sentry.update(&snapshot);
        let seats: Vec<_> = snapshot
            .metered
            .iter()
            .map(|metered| sentry.seat(metered.instance))
            .collect();
        let targets = seats.iter().map(|seat| Arc::clone(&seat.target)).collect();
        (sentry, targets, seats)
    }

    fn address(number: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(10, 0, 0, number))
    }

    const ASK: Ask<'static> = Ask {
        method: "GET",
        host: "host",
        path: "/",
        lineage: None,
        traceparent: None,
        content: None,
    };

    fn pass(verdict: Verdict) -> Option<Passage> {
        match verdict {
            Verdict::Pass(passage) => Some(passage),
            Verdict::Refuse(_) => None,
        }
    }

    proptest! {
        /// Every call that has a request for its parent weighs on roots exactly once, however
        /// parents are mixed; refused ones too.
        #[test]
        fn the_weight_of_all_calls_is_charged(moves in prop::collection::vec((0..4_u8, 0..3_u8, 0..3_u8, 0..3_usize), 1..400)) {
            let (sentry, targets, seats) = sentry(3);
            // One visitor's request stays at each instance, so that no call is of its own accord.
            let mut flights: Vec<Passage> = Vec::new();
            let mut held = Vec::new();
            for (target, seat) in targets.iter().zip(&seats) {
                let mut passage = pass(sentry.arrive(0, 0, Caller::Visitor, target, &ASK)).unwrap();
                passage.bind(seat, 0, 0, &ASK);
                held.push(passage);
            }
            let mut calls = 0_u64;
            for (kind, from, to, shard) in moves {
                let to = usize::from(to);
                let caller = match kind {
                    0 => Caller::Visitor,
                    1 if !flights.is_empty() => {
                        flights.swap_remove(to % flights.len()).end(1);
                        continue;
                    }
                    _ => Caller::Address(address(from)),
                };
                calls += u64::from(caller != Caller::Visitor);
                if let Some(mut passage) = pass(sentry.arrive(shard, 1, caller, &targets[to], &ASK)) {
                    passage.bind(&seats[to], shard, 1, &ASK);
                    flights.push(passage);
                }
            }
            prop_assert_eq!(sentry.inner.descents.roots.charged(), calls * u64::from(WHOLE));
            let before = seats.iter().map(|seat| seat.in_flight()).sum::<usize>();
            prop_assert_eq!(before, flights.len() + held.len());
            drop((flights, held));
            prop_assert!(seats.iter().all(|seat| seat.in_flight() == 0));
        }
    }

    #[test]
    fn a_storm_of_roots_and_services_stays_within_the_bounds() {
        let (sentry, _, seats) = sentry(1);
        let environment = EnvironmentId::from_parts(1, 2);
        for number in 0..20_000_u64 {
            let target = sentry.target(environment, &format!("app{number}.web"));
            let mut visitor = pass(sentry.arrive(0, number, Caller::Visitor, &target, &ASK)).unwrap();
            visitor.bind(&seats[0], 0, number, &ASK);
            drop(pass(sentry.arrive(
                0,
                number,
                Caller::Address(address(0)),
                &target,
                &ASK,
            )));
            visitor.end(number);
        }
        assert!(sentry.inner.descents.roots.len() <= MOST_ROOTS);
        let (nodes, edges) = lock(&sentry.inner.flow).sizes();
        assert!(nodes <= 1024 && edges <= 4096, "{nodes} {edges}");
        sentry.update(&RouteSnapshot::default());
        assert!(lock(&sentry.inner.targets).len() <= nodes + 1);
        assert!(sentry.trips().len() <= 64);
    }
}
