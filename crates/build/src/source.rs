//! What was pushed: an archive, indexed and never unpacked on the host. Its file contents lie
//! one behind another in an unlinked scratch file; names exist only in the index, so that no
//! name of a hostile repository ever becomes a path of this machine.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tar::EntryType;

/// Longest path, in bytes.
const PATH_BYTES: usize = 1024;
/// Most folders in each other.
const DEPTH: usize = 64;
/// Most bytes of a zip that say what is in it; they are kept in memory while it is read.
const DIRECTORY_BYTES: u64 = 32 << 20;
/// Most bytes of a tar that name one entry; likewise.
const NAMING_BYTES: u64 = 1 << 20;
/// What macOS puts into its zips beside what was meant.
const OF_MACOS: &[u8] = b"__MACOSX/";
/// Folders that mean something by their name, so that they are never taken for the source itself.
const SITE_FOLDERS: [&str; 5] = ["public", "dist", "_site", "site", "www"];
/// Most symbolic links that are followed for one path.
const LINKS: usize = 32;

/// How much a source may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceLimits {
    /// Files, folders and links together.
    pub entries: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files; a hard link counts like a copy.
    pub total_bytes: u64,
}

impl Default for SourceLimits {
    /// 100,000 entries, 2 GiB a file, 4 GiB in all.
    fn default() -> Self {
        Self {
            entries: 100_000,
            file_bytes: 2 << 30,
            total_bytes: 4 << 30,
        }
    }
}

/// Why a source is refused, in words for the person who sent it.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The archive itself cannot be read.
    #[error("the archive cannot be read: {0}")]
    Broken(String),
    /// One entry breaks a rule.
    #[error("`{path}` is refused: {rule}")]
    Refused {
        /// The entry, shortened.
        path: String,
        /// The rule that it breaks.
        rule: String,
    },
    /// It holds more than allowed.
    #[error("the source is too large: {0}")]
    TooLarge(String),
    /// The scratch file cannot be written.
    #[error("the source cannot be kept: {0}")]
    Scratch(String),
}

/// What was pushed.
#[derive(Debug, Clone)]
pub struct Source {
    entries: Arc<BTreeMap<String, SourceEntry>>,
    contents: Arc<File>,
}

/// One entry of a source. Folders may be missing; they follow from the paths in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceEntry {
    /// A file.
    File {
        /// Where its contents begin in the scratch file.
        offset: u64,
        /// Bytes.
        bytes: u64,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A folder.
    Folder,
    /// A symbolic link that stays in the source.
    Link {
        /// Where it points to, relative to its folder.
        target: String,
    },
}

impl Source {
    /// Reads an archive to its end: tar, tar in gzip, or zip; its first bytes say which. What lies
    /// in one folder, with nothing beside it, lies in the root.
    pub fn from_archive(archive: File, limits: &SourceLimits, scratch: &Path) -> Result<Self, SourceError> {
        let mut start = [0; 4];
        // A shorter one is no zip, and what else it is not is said below.
        let zipped = archive.read_exact_at(&mut start, 0).is_ok() && matches!(&start, b"PK\x03\x04" | b"PK\x05\x06");
        let source = match zipped {
            true => Self::from_zip(archive, limits, scratch),
            false => Self::from_tar(archive, limits, scratch),
        }?;
        Ok(source.unwrapped())
    }

