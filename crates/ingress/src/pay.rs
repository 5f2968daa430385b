//! Paying on the way of a request: one unit for the request before an instance is asked, and
//! every byte of the answer before it is written.
//!
//! While there is money, both are a few atomic operations on the worker's own share of the
//! wallet. When it runs dry, the ledger may have more, so that the request waits a moment; then
//! it gets a page, and an answer that has begun breaks off.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use http_body::SizeHint;
use tokio::time::{Instant, sleep};
use weir_ledger::Sku;
use weir_ledger::wallet::{Draw, Dry, NoMoney, Till, Urgency};

use crate::node::Worker;
use crate::pages::Page;
use crate::table::CompiledRoute;

/// Most bytes of one answer that are paid ahead.
const LARGEST_BLOCK_BYTES: u64 = 64 * 1024;
/// Of a stream whose length nobody knows, the first block; each further one is twice as large.
/// Many streams that hardly move must not hold much money.
const FIRST_BLOCK_BYTES: u64 = 4 * 1024;
/// Pause after money that was there was drawn by somebody else.
const BEATEN_PAUSE: Duration = Duration::from_millis(2);

/// Pays for a request, once, before it takes anything of an instance.
pub(crate) async fn for_request(worker: &Worker, route: &CompiledRoute) -> Result<(), Page> {
    let Some(till) = &route.till else { return Ok(()) };
    let pay = || till.pay(worker.index, Urgency::Request, &Sku::REQUESTS, 1);
    if pay().is_ok() {
        return Ok(());
    }
    let limits = &worker.shared.limits;
    let Some(_place) = route.gate.hold(limits.held_requests) else {
        return Err(Page::no_money(&route.title, till.trouble().unwrap_or(NoMoney::CutOff)));
    };
    let _waiting = worker.shared.waiting();
    Box::pin(until_drawn(till, &Sku::REQUESTS, 1, limits.money_timeout, pay))
        .await
        .map_err(|reason| Page::no_money(&route.title, reason))
}

/// Draws again whenever more may be there, for so long.
pub(crate) async fn until_drawn<T>(
    till: &Till,
    sku: &Sku,
    units: u64,
    at_most: Duration,
    draw: impl Fn() -> Result<T, Dry>,
) -> Result<T, NoMoney> {
    let deadline = Instant::now() + at_most;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(till.trouble().unwrap_or(NoMoney::CutOff));
        }
        let waited = till.wait(Urgency::Request, sku, units, left).await;
        if let Ok(drawn) = draw() {
            return Ok(drawn);
        }
        waited?;
        sleep(BEATEN_PAUSE).await;
    }
}

/// Bytes of an answer's head, or of its trailers, as HTTP/1.1 writes them. What HTTP/2 saves and
/// what framing adds is not looked at.
pub(crate) fn head_bytes(status: Option<StatusCode>, headers: &HeaderMap) -> u64 {
    let line = status.map_or(0, |status| {
        "HTTP/1.1 200 \r\n".len() + status.canonical_reason().map_or(0, str::len)
    });
    let fields: usize = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    u64::try_from(line + fields + "\r\n".len()).unwrap_or(u64::MAX)
}

/// Pays for what goes to a client: a block ahead, the rest put back at the end, however it ends.
pub(crate) struct Outflow {
    till: Arc<Till>,
    shard: usize,
    longest_wait: Duration,
    next_block_bytes: u64,
    block: Option<Block>,
    /// There while it waits for money.
    more: Option<MoreMoney>,
}

type MoreMoney = Pin<Box<dyn Future<Output = Result<Block, NoMoney>> + Send>>;

