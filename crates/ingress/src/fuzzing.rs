//! Doors for `fuzz/`, which sees nothing else of what is private here. Tests go through them, too:
//! with a few bytes of each kind, and with what was found.

use std::net::{IpAddr, Ipv4Addr};

use futures_util::FutureExt as _;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Uri, Version};

use crate::protect::addresses::{self, ProxyHeader, Visitor};
use crate::protect::{path, proxy_protocol};
use crate::{headers, trace};

/// A name lookup as an instance sends it. Every second name is one of ours.
///
/// # Panics
/// When an answer is given that is none to the question.
pub fn lookup(query: &[u8]) {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let known = |name: &str| name.len().is_multiple_of(2).then(|| vec![address]);
    if let Some(reply) = crate::dns::decided(query, known) {
        assert!(reply.len() >= 12, "an answer has a head");
        assert_eq!(reply[..2], query[..2], "an answer has the number of its question");
        assert!(reply[2] & 0x80 != 0, "an answer says that it is one");
    }
}

/// What an instance answers: head, chunks, trailers. The first byte says in pieces of what size.
///
/// # Panics
/// When it is read in another way if it comes in other pieces.
pub fn answer(bytes: &[u8]) {
    crate::upstream::fuzzing::answer(bytes);
}

/// How a load balancer begins a connection.
///
/// # Panics
/// When more is read than the header, or what follows changes what it says.
pub fn proxy_header(bytes: &[u8]) {
    let read = |bytes: &[u8]| {
        let mut left = bytes;
        let source = proxy_protocol::read(&mut left).now_or_never()?.ok()?;
        Some((source, bytes.len() - left.len()))
    };
    let Some((source, length)) = read(bytes) else { return };
    assert_eq!(
        read(&bytes[..length]),
        Some((source, length)),
        "depends on what follows"
    );
    assert!(read(&bytes[..length - 1]).is_none(), "was read before it had come");
    if let proxy_protocol::Source::Client(client) = source {
        assert_eq!(client, client.to_canonical(), "an address in two spellings");
    }
}

/// `bytes` as lines of header fields, as far as they are some.
fn fields(bytes: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(100) {
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line.get(colon + 1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(name),
            HeaderValue::from_bytes(value.trim_ascii()),
        ) {
            fields.append(name, value);
        }
    }
    fields
}

/// What a client writes about itself before a trusted proxy adds its own words.
///
/// # Panics
/// When the client is taken for somebody else than the proxy says.
pub fn forwarded(bytes: &[u8]) {
    let trusted = ["10.0.0.0/8".parse().unwrap_or_default()];
    let peer = Visitor {
        address: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
        secure: false,
    };
    let client = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    let sent = fields(bytes);
    // It may say anything to one that is believed without adding a word, as long as that ends.
    let _ = addresses::forwarded(&sent, &trusted, ProxyHeader::Either, peer);
    for (name, value, by) in [
        ("x-forwarded-for", "192.0.2.7", ProxyHeader::XForwardedFor),
        ("forwarded", "for=192.0.2.7;proto=http", ProxyHeader::Forwarded),
    ] {
        for by in [by, ProxyHeader::Either] {
            let mut sent = sent.clone();
            sent.append(name, HeaderValue::from_static(value));
            if let Ok(visitor) = addresses::forwarded(&sent, &trusted, by, peer) {
                assert_eq!(visitor.address, client, "{name} by {by:?}");
            }
        }
    }
}

/// A target and a `Host`, divided by a line break.
///
/// # Panics
/// When a host has two spellings in the table, or a rule for a path does not cover a spelling of it.
pub fn host_and_path(bytes: &[u8]) {
    let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (target, host) = (&bytes[..middle], bytes.get(middle + 1..).unwrap_or_default());
    if let Ok(value) = HeaderValue::from_bytes(host) {
        let fields = HeaderMap::from_iter([(http::header::HOST, value)]);
        if let Ok(host) = headers::requested_host(&Uri::from_static("/"), &fields, Version::HTTP_11) {
            assert!(!host.name.is_empty() && host.name.len() <= 253, "{host:?}");
            let fits = |byte: u8| b"-._[]:".contains(&byte) || byte.is_ascii_lowercase() || byte.is_ascii_digit();
            assert!(host.name.bytes().all(fits), "{host:?}");
            let _ = host.port();
        }
    }
    let Ok(target) = target.to_vec().try_into().map(|target: String| target) else {
        return;
    };
    let Ok(target) = target.parse::<http::uri::PathAndQuery>() else {
        return;
    };
    let path = target.path();
    let read = path::lenient(path);
    assert!(read.starts_with('/') || read == path, "{path:?} {read:?}");
    let _ = path::may_mean_any(path);
    if path.starts_with('/') {
        // Each of these is read as the same path by some app.
        for spelling in [
            path.replace('/', "/./"),
            path.replace('/', "//"),
            path.to_ascii_uppercase(),
        ] {
            let same = path::lenient(&spelling);
            assert!(
                same.trim_end_matches('/') == path::lenient(path).to_lowercase().trim_end_matches('/')
                    || path.contains(['%', '\\', ';', '.']),
                "{path:?} {spelling:?} {same:?}"
            );
        }
    }
}

