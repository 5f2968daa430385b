//! Large answers in files: written beside the way to a client, read in pieces by who asks.
//!
//! What it is: files without a name (`O_TMPFILE`) in a folder of its own, found by an index in memory.
//! So the system removes them with the node, however that ends; no two nodes get in each other's way;
//! and none is ever found half written. While somebody still reads one that was forgotten, it takes
//! its room, and counts.
//!
//! What it refuses: to slow anybody down. What cannot be written as fast as the answer goes to its
//! client, within bounded memory, is not kept.
//!
//! How it fails: a folder that cannot be written, a disk that is full or broken: it is said once, nothing
//! more is written for a while, and requests go to the instances.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use bytes::Bytes;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use tokio::sync::{Semaphore, mpsc};

use super::shelf::Flight;
use super::tally::{Tally, Weight};
use crate::clock::unix_ms;

/// The folder is for nobody else.
const MODE: u32 = 0o700;
/// Threads that read, and that write, at most.
const READERS: usize = 16;
const WRITERS: usize = 4;
/// Files at most, and at most a quarter of the descriptors that the process may have; each takes one.
const MOST_FILES: u64 = 8_192;
/// The largest answer that is kept.
const LARGEST_BYTES: u64 = 1 << 30;
/// So long nothing is written after something failed.
const REST_MS: i64 = 60_000;
/// A part of the disk that is left free for others: a twentieth.
const LEFT_FREE: u64 = 20;
/// So much of an answer whose length nobody knows gets its room at once.
const STEP_BYTES: u64 = 8 * 1024 * 1024;
/// Parts that are written in one go.
const MOST_PARTS: usize = 256;

/// Where files are kept.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    limit: u64,
    most_files: u64,
    readers: Arc<Semaphore>,
    writers: Arc<Semaphore>,
    /// Nothing is written before, in milliseconds since 1970.
    rests_until_ms: AtomicI64,
    told: AtomicBool,
}

/// A body that is kept in a file. Never changed.
#[derive(Debug)]
pub(crate) struct StoredFile {
    file: File,
    length: u64,
    broken: AtomicBool,
    disk: Arc<Disk>,
    weight: Weight,
}

impl Disk {
    /// Takes the folder, which is made where it is missing. None: it cannot be used, and that was said;
    /// or nothing is to be kept there.
    pub(crate) fn open(folder: &Path, limit: u64) -> Option<Arc<Self>> {
        if limit == 0 {
            return None;
        }
        let disk = Arc::new(Self {
            folder: folder.to_owned(),
            limit,
            most_files: most_files(),
            readers: Arc::new(Semaphore::new(READERS)),
            writers: Arc::new(Semaphore::new(WRITERS)),
            rests_until_ms: AtomicI64::new(0),
            told: AtomicBool::new(false),
        });
        if let Err(error) = prepare(folder) {
            disk.fail(&error);
        }
        Some(disk)
    }

    /// The largest body that is kept, in bytes.
    pub(super) fn largest(&self) -> u64 {
        LARGEST_BYTES.min(self.limit / 8)
    }

    /// What a file counts as: no less than what bounds their number.
    fn counted(&self, bytes: u64) -> u64 {
        bytes.max(self.limit / self.most_files)
    }

    /// Whether anything may be written now.
    pub(super) fn is_ready(&self) -> bool {
        self.rests_until_ms.load(Ordering::Relaxed) <= unix_ms()
    }

    /// Something went wrong: nothing more is written for a while. Said once, until it goes well again.
    fn fail(&self, error: &io::Error) {
        self.rests_until_ms.store(unix_ms() + REST_MS, Ordering::Relaxed);
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                folder = %self.folder.display(),
                %error,
                "large answers are not kept on disk for now, so apps are asked for them each time; make room there, or \
                 let Weir write there; it tries again each minute"
            );
        }
    }

    /// A file with no name, where the disk has room for so many bytes.
    fn create(&self, bytes: u64) -> io::Result<File> {
        // It may have been removed since, or be on a disk that was not there.
        DirBuilder::new().recursive(true).mode(MODE).create(&self.folder)?;
        let there = statvfs(&self.folder)?;
        let unit = there.fragment_size();
        let (free, all) = (there.blocks_available() * unit, there.blocks() * unit);
        if free.saturating_sub(bytes) < all / LEFT_FREE {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "less than a twentieth of the disk would be left free",
            ));
        }
        tempfile::tempfile_in(&self.folder)
    }
}

/// The bytes that files of kept answers take at most on a machine where nobody says it: a twentieth of the
/// disk that holds `folder` (or the closest folder above it that is there), 10 GiB at most.
pub fn sane_share(folder: &Path) -> u64 {
    let there = folder.ancestors().find_map(|folder| statvfs(folder).ok());
    there
        .map_or(0, |there| there.blocks() * there.fragment_size() / 20)
        .min(10 << 30)
}

fn most_files() -> u64 {
    let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1_024, |(now, _)| now);
    (descriptors / 4).clamp(1, MOST_FILES)
}

/// Makes the folder, for the owner only, and empties it of what has a name: on file systems that know no
/// files without one, a node that was killed in the wrong moment leaves it behind.
fn prepare(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(MODE).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(MODE))?;
    for stray in fs::read_dir(folder)? {
        let stray = stray?;
        if stray.file_type()?.is_file() {
            fs::remove_file(stray.path())?;
        }
    }
    Ok(())
}

impl StoredFile {
    /// Bytes of the body.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// What it counts as.
    pub(super) fn weight(&self) -> u64 {
        self.weight.amount()
    }

