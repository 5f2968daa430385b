//! A tar that is unpacked into a folder of a volume: looked through first, then written.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read, Seek as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, UNIX_EPOCH};

use rustix::io::Errno;
use tar::EntryType;

use super::{
    Belonging, Durability, Existing, FOLDER, FileError, FileKind, NewFile, Tree, TreePath, make_folder_in, open_below,
    path, present_in,
};

/// Most entries of an archive.
const ENTRIES: u64 = 1_000_000;
/// Most folders in each other.
const DEPTH: usize = 128;
/// Most names of what is left out that are told.
const TOLD: usize = 100;
/// Most bytes that name an entry and say what it is.
const NAMING_BYTES: u64 = 1 << 20;
/// This much stays free on the disk.
const ROOM_BYTES: u64 = 1 << 30;
/// How often the room is looked at, in bytes that were written.
const LOOK_BYTES: u64 = 256 << 20;

/// What became of an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Files that were written.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// What is neither a file nor a folder, and what was there already and not to be replaced, for people;
    /// the first hundred of them.
    pub left_out: Vec<String>,
}

impl Unpacked {
    fn leave_out(&mut self, path: &TreePath) {
        if self.left_out.len() < TOLD {
            self.left_out.push(path.shown());
        }
    }
}

impl Tree {
    /// Unpacks a tar, plain or gzip, into a folder that is made if it is missing. Nothing is written
    /// if a name in it is none, or if a file is there that is to be kept. `begins` is called when nothing
    /// speaks against it, before anything is written; what breaks off then is done again with
    /// [`Existing::Resume`]. Whatever was written is on disk at the end.
    pub fn unpack(
        &self,
        into: &TreePath,
        archive: &File,
        existing: Existing,
        begins: impl FnOnce() -> Result<(), FileError>,
    ) -> Result<Unpacked, FileError> {
        self.check(into, archive, existing)?;
        begins()?;
        self.make_folders(into)?;
        let mut unpacked = Unpacked::default();
        // The folder of the entry before, because most come folder by folder.
        let mut last: Option<(TreePath, OwnedFd)> = None;
        let mut written = LOOK_BYTES;
        each(archive, |entry, path| {
            let kind = entry.header().entry_type();
            let target = into.append(path)?;
            match kind {
                EntryType::Directory => self.make_folders(&target),
                _ if is_file(kind) => {
                    if written >= LOOK_BYTES {
                        self.ensure_room()?;
                        written = 0;
                    }
                    match self.unpack_file(entry, &target, existing, &mut last)? {
                        Some(bytes) => {
                            unpacked.files += 1;
                            unpacked.bytes += bytes;
                            written += bytes;
                        }
                        None => unpacked.leave_out(path),
                    }
                    Ok(())
                }
                _ => {
                    unpacked.leave_out(path);
                    Ok(())
                }
            }
        })?;
        // Once for thousands of small files.
        rustix::fs::syncfs(&self.root).map_err(|errno| FileError::from_kernel(into, errno))?;
        Ok(unpacked)
    }

    fn ensure_room(&self) -> Result<(), FileError> {
        if self.room()? < ROOM_BYTES {
            return Err(FileError::Full);
        }
        Ok(())
    }

    /// Looks an archive through: whether it can be read to its end, and is allowed.
    fn check(&self, into: &TreePath, archive: &File, existing: Existing) -> Result<(), FileError> {
        let most = self.room()?.saturating_sub(ROOM_BYTES);
        let mut bytes = 0_u64;
        each(archive, |entry, path| {
            let target = into.append(path)?;
            // Ends what unpacks to more than there is room for, too. What goes on in the middle had its
            // room when it began, and what is there already takes some of it.
            bytes = bytes.saturating_add(entry.size());
            if bytes > most && existing != Existing::Resume {
                return Err(FileError::Full);
            }
            if !is_file(entry.header().entry_type()) {
                return Ok(());
            }
            if target == *into {
                return Err(FileError::BadArchive("it has a file without a name".to_owned()));
            }
            match self.look(&target) {
                Ok(facts) if facts.kind == FileKind::Folder => Err(FileError::NotAFile(target.shown())),
                Ok(_) if existing == Existing::Keep => Err(FileError::Exists(target.shown())),
                Err(error @ (FileError::Link(_) | FileError::NotAFolder(_))) => Err(error),
                _ => Ok(()),
            }
        })
    }

