//! The apps of a Weir that is stopped: nobody pays for them.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::future::try_join_all;
use weir_engine::docker::{DockerEngine, DockerOptions};
use weir_engine::{Engine as _, EngineError, InstanceState};
use weir_model::InstanceId;
use weir_model::route_feed::read_kept;

/// What is there of the apps of a stopped Weir.
#[derive(Debug)]
pub(crate) struct LeftApps {
    engine: DockerEngine,
    all: Vec<InstanceId>,
    /// How many of them run.
    pub(crate) running: usize,
    grace_s: BTreeMap<InstanceId, u32>,
}

/// Time to end for an instance that the node never heard of, in seconds.
const UNKNOWN_GRACE_S: u32 = 10;

impl LeftApps {
    /// Looks for them; `None` if this Weir never had a name, and so no apps.
    pub(crate) async fn of(data: &Path) -> Result<Option<Self>, EngineError> {
        let installation = std::fs::read_to_string(data.join("installation")).unwrap_or_default();
        if installation.trim().is_empty() {
            return Ok(None);
        }
        let mut options = DockerOptions::new(installation.trim());
        // Its rules stay as they are.
        (options.firewall, options.guard_default_bridge) = (false, false);
        let engine = DockerEngine::connect(options).await?;
        let found = engine.observe(None).await?;
        let runs = |state: InstanceState| state == InstanceState::Running;
        Ok(Some(Self {
            running: found.iter().filter(|instance| runs(instance.state)).count(),
            all: found.into_iter().map(|instance| instance.labels.instance).collect(),
            grace_s: graces(data),
            engine,
        }))
    }

    /// Ends all of them, each as gracefully as its process wants it, and removes them, so that the
    /// next start makes new ones. Gives how many there were.
    pub(crate) async fn end(self) -> Result<usize, EngineError> {
        let ends = self.all.iter().map(async |instance| {
            let grace_s = self.grace_s.get(instance).copied().unwrap_or(UNKNOWN_GRACE_S);
            self.engine.instance_stop(*instance, grace_s).await?;
            self.engine.instance_remove(*instance).await
        });
        Ok(try_join_all(ends).await?.len())
    }
}

/// How long each instance may take to end, as the node knew it last.
fn graces(data: &Path) -> BTreeMap<InstanceId, u32> {
    let text = std::fs::read(data.join("routes.json")).unwrap_or_default();
    let metered = read_kept(&text).into_values().flat_map(|part| part.metered);
    metered.map(|metered| (metered.instance, metered.grace_s)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_end_is_what_the_node_knew_last() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(graces(folder.path()), BTreeMap::new());
        let instance = InstanceId::from_parts(1, 1);
        let snapshot = serde_json::json!({
            "generation": 1, "gateways": [], "hosts": {}, "draining": [],
            "metered": [{
                "instance": instance, "environment": weir_model::EnvironmentId::from_parts(1, 2),
                "app": "shop", "process": "web", "memory_bytes": 1, "cpu_milli": 1, "grace_s": 60,
                "address": null, "frozen": false
            }]
        });
        std::fs::write(folder.path().join("routes.json"), snapshot.to_string()).unwrap();
        assert_eq!(graces(folder.path()), BTreeMap::from([(instance, 60)]));
        // As a node of this version keeps it.
        let snapshot = serde_json::from_value(snapshot).unwrap();
        let text = weir_model::route_feed::batch_of(&snapshot).unwrap();
        std::fs::write(folder.path().join("routes.json"), text).unwrap();
        assert_eq!(graces(folder.path()), BTreeMap::from([(instance, 60)]));
    }
}
