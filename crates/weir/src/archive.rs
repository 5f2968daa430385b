//! A folder as a tar archive for `weir deploy`: what `.gitignore` and `.weirignore` leave, never
//! `.git`, within the limits that the other side has as well.

use std::fs::Metadata;
use std::io::{Seek as _, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;

use crate::failure::{Failure, Result};
use crate::output::{printable, size};

/// Most files and folders.
const MOST_ENTRIES: u64 = 100_000;
/// Largest file, in bytes.
const FILE_BYTES: u64 = 2 << 30;
/// Most bytes in all files.
const TOTAL_BYTES: u64 = 4 << 30;
/// Largest archive after compression, in bytes; the API takes no more.
const ARCHIVE_BYTES: u64 = 2 << 30;

/// A packed folder.
#[derive(Debug)]
pub(crate) struct Archive {
    /// The compressed archive, at its beginning; it has no name on disk.
    pub(crate) file: std::fs::File,
    /// Its length in bytes.
    pub(crate) length: u64,
    /// How many files it holds.
    pub(crate) files: u64,
    /// Their size together, in bytes.
    pub(crate) bytes: u64,
}

/// Packs a folder. Blocks; the same files give the same order.
pub(crate) fn pack(folder: &Path) -> Result<Archive> {
    let metadata = std::fs::metadata(folder)
        .map_err(|error| Failure::file("read", folder, &error).code(crate::failure::ExitCode::NotFound))?;
    if !metadata.is_dir() {
        return Err(Failure::usage(format!("{} is not a folder", folder.display())).hint("weir deploy FOLDER"));
    }
    let spool = tempfile::tempfile()
        .map_err(|error| Failure::failed("cannot make a temporary file").detail(error.to_string()))?;
    let compressed = flate2::write::GzEncoder::new(std::io::BufWriter::new(spool), flate2::Compression::fast());
    let mut packer = Packer {
        tar: tar::Builder::new(compressed),
        root: folder,
        entries: 0,
        files: 0,
        bytes: 0,
    };
    for entry in walk(folder) {
        let entry = entry.map_err(|error| Failure::failed("cannot read the folder").detail(error.to_string()))?;
        packer.add(entry.path())?;
    }
    if packer.files == 0 {
        return Err(
            Failure::usage(format!("there is nothing to deploy in {}", folder.display()))
                .detail("it is empty, or .gitignore and .weirignore leave nothing of it"),
        );
    }
    packer.finish()
}

/// Packs all that is in a folder, hidden and ignored files included, for a volume. Gives the archive, at
/// its beginning, and its length in bytes.
pub(crate) fn pack_everything(folder: &Path) -> Result<(std::fs::File, u64)> {
    let cannot = |error: std::io::Error| Failure::file("pack", folder, &error);
    let spool = tempfile::tempfile().map_err(cannot)?;
    let mut tar = tar::Builder::new(std::io::BufWriter::new(spool));
    tar.follow_symlinks(false);
    tar.append_dir_all("", folder).map_err(cannot)?;
    let mut file = tar
        .into_inner()
        .map_err(cannot)?
        .into_inner()
        .map_err(|error| cannot(error.into_error()))?;
    let length = file.stream_position().map_err(cannot)?;
    file.rewind().map_err(cannot)?;
    Ok((file, length))
}

fn walk(folder: &Path) -> ignore::Walk {
    // Files above the folder count only where they are of the same repository.
    let in_repository = folder
        .canonicalize()
        .is_ok_and(|folder| folder.ancestors().any(|folder| folder.join(".git").exists()));
    WalkBuilder::new(folder)
        .hidden(false)
        .parents(in_repository)
        .ignore(false)
        .git_global(false)
        .git_exclude(true)
        .git_ignore(true)
        .require_git(false)
        .add_custom_ignore_filename(".weirignore")
        .follow_links(false)
        .sort_by_file_name(std::ffi::OsStr::cmp)
        .filter_entry(|entry| entry.file_name() != ".git")
        .build()
}

struct Packer<'a, W: Write> {
    tar: tar::Builder<W>,
    root: &'a Path,
    entries: u64,
    files: u64,
    bytes: u64,
}

