//! The client of the public API: requests, problems, server-sent events and terminals. The CLI
//! knows nothing of Weir but this.

mod events;
mod session;

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, IF_RANGE, RANGE, RETRY_AFTER};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_api::Problem;

pub(crate) use self::events::EventReader;
pub(crate) use self::session::{Frame, Terminal};
use crate::credentials::{self, Token};
use crate::failure::{Failure, Result};

/// Longest wait for an ordinary answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Longest time for one part of an upload, and for what is done with the last one.
const PART_TIMEOUT: Duration = Duration::from_secs(600);
/// Longest time for tidying up behind oneself.
const FORGET_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses between attempts to connect. Control is back within a second when it was restarted.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_millis(1300),
];

/// One Weir with the token for it.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<Token>,
}

/// So often something busy is asked again, after the pauses that it asks for …
const BUSY_ATTEMPTS: u32 = 12;
/// … if they are no longer than this.
const BUSY_PAUSE: Duration = Duration::from_secs(10);

/// What a request carries.
enum Body<'a> {
    None,
    Json(&'a [u8]),
}

impl Client {
    /// A client for an address. Nothing is sent yet.
    pub(crate) fn new(base: String, token: Option<Token>) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5));
        if is_this_machine(&base) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Failure::failed("cannot make an HTTP client").detail(chain(&error)))?;
        Ok(Self { http, base, token })
    }

    /// The Weir that the environment, the current folder or the latest log-in names.
    pub(crate) fn from_surroundings() -> Result<Self> {
        let url = crate::context::weir_url()?;
        let token = credentials::token_for(&url)?;
        Self::new(url, token)
    }

    /// Address of Weir.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Reads something.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::GET, path, &Body::None).await
    }

    /// Reads something that may take minutes to be worked out.
    pub(crate) async fn get_slowly<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let make = || Ok(self.request(Method::GET, path)?.timeout(PART_TIMEOUT));
        self.read(self.send_patiently(make).await?).await
    }

    /// Reads something, without trying again.
    pub(crate) async fn get_once<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let request = self.request(Method::GET, path)?.timeout(ANSWER_TIMEOUT);
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        self.read(response).await
    }

    /// Reads something with a query.
    pub(crate) async fn get_query<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T> {
        self.get(&with_query(path, query)).await
    }

    /// Asks for something without saying more.
    pub(crate) async fn post_empty<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::POST, path, &Body::None).await
    }

    /// Asks for something.
    pub(crate) async fn post<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.call_json(Method::POST, path, body).await
    }

    /// Replaces something.
    pub(crate) async fn put<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.call_json(Method::PUT, path, body).await
    }

    /// Changes something.
    pub(crate) async fn patch<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T> {
        self.call_json(Method::PATCH, path, body).await
    }

    /// Removes something.
    pub(crate) async fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        self.call(Method::DELETE, path, &Body::None).await
    }

    /// Removes something, where the answer does not matter.
    pub(crate) async fn delete_quietly(&self, path: &str) -> Result<()> {
        let response = self.send_repeatedly(Method::DELETE, path, &Body::None).await?;
        self.checked(response).await.map(drop)
    }

    /// Replaces something, where the answer does not matter.
    pub(crate) async fn put_quietly(&self, path: &str, body: &impl Serialize) -> Result<()> {
        let bytes = serde_json::to_vec(body).map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        let response = self.send_repeatedly(Method::PUT, path, &Body::Json(&bytes)).await?;
        self.checked(response).await.map(drop)
    }

    /// Reads something that is no JSON.
    pub(crate) async fn get_bytes(&self, path: &str) -> Result<Vec<u8>> {
        let response = self.send_repeatedly(Method::GET, path, &Body::None).await?;
        let response = self.checked(response).await?;
        let bytes = response.bytes().await.map_err(|error| self.transport(&error))?;
        Ok(bytes.to_vec())
    }

    async fn call_json<T: DeserializeOwned>(&self, method: Method, path: &str, body: &impl Serialize) -> Result<T> {
        let bytes = serde_json::to_vec(body).map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        self.call(method, path, &Body::Json(&bytes)).await
    }

    async fn call<T: DeserializeOwned>(&self, method: Method, path: &str, body: &Body<'_>) -> Result<T> {
        let response = self.send_repeatedly(method, path, body).await?;
        self.read(response).await
    }

    /// Streams a file to Weir.
    pub(crate) async fn upload<T: DeserializeOwned>(
        &self,
        path: &str,
        content_type: &str,
        length: u64,
        body: reqwest::Body,
    ) -> Result<T> {
        let request = self
            .request(Method::POST, path)?
            .header(CONTENT_TYPE, content_type)
            .header(reqwest::header::CONTENT_LENGTH, length)
            .header(IDEMPOTENCY_KEY, random_key())
            .body(body);
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        self.read(response).await
    }

    /// Adds a part to an upload; `offset` bytes come before it.
    pub(crate) async fn append<T: DeserializeOwned>(&self, path: &str, offset: u64, part: Vec<u8>) -> Result<T> {
        let request = self
            .request(Method::PATCH, path)?
            .header(CONTENT_TYPE, "application/octet-stream")
            .header("upload-offset", offset)
            .timeout(PART_TIMEOUT)
            .body(part);
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        self.read(response).await
    }

    /// Removes something at the end of other work: once, and for a short time.
    pub(crate) async fn delete_once(&self, path: &str) -> Result<()> {
        let request = self.request(Method::DELETE, path)?.timeout(FORGET_TIMEOUT);
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        self.checked(response).await.map(drop)
    }

    /// Begins to take something that is too large to be held.
    pub(crate) async fn download(&self, path: &str) -> Result<Response> {
        let response = self.send_patiently(|| self.request(Method::GET, path)).await?;
        self.checked(response).await
    }

    /// Begins to take the rest of a file that is still the one with this tag, or all of it if it is not. The
    /// answer may also say 416: there is no rest.
    pub(crate) async fn download_rest(&self, path: &str, from: u64, tag: &str) -> Result<Response> {
        let make = || {
            let request = self.request(Method::GET, path)?.header(IF_RANGE, tag);
            Ok(request.header(RANGE, format!("bytes={from}-")))
        };
        let response = self.send_patiently(make).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Ok(response);
        }
        self.checked(response).await
    }

    /// Opens a stream of events; `after` is the last that was seen.
    pub(crate) async fn events(&self, path: &str, after: Option<&str>) -> Result<EventReader> {
        let mut request = self.request(Method::GET, path)?.header(ACCEPT, "text/event-stream");
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        let response = request.send().await.map_err(|error| self.transport(&error))?;
        Ok(EventReader::new(self.checked(response).await?))
    }

    /// Opens a terminal: the WebSockets of `run` and `exec`.
    pub(crate) async fn terminal(&self, path: &str, query: &[(&str, String)]) -> Result<Terminal> {
        session::open(&self.base, self.token()?, &with_query(path, query)).await
    }

    fn token(&self) -> Result<&Token> {
        self.token.as_ref().ok_or_else(|| {
            Failure::not_allowed(format!("there is no token for {}", self.base))
                .detail("neither WEIR_TOKEN nor a log-in gives one, and the admin token of this machine cannot be read")
                .hint("weir login, or WEIR_TOKEN=… (the admin token is in DIR/admin-token where `weir up` runs)")
        })
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder> {
        let request = self.http.request(method, format!("{}{path}", self.base));
        if path == HEALTH {
            return Ok(request);
        }
        Ok(request.bearer_auth(self.token()?.expose()))
    }

    /// Sends; repeats when it is busy.
    async fn send_patiently(&self, make: impl Fn() -> Result<RequestBuilder>) -> Result<Response> {
        for attempt in 0.. {
            let response = make()?.send().await.map_err(|error| self.transport(&error))?;
            if let Some(response) = self.unless_busy(response, attempt).await? {
                return Ok(response);
            }
        }
        Err(Failure::failed("it was given up"))
    }

    /// The response, if it does not say that too much is being done; then waits as long as it says. Fails
    /// when that was often enough.
    async fn unless_busy(&self, response: Response, attempt: u32) -> Result<Option<Response>> {
        if response.status() != StatusCode::TOO_MANY_REQUESTS {
            return Ok(Some(response));
        }
        let seconds = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok());
        let pause = seconds.and_then(|value| value.parse().ok()).map(Duration::from_secs);
        match self.checked(response).await {
            Err(error) if error.kind == BUSY && attempt < BUSY_ATTEMPTS => match pause {
                Some(pause) if pause <= BUSY_PAUSE => {
                    tokio::time::sleep(pause).await;
                    Ok(None)
                }
                _ => Err(error),
            },
            other => other.map(Some),
        }
    }

    /// Sends; repeats when Weir cannot be reached or is busy, under one key, so that nothing is done twice.
    async fn send_repeatedly(&self, method: Method, path: &str, body: &Body<'_>) -> Result<Response> {
        let key = (method != Method::GET).then(random_key);
        let mut pauses = PAUSES.iter();
        let mut attempt = 0;
        loop {
            let mut request = self.request(method.clone(), path)?.timeout(ANSWER_TIMEOUT);
            // Where there is a list and a stream of it, the list is meant.
            request = request.header(ACCEPT, "application/json, */*;q=0.5");
            if let Some(key) = &key {
                request = request.header(IDEMPOTENCY_KEY, key);
            }
            if let Body::Json(bytes) = body {
                request = request.header(CONTENT_TYPE, "application/json").body(bytes.to_vec());
            }
            match request.send().await {
                Ok(response) => match self.unless_busy(response, attempt).await? {
                    Some(response) => return Ok(response),
                    None => attempt += 1,
                },
                Err(error) if error.is_timeout() || error.is_builder() => return Err(self.transport(&error)),
                Err(error) => match pauses.next() {
                    Some(pause) => tokio::time::sleep(*pause).await,
                    None => return Err(self.transport(&error)),
                },
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, response: Response) -> Result<T> {
        let response = self.checked(response).await?;
        let bytes = response.bytes().await.map_err(|error| self.transport(&error))?;
        // No content reads as `null`, so that `()` and `Option` can be asked for.
        let bytes: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(bytes).map_err(|error| {
            Failure::failed(format!("{} answered what this CLI does not understand", self.base))
                .detail(error.to_string())
                .hint("compare the versions: weir version")
        })
    }

    /// The response if it is a good one, else the problem that it tells of.
    async fn checked(&self, response: Response) -> Result<Response> {
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body = response.bytes().await.unwrap_or_default();
        Err(match serde_json::from_slice::<Problem>(&body) {
            Ok(problem) => Failure::from_problem(problem),
            Err(_) => not_weir(&self.base, status, &body),
        })
    }

    fn transport(&self, error: &reqwest::Error) -> Failure {
        let failure = if error.is_timeout() {
            Failure::unreachable(format!("Weir at {} does not answer in time", self.base))
        } else if error.is_connect() {
            Failure::unreachable(format!("Weir at {} cannot be reached", self.base))
        } else {
            Failure::unreachable(format!("the connection to Weir at {} broke", self.base))
        };
        failure
            .detail(chain(error))
            .hint("start it with `weir up`, or say where it is: WEIR_URL=http://HOST:PORT, or weir login URL")
    }
}

/// The problem of what is refused because too much is being done at the moment.
pub(crate) const BUSY: &str = "busy";
const HEALTH: &str = "/v1/health";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

fn not_weir(base: &str, status: StatusCode, body: &[u8]) -> Failure {
    let start: String = String::from_utf8_lossy(body).chars().take(300).collect();
    let failure = Failure::from_problem(Problem {
        kind: "unexpected-answer".to_owned(),
        title: format!("{base} answered {status}"),
        status: status.as_u16(),
        detail: (!start.trim().is_empty()).then(|| crate::output::printable(start.trim())),
        hint: None,
        entries: Vec::new(),
    });
    failure.hint("is this the address of the API (WEIR_URL)? that of applications is another one")
}

fn random_key() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Whether an address is on this machine, where no proxy may come in between.
fn is_this_machine(base: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(base) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// A path with a query, escaped.
pub(crate) fn with_query(path: &str, query: &[(&str, String)]) -> String {
    if query.is_empty() {
        return path.to_owned();
    }
    // `Url` knows how to write a query; the host is only there because it must be.
    let Ok(mut url) = reqwest::Url::parse("http://weir") else {
        return path.to_owned();
    };
    url.query_pairs_mut().extend_pairs(query);
    format!("{path}?{}", url.query().unwrap_or_default())
}

/// An error with its causes, without repeating what the outer ones say already.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_escaped() {
        assert_eq!(with_query("/a", &[("grep", "a b&c".to_owned())]), "/a?grep=a+b%26c");
        assert_eq!(with_query("/a", &[]), "/a");
    }

    #[test]
    fn no_proxy_stands_before_this_machine() {
        assert!(is_this_machine("http://127.0.0.1:8081"));
        assert!(is_this_machine("http://[::1]:8081"));
        assert!(is_this_machine("http://localhost"));
        assert!(!is_this_machine("http://weir.example"));
    }
}
