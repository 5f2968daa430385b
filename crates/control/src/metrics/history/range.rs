//! What a chart is made of: which points, added up to which steps, and what they say.

use std::collections::BTreeMap;

use weir_model::UnixMillis;

use super::Apart;
use super::chunk::{TIERS, Tier};
use super::point::{Figure, Point, as_f64};

/// Steps that are told, in seconds. Each is a whole number of steps of a resolution that is kept.
const STEPS_S: [i64; 10] = [10, 30, 60, 300, 900, 1_800, 3_600, 7_200, 21_600, 86_400];
/// So many points a series has at most, unless a step was asked for …
const POINTS: i64 = 400;
/// … and processes are not told apart.
const MOST_POINTS: i64 = 2_000;

/// Which figure a series shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Series {
    /// Requests, per second.
    Requests,
    /// Answers with a status of 500 or more, per second.
    Errors,
    /// Seconds until the head of the answer, of half of the requests.
    LatencyP50,
    /// The same, of 95 in a hundred.
    LatencyP95,
    /// The same, of 99 in a hundred.
    LatencyP99,
    /// Cores.
    Cpu,
    /// Bytes.
    Memory,
    /// Those that are ready.
    Instances,
    /// Bytes per second to the world.
    Egress,
    /// Money per hour.
    Cost,
}

impl Series {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 10] = [
        Self::Requests,
        Self::Errors,
        Self::LatencyP50,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::Cpu,
        Self::Memory,
        Self::Instances,
        Self::Egress,
        Self::Cost,
    ];

    /// As it is asked for.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Errors => "errors",
            Self::LatencyP50 => "latency_p50",
            Self::LatencyP95 => "latency_p95",
            Self::LatencyP99 => "latency_p99",
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Instances => "instances",
            Self::Egress => "egress",
            Self::Cost => "cost",
        }
    }

    /// The unit of its values, with this currency.
    pub fn unit(self, currency: &str) -> String {
        match self {
            Self::Requests | Self::Errors => "1/s".to_owned(),
            Self::LatencyP50 | Self::LatencyP95 | Self::LatencyP99 => "s".to_owned(),
            Self::Cpu => "cores".to_owned(),
            Self::Memory => "bytes".to_owned(),
            Self::Instances => "instances".to_owned(),
            Self::Egress => "bytes/s".to_owned(),
            Self::Cost => format!("{currency}/h"),
        }
    }

    /// What a step says; `clock` is the point of the environment, which knows for how long was looked.
    /// None where nothing was measured.
    pub(super) fn value(self, point: &Point, clock: &Point) -> Option<f64> {
        let over = |figure, factor: f64, base| {
            let base = clock.get(base);
            (base > 0).then(|| as_f64(point.get(figure)) * factor / as_f64(base))
        };
        match self {
            Self::Requests => over(Figure::Requests, 1e3, Figure::ServedMs),
            Self::Errors => over(Figure::Errors, 1e3, Figure::ServedMs),
            Self::LatencyP50 => point.quantile_s(0.5),
            Self::LatencyP95 => point.quantile_s(0.95),
            Self::LatencyP99 => point.quantile_s(0.99),
            Self::Cpu => over(Figure::CpuUs, 1e-3, Figure::LookedMs),
            Self::Memory => {
                let looks = clock.get(Figure::Looks).saturating_sub(point.get(Figure::MemoryUnread));
                (looks > 0).then(|| as_f64(point.get(Figure::MemoryBytes)) / as_f64(looks))
            }
            Self::Instances => over(Figure::Instances, 1.0, Figure::Looks),
            Self::Egress => over(Figure::EgressBytes, 1e3, Figure::LookedMs),
            // Nano-units per millisecond, as units per hour.
            Self::Cost => over(Figure::CostNano, 3.6e6 / 1e9, Figure::LookedMs),
        }
    }
}

/// From when until when, in which steps, from which resolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The beginning of the first step.
    pub from_ms: UnixMillis,
    /// The end of the last step.
    pub until_ms: UnixMillis,
    /// Of one step.
    pub step_ms: i64,
    pub(super) tier: Tier,
}

