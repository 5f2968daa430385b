//! The file in which a meter remembers what it may have spent: one line for each write, made of a
//! checksum and the records as JSON, synced before anything of it may be drawn.
//!
//! The last line may be torn (a crash in the middle of a write): nobody was told that it was
//! written, so it is dropped. A line that is damaged with good ones behind it is no crash but a
//! broken disk: then nothing in the file can be trusted, it is set aside, and the ledger counts
//! what was leased as spent. After a write that failed, and when it has grown, the file is written
//! anew beside the old one and takes its place.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use weir_ledger::wallet::purse::Record;

/// A log longer than this, in bytes, is written anew when it has doubled since it last was.
const REWRITE_BYTES: u64 = 1024 * 1024;

/// Why the log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process has it.
    #[error("another process uses the log in {0}")]
    InUse(PathBuf),
    /// The folder or a file in it cannot be made or read.
    #[error("cannot open the log in {folder}")]
    Io {
        /// Where.
        folder: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// The log of one meter, held by one process.
#[derive(Debug)]
pub(crate) struct Log {
    folder: PathBuf,
    /// What is appended to; none before the first write and after one that failed.
    file: Option<File>,
    bytes: u64,
    /// How long it was when it was last written anew.
    rewritten_bytes: u64,
    _held: Flock<File>,
}

impl Log {
    /// Takes the log in a folder of its own, makes it if need be, and reads it.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Vec<Record>), LogError> {
        let failed = |source| LogError::Io {
            folder: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(folder.join("lock"))
            .map_err(failed)?;
        let held = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
            nix::errno::Errno::EWOULDBLOCK => LogError::InUse(folder.to_owned()),
            other => failed(other.into()),
        })?;
        let path = folder.join("log");
        let mut text = Vec::new();
        match File::open(&path) {
            Ok(mut file) => drop(file.read_to_end(&mut text).map_err(failed)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let records = if let Some(records) = read(&text) {
            records
        } else {
            let aside = folder.join("log.damaged");
            tracing::error!(path = %aside.display(), "the log of spending is damaged and was set aside; the ledger counts all that was leased as spent");
            std::fs::rename(&path, &aside).map_err(failed)?;
            Vec::new()
        };
        let log = Self {
            folder: folder.to_owned(),
            file: None,
            bytes: 0,
            rewritten_bytes: 0,
            _held: held,
        };
        Ok((log, records))
    }

    /// Whether it has to be written anew before the next append: at the start, after a failure,
    /// and when it has grown.
    pub(crate) fn is_stale(&self) -> bool {
        self.file.is_none() || self.bytes > REWRITE_BYTES.max(2 * self.rewritten_bytes)
    }

    /// Appends records, durably. After an error nobody knows whether they are written, and the
    /// log is stale.
    pub(crate) fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let mut file = self
            .file
            .take()
            .ok_or_else(|| io::Error::other("the log has to be written anew first"))?;
        let line = line(records)?;
        file.write_all(&line)?;
        file.sync_data()?;
        self.bytes += line.len() as u64;
        self.file = Some(file);
        Ok(())
    }

    /// Writes the log anew, durably. After an error it is stale, and still says what it said.
    pub(crate) fn rewrite(&mut self, records: &[Record]) -> io::Result<()> {
        self.file = None;
        let fresh = self.folder.join("log.new");
        let line = line(records)?;
        let mut file = File::create(&fresh)?;
        file.write_all(&line)?;
        file.sync_all()?;
        std::fs::rename(&fresh, self.folder.join("log"))?;
        File::open(&self.folder)?.sync_all()?;
        self.bytes = line.len() as u64;
        self.rewritten_bytes = self.bytes;
        self.file = Some(file);
        Ok(())
    }
}

fn line(records: &[Record]) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(records)?;
    let mut line = format!("{:08x} ", crc32fast::hash(&json)).into_bytes();
    line.extend(json);
    line.push(b'\n');
    Ok(line)
}

/// All records of the good lines; `None` if a damaged line has a good one behind it.
fn read(text: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut torn = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match read_line(line) {
            Some(_) if torn => return None,
            Some(more) => records.extend(more),
            None => torn = true,
        }
    }
    Some(records)
}

fn read_line(line: &[u8]) -> Option<Vec<Record>> {
    let (sum, json) = line.strip_suffix(b"\n")?.split_at_checked(9)?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?.strip_suffix(' ')?, 16).ok()?;
    if sum != crc32fast::hash(json) {
        return None;
    }
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(incarnations: &[u64]) -> Vec<Record> {
        incarnations
            .iter()
            .map(|incarnation| Record::Start {
                incarnation: *incarnation,
            })
            .collect()
    }

    fn written(folder: &Path, lines: &[&[u64]]) -> Vec<u8> {
        let (mut log, _) = Log::open(folder).unwrap();
        log.rewrite(&starts(lines[0])).unwrap();
        for line in &lines[1..] {
            log.append(&starts(line)).unwrap();
        }
        std::fs::read(folder.join("log")).unwrap()
    }

    #[test]
    fn what_was_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), &[&[1], &[2, 3], &[4]]);
        let (log, records) = Log::open(folder.path()).unwrap();
        assert_eq!(records, starts(&[1, 2, 3, 4]));
        assert!(log.is_stale());
    }

    #[test]
    fn a_torn_last_line_is_dropped_wherever_it_was_torn() {
        let folder = tempfile::tempdir().unwrap();
        let whole = written(folder.path(), &[&[1], &[2, 3]]);
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for end in first..whole.len() {
            std::fs::write(folder.path().join("log"), &whole[..end]).unwrap();
            assert_eq!(Log::open(folder.path()).unwrap().1, starts(&[1]), "torn at {end}");
            // A crash of the machine may leave zeros where the rest should be.
            let mut zeros = whole[..end].to_vec();
            zeros.resize(whole.len() + 100, 0);
            std::fs::write(folder.path().join("log"), &zeros).unwrap();
            assert_eq!(Log::open(folder.path()).unwrap().1, starts(&[1]), "zeros from {end}");
        }
    }

    #[test]
    fn a_log_that_is_damaged_in_the_middle_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let mut whole = written(folder.path(), &[&[1], &[2], &[3]]);
        let second = whole.iter().position(|byte| *byte == b'\n').unwrap() + 20;
        whole[second] ^= 1;
        std::fs::write(folder.path().join("log"), &whole).unwrap();
        let (_, records) = Log::open(folder.path()).unwrap();
        assert_eq!(records, []);
        assert_eq!(std::fs::read(folder.path().join("log.damaged")).unwrap(), whole);
    }

    #[test]
    fn two_processes_cannot_have_the_same_log() {
        let folder = tempfile::tempdir().unwrap();
        let _held = Log::open(folder.path()).unwrap();
        assert!(matches!(Log::open(folder.path()), Err(LogError::InUse(_))));
    }

    #[test]
    fn after_a_failed_write_it_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        written(folder.path(), &[&[1]]);
        let (mut log, _) = Log::open(folder.path()).unwrap();
        log.rewrite(&starts(&[1])).unwrap();
        // A file that cannot be written to, as on a full disk.
        log.file = Some(File::open(folder.path().join("log")).unwrap());
        assert!(log.append(&starts(&[2])).is_err());
        assert!(log.is_stale());
        assert!(log.append(&starts(&[2])).is_err());
        log.rewrite(&starts(&[1])).unwrap();
        log.append(&starts(&[3])).unwrap();
        drop(log);
        assert_eq!(Log::open(folder.path()).unwrap().1, starts(&[1, 3]));
    }
}
