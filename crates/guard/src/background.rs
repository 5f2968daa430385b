//! Work after the answer: CPU time that is used while nothing is in flight.

use weir_model::guard::BackgroundRule;

/// No request for so long before it counts as background, in milliseconds.
const QUIET_MS: u64 = 1_000;
/// So long must it last, in milliseconds.
const LASTS_MS: u64 = 2_000;
/// Above this share of one core it counts, in thousandths.
pub const SHARE_MILLI: u64 = 50;
/// An instance that was never asked anything is starting, for so long, in milliseconds.
const STARTING_MS: u64 = 60_000;
/// What begins again within so long is not told anew.
const SAME_MS: u64 = 60_000;

/// What an instance has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// Requests in flight, and connections that were upgraded.
    pub in_flight: u64,
    /// Requests answered since its start.
    pub requests: u64,
}

/// One look at an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, on a monotonic clock.
    pub at_ms: u64,
    /// CPU time used since its start, in microseconds.
    pub cpu_us: u64,
    /// What was asked of it.
    pub asked: Asked,
}

/// Work that nobody asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Since when.
    pub since_ms: u64,
    /// CPU time used since, in microseconds.
    pub cpu_us: u64,
    /// Whether it is to be slowed down.
    pub slow: bool,
    /// Whether people are to be told: it has begun just now.
    pub is_news: bool,
}

/// Watches one instance.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    first_ms: Option<u64>,
    last: Option<Sample>,
    /// Last instant at which a request was in flight or had been since the look before.
    asked_ms: u64,
    /// Since when it works without being asked, and the CPU time at that instant.
    working: Option<(u64, u64)>,
    /// It is slowed down until it is asked.
    slow: bool,
    /// When its work was seen last, of that which people know of.
    told_ms: Option<u64>,
}

impl Detector {
    /// Takes in a look; about one a second is right. A counter that went back (the instance was
    /// started anew) begins anew here as well.
    pub fn observe(&mut self, sample: Sample, rule: BackgroundRule) -> Option<Work> {
        let first_ms = *self.first_ms.get_or_insert(sample.at_ms);
        let last = self.last.replace(sample);
        let Some(last) = last.filter(|last| last.at_ms < sample.at_ms && last.cpu_us <= sample.cpu_us) else {
            self.rests(sample.at_ms);
            return None;
        };
        let starts = sample.asked.requests == 0 && sample.at_ms - first_ms < STARTING_MS;
        if starts || sample.asked.in_flight > 0 || sample.asked != last.asked {
            self.rests(sample.at_ms);
        }
        let share_milli = (sample.cpu_us - last.cpu_us) / (sample.at_ms - last.at_ms);
        let is_quiet = sample.at_ms - self.asked_ms < QUIET_MS || share_milli <= SHARE_MILLI;
        self.slow &= rule == BackgroundRule::Slow;
        // What is slowed down uses next to nothing, and would go on at once if it was let go.
        if rule == BackgroundRule::Allow || is_quiet && !self.slow {
            self.working = None;
            return None;
        }
        let (since_ms, before_us) = *self.working.get_or_insert((last.at_ms, last.cpu_us));
        if sample.at_ms - since_ms < LASTS_MS {
            return None;
        }
        self.slow = rule == BackgroundRule::Slow;
        let told_ms = self.told_ms.replace(sample.at_ms);
        Some(Work {
            since_ms,
            cpu_us: sample.cpu_us - before_us,
            slow: self.slow,
            is_news: told_ms.is_none_or(|told_ms| sample.at_ms - told_ms >= SAME_MS),
        })
    }

    /// Whether something is, or was, asked of the instance since the last look.
    pub fn is_asked(&self, asked: Asked) -> bool {
        asked.in_flight > 0 || self.last.is_some_and(|last| last.asked != asked)
    }

