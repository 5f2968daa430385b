//! Which authority issues certificates, and how it is shown that names are ours.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use url::Url;
use weir_api::{SetCertificateAuthority, SetCertificateDns};
use weir_model::UnixMillis;
use weir_store::Store;

use crate::api::ApiError;
use crate::billing::check_email;
use crate::context::Context;
use crate::hosts::check_host;
use crate::secrets::Secret;

use super::rfc2136::{self, Zone};

const AUTHORITY: &str = "certificates.authority";
const DNS: &str = "certificates.dns";
/// Where the key of a zone belongs, when it is sealed.
const PLACE: &str = "certificates\0dns";
/// Let's Encrypt.
const USUAL_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Largest root certificate that is taken, and most addresses.
const ROOT_BYTES: usize = 64 << 10;
const ADDRESSES: usize = 64;

/// The authority that certificates are from. Its terms were agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// URL of its directory (RFC 8555).
    pub directory: String,
    /// Where it writes to, if something is wrong.
    pub contact: Option<String>,
    /// When its terms were agreed to.
    pub agreed_ms: UnixMillis,
    /// Who vouches for the authority's own site, in PEM; `None`: whom this machine trusts.
    pub root: Option<String>,
    /// Addresses under which the world reaches this Weir.
    pub addresses: Vec<IpAddr>,
    /// Looks names up, instead of this machine's own resolver.
    pub resolver: Option<SocketAddr>,
    /// The port that the authority asks at by HTTP.
    pub http_port: u16,
    /// The port that the authority asks at by TLS.
    pub tls_port: u16,
}

impl Authority {
    /// Whether it is one of somebody's own, which may know names that the world does not.
    pub fn is_private(&self) -> bool {
        self.root.is_some()
    }
}

/// The zone in which records are made to show that names are ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsZone {
    /// The server that takes updates.
    pub server: SocketAddr,
    /// What it is the master of.
    pub zone: String,
    /// Name of the key.
    pub key_name: String,
    /// `hmac-sha256` and the like.
    pub algorithm: String,
    /// So long until other servers of the zone know it too, in seconds.
    pub wait_s: u32,
    /// Sealed.
    key: String,
}

async fn read<T: serde::de::DeserializeOwned>(store: &Store, name: &str) -> Result<Option<T>, ApiError> {
    match store.setting_get(name).await? {
        Some(text) => serde_json::from_str(&text).map_err(ApiError::internal),
        None => Ok(None),
    }
}

async fn write<T: Serialize>(store: &Store, name: &str, value: &Option<T>) -> Result<(), ApiError> {
    let text = serde_json::to_string(value).map_err(ApiError::internal)?;
    Ok(store.setting_set(name, &text).await?)
}

/// The authority, if there is one.
pub async fn authority(store: &Store) -> Result<Option<Authority>, ApiError> {
    read(store, AUTHORITY).await
}

/// Gets certificates from an authority from now on.
pub async fn set_authority(context: &Context, wanted: &SetCertificateAuthority) -> Result<Authority, ApiError> {
    let directory = wanted.directory.clone().unwrap_or_else(|| USUAL_DIRECTORY.to_owned());
    if !wanted.agree_terms {
        return Err(
            ApiError::invalid("an authority issues certificates only to those who agree to its terms")
                .with_detail(format!("its terms are named in {directory}"))
                .with_hint("weir certificate authority --agree-terms"),
        );
    }
    let url = Url::parse(&directory).map_err(|error| ApiError::invalid(format!("that is no URL: {error}")))?;
    if url.scheme() != "https" || url.host().is_none() || !url.username().is_empty() || url.password().is_some() {
        return Err(
            ApiError::invalid("the directory of an authority is at an https:// address")
                .with_hint(format!("for example {USUAL_DIRECTORY}")),
        );
    }
    if let Some(contact) = &wanted.contact {
        check_email(contact).map_err(ApiError::invalid)?;
    }
    if let Some(root) = &wanted.root {
        check_root(root)?;
    }
    let addresses = addresses(&wanted.addresses)?;
    let authority = Authority {
        directory,
        contact: wanted.contact.clone(),
        agreed_ms: context.clock.now_ms(),
        root: wanted.root.clone(),
        addresses,
        resolver: wanted.resolver.as_deref().map(socket_address).transpose()?,
        http_port: wanted.http_port.unwrap_or(80),
        tls_port: wanted.tls_port.unwrap_or(443),
    };
    write(&context.store, AUTHORITY, &Some(&authority)).await?;
    context.certificates.reload();
    Ok(authority)
}

