//! One client's connection: which protocol it speaks, and serving it until it ends.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue};
use http::{Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::clock::Clock;
use crate::config::Limits;
use crate::headers::X_WEIR;
use crate::metrics::ObservedBody;
use crate::node::Worker;
use crate::protect::client_stream::{ClientStream, Heads};
use crate::protect::connections::{ActiveRequest, Activity};
use crate::serve::{self, Origin};

/// What every HTTP/2 connection begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Read at most so much to find out the protocol; enough for most requests' heads.
const FIRST_READ_BYTES: usize = 2 * 1024;
/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 128;
/// What a stream keeps that its client does not take, in bytes.
const HTTP2_SEND_BYTES: usize = 64 * 1024;
/// Requests that a client has taken back and that were not looked at yet; one that has more ("rapid
/// reset") is cut off.
const HTTP2_PENDING_RESETS: usize = 20;
/// Streams that were ended here for a client's mistakes; one that makes more is cut off.
const HTTP2_LOCAL_RESETS: usize = 100;
/// So long a connection without requests is kept after it was told to end.
const FAREWELL: Duration = Duration::from_secs(2);
/// The parsers bear so many times as much as the limits say, so that there is something to say of.
const SLACK: usize = 2;
/// So many fields of a head hyper has room for; where it is told a number, it makes a list of that
/// length for each request.
const HYPER_HEADERS: usize = 100;
/// A client that does not answer is gone.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);

/// How connections are served; made once for each worker.
#[derive(Debug, Clone)]
pub(crate) struct Protocols {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

impl Protocols {
    pub(crate) fn new(limits: &Limits) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            // The stream itself is watched, without a timer for each request.
            .header_read_timeout(None)
            // What is a little too large gets a page that says so; what is much too large does not.
            .max_header_size(limits.header_bytes.saturating_mul(SLACK))
            .max_buf_size(limits.header_bytes.max(8 * 1024).saturating_mul(2 * SLACK));
        if limits.headers > HYPER_HEADERS {
            http1.max_headers(limits.headers.saturating_mul(SLACK));
        }
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_send_buf_size(HTTP2_SEND_BYTES)
            .max_header_list_size(u32::try_from(limits.header_bytes.saturating_mul(SLACK)).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(HTTP2_PENDING_RESETS)
            .max_local_error_reset_streams(HTTP2_LOCAL_RESETS)
            .keep_alive_interval(HTTP2_PING_INTERVAL)
            .initial_stream_window_size(256 * 1024)
            .initial_connection_window_size(1024 * 1024);
        Self { http1, http2 }
    }
}

/// Serves a connection until it ends, or until the node stops and its requests have ended. Where
/// there is TLS, this is what goes on inside.
pub(crate) async fn serve_connection<S>(worker: Arc<Worker>, mut stream: S, origin: Origin)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = origin.places.clone();
    let activity = places
        .as_ref()
        .map_or_else(Arc::default, |places| Arc::clone(places.activity()));
    let detect = detect(&mut stream);
    let (protocol, read) = tokio::select! {
        biased;
        () = worker.idle_over() => return,
        () = activity.give_up.notified() => return,
        detected = tokio::time::timeout(worker.shared.limits.header_read_timeout, detect) => match detected {
            Ok(Ok(detected)) => detected,
            // Gone, or silent for too long.
            Ok(Err(_)) | Err(_) => return,
        },
    };
    // What the handshake has agreed on is what is spoken.
    let agreed = origin.session.as_ref().map(|session| session.is_http2);
    if agreed.is_some_and(|is_http2| is_http2 != (protocol == Protocol::Http2)) {
        return;
    }
    let heads = match protocol {
        Protocol::Http1 => Heads::Plain,
        Protocol::Http2 => Heads::Framed,
    };
    let (limits, clock) = (&worker.shared.limits, worker.shared.clock);
    // A head that has begun to come has time to come to its end.
    let longest_idle = limits.keep_alive_timeout.max(limits.header_read_timeout);
    let shared = Arc::clone(&worker.shared);
    let io = TokioIo::new(ClientStream::new(stream, read, heads, shared, Arc::clone(&activity)));
    let client = origin.client;
    let service = App {
        worker: Arc::clone(&worker),
        origin: Arc::new(origin),
        activity: Arc::clone(&activity),
    };
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = worker.protocols.http1.serve_connection(io, service).with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = over(worker.idle_over(), &activity, clock, longest_idle) => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = connection.as_mut() => ended,
                        () = farewell(&activity, clock) => Ok(()),
                    }
                }
            }
        }
        Protocol::Http2 => {
            let connection = worker.protocols.http2.serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = over(worker.stop.cancelled(), &activity, clock, limits.keep_alive_timeout) => {
                    connection.as_mut().graceful_shutdown();
                    tokio::select! {
                        biased;
                        ended = connection.as_mut() => ended,
                        () = farewell(&activity, clock) => Ok(()),
                    }
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client.address = %client, %error, "a client's connection broke");
    }
}

