//! Values with units, as people write them: `"512MiB"`, `"30s"`, `0.5`.

use std::borrow::Cow;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// An amount of memory, written like `"512MiB"`, `"1GiB"` or `"200MB"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    /// Bytes.
    pub bytes: u64,
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a size; write a number and a unit, like \"512MiB\" or \"1GiB\"",
                shorten(text)
            )
        };
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
            "b" => 1,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "kib" | "k" | "ki" => 1 << 10,
            "mib" | "m" | "mi" => 1 << 20,
            "gib" | "g" | "gi" => 1 << 30,
            _ => return Err(wrong()),
        };
        let bytes = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(factor))
            .ok_or_else(wrong)?;
        Ok(Self { bytes })
    }
}

/// A span of time, written like `"30s"`, `"5m"` or `"1h 30m"`; whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration {
    /// Seconds.
    pub seconds: u32,
}

impl FromStr for Duration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a duration; write a number and a unit, like \"30s\" or \"5m\"",
                shorten(text)
            )
        };
        if text.len() > 64 {
            return Err(wrong());
        }
        let duration = humantime::parse_duration(text.trim()).map_err(|_| wrong())?;
        if duration.subsec_nanos() != 0 {
            return Err(format!("`{}` is not in whole seconds", shorten(text)));
        }
        let seconds = u32::try_from(duration.as_secs()).map_err(|_| format!("`{}` is too long", shorten(text)))?;
        Ok(Self { seconds })
    }
}

/// A share of CPU in cores: `0.5` is half a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuShare {
    /// Thousandths of a core.
    pub milli: u32,
}

impl CpuShare {
    /// From a number of cores, rounded to thousandths. `None` outside of 0.05 to 1024.
    pub fn from_cores(cores: f64) -> Option<Self> {
        if !(0.05..=1024.0).contains(&cores) {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 50 and 1,024,000 by the check above"
        )]
        let milli = (cores * 1000.0).round() as u32;
        Some(Self { milli })
    }
}

/// How many requests in which time, written like `"5/s"`, `"100/m"` or `"1000/h"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestRate {
    /// So many, from 1,
    pub requests: u32,
    /// in so many seconds.
    pub per_s: u32,
}

impl FromStr for RequestRate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is not a rate; write a number and a unit of time, like \"5/s\", \"100/m\" or \"1000/h\"",
                shorten(text)
            )
        };
        let (requests, unit) = text.trim().split_once('/').ok_or_else(wrong)?;
        let per_s = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(wrong()),
        };
        let digits = requests.trim();
        let requests = digits
            .parse()
            .ok()
            .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
        match requests {
            Some(requests @ 1..=1_000_000) => Ok(Self { requests, per_s }),
            Some(_) => Err(format!("`{}` is not from 1 to 1000000 requests", shorten(text))),
            None => Err(wrong()),
        }
    }
}

/// The first 60 characters, for messages.
pub(super) fn shorten(text: &str) -> String {
    if text.chars().count() <= 60 {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(60).collect();
    short.push('…');
    short
}

macro_rules! text_value {
    ($name:ident, $format:literal, $pattern:literal, $description:literal) => {
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn inline_schema() -> bool {
                true
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format, "pattern": $pattern, "description": $description })
            }
        }
    };
}

text_value!(
    MemorySize,
    "weir-size",
    "^\\s*[0-9]+\\s*([kKmMgG]([iI]?[bB]?)|[bB])\\s*$",
    "A size such as \"512MiB\"."
);
text_value!(
    Duration,
    "weir-duration",
    "^[0-9a-z ]+$",
    "A duration such as \"30s\" or \"5m\"."
);

text_value!(
    RequestRate,
    "weir-rate",
    "^\\s*[0-9]+\\s*/\\s*[smh]\\s*$",
    "A rate such as \"5/s\", \"100/m\" or \"1000/h\"."
);

impl<'de> Deserialize<'de> for CpuShare {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let cores = f64::deserialize(deserializer)?;
        Self::from_cores(cores).ok_or_else(|| serde::de::Error::custom("a CPU share is a number of cores from 0.05 on"))
    }
}

impl JsonSchema for CpuShare {
    fn schema_name() -> Cow<'static, str> {
        "CpuShare".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0.05, "maximum": 64.0, "description": "A share of CPU in cores: 0.5 is half a core." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!("512MiB".parse(), Ok(MemorySize { bytes: 512 << 20 }));
        assert_eq!("1 GB".parse(), Ok(MemorySize { bytes: 1_000_000_000 }));
        for wrong in [
            "",
            "512",
            "-1MiB",
            "1.5GiB",
            "99999999999999999999GiB",
            "9999999999GiB9",
            "MiB",
        ] {
            assert!(wrong.parse::<MemorySize>().is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn rates_are_requests_in_a_time() {
        assert_eq!("5/s".parse(), Ok(RequestRate { requests: 5, per_s: 1 }));
        assert_eq!(
            " 100 / m".parse(),
            Ok(RequestRate {
                requests: 100,
                per_s: 60
            })
        );
        assert_eq!(
            "1000/h".parse(),
            Ok(RequestRate {
                requests: 1000,
                per_s: 3600
            })
        );
        for wrong in [
            "",
            "5",
            "5/",
            "/s",
            "0/s",
            "-1/s",
            "+1/s",
            "5/d",
            "1.5/s",
            "1000001/s",
            "99999999999/s",
        ] {
            assert!(wrong.parse::<RequestRate>().is_err(), "{wrong} was accepted");
        }
    }

    #[test]
    fn durations_are_whole_seconds() {
        assert_eq!("1h 30m".parse(), Ok(Duration { seconds: 5400 }));
        assert!("1500ms".parse::<Duration>().is_err());
        assert!("30".parse::<Duration>().is_err());
        assert!("999999999999h".parse::<Duration>().is_err());
    }
}
