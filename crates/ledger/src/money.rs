//! Amounts of money: whole numbers of a billionth (nano) of the currency in the ledger, of a
//! millionth of that (pico) in wallets. Checked arithmetic, no floating point anywhere.

use std::fmt;
use std::iter::Sum;
use std::ops::{AddAssign, SubAssign};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Nano-units in one unit of the currency.
pub const NANO_PER_UNIT: i64 = 1_000_000_000;
/// Pico-units in one nano-unit.
pub const PICO_PER_NANO: i64 = 1_000;

/// Billionths of the currency; about ±9.2 thousand million units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nano(pub i64);

/// Millionths of a millionth of the currency; about ±9.2 million units. The money of wallets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pico(pub i64);

impl Nano {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than any amount.
    pub const MAX: Self = Self(i64::MAX);

    /// The sum; `None` where it cannot be written.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference; `None` where it cannot be written.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// The sum, held at the ends of the range. For estimates and displays, never for books.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, held at the ends of the range. For estimates and displays, never for books.
    #[must_use]
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// In the unit of wallets; `None` above about 9.2 million units of the currency.
    pub fn to_pico(self) -> Option<Pico> {
        self.0.checked_mul(PICO_PER_NANO).map(Pico)
    }
}

impl Pico {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// In the unit of the ledger, rounded up.
    pub fn to_nano_up(self) -> Nano {
        Nano(self.0.div_euclid(PICO_PER_NANO) + i64::from(self.0.rem_euclid(PICO_PER_NANO) != 0))
    }

    /// In the unit of the ledger, rounded down.
    pub fn to_nano_down(self) -> Nano {
        Nano(self.0.div_euclid(PICO_PER_NANO))
    }
}

/// For books. Amounts are bounded where they enter (a thousand million units), so that a sum that
/// cannot be written is a bug; stopping is better than writing a wrong one.
impl AddAssign for Nano {
    #[expect(clippy::expect_used, reason = "a wrong sum must never be written")]
    fn add_assign(&mut self, other: Self) {
        *self = self.checked_add(other).expect("sums of money stay in range");
    }
}

/// For books, as with [`AddAssign`].
impl SubAssign for Nano {
    #[expect(clippy::expect_used, reason = "a wrong sum must never be written")]
    fn sub_assign(&mut self, other: Self) {
        *self = self.checked_sub(other).expect("sums of money stay in range");
    }
}

impl Sum for Nano {
    fn sum<I: Iterator<Item = Self>>(amounts: I) -> Self {
        amounts.fold(Self::ZERO, Self::saturating_add)
    }
}

/// As people write it, all digits that are not zero, at least two: `7.00`, `0.000000400`.
impl fmt::Display for Nano {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        let (units, rest) = (
            magnitude / NANO_PER_UNIT.unsigned_abs(),
            magnitude % NANO_PER_UNIT.unsigned_abs(),
        );
        let digits = format!("{rest:09}");
        let shown = digits.trim_end_matches('0').len().max(2);
        write!(f, "{sign}{units}.{}", &digits[..shown])
    }
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an amount of money: {reason}")]
pub struct InvalidAmount {
    text: String,
    reason: &'static str,
}

impl FromStr for Nano {
    type Err = InvalidAmount;

    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        let invalid = |reason| InvalidAmount {
            text: text.to_owned(),
            reason,
        };
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (units, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if units.is_empty() || !all_digits(units) || !all_digits(fraction) || digits.ends_with('.') {
            return Err(invalid("write digits with a point, as in 7.00"));
        }
        if fraction.len() > 9 {
            return Err(invalid("at most nine digits after the point"));
        }
        let units: i64 = units.parse().map_err(|_| invalid("it is too large"))?;
        let fraction: i64 = format!("{fraction:0<9}")
            .parse()
            .map_err(|_| invalid("it is too large"))?;
        let magnitude = units
            .checked_mul(NANO_PER_UNIT)
            .and_then(|nanos| nanos.checked_add(fraction))
            .ok_or_else(|| invalid("it is too large"))?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_back_as_they_are_written() {
        for (text, nanos) in [
            ("7.00", 7_000_000_000),
            ("0.0000004", 400),
            ("-1.5", -1_500_000_000),
            ("3", 3_000_000_000),
        ] {
            let amount: Nano = text.parse().unwrap();
            assert_eq!(amount, Nano(nanos));
            assert_eq!(amount.to_string().parse::<Nano>().unwrap(), amount);
        }
        assert_eq!(Nano(7_000_000_000).to_string(), "7.00");
        assert_eq!(Nano(i64::MIN).to_string(), "-9223372036.854775808");
    }

    #[test]
    fn what_is_no_amount_is_refused_with_words() {
        for text in [
            "",
            ".",
            "7.",
            ".5",
            "1e3",
            "7,00",
            "0.0000000001",
            "99999999999",
            "+1",
            "--1",
            "٧",
        ] {
            assert!(text.parse::<Nano>().is_err(), "{text}");
        }
    }

    #[test]
    fn pico_rounds_to_nano_up_and_down() {
        assert_eq!(Pico(1).to_nano_up(), Nano(1));
        assert_eq!(Pico(1000).to_nano_up(), Nano(1));
        assert_eq!(Pico(1999).to_nano_down(), Nano(1));
        assert_eq!(Pico(-1).to_nano_up(), Nano(0));
        assert_eq!(Pico(-1).to_nano_down(), Nano(-1));
    }
}
