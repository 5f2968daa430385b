//! Meters and brakes of the simulated machine.

use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use weir_model::{AppName, EnvironmentId, InstanceId, VolumeName};

use crate::meters::{FreezePoint, InstanceUsage, Meters};
use crate::{EngineError, InstanceState};

use super::SimEngine;

impl SimEngine {
    /// An environment tries to send so many bytes past the proxy. Gives how many passed.
    pub fn send(&self, environment: EnvironmentId, bytes: u64) -> u64 {
        let mut world = self.world();
        let Some((allowed, sent)) = world.egress.get_mut(&environment) else {
            return 0;
        };
        let passed = allowed.saturating_sub(*sent).min(bytes);
        *sent += passed;
        passed
    }

    /// There is a volume, and its files are in this folder.
    pub fn volume_place(&self, environment: EnvironmentId, app: &AppName, volume: &VolumeName, folder: PathBuf) {
        let key = (environment, app.clone(), volume.clone());
        let mut world = self.world();
        world.volumes.insert(key.clone());
        world.volume_folders.insert(key, folder);
    }

    /// A volume has so many bytes from now on.
    pub fn volume_fill(&self, environment: EnvironmentId, app: &AppName, volume: &VolumeName, bytes: u64) {
        let key = (environment, app.clone(), volume.clone());
        self.world().volume_bytes.insert(key, bytes);
    }
}

#[async_trait]
impl Meters for SimEngine {
    async fn usage(&self, instance: InstanceId) -> Result<Option<InstanceUsage>, EngineError> {
        // Read from the kernel: the engine's failures and latency are none of it.
        let world = self.world();
        let Some(found) = world.instances.get(&instance) else {
            return Ok(None);
        };
        let runs = matches!(found.state, InstanceState::Running | InstanceState::Frozen);
        Ok(runs.then(|| InstanceUsage {
            cpu_us: found.cpu_us(world.now_ms),
            frozen: found.state == InstanceState::Frozen,
        }))
    }

    async fn memory_bytes(&self, instance: InstanceId) -> Result<Option<u64>, EngineError> {
        let world = self.world();
        let found = world.instances.get(&instance);
        let running = found.filter(|it| matches!(it.state, InstanceState::Running | InstanceState::Frozen));
        // Half of what it may have.
        Ok(running.map(|it| it.spec.memory_bytes / 2))
    }

    async fn freeze(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.call(|world| world.freeze(instance)).await
    }

    async fn thaw(&self, instance: InstanceId) -> Result<(), EngineError> {
        self.call(|world| world.thaw(instance)).await
    }

    async fn limit_cpu(&self, instance: InstanceId, cpu_milli: u32) -> Result<(), EngineError> {
        let mut world = self.world();
        let now_ms = world.now_ms;
        if let Some(found) = world.instances.get_mut(&instance) {
            found.limit_cpu(cpu_milli, now_ms);
        }
        Ok(())
    }

    async fn freeze_point(&self, instance: InstanceId) -> Option<FreezePoint> {
        let usage = self.usage(instance).await.ok()?;
        usage.map(|_runs| FreezePoint {
            instance,
            folder: PathBuf::from("/simulated"),
        })
    }

    async fn freeze_at(&self, point: &FreezePoint) -> Result<(), EngineError> {
        self.world().freeze(point.instance)
    }

    async fn egress(&self, allow: &BTreeMap<EnvironmentId, u64>) -> Result<BTreeMap<EnvironmentId, u64>, EngineError> {
        let mut world = self.world();
        for (environment, total) in allow {
            world.egress.entry(*environment).or_default().0 = *total;
        }
        let sent = world.egress.iter();
        Ok(sent
            .map(|(environment, (_allowed, sent))| (*environment, *sent))
            .collect())
    }

    async fn egress_forget(&self, environment: EnvironmentId) -> Result<(), EngineError> {
        self.world().egress.remove(&environment);
        Ok(())
    }

    async fn volumes_usage(&self, environment: EnvironmentId) -> Result<Vec<(AppName, VolumeName, u64)>, EngineError> {
        self.call(|world| {
            let mine = world
                .volumes
                .iter()
                .filter(|(owner, _app, _volume)| *owner == environment);
            Ok(mine
                .map(|key| {
                    let bytes = world.volume_bytes.get(key).copied().unwrap_or(0);
                    (key.1.clone(), key.2.clone(), bytes)
                })
                .collect())
        })
        .await
    }
}
