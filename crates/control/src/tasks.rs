//! Tasks and changes: written to the store first, then told to those who watch.
//!
//! A build may write thousands of lines a second. They pass through one bounded queue to one
//! writer, which puts all that waits into one transaction a task; when the store is slower
//! than the build, the build waits. Watchers are only told *that* something is new and read it
//! from the store behind the last line that they have: so they miss nothing and see nothing
//! twice, whether they lag, reconnect, or control was restarted in between.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use weir_model::task::{LineKind, Task, TaskKind, TaskLine, TaskState};
use weir_model::{EnvironmentId, ProjectId, TaskId};
use weir_store::{Change, Store, StoreError};

use crate::clock::Clock;

/// Lines that may wait for the writer; whoever writes more waits.
const QUEUE: usize = 4096;
/// Most that the writer puts into one transaction.
const BATCH: usize = 1000;
/// Most lines that a watcher reads at once.
const PAGE: i64 = 500;
/// Longest text of a line, in bytes.
const LINE_BYTES: usize = 4096;
/// A watcher looks into the store this often even if nobody told it of anything.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How often a write is tried while the store says that trying again may help.
const ATTEMPTS: u32 = 5;

/// Handle to tasks and changes; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tasks {
    shared: Arc<Shared>,
    queue: mpsc::Sender<Order>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    clock: Arc<dyn Clock>,
    news: broadcast::Sender<TaskId>,
    changes: watch::Sender<i64>,
}

/// What the writer is to do, in this order.
#[derive(Debug)]
enum Order {
    Line {
        task: TaskId,
        kind: LineKind,
        text: String,
    },
    Step {
        task: TaskId,
        text: String,
        written: oneshot::Sender<()>,
    },
    End {
        task: TaskId,
        state: TaskState,
        error: Option<String>,
        written: oneshot::Sender<()>,
    },
    Flush {
        written: oneshot::Sender<()>,
    },
}

/// What a watcher of a task sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TaskEvent {
    /// The next line.
    Line(TaskLine),
    /// The task has ended; nothing follows.
    End(Task),
    /// The store failed; nothing follows. Watching again behind the last line may help.
    Lost,
}