/// Asks no authority any more. What was issued goes on until it ends.
pub async fn unset_authority(context: &Context) -> Result<(), ApiError> {
    write::<Authority>(&context.store, AUTHORITY, &None).await?;
    context.certificates.reload();
    Ok(())
}

fn check_root(root: &str) -> Result<(), ApiError> {
    let certificates = CertificateDer::pem_slice_iter(root.as_bytes()).collect::<Result<Vec<_>, _>>();
    match certificates {
        Ok(certificates) if !certificates.is_empty() && root.len() <= ROOT_BYTES => Ok(()),
        _ => Err(ApiError::invalid("the root is no certificate in PEM")
            .with_hint("give a file that begins with -----BEGIN CERTIFICATE-----")),
    }
}

fn addresses(texts: &[String]) -> Result<Vec<IpAddr>, ApiError> {
    if texts.len() > ADDRESSES {
        return Err(ApiError::invalid(format!("at most {ADDRESSES} addresses can be given")));
    }
    let address = |text: &String| {
        text.parse()
            .map_err(|_| ApiError::invalid(format!("`{text}` is no IP address")))
    };
    texts.iter().map(address).collect()
}

fn socket_address(text: &str) -> Result<SocketAddr, ApiError> {
    let with_port = text.parse::<SocketAddr>();
    let without = || text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53));
    with_port.or_else(|_| without()).map_err(|_| {
        ApiError::invalid(format!("`{text}` is no address of a name server"))
            .with_hint("write an IP address, with a port if it is not 53: 192.0.2.53:5353")
    })
}

/// The zone that records are made in, if there is one.
pub async fn dns(store: &Store) -> Result<Option<DnsZone>, ApiError> {
    read(store, DNS).await
}

/// Makes records in a zone from now on.
pub async fn set_dns(context: &Context, wanted: &SetCertificateDns) -> Result<DnsZone, ApiError> {
    let sealed = context.sealer.seal_text(PLACE, wanted.key.trim())?;
    let dns = DnsZone {
        server: socket_address(&wanted.server)?,
        zone: check_host(&wanted.zone)?,
        key_name: wanted.key_name.clone(),
        algorithm: wanted.algorithm.clone().unwrap_or_else(|| "hmac-sha256".to_owned()),
        wait_s: wanted.wait_s.unwrap_or(30).min(600),
        key: sealed,
    };
    rfc2136::check(&open(context, &dns)?).map_err(ApiError::invalid)?;
    write(&context.store, DNS, &Some(&dns)).await?;
    context.certificates.reload();
    Ok(dns)
}

/// Makes no records any more.
pub async fn unset_dns(context: &Context) -> Result<(), ApiError> {
    write::<DnsZone>(&context.store, DNS, &None).await?;
    context.certificates.reload();
    Ok(())
}

/// With its key.
pub(super) fn open(context: &Context, dns: &DnsZone) -> Result<Zone, ApiError> {
    let key: Secret = context.sealer.open_text(PLACE, &dns.key)?;
    Ok(Zone {
        server: dns.server,
        zone: dns.zone.clone(),
        key_name: dns.key_name.clone(),
        algorithm: dns.algorithm.clone(),
        key,
    })
}
