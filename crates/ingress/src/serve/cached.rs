//! Where the cache stands on the way of a request: between being let in and being sent to an
//! instance, and again when an answer comes.

use std::sync::Arc;

use http::response::Parts;
use http::{HeaderMap, Method, Request, Response};
use http_body::SizeHint;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use weir_model::route::RouteState;

use super::{Call, Entry, admit, bind, connect, exchange};
use crate::access::Unserved;
use crate::body::{AnswerBody, Ending, RequestBody};
use crate::cache::{Address, Hit, Look, Part, StoredBody, Taken, Through, Way};
use crate::headers::X_REQUEST_ID;
use crate::node::Worker;
use crate::pages::Page;
use crate::pay::{self, Outflow};
use crate::table::CompiledRoute;
use crate::upstream::{AnswerStream, Repeatable};

/// How often a renewal begins anew, for want of a connection.
const RENEWAL_ATTEMPTS: usize = 3;

/// An answer that is kept, if there is one for the request. Where it is stale, and may be, a newer one
/// is fetched beside.
pub(super) async fn look(
    worker: &Arc<Worker>,
    route: &Arc<CompiledRoute>,
    call: &mut Call,
) -> Result<Option<Response<AnswerBody>>, Page> {
    let Call {
        outgoing: Some(request),
        way,
        host,
        target,
        scheme,
        ..
    } = call
    else {
        return Ok(None);
    };
    let address = Address { scheme, host, target };
    match worker.shared.cache.look(route, way, address, request).await {
        Look::Ask => Ok(None),
        Look::Missing => Err(Page::not_kept(&route.title)),
        Look::Answer(hit) => hand_out(worker, route, call, hit).await.map(Some),
        Look::Renew(hit, way) => {
            if matches!(route.state, RouteState::Serve) {
                renew(worker, route, call, *way);
            }
            hand_out(worker, route, call, hit).await.map(Some)
        }
    }
}

/// Whether an answer is kept that needs no instance, so that the request need not wait for one.
pub(super) fn would_answer(worker: &Worker, route: &CompiledRoute, call: &Call) -> bool {
    worker
        .shared
        .cache
        .would_answer(route, call.address(), call.outgoing.as_ref())
}

/// Takes in what an instance answers. None: a kept answer went out in its place.
pub(super) fn take_in(
    worker: &Worker,
    route: &CompiledRoute,
    call: &mut Call,
    parts: &mut Parts,
    stream: AnswerStream,
) -> Taken {
    let Call {
        way,
        host,
        target,
        scheme,
        ..
    } = call;
    let address = Address { scheme, host, target };
    worker.shared.cache.take_in(route, way, address, parts, stream)
}

/// An answer for which no client waits.
pub(super) fn for_nobody(
    worker: &Worker,
    route: &CompiledRoute,
    call: &mut Call,
    (parts, through): (Parts, Through),
    ending: Ending,
) -> Response<AnswerBody> {
    let served = call.served(worker, route).sent_to_nobody();
    Response::from_parts(parts, AnswerBody::upstream(through, Some(ending), None, served))
}

/// Has the answer come as fast as its instance gives it, where others wait for it.
pub(super) fn run_ahead(worker: &Worker, through: Through, ending: Ending) -> (Through, Option<Ending>) {
    let (through, pump) = through.run_ahead();
    let Some(pump) = pump else {
        return (through, Some(ending));
    };
    let idle = worker.shared.limits.body_idle_timeout;
    worker.connections.spawn(pump.run(ending, idle));
    (through, None)
}

/// Gives out a kept answer: paid and counted like one of an instance.
pub(super) async fn hand_out(
    worker: &Worker,
    route: &CompiledRoute,
    call: &mut Call,
    hit: Hit,
) -> Result<Response<AnswerBody>, Page> {
    if call.way.is_renewal() {
        return Ok(Response::new(AnswerBody::Empty));
    }
    let sent = call.outgoing.take().map(|request| request.into_parts().0.headers);
    let request: HeaderMap = call.way.take_client().or(sent).unwrap_or_default();
    let method = call.way.method();
    let (status, mut headers, body) = worker.shared.cache.compose(route, &hit, &method, &request).await;
    if let Some(id) = call.request_id.take() {
        headers.insert(X_REQUEST_ID, id);
    }
    let head = pay::head_bytes(Some(status), &headers);
    let length: u64 = body.iter().map(Part::length).sum();
    let size = SizeHint::with_exact(length);
    let outflow = Outflow::begin(worker, route, head, size).await?;
    let mut served = call.served(worker, route);
    served.send(head);
    let mut answer = Response::new(match length {
        0 => AnswerBody::Empty,
        _ => AnswerBody::Stored(Box::new(StoredBody::new(body, outflow, served))),
    });
    *answer.status_mut() = status;
    *answer.headers_mut() = headers;
    Ok(answer)
}

/// A kept answer in place of a page that says that none can be had, where it allows that.
pub(super) async fn stand_in(
    worker: &Worker,
    route: &CompiledRoute,
    call: &mut Call,
    page: Page,
) -> Result<Response<AnswerBody>, Page> {
    match call.way.stand_in() {
        Some(hit) => hand_out(worker, route, call, hit).await,
        None => Err(page),
    }
}

/// Fetches a newer answer beside. It is paid like the request of a client; what comes goes to nobody,
/// so that is not.
fn renew(worker: &Arc<Worker>, route: &Arc<CompiledRoute>, call: &mut Call, way: Way) {
    let Some(request) = &call.outgoing else { return };
    let mut copy = Request::new(RequestBody::empty());
    *copy.method_mut() = Method::GET;
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    way.ask_again(copy.headers_mut());
    let renewal = Call {
        way,
        // What the app calls meanwhile descends from the request that had it renewed.
        passage: call.passage.take(),
        entry: Entry::Passed,
        ..Call::new(
            call.host.clone(),
            call.target.clone(),
            call.scheme,
            copy,
            Repeatable::Yes,
        )
    };
    let (worker, route) = (Arc::clone(worker), Arc::clone(route));
    let connections = worker.connections.clone();
    connections.spawn(async move {
        if let Err(page) = run_renewal(&worker, &route, renewal).await {
            tracing::debug!(?page, "a kept answer was not renewed");
        }
    });
}

async fn run_renewal(worker: &Arc<Worker>, route: &Arc<CompiledRoute>, mut call: Call) -> Result<(), Page> {
    pay::for_request(worker, route).await?;
    call.unserved = Some(Unserved::new(&route.access, worker.index));
    call.entry = Entry::Paid;
    for _ in 0..RENEWAL_ATTEMPTS {
        // Not by routes that are no longer those of the app; the next visitor has it renewed.
        if route.is_past() {
            break;
        }
        let Some(slot) = admit(worker, route, &mut call).await? else {
            continue;
        };
        bind(worker, route, &slot, &mut call);
        let Some(connection) = connect(worker, &slot, &mut call).await else {
            continue;
        };
        if let Some(answer) = exchange(worker, route, slot, connection, &mut call).await? {
            let mut body = answer.into_body();
            // One that pauses for too long holds up whoever waits for what it fetches.
            let idle = worker.shared.limits.body_idle_timeout;
            while let Ok(Some(Ok(_))) = timeout(idle, body.frame()).await {}
            break;
        }
    }
    Ok(())
}
