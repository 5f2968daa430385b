//! Calls to the systems of others. The name is looked up here and the connection goes to the
//! address that was looked at, so that a name that changes in between leads nowhere else.
//! Redirects are not followed, and no proxy is asked.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto};
use url::{Host, Url};

use super::address;

/// Longest wait for all of it.
const TIMEOUT: Duration = Duration::from_secs(15);

/// A call to somebody else's system.
#[derive(Debug)]
pub(super) struct Call {
    /// As [`address::check_url`] takes it.
    pub(super) url: Url,
    /// It may lead to the machine itself and to private networks.
    pub(super) private: bool,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Posts JSON. Fails with words that the one who gave the URL may see.
pub(super) async fn post(call: Call) -> Result<StatusCode, String> {
    match tokio::time::timeout(TIMEOUT, exchange(call)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn exchange(call: Call) -> Result<StatusCode, String> {
    let stream = connect(&call.url, call.private).await?;
    if call.url.scheme() == "http" {
        return send(stream, call).await;
    }
    let name = match call.url.host() {
        Some(Host::Domain(name)) => ServerName::try_from(name.to_owned()).map_err(|error| error.to_string())?,
        Some(Host::Ipv4(address)) => ServerName::from(std::net::IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => ServerName::from(std::net::IpAddr::V6(address)),
        None => return Err("the URL names no host".to_owned()),
    };
    let connector = TlsConnector::from(tls()?);
    let stream = connector.connect(name, stream).await;
    send(stream.map_err(|error| format!("no secure connection: {error}"))?, call).await
}

/// Connects to the first address that answers, of those that may be called.
async fn connect(url: &Url, private: bool) -> Result<TcpStream, String> {
    let port = url.port_or_known_default().unwrap_or(443);
    let found: Vec<SocketAddr> = match url.host() {
        Some(Host::Domain(name)) => tokio::net::lookup_host((name, port))
            .await
            .map_err(|error| format!("the name cannot be looked up: {error}"))?
            .collect(),
        Some(Host::Ipv4(address)) => vec![(address, port).into()],
        Some(Host::Ipv6(address)) => vec![(address, port).into()],
        None => Vec::new(),
    };
    let allowed = found.iter().filter(|found| private || address::is_public(found.ip()));
    let mut problem = "the name leads to this machine or to a private network".to_owned();
    for address in allowed {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => problem = format!("no connection to {address}: {error}"),
        }
    }
    Err(problem)
}

async fn send(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, call: Call) -> Result<StatusCode, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = request(call)?;
    let answer = async move {
        let answer = sender.send_request(request).await;
        answer.map(|answer| answer.status())
    };
    tokio::pin!(connection);
    tokio::pin!(answer);
    // The connection is driven here and ends here: no task of its own that could outlive the call.
    let answer = tokio::select! {
        answer = &mut answer => answer,
        _ = &mut connection => answer.await,
    };
    answer.map_err(|error| format!("the connection broke: {error}"))
}

fn request(call: Call) -> Result<Request<Full<Bytes>>, String> {
    let url = &call.url;
    let target = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(target)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(call.body)))
        .map_err(|error| error.to_string())?;
    request.headers_mut().extend(call.headers);
    Ok(request)
}

/// Trusts whom the machine trusts; read once.
fn tls() -> Result<Arc<ClientConfig>, String> {
    static CONFIG: OnceLock<Arc<ClientConfig>> = OnceLock::new();
    if let Some(config) = CONFIG.get() {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err("this machine has no certificate authorities; install ca-certificates".to_owned());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(CONFIG.get_or_init(|| Arc::new(config)).clone())
}
