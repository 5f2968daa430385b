//! Verifies a journal from its first row: that no row was changed, removed or added, that every
//! sum is right after every row, and that what is charged is what meters have counted.
//!
//! The limits are checked by a second bookkeeping that shares no code with the ledger's: it knows
//! only what the rows say was granted, returned, settled and closed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_model::{AccountId, AppName, EnvironmentId, ProcessName};

use crate::book::{Change, Event, LeaseNumber, Ledger, Pot, Scope};
use crate::price::Sku;

/// What the first row names as the hash before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The hash of a row: SHA-256, in hex, of the hash before, the sequence and the body, with a line
/// break between.
pub fn chain_hash(previous_hash: &str, sequence: i64, body: &str) -> String {
    let digest = Sha256::digest(format!("{previous_hash}\n{sequence}\n{body}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A row of the journal, as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// From 1, without gaps.
    pub sequence: i64,
    /// The hash of the row before.
    pub previous_hash: &'a str,
    /// The event as JSON, to the byte.
    pub body: &'a str,
    /// [`chain_hash`] of the three.
    pub hash: &'a str,
}

/// What was counted of one kind of use, by whoever counts apart from the ledger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Counted {
    /// Whose.
    pub environment: EnvironmentId,
    /// The app, if it is one's.
    pub app: Option<AppName>,
    /// The process, if it is one's.
    pub process: Option<ProcessName>,
    /// What of.
    pub sku: Sku,
}

/// What an audit has found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Rows that were read.
    pub events: u64,
    /// The hash of the last one.
    pub hash: String,
    /// Movements of money in the double entry.
    pub transfers: u64,
    /// What each pot holds, over all accounts; the sum is zero.
    pub pots: BTreeMap<Pot, i128>,
    /// What is wrong, in words; empty if all is well. The first hundred.
    pub findings: Vec<String>,
    /// How many more findings there were.
    pub more: u64,
}

/// Most findings that are listed.
const LISTED: usize = 100;

/// Reads a journal row by row.
#[derive(Debug)]
pub struct Auditor {
    ledger: Ledger,
    scopes: Tally,
    pots: BTreeMap<(AccountId, Pot), i128>,
    used: BTreeMap<Counted, u128>,
    sequence: i64,
    report: AuditReport,
}

impl Default for Auditor {
    fn default() -> Self {
        Self {
            ledger: Ledger::new(),
            scopes: Tally::default(),
            pots: BTreeMap::new(),
            used: BTreeMap::new(),
            sequence: 0,
            report: AuditReport {
                events: 0,
                hash: GENESIS.to_owned(),
                transfers: 0,
                pots: BTreeMap::new(),
                findings: Vec::new(),
                more: 0,
            },
        }
    }
}

impl Auditor {
    /// Before the first row.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next row.
    pub fn entry(&mut self, entry: &Entry<'_>) {
        let expected = self.sequence + 1;
        if entry.sequence != expected {
            self.find(&format!(
                "row {expected} is missing; the next one is {}",
                entry.sequence
            ));
        }
        if entry.previous_hash != self.report.hash {
            self.find(&format!("row {} does not follow the row before it", entry.sequence));
        }
        if entry.hash != chain_hash(entry.previous_hash, entry.sequence, entry.body) {
            self.find(&format!("row {} was changed: its hash is another", entry.sequence));
        }
        self.sequence = entry.sequence;
        entry.hash.clone_into(&mut self.report.hash);
        match serde_json::from_str::<Event>(entry.body) {
            Ok(event) => self.event(&event),
            Err(error) => self.find(&format!("row {} cannot be understood: {error}", entry.sequence)),
        }
    }

