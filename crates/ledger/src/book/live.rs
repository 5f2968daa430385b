//! What is known and not in the journal: usage of the last minute, how fast money goes, recalls.
//! It is lost when control restarts, and the meters tell it again.

use std::collections::BTreeMap;

use weir_model::{EnvironmentId, UnixMillis};

use super::Scope;
use super::event::LeaseNumber;
use super::state::Lease;
use crate::money::Nano;
use crate::protocol::{Incarnation, LeaseKey, LineKey, MeterName};

/// All of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Live {
    pub(super) leases: BTreeMap<LeaseNumber, LiveLease>,
    pub(super) scopes: BTreeMap<Scope, LiveScope>,
    /// Counts rounds of recalls.
    pub(super) rounds: u64,
    /// The highest lease, by incarnation and number, that a meter closed before it was granted
    /// anything: a question for it may still be on its way, and must not open it.
    given_up: BTreeMap<(MeterName, EnvironmentId), (Incarnation, u32)>,
}

/// A lease, as its meter told last.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveLease {
    /// Usage in total, where it is more than what is settled.
    pub(super) usage: BTreeMap<LineKey, u64>,
    /// What the lease will pay for it.
    pub(super) pending: Nano,
    /// When it was journaled last.
    pub(super) journaled_ms: UnixMillis,
    /// The round of recalls that its meter was told of.
    pub(super) told: u64,
    /// The round of recalls after which its meter has spoken.
    pub(super) answered: u64,
    /// Its first report repeats what was told before control restarted: not spent just now.
    pub(super) repeats: bool,
}

/// A scope.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveScope {
    /// Reported and not settled, of the period that runs.
    pub(super) pending: Nano,
    pub(super) recall: Option<Recall>,
    burn: Burn,
}

/// How short money is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shortage {
    /// There is little left.
    Near,
    /// There is not enough for somebody.
    Here,
}

/// Somebody needs money that others hold, or will soon.
#[derive(Debug, Clone, Copy)]
pub(super) struct Recall {
    pub(super) round: u64,
    pub(super) shortage: Shortage,
    pub(super) since_ms: UnixMillis,
    /// When somebody was short of money last.
    pub(super) short_ms: UnixMillis,
    /// All have answered.
    pub(super) exhausted: bool,
}

/// So long after the last shortage money is recalled.
const RECALL_MS: i64 = 5_000;

impl Recall {
    pub(super) fn is_active(&self, now_ms: UnixMillis) -> bool {
        (0..=RECALL_MS).contains(&now_ms.saturating_sub(self.short_ms))
    }
}

impl Live {
    /// A meter will never draw a lease that is not open.
    pub(super) fn give_up(&mut self, meter: &MeterName, incarnation: Incarnation, lease: LeaseKey) {
        let highest = self.given_up.entry((meter.clone(), lease.environment)).or_default();
        *highest = (*highest).max((incarnation, lease.number));
    }

    /// Whether a meter has given up a lease, or a later one, before it was open.
    pub(super) fn is_given_up(&self, meter: &MeterName, incarnation: Incarnation, lease: LeaseKey) -> bool {
        let highest = self.given_up.get(&(meter.clone(), lease.environment));
        highest.is_some_and(|highest| (incarnation, lease.number) <= *highest)
    }

    /// A lease has reported so much more (or it was settled: negative).
    pub(super) fn pending(&mut self, lease: &Lease, current: [bool; 3], amount: i64) {
        for ((scope, _), current) in lease.path().into_iter().zip(current) {
            if current {
                let scope = self.scopes.entry(scope).or_default();
                scope.pending = Nano(scope.pending.0.saturating_add(amount).max(0));
            }
        }
    }

    /// So much was spent just now.
    pub(super) fn spent(&mut self, lease: &Lease, amount: Nano, now_ms: UnixMillis) {
        for (scope, _) in lease.path() {
            self.scopes.entry(scope).or_default().burn.add(amount, now_ms);
        }
    }

    /// Spent per hour, over the last minutes.
    pub(super) fn burn_per_hour(&self, scope: Scope, now_ms: UnixMillis) -> Nano {
        self.scopes
            .get(&scope)
            .map_or(Nano::ZERO, |scope| scope.burn.per_hour(now_ms))
    }

    /// Whether money of this scope is wanted back.
    pub(super) fn recall(&self, scope: Scope, now_ms: UnixMillis) -> Option<Recall> {
        let recall = self.scopes.get(&scope)?.recall?;
        recall.is_active(now_ms).then_some(recall)
    }

