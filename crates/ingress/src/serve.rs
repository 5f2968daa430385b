//! The way of a request. [`phases`] shows its order.

mod cached;
mod exchanged;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body::{Body as _, SizeHint};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use weir_guard::Passage;
use weir_model::InstanceId;
use weir_model::route::RouteState;

use crate::access::{Served, Unserved};
use crate::admission::{Gate, HeldPlace, Pick, Slot};
use crate::body::{AnswerBody, Ending, RequestBody, Watch};
use crate::cache::{Address, Taken, Way};
use crate::canary::{self, Visitor};
use crate::counters::count;
use crate::guard;
use crate::headers::{self, RequestedHost};
use crate::metrics::{Observation, ObservedBody};
use crate::node::{Shared, Worker};
use crate::pages::{Format, Page};
use crate::pay::{self, Outflow};
use crate::protect::connections::Places;
use crate::protect::{self, Fence};
use crate::table::CompiledRoute;
use crate::tls::{self, Session};
use crate::trace;
use crate::upgrade::{self, Tunnel};
use crate::upstream::{self, AnswerStream, Connection, Repeatable};
use exchanged::exchange;

/// How often a request may have been here before, by the marks that proxies keep on it.
const MOST_LOOPS: usize = 16;

/// From where a connection came, and how.
#[derive(Debug)]
pub(crate) struct Origin {
    /// The client's address.
    pub(crate) client: IpAddr,
    /// The same as it is told to apps.
    pub(crate) client_value: HeaderValue,
    /// None without TLS.
    pub(crate) session: Option<Arc<Session>>,
    /// Whether the client came by TLS, here or at a proxy that is believed.
    pub(crate) secure: bool,
    /// Whether it is a proxy that is believed about for whom it speaks.
    pub(crate) is_proxy: bool,
    /// Of the connection, and of what becomes of it; none in tests.
    pub(crate) places: Option<Arc<Places>>,
}

impl Origin {
    fn scheme(&self) -> &'static str {
        if self.secure { "https" } else { "http" }
    }
}

/// One request on its way, over all attempts.
struct Call {
    host: RequestedHost,
    target: PathAndQuery,
    /// What its client is told besides the answer: `Strict-Transport-Security`.
    hsts: Option<HeaderValue>,
    scheme: &'static str,
    /// What the cache knows of it.
    way: Way,
    /// What seemed to be kept was not there: it waits for an instance like any other request.
    needs_instance: bool,
    /// What goes to the instance; not there while it is being sent.
    outgoing: Option<Request<RequestBody>>,
    /// The client gets it back.
    request_id: Option<HeaderValue>,
    /// The client's side of an upgrade, if it asked for one.
    client_upgrade: Option<OnUpgrade>,
    repeatable: Repeatable,
    /// The lineage that came with it, to be checked by the guard.
    lineage: Option<HeaderValue>,
    /// Whether it has been here before.
    came_round: bool,
    /// Whether it has passed what stands before the host.
    passed: bool,
    /// Of its connection, for what that is upgraded to.
    places: Option<Arc<Places>>,
    /// How far the guard and the till have let it in; both are asked once, not for each attempt.
    entry: Entry,
    /// The guard's view of it, while it goes on.
    passage: Option<Passage>,
    /// Between being paid and being handed to an instance; and from then on.
    unserved: Option<Unserved>,
    served: Option<Served>,
    /// Its place in every queue; the lower, the longer it waits.
    ticket: Option<u64>,
    held: Option<HeldPlace>,
    hold_deadline: Option<Instant>,
    queue_deadline: Option<Instant>,
    unreachable_deadline: Option<Instant>,
    /// Instances that did not accept a connection in this round.
    tried: Vec<InstanceId>,
    /// Who asks, where a canary gets some of the visitors.
    visitor: Option<Visitor>,
    /// How often a connection broke after the request was sent.
    broken: u32,
    /// Of those, exchanges on a connection that was made for this request.
    broken_fresh: u32,
}

