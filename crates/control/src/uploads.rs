//! Uploads that go on where they broke off: two files each, `ID.json` with what it is to be and
//! `ID.part` with what is there of it, in a folder of the environment below `DIR/uploads`.
//!
//! There is no other state: how much was received is the length of the file, before and after a
//! restart. Whoever writes holds a lock on the file, so that two never write one upload at once. An
//! upload lives a day after its last part. An environment has a bounded number of them and of bytes in
//! them, and pays for those as for everything else that it stores.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use axum::body::Body;
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt as _;
use weir_engine::files::Tree;
use weir_model::{EnvironmentId, UnixMillis};

use crate::config::Config;
use crate::context::Context;

/// One that nobody has added to for so long makes room for another one.
const RESTED_MS: i64 = 600_000;
/// Uploads of an environment at once.
const MOST: usize = 8;
/// Bytes that the uploads of an environment may come to.
const MOST_BYTES: u64 = 64 << 30;
/// An upload is forgotten so long after its last part.
const LIFE_MS: i64 = 86_400_000;
/// Largest part, in bytes.
pub(crate) const PART_BYTES: u64 = 16 << 20;
/// Longest pause in a part.
const SILENCE: std::time::Duration = std::time::Duration::from_secs(30);

/// What an upload is to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Purpose {
    /// The source of a release.
    Source,
    /// A file of a volume.
    File {
        /// Name of the volume, as the API has it.
        volume: String,
        /// Likewise.
        path: String,
        /// Whether one that is there is replaced.
        replace: bool,
    },
    /// A tar that is unpacked into a folder of a volume.
    Tree {
        /// Name of the volume, as the API has it.
        volume: String,
        /// Likewise.
        path: String,
        /// Whether files that are there are replaced.
        replace: bool,
    },
}

/// What is written down of an upload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Bytes in all.
    pub(crate) size: u64,
    /// For people.
    pub(crate) name: String,
    /// What it is to be.
    pub(crate) purpose: Purpose,
    /// It was looked through and began to become that. If it is not done, that broke off in the middle.
    #[serde(default)]
    pub(crate) begun: bool,
    /// It could not become that, and whoever sent it was told why: only they try it again.
    #[serde(default)]
    pub(crate) failed: bool,
    /// It has become that; what was left out of it then.
    pub(crate) done: Option<Vec<String>>,
}

impl Record {
    /// Whether nobody came to its end with it, nor told anybody why not.
    fn is_broken_off(&self) -> bool {
        self.begun && !self.failed && self.done.is_none()
    }
}

/// An upload.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    /// Its identity.
    pub(crate) id: String,
    /// What it is to be.
    pub(crate) record: Record,
    folder: PathBuf,
}

/// Why an upload did not work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// There is none; it may have been forgotten.
    #[error("there is no such upload")]
    NotFound,
    /// There are as many as an environment may have.
    #[error("the environment has {0} uploads that are not through")]
    TooMany(usize),
    /// They have as many bytes as an environment may have.
    #[error("the uploads of the environment would have more than {} GiB together", .0 >> 30)]
    TooLarge(u64),
    /// The disk has no room for it.
    #[error("the disk of this machine has no room for it")]
    NoRoom,
    /// A part does not begin where the part before it ended.
    #[error("{received} bytes are there")]
    Offset {
        /// How much is there.
        received: u64,
    },
    /// There would be more than was announced, or the part is too large.
    #[error("the part is too large")]
    TooLong,
    /// Another request writes it.
    #[error("another request writes this upload at the moment")]
    Busy,
    /// A part broke off. What came of it counts.
    #[error("the part broke off: {0}")]
    BrokeOff(String),
    /// The machine failed.
    #[error("an upload could not be kept: {0}")]
    Disk(#[from] io::Error),
}

/// The right to write an upload; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Writing {
    file: File,
    /// Bytes that are there.
    pub(crate) received: u64,
}

/// Folder of the uploads of an environment.
pub(crate) fn folder_of(config: &Config, environment: EnvironmentId) -> PathBuf {
    config.data.join("uploads").join(environment.to_string())
}