    fn event(&mut self, event: &Event) {
        self.report.events += 1;
        self.ledger.apply(event);
        let mut wrong = self.ledger.wrong_after(event);
        wrong.extend(self.scopes.event(event));
        for delta in event.line_deltas() {
            let counted = Counted {
                environment: delta.environment,
                app: delta.app,
                process: delta.process,
                sku: delta.sku,
            };
            *self.used.entry(counted).or_default() += delta.units;
        }
        for transfer in event.transfers() {
            let amount = i128::from(transfer.amount.0);
            *self.pots.entry((transfer.account, transfer.debit)).or_default() -= amount;
            *self.pots.entry((transfer.account, transfer.credit)).or_default() += amount;
            self.report.transfers += 1;
            if amount <= 0 {
                wrong.push("a movement of nothing, or backwards".to_owned());
            }
        }
        if let Some(account) = event.payer() {
            for (pot, said) in self.ledger.pots(account) {
                let is = self.pots.get(&(account, pot.clone())).copied().unwrap_or(0);
                if is != said {
                    wrong.push(format!(
                        "{pot} of {account} is {is} nano by double entry, {said} by the books"
                    ));
                }
            }
            if self.ledger.is_overdrawn(account) {
                wrong.push(format!("{account} has less than nothing"));
            }
        }
        let row = self.sequence;
        wrong.iter().for_each(|wrong| self.find(&format!("row {row}: {wrong}")));
    }

    /// What the rows so far have led to.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What was used by the rows so far, in raw units, since the beginning.
    pub fn used(&self) -> &BTreeMap<Counted, u128> {
        &self.used
    }

    /// Compares what was journaled with what was counted elsewhere, in raw units since the
    /// beginning. Only kinds of use that are listed are compared.
    pub fn compare(&mut self, counted: &BTreeMap<Counted, u128>) {
        for (line, units) in counted {
            let used = self.used.get(line).copied().unwrap_or(0);
            if used != *units {
                self.find(&format!(
                    "{} of {}: {used} units are in the journal, {units} were counted",
                    line.sku, line.environment
                ));
            }
        }
    }

    /// After the last row.
    pub fn finish(mut self) -> AuditReport {
        for wrong in self.ledger.wrong_lines() {
            self.find(&wrong);
        }
        for wrong in self.scopes.compare(&self.ledger) {
            self.find(&wrong);
        }
        for ((_, pot), balance) in std::mem::take(&mut self.pots) {
            *self.report.pots.entry(pot).or_default() += balance;
        }
        let sum: i128 = self.report.pots.values().sum();
        if sum != 0 {
            self.find(&format!("the double entry adds up to {sum} nano, not to zero"));
        }
        self.report
    }

    fn find(&mut self, finding: &str) {
        if self.report.findings.len() < LISTED {
            self.report.findings.push(finding.to_owned());
        } else {
            self.report.more += 1;
        }
    }
}

/// The second bookkeeping.
#[derive(Debug, Default)]
struct Tally {
    scopes: BTreeMap<Scope, TalliedScope>,
    leases: BTreeMap<LeaseNumber, Tallied>,
}

#[derive(Debug)]
struct TalliedScope {
    parent: Option<Scope>,
    limit: i128,
    reserved: i128,
    windows: Vec<TalliedWindow>,
}

/// One period of one scope.
#[derive(Debug, Default, Clone)]
struct TalliedWindow {
    settled: i128,
    held: i128,
    /// The limit in force; above the cap only while a lowered cap waits for money to come back.
    allowed: i128,
}

/// A lease: where it counts.
#[derive(Debug)]
struct Tallied {
    path: Vec<(Scope, usize)>,
}