    fn from_zip(archive: File, limits: &SourceLimits, scratch: &Path) -> Result<Self, SourceError> {
        let unreadable = |error: zip::result::ZipError| SourceError::Broken(error.to_string());
        let allowance = Rc::new(Cell::new(DIRECTORY_BYTES));
        let metered = Metered {
            inner: BufReader::new(archive),
            allowance: allowance.clone(),
            rule: "it lists too many files",
        };
        let mut zip = zip::ZipArchive::new(metered).map_err(unreadable)?;
        allowance.set(u64::MAX);
        let mut reading = Reading::new(limits, scratch)?;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(unreadable)?;
            let raw = entry.name_raw().to_vec();
            if raw.starts_with(OF_MACOS) {
                continue;
            }
            let (folder, link, bytes) = (entry.is_dir(), entry.is_symlink(), entry.size());
            let executable = entry.unix_mode().is_some_and(|mode| mode & 0o111 != 0);
            reading.add(&raw, |reading, path| {
                if folder {
                    return Ok(SourceEntry::Folder);
                }
                if link {
                    let mut target = Vec::new();
                    entry
                        .by_ref()
                        .take(PATH_BYTES as u64 + 1)
                        .read_to_end(&mut target)
                        .map_err(broken)?;
                    let target = checked_target(&target, path)?;
                    return Ok(SourceEntry::Link { target });
                }
                reading.content(&mut entry, bytes, executable, path)
            })?;
        }
        reading.finish()
    }

    /// The same without the folder around everything, if there is one.
    fn unwrapped(self) -> Self {
        let names = self.list("");
        let [folder] = names[..] else { return self };
        let wrapped = !SITE_FOLDERS.contains(&folder)
            && !matches!(
                self.entries.get(folder),
                Some(SourceEntry::File { .. } | SourceEntry::Link { .. })
            );
        if !wrapped {
            return self;
        }
        let prefix = format!("{folder}/");
        let inside = self.entries.iter().filter_map(|(path, entry)| {
            let path = path.strip_prefix(&prefix)?;
            Some((path.to_owned(), entry.clone()))
        });
        Self {
            entries: Arc::new(inside.collect()),
            contents: self.contents,
        }
    }

    /// The same with another content of one file, as if it had come so.
    pub fn with_file(self, path: &str, content: &[u8]) -> Result<Self, SourceError> {
        let failed = |error: io::Error| SourceError::Scratch(error.to_string());
        let offset = self.contents.metadata().map_err(failed)?.len();
        self.contents.write_all_at(content, offset).map_err(failed)?;
        let mut entries = (*self.entries).clone();
        let file = SourceEntry::File {
            offset,
            bytes: u64::try_from(content.len()).unwrap_or(u64::MAX),
            executable: false,
        };
        entries.insert(path.to_owned(), file);
        Ok(Self {
            entries: Arc::new(entries),
            contents: self.contents,
        })
    }

    /// Reads an archive (tar, or tar in gzip) to its end. The scratch file is made in `scratch`
    /// and has no name, so that nothing is left behind even by a crash.
    pub fn from_tar(archive: impl Read, limits: &SourceLimits, scratch: &Path) -> Result<Self, SourceError> {
        let mut archive = BufReader::with_capacity(64 << 10, archive);
        let start = archive.fill_buf().map_err(broken)?;
        if start.starts_with(&[0x1f, 0x8b]) {
            Self::from_plain_tar(flate2::bufread::MultiGzDecoder::new(archive), limits, scratch)
        } else {
            Self::from_plain_tar(archive, limits, scratch)
        }
    }

    fn from_plain_tar(archive: impl Read, limits: &SourceLimits, scratch: &Path) -> Result<Self, SourceError> {
        // What the archive may hold beside contents: a header of 512 bytes, padding and long names an entry.
        let overhead = u64::try_from(limits.entries)
            .unwrap_or(u64::MAX)
            .saturating_mul(4096)
            .saturating_add(1 << 20);
        let bounded = Bounded {
            inner: archive,
            left: limits.total_bytes.saturating_add(overhead),
        };
        let mut reading = Reading::new(limits, scratch)?;
        let allowance = Rc::new(Cell::new(NAMING_BYTES));
        let mut archive = tar::Archive::new(Metered {
            inner: bounded,
            allowance: allowance.clone(),
            rule: "a name in it is too long",
        });
        let mut entries = archive.entries().map_err(broken)?;
        loop {
            // Between two contents come names, which are kept in memory.
            allowance.set(NAMING_BYTES);
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.map_err(broken)?;
            allowance.set(u64::MAX);
            reading.entry(&mut entry)?;
            io::copy(&mut entry, &mut io::sink()).map_err(broken)?;
        }
        reading.finish()
    }

    /// All entries by path, in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &SourceEntry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// The first `most` bytes of a file; links are followed inside of the source. `None` if
    /// there is no such file.
    pub fn read(&self, path: &str, most: usize) -> Option<Vec<u8>> {
        let SourceEntry::File { offset, bytes, .. } = self.entries.get(&self.resolve(path)?)? else {
            return None;
        };
        let mut buffer = vec![0; most.min(usize::try_from(*bytes).unwrap_or(most))];
        self.contents.read_exact_at(&mut buffer, *offset).ok()?;
        Some(buffer)
    }

    /// A file of at most 1 MiB as text; bytes that are no UTF-8 are replaced.
    pub fn text(&self, path: &str) -> Option<String> {
        let bytes = self.read(path, 1 << 20)?;
        Some(String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes)).into_owned())
    }

    /// Whether there is a file at this path; links are followed.
    pub fn has_file(&self, path: &str) -> bool {
        self.resolve(path)
            .is_some_and(|path| matches!(self.entries.get(&path), Some(SourceEntry::File { .. })))
    }

    /// Whether there is a folder at this path; the empty path is the root.
    pub fn has_folder(&self, path: &str) -> bool {
        path.is_empty() || !self.list(path).is_empty() || matches!(self.entries.get(path), Some(SourceEntry::Folder))
    }

    /// The names in a folder (not in the folders inside of it); the empty path is the root.
    pub fn list(&self, folder: &str) -> Vec<&str> {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let mut names: Vec<&str> = Vec::new();
        let inside = self
            .entries
            .range(prefix.clone()..)
            .take_while(|(path, _)| path.starts_with(&prefix));
        for (path, _) in inside {
            let name = path[prefix.len()..].split('/').next().unwrap_or_default();
            if names.last() != Some(&name) {
                names.push(name);
            }
        }
        names
    }

    /// A piece of a file's contents, for those who stream it.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.contents.read_exact_at(buffer, offset)
    }

    /// Where a path leads when links are followed; `None` if out of the source or in circles.
    fn resolve(&self, path: &str) -> Option<String> {
        resolve(&self.entries, path).ok()
    }
}

