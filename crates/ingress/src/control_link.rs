//! The node's side of the talk with control: long polls for snapshots and for certificates, and
//! reports.
//!
//! Control may be away for as long as it likes; the node serves by what it has, and asks again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_model::certificate::CertificateSet;

use crate::config::NodeConfig;
use crate::node::Shared;
use crate::{access_log, kept_file, report, route_link};

/// A long poll is answered within 20 s; after this it is given up.
const POLL_TIMEOUT: Duration = Duration::from_secs(35);
const REPORT_TIMEOUT: Duration = Duration::from_secs(5);
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Several events within this time make one report.
const REPORT_DEBOUNCE: Duration = Duration::from_millis(5);
/// How long a node that has drained tries to reach a control that is being replaced.
const REPLACED_PATIENCE: Duration = Duration::from_secs(30);
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Largest snapshot or set of certificates, in bytes: several times what 100,000 hosts need.
const ANSWER_BYTES: usize = 512 * 1024 * 1024;

/// Why an exchange with control gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("control does not listen")]
    Connect(#[source] io::Error),
    #[error("the connection to control broke")]
    Broken(#[source] hyper::Error),
    #[error("control did not answer in time")]
    Timeout,
    #[error("control's answer is not understood: {0}")]
    Answer(String),
}

/// Talks to control until the node stops.
pub(crate) async fn run(shared: Arc<Shared>, config: NodeConfig, stop: CancellationToken) {
    let routes = Subject {
        what: "routes",
        question: |shared| shared.routes.question(),
        applied: |shared| shared.applied_generation.load(Ordering::SeqCst),
        apply: |shared, text| route_link::take(shared, text).map(drop),
    };
    let certificates = Subject {
        what: "certificates",
        question: |shared| format!("/node/certificates?after={}", shared.tls.applied()),
        applied: |shared| shared.tls.applied(),
        apply: |shared, text| apply_certificates(shared, &text),
    };
    let work = async {
        tokio::join!(
            poll(&shared, &config.control_socket, routes, None),
            route_link::keep(&shared),
            follow(
                &shared,
                &config.control_socket,
                certificates,
                config.certificates_file.clone()
            ),
            send_reports(&shared, &config.control_socket),
            report_what_is_paid(&shared),
            access_log::send(&shared, &config.control_socket),
        )
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        _ = work => {}
    }
}

/// Something that control gives out under a number that rises.
#[derive(Debug, Clone, Copy)]
struct Subject {
    /// For the log.
    what: &'static str,
    /// The path and query by which a newer one is asked for.
    question: fn(&Shared) -> String,
    /// The number of what the node serves by.
    applied: fn(&Shared) -> u64,
    /// The error is in words.
    apply: fn(&Shared, Bytes) -> Result<(), String>,
}

fn apply_certificates(shared: &Shared, text: &[u8]) -> Result<(), String> {
    let set: CertificateSet = serde_json::from_slice(text).map_err(|error| kept_file::unread(&error))?;
    shared.tls.apply(&set);
    // Whoever has a question of an authority open waits for it.
    shared.report_wanted.notify_one();
    Ok(())
}

/// Asks for each newer one, serves by it, and keeps it on disk.
async fn follow(shared: &Arc<Shared>, socket: &Path, subject: Subject, file: PathBuf) {
    let (keep, kept) = watch::channel(Bytes::new());
    tokio::join!(
        poll(shared, socket, subject, Some(keep)),
        keep_newest(file, subject.what, kept)
    );
}

async fn poll(shared: &Arc<Shared>, socket: &Path, subject: Subject, keep: Option<watch::Sender<Bytes>>) {
    let mut control = Control::new(socket);
    let mut pause = SHORTEST_PAUSE;
    let mut away = false;
    loop {
        match poll_once(shared, &mut control, subject, keep.as_ref()).await {
            Ok(progress) => {
                if away {
                    tracing::info!(subject = subject.what, "control is back");
                }
                (away, pause) = (false, SHORTEST_PAUSE);
                if progress == Progress::Repeated {
                    tokio::time::sleep(SHORTEST_PAUSE).await;
                }
            }
            Err(error) => {
                if !away {
                    let cause = std::error::Error::source(&error);
                    tracing::info!(subject = subject.what, %error, ?cause, "control is away; serving by what it gave last");
                }
                away = true;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Unchanged,
    Applied,
    /// What we have already; asking at once again would be a tight loop.
    Repeated,
}

async fn poll_once(
    shared: &Arc<Shared>,
    control: &mut Control,
    subject: Subject,
    keep: Option<&watch::Sender<Bytes>>,
) -> Result<Progress, LinkError> {
    let after = (subject.applied)(shared);
    let request = Request::get((subject.question)(shared));
    let (status, body) = control.exchange(request, Bytes::new(), POLL_TIMEOUT).await?;
    match status {
        StatusCode::NO_CONTENT => return Ok(Progress::Unchanged),
        StatusCode::OK => {}
        other => {
            return Err(LinkError::Answer(format!(
                "status {other} to the question for {}",
                subject.what
            )));
        }
    }
    let (shared, kept) = (Arc::clone(shared), keep.map(|keep| (keep, body.clone())));
    // A large one takes a while; reports and gateways go on meanwhile.
    let applied = tokio::task::spawn_blocking(move || {
        (subject.apply)(&shared, body)?;
        let repeated = (subject.applied)(&shared) == after && after != 0;
        Ok::<_, String>(if repeated {
            Progress::Repeated
        } else {
            Progress::Applied
        })
    });
    let progress = applied
        .await
        .map_err(|error| LinkError::Answer(error.to_string()))?
        .map_err(LinkError::Answer)?;
    if let Some((keep, body)) = kept {
        keep.send_replace(body);
    }
    Ok(progress)
}

/// Writes the newest to disk, beside the poll, which a slow disk must not delay.
async fn keep_newest(path: PathBuf, what: &'static str, mut kept: watch::Receiver<Bytes>) {
    while kept.changed().await.is_ok() {
        let (path, newest) = (path.clone(), kept.borrow_and_update().clone());
        let shown = path.display().to_string();
        let written = tokio::task::spawn_blocking(move || kept_file::write(&path, &newest)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(path = shown, %error, "cannot keep the {what} on disk; a restart without control would not know them");
        }
    }
}

/// Control holds money for an instance until it is told that the node pays, and does not start
/// the first one of an environment before it can send.
async fn report_what_is_paid(shared: &Arc<Shared>) {
    let Some(spending) = &shared.spending else { return };
    tokio::join!(
        report_changes(shared, Some(spending.paying.clone())),
        report_changes(shared, spending.sending.clone()),
    );
}

async fn report_changes<T>(shared: &Arc<Shared>, watched: Option<watch::Receiver<T>>) {
    let Some(mut watched) = watched else { return };
    while watched.changed().await.is_ok() {
        shared.report_wanted.notify_one();
    }
}

/// Reports every second, and soon after whatever control may wait for.
async fn send_reports(shared: &Arc<Shared>, socket: &Path) {
    let mut control = Control::new(socket);
    let mut pause = SHORTEST_PAUSE;
    loop {
        tokio::select! {
            () = shared.report_wanted.notified() => tokio::time::sleep(REPORT_DEBOUNCE).await,
            () = tokio::time::sleep(REPORT_INTERVAL) => {}
        }
        // Whatever is reported wanted from here on is not in this report.
        while let Err(error) = send_report(shared, &mut control, false).await {
            tracing::debug!(%error, "cannot report to control");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        pause = SHORTEST_PAUSE;
    }
}

/// The last counts of a node that has stopped serving; without them the audit has to believe that
/// it was killed.
pub(crate) async fn report_leaving(shared: &Arc<Shared>, socket: &Path) {
    let mut control = Control::new(socket);
    // Control is replaced soon after a node: one that has drained already waits for it.
    let patience = match shared.succession.is_draining() {
        true => REPLACED_PATIENCE,
        false => Duration::ZERO,
    };
    let end = tokio::time::Instant::now() + patience;
    while let Err(error) = send_report(shared, &mut control, true).await {
        if tokio::time::Instant::now() >= end {
            tracing::info!(%error, "cannot tell control how much was served at last");
            return;
        }
        tokio::time::sleep(SHORTEST_PAUSE).await;
    }
}

async fn send_report(shared: &Arc<Shared>, control: &mut Control, leaving: bool) -> Result<(), LinkError> {
    let text =
        serde_json::to_vec(&report::build(shared, leaving)).map_err(|error| LinkError::Answer(error.to_string()))?;
    let request = Request::post("/node/report").header(header::CONTENT_TYPE, "application/json");
    let (status, _) = control.exchange(request, text.into(), REPORT_TIMEOUT).await?;
    if status.is_success() {
        Ok(())
    } else {
        Err(LinkError::Answer(format!("status {status} to a report")))
    }
}

/// One connection to control, opened when needed.
pub(crate) struct Control {
    socket: PathBuf,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Control {
    pub(crate) fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
            sender: None,
        }
    }

    /// Sends a request and collects the answer.
    pub(crate) async fn exchange(
        &mut self,
        request: http::request::Builder,
        body: Bytes,
        timeout: Duration,
    ) -> Result<(StatusCode, Bytes), LinkError> {
        let request = request
            .header(header::HOST, "control")
            .body(Full::new(body))
            .map_err(|error| LinkError::Answer(error.to_string()))?;
        // Taken out, so that a connection that fails or is given up is not used again.
        let sender = self.sender.take();
        let exchange = async {
            let mut sender = match sender {
                Some(sender) if sender.is_ready() => sender,
                _ => self.connect().await?,
            };
            let answer = sender.send_request(request).await.map_err(LinkError::Broken)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES)
                .collect()
                .await
                .map_err(|error| LinkError::Answer(error.to_string()))?
                .to_bytes();
            Ok((sender, status, body))
        };
        let (sender, status, body) = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| LinkError::Timeout)??;
        self.sender = Some(sender);
        Ok((status, body))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(LinkError::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(LinkError::Broken)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to control broke");
            }
        });
        Ok(sender)
    }
}
