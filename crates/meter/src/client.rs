//! Drives a purse: brings it the time, writes its log, carries its questions to the ledger.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_ledger::protocol::{Answer, MeterName};
use weir_ledger::wallet::Wallets;
use weir_ledger::wallet::purse::{Plan, Purse};
use weir_model::UnixMillis;

use crate::link::{LedgerLink, LinkError};
use crate::log::{Log, LogError};

/// After a failed write of the log.
const LOG_PAUSE: Duration = Duration::from_millis(250);
/// At shutdown the ledger is told what is over; longer than this nobody waits for it.
const FAREWELL: Duration = Duration::from_secs(3);

/// What a meter is.
#[derive(Debug, Clone)]
pub struct MeterConfig {
    /// A folder of its own; its log must survive a restart.
    pub folder: PathBuf,
    /// Its name in the ledger; no two meters may have the same.
    pub name: MeterName,
    /// Threads that draw.
    pub shards: usize,
}

/// Holds leases, so that others can draw. Take [`Meter::wallets`], then [`Meter::run`] it.
#[derive(Debug)]
pub struct Meter {
    purse: Purse,
    wallets: Wallets,
    log: Option<Log>,
    link: Arc<dyn LedgerLink>,
    clock: Clock,
    troubles: Troubles,
}

type Exchanging<'a> = Pin<Box<dyn Future<Output = Result<Answer, LinkError>> + Send + 'a>>;

/// Wall time at the start, and from there on the time that passed: whatever happens to the
/// machine's clock, nothing here jumps.
#[derive(Debug, Clone, Copy)]
struct Clock {
    began: Instant,
    began_ms: UnixMillis,
}

/// What was said to people, so that it is said once.
#[derive(Debug, Default)]
struct Troubles {
    away: bool,
    not_recorded: bool,
    superseded: Option<UnixMillis>,
}

impl Meter {
    /// Takes the log and reads it. Draws on the leases that it names as soon as it runs.
    pub fn open(config: &MeterConfig, link: Arc<dyn LedgerLink>) -> Result<Self, LogError> {
        let (log, records) = Log::open(&config.folder)?;
        let wallets = Wallets::new(config.shards);
        let clock = Clock::new();
        let boot = fastrand::u64(1..);
        let purse = Purse::open(config.name.clone(), boot, wallets.clone(), records, clock.now_ms());
        Ok(Self {
            purse,
            wallets,
            log: Some(log),
            link,
            clock,
            troubles: Troubles::default(),
        })
    }

    /// What to draw from.
    pub fn wallets(&self) -> Wallets {
        self.wallets.clone()
    }

    /// Refills until it is stopped; then gives back what is not in flight.
    pub async fn run(mut self, stop: CancellationToken) {
        self.refill(&stop).await;
    }

    /// Draws nothing, and only tells the ledger what is over of what an earlier process has held
    /// under this name; talks to it for at most so long. Gives whether it knows all of it.
    pub(crate) async fn settle(mut self, longest: Duration, stop: &CancellationToken) -> bool {
        let over = stop.child_token();
        let enough = async {
            tokio::time::sleep(longest).await;
            over.cancel();
        };
        tokio::join!(self.refill(&over), enough);
        self.purse.is_settled()
    }

