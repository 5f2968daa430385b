//! From where a request comes: the address that counts, and whom its headers are believed.

use std::net::{IpAddr, Ipv6Addr};

use http::header::{self, HeaderMap, HeaderName};
use ipnet::IpNet;
pub use weir_model::proxy::ProxyHeader;
use weir_model::proxy::{self, Told, TwoClients};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

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
///
/// # Errors
/// Nobody has said which header the proxy writes, and the two that are there do not agree.
pub(crate) fn forwarded(
    headers: &HeaderMap,
    trusted: &[IpNet],
    by: ProxyHeader,
    peer: Visitor,
) -> Result<Visitor, TwoClients> {
    let told = Told {
        x_forwarded_for: lines(headers, X_FORWARDED_FOR),
        forwarded: lines(headers, header::FORWARDED),
    };
    let address = proxy::client(&told, by, |address| contains(trusted, address), peer.address)?;
    let is_https = |scheme: &str| scheme.eq_ignore_ascii_case("https");
    let (usual, standard) = (usual_scheme(headers), standard_scheme(headers));
    let secure = match (by, told.x_forwarded_for.is_empty(), told.forwarded.is_empty()) {
        (ProxyHeader::XForwardedFor, ..) | (ProxyHeader::Either, _, true) => usual.map(is_https),
        (ProxyHeader::Forwarded, ..) | (ProxyHeader::Either, true, false) => standard.map(is_https),
        // A client that lies about it harms only itself: it is sent to TLS.
        (ProxyHeader::Either, false, false) => {
            let schemes = [usual, standard].into_iter().flatten();
            schemes.map(is_https).reduce(|one, other| one && other)
        }
    };
    Ok(Visitor {
        address,
        secure: secure.unwrap_or(peer.secure),
    })
}

fn lines(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    let lines = headers.get_all(name).iter();
    lines.map(|line| line.to_str().unwrap_or(proxy::UNKNOWN)).collect()
}

/// The scheme by which the visitor came to the last proxy, which is the one that is believed.
fn usual_scheme(headers: &HeaderMap) -> Option<&str> {
    let line = headers.get_all(X_FORWARDED_PROTO).iter().next_back()?;
    Some(line.to_str().ok()?.rsplit(',').next()?.trim())
}

fn standard_scheme(headers: &HeaderMap) -> Option<&str> {
    let line = headers.get_all(header::FORWARDED).iter().next_back()?;
    proxy::parameter(line.to_str().ok()?.rsplit(',').next()?, "proto")
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
