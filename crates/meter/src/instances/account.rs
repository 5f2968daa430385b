//! What one instance has used, what is drawn for it, and when it has to stop. Pure: readings of
//! the kernel and the instant come in, draws and orders go out.
//!
//! What holds at every instant: what the instance has used and was not charged yet is at most
//! what is drawn for it. A *slice* is drawn before it begins, for the most that the instance can
//! use in it. The *tail*, drawn when the instance is first seen and kept while it lives, pays for
//! the way to a standstill after the last slice, whoever has to see to that, for the memory of a
//! frozen instance until control ends it, and for its end, as long as its process may take for it.

use weir_engine::InstanceUsage;
use weir_ledger::Sku;
use weir_model::route::MeteredInstance;

/// Length of the slices of a running instance, in milliseconds.
const SLICE_MS: u64 = 1_000;
/// Length of the slices of a frozen one.
const FROZEN_SLICE_MS: u64 = 10_000;
/// A slice is drawn so long before the one before it ends, so that there is time to get money.
const LEAD_MS: u64 = 500;
/// Longest time from the end of the last slice until the instance surely stands still: the
/// deadman's deadline, the kernel's patience, and as much again for a busy machine.
pub(super) const FREEZE_MS: u64 = 4_000;
/// Control ends a frozen instance that nobody pays for after this time.
const UNPAID_MS: u64 = 600_000;
/// The tail is drawn anew so often, so that no lease is kept open by it.
const TAIL_MS: u64 = 60_000;
/// An order that has had no effect is given again after this time.
const ORDER_AGAIN_MS: u64 = 1_000;
/// What nobody refuses to pay for may run unpaid for so long after it was first seen: control
/// holds money for the first ten seconds.
const UNPAID_START_MS: u64 = 6_000;
/// The same where the ledger has refused.
const REFUSED_START_MS: u64 = 1_500;
/// The same for what ran before this process, whose ledger may still be starting.
const KNOWN_START_MS: u64 = 20_000;

/// Where money comes from.
pub(super) trait Payer {
    /// Money drawn ahead.
    type Held: Held;
    /// Draws for the most that will be used of several things, all or nothing; `None` if there is
    /// too little at present.
    fn draw<const N: usize>(&self, wanted: [(Sku, u64); N]) -> Option<[Self::Held; N]>;
    /// Whether the ledger has refused, so that waiting does not help.
    fn is_refused(&self) -> bool;
}

/// Money drawn ahead.
pub(super) trait Held {
    /// So many units were used; the rest goes back.
    fn finish(self, used: u64);
}

/// Whether an instance was there before this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It was: what it used until now was paid for by the process before.
    Before,
    /// It was not: all that it has used since its start is charged.
    Now,
}

/// What is to be done with an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Freeze,
    Thaw,
}

/// Money for so many units.
#[derive(Debug)]
struct Drawn<H> {
    held: H,
    units: u64,
}

/// CPU time and memory of a stretch of time at the limits.
#[derive(Debug)]
struct Stretch<H> {
    cpu: Drawn<H>,
    memory: Drawn<H>,
}

/// A slice of a running instance.
#[derive(Debug)]
struct Slice<H> {
    stretch: Stretch<H>,
    until_ms: u64,
}

/// See the top of the file.
#[derive(Debug)]
struct Tail<H> {
    way: Stretch<H>,
    end: Stretch<H>,
    frozen: Drawn<H>,
    since_ms: u64,
}

/// What is paid for at present.
#[derive(Debug)]
enum Paid<H> {
    /// Nothing yet, since that instant; or only its end, after it stood still.
    Nothing { since_ms: u64, end: Option<Stretch<H>> },
    /// It runs. Without a slice it lives on its tail until it stands still or has ended.
    Running {
        tail: Tail<H>,
        slice: Option<Slice<H>>,
        next: Option<Slice<H>>,
    },
    /// It stands still.
    Frozen {
        end: Option<Stretch<H>>,
        tail: Option<Drawn<H>>,
        slice: Option<Drawn<H>>,
        until_ms: u64,
    },
}

/// Used and not charged yet, in units of each SKU.
#[derive(Debug, Default, Clone, Copy)]
struct Owed {
    cpu: u64,
    memory: u64,
    frozen: u64,
}

/// One instance.
#[derive(Debug)]
pub(super) struct Account<P: Payer> {
    payer: P,
    facts: MeteredInstance,
    paid: Paid<P::Held>,
    owed: Owed,
    /// The last reading: when, and the counter.
    read: Option<(u64, u64)>,
    seen: Seen,
    ordered_ms: Option<u64>,
    /// It was frozen by the deadman, and is to run again once it is paid for.
    wake: bool,
}

