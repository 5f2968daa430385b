//! What the node tells control about itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use weir_guard::Sentry;
use weir_model::route::{AccessCounts, BackendLoad, NodeReport};
use weir_model::{EnvironmentId, InstanceId};

use crate::access::Access;
use crate::node::Shared;
use crate::succession;

/// The report of this moment. The generation is read before the counts: every request that was
/// routed by an older snapshot is in them.
pub(crate) fn build(shared: &Shared, leaving: bool) -> NodeReport {
    let mut registry = shared.registry();
    let counts = |(environment, access): (EnvironmentId, &Arc<Access>)| (environment, access.counts());
    let access = registry.accesses().map(counts);
    let access = access
        .filter(|(_, counts)| *counts != AccessCounts::default())
        .collect();
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
        sum.failed += now.failed;
    }
    let spending = shared.spending.as_ref();
    let paying = spending.map_or_else(BTreeSet::new, |spending| spending.paying.borrow().clone());
    NodeReport {
        incarnation: shared.incarnation,
        applied_generation,
        applied_certificates: shared.tls.applied(),
        load,
        classes: registry.class_loads(),
        asleep: registry
            .instances()
            .filter(|instance| instance.rest.is_resting())
            .map(|instance| instance.backend.instance)
            .collect(),
        demand: shared.demands.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        waiting: shared.waiting_now(),
        paying,
        sending: spending.and_then(|spending| Some(spending.sending.as_ref()?.borrow().clone())),
        access,
        cache: shared.cache_counts(leaving),
        refused: shared.defences.refused(),
        meter: spending.and_then(|spending| spending.wallets.meter()),
        leaving,
        process: succession::process(None),
        beside: shared.succession.beside(),
        trips: shared.sentry.as_ref().map_or_else(Vec::new, Sentry::trips),
        background: spending
            .and_then(|spending| Some(spending.cpu.as_ref()?.working.borrow().clone()))
            .unwrap_or_default(),
    }
}
