//! Calls to the systems of others. The name is looked up here and the connection goes to the
//! address that was looked at, so that a name that changes in between leads nowhere else.
//! Redirects are not followed, and no proxy is asked.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore, crypto};
use url::{Host, Url};

use super::address;

/// Longest wait for all of it.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Largest answer that is read.
const ANSWER_BYTES: usize = 64 << 10;
/// So long may it go on behind its head; what the head says counts anyway.
const BODY_TIMEOUT: Duration = Duration::from_secs(3);

/// A call to somebody else's system.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: Method,
    /// As [`address::check_url`] takes it.
    pub(super) url: Url,
    /// It may lead to the machine itself and to private networks.
    pub(super) private: bool,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// Whose certificates are believed; or why none can be checked, which only calls by TLS mind.
#[derive(Debug, Clone)]
pub(super) struct Trust(Result<Arc<ClientConfig>, String>);

impl Trust {
    /// The authorities of a bundle in PEM, or where there is none those of the machine.
    pub(super) fn load(bundle: Option<&Path>) -> Self {
        Self(configuration(bundle).inspect_err(|error| tracing::error!("nothing can be sent by TLS: {error}")))
    }
}

/// The authorities of a bundle in PEM, or where there is none those of the machine. Fails with words.
pub(crate) fn trusted_roots(bundle: Option<&Path>) -> Result<RootCertStore, String> {
    let certificates = match bundle {
        Some(path) => CertificateDer::pem_file_iter(path)
            .map_err(|error| format!("cannot read certificate authorities from {}: {error}", path.display()))?
            .filter_map(Result::ok)
            .collect(),
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates);
    if roots.is_empty() {
        return Err("this machine has no certificate authorities; install ca-certificates".to_owned());
    }
    Ok(roots)
}

fn configuration(bundle: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let roots = trusted_roots(bundle)?;
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// What came of it in time, of what is read at all.
    pub(super) body: Bytes,
}

/// Sends JSON. Fails with words that the one who gave the URL may see.
pub(super) async fn ask(call: Call, trust: &Trust) -> Result<Answer, String> {
    match tokio::time::timeout(TIMEOUT, exchange(call, trust)).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn exchange(call: Call, trust: &Trust) -> Result<Answer, String> {
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
    let host = name.to_str().into_owned();
    let stream = TlsConnector::from(trust.0.clone()?).connect(name, stream).await;
    send(stream.map_err(|error| not_secure(&host, &error))?, call).await
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

async fn send(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, call: Call) -> Result<Answer, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let request = request(call)?;
    let answer = async move {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let body = beginning_of(answer.into_body()).await;
        Ok::<_, hyper::Error>(Answer { status, body })
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

async fn beginning_of(body: hyper::body::Incoming) -> Bytes {
    let mut body = Limited::new(body, ANSWER_BYTES);
    let mut read = BytesMut::new();
    let reading = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Some(data) = frame.data_ref() {
                read.extend_from_slice(data);
            }
        }
    };
    let _ = tokio::time::timeout(BODY_TIMEOUT, reading).await;
    read.freeze()
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
        .method(call.method)
        .uri(target)
        .header(header::HOST, host)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, concat!("weir/", env!("CARGO_PKG_VERSION")))
        .body(Full::new(Bytes::from(call.body)))
        .map_err(|error| error.to_string())?;
    request.headers_mut().extend(call.headers);
    Ok(request)
}

/// Why there is no secure connection, in words that say whose fault it is.
fn not_secure(host: &str, error: &std::io::Error) -> String {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(cause)) => {
            let why = match cause {
                CertificateError::UnknownIssuer => "no authority that this machine trusts has issued it".to_owned(),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    format!("it is not for {host}")
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".to_owned(),
                other => other.to_string(),
            };
            format!("the certificate of {host} is refused: {why}; nothing was sent")
        }
        _ => format!("no secure connection to {host}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_and_its_addresses_looked_at_before_anybody_is_called() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let url = Url::parse(&format!("https://localhost:{port}/")).unwrap();
        let refused = connect(&url, false).await.unwrap_err();
        assert!(
            refused.contains("leads to this machine or to a private network"),
            "{refused}"
        );
        assert!(connect(&url, true).await.is_ok());
        let (_, from) = listener.accept().await.unwrap();
        assert!(from.ip().is_loopback());
        let second = tokio::time::timeout(Duration::from_millis(100), listener.accept()).await;
        assert!(second.is_err(), "only the allowed call has connected");
    }
}
