//! Uploads into volumes: a file of any size, or a tar that is unpacked. They go on where they broke
//! off, and appear in the volume when they are whole.

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use weir_api::{CreateFileUpload, Upload};
use weir_engine::files::{FileError, TreePath};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody, PathOf};
use super::uploads::{named, offset_of, present, refusal};
use super::volumes::{Files, VolumePath};
use crate::audit::Notes;
use crate::uploads::{self, Purpose, Record, UploadError};

/// An upload of a volume, in a path.
#[derive(Debug, Deserialize)]
pub(super) struct FileUploadPath {
    volume: String,
    upload: String,
}

/// Begins an upload of a file, or of a tar that is unpacked into a folder.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads", tag = "volumes",
    params(("volume" = String, Path, description = "The volume")), request_body = CreateFileUpload, responses((status = 201, body = Upload)))]
pub(super) async fn create_file_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateFileUpload>,
) -> Result<Response, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &request.path)?;
    let (volume, encoded, replace) = (files.volume.name.clone(), path.encoded(), request.replace);
    let purpose = match request.kind.as_str() {
        "file" => {
            // Said before everything is sent, and looked at again when it is there.
            ensure_free(&files, path, replace).await?;
            Purpose::File {
                volume,
                path: encoded,
                replace,
            }
        }
        "tree" => Purpose::Tree {
            volume,
            path: encoded,
            replace,
        },
        _ => return Err(ApiError::invalid("`kind` is `file` or `tree`")),
    };
    let record = Record {
        size: request.size,
        name: named(&request.name),
        purpose,
        begun: false,
        failed: false,
        done: None,
    };
    let mut upload = uploads::create(&api.context, at.environment.id, record).await?;
    // An empty file has no parts.
    files.complete(&mut upload).await?;
    Ok((StatusCode::CREATED, Json(present(&upload)?)).into_response())
}

/// How much of an upload is there. One that is whole and has no place yet gets it now; 503 `upload-busy`
/// while it is given to it.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("upload" = String, Path, description = "The upload")), responses((status = 200, body = Upload)))]
pub(super) async fn get_file_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<FileUploadPath>,
) -> Result<Json<Upload>, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let mut upload = find(&api, &at, &files, &place.upload).await?;
    files.complete(&mut upload).await?;
    present(&upload).map(Json)
}

/// Adds a part. With the last one the file gets its place, or the tar is unpacked.
#[utoipa::path(patch, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("upload" = String, Path, description = "The upload"),
        ("Upload-Offset" = u64, Header, description = "Bytes before this part; if there are not as many, 409 `upload-offset` says in the same header how many there are")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "16 MiB at most"), responses((status = 200, body = Upload)))]
pub(super) async fn append_file_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<FileUploadPath>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let mut upload = find(&api, &at, &files, &place.upload).await?;
    if upload.record.done.is_none() {
        match upload.append(&api.context, offset_of(&headers)?, body).await {
            // The lock goes with it, and is taken again by what completes it.
            Ok(writing) => drop(writing),
            Err(error) => return Ok(refusal(error)),
        }
        files.complete(&mut upload).await?;
    }
    Ok(Json(present(&upload)?).into_response())
}

/// Forgets an upload. What is in the volume stays.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/uploads/{upload}", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("upload" = String, Path, description = "The upload")), responses((status = 204)))]
pub(super) async fn delete_file_upload(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<FileUploadPath>,
) -> Result<StatusCode, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let upload = find(&api, &at, &files, &place.upload).await?;
    upload.remove().map_err(UploadError::from)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn find(api: &Api, at: &InEnvironment, files: &Files<'_>, id: &str) -> Result<uploads::Upload, ApiError> {
    let upload = uploads::find(&api.context, at.environment.id, id).await?;
    match &upload.record.purpose {
        Purpose::File { volume, .. } | Purpose::Tree { volume, .. } if *volume == files.volume.name => Ok(upload),
        _ => Err(UploadError::NotFound.into()),
    }
}

async fn ensure_free(files: &Files<'_>, path: TreePath, replace: bool) -> Result<(), ApiError> {
    let looked = path.clone();
    let found = files.run(move |tree| match tree.look(&looked) {
        Ok(facts) => Ok(Some(facts.kind)),
        // The folder that it comes into has to be there.
        Err(FileError::NotFound(_)) => match looked.split() {
            Some((above, _)) => tree.look(&above).map(|_| None),
            None => Ok(None),
        },
        Err(error) => Err(error),
    });
    match found.await? {
        Some(weir_engine::files::FileKind::Folder) => Err(FileError::NotAFile(path.shown()).into()),
        Some(_) if !replace => Err(FileError::Exists(path.shown()).into()),
        _ => Ok(()),
    }
}
