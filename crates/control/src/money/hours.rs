//! In which hour usage is counted.
//!
//! A lease counts in the period in which it was granted, however late its usage is told; so an
//! hour never reaches over the end of a period, and what is told late goes into the last hour of
//! the lease's own period. Then the hours of a period add up to what the ledger settled in it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use weir_ledger::book::{Change, Event, LeaseNumber, LineDelta, Scope};
use weir_ledger::protocol::LineKey;
use weir_model::{AccountId, EnvironmentId, ProjectId, UnixMillis};
use weir_store::UsageHour;

/// One hour.
pub(super) const HOUR_MS: i64 = 3_600_000;

/// How long hours are kept: 13 months.
const KEPT_MS: i64 = 396 * 24 * HOUR_MS;

/// Hours before this one are forgotten.
pub(crate) fn kept_from(now_ms: UnixMillis) -> UnixMillis {
    let from_ms = now_ms.saturating_sub(KEPT_MS);
    from_ms - from_ms.rem_euclid(24 * HOUR_MS)
}

/// What the hours of future events depend on; follows from the journal, like the ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Calendar {
    /// Leases that are open.
    terms: BTreeMap<LeaseNumber, Term>,
    /// Projects of environments and accounts of projects.
    projects: BTreeMap<EnvironmentId, ProjectId>,
    accounts: BTreeMap<ProjectId, AccountId>,
    /// When the periods that run began, as far as one before them ended. A list, because JSON's
    /// keys are texts.
    begun: Vec<(Scope, UnixMillis)>,
}

/// Where and when a lease counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Term {
    environment: EnvironmentId,
    project: ProjectId,
    account: AccountId,
    granted_ms: UnixMillis,
    /// Begins not before this instant.
    begun_ms: UnixMillis,
    /// The end of its period, once it is over.
    ended_ms: Option<UnixMillis>,
}

/// What rows of the same key have in common.
pub(super) type Key = (EnvironmentId, UnixMillis, LineKey, u32, AccountId);

/// The key of a row.
pub(super) fn key(hour: &UsageHour) -> Key {
    (
        hour.environment,
        hour.hour_ms,
        hour.line.clone(),
        hour.price_version,
        hour.account,
    )
}

impl Calendar {
    /// Takes in the next event; gives the hours that it adds to.
    pub(super) fn take_in(&mut self, event: &Event) -> Vec<UsageHour> {
        let hours = match &event.change {
            Change::Settled { lease, .. } | Change::Closed { lease, .. } => self.hours(event, *lease),
            _ => Vec::new(),
        };
        self.follow(event);
        hours
    }

    /// The row of something that was reported now and is not in the journal yet. `None` if the
    /// environment is not known.
    pub(super) fn reported(&self, delta: LineDelta, now_ms: UnixMillis) -> Option<UsageHour> {
        let project = *self.projects.get(&delta.environment)?;
        let account = *self.accounts.get(&project)?;
        let term = Term {
            environment: delta.environment,
            project,
            account,
            granted_ms: now_ms,
            begun_ms: self.begun_of(delta.environment, project, account),
            ended_ms: None,
        };
        Some(row(&term, delta, now_ms))
    }

    /// Leases of an account that may still add to hours before an instant, because their period
    /// ended by then.
    pub(super) fn open_before(&self, account: AccountId, before_ms: UnixMillis) -> BTreeSet<LeaseNumber> {
        let last_hour = |ended: UnixMillis| (ended - 1) - (ended - 1).rem_euclid(HOUR_MS);
        let adds = |term: &Term| term.ended_ms.is_some_and(|ended| last_hour(ended) < before_ms);
        let terms = self
            .terms
            .iter()
            .filter(|(_, term)| term.account == account && adds(term));
        terms.map(|(lease, _)| *lease).collect()
    }

    fn hours(&self, event: &Event, lease: LeaseNumber) -> Vec<UsageHour> {
        let Some(term) = self.terms.get(&lease) else {
            return Vec::new();
        };
        let deltas = event.line_deltas().into_iter();
        deltas.map(|delta| row(term, delta, event.at_ms)).collect()
    }

