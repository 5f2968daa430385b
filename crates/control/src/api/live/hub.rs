//! What is watched, worked out once for all who watch it. A topic is looked at as long as somebody
//! watches it, and by one task; what each may see of it is left out afterwards, once for all who may
//! see the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::StatusCode;
use tokio::sync::{Semaphore, watch};
use tracing::Instrument as _;
use weir_model::policy::Rights;
use weir_model::{AccountId, EnvironmentId, UnixMillis};

use super::content::Content;
use crate::api::error::ApiError;
use crate::api::overview::Releases;
use crate::context::Context;

/// Most topics that are looked at. What is of one account takes half of what is still free, so that
/// those who want more than there is come to equal shares; a few it always gets.
const TOPICS: usize = 2_000;
const FEW_TOPICS: usize = 32;
/// So many are worked out at once; what else control does goes on beside.
const AT_ONCE: usize = 2;
/// Different rights for which a state is kept as text; for others it is written anew.
const KEPT: usize = 64;
/// Most streams in all, and of one person or token, likewise.
const STREAMS: usize = 4_096;
const STREAMS_OF_ONE: usize = 1_024;
const FEW_STREAMS: usize = 8;
/// Longest wait of somebody who asks once.
const PATIENCE: Duration = Duration::from_secs(20);

/// What can be watched, by identity: what is made anew under an old name is something else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::api) enum Topic {
    Overview,
    Environment(EnvironmentId),
    Releases(EnvironmentId),
    Domains(EnvironmentId),
    Caps,
    /// In these accounts, projects and environments; `None`: everywhere.
    Tasks(Option<Vec<String>>),
}

impl Topic {
    /// The least time between two looks.
    fn pause(&self) -> Duration {
        match self {
            Self::Overview | Self::Caps => Duration::from_secs(2),
            _ => Duration::from_millis(500),
        }
    }
}

/// How a topic is, as it was seen once.
#[derive(Debug)]
pub(in crate::api) struct State {
    /// It was so then, or newer.
    pub(in crate::api) at_ms: UnixMillis,
    content: Result<Content, ApiError>,
    shown: Mutex<Vec<(Rights, Arc<str>)>>,
}

impl State {
    /// As JSON, what somebody may see of it. Fails for good when what it is about is gone.
    pub(in crate::api) fn seen_by(&self, rights: &Rights) -> Result<Arc<str>, ApiError> {
        let content = self.content.as_ref().map_err(Clone::clone)?;
        let mut shown = lock(&self.shown);
        if let Some((_, text)) = shown.iter().find(|(of, _)| of == rights) {
            return Ok(text.clone());
        }
        let text: Arc<str> = content.seen_by(rights)?.into();
        if shown.len() < KEPT {
            shown.push((rights.clone(), text.clone()));
        }
        Ok(text)
    }
}

type Source = watch::Sender<Option<Arc<State>>>;
/// A source, with the account whose its topic is.
type Kept = (Option<AccountId>, Arc<Source>);
/// Where the states of a topic arrive; `None` until the first one is known.
pub(in crate::api) type Watched = watch::Receiver<Option<Arc<State>>>;

/// All that is watched; cheap to clone.
#[derive(Debug, Clone)]
pub struct Live {
    shared: Arc<Shared>,
    pub(in crate::api) releases: Arc<Releases>,
}

#[derive(Debug)]
struct Shared {
    sources: Mutex<HashMap<Topic, Kept>>,
    turns: Semaphore,
    streams: AtomicUsize,
    streams_of: Mutex<HashMap<String, usize>>,
}

impl Default for Live {
    fn default() -> Self {
        let shared = Shared {
            sources: Mutex::default(),
            turns: Semaphore::new(AT_ONCE),
            streams: AtomicUsize::new(0),
            streams_of: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            releases: Arc::default(),
        }
    }
}

impl Live {
    /// Watches a topic, whose look begins with the first who watches it. Whether they may is decided
    /// before. `account` is whose it is, if it is of one.
    pub(super) fn watch(
        &self,
        context: &Context,
        topic: Topic,
        account: Option<AccountId>,
    ) -> Result<Watched, ApiError> {
        let mut sources = lock(&self.shared.sources);
        let own = sources.values().filter(|(of, _)| *of == account).count();
        let fair = (TOPICS.saturating_sub(sources.len()) / 2).max(FEW_TOPICS);
        let full = own >= fair || sources.len() >= 2 * TOPICS;
        match sources.entry(topic) {
            Entry::Occupied(entry) => Ok(entry.get().1.subscribe()),
            Entry::Vacant(_) if full => Err(busy("too many different things are watched at this moment")),
            Entry::Vacant(entry) => {
                let source = Arc::new(watch::Sender::new(None));
                let look = Look {
                    live: self.clone(),
                    topic: entry.key().clone(),
                    source: source.clone(),
                };
                let watched = source.subscribe();
                entry.insert((account, source));
                tokio::spawn(look.run(context.clone()).instrument(tracing::info_span!("live topic")));
                Ok(watched)
            }
        }
    }

