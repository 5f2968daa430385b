//! A version of the prices as a file: read with the line of every mistake, and written so that
//! it reads back the same to the last unit.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use weir_model::UnixMillis;
use weir_model::files::{FileProblem, FileProblems};

use super::{Price, PriceBook, Sku};
use crate::money::{Nano, PICO_PER_NANO};

/// Largest file that is read.
const FILE_BYTES: usize = 64 << 10;
/// Most kinds of use in one file.
const SKUS: usize = 200;
const GIB: u64 = 1 << 30;
const GB: u64 = 1_000_000_000;
const HOUR_MS: u64 = 3_600_000;
/// A month of prices has 730 hours, a twelfth of a year.
const MONTH_MS: u64 = 730 * HOUR_MS;

type Units = &'static [(&'static str, u64)];
const PIECES: Units = &[("million", 1_000_000), ("thousand", 1_000), ("one", 1)];
const CORE_TIME: Units = &[("core-hour", 3_600_000_000), ("core-second", 1_000_000)];
const BYTES: Units = &[("GB", GB), ("GiB", GIB), ("TB", 1_000 * GB)];
const BYTE_TIME: Units = &[
    ("GiB-month", GIB * MONTH_MS),
    ("GB-month", GB * MONTH_MS),
    ("GiB-hour", GIB * HOUR_MS),
    ("GB-hour", GB * HOUR_MS),
];
/// What is counted now, with the units that prices of it are told in, the usual one first.
const KNOWN: [(Sku, Units); 8] = [
    (Sku::REQUESTS, PIECES),
    (Sku::CPU, CORE_TIME),
    (Sku::MEMORY, BYTE_TIME),
    (Sku::MEMORY_FROZEN, BYTE_TIME),
    (Sku::EGRESS, BYTES),
    (Sku::BUILD_CPU, CORE_TIME),
    (Sku::BUILD_MEMORY, BYTE_TIME),
    (Sku::STORAGE, BYTE_TIME),
];
/// What a file says; the version is not its business: the ledger counts versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceFile {
    /// Three capital letters.
    pub currency: String,
    /// From when it is to hold; `None` for at once.
    pub valid_from_ms: Option<UnixMillis>,
    /// The prices.
    pub prices: BTreeMap<Sku, Price>,
}

fn units_of(sku: &Sku) -> Units {
    KNOWN
        .iter()
        .find(|(known, _)| known == sku)
        .map_or(PIECES, |(_, units)| units)
}

/// A price as people and files write it: `0.10 per million`, `free`. In the first unit in which
/// it is exact; the fraction may be another than that of the price, its value never is.
pub fn price_text(sku: &Sku, price: Price) -> String {
    if price.pico == 0 {
        return "free".to_owned();
    }
    let in_unit = |(name, size): &(&str, u64)| {
        let exact = i128::from(price.pico) * i128::from(*size);
        let per = i128::from(price.per) * i128::from(PICO_PER_NANO);
        let nano = (exact % per == 0).then(|| i64::try_from(exact / per).ok()).flatten()?;
        // What is told has to read back.
        Nano(nano).to_pico()?;
        Some(format!("{} per {name}", Nano(nano)))
    };
    match units_of(sku).iter().find_map(in_unit) {
        Some(text) => text,
        None => format!("{} pico per {}", price.pico, price.per),
    }
}

/// Whether two prices are the same, however their fractions are written.
pub fn is_same(one: Price, other: Price) -> bool {
    i128::from(one.pico) * i128::from(other.per) == i128::from(other.pico) * i128::from(one.per)
}

/// Reads what [`price_text`] writes.
fn parse_price(sku: &Sku, text: &str) -> Result<Price, String> {
    if text == "free" {
        return Ok(Price { pico: 0, per: 1 });
    }
    let units = units_of(sku);
    let usual = units.first().map_or("one", |(name, _)| name);
    let example = format!("write it like `0.10 per {usual}`, or `free`");
    let (amount, unit) = text
        .split_once(" per ")
        .ok_or_else(|| format!("`{text}` is not a price: {example}"))?;
    let pico = match amount.strip_suffix(" pico") {
        Some(pico) => pico
            .parse()
            .map_err(|_| format!("`{pico}` is not a whole number of pico-units"))?,
        None => {
            let nano: Nano = amount.parse().map_err(|error| format!("{error}"))?;
            nano.to_pico()
                .ok_or_else(|| format!("`{amount}` is more than any price may be"))?
                .0
        }
    };
    if pico < 0 {
        return Err("a price cannot be below zero".to_owned());
    }
    let per = match units.iter().find(|(name, _)| *name == unit) {
        Some((_, size)) => *size,
        None => unit.parse().ok().filter(|per| *per > 0).ok_or_else(|| {
            let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            format!(
                "prices of {sku} are not told per `{unit}`; {} are possible, or a number of raw units",
                names.join(", ")
            )
        })?,
    };
    Ok(Price { pico, per })
}

