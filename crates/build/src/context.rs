//! The build context: an archive of one app's folder and of the files that Weir adds under
//! `weir/`, made while it is sent.

use std::collections::BTreeMap;
use std::io::{self, Write};

use bytes::Bytes;
use tokio::sync::mpsc;
use weir_engine::BoxStream;

use crate::ignorefile::{IGNORE_BYTES, IgnoreFile};
use crate::source::{Source, SourceEntry};

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Chunks that wait while the engine is slow.
const CHUNKS: usize = 8;

/// What a build sees.
#[derive(Debug)]
pub(crate) struct Context {
    source: Option<Source>,
    prefix: String,
    /// Where the app's files lie in the context: `app/`, or at its root.
    place: &'static str,
    ignore: IgnoreFile,
    left_out: &'static [&'static str],
    /// By path in the context; they take the place of the app's files of the same path.
    added: BTreeMap<String, Vec<u8>>,
}

impl Context {
    /// The context of an app's folder; the empty one is the root. `left_out` are folders at its
    /// top that never belong to a source (`node_modules`).
    pub(crate) fn new(source: &Source, folder: &str, place: &'static str, left_out: &'static [&'static str]) -> Self {
        let prefix = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        Self {
            source: Some(source.clone()),
            prefix,
            place,
            left_out,
            ..Self::empty()
        }
    }

    /// A context without any source.
    pub(crate) fn empty() -> Self {
        Self {
            source: None,
            prefix: String::new(),
            place: "",
            ignore: IgnoreFile::default(),
            left_out: &[],
            added: BTreeMap::new(),
        }
    }

    /// Honours the `.dockerignore` that belongs to a Dockerfile, as Docker does.
    pub(crate) fn honour_dockerignore(&mut self, dockerfile: &str) {
        let own = format!("{}{dockerfile}.dockerignore", self.prefix);
        let common = format!("{}.dockerignore", self.prefix);
        let read = |path: &str| self.source.as_ref().and_then(|source| source.read(path, IGNORE_BYTES));
        let bytes = read(&own).or_else(|| read(&common));
        self.ignore = IgnoreFile::parse(&String::from_utf8_lossy(&bytes.unwrap_or_default()));
    }

    /// Adds a file of Weir's own.
    pub(crate) fn add(&mut self, path: &str, content: impl Into<Vec<u8>>) {
        self.added.insert(path.to_owned(), content.into());
    }

    /// The archive, made while it is read. Ownership, modes and times are the same for the
    /// same contents, so that the builder's cache holds.
    pub(crate) fn into_stream(self) -> BoxStream<io::Result<Bytes>> {
        let (sender, receiver) = mpsc::channel(CHUNKS);
        tokio::task::spawn_blocking(move || {
            let mut sink = Sink {
                sender,
                buffer: Vec::with_capacity(CHUNK_BYTES),
            };
            let written = self.write(&mut sink).and_then(|()| sink.flush());
            if let Err(error) = written {
                // Nobody reads any more, or the scratch file cannot be read: the reader is told.
                let _ = sink.sender.blocking_send(Err(error));
            }
        });
        Box::pin(futures_util::stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|chunk| (chunk, receiver))
        }))
    }

    fn write(&self, sink: &mut Sink) -> io::Result<()> {
        let mut archive = tar::Builder::new(sink);
        if !self.place.is_empty() {
            // Even an empty app has a folder to copy.
            archive.append_data(
                &mut header(tar::EntryType::Directory, 0, 0o755),
                self.place,
                io::empty(),
            )?;
        }
        if let Some(source) = &self.source {
            for (path, entry) in source.entries() {
                let Some(path) = path.strip_prefix(&self.prefix).filter(|path| self.includes(path)) else {
                    continue;
                };
                append(&mut archive, source, &format!("{}{path}", self.place), entry)?;
            }
        }
        for (path, content) in &self.added {
            let bytes = u64::try_from(content.len()).unwrap_or_default();
            archive.append_data(
                &mut header(tar::EntryType::Regular, bytes, 0o644),
                path,
                content.as_slice(),
            )?;
        }
        archive.finish()
    }

    fn includes(&self, path: &str) -> bool {
        let top = path.split('/').next().unwrap_or_default();
        top != ".git" && !self.left_out.contains(&top) && !self.ignore.ignores(path) && !self.added.contains_key(path)
    }
}

fn append(archive: &mut tar::Builder<&mut Sink>, source: &Source, path: &str, entry: &SourceEntry) -> io::Result<()> {
    match entry {
        SourceEntry::File {
            offset,
            bytes,
            executable,
        } => {
            let contents = Contents {
                source,
                offset: *offset,
                left: *bytes,
            };
            archive.append_data(
                &mut header(tar::EntryType::Regular, *bytes, if *executable { 0o755 } else { 0o644 }),
                path,
                contents,
            )
        }
        SourceEntry::Folder => archive.append_data(
            &mut header(tar::EntryType::Directory, 0, 0o755),
            format!("{path}/"),
            io::empty(),
        ),
        SourceEntry::Link { target } => {
            archive.append_link(&mut header(tar::EntryType::Symlink, 0, 0o777), path, target)
        }
    }
}

fn header(kind: tar::EntryType, bytes: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(bytes);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// Reads one file out of the source.
struct Contents<'a> {
    source: &'a Source,
    offset: u64,
    left: u64,
}

impl io::Read for Contents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.source.read_at(self.offset, &mut buffer[..most])?;
        let read = u64::try_from(most).unwrap_or_default();
        self.offset += read;
        self.left -= read;
        Ok(most)
    }
}

/// Passes what is written on in chunks; waits while the reader is slow.
struct Sink {
    sender: mpsc::Sender<io::Result<Bytes>>,
    buffer: Vec<u8>,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.buffer, Vec::with_capacity(CHUNK_BYTES));
        self.sender
            .blocking_send(Ok(chunk.into()))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}