    fn follow(&mut self, event: &Event) {
        match &event.change {
            Change::Opened { scope, parent, .. } => match (scope, parent) {
                (Scope::Environment(environment), Some(Scope::Project(project))) => {
                    self.projects.insert(*environment, *project);
                }
                (Scope::Project(project), Some(Scope::Account(account))) => {
                    self.accounts.insert(*project, *account);
                }
                _ => {}
            },
            Change::Rolled { scope, span } => {
                self.begun.retain(|(known, _)| known != scope);
                self.begun.push((*scope, span.from_ms));
                let of_scope = |term: &&mut Term| match scope {
                    Scope::Environment(id) => term.environment == *id,
                    Scope::Project(id) => term.project == *id,
                    Scope::Account(id) => term.account == *id,
                };
                for term in self.terms.values_mut().filter(of_scope) {
                    term.ended_ms.get_or_insert(span.from_ms);
                }
            }
            Change::Granted {
                lease,
                account,
                opens: Some(opening),
                ..
            } => {
                let environment = opening.key.environment;
                let term = Term {
                    environment,
                    project: opening.project,
                    account: *account,
                    granted_ms: event.at_ms,
                    begun_ms: self.begun_of(environment, opening.project, *account),
                    ended_ms: None,
                };
                self.terms.insert(*lease, term);
            }
            Change::Closed { lease, .. } => {
                self.terms.remove(lease);
            }
            _ => {}
        }
    }

    fn begun_of(&self, environment: EnvironmentId, project: ProjectId, account: AccountId) -> UnixMillis {
        let path = [
            Scope::Environment(environment),
            Scope::Project(project),
            Scope::Account(account),
        ];
        let begun = self.begun.iter().filter(|(scope, _)| path.contains(scope));
        begun.map(|(_, from_ms)| *from_ms).max().unwrap_or(UnixMillis::MIN)
    }
}

fn row(term: &Term, delta: LineDelta, at_ms: UnixMillis) -> UsageHour {
    // Periods only move forward, clocks do not.
    let latest = term.ended_ms.map_or(at_ms, |ended| at_ms.min(ended - 1));
    let at_ms = latest.max(term.granted_ms);
    let hour_ms = at_ms - at_ms.rem_euclid(HOUR_MS);
    UsageHour {
        // In time zones that are not whole hours away, a period begins within an hour.
        hour_ms: if term.begun_ms <= at_ms {
            hour_ms.max(term.begun_ms)
        } else {
            hour_ms
        },
        account: term.account,
        project: term.project,
        environment: term.environment,
        line: LineKey {
            app: delta.app,
            process: delta.process,
            sku: delta.sku,
        },
        price_version: delta.price_version,
        units: delta.units,
        amount: delta.amount,
    }
}

#[cfg(test)]
mod tests {
    use weir_ledger::book::{Funds, Home, Opening, SettledLine, Span};
    use weir_ledger::protocol::LeaseKey;
    use weir_ledger::{Nano, Sku};

    use super::*;

    const ENVIRONMENT: fn() -> EnvironmentId = || EnvironmentId::from_parts(1, 1);
    const PROJECT: fn() -> ProjectId = || ProjectId::from_parts(1, 2);
    const ACCOUNT: fn() -> AccountId = || AccountId::from_parts(0, 0);

    fn granted(at_ms: UnixMillis, lease: LeaseNumber) -> Event {
        let key = LeaseKey {
            environment: ENVIRONMENT(),
            number: 1,
        };
        let opens = Some(Opening {
            meter: "node:local".to_owned(),
            incarnation: 1,
            key,
            price_version: 1,
            project: PROJECT(),
        });
        let change = Change::Granted {
            lease,
            account: ACCOUNT(),
            funds: Funds::own(Nano(100)),
            opens,
            from_tail: false,
        };
        Event { at_ms, change }
    }

    fn settled(at_ms: UnixMillis, lease: LeaseNumber) -> Event {
        let line = LineKey {
            app: None,
            process: None,
            sku: Sku::CPU,
        };
        let lines = vec![SettledLine {
            line,
            units: 3,
            paid: Funds::own(Nano(5)),
            loss: Nano::ZERO,
            taken: Funds::own(Nano(5)),
        }];
        let change = Change::Settled {
            lease,
            environment: ENVIRONMENT(),
            account: ACCOUNT(),
            price_version: 1,
            lines,
        };
        Event { at_ms, change }
    }

