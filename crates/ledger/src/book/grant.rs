//! How much a meter gets. Much while there is plenty, so that it asks seldom; less and less as
//! the tightest bound comes near; at the end exactly what is needed, until nothing is left.

use weir_model::{EnvironmentId, ProjectId, UnixMillis};

use super::event::{Change, LeaseNumber, Opening};
use super::handle::Desk;
use super::live::Shortage;
use super::{Funds, Scope};
use crate::money::Nano;
use crate::protocol::{Denial, DenialReason, Want};

/// A wallet counts in pico-units; a lease gets no more than what they can write.
const LEASE_MOST: i64 = 9_000_000_000_000_000;
/// A meter that does not answer a recall within this time is not waited for.
const PATIENCE_MS: i64 = 3_000;

/// Something that bounds a grant.
#[derive(Debug, Clone, Copy)]
struct Bound {
    room: Nano,
    reason: DenialReason,
    /// Whose it is: stopped when nothing is granted.
    scope: Scope,
    /// In which scope money can be recalled for it.
    pool: Scope,
    /// What the smallest grant is measured by.
    limit: Nano,
}

/// Where a grant comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// What caps and balance leave.
    Room,
    /// What is held already for the tail of what is stored.
    Tail,
}

/// What came of a want.
pub(super) enum Outcome {
    Granted(LeaseNumber),
    /// The lease is as large as one can be; a new one may have more.
    Full,
    Denied(Denial),
}

