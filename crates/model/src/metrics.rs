//! What a node has counted, as it tells control; control names what the node knows by identity only.

use serde::{Deserialize, Serialize};

use crate::EnvironmentId;

/// The name of the socket, beside that of control, on which a node tells what it has counted.
pub const SOCKET: &str = "node-metrics.sock";

/// Upper bounds of the buckets of every histogram, in microseconds; a last bucket has what took
/// longer.
pub const BUCKETS_US: [u64; 15] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 30_000_000, 60_000_000,
];

/// Buckets of a histogram, the last one included.
pub const BUCKETS: usize = BUCKETS_US.len() + 1;

/// What a node has counted since it started, and what goes on there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeMetrics {
    /// Made anew at each start of the node.
    pub incarnation: u64,
    /// Sums over all apps.
    pub totals: NodeTotals,
    /// By route; only those that had requests.
    pub routes: Vec<RouteMetrics>,
    /// By process; only those where requests wait.
    pub waiting: Vec<WaitingMetrics>,
}

/// Sums over all apps since the node started; `open` and `waiting` are of now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeTotals {
    /// Connections accepted from clients.
    pub connections_accepted: u64,
    /// Connections of clients that are open.
    pub connections_open: u64,
    /// TLS handshakes that came about.
    pub handshakes: u64,
    /// TLS handshakes that did not.
    pub handshakes_failed: u64,
    /// Connections opened to instances.
    pub upstream_connects: u64,
    /// Requests sent over a connection that was already open.
    pub upstream_reuses: u64,
    /// Requests sent again because the first attempt certainly had no effect.
    pub retries: u64,
    /// Requests that waited at a held route.
    pub held: u64,
    /// Requests that waited for a free instance.
    pub queued: u64,
    /// Connections upgraded (websockets).
    pub upgrades: u64,
    /// Requests that wait now.
    pub waiting: u64,
    /// Lines of access logs that were left out, because control did not take them in time.
    pub access_lines_dropped: u64,
}

/// What was counted at one route, over all hosts that lead to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteMetrics {
    /// Whose it is; none for requests that reached no route.
    pub environment: Option<EnvironmentId>,
    /// The app and process, as `app.process`; empty for requests that reached no route.
    pub target: String,
    /// The path prefix, `/` for all paths.
    pub path_prefix: String,
    /// The class; `default` where it has none.
    pub class: String,
    /// Requests whose answer has not ended.
    pub in_flight: u64,
    /// Bytes of requests' bodies that came from clients.
    pub received_bytes: u64,
    /// Bytes of answers' bodies that went to clients.
    pub sent_bytes: u64,
    /// By the first digit of the status; only those that there were.
    pub statuses: Vec<StatusMetrics>,
}

/// Answers whose status begins with the same digit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusMetrics {
    /// The first digit, 1 to 5; 0 where the client went before there was an answer.
    pub digit: u8,
    /// Answers of the app.
    pub app: u64,
    /// Answers of Weir, by what its page is marked with.
    pub pages: Vec<(String, u64)>,
    /// From the head of the request to the head of the answer.
    pub first_byte: Histogram,
    /// From the head of the request to the end of the answer.
    pub duration: Histogram,
}

/// How long something took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Histogram {
    /// How many fell into each bucket ([`BUCKETS_US`]), not summed up.
    pub buckets: Vec<u64>,
    /// Sum of all, in microseconds.
    pub sum_us: u64,
}

/// Requests that wait for a place at an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingMetrics {
    /// Whose they are.
    pub environment: EnvironmentId,
    /// The app and process, as `app.process`.
    pub target: String,
    /// How many.
    pub waiting: u64,
}
