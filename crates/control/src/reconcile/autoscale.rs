//! How many instances a process is to have, out of what is asked of it.
//!
//! [`Scaler`] is pure: bounds, what a node said and the instant come in, a number comes out.
//! - **Out at once**, as far as it takes: what is in flight and what waits, over the target of an
//!   instance.
//! - **In slowly**: to the most that was needed at any time of the last minute, each of the
//!   instances that stay at four fifths of the target. So what comes and goes within a minute
//!   starts and stops nothing, and a number that was just raised does not fall at once.
//! - **To nothing** where the process is stopped when it is quiet, after that time; and back as
//!   soon as somebody waits.
//! - Never below the least or above the most; nothing shrinks while a deployment is on its way, or
//!   while no node says what goes on.
//!
//! What it remembers may be lost: a new control begins with as many as there are.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;

use weir_model::route::Demand;
use weir_model::scaling::{Bounds, Idle};
use weir_model::{AppName, EnvironmentId, ProcessName, UnixMillis};

use super::lock;

/// What was needed within this time is kept.
const WINDOW_MS: i64 = 60_000;
/// Of the target, so much in a hundred is left to each instance that stays.
const CALM_PERCENT: u64 = 80;
/// Where there was no money for more, it is tried again after this time.
const NO_ROOM_MS: i64 = 30_000;
/// So many changes wait to be told at most.
const NEWS: usize = 20;

/// A process of an environment.
pub(super) type Key = (AppName, ProcessName);

/// Another number of instances, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) why: Why,
}

/// Why a number changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// So many requests are in flight or wait, in thousandths.
    Asked(u64),
    /// Fewer were enough for a minute.
    Calm,
    /// Nobody asked for it, for so many milliseconds.
    Quiet(u64),
    /// There is no money for more.
    NoRoom,
}

impl Change {
    /// The kind of event.
    pub(super) fn kind(&self) -> &'static str {
        match self.why {
            Why::NoRoom => "scaling.no-room",
            Why::Quiet(_) => "scaling.asleep",
            Why::Asked(_) if self.from == 0 => "scaling.awake",
            Why::Asked(_) => "scaling.out",
            Why::Calm => "scaling.in",
        }
    }

    /// What happens to a process, for people.
    pub(super) fn words(&self, (app, process): &Key) -> String {
        let Self { from, to, why } = self;
        match why {
            Why::Asked(_) if *from == 0 => format!("{app}.{process} wakes with {to}: it is asked for"),
            Why::Asked(milli) => format!(
                "{app}.{process} from {from} to {to}: {}.{} requests are in flight or wait",
                milli / 1_000,
                milli % 1_000 / 100
            ),
            Why::Calm => format!("{app}.{process} from {from} to {to}: fewer were enough for a minute"),
            Why::Quiet(ms) => format!("{app}.{process} is stopped: nobody asked for it for {} s", ms / 1_000),
            Why::NoRoom => format!("{app}.{process} stays at {to}: there is no money for {from}"),
        }
    }
}

/// The number of one process.
#[derive(Debug, Clone)]
pub(super) struct Scaler {
    count: u32,
    /// What was needed, newest last; numbers fall from the oldest to the newest, because what is
    /// followed by as much or more says nothing. So there are at most as many as instances.
    peaks: VecDeque<(UnixMillis, u32)>,
    awake_since_ms: UnixMillis,
    no_room_until_ms: UnixMillis,
}

