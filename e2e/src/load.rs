//! A constant load on one app (the probe) by a client that forgives nothing: every error,
//! reset, wrong status, cut body and old answer after a new one counts.
//!
//! Several kinds of clients at once: connections that are kept alive, a new connection for each
//! request, HTTP/2 (prior knowledge), answers that take a second to stream, downloads whose every
//! byte is checked, and websockets that must echo. The first three are sent at a constant rate whether or not earlier ones were answered, so that a hold
//! does not thin out the load. Bounded: at most [`LoadOptions::limit`] long, at most 500
//! requests in flight.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_tungstenite::tungstenite::Message;

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
    /// How many downloads go on at any time, and how many MiB each has.
    pub downloads: (u32, u32),
    /// How long each websocket is used until its client closes it; `None`: to the end.
    pub websocket_life: Option<Duration>,
    /// An answer to a quick request that comes later than this is a failure.
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
            downloads: (0, 0),
            websocket_life: None,
            late: Duration::from_secs(90),
            drain: None,
            mixed: false,
            limit: Duration::from_secs(900),
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Whether websockets were part of the load.
    pub expects_echoes: bool,
    /// Requests whose answer was right, by kind of client.
    pub right: BTreeMap<&'static str, u64>,
    /// How often each thing went wrong.
    pub wrong: BTreeMap<String, u64>,
    /// Longest time from sending a quick request to the end of its answer: the longest hold.
    pub longest: Duration,
    /// Times of all quick requests, in microseconds.
    pub times_us: Vec<u64>,
    /// The same by kind of client.
    pub times_by_kind_us: BTreeMap<&'static str, Vec<u64>>,
    /// How many failed, by kind of client.
    pub wrong_by_kind: BTreeMap<&'static str, u64>,
    /// Messages that websockets echoed.
    pub echoed: u64,
    /// Websockets that ended because their release was drained.
    pub drained: u64,
    /// Requests over HTTP/2 that were sent again because a GOAWAY said that they were not begun.
    pub repeated: u64,
}

impl Report {
    /// How many requests were sent, websocket handshakes included.
    pub fn sent(&self) -> u64 {
        self.right.values().sum::<u64>() + self.failed()
    }

    /// How many things went wrong.
    pub fn failed(&self) -> u64 {
        self.wrong.values().sum()
    }

    /// A percentile (0 to 100) of the times of quick requests.
    pub fn percentile(&self, percent: usize) -> Duration {
        percentile(&self.times_us, percent)
    }

    /// The same of one kind of client; 100 is the longest.
    pub fn percentile_of(&self, kind: &str, percent: usize) -> Duration {
        percentile(self.times_by_kind_us.get(kind).map_or(&[], Vec::as_slice), percent)
    }

    /// One line for people.
    pub fn summary(&self) -> String {
        format!(
            "{} requests sent, {} failed; median {:.1?}, 99 % {:.1?}, longest {:.1?}; {} echoed by websockets, {} of which were drained; {} repeated after GOAWAY",
            self.sent(),
            self.failed(),
            self.percentile(50),
            self.percentile(99),
            self.longest,
            self.echoed,
            self.drained,
            self.repeated,
        )
    }

    /// Fails with what went wrong, if anything did, or if there was hardly any load.
    pub fn none_failed(self) -> Result<Self> {
        ensure!(self.failed() == 0, "{}: {:#?}", self.summary(), self.wrong);
        ensure!(
            self.sent() > 20 && (self.echoed > 0 || !self.expects_echoes),
            "too little load to prove anything: {}",
            self.summary()
        );
        Ok(self)
    }
}

fn percentile(times_us: &[u64], percent: usize) -> Duration {
    let mut times = times_us.to_vec();
    times.sort_unstable();
    let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
    Duration::from_micros(times.get(index).copied().unwrap_or(0))
}

/// How often a request over HTTP/2 is sent at most.
const MOST_TRIES: u32 = 4;

