//! The files of a volume, while an app that trusts nobody and whom nobody trusts writes to it.
//!
//! Every path is opened by the kernel from the root of the volume (`openat2` with
//! `RESOLVE_BENEATH`, no link anywhere, no other file system), and whatever is done is done by the
//! descriptor that was opened: between looking and doing, an app may swap anything for anything, and
//! nothing leads out. A file is looked at before it is opened for reading, by a descriptor that
//! opens nothing (`O_PATH`), so that no pipe, socket or device is ever opened. What is written
//! becomes visible when it is whole, by a rename, and belongs to whom its folder belongs to.
//!
//! All of it blocks, and takes memory for the names of one folder and its way up, not for contents.

mod archive;
mod error;
mod path;
mod remove;
#[cfg(test)]
mod tests;
mod unpack;

use std::collections::BinaryHeap;
use std::fs::{File, Metadata, Permissions};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::{self, AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno;
use weir_model::UnixMillis;

pub use archive::ArchiveFormat;
pub use error::FileError;
pub use path::TreePath;
pub use unpack::Unpacked;

/// Nothing is followed, and nothing leads out.
const RESOLVE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);
/// To look at something without opening it.
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// How often the kernel is asked again that was disturbed by a rename.
const DISTURBED: usize = 64;
/// Most bytes of the paths of folders that wait to be looked into: an app may make as many as it likes.
const WAITING_BYTES: usize = 64 << 20;
/// Permissions of a new file and of a new folder.
const NEW_FILE: u32 = 0o644;
const NEW_FOLDER: u32 = 0o755;
/// After so many entries of a folder it is told how much was counted.
const TOLD_EACH: usize = 1000;

/// The files of a volume.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A plain file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A socket, a pipe, or a device.
    Other,
}

impl FileKind {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Folder => "folder",
            Self::Link => "link",
            Self::Other => "other",
        }
    }

    fn of(facts: &Metadata) -> Self {
        let kind = facts.file_type();
        debug_assert!(!(kind.is_socket() && kind.is_file()));
        if kind.is_file() {
            Self::File
        } else if kind.is_dir() {
            Self::Folder
        } else if kind.is_symlink() {
            Self::Link
        } else {
            Self::Other
        }
    }
}

/// Something in a volume, as it was at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Where it is.
    pub path: TreePath,
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes; 0 for what is no file.
    pub bytes: u64,
    /// When its content was changed last.
    pub modified_ms: UnixMillis,
    /// Permissions, the nine bits of them and the three before.
    pub mode: u32,
    /// The number of its user.
    pub user: u32,
    /// The number of its group.
    pub group: u32,
    /// Where a link leads to.
    pub target: Option<Vec<u8>>,
    /// Another one after every change: hexadecimal digits and `-`.
    pub tag: String,
}

impl FileFacts {
    fn of(path: TreePath, facts: &Metadata, target: Option<Vec<u8>>) -> Self {
        let kind = FileKind::of(facts);
        Self {
            path,
            kind,
            bytes: if kind == FileKind::File { facts.len() } else { 0 },
            modified_ms: facts
                .mtime()
                .saturating_mul(1000)
                .saturating_add(facts.mtime_nsec() / 1_000_000),
            mode: facts.mode() & 0o7777,
            user: facts.uid(),
            group: facts.gid(),
            target,
            // The time of the inode's change cannot be set by the app, as that of its content can.
            tag: format!(
                "{:x}-{:x}-{:x}-{:x}",
                facts.ino(),
                facts.ctime(),
                facts.ctime_nsec(),
                facts.len()
            ),
        }
    }

    /// Its whole name, for people; `/` for the root.
    pub fn name(&self) -> String {
        self.path
            .split()
            .map_or_else(|| "/".to_owned(), |(_, name)| path::whole(name))
    }
}

/// A part of a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// By name, in the order of bytes.
    pub entries: Vec<FileFacts>,
    /// Whether there is more behind the last.
    pub more: bool,
}

/// On what condition a file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// None.
    Always,
    /// It is still what it was when it had this tag.
    Unchanged(String),
    /// There is none.
    Absent,
}

/// What becomes of something that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and what was to be written is refused.
    Keep,
    /// A file or a link gives way to a file; a folder never does. A file that takes the place of another
    /// has its owner and its permissions.
    Replace,
    /// The very same was begun before and broke off: what that has put there gives way, and what came or
    /// was changed since stays. It is known by the time of its last change, which is that of the original.
    Resume,
}

