//! Tells of changes, across restarts of the engine.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::models::EventMessage;
use bollard::query_parameters::EventsOptionsBuilder;
use futures_util::StreamExt as _;
use weir_model::EnvironmentId;

use crate::{BoxStream, EngineEvent};

use super::{DockerEngine, names};

/// What may happen to a container that changes what is observed.
const ACTIONS: [&str; 8] = ["create", "start", "die", "oom", "pause", "unpause", "destroy", "restart"];
/// First pause before the engine is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// One connection after the other, until dropped.
enum Connection {
    /// None; the pause before the next attempt.
    Away(Duration),
    /// One that tells of events.
    Open(BoxStream<Result<EventMessage, bollard::errors::Error>>),
}

/// Begins with `Resync`, and says it again after every interruption.
pub(super) fn watch(engine: DockerEngine) -> BoxStream<EngineEvent> {
    let state = (engine, Connection::Away(Duration::ZERO), VecDeque::new());
    Box::pin(futures_util::stream::unfold(state, |(engine, mut connection, mut ready)| async move {
        loop {
            if let Some(event) = ready.pop_front() {
                return Some((event, (engine, connection, ready)));
            }
            connection = match connection {
                Connection::Away(pause) => {
                    tokio::time::sleep(pause).await;
                    match subscribe(&engine).await {
                        Some(events) => {
                            engine.firewall_ensure().await;
                            ready.push_back(EngineEvent::Resync);
                            Connection::Open(events)
                        }
                        None => Connection::Away((pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)),
                    }
                }
                Connection::Open(mut events) => match events.next().await {
                    Some(Ok(message)) => {
                        ready.extend(changed(&engine, &message));
                        Connection::Open(events)
                    }
                    Some(Err(_)) | None => {
                        tracing::info!("the container engine ended its stream of events; connecting again");
                        engine.forget_client();
                        Connection::Away(FIRST_PAUSE)
                    }
                },
            };
        }
    }))
}

/// Asks for events from an instant before now on: what happens between this answer and the
/// caller's next observation is among them, so nothing is missed.
async fn subscribe(engine: &DockerEngine) -> Option<BoxStream<Result<EventMessage, bollard::errors::Error>>> {
    let now = jiff::Timestamp::now().as_second();
    if let Err(error) = crate::Engine::ping(engine).await {
        tracing::debug!(%error, "the container engine cannot be watched yet");
        engine.forget_client();
        return None;
    }
    let docker = engine.docker().await.ok()?;
    let mut filters = engine.mine(None);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert("event".to_owned(), ACTIONS.map(str::to_owned).to_vec());
    let options = EventsOptionsBuilder::new().since(&(now - 1).to_string()).filters(&filters).build();
    Some(Box::pin(docker.events(Some(options))))
}

fn changed(engine: &DockerEngine, message: &EventMessage) -> Option<EngineEvent> {
    let actor = message.actor.as_ref()?;
    if let Some(id) = &actor.id {
        engine.shared.facts.forget(id);
    }
    let environment: EnvironmentId = actor.attributes.as_ref()?.get(names::ENVIRONMENT)?.parse().ok()?;
    Some(EngineEvent::Changed(environment))
}
