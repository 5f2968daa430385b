//! Services that speak TCP: which ports they get, and where people reach them.
//!
//! A port belongs to a service from the deployment that asks for it until a deployment without it
//! is live, so that a failed one takes nothing away from what serves.

use std::collections::BTreeMap;

use weir_api::TcpServiceStatus;
use weir_model::project::{Domain, Environment, Project};
use weir_model::release::Release;
use weir_model::spec::AppSpec;
use weir_model::tcp::{TcpListen, TcpPorts, TcpSpec, TcpTls};
use weir_model::{AppName, EnvironmentId, TcpServiceName};
use weir_store::{Store, StoreError, TcpPort, TcpPortRefused, TcpPortWish};

use crate::api::ApiError;
use crate::canary;
use crate::context::Context;
use crate::deploy::DeployError;
use crate::hosts::platform_host;

/// Gives the services of a release that is to be deployed their ports. Fails with words where one
/// cannot have what it asks for.
pub async fn claim(context: &Context, environment: &Environment, release: &Release) -> Result<(), DeployError> {
    let wishes = wishes(release);
    let has_some = !context.store.tcp_port_list(environment.id).await?.is_empty();
    if wishes.is_empty() && !has_some {
        return Ok(());
    }
    let mut kept = Vec::new();
    if let Some(live) = canary::live_release(context, environment.id).await? {
        kept.extend(self::wishes(&live));
    }
    for deployment in context.store.deployment_list_in_progress(environment.id).await? {
        if let Some(release) = context.store.release_by_id(deployment.release).await? {
            kept.extend(self::wishes(&release));
        }
    }
    let (range, now_ms) = (context.config.tcp_ports.clone(), context.clock.now_ms());
    let settled = context
        .store
        .tcp_ports_settle(environment.id, &wishes, &kept, range, now_ms)
        .await?;
    match settled {
        Ok(()) => Ok(()),
        Err(refused) => Err(DeployError::Refused(words(context, &refused).await?)),
    }
}

/// What the services of a release ask for.
fn wishes(release: &Release) -> Vec<TcpPortWish> {
    let services = release
        .apps
        .iter()
        .flat_map(|(name, app)| app.spec.tcp.iter().map(move |service| (name, service)));
    let asked = services.filter_map(|(app, service)| {
        let port = match service.listen {
            TcpListen::Any => None,
            TcpListen::Port(port) => Some(port),
            TcpListen::Nowhere => return None,
        };
        Some(TcpPortWish {
            app: app.clone(),
            service: service.name.clone(),
            port,
        })
    });
    asked.collect()
}

async fn words(context: &Context, refused: &TcpPortRefused) -> Result<String, StoreError> {
    let range = context.config.tcp_ports.as_ref();
    let allowed = range.map(|range| format!("{}-{}", range.start(), range.end()));
    Ok(match (refused, allowed) {
        (TcpPortRefused::Outside(wish, _) | TcpPortRefused::NoneLeft(wish), None) => format!(
            "the TCP service `{}` of `{}` gets no port, because this Weir gives out none; whoever runs it can allow \
             some, like `weir up --tcp-ports 20000-20999`, or let clients come by TLS at the https port: `tls = true`",
            wish.service, wish.app
        ),
        (TcpPortRefused::Outside(wish, port), Some(allowed)) => format!(
            "the TCP service `{}` of `{}` cannot listen on port {port}: this Weir gives out {allowed}; take one of \
             them, or leave `listen` out and get a free one",
            wish.service, wish.app
        ),
        (TcpPortRefused::NoneLeft(wish), Some(allowed)) => format!(
            "the TCP service `{}` of `{}` gets no port, because all of {allowed} are taken; whoever runs this Weir \
             can allow more with `weir up --tcp-ports`",
            wish.service, wish.app
        ),
        (TcpPortRefused::Taken(taken), _) => format!(
            "port {} belongs to the TCP service `{}` of {}; choose another `listen`, or leave it out and get a free one",
            taken.port,
            taken.service,
            place_of(context, taken).await?
        ),
    })
}

async fn place_of(context: &Context, taken: &TcpPort) -> Result<String, StoreError> {
    let Some(environment) = context.store.environment_by_id(taken.environment).await? else {
        return Ok(format!("`{}`", taken.app));
    };
    let project = context.store.project_by_id(environment.project).await?;
    let project = project.map(|project| project.name.to_string()).unwrap_or_default();
    Ok(format!("`{}` in {project} ({})", taken.app, environment.name))
}

