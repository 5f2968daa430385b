//! Money for a node under test: the real wallets and their purse, and a ledger of a few lines
//! that grants until a limit and can be made to fall silent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use weir_ledger::protocol::{Answer, Denial, DenialReason, Exchange, LeaseAnswer, LeaseKey, LeaseReport, Standing};
use weir_ledger::wallet::purse::Purse;
use weir_ledger::wallet::{Draw, Dry, Urgency, Wallets};
use weir_ledger::{Nano, Pico, Price, PriceBook, Sku};
use weir_model::EnvironmentId;

/// Nano-units that a request costs here.
pub(crate) const REQUEST_NANO: i64 = 1_000;
/// What opening the lines of requests and of bytes costs; see `Lease::line`.
pub(crate) const LINES_NANO: i64 = 2;
const FOREVER_MS: i64 = i64::MAX / 2;

/// The whole money of one environment.
pub(crate) struct Fund {
    pub(crate) wallets: Wallets,
    ledger: Arc<Mutex<Ledger>>,
    task: JoinHandle<()>,
}

struct Ledger {
    limit: i64,
    reason: DenialReason,
    hears: bool,
    granted: BTreeMap<LeaseKey, i64>,
    returned: BTreeMap<LeaseKey, i64>,
}

pub(crate) fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

impl Fund {
    /// So many nano-units; beyond them the project's cap is reached. A byte costs one of them.
    pub(crate) fn of(limit_nano: i64) -> Self {
        let ledger = Arc::new(Mutex::new(Ledger {
            limit: limit_nano,
            reason: DenialReason::ProjectCap,
            hears: true,
            granted: BTreeMap::new(),
            returned: BTreeMap::new(),
        }));
        let wallets = Wallets::new(2);
        let task = tokio::spawn(refill(wallets.clone(), Arc::clone(&ledger)));
        Self { wallets, ledger, task }
    }

    pub(crate) fn refuse_with(&self, reason: DenialReason) {
        self.ledger.lock().unwrap().reason = reason;
    }

    /// The ledger falls silent, or answers again.
    pub(crate) fn hear(&self, hears: bool) {
        self.ledger.lock().unwrap().hears = hears;
    }

    /// The owner raises the cap.
    pub(crate) fn raise(&self, limit_nano: i64) {
        self.ledger.lock().unwrap().limit = limit_nano;
    }

    /// Units used of it by all.
    pub(crate) fn used(&self, sku: &Sku) -> u64 {
        let gauge = self.wallets.gauge(environment());
        let usage = gauge.map(|gauge| gauge.usage).unwrap_or_default();
        usage
            .iter()
            .filter(|(line, _)| line.sku == *sku)
            .map(|(_, units)| units)
            .sum()
    }

    /// Spent on finished work.
    pub(crate) fn spent(&self) -> Pico {
        self.wallets
            .gauge(environment())
            .map_or(Pico::ZERO, |gauge| gauge.spent)
    }

    /// Draws so many bytes, as somebody else would.
    pub(crate) fn draw_bytes(&self, bytes: u64) -> Result<Draw, Dry> {
        let till = self.wallets.till(environment(), None, None);
        till.draw(1, Urgency::Request, &Sku::EGRESS, bytes)
    }
}

impl Drop for Fund {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn prices() -> PriceBook {
    let price = |nano: i64| Price {
        pico: nano * 1_000,
        per: 1,
    };
    PriceBook {
        version: 1,
        currency: "EUR".to_owned(),
        valid_from_ms: 0,
        prices: BTreeMap::from([(Sku::REQUESTS, price(REQUEST_NANO)), (Sku::EGRESS, price(1))]),
    }
}

/// What a meter does, without a log and without a network.
async fn refill(wallets: Wallets, ledger: Arc<Mutex<Ledger>>) {
    let start = Instant::now();
    let now_ms = || 1_000_000 + i64::try_from(start.elapsed().as_millis()).unwrap();
    let mut purse = Purse::open("node:test".to_owned(), 1, wallets.clone(), [], now_ms());
    loop {
        let plan = purse.plan(now_ms());
        purse.commit(plan, now_ms());
        if purse.next_exchange_ms() <= now_ms() {
            let question = purse.question(now_ms());
            match ledger.lock().unwrap().answer(&question) {
                Some(answer) => purse.answer(answer, now_ms()),
                None => purse.unanswered(now_ms()),
            }
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), wallets.rung()).await;
    }
}

impl Ledger {
    fn answer(&mut self, question: &Exchange) -> Option<Answer> {
        if !self.hears {
            return None;
        }
        let known = question.incarnation != 0;
        Some(Answer {
            incarnation: question.incarnation,
            standing: if known {
                Standing::Current
            } else {
                Standing::Superseded { next: 1 }
            },
            leases: question.leases.iter().map(|report| self.lease(report)).collect(),
            prices: BTreeMap::from([(1, prices())]),
        })
    }

    fn lease(&mut self, report: &LeaseReport) -> LeaseAnswer {
        let returned = self.returned.entry(report.lease).or_default();
        *returned = report.returned.0.max(*returned);
        let out: i64 = self.granted.values().sum::<i64>() - self.returned.values().sum::<i64>();
        let granted = self.granted.entry(report.lease).or_default();
        let mut denied = None;
        if let Some(want) = report.want
            && report.granted.0 >= *granted
        {
            let left = self.limit - out;
            if left >= want.needed.0 && left > 0 {
                *granted += left.min(want.needed.0.max(1_000_000).max(self.limit / 1_000));
            } else {
                denied = Some(Denial {
                    reason: self.reason,
                    retry_after_ms: 300,
                });
            }
        }
        LeaseAnswer {
            lease: report.lease,
            granted: Nano(*granted),
            price_version: 1,
            until_ms: FOREVER_MS,
            turn_over: false,
            recall: false,
            denied,
            closed: report.closed,
        }
    }
}
