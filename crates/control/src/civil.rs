//! Dates as people write them, in the ledger's time zone: the one in which the periods of caps
//! begin.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use weir_ledger::Period;
use weir_model::UnixMillis;

const HOUR_MS: i64 = 3_600_000;

/// The first instant of a date like `2026-11-01`; `None` if the text is none.
pub(crate) fn begin_of(text: &str, zone: &TimeZone) -> Option<UnixMillis> {
    first_instant(date(text)?, zone)
}

/// The first instant after a date like `2026-11-01`; `None` if the text is none.
pub(crate) fn end_of(text: &str, zone: &TimeZone) -> Option<UnixMillis> {
    first_instant(date(text)?.tomorrow().ok()?, zone)
}

/// The hour around an instant, which begins at midnight at the earliest: there are time zones in
/// which midnight is within an hour of UTC.
pub(crate) fn hour_of(at_ms: UnixMillis, zone: &TimeZone) -> UnixMillis {
    let (day_ms, _) = Period::Day.around(at_ms, zone);
    (at_ms - at_ms.rem_euclid(HOUR_MS)).max(day_ms)
}

/// An instant for people, to the minute, with the name of the zone.
pub(crate) fn shown(at_ms: UnixMillis, zone: &TimeZone) -> String {
    let at = Timestamp::from_millisecond(at_ms)
        .unwrap_or_default()
        .to_zoned(zone.clone());
    format!(
        "{} {}",
        at.strftime("%Y-%m-%d %H:%M"),
        zone.iana_name().unwrap_or("UTC")
    )
}

/// The date around an instant.
pub(crate) fn day_of(at_ms: UnixMillis, zone: &TimeZone) -> Date {
    let at = Timestamp::from_millisecond(at_ms).unwrap_or_default();
    at.to_zoned(zone.clone()).date()
}

/// A text with a time in it would read as a date, too; that is not what is meant.
fn date(text: &str) -> Option<Date> {
    text.parse().ok().filter(|_| text.len() == "2030-01-31".len())
}

fn first_instant(date: Date, zone: &TimeZone) -> Option<UnixMillis> {
    let midnight = date.to_zoned(zone.clone()).ok()?;
    Some(midnight.timestamp().as_millisecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> UnixMillis {
        text.parse::<Timestamp>().unwrap().as_millisecond()
    }

    #[test]
    fn a_date_begins_and_ends_at_midnight_of_the_zone() {
        for (zone, begin, end) in [
            ("UTC", "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
            ("Europe/Berlin", "2026-10-31T23:00:00Z", "2026-11-01T23:00:00Z"),
            // Clocks go back on this day, so that it has 25 hours.
            ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"),
            ("Asia/Kolkata", "2026-10-31T18:30:00Z", "2026-11-01T18:30:00Z"),
        ] {
            let zone = TimeZone::get(zone).unwrap();
            assert_eq!(begin_of("2026-11-01", &zone), Some(ms(begin)));
            assert_eq!(end_of("2026-11-01", &zone), Some(ms(end)));
        }
        for text in ["", "2026-11", "2026-13-01", "2026-11-01T15:00", "tomorrow"] {
            assert_eq!(begin_of(text, &TimeZone::UTC), None, "{text}");
        }
    }

    #[test]
    fn an_hour_does_not_reach_over_midnight() {
        let kolkata = TimeZone::get("Asia/Kolkata").unwrap();
        let hour = |text| hour_of(ms(text), &kolkata);
        assert_eq!(hour("2026-10-31T18:45:00Z"), ms("2026-10-31T18:30:00Z"));
        assert_eq!(hour("2026-10-31T18:29:00Z"), ms("2026-10-31T18:00:00Z"));
        assert_eq!(hour("2026-10-31T20:59:00Z"), ms("2026-10-31T20:00:00Z"));
    }

    #[test]
    fn instants_are_shown_with_the_name_of_the_zone() {
        let berlin = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(
            shown(ms("2026-12-01T23:00:00Z"), &berlin),
            "2026-12-02 00:00 Europe/Berlin"
        );
        assert_eq!(shown(0, &TimeZone::UTC), "1970-01-01 00:00 UTC");
    }
}
