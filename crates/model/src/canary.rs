//! A canary: a new release that gets a part of the requests, beside the one that serves, until it
//! is promoted or given up.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest name or value of a header, in bytes.
const HEADER_BYTES: usize = 128;

/// What part of the requests a canary gets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Of all visitors.
    pub share: Share,
    /// Requests with this header get it whatever the share is.
    #[serde(default)]
    pub header: Option<CanaryHeader>,
    /// It is to become the one that serves: what it lacks is started, then all requests get it.
    #[serde(default)]
    pub promoted: bool,
}

impl Canary {
    /// What it gets, for people: `5 % of the requests, and those with X-Canary: yes`.
    pub fn words(&self) -> String {
        match &self.header {
            None => format!("{} of the requests", self.share),
            Some(header) if self.share == Share::default() => format!("requests with `{header}`"),
            Some(header) => format!("{} of the requests, and those with `{header}`", self.share),
        }
    }

    /// Whether nobody would get it.
    pub fn is_nothing(&self) -> bool {
        self.share == Share::default() && self.header.is_none()
    }
}

/// A part of all visitors, in hundredths of a percent: 0 to 10,000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

impl Share {
    /// All of them, in hundredths of a percent.
    pub const WHOLE: u16 = 10_000;

    /// In hundredths of a percent.
    pub fn hundredths(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Share {
    type Error = String;
    fn try_from(hundredths: u16) -> Result<Self, String> {
        match hundredths {
            0..=Self::WHOLE => Ok(Self(hundredths)),
            _ => Err(format!("{hundredths} hundredths of a percent are more than all")),
        }
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

impl FromStr for Share {
    type Err = String;

    /// `5%`, `5` or `0.5 %`.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            let shown: String = text.chars().take(20).collect();
            format!("`{shown}` is no share of the requests; write a percentage from 0.01% to 100%, like 5%")
        };
        let number = text.trim().trim_end_matches('%').trim_end();
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(part, 2) {
            return Err(wrong());
        }
        let whole: u16 = whole.parse().map_err(|_| wrong())?;
        let part: u16 = format!("{part:0<2}").parse().map_err(|_| wrong())?;
        Self::try_from(whole * 100 + part).map_err(|_| wrong())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 100, self.0 % 100);
        match part {
            0 => write!(f, "{whole} %"),
            _ if part % 10 == 0 => write!(f, "{whole}.{} %", part / 10),
            _ => write!(f, "{whole}.{part:02} %"),
        }
    }
}

/// A header that leads to the canary: name in lower case, and value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CanaryHeader {
    name: String,
    value: String,
}

impl CanaryHeader {
    /// In lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Compared as it is.
    pub fn value(&self) -> &str {
        &self.value
    }
}

impl FromStr for CanaryHeader {
    type Err = String;

    /// `X-Canary: yes`.
    fn from_str(text: &str) -> Result<Self, String> {
        let is_token = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let is_value = |value: &str| value.bytes().all(|byte| (0x21..0x7f).contains(&byte) || byte == b' ');
        let fits = |text: &str| (1..=HEADER_BYTES).contains(&text.len());
        let parts = text.split_once(':').map(|(name, value)| (name.trim(), value.trim()));
        match parts {
            Some((name, value)) if fits(name) && fits(value) && is_token(name) && is_value(value) => Ok(Self {
                name: name.to_ascii_lowercase(),
                value: value.to_owned(),
            }),
            _ => {
                let shown: String = text.chars().take(40).collect();
                Err(format!("`{shown}` is no header; write it like `X-Canary: yes`"))
            }
        }
    }
}

impl TryFrom<String> for CanaryHeader {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<CanaryHeader> for String {
    fn from(header: CanaryHeader) -> Self {
        header.to_string()
    }
}

impl fmt::Display for CanaryHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percentages() {
        let read = |text: &str| text.parse::<Share>().map(Share::hundredths);
        assert_eq!(read("5%"), Ok(500));
        assert_eq!(read(" 25 % "), Ok(2_500));
        assert_eq!(read("0.5"), Ok(50));
        assert_eq!(read("0.05%"), Ok(5));
        assert_eq!(read("100%"), Ok(10_000));
        for wrong in ["", "%", "-1", "100.01", "101%", "5.123", "abc", "5,5", "9999999"] {
            assert!(read(wrong).unwrap_err().contains("like 5%"), "{wrong}");
        }
        for text in ["5 %", "0.5 %", "0.05 %", "100 %"] {
            assert_eq!(text.parse::<Share>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn headers_have_a_name_and_a_value() {
        let header: CanaryHeader = "X-Canary: Yes".parse().unwrap();
        assert_eq!((header.name(), header.value()), ("x-canary", "Yes"));
        for wrong in [
            "",
            "X-Canary",
            ": yes",
            "X-Canary:",
            "X Canary: yes",
            "X-Canary: a\nb: c",
        ] {
            assert!(wrong.parse::<CanaryHeader>().is_err(), "{wrong}");
        }
        let kept = serde_json::to_string(&header).unwrap();
        assert_eq!(serde_json::from_str::<CanaryHeader>(&kept).unwrap(), header);
    }
}
