//! Connections that change their protocol (websockets): from the 101 on they are two streams
//! of bytes, counted at the instance until one side closes. What goes to the client is paid.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use weir_guard::Passage;

use crate::access::Served;
use crate::admission::Slot;
use crate::body::AnswerBody;
use crate::counters::count;
use crate::headers;
use crate::metrics::{Carried, Seat};
use crate::node::Worker;
use crate::pay::Outflow;
use crate::protect::connections::Places;
use crate::upstream::AnswerStream;

/// Bytes buffered in each direction of a tunnel.
const TUNNEL_BUFFER_BYTES: usize = 8 * 1024;

/// What a request has in hand when its connection changes the protocol.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) client: OnUpgrade,
    pub(crate) slot: Slot,
    pub(crate) served: Served,
    /// None where nothing is charged.
    pub(crate) outflow: Option<Outflow>,
    /// It is in flight, for the guard, until the tunnel ends; None where nothing is guarded.
    pub(crate) passage: Option<Passage>,
    /// Of the connection, which counts for its client until the tunnel ends.
    pub(crate) places: Option<Arc<Places>>,
}

/// Passes the 101 on and ties the two connections together.
pub(crate) fn switch(worker: &Arc<Worker>, tunnel: Tunnel, answer: Response<AnswerStream>) -> Response<AnswerBody> {
    let protocol = answer.headers().get(header::UPGRADE).cloned();
    let (mut parts, upstream) = answer.into_parts();
    // Counted as upgraded before it stops being in flight: in between it is both, never neither.
    let open = tunnel.slot.instance.upgraded();
    let cut = tunnel.slot.instance.cut.clone();
    drop(tunnel.slot);
    count(&worker.counters.upgrades);
    let (clock, passage) = (worker.shared.clock, tunnel.passage);
    let active = tunnel.places.map(|places| (places.activity().request(clock), places));
    let seat = Seat::default();
    let paid = Payment {
        outflow: tunnel.outflow,
        served: tunnel.served,
        carried: Some(Carried::new(seat.clone())),
    };
    let carried = carry(tunnel.client, upstream, paid);
    worker.connections.spawn(async move {
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            ended = carried => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an upgrade did not come about");
                }
            }
        }
        drop((open, active));
        if let Some(passage) = passage {
            passage.end(clock.now_us());
        }
    });
    headers::prepare_answer(&mut parts.headers);
    parts
        .headers
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(header::UPGRADE, protocol);
    }
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    parts.extensions.clear();
    parts.extensions.insert(seat);
    Response::from_parts(parts, AnswerBody::Empty)
}

/// Carries bytes both ways until one side closes, or what goes to the client cannot be paid.
async fn carry(client: OnUpgrade, upstream: AnswerStream, payment: Payment) -> hyper::Result<()> {
    let client = client.await?;
    let Some((stream, read)) = upstream.into_tunnel() else {
        return Ok(());
    };
    let (reading, writing) = stream.into_split();
    let mut upstream = tokio::io::join((&read[..]).chain(reading), writing);
    let mut client = PaidStream {
        stream: TokioIo::new(client),
        payment,
    };
    let (size, other) = (TUNNEL_BUFFER_BYTES, TUNNEL_BUFFER_BYTES);
    let copied = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, size, other).await;
    if let Err(error) = copied {
        tracing::debug!(%error, "an upgraded connection broke");
    }
    Ok(())
}

/// From what a tunnel is paid, and where it is counted.
pub(crate) struct Payment {
    /// None where nothing is charged.
    pub(crate) outflow: Option<Outflow>,
    pub(crate) served: Served,
    /// None where it is counted elsewhere.
    pub(crate) carried: Option<Carried>,
}

/// A client's stream; what is written to it is paid before.
pub(crate) struct PaidStream<S> {
    pub(crate) stream: S,
    pub(crate) payment: Payment,
}

impl<S: AsyncRead + Unpin> AsyncRead for PaidStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let bytes = u64::try_from(buffer.filled().len() - before).unwrap_or(u64::MAX);
        if let (Some(carried), true) = (&mut self.payment.carried, bytes > 0) {
            carried.receive(bytes);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for PaidStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let mut allowed = data.len();
        if let Some(outflow) = &mut this.payment.outflow {
            let wanted = u64::try_from(allowed).unwrap_or(u64::MAX);
            let paid = ready!(outflow.poll_allow(cx, wanted, None)).map_err(|reason| {
                tracing::info!(%reason, "closed an upgraded connection: there is no money for what it sends");
                io::Error::other(reason)
            })?;
            allowed = usize::try_from(paid).unwrap_or(usize::MAX).min(allowed);
        }
        let written = ready!(Pin::new(&mut this.stream).poll_write(cx, &data[..allowed]))?;
        let bytes = u64::try_from(written).unwrap_or(u64::MAX);
        this.payment.served.send(bytes);
        if let Some(carried) = &mut this.payment.carried {
            carried.send(bytes);
        }
        if let Some(outflow) = &mut this.payment.outflow {
            outflow.spend(bytes);
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
