//! What the node tells control about itself.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use weir_model::InstanceId;
use weir_model::route::{BackendLoad, NodeReport};

use crate::node::Shared;

/// The report of this moment. The generation is read before the counts: every request that was
/// routed by an older snapshot is in them.
pub(crate) fn build(shared: &Shared) -> NodeReport {
    let mut registry = shared.registry();
    let applied_generation = shared.applied_generation.load(Ordering::SeqCst);
    let mut load: BTreeMap<InstanceId, BackendLoad> = BTreeMap::new();
    for instance in registry.instances() {
        let now = instance.load();
        if now == BackendLoad::default() {
            continue;
        }
        // An instance that changed its address is there twice for a while.
        let sum = load.entry(instance.backend.instance).or_default();
        sum.in_flight += now.in_flight;
        sum.upgraded += now.upgraded;
        sum.requests += now.requests;
        sum.connect_failures += now.connect_failures;
    }
    NodeReport {
        incarnation: shared.incarnation,
        applied_generation,
        load,
        waiting: shared.waiting_now(),
        paying: std::collections::BTreeSet::new(),
        trips: Vec::new(),
    }
}
