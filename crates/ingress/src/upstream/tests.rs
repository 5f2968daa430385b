//! Our client against sockets, and beside hyper's: the same bytes, cut at random places, give the same
//! answer or none. Ours may refuse more.

use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::body::RequestBody;

/// An answer that came whole.
#[derive(Debug, PartialEq, Eq)]
struct Whole {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(String, Vec<u8>)>,
}

fn sorted(headers: &http::HeaderMap) -> Vec<(String, Vec<u8>)> {
    let pair = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    let mut pairs: Vec<_> = headers.iter().map(pair).collect();
    pairs.sort_by(|one, other| one.0.cmp(&other.0));
    pairs
}

async fn whole<B: http_body::Body<Data = bytes::Bytes> + Unpin>(answer: http::Response<B>) -> Option<(Whole, B)> {
    let (parts, mut stream) = answer.into_parts();
    let (mut body, mut trailers) = (Vec::new(), Vec::new());
    while let Some(frame) = stream.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) => body.extend_from_slice(&data),
            Err(frame) => trailers = sorted(frame.trailers_ref()?),
        }
    }
    let (status, headers) = (parts.status.as_u16(), sorted(&parts.headers));
    let whole = Whole {
        status,
        headers,
        body,
        trailers,
    };
    Some((whole, stream))
}

fn request<B>(method: &str, body: B) -> http::Request<B> {
    let mut request = http::Request::new(body);
    *request.method_mut() = method.parse().unwrap();
    request
}

/// An instance that answers every connection's first request with these pieces, and closes.
async fn instance(pieces: Vec<Vec<u8>>, closes: bool) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n\r\n") {
                assert!(stream.read_buf(&mut read).await.unwrap() > 0);
            }
            for piece in &pieces {
                if stream.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            if closes {
                let _ = stream.shutdown().await;
            }
            open.push(stream);
        }
    });
    (address, task)
}

async fn wire(address: std::net::SocketAddr) -> (Wire, CancellationToken) {
    let cut = CancellationToken::new();
    let stream = TcpStream::connect(address).await.unwrap();
    (Wire::new(stream, cut.clone()), cut)
}

async fn by_ours(address: std::net::SocketAddr, method: &str) -> Option<(Whole, Option<Wire>)> {
    let (wire, _cut) = wire(address).await;
    let answer = send(wire, request(method, RequestBody::empty())).await.ok()?;
    let (whole, mut stream) = whole(answer).await?;
    Some((whole, stream.give_back()))
}

async fn by_hyper(address: std::net::SocketAddr, method: &str) -> Option<Whole> {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    let connection = tokio::spawn(connection);
    let mut request = request(method, http_body_util::Empty::<bytes::Bytes>::new());
    *request.uri_mut() = http::Uri::from_static("/");
    let answer = sender.send_request(request).await.ok()?;
    let (whole, _) = whole(answer).await?;
    connection.abort();
    Some(whole)
}

fn pick<'a, T: ?Sized>(random: &mut fastrand::Rng, from: &[&'a T]) -> &'a T {
    from[random.usize(..from.len())]
}

/// A sound answer.
fn sound(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut text = Vec::new();
    if random.u8(..4) == 0 {
        text.extend_from_slice(pick(
            random,
            &[
                &b"HTTP/1.1 100 Continue\r\n\r\n"[..],
                b"HTTP/1.1 103 E\r\nlink: a\r\n\r\n",
            ],
        ));
    }
    let line = pick(
        random,
        &[
            "200 OK",
            "204 No Content",
            "304 Not Modified",
            "404 Not Found",
            "599 Odd",
            "500 ",
        ],
    );
    text.extend_from_slice(format!("HTTP/1.{} {line}\r\n", u8::from(random.u8(..8) > 0)).as_bytes());
    let is_http11 = text.windows(9).rev().any(|window| window == b"HTTP/1.1 ") && !text.ends_with(b"0");
    let fields = [
        "x-a: 1",
        "X-B:  two \t",
        "set-cookie: a=b",
        "connection: close",
        "x-a: \u{e4}",
        "empty:",
    ];
    for _ in 0..random.usize(..4) {
        text.extend_from_slice(pick(random, &fields.map(|field| field)).as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    let longest = if random.bool() { 30 } else { 20_000 };
    let body: Vec<u8> = (0..random.usize(..longest))
        .map(|_| random.alphanumeric() as u8)
        .collect();
    let is_old = text.starts_with(b"HTTP/1.0") || text.windows(8).any(|window| window == b"HTTP/1.0");
    match random.u8(..3) {
        0 if is_http11 && !is_old => {
            text.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(random.usize(1..10_000)) {
                let extension = pick(random, &["", "", ";a=b", " ;c"]);
                text.extend_from_slice(format!("{:X}{extension}\r\n", chunk.len()).as_bytes());
                text.extend_from_slice(chunk);
                text.extend_from_slice(b"\r\n");
            }
            text.extend_from_slice(pick(
                random,
                &[&b"0\r\n\r\n"[..], b"0\r\nx-sum: 1\r\n\r\n", b"000;x\r\n\r\n"],
            ));
        }
        1 => text.extend_from_slice(&[b"\r\n", &body[..]].concat()),
        _ => {
            text.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
            text.extend_from_slice(&body);
        }
    }
    text
}

/// Changes a few bytes near the places that matter.
fn distort(random: &mut fastrand::Rng, text: &mut Vec<u8>) {
    let parts: [&[u8]; 14] = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b":",
        b"0",
        b"f",
        b"\0",
        b",",
        b";",
        b"\r\n\r\n",
        b"Content-Length: 3\r\n",
        b"chunked",
        b"HTTP/1.1 ",
    ];
    for _ in 0..random.usize(1..4) {
        let breaks: Vec<usize> = (0..text.len()).filter(|at| b"\r\n:;".contains(&text[*at])).collect();
        let near = breaks
            .get(random.usize(..breaks.len().max(1)))
            .copied()
            .unwrap_or_default();
        let at = (near + random.usize(..4)).saturating_sub(1).min(text.len());
        let end = (at + random.usize(..3)).min(text.len());
        let with = if random.bool() { pick(random, &parts) } else { b"" };
        text.splice(at..end, with.iter().copied());
    }
}

fn pieces(random: &mut fastrand::Rng, text: &[u8]) -> Vec<Vec<u8>> {
    let longest = if random.bool() {
        1 + text.len()
    } else {
        1 + text.len() / 7
    };
    let (mut pieces, mut rest) = (Vec::new(), text);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(random.usize(1..=longest).min(rest.len()));
        pieces.push(piece.to_vec());
        rest = after;
    }
    pieces
}

