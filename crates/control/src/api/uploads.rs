//! Deploying by an upload that goes on where it broke off.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use weir_api::{Accepted, CreateUpload, DeployUpload, Upload};
use weir_model::files::{ProjectFile, WEIR_TOML_BYTES};
use weir_model::project::Environment;

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody, PathOf};
use super::present::instant;
use super::source::{self, Delivery, ensure_deployable, wanted_canary};
use crate::context::Context;
use crate::uploads::{self, Purpose, Record, UploadError};
use crate::{canary, projects};

/// Largest source, in bytes, compressed or not.
pub(super) const SOURCE_BYTES: u64 = 2 << 30;
/// Where a part begins; in answers, how much is there.
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
const NAME_CHARACTERS: usize = 200;

/// Begins an upload of a source: a tar, plain or gzip, or a zip.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/uploads", tag = "uploads",
    request_body = CreateUpload, responses((status = 201, body = Upload)))]
pub(super) async fn create_upload(
    State(api): State<Api>,
    at: InEnvironment,
    JsonBody(request): JsonBody<CreateUpload>,
) -> Result<Response, ApiError> {
    projects::ensure_alive(&at.project, Some(&at.environment))?;
    if request.size == 0 || request.size > SOURCE_BYTES {
        return Err(too_large(request.size));
    }
    let record = Record {
        size: request.size,
        name: named(&request.name),
        purpose: Purpose::Source,
        begun: false,
        failed: false,
        done: None,
    };
    let upload = uploads::create(&api.context, at.environment.id, record).await?;
    Ok((StatusCode::CREATED, Json(present(&upload)?)).into_response())
}

/// How much of an upload is there.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/uploads/{upload}", tag = "uploads",
    params(("upload" = String, Path, description = "The upload")), responses((status = 200, body = Upload)))]
pub(super) async fn get_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(path): PathOf<UploadPath>,
) -> Result<Json<Upload>, ApiError> {
    let upload = source_of(&api.context, &at.environment, &path.upload).await?;
    present(&upload).map(Json)
}

/// Adds a part, which begins where the one before it ended. What came of one that broke off counts.
#[utoipa::path(patch, path = "/v1/projects/{project}/environments/{environment}/uploads/{upload}", tag = "uploads",
    params(("upload" = String, Path, description = "The upload"), ("Upload-Offset" = u64, Header, description = "Bytes before this part; if there are not as many, 409 `upload-offset` says in the same header how many there are")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "16 MiB at most"), responses((status = 200, body = Upload)))]
pub(super) async fn append_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(path): PathOf<UploadPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let upload = source_of(&api.context, &at.environment, &path.upload).await?;
    match upload.append(&api.context, offset_of(&headers)?, body).await {
        Ok(_writing) => Ok(Json(present(&upload)?).into_response()),
        Err(error) => Ok(refusal(error)),
    }
}

/// Forgets an upload.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/uploads/{upload}", tag = "uploads",
    params(("upload" = String, Path, description = "The upload")), responses((status = 204)))]
pub(super) async fn delete_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(path): PathOf<UploadPath>,
) -> Result<StatusCode, ApiError> {
    let upload = source_of(&api.context, &at.environment, &path.upload).await?;
    upload.remove().map_err(UploadError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Builds and deploys an upload that is whole. It stays for its day, so that it can be deployed again.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/uploads/{upload}/deployment", tag = "uploads",
    params(("upload" = String, Path, description = "The upload")), request_body = DeployUpload, responses((status = 202, body = Accepted)))]
pub(super) async fn deploy_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(path): PathOf<UploadPath>,
    JsonBody(request): JsonBody<DeployUpload>,
) -> Result<Response, ApiError> {
    ensure_deployable(&at)?;
    check_toml(request.toml.as_deref())?;
    let wanted = wanted_canary(request.canary.as_deref(), request.canary_header.as_deref())?;
    if wanted.is_some() {
        canary::ensure_possible(&api.context, &at.environment, None).await?;
    }
    let mut upload = source_of(&api.context, &at.environment, &path.upload).await?;
    ensure_whole(&upload)?;
    let archive = source::link_into_spool(&api.context, &upload.part()).await?;
    upload.finish(Vec::new()).map_err(UploadError::from)?;
    let delivery = Delivery {
        message: request.message.unwrap_or_else(|| upload.record.name.clone()),
        canary: wanted,
        archive,
        toml: request.toml,
    };
    Ok(source::deploy(api.context.clone(), at, delivery).await)
}

/// The upload in a path.
#[derive(Debug, serde::Deserialize)]
pub(super) struct UploadPath {
    pub(super) upload: String,
}

