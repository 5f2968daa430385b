//! The routes on disk, so that a node starts and serves without control: a log of what changed,
//! written anew when most of it is out of date. One change writes one change.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use weir_model::EnvironmentId;
use weir_model::route_feed::{Batch, Head, Log};

use crate::kept_file;

/// So much may be out of date beside what is not.
const SPARE_BYTES: u64 = 1 << 20;
/// So much is written at once.
const BLOCK_BYTES: usize = 1 << 18;

/// What is to be written. Several batches that wait for a slow disk are one, so that what waits is
/// never more than everything.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    head: Head,
    /// By environment; none: it is gone.
    lines: HashMap<EnvironmentId, Option<Bytes>>,
}

impl Pending {
    /// A batch, and those that waited before it.
    pub(crate) fn new(before: Option<Self>, batch: &Batch, text: &Bytes) -> Self {
        let before = before.filter(|_| batch.head.after.is_some());
        let (after, mut lines) = match before {
            Some(before) => (before.head.after, before.lines),
            None => (batch.head.after, HashMap::new()),
        };
        for (environment, range, is_there) in &batch.lines {
            let line = is_there.then(|| text.slice(range.clone()));
            if line.is_none() && after.is_none() {
                lines.remove(environment);
            } else {
                lines.insert(*environment, line);
            }
        }
        let head = Head {
            after,
            ..batch.head.clone()
        };
        Self { head, lines }
    }

    /// It could not be written; what came meanwhile follows on it.
    pub(crate) fn before(self, later: Option<Self>) -> Self {
        let Some(later) = later else { return self };
        if later.head.after.is_none() {
            return later;
        }
        let (after, mut lines) = (self.head.after, self.lines);
        lines.extend(later.lines);
        if after.is_none() {
            lines.retain(|_, line| line.is_some());
        }
        Self {
            head: Head { after, ..later.head },
            lines,
        }
    }
}

/// The file.
#[derive(Debug)]
pub(crate) struct KeptRoutes {
    path: PathBuf,
    /// What was read, or written last.
    file: Option<File>,
    /// Whether it can be written on at its end: it is this process's own and whole.
    is_ours: bool,
    /// Where the line of each environment is.
    lines: HashMap<EnvironmentId, (u64, u32)>,
    length: u64,
    /// How much of it is not out of date.
    live: u64,
    generation: u64,
}

