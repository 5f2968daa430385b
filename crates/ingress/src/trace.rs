//! The names under which a request is known on all its way: `x-request-id`, and `traceparent` and
//! `tracestate` of the W3C (Trace Context, Level 1). What comes in well-formed is passed on;
//! anything else is replaced, so that hostile words get neither to apps nor into logs.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::headers::X_REQUEST_ID;

/// Which trace a request belongs to, and who called.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
/// Longest `x-request-id` that is passed on.
const REQUEST_ID_BYTES: usize = 128;
/// `00-`, the trace, `-`, the caller, `-`, flags.
const TRACEPARENT_BYTES: usize = 55;
const TRACE_ID: std::ops::Range<usize> = 3..35;
const PARENT_ID: std::ops::Range<usize> = 36..52;
/// Most bytes of `tracestate` that are passed on: what its specification wants at least.
const TRACESTATE_BYTES: usize = 512;
const HEX: &[u8; 16] = b"0123456789abcdef";

/// The names of one request.
#[derive(Debug, Clone)]
pub(crate) struct Trace {
    pub(crate) request_id: HeaderValue,
    traceparent: HeaderValue,
}

impl Trace {
    /// 32 hexadecimal digits.
    pub(crate) fn trace_id(&self) -> &str {
        self.traceparent
            .to_str()
            .ok()
            .and_then(|text| text.get(TRACE_ID))
            .unwrap_or_default()
    }
}