impl Existing {
    /// What it comes to for one file, whose original was changed last at this time, if that is known.
    fn settled(self, present: Option<&FileFacts>, modified_ms: Option<UnixMillis>) -> Self {
        let is_own =
            |it: &FileFacts| it.kind == FileKind::File && modified_ms.is_some_and(|at_ms| at_ms == it.modified_ms);
        match self {
            Self::Resume if present.is_some_and(is_own) => Self::Replace,
            Self::Resume => Self::Keep,
            other => other,
        }
    }
}

/// How much is in a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Everything but folders.
    pub files: u64,
    /// Bytes on disk, folders included.
    pub bytes: u64,
}

impl Tree {
    /// Opens the folder of a volume. The path is Weir's own and is followed as it is.
    pub fn open(folder: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
        let root = fs::openat(CWD, folder, flags, Mode::empty())
            .map_err(|errno| FileError::from_kernel(&TreePath::root(), errno))?;
        Ok(Self { root })
    }

    /// What is at a path.
    pub fn look(&self, path: &TreePath) -> Result<FileFacts, FileError> {
        let (_, facts) = self.look_at(path)?;
        Ok(facts)
    }

    /// A folder by name, at most `most` entries behind the name `after`.
    pub fn list(&self, path: &TreePath, after: Option<&[u8]>, most: usize) -> Result<Listing, FileError> {
        let folder = self.folder(path)?;
        // The smallest names that are wanted, and one more, whatever the size of the folder.
        let mut names: BinaryHeap<Vec<u8>> = BinaryHeap::new();
        for name in names_in(&folder, path)? {
            let name = name?;
            if after.is_some_and(|after| &name[..] <= after) {
                continue;
            }
            names.push(name);
            if names.len() > most + 1 {
                names.pop();
            }
        }
        let mut names = names.into_sorted_vec();
        let more = names.len() > most;
        names.truncate(most);
        let found = names.iter().filter_map(|name| {
            // What is gone meanwhile is not there.
            let facts = facts_in(folder.as_fd(), path, name).ok()?;
            Some(facts.1)
        });
        Ok(Listing {
            entries: found.collect(),
            more,
        })
    }

    /// Opens a plain file for reading.
    pub fn read(&self, path: &TreePath) -> Result<(File, FileFacts), FileError> {
        let (looked, _) = self.look_at(path)?;
        open_plain(&looked, path)
    }

    /// Writes a small file as a whole, and returns what it is then.
    pub fn write(&self, path: &TreePath, content: &[u8], condition: &Condition) -> Result<FileFacts, FileError> {
        let (folder, name) = self.parent(path)?;
        let present = present_in(folder.as_fd(), name)?;
        match &present {
            Some(found) => {
                let unchanged = matches!(condition, Condition::Unchanged(tag) if *tag == found.tag);
                match found.kind {
                    FileKind::File if unchanged || *condition == Condition::Always => {}
                    FileKind::File => return Err(FileError::Changed(path.shown())),
                    FileKind::Link => return Err(FileError::Link(path.shown())),
                    FileKind::Folder | FileKind::Other => return Err(FileError::NotAFile(path.shown())),
                }
            }
            None if matches!(condition, Condition::Unchanged(_)) => return Err(FileError::Changed(path.shown())),
            None => {}
        }
        let existing = match condition {
            Condition::Absent => Existing::Keep,
            _ => Existing::Replace,
        };
        let mut new = NewFile::make(folder.as_fd(), path)?;
        new.file
            .write_all(content)
            .map_err(|error| FileError::from_io(path, error))?;
        let belonging = Belonging::in_place_of(present.as_ref(), folder.as_fd(), NEW_FILE);
        new.finish(path, name, (belonging, existing, Durability::Synced))?;
        self.look(path)
    }

