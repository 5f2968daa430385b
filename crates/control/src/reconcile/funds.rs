//! Money for what the reconciler starts and thaws. A node pays for instances; but before it has
//! heard of a new one, that one runs already. So control buys its first seconds, and the time that
//! it may take to end, from its own wallet, at its limits, and puts them back once a node pays.

use std::collections::{BTreeSet, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use weir_engine::InstanceLabels;
use weir_ledger::Sku;
use weir_ledger::protocol::DenialReason;
use weir_ledger::wallet::{Draw, NoMoney, Till, Urgency, Wallets};
use weir_model::{EnvironmentId, InstanceId, UnixMillis};

use super::lock;

/// So long is held for an instance that no node pays for yet.
const HELD_MS: i64 = 10_000;
/// Longest wait for the ledger to grant it.
const PATIENCE: Duration = Duration::from_secs(3);
/// Pause before what could not be bought is tried again.
const AGAIN_MS: i64 = 1_000;
/// So long the next node is waited for at most, while one takes the place of another.
const PAYER_PATIENCE_MS: i64 = 3_000;
/// Control draws from one place only.
const SHARD: usize = 0;

/// What an instance may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    /// Bytes.
    pub(super) memory_bytes: u64,
    /// Thousandths of a core.
    pub(super) cpu_milli: u32,
    /// Longest time to end gracefully, in seconds.
    pub(super) grace_s: u32,
}

/// Money drawn, and how much of it is for the first seconds.
#[derive(Debug)]
struct Drawn {
    draw: Draw,
    first_units: u64,
}

#[derive(Debug)]
struct Hold {
    environment: EnvironmentId,
    draws: Vec<Drawn>,
    until_ms: UnixMillis,
}

/// What is held for instances that no node pays for yet, over all environments.
#[derive(Debug, Default)]
pub(super) struct Funds {
    holds: Mutex<HashMap<InstanceId, Hold>>,
    /// When to try again what could not be bought.
    again: Mutex<HashMap<EnvironmentId, UnixMillis>>,
}

impl Funds {
    /// Buys the first seconds of an instance. Nothing is bought if not all of it can be.
    pub(super) async fn secure(
        &self,
        wallets: &Wallets,
        labels: &InstanceLabels,
        size: Size,
        now_ms: UnixMillis,
    ) -> Result<(), NoMoney> {
        let environment = labels.environment;
        let till = wallets.till(environment, Some(&labels.app), Some(&labels.process));
        let first_ms = HELD_MS.unsigned_abs();
        let all_ms = first_ms + u64::from(size.grace_s) * 1_000;
        // A thousandth of a core for a millisecond is a microsecond of CPU time.
        let wanted = [(Sku::CPU, u64::from(size.cpu_milli)), (Sku::MEMORY, size.memory_bytes)];
        let mut draws: Vec<Drawn> = Vec::new();
        for (sku, units_per_ms) in wanted {
            match draw(&till, &sku, units_per_ms.saturating_mul(all_ms)).await {
                Ok(draw) => draws.push(Drawn {
                    draw,
                    first_units: units_per_ms.saturating_mul(first_ms),
                }),
                Err(reason) => {
                    draws.into_iter().for_each(|drawn| drawn.draw.finish(0));
                    lock(&self.again).insert(environment, now_ms + AGAIN_MS);
                    return Err(reason);
                }
            }
        }
        lock(&self.again).remove(&environment);
        let hold = Hold {
            environment,
            draws,
            until_ms: now_ms + HELD_MS,
        };
        if let Some(before) = lock(&self.holds).insert(labels.instance, hold) {
            before.put_back();
        }
        Ok(())
    }

    /// Whether the first seconds of an instance are bought and not over.
    pub(super) fn covers(&self, instance: InstanceId, now_ms: UnixMillis) -> bool {
        lock(&self.holds)
            .get(&instance)
            .is_some_and(|hold| now_ms < hold.until_ms)
    }