impl KeptRoutes {
    /// One of which nothing is known. The first batch must be everything.
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            is_ours: false,
            lines: HashMap::new(),
            length: 0,
            live: 0,
            generation: 0,
        }
    }

    /// One that was read. It may be another node's, so that it is written anew before anything is
    /// added to it.
    pub(crate) fn read(path: &Path, file: File, log: &Log) -> Self {
        let mut kept = Self::new(path);
        for (environment, range) in &log.lines {
            let place = u64::try_from(range.start).unwrap_or(u64::MAX);
            kept.note(*environment, place, range.len());
        }
        kept.generation = log.head.generation;
        kept.file = Some(file);
        kept
    }

    fn note(&mut self, environment: EnvironmentId, place: u64, length: usize) {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let before = self.lines.insert(environment, (place, length));
        self.live = self.live + u64::from(length) - before.map_or(0, |(_, length)| u64::from(length));
    }

    /// Writes what is pending. When it fails, what was there before can still be read.
    pub(crate) fn keep(&mut self, pending: &Pending) -> io::Result<()> {
        let is_new = pending.head.after.is_none();
        if is_new {
            return self.write_anew(pending);
        }
        let follows = pending.head.after == Some(self.generation);
        let outgrown = self.length > self.live * 2 + SPARE_BYTES;
        if !(self.is_ours && follows && self.is_in_place()) || outgrown {
            return self.write_anew(pending);
        }
        let written = self.append(pending);
        self.is_ours &= written.is_ok();
        written
    }

    /// Whether the path leads to it still: another node may have put its own there.
    fn is_in_place(&self) -> bool {
        let of_file = self.file.as_ref().and_then(|file| file.metadata().ok());
        let of_path = fs::metadata(&self.path).ok();
        of_file
            .zip(of_path)
            .is_some_and(|(file, path)| (file.dev(), file.ino()) == (path.dev(), path.ino()))
    }

    fn append(&mut self, pending: &Pending) -> io::Result<()> {
        let mut text = head_line(&pending.head, pending.lines.len())?;
        let mut places = Vec::with_capacity(pending.lines.len());
        for (environment, line) in &pending.lines {
            let start = u64::try_from(text.len()).unwrap_or(u64::MAX);
            match line {
                Some(line) => {
                    places.push((*environment, Some((self.length + start, line.len()))));
                    text.extend_from_slice(line);
                }
                None => {
                    places.push((*environment, None));
                    text.extend_from_slice(gone_line(*environment)?.as_bytes());
                }
            }
            text.push(b'\n');
        }
        let file = self.file.as_ref().ok_or(io::ErrorKind::NotFound)?;
        file.write_all_at(&text, self.length)?;
        file.sync_data()?;
        for (environment, place) in places {
            match place {
                Some((place, length)) => self.note(environment, place, length),
                None => {
                    let before = self.lines.remove(&environment);
                    self.live -= before.map_or(0, |(_, length)| u64::from(length));
                }
            }
        }
        self.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.generation = pending.head.generation;
        Ok(())
    }

    /// Writes everything that is not out of date into a new file, and puts it in place of this one.
    fn write_anew(&mut self, pending: &Pending) -> io::Result<()> {
        // In the order of the old file, so that it is read from its beginning to its end.
        let mut stays: BTreeMap<(u64, EnvironmentId), u32> = BTreeMap::new();
        if pending.head.after.is_some() {
            let own = self.lines.iter();
            let own = own.filter(|(environment, _)| !pending.lines.contains_key(environment));
            stays.extend(own.map(|(environment, (place, length))| ((*place, *environment), *length)));
        }
        let fresh = || {
            pending
                .lines
                .iter()
                .filter_map(|(of, line)| Some((*of, line.as_ref()?)))
        };
        let head = Head {
            after: None,
            ..pending.head.clone()
        };
        let mut next = Self::new(&self.path);
        let old = self.file.as_ref();
        let file = kept_file::write_with(&self.path, |file| {
            let mut text = head_line(&head, stays.len() + fresh().count())?;
            let mut line = Vec::new();
            for ((place, environment), length) in &stays {
                line.resize(usize::try_from(*length).unwrap_or(0), 0);
                let old = old.ok_or(io::ErrorKind::NotFound)?;
                old.read_exact_at(&mut line, *place)?;
                next.put(file, &mut text, *environment, &line)?;
            }
            for (environment, line) in fresh() {
                next.put(file, &mut text, environment, line)?;
            }
            file.write_all(&text)?;
            next.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
            Ok(())
        })?;
        next.generation = head.generation;
        (next.file, next.is_ours) = (Some(file), true);
        *self = next;
        Ok(())
    }

    /// Adds a line to what is being written.
    fn put(&mut self, file: &mut File, text: &mut Vec<u8>, environment: EnvironmentId, line: &[u8]) -> io::Result<()> {
        if text.len() >= BLOCK_BYTES {
            file.write_all(text)?;
            self.length += u64::try_from(text.len()).unwrap_or(u64::MAX);
            text.clear();
        }
        let place = self.length + u64::try_from(text.len()).unwrap_or(u64::MAX);
        self.note(environment, place, line.len());
        text.extend_from_slice(line);
        text.push(b'\n');
        Ok(())
    }
}

fn head_line(head: &Head, lines: usize) -> io::Result<Vec<u8>> {
    let head = Head {
        lines: u64::try_from(lines).unwrap_or(u64::MAX),
        ..head.clone()
    };
    let mut text = serde_json::to_vec(&head)?;
    text.push(b'\n');
    Ok(text)
}

fn gone_line(environment: EnvironmentId) -> io::Result<String> {
    Ok(weir_model::route_feed::line_text(environment, None)?)
}

#[cfg(test)]
mod tests {
    use weir_model::route_feed::{FORMAT, Part, line_text, read_batch, read_log};

    use super::*;

    fn environment(number: u64) -> EnvironmentId {
        EnvironmentId::from_parts(1, u128::from(number))
    }

    /// A batch of some environments, with so much said of each.
    fn batch(after: Option<u64>, generation: u64, lines: &[(u64, Option<usize>)]) -> (Batch, Bytes) {
        let head = Head {
            weir_routes: FORMAT,
            epoch: 1,
            generation,
            after,
            lines: 0,
            digest: generation,
            cache_purges: weir_model::cache::CachePurges::default(),
        };
        let mut text = head_line(&head, lines.len()).unwrap();
        for (number, size) in lines {
            let mut part = Part::default();
            let size = size.inspect(|size| {
                part.watched
                    .insert("x".repeat(*size), weir_model::route::WatchedProcess::default());
            });
            let line = line_text(environment(*number), size.map(|_| &part)).unwrap();
            text.extend_from_slice(line.as_bytes());
            text.push(b'\n');
        }
        (read_batch(&text).unwrap(), text.into())
    }

    /// What a node would read that starts now: the sizes of what is said.
    fn read(path: &Path) -> (u64, BTreeMap<EnvironmentId, usize>) {
        let text = fs::read(path).unwrap();
        let log = read_log(&text).unwrap();
        let lines = log.lines.iter();
        (
            log.head.generation,
            lines.map(|(of, range)| (*of, range.len())).collect(),
        )
    }

