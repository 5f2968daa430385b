//! Reads server-sent events.

use std::time::Duration;

use futures_util::StreamExt as _;

use crate::failure::{Failure, Result};

/// Silence after which a connection is taken for dead; Weir says something more often.
const SILENCE: Duration = Duration::from_secs(60);
/// Longest event, in bytes.
const LONGEST: usize = 4 << 20;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    /// Where to resume.
    pub(crate) id: Option<String>,
    /// What it is.
    pub(crate) name: String,
    /// JSON.
    pub(crate) data: String,
}

/// A stream of events that is being read.
pub(crate) struct EventReader {
    bytes: futures_util::stream::BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: Parser,
}

impl std::fmt::Debug for EventReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventReader").finish_non_exhaustive()
    }
}

impl EventReader {
    pub(super) fn new(response: reqwest::Response) -> Self {
        Self {
            bytes: response.bytes_stream().boxed(),
            parser: Parser::default(),
        }
    }

    /// The next event. `None` at the end of the stream. Fails when the connection breaks. May be
    /// dropped and called again without losing anything.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>> {
        loop {
            if let Some(event) = self.parser.take()? {
                return Ok(Some(event));
            }
            match tokio::time::timeout(SILENCE, self.bytes.next()).await {
                Ok(Some(Ok(chunk))) => self.parser.feed(&chunk),
                Ok(Some(Err(error))) => {
                    return Err(Failure::unreachable("the connection broke").detail(super::chain(&error)));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(Failure::unreachable("Weir fell silent")),
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parser {
    buffer: Vec<u8>,
    /// How much of the buffer was searched for a line end in vain.
    searched: usize,
    event: Event,
}

impl Parser {
    fn feed(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    fn take(&mut self) -> Result<Option<Event>> {
        let mut begin = 0;
        let mut complete = None;
        while let Some(length) = self.buffer[begin.max(self.searched)..]
            .iter()
            .position(|byte| *byte == b'\n')
        {
            let end = begin.max(self.searched) + length;
            let line = String::from_utf8_lossy(&self.buffer[begin..end]).into_owned();
            begin = end + 1;
            self.searched = begin;
            if let Some(event) = self.line(line.trim_end_matches('\r')) {
                complete = Some(event);
                break;
            }
        }
        self.buffer.drain(..begin);
        self.searched = if complete.is_some() { 0 } else { self.buffer.len() };
        if self.buffer.len() + self.event.data.len() > LONGEST && complete.is_none() {
            return Err(Failure::failed("Weir sent an event that is too long"));
        }
        Ok(complete)
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return (!event.data.is_empty() || !event.name.is_empty()).then_some(event);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.event.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.event.name),
            "data" => {
                if !self.event.data.is_empty() {
                    self.event.data.push('\n');
                }
                self.event.data.push_str(value);
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_from_any_pieces() {
        let text = b": hello\r\n\nid: 7\nevent: line\ndata: {\"a\":\ndata: 1}\n\nevent: end\ndata: x\n\n";
        for size in 1..text.len() {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.chunks(size) {
                parser.feed(piece);
                while let Some(event) = parser.take().unwrap() {
                    events.push(event);
                }
            }
            let first = Event {
                id: Some("7".into()),
                name: "line".into(),
                data: "{\"a\":\n1}".into(),
            };
            let second = Event {
                id: None,
                name: "end".into(),
                data: "x".into(),
            };
            assert_eq!(events, [first, second], "in pieces of {size}");
        }
    }
}