impl Call {
    /// A request that has not been let in, and has waited for nothing.
    fn new(
        host: RequestedHost,
        target: PathAndQuery,
        scheme: &'static str,
        outgoing: Request<RequestBody>,
        repeatable: Repeatable,
    ) -> Self {
        Self {
            host,
            target,
            scheme,
            way: Way::default(),
            needs_instance: false,
            hsts: None,
            request_id: None,
            outgoing: Some(outgoing),
            client_upgrade: None,
            repeatable,
            lineage: None,
            came_round: false,
            passed: false,
            places: None,
            entry: Entry::Outside,
            passage: None,
            unserved: None,
            served: None,
            ticket: None,
            held: None,
            hold_deadline: None,
            queue_deadline: None,
            unreachable_deadline: None,
            tried: Vec::new(),
            visitor: None,
            broken: 0,
            broken_fresh: 0,
        }
    }

    fn address(&self) -> Address<'_> {
        Address {
            scheme: self.scheme,
            host: &self.host,
            target: &self.target,
        }
    }

    /// The method that it came with; `GET` while it is being sent.
    fn method(&self) -> &Method {
        self.outgoing.as_ref().map_or(&Method::GET, Request::method)
    }

    /// The count of what is served with it; begins when an instance gets it.
    fn served(&mut self, worker: &Worker, route: &CompiledRoute) -> Served {
        if let Some(unserved) = self.unserved.take() {
            unserved.handed_on();
        }
        let begin = || Served::begin(&route.access, worker.index);
        self.served.take().unwrap_or_else(begin)
    }
}

/// Whether a request was let in.
#[derive(PartialEq, Eq)]
enum Entry {
    Outside,
    /// The guard lets it pass.
    Passed,
    /// And it is paid.
    Paid,
}

/// A request that was understood.
pub(crate) struct Arrived {
    origin: Arc<Origin>,
    seen: Observation,
    format: Format,
    call: Call,
}

/// An answer or a page.
type Answered = Result<Response<AnswerBody>, Page>;

/// Reads the head of a request; some are answered at once. Boxed, so that what follows does not move it.
pub(crate) fn arrive(
    worker: &Worker,
    origin: &Arc<Origin>,
    mut request: Request<Incoming>,
) -> Result<Box<Arrived>, Box<Response<ObservedBody>>> {
    count(&worker.counters.requests);
    let trace = trace::identify(request.headers_mut());
    let mut seen = Observation::begin(worker, &request, trace);
    let format = Format::wanted(request.headers());
    let origin = match protect::on_behalf_of(worker, origin, request.headers()) {
        Ok(None) => Ok(Arc::clone(origin)),
        Ok(Some((visitor, place))) => {
            seen.holds(place);
            Ok(Arc::new(visitor))
        }
        Err(page) => Err(page),
    };
    let understood = match (origin, tls::answer_challenge(worker, &request)) {
        (Err(page), _) => Err(Err(page)),
        (Ok(_), Some(answer)) => Err(Ok(answer)),
        (Ok(origin), None) => understand(worker, &origin, request)
            .map(|call| (origin, call))
            .map_err(Err),
    };
    match understood {
        Ok((origin, call)) => Ok(Box::new(Arrived {
            origin,
            seen,
            format,
            call,
        })),
        Err(answered) => Err(Box::new(seen.answered(or_page(worker, answered, format)))),
    }
}

fn or_page(worker: &Worker, answered: Answered, format: Format) -> Response<AnswerBody> {
    answered.unwrap_or_else(|page| {
        count(&worker.counters.pages);
        page.answer(format)
    })
}

/// Answers a request, if need be by a page of Weir's own.
pub(crate) async fn serve(worker: &Arc<Worker>, mut arrived: Box<Arrived>) -> Response<ObservedBody> {
    let Arrived {
        origin,
        seen,
        format,
        call,
    } = &mut *arrived;
    let answered = phases(worker, origin, call, seen).await;
    let mut answer = or_page(worker, answered, *format);
    if let Some(told) = call.hsts.take() {
        // An app that says more of it itself is right.
        let said = answer.headers_mut().entry(header::STRICT_TRANSPORT_SECURITY);
        said.or_insert(told);
    }
    // What it held is given back before its answer goes out.
    let Arrived { seen, .. } = *arrived;
    seen.answered(answer)
}

