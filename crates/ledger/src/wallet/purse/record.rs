//! What a meter has to remember over a crash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::money::{Nano, Pico};
use crate::price::PriceBook;
use crate::protocol::{Incarnation, LeaseKey, LineKey, Usage};

/// One entry of a meter's log. Later entries about the same thing replace earlier ones, so that
/// the log may be rewritten at any time as one entry for each thing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "record")]
pub enum Record {
    /// An incarnation begins; leases of earlier ones are not drawn any more.
    Start {
        /// Which.
        incarnation: Incarnation,
    },
    /// Prices that leases refer to.
    Book {
        /// The prices.
        book: PriceBook,
    },
    /// How a lease stands.
    Lease(LeaseRecord),
    /// The ledger knows that the lease is closed.
    Forgot {
        /// Of which incarnation.
        incarnation: Incarnation,
        /// Which.
        lease: LeaseKey,
    },
}

/// How a lease stands, in totals since it was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRecord {
    /// Of which incarnation.
    pub incarnation: Incarnation,
    /// Which.
    pub lease: LeaseKey,
    /// The version of its prices; 0 where they are not known yet.
    pub price_version: u32,
    /// Granted in total.
    pub granted: Nano,
    /// Given back in total.
    pub returned: Nano,
    /// The mark: no more than this may have been drawn. It is raised before money is drawn, and
    /// lowered only after the money was taken out of reach of those who draw.
    pub drawn: Pico,
    /// It will never be drawn again.
    pub closed: bool,
    /// Units used, in total, of the lines that were used since the entry before.
    pub usage: Usage,
}

/// What a log says, read in order.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) incarnation: Incarnation,
    pub(super) books: BTreeMap<u32, PriceBook>,
    pub(super) leases: BTreeMap<(Incarnation, LeaseKey), (LeaseRecord, BTreeMap<LineKey, u64>)>,
}

impl Memory {
    pub(super) fn read(records: impl IntoIterator<Item = Record>) -> Self {
        let mut memory = Self::default();
        for record in records {
            match record {
                Record::Start { incarnation } => memory.incarnation = memory.incarnation.max(incarnation),
                Record::Book { book } => drop(memory.books.insert(book.version, book)),
                Record::Lease(record) => memory.take_in(record),
                Record::Forgot { incarnation, lease } => drop(memory.leases.remove(&(incarnation, lease))),
            }
        }
        memory
    }

    fn take_in(&mut self, record: LeaseRecord) {
        let key = (record.incarnation, record.lease);
        self.incarnation = self.incarnation.max(record.incarnation);
        let (known, usage) = self
            .leases
            .entry(key)
            .or_insert_with(|| (record.clone(), BTreeMap::new()));
        for (line, units) in &record.usage {
            let total = usage.entry(line.clone()).or_default();
            *total = (*total).max(*units);
        }
        // Once closed, closed for ever.
        let closed = known.closed || record.closed;
        *known = LeaseRecord { closed, ..record };
    }
}