impl PriceBook {
    /// The prices that Weir comes with: what a machine costs, roughly, in EUR.
    #[expect(clippy::expect_used, reason = "the file is part of the program, and a test reads it")]
    pub fn built_in() -> Self {
        let file = read(include_str!("../../prices/0001.toml")).expect("the built-in prices are valid");
        Self {
            version: 1,
            currency: file.currency,
            valid_from_ms: file.valid_from_ms.unwrap_or(0),
            prices: file.prices,
        }
    }
}

/// The file of a version. Reads back as the same prices.
pub fn write(book: &PriceBook) -> String {
    let width = book.prices.keys().map(|sku| sku.as_str().len()).max().unwrap_or(0);
    let mut text = format!(
        "# Version {}\ncurrency = \"{}\"\nvalid-from = {}\n\n[prices]\n",
        book.version,
        book.currency,
        jiff::Timestamp::from_millisecond(book.valid_from_ms).unwrap_or_default()
    );
    for (sku, price) in &book.prices {
        text.push_str(&format!("{:width$} = \"{}\"\n", sku.as_str(), price_text(sku, *price)));
    }
    text
}

/// Reads a file. All mistakes are told together.
///
/// # Errors
/// Every mistake, with its line.
pub fn read(text: &str) -> Result<PriceFile, FileProblems> {
    let mut reading = Reading {
        text,
        problems: Vec::new(),
    };
    let file = reading.file();
    let mut problems = reading.problems;
    match file {
        Some(file) if problems.is_empty() => Ok(file),
        _ => {
            problems.sort_by_key(|problem| problem.line.unwrap_or(usize::MAX));
            Err(FileProblems {
                file: "the price file".to_owned(),
                problems,
            })
        }
    }
}

struct Reading<'a> {
    text: &'a str,
    problems: Vec<FileProblem>,
}

impl<'a> Reading<'a> {
    fn problem(&mut self, offset: Option<usize>, message: impl Into<String>) {
        let before = |offset: usize| &self.text.as_bytes()[..offset.min(self.text.len())];
        let line = offset.map(|offset| 1 + before(offset).iter().filter(|&&byte| byte == b'\n').count());
        self.problems.push(FileProblem {
            line,
            message: message.into(),
        });
    }

