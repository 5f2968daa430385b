//! Host names and their certificates.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `POST …/domains`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddDomain {
    /// The host name.
    pub host: String,
    /// The app that answers; absent: the environment's main app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
}

/// `PUT …/domains`: all or none. What is absent stays as it is, or is as usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutDomains {
    /// The host names; those that the environment has already are fine.
    pub hosts: Vec<String>,
    /// The app that answers; usually the environment's main app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Another host that everybody is sent to; empty: none any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<String>,
    /// The TCP service that they lead to, by TLS at the https port; `""`: they answer HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// Whether requests without TLS are sent to the same address with it; usually they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https_redirect: Option<bool>,
    /// For so many seconds browsers are to come only with TLS (HSTS); usually 0, which says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hsts_s: Option<u32>,
}

/// What became of `PUT …/domains`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainsPut {
    /// The host names that the environment did not have before.
    pub added: Vec<String>,
    /// All that were given.
    pub domains: Vec<Domain>,
}

/// A host name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Domain {
    /// The host name.
    pub host: String,
    /// Complete address.
    pub url: String,
    /// The app that answers; absent: the main app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<String>,
    /// Given by Weir itself.
    pub platform: bool,
    /// Another host that everybody is sent to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_to: Option<String>,
    /// The TCP service that it leads to, by TLS at the https port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<String>,
    /// Whether requests without TLS are sent to the same address with it, once there is a
    /// certificate.
    #[serde(default)]
    pub https_redirect: bool,
    /// For so many seconds browsers are to come only with TLS (HSTS); 0 says nothing.
    #[serde(default)]
    pub hsts_s: u32,
    /// How it stands with its certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<DomainCertificate>,
}

/// How a host name stands with its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DomainCertificate {
    /// `valid`, `issuing`, `waiting`, `limited`, `failing`, or `none` where it gets none.
    pub state: String,
    /// What that means, and what is wrong.
    pub detail: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// When the one in force ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends: Option<String>,
    /// When Weir looks at it next by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A certificate that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Certificate {
    /// Identity.
    pub id: String,
    /// `authority` or `uploaded`.
    pub origin: String,
    /// Host names; `*.example.org` covers one label.
    pub names: Vec<String>,
    /// When it begins.
    pub begins: String,
    /// When it ends.
    pub ends: String,
    /// It has ended.
    pub ended: bool,
    /// After an upload: the host names that were added and that it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub serves: Vec<String>,
}

/// `POST /v1/certificates`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UploadCertificate {
    /// The chain in PEM, the host's own certificate first.
    pub chain: String,
    /// The private key in PEM, not encrypted. Never shown again.
    pub key: String,
}

impl std::fmt::Debug for UploadCertificate {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UploadCertificate").finish_non_exhaustive()
    }
}

/// The authority that certificates are from, and the zone in which records are made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CertificateAuthority {
    /// URL of its directory (RFC 8555); absent: no authority is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Where it writes to, if something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// When its terms were agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreed: Option<String>,
    /// It is one of somebody's own: its site is vouched for by a root of its own.
    pub private: bool,
    /// Addresses under which the world reaches this Weir.
    pub addresses: Vec<String>,
    /// Looks names up, instead of the machine's own resolver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
    /// The port that it asks at by HTTP.
    pub http_port: u16,
    /// The port that it asks at by TLS.
    pub tls_port: u16,
    /// How records are made in DNS, for a wildcard of Weir's own names: `hook`, `zone`, or `none`.
    pub records: String,
    /// The zone in which they are made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
}

/// `PUT /v1/certificate-authority`. What is absent is as usual.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCertificateAuthority {
    /// Its terms are agreed to; without that no authority issues anything.
    #[serde(default)]
    pub agree_terms: bool,
    /// URL of its directory (RFC 8555); usually that of Let's Encrypt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
    /// Mail address to which it writes if something is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// Who vouches for its site, in PEM; only for an authority of one's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Addresses under which the world reaches this Weir. A name that leads nowhere else is not
    /// looked at any closer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
    /// Name server that looks names up, instead of the machine's own resolver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolver: Option<String>,
    /// The port that it asks at by HTTP; only for an authority of one's own, others take 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_port: Option<u16>,
    /// The port that it asks at by TLS; only for an authority of one's own, others take 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_port: Option<u16>,
}

/// `PUT /v1/certificate-dns`: a zone in which Weir makes records by signed updates (RFC 2136).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCertificateDns {
    /// Address of the name server that takes updates: `192.0.2.53`, `192.0.2.53:5353`.
    pub server: String,
    /// What it is the master of: `example.org`.
    pub zone: String,
    /// Name of the key.
    pub key_name: String,
    /// The key in base64. Never shown again.
    pub key: String,
    /// `hmac-sha256`, `hmac-sha384` or `hmac-sha512`; usually the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<String>,
    /// Seconds until the zone's other servers know a record, too; usually 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_s: Option<u32>,
}

impl std::fmt::Debug for SetCertificateDns {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SetCertificateDns")
            .field("server", &self.server)
            .field("zone", &self.zone)
            .finish_non_exhaustive()
    }
}
