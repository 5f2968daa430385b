//! The beginning of a TLS connection, kept while it is not clear who ends the TLS: where an app
//! does, it gets the client's first bytes as they came.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More than the first message of any client has.
const MOST_BYTES: usize = 128 * 1024;

/// A client's stream whose beginning may be read again.
#[derive(Debug)]
pub(crate) struct Hello<S> {
    pub(crate) stream: S,
    beginning: Beginning,
}

#[derive(Debug)]
enum Beginning {
    /// Nobody needs it.
    Gone,
    /// What was read so far.
    Kept(Vec<u8>),
    /// What is still to be read again.
    Again(Bytes),
}

/// Whether the beginning is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    Yes,
    No,
}

impl<S> Hello<S> {
    pub(crate) fn new(stream: S, keep: Keep) -> Self {
        let beginning = match keep {
            Keep::Yes => Beginning::Kept(Vec::new()),
            Keep::No => Beginning::Gone,
        };
        Self { stream, beginning }
    }

    /// From now on nothing more is kept.
    pub(crate) fn forget(&mut self) {
        self.beginning = Beginning::Gone;
    }

    /// What was read is read again. False where it was not kept.
    pub(crate) fn rewind(&mut self) -> bool {
        match std::mem::replace(&mut self.beginning, Beginning::Gone) {
            Beginning::Kept(read) => {
                self.beginning = Beginning::Again(read.into());
                true
            }
            Beginning::Gone | Beginning::Again(_) => false,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Hello<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.beginning {
            Beginning::Gone => Pin::new(&mut this.stream).poll_read(cx, buffer),
            Beginning::Kept(read) => {
                // Before more is read: whoever fails must not have taken anything.
                if read.len() >= MOST_BYTES {
                    return Poll::Ready(Err(io::Error::other("the first message of the handshake does not end")));
                }
                let before = buffer.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(cx, buffer))?;
                read.extend_from_slice(&buffer.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Beginning::Again(read) => {
                let length = read.len().min(buffer.remaining());
                buffer.put_slice(&read[..length]);
                read.advance(length);
                if read.is_empty() {
                    this.beginning = Beginning::Gone;
                    if length == 0 {
                        return Pin::new(&mut this.stream).poll_read(cx, buffer);
                    }
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Hello<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, data)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, data)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_was_read_is_read_again_and_then_the_rest() {
        let (mut client, stream) = tokio::io::duplex(64);
        client.write_all(b"hello world").await.unwrap();
        let mut hello = Hello::new(stream, Keep::Yes);
        let mut first = [0; 5];
        hello.read_exact(&mut first).await.unwrap();
        assert!(hello.rewind());
        drop(client);
        let mut all = String::new();
        hello.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "hello world");
        assert!(!hello.rewind());
    }

    #[tokio::test]
    async fn a_beginning_without_end_is_not_kept() {
        let endless = tokio::io::repeat(22);
        let mut hello = Hello::new(endless, Keep::Yes);
        let mut all = Vec::new();
        assert!(hello.read_to_end(&mut all).await.is_err());
        assert!(all.len() <= 2 * MOST_BYTES);
    }
}
