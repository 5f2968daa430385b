//! Which routes are counted. One task changes it, under the registry's lock that no request takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use weir_model::EnvironmentId;
use weir_model::metrics::RouteMetrics;
use weir_model::route::{Route, RouteSnapshot};

use super::series::{Series, SeriesKey};
use crate::access_log::{AccessLog, Logged};

/// So many routes of an environment are remembered that are not there any more, for those who read
/// the counters seldom.
const GONE_ROUTES: usize = 100;

/// Where requests of a route are counted and logged.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    pub(crate) series: Arc<Series>,
    /// None where they are not logged.
    pub(crate) access_log: Option<Logged>,
}

/// The counters of all routes.
#[derive(Debug)]
pub(crate) struct Book {
    workers: usize,
    /// With the epoch of the newest table that has the route.
    series: HashMap<SeriesKey, (Arc<Series>, u64)>,
    unrouted: Arc<Series>,
    access_log: Arc<AccessLog>,
}

impl Book {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            series: HashMap::new(),
            unrouted: Arc::new(Series::new(workers)),
            access_log: Arc::new(AccessLog::new()),
        }
    }

    /// Where requests are counted that reach no route.
    pub(crate) fn unrouted(&self) -> Arc<Series> {
        Arc::clone(&self.unrouted)
    }

    /// The node's end of the access logs.
    pub(crate) fn access_log(&self) -> Arc<AccessLog> {
        Arc::clone(&self.access_log)
    }

    /// For a route of the table that is being made.
    pub(crate) fn watched(&mut self, epoch: u64, environment: EnvironmentId, route: &Route) -> Watched {
        Watched {
            series: self.of(epoch, environment, route),
            access_log: self.access_log.of(environment, &route.target, route.access_log),
        }
    }

    fn of(&mut self, epoch: u64, environment: EnvironmentId, route: &Route) -> Arc<Series> {
        let class = route.class.as_ref().map_or("default", |class| class.name.as_str());
        let key = SeriesKey {
            environment: Some(environment),
            target: route.target.as_str().into(),
            path_prefix: route.path_prefix.as_str().into(),
            class: class.into(),
        };
        let workers = self.workers;
        let entry = self.series.entry(key);
        let (series, seen) = entry.or_insert_with(|| (Arc::new(Series::new(workers)), epoch));
        *seen = epoch;
        Arc::clone(series)
    }

    /// Forgets routes that are not in this table: those that were never used, those of environments
    /// that are gone, and of the others all but some.
    pub(crate) fn sweep(&mut self, epoch: u64, snapshot: &RouteSnapshot) {
        if self.series.values().all(|(_, seen)| *seen == epoch) {
            return;
        }
        let there: HashSet<EnvironmentId> = snapshot.hosts.values().map(|host| host.environment).collect();
        let mut gone: HashMap<EnvironmentId, usize> = HashMap::new();
        self.series.retain(|key, (series, seen)| {
            let Some(environment) = key.environment else {
                return true;
            };
            if *seen == epoch {
                return true;
            }
            if !there.contains(&environment) || !series.is_used() {
                return false;
            }
            let gone = gone.entry(environment).or_default();
            *gone += 1;
            *gone <= GONE_ROUTES
        });
    }

    /// What was counted, of routes that had requests.
    pub(crate) fn read(&self) -> Vec<RouteMetrics> {
        let nowhere = SeriesKey {
            environment: None,
            target: "".into(),
            path_prefix: "".into(),
            class: "".into(),
        };
        let routed = self.series.iter().map(|(key, (series, _))| (key, series));
        let all = routed.chain([(&nowhere, &self.unrouted)]);
        let used = all.filter(|(_, series)| series.is_used());
        used.map(|(key, series)| series.read(key)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use weir_model::certificate::HttpsPolicy;
    use weir_model::route::HostRoutes;

    use super::*;

    fn environment(number: u128) -> EnvironmentId {
        EnvironmentId::from_parts(1, number)
    }

    fn route(prefix: &str) -> Route {
        Route {
            path_prefix: prefix.to_owned(),
            target: "shop.web".to_owned(),
            ..Route::default()
        }
    }

    fn snapshot(environments: &[u128]) -> RouteSnapshot {
        let host = |number: &u128| {
            let routes = HostRoutes {
                environment: environment(*number),
                title: "shop".to_owned(),
                routes: Vec::new(),
                https: HttpsPolicy::default(),
                redirect_to: None,
                protection: None,
            };
            (number.to_string(), routes)
        };
        RouteSnapshot {
            hosts: environments.iter().map(host).collect::<BTreeMap<_, _>>(),
            ..RouteSnapshot::default()
        }
    }

    #[test]
    fn only_routes_that_had_requests_are_told() {
        let mut book = Book::new(1);
        let used = book.of(1, environment(1), &route("/"));
        book.of(1, environment(1), &route("/api"));
        assert!(book.read().is_empty());
        used.begin(0);
        let read = book.read();
        assert_eq!(
            (read.len(), read[0].path_prefix.as_str(), read[0].in_flight),
            (1, "/", 1)
        );
        book.unrouted().begin(0);
        assert!(book.read().iter().any(|route| route.environment.is_none()));
    }

    #[test]
    fn counters_outlive_a_route_but_not_its_environment() {
        let mut book = Book::new(1);
        book.of(1, environment(1), &route("/")).begin(0);
        book.of(1, environment(1), &route("/unused"));
        book.of(1, environment(2), &route("/")).begin(0);
        book.sweep(2, &snapshot(&[1, 2]));
        assert_eq!(book.series.len(), 2);
        book.sweep(3, &snapshot(&[1]));
        assert_eq!(book.read().len(), 1);
        let again = book.of(4, environment(1), &route("/"));
        assert!(again.is_used());
    }

    #[test]
    fn routes_that_come_and_go_do_not_fill_the_memory() {
        let mut book = Book::new(1);
        for epoch in 1..1_000 {
            book.of(epoch, environment(1), &route(&format!("/{epoch}"))).begin(0);
            book.sweep(epoch, &snapshot(&[1]));
        }
        assert!(book.series.len() <= GONE_ROUTES + 1, "{}", book.series.len());
    }
}
