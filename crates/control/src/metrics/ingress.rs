//! What the node has counted: asked for on its socket, named by what control knows.

use std::path::Path;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use weir_model::metrics::{NodeMetrics, NodeTotals, RouteMetrics, SOCKET};

use super::View;
use super::text::{Kind, Text};
use crate::context::Context;

/// Longest wait for the node.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer of the node: several times what ten thousand routes need.
const BYTES: u64 = 256 << 20;

/// A route of an environment that may be seen.
struct Route<'a> {
    labels: Vec<(&'static str, &'a str)>,
    metrics: &'a RouteMetrics,
}

/// Name, kind, words, and where it stands.
type Figure = (&'static str, Kind, &'static str, fn(&RouteMetrics) -> u64);

/// What the node has counted since it started; an error in words if it does not tell.
pub(super) async fn counted(context: &Context) -> Result<NodeMetrics, String> {
    let socket = context.config.node_socket().with_file_name(SOCKET);
    let asked = tokio::time::timeout(TIMEOUT, ask(&socket)).await;
    asked.unwrap_or_else(|late| Err(late.to_string()))
}

/// Adds what the node has counted. Without a node only that is told.
pub(super) async fn write(view: &View, text: &mut Text) {
    let answer = counted(&view.context).await;
    text.family(
        "weir_node_up",
        Kind::Gauge,
        "Whether the node that serves requests tells what it has counted.",
    );
    text.sample("weir_node_up", &[], u8::from(answer.is_ok()));
    match answer {
        Ok(node) => {
            if view.everything {
                totals(&node.totals, text);
            }
            routes(view, &node, text);
        }
        Err(error) => tracing::warn!(error, "the node does not tell what it has counted"),
    }
}

async fn ask(socket: &Path) -> Result<NodeMetrics, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| error.to_string())?;
    let mut answer = Vec::new();
    let read = stream.take(BYTES).read_to_end(&mut answer).await;
    read.map_err(|error| error.to_string())?;
    let parsed = tokio::task::spawn_blocking(move || serde_json::from_slice(&answer)).await;
    parsed
        .map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

fn totals(totals: &NodeTotals, text: &mut Text) {
    let plain: [(&str, Kind, &str, u64); 8] = [
        (
            "weir_connections_total",
            Kind::Counter,
            "Connections accepted from clients.",
            totals.connections_accepted,
        ),
        (
            "weir_connections_open",
            Kind::Gauge,
            "Connections of clients that are open.",
            totals.connections_open,
        ),
        (
            "weir_retries_total",
            Kind::Counter,
            "Requests sent again because the first attempt certainly had no effect.",
            totals.retries,
        ),
        (
            "weir_requests_held_total",
            Kind::Counter,
            "Requests that waited at a held route.",
            totals.held,
        ),
        (
            "weir_requests_queued_total",
            Kind::Counter,
            "Requests that waited for a free instance.",
            totals.queued,
        ),
        (
            "weir_upgrades_total",
            Kind::Counter,
            "Connections upgraded, to websockets for instance.",
            totals.upgrades,
        ),
        (
            "weir_waiting",
            Kind::Gauge,
            "Requests that wait, of all apps.",
            totals.waiting,
        ),
        (
            "weir_access_log_lines_dropped_total",
            Kind::Counter,
            "Lines of access logs that were left out, because more came than could be written down.",
            totals.access_lines_dropped,
        ),
    ];
    for (name, kind, help, value) in plain {
        text.family(name, kind, help);
        text.sample(name, &[], value);
    }
    let by_result = "weir_tls_handshakes_total";
    text.family(by_result, Kind::Counter, "TLS handshakes by result.");
    text.sample(by_result, &[("result", "ok")], totals.handshakes);
    text.sample(by_result, &[("result", "failed")], totals.handshakes_failed);
    let by_use = "weir_instance_connections_total";
    text.family(
        by_use,
        Kind::Counter,
        "Connections to instances that requests were sent over.",
    );
    text.sample(by_use, &[("use", "new")], totals.upstream_connects);
    text.sample(by_use, &[("use", "again")], totals.upstream_reuses);
}

