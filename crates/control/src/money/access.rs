//! What nodes have served, counted by their ingress apart from what they paid, and compared with
//! the journal: what was served and not paid for is a fault of Weir, whatever happened.
//!
//! A node tells its sums since it started, every second; they are kept in the store every ten
//! seconds and when it ends. What a node that is killed has counted since its last report is lost,
//! while all that it paid is in its log. So after a kill more may be paid than is known to be
//! served; and what it served before may be in the ledger as lost money instead of units. Nothing
//! of that lets anything be served that was not paid.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use weir_ledger::protocol::{Incarnation, LineKey, MeterName};
use weir_ledger::{Nano, PriceBook, Sku};
use weir_model::route::{AccessCounts, NodeReport};
use weir_model::{EnvironmentId, UnixMillis};
use weir_store::{NodeRun, StoreError};

use super::{Money, lock};

/// Between two writes of what a run has counted, in milliseconds.
const WRITE_MS: i64 = 10_000;
/// A node that was not heard of for so long is away, in milliseconds.
const LIVING_MS: i64 = 3_000;
/// Longest wait for nodes to say how they stand, in looks and the pause between them.
const LOOKS: u32 = 160;
const LOOK: Duration = Duration::from_millis(25);
/// Of an answer that goes on, so many bytes may be counted here and not there yet, or there and
/// not here.
const OPEN_BYTES: u64 = 64 * 1024;

/// Runs that were heard of since control started.
#[derive(Debug, Default)]
pub(super) struct Runs {
    runs: BTreeMap<u64, Heard>,
}

#[derive(Debug)]
struct Heard {
    run: NodeRun,
    reports: u64,
    written_ms: Option<UnixMillis>,
}

/// What an environment has paid in one incarnation of a meter, by the ledger.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Paid {
    pub(super) requests: u64,
    pub(super) egress_bytes: u64,
    /// Drawn and not accounted for, because the meter was killed.
    pub(super) lost: Nano,
}

/// By whom, when, for whom.
pub(super) type Payments = BTreeMap<(MeterName, Incarnation, EnvironmentId), Paid>;

/// What nodes have counted, before and after the ledger was looked at: what was paid lies between.
#[derive(Debug, Default)]
pub(super) struct Served {
    before: Vec<NodeRun>,
    after: Vec<NodeRun>,
    /// Did not say in time how they stand; not compared.
    silent: BTreeSet<u64>,
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AccessAudit {
    /// Environments that were compared, each once for every series of runs.
    pub(super) compared: u64,
    /// Requests that were paid for and not served, or not known to be.
    pub(super) unserved_requests: u64,
    pub(super) findings: Vec<String>,
}

impl Paid {
    /// Adds units of a line, if the ingress pays by it. What is spent past the proxy (lookups of
    /// names, traffic of the instances' own) is paid by the environment as a whole.
    pub(super) fn add(&mut self, line: &LineKey, units: u64) {
        if line.process.is_none() {
            return;
        }
        let sum = match &line.sku {
            sku if *sku == Sku::REQUESTS => &mut self.requests,
            sku if *sku == Sku::EGRESS => &mut self.egress_bytes,
            _ => return,
        };
        *sum = sum.saturating_add(units);
    }
}

impl Runs {
    /// Takes in a report; gives what is to be written now.
    fn note(&mut self, report: &NodeReport, now_ms: UnixMillis) -> Option<NodeRun> {
        let mark = report.meter.as_ref()?;
        let heard = self.runs.entry(report.incarnation).or_insert_with(|| Heard {
            run: NodeRun {
                run: report.incarnation,
                meter: mark.meter.clone(),
                first_incarnation: mark.first,
                last_incarnation: mark.incarnation,
                began_ms: now_ms,
                seen_ms: now_ms,
                ended: false,
                counts: BTreeMap::new(),
            },
            reports: 0,
            written_ms: None,
        });
        heard.reports += 1;
        heard.run.seen_ms = now_ms;
        heard.run.ended |= report.leaving;
        heard.run.first_incarnation = heard.run.first_incarnation.min(mark.first);
        heard.run.last_incarnation = heard.run.last_incarnation.max(mark.incarnation);
        for (environment, counts) in &report.access {
            let known = heard.run.counts.entry(*environment).or_default();
            *known = AccessCounts {
                requests: known.requests.max(counts.requests),
                open: counts.open,
                turned_away: known.turned_away.max(counts.turned_away),
                egress_bytes: known.egress_bytes.max(counts.egress_bytes),
            };
        }
        let due = heard.written_ms.is_none_or(|at_ms| now_ms >= at_ms + WRITE_MS);
        (due || report.leaving).then(|| {
            heard.written_ms = Some(now_ms);
            heard.run.clone()
        })
    }

    /// Those that serve now, with how often they have reported.
    fn living(&self, now_ms: UnixMillis) -> BTreeMap<u64, (MeterName, u64)> {
        let living = |heard: &&Heard| !heard.run.ended && now_ms - heard.run.seen_ms < LIVING_MS;
        let runs = self.runs.values().filter(living);
        runs.map(|heard| (heard.run.run, (heard.run.meter.clone(), heard.reports)))
            .collect()
    }