/// The phases. Each may answer with a page; each of those in the loop may find that the world
/// has changed (`None`), whereupon the request begins anew as if it had just come. Its body is
/// not touched before an instance's connection takes it.
///
/// Ways that few requests go, and all waits, are boxed here and below: the future of a request has
/// room for the largest of its ways, and is moved to the heap for each request.
async fn phases(
    worker: &Arc<Worker>,
    origin: &Origin,
    call: &mut Call,
    seen: &mut Observation,
) -> Result<Response<AnswerBody>, Page> {
    loop {
        let Some(route) = find_route(worker, origin, call, seen).await? else {
            continue;
        };
        enter(worker, origin, &route, call).await?;
        if let Some(answer) = cached::look(worker, &route, call).await? {
            return Ok(answer);
        }
        if !matches!(route.state, RouteState::Serve) {
            // What was kept a moment ago is gone, so that it has to wait after all; nobody is to
            // wait for it meanwhile.
            call.needs_instance = true;
            call.way.leave_the_lead();
            continue;
        }
        match ask(worker, &route, call, seen).await {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(page) => return Box::pin(cached::stand_in(worker, &route, call, page)).await,
        }
    }
}

/// Those phases in which an instance is asked.
async fn ask(
    worker: &Arc<Worker>,
    route: &Arc<CompiledRoute>,
    call: &mut Call,
    seen: &mut Observation,
) -> Result<Option<Response<AnswerBody>>, Page> {
    let Some(slot) = admit(worker, route, call).await? else {
        return Ok(None);
    };
    seen.instance(slot.instance.backend.instance);
    bind(worker, route, &slot, call);
    let Some(connection) = connect(worker, &slot, call).await else {
        return Ok(None);
    };
    exchange(worker, route, slot, connection, call).await
}

