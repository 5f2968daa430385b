//! The audit: everything once more from the beginning, compared with all that is kept of it.

use std::collections::{BTreeMap, VecDeque};

use weir_ledger::audit::{Auditor, Entry};
use weir_ledger::book::{Change, Event, LeaseNumber};
use weir_ledger::protocol::{Exchange, Incarnation, LeaseKey, LineKey, MeterName};
use weir_ledger::{Nano, PriceBook};
use weir_model::UnixMillis;
use weir_store::{Checkpoint, JournalRow, StoreError};

use super::access::{self, AccessAudit, Payments, Served};
use super::hours::{self, Calendar, Key};
use super::service::{PAGE, state_of};
use super::{AuditReport, Money, MoneyError};

/// Most findings that are told.
const FINDINGS: usize = 100;
/// Leases whose counters are remembered.
const COUNTERS: usize = 10_000;

/// A lease, as its meter names it.
type Name = (MeterName, Incarnation, LeaseKey);

/// Units that were used of each lease, by line.
type Told = BTreeMap<Name, BTreeMap<LineKey, u64>>;

/// What meters have said themselves since control started, noted before the ledger sees it.
#[derive(Debug, Default)]
pub(super) struct Counters {
    leases: Told,
    oldest: VecDeque<Name>,
    /// How often each meter has spoken.
    questions: BTreeMap<MeterName, u64>,
}

impl Counters {
    /// Notes what a meter says; totals, so that the most that was ever said is right.
    pub(super) fn note(&mut self, exchange: &Exchange) {
        *self.questions.entry(exchange.meter.clone()).or_default() += 1;
        for report in &exchange.leases {
            let name = (exchange.meter.clone(), exchange.incarnation, report.lease);
            if !self.leases.contains_key(&name) {
                self.oldest.push_back(name.clone());
            }
            let lines = self.leases.entry(name).or_default();
            for (line, units) in &report.usage {
                let known = lines.entry(line.clone()).or_default();
                *known = (*known).max(*units);
            }
        }
        while self.leases.len() > COUNTERS
            && let Some(name) = self.oldest.pop_front()
        {
            self.leases.remove(&name);
        }
    }

    /// How often a meter has spoken.
    pub(super) fn questions(&self, meter: &MeterName) -> u64 {
        self.questions.get(meter).copied().unwrap_or(0)
    }

    fn copy(&self) -> Told {
        self.leases.clone()
    }
}

/// A lease in the journal.
#[derive(Debug)]
struct Lease {
    name: Name,
    usage: BTreeMap<LineKey, u64>,
    lost: Nano,
    closed: bool,
}

/// The replay. What the ledger's own auditor knows is not repeated: the chain of hashes, every
/// sum after every row, the double entry, the caps.
struct Replay {
    auditor: Auditor,
    calendar: Calendar,
    /// The newest row that was read.
    sequence: i64,
    leases: BTreeMap<LeaseNumber, Lease>,
    /// Units and amounts of the journal less those of the hourly rows: all has to become zero.
    hours: BTreeMap<Key, (i128, i128)>,
    /// Hours before this one were pruned.
    kept_from_ms: UnixMillis,
    checkpoints: Vec<Checkpoint>,
    compared: Compared,
    access: AccessAudit,
    findings: Vec<String>,
}

/// How much was compared.
#[derive(Debug, Default)]
struct Compared {
    checkpoints: u64,
    hours: u64,
    leases: u64,
}

