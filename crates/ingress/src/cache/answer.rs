//! From a kept answer to what one client gets: whole, a part of it (RFC 9110, 14), or that its own
//! copy is still good (13). Pure.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use super::policy;

/// Most parts that are given at once; who wants more gets the whole.
const MOST_PARTS: usize = 16;

/// What of a kept answer goes to a client.
#[derive(Debug)]
pub(super) struct Cut {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<Piece>,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// What stands between parts.
    Text(Bytes),
    /// So many bytes of what is kept, from the first on.
    Kept { first: usize, length: usize },
}

impl Piece {
    fn length(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Kept { length, .. } => *length,
        }
    }

    fn between(first: usize, last: usize) -> Self {
        Self::Kept {
            first,
            length: last - first + 1,
        }
    }
}

/// A kept answer, in the coding that this client gets.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) status: StatusCode,
    pub(super) headers: &'a HeaderMap,
    /// Bytes of its body.
    pub(super) length: usize,
}

/// Cuts what the request asks for.
pub(super) fn cut(source: Source<'_>, method: &Method, request: &HeaderMap) -> Cut {
    let mut headers = source.headers.clone();
    if source.status == StatusCode::OK && is_unchanged(&headers, request) {
        for name in [header::CONTENT_LENGTH, header::CONTENT_ENCODING, header::CONTENT_TYPE] {
            headers.remove(name);
        }
        return Cut {
            status: StatusCode::NOT_MODIFIED,
            headers,
            body: Vec::new(),
        };
    }
    let wanted = match source.status == StatusCode::OK && method == Method::GET {
        true => ranges(&headers, request, source.length),
        false => Wanted::Whole,
    };
    let (status, body) = match wanted {
        Wanted::Whole => {
            let all = Piece::Kept {
                first: 0,
                length: source.length,
            };
            (source.status, vec![all])
        }
        Wanted::Nothing => {
            let size = format!("bytes */{}", source.length);
            insert(&mut headers, header::CONTENT_RANGE, &size);
            headers.remove(header::CONTENT_TYPE);
            (StatusCode::RANGE_NOT_SATISFIABLE, Vec::new())
        }
        Wanted::Parts(parts) => (StatusCode::PARTIAL_CONTENT, take(&mut headers, source.length, &parts)),
    };
    if status != StatusCode::NO_CONTENT {
        let length: usize = body.iter().map(Piece::length).sum();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    let body = if method == Method::HEAD { Vec::new() } else { body };
    Cut { status, headers, body }
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(text) {
        headers.insert(name, value);
    }
}

/// Whether the client's own copy is still good.
fn is_unchanged(answer: &HeaderMap, request: &HeaderMap) -> bool {
    if request.contains_key(header::IF_NONE_MATCH) {
        let own = answer.get(header::ETAG).map(|tag| opaque(tag.as_bytes()));
        let mut lines = request.get_all(header::IF_NONE_MATCH).iter();
        return lines
            .any(|line| tags(line.as_bytes()).any(|tag| tag == b"*" || own.is_some_and(|own| opaque(tag) == own)));
    }
    match (
        policy::date(request, header::IF_MODIFIED_SINCE),
        policy::date(answer, header::LAST_MODIFIED),
    ) {
        (Some(since), Some(modified)) => modified <= since,
        _ => false,
    }
}

/// The tags of a list; a comma within one divides nothing.
fn tags(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    line.split(move |byte| {
        if *byte == b'"' {
            quoted = !quoted;
        }
        *byte == b',' && !quoted
    })
    .map(<[u8]>::trim_ascii)
}

/// Without the mark of a weak tag.
pub(super) fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Whole,
    /// First and last byte of each.
    Parts(Vec<(usize, usize)>),
    /// None of what is wanted is there.
    Nothing,
}

