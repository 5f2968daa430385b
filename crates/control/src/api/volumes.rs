//! Volumes and their files. What an app has written is never shown as if it were Weir's: contents are
//! attachments, and a browser that shows them all the same does so in a sandbox.

use std::io::{self, Write};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::sync::mpsc;
use tokio_util::io::ReaderStream;
use weir_api::{Accepted, CreateFolder, FileEntry, Folder, MoveFile};
use weir_engine::EngineError;
use weir_engine::files::{ArchiveFormat, Condition, FileError, FileFacts, FileKind, Tree, TreePath};
use weir_model::AccountId;

use super::Api;
use super::error::ApiError;
use super::extract::{InEnvironment, JsonBody, PathOf, QueryOf};
use super::present::instant;
use crate::audit::Notes;
use crate::projects;
use crate::uploads::Upload;
use crate::volumes::{self, Volume, VolumeError};

/// Most entries of one answer.
const ENTRIES: usize = 1000;
/// Pieces in which contents are sent, in bytes.
const PIECE: usize = 256 << 10;
/// Pieces of an archive that wait for the client.
const PIECES: usize = 4;
/// A client that takes nothing of an archive for so long is gone.
const SILENCE: Duration = Duration::from_secs(60);
/// What is not counted by then is told as it was before, or so far.
const COUNTING: Duration = Duration::from_secs(5);

/// The volume in a path.
#[derive(Debug, Deserialize)]
pub(super) struct VolumePath {
    pub(super) volume: String,
}

/// A path in a volume.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileQuery {
    path: String,
}

/// The query of a folder.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ListQuery {
    #[serde(default = "root")]
    path: String,
    after: Option<String>,
    limit: Option<usize>,
}

/// The query of an archive.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ArchiveQuery {
    #[serde(default = "root")]
    path: String,
    #[serde(default = "tar")]
    format: String,
}

/// The query of a deletion.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DeleteQuery {
    path: String,
    #[serde(default)]
    confirm: String,
}

fn root() -> String {
    "/".to_owned()
}

fn tar() -> String {
    "tar".to_owned()
}

/// The volumes of an environment that exist.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/volumes", tag = "volumes",
    responses((status = 200, body = Vec<weir_api::Volume>)))]
pub(super) async fn list_volumes(
    State(api): State<Api>,
    at: InEnvironment,
) -> Result<Json<Vec<weir_api::Volume>>, ApiError> {
    let (context, account) = (&api.context, at.project.account);
    let specs = volumes::specs(context, at.environment.id).await?;
    let volumes = volumes::list(context, at.environment.id).await?;
    let until = tokio::time::Instant::now() + COUNTING;
    let counts = volumes
        .iter()
        .map(|volume| context.volumes.amount(context, (account, volume), until));
    let counts = futures_util::future::join_all(counts).await;
    let shown = volumes.iter().zip(counts).map(|(volume, counted)| {
        let spec = specs.get(&(volume.app.clone(), volume.volume.clone()));
        weir_api::Volume {
            name: volume.name.clone(),
            app: volume.app.to_string(),
            path: spec.map(|spec| spec.path.clone()).unwrap_or_default(),
            writers: spec.map_or("one", |spec| volumes::word(spec.writers)).to_owned(),
            bytes: counted.amount.bytes,
            files: counted.amount.files,
            at_least: !counted.whole,
            counted: instant(counted.at_ms),
        }
    });
    Ok(Json(shown.collect()))
}

/// A folder of a volume, by name.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/files", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("path" = Option<String>, Query, description = "The folder; the root if absent"),
        ("after" = Option<String>, Query, description = "Only what comes after this name"), ("limit" = Option<usize>, Query, description = "1 to 1000; 1000 if absent")),
    responses((status = 200, body = Folder)))]
