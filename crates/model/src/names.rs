//! Names that people choose. Each is checked once, at the border, and carries its proof in
//! its type afterwards: inside Weir there is no unchecked name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Why a name is refused, in words for the person who typed it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be the name of {noun}: {reason}")]
pub struct InvalidName {
    /// What was given, shortened to 80 characters.
    pub name: String,
    /// The noun with its article, for example `a project`.
    pub noun: &'static str,
    /// The rule that it breaks.
    pub reason: &'static str,
}

fn check_label(name: &str, longest: usize) -> Result<(), &'static str> {
    if name.is_empty() {
        return Err("it is empty");
    }
    if name.len() > longest {
        return Err("it is too long (30 characters at most)");
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    {
        return Err("only a-z, 0-9 and - are allowed");
    }
    if !name.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err("it must begin with a letter");
    }
    if name.ends_with('-') || name.contains("--") {
        return Err("it must not end with - or contain --");
    }
    Ok(())
}

fn check_class(name: &str) -> Result<(), &'static str> {
    if name == "default" {
        return Err("that is what requests without a class have");
    }
    check_label(name, 30)
}

fn check_variable(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.len() > 128 {
        return Err("it must have 1 to 128 characters");
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') || name.as_bytes()[0].is_ascii_digit() {
        return Err("only letters, digits and _ are allowed, and no digit at the beginning");
    }
    if name == "PORT" || name.starts_with("WEIR_") {
        return Err("PORT and names that begin with WEIR_ are set by Weir itself");
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident, $noun:literal, $check:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Checks a name. Fails with the rule that it breaks.
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> Result<(), &'static str> = $check;
                check(name).map_err(|reason| InvalidName {
                    name: name.chars().take(80).collect(),
                    noun: $noun,
                    reason,
                })?;
                Ok(Self(name.to_owned()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::new(&String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    )*};
}

names! {
    /// A project; becomes part of host names. 1 to 30 of `a-z 0-9 -`.
    ProjectName, "a project", |name| check_label(name, 30);
    /// An environment of a project; becomes part of host names. 1 to 30 of `a-z 0-9 -`.
    EnvironmentName, "an environment", |name| check_label(name, 30);
    /// An app of a project; becomes a host name on the private network.
    AppName, "an app", |name| check_label(name, 30);
    /// A kind of command of an app: `web` is routed, others are workers.
    ProcessName, "a process", |name| check_label(name, 30);
    /// A volume of an app.
    VolumeName, "a volume", |name| check_label(name, 30);
    /// A class of requests of an app. `default` is the one of all other requests.
    ClassName, "a class", check_class;
    /// A service of an app that speaks TCP and not HTTP.
    TcpServiceName, "a TCP service", |name| check_label(name, 30);
    /// A variable or secret, as the app sees it.
    VariableName, "a variable", check_variable;
}

impl EnvironmentName {
    /// The environment that every project has from the beginning.
    pub fn production() -> Self {
        Self("production".to_owned())
    }

    /// Whether this is the environment that owns the project's plain host name.
    pub fn is_production(&self) -> bool {
        self.0 == "production"
    }
}

impl ProcessName {
    /// Under which its work counts that no request asked for: `web-background`.
    #[must_use]
    pub fn in_background(&self) -> Self {
        const SUFFIX: &str = "-background";
        let room = 30 - SUFFIX.len();
        let kept = self.0[..self.0.len().min(room)].trim_end_matches('-');
        Self(format!("{kept}{SUFFIX}"))
    }

    /// The process that is routed.
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    /// Whether this process is routed.
    pub fn is_web(&self) -> bool {
        self.0 == "web"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_in_the_background_has_a_valid_name() {
        assert_eq!(ProcessName::web().in_background().as_str(), "web-background");
        for long in ["a".repeat(30), format!("{}-b", "a".repeat(18))] {
            let name = ProcessName::new(&long).unwrap().in_background();
            assert_eq!(ProcessName::new(name.as_str()).as_ref(), Ok(&name));
        }
    }

    #[test]
    fn hostile_names_are_refused_with_the_rule() {
        for name in [
            "",
            "Shop",
            "../etc",
            "a b",
            "-a",
            "a-",
            "a--b",
            "1a",
            "é",
            &"a".repeat(31),
        ] {
            assert!(ProjectName::new(name).is_err(), "{name} was accepted");
        }
        assert!(ProjectName::new("shop-2").is_ok());
    }

    #[test]
    fn variables_of_the_platform_cannot_be_set() {
        assert!(VariableName::new("PORT").is_err());
        assert!(VariableName::new("WEIR_RELEASE").is_err());
        assert!(VariableName::new("DATABASE_URL").is_ok());
        assert!(VariableName::new("A=B").is_err());
    }
}
