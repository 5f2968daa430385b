//! Who is next. Pushes to one environment take turns, and all builds of the machine share a few
//! places; those who wait, and those who are waited for, are told so.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use weir_model::deployment::DeploymentState;
use weir_model::task::LineKind;
use weir_model::{DeploymentId, EnvironmentId, TaskId};

use crate::context::Context;

/// Turns of all environments.
#[derive(Debug, Default)]
pub(super) struct Turns {
    queues: Mutex<HashMap<EnvironmentId, Queue>>,
}

/// The turn of one push or upload; the next one's begins when this is dropped.
#[derive(Debug)]
pub struct Turn {
    turns: Arc<Turns>,
    environment: EnvironmentId,
}

#[derive(Debug)]
struct Queue {
    at_work: Place,
    /// Set from the moment on at which the deployment is written down.
    deployment: Option<DeploymentId>,
    waiting: VecDeque<(Place, oneshot::Sender<Turn>)>,
}

#[derive(Debug, Clone)]
struct Place {
    task: TaskId,
    label: String,
}

/// Takes a push that gives up out of the queue.
struct Waiting {
    turns: Arc<Turns>,
    environment: EnvironmentId,
    task: TaskId,
}

impl Turns {
    /// Waits until all before are through. A push that is being deployed and has not begun to
    /// switch gives way at once.
    pub(super) async fn take(
        self: &Arc<Self>,
        context: &Context,
        environment: EnvironmentId,
        task: TaskId,
        label: &str,
    ) -> Turn {
        let turn = |turns: Arc<Self>| Turn { turns, environment };
        let place = Place {
            task,
            label: label.to_owned(),
        };
        let (sender, granted) = oneshot::channel();
        let (before, deployment, position) = {
            let mut queues = lock(&self.queues);
            let Some(queue) = queues.get_mut(&environment) else {
                queues.insert(
                    environment,
                    Queue {
                        at_work: place,
                        deployment: None,
                        waiting: VecDeque::new(),
                    },
                );
                return turn(self.clone());
            };
            queue.waiting.push_back((place, sender));
            (queue.at_work.clone(), queue.deployment, queue.waiting.len())
        };
        let waiting = Waiting {
            turns: self.clone(),
            environment,
            task,
        };
        let place = if position > 1 {
            format!(" (number {position} in the queue)")
        } else {
            String::new()
        };
        let text = format!(
            "Queued behind {}{place}: pushes to one environment take turns",
            before.label
        );
        context.tasks.line(task, LineKind::Step, &text).await;
        context
            .tasks
            .line(
                before.task,
                LineKind::Info,
                &format!("Another push is waiting: {label}"),
            )
            .await;
        if let Some(deployment) = deployment {
            supersede(context, environment, deployment, label).await;
        }
        let granted = granted.await;
        drop(waiting);
        // The sender goes unused only together with the whole queue, when nobody is at work.
        granted.unwrap_or_else(|_| turn(self.clone()))
    }

    fn release(self: &Arc<Self>, environment: EnvironmentId) {
        let next = {
            let mut queues = lock(&self.queues);
            let Some(queue) = queues.get_mut(&environment) else {
                return;
            };
            match queue.waiting.pop_front() {
                Some((place, sender)) => {
                    queue.at_work = place;
                    queue.deployment = None;
                    sender
                }
                None => {
                    queues.remove(&environment);
                    return;
                }
            }
        };
        // If the next one has given up, its turn comes back here, is dropped, and with that goes
        // to the one after it.
        drop(next.send(Turn {
            turns: self.clone(),
            environment,
        }));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(queue) = lock(&self.turns.queues).get_mut(&self.environment) {
            queue.waiting.retain(|(place, _)| place.task != self.task);
        }
    }
}

impl Turn {
    /// Says that the deployment is written down: from now on a newer push takes its place.
    pub(super) fn deploying(&self, deployment: DeploymentId) {
        if let Some(queue) = lock(&self.turns.queues).get_mut(&self.environment) {
            queue.deployment = Some(deployment);
        }
    }

    /// What waits for this to end, if anything does.
    pub(super) fn next(&self) -> Option<String> {
        let queues = lock(&self.turns.queues);
        queues
            .get(&self.environment)?
            .waiting
            .front()
            .map(|(place, _)| place.label.clone())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.release(self.environment);
    }
}

/// Takes a deployment's place if it has not begun to switch. Its task is ended by the
/// reconciler, as with every deployment.
pub(super) async fn supersede(context: &Context, environment: EnvironmentId, deployment: DeploymentId, by: &str) {
    let reason = format!("superseded by {by}");
    let before_switch = DeploymentState::ALL.into_iter().filter(|state| {
        matches!(
            state,
            DeploymentState::Pending
                | DeploymentState::Releasing
                | DeploymentState::Starting
                | DeploymentState::Holding
        )
    });
    for state in before_switch {
        let now_ms = context.clock.now_ms();
        let taken =
            context
                .store
                .deployment_advance(deployment, state, DeploymentState::Superseded, Some(&reason), now_ms);
        match taken.await {
            Ok(true) => {
                context.reconciler.wake(environment);
                return;
            }
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(deployment.id = %deployment, %error, "a deployment could not be superseded; the newer push waits for it");
                return;
            }
        }
    }
}

/// The places in which builds run.
#[derive(Debug)]
pub(super) struct BuildPlaces {
    places: Arc<Semaphore>,
    count: usize,
    /// Tasks that wait, first come first.
    waiting: watch::Sender<VecDeque<TaskId>>,
}

impl BuildPlaces {
    pub(super) fn new(count: usize) -> Self {
        let count = count.max(1);
        Self {
            places: Arc::new(Semaphore::new(count)),
            count,
            waiting: watch::Sender::new(VecDeque::new()),
        }
    }

    /// Waits for a place, and tells the task how many are before it.
    pub(super) async fn take(&self, context: &Context, task: TaskId) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Some(place);
        }
        let mut queue = self.waiting.subscribe();
        self.waiting.send_modify(|waiting| waiting.push_back(task));
        let left = LeaveOnDrop {
            waiting: &self.waiting,
            task,
        };
        let place = self.places.clone().acquire_owned();
        tokio::pin!(place);
        let mut told = None;
        loop {
            let position = queue
                .borrow_and_update()
                .iter()
                .position(|waiting| *waiting == task)
                .map(|index| index + 1);
            if position != told
                && let Some(position) = position
            {
                told = Some(position);
                let text = match self.count {
                    1 => format!("Waiting for another build to end (number {position} in the queue)"),
                    count => format!("Waiting: {count} builds run already (number {position} in the queue)"),
                };
                context.tasks.line(task, LineKind::Step, &text).await;
            }
            tokio::select! {
                place = &mut place => {
                    drop(left);
                    return place.ok();
                }
                Ok(()) = queue.changed() => {}
            }
        }
    }
}

struct LeaveOnDrop<'a> {
    waiting: &'a watch::Sender<VecDeque<TaskId>>,
    task: TaskId,
}

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.waiting
            .send_modify(|waiting| waiting.retain(|task| *task != self.task));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is changed in single steps, so it is good after a panic too.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