    /// Puts back what a node pays for by now, and what was held for instances of the environment
    /// that are not there (an instance that was just bought counts as there); what nobody took
    /// over in its time is spent.
    pub(super) fn settle(
        &self,
        environment: EnvironmentId,
        there: &BTreeSet<InstanceId>,
        paying: &BTreeSet<InstanceId>,
        now_ms: UnixMillis,
    ) {
        let mut holds = lock(&self.holds);
        let mine: Vec<InstanceId> = holds
            .iter()
            .filter(|(_, hold)| hold.environment == environment)
            .map(|(instance, _)| *instance)
            .collect();
        for instance in mine {
            let over = holds.get(&instance).is_some_and(|hold| now_ms >= hold.until_ms);
            if !over && !paying.contains(&instance) {
                continue;
            }
            let Some(hold) = holds.remove(&instance) else { continue };
            if paying.contains(&instance) || !there.contains(&instance) {
                hold.put_back();
            } else {
                let spend = |drawn: Drawn| drawn.draw.finish(drawn.first_units);
                hold.draws.into_iter().for_each(spend);
            }
        }
    }

    /// When to look again: the first of the holds ends, or what could not be bought is tried
    /// once more.
    pub(super) fn wake_ms(&self, environment: EnvironmentId) -> Option<UnixMillis> {
        let holds = lock(&self.holds);
        let ends = holds
            .values()
            .filter(|hold| hold.environment == environment)
            .map(|hold| hold.until_ms);
        ends.chain(lock(&self.again).get(&environment).copied()).min()
    }
}

impl Hold {
    fn put_back(self) {
        self.draws.into_iter().for_each(|drawn| drawn.draw.finish(0));
    }
}

/// Instances that no node pays for at the moment in which one takes the place of another, and
/// since when.
#[derive(Debug, Default)]
pub(super) struct AwaitedPayers(HashMap<InstanceId, UnixMillis>);

impl AwaitedPayers {
    /// Forgets those that are paid for, or gone.
    pub(super) fn settle(&mut self, there: &BTreeSet<InstanceId>, paying: &BTreeSet<InstanceId>) {
        self.0.retain(|id, _| there.contains(id) && !paying.contains(id));
    }

    /// Whether its time is not over.
    pub(super) fn may_wait(&mut self, instance: InstanceId, now_ms: UnixMillis) -> bool {
        now_ms - *self.0.entry(instance).or_insert(now_ms) < PAYER_PATIENCE_MS
    }
}

async fn draw(till: &Till, sku: &Sku, units: u64) -> Result<Draw, NoMoney> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Ok(draw) = till.draw(SHARD, Urgency::Instance, sku, units) {
            return Ok(draw);
        }
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        if left.is_zero() {
            return Err(NoMoney::CutOff);
        }
        till.wait(Urgency::Instance, sku, units, left).await?;
    }
}

/// What stands in the way of money, as people are told: `the spending cap of shop is reached`.
pub(crate) fn words(reason: DenialReason, project: &str, environment: &str) -> String {
    match reason {
        DenialReason::EnvironmentCap => format!("the spending cap of {project}/{environment} is reached"),
        DenialReason::ProjectCap => format!("the spending cap of {project} is reached"),
        DenialReason::AccountCap => format!("the spending cap of the account of {project} is reached"),
        DenialReason::Balance => format!("the balance of the account of {project} is used up"),
        DenialReason::Pace => {
            format!("{project} has spent faster than the pace of its cap; the rest is let out over six hours")
        }
        DenialReason::Recalling | DenialReason::Gone => format!("the ledger has no money for {project}"),
    }
}

/// The same, of a refused draw.
pub(crate) fn words_of(reason: NoMoney, project: &str, environment: &str) -> String {
    match reason {
        NoMoney::Denied(reason) => words(reason, project, environment),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_payer_is_waited_for_and_not_for_ever() {
        let (mut awaited, one) = (AwaitedPayers::default(), InstanceId::from_parts(1, 1));
        let (there, nobody) = (BTreeSet::from([one]), BTreeSet::new());
        assert!(awaited.may_wait(one, 10_000));
        awaited.settle(&there, &nobody);
        assert!(awaited.may_wait(one, 9_999 + PAYER_PATIENCE_MS));
        assert!(!awaited.may_wait(one, 10_000 + PAYER_PATIENCE_MS));
        assert!(!awaited.may_wait(one, 60_000), "its time does not begin anew by itself");
        // Paid for, and later once more between two nodes.
        awaited.settle(&there, &there);
        assert!(awaited.may_wait(one, 90_000));
        awaited.settle(&nobody, &nobody);
        assert!(awaited.0.is_empty());
    }
}
