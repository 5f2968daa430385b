//! An answer on its way through: what comes is kept aside for the cache, and compressed for the
//! client. Nothing waits for the whole, and what does not come whole is not kept.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Cache;
use super::shelf::{Entry, Flight, Kept, Outcome, Shelf};
use crate::compress::OnTheWay;
use crate::upstream::{AnswerStream, Wire};

/// The body of an answer, as an instance sends it or compressed.
#[derive(Debug)]
pub(crate) struct Through<B = AnswerStream> {
    body: B,
    /// None where the body goes on as it comes.
    work: Option<Box<Work>>,
}

#[derive(Debug)]
struct Work {
    fill: Option<Fill>,
    coder: Option<OnTheWay>,
}

/// An answer that is to be kept once it has come whole.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) cache: Arc<Cache>,
    pub(super) shelf: Arc<Shelf>,
    /// With an empty body.
    pub(super) kept: Kept,
    pub(super) since: u64,
    pub(super) data: Vec<u8>,
    pub(super) room: Room,
    /// Whoever waits for it is told when this goes.
    pub(super) _flight: Option<Flight>,
}

/// Memory for what has come and is not kept yet, out of a bounded amount.
#[derive(Debug)]
pub(super) struct Room {
    taken: Arc<AtomicU64>,
    most: u64,
    bytes: u64,
}

impl Room {
    pub(super) fn new(taken: &Arc<AtomicU64>, most: u64) -> Self {
        Self {
            taken: Arc::clone(taken),
            most,
            bytes: 0,
        }
    }

    /// Takes so much more, if there is as much.
    pub(super) fn grow(&mut self, bytes: u64) -> bool {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        before.saturating_add(bytes) <= self.most
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Fill {
    /// Keeps a part of the body; false if there is no room for it.
    fn push(&mut self, data: &Bytes) -> bool {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let so_far = u64::try_from(self.data.len()).unwrap_or(u64::MAX);
        if so_far.saturating_add(length) > self.cache.largest_bytes() || !self.room.grow(length) {
            return false;
        }
        self.data.extend_from_slice(data);
        true
    }

    /// All has come.
    pub(super) fn finish(mut self) {
        self.data.shrink_to_fit();
        self.kept.body = self.data.into();
        if self.shelf.put(Entry::new(self.kept), self.since).is_some() {
            self.shelf.count(Outcome::Miss);
            self.cache.shelves.make_room();
        }
    }
}

impl<B> Through<B> {
    pub(super) fn new(body: B, fill: Option<Fill>, coder: Option<OnTheWay>) -> Self {
        let work = (fill.is_some() || coder.is_some()).then(|| Box::new(Work { fill, coder }));
        Self { body, work }
    }
}

impl Through {
    /// The connection for another request, once all has come.
    pub(crate) fn give_back(&mut self) -> Option<Wire> {
        self.body.give_back()
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Through<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, work } = &mut *self;
        let Some(work) = work else {
            return Pin::new(body).poll_frame(cx);
        };
        let mut tapped = Tapped {
            body,
            fill: &mut work.fill,
        };
        match &mut work.coder {
            Some(coder) => coder.poll_frame(Pin::new(&mut tapped), cx),
            None => Pin::new(&mut tapped).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.work.as_ref().and_then(|work| work.coder.as_ref()) {
            Some(coder) => coder.has_ended(),
            None => self.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self.work.as_ref().and_then(|work| work.coder.as_ref()) {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}

/// A body of which a copy is kept.
struct Tapped<'a, B> {
    body: &'a mut B,
    fill: &'a mut Option<Fill>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tapped<'_, B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = ready!(Pin::new(&mut *this.body).poll_frame(cx));
        let whole = match &frame {
            None => true,
            Some(Err(_)) => {
                *this.fill = None;
                false
            }
            Some(Ok(frame)) => {
                let data = frame.data_ref();
                // Answers with trailers are not kept: what they say comes too late for a head.
                this.fill.take_if(|fill| !data.is_some_and(|data| fill.push(data)));
                data.is_some() && this.body.is_end_stream()
            }
        };
        if whole && let Some(fill) = this.fill.take() {
            fill.finish();
        }
        Poll::Ready(frame)
    }
}