impl<P: Payer> Account<P> {
    pub(super) fn new(facts: MeteredInstance, payer: P, seen: Seen, now_ms: u64) -> Self {
        Self {
            payer,
            facts,
            paid: Paid::Nothing {
                since_ms: now_ms,
                end: None,
            },
            owed: Owed::default(),
            read: None,
            seen,
            ordered_ms: None,
            wake: false,
        }
    }

    /// What control says of it now.
    pub(super) fn update(&mut self, facts: &MeteredInstance) {
        self.facts.clone_from(facts);
    }

    /// It was frozen only because nobody renewed it.
    pub(super) fn wake(&mut self) {
        self.wake = true;
    }

    /// Whether it stands still, or may do so for all that is known, though control wants it to run.
    pub(super) fn is_to_be_woken(&self) -> bool {
        !self.facts.frozen && !matches!(self.paid, Paid::Running { .. } if !self.wake)
    }

    pub(super) fn payer(&self) -> &P {
        &self.payer
    }

    pub(super) fn facts(&self) -> &MeteredInstance {
        &self.facts
    }

    /// Whether everything that it can use at present is drawn.
    pub(super) fn is_paid(&self) -> bool {
        match &self.paid {
            Paid::Nothing { end, .. } => self.facts.stopping && end.is_some(),
            Paid::Running { slice, .. } => slice.is_some(),
            Paid::Frozen { end, tail, slice, .. } => end.is_some() && tail.is_some() && slice.is_some(),
        }
    }

    /// Whether it is to be frozen should this process die.
    pub(super) fn is_watched(&self) -> bool {
        !self.facts.stopping && !matches!(self.paid, Paid::Frozen { .. })
    }

    /// Units that it needs for so many milliseconds, as (CPU, memory, frozen memory).
    pub(super) fn needs(&self, ms: u64) -> (u64, u64, u64) {
        match self.paid {
            Paid::Frozen { .. } => (0, 0, self.memory(ms)),
            _ => (self.cpu(ms), self.memory(ms), 0),
        }
    }

    /// CPU time in so many milliseconds at the limit, in microseconds.
    fn cpu(&self, ms: u64) -> u64 {
        u64::from(self.facts.cpu_milli).saturating_mul(ms)
    }

    /// Memory for so many milliseconds, in byte-milliseconds.
    fn memory(&self, ms: u64) -> u64 {
        self.facts.memory_bytes.saturating_mul(ms)
    }

    /// Time to end gracefully.
    fn grace_ms(&self) -> u64 {
        u64::from(self.facts.grace_s) * 1_000
    }

    /// A new reading. Gives what is to be done.
    pub(super) fn tick(&mut self, now_ms: u64, usage: InstanceUsage) -> Option<Order> {
        self.count(now_ms, usage.cpu_us);
        self.wake &= usage.frozen;
        let order = if usage.frozen && !self.is_waking_up(now_ms) {
            self.frozen(now_ms)
        } else {
            self.running(now_ms)
        };
        order.filter(|_order| self.may_order(now_ms))
    }

    /// Its counters cannot be read: what is not known cannot be paid for.
    pub(super) fn unread(&mut self, now_ms: u64) -> Option<Order> {
        (!self.facts.stopping && self.may_order(now_ms)).then_some(Order::Freeze)
    }

    /// Whether an order would not only repeat one that is on its way.
    fn may_order(&mut self, now_ms: u64) -> bool {
        let may = self.ordered_ms.is_none_or(|at_ms| now_ms >= at_ms + ORDER_AGAIN_MS);
        if may {
            self.ordered_ms = Some(now_ms);
        }
        may
    }

    /// It was told to run, and may take a moment.
    fn is_waking_up(&self, now_ms: u64) -> bool {
        self.wake
            && matches!(self.paid, Paid::Running { .. })
            && self.ordered_ms.is_some_and(|at_ms| now_ms < at_ms + ORDER_AGAIN_MS)
    }