pub(super) async fn list_files(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    QueryOf(query): QueryOf<ListQuery>,
    Extension(notes): Extension<Notes>,
) -> Result<Json<Folder>, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &query.path)?;
    let after = query
        .after
        .map(|after| TreePath::parse(&format!("/{after}")))
        .transpose()?;
    let limit = query.limit.unwrap_or(ENTRIES).clamp(1, ENTRIES);
    let wanted = path.clone();
    let listing = files.run(move |tree| {
        let after = after.as_ref().and_then(TreePath::split).map(|(_, name)| name);
        tree.list(&wanted, after, limit)
    });
    let listing = listing.await?;
    Ok(Json(Folder {
        path: path.encoded(),
        entries: listing.entries.iter().map(entry).collect(),
        more: listing.more,
    }))
}

/// The content of a file. One range is answered with that part of it.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/content", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("path" = String, Query, description = "The file")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream"), (status = 206, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn read_file(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    QueryOf(query): QueryOf<FileQuery>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &query.path)?;
    let (file, facts) = files.run(move |tree| tree.read(&path)).await?;
    let tag = format!("\"{}\"", facts.tag);
    if header_of(&headers, header::IF_NONE_MATCH).is_some_and(|known| known.split(',').any(|one| one.trim() == tag)) {
        return Ok((StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response());
    }
    let part = match (
        header_of(&headers, header::IF_RANGE),
        header_of(&headers, header::RANGE),
    ) {
        (None, Some(range)) => range_of(range, facts.bytes),
        (Some(known), Some(range)) if known == tag => range_of(range, facts.bytes),
        _ => Part::All,
    };
    let (status, from, length) = match part {
        Part::All => (StatusCode::OK, 0, facts.bytes),
        Part::Of { from, length } => (StatusCode::PARTIAL_CONTENT, from, length),
        Part::None => {
            let size = format!("bytes */{}", facts.bytes);
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, [(header::CONTENT_RANGE, size)]).into_response());
        }
    };
    let mut file = tokio::fs::File::from_std(file);
    file.seek(io::SeekFrom::Start(from)).await.map_err(ApiError::internal)?;
    let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), PIECE));
    let mut response = (status, body).into_response();
    let head = response.headers_mut();
    attachment(head, &facts.name(), "application/octet-stream");
    head.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    set(head, header::ETAG, &tag);
    if status == StatusCode::PARTIAL_CONTENT {
        let range = format!("bytes {from}-{}/{}", from + length - 1, facts.bytes);
        set(head, header::CONTENT_RANGE, &range);
    }
    Ok(response)
}

/// Writes a file of at most 4 MiB as a whole.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/content", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("path" = String, Query, description = "The file"),
        ("If-Match" = Option<String>, Header, description = "Only if the file still has this ETag"), ("If-None-Match" = Option<String>, Header, description = "`*`: only if there is none")),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "4 MiB at most"), responses((status = 200, body = FileEntry)))]
pub(super) async fn write_file(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    QueryOf(query): QueryOf<FileQuery>,
    Extension(notes): Extension<Notes>,
    headers: HeaderMap,
    content: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Result<Response, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &query.path)?;
    let condition = condition_of(&headers)?;
    let content = content.map_err(|error| super::extract::body_error(error.status(), &error.body_text()))?;
    let facts = files.run(move |tree| tree.write(&path, &content, &condition)).await?;
    let mut response = Json(entry(&facts)).into_response();
    set(response.headers_mut(), header::ETAG, &format!("\"{}\"", facts.tag));
    Ok(response)
}

/// A folder with all that is in it, as one archive, written while it is read. Links are in it as
/// links; sockets, pipes and devices are not in it.
#[utoipa::path(get, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/archive", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("path" = Option<String>, Query, description = "The folder; the root if absent"),
        ("format" = Option<String>, Query, description = "`tar`, `tar.gz` or `zip`; `tar` if absent")),
    responses((status = 200, body = Vec<u8>, content_type = "application/octet-stream")))]