impl Money {
    /// Replays the journal from its beginning and compares what comes of it with the ledger that
    /// works now, with every checkpoint and hourly row, with what meters have counted, and with
    /// what nodes have served. Reads all of the journal, while everything goes on, and waits some
    /// seconds for nodes to say how they stand. Fails if it cannot be read.
    pub async fn audit(&self) -> Result<AuditReport, MoneyError> {
        let mut served = self.served_before().await?;
        let now = self.state().await?;
        let store = &self.shared.store;
        let mut replay = Replay::new(hours::kept_from(self.shared.clock.now_ms()));
        let rows = &mut replay;
        let until = store
            .usage_hours_each(None, rows.kept_from_ms, UnixMillis::MAX, |hour| {
                let units = i128::try_from(hour.units).unwrap_or(i128::MAX);
                rows.hours
                    .insert(hours::key(&hour), (-units, -i128::from(hour.amount.0)));
                rows.compared.hours += 1;
            })
            .await?;
        // After the hours: whatever was settled in them was said before.
        let counters = super::lock(&self.shared.counters).copy();
        self.served_after(&mut served).await?;
        replay.checkpoints = self.checkpoints().await?;
        replay.checkpoints.push(now);
        self.replay(&mut replay, until).await?;
        replay.compare(&counters);
        replay.compare_access(&served, &counters, &self.books(), self.shared.clock.now_ms());
        Ok(replay.report())
    }

    async fn checkpoints(&self) -> Result<Vec<Checkpoint>, StoreError> {
        let (mut found, mut before) = (Vec::new(), i64::MAX);
        while let Some(checkpoint) = self.shared.store.ledger_checkpoint_before(before).await? {
            before = checkpoint.sequence - 1;
            found.push(checkpoint);
        }
        Ok(found)
    }

    async fn replay(&self, replay: &mut Replay, until: i64) -> Result<(), StoreError> {
        loop {
            let rows = self.shared.store.ledger_journal(replay.sequence, PAGE).await?;
            for row in rows.iter().take_while(|row| row.sequence <= until) {
                replay.row(row);
            }
            if rows.last().is_none_or(|last| last.sequence >= until) {
                return Ok(());
            }
        }
    }
}

impl Replay {
    fn new(kept_from_ms: UnixMillis) -> Self {
        Self {
            auditor: Auditor::new(),
            calendar: Calendar::default(),
            sequence: 0,
            leases: BTreeMap::new(),
            hours: BTreeMap::new(),
            kept_from_ms,
            checkpoints: Vec::new(),
            compared: Compared::default(),
            access: AccessAudit::default(),
            findings: Vec::new(),
        }
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS {
            self.findings.push(finding);
        }
    }

    /// What follows a damaged row is compared with what is there.
    fn row(&mut self, row: &JournalRow) {
        self.auditor.entry(&Entry {
            sequence: row.sequence,
            previous_hash: &row.previous_hash,
            body: &row.body,
            hash: &row.hash,
        });
        self.sequence = row.sequence;
        if let Ok(event) = serde_json::from_str::<Event>(&row.body) {
            if event.at_ms != row.at_ms {
                self.find(format!("row {} was changed: its instant", row.sequence));
            }
            self.event(&event);
        }
        self.compare_checkpoint(row);
    }

    fn event(&mut self, event: &Event) {
        for hour in self.calendar.take_in(event) {
            if hour.hour_ms < self.kept_from_ms {
                continue;
            }
            let (units, amount) = self.hours.entry(hours::key(&hour)).or_default();
            *units = units.saturating_add(i128::try_from(hour.units).unwrap_or(i128::MAX));
            *amount = amount.saturating_add(i128::from(hour.amount.0));
        }
        match &event.change {
            Change::Granted {
                lease,
                opens: Some(opening),
                ..
            } => {
                let opened = Lease {
                    name: (opening.meter.clone(), opening.incarnation, opening.key),
                    usage: BTreeMap::new(),
                    lost: Nano::ZERO,
                    closed: false,
                };
                self.leases.insert(*lease, opened);
            }
            Change::Settled { lease, lines, .. } => {
                if let Some(known) = self.leases.get_mut(lease) {
                    for settled in lines {
                        *known.usage.entry(settled.line.clone()).or_default() += settled.units;
                    }
                }
                if lines.iter().any(|settled| settled.loss > Nano::ZERO) {
                    let row = self.sequence;
                    self.find(format!(
                        "row {row}: a meter reported more than its lease held; the provider bears it"
                    ));
                }
            }
            Change::Closed { lease, lost, .. } => {
                if let Some(lease) = self.leases.get_mut(lease) {
                    lease.lost = *lost;
                    lease.closed = true;
                }
            }
            _ => {}
        }
    }

