//! Typed identifiers: sortable by time, readable with a prefix (`env_01J…`).
//!
//! An identifier of one noun is not an identifier of another; the compiler keeps them apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

/// Why a text is not an identifier of the wanted noun.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an identifier of the form {prefix}_…")]
pub struct InvalidId {
    text: String,
    prefix: &'static str,
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident = $prefix:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// The prefix of the textual form, without the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new identifier from the instant of creation (milliseconds since the Unix
            /// epoch) and 80 bits of randomness, both brought by the caller.
            pub fn from_parts(now_ms: crate::UnixMillis, random: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(now_ms).unwrap_or(0), random))
            }

            /// The instant of creation that it was made from.
            pub fn created_ms(&self) -> crate::UnixMillis {
                i64::try_from(self.0.timestamp_ms()).unwrap_or(crate::UnixMillis::MAX)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.to_string().to_ascii_lowercase())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(concat!($prefix, "_"))
                    .and_then(|rest| Ulid::from_string(&rest.to_ascii_uppercase()).ok())
                    .map(Self)
                    .ok_or_else(|| InvalidId { text: text.to_owned(), prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = String::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

typed_ids! {
    /// One product of an account.
    ProjectId = "prj";
    /// A running copy of a project.
    EnvironmentId = "env";
    /// An immutable release of an environment.
    ReleaseId = "rel";
    /// The act of making a release live.
    DeploymentId = "dep";
    /// One running copy of a process.
    InstanceId = "ins";
    /// An operation that takes time.
    TaskId = "tsk";
    /// An access token of the API.
    TokenId = "tok";
    /// A host name that someone owns.
    DomainId = "dom";
    /// A certificate of host names.
    CertificateId = "crt";
    /// Who pays.
    AccountId = "acc";
    /// A document of what was charged.
    InvoiceId = "inv";
    /// A movement of money in the ledger.
    TransferId = "trf";
    /// Who is told about money.
    ContactId = "con";
    /// Something that a contact is told.
    NoticeId = "ntc";
    /// A person.
    UserId = "usr";
    /// A browser in which somebody is signed in.
    SignInId = "sin";
    /// A role of somebody, somewhere.
    MembershipId = "mem";
    /// A link by which somebody gets a role.
    InvitationId = "ivt";
    /// A program that acts by itself.
    ServiceAccountId = "sva";
    /// What somebody asks those who run Weir.
    HelpRequestId = "hlp";
    /// Something that is said to it.
    HelpMessageId = "hlm";
    /// A mail about that.
    HelpMailId = "hml";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back_and_sorts_by_time() {
        let early = ReleaseId::from_parts(1_000, 7);
        let late = ReleaseId::from_parts(2_000, 1);
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.to_string().parse::<ReleaseId>(), Ok(early));
    }

    #[test]
    fn an_identifier_of_another_noun_is_refused() {
        let release = ReleaseId::from_parts(1, 1).to_string();
        assert!(release.parse::<TaskId>().is_err());
    }
}
