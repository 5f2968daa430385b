//! Somebody who counts apart from everybody else: the work as it is done, priced in exact whole
//! numbers by the prices of the lease that it was drawn from. What it knows of leases, periods and
//! caps it reads from the journal's rows; no sum of the ledger's or the wallets' is used.

use std::collections::BTreeMap;

use weir_ledger::book::{Change, Event, LeaseNumber, Scope};
use weir_ledger::protocol::{LeaseKey, LineKey};
use weir_ledger::{Nano, PriceBook, Sku};

/// A lease, as its meter names it: meter, incarnation, key.
pub(crate) type LeaseName = (String, u64, LeaseKey);

/// One period of one scope: which, counted from 0.
type Window = (Scope, usize);

/// Lines that are rounded together.
type Cell = ([Window; 3], u32, LineKey);

/// Work on one lease, in raw units.
#[derive(Debug, Default)]
struct Done {
    units: BTreeMap<LineKey, u128>,
    /// What all draws cost that were made and not put back, each rounded up; in pico-units.
    cost: i128,
}

/// A lease in the journal.
#[derive(Debug)]
struct Lease {
    name: LeaseName,
    windows: [Window; 3],
    version: u32,
    granted: i128,
    returned: i128,
    settled: i128,
    /// What of it no usage explains; known when it is closed.
    lost: Option<i128>,
    units: BTreeMap<LineKey, u128>,
}

/// A scope in the journal.
#[derive(Debug)]
struct Bounds {
    parent: Option<Scope>,
    limit: i128,
    window: usize,
    until_ms: Option<i64>,
    /// The highest limit that was in force in each period.
    most: Vec<i128>,
    /// What the work in each period costs, in pico-units.
    cost: Vec<i128>,
}

/// Work that has begun.
#[derive(Debug)]
pub(crate) struct Ticket {
    lease: LeaseNumber,
    line: LineKey,
    units: u64,
}

/// Counts.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    books: BTreeMap<u32, PriceBook>,
    scopes: BTreeMap<Scope, Bounds>,
    leases: BTreeMap<LeaseNumber, Lease>,
    done: BTreeMap<LeaseNumber, Done>,
    names: BTreeMap<LeaseName, LeaseNumber>,
    /// Up to which incarnation a meter has crashed or was fenced.
    harmed: BTreeMap<String, u64>,
    /// What the journal says that lines cost.
    paid: BTreeMap<Cell, i128>,
    /// Money that came in from outside, and was promised.
    pub(crate) money_in: i128,
}

impl Oracle {
    /// What so many units cost in pico-units, rounded up.
    fn cost_up(&self, version: u32, sku: &Sku, units: u128) -> i128 {
        let price = self.books[&version].prices.get(sku);
        price.map_or(0, |price| {
            let exact = i128::try_from(units).unwrap() * i128::from(price.pico);
            let per = i128::from(price.per);
            exact / per + i128::from(exact % per != 0)
        })
    }

    /// What so many units cost in nano-units, rounded up once.
    fn line_cost(&self, version: u32, sku: &Sku, units: u128) -> i128 {
        let price = self.books[&version].prices.get(sku);
        price.map_or(0, |price| {
            let exact = i128::try_from(units).unwrap() * i128::from(price.pico);
            let per = i128::from(price.per) * 1000;
            exact / per + i128::from(exact % per != 0)
        })
    }

    /// Work begins that may be so much.
    pub(crate) fn begin(&mut self, name: &LeaseName, line: LineKey, units: u64) -> Ticket {
        let lease = *self
            .names
            .get(name)
            .expect("work is drawn from a lease that is in the journal");
        let cost = self.cost_up(self.leases[&lease].version, &line.sku, u128::from(units));
        self.count(lease, cost);
        let done = self.done.entry(lease).or_default();
        *done.units.entry(line.clone()).or_default() += u128::from(units);
        self.check_lease(lease);
        Ticket { lease, line, units }
    }

    /// It was only so much.
    pub(crate) fn finish(&mut self, ticket: Ticket, used: u64) {
        let version = self.leases[&ticket.lease].version;
        let cost = |units: u64| self.cost_up(version, &ticket.line.sku, u128::from(units));
        let back = cost(used) - cost(ticket.units);
        self.count(ticket.lease, back);
        let done = self.done.get_mut(&ticket.lease).expect("it has begun");
        *done.units.get_mut(&ticket.line).expect("it has begun") -= u128::from(ticket.units - used);
    }

    fn count(&mut self, lease: LeaseNumber, cost: i128) {
        self.done.entry(lease).or_default().cost += cost;
        for (scope, window) in self.leases[&lease].windows {
            let bounds = self.scopes.get_mut(&scope).expect("scopes are never forgotten");
            bounds.cost[window] += cost;
            assert!(
                bounds.cost[window] <= bounds.most[window].saturating_mul(1000),
                "the work of {scope:?} in its period {window} costs {} pico, and at most {} nano were allowed",
                bounds.cost[window],
                bounds.most[window]
            );
        }
    }

