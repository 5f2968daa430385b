//! The leases of one environment: the one that is drawn, the one that will be, and those that
//! wait for their last draws to finish. Here it is decided how much to pour, to ask for, and to
//! give back.

use std::sync::Arc;

use weir_model::UnixMillis;

use super::holding::Holding;
use crate::money::{Nano, Pico};
use crate::price::PriceBook;
use crate::protocol::{DenialReason, Incarnation, LeaseAnswer, LeaseKey, LeaseReport, Want};
use crate::wallet::pots::Urgency;
use crate::wallet::waiting::Needs;
use crate::wallet::{NoMoney, Wallet};

/// Money that is not drawn for so long goes back, in milliseconds.
const IDLE_MS: i64 = 5_000;
/// A lease that is not drawn for so long is closed, in milliseconds.
const FORGOTTEN_MS: i64 = 60_000;
/// More is asked for when so much of the last grant is left, in percent.
const LOW_WATER_PERCENT: i64 = 30;
/// A refusal that is good for longer is told to those who wait, in milliseconds.
const PATIENCE_MS: u64 = 250;

/// What is the same for all environments in one plan.
#[derive(Debug)]
pub(super) struct Circumstances {
    pub(super) now_ms: UnixMillis,
    /// In which new leases may be opened; none while the ledger has not answered.
    pub(super) incarnation: Option<Incarnation>,
    /// Whether the log could be written the last time.
    pub(super) recording: bool,
    /// Whether the ledger has answered of late.
    pub(super) heard: bool,
    pub(super) finishing: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    wallet: Arc<Wallet>,
    /// The highest number of a lease in this incarnation.
    number: u32,
    current: Option<Holding>,
    /// Asked for; becomes the current one when it is granted and logged.
    coming: Option<Holding>,
    leaving: Vec<Holding>,
    want: Option<Want>,
    /// What the ledger said last, if it was no.
    refused: Option<Refused>,
    /// Somebody waits for the next exchange: for money, or for money that was recalled.
    pressing: bool,
    /// The last exchange did not help.
    impatient: bool,
    needs: Needs,
}

#[derive(Debug, Clone, Copy)]
struct Refused {
    reason: DenialReason,
    until_ms: UnixMillis,
    /// Those who wait are told.
    firm: bool,
    /// Its time is up; more may be asked for.
    over: bool,
}

impl Slot {
    pub(super) fn new(wallet: Arc<Wallet>) -> Self {
        Self {
            wallet,
            number: 0,
            current: None,
            coming: None,
            leaving: Vec::new(),
            want: None,
            refused: None,
            pressing: false,
            impatient: false,
            needs: Needs::default(),
        }
    }

    pub(super) fn holdings(&self) -> impl Iterator<Item = &Holding> {
        self.current.iter().chain(&self.coming).chain(&self.leaving)
    }

    pub(super) fn holdings_mut(&mut self) -> impl Iterator<Item = &mut Holding> {
        self.current.iter_mut().chain(&mut self.coming).chain(&mut self.leaving)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.holdings().next().is_none()
    }

    /// Whether the next exchange should not wait for its time.
    pub(super) fn is_pressing(&self) -> bool {
        self.pressing
    }

    /// Whether the last exchange did not help, so that the next may wait a little.
    pub(super) fn is_impatient(&self) -> bool {
        self.impatient
    }

    /// When it has to be looked at even if nothing happens.
    pub(super) fn due_ms(&self) -> Option<UnixMillis> {
        let refused = self
            .refused
            .filter(|refused| !refused.over && self.needs != Needs::default());
        let again = refused.map(|refused| refused.until_ms);
        again.into_iter().chain(self.needs.deadline_ms).min()
    }

    pub(super) fn is_due(&self, now_ms: UnixMillis) -> bool {
        self.due_ms().is_some_and(|due_ms| due_ms <= now_ms)
    }

    /// Draws on a lease of the log if there is more in it than in the one that it has; gives back
    /// the other.
    pub(super) fn take_over(&mut self, holding: Holding) -> Option<Holding> {
        if self
            .current
            .as_ref()
            .is_some_and(|current| current.left() >= holding.left())
        {
            return Some(holding);
        }
        self.wallet.turn_to(holding.lease.clone());
        self.current.replace(holding)
    }

