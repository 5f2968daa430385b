//! Bytes that instances send of their own accord, past the proxy: an allowance in the kernel,
//! filled ahead from the wallet of the environment.
//!
//! Chunks are drawn before the kernel is told of them, and finished when the kernel has counted
//! what passed; so a dead node cannot overspend: what it drew is all that can be sent. A chunk is
//! small for who sends little and grows with the rate. What lies idle is taken back: the kernel
//! first lets nothing more through, then says what passed until then, and only what is left of
//! that goes back to the wallet.
//!
//! Where the kernel cannot count (no `nft`, no rights) nothing is drawn, and it is said once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use weir_engine::EngineError;
use weir_ledger::Sku;
use weir_ledger::wallet::{Draw, Till, Urgency};
use weir_model::EnvironmentId;

use crate::Payroll;

/// How often the kernel is asked.
const TICK: Duration = Duration::from_millis(250);
/// After a failure it is asked again after this time.
const RETRY: Duration = Duration::from_secs(10);
/// Smallest and largest chunk, in bytes: the first is what an idle environment has drawn.
const SMALLEST: u64 = 64 << 10;
const LARGEST: u64 = 32 << 20;
/// An allowance that was not used for so long is taken back, and drawn anew by the lease of then.
const IDLE_MS: u64 = 30_000;
/// What is sent while Weir is stopped on purpose is not counted.
const EVERYTHING: u64 = 1 << 62;

/// With what, for whom, and who is told.
#[derive(Debug)]
pub struct EgressConfig {
    /// With what, and for whom.
    pub payroll: Payroll,
    /// Is told which environments can send: control waits for that before it starts the first
    /// instance of one, whose first packets would be lost otherwise.
    pub sending: watch::Sender<BTreeSet<EnvironmentId>>,
}

/// Fills allowances until `stop`. Then everything that was not used goes back; if `let_run`
/// says so, environments may send what they like until the next start.
pub async fn run(config: EgressConfig, stop: CancellationToken, let_run: impl FnOnce() -> bool) {
    let mut gates = Gates::new(config);
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = ticks.tick() => {}
            // Whoever is new does not wait.
            _ = gates.config.payroll.metered.changed() => {}
        }
        if let Err(error) = gates.tick().await {
            gates.complain(&error);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    }
    if let Err(error) = gates.end(let_run()).await {
        tracing::debug!(%error, "what environments may send stays as it is");
    }
}

/// Where money comes from.
trait Payer {
    type Held: Held;
    /// Draws for so many bytes; `None` if there is too little at present.
    fn draw(&self, bytes: u64) -> Option<Self::Held>;
}

/// Money drawn ahead.
trait Held {
    /// So many bytes were sent; the rest goes back.
    fn finish(self, used: u64);
}

/// The allowance of one environment. Pure.
///
/// What may be sent in total is `charged` and what `held` is for, at every instant; the kernel is
/// told of a larger allowance after it was drawn, and of a smaller one before money goes back.
#[derive(Debug)]
struct Gate<P: Payer> {
    payer: P,
    /// Bytes sent in total that are paid for.
    charged: u64,
    /// Bytes sent in total as far as the kernel told.
    sent: u64,
    /// Bytes that may be sent in total.
    allowed: u64,
    /// Pays for `allowed - charged` bytes.
    held: Option<P::Held>,
    chunk_bytes: u64,
    /// When something was sent last, or the allowance was taken back.
    active_ms: u64,
}

impl<P: Payer> Gate<P> {
    /// Nothing is allowed that this process has not drawn.
    fn new(payer: P, sent: u64, now_ms: u64) -> Self {
        Self {
            payer,
            charged: sent,
            sent,
            allowed: sent,
            held: None,
            chunk_bytes: SMALLEST,
            active_ms: now_ms,
        }
    }

    /// The kernel has counted so much. Gives the total to tell it, if that is a new one.
    fn count(&mut self, sent: u64, now_ms: u64) -> Option<u64> {
        if sent > self.sent {
            self.active_ms = now_ms;
            self.sent = sent;
        }
        let left = self.allowed.saturating_sub(self.sent);
        if left < self.chunk_bytes / 2 {
            let used = self.sent - self.charged;
            // Much was used since the last time: the next chunk is larger.
            if used > self.chunk_bytes / 2 {
                self.chunk_bytes = (self.chunk_bytes * 4).min(LARGEST);
            }
            let mut wanted = self.chunk_bytes;
            loop {
                if self.turn(wanted.max(left)) {
                    return Some(self.allowed);
                }
                if wanted <= SMALLEST / 16 || wanted <= left {
                    break;
                }
                wanted /= 2;
            }
        }
        if self.sent > self.charged {
            // What was sent is charged now and not when the chunk is used up.
            self.turn(left);
        }
        None
    }

