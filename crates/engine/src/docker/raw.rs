//! Plain HTTP over the engine's socket, one connection a request, for the calls whose bytes
//! must flow as they come: builds, logs and terminals. Dropping an answer closes its
//! connection at once, which is how the engine is told to stop.

use std::fmt::Write as _;
use std::path::Path;

use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::upgrade::Upgraded;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::{BoxStream, EngineError};

use super::{CALL_TIMEOUT, errors};

/// What a request carries.
type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;

/// Most bytes that are read of an answer that tells of an error.
const MOST_ERROR_BYTES: usize = 64 * 1024;

/// Ends the task that drives a connection when the answer is dropped.
#[derive(Debug)]
struct ConnectionGuard(tokio::task::JoinHandle<()>);

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A successful answer whose body is still to be read.
#[derive(Debug)]
pub(super) struct RawResponse {
    response: hyper::Response<Incoming>,
    connection: ConnectionGuard,
}

/// No body.
pub(super) fn empty() -> RequestBody {
    full(Bytes::new())
}

/// A body that is there already.
pub(super) fn full(bytes: Bytes) -> RequestBody {
    Full::new(bytes).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is sent as it comes.
pub(super) fn streamed(stream: BoxStream<std::io::Result<Bytes>>) -> RequestBody {
    StreamBody::new(stream.map(|chunk| chunk.map(Frame::data))).boxed_unsync()
}

/// `path?key=value&…` with everything escaped that could be misread.
pub(super) fn path_with_query(path: &str, pairs: &[(&str, String)]) -> String {
    let mut target = path.to_owned();
    for (index, (key, value)) in pairs.iter().enumerate() {
        target.push(if index == 0 { '?' } else { '&' });
        target.push_str(key);
        target.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                target.push(char::from(byte));
            } else {
                let _infallible = write!(target, "%{byte:02X}");
            }
        }
    }
    target
}

/// Sends a request and waits for the head of its answer. An answer other than success or a
/// switch of protocols becomes an error in the engine's words.
pub(super) async fn send(
    socket: &Path,
    method: Method,
    target: &str,
    content_type: Option<&str>,
    upgrade: Upgrade,
    body: RequestBody,
) -> Result<RawResponse, EngineError> {
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| not_connected(socket, &error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(errors::from_hyper)?;
    let connection = ConnectionGuard(tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::trace!(%error, "a connection to the container engine ended");
        }
    }));
    let mut request = Request::builder().method(method).uri(target).header("Host", "docker");
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    if upgrade == Upgrade::Tcp {
        request = request.header("Connection", "Upgrade").header("Upgrade", "tcp");
    }
    let request = request
        .body(body)
        .map_err(|error| EngineError::Refused(error.to_string()))?;
    let response = sender.send_request(request).await.map_err(errors::from_hyper)?;
    let status = response.status();
    if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(RawResponse { response, connection });
    }
    let text = Limited::new(response.into_body(), MOST_ERROR_BYTES)
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let message = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| value.get("message")?.as_str().map(str::to_owned))
        .unwrap_or_else(|| String::from_utf8_lossy(&text).trim().to_owned());
    Err(errors::from_status(status.as_u16(), &message))
}

/// Why there is no connection. A missing permission does not come by waiting.
fn not_connected(socket: &Path, error: &std::io::Error) -> EngineError {
    let socket = socket.display();
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        return EngineError::Refused(format!(
            "this user may not use the container engine at {socket}; run Weir as root or add the user to the group docker"
        ));
    }
    EngineError::Unreachable(format!("{socket}: {error}"))
}

/// The same for calls whose answer begins at once: no answer within a minute is none.
pub(super) async fn send_soon(
    socket: &Path,
    method: Method,
    target: &str,
    content_type: Option<&str>,
    upgrade: Upgrade,
    body: RequestBody,
) -> Result<RawResponse, EngineError> {
    tokio::time::timeout(CALL_TIMEOUT, send(socket, method, target, content_type, upgrade, body))
        .await
        .map_err(|_elapsed| EngineError::Unreachable("it took too long to answer".to_owned()))?
}

/// Whether a request asks for the connection itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// Plain request and answer.
    None,
    /// Both directions as they are, after the head (terminals).
    Tcp,
}

impl RawResponse {
    /// The whole answer, if it is not larger than `most_bytes`.
    pub(super) async fn bytes(self, most_bytes: usize) -> Result<Bytes, EngineError> {
        let body = Limited::new(self.response.into_body(), most_bytes).collect().await;
        body.map(|body| body.to_bytes())
            .map_err(|error| EngineError::Unreachable(error.to_string()))
    }

    /// The body as it comes.
    pub(super) fn stream(self) -> BoxStream<Result<Bytes, EngineError>> {
        let Self { response, connection } = self;
        let mut body = response.into_body().into_data_stream();
        Box::pin(futures_util::stream::poll_fn(move |context| {
            let _owned = &connection;
            body.poll_next_unpin(context).map_err(errors::from_hyper)
        }))
    }

    /// The connection itself, after a request with [`Upgrade::Tcp`].
    pub(super) async fn upgrade(self) -> Result<TokioIo<Upgraded>, EngineError> {
        let upgraded = hyper::upgrade::on(self.response).await.map_err(errors::from_hyper)?;
        drop(self.connection);
        Ok(TokioIo::new(upgraded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_a_query_are_escaped() {
        let target = path_with_query("/build", &[("t", "a b&c".to_owned()), ("q", "é".to_owned())]);
        assert_eq!(target, "/build?t=a%20b%26c&q=%C3%A9");
    }
}
