//! From reports to books: usage is remembered as it is told, rated, and journaled at most once a
//! minute; at the end of a lease what it held is free again.

use std::collections::BTreeMap;

use weir_model::AccountId;

use super::Funds;
use super::event::{Change, Home, LeaseNumber, SettledLine};
use super::handle::Desk;
use super::live::LiveLease;
use super::state::Line;
use crate::money::Nano;
use crate::price::{PriceBook, Sku};
use crate::protocol::{LineKey, Usage};

/// How long usage may be reported without being journaled.
const JOURNAL_MS: i64 = 60_000;
/// What a lease's line may cost at most. No wallet can draw more, so a report of more is false
/// and not believed.
const LINE_MOST: Nano = Nano(10_000_000_000_000_000);

/// What a closed lease may have spent.
#[derive(Clone, Copy)]
pub(super) enum Spent {
    /// What it reported, and nothing else: it was closed by its holder.
    AsReported,
    /// So much in total, counted since it was opened.
    UpTo(Nano),
    /// All of it: its holder cannot say.
    All,
}

impl Desk<'_> {
    /// Remembers what a meter told: the most that was ever told is right.
    pub(super) fn merge(&mut self, number: LeaseNumber, usage: &Usage) {
        let Some(lease) = self.ledger.books.leases.get(&number) else {
            return;
        };
        let current = self.current(lease);
        let Some(prices) = self.ledger.books.prices.get(&lease.price_version) else {
            return;
        };
        let live = self.ledger.live.leases.entry(number).or_insert_with(|| LiveLease {
            journaled_ms: self.now_ms,
            repeats: true,
            ..LiveLease::default()
        });
        let mut more = Nano::ZERO;
        for (line, total) in usage {
            let settled = lease.usage.get(line).copied().unwrap_or(0);
            let known = live.usage.get(line).copied().unwrap_or(settled);
            let cost = |units: u64| prices.price(&line.sku).line(u128::from(units));
            let Some(now) = cost(*total).filter(|cost| *cost <= LINE_MOST) else {
                continue;
            };
            if *total > known && line.sku != Sku::LOST {
                more += Nano(now.0 - cost(known).unwrap_or(Nano::ZERO).0);
                live.usage.insert(line.clone(), *total);
            }
        }
        let is_new = !std::mem::take(&mut live.repeats);
        live.pending += more;
        if more > Nano::ZERO {
            self.ledger.live.pending(lease, current, more.0);
            if is_new {
                self.ledger.live.spent(lease, more, self.now_ms);
            }
        }
    }

    /// Journals usage that was told long enough ago, or that belongs to a period that is over.
    pub(super) fn settle_due(&mut self) {
        let due: Vec<LeaseNumber> = self
            .ledger
            .live
            .leases
            .iter()
            .filter(|(number, live)| {
                let is_over = || {
                    let lease = self.books().leases.get(number);
                    lease.is_some_and(|lease| self.current(lease).contains(&false))
                };
                !live.usage.is_empty() && (self.is_late(live) || is_over())
            })
            .map(|(number, _)| *number)
            .collect();
        for number in due {
            self.settle(number);
        }
    }

    fn is_late(&self, live: &LiveLease) -> bool {
        // Also when the clock went back, or nothing would be journaled until it has caught up.
        !(0..JOURNAL_MS).contains(&self.now_ms.saturating_sub(live.journaled_ms))
    }

    /// Journals the usage of a lease if that is due.
    pub(super) fn settle_if_due(&mut self, number: LeaseNumber) {
        let live = self.ledger.live.leases.get(&number);
        if live.is_some_and(|live| !live.usage.is_empty() && self.is_late(live)) {
            self.settle(number);
        }
    }

    /// Journals what a lease has reported: its cost moves from held to settled.
    pub(super) fn settle(&mut self, number: LeaseNumber) {
        let now_ms = self.now_ms;
        let Some(live) = self.ledger.live.leases.get_mut(&number) else {
            return;
        };
        let usage = std::mem::take(&mut live.usage);
        let pending = std::mem::take(&mut live.pending);
        live.journaled_ms = now_ms;
        let Some(lease) = self.ledger.books.leases.get(&number) else {
            return;
        };
        let current = self.current(lease);
        self.ledger.live.pending(lease, current, -pending.0);
        let Some(prices) = self.ledger.books.prices.get(&lease.price_version) else {
            return;
        };
        let sheet = self
            .ledger
            .books
            .environments
            .get(&lease.key.environment)
            .and_then(|book| {
                book.sheets
                    .iter()
                    .find(|sheet| sheet.is(lease.windows, lease.price_version))
            });
        let Some(sheet) = sheet else {
            return;
        };
        let lines = rate(prices, &lease.usage, lease.funds, &sheet.lines, &usage);
        if !lines.is_empty() {
            let change = Change::Settled {
                lease: number,
                environment: lease.key.environment,
                account: lease.account,
                price_version: lease.price_version,
                lines,
            };
            self.emit(change);
        }
    }

    /// Ends a lease. What it held and did not spend is free.
    pub(super) fn close_lease(&mut self, number: LeaseNumber, spent: Spent) {
        self.settle(number);
        let Some(lease) = self.books().leases.get(&number) else {
            return;
        };
        let rest = lease.funds.total();
        let lost = match spent {
            Spent::AsReported => Nano::ZERO,
            Spent::UpTo(total) => total.saturating_sub(lease.settled).max(Nano::ZERO).min(rest),
            Spent::All => rest,
        };
        let mut freed = lease.funds;
        let environment = lease.key.environment;
        let sheets = self.books().environments.get(&environment).map(|book| &book.sheets);
        let sheet = sheets.and_then(|sheets| sheets.iter().find(|sheet| sheet.is(lease.windows, lease.price_version)));
        // What rounding left of the lines is needed only as long as leases take turns on them.
        if let Some(sheet) = sheet.filter(|sheet| sheet.leases == 1) {
            for line in sheet.lines.values() {
                freed += line.spare;
            }
        }
        let (account, price_version) = (lease.account, lease.price_version);
        let home = self.home(account, freed);
        self.emit(Change::Closed {
            lease: number,
            environment,
            account,
            price_version,
            lost,
            freed,
            home,
        });
        self.ledger.live.leases.remove(&number);
    }

    /// Takes back what a lease does not need. Never what its usage has spent already.
    pub(super) fn take_back(&mut self, number: LeaseNumber, total: Nano) {
        let Some(lease) = self.books().leases.get(&number) else {
            return;
        };
        let pending = self
            .ledger
            .live
            .leases
            .get(&number)
            .map_or(Nano::ZERO, |live| live.pending);
        let idle = lease.funds.total().saturating_sub(pending);
        let amount = total.saturating_sub(lease.returned).min(idle);
        if amount > Nano::ZERO {
            let (funds, account) = (lease.funds.last(amount), lease.account);
            let home = self.home(account, funds);
            self.emit(Change::Returned {
                lease: number,
                account,
                funds,
                home,
            });
        }
    }

    /// Where money goes that is free again: where it came from, unless it is owed. Promised money
    /// whose promise was kept in the meantime is cash.
    pub(super) fn home(&self, account: AccountId, freed: Funds) -> Home {
        let Some(book) = self.books().accounts.get(&account) else {
            return Home {
                funds: freed,
                debt: Nano::ZERO,
            };
        };
        let open = book.promise.as_ref().map_or(Nano::ZERO, |promise| promise.outstanding);
        let promised = freed
            .promised
            .min(open.saturating_sub(book.free.promised))
            .max(Nano::ZERO);
        let mut cash = freed.cash;
        cash += Nano(freed.promised.0 - promised.0);
        let debt = cash.min(book.debt);
        cash -= debt;
        Home {
            funds: Funds {
                promised,
                cash,
                ..freed
            },
            debt,
        }
    }
}

