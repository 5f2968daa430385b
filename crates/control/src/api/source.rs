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

/// The part of the visitors that gets it first, as people write it.
pub(super) fn wanted_canary(share: Option<&str>, header: Option<&str>) -> Result<Option<Canary>, ApiError> {
    canary::wanted(share, header)
        .map_err(|message| ApiError::invalid(message).with_hint("for example `weir deploy --canary 5%`"))
}

/// What is to be deployed.
#[derive(Debug)]
pub(super) struct Delivery {
    /// One line on what it is.
    pub(super) message: String,
    pub(super) canary: Option<Canary>,
    pub(super) archive: Spool,
    /// Takes the place of the `weir.toml` in it.
    pub(super) toml: Option<String>,
}

/// Builds and deploys a source. The body is a tar archive, plain or gzip, or a zip.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/source", tag = "deployments",
    params(("message" = Option<String>, Query, description = "One line on what it is"),
        ("canary" = Option<String>, Query, description = "The part of the visitors that gets it first, like 5%; absent: all"),
        ("canary_header" = Option<String>, Query, description = "Requests with this header get it whatever the part is, like X-Canary: yes")),
    request_body(content = Vec<u8>, content_type = "application/x-tar", description = "A tar archive, plain or gzip, or a zip, of 2 GiB at most"),
    responses((status = 202, body = Accepted)))]
pub(super) async fn upload_source(
    State(api): State<Api>,
    at: InEnvironment,
    QueryOf(query): QueryOf<UploadQuery>,
    key: Option<axum::Extension<Key>>,
    body: Body,
) -> Result<Response, ApiError> {
    ensure_deployable(&at)?;
    let canary = wanted_canary(query.canary.as_deref(), query.canary_header.as_deref())?;
    if canary.is_some() {
        // Before minutes of sending and building.
        canary::ensure_possible(&api.context, &at.environment, None).await?;
    }
    let (spool, hash) = receive(&api.context, body).await?;
    let context = api.context.clone();
    let delivery = Delivery {
        message: query.message.clone(),
        canary,
        archive: spool,
        toml: None,
    };
    let Some(axum::Extension(key)) = key else {
        return Ok(deploy(context, at, delivery).await);
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
    let deployed = deploy(context, at, delivery);
    idempotency::once(&api.context, key, &fingerprint, deployed).await
}

pub(super) fn ensure_deployable(at: &InEnvironment) -> Result<(), ApiError> {
    projects::ensure_alive(&at.project, Some(&at.environment))?;
    if at.environment.mode == EnvironmentMode::Paused {
        return Err(
            ApiError::conflict("paused", format!("the environment `{}` is paused", at.environment.name))
                .with_hint("start it with `weir resume`, then deploy"),
        );
    }
    Ok(())
}

/// Begins to build and deploy, and answers with the task.
pub(super) async fn deploy(context: Context, at: InEnvironment, mut delivery: Delivery) -> Response {
    let given = delivery.message.lines().next().unwrap_or("").trim();
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
    delivery.message = message;
    let number_of_task = task.to_string();
    let span = tracing::info_span!("upload", task.id = %task);
    // Detached on purpose: the task tells how it goes, and the next start of control ends it
    // if this one dies.
    tokio::spawn(tracing::Instrument::instrument(
        build(context, at, delivery, task),
        span,
    ));
    let accepted = Accepted {
        task: Some(number_of_task),
        message: "received; it is being built".to_owned(),
    };
    (StatusCode::ACCEPTED, Json(accepted)).into_response()
}

async fn build(context: Context, at: InEnvironment, delivery: Delivery, task: TaskId) {
    let archive = push::Uploaded {
        path: delivery.archive.path().to_owned(),
        toml: delivery.toml,
    };
    let deployed = push::deploy_archive(
        &context,
        &at.environment,
        archive,
        &delivery.message,
        delivery.canary,
        task,
    );
    let result = deployed.await;
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
#[derive(Debug)]
pub(super) struct Spool(PathBuf);

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

/// A second name for an upload, which may be forgotten while it is built.
pub(super) async fn link_into_spool(context: &Context, file: &Path) -> Result<Spool, ApiError> {
    let folder = spool_folder(&context.config);
    let path = folder.join(format!("{:032x}.tar", context.clock.random()));
    let linked = async {
        tokio::fs::create_dir_all(&folder).await?;
        tokio::fs::hard_link(file, &path).await
    };
    linked.await.map_err(|error| disk_error(&error))?;
    Ok(Spool(path))
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
