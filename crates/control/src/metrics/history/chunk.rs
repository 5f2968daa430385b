//! A stretch of points, packed one behind the other, and the resolutions in which they are kept.
//!
//! **Why these resolutions.** Ten seconds for six hours show a deploy or a peak as it was; a minute for
//! three days covers a weekend; a quarter of an hour for 45 days a month and the one before it; six hours
//! for 13 months the same month of last year. That is 2,160 + 4,320 + 4,320 + 1,584 = 12,384 points a
//! process. A packed point of a process with 1,000 requests a second takes about 50 bytes, of a quiet one
//! less than 20, so a process takes 0.2 to 0.7 MB (a third more in base64), however long it lives; the tests
//! work it out.

use std::collections::BTreeMap;

use weir_model::UnixMillis;

use super::point::{Point, pack_number, unpack_number};

const SECOND_MS: i64 = 1_000;
const MINUTE_MS: i64 = 60 * SECOND_MS;
const HOUR_MS: i64 = 60 * MINUTE_MS;
const DAY_MS: i64 = 24 * HOUR_MS;

/// A resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tier {
    /// Between two points.
    pub(super) step_ms: i64,
    /// Of one chunk; a whole number of steps.
    pub(super) chunk_ms: i64,
    /// So long it is kept at least; chunks go as a whole.
    pub(super) kept_ms: i64,
}

/// From fine to coarse; each step is a whole number of the one before.
pub(super) const TIERS: [Tier; 4] = [
    Tier {
        step_ms: 10 * SECOND_MS,
        chunk_ms: 15 * MINUTE_MS,
        kept_ms: 6 * HOUR_MS,
    },
    Tier {
        step_ms: MINUTE_MS,
        chunk_ms: 2 * HOUR_MS,
        kept_ms: 3 * DAY_MS,
    },
    Tier {
        step_ms: 15 * MINUTE_MS,
        chunk_ms: DAY_MS,
        kept_ms: 45 * DAY_MS,
    },
    Tier {
        step_ms: 6 * HOUR_MS,
        chunk_ms: 30 * DAY_MS,
        kept_ms: 396 * DAY_MS,
    },
];

impl Tier {
    /// Where the chunk begins to which an instant belongs.
    pub(super) fn chunk_of(&self, at_ms: UnixMillis) -> UnixMillis {
        at_ms - at_ms.rem_euclid(self.chunk_ms)
    }

    /// Which point of its chunk it belongs to.
    pub(super) fn place_of(&self, at_ms: UnixMillis) -> u32 {
        u32::try_from(at_ms.rem_euclid(self.chunk_ms) / self.step_ms).unwrap_or(u32::MAX)
    }

    /// Chunks that begin before this instant are not wanted any more. One more is kept than has to be, so
    /// that the first point of a chart that begins within is whole.
    pub(super) fn kept_from(&self, now_ms: UnixMillis) -> UnixMillis {
        self.chunk_of(now_ms.saturating_sub(self.kept_ms)) - self.chunk_ms
    }

    fn places(&self) -> u32 {
        u32::try_from(self.chunk_ms / self.step_ms).unwrap_or(u32::MAX)
    }
}

/// Points of one process in one stretch. They nearly always come in order, and only the newest one grows;
/// when a clock was set back, an older one does, which costs more and is as right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Those before the newest: for each how many places it is behind the one before, and itself.
    packed: Vec<u8>,
    /// One behind the last packed place.
    next: u32,
    newest: Option<(u32, Point)>,
}

impl Chunk {
    /// Reads what was written; none if it is none of this resolution.
    pub(super) fn read(mut bytes: &[u8], tier: &Tier) -> Option<Self> {
        let mut chunk = Self::default();
        while !bytes.is_empty() {
            let ahead = u32::try_from(unpack_number(&mut bytes)?).ok()?;
            let place = chunk
                .newest
                .as_ref()
                .map_or(0, |(place, _)| place + 1)
                .checked_add(ahead)?;
            if place >= tier.places() {
                return None;
            }
            let point = Point::unpack(&mut bytes)?;
            chunk.close();
            chunk.newest = Some((place, point));
        }
        Some(chunk)
    }

    /// As it is kept.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut whole = self.clone();
        whole.close();
        whole.packed
    }

    /// Adds to the point of a place.
    pub(super) fn add(&mut self, place: u32, point: &Point, tier: &Tier) {
        match &mut self.newest {
            Some((newest, sum)) if *newest == place => sum.merge(point),
            Some((newest, _)) if *newest > place => self.insert(place, point, tier),
            _ => {
                self.close();
                self.newest = Some((place, point.clone()));
            }
        }
    }

    /// All points by place.
    pub(super) fn points(&self) -> BTreeMap<u32, Point> {
        let (mut bytes, mut next) = (&self.packed[..], 0);
        let mut points = BTreeMap::new();
        while let Some((place, point)) = unpack_at(&mut bytes, next) {
            next = place + 1;
            points.insert(place, point);
        }
        points.extend(self.newest.clone());
        points
    }

    fn close(&mut self) {
        if let Some((place, point)) = self.newest.take() {
            pack_number(u64::from(place - self.next), &mut self.packed);
            point.pack(&mut self.packed);
            self.next = place + 1;
        }
    }

    /// Adds to one that is not the newest: all are packed anew.
    fn insert(&mut self, place: u32, point: &Point, tier: &Tier) {
        let mut points = self.points();
        points.entry(place).or_default().merge(point);
        *self = Self::default();
        for (place, point) in points {
            self.add(place, &point, tier);
        }
    }
}

