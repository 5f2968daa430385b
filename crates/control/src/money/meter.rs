//! Control as a meter: it pays for builds, for storage, and for the first seconds of instances,
//! from wallets of its own. The same code as in nodes; only the way to the ledger is shorter.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use weir_ledger::Nano;
use weir_ledger::book::{Command, Reply};
use weir_ledger::protocol::{Answer, Exchange, LeaseKey};
use weir_ledger::wallet::Wallets;
use weir_meter::{LedgerLink, LinkError, LogError, Meter, MeterConfig};

use super::{Money, MoneyError, lock};

/// Its name in the ledger.
const NAME: &str = "control";

impl Money {
    /// Begins to pay: takes the log in this folder, and runs until the ledger is closed.
    pub(super) fn start_meter(&mut self, folder: &Path) -> Result<(), LogError> {
        let config = MeterConfig {
            folder: folder.to_owned(),
            name: NAME.to_owned(),
            shards: 1,
        };
        // Without wallets of its own, so that the meter does not keep itself.
        let link = InProcess(Self {
            wallets: Wallets::default(),
            ..self.clone()
        });
        let meter = Meter::open(&config, Arc::new(link))?;
        self.wallets = meter.wallets();
        let (leaving, left) = (self.shared.leaving.clone(), self.shared.meters.token());
        let work = async move {
            meter.run(leaving).await;
            drop(left);
        };
        tokio::spawn(tracing::Instrument::instrument(work, tracing::info_span!("meter")));
        Ok(())
    }

    /// Answers control's own meter, which may pay for storage out of its tail.
    async fn exchange_own(&self, exchange: Exchange) -> Result<Answer, MoneyError> {
        lock(&self.shared.counters).note(&exchange);
        let mut open = self.shared.tails.lock().await;
        let tails = open.clone();
        let known: Vec<(LeaseKey, Nano)> = exchange
            .leases
            .iter()
            .map(|report| (report.lease, report.granted))
            .collect();
        let answer = match self.command(Command::ExchangeOnTail { exchange, tails }).await? {
            Reply::Answer(answer) => answer,
            other => return Err(MoneyError::NotRecorded(format!("the ledger gave no answer: {other:?}"))),
        };
        // Once: what lies idle would not go back into the tail.
        for (lease, before) in known {
            let told = answer.leases.iter().find(|told| told.lease == lease);
            let more = told.map_or(Nano::ZERO, |told| told.granted.saturating_sub(before));
            if let Some(left) = open.get_mut(&lease.environment) {
                *left = left.saturating_sub(more).max(Nano::ZERO);
            }
        }
        Ok(answer)
    }
}

/// The way to the ledger for a meter in its own process.
#[derive(Debug)]
struct InProcess(Money);

#[async_trait]
impl LedgerLink for InProcess {
    async fn exchange(&self, question: Exchange) -> Result<Answer, LinkError> {
        let answer = self.0.exchange_own(question).await;
        answer.map_err(|error| LinkError::Answer(error.to_string()))
    }
}