    /// Gives how many bytes it has; none if something was there that stays.
    fn unpack_file(
        &self,
        entry: &mut tar::Entry<'_, impl Read>,
        target: &TreePath,
        existing: Existing,
        last: &mut Option<(TreePath, OwnedFd)>,
    ) -> Result<Option<u64>, FileError> {
        let Some((above, name)) = target.split() else {
            return Err(FileError::BadArchive("it has a file without a name".to_owned()));
        };
        if last.as_ref().is_none_or(|(path, _)| *path != above) {
            self.make_folders(&above)?;
            *last = Some((above.clone(), self.folder(&above)?));
        }
        let Some((_, folder)) = last else {
            return Err(FileError::NotFound(above.shown()));
        };
        let modified = entry.header().mtime().ok().filter(|at| (1..1 << 40).contains(at));
        let modified_ms = modified.and_then(|at| i64::try_from(at).ok()?.checked_mul(1000));
        let present = present_in(folder.as_fd(), name)?;
        let settled = existing.settled(present.as_ref(), modified_ms);
        if existing == Existing::Resume && settled == Existing::Keep && present.is_some() {
            return Ok(None);
        }
        let mut new = NewFile::make(folder.as_fd(), target)?;
        let bytes = io::copy(entry, &mut new.file).map_err(|error| match error.raw_os_error() {
            Some(_) => FileError::from_io(target, error),
            None => FileError::BadArchive(error.to_string()),
        })?;
        let mode = if entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0) {
            0o755
        } else {
            0o644
        };
        if let Some(modified) = modified {
            // One that cannot be set is none that matters.
            let _ = new.file.set_modified(UNIX_EPOCH + Duration::from_secs(modified));
        }
        let belonging = Belonging::in_place_of(present.as_ref(), folder.as_fd(), mode);
        // Thousands of small files are not waited for one by one.
        match new.finish(target, name, (belonging, settled, Durability::Lazy)) {
            Err(FileError::Exists(_)) if existing == Existing::Resume => Ok(None),
            finished => finished.map(|()| Some(bytes)),
        }
    }

    /// Makes a folder and those that it is in, as far as they are missing.
    fn make_folders(&self, path: &TreePath) -> Result<(), FileError> {
        match self.folder(path) {
            Ok(_) => return Ok(()),
            Err(FileError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let mut folder = self.folder(&TreePath::root())?;
        let mut at = TreePath::root();
        for name in path.parts() {
            at = at.join(name)?;
            match make_folder_in(folder.as_fd(), &at, name) {
                Ok(()) | Err(FileError::Exists(_)) => {}
                Err(error) => return Err(error),
            }
            folder =
                open_below(folder.as_fd(), name, FOLDER).map_err(|errno: Errno| FileError::from_kernel(&at, errno))?;
        }
        Ok(())
    }
}

fn is_file(kind: EntryType) -> bool {
    matches!(kind, EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse)
}

/// Goes through an archive from its beginning. Every name in it is checked.
fn each(
    archive: &File,
    mut take: impl FnMut(&mut tar::Entry<'_, Metered>, &TreePath) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let broken = |error: io::Error| FileError::BadArchive(error.to_string());
    let mut file = archive.try_clone().map_err(broken)?;
    file.rewind().map_err(broken)?;
    let mut buffered = BufReader::with_capacity(256 << 10, file);
    let packed = buffered.fill_buf().map_err(broken)?.starts_with(&[0x1f, 0x8b]);
    let inner: Box<dyn Read> = match packed {
        true => Box::new(flate2::bufread::MultiGzDecoder::new(buffered)),
        false => Box::new(buffered),
    };
    let allowance = Rc::new(Cell::new(NAMING_BYTES));
    let mut archive = tar::Archive::new(Metered {
        inner,
        allowance: allowance.clone(),
    });
    let mut list = archive.entries().map_err(broken)?;
    for count in 0.. {
        allowance.set(NAMING_BYTES);
        let Some(entry) = list.next() else { break };
        let mut entry = entry.map_err(broken)?;
        allowance.set(u64::MAX);
        if count >= ENTRIES {
            return Err(FileError::Refused(format!(
                "the archive has more than {ENTRIES} entries"
            )));
        }
        if entry.header().entry_type() != EntryType::XGlobalHeader {
            let raw = entry.path_bytes().into_owned();
            let found = TreePath::in_archive(&raw)?;
            if found.parts().count() > DEPTH {
                let shown = path::shown(&raw);
                return Err(FileError::BadPath(format!(
                    "`{shown}` lies more than {DEPTH} folders deep"
                )));
            }
            take(&mut entry, &found)?;
        }
        io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
    }
    Ok(())
}

/// Reads as much as is allowed: between two entries only what names them, which is kept in memory.
struct Metered {
    inner: Box<dyn Read>,
    allowance: Rc<Cell<u64>>,
}

impl Read for Metered {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.allowance.get())
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other("a name in it is too long"));
        }
        let count = self.inner.read(&mut buffer[..most])?;
        let left = self
            .allowance
            .get()
            .saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        self.allowance.set(left);
        Ok(count)
    }
}
