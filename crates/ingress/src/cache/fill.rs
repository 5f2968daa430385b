//! An answer on its way through: what comes is kept aside for the cache, and compressed for the
//! client. Nothing waits for the whole, and what does not come whole is not kept.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::Cache;
use super::disk::Writing;
use super::pump::{Ahead, Incoming, Pump};
use super::shelf::{Entry, Flight, Kept, Medium, Outcome, Shelf, StoredBytes};
use super::tally::Weight;
use crate::compress::OnTheWay;
use crate::upstream::Wire;

/// The body of an answer, as an instance sends it or compressed.
#[derive(Debug)]
pub(crate) struct Through<B = Incoming> {
    body: B,
    /// None where the body goes on as it comes.
    work: Option<Box<Work>>,
}

#[derive(Debug, Default)]
struct Work {
    fill: Option<Fill>,
    coder: Option<OnTheWay>,
}

/// An answer that is to be kept once it has come whole.
#[derive(Debug)]
pub(super) struct Fill {
    pub(super) cache: Arc<Cache>,
    pub(super) shelf: Arc<Shelf>,
    /// With an empty body; none once it is handed on.
    pub(super) kept: Option<Box<Kept>>,
    pub(super) since: u64,
    /// Of its address.
    pub(super) hash: u64,
    /// Whether answers of the address were kept before.
    pub(super) known: bool,
    /// None once it is handed on.
    pub(super) into: Option<Gathered>,
    /// Whether it goes into a file where it is large.
    pub(super) may_spill: bool,
    /// It is not kept, and that is not for its client's sake.
    pub(super) failed: bool,
    /// Whoever waits for it is told when this goes.
    pub(super) flight: Option<Flight>,
}

/// Where a body is gathered.
#[derive(Debug)]
pub(super) enum Gathered {
    Memory { data: Vec<u8>, room: Weight },
    File(Writing),
}

impl Fill {
    /// Keeps a part of the body; false if there is no room for it.
    fn push(&mut self, data: &Bytes) -> bool {
        let pushed = match &mut self.into {
            Some(Gathered::Memory { data: gathered, room }) => {
                let whole = gathered.len() + data.len();
                if self.may_spill && whole > super::LARGE_BYTES {
                    self.spill().is_some() && self.write(data)
                } else {
                    let fits = length(whole) <= self.cache.largest_in_memory();
                    let more = fits.then(|| self.shelf.tallies.filling.borrow(length(data.len())));
                    let more = more.flatten().map(|more| room.join(more));
                    more.inspect(|()| gathered.extend_from_slice(data)).is_some()
                }
            }
            Some(Gathered::File(_)) => self.write(data),
            None => false,
        };
        self.failed |= !pushed;
        pushed
    }

    fn write(&mut self, data: &Bytes) -> bool {
        let Some(Gathered::File(writing)) = &mut self.into else {
            return false;
        };
        let (cache, shelf) = (&self.cache, &self.shelf);
        writing.push(data, |bytes| cache.shelves.make_room(Medium::Files, shelf, bytes))
    }

    /// It gets large: what has come goes into a file, and what will come.
    fn spill(&mut self) -> Option<()> {
        // Nobody waits for what goes at the pace of its client.
        self.flight = None;
        let key = &self.kept.as_ref()?.key;
        let writing = self.cache.write(&self.shelf, key, None)?;
        let Some(Gathered::Memory { data, room }) = self.into.replace(Gathered::File(writing)) else {
            return None;
        };
        // The writer counts it from here on.
        drop(room);
        self.write(&data.into()).then_some(())
    }

    /// All has come.
    pub(super) fn finish(mut self) {
        let Some(mut kept) = self.kept.take() else { return };
        match self.into.take() {
            Some(Gathered::Memory { mut data, room: _room }) => {
                data.shrink_to_fit();
                kept.body = StoredBytes::Fresh(data.into());
                self.cache.keep(&self.shelf, *kept, self.since);
            }
            Some(Gathered::File(writing)) => {
                let (cache, shelf, since) = (Arc::clone(&self.cache), Arc::clone(&self.shelf), self.since);
                writing.finish(move |file| {
                    kept.body = StoredBytes::File(file);
                    cache.keep(&shelf, *kept, since);
                });
            }
            None => {}
        }
    }
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Drop for Fill {
    fn drop(&mut self) {
        // What is not kept after all is nothing to wait for; unless it is because one client left.
        if self.kept.is_some() && (self.failed || !self.known) {
            self.cache.note_not_kept(self.hash);
        }
    }
}

impl Cache {
    /// Keeps an answer that has come whole.
    fn keep(&self, shelf: &Shelf, kept: Kept, since: u64) {
        if self.shelves.put(shelf, Entry::new(kept), since).is_some() {
            shelf.count(Outcome::Miss);
        }
    }
}

impl<B> Through<B> {
    pub(super) fn new(body: B, fill: Option<Fill>, coder: Option<OnTheWay>) -> Self {
        let work = (fill.is_some() || coder.is_some()).then(|| Box::new(Work { fill, coder }));
        Self { body, work }
    }

    /// Whether what comes is gathered.
    pub(super) fn is_filling(&self) -> bool {
        self.work.as_ref().is_some_and(|work| work.fill.is_some())
    }

    /// What comes is gathered no more.
    pub(super) fn give_up(&mut self) {
        if let Some(work) = &mut self.work
            && let Some(mut fill) = work.fill.take()
        {
            fill.failed = true;
        }
    }
}

impl Through {
    /// The connection for another request, once all has come.
    pub(crate) fn give_back(&mut self) -> Option<Wire> {
        match &mut self.body {
            Incoming::Direct(stream) => stream.give_back(),
            Incoming::Ahead(_) => None,
        }
    }

    /// Where others wait for it: what goes to the client in its place, and what has the body come as fast
    /// as the instance gives it, however fast the client reads.
    pub(crate) fn run_ahead(mut self) -> (Self, Option<Pump>) {
        let waited_for = |work: &Work| work.fill.as_ref().is_some_and(|fill| fill.flight.is_some());
        let Some(work) = self.work.as_deref_mut().filter(|work| waited_for(work)) else {
            return (self, None);
        };
        let Work { fill, coder } = std::mem::take(work);
        let memory = fill.as_ref().map(|fill| Arc::clone(&fill.shelf.tallies.filling));
        let Some(memory) = memory else { return (self, None) };
        let (ahead, pump) = Ahead::of(self.body.size_hint(), Self::new(self.body, fill, None), memory);
        (Self::new(Incoming::Ahead(ahead), None, coder), Some(pump))
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
                if let Some(mut fill) = this.fill.take() {
                    fill.failed = true;
                }
                false
            }
            Some(Ok(frame)) => {
                let data = frame.data_ref();
                // Answers with trailers are not kept: what they say comes too late for a head.
                this.fill.take_if(|fill| {
                    fill.failed = data.is_none();
                    !data.is_some_and(|data| fill.push(data))
                });
                data.is_some() && this.body.is_end_stream()
            }
        };
        if whole && let Some(fill) = this.fill.take() {
            fill.finish();
        }
        Poll::Ready(frame)
    }
}
