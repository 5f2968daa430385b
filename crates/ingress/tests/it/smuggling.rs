//! Requests that two readers could read differently. Whatever a client sends: what an instance gets
//! can be read in one way only, and no request is in it that the client did not make.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;
use crate::witness::{Got, Seen, witness};

/// What may reach an instance.
#[derive(Debug, Clone, Copy)]
enum Reaches {
    /// Nothing: the client is told, or the connection ends.
    Nothing,
    /// One request with this body.
    One(&'static str),
    /// That, or nothing.
    AtMost(&'static str),
    /// Two, of which the client made both.
    Two,
}
use Reaches::{AtMost, Nothing, One, Two};

/// Heads of requests to `shop.localhost` and what follows them. `@` stands for the number of the
/// case, `SMUGGLED` for a whole request that nobody made.
const CASES: &[(Reaches, &str)] = &[
    // As it should be.
    (One(""), "GET /@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (One("abc"), "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 3\r\n\r\nabc"),
    (
        One("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        Two,
        "GET /@/a HTTP/1.1\r\nHOST\r\n\r\nGET /@/b HTTP/1.1\r\nHOST\r\n\r\n",
    ),
    (
        Two,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 3\r\n\r\nabcGET /@/b HTTP/1.1\r\nHOST\r\n\r\n",
    ),
    // A body that looks like a request is a body.
    (
        One("GET / HTTP/1.1\r\n"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 16\r\n\r\nGET / HTTP/1.1\r\n",
    ),
    // Lengths.
    (
        AtMost(""),
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        AtMost(""),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        AtMost(""),
        "GET /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4\r\ncontent-length: 0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 0\r\ncontent-length: 4\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4, 0\r\n\r\nSMUGGLED",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 3, 3\r\n\r\nabc",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: +4\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: -4\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 0x4\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4 4\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4;\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: \r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 18446744073709551620\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length : 4\r\n\r\nabcdSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length\t: 4\r\n\r\nabcdSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\n content-length: 4\r\n\r\nabcdSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length:\r\n 4\r\n\r\nabcdSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: \x0b4\r\n\r\nabcdSMUGGLED",
    ),
    (
        AtMost(""),
        "GET /@/a HTTP/1.1\r\nHOST\r\nconnection: close\r\n\r\nSMUGGLED",
    ),
    // Codings.
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunkedx\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked;q=1\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: \x0bchunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\x0b\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\nx: a\r\n transfer-encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\ntransfer-encoding: identity\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: gzip\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.0\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        AtMost("abcd"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 4\r\ntransfer_encoding: chunked\r\n\r\nabcd",
    ),
    (
        AtMost(""),
        "POST /@/a HTTP/1.1\r\nHOST\r\ncontent-length: 5\r\nx: y\ntransfer-encoding: chunked\n\r\n0\r\n\r\n",
    ),
    (
        AtMost(""),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: CHUNKED\r\n\r\n0\r\n\r\n",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    ),
    // Chunks.
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n003\r\nabc\r\n000\r\n\r\n",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3;a\nb\r\nabc\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n10000000000000003\r\nabc\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\nSMUGGLED",
    ),
    (
        Nothing,
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\nSMUGGLED",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\ntrailer: x-late, host, content-length\r\n\r\n3\r\nabc\r\n0\r\nx-late: 1\r\nhost: evil\r\ncontent-length: 9\r\nx-forwarded-for: 6.6.6.6\r\n\r\n",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\ntransfer-encoding: chunked\r\ntrailer: x-forwarded-for, x-real-ip, transfer-encoding\r\n\r\n3\r\nabc\r\n0\r\nx-forwarded-for: 6.6.6.6\r\nx-real-ip: 6.6.6.6\r\ntransfer-encoding: chunked\r\n\r\n",
    ),
    // Ends of lines, NUL, control characters.
    (AtMost(""), "GET /@/a HTTP/1.1\nhost: shop.localhost\n\n"),
    (
        Nothing,
        "GET /@/a HTTP/1.1\r\nHOST\r\nx: a\rtransfer-encoding: chunked\r\n\r\n",
    ),
    (Nothing, "GET /@/a HTTP/1.1\rhost: shop.localhost\r\r"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx: a\0b\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx\0: a\r\n\r\n"),
    (Nothing, "GET /@/a\0 HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx: a\x7f\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx: a\r\n b\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\n HOST\r\nhost: shop.localhost\r\n\r\n"),
    // First lines.
    (Nothing, "GET /@/a\r\n\r\nSMUGGLED"),
    (Nothing, "GET  /@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a  HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET\t/@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, " GET /@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a b HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1 \r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1 HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a http/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.2\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/2.0\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.10\r\nHOST\r\n\r\n"),
    (Nothing, "G:T /@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET @/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (AtMost(""), "\r\n\r\nGET /@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    // Hosts.
    (Nothing, "GET /@/a HTTP/1.1\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nHOST\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nhost: evil\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nHost : evil\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nhost: shop.localhost, evil\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nhost: shop.localhost evil\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nhost: evil@shop.localhost\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nhost: shop.localhost:80x\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nhost: shop.localhost/evil\r\n\r\n"),
    (Nothing, "GET http://evil@shop.localhost/@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    (Nothing, "GET http://shop.localhost/@/a HTTP/1.1\r\n\r\n"),
    (
        AtMost(""),
        "GET http://shop.localhost/@/a HTTP/1.1\r\nhost: evil\r\n\r\n",
    ),
    (AtMost(""), "GET shop.localhost://evil/@/a HTTP/1.1\r\nHOST\r\n\r\n"),
    // What a client would like to be removed, kept, or believed.
    (
        One("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\nconnection: content-length, host, close\r\ncontent-length: 3\r\n\r\nabc",
    ),
    (
        One("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\nconnection: transfer-encoding\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        One(""),
        "GET /@/a HTTP/1.1\r\nHOST\r\nconnection: x-forwarded-for, x-real-ip, x-forwarded-proto\r\n\r\n",
    ),
    (
        One(""),
        "GET /@/a HTTP/1.1\r\nHOST\r\nx-forwarded-for: 6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\nforwarded: for=6.6.6.6\r\n\r\n",
    ),
    (
        One(""),
        "GET /@/a HTTP/1.1\r\nHOST\r\nx_forwarded_for: 6.6.6.6\r\nx_real-ip: 6.6.6.6\r\nX_Forwarded_Proto: https\r\n\r\n",
    ),
    (
        One(""),
        "GET /@/a HTTP/1.1\r\nHOST\r\nproxy: http://evil\r\nproxy-connection: x\r\nkeep-alive: 1\r\nx-weir: 1\r\n\r\n",
    ),
    // Who is not let in to another protocol speaks this one on.
    (
        Two,
        "GET /@/a HTTP/1.1\r\nHOST\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n\r\nGET /@/b HTTP/1.1\r\nHOST\r\n\r\n",
    ),
    (
        Two,
        "GET /@/a HTTP/1.1\r\nHOST\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 777\r\n\r\nGET /@/b HTTP/1.1\r\nHOST\r\n\r\n",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    ),
    (
        AtMost("abc"),
        "POST /@/a HTTP/1.1\r\nHOST\r\nexpect: y 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    ),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx y: 1\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\n: 1\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx\r\n\r\n"),
    (Nothing, "GET /@/a HTTP/1.1\r\nHOST\r\nx@y: 1\r\n\r\n"),
];

fn bytes(number: usize, case: &str) -> Vec<u8> {
    let smuggled = "GET /@/smuggled HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";
    // One case has a sign of its own in a host and in a name.
    case.replace("SMUGGLED", smuggled)
        .replace("HOST", "host: shop.localhost")
        .replace("/@/", &format!("/{number}/"))
        .into_bytes()
}

/// Sends, reads until the node closes or is silent for a while.
async fn send(address: std::net::SocketAddr, bytes: &[u8], silence: Duration) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A node that refuses may close before all is sent.
    let _ = stream.write_all(bytes).await;
    let mut read = Vec::new();
    while let Ok(Ok(1..)) = tokio::time::timeout(silence, stream.read_buf(&mut read)).await {}
    read
}

/// What became of a case; none if it is as it may be.
fn wrong(reaches: Reaches, got: &[&Got]) -> Option<String> {
    let whole: Vec<&&Got> = got.iter().filter(|got| got.whole).collect();
    let targets: Vec<&str> = got.iter().map(|got| got.target.as_str()).collect();
    let bodies: Vec<&str> = whole.iter().map(|got| got.body.as_str()).collect();
    let smuggled = targets.iter().any(|target| target.ends_with("/smuggled"));
    let sound = match reaches {
        // What broke off within its body came to nothing.
        Nothing => whole.is_empty(),
        One(body) => bodies == [body],
        AtMost(body) => bodies.is_empty() || bodies == [body],
        Two => targets.len() == 2 && whole.len() == 2,
    };
    (smuggled || !sound).then(|| format!("{reaches:?}, but {got:?}"))
}

/// Sends all cases at once; tells what came of those that went wrong.
async fn play(node: &TestNode, seen: &Arc<Mutex<Seen>>, cases: Vec<(Reaches, Vec<u8>)>) -> Vec<String> {
    let mut sent = tokio::task::JoinSet::new();
    for (_, bytes) in &cases {
        let (address, bytes) = (node.address, bytes.clone());
        sent.spawn(async move { send(address, &bytes, Duration::from_millis(700)).await });
    }
    sent.join_all().await;
    let seen = seen.lock().unwrap();
    let mut wrongs = seen.faults.clone();
    for (number, (reaches, bytes)) in cases.iter().enumerate() {
        let mark = format!("/{number}/");
        let got: Vec<&Got> = seen
            .requests
            .iter()
            .filter(|got| got.target.starts_with(&mark))
            .collect();
        if let Some(wrong) = wrong(*reaches, &got) {
            wrongs.push(format!("{}\n  {wrong}", String::from_utf8_lossy(bytes).escape_debug()));
        }
    }
    let unknown = |got: &&Got| !got.target[1..].starts_with(|first: char| first.is_ascii_digit());
    wrongs.extend(
        seen.requests
            .iter()
            .filter(unknown)
            .map(|got| format!("nobody made {got:?}")),
    );
    wrongs
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_gets_only_what_can_be_read_in_one_way() {
    let node = TestNode::start().await;
    let (app, seen) = witness().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let cases = CASES
        .iter()
        .enumerate()
        .map(|(number, (reaches, case))| (*reaches, bytes(number, case)))
        .collect();
    let wrong = play(&node, &seen, cases).await;
    assert!(wrong.is_empty(), "{} of them:\n{}", wrong.len(), wrong.join("\n"));
}

/// Bytes that make parsers stumble.
const CRUMBS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n\n",
    b"\0",
    b" ",
    b"\t",
    b"\x0b",
    b":",
    b";",
    b",",
    b"0",
    b"1",
    b"f",
    b"\xff",
    b"HTTP/1.1",
    b"chunked",
    b"transfer-encoding: chunked\r\n",
    b"content-length: 3\r\n",
    b"\r\n 3",
    b"connection: close\r\n",
    b"host: evil\r\n",
    b"0\r\n\r\n",
    b"x: y\n",
];

fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut bytes = bytes(0, CASES[random.usize(..CASES.len())].1);
    for _ in 0..random.usize(1..4) {
        let at = random.usize(..bytes.len());
        let until = (at + random.usize(..4)).min(bytes.len());
        let crumb = CRUMBS[random.usize(..CRUMBS.len())];
        match random.u8(..4) {
            0 => drop(bytes.splice(at..at, crumb.iter().copied())),
            1 => drop(bytes.splice(at..until, crumb.iter().copied())),
            2 => drop(bytes.drain(at..until)),
            _ => bytes[at] = random.u8(..),
        }
        if bytes.is_empty() {
            bytes.push(b'G');
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_does_it_when_requests_are_distorted_at_random() {
    let seed = std::env::var("WEIR_SMUGGLING_SEED").map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    let attempts = std::env::var("WEIR_SMUGGLING_ATTEMPTS").map_or(2_000, |number| number.parse().unwrap());
    let node = TestNode::start().await;
    let (app, seen) = witness().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sent = tokio::task::JoinSet::new();
    for _ in 0..attempts {
        let (address, bytes) = (node.address, mutated(&mut random));
        if sent.len() == 100 {
            sent.join_next().await.unwrap().unwrap();
        }
        sent.spawn(async move {
            let read = send(address, &bytes, Duration::from_millis(150)).await;
            assert!(
                read.is_empty() || read.starts_with(b"HTTP/1."),
                "{:?}",
                String::from_utf8_lossy(&read)
            );
        });
    }
    sent.join_all().await;
    let seen = seen.lock().unwrap();
    assert!(seen.requests.len() > 10, "hardly any of them got through");
    assert!(seen.faults.is_empty(), "seed {seed}: {:#?}", seen.faults);
}
