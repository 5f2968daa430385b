//! Taking events in: adding and subtracting what they say. No rules here, and no clock.

use weir_model::{AccountId, UnixMillis};

use super::event::{Change, Event, Home, LeaseNumber, Opening, SettledLine, Span};
use super::state::{Books, Bucket, Lease, ScopeBook, Sheet, Stop, Window, Windows};
use super::{Cap, Funds, Scope};
use crate::money::Nano;
use crate::price::Sku;

/// In which time an empty bucket takes in the whole cap.
const PACE_MS: i128 = 6 * 3_600_000;

impl Books {
    /// Takes one event in. Events of another ledger, or out of order, give nonsense but no panic
    /// as long as amounts stay in range; the audit tells.
    pub(super) fn apply(&mut self, event: &Event) {
        let at_ms = event.at_ms;
        match &event.change {
            Change::Configured(settings) => self.settings = settings.clone(),
            Change::Published { book } => {
                self.prices.insert(book.version, book.clone());
            }
            Change::MeterOpened {
                meter,
                incarnation,
                boot,
            } => {
                let book = self.meters.entry(meter.clone()).or_default();
                book.incarnation = *incarnation;
                book.boot = *boot;
                book.highest.clear();
            }
            Change::Fenced { meter, incarnation } => {
                self.meters.entry(meter.clone()).or_default().fenced = *incarnation;
            }
            Change::Granted {
                lease,
                funds,
                opens,
                from_tail,
                ..
            } => {
                if let Some(opening) = opens {
                    self.open_lease(*lease, opening, event);
                }
                if *from_tail {
                    self.tail_taken(*lease, *funds);
                }
                self.granted(*lease, *funds, at_ms);
            }
            Change::Returned { lease, funds, home, .. } => self.returned(*lease, *funds, *home, at_ms),
            Change::Settled { lease, lines, .. } => self.settled(*lease, lines),
            Change::Closed {
                lease,
                lost,
                freed,
                home,
                ..
            } => self.closed(*lease, *lost, *freed, *home, at_ms),
            Change::Opened { .. }
            | Change::CapSet { .. }
            | Change::Rolled { .. }
            | Change::Gone { .. }
            | Change::Stopped { .. }
            | Change::Resumed { .. }
            | Change::Crossed { .. } => self.scope_changed(&event.change, at_ms),
            Change::BillingSet { .. }
            | Change::StopOrderSet { .. }
            | Change::Deposited { .. }
            | Change::Promised { .. }
            | Change::PromiseBroken { .. }
            | Change::Corrected { .. }
            | Change::Invoiced { .. }
            | Change::Reserved { .. } => self.account_changed(&event.change),
        }
    }

