//! From where a request comes: the address that counts, and whom its headers are believed.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// More hops than any chain of proxies has; what stands before them is not looked at.
const MOST_HOPS: usize = 32;

/// What counts as one client: an address, or with IPv6 the network of 64 bits that every
/// subscriber has whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ClientKey {
    V4(u32),
    V6(u64),
}

impl ClientKey {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6(network_bits(address)),
        }
    }
}

fn network_bits(address: Ipv6Addr) -> u64 {
    u64::try_from(address.to_bits() >> 64).unwrap_or_default()
}

/// Whether one of the networks has the address.
pub(crate) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// Who sent a request, and how it came, as far as that can be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) address: IpAddr,
    /// Whether it came by TLS, here or at the proxy that is believed.
    pub(crate) secure: bool,
}

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
pub(crate) struct TwoClients;

/// What a proxy that is believed says of whom it speaks for: the rightmost address that is none of
/// the proxies', because whoever is left of it could have written anything.
///
/// # Errors
/// Nobody has said which header the proxy writes, and the two that are there do not agree.
pub(crate) fn forwarded(
    headers: &HeaderMap,
    trusted: &[IpNet],
    by: ProxyHeader,
    peer: Visitor,
) -> Result<Visitor, TwoClients> {
    let usual = || rightmost(x_forwarded_for(headers), trusted, peer.address);
    let standard = || rightmost(forwarded_for(headers), trusted, peer.address);
    let is_https = |scheme: &str| scheme.eq_ignore_ascii_case("https");
    let (usual_scheme, standard_scheme) = (usual_scheme(headers), standard_scheme(headers));
    let there = (
        headers.contains_key(X_FORWARDED_FOR),
        headers.contains_key(header::FORWARDED),
    );
    let (address, scheme) = match (by, there) {
        (ProxyHeader::XForwardedFor, _) | (ProxyHeader::Either, (_, false)) => (usual(), usual_scheme.map(is_https)),
        (ProxyHeader::Forwarded, _) | (ProxyHeader::Either, (false, true)) => {
            (standard(), standard_scheme.map(is_https))
        }
        (ProxyHeader::Either, (true, true)) => {
            let address = usual();
            if address != standard() {
                return Err(TwoClients);
            }
            // A client that lies about it harms only itself: it is sent to TLS.
            let schemes = [usual_scheme, standard_scheme].into_iter().flatten();
            (address, schemes.map(is_https).reduce(|one, other| one && other))
        }
    };
    Ok(Visitor {
        address,
        secure: scheme.unwrap_or(peer.secure),
    })
}

/// The rightmost address of a chain that is none of the proxies'.
fn rightmost(chain: Vec<Option<IpAddr>>, trusted: &[IpNet], peer: IpAddr) -> IpAddr {
    let mut address = peer;
    for hop in chain.into_iter().rev().take(MOST_HOPS) {
        // What is no address (`unknown`, a pseudonym) hides whoever is behind it.
        let Some(hop) = hop else { break };
        address = hop;
        if !contains(trusted, hop) {
            break;
        }
    }
    address
}

fn x_forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    let words = lines.flat_map(|line| line.to_str().unwrap_or("unknown").split(','));
    words.map(|word| address(word.trim())).collect()
}

/// The `for` of each hop (RFC 7239).
fn forwarded_for(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(header::FORWARDED).iter();
    let hops = lines.flat_map(|line| line.to_str().unwrap_or("for=unknown").split(','));
    hops.map(|hop| address(parameter(hop, "for")?)).collect()
}

/// The scheme by which the visitor came to the last proxy, which is the one that is believed.
fn usual_scheme(headers: &HeaderMap) -> Option<&str> {
    let line = headers.get_all(X_FORWARDED_PROTO).iter().next_back()?;
    Some(line.to_str().ok()?.rsplit(',').next()?.trim())
}

fn standard_scheme(headers: &HeaderMap) -> Option<&str> {
    let line = headers.get_all(header::FORWARDED).iter().next_back()?;
    parameter(line.to_str().ok()?.rsplit(',').next()?, "proto")
}

