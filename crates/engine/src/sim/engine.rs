//! The trait on the simulated machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::PoisonError;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt as _;
use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::{
    BoxStream, BuildEvent, Engine, EngineError, EngineEvent, ImageBuild, ImageFacts, InstanceSpec, InstanceState,
    Network, ObservedInstance, OutputChunk, Session, SessionId,
};

use super::world::World;
use super::{Clock, SimBuild, SimEngine, session};

/// What to do about the clock while waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// A call that takes time: it moves the clock, where calls do that.
    Call,
    /// Somebody who only listens: time passes without it.
    Listener,
}

impl SimEngine {
    /// Waits until something is so, or an instant has come.
    pub(super) async fn wait_until(
        &self,
        wait: Wait,
        deadline_ms: Option<u64>,
        mut is_so: impl FnMut(&mut World) -> bool + Send,
    ) {
        loop {
            let mut changed = pin!(self.shared.changed.notified());
            changed.as_mut().enable();
            let next_ms = {
                let mut world = self.world();
                if is_so(&mut world) || deadline_ms.is_some_and(|deadline_ms| deadline_ms <= world.now_ms) {
                    return;
                }
                [world.next_due_ms(), deadline_ms].into_iter().flatten().min()
            };
            let clock = *self.clock_cell();
            match (clock, next_ms) {
                (Clock::Moves, Some(next_ms)) if wait == Wait::Call => {
                    self.change(|world| world.advance_to(next_ms));
                }
                (Clock::Tokio(begin, begin_ms), Some(next_ms)) => {
                    let until = begin + std::time::Duration::from_millis(next_ms.saturating_sub(begin_ms));
                    tokio::select! {
                        () = tokio::time::sleep_until(until) => self.shared.changed.notify_waiters(),
                        () = changed => {}
                    }
                }
                _ => changed.await,
            }
        }
    }

    /// Begins a call: its latency passes, and it may fail before it has done anything.
    async fn begin(&self) -> Result<(), EngineError> {
        let due_ms = {
            let mut world = self.world();
            let (shortest, longest) = world.faults.latency_ms;
            let latency_ms = if longest == 0 {
                0
            } else {
                world.random.u64(shortest..=longest.max(shortest))
            };
            (latency_ms > 0).then(|| world.now_ms + latency_ms)
        };
        if due_ms.is_some() {
            self.wait_until(Wait::Call, due_ms, |_world| false).await;
        }
        let mut world = self.world();
        let fails = world.happens(|faults| faults.unreachable);
        if fails || world.is_away() {
            Err(unreachable())
        } else {
            Ok(())
        }
    }

    /// Ends a call: its answer may be lost.
    fn finish<T>(&self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        self.shared.changed.notify_waiters();
        let mut world = self.world();
        let is_lost = world.happens(|faults| faults.answer_lost) || world.is_away();
        if is_lost { Err(unreachable()) } else { result }
    }

    pub(super) async fn call<T: Send>(
        &self,
        work: impl FnOnce(&mut World) -> Result<T, EngineError> + Send,
    ) -> Result<T, EngineError> {
        self.begin().await?;
        let result = work(&mut self.world());
        self.finish(result)
    }

    /// Reads a stream to its end, as an engine reads what is sent to it.
    async fn drain(mut stream: BoxStream<std::io::Result<Bytes>>) -> Result<(), EngineError> {
        while let Some(chunk) = stream.next().await {
            chunk.map_err(|error| EngineError::Refused(format!("what was sent could not be read: {error}")))?;
        }
        Ok(())
    }
}

fn unreachable() -> EngineError {
    EngineError::Unreachable("simulated".to_owned())
}

/// Makes an image of a new content.
fn make_image(world: &mut World, tag: &str, labels: BTreeMap<String, String>) -> String {
    world.counter += 1;
    let id = format!("sha256:{:032x}{:032x}", world.random.u128(..), world.counter);
    let facts = ImageFacts {
        id: id.clone(),
        size_bytes: 1 << 20,
        labels,
        exposed_ports: Vec::new(),
        has_command: true,
        volumes: Vec::new(),
        created_ms: i64::try_from(world.now_ms).unwrap_or(i64::MAX),
    };
    world.images.insert(tag.to_owned(), facts);
    id
}

#[async_trait]
impl Engine for SimEngine {
    async fn ping(&self) -> Result<(), EngineError> {
        self.call(|_world| Ok(())).await
    }

