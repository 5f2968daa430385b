//! What the classes of an app's requests mean for its routes.

use std::collections::{BTreeMap, BTreeSet};

use weir_model::route::{ClassLoad, NodeReport, Route, RouteClass};
use weir_model::{ClassName, EnvironmentId};

use super::plan::Entry;

/// The name of what has no class.
const DEFAULT: &str = "default";

/// Gives a route the places, the queue and the time-outs of its class. A process that has no
/// classes goes on as ever; in one that has some, all other requests get what these leave.
pub(super) fn apply(route: &mut Route, entry: &Entry, class: Option<&ClassName>) {
    let used: BTreeSet<&ClassName> = entry.routes.iter().filter_map(|route| route.class.as_ref()).collect();
    route.concurrency = entry.process.concurrency;
    route.first_byte_timeout_ms = u64::from(entry.process.request_timeout_s) * 1000;
    if used.is_empty() {
        return;
    }
    // By all classes of the app, so that a number means the same in all its processes.
    let numbered = || entry.classes.iter().zip(1_u8..);
    if let Some(((name, spec), number)) = numbered().find(|((name, _), _)| class == Some(*name)) {
        route.concurrency = spec.concurrency;
        if let Some(timeout_s) = spec.request_timeout_s {
            route.first_byte_timeout_ms = u64::from(timeout_s) * 1000;
        }
        route.class = Some(RouteClass {
            name: name.to_string(),
            number,
            queue: Some(spec.queue),
            queue_timeout_ms: Some(u64::from(spec.queue_timeout_s) * 1000),
        });
        return;
    }
    let reserved = numbered()
        .filter(|((name, _), _)| used.contains(name))
        .fold(0_u32, |sum, ((_, spec), _)| sum.saturating_add(spec.concurrency));
    // The reader of `weir.toml` sees to it that something is left.
    route.concurrency = entry.process.concurrency.saturating_sub(reserved).max(1);
    route.class = Some(RouteClass {
        name: DEFAULT.to_owned(),
        number: 0,
        queue: None,
        queue_timeout_ms: None,
    });
}

/// What goes on in the classes of an environment, over all nodes.
pub(super) fn loads<'a>(reports: impl Iterator<Item = &'a NodeReport>, environment: EnvironmentId) -> Vec<ClassLoad> {
    let mut sums: BTreeMap<(&str, &str), ClassLoad> = BTreeMap::new();
    for load in reports.filter_map(|report| report.classes.get(&environment)).flatten() {
        let sum = sums.entry((&load.target, &load.class)).or_insert_with(|| ClassLoad {
            target: load.target.clone(),
            class: load.class.clone(),
            ..ClassLoad::default()
        });
        sum.in_flight += load.in_flight;
        // Each node hands out the places of all instances.
        sum.places = sum.places.max(load.places);
        sum.waiting += load.waiting;
        sum.refused_full += load.refused_full;
        sum.refused_late += load.refused_late;
    }
    sums.into_values().collect()
}

#[cfg(test)]
mod tests {
    use weir_model::ProcessName;
    use weir_model::route::RouteState;
    use weir_model::spec::{ClassSpec, ProcessSpec, RouteSpec};

    use super::*;

    fn entry(used: &[&str]) -> Entry {
        let class = |name: &str, concurrency| {
            let spec = ClassSpec {
                concurrency,
                queue: 50,
                queue_timeout_s: 10,
                request_timeout_s: (name == "heavy").then_some(300),
            };
            (ClassName::new(name).unwrap(), spec)
        };
        let route = |name: &&str| RouteSpec {
            path_prefix: format!("/{name}"),
            process: ProcessName::web(),
            methods: Vec::new(),
            class: Some(ClassName::new(name).unwrap()),
            protection: weir_model::protection::ProtectionSpec::default(),
            cache: true,
        };
        Entry {
            state: RouteState::Serve,
            pool: Vec::new(),
            process: ProcessSpec::default(),
            routes: used.iter().map(route).collect(),
            classes: BTreeMap::from([class("heavy", 4), class("search", 6)]),
            tcp: Vec::new(),
            canary: None,
        }
    }

    fn shared(entry: &Entry, class: Option<&str>) -> Route {
        let mut route = Route::default();
        apply(
            &mut route,
            entry,
            class.map(|name| ClassName::new(name).unwrap()).as_ref(),
        );
        route
    }

    #[test]
    fn a_process_without_classes_goes_on_as_ever() {
        let route = shared(&entry(&[]), None);
        assert_eq!(
            (route.concurrency, route.first_byte_timeout_ms, route.class),
            (20, 60_000, None)
        );
    }

    #[test]
    fn each_class_has_its_own_and_the_rest_what_is_left() {
        let both = entry(&["heavy", "search"]);
        let heavy = shared(&both, Some("heavy"));
        assert_eq!((heavy.concurrency, heavy.first_byte_timeout_ms), (4, 300_000));
        assert_eq!(heavy.class.unwrap().number, 1);
        let search = shared(&both, Some("search"));
        assert_eq!((search.concurrency, search.first_byte_timeout_ms), (6, 60_000));
        let rest = shared(&both, None);
        assert_eq!((rest.concurrency, rest.class.unwrap().number), (10, 0));
    }

    #[test]
    fn a_class_that_the_process_does_not_have_takes_nothing_of_it() {
        let one = entry(&["search"]);
        assert_eq!(shared(&one, None).concurrency, 14);
        // The number is that of the app, so that it stays while routes come and go.
        assert_eq!(shared(&one, Some("search")).class.unwrap().number, 2);
    }
}
