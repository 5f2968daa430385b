//! Token buckets in a table of fixed size, without locks.
//!
//! A bucket is one number: the time at which it will be full again. A bucket that is full says
//! nothing, so its place can be taken by another without loss. Where hostile clients spread over
//! so many addresses that no place is free of that kind, the bucket that is nearest to full makes
//! room: forgetting one only ever gives its client a little more, never another client less.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Places that are looked through for one bucket; together two cache lines.
const WAYS: usize = 8;
/// How often a bucket is tried that others change meanwhile; then the request passes.
const ATTEMPTS: usize = 64;

/// How much passes: a bucket of `burst` requests, which gets another one every `interval`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pour {
    interval_ns: u64,
    burst: u64,
}

impl Pour {
    /// `requests` in each `per`, and `burst` at once; at least one of each.
    pub(crate) fn new(requests: u32, per: Duration, burst: u32) -> Self {
        let per_ns = u64::try_from(per.as_nanos()).unwrap_or(u64::MAX);
        Self {
            interval_ns: (per_ns / u64::from(requests.max(1))).max(1),
            burst: u64::from(burst.max(1)),
        }
    }

    /// The bucket after one more request, or how long until one would pass.
    fn take(self, full_at_ns: u64, now_ns: u64) -> Result<u64, Duration> {
        let after = full_at_ns.max(now_ns).saturating_add(self.interval_ns);
        let most = now_ns.saturating_add(self.interval_ns.saturating_mul(self.burst));
        if after <= most {
            Ok(after)
        } else {
            Err(Duration::from_nanos(after - most))
        }
    }
}

/// One bucket.
#[derive(Debug, Default)]
pub(crate) struct Bucket(AtomicU64);

impl Bucket {
    /// Takes one request out, or says how long until there will be one.
    pub(crate) fn take(&self, pour: Pour, now_ns: u64) -> Result<(), Duration> {
        let mut full_at = self.0.load(Ordering::Relaxed);
        for _ in 0..ATTEMPTS {
            let after = pour.take(full_at, now_ns)?;
            match self
                .0
                .compare_exchange_weak(full_at, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
        Ok(())
    }

    /// Puts one request back that was taken out a moment ago.
    pub(crate) fn give_back(&self, pour: Pour) {
        let less = |full_at: u64| Some(full_at.saturating_sub(pour.interval_ns));
        // It always succeeds, because `less` always gives a value.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }
}

/// The buckets of all clients.
#[derive(Debug)]
pub(crate) struct Buckets {
    hasher: RandomState,
    /// [`WAYS`] neighbours belong together.
    places: Vec<Place>,
}

#[derive(Debug, Default)]
struct Place {
    /// Whose bucket it is; 0: nobody's.
    owner: AtomicU64,
    bucket: Bucket,
}

impl Buckets {
    /// A table for about so many buckets; 16 bytes each.
    pub(crate) fn new(places: usize) -> Self {
        let sets = (places / WAYS).max(1).next_power_of_two();
        Self {
            hasher: RandomState::new(),
            places: (0..sets * WAYS).map(|_| Place::default()).collect(),
        }
    }

    /// The bucket of a client, full if it was not known.
    pub(crate) fn of(&self, client: impl Hash, now_ns: u64) -> &Bucket {
        let owner = self.hasher.hash_one(client).max(1);
        let sets = self.places.len() / WAYS;
        let set = usize::try_from(owner >> 32).unwrap_or_default() % sets * WAYS;
        let set = &self.places[set..set + WAYS];
        if let Some(place) = set.iter().find(|place| place.owner.load(Ordering::Relaxed) == owner) {
            return &place.bucket;
        }
        let fullest = set.iter().min_by_key(|place| place.bucket.0.load(Ordering::Relaxed));
        let place = fullest.unwrap_or(&set[0]);
        // Two that take the same place at once share a bucket for a moment.
        place.owner.store(owner, Ordering::Relaxed);
        place.bucket.0.store(now_ns, Ordering::Relaxed);
        &place.bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn pour() -> Pour {
        Pour::new(5, Duration::from_secs(1), 20)
    }

    /// How many of `tries` pass at one moment.
    fn passing(bucket: &Bucket, now_ns: u64, tries: usize) -> usize {
        (0..tries).filter(|_| bucket.take(pour(), now_ns).is_ok()).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let bucket = Bucket::default();
        assert_eq!(passing(&bucket, SECOND, 100), 20);
        assert_eq!(passing(&bucket, 2 * SECOND, 100), 5);
        assert_eq!(passing(&bucket, 2 * SECOND + SECOND / 5, 100), 1);
        assert_eq!(
            passing(&bucket, 100 * SECOND, 100),
            20,
            "it is full and not more than full"
        );
    }

    #[test]
    fn who_is_refused_learns_when_to_come_again() {
        let bucket = Bucket::default();
        passing(&bucket, SECOND, 20);
        let wait = bucket.take(pour(), SECOND).unwrap_err();
        assert_eq!(wait, Duration::from_millis(200));
        assert!(bucket.take(pour(), SECOND + 200_000_000).is_ok());
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let bucket = Bucket::default();
        passing(&bucket, SECOND, 20);
        bucket.give_back(pour());
        assert_eq!(passing(&bucket, SECOND, 10), 1);
    }

    #[test]
    fn refused_requests_do_not_lengthen_the_wait() {
        let bucket = Bucket::default();
        passing(&bucket, SECOND, 1_000_000);
        assert_eq!(passing(&bucket, 2 * SECOND, 10), 5);
    }

    #[test]
    fn odd_rates_neither_overflow_nor_divide_by_zero() {
        let slow = Pour::new(1, Duration::from_secs(u64::MAX), u32::MAX);
        assert!(Bucket::default().take(slow, u64::MAX - 1).is_ok());
        let fast = Pour::new(u32::MAX, Duration::from_nanos(1), 0);
        assert!(Bucket::default().take(fast, 1).is_ok());
    }

    #[test]
    fn a_flood_of_addresses_takes_no_memory_and_frees_only_the_flood() {
        let buckets = Buckets::new(1 << 10);
        let own = "the client that has used up its burst";
        let mut passed = passing(buckets.of(own, SECOND), SECOND, 1_000);
        assert_eq!(passed, 20);
        // A thousand times as many addresses as there are places, with one request each.
        for address in 0..1 << 20_u32 {
            assert!(
                buckets.of(address, SECOND).take(pour(), SECOND).is_ok(),
                "nobody pays for others"
            );
            if address % 1_000 == 0 {
                passed += passing(buckets.of(own, SECOND), SECOND, 1);
            }
        }
        assert_eq!(buckets.places.len(), 1 << 10);
        assert_eq!(passed, 20, "the flood has not given it a full bucket again");
    }

    #[test]
    fn many_threads_let_pass_what_one_would() {
        let bucket = Bucket::default();
        let passed: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| passing(&bucket, SECOND, 1_000)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!((20..=24).contains(&passed), "{passed}");
    }
}
