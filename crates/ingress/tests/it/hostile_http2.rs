//! Clients that send of HTTP/2 what costs them little and others much: what is known of such attacks
//! (CVE-2019-9511 to 9518, CVE-2023-44487, CVE-2024-27316, and bombs of compressed heads) ends their
//! connection, soon, and nobody beside them feels it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::memory::{is_alone, resident};
use crate::support::*;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// None of these attacks takes longer.
const LONGEST: Duration = Duration::from_secs(60);
/// What the attacks take of memory, all of them one after the other; what the tests themselves take included.
const MOST_MEMORY: u64 = 64 << 20;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A field that is not from a table and not compressed; `kept`: the other side shall keep it in its table.
fn field(name: &str, value: &str, kept: bool) -> Vec<u8> {
    let mut bytes = vec![if kept { 0x40 } else { 0 }];
    for text in [name, value] {
        match text.len().checked_sub(127) {
            None => bytes.push(u8::try_from(text.len()).unwrap()),
            Some(mut rest) => {
                bytes.push(127);
                while rest >= 128 {
                    bytes.push(u8::try_from(rest % 128 + 128).unwrap());
                    rest /= 128;
                }
                bytes.push(u8::try_from(rest).unwrap());
            }
        }
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// The fields of a GET of `/a`.
fn get() -> Vec<u8> {
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "shop.localhost"),
        (":path", "/a"),
    ];
    fields
        .iter()
        .flat_map(|(name, value)| field(name, value, false))
        .collect()
}

/// A connection, of which everything that comes is read and forgotten.
struct Attacker {
    writing: tokio::net::tcp::OwnedWriteHalf,
    ended: Arc<AtomicBool>,
    read: Arc<AtomicUsize>,
}

