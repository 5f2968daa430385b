//! The body of an answer that the cache gives out: paid and counted like any other.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use weir_ledger::wallet::NoMoney;

use super::disk::StoredFile;
use crate::access::Served;
use crate::pay::Outflow;

/// So much is handed on at once.
const PIECE_BYTES: usize = 256 * 1024;

/// A piece of what the cache gives out.
#[derive(Debug)]
pub(crate) enum Part {
    Memory(Bytes),
    File(FilePart),
}

/// A part of a file that is read when its turn has come.
pub(crate) struct FilePart {
    file: Arc<StoredFile>,
    at: u64,
    left: u64,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send + Sync>>;

/// Why what is kept does not come whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoredError {
    #[error("there is no money for the rest of it")]
    NoMoney(#[source] NoMoney),
    #[error("its file cannot be read")]
    Unreadable(#[source] io::Error),
}

impl Part {
    /// So many bytes of a file, from `at` on.
    pub(super) fn of_file(file: &Arc<StoredFile>, at: u64, left: u64) -> Self {
        Self::File(FilePart {
            file: Arc::clone(file),
            at,
            left,
            reading: None,
        })
    }

    /// Bytes of it.
    pub(crate) fn length(&self) -> u64 {
        match self {
            Self::Memory(data) => u64::try_from(data.len()).unwrap_or(u64::MAX),
            Self::File(part) => part.left,
        }
    }
}

impl std::fmt::Debug for FilePart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FilePart")
            .field("at", &self.at)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl FilePart {
    /// The next piece.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Bytes>> {
        let length = usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE_BYTES);
        let (file, at) = (&self.file, self.at);
        let begin = || -> Reading { Box::pin(Arc::clone(file).read(at, length)) };
        let read = ready!(self.reading.get_or_insert_with(begin).as_mut().poll(cx));
        self.reading = None;
        let bytes = read
            .as_ref()
            .map_or(0, |data| u64::try_from(data.len()).unwrap_or(u64::MAX));
        self.at += bytes;
        self.left -= bytes;
        Poll::Ready(read)
    }
}

/// Parts that are in memory or in files.
#[derive(Debug)]
pub(crate) struct StoredBody {
    parts: VecDeque<Part>,
    left: u64,
    /// None where nothing is charged.
    outflow: Option<Outflow>,
    served: Served,
}

impl StoredBody {
    pub(crate) fn new(parts: Vec<Part>, outflow: Option<Outflow>, served: Served) -> Self {
        let parts: VecDeque<Part> = parts.into_iter().filter(|part| part.length() > 0).collect();
        Self {
            left: parts.iter().map(Part::length).sum(),
            parts,
            outflow,
            served,
        }
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StoredError>>> {
        if let Some(Part::File(file)) = self.parts.front_mut() {
            match ready!(file.poll_read(cx)) {
                Err(error) => return Poll::Ready(Some(Err(self.break_off(StoredError::Unreadable(error))))),
                Ok(data) => {
                    if file.left == 0 {
                        self.parts.pop_front();
                    }
                    self.parts.push_front(Part::Memory(data));
                }
            }
        }
        let Some(Part::Memory(part)) = self.parts.front_mut() else {
            return Poll::Ready(None);
        };
        let wanted = u64::try_from(part.len().min(PIECE_BYTES)).unwrap_or(u64::MAX);
        let allowed = match &mut self.outflow {
            None => wanted,
            Some(outflow) => match ready!(outflow.poll_allow(cx, wanted, Some(self.left))) {
                Ok(allowed) => {
                    outflow.spend(allowed);
                    allowed
                }
                Err(reason) => return Poll::Ready(Some(Err(self.break_off(StoredError::NoMoney(reason))))),
            },
        };
        let data = part.split_to(usize::try_from(allowed).unwrap_or(usize::MAX).min(part.len()));
        if part.is_empty() {
            self.parts.pop_front();
        }
        self.left = self.left.saturating_sub(allowed);
        self.served.send(allowed);
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn break_off(&mut self, error: StoredError) -> StoredError {
        self.parts.clear();
        self.left = 0;
        tracing::debug!(%error, cause = ?std::error::Error::source(&error), "broke off a kept answer");
        error
    }
}