    /// Adds what was used since the last reading to what is owed.
    fn count(&mut self, now_ms: u64, cpu_us: u64) {
        if let (None, Paid::Nothing { since_ms, .. }) = (self.read, &mut self.paid) {
            // It may have been announced long before it ran.
            *since_ms = now_ms;
        }
        let (before_ms, before_us) = match (self.read, self.seen) {
            (Some(read), _) => read,
            (None, Seen::Before) => (now_ms, cpu_us),
            (None, Seen::Now) => (now_ms, 0),
        };
        // A counter that went back began anew.
        let used_us = cpu_us.checked_sub(before_us).unwrap_or(cpu_us);
        self.owed.cpu = self.owed.cpu.saturating_add(used_us);
        let passed = self.memory(now_ms.saturating_sub(before_ms));
        let owed = match self.paid {
            Paid::Frozen { .. } => &mut self.owed.frozen,
            _ => &mut self.owed.memory,
        };
        *owed = owed.saturating_add(passed);
        self.read = Some((now_ms, cpu_us));
    }

    fn running(&mut self, now_ms: u64) -> Option<Order> {
        if let Paid::Frozen { .. } = self.paid {
            // Until it is paid for, or has ended, it lives on what is kept for its end.
            let end = self.settle_frozen();
            self.paid = Paid::Nothing { since_ms: now_ms, end };
        }
        if let Paid::Nothing { since_ms, .. } = self.paid {
            return self.begin(now_ms, since_ms);
        }
        let Paid::Running { slice, next, .. } = &self.paid else {
            return None;
        };
        let until_ms = slice.as_ref().map(|slice| slice.until_ms);
        if next.is_none() && until_ms.is_none_or(|until_ms| now_ms + LEAD_MS >= until_ms) {
            let from_ms = until_ms.map_or(now_ms, |until_ms| until_ms.max(now_ms));
            let drawn = self.draw_slice(from_ms);
            if let Paid::Running { next, .. } = &mut self.paid {
                *next = drawn;
            }
        }
        if until_ms.is_none_or(|until_ms| now_ms >= until_ms) {
            self.turn_slice();
        }
        self.renew_tail(now_ms);
        let is_dry = matches!(self.paid, Paid::Running { slice: None, .. });
        (is_dry && !self.facts.stopping).then_some(Order::Freeze)
    }

    /// Draws the tail and the first slice.
    fn begin(&mut self, now_ms: u64, since_ms: u64) -> Option<Order> {
        if let Some((tail, slice)) = self.draw_tail_and_slice(now_ms) {
            let before = std::mem::replace(
                &mut self.paid,
                Paid::Running {
                    tail,
                    slice: Some(slice),
                    next: None,
                },
            );
            if let Paid::Nothing { end: Some(end), .. } = before {
                end.charge(&mut self.owed);
            }
            return None;
        }
        let patience_ms = match self.seen {
            _ if self.payer.is_refused() => REFUSED_START_MS,
            Seen::Before => KNOWN_START_MS,
            Seen::Now => UNPAID_START_MS,
        };
        (!self.facts.stopping && now_ms >= since_ms + patience_ms).then_some(Order::Freeze)
    }

    /// Ends the slice, with what was used, and goes on with the next one if there is one.
    fn turn_slice(&mut self) {
        let Paid::Running { slice, next, .. } = &mut self.paid else {
            return;
        };
        if let Some(slice) = std::mem::replace(slice, next.take()) {
            slice.stretch.charge(&mut self.owed);
        }
    }

    fn renew_tail(&mut self, now_ms: u64) {
        let Paid::Running { tail, slice, .. } = &self.paid else {
            return;
        };
        if slice.is_none() || now_ms < tail.since_ms + TAIL_MS {
            return;
        }
        // The new one first: there is no instant without a tail.
        let Some(fresh) = self.draw_tail(now_ms) else { return };
        if let Paid::Running { tail, .. } = &mut self.paid {
            std::mem::replace(tail, fresh).put_back();
        }
    }

    fn frozen(&mut self, now_ms: u64) -> Option<Order> {
        if !matches!(self.paid, Paid::Frozen { .. }) {
            self.stand_still(now_ms);
        }
        if self.wake && self.facts.frozen {
            // Control means it to stand still.
            self.wake = false;
        }
        if self.wake && self.begin_again(now_ms) {
            return Some(Order::Thaw);
        }
        let Paid::Frozen {
            end,
            tail,
            slice,
            until_ms,
        } = &self.paid
        else {
            return None;
        };
        let (lacks_end, lacks_tail) = (end.is_none(), tail.is_none());
        let lacks_slice = slice.is_none() || now_ms + LEAD_MS >= *until_ms;
        if lacks_tail {
            let drawn = self.draw([self.standing(UNPAID_MS, 0)]);
            if let Paid::Frozen { tail, .. } = &mut self.paid {
                *tail = drawn.map(|[tail]| tail);
            }
        }
        if lacks_end {
            let drawn = self.draw(self.at_limits(self.grace_ms(), Owed::default()));
            if let Paid::Frozen { end, .. } = &mut self.paid {
                *end = drawn.map(Stretch::new);
            }
        }
        if lacks_slice {
            self.turn_frozen(now_ms);
        }
        None
    }

