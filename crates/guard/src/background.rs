//! Work after the answer: CPU time that is used while nothing is in flight.

/// No request for so long before it counts as background, in milliseconds.
const QUIET_MS: u64 = 1_000;
/// So long must it last, in milliseconds.
const LASTS_MS: u64 = 2_000;
/// Above this share of one core it counts, in thousandths.
const SHARE_MILLI: u64 = 50;

/// One look at an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// When, on a monotonic clock.
    pub at_ms: u64,
    /// CPU time used since its start, in microseconds.
    pub cpu_us: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests answered since its start.
    pub requests: u64,
}

/// What an instance is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activity {
    /// It serves, or it rests.
    #[default]
    Ordinary,
    /// It works although nobody asked anything of it.
    Background {
        /// Since when.
        since_ms: u64,
        /// CPU time used since, in microseconds.
        cpu_us: u64,
    },
}

/// Watches one instance.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    last: Option<Sample>,
    /// Last instant at which a request was in flight or had been since the look before.
    asked_ms: u64,
    /// Since when it works without being asked, and the CPU time at that instant.
    working: Option<(u64, u64)>,
}

impl Detector {
    /// Takes in a look; about one a second is right. A counter that went back (the instance was
    /// started anew) begins anew here as well.
    pub fn observe(&mut self, sample: Sample) -> Activity {
        let last = self.last.replace(sample);
        let Some(last) = last.filter(|last| last.at_ms < sample.at_ms && last.cpu_us <= sample.cpu_us) else {
            self.asked_ms = sample.at_ms;
            self.working = None;
            return Activity::Ordinary;
        };
        if sample.in_flight > 0 || last.in_flight > 0 || sample.requests != last.requests {
            self.asked_ms = sample.at_ms;
        }
        let passed_ms = sample.at_ms - last.at_ms;
        let share_milli = (sample.cpu_us - last.cpu_us) / passed_ms;
        if sample.at_ms - self.asked_ms < QUIET_MS || share_milli <= SHARE_MILLI {
            self.working = None;
            return Activity::Ordinary;
        }
        let (since_ms, cpu_us) = *self.working.get_or_insert((last.at_ms, last.cpu_us));
        if sample.at_ms - since_ms < LASTS_MS {
            return Activity::Ordinary;
        }
        Activity::Background {
            since_ms,
            cpu_us: sample.cpu_us - cpu_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at_ms: u64, cpu_us: u64, in_flight: u64) -> Sample {
        Sample {
            at_ms,
            cpu_us,
            in_flight,
            requests: 1,
        }
    }

    #[test]
    fn work_that_nobody_asked_for_is_marked_after_three_seconds() {
        let mut detector = Detector::default();
        detector.observe(sample(0, 0, 1));
        let seen: Vec<Activity> = (1..=5)
            .map(|second| detector.observe(sample(second * 1000, second * 100_000, 0)))
            .collect();
        assert_eq!(seen[1], Activity::Ordinary);
        assert_eq!(
            seen[4],
            Activity::Background {
                since_ms: 1000,
                cpu_us: 400_000
            }
        );
    }

    #[test]
    fn serving_resting_and_a_new_start_are_ordinary() {
        let mut serving = Detector::default();
        let mut resting = Detector::default();
        let mut restarted = Detector::default();
        for second in 0..20 {
            assert_eq!(
                serving.observe(sample(second * 1000, second * 900_000, 1)),
                Activity::Ordinary
            );
            assert_eq!(
                resting.observe(sample(second * 1000, second * 40_000, 0)),
                Activity::Ordinary
            );
            assert_eq!(
                restarted.observe(sample(second * 1000, (second % 2) * 900_000, 0)),
                Activity::Ordinary
            );
        }
    }

    #[test]
    fn short_requests_between_two_looks_are_not_background() {
        let mut detector = Detector::default();
        for second in 0..10 {
            let look = Sample {
                at_ms: second * 1000,
                cpu_us: second * 500_000,
                in_flight: 0,
                requests: second * 50,
            };
            assert_eq!(detector.observe(look), Activity::Ordinary);
        }
    }
}