impl<W: Write> Packer<'_, W> {
    fn add(&mut self, path: &Path) -> Result<()> {
        let Ok(name) = path.strip_prefix(self.root) else {
            return Ok(());
        };
        if name.as_os_str().is_empty() {
            return Ok(());
        }
        let metadata = match path.symlink_metadata() {
            Ok(metadata) => metadata,
            // Editors and builds remove files while we look.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(Failure::file("read", path, &error)),
        };
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(too_much(format!("the folder has more than {MOST_ENTRIES} files")));
        }
        let written = if metadata.is_dir() {
            self.folder(name, &metadata)
        } else if metadata.is_symlink() {
            self.link(name, path, &metadata)
        } else if metadata.is_file() {
            return self.file(name, path);
        } else {
            // Sockets, pipes and devices mean nothing on another machine.
            Ok(())
        };
        written.map_err(|error| cannot_pack(path, &error))
    }

    fn folder(&mut self, name: &Path, metadata: &Metadata) -> std::io::Result<()> {
        let mut header = header(tar::EntryType::Directory, 0, 0o755, metadata);
        self.tar.append_data(&mut header, name, std::io::empty())
    }

    fn link(&mut self, name: &Path, path: &Path, metadata: &Metadata) -> std::io::Result<()> {
        let target: PathBuf = std::fs::read_link(path)?;
        let mut header = header(tar::EntryType::Symlink, 0, 0o777, metadata);
        self.tar.append_link(&mut header, name, target)
    }

    fn file(&mut self, name: &Path, path: &Path) -> Result<()> {
        let file = std::fs::File::open(path).map_err(|error| Failure::file("read", path, &error))?;
        let metadata = file.metadata().map_err(|error| Failure::file("read", path, &error))?;
        let length = metadata.len();
        self.files += 1;
        self.bytes += length;
        if length > FILE_BYTES {
            return Err(too_much(format!(
                "{} has {}; a file may have {}",
                shown(name),
                size(length),
                size(FILE_BYTES)
            )));
        }
        if self.bytes > TOTAL_BYTES {
            return Err(too_much(format!("the folder has more than {}", size(TOTAL_BYTES))));
        }
        let mode = if metadata.permissions().mode() & 0o111 == 0 {
            0o644
        } else {
            0o755
        };
        let mut header = header(tar::EntryType::Regular, length, mode, &metadata);
        // A file that grows while it is read is cut where it ended, one that shrinks is an error.
        let mut counted = Exactly { file, left: length };
        self.tar
            .append_data(&mut header, name, &mut counted)
            .map_err(|error| cannot_pack(path, &error))
    }
}

impl Packer<'_, flate2::write::GzEncoder<std::io::BufWriter<std::fs::File>>> {
    fn finish(self) -> Result<Archive> {
        let written = || -> std::io::Result<(std::fs::File, u64)> {
            let mut file = self
                .tar
                .into_inner()?
                .finish()?
                .into_inner()
                .map_err(std::io::IntoInnerError::into_error)?;
            let length = file.stream_position()?;
            file.rewind()?;
            Ok((file, length))
        };
        let (file, length) =
            written().map_err(|error| Failure::failed("cannot write a temporary file").detail(error.to_string()))?;
        if length > ARCHIVE_BYTES {
            return Err(too_much(format!(
                "packed, the folder has {}; {} are possible",
                size(length),
                size(ARCHIVE_BYTES)
            )));
        }
        Ok(Archive {
            file,
            length,
            files: self.files,
            bytes: self.bytes,
        })
    }
}

fn header(kind: tar::EntryType, length: u64, mode: u32, metadata: &Metadata) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(length);
    header.set_mode(mode);
    header.set_mtime(u64::try_from(metadata.mtime()).unwrap_or(0));
    header
}

fn shown(name: &Path) -> String {
    printable(&name.to_string_lossy())
}

fn too_much(what: String) -> Failure {
    Failure::usage(what).hint("leave out what the build does not need: a line each in .weirignore, as in .gitignore")
}

fn cannot_pack(path: &Path, error: &std::io::Error) -> Failure {
    Failure::failed(format!("cannot pack {}", shown(path))).detail(error.to_string())
}

struct Exactly {
    file: std::fs::File,
    left: u64,
}

impl std::io::Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if most == 0 {
            return Ok(0);
        }
        let count = self.file.read(&mut buffer[..most])?;
        if count == 0 {
            return Err(std::io::Error::new(
                std::io::ErrorKind::UnexpectedEof,
                "it changed while it was read",
            ));
        }
        self.left = self.left.saturating_sub(u64::try_from(count).unwrap_or(u64::MAX));
        Ok(count)
    }
}
