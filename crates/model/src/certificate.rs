//! What control gives the nodes for TLS: certificates, and the answers to the questions of the
//! authorities that issue them. It travels apart from the routes, because it is large, secret,
//! and changes seldom.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::UnixMillis;

/// Everything that a node needs to serve TLS. Whole, not a difference.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateSet {
    /// Rises with every change, over restarts of control too.
    pub version: u64,
    /// Each for one or more names. Where several have the same name, the last one serves.
    pub certificates: Vec<Certificate>,
    /// Questions of authorities that are open now.
    pub challenges: Vec<Challenge>,
    /// A host of the platform itself. Clients that name no host get its certificate; without one
    /// they are refused.
    #[serde(default)]
    pub default_host: Option<String>,
}

/// A certificate with its key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Host names, lower case; `*.example.org` covers one label.
    pub names: Vec<String>,
    /// The chain in PEM, the host's own certificate first.
    pub chain_pem: String,
    /// The private key in PEM (PKCS #8). Secret.
    pub key_pem: String,
    /// When it ends.
    pub not_after_ms: UnixMillis,
}

/// How an authority finds out that a host is ours (RFC 8555, section 8; RFC 8737).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The host that it asks about, lower case. Empty: the same answer for every host, by HTTP only;
    /// so control finds out where a name leads before it bothers an authority.
    pub host: String,
    /// The last part of the path under `/.well-known/acme-challenge/`.
    pub token: String,
    /// What it wants to read there; its SHA-256 is what a handshake with `acme-tls/1` shows.
    pub key_authorization: String,
}

/// What happens to requests without TLS, and what those with it are told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpsPolicy {
    /// Requests without TLS are sent to the same address with it, where there is a certificate.
    pub redirect: bool,
    /// For so many seconds browsers are to come only with TLS (RFC 6797); 0 says nothing.
    pub hsts_s: u32,
}

impl fmt::Debug for Certificate {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("names", &self.names)
            .field("not_after_ms", &self.not_after_ms)
            .finish_non_exhaustive()
    }
}
