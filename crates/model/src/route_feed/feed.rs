//! What control remembers of changes, and what a node remembers of what it has. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Batch, line_digest};
use crate::EnvironmentId;

/// So many environments that are gone are remembered. A node that has missed more of them gets
/// everything.
const MOST_GONE: usize = 10_000;

/// When each environment changed last. Its size follows the number of environments, not that of
/// changes.
#[derive(Debug, Default)]
pub struct Feed {
    there: BTreeMap<EnvironmentId, (u64, u64)>,
    gone: BTreeMap<EnvironmentId, u64>,
    gone_in_order: BTreeSet<(u64, EnvironmentId)>,
    /// Each environment once, under the generation of its last change.
    changes: BTreeSet<(u64, EnvironmentId)>,
    /// Of generations before this one it is not known any more what has gone since.
    forgotten: u64,
    digest: u64,
}

/// What changed since a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Since {
    /// That is not known: everything has to be told.
    Whole,
    /// These environments, and whether each is there (otherwise it is gone).
    Changed(Vec<(EnvironmentId, bool)>),
}

impl Feed {
    /// The environment is another one from this generation on, which must be above those before.
    pub fn set(&mut self, environment: EnvironmentId, generation: u64, digest: u64) {
        self.leave(environment);
        self.there.insert(environment, (generation, digest));
        self.changes.insert((generation, environment));
        self.digest = self.digest.wrapping_add(digest);
    }

    /// The environment is gone from this generation on, which must be above those before.
    pub fn remove(&mut self, environment: EnvironmentId, generation: u64) {
        if !self.there.contains_key(&environment) {
            return;
        }
        self.leave(environment);
        self.gone.insert(environment, generation);
        self.gone_in_order.insert((generation, environment));
        self.changes.insert((generation, environment));
        if self.gone.len() > MOST_GONE
            && let Some((generation, environment)) = self.gone_in_order.first().copied()
        {
            self.leave(environment);
            self.forgotten = self.forgotten.max(generation);
        }
    }

    fn leave(&mut self, environment: EnvironmentId) {
        if let Some((generation, digest)) = self.there.remove(&environment) {
            self.changes.remove(&(generation, environment));
            self.digest = self.digest.wrapping_sub(digest);
        }
        if let Some(generation) = self.gone.remove(&environment) {
            self.gone_in_order.remove(&(generation, environment));
            self.changes.remove(&(generation, environment));
        }
    }

    /// What changed since a generation that this run of control gave out.
    pub fn since(&self, after: u64) -> Since {
        if after < self.forgotten {
            return Since::Whole;
        }
        let Some(next) = after.checked_add(1) else {
            return Since::Whole;
        };
        let changed = self.changes.range((next, EnvironmentId::from_parts(0, 0))..);
        let told = changed.map(|(_, environment)| (*environment, self.there.contains_key(environment)));
        Since::Changed(told.collect())
    }

    /// The sum of the digests of all environments that are there.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The environments that are there.
    pub fn environments(&self) -> impl Iterator<Item = EnvironmentId> {
        self.there.keys().copied()
    }
}

/// What a node has.
#[derive(Debug, Default)]
pub struct Replica {
    epoch: u64,
    generation: u64,
    digests: HashMap<EnvironmentId, u64>,
    digest: u64,
}

/// Why a batch is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It follows on something else than what is there: it came late, or is from another run of
    /// control.
    #[error("it does not follow on what the node has; the node asks anew")]
    Misplaced,
}

/// What a batch changes.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Numbers of the batch's lines that say something new.
    pub changed: Vec<usize>,
    /// Environments that were there and are not any more.
    pub gone: Vec<EnvironmentId>,
    /// Whether all that is there has the digest that control says. Otherwise something was lost, and
    /// everything should be asked for.
    pub is_right: bool,
}

impl Replica {
    /// The run of control that the newest batch is of; 0 before the first one.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The generation of the newest batch; 0 before the first one.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Takes a batch, whose lines are in `text`. The caller has to carry out what is given back.
    ///
    /// # Errors
    /// It does not follow on what is there; then nothing has changed.
    pub fn take(&mut self, batch: &Batch, text: &[u8]) -> Result<Taken, Refusal> {
        let head = &batch.head;
        if head
            .after
            .is_some_and(|after| (head.epoch, after) != (self.epoch, self.generation))
        {
            return Err(Refusal::Misplaced);
        }
        let mut taken = Taken::default();
        let mut stale = match head.after {
            Some(_) => HashMap::new(),
            None => {
                self.digest = 0;
                std::mem::take(&mut self.digests)
            }
        };
        for (number, (environment, range, is_there)) in batch.lines.iter().enumerate() {
            let before = stale.remove(environment).or_else(|| {
                let before = self.digests.remove(environment)?;
                self.digest = self.digest.wrapping_sub(before);
                Some(before)
            });
            if !is_there {
                taken.gone.extend(before.map(|_| *environment));
                continue;
            }
            let digest = line_digest(&text[range.clone()]);
            self.digests.insert(*environment, digest);
            self.digest = self.digest.wrapping_add(digest);
            if before != Some(digest) {
                taken.changed.push(number);
            }
        }
        taken.gone.extend(stale.into_keys());
        (self.epoch, self.generation) = (head.epoch, head.generation);
        taken.is_right = self.digest == head.digest;
        Ok(taken)
    }

    /// The line of an environment could not be carried out: it is asked for again, with everything.
    pub fn misread(&mut self, environment: EnvironmentId) {
        if let Some(digest) = self.digests.remove(&environment) {
            self.digest = self.digest.wrapping_sub(digest);
        }
        self.distrust();
    }

    /// What is there is not to be relied on: the next question is for everything.
    pub fn distrust(&mut self) {
        self.epoch = 0;
    }
}
