//! What stands before the apps: limits, rates, passwords, address lists, maintenance.
//!
//! Control says for each host what holds under which path ([`Fence`]); a request passes all of it
//! once, before the guard is asked and before anything is paid, so that what is refused costs the
//! owner nothing. Rules hold for every spelling of a path that an app might take for theirs
//! ([`path`]).
//!
//! Nothing here grows with the number of clients: buckets are in a table of fixed size ([`rate`]),
//! connections are bounded ([`connections`]), remembered passwords too ([`access`]).

pub(crate) mod access;
pub(crate) mod addresses;
mod bypass;
pub(crate) mod client_stream;
pub(crate) mod connections;
mod fence;
mod frames;
pub(crate) mod pace;
pub(crate) mod path;
pub(crate) mod proxy_protocol;
mod rate;
mod turns;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::header::{self, HeaderMap};
use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weir_model::EnvironmentId;
use weir_model::route::Refused;

use crate::config::NodeConfig;
use crate::counters::count;
use crate::headers;
use crate::node::{Shared, Worker};
use crate::pages::Page;
use crate::serve::Origin;
use crate::tls::Session;
use access::Passwords;
use addresses::{ClientKey, ProxyHeader, Visitor};
use connections::{AddressPlace, ConnectionPlace, PerAddress, Places};
pub(crate) use fence::{Fence, pass};
use proxy_protocol::Source;
use rate::{Bucket, Buckets, Pour};

/// Buckets of clients that are kept apart; 2 MiB.
const BUCKETS: usize = 1 << 17;

/// By environment and the name of the rule.
type CommonBuckets = BTreeMap<(EnvironmentId, Box<str>), Arc<Bucket>>;

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Defences {
    pub(crate) per_address: Arc<PerAddress>,
    /// Who speaks the PROXY protocol.
    pub(crate) proxy_protocol_from: Vec<IpNet>,
    /// Whose headers are believed about for whom they speak.
    trusted_proxies: Vec<IpNet>,
    /// In which headers.
    proxy_header: ProxyHeader,
    buckets: Buckets,
    /// Buckets of rules for everybody together, by the name of the rule.
    common: Mutex<CommonBuckets>,
    refused: Mutex<BTreeMap<EnvironmentId, Arc<RefusalCounts>>>,
    passwords: Passwords,
    began: Instant,
}

impl Defences {
    /// With empty tables.
    ///
    /// # Errors
    /// The system gives no random numbers.
    pub(crate) fn new(config: &NodeConfig) -> io::Result<Self> {
        Ok(Self {
            per_address: Arc::new(PerAddress::new(config.limits.connections_per_address)),
            proxy_protocol_from: config.proxy_protocol_from.clone(),
            trusted_proxies: config.trusted_proxies.clone(),
            proxy_header: config.proxy_header,
            buckets: Buckets::new(BUCKETS),
            common: Mutex::default(),
            refused: Mutex::default(),
            passwords: Passwords::new()?,
            began: Instant::now(),
        })
    }

    /// Nanoseconds since the start.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The bucket of a rule for everybody, the same over all snapshots.
    fn common_bucket(&self, environment: EnvironmentId, rule: &str) -> Arc<Bucket> {
        let mut common = locked(&self.common);
        Arc::clone(common.entry((environment, rule.into())).or_default())
    }

    /// What was refused at an environment; sums must not begin anew.
    fn refusals_of(&self, environment: EnvironmentId) -> Arc<RefusalCounts> {
        Arc::clone(locked(&self.refused).entry(environment).or_default())
    }

    /// Counts a connection that an address list refuses.
    pub(crate) fn count_address(&self, environment: EnvironmentId) {
        self.refusals_of(environment).address.fetch_add(1, Ordering::Relaxed);
    }

    /// Forgets the buckets of rules that are in no table any more.
    pub(crate) fn sweep(&self) {
        locked(&self.common).retain(|_, bucket| Arc::strong_count(bucket) > 1);
    }