fn routes(view: &View, node: &NodeMetrics, text: &mut Text) {
    let named = |metrics| {
        Some(Route {
            labels: labels(view, metrics)?,
            metrics,
        })
    };
    let mut routes: Vec<Route<'_>> = node.routes.iter().filter_map(named).collect();
    routes.sort_by(|a, b| a.labels.cmp(&b.labels));
    answers(&routes, text);
    let figures: [Figure; 3] = [
        (
            "weir_requests_in_flight",
            Kind::Gauge,
            "Requests whose answer has not ended.",
            |it| it.in_flight,
        ),
        (
            "weir_request_body_bytes_total",
            Kind::Counter,
            "Bytes of requests' bodies that came from clients.",
            |it| it.received_bytes,
        ),
        (
            "weir_response_body_bytes_total",
            Kind::Counter,
            "Bytes of answers' bodies that went to clients.",
            |it| it.sent_bytes,
        ),
    ];
    for (name, kind, help, figure) in figures {
        text.family(name, kind, help);
        for route in &routes {
            text.sample(name, &route.labels, figure(route.metrics));
        }
    }
    let name = "weir_requests_waiting";
    text.family(name, Kind::Gauge, "Requests that wait for a place at an instance.");
    for waiting in &node.waiting {
        if let Some(seen) = view.environments.get(&waiting.environment) {
            let (app, process) = parts(&waiting.target);
            let own = [("app", app), ("process", process)];
            text.sample(name, &[&seen.labels()[..], &own].concat(), waiting.waiting);
        }
    }
}

/// Who answered how, and how long it took.
fn answers(routes: &[Route<'_>], text: &mut Text) {
    const GROUPS: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];
    let statuses = || {
        routes.iter().flat_map(|route| {
            let group = |digit: u8| GROUPS.get(usize::from(digit)).copied().unwrap_or("none");
            let statuses = route.metrics.statuses.iter();
            statuses.map(move |status| (route, group(status.digit), status))
        })
    };
    let name = "weir_requests_total";
    text.family(
        name,
        Kind::Counter,
        "Requests by status and who answered: the app, or a page of Weir; `nobody` where the client went before.",
    );
    for (route, group, status) in statuses() {
        let app = if status.digit == 0 { "nobody" } else { "app" };
        let by_app = (status.app > 0).then_some((app, status.app));
        let by_pages = status.pages.iter().map(|(page, count)| (page.as_str(), *count));
        for (by, count) in by_app.into_iter().chain(by_pages) {
            let own = [("status", group), ("answered_by", by)];
            text.sample(name, &[&route.labels[..], &own].concat(), count);
        }
    }
    let name = "weir_request_first_byte_seconds";
    text.family(
        name,
        Kind::Histogram,
        "From the head of a request to the head of its answer.",
    );
    for (route, group, status) in statuses().filter(|(_, _, status)| status.digit != 0) {
        text.histogram(
            name,
            &[&route.labels[..], &[("status", group)]].concat(),
            &status.first_byte,
        );
    }
    let name = "weir_request_duration_seconds";
    text.family(
        name,
        Kind::Histogram,
        "From the head of a request to the end of its answer.",
    );
    for (route, group, status) in statuses() {
        text.histogram(
            name,
            &[&route.labels[..], &[("status", group)]].concat(),
            &status.duration,
        );
    }
}

/// None of what must not be seen, or is gone.
fn labels<'a>(view: &'a View, route: &'a RouteMetrics) -> Option<Vec<(&'static str, &'a str)>> {
    let (project, environment) = match &route.environment {
        Some(environment) => {
            let seen = view.environments.get(environment)?;
            (seen.project.as_str(), seen.environment.name.as_str())
        }
        None if view.everything => ("", ""),
        None => return None,
    };
    let (app, process) = parts(&route.target);
    Some(vec![
        ("project", project),
        ("environment", environment),
        ("app", app),
        ("process", process),
        ("route", &route.path_prefix),
        ("class", &route.class),
    ])
}

fn parts(target: &str) -> (&str, &str) {
    target.split_once('.').unwrap_or((target, ""))
}