fn ranges(answer: &HeaderMap, request: &HeaderMap, length: usize) -> Wanted {
    let Some(range) = request.get(header::RANGE).and_then(|range| range.to_str().ok()) else {
        return Wanted::Whole;
    };
    if !still_the_same(answer, request) {
        return Wanted::Whole;
    }
    let Some((unit, list)) = range.split_once('=') else {
        return Wanted::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || list.split(',').count() > MOST_PARTS {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        match part(text, length) {
            Err(NotARange) => return Wanted::Whole,
            Ok(Some(part)) => parts.push(part),
            Ok(None) => {}
        }
    }
    let sum: usize = parts.iter().map(|(first, last)| last - first + 1).sum();
    match parts.is_empty() {
        true => Wanted::Nothing,
        // Overlapping ones, which make much out of little.
        false if parts.len() > 1 && sum > length => Wanted::Whole,
        false => Wanted::Parts(parts),
    }
}

struct NotARange;

/// First and last byte; None if nothing of it is there.
fn part(text: &str, length: usize) -> Result<Option<(usize, usize)>, NotARange> {
    let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true if !text.is_empty() => Ok(text.parse().unwrap_or(usize::MAX)),
        _ => Err(NotARange),
    };
    let (first, last) = text.split_once('-').ok_or(NotARange)?;
    let (first, last) = match (first.trim(), last.trim()) {
        ("", suffix) => (length.saturating_sub(number(suffix)?), length.saturating_sub(1)),
        (first, "") => (number(first)?, length.saturating_sub(1)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(NotARange);
            }
            (first, last.min(length.saturating_sub(1)))
        }
    };
    Ok((first < length).then_some((first, last)))
}

/// `If-Range`: the parts are only good where the whole is the one that the client knows.
fn still_the_same(answer: &HeaderMap, request: &HeaderMap) -> bool {
    let Some(condition) = request.get(header::IF_RANGE) else {
        return true;
    };
    let condition = condition.as_bytes().trim_ascii();
    match condition.first() {
        Some(b'"') => answer.get(header::ETAG).is_some_and(|tag| tag.as_bytes() == condition),
        // A weak tag does not stand for the bytes.
        Some(b'W') if condition.starts_with(b"W/") => false,
        _ => answer
            .get(header::LAST_MODIFIED)
            .is_some_and(|modified| modified.as_bytes() == condition),
    }
}

