//! What an instance writes, as the engine has it.
//!
//! The engine keeps the last 4 MB of each container; of an app that floods its log, lines may be
//! gone before they are read, and a line of Weir's own stands for them. The engine splits lines of more than 16 KiB; each part comes as a chunk of its own. Reading
//! is never ahead of the reader by more than one piece of the connection, so a flood costs no
//! memory here.

use std::collections::VecDeque;
use std::time::Duration;

use bollard::models::ContainerStateStatusEnum as Status;
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::StreamExt as _;
use hyper::Method;
use weir_model::InstanceId;
use weir_model::log::LogStream;

use crate::{BoxStream, EngineError, OutputChunk};

use super::{DockerEngine, names, raw};

/// A line of a terminal that is longer is passed on in parts.
const LONGEST_PART: usize = 16 * 1024;
/// The head of a frame: one byte for the stream, three of nothing, four of length.
const FRAME_HEAD: usize = 8;
/// No frame of the engine is longer; one that says so is no frame.
const LONGEST_FRAME: usize = 1 << 20;

/// Pause before a container that has written nothing new is asked again.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);
/// What stands for lines that the engine threw away before they could be read.
const LOST: &str = "some lines are missing here: they were written faster than they could be read";

/// How the engine writes the output of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// Frames that say which stream they are of.
    Frames,
    /// One stream as it is: the container has a terminal.
    Plain,
}

/// Takes frames out of bytes as they come.
#[derive(Debug)]
pub(super) struct Unframer {
    framing: Framing,
    buffer: BytesMut,
}

