//! The WebSockets of `run` and `exec`.

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::{Error, Message};
use weir_api::{Problem, SessionMessage};

use crate::credentials::Token;
use crate::failure::{Failure, Result};

/// What comes from Weir.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The command wrote to standard output.
    Stdout(bytes::Bytes),
    /// The command wrote to standard error.
    Stderr(bytes::Bytes),
    /// The last words.
    Message(SessionMessage),
}

/// A command that runs at Weir.
#[derive(Debug)]
pub(crate) struct Terminal {
    socket: WebSocketStream<TcpStream>,
}

pub(super) async fn open(base: &str, token: &Token, path: &str) -> Result<Terminal> {
    let broken = |error: &dyn std::error::Error| {
        Failure::unreachable(format!("Weir at {base} cannot be reached"))
            .detail(super::chain(error))
            .hint("start it with `weir up`, or say where it is: WEIR_URL=http://HOST:PORT, or weir login URL")
    };
    let url = reqwest::Url::parse(base).map_err(|error| Failure::usage(error.to_string()))?;
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().unwrap_or(80);
    let stream = TcpStream::connect((host.as_str(), port))
        .await
        .map_err(|error| broken(&error))?;
    // Every key of a terminal is a tiny packet that must not wait for the next one.
    stream.set_nodelay(true).map_err(|error| broken(&error))?;
    let address = format!("{}{path}", base.replacen("http", "ws", 1));
    let mut request = address
        .into_client_request()
        .map_err(|error| Failure::usage(error.to_string()))?;
    let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    request.headers_mut().insert(
        "authorization",
        value.map_err(|_| Failure::usage("the token holds characters that no token has"))?,
    );
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(Terminal { socket }),
        Err(Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            Err(match serde_json::from_slice::<Problem>(body) {
                Ok(problem) => Failure::from_problem(problem),
                Err(_) => super::not_weir(base, response.status(), body),
            })
        }
        Err(error) => Err(broken(&error)),
    }
}

impl Terminal {
    /// What the command is to read.
    pub(crate) async fn send_input(&mut self, bytes: Vec<u8>) -> Result<()> {
        self.send(Message::Binary(bytes.into())).await
    }

    /// Something else.
    pub(crate) async fn send_message(&mut self, message: &SessionMessage) -> Result<()> {
        let text = serde_json::to_string(message).map_err(|error| Failure::failed(error.to_string()))?;
        self.send(Message::Text(text.into())).await
    }

    async fn send(&mut self, message: Message) -> Result<()> {
        match self.socket.send(message).await {
            // The command has ended; its status is on the way.
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => Ok(()),
            Err(error) => Err(Failure::unreachable("the connection broke").detail(super::chain(&error))),
        }
    }

    /// The next piece of output, or the last words; `None` if the connection ended without any. May
    /// be dropped and called again without losing anything.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>> {
        loop {
            let message = match self.socket.next().await {
                None | Some(Err(Error::ConnectionClosed | Error::AlreadyClosed)) => return Ok(None),
                Some(Err(error)) => {
                    return Err(Failure::unreachable("the connection broke").detail(super::chain(&error)));
                }
                Some(Ok(message)) => message,
            };
            match message {
                Message::Binary(bytes) => match bytes.first() {
                    Some(1) => return Ok(Some(Frame::Stdout(bytes.slice(1..)))),
                    Some(2) => return Ok(Some(Frame::Stderr(bytes.slice(1..)))),
                    _ => {}
                },
                Message::Text(text) => {
                    let message = serde_json::from_str(&text).map_err(|error| {
                        Failure::failed("Weir said something that this CLI does not understand")
                            .detail(error.to_string())
                    })?;
                    return Ok(Some(Frame::Message(message)));
                }
                Message::Close(_) => return Ok(None),
                Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Says that nothing more will come.
    pub(crate) async fn close(mut self) {
        let _ = self.socket.send(Message::Close(None)).await;
    }
}
