//! Heads: the request's as it is written, the answer's as it is read. Whatever could be read in two
//! ways is refused (RFC 9112, 2.2, 5.1, 5.2, 6.3), so that no answer can be hidden in another one.

use std::mem::MaybeUninit;

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use hyper::ext::ReasonPhrase;

use super::BadAnswer;

/// Largest head of an answer, in bytes; also all those together that come before the final one.
pub(super) const HEAD_BYTES: usize = 256 * 1024;
/// Most fields of one head, and of the trailers.
pub(super) const MOST_FIELDS: usize = 128;

/// Looks for the end of a head, or of trailers, each byte once, however they drip in.
#[derive(Debug, Default)]
pub(super) struct EndOfHead {
    looked_at: usize,
    line_start: usize,
}

impl EndOfHead {
    /// The length of the head with the empty line that ends it, once it has come.
    pub(super) fn find(&mut self, read: &[u8]) -> Result<Option<usize>, BadAnswer> {
        while let Some(at) = read
            .get(self.looked_at..)
            .and_then(|rest| rest.iter().position(|byte| *byte == b'\n'))
        {
            let end = self.looked_at + at;
            if end == self.line_start || read[end - 1] != b'\r' {
                return Err(BadAnswer("a line of it ends without a carriage return"));
            }
            let is_empty = end == self.line_start + 1;
            (self.looked_at, self.line_start) = (end + 1, end + 1);
            if is_empty {
                return Ok(Some(end + 1));
            }
        }
        self.looked_at = read.len();
        Ok(None)
    }
}

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes.
    Length(u64),
    Chunked,
    /// When the instance closes.
    UntilClose,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// None where it is the usual one.
    pub(super) reason: Option<ReasonPhrase>,
    pub(super) framing: Framing,
    /// Whether the connection may carry another request.
    pub(super) persistent: bool,
}

/// Reads the head if all of it has come. `to_head`: it answers a HEAD, so that no body follows.
pub(super) fn read(buffer: &mut BytesMut, end: &mut EndOfHead, to_head: bool) -> Result<Option<Head>, BadAnswer> {
    const BEGINNING: &[u8] = b"HTTP/1.";
    let compared = buffer.len().min(BEGINNING.len());
    if buffer[..compared] != BEGINNING[..compared] {
        return Err(BadAnswer("it does not begin as HTTP/1.1 does"));
    }
    let Some(length) = end.find(buffer)? else {
        return match buffer.len() {
            HEAD_BYTES.. => Err(BadAnswer("its head is too large")),
            _ => Ok(None),
        };
    };
    if length > HEAD_BYTES {
        return Err(BadAnswer("its head is too large"));
    }
    *end = EndOfHead::default();
    let bytes = buffer.split_to(length).freeze();
    parse(&bytes, to_head).map(Some)
}

/// Longest words beside a status that are passed on, in bytes; they are not paid for.
const LONGEST_REASON: usize = 64;

fn parse(bytes: &Bytes, to_head: bool) -> Result<Head, BadAnswer> {
    let mut fields = [MaybeUninit::uninit(); MOST_FIELDS];
    let mut response = httparse::Response::new(&mut []);
    let parsed =
        httparse::ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, &mut fields);
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer("its head has too many fields")),
        _ => return Err(BadAnswer("its head is malformed")),
    }
    let (Some(minor), Some(code)) = (response.version, response.code) else {
        return Err(BadAnswer("its head is malformed"));
    };
    let status = StatusCode::from_u16(code).map_err(|_| BadAnswer("its status is none"))?;
    let reason = response
        .reason
        .filter(|reason| (1..=LONGEST_REASON).contains(&reason.len()) && status.canonical_reason() != Some(*reason))
        .and_then(|reason| ReasonPhrase::try_from(reason.as_bytes()).ok());
    let (headers, marks) = collect(bytes, response.headers)?;
    let is_http11 = minor == 1;
    if marks.is_chunked && !is_http11 {
        return Err(BadAnswer("it is of HTTP/1.0 and comes in chunks"));
    }
    if marks.is_chunked && marks.length.is_some() {
        return Err(BadAnswer("it says two different things about its length"));
    }
    let bodyless =
        to_head || status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = match marks.length {
        _ if bodyless => Framing::Length(0),
        _ if marks.is_chunked => Framing::Chunked,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    };
    Ok(Head {
        status,
        headers,
        reason,
        framing,
        persistent: is_http11 && !marks.closes && framing != Framing::UntilClose,
    })
}