/// Follows the links of a path inside of an index.
fn resolve(entries: &BTreeMap<String, SourceEntry>, path: &str) -> Result<String, &'static str> {
    let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
    let mut done: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = todo.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => {
                done.pop().ok_or("it points out of the source")?;
                continue;
            }
            _ => done.push(part),
        }
        if let Some(SourceEntry::Link { target }) = entries.get(&done.join("/")) {
            links += 1;
            if links > LINKS {
                return Err("its links go in circles");
            }
            done.pop();
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
        if done.len() + todo.len() > DEPTH * LINKS {
            return Err("its links lead too deep");
        }
    }
    Ok(done.join("/"))
}

/// Reads as much as is allowed, of what is kept in memory by those who read it.
struct Metered<R> {
    inner: R,
    allowance: Rc<Cell<u64>>,
    /// What is wrong where more is wanted.
    rule: &'static str,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.allowance.get())
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        if most == 0 && !buffer.is_empty() {
            return Err(io::Error::other(self.rule));
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

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, position: io::SeekFrom) -> io::Result<u64> {
        self.inner.seek(position)
    }
}

/// The state while an archive is read.
struct Reading {
    contents: BufWriter<File>,
    entries: BTreeMap<String, SourceEntry>,
    total_bytes: u64,
    written_bytes: u64,
    limits: SourceLimits,
}