/// Writes down a new upload.
pub(crate) async fn create(context: &Context, at: EnvironmentId, record: Record) -> Result<Upload, UploadError> {
    let folder = folder_of(&context.config, at);
    let id = format!("upl_{:032x}", context.clock.random());
    let (now_ms, reserve) = (context.clock.now_ms(), context.config.disk_reserve_bytes);
    blocking(move || {
        std::fs::create_dir_all(&folder)?;
        let mut present = list(&folder, now_ms);
        // What was deployed, or is in its volume, makes room for what is new.
        if present.len() >= MOST {
            present.retain(|upload| upload.record.done.is_none() || upload.remove().is_err());
        }
        if present.len() >= MOST {
            // So does what somebody has left lying; nobody may know any more what it was called.
            present.sort_by_key(|upload| std::cmp::Reverse(upload.expires_ms()));
            let rested = |upload: &Upload| upload.expires_ms() < now_ms + LIFE_MS - RESTED_MS && upload.lock().is_ok();
            if present.last().is_some_and(rested)
                && let Some(oldest) = present.pop()
            {
                oldest.remove()?;
            }
        }
        if present.len() >= MOST {
            return Err(UploadError::TooMany(present.len()));
        }
        // What is in its volume takes no room here any more.
        present.retain(|upload| upload.part().exists());
        let announced = present.iter().map(|upload| upload.record.size).sum::<u64>();
        if announced.saturating_add(record.size) > MOST_BYTES {
            return Err(UploadError::TooLarge(MOST_BYTES));
        }
        let left = present
            .iter()
            .map(|upload| upload.record.size.saturating_sub(upload.received().unwrap_or(0)));
        let needed = left.sum::<u64>().saturating_add(record.size).saturating_add(reserve);
        if room_at(&folder)? < needed {
            return Err(UploadError::NoRoom);
        }
        let upload = Upload { id, record, folder };
        File::create_new(upload.part())?;
        upload.write_down()?;
        Ok(upload)
    })
    .await
}

/// Looks an upload up; `None` if the text is no identity of one that is there.
pub(crate) async fn find(context: &Context, at: EnvironmentId, id: &str) -> Result<Upload, UploadError> {
    let is_id = |id: &str| {
        id.strip_prefix("upl_")
            .is_some_and(|rest| rest.len() == 32 && rest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')))
    };
    if !is_id(id) {
        return Err(UploadError::NotFound);
    }
    let (folder, id, now_ms) = (folder_of(&context.config, at), id.to_owned(), context.clock.now_ms());
    blocking(move || {
        let upload = read(&folder, &id).ok_or(UploadError::NotFound)?;
        match upload.expires_ms() > now_ms {
            true => Ok(upload),
            false => Err(UploadError::NotFound),
        }
    })
    .await
}

/// Those that broke off while they became what they were to be, and that nobody goes on with.
pub(crate) async fn interrupted(context: &Context) -> Result<Vec<(EnvironmentId, Upload)>, UploadError> {
    let (top, now_ms) = (context.config.data.join("uploads"), context.clock.now_ms());
    blocking(move || {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&top).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(environment) = name.to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let uploads = list(&entry.path(), now_ms).into_iter();
            let broken = uploads.filter(|it| it.record.is_broken_off() && it.lock().is_ok());
            found.extend(broken.map(|upload| (environment, upload)));
        }
        Ok(found)
    })
    .await
}

/// Forgets what is past, and what belongs to environments that are gone.
pub(crate) async fn sweep(context: &Context) -> Result<(), UploadError> {
    let here = context.store.environment_list_all().await;
    let here = here.map_err(|error| io::Error::other(error.to_string()))?;
    let here: Vec<String> = here.iter().map(|environment| environment.id.to_string()).collect();
    let (top, now_ms) = (context.config.data.join("uploads"), context.clock.now_ms());
    blocking(move || {
        for entry in std::fs::read_dir(&top).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if here.iter().any(|id| name == id.as_str()) {
                list(&entry.path(), now_ms);
            } else {
                std::fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(())
    })
    .await
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, UploadError> + Send + 'static,
) -> Result<T, UploadError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| UploadError::Disk(io::Error::other(error)))?
}

/// Bytes that are free on the disk of a folder. Blocks.
fn room_at(folder: &Path) -> io::Result<u64> {
    let room = Tree::open(folder).and_then(|tree| tree.room());
    room.map_err(|error| io::Error::other(error.to_string()))
}

/// The uploads in a folder; those that are past are removed.
fn list(folder: &Path, now_ms: UnixMillis) -> Vec<Upload> {
    let mut uploads = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(id) = name.strip_suffix(".json") else { continue };
        let Some(upload) = read(folder, id) else { continue };
        if upload.expires_ms() > now_ms {
            uploads.push(upload);
        } else if let Err(error) = upload.remove() {
            tracing::warn!(%error, "an old upload was not removed");
        }
    }
    uploads
}