    /// Nothing is drawn any more; hands out all leases.
    pub(super) fn revoke(&mut self) -> Vec<Holding> {
        self.wallet.turn_to(None);
        self.number = 0;
        self.want = None;
        self.refused = None;
        self.pressing = false;
        let mut revoked: Vec<Holding> = self.current.take().into_iter().collect();
        revoked.extend(self.coming.take());
        revoked.append(&mut self.leaving);
        revoked
    }

    /// Decides what to pour, to ask for and to give back.
    pub(super) fn plan(&mut self, circumstances: &Circumstances) {
        let now_ms = circumstances.now_ms;
        self.wallet.bell.quiet();
        self.note_needs(circumstances);
        self.want = None;
        if circumstances.finishing {
            self.finish(circumstances);
        } else {
            self.plan_current(circumstances);
            self.plan_coming(circumstances);
        }
        for leaving in &mut self.leaving {
            leaving.sweep(0);
            if leaving.is_quiet() {
                leaving.planned.closed = true;
            } else if circumstances.finishing {
                leaving.plan_return();
            }
        }
        if let Some(refused) = &mut self.refused {
            refused.over = now_ms >= refused.until_ms;
            self.want = self.want.filter(|_| refused.over);
        }
        self.pressing |= self.want.is_some();
    }

    /// The plan is durable.
    pub(super) fn commit(&mut self, circumstances: &Circumstances) {
        let now_ms = circumstances.now_ms;
        let floor = self.wallet.floor();
        let mut closed = false;
        for holding in self.holdings_mut() {
            closed |= holding.planned.closed && !holding.durable.closed;
            holding.commit(floor, now_ms);
            // What was recalled is given back with this, as far as it could be.
            holding.recall = false;
        }
        self.pressing |= closed;
        if let Some(coming) = self.coming.take_if(|coming| coming.durable.drawn > 0) {
            self.wallet.turn_to(coming.lease.clone());
            self.leaving.extend(self.current.replace(coming));
        }
        if let Some(current) = &self.current {
            current.show(&self.wallet);
        }
        self.tell(circumstances);
    }

    /// The plan could not be written.
    pub(super) fn abandon(&mut self, circumstances: &Circumstances) {
        for holding in self.holdings_mut() {
            holding.abandon();
        }
        self.tell(circumstances);
    }

    /// What the ledger is to know.
    pub(super) fn report(&mut self, leases: &mut Vec<LeaseReport>) {
        self.impatient = std::mem::take(&mut self.pressing) && self.want.is_some();
        // The want is for the new lease, if there is to be one.
        let (current, coming) = match &self.coming {
            Some(_) => (None, self.want),
            None => (self.want, None),
        };
        leases.extend(self.current.iter().map(|holding| holding.report(current)));
        leases.extend(self.coming.iter().map(|holding| holding.report(coming)));
        leases.extend(self.leaving.iter().map(|holding| holding.report(None)));
    }

    /// What the ledger says of a lease. True if the lease is over and forgotten.
    pub(super) fn take_in(
        &mut self,
        answer: &LeaseAnswer,
        book: Option<&Arc<PriceBook>>,
        shards: usize,
        now_ms: UnixMillis,
    ) -> bool {
        if answer.closed {
            return self.forget(answer.lease);
        }
        let bell = Arc::clone(&self.wallet.bell);
        let coming = self.coming.as_ref().map(|coming| coming.key);
        let Some(holding) = self.holdings_mut().find(|holding| holding.key == answer.lease) else {
            return false;
        };
        holding.until_ms = answer.until_ms;
        holding.turn_over |= answer.turn_over;
        holding.recall |= answer.recall;
        // Without prices it cannot be drawn; asked again, the ledger tells them. Those of a lease
        // that is only refused may be others by the time it is opened.
        let news = book.filter(|_| answer.granted > Nano::ZERO);
        let granted = news.is_some_and(|book| {
            holding.equip(book, shards, &bell);
            holding.hear(answer.granted, now_ms)
        });
        let stirred = granted || holding.recall;
        if granted {
            self.refused = None;
            self.impatient = false;
        } else if let Some(denial) = &answer.denied
            && coming.is_none_or(|coming| coming == answer.lease)
        {
            let wait_ms = i64::try_from(denial.retry_after_ms).unwrap_or(i64::MAX);
            self.refused = Some(Refused {
                reason: denial.reason,
                until_ms: now_ms.saturating_add(wait_ms),
                over: false,
                firm: denial.retry_after_ms > PATIENCE_MS && denial.reason != DenialReason::Recalling,
            });
        }
        if stirred || answer.denied.is_some() {
            bell.ring();
        }
        false
    }

