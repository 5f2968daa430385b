//! A request and its answer over one connection, within the task that asks.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::BadAnswer;
use super::chunks::{Chunks, Part};
use super::head::{self, EndOfHead, Framing, Head};
use super::sending::{Sending, Stuck};
use super::wire::Wire;
use crate::body::RequestBody;

/// Most heads before the final one (`100`, `103`), which are not passed on.
const MOST_INTERIM_HEADS: u32 = 16;

/// Why an exchange breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    #[error("the connection broke")]
    Connection(#[source] io::Error),
    #[error("the instance closed the connection before all had come")]
    Closed,
    #[error(transparent)]
    BadAnswer(#[from] BadAnswer),
    #[error("the body of the request broke off, or is not as long as its head says")]
    RequestBody,
}

/// An exchange without an answer.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) error: Broken,
    /// The request, if the instance has got nothing of it; else its head, without the body.
    pub(crate) request: Request<RequestBody>,
    /// Whether the instance has got nothing of it.
    pub(crate) unsent: bool,
}

/// Sends a request and waits for the head of the answer. Dropped, it closes the connection.
pub(crate) async fn send(wire: Wire, request: Request<RequestBody>) -> Result<Response<AnswerStream>, Box<Failed>> {
    let mut exchange = Exchange {
        wire,
        to_head: *request.method() == Method::HEAD,
        sending: Sending::new(request),
        end_of_head: EndOfHead::default(),
        interim_heads: 0,
        refused: None,
    };
    match poll_fn(|cx| exchange.poll_head(cx)).await {
        Ok(head) => Ok(exchange.answer(head)),
        Err(error) => Err(Box::new(Failed {
            error,
            unsent: !exchange.sending.has_begun(),
            request: exchange.sending.into_request(),
        })),
    }
}

struct Exchange {
    wire: Wire,
    sending: Sending,
    to_head: bool,
    end_of_head: EndOfHead,
    interim_heads: u32,
    /// The instance takes no more of the request; it may have answered all the same.
    refused: Option<io::Error>,
}

impl Exchange {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        self.poll_send(cx)?;
        loop {
            if !self.wire.read.is_empty()
                && let Some(head) = head::read(&mut self.wire.read, &mut self.end_of_head, self.to_head)?
            {
                if head.status == StatusCode::SWITCHING_PROTOCOLS && !self.sending.is_done() {
                    return Poll::Ready(Err(
                        BadAnswer("it changes the protocol in the middle of the request").into()
                    ));
                }
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    return Poll::Ready(Ok(head));
                }
                self.interim_heads += 1;
                if self.interim_heads > MOST_INTERIM_HEADS {
                    return Poll::Ready(Err(BadAnswer("it has too many heads before the final one").into()));
                }
                continue;
            }
            let broken = match ready!(self.wire.poll_read(cx, None)) {
                Ok(1..) => continue,
                Ok(0) => Broken::Closed,
                Err(error) => Broken::Connection(error),
            };
            return Poll::Ready(Err(self.refused.take().map_or(broken, Broken::Connection)));
        }
    }

    /// Sends on what can be sent.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if self.refused.is_some() || self.sending.is_done() {
            return Ok(());
        }
        let wire = &mut self.wire;
        match self.sending.poll_send(cx, |cx, data| wire.poll_write(cx, data)) {
            Poll::Ready(Err(Stuck::Body)) => Err(Broken::RequestBody),
            Poll::Ready(Err(Stuck::Instance(error))) if self.sending.has_begun() => {
                self.refused = Some(error);
                Ok(())
            }
            Poll::Ready(Err(Stuck::Instance(error))) => Err(Broken::Connection(error)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// The answer, whose body is still to be read. It may have come before the end of the request,
    /// whose rest then goes on by itself, however fast the answer is read.
    fn answer(self, head: Head) -> Response<AnswerStream> {
        let mut wire = self.wire;
        let mut upload = None;
        let mut asked = None;
        let early = !self.sending.is_done();
        if !early {
            asked = Some(std::mem::take(self.sending.into_request().headers_mut()));
        } else if self.refused.is_none() {
            let (reading, writing) = wire.split();
            wire = reading;
            if let Some(writing) = writing {
                let rest = finish(self.sending, writing, wire.cut());
                upload = Some(tokio::spawn(rest).abort_handle());
            }
        }
        let stream = AnswerStream {
            wire: Some(wire),
            reading: match head.framing {
                Framing::Length(0) => Reading::Ended,
                Framing::Length(length) => Reading::Length(length),
                Framing::Chunked => Reading::Chunked(Chunks::default()),
                Framing::UntilClose => Reading::UntilClose,
            },
            persistent: head.persistent && !early,
            upload,
            asked,
        };
        let mut answer = Response::new(stream);
        *answer.status_mut() = head.status;
        *answer.headers_mut() = head.headers;
        if let Some(reason) = head.reason {
            answer.extensions_mut().insert(reason);
        }
        answer
    }
}

/// Sends the rest of a request of which the answer has begun already; once that has ended, only at
/// the pace that is wanted of every upload.
async fn finish(mut sending: Sending, mut writing: OwnedWriteHalf, cut: CancellationToken) {
    let upload = sending.upload();
    let tarries = async {
        match &upload {
            Some(upload) => upload.tarries().await,
            None => std::future::pending().await,
        }
    };
    let sent = poll_fn(|cx| sending.poll_send(cx, |cx, data| Pin::new(&mut writing).poll_write_vectored(cx, data)));
    tokio::select! {
        biased;
        () = cut.cancelled() => {}
        sent = sent => {
            if sent.is_ok() {
                // Some servers take the end of what they can read for the end of the client.
                writing.forget();
            }
        }
        () = tarries => tracing::debug!("broke off an upload that was too slow after its answer had ended"),
    }
}

#[derive(Debug)]
enum Reading {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunks),
    UntilClose,
    Ended,
}