fn read(folder: &Path, id: &str) -> Option<Upload> {
    let text = std::fs::read(folder.join(format!("{id}.json"))).ok()?;
    Some(Upload {
        id: id.to_owned(),
        record: serde_json::from_slice(&text).ok()?,
        folder: folder.to_owned(),
    })
}

fn changed_ms(path: &Path) -> UnixMillis {
    let changed = std::fs::metadata(path).and_then(|facts| facts.modified());
    let since = changed.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

impl Upload {
    /// The file with what is there of it.
    pub(crate) fn part(&self) -> PathBuf {
        self.folder.join(format!("{}.part", self.id))
    }

    fn json(&self) -> PathBuf {
        self.folder.join(format!("{}.json", self.id))
    }

    /// When it is forgotten. Blocks.
    pub(crate) fn expires_ms(&self) -> UnixMillis {
        changed_ms(&self.part())
            .max(changed_ms(&self.json()))
            .saturating_add(LIFE_MS)
    }

    /// Bytes that are there. Blocks.
    pub(crate) fn received(&self) -> io::Result<u64> {
        match std::fs::metadata(self.part()) {
            Ok(facts) => Ok(facts.len()),
            // Moved to where it belongs.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(self.record.size),
            Err(error) => Err(error),
        }
    }

    fn write_down(&self) -> io::Result<()> {
        let new = self.folder.join(format!("{}.new", self.id));
        std::fs::write(&new, serde_json::to_vec(&self.record)?)?;
        std::fs::rename(new, self.json())
    }

    /// Reads again what is written down; others may have gone on with it. Blocks.
    pub(crate) fn reload(&mut self) -> Result<(), UploadError> {
        let now = read(&self.folder, &self.id).ok_or(UploadError::NotFound)?;
        self.record = now.record;
        Ok(())
    }

    /// It begins to become what it is to be. Blocks.
    pub(crate) fn begin(&mut self) -> io::Result<()> {
        self.record.begun = true;
        self.record.failed = false;
        self.write_down()
    }

    /// It could not become what it is to be, which somebody is told. Blocks.
    pub(crate) fn fail(&mut self) -> io::Result<()> {
        self.record.failed = true;
        self.write_down()
    }

    /// It has become what it was to be. Blocks.
    pub(crate) fn finish(&mut self, left_out: Vec<String>) -> io::Result<()> {
        self.record.done = Some(left_out);
        self.write_down()
    }

    /// Forgets it. Blocks.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for path in [self.part(), self.json()] {
            match std::fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// The right to write it; others get [`UploadError::Busy`] meanwhile. Blocks.
    pub(crate) fn lock(&self) -> Result<Writing, UploadError> {
        let file = match File::options().append(true).open(self.part()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(UploadError::NotFound),
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(UploadError::Busy),
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        let received = file.metadata()?.len();
        Ok(Writing { file, received })
    }

    /// Adds a part. What comes before it breaks off counts.
    pub(crate) async fn append(&self, context: &Context, offset: u64, body: Body) -> Result<Writing, UploadError> {
        let (upload, reserve) = (self.clone(), context.config.disk_reserve_bytes);
        let looked = move || {
            let writing = upload.lock()?;
            // Others may have filled the disk since this one was announced.
            if room_at(&upload.folder)? < reserve.saturating_add(PART_BYTES) {
                return Err(UploadError::NoRoom);
            }
            Ok(writing)
        };
        let mut writing = blocking(looked).await?;
        if writing.received != offset {
            return Err(UploadError::Offset {
                received: writing.received,
            });
        }
        let mut file = tokio::fs::File::from_std(writing.file.try_clone()?);
        let most = (self.record.size - offset.min(self.record.size)).min(PART_BYTES);
        let mut pieces = body.into_data_stream();
        let mut bytes = 0_u64;
        let ended = loop {
            let piece = match tokio::time::timeout(SILENCE, pieces.next()).await {
                Err(_elapsed) => break Err(UploadError::BrokeOff("nothing came for 30 s".to_owned())),
                Ok(None) => break Ok(()),
                Ok(Some(Err(error))) => break Err(UploadError::BrokeOff(error.to_string())),
                Ok(Some(Ok(piece))) => piece,
            };
            bytes = bytes.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
            if bytes > most {
                break Err(UploadError::TooLong);
            }
            file.write_all(&piece).await?;
        };
        file.flush().await?;
        writing.received = writing.file.metadata()?.len();
        ended.map(|()| writing)
    }
}