    /// Whether it has reported so often, or will not any more.
    fn has_said(&self, run: u64, reports: u64) -> bool {
        let heard = self.runs.get(&run);
        heard.is_none_or(|heard| heard.run.ended || heard.reports >= reports)
    }
}

impl Money {
    /// Takes in what a node says that it has served; gives what is to be kept of it now.
    pub fn note_access(&self, report: &NodeReport) -> Option<NodeRun> {
        lock(&self.shared.runs).note(report, self.shared.clock.now_ms())
    }

    /// Keeps what a node has served.
    pub async fn keep_access(&self, run: NodeRun) {
        if let Err(error) = self.shared.store.node_run_put(&run).await {
            tracing::warn!(%error, "what a node has served cannot be kept; the audit may not know it after a restart");
        }
    }

    /// What nodes have counted so far. Returns once each that lives has told the ledger all that
    /// is in it; what is in the ledger from then on is looked at by the caller.
    pub(super) async fn served_before(&self) -> Result<Served, StoreError> {
        let before = self.runs().await?;
        let living = lock(&self.shared.runs).living(self.shared.clock.now_ms());
        // The question that is on its way now may be older than the counts; the next one is not.
        let mut waiting: BTreeMap<u64, (MeterName, u64)> = living
            .into_iter()
            .map(|(run, (meter, _))| {
                let questions = lock(&self.shared.counters).questions(&meter) + 2;
                (run, (meter, questions))
            })
            .collect();
        for _ in 0..LOOKS {
            waiting.retain(|run, (meter, questions)| {
                let asked = lock(&self.shared.counters).questions(meter);
                asked < *questions && !lock(&self.shared.runs).has_said(*run, u64::MAX)
            });
            if waiting.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        Ok(Served {
            before,
            after: Vec::new(),
            silent: waiting.into_keys().collect(),
        })
    }

    /// What nodes have counted after the ledger was looked at.
    pub(super) async fn served_after(&self, served: &mut Served) -> Result<(), StoreError> {
        let mut waiting: BTreeMap<u64, u64> = lock(&self.shared.runs)
            .living(self.shared.clock.now_ms())
            .into_iter()
            .map(|(run, (_, reports))| (run, reports + 2))
            .collect();
        for _ in 0..LOOKS {
            waiting.retain(|run, reports| !lock(&self.shared.runs).has_said(*run, *reports));
            if waiting.is_empty() {
                break;
            }
            tokio::time::sleep(LOOK).await;
        }
        served.silent.extend(waiting.into_keys());
        served.after = self.runs().await?;
        Ok(())
    }

    /// All runs, those of before this start of control from the store.
    async fn runs(&self) -> Result<Vec<NodeRun>, StoreError> {
        let kept = self.shared.store.node_run_list().await?;
        let mut runs: BTreeMap<u64, NodeRun> = kept.into_iter().map(|run| (run.run, run)).collect();
        for (run, heard) in &lock(&self.shared.runs).runs {
            let mut now = heard.run.clone();
            if let Some(kept) = runs.remove(run) {
                now.began_ms = kept.began_ms;
                now.first_incarnation = now.first_incarnation.min(kept.first_incarnation);
            }
            runs.insert(*run, now);
        }
        let mut runs: Vec<NodeRun> = runs.into_values().collect();
        runs.sort_by_key(|run| (run.began_ms, run.run));
        Ok(runs)
    }
}

/// Runs that have drawn on the same leases: only together can they be compared.
#[derive(Debug)]
struct Series<'a> {
    meter: &'a str,
    runs: Vec<&'a NodeRun>,
    first: Incarnation,
    last: Incarnation,
}

impl<'a> Series<'a> {
    fn all(runs: &'a [NodeRun]) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for run in runs {
            let before = all.iter_mut().rfind(|series| series.meter == run.meter);
            match before.filter(|series| run.first_incarnation <= series.last) {
                Some(series) => {
                    series.runs.push(run);
                    series.first = series.first.min(run.first_incarnation);
                    series.last = series.last.max(run.last_incarnation);
                }
                None => all.push(Self {
                    meter: &run.meter,
                    runs: vec![run],
                    first: run.first_incarnation,
                    last: run.last_incarnation,
                }),
            }
        }
        all
    }

    /// Whether one of its processes was killed, or was given another's place: only then has it
    /// drawn on several incarnations' leases, or ended without a word.
    fn is_torn(&self, living: &BTreeSet<u64>) -> bool {
        let torn = |run: &&NodeRun| !run.ended && !living.contains(&run.run);
        self.first < self.last || self.runs.iter().any(torn)
    }

    fn served(&self, environment: EnvironmentId) -> AccessCounts {
        let of = |run: &&NodeRun| run.counts.get(&environment).copied();
        let sum = |sum: AccessCounts, counts: AccessCounts| AccessCounts {
            requests: sum.requests.saturating_add(counts.requests),
            open: sum.open.saturating_add(counts.open),
            turned_away: sum.turned_away.saturating_add(counts.turned_away),
            egress_bytes: sum.egress_bytes.saturating_add(counts.egress_bytes),
        };
        self.runs.iter().filter_map(of).fold(AccessCounts::default(), sum)
    }

