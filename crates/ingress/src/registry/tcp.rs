//! Services that speak TCP, out of what an environment contributes.

use std::sync::Arc;

use weir_model::certificate::HttpsPolicy;
use weir_model::route::HostRoutes;
use weir_model::route_feed::Part;
use weir_model::tcp::TcpRoute;

use super::{Making, Registry, compile_route};
use crate::tcp::Service;

impl Registry {
    /// Compiles the services of an environment. Their instances are those of the routes, with the same
    /// counts; what stands of a service `before` is taken over.
    pub(super) fn settle_services(&mut self, making: &mut Making<'_>, part: &Part, before: &[Arc<Service>]) {
        let environment = making.edition.environment;
        let mut services = Vec::new();
        for tcp in &part.tcp {
            let process = self.process(making, &tcp.route.target);
            let pool = self.pool(making, &tcp.route.pool);
            let watched = self.series.watched(making.edition.epoch, environment, &tcp.route);
            let route = compile_route(making.edition, &host_of(tcp), &tcp.route, pool, process, watched);
            let mut service = Service::new(tcp, Arc::new(route));
            if let Some(known) = before.iter().find(|known| known.key == service.key) {
                service.standing = Arc::clone(&known.standing);
            }
            services.push(Arc::new(service));
        }
        if !services.is_empty() {
            self.staged.services = true;
            self.services.insert(environment, services);
        }
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