impl Scaler {
    pub(super) fn new(count: u32, now_ms: UnixMillis) -> Self {
        Self {
            count,
            peaks: VecDeque::from([(now_ms, count)]),
            awake_since_ms: now_ms,
            no_room_until_ms: UnixMillis::MIN,
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// Decides by what a node says; `None`: none says anything.
    pub(super) fn decide(
        &mut self,
        bounds: &Bounds,
        demand: Option<Demand>,
        may_shrink: bool,
        now_ms: UnixMillis,
    ) -> Option<Change> {
        if !may_shrink {
            self.awake_since_ms = now_ms;
        }
        let from = self.count;
        let (wanted, why) = match demand {
            Some(demand) => self.follow(bounds, demand, may_shrink, now_ms),
            None => (from, Why::Calm),
        };
        let to = match wanted {
            0 if may_be_none(bounds) => 0,
            wanted => wanted.clamp(bounds.least, bounds.most),
        };
        if to == from {
            return None;
        }
        self.set(to, now_ms);
        Some(Change { from, to, why })
    }

    /// Begins anew with so many.
    fn set(&mut self, count: u32, now_ms: UnixMillis) {
        if count > self.count {
            self.peaks.clear();
            self.peaks.push_back((now_ms, count));
        }
        if self.count == 0 {
            self.awake_since_ms = now_ms;
        }
        self.count = count;
    }

    fn follow(&mut self, bounds: &Bounds, demand: Demand, may_shrink: bool, now_ms: UnixMillis) -> (u32, Why) {
        let asked = demand
            .in_flight_milli
            .saturating_add(demand.waiting.saturating_mul(1_000));
        let target = u64::from(bounds.target.max(1));
        let number = |per_instance: u64| u32::try_from(asked.div_ceil(per_instance)).unwrap_or(u32::MAX);
        let needed = number(target * 1_000);
        self.remember(number(target * 10 * CALM_PERCENT), now_ms);
        let idle_after_ms = i64::try_from(bounds.idle_after_ms).unwrap_or(i64::MAX);
        let is_quiet = demand.quiet_ms >= bounds.idle_after_ms
            && now_ms.saturating_sub(self.awake_since_ms) >= idle_after_ms
            && bounds.idle == Idle::Stop;
        if self.count == 0 {
            let is_asked = demand.waiting > 0 && now_ms >= self.no_room_until_ms;
            let wanted = if is_asked { needed.max(bounds.least) } else { 0 };
            return (wanted, Why::Asked(asked));
        }
        if is_quiet && may_shrink {
            return (0, Why::Quiet(demand.quiet_ms));
        }
        if needed > self.count && now_ms >= self.no_room_until_ms {
            return (needed, Why::Asked(asked));
        }
        let enough = self.peaks.front().map_or(self.count, |(_, needed)| *needed);
        if enough < self.count && may_shrink {
            return (enough.max(bounds.least), Why::Calm);
        }
        (self.count, Why::Calm)
    }

    fn remember(&mut self, needed: u32, now_ms: UnixMillis) {
        while self.peaks.back().is_some_and(|(_, earlier)| *earlier <= needed) {
            self.peaks.pop_back();
        }
        self.peaks.push_back((now_ms, needed));
        while self.peaks.len() > 1 && self.peaks.front().is_some_and(|(at_ms, _)| now_ms - at_ms >= WINDOW_MS) {
            self.peaks.pop_front();
        }
    }

    /// There was no money for more than `there`. Gives what is to be told, once for each time. Below
    /// the least it does not go, unless all of it may be stopped: what serves is tried again all the
    /// time.
    fn no_room(&mut self, bounds: &Bounds, there: u32, now_ms: UnixMillis) -> Option<Change> {
        let from = self.count;
        let is_news = now_ms >= self.no_room_until_ms.saturating_add(NO_ROOM_MS * 2);
        self.no_room_until_ms = now_ms + NO_ROOM_MS;
        let floor = match there {
            0 if may_be_none(bounds) => 0,
            _ => bounds.least,
        };
        self.count = there.max(floor).min(from);
        (is_news && self.count < from).then_some(Change {
            from,
            to: self.count,
            why: Why::NoRoom,
        })
    }
}

/// Whether a process may have no instance at all.
fn may_be_none(bounds: &Bounds) -> bool {
    bounds.idle == Idle::Stop || bounds.most == 0
}

/// A process that is scaled, as its environment's worker last said.
#[derive(Debug)]
struct Scaled {
    bounds: Bounds,
    scaler: Scaler,
    may_shrink: bool,
}

/// A process that is to be scaled.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) key: Key,
    pub(super) bounds: Bounds,
    /// How many there are of the live release.
    pub(super) there: u32,
}

#[derive(Debug, Default)]
struct OfEnvironment {
    processes: BTreeMap<Key, Scaled>,
    news: Vec<(Key, Change)>,
}

impl OfEnvironment {
    fn note(&mut self, key: &Key, change: Option<Change>) -> bool {
        let Some(change) = change else { return false };
        if self.news.len() < NEWS {
            self.news.push((key.clone(), change));
        }
        true
    }
}

/// The numbers of all processes that are scaled.
#[derive(Debug, Default)]
pub(super) struct Scalers(Mutex<BTreeMap<EnvironmentId, OfEnvironment>>);

impl Scalers {
    /// What is to be scaled of an environment. Gives the numbers that hold now.
    pub(super) fn settle(
        &self,
        environment: EnvironmentId,
        subjects: Vec<Subject>,
        may_shrink: bool,
        now_ms: UnixMillis,
    ) -> BTreeMap<Key, u32> {
        let mut all = lock(&self.0);
        let mine = all.entry(environment).or_default();
        let mut before = std::mem::take(&mut mine.processes);
        let mut counts = BTreeMap::new();
        for Subject { key, bounds, there } in subjects {
            let mut scaled = before.remove(&key).unwrap_or_else(|| Scaled {
                bounds,
                scaler: Scaler::new(there, now_ms),
                may_shrink,
            });
            if may_shrink && !scaled.may_shrink && scaled.scaler.count() == 0 {
                // A deployment has started some; they sleep no earlier than any others.
                scaled.scaler.set(there, now_ms);
            }
            (scaled.bounds, scaled.may_shrink) = (bounds, may_shrink);
            // Only the bounds: what is asked for comes with the reports.
            scaled.scaler.decide(&bounds, None, may_shrink, now_ms);
            counts.insert(key.clone(), scaled.scaler.count());
            mine.processes.insert(key, scaled);
        }
        counts
    }

