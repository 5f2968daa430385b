//! Tells of changes, across restarts of the engine.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::Method;
use serde::Deserialize;
use weir_model::EnvironmentId;

use crate::{BoxStream, Engine as _, EngineError, EngineEvent};

use super::{DockerEngine, names, raw};

/// What may happen to a container that changes what is observed.
const ACTIONS: [&str; 8] = [
    "create", "start", "die", "oom", "pause", "unpause", "destroy", "restart",
];
/// First pause before the engine is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A longer event is none.
const LONGEST_EVENT: usize = 1 << 20;

/// An event, as far as it matters.
#[derive(Debug, Deserialize)]
struct Message {
    #[serde(rename = "Actor")]
    actor: Actor,
}

#[derive(Debug, Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "Attributes", default)]
    attributes: HashMap<String, String>,
}

/// One connection after the other, until dropped.
enum Connection {
    /// None; the pause before the next attempt.
    Away(Duration),
    /// One that tells of events, with what was read of the next one.
    Open(BoxStream<Result<Bytes, EngineError>>, BytesMut),
}

/// Begins with `Resync`, and says it again after every interruption.
pub(super) fn watch(engine: DockerEngine) -> BoxStream<EngineEvent> {
    let state = (engine, Connection::Away(Duration::ZERO), VecDeque::new());
    Box::pin(futures_util::stream::unfold(
        state,
        |(engine, mut connection, mut ready)| async move {
            loop {
                if let Some(event) = ready.pop_front() {
                    return Some((event, (engine, connection, ready)));
                }
                connection = match connection {
                    Connection::Away(pause) => {
                        tokio::time::sleep(pause).await;
                        match subscribe(&engine).await {
                            Ok(events) => {
                                engine.firewall_ensure().await;
                                ready.push_back(EngineEvent::Resync);
                                Connection::Open(events, BytesMut::new())
                            }
                            Err(error) => {
                                tracing::debug!(%error, "the container engine cannot be watched yet");
                                engine.forget_client();
                                Connection::Away((pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE))
                            }
                        }
                    }
                    Connection::Open(mut events, mut buffer) => match events.next().await {
                        Some(Ok(bytes)) if buffer.len() + bytes.len() <= LONGEST_EVENT => {
                            buffer.extend_from_slice(&bytes);
                            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                                ready.extend(changed(&engine, &buffer.split_to(end + 1)));
                            }
                            Connection::Open(events, buffer)
                        }
                        _ended => {
                            tracing::info!("the container engine ended its stream of events; connecting again");
                            engine.forget_client();
                            Connection::Away(FIRST_PAUSE)
                        }
                    },
                };
            }
        },
    ))
}

/// Asks for events from an instant before now on: what happens between this answer and the
/// caller's next observation is among them, so nothing is missed.
async fn subscribe(engine: &DockerEngine) -> Result<BoxStream<Result<Bytes, EngineError>>, EngineError> {
    let since = jiff::Timestamp::now().as_second() - 1;
    engine.ping().await?;
    let mut filters = engine.mine(None);
    filters.insert("type".to_owned(), vec!["container".to_owned()]);
    filters.insert("event".to_owned(), ACTIONS.map(str::to_owned).to_vec());
    let filters = serde_json::to_string(&filters).map_err(|error| EngineError::Refused(error.to_string()))?;
    let path = format!("{}/events", engine.client().await?.prefix);
    let target = raw::path_with_query(&path, &[("since", since.to_string()), ("filters", filters)]);
    let response = raw::send_soon(
        engine.socket(),
        Method::GET,
        &target,
        None,
        raw::Upgrade::None,
        raw::empty(),
    )
    .await?;
    Ok(response.stream())
}

fn changed(engine: &DockerEngine, line: &[u8]) -> Option<EngineEvent> {
    let message: Message = serde_json::from_slice(line).ok()?;
    engine.shared.facts.forget(&message.actor.id);
    let environment: EnvironmentId = message.actor.attributes.get(names::ENVIRONMENT)?.parse().ok()?;
    Some(EngineEvent::Changed(environment))
}