    /// Money is short in this scope; begins a round of recalls, or goes on with it. When it is
    /// there, those who answered while it was near are asked anew: they may have got more since.
    pub(super) fn short(&mut self, scope: Scope, now_ms: UnixMillis, shortage: Shortage) -> Recall {
        let goes_on = |recall: &Recall| recall.shortage == Shortage::Here || shortage == Shortage::Near;
        let active = self.recall(scope, now_ms).filter(goes_on);
        let recall = active.map_or_else(
            || {
                self.rounds += 1;
                Recall {
                    round: self.rounds,
                    shortage,
                    since_ms: now_ms,
                    short_ms: now_ms,
                    exhausted: false,
                }
            },
            |recall| Recall {
                short_ms: now_ms,
                ..recall
            },
        );
        self.scopes.entry(scope).or_default().recall = Some(recall);
        recall
    }

    /// A lease got more: it is to be asked again before anybody else is denied.
    pub(super) fn granted(&mut self, number: LeaseNumber) {
        if let Some(lease) = self.leases.get_mut(&number) {
            (lease.told, lease.answered) = (0, 0);
        }
    }

    /// Nobody holds idle money in this scope any more.
    pub(super) fn exhausted(&mut self, scope: Scope) {
        if let Some(recall) = self.scopes.get_mut(&scope).and_then(|scope| scope.recall.as_mut()) {
            recall.exhausted = true;
        }
    }
}

const SLOT_MS: i64 = 10_000;
const SLOTS: usize = 30;
/// A rate is told over a minute at least, so that one purchase is no rate.
const FEWEST_MS: i64 = 60_000;

/// What was spent in the last five minutes, in slots of ten seconds.
#[derive(Debug, Clone)]
struct Burn {
    slots: [i64; SLOTS],
    /// The number of the newest slot, counted since the epoch.
    newest: i64,
    /// The number of the first slot ever.
    oldest: i64,
}

impl Default for Burn {
    fn default() -> Self {
        Self {
            slots: [0; SLOTS],
            newest: i64::MIN,
            oldest: i64::MAX,
        }
    }
}

impl Burn {
    fn add(&mut self, amount: Nano, now_ms: UnixMillis) {
        let slot = now_ms.div_euclid(SLOT_MS);
        if slot < self.newest.saturating_sub(1) || slot > self.newest.saturating_add(360) {
            // The first one, or the clock has jumped, or nothing was spent for an hour.
            *self = Self {
                slots: [0; SLOTS],
                newest: slot,
                oldest: slot,
            };
        }
        while self.newest < slot {
            self.newest += 1;
            self.slots[Self::index(self.newest)] = 0;
        }
        let newest = &mut self.slots[Self::index(self.newest)];
        *newest = newest.saturating_add(amount.0);
    }

    fn index(slot: i64) -> usize {
        usize::try_from(slot.rem_euclid(i64::try_from(SLOTS).unwrap_or(1))).unwrap_or(0)
    }

    fn per_hour(&self, now_ms: UnixMillis) -> Nano {
        let now = now_ms.div_euclid(SLOT_MS);
        let length = i64::try_from(SLOTS).unwrap_or(1);
        if self.newest == i64::MIN || now.saturating_sub(self.newest) >= length {
            return Nano::ZERO;
        }
        let first = self.oldest.max(now - length + 1);
        let spent: i128 = (first..=self.newest)
            .map(|slot| i128::from(self.slots[Self::index(slot)]))
            .sum();
        let over = now_ms.saturating_sub(first.saturating_mul(SLOT_MS)).max(FEWEST_MS);
        Nano(i64::try_from(spent * 3_600_000 / i128::from(over)).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burn_is_what_the_last_five_minutes_would_make_in_an_hour() {
        let mut burn = Burn::default();
        assert_eq!(burn.per_hour(0), Nano(0));
        for second in 0..600 {
            burn.add(Nano(10), second * 1000);
        }
        assert_eq!(burn.per_hour(600_000), Nano(36_000));
        // Two and a half minutes of silence halve it, five end it.
        assert_eq!(burn.per_hour(749_000), Nano(18_060));
        assert_eq!(burn.per_hour(900_000), Nano(0));
    }

    #[test]
    fn one_purchase_is_spread_over_a_minute_at_least() {
        let mut burn = Burn::default();
        burn.add(Nano(60), 1_000_000);
        assert_eq!(burn.per_hour(1_000_000), Nano(3600));
    }

    #[test]
    fn a_clock_that_jumps_begins_anew() {
        let mut burn = Burn::default();
        burn.add(Nano(60), 1_000_000_000_000);
        burn.add(Nano(6), 5_000);
        assert_eq!(burn.per_hour(5_000), Nano(360));
        burn.add(Nano(6), i64::MAX);
    }
}
