//! A ledger in the same process: grants a fixed amount at a time from one limit, and remembers
//! what it was told.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use weir_ledger::protocol::{Answer, Denial, DenialReason, Exchange, LeaseAnswer, LeaseKey, Standing};
use weir_ledger::wallet::{NoMoney, Till, Urgency, Wallets};
use weir_ledger::{Nano, Price, PriceBook, Sku};
use weir_meter::{LedgerLink, LinkError, Meter, MeterConfig};
use weir_model::EnvironmentId;

/// What a request costs, in nano-units.
pub(crate) const REQUEST: i64 = 100;

#[derive(Debug)]
pub(crate) struct TinyLedger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) limit: i64,
    pub(crate) grant: i64,
    pub(crate) away: bool,
    pub(crate) recall: bool,
    pub(crate) incarnation: u64,
    boot: u64,
    pub(crate) leases: BTreeMap<(u64, LeaseKey), Lease>,
    pub(crate) exchanges: usize,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Lease {
    pub(crate) granted: i64,
    pub(crate) returned: i64,
    pub(crate) requests: u64,
    /// Counted when it was closed.
    pub(crate) closed: Option<i64>,
}

impl TinyLedger {
    pub(crate) fn new(limit: i64, grant: i64) -> Arc<Self> {
        let state = State {
            limit,
            grant,
            ..State::default()
        };
        Arc::new(Self {
            state: Mutex::new(state),
        })
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Requests that were told, over all leases.
    pub(crate) fn requests(&self) -> u64 {
        self.with(|state| state.leases.values().map(|lease| lease.requests).sum())
    }
}

impl State {
    pub(crate) fn counted(&self) -> i64 {
        let count = |lease: &Lease| lease.closed.unwrap_or(lease.granted - lease.returned);
        self.leases.values().map(count).sum()
    }

    fn exchange(&mut self, question: &Exchange) -> Answer {
        self.exchanges += 1;
        let next = self.incarnation + 1;
        let mut answer = Answer {
            incarnation: question.incarnation,
            standing: Standing::Superseded { next },
            leases: Vec::new(),
            prices: BTreeMap::from([(1, book())]),
        };
        let other_boot = question.incarnation == self.incarnation && question.boot != self.boot;
        if question.incarnation < self.incarnation.max(1) || other_boot {
            return answer;
        }
        if question.incarnation > self.incarnation {
            (self.incarnation, self.boot) = (question.incarnation, question.boot);
            for (key, lease) in self.leases.iter_mut().filter(|(_, lease)| lease.closed.is_none()) {
                let told = question
                    .closings
                    .iter()
                    .find(|closing| (closing.incarnation, closing.lease) == *key);
                lease.closed = Some(told.map_or(lease.granted - lease.returned, |closing| {
                    lease.requests = closing.usage.iter().map(|(_, units)| units).sum();
                    closing.drawn.to_nano_up().0
                }));
            }
        }
        answer.standing = Standing::Current;
        for report in &question.leases {
            let room = self.limit - self.counted();
            let lease = self.leases.entry((self.incarnation, report.lease)).or_default();
            let mut denied = None;
            if lease.closed.is_none() {
                lease.requests = report.usage.iter().map(|(_, units)| units).sum();
                lease.returned = report.returned.0;
                if report.closed {
                    lease.closed = Some(i64::try_from(lease.requests).unwrap() * REQUEST);
                } else if let Some(want) = report.want
                    && report.granted.0 == lease.granted
                {
                    if want.needed.0 > room {
                        denied = Some(Denial {
                            reason: DenialReason::ProjectCap,
                            retry_after_ms: 1_000,
                        });
                    } else {
                        lease.granted += want.needed.0.max(self.grant).min(room);
                    }
                }
            }
            answer.leases.push(LeaseAnswer {
                lease: report.lease,
                granted: Nano(lease.granted),
                price_version: 1,
                until_ms: i64::MAX,
                turn_over: false,
                recall: self.recall,
                denied,
                closed: lease.closed.is_some(),
            });
        }
        answer
    }
}

#[async_trait]
impl LedgerLink for TinyLedger {
    async fn exchange(&self, question: Exchange) -> Result<Answer, LinkError> {
        tokio::task::yield_now().await;
        self.with(|state| {
            if state.away {
                return Err(LinkError::Timeout);
            }
            Ok(state.exchange(&question))
        })
    }
}

fn book() -> PriceBook {
    let price = Price {
        pico: REQUEST * 1_000,
        per: 1,
    };
    PriceBook {
        version: 1,
        currency: "EUR".into(),
        valid_from_ms: 0,
        prices: BTreeMap::from([(Sku::REQUESTS, price)]),
    }
}

/// A meter that runs.
pub(crate) struct Running {
    pub(crate) wallets: Wallets,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) fn start(folder: &Path, link: &Arc<impl LedgerLink + 'static>) -> Self {
        let config = MeterConfig {
            folder: folder.to_owned(),
            name: "node:test".into(),
            shards: 2,
        };
        let link: Arc<dyn LedgerLink> = Arc::clone(link) as Arc<dyn LedgerLink>;
        let meter = Meter::open(&config, link).unwrap();
        let stop = CancellationToken::new();
        Self {
            wallets: meter.wallets(),
            task: tokio::spawn(meter.run(stop.clone())),
            stop,
        }
    }

    pub(crate) fn till(&self) -> Arc<Till> {
        self.wallets.till(environment(), None, None)
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }

    /// As if the process had been killed.
    pub(crate) async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }
}

pub(crate) fn environment() -> EnvironmentId {
    EnvironmentId::from_parts(1, 1)
}

/// Pays for one request as the ingress does: at once if it can, else after a wait.
pub(crate) async fn request(till: &Till) -> Result<(), NoMoney> {
    loop {
        if till.pay(0, Urgency::Request, &Sku::REQUESTS, 1).is_ok() {
            return Ok(());
        }
        till.wait(Urgency::Request, &Sku::REQUESTS, 1, Duration::from_secs(2))
            .await?;
    }
}

/// Waits until something is so, at most ten seconds.
pub(crate) async fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never came true that {what}");
}