    fn rests(&mut self, now_ms: u64) {
        self.asked_ms = now_ms;
        self.working = None;
        self.slow = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, cpu_us: u64, in_flight: u64, requests: u64) -> Sample {
        Sample {
            at_ms,
            cpu_us,
            asked: Asked { in_flight, requests },
        }
    }

    #[test]
    fn work_that_nobody_asked_for_is_marked_after_three_seconds_and_told_once() {
        let mut detector = Detector::default();
        detector.observe(sample(0, 0, 1, 1), BackgroundRule::Tell);
        detector.observe(sample(500, 0, 0, 1), BackgroundRule::Tell);
        let seen: Vec<Option<Work>> = (1..=6)
            .map(|second| {
                let look = sample(500 + second * 1000, second * 100_000, 0, 1);
                detector.observe(look, BackgroundRule::Tell)
            })
            .collect();
        assert_eq!(seen[..1], [None]);
        let expected = Work {
            since_ms: 500,
            cpu_us: 200_000,
            slow: false,
            is_news: true,
        };
        assert_eq!(seen[1], Some(expected));
        assert_eq!(seen[2].map(|work| work.is_news), Some(false));
        // It was asked something in between, and goes on afterwards: the same story.
        assert_eq!(
            detector.observe(sample(7_500, 700_000, 0, 2), BackgroundRule::Tell),
            None
        );
        let again: Vec<Work> = (8..=12)
            .filter_map(|second| {
                detector.observe(
                    sample(500 + second * 1000, second * 100_000, 0, 2),
                    BackgroundRule::Tell,
                )
            })
            .collect();
        assert!(!again.is_empty() && again.iter().all(|work| !work.is_news), "{again:?}");
    }

    #[test]
    fn serving_resting_and_a_new_start_are_not_background() {
        let mut serving = Detector::default();
        let mut resting = Detector::default();
        let mut restarted = Detector::default();
        let mut allowed = Detector::default();
        for second in 0..20 {
            let at_ms = second * 1000;
            let look = |cpu_us, in_flight| sample(at_ms, cpu_us, in_flight, 1);
            assert_eq!(serving.observe(look(second * 900_000, 1), BackgroundRule::Slow), None);
            assert_eq!(resting.observe(look(second * 40_000, 0), BackgroundRule::Slow), None);
            let again = look((second % 2) * 900_000, 0);
            assert_eq!(restarted.observe(again, BackgroundRule::Slow), None);
            assert_eq!(allowed.observe(look(second * 900_000, 0), BackgroundRule::Allow), None);
        }
    }

    #[test]
    fn short_requests_between_two_looks_are_not_background() {
        let mut detector = Detector::default();
        for second in 0..10 {
            let look = sample(second * 1000, second * 500_000, 0, second * 50);
            assert_eq!(detector.observe(look, BackgroundRule::Tell), None);
        }
    }

    #[test]
    fn an_instance_may_take_a_minute_to_start() {
        let mut detector = Detector::default();
        let seen = (0..90).find(|second| {
            let look = sample(second * 1000, second * 900_000, 0, 0);
            detector.observe(look, BackgroundRule::Tell).is_some()
        });
        assert_eq!(seen, Some(61));
    }

    #[test]
    fn what_is_slowed_down_stays_so_until_it_is_asked() {
        let mut detector = Detector::default();
        let (mut cpu_us, mut slow_at) = (0, Vec::new());
        for second in 0..30 {
            let asked = Asked {
                in_flight: u64::from(second == 20),
                requests: 1,
            };
            let look = Sample {
                at_ms: second * 1000,
                cpu_us,
                asked,
            };
            assert_eq!(detector.is_asked(asked), second == 20 || second == 21, "{second}");
            let slow = detector
                .observe(look, BackgroundRule::Slow)
                .is_some_and(|work| work.slow);
            slow_at.extend(slow.then_some(second));
            cpu_us += if slow { 10_000 } else { 1_000_000 };
        }
        let expected: Vec<u64> = (2..20).chain(23..30).collect();
        assert_eq!(slow_at, expected);
    }
}