    async fn observe(&self, environment: Option<EnvironmentId>) -> Result<Vec<ObservedInstance>, EngineError> {
        self.call(|world| {
            if !world.happens(|faults| faults.stale_observation) {
                world.last_observation = world.observe(None);
            }
            let told = world.last_observation.iter();
            Ok(told
                .filter(|it| environment.is_none_or(|wanted| wanted == it.labels.environment))
                .cloned()
                .collect())
        })
        .await
    }

    fn watch(&self) -> BoxStream<EngineEvent> {
        let queue = self.world().watch();
        Box::pin(futures_util::stream::unfold(
            (self.clone(), queue),
            |(engine, queue)| async move {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    if let Some(event) = next {
                        return Some((event, (engine, queue)));
                    }
                    let queue = &queue;
                    let is_told = move |_: &mut World| !queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
                    engine.wait_until(Wait::Listener, None, is_told).await;
                }
            },
        ))
    }

    async fn network_ensure(&self, environment: EnvironmentId) -> Result<Network, EngineError> {
        self.call(|world| Ok(world.network(environment))).await
    }

    async fn network_remove(&self, environment: EnvironmentId) -> Result<(), EngineError> {
        self.call(|world| {
            let on_it = |it: &&ObservedInstance| it.labels.environment == environment && it.address.is_some();
            if let Some(instance) = world.observe(None).iter().find(on_it) {
                return Err(EngineError::Refused(format!(
                    "the instance {} is on the network",
                    instance.labels.instance
                )));
            }
            world.networks.remove(&environment);
            Ok(())
        })
        .await
    }

    async fn network_list(&self) -> Result<Vec<(EnvironmentId, Network)>, EngineError> {
        self.call(|world| Ok(world.networks.iter().map(|(id, network)| (*id, *network)).collect()))
            .await
    }

    async fn volume_remove(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<(), EngineError> {
        self.call(|world| {
            let uses = |spec: &InstanceSpec| {
                spec.labels.environment == environment && spec.labels.app == *app && spec.volumes.contains_key(volume)
            };
            if world.instances.values().any(|instance| uses(&instance.spec)) {
                return Err(EngineError::Refused(format!("the volume {volume} is in use")));
            }
            let key = (environment, app.clone(), volume.clone());
            world.volumes.remove(&key);
            world.volume_folders.remove(&key);
            Ok(())
        })
        .await
    }

    async fn volume_folder(
        &self,
        environment: EnvironmentId,
        app: &AppName,
        volume: &VolumeName,
    ) -> Result<Option<PathBuf>, EngineError> {
        let key = (environment, app.clone(), volume.clone());
        self.call(|world| Ok(world.volume_folders.get(&key).cloned())).await
    }

    async fn volume_list(&self) -> Result<Vec<(EnvironmentId, AppName, VolumeName)>, EngineError> {
        self.call(|world| Ok(world.volumes.iter().cloned().collect())).await
    }

    async fn instance_start(&self, spec: &InstanceSpec) -> Result<(), EngineError> {
        self.begin().await?;
        let started = {
            let mut world = self.world();
            if world.happens(|faults| faults.start_refused) {
                Err(EngineError::Refused(
                    "the container cannot be started: simulated".to_owned(),
                ))
            } else {
                world.create(spec).map(|()| world.start(spec.labels.instance))
            }
        };
        self.shared.changed.notify_waiters();
        if let Ok(shows_at_ms) = started {
            self.wait_until(Wait::Call, Some(shows_at_ms), |_world| false).await;
        }
        self.finish(started.map(|_shows_at_ms| ()))
    }

    async fn instance_create(&self, spec: &InstanceSpec) -> Result<(), EngineError> {
        self.call(|world| world.create(spec)).await
    }

    async fn instance_stop(&self, instance: InstanceId, grace_s: u32) -> Result<(), EngineError> {
        self.begin().await?;
        let must_wait = self.world().terminate(instance, u64::from(grace_s) * 1000);
        self.shared.changed.notify_waiters();
        if must_wait {
            self.wait_until(Wait::Call, None, |world| {
                world
                    .instances
                    .get(&instance)
                    .is_none_or(|found| matches!(found.state, InstanceState::Exited { .. }) || world.is_away())
            })
            .await;
        }
        self.finish(Ok(()))
    }

    async fn instance_remove(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.call(|world| {
            world.remove(instance);
            Ok(())
        })
        .await
    }

    async fn instance_freeze(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.call(|world| world.freeze(instance)).await
    }

    async fn instance_thaw(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.call(|world| world.thaw(instance)).await
    }

    fn instance_output(&self, instance: InstanceId, after_ns: i64) -> BoxStream<Result<OutputChunk, EngineError>> {
        session::output(self.clone(), instance, after_ns)
    }

    async fn instance_exec(
        &self,
        instance: InstanceId,
        command: &[String],
        terminal: bool,
    ) -> Result<Session, EngineError> {
        let id = self
            .call(|world| {
                if world.find(instance)?.state != InstanceState::Running {
                    return Err(EngineError::Refused(format!("the instance {instance} does not run")));
                }
                world.counter += 1;
                Ok(format!("exec{}", world.counter))
            })
            .await?;
        session::exec(self.clone(), id, command, terminal)
    }

    async fn instance_attach(&self, instance: InstanceId) -> Result<Session, EngineError> {
        self.call(|world| world.find(instance).map(|_found| ())).await?;
        Ok(session::attach(self.clone(), instance))
    }

    async fn session_resize(&self, session: &SessionId, columns: u16, rows: u16) -> Result<(), EngineError> {
        let key = format!("{session:?}");
        self.call(move |world| {
            world.sizes.insert(key, (columns, rows));
            Ok(())
        })
        .await
    }

    async fn session_status(&self, session: &SessionId) -> Result<i64, EngineError> {
        self.call(|world| match session {
            SessionId::Exec(id) => world
                .exec_status
                .get(id)
                .copied()
                .ok_or_else(|| EngineError::Refused("the command still runs".to_owned())),
            SessionId::Attach(instance) => match world.find(*instance)?.state {
                InstanceState::Exited { status, .. } => Ok(status),
                _ => Err(EngineError::Refused("the command still runs".to_owned())),
            },
        })
        .await
    }

    async fn image_build(&self, build: ImageBuild) -> Result<BoxStream<BuildEvent>, EngineError> {
        self.begin().await?;
        Self::drain(build.context).await?;
        let script = self.world().builds.get(&build.tag).cloned();
        let script = script.unwrap_or(SimBuild {
            takes_ms: 0,
            events: Vec::new(),
            failure: None,
        });
        let first = BuildEvent::Step {
            name: format!("[1/1] FROM {}", build.dockerfile),
            cached: false,
        };
        let told = futures_util::stream::iter([first].into_iter().chain(script.events));
        let engine = self.clone();
        let last = futures_util::stream::once(async move {
            let due_ms = engine.world().now_ms + script.takes_ms;
            engine.wait_until(Wait::Call, Some(due_ms), |_world| false).await;
            match script.failure {
                Some(message) => BuildEvent::Failed { message },
                None => BuildEvent::Done {
                    image: make_image(&mut engine.world(), &build.tag, build.labels),
                },
            }
        });
        Ok(Box::pin(told.chain(last)))
    }

    async fn image_import(
        &self,
        tag: &str,
        labels: &BTreeMap<String, String>,
        root: BoxStream<std::io::Result<Bytes>>,
    ) -> Result<String, EngineError> {
        self.begin().await?;
        Self::drain(root).await?;
        let id = make_image(&mut self.world(), tag, labels.clone());
        self.finish(Ok(id))
    }

    async fn image_inspect(&self, image: &str) -> Result<Option<ImageFacts>, EngineError> {
        self.call(|world| {
            let by_id = || world.images.values().find(|facts| facts.id == image);
            Ok(world.images.get(image).or_else(by_id).cloned())
        })
        .await
    }

    async fn image_pull(&self, reference: &str) -> Result<(), EngineError> {
        self.call(|world| {
            make_image(world, reference, BTreeMap::new());
            Ok(())
        })
        .await
    }

    async fn image_list(&self, label: &str) -> Result<Vec<ImageFacts>, EngineError> {
        self.call(|world| {
            let carries = |facts: &&ImageFacts| match label.split_once('=') {
                Some((key, value)) => facts.labels.get(key).is_some_and(|found| found == value),
                None => facts.labels.contains_key(label),
            };
            Ok(world.images.values().filter(carries).cloned().collect())
        })
        .await
    }

    async fn image_remove(&self, image: &str) -> Result<(), EngineError> {
        self.call(|world| {
            let Some(id) = world
                .images
                .get(image)
                .map(|facts| facts.id.clone())
                .or_else(|| Some(image.to_owned()))
            else {
                return Ok(());
            };
            if !world
                .instances
                .values()
                .any(|it| it.spec.image == image || it.spec.image == id)
            {
                world.images.retain(|tag, facts| tag != image && facts.id != image);
            }
            Ok(())
        })
        .await
    }

    async fn build_cache_prune(&self, _keep_bytes: u64) -> Result<(), EngineError> {
        self.call(|_world| Ok(())).await
    }

    async fn leave(&self) -> Result<(), EngineError> {
        self.call(|_world| Ok(())).await
    }
}
