//! Promised payments: people are reminded three days and one day before one falls due. What
//! happens when it does is the ledger's ([`Change::PromiseBroken`](weir_ledger::book::Change)).
//!
//! Pure: what was reminded of is kept by whoever asks.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use weir_ledger::book::{AccountStanding, Scope};
use weir_model::{AccountId, UnixMillis};

use super::alerts::Alert;
use crate::civil;

const DAY_MS: i64 = 86_400_000;
/// So many days before it falls due.
const DAYS: [i64; 2] = [3, 1];

/// Which promises are open and what was reminded of, by account: one at a time has a promise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Reminders(BTreeMap<AccountId, Reminded>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Reminded {
    due_ms: UnixMillis,
    /// When it was first seen: tells it apart from an earlier one that was due at the same time.
    seen_ms: UnixMillis,
    /// The last reminder, in days; `None` before the first.
    days: Option<i64>,
}

impl Reminders {
    /// Takes in how an account stands now. Gives what is to be told, once.
    pub(super) fn look(&mut self, account: &AccountStanding, now_ms: UnixMillis, zone: &TimeZone) -> Option<Alert> {
        let id = account.account;
        let Some(promise) = account.promise else {
            self.0.remove(&id);
            return None;
        };
        let due_ms = promise.due_ms;
        let near = |at_ms: UnixMillis| DAYS.into_iter().filter(|days| due_ms - at_ms <= days * DAY_MS).min();
        let reminded = self.0.entry(id).or_insert(Reminded {
            due_ms: 0,
            seen_ms: 0,
            days: None,
        });
        if reminded.due_ms != due_ms {
            // Whoever promises for tomorrow needs no reminder of tomorrow.
            *reminded = Reminded {
                due_ms,
                seen_ms: now_ms,
                days: near(now_ms),
            };
        }
        let days = near(now_ms).filter(|days| reminded.days.is_none_or(|last| *days < last))?;
        reminded.days = Some(days);
        Some(Alert {
            id: format!("promise-{id}-{due_ms}-{}-{days}", reminded.seen_ms),
            at_ms: now_ms,
            scope: Scope::Account(id),
            kind: "money.promise-due",
            message: format!(
                "the promised payment of {} is due within {}, by {}; what is left of it is then taken back, and what was spent of it is owed{}",
                promise.outstanding,
                if days == 1 {
                    "a day".to_owned()
                } else {
                    format!("{days} days")
                },
                civil::shown(due_ms, zone),
                if account.billing {
                    ": nothing more is spent until that is paid"
                } else {
                    ""
                }
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use weir_ledger::Nano;
    use weir_ledger::book::{Funds, OpenPromise};

    use super::*;

    fn account(due_ms: Option<UnixMillis>) -> AccountStanding {
        AccountStanding {
            account: AccountId::from_parts(1, 1),
            billing: true,
            free: Funds::ZERO,
            held: Funds::ZERO,
            reserved: Funds::ZERO,
            debt: Nano::ZERO,
            promise: due_ms.map(|due_ms| OpenPromise {
                outstanding: Nano(5_000_000_000),
                due_ms,
            }),
            loss: Nano::ZERO,
            usage: BTreeMap::new(),
            stop_order: Vec::new(),
        }
    }

    /// What is told when it is looked every hour, and all that is kept is read again each time.
    fn told(due: impl Fn(i64) -> Option<UnixMillis>, hours: impl Iterator<Item = i64>) -> Vec<(i64, Alert)> {
        let mut kept = String::from("{}");
        let mut told = Vec::new();
        for hour in hours {
            let mut reminders: Reminders = serde_json::from_str(&kept).unwrap();
            let now_ms = hour * DAY_MS / 24;
            let alert = reminders.look(&account(due(hour)), now_ms, &TimeZone::UTC);
            told.extend(alert.map(|alert| (hour, alert)));
            kept = serde_json::to_string(&reminders).unwrap();
        }
        told
    }

    #[test]
    fn a_promise_is_reminded_of_three_days_and_one_day_before_and_each_once() {
        let all = told(|hour| (hour < 240).then_some(10 * DAY_MS), 0..300);
        assert_eq!(all.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [7 * 24, 9 * 24]);
        let message = &all[1].1.message;
        assert!(
            message.contains("5.00 is due within a day, by 1970-01-11 00:00 UTC"),
            "{message}"
        );
        assert_ne!(all[0].1.id, all[1].1.id);
    }

    #[test]
    fn after_days_of_silence_only_the_nearest_reminder_comes() {
        let hours = (0..20).chain(230..240);
        let all = told(|_| Some(10 * DAY_MS), hours);
        assert_eq!(all.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(), [230]);
    }

    #[test]
    fn a_promise_for_tomorrow_is_not_reminded_of_at_once_and_another_one_is_another() {
        assert_eq!(told(|_| Some(DAY_MS), 1..24), []);
        let two_days = told(|_| Some(2 * DAY_MS), 0..48);
        assert_eq!(two_days.len(), 1);
        // Paid on the eighth day; the next one is due at the same time.
        let all = told(|hour| Some(10 * DAY_MS).filter(|_| hour != 192), 0..240);
        let hours: Vec<i64> = all.iter().map(|(hour, _)| *hour).collect();
        assert_eq!(hours, [7 * 24, 9 * 24]);
        let again = told(|hour| Some(10 * DAY_MS).filter(|_| hour != 220), 0..240);
        assert_eq!(again.len(), 2, "made on the last day, so not reminded of: {again:?}");
        let late = told(|hour| Some(if hour < 100 { 10 * DAY_MS } else { 20 * DAY_MS }), 0..480);
        assert_eq!(
            late.iter().map(|(hour, _)| *hour).collect::<Vec<_>>(),
            [17 * 24, 19 * 24]
        );
    }
}
