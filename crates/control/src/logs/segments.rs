//! The log of one app of one environment: a few append-only files, each called by the number
//! of its first line. When the newest is full, the oldest goes. A position in the log is a file
//! and an offset, so a reader needs no memory here, and one whose file went knows exactly how
//! many lines it missed.
//!
//! Blocking: call it from threads that may block.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use weir_model::InstanceId;

use super::line::{Entry, RawLine};

/// Files of one log.
const SEGMENTS: u64 = 8;
/// A file is at least so long, whatever the bound.
const SMALLEST_SEGMENT: u64 = 64 * 1024;
/// Read at once while searching backwards.
const BLOCK: u64 = 64 * 1024;
/// Read at once while following.
const PAGE: u64 = 256 * 1024;
/// Instances whose last line is remembered.
const CURSORS: usize = 1000;
const CURSORS_FILE: &str = "cursors.json";

/// The log of one app of one environment.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    segment_bytes: u64,
    state: Mutex<State>,
}

/// Where a reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Position {
    /// The file, by its first line.
    segment: u64,
    /// Behind the last byte that was read.
    offset: u64,
    /// Number of the next line.
    line: u64,
}

/// What a reader that goes forward gets.
#[derive(Debug)]
pub(super) struct Page {
    /// Whole lines.
    pub(super) bytes: Vec<u8>,
    /// Lines that went before they were read.
    pub(super) missed: u64,
    /// Behind the page.
    pub(super) next: Position,
}

#[derive(Debug)]
struct State {
    /// Oldest first.
    segments: VecDeque<Segment>,
    /// Number of the next line.
    next_line: u64,
    /// The last line of each instance, in nanoseconds since the Unix epoch.
    cursors: HashMap<InstanceId, i64>,
    /// Lines that could not be written, and are still to be told of.
    lost: u64,
    /// Where the newest line stands in time: the latest instant of all lines so far.
    newest_ms: i64,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    first_line: u64,
    bytes: u64,
}

/// The cursors at the moment at which a segment was begun, so that a start of control has to
/// read the newest segment only.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SavedCursors {
    before_line: u64,
    cursors: HashMap<InstanceId, i64>,
}

impl Segments {
    /// Opens the log in a folder, which need not exist yet. A line that a crash tore is removed.
    pub(super) fn open(folder: PathBuf, total_bytes: u64) -> io::Result<Self> {
        let mut segments = list(&folder)?;
        let mut next_line = 0;
        if let Some(newest) = segments.back_mut() {
            next_line = newest.first_line + repair(&path_of(&folder, newest.first_line), newest)?;
        }
        let newest_ms = segments
            .iter()
            .rev()
            .find_map(|segment| newest_in(&folder, segment))
            .unwrap_or(i64::MIN);
        let saved: SavedCursors = std::fs::read(folder.join(CURSORS_FILE))
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        let mut cursors = saved.cursors;
        for segment in segments
            .iter()
            .filter(|segment| segment.first_line >= saved.before_line)
        {
            let mut file = File::open(path_of(&folder, segment.first_line))?;
            let _ = each_line_backwards(&mut file, segment.bytes, |line| {
                if let Some((line, instance)) = RawLine::parse(line).and_then(|line| Some((line, line.instance()?)))
                    && line.writer.moves_cursor()
                {
                    let cursor = cursors.entry(instance).or_insert(line.at_ns);
                    *cursor = line.at_ns.max(*cursor);
                }
                ControlFlow::Continue(())
            })?;
        }
        let state = State {
            segments,
            next_line,
            cursors,
            lost: 0,
            newest_ms,
        };
        let segment_bytes = (total_bytes / SEGMENTS).max(SMALLEST_SEGMENT);
        Ok(Self {
            folder,
            segment_bytes,
            state: Mutex::new(state),
        })
    }

    /// Adds lines. On failure none of those that were not written comes back: they are counted,
    /// and a line says so once writing works again.
    pub(super) fn append(&self, entries: &[Entry]) -> io::Result<()> {
        let mut state = self.lock();
        let mut left = entries.len();
        let result = self.append_all(&mut state, entries, &mut left);
        if result.is_err() {
            state.lost += u64::try_from(left).unwrap_or(u64::MAX);
        }
        result
    }

