//! The clients of single requests: quick ones and uploads at a constant rate, slow answers, downloads.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::connect::{Way, body_of, bytes_of};
use super::{Fault, Shared};

/// Longest wait for a whole answer that is not a download.
const PATIENCE: Duration = Duration::from_secs(90);
/// The same for a download.
const DOWNLOAD: Duration = Duration::from_secs(180);
/// An error that comes at once must not become thousands.
const REST: Duration = Duration::from_millis(200);
/// What is sent at once by an upload.
const UPLOAD: usize = 64 << 10;
/// Bytes that say where they stand, and how long it takes them to come round.
const ROUND: usize = 251;
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| (0..=250).cycle().take(UPLOAD + ROUND).collect());

/// What is sent at a constant rate.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    KeptAlive(Way),
    Fresh(Way),
    Http2(Way),
    Upload,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::KeptAlive(Way::Plain),
        Self::Fresh(Way::Plain),
        Self::Http2(Way::Plain),
        Self::KeptAlive(Way::Tls),
        Self::Fresh(Way::Tls),
        Self::Http2(Way::Tls),
        Self::Upload,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::KeptAlive(Way::Plain) => "kept alive",
            Self::Fresh(Way::Plain) => "new connection",
            Self::Http2(Way::Plain) => "HTTP/2",
            Self::KeptAlive(Way::Tls) => "TLS, kept alive",
            Self::Fresh(Way::Tls) => "TLS, new connection",
            Self::Http2(Way::Tls) => "TLS, HTTP/2",
            Self::Upload => "upload",
        }
    }

    fn per_s(self, shared: &Shared) -> u32 {
        let options = &shared.options;
        match self {
            Self::KeptAlive(Way::Plain) => options.kept_alive_per_s,
            Self::Fresh(Way::Plain) => options.fresh_per_s,
            Self::Http2(Way::Plain) => options.http2_per_s,
            Self::Upload => options.uploads_per_s,
            _ if options.tls.is_none() => 0,
            Self::KeptAlive(Way::Tls) => options.tls_per_s[0],
            Self::Fresh(Way::Tls) => options.tls_per_s[1],
            Self::Http2(Way::Tls) => options.tls_per_s[2],
        }
    }
}

pub(super) async fn send_at_rate(shared: Arc<Shared>, kind: Kind) {
    let per_s = kind.per_s(&shared);
    if per_s == 0 {
        return;
    }
    let mut tick = interval(Duration::from_secs(1) / per_s);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    while shared.goes_on() {
        let due = tick.tick().await;
        let Ok(permit) = Arc::clone(&shared.in_flight).acquire_owned().await else {
            return;
        };
        let shared = Arc::clone(&shared);
        requests.spawn(async move {
            let result = within(PATIENCE, send(&shared, kind)).await;
            let late = shared.options.late;
            let result = match result {
                Ok(()) if due.elapsed() > late => Err(anyhow!("later than {late:?}").context(Fault::Late)),
                result => result,
            };
            shared.record(kind.name(), Some(due), result);
            drop(permit);
        });
        while requests.try_join_next().is_some() {}
    }
    while requests.join_next().await.is_some() {}
}

/// Fails if it takes longer than this.
pub(super) async fn within(limit: Duration, request: impl Future<Output = Result<()>>) -> Result<()> {
    let ended = timeout(limit, request).await;
    ended.unwrap_or_else(|_| Err(anyhow!("not whole within {limit:?}").context(Fault::NoAnswer)))
}

async fn send(shared: &Shared, kind: Kind) -> Result<()> {
    let (newest, path) = (shared.newest.load(Ordering::Relaxed), &shared.options.path);
    let body = match kind {
        Kind::Upload => return upload(shared).await,
        Kind::Http2(way) => shared.exchange_http2(way, path).await?,
        Kind::Fresh(way) => body_of(shared.ask_anew(way, path).await?.1).await?,
        Kind::KeptAlive(way) => {
            let (sender, answer) = shared.ask_kept_alive(way, shared.get(way, path)?).await?;
            let body = body_of(answer).await?;
            shared.keep(way, sender);
            body
        }
    };
    shared.check_version(&body, newest)
}

/// The answer to an upload is what was sent, which is another thing each time.
async fn upload(shared: &Shared) -> Result<()> {
    let begin = fastrand::usize(..ROUND);
    let body = PATTERN.slice(begin..begin + UPLOAD);
    let request = Request::post("/echo").header("host", shared.host(Way::Plain));
    let request = request.body(Full::new(body.clone()))?;
    let (sender, answer) = shared.ask_kept_alive(Way::Plain, request).await?;
    let echoed = bytes_of(answer).await?;
    shared.keep(Way::Plain, sender);
    ensure!(echoed == body, "{} other bytes came back", echoed.len());
    Ok(())
}

pub(super) async fn stream_slowly(shared: Arc<Shared>, way: Way) {
    while shared.goes_on() {
        let result = within(PATIENCE, async {
            let newest = shared.newest.load(Ordering::Relaxed);
            let (_sender, answer) = shared.ask_anew(way, "/slow?ms=1000").await?;
            let body = body_of(answer).await?;
            ensure!(body.ends_with(".........."), "the slow answer is not whole");
            shared.check_version(&body, newest)
        });
        note(&shared, "slow answer", result.await).await;
    }
}

/// Records what is not measured, and rests after a failure.
pub(super) async fn note(shared: &Shared, kind: &'static str, result: Result<()>) {
    let failed = result.is_err();
    shared.record(kind, None, result);
    if failed {
        sleep(REST).await;
    }
}

/// Downloads, one after the other: each is as long as it says, and every byte is the right one.
pub(super) async fn download(shared: Arc<Shared>, way: Way) {
    let mib = shared.options.downloads.1;
    while shared.goes_on() {
        let result = within(DOWNLOAD, async {
            let (_sender, answer) = shared.ask_anew(way, &format!("/download?mib={mib}")).await?;
            if answer.status() != 200 {
                return Err(anyhow!("status {}", answer.status()).context(Fault::Status));
            }
            let (mut body, mut at) = (answer.into_body(), 0_u64);
            while let Some(frame) = body.frame().await {
                let Ok(data) = frame.context(Fault::Cut)?.into_data() else {
                    continue;
                };
                for piece in data.chunks(UPLOAD) {
                    let begin = usize::try_from(at % ROUND as u64)?;
                    ensure!(PATTERN[begin..].starts_with(piece), "a wrong byte after {at}");
                    at += piece.len() as u64;
                }
            }
            ensure!(at == u64::from(mib) << 20, "{at} bytes instead of {mib} MiB");
            Ok(())
        });
        note(&shared, "download", result.await).await;
    }
}
