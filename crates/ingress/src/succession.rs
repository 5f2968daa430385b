//! How one node takes the place of another on the same machine, with nothing lost in between.
//!
//! Both hold the same listening sockets: those for everyone come from who started the node, those
//! at the gateways from the node before. So whoever knocks waits in a queue that both take from.
//! The new node opens only when it could serve as well as the old one. Then the old one *drains*:
//! it accepts no more, answers what was asked, says `connection: close` (or GOAWAY) with the
//! answers, and lets websockets and long answers go on to a bound. A kept connection on which
//! nothing goes on is not closed under its client's feet: it stays open until the client uses it
//! again, or long enough for clients to have given it up.
//!
//! Draining, a node goes on following routes and reporting: control counts what is in flight at
//! both.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use weir_model::route::ProcessMark;

/// So long a kept connection on which nothing goes on stays open while its node drains.
const LINGER: Duration = Duration::from_secs(20);
/// At most so many sockets are handed on.
pub const MOST_SOCKETS: usize = 4_096;
/// At most so many nodes live after one that drains.
const MOST_AFTER: usize = 16;

/// What a socket at a gateway is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GatewayUse {
    /// HTTP.
    Http,
    /// HTTP inside TLS.
    Https,
    /// Name lookups by datagrams.
    Datagrams,
    /// Name lookups by streams.
    Streams,
    /// A service of an app that speaks TCP, at a gateway or for everyone.
    Tcp,
}

impl GatewayUse {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Http, Self::Https, Self::Datagrams, Self::Streams, Self::Tcp];

    /// Its word between two nodes.
    pub fn word(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Datagrams => "datagrams",
            Self::Streams => "streams",
            Self::Tcp => "tcp",
        }
    }

    /// What a word means.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.word() == word)
    }
}

type Sockets = HashMap<(GatewayUse, SocketAddr), OwnedFd>;

