//! The open chunks, and how much of them is written.
//!
//! Which chunk is open follows from the instant alone. Before anything is added to a stretch of time,
//! what is stored of it is loaded; so a restart, a clock that is set, and the ordinary next stretch are
//! one and the same thing.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use weir_model::{EnvironmentId, UnixMillis};
use weir_store::MetricChunk;

use super::chunk::{Chunk, TIERS, Tier};
use super::point::Point;
use super::sample::Key;

/// So many processes of an environment are told apart in one stretch of the coarsest resolution (a
/// month); what belongs to others counts for the environment as a whole. Whoever deploys under new names
/// all day fills no disk with it.
pub(super) const PROCESSES: usize = 100;

/// A chunk that is open.
#[derive(Debug, Default)]
struct Slot {
    chunk: Chunk,
    /// It has what is not written yet.
    dirty: bool,
}

/// Which chunk: whose, and where it begins.
type Place = (EnvironmentId, UnixMillis, Key);

#[derive(Debug, Default)]
pub(super) struct Memory {
    slots: [BTreeMap<Place, Slot>; TIERS.len()],
    /// The stretches that were loaded.
    loaded: [BTreeSet<UnixMillis>; TIERS.len()],
    /// Processes that are told apart.
    named: HashMap<EnvironmentId, HashSet<Key>>,
    /// What was added since control started.
    totals: BTreeMap<Key, Point>,
    /// The newest look.
    newest: BTreeMap<Key, Point>,
}

impl Memory {
    /// Stretches that have to be loaded before anything is added at an instant.
    pub(super) fn missing(&self, at_ms: UnixMillis) -> Vec<(Tier, UnixMillis)> {
        let places = TIERS.iter().zip(&self.loaded);
        let missing = places.filter(|(tier, loaded)| !loaded.contains(&tier.chunk_of(at_ms)));
        missing.map(|(tier, _)| (*tier, tier.chunk_of(at_ms))).collect()
    }

    /// Takes in what is stored of a stretch. Gives how many chunks could not be read; their places are
    /// written over.
    pub(super) fn load(&mut self, tier: &Tier, from_ms: UnixMillis, stored: Vec<MetricChunk>) -> usize {
        let Some(number) = TIERS.iter().position(|it| it == tier) else {
            return 0;
        };
        let is_coarsest = number + 1 == TIERS.len();
        if is_coarsest {
            self.named.clear();
        }
        let mut damaged = 0;
        for stored in stored {
            let Some(chunk) = Chunk::read(&stored.data, tier) else {
                damaged += 1;
                continue;
            };
            let key = Key {
                environment: stored.environment,
                app: stored.app,
                process: stored.process,
            };
            if is_coarsest {
                self.named.entry(key.environment).or_default().insert(key.clone());
            }
            let place = (key.environment, from_ms, key);
            self.slots[number].entry(place).or_insert(Slot { chunk, dirty: false });
        }
        self.loaded[number].insert(from_ms);
        damaged
    }

    /// Adds what happened at an instant whose stretches are loaded.
    pub(super) fn add(&mut self, at_ms: UnixMillis, points: BTreeMap<Key, Point>) {
        let mut newest: BTreeMap<Key, Point> = BTreeMap::new();
        for (key, point) in points {
            newest.entry(self.told_apart(key)).or_default().merge(&point);
        }
        newest.values_mut().for_each(Point::settle_memory);
        for (key, point) in &newest {
            for (tier, slots) in TIERS.iter().zip(&mut self.slots) {
                let place = (key.environment, tier.chunk_of(at_ms), key.clone());
                let slot = slots.entry(place).or_default();
                slot.chunk.add(tier.place_of(at_ms), point, tier);
                slot.dirty = true;
            }
            self.totals.entry(key.clone()).or_default().merge(point);
        }
        self.newest = newest;
    }

    fn told_apart(&mut self, key: Key) -> Key {
        let named = self.named.entry(key.environment).or_default();
        if key.is_whole() || named.contains(&key) {
            return key;
        }
        if named.len() < PROCESSES {
            named.insert(key.clone());
            return key;
        }
        Key::whole(key.environment)
    }

