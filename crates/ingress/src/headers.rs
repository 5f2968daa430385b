//! What a request's head says, and what of it goes on.

use std::net::IpAddr;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version};

/// Marks Weir's own pages; never passed on from an app.
pub(crate) const X_WEIR: HeaderName = HeaderName::from_static("x-weir");
/// How an answer came about, where the cache had a part in it; never passed on from an app.
pub(crate) const X_WEIR_CACHE: HeaderName = HeaderName::from_static("x-weir-cache");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// By what name a request is known; see `trace`.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Which content delivery networks a request went through (RFC 8586).
const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");
/// Our own mark in it.
const CDN_ID: &str = "weir";
/// Programs that run as CGI take it for the proxy through which they shall call others.
const PROXY: HeaderName = HeaderName::from_static("proxy");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Which host a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestedHost {
    /// Lower case, without port and without a dot at the end: the key of the table.
    pub(crate) name: String,
    /// As the client wrote it, with port.
    pub(crate) authority: HeaderValue,
}

impl RequestedHost {
    /// The port that the client wrote.
    pub(crate) fn port(&self) -> Option<u16> {
        let (_, port) = self.authority.to_str().ok()?.rsplit_once(':')?;
        port.parse().ok()
    }
}

/// Why a request has no host that could be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostError {
    #[error("the request has no Host header")]
    Missing,
    #[error("the request has more than one Host header")]
    Several,
    #[error("the host of the request is not a valid name")]
    Malformed,
    #[error("the request names two different hosts")]
    Conflict,
}

/// Reads the host from the request's target or its `Host` header.
pub(crate) fn requested_host(uri: &Uri, headers: &HeaderMap, version: Version) -> Result<RequestedHost, HostError> {
    let mut values = headers.get_all(header::HOST).iter();
    let header = values.next();
    if values.next().is_some() {
        return Err(HostError::Several);
    }
    let authority = match (uri.authority(), header) {
        (Some(authority), header) => {
            let value = HeaderValue::from_str(authority.as_str()).map_err(|_| HostError::Malformed)?;
            match header {
                // RFC 9113, 8.3.1: they must agree. In HTTP/1.1 the target wins (RFC 9112, 3.2.2).
                Some(header) if version == Version::HTTP_2 && normalised(header)? != normalised(&value)? => {
                    return Err(HostError::Conflict);
                }
                None if version == Version::HTTP_11 => return Err(HostError::Missing),
                _ => value,
            }
        }
        (None, Some(header)) => header.clone(),
        (None, None) => return Err(HostError::Missing),
    };
    let name = normalised(&authority)?;
    Ok(RequestedHost { name, authority })
}

/// Lower case, without port and without the dot at the end.
fn normalised(authority: &HeaderValue) -> Result<String, HostError> {
    let text = authority.to_str().map_err(|_| HostError::Malformed)?;
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or(HostError::Malformed)?;
        inside.parse::<std::net::Ipv6Addr>().map_err(|_| HostError::Malformed)?;
        let port = match after {
            "" => "",
            after => after.strip_prefix(':').ok_or(HostError::Malformed)?,
        };
        (&text[..inside.len() + 2], port)
    } else {
        let (name, port) = text.split_once(':').unwrap_or((text, ""));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !name.bytes().all(allowed) {
            return Err(HostError::Malformed);
        }
        (name, port)
    };
    if port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostError::Malformed);
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() || name.len() > 253 {
        return Err(HostError::Malformed);
    }
    Ok(name.to_ascii_lowercase())
}

/// Whether the field is about one connection only (RFC 9110, 7.6.1), and so never passed on, whatever
/// `Connection` names.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Whether a client could use the field to pretend to be another one; we are the edge, so none is
/// believed. `x-forwarded-for`, `-host` and `-proto` are not among them: they are replaced.
fn is_forwarded(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "forwarded" | "x-real-ip" | "x-forwarded-port" | "x-forwarded-prefix" | "x-forwarded-server"
    )
}

/// Whether the field is one by which Weir speaks, to an app or to a client.
pub(crate) fn is_of_weir(name: &HeaderName) -> bool {
    let text = name.as_str();
    is_forwarded(name)
        || *name == PROXY
        || text.starts_with("x-forwarded-")
        || text.starts_with("x-weir")
        || text.starts_with("weir-")
}

