//! Uploads that go on after their answer, and connections that end in the middle of one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_ingress::LeastPace;

use crate::support::*;

/// What came of an upload, as its instance sees it.
#[derive(Default)]
struct Seen {
    bytes: AtomicUsize,
    ended: AtomicBool,
}

/// An app that answers as soon as it has read a head, and takes whatever comes then.
async fn hasty_app() -> (App, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let told = Arc::clone(&seen);
    let app = App::start_raw(move |mut stream| {
        let told = Arc::clone(&told);
        async move {
            let read = read_head(&mut stream).await;
            let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
                return;
            };
            told.bytes.fetch_add(read.len() - end - 4, Ordering::Relaxed);
            let answer = b"HTTP/1.1 202 Accepted\r\ncontent-length: 2\r\n\r\nok";
            let _ = stream.write_all(answer).await;
            let mut buffer = vec![0; 65_536];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                told.bytes.fetch_add(length, Ordering::Relaxed);
            }
            told.ended.store(true, Ordering::Relaxed);
        }
    })
    .await;
    (app, seen)
}

async fn node() -> TestNode {
    TestNode::start_with(|config| {
        let limits = &mut config.limits;
        limits.header_read_timeout = Duration::from_millis(400);
        limits.body_idle_timeout = Duration::from_millis(1_500);
        limits.body_pace = LeastPace {
            bytes_per_s: 20,
            window: Duration::from_millis(500),
        };
    })
    .await
}

/// Begins an upload, whose answer comes at once.
async fn begun(node: &TestNode, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = within(5, "the answer", read_head(&mut stream)).await;
    assert!(answer.starts_with(b"HTTP/1.1 202"), "{answer:?}");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_after_its_answer_for_as_long_as_it_keeps_its_pace() {
    let node = node().await;
    let (app, seen) = hasty_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut stream = begun(&node, 400).await;
    // Several times as long as a head may take.
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(&[b'u'; 20]).await.unwrap();
    }
    let busy = node.control.load(app.backend.instance).in_flight;
    eventually("the instance has got all", || seen.bytes.load(Ordering::Relaxed) == 400).await;
    assert_eq!(busy, 1, "the instance was busy with it");
    eventually("it is not busy any more", || {
        node.control.load(app.backend.instance).in_flight == 0
    })
    .await;
    assert!(!seen.ended.load(Ordering::Relaxed) || seen.bytes.load(Ordering::Relaxed) == 400);
    // The connection is as good as any.
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n")
        .await
        .unwrap();
    let again = within(5, "another answer", read_head(&mut stream)).await;
    assert!(String::from_utf8_lossy(&again).contains("HTTP/1.1 202"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_stops_or_dribbles_after_its_answer_is_ended() {
    let node = node().await;
    for dribbles in [false, true] {
        let (app, seen) = hasty_app().await;
        node.control.publish_and_wait(routes(&[&app])).await;
        let mut stream = begun(&node, 1_000).await;
        let start = Instant::now();
        while !seen.ended.load(Ordering::Relaxed) {
            assert!(start.elapsed() < Duration::from_secs(8), "it goes on for ever");
            tokio::time::sleep(Duration::from_millis(100)).await;
            if dribbles && stream.write_all(b"u").await.is_err() {
                break;
            }
        }
        eventually("the instance has lost it", || seen.ended.load(Ordering::Relaxed)).await;
        assert!(start.elapsed() > Duration::from_millis(400), "{:?}", start.elapsed());
        // Nor is the client waited for.
        let mut rest = Vec::new();
        let _ = within(5, "the end of the connection", stream.read_to_end(&mut rest)).await;
        eventually("nobody is busy", || {
            node.control.load(app.backend.instance).in_flight == 0
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_still_sending_reads_the_answer_of_an_instance_that_has_closed() {
    let node = TestNode::start().await;
    let app = App::start_raw(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!";
        let _ = stream.write_all(answer).await;
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    for _ in 0..10 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let head = "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 50000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        // It sends before it reads, as most clients do.
        for _ in 0..100 {
            stream.write_all(&[b'u'; 16_384]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut answer = Vec::new();
        let read = within(5, "the answer", async {
            while !answer.ends_with(b"no!") {
                if stream.read_buf(&mut answer).await? == 0 {
                    break;
                }
            }
            Ok::<_, std::io::Error>(())
        });
        read.await.expect("the connection was closed in order");
        assert!(answer.starts_with(b"HTTP/1.1 413") && answer.ends_with(b"no!"));
    }
}
