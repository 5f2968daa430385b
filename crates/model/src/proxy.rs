//! Whom a proxy speaks for: what it says in `X-Forwarded-For` or `Forwarded` (RFC 7239).

use std::net::IpAddr;

/// More hops than any chain of proxies has; what stands before them is not looked at.
const MOST_HOPS: usize = 32;

/// In which headers trusted proxies say for whom they speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProxyHeader {
    /// In either. Requests that have both, and in which the two name different clients, are
    /// refused: one of the two could be the client's own words.
    #[default]
    Either,
    /// In `X-Forwarded-For` and `X-Forwarded-Proto`; `Forwarded` is not looked at.
    XForwardedFor,
    /// In `Forwarded` (RFC 7239); the others are not looked at.
    Forwarded,
}

/// The headers of a request name two different clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("X-Forwarded-For and Forwarded name different clients")]
pub struct TwoClients;

/// The lines of the headers in the order in which they came; each may hold several hops.
#[derive(Debug, Clone, Default)]
pub struct Told<'a> {
    /// Those of `X-Forwarded-For`.
    pub x_forwarded_for: Vec<&'a str>,
    /// Those of `Forwarded`.
    pub forwarded: Vec<&'a str>,
}

/// What stands in place of a line that is no text, so that nobody is looked for behind it.
pub const UNKNOWN: &str = "for=unknown";

/// The client of which a proxy that is believed speaks: the rightmost address that is none of the
/// proxies', because whoever is left of it could have written anything. It is the peer where nothing
/// is told.
///
/// # Errors
/// Nobody has said which header the proxy writes, and the two that are there do not agree.
pub fn client(
    told: &Told<'_>,
    by: ProxyHeader,
    is_proxy: impl Fn(IpAddr) -> bool,
    peer: IpAddr,
) -> Result<IpAddr, TwoClients> {
    let usual = || rightmost(&told.x_forwarded_for, |hop| address(hop.trim()), &is_proxy, peer);
    let standard = || {
        let named = |hop: &str| address(parameter(hop, "for")?);
        rightmost(&told.forwarded, named, &is_proxy, peer)
    };
    match (by, told.x_forwarded_for.is_empty(), told.forwarded.is_empty()) {
        (ProxyHeader::XForwardedFor, ..) | (ProxyHeader::Either, _, true) => Ok(usual()),
        (ProxyHeader::Forwarded, ..) | (ProxyHeader::Either, true, false) => Ok(standard()),
        (ProxyHeader::Either, false, false) => {
            let client = usual();
            if client == standard() {
                Ok(client)
            } else {
                Err(TwoClients)
            }
        }
    }
}

fn rightmost(
    lines: &[&str],
    named: impl Fn(&str) -> Option<IpAddr>,
    is_proxy: impl Fn(IpAddr) -> bool,
    peer: IpAddr,
) -> IpAddr {
    let hops = lines.iter().rev().flat_map(|line| line.rsplit(','));
    let mut client = peer;
    for hop in hops.take(MOST_HOPS) {
        // What is no address (`unknown`, a pseudonym) hides whoever is behind it.
        let Some(hop) = named(hop) else { break };
        client = hop;
        if !is_proxy(hop) {
            break;
        }
    }
    client
}

/// A parameter of one hop in `Forwarded`.
pub fn parameter<'a>(hop: &'a str, wanted: &str) -> Option<&'a str> {
    hop.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        name.trim().eq_ignore_ascii_case(wanted).then(|| plain.unwrap_or(value))
    })
}

/// An address as proxies write it: plain, in brackets, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    let bare = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => text.split_once(':')?.0,
    };
    bare.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_the_rightmost_that_is_no_proxy() {
        let is_proxy = |address: IpAddr| address.to_string().starts_with("10.");
        let peer = "10.0.0.1".parse().unwrap();
        let of = |by, usual: &[&'static str], standard: &[&'static str]| {
            let told = Told {
                x_forwarded_for: usual.to_vec(),
                forwarded: standard.to_vec(),
            };
            client(&told, by, is_proxy, peer).map(|address| address.to_string())
        };
        let either = ProxyHeader::Either;
        assert_eq!(of(either, &[], &[]).unwrap(), "10.0.0.1");
        assert_eq!(of(either, &["6.6.6.6, 192.0.2.7, 10.1.2.3"], &[]).unwrap(), "192.0.2.7");
        assert_eq!(of(either, &["6.6.6.6", "192.0.2.7"], &[]).unwrap(), "192.0.2.7");
        assert_eq!(of(either, &["6.6.6.6, unknown"], &[]).unwrap(), "10.0.0.1");
        assert_eq!(
            of(either, &[], &["for=6.6.6.6, for=\"[2001:db8::7]:47\""]).unwrap(),
            "2001:db8::7"
        );
        assert_eq!(of(either, &["6.6.6.6"], &["for=192.0.2.7"]), Err(TwoClients));
        assert_eq!(
            of(ProxyHeader::Forwarded, &["6.6.6.6"], &["for=192.0.2.7"]).unwrap(),
            "192.0.2.7"
        );
        assert_eq!(
            of(ProxyHeader::XForwardedFor, &["6.6.6.6"], &["for=192.0.2.7"]).unwrap(),
            "6.6.6.6"
        );
        let many = vec!["10.9.9.9"; 40];
        assert_eq!(of(either, &many, &[]).unwrap(), "10.9.9.9");
    }
}
