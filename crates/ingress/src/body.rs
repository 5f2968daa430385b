//! Bodies on their way through: streamed frame by frame, never collected.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::sleep;
use weir_guard::Passage;
use weir_ledger::wallet::NoMoney;

use crate::access::Served;
use crate::admission::Slot;
use crate::cache::{StoredBody, StoredError, Through};
use crate::clock::Clock;
use crate::node::Worker;
use crate::pay::{Outflow, head_bytes};
use crate::protect::connections::{ActiveRequest, Activity};
use crate::protect::pace::{LeastPace, Pace};
use crate::serve::Origin;
use crate::upstream::{Broken, Kept, Wire};

/// How far a request's body has come; read by the one who waits for the answer.
#[derive(Debug)]
pub(crate) struct Upload {
    clock: Clock,
    pace: LeastPace,
    idle_timeout: Duration,
    last_progress_ms: AtomicU64,
    bytes: AtomicU64,
    done: AtomicBool,
    failed: AtomicBool,
    /// The instance wants more, and the client does not send it.
    client_owes: AtomicBool,
    /// The answer has begun, so that nothing is expected of the client any more until it ends.
    answered: AtomicBool,
    after: Mutex<After>,
    refused: OnceLock<BodyRefused>,
}

/// What is kept until the upload is over, where the answer has ended before.
#[derive(Debug, Default)]
enum After {
    #[default]
    Answering,
    /// The instance is still busy with it.
    Ended(Slot, Option<Passage>, Kept),
    Over,
}

/// By what an upload is watched.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    clock: Clock,
    pace: LeastPace,
    idle_timeout: Duration,
    /// Of the client's connection; none in tests.
    activity: Option<Arc<Activity>>,
}

impl Watch {
    pub(crate) fn of(worker: &Worker, origin: &Origin) -> Self {
        let limits = &worker.shared.limits;
        Self {
            clock: worker.shared.clock,
            pace: limits.body_pace,
            idle_timeout: limits.body_idle_timeout,
            activity: origin.places.as_ref().map(|places| Arc::clone(places.activity())),
        }
    }
}

/// Why the rest of a body is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyRefused {
    /// It has more than so many bytes.
    TooLarge(u64),
    /// It comes too slowly.
    TooSlow,
}

/// Why a request's body does not come whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RequestBodyError {
    #[error("the client broke off, or its body is malformed")]
    Client(#[source] hyper::Error),
    #[error("it is larger than what is let through")]
    TooLarge,
    #[error("it comes too slowly")]
    TooSlow,
}

