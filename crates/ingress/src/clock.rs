//! Time as milliseconds since the node's start, so that it fits an atomic.

use std::time::{Duration, Instant, SystemTime};

use weir_model::UnixMillis;

/// Counts from the node's start; monotonic.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Milliseconds since the start.
    pub(crate) fn now_ms(self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Microseconds since the start.
    pub(crate) fn now_us(self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How long ago that was, in milliseconds since the start.
    pub(crate) fn since(self, ms: u64) -> Duration {
        Duration::from_millis(self.now_ms().saturating_sub(ms))
    }

    /// The instant that lies `ms` milliseconds after the start.
    pub(crate) fn instant(self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }
}

/// The time of day now.
pub(crate) fn unix_ms() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis::try_from(since.as_millis()).unwrap_or(UnixMillis::MAX)
}