pub(super) async fn archive_files(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    QueryOf(query): QueryOf<ArchiveQuery>,
    Extension(notes): Extension<Notes>,
) -> Result<Response, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &query.path)?;
    let format = ArchiveFormat::parse(&query.format)
        .ok_or_else(|| ApiError::invalid("the format is `tar`, `tar.gz` or `zip`"))?;
    let wanted = path.clone();
    // What is wrong with the path is said before the answer begins.
    let facts = files.run(move |tree| tree.look(&wanted)).await?;
    if facts.kind != FileKind::Folder {
        return Err(FileError::NotAFolder(path.shown()).into());
    }
    let volumes = &api.context.volumes;
    let turn = volumes.long_turn(at.project.account, &files.volume).await?;
    let folder = volumes.folder(&api.context, &files.volume).await?;
    let (sender, receiver) = mpsc::channel(PIECES);
    let runtime = tokio::runtime::Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let mut out = Pieces::new(sender, runtime);
        let written = Tree::open(&folder).and_then(|tree| tree.archive(&path, format, &mut out));
        out.end(written);
    });
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async move {
        let piece: io::Result<Bytes> = receiver.recv().await?;
        Some((piece, receiver))
    });
    let name = if facts.path == TreePath::root() {
        files.volume.name.clone()
    } else {
        facts.name()
    };
    let mut response = Body::from_stream(pieces).into_response();
    attachment(
        response.headers_mut(),
        &format!("{name}.{}", format.as_str()),
        format.media_type(),
    );
    Ok(response)
}

/// Makes a folder.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/folders", tag = "volumes",
    params(("volume" = String, Path, description = "The volume")), request_body = CreateFolder, responses((status = 201, body = FileEntry)))]
pub(super) async fn create_folder(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<CreateFolder>,
) -> Result<(StatusCode, Json<FileEntry>), ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &request.path)?;
    let facts = files.run(move |tree| tree.make_folder(&path)).await?;
    Ok((StatusCode::CREATED, Json(entry(&facts))))
}

/// Moves a file or a folder to where nothing is.
#[utoipa::path(post, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/moves", tag = "volumes",
    params(("volume" = String, Path, description = "The volume")), request_body = MoveFile, responses((status = 204)))]
pub(super) async fn move_file(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    Extension(notes): Extension<Notes>,
    JsonBody(request): JsonBody<MoveFile>,
) -> Result<StatusCode, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let from = files.path(&notes, &request.from)?;
    let to = TreePath::parse(&request.to)?;
    notes.detail(&format!("to {}", to.shown()));
    files.run(move |tree| tree.rename(&from, &to)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Removes a file, or a folder with all that is in it.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/volumes/{volume}/files", tag = "volumes",
    params(("volume" = String, Path, description = "The volume"), ("path" = String, Query, description = "What"), ("confirm" = String, Query, description = "Its name once more, without its folder")),
    responses((status = 200, body = Accepted)))]
pub(super) async fn delete_files(
    State(api): State<Api>,
    at: InEnvironment,
    PathOf(place): PathOf<VolumePath>,
    QueryOf(query): QueryOf<DeleteQuery>,
    Extension(notes): Extension<Notes>,
) -> Result<Json<Accepted>, ApiError> {
    let files = Files::at(&api, &at, &place.volume).await?;
    let path = files.path(&notes, &query.path)?;
    let wanted = path.clone();
    let facts = files.run(move |tree| tree.look(&wanted)).await?;
    if query.confirm != facts.name() {
        return Err(ApiError::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "confirm",
            "the name in `confirm` is not that of what is to be removed",
        )
        .with_hint(format!(
            "to remove it with all that is in it, confirm with `{}`",
            facts.name()
        )));
    }
    files.run_long(move |tree| tree.remove(&path)).await?;
    Ok(Json(Accepted {
        task: None,
        message: format!("{} is removed", facts.path.shown()),
    }))
}

/// The files of the volume that a request is about.
pub(super) struct Files<'a> {
    api: &'a Api,
    account: AccountId,
    pub(super) volume: Volume,
}