impl Upload {
    fn new(watch: &Watch) -> Self {
        let clock = watch.clock;
        Self {
            clock,
            pace: watch.pace,
            idle_timeout: watch.idle_timeout,
            after: Mutex::default(),
            last_progress_ms: AtomicU64::new(clock.now_ms()),
            bytes: AtomicU64::new(0),
            done: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            client_owes: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            refused: OnceLock::new(),
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

    /// From now on it may be as slow as it likes, until the answer ends.
    pub(crate) fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    /// The answer has ended. Whatever the instance still gets keeps it busy, until that is over, too.
    fn answer_ended(&self, slot: Slot, passage: Option<Passage>, kept: Kept) {
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        match *after {
            After::Answering => *after = After::Ended(slot, passage, kept),
            After::Ended(..) | After::Over => {
                drop(after);
                if let Some(passage) = passage {
                    passage.end(kept.now_us());
                }
            }
        }
    }

    fn has_answer_ended(&self) -> bool {
        matches!(
            *self.after.lock().unwrap_or_else(PoisonError::into_inner),
            After::Ended(..)
        )
    }

    /// Nothing of it goes on any more.
    fn over(&self) {
        let mut after = self.after.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *after, After::Over);
        drop(after);
        if let After::Ended(_slot, Some(passage), kept) = before {
            passage.end(kept.now_us());
        }
    }

    /// Ends when an upload whose answer has ended is too slow to be waited for: the client sends less
    /// than it must, or nothing goes on at all.
    pub(crate) async fn tarries(&self) {
        let window = self.pace.window.max(Duration::from_millis(10));
        let least = u128::from(self.pace.bytes_per_s) * window.as_millis() / 1_000;
        let mut before = None;
        loop {
            sleep(window.min(self.idle_timeout)).await;
            if !self.has_answer_ended() {
                before = None;
                continue;
            }
            let idle_ms = self.clock.now_ms().saturating_sub(self.last_progress_ms());
            if u128::from(idle_ms) >= self.idle_timeout.as_millis() {
                return;
            }
            // Where the instance does not take what has come, the client can do nothing about it.
            let (bytes, at_ms) = before.get_or_insert((self.bytes(), self.clock.now_ms()));
            if u128::from(self.clock.now_ms().saturating_sub(*at_ms)) < window.as_millis() {
                continue;
            }
            if self.client_owes() && u128::from(self.bytes().saturating_sub(*bytes)) < least {
                return;
            }
            before = Some((self.bytes(), self.clock.now_ms()));
        }
    }

    /// Why the rest of it is not taken, if that is so.
    pub(crate) fn refused(&self) -> Option<BodyRefused> {
        self.refused.get().copied()
    }

    /// Bytes that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
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
    /// What was read ahead; goes out first.
    begun: Option<Box<Polled>>,
    most_bytes: Option<u64>,
    pace: Pace,
    /// Until all has come, the connection is busy with it; none in tests.
    receiving: Option<Receiving>,
}

/// A body that a connection is about.
#[derive(Debug)]
struct Receiving {
    activity: Arc<Activity>,
    _active: ActiveRequest,
}

type Polled = Option<Result<Frame<Bytes>, hyper::Error>>;

impl RequestBody {
    /// A body that was received; watched unless it is empty.
    pub(crate) fn new(incoming: Incoming, watch: Watch) -> Self {
        if incoming.is_end_stream() {
            return Self::empty();
        }
        let upload = Arc::new(Upload::new(&watch));
        let clock = watch.clock;
        Self {
            incoming: Some(incoming),
            upload: Some(upload),
            begun: None,
            most_bytes: None,
            pace: Pace::default(),
            receiving: watch.activity.map(|activity| Receiving {
                _active: activity.upload(clock),
                activity,
            }),
        }
    }

    /// Further bytes are refused.
    pub(crate) fn allow_at_most(&mut self, bytes: u64) {
        self.most_bytes = Some(bytes);
    }

    pub(crate) fn empty() -> Self {
        Self {
            incoming: None,
            upload: None,
            begun: None,
            most_bytes: None,
            pace: Pace::default(),
            receiving: None,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.incoming.is_none()
    }

    pub(crate) fn upload(&self) -> Option<Arc<Upload>> {
        self.upload.clone()
    }

    /// Reads the first part ahead, which changes nothing for whoever takes the body later.
    pub(crate) fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let (None, Some(incoming)) = (&self.begun, &mut self.incoming) {
            self.begun = Some(Box::new(ready!(Pin::new(incoming).poll_frame(cx))));
        }
        Poll::Ready(())
    }

    /// Puts back what was taken of it and did not go on: the first part, or that there is none.
    pub(crate) fn put_back(&mut self, data: Bytes) {
        if self.incoming.is_some() {
            if let Some(upload) = &self.upload {
                upload.bytes.fetch_sub(length(&data), Ordering::Relaxed);
            }
            let begun = (!data.is_empty()).then(|| Ok(Frame::data(data)));
            self.begun = Some(Box::new(begun));
        }
    }

