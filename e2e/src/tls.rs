//! TLS for tests and benchmarks: a certificate that nobody but its maker trusts, and a client that
//! trusts nothing else.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A certificate that is signed by its own key, and that key.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate in PEM.
    pub chain_pem: String,
    /// Its key in PEM.
    pub key_pem: String,
}

impl Certificate {
    /// Makes one for these names.
    pub fn make(names: &[&str]) -> Result<Self> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).context("make a certificate")?;
        Ok(Self {
            chain_pem: made.cert.pem(),
            key_pem: made.signing_key.serialize_pem(),
        })
    }
}

/// A host that is reached by TLS, and the certificate that it must show.
#[derive(Clone)]
pub struct Tls {
    /// Where it is reached.
    pub address: SocketAddr,
    /// Its name, without port.
    pub host: String,
    roots: Arc<RootCertStore>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls")
            .field("address", &self.address)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

impl Tls {
    /// Trusts this certificate alone.
    pub fn new(address: SocketAddr, host: &str, certificate: &Certificate) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(certificate.chain_pem.as_bytes())?)?;
        Ok(Self {
            address,
            host: host.to_owned(),
            roots: Arc::new(roots),
        })
    }

    /// Fails unless it is there and shows its certificate.
    pub async fn is_reached(&self) -> Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        self.handshake(stream, "http/1.1").await?;
        Ok(())
    }

    /// A whole handshake, for one protocol (`h2` or `http/1.1`).
    pub async fn handshake(&self, stream: TcpStream, protocol: &str) -> Result<TlsStream<TcpStream>> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?;
        let mut config = builder
            .with_root_certificates(Arc::clone(&self.roots))
            .with_no_client_auth();
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(self.host.clone())?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        Ok(stream)
    }
}
