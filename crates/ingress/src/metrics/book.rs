//! Which routes are counted. One task changes it, under the registry's lock that no request takes.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_model::EnvironmentId;
use weir_model::metrics::RouteMetrics;
use weir_model::route::Route;

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
    series: BTreeMap<SeriesKey, (Arc<Series>, u64)>,
    unrouted: Arc<Series>,
    access_log: Arc<AccessLog>,
}

impl Book {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            series: BTreeMap::new(),
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

    /// Forgets routes of an environment that are not in this table: those that were never used, all
    /// where the environment is gone, and of the others all but some.
    pub(crate) fn sweep(&mut self, epoch: u64, environment: EnvironmentId, is_there: bool) {
        let first = SeriesKey {
            environment: Some(environment),
            target: "".into(),
            path_prefix: "".into(),
            class: "".into(),
        };
        let own = self.series.range(first..);
        let own = own.take_while(|(key, _)| key.environment == Some(environment));
        let gone = own.filter(|(_, (_, seen))| *seen != epoch);
        let mut kept = 0;
        let forgotten: Vec<SeriesKey> = gone
            .filter(|(_, (series, _))| {
                kept += usize::from(is_there && series.is_used());
                !is_there || !series.is_used() || kept > GONE_ROUTES
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in forgotten {
            self.series.remove(&key);
        }
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
        book.sweep(2, environment(1), true);
        book.sweep(2, environment(2), true);
        assert_eq!(book.series.len(), 2);
        book.sweep(3, environment(1), true);
        book.sweep(3, environment(2), false);
        assert_eq!(book.read().len(), 1);
        let again = book.of(4, environment(1), &route("/"));
        assert!(again.is_used());
    }

    #[test]
    fn routes_that_come_and_go_do_not_fill_the_memory() {
        let mut book = Book::new(1);
        for epoch in 1..1_000 {
            book.of(epoch, environment(1), &route(&format!("/{epoch}"))).begin(0);
            book.sweep(epoch, environment(1), true);
        }
        assert!(book.series.len() <= GONE_ROUTES + 1, "{}", book.series.len());
    }
}