impl Tasks {
    /// Starts the writer, which ends once every handle is dropped and all is written.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        let (queue, orders) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            store,
            clock,
            news: broadcast::channel(1024).0,
            changes: watch::channel(0).0,
        });
        let writer = Writer {
            shared: shared.clone(),
            waiting: HashMap::new(),
        };
        tokio::spawn(tracing::Instrument::instrument(
            writer.run(orders),
            tracing::info_span!("task writer"),
        ));
        Self { shared, queue }
    }

    /// Writes down a new task that waits for its turn, with who asks for it.
    pub async fn create(
        &self,
        kind: TaskKind,
        project: ProjectId,
        environment: Option<EnvironmentId>,
        title: &str,
    ) -> Result<Task, StoreError> {
        let now_ms = self.shared.clock.now_ms();
        let task = Task {
            id: TaskId::from_parts(now_ms, self.shared.clock.random()),
            kind,
            project,
            environment,
            title: title.to_owned(),
            state: TaskState::Queued,
            step: String::new(),
            error: None,
            created_ms: now_ms,
            ended_ms: None,
        };
        let asker = crate::asker::current();
        self.shared.store.task_insert_for(&task, asker.as_deref()).await?;
        Ok(task)
    }

    /// Adds a line to a task and tells watchers; several where the text has line breaks.
    /// Waits only while the queue is full. Failures of the store are logged, not returned: a
    /// lost line must not stop a deployment.
    pub async fn line(&self, task: TaskId, kind: LineKind, text: &str) {
        for text in text.trim_end_matches(['\n', '\r']).split('\n') {
            self.send(Order::Line {
                task,
                kind,
                text: cut(text.trim_end_matches('\r')),
            })
            .await;
        }
    }

    /// Says which step a task is at; also marks it running, and adds a `Step` line. Returns
    /// once it is written.
    pub async fn step(&self, task: TaskId, text: &str) {
        let (written, done) = oneshot::channel();
        self.send(Order::Step {
            task,
            text: cut(text),
            written,
        })
        .await;
        let _ = done.await;
    }

    /// Ends a task; later ends are ignored. `error` goes to the line log too. Returns once it
    /// is written.
    pub async fn end(&self, task: TaskId, state: TaskState, error: Option<&str>) {
        let (written, done) = oneshot::channel();
        self.send(Order::End {
            task,
            state,
            error: error.map(ToOwned::to_owned),
            written,
        })
        .await;
        let _ = done.await;
    }

    /// Returns once everything given so far is written.
    pub async fn flush(&self) {
        let (written, done) = oneshot::channel();
        self.send(Order::Flush { written }).await;
        let _ = done.await;
    }

    /// Records a change of state and tells watchers.
    pub async fn change(&self, project: &str, environment: Option<&str>, kind: &str, message: &str) {
        let now_ms = self.shared.clock.now_ms();
        match self
            .shared
            .store
            .change_insert(now_ms, project, environment, kind, message)
            .await
        {
            Ok(change) => {
                self.shared.changes.send_if_modified(|last| {
                    let newer = change.sequence > *last;
                    *last = (*last).max(change.sequence);
                    newer
                });
            }
            Err(error) => tracing::warn!(change.kind = kind, %error, "a change of state could not be recorded"),
        }
    }

    /// The lines of a task behind a sequence, then new ones as they come, then its end.
    pub fn follow(&self, task: TaskId, after: i64) -> impl Stream<Item = TaskEvent> + Send + use<> {
        let news = self.shared.news.subscribe();
        let follower = Follower {
            shared: self.shared.clone(),
            news,
            task,
            after,
            ready: Vec::new().into_iter(),
            over: false,
        };
        futures_util::stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await?;
            Some((event, follower))
        })
    }

    /// The sequence of the newest change; 0 if there is none.
    pub async fn newest_change(&self) -> Result<i64, StoreError> {
        let mut newest = *self.shared.changes.borrow();
        loop {
            match self.shared.store.change_list(newest, PAGE).await?.last() {
                Some(change) => newest = change.sequence,
                None => return Ok(newest),
            }
        }
    }

    /// Changes behind a sequence, then new ones as they come. Ends only if the store fails.
    pub fn changes(&self, after: i64) -> impl Stream<Item = Change> + Send + use<> {
        let ready: std::vec::IntoIter<Change> = Vec::new().into_iter();
        let state = (self.shared.clone(), self.shared.changes.subscribe(), after, ready);
        futures_util::stream::unfold(state, |(shared, mut news, after, mut ready)| async move {
            loop {
                if let Some(change) = ready.next() {
                    let after = change.sequence;
                    return Some((change, (shared, news, after, ready)));
                }
                news.borrow_and_update();
                ready = shared.store.change_list(after, PAGE).await.ok()?.into_iter();
                if ready.len() == 0 && matches!(tokio::time::timeout(LOOK_AGAIN, news.changed()).await, Ok(Err(_))) {
                    return None;
                }
            }
        })
    }

    async fn send(&self, order: Order) {
        if self.queue.send(order).await.is_err() {
            tracing::error!("the writer of task lines has ended; a line is lost");
        }
    }
}

/// Shortens a line to what may be kept, at the border of a character.
fn cut(text: &str) -> String {
    // NUL cannot be kept in PostgreSQL's text.
    let text = text.replace('\0', "\u{fffd}");
    if text.len() <= LINE_BYTES {
        return text;
    }
    let end = text.floor_char_boundary(LINE_BYTES - 16);
    format!("{} … (cut)", &text[..end])
}

