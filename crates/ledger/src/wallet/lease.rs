//! One lease as those see it who draw: its prices, its pots, and what was used, by line.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::bell::Bell;
use super::lock;
use super::pots::{Pots, Take, Urgency};
use crate::money::PICO_PER_NANO;
use crate::price::{Price, PriceBook};
use crate::protocol::{LineKey, Usage};

/// The side of a lease that is drawn from.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) prices: Arc<PriceBook>,
    pub(crate) pots: Arc<Pots>,
    bell: Arc<Bell>,
    shards: usize,
    lines: Mutex<BTreeMap<LineKey, Arc<Line>>>,
}

/// What one payer uses of one thing, counted by each shard for itself.
#[derive(Debug)]
pub(crate) struct Line {
    shards: Box<[Arc<Counter>]>,
}

/// One shard's part of a line. A draw holds one, so that it finishes against the lease from
/// which it was drawn; the count of holders is the shard's own, like everything here.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Counter {
    units: AtomicU64,
    shard: usize,
    pub(crate) price: Price,
    pub(crate) pots: Arc<Pots>,
    pub(crate) bell: Arc<Bell>,
}

impl Lease {
    pub(crate) fn new(prices: Arc<PriceBook>, shards: usize, bell: Arc<Bell>) -> Self {
        Self {
            prices,
            pots: Arc::new(Pots::new(shards)),
            bell,
            shards,
            lines: Mutex::new(BTreeMap::new()),
        }
    }

    /// The line of a payer. The first use draws the nano that rounding up may cost in the
    /// ledger, and never puts it back; `None` if not even that is there.
    pub(crate) fn line(&self, key: LineKey, shard: usize, urgency: Urgency) -> Option<Arc<Line>> {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get(&key) {
            return Some(Arc::clone(line));
        }
        let price = self.prices.price(&key.sku);
        if price.pico > 0 {
            if self.pots.take(shard, urgency, PICO_PER_NANO) == Take::Short {
                return None;
            }
            self.pots.spend(shard, PICO_PER_NANO);
        }
        let counter = |shard| {
            Arc::new(Counter {
                units: AtomicU64::new(0),
                shard,
                price,
                pots: Arc::clone(&self.pots),
                bell: Arc::clone(&self.bell),
            })
        };
        let line = Arc::new(Line {
            shards: (0..self.shards.max(1)).map(counter).collect(),
        });
        lines.insert(key, Arc::clone(&line));
        Some(line)
    }

    /// Used so far: finished work only.
    pub(crate) fn usage(&self) -> Usage {
        let lines = lock(&self.lines);
        lines
            .iter()
            .map(|(key, line)| {
                let units = line.shards.iter().map(|counter| counter.units.load(Ordering::Relaxed));
                (key.clone(), units.fold(0, u64::saturating_add))
            })
            .collect()
    }

    /// Whether somebody has a draw that is not finished. The pots know of those that cost
    /// something; what is free is counted all the same.
    pub(crate) fn is_in_hand(&self) -> bool {
        let lines = lock(&self.lines);
        let mut counters = lines.values().flat_map(|line| line.shards.iter());
        counters.any(|counter| Arc::strong_count(counter) > 1)
    }
}

impl Line {
    pub(crate) fn counter(&self, shard: usize) -> &Arc<Counter> {
        &self.shards[shard % self.shards.len()]
    }
}

impl Counter {
    /// Takes so much and rings for more where it is low.
    pub(crate) fn take(&self, urgency: Urgency, cost: i64) -> bool {
        match self.pots.take(self.shard, urgency, cost) {
            Take::Done => true,
            Take::Low => {
                self.bell.ring();
                true
            }
            Take::Short => false,
        }
    }

    /// Of money that was taken, so much is spent on so many units, and so much goes back.
    pub(crate) fn settle(&self, units: u64, spent: i64, back: i64) {
        // Units before money: whoever finds all money accounted for finds all units, too.
        self.units.fetch_add(units, Ordering::Relaxed);
        self.pots.spend(self.shard, spent);
        if back > 0 {
            self.pots.put_back(self.shard, back);
            self.bell.ring_if_awaited();
        }
    }
}
