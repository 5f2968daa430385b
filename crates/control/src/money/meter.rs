//! Control as a meter: it pays for builds, for storage, and for the first seconds of instances,
//! from wallets of its own. The same code as in nodes; only the way to the ledger is shorter.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::oneshot;
use weir_ledger::book::{Command, Reply, Scope};
use weir_ledger::protocol::{Answer, Exchange};
use weir_ledger::wallet::Wallets;
use weir_meter::{LedgerLink, LinkError, LogError, Meter, MeterConfig};

use super::service::Order;
use super::{Money, MoneyError, lock, read};

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

    /// Answers control's own meter. Where storage is to be paid out of its tail, that is freed
    /// and granted with nothing in between, so that nobody else gets it.
    async fn exchange_own(&self, exchange: Exchange) -> Result<Answer, MoneyError> {
        lock(&self.shared.counters).note(&exchange);
        let mut commands = self.tails_of(&exchange);
        commands.push(Command::Exchange(exchange));
        let (answer, result) = oneshot::channel();
        self.order(Order::Commands { commands, answer }).await?;
        match result.await.map_err(|_| MoneyError::Stopped)?? {
            Reply::Answer(answer) => Ok(answer),
            other => Err(MoneyError::NotRecorded(format!("the ledger gave no answer: {other:?}"))),
        }
    }

    fn tails_of(&self, exchange: &Exchange) -> Vec<Command> {
        let wanting = exchange.leases.iter().filter(|report| report.want.is_some());
        let tails = read(&self.shared.tails);
        let commands = wanting.filter_map(|report| {
            let environment = report.lease.environment;
            let amount = *tails.get(&environment)?;
            let reserved = self.standing(Scope::Environment(environment))?.reserved;
            let total = reserved.saturating_sub(amount).max(weir_ledger::Nano::ZERO);
            (total < reserved).then_some(Command::Reserve { environment, total })
        });
        commands.collect()
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