    /// Draws for so many bytes from now on, and charges what was sent until now.
    fn turn(&mut self, bytes: u64) -> bool {
        let Some(fresh) = self.payer.draw(bytes) else {
            return false;
        };
        self.charge();
        self.held = Some(fresh);
        self.allowed = self.sent.saturating_add(bytes);
        true
    }

    fn charge(&mut self) {
        let used = self.sent - self.charged;
        if let Some(old) = self.held.take() {
            old.finish(used);
        }
        self.charged = self.sent;
    }

    /// Whether its allowance should be taken back.
    fn is_idle(&self, now_ms: u64) -> bool {
        self.held.is_some() && now_ms >= self.active_ms + IDLE_MS
    }

    /// The kernel lets nothing more through, and has counted so much until then.
    fn shut(&mut self, sent: u64, now_ms: u64) {
        self.sent = self.sent.max(sent);
        self.charge();
        self.allowed = self.sent;
        self.chunk_bytes = SMALLEST;
        self.active_ms = now_ms;
    }
}

/// The allowances of all environments of this node.
struct Gates {
    config: EgressConfig,
    begin: Instant,
    gates: BTreeMap<EnvironmentId, Gate<Purse>>,
    complained: bool,
}

impl Gates {
    fn new(config: EgressConfig) -> Self {
        Self {
            config,
            begin: Instant::now(),
            gates: BTreeMap::new(),
            complained: false,
        }
    }

    async fn tick(&mut self) -> Result<(), EngineError> {
        let wanted: BTreeSet<EnvironmentId> = {
            let metered = self.config.payroll.metered.borrow_and_update();
            metered.iter().map(|instance| instance.environment).collect()
        };
        let filled = self.fill(&wanted).await;
        // Where nothing can be counted, nothing is to be waited for.
        let gates = self.gates.iter().filter(|(_, gate)| gate.held.is_some());
        let sending = match &filled {
            Ok(()) => gates.map(|(environment, _)| *environment).collect(),
            Err(_) => wanted,
        };
        self.config.sending.send_if_modified(|before| {
            let changed = *before != sending;
            *before = sending;
            changed
        });
        filled
    }

    async fn fill(&mut self, wanted: &BTreeSet<EnvironmentId>) -> Result<(), EngineError> {
        if wanted.is_empty() && self.gates.is_empty() {
            return Ok(());
        }
        self.welcome(wanted).await?;
        let sent = self.config.payroll.meters.egress(&BTreeMap::new()).await?;
        let now_ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut raise = BTreeMap::new();
        let mut shut = BTreeSet::new();
        for (environment, gate) in &mut self.gates {
            if !wanted.contains(environment) || gate.is_idle(now_ms) {
                shut.insert(*environment);
            } else if let Some(total) = gate.count(sent.get(environment).copied().unwrap_or(0), now_ms) {
                raise.insert(*environment, total);
            }
        }
        if !raise.is_empty() {
            self.config.payroll.meters.egress(&raise).await?;
        }
        self.shut(&shut, now_ms).await?;
        for environment in shut.difference(wanted) {
            self.config.payroll.meters.egress_forget(*environment).await?;
            self.gates.remove(environment);
        }
        self.complained = false;
        Ok(())
    }

    /// Opens a gate for each environment that is new. What an earlier process allowed is no
    /// longer allowed: nobody here has drawn it.
    async fn welcome(&mut self, wanted: &BTreeSet<EnvironmentId>) -> Result<(), EngineError> {
        let new: BTreeMap<EnvironmentId, u64> = wanted
            .iter()
            .filter(|environment| !self.gates.contains_key(environment))
            .map(|environment| (*environment, 0))
            .collect();
        if new.is_empty() {
            return Ok(());
        }
        let sent = self.config.payroll.meters.egress(&new).await?;
        let now_ms = u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        for environment in new.into_keys() {
            let purse = Purse {
                till: self.config.payroll.wallets.till(environment, None, None),
                shard: self.config.payroll.shard,
            };
            let before = sent.get(&environment).copied().unwrap_or(0);
            self.gates.insert(environment, Gate::new(purse, before, now_ms));
        }
        Ok(())
    }

