//! What is charged for, and how much. A price is a fraction: so many pico-units of money for so
//! many raw units of use, so that nothing is lost in rounding.

pub mod file;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use weir_model::UnixMillis;

use crate::money::{Nano, Pico};

/// Why prices cannot be published, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the prices cannot be used: {0}")]
pub struct InvalidPrices(String);

impl InvalidPrices {
    fn new(reason: String) -> Self {
        Self(reason)
    }
}

/// A kind of use that has a price. A new one is a row in the price book and a draw where the use
/// happens, nothing else.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sku(Cow<'static, str>);

impl Sku {
    /// Requests taken from visitors and from apps. Unit: one.
    pub const REQUESTS: Self = Self(Cow::Borrowed("requests"));
    /// CPU time really used. Unit: a millionth of a second of one core.
    pub const CPU: Self = Self(Cow::Borrowed("cpu"));
    /// Memory reserved by running instances. Unit: a byte for a millisecond.
    pub const MEMORY: Self = Self(Cow::Borrowed("memory"));
    /// Memory reserved by frozen instances. Unit: a byte for a millisecond.
    pub const MEMORY_FROZEN: Self = Self(Cow::Borrowed("memory-frozen"));
    /// Bytes sent, in answers and by instances of their own accord. Unit: a byte.
    pub const EGRESS: Self = Self(Cow::Borrowed("egress"));
    /// CPU time reserved by builds. Unit: a millionth of a second of one core.
    pub const BUILD_CPU: Self = Self(Cow::Borrowed("build-cpu"));
    /// Memory reserved by builds. Unit: a byte for a millisecond.
    pub const BUILD_MEMORY: Self = Self(Cow::Borrowed("build-memory"));
    /// Bytes kept: volumes, images, logs. Unit: a byte for a millisecond.
    pub const STORAGE: Self = Self(Cow::Borrowed("storage"));
    /// May have been used, and nothing is known of it: what a crashed or fenced meter had drawn.
    /// Counts against caps, is never invoiced. Unit: a nano-unit of money.
    pub const LOST: Self = Self(Cow::Borrowed("lost"));

    /// A name of small letters, digits and dashes, 1 to 40 of them; `None` for another.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=40).contains(&name.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        fits.then(|| Self(Cow::Owned(name.to_owned())))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Sku {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// So much money for so many raw units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// Pico-units of the currency, 0 or more.
    pub pico: i64,
    /// Raw units, at least 1.
    pub per: u64,
}

impl Price {
    /// What so many units cost, rounded up; `None` if a wallet cannot hold so much.
    pub fn cost_up(self, units: u64) -> Option<Pico> {
        let exact = i128::from(self.pico) * i128::from(units);
        let per = i128::from(self.per.max(1));
        i64::try_from((exact + per - 1) / per).ok().map(Pico)
    }

    /// What so many units cost, rounded down; `None` if a wallet cannot hold so much.
    pub fn cost_down(self, units: u64) -> Option<Pico> {
        let exact = i128::from(self.pico) * i128::from(units);
        i64::try_from(exact / i128::from(self.per.max(1))).ok().map(Pico)
    }

    /// What a line of so many units in total costs in the ledger, rounded up once.
    pub fn line(self, units: u128) -> Option<Nano> {
        let exact = u128::try_from(self.pico).ok()?.checked_mul(units)?;
        let per = u128::from(self.per.max(1)).checked_mul(1000)?;
        i64::try_from(exact.div_ceil(per)).ok().map(Nano)
    }
}

/// A version of all prices. Immutable once published; later versions add to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBook {
    /// From 1, rising.
    pub version: u32,
    /// Three capital letters (ISO 4217).
    pub currency: String,
    /// From when it holds for new leases.
    pub valid_from_ms: UnixMillis,
    /// What each kind of use costs. What is not in it is free, and is counted all the same.
    pub prices: BTreeMap<Sku, Price>,
}

impl PriceBook {
    /// The price of a kind of use; free if it has none.
    pub fn price(&self, sku: &Sku) -> Price {
        if *sku == Sku::LOST {
            return Price { pico: 1000, per: 1 };
        }
        self.prices.get(sku).copied().unwrap_or(Price { pico: 0, per: 1 })
    }

    /// Whether it can be published after the last one. Fails with what is wrong with it.
    pub fn follows(&self, last: Option<&Self>) -> Result<(), InvalidPrices> {
        let expected = last.map_or(1, |last| last.version.saturating_add(1));
        if self.version != expected {
            return Err(InvalidPrices::new(format!(
                "the next version is {expected}, not {}",
                self.version
            )));
        }
        if let Some(last) = last {
            if last.currency != self.currency {
                return Err(InvalidPrices::new(format!(
                    "the currency is {} and cannot be changed to {}",
                    last.currency, self.currency
                )));
            }
            if self.valid_from_ms < last.valid_from_ms {
                return Err(InvalidPrices::new(format!(
                    "it would hold from earlier than version {}",
                    last.version
                )));
            }
        }
        self.check()
    }

    /// Whether it makes sense by itself. Fails with what is wrong with it.
    pub fn check(&self) -> Result<(), InvalidPrices> {
        if self.version == 0 {
            return Err(InvalidPrices::new("versions are counted from 1".to_owned()));
        }
        if self.currency.len() != 3 || !self.currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Err(InvalidPrices::new(format!(
                "`{}` is not a currency: three capital letters, as in EUR",
                self.currency
            )));
        }
        for (sku, price) in &self.prices {
            if *sku == Sku::LOST {
                return Err(InvalidPrices::new(
                    "`lost` is money already and has no price".to_owned(),
                ));
            }
            if Sku::new(sku.as_str()).is_none() {
                return Err(InvalidPrices::new(format!(
                    "`{sku}` cannot name a kind of use: small letters, digits and dashes"
                )));
            }
            if price.pico < 0 || price.per == 0 {
                return Err(InvalidPrices::new(format!(
                    "the price of {sku} is below zero, or for nothing"
                )));
            }
        }
        Ok(())
    }
}
