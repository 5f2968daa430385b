//! What each request from outside has caused so far. Only roots that something descends from
//! are here; visitors whose requests call nobody leave no trace.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::descent::{Descent, RootId, WHOLE, scatter};
use crate::repeats::Repeats;

const SHARDS: usize = 16;
/// Roots kept at most, over all shards; those that were quiet for longest go first.
pub(crate) const MOST_ROOTS: usize = 4096;
/// A root's budget of descendants is whole again after so long, and repeats count half after so
/// long: a websocket may last for days, and ask for news every other second.
const REFILL_US: u64 = 1_200_000_000;
const FORGET_REPEATS_US: u64 = 30_000_000;

/// Roots that stand for what a process does of its own accord have this bit, and the number of
/// the target in the lower half. They have no budget: a worker may call as often as it likes.
const BACKGROUND: RootId = 1 << 63;

/// The root of what a process does of its own accord.
pub(crate) fn background_root(target: u32) -> RootId {
    BACKGROUND | u64::from(target)
}

/// Whether a root can have caused too much.
pub(crate) fn has_budget(root: RootId) -> bool {
    root & BACKGROUND == 0
}

#[derive(Debug, Default)]
struct Root {
    /// Weight of all descendants, by attribution.
    charged: u64,
    /// Of it, what time has forgiven.
    forgiven: u64,
    /// Weight of descendants that named this root themselves (by lineage or trace).
    told: u64,
    /// By a lineage header: at most so much weight in total.
    told_limit: Option<u64>,
    last_us: u64,
    repeats: Repeats,
    repeats_since_us: u64,
}

/// What a call is charged for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charge {
    pub(crate) now_us: u64,
    /// Descendants that a root may have.
    pub(crate) limit: u64,
    /// What it asks for, if that is known.
    pub(crate) content: Option<u64>,
    /// Times that the same may be asked for; 0 for no limit.
    pub(crate) repeats: u32,
}

impl Charge {
    /// From so many repeats on there is a warning: a quarter of what may be.
    pub(crate) fn repeats_warned(&self) -> u32 {
        (self.repeats / 4).max(2)
    }
}

/// What a charge found, of the roots that have at least half of the call's weight between them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Most descendants of a root that is over its limit, and the limit.
    pub(crate) descendants: Option<(u64, u64)>,
    /// How often the content was asked for, if too often.
    pub(crate) repeats: Option<u32>,
    /// The same, if so often that it comes close.
    pub(crate) repeats_near: Option<u32>,
}

/// All roots.
#[derive(Debug)]
pub(crate) struct Roots {
    shards: Box<[Mutex<HashMap<RootId, Root>>]>,
}

impl Roots {
    pub(crate) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Charges a call to the roots that it descends from.
    pub(crate) fn charge(&self, descent: &Descent, charge: Charge) -> Found {
        let mut over = (0, 0_u32);
        let (mut repeated, mut near) = ((0, 0_u32), (0, 0_u32));
        for (id, share) in descent.shares().filter(|(id, _)| has_budget(*id)) {
            let mut shard = self.shard(id);
            let root = entry(&mut shard, id, charge.now_us);
            root.charged = root.charged.saturating_add(u64::from(share));
            root.forgive(charge);
            let descendants = root.outstanding() / u64::from(WHOLE);
            if descendants > charge.limit {
                over = (descendants.max(over.0), over.1 + share);
            }
            if let Some(content) = charge.content {
                let times = root.count(content, share, charge.now_us);
                if charge.repeats > 0 && times > charge.repeats {
                    repeated = (times.max(repeated.0), repeated.1 + share);
                } else if charge.repeats > 0 && times >= charge.repeats_warned() {
                    near = (times.max(near.0), near.1 + share);
                }
            }
        }
        Found {
            descendants: (over.1 >= WHOLE / 2).then_some((over.0, charge.limit)),
            repeats: (repeated.1 >= WHOLE / 2).then_some(repeated.0),
            repeats_near: (near.1 >= WHOLE / 2).then_some(near.0),
        }
    }