/// Reads the names of a request, and gives it those that it lacks.
pub(crate) fn identify(headers: &mut HeaderMap) -> Trace {
    let request_id = match single(headers, &X_REQUEST_ID) {
        Some(id) if is_sound_request_id(id) => id.clone(),
        _ => {
            let id = random_request_id();
            headers.insert(X_REQUEST_ID, id.clone());
            id
        }
    };
    let traceparent = match single(headers, &TRACEPARENT) {
        Some(parent) if is_traceparent(parent.as_bytes()) => {
            let parent = parent.clone();
            if headers.contains_key(TRACESTATE) && !is_tracestate(headers) {
                headers.remove(TRACESTATE);
            }
            parent
        }
        _ => {
            // A state without its trace says nothing.
            headers.remove(TRACESTATE);
            let parent = random_traceparent();
            headers.insert(TRACEPARENT, parent.clone());
            parent
        }
    };
    Trace {
        request_id,
        traceparent,
    }
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn is_sound_request_id(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    !bytes.is_empty() && bytes.len() <= REQUEST_ID_BYTES && bytes.iter().all(allowed)
}

/// Whether it is one of version 00, or of a later one that begins in the same way.
fn is_traceparent(text: &[u8]) -> bool {
    let hex = |range: std::ops::Range<usize>| {
        let digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.get(range).is_some_and(|part| part.iter().all(digit))
    };
    let not_zero = |range: std::ops::Range<usize>| text[range].iter().any(|byte| *byte != b'0');
    let version = text.get(..2);
    let length_fits = match version {
        Some(b"00") => text.len() == TRACEPARENT_BYTES,
        Some(b"ff") | None => false,
        Some(_) => text.len() == TRACEPARENT_BYTES || (text.get(TRACEPARENT_BYTES) == Some(&b'-') && text.len() <= 256),
    };
    length_fits
        && hex(0..2)
        && hex(TRACE_ID)
        && hex(PARENT_ID)
        && hex(53..55)
        && [2, 35, 52].iter().all(|dash| text[*dash] == b'-')
        && not_zero(TRACE_ID)
        && not_zero(PARENT_ID)
}

/// Whether the lines of `tracestate` together are a list of members that may be passed on.
fn is_tracestate(headers: &HeaderMap) -> bool {
    let (mut bytes, mut members) = (0, 0);
    for line in headers.get_all(TRACESTATE) {
        bytes += line.len();
        let Ok(text) = line.to_str() else { return false };
        for member in text.split(',').map(str::trim).filter(|member| !member.is_empty()) {
            members += 1;
            let Some((key, value)) = member.split_once('=') else {
                return false;
            };
            let key_fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
            if key.is_empty() || key.len() > 256 || !key.bytes().all(key_fits) || value.is_empty() || value.len() > 256
            {
                return false;
            }
        }
    }
    bytes <= TRACESTATE_BYTES && (1..=32).contains(&members)
}

fn random_request_id() -> HeaderValue {
    let mut text = [0; 32];
    write_hex(&mut text, fastrand::u128(..));
    ascii(&text)
}

/// Not sampled: whoever wants to record it decides so himself.
fn random_traceparent() -> HeaderValue {
    let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
    write_hex(&mut text[TRACE_ID], fastrand::u128(1..));
    write_hex(&mut text[PARENT_ID], u128::from(fastrand::u64(1..)));
    ascii(&text)
}

fn write_hex(place: &mut [u8], mut number: u128) {
    for digit in place.iter_mut().rev() {
        *digit = HEX[usize::try_from(number & 15).unwrap_or(0)];
        number >>= 4;
    }
}

fn ascii(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn identified(given: &[(&'static str, &str)]) -> (Trace, HeaderMap) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        (identify(&mut headers), headers)
    }

    #[test]
    fn what_is_well_formed_is_passed_on() {
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        for parent in [GOOD, later] {
            let state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE";
            let (trace, headers) = identified(&[
                ("traceparent", parent),
                ("tracestate", state),
                ("x-request-id", "abc-123"),
            ]);
            assert_eq!(headers["traceparent"], parent);
            assert_eq!(headers["tracestate"], state);
            assert_eq!(trace.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
            assert_eq!(
                (trace.request_id.as_bytes(), &headers["x-request-id"]),
                (&b"abc-123"[..], &trace.request_id)
            );
        }
    }

    #[test]
    fn what_is_absent_or_wrong_is_made_anew_and_not_sampled() {
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0g-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            let (trace, headers) = identified(&[("traceparent", wrong), ("tracestate", "a=1")]);
            let made = headers["traceparent"].to_str().unwrap();
            assert!(
                is_traceparent(made.as_bytes()) && made.ends_with("-00"),
                "{wrong}: {made}"
            );
            assert_eq!(trace.trace_id(), &made[TRACE_ID]);
            assert!(!headers.contains_key("tracestate"), "{wrong}");
        }
        let (first, _) = identified(&[]);
        let (second, headers) = identified(&[]);
        assert_ne!(first.trace_id(), second.trace_id());
        assert_ne!(first.request_id, second.request_id);
        assert_eq!(headers["x-request-id"].len(), 32);
    }

    #[test]
    fn two_of_one_name_are_none() {
        let (_, headers) = identified(&[
            ("traceparent", GOOD),
            ("traceparent", GOOD),
            ("x-request-id", "a"),
            ("x-request-id", "b"),
        ]);
        assert_eq!(headers.get_all("traceparent").iter().count(), 1);
        assert_ne!(headers["traceparent"], GOOD);
        assert_eq!(headers.get_all("x-request-id").iter().count(), 1);
        assert_eq!(headers["x-request-id"].len(), 32);
    }

    #[test]
    fn hostile_names_go_nowhere() {
        for wrong in ["", "a b", "a\"b", "<x>", "a,b", "{}", "\u{e9}", &"a".repeat(129)] {
            let (trace, headers) = identified(&[("x-request-id", wrong)]);
            assert_eq!(headers["x-request-id"].len(), 32, "{wrong}");
            assert_eq!(headers["x-request-id"], trace.request_id);
        }
        for wrong in [
            "a",
            "=1",
            "A=1",
            "a=",
            &format!("a={}", "x".repeat(257)),
            &"a=1,".repeat(33),
        ] {
            let (_, headers) = identified(&[("traceparent", GOOD), ("tracestate", wrong)]);
            assert!(!headers.contains_key("tracestate"), "{wrong}");
            assert_eq!(headers["traceparent"], GOOD);
        }
    }
}