    /// Draws the next slice of a frozen instance and ends the one before. What cannot be drawn is
    /// owed, and its tail pays for it.
    fn turn_frozen(&mut self, now_ms: u64) {
        let drawn = self.draw([self.standing(FROZEN_SLICE_MS, self.owed.frozen)]);
        let drawn = drawn.map(|[slice]| slice);
        let Paid::Frozen { slice, until_ms, .. } = &mut self.paid else {
            return;
        };
        if drawn.is_none() && now_ms < *until_ms {
            return;
        }
        if let Some(old) = std::mem::replace(slice, drawn) {
            old.charge(&mut self.owed.frozen);
        }
        *until_ms = now_ms + FROZEN_SLICE_MS;
    }

    /// It stands still: everything that was drawn for running ends, but for what its end takes.
    fn stand_still(&mut self, now_ms: u64) {
        let (slices, way, end, tail) = match std::mem::replace(&mut self.paid, Paid::nothing()) {
            Paid::Running { tail, slice, next } => ([slice, next], Some(tail.way), Some(tail.end), Some(tail.frozen)),
            Paid::Nothing { end, .. } => ([None, None], None, end, None),
            frozen @ Paid::Frozen { .. } => {
                self.paid = frozen;
                return;
            }
        };
        let slices = slices.into_iter().flatten().map(|slice| slice.stretch);
        slices.chain(way).for_each(|stretch| stretch.charge(&mut self.owed));
        let end = end.and_then(|end| self.spare(end));
        self.paid = Paid::Frozen {
            end,
            tail,
            slice: None,
            until_ms: now_ms,
        };
    }

    /// Keeps what is drawn for the end of an instance, unless it has to pay for what was used.
    fn spare(&mut self, end: Stretch<P::Held>) -> Option<Stretch<P::Held>> {
        if self.owed.cpu == 0 && self.owed.memory == 0 {
            return Some(end);
        }
        end.charge(&mut self.owed);
        None
    }

    /// Pays for a frozen instance that is to run again, if there is money.
    fn begin_again(&mut self, now_ms: u64) -> bool {
        let Some((tail, slice)) = self.draw_tail_and_slice(now_ms) else {
            return false;
        };
        if let Some(end) = self.settle_frozen() {
            end.charge(&mut self.owed);
        }
        self.paid = Paid::Running {
            tail,
            slice: Some(slice),
            next: None,
        };
        true
    }

    /// It does not stand still any more. Gives what was kept for its end.
    fn settle_frozen(&mut self) -> Option<Stretch<P::Held>> {
        let paid = std::mem::replace(&mut self.paid, Paid::nothing());
        let Paid::Frozen { end, tail, slice, .. } = paid else {
            self.paid = paid;
            return None;
        };
        for drawn in [slice, tail].into_iter().flatten() {
            drawn.charge(&mut self.owed.frozen);
        }
        end
    }

    /// It has ended, or is nobody's concern any more. What it used since the last reading nobody
    /// knows; the most that it could use is charged.
    pub(super) fn close(mut self, now_ms: u64) {
        let passed_ms = self.read.map_or(0, |(at_ms, _cpu_us)| now_ms.saturating_sub(at_ms));
        if let Some((_at_ms, cpu_us)) = self.read {
            let most_us = match self.paid {
                Paid::Running { .. } | Paid::Nothing { end: Some(_), .. } => self.cpu(passed_ms),
                _ => 0,
            };
            self.count(now_ms, cpu_us.saturating_add(most_us));
        }
        self.stand_still(now_ms);
        if let Some(end) = self.settle_frozen() {
            end.charge(&mut self.owed);
        }
    }

    fn draw_slice(&self, from_ms: u64) -> Option<Slice<P::Held>> {
        let drawn = self.draw(self.at_limits(SLICE_MS, self.owed_beyond()))?;
        Some(Slice {
            stretch: Stretch::new(drawn),
            until_ms: from_ms + SLICE_MS,
        })
    }

