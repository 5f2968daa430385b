//! A client's stream, watched: it breaks where the head of a request does not come to its end, and
//! where what is sent is not taken; and it does not slam the door on a client that is still
//! sending what nobody wants.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::connections::Activity;
use super::frames::Frames;
use super::pace::Pace;
use crate::node::Shared;

/// How long, and how many bytes, a client may go on sending after it was refused. Closing at once
/// would make its system throw away the answer that it has not read.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 << 20;

/// Whether heads of requests come as bytes of their own (HTTP/1) or in frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heads {
    Plain,
    Framed,
}

/// A client's stream, of which the beginning was read already.
#[derive(Debug)]
pub(crate) struct ClientStream<S> {
    read: Bytes,
    stream: S,
    /// Where heads come in frames.
    frames: Option<Box<Frames>>,
    shared: Arc<Shared>,
    activity: Arc<Activity>,
    /// Runs while a write waits for the client.
    stalled: Option<Pin<Box<Sleep>>>,
    answer_pace: Pace,
    /// By how many requests there were when it began, the head that is coming.
    head: Option<Head>,
    lingering: Option<Lingering>,
}

#[derive(Debug)]
struct Head {
    requests: u64,
    /// Since when the rest of it is waited for, and until when.
    waits: Option<(u64, Pin<Box<Sleep>>)>,
}

#[derive(Debug)]
struct Lingering {
    timer: Pin<Box<Sleep>>,
    bytes: usize,
}

impl<S> ClientStream<S> {
    pub(crate) fn new(stream: S, read: Bytes, heads: Heads, shared: Arc<Shared>, activity: Arc<Activity>) -> Self {
        let frames = match heads {
            Heads::Plain => None,
            Heads::Framed => Some(Box::new(Frames::new(shared.clock.now_ms()))),
        };
        Self {
            read,
            stream,
            frames,
            shared,
            activity,
            stalled: None,
            answer_pace: Pace::default(),
            head: None,
            lingering: None,
        }
    }

    /// Watches over the outcome of a write of so many bytes.
    fn watched<T: Copy>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
        bytes: impl FnOnce(T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = &written {
            if self.stalled.take().is_some() {
                self.activity.go_on(self.shared.clock.now_ms());
                let Ok(outcome) = outcome else { return written };
                let bytes = u64::try_from(bytes(*outcome)).unwrap_or(u64::MAX);
                if !self
                    .answer_pace
                    .moved(self.shared.limits.answer_pace, self.shared.clock.now_ms(), bytes)
                {
                    return Poll::Ready(Err(slow("it takes what is sent to it too slowly")));
                }
            }
            return written;
        }
        let timeout = self.shared.limits.write_stall_timeout;
        if self.stalled.is_none() {
            self.activity.stall();
            self.answer_pace.wait(self.shared.clock.now_ms());
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(slow("it takes nothing of what is sent to it")))
    }

    /// Notes that bytes came, which may be the beginning of a head.
    fn came(&mut self, bytes: &[u8]) -> io::Result<()> {
        if let Some(frames) = &mut self.frames {
            let sent = frames.came(bytes, self.shared.clock.now_ms());
            return sent.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what));
        }
        if !self.activity.is_idle() {
            return Ok(());
        }
        let requests = self.activity.begun();
        if self.head.as_ref().is_none_or(|head| head.requests != requests) {
            self.head = Some(Head { requests, waits: None });
        }
        Ok(())
    }

    /// Notes what was written.
    fn went(&mut self, written: &Poll<io::Result<usize>>) {
        if let (Some(frames), Poll::Ready(Ok(bytes))) = (&mut self.frames, written) {
            frames.went(*bytes);
        }
    }

    /// The head that is coming; none once it has become a request.
    fn coming(&mut self) -> Option<&mut Head> {
        let (begun, idle) = (self.activity.begun(), self.activity.is_idle());
        self.head.take_if(|head| head.requests != begun || !idle);
        self.head.as_mut()
    }

    /// Whether a head that came in pieces does not come to its end in time.
    fn is_late(&mut self) -> bool {
        let (clock, timeout) = (self.shared.clock, self.shared.limits.header_read_timeout);
        let began_ms = self
            .coming()
            .and_then(|head| head.waits.as_ref())
            .map(|(began_ms, _)| *began_ms);
        began_ms.is_some_and(|began_ms| clock.since(began_ms) >= timeout)
    }

    /// Ready as soon as it is late. Most heads come at once, and cost no timer.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (clock, timeout) = (self.shared.clock, self.shared.limits.header_read_timeout);
        let Some(head) = self.coming() else {
            return Poll::Pending;
        };
        let (_, timer) = head
            .waits
            .get_or_insert_with(|| (clock.now_ms(), Box::pin(sleep(timeout))));
        timer.as_mut().poll(cx)
    }
}

fn slow(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.read.is_empty() {
            let length = self.read.len().min(buffer.remaining());
            let first = self.read.split_to(length);
            buffer.put_slice(&first);
            if self.read.is_empty() {
                // Gives the memory back.
                self.read = Bytes::new();
            }
            return Poll::Ready(self.came(&first));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if read.is_ready() && buffer.filled().len() > before {
            self.came(&buffer.filled()[before..])?;
        }
        // Also where something came: who dribbles is always ready with a byte.
        if self.is_late() || read.is_pending() && self.poll_late(cx).is_ready() {
            return Poll::Ready(Err(slow("the head of a request does not come to its end")));
        }
        read
    }
}

impl<S: AsyncRead + Unpin> ClientStream<S> {
    /// Takes what still comes of a client that was refused, until it ends or it has had its time.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering {
            timer: Box::pin(sleep(LINGER)),
            bytes: 0,
        });
        let mut space = [0; 16 << 10];
        while lingering.bytes < LINGER_BYTES {
            if lingering.timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut space);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            match (ready!(read), buffer.filled().len()) {
                (Ok(()), 1..) => lingering.bytes += buffer.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.went(&written);
        self.watched(cx, written, |bytes| bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.went(&written);
        self.watched(cx, written, |bytes| bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // How much went out with it is not known; enough not to be held against the client.
        self.watched(cx, flushed, |()| 64 << 10)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
            ready!(self.watched(cx, shut, |()| 64 << 10))?;
        }
        if self.activity.was_refused() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
