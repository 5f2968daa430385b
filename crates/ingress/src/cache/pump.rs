//! An answer for which others wait is fetched as fast as its instance gives it, into the memory that its copy
//! takes anyway; its own client reads from there. So one who reads slowly makes nobody wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::fill::Through;
use super::tally::{Tally, Weight};
use crate::body::Ending;
use crate::upstream::{AnswerStream, Broken};

/// Once nothing is gathered any more, so much waits for the client.
const MOST_WAITING: usize = 256 * 1024;

/// What an instance sends, as it comes or fetched ahead.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the small one is the rare one")]
pub(crate) enum Incoming {
    Direct(AnswerStream),
    Ahead(Ahead),
}

/// The client's side of an answer that is fetched ahead.
#[derive(Debug)]
pub(crate) struct Ahead {
    frames: mpsc::UnboundedReceiver<Fetched>,
    waiting: Arc<Waiting>,
    /// Bytes that are still to come, where that is known.
    left: Option<u64>,
}

/// A frame, with the memory that it takes until the client has read it.
type Fetched = (Result<Frame<Bytes>, Broken>, Option<Weight>);

/// What was fetched, and not read by the client.
#[derive(Debug, Default)]
struct Waiting {
    bytes: AtomicUsize,
    client_left: AtomicBool,
    changed: Notify,
}

/// Fetches an answer.
#[derive(Debug)]
pub(crate) struct Pump {
    through: Through,
    frames: mpsc::UnboundedSender<Fetched>,
    /// From what memory is taken for what the client has not read.
    memory: Arc<Tally>,
    waiting: Arc<Waiting>,
}

impl Ahead {
    pub(super) fn of(size: SizeHint, through: Through, memory: Arc<Tally>) -> (Self, Pump) {
        let (to, frames) = mpsc::unbounded_channel();
        let waiting = Arc::<Waiting>::default();
        let pump = Pump {
            through,
            frames: to,
            memory,
            waiting: Arc::clone(&waiting),
        };
        let left = size.exact();
        (Self { frames, waiting, left }, pump)
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(self.frames.poll_recv(cx)).map(|(frame, _memory)| frame);
        if let Some(Ok(frame)) = &frame {
            let bytes = length(frame);
            self.waiting.bytes.fetch_sub(bytes, Ordering::SeqCst);
            self.waiting.changed.notify_one();
            let left = |left: u64| left.saturating_sub(u64::try_from(bytes).unwrap_or(u64::MAX));
            self.left = self.left.map(left);
        }
        Poll::Ready(frame)
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.waiting.client_left.store(true, Ordering::SeqCst);
        self.waiting.changed.notify_one();
    }
}

fn length(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

impl Waiting {
    /// Until the client has read most of what is there; false if it left.
    async fn has_room(&self) -> bool {
        loop {
            let changed = self.changed.notified();
            if self.client_left.load(Ordering::SeqCst) {
                return false;
            }
            if self.bytes.load(Ordering::SeqCst) < MOST_WAITING {
                return true;
            }
            changed.await;
        }
    }
}

impl Pump {
    /// Fetches the answer to its end. While it is gathered, the instance may pause for `idle`; then, and
    /// when there is no more room for it, it goes on at the pace of its client, if that is still there.
    pub(crate) async fn run(mut self, ending: Ending, idle: Duration) {
        loop {
            let frame = if self.through.is_filling() {
                let Ok(frame) = timeout(idle, self.through.frame()).await else {
                    self.through.give_up();
                    continue;
                };
                frame
            } else {
                if !self.waiting.has_room().await {
                    return;
                }
                tokio::select! {
                    frame = self.through.frame() => frame,
                    () = self.frames.closed() => return,
                }
            };
            match frame {
                None => return ending.complete(self.through.give_back()),
                Some(Ok(frame)) => {
                    let bytes = length(&frame);
                    let memory = self.memory.borrow(u64::try_from(bytes).unwrap_or(u64::MAX));
                    if memory.is_none() {
                        self.through.give_up();
                    }
                    self.waiting.bytes.fetch_add(bytes, Ordering::SeqCst);
                    let _ = self.frames.send((Ok(frame), memory));
                    if self.through.is_end_stream() {
                        return ending.complete(self.through.give_back());
                    }
                }
                Some(Err(error)) => {
                    let _ = self.frames.send((Err(error), None));
                    return;
                }
            }
        }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match &mut *self {
            Self::Direct(stream) => Pin::new(stream).poll_frame(cx),
            Self::Ahead(ahead) => ahead.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Direct(stream) => stream.is_end_stream(),
            Self::Ahead(ahead) => ahead.left == Some(0),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Direct(stream) => stream.size_hint(),
            Self::Ahead(ahead) => ahead.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}
