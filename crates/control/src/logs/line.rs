//! One line of a segment: `NANOSECONDS \t INSTANCE \t PROCESS \t STREAM \t TEXT \n`, the text
//! escaped so that it has no line end in it. Readable with the tools that everyone has.
//!
//! Instances are read side by side, so a line may come later than one that was written after it. It
//! then says by how many milliseconds: `NANOSECONDS+LATE`. Both together are where it stands in the
//! order of lines, which is the order in the file, and the same whenever it is asked for.

use weir_model::log::{LogLine, LogStream};
use weir_model::{AppName, InstanceId, ProcessName};

/// Longest text that is kept of a line, in bytes.
pub(super) const LONGEST_TEXT: usize = 16 * 1024;
/// Ends a text that was cut.
const CUT: &str = " … (cut: lines may have 16 KiB)";
const NANOSECONDS_PER_MS: i64 = 1_000_000;

/// A line on its way to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at_ns: i64,
    pub(super) instance: Option<InstanceId>,
    pub(super) process: ProcessName,
    pub(super) writer: Writer,
    pub(super) text: String,
}

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writer {
    Stdout,
    Stderr,
    /// Weir itself.
    Weir,
    /// Weir itself, in place of lines of the instance that it dropped: whoever goes on reading
    /// the instance's output goes on behind them.
    InPlace,
}

impl Writer {
    fn letter(self) -> u8 {
        match self {
            Self::Stdout => b'o',
            Self::Stderr => b'e',
            Self::Weir => b'w',
            Self::InPlace => b'd',
        }
    }

    fn of_letter(letter: &[u8]) -> Option<Self> {
        [Self::Stdout, Self::Stderr, Self::Weir, Self::InPlace]
            .into_iter()
            .find(|writer| letter == [writer.letter()])
    }

    fn stream(self) -> LogStream {
        match self {
            Self::Stdout => LogStream::Stdout,
            Self::Stderr => LogStream::Stderr,
            Self::Weir | Self::InPlace => LogStream::Weir,
        }
    }

    /// Whether reading an instance's output goes on behind such a line.
    pub(super) fn moves_cursor(self) -> bool {
        self != Self::Weir
    }
}

impl From<LogStream> for Writer {
    fn from(stream: LogStream) -> Self {
        match stream {
            LogStream::Stdout => Self::Stdout,
            LogStream::Stderr => Self::Stderr,
            LogStream::Weir => Self::Weir,
        }
    }
}

impl Entry {
    pub(super) fn of(line: &LogLine) -> Self {
        Self {
            at_ns: line.at_ms.saturating_mul(NANOSECONDS_PER_MS),
            instance: line.instance,
            process: line.process.clone(),
            writer: line.stream.into(),
            text: cut(&line.text),
        }
    }

    /// Appends the line as it stands in a segment behind lines whose latest instant is `newest_ms`,
    /// which moves on.
    pub(super) fn encode(&self, newest_ms: &mut i64, buffer: &mut Vec<u8>) {
        use std::io::Write as _;
        let at_ms = self.at_ns.div_euclid(NANOSECONDS_PER_MS);
        let late_ms = newest_ms.saturating_sub(at_ms);
        *newest_ms = at_ms.max(*newest_ms);
        // Writing into memory does not fail.
        let _ = match late_ms > 0 {
            true => write!(buffer, "{}+{late_ms}\t", self.at_ns),
            false => write!(buffer, "{}\t", self.at_ns),
        };
        let _ = match self.instance {
            Some(instance) => write!(buffer, "{instance}\t{}\t", self.process),
            None => write!(buffer, "-\t{}\t", self.process),
        };
        buffer.push(self.writer.letter());
        buffer.push(b'\t');
        for &byte in self.text.as_bytes() {
            match byte {
                b'\\' => buffer.extend_from_slice(b"\\\\"),
                b'\n' => buffer.extend_from_slice(b"\\n"),
                b'\r' => buffer.extend_from_slice(b"\\r"),
                byte => buffer.push(byte),
            }
        }
        buffer.push(b'\n');
    }
}

/// A line as it stands in a segment, its fields not read yet: most lines are only passed over.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawLine<'a> {
    pub(super) at_ns: i64,
    late_ms: i64,
    pub(super) instance: &'a [u8],
    pub(super) process: &'a [u8],
    pub(super) writer: Writer,
    pub(super) text: &'a [u8],
}