impl Desk<'_> {
    /// Grants money to a lease, or opens it with its first grant.
    pub(super) fn want(&mut self, holder: &Holder, want: Want) -> Outcome {
        let Some(path) = self.path(holder.environment()) else {
            return Outcome::Denied(gone());
        };
        let needed = Nano(want.needed.0.max(1));
        let bound = self.tightest(path, needed);
        let granted = holder
            .number()
            .and_then(|number| self.books().leases.get(&number))
            .map_or(0, |lease| lease.granted.0);
        if bound.room < needed {
            if let Some(funds) = self.of_tail(holder.environment(), needed)
                && granted <= LEASE_MOST - needed.0
            {
                return self.grant(holder, path, funds, Source::Tail);
            }
            return Outcome::Denied(self.short(holder, bound, needed));
        }
        let recall = self.ledger.live.recall(bound.pool, self.now_ms);
        let amount = if recall.is_some_and(|recall| recall.shortage == Shortage::Here) {
            // Others wait for every bit of it.
            needed
        } else {
            size(bound, needed, want.rate_per_s, self.competitors(bound.pool, holder))
        };
        let amount = Nano(amount.0.min(LEASE_MOST - granted));
        if amount < needed {
            return Outcome::Full;
        }
        let funds = match path[2] {
            Scope::Account(account) => match self.books().accounts.get(&account) {
                Some(book) if book.billing => book.free.first(amount),
                _ => Funds::own(amount),
            },
            _ => return Outcome::Denied(gone()),
        };
        if bound.room.0 < bound.limit.0 / 2000 {
            self.ledger.live.short(bound.pool, self.now_ms, Shortage::Near);
        }
        self.grant(holder, path, funds, Source::Room)
    }

    /// What of the tail may pay for what is needed, if it is said to.
    fn of_tail(&self, environment: EnvironmentId, needed: Nano) -> Option<Funds> {
        let allowed = self.tails.get(&environment).is_some_and(|most| *most >= needed);
        let reserve = self.books().environments.get(&environment)?.reserve;
        (allowed && reserve.total() >= needed).then(|| reserve.first(needed))
    }

    fn grant(&mut self, holder: &Holder, path: [Scope; 3], funds: Funds, source: Source) -> Outcome {
        let prices = self.prices().map(|book| book.version);
        let (Some(price_version), [_, Scope::Project(project), Scope::Account(account)]) = (prices, path) else {
            return Outcome::Denied(gone());
        };
        let (lease, opens) = match holder {
            Holder::Open(number, _) => (*number, None),
            Holder::New(opening) => (
                self.books().last_lease + 1,
                Some(Opening {
                    price_version,
                    project,
                    ..opening.clone()
                }),
            ),
        };
        let is_new = opens.is_some();
        self.emit(Change::Granted {
            lease,
            account,
            funds,
            opens,
            from_tail: source == Source::Tail,
        });
        self.ledger.live.granted(lease);
        if is_new {
            let live = self.ledger.live.leases.entry(lease).or_default();
            live.journaled_ms = self.now_ms;
        }
        Outcome::Granted(lease)
    }

    /// What bounds a path most. The order decides where bounds are equal.
    fn tightest(&self, path: [Scope; 3], needed: Nano) -> Bound {
        let reasons = [
            DenialReason::EnvironmentCap,
            DenialReason::ProjectCap,
            DenialReason::AccountCap,
        ];
        let mut tightest = Bound {
            room: Nano::MAX,
            reason: DenialReason::Gone,
            scope: path[2],
            pool: path[2],
            limit: Nano::ZERO,
        };
        let mut consider = |bound: Bound| {
            if bound.room < tightest.room {
                tightest = bound;
            }
        };
        for (scope, reason) in path.into_iter().zip(reasons) {
            let Some(book) = self.books().scopes.get(&scope) else {
                continue;
            };
            let Some(cap) = book.cap else {
                continue;
            };
            let bound = Bound {
                room: book.room().unwrap_or(Nano::ZERO),
                reason,
                scope,
                pool: scope,
                limit: cap.limit,
            };
            consider(bound);
            if cap.pace {
                let level = book.level(self.now_ms);
                let is_full = level >= super::apply::bucket_size(cap);
                // A purchase that is larger than the bucket takes a full one, and more time after.
                let room = if is_full { level.max(needed.0) } else { level.max(0) };
                consider(Bound {
                    room: Nano(room),
                    reason: DenialReason::Pace,
                    ..bound
                });
            }
        }
        if let Scope::Project(project) = path[1]
            && let Some(room) = self.balance_room(project)
        {
            consider(Bound {
                room,
                reason: DenialReason::Balance,
                scope: path[1],
                pool: path[2],
                limit: room,
            });
        }
        tightest
    }

    /// What of the account's balance a project may still take; `None` if no balance bounds it.
    ///
    /// Projects stop in the order that the owner declared: one is refused while less is left than
    /// what those after it burn in an hour.
    pub(super) fn balance_room(&self, project: ProjectId) -> Option<Nano> {
        let Some(Scope::Account(id)) = self.books().scopes.get(&Scope::Project(project))?.parent else {
            return None;
        };
        let account = self.books().accounts.get(&id).filter(|account| account.billing)?;
        if account.debt > Nano::ZERO {
            return Some(Nano::ZERO);
        }
        let rank = account.stop_order.iter().position(|named| *named == project);
        let later = account.stop_order.iter().skip(rank.map_or(0, |rank| rank + 1));
        let reserved: Nano = later
            .map(|later| self.ledger.live.burn_per_hour(Scope::Project(*later), self.now_ms))
            .sum();
        Some(account.free.total().saturating_sub(reserved).max(Nano::ZERO))
    }

    /// How many leases share a pool, with the one that asks.
    fn competitors(&self, pool: Scope, holder: &Holder) -> usize {
        let open = self.books().scopes.get(&pool).map_or(0, |book| book.leases.len());
        open + usize::from(matches!(holder, Holder::New(_)))
    }

    /// There is too little. Idle money of others is recalled before anybody is denied.
    fn short(&mut self, holder: &Holder, bound: Bound, needed: Nano) -> Denial {
        if bound.reason == DenialReason::Pace {
            self.stop(bound.scope, bound.reason, needed);
            return self.wait_for_pace(bound.scope, needed);
        }
        let recall = self.ledger.live.short(bound.pool, self.now_ms, Shortage::Here);
        let is_patient = self.now_ms.saturating_sub(recall.since_ms) < PATIENCE_MS;
        if is_patient && !recall.exhausted {
            if self.is_waiting(bound.pool, holder, recall.round) {
                return Denial {
                    reason: DenialReason::Recalling,
                    retry_after_ms: 50,
                };
            }
            self.ledger.live.exhausted(bound.pool);
        }
        self.stop(bound.scope, bound.reason, needed);
        Denial {
            reason: bound.reason,
            retry_after_ms: 1_000,
        }
    }

    /// Whether anybody else holds idle money and has not spoken since it was recalled.
    fn is_waiting(&self, pool: Scope, holder: &Holder, round: u64) -> bool {
        let Some(book) = self.books().scopes.get(&pool) else {
            return false;
        };
        book.leases.iter().any(|number| {
            let live = self.ledger.live.leases.get(number);
            let answered = live.is_some_and(|live| live.answered >= round);
            let idle = self.books().leases.get(number).map_or(0, |lease| {
                lease
                    .funds
                    .total()
                    .0
                    .saturating_sub(live.map_or(0, |live| live.pending.0))
            });
            !answered && idle > 0 && holder.number() != Some(*number)
        })
    }

    fn wait_for_pace(&self, scope: Scope, needed: Nano) -> Denial {
        let book = self.books().scopes.get(&scope);
        let wait = book.and_then(|book| {
            let cap = book.cap?;
            let lacking = i128::from(needed.0.min(super::apply::bucket_size(cap)) - book.level(self.now_ms));
            Some(lacking.max(0) * i128::from(6 * 3_600_000) / i128::from(cap.limit.0.max(1)))
        });
        let wait = u64::try_from(wait.unwrap_or(0)).unwrap_or(u64::MAX);
        Denial {
            reason: DenialReason::Pace,
            retry_after_ms: wait.clamp(250, 10_000),
        }
    }
}