impl Unframer {
    pub(super) fn new(framing: Framing) -> Self {
        Self {
            framing,
            buffer: BytesMut::new(),
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece that is complete. Fails on bytes that are no frame.
    pub(super) fn next(&mut self) -> Result<Option<(LogStream, Bytes)>, EngineError> {
        if self.framing == Framing::Plain {
            return Ok((!self.buffer.is_empty()).then(|| (LogStream::Stdout, self.buffer.split().freeze())));
        }
        let Some(head) = self.buffer.get(..FRAME_HEAD) else {
            return Ok(None);
        };
        let length = usize::try_from(u32::from_be_bytes([head[4], head[5], head[6], head[7]])).unwrap_or(usize::MAX);
        let stream = if head[0] == 2 {
            LogStream::Stderr
        } else {
            LogStream::Stdout
        };
        if head[0] > 3 || length > LONGEST_FRAME {
            return Err(EngineError::Refused(
                "the container engine sent output that cannot be read".to_owned(),
            ));
        }
        if head[0] == 3 {
            let text = String::from_utf8_lossy(&self.buffer[FRAME_HEAD..]).trim().to_owned();
            return Err(EngineError::Unreachable(text));
        }
        if self.buffer.len() < FRAME_HEAD + length {
            return Ok(None);
        }
        self.buffer.advance(FRAME_HEAD);
        Ok(Some((stream, self.buffer.split_to(length).freeze())))
    }
}

/// Follows the output of a container behind an instant, until the container has ended.
pub(super) fn follow(
    engine: DockerEngine,
    instance: InstanceId,
    after_ns: i64,
) -> BoxStream<Result<OutputChunk, EngineError>> {
    let reader = Reader {
        engine,
        instance,
        connection: None,
        ready: VecDeque::new(),
        last_ns: after_ns,
        is_first: true,
        has_ended: false,
    };
    Box::pin(futures_util::stream::unfold(reader, |mut reader| async move {
        let next = reader.next().await?;
        Some((next, reader))
    }))
}

/// One answer of the engine.
struct Connection {
    bytes: BoxStream<Result<Bytes, EngineError>>,
    unframer: Unframer,
    lines: TerminalLines,
    /// What was read before, which is not told again.
    after_ns: i64,
    /// The line at `after_ns` is to come once more; if it does not, it and others are gone.
    expects_last: bool,
    /// Something new came.
    is_fruitful: bool,
}

/// One connection after the other: the engine ends its answer when the log is rotated faster
/// than it can follow, long before the container ends.
struct Reader {
    engine: DockerEngine,
    instance: InstanceId,
    connection: Option<Connection>,
    ready: VecDeque<OutputChunk>,
    last_ns: i64,
    is_first: bool,
    has_ended: bool,
}

impl Reader {
    async fn next(&mut self) -> Option<Result<OutputChunk, EngineError>> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                self.last_ns = self.last_ns.max(chunk.at_ns);
                return Some(Ok(chunk));
            }
            if self.has_ended {
                return None;
            }
            if let Err(error) = self.advance().await {
                self.has_ended = true;
                // One that was removed while it was followed has ended.
                let is_gone = !self.is_first && matches!(error, EngineError::NotFound(_));
                return (!is_gone).then_some(Err(error));
            }
        }
    }

    /// Reads one piece, or goes from one connection to the next.
    async fn advance(&mut self) -> Result<(), EngineError> {
        let Some(connection) = &mut self.connection else {
            self.connection = Some(self.open().await?);
            self.is_first = false;
            return Ok(());
        };
        if let Some(bytes) = connection.bytes.next().await {
            connection.unframer.push(&bytes?);
            return connection.unframe(&mut self.ready);
        }
        let rest = connection.lines.rest();
        connection.keep(rest, &mut self.ready);
        let is_fruitful = connection.is_fruitful;
        self.connection = None;
        if !is_fruitful {
            match self.engine.status_of(self.instance).await? {
                Some(Status::CREATED | Status::RUNNING | Status::PAUSED | Status::RESTARTING) => {
                    tokio::time::sleep(REOPEN_PAUSE).await;
                }
                _ended => self.has_ended = true,
            }
        }
        Ok(())
    }

    async fn open(&mut self) -> Result<Connection, EngineError> {
        let engine = &self.engine;
        let client = engine.client().await?;
        let name = names::container(engine.installation(), self.instance);
        let framing = engine.framing_of(&name).await?;
        let mut query: Vec<(&str, String)> = ["follow", "stdout", "stderr", "timestamps"]
            .map(|key| (key, "1".to_owned()))
            .to_vec();
        if self.last_ns > 0 {
            query.push((
                "since",
                format!("{}.{:09}", self.last_ns / 1_000_000_000, self.last_ns % 1_000_000_000),
            ));
        }
        let target = raw::path_with_query(&format!("{}/containers/{name}/logs", client.prefix), &query);
        let response = raw::send_soon(
            engine.socket(),
            Method::GET,
            &target,
            None,
            raw::Upgrade::None,
            raw::empty(),
        )
        .await?;
        Ok(Connection {
            bytes: response.stream(),
            unframer: Unframer::new(framing),
            lines: TerminalLines::default(),
            after_ns: self.last_ns,
            expects_last: !self.is_first && self.last_ns > 0,
            is_fruitful: false,
        })
    }
}

