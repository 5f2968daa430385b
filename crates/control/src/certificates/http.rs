//! How we speak to an authority: HTTPS to whom we trust, answers of bounded size, and what it says
//! of when to come again, which the library does not tell where it matters.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use tokio_rustls::rustls::ClientConfig;
use weir_model::UnixMillis;

use crate::clock::Clock;

/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Largest answer: a chain of certificates is far smaller.
const ANSWER_BYTES: usize = 1 << 20;
/// A connection that nobody uses is closed after so long.
const IDLE: Duration = Duration::from_secs(30);

tokio::task_local! {
    /// Until when the authority has asked this task to wait.
    static ASKED_TO_WAIT: Cell<Option<UnixMillis>>;
}

/// Runs something that asks an authority. Also says until when it asked to wait, if it did.
pub(super) async fn noting_waits<T>(work: impl Future<Output = T>) -> (T, Option<UnixMillis>) {
    ASKED_TO_WAIT
        .scope(Cell::new(None), async {
            let result = work.await;
            (result, ASKED_TO_WAIT.with(Cell::get))
        })
        .await
}

/// Speaks to an authority.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    clock: Arc<dyn Clock>,
}

impl Http {
    pub(super) fn new(tls: ClientConfig, clock: Arc<dyn Clock>) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_only()
            .enable_http1()
            .build();
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Self { client, clock }
    }

    async fn ask(self, request: Request<BodyWrapper<Bytes>>) -> Result<BytesResponse, Error> {
        let (parts, body) = request.into_parts();
        let body = match body.collect().await {
            Ok(body) => body.to_bytes(),
            Err(never) => match never {},
        };
        let answer = self.client.request(Request::from_parts(parts, Full::new(body))).await;
        let (parts, body) = answer.map_err(|error| Error::Other(words(&error).into()))?.into_parts();
        if let Some(until_ms) = wait_until(&parts.headers, self.clock.now_ms()) {
            let _ = ASKED_TO_WAIT.try_with(|asked| asked.set(Some(until_ms)));
        }
        let body = Limited::new(body, ANSWER_BYTES)
            .collect()
            .await
            .map_err(Error::Other)?
            .to_bytes();
        let is_json = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
        if (parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS) && !is_json {
            return Err(Error::Other(
                format!("it answered with status {}", parts.status.as_u16()).into(),
            ));
        }
        Ok(Response::from_parts(parts, Full::new(body)).into())
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let http = self.clone();
        Box::pin(async move {
            match tokio::time::timeout(TIMEOUT, http.ask(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(Error::Other(format!("no answer within {} s", TIMEOUT.as_secs()).into())),
            }
        })
    }
}

/// All causes of an error; the outermost alone says nothing.
fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// `Retry-After`, in either of its forms.
fn wait_until(headers: &HeaderMap, now_ms: UnixMillis) -> Option<UnixMillis> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(now_ms + i64::from(seconds) * 1_000);
    }
    let instant = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text);
    instant.ok().map(jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn both_forms_of_retry_after_are_read() {
        let until = |text: &'static str| {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            wait_until(&headers, 1_000)
        };
        assert_eq!(until("120"), Some(121_000));
        assert_eq!(until("Fri, 31 Dec 1999 23:59:59 GMT"), Some(946_684_799_000));
        assert_eq!(until("soon"), None);
        assert_eq!(until("-1"), None);
    }
}
