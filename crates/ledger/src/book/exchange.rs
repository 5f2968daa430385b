//! What meters say, and what they are told. All is totals; the maximum of what was said is right.

use std::collections::BTreeMap;

use super::Scope;
use super::event::{Change, LeaseNumber, Opening};
use super::grant::{Holder, Outcome, earliest};
use super::handle::Desk;
use super::settle::Spent;
use crate::money::{Nano, Pico};
use crate::price::PriceBook;
use crate::protocol::{
    Answer, Closing, Denial, Exchange, Incarnation, LeaseAnswer, LeaseKey, LeaseReport, MeterName, Standing,
};

impl Desk<'_> {
    pub(super) fn exchange(&mut self, exchange: &Exchange) -> Answer {
        let known = self.books().meters.get(&exchange.meter);
        let (incarnation, boot, fenced) =
            known.map_or((0, 0, 0), |meter| (meter.incarnation, meter.boot, meter.fenced));
        let is_other_process = exchange.incarnation == incarnation && exchange.boot != boot;
        let is_past = exchange.incarnation < incarnation || exchange.incarnation <= fenced;
        if exchange.incarnation == 0 || is_past || is_other_process {
            return Answer {
                incarnation: exchange.incarnation,
                standing: Standing::Superseded {
                    next: incarnation.max(fenced) + 1,
                },
                leases: Vec::new(),
                prices: BTreeMap::new(),
            };
        }
        if exchange.incarnation > incarnation {
            self.begin(exchange, incarnation);
        }
        let mut prices = BTreeMap::new();
        let mut leases = Vec::with_capacity(exchange.leases.len());
        for report in &exchange.leases {
            leases.push(self.report(exchange, report, &mut prices));
        }
        for report in &exchange.leases {
            self.tell_path(report.lease);
        }
        Answer {
            incarnation: exchange.incarnation,
            standing: Standing::Current,
            leases,
            prices,
        }
    }

    /// A meter has started anew: what it held before is counted up to where its log says that it
    /// was drawn, or to the end if the log is lost.
    fn begin(&mut self, exchange: &Exchange, before: Incarnation) {
        let open = self.books().meters.get(&exchange.meter).map(|meter| meter.open.clone());
        for (key, number) in open.unwrap_or_default() {
            let listed = |closing: &&Closing| closing.incarnation == before && closing.lease == key;
            match exchange.closings.iter().find(listed) {
                Some(closing) => {
                    self.merge(number, &closing.usage);
                    self.close_lease(number, Spent::UpTo(closing.drawn.max(Pico::ZERO).to_nano_up()));
                }
                None => self.close_lease(number, Spent::All),
            }
            self.tell_path(key);
        }
        self.emit(Change::MeterOpened {
            meter: exchange.meter.clone(),
            incarnation: exchange.incarnation,
            boot: exchange.boot,
        });
    }

    /// A meter is off for good.
    pub(super) fn fence(&mut self, meter: &MeterName, incarnation: Incarnation) {
        let known = self.books().meters.get(meter);
        let (current, fenced) = known.map_or((0, 0), |meter| (meter.incarnation, meter.fenced));
        if incarnation <= fenced {
            return;
        }
        if incarnation >= current {
            let open = known.map(|meter| meter.open.clone()).unwrap_or_default();
            for (key, number) in open {
                self.close_lease(number, Spent::All);
                self.tell_path(key);
            }
        }
        self.emit(Change::Fenced {
            meter: meter.clone(),
            incarnation,
        });
    }

    fn tell_path(&mut self, lease: LeaseKey) {
        let mut scope = Some(Scope::Environment(lease.environment));
        while let Some(book) = scope.and_then(|scope| self.books().scopes.get(&scope)) {
            let parent = book.parent;
            if let Some(scope) = scope {
                self.tell(scope);
            }
            scope = parent;
        }
    }

    fn report(
        &mut self,
        exchange: &Exchange,
        report: &LeaseReport,
        prices: &mut BTreeMap<u32, PriceBook>,
    ) -> LeaseAnswer {
        if let Some(path) = self.path(report.lease.environment) {
            path.into_iter().for_each(|scope| self.roll(scope));
        }
        let meter = self.books().meters.get(&exchange.meter);
        let open = meter.and_then(|meter| meter.open.get(&report.lease).copied());
        let highest = meter.and_then(|meter| meter.highest.get(&report.lease.environment).copied());
        let answer = match open {
            Some(number) => self.report_of_open(number, report),
            None if report.granted > Nano::ZERO || report.lease.number <= highest.unwrap_or(0) => {
                self.plain(report, None, true)
            }
            None if self.is_over_before_it_began(exchange, report) => self.plain(report, None, true),
            None => self.open_with_first(exchange, report),
        };
        if report.granted == Nano::ZERO
            && let Some(book) = self.books().prices.get(&answer.price_version)
        {
            prices.insert(book.version, book.clone());
        }
        answer
    }

    /// Whether the meter has closed a lease that was never open. The question that it asked for it
    /// first may arrive later.
    fn is_over_before_it_began(&mut self, exchange: &Exchange, report: &LeaseReport) -> bool {
        let Exchange { meter, incarnation, .. } = exchange;
        if report.closed {
            self.ledger.live.give_up(meter, *incarnation, report.lease);
        }
        self.ledger.live.is_given_up(meter, *incarnation, report.lease)
    }

    fn report_of_open(&mut self, number: LeaseNumber, report: &LeaseReport) -> LeaseAnswer {
        if let Some(live) = self.ledger.live.leases.get_mut(&number) {
            live.answered = live.told;
        }
        self.merge(number, &report.usage);
        self.take_back(number, report.returned);
        if report.closed {
            self.close_lease(number, Spent::AsReported);
            return self.plain(report, None, true);
        }
        self.settle_if_due(number);
        let mut denied = None;
        let mut is_full = false;
        let granted = self
            .books()
            .leases
            .get(&number)
            .map_or(Nano::ZERO, |lease| lease.granted);
        // More than the meter knows of was granted: an answer was lost, and is given again.
        if let Some(want) = report.want
            && report.granted >= granted
            && !self.is_outdated(number)
        {
            match self.want(&Holder::Open(number, report.lease.environment), want) {
                Outcome::Granted(_) => {}
                Outcome::Full => is_full = true,
                Outcome::Denied(denial) => denied = Some(denial),
            }
        }
        let mut answer = self.answer(number, report, denied);
        answer.turn_over |= is_full;
        answer
    }

    fn open_with_first(&mut self, exchange: &Exchange, report: &LeaseReport) -> LeaseAnswer {
        let Some(want) = report.want else {
            return self.plain(report, None, false);
        };
        let Scope::Project(project) = self
            .path(report.lease.environment)
            .map_or(Scope::Environment(report.lease.environment), |path| path[1])
        else {
            return self.plain(report, Some(super::grant::gone()), false);
        };
        let opening = Opening {
            meter: exchange.meter.clone(),
            incarnation: exchange.incarnation,
            key: report.lease,
            price_version: 0,
            project,
        };
        match self.want(&Holder::New(opening), want) {
            Outcome::Granted(number) => self.answer(number, report, None),
            Outcome::Full => self.plain(report, None, false),
            Outcome::Denied(denial) => self.plain(report, Some(denial), false),
        }
    }

    /// Whether a lease belongs to a period that is over, to prices that are not those for new
    /// leases, or to a scope that is gone.
    fn is_outdated(&self, number: LeaseNumber) -> bool {
        let Some(lease) = self.books().leases.get(&number) else {
            return true;
        };
        let version = self.prices().map(|book| book.version);
        self.current(lease).contains(&false) || version != Some(lease.price_version)
    }

    /// About a lease that is open.
    fn answer(&mut self, number: LeaseNumber, report: &LeaseReport, denied: Option<Denial>) -> LeaseAnswer {
        let turn_over = self.is_outdated(number);
        let Some(lease) = self.books().leases.get(&number) else {
            return self.plain(report, denied, true);
        };
        let rounds = lease
            .path()
            .into_iter()
            .filter_map(|(scope, _)| self.ledger.live.recall(scope, self.now_ms));
        let round = rounds.map(|recall| recall.round).max();
        let granted_now = report.want.is_some() && denied.is_none();
        let ends = lease.path().map(|(scope, _)| {
            let book = self.books().scopes.get(&scope);
            book.and_then(|book| book.window.span.until_ms)
        });
        let answer = LeaseAnswer {
            lease: report.lease,
            granted: lease.granted,
            price_version: lease.price_version,
            until_ms: if turn_over {
                self.now_ms
            } else {
                earliest(ends.into_iter())
            },
            turn_over,
            // Whoever has just got what it needs would only have to ask again.
            recall: round.is_some() && !granted_now,
            denied,
            closed: false,
        };
        if answer.recall
            && let (Some(live), Some(round)) = (self.ledger.live.leases.get_mut(&number), round)
        {
            live.told = round;
        }
        answer
    }

    /// About a lease that is closed, or not open yet.
    fn plain(&self, report: &LeaseReport, denied: Option<Denial>, closed: bool) -> LeaseAnswer {
        LeaseAnswer {
            lease: report.lease,
            granted: report.granted,
            price_version: self.prices().map_or(0, |book| book.version),
            until_ms: self.now_ms,
            turn_over: false,
            recall: false,
            denied,
            closed,
        }
    }
}
