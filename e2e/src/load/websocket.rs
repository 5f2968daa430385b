//! Websockets that echo.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use futures_util::{SinkExt, StreamExt};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use super::connect::Way;
use super::{Fault, Shared, clients, version_of};

/// Between two messages of one websocket.
const PAUSE: Duration = Duration::from_millis(200);
/// Longest wait for an echo, and for the end of a websocket.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for the handshake, and for a newer release.
const LONG_PATIENCE: Duration = Duration::from_secs(90);

pub(super) async fn keep(shared: Arc<Shared>, way: Way) {
    while shared.goes_on() {
        let result = echo_until_drained(&shared, way).await;
        clients::note(&shared, "websocket", result).await;
    }
}

/// Opens a websocket and lets it echo five times a second. Ends well with the load, or when the
/// other side ends it although (and only if) a newer release answers by now.
async fn echo_until_drained(shared: &Shared, way: Way) -> Result<()> {
    let stream = shared.stream(way, "http/1.1").await?;
    let opening = tokio_tungstenite::client_async(format!("ws://{}/ws", shared.host(way)), stream);
    let (mut socket, _) = timeout(LONG_PATIENCE, opening)
        .await
        .context("handshake: too late")
        .and_then(|opened| opened.context("handshake"))
        .context(Fault::NoAnswer)?;
    let mut version = 0;
    let mut count = 0_u64;
    let end = shared.options.websocket_life.map(|life| Instant::now() + life);
    loop {
        if end.is_some_and(|end| Instant::now() > end) {
            return close_in_order(socket).await.context(Fault::Cut);
        }
        let wanted = if version == 0 {
            None
        } else {
            Some(format!("echo {count}"))
        };
        if let Some(text) = &wanted
            && (!shared.goes_on() || socket.send(Message::text(text.as_str())).await.is_err())
        {
            break;
        }
        match timeout(PATIENCE, socket.next())
            .await
            .map_err(|_| anyhow!("no echo within {PATIENCE:?}").context(Fault::Late))?
        {
            Some(Ok(Message::Text(text))) => match wanted {
                None => version = version_of(&text)?,
                Some(wanted) => {
                    ensure!(text.as_str() == wanted, "a wrong echo");
                    count += 1;
                    shared.report.lock().unwrap_or_else(PoisonError::into_inner).echoed += 1;
                }
            },
            Some(Ok(Message::Close(_)) | Err(_)) | None => break,
            Some(Ok(_)) => {}
        }
        sleep(PAUSE).await;
    }
    if !shared.goes_on() {
        return Ok(());
    }
    was_drained(shared, version).await.context(Fault::Cut)
}

/// Fails unless the other side might end a websocket of this version now.
async fn was_drained(shared: &Shared, version: u32) -> Result<()> {
    ensure!(
        !shared.options.websockets_stay,
        "ended by the other side, although its client went on"
    );
    let cut = Instant::now();
    // A held app is switched before its new release can have answered: give it the time.
    let newer = crate::until("a newer release answers", LONG_PATIENCE, || async {
        Ok((shared.replaced_since(version).is_some() || !shared.goes_on()).then_some(()))
    });
    ensure!(newer.await.is_ok(), "cut although its release still serves");
    if let (Some(drain), Some(since)) = (shared.options.drain, shared.replaced_since(version)) {
        // A second less, because the switch is seen only with the next answer.
        ensure!(
            cut + Duration::from_secs(1) > since + drain,
            "cut before its drain window of {drain:?} was over"
        );
    }
    shared.report.lock().unwrap_or_else(PoisonError::into_inner).drained += 1;
    Ok(())
}

/// Says that it is over, and waits for the other side to say so, too.
async fn close_in_order<S>(mut socket: tokio_tungstenite::WebSocketStream<S>) -> Result<()>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    socket.close(None).await.context("it cannot be closed in order")?;
    let closed = async {
        while let Some(message) = socket.next().await {
            if matches!(message, Ok(Message::Close(_))) {
                return Ok(());
            }
            message.context("it was cut instead of closed")?;
        }
        bail!("it was cut instead of closed")
    };
    timeout(PATIENCE, closed).await.context("it is not closed")?
}
