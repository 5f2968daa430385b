//! The readable log of the platform: to a terminal, as JSON, or to a file of bounded size.
//! Whoever reads it may be slow or stuck; then lines are dropped and counted, and no part of the
//! platform waits.

use std::fs::File;
use std::io::{IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::output::{Look, Ui, printable};

/// Size at which a file is put aside, in bytes; so many are kept beside it.
const FILE_BYTES: u64 = 8 << 20;
const OLD_FILES: u32 = 3;
/// Lines that wait to be written.
const QUEUE: usize = 10_000;
/// Longest wait for lines to be written, when this process goes on as another program.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Speaker {
    /// `weir up` itself.
    Up,
    /// `weir control`.
    Control,
    /// `weir node`.
    Node,
    /// `weir deadman`.
    Deadman,
}

impl Speaker {
    /// The word in the log.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Up => "weir",
            Self::Control => "control",
            Self::Node => "node",
            Self::Deadman => "deadman",
        }
    }
}

#[derive(Debug, Serialize)]
struct Line {
    at: String,
    part: &'static str,
    level: &'static str,
    message: String,
}

/// A handle to the log; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    sender: SyncSender<Line>,
    dropped: Arc<AtomicU64>,
    /// Lines that are not written yet.
    waiting: Arc<AtomicU64>,
    ended: Arc<std::sync::Mutex<Option<std::thread::JoinHandle<()>>>>,
}

/// Where the log goes.
pub(crate) enum Sink {
    /// Standard error.
    Screen(Ui),
    /// Standard output, one object a line.
    Json(Ui),
    /// This file.
    File(RotatingFile),
}

impl Log {
    /// Begins to write on a thread of its own.
    pub(crate) fn start(mut sink: Sink) -> Self {
        let (sender, receiver) = sync_channel(QUEUE);
        let dropped = Arc::new(AtomicU64::new(0));
        let waiting = Arc::new(AtomicU64::new(0));
        let (counter, written) = (Arc::clone(&dropped), Arc::clone(&waiting));
        let thread = std::thread::spawn(move || write_all(&mut sink, &receiver, &counter, &written));
        Self {
            sender,
            dropped,
            waiting,
            ended: Arc::new(std::sync::Mutex::new(Some(thread))),
        }
    }

    /// A line of a part, as it wrote it: a level and a sentence, or whatever it printed.
    pub(crate) fn forward(&self, speaker: Speaker, line: &str) {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (level, message) = match first {
            "ERROR" => ("error", rest),
            "WARN" => ("warning", rest),
            "INFO" => ("info", rest),
            "DEBUG" | "TRACE" => ("debug", rest),
            _ => ("info", line),
        };
        self.send(speaker, level, message);
    }

    /// Says something of the supervisor itself.
    pub(crate) fn say(&self, message: &str) {
        self.send(Speaker::Up, "info", message);
    }

    /// Says what somebody should look at.
    pub(crate) fn warn(&self, message: &str) {
        self.send(Speaker::Up, "warning", message);
    }

