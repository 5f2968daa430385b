//! Price books as files, in units that people think in:
//!
//! ```toml
//! version = 1
//! currency = "EUR"
//! valid_from = "2026-01-01T00:00:00Z"
//!
//! [[price]]
//! sku = "memory"
//! price = "1.00"
//! per = 1
//! unit = "GiB-month"
//! ```
//!
//! A month is 730 hours, a GB is 1,000,000,000 bytes, a GiB is 1,073,741,824. Everything is
//! converted exactly; what cannot be is refused.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::{Price, PriceBook, Sku};

/// Why a price book is refused, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the prices cannot be used: {0}")]
pub struct InvalidPrices(String);

impl InvalidPrices {
    pub(super) fn new(reason: String) -> Self {
        Self(reason)
    }
}

/// What a unit measures: only the unit of the right kind makes sense for a known kind of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Measure {
    /// How many.
    Count,
    /// Time of a core.
    Cpu,
    /// Bytes.
    Bytes,
    /// Bytes for a time.
    Kept,
}

const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600 * SECOND_MS;
const MONTH_MS: u64 = 730 * HOUR_MS;
const GB: u64 = 1_000_000_000;
const GIB: u64 = 1 << 30;

/// Names of units, what they measure, and how many raw units they are. Of those that measure the
/// same, the writer takes the first that gives a finite price.
const UNITS: [(&str, Measure, u64); 15] = [
    ("million", Measure::Count, 1_000_000),
    ("one", Measure::Count, 1),
    ("core-hour", Measure::Cpu, 3_600_000_000),
    ("core-second", Measure::Cpu, 1_000_000),
    ("core-microsecond", Measure::Cpu, 1),
    ("GB", Measure::Bytes, GB),
    ("GiB", Measure::Bytes, GIB),
    ("MB", Measure::Bytes, 1_000_000),
    ("byte", Measure::Bytes, 1),
    ("GiB-month", Measure::Kept, GIB * MONTH_MS),
    ("GB-month", Measure::Kept, GB * MONTH_MS),
    ("GiB-hour", Measure::Kept, GIB * HOUR_MS),
    ("GB-hour", Measure::Kept, GB * HOUR_MS),
    ("GiB-second", Measure::Kept, GIB * SECOND_MS),
    ("byte-millisecond", Measure::Kept, 1),
];

