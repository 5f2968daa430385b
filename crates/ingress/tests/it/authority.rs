//! An authority that issues certificates, and clients that believe it.

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use weir_model::certificate::{Certificate, CertificateSet};

use crate::support::*;

/// Who issues certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, "Authority of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its own certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Certificate {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names.clone()).unwrap();
        let certificate = certificate.signed_by(&key, &self.0).unwrap();
        Certificate {
            names,
            chain_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            not_after_ms: 0,
        }
    }

    /// A set with one certificate for each list of names.
    pub(crate) fn set(&self, certificates: &[&[&str]]) -> CertificateSet {
        CertificateSet {
            certificates: certificates.iter().map(|names| self.issue(names)).collect(),
            ..CertificateSet::default()
        }
    }

    /// A client that believes this authority, and checks names.
    pub(crate) fn client(&self) -> TlsClient {
        self.client_with(&[&version::TLS12, &version::TLS13], &[b"h2", b"http/1.1"])
    }

    /// The same, for HTTP/1.1 only.
    pub(crate) fn http1_client(&self) -> TlsClient {
        self.client_with(&[&version::TLS13], &[b"http/1.1"])
    }

    pub(crate) fn client_with(&self, versions: &[&'static SupportedProtocolVersion], protocols: &[&[u8]]) -> TlsClient {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        TlsClient(Arc::new(config))
    }
}

/// A client; it resumes its sessions where it can.
#[derive(Clone)]
pub(crate) struct TlsClient(pub(crate) Arc<ClientConfig>);

impl TlsClient {
    /// A connection to the host, whose certificate is right.
    pub(crate) async fn connect(&self, address: SocketAddr, host: &str) -> TlsStream<TcpStream> {
        self.try_connect(address, host).await.unwrap()
    }

    pub(crate) async fn try_connect(&self, address: SocketAddr, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        self.over(TcpStream::connect(address).await?, host).await
    }

    /// Over a connection on which something was said already.
    pub(crate) async fn over(&self, stream: TcpStream, host: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).unwrap();
        let connecting = TlsConnector::from(Arc::clone(&self.0)).connect(name, stream);
        within(10, "the handshake", connecting).await
    }

    /// A connection over which HTTP/1.1 is spoken.
    pub(crate) async fn http1(&self, address: SocketAddr, host: &str) -> Client {
        Client::over(self.connect(address, host).await).await
    }
}

/// The certificate that the server showed.
pub(crate) fn shown(stream: &TlsStream<TcpStream>) -> Vec<u8> {
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

/// A node that speaks TLS, too.
pub(crate) async fn tls_node() -> TestNode {
    TestNode::start_with(with_tls).await
}

pub(crate) fn with_tls(config: &mut weir_ingress::NodeConfig) {
    config.https = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
}

impl TestNode {
    /// Where it speaks TLS.
    pub(crate) fn tls(&self) -> SocketAddr {
        self.https.unwrap()
    }
}