    fn scope_changed(&mut self, change: &Change, at_ms: UnixMillis) {
        match change {
            Change::Opened {
                scope,
                parent,
                cap,
                span,
            } => {
                self.scopes.insert(*scope, ScopeBook::new(*parent, *cap, *span, at_ms));
                if let Scope::Account(account) = scope {
                    self.accounts.entry(*account).or_default();
                }
            }
            Change::CapSet { scope, cap, span, told } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    book.set_cap(*cap, *span, at_ms);
                    book.crossed = told.iter().copied().collect();
                }
            }
            Change::Rolled { scope, span } => self.rolled(*scope, *span),
            Change::Gone { scope } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    book.gone = true;
                }
            }
            Change::Stopped { scope, reason, needed } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    book.stopped = Some(Stop {
                        reason: *reason,
                        needed: *needed,
                    });
                }
            }
            Change::Resumed { scope } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    book.stopped = None;
                }
            }
            Change::Crossed { scope, percent, .. } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    book.crossed.insert(*percent);
                }
            }
            _ => {}
        }
    }

    fn rolled(&mut self, scope: Scope, span: Span) {
        let Some(book) = self.scopes.get_mut(&scope) else {
            return;
        };
        let next = Window {
            number: book.window.number + 1,
            span,
            settled: Nano::ZERO,
            held: Nano::ZERO,
            leases: 0,
        };
        let over = std::mem::replace(&mut book.window, next);
        if over.leases > 0 {
            book.old.push(over);
        }
        book.crossed.clear();
        let idle = book.gone && book.leases.is_empty() && book.reserved == Nano::ZERO;
        let Scope::Environment(environment) = scope else {
            return;
        };
        // Old lines are in the journal; here only those are kept that some period still shows.
        let current = self.windows(scope);
        let is_shown =
            |sheet: &mut Sheet| sheet.leases > 0 || sheet.windows.iter().zip(current).any(|(its, now)| *its == now);
        let lines = self.environments.entry(environment).or_default();
        lines.sheets.retain_mut(is_shown);
        if idle && lines.sheets.is_empty() {
            self.scopes.remove(&scope);
            self.environments.remove(&environment);
            for meter in self.meters.values_mut() {
                meter.highest.remove(&environment);
            }
        }
    }

    /// The numbers of the periods that run on the path of an environment.
    fn windows(&self, environment: Scope) -> Windows {
        let mut windows = [0; 3];
        let mut scope = Some(environment);
        for window in &mut windows {
            if let Some(book) = scope.and_then(|scope| self.scopes.get(&scope)) {
                *window = book.window.number;
                scope = book.parent;
            }
        }
        windows
    }

    fn open_lease(&mut self, number: LeaseNumber, opening: &Opening, event: &Event) {
        let environment = opening.key.environment;
        let lease = Lease {
            meter: opening.meter.clone(),
            incarnation: opening.incarnation,
            key: opening.key,
            price_version: opening.price_version,
            project: opening.project,
            account: event.payer().unwrap_or_else(|| AccountId::from_parts(0, 0)),
            windows: self.windows(Scope::Environment(environment)),
            opened_ms: event.at_ms,
            granted: Nano::ZERO,
            returned: Nano::ZERO,
            settled: Nano::ZERO,
            funds: Funds::ZERO,
            usage: std::collections::BTreeMap::new(),
        };
        for (scope, window) in lease.path() {
            if let Some(book) = self.scopes.get_mut(&scope) {
                book.leases.insert(number);
                if let Some(window) = book.window_mut(window) {
                    window.leases += 1;
                }
            }
        }
        let sheets = &mut self.environments.entry(environment).or_default().sheets;
        match sheets
            .iter_mut()
            .find(|sheet| sheet.is(lease.windows, lease.price_version))
        {
            Some(sheet) => sheet.leases += 1,
            None => sheets.push(Sheet {
                windows: lease.windows,
                price_version: lease.price_version,
                leases: 1,
                lines: std::collections::BTreeMap::new(),
            }),
        }
        let meter = self.meters.entry(opening.meter.clone()).or_default();
        meter.open.insert(opening.key, number);
        let highest = meter.highest.entry(environment).or_default();
        *highest = (*highest).max(opening.key.number);
        self.last_lease = self.last_lease.max(number);
        self.leases.insert(number, lease);
    }

    /// What is granted next comes out of the tail of what is stored.
    fn tail_taken(&mut self, number: LeaseNumber, funds: Funds) {
        let Some(lease) = self.leases.get(&number) else {
            return;
        };
        for (scope, _) in lease.path() {
            if let Some(book) = self.scopes.get_mut(&scope) {
                book.reserved -= funds.total();
            }
        }
        self.environments.entry(lease.key.environment).or_default().reserve -= funds;
        let account = self.accounts.entry(lease.account).or_default();
        account.reserved -= funds;
        account.free += super::account::of_wallets(funds);
    }

    fn granted(&mut self, number: LeaseNumber, funds: Funds, at_ms: UnixMillis) {
        let Some(lease) = self.leases.get_mut(&number) else {
            return;
        };
        lease.granted += funds.total();
        lease.funds += funds;
        for (scope, window) in lease.path() {
            if let Some(book) = self.scopes.get_mut(&scope) {
                book.pour(-funds.total().0, at_ms);
                if let Some(window) = book.window_mut(window) {
                    window.held += funds.total();
                }
            }
        }
        let account = self.accounts.entry(lease.account).or_default();
        account.free -= super::account::of_wallets(funds);
        account.held += funds;
    }

    fn returned(&mut self, number: LeaseNumber, funds: Funds, home: Home, at_ms: UnixMillis) {
        let Some(lease) = self.leases.get_mut(&number) else {
            return;
        };
        lease.returned += funds.total();
        lease.funds -= funds;
        for (scope, window) in lease.path() {
            if let Some(book) = self.scopes.get_mut(&scope) {
                book.pour(funds.total().0, at_ms);
                if let Some(window) = book.window_mut(window) {
                    window.held -= funds.total();
                }
            }
        }
        self.accounts.entry(lease.account).or_default().come_home(funds, home);
    }

    fn settled(&mut self, number: LeaseNumber, lines: &[SettledLine]) {
        let Some(lease) = self.leases.get_mut(&number) else {
            return;
        };
        let account = self.accounts.entry(lease.account).or_default();
        let sheet = self.environments.get_mut(&lease.key.environment).and_then(|book| {
            book.sheets
                .iter_mut()
                .find(|sheet| sheet.is(lease.windows, lease.price_version))
        });
        let mut paid = Nano::ZERO;
        if let Some(sheet) = sheet {
            for settled in lines {
                let line = sheet.lines.entry(settled.line.clone()).or_default();
                line.units += u128::from(settled.units);
                line.cost += settled.paid.total();
                line.loss += settled.loss;
                line.spare += settled.taken;
                line.spare -= settled.paid;
                *lease.usage.entry(settled.line.clone()).or_default() += settled.units;
                lease.settled += settled.taken.total();
                lease.funds -= settled.taken;
                account.held -= settled.paid;
                account.loss += settled.loss;
                let usage = account.usage.entry(settled.line.sku.clone()).or_default();
                *usage += settled.paid.total();
                *usage += settled.loss;
                paid += settled.paid.total();
            }
        }
        for (scope, window) in lease.path() {
            if let Some(window) = self.scopes.get_mut(&scope).and_then(|book| book.window_mut(window)) {
                window.held -= paid;
                window.settled += paid;
            }
        }
    }

    fn closed(&mut self, number: LeaseNumber, lost: Nano, freed: Funds, home: Home, at_ms: UnixMillis) {
        let Some(lease) = self.leases.remove(&number) else {
            return;
        };
        let environment = self.environments.entry(lease.key.environment).or_default();
        if let Some(sheet) = environment
            .sheets
            .iter_mut()
            .find(|sheet| sheet.is(lease.windows, lease.price_version))
        {
            sheet.leases -= 1;
            if sheet.leases == 0 {
                sheet.lines.values_mut().for_each(|line| line.spare = Funds::ZERO);
            }
            if lost > Nano::ZERO {
                let line = sheet.lines.entry(lost_line()).or_default();
                line.units += u128::from(lost.0.unsigned_abs());
                line.cost += lost;
            }
        }
        for (scope, window) in lease.path() {
            if let Some(book) = self.scopes.get_mut(&scope) {
                book.leases.remove(&number);
                book.pour(freed.total().0 - lost.0, at_ms);
                if let Some(window) = book.window_mut(window) {
                    window.held -= freed.total();
                    window.settled += lost;
                    window.leases -= 1;
                }
                book.old.retain(|window| window.leases > 0);
            }
        }
        let account = self.accounts.entry(lease.account).or_default();
        account.come_home(freed, home);
        if lost > Nano::ZERO {
            account.loss += lost;
            *account.usage.entry(Sku::LOST).or_default() += lost;
        }
        if let Some(meter) = self.meters.get_mut(&lease.meter) {
            meter.open.remove(&lease.key);
        }
    }
}

