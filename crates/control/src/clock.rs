//! Time and randomness as a thing that is brought in, so that decisions can be simulated.

use weir_model::UnixMillis;

/// Time and randomness.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Now, in milliseconds since the Unix epoch.
    fn now_ms(&self) -> UnixMillis;
    /// 128 random bits, for identifiers.
    fn random(&self) -> u128;
}

/// The machine's own clock and a generator seeded by the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> UnixMillis {
        let since = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn random(&self) -> u128 {
        fastrand::u128(..)
    }
}