    fn send(&self, speaker: Speaker, level: &'static str, message: &str) {
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let line = Line {
            at,
            part: speaker.word(),
            level,
            message: printable(message.trim_end()),
        };
        self.waiting.fetch_add(1, Ordering::SeqCst);
        if let Err(error) = self.sender.try_send(line) {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            if matches!(error, TrySendError::Full(_)) {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until what was said is written, a moment at most.
    pub(crate) fn flush(&self) {
        let end = Instant::now() + FLUSH_PATIENCE;
        while self.waiting.load(Ordering::SeqCst) > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until everything is written. Other handles must be gone.
    pub(crate) fn finish(self) {
        let thread = self.ended.lock().ok().and_then(|mut ended| ended.take());
        drop(self.sender);
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

fn write_all(sink: &mut Sink, lines: &Receiver<Line>, dropped: &AtomicU64, waiting: &AtomicU64) {
    while let Ok(line) = lines.recv() {
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let message = format!("{lost} lines of this log were dropped: it is read too slowly");
            write(
                sink,
                &Line {
                    at: line.at.clone(),
                    part: Speaker::Up.word(),
                    level: "warning",
                    message,
                },
            );
        }
        write(sink, &line);
        waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

fn write(sink: &mut Sink, line: &Line) {
    match sink {
        // Losing a line of the log is no reason to stop a platform.
        Sink::Json(ui) => drop(ui.json_line(line)),
        Sink::Screen(ui) => {
            let time = line.at.get(11..19).unwrap_or(&line.at);
            let level = level_word(line.level);
            let look = if line.level == "error" {
                Look::Bad
            } else {
                Look::Warning
            };
            let level = if level.is_empty() {
                String::new()
            } else {
                ui.err(look, level)
            };
            // Under a service manager or in a file, lines are read on another day.
            let time = if std::io::stderr().is_terminal() {
                time.to_owned()
            } else {
                line.at.replace('T', " ").replace('Z', "")
            };
            ui.say(&format!(
                "{} {} {level}{}",
                ui.err(Look::Faint, &time),
                ui.err(Look::Link, &format!("{:<8}", line.part)),
                line.message
            ));
        }
        Sink::File(file) => {
            let at = line.at.replace('T', " ").replace('Z', "");
            file.write_line(&format!(
                "{at} {:<8} {}{}\n",
                line.part,
                level_word(line.level),
                line.message
            ));
        }
    }
}

fn level_word(level: &str) -> &'static str {
    match level {
        "error" => "error: ",
        "warning" => "warning: ",
        "debug" => "debug: ",
        _ => "",
    }
}

/// A file that is put aside when it is full; only a few are kept.
#[derive(Debug)]
pub(crate) struct RotatingFile {
    path: PathBuf,
    file: Option<File>,
    bytes: u64,
}

impl RotatingFile {
    /// Goes on with the file, or begins it.
    pub(crate) fn open(path: &Path) -> std::io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            path: path.to_owned(),
            file: Some(file),
            bytes,
        })
    }

    fn write_line(&mut self, line: &str) {
        let length = u64::try_from(line.len()).unwrap_or(0);
        if self.bytes + length > FILE_BYTES {
            self.rotate();
        }
        if self.file.is_none() {
            self.file = File::options().create(true).append(true).open(&self.path).ok();
        }
        // A full disk must not end the platform; the next line is tried again.
        if self
            .file
            .as_mut()
            .is_some_and(|file| file.write_all(line.as_bytes()).is_ok())
        {
            self.bytes += length;
        }
    }

    fn rotate(&mut self) {
        let old = |number: u32| self.path.with_extension(format!("log.{number}"));
        for number in (1..OLD_FILES).rev() {
            let _ = std::fs::rename(old(number), old(number + 1));
        }
        let _ = std::fs::rename(&self.path, old(1));
        self.file = None;
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_keeps_within_its_bounds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.log");
        let mut file = RotatingFile::open(&path).unwrap();
        let line = format!("{}\n", "x".repeat(1 << 20));
        for _ in 0..50 {
            file.write_line(&line);
        }
        let files: Vec<u64> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        assert_eq!(files.len(), 4);
        assert!(files.iter().all(|bytes| *bytes <= FILE_BYTES), "{files:?}");
    }

    #[test]
    fn lines_of_parts_are_told_apart_by_level() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weir.log");
        let log = Log::start(Sink::File(RotatingFile::open(&path).unwrap()));
        log.forward(Speaker::Control, "INFO shop: release 3 is live");
        log.forward(Speaker::Node, "ERROR no\u{1b}[2Jroom");
        log.forward(Speaker::Node, "thread 'main' panicked");
        log.finish();
        let text = std::fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| &line[20..]).collect();
        assert_eq!(
            lines,
            [
                "control  shop: release 3 is live",
                "node     error: no\u{fffd}[2Jroom",
                "node     thread 'main' panicked"
            ]
        );
    }
}