struct Follower {
    shared: Arc<Shared>,
    news: broadcast::Receiver<TaskId>,
    task: TaskId,
    after: i64,
    ready: std::vec::IntoIter<TaskLine>,
    over: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<TaskEvent> {
        loop {
            if self.over {
                return None;
            }
            if let Some(line) = self.ready.next() {
                self.after = line.sequence;
                return Some(TaskEvent::Line(line));
            }
            match self.read().await {
                Ok(Some(end)) => {
                    self.over = true;
                    return Some(TaskEvent::End(end));
                }
                Ok(None) if self.ready.len() == 0 => self.wait().await,
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(task.id = %self.task, %error, "a watcher of a task lost it");
                    self.over = true;
                    return Some(TaskEvent::Lost);
                }
            }
        }
    }

    /// Reads the next lines; gives the task if it has ended and there are none. The task is
    /// read before the lines, so that none written before its end is missed.
    async fn read(&mut self) -> Result<Option<Task>, StoreError> {
        let task = self.shared.store.task_by_id(self.task).await?;
        let lines = self.shared.store.task_lines(self.task, self.after, PAGE).await?;
        let over = lines.is_empty();
        self.ready = lines.into_iter();
        match task {
            Some(task) if over && task.state.is_ended() => Ok(Some(task)),
            Some(_) => Ok(None),
            None => Err(StoreError::NotFound(format!("task {}", self.task))),
        }
    }

    async fn wait(&mut self) {
        let deadline = tokio::time::sleep(LOOK_AGAIN);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                news = self.news.recv() => match news {
                    Ok(task) if task != self.task => {}
                    Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                    Err(broadcast::error::RecvError::Closed) => {
                        deadline.as_mut().await;
                        return;
                    }
                },
                () = &mut deadline => return,
            }
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    waiting: HashMap<TaskId, Vec<(LineKind, String)>>,
}

impl Writer {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        let mut batch = Vec::with_capacity(BATCH);
        while orders.recv_many(&mut batch, BATCH).await > 0 {
            for order in batch.drain(..) {
                self.obey(order).await;
            }
            self.write_all().await;
        }
    }

    async fn obey(&mut self, order: Order) {
        match order {
            Order::Line { task, kind, text } => self.waiting.entry(task).or_default().push((kind, text)),
            Order::Step { task, text, written } => {
                self.waiting
                    .entry(task)
                    .or_default()
                    .push((LineKind::Step, text.clone()));
                self.write(task).await;
                let store = &self.shared.store;
                attempt("the step of a task", task, || {
                    store.task_set_step(task, TaskState::Running, &text)
                })
                .await;
                let _ = self.shared.news.send(task);
                let _ = written.send(());
            }
            Order::End {
                task,
                state,
                error,
                written,
            } => {
                self.end(task, state, error).await;
                let _ = written.send(());
            }
            Order::Flush { written } => {
                self.write_all().await;
                let _ = written.send(());
            }
        }
    }

    async fn end(&mut self, task: TaskId, state: TaskState, error: Option<String>) {
        // The line belongs to the end that counts, not to one that comes too late.
        let ended = matches!(self.shared.store.task_by_id(task).await, Ok(Some(task)) if task.state.is_ended());
        if ended {
            return;
        }
        if let Some(error) = &error {
            let lines = error.lines().map(|line| (LineKind::Error, cut(line)));
            self.waiting.entry(task).or_default().extend(lines);
        }
        self.write(task).await;
        let (store, now_ms) = (&self.shared.store, self.shared.clock.now_ms());
        attempt("the end of a task", task, || {
            store.task_end(task, state, error.as_deref(), now_ms)
        })
        .await;
        let _ = self.shared.news.send(task);
    }

    async fn write_all(&mut self) {
        let tasks: Vec<TaskId> = self.waiting.keys().copied().collect();
        for task in tasks {
            self.write(task).await;
        }
    }

    async fn write(&mut self, task: TaskId) {
        let Some(lines) = self.waiting.remove(&task) else {
            return;
        };
        let (store, now_ms) = (&self.shared.store, self.shared.clock.now_ms());
        attempt("lines of a task", task, || {
            store.task_lines_append(task, now_ms, &lines)
        })
        .await;
        let _ = self.shared.news.send(task);
    }
}

/// Writes something, a few times if the store says that this may help.
async fn attempt<T, F>(what: &str, task: TaskId, mut write: impl FnMut() -> F)
where
    F: Future<Output = Result<T, StoreError>>,
{
    for round in 1..=ATTEMPTS {
        match write().await {
            Ok(_) => return,
            Err(error) if error.retryable() && round < ATTEMPTS => {
                tokio::time::sleep(Duration::from_millis(50) * 2_u32.pow(round)).await;
            }
            Err(error) => {
                tracing::warn!(task.id = %task, %error, "{what} could not be written");
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let cut = cut(&"é".repeat(5000));
        assert!(cut.len() <= LINE_BYTES && cut.ends_with("(cut)"));
    }
}
