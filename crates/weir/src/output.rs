//! What people and scripts see. Standard output is data, standard error is everything else.
//! Colours and movement are for terminals only, and never with `NO_COLOR`.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::failure::{Failure, Result};

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Headings and names.
    Bold,
    /// What matters less.
    Faint,
    /// It is well.
    Good,
    /// It needs a look.
    Warning,
    /// It is wrong.
    Bad,
    /// Where to go.
    Link,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
            Self::Link => "36",
        }
    }

    /// The look of a state of an instance, a task, a deployment or an environment.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "ready" | "running" | "live" | "done" | "active" | "sent" | "confirmed" | "valid" => Self::Good,
            "crashed" | "failed" | "failing" | "unhealthy" | "given-up" => Self::Bad,
            "retired" | "superseded" | "exited" | "frozen" | "asleep" | "draining" | "empty" | "none" => Self::Faint,
            _ => Self::Warning,
        }
    }
}

/// Whether results are for people or for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Tables and sentences.
    Text,
    /// JSON, `--json`.
    Json,
}

/// The two streams of a command and what they can show.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    format: Format,
    colour_out: bool,
    colour_err: bool,
    terminal_err: bool,
}

impl Ui {
    /// Looks at the streams and at `NO_COLOR`.
    pub(crate) fn new(format: Format) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        Self {
            format,
            colour_out: wanted && io::stdout().is_terminal(),
            colour_err: wanted && io::stderr().is_terminal(),
            terminal_err: io::stderr().is_terminal(),
        }
    }

    /// Whether results are JSON.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether standard error is a terminal that somebody looks at.
    pub(crate) fn shows_movement(&self) -> bool {
        self.terminal_err && !self.is_json()
    }

    /// Text for standard output in a look.
    pub(crate) fn out(&self, look: Look, text: &str) -> String {
        paint(self.colour_out, look, text)
    }

    /// Text for standard error in a look.
    pub(crate) fn err(&self, look: Look, text: &str) -> String {
        paint(self.colour_err, look, text)
    }

    /// A line of data on standard output.
    pub(crate) fn data(&self, line: &str) -> Result<()> {
        writeln!(io::stdout().lock(), "{line}").map_err(Failure::from)
    }

    /// The result as JSON with `--json`, else as `text` says.
    pub(crate) fn result<T: Serialize>(&self, value: &T, text: impl FnOnce() -> Result<()>) -> Result<()> {
        match self.format {
            Format::Json => self.json(value),
            Format::Text => text(),
        }
    }

    /// One JSON value on standard output.
    pub(crate) fn json<T: Serialize>(&self, value: &T) -> Result<()> {
        let text = serde_json::to_string_pretty(value)
            .map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        self.data(&text)
    }

    /// One JSON value on one line of standard output, for streams.
    pub(crate) fn json_line<T: Serialize>(&self, value: &T) -> Result<()> {
        let text =
            serde_json::to_string(value).map_err(|error| Failure::failed(format!("cannot write JSON: {error}")))?;
        self.data(&text)
    }

    /// A line for people on standard error. Losing it is no reason to fail.
    pub(crate) fn say(&self, line: &str) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }

    /// Said only where results are for people.
    pub(crate) fn note(&self, line: &str) {
        if !self.is_json() {
            self.say(line);
        }
    }

    /// An error, with its detail and hint.
    pub(crate) fn failure(&self, failure: &Failure) {
        if failure.message.is_empty() {
            return;
        }
        if self.is_json() {
            if let Ok(text) = serde_json::to_string(failure) {
                self.say(&text);
            }
            return;
        }
        let mut text = format!("{} {}", self.err(Look::Bad, "error:"), failure.message);
        for (word, more) in [("detail:", &failure.detail), ("hint:", &failure.hint)] {
            if let Some(more) = more {
                let more = more.trim_end().replace('\n', "\n          ");
                let _ = write!(text, "\n  {} {more}", self.err(Look::Link, word));
            }
        }
        self.say(&text);
    }

    /// A table on standard output; nothing but the note when there are no rows.
    pub(crate) fn table(&self, headers: &[&str], rows: &[Vec<Cell>], none: &str) -> Result<()> {
        if rows.is_empty() {
            self.say(none);
            return Ok(());
        }
        let text = self.table_text(headers, rows);
        io::stdout().lock().write_all(text.as_bytes()).map_err(Failure::from)
    }

    fn table_text(&self, headers: &[&str], rows: &[Vec<Cell>]) -> String {
        let widths: Vec<usize> = headers
            .iter()
            .enumerate()
            .map(|(column, header)| {
                let cells = rows
                    .iter()
                    .filter_map(|row| row.get(column))
                    .map(|cell| cell.text.chars().count());
                cells.chain([header.chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let mut text = String::new();
        let head: Vec<Cell> = headers
            .iter()
            .map(|header| Cell::looking(Look::Faint, *header))
            .collect();
        for row in std::iter::once(&head).chain(rows) {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let last = column + 1 == row.len();
                let pad = if last {
                    0
                } else {
                    widths[column].saturating_sub(cell.text.chars().count()) + 2
                };
                match cell.look {
                    Some(look) => line.push_str(&self.out(look, &cell.text)),
                    None => line.push_str(&cell.text),
                }
                line.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn paint(colour: bool, look: Look, text: &str) -> String {
    if colour {
        format!("\u{1b}[{}m{text}\u{1b}[0m", look.code())
    } else {
        text.to_owned()
    }
}

/// A cell of a table.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    look: Option<Look>,
}

impl Cell {
    /// A cell in a look.
    pub(crate) fn looking(look: Look, text: impl Into<String>) -> Self {
        Self {
            look: Some(look),
            ..Self::from(text.into())
        }
    }

    /// A state, in the look of that state.
    pub(crate) fn state(state: &str) -> Self {
        Self::looking(Look::of_state(state), state)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        // What others wrote must not move the cursor about.
        Self {
            text: printable(&text),
            look: None,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::from(text.to_owned())
    }
}

impl From<Option<String>> for Cell {
    fn from(text: Option<String>) -> Self {
        Self::from(text.unwrap_or_else(|| "-".to_owned()))
    }
}

/// Text without characters that control a terminal.
pub(crate) fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

/// Text of a log for a terminal: colours may stay, what else controls a terminal may not.
pub(crate) fn log_text(text: &str, colours: bool) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        clean.push_str(&printable(&rest[..at]));
        rest = &rest[at + 1..];
        let Some(sequence) = rest.strip_prefix('[') else {
            continue;
        };
        let end = sequence
            .find(|c: char| !(c.is_ascii_digit() || c == ';'))
            .unwrap_or(sequence.len());
        if sequence[end..].starts_with('m') && colours {
            let _ = write!(clean, "\u{1b}[{}m", &sequence[..end]);
        }
        rest = sequence[end..]
            .get(1..)
            .unwrap_or(if end < sequence.len() { &sequence[end..] } else { "" });
    }
    clean.push_str(&printable(rest));
    clean
}

/// A length of time in a few characters: `45 s`, `12 min`, `3 h`, `5 days`.
pub(crate) fn time_span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..=99 => format!("{seconds} s"),
        100..=5_999 => format!("{} min", seconds / 60),
        6_000..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// How long ago an instant of the API was.
pub(crate) fn ago(instant: &str) -> String {
    let Ok(then) = instant.parse::<jiff::Timestamp>() else {
        return instant.to_owned();
    };
    let span = jiff::Timestamp::now().duration_since(then);
    match Duration::try_from(span) {
        Ok(span) => format!("{} ago", time_span(span)),
        Err(_) => "now".to_owned(),
    }
}

/// An instant for people, to the minute: `14:20` of today, else with its day; in UTC.
pub(crate) fn clock(instant: &str) -> String {
    let Ok(then) = instant.parse::<jiff::Timestamp>() else {
        return instant.to_owned();
    };
    let today = jiff::Timestamp::now().strftime("%F").to_string();
    let shown = then.strftime("%F %H:%M UTC").to_string();
    shown
        .strip_prefix(&format!("{today} "))
        .map_or(shown.clone(), str::to_owned)
}

/// A number of bytes: `512 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut unit = 0;
    let mut tenths = bytes.saturating_mul(10);
    while tenths >= 10_240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    if tenths.is_multiple_of(10) {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// A line at the bottom of the terminal that moves while something takes long.
#[derive(Debug)]
pub(crate) struct Spinner {
    shown: bool,
    enabled: bool,
    frame: usize,
    since: Instant,
    text: String,
}

impl Spinner {
    /// How often it moves.
    pub(crate) const PERIOD: Duration = Duration::from_millis(100);
    const FRAMES: [&'static str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

    /// One that is seen only where somebody looks.
    pub(crate) fn new(ui: &Ui, text: impl Into<String>) -> Self {
        Self {
            shown: false,
            enabled: ui.shows_movement(),
            frame: 0,
            since: Instant::now(),
            text: text.into(),
        }
    }

    /// What it says from now on.
    pub(crate) fn set_text(&mut self, text: impl Into<String>) {
        self.text = text.into();
        self.since = Instant::now();
    }

    /// Moves on.
    pub(crate) fn tick(&mut self) {
        if !self.enabled {
            return;
        }
        self.frame = (self.frame + 1) % Self::FRAMES.len();
        let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line = format!(
            "{} {} {}",
            Self::FRAMES[self.frame],
            self.text,
            time_span(self.since.elapsed())
        );
        let line: String = printable(&line).chars().take(width.saturating_sub(1)).collect();
        let mut err = io::stderr().lock();
        let _ = write!(err, "\r\u{1b}[K{line}");
        let _ = err.flush();
        self.shown = true;
    }

    /// Makes room for a line.
    pub(crate) fn clear(&mut self) {
        if self.shown {
            let mut err = io::stderr().lock();
            let _ = write!(err, "\r\u{1b}[K");
            let _ = err.flush();
            self.shown = false;
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_are_short() {
        assert_eq!(size(512 << 20), "512 MiB");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(7), "7 bytes");
        assert_eq!(time_span(Duration::from_secs(45)), "45 s");
        assert_eq!(time_span(Duration::from_secs(720)), "12 min");
    }

    #[test]
    fn logs_cannot_move_the_cursor() {
        assert_eq!(log_text("\u{1b}[31mred\u{1b}[0m", true), "\u{1b}[31mred\u{1b}[0m");
        assert_eq!(log_text("\u{1b}[31mred\u{1b}[0m", false), "red");
        assert_eq!(log_text("a\u{1b}[2Jb\u{7}", true), "ab\u{fffd}");
        assert_eq!(log_text("\u{1b}]0;title\u{7}x", true), "]0;title\u{fffd}x");
        assert_eq!(log_text("end\u{1b}", true), "end");
        assert_eq!(log_text("end\u{1b}[", true), "end");
        assert_eq!(log_text("\u{1b}[é", true), "é");
    }

    #[test]
    fn tables_line_up_without_trailing_space() {
        let ui = Ui {
            format: Format::Text,
            colour_out: false,
            colour_err: false,
            terminal_err: false,
        };
        let text = ui.table_text(
            &["A", "NAME"],
            &[vec!["long".into(), "x".into()], vec!["b".into(), "".into()]],
        );
        assert_eq!(text, "A     NAME\nlong  x\nb\n");
    }
}
