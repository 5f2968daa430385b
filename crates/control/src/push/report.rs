//! How a push looks in a terminal.

use weir_model::project::{Domain, Environment, Project, Scale};
use weir_model::release::Release;
use weir_model::task::LineKind;

use super::Live;
use crate::context::Context;
use crate::tcp;

/// A line of a task as the person who pushes sees it.
pub fn line_for_terminal(kind: LineKind, text: &str) -> String {
    match kind {
        LineKind::Step => format!("-----> {text}"),
        LineKind::Info | LineKind::Output => format!("       {text}"),
        LineKind::Error => format!(" !     {text}"),
        LineKind::Hint => format!("       hint: {text}"),
    }
    .trim_end()
    .to_owned()
}

/// The last lines of a push: what runs, how long it took, and where it is.
pub async fn summary(context: &Context, project: &Project, environment: &Environment, live: &Live) -> Vec<String> {
    let scale = context.store.scale_list(environment.id).await.unwrap_or_default();
    let domains = context.store.domain_list(environment.id).await.unwrap_or_default();
    let place = match environment.name.is_production() {
        true => project.name.to_string(),
        false => format!("{} ({})", project.name, environment.name),
    };
    let seconds = |ms: i64| format!("{}.{} s", ms / 1000, ms % 1000 / 100);
    let total = seconds(live.build_ms + live.deploy_ms);
    let (build, deployment) = (seconds(live.build_ms), seconds(live.deploy_ms));
    let mut lines = vec![format!(
        "-----> Release {} of {place}: {total} (build {build}, deployment {deployment})",
        live.release.number
    )];
    if let Some(canary) = &live.canary {
        lines.push(format!("       It is a canary and gets {}", canary.words()));
    }
    lines.extend(
        processes(&live.release, &scale)
            .into_iter()
            .map(|line| format!("       {line}")),
    );
    lines.push(String::new());
    let answers = live
        .release
        .apps
        .values()
        .any(|app| app.spec.processes.keys().any(|process| app.spec.is_routed(process)));
    if !answers {
        lines.pop();
        lines.push("       No process is called `web`, so nothing answers at an address".to_owned());
        lines.push(String::new());
        return lines;
    }
    let (main, others): (Vec<_>, Vec<_>) = domains.iter().partition(|domain| domain.app.is_none());
    for domain in main.into_iter().chain(others).filter(|domain| domain.tcp.is_none()) {
        let app = domain.app.as_ref().map(|app| format!("  ({app})")).unwrap_or_default();
        lines.push(format!("       {}{app}", context.config.url_of(&domain.host)));
    }
    lines.extend(tcp_services(context, project, environment, live, &domains).await);
    lines.push(String::new());
    lines
}

/// `tcp db: shop.localhost:20000`, for each service.
async fn tcp_services(
    context: &Context,
    project: &Project,
    environment: &Environment,
    live: &Live,
    domains: &[Domain],
) -> Vec<String> {
    let services = tcp::addresses(context, project, environment, &live.release, domains).await;
    let services = services.unwrap_or_default().into_values().flatten();
    let lines = services.map(|service| {
        let places: Vec<String> = service.address.into_iter().chain(service.hosts).collect();
        match places.as_slice() {
            [] => format!(
                "       tcp {0}: no name leads to it yet: weir domain add HOST --tcp {0}",
                service.name
            ),
            places => format!("       tcp {}: {}", service.name, places.join(", ")),
        }
    });
    lines.collect()
}

/// `web: 2 instances of 512 MiB`, for each process.
fn processes(release: &Release, scale: &[Scale]) -> Vec<String> {
    let several = release.apps.len() > 1;
    let mut lines = Vec::new();
    for (app, release_app) in &release.apps {
        for (process, spec) in &release_app.spec.processes {
            let bounds = release_app.spec.bounds(process, scale);
            let name = if several {
                format!("{app}.{process}")
            } else {
                process.to_string()
            };
            let count = bounds.words();
            let instances = if count == "1" { "instance" } else { "instances" };
            lines.push(format!(
                "{name}: {count} {instances} of {} MiB",
                spec.memory_bytes >> 20
            ));
        }
    }
    lines
}
