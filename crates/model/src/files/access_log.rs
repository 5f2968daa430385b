//! `access_log` of `weir.toml`.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::access_log::AccessLogging;

const WANTED: &str = "`true`, `false` or \"with-query\"";

/// Whether requests are logged: `true`, `false` or `"with-query"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccessLogFile {
    /// As it is meant.
    pub logging: AccessLogging,
}

impl<'de> Deserialize<'de> for AccessLogFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Word)
    }
}

struct Word;

impl Visitor<'_> for Word {
    type Value = AccessLogFile;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(WANTED)
    }

    fn visit_bool<E: Error>(self, switched_on: bool) -> Result<AccessLogFile, E> {
        let logging = if switched_on {
            AccessLogging::On
        } else {
            AccessLogging::Off
        };
        Ok(AccessLogFile { logging })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<AccessLogFile, E> {
        match text.parse() {
            Ok(logging) => Ok(AccessLogFile { logging }),
            Err(_) => Err(E::custom(format!("an access log is {WANTED}"))),
        }
    }
}

impl JsonSchema for AccessLogFile {
    fn schema_name() -> Cow<'static, str> {
        "AccessLogFile".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "format": "weir-switch", "enum": [true, false, "off", "on", "with-query"] })
    }
}

#[cfg(test)]
mod tests {
    use crate::AppName;
    use crate::access_log::AccessLogging;
    use crate::files::{Detected, ProjectFile};

    fn logging(text: &str) -> Result<AccessLogging, String> {
        let file = ProjectFile::parse(text).map_err(|problems| format!("{problems:?}"))?;
        let name = AppName::new("shop").unwrap();
        let (name, app) = file.apps(&name).pop_first().unwrap();
        let spec = app
            .spec(name, &Detected::default())
            .map_err(|problems| problems.join("\n"))?;
        Ok(spec.access_log)
    }

    #[test]
    fn it_is_off_on_or_with_queries() {
        for (text, wanted) in [
            ("", AccessLogging::Off),
            ("access_log = false", AccessLogging::Off),
            ("access_log = true", AccessLogging::On),
            ("access_log = \"with-query\"", AccessLogging::WithQuery),
            ("[app.shop]\naccess_log = true", AccessLogging::On),
            ("access_log = true\n[app.shop]\nfolder = \"x\"", AccessLogging::On),
            ("access_log = true\n[app.shop]\naccess_log = false", AccessLogging::Off),
        ] {
            assert_eq!(logging(text), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn other_words_are_told_what_is_possible() {
        for text in ["access_log = \"sometimes\"", "access_log = 1"] {
            assert!(logging(text).unwrap_err().contains("with-query"), "{text}");
        }
    }
}
