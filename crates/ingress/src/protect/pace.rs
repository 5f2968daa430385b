//! How fast a client has to be while it is waited for.
//!
//! Only the time counts in which nothing moves for want of the client: an instance that reads
//! slowly, or an app that has nothing to say, is no reason to cut anybody off.

use std::time::Duration;

/// The slowest pace that is borne.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeastPace {
    /// Bytes per second; 0 bears any pace.
    pub bytes_per_s: u64,
    /// It is judged over so much time of waiting, so that short pauses do no harm.
    pub window: Duration,
}

/// How fast one client is. Times are milliseconds by any clock that does not go back.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    waiting_since_ms: Option<u64>,
    waited_ms: u64,
    moved_bytes: u64,
}

impl Pace {
    /// From now on the client is waited for.
    pub(crate) fn wait(&mut self, now_ms: u64) {
        self.waiting_since_ms.get_or_insert(now_ms);
    }

    /// So much moved, or waiting ended otherwise. False: the client was too slow over a whole window.
    pub(crate) fn moved(&mut self, least: LeastPace, now_ms: u64, bytes: u64) -> bool {
        if let Some(since) = self.waiting_since_ms.take() {
            self.waited_ms = self.waited_ms.saturating_add(now_ms.saturating_sub(since));
        }
        self.moved_bytes = self.moved_bytes.saturating_add(bytes);
        let window_ms = u64::try_from(least.window.as_millis()).unwrap_or(u64::MAX).max(1);
        if self.waited_ms < window_ms {
            return true;
        }
        let owed = u128::from(least.bytes_per_s) * u128::from(self.waited_ms) / 1000;
        let kept = u128::from(self.moved_bytes) >= owed;
        (self.waited_ms, self.moved_bytes) = (0, 0);
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: LeastPace = LeastPace {
        bytes_per_s: 100,
        window: Duration::from_secs(10),
    };

    /// Moves `bytes` after each wait of `wait_ms`, until it is cut off or an hour is over.
    fn cut_off_after_ms(wait_ms: u64, bytes: u64) -> Option<u64> {
        let mut pace = Pace::default();
        let mut now_ms = 0;
        while now_ms < 3_600_000 {
            pace.wait(now_ms);
            now_ms += wait_ms;
            if !pace.moved(LEAST, now_ms, bytes) {
                return Some(now_ms);
            }
        }
        None
    }

    #[test]
    fn who_dribbles_is_cut_off_and_who_is_fast_enough_never() {
        assert_eq!(cut_off_after_ms(1_000, 1), Some(10_000));
        assert_eq!(cut_off_after_ms(1_000, 99), Some(10_000));
        assert_eq!(cut_off_after_ms(1_000, 100), None);
        assert_eq!(cut_off_after_ms(9_999, 1), Some(19_998));
    }

    #[test]
    fn time_in_which_nobody_waits_for_the_client_does_not_count() {
        let mut pace = Pace::default();
        for hour in 0..1_000 {
            let now_ms = hour * 3_600_000;
            pace.wait(now_ms);
            assert!(pace.moved(LEAST, now_ms + 5, 1));
        }
    }

    #[test]
    fn a_pace_of_zero_bears_everything() {
        let least = LeastPace {
            bytes_per_s: 0,
            ..LEAST
        };
        let mut pace = Pace::default();
        pace.wait(0);
        assert!(pace.moved(least, u64::MAX, 0));
    }
}