impl Tally {
    fn event(&mut self, event: &Event) -> Vec<String> {
        match &event.change {
            Change::Opened { scope, parent, cap, .. } => {
                let limit = cap.map_or(i128::MAX, |cap| i128::from(cap.limit.0));
                let window = TalliedWindow {
                    allowed: limit,
                    ..TalliedWindow::default()
                };
                let opened = TalliedScope {
                    parent: *parent,
                    limit,
                    reserved: 0,
                    windows: vec![window],
                };
                if self.scopes.insert(*scope, opened).is_some() {
                    return vec![format!("{scope:?} was opened twice")];
                }
            }
            Change::CapSet { scope, cap, .. } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    book.limit = cap.map_or(i128::MAX, |cap| i128::from(cap.limit.0));
                    let (limit, reserved) = (book.limit, book.reserved);
                    if let Some(window) = book.windows.last_mut() {
                        window.allowed = limit.max(window.settled + window.held + reserved);
                    }
                }
            }
            Change::Rolled { scope, .. } => {
                if let Some(book) = self.scopes.get_mut(scope) {
                    let allowed = book.limit.max(book.reserved);
                    book.windows.push(TalliedWindow {
                        allowed,
                        ..TalliedWindow::default()
                    });
                }
            }
            Change::Reserved {
                environment,
                added,
                freed,
                ..
            } => {
                let path = self.path(Scope::Environment(*environment));
                let more = i128::from(added.total().0) - i128::from(freed.total().0);
                for (scope, _) in &path {
                    if let Some(book) = self.scopes.get_mut(scope) {
                        book.reserved += more;
                    }
                }
                return self.moved(&path, 0, 0);
            }
            _ => return self.lease_event(event),
        }
        Vec::new()
    }

    fn lease_event(&mut self, event: &Event) -> Vec<String> {
        let (lease, settled, held) = match &event.change {
            Change::Granted {
                lease,
                funds,
                opens,
                from_tail,
                ..
            } => {
                if let Some(opening) = opens {
                    let path = self.path(Scope::Environment(opening.key.environment));
                    if self.leases.insert(*lease, Tallied { path }).is_some() {
                        return vec![format!("lease {lease} was opened twice")];
                    }
                }
                let path = self.leases.get(lease).map(|tallied| tallied.path.as_slice());
                for (scope, _) in path.unwrap_or_default().iter().filter(|_| *from_tail) {
                    if let Some(book) = self.scopes.get_mut(scope) {
                        book.reserved -= i128::from(funds.total().0);
                    }
                }
                (lease, 0, i128::from(funds.total().0))
            }
            Change::Returned { lease, funds, .. } => (lease, 0, -i128::from(funds.total().0)),
            Change::Settled { lease, lines, .. } => {
                let paid: i128 = lines.iter().map(|line| i128::from(line.paid.total().0)).sum();
                (lease, paid, -paid)
            }
            Change::Closed { lease, lost, freed, .. } => (lease, i128::from(lost.0), -i128::from(freed.total().0)),
            _ => return Vec::new(),
        };
        let Some(path) = self.leases.get(lease).map(|tallied| tallied.path.clone()) else {
            return vec![format!("lease {lease} is not open")];
        };
        let wrong = self.moved(&path, settled, held);
        if matches!(event.change, Change::Closed { .. }) {
            self.leases.remove(lease);
        }
        wrong
    }

    /// The scopes from here to the account, with the period that runs.
    fn path(&self, from: Scope) -> Vec<(Scope, usize)> {
        let mut path = Vec::new();
        let mut at = Some(from);
        while let Some((scope, book)) = at.and_then(|scope| Some((scope, self.scopes.get(&scope)?))) {
            path.push((scope, book.windows.len() - 1));
            at = book.parent;
        }
        path
    }

    /// Adds to what is settled and held, and checks the one thing that must always hold.
    fn moved(&mut self, path: &[(Scope, usize)], settled: i128, held: i128) -> Vec<String> {
        let mut wrong = Vec::new();
        for (scope, place) in path {
            let Some(book) = self.scopes.get_mut(scope) else {
                continue;
            };
            let reserved = if *place + 1 == book.windows.len() {
                book.reserved
            } else {
                0
            };
            let limit = book.limit;
            let Some(window) = book.windows.get_mut(*place) else {
                continue;
            };
            window.settled += settled;
            window.held += held;
            let committed = window.settled + window.held + reserved;
            if committed > window.allowed {
                wrong.push(format!(
                    "{scope:?} has settled and holds {committed} nano, {} more than its limit",
                    committed - window.allowed
                ));
            }
            if window.held < 0 {
                wrong.push(format!("{scope:?} holds less than nothing"));
            }
            window.allowed = limit.max(window.allowed.min(committed));
        }
        wrong
    }

    /// Whether the ledger says the same.
    fn compare(&self, ledger: &Ledger) -> Vec<String> {
        let mut wrong = Vec::new();
        for (scope, book) in &self.scopes {
            let (Some((settled, held)), Some(window)) = (ledger.journaled(*scope), book.windows.last()) else {
                continue;
            };
            let said = (i128::from(settled.0), i128::from(held.0));
            if said != (window.settled, window.held + book.reserved) {
                wrong.push(format!("{scope:?}: the ledger's sums are not those of the journal"));
            }
        }
        wrong
    }
}
