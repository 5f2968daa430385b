//! Doors for `fuzz/`, which sees nothing else of what is private here.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue};

/// A name lookup as an instance sends it. Every second name is one of ours.
///
/// # Panics
/// When an answer is given that is none to the question.
pub fn lookup(query: &[u8]) {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let known = |name: &str| (name.len() % 2 == 0).then(|| vec![address]);
    if let Some(reply) = crate::dns::decided(query, known) {
        assert!(reply.len() >= 12, "an answer has a head");
        assert_eq!(reply[..2], query[..2], "an answer has the number of its question");
        assert!(reply[2] & 0x80 != 0, "an answer says that it is one");
    }
}

/// The headers of a request and of the answer to it, as the cache reads them: the lines of each, with an
/// empty line between. See `cache::fuzzing`.
///
/// # Panics
/// When more is given than is kept, or what is kept for a request is not found by the same request.
pub fn cache_headers(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let request = fields(lines.by_ref().take_while(|line| !line.is_empty()));
    let answer = fields(lines);
    crate::cache::fuzzing::headers(&request, &answer, bytes.len());
}

fn fields<'a>(lines: impl Iterator<Item = &'a [u8]>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.take(100) {
        let Some(at) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let value = HeaderValue::from_bytes(line[at + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(&line[..at]), value) {
            headers.append(name, value);
        }
    }
    headers
}