/// Ends when a connection is to end: with the node, to make room for others, or because nothing has
/// gone on for too long.
async fn over(node: impl Future<Output = ()>, activity: &Activity, clock: Clock, longest_idle: Duration) {
    tokio::select! {
        biased;
        () = node => {}
        () = activity.give_up.notified() => {}
        () = activity.idle_for(clock, longest_idle) => {}
    }
}

/// Ends once a client that was told to end has had its time, and no request goes on: it may not
/// answer, or never get to the end of a head.
async fn farewell(activity: &Activity, clock: Clock) {
    tokio::time::sleep(FAREWELL).await;
    activity.idle_for(clock, FAREWELL).await;
}

/// Answers the requests of one connection.
#[derive(Debug, Clone)]
struct App {
    worker: Arc<Worker>,
    origin: Arc<Origin>,
    activity: Arc<Activity>,
}

impl Service<Request<Incoming>> for App {
    type Response = Response<ActiveBody>;
    type Error = Infallible;
    // Boxed, so that an idle connection does not carry the room for a request.
    type Future = Pin<Box<dyn Future<Output = Result<Response<ActiveBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (worker, activity) = (Arc::clone(&self.worker), Arc::clone(&self.activity));
        let active = activity.request(worker.shared.clock);
        let has_body = !request.body().is_end_stream();
        let is_http1 = request.version() <= Version::HTTP_11;
        let arrived = serve::arrive(&worker, &self.origin, request);
        Box::pin(async move {
            let mut answer = match arrived {
                Ok(arrived) => serve::serve(&worker, arrived).await,
                Err(answer) => *answer,
            };
            // The next request of this client goes to who comes after this node.
            if is_http1 && worker.stop.is_cancelled() && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
                answer
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            if has_body && answer.headers().contains_key(X_WEIR) {
                activity.refuse();
            }
            Ok(answer.map(|body| ActiveBody { body, _active: active }))
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Http1,
    Http2,
}

/// Reads until it is clear which protocol this is.
async fn detect<S: AsyncRead + Unpin>(stream: &mut S) -> io::Result<(Protocol, Bytes)> {
    let mut read = BytesMut::with_capacity(FIRST_READ_BYTES);
    loop {
        if stream.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let compared = read.len().min(HTTP2_PREFACE.len());
        if read[..compared] != HTTP2_PREFACE[..compared] {
            return Ok((Protocol::Http1, read.freeze()));
        }
        if compared == HTTP2_PREFACE.len() {
            return Ok((Protocol::Http2, read.freeze()));
        }
    }
}

/// An answer's body, with which the request ends.
#[derive(Debug)]
struct ActiveBody {
    body: ObservedBody,
    _active: ActiveRequest,
}

impl Body for ActiveBody {
    type Data = Bytes;
    type Error = <ObservedBody as Body>::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_protocol_shows_in_the_first_bytes() {
        let mut http1: &[u8] = b"GET / HTTP/1.1\r\n";
        assert_eq!(detect(&mut http1).await.unwrap().0, Protocol::Http1);
        let mut post: &[u8] = b"PRIVATE";
        assert_eq!(detect(&mut post).await.unwrap().0, Protocol::Http1);
        let mut http2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nmore";
        let (protocol, read) = detect(&mut http2).await.unwrap();
        assert_eq!((protocol, read.len()), (Protocol::Http2, 28));
        let mut cut_off: &[u8] = b"PRI";
        assert!(detect(&mut cut_off).await.is_err());
    }
}
