//! The access log's way out of the node: from the requests of apps that have it switched on, through
//! a bounded queue, in batches to control, which keeps it.
//!
//! No request ever waits for it. Where control is away or slow the queue fills up; what does not
//! fit is counted by app and told with the next batch. An environment may have as much in the queue
//! as there is still free, so that one that writes a lot leaves room for all others: those that want
//! more than there is come to the same share.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName};
use http::{Request, StatusCode, Version};
use tokio::sync::mpsc;
use weir_model::access_log::{AccessBatch, AccessEntry, AccessLogging, AccessRequest};
use weir_model::{AppName, EnvironmentId, InstanceId};

use crate::body::RequestBody;
use crate::clock;
use crate::control_link::{Control, LinkError};
use crate::metrics::Outcome;
use crate::node::Shared;
use crate::serve::Origin;
use crate::trace::Trace;

/// Bytes of memory of entries that may wait for control; each has some hundred, and 8 KiB at most.
const QUEUE_BYTES: usize = 32 << 20;
/// Of an entry without what its client says.
const ENTRY_BYTES: usize = 700;
/// Entries of one batch, and bytes of what is in them.
const BATCH: usize = 1_000;
const BATCH_BYTES: usize = 2 << 20;
/// So long after a first entry it is waited for more, unless there is a batch already.
const GATHER: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(10);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long a node that stops goes on telling what it has.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest words of a client that are kept of each kind, in bytes.
const PATH_BYTES: usize = 2_048;
const AGENT_BYTES: usize = 512;
const REFERER_BYTES: usize = 1_024;
const METHOD_BYTES: usize = 32;

/// The node's end of the access logs.
#[derive(Debug)]
pub(crate) struct AccessLog {
    queue: mpsc::UnboundedSender<Box<Record>>,
    /// Bytes in the queue.
    queued: Arc<AtomicUsize>,
    sources: Mutex<Sources>,
    /// Taken for as long as somebody sends.
    outbox: tokio::sync::Mutex<Outbox>,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Sources {
    apps: HashMap<(EnvironmentId, AppName), Arc<Source>>,
    /// Bytes in the queue of each environment.
    queued: HashMap<EnvironmentId, Arc<AtomicUsize>>,
}

#[derive(Debug)]
struct Outbox {
    queue: mpsc::UnboundedReceiver<Box<Record>>,
    /// Not taken by control yet.
    batch: AccessBatch,
    /// Bytes of what is in it.
    bytes: usize,
}

/// One app whose requests are logged.
#[derive(Debug)]
pub(crate) struct Source {
    environment: EnvironmentId,
    app: AppName,
    queue: mpsc::UnboundedSender<Box<Record>>,
    /// Bytes in the queue: of all, and of the environment.
    in_all: Arc<AtomicUsize>,
    of_environment: Arc<AtomicUsize>,
    /// Left out and not told yet.
    dropped: AtomicU64,
}

/// From which app an entry is, and how much it says.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    source: Arc<Source>,
    process: Box<str>,
    logging: AccessLogging,
}

/// One entry as it grows.
#[derive(Debug)]
pub(crate) struct Record {
    source: Arc<Source>,
    entry: AccessEntry,
    bytes: usize,
}

impl AccessLog {
    pub(crate) fn new() -> Self {
        let (sender, queue) = mpsc::unbounded_channel();
        Self {
            queue: sender,
            queued: Arc::default(),
            sources: Mutex::default(),
            outbox: tokio::sync::Mutex::new(Outbox {
                queue,
                batch: AccessBatch::default(),
                bytes: 0,
            }),
            dropped: AtomicU64::new(0),
        }
    }

