//! Where the money of one lease lies: a chunk that all shards share, a pocket for each shard, and
//! a reserve that only instances may touch. Nothing but atomic numbers; the test
//! `wallet_interleavings` puts this file under loom.
//!
//! Conservation: what was poured in is, at every instant, what lies in the pots, plus what is in
//! somebody's hand (a draw that is not finished), plus what is spent. Spent only rises, so when
//! poured = spent was once seen, nothing is left that could be drawn, and nobody draws.

use super::atomic::{AtomicI64, Ordering};

/// Who draws: visitors are refused a little before the instances that serve them are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// May not touch what running instances need for their next seconds.
    Request,
    /// Running instances, and the tail until they are frozen.
    Instance,
}

/// How a take ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// Taken.
    Done,
    /// Taken, and the chunk is below its mark: more should be poured.
    Low,
    /// There is not enough; nothing was taken.
    Short,
}

/// The money of one lease that may be drawn now, in pico-units.
#[derive(Debug)]
pub(crate) struct Pots {
    chunk: Pot,
    reserve: Pot,
    pockets: Box<[Pocket]>,
    /// What a pocket takes from the chunk beyond its need.
    slice: AtomicI64,
    /// Below this the chunk is low.
    low: AtomicI64,
}

/// A cache line of its own (two, because processors fetch them in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Pot(AtomicI64);

#[derive(Debug)]
#[repr(align(128))]
struct Pocket {
    money: AtomicI64,
    spent: AtomicI64,
}

impl Pots {
    /// Empty, for so many shards.
    pub(crate) fn new(shards: usize) -> Self {
        let pocket = |_| Pocket {
            money: AtomicI64::new(0),
            spent: AtomicI64::new(0),
        };
        Self {
            chunk: Pot(AtomicI64::new(0)),
            reserve: Pot(AtomicI64::new(0)),
            pockets: (0..shards.max(1)).map(pocket).collect(),
            slice: AtomicI64::new(0),
            low: AtomicI64::new(0),
        }
    }

    /// Takes exactly so much, or nothing.
    pub(crate) fn take(&self, shard: usize, urgency: Urgency, amount: i64) -> Take {
        if take_exactly(&self.pocket(shard).money, amount) {
            Take::Done
        } else {
            self.gather(shard, urgency, amount)
        }
    }

    /// What unfinished work did not need.
    pub(crate) fn put_back(&self, shard: usize, amount: i64) {
        if amount > 0 {
            add(&self.pocket(shard).money, amount);
        }
    }

    /// Money that was taken is gone for good. Whoever sees this sees what was written before.
    pub(crate) fn spend(&self, shard: usize, amount: i64) {
        add(&self.pocket(shard).spent, amount);
    }

    /// What was spent so far; never more than what is.
    pub(crate) fn spent(&self) -> i64 {
        self.pockets
            .iter()
            .map(|pocket| pocket.spent.load(Ordering::Acquire))
            .sum()
    }

    /// What a draw could take, if nobody else draws.
    pub(crate) fn available(&self, urgency: Urgency) -> i64 {
        let pockets: i64 = self
            .pockets
            .iter()
            .map(|pocket| pocket.money.load(Ordering::Acquire))
            .sum();
        let reserve = match urgency {
            Urgency::Request => 0,
            Urgency::Instance => self.reserved(),
        };
        pockets + reserve + self.chunk.0.load(Ordering::Acquire)
    }

    /// What lies in the reserve.
    pub(crate) fn reserved(&self) -> i64 {
        self.reserve.0.load(Ordering::Acquire)
    }

    /// Whether more should be poured.
    pub(crate) fn is_low(&self) -> bool {
        self.chunk.0.load(Ordering::Acquire) < self.low.load(Ordering::Relaxed)
    }

    /// New money: fills the reserve up to `floor` first. Only the refilling side pours.
    pub(crate) fn pour(&self, amount: i64, floor: i64) {
        let kept = (floor - self.reserved()).clamp(0, amount);
        let free = amount - kept;
        add(&self.reserve.0, kept);
        add(&self.chunk.0, free);
        let shards = i64::try_from(self.pockets.len()).unwrap_or(i64::MAX);
        self.slice.store(free / shards.saturating_mul(8), Ordering::Relaxed);
        self.low.store(free / 2, Ordering::Relaxed);
    }

    /// Moves money between the chunk and the reserve so that the reserve holds `floor`, as far as
    /// the chunk can. Only the refilling side does so.
    pub(crate) fn level(&self, floor: i64) {
        let reserved = self.reserved();
        if reserved < floor {
            add(&self.reserve.0, take_up_to(&self.chunk.0, floor - reserved));
        } else if reserved > floor {
            add(&self.chunk.0, take_up_to(&self.reserve.0, reserved - floor));
        }
    }

    /// Takes out all that lies in the chunk and the pockets, and of the reserve what is above
    /// `floor`.
    pub(crate) fn sweep(&self, floor: i64) -> i64 {
        let pockets: i64 = self
            .pockets
            .iter()
            .map(|pocket| take_up_to(&pocket.money, i64::MAX))
            .sum();
        let excess = (self.reserved() - floor).max(0);
        pockets + take_up_to(&self.chunk.0, i64::MAX) + take_up_to(&self.reserve.0, excess)
    }

    fn pocket(&self, shard: usize) -> &Pocket {
        &self.pockets[shard % self.pockets.len()]
    }

    /// The pocket is short: takes from the chunk (and a slice more, so that this is seldom), then
    /// from the other pockets, then, if it may, from the reserve.
    #[cold]
    fn gather(&self, shard: usize, urgency: Urgency, amount: i64) -> Take {
        // Looks before it takes: who is refused anyway should not disturb those who are not.
        if self.available(urgency) < amount {
            return Take::Short;
        }
        let own = &self.pocket(shard).money;
        let mut hand = take_up_to(own, amount);
        let slice = self.slice.load(Ordering::Relaxed);
        hand += take_up_to(&self.chunk.0, (amount - hand).saturating_add(slice));
        for pocket in &self.pockets {
            if hand >= amount {
                break;
            }
            hand += take_up_to(&pocket.money, amount - hand);
        }
        if hand < amount && urgency == Urgency::Instance {
            let reserved = take_up_to(&self.reserve.0, amount - hand);
            if hand + reserved < amount {
                // Back to where it came from: requests must not get it.
                add(&self.reserve.0, reserved);
            } else {
                hand += reserved;
            }
        }
        if hand < amount {
            // To all, not to this shard alone.
            add(&self.chunk.0, hand);
            return Take::Short;
        }
        if hand > amount {
            add(own, hand - amount);
        }
        if self.is_low() { Take::Low } else { Take::Done }
    }
}

fn take_exactly(pot: &AtomicI64, amount: i64) -> bool {
    let mut held = pot.load(Ordering::Relaxed);
    while held >= amount {
        match pot.compare_exchange_weak(held, held - amount, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => held = now,
        }
    }
    false
}

fn take_up_to(pot: &AtomicI64, most: i64) -> i64 {
    let mut held = pot.load(Ordering::Relaxed);
    loop {
        let taken = held.min(most);
        if taken <= 0 {
            return 0;
        }
        match pot.compare_exchange_weak(held, held - taken, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => return taken,
            Err(now) => held = now,
        }
    }
}

fn add(pot: &AtomicI64, amount: i64) {
    if amount != 0 {
        pot.fetch_add(amount, Ordering::AcqRel);
    }
}
