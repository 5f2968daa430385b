//! Which of the account's money an amount is made of.

use std::ops::{AddAssign, SubAssign};

use serde::{Deserialize, Serialize};

use crate::money::Nano;

/// An amount and what it is made of. Spent in the order of the fields, given back in the other
/// direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Funds {
    /// Given to begin with.
    #[serde(skip_serializing_if = "is_zero")]
    pub trial: Nano,
    /// Promised to be paid.
    #[serde(skip_serializing_if = "is_zero")]
    pub promised: Nano,
    /// Paid in.
    #[serde(skip_serializing_if = "is_zero")]
    pub cash: Nano,
    /// Of an owner who is not billed: what the machine costs.
    #[serde(skip_serializing_if = "is_zero")]
    pub own: Nano,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(amount: &Nano) -> bool {
    *amount == Nano::ZERO
}

impl Funds {
    /// Nothing.
    pub const ZERO: Self = Self {
        trial: Nano::ZERO,
        promised: Nano::ZERO,
        cash: Nano::ZERO,
        own: Nano::ZERO,
    };

    /// So much of an owner who is not billed.
    pub fn own(amount: Nano) -> Self {
        Self {
            own: amount,
            ..Self::ZERO
        }
    }

    /// All of it.
    pub fn total(self) -> Nano {
        let mut total = self.trial;
        total += self.promised;
        total += self.cash;
        total += self.own;
        total
    }

    /// What is spent first, `amount` of it or all there is; `self` is not changed.
    #[must_use]
    pub fn first(self, amount: Nano) -> Self {
        let mut left = amount.max(Nano::ZERO);
        let mut part = |there: Nano| {
            let taken = there.max(Nano::ZERO).min(left);
            left -= taken;
            taken
        };
        Self {
            trial: part(self.trial),
            promised: part(self.promised),
            cash: part(self.cash),
            own: part(self.own),
        }
    }

    /// What is spent last, `amount` of it or all there is; `self` is not changed.
    #[must_use]
    pub fn last(self, amount: Nano) -> Self {
        let mut rest = self;
        rest -= self.first(self.total().saturating_sub(amount.max(Nano::ZERO)));
        rest
    }
}

impl AddAssign for Funds {
    fn add_assign(&mut self, other: Self) {
        self.trial += other.trial;
        self.promised += other.promised;
        self.cash += other.cash;
        self.own += other.own;
    }
}

impl SubAssign for Funds {
    fn sub_assign(&mut self, other: Self) {
        self.trial -= other.trial;
        self.promised -= other.promised;
        self.cash -= other.cash;
        self.own -= other.own;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trial_is_spent_first_and_cash_given_back_first() {
        let funds = Funds {
            trial: Nano(3),
            promised: Nano(2),
            cash: Nano(5),
            own: Nano::ZERO,
        };
        let first = funds.first(Nano(4));
        assert_eq!((first.trial, first.promised, first.cash), (Nano(3), Nano(1), Nano(0)));
        let last = funds.last(Nano(6));
        assert_eq!((last.trial, last.promised, last.cash), (Nano(0), Nano(1), Nano(5)));
        assert_eq!(funds.first(Nano(99)), funds);
        assert_eq!(funds.last(Nano(99)), funds);
        assert_eq!(funds.last(Nano(-1)), Funds::ZERO);
    }
}