    /// What it takes to run for so long at the limits, and what is owed beside.
    fn at_limits(&self, ms: u64, owed: Owed) -> [(Sku, u64); 2] {
        [
            (Sku::CPU, self.cpu(ms).saturating_add(owed.cpu)),
            (Sku::MEMORY, self.memory(ms).saturating_add(owed.memory)),
        ]
    }

    /// What it takes to stand still for so long, and what is owed beside.
    fn standing(&self, ms: u64, owed: u64) -> (Sku, u64) {
        (Sku::MEMORY_FROZEN, self.memory(ms).saturating_add(owed))
    }

    /// What is owed and not covered by the slice that goes on: it was used out of the tail, and
    /// the next slice pays it back.
    fn owed_beyond(&self) -> Owed {
        let (cpu, memory) = match &self.paid {
            Paid::Running { slice: Some(slice), .. } => (slice.stretch.cpu.units, slice.stretch.memory.units),
            _ => (0, 0),
        };
        Owed {
            cpu: self.owed.cpu.saturating_sub(cpu),
            memory: self.owed.memory.saturating_sub(memory),
            frozen: 0,
        }
    }

    fn draw_tail(&self, now_ms: u64) -> Option<Tail<P::Held>> {
        let [way_cpu, way_memory] = self.at_limits(FREEZE_MS, Owed::default());
        let [end_cpu, end_memory] = self.at_limits(self.grace_ms(), Owed::default());
        let frozen = self.standing(UNPAID_MS, 0);
        let drawn = self.draw([way_cpu, way_memory, end_cpu, end_memory, frozen])?;
        Some(Tail::new(drawn, now_ms))
    }

    /// Both, or neither.
    fn draw_tail_and_slice(&self, now_ms: u64) -> Option<TailAndSlice<P::Held>> {
        let [way_cpu, way_memory] = self.at_limits(FREEZE_MS, Owed::default());
        let [end_cpu, end_memory] = self.at_limits(self.grace_ms(), Owed::default());
        let frozen = self.standing(UNPAID_MS, 0);
        let [cpu, memory] = self.at_limits(SLICE_MS, self.owed_beyond());
        let drawn = self.draw([way_cpu, way_memory, end_cpu, end_memory, frozen, cpu, memory])?;
        let [way_cpu, way_memory, end_cpu, end_memory, frozen, cpu, memory] = drawn;
        let slice = Slice {
            stretch: Stretch { cpu, memory },
            until_ms: now_ms + SLICE_MS,
        };
        let tail = Tail::new([way_cpu, way_memory, end_cpu, end_memory, frozen], now_ms);
        Some((tail, slice))
    }

    fn draw<const N: usize>(&self, wanted: [(Sku, u64); N]) -> Option<[Drawn<P::Held>; N]> {
        let mut units = wanted.each_ref().map(|(_sku, units)| *units).into_iter();
        let held = self.payer.draw(wanted)?;
        Some(held.map(|held| Drawn {
            held,
            units: units.next().unwrap_or(0),
        }))
    }
}

/// What an instance that starts, or goes on, needs held.
type TailAndSlice<H> = (Tail<H>, Slice<H>);

impl<H: Held> Drawn<H> {
    /// Pays as much of what is owed as it can; the rest of it goes back.
    fn charge(self, owed: &mut u64) {
        let used = self.units.min(*owed);
        *owed -= used;
        self.held.finish(used);
    }

    fn put_back(self) {
        self.held.finish(0);
    }
}

impl<H: Held> Stretch<H> {
    fn new([cpu, memory]: [Drawn<H>; 2]) -> Self {
        Self { cpu, memory }
    }

    /// Pays as much of what is owed as it can; the rest of it goes back.
    fn charge(self, owed: &mut Owed) {
        self.cpu.charge(&mut owed.cpu);
        self.memory.charge(&mut owed.memory);
    }

    fn put_back(self) {
        self.cpu.put_back();
        self.memory.put_back();
    }
}

impl<H: Held> Tail<H> {
    fn new([way_cpu, way_memory, end_cpu, end_memory, frozen]: [Drawn<H>; 5], since_ms: u64) -> Self {
        Self {
            way: Stretch::new([way_cpu, way_memory]),
            end: Stretch::new([end_cpu, end_memory]),
            frozen,
            since_ms,
        }
    }

    fn put_back(self) {
        self.way.put_back();
        self.end.put_back();
        self.frozen.put_back();
    }
}

impl<H> Paid<H> {
    /// While something is moved out.
    fn nothing() -> Self {
        Self::Nothing { since_ms: 0, end: None }
    }
}

#[cfg(test)]
mod tests;