impl Range {
    /// The finest steps of at least `step_s` seconds that are kept for so long and are not too many;
    /// without a wish, and where processes are told apart, those of which there are 400 at most. What is older than everything that is kept,
    /// and what is still to come, is left out. None if nothing remains.
    pub fn choose(
        from_ms: UnixMillis,
        until_ms: UnixMillis,
        step_s: Option<u32>,
        apart: Apart,
        now_ms: UnixMillis,
    ) -> Option<Self> {
        let oldest_ms = TIERS.iter().map(|tier| now_ms.saturating_sub(tier.kept_ms)).min()?;
        let (from_ms, until_ms) = (from_ms.max(oldest_ms), until_ms.min(now_ms));
        if until_ms <= from_ms {
            return None;
        }
        let most = match apart {
            Apart::Nothing if step_s.is_some() => MOST_POINTS,
            Apart::Nothing | Apart::Processes => POINTS,
        };
        let least_ms = i64::from(step_s.unwrap_or(0)) * 1_000;
        let ranges = STEPS_S.iter().map(|step| step * 1_000).filter_map(|step_ms| {
            let tier = TIERS.iter().rev().find(|tier| step_ms % tier.step_ms == 0)?;
            let range = Self {
                from_ms: from_ms - from_ms.rem_euclid(step_ms),
                until_ms: until_ms + (-until_ms).rem_euclid(step_ms),
                step_ms,
                tier: *tier,
            };
            Some((range, range.is_kept(from_ms, now_ms) && range.points() <= most))
        });
        let mut last = None;
        for (range, fits) in ranges {
            last = Some(range);
            if fits && range.step_ms >= least_ms {
                break;
            }
        }
        last
    }

    fn is_kept(&self, from_ms: UnixMillis, now_ms: UnixMillis) -> bool {
        from_ms >= now_ms.saturating_sub(self.tier.kept_ms)
    }

    /// How many steps there are.
    pub fn points(&self) -> i64 {
        (self.until_ms - self.from_ms) / self.step_ms
    }

    /// The step to which an instant belongs, if it is within.
    fn place_of(&self, at_ms: UnixMillis) -> Option<usize> {
        let is_within = (self.from_ms..self.until_ms).contains(&at_ms);
        is_within.then(|| usize::try_from((at_ms - self.from_ms) / self.step_ms).ok())?
    }
}

/// The steps of one process, or of all together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Steps(Vec<Point>);

impl Steps {
    pub(super) fn new(range: &Range) -> Self {
        Self(vec![Point::default(); usize::try_from(range.points()).unwrap_or(0)])
    }

    /// Adds the points of a chunk that begins at `from_ms`.
    pub(super) fn add(&mut self, range: &Range, from_ms: UnixMillis, points: &BTreeMap<u32, Point>) {
        for (place, point) in points {
            let at_ms = from_ms + i64::from(*place) * range.tier.step_ms;
            if let Some(step) = range.place_of(at_ms).and_then(|place| self.0.get_mut(place)) {
                step.merge(point);
            }
        }
    }

    /// Adds all steps of another.
    pub(super) fn merge(&mut self, other: &Self) {
        for (sum, more) in self.0.iter_mut().zip(&other.0) {
            sum.merge(more);
        }
    }

    /// What they say of one series.
    pub(super) fn values(&self, series: Series, clock: &Self) -> Vec<Option<f64>> {
        let steps = self.0.iter().zip(&clock.0);
        steps.map(|(point, clock)| series.value(point, clock)).collect()
    }