/// A node's place between the one before it and the one after it. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Succession {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Sockets of the node before, not used yet.
    inherited: Mutex<Sockets>,
    /// Sockets that this node has open.
    open: Mutex<Sockets>,
    /// Nodes before this one.
    before: Vec<ProcessMark>,
    /// Nodes after this one.
    after: Mutex<BTreeSet<ProcessMark>>,
    opened: CancellationToken,
    drained: CancellationToken,
    /// When draining began, and when it is over at the latest.
    bounds: Mutex<Option<(Instant, Instant)>>,
    hurried: CancellationToken,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is in there is whole at every moment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Succession {
    /// A node that takes the place of others, with the sockets at gateways that the last of them
    /// has handed on. It serves once it is [opened](Self::open).
    ///
    /// # Errors
    /// A socket is not bound to an address.
    pub fn after(before: Vec<ProcessMark>, sockets: Vec<(GatewayUse, OwnedFd)>) -> io::Result<Self> {
        let mut inherited = Sockets::new();
        for (what, socket) in sockets {
            let (address, socket) = match what {
                GatewayUse::Datagrams => {
                    let socket = UdpSocket::from(socket);
                    (socket.local_addr()?, socket.into())
                }
                GatewayUse::Http | GatewayUse::Https | GatewayUse::Streams | GatewayUse::Tcp => {
                    let socket = TcpListener::from(socket);
                    (socket.local_addr()?, socket.into())
                }
            };
            inherited.insert((what, address), socket);
        }
        let inner = Inner {
            inherited: Mutex::new(inherited),
            before,
            ..Inner::default()
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A node that comes after nobody: it serves at once.
    pub fn first() -> Self {
        let first = Self::default();
        first.open();
        first
    }

    /// It may serve from now on.
    pub fn open(&self) {
        self.inner.opened.cancel();
    }

    /// It ends what it has, at most for so long, and then leaves.
    pub fn drain(&self, longest: Duration) {
        let now = Instant::now();
        lock(&self.inner.bounds).get_or_insert((now, now + longest));
        self.inner.drained.cancel();
    }

    /// Whether it drains.
    pub fn is_draining(&self) -> bool {
        self.inner.drained.is_cancelled()
    }

    /// The sockets at gateways that it has open, for the node after it.
    ///
    /// # Errors
    /// There are no free descriptors.
    pub fn gateway_sockets(&self) -> io::Result<Vec<(GatewayUse, OwnedFd)>> {
        let open = lock(&self.inner.open);
        let all = open.iter().take(MOST_SOCKETS);
        all.map(|((what, _), socket)| Ok((*what, socket.try_clone()?)))
            .collect()
    }

    /// The process with this number is a node that takes the place of this one: who hears of this
    /// one alone must not believe that it is the only one that serves.
    pub fn succeeded_by(&self, pid: u32) {
        let mut after = lock(&self.inner.after);
        after.retain(lives);
        if after.len() < MOST_AFTER {
            after.extend(process(Some(pid)));
        }
    }

    /// Nodes before and after this one whose processes still live.
    pub fn beside(&self) -> BTreeSet<ProcessMark> {
        let after = lock(&self.inner.after);
        let all = self.inner.before.iter().chain(after.iter());
        all.filter(|mark| lives(mark)).copied().collect()
    }

    /// Whether no other node may serve beside it: what is in flight at another one is not seen here.
    pub(crate) fn is_alone(&self) -> bool {
        !self.is_draining() && self.beside().is_empty()
    }

    pub(crate) async fn opened(&self) {
        self.inner.opened.cancelled().await;
    }

    /// Ready once it drains.
    pub async fn drained(&self) {
        self.inner.drained.cancelled().await;
    }

    /// It listens no more: whoever does so at a gateway after it must find the address free.
    pub(crate) fn let_go(&self) {
        lock(&self.inner.open).clear();
    }

    /// Draining is to end soon: the node is stopped.
    pub(crate) fn hurry(&self) {
        self.inner.hurried.cancel();
    }

    /// Ready when a connection on which nothing goes on is to be closed, in a node that accepts no
    /// more.
    pub(crate) async fn linger(&self) {
        let Some((began, until)) = *lock(&self.inner.bounds) else {
            return;
        };
        tokio::select! {
            () = sleep_until(until.min(began + LINGER)) => {}
            () = self.inner.hurried.cancelled() => {}
        }
    }

    /// Ready when what still goes on is to be cut, in a node that accepts no more; one that is
    /// stopped has so long for it.
    pub(crate) async fn patience(&self, stop_timeout: Duration) {
        let bounds = *lock(&self.inner.bounds);
        if let Some((_, until)) = bounds {
            tokio::select! {
                () = sleep_until(until) => return,
                () = self.inner.hurried.cancelled() => {}
            }
        }
        sleep(stop_timeout).await;
    }

    /// A listening socket at a gateway: the one of the node before, or a new one.
    pub(crate) fn listener(&self, what: GatewayUse, address: SocketAddr) -> io::Result<TcpListener> {
        let inherited = lock(&self.inner.inherited).remove(&(what, address));
        let listener = match inherited {
            Some(socket) => crate::listen::adopt(TcpListener::from(socket))?,
            None => crate::listen::bind(address)?,
        };
        self.keep(what, &address, listener.try_clone()?.into());
        Ok(listener)
    }

    /// A socket for datagrams at a gateway: the one of the node before, or a new one.
    pub(crate) fn datagrams(&self, address: SocketAddr) -> io::Result<UdpSocket> {
        let what = GatewayUse::Datagrams;
        let inherited = lock(&self.inner.inherited).remove(&(what, address));
        let socket = match inherited {
            Some(socket) => UdpSocket::from(socket),
            None => UdpSocket::bind(address)?,
        };
        socket.set_nonblocking(true)?;
        self.keep(what, &address, socket.try_clone()?.into());
        Ok(socket)
    }

    fn keep(&self, what: GatewayUse, address: &SocketAddr, socket: OwnedFd) {
        let mut open = lock(&self.inner.open);
        if !self.is_draining() {
            open.insert((what, *address), socket);
        }
    }

    /// Forgets the sockets of a kind that are not wanted any more.
    pub(crate) fn keep_only(&self, kind: GatewayUse, wanted: impl Fn(&SocketAddr) -> bool) {
        for sockets in [&self.inner.open, &self.inner.inherited] {
            lock(sockets).retain(|(what, address), _| *what != kind || wanted(address));
        }
    }

    /// Forgets the sockets of a gateway that is gone.
    pub(crate) fn close(&self, gateway: std::net::IpAddr) {
        for sockets in [&self.inner.open, &self.inner.inherited] {
            lock(sockets).retain(|(_, address), _| address.ip() != gateway);
        }
    }
}

fn lives(mark: &ProcessMark) -> bool {
    process(Some(mark.pid)) == Some(*mark)
}

/// A process as the kernel knows it, this one unless told otherwise; none if it has ended.
pub fn process(pid: Option<u32>) -> Option<ProcessMark> {
    let who = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let text = std::fs::read_to_string(format!("/proc/{who}/stat")).ok()?;
    ProcessMark::of_stat(&text)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn sockets_at_gateways_go_from_node_to_node_and_what_knocked_meanwhile_is_not_lost() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let old = Succession::first();
        let listener = TcpListener::bind(any).unwrap();
        let address = listener.local_addr().unwrap();
        old.keep(GatewayUse::Http, &address, listener.into());
        let client = TcpStream::connect(address).unwrap();
        let own = process(None).unwrap();
        let new = Succession::after(vec![own], old.gateway_sockets().unwrap()).unwrap();
        assert_eq!(new.beside(), BTreeSet::from([own]));
        drop(old);
        let listener = new.listener(GatewayUse::Http, address).unwrap();
        listener.set_nonblocking(false).unwrap();
        assert_eq!(listener.accept().unwrap().1, client.local_addr().unwrap());
        new.close(address.ip());
        assert!(new.gateway_sockets().unwrap().is_empty());
    }

    #[test]
    fn one_that_drains_names_the_one_after_it_as_long_as_that_lives() {
        let old = Succession::first();
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        old.succeeded_by(child.id());
        assert_eq!(old.beside(), BTreeSet::from([process(Some(child.id())).unwrap()]));
        assert!(!old.is_alone());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(old.beside().is_empty() && old.is_alone());
        old.succeeded_by(child.id());
        assert!(old.beside().is_empty(), "it has ended");
    }

    #[test]
    fn one_that_drains_keeps_no_address_from_the_next() {
        let old = Succession::first();
        old.drain(Duration::ZERO);
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        drop(old.datagrams(any).unwrap());
        assert!(old.gateway_sockets().unwrap().is_empty());
    }

    #[test]
    fn words_are_understood() {
        for what in GatewayUse::ALL {
            assert_eq!(GatewayUse::of_word(what.word()), Some(what));
        }
        assert_eq!(GatewayUse::of_word("ftp"), None);
    }
}
