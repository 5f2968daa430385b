//! Reads batches out of a text: an answer of control, or what a node has kept on disk.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;

use super::{FORMAT, Head};
use crate::EnvironmentId;

/// Why a text is not the batch that it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It does not begin with a head.
    #[error("it does not begin with the head of a batch")]
    NoHead,
    /// It is written in a way that this program does not know.
    #[error("it is written in form {0}; this program reads form {FORMAT}: use one of the same version")]
    Form(u32),
    /// A line is not what it should be, or not all of them are there. The text itself may be large,
    /// and is not repeated.
    #[error("line {0} of the batch is missing or damaged")]
    Line(u64),
    /// There is more than one batch.
    #[error("something follows on the last line of the batch")]
    Rest,
}

/// A batch and where its lines are in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it begins with.
    pub head: Head,
    /// Where the line of each environment is, without its end, and whether the environment is there
    /// (otherwise it is gone).
    pub lines: Vec<(EnvironmentId, Range<usize>, bool)>,
}

/// What a log of batches comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The head of the last batch that is whole.
    pub head: Head,
    /// Where the newest line of each environment is, of those that are there.
    pub lines: BTreeMap<EnvironmentId, Range<usize>>,
    /// Where the last whole batch ends. What follows was not finished, or is damaged.
    pub end: usize,
}

/// What of a line is read first: the part itself is skipped.
#[derive(Deserialize)]
struct Outline {
    environment: EnvironmentId,
    part: Option<serde::de::IgnoredAny>,
}

/// Reads a text that is one batch.
///
/// # Errors
/// It is none, or not whole, or more than one.
pub fn read_batch(text: &[u8]) -> Result<Batch, LogError> {
    let (batch, end) = batch_at(text, 0)?;
    match end == text.len() {
        true => Ok(batch),
        false => Err(LogError::Rest),
    }
}

/// Reads a log, as far as it is whole.
///
/// # Errors
/// Not even its first batch is whole.
pub fn read_log(text: &[u8]) -> Result<Log, LogError> {
    let (first, end) = batch_at(text, 0)?;
    let mut log = Log {
        head: first.head.clone(),
        lines: BTreeMap::new(),
        end,
    };
    log.take(first, end);
    while let Ok((batch, end)) = batch_at(text, log.end) {
        // What does not follow on what is there was written by somebody else.
        if batch.head.after.is_some_and(|after| after != log.head.generation) {
            break;
        }
        log.take(batch, end);
    }
    Ok(log)
}

impl Log {
    fn take(&mut self, batch: Batch, end: usize) {
        if batch.head.after.is_none() {
            self.lines.clear();
        }
        for (environment, range, is_there) in batch.lines {
            match is_there {
                true => self.lines.insert(environment, range),
                false => self.lines.remove(&environment),
            };
        }
        (self.head, self.end) = (batch.head, end);
    }
}

/// The batch that begins there, and where it ends.
fn batch_at(text: &[u8], start: usize) -> Result<(Batch, usize), LogError> {
    let head_line = line_at(text, start).ok_or(LogError::NoHead)?;
    let head: Head = serde_json::from_slice(&text[head_line.clone()]).map_err(|_| LogError::NoHead)?;
    if head.weir_routes != FORMAT {
        return Err(LogError::Form(head.weir_routes));
    }
    let mut end = head_line.end + 1;
    let mut lines = Vec::new();
    for number in 1..=head.lines {
        let range = line_at(text, end).ok_or(LogError::Line(number))?;
        let outline: Outline = serde_json::from_slice(&text[range.clone()]).map_err(|_| LogError::Line(number))?;
        end = range.end + 1;
        lines.push((outline.environment, range, outline.part.is_some()));
    }
    Ok((Batch { head, lines }, end))
}

/// The line that begins there, if it has an end.
fn line_at(text: &[u8], start: usize) -> Option<Range<usize>> {
    let rest = text.get(start..)?;
    let length = rest.iter().position(|byte| *byte == b'\n')?;
    Some(start..start + length)
}