    fn file(&mut self) -> Option<PriceFile> {
        if self.text.len() > FILE_BYTES {
            let words = format!("it has {} bytes; at most {FILE_BYTES} are read", self.text.len());
            self.problem(None, words);
            return None;
        }
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            let offset = error.span().map(|span| span.start);
            self.problem(offset, error.message());
        }
        if !self.problems.is_empty() {
            return None;
        }
        let (mut currency, mut valid_from_ms, mut prices) = (None, None, None);
        for (key, value) in table.get_ref() {
            match key.get_ref().as_ref() {
                "currency" => currency = Some(self.currency(value)),
                "valid-from" => valid_from_ms = self.instant(value),
                "prices" => prices = Some(self.prices(value)),
                other => {
                    let words = format!("`{other}` is not known here; `currency`, `valid-from` and `[prices]` are");
                    self.problem(Some(key.span().start), words);
                }
            }
        }
        if currency.is_none() {
            self.problem(None, "it does not say the currency: `currency = \"EUR\"`");
        }
        if prices.is_none() {
            self.problem(None, "it has no section `[prices]`");
        }
        Some(PriceFile {
            currency: currency?,
            valid_from_ms,
            prices: prices?,
        })
    }

    fn currency(&mut self, value: &Spanned<DeValue<'a>>) -> String {
        let text = value.get_ref().as_str().unwrap_or_default();
        if text.len() != 3 || !text.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let words = "the currency has three capital letters, in quotes: \"EUR\"";
            self.problem(Some(value.span().start), words);
        }
        text.to_owned()
    }

    fn instant(&mut self, value: &Spanned<DeValue<'a>>) -> Option<UnixMillis> {
        let text = match value.get_ref() {
            DeValue::Datetime(instant) => instant.to_string(),
            DeValue::String(text) => text.to_string(),
            _ => String::new(),
        };
        match text.parse::<jiff::Timestamp>() {
            Ok(instant) => Some(instant.as_millisecond()),
            Err(_) => {
                let words = "it is not an instant with an offset, like 2027-01-01T00:00:00Z";
                self.problem(Some(value.span().start), words);
                None
            }
        }
    }

    fn prices(&mut self, value: &Spanned<DeValue<'a>>) -> BTreeMap<Sku, Price> {
        let mut prices = BTreeMap::new();
        let Some(table) = value.get_ref().as_table() else {
            self.problem(Some(value.span().start), "`prices` is a section: `[prices]`");
            return prices;
        };
        if table.len() > SKUS {
            self.problem(Some(value.span().start), format!("there are more than {SKUS} prices"));
            return prices;
        }
        for (key, price) in table {
            let name = key.get_ref().as_ref();
            match sku_of(name) {
                Ok(sku) => {
                    let parsed = match price.get_ref().as_str() {
                        Some(text) => parse_price(&sku, text),
                        None => Err("a price is written in quotes, like \"0.10 per million\"".to_owned()),
                    };
                    match parsed {
                        Ok(price) => drop(prices.insert(sku, price)),
                        Err(words) => {
                            self.problem(Some(price.span().start), words);
                            // Not missing, only wrong.
                            prices.insert(sku, Price { pico: 0, per: 1 });
                        }
                    }
                }
                Err(words) => self.problem(Some(key.span().start), words),
            }
        }
        for (sku, _) in KNOWN {
            if !prices.contains_key(&sku) {
                let words = format!("`{sku}` has no price; if it is to cost nothing, write `{sku} = \"free\"`");
                self.problem(None, words);
            }
        }
        prices
    }
}