    /// For a route of this target (`app.process`); none if its requests are not logged.
    pub(crate) fn of(&self, environment: EnvironmentId, target: &str, logging: AccessLogging) -> Option<Logged> {
        if logging == AccessLogging::Off {
            return None;
        }
        let (app, process) = target.split_once('.')?;
        let app = AppName::new(app).ok()?;
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let Sources { apps, queued } = &mut *sources;
        let fresh = || {
            Arc::new(Source {
                environment,
                app: app.clone(),
                queue: self.queue.clone(),
                in_all: Arc::clone(&self.queued),
                of_environment: Arc::clone(queued.entry(environment).or_default()),
                dropped: AtomicU64::new(0),
            })
        };
        let source = apps.entry((environment, app.clone())).or_insert_with(fresh);
        Some(Logged {
            source: Arc::clone(source),
            process: process.into(),
            logging,
        })
    }

    /// Lines that were left out since the node started.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// What was left out since the last time; forgets apps that log nothing any more.
    fn take_dropped(&self) -> Vec<(EnvironmentId, AppName, u64)> {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut told = Vec::new();
        sources.apps.retain(|(environment, app), source| {
            let dropped = source.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.dropped.fetch_add(dropped, Ordering::Relaxed);
                told.push((*environment, app.clone(), dropped));
            }
            Arc::strong_count(source) > 1
        });
        sources.queued.retain(|_, queued| Arc::strong_count(queued) > 1);
        told
    }
}

impl Record {
    /// A request whose head has come and whose route is known.
    pub(crate) fn begin(
        logged: &Logged,
        origin: &Origin,
        host: &str,
        request: &Request<RequestBody>,
        version: Version,
        trace: &Trace,
    ) -> Self {
        let (uri, headers) = (request.uri(), request.headers());
        let query = uri.query().filter(|_| logged.logging == AccessLogging::WithQuery);
        let referer = text_of(headers, &header::REFERER, REFERER_BYTES).map(without_query);
        let asked = AccessRequest {
            client: origin.client.to_canonical(),
            method: bounded(request.method().as_str().to_owned(), METHOD_BYTES),
            host: host.to_owned(),
            path: bounded(uri.path().to_owned(), PATH_BYTES),
            query: query.map(|query| bounded(query.to_owned(), PATH_BYTES)),
            protocol: format!("{version:?}"),
            tls: origin.session.as_ref().map(|session| session.version.to_owned()),
            user_agent: text_of(headers, &header::USER_AGENT, AGENT_BYTES),
            referer,
            request_id: String::from_utf8_lossy(trace.request_id.as_bytes()).into_owned(),
            trace_id: trace.trace_id().to_owned(),
        };
        let entry = AccessEntry {
            environment: logged.source.environment,
            app: logged.source.app.clone(),
            process: logged.process.to_string(),
            at_ms: clock::unix_ms(),
            request: asked,
            status: None,
            answered_by: None,
            instance: None,
            received_bytes: 0,
            sent_bytes: 0,
            first_byte_us: None,
            duration_us: 0,
        };
        let asked = &entry.request;
        let words =
            [&asked.query, &asked.user_agent, &asked.referer].map(|words| words.as_ref().map_or(0, String::len));
        Self {
            source: Arc::clone(&logged.source),
            bytes: ENTRY_BYTES + asked.path.len() + words.iter().sum::<usize>(),
            entry,
        }
    }

    /// The instance that gets it.
    pub(crate) fn instance(&mut self, instance: InstanceId) {
        self.entry.instance = Some(instance);
    }

    /// The head of the answer goes out.
    pub(crate) fn answered(&mut self, status: u16, by: &str) {
        self.entry.status = Some(status);
        self.entry.answered_by = Some(by.to_owned());
    }

