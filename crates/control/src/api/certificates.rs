//! Certificates: the authority that they are from, and those that people bring.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use weir_api::{Certificate, CertificateAuthority, SetCertificateAuthority, SetCertificateDns, UploadCertificate};

use super::Api;
use super::error::ApiError;
use super::extract::{JsonBody, PathOf};
use super::present::instant;
use crate::certificates;
use crate::context::Context;

/// All certificates, without their keys.
#[utoipa::path(get, path = "/v1/certificates", tag = "certificates", responses((status = 200, body = Vec<Certificate>)))]
pub(super) async fn list_certificates(State(api): State<Api>) -> Result<Json<Vec<Certificate>>, ApiError> {
    certificates::list(&api.context).await.map(Json)
}

/// Takes a certificate of one's own. The key fits, the chain is in order and nothing has ended, or
/// it is refused.
#[utoipa::path(post, path = "/v1/certificates", tag = "certificates", request_body = UploadCertificate, responses((status = 201, body = Certificate)))]
pub(super) async fn upload_certificate(
    State(api): State<Api>,
    JsonBody(request): JsonBody<UploadCertificate>,
) -> Result<(StatusCode, Json<Certificate>), ApiError> {
    let certificate = certificates::upload(&api.context, &request).await?;
    Ok((StatusCode::CREATED, Json(certificate)))
}

/// Removes a certificate. Host names that need one get another from the authority.
#[utoipa::path(delete, path = "/v1/certificates/{certificate}", tag = "certificates", params(("certificate" = String, Path, description = "Identity")), responses((status = 204, description = "It is gone")))]
pub(super) async fn delete_certificate(
    State(api): State<Api>,
    PathOf(id): PathOf<String>,
) -> Result<StatusCode, ApiError> {
    certificates::remove(&api.context, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The authority that certificates are from.
#[utoipa::path(get, path = "/v1/certificate-authority", tag = "certificates", responses((status = 200, body = CertificateAuthority)))]
pub(super) async fn get_authority(State(api): State<Api>) -> Result<Json<CertificateAuthority>, ApiError> {
    shown(&api.context).await.map(Json)
}

/// Gets certificates from an authority from now on, whose terms are agreed to.
#[utoipa::path(put, path = "/v1/certificate-authority", tag = "certificates", request_body = SetCertificateAuthority, responses((status = 200, body = CertificateAuthority)))]
pub(super) async fn set_authority(
    State(api): State<Api>,
    JsonBody(request): JsonBody<SetCertificateAuthority>,
) -> Result<Json<CertificateAuthority>, ApiError> {
    certificates::set_authority(&api.context, &request).await?;
    shown(&api.context).await.map(Json)
}

/// Asks no authority any more. Certificates that are there go on until they end.
#[utoipa::path(delete, path = "/v1/certificate-authority", tag = "certificates", responses((status = 204)))]
pub(super) async fn unset_authority(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    certificates::unset_authority(&api.context).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Makes records in a zone from now on, so that Weir's own names get one wildcard.
#[utoipa::path(put, path = "/v1/certificate-dns", tag = "certificates", request_body = SetCertificateDns, responses((status = 200, body = CertificateAuthority)))]
pub(super) async fn set_dns(
    State(api): State<Api>,
    JsonBody(request): JsonBody<SetCertificateDns>,
) -> Result<Json<CertificateAuthority>, ApiError> {
    certificates::set_dns(&api.context, &request).await?;
    shown(&api.context).await.map(Json)
}

/// Makes no records any more.
#[utoipa::path(delete, path = "/v1/certificate-dns", tag = "certificates", responses((status = 204)))]
pub(super) async fn unset_dns(State(api): State<Api>) -> Result<StatusCode, ApiError> {
    certificates::unset_dns(&api.context).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn shown(context: &Context) -> Result<CertificateAuthority, ApiError> {
    let authority = certificates::authority(&context.store).await?;
    let zone = certificates::dns_zone(&context.store).await?;
    let records = match (&zone, &context.config.dns_hook) {
        (Some(_), _) => "zone",
        (None, Some(_)) => "hook",
        (None, None) => "none",
    };
    let authority = authority.as_ref();
    Ok(CertificateAuthority {
        directory: authority.map(|authority| authority.directory.clone()),
        contact: authority.and_then(|authority| authority.contact.clone()),
        agreed: authority.map(|authority| instant(authority.agreed_ms)),
        private: authority.is_some_and(certificates::Authority::is_private),
        addresses: authority
            .iter()
            .flat_map(|authority| &authority.addresses)
            .map(ToString::to_string)
            .collect(),
        resolver: authority
            .and_then(|authority| authority.resolver)
            .map(|address| address.to_string()),
        http_port: authority.map_or(80, |authority| authority.http_port),
        tls_port: authority.map_or(443, |authority| authority.tls_port),
        records: records.to_owned(),
        zone: zone.map(|zone| zone.zone),
    })
}
