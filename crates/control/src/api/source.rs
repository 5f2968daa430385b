//! `weir deploy`: a folder without git, as a tar archive.

use std::path::{Path, PathBuf};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::StatusCode;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use weir_api::Accepted;
use weir_model::TaskId;
use weir_model::canary::Canary;
use weir_model::project::EnvironmentMode;
use weir_model::task::{TaskKind, TaskState};

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, QueryOf};
use super::idempotency::{self, Key};
use crate::context::Context;
use crate::{canary, projects, push};

/// Largest upload, in bytes, compressed or not.
const UPLOAD_BYTES: u64 = 2 << 30;
const MESSAGE_CHARACTERS: usize = 200;

/// The query of an upload.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    #[serde(default)]
    message: String,
    canary: Option<String>,
    canary_header: Option<String>,
}

impl UploadQuery {
    fn canary(&self) -> Result<Option<Canary>, ApiError> {
        let wanted = canary::wanted(self.canary.as_deref(), self.canary_header.as_deref());
        wanted.map_err(|message| ApiError::invalid(message).with_hint("for example `weir deploy --canary 5%`"))
    }
}

/// Builds and deploys a source. The body is a tar archive, plain or compressed by gzip.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/source", tag = "deployments",
    params(("message" = Option<String>, Query, description = "One line on what it is"),
        ("canary" = Option<String>, Query, description = "The part of the visitors that gets it first, like 5%; absent: all"),
        ("canary_header" = Option<String>, Query, description = "Requests with this header get it whatever the part is, like X-Canary: yes")),
    request_body(content = Vec<u8>, content_type = "application/x-tar", description = "A tar archive, plain or gzip, of 2 GiB at most"),
    responses((status = 202, body = Accepted)))]
pub(super) async fn upload_source(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<UploadQuery>,
    key: Option<axum::Extension<Key>>,
    body: Body,
) -> Result<Response, ApiError> {
    ensure_deployable(&at)?;
    let canary = query.canary()?;
    if canary.is_some() {
        // Before minutes of sending and building.
        canary::ensure_possible(&api.context, &at.environment, None).await?;
    }
    let (spool, hash) = receive(&api.context, body).await?;
    let context = api.context.clone();
    let Some(axum::Extension(key)) = key else {
        return Ok(deploy(context, at, query, canary, spool).await);
    };
    let place = at.environment.id.to_string();
    let fingerprint = api.context.sealer.fingerprint(&[
        b"source",
        place.as_bytes(),
        query.message.as_bytes(),
        query.canary.as_deref().unwrap_or_default().as_bytes(),
        query.canary_header.as_deref().unwrap_or_default().as_bytes(),
        &hash,
    ]);
    let deployed = deploy(context, at, query, canary, spool);
    idempotency::once(&api.context, key, &fingerprint, deployed).await
}

fn ensure_deployable(at: &InEnvironment) -> Result<(), ApiError> {
    projects::ensure_alive(&at.project, Some(&at.environment))?;
    if at.environment.mode == EnvironmentMode::Paused {
        return Err(
            ApiError::conflict("paused", format!("the environment `{}` is paused", at.environment.name))
                .with_hint("start it with `weir resume`, then deploy"),
        );
    }
    Ok(())
}

async fn deploy(
    context: Context,
    at: InEnvironment,
    query: UploadQuery,
    canary: Option<Canary>,
    spool: Spool,
) -> Response {
    let given = query.message.lines().next().unwrap_or("").trim();
    let message: String = if given.is_empty() {
        "upload".to_owned()
    } else {
        given.chars().take(MESSAGE_CHARACTERS).collect()
    };
    let title = format!("upload to {} ({}): {message}", at.project.name, at.environment.name);
    let task = context
        .tasks
        .create(TaskKind::Push, at.project.id, Some(at.environment.id), &title)
        .await;
    let task = match task {
        Ok(task) => task.id,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let number_of_task = task.to_string();
    let span = tracing::info_span!("upload", task.id = %task);
    // Detached on purpose: the task tells how it goes, and the next start of control ends it
    // if this one dies.
    tokio::spawn(tracing::Instrument::instrument(
        build(context, at, spool, (message, canary), task),
        span,
    ));
    let accepted = Accepted {
        task: Some(number_of_task),
        message: "received; it is being built".to_owned(),
    };
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}

async fn build(
    context: Context,
    at: InEnvironment,
    spool: Spool,
    (message, canary): (String, Option<Canary>),
    task: TaskId,
) {
    let result = push::deploy_archive(&context, &at.environment, spool.path(), &message, canary, task).await;
    // While control stops, a deployment that was begun is none that failed: the next start
    // goes on with it, and ends what was only built.
    if let Err(error) = result
        && !context.stop.is_cancelled()
    {
        context
            .tasks
            .end(task, TaskState::Failed, Some(&error.to_string()))
            .await;
    }
}

/// A received file that goes away with its last user.
struct Spool(PathBuf);

impl Spool {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(path = %self.0.display(), %error, "an upload was not removed");
        }
    }
}

/// Folder of uploads that are being received or built; emptied at each start.
pub fn spool_folder(config: &crate::config::Config) -> PathBuf {
    config.data.join("spool")
}

async fn receive(context: &Context, body: Body) -> Result<(Spool, Vec<u8>), ApiError> {
    let folder = spool_folder(&context.config);
    tokio::fs::create_dir_all(&folder)
        .await
        .map_err(|error| disk_error(&error))?;
    let path = folder.join(format!("{:032x}.tar", context.clock.random()));
    let mut file = tokio::fs::File::create(&path)
        .await
        .map_err(|error| disk_error(&error))?;
    let spool = Spool(path);
    let mut body = body.into_data_stream();
    let (mut hash, mut bytes) = (Sha256::new(), 0_u64);
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|error| {
            ApiError::new(StatusCode::BAD_REQUEST, "bad-body", "the upload broke off")
                .with_detail(error.to_string())
                .with_hint("try again")
        })?;
        bytes += piece.len() as u64;
        if bytes > UPLOAD_BYTES {
            return Err(ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too-large",
                "the source is larger than 2 GiB",
            )
            .with_hint("leave out what is not needed for the build: `weir deploy` honours .gitignore"));
        }
        hash.update(&piece);
        file.write_all(&piece).await.map_err(|error| disk_error(&error))?;
    }
    file.flush().await.map_err(|error| disk_error(&error))?;
    if bytes == 0 {
        return Err(ApiError::invalid("the body is empty").with_hint("send a tar archive, or use `weir deploy`"));
    }
    Ok((spool, hash.finalize().to_vec()))
}

fn disk_error(error: &std::io::Error) -> ApiError {
    if matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    ) {
        return weir_store::StoreError::Full(error.to_string()).into();
    }
    ApiError::internal(format!("an upload could not be written: {error}"))
}