    fn append_all(&self, state: &mut State, entries: &[Entry], left: &mut usize) -> io::Result<()> {
        let (mut buffer, mut lines) = (Vec::new(), 0);
        if let Some(first) = entries.first().filter(|_| state.lost > 0) {
            let text = format!("{} lines could not be kept: the disk was full or failed", state.lost);
            Entry {
                instance: None,
                writer: super::line::Writer::Weir,
                text,
                ..first.clone()
            }
            .encode(&mut state.newest_ms, &mut buffer);
            lines += 1;
        }
        for entry in entries {
            let before = buffer.len();
            entry.encode(&mut state.newest_ms, &mut buffer);
            let used = state.segments.back().map_or(0, |segment| segment.bytes);
            if used + len(&buffer) > self.segment_bytes && used + len(&buffer[..before]) > 0 {
                let line = buffer.split_off(before);
                self.write(state, &buffer, lines)?;
                *left -= usize::try_from(lines).unwrap_or(0).min(*left);
                self.rotate(state)?;
                (buffer, lines) = (line, 0);
            }
            lines += 1;
            if let Some(instance) = entry.instance.filter(|_| entry.writer.moves_cursor()) {
                let cursor = state.cursors.entry(instance).or_insert(entry.at_ns);
                *cursor = entry.at_ns.max(*cursor);
            }
        }
        self.write(state, &buffer, lines)?;
        *left = 0;
        Ok(())
    }

    /// Writes whole lines to the newest file.
    fn write(&self, state: &mut State, buffer: &[u8], lines: u64) -> io::Result<()> {
        if buffer.is_empty() {
            return Ok(());
        }
        if state.segments.is_empty() {
            std::fs::create_dir_all(&self.folder)?;
            state.segments.push_back(Segment {
                first_line: state.next_line,
                bytes: 0,
            });
        }
        let Some(segment) = state.segments.back_mut() else {
            return Ok(());
        };
        let path = path_of(&self.folder, segment.first_line);
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        match file.metadata()?.len() {
            // What an attempt that failed left behind.
            length if length > segment.bytes => file.set_len(segment.bytes)?,
            // Somebody removed the file to make room.
            length => segment.bytes = length,
        }
        if let Err(error) = file.write_all(buffer) {
            let _ = file.set_len(segment.bytes);
            return Err(error);
        }
        segment.bytes += len(buffer);
        state.next_line += lines;
        state.lost = 0;
        Ok(())
    }

    /// Begins a new file and removes what is too much.
    fn rotate(&self, state: &mut State) -> io::Result<()> {
        if state.cursors.len() > CURSORS {
            let mut newest: Vec<(InstanceId, i64)> = state.cursors.drain().collect();
            newest.sort_by_key(|(_, at_ns)| std::cmp::Reverse(*at_ns));
            state.cursors.extend(newest.into_iter().take(CURSORS));
        }
        // The oldest goes first, so that a full disk can be written to again.
        while u64::try_from(state.segments.len()).unwrap_or(u64::MAX) >= SEGMENTS {
            let Some(oldest) = state.segments.front() else { break };
            remove_file(&path_of(&self.folder, oldest.first_line))?;
            state.segments.pop_front();
        }
        state.segments.push_back(Segment {
            first_line: state.next_line,
            bytes: 0,
        });
        let saved = SavedCursors {
            before_line: state.next_line,
            cursors: state.cursors.clone(),
        };
        let temporary = self.folder.join(format!("{CURSORS_FILE}.new"));
        std::fs::write(&temporary, serde_json::to_vec(&saved).unwrap_or_default())?;
        std::fs::rename(&temporary, self.folder.join(CURSORS_FILE))
    }

    /// When the last line of an instance was written that is here, in nanoseconds; 0 if none is.
    pub(super) fn cursor(&self, instance: InstanceId) -> i64 {
        self.lock().cursors.get(&instance).copied().unwrap_or(0)
    }

    /// Behind the newest line.
    pub(super) fn end(&self) -> Position {
        let state = self.lock();
        let (segment, offset) = state
            .segments
            .back()
            .map_or((0, 0), |segment| (segment.first_line, segment.bytes));
        Position {
            segment,
            offset,
            line: state.next_line,
        }
    }