impl<'a> RawLine<'a> {
    /// Splits a line (without its end). `None` if it is damaged.
    pub(super) fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.splitn(5, |&byte| byte == b'\t');
        let at = std::str::from_utf8(fields.next()?).ok()?;
        let (at_ns, late_ms) = at.split_once('+').unwrap_or((at, "0"));
        let (instance, process) = (fields.next()?, fields.next()?);
        let writer = Writer::of_letter(fields.next()?)?;
        Some(Self {
            at_ns: at_ns.parse().ok()?,
            late_ms: late_ms.parse().ok()?,
            instance,
            process,
            writer,
            text: fields.next()?,
        })
    }

    pub(super) fn at_ms(&self) -> i64 {
        self.at_ns.div_euclid(NANOSECONDS_PER_MS)
    }

    /// Where it stands in the order of lines.
    pub(super) fn order_ms(&self) -> i64 {
        self.at_ms().saturating_add(self.late_ms)
    }

    pub(super) fn stream(&self) -> LogStream {
        self.writer.stream()
    }

    pub(super) fn instance(&self) -> Option<InstanceId> {
        std::str::from_utf8(self.instance).ok()?.parse().ok()
    }

    /// The line with all its fields; `None` if it is damaged.
    pub(super) fn read(&self, app: &AppName) -> Option<LogLine> {
        Some(LogLine {
            at_ms: self.at_ms(),
            app: app.clone(),
            process: ProcessName::new(std::str::from_utf8(self.process).ok()?).ok()?,
            instance: self.instance(),
            stream: self.writer.stream(),
            text: unescape(self.text),
        })
    }
}

fn unescape(text: &[u8]) -> String {
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => plain.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                _ => b'\\',
            }),
            byte => plain.push(byte),
        }
    }
    String::from_utf8(plain).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// Shortens a text to what is kept, at the border of a character, and marks it.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= LONGEST_TEXT {
        return text.to_owned();
    }
    let mut end = LONGEST_TEXT - CUT.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{CUT}", &text[..end])
}

/// What a person searches for, without regard to upper and lower case.
#[derive(Debug, Clone)]
pub(super) struct Needle(String);

impl Needle {
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_lowercase())
    }

    /// Whether a text contains it.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let needle = self.0.as_bytes();
        if !self.0.is_ascii() {
            return text.to_lowercase().contains(&self.0);
        }
        let Some(first) = needle.first() else { return true };
        text.as_bytes()
            .windows(needle.len())
            .any(|window| window[0].to_ascii_lowercase() == *first && window.eq_ignore_ascii_case(needle))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_reads_back_as_it_was() {
        for text in [
            "",
            "plain",
            "tab\tand \\ and \\n",
            "two\nlines\r",
            "\u{1b}[31mred\u{1b}[0m",
            "é\0x",
        ] {
            let entry = Entry {
                at_ns: 1_700_000_000_123_456_789,
                instance: Some(InstanceId::from_parts(5, 6)),
                process: ProcessName::web(),
                writer: Writer::Stderr,
                text: text.to_owned(),
            };
            let mut buffer = Vec::new();
            entry.encode(&mut 0, &mut buffer);
            assert_eq!(buffer.iter().filter(|&&byte| byte == b'\n').count(), 1);
            let raw = RawLine::parse(&buffer[..buffer.len() - 1]).unwrap();
            let line = raw.read(&AppName::new("shop").unwrap()).unwrap();
            assert_eq!(
                (line.text.as_str(), line.instance, line.stream),
                (text, entry.instance, LogStream::Stderr)
            );
            assert_eq!(line.at_ms, 1_700_000_000_123);
        }
    }

    #[test]
    fn what_comes_late_says_so_and_keeps_its_instant() {
        let mut newest_ms = i64::MIN;
        let mut entry = Entry {
            at_ns: 5_000_000_000,
            instance: None,
            process: ProcessName::web(),
            writer: Writer::Stdout,
            text: "x".to_owned(),
        };
        let mut seen = Vec::new();
        for at_ns in [5_000_000_000, 4_200_000_001, 5_000_999_999, 6_000_000_000] {
            entry.at_ns = at_ns;
            let mut buffer = Vec::new();
            entry.encode(&mut newest_ms, &mut buffer);
            let raw = RawLine::parse(&buffer[..buffer.len() - 1]).unwrap();
            assert_eq!(raw.at_ns, at_ns);
            seen.push((raw.at_ms(), raw.order_ms()));
        }
        assert_eq!(seen, [(5_000, 5_000), (4_200, 5_000), (5_000, 5_000), (6_000, 6_000)]);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let cut = cut(&"é".repeat(LONGEST_TEXT));
        assert!(cut.len() <= LONGEST_TEXT && cut.ends_with(CUT));
    }

    #[test]
    fn search_ignores_upper_and_lower_case() {
        assert!(Needle::new("ERROR").is_in("an error happened"));
        assert!(Needle::new("ÉTÉ").is_in("l'été"));
        assert!(!Needle::new("longer than the text").is_in("text"));
        assert!(Needle::new("").is_in("anything"));
    }
}
