//! What authorities and browsers think of names.

use std::net::{IpAddr, Ipv4Addr};

/// Ends of names that no public authority can know of.
const NOT_PUBLIC: [&str; 10] = [
    "localhost",
    "local",
    "internal",
    "intranet",
    "lan",
    "home.arpa",
    "test",
    "example",
    "invalid",
    "onion",
];

/// Whether any authority may be asked about a name: not about those of the machine itself.
pub(super) fn is_askable(name: &str, private: bool) -> bool {
    let below = |end: &str| name == end || name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'));
    let address = name.parse::<IpAddr>().is_ok() || name.parse::<Ipv4Addr>().is_ok();
    if address || below("localhost") || !name.contains('.') {
        return false;
    }
    private || !NOT_PUBLIC.iter().any(|end| below(end))
}

/// The part of a name that its owner has registered: `example.co.uk` of `www.example.co.uk`.
pub(super) fn registered(name: &str) -> String {
    let name = name.strip_prefix("*.").unwrap_or(name);
    psl::domain_str(name).unwrap_or(name).to_owned()
}

/// Whether a name in a certificate holds for a host, or for the same wildcard.
pub(super) fn covers(pattern: &str, host: &str) -> bool {
    pattern == host || wildcard_of(host).is_some_and(|wildcard| wildcard == pattern)
}

/// `*.example.org` for `www.example.org`; nothing for what is a wildcard itself.
pub(super) fn wildcard_of(host: &str) -> Option<String> {
    let (label, rest) = host.split_once('.')?;
    (label != "*").then(|| format!("*.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_machine_and_of_no_public_zone_are_not_asked_about() {
        for name in [
            "shop.localhost",
            "localhost",
            "intranet",
            "10.0.0.1",
            "a.local",
            "x.home.arpa",
        ] {
            assert!(!is_askable(name, false), "{name}");
        }
        assert!(is_askable("www.example.org", false));
        assert!(is_askable("mylocal.org", false) && is_askable("notlocalhost.org", false));
        assert!(is_askable("app.internal", true));
        assert!(!is_askable("shop.localhost", true));
    }

    #[test]
    fn the_registered_part_is_found() {
        assert_eq!(registered("a.b.example.co.uk"), "example.co.uk");
        assert_eq!(registered("*.example.org"), "example.org");
        assert_eq!(registered("example.org"), "example.org");
        assert_eq!(registered("me.github.io"), "me.github.io");
    }

    #[test]
    fn a_wildcard_holds_for_one_label() {
        assert!(covers("*.example.org", "www.example.org"));
        assert!(covers("*.example.org", "*.example.org"));
        for host in ["example.org", "a.b.example.org", "*.b.example.org"] {
            assert!(!covers("*.example.org", host), "{host}");
        }
    }
}