/// What a lease's usage costs. The lease pays its own share, rounded up; the line costs what all
/// its units cost, rounded up once. The shares can only be more, and never less, at any time.
fn rate(
    prices: &PriceBook,
    settled: &BTreeMap<LineKey, u64>,
    mut funds: Funds,
    lines: &BTreeMap<LineKey, Line>,
    usage: &BTreeMap<LineKey, u64>,
) -> Vec<SettledLine> {
    let mut rated = Vec::new();
    for (key, total) in usage {
        let before = settled.get(key).copied().unwrap_or(0);
        if *total <= before {
            continue;
        }
        let units = *total - before;
        let price = prices.price(&key.sku);
        let share = |units: u64| price.line(u128::from(units)).unwrap_or(LINE_MOST);
        let taken = funds.first(share(*total).saturating_sub(share(before)));
        funds -= taken;
        let blank = Line::default();
        let line = lines.get(key).unwrap_or(&blank);
        let so_far = line.cost.saturating_add(line.loss);
        let cost = price.line(line.units + u128::from(units)).unwrap_or(so_far);
        let more = cost.saturating_sub(so_far).max(Nano::ZERO);
        let mut there = line.spare;
        there += taken;
        let paid = there.first(more);
        rated.push(SettledLine {
            line: key.clone(),
            units,
            paid,
            loss: more.saturating_sub(paid.total()),
            taken,
        });
    }
    rated
}