    /// It could not be read, so that nobody else is to try.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// So many bytes from `at` on, read beside the threads that serve.
    pub(super) async fn read(self: Arc<Self>, at: u64, length: usize) -> io::Result<Bytes> {
        let turn = Arc::clone(&self.disk.readers).acquire_owned().await;
        let turn = turn.map_err(io::Error::other)?;
        let work = move || {
            let _turn = turn;
            let mut data = vec![0; length];
            let read = self.file.read_exact_at(&mut data, at);
            if let Err(error) = &read {
                self.broken.store(true, Ordering::Relaxed);
                self.disk.fail(error);
            }
            read.map(|()| data.into())
        };
        tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
    }
}

/// What a writer is told.
enum Step {
    /// Some more of the body, with the memory that it takes until it is written.
    Data(Bytes, Weight),
    /// All has come.
    End(End),
}

/// Who gets the file, and the room that it takes.
struct End {
    weight: Weight,
    length: u64,
    keep: Box<dyn FnOnce(Arc<StoredFile>) + Send>,
}

/// Out of what a body on its way takes room.
#[derive(Debug, Clone)]
pub(super) struct Rooms {
    /// Memory, for what waits to be written.
    pub(super) waiting: Arc<Tally>,
    /// Files that are not whole yet.
    pub(super) unfinished: Arc<Tally>,
    /// All files.
    pub(super) files: Arc<Tally>,
}

/// A body on its way into a file. Dropped before [`Writing::finish`], it leaves nothing.
pub(super) struct Writing {
    disk: Arc<Disk>,
    room: Rooms,
    steps: mpsc::UnboundedSender<Step>,
    weight: Weight,
    /// As much again, of what may be unfinished at once.
    unfinished: Weight,
    length: u64,
    /// Nobody else writes the same meanwhile.
    _only: Flight,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Writing {
    /// Begins, where there is room: for `expected` bytes, if that is known. `make_room` makes some, and
    /// says whether there is.
    pub(super) fn begin(
        disk: &Arc<Disk>,
        room: Rooms,
        expected: Option<u64>,
        only: Flight,
        make_room: impl FnOnce(u64) -> bool,
    ) -> Option<Self> {
        if expected.is_some_and(|bytes| bytes > disk.largest()) || !disk.is_ready() {
            return None;
        }
        let first = disk.counted(expected.unwrap_or(STEP_BYTES.min(disk.largest())));
        let unfinished = room.unfinished.borrow(first)?;
        let weight = make_room(first).then(|| room.files.take(first)).flatten()?;
        let (steps, told) = mpsc::unbounded_channel();
        tokio::spawn(write(Arc::clone(disk), told, expected.unwrap_or(STEP_BYTES)));
        Some(Self {
            disk: Arc::clone(disk),
            room,
            steps,
            weight,
            unfinished,
            length: 0,
            _only: only,
        })
    }

    /// Some more of the body. False: there is no room for it, or the disk does not keep up.
    pub(super) fn push(&mut self, data: &Bytes, make_room: impl FnOnce(u64) -> bool) -> bool {
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let length = self.length.saturating_add(bytes);
        if length > self.disk.largest() {
            return false;
        }
        if length > self.weight.amount() {
            let more = STEP_BYTES.max(length - self.weight.amount());
            let Some(unfinished) = self.room.unfinished.borrow(more) else {
                return false;
            };
            let Some(weight) = make_room(more).then(|| self.room.files.take(more)).flatten() else {
                return false;
            };
            self.unfinished.join(unfinished);
            self.weight.join(weight);
        }
        let Some(memory) = self.room.waiting.borrow(bytes) else {
            return false;
        };
        self.length = length;
        self.steps.send(Step::Data(data.clone(), memory)).is_ok()
    }

    /// All has come; `keep` gets the file once it is written.
    pub(super) fn finish(mut self, keep: impl FnOnce(Arc<StoredFile>) + Send + 'static) {
        self.weight.shrink(self.disk.counted(self.length));
        let end = End {
            weight: self.weight,
            length: self.length,
            keep: Box::new(keep),
        };
        let _ = self.steps.send(Step::End(end));
    }
}

/// Writes what it is told to, until the end.
async fn write(disk: Arc<Disk>, mut told: mpsc::UnboundedReceiver<Step>, expected: u64) {
    let mut file = None;
    loop {
        let mut steps = Vec::new();
        if told.recv_many(&mut steps, MOST_PARTS).await == 0 {
            return;
        }
        let Ok(turn) = Arc::clone(&disk.writers).acquire_owned().await else {
            return;
        };
        let of_disk = Arc::clone(&disk);
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let created = match file {
                Some(file) => file,
                None => of_disk.create(expected)?,
            };
            append(created, steps)
        });
        match work.await {
            Ok(Ok((written, None))) => file = Some(written),
            Ok(Ok((written, Some(end)))) => return keep(&disk, written, end),
            Ok(Err(error)) => return disk.fail(&error),
            Err(_) => return,
        }
    }
}

fn append(mut file: File, steps: Vec<Step>) -> io::Result<(File, Option<End>)> {
    for step in steps {
        match step {
            Step::Data(data, _memory) => file.write_all(&data)?,
            Step::End(end) => return Ok((file, Some(end))),
        }
    }
    Ok((file, None))
}

/// Hands over a file, if all is in it.
fn keep(disk: &Arc<Disk>, file: File, end: End) {
    match file.metadata() {
        Ok(there) if there.len() == end.length => {}
        Ok(_) => return,
        Err(error) => return disk.fail(&error),
    }
    disk.told.store(false, Ordering::Relaxed);
    (end.keep)(Arc::new(StoredFile {
        file,
        length: end.length,
        broken: AtomicBool::new(false),
        disk: Arc::clone(disk),
        weight: end.weight,
    }));
}

#[cfg(test)]
#[path = "disk_tests.rs"]
mod tests;
