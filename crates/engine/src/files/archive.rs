//! A folder of a volume as an archive, written while it is read.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

use super::{FileError, FileFacts, FileKind, Tree, TreePath, WAITING_BYTES, facts_in, names_in, open_plain};

/// Most names that wait for their turn: those of one folder, and of the folders on its way up.
const NAMES: usize = 2_000_000;

/// How an archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// tar.
    Tar,
    /// tar, compressed by gzip.
    TarGz,
    /// zip.
    Zip,
}

impl ArchiveFormat {
    /// From the word in the API.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "tar" => Some(Self::Tar),
            "tar.gz" => Some(Self::TarGz),
            "zip" => Some(Self::Zip),
            _ => None,
        }
    }

    /// The word in the API, which is how names of such files end.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "tar.gz",
            Self::Zip => "zip",
        }
    }

    /// For `Content-Type`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Tar => "application/x-tar",
            Self::TarGz => "application/gzip",
            Self::Zip => "application/zip",
        }
    }
}

impl Tree {
    /// Writes a folder with all that is in it, without a folder around it. Links are written as
    /// links; sockets, pipes and devices are left out. A file that grows while it is read is cut where
    /// it ended, one that shrinks is filled up with zeros.
    pub fn archive(&self, path: &TreePath, format: ArchiveFormat, out: impl Write) -> Result<(), FileError> {
        let failed = |error| FileError::from_io(path, error);
        match format {
            ArchiveFormat::Tar => {
                let mut tar = tar::Builder::new(out);
                self.walk(path, &mut tar)?;
                tar.into_inner().and_then(|mut out| out.flush()).map_err(failed)
            }
            ArchiveFormat::TarGz => {
                let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(out, flate2::Compression::fast()));
                self.walk(path, &mut tar)?;
                let gzip = tar.into_inner().map_err(failed)?;
                gzip.finish().and_then(|mut out| out.flush()).map_err(failed)
            }
            ArchiveFormat::Zip => {
                let mut zip = zip::ZipWriter::new_stream(out);
                self.walk(path, &mut zip)?;
                let mut out = zip.finish().map_err(|error| failed(error.into()))?;
                out.flush().map_err(failed)
            }
        }
    }

    /// Every folder is opened anew from the root, so that one descriptor is enough for any depth; one
    /// that is none any more by then is left out.
    fn walk(&self, top: &TreePath, sink: &mut dyn Sink) -> Result<(), FileError> {
        let mut waiting = vec![(top.clone(), TreePath::root())];
        let (mut waiting_bytes, mut told_bytes) = (0, 0);
        let mut first = true;
        while let Some((path, shown)) = waiting.pop() {
            waiting_bytes -= (path.length() + shown.length()).min(waiting_bytes);
            let folder = match self.folder(&path) {
                Ok(folder) => folder,
                Err(FileError::NotFound(_) | FileError::NotAFolder(_) | FileError::Link(_)) if !first => continue,
                Err(error) => return Err(error),
            };
            first = false;
            let mut names = names_in(&folder, &path)?
                .take(NAMES + 1)
                .collect::<Result<Vec<_>, _>>()?;
            if names.len() + waiting.len() > NAMES {
                return Err(FileError::Refused(format!(
                    "{} has more than {NAMES} entries; take its folders one by one",
                    path.shown()
                )));
            }
            names.sort_unstable();
            let mut folders = Vec::new();
            for name in names {
                let Ok((looked, facts)) = facts_in(folder.as_fd(), &path, &name) else {
                    continue;
                };
                let shown = shown.join(&name)?;
                // A zip ends with a list of all that is in it.
                told_bytes += shown.length() + 256;
                if facts.kind == FileKind::Folder {
                    waiting_bytes += facts.path.length() + shown.length();
                    folders.push((facts.path.clone(), shown.clone()));
                }
                if waiting_bytes > WAITING_BYTES || (sink.keeps_names() && told_bytes > 4 * WAITING_BYTES) {
                    return Err(FileError::Refused(format!(
                        "{} has too many names in it; take its folders one by one",
                        top.shown()
                    )));
                }
                put(sink, &looked, &facts, &shown).map_err(|error| FileError::from_io(&path, error))?;
            }
            // The last that is put there is the next that is taken.
            waiting.extend(folders.into_iter().rev());
        }
        Ok(())
    }
}

