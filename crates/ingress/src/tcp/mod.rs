//! Services that speak TCP and not HTTP: from a client's connection to an instance and back.
//!
//! A client comes by a port of the service's own ([`doors`]), or by the https port, where its
//! handshake names a host that leads to a service ([`hello`]); then the TLS ends here, or is passed
//! on as it came. From there on the way is that of a request: address list, state of the route
//! (a connection waits while the route is held or its app is woken), guard, payment, the instance
//! with the fewest connections. Then bytes are carried both ways ([`carry`]), at the pace of the
//! slower side, until both have ended, the instance is cut, or there is no money.
//!
//! A connection counts at its instance as a request until it is connected and as an upgraded
//! connection from then on, so that switches, drains, sleep and upgrades treat it like a websocket.

mod carry;
pub(crate) mod doors;
pub(crate) mod hello;
mod services;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use weir_guard::{Ask, Caller, Passage, Verdict};
use weir_model::InstanceId;
use weir_model::route::RouteState;

use crate::access::Unserved;
use crate::admission::HeldPlace;
use crate::counters::count;
use crate::instance::{Instance, Phase};
use crate::metrics::Visit;
use crate::node::Worker;
use crate::pay;
use crate::protect::addresses;
use crate::serve::Origin;
pub(crate) use carry::Flows;
pub(crate) use services::{Place, Service, Services};

/// Silence after which the other side is asked whether it is there, the pause between two such
/// questions, and how many go unanswered before it counts as gone.
const KEEP_ALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEP_ALIVE_PAUSE: Duration = Duration::from_secs(15);
const KEEP_ALIVE_QUESTIONS: u32 = 4;

/// By what a client came.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// The port of a service.
    Port(u16),
    /// A name in its TLS handshake.
    Host(Box<str>),
}

/// Both ends of a client's connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ends {
    /// The client, or a load balancer that speaks for it.
    pub(crate) peer: SocketAddr,
    pub(crate) here: SocketAddr,
}

/// Why a connection is closed without having reached an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    /// No service is there (any more).
    Unknown,
    Address,
    TooMany,
    Unavailable,
    Waited,
    Paused,
    Runaway,
    Unpaid,
}

impl Refusal {
    /// Its mark in the metrics, after the first digit that an answer would have.
    fn mark(self) -> (usize, &'static str) {
        match self {
            Self::Unknown => (4, "tcp-unknown"),
            Self::Address => (4, "tcp-address"),
            Self::TooMany => (5, "tcp-full"),
            Self::Unavailable => (5, "tcp-unavailable"),
            Self::Waited => (5, "tcp-waited"),
            Self::Paused => (5, "tcp-paused"),
            Self::Runaway => (4, "tcp-runaway"),
            Self::Unpaid => (4, "tcp-unpaid"),
        }
    }
}

/// One connection on its way to an instance, over all attempts.
struct Journey {
    place: Option<Place>,
    passage: Option<Passage>,
    unserved: Option<Unserved>,
    paid: bool,
    held: Option<HeldPlace>,
    hold_deadline: Option<Instant>,
    unreachable_deadline: Option<Instant>,
    /// Instances that did not accept a connection in this round.
    tried: Vec<InstanceId>,
}

/// A connection to an instance, at which it is counted in flight.
struct Reached {
    service: Arc<Service>,
    stream: TcpStream,
    taken: Taken,
}

/// Carries a client's connection to an instance and back until it ends.
pub(crate) async fn serve<S>(worker: Arc<Worker>, stream: S, origin: Origin, ends: Ends, way: Way)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (clock, places) = (worker.shared.clock, origin.places.clone());
    // It is not idle, whatever moves on it: nobody else gets its room.
    let _active = places.as_ref().map(|places| places.activity().request(clock));
    let Some(service) = way.find(&worker) else {
        return tracing::debug!(?way, "a connection came to no service");
    };
    let flows = Arc::new(Flows::new(clock));
    let mut counted = Visit::begin(&worker, &service.route, Arc::clone(&flows));
    let mut journey = Journey {
        place: None,
        passage: None,
        unserved: None,
        paid: false,
        held: None,
        hold_deadline: None,
        unreachable_deadline: None,
        tried: Vec::new(),
    };
    // Taken before the state of the route is looked at: who is to be closed hears of it.
    let closing = service.standing.closing();
    let reached = match journey.travel(&worker, &origin, &way).await {
        Ok(reached) => reached,
        Err(refusal) => {
            let (digit, mark) = refusal.mark();
            counted.refused(digit, mark);
            let (service, client) = (&service.name, origin.client);
            return tracing::debug!(%service, client.address = %client, ?refusal, "closed a connection");
        }
    };
    counted.reached();
    let carried = carry::carry(&worker, stream, reached, &mut journey, (origin.client, ends), flows);
    tokio::select! {
        biased;
        () = closing.cancelled() => {}
        () = carried => {}
    }
    if let Some(passage) = journey.passage.take() {
        passage.end(clock.now_us());
    }
}