    /// Charges a call to the root that it named itself, beside what attribution says, and tells
    /// its descendants and the limit if it is over that.
    pub(crate) fn charge_told(&self, id: RootId, budget: Option<u64>, charge: Charge) -> Option<(u64, u64)> {
        if !has_budget(id) {
            return None;
        }
        let mut shard = self.shard(id);
        let root = entry(&mut shard, id, charge.now_us);
        if let Some(budget) = budget {
            let limit = root.told.saturating_add(budget.saturating_mul(u64::from(WHOLE)));
            root.told_limit = Some(root.told_limit.map_or(limit, |known| known.min(limit)));
        }
        root.told = root.told.saturating_add(u64::from(WHOLE));
        let limit = root
            .told_limit
            .map_or(charge.limit, |told| charge.limit.min(told / u64::from(WHOLE)));
        let descendants = root.told.max(root.outstanding()) / u64::from(WHOLE);
        (descendants > limit).then_some((descendants, limit))
    }

    /// How many more calls may descend from a root, by what is known of it.
    pub(crate) fn left(&self, id: RootId, limit: u64) -> u64 {
        let shard = self.shard(id);
        let used = shard
            .get(&id)
            .map_or(0, |root| root.told.max(root.outstanding()) / u64::from(WHOLE));
        limit.saturating_sub(used)
    }

    /// Weight charged to all roots that are still known.
    #[cfg(test)]
    pub(crate) fn charged(&self) -> u64 {
        let sum = |shard: &Mutex<HashMap<RootId, Root>>| lock(shard).values().map(|root| root.charged).sum::<u64>();
        self.shards.iter().map(sum).sum()
    }

    /// How many roots are known.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).len()).sum()
    }

    fn shard(&self, id: RootId) -> MutexGuard<'_, HashMap<RootId, Root>> {
        let index = usize::try_from(scatter(id) % SHARDS as u64).unwrap_or(0);
        lock(&self.shards[index])
    }
}

fn lock(shard: &Mutex<HashMap<RootId, Root>>) -> MutexGuard<'_, HashMap<RootId, Root>> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The root; room is made by forgetting the quarter that was quiet for longest.
fn entry(shard: &mut HashMap<RootId, Root>, id: RootId, now_us: u64) -> &mut Root {
    if shard.len() >= MOST_ROOTS / SHARDS && !shard.contains_key(&id) {
        let mut times: Vec<u64> = shard.values().map(|root| root.last_us).collect();
        let middle = times.len() / 4;
        let (_, &mut oldest, _) = times.select_nth_unstable(middle);
        shard.retain(|_, root| root.last_us > oldest);
    }
    shard.entry(id).or_insert_with(|| Root {
        last_us: now_us,
        repeats_since_us: now_us,
        ..Root::default()
    })
}

impl Root {
    fn outstanding(&self) -> u64 {
        self.charged.saturating_sub(self.forgiven)
    }

    /// Lets the budget grow back with time.
    fn forgive(&mut self, charge: Charge) {
        let passed = u128::from(charge.now_us.saturating_sub(self.last_us));
        let whole = u128::from(charge.limit) * u128::from(WHOLE);
        let amount = u64::try_from(whole * passed / u128::from(REFILL_US)).unwrap_or(u64::MAX);
        self.forgiven = self.forgiven.saturating_add(amount.min(self.outstanding()));
        self.last_us = self.last_us.max(charge.now_us);
    }

    fn count(&mut self, content: u64, share: u32, now_us: u64) -> u32 {
        if now_us.saturating_sub(self.repeats_since_us) > FORGET_REPEATS_US {
            self.repeats.halve();
            self.repeats_since_us = now_us;
        }
        self.repeats.count(content, share)
    }
}
