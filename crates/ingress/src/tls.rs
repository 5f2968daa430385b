//! TLS: which certificate a client gets, the handshake, and what a host says about TLS before any
//! of its routes.
//!
//! Certificates come from control as one set, apart from the routes. A set is compiled into an
//! immutable table; each key is parsed once, in however many sets it comes, and shared by all the
//! names that it is for. Connections that are open when a set comes go on.
//!
//! A client that names a host without a certificate is refused in the handshake
//! (`unrecognized_name`): showing it another host's certificate would only make it warn of an
//! attack that there is none of.

mod certificates;
mod handshake;
mod policy;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{Method, Request, Response};
use hyper::body::Incoming;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::{self, Ticketer};
use tokio_rustls::rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};
use weir_model::certificate::CertificateSet;

use crate::body::AnswerBody;
use crate::headers;
use crate::node::Worker;

use certificates::Certificates;
pub(crate) use handshake::{Handshakes, Opened, handshake};
pub(crate) use policy::HostPolicy;

/// Protocols that are spoken inside TLS, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [HTTP2, b"http/1.1"];
const HTTP2: &[u8] = b"h2";
/// Where authorities look for the answers to their questions (RFC 8555, 8.3).
const CHALLENGE_PATH: &str = "/.well-known/acme-challenge/";

/// What a connection's handshake has agreed on.
#[derive(Debug)]
pub(crate) struct Session {
    /// The host that the client named, lower case.
    pub(crate) server_name: Option<Box<str>>,
    /// Whether HTTP/2 was agreed on; otherwise it is HTTP/1.1.
    pub(crate) is_http2: bool,
    /// `TLSv1.2` or `TLSv1.3`, for the access log.
    pub(crate) version: &'static str,
}

/// The ports of the ingress, as people reach it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) http: u16,
    /// None where it speaks no TLS.
    pub(crate) https: Option<u16>,
}

/// What all workers share.
#[derive(Debug)]
pub(crate) struct Tls {
    ports: Ports,
    certificates: Arc<ArcSwap<Certificates>>,
    applied: AtomicU64,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// Without certificates yet.
    ///
    /// # Errors
    /// The system gives no random numbers for the keys of tickets.
    pub(crate) fn new(ports: Ports) -> Result<Self, rustls::Error> {
        let certificates = Arc::new(ArcSwap::from_pointee(Certificates::default()));
        let resolver = Resolver(Arc::clone(&certificates));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
        // What is needed to resume a session is with the client, sealed with keys that change every
        // few hours: any worker can resume it, and nothing has to be kept.
        config.ticketer = Ticketer::new()?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self {
            ports,
            certificates,
            applied: AtomicU64::new(0),
            config: Arc::new(config),
        })
    }

    /// Serves by this set from now on.
    pub(crate) fn apply(&self, set: &CertificateSet) {
        let compiled = Certificates::compile(set, &self.certificates.load());
        let names = compiled.names();
        self.certificates.store(Arc::new(compiled));
        self.applied.store(set.version, Ordering::SeqCst);
        let (version, challenges) = (set.version, set.challenges.len());
        tracing::debug!(version, names, challenges, "serving by new certificates");
    }

    /// The version of the set by which it serves.
    pub(crate) fn applied(&self) -> u64 {
        self.applied.load(Ordering::SeqCst)
    }

    /// Whether clients can reach the host by TLS.
    fn serves(&self, host: &str) -> bool {
        self.ports.https.is_some() && self.certificates.load().of(Some(host)).is_some()
    }

    /// Whether a request for the host may come over the session. Not, where the host has a
    /// certificate of its own that this client has not seen.
    pub(crate) fn may_carry(&self, session: &Session, host: &str) -> bool {
        let named = session.server_name.as_deref();
        if named == Some(host) {
            return true;
        }
        let certificates = self.certificates.load();
        let Some(own) = certificates.of(Some(host)) else {
            return true;
        };
        certificates.of(named).is_some_and(|shown| Arc::ptr_eq(shown, own))
    }
}

/// The answer to the question of an authority, if it is one and open.
pub(crate) fn answer_challenge(worker: &Worker, request: &Request<Incoming>) -> Option<Response<AnswerBody>> {
    let token = request.uri().path().strip_prefix(CHALLENGE_PATH)?;
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return None;
    }
    let host = headers::requested_host(request.uri(), request.headers(), request.version()).ok()?;
    let certificates = worker.shared.tls.certificates.load();
    let answer = certificates.http_answer(&host.name, token)?.to_owned();
    let mut answer = Response::new(AnswerBody::Page(Bytes::from(answer)));
    let kind = HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    let uncached = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(header::CACHE_CONTROL, uncached);
    Some(answer)
}

/// What encrypts. Named here instead of once for the process, which others share.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Shows the certificate of the host that the client names.
#[derive(Debug)]
struct Resolver(Arc<ArcSwap<Certificates>>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = handshake::named_host(&hello);
        self.0.load().of(name.as_deref()).cloned()
    }
}