/// Removes what is about one connection only, what `Connection` names, and what else is said to be
/// `unwanted`. Looking through what is there costs less than asking for all that might be.
fn remove_hop_by_hop(headers: &mut HeaderMap, unwanted: impl Fn(&HeaderName) -> bool) {
    if headers.contains_key(header::CONNECTION) {
        let named: Vec<HeaderName> = headers
            .get_all(header::CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|token| HeaderName::try_from(token.trim()).ok())
            // These say what the message is; removing them at a client's wish would change it.
            .filter(|name| {
                !matches!(
                    *name,
                    header::HOST | header::CONTENT_LENGTH | header::COOKIE | header::AUTHORIZATION
                )
            })
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    let found = headers.keys().filter(|name| is_hop_by_hop(name) || unwanted(name));
    let found: Vec<HeaderName> = found.cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Whether the body comes as it is, or in chunks: all that goes on to an instance. Another coding
/// would be lost on the way, and what is in it be taken for the body.
pub(crate) fn is_plainly_coded(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// The protocol that a request wants to change to, if it may: `h2c` may not, because instances
/// are spoken to in HTTP/1.1.
pub(crate) fn wanted_upgrade(headers: &HeaderMap, version: Version) -> Option<HeaderValue> {
    if version != Version::HTTP_11 || !has_token(headers, header::CONNECTION, "upgrade") {
        return None;
    }
    let protocol = headers.get(header::UPGRADE)?;
    let text = protocol.to_str().ok()?;
    let refused = text
        .split(',')
        .any(|token| token.trim().to_ascii_lowercase().starts_with("h2c"));
    (!refused).then(|| protocol.clone())
}

/// Whether a comma separated header has the token, whatever its case.
pub(crate) fn has_token(headers: &HeaderMap, name: HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// How often the request went through a Weir already. Whoever pretends more only refuses himself.
pub(crate) fn loops(headers: &HeaderMap) -> usize {
    headers
        .get_all(CDN_LOOP)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter(|entry| {
            let id = entry.split(';').next().unwrap_or_default();
            id.trim().eq_ignore_ascii_case(CDN_ID)
        })
        .count()
}

/// An address as it is told to apps.
pub(crate) fn address_value(address: IpAddr) -> HeaderValue {
    let text = Bytes::from(address.to_canonical().to_string());
    HeaderValue::from_maybe_shared(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Makes the head of the request that goes to the instance out of the client's; `client` is an
/// [`address_value`].
pub(crate) fn prepare_request(
    headers: &mut HeaderMap,
    host: &RequestedHost,
    client: &HeaderValue,
    scheme: &'static str,
    upgrade: Option<&HeaderValue>,
) {
    let takes_trailers = has_token(headers, header::TE, "trailers");
    remove_hop_by_hop(headers, |name| {
        is_forwarded(name)
            // hyper answers an expected 100 itself, as soon as the body is read.
            || *name == header::EXPECT
            || *name == HTTP2_SETTINGS
            || *name == PROXY
            || *name == X_WEIR
    });
    join_cookies(headers);
    headers.append(CDN_LOOP, HeaderValue::from_static(CDN_ID));
    headers.insert(header::HOST, host.authority.clone());
    headers.insert(X_FORWARDED_HOST, host.authority.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    headers.insert(X_FORWARDED_FOR, client.clone());
    headers.insert(X_REAL_IP, client.clone());
    if takes_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol.clone());
    }
    remove_disguised(headers);
}

/// Removes `x_real_ip` and its like: servers of CGI, WSGI and others read `_` and `-` as one, so that
/// it would stand for what Weir says, or for what it has removed.
fn remove_disguised(headers: &mut HeaderMap) {
    let means_another = |name: &&HeaderName| {
        let plain = HeaderName::try_from(name.as_str().replace('_', "-"));
        plain.is_ok_and(|plain| {
            headers.contains_key(&plain)
                || plain == header::CONTENT_LENGTH
                || is_hop_by_hop(&plain)
                || is_forwarded(&plain)
        })
    };
    let underlined = headers.keys().filter(|name| name.as_str().contains('_'));
    let disguised: Vec<HeaderName> = underlined.filter(means_another).cloned().collect();
    for name in disguised {
        headers.remove(name);
    }
}

/// Makes the head of the answer that goes to the client out of the instance's.
pub(crate) fn prepare_answer(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers, |name| *name == X_WEIR || *name == X_WEIR_CACHE);
}

/// HTTP/2 may split the cookies into several lines; HTTP/1.1 may not (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(header::COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(header::COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(header: &str) -> Result<String, HostError> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(header).unwrap());
        requested_host(&Uri::from_static("/"), &headers, Version::HTTP_11).map(|host| host.name)
    }

    #[test]
    fn hosts_are_normalised() {
        assert_eq!(host_of("Shop.LocalHost:8080").as_deref(), Ok("shop.localhost"));
        assert_eq!(host_of("shop.localhost.").as_deref(), Ok("shop.localhost"));
        assert_eq!(host_of("[::1]:8080").as_deref(), Ok("[::1]"));
        assert_eq!(host_of("127.0.0.1").as_deref(), Ok("127.0.0.1"));
    }

    #[test]
    fn hosts_that_are_none_are_refused() {
        for text in [
            "",
            ".",
            "a b",
            "a/b",
            "user@host",
            "host:port",
            "host:123456",
            "a,b",
            "[::1",
            "a:1:2",
            "[x]",
        ] {
            assert_eq!(host_of(text), Err(HostError::Malformed), "{text}");
        }
    }

    #[test]
    fn two_hosts_are_refused() {
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("a"));
        headers.append(header::HOST, HeaderValue::from_static("a"));
        let two = requested_host(&Uri::from_static("/"), &headers, Version::HTTP_11);
        assert_eq!(two, Err(HostError::Several));
        let mut headers = HeaderMap::new();
        headers.append(header::HOST, HeaderValue::from_static("b"));
        let target = Uri::from_static("http://a/");
        assert_eq!(
            requested_host(&target, &headers, Version::HTTP_2),
            Err(HostError::Conflict)
        );
        assert_eq!(
            requested_host(&target, &headers, Version::HTTP_11)
                .map(|host| host.name)
                .as_deref(),
            Ok("a")
        );
    }

    #[test]
    fn what_connection_names_is_removed_but_not_what_makes_the_message() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::CONNECTION,
            HeaderValue::from_static("close, X-Secret, host, content-length"),
        );
        headers.insert("x-secret", HeaderValue::from_static("1"));
        headers.insert(header::HOST, HeaderValue::from_static("a"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        remove_hop_by_hop(&mut headers, |_| false);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host"]);
    }

    #[test]
    fn what_a_client_says_about_itself_is_replaced() {
        let mut headers = HeaderMap::new();
        for name in ["x-forwarded-for", "x-real-ip", "forwarded", "x-weir"] {
            headers.insert(name, HeaderValue::from_static("6.6.6.6"));
        }
        headers.append(header::COOKIE, HeaderValue::from_static("a=1"));
        headers.append(header::COOKIE, HeaderValue::from_static("b=2"));
        let host = RequestedHost {
            name: "a".to_owned(),
            authority: HeaderValue::from_static("a:80"),
        };
        prepare_request(&mut headers, &host, &address_value([9, 9, 9, 9].into()), "http", None);
        assert_eq!(headers["x-forwarded-for"], "9.9.9.9");
        assert_eq!(headers["x-real-ip"], "9.9.9.9");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-forwarded-host"], "a:80");
        assert_eq!(headers["cookie"], "a=1; b=2");
        assert!(!headers.contains_key("forwarded") && !headers.contains_key("x-weir"));
    }

    #[test]
    fn what_some_servers_take_for_another_header_is_removed() {
        let mut headers = HeaderMap::new();
        for name in [
            "x_forwarded_for",
            "x-real_ip",
            "x_forwarded_port",
            "content_length",
            "proxy",
            "a_b",
            "b_c",
        ] {
            headers.insert(name, HeaderValue::from_static("6.6.6.6"));
        }
        headers.insert("b-c", HeaderValue::from_static("1"));
        let host = RequestedHost {
            name: "a".to_owned(),
            authority: HeaderValue::from_static("a"),
        };
        prepare_request(&mut headers, &host, &address_value([9, 9, 9, 9].into()), "http", None);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.retain(|name| name.contains('_') || *name == "proxy" || *name == "b-c");
        left.sort_unstable();
        assert_eq!(left, ["a_b", "b-c"]);
    }

    #[test]
    fn only_chunks_are_a_coding_that_goes_on() {
        let coded = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::TRANSFER_ENCODING, HeaderValue::from_static(value));
            }
            is_plainly_coded(&headers)
        };
        assert!(coded(&[]) && coded(&["chunked"]) && coded(&["Chunked"]));
        for values in [
            &["gzip, chunked"][..],
            &["chunked, chunked"],
            &["identity", "chunked"],
            &["chunked", "chunked"],
            &[""],
        ] {
            assert!(!coded(values), "{values:?}");
        }
    }

    #[test]
    fn own_marks_of_a_loop_are_counted_among_those_of_others() {
        let mut headers = HeaderMap::new();
        assert_eq!(loops(&headers), 0);
        headers.append(
            CDN_LOOP,
            HeaderValue::from_static("foo.example; a=\"weir\", weir , WEIR;b=1"),
        );
        headers.append(CDN_LOOP, HeaderValue::from_static("weir"));
        headers.append(CDN_LOOP, HeaderValue::from_static("weirder, not-weir"));
        assert_eq!(loops(&headers), 3);
    }

    #[test]
    fn only_websockets_and_their_like_may_upgrade() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONNECTION, HeaderValue::from_static("keep-alive, Upgrade"));
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        assert!(wanted_upgrade(&headers, Version::HTTP_11).is_some());
        assert!(wanted_upgrade(&headers, Version::HTTP_2).is_none());
        headers.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        assert!(wanted_upgrade(&headers, Version::HTTP_11).is_none());
    }
}