/// The size of a grant: at least what is needed, at most the room.
fn size(bound: Bound, needed: Nano, rate_per_s: Nano, competitors: usize) -> Nano {
    let room = i128::from(bound.room.0);
    let rate = i128::from(rate_per_s.0.max(0));
    // Five seconds; longer while that is less than a thousandth of the room, at most ten minutes.
    let wish = (room / 1000).clamp(5 * rate, 600 * rate);
    let share = room / (2 * i128::try_from(competitors.max(1)).unwrap_or(i128::MAX / 2));
    // Near the end less than the smallest grant, or what is left lies idle in many wallets.
    let least = i128::from(bound.limit.0 / 2000).min(share).max(i128::from(needed.0));
    let amount = wish.max(least).min(share.max(least)).min(room);
    Nano(i64::try_from(amount).unwrap_or(bound.room.0))
}

pub(super) fn gone() -> Denial {
    Denial {
        reason: DenialReason::Gone,
        retry_after_ms: 60_000,
    }
}

/// Who asks.
pub(super) enum Holder {
    /// An open lease.
    Open(LeaseNumber, EnvironmentId),
    /// One that opens with its first grant.
    New(Opening),
}

impl Holder {
    fn environment(&self) -> EnvironmentId {
        match self {
            Self::Open(_, environment) => *environment,
            Self::New(opening) => opening.key.environment,
        }
    }

    fn number(&self) -> Option<LeaseNumber> {
        match self {
            Self::Open(number, _) => Some(*number),
            Self::New(_) => None,
        }
    }
}

/// The first instant of which a meter need not be told by this answer.
pub(super) fn earliest(ends: impl Iterator<Item = Option<UnixMillis>>) -> UnixMillis {
    ends.flatten().min().unwrap_or(UnixMillis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::AccountId;

    fn grant(room: i64, limit: i64, needed: i64, rate: i64, competitors: usize) -> i64 {
        let scope = Scope::Account(AccountId::from_parts(0, 0));
        let bound = Bound {
            room: Nano(room),
            reason: DenialReason::AccountCap,
            scope,
            pool: scope,
            limit: Nano(limit),
        };
        size(bound, Nano(needed), Nano(rate), competitors).0
    }

    #[test]
    fn grants_shrink_towards_the_end_and_reach_it() {
        let limit = 7_000_000_000;
        // Plenty: a thousandth of the room, which is minutes at this rate.
        assert_eq!(grant(limit, limit, 1, 20_000, 1), 7_000_000);
        // An idle environment gets the smallest grant.
        assert_eq!(grant(limit, limit, 1, 0, 1), 3_500_000);
        // Fast: five seconds.
        assert_eq!(grant(limit, limit, 1, 100_000_000, 1), 500_000_000);
        // Never more than its share of half of what is left ...
        assert_eq!(grant(1_000_000_000, limit, 1, 500_000_000, 4), 125_000_000);
        // ... but always what is needed, to the last unit.
        assert_eq!(grant(1_000, limit, 400, 100_000_000, 4), 400);
        assert_eq!(grant(400, limit, 400, 0, 64), 400);
        assert_eq!(grant(1, 1, 1, i64::MAX, 1), 1);
    }
}
