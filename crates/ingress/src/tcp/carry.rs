//! Bytes both ways between a client and an instance. What goes to the client is paid before it is
//! written, as an answer is; neither side is read faster than the other one takes it.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http_body::SizeHint;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::{Ends, Journey, Reached};
use crate::access::Served;
use crate::clock::Clock;
use crate::node::Worker;
use crate::pay::Outflow;
use crate::upgrade::{PaidStream, Payment};

/// Bytes buffered in each direction.
const BUFFER_BYTES: usize = 16 * 1024;

/// What has moved on one connection.
#[derive(Debug)]
pub(crate) struct Flows {
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    moved_ms: AtomicU64,
    clock: Clock,
}

impl Flows {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            moved_ms: AtomicU64::new(clock.now_ms()),
            clock,
        }
    }

    fn moved(&self, counter: &AtomicU64, bytes: usize) {
        if bytes > 0 {
            counter.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
            self.moved_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        }
    }

    /// Ends once nothing has moved for so long; never where there is no bound.
    async fn idle(&self, longest: Option<Duration>) {
        let Some(longest) = longest else {
            return std::future::pending().await;
        };
        self.moved_ms.store(self.clock.now_ms(), Ordering::Relaxed);
        loop {
            let since_ms = self.moved_ms.load(Ordering::Relaxed);
            let idle = self.clock.since(since_ms);
            if idle >= longest {
                return;
            }
            tokio::time::sleep(longest - idle).await;
        }
    }
}

/// Carries until both sides have ended, one of them breaks, nothing moves for too long, the instance
/// is cut, or what goes to the client cannot be paid.
pub(super) async fn carry<S>(
    worker: &Worker,
    client: S,
    reached: Reached,
    journey: &mut Journey,
    (address, ends): (IpAddr, Ends),
    flows: Arc<Flows>,
) where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Reached {
        service,
        mut stream,
        taken,
    } = reached;
    let instance = Arc::clone(&taken.instance);
    // Counted as open before it stops being in flight: in between it is both, never neither.
    let _open = instance.upgraded();
    drop(taken);
    if let (Some(passage), Some(seat)) = (&mut journey.passage, &instance.seat) {
        passage.bind(seat, worker.index, worker.shared.clock.now_us(), &service.ask());
    }
    if let Some(unserved) = journey.unserved.take() {
        unserved.handed_on();
    }
    let served = Served::begin(&service.route.access, worker.index);
    let Ok(outflow) = Outflow::begin(worker, &service.route, 0, SizeHint::new()).await else {
        return tracing::info!(service = %service.name, "closed a connection: there is no money for what it sends");
    };
    let mut client = PaidStream {
        stream: Watched {
            stream: client,
            flows: Arc::clone(&flows),
        },
        payment: Payment {
            outflow,
            served,
            carried: None,
        },
    };
    let carried = async {
        if service.proxy_protocol {
            stream.write_all(proxy_line(address, ends).as_bytes()).await?;
        }
        tokio::io::copy_bidirectional_with_sizes(&mut client, &mut stream, BUFFER_BYTES, BUFFER_BYTES).await
    };
    tokio::select! {
        biased;
        () = instance.cut.cancelled() => {}
        () = flows.idle(service.idle) => tracing::debug!(service = %service.name, "closed a connection on which nothing moved"),
        ended = carried => {
            if let Err(error) = ended {
                tracing::debug!(service = %service.name, %error, "a connection broke");
            }
        }
    }
}

/// The line of version 1 of the PROXY protocol.
fn proxy_line(client: IpAddr, ends: Ends) -> String {
    let (client, here) = (client.to_canonical(), ends.here.ip().to_canonical());
    // The port of a client for whom a load balancer speaks is not known here.
    let is_peer = ends.peer.ip().to_canonical() == client;
    let ports = (if is_peer { ends.peer.port() } else { 0 }, ends.here.port());
    let mut line = String::from("PROXY ");
    let written = match (client, here) {
        (IpAddr::V4(_), IpAddr::V4(_)) => write!(line, "TCP4 {client} {here} {} {}\r\n", ports.0, ports.1),
        _ => {
            let (client, here) = (as_v6(client), as_v6(here));
            write!(line, "TCP6 {client} {here} {} {}\r\n", ports.0, ports.1)
        }
    };
    debug_assert!(written.is_ok(), "a text takes everything");
    line
}

fn as_v6(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// A client's stream, on which is counted what moves.
struct Watched<S> {
    stream: S,
    flows: Arc<Flows>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.flows.moved(&self.flows.received, buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, data))?;
        self.flows.moved(&self.flows.sent, written);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_app_is_told_who_the_client_is() {
        let ends = |peer: &str, here: &str| Ends {
            peer: peer.parse().unwrap(),
            here: here.parse().unwrap(),
        };
        let line = |client: &str, ends| proxy_line(client.parse().unwrap(), ends);
        let direct = ends("192.0.2.7:4711", "198.51.100.1:20000");
        assert_eq!(
            line("192.0.2.7", direct),
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 20000\r\n"
        );
        let mapped = ends("[::ffff:192.0.2.7]:4711", "[::ffff:198.51.100.1]:20000");
        assert_eq!(
            line("192.0.2.7", mapped),
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 20000\r\n"
        );
        let balanced = ends("10.0.0.1:4711", "198.51.100.1:20000");
        assert_eq!(
            line("192.0.2.7", balanced),
            "PROXY TCP4 192.0.2.7 198.51.100.1 0 20000\r\n"
        );
        let mixed = line("2001:db8::7", balanced);
        assert_eq!(mixed, "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 0 20000\r\n");
    }
}
