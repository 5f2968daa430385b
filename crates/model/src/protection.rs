//! What stands before an app: how much is let through to it, for whom, and whether it is closed for
//! maintenance.

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::{UnixMillis, VariableName};

/// What an app, or a route of it, says in `weir.toml` about what is let through.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProtectionSpec {
    /// Largest body of a request, in bytes; none sets no bound.
    pub max_body_bytes: Option<u64>,
    /// How many requests pass.
    pub rate: Option<Rate>,
    /// The secret with lines of `user:password` or `user:hash`; without it nobody is asked for one.
    pub password: Option<VariableName>,
    /// Only these pass, if there are any.
    pub allow: Vec<Network>,
    /// These do not pass.
    pub deny: Vec<Network>,
    /// Whether an address that is allowed needs a password as well.
    pub satisfy: Satisfy,
}

impl ProtectionSpec {
    /// Whether it asks who somebody is.
    pub fn asks(&self) -> bool {
        self.password.is_some() || !self.allow.is_empty() || !self.deny.is_empty()
    }
}

/// Which of address and password is needed, where a rule has both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Satisfy {
    /// Both.
    #[default]
    All,
    /// One of them.
    Any,
}

/// How many requests pass: a bucket that holds `burst` and is filled again evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// So many requests, from 1,
    pub requests: u32,
    /// in so many seconds, from 1.
    pub per_s: u32,
    /// So many at once, from 1.
    pub burst: u32,
    /// Whose they are.
    pub per: RatePer,
}

/// Whose requests are counted together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RatePer {
    /// Those of each client address (of each network of 64 bits with IPv6).
    #[default]
    Address,
    /// Everybody's.
    All,
}

/// An address, or a network like `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network(pub IpNet);

impl Network {
    /// Whether an address is in it; one of IPv4 also where it is written as one of IPv6.
    pub fn contains(&self, address: std::net::IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let network = match text.parse::<IpNet>() {
            Ok(network) => network,
            Err(_) => IpNet::from(text.parse::<std::net::IpAddr>().map_err(|_| {
                let shown: String = text.chars().take(60).collect();
                format!("`{shown}` is neither an address like 203.0.113.9 nor a network like 10.0.0.0/8; names of hosts cannot be used")
            })?),
        };
        if network.trunc() != network {
            return Err(format!(
                "`{network}` is an address inside of a network; the network is {}",
                network.trunc()
            ));
        }
        Ok(Self(network))
    }
}

impl TryFrom<String> for Network {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.prefix_len() == self.0.max_prefix_len() {
            self.0.addr().fmt(f)
        } else {
            self.0.fmt(f)
        }
    }
}

/// What stands before one host, as the nodes know it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Protection {
    /// Every one that covers a request applies; where they differ about the body, the one with the
    /// longest path.
    pub layers: Vec<Layer>,
    /// Closed, except for those who are named in it.
    pub maintenance: Option<Maintenance>,
}

/// What is let through under one path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Layer {
    /// What it is the rule of, for its counts: `app/path`. Together with the environment it names
    /// its buckets.
    pub name: String,
    /// Begins with `/`; matches whole segments.
    pub path_prefix: String,
    /// Methods that it is for, in capitals; empty: all.
    pub methods: Vec<String>,
    /// Largest body of a request, in bytes.
    pub max_body_bytes: Option<u64>,
    /// How many requests pass.
    pub rate: Option<Rate>,
    /// Who passes.
    pub access: Option<AccessRule>,
}

/// Who passes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AccessRule {
    /// Who has one of these passwords; none where nobody is asked for one. An empty list lets
    /// nobody pass by password.
    pub users: Option<Vec<User>>,
    /// Only these pass, if there are any.
    pub allow: Vec<Network>,
    /// These do not pass.
    pub deny: Vec<Network>,
    /// Whether an address that is allowed needs a password as well.
    pub satisfy: Satisfy,
}

/// Somebody with a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Without a colon.
    pub name: String,
    /// The password's hash: argon2id or bcrypt, in their usual form.
    pub hash: String,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "User({}, hidden)", self.name)
    }
}

/// An environment that is closed for a while.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Maintenance {
    /// Since when.
    pub since_ms: UnixMillis,
    /// Until when, as far as its owner knows; it does not end by itself.
    pub until_ms: Option<UnixMillis>,
    /// What visitors are told.
    pub message: Option<String>,
    /// Who gets through all the same.
    pub allow: Vec<Network>,
    /// The owner's own page, in HTML; at most [`PAGE_BYTES`].
    pub page: Option<String>,
    /// Who knows the secret with this hash (SHA-256, hexadecimal) gets through, by [`BYPASS_PATH`].
    pub bypass: Option<String>,
}

/// Followed by the secret, the path of the link that lets a browser through a maintenance.
pub const BYPASS_PATH: &str = "/.weir/bypass/";
/// Largest page of an owner, in bytes.
pub const PAGE_BYTES: usize = 64 << 10;
/// Longest message to visitors, in bytes.
pub const MESSAGE_BYTES: usize = 1000;
/// Most addresses and networks of one list.
pub const MOST_NETWORKS: usize = 200;
/// Most users of one rule.
pub const MOST_USERS: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_read_as_people_write_them() {
        for (text, shown) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("203.0.113.9", "203.0.113.9"),
            ("203.0.113.9/32", "203.0.113.9"),
            ("2001:db8::/32", "2001:db8::/32"),
            ("::1", "::1"),
            ("0.0.0.0/0", "0.0.0.0/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), shown);
            let json = serde_json::to_string(&network).unwrap();
            assert_eq!(serde_json::from_str::<Network>(&json).unwrap(), network);
        }
    }

    #[test]
    fn what_is_no_network_is_told() {
        let told = |text: &str| text.parse::<Network>().unwrap_err();
        assert!(told("office.example").contains("names of hosts cannot be used"));
        assert!(told("10.1.2.3/8").contains("the network is 10.0.0.0/8"));
        assert!(told("").contains("neither an address"));
        assert!(told("10.0.0.0/33").contains("neither an address"));
    }

    #[test]
    fn hashes_are_not_shown() {
        let user = User {
            name: "anna".to_owned(),
            hash: "$2y$secret".to_owned(),
        };
        assert_eq!(format!("{user:?}"), "User(anna, hidden)");
    }
}