    fn report(self) -> AuditReport {
        let mut found = self.auditor.finish();
        found.findings.extend(self.findings);
        found.findings.extend(self.access.findings);
        found.findings.truncate(FINDINGS);
        AuditReport {
            events: found.events,
            hash: found.hash,
            checkpoints: self.compared.checkpoints,
            hours: self.compared.hours,
            leases: self.compared.leases,
            accesses: self.access.compared,
            unserved_requests: self.access.unserved_requests,
            findings: found.findings,
        }
    }

    fn compare_checkpoint(&mut self, row: &JournalRow) {
        let kept = std::mem::take(&mut self.checkpoints);
        let (here, others): (Vec<_>, Vec<_>) = kept.into_iter().partition(|kept| kept.sequence == row.sequence);
        self.checkpoints = others;
        for checkpoint in here {
            self.compared.checkpoints += 1;
            let state = state_of(self.auditor.ledger(), &self.calendar);
            if row.hash != checkpoint.hash || state.is_ok_and(|state| state != checkpoint.state) {
                self.find(format!(
                    "the state kept after row {} is not what the journal leads to",
                    row.sequence
                ));
            }
        }
    }

    fn compare(&mut self, counters: &Told) {
        let behind: Vec<i64> = self
            .checkpoints
            .iter()
            .map(|kept| kept.sequence)
            .filter(|at| *at > 0)
            .collect();
        for sequence in behind {
            self.find(format!("the journal has no row {sequence}, though its state is kept"));
        }
        let hours = std::mem::take(&mut self.hours);
        for ((environment, hour_ms, line, ..), (units, amount)) in hours {
            if (units, amount) != (0, 0) {
                let sku = line.sku;
                self.find(format!(
                    "the hour {hour_ms} of {environment} has {units} units of {sku} and {amount} nano-units of money less than the journal"
                ));
            }
        }
        let leases = std::mem::take(&mut self.leases);
        for lease in leases.values() {
            let Some(counted) = counters.get(&lease.name) else {
                continue;
            };
            self.compared.leases += 1;
            let told = |line: &LineKey| counted.get(line).copied().unwrap_or(0);
            let too_much = lease.usage.iter().any(|(line, units)| *units > told(line));
            let usage = |line: &LineKey| lease.usage.get(line).copied().unwrap_or(0);
            let too_little = lease.closed && counted.iter().any(|(line, units)| *units != usage(line));
            if too_much || too_little {
                let (meter, incarnation, key) = &lease.name;
                self.find(format!(
                    "the usage of lease {} of {} at {meter} ({incarnation}) is not what the meter counted",
                    key.number, key.environment
                ));
            }
        }
        self.leases = leases;
    }

    /// Each lease has paid what the journal or its meter says, whichever is more: usage is journaled
    /// once a minute only.
    fn compare_access(&mut self, served: &Served, counters: &Told, books: &[PriceBook], now_ms: UnixMillis) {
        let mut usage = counters.clone();
        let mut payments = Payments::new();
        let key = |(meter, incarnation, lease): &Name| (meter.clone(), *incarnation, lease.environment);
        for lease in self.leases.values() {
            payments.entry(key(&lease.name)).or_default().lost += lease.lost;
            let lines = usage.entry(lease.name.clone()).or_default();
            for (line, units) in &lease.usage {
                let known = lines.entry(line.clone()).or_default();
                *known = (*known).max(*units);
            }
        }
        for (name, lines) in &usage {
            let paid = payments.entry(key(name)).or_default();
            lines.iter().for_each(|(line, units)| paid.add(line, *units));
        }
        self.access = access::compare(served, &payments, books, now_ms);
    }
}