impl<'a> Files<'a> {
    pub(super) async fn at(api: &'a Api, at: &InEnvironment, name: &str) -> Result<Self, ApiError> {
        projects::ensure_alive(&at.project, Some(&at.environment))?;
        let volume = volumes::find(&api.context, at.environment.id, name).await?;
        Ok(Self {
            api,
            account: at.project.account,
            volume,
        })
    }

    /// Reads a path, and has the audit log name it.
    pub(super) fn path(&self, notes: &Notes, text: &str) -> Result<TreePath, ApiError> {
        let path = TreePath::parse(text)?;
        notes.target(&format!("{} {}", self.volume.name, path.encoded()));
        Ok(path)
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let context = &self.api.context;
        Ok(context.volumes.run(context, &self.volume, work).await?)
    }

    /// The same for what may take long because much is there.
    pub(super) async fn run_long<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tree) -> Result<T, FileError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let context = &self.api.context;
        let of = (self.account, &self.volume);
        Ok(context.volumes.run_long(context, of, work).await?)
    }

    /// Gives an upload that is whole its place. Fine if it is not, or has it.
    pub(super) async fn complete(&self, upload: &mut Upload) -> Result<(), ApiError> {
        let of = (self.account, &self.volume);
        Ok(volumes::complete(&self.api.context, of, upload).await?)
    }
}

/// What is written of an archive goes to the client piece by piece; one that takes nothing ends it.
struct Pieces {
    sender: mpsc::Sender<io::Result<Bytes>>,
    runtime: tokio::runtime::Handle,
    piece: Vec<u8>,
}

impl Pieces {
    fn new(sender: mpsc::Sender<io::Result<Bytes>>, runtime: tokio::runtime::Handle) -> Self {
        Self {
            sender,
            runtime,
            piece: Vec::with_capacity(PIECE),
        }
    }

    fn send(&mut self, piece: io::Result<Bytes>) -> io::Result<()> {
        let sent = self.runtime.block_on(self.sender.send_timeout(piece, SILENCE));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }

    /// The client must see that an archive is not whole: its connection breaks.
    fn end(mut self, written: Result<(), FileError>) {
        let last = std::mem::take(&mut self.piece);
        let ended = match written {
            Ok(()) if last.is_empty() => Ok(()),
            Ok(()) => self.send(Ok(last.into())),
            Err(error) => {
                tracing::info!(%error, "an archive was broken off");
                self.send(Err(io::Error::other(error.to_string())))
            }
        };
        // Nobody is there any more to be told.
        drop(ended);
    }
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE {
            let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
            self.send(Ok(piece.into()))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    All,
    Of {
        from: u64,
        length: u64,
    },
    /// The file is not so long.
    None,
}

/// Reads a range. Several at once, and what is none, count as none asked for.
fn range_of(text: &str, size: u64) -> Part {
    let Some((first, last)) = text
        .strip_prefix("bytes=")
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Part::All;
    };
    let (from, until) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(from), Ok(last)) if from <= last => (from, last.saturating_add(1).min(size)),
        (Ok(from), Err(_)) if last.is_empty() => (from, size),
        (Err(_), Ok(count)) if first.is_empty() => (size.saturating_sub(count), size),
        _ => return Part::All,
    };
    if from >= until {
        return Part::None;
    }
    Part::Of {
        from,
        length: until - from,
    }
}

fn header_of(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn condition_of(headers: &HeaderMap) -> Result<Condition, ApiError> {
    match (
        header_of(headers, header::IF_MATCH),
        header_of(headers, header::IF_NONE_MATCH),
    ) {
        (None, None) => Ok(Condition::Always),
        (None, Some("*")) => Ok(Condition::Absent),
        (Some(tag), None) if tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"') => {
            Ok(Condition::Unchanged(tag[1..tag.len() - 1].to_owned()))
        }
        _ => Err(ApiError::invalid("this condition is not understood")
            .with_hint("send `If-Match: ETAG` with the ETag as it came, or `If-None-Match: *`")),
    }
}