/// The line of what is lost: an environment's as a whole.
fn lost_line() -> crate::protocol::LineKey {
    crate::protocol::LineKey {
        app: None,
        process: None,
        sku: Sku::LOST,
    }
}

impl Sheet {
    /// Whether it is the one of these periods and prices.
    pub(super) fn is(&self, windows: Windows, price_version: u32) -> bool {
        self.windows == windows && self.price_version == price_version
    }
}

impl ScopeBook {
    fn new(parent: Option<Scope>, cap: Option<Cap>, span: Span, at_ms: UnixMillis) -> Self {
        Self {
            parent,
            cap,
            gone: false,
            window: Window {
                number: 0,
                span,
                settled: Nano::ZERO,
                held: Nano::ZERO,
                leases: 0,
            },
            old: Vec::new(),
            reserved: Nano::ZERO,
            bucket: Bucket {
                level: cap.map_or(0, bucket_size),
                at_ms,
            },
            crossed: std::collections::BTreeSet::new(),
            stopped: None,
            leases: std::collections::BTreeSet::new(),
        }
    }

    fn set_cap(&mut self, cap: Option<Cap>, span: Span, at_ms: UnixMillis) {
        let old_size = self.cap.filter(|old| old.pace).map(bucket_size);
        let level = self.level(at_ms);
        self.cap = cap;
        self.window.span = span;
        let size = cap.map_or(0, bucket_size);
        // A raise is felt at once: the bucket gets what it is larger now.
        let level = old_size.map_or(size, |old| level.saturating_add((size - old).max(0)).min(size));
        self.bucket = Bucket { level, at_ms };
    }

    /// How much the bucket holds at an instant. A clock that goes back fills nothing.
    pub(super) fn level(&self, at_ms: UnixMillis) -> i64 {
        let Some(cap) = self.cap else {
            return self.bucket.level;
        };
        let elapsed = i128::from(at_ms.saturating_sub(self.bucket.at_ms).max(0));
        let filled = i128::from(cap.limit.0) * elapsed / PACE_MS;
        let level = i128::from(self.bucket.level) + filled;
        i64::try_from(level.min(i128::from(bucket_size(cap)))).unwrap_or(0)
    }

    /// Takes money out of the bucket (negative) or puts back what was not spent.
    fn pour(&mut self, amount: i64, at_ms: UnixMillis) {
        let Some(cap) = self.cap.filter(|cap| cap.pace) else {
            return;
        };
        let level = self.level(at_ms);
        // As long as less than one nano came in, the time it took must not be forgotten; that of
        // a full bucket must.
        if level != self.bucket.level || level >= bucket_size(cap) || at_ms < self.bucket.at_ms {
            self.bucket.at_ms = at_ms;
        }
        self.bucket.level = level.saturating_add(amount).min(bucket_size(cap));
    }
}

/// How much a full bucket holds.
pub(super) fn bucket_size(cap: Cap) -> i64 {
    (cap.limit.0 / 10).max(1)
}
