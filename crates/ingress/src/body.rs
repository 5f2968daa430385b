//! Bodies on their way through: streamed frame by frame, never collected.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::admission::Slot;
use crate::clock::Clock;
use crate::upstream::{Kept, Sender};

/// How far a request's body has come; read by the one who waits for the answer.
#[derive(Debug)]
pub(crate) struct Upload {
    clock: Clock,
    last_progress_ms: AtomicU64,
    done: AtomicBool,
    failed: AtomicBool,
    /// The instance wants more, and the client does not send it.
    client_owes: AtomicBool,
}

impl Upload {
    fn new(clock: Clock) -> Self {
        Self {
            clock,
            last_progress_ms: AtomicU64::new(clock.now_ms()),
            done: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            client_owes: AtomicBool::new(false),
        }
    }

    /// The whole body was handed to the instance's connection.
    pub(crate) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// The client's body broke off or was malformed.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// The instance wants more, and the client does not send it.
    pub(crate) fn client_owes(&self) -> bool {
        self.client_owes.load(Ordering::Relaxed) && !self.is_done()
    }

    /// When the last part came, by the node's clock.
    pub(crate) fn last_progress_ms(&self) -> u64 {
        self.last_progress_ms.load(Ordering::Relaxed)
    }
}

/// A request's body on its way to an instance.
#[derive(Debug)]
pub(crate) struct RequestBody {
    incoming: Option<Incoming>,
    upload: Option<Arc<Upload>>,
}

impl RequestBody {
    /// A body that was received; watched unless it is empty.
    pub(crate) fn new(incoming: Incoming, clock: Clock) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        Self {
            incoming: Some(incoming),
            upload: Some(Arc::new(Upload::new(clock))),
        }
    }

    pub(crate) fn empty() -> Self {
        Self {
            incoming: None,
            upload: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = Pin::new(&mut *incoming).poll_frame(cx);
        let Some(upload) = &this.upload else { return polled };
        match &polled {
            Poll::Pending => upload.client_owes.store(true, Ordering::Relaxed),
            Poll::Ready(frame) => {
                upload.client_owes.store(false, Ordering::Relaxed);
                upload.last_progress_ms.store(upload.clock.now_ms(), Ordering::Relaxed);
                match frame {
                    Some(Err(_)) => upload.failed.store(true, Ordering::Relaxed),
                    None => upload.done.store(true, Ordering::Relaxed),
                    Some(Ok(_)) if incoming.is_end_stream() => upload.done.store(true, Ordering::Relaxed),
                    Some(Ok(_)) => {}
                }
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

/// What happens when an answer has ended: the connection is kept, the place given back.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) sender: Option<Sender>,
    pub(crate) slot: Slot,
    pub(crate) kept: Kept,
    pub(crate) upload: Option<Arc<Upload>>,
}

impl Ending {
    /// The answer has come whole.
    pub(crate) fn complete(mut self) {
        // An instance may answer before it has read all; such a connection is not used again.
        let uploaded = self.upload.as_ref().is_none_or(|upload| upload.is_done());
        if let (true, Some(sender)) = (uploaded, self.sender.take()) {
            self.kept.keep(&self.slot.instance, sender);
        }
    }
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// Nothing.
    Empty,
    /// A page of Weir's own.
    Page(Bytes),
    /// What an instance sends. Dropped before its end, it takes the connection along.
    Upstream {
        /// The rest of it.
        incoming: Incoming,
        /// Until it has ended.
        ending: Option<Box<Ending>>,
    },
}

impl AnswerBody {
    /// What an instance sends; an empty one has ended already.
    pub(crate) fn upstream(incoming: Incoming, ending: Ending) -> Self {
        if incoming.is_end_stream() {
            ending.complete();
            return Self::Empty;
        }
        Self::Upstream {
            incoming,
            ending: Some(Box::new(ending)),
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Page(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Upstream { incoming, ending } => {
                let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
                // Whoever sees the end of the stream does not poll again.
                let ended = match &frame {
                    None => true,
                    Some(Ok(_)) => incoming.is_end_stream(),
                    Some(Err(_)) => {
                        drop(ending.take());
                        false
                    }
                };
                if let (true, Some(ending)) = (ended, ending.take_if(|_| ended)) {
                    ending.complete();
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Page(bytes) => bytes.is_empty(),
            Self::Upstream { incoming, .. } => incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Page(bytes) => SizeHint::with_exact(u64::try_from(bytes.len()).unwrap_or(u64::MAX)),
            Self::Upstream { incoming, .. } => incoming.size_hint(),
        }
    }
}