/// The body of an answer as it comes. Dropped before its end, it closes the connection.
#[derive(Debug)]
pub(crate) struct AnswerStream {
    /// None once it has broken, or was given back.
    wire: Option<Wire>,
    reading: Reading,
    persistent: bool,
    /// What still sends the rest of the request.
    upload: Option<AbortHandle>,
    /// The head of the request, if all of it went out.
    asked: Option<HeaderMap>,
}

impl AnswerStream {
    /// The fields of the request, if all of it went out before the answer came; once.
    pub(crate) fn take_asked(&mut self) -> Option<HeaderMap> {
        self.asked.take()
    }

    /// Whether its end can be told from a connection that broke.
    pub(crate) fn is_delimited(&self) -> bool {
        !matches!(self.reading, Reading::UntilClose)
    }

    /// The connection for another request, if the answer has ended and it may carry one. What is
    /// still to be sent of the request goes on.
    pub(crate) fn give_back(&mut self) -> Option<Wire> {
        if !self.is_end_stream() {
            return None;
        }
        self.upload = None;
        let mut wire = self.wire.take()?;
        // Whatever else has come belongs to no request.
        if !self.persistent || !wire.read.is_empty() {
            return None;
        }
        wire.rest();
        Some(wire)
    }

    /// The connection after a change of its protocol, and what was read of it already.
    pub(crate) fn into_tunnel(mut self) -> Option<(TcpStream, BytesMut)> {
        self.wire.take()?.into_parts()
    }

    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, Broken>> {
        let Some(wire) = &mut self.wire else {
            return Poll::Ready(Ok(None));
        };
        loop {
            let expected = match &mut self.reading {
                Reading::Ended => return Poll::Ready(Ok(None)),
                Reading::Length(left) if !wire.read.is_empty() => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(wire.read.len());
                    *left -= u64::try_from(length).unwrap_or(u64::MAX);
                    if *left == 0 {
                        self.reading = Reading::Ended;
                    }
                    return Poll::Ready(Ok(Some(Frame::data(wire.read.split_to(length).freeze()))));
                }
                Reading::Length(left) => Some(*left),
                Reading::Chunked(chunks) => match chunks.next(&mut wire.read)? {
                    Part::Data(data) => return Poll::Ready(Ok(Some(Frame::data(data)))),
                    Part::Trailers(trailers) => return Poll::Ready(Ok(Some(Frame::trailers(trailers)))),
                    Part::End => {
                        self.reading = Reading::Ended;
                        continue;
                    }
                    Part::Missing => None,
                },
                Reading::UntilClose if !wire.read.is_empty() => {
                    return Poll::Ready(Ok(Some(Frame::data(wire.read.split().freeze()))));
                }
                Reading::UntilClose => None,
            };
            match ready!(wire.poll_read(cx, expected)) {
                Ok(1..) => {}
                Ok(0) if matches!(self.reading, Reading::UntilClose) => self.reading = Reading::Ended,
                Ok(0) => return Poll::Ready(Err(Broken::Closed)),
                Err(error) => return Poll::Ready(Err(Broken::Connection(error))),
            }
        }
    }
}

impl Drop for AnswerStream {
    fn drop(&mut self) {
        // Nobody waits for the answer any more.
        if let Some(upload) = self.upload.take() {
            upload.abort();
        }
    }
}

impl Body for AnswerStream {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let part = ready!(self.poll_part(cx));
        if part.is_err() {
            self.wire = None;
        }
        Poll::Ready(part.transpose())
    }

    fn is_end_stream(&self) -> bool {
        match &self.reading {
            Reading::Ended => true,
            Reading::Chunked(chunks) => chunks.has_ended(),
            Reading::Length(_) | Reading::UntilClose => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.reading {
            Reading::Length(left) => SizeHint::with_exact(*left),
            Reading::Ended => SizeHint::with_exact(0),
            Reading::Chunked(_) | Reading::UntilClose => SizeHint::default(),
        }
    }
}