    /// Gives a file of this machine, with all its content, a place in the volume. It is moved where
    /// that is possible, and copied and removed otherwise, with the time of its last change.
    pub fn take_in(&self, path: &TreePath, staged: &Path, existing: Existing) -> Result<FileFacts, FileError> {
        let failed = |error| FileError::from_io(path, error);
        let (folder, name) = self.parent(path)?;
        let file = File::options().read(true).write(true).open(staged).map_err(failed)?;
        let (present, facts) = (
            present_in(folder.as_fd(), name)?,
            FileFacts::of(path.clone(), &file.metadata().map_err(failed)?, None),
        );
        let existing = existing.settled(present.as_ref(), Some(facts.modified_ms));
        let belonging = Belonging::in_place_of(present.as_ref(), folder.as_fd(), NEW_FILE);
        belonging.and_then(|it| it.give(&file)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        match rename(
            CWD,
            staged.as_os_str().as_encoded_bytes(),
            folder.as_fd(),
            name,
            existing,
        ) {
            Err(Errno::XDEV) => {
                let mut new = NewFile::make(folder.as_fd(), path)?;
                io::copy(&mut &file, &mut new.file).map_err(failed)?;
                let modified = file.metadata().and_then(|facts| facts.modified());
                modified.and_then(|at| new.file.set_modified(at)).map_err(failed)?;
                let belonging = Belonging::in_place_of(present.as_ref(), folder.as_fd(), NEW_FILE);
                new.finish(path, name, (belonging, existing, Durability::Synced))?;
                std::fs::remove_file(staged).map_err(failed)?;
            }
            renamed => renamed.map_err(|errno| FileError::from_kernel(path, errno))?,
        }
        self.look(path)
    }

    /// Makes a folder in one that is there.
    pub fn make_folder(&self, path: &TreePath) -> Result<FileFacts, FileError> {
        let (folder, name) = self.parent(path)?;
        make_folder_in(folder.as_fd(), path, name)?;
        self.look(path)
    }

    /// Moves something to a place where nothing is.
    pub fn rename(&self, from: &TreePath, to: &TreePath) -> Result<(), FileError> {
        if to.is_in(from) && to != from {
            return Err(FileError::Refused(format!(
                "{} cannot be moved into itself",
                from.shown()
            )));
        }
        let (source, old) = self.parent(from)?;
        let (target, new) = self.parent(to)?;
        match rename(source.as_fd(), old, target.as_fd(), new, Existing::Keep) {
            Ok(()) => Ok(()),
            Err(Errno::EXIST) => Err(FileError::Exists(to.shown())),
            Err(errno) => Err(FileError::from_kernel(from, errno)),
        }
    }

    /// How much is in it. What vanishes meanwhile is nothing; files of several names count as often.
    /// `told` hears how much was found so far, after each folder and each thousand of entries; where it
    /// says that it is enough, that is the answer.
    pub fn amount(&self, mut told: impl FnMut(Amount) -> ControlFlow<()>) -> Result<Amount, FileError> {
        let mut amount = Amount::default();
        let mut folders = vec![TreePath::root()];
        let mut waiting_bytes = 0;
        while let Some(path) = folders.pop() {
            waiting_bytes -= path.length().min(waiting_bytes);
            if told(amount).is_break() {
                break;
            }
            let Ok(folder) = self.folder(&path) else { continue };
            for (number, name) in names_in(&folder, &path)?.flatten().enumerate() {
                if number % TOLD_EACH == TOLD_EACH - 1 && told(amount).is_break() {
                    return Ok(amount);
                }
                let Ok(looked) = look_in(folder.as_fd(), &name) else {
                    continue;
                };
                let Ok(facts) = File::from(looked).metadata() else {
                    continue;
                };
                // The kernel counts disk in blocks of 512 bytes, whatever the file system does.
                amount.bytes = amount.bytes.saturating_add(facts.blocks().saturating_mul(512));
                if facts.is_dir() {
                    let Ok(inner) = path.join(&name) else { continue };
                    waiting_bytes += inner.length();
                    if waiting_bytes > WAITING_BYTES {
                        return Err(FileError::Refused(format!(
                            "{} has too many folders with long names to be counted",
                            path.shown()
                        )));
                    }
                    folders.push(inner);
                } else {
                    amount.files += 1;
                }
            }
        }
        Ok(amount)
    }

    /// Bytes that the file system has left for others than root.
    pub fn room(&self) -> Result<u64, FileError> {
        let facts = fs::fstatvfs(&self.root).map_err(|errno| FileError::from_kernel(&TreePath::root(), errno))?;
        Ok(facts.f_bavail.saturating_mul(facts.f_frsize))
    }

    /// Opens a folder to list it, or to do something in it.
    fn folder(&self, path: &TreePath) -> Result<OwnedFd, FileError> {
        open_below(self.root.as_fd(), path.relative(), FOLDER).map_err(|errno| {
            // A link at the end of the path is told apart from other things that are no folders.
            let link =
                errno == Errno::NOTDIR && self.look_at(path).is_ok_and(|(_, facts)| facts.kind == FileKind::Link);
            FileError::from_kernel(path, if link { Errno::LOOP } else { errno })
        })
    }

    /// The folder that a path is in, and the name there.
    fn parent<'a>(&self, path: &'a TreePath) -> Result<(OwnedFd, &'a [u8]), FileError> {
        let Some((above, name)) = path.split() else {
            return Err(FileError::Refused(
                "this cannot be done with the volume itself".to_owned(),
            ));
        };
        Ok((self.folder(&above)?, name))
    }

