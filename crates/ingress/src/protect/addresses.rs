//! From where a request comes: the address that counts, and whom its headers are believed.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
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

/// What a proxy that is believed says of whom it speaks for: the rightmost address that is none of
/// the proxies', because whoever is left of it could have written anything.
pub(crate) fn forwarded(headers: &HeaderMap, trusted: &[IpNet], peer: Visitor) -> Visitor {
    let chain = if headers.contains_key(X_FORWARDED_FOR) {
        x_forwarded_for(headers)
    } else {
        forwarded_for(headers)
    };
    let mut address = peer.address;
    for hop in chain.into_iter().rev().take(MOST_HOPS) {
        // What is no address (`unknown`, a pseudonym) hides whoever is behind it.
        let Some(hop) = hop else { break };
        address = hop;
        if !contains(trusted, hop) {
            break;
        }
    }
    let secure = scheme(headers).map_or(peer.secure, |scheme| scheme.eq_ignore_ascii_case("https"));
    Visitor { address, secure }
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
fn scheme(headers: &HeaderMap) -> Option<&str> {
    let last = |name: HeaderName| -> Option<&HeaderValue> { headers.get_all(name).iter().next_back() };
    if let Some(line) = last(X_FORWARDED_PROTO) {
        return Some(line.to_str().ok()?.rsplit(',').next()?.trim());
    }
    parameter(last(header::FORWARDED)?.to_str().ok()?.rsplit(',').next()?, "proto")
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
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn seen(lines: &[(&'static str, &'static str)]) -> (String, bool) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = Visitor {
            address: "10.0.0.1".parse().unwrap(),
            secure: false,
        };
        let visitor = forwarded(&headers(lines), &trusted, peer);
        (visitor.address.to_string(), visitor.secure)
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
        let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "192.0.2.7")];
        assert_eq!(seen(&both).0, "192.0.2.7");
        assert_eq!(
            seen(&[("x-forwarded-proto", "http, https")]),
            ("10.0.0.1".to_owned(), true)
        );
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