    pub(super) fn has(&self, figures: &[Figure]) -> bool {
        self.0
            .iter()
            .any(|point| figures.iter().any(|figure| point.get(*figure) > 0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::point::tests::points;
    use super::*;

    const NOW_MS: UnixMillis = 1_790_000_123_456;
    const HOUR_MS: i64 = 3_600_000;

    fn step_s(back_h: i64, wish: Option<u32>) -> i64 {
        Range::choose(NOW_MS - back_h * HOUR_MS, NOW_MS, wish, Apart::Nothing, NOW_MS)
            .unwrap()
            .step_ms
            / 1_000
    }

    #[test]
    fn the_step_follows_from_the_range() {
        let chosen = [1, 6, 24, 7 * 24, 30 * 24, 365 * 24].map(|hours| step_s(hours, None));
        assert_eq!(chosen, [10, 60, 300, 1_800, 7_200, 86_400]);
        assert_eq!(
            [5, 10, 11, 45, 90_000].map(|wish| step_s(1, Some(wish))),
            [10, 10, 30, 60, 86_400]
        );
        assert_eq!(step_s(6, Some(1)), 30, "2,160 points would be too many");
        assert_eq!(step_s(5, Some(1)), 10);
        assert_eq!(step_s(7, Some(10)), 60, "10 s are not kept for so long");
        assert_eq!(step_s(4 * 24, Some(60)), 900);
        assert_eq!(step_s(60 * 24, Some(900)), 21_600);
    }

    #[test]
    fn what_is_not_kept_or_not_yet_is_left_out() {
        let range = Range::choose(0, i64::MAX, None, Apart::Nothing, NOW_MS).unwrap();
        assert!(range.from_ms > NOW_MS - 400 * 24 * HOUR_MS && range.until_ms < NOW_MS + 24 * HOUR_MS);
        assert_eq!(range.step_ms, 86_400_000);
        assert_eq!(Range::choose(NOW_MS, NOW_MS + 1, None, Apart::Nothing, NOW_MS), None);
        assert_eq!(Range::choose(5, 4, None, Apart::Nothing, NOW_MS), None);
        assert_eq!(Range::choose(0, 7, None, Apart::Nothing, NOW_MS), None);
    }

    #[test]
    fn nothing_measured_is_not_nothing() {
        let (mut clock, mut point) = (Point::default(), Point::default());
        assert!(Series::ALL.iter().all(|series| series.value(&point, &clock).is_none()));
        clock.add(Figure::LookedMs, 10_000);
        clock.add(Figure::Looks, 1);
        assert_eq!(Series::Cpu.value(&point, &clock), Some(0.0));
        assert_eq!(
            Series::Requests.value(&point, &clock),
            None,
            "nobody knows what the node did"
        );
        clock.add(Figure::ServedMs, 10_000);
        assert_eq!(Series::Requests.value(&point, &clock), Some(0.0));
        assert_eq!(Series::LatencyP99.value(&point, &clock), None);
        assert_eq!(Series::Memory.value(&point, &clock), Some(0.0), "nothing runs");
        point.add(Figure::MemoryUnread, 1);
        assert_eq!(Series::Memory.value(&point, &clock), None, "nobody knows how much");
        clock.add(Figure::Looks, 2);
        point.add(Figure::MemoryBytes, 300);
        assert_eq!(
            Series::Memory.value(&point, &clock),
            Some(150.0),
            "of the two looks that know"
        );
        point.add(Figure::Requests, 25);
        point.add(Figure::CpuUs, 5_000_000);
        point.add(Figure::CostNano, 1_000_000_000);
        assert_eq!(Series::Requests.value(&point, &clock), Some(2.5));
        assert_eq!(Series::Cpu.value(&point, &clock), Some(0.5));
        assert_eq!(Series::Cost.value(&point, &clock), Some(360.0));
    }

    proptest! {
        #[test]
        fn a_range_holds_what_was_asked_for_and_is_not_too_much(
            back_ms in 1..396 * 24 * HOUR_MS, ahead_ms in 0..HOUR_MS, wish in proptest::option::of(0..100_000_u32),
        ) {
            let range = Range::choose(NOW_MS - back_ms, NOW_MS + ahead_ms, wish, Apart::Nothing, NOW_MS).unwrap();
            let most = wish.map_or(POINTS, |_| MOST_POINTS);
            prop_assert!((1..=most).contains(&range.points()));
            prop_assert!(range.from_ms <= NOW_MS - back_ms && range.until_ms >= NOW_MS);
            prop_assert_eq!((range.from_ms % range.step_ms, range.until_ms % range.step_ms), (0, 0));
            prop_assert_eq!(range.step_ms % range.tier.step_ms, 0);
            prop_assert!(back_ms <= range.tier.kept_ms);
            prop_assert!(range.step_ms >= i64::from(wish.unwrap_or(0).min(86_400)) * 1_000);
        }

        /// However it was rolled up, a step is the sum of all that was measured within it.
        #[test]
        fn every_resolution_says_the_same(
            measured in proptest::collection::vec((0..6 * HOUR_MS, points()), 1..40), step in 0..STEPS_S.len() - 1,
        ) {
            let from_ms = NOW_MS - NOW_MS.rem_euclid(24 * HOUR_MS);
            let range = |tier| Range { from_ms, until_ms: from_ms + 6 * HOUR_MS, step_ms: STEPS_S[step] * 1_000, tier };
            let fitting = TIERS.into_iter().filter(|tier| STEPS_S[step] * 1_000 % tier.step_ms == 0);
            let mut found = Vec::new();
            for tier in fitting {
                let mut chunks = BTreeMap::<UnixMillis, super::super::chunk::Chunk>::new();
                for (after_ms, point) in &measured {
                    let at_ms = from_ms + after_ms;
                    let chunk = chunks.entry(tier.chunk_of(at_ms)).or_default();
                    chunk.add(tier.place_of(at_ms), point, &tier);
                }
                let range = range(tier);
                let mut steps = Steps::new(&range);
                chunks.iter().for_each(|(from_ms, chunk)| steps.add(&range, *from_ms, &chunk.points()));
                found.push(steps);
            }
            prop_assert!(found.windows(2).all(|pair| pair[0] == pair[1]));
            let mut all = Point::default();
            measured.iter().for_each(|(_, point)| all.merge(point));
            let mut sum = Point::default();
            found[0].0.iter().for_each(|point| sum.merge(point));
            prop_assert_eq!(sum, all);
        }
    }
}