impl Way {
    fn find(&self, worker: &Worker) -> Option<Arc<Service>> {
        let table = worker.shared.table.load();
        match self {
            Self::Port(port) => table.tcp.at_port(*port),
            Self::Host(name) => table.tcp.of_host(name),
        }
        .cloned()
    }
}

impl Journey {
    /// Until an instance has accepted the connection.
    async fn travel(&mut self, worker: &Worker, origin: &Origin, way: &Way) -> Result<Reached, Refusal> {
        let shared = &worker.shared;
        loop {
            let service = way.find(worker).ok_or(Refusal::Unknown)?;
            self.enter(worker, origin, &service)?;
            let route = &service.route;
            match &route.state {
                RouteState::Serve => {
                    self.held = None;
                    self.hold_deadline = None;
                }
                RouteState::Hold { timeout_ms } | RouteState::Asleep { timeout_ms } => {
                    self.wait_while_held(worker, &service, *timeout_ms).await?;
                    continue;
                }
                RouteState::Unpaid { .. } => return Err(Refusal::Unpaid),
                RouteState::Paused => return Err(Refusal::Paused),
                RouteState::Undeployed | RouteState::Crashed { .. } => return Err(Refusal::Unavailable),
            }
            if !self.paid {
                self.passage = ask_guard(worker, origin, &service)?;
                pay::for_request(worker, route).await.map_err(|_page| Refusal::Unpaid)?;
                self.unserved = Some(Unserved::new(&route.access, worker.index));
                self.paid = true;
                // Both may have taken a while.
                continue;
            }
            let Some(taken) = Taken::of(&service, &self.tried, shared.clock.now_ms()) else {
                self.wait_for_instance(worker, &service).await?;
                continue;
            };
            // Counted, and no newer table since: whoever installs the next one sees the count.
            if route.era.is_past(route.epoch) {
                continue;
            }
            if let Some(stream) = connect(worker, &service, &taken.instance).await {
                return Ok(Reached { service, stream, taken });
            }
            self.tried.push(taken.instance.backend.instance);
        }
    }

    /// The address list, and a place among the connections of the service; once.
    fn enter(&mut self, worker: &Worker, origin: &Origin, service: &Service) -> Result<(), Refusal> {
        if self.place.is_some() {
            return Ok(());
        }
        let allowed = service.allow.is_empty() || addresses::contains(&service.allow, origin.client);
        if !allowed || addresses::contains(&service.deny, origin.client) {
            worker.shared.defences.count_address(service.environment);
            return Err(Refusal::Address);
        }
        self.place = Some(service.standing.enter(service.connections).ok_or(Refusal::TooMany)?);
        Ok(())
    }

    /// Waits until there is a new table; control wakes an app for which somebody waits.
    async fn wait_while_held(&mut self, worker: &Worker, service: &Service, timeout_ms: u64) -> Result<(), Refusal> {
        let shared = &worker.shared;
        let longest = Duration::from_millis(timeout_ms);
        let deadline = *self.hold_deadline.get_or_insert_with(|| Instant::now() + longest);
        if self.held.is_none() {
            let held = service.route.gate.hold(shared.limits.held_requests);
            self.held = Some(held.ok_or(Refusal::TooMany)?);
            count(&worker.counters.held);
        }
        self.unreachable_deadline = None;
        let _waiting = shared.waiting();
        let route = &service.route;
        match route.era.passed(route.epoch, deadline).await {
            true => Ok(()),
            false => Err(Refusal::Waited),
        }
    }

    /// No instance accepts connections: one may be being replaced.
    async fn wait_for_instance(&mut self, worker: &Worker, service: &Service) -> Result<(), Refusal> {
        let shared = &worker.shared;
        let now = Instant::now();
        let longest = shared.limits.unreachable_timeout;
        let deadline = *self.unreachable_deadline.get_or_insert(now + longest);
        if now >= deadline {
            return Err(Refusal::Unavailable);
        }
        let again = deadline.min(now + shared.limits.unreachable_pause);
        let _waiting = shared.waiting();
        service.route.era.passed(service.route.epoch, again).await;
        self.tried.clear();
        Ok(())
    }
}