    /// What somebody may see of a topic, two seconds old at most.
    pub(in crate::api) async fn now(
        &self,
        context: &Context,
        topic: Topic,
        rights: &Rights,
    ) -> Result<Arc<str>, ApiError> {
        let mut watched = self.watch(context, topic, None)?;
        let known = tokio::time::timeout(PATIENCE, watched.wait_for(Option::is_some)).await;
        let state = known.ok().and_then(Result::ok).and_then(|state| state.clone());
        match state {
            Some(state) => state.seen_by(rights),
            None => Err(busy("Weir does not come to look at it")),
        }
    }

    /// A place for a stream; it is free again when it is dropped.
    pub(super) fn seat(&self, identity: String) -> Result<Seat, ApiError> {
        let mut streams_of = lock(&self.shared.streams_of);
        let own = streams_of.entry(identity.clone()).or_default();
        let all = self.shared.streams.load(Ordering::Relaxed);
        let fair = (STREAMS.saturating_sub(all) / 2).clamp(FEW_STREAMS, STREAMS_OF_ONE);
        if *own >= fair || all >= 2 * STREAMS {
            if *own == 0 {
                streams_of.remove(&identity);
            }
            let mut error = ApiError::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-streams",
                "too many streams are open",
            );
            error.retry_after_s = Some(10);
            return Err(error.with_hint("close pages that nobody looks at"));
        }
        *own += 1;
        self.shared.streams.fetch_add(1, Ordering::Relaxed);
        Ok(Seat {
            shared: self.shared.clone(),
            identity,
        })
    }
}

/// The place of a stream.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    identity: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.shared.streams.fetch_sub(1, Ordering::Relaxed);
        let mut streams_of = lock(&self.shared.streams_of);
        if let Some(own) = streams_of.get_mut(&self.identity) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                streams_of.remove(&self.identity);
            }
        }
    }
}

/// The one who looks at a topic.
struct Look {
    live: Live,
    topic: Topic,
    source: Arc<Source>,
}

impl Look {
    async fn run(self, context: Context) {
        let mut failing = false;
        loop {
            let began = tokio::time::Instant::now();
            match self.look(&context).await {
                Ok(state) => {
                    failing = false;
                    self.source.send_replace(Some(Arc::new(state)));
                }
                // Those who watch see that nothing comes, and as of when it is what they see.
                Err(error) if !failing => {
                    failing = true;
                    tracing::warn!(topic = ?self.topic, error = ?error.cause.as_ref().unwrap_or(&error.title), "what is shown live cannot be looked at");
                }
                Err(_) => {}
            }
            // What takes long is looked at less often: a third of the time at most.
            let pause = self.topic.pause().max(began.elapsed() * 2);
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = context.stop.cancelled() => return,
            }
            // Only now, so that those who ask once, one after the other, share a look, too.
            if self.leave() {
                return;
            }
        }
    }

    async fn look(&self, context: &Context) -> Result<State, ApiError> {
        // Never closed, so there is always a turn.
        let _turn = self.live.shared.turns.acquire().await.map_err(ApiError::internal)?;
        let at_ms = context.clock.now_ms();
        let content = match Content::look(context, &self.live.releases, &self.topic).await {
            Err(error) if error.status != StatusCode::NOT_FOUND => return Err(error),
            other => other,
        };
        Ok(State {
            at_ms,
            content,
            shown: Mutex::default(),
        })
    }

    /// Says whether nobody watches any more, and it is forgotten.
    fn leave(&self) -> bool {
        let mut sources = lock(&self.live.shared.sources);
        if self.source.receiver_count() > 0 {
            return false;
        }
        sources.remove(&self.topic);
        true
    }
}

impl Drop for Look {
    /// Also where it broke off: whoever watches comes back and begins it anew.
    fn drop(&mut self) {
        let mut sources = lock(&self.live.shared.sources);
        if sources
            .get(&self.topic)
            .is_some_and(|(_, source)| Arc::ptr_eq(source, &self.source))
        {
            sources.remove(&self.topic);
        }
    }
}

fn busy(words: &str) -> ApiError {
    let mut error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", words);
    error.retry_after_s = Some(5);
    error.with_hint("try again in a moment")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is changed in single steps, so it is good after a panic too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_opens_many_streams_leaves_some_to_others() {
        let live = Live::default();
        let mut seats = Vec::new();
        let mut greedy = 0;
        for one in 0..6 {
            while let Ok(seat) = live.seat(format!("tok_{one}")) {
                seats.push(seat);
                greedy += 1;
            }
        }
        assert!(greedy < STREAMS, "{greedy}");
        let seat = live.seat("usr_1".to_owned()).expect("nothing is left for a newcomer");
        drop(seat);
        drop(seats);
        assert_eq!(live.shared.streams.load(Ordering::Relaxed), 0);
        assert!(lock(&live.shared.streams_of).is_empty());
    }
}
