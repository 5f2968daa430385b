//! What really exists, from the engine's list of containers.
//!
//! The list does not say when a container was started or whether memory ran out; that takes a
//! question a container. Those answers are kept while the container stays what it is, so that
//! a quiet machine is observed with one call.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as Listed};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use futures_util::StreamExt as _;
use weir_model::{EnvironmentId, UnixMillis};

use crate::{EngineError, InstanceState, ObservedInstance};

use super::{DockerEngine, errors, names};

/// How long an answer about one container is believed without having seen an event: somebody
/// may restart it by hand.
const FACTS_TTL: Duration = Duration::from_secs(60);
/// So many containers are asked about at once.
const QUESTIONS_AT_ONCE: usize = 8;

/// What the list of containers leaves out.
#[derive(Debug, Clone, Copy)]
struct Facts {
    started_ms: UnixMillis,
    status: i64,
    out_of_memory: bool,
    asked: Instant,
}

/// Answers by container and by the state that it was in.
#[derive(Debug, Default)]
pub(super) struct FactsCache(Mutex<HashMap<(String, Phase), Facts>>);

/// The states whose facts do not change while they last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Created,
    Running,
    Frozen,
    Ended,
}

impl FactsCache {
    /// Something happened to a container: what is known of it may be wrong.
    pub(super) fn forget(&self, container: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .retain(|(id, _phase), _facts| id != container);
    }

    fn get(&self, container: &str, phase: Phase, now: Instant) -> Option<Facts> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known
            .get(&(container.to_owned(), phase))
            .copied()
            .filter(|facts| now - facts.asked < FACTS_TTL)
    }

    fn put(&self, container: String, phase: Phase, facts: Facts) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Containers come and go; what is too old to be believed is dropped, so that the table
        // stays as small as what exists.
        known.retain(|_key, old| facts.asked - old.asked < FACTS_TTL);
        known.insert((container, phase), facts);
    }
}

impl DockerEngine {
    /// Every container of this Weir, in the words of the trait.
    pub(super) async fn observe_containers(
        &self,
        environment: Option<EnvironmentId>,
    ) -> Result<Vec<ObservedInstance>, EngineError> {
        let docker = self.docker().await?;
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&self.mine(environment))
            .build();
        let listed = docker
            .list_containers(Some(options))
            .await
            .map_err(errors::from_client)?;
        let mut answers = futures_util::stream::iter(listed)
            .map(|summary| self.observe_one(&docker, summary))
            .buffered(QUESTIONS_AT_ONCE);
        let mut observed = Vec::new();
        while let Some(answer) = answers.next().await {
            observed.extend(answer?);
        }
        Ok(observed)
    }

    async fn observe_one(
        &self,
        docker: &Docker,
        summary: ContainerSummary,
    ) -> Result<Option<ObservedInstance>, EngineError> {
        let Some(id) = summary.id.clone() else { return Ok(None) };
        let Some(labels) = names::read_instance_labels(summary.labels.as_ref().unwrap_or(&HashMap::new())) else {
            tracing::warn!(
                container = id,
                "a container carries the label of this Weir and is not one of its instances"
            );
            return Ok(None);
        };
        let phase = match summary.state {
            Some(Listed::RUNNING | Listed::RESTARTING) => Phase::Running,
            Some(Listed::PAUSED) => Phase::Frozen,
            Some(Listed::CREATED | Listed::EMPTY) | None => Phase::Created,
            // One that is being removed, or could not be, has ended; removing it again is safe.
            Some(Listed::EXITED | Listed::REMOVING | Listed::DEAD) => Phase::Ended,
        };
        let now = Instant::now();
        let facts = match self.shared.facts.get(&id, phase, now) {
            Some(facts) => facts,
            None => match ask(docker, &id, now).await? {
                Some(facts) => {
                    self.shared.facts.put(id, phase, facts);
                    facts
                }
                None => return Ok(None),
            },
        };
        let (state, has_address) = match phase {
            Phase::Running if self.shared.meters.is_frozen(labels.instance).await => (InstanceState::Frozen, true),
            Phase::Created => (InstanceState::Created, false),
            Phase::Running => (InstanceState::Running, true),
            Phase::Frozen => (InstanceState::Frozen, true),
            Phase::Ended => (
                InstanceState::Exited {
                    status: facts.status,
                    out_of_memory: facts.out_of_memory,
                },
                false,
            ),
        };
        let network = names::network(self.installation(), labels.environment);
        let address = if has_address {
            address_on(&summary, &network)
        } else {
            None
        };
        Ok(Some(ObservedInstance {
            labels,
            state,
            address,
            started_ms: facts.started_ms,
        }))
    }
}

/// What the list leaves out of one container; `None` if it is gone meanwhile.
async fn ask(docker: &Docker, id: &str, now: Instant) -> Result<Option<Facts>, EngineError> {
    let found = match docker.inspect_container(id, None::<InspectContainerOptions>).await {
        Ok(found) => found,
        Err(error) if errors::is_gone(&error) => return Ok(None),
        Err(error) => return Err(errors::from_client(error)),
    };
    let state = found.state.unwrap_or_default();
    // A container that was never started has the year 1 there.
    let started_ms = [state.started_at.as_deref(), found.created.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(millis_of)
        .find(|millis| *millis > 0)
        .unwrap_or(0);
    Ok(Some(Facts {
        started_ms,
        status: state.exit_code.unwrap_or(0),
        out_of_memory: state.oom_killed.unwrap_or(false),
        asked: now,
    }))
}

/// Milliseconds since the Unix epoch of an instant in the form of RFC 3339.
pub(super) fn millis_of(text: &str) -> Option<UnixMillis> {
    text.parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond)
}

fn address_on(summary: &ContainerSummary, network: &str) -> Option<IpAddr> {
    summary
        .network_settings
        .as_ref()?
        .networks
        .as_ref()?
        .get(network)?
        .ip_address
        .as_ref()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_the_engine_are_read() {
        assert_eq!(millis_of("1970-01-01T00:00:01.5Z"), Some(1_500));
        assert!(millis_of("0001-01-01T00:00:00Z").is_some_and(|millis| millis < 0));
        assert_eq!(millis_of(""), None);
    }

    #[test]
    fn what_is_known_of_a_container_is_forgotten_after_an_event() {
        let cache = FactsCache::default();
        let now = Instant::now();
        let facts = Facts {
            started_ms: 1,
            status: 0,
            out_of_memory: false,
            asked: now,
        };
        cache.put("a".to_owned(), Phase::Running, facts);
        assert!(cache.get("a", Phase::Running, now).is_some());
        assert!(cache.get("a", Phase::Ended, now).is_none());
        assert!(cache.get("a", Phase::Running, now + FACTS_TTL).is_none());
        cache.forget("a");
        assert!(cache.get("a", Phase::Running, now).is_none());
    }
}
