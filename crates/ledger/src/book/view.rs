//! Questions: what people and other parts of Weir see. Shown is what is journaled and what meters
//! have reported since, to the unit.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName, ProjectId, UnixMillis};

use super::event::LeaseNumber;
use super::state::{Sheet, Windows};
use super::{Funds, Ledger, Scope, Settings, Standing};
use crate::money::Nano;
use crate::price::{PriceBook, Sku};
use crate::protocol::{Incarnation, LeaseKey, LineKey, MeterName};

/// An account's money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountStanding {
    /// Whose.
    pub account: AccountId,
    /// Whether the balance bounds it.
    pub billing: bool,
    /// What can be spent.
    pub free: Funds,
    /// Leased to meters; used in part already.
    pub held: Funds,
    /// Held for the time after the spending.
    pub reserved: Funds,
    /// What is owed.
    pub debt: Nano,
    /// A promised payment that is open.
    pub promise: Option<OpenPromise>,
    /// Borne by the provider.
    pub loss: Nano,
    /// Used and not invoiced, by kind of use.
    pub usage: BTreeMap<Sku, Nano>,
    /// In which order projects stop when the balance ends.
    pub stop_order: Vec<ProjectId>,
}

/// A promised payment that is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPromise {
    /// What is not paid of it.
    pub outstanding: Nano,
    /// Until when it must be.
    pub due_ms: UnixMillis,
}

/// What one line has used in the period that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineStanding {
    /// Whose.
    pub environment: EnvironmentId,
    /// The app, if it is one's.
    pub app: Option<AppName>,
    /// The process, if it is one's.
    pub process: Option<ProcessName>,
    /// What of.
    pub sku: Sku,
    /// By which prices.
    pub price_version: u32,
    /// Raw units.
    pub units: u128,
    /// What they cost.
    pub amount: Nano,
    /// Of the units: reported, and not journaled yet.
    pub reported_units: u128,
    /// Of the amount: reported, and not journaled yet.
    pub reported_amount: Nano,
}

/// An open lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseStanding {
    /// Which.
    pub number: LeaseNumber,
    /// Who holds it.
    pub meter: MeterName,
    /// Which start of it.
    pub incarnation: Incarnation,
    /// Which, for the meter.
    pub key: LeaseKey,
    /// By which prices.
    pub price_version: u32,
    /// Since when.
    pub opened_ms: UnixMillis,
    /// Granted in total.
    pub granted: Nano,
    /// Given back in total.
    pub returned: Nano,
    /// Moved to settled in total.
    pub settled: Nano,
    /// Held: `granted - returned - settled`.
    pub held: Nano,
    /// Of what is held: spent by what was reported.
    pub reported: Nano,
}

/// Where units of one line are rounded together.
type Cell<'a> = (EnvironmentId, Windows, u32, &'a LineKey);

/// Units and amounts of one line: journaled, and reported since.
#[derive(Default)]
struct Sum {
    units: u128,
    amount: Nano,
    reported_units: u128,
    reported_amount: Nano,
}

impl Ledger {
    /// What bounds a scope, and how far it is; `None` if it is not known.
    pub fn standing(&self, scope: Scope, now_ms: UnixMillis) -> Option<Standing> {
        let book = self.books.scopes.get(&scope)?;
        let reported = self.reported_amount(scope);
        let committed = book.committed();
        Some(Standing {
            scope,
            cap: book.cap,
            limit: book.cap.map_or(Nano::MAX, |cap| cap.limit.max(committed)),
            settled: book.window.settled.saturating_add(reported),
            held: book.held().saturating_sub(reported),
            reserved: book.reserved,
            from_ms: book.window.span.from_ms,
            until_ms: book.window.span.until_ms,
            stopped: self.stopped(scope),
            burn_per_hour: self.live.burn_per_hour(scope, now_ms),
        })
    }

    /// All scopes that are not gone, by scope.
    pub fn standings(&self, now_ms: UnixMillis) -> Vec<Standing> {
        let scopes = self.books.scopes.iter().filter(|(_, book)| !book.gone);
        scopes.filter_map(|(scope, _)| self.standing(*scope, now_ms)).collect()
    }

    /// What stops a scope: itself, or the next above it that is stopped.
    fn stopped(&self, scope: Scope) -> Option<crate::protocol::DenialReason> {
        let book = self.books.scopes.get(&scope)?;
        if book.gone {
            return Some(crate::protocol::DenialReason::Gone);
        }
        let own = book.stopped.map(|stop| stop.reason);
        own.or_else(|| self.stopped(book.parent?))
    }

    /// An account's money; `None` if it is not known.
    pub fn account(&self, account: AccountId) -> Option<AccountStanding> {
        let book = self.books.accounts.get(&account)?;
        Some(AccountStanding {
            account,
            billing: book.billing,
            free: book.free,
            held: book.held,
            reserved: book.reserved,
            debt: book.debt,
            promise: book.promise.as_ref().map(|promise| OpenPromise {
                outstanding: promise.outstanding,
                due_ms: promise.due_ms,
            }),
            loss: book.loss,
            usage: book.usage.clone(),
            stop_order: book.stop_order.clone(),
        })
    }

    /// What is settled by the journal in a scope's period, and what is held; without what was
    /// reported since. Always `settled + held <= limit`.
    pub fn journaled(&self, scope: Scope) -> Option<(Nano, Nano)> {
        let book = self.books.scopes.get(&scope)?;
        Some((book.window.settled, book.held()))
    }