fn put(sink: &mut dyn Sink, looked: &OwnedFd, facts: &FileFacts, shown: &TreePath) -> io::Result<()> {
    match facts.kind {
        FileKind::Folder => sink.folder(shown, facts),
        FileKind::Link => sink.link(shown, facts, facts.target.as_deref().unwrap_or_default()),
        FileKind::File => match open_plain(looked, &facts.path) {
            Ok((file, facts)) => sink.file(
                shown,
                &facts,
                &mut Exactly {
                    file,
                    left: facts.bytes,
                },
            ),
            Err(FileError::Failed { cause, .. }) => Err(cause),
            Err(_gone) => Ok(()),
        },
        FileKind::Other => Ok(()),
    }
}

/// As many bytes as were announced.
struct Exactly {
    file: File,
    left: u64,
}

impl Read for Exactly {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let buffer = &mut buffer[..most];
        let mut count = self.file.read(buffer)?;
        if count == 0 {
            buffer.fill(0);
            count = most;
        }
        self.left -= u64::try_from(count).unwrap_or(self.left);
        Ok(count)
    }
}

/// What writes entries.
trait Sink {
    /// Whether it keeps the names of all that was put into it until its end.
    fn keeps_names(&self) -> bool {
        false
    }
    fn folder(&mut self, path: &TreePath, facts: &FileFacts) -> io::Result<()>;
    fn link(&mut self, path: &TreePath, facts: &FileFacts, target: &[u8]) -> io::Result<()>;
    fn file(&mut self, path: &TreePath, facts: &FileFacts, content: &mut dyn Read) -> io::Result<()>;
}

fn header(kind: tar::EntryType, facts: &FileFacts) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(facts.bytes);
    header.set_mode(facts.mode);
    header.set_mtime(u64::try_from(facts.modified_ms / 1000).unwrap_or(0));
    header
}

impl<W: Write> Sink for tar::Builder<W> {
    fn folder(&mut self, path: &TreePath, facts: &FileFacts) -> io::Result<()> {
        let mut header = header(tar::EntryType::Directory, facts);
        self.append_data(&mut header, path.as_path(), io::empty())
    }

    fn link(&mut self, path: &TreePath, facts: &FileFacts, target: &[u8]) -> io::Result<()> {
        let mut header = header(tar::EntryType::Symlink, facts);
        self.append_link(&mut header, path.as_path(), std::ffi::OsStr::from_bytes(target))
    }

    fn file(&mut self, path: &TreePath, facts: &FileFacts, content: &mut dyn Read) -> io::Result<()> {
        let mut header = header(tar::EntryType::Regular, facts);
        self.append_data(&mut header, path.as_path(), content)
    }
}

/// The names in a zip are texts: what is not UTF-8 is written as in the API.
fn zip_name(path: &TreePath) -> String {
    match std::str::from_utf8(path.as_path().as_os_str().as_bytes()) {
        Ok(name) => name.to_owned(),
        Err(_) => path.encoded().trim_start_matches('/').to_owned(),
    }
}

fn zip_options(facts: &FileFacts) -> zip::write::SimpleFileOptions {
    let at = jiff::Timestamp::from_millisecond(facts.modified_ms).unwrap_or_default();
    let at = at.to_zoned(jiff::tz::TimeZone::UTC);
    let part = |value: i8| u8::try_from(value).unwrap_or(0);
    let modified = zip::DateTime::from_date_and_time(
        u16::try_from(at.year()).unwrap_or(1980),
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    );
    zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(1))
        .unix_permissions(facts.mode & 0o777)
        .large_file(facts.bytes >= u64::from(u32::MAX) / 2)
        .last_modified_time(modified.unwrap_or_default())
}

impl<W: Write> Sink for zip::ZipWriter<zip::write::StreamWriter<W>> {
    fn keeps_names(&self) -> bool {
        true
    }

    fn folder(&mut self, path: &TreePath, facts: &FileFacts) -> io::Result<()> {
        self.add_directory(zip_name(path), zip_options(facts))
            .map_err(Into::into)
    }

    fn link(&mut self, path: &TreePath, facts: &FileFacts, target: &[u8]) -> io::Result<()> {
        let target = String::from_utf8_lossy(target);
        self.add_symlink(zip_name(path), target, zip_options(facts))
            .map_err(Into::into)
    }

    fn file(&mut self, path: &TreePath, facts: &FileFacts, content: &mut dyn Read) -> io::Result<()> {
        self.start_file(zip_name(path), zip_options(facts))?;
        io::copy(content, self).map(drop)
    }
}