/// The ports at which the services of these apps are reached.
pub async fn ports<'a>(
    store: &Store,
    environment: EnvironmentId,
    apps: impl Iterator<Item = (&'a AppName, &'a AppSpec)>,
) -> Result<TcpPorts, StoreError> {
    let services: Vec<(&AppName, &TcpSpec)> = apps
        .flat_map(|(name, app)| app.tcp.iter().map(move |service| (name, service)))
        .filter(|(_, service)| service.listen != TcpListen::Nowhere)
        .collect();
    if services.is_empty() {
        return Ok(TcpPorts::new());
    }
    Ok(of_rows(&store.tcp_port_list(environment).await?, services.into_iter()))
}

fn of_rows<'a>(rows: &[TcpPort], services: impl Iterator<Item = (&'a AppName, &'a TcpSpec)>) -> TcpPorts {
    let given = rows.iter().filter(|row| row.given);
    let given: TcpPorts = given
        .map(|row| ((row.app.clone(), row.service.clone()), row.port))
        .collect();
    let owned = services.filter_map(|(app, service)| {
        let port = service.listens(app, &given)?;
        let is_own = |row: &TcpPort| (row.port, &row.app, &row.service) == (port, app, &service.name);
        rows.iter()
            .any(is_own)
            .then(|| ((app.clone(), service.name.clone()), port))
    });
    owned.collect()
}

/// Whether a domain leads to this service.
pub fn leads_to(domain: &Domain, app: &AppName, service: &TcpServiceName) -> bool {
    domain.tcp.as_ref() == Some(service) && domain.app.as_ref().is_none_or(|of| of == app)
}

/// Fails with words if no app of what serves has this service, or it is not reached by TLS. Before
/// anything was deployed everything is possible.
pub async fn ensure_service(
    context: &Context,
    environment: &Environment,
    app: Option<&AppName>,
    service: &TcpServiceName,
) -> Result<(), ApiError> {
    let Some(release) = crate::status::live_release(context, environment).await? else {
        return Ok(());
    };
    let apps = release
        .apps
        .iter()
        .filter(|(name, _)| app.is_none_or(|app| app == *name));
    let all: Vec<&TcpSpec> = apps.flat_map(|(_, app)| &app.spec.tcp).collect();
    let Some(found) = all.iter().find(|known| known.name == *service) else {
        let names: Vec<&str> = all.iter().map(|known| known.name.as_str()).collect();
        let known = match names.as_slice() {
            [] => "it has none; add a [[tcp]] to weir.toml and deploy it first".to_owned(),
            names => format!("there is: {}", names.join(", ")),
        };
        let title = format!("`{}` has no TCP service `{service}`", environment.name);
        return Err(ApiError::invalid(title).with_detail(known));
    };
    match found.tls {
        Some(_) => Ok(()),
        None => Err(ApiError::invalid(format!("the TCP service `{service}` is not reached by TLS"))
            .with_hint("say `tls = true` in its [[tcp]] and deploy that first; without TLS a client names no host, and only the port tells where it wants to go")),
    }
}

/// Where people reach the TCP services of each process of a release.
pub async fn addresses(
    context: &Context,
    project: &Project,
    environment: &Environment,
    release: &Release,
    domains: &[Domain],
) -> Result<BTreeMap<(AppName, weir_model::ProcessName), Vec<TcpServiceStatus>>, StoreError> {
    let specs = || release.apps.iter().map(|(name, app)| (name, &app.spec));
    let ports = ports(&context.store, environment.id, specs()).await?;
    let host = platform_host(&context.config, &project.name, &environment.name);
    let mut all: BTreeMap<_, Vec<TcpServiceStatus>> = BTreeMap::new();
    for (app, spec) in specs() {
        for service in &spec.tcp {
            let port = ports.get(&(app.clone(), service.name.clone())).copied();
            let by_name = domains.iter().filter(|domain| leads_to(domain, app, &service.name));
            let hosts: Vec<String> = match (service.tls, context.config.https) {
                (Some(_), Some(https)) => by_name
                    .map(|domain| format!("{}:{}", domain.host, https.port()))
                    .collect(),
                _ => Vec::new(),
            };
            all.entry((app.clone(), service.process.clone()))
                .or_default()
                .push(TcpServiceStatus {
                    name: service.name.to_string(),
                    port,
                    address: port.map(|port| format!("{host}:{port}")),
                    tls: service.tls.map(|tls| match tls {
                        TcpTls::End => "end".to_owned(),
                        TcpTls::Passthrough => "passthrough".to_owned(),
                    }),
                    hosts,
                });
        }
    }
    Ok(all)
}