/// One part as it is, several in the form of `multipart/byteranges`.
fn take(headers: &mut HeaderMap, size: usize, parts: &[(usize, usize)]) -> Vec<Piece> {
    if let [(first, last)] = parts {
        insert(headers, header::CONTENT_RANGE, &format!("bytes {first}-{last}/{size}"));
        return vec![Piece::between(*first, *last)];
    }
    let boundary = format!("{:032x}", fastrand::u128(..));
    let kind = headers.get(header::CONTENT_TYPE).cloned();
    let mut out = Vec::with_capacity(parts.len() * 2 + 1);
    for (first, last) in parts {
        let mut head = BytesMut::from(format!("\r\n--{boundary}\r\n").as_bytes());
        if let Some(kind) = &kind {
            head.extend_from_slice(b"content-type: ");
            head.extend_from_slice(kind.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(format!("content-range: bytes {first}-{last}/{size}\r\n\r\n").as_bytes());
        out.push(Piece::Text(head.freeze()));
        out.push(Piece::between(*first, *last));
    }
    out.push(Piece::Text(format!("\r\n--{boundary}--\r\n").into()));
    let kind = format!("multipart/byteranges; boundary={boundary}");
    insert(headers, header::CONTENT_TYPE, &kind);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in text.split('|').filter(|line| !line.trim().is_empty()) {
            let (name, value) = line.split_once(':').unwrap();
            let name = header::HeaderName::try_from(name.trim()).unwrap();
            headers.append(name, value.trim().parse().unwrap());
        }
        headers
    }

    const DATE: &str = "Mon, 01 Jan 2024 00:00:00 GMT";

    fn asked(method: &Method, request: &str) -> (u16, HeaderMap, String) {
        let headers = map(&format!(
            "etag: \"a,b\" | last-modified: {DATE} | content-type: text/plain"
        ));
        let source = Source {
            status: StatusCode::OK,
            headers: &headers,
            length: 10,
        };
        let cut = cut(source, method, &map(request));
        let pieces = cut.body.iter().map(|piece| match piece {
            Piece::Text(text) => &text[..],
            Piece::Kept { first, length } => &b"0123456789"[*first..first + length],
        });
        let body = pieces.collect::<Vec<_>>().concat();
        (cut.status.as_u16(), cut.headers, String::from_utf8(body).unwrap())
    }

    #[test]
    fn ranges_are_cut_as_asked() {
        for (request, status, range, body) in [
            ("range: bytes=0-0", 206, "bytes 0-0/10", "0"),
            ("range: bytes=3-5", 206, "bytes 3-5/10", "345"),
            ("range: bytes=7-", 206, "bytes 7-9/10", "789"),
            ("range: bytes=-2", 206, "bytes 8-9/10", "89"),
            ("range: bytes=-99", 206, "bytes 0-9/10", "0123456789"),
            ("range: bytes=5-99999999999999999999999", 206, "bytes 5-9/10", "56789"),
            ("range: Bytes = 1-1", 206, "bytes 1-1/10", "1"),
            ("range: bytes=10-", 416, "bytes */10", ""),
            ("range: bytes=-0", 416, "bytes */10", ""),
            ("range: bytes=20-30, 10-", 416, "bytes */10", ""),
            ("range: bytes=20-30, 1-2", 206, "bytes 1-2/10", "12"),
            // Not understood, so not looked at.
            ("range: bytes=5-3", 200, "", "0123456789"),
            ("range: bytes=a-b", 200, "", "0123456789"),
            ("range: bytes=--1", 200, "", "0123456789"),
            ("range: lines=1-2", 200, "", "0123456789"),
            ("range: bytes=0-9, 0-9", 200, "", "0123456789"),
            (
                "range: bytes=0-0,1-1,2-2,3-3,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0,0-0",
                200,
                "",
                "0123456789",
            ),
            ("range: bytes=1-2 | if-range: \"a,b\"", 206, "bytes 1-2/10", "12"),
            ("range: bytes=1-2 | if-range: \"c\"", 200, "", "0123456789"),
            ("range: bytes=1-2 | if-range: W/\"a,b\"", 200, "", "0123456789"),
            (
                "range: bytes=1-2 | if-range: Mon, 01 Jan 2024 00:00:00 GMT",
                206,
                "bytes 1-2/10",
                "12",
            ),
            (
                "range: bytes=1-2 | if-range: Mon, 01 Jan 2024 00:00:01 GMT",
                200,
                "",
                "0123456789",
            ),
        ] {
            let (found, headers, text) = asked(&Method::GET, request);
            let shown = headers.get("content-range").map_or("", |value| value.to_str().unwrap());
            assert_eq!((found, shown, text.as_str()), (status, range, body), "{request}");
            assert_eq!(headers["content-length"], body.len().to_string(), "{request}");
        }
        let (status, headers, text) = asked(&Method::GET, "range: bytes=0-1, -2");
        let kind = headers["content-type"].to_str().unwrap();
        let boundary = kind.strip_prefix("multipart/byteranges; boundary=").unwrap();
        let expected = format!(
            "\r\n--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes 0-1/10\r\n\r\n01\
             \r\n--{boundary}\r\ncontent-type: text/plain\r\ncontent-range: bytes 8-9/10\r\n\r\n89\
             \r\n--{boundary}--\r\n"
        );
        assert_eq!((status, text), (206, expected));
    }

    #[test]
    fn an_empty_body_has_no_ranges() {
        let headers = HeaderMap::new();
        for range in ["range: bytes=0-", "range: bytes=-1", "range: bytes=0-0"] {
            let source = Source {
                status: StatusCode::OK,
                headers: &headers,
                length: 0,
            };
            assert_eq!(cut(source, &Method::GET, &map(range)).status, 416, "{range}");
        }
    }

    #[test]
    fn a_good_copy_is_not_sent_again() {
        for (request, status) in [
            ("if-none-match: \"a,b\"", 304),
            ("if-none-match: W/\"a,b\"", 304),
            ("if-none-match: \"x\", \"a,b\"", 304),
            ("if-none-match: *", 304),
            ("if-none-match: \"a\"", 200),
            (
                "if-none-match: \"x\" | if-modified-since: Mon, 01 Jan 2024 00:00:00 GMT",
                200,
            ),
            ("if-modified-since: Mon, 01 Jan 2024 00:00:00 GMT", 304),
            ("if-modified-since: Tue, 02 Jan 2024 00:00:00 GMT", 304),
            ("if-modified-since: Sun, 31 Dec 2023 00:00:00 GMT", 200),
            ("if-modified-since: nonsense", 200),
            ("if-none-match: \"a,b\" | range: bytes=0-1", 304),
        ] {
            let (found, headers, body) = asked(&Method::GET, request);
            assert_eq!(found, status, "{request}");
            assert_eq!(headers["etag"], "\"a,b\"");
            assert_eq!(body.is_empty(), status == 304);
        }
    }

    #[test]
    fn head_says_the_length_and_sends_nothing() {
        let (status, headers, body) = asked(&Method::HEAD, "range: bytes=0-1");
        assert_eq!((status, body.as_str()), (200, ""));
        assert_eq!(headers["content-length"], "10");
    }
}