    async fn refill(&mut self, stop: &CancellationToken) {
        let link = Arc::clone(&self.link);
        let wallets = self.wallets.clone();
        let mut exchanging: Option<Exchanging<'_>> = None;
        loop {
            let recorded = self.record().await;
            self.ask(&*link, &mut exchanging);
            let due = match (recorded, &exchanging) {
                (false, _) => Instant::now() + LOG_PAUSE,
                (true, Some(_)) => self.clock.instant(self.purse.next_look_ms()),
                (true, None) => {
                    let exchange_ms = self.purse.next_exchange_ms();
                    self.clock.instant(self.purse.next_look_ms().min(exchange_ms))
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                answer = answered(&mut exchanging) => {
                    exchanging = None;
                    self.take_in(answer);
                }
                () = wallets.rung(), if recorded => {}
                () = tokio::time::sleep_until(due) => {}
            }
        }
        if tokio::time::timeout(FAREWELL, self.finish(&*link, exchanging))
            .await
            .is_err()
        {
            tracing::info!("the ledger does not answer; what was held is told at the next start");
        }
    }

    /// Closes all leases that nobody draws from any more, in the log and in the ledger.
    async fn finish<'a>(&mut self, link: &'a dyn LedgerLink, mut exchanging: Option<Exchanging<'a>>) {
        if exchanging.is_some() {
            let answer = answered(&mut exchanging).await;
            exchanging = None;
            self.take_in(answer);
        }
        self.purse.finish();
        loop {
            // The marks come down even if the ledger is away.
            if !self.record().await || !self.purse.is_heard(self.clock.now_ms()) || self.purse.is_settled() {
                return;
            }
            self.ask(link, &mut exchanging);
            if exchanging.is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            }
            let answer = answered(&mut exchanging).await;
            exchanging = None;
            if let Err(error) = &answer {
                tracing::debug!(%error, "cannot tell the ledger what is over");
                return;
            }
            self.take_in(answer);
        }
    }

    /// Plans, writes, commits. False if the log cannot be written.
    async fn record(&mut self) -> bool {
        let plan = self.purse.plan(self.clock.now_ms());
        let recorded = self.write(&plan).await;
        if recorded {
            self.purse.commit(plan, self.clock.now_ms());
        } else {
            self.purse.abandon(plan, self.clock.now_ms());
        }
        recorded
    }

    async fn write(&mut self, plan: &Plan) -> bool {
        let stale = self.log.as_ref().is_none_or(Log::is_stale);
        if plan.records().is_empty() && !stale {
            return true;
        }
        let Some(mut log) = self.log.take() else {
            return false;
        };
        let snapshot = stale.then(|| self.purse.snapshot());
        let records = plan.records().to_vec();
        let written = tokio::task::spawn_blocking(move || {
            let written = snapshot.map_or(Ok(()), |snapshot| log.rewrite(&snapshot));
            let written = written.and_then(|()| match records.is_empty() {
                true => Ok(()),
                false => log.append(&records),
            });
            (log, written)
        });
        match written.await {
            Ok((log, written)) => {
                self.log = Some(log);
                self.tell_recorded(written)
            }
            Err(error) => {
                tracing::error!(%error, "writing the log of spending failed; nothing more is spent until a restart");
                false
            }
        }
    }

    fn ask<'a>(&mut self, link: &'a dyn LedgerLink, exchanging: &mut Option<Exchanging<'a>>) {
        let now_ms = self.clock.now_ms();
        if exchanging.is_none() && now_ms >= self.purse.next_exchange_ms() {
            *exchanging = Some(link.exchange(self.purse.question(now_ms)));
        }
    }

    fn take_in(&mut self, answer: Result<Answer, LinkError>) {
        let now_ms = self.clock.now_ms();
        match answer {
            Ok(answer) => {
                if std::mem::take(&mut self.troubles.away) {
                    tracing::info!("the ledger is back");
                }
                self.purse.answer(answer, now_ms);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.troubles.away, true) {
                    let cause = std::error::Error::source(&error);
                    tracing::info!(%error, ?cause, "the ledger is away; spending what is held");
                }
                self.purse.unanswered(now_ms);
            }
        }
        let superseded = self.purse.superseded();
        if let Some((since, pause_ms)) = superseded
            && self.troubles.superseded != Some(since)
        {
            self.troubles.superseded = Some(since);
            tracing::warn!(
                pause_ms,
                "another process spends in this meter's name, or the ledger gave it up; nothing is spent for a while"
            );
        }
    }

    fn tell_recorded(&mut self, written: std::io::Result<()>) -> bool {
        match written {
            Ok(()) => {
                if std::mem::take(&mut self.troubles.not_recorded) {
                    tracing::info!("the log of spending can be written again");
                }
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.troubles.not_recorded, true) {
                    tracing::error!(%error, "the log of spending cannot be written; nothing more is spent until it can");
                }
                false
            }
        }
    }
}

/// The answer, if there is a question; else never.
async fn answered(exchanging: &mut Option<Exchanging<'_>>) -> Result<Answer, LinkError> {
    match exchanging {
        Some(exchanging) => exchanging.await,
        None => std::future::pending().await,
    }
}

impl Clock {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self {
            began: Instant::now(),
            began_ms: since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0)),
        }
    }

    fn now_ms(self) -> UnixMillis {
        let passed = i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX);
        self.began_ms.saturating_add(passed)
    }

    /// The instant of a time, at most a minute away.
    fn instant(self, at_ms: UnixMillis) -> Instant {
        let wait_ms = u64::try_from(at_ms.saturating_sub(self.now_ms()).clamp(0, 60_000)).unwrap_or(0);
        // A little more, because what is left of a millisecond is not in `now_ms`.
        Instant::now() + Duration::from_millis(wait_ms + 1)
    }
}