    #[test]
    fn one_change_writes_one_change_and_what_is_read_is_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/routes.json");
        let mut kept = KeptRoutes::new(&path);
        let many: Vec<(u64, Option<usize>)> = (0..2_000).map(|number| (number, Some(500))).collect();
        let (whole, text) = batch(None, 10, &many);
        kept.keep(&Pending::new(None, &whole, &text)).unwrap();
        let (generation, before) = read(&path);
        assert_eq!((generation, before.len()), (10, 2_000));
        let size = fs::metadata(&path).unwrap().len();
        let (difference, text) = batch(Some(10), 11, &[(3, None), (4, Some(700)), (5_000, Some(1))]);
        kept.keep(&Pending::new(None, &difference, &text)).unwrap();
        let grown = fs::metadata(&path).unwrap().len() - size;
        assert!(grown < 2_000, "{grown}");
        let (generation, after) = read(&path);
        assert_eq!((generation, after.len()), (11, 2_000));
        assert!(!after.contains_key(&environment(3)) && after.contains_key(&environment(5_000)));
        assert_eq!(after[&environment(4)], before[&environment(4)] + 200);
        // It does not grow for ever, and stays right.
        for generation in 12..6_000 {
            let (difference, text) = batch(Some(generation - 1), generation, &[(generation % 7, Some(900))]);
            kept.keep(&Pending::new(None, &difference, &text)).unwrap();
        }
        assert!(fs::metadata(&path).unwrap().len() < 4_500_000);
        let (generation, last) = read(&path);
        assert_eq!((generation, last.len()), (5_999, 2_001));
        assert_eq!(last[&environment(5)], before[&environment(4)] + 400);
        assert_eq!(last[&environment(1_999)], before[&environment(1_999)]);
    }

    #[test]
    fn a_torn_end_is_left_out_and_another_nodes_file_is_not_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.json");
        let mut kept = KeptRoutes::new(&path);
        let (whole, text) = batch(None, 10, &[(1, Some(1)), (2, Some(1))]);
        kept.keep(&Pending::new(None, &whole, &text)).unwrap();
        let (difference, text) = batch(Some(10), 11, &[(1, None), (2, Some(9))]);
        kept.keep(&Pending::new(None, &difference, &text)).unwrap();
        let good = fs::read(&path).unwrap();
        let (difference, text) = batch(Some(11), 12, &[(1, Some(7)), (2, None)]);
        kept.keep(&Pending::new(None, &difference, &text)).unwrap();
        let all = fs::read(&path).unwrap();
        for end in good.len()..all.len() {
            let log = read_log(&all[..end]).unwrap();
            assert_eq!((log.head.generation, log.end), (11, good.len()));
        }
        // A node that starts reads it torn, and goes on from there in a file of its own. The first one
        // keeps its whole file open.
        fs::remove_file(&path).unwrap();
        fs::write(&path, &all[..all.len() - 3]).unwrap();
        let log = read_log(&fs::read(&path).unwrap()).unwrap();
        let mut second = KeptRoutes::read(&path, File::open(&path).unwrap(), &log);
        let (difference, text) = batch(Some(11), 13, &[(3, Some(3))]);
        second.keep(&Pending::new(None, &difference, &text)).unwrap();
        let (generation, lines) = read(&path);
        assert_eq!(
            (generation, lines.keys().copied().collect::<Vec<_>>()),
            (13, vec![environment(2), environment(3)])
        );
        // The first one still lives; it puts its own whole file there, not an end onto the other.
        let (difference, text) = batch(Some(12), 14, &[(4, Some(3))]);
        kept.keep(&Pending::new(None, &difference, &text)).unwrap();
        let (generation, lines) = read(&path);
        assert_eq!(
            (generation, lines.keys().copied().collect::<Vec<_>>()),
            (14, vec![environment(1), environment(4)])
        );
    }

    #[test]
    fn what_waits_for_the_disk_is_one_batch() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("routes.json");
        let (whole, text) = batch(None, 10, &[(1, Some(1)), (2, Some(1))]);
        let first = Pending::new(None, &whole, &text);
        let (difference, text) = batch(Some(10), 11, &[(1, None), (3, Some(1))]);
        let second = Pending::new(Some(first.clone()), &difference, &text);
        let (difference, text) = batch(Some(11), 12, &[(2, None)]);
        let third = Pending::new(None, &difference, &text);
        let mut kept = KeptRoutes::new(&path);
        kept.keep(&second.before(Some(third))).unwrap();
        assert_eq!(read(&path).1.into_keys().collect::<Vec<_>>(), [environment(3)]);
        // What could not be written is written with the next one.
        let mut kept = KeptRoutes::new(&folder.path().join("routes.json/no folder"));
        assert!(kept.keep(&first).is_err());
        kept.path = path.clone();
        kept.keep(&first).unwrap();
        assert_eq!(read(&path).0, 10);
    }
}
