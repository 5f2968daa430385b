//! How long data is kept that nobody pays for any more. Pure.
//!
//! It is paid out of its tail, which was held when it was written. When that is used up it is
//! deleted, but never before its owner was told twice, and has had the time to act that was told.

use serde::{Deserialize, Serialize};
use weir_ledger::{Nano, Price};
use weir_model::UnixMillis;

const DAY_MS: i64 = 86_400_000;
/// So long before the end its owner is told …
const FIRST_WARNING_MS: i64 = 7 * DAY_MS;
/// … and once more.
const LAST_WARNING_MS: i64 = DAY_MS;

/// When the owner of an environment was told that its data will be deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    first_ms: Option<UnixMillis>,
    last_ms: Option<UnixMillis>,
}

impl Told {
    /// So it was, at this instant.
    pub(super) fn note(&mut self, warning: Warning, now_ms: UnixMillis) {
        match warning {
            Warning::First => self.first_ms = Some(now_ms),
            Warning::Last => self.last_ms = Some(now_ms),
        }
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Warning {
    First,
    Last,
}

/// What becomes of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is kept for now.
    Keep,
    /// So it is, and its owner has to be told until when.
    Warn(Warning),
    /// Its time is over.
    Delete,
}

/// Until when so many bytes are paid that are paid until `paid_ms` and then out of a tail.
pub(super) fn paid_until(paid_ms: UnixMillis, tail: Nano, price: Price, bytes: u64) -> UnixMillis {
    let pico_per_ms = i128::from(price.pico) * i128::from(bytes);
    if pico_per_ms <= 0 {
        return UnixMillis::MAX;
    }
    let pico = i128::from(tail.0.max(0)) * 1_000;
    let ms = pico.saturating_mul(i128::from(price.per)) / pico_per_ms;
    paid_ms.saturating_add(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// Until when data is kept that is paid until `paid_until_ms`.
pub(super) fn kept_until(paid_until_ms: UnixMillis, told: Told, now_ms: UnixMillis) -> UnixMillis {
    let first_ms = told.first_ms.unwrap_or(now_ms).saturating_add(FIRST_WARNING_MS);
    let last_ms = told
        .last_ms
        .map_or(first_ms, |at_ms| at_ms.saturating_add(LAST_WARNING_MS));
    paid_until_ms.max(first_ms).max(last_ms)
}

/// Decides.
pub(super) fn fate(paid_until_ms: UnixMillis, told: Told, now_ms: UnixMillis) -> Fate {
    let left_ms = kept_until(paid_until_ms, told, now_ms).saturating_sub(now_ms);
    match (told.first_ms, told.last_ms) {
        (None, _) if left_ms <= FIRST_WARNING_MS => Fate::Warn(Warning::First),
        (Some(_), None) if left_ms <= LAST_WARNING_MS => Fate::Warn(Warning::Last),
        (Some(_), Some(_)) if left_ms <= 0 => Fate::Delete,
        _ => Fate::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lives through the end of some data, looking so often; gives on which days what happened.
    fn lives(paid_days: i64, look_ms: i64, away_days: i64) -> Vec<(i64, Fate)> {
        let (mut told, mut happened) = (Told::default(), Vec::new());
        let mut now_ms = away_days * DAY_MS;
        while now_ms < 100 * DAY_MS {
            match fate(paid_days * DAY_MS, told, now_ms) {
                Fate::Keep => {}
                fate => {
                    happened.push((now_ms / DAY_MS, fate));
                    match fate {
                        Fate::Warn(warning) => told.note(warning, now_ms),
                        _ => break,
                    }
                }
            }
            now_ms += look_ms;
        }
        happened
    }

    #[test]
    fn data_is_deleted_when_its_tail_is_used_up_and_its_owner_was_told_twice() {
        let (first, last) = (Fate::Warn(Warning::First), Fate::Warn(Warning::Last));
        assert_eq!(lives(30, 10_000, 0), [(23, first), (29, last), (30, Fate::Delete)]);
    }

    #[test]
    fn whoever_could_not_be_told_in_time_gets_the_whole_time_after_it() {
        let (first, last) = (Fate::Warn(Warning::First), Fate::Warn(Warning::Last));
        // Control was away until long after the end, or looked too late.
        assert_eq!(lives(30, 10_000, 60), [(60, first), (66, last), (67, Fate::Delete)]);
        assert_eq!(lives(2, 10_000, 0), [(0, first), (6, last), (7, Fate::Delete)]);
        let seldom = lives(30, 5 * DAY_MS, 0);
        assert_eq!(seldom, [(25, first), (35, last), (40, Fate::Delete)]);
    }

    #[test]
    fn a_tail_lasts_as_long_as_it_pays_for() {
        let price = Price { pico: 10, per: 1_000 };
        // 100 bytes cost one pico-unit a millisecond.
        assert_eq!(paid_until(50, Nano(3), price, 100), 3_050);
        assert_eq!(paid_until(50, Nano::ZERO, price, 100), 50);
        assert_eq!(paid_until(50, Nano(3), price, 0), UnixMillis::MAX);
    }
}