    /// Before the oldest line that is kept.
    pub(super) fn beginning(&self) -> Position {
        let first = self.lock().segments.front().map_or(0, |segment| segment.first_line);
        Position::of_line(first)
    }

    /// Before a line, so that it is the next one; those that are kept no more are missed from there. Reads
    /// one file at most.
    pub(super) fn at_line(&self, line: u64) -> io::Result<Position> {
        let (segments, next_line) = {
            let state = self.lock();
            (state.segments.clone(), state.next_line)
        };
        if line > next_line {
            // There are not so many: it is another log than the line was of.
            return Ok(self.beginning());
        }
        let Some(segment) = segments.iter().rev().find(|segment| segment.first_line <= line) else {
            return Ok(Position::of_line(line));
        };
        let lines = line - segment.first_line;
        match offset_of(&path_of(&self.folder, segment.first_line), segment.bytes, lines) {
            // It went since we looked.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Position::of_line(line)),
            offset => Ok(Position {
                segment: segment.first_line,
                offset: offset?,
                line,
            }),
        }
    }

    /// Shows lines before a position with their numbers, newest first, until told to stop. Files that
    /// were last written before `since_ms` are left out.
    pub(super) fn backwards(
        &self,
        until: Position,
        since_ms: Option<i64>,
        mut show: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let segments: Vec<Segment> = self.lock().segments.iter().copied().collect();
        let mut behind = until.line;
        for segment in segments
            .iter()
            .rev()
            .filter(|segment| segment.first_line <= until.segment)
        {
            // The line behind the last one of this file.
            let mut number = std::mem::replace(&mut behind, segment.first_line);
            let mut file = match File::open(path_of(&self.folder, segment.first_line)) {
                // It went since we looked, or nothing was written to it yet.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                other => other?,
            };
            if since_ms.is_some_and(|since_ms| modified_ms(&file).is_some_and(|at_ms| at_ms < since_ms)) {
                return Ok(());
            }
            let end = if segment.first_line == until.segment {
                segment.bytes.min(until.offset)
            } else {
                segment.bytes
            };
            let end = end.min(file.metadata()?.len());
            let numbered = |line: &[u8]| {
                number = number.saturating_sub(1);
                show(number, line)
            };
            if each_line_backwards(&mut file, end, numbered)?.is_break() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// The next lines behind a position, a page at most.
    pub(super) fn forwards(&self, mut from: Position) -> io::Result<Page> {
        let segments: Vec<Segment> = self.lock().segments.iter().copied().collect();
        let mut missed = 0;
        loop {
            let index = segments.iter().position(|segment| segment.first_line >= from.segment);
            let Some(segment) = index.and_then(|index| segments.get(index)) else {
                return Ok(Page {
                    bytes: Vec::new(),
                    missed,
                    next: from,
                });
            };
            if segment.first_line != from.segment {
                missed += segment.first_line.saturating_sub(from.line);
                from = Position {
                    segment: segment.first_line,
                    offset: 0,
                    line: segment.first_line,
                };
            }
            let newer = index.and_then(|index| segments.get(index + 1));
            if from.offset >= segment.bytes {
                let Some(newer) = newer else {
                    return Ok(Page {
                        bytes: Vec::new(),
                        missed,
                        next: from,
                    });
                };
                from = Position {
                    segment: newer.first_line,
                    offset: 0,
                    line: newer.first_line,
                };
                continue;
            }
            let bytes = match read_lines(&path_of(&self.folder, segment.first_line), from.offset, segment.bytes) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && newer.is_some() => {
                    let newer = newer.map_or(0, |newer| newer.first_line);
                    missed += newer.saturating_sub(from.line);
                    from = Position {
                        segment: newer,
                        offset: 0,
                        line: newer,
                    };
                    continue;
                }
                other => other?,
            };
            let next = Position {
                segment: from.segment,
                offset: from.offset + len(&bytes),
                line: from.line + lines_in(&bytes),
            };
            return Ok(Page { bytes, missed, next });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Position {
    /// At the beginning of a file, if the line is the first of one, or else before the next file.
    fn of_line(line: u64) -> Self {
        Self {
            segment: line,
            offset: 0,
            line,
        }
    }

    /// Number of the next line.
    pub(super) fn line(self) -> u64 {
        self.line
    }
}

impl Page {
    /// The number of its first line.
    pub(super) fn first_line(&self) -> u64 {
        self.next.line.saturating_sub(lines_in(&self.bytes))
    }
}

/// Where the last line of a file stands in time; lines stand in that order.
fn newest_in(folder: &Path, segment: &Segment) -> Option<i64> {
    let mut file = File::open(path_of(folder, segment.first_line)).ok()?;
    let mut newest_ms = None;
    let _ = each_line_backwards(&mut file, segment.bytes, |line| match RawLine::parse(line) {
        Some(line) => {
            newest_ms = Some(line.order_ms());
            ControlFlow::Break(())
        }
        None => ControlFlow::Continue(()),
    });
    newest_ms
}

fn path_of(folder: &Path, first_line: u64) -> PathBuf {
    folder.join(format!("{first_line:020}.log"))
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn lines_in(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.iter().filter(|&&byte| byte == b'\n').count()).unwrap_or(u64::MAX)
}

fn modified_ms(file: &File) -> Option<i64> {
    let modified = file.metadata().ok()?.modified().ok()?;
    i64::try_from(modified.duration_since(std::time::UNIX_EPOCH).ok()?.as_millis()).ok()
}

fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn list(folder: &Path) -> io::Result<VecDeque<Segment>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(VecDeque::new()),
        other => other?,
    };
    let mut segments = Vec::new();
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let first_line = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|name| name.parse().ok());
        if let Some(first_line) = first_line {
            segments.push(Segment {
                first_line,
                bytes: entry.metadata()?.len(),
            });
        }
    }
    segments.sort_by_key(|segment| segment.first_line);
    Ok(segments.into())
}