impl Reading {
    fn new(limits: &SourceLimits, scratch: &Path) -> Result<Self, SourceError> {
        let file = scratch_file(scratch).map_err(|error| SourceError::Scratch(error.to_string()))?;
        Ok(Self {
            contents: BufWriter::with_capacity(256 << 10, file),
            entries: BTreeMap::new(),
            total_bytes: 0,
            written_bytes: 0,
            limits: *limits,
        })
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), SourceError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let raw = entry.path_bytes().into_owned();
        self.add(&raw, |reading, path| match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => reading.file(entry, path),
            EntryType::Directory => Ok(SourceEntry::Folder),
            EntryType::Symlink => Ok(SourceEntry::Link {
                target: checked_target(&entry.link_name_bytes().unwrap_or_default(), path)?,
            }),
            EntryType::Link => reading.hard_link(entry, path),
            EntryType::Fifo => Err(refused(&raw, "it is a pipe; only files, folders and links are allowed")),
            EntryType::Block | EntryType::Char => Err(refused(
                &raw,
                "it is a device; only files, folders and links are allowed",
            )),
            _ => Err(refused(&raw, "it is neither a file nor a folder nor a link")),
        })
    }

    /// Adds an entry, which is read once its path has been found to be allowed.
    fn add(
        &mut self,
        raw: &[u8],
        read: impl FnOnce(&mut Self, &str) -> Result<SourceEntry, SourceError>,
    ) -> Result<(), SourceError> {
        let Some(path) = checked_path(raw)? else { return Ok(()) };
        if self.entries.len() >= self.limits.entries {
            return Err(SourceError::TooLarge(format!(
                "it has more than {} files and folders",
                self.limits.entries
            )));
        }
        let found = read(self, &path)?;
        match (self.entries.get(&path), &found) {
            (Some(SourceEntry::Folder), SourceEntry::Folder) => Ok(()),
            (Some(_), _) => Err(refused(raw, "it is in the archive twice")),
            (None, _) => {
                self.entries.insert(path, found);
                Ok(())
            }
        }
    }

    fn file(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &str) -> Result<SourceEntry, SourceError> {
        if entry.header().entry_type() == EntryType::GNUSparse {
            return Err(refused(
                path.as_bytes(),
                "it is a sparse file; pack it as a plain one (tar without -S)",
            ));
        }
        let executable = entry.header().mode().is_ok_and(|mode| mode & 0o111 != 0);
        let bytes = entry.size();
        self.content(entry, bytes, executable, path)
    }

    fn content(
        &mut self,
        content: &mut impl Read,
        bytes: u64,
        executable: bool,
        path: &str,
    ) -> Result<SourceEntry, SourceError> {
        self.count(bytes, path)?;
        let offset = self.written_bytes;
        // A zip may say one size and hold another.
        let copied = io::copy(&mut content.take(bytes.saturating_add(1)), &mut self.contents).map_err(|error| {
            match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SourceError::Scratch(error.to_string()),
                _ => broken(error),
            }
        })?;
        if copied != bytes {
            return Err(SourceError::Broken(format!(
                "`{path}` is not as long as the archive says"
            )));
        }
        self.written_bytes += bytes;
        Ok(SourceEntry::File {
            offset,
            bytes,
            executable,
        })
    }

    fn hard_link(&mut self, entry: &tar::Entry<'_, impl Read>, path: &str) -> Result<SourceEntry, SourceError> {
        let raw = entry.link_name_bytes().unwrap_or_default();
        let target = checked_path(&raw)?.unwrap_or_default();
        let Some(file @ SourceEntry::File { bytes, .. }) = self.entries.get(&target).cloned() else {
            return Err(refused(
                path.as_bytes(),
                &format!(
                    "it is a link to `{}`, which is no file before it in the archive",
                    shown(&raw)
                ),
            ));
        };
        // The build context holds it once more, so that it counts once more.
        self.count(bytes, path)?;
        Ok(file)
    }

    fn count(&mut self, bytes: u64, path: &str) -> Result<(), SourceError> {
        if bytes > self.limits.file_bytes {
            let most = self.limits.file_bytes >> 20;
            return Err(refused(
                path.as_bytes(),
                &format!("it has {} MiB; a file may have {most} MiB", bytes >> 20),
            ));
        }
        self.total_bytes = self.total_bytes.saturating_add(bytes);
        if self.total_bytes > self.limits.total_bytes {
            return Err(SourceError::TooLarge(format!(
                "its files have more than {} MiB together",
                self.limits.total_bytes >> 20
            )));
        }
        Ok(())
    }

    fn finish(self) -> Result<Source, SourceError> {
        let contents = self
            .contents
            .into_inner()
            .map_err(|error| SourceError::Scratch(error.error().to_string()))?;
        for (path, entry) in &self.entries {
            let mut parent = path.as_str();
            while let Some((above, _)) = parent.rsplit_once('/') {
                if matches!(
                    self.entries.get(above),
                    Some(SourceEntry::File { .. } | SourceEntry::Link { .. })
                ) {
                    return Err(refused(
                        path.as_bytes(),
                        &format!("it lies in `{above}`, which is no folder"),
                    ));
                }
                parent = above;
            }
            if matches!(entry, SourceEntry::Link { .. })
                && let Err(rule) = resolve(&self.entries, path)
            {
                return Err(refused(path.as_bytes(), rule));
            }
        }
        Ok(Source {
            entries: Arc::new(self.entries),
            contents: Arc::new(contents),
        })
    }
}

