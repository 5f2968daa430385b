//! How much is in volumes: counted once for all who ask, for a bounded time, and told with the instant at
//! which it was so.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use weir_engine::files::{Amount, FileError, Tree};
use weir_model::{EnvironmentId, UnixMillis};

use super::VolumeError;
use crate::clock::Clock;

/// What was counted is not counted again for so long …
const COUNT_AGAIN_MS: i64 = 30_000;
/// … nor before so many times as long as the count took.
const COUNT_AGAIN_TIMES: i64 = 10;
/// … but after this at the latest.
const LONGEST_PAUSE_MS: i64 = 600_000;
/// Longest time of a count.
const LONGEST: Duration = Duration::from_secs(60);
/// Most volumes whose amounts are remembered.
const REMEMBERED: usize = 4096;

/// Of which volume: its environment, and its name there.
type Key = (EnvironmentId, String);

/// How much is in a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counted {
    /// When it was so.
    pub(crate) at_ms: UnixMillis,
    /// How much.
    pub(crate) amount: Amount,
    /// Everything was counted; otherwise there is at least so much.
    pub(crate) whole: bool,
}

/// What a count has found so far.
#[derive(Debug, Clone, Default)]
pub(super) struct SoFar(Arc<Mutex<Amount>>);

impl SoFar {
    fn set(&self, amount: Amount) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = amount;
    }

    fn get(&self) -> Amount {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts for a bounded time. Says whether that was everything. Blocks.
    pub(super) fn count(&self, tree: &Tree) -> Result<bool, FileError> {
        let began = std::time::Instant::now();
        let mut whole = true;
        let amount = tree.amount(|so_far| {
            self.set(so_far);
            whole = began.elapsed() < LONGEST;
            match whole {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(()),
            }
        })?;
        self.set(amount);
        Ok(whole)
    }
}

#[derive(Debug, Default)]
struct Entry {
    known: Option<Counted>,
    again_ms: UnixMillis,
    /// The count that is under way: what it has found, and when it ends.
    running: Option<(SoFar, watch::Receiver<()>)>,
}

/// What was counted, and what is being counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    entries: Mutex<HashMap<Key, Entry>>,
}

impl Counts {
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is in a volume. Where that is not known, or was long ago, `count` is begun, unless it is
    /// under way; it goes on to its end, and is waited for until `until`.
    pub(super) async fn get<F>(
        self: &Arc<Self>,
        key: Key,
        clock: &Arc<dyn Clock>,
        until: Instant,
        count: impl FnOnce(SoFar) -> F,
    ) -> Counted
    where
        F: Future<Output = Result<bool, VolumeError>> + Send + 'static,
    {
        let asked_ms = clock.now_ms();
        let (so_far, mut ended) = {
            let mut entries = self.entries();
            if entries.len() >= REMEMBERED && !entries.contains_key(&key) {
                entries.retain(|_, entry| entry.running.is_some());
            }
            let entry = entries.entry(key.clone()).or_default();
            match (&entry.running, entry.known) {
                (None, Some(known)) if known.at_ms <= asked_ms && asked_ms < entry.again_ms => return known,
                (Some(running), _) => running.clone(),
                (None, _) => {
                    let (end, ended) = watch::channel(());
                    let running = (SoFar::default(), ended);
                    entry.running = Some(running.clone());
                    let counting = count(running.0.clone());
                    tokio::spawn(Arc::clone(self).keep(key.clone(), Arc::clone(clock), counting, end));
                    running
                }
            }
        };
        // It is told by the end of the sender.
        let _ended = tokio::time::timeout_at(until, ended.changed()).await;
        let known = self.entries().get(&key).and_then(|entry| entry.known);
        known.unwrap_or_else(|| Counted {
            at_ms: clock.now_ms(),
            amount: so_far.get(),
            whole: false,
        })
    }