#[tokio::test]
async fn the_same_bytes_mean_the_same_as_to_hyper_or_are_refused() {
    let (mut same, mut stricter) = (0, 0);
    for seed in 0..1_500 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut text = sound(&mut random);
        let is_sound = random.bool();
        if !is_sound {
            distort(&mut random, &mut text);
        }
        let method = pick(&mut random, &["GET", "GET", "GET", "HEAD", "POST"]);
        let (address, task) = instance(pieces(&mut random, &text), true).await;
        let both = async { (by_ours(address, method).await, by_hyper(address, method).await) };
        let (ours, hypers) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
        task.abort();
        let shown = text[..text.len().min(300)].escape_ascii().to_string();
        match (ours, hypers) {
            (Some((ours, _)), Some(hypers)) => {
                assert_eq!(ours, hypers, "seed {seed}, {method}: {shown}");
                same += 1;
            }
            (None, None) => same += 1,
            (None, Some(_)) => {
                assert!(!is_sound, "seed {seed}, {method}: a sound answer is refused: {shown}");
                stricter += 1;
            }
            (Some(ours), None) => panic!("seed {seed}, {method}: hyper refuses {shown}, and we read {ours:?}"),
        }
    }
    assert!(same > 1_000 && stricter > 10, "{same} {stricter}");
}

#[tokio::test]
async fn a_connection_is_used_again_only_if_both_sides_know_where_they_are() {
    let cases: [(&str, &str, bool); 9] = [
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", true),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
            true,
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", true),
        ("GET", "HTTP/1.1 204 No Content\r\n\r\n", true),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nabHTTP/1.1 200 OK\r\n",
            false,
        ),
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nab", false),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 2\r\n\r\nab", false),
        (
            "GET",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab",
            false,
        ),
        ("GET", "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nab", false),
    ];
    for (method, text, again) in cases {
        let (address, _task) = instance(vec![text.into()], false).await;
        let (_, wire) = by_ours(address, method).await.unwrap();
        assert_eq!(wire.is_some(), again, "{method} {text:?}");
    }
}

#[tokio::test]
async fn what_happens_to_an_idle_connection_is_noticed() {
    for (extra, closes) in [(&b""[..], true), (b"HTTP/1.1 408 Request Timeout\r\n\r\n", false)] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (wire, _cut) = wire(listener.local_addr().unwrap()).await;
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(wire.is_silent());
        stream.write_all(extra).await.unwrap();
        if closes {
            stream.shutdown().await.unwrap();
        }
        tokio::time::timeout(Duration::from_secs(5), async {
            while wire.is_silent() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn a_request_of_which_nothing_was_written_comes_back_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(true).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = std::io::Write::flush(&mut stream);
    let wire = Wire::new(TcpStream::from_std(stream).unwrap(), CancellationToken::new());
    let mut asked = request("POST", RequestBody::empty());
    asked.headers_mut().insert("x-a", http::HeaderValue::from_static("1"));
    let failed = send(wire, asked).await.unwrap_err();
    assert!(
        failed.unsent && failed.request.headers().contains_key("x-a"),
        "{failed:?}"
    );
    // One that was sent, and not answered, does not.
    let (address, _task) = instance(Vec::new(), true).await;
    let (wire, _cut) = self::wire(address).await;
    let failed = send(wire, request("GET", RequestBody::empty())).await.unwrap_err();
    assert!(!failed.unsent && matches!(failed.error, Broken::Closed), "{failed:?}");
}

#[tokio::test]
async fn what_is_cut_has_not_ended_well() {
    let (address, _task) = instance(vec![b"HTTP/1.1 200 OK\r\n\r\nhalf".to_vec()], false).await;
    let (wire, cut) = wire(address).await;
    let answer = send(wire, request("GET", RequestBody::empty())).await.unwrap();
    let mut stream = answer.into_body();
    assert_eq!(stream.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    cut.cancel();
    assert!(stream.frame().await.unwrap().is_err());
    assert!(stream.frame().await.is_none() && stream.give_back().is_none());
    // And neither has an exchange without an answer.
    let (address, _task) = instance(Vec::new(), false).await;
    let (wire, cut) = self::wire(address).await;
    let asked = tokio::spawn(send(wire, request("GET", RequestBody::empty())));
    tokio::time::sleep(Duration::from_millis(20)).await;
    cut.cancel();
    let failed = asked.await.unwrap().unwrap_err();
    assert!(matches!(failed.error, Broken::Connection(_)), "{failed:?}");
}

#[tokio::test]
async fn heads_before_the_final_one_are_not_endless() {
    let interim = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(17);
    let text = format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let (address, _task) = instance(vec![text.into()], false).await;
    assert!(by_ours(address, "GET").await.is_none());
}