/// What fields say about the message and its connection.
#[derive(Debug, Default)]
struct Marks {
    length: Option<u64>,
    is_chunked: bool,
    closes: bool,
}

fn collect(bytes: &Bytes, fields: &[httparse::Header<'_>]) -> Result<(HeaderMap, Marks), BadAnswer> {
    let mut headers = HeaderMap::with_capacity(fields.len() + 2);
    let mut marks = Marks::default();
    for field in fields {
        let (name, value) = converted(bytes, field)?;
        if name == header::CONTENT_LENGTH {
            let length = length_of(field.value).ok_or(BadAnswer("its length is no number"))?;
            if marks.length.replace(length).is_some() {
                return Err(BadAnswer("it has two lengths"));
            }
        } else if name == header::TRANSFER_ENCODING {
            if marks.is_chunked || !field.value.eq_ignore_ascii_case(b"chunked") {
                return Err(BadAnswer("its transfer coding is not chunks alone"));
            }
            marks.is_chunked = true;
        } else if name == header::CONNECTION {
            let mut tokens = field.value.split(|byte| *byte == b',');
            marks.closes |= tokens.any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
        }
        headers.append(name, value);
    }
    Ok((headers, marks))
}

/// Shares the memory of what was read.
fn converted(bytes: &Bytes, field: &httparse::Header<'_>) -> Result<(HeaderName, HeaderValue), BadAnswer> {
    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadAnswer("a field of it has no name"))?;
    let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value))
        .map_err(|_| BadAnswer("a field of it has a control character"))?;
    Ok((name, value))
}

/// Digits only: `+5`, ` 5`, `5, 5` and the empty one are none.
pub(super) fn length_of(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Reads trailers, of which `bytes` are all with the empty line. What speaks of the message or of
/// the connection has no business there and is left out (RFC 9110, 6.5.1).
pub(super) fn trailers(bytes: &Bytes) -> Result<HeaderMap, BadAnswer> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let fields = match httparse::parse_headers(bytes, &mut fields) {
        Ok(httparse::Status::Complete((length, fields))) if length == bytes.len() => fields,
        Err(httparse::Error::TooManyHeaders) => return Err(BadAnswer("it has too many trailers")),
        _ => return Err(BadAnswer("its trailers are malformed")),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let (name, value) = converted(bytes, field)?;
        if may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(trailers)
}

/// Whether a field may stand behind a body.
pub(super) fn may_trail(name: &HeaderName) -> bool {
    !crate::headers::is_hop_by_hop(name)
        && !matches!(
            *name,
            header::CONTENT_LENGTH
                | header::CONTENT_ENCODING
                | header::CONTENT_TYPE
                | header::CONTENT_RANGE
                | header::TRAILER
                | header::HOST
                | header::CACHE_CONTROL
                | header::AUTHORIZATION
                | header::SET_COOKIE
                | header::MAX_FORWARDS
        )
}

/// Writes the head of a request. Without a body there is no length either, but for an explicit zero.
pub(super) fn write<B>(request: &Request<B>, has_body: bool, into: &mut Vec<u8>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    into.extend_from_slice(request.method().as_str().as_bytes());
    into.push(b' ');
    into.extend_from_slice(target.as_bytes());
    into.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        let frames_nothing = !has_body
            && (name == header::TRANSFER_ENCODING
                || (name == header::CONTENT_LENGTH && length_of(value.as_bytes()) != Some(0)));
        if frames_nothing {
            continue;
        }
        write_field(name, value, into);
    }
    into.extend_from_slice(b"\r\n");
}

