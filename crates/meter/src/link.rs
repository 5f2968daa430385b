//! The way to the ledger.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tokio::sync::Mutex;
use weir_ledger::protocol::{Answer, Exchange};

const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes: some hundred for each lease.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// Why an exchange with the ledger gave nothing. The question may have arrived all the same.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Nobody listens.
    #[error("the ledger does not listen")]
    Connect(#[source] io::Error),
    /// The connection broke.
    #[error("the connection to the ledger broke")]
    Broken(#[source] hyper::Error),
    /// No answer in time.
    #[error("the ledger did not answer in time")]
    Timeout,
    /// Not an answer of a ledger.
    #[error("the ledger's answer is not understood: {0}")]
    Answer(String),
}

/// Brings a question to the ledger, and its answer back.
#[async_trait]
pub trait LedgerLink: Send + Sync + std::fmt::Debug {
    /// One exchange. Ends in a time that the link decides; a question may arrive although there
    /// is no answer.
    async fn exchange(&self, question: Exchange) -> Result<Answer, LinkError>;
}

/// The ledger in control, over its Unix socket: `POST /node/ledger`.
#[derive(Debug)]
pub struct SocketLink {
    socket: PathBuf,
    sender: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl SocketLink {
    /// To the control that listens there; it is connected to when needed.
    pub fn new(socket: PathBuf) -> Self {
        Self {
            socket,
            sender: Mutex::new(None),
        }
    }

    async fn send(&self, question: Vec<u8>) -> Result<Answer, LinkError> {
        let not_understood = |error: &dyn std::fmt::Display| LinkError::Answer(error.to_string());
        let request = Request::post("/node/ledger")
            .header(header::HOST, "control")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(question)))
            .map_err(|error| not_understood(&error))?;
        // Taken out, so that a connection that fails or is given up is not used again.
        let sender = self.sender.lock().await.take();
        let mut sender = match sender {
            Some(sender) if sender.is_ready() => sender,
            _ => self.connect().await?,
        };
        let answer = sender.send_request(request).await.map_err(LinkError::Broken)?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES)
            .collect()
            .await
            .map_err(|error| not_understood(&error))?
            .to_bytes();
        *self.sender.lock().await = Some(sender);
        if status != StatusCode::OK {
            return Err(LinkError::Answer(format!("status {status}")));
        }
        serde_json::from_slice(&body).map_err(|error| not_understood(&error))
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, LinkError> {
        let stream = UnixStream::connect(&self.socket).await.map_err(LinkError::Connect)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(LinkError::Broken)?;
        // Ends with the sender, or with control.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the ledger broke");
            }
        });
        Ok(sender)
    }
}

#[async_trait]
impl LedgerLink for SocketLink {
    async fn exchange(&self, question: Exchange) -> Result<Answer, LinkError> {
        let question = serde_json::to_vec(&question).map_err(|error| LinkError::Answer(error.to_string()))?;
        tokio::time::timeout(ANSWER_TIMEOUT, self.send(question))
            .await
            .map_err(|_| LinkError::Timeout)?
    }
}
