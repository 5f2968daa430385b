//! HTTP/2 carries what HTTP/1.1 cannot say: names, values and paths with ends of lines in them, bodies
//! that are not as long as they say. None of that may become a request of HTTP/1.1 that nobody
//! made. The frames are written by hand, because no library sends such requests.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::hostile_http2::{DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame};
use crate::support::*;
use crate::witness::witness;

/// A field as it is: not from a table, not compressed.
fn field(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).unwrap());
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// A request: its fields, and a body if there is one.
#[derive(Clone)]
struct Attempt {
    name: &'static str,
    fields: Vec<(&'static str, &'static str)>,
    body: Option<&'static str>,
    /// Whether it may be served, as one request.
    may_be_served: bool,
}

/// A sound GET of `/a`, in which the fields replace those of the same name or come behind.
fn attempt(name: &'static str, changed: &[(&'static str, &'static str)], body: Option<&'static str>) -> Attempt {
    let mut fields = vec![
        (":method", if body.is_some() { "POST" } else { "GET" }),
        (":scheme", "http"),
        (":authority", "shop.localhost"),
        (":path", "/a"),
    ];
    for (key, value) in changed {
        match fields.iter_mut().find(|(known, _)| known == key) {
            Some(field) => field.1 = *value,
            None => fields.push((*key, *value)),
        }
    }
    Attempt {
        name,
        fields,
        body,
        may_be_served: false,
    }
}

fn served(mut attempt: Attempt) -> Attempt {
    attempt.may_be_served = true;
    attempt
}

const SMUGGLED: &str = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";

/// Of fields and bodies.
fn fields_and_bodies() -> Vec<Attempt> {
    let line = "a\r\nGET /smuggled HTTP/1.1\r\nhost: shop.localhost";
    vec![
        attempt("a coding", &[("transfer-encoding", "chunked")], Some(SMUGGLED)),
        attempt("a length that is too short", &[("content-length", "0")], Some(SMUGGLED)),
        attempt("a length that is too long", &[("content-length", "99")], Some("abc")),
        attempt("a length that is none", &[("content-length", "3 3")], Some("abc")),
        attempt("two lengths in one", &[("content-length", "3, 4")], Some("abc")),
        attempt("connection", &[("connection", "keep-alive, x")], None),
        attempt("proxy-connection", &[("proxy-connection", "keep-alive")], None),
        attempt("upgrade", &[("upgrade", "h2c")], None),
        attempt("te that is not trailers", &[("te", "chunked")], None),
        attempt("a line in a value", &[("x", line)], None),
        attempt(
            "an end of line in a value",
            &[("x", "a\ntransfer-encoding: chunked")],
            Some(SMUGGLED),
        ),
        attempt("a carriage return in a value", &[("x", "a\rb")], None),
        attempt("NUL in a value", &[("x", "a\0b")], None),
        attempt(
            "a colon in a name",
            &[("transfer-encoding: chunked", "x")],
            Some(SMUGGLED),
        ),
        attempt("a line in a name", &[("x: a\r\nhost", "evil")], None),
        attempt(
            "a space in a name",
            &[("transfer-encoding ", "chunked")],
            Some(SMUGGLED),
        ),
        attempt(
            "a name with large letters",
            &[("Transfer-Encoding", "chunked")],
            Some(SMUGGLED),
        ),
        attempt("a name without letters", &[("", "x")], None),
    ]
}

