//! A constant load on one app (the probe) by a client that forgives nothing: every error,
//! reset, wrong status, cut body and old answer after a new one counts.
//!
//! Several kinds of clients at once: connections that are kept alive, a new connection for each
//! request, HTTP/2 (prior knowledge), the same by TLS, uploads that must come back, answers that take
//! a second to stream, downloads whose every byte is checked, and websockets that must echo. All but
//! the last three are sent at a constant rate whether or not earlier ones were answered, and are
//! measured from when they were due, so that a hold does not thin out the load. Bounded: at most
//! [`LoadOptions::limit`] long, at most 500 requests in flight.

mod clients;
mod connect;
mod report;
#[cfg(test)]
mod tests;
mod websocket;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::clients::Kind;
use self::connect::{Connections, Way};
pub use self::report::{Fault, Report};
use crate::tls::Tls;

/// Requests at a constant rate that are in flight at once.
const MOST_IN_FLIGHT: usize = 500;
/// Different failures that are told apart in words.
const MOST_WORDS: usize = 200;

/// What to send where.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The ingress.
    pub address: SocketAddr,
    /// Host of the app, without port.
    pub host: String,
    /// Path of the quick requests.
    pub path: String,
    /// Quick requests per second over connections that are kept alive.
    pub kept_alive_per_s: u32,
    /// Quick requests per second, each over a new connection.
    pub fresh_per_s: u32,
    /// How many answers of one second are streaming at any time.
    pub slow: u32,
    /// How many websockets are open at any time.
    pub websockets: u32,
    /// Quick requests per second over connections of HTTP/2.
    pub http2_per_s: u32,
    /// Uploads per second, of 64 KiB each, to `/echo`, which must give them back.
    pub uploads_per_s: u32,
    /// Where the same is reached by TLS; every second slow answer, download and websocket goes there.
    pub tls: Option<Tls>,
    /// Quick requests per second by TLS: over connections that are kept alive, each over a new one
    /// with a whole handshake, and over connections of HTTP/2.
    pub tls_per_s: [u32; 3],
    /// How many downloads go on at any time, and how many MiB each has.
    pub downloads: (u32, u32),
    /// How long each websocket is used until its client closes it; `None`: to the end.
    pub websocket_life: Option<Duration>,
    /// Whether nobody but its client may end a websocket, a new release or not.
    pub websockets_stay: bool,
    /// An answer to a request at a constant rate that comes later than this is a failure.
    pub late: Duration,
    /// Websockets of a release that was replaced must be able to go on for so long; `None`
    /// where a switch may cut them (an app with a volume for one writer).
    pub drain: Option<Duration>,
    /// Whether two releases may answer in turn, as during a canary.
    pub mixed: bool,
    /// The load ends by itself after so long.
    pub limit: Duration,
}

impl LoadOptions {
    /// 40 + 20 quick requests per second, 4 slow ones and 2 websockets at any time.
    pub fn usual(address: SocketAddr, host: &str, path: &str) -> Self {
        Self {
            address,
            host: host.to_owned(),
            path: path.to_owned(),
            kept_alive_per_s: 40,
            fresh_per_s: 20,
            slow: 4,
            websockets: 2,
            http2_per_s: 0,
            uploads_per_s: 0,
            tls: None,
            tls_per_s: [0; 3],
            downloads: (0, 0),
            websocket_life: None,
            websockets_stay: false,
            late: Duration::from_secs(90),
            drain: None,
            mixed: false,
            limit: Duration::from_secs(900),
        }
    }
}

struct Shared {
    options: LoadOptions,
    stop: AtomicBool,
    deadline: Instant,
    report: Mutex<Report>,
    /// The newest version that any answer came from.
    newest: AtomicU32,
    /// When each version answered for the first time.
    first_answers: Mutex<BTreeMap<u32, Instant>>,
    plain: Connections,
    tls: Connections,
    in_flight: Arc<Semaphore>,
}

/// A load that goes on until [`Load::finish`].
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Load {
    /// Starts the clients.
    pub fn start(options: LoadOptions) -> Self {
        let shared = Arc::new(Shared {
            deadline: Instant::now() + options.limit,
            stop: AtomicBool::new(false),
            report: Mutex::new(Report {
                expects_echoes: options.websockets > 0,
                ..Report::default()
            }),
            newest: AtomicU32::new(0),
            first_answers: Mutex::default(),
            plain: Connections::default(),
            tls: Connections::default(),
            in_flight: Arc::new(Semaphore::new(MOST_IN_FLIGHT)),
            options,
        });
        let mut clients = JoinSet::new();
        for kind in Kind::ALL {
            clients.spawn(clients::send_at_rate(Arc::clone(&shared), kind));
        }
        let way = |number: u32| match shared.options.tls {
            Some(_) if number % 2 == 1 => Way::Tls,
            _ => Way::Plain,
        };
        for number in 0..shared.options.downloads.0 {
            clients.spawn(clients::download(Arc::clone(&shared), way(number)));
        }
        for number in 0..shared.options.slow {
            clients.spawn(clients::stream_slowly(Arc::clone(&shared), way(number)));
        }
        for number in 0..shared.options.websockets {
            clients.spawn(websocket::keep(Arc::clone(&shared), way(number)));
        }
        Self { shared, clients }
    }

    /// The report so far.
    pub fn so_far(&self) -> Report {
        self.shared
            .report
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Sends nothing new, waits for what is in flight, and reports.
    pub async fn finish(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        while self.clients.join_next().await.is_some() {}
        self.so_far()
    }
}

impl Shared {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed) && Instant::now() < self.deadline
    }

    fn record(&self, kind: &'static str, begin: Option<Instant>, result: Result<()>) {
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(begin) = begin {
            let took = begin.elapsed();
            report.longest = report.longest.max(took);
            let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            report.times_us.push(took_us);
            report.times_by_kind_us.entry(kind).or_default().push(took_us);
        }
        let Err(error) = result else {
            *report.right.entry(kind).or_default() += 1;
            return;
        };
        let fault = error.downcast_ref().copied().unwrap_or(Fault::Wrong);
        *report.faults.entry((kind, fault)).or_default() += 1;
        let mut words = format!("{kind}: {error:#}");
        if report.wrong.len() >= MOST_WORDS && !report.wrong.contains_key(&words) {
            words = format!("{kind}: others");
        }
        *report.wrong.entry(words).or_default() += 1;
    }

    /// Checks the body of a right answer, `probe VERSION…`: an older release must not answer
    /// a request that was sent after a newer one had answered another.
    fn check_version(&self, body: &str, newest_when_sent: u32) -> Result<()> {
        let version = version_of(body)?;
        if !self.options.mixed && version < newest_when_sent {
            bail!(Fault::Stale);
        }
        if self.newest.fetch_max(version, Ordering::Relaxed) < version {
            let mut first = self.first_answers.lock().unwrap_or_else(PoisonError::into_inner);
            first.entry(version).or_insert_with(Instant::now);
        }
        Ok(())
    }

    /// Since when a newer version than this answers.
    fn replaced_since(&self, version: u32) -> Option<Instant> {
        let first = self.first_answers.lock().unwrap_or_else(PoisonError::into_inner);
        first.range(version + 1..).map(|(_, instant)| *instant).min()
    }
}

fn version_of(body: &str) -> Result<u32> {
    let word = body
        .strip_prefix("probe ")
        .and_then(|rest| rest.split_whitespace().next());
    let version = word.and_then(|word| word.parse().ok());
    version.with_context(|| format!("wrong body: {}", body.chars().take(80).collect::<String>()))
}