impl Connection {
    fn unframe(&mut self, ready: &mut VecDeque<OutputChunk>) -> Result<(), EngineError> {
        while let Some((stream, bytes)) = self.unframer.next()? {
            if self.unframer.framing == Framing::Frames {
                self.keep(parse_line(stream, &bytes), ready);
            } else {
                self.lines.push(&bytes);
                while let Some(chunk) = self.lines.next() {
                    self.keep(Some(chunk), ready);
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, chunk: Option<OutputChunk>, ready: &mut VecDeque<OutputChunk>) {
        let Some(chunk) = chunk.filter(|chunk| chunk.at_ns >= self.after_ns) else {
            return;
        };
        let is_new = chunk.at_ns > self.after_ns;
        if std::mem::take(&mut self.expects_last) && is_new {
            ready.push_back(OutputChunk {
                at_ns: self.after_ns,
                stream: LogStream::Weir,
                text: Bytes::from_static(LOST.as_bytes()),
            });
        }
        if is_new {
            self.is_fruitful = true;
            ready.push_back(chunk);
        }
    }
}

/// Lines of a container with a terminal, whose output has no frames.
#[derive(Debug, Default)]
struct TerminalLines {
    buffer: BytesMut,
    last_ns: i64,
}

impl TerminalLines {
    fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    fn next(&mut self) -> Option<OutputChunk> {
        let line = match self.buffer.iter().take(LONGEST_PART).position(|byte| *byte == b'\n') {
            Some(end) => self.buffer.split_to(end + 1),
            None if self.buffer.len() >= LONGEST_PART => self.buffer.split_to(LONGEST_PART),
            None => return None,
        };
        self.parse(&line)
    }

    fn rest(&mut self) -> Option<OutputChunk> {
        let rest = self.buffer.split();
        if rest.is_empty() { None } else { self.parse(&rest) }
    }

    fn parse(&mut self, line: &[u8]) -> Option<OutputChunk> {
        // A part of a long line has no instant of its own.
        let chunk = parse_line(LogStream::Stdout, line).unwrap_or_else(|| OutputChunk {
            at_ns: self.last_ns,
            stream: LogStream::Stdout,
            text: Bytes::copy_from_slice(trim_line_end(line)),
        });
        self.last_ns = chunk.at_ns;
        Some(chunk)
    }
}

/// `2024-05-01T10:00:00.123456789Z text` of the engine as a chunk.
fn parse_line(stream: LogStream, line: &[u8]) -> Option<OutputChunk> {
    let space = line.iter().take(40).position(|byte| *byte == b' ')?;
    let instant = std::str::from_utf8(&line[..space])
        .ok()?
        .parse::<jiff::Timestamp>()
        .ok()?;
    Some(OutputChunk {
        at_ns: i64::try_from(instant.as_nanosecond()).ok()?,
        stream,
        text: Bytes::copy_from_slice(trim_line_end(&line[space + 1..])),
    })
}

fn trim_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![stream, 0, 0, 0];
        bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        bytes.extend(text);
        bytes
    }

    #[test]
    fn frames_are_put_together_from_any_pieces() {
        let mut bytes = frame(1, b"1970-01-01T00:00:01.000000005Z hello\n");
        bytes.extend(frame(2, b"1970-01-01T00:00:02Z \n"));
        for size in 1..bytes.len() {
            let mut unframer = Unframer::new(Framing::Frames);
            let mut chunks = Vec::new();
            for piece in bytes.chunks(size) {
                unframer.push(piece);
                while let Some((stream, line)) = unframer.next().unwrap() {
                    chunks.push(parse_line(stream, &line).unwrap());
                }
            }
            assert_eq!(chunks.len(), 2);
            assert_eq!(
                (chunks[0].at_ns, chunks[0].text.as_ref()),
                (1_000_000_005, b"hello".as_ref())
            );
            assert_eq!(
                (chunks[1].stream, chunks[1].text.as_ref()),
                (LogStream::Stderr, b"".as_ref())
            );
        }
    }

    #[test]
    fn bytes_that_are_no_frame_are_an_error() {
        let mut unframer = Unframer::new(Framing::Frames);
        unframer.push(&[1, 0, 0, 0, 255, 255, 255, 255]);
        assert!(unframer.next().is_err());
    }

    #[test]
    fn long_lines_of_a_terminal_come_in_parts() {
        let mut lines = TerminalLines::default();
        lines.push(b"1970-01-01T00:00:01Z ");
        lines.push(&vec![b'x'; 40_000]);
        lines.push(b"\r\n");
        let parts: Vec<_> = std::iter::from_fn(|| lines.next()).collect();
        assert!(parts.len() >= 2);
        assert!(parts.iter().all(|part| part.at_ns == 1_000_000_000));
        assert_eq!(parts.iter().map(|part| part.text.len()).sum::<usize>(), 40_000);
    }
}