struct Shared {
    options: LoadOptions,
    stop: AtomicBool,
    deadline: Instant,
    report: Mutex<Report>,
    /// The newest version that any answer came from.
    newest: AtomicU32,
    /// When each version answered for the first time.
    first_answers: Mutex<BTreeMap<u32, Instant>>,
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
    /// The connection of HTTP/2 that is used at present.
    http2: tokio::sync::Mutex<Option<Http2Sender>>,
    in_flight: Semaphore,
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
            idle: Mutex::default(),
            http2: tokio::sync::Mutex::default(),
            in_flight: Semaphore::new(500),
            options,
        });
        let mut clients = JoinSet::new();
        clients.spawn(send_at_rate(Arc::clone(&shared), Kind::KeptAlive));
        clients.spawn(send_at_rate(Arc::clone(&shared), Kind::Fresh));
        clients.spawn(send_at_rate(Arc::clone(&shared), Kind::Http2));
        for _ in 0..shared.options.downloads.0 {
            clients.spawn(download(Arc::clone(&shared)));
        }
        for _ in 0..shared.options.slow {
            clients.spawn(stream_slowly(Arc::clone(&shared)));
        }
        for _ in 0..shared.options.websockets {
            clients.spawn(keep_websocket(Arc::clone(&shared)));
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

type Http2Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

#[derive(Clone, Copy)]
enum Kind {
    KeptAlive,
    Fresh,
    Http2,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::KeptAlive => "kept alive",
            Self::Fresh => "new connection",
            Self::Http2 => "HTTP/2",
        }
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
        if result.is_err() {
            *report.wrong_by_kind.entry(kind).or_default() += 1;
        }
        match result {
            Ok(()) => *report.right.entry(kind).or_default() += 1,
            Err(error) => *report.wrong.entry(format!("{kind}: {error:#}")).or_default() += 1,
        }
    }

    /// Checks the body of a right answer, `probe VERSION…`: an older release must not answer
    /// a request that was sent after a newer one had answered another.
    fn check_version(&self, body: &str, newest_when_sent: u32) -> Result<()> {
        let version = version_of(body)?;
        ensure!(
            self.options.mixed || version >= newest_when_sent,
            "an older release answered after a newer one"
        );
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

    async fn connect(&self) -> Result<SendRequest<Empty<Bytes>>> {
        let stream = TcpStream::connect(self.options.address).await.context("connect")?;
        stream.set_nodelay(true).context("connect")?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .context("connect")?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection that is open and idle, or a new one. One that the other side has closed in
    /// order between two requests is no error.
    async fn connection(&self, kind: Kind) -> Result<SendRequest<Empty<Bytes>>> {
        if matches!(kind, Kind::KeptAlive) {
            loop {
                let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
                let Some(mut sender) = idle else { break };
                if sender.ready().await.is_ok() {
                    return Ok(sender);
                }
            }
        }
        self.connect().await
    }

    /// The connection of HTTP/2, or a new one where it takes no more requests.
    async fn http2(&self) -> Result<Http2Sender> {
        let mut current = self.http2.lock().await;
        if let Some(sender) = current.as_mut()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        let stream = TcpStream::connect(self.options.address).await.context("connect")?;
        stream.set_nodelay(true).context("connect")?;
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .context("connect")?;
        tokio::spawn(connection);
        *current = Some(sender.clone());
        Ok(sender)
    }

    /// A request that the other side has not begun, because its connection ends in order (GOAWAY), is
    /// sent again, as every client does.
    async fn exchange_http2(&self, path: &str) -> Result<String> {
        for tries in 1.. {
            let mut sender = self.http2().await?;
            let uri = format!("http://{}:{}{path}", self.options.host, self.options.address.port());
            let request = Request::builder().uri(uri).body(Empty::new())?;
            match sender.try_send_request(request).await {
                Ok(answer) => return body_of(answer).await,
                Err(mut refused) => {
                    let sent = refused.take_message().is_none();
                    let error = refused.into_error();
                    if tries >= MOST_TRIES || sent && !is_not_begun(&error) {
                        return Err(error).context("no answer");
                    }
                    self.report.lock().unwrap_or_else(PoisonError::into_inner).repeated += 1;
                }
            }
        }
        bail!("no answer")
    }

    async fn exchange(&self, sender: &mut SendRequest<Empty<Bytes>>, path: &str) -> Result<String> {
        let host = format!("{}:{}", self.options.host, self.options.address.port());
        let request = Request::builder().uri(path).header("host", host).body(Empty::new())?;
        let answer = sender.send_request(request).await.context("no answer")?;
        body_of(answer).await
    }
}

/// Whether a GOAWAY without an error says that the request was not begun: its stream has a greater number
/// than the last one that the other side took, so that it may be sent again (RFC 9113, 6.8). That happens
/// when the client's answer to the server's PING overtakes a request that waits to be written. A stream that
/// was begun and then cut has another error.
fn is_not_begun(error: &hyper::Error) -> bool {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes
        .filter_map(|cause| cause.downcast_ref::<h2::Error>())
        .any(|cause| cause.is_go_away() && cause.is_remote() && cause.reason() == Some(h2::Reason::NO_ERROR))
}

/// The body of an answer that is right and whole.
async fn body_of(answer: hyper::Response<hyper::body::Incoming>) -> Result<String> {
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .context("the answer was cut")?
        .to_bytes();
    let body = String::from_utf8_lossy(&body).into_owned();
    if status != 200 {
        let first: String = body.chars().filter(|c| !c.is_control()).take(160).collect();
        bail!("status {status}: {first}");
    }
    Ok(body)
}

fn version_of(body: &str) -> Result<u32> {
    let word = body
        .strip_prefix("probe ")
        .and_then(|rest| rest.split_whitespace().next());
    let version = word.and_then(|word| word.parse().ok());
    version.with_context(|| format!("wrong body: {}", body.chars().take(80).collect::<String>()))
}

async fn send_at_rate(shared: Arc<Shared>, kind: Kind) {
    let per_s = match kind {
        Kind::KeptAlive => shared.options.kept_alive_per_s,
        Kind::Fresh => shared.options.fresh_per_s,
        Kind::Http2 => shared.options.http2_per_s,
    };
    if per_s == 0 {
        return;
    }
    let mut tick = interval(Duration::from_secs(1) / per_s);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    while shared.goes_on() {
        tick.tick().await;
        let shared = Arc::clone(&shared);
        requests.spawn(async move {
            let Ok(_permit) = shared.in_flight.acquire().await else {
                return;
            };
            let begin = Instant::now();
            let result = match timeout(Duration::from_secs(90), send_quick(&shared, kind)).await {
                Ok(result) => result,
                Err(_) => Err(anyhow::anyhow!("no answer within 90 s")),
            };
            let late = shared.options.late;
            let result = match result {
                Ok(()) if begin.elapsed() > late => Err(anyhow::anyhow!("later than {late:?}")),
                result => result,
            };
            shared.record(kind.name(), Some(begin), result);
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

async fn send_quick(shared: &Shared, kind: Kind) -> Result<()> {
    if matches!(kind, Kind::Http2) {
        let newest = shared.newest.load(Ordering::Relaxed);
        let body = shared.exchange_http2(&shared.options.path).await?;
        return shared.check_version(&body, newest);
    }
    let mut sender = shared.connection(kind).await?;
    let newest = shared.newest.load(Ordering::Relaxed);
    let body = shared.exchange(&mut sender, &shared.options.path).await?;
    if matches!(kind, Kind::KeptAlive) {
        shared.idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }
    shared.check_version(&body, newest)
}

async fn stream_slowly(shared: Arc<Shared>) {
    while shared.goes_on() {
        let result = async {
            let mut sender = shared.connect().await?;
            let newest = shared.newest.load(Ordering::Relaxed);
            let body = shared.exchange(&mut sender, "/slow?ms=1000").await?;
            ensure!(body.ends_with(".........."), "the slow answer is not whole");
            shared.check_version(&body, newest)
        };
        let result = match timeout(Duration::from_secs(90), result).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("no answer within 90 s")),
        };
        let failed = result.is_err();
        shared.record("slow answer", None, result);
        if failed {
            // An error that comes at once must not become thousands.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Downloads, one after the other: each is as long as it says, and every byte is the right one.
async fn download(shared: Arc<Shared>) {
    let mib = shared.options.downloads.1;
    while shared.goes_on() {
        let result = async {
            let mut sender = shared.connect().await?;
            let host = format!("{}:{}", shared.options.host, shared.options.address.port());
            let path = format!("/download?mib={mib}");
            let request = Request::builder().uri(path).header("host", host).body(Empty::new())?;
            let answer = sender.send_request(request).await.context("no answer")?;
            ensure!(answer.status() == 200, "status {}", answer.status());
            let (mut body, mut at) = (answer.into_body(), 0_u64);
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.context("the answer was cut")?.into_data() else {
                    continue;
                };
                let right = data.iter().zip(at..).all(|(byte, at)| u64::from(*byte) == at % 251);
                ensure!(right, "a wrong byte after {at}");
                at += u64::try_from(data.len())?;
            }
            ensure!(at == u64::from(mib) << 20, "{at} bytes instead of {mib} MiB");
            Ok(())
        };
        let result = match timeout(Duration::from_secs(180), result).await {
            Ok(result) => result,
            Err(_) => Err(anyhow::anyhow!("not whole within 180 s")),
        };
        let failed = result.is_err();
        shared.record("download", None, result);
        if failed {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

async fn keep_websocket(shared: Arc<Shared>) {
    while shared.goes_on() {
        let result = echo_until_drained(&shared).await;
        let failed = result.is_err();
        shared.record("websocket", None, result);
        if failed {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// Opens a websocket and lets it echo five times a second. Ends well with the load, or when the
/// other side ends it although (and only if) a newer release answers by now.
async fn echo_until_drained(shared: &Shared) -> Result<()> {
    let stream = TcpStream::connect(shared.options.address).await.context("connect")?;
    let url = format!("ws://{}:{}/ws", shared.options.host, shared.options.address.port());
    let opening = tokio_tungstenite::client_async(url, stream);
    let (mut socket, _) = timeout(Duration::from_secs(90), opening)
        .await
        .context("handshake: too late")?
        .context("handshake")?;
    let mut version = 0;
    let mut count = 0_u64;
    let end = shared.options.websocket_life.map(|life| Instant::now() + life);
    loop {
        if end.is_some_and(|end| Instant::now() > end) {
            return close_in_order(socket).await;
        }
        let wanted = if version == 0 {
            None
        } else {
            Some(format!("echo {count}"))
        };
        if let Some(text) = &wanted
            && (!shared.goes_on() || socket.send(Message::text(text.as_str())).await.is_err())
        {
            break;
        }
        match timeout(Duration::from_secs(10), socket.next())
            .await
            .context("no echo within 10 s")?
        {
            Some(Ok(Message::Text(text))) => match wanted {
                None => version = version_of(&text)?,
                Some(wanted) => {
                    ensure!(text.as_str() == wanted, "a wrong echo");
                    count += 1;
                    shared.report.lock().unwrap_or_else(PoisonError::into_inner).echoed += 1;
                }
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            Some(Ok(_)) => {}
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    if !shared.goes_on() {
        return Ok(());
    }
    let cut = Instant::now();
    // A held app is switched before its new release can have answered: give it the time.
    let newer = crate::until("a newer release answers", Duration::from_secs(90), || async {
        Ok((shared.replaced_since(version).is_some() || !shared.goes_on()).then_some(()))
    });
    ensure!(newer.await.is_ok(), "cut although its release still serves");
    if let (Some(drain), Some(since)) = (shared.options.drain, shared.replaced_since(version)) {
        // A second less, because the switch is seen only with the next answer.
        ensure!(
            cut + Duration::from_secs(1) > since + drain,
            "cut before its drain window of {drain:?} was over"
        );
    }
    shared.report.lock().unwrap_or_else(PoisonError::into_inner).drained += 1;
    Ok(())
}

/// Says that it is over, and waits for the other side to say so, too.
async fn close_in_order<S>(mut socket: tokio_tungstenite::WebSocketStream<S>) -> Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    socket.close(None).await.context("it cannot be closed in order")?;
    let closed = async {
        while let Some(message) = socket.next().await {
            if matches!(message, Ok(Message::Close(_))) {
                return Ok(());
            }
            message.context("it was cut instead of closed")?;
        }
        bail!("it was cut instead of closed")
    };
    timeout(Duration::from_secs(10), closed)
        .await
        .context("it is not closed")?
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that gives these answers in turn, one a connection; `None` is a cut connection.
    async fn serve(answers: &'static [Option<&'static str>]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for answer in answers.iter().cycle() {
                let Ok((mut stream, _)) = listener.accept().await else {
                    return;
                };
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer).await;
                if let Some(text) = answer {
                    let _ = stream.write_all(text.as_bytes()).await;
                }
            }
        });
        address
    }

    async fn load(address: SocketAddr) -> Report {
        let load = Load::start(LoadOptions {
            kept_alive_per_s: 0,
            fresh_per_s: 100,
            slow: 0,
            websockets: 0,
            limit: Duration::from_millis(300),
            ..LoadOptions::usual(address, "x", "/")
        });
        load.finish_after_limit().await
    }

    impl Load {
        async fn finish_after_limit(self) -> Report {
            tokio::time::sleep_until(self.shared.deadline).await;
            self.finish().await
        }
    }

    const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nprobe 2";
    const OLD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nprobe 1";
    const BAD: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy";
    const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 70\r\n\r\nprobe 2";

    #[tokio::test]
    async fn right_answers_are_counted_as_such() {
        let report = load(serve(&[Some(GOOD)]).await).await;
        assert!(report.sent() >= 10 && report.failed() == 0, "{report:?}");
    }

    #[tokio::test]
    async fn cuts_wrong_statuses_and_halves_are_failures() {
        let report = load(serve(&[Some(GOOD), None, Some(BAD), Some(HALF)]).await).await;
        let kinds: Vec<&str> = report.wrong.keys().map(String::as_str).collect();
        for word in ["no answer", "status 503", "cut"] {
            assert!(
                kinds.iter().any(|kind| kind.contains(word)),
                "{word} is missing in {kinds:?}"
            );
        }
    }

    #[tokio::test]
    async fn old_answer_after_a_new_one_is_a_failure() {
        let report = load(serve(&[Some(GOOD), Some(OLD)]).await).await;
        assert!(
            report.wrong.keys().any(|kind| kind.contains("older release")),
            "{report:?}"
        );
    }

    /// A server of HTTP/2 that takes one request on each connection, says GOAWAY without an error and with
    /// this last stream, and closes.
    async fn go_away(last_stream: u8) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                let mut buffer = Vec::new();
                // The request's HEADERS (type 1) with END_STREAM and END_HEADERS on stream 1.
                while !buffer.windows(6).any(|bytes| bytes == [1, 5, 0, 0, 0, 1]) {
                    assert_ne!(stream.read_buf(&mut buffer).await.unwrap(), 0);
                }
                let frame = [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last_stream, 0, 0, 0, 0];
                stream.write_all(&frame).await.unwrap();
            }
        });
        address
    }

    async fn exchange_http2_once(address: SocketAddr) -> Report {
        let load = Load::start(LoadOptions {
            kept_alive_per_s: 0,
            fresh_per_s: 0,
            slow: 0,
            websockets: 0,
            ..LoadOptions::usual(address, "x", "/")
        });
        let result = load.shared.exchange_http2("/").await.map(|_| ());
        load.shared.record("HTTP/2", None, result);
        load.finish().await
    }

    #[tokio::test]
    async fn what_goaway_says_was_not_begun_is_sent_again() {
        let report = exchange_http2_once(go_away(0).await).await;
        assert_eq!((report.repeated, report.failed()), (3, 1), "{report:?}");
    }

    #[tokio::test]
    async fn what_was_begun_and_then_cut_is_a_failure() {
        let report = exchange_http2_once(go_away(1).await).await;
        assert_eq!((report.repeated, report.failed()), (0, 1), "{report:?}");
    }
}