    fn forget(&mut self, key: LeaseKey) -> bool {
        if self.current.as_ref().is_some_and(|current| current.key == key) {
            self.wallet.turn_to(None);
            self.current = None;
        } else if self.coming.as_ref().is_some_and(|coming| coming.key == key) {
            self.coming = None;
        } else {
            let before = self.leaving.len();
            self.leaving.retain(|leaving| leaving.key != key);
            return self.leaving.len() < before;
        }
        // The next to draw finds nothing, and a new lease is asked for.
        self.wallet.bell.ring();
        true
    }

    /// Lets go those who wait, and gathers what the others and the last draws lacked.
    fn note_needs(&mut self, circumstances: &Circumstances) {
        let now_ms = circumstances.now_ms;
        if let Some(current) = &mut self.current {
            current.measure(now_ms);
            current.level(self.wallet.floor());
        }
        let shorts = [Urgency::Request, Urgency::Instance].map(|urgency| self.wallet.take_short(urgency));
        let mut needs = self.serve(circumstances);
        let least = |one: Option<i64>, other: Option<i64>| one.into_iter().chain(other).min();
        needs.request = least(needs.request, shorts[0]);
        needs.instance = least(needs.instance, shorts[1]);
        if needs.request.is_some() || needs.instance.is_some() {
            for holding in self.current.iter_mut().chain(&mut self.coming) {
                holding.touch(now_ms);
            }
        }
        self.needs = needs;
    }

    fn serve(&self, circumstances: &Circumstances) -> Needs {
        let trouble = self.trouble(circumstances);
        let refused = match trouble {
            Some((trouble, true)) => Some(trouble),
            _ if circumstances.finishing => Some(NoMoney::CutOff),
            _ => None,
        };
        let late = trouble.map_or(NoMoney::CutOff, |(trouble, _)| trouble);
        self.wallet.serve(circumstances.now_ms, refused, late)
    }

    /// Says why draws fail, and lets go those for whom there is money now.
    fn tell(&mut self, circumstances: &Circumstances) {
        self.wallet.set_trouble(self.trouble(circumstances));
        let needs = self.serve(circumstances);
        (self.needs.deadline_ms, self.needs.promised) = (needs.deadline_ms, needs.promised);
    }

    /// Why there is nothing to pour, and whether asking again makes no sense yet.
    fn trouble(&self, circumstances: &Circumstances) -> Option<(NoMoney, bool)> {
        if !circumstances.recording {
            return Some((NoMoney::NotRecorded, false));
        }
        let left = self.current.as_ref().map_or(0, Holding::left);
        if left > 0 {
            return None;
        }
        match self.refused {
            Some(refused) => {
                let firm = refused.firm && circumstances.now_ms < refused.until_ms;
                Some((NoMoney::Denied(refused.reason), firm))
            }
            None if !circumstances.heard => Some((NoMoney::CutOff, false)),
            None => None,
        }
    }

    fn plan_current(&mut self, circumstances: &Circumstances) {
        let now_ms = circumstances.now_ms;
        let floor = self.wallet.floor();
        let needs = self.needs;
        let Some(current) = &mut self.current else { return };
        let needed = needs.request.is_some() || needs.instance.is_some();
        let idle_ms = current.idle_ms(now_ms);
        if current.recall || idle_ms >= IDLE_MS && !needed {
            let keep = floor.min(current.reserved());
            current.sweep(keep);
            // Those who were called come for it; else it would go back and forth.
            current.plan_rest(needs.promised);
            current.plan_return();
            self.pressing |= current.recall && current.planned.returned != current.durable.returned;
        } else {
            let lacking = Self::lacking(current, floor, needs);
            if lacking > 0 || current.is_low() {
                current.plan_chunk(lacking, now_ms);
            }
        }
        let over = current.turn_over || now_ms >= current.until_ms;
        let unused = idle_ms >= IDLE_MS && !needed && floor == 0;
        if unused && (over || idle_ms >= FORGOTTEN_MS) && circumstances.incarnation.is_some() {
            self.wallet.turn_to(None);
            self.leaving.extend(self.current.take());
        } else if over {
            self.open(circumstances);
        } else if idle_ms < IDLE_MS {
            self.want = Self::want(current, floor, needs);
        }
    }

