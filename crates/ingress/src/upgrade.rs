//! Connections that change their protocol (websockets): from the 101 on they are two streams
//! of bytes, counted at the instance until one side closes.

use std::sync::Arc;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::admission::Slot;
use crate::body::AnswerBody;
use crate::counters::count;
use crate::headers;
use crate::node::Worker;

/// Bytes buffered in each direction of a tunnel.
const TUNNEL_BUFFER_BYTES: usize = 8 * 1024;

/// Passes the 101 on and ties the two connections together.
pub(crate) fn switch(
    worker: &Arc<Worker>,
    slot: Slot,
    client: OnUpgrade,
    mut answer: Response<Incoming>,
) -> Response<AnswerBody> {
    let protocol = answer.headers().get(header::UPGRADE).cloned();
    let upstream = hyper::upgrade::on(&mut answer);
    // Counted as upgraded before it stops being in flight: in between it is both, never neither.
    let open = slot.instance.upgraded();
    let cut = slot.instance.cut.clone();
    drop(slot);
    count(&worker.counters.upgrades);
    worker.connections.spawn(async move {
        let tunnel = async {
            let (client, upstream) = tokio::try_join!(client, upstream)?;
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            let (size, other) = (TUNNEL_BUFFER_BYTES, TUNNEL_BUFFER_BYTES);
            let copied = tokio::io::copy_bidirectional_with_sizes(&mut client, &mut upstream, size, other).await;
            if let Err(error) = copied {
                tracing::debug!(%error, "an upgraded connection broke");
            }
            Ok::<(), hyper::Error>(())
        };
        tokio::select! {
            biased;
            () = cut.cancelled() => {}
            ended = tunnel => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an upgrade did not come about");
                }
            }
        }
        drop(open);
    });
    let (mut parts, _) = answer.into_parts();
    headers::prepare_answer(&mut parts.headers);
    parts
        .headers
        .insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(header::UPGRADE, protocol);
    }
    parts.status = StatusCode::SWITCHING_PROTOCOLS;
    parts.extensions.clear();
    Response::from_parts(parts, AnswerBody::Empty)
}
