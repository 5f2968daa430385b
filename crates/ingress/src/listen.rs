//! Sockets: accepting, sharing connections out among the workers, and the listeners at the
//! gateways of the environments' networks.
//!
//! All workers accept from *one* listening socket. With one socket each (`SO_REUSEPORT`)
//! connections are lost when a socket closes, and a successor could not take it over.

use std::collections::{HashMap, HashSet};
use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::NodeConfig;
use crate::connection::serve_connection;
use crate::counters::count;
use crate::dns;
use crate::node::{Shared, Worker};
use crate::protect::{self, Arrival};
use crate::succession::GatewayUse;
use crate::tcp::{self, Ends, Way};
use crate::tls::{self, Opened};

/// Connections that the kernel completes while no worker has time to accept.
const BACKLOG: i32 = 4096;
/// Pause after an accept that failed, for instance because there are no free descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pause between attempts to listen at a gateway whose network is not there yet.
const GATEWAY_PAUSE: Duration = Duration::from_secs(3);
/// The same while a node before this one may have it.
const TAKEN_PAUSE: Duration = Duration::from_millis(50);

/// A connection on its way to the worker that will serve it.
#[derive(Debug)]
pub(crate) struct Accepted {
    stream: StdStream,
    client: SocketAddr,
    entrance: Entrance,
}

/// What is spoken at a listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Entrance {
    Http,
    /// HTTP inside TLS, or a service that is reached by TLS.
    Https,
    /// What the service speaks whose port it is.
    Tcp,
}

impl Entrance {
    fn gateway_use(self) -> GatewayUse {
        match self {
            Self::Http => GatewayUse::Http,
            Self::Https => GatewayUse::Https,
            Self::Tcp => GatewayUse::Tcp,
        }
    }
}

/// All workers.
#[derive(Debug)]
pub(crate) struct Crew {
    pub(crate) members: Vec<Arc<Worker>>,
    pub(crate) stop: CancellationToken,
}

impl Crew {
    fn least_busy(&self) -> Option<&Arc<Worker>> {
        self.members
            .iter()
            .min_by_key(|worker| worker.open.load(Ordering::Relaxed))
    }
}

/// A listening socket, not blocking.
pub(crate) fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let listener = StdListener::bind(address)?;
    adopt(listener)
}

/// A listening socket that somebody else has bound, made ready.
pub(crate) fn adopt(listener: StdListener) -> io::Result<StdListener> {
    listener.set_nonblocking(true)?;
    // The standard library asks for a backlog of 128 only.
    listen(&listener, Backlog::new(BACKLOG)?)?;
    Ok(listener)
}

/// Accepts until the node stops, and serves what is accepted or handed over.
pub(crate) async fn accept(
    worker: &Arc<Worker>,
    crew: &Crew,
    listeners: Vec<(Entrance, StdListener)>,
    inbox: mpsc::UnboundedReceiver<Accepted>,
) -> io::Result<()> {
    let listeners: Vec<_> = listeners
        .into_iter()
        .map(|(entrance, listener)| Ok((entrance, TcpListener::from_std(listener)?)))
        .collect::<io::Result<_>>()?;
    let accepting = listeners
        .iter()
        .map(|(entrance, listener)| accept_from(worker, crew, *entrance, listener));
    tokio::join!(join_all(accepting), take_over(worker, inbox));
    Ok(())
}

/// Serves what other workers have accepted.
async fn take_over(worker: &Arc<Worker>, mut inbox: mpsc::UnboundedReceiver<Accepted>) {
    while let Some(Some(handed)) = worker.stop.run_until_cancelled(inbox.recv()).await {
        serve_handed(worker, handed);
    }
    // What was accepted is served, also by a node that stops.
    inbox.close();
    while let Ok(handed) = inbox.try_recv() {
        serve_handed(worker, handed);
    }
}

fn serve_handed(worker: &Arc<Worker>, handed: Accepted) {
    match TcpStream::from_std(handed.stream) {
        Ok(stream) => spawn(worker, stream, handed.client, handed.entrance),
        Err(error) => tracing::debug!(%error, "cannot take a connection over"),
    }
}