fn unpack_at(bytes: &mut &[u8], next: u32) -> Option<(u32, Point)> {
    let ahead = u32::try_from(unpack_number(bytes)?).ok()?;
    Some((next.checked_add(ahead)?, Point::unpack(bytes)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::point::Figure;
    use super::super::point::tests::points;
    use super::*;

    #[test]
    fn resolutions_fit_into_each_other() {
        for pair in TIERS.windows(2) {
            assert_eq!(pair[1].step_ms % pair[0].step_ms, 0);
            assert!(pair[1].kept_ms > pair[0].kept_ms);
        }
        for tier in TIERS {
            assert_eq!((tier.chunk_ms % tier.step_ms, tier.kept_ms % tier.step_ms), (0, 0));
            let now_ms = 1_790_000_123_456;
            assert!(tier.kept_from(now_ms) <= now_ms - tier.kept_ms - tier.chunk_ms);
        }
    }

    /// What a look every ten seconds makes of a process, with so many requests a second.
    fn bytes_of_a_process(requests_per_s: u64) -> usize {
        let bytes = |tier: &Tier| {
            let seconds = u64::try_from(tier.step_ms / 1_000).unwrap();
            let mut point = Point::default();
            let requests = requests_per_s * seconds;
            for (figure, sum) in [
                (Figure::Requests, requests),
                (Figure::Errors, requests / 1_000),
                (Figure::CpuUs, 1_000 + requests * 900),
                (Figure::MemoryBytes, 180_000_000 * (seconds / 10)),
                (Figure::Instances, 3 * (seconds / 10)),
                (Figure::EgressBytes, requests * 8_000),
                (Figure::CostNano, 17_000 * seconds),
            ] {
                point.add(figure, sum);
            }
            for bucket in 0..9 {
                point.add_times(bucket, requests / 10);
            }
            let mut chunk = Chunk::default();
            (0..tier.places()).for_each(|place| chunk.add(place, &point, tier));
            let chunks = tier.kept_ms / tier.chunk_ms + 2;
            chunk.write().len() * usize::try_from(chunks).unwrap()
        };
        TIERS.iter().map(bytes).sum()
    }

    #[test]
    fn a_process_takes_so_many_bytes_however_long_it_lives() {
        let points: i64 = TIERS.iter().map(|tier| tier.kept_ms / tier.step_ms).sum();
        assert_eq!(points, 12_384);
        // In base64, as it is stored.
        let stored = |requests_per_s| bytes_of_a_process(requests_per_s) * 4 / 3;
        assert!((200_000..350_000).contains(&stored(0)), "{}", stored(0));
        assert!((800_000..1_000_000).contains(&stored(1_000)), "{}", stored(1_000));
    }

    proptest! {
        #[test]
        fn a_chunk_is_what_was_added_to_it_in_any_order(
            added in proptest::collection::vec((0..90_u32, points()), 0..60),
        ) {
            let tier = &TIERS[0];
            let (mut chunk, mut expected) = (Chunk::default(), BTreeMap::<u32, Point>::new());
            for (place, point) in &added {
                chunk.add(*place, point, tier);
                expected.entry(*place).or_default().merge(point);
            }
            prop_assert_eq!(&chunk.points(), &expected);
            // A restart in the middle changes nothing.
            let mut again = Chunk::read(&chunk.write(), tier).unwrap();
            prop_assert_eq!(&again, &chunk);
            for (place, point) in &added {
                again.add(*place, point, tier);
                expected.entry(*place).or_default().merge(point);
            }
            prop_assert_eq!(&again.points(), &expected);
        }

        #[test]
        fn damaged_chunks_are_refused_and_never_more_than_they_can_be(
            bytes in proptest::collection::vec(any::<u8>(), 0..400),
        ) {
            if let Some(chunk) = Chunk::read(&bytes, &TIERS[0]) {
                prop_assert!(chunk.points().keys().all(|place| *place < TIERS[0].places()));
            }
        }

        #[test]
        fn every_instant_has_one_place(at_ms in -10_000_000_000_000..10_000_000_000_000_i64) {
            for tier in TIERS {
                let from_ms = tier.chunk_of(at_ms) + i64::from(tier.place_of(at_ms)) * tier.step_ms;
                prop_assert!(from_ms <= at_ms && at_ms < from_ms + tier.step_ms);
                prop_assert!(tier.place_of(at_ms) < tier.places());
            }
        }
    }
}