    /// What was refused since the start.
    pub(crate) fn refused(&self) -> BTreeMap<EnvironmentId, Refused> {
        let refused = locked(&self.refused);
        let sums = refused
            .iter()
            .map(|(environment, counts)| (*environment, counts.sums()));
        sums.filter(|(_, sums)| *sums != Refused::default()).collect()
    }

    /// Says that a load balancer does not speak the PROXY protocol; seldom, because it connects often.
    fn complain(&self, peer: IpAddr, error: &io::Error) {
        if self.is_seldom("complaint", peer) {
            tracing::warn!(
                client.address = %peer, %error,
                "refused a connection: this address is in --proxy-protocol-from and did not begin with a PROXY header; switch the protocol on there, or take the address out"
            );
        }
    }

    /// Says that headers of a trusted proxy do not tell who its client is; seldom.
    fn complain_of_headers(&self, proxy: IpAddr) {
        if self.is_seldom("headers", proxy) {
            tracing::warn!(
                client.address = %proxy,
                "refused a request: X-Forwarded-For and Forwarded of a trusted proxy name different clients; say with --proxy-header which of them the proxy writes, and have it remove the other"
            );
        }
    }

    /// Once a minute about each address.
    fn is_seldom(&self, what: &str, peer: IpAddr) -> bool {
        let now_ns = self.now_ns();
        let seldom = Pour::new(1, Duration::from_secs(60), 1);
        let bucket = self.buckets.of((what, ClientKey::of(peer)), now_ns);
        bucket.take(seldom, now_ns).is_ok()
    }