async fn accept_from(worker: &Arc<Worker>, crew: &Crew, entrance: Entrance, listener: &TcpListener) {
    loop {
        tokio::select! {
            biased;
            () = worker.stop.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, client)) => share_out(worker, crew, stream, client, entrance),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

/// Serves it here, unless another worker has clearly fewer: long connections would otherwise
/// pile up on the core that happened to be quicker at accepting.
fn share_out(worker: &Arc<Worker>, crew: &Crew, stream: TcpStream, client: SocketAddr, entrance: Entrance) {
    count(&worker.counters.connections_accepted);
    let own = worker.open.load(Ordering::Relaxed);
    let Some(least) = crew.least_busy() else {
        return spawn(worker, stream, client, entrance);
    };
    let fewest = least.open.load(Ordering::Relaxed);
    if own <= fewest + 1 + fewest / 8 {
        return spawn(worker, stream, client, entrance);
    }
    if let Some(handed) = hand_over(least, stream, client, entrance) {
        serve_handed(worker, handed);
    }
}

/// Gives it back where the other worker takes no more.
fn hand_over(worker: &Worker, stream: TcpStream, client: SocketAddr, entrance: Entrance) -> Option<Accepted> {
    match stream.into_std() {
        Ok(stream) => {
            let accepted = Accepted {
                stream,
                client,
                entrance,
            };
            worker.inbox.send(accepted).err().map(|refused| refused.0)
        }
        Err(error) => {
            tracing::debug!(%error, "cannot hand a connection over");
            None
        }
    }
}

fn spawn(worker: &Arc<Worker>, stream: TcpStream, client: SocketAddr, entrance: Entrance) {
    prepare(&stream);
    let worker = Arc::clone(worker);
    let open = OpenGuard::new(&worker);
    let tasks = worker.connections.clone();
    // A kind of task for each, so that a connection without TLS does not carry the room for it.
    match entrance {
        Entrance::Http => tasks.spawn(async move {
            if let Some((stream, arrival)) = protect::arrive(&worker, stream, client.ip()).await {
                serve_connection(worker, stream, arrival.origin(None)).await;
            }
            drop(open);
        }),
        Entrance::Https => tasks.spawn(async move {
            if let Some((stream, arrival)) = protect::arrive(&worker, stream, client.ip()).await {
                serve_tls(worker, stream, client, arrival).await;
            }
            drop(open);
        }),
        Entrance::Tcp => tasks.spawn(async move {
            tcp::prepare(&stream);
            if let Some((stream, arrival)) = protect::arrive(&worker, stream, client.ip()).await
                && let Ok(here) = stream.local_addr()
            {
                let ends = Ends { peer: client, here };
                tcp::serve(worker, stream, arrival.origin(None), ends, Way::Port(here.port())).await;
            }
            drop(open);
        }),
    };
}

/// Makes the handshake, and serves whom the client meant by it.
async fn serve_tls(worker: Arc<Worker>, stream: TcpStream, client: SocketAddr, arrival: Arrival) {
    let Ok(here) = stream.local_addr() else { return };
    let ends = Ends { peer: client, here };
    match tls::handshake(&worker, stream).await {
        Some(Opened::Http(stream, session)) => {
            serve_connection(worker, stream, arrival.origin(Some(session))).await;
        }
        // Boxed, so that the connections of everybody else do not carry the room for them.
        Some(Opened::Service(stream, session)) => {
            tcp::prepare(&stream.get_ref().0.stream);
            let way = Way::Host(session.server_name.clone().unwrap_or_default());
            Box::pin(tcp::serve(worker, stream, arrival.origin(Some(session)), ends, way)).await;
        }
        Some(Opened::Passed(stream, name)) => {
            tcp::prepare(&stream.stream);
            Box::pin(tcp::serve(worker, stream, arrival.origin(None), ends, Way::Host(name))).await;
        }
        None => {}
    }
}

/// No waiting for more before a segment is sent, and no connections to clients that are gone.
fn prepare(stream: &TcpStream) {
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| Ok(setsockopt(stream, sockopt::KeepAlive, &true)?));
    if let Err(error) = prepared {
        tracing::debug!(%error, "cannot set the options of a connection");
    }
}

/// A connection that a worker serves.
struct OpenGuard {
    worker: Arc<Worker>,
}