    /// All lines of a scope and what is below it, in the period that runs.
    pub fn lines(&self, scope: Scope) -> Vec<LineStanding> {
        let mut sums: BTreeMap<(EnvironmentId, &LineKey, u32), Sum> = BTreeMap::new();
        for (environment, sheet) in self.sheets(scope) {
            for (key, line) in &sheet.lines {
                let sum = sums.entry((environment, key, sheet.price_version)).or_default();
                sum.units += line.units;
                sum.amount = sum.amount.saturating_add(line.cost);
            }
        }
        for ((environment, _, version, key), (units, amount)) in self.reported(scope) {
            let sum = sums.entry((environment, key, version)).or_default();
            sum.units += units;
            sum.reported_units += units;
            sum.amount = sum.amount.saturating_add(amount);
            sum.reported_amount = sum.reported_amount.saturating_add(amount);
        }
        let line = |((environment, key, price_version), sum): ((EnvironmentId, &LineKey, u32), Sum)| LineStanding {
            environment,
            app: key.app.clone(),
            process: key.process.clone(),
            sku: key.sku.clone(),
            price_version,
            units: sum.units,
            amount: sum.amount,
            reported_units: sum.reported_units,
            reported_amount: sum.reported_amount,
        };
        sums.into_iter().map(line).collect()
    }

    /// All open leases.
    pub fn leases(&self) -> Vec<LeaseStanding> {
        let leases = self.books.leases.iter();
        leases
            .map(|(number, lease)| LeaseStanding {
                number: *number,
                meter: lease.meter.clone(),
                incarnation: lease.incarnation,
                key: lease.key,
                price_version: lease.price_version,
                opened_ms: lease.opened_ms,
                granted: lease.granted,
                returned: lease.returned,
                settled: lease.settled,
                held: lease.funds.total(),
                reported: self.live.leases.get(number).map_or(Nano::ZERO, |live| live.pending),
            })
            .collect()
    }

    /// The prices that hold for new leases; `None` before any were published.
    pub fn prices(&self, now_ms: UnixMillis) -> Option<&PriceBook> {
        let books = self.books.prices.values().rev();
        let first = self.books.prices.values().next();
        // A clock before the first book gets the first: there is no time without prices.
        books.into_iter().find(|book| book.valid_from_ms <= now_ms).or(first)
    }

    /// All prices ever published, by version.
    pub fn price_books(&self) -> &BTreeMap<u32, PriceBook> {
        &self.books.prices
    }

    /// What holds for the whole ledger.
    pub fn settings(&self) -> &Settings {
        &self.books.settings
    }

    /// What a scope belongs to.
    pub fn parent(&self, scope: Scope) -> Option<Scope> {
        self.books.scopes.get(&scope)?.parent
    }

    /// The place of a scope in the path of an environment.
    fn place(scope: Scope) -> usize {
        match scope {
            Scope::Environment(_) => 0,
            Scope::Project(_) => 1,
            Scope::Account(_) => 2,
        }
    }

    fn is_below(&self, environment: EnvironmentId, scope: Scope) -> bool {
        let mut at = Some(Scope::Environment(environment));
        while let Some(here) = at {
            if here == scope {
                return true;
            }
            at = self.parent(here);
        }
        false
    }

    /// The sheets that count in the period of a scope that runs.
    fn sheets(&self, scope: Scope) -> impl Iterator<Item = (EnvironmentId, &Sheet)> {
        let window = self.books.scopes.get(&scope).map(|book| book.window.number);
        let environments = self.books.environments.iter();
        environments
            .filter(move |(environment, _)| self.is_below(**environment, scope))
            .flat_map(|(environment, book)| book.sheets.iter().map(|sheet| (*environment, sheet)))
            .filter(move |(_, sheet)| Some(sheet.windows[Self::place(scope)]) == window)
    }

    /// What was reported and is not journaled, in the period of a scope that runs: units, and
    /// what the lines will cost more for them.
    fn reported(&self, scope: Scope) -> BTreeMap<Cell<'_>, (u128, Nano)> {
        let mut units: BTreeMap<Cell<'_>, u128> = BTreeMap::new();
        let book = self.books.scopes.get(&scope);
        for number in book.into_iter().flat_map(|book| &book.leases) {
            let (Some(lease), Some(live)) = (self.books.leases.get(number), self.live.leases.get(number)) else {
                continue;
            };
            if Some(lease.windows[Self::place(scope)]) == book.map(|book| book.window.number) {
                for (line, total) in &live.usage {
                    let more = total.saturating_sub(lease.usage.get(line).copied().unwrap_or(0));
                    let cell = (lease.key.environment, lease.windows, lease.price_version, line);
                    *units.entry(cell).or_default() += u128::from(more);
                }
            }
        }
        let costs = units
            .into_iter()
            .map(|(cell, units)| (cell, (units, self.cost_of(cell, units))));
        costs.collect()
    }

    fn cost_of(&self, (environment, windows, version, key): Cell<'_>, units: u128) -> Nano {
        let sheets = self.books.environments.get(&environment).map(|book| &book.sheets);
        let sheet = sheets.and_then(|sheets| sheets.iter().find(|sheet| sheet.is(windows, version)));
        let line = sheet.and_then(|sheet| sheet.lines.get(key));
        let (before, cost) = line.map_or((0, Nano::ZERO), |line| {
            (line.units, line.cost.saturating_add(line.loss))
        });
        let price = self.books.prices.get(&version).map(|book| book.price(&key.sku));
        let after = price.and_then(|price| price.line(before + units)).unwrap_or(cost);
        after.saturating_sub(cost).max(Nano::ZERO)
    }

    fn reported_amount(&self, scope: Scope) -> Nano {
        self.reported(scope).into_values().map(|(_, amount)| amount).sum()
    }
}