    /// Whether the headers of this client are believed about for whom it speaks.
    pub(crate) fn is_trusted_proxy(&self, client: IpAddr) -> bool {
        addresses::contains(&self.trusted_proxies, client)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What was refused at one environment.
#[derive(Debug, Default)]
struct RefusalCounts {
    rate: AtomicU64,
    body: AtomicU64,
    address: AtomicU64,
    password: AtomicU64,
    maintenance: AtomicU64,
}

impl RefusalCounts {
    fn sums(&self) -> Refused {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Refused {
            rate: read(&self.rate),
            body: read(&self.body),
            address: read(&self.address),
            password: read(&self.password),
            maintenance: read(&self.maintenance),
        }
    }
}

/// Whether a connection comes from inside: from an instance, or to the gateway of an environment.
/// What instances say about for whom they speak is never believed.
pub(crate) fn is_internal(shared: &Shared, client: IpAddr, here: IpAddr) -> bool {
    let table = shared.table.load();
    table.networks.contains_key(&here.to_canonical()) || table.residents.contains_key(&client.to_canonical())
}

/// A connection that is let in.
#[derive(Debug)]
pub(crate) struct Arrival {
    client: IpAddr,
    is_proxy: bool,
    places: Places,
}

impl Arrival {
    /// From where its requests come.
    pub(crate) fn origin(self, session: Option<Session>) -> Origin {
        Origin {
            client: self.client,
            client_value: headers::address_value(self.client),
            secure: session.is_some(),
            session: session.map(Arc::new),
            is_proxy: self.is_proxy,
            places: Some(Arc::new(self.places)),
        }
    }
}

/// Finds out whose connection it is, and whether there is a place for it. None: it ends.
pub(crate) async fn arrive(worker: &Worker, mut stream: TcpStream, peer: IpAddr) -> Option<(TcpStream, Arrival)> {
    let shared = &worker.shared;
    let defences = &shared.defences;
    let here = stream.local_addr().ok()?.ip();
    let internal = is_internal(shared, peer, here);
    // Before anything is waited for, so that those who wait are counted, too.
    let Some(at_worker) = worker.client_connections.enter(shared.clock.now_ms()) else {
        tracing::debug!(client.address = %peer, "there is no room for a connection");
        count(&worker.counters.connections_refused);
        return None;
    };
    let mut client = peer;
    let is_balancer = !internal && addresses::contains(&defences.proxy_protocol_from, peer);
    if is_balancer {
        client = behind(worker, &mut stream, peer, &at_worker).await?;
    }
    let is_proxy = !internal && defences.is_trusted_proxy(client);
    // Instances are bounded by what their environments may use, not by address. Who speaks for many
    // is not one of them: behind a proxy each request is counted for its client.
    let of_address = match internal || is_proxy || (is_balancer && client == peer) {
        true => None,
        false => {
            let place = defences.per_address.enter(client);
            if place.is_none() {
                tracing::debug!(client.address = %client, "has as many connections as it may");
                count(&worker.counters.connections_refused);
                return None;
            }
            place
        }
    };
    let arrival = Arrival {
        client,
        is_proxy,
        places: Places::new(at_worker, of_address),
    };
    Some((stream, arrival))
}

/// For whom a load balancer speaks; none if it does not say it as it must.
async fn behind(worker: &Worker, stream: &mut TcpStream, peer: IpAddr, place: &ConnectionPlace) -> Option<IpAddr> {
    let read = tokio::select! {
        biased;
        () = worker.stop.cancelled() => return None,
        () = place.activity.give_up.notified() => return None,
        read = timeout(worker.shared.limits.handshake_timeout, proxy_protocol::read(stream)) => read,
    };
    match read.unwrap_or_else(|late| Err(late.into())) {
        Ok(Source::Client(client)) => Some(client),
        Ok(Source::Itself) => Some(peer),
        Err(error) => {
            count(&worker.counters.connections_refused);
            worker.shared.defences.complain(peer, &error);
            None
        }
    }
}

/// From where a request comes whose connection is a trusted proxy's, with its place among those of
/// that client; none where the connection is the client's own.
///
/// # Errors
/// It cannot be told who the client is, or that client has as many requests as it may.
pub(crate) fn on_behalf_of(
    worker: &Worker,
    origin: &Origin,
    headers: &HeaderMap,
) -> Result<Option<(Origin, Option<AddressPlace>)>, Page> {
    if !origin.is_proxy {
        return Ok(None);
    }
    let defences = &worker.shared.defences;
    let peer = Visitor {
        address: origin.client,
        secure: origin.secure,
    };
    let told = addresses::forwarded(headers, &defences.trusted_proxies, defences.proxy_header, peer);
    let visitor = told.map_err(|error| {
        defences.complain_of_headers(origin.client);
        Page::ambiguous_client(&error.to_string())
    })?;
    // Behind a proxy a client has no connection of its own; so many requests at once are its share.
    // A proxy that speaks for itself is not counted, as its connections are not.
    let place = match defences.is_trusted_proxy(visitor.address) {
        true => None,
        false => {
            let most = defences.per_address.most();
            let place = defences.per_address.enter(visitor.address);
            if place.is_none() {
                count(&worker.counters.connections_refused);
            }
            Some(place.ok_or_else(|| Page::too_many_at_once(most))?)
        }
    };
    let origin = Origin {
        client: visitor.address,
        client_value: headers::address_value(visitor.address),
        session: origin.session.clone(),
        secure: visitor.secure,
        is_proxy: true,
        places: origin.places.clone(),
    };
    Ok(Some((origin, place)))
}

/// Refuses heads that are larger than they may be. The parsers end much larger ones without a word.
pub(crate) fn check_head<B>(worker: &Worker, request: &http::Request<B>) -> Result<(), Page> {
    let limits = &worker.shared.limits;
    let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.target_bytes {
        return Err(Page::target_too_long(limits.target_bytes));
    }
    let headers = request.headers();
    if headers.len() > limits.headers {
        return Err(Page::head_too_large("header fields", limits.headers, "--headers"));
    }
    let field = |(name, value): (&header::HeaderName, &header::HeaderValue)| name.as_str().len() + value.len() + 4;
    let bytes = target + headers.iter().map(field).sum::<usize>();
    if bytes > limits.header_bytes {
        return Err(Page::head_too_large("bytes", limits.header_bytes, "--header-bytes"));
    }
    Ok(())
}