    fn plan_coming(&mut self, circumstances: &Circumstances) {
        let now_ms = circumstances.now_ms;
        let floor = self.wallet.floor();
        let needs = self.needs;
        let needed = needs.request.is_some() || needs.instance.is_some();
        if self.current.is_none() && needed {
            self.open(circumstances);
        }
        let Some(coming) = &mut self.coming else { return };
        let rate = self.current.as_ref().map_or(Nano::ZERO, Holding::rate_nano);
        if coming.lease.is_some() && coming.left() > 0 {
            let lacking = Self::lacking(coming, floor, needs);
            coming.plan_chunk(lacking.max(1), now_ms);
            if let Some(mut want) = Self::want(coming, floor, needs) {
                want.rate_per_s = rate;
                self.want = Some(want);
            }
        } else if needed || self.current.is_some() {
            let least = needs.instance.or(needs.request).unwrap_or(1);
            self.want = Some(Want {
                needed: Pico(least).to_nano_up(),
                rate_per_s: rate,
            });
        } else if coming.idle_ms(now_ms) >= FORGOTTEN_MS {
            // Closed and not dropped: an earlier question may have been answered with a grant.
            self.leaving.extend(self.coming.take());
        }
    }

    /// Begins to ask for a new lease.
    fn open(&mut self, circumstances: &Circumstances) {
        if let (None, Some(incarnation)) = (&self.coming, circumstances.incarnation) {
            self.number += 1;
            let key = LeaseKey {
                environment: self.wallet.environment,
                number: self.number,
            };
            self.coming = Some(Holding::new(incarnation, key, circumstances.now_ms));
        }
    }

    /// Shutting down.
    fn finish(&mut self, circumstances: &Circumstances) {
        if circumstances.incarnation.is_some() && circumstances.heard {
            self.wallet.turn_to(None);
            self.leaving.extend(self.current.take());
            self.leaving.extend(self.coming.take());
            return;
        }
        // The ledger is away, and may be for long after the next start: the leases stay open, so
        // that they can be drawn on then. Only the marks come down.
        self.wallet.turn_to(None);
        for holding in self.current.iter_mut().chain(&mut self.coming) {
            holding.sweep(0);
        }
    }

    /// What has to be poured so that nobody lacks anything, in pico-units; 0 if nothing.
    fn lacking(holding: &Holding, floor: i64, needs: Needs) -> i64 {
        let floor_lacks = (floor - holding.reserved()).max(0);
        // What is promised is there for others only.
        let request = needs.request.map_or(0, |need| {
            (need.saturating_add(needs.promised) - holding.available(Urgency::Request)).max(0) + floor_lacks
        });
        let instance = needs.instance.map_or(0, |need| {
            (need.saturating_add(needs.promised) - holding.available(Urgency::Instance)).max(0)
        });
        floor_lacks.max(request).max(instance)
    }

    /// What to ask for, if anything.
    fn want(holding: &Holding, floor: i64, needs: Needs) -> Option<Want> {
        // What is about to be poured need not be asked for again: near the end that would be
        // refused, and with the refusal the money be called back before anybody could draw it.
        let left = holding.left().saturating_add(holding.pouring());
        let free = left - needs.promised;
        let floor_lacks = (floor - holding.reserved()).max(0);
        let request = needs
            .request
            .map(|need| need.saturating_add(floor_lacks) - holding.available(Urgency::Request) - free);
        let instance = needs
            .instance
            .map(|need| need - holding.available(Urgency::Instance) - free);
        // Instances first. The floor by itself is worth no more than asking: it must not make
        // the ledger refuse the little that keeps an instance running.
        let lacks = instance
            .filter(|lacks| *lacks > 0)
            .or(request.filter(|lacks| *lacks > 0));
        let last_grant = holding.last_grant.to_pico().unwrap_or(Pico(i64::MAX)).0;
        let low = i128::from(left.saturating_add(holding.available(Urgency::Instance))) * 100
            < i128::from(last_grant) * i128::from(LOW_WATER_PERCENT);
        if lacks.is_none() && !low && floor_lacks <= left {
            return None;
        }
        Some(Want {
            needed: Pico(lacks.unwrap_or(1)).to_nano_up(),
            rate_per_s: holding.rate_nano(),
        })
    }
}