    /// The number of a process, where it is scaled.
    pub(super) fn count_of(&self, environment: EnvironmentId, key: &Key) -> Option<u32> {
        let all = lock(&self.0);
        Some(all.get(&environment)?.processes.get(key)?.scaler.count())
    }

    /// Nothing of an environment is scaled at present.
    pub(super) fn forget(&self, environment: EnvironmentId) {
        lock(&self.0).remove(&environment);
    }

    /// Takes in what nodes say. Gives the environments whose numbers changed.
    pub(super) fn feed(
        &self,
        demands: &BTreeMap<EnvironmentId, BTreeMap<String, Demand>>,
        now_ms: UnixMillis,
    ) -> Vec<EnvironmentId> {
        let mut all = lock(&self.0);
        let mut changed = Vec::new();
        for (environment, of_environment) in demands {
            let Some(mine) = all.get_mut(environment) else { continue };
            let mut news = Vec::new();
            for (key, scaled) in &mut mine.processes {
                let Some(demand) = of_environment.get(&format!("{}.{}", key.0, key.1)) else {
                    continue;
                };
                let change = scaled
                    .scaler
                    .decide(&scaled.bounds, Some(*demand), scaled.may_shrink, now_ms);
                news.extend(change.map(|change| (key.clone(), change)));
            }
            for (key, change) in news {
                mine.note(&key, Some(change));
                changed.push(*environment);
            }
        }
        changed
    }

    /// There was no money for more instances of a process than `there`.
    pub(super) fn no_room(&self, environment: EnvironmentId, key: &Key, there: u32, now_ms: UnixMillis) {
        if let Some(mine) = lock(&self.0).get_mut(&environment)
            && let Some(scaled) = mine.processes.get_mut(key)
        {
            let change = scaled.scaler.no_room(&scaled.bounds, there, now_ms);
            mine.note(key, change);
        }
    }

