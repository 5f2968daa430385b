//! One request, watched from its head to the end of its answer, however it ends: it is counted
//! when this is dropped.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

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
    /// None where its app logs no requests.
    record: Option<Box<Record>>,
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
            record: None,
        }
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
        answer.map(|body| ObservedBody {
            body,
            observation: self,
        })
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
            received_bytes: self.upload.as_ref().map_or(0, |upload| upload.bytes()),
            sent_bytes: self.sent_bytes,
        };
        self.series.end(self.worker, &outcome);
        if let Some(record) = self.record.take() {
            record.end(&outcome);
        }
    }
}

/// The body of an answer, watched until its end.
#[derive(Debug)]
pub(crate) struct ObservedBody {
    body: AnswerBody,
    observation: Observation,
}

impl Body for ObservedBody {
    type Data = Bytes;
    type Error = AnswerError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, AnswerError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.observation.sent_bytes += u64::try_from(data.len()).unwrap_or(u64::MAX);
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
