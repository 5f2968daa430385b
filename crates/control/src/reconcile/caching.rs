//! What nodes keep of answers: the rules for it, what is to be forgotten, and what there is.

use std::collections::BTreeMap;

use weir_model::cache::{CacheCounts, CachePurge, CachePurges, CacheRules, CacheSpec};
use weir_model::route::NodeReport;
use weir_model::spec::RouteSpec;
use weir_model::{AppName, DeploymentId, EnvironmentId};

/// So many purges are handed to nodes. One that has missed more forgets everything.
const PURGES_KEPT: usize = 256;

/// What the apps of an environment say of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Caching {
    pub(super) apps: BTreeMap<AppName, CacheSpec>,
    /// The deployment that serves: what an earlier one answered is not served any more.
    pub(super) deployment: Option<DeploymentId>,
}

impl Caching {
    /// The rules of a route; `spec` is none for what matches no other one.
    pub(super) fn rules(&self, app: &AppName, spec: Option<&RouteSpec>) -> CacheRules {
        let of_app = self.apps.get(app).copied().unwrap_or_default();
        CacheRules {
            store: of_app.enabled && spec.is_none_or(|spec| spec.cache),
            compress: of_app.compress,
            deployment: self.deployment,
        }
    }
}

/// Adds a purge, whose number must be above all that were given.
pub(super) fn add(purges: &mut CachePurges, purge: CachePurge) {
    purges.list.push(purge);
    while purges.list.len() > PURGES_KEPT {
        purges.dropped = purges.list.remove(0).number;
    }
}

/// Sums over all nodes.
pub(super) fn counts<'a>(reports: impl Iterator<Item = &'a NodeReport>, environment: EnvironmentId) -> CacheCounts {
    let mut sum = CacheCounts::default();
    for counts in reports.filter_map(|report| report.cache.get(&environment)) {
        sum.entries += counts.entries;
        sum.bytes += counts.bytes;
        sum.disk_bytes += counts.disk_bytes;
        sum.hits += counts.hits;
        sum.misses += counts.misses;
        sum.stale += counts.stale;
        sum.revalidated += counts.revalidated;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_purges_are_kept_and_who_missed_more_is_told_to_forget_everything() {
        let mut purges = CachePurges::default();
        for number in 1..=300 {
            add(
                &mut purges,
                CachePurge {
                    number,
                    environment: EnvironmentId::from_parts(1, 1),
                    host: None,
                    path: None,
                },
            );
        }
        assert_eq!((purges.list.len(), purges.dropped), (PURGES_KEPT, 44));
        assert_eq!(purges.list[0].number, 45);
    }

    #[test]
    fn a_route_can_only_switch_off_what_its_app_has() {
        let app = AppName::new("web").unwrap();
        let caching = |enabled| Caching {
            apps: BTreeMap::from([(
                app.clone(),
                CacheSpec {
                    enabled,
                    compress: false,
                },
            )]),
            deployment: None,
        };
        let route = |cache| RouteSpec {
            path_prefix: "/x".to_owned(),
            process: weir_model::ProcessName::web(),
            methods: Vec::new(),
            class: None,
            protection: weir_model::protection::ProtectionSpec::default(),
            cache,
        };
        for (enabled, spec, store) in [
            (true, None, true),
            (true, Some(route(true)), true),
            (true, Some(route(false)), false),
            (false, Some(route(true)), false),
            (false, None, false),
        ] {
            let rules = caching(enabled).rules(&app, spec.as_ref());
            assert_eq!((rules.store, rules.compress), (store, false));
        }
        let other = AppName::new("other").unwrap();
        assert!(caching(false).rules(&other, None).store);
    }
}