    /// What has to be written; it counts as written from now on.
    pub(super) fn take_dirty(&mut self) -> Vec<MetricChunk> {
        let mut dirty = Vec::new();
        for (tier, slots) in TIERS.iter().zip(&mut self.slots) {
            for ((environment, from_ms, key), slot) in slots.iter_mut().filter(|(_, slot)| slot.dirty) {
                slot.dirty = false;
                dirty.push(MetricChunk {
                    environment: *environment,
                    app: key.app.clone(),
                    process: key.process.clone(),
                    step_ms: tier.step_ms,
                    from_ms: *from_ms,
                    data: slot.chunk.write(),
                });
            }
        }
        dirty
    }

    /// It could not be written: next time.
    pub(super) fn put_back(&mut self) {
        let slots = self.slots.iter_mut().flat_map(BTreeMap::values_mut);
        slots.for_each(|slot| slot.dirty = true);
    }

    /// Forgets what is written and not open at this instant any more, and what is gone.
    pub(super) fn close(&mut self, at_ms: UnixMillis, environments: &HashSet<EnvironmentId>) {
        for ((tier, slots), loaded) in TIERS.iter().zip(&mut self.slots).zip(&mut self.loaded) {
            let open_ms = tier.chunk_of(at_ms);
            slots.retain(|(environment, from_ms, _), slot| {
                environments.contains(environment) && (slot.dirty || *from_ms == open_ms)
            });
            let held: BTreeSet<UnixMillis> = slots.keys().map(|(_, from_ms, _)| *from_ms).collect();
            loaded.retain(|from_ms| *from_ms == open_ms || held.contains(from_ms));
        }
        self.named.retain(|environment, _| environments.contains(environment));
        let named = &self.named;
        self.totals.retain(|key, _| {
            let named = named.get(&key.environment);
            named.is_some_and(|named| key.is_whole() || named.contains(key))
        });
    }

    /// The open chunks of an environment.
    pub(super) fn open(&self, environment: EnvironmentId, tier: &Tier) -> Vec<((UnixMillis, Key), Chunk)> {
        let number = TIERS.iter().position(|it| it == tier);
        let slots = number.into_iter().flat_map(|number| {
            let first = (environment, UnixMillis::MIN, Key::whole(environment));
            let slots = self.slots[number].range(first..);
            slots.take_while(|((its, ..), _)| *its == environment)
        });
        slots
            .map(|((_, from_ms, key), slot)| ((*from_ms, key.clone()), slot.chunk.clone()))
            .collect()
    }

