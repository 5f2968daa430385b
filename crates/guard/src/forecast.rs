//! Whether the cap will be reached, how soon, and how fast the spending itself grows. Amounts are
//! in nano-units of the currency. For alerts, never for the cap itself.

use std::collections::VecDeque;

/// Money for less than so long raises an alarm, and a page, in seconds.
const ALARM_S: u64 = 600;
const PAGE_S: u64 = 60;
/// Spending that doubles faster than this, three times in a row, is an alarm.
const DOUBLING_S: u64 = 60;
/// Looks kept: at one a second, more than three slowest doublings.
const MOST_LOOKS: usize = 256;

/// How near the end of the money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Urgency {
    /// There is time.
    #[default]
    None,
    /// Less than ten minutes, or spending that doubles within a minute.
    Alarm,
    /// Less than a minute.
    Page,
}

/// What is to be expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Spent per hour at the present pace.
    pub burn_nano_per_h: i64,
    /// Seconds until nothing is left at that pace; none where nothing is spent.
    pub left_s: Option<u64>,
    /// In which the pace doubles, in milliseconds, if it has done so three times in a row.
    pub doubling_ms: Option<u64>,
    /// What to do about it.
    pub urgency: Urgency,
}

/// Watches the spending of one scope.
#[derive(Debug, Clone, Default)]
pub struct Forecaster {
    /// Instant and total spent, oldest first.
    looks: VecDeque<(u64, i64)>,
}

impl Forecaster {
    /// Takes in a look: milliseconds on a monotonic clock, the total spent in this period, and
    /// what is left. A total that went back (a new period) begins anew.
    pub fn observe(&mut self, at_ms: u64, spent_nano: i64, left_nano: i64) -> Forecast {
        match self.looks.back() {
            Some((last_ms, last_nano)) if *last_nano > spent_nano || *last_ms > at_ms => self.looks.clear(),
            Some((last_ms, _)) if *last_ms == at_ms => {
                self.looks.pop_back();
            }
            _ => {}
        }
        if self.looks.len() == MOST_LOOKS {
            self.looks.pop_front();
        }
        self.looks.push_back((at_ms, spent_nano));
        let burn_nano_per_h = self.burn_nano_per_h();
        let left_s = left_s(burn_nano_per_h, left_nano);
        let doubling_ms = self.doubling_ms();
        let urgency = match left_s {
            Some(left) if left < PAGE_S => Urgency::Page,
            Some(left) if left < ALARM_S => Urgency::Alarm,
            _ if doubling_ms.is_some_and(|time| time < DOUBLING_S * 1000) => Urgency::Alarm,
            _ => Urgency::None,
        };
        Forecast {
            burn_nano_per_h,
            left_s,
            doubling_ms,
            urgency,
        }
    }

    /// The pace of the last ten seconds or so.
    fn burn_nano_per_h(&self) -> i64 {
        let Some((now_ms, now_nano)) = self.looks.back() else {
            return 0;
        };
        let recent = self.looks.iter().find(|(at_ms, _)| now_ms - at_ms <= 10_000);
        recent.map_or(0, |(at_ms, nano)| per_hour(now_nano - nano, now_ms - at_ms))
    }

    /// Compares four stretches of time of the same length, at several lengths: in each at least
    /// half as much again must be spent as in the one before, and eight times as much in the last.
    fn doubling_ms(&self) -> Option<u64> {
        let (now_ms, _) = *self.looks.back()?;
        for length_ms in [1, 2, 4, 8, 16, 32, 60].map(|seconds| seconds * 1000) {
            let marks: Option<Vec<i64>> = (0..5)
                .map(|part| self.total_at(now_ms.checked_sub((4 - part) * length_ms)?))
                .collect();
            let Some(marks) = marks else { continue };
            let spent: Vec<i64> = marks.windows(2).map(|pair| pair[1] - pair[0]).collect();
            let steady = spent.windows(2).all(|pair| pair[1] / 3 >= pair[0] / 2);
            if spent[0] > 0 && steady && spent[3] / 8 >= spent[0] {
                let factor = (spent[3] as f64 / spent[0] as f64).log2() / 3.0;
                return Some(rounded(length_ms as f64 / factor));
            }
        }
        None
    }

    /// The total at an instant, if there is a look within half a second of it.
    fn total_at(&self, at_ms: u64) -> Option<i64> {
        let nearest = self.looks.iter().min_by_key(|(look_ms, _)| look_ms.abs_diff(at_ms))?;
        (nearest.0.abs_diff(at_ms) <= 500).then_some(nearest.1)
    }
}

/// Calls that a tenth of a cap pays for, at so much a call; for the budget of descendants of one
/// request. At least 1.
pub fn calls_within_a_tenth(limit_nano: i64, call_nano: i64) -> u64 {
    let calls = limit_nano / 10 / call_nano.max(1);
    u64::try_from(calls).unwrap_or(0).max(1)
}

fn per_hour(nano: i64, passed_ms: u64) -> i64 {
    if passed_ms == 0 {
        return 0;
    }
    i64::try_from(i128::from(nano) * 3_600_000 / i128::from(passed_ms)).unwrap_or(i64::MAX)
}

fn left_s(burn_nano_per_h: i64, left_nano: i64) -> Option<u64> {
    (burn_nano_per_h > 0).then(|| {
        let seconds = i128::from(left_nano.max(0)) * 3600 / i128::from(burn_nano_per_h);
        u64::try_from(seconds).unwrap_or(u64::MAX)
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "held within the range before"
)]
fn rounded(value: f64) -> u64 {
    value.clamp(0.0, 1e15).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: i64 = 1_000_000_000;

    #[test]
    fn ten_minutes_raise_an_alarm_and_one_a_page() {
        let mut forecaster = Forecaster::default();
        let mut last = Forecast::default();
        // A hundredth of a unit each second, of 7.
        let mut alarm_s = None;
        let mut page_s = None;
        for second in 0..700_i64 {
            let spent = second * UNIT / 100;
            last = forecaster.observe(second.unsigned_abs() * 1000, spent, 7 * UNIT - spent);
            if last.urgency == Urgency::Alarm {
                alarm_s.get_or_insert(second);
            }
            if last.urgency == Urgency::Page {
                page_s.get_or_insert(second);
            }
        }
        assert_eq!(last.burn_nano_per_h, 36 * UNIT);
        assert_eq!((alarm_s, page_s), (Some(101), Some(641)));
    }

    #[test]
    fn spending_that_doubles_is_an_alarm_long_before_the_end() {
        let mut forecaster = Forecaster::default();
        let mut spent = 0;
        let mut burn = 10;
        for second in 0..20_u64 {
            let seen = forecaster.observe(second * 1000, spent, 1_000_000 * UNIT);
            if seen.urgency == Urgency::Alarm {
                assert!((900..=1_100).contains(&seen.doubling_ms.unwrap()));
                assert!(spent < UNIT);
                return;
            }
            spent += burn;
            burn *= 2;
        }
        panic!("no alarm");
    }

    #[test]
    fn steady_spending_and_a_single_step_do_not_double() {
        let mut forecaster = Forecaster::default();
        for second in 0..200_i64 {
            let spent = second * 1000 + (second - 100).max(0) * 50_000;
            let seen = forecaster.observe(second.unsigned_abs() * 1000, spent, 1_000_000 * UNIT);
            assert_eq!(seen.urgency, Urgency::None, "at {second}");
        }
    }

    #[test]
    fn a_tenth_of_seven_pays_for_331_calls_of_the_incident() {
        assert_eq!(calls_within_a_tenth(7 * UNIT, 2_111_300), 331);
    }
}