    fn look_at(&self, path: &TreePath) -> Result<(OwnedFd, FileFacts), FileError> {
        let looked = open_below(self.root.as_fd(), path.relative(), LOOK)
            .map_err(|errno| FileError::from_kernel(path, errno))?;
        facts_of(looked, path.clone())
    }
}

/// A file that is being written beside its place; removed if it does not come to that.
struct NewFile<'a> {
    folder: BorrowedFd<'a>,
    name: Vec<u8>,
    file: File,
}

/// Whether content is on disk before a file becomes visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Durability {
    Synced,
    /// The kernel writes it when it likes.
    Lazy,
}

impl<'a> NewFile<'a> {
    fn make(folder: BorrowedFd<'a>, path: &TreePath) -> Result<Self, FileError> {
        let flags = OFlags::RDWR
            .union(OFlags::CREATE)
            .union(OFlags::EXCL)
            .union(OFlags::NOFOLLOW)
            .union(OFlags::CLOEXEC);
        let name = hidden_name("part");
        let made = fs::openat(folder, &name[..], flags, Mode::from_raw_mode(0o600));
        let file = made.map_err(|errno| FileError::from_kernel(path, errno))?;
        Ok(Self {
            folder,
            name,
            file: File::from(file),
        })
    }

    /// Gives it its owner, its permissions and its name.
    fn finish(
        self,
        path: &TreePath,
        name: &[u8],
        (belonging, existing, durability): (io::Result<Belonging>, Existing, Durability),
    ) -> Result<(), FileError> {
        let given = belonging.and_then(|belonging| belonging.give(&self.file));
        given.map_err(|error| FileError::from_io(path, error))?;
        if durability == Durability::Synced {
            self.file.sync_all().map_err(|error| FileError::from_io(path, error))?;
        }
        rename(self.folder, &self.name, self.folder, name, existing)
            .map_err(|errno| FileError::from_kernel(path, errno))
    }
}

impl Drop for NewFile<'_> {
    fn drop(&mut self) {
        // Gone where it got its name.
        let _ = fs::unlinkat(self.folder, &self.name[..], AtFlags::empty());
    }
}

/// A name that no app has.
fn hidden_name(kind: &str) -> Vec<u8> {
    format!(".weir-{:032x}.{kind}", fastrand::u128(..)).into_bytes()
}

/// To whom something belongs, and who may do what with it.
#[derive(Debug, Clone, Copy)]
struct Belonging {
    user: u32,
    group: u32,
    mode: u32,
}

impl Belonging {
    /// That of the folder, with these permissions.
    fn of_folder(folder: BorrowedFd<'_>, mode: u32) -> io::Result<Self> {
        let owner = File::from(folder.try_clone_to_owned()?).metadata()?;
        Ok(Self {
            user: owner.uid(),
            group: owner.gid(),
            mode,
        })
    }

    /// That of the file which gives way, so that its program can go on with it; that of the folder where
    /// there is none. The bits by which a file lends the rights of its owner are not passed on: the
    /// content is somebody else's.
    fn in_place_of(present: Option<&FileFacts>, folder: BorrowedFd<'_>, mode: u32) -> io::Result<Self> {
        match present.filter(|present| present.kind == FileKind::File) {
            Some(present) => Ok(Self {
                user: present.user,
                group: present.group,
                mode: present.mode & 0o777,
            }),
            None => Self::of_folder(folder, mode),
        }
    }