/// Whether the guard lets a connection pass; it is in flight for the guard as long as it is open.
fn ask_guard(worker: &Worker, origin: &Origin, service: &Service) -> Result<Option<Passage>, Refusal> {
    let shared = &worker.shared;
    let (Some(sentry), Some(target)) = (&shared.sentry, &service.route.target) else {
        return Ok(None);
    };
    let address = origin.client.to_canonical();
    let caller = if sentry.internal(address) {
        if let Some(habits) = shared.table.load().habits(address) {
            habits.calls.store(true, Ordering::Relaxed);
        }
        Caller::Address(address)
    } else {
        Caller::Visitor
    };
    match sentry.arrive(worker.index, shared.clock.now_us(), caller, target, &service.ask()) {
        Verdict::Pass(passage) => Ok(Some(passage)),
        Verdict::Refuse(_trip) => Err(Refusal::Runaway),
    }
}

impl Service {
    /// What is asked of it, as the guard tells of it.
    fn ask(&self) -> Ask<'_> {
        Ask {
            method: "TCP",
            host: &self.name,
            path: "",
            lineage: None,
            traceparent: None,
            content: None,
        }
    }
}

/// An instance with one more in flight, until this is dropped.
struct Taken {
    instance: Arc<Instance>,
    service: Arc<Service>,
}

impl Taken {
    /// The instance with the fewest connections, of those that were not tried.
    fn of(service: &Arc<Service>, tried: &[InstanceId], now_ms: u64) -> Option<Self> {
        let usable = |instance: &&Arc<Instance>| {
            instance.phase() == Phase::Active && !tried.contains(&instance.backend.instance)
        };
        // Another one may stop serving between the look and the take.
        for _ in 0..4 {
            let pool = &service.route.pool;
            let offset = fastrand::usize(..pool.len().max(1)).min(pool.len());
            let (head, tail) = pool.split_at(offset);
            let instance = tail.iter().chain(head).filter(usable).min_by_key(|instance| {
                let load = instance.load();
                let resting = instance.rest.is_resting();
                (instance.is_suspect(now_ms), load.in_flight + load.upgraded, resting)
            })?;
            if instance.try_take(u64::MAX, None) {
                return Some(Self {
                    instance: Arc::clone(instance),
                    service: Arc::clone(service),
                });
            }
        }
        None
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.instance.release(None);
        // A request of the same process may wait for the place.
        let gate = &self.service.route.gate;
        if gate.waiting() > 0 {
            gate.hand_out();
        }
    }
}

/// A connection to the service's port at an instance.
async fn connect(worker: &Worker, service: &Service, instance: &Instance) -> Option<TcpStream> {
    let limits = &worker.shared.limits;
    let address = SocketAddr::new(instance.backend.address.ip(), service.port);
    let connected = tokio::select! {
        biased;
        () = instance.cut.cancelled() => return None,
        connected = tokio::time::timeout(limits.connect_timeout, TcpStream::connect(address)) => connected,
    };
    match connected.map_err(std::io::Error::from).and_then(|connected| connected) {
        Ok(stream) => {
            instance.clear_suspicion();
            instance.count_answer();
            count(&worker.counters.upstream_connects);
            prepare(&stream);
            Some(stream)
        }
        Err(error) => {
            let pause = Duration::from_secs(1).min(limits.unreachable_pause * 4);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(1_000);
            instance.count_connect_failure(worker.shared.clock.now_ms() + pause_ms);
            let id = instance.backend.instance;
            tracing::debug!(instance.id = %id, %address, %error, "no connection to an instance");
            None
        }
    }
}

/// No waiting for more before a segment is sent; whoever is gone without a word is found out.
pub(crate) fn prepare(stream: &TcpStream) {
    let prepared = stream.set_nodelay(true).and_then(|()| {
        sockopt::set_socket_keepalive(stream, true)?;
        sockopt::set_tcp_keepidle(stream, KEEP_ALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(stream, KEEP_ALIVE_PAUSE)?;
        Ok(sockopt::set_tcp_keepcnt(stream, KEEP_ALIVE_QUESTIONS)?)
    });
    if let Err(error) = prepared {
        tracing::debug!(%error, "cannot set the options of a connection");
    }
}