/// It is a file to be kept, whatever a browser would like to make of it.
fn attachment(headers: &mut HeaderMap, name: &str, media_type: &'static str) {
    let plain: String = name
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() || "._- ".contains(c) {
                c
            } else {
                '_'
            }
        })
        .collect();
    let exact = utf8_percent_encode(name, NON_ALPHANUMERIC);
    set(
        headers,
        header::CONTENT_DISPOSITION,
        &format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"),
    );
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
}

fn set(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// An entry as the API tells it.
fn entry(facts: &FileFacts) -> FileEntry {
    FileEntry {
        name: facts.name(),
        path: facts.path.encoded(),
        kind: facts.kind.as_str().to_owned(),
        bytes: facts.bytes,
        modified: instant(facts.modified_ms),
        mode: format!("{:04o}", facts.mode),
        target: facts
            .target
            .as_deref()
            .map(|target| String::from_utf8_lossy(target).into_owned()),
    }
}

impl From<FileError> for ApiError {
    fn from(error: FileError) -> Self {
        let title = error.to_string();
        let wrong = |kind, title| Self::new(StatusCode::UNPROCESSABLE_ENTITY, kind, title);
        match error {
            FileError::BadPath(_) => wrong("bad-path", title)
                .with_hint("paths begin with `/`, have no empty part, no `.` and no `..`, and write other bytes than printable ASCII as %XX"),
            FileError::NotFound(_) => Self::not_found("file-not-found", title),
            FileError::NotAFolder(_) => wrong("not-a-folder", title),
            FileError::NotAFile(_) => wrong("not-a-file", title),
            FileError::Link(_) => wrong("link", title).with_hint("use the path of what it leads to, if that is in the volume"),
            FileError::Exists(_) => Self::conflict("file-exists", title)
                .with_hint("choose another name, remove it first, or ask to replace it where that is possible"),
            FileError::Changed(_) => Self::new(StatusCode::PRECONDITION_FAILED, "file-changed", title)
                .with_hint("read it again, and make the change in what is there now"),
            FileError::Refused(_) => wrong("invalid-input", title),
            FileError::BadArchive(_) => wrong("unreadable-archive", title).with_hint("send a tar, plain or gzip"),
            FileError::Full => weir_store::StoreError::Full(title).into(),
            FileError::Failed { .. } => Self::internal(title),
        }
    }
}

impl From<VolumeError> for ApiError {
    fn from(error: VolumeError) -> Self {
        let title = error.to_string();
        match error {
            VolumeError::NotFound(_) => Self::not_found("volume-not-found", title)
                .with_hint("volumes are made when an instance of a release that has them starts; see `weir volume`"),
            VolumeError::Busy(_) => {
                let mut error = Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", title);
                error.retry_after_s = Some(5);
                error.with_hint("try again when one of them is through")
            }
            VolumeError::File(error) => error.into(),
            VolumeError::Upload(error) => error.into(),
            VolumeError::Engine(EngineError::Unreachable(reason)) => {
                let mut error = Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "engine-unavailable",
                    "the container engine does not answer",
                );
                error.cause = Some(reason.into_boxed_str());
                error.retry_after_s = Some(1);
                error.with_hint("try again in a moment")
            }
            VolumeError::Engine(_) | VolumeError::Stopped(_) => Self::internal(title),
            VolumeError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_browsers_send_them() {
        let of = |from, length| Part::Of { from, length };
        assert_eq!(range_of("bytes=0-9", 100), of(0, 10));
        assert_eq!(range_of("bytes=90-", 100), of(90, 10));
        assert_eq!(range_of("bytes=90-500", 100), of(90, 10));
        assert_eq!(range_of("bytes=-5", 100), of(95, 5));
        assert_eq!(range_of("bytes=-500", 100), of(0, 100));
        assert_eq!(range_of("bytes=100-", 100), Part::None);
        assert_eq!(range_of("bytes=-0", 100), Part::None);
        assert_eq!(range_of("bytes=0-", 0), Part::None);
        for text in ["bytes=5-4", "bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes=-"] {
            assert_eq!(range_of(text, 100), Part::All, "{text}");
        }
    }
}
