//! Scopes: opening, caps, periods, thresholds, and what stops and goes on.

use super::event::{Change, Span};
use super::handle::{Desk, in_range, invalid};
use super::live::Shortage;
use super::{Cap, Refusal, Scope};
use crate::money::Nano;
use crate::period::{self, Period};
use crate::protocol::DenialReason;

/// What the owner is told of, in percent of a cap.
const THRESHOLDS: [u8; 3] = [50, 80, 100];

/// How sure the way on must be before a scope that was stopped goes on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Resume {
    /// Somebody has raised a cap or paid, or a period has begun: as soon as what was wanted fits.
    AtOnce,
    /// Money came back or time passed: only with half a percent of the cap, so that a scope does
    /// not stop and go on every second.
    WhenPlenty,
}

impl Desk<'_> {
    pub(super) fn open(&mut self, scope: Scope, parent: Option<Scope>, cap: Option<Cap>) -> Result<(), Refusal> {
        let fits = matches!(
            (scope, parent),
            (Scope::Account(_), None)
                | (Scope::Project(_), Some(Scope::Account(_)))
                | (Scope::Environment(_), Some(Scope::Project(_)))
        );
        if !fits {
            return Err(invalid("a project belongs to an account, an environment to a project"));
        }
        if let Some(book) = self.books().scopes.get(&scope) {
            return match (book.parent == parent, book.gone) {
                (true, false) => Ok(()),
                (false, _) => Err(invalid("it belongs to another scope already")),
                (true, true) => Err(invalid("it is gone; open a new one")),
            };
        }
        check(scope, cap)?;
        let period = match (cap, parent) {
            (Some(cap), _) => cap.period,
            (None, Some(parent)) => {
                let parent = self.books().scopes.get(&parent);
                parent
                    .and_then(|parent| parent.cap)
                    .map_or(Period::Month, |cap| cap.period)
            }
            (None, None) => Period::Month,
        };
        if let Some(parent) = parent {
            let known = self.books().scopes.get(&parent).ok_or_else(|| unknown(parent))?;
            if known.gone {
                return Err(invalid("what it belongs to is gone"));
            }
        }
        let span = self.span(period);
        self.emit(Change::Opened {
            scope,
            parent,
            cap,
            span,
        });
        Ok(())
    }

    pub(super) fn set_cap(&mut self, scope: Scope, cap: Option<Cap>) -> Result<(), Refusal> {
        check(scope, cap)?;
        let book = self.books().scopes.get(&scope).ok_or_else(|| unknown(scope))?;
        if book.cap == cap {
            return Ok(());
        }
        let (before, span) = (self.period(scope), book.window.span);
        let after = cap.map_or_else(|| self.inherited(scope), |cap| cap.period);
        let span = self.changed(span, before, after);
        let told = self.still_told(scope, cap);
        self.emit(Change::CapSet { scope, cap, span, told });
        if before != after {
            self.follow(scope, before, after);
        }
        let book = self.books().scopes.get(&scope);
        if let (Some(cap), Some(book)) = (cap, book)
            && book.committed() > cap.limit
        {
            self.ledger.live.short(scope, self.now_ms, Shortage::Near);
        }
        self.tell(scope);
        self.resume(scope, Resume::AtOnce);
        Ok(())
    }

    /// Environments without a cap of their own have the period of their project.
    fn follow(&mut self, project: Scope, before: Period, after: Period) {
        for (scope, span) in self.children(project) {
            if self.books().scopes.get(&scope).is_some_and(|book| book.cap.is_none()) {
                let span = self.changed(span, before, after);
                self.emit(Change::CapSet {
                    scope,
                    cap: None,
                    span,
                    told: Vec::new(),
                });
            }
        }
    }

    fn children(&self, of: Scope) -> Vec<(Scope, Span)> {
        let scopes = self.books().scopes.iter();
        scopes
            .filter(|(_, book)| book.parent == Some(of))
            .map(|(scope, book)| (*scope, book.window.span))
            .collect()
    }

    /// The period that runs, after a change of its kind. What was spent in it stays counted, so
    /// that changing a cap to and fro frees nothing.
    fn changed(&self, span: Span, before: Period, after: Period) -> Span {
        if before == after {
            return span;
        }
        let new = self.span(after);
        Span {
            from_ms: span.from_ms.min(new.from_ms),
            until_ms: new.until_ms,
        }
    }

    pub(super) fn close_scope(&mut self, scope: Scope) -> Result<(), Refusal> {
        let book = self.books().scopes.get(&scope).ok_or_else(|| unknown(scope))?;
        if !book.gone {
            self.emit(Change::Gone { scope });
        }
        for (child, _) in self.children(scope) {
            self.close_scope(child)?;
        }
        Ok(())
    }

    fn inherited(&self, scope: Scope) -> Period {
        let parent = self.books().scopes.get(&scope).and_then(|book| book.parent);
        parent.map_or(Period::Month, |parent| self.period(parent))
    }

    /// How often a scope begins anew.
    fn period(&self, scope: Scope) -> Period {
        let cap = self.books().scopes.get(&scope).and_then(|book| book.cap);
        cap.map_or_else(|| self.inherited(scope), |cap| cap.period)
    }

    fn span(&self, period: Period) -> Span {
        let (from_ms, until_ms) = period.around(self.now_ms, &self.zone());
        Span { from_ms, until_ms }
    }

    fn zone(&self) -> jiff::tz::TimeZone {
        period::time_zone(&self.books().settings.time_zone).unwrap_or(jiff::tz::TimeZone::UTC)
    }

    /// The period that runs, behind one that ended. After a change of the time zone the first one
    /// may have begun before: then it begins where the last one ended, and what little is left of
    /// it is one with the next, or each change would bring hours with a cap of their own.
    fn span_behind(&self, ended_ms: i64, period: Period) -> Span {
        let span = self.span(period);
        let (Some(until_ms), true) = (span.until_ms, span.from_ms < ended_ms) else {
            return span;
        };
        let is_little = until_ms - ended_ms < ended_ms - span.from_ms;
        Span {
            from_ms: ended_ms,
            until_ms: if is_little {
                period.around(until_ms, &self.zone()).1
            } else {
                span.until_ms
            },
        }
    }

    pub(super) fn roll_all(&mut self) {
        let now_ms = self.now_ms;
        let due = |until: Option<i64>| until.is_some_and(|until| until <= now_ms);
        let scopes = self.books().scopes.iter();
        let over: Vec<Scope> = scopes
            .filter(|(_, book)| due(book.window.span.until_ms))
            .map(|(scope, _)| *scope)
            .collect();
        for scope in over {
            self.roll(scope);
        }
    }

    /// Begins a new period if the one that runs is over. Periods only move forward, whatever the
    /// clock does.
    pub(super) fn roll(&mut self, scope: Scope) {
        let until = self
            .books()
            .scopes
            .get(&scope)
            .and_then(|book| book.window.span.until_ms);
        let Some(ended_ms) = until.filter(|until| *until <= self.now_ms) else {
            return;
        };
        let span = self.span_behind(ended_ms, self.period(scope));
        self.emit(Change::Rolled { scope, span });
        if let Some(live) = self.ledger.live.scopes.get_mut(&scope) {
            live.pending = Nano::ZERO;
        }
        if !self.books().scopes.contains_key(&scope) {
            self.ledger.live.scopes.remove(&scope);
        }
        self.resume(scope, Resume::AtOnce);
    }

    /// Tells what share of a cap is spent, once per share and period.
    pub(super) fn tell(&mut self, scope: Scope) {
        let Some(book) = self.books().scopes.get(&scope) else {
            return;
        };
        let Some(cap) = book.cap.filter(|cap| cap.limit > Nano::ZERO) else {
            return;
        };
        let spent = self.spent(scope);
        let news: Vec<u8> = THRESHOLDS
            .into_iter()
            .filter(|percent| is_reached(*percent, spent, cap) && !book.crossed.contains(percent))
            .collect();
        for percent in news {
            self.emit(Change::Crossed {
                scope,
                percent,
                spent,
                limit: cap.limit,
            });
        }
    }

    /// Spent in the period that runs, with what is not journaled.
    fn spent(&self, scope: Scope) -> Nano {
        let settled = self
            .books()
            .scopes
            .get(&scope)
            .map_or(Nano::ZERO, |book| book.window.settled);
        let pending = self
            .ledger
            .live
            .scopes
            .get(&scope)
            .map_or(Nano::ZERO, |live| live.pending);
        settled.saturating_add(pending)
    }

    /// What was told and stays true under another cap; what does not is told when it is reached.
    fn still_told(&self, scope: Scope, cap: Option<Cap>) -> Vec<u8> {
        let spent = self.spent(scope);
        let told = self
            .books()
            .scopes
            .get(&scope)
            .into_iter()
            .flat_map(|book| &book.crossed);
        let is_still = |percent: &u8| cap.is_some_and(|cap| is_reached(*percent, spent, cap));
        told.copied().filter(is_still).collect()
    }

    /// Nothing was granted in a scope.
    pub(super) fn stop(&mut self, scope: Scope, reason: DenialReason, needed: Nano) {
        let Some(book) = self.books().scopes.get(&scope) else {
            return;
        };
        // The cap and the balance outweigh the pace, which lets go by itself.
        let news = book
            .stopped
            .is_none_or(|stop| stop.reason == DenialReason::Pace && reason != DenialReason::Pace);
        if news {
            self.emit(Change::Stopped { scope, reason, needed });
        }
        self.reached(scope, reason);
    }

    /// A cap that refuses is reached, even if the last crumbs of it could not be spent.
    fn reached(&mut self, scope: Scope, reason: DenialReason) {
        let of_cap = matches!(
            reason,
            DenialReason::EnvironmentCap | DenialReason::ProjectCap | DenialReason::AccountCap
        );
        let Some(book) = self.books().scopes.get(&scope) else {
            return;
        };
        let (Some(cap), false) = (book.cap, book.crossed.contains(&100)) else {
            return;
        };
        // Most of it must really be spent: money that a meter holds out of reach is not spent.
        let spent = self.spent(scope);
        if of_cap && i128::from(spent.0) * 100 >= i128::from(cap.limit.0) * 99 {
            self.emit(Change::Crossed {
                scope,
                percent: 100,
                spent,
                limit: cap.limit,
            });
        }
    }

    pub(super) fn resume_all(&mut self) {
        let scopes = self.books().scopes.iter();
        let stopped: Vec<Scope> = scopes
            .filter(|(_, book)| book.stopped.is_some())
            .map(|(scope, _)| *scope)
            .collect();
        for scope in stopped {
            self.resume(scope, Resume::WhenPlenty);
        }
    }

    /// Lets a scope go on that was stopped, if there is money again.
    pub(super) fn resume(&mut self, scope: Scope, how: Resume) {
        let Some(book) = self.books().scopes.get(&scope) else {
            return;
        };
        let Some(stop) = book.stopped else {
            return;
        };
        let room = match stop.reason {
            DenialReason::Balance => match scope {
                Scope::Project(project) => self.balance_room(project),
                Scope::Account(_) | Scope::Environment(_) => None,
            },
            DenialReason::Pace if book.cap.is_some_and(|cap| cap.pace) => Some(Nano(book.level(self.now_ms))),
            DenialReason::Pace => None,
            DenialReason::EnvironmentCap
            | DenialReason::ProjectCap
            | DenialReason::AccountCap
            | DenialReason::Recalling
            | DenialReason::Gone => book.room(),
        };
        let limit = book.cap.map_or(0, |cap| cap.limit.0);
        let plenty = match how {
            Resume::AtOnce => stop.needed.0,
            Resume::WhenPlenty => stop.needed.0.max(limit / 200),
        };
        // A bucket is full before it could hold a large purchase.
        let plenty = match (stop.reason, book.cap) {
            (DenialReason::Pace, Some(cap)) => plenty.min(super::apply::bucket_size(cap)),
            _ => plenty,
        };
        if room.is_none_or(|room| room.0 >= plenty.max(1)) {
            self.emit(Change::Resumed { scope });
        }
    }
}

fn is_reached(percent: u8, spent: Nano, cap: Cap) -> bool {
    i128::from(spent.0) * 100 >= i128::from(cap.limit.0) * i128::from(percent)
}

fn check(scope: Scope, cap: Option<Cap>) -> Result<(), Refusal> {
    match cap {
        None if !matches!(scope, Scope::Environment(_)) => Err(invalid(
            "accounts and projects have a cap; only environments may do without",
        )),
        Some(cap) if cap.limit < Nano::ZERO || !in_range(cap.limit) => {
            Err(invalid("a cap is from 0 to a thousand million"))
        }
        _ => Ok(()),
    }
}

/// A scope that the ledger does not know.
pub(super) fn unknown(scope: Scope) -> Refusal {
    Refusal::Unknown(match scope {
        Scope::Account(id) => id.to_string(),
        Scope::Project(id) => id.to_string(),
        Scope::Environment(id) => id.to_string(),
    })
}
