//! The guard on the way of a request: who calls, from which instance, and whether that is a
//! runaway.
//!
//! An instance is known by its address. Visitors are counted and never refused. What an
//! instance sends along (`weir-lineage`, `traceparent`, `cdn-loop`) can only make the guard
//! stricter.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Request, header};
use http_body::Body as _;
use tokio::time::timeout;
use weir_guard::{Ask, Caller, ContentHash, LineageKey, Passage, Sentry, Start, Verdict};

use crate::admission::Slot;
use crate::body::RequestBody;
use crate::clock;
use crate::config::NodeError;
use crate::headers::RequestedHost;
use crate::node::Worker;
use crate::pages::Page;
use crate::serve::Origin;
use crate::table::CompiledRoute;
use crate::trace::TRACEPARENT;

/// From which requests a request descends.
pub(crate) const LINEAGE: HeaderName = HeaderName::from_static(weir_guard::LINEAGE_HEADER);

/// Longest wait for the beginning of a body, by which repetitions are recognised. An instance
/// that has not sent it by then is not looked at for them.
const BODY_WAIT: Duration = Duration::from_millis(200);
/// So much of a body's beginning is looked at.
const BODY_BYTES: usize = 4 * 1024;

/// Asks whether the request may pass; None where nothing is guarded. `came_round` is whether it
/// bore our mark before we made it: it went out and came back.
pub(crate) async fn arrive(
    worker: &Worker,
    origin: &Origin,
    route: &CompiledRoute,
    host: &RequestedHost,
    lineage: Option<&HeaderValue>,
    came_round: bool,
    request: &mut Request<RequestBody>,
) -> Result<Option<Passage>, Page> {
    let shared = &worker.shared;
    let (Some(sentry), Some(target)) = (&shared.sentry, &route.target) else {
        return Ok(None);
    };
    let address = origin.client.to_canonical();
    let mut content = None;
    let internal = sentry.internal(address);
    if internal {
        if let Some(habits) = shared.table.load().habits(address) {
            habits.calls.store(true, Ordering::Relaxed);
        }
        content = Box::pin(content_of(request)).await;
    } else if came_round {
        route.habits.calls.store(true, Ordering::Relaxed);
    }
    let text = |value| HeaderValue::to_str(value).ok();
    let ask = Ask {
        lineage: lineage.and_then(text),
        traceparent: request.headers().get(TRACEPARENT).and_then(text),
        content,
        ..ask(host, request)
    };
    let caller = if internal {
        Caller::Address(address)
    } else {
        Caller::Visitor
    };
    match sentry.arrive(worker.index, shared.clock.now_us(), caller, target, &ask) {
        Verdict::Pass(passage) => Ok(Some(passage)),
        Verdict::Refuse(trip) => Err(Page::runaway(&route.title, &trip)),
    }
}

/// An instance was chosen: the request is in flight there from now on, and what the instance
/// calls meanwhile descends from it.
pub(crate) fn bind(
    worker: &Worker,
    route: &CompiledRoute,
    passage: &mut Passage,
    slot: &Slot,
    host: &RequestedHost,
    request: &mut Request<RequestBody>,
) {
    let Some(seat) = &slot.instance.seat else { return };
    let now_us = worker.shared.clock.now_us();
    passage.bind(seat, worker.index, now_us, &ask(host, request));
    if route.habits.calls.load(Ordering::Relaxed)
        && !request.headers().contains_key(LINEAGE)
        && let Some(value) = passage.lineage()
        && let Ok(value) = HeaderValue::from_maybe_shared(bytes::Bytes::from(value))
    {
        request.headers_mut().insert(LINEAGE, value);
    }
}

/// What is asked for, by its first line only.
fn ask<'a>(host: &'a RequestedHost, request: &'a Request<RequestBody>) -> Ask<'a> {
    Ask {
        method: request.method().as_str(),
        host: &host.name,
        path: request.uri().path(),
        lineage: None,
        traceparent: None,
        content: None,
    }
}

/// What the request asks for, if that can be told; waits a moment for the beginning of its body.
async fn content_of(request: &mut Request<RequestBody>) -> Option<ContentHash> {
    if !request.body().is_empty() {
        let body = request.body_mut();
        let began = timeout(BODY_WAIT, poll_fn(|cx| Pin::new(&mut *body).poll_begin(cx))).await;
        if began.is_err() {
            return None;
        }
    }
    let beginning = request.body().beginning();
    let beginning = &beginning[..beginning.len().min(BODY_BYTES)];
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let length = length.or_else(|| request.body().size_hint().exact());
    Some(ContentHash::of(request.method().as_str(), path, length, beginning))
}

/// The guard of a node whose clock starts now.
///
/// # Errors
/// The system gives no random numbers for the key of the lineage.
pub(crate) fn sentry(shards: usize) -> Result<Sentry, NodeError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| NodeError::Random { source: error.into() })?;
    Ok(Sentry::new(Start {
        shards,
        unix_ms_at_zero: clock::unix_ms(),
        key: LineageKey::new(key),
    }))
}
