//! Connections to the ingress: with and without TLS, of HTTP/1.1 and of HTTP/2.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::{Fault, Shared};

/// How often a request that was not begun is sent at most.
const MOST_TRIES: u32 = 4;

/// Whether TLS is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Plain,
    Tls,
}

/// What requests are sent over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) type Sender = SendRequest<Full<Bytes>>;
type Http2Sender = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

/// Those that are open.
#[derive(Default)]
pub(super) struct Connections {
    idle: Mutex<Vec<Sender>>,
    /// The connection of HTTP/2 that is used at present.
    http2: tokio::sync::Mutex<Option<Http2Sender>>,
}

impl Shared {
    fn connections(&self, way: Way) -> &Connections {
        match way {
            Way::Plain => &self.plain,
            Way::Tls => &self.tls,
        }
    }

    /// Scheme, host and port as they stand in requests, and where to connect to.
    fn target(&self, way: Way) -> (&'static str, String, SocketAddr) {
        let (scheme, host, address) = match (way, &self.options.tls) {
            (Way::Tls, Some(tls)) => ("https", &tls.host, tls.address),
            _ => ("http", &self.options.host, self.options.address),
        };
        (scheme, format!("{host}:{}", address.port()), address)
    }

    /// Host and port as they stand in requests.
    pub(super) fn host(&self, way: Way) -> String {
        self.target(way).1
    }

    /// A new connection; by TLS it is for this protocol.
    pub(super) async fn stream(&self, way: Way, protocol: &str) -> Result<Box<dyn Stream>> {
        let (_, _, address) = self.target(way);
        let stream = TcpStream::connect(address).await.context(Fault::Connect)?;
        stream.set_nodelay(true).context(Fault::Connect)?;
        match (way, &self.options.tls) {
            (Way::Tls, Some(tls)) => {
                let stream = tls.handshake(stream, protocol).await.context(Fault::Connect)?;
                Ok(Box::new(stream))
            }
            _ => Ok(Box::new(stream)),
        }
    }

    /// A new connection of HTTP/1.1.
    pub(super) async fn connect(&self, way: Way) -> Result<Sender> {
        let stream = TokioIo::new(self.stream(way, "http/1.1").await?);
        let (sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .context(Fault::Connect)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection that is open and idle, or a new one. One that the other side has closed in
    /// order between two requests is no error.
    async fn kept_alive(&self, way: Way) -> Result<Sender> {
        loop {
            let idle = &self.connections(way).idle;
            let idle = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut sender) = idle else {
                return self.connect(way).await;
            };
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
    }

    /// A request over a connection that is kept alive, which comes back with the answer. Where one was closed
    /// in order at the very moment, so that nothing of the request was written, another one is taken.
    pub(super) async fn ask_kept_alive(
        &self,
        way: Way,
        request: Request<Full<Bytes>>,
    ) -> Result<(Sender, Response<Incoming>)> {
        let mut request = request;
        for tries in 1..=MOST_TRIES {
            let mut sender = match tries {
                // Where many were closed at once, a new one ends the search.
                MOST_TRIES => self.connect(way).await?,
                _ => self.kept_alive(way).await?,
            };
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok((sender, answer)),
                Err(mut refused) => match refused.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(refused.into_error()).context(Fault::NoAnswer),
                },
            }
        }
        Err(anyhow::anyhow!("a new connection is closed before anything is sent").context(Fault::NoAnswer))
    }

    /// Leaves the connection to the next request.
    pub(super) fn keep(&self, way: Way, sender: Sender) {
        let idle = &self.connections(way).idle;
        idle.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
    }

    /// The connection of HTTP/2, or a new one where it takes no more requests.
    async fn http2(&self, way: Way) -> Result<Http2Sender> {
        let mut current = self.connections(way).http2.lock().await;
        if let Some(sender) = current.as_mut()
            && sender.ready().await.is_ok()
        {
            return Ok(sender.clone());
        }
        let stream = TokioIo::new(self.stream(way, "h2").await?);
        let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
            .await
            .context(Fault::Connect)?;
        tokio::spawn(connection);
        *current = Some(sender.clone());
        Ok(sender)
    }

    /// A request that the other side has not begun, because its connection ends in order (GOAWAY), is
    /// sent again, as every client does.
    pub(super) async fn exchange_http2(&self, way: Way, path: &str) -> Result<String> {
        for tries in 1.. {
            let mut sender = self.http2(way).await?;
            let (scheme, host, _) = self.target(way);
            let request = Request::builder()
                .uri(format!("{scheme}://{host}{path}"))
                .body(Empty::new())?;
            match sender.try_send_request(request).await {
                Ok(answer) => return body_of(answer).await,
                Err(mut refused) => {
                    let sent = refused.take_message().is_none();
                    let error = refused.into_error();
                    if tries >= MOST_TRIES || sent && !is_not_begun(&error) {
                        return Err(error).context(Fault::NoAnswer);
                    }
                    self.report.lock().unwrap_or_else(PoisonError::into_inner).repeated += 1;
                }
            }
        }
        bail!(Fault::NoAnswer)
    }

    /// A GET.
    pub(super) fn get(&self, way: Way, path: &str) -> Result<Request<Full<Bytes>>> {
        let request = Request::get(path).header("host", self.host(way));
        Ok(request.body(Full::default())?)
    }

    /// A GET over a new connection of HTTP/1.1; its answer has begun.
    pub(super) async fn ask_anew(&self, way: Way, path: &str) -> Result<(Sender, Response<Incoming>)> {
        let mut sender = self.connect(way).await?;
        let answer = sender.send_request(self.get(way, path)?).await;
        Ok((sender, answer.context(Fault::NoAnswer)?))
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
pub(super) async fn bytes_of(answer: Response<Incoming>) -> Result<Bytes> {
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.context(Fault::Cut)?.to_bytes();
    if status != 200 {
        let body = String::from_utf8_lossy(&body);
        let first: String = body.chars().filter(|c| !c.is_control()).take(160).collect();
        return Err(anyhow::anyhow!("status {status}: {first}").context(Fault::Status));
    }
    Ok(body)
}

pub(super) async fn body_of(answer: Response<Incoming>) -> Result<String> {
    let body = bytes_of(answer).await?;
    ensure!(body.len() < 1 << 20, "{} bytes of an answer", body.len());
    Ok(String::from_utf8_lossy(&body).into_owned())
}