/// A kind of use by its name. One that is not counted yet may have a price; one that is nearly
/// the name of another is taken for a slip of the pen.
fn sku_of(name: &str) -> Result<Sku, String> {
    let shown: String = name.chars().take(40).collect();
    let sku = Sku::new(name)
        .ok_or_else(|| format!("`{shown}` is not a kind of use: 1 to 40 small letters, digits and dashes"))?;
    if name == Sku::LOST.as_str() {
        return Err("`lost` is never charged, so it has no price".to_owned());
    }
    let near = |known: &Sku| strsim::damerau_levenshtein(known.as_str(), name) <= 2;
    match KNOWN.iter().map(|(known, _)| known).find(|known| near(known)) {
        Some(known) if known.as_str() != name => Err(format!("`{name}` is not counted; did you mean `{known}`?")),
        _ => Ok(sku),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "\
# Machine's cost.
currency = \"EUR\"

[prices]
requests = \"0.10 per million\"
cpu = \"0.005 per core-hour\"
memory = \"1.00 per GiB-month\"
memory-frozen = \"0.10 per GiB-month\"
egress = \"0.01 per GB\"
build-cpu = \"0.005 per core-hour\"
build-memory = \"free\"
storage = \"7 pico per 12345\"
";

    #[test]
    fn the_built_in_prices_read_and_follow_nothing() {
        let book = PriceBook::built_in();
        assert_eq!((book.version, book.prices.len()), (1, KNOWN.len()));
        book.follows(None).unwrap();
    }

    #[test]
    fn prices_read_exactly() {
        let file = read(FILE).unwrap();
        assert_eq!((file.currency.as_str(), file.valid_from_ms), ("EUR", None));
        let price = |sku: &Sku| file.prices[sku];
        let pico = 1_000_000_000_000;
        assert_eq!(
            price(&Sku::REQUESTS),
            Price {
                pico: pico / 10,
                per: 1_000_000
            }
        );
        assert_eq!(
            price(&Sku::CPU),
            Price {
                pico: pico / 200,
                per: 3_600_000_000
            }
        );
        let gib_month = (1 << 30) * 730 * 3_600_000;
        assert_eq!(price(&Sku::MEMORY), Price { pico, per: gib_month });
        assert_eq!(price(&Sku::BUILD_MEMORY).pico, 0);
        assert_eq!(price(&Sku::STORAGE), Price { pico: 7, per: 12_345 });
    }

    #[test]
    fn what_is_written_reads_back_the_same() {
        let file = read(FILE).unwrap();
        let book = PriceBook {
            version: 3,
            currency: file.currency.clone(),
            valid_from_ms: 1_800_000_000_123,
            prices: file.prices.clone(),
        };
        let again = read(&write(&book)).unwrap();
        assert_eq!(again.valid_from_ms, Some(1_800_000_000_123));
        assert_eq!((again.prices, again.currency), (file.prices, file.currency));
    }

    #[test]
    fn the_file_in_the_reference_is_right() {
        let page = include_str!("../../../../docs/reference/prices.md");
        let (_, rest) = page.split_once("```toml\n").unwrap();
        let file = read(rest.split_once("```").unwrap().0).unwrap();
        assert_eq!((file.prices.len(), file.currency.as_str()), (KNOWN.len(), "EUR"));
        assert_eq!(file.valid_from_ms, Some(1_798_761_600_000));
    }

    #[test]
    fn prices_are_told_in_the_first_unit_in_which_they_are_exact() {
        let text = |pico, per| price_text(&Sku::REQUESTS, Price { pico, per });
        assert_eq!(text(100_000, 1), "0.10 per million");
        assert_eq!(text(1_000_000, 3), "1000000 pico per 3");
        assert_eq!(text(i64::MAX, 1), "9223372036854775807 pico per 1");
        assert_eq!(text(0, 3), "free");
        let price = |pico, per| Price { pico, per };
        assert!(is_same(price(100_000, 1), price(100_000_000_000, 1_000_000)));
        assert!(!is_same(price(100_000, 1), price(100_001, 1)));
    }

    fn problems(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = FILE
            .replace("0.10 per million", "0,10 per million")
            .replace("0.005 per core-hour\"\nmemory", "0.005 per month\"\nmemory")
            .replace("0.01 per GB\"", "-0.01 per GB\"")
            .replace("build-memory", "lost");
        let words = problems(&text);
        for part in [
            "the price file has 5 problems",
            "line 5: `0,10` is not an amount of money",
            "line 6: prices of cpu are not told per `month`; core-hour, core-second are possible",
            "line 9: a price cannot be below zero",
            "line 11: `lost` is never charged",
            "`build-memory` has no price",
        ] {
            assert!(words.contains(part), "{part:?} is missing:\n{words}");
        }
    }

    #[test]
    fn slips_of_the_pen_are_not_new_kinds_of_use() {
        let words = problems(&FILE.replace("requests", "request"));
        assert!(
            words.contains("line 5: `request` is not counted; did you mean `requests`?"),
            "{words}"
        );
        let file = read(&format!("{FILE}gpu-time = \"1.00 per one\"\n")).unwrap();
        assert!(file.prices.contains_key(&Sku::new("gpu-time").unwrap()));
        assert!(problems(&format!("{FILE}GPU = \"free\"\n")).contains("line 13"));
    }

    #[test]
    fn what_is_no_price_file_says_so() {
        assert!(problems("prices = 1").contains("line 1: `prices` is a section"));
        assert!(problems("[prices]\n[prices]\n").contains("line 2"));
        assert!(problems("").contains("no section"));
        assert!(problems("color = 1\n").contains("line 1: `color` is not known here"));
        assert!(problems(&FILE.replace("\"EUR\"", "\"euro\"")).contains("line 2: the currency has three"));
        assert!(problems(&format!("valid-from = 2027-01-01\n{FILE}")).contains("line 1: it is not an instant"));
        assert!(problems(&"#".repeat(70_000)).contains("at most"));
        assert!(problems(&FILE.replace("0.10 per million", "0.10 per 0")).contains("line 5"));
        assert!(problems(&FILE.replace("\"0.10 per million\"", "0.10")).contains("in quotes"));
        let many = |text: &str| problems(&FILE.replace("0.10 per million", text));
        assert!(many("0.0000000001 per million").contains("at most nine digits"));
        assert!(
            many("9999999999 per one").contains("more than any") || many("9999999999 per one").contains("too large")
        );
    }
}