    fn paid(&self, payments: &Payments) -> BTreeMap<EnvironmentId, Paid> {
        let mut paid: BTreeMap<EnvironmentId, Paid> = BTreeMap::new();
        for ((meter, incarnation, environment), more) in payments {
            if meter == self.meter && (self.first..=self.last).contains(incarnation) {
                let sum = paid.entry(*environment).or_default();
                sum.requests = sum.requests.saturating_add(more.requests);
                sum.egress_bytes = sum.egress_bytes.saturating_add(more.egress_bytes);
                sum.lost += more.lost;
            }
        }
        paid
    }
}

/// Most units that an amount pays for, by any prices that there were.
fn units_for(amount: Nano, sku: &Sku, books: &[PriceBook]) -> u64 {
    if amount == Nano::ZERO {
        return 0;
    }
    let units = books.iter().map(|book| {
        let price = book.price(sku);
        let pico = i128::from(amount.0) * 1_000 * i128::from(price.per);
        u64::try_from(pico / i128::from(price.pico).max(1)).unwrap_or(u64::MAX)
    });
    units.max().unwrap_or(0)
}

/// Compares what was served with what was paid.
pub(super) fn compare(served: &Served, payments: &Payments, books: &[PriceBook], now_ms: UnixMillis) -> AccessAudit {
    let mut audit = AccessAudit::default();
    let living = |run: &&NodeRun| !run.ended && now_ms - run.seen_ms < LIVING_MS;
    let living: BTreeSet<u64> = served.after.iter().filter(living).map(|run| run.run).collect();
    let earlier: BTreeMap<u64, &NodeRun> = served.before.iter().map(|run| (run.run, run)).collect();
    for series in Series::all(&served.after) {
        // One that began meanwhile, or does not answer, is for the next audit.
        let unknown = |run: &&NodeRun| !earlier.contains_key(&run.run) || served.silent.contains(&run.run);
        if series.runs.iter().any(unknown) {
            continue;
        }
        let before = Series {
            runs: series
                .runs
                .iter()
                .filter_map(|run| earlier.get(&run.run).copied())
                .collect(),
            ..series
        };
        let paid = series.paid(payments);
        let counted = series.runs.iter().flat_map(|run| run.counts.keys().copied());
        let environments: BTreeSet<EnvironmentId> = paid.keys().copied().chain(counted).collect();
        for environment in environments {
            let account = Comparison {
                meter: series.meter,
                environment,
                before: before.served(environment),
                after: series.served(environment),
                paid: paid.get(&environment).copied().unwrap_or_default(),
                torn: series.is_torn(&living),
            };
            account.compare(books, &mut audit);
        }
    }
    audit
}

/// One environment in one series of runs.
struct Comparison<'a> {
    meter: &'a str,
    environment: EnvironmentId,
    before: AccessCounts,
    after: AccessCounts,
    paid: Paid,
    torn: bool,
}

impl Comparison<'_> {
    fn compare(&self, books: &[PriceBook], audit: &mut AccessAudit) {
        let Self {
            before, after, paid, ..
        } = self;
        audit.compared += 1;
        let lost = |sku| units_for(paid.lost, sku, books);
        let unpaid = before.requests.saturating_sub(paid.requests);
        if unpaid > lost(&Sku::REQUESTS) {
            let (served, paid) = (before.requests, paid.requests);
            audit.findings.push(self.tell(&format!(
                "{unpaid} requests were served and not paid for: {served} went to instances, {paid} are in the ledger"
            )));
        }
        let open_bytes = |counts: &AccessCounts| counts.open.saturating_mul(OPEN_BYTES);
        let unpaid = before.egress_bytes.saturating_sub(paid.egress_bytes);
        if unpaid > lost(&Sku::EGRESS).saturating_add(open_bytes(before)) {
            let (served, paid) = (before.egress_bytes, paid.egress_bytes);
            audit.findings.push(self.tell(&format!(
                "{unpaid} bytes of answers were sent and not paid for: {served} went to clients, {paid} are in the ledger"
            )));
        }
        let unserved = paid.requests.saturating_sub(after.requests);
        audit.unserved_requests = audit.unserved_requests.saturating_add(unserved);
        if self.torn {
            return;
        }
        let unknown = unserved.saturating_sub(after.turned_away);
        if unknown > 0 {
            audit.findings.push(self.tell(&format!(
                "{unknown} requests were paid for and not served, though no node was killed"
            )));
        }
        let unsent = paid.egress_bytes.saturating_sub(after.egress_bytes);
        if unsent > open_bytes(after) {
            audit.findings.push(self.tell(&format!(
                "{unsent} bytes of answers were paid for and not sent, though no node was killed"
            )));
        }
    }

    fn tell(&self, what: &str) -> String {
        format!("{} at {}: {what}", self.environment, self.meter)
    }
}