pub(super) fn write_field(name: &HeaderName, value: &HeaderValue, into: &mut Vec<u8>) {
    into.extend_from_slice(name.as_str().as_bytes());
    into.extend_from_slice(b": ");
    into.extend_from_slice(value.as_bytes());
    into.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head_of(text: &str) -> Result<Option<Head>, BadAnswer> {
        read(&mut BytesMut::from(text), &mut EndOfHead::default(), false)
    }

    fn framing(fields: &str) -> Option<(Framing, bool)> {
        let head = head_of(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n")).ok()??;
        Some((head.framing, head.persistent))
    }

    #[test]
    fn the_end_of_a_body_is_known_in_one_way_only() {
        assert_eq!(framing("Content-Length: 5\r\n"), Some((Framing::Length(5), true)));
        assert_eq!(
            framing("transfer-encoding: Chunked\r\n"),
            Some((Framing::Chunked, true))
        );
        assert_eq!(framing(""), Some((Framing::UntilClose, false)));
        assert_eq!(
            framing("content-length: 5\r\nconnection: x, Close\r\n"),
            Some((Framing::Length(5), false))
        );
        for fields in [
            "content-length: 5\r\ncontent-length: 5\r\n",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: 5, 5\r\n",
            "content-length: +5\r\n",
            "content-length: 0x5\r\n",
            "content-length:\r\n",
            "content-length: 99999999999999999999\r\n",
            "content-length: 5\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: identity\r\n",
            "transfer-encoding: xchunked\r\n",
            "content-length : 5\r\n",
            "a: b\r\n c\r\n",
            "a: b\nc: d\r\n",
            "a: b\rc: d\r\n",
            "a: b\0\r\n",
            ": b\r\n",
            "no colon\r\n",
        ] {
            assert_eq!(framing(fields), None, "{fields:?}");
        }
    }

    #[test]
    fn only_http_1_is_an_answer() {
        for text in [
            "\r\nHTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "http/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\n\n",
            "SSH-2.0-",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
        ] {
            assert!(head_of(text).is_err(), "{text:?}");
        }
        assert!(head_of("HTTP/1.1 200 OK\r\na: b\r\n").unwrap().is_none());
        let old = head_of("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n")
            .unwrap()
            .unwrap();
        assert!(!old.persistent && old.reason.is_none());
        let odd = head_of("HTTP/1.1 299 Well Done\r\n\r\n").unwrap().unwrap();
        assert_eq!(odd.reason.unwrap().as_bytes(), b"Well Done");
        assert!(head_of("HTTP/1.1 200\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn what_has_no_body_has_none_whatever_it_says() {
        for status in ["204", "304", "103"] {
            let head = head_of(&format!("HTTP/1.1 {status} X\r\ncontent-length: 9\r\n\r\n"));
            assert_eq!(head.unwrap().unwrap().framing, Framing::Length(0), "{status}");
        }
        let text = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n";
        let head = read(&mut BytesMut::from(text), &mut EndOfHead::default(), true);
        assert_eq!(head.unwrap().unwrap().framing, Framing::Length(0));
    }

    #[test]
    fn heads_without_end_are_refused() {
        let line = "a: b\r\n";
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", line.repeat(MOST_FIELDS + 1));
        assert!(head_of(&many).is_err());
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(HEAD_BYTES));
        assert!(head_of(&long).is_err());
    }

    #[test]
    fn a_head_that_drips_in_is_looked_at_once() {
        let text = b"HTTP/1.1 200 OK\r\na: b\r\n\r\nrest";
        let mut end = EndOfHead::default();
        for length in 0..text.len() - 4 {
            assert_eq!(end.find(&text[..length]), Ok(None), "{length}");
            assert_eq!(end.looked_at, length);
        }
        assert_eq!(end.find(text), Ok(Some(text.len() - 4)));
    }

    #[test]
    fn trailers_say_nothing_about_the_message() {
        let bytes = Bytes::from_static(b"x-sum: 1\r\ncontent-length: 5\r\nconnection: close\r\nX-Sum: 2\r\n\r\n");
        let trailers = trailers(&bytes).unwrap();
        let sums: Vec<&[u8]> = trailers.get_all("x-sum").iter().map(HeaderValue::as_bytes).collect();
        assert_eq!((trailers.len(), sums), (2, vec![&b"1"[..], b"2"]));
    }
}
