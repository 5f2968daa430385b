//! Reads what instances write into the logs. One reader per instance, with a bounded batch in
//! memory and a bounded rate; what is over is counted, dropped and told. After a restart of
//! control each reader goes on behind the last line that was kept.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use weir_engine::{EngineError, EngineEvent, InstanceLabels, InstanceState, OutputChunk};
use weir_model::{EnvironmentId, InstanceId};

use super::limit::RateLimit;
use super::line::{self, Entry, Writer};
use super::{LogError, Logs, blocking, lock};

/// Most chunks that are taken at once.
const CHUNKS: usize = 256;
/// Pause before output is asked for again after it broke off.
const AGAIN: Duration = Duration::from_secs(1);
/// Changes of the engine within this time are looked at together.
const GATHER: Duration = Duration::from_millis(200);
/// Longest wait for the last lines of an instance that ended.
const LAST_LINES: Duration = Duration::from_secs(2);

impl Logs {
    /// Reads the output of all instances until `stop`: those that are there, and those that
    /// come.
    pub async fn collect(&self, stop: CancellationToken) {
        let mut events = self.shared.engine.watch();
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.next() => event,
            };
            let mut changed = BTreeSet::new();
            match event {
                Some(EngineEvent::Resync) => {
                    self.watch_all(None).await;
                    continue;
                }
                Some(EngineEvent::Changed(environment)) => changed.insert(environment),
                None => {
                    tokio::time::sleep(AGAIN).await;
                    events = self.shared.engine.watch();
                    continue;
                }
            };
            let until = tokio::time::Instant::now() + GATHER;
            let mut resync = false;
            while let Ok(Some(event)) = tokio::time::timeout_at(until, events.next()).await {
                match event {
                    EngineEvent::Changed(environment) => drop(changed.insert(environment)),
                    EngineEvent::Resync => resync = true,
                }
            }
            if resync {
                self.watch_all(None).await;
            } else {
                for environment in changed {
                    self.watch_all(Some(environment)).await;
                }
            }
        }
    }

    async fn watch_all(&self, environment: Option<EnvironmentId>) {
        let observed = match self.shared.engine.observe(environment).await {
            Ok(observed) => observed,
            Err(error) => {
                tracing::debug!(%error, "instances cannot be listed for their output; the engine will say when it is back");
                return;
            }
        };
        if environment.is_none() {
            let present: BTreeSet<InstanceId> = observed.iter().map(|instance| instance.labels.instance).collect();
            lock(&self.shared.watched).retain(|id, finished| present.contains(id) || !*finished.borrow());
        }
        for instance in observed
            .iter()
            .filter(|instance| instance.state != InstanceState::Created)
        {
            self.watch_instance(&instance.labels);
        }
    }

    /// Begins to read the output of an instance that was just started. Fine if it is read
    /// already. Must be called in a runtime.
    pub fn watch_instance(&self, labels: &InstanceLabels) {
        let mut watched = lock(&self.shared.watched);
        if watched.contains_key(&labels.instance) {
            return;
        }
        let (finished, receiver) = watch::channel(false);
        watched.insert(labels.instance, receiver);
        let (logs, labels) = (self.clone(), labels.clone());
        let span = tracing::info_span!("output", instance.id = %labels.instance);
        tokio::spawn(
            async move {
                logs.read_output(&labels).await;
                finished.send_replace(true);
            }
            .instrument(span),
        );
    }

    /// Returns once the output of an instance that ended is kept, after two seconds at most.
    pub async fn finish_instance(&self, instance: InstanceId) {
        let finished = lock(&self.shared.watched).get(&instance).cloned();
        if let Some(mut finished) = finished {
            // Read in any case before anybody looks for the last lines of the instance.
            let _ = tokio::time::timeout(LAST_LINES, finished.wait_for(|finished| *finished)).await;
        }
        self.flush().await;
    }

    async fn read_output(&self, labels: &InstanceLabels) {
        let mut limit = RateLimit::new();
        let (environment, app, instance) = (labels.environment, labels.app.clone(), labels.instance);
        let shared = self.shared.clone();
        let cursor = blocking(move || {
            let environment = shared.environment(environment)?;
            Ok::<_, LogError>(environment.app(&app)?.cursor(instance))
        });
        let mut cursor_ns = match cursor.await {
            Ok(cursor_ns) => cursor_ns,
            Err(error) => {
                tracing::warn!(instance.id = %instance, %error, "it is not known which output is kept already; reading it from the beginning");
                0
            }
        };
        loop {
            let broke_off = self.read_stream(labels, &mut cursor_ns, &mut limit).await;
            if lock(&self.shared.removed).contains(&labels.environment) {
                return;
            }
            match broke_off {
                Some(EngineError::NotFound(_)) => return,
                Some(error) => tracing::debug!(%error, "the output of an instance broke off; asking for it again"),
                None if !self.goes_on(labels).await => return,
                None => {}
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// Reads until the stream ends; the error says why it broke off.
    async fn read_stream(
        &self,
        labels: &InstanceLabels,
        cursor_ns: &mut i64,
        limit: &mut RateLimit,
    ) -> Option<EngineError> {
        let mut output = self
            .shared
            .engine
            .instance_output(labels.instance, *cursor_ns)
            .ready_chunks(CHUNKS);
        let mut broke_off = None;
        loop {
            // A flood that stops must not keep its last notice back.
            let chunks = match tokio::time::timeout(AGAIN, output.next()).await {
                Ok(Some(chunks)) => chunks,
                Ok(None) => break,
                Err(_) => {
                    self.tell_dropped(labels, *cursor_ns, limit.last_words()).await;
                    continue;
                }
            };
            let mut entries = Vec::with_capacity(chunks.len());
            for chunk in chunks {
                match chunk {
                    Ok(chunk) => {
                        *cursor_ns = chunk.at_ns.max(*cursor_ns);
                        keep(&mut entries, labels, &chunk, limit);
                    }
                    Err(error) => broke_off = Some(error),
                }
            }
            self.append_entries(labels.environment, &labels.app, entries).await;
            if broke_off.is_some() {
                break;
            }
        }
        self.tell_dropped(labels, *cursor_ns, limit.last_words()).await;
        broke_off
    }

    async fn tell_dropped(&self, labels: &InstanceLabels, at_ns: i64, words: Option<String>) {
        if let Some(words) = words {
            let entry = in_place(labels, at_ns, words);
            self.append_entries(labels.environment, &labels.app, vec![entry]).await;
        }
    }

    /// Whether an instance whose output ended still runs: then the engine was away for a moment.
    async fn goes_on(&self, labels: &InstanceLabels) -> bool {
        match self.shared.engine.observe(Some(labels.environment)).await {
            Ok(observed) => observed.iter().any(|instance| {
                instance.labels.instance == labels.instance
                    && matches!(instance.state, InstanceState::Running | InstanceState::Frozen)
            }),
            Err(_) => true,
        }
    }
}

/// Takes a chunk if the rate admits it.
fn keep(entries: &mut Vec<Entry>, labels: &InstanceLabels, chunk: &OutputChunk, limit: &mut RateLimit) {
    if limit.admits(chunk.at_ns, chunk.text.len()) {
        entries.push(Entry {
            at_ns: chunk.at_ns,
            instance: Some(labels.instance),
            process: labels.process.clone(),
            writer: Writer::from(chunk.stream),
            text: line::cut(&String::from_utf8_lossy(&chunk.text)),
        });
    }
    if let Some(words) = limit.notice(chunk.at_ns) {
        entries.push(in_place(labels, chunk.at_ns, words));
    }
}

fn in_place(labels: &InstanceLabels, at_ns: i64, words: String) -> Entry {
    Entry {
        at_ns,
        instance: Some(labels.instance),
        process: labels.process.clone(),
        writer: Writer::InPlace,
        text: words,
    }
}