/// Removes a torn last line and counts the whole ones.
fn repair(path: &Path, segment: &mut Segment) -> io::Result<u64> {
    let bytes = std::fs::read(path)?;
    let whole = bytes
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |index| index + 1);
    if whole < bytes.len() {
        OpenOptions::new()
            .write(true)
            .open(path)?
            .set_len(len(&bytes[..whole]))?;
    }
    segment.bytes = len(&bytes[..whole]);
    Ok(lines_in(&bytes[..whole]))
}

/// Whole lines from an offset, a page at most.
fn read_lines(path: &Path, offset: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take((end - offset).min(PAGE)).read_to_end(&mut bytes)?;
    // Lines are far shorter than a page, so there is a whole one; if there is none, the file
    // is damaged, and what is there is passed over.
    if let Some(index) = bytes.iter().rposition(|&byte| byte == b'\n') {
        bytes.truncate(index + 1);
    }
    Ok(bytes)
}

/// Behind so many lines of a file of which so many bytes are whole lines.
fn offset_of(path: &Path, bytes: u64, lines: u64) -> io::Result<u64> {
    let mut file = File::open(path)?.take(bytes);
    let (mut offset, mut left) = (0, lines);
    let mut block = vec![0; usize::try_from(BLOCK).unwrap_or(1)];
    while left > 0 {
        let length = file.read(&mut block)?;
        if length == 0 {
            break;
        }
        let mut ends = block[..length].iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let wanted = usize::try_from(left - 1).unwrap_or(usize::MAX);
        if let Some((index, _)) = ends.nth(wanted) {
            return Ok(offset + len(&block[..=index]));
        }
        left -= lines_in(&block[..length]);
        offset += len(&block[..length]);
    }
    Ok(offset)
}

/// Shows the lines before `end`, newest first, without their ends, until told to stop.
fn each_line_backwards(
    file: &mut File,
    end: u64,
    mut show: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut position = end;
    // The last bytes of a line (its end included) whose beginning is in a block before.
    let mut rest: Vec<u8> = Vec::new();
    while position > 0 {
        let start = position.saturating_sub(BLOCK);
        let mut data = vec![0; usize::try_from(position - start).unwrap_or(0)];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut data)?;
        data.append(&mut rest);
        let mut line_end = data.len();
        while line_end > 0 {
            let body = &data[..line_end - 1];
            let line_start = match body.iter().rposition(|&byte| byte == b'\n') {
                Some(index) => index + 1,
                None if start == 0 => 0,
                None => break,
            };
            if show(&body[line_start..]).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            line_end = line_start;
        }
        data.truncate(line_end);
        rest = data;
        position = start;
    }
    Ok(ControlFlow::Continue(()))
}