    fn give(self, file: &File) -> io::Result<()> {
        fchown(file, Some(self.user), Some(self.group))?;
        // After the owner: a change of that takes bits away.
        file.set_permissions(Permissions::from_mode(self.mode))
    }
}

fn make_folder_in(folder: BorrowedFd<'_>, path: &TreePath, name: &[u8]) -> Result<(), FileError> {
    fs::mkdirat(folder, name, Mode::from_raw_mode(NEW_FOLDER)).map_err(|errno| FileError::from_kernel(path, errno))?;
    let made = open_below(folder, name, FOLDER).map_err(|errno| FileError::from_kernel(path, errno))?;
    let belonging = Belonging::of_folder(folder, NEW_FOLDER);
    let given = belonging.and_then(|belonging| belonging.give(&File::from(made)));
    given.map_err(|error| FileError::from_io(path, error))
}

fn rename(
    source: BorrowedFd<'_>,
    old: &[u8],
    target: BorrowedFd<'_>,
    new: &[u8],
    existing: Existing,
) -> Result<(), Errno> {
    let flags = match existing {
        Existing::Keep | Existing::Resume => RenameFlags::NOREPLACE,
        Existing::Replace => RenameFlags::empty(),
    };
    fs::renameat_with(source, old, target, new, flags)
}

/// Opens something below a folder, through no link and out of nothing.
fn open_below(folder: BorrowedFd<'_>, relative: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    for _ in 0..DISTURBED {
        match fs::openat2(folder, relative, flags, Mode::empty(), RESOLVE) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            opened => return opened,
        }
    }
    Err(Errno::AGAIN)
}

fn look_in(folder: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
    open_below(folder, name, LOOK)
}

/// What a name in a folder is, with a descriptor that only looks.
fn facts_in(folder: BorrowedFd<'_>, path: &TreePath, name: &[u8]) -> Result<(OwnedFd, FileFacts), FileError> {
    let path = path.join(name)?;
    let looked = look_in(folder, name).map_err(|errno| FileError::from_kernel(&path, errno))?;
    facts_of(looked, path)
}

/// What is there under a name, if anything is.
fn present_in(folder: BorrowedFd<'_>, name: &[u8]) -> Result<Option<FileFacts>, FileError> {
    match facts_in(folder, &TreePath::root(), name) {
        Ok((_, facts)) => Ok(Some(facts)),
        Err(FileError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn facts_of(looked: OwnedFd, path: TreePath) -> Result<(OwnedFd, FileFacts), FileError> {
    let looked = File::from(looked);
    let facts = looked.metadata().map_err(|error| FileError::from_io(&path, error))?;
    let target = match facts.is_symlink() {
        true => fs::readlinkat(&looked, "", Vec::new())
            .ok()
            .map(std::ffi::CString::into_bytes),
        false => None,
    };
    Ok((looked.into(), FileFacts::of(path, &facts, target)))
}

/// Opens what was looked at, if it is a plain file: the very same one, whatever has its name now.
fn open_plain(looked: &OwnedFd, path: &TreePath) -> Result<(File, FileFacts), FileError> {
    let failed = |error| FileError::from_io(path, error);
    let facts = File::from(looked.try_clone().map_err(failed)?)
        .metadata()
        .map_err(failed)?;
    match FileKind::of(&facts) {
        FileKind::File => {}
        FileKind::Link => return Err(FileError::Link(path.shown())),
        FileKind::Folder | FileKind::Other => return Err(FileError::NotAFile(path.shown())),
    }
    let own = format!("/proc/self/fd/{}", looked.as_raw_fd());
    let file = File::open(own).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    Ok((file, FileFacts::of(path.clone(), &facts, None)))
}

/// The names in a folder, in no order.
fn names_in<'a>(
    folder: &OwnedFd,
    path: &'a TreePath,
) -> Result<impl Iterator<Item = Result<Vec<u8>, FileError>> + use<'a>, FileError> {
    let listed = Dir::read_from(folder).map_err(|errno| FileError::from_kernel(path, errno))?;
    Ok(listed.filter_map(|entry| match entry {
        Ok(entry) => {
            let name = entry.file_name().to_bytes();
            (name != b"." && name != b"..").then(|| Ok(name.to_vec()))
        }
        Err(errno) => Some(Err(FileError::from_kernel(path, errno))),
    }))
}