    /// What was added since control started, and at the newest look.
    pub(super) fn used(&self) -> impl Iterator<Item = (&Key, &Point, Option<&Point>)> {
        let totals = self.totals.iter();
        totals.map(|(key, total)| (key, total, self.newest.get(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::point::Figure;
    use super::*;

    const AT_MS: UnixMillis = 1_790_000_123_456;

    fn key(environment: u128, app: &str) -> Key {
        Key {
            environment: EnvironmentId::from_parts(1, environment),
            app: app.to_owned(),
            process: "web".to_owned(),
        }
    }

    fn requests(count: u64) -> Point {
        let mut point = Point::default();
        point.add(Figure::Requests, count);
        point
    }

    fn open(memory: &mut Memory, at_ms: UnixMillis, stored: &[MetricChunk]) {
        for (tier, from_ms) in memory.missing(at_ms) {
            let stored = stored
                .iter()
                .filter(|it| it.step_ms == tier.step_ms && it.from_ms == from_ms);
            assert_eq!(memory.load(&tier, from_ms, stored.cloned().collect()), 0);
        }
    }

    fn total(memory: &Memory, key: &Key, tier: &Tier) -> u64 {
        let chunks = memory.open(key.environment, tier).into_iter();
        let own = chunks.filter(|((_, its), _)| its == key);
        let points = own.flat_map(|(_, chunk)| chunk.points().into_values());
        points.map(|point| point.get(Figure::Requests)).sum()
    }

    #[test]
    fn a_restart_and_a_clock_that_is_set_lose_nothing() {
        let mut memory = Memory::default();
        let web = key(1, "shop");
        let all = HashSet::from([web.environment]);
        open(&mut memory, AT_MS, &[]);
        memory.add(AT_MS, BTreeMap::from([(web.clone(), requests(3))]));
        let written = memory.take_dirty();
        assert_eq!(written.len(), TIERS.len());
        assert!(memory.take_dirty().is_empty());

        let mut again = Memory::default();
        open(&mut again, AT_MS + 1, &written);
        again.add(AT_MS + 1, BTreeMap::from([(web.clone(), requests(4))]));
        assert!(TIERS.iter().all(|tier| total(&again, &web, tier) == 7));
        // A day ahead, and back again: what was written is found and added to.
        let later_ms = AT_MS + 86_400_000;
        open(&mut again, later_ms, &[]);
        again.add(later_ms, BTreeMap::from([(web.clone(), requests(1))]));
        let mut stored = written;
        for chunk in again.take_dirty() {
            stored.retain(|it| (it.step_ms, it.from_ms) != (chunk.step_ms, chunk.from_ms));
            stored.push(chunk);
        }
        again.close(later_ms, &all);
        open(&mut again, AT_MS, &stored);
        again.add(AT_MS, BTreeMap::from([(web.clone(), requests(10))]));
        assert!(TIERS.iter().all(|tier| total(&again, &web, tier) == 18));
    }

    #[test]
    fn what_could_not_be_written_is_kept_and_written_later() {
        let mut memory = Memory::default();
        let web = key(1, "shop");
        open(&mut memory, AT_MS, &[]);
        memory.add(AT_MS, BTreeMap::from([(web.clone(), requests(3))]));
        assert_eq!(memory.take_dirty().len(), TIERS.len());
        memory.put_back();
        let later_ms = AT_MS + 400 * 86_400_000;
        memory.close(later_ms, &HashSet::from([web.environment]));
        assert_eq!(memory.take_dirty().len(), TIERS.len());
        memory.close(later_ms, &HashSet::from([web.environment]));
        assert!(memory.slots.iter().all(BTreeMap::is_empty) && memory.missing(later_ms).len() == TIERS.len());
    }

    #[test]
    fn an_environment_that_is_gone_takes_nothing() {
        let mut memory = Memory::default();
        open(&mut memory, AT_MS, &[]);
        memory.add(AT_MS, BTreeMap::from([(key(1, "shop"), requests(3))]));
        memory.close(AT_MS, &HashSet::new());
        assert!(memory.take_dirty().is_empty());
        assert_eq!(memory.used().count(), 0);
    }

    #[test]
    fn memory_that_was_not_read_makes_that_of_the_look_unknown_and_no_less() {
        let mut memory = Memory::default();
        open(&mut memory, AT_MS, &[]);
        let web = key(1, "shop");
        for unread in [0, 1] {
            let mut point = Point::default();
            point.add(Figure::MemoryBytes, 700);
            point.add(Figure::MemoryUnread, unread);
            memory.add(AT_MS, BTreeMap::from([(web.clone(), point)]));
        }
        let (_, total, newest) = memory.used().next().unwrap();
        let found = [Figure::MemoryBytes, Figure::MemoryUnread];
        assert_eq!(found.map(|figure| total.get(figure)), [700, 1]);
        assert_eq!(found.map(|figure| newest.unwrap().get(figure)), [0, 1]);
    }

    #[test]
    fn new_names_all_day_fill_no_memory() {
        let mut memory = Memory::default();
        open(&mut memory, AT_MS, &[]);
        for number in 0..1_000 {
            memory.add(AT_MS, BTreeMap::from([(key(1, &format!("app{number}")), requests(1))]));
        }
        let whole = Key::whole(key(1, "").environment);
        assert_eq!(memory.used().count(), PROCESSES + 1);
        assert_eq!(total(&memory, &whole, &TIERS[0]), 1_000 - PROCESSES as u64);
    }
}
