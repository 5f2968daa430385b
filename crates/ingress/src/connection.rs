//! One client's connection: which protocol it speaks, and serving it until it ends.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::body::AnswerBody;
use crate::config::Limits;
use crate::node::Worker;
use crate::serve::{self, Origin};

/// What every HTTP/2 connection begins with.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Read at most so much to find out the protocol; enough for most requests' heads.
const FIRST_READ_BYTES: usize = 2 * 1024;
/// Requests at once on one HTTP/2 connection.
const HTTP2_STREAMS: u32 = 250;
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
            .timer(TokioTimer::new())
            .header_read_timeout(limits.header_read_timeout)
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes.max(8 * 1024) * 2);
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
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
    let detect = detect(&mut stream);
    let (protocol, read) = tokio::select! {
        biased;
        () = worker.stop.cancelled() => return,
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
    let stall_timeout = worker.shared.limits.write_stall_timeout;
    let io = TokioIo::new(ClientStream {
        read,
        stream,
        stall_timeout,
        stalled: None,
    });
    let client = origin.client;
    let service = App {
        worker: Arc::clone(&worker),
        origin: Arc::new(origin),
    };
    let ended = match protocol {
        Protocol::Http1 => {
            let connection = worker.protocols.http1.serve_connection(io, service).with_upgrades();
            tokio::pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = worker.stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
        Protocol::Http2 => {
            let connection = worker.protocols.http2.serve_connection(io, service);
            tokio::pin!(connection);
            tokio::select! {
                biased;
                ended = connection.as_mut() => ended,
                () = worker.stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(client.address = %client, %error, "a client's connection broke");
    }
}

/// Answers the requests of one connection.
#[derive(Debug, Clone)]
struct App {
    worker: Arc<Worker>,
    origin: Arc<Origin>,
}

impl Service<Request<Incoming>> for App {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    // Boxed, so that an idle connection does not carry the room for a request.
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let (worker, origin) = (Arc::clone(&self.worker), Arc::clone(&self.origin));
        Box::pin(async move { Ok(serve::serve(worker, &origin, request).await) })
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

/// A client's stream, of which the beginning was read already. It breaks when the client takes
/// nothing of what is sent to it for too long.
#[derive(Debug)]
struct ClientStream<S> {
    read: Bytes,
    stream: S,
    stall_timeout: Duration,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> ClientStream<S> {
    /// Watches over the outcome of a write.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let timeout = self.stall_timeout;
        let stalled = self
            .stalled
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let length = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read[..length]);
        self.read.advance(length);
        if self.read.is_empty() {
            // Gives the memory back.
            self.read = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.watched(cx, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.watched(cx, shut)
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
