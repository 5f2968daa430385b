//! The stretch of time that a cap is for.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan, Zoned};
use serde::{Deserialize, Serialize};
use weir_model::UnixMillis;

/// How often a cap begins anew, in civil time of the ledger's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// At midnight.
    Day,
    /// At midnight before Monday.
    Week,
    /// At midnight before the first.
    Month,
    /// Never.
    Total,
}

/// Finds a time zone by its IANA name (`Europe/Berlin`, `UTC`); `None` if there is none.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    TimeZone::get(name).ok()
}

impl Period {
    /// The period around an instant: its first instant, and the first one after it (`None` for a
    /// total). A day on which clocks change has 23 or 25 hours; where midnight does not exist,
    /// the day begins at its first instant.
    ///
    /// Instants outside the years -9999 to 9999 are in one period without end.
    pub fn around(self, at_ms: UnixMillis, zone: &TimeZone) -> (UnixMillis, Option<UnixMillis>) {
        let ends = match self {
            Self::Total => None,
            Self::Day => Self::ends(at_ms, zone, |day| Ok(day.clone()), 1.day()),
            Self::Week => Self::ends(
                at_ms,
                zone,
                |day| day.checked_sub(i64::from(day.weekday().since(Weekday::Monday)).days()),
                1.week(),
            ),
            Self::Month => Self::ends(at_ms, zone, Zoned::first_of_month, 1.month()),
        };
        ends.map_or((at_ms, None), |(from, until)| (from, Some(until)))
    }

    fn ends(
        at_ms: UnixMillis,
        zone: &TimeZone,
        first_day: impl Fn(&Zoned) -> Result<Zoned, jiff::Error>,
        length: jiff::Span,
    ) -> Option<(UnixMillis, UnixMillis)> {
        let at = Timestamp::from_millisecond(at_ms).ok()?.to_zoned(zone.clone());
        // From noon, which exists on every day, so that adding days cannot fall into a gap.
        let noon = at
            .with()
            .hour(12)
            .minute(0)
            .second(0)
            .subsec_nanosecond(0)
            .build()
            .ok()?;
        let first = first_day(&noon).ok()?;
        let next = first.checked_add(length).ok()?;
        let begins = |day: &Zoned| day.start_of_day().ok().map(|start| start.timestamp().as_millisecond());
        Some((begins(&first)?, begins(&next)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> UnixMillis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    /// Around this instant, in this zone, it lasts from then until then.
    type Case = (Period, &'static str, &'static str, &'static str, &'static str);

    fn check(cases: &[Case]) {
        for (period, at, zone, from, until) in cases {
            let expected = (ms(from), Some(ms(until)));
            assert_eq!(
                period.around(ms(at), &time_zone(zone).unwrap()),
                expected,
                "{at} {zone}"
            );
        }
    }

    #[test]
    fn periods_begin_at_civil_midnight() {
        use Period::{Month, Week};
        check(&[
            (
                Month,
                "2026-11-21T13:00:00Z",
                "UTC",
                "2026-11-01T00:00:00Z",
                "2026-12-01T00:00:00Z",
            ),
            (
                Month,
                "2024-02-29T23:59:59.999Z",
                "UTC",
                "2024-02-01T00:00:00Z",
                "2024-03-01T00:00:00Z",
            ),
            (
                Week,
                "2026-11-22T13:00:00Z",
                "UTC",
                "2026-11-16T00:00:00Z",
                "2026-11-23T00:00:00Z",
            ),
            (
                Month,
                "2026-11-30T23:30:00Z",
                "Europe/Berlin",
                "2026-11-30T23:00:00Z",
                "2026-12-31T23:00:00Z",
            ),
        ]);
        assert_eq!(Period::Total.around(5, &TimeZone::UTC), (5, None));
    }

    #[test]
    fn days_on_which_clocks_change_are_shorter_and_longer() {
        use Period::Day;
        check(&[
            (
                Day,
                "2026-03-29T10:00:00Z",
                "Europe/Berlin",
                "2026-03-28T23:00:00Z",
                "2026-03-29T22:00:00Z",
            ),
            (
                Day,
                "2026-10-25T10:00:00Z",
                "Europe/Berlin",
                "2026-10-24T22:00:00Z",
                "2026-10-25T23:00:00Z",
            ),
            // In Santiago midnight itself is skipped: the day begins at one.
            (
                Day,
                "2026-09-06T12:00:00Z",
                "America/Santiago",
                "2026-09-06T04:00:00Z",
                "2026-09-07T03:00:00Z",
            ),
        ]);
    }

    #[test]
    fn each_period_begins_where_the_last_one_ended() {
        for zone in ["UTC", "Europe/Berlin", "America/Santiago", "Pacific/Apia"] {
            let zone = time_zone(zone).unwrap();
            for period in [Period::Day, Period::Week, Period::Month] {
                let mut at = ms("2011-01-01T12:00:00Z");
                for _ in 0..800 {
                    let (from, until) = period.around(at, &zone);
                    let until = until.unwrap();
                    assert!(from <= at && at < until);
                    assert_eq!(period.around(until - 1, &zone), (from, Some(until)));
                    assert_eq!(period.around(until, &zone).0, until);
                    at = until;
                }
            }
        }
    }

    #[test]
    fn an_unknown_time_zone_is_none() {
        assert!(time_zone("Mars/Olympus").is_none());
    }
}