    /// What was done on a lease is covered by what is counted for it.
    fn check_lease(&self, number: LeaseNumber) {
        let lease = &self.leases[&number];
        let counted = match lease.lost {
            None => lease.granted - lease.returned,
            Some(lost) => lease.settled + lost,
        };
        let cost = self.done.get(&number).map_or(0, |done| done.cost);
        assert!(
            cost <= counted * 1000,
            "{:?} did work for {cost} pico, and {counted} nano are counted for it: {lease:?}",
            lease.name
        );
    }

    /// A meter's crash or fence may have swallowed reports of all leases up to this incarnation.
    pub(crate) fn harm(&mut self, meter: &str, incarnation: u64) {
        let harmed = self.harmed.entry(meter.to_owned()).or_default();
        *harmed = incarnation.max(*harmed);
    }

    fn is_harmed(&self, lease: &Lease) -> bool {
        let (meter, incarnation, _) = &lease.name;
        self.harmed.get(meter).is_some_and(|harmed| incarnation <= harmed)
    }

    /// Reads a row of the journal.
    pub(crate) fn read(&mut self, event: &Event) {
        match &event.change {
            Change::Opened { .. } | Change::CapSet { .. } | Change::Rolled { .. } => self.read_scope(event),
            Change::Published { book } => drop(self.books.insert(book.version, book.clone())),
            Change::Deposited { amount, .. } | Change::Promised { amount, .. } => {
                self.money_in += i128::from(amount.0);
            }
            Change::Granted {
                lease, funds, opens, ..
            } => {
                if let Some(opening) = opens {
                    let environment = Scope::Environment(opening.key.environment);
                    let project = self.scopes[&environment].parent.expect("an environment has a project");
                    let account = self.scopes[&project].parent.expect("a project has an account");
                    let name = (opening.meter.clone(), opening.incarnation, opening.key);
                    assert_eq!(self.names.insert(name.clone(), *lease), None, "{name:?} opens twice");
                    let opened = Lease {
                        name,
                        windows: [environment, project, account].map(|scope| (scope, self.scopes[&scope].window)),
                        version: opening.price_version,
                        granted: 0,
                        returned: 0,
                        settled: 0,
                        lost: None,
                        units: BTreeMap::new(),
                    };
                    self.leases.insert(*lease, opened);
                }
                self.lease(*lease).granted += i128::from(funds.total().0);
            }
            Change::Returned { lease, funds, .. } => {
                self.lease(*lease).returned += i128::from(funds.total().0);
                self.check_lease(*lease);
            }
            Change::Settled { lease, lines, .. } => {
                for settled in lines {
                    assert_eq!(
                        settled.loss,
                        Nano::ZERO,
                        "an honest meter uses what it drew: {settled:?}"
                    );
                    let told = self.lease(*lease);
                    told.settled += i128::from(settled.taken.total().0);
                    *told.units.entry(settled.line.clone()).or_default() += u128::from(settled.units);
                    let cell = (told.windows, told.version, settled.line.clone());
                    *self.paid.entry(cell).or_default() += i128::from(settled.paid.total().0);
                    self.check_told(*lease, &settled.line);
                }
            }
            Change::Closed { lease, lost, .. } => {
                assert!(*lost >= Nano::ZERO, "less than nothing is lost");
                self.lease(*lease).lost = Some(i128::from(lost.0));
                self.check_lease(*lease);
            }
            _ => {}
        }
    }

    fn lease(&mut self, number: LeaseNumber) -> &mut Lease {
        let lease = self
            .leases
            .get_mut(&number)
            .expect("a lease is opened before anything else");
        assert_eq!(lease.lost, None, "something happens to a closed lease: {lease:?}");
        lease
    }

    fn read_scope(&mut self, event: &Event) {
        let limit = |cap: &Option<weir_ledger::book::Cap>| cap.map_or(i128::MAX / 2000, |cap| i128::from(cap.limit.0));
        match &event.change {
            Change::Opened {
                scope,
                parent,
                cap,
                span,
            } => {
                let bounds = Bounds {
                    parent: *parent,
                    limit: limit(cap),
                    window: 0,
                    until_ms: span.until_ms,
                    most: vec![limit(cap)],
                    cost: vec![0],
                };
                self.scopes.insert(*scope, bounds);
            }
            Change::CapSet { scope, cap, span, .. } => {
                let bounds = self.scopes.get_mut(scope).expect("it is open");
                bounds.limit = limit(cap);
                bounds.until_ms = span.until_ms;
                let most = &mut bounds.most[bounds.window];
                *most = (*most).max(limit(cap));
            }
            Change::Rolled { scope, span } => {
                let bounds = self.scopes.get_mut(scope).expect("it is open");
                let before = bounds.until_ms.expect("a total never ends");
                assert!(span.from_ms >= before, "periods of {scope:?} overlap: {span:?}");
                bounds.until_ms = span.until_ms;
                bounds.window += 1;
                bounds.most.push(bounds.limit);
                bounds.cost.push(0);
            }
            _ => {}
        }
    }