    async fn keep(
        self: Arc<Self>,
        key: Key,
        clock: Arc<dyn Clock>,
        counting: impl Future<Output = Result<bool, VolumeError>>,
        end: watch::Sender<()>,
    ) {
        let began_ms = clock.now_ms();
        let counted = counting.await;
        let at_ms = clock.now_ms();
        let took_ms = at_ms.saturating_sub(began_ms).max(0);
        // It may have waited for its turn most of that time.
        let pause_ms = took_ms.saturating_mul(COUNT_AGAIN_TIMES).min(LONGEST_PAUSE_MS);
        let mut entries = self.entries();
        if let Some(entry) = entries.get_mut(&key) {
            let amount = entry.running.take().map(|(so_far, _)| so_far.get()).unwrap_or_default();
            let now = |whole| Counted { at_ms, amount, whole };
            let known = match (counted, entry.known) {
                (Ok(whole), _) => now(whole),
                (Err(error), known) => {
                    tracing::info!(%error, environment = %key.0, volume = key.1, "what is in a volume cannot be counted");
                    // What was known is nearer to the truth.
                    known.unwrap_or(now(false))
                }
            };
            entry.known = Some(Counted { at_ms, ..known });
            entry.again_ms = at_ms.saturating_add(COUNT_AGAIN_MS.max(pause_ms));
        }
        drop(entries);
        drop(end);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    #[derive(Debug, Default)]
    struct Hand(AtomicI64);

    impl Clock for Hand {
        fn now_ms(&self) -> i64 {
            self.0.load(Ordering::SeqCst)
        }

        fn random(&self) -> u128 {
            7
        }
    }

    fn files(files: u64) -> Amount {
        Amount { files, bytes: 0 }
    }

    fn key() -> Key {
        (EnvironmentId::from_parts(1, 1), "data".to_owned())
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(500)
    }

    #[tokio::test]
    async fn all_who_ask_wait_for_one_count_and_none_longer_than_he_likes() {
        let (counts, hand) = (Arc::new(Counts::default()), Arc::new(Hand::default()));
        let clock: Arc<dyn Clock> = hand.clone();
        let begun = Arc::new(AtomicUsize::new(0));
        let (finish, finished) = oneshot::channel::<()>();
        let finished = Arc::new(Mutex::new(Some(finished)));
        let count = |so_far: SoFar| {
            begun.fetch_add(1, Ordering::SeqCst);
            let finished = finished.lock().unwrap().take();
            async move {
                so_far.set(files(3));
                finished.unwrap().await.unwrap();
                so_far.set(files(9));
                Ok(true)
            }
        };
        let asking = (0..20).map(|_| counts.get(key(), &clock, soon(), count));
        let told = futures_util::future::join_all(asking).await;
        assert!(told.iter().all(|it| it.amount == files(3) && !it.whole), "{told:?}");
        assert_eq!(begun.load(Ordering::SeqCst), 1);

        // It is as of its end, and holds ten times as long as it took.
        hand.0.store(10_000, Ordering::SeqCst);
        finish.send(()).unwrap();
        let whole = Counted {
            at_ms: 10_000,
            amount: files(9),
            whole: true,
        };
        assert_eq!(counts.get(key(), &clock, soon(), count).await, whole);
        hand.0.store(109_999, Ordering::SeqCst);
        assert_eq!(counts.get(key(), &clock, soon(), count).await, whole);
        assert_eq!(begun.load(Ordering::SeqCst), 1);

        // While it is counted anew, what was counted before is told, with its instant.
        hand.0.store(110_000, Ordering::SeqCst);
        let (finish, finished_again) = oneshot::channel::<()>();
        *finished.lock().unwrap() = Some(finished_again);
        assert_eq!(counts.get(key(), &clock, soon(), count).await, whole);
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        drop(finish);
    }

    #[tokio::test]
    async fn a_count_that_fails_tells_how_far_it_came_and_is_not_begun_at_once_again() {
        let (counts, clock): (_, Arc<dyn Clock>) = (Arc::new(Counts::default()), Arc::new(Hand::default()));
        let count = |so_far: SoFar| async move {
            so_far.set(files(5));
            Err(VolumeError::Busy("too much".to_owned()))
        };
        let told = counts.get(key(), &clock, soon(), count).await;
        assert_eq!((told.amount, told.whole), (files(5), false));
        let never = |_: SoFar| async { panic!("it was begun again") };
        let told = counts.get(key(), &clock, soon(), never).await;
        assert_eq!(told.amount, files(5));
    }
}
