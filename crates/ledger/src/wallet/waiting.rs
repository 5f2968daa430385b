//! Who waits for money. A waiter takes no time by itself and reads no clock: the refiller gives
//! it a deadline when it first sees it, and a verdict.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use weir_model::UnixMillis;

use super::lease::Lease;
use super::pots::Urgency;
use super::{NoMoney, Wallet, lock};
use crate::money::PICO_PER_NANO;
use crate::price::Sku;

/// Most that wait for one environment's money; whoever comes then is refused at once.
const MOST_WAITERS: usize = 10_000;

/// Those who wait for one wallet's money, first come first.
#[derive(Debug, Default)]
pub(super) struct Queue {
    next: u64,
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug)]
struct Waiter {
    urgency: Urgency,
    wanted: Vec<(Sku, u64)>,
    at_most_ms: i64,
    deadline_ms: Option<UnixMillis>,
    waker: Option<Waker>,
    verdict: Option<Result<(), NoMoney>>,
}

/// What those who go on waiting need.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Needs {
    /// The least that would help a request, in pico-units.
    pub(super) request: Option<i64>,
    /// The least that would help an instance, in pico-units.
    pub(super) instance: Option<i64>,
    /// When the next of them is to be told that there is none.
    pub(super) deadline_ms: Option<UnixMillis>,
    /// What those are about to draw who were told that it is there, in pico-units.
    pub(super) promised: i64,
}

/// How urgent it is, what is wanted, and for how long it is waited, in milliseconds.
type Asked = (Urgency, Vec<(Sku, u64)>, i64);

/// Ready when the refiller has given its verdict.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    wallet: &'a Wallet,
    asked: Option<Asked>,
    number: Option<u64>,
}

impl<'a> Waiting<'a> {
    pub(super) fn new(wallet: &'a Arc<Wallet>, urgency: Urgency, wanted: Vec<(Sku, u64)>, at_most: Duration) -> Self {
        let at_most_ms = i64::try_from(at_most.as_millis()).unwrap_or(i64::MAX / 2);
        Self {
            wallet,
            asked: Some((urgency, wanted, at_most_ms)),
            number: None,
        }
    }

    fn register(&mut self, context: &Context<'_>) -> Poll<Result<(), NoMoney>> {
        let Some((urgency, wanted, at_most_ms)) = self.asked.take() else {
            return Poll::Ready(Err(NoMoney::CutOff));
        };
        if self.wallet.could_draw(urgency, &wanted) {
            return Poll::Ready(Ok(()));
        }
        match self.wallet.trouble() {
            Some((trouble, true)) => return Poll::Ready(Err(trouble)),
            _ if !self.wallet.bell.is_attended() => return Poll::Ready(Err(NoMoney::CutOff)),
            _ => {}
        }
        let mut queue = lock(&self.wallet.queue);
        if queue.waiters.len() >= MOST_WAITERS {
            return Poll::Ready(Err(self
                .wallet
                .trouble()
                .map_or(NoMoney::CutOff, |(trouble, _)| trouble)));
        }
        let number = queue.next;
        queue.next += 1;
        let waiter = Waiter {
            urgency,
            wanted,
            at_most_ms,
            deadline_ms: None,
            waker: Some(context.waker().clone()),
            verdict: None,
        };
        queue.waiters.insert(number, waiter);
        self.number = Some(number);
        self.wallet.bell.set_awaited(true);
        drop(queue);
        self.wallet.bell.ring();
        Poll::Pending
    }
}

impl Future for Waiting<'_> {
    type Output = Result<(), NoMoney>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(number) = self.number else {
            return self.register(context);
        };
        let mut queue = lock(&self.wallet.queue);
        let Some(waiter) = queue.waiters.get_mut(&number) else {
            return Poll::Ready(Err(NoMoney::CutOff));
        };
        if let Some(verdict) = waiter.verdict {
            queue.waiters.remove(&number);
            drop(queue);
            self.number = None;
            return Poll::Ready(verdict);
        }
        waiter.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let gone = lock(&self.wallet.queue).waiters.remove(&number);
            // What it was to have is for the next.
            if gone.is_some_and(|waiter| waiter.verdict == Some(Ok(()))) {
                self.wallet.bell.ring_if_awaited();
            }
        }
    }
}

impl Wallet {
    /// Whether a draw would find enough now.
    fn could_draw(&self, urgency: Urgency, wanted: &[(Sku, u64)]) -> bool {
        let Some(lease) = lock(&self.counter).lease.clone() else {
            return false;
        };
        lease.pots.available(urgency) >= cost(&lease, wanted)
    }

    /// Lets go, first come first, those for whom there is enough, those whose time is up, and,
    /// where `refused`, all others.
    pub(super) fn serve(&self, now_ms: UnixMillis, refused: Option<NoMoney>, late: NoMoney) -> Needs {
        let lease = lock(&self.counter).lease.clone();
        let mut needs = Needs::default();
        let mut wakers = Vec::new();
        let mut queue = lock(&self.queue);
        // A busy machine may run them late, but not for ever.
        let called = queue.waiters.values().filter(|waiter| {
            waiter.verdict == Some(Ok(())) && waiter.deadline_ms.is_some_and(|deadline| now_ms <= deadline)
        });
        let costs = called.map(|waiter| lease.as_ref().map_or(0, |lease| cost(lease, &waiter.wanted)));
        let mut promised = costs.fold(0, i64::saturating_add);
        let mut waiting = false;
        for waiter in queue.waiters.values_mut().filter(|waiter| waiter.verdict.is_none()) {
            let deadline = *waiter
                .deadline_ms
                .get_or_insert(now_ms.saturating_add(waiter.at_most_ms));
            let cost = lease.as_ref().map(|lease| cost(lease, &waiter.wanted));
            let there = lease.as_ref().map_or(0, |lease| lease.pots.available(waiter.urgency));
            let verdict = match (cost, refused) {
                (Some(cost), _) if promised.saturating_add(cost) <= there => {
                    promised = promised.saturating_add(cost);
                    Some(Ok(()))
                }
                (_, Some(refused)) => Some(Err(refused)),
                _ if deadline <= now_ms => Some(Err(late)),
                _ => None,
            };
            waiter.verdict = verdict;
            if verdict.is_some() {
                wakers.extend(waiter.waker.take());
                continue;
            }
            waiting = true;
            let need = match waiter.urgency {
                Urgency::Request => &mut needs.request,
                Urgency::Instance => &mut needs.instance,
            };
            let cost = cost.unwrap_or(1);
            *need = Some(need.map_or(cost, |least| least.min(cost)));
            needs.deadline_ms = Some(needs.deadline_ms.map_or(deadline, |first| first.min(deadline)));
        }
        self.bell.set_awaited(waiting);
        drop(queue);
        needs.promised = promised;
        for waker in wakers {
            waker.wake();
        }
        needs
    }
}

/// What a draw takes at most, in pico-units. A first use draws a nano more; to ask for it always
/// costs nothing but a little patience.
fn cost(lease: &Lease, wanted: &[(Sku, u64)]) -> i64 {
    let costs = wanted.iter().map(|(sku, units)| {
        let cost = lease.prices.price(sku).cost_up(*units).map_or(i64::MAX, |cost| cost.0);
        cost.saturating_add(if cost > 0 { PICO_PER_NANO } else { 0 })
    });
    costs.fold(0, i64::saturating_add)
}