impl Outflow {
    /// Pays for the head of an answer, of so many bytes, and, where its length is known, for the
    /// beginning of its body; None where nothing is charged.
    pub(crate) async fn begin(
        worker: &Worker,
        route: &CompiledRoute,
        head: u64,
        body: SizeHint,
    ) -> Result<Option<Self>, Page> {
        let Some(till) = &route.till else { return Ok(None) };
        let ahead = body.upper().unwrap_or(FIRST_BLOCK_BYTES).min(LARGEST_BLOCK_BYTES);
        let draw = |units| Block::draw(till, worker.index, units);
        let block = match draw(head.saturating_add(ahead)).or_else(|Dry| draw(head)) {
            Ok(block) => block,
            Err(Dry) => {
                let at_most = worker.shared.limits.money_timeout;
                Box::pin(until_drawn(till, &Sku::EGRESS, head, at_most, || draw(head)))
                    .await
                    .map_err(|reason| Page::no_money(&route.title, reason))?
            }
        };
        let mut outflow = Self {
            till: Arc::clone(till),
            shard: worker.index,
            longest_wait: worker.shared.limits.money_timeout,
            next_block_bytes: FIRST_BLOCK_BYTES * 2,
            block: Some(block),
            more: None,
        };
        outflow.spend(head);
        Ok(Some(outflow))
    }

    /// How many of `wanted` bytes may be written now, at least one. `rest` is how many there are
    /// still to come with them, if that is known.
    pub(crate) fn poll_allow(
        &mut self,
        cx: &mut Context<'_>,
        wanted: u64,
        rest: Option<u64>,
    ) -> Poll<Result<u64, NoMoney>> {
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        loop {
            if let Some(block) = self.block.as_ref().filter(|block| block.left() > 0) {
                return Poll::Ready(Ok(block.left().min(wanted)));
            }
            let more = match &mut self.more {
                Some(more) => more,
                None => {
                    self.block = None;
                    let wanted = wanted.min(LARGEST_BLOCK_BYTES);
                    if let Ok(block) = self.next_block(wanted, rest) {
                        self.block = Some(block);
                        continue;
                    }
                    let (till, shard, at_most) = (Arc::clone(&self.till), self.shard, self.longest_wait);
                    self.more.insert(Box::pin(async move {
                        let draw = || Block::draw(&till, shard, wanted);
                        until_drawn(&till, &Sku::EGRESS, wanted, at_most, draw).await
                    }))
                }
            };
            let drawn = ready!(more.as_mut().poll(cx));
            self.more = None;
            self.block = Some(drawn?);
        }
    }

    /// A block of the usual size, or else just what is wanted.
    fn next_block(&mut self, wanted: u64, rest: Option<u64>) -> Result<Block, Dry> {
        let usual = rest.unwrap_or(self.next_block_bytes).clamp(wanted, LARGEST_BLOCK_BYTES);
        self.next_block_bytes = (self.next_block_bytes * 2).min(LARGEST_BLOCK_BYTES);
        Block::draw(&self.till, self.shard, usual).or_else(|Dry| Block::draw(&self.till, self.shard, wanted))
    }

    /// So many bytes were written; at most as many as were allowed.
    pub(crate) fn spend(&mut self, bytes: u64) {
        if let Some(block) = &mut self.block {
            block.used = block.used.saturating_add(bytes).min(block.units);
        }
    }

    /// Pays for trailers, which are too small to wait for.
    pub(crate) fn pay_trailers(&mut self, trailers: &HeaderMap) -> Result<(), NoMoney> {
        let bytes = head_bytes(None, trailers);
        self.till
            .pay(self.shard, Urgency::Request, &Sku::EGRESS, bytes)
            .map_err(|Dry| self.till.trouble().unwrap_or(NoMoney::CutOff))
    }
}

impl fmt::Debug for Outflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outflow")
            .field("block", &self.block)
            .finish_non_exhaustive()
    }
}

/// Bytes paid ahead. Dropped, what was not used of them goes back.
#[derive(Debug)]
struct Block {
    draw: Option<Draw>,
    units: u64,
    used: u64,
}

impl Block {
    fn draw(till: &Till, shard: usize, units: u64) -> Result<Self, Dry> {
        let draw = till.draw(shard, Urgency::Request, &Sku::EGRESS, units)?;
        Ok(Self {
            draw: Some(draw),
            units,
            used: 0,
        })
    }

    fn left(&self) -> u64 {
        self.units - self.used
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(draw) = self.draw.take() {
            draw.finish(self.used);
        }
    }
}