    /// What is to be told of an environment; each is given once.
    pub(super) fn take_news(&self, environment: EnvironmentId) -> Vec<(Key, Change)> {
        let mut all = lock(&self.0);
        all.get_mut(&environment)
            .map(|mine| std::mem::take(&mut mine.news))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    const MINUTES_15: u64 = 15 * 60_000;

    fn bounds(least: u32, most: u32, idle: Idle) -> Bounds {
        Bounds {
            least,
            most,
            target: 14,
            idle,
            idle_after_ms: MINUTES_15,
        }
    }

    fn busy(in_flight: u64, waiting: u64) -> Option<Demand> {
        Some(Demand {
            in_flight_milli: in_flight * 1_000,
            waiting,
            quiet_ms: 0,
        })
    }

    #[test]
    fn it_goes_out_at_once_as_far_as_it_takes_and_in_after_a_minute() {
        let bounds = bounds(1, 8, Idle::Never);
        let mut scaler = Scaler::new(1, 0);
        assert_eq!(scaler.decide(&bounds, busy(14, 0), true, 1_000), None, "just full");
        let change = scaler.decide(&bounds, busy(20, 45), true, 2_000).unwrap();
        assert_eq!((change.from, change.to, change.kind()), (1, 5, "scaling.out"));
        for second in 3..62 {
            assert_eq!(
                scaler.decide(&bounds, busy(0, 0), true, second * 1_000),
                None,
                "{second}"
            );
        }
        let change = scaler.decide(&bounds, busy(0, 0), true, 62_000).unwrap();
        assert_eq!((change.from, change.to, change.kind()), (5, 1, "scaling.in"));
    }

    #[test]
    fn what_comes_and_goes_moves_nothing() {
        let bounds = bounds(1, 8, Idle::Never);
        let mut scaler = Scaler::new(1, 0);
        let mut changes = 0;
        for second in 0..1_800 {
            // Forty seconds of forty requests, forty of none.
            let in_flight = if second % 80 < 40 { 40 } else { 0 };
            changes += u32::from(
                scaler
                    .decide(&bounds, busy(in_flight, 0), true, second * 1_000)
                    .is_some(),
            );
        }
        assert_eq!((changes, scaler.count()), (1, 3));
    }

    #[test]
    fn between_two_numbers_it_stays() {
        let bounds = bounds(1, 8, Idle::Never);
        let mut scaler = Scaler::new(2, 0);
        for second in 0..600 {
            // For one it would be enough, but not at ease.
            assert_eq!(scaler.decide(&bounds, busy(12, 0), true, second * 1_000), None);
        }
    }

    #[test]
    fn quiet_it_stops_and_wakes_when_somebody_waits() {
        let bounds = bounds(1, 4, Idle::Stop);
        let quiet = |quiet_ms| {
            Some(Demand {
                quiet_ms,
                ..Demand::default()
            })
        };
        let mut scaler = Scaler::new(2, 0);
        let after_ms = i64::try_from(MINUTES_15).unwrap();
        scaler.decide(&bounds, quiet(70_000), true, 70_000);
        assert_eq!(
            scaler.decide(&bounds, quiet(MINUTES_15), false, after_ms),
            None,
            "a deployment is on its way"
        );
        assert_eq!(
            scaler.decide(&bounds, quiet(MINUTES_15 * 2), true, after_ms + 1),
            None,
            "it has just ended"
        );
        let change = scaler
            .decide(&bounds, quiet(MINUTES_15 * 2), true, after_ms * 2)
            .unwrap();
        assert_eq!((change.to, change.kind()), (0, "scaling.asleep"));
        assert_eq!(scaler.decide(&bounds, quiet(MINUTES_15 * 3), true, after_ms * 3), None);
        let change = scaler.decide(&bounds, busy(0, 30), true, after_ms * 3 + 1).unwrap();
        assert_eq!((change.to, change.kind()), (3, "scaling.awake"));
        let again = scaler.decide(&bounds, quiet(MINUTES_15), true, after_ms * 3 + 1_000);
        assert_eq!(again, None, "a word from before it woke");
    }

    #[test]
    fn without_money_it_stays_and_says_so_once() {
        let bounds = bounds(1, 8, Idle::Never);
        let mut scaler = Scaler::new(1, 0);
        scaler.decide(&bounds, busy(100, 0), true, 1_000);
        let told = scaler.no_room(&bounds, 2, 2_000).unwrap();
        assert_eq!((told.from, told.to, told.kind()), (8, 2, "scaling.no-room"));
        assert_eq!(scaler.decide(&bounds, busy(100, 0), true, 3_000), None);
        let again = scaler.decide(&bounds, busy(100, 0), true, 2_000 + NO_ROOM_MS);
        assert_eq!(again.map(|change| change.to), Some(8));
        let again = scaler.no_room(&bounds, 2, 3_000 + NO_ROOM_MS);
        assert_eq!(again, None, "told already");
    }

    #[test]
    fn who_sleeps_and_has_no_money_is_not_woken_again_and_again() {
        let bounds = bounds(2, 8, Idle::Stop);
        let mut scaler = Scaler::new(0, 0);
        let change = scaler.decide(&bounds, busy(0, 1), true, 1_000).unwrap();
        assert_eq!((change.to, change.kind()), (2, "scaling.awake"));
        let told = scaler.no_room(&bounds, 0, 2_000).unwrap();
        assert_eq!((told.from, told.to, told.kind()), (2, 0, "scaling.no-room"));
        for ms in [2_001, 2_500, 1_999 + NO_ROOM_MS] {
            assert_eq!(scaler.decide(&bounds, busy(0, 1), true, ms), None, "{ms}");
        }
        let again = scaler.decide(&bounds, busy(0, 1), true, 2_000 + NO_ROOM_MS);
        assert_eq!(again.map(|change| change.to), Some(2), "it is tried again");
    }

    #[test]
    fn the_least_is_not_given_up_for_want_of_money() {
        let bounds = bounds(2, 8, Idle::Never);
        let mut scaler = Scaler::new(5, 0);
        let told = scaler.no_room(&bounds, 0, 1_000).unwrap();
        assert_eq!((told.from, told.to), (5, 2));
        assert_eq!(scaler.no_room(&bounds, 0, 1_000 + NO_ROOM_MS * 9), None, "it stays");
        assert_eq!(scaler.decide(&bounds, None, true, 2_000), None);
    }

    /// Random loads, bounds and losses of memory; an app that is started takes a while.
    #[test]
    fn random_loads_keep_the_bounds_and_settle() {
        for seed in 0..2_000 {
            let mut rng = Rng::with_seed(seed);
            let idle = if rng.bool() { Idle::Stop } else { Idle::Never };
            let least = rng.u32(1..4);
            let bounds = Bounds {
                idle_after_ms: rng.u64(1_000..200_000),
                target: rng.u32(1..30),
                ..bounds(least, least + rng.u32(..20), idle)
            };
            let mut scaler = Scaler::new(rng.u32(..30), 0);
            let (mut now_ms, mut load, mut quiet_ms) = (0, 0_u64, 0);
            for _ in 0..400 {
                now_ms += rng.i64(100..2_000);
                load = if rng.u8(..10) == 0 { rng.u64(..400) } else { load };
                load = if rng.u8(..30) == 0 { 0 } else { load };
                quiet_ms = if load > 0 { 0 } else { quiet_ms + 1_000 };
                let served = load.min(u64::from(scaler.count() * bounds.target));
                let demand = Demand {
                    in_flight_milli: served * 1_000,
                    waiting: load - served,
                    quiet_ms,
                };
                let said = (rng.u8(..10) > 0).then_some(demand);
                scaler.decide(&bounds, said, rng.u8(..5) > 0, now_ms);
                let count = scaler.count();
                let sleeps = count == 0 && idle == Idle::Stop;
                assert!(
                    sleeps || (bounds.least..=bounds.most).contains(&count),
                    "seed {seed}: {count} of {}",
                    bounds.words()
                );
                if rng.u8(..50) == 0 {
                    scaler = Scaler::new(count, now_ms);
                }
            }
            // From here on the load is steady: at most one way out, and then one way in.
            let load = rng.u64(1..400);
            let mut changes = Vec::new();
            for _ in 0..200 {
                now_ms += 1_000;
                let served = load.min(u64::from(scaler.count() * bounds.target));
                let demand = Demand {
                    in_flight_milli: served * 1_000,
                    waiting: load - served,
                    quiet_ms: 0,
                };
                changes.extend(scaler.decide(&bounds, Some(demand), true, now_ms));
            }
            let needed = u32::try_from(load.div_ceil(u64::from(bounds.target))).unwrap();
            let enough = needed.clamp(bounds.least, bounds.most);
            assert!(scaler.count() >= enough, "seed {seed}: {} for {needed}", scaler.count());
            let outs = changes.iter().filter(|change| change.to > change.from).count();
            assert!(outs <= 1 && changes.len() <= 12, "seed {seed}: {changes:?}");
            let last_change_late = changes.len() > 1
                && changes
                    .windows(2)
                    .any(|pair| pair[0].to < pair[0].from && pair[1].to > pair[1].from);
            assert!(!last_change_late, "seed {seed}: it flaps: {changes:?}");
        }
    }
}