fn check_toml(toml: Option<&str>) -> Result<(), ApiError> {
    let Some(toml) = toml else { return Ok(()) };
    if toml.len() > WEIR_TOML_BYTES {
        return Err(ApiError::invalid(format!(
            "weir.toml is longer than {WEIR_TOML_BYTES} bytes"
        )));
    }
    ProjectFile::parse(toml).map(drop).map_err(|problems| {
        ApiError::invalid("weir.toml is not right")
            .with_detail(problems.to_string())
            .with_hint("every key is described in docs/reference/weir-toml.md")
    })
}

/// An upload that is to be a source. One for a volume is none here.
pub(super) async fn source_of(
    context: &Context,
    environment: &Environment,
    id: &str,
) -> Result<uploads::Upload, ApiError> {
    let upload = uploads::find(context, environment.id, id).await?;
    match upload.record.purpose {
        Purpose::Source => Ok(upload),
        _ => Err(UploadError::NotFound.into()),
    }
}

pub(super) fn ensure_whole(upload: &uploads::Upload) -> Result<(), ApiError> {
    let (size, received) = (upload.record.size, upload.received().map_err(UploadError::from)?);
    if received == size {
        return Ok(());
    }
    Err(ApiError::conflict(
        "upload-incomplete",
        format!("{received} of {size} bytes of the upload are there"),
    )
    .with_hint("send the rest, beginning there"))
}

/// The offset of a part.
pub(super) fn offset_of(headers: &HeaderMap) -> Result<u64, ApiError> {
    let value = headers.get(OFFSET).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).ok_or_else(|| {
        ApiError::invalid("the header Upload-Offset is missing, or no number")
            .with_hint("it says how many bytes come before this part: what `received` was in the last answer")
    })
}

pub(super) fn named(name: &str) -> String {
    let plain: String = name.chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS).collect();
    match plain.trim() {
        "" => "upload".to_owned(),
        plain => plain.to_owned(),
    }
}

/// An upload as the API tells it.
pub(super) fn present(upload: &uploads::Upload) -> Result<Upload, ApiError> {
    Ok(Upload {
        id: upload.id.clone(),
        size: upload.record.size,
        received: upload.received().map_err(UploadError::from)?,
        expires: instant(upload.expires_ms()),
        left_out: upload.record.done.clone().unwrap_or_default(),
    })
}

/// The answer to a part that was not taken; it says how much is there.
pub(super) fn refusal(error: UploadError) -> Response {
    let received = match &error {
        UploadError::Offset { received } => Some(*received),
        _ => None,
    };
    let mut response = ApiError::from(error).into_response();
    if let Some(received) = received {
        response.headers_mut().insert(OFFSET, HeaderValue::from(received));
    }
    response
}

fn too_large(size: u64) -> ApiError {
    if size == 0 {
        return ApiError::invalid("an empty file is no source").with_hint("send a tar, plain or gzip, or a zip");
    }
    ApiError::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "too-large",
        "the source is larger than 2 GiB",
    )
    .with_hint("leave out what is not needed for the build: `weir deploy` honours .gitignore")
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let title = error.to_string();
        match error {
            UploadError::NotFound => Self::not_found("upload-not-found", title)
                .with_hint("uploads are forgotten a day after their last part; begin a new one"),
            UploadError::TooMany(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, "too-many-uploads", title)
                .with_hint("finish or delete one of them; they are forgotten a day after their last part"),
            UploadError::TooLarge(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", title)
                .with_hint("finish or delete others first, or send it in several archives"),
            UploadError::NoRoom => weir_store::StoreError::Full(title).into(),
            UploadError::Offset { received } => Self::conflict(
                "upload-offset",
                format!("the part does not begin where the last one ended: {received} bytes are there"),
            )
            .with_hint("go on from there"),
            UploadError::TooLong => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", title)
                .with_detail("a part has 16 MiB at most, and all of them what was announced")
                .with_hint("ask how much is there, and go on from that"),
            UploadError::Busy => {
                let mut error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "upload-busy", title);
                error.retry_after_s = Some(1);
                error.with_hint("ask in a moment how much is there, and go on from that")
            }
            UploadError::BrokeOff(reason) => Self::new(StatusCode::BAD_REQUEST, "bad-body", "the part broke off")
                .with_detail(reason)
                .with_hint("ask how much is there, and go on from that"),
            UploadError::Disk(error) => match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    weir_store::StoreError::Full(error.to_string()).into()
                }
                _ => Self::internal(title),
            },
        }
    }
}
