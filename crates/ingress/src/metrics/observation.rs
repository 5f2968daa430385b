//! One request, watched from its head to the end of its answer, however it ends: it is counted
//! when this is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::{Body, Frame, SizeHint};
use weir_model::InstanceId;

use super::series::{Outcome, Series, page_kind, page_reason};
use crate::access_log::Record;
use crate::body::{AnswerBody, AnswerError, RequestBody, Upload};
use crate::clock::Clock;
use crate::headers::{X_REQUEST_ID, X_WEIR};
use crate::node::Worker;
use crate::protect::connections::AddressPlace;
use crate::serve::Origin;
use crate::table::CompiledRoute;
use crate::trace::Trace;

/// A request that goes on.
#[derive(Debug)]
pub(crate) struct Observation {
    worker: usize,
    clock: Clock,
    begun_us: u64,
    version: Version,
    trace: Trace,
    series: Arc<Series>,
    routed: bool,
    upload: Option<Arc<Upload>>,
    digit: usize,
    page: Option<usize>,
    first_byte_us: Option<u64>,
    sent_bytes: u64,
    /// Of those, what is in the counters already, from and to the client.
    counted: (u64, u64),
    /// Through a tunnel, from the client.
    carried_bytes: u64,
    /// None where its app logs no requests.
    record: Option<Box<Record>>,
    /// Among those of a client that comes by a proxy, for as long as the request goes on.
    place: Option<AddressPlace>,
}

impl Observation {
    /// A request whose head has come, and has its names already.
    pub(crate) fn begin<B>(worker: &Worker, request: &Request<B>, trace: Trace) -> Self {
        let clock = worker.shared.clock;
        Self {
            worker: worker.index,
            clock,
            begun_us: clock.now_us(),
            version: request.version(),
            trace,
            series: Arc::clone(&worker.shared.unrouted),
            routed: false,
            upload: None,
            digit: 0,
            page: None,
            first_byte_us: None,
            sent_bytes: 0,
            counted: (0, 0),
            carried_bytes: 0,
            record: None,
            place: None,
        }
    }

    /// Keeps a place until the request has ended.
    pub(crate) fn holds(&mut self, place: Option<AddressPlace>) {
        self.place = place;
    }

    /// The route by which it is answered, as long as there is no other.
    pub(crate) fn route(
        &mut self,
        route: &CompiledRoute,
        origin: &Origin,
        host: &str,
        request: Option<&Request<RequestBody>>,
    ) {
        if !self.routed || !Arc::ptr_eq(&self.series, &route.watched.series) {
            if self.routed {
                self.series.leave(self.worker);
            }
            self.series = Arc::clone(&route.watched.series);
            self.series.begin(self.worker);
            self.routed = true;
        }
        let Some(request) = request else { return };
        if self.upload.is_none() {
            self.upload = request.body().upload();
        }
        if let (Some(source), None) = (&route.watched.access_log, &self.record) {
            let record = Record::begin(source, origin, host, request, self.version, &self.trace);
            self.record = Some(Box::new(record));
        }
    }

    /// The instance that gets it.
    pub(crate) fn instance(&mut self, instance: InstanceId) {
        if let Some(record) = &mut self.record {
            record.instance(instance);
        }
    }

    /// The head of the answer goes out; the rest is watched.
    pub(crate) fn answered(mut self, mut answer: Response<AnswerBody>) -> Response<ObservedBody> {
        self.first_byte_us = Some(self.since());
        let status = answer.status().as_u16();
        self.digit = usize::from(status / 100);
        let mark = answer.headers().get(X_WEIR).and_then(|mark| mark.to_str().ok());
        self.page = mark.map(page_kind);
        if let Some(record) = &mut self.record {
            record.answered(status, self.page.map_or("app", page_reason));
        }
        answer.headers_mut().insert(X_REQUEST_ID, self.trace.request_id.clone());
        // What was upgraded ends with its tunnel, not with its head.
        let observation = match answer.extensions_mut().remove::<Seat>() {
            Some(seat) => {
                seat.take(self);
                None
            }
            None => Some(self),
        };
        answer.map(|body| ObservedBody { body, observation })
    }

    /// Bytes through a tunnel, from and to the client.
    fn carried(&mut self, from_client: u64, to_client: u64) {
        self.carried_bytes += from_client;
        self.sent_bytes += to_client;
        self.counted.0 += from_client;
        self.counted.1 += to_client;
        self.series.carry(self.worker, from_client, to_client);
    }

    fn since(&self) -> u64 {
        self.clock.now_us().saturating_sub(self.begun_us)
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        if !self.routed {
            self.series.begin(self.worker);
        }
        let outcome = Outcome {
            digit: self.digit,
            page: self.page,
            first_byte_us: self.first_byte_us,
            duration_us: self.since(),
            received_bytes: self.carried_bytes + self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            sent_bytes: self.sent_bytes,
        };
        self.series.end(self.worker, &outcome, self.counted);
        if let Some(record) = self.record.take() {
            record.end(&outcome);
        }
    }
}

/// Where the observation of a request goes that becomes a tunnel: beside its 101, from whoever
/// carries the tunnel to whoever hands the answer out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seat(Arc<Mutex<Option<Observation>>>);

impl Seat {
    fn take(&self, observation: Observation) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(observation);
    }
}

/// So many bytes of a tunnel are counted at once.
const COUNTED_BYTES: u64 = 16 * 1024;
/// And what there is after so long at most, as soon as anything goes through.
const COUNTED_EACH: Duration = Duration::from_secs(1);

/// What goes through a tunnel. Dropped, the request has ended.
#[derive(Debug)]
pub(crate) struct Carried {
    seat: Seat,
    from_client: u64,
    to_client: u64,
    counted: Instant,
}

impl Carried {
    /// Through the tunnel whose 101 has this seat.
    pub(crate) fn new(seat: Seat) -> Self {
        Self {
            seat,
            from_client: 0,
            to_client: 0,
            counted: Instant::now(),
        }
    }

    pub(crate) fn receive(&mut self, bytes: u64) {
        self.from_client += bytes;
        self.count_seldom();
    }

    pub(crate) fn send(&mut self, bytes: u64) {
        self.to_client += bytes;
        self.count_seldom();
    }

    fn count_seldom(&mut self) {
        if self.from_client + self.to_client >= COUNTED_BYTES || self.counted.elapsed() >= COUNTED_EACH {
            self.count();
        }
    }

    fn count(&mut self) {
        let mut seat = self.seat.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(observation) = &mut *seat {
            observation.carried(
                std::mem::take(&mut self.from_client),
                std::mem::take(&mut self.to_client),
            );
            self.counted = Instant::now();
        }
    }
}

impl Drop for Carried {
    fn drop(&mut self) {
        self.count();
        let ended = self.seat.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(ended);
    }
}

/// The body of an answer, watched until its end.
#[derive(Debug)]
pub(crate) struct ObservedBody {
    body: AnswerBody,
    /// None where a tunnel follows.
    observation: Option<Observation>,
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
            if let Some(observation) = &mut self.observation {
                observation.sent_bytes += bytes;
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