/// The names that a request comes with.
///
/// # Panics
/// When it goes on with two of a kind, or with names that would not be passed on a second time.
pub fn names(bytes: &[u8]) {
    let mut fields = fields(bytes);
    let first = trace::identify(&mut fields);
    let before = fields.clone();
    let second = trace::identify(&mut fields);
    assert_eq!(before, fields, "names change on the way");
    assert_eq!(first.request_id, second.request_id, "names change on the way");
    assert_eq!(first.trace_id().len(), 32, "no name of a trace");
    for name in ["x-request-id", "traceparent"] {
        assert_eq!(fields.get_all(name).iter().count(), 1, "{name}");
    }
}

/// The headers of a request and of the answer to it, as the cache reads them: the lines of each, with an
/// empty line between. See `cache::fuzzing`.
///
/// # Panics
/// When more is given than is kept, or what is kept for a request is not found by the same request.
pub fn cache_headers(bytes: &[u8]) {
    let middle = bytes.windows(2).position(|two| two == b"\n\n").unwrap_or(bytes.len());
    let request = fields(&bytes[..middle]);
    let answer = fields(bytes.get(middle + 2..).unwrap_or_default());
    crate::cache::fuzzing::headers(&request, &answer, bytes.len());
}

#[cfg(test)]
mod tests {
    /// A door, and a few inputs that lead through it.
    type Door = (fn(&[u8]), &'static [&'static [u8]]);

    const DOORS: [Door; 7] = [
        (
            super::cache_headers,
            &[
                b"range: bytes=0-1\nif-none-match: \"a\", W/\"b\"\n\ncache-control: public, max-age=60, s-maxage=\"5\"\netag: \"a\"\nvary: accept",
                b"cache-control: no-cache\ncookie: a=b\n\ncache-control: private=\"x\", stale-if-error=9\nage: 7\nexpires: 0",
            ],
        ),
        (
            super::answer,
            &[
                b"\x00HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokmore",
                b"\x01HTTP/1.1 103 Early\r\na: b\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\nx: y\r\n\r\n",
                b"\x02HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
                b"",
            ],
        ),
        (
            super::proxy_header,
            &[
                b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\r\nGET",
                b"PROXY TCP6 2001:db8::9 ::1 1 65535\r\n",
                b"PROXY UNKNOWN\r\n",
                b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0",
                b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0cabcdefghijkl",
            ],
        ),
        (
            super::forwarded,
            &[
                b"x-forwarded-for: 6.6.6.6, 10.0.0.2\nforwarded: for=6.6.6.6",
                b"forwarded: for=\"[::1]:1\";proto=https, for=_x\nx-forwarded-proto: https",
                b"forwarded: for=\"6.6.6.6\nx-forwarded-for: \"",
            ],
        ),
        (
            super::host_and_path,
            &[
                b"/Admin//x/../y?z\nShop.Example:80",
                b"/%2e%2e/%61\n[::1]:80",
                b"*\nx.",
                b"/a;b\\c\n",
            ],
        ),
        (
            super::names,
            &[
                b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\ntracestate: a=1,b=2\nx-request-id: r",
                b"traceparent: x\ntracestate: a=1\nx-request-id: a\nx-request-id: b",
            ],
        ),
        (
            super::lookup,
            &[b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03api\0\0\x01\0\x01"],
        ),
    ];

    /// Changes it a little: bytes, pieces that are left out or repeated, and pieces of another one.
    fn mutated(input: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
        let mut bytes = input.to_vec();
        for _ in 0..random.usize(1..6) {
            let at = random.usize(0..=bytes.len());
            let end = (at + random.usize(0..9)).min(bytes.len());
            match random.u8(0..6) {
                0 if at < bytes.len() => bytes[at] = random.u8(..),
                1 => bytes.insert(at, *random.choice(b"\r\n:;,=\" \0/%.;0A\xff").unwrap_or(&0)),
                2 => drop(bytes.drain(at..end)),
                3 => {
                    let piece = bytes[at..end].to_vec();
                    bytes.splice(at..at, piece);
                }
                4 => {
                    let from = random.usize(0..=other.len());
                    bytes.splice(at..end, other[from..].iter().copied());
                }
                _ => bytes.truncate(random.usize(0..=bytes.len())),
            }
        }
        bytes
    }

    /// Each door with its inputs and what comes of them by chance; more with `WEIR_MUTATIONS=1000000`.
    #[test]
    fn what_is_changed_by_chance_breaks_nothing() {
        let told = std::env::var("WEIR_MUTATIONS").ok();
        let number: u64 = told.and_then(|number| number.parse().ok()).unwrap_or(2_000);
        for (door, inputs) in DOORS {
            for input in inputs {
                door(input);
            }
            let mut random = fastrand::Rng::with_seed(7);
            let mut pool: Vec<Vec<u8>> = inputs.iter().map(|input| input.to_vec()).collect();
            for _ in 0..number {
                let one = random.usize(0..pool.len());
                let input = mutated(&pool[one], &pool[random.usize(0..pool.len())], &mut random);
                door(&input);
                // Some of them are changed further.
                if pool.len() < 64 {
                    pool.push(input);
                } else if random.u8(..) < 8 {
                    pool[inputs.len() + one % (64 - inputs.len())] = input;
                }
            }
        }
    }
}
