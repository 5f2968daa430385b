//! How much is done at once in volumes: by an environment, by an account, and in all.
//!
//! What takes long holds a thread of control for as long, and there are 512 of them: an archive, for as
//! long as its client takes to read it. So all that together has a bound, and no account may fill it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use weir_model::{AccountId, EnvironmentId};

use super::VolumeError;

/// What an environment may have done at once.
const OF_ENVIRONMENT: usize = 4;
/// What an account may have done at once that takes long.
const LONG_OF_ACCOUNT: usize = 16;
/// What may be done at once that takes long.
const LONG: usize = 128;
/// What may be counted at once in an account, and in all: apart from what people wait for.
const COUNTS_OF_ACCOUNT: usize = 4;
const COUNTS: usize = 16;
/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait of a count for those before it.
const COUNTING_PATIENCE: Duration = Duration::from_secs(300);

/// Who waits for his turn.
#[derive(Debug)]
pub(super) struct Turns {
    environments: Gates<EnvironmentId>,
    counting: Gates<EnvironmentId>,
    long: Wide,
    counts: Wide,
    patience: Duration,
    counting_patience: Duration,
}

/// What is bounded for an account and over all.
#[derive(Debug)]
struct Wide {
    accounts: Gates<AccountId>,
    all: Arc<Semaphore>,
    most: usize,
}

impl Wide {
    fn new(of_account: usize, most: usize) -> Self {
        Self {
            accounts: Gates::new(of_account),
            all: Arc::new(Semaphore::new(most)),
            most,
        }
    }

    async fn through(
        &self,
        own: OwnedSemaphorePermit,
        account: AccountId,
        until: Instant,
    ) -> Result<Turn, VolumeError> {
        let of_account = through(self.accounts.of(account), until, || {
            format!(
                "{} archives and other long works are under way in the volumes of this account already",
                self.accounts.most
            )
        });
        let of_account = of_account.await?;
        let of_all = through(Arc::clone(&self.all), until, || {
            format!(
                "{} archives and other long works are under way in all volumes of this Weir already",
                self.most
            )
        });
        let of_all = of_all.await?;
        Ok(Turn {
            _permits: vec![own, of_account, of_all],
        })
    }
}

/// The right to do something; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _permits: Vec<OwnedSemaphorePermit>,
}

/// A gate for each of many, through which so many go at once.
#[derive(Debug)]
struct Gates<K> {
    most: usize,
    gates: Mutex<HashMap<K, Arc<Semaphore>>>,
}

impl<K: Hash + Eq> Gates<K> {
    fn new(most: usize) -> Self {
        Self {
            most,
            gates: Mutex::default(),
        }
    }

    fn of(&self, key: K) -> Arc<Semaphore> {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses are as good as new ones.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        let gate = gates.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.most)));
        Arc::clone(gate)
    }
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            environments: Gates::new(OF_ENVIRONMENT),
            counting: Gates::new(1),
            long: Wide::new(LONG_OF_ACCOUNT, LONG),
            counts: Wide::new(COUNTS_OF_ACCOUNT, COUNTS),
            patience: PATIENCE,
            counting_patience: COUNTING_PATIENCE,
        }
    }
}

impl Turns {
    /// For something short.
    pub(super) async fn short(&self, environment: EnvironmentId) -> Result<Turn, VolumeError> {
        let until = Instant::now() + self.patience;
        let own = through(self.environments.of(environment), until, of_environment).await?;
        Ok(Turn { _permits: vec![own] })
    }

    /// For something that may take long.
    pub(super) async fn long(&self, environment: EnvironmentId, account: AccountId) -> Result<Turn, VolumeError> {
        let until = Instant::now() + self.patience;
        // Who waits at a gate holds only what is his own.
        let own = through(self.environments.of(environment), until, of_environment).await?;
        self.long.through(own, account, until).await
    }

    /// For a count: one after the other in an environment, apart from what people do there.
    pub(super) async fn counting(&self, environment: EnvironmentId, account: AccountId) -> Result<Turn, VolumeError> {
        let until = Instant::now() + self.counting_patience;
        let own = through(self.counting.of(environment), until, of_environment).await?;
        self.counts.through(own, account, until).await
    }
}

fn of_environment() -> String {
    format!("{OF_ENVIRONMENT} things are being done in the volumes of this environment already")
}

async fn through(
    gate: Arc<Semaphore>,
    until: Instant,
    busy: impl FnOnce() -> String,
) -> Result<OwnedSemaphorePermit, VolumeError> {
    match tokio::time::timeout_at(until, gate.acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(VolumeError::Busy(busy())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(number: u128) -> EnvironmentId {
        EnvironmentId::from_parts(1, number)
    }

    fn impatient() -> Turns {
        Turns {
            patience: Duration::from_millis(50),
            counting_patience: Duration::from_millis(50),
            ..Turns::default()
        }
    }

    fn busy(turn: Result<Turn, VolumeError>) -> String {
        match turn {
            Err(VolumeError::Busy(words)) => words,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn no_environment_and_no_account_takes_the_turns_of_others() {
        let turns = impatient();
        let (greedy, other) = (AccountId::from_parts(1, 1), AccountId::from_parts(1, 2));
        let mut held = Vec::new();
        for number in 0..LONG_OF_ACCOUNT as u128 {
            held.push(turns.long(environment(number / 4), greedy).await.unwrap());
        }
        let refused = busy(turns.long(environment(0), greedy).await);
        assert!(refused.contains("this environment"), "{refused}");
        let refused = busy(turns.long(environment(100), greedy).await);
        assert!(refused.contains("this account"), "{refused}");
        // Counts have turns of their own, and not all of them.
        let mut counts = Vec::new();
        for number in 0..COUNTS_OF_ACCOUNT as u128 {
            counts.push(turns.counting(environment(100 + number), greedy).await.unwrap());
        }
        assert!(busy(turns.counting(environment(150), greedy).await).contains("this account"));
        counts.push(turns.counting(environment(150), other).await.unwrap());
        // What is short needs no more than its environment, and another account nothing of this one.
        drop(turns.short(environment(100)).await.unwrap());
        held.push(turns.long(environment(200), other).await.unwrap());
        held.remove(0);
        drop(turns.long(environment(0), greedy).await.unwrap());
    }

    #[tokio::test]
    async fn what_takes_long_has_a_bound_over_all() {
        let turns = impatient();
        let mut held = Vec::new();
        for number in 0..LONG as u128 {
            let account = AccountId::from_parts(1, number / 4);
            held.push(turns.long(environment(number), account).await.unwrap());
        }
        let late = AccountId::from_parts(1, 9_999);
        let refused = busy(turns.long(environment(9_999), late).await);
        assert!(refused.contains("this Weir"), "{refused}");
        // Whoever was refused holds nothing, and files can be looked at all the same.
        for _ in 0..OF_ENVIRONMENT {
            held.push(turns.short(environment(9_999)).await.unwrap());
        }
    }
}
