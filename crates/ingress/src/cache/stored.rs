//! The body of an answer that the cache gives out: paid and counted like any other.

use std::collections::VecDeque;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use weir_ledger::wallet::NoMoney;

use crate::access::Served;
use crate::pay::Outflow;

/// So much is handed on at once.
const PIECE_BYTES: usize = 256 * 1024;

/// Parts that are in memory.
#[derive(Debug)]
pub(crate) struct StoredBody {
    parts: VecDeque<Bytes>,
    left: u64,
    /// None where nothing is charged.
    outflow: Option<Outflow>,
    served: Served,
}

impl StoredBody {
    pub(crate) fn new(parts: Vec<Bytes>, outflow: Option<Outflow>, served: Served) -> Self {
        let parts: VecDeque<Bytes> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let left = parts.iter().map(Bytes::len).sum::<usize>();
        Self {
            parts,
            left: u64::try_from(left).unwrap_or(u64::MAX),
            outflow,
            served,
        }
    }

    /// Bytes that are still to come.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, NoMoney>>> {
        let Some(part) = self.parts.front_mut() else {
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
                Err(reason) => {
                    self.parts.clear();
                    self.left = 0;
                    return Poll::Ready(Some(Err(reason)));
                }
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
}
