//! Amounts as they are paid, quantities as they are read, numbers of documents.

use std::fmt;
use std::ops::Add;

use weir_ledger::Nano;

/// An amount in the smallest unit that is paid (cents).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cents {
    number: i64,
    /// Digits behind the point.
    digits: u32,
}

impl Cents {
    /// Rounded to the nearest, half away from zero.
    pub(super) fn of(amount: Nano, currency: &str) -> Self {
        let digits = match currency {
            "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND" | "VUV"
            | "XAF" | "XOF" | "XPF" => 0,
            "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
            _ => 2,
        };
        Self {
            number: rounded(i128::from(amount.0), 10_i128.pow(9 - digits)),
            digits,
        }
    }

    pub(super) fn negated(self) -> Self {
        Self {
            number: -self.number,
            ..self
        }
    }

    pub(super) fn nano(self) -> Nano {
        Nano(self.number.saturating_mul(10_i64.pow(9 - self.digits)))
    }
}

impl Add for Cents {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            number: self.number.saturating_add(other.number),
            ..self
        }
    }
}

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.number < 0 { "-" } else { "" };
        let scale = 10_u64.pow(self.digits);
        let magnitude = self.number.unsigned_abs();
        match self.digits {
            0 => write!(f, "{sign}{magnitude}"),
            digits => write!(
                f,
                "{sign}{}.{:0width$}",
                magnitude / scale,
                magnitude % scale,
                width = digits as usize
            ),
        }
    }
}

/// Rounds one amount after the other so that their sum stays within half a unit of what it is
/// exactly, however many small ones there are.
#[derive(Debug)]
pub(super) struct Rounding<'a> {
    currency: &'a str,
    exact: Nano,
    paid: Cents,
}

impl<'a> Rounding<'a> {
    pub(super) fn new(currency: &'a str) -> Self {
        Self {
            currency,
            exact: Nano::ZERO,
            paid: Cents::of(Nano::ZERO, currency),
        }
    }

    /// What is paid for the next amount: it, rounded up or down.
    pub(super) fn next(&mut self, amount: Nano) -> Cents {
        self.exact = self.exact.saturating_add(amount);
        let before = self.paid;
        self.paid = Cents::of(self.exact, self.currency);
        self.paid + before.negated()
    }
}

fn rounded(number: i128, by: i128) -> i64 {
    let half = if number < 0 { -by / 2 } else { by / 2 };
    i64::try_from((number + half) / by).unwrap_or(i64::MAX)
}

/// The tax that is in a total, by hundredths of a percent.
pub(super) fn tax_of(total: Cents, hundredths: u32) -> Cents {
    let hundredths = i128::from(hundredths);
    Cents {
        number: rounded(i128::from(total.number) * hundredths, 10_000 + hundredths),
        ..total
    }
}

/// Reads a percentage with at most two digits behind the point, in hundredths.
pub(super) fn percent(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(rest) || rest.len() > 2 {
        return None;
    }
    let hundredths = whole.parse::<u32>().ok()? * 100 + format!("{rest:0<2}").parse::<u32>().ok()?;
    (hundredths <= 10_000).then_some(hundredths)
}

/// Raw units in the unit of their price, with at most six digits behind the point.
pub(super) fn quantity(units: u128, price: &str) -> String {
    const GIB: u128 = 1 << 30;
    const GB: u128 = 1_000_000_000;
    const HOUR_MS: u128 = 3_600_000;
    let unit = price.split_once(" per ").map_or("one", |(_, unit)| unit);
    let size = match unit {
        "million" | "core-second" => 1_000_000,
        "thousand" => 1_000,
        "core-hour" => 3_600_000_000,
        "GB" => GB,
        "GiB" => GIB,
        "TB" => 1_000 * GB,
        "GiB-month" => GIB * 730 * HOUR_MS,
        "GB-month" => GB * 730 * HOUR_MS,
        "GiB-hour" => GIB * HOUR_MS,
        "GB-hour" => GB * HOUR_MS,
        other => other.parse().unwrap_or(1).max(1),
    };
    let micro = (units.saturating_mul(1_000_000) + size / 2) / size;
    let text = format!("{}.{:06}", micro / 1_000_000, micro % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The number of a document of a series.
pub(super) fn number_of(series: &str, year: i16, number: i64) -> String {
    let text = series.replace("{year}", &year.to_string());
    let Some((before, rest)) = text.split_once("{number") else {
        return text;
    };
    let Some((format, after)) = rest.split_once('}') else {
        return text;
    };
    let width = format.trim_start_matches(":0").parse::<usize>().unwrap_or(1).min(20);
    format!("{before}{number:0width$}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_rounded_once_to_what_is_paid() {
        let shown = |nano, currency| Cents::of(Nano(nano), currency).to_string();
        assert_eq!(shown(1_234_999_999, "EUR"), "1.23");
        assert_eq!(shown(1_235_000_000, "EUR"), "1.24");
        assert_eq!(shown(-1_235_000_000, "EUR"), "-1.24");
        assert_eq!(shown(4_999_999, "EUR"), "0.00");
        assert_eq!(shown(1_500_000_000, "JPY"), "2");
        assert_eq!(shown(1_000_500_000, "KWD"), "1.001");
        assert_eq!(Cents::of(Nano(1_235_000_000), "EUR").nano(), Nano(1_240_000_000));
    }

    #[test]
    fn many_small_amounts_add_up() {
        let mut rounding = Rounding::new("EUR");
        let lines: Vec<Cents> = (0..300).map(|_| rounding.next(Nano(4_000_000))).collect();
        assert!(
            lines
                .iter()
                .all(|line| ["0.00", "0.01"].contains(&line.to_string().as_str()))
        );
        let zero = Cents::of(Nano::ZERO, "EUR");
        let sum = |lines: &[Cents]| lines.iter().fold(zero, |sum, line| sum + *line).to_string();
        assert_eq!(sum(&lines), "1.20");
        assert_eq!(sum(&lines[..100]), "0.40");
        let mut rounding = Rounding::new("JPY");
        let lines: Vec<String> = (0..5).map(|_| rounding.next(Nano(400_000_000)).to_string()).collect();
        assert_eq!(lines, ["0", "1", "0", "1", "0"]);
    }

    #[test]
    fn tax_is_a_part_of_the_total() {
        let total = Cents::of(Nano(119_000_000_000), "EUR");
        assert_eq!(tax_of(total, percent("19").unwrap()).to_string(), "19.00");
        assert_eq!(tax_of(total.negated(), 1900).to_string(), "-19.00");
        assert_eq!(percent("7.5"), Some(750));
        for text in ["", "x", "-1", "100.01", "1.234", "1e2", "."] {
            assert_eq!(percent(text), None, "{text}");
        }
    }

    #[test]
    fn quantities_are_in_the_unit_of_the_price() {
        assert_eq!(quantity(2_500_000, "0.10 per million"), "2.5");
        assert_eq!(quantity(3_600_000_000, "0.005 per core-hour"), "1");
        assert_eq!(quantity(7, "free"), "7");
        assert_eq!(quantity((1 << 30) * 730 * 3_600_000 / 2, "1.00 per GiB-month"), "0.5");
    }

    #[test]
    fn numbers_follow_the_series() {
        assert_eq!(number_of("{year}-{number:05}", 2026, 42), "2026-00042");
        assert_eq!(number_of("R{number}/{year}", 2026, 7), "R7/2026");
        assert_eq!(number_of("none", 2026, 7), "none");
    }
}
