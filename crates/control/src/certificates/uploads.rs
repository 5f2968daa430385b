//! Certificates that people bring.

use http::StatusCode;
use weir_api::{Certificate, UploadCertificate};
use weir_model::{CertificateId, UnixMillis};
use weir_store::StoredCertificate;

use super::names;
use crate::api::ApiError;
use crate::api::present::instant;
use crate::context::Context;

/// Most certificates that are uploaded.
const MOST: usize = 10_000;

/// All certificates, those that end first at the top.
pub async fn list(context: &Context) -> Result<Vec<Certificate>, ApiError> {
    let mut stored = context.store.certificate_list().await?;
    stored.sort_by_key(|stored| (stored.not_after_ms, stored.id));
    let now_ms = context.clock.now_ms();
    Ok(stored.iter().map(|stored| shown(stored, now_ms, Vec::new())).collect())
}

/// Takes a certificate that somebody brings, in the place of those uploaded before for the same
/// names.
pub async fn upload(context: &Context, wanted: &UploadCertificate) -> Result<Certificate, ApiError> {
    let stored = super::run::uploaded(context, &wanted.chain, &wanted.key).map_err(|words| {
        ApiError::invalid(words).with_hint("the chain begins with the host's own certificate; the authority's follow")
    })?;
    let before = context.store.certificate_list().await?;
    if before.len() >= MOST {
        return Err(ApiError::conflict(
            "too-many-certificates",
            format!("there are {MOST} certificates already"),
        )
        .with_hint("remove some: weir certificate remove ID"));
    }
    let same = |other: &&StoredCertificate| other.origin == stored.origin && other.names == stored.names;
    let replaced: Vec<CertificateId> = before.iter().filter(same).map(|other| other.id).collect();
    context.store.certificate_insert(&stored, &replaced, None).await?;
    context.certificates.reload();
    let covered = |host: &String| stored.names.iter().any(|name| names::covers(name, host));
    let hosts = context.store.domain_list_all().await?;
    let serves = hosts.into_iter().map(|domain| domain.host).filter(covered).collect();
    Ok(shown(&stored, context.clock.now_ms(), serves))
}

/// Removes a certificate. Names that were added get another one from the authority.
pub async fn remove(context: &Context, id: &str) -> Result<(), ApiError> {
    let gone = || {
        ApiError::new(
            StatusCode::NOT_FOUND,
            "certificate-not-found",
            "there is no such certificate",
        )
        .with_hint("list them with `weir certificate`")
    };
    let id: CertificateId = id.parse().map_err(|_| gone())?;
    if !context.store.certificate_delete(id).await? {
        return Err(gone());
    }
    context.certificates.reload();
    Ok(())
}

fn shown(stored: &StoredCertificate, now_ms: UnixMillis, serves: Vec<String>) -> Certificate {
    Certificate {
        id: stored.id.to_string(),
        origin: stored.origin.to_string(),
        names: stored.names.clone(),
        begins: instant(stored.not_before_ms),
        ends: instant(stored.not_after_ms),
        ended: stored.not_after_ms <= now_ms,
        serves,
    }
}
