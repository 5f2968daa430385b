//! The services of a table, and what of them outlives tables.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;
use weir_model::EnvironmentId;
use weir_model::route::RouteState;
use weir_model::tcp::{TcpRoute, TcpTls};

use crate::table::CompiledRoute;

/// A service, ready to be served from.
#[derive(Debug)]
pub(crate) struct Service {
    /// `app.service`, by which it is known again.
    pub(crate) key: Box<str>,
    /// Its port on this machine, if it has one.
    listen: Option<u16>,
    /// The names at the https port that lead to it.
    hosts: Box<[Box<str>]>,
    /// For the log: `shop: db`.
    pub(crate) name: Box<str>,
    pub(crate) environment: EnvironmentId,
    pub(crate) route: Arc<CompiledRoute>,
    /// Where instances listen.
    pub(crate) port: u16,
    /// Who ends the TLS of those that come by name.
    pub(crate) tls: Option<TcpTls>,
    /// A connection on which nothing moves for so long is closed.
    pub(crate) idle: Option<Duration>,
    pub(crate) proxy_protocol: bool,
    pub(crate) allow: Vec<IpNet>,
    pub(crate) deny: Vec<IpNet>,
    /// How many connections are open at once.
    pub(crate) connections: usize,
    pub(crate) standing: Arc<Standing>,
}

impl Service {
    pub(crate) fn new(tcp: &TcpRoute, route: Arc<CompiledRoute>) -> Self {
        let spec = &tcp.spec;
        Self {
            key: format!("{}.{}", tcp.app, spec.name).into(),
            listen: tcp.listen,
            hosts: tcp.hosts.iter().map(|host| host.as_str().into()).collect(),
            name: format!("{}: {}", tcp.title, spec.name).into(),
            environment: tcp.environment,
            route,
            port: spec.port,
            tls: spec.tls,
            idle: spec
                .idle_s
                .map(|seconds| Duration::from_secs(u64::from(seconds.max(1)))),
            proxy_protocol: spec.proxy_protocol,
            allow: spec.allow.iter().map(|network| network.0).collect(),
            deny: spec.deny.iter().map(|network| network.0).collect(),
            connections: usize::try_from(spec.connections).unwrap_or(usize::MAX),
            standing: Arc::default(),
        }
    }
}

/// All services of a table.
#[derive(Debug, Default)]
pub(crate) struct Services {
    by_port: HashMap<u16, Arc<Service>>,
    by_host: HashMap<Box<str>, Arc<Service>>,
    /// Whether some TLS is passed on as it comes, so that its beginning has to be kept.
    passes_on: bool,
}

impl Services {
    pub(crate) fn of<'a>(services: impl Iterator<Item = &'a Arc<Service>>) -> Self {
        let mut all = Self::default();
        for service in services {
            all.add(service);
        }
        all
    }

    fn add(&mut self, service: &Arc<Service>) {
        if let Some(port) = service.listen {
            self.by_port.insert(port, Arc::clone(service));
        }
        let Some(tls) = service.tls else { return };
        self.passes_on |= tls == TcpTls::Passthrough && !service.hosts.is_empty();
        for host in &service.hosts {
            self.by_host.insert(host.clone(), Arc::clone(service));
        }
    }

    pub(crate) fn at_port(&self, port: u16) -> Option<&Arc<Service>> {
        self.by_port.get(&port)
    }

    pub(crate) fn of_host(&self, host: &str) -> Option<&Arc<Service>> {
        self.by_host.get(host)
    }

    /// The ports at which it is listened.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.by_port.keys().copied()
    }

    pub(crate) fn passes_on(&self) -> bool {
        self.passes_on
    }

    /// Closes the connections of services for which there is no money.
    pub(crate) fn close_unpaid(&self) {
        for service in self.by_port.values().chain(self.by_host.values()) {
            if matches!(service.route.state, RouteState::Unpaid { .. }) {
                service.standing.close();
            }
        }
    }
}

/// What outlives tables of one service: its connections.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    open: AtomicUsize,
    /// Cancelled when all that are open are to be closed; then there is another one.
    closing: Mutex<CancellationToken>,
}

impl Standing {
    /// A place among `most`.
    pub(crate) fn enter(self: &Arc<Self>, most: usize) -> Option<Place> {
        let below = |open| (open < most).then_some(open + 1);
        let entered = self.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, below);
        entered.is_ok().then(|| Place(Arc::clone(self)))
    }

    /// Ends when the connections that are open now are to be closed.
    pub(crate) fn closing(&self) -> CancellationToken {
        self.closing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn close(&self) {
        let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *closing).cancel();
    }
}

/// Until it is dropped, a connection counts at its service.
#[derive(Debug)]
pub(crate) struct Place(Arc<Standing>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_so_many_places_and_no_more() {
        let standing = Arc::new(Standing::default());
        let first = standing.enter(2).unwrap();
        let _second = standing.enter(2).unwrap();
        assert!(standing.enter(2).is_none());
        drop(first);
        assert!(standing.enter(2).is_some());
    }

    #[test]
    fn those_that_are_open_are_closed_and_later_ones_are_not() {
        let standing = Standing::default();
        let before = standing.closing();
        standing.close();
        assert!(before.is_cancelled());
        assert!(!standing.closing().is_cancelled());
    }
}