    /// What was held over from the period before, or before the cap was lowered, stays allowed.
    pub(crate) fn allow(&mut self, scope: Scope, committed: Nano) {
        let bounds = self.scopes.get_mut(&scope).expect("it is open");
        let most = &mut bounds.most[bounds.window];
        *most = (*most).max(i128::from(committed.0));
    }

    /// `S + H` of a scope's period: within the highest limit of the period, and after something
    /// was granted, within the limit of now.
    pub(crate) fn check_scope(&self, scope: Scope, settled: Nano, held: Nano, granted: bool) {
        let bounds = &self.scopes[&scope];
        let limit = if granted {
            bounds.limit
        } else {
            bounds.most[bounds.window]
        };
        let committed = i128::from(settled.0) + i128::from(held.0);
        assert!(
            committed <= limit,
            "{scope:?}: settled {settled} + held {held} > {limit} nano"
        );
        let cost = bounds.cost[bounds.window];
        assert!(
            cost <= committed * 1000,
            "{scope:?}: work for {cost} pico, and settled {settled} + held {held}"
        );
    }

    fn check_told(&self, number: LeaseNumber, line: &LineKey) {
        let told = self.leases[&number].units[line];
        let done = self.done.get(&number).and_then(|done| done.units.get(line)).copied();
        assert!(
            done.unwrap_or(0) >= told,
            "{line:?}: {told} units are charged, {done:?} were done"
        );
    }

    /// All leases are closed, and what is charged is what was done. Returns what is lost.
    pub(crate) fn settle_up(&self) -> Lost {
        let mut lost = Lost::default();
        let mut cells: BTreeMap<Cell, u128> = BTreeMap::new();
        for (number, lease) in &self.leases {
            let gone = lease.lost.unwrap_or_else(|| panic!("{lease:?} is open still"));
            let harmed = self.is_harmed(lease);
            let nothing = Done::default();
            let done = self.done.get(number).unwrap_or(&nothing);
            for (line, units) in &done.units {
                let told = lease.units.get(line).copied().unwrap_or(0);
                assert!(
                    told == *units || harmed && told <= *units,
                    "{:?}: {units} units of {line:?} were done, {told} are charged",
                    lease.name
                );
                let unpaid = self.cost_up(lease.version, &line.sku, *units - told);
                lost.unpaid_pico += unpaid;
            }
            assert!(
                harmed || gone == 0,
                "{gone} nano of {:?} are lost for no reason",
                lease.name
            );
            lost.counted_nano += gone;
            lost.leases += u64::from(gone > 0);
            for (line, units) in &lease.units {
                let cell = (lease.windows, lease.version, line.clone());
                *cells.entry(cell).or_default() += units;
            }
        }
        for (cell, units) in &cells {
            let cost = self.line_cost(cell.1, &cell.2.sku, *units);
            let paid = self.paid.get(cell).copied().unwrap_or(0);
            assert_eq!(paid, cost, "{units} units of {cell:?}");
        }
        assert!(
            lost.unpaid_pico <= lost.counted_nano * 1000,
            "more was lost than is counted: {lost:?}"
        );
        lost
    }

    /// What all work of an account costs, in pico-units.
    pub(crate) fn cost_of(&self, scope: Scope) -> i128 {
        self.scopes[&scope].cost.iter().sum()
    }

    /// Units of an environment's line in the period that runs, by version of the prices; `None`
    /// if a lease of it was harmed.
    pub(crate) fn shown(&self, scope: Scope) -> Option<BTreeMap<(LineKey, u32), u128>> {
        let window = (scope, self.scopes[&scope].window);
        let mut shown = BTreeMap::new();
        for (number, lease) in self.leases.iter().filter(|(_, lease)| lease.windows.contains(&window)) {
            if self.is_harmed(lease) {
                return None;
            }
            let Some(done) = self.done.get(number) else { continue };
            for (line, units) in done.units.iter().filter(|(_, units)| **units > 0) {
                *shown.entry((line.clone(), lease.version)).or_default() += units;
            }
        }
        Some(shown)
    }
}

/// What crashes have cost.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Lost {
    /// Counted against the caps, and never invoiced.
    pub(crate) counted_nano: i128,
    /// Of it: work that was done and never reported.
    pub(crate) unpaid_pico: i128,
    /// Leases that lost something.
    pub(crate) leases: u64,
}