/// What the known kinds of use are measured in; anything for others.
fn measure(sku: &Sku) -> Option<Measure> {
    match sku {
        sku if *sku == Sku::REQUESTS => Some(Measure::Count),
        sku if *sku == Sku::CPU || *sku == Sku::BUILD_CPU => Some(Measure::Cpu),
        sku if *sku == Sku::EGRESS => Some(Measure::Bytes),
        sku if [Sku::MEMORY, Sku::MEMORY_FROZEN, Sku::BUILD_MEMORY, Sku::STORAGE].contains(sku) => Some(Measure::Kept),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    currency: String,
    valid_from: String,
    #[serde(default)]
    price: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    sku: String,
    price: String,
    #[serde(default)]
    per: Count,
    unit: String,
}

/// A number, with or without quotes.
#[derive(Deserialize)]
#[serde(untagged)]
enum Count {
    Number(u64),
    Text(String),
}

impl Default for Count {
    fn default() -> Self {
        Self::Number(1)
    }
}

impl Count {
    fn value(&self) -> Option<u64> {
        let value = match self {
            Self::Number(number) => *number,
            Self::Text(text) => text.parse().ok()?,
        };
        (value > 0).then_some(value)
    }
}

impl PriceBook {
    /// The prices that Weir comes with: what a machine costs, in EUR.
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    pub fn built_in() -> Self {
        Self::from_toml(include_str!("../../prices/0001.toml")).expect("the built-in prices are valid")
    }

    /// Reads a price book from its file. Fails with the first thing that is wrong.
    pub fn from_toml(text: &str) -> Result<Self, InvalidPrices> {
        let file: File = toml::from_str(text).map_err(|error| InvalidPrices::new(error.to_string()))?;
        let valid_from: jiff::Timestamp = file.valid_from.parse().map_err(|_| {
            InvalidPrices::new(format!(
                "valid_from `{}` is not an instant, as in 2026-01-01T00:00:00Z",
                file.valid_from
            ))
        })?;
        let mut prices = BTreeMap::new();
        for row in &file.price {
            let sku = Sku::new(&row.sku).ok_or_else(|| {
                InvalidPrices::new(format!(
                    "`{}` cannot name a kind of use: small letters, digits and dashes",
                    row.sku
                ))
            })?;
            let price = price(&sku, row)?;
            if prices.insert(sku, price).is_some() {
                return Err(InvalidPrices::new(format!("{} has two prices", row.sku)));
            }
        }
        let book = Self {
            version: file.version,
            currency: file.currency,
            valid_from_ms: valid_from.as_millisecond(),
            prices,
        };
        book.check()?;
        Ok(book)
    }

    /// Writes the file; read again, it gives the same prices.
    pub fn to_toml(&self) -> String {
        let valid_from = jiff::Timestamp::from_millisecond(self.valid_from_ms).unwrap_or_default();
        let mut text = format!(
            "version = {}\ncurrency = \"{}\"\nvalid_from = \"{valid_from}\"\n",
            self.version, self.currency
        );
        for (sku, price) in &self.prices {
            let (amount, per, unit) = words(sku, *price);
            // Writing into a text cannot fail.
            let _ = write!(text, "\n[[price]]\nsku = \"{sku}\"\nprice = \"{amount}\"\n");
            if per != 1 {
                let _ = writeln!(text, "per = {per}");
            }
            let _ = writeln!(text, "unit = \"{unit}\"");
        }
        text
    }
}

impl Price {
    /// The price as people write it: an amount, for so many of a unit.
    pub fn in_words(self, sku: &Sku) -> (String, u64, &'static str) {
        words(sku, self)
    }
}

fn price(sku: &Sku, row: &Row) -> Result<Price, InvalidPrices> {
    let wrong = |reason: &str| InvalidPrices::new(format!("the price of {sku}: {reason}"));
    let fits = |kind: Measure| measure(sku).is_none_or(|measure| measure == kind);
    let unit = UNITS.iter().find(|(name, _, _)| *name == row.unit);
    let Some((_, _, raw)) = unit.filter(|(_, kind, _)| fits(*kind)) else {
        let names: Vec<&str> = UNITS
            .iter()
            .filter(|(_, kind, _)| fits(*kind))
            .map(|(name, _, _)| *name)
            .collect();
        return Err(wrong(&format!(
            "`{}` is no unit of it; there are {}",
            row.unit,
            names.join(", ")
        )));
    };
    let pico = decimal(&row.price).ok_or_else(|| {
        wrong(&format!(
            "`{}` is not an amount: digits with a point, at most twelve after it",
            row.price
        ))
    })?;
    let per = row.per.value().ok_or_else(|| wrong("`per` is a whole number from 1"))?;
    let units = u128::from(per) * u128::from(*raw);
    let common = gcd(pico, units);
    match (i64::try_from(pico / common), u64::try_from(units / common)) {
        (Ok(pico), Ok(per)) => Ok(Price { pico, per }),
        _ => Err(wrong("it has too many digits to be exact")),
    }
}

/// Digits, with at most twelve after the point, as a whole number of pico-units.
fn decimal(text: &str) -> Option<u128> {
    let (units, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if units.is_empty() || units.len() > 12 || fraction.len() > 12 || !digits(units) || !digits(fraction) {
        return None;
    }
    if text.ends_with('.') {
        return None;
    }
    format!("{units}{fraction:0<12}").parse().ok()
}

/// The greatest common divisor; of nothing and a number, the number.
fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.max(1)
}

fn words(sku: &Sku, price: Price) -> (String, u64, &'static str) {
    let kind = measure(sku).unwrap_or(Measure::Count);
    for (name, measure, raw) in UNITS {
        let exact = u128::from(price.pico.unsigned_abs()) * u128::from(raw);
        let per = u128::from(price.per.max(1));
        if measure == kind && exact.is_multiple_of(per) {
            return (amount(exact / per), 1, name);
        }
    }
    let raw = UNITS
        .iter()
        .rev()
        .find(|(_, measure, raw)| *measure == kind && *raw == 1);
    let name = raw.map_or("one", |(name, _, _)| name);
    (amount(u128::from(price.pico.unsigned_abs())), price.per, name)
}

/// Pico-units as an amount with at least two digits after the point.
fn amount(pico: u128) -> String {
    let (units, rest) = (pico / 1_000_000_000_000, pico % 1_000_000_000_000);
    let digits = format!("{rest:012}");
    let shown = digits.trim_end_matches('0').len().max(2);
    format!("{units}.{}", &digits[..shown])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Nano, Pico};

    fn one(sku: &str, price: &str, rest: &str) -> Result<PriceBook, InvalidPrices> {
        PriceBook::from_toml(&format!(
            "version = 1\ncurrency = \"EUR\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n\
             [[price]]\nsku = \"{sku}\"\nprice = \"{price}\"\n{rest}\n"
        ))
    }

    #[test]
    fn human_units_become_exact_fractions() {
        let price = |sku: Sku, text: &str, rest: &str| one(sku.as_str(), text, rest).unwrap().price(&sku);
        // 0.10 for a million requests is 100,000 pico each.
        assert_eq!(
            price(Sku::REQUESTS, "0.10", "unit = \"million\""),
            Price { pico: 100_000, per: 1 }
        );
        assert_eq!(
            price(Sku::REQUESTS, "0.10", "per = \"1000000\"\nunit = \"one\""),
            Price { pico: 100_000, per: 1 }
        );
        // 0.005 for 3,600,000,000 micro-CPU-seconds is 25 pico for 18 of them.
        assert_eq!(
            price(Sku::CPU, "0.005", "unit = \"core-hour\""),
            Price { pico: 25, per: 18 }
        );
        assert_eq!(price(Sku::EGRESS, "0.01", "unit = \"GB\""), Price { pico: 10, per: 1 });
        assert_eq!(price(Sku::EGRESS, "0.00", "unit = \"GB\""), Price { pico: 0, per: 1 });
        let month = price(Sku::MEMORY, "1.00", "unit = \"GiB-month\"");
        assert_eq!(
            u128::from(month.pico.unsigned_abs()) * u128::from(GIB) * u128::from(MONTH_MS),
            1_000_000_000_000 * u128::from(month.per)
        );
        assert_eq!(month.line(u128::from(GIB * MONTH_MS)), Some(Nano(1_000_000_000)));
        assert_eq!(month.line(u128::from(GIB * MONTH_MS) + 1), Some(Nano(1_000_000_001)));
        assert_eq!(month.cost_down(GIB * MONTH_MS), Some(Pico(1_000_000_000_000)));
    }

    #[test]
    fn the_built_in_prices_are_those_of_the_documentation() {
        let book = PriceBook::built_in();
        let cost = |sku: Sku, units: u64| book.price(&sku).line(u128::from(units)).unwrap().to_string();
        assert_eq!((book.version, book.currency.as_str()), (1, "EUR"));
        assert_eq!(cost(Sku::REQUESTS, 1_000_000), "0.10");
        assert_eq!(cost(Sku::CPU, 3_600_000_000), "0.005");
        assert_eq!(cost(Sku::BUILD_CPU, 3_600_000_000), "0.005");
        assert_eq!(cost(Sku::MEMORY, GIB * MONTH_MS), "1.00");
        assert_eq!(cost(Sku::BUILD_MEMORY, GIB * MONTH_MS), "1.00");
        assert_eq!(cost(Sku::MEMORY_FROZEN, GIB * MONTH_MS), "0.10");
        assert_eq!(cost(Sku::EGRESS, GB), "0.01");
        assert_eq!(cost(Sku::STORAGE, GB * MONTH_MS), "0.05");
        assert_eq!(book.prices.len(), 8);
    }

    #[test]
    fn a_book_reads_back_as_it_is_written() {
        let mut book = PriceBook::built_in();
        book.prices.insert(Sku::new("odd").unwrap(), Price { pico: 7, per: 3 });
        book.prices.insert(
            Sku::CPU,
            Price {
                pico: 1,
                per: 7_000_003,
            },
        );
        let text = book.to_toml();
        assert_eq!(PriceBook::from_toml(&text).unwrap(), book, "{text}");
        assert!(text.contains("price = \"0.10\"\nunit = \"million\""), "{text}");
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (result, words) in [
            (one("cpu", "0.01", "unit = \"GB\""), "core-hour"),
            (one("cpu", "-1", "unit = \"core-hour\""), "not an amount"),
            (one("cpu", "1.", "unit = \"core-hour\""), "not an amount"),
            (one("cpu", "0.0000000000001", "unit = \"core-hour\""), "not an amount"),
            (one("cpu", "0.01", "per = 0\nunit = \"core-hour\""), "whole number"),
            (one("Cpu", "0.01", "unit = \"core-hour\""), "kind of use"),
            (one("lost", "0.01", "unit = \"one\""), "no price"),
            (one("cpu", "0.01", "units = \"core-hour\""), "units"),
            (
                one("memory", "0.010000000001", "per = 99999989\nunit = \"GiB-month\""),
                "too many digits",
            ),
        ] {
            let said = result.unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
        let twice = "version = 1\ncurrency = \"EUR\"\nvalid_from = \"2026-01-01T00:00:00Z\"\n\
            [[price]]\nsku = \"cpu\"\nprice = \"1\"\nunit = \"core-hour\"\n\
            [[price]]\nsku = \"cpu\"\nprice = \"2\"\nunit = \"core-hour\"\n";
        assert!(
            PriceBook::from_toml(twice)
                .unwrap_err()
                .to_string()
                .contains("two prices")
        );
        let currency = twice.replace("EUR", "euro");
        assert!(PriceBook::from_toml(&currency).is_err());
    }

    #[test]
    fn versions_follow_each_other() {
        let first = PriceBook::built_in();
        assert!(first.follows(None).is_ok());
        let mut second = PriceBook {
            version: 2,
            ..first.clone()
        };
        assert!(second.follows(None).is_err());
        assert!(second.follows(Some(&first)).is_ok());
        assert!(first.follows(Some(&first)).is_err());
        second.valid_from_ms -= 1;
        assert!(second.follows(Some(&first)).is_err());
        second.valid_from_ms += 1;
        second.currency = "USD".to_owned();
        assert!(second.follows(Some(&first)).is_err());
    }
}
