//! What running things cost at most, and when a cap would stop them. Pure estimates, for people
//! to decide by; nothing is granted by them.

use serde::{Deserialize, Serialize};
use weir_model::UnixMillis;

use crate::money::Nano;
use crate::price::{PriceBook, Sku};

const HOUR_MS: u64 = 3_600_000;
const HOURS_OF_MONTH: u128 = 730;

/// Instances of one process, all alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// How many.
    pub instances: u32,
    /// CPU limit of each, in thousandths of a core.
    pub cpu_milli: u32,
    /// Memory limit of each, in bytes.
    pub memory_bytes: u64,
}

/// What instances cost that use all they may, all the time. Requests and bytes sent come on top:
/// nothing limits those but the cap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorstCase {
    /// In an hour.
    pub per_hour: Nano,
    /// In 730 hours.
    pub per_month: Nano,
}

/// The worst case of a set of processes.
pub fn worst_case(book: &PriceBook, loads: &[Load]) -> WorstCase {
    let (mut cpu, mut memory) = (0_u128, 0_u128);
    for load in loads {
        let instances = u128::from(load.instances);
        // A thousandth of a core for an hour: 3,600 s x 1,000 micro-CPU-seconds.
        cpu += instances * u128::from(load.cpu_milli) * 3_600_000;
        memory += instances * u128::from(load.memory_bytes) * u128::from(HOUR_MS);
    }
    let cost = |hours: u128| {
        let line = |sku: &Sku, units: u128| book.price(sku).line(units * hours).unwrap_or(Nano::MAX);
        line(&Sku::CPU, cpu).saturating_add(line(&Sku::MEMORY, memory))
    };
    WorstCase {
        per_hour: cost(1),
        per_month: cost(HOURS_OF_MONTH),
    }
}

/// When so much is spent at so much per hour: `None` if that is not before `until_ms`. What is
/// spent already is spent now.
pub fn reached_at(left: Nano, per_hour: Nano, now_ms: UnixMillis, until_ms: Option<UnixMillis>) -> Option<UnixMillis> {
    if left <= Nano::ZERO {
        return Some(now_ms);
    }
    if per_hour <= Nano::ZERO {
        return None;
    }
    let after = i128::from(left.0) * i128::from(HOUR_MS) / i128::from(per_hour.0);
    let at = i64::try_from(i128::from(now_ms) + after).unwrap_or(i64::MAX);
    (until_ms.is_none_or(|until| at < until) && at < i64::MAX).then_some(at)
}

/// Where in a worst case a cap stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopsAt {
    /// After so long at the worst case, in milliseconds.
    pub after_ms: i64,
    /// At so many thousandths of what the period would cost, 0 to 999.
    pub per_mille: u16,
}

/// Where in the worst case of a period of so many hours what is left of a cap stops it; `None`
/// if it lasts to the end.
pub fn stops_at(left: Nano, worst: WorstCase, hours: u32) -> Option<StopsAt> {
    let whole = i128::from(worst.per_hour.0) * i128::from(hours);
    let left_now = i128::from(left.0.max(0));
    if whole <= left_now {
        return None;
    }
    let after = left_now * i128::from(HOUR_MS) / i128::from(worst.per_hour.0.max(1));
    Some(StopsAt {
        after_ms: i64::try_from(after).unwrap_or(i64::MAX),
        per_mille: u16::try_from(left_now * 1000 / whole).unwrap_or(999),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    fn small() -> Load {
        Load {
            instances: 1,
            cpu_milli: 1_000,
            memory_bytes: 1 << 30,
        }
    }

    #[test]
    fn the_worst_case_is_all_limits_all_the_time() {
        let worst = worst_case(&PriceBook::built_in(), &[small()]);
        // A core for 730 hours is 3.65, a GiB for a month is 1.00.
        assert_eq!(worst.per_month, Nano(4_650_000_000));
        // 5,000,000 + 1,000,000,000 / 730, rounded up.
        assert_eq!(worst.per_hour, Nano(5_000_000 + 1_369_864));
        let three = Load {
            instances: 3,
            ..small()
        };
        assert_eq!(
            worst_case(&PriceBook::built_in(), &[small(), three]).per_month,
            Nano(4 * 4_650_000_000)
        );
        assert_eq!(worst_case(&PriceBook::built_in(), &[]).per_hour, Nano::ZERO);
        let huge = Load {
            instances: u32::MAX,
            cpu_milli: u32::MAX,
            memory_bytes: u64::MAX,
        };
        assert_eq!(worst_case(&PriceBook::built_in(), &[huge]).per_month, Nano::MAX);
    }

    #[test]
    fn a_cap_is_reached_when_the_rest_is_spent() {
        assert_eq!(reached_at(Nano(500), Nano(1000), 7, None), Some(7 + HOUR / 2));
        assert_eq!(reached_at(Nano(500), Nano(1000), 7, Some(HOUR / 2)), None);
        assert_eq!(reached_at(Nano(500), Nano(0), 7, None), None);
        assert_eq!(reached_at(Nano(0), Nano(0), 7, None), Some(7));
        assert_eq!(reached_at(Nano::MAX, Nano(1), 7, None), None);
    }

    #[test]
    fn a_cap_stops_somewhere_in_the_worst_case() {
        let worst = WorstCase {
            per_hour: Nano(10),
            per_month: Nano(7_300),
        };
        let stops = stops_at(Nano(1_825), worst, 730).unwrap();
        assert_eq!((stops.per_mille, stops.after_ms), (250, 182 * HOUR + HOUR / 2));
        assert_eq!(stops_at(Nano(7_300), worst, 730), None);
        assert_eq!(stops_at(Nano(-1), worst, 730).unwrap().after_ms, 0);
    }
}