    /// What was read ahead.
    pub(crate) fn beginning(&self) -> &[u8] {
        match self.begun.as_deref() {
            Some(Some(Ok(frame))) => frame.data_ref().map_or(&[], |data| data),
            _ => &[],
        }
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        if let Some(receiving) = self.receiving.take() {
            // The client may be sending still, and is to read the answer all the same.
            receiving.activity.refuse();
        }
        if let Some(upload) = &self.upload {
            upload.over();
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let Some(incoming) = &mut this.incoming else {
            return Poll::Ready(None);
        };
        let polled = match this.begun.take() {
            Some(begun) => Poll::Ready(*begun),
            None => Pin::new(&mut *incoming).poll_frame(cx),
        };
        let Some(upload) = &this.upload else {
            return polled.map_err(RequestBodyError::Client);
        };
        let now_ms = upload.clock.now_ms();
        match &polled {
            Poll::Pending => {
                upload.client_owes.store(true, Ordering::Relaxed);
                this.pace.wait(now_ms);
            }
            Poll::Ready(frame) => {
                upload.client_owes.store(false, Ordering::Relaxed);
                upload.last_progress_ms.store(now_ms, Ordering::Relaxed);
                let data = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref());
                let came = data.map_or(0, length);
                let in_all = upload.bytes.fetch_add(came, Ordering::Relaxed).saturating_add(came);
                let fast_enough = this.pace.moved(upload.pace, now_ms, came);
                let refused = match this.most_bytes {
                    Some(most) if in_all > most => Some((BodyRefused::TooLarge(most), RequestBodyError::TooLarge)),
                    _ if fast_enough || upload.answered.load(Ordering::Relaxed) => None,
                    _ => Some((BodyRefused::TooSlow, RequestBodyError::TooSlow)),
                };
                if let Some((reason, error)) = refused {
                    // What came with it does not go on, either.
                    upload.failed.store(true, Ordering::Relaxed);
                    let _ = upload.refused.set(reason);
                    return Poll::Ready(Some(Err(error)));
                }
                match frame {
                    Some(Err(_)) => upload.failed.store(true, Ordering::Relaxed),
                    None => upload.done.store(true, Ordering::Relaxed),
                    Some(Ok(_)) if incoming.is_end_stream() => upload.done.store(true, Ordering::Relaxed),
                    Some(Ok(_)) => {}
                }
                if upload.is_done() {
                    this.receiving = None;
                }
            }
        }
        polled.map_err(RequestBodyError::Client)
    }

    fn is_end_stream(&self) -> bool {
        self.begun.is_none() && self.incoming.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(incoming) = &self.incoming else {
            return SizeHint::with_exact(0);
        };
        let ahead = u64::try_from(self.beginning().len()).unwrap_or(u64::MAX);
        let rest = incoming.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }
}

/// What happens when an answer has ended: the connection is kept, the place given back.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) slot: Slot,
    pub(crate) kept: Kept,
    /// None where nothing is guarded.
    pub(crate) passage: Option<Passage>,
    /// The rest of the request may still be on its way.
    pub(crate) upload: Option<Arc<Upload>>,
}

impl Ending {
    /// The answer has come whole, over a connection that may be used again.
    pub(crate) fn complete(mut self, wire: Option<Wire>) {
        if wire.is_none()
            && let Some(upload) = self.upload.take()
        {
            return upload.answer_ended(self.slot, self.passage.take(), self.kept);
        }
        if let Some(passage) = self.passage.take() {
            passage.end(self.kept.now_us());
        }
        if let Some(wire) = wire {
            self.kept.keep(&self.slot.instance, wire);
        }
    }
}