    /// Takes back what was not used.
    async fn shut(&mut self, which: &BTreeSet<EnvironmentId>, now_ms: u64) -> Result<(), EngineError> {
        if which.is_empty() {
            return Ok(());
        }
        let nothing = which.iter().map(|environment| (*environment, 0)).collect();
        let sent = self.config.payroll.meters.egress(&nothing).await?;
        for environment in which {
            if let Some(gate) = self.gates.get_mut(environment) {
                gate.shut(sent.get(environment).copied().unwrap_or(0), now_ms);
            }
        }
        Ok(())
    }

    async fn end(mut self, let_run: bool) -> Result<(), EngineError> {
        let all: BTreeSet<EnvironmentId> = self.gates.keys().copied().collect();
        self.shut(&all, 0).await?;
        self.config.sending.send_replace(BTreeSet::new());
        if let_run {
            let everything = all.into_iter().map(|environment| (environment, EVERYTHING)).collect();
            self.config.payroll.meters.egress(&everything).await?;
        }
        Ok(())
    }

    fn complain(&mut self, error: &EngineError) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::warn!(
                %error,
                "what apps send past the proxy cannot be counted or filled at present; run Weir as root with nftables installed"
            );
        }
    }
}

/// An environment's money, as one thread draws it.
#[derive(Debug)]
struct Purse {
    till: Arc<Till>,
    shard: usize,
}

impl Payer for Purse {
    type Held = Draw;

    fn draw(&self, bytes: u64) -> Option<Draw> {
        self.till.draw(self.shard, Urgency::Instance, &Sku::EGRESS, bytes).ok()
    }
}

impl Held for Draw {
    fn finish(self, used: u64) {
        Draw::finish(self, used);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use proptest::prelude::*;

    use super::*;

    /// Money that is left, money that is held, money that was charged; a byte costs one.
    #[derive(Debug, Clone, Default)]
    struct Bank(Rc<RefCell<(u64, u64, u64)>>);

    struct Coins(Bank, u64);

    impl Payer for Bank {
        type Held = Coins;

        fn draw(&self, bytes: u64) -> Option<Coins> {
            let mut bank = self.0.borrow_mut();
            bank.0 = bank.0.checked_sub(bytes)?;
            bank.1 += bytes;
            Some(Coins(self.clone(), bytes))
        }
    }

    impl Held for Coins {
        fn finish(self, used: u64) {
            assert!(used <= self.1, "more was sent than drawn");
            let mut bank = self.0.0.borrow_mut();
            bank.0 += self.1 - used;
            bank.1 -= self.1;
            bank.2 += used;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// The kernel never lets through what is not drawn, everything sent is charged to the
        /// byte, and who has money goes on.
        #[test]
        fn what_is_sent_is_drawn_before(
            money in 0..1_000_000_u64,
            steps in prop::collection::vec((0..300_000_u64, 0..20_000_u64, any::<bool>()), 1..200),
        ) {
            let bank = Bank(Rc::new(RefCell::new((money, 0, 0))));
            let begin = 1_000;
            let (mut gate, mut sent, mut told, mut now_ms) = (Gate::new(bank.clone(), begin, 0), begin, begin, 0);
            for (tries, passed_ms, late) in steps {
                now_ms += passed_ms;
                sent += tries.min(told - sent);
                // What the kernel says may be old by the time it is heard.
                let read = sent;
                if late {
                    sent += (tries / 2).min(told - sent);
                }
                if gate.is_idle(now_ms) {
                    told = sent;
                    gate.shut(sent, now_ms);
                } else if let Some(total) = gate.count(read, now_ms) {
                    prop_assert!(total >= told, "an allowance is not lowered in passing");
                    told = total;
                }
                let (left, held, charged) = *bank.0.borrow();
                prop_assert!(told - begin <= charged + held, "more is allowed than drawn");
                prop_assert_eq!(left + held + charged, money);
            }
            gate.shut(sent, now_ms);
            prop_assert_eq!(*bank.0.borrow(), (money - (sent - begin), 0, sent - begin));
        }
    }

    #[test]
    fn chunks_grow_with_the_rate_and_shrink_when_idle() {
        let bank = Bank(Rc::new(RefCell::new((1 << 40, 0, 0))));
        let mut gate = Gate::new(bank.clone(), 0, 0);
        let mut total = gate.count(0, 0).unwrap();
        assert_eq!(total, SMALLEST);
        for tick in 1..20 {
            total = gate.count(total, tick * 250).unwrap();
        }
        assert_eq!(gate.chunk_bytes, LARGEST);
        assert!(gate.is_idle(19 * 250 + IDLE_MS));
        gate.shut(total - 10, 60_000);
        assert_eq!(bank.0.borrow().1, 0, "nothing is held");
        assert_eq!(gate.count(total - 10, 60_250), Some(total - 10 + SMALLEST));
    }
}
