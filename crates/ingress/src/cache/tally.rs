//! Who has how much of what is shared: bytes of memory, bytes of files, bytes on their way, coders.
//!
//! What was taken is given back when its [`Weight`] is dropped, never by hand: so memory counts as
//! long as anybody holds it, also after it was forgotten.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An environment may borrow so many times what is left afterwards. So one alone gets three quarters,
/// many get equal parts, and there is always something for one that comes new.
const OF_WHAT_IS_LEFT: u64 = 3;

/// Something of which there is so much.
#[derive(Debug)]
pub(crate) struct Whole {
    limit: u64,
    used: AtomicU64,
}

/// What one environment has of it.
#[derive(Debug)]
pub(crate) struct Tally {
    whole: Arc<Whole>,
    own: AtomicU64,
}

/// A part of it that was taken; goes back when it is dropped.
#[derive(Debug)]
pub(crate) struct Weight {
    tally: Arc<Tally>,
    amount: u64,
}

impl Whole {
    pub(crate) fn new(limit: u64) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicU64::new(0),
        })
    }

    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, amount: u64, may: impl Fn(u64) -> bool) -> bool {
        let more = |used: u64| {
            used.checked_add(amount)
                .filter(|used| *used <= self.limit && may(*used))
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .is_ok()
    }
}

impl Tally {
    pub(crate) fn new(whole: &Arc<Whole>) -> Arc<Self> {
        Arc::new(Self {
            whole: Arc::clone(whole),
            own: AtomicU64::new(0),
        })
    }

    /// What the environment has.
    pub(crate) fn own(&self) -> u64 {
        self.own.load(Ordering::Relaxed)
    }

    /// Takes so much, if there is as much.
    pub(crate) fn take(self: &Arc<Self>, amount: u64) -> Option<Weight> {
        let taken = self.whole.take(amount, |_| true);
        taken.then(|| self.taken(amount))
    }

    /// Takes so much, if that leaves enough for others. For what cannot be taken away again.
    pub(crate) fn borrow(self: &Arc<Self>, amount: u64) -> Option<Weight> {
        let own = self.own().saturating_add(amount);
        let limit = self.whole.limit;
        let taken = self
            .whole
            .take(amount, |used| own <= OF_WHAT_IS_LEFT.saturating_mul(limit - used));
        taken.then(|| self.taken(amount))
    }

    fn give_back(&self, amount: u64) {
        self.own.fetch_sub(amount, Ordering::Relaxed);
        self.whole.used.fetch_sub(amount, Ordering::Relaxed);
    }

    fn taken(self: &Arc<Self>, amount: u64) -> Weight {
        self.own.fetch_add(amount, Ordering::Relaxed);
        Weight {
            tally: Arc::clone(self),
            amount,
        }
    }
}

impl Weight {
    pub(crate) fn amount(&self) -> u64 {
        self.amount
    }

    /// Another part of the same is given back together with this one.
    pub(crate) fn join(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.tally, &other.tally), "parts of the same");
        self.amount += std::mem::take(&mut other.amount);
    }
}

impl Weight {
    /// Gives back what is more than so much.
    pub(crate) fn shrink(&mut self, amount: u64) {
        let rest = self.amount.saturating_sub(amount);
        self.amount -= rest;
        self.tally.give_back(rest);
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.tally.give_back(self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_gets_most_many_get_equal_parts_and_nobody_gets_all() {
        for tenants in [1_usize, 2, 5, 20] {
            let whole = Whole::new(10_000);
            let tallies: Vec<_> = (0..tenants).map(|_| Tally::new(&whole)).collect();
            let mut taken = Vec::new();
            loop {
                let before = taken.len();
                taken.extend(tallies.iter().filter_map(|tally| tally.borrow(1)));
                if taken.len() == before {
                    break;
                }
            }
            let count = u64::try_from(tenants).unwrap();
            let share = 10_000 * 3 / (3 * count + 1);
            for tally in &tallies {
                assert!(
                    tally.own().abs_diff(share) <= count,
                    "{tenants}: {} of {share}",
                    tally.own()
                );
            }
            let newcomer = Tally::new(&whole);
            assert!(
                newcomer.borrow(whole.limit() / (3 * count + 2) / 2).is_some(),
                "{tenants}"
            );
            drop(taken);
            assert_eq!(whole.used(), 0);
        }
    }

    #[test]
    fn what_is_taken_never_exceeds_the_whole_and_comes_back() {
        let whole = Whole::new(100);
        let tally = Tally::new(&whole);
        let mut first = tally.take(60).unwrap();
        assert!(tally.take(41).is_none());
        first.join(tally.take(40).unwrap());
        assert_eq!((whole.used(), tally.own(), first.amount()), (100, 100, 100));
        assert!(tally.take(1).is_none() && tally.take(u64::MAX).is_none());
        drop(first);
        assert_eq!((whole.used(), tally.own()), (0, 0));
    }
}
