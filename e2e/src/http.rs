//! One request over one new connection, to an address on this machine and with any `Host`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers, names in lower case; the last of those that repeat.
    pub headers: BTreeMap<String, String>,
    /// Body as text.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.body).with_context(|| format!("status {}, not JSON: {}", self.status, self.body))
    }
}

/// A request: built by hand, sent by [`send`].
#[derive(Debug, Clone)]
pub struct Ask {
    /// Method.
    pub method: &'static str,
    /// Path and query.
    pub path: String,
    /// Headers, `host` included.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Bytes,
    /// Longest wait for the whole answer.
    pub timeout: Duration,
}

impl Ask {
    /// A GET with this `Host`.
    pub fn get(host: &str, path: &str) -> Self {
        Self {
            method: "GET",
            path: path.to_owned(),
            headers: vec![("host".to_owned(), host.to_owned())],
            body: Bytes::new(),
            timeout: Duration::from_secs(70),
        }
    }

    /// The same with a header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with another method and a body.
    #[must_use]
    pub fn with(mut self, method: &'static str, body: impl Into<Bytes>) -> Self {
        self.method = method;
        self.body = body.into();
        self
    }
}

/// Sends a request over a new connection and reads the whole answer.
pub async fn send(address: SocketAddr, ask: Ask) -> Result<Answer> {
    let what = format!("{} {} at {address}", ask.method, ask.path);
    tokio::time::timeout(ask.timeout, exchange(address, ask))
        .await
        .with_context(|| format!("{what}: no answer in time"))?
        .with_context(|| what)
}

async fn exchange(address: SocketAddr, ask: Ask) -> Result<Answer> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder().method(ask.method).uri(&ask.path);
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    let answer = sender.send_request(request.body(Full::new(ask.body))?).await?;
    let (head, body) = answer.into_parts();
    let body = body.collect().await?.to_bytes();
    driver.abort();
    Ok(Answer {
        status: head.status.as_u16(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
