//! Services that speak TCP, as nodes are told of them.

use weir_model::EnvironmentId;
use weir_model::route::Route;
use weir_model::tcp::{TcpRoute, path_prefix};

use super::routing::EnvironmentRoutes;
use crate::tcp::leads_to;

/// What an environment contributes. A canary gets no connections before it is promoted: a client of
/// a database is not a visitor who could be given another one.
pub(super) fn routes(environment: EnvironmentId, current: &EnvironmentRoutes) -> Vec<TcpRoute> {
    let mut routes = Vec::new();
    for ((app, process), entry) in &current.routes.entries {
        for spec in &entry.tcp {
            let domains = current
                .domains
                .iter()
                .filter(|domain| leads_to(domain, app, &spec.name));
            routes.push(TcpRoute {
                environment,
                title: current.title.clone(),
                app: app.clone(),
                listen: current.tcp_ports.get(&(app.clone(), spec.name.clone())).copied(),
                hosts: domains.map(|domain| domain.host.clone()).collect(),
                route: Route {
                    path_prefix: path_prefix(&spec.name),
                    target: format!("{app}.{process}"),
                    state: entry.state.clone(),
                    pool: entry.pool.clone(),
                    guard: current.guard.get(app).cloned().unwrap_or_default(),
                    ..Route::default()
                },
                spec: spec.clone(),
            });
        }
    }
    routes
}