/// A path as it is kept: relative, plain, UTF-8. `None` for the root itself.
fn checked_path(raw: &[u8]) -> Result<Option<String>, SourceError> {
    if raw.len() > PATH_BYTES {
        return Err(refused(raw, &format!("its path is longer than {PATH_BYTES} bytes")));
    }
    let Ok(path) = std::str::from_utf8(raw) else {
        return Err(refused(raw, "its name is not UTF-8; rename it"));
    };
    if path.starts_with('/') {
        return Err(refused(raw, "its path is absolute"));
    }
    if path.chars().any(char::is_control) {
        return Err(refused(raw, "its name has a control character in it; rename it"));
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") {
        return Err(refused(raw, "its path has `..` in it"));
    }
    if parts.len() > DEPTH {
        return Err(refused(raw, &format!("it lies more than {DEPTH} folders deep")));
    }
    if parts.iter().any(|part| part.len() > 255) {
        return Err(refused(raw, "its name is longer than 255 bytes"));
    }
    Ok(Some(parts.join("/")).filter(|path| !path.is_empty()))
}

fn checked_target(raw: &[u8], path: &str) -> Result<String, SourceError> {
    let target = std::str::from_utf8(raw)
        .ok()
        .filter(|target| !target.is_empty() && target.len() <= PATH_BYTES && !target.chars().any(char::is_control));
    let Some(target) = target else {
        return Err(refused(path.as_bytes(), "it is a link to a name that cannot be read"));
    };
    if target.starts_with('/') {
        return Err(refused(
            path.as_bytes(),
            &format!(
                "it is a link to the absolute path `{}`; make it relative and inside the repository",
                shown(raw)
            ),
        ));
    }
    Ok(target.to_owned())
}

fn refused(path: &[u8], rule: &str) -> SourceError {
    SourceError::Refused {
        path: shown(path),
        rule: rule.to_owned(),
    }
}

/// A name of unknown origin, for messages: short and without control characters.
fn shown(path: &[u8]) -> String {
    let text = String::from_utf8_lossy(path);
    let mut short: String = text
        .chars()
        .take(120)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().count() > 120 {
        short.push('…');
    }
    short
}

fn broken(error: io::Error) -> SourceError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Bomb>()) {
        Some(_) => SourceError::TooLarge("unpacked it is larger than allowed".to_owned()),
        None => SourceError::Broken(error.to_string()),
    }
}

/// A new file without a name, readable and writable.
fn scratch_file(folder: &Path) -> io::Result<File> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    std::fs::create_dir_all(folder)?;
    loop {
        let name = format!(
            ".source-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let path = folder.join(name);
        match File::options().read(true).write(true).create_new(true).open(&path) {
            Ok(file) => {
                std::fs::remove_file(&path)?;
                return Ok(file);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Stops a decompression bomb.
struct Bounded<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more bytes than allowed")]
struct Bomb;

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(u64::try_from(read).unwrap_or(u64::MAX))
            .ok_or_else(|| io::Error::other(Bomb))?;
        Ok(read)
    }
}
