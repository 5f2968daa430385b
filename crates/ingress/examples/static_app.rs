//! The app behind every proxy of `cargo xtask bench ingress`: 100 bytes to `/`, 64 KiB to `/64k`,
//! from memory, on one thread. It does as little as an HTTP/1.1 server can, so that what is measured
//! is the proxy.
//!
//! Prints where it listens, as a line of JSON, and serves until it is ended.
#![expect(clippy::unwrap_used, reason = "it fails where it cannot serve")]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::rc::Rc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;

/// Of a request's head.
const MOST_BYTES: usize = 16 * 1024;

struct Answers {
    small: Vec<u8>,
    large: Vec<u8>,
}

fn answer(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let answers = Rc::new(Answers {
        small: answer(&"s".repeat(100)),
        large: answer(&"l".repeat(64 * 1024)),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("{}", serde_json::json!({ "http": listener.local_addr().unwrap() }));
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::task::spawn_local(connection(stream, Rc::clone(&answers)));
        }
    };
    LocalSet::new().run_until(serve).await;
}

/// Answers one head after the other; whoever sends a body, or more than a head may have, is cut.
async fn connection(mut stream: TcpStream, answers: Rc<Answers>) {
    stream.set_nodelay(true).unwrap();
    let mut read = Vec::with_capacity(4096);
    while let Ok(1..) = stream.read_buf(&mut read).await {
        while let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = &read[..end];
            let answer = if head.starts_with(b"GET /64k ") {
                &answers.large
            } else if head.starts_with(b"GET / ") {
                &answers.small
            } else {
                return;
            };
            if stream.write_all(answer).await.is_err() {
                return;
            }
            read.drain(..end + 4);
        }
        if read.len() > MOST_BYTES {
            return;
        }
    }
}