    /// The answer has ended. The entry goes into the queue; if that is full, it is only counted.
    pub(crate) fn end(mut self: Box<Self>, outcome: &Outcome) {
        self.entry.received_bytes = outcome.received_bytes;
        self.entry.sent_bytes = outcome.sent_bytes;
        self.entry.first_byte_us = outcome.first_byte_us;
        self.entry.duration_us = outcome.duration_us;
        let source = Arc::clone(&self.source);
        if !source.has_room(self.bytes) || source.queue.send(self).is_err() {
            source.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Source {
    /// Takes room in the queue, if the environment has no more there already than is free.
    fn has_room(&self, bytes: usize) -> bool {
        let free = QUEUE_BYTES.saturating_sub(self.in_all.load(Ordering::Relaxed));
        // Others may look at the same moment; one more for each worker does no harm.
        if self.of_environment.load(Ordering::Relaxed) + bytes > free {
            return false;
        }
        self.in_all.fetch_add(bytes, Ordering::Relaxed);
        self.of_environment.fetch_add(bytes, Ordering::Relaxed);
        true
    }
}

/// Carries entries to control until it is dropped; what was not taken stays in the outbox.
pub(crate) async fn send(shared: &Shared, socket: &Path) {
    carry(&shared.access_log, socket, GATHER).await;
}

async fn carry(log: &AccessLog, socket: &Path, gather: Duration) {
    let mut outbox = log.outbox.lock().await;
    let mut control = Control::new(socket);
    let mut pause = SHORTEST_PAUSE;
    loop {
        if outbox.batch.entries.is_empty() {
            let Some(first) = outbox.queue.recv().await else { return };
            outbox.take(first);
            if outbox.queue.len() < BATCH {
                tokio::time::sleep(gather).await;
            }
        }
        outbox.fill(log);
        match hand_over(&mut control, &outbox.batch).await {
            Ok(()) => {
                outbox.taken();
                pause = SHORTEST_PAUSE;
            }
            Err(error) => {
                tracing::debug!(%error, "control does not take lines of access logs; they wait");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Tells control what is left when the node stops; for a few seconds at most.
pub(crate) async fn flush(shared: &Shared, socket: &Path) {
    let log = &shared.access_log;
    let all = async {
        let mut outbox = log.outbox.lock().await;
        let mut control = Control::new(socket);
        loop {
            outbox.fill(log);
            if outbox.batch == AccessBatch::default() {
                return Ok::<_, LinkError>(());
            }
            hand_over(&mut control, &outbox.batch).await?;
            outbox.taken();
        }
    };
    match tokio::time::timeout(FLUSH_TIMEOUT, all).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::info!(%error, "the last lines of access logs are lost"),
        Err(_) => tracing::info!("the last lines of access logs are lost: control does not take them in time"),
    }
}

impl Outbox {
    fn take(&mut self, record: Box<Record>) {
        let Record { source, entry, bytes } = *record;
        source.in_all.fetch_sub(bytes, Ordering::Relaxed);
        source.of_environment.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self.batch.entries.push(entry);
    }

    /// Control has taken the batch.
    fn taken(&mut self) {
        self.batch = AccessBatch::default();
        self.bytes = 0;
    }

    /// Puts what waits into the batch, as far as there is room.
    fn fill(&mut self, log: &AccessLog) {
        while self.batch.entries.len() < BATCH
            && self.bytes < BATCH_BYTES
            && let Ok(record) = self.queue.try_recv()
        {
            self.take(record);
        }
        for (environment, app, lines) in log.take_dropped() {
            let told = &mut self.batch.dropped;
            match told.iter_mut().find(|told| told.0 == environment && told.1 == app) {
                Some(told) => told.2 += lines,
                None => told.push((environment, app, lines)),
            }
        }
    }
}

async fn hand_over(control: &mut Control, batch: &AccessBatch) -> Result<(), LinkError> {
    let text = serde_json::to_vec(batch).map_err(|error| LinkError::Answer(error.to_string()))?;
    let request = Request::post("/node/access-log").header(header::CONTENT_TYPE, "application/json");
    match control.exchange(request, text.into(), TIMEOUT).await? {
        (status, _) if status.is_success() => Ok(()),
        // Sent again it would be refused again, and hold up everything behind it.
        (status @ (StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY), _) => {
            tracing::warn!(%status, lines = batch.entries.len(), "control refuses lines of access logs; they are lost");
            Ok(())
        }
        (status, _) => Err(LinkError::Answer(format!("status {status} to lines of access logs"))),
    }
}

/// The first value of a header; what is no UTF-8 in it is replaced.
fn text_of(headers: &HeaderMap, name: &HeaderName, most_bytes: usize) -> Option<String> {
    let bytes = headers.get(name)?.as_bytes();
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(most_bytes)]).into_owned();
    Some(bounded(text, most_bytes))
}

fn without_query(mut url: String) -> String {
    if let Some(end) = url.find(['?', '#']) {
        url.truncate(end);
    }
    url
}

fn bounded(mut text: String, most_bytes: usize) -> String {
    let mut end = most_bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(log: &AccessLog, app: &str, logging: AccessLogging) -> Option<Logged> {
        log.of(EnvironmentId::from_parts(1, 1), app, logging)
    }

    fn record(logged: &Logged, uri: &str, headers: &[(HeaderName, &[u8])]) -> Record {
        let mut request = Request::new(RequestBody::empty());
        *request.uri_mut() = uri.parse().unwrap();
        for (name, value) in headers {
            let value = http::HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().insert(name, value);
        }
        let origin = Origin {
            client: [9, 9, 9, 9].into(),
            session: None,
            secure: false,
            is_proxy: false,
            places: None,
        };
        let trace = crate::trace::identify(&mut HeaderMap::new());
        Record::begin(logged, &origin, "shop.localhost", &request, Version::HTTP_2, &trace)
    }

    const OUTCOME: Outcome = Outcome {
        digit: 2,
        page: None,
        first_byte_us: Some(1),
        duration_us: 2,
        received_bytes: 3,
        sent_bytes: 4,
    };

    #[test]
    fn queries_are_kept_only_where_that_was_asked_for() {
        let log = AccessLog::new();
        assert!(logged(&log, "shop.web", AccessLogging::Off).is_none());
        assert!(logged(&log, "", AccessLogging::On).is_none());
        let referer = (header::REFERER, &b"https://a.example/x?token=1#y"[..]);
        for (logging, query) in [
            (AccessLogging::On, None),
            (AccessLogging::WithQuery, Some("token=secret")),
        ] {
            let logged = logged(&log, "shop.web", logging).unwrap();
            let asked = record(&logged, "/a?token=secret", std::slice::from_ref(&referer))
                .entry
                .request;
            assert_eq!((asked.path.as_str(), asked.query.as_deref()), ("/a", query));
            assert_eq!(asked.referer.as_deref(), Some("https://a.example/x"));
            assert_eq!((asked.protocol.as_str(), asked.tls), ("HTTP/2.0", None));
        }
    }

    #[test]
    fn what_clients_say_is_bounded_and_breaks_no_line() {
        let log = AccessLog::new();
        let logged = logged(&log, "shop.web", AccessLogging::On).unwrap();
        let agent = [&b"\"}\t\xff\xfe{"[..], &[b'"'; 5_000]].concat();
        let record = record(
            &logged,
            &format!("/{}", "\"".repeat(0) + &"x".repeat(9_000)),
            &[(header::USER_AGENT, &agent)],
        );
        let text = serde_json::to_string(&record.entry).unwrap();
        assert!(text.len() < 8 << 10, "{}", text.len());
        assert!(!text.contains(['\n', '\r', '\t']));
        let back: AccessEntry = serde_json::from_str(&text).unwrap();
        assert_eq!(back, record.entry);
        assert!(back.request.user_agent.unwrap().len() <= AGENT_BYTES);
    }

    /// Entries of an environment until one does not fit.
    fn fill_up(logged: &Logged) -> usize {
        for number in 0.. {
            Box::new(record(logged, "/", &[])).end(&OUTCOME);
            if logged.source.dropped.load(Ordering::Relaxed) > 0 {
                return number;
            }
        }
        unreachable!()
    }

    #[test]
    fn a_full_queue_drops_and_tells_how_much() {
        let log = AccessLog::new();
        let first = logged(&log, "shop.web", AccessLogging::On).unwrap();
        let taken = fill_up(&first);
        for _ in 0..6 {
            Box::new(record(&first, "/", &[])).end(&OUTCOME);
        }
        let mut outbox = log.outbox.try_lock().unwrap();
        outbox.fill(&log);
        assert_eq!(outbox.batch.entries.len(), BATCH);
        assert_eq!((outbox.batch.dropped[0].2, log.dropped()), (7, 7));
        outbox.fill(&log);
        assert_eq!(outbox.batch.dropped.len(), 1);
        drop(first);
        let mut told = 0;
        while !outbox.batch.entries.is_empty() {
            told += outbox.batch.entries.len();
            outbox.taken();
            outbox.fill(&log);
        }
        assert_eq!((told, log.queued.load(Ordering::Relaxed)), (taken, 0));
        let sources = log.sources.lock().unwrap();
        assert!(sources.apps.is_empty() && sources.queued.is_empty());
    }

    #[test]
    fn who_writes_a_lot_leaves_room_for_others() {
        let log = AccessLog::new();
        let app = |environment| {
            let environment = EnvironmentId::from_parts(1, environment);
            log.of(environment, "shop.web", AccessLogging::On).unwrap()
        };
        let (loud, other, third) = (app(1), app(2), app(3));
        let loud_ones = fill_up(&loud);
        let others = fill_up(&other);
        assert!(others >= loud_ones / 2 - 1 && others > 1_000, "{loud_ones} {others}");
        assert!(fill_up(&third) >= others / 2 - 1);
        let most = QUEUE_BYTES / (ENTRY_BYTES + 1);
        assert!(loud_ones >= most / 2 - 2 && loud_ones + others < most);
        // As the queue empties, each of those who go on comes to the same share.
        let mut outbox = log.outbox.try_lock().unwrap();
        for _ in 0..200 {
            outbox.taken();
            outbox.fill(&log);
            for logged in [&loud, &other] {
                for _ in 0..BATCH {
                    Box::new(record(logged, "/", &[])).end(&OUTCOME);
                }
            }
        }
        let share = |logged: &Logged| logged.source.of_environment.load(Ordering::Relaxed);
        assert!(share(&loud).abs_diff(share(&other)) < QUEUE_BYTES / 20);
    }

    /// Control at a socket, which takes whatever comes.
    async fn control(listener: tokio::net::UnixListener, batches: Arc<AtomicUsize>) {
        use http_body_util::{BodyExt as _, Full};
        let (stream, _) = listener.accept().await.unwrap();
        let answer = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
            let batches = Arc::clone(&batches);
            async move {
                request.into_body().collect().await.unwrap();
                batches.fetch_add(1, Ordering::Relaxed);
                Ok::<_, std::convert::Infallible>(http::Response::new(Full::<bytes::Bytes>::default()))
            }
        });
        let stream = hyper_util::rt::TokioIo::new(stream);
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(stream, answer)
            .await;
    }

    #[tokio::test]
    async fn what_waits_is_told_in_batches_without_pauses_between_them() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("control.sock");
        let (batches, log) = (Arc::new(AtomicUsize::new(0)), AccessLog::new());
        tokio::spawn(control(
            tokio::net::UnixListener::bind(&socket).unwrap(),
            Arc::clone(&batches),
        ));
        let logged = logged(&log, "shop.web", AccessLogging::On).unwrap();
        for _ in 0..21 * BATCH {
            Box::new(record(&logged, "/a/usual/path", &[])).end(&OUTCOME);
        }
        let began = std::time::Instant::now();
        let told = async {
            while batches.load(Ordering::Relaxed) < 20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            // With a pause after each batch it would take an hour.
            () = carry(&log, &socket, Duration::from_secs(180)) => panic!("the queue is there"),
            () = tokio::time::sleep(Duration::from_secs(60)) => panic!("only {batches:?} batches were told"),
            () = told => {}
        }
        let lines = f64::from(u32::try_from(20 * BATCH).unwrap());
        println!("{:.0} lines per second", lines / began.elapsed().as_secs_f64());
    }
}