/// Of what HTTP/1.1 says in its first line, and of the host.
fn first_lines() -> Vec<Attempt> {
    let twice = |key, value| {
        let mut doubled = attempt("a field twice", &[], None);
        let at = doubled.fields.iter().position(|(known, _)| *known == key);
        doubled.fields.insert(at.map_or(4, |at| at + 1), (key, value));
        doubled
    };
    let mut late = attempt("a pseudo field behind others", &[], None);
    late.fields.insert(0, ("x", "y"));
    let mut pathless = attempt("no path", &[], None);
    pathless.fields.retain(|(name, _)| *name != ":path");
    vec![
        attempt(
            "a line in the path",
            &[(":path", "/a HTTP/1.1\r\nhost: evil\r\n\r\nGET /smuggled")],
            None,
        ),
        attempt("a space in the path", &[(":path", "/a HTTP/1.1")], None),
        attempt("an empty path", &[(":path", "")], None),
        attempt("a path that is none", &[(":path", "a")], None),
        attempt("another host in the path", &[(":path", "http://evil/a")], None),
        attempt(
            "a line in the method",
            &[(":method", "GET /smuggled HTTP/1.1\r\nx:")],
            None,
        ),
        attempt("a space in the method", &[(":method", "GET /smuggled")], None),
        attempt("CONNECT", &[(":method", "CONNECT")], None),
        attempt("a line in the host", &[(":authority", "shop.localhost\r\nx: y")], None),
        attempt("somebody in the host", &[(":authority", "evil@shop.localhost")], None),
        attempt("another host", &[("host", "evil")], None),
        attempt("a path in the host", &[(":authority", "shop.localhost/x")], None),
        attempt("an empty host", &[(":authority", "")], None),
        attempt("a line in the scheme", &[(":scheme", "http://x\r\n")], None),
        attempt("an unknown pseudo field", &[(":x", "y")], None),
        attempt("a field for answers", &[(":status", "200")], None),
        twice(":path", "/smuggled"),
        twice(":authority", "evil"),
        twice(":method", "POST"),
        late,
        pathless,
    ]
}

fn nothing_wrong() -> Vec<Attempt> {
    vec![
        served(attempt("nothing wrong", &[], None)),
        served(attempt("a body that looks like a request", &[], Some(SMUGGLED))),
        served(attempt("te: trailers", &[("te", "trailers")], None)),
        served(attempt("the same host twice", &[("host", "shop.localhost")], None)),
        served(attempt(
            "a forged client",
            &[("x-forwarded-for", "6.6.6.6"), ("x_real_ip", "6.6.6.6")],
            None,
        )),
    ]
}

/// Whether the head of an answer is among the frames.
fn is_answered(mut frames: &[u8]) -> bool {
    while let [high, middle, low, kind, _, _, _, _, _, rest @ ..] = frames {
        if *kind == HEADERS {
            return true;
        }
        let length = u32::from_be_bytes([0, *high, *middle, *low]);
        frames = rest.get(usize::try_from(length).unwrap()..).unwrap_or_default();
    }
    false
}

/// Sends it on a connection of its own and reads what comes for a while.
async fn send(address: SocketAddr, attempt: &Attempt) {
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let block: Vec<u8> = attempt
        .fields
        .iter()
        .flat_map(|(name, value)| field(name, value))
        .collect();
    match attempt.body {
        None => bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)),
        Some(body) => {
            bytes.extend(frame(HEADERS, END_HEADERS, 1, &block));
            bytes.extend(frame(DATA, END_STREAM, 1, body.as_bytes()));
        }
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(&bytes).await;
    let mut read = Vec::new();
    // What comes later than this counts against the next attempt.
    let silence = Duration::from_millis(if attempt.may_be_served { 5_000 } else { 100 });
    while !(attempt.may_be_served && is_answered(&read)) {
        let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read_buf(&mut read)).await else {
            break;
        };
    }
    assert!(!read.is_empty(), "{}: not even settings came", attempt.name);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_only_http2_can_say_reaches_an_instance() {
    let node = TestNode::start().await;
    let (app, seen) = witness().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut wrong = Vec::new();
    for attempt in [fields_and_bodies(), first_lines(), nothing_wrong()].concat() {
        send(node.address, &attempt).await;
        let seen = std::mem::take(&mut *seen.lock().unwrap());
        let whole: Vec<_> = seen.requests.iter().filter(|got| got.whole).collect();
        let sound = match whole[..] {
            [] => !attempt.may_be_served,
            [got] => attempt.may_be_served && got.target == "/a" && got.body == attempt.body.unwrap_or_default(),
            _ => false,
        };
        if !sound || !seen.faults.is_empty() {
            wrong.push(format!("{}: {seen:?}", attempt.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
