//! One connection to an instance, and what was read from it ahead.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::BytesMut;
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::io::poll_read_buf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// So much room is made for an answer whose length nobody knows yet.
const READ_BYTES: usize = 4 * 1024;
/// Most bytes that are read at once, which bounds what is kept of a body.
const MOST_READ_BYTES: usize = 64 * 1024;
/// Room beyond the end that is expected. A read that fills its room is followed by another one that
/// finds nothing; one that does not, is not. And what does not belong there is seen.
const SPARE_BYTES: usize = 1024;

#[derive(Debug)]
enum Socket {
    Whole(TcpStream),
    /// Somebody else goes on writing.
    Reading(OwnedReadHalf),
}

/// A connection to an instance. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: Socket,
    pub(super) read: BytesMut,
    /// Room that the last answer needed.
    usual_bytes: usize,
    /// Most that was read at once of this one.
    largest_read: usize,
    cut: CancellationToken,
    /// There since somebody waited for the first time: it is made once for each connection.
    cutting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl Wire {
    /// `cut`: when it is to break, whoever uses it.
    pub(super) fn new(stream: TcpStream, cut: CancellationToken) -> Self {
        Self {
            socket: Socket::Whole(stream),
            read: BytesMut::new(),
            usual_bytes: READ_BYTES,
            largest_read: 0,
            cut,
            cutting: None,
        }
    }

    /// Whether nothing came since the last answer: neither the end nor bytes that nobody asked for.
    pub(super) fn is_silent(&self) -> bool {
        let Socket::Whole(stream) = &self.socket else {
            return false;
        };
        let mut cx = Context::from_waker(Waker::noop());
        match stream.poll_read_ready(&mut cx) {
            Poll::Pending => true,
            // Readiness may be an old one.
            Poll::Ready(_) => {
                matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
            }
        }
    }

    /// Nobody reads from it now: it keeps no buffer.
    pub(super) fn rest(&mut self) {
        self.read = BytesMut::new();
        let largest = std::mem::take(&mut self.largest_read);
        self.usual_bytes = largest.clamp(READ_BYTES - SPARE_BYTES, MOST_READ_BYTES) + SPARE_BYTES;
    }

    /// Writes what it can; breaks when the instance is cut.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, data: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let Socket::Whole(stream) = &mut self.socket else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        match Pin::new(stream).poll_write_vectored(cx, data) {
            Poll::Pending => self.poll_cut(cx).map(Err),
            written => written,
        }
    }

    /// Reads more behind what is there already; 0 at the end. `expected`: so many more bytes are to
    /// come, if that is known.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, expected: Option<u64>) -> Poll<io::Result<usize>> {
        self.make_room(expected);
        let read = match &mut self.socket {
            Socket::Whole(stream) => poll_read_buf(Pin::new(stream), cx, &mut self.read),
            Socket::Reading(half) => poll_read_buf(Pin::new(half), cx, &mut self.read),
        };
        match read {
            Poll::Pending => self.poll_cut(cx).map(Err),
            // What ends because it was cut has not ended well.
            Poll::Ready(Ok(0)) if self.cut.is_cancelled() => Poll::Ready(Err(cut_off())),
            Poll::Ready(Ok(read)) => {
                self.largest_read = self.largest_read.max(read);
                Poll::Ready(Ok(read))
            }
            broken => broken,
        }
    }

    fn make_room(&mut self, expected: Option<u64>) {
        let expected = expected.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let wanted = expected.map_or(self.usual_bytes, |bytes| bytes.min(MOST_READ_BYTES) + SPARE_BYTES);
        if self.read.capacity() - self.read.len() >= wanted.min(READ_BYTES) {
            return;
        }
        if self.read.is_empty() {
            self.read = BytesMut::with_capacity(wanted);
        } else {
            self.read.reserve(wanted);
        }
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let cut = &self.cut;
        let cutting = self
            .cutting
            .get_or_insert_with(|| Box::pin(cut.clone().cancelled_owned()));
        cutting.as_mut().poll(cx).map(|()| cut_off())
    }

    /// Lets somebody else go on writing while the answer is read.
    pub(super) fn split(self) -> (Self, Option<OwnedWriteHalf>) {
        let Self {
            socket,
            read,
            usual_bytes,
            largest_read,
            cut,
            cutting,
        } = self;
        let (socket, writing) = match socket {
            Socket::Whole(stream) => {
                let (reading, writing) = stream.into_split();
                (Socket::Reading(reading), Some(writing))
            }
            reading @ Socket::Reading(_) => (reading, None),
        };
        let wire = Self {
            socket,
            read,
            usual_bytes,
            largest_read,
            cut,
            cutting,
        };
        (wire, writing)
    }

    /// When it breaks, whoever uses it.
    pub(super) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// The connection itself, and what was read of it ahead.
    pub(super) fn into_parts(self) -> Option<(TcpStream, BytesMut)> {
        match self.socket {
            Socket::Whole(stream) => Some((stream, self.read)),
            Socket::Reading(_) => None,
        }
    }
}

fn cut_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the instance was cut off")
}