    fn rolled(from_ms: UnixMillis) -> Event {
        let span = Span {
            from_ms,
            until_ms: None,
        };
        let change = Change::Rolled {
            scope: Scope::Project(PROJECT()),
            span,
        };
        Event { at_ms: from_ms, change }
    }

    fn hour(calendar: &mut Calendar, event: &Event) -> UnixMillis {
        let hours = calendar.take_in(event);
        assert_eq!((hours.len(), hours[0].units, hours[0].amount), (1, 3, Nano(5)));
        assert_eq!((hours[0].project, hours[0].account), (PROJECT(), ACCOUNT()));
        hours[0].hour_ms
    }

    #[test]
    fn what_is_told_late_counts_in_the_last_hour_of_its_period() {
        let mut calendar = Calendar::default();
        calendar.take_in(&granted(10 * HOUR_MS + 7, 1));
        assert_eq!(hour(&mut calendar, &settled(11 * HOUR_MS + 8, 1)), 11 * HOUR_MS);
        calendar.take_in(&rolled(12 * HOUR_MS));
        calendar.take_in(&granted(12 * HOUR_MS + 1, 2));
        let open = |calendar: &Calendar, hour| calendar.open_before(ACCOUNT(), hour * HOUR_MS);
        assert_eq!(open(&calendar, 12), BTreeSet::from([1]));
        assert_eq!(open(&calendar, 11), BTreeSet::new());
        assert_eq!(hour(&mut calendar, &settled(15 * HOUR_MS, 1)), 11 * HOUR_MS);
        assert_eq!(hour(&mut calendar, &settled(15 * HOUR_MS, 2)), 15 * HOUR_MS);
        let home = Home::default();
        let closed = Change::Closed {
            lease: 1,
            environment: ENVIRONMENT(),
            account: ACCOUNT(),
            price_version: 1,
            lost: Nano(7),
            freed: Funds::ZERO,
            home,
        };
        let lost = calendar.take_in(&Event {
            at_ms: 16 * HOUR_MS,
            change: closed,
        });
        assert_eq!((lost[0].hour_ms, lost[0].amount), (11 * HOUR_MS, Nano(7)));
        assert_eq!(lost[0].line.sku, Sku::LOST);
        assert_eq!(calendar.terms.len(), 1);
        assert_eq!(open(&calendar, 12), BTreeSet::new());
    }

    #[test]
    fn a_clock_that_goes_back_moves_no_usage_before_its_lease() {
        let mut calendar = Calendar::default();
        calendar.take_in(&granted(10 * HOUR_MS, 1));
        assert_eq!(hour(&mut calendar, &settled(3 * HOUR_MS, 1)), 10 * HOUR_MS);
    }

    #[test]
    fn a_period_that_begins_within_an_hour_divides_it() {
        let mut calendar = Calendar::default();
        let half_past = 10 * HOUR_MS + HOUR_MS / 2;
        calendar.take_in(&granted(10 * HOUR_MS, 1));
        calendar.take_in(&rolled(half_past));
        calendar.take_in(&granted(half_past + 1, 2));
        assert_eq!(hour(&mut calendar, &settled(half_past + 2, 1)), 10 * HOUR_MS);
        assert_eq!(hour(&mut calendar, &settled(half_past + 2, 2)), half_past);
        assert_eq!(hour(&mut calendar, &settled(half_past + HOUR_MS, 2)), 11 * HOUR_MS);
    }

    #[test]
    fn a_calendar_reads_back_as_it_was_written() {
        let mut calendar = Calendar::default();
        calendar.take_in(&granted(10 * HOUR_MS, 1));
        calendar.take_in(&rolled(11 * HOUR_MS));
        let text = serde_json::to_string(&calendar).unwrap();
        assert_eq!(serde_json::from_str::<Calendar>(&text).unwrap(), calendar);
    }
}
