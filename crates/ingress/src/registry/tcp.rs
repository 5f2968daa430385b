//! Services that speak TCP, out of a snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use weir_model::certificate::HttpsPolicy;
use weir_model::route::{Backend, HostRoutes, RouteSnapshot};
use weir_model::tcp::TcpRoute;

use super::{Processes, Registry, compile_route};
use crate::instance::Instance;
use crate::tcp::{Service, Services};

impl Registry {
    /// Compiles the services. Their instances are those of the routes, with the same counts.
    pub(super) fn tcp(
        &mut self,
        snapshot: &RouteSnapshot,
        previous: &mut BTreeMap<Backend, Arc<Instance>>,
        previous_processes: &mut Processes,
        draining: &BTreeSet<&Backend>,
    ) -> Services {
        let mut before = std::mem::take(&mut self.standings);
        let mut services = Services::default();
        for tcp in &snapshot.tcp {
            let process = self.process(previous_processes, tcp.environment, &tcp.route.target);
            let pool = self.pool(previous, &tcp.route.pool, draining);
            let watched = self.series.watched(self.epoch, tcp.environment, &tcp.route);
            let route = compile_route(self.epoch, &host_of(tcp), &tcp.route, pool, process, watched);
            let name = format!("{}.{}", tcp.app, tcp.spec.name);
            let key = (tcp.environment, name.into());
            let standing = before.remove(&key).unwrap_or_default();
            self.standings.insert(key, Arc::clone(&standing));
            services.add(tcp, Service::new(tcp, Arc::new(route), standing));
        }
        services
    }
}

/// A service has no host; what a route takes from one is its title.
fn host_of(tcp: &TcpRoute) -> HostRoutes {
    HostRoutes {
        environment: tcp.environment,
        title: tcp.title.clone(),
        routes: Vec::new(),
        https: HttpsPolicy::default(),
        redirect_to: None,
        protection: None,
    }
}