/// Why an answer breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AnswerError {
    #[error("the instance broke off")]
    Instance(#[source] Broken),
    #[error("there is no money for the rest of the answer")]
    NoMoney(#[source] NoMoney),
    #[error("what is kept of it does not come whole")]
    Stored(#[source] StoredError),
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) enum AnswerBody {
    /// Nothing.
    Empty,
    /// A page of Weir's own.
    Page(Bytes),
    /// What an instance sends.
    Upstream(Box<UpstreamBody>),
    /// What the cache keeps.
    Stored(Box<StoredBody>),
}

/// What an instance sends. Dropped before its end, it takes the connection along.
#[derive(Debug)]
pub(crate) struct UpstreamBody {
    incoming: Through,
    /// Until all has come.
    ending: Option<Box<Ending>>,
    /// None where nothing is charged.
    outflow: Option<Outflow>,
    served: Served,
    /// Has come, and is not paid yet.
    unpaid: Bytes,
}

impl AnswerBody {
    /// What an instance sends; an empty one has ended already. `ending` is missing where somebody else sees to
    /// the end.
    pub(crate) fn upstream(
        mut incoming: Through,
        ending: Option<Ending>,
        outflow: Option<Outflow>,
        served: Served,
    ) -> Self {
        if incoming.is_end_stream() {
            if let Some(ending) = ending {
                ending.complete(incoming.give_back());
            }
            return Self::Empty;
        }
        Self::Upstream(Box::new(UpstreamBody {
            incoming,
            ending: ending.map(Box::new),
            outflow,
            served,
            unpaid: Bytes::new(),
        }))
    }
}

impl UpstreamBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        if !self.unpaid.is_empty() {
            return self.poll_pay(cx).map(Some);
        }
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(cx));
        // Whoever sees the end of the stream does not poll again.
        let ended = match &frame {
            None => true,
            Some(Ok(_)) => self.incoming.is_end_stream(),
            Some(Err(_)) => {
                drop(self.ending.take());
                false
            }
        };
        if let (true, Some(ending)) = (ended, self.ending.take_if(|_| ended)) {
            ending.complete(self.incoming.give_back());
        }
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return Poll::Ready(Some(Err(AnswerError::Instance(error)))),
            None => return Poll::Ready(None),
        };
        match frame.into_data() {
            Ok(data) if self.outflow.is_none() || data.is_empty() => Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(data) => {
                self.unpaid = data;
                self.poll_pay(cx).map(Some)
            }
            Err(other) => Poll::Ready(Some(self.pay_trailers(other))),
        }
    }

    /// Hands out as much of what has come as can be paid.
    fn poll_pay(&mut self, cx: &mut Context<'_>) -> Poll<Result<Frame<Bytes>, AnswerError>> {
        let Some(outflow) = &mut self.outflow else {
            return Poll::Ready(Ok(Frame::data(std::mem::take(&mut self.unpaid))));
        };
        let wanted = length(&self.unpaid);
        let rest = self
            .incoming
            .size_hint()
            .exact()
            .map(|rest| rest.saturating_add(wanted));
        let allowed = match ready!(outflow.poll_allow(cx, wanted, rest)) {
            Ok(allowed) => allowed,
            Err(reason) => return Poll::Ready(Err(self.break_off(reason))),
        };
        outflow.spend(allowed);
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX).min(self.unpaid.len());
        Poll::Ready(Ok(Frame::data(self.unpaid.split_to(allowed))))
    }

    fn pay_trailers(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, AnswerError> {
        let paid = match (&mut self.outflow, frame.trailers_ref()) {
            (Some(outflow), Some(trailers)) => outflow.pay_trailers(trailers),
            _ => Ok(()),
        };
        match paid {
            Ok(()) => Ok(frame),
            Err(reason) => Err(self.break_off(reason)),
        }
    }

    fn break_off(&mut self, reason: NoMoney) -> AnswerError {
        self.unpaid = Bytes::new();
        drop(self.ending.take());
        tracing::info!(%reason, "broke off an answer: there is no money for the rest of it");
        AnswerError::NoMoney(reason)
    }
}

/// Bytes that a client gets with a frame.
fn sent(frame: &Frame<Bytes>) -> u64 {
    let data = frame.data_ref().map_or(0, length);
    data + frame.trailers_ref().map_or(0, |trailers| head_bytes(None, trailers))
}

fn length(data: &Bytes) -> u64 {
    u64::try_from(data.len()).unwrap_or(u64::MAX)
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Page(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Upstream(upstream) => {
                let frame = ready!(upstream.poll_frame(cx));
                if let Some(Ok(frame)) = &frame {
                    upstream.served.send(sent(frame));
                }
                Poll::Ready(frame)
            }
            Self::Stored(stored) => stored
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(AnswerError::Stored))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Page(bytes) => bytes.is_empty(),
            Self::Upstream(upstream) => upstream.unpaid.is_empty() && upstream.incoming.is_end_stream(),
            Self::Stored(stored) => stored.left() == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Page(bytes) => SizeHint::with_exact(length(bytes)),
            // Asked for only before the first frame.
            Self::Upstream(upstream) => upstream.incoming.size_hint(),
            Self::Stored(stored) => SizeHint::with_exact(stored.left()),
        }
    }
}