impl OpenGuard {
    fn new(worker: &Arc<Worker>) -> Self {
        worker.open.fetch_add(1, Ordering::Relaxed);
        Self {
            worker: Arc::clone(worker),
        }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.worker.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Listens at the gateways that the newest snapshot names: for HTTP with and without TLS, on the
/// same ports as elsewhere (`everywhere`), and for name lookups. Ends when the node stops.
pub(crate) async fn serve_gateways(
    shared: Arc<Shared>,
    crew: Arc<Crew>,
    config: NodeConfig,
    everywhere: Vec<(Entrance, SocketAddr)>,
) {
    let entrances = everywhere
        .iter()
        .map(|(entrance, address)| Door::Entrance(*entrance, *address));
    let doors: Vec<Door> = entrances.chain([Door::Lookups]).collect();
    let mut changes = shared.changes();
    let lookups = Arc::new(dns::Lookups::new(Arc::clone(&shared), config.resolv_conf));
    let mut open: HashMap<(IpAddr, Door), CancellationToken> = HashMap::new();
    let mut complained: HashSet<(IpAddr, Door)> = HashSet::new();
    loop {
        let gateways = Arc::clone(&shared.table.load().gateways);
        open.retain(|(address, _), closed| {
            let stays = gateways.contains(address);
            if !stays {
                closed.cancel();
                shared.succession.close(*address);
            }
            stays
        });
        complained.retain(|(address, _)| gateways.contains(address));
        let mut missing = false;
        let all = gateways
            .iter()
            .flat_map(|address| iter::repeat(*address).zip(doors.clone()));
        for door in all.collect::<Vec<_>>() {
            if open.contains_key(&door) || door.1.is_covered(door.0) {
                continue;
            }
            let closed = crew.stop.child_token();
            let opened = match door.1 {
                Door::Entrance(entrance, elsewhere) => {
                    let address = SocketAddr::new(door.0, elsewhere.port());
                    open_entrance(&shared, &crew, entrance, address, closed.clone())
                }
                Door::Lookups => {
                    let address = SocketAddr::new(door.0, config.dns_port);
                    open_lookups(&shared, &lookups, address, closed.clone())
                }
            };
            match opened {
                Ok(()) => {
                    complained.remove(&door);
                    open.insert(door, closed);
                }
                Err(error) => {
                    missing = true;
                    if complained.insert(door) {
                        tracing::warn!(gateway.address = %door.0, door = ?door.1, %error, "cannot listen at a gateway; trying again until it works");
                    }
                }
            }
        }
        // Where a node before this one has the address, it lets go of it at any moment.
        let pause = match shared.succession.beside().is_empty() {
            true => GATEWAY_PAUSE,
            false => TAKEN_PAUSE,
        };
        tokio::select! {
            biased;
            () = crew.stop.cancelled() => return,
            _ = changes.changed() => {}
            () = tokio::time::sleep(pause), if missing => {}
        }
    }
}

/// What is listened for at a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Door {
    /// As it is for everyone there.
    Entrance(Entrance, SocketAddr),
    Lookups,
}

impl Door {
    /// Whether the listener for everyone covers the gateway already.
    fn is_covered(self, gateway: IpAddr) -> bool {
        let Self::Entrance(_, everyone) = self else {
            return false;
        };
        covers(everyone.ip(), gateway)
    }
}

/// Whether a listener at this address is one at the gateway, too.
pub(crate) fn covers(everyone: IpAddr, gateway: IpAddr) -> bool {
    match everyone {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => gateway.is_ipv4(),
        IpAddr::V6(address) if address.is_unspecified() => true,
        address => address == gateway,
    }
}

/// Listens at an address until it is closed, for all workers.
pub(crate) fn open_entrance(
    shared: &Shared,
    crew: &Arc<Crew>,
    entrance: Entrance,
    address: SocketAddr,
    closed: CancellationToken,
) -> io::Result<()> {
    let listener = TcpListener::from_std(shared.succession.listener(entrance.gateway_use(), address)?)?;
    let crew = Arc::clone(crew);
    tracing::debug!(%address, ?entrance, "the ingress listens at one more address");
    tokio::spawn(async move {
        loop {
            tokio::select! {
                biased;
                () = closed.cancelled() => return,
                accepted = listener.accept() => match (accepted, crew.least_busy()) {
                    (Ok((stream, client)), Some(worker)) => {
                        count(&worker.counters.connections_accepted);
                        // At its end the node may let one go that came at this very moment.
                        drop(hand_over(worker, stream, client, entrance));
                    }
                    _ => tokio::time::sleep(ACCEPT_PAUSE).await,
                },
            }
        }
    });
    Ok(())
}

fn open_lookups(
    shared: &Shared,
    lookups: &Arc<dns::Lookups>,
    address: SocketAddr,
    closed: CancellationToken,
) -> io::Result<()> {
    let datagrams = UdpSocket::from_std(shared.succession.datagrams(address)?)?;
    let streams = TcpListener::from_std(shared.succession.listener(GatewayUse::Streams, address)?)?;
    tokio::spawn(dns::serve_datagrams(
        Arc::clone(lookups),
        datagrams,
        address.ip(),
        closed.clone(),
    ));
    tokio::spawn(dns::serve_streams(Arc::clone(lookups), streams, address.ip(), closed));
    Ok(())
}