impl Attacker {
    async fn connect(address: SocketAddr) -> Self {
        let (mut reading, mut writing) = TcpStream::connect(address).await.unwrap().into_split();
        let (ended, read) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (told, counted) = (Arc::clone(&ended), Arc::clone(&read));
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(length @ 1..) = reading.read(&mut buffer).await {
                counted.fetch_add(length, Ordering::Relaxed);
            }
            told.store(true, Ordering::Relaxed);
        });
        writing
            .write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat())
            .await
            .unwrap();
        Self { writing, ended, read }
    }

    /// Sends so long as the node reads, `most` rounds at most. After how many rounds the connection ended.
    async fn send(mut self, most: u32, mut round: impl FnMut(u32) -> Vec<u8>, pause: Duration) -> Option<u32> {
        for number in 0..most {
            let sent = self.writing.write_all(&round(number)).await;
            if sent.is_err() || self.ended.load(Ordering::Relaxed) {
                return Some(number);
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        for _ in 0..200 {
            if self.ended.load(Ordering::Relaxed) {
                return Some(most);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        None
    }
}

/// An attack: what it is called, how many rounds there are at most, what is sent in each, and the pause behind.
type Attack = (&'static str, u32, fn(u32) -> Vec<u8>, Duration);

fn stream(number: u32) -> u32 {
    number * 2 + 1
}

/// The request of this number.
fn begun(number: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream(number), &get())
}

/// Its client does not want it any more.
fn taken_back(number: u32) -> Vec<u8> {
    frame(RESET, 0, stream(number), &[0, 0, 0, 8])
}

/// So many times the same.
fn times(number: usize, frame: Vec<u8>) -> Vec<u8> {
    frame.repeat(number)
}

const ATTACKS: [Attack; 12] = [
    (
        "pings",
        20_000,
        |_| times(100, frame(PING, 0, 0, &[7; 8])),
        Duration::ZERO,
    ),
    (
        "settings",
        20_000,
        |_| times(100, frame(SETTINGS, 0, 0, &[])),
        Duration::ZERO,
    ),
    (
        "settings that say something",
        20_000,
        |_| times(100, frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255])),
        Duration::ZERO,
    ),
    (
        "frames of no kind",
        20_000,
        |_| frame(0xbe, 0, 0, &[0; 4_096]),
        Duration::ZERO,
    ),
    (
        "priorities",
        20_000,
        |_| times(100, frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        Duration::ZERO,
    ),
    (
        "windows",
        20_000,
        // Too many make a window that is too large, which is another mistake.
        |_| times(100, frame(WINDOW, 0, 0, &[0, 0, 0, 1])),
        Duration::ZERO,
    ),
    (
        "a head that has no end",
        20_000,
        |number| match number {
            0 => frame(HEADERS, END_STREAM, 1, &get()),
            _ => frame(CONTINUATION, 0, 1, &field("x", "y", false).repeat(10)),
        },
        Duration::ZERO,
    ),
    (
        "a head of nothing that has no end",
        20_000,
        |number| match number {
            0 => frame(HEADERS, END_STREAM, 1, &get()),
            _ => times(10, frame(CONTINUATION, 0, 1, &[])),
        },
        Duration::ZERO,
    ),
    (
        "bodies of nothing",
        20_000,
        |number| match number {
            0 => frame(HEADERS, END_HEADERS, 1, &get()),
            _ => times(10, frame(DATA, 0, 1, &[])),
        },
        Duration::ZERO,
    ),
    (
        "requests that are taken back at once",
        5_000,
        |number| [begun(number), taken_back(number)].concat(),
        Duration::ZERO,
    ),
    (
        "requests that are taken back while they are answered",
        400,
        |number| {
            let one = if number % 2 == 0 { begun } else { taken_back };
            (number / 2 * 50..(number / 2 + 1) * 50).flat_map(one).collect()
        },
        Duration::from_millis(30),
    ),
    (
        "heads that are small until they are unpacked",
        20_000,
        |number| {
            // The first one is kept, the others repeat it: 4 MB of 1 KiB.
            let bomb = match number {
                0 => field("x", &"y".repeat(4_000), true),
                _ => vec![0xbe; 1_000],
            };
            frame(
                HEADERS,
                END_HEADERS | END_STREAM,
                stream(number),
                &[get(), bomb].concat(),
            )
        },
        Duration::ZERO,
    ),
];

/// Answers after a moment.
async fn app() -> App {
    App::start(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Response::new(full("here"))
    })
    .await
}

/// Somebody who asks all the time until told to stop; the longest that she waited, and how often she asked.
fn visitor(address: SocketAddr, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<(Duration, u32)> {
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let (mut client, mut longest, mut asked) = (Client::connect(address).await, Duration::ZERO, 0);
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            let answer = client.send(Request::get("/").body(empty()).unwrap()).await;
            assert_eq!(answer.text(), "here");
            (longest, asked) = (longest.max(begun.elapsed()), asked + 1);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        (longest, asked)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn floods_end_their_connection_and_cost_others_nothing() {
    if !is_alone("hostile_http2::floods_end_their_connection_and_cost_others_nothing") {
        return;
    }
    let node = TestNode::start().await;
    let app = app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let stop = Arc::new(AtomicBool::new(false));
    let visitor = visitor(node.address, &stop);
    // What is there for good after a first request.
    let _ = Attacker::connect(node.address)
        .await
        .send(3, |_| frame(PING, 0, 0, &[0; 8]), Duration::ZERO)
        .await;
    let before = resident();
    let mut borne = Vec::new();
    for (name, most, round, pause) in ATTACKS {
        let (requests, begun) = (app.requests(), Instant::now());
        let attacker = Attacker::connect(node.address).await;
        let read = Arc::clone(&attacker.read);
        let ended = tokio::time::timeout(LONGEST, attacker.send(most, round, pause)).await;
        let requests = app.requests() - requests;
        println!(
            "{name}: ended after {ended:?} rounds and {:?}, {} bytes answered, {requests} requests beside and in it",
            begun.elapsed(),
            read.load(Ordering::Relaxed)
        );
        if !matches!(ended, Ok(Some(rounds)) if rounds < most) {
            borne.push(name);
        }
        assert!(requests < 2_500, "{name}: the app got {requests}");
    }
    assert!(borne.is_empty(), "these were borne to their end: {borne:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{grown} bytes");
    stop.store(true, Ordering::Relaxed);
    let (longest, asked) = within(10, "the visitor ends", visitor).await.unwrap();
    println!("a visitor asked {asked} times beside it and waited {longest:?} at most; {grown} bytes more in memory");
    assert!(asked > 10 && longest < Duration::from_secs(2), "{asked} {longest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_is_too_large_ends_its_own_stream_only() {
    let node = TestNode::start_with(|config| config.limits.header_bytes = 8 * 1024).await;
    let app = App::start(|_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        Response::new(full("here"))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let stream = TcpStream::connect(node.address).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, AppBody>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let ask = |bytes: usize| {
        let mut sender = sender.clone();
        let request = Request::get("http://shop.localhost/")
            .header("x", "y".repeat(bytes))
            .body(empty())
            .unwrap();
        async move {
            let answer = sender.send_request(request).await?;
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await?.to_bytes();
            Ok::<_, hyper::Error>((status, body))
        }
    };
    let beside = tokio::spawn(ask(1));
    tokio::time::sleep(Duration::from_millis(50)).await;
    // A page that says so, where it is a little too large; of what is much too large the stream ends.
    for (bytes, has_page) in [(9 * 1024, true), (24 * 1024, false)] {
        match within(5, "the answer", ask(bytes)).await {
            Ok((status, body)) => assert!(status == 431 && (!has_page || !body.is_empty()), "{status} {body:?}"),
            Err(error) => assert!(!has_page, "{bytes}: {error:?}"),
        }
    }
    let beside = within(5, "what was asked beside it", beside).await.unwrap().unwrap();
    assert_eq!(beside, (200, "here".into()));
    assert_eq!(within(5, "what is asked after it", ask(1)).await.unwrap().0, 200);
}