fn parameter<'a>(hop: &'a str, wanted: &str) -> Option<&'a str> {
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
    use http::header::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn told(by: ProxyHeader, lines: &[(&'static str, &'static str)]) -> Option<(String, bool)> {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Visitor {
            address: "10.0.0.1".parse().unwrap(),
            secure: false,
        };
        let visitor = forwarded(&headers(lines), &trusted, by, peer).ok()?;
        Some((visitor.address.to_string(), visitor.secure))
    }

    fn seen(lines: &[(&'static str, &'static str)]) -> (String, bool) {
        told(ProxyHeader::Either, lines).unwrap()
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_is_the_visitor() {
        let of = |line: &'static str| seen(&[("x-forwarded-for", line)]).0;
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("6.6.6.6, 192.0.2.7"), "192.0.2.7", "what the client wrote itself");
        assert_eq!(of("6.6.6.6, 192.0.2.7, 10.1.2.3"), "192.0.2.7");
        assert_eq!(of("10.5.5.5, 10.1.2.3"), "10.5.5.5");
        assert_eq!(of("192.0.2.7:4711"), "192.0.2.7");
        assert_eq!(of("[2001:db8::7]:4711"), "2001:db8::7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        let twice = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(seen(&twice).0, "192.0.2.7");
    }

    #[test]
    fn what_is_no_address_is_not_looked_behind() {
        let of = |line: &'static str| seen(&[("x-forwarded-for", line)]).0;
        assert_eq!(of("6.6.6.6, unknown"), "10.0.0.1");
        assert_eq!(of("6.6.6.6, unknown, 10.1.2.3"), "10.1.2.3");
        assert_eq!(of(""), "10.0.0.1");
        assert_eq!(of("6.6.6.6,"), "10.0.0.1");
    }

    #[test]
    fn the_standard_header_is_read_where_the_usual_one_is_missing() {
        let line = [(
            "forwarded",
            "for=6.6.6.6;proto=https, for=\"[2001:db8::7]:47\";proto=http, For=10.9.9.9;proto=https",
        )];
        assert_eq!(seen(&line), ("2001:db8::7".to_owned(), true));
        assert_eq!(seen(&[("forwarded", "for=_hidden")]).0, "10.0.0.1");
        assert_eq!(
            seen(&[("x-forwarded-proto", "http, https")]),
            ("10.0.0.1".to_owned(), true)
        );
    }

    #[test]
    fn a_header_that_the_proxy_does_not_write_is_not_believed() {
        let both = [
            ("forwarded", "for=192.0.2.7;proto=http"),
            ("x-forwarded-for", "6.6.6.6"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(told(ProxyHeader::Either, &both), None, "either could be the client's");
        assert_eq!(
            told(ProxyHeader::Forwarded, &both),
            Some(("192.0.2.7".to_owned(), false))
        );
        assert_eq!(
            told(ProxyHeader::XForwardedFor, &both),
            Some(("6.6.6.6".to_owned(), true))
        );
        // A proxy that writes one of them leaves out nothing, so that the other alone says nothing.
        assert_eq!(
            told(ProxyHeader::Forwarded, &both[1..]),
            Some(("10.0.0.1".to_owned(), false))
        );
        assert_eq!(
            told(ProxyHeader::XForwardedFor, &both[..1]),
            Some(("10.0.0.1".to_owned(), false))
        );
        let agreed = [
            ("forwarded", "for=192.0.2.7;proto=https"),
            ("x-forwarded-for", "192.0.2.7"),
        ];
        assert_eq!(seen(&agreed), ("192.0.2.7".to_owned(), true));
        let lying = [agreed[0], agreed[1], ("x-forwarded-proto", "http")];
        assert_eq!(seen(&lying), ("192.0.2.7".to_owned(), false));
        // Without an address beside it the scheme alone is that of a proxy that writes `Forwarded`.
        let scheme = [("forwarded", "for=192.0.2.7"), ("x-forwarded-proto", "https")];
        assert_eq!(seen(&scheme), ("192.0.2.7".to_owned(), false));
    }

    #[test]
    fn a_client_with_ipv6_is_its_network() {
        let key = |text: &str| ClientKey::of(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:192.0.2.1"), key("192.0.2.1"));
        assert_ne!(key("192.0.2.2"), key("192.0.2.1"));
    }
}