/// Refuses what is not a request for an app, and makes the instance's request out of the rest.
fn understand(worker: &Worker, origin: &Origin, mut request: Request<Incoming>) -> Result<Call, Page> {
    protect::check_head(worker, &request)?;
    if matches!(*request.method(), Method::CONNECT | Method::TRACE) {
        return Err(Page::method_refused(request.method()));
    }
    let version = request.version();
    let host = headers::requested_host(request.uri(), request.headers(), version).map_err(Page::bad_host)?;
    if let Some(session) = &origin.session
        && !worker.shared.tls.may_carry(session, &host.name)
    {
        return Err(Page::misdirected(&host.name));
    }
    if !headers::is_plainly_coded(request.headers()) {
        return Err(Page::bad_coding());
    }
    let loops = headers::loops(request.headers());
    if loops > MOST_LOOPS {
        return Err(Page::loops(MOST_LOOPS));
    }
    let protocol = headers::wanted_upgrade(request.headers(), version);
    let client_upgrade = protocol.is_some().then(|| hyper::upgrade::on(&mut request));
    let (mut parts, incoming) = request.into_parts();
    let lineage = parts.headers.remove(guard::LINEAGE);
    let visitor = canary::take_visitor(&mut parts.headers);
    let body = RequestBody::new(incoming, Watch::of(worker, origin));
    headers::prepare_request(
        &mut parts.headers,
        &host,
        &origin.client_value,
        origin.scheme(),
        protocol.as_ref(),
    );
    if !body.is_empty() && !parts.headers.contains_key(header::CONTENT_LENGTH) {
        // Without it hyper would take a GET's body for none.
        parts
            .headers
            .insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    let target = parts
        .uri
        .path_and_query()
        .cloned()
        .and_then(with_path)
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let repeatable = match (body.is_empty(), parts.method.is_idempotent()) {
        (true, true) => Repeatable::Yes,
        _ => Repeatable::No,
    };
    parts.uri = Uri::from(target.clone());
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    Ok(Call {
        request_id: parts.headers.get(headers::X_REQUEST_ID).cloned(),
        client_upgrade,
        lineage,
        came_round: loops > 0,
        places: origin.places.clone(),
        visitor,
        ..Call::new(
            host,
            target,
            origin.scheme(),
            Request::from_parts(parts, body),
            repeatable,
        )
    })
}

/// A query alone is one of the root (RFC 9112, 3.2.1).
fn with_path(target: PathAndQuery) -> Option<PathAndQuery> {
    if target.as_str().starts_with('?') {
        return format!("/{target}").parse().ok();
    }
    Some(target)
}

/// The route that serves; waits while it is held. Before that the host may send it elsewhere.
async fn find_route(
    worker: &Worker,
    origin: &Origin,
    call: &mut Call,
    seen: &mut Observation,
) -> Result<Option<Arc<CompiledRoute>>, Page> {
    let shared = &worker.shared;
    let table = shared.table.load();
    if table.epoch == 0 {
        drop(table);
        let timeout = shared.limits.unreachable_timeout;
        return match Box::pin(hold(worker, call, &shared.starting, None, timeout)).await {
            Hold::Ended => Ok(None),
            Hold::TooLong | Hold::TooMany => Err(Page::starting()),
        };
    }
    let Some(host) = table.hosts.get(call.host.name.as_str()) else {
        return Err(Page::unknown_host(&call.host.name));
    };
    call.hsts = host.policy.hsts(origin);
    if let Some(location) = host.policy.elsewhere(&shared.tls, origin, &call.host, &call.target) {
        return Err(Page::elsewhere(&location));
    }
    let Some(route) = host.route(call.target.path(), call.method()).cloned() else {
        return Err(match host.routes.first() {
            Some(route) => Page::no_route(&route.title),
            None => Page::unknown_host(&call.host.name),
        });
    };
    let fence = host.fence.clone();
    drop(table);
    let by_link = |fence: &Arc<Fence>| fence.by_link(call.method(), call.target.path(), origin.secure);
    if let Some(page) = fence.as_ref().and_then(by_link) {
        return Err(page);
    }
    seen.route(&route, origin, &call.host.name, call.outgoing.as_ref());
    if let (Some(fence), false, Some(request)) = (fence, call.passed, &mut call.outgoing) {
        Box::pin(protect::pass(worker, &fence, origin.client, request)).await?;
        call.passed = true;
        // It may have taken a while.
        return Ok(None);
    }
    match &route.state {
        RouteState::Serve => {
            call.held = None;
            call.hold_deadline = None;
            let headers = call.outgoing.as_ref().map(Request::headers);
            Ok(Some(canary::choose(route, headers, &mut call.visitor)))
        }
        // What needs no instance need not wait for one.
        RouteState::Hold { .. } | RouteState::Asleep { .. }
            if !call.needs_instance && cached::would_answer(worker, &route, call) =>
        {
            Ok(Some(route))
        }
        RouteState::Hold { timeout_ms } => {
            let timeout = Duration::from_millis(*timeout_ms);
            match Box::pin(hold(worker, call, &route.gate, Some(&*route), timeout)).await {
                Hold::Ended => Ok(None),
                Hold::TooLong => Err(Page::hold_timeout(&route.title)),
                Hold::TooMany => Err(Page::hold_full(&route.title)),
            }
        }
        RouteState::Asleep { timeout_ms } => {
            let timeout = Duration::from_millis(*timeout_ms);
            match Box::pin(hold(worker, call, &route.gate, Some(&*route), timeout)).await {
                Hold::Ended => Ok(None),
                Hold::TooLong => Err(Page::wake_timeout(&route.title)),
                Hold::TooMany => Err(Page::hold_full(&route.title)),
            }
        }
        RouteState::Paused => Err(Page::paused(&route.title)),
        RouteState::Undeployed => Err(Page::undeployed(&route.title)),
        RouteState::Crashed { message } => Err(Page::crashed(&route.title, message)),
        RouteState::Unpaid { message, retry_after_s } => Err(Page::unpaid(&route.title, message, *retry_after_s)),
    }
}

/// How a wait at a held route ended.
enum Hold {
    /// There is a new table, in which the route may still be held.
    Ended,
    /// It was held longer than it may.
    TooLong,
    /// So many wait already that this one may not.
    TooMany,
}

/// Waits until the routes of the environment are others; before the first table, for that.
async fn hold(
    worker: &Worker,
    call: &mut Call,
    gate: &Arc<Gate>,
    route: Option<&CompiledRoute>,
    timeout: Duration,
) -> Hold {
    let shared = &worker.shared;
    let deadline = *call.hold_deadline.get_or_insert_with(|| Instant::now() + timeout);
    if call.held.is_none() {
        call.held = gate.hold(shared.limits.held_requests);
        if call.held.is_none() {
            return Hold::TooMany;
        }
        // Who was held keeps its place in the queue that follows.
        call.ticket.get_or_insert_with(|| shared.next_ticket());
        count(&worker.counters.held);
    }
    // The times in the queue and for an instance count from when the hold ends.
    call.queue_deadline = None;
    call.unreachable_deadline = None;
    call.needs_instance = false;
    let _waiting = shared.waiting();
    let changed = match route {
        Some(route) => route.passed(deadline).await,
        None => shared.table_changed(0, deadline).await,
    };
    if changed { Hold::Ended } else { Hold::TooLong }
}

/// Asks the guard, which refuses runaways, and pays.
async fn enter(worker: &Worker, origin: &Origin, route: &CompiledRoute, call: &mut Call) -> Result<(), Page> {
    if let (Entry::Outside, Some(request)) = (&call.entry, &mut call.outgoing) {
        let (lineage, came_round) = (call.lineage.as_ref(), call.came_round);
        call.passage = guard::arrive(worker, origin, route, &call.host, lineage, came_round, request).await?;
        call.entry = Entry::Passed;
    }
    if call.entry == Entry::Passed {
        pay::for_request(worker, route).await?;
        call.unserved = Some(Unserved::new(&route.access, worker.index));
        call.entry = Entry::Paid;
    }
    Ok(())
}

/// Tells the guard where the request goes.
fn bind(worker: &Worker, route: &CompiledRoute, slot: &Slot, call: &mut Call) {
    if let (Some(passage), Some(request)) = (&mut call.passage, &mut call.outgoing) {
        guard::bind(worker, route, passage, slot, &call.host, request);
    }
}

/// A place at an instance; waits in the queue if all are busy, or for an instance if none is.
async fn admit(worker: &Worker, route: &Arc<CompiledRoute>, call: &mut Call) -> Result<Option<Slot>, Page> {
    let shared = &worker.shared;
    if route.pool.is_empty() || route.gate.waiting() == 0 {
        match route.pick(&call.tried, shared.clock.now_ms()) {
            // Counted, and no newer table since: whoever installs the next one sees the count.
            Pick::Slot(slot) if !route.is_past() => return Ok(Some(slot)),
            Pick::Slot(_) => return Ok(None),
            Pick::Nobody => return Box::pin(wait_for_instance(worker, route, call)).await.map(|()| None),
            Pick::Full => {}
        }
    }
    Box::pin(queue(worker, route, call)).await
}

/// Waits for a place in the queue of the route.
async fn queue(worker: &Worker, route: &CompiledRoute, call: &mut Call) -> Result<Option<Slot>, Page> {
    let shared = &worker.shared;
    if call.ticket.is_none() && route.gate.waiting() >= route.queue_length(&shared.limits) {
        route.gate.count_full();
        return Err(Page::queue_full(&route.title));
    }
    let ticket = *call.ticket.get_or_insert_with(|| {
        count(&worker.counters.queued);
        shared.next_ticket()
    });
    let deadline = *call
        .queue_deadline
        .get_or_insert_with(|| Instant::now() + route.queue_timeout(&shared.limits));
    let _waiting = shared.waiting();
    let (_place, handed) = route.gate.enter(ticket);
    tokio::select! {
        biased;
        slot = handed => Ok(slot.ok().filter(|_| !route.is_past())),
        changed = route.passed(deadline) => {
            if changed {
                return Ok(None);
            }
            route.gate.count_late();
            Err(Page::queue_timeout(&route.title))
        }
    }
}

/// No instance accepts connections: one may be being replaced, so the request waits for a new
/// table, and tries again meanwhile.
async fn wait_for_instance(worker: &Worker, route: &CompiledRoute, call: &mut Call) -> Result<(), Page> {
    let shared = &worker.shared;
    let now = Instant::now();
    let deadline = *call
        .unreachable_deadline
        .get_or_insert(now + shared.limits.unreachable_timeout);
    if now >= deadline {
        return Err(if route.pool.is_empty() {
            Page::no_instance(&route.title)
        } else {
            Page::unreachable(&route.title)
        });
    }
    let again = if route.pool.is_empty() {
        deadline
    } else {
        deadline.min(now + shared.limits.unreachable_pause)
    };
    let _waiting = shared.waiting();
    route.passed(again).await;
    call.tried.clear();
    Ok(())
}

/// A connection to the instance. None: it does not accept any; nothing was sent, so that
/// another may be tried.
async fn connect(worker: &Worker, slot: &Slot, call: &mut Call) -> Option<Connection> {
    let limits = &worker.shared.limits;
    let longest_idle = match call.repeatable {
        // One that broke a moment ago is reason enough to distrust the other idle ones.
        Repeatable::Yes if call.broken > 0 => Duration::ZERO,
        Repeatable::Yes => limits.idle_timeout,
        Repeatable::No => limits.fresh_enough,
    };
    match upstream::connection(worker, &slot.instance, longest_idle).await {
        Ok(connection) => Some(connection),
        Err(error) => {
            let backend = &slot.instance.backend;
            tracing::debug!(instance.id = %backend.instance, address = %backend.address, %error, "no connection to an instance");
            call.tried.push(backend.instance);
            None
        }
    }
}

/// Passes the answer on once its head is paid; its body follows as it comes and is paid.
async fn deliver(
    worker: &Arc<Worker>,
    route: &CompiledRoute,
    mut answer: Response<AnswerStream>,
    ending: Ending,
    call: &mut Call,
) -> Result<Response<AnswerBody>, Page> {
    if let Some(id) = call.request_id.take() {
        answer.headers_mut().insert(headers::X_REQUEST_ID, id);
    }
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let Some(client) = call.client_upgrade.take() else {
            return Err(Page::bad_answer(&route.title));
        };
        let head = pay::head_bytes(Some(answer.status()), answer.headers());
        let outflow = Outflow::begin(worker, route, head, SizeHint::new()).await?;
        let mut served = call.served(worker, route);
        served.send(head);
        let tunnel = Tunnel {
            client,
            slot: ending.slot,
            served,
            outflow,
            passage: ending.passage,
            places: call.places.take(),
        };
        return Ok(upgrade::switch(worker, tunnel, answer));
    }
    let (mut parts, incoming) = answer.into_parts();
    headers::prepare_answer(&mut parts.headers);
    canary::mark(&mut parts.headers, call.visitor, call.scheme);
    if parts.status.is_server_error() {
        ending.slot.instance.count_failure();
    }
    parts.version = Version::HTTP_11;
    let incoming = match cached::take_in(worker, route, call, &mut parts, incoming) {
        Taken::On(through) => through,
        Taken::Instead(hit, mut stream) => {
            ending.complete(stream.give_back());
            call.request_id = parts.headers.remove(headers::X_REQUEST_ID);
            return Box::pin(cached::hand_out(worker, route, call, hit)).await;
        }
    };
    if call.way.is_renewal() {
        return Ok(cached::for_nobody(worker, route, call, (parts, incoming), ending));
    }
    let head = pay::head_bytes(Some(parts.status), &parts.headers);
    let outflow = Outflow::begin(worker, route, head, incoming.size_hint()).await?;
    let mut served = call.served(worker, route);
    served.send(head);
    let (incoming, ending) = cached::run_ahead(worker, incoming, ending);
    Ok(Response::from_parts(
        parts,
        AnswerBody::upstream(incoming, ending, outflow, served),
    ))
}

impl Shared {
    /// A place in every queue, behind all that have one.
    fn next_ticket(&self) -> u64 {
        self.tickets.fetch_add(1, Ordering::Relaxed)
    }
}
