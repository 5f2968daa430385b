//! Requests and answers that overlap, and answers that could be read in two ways.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::support::*;

/// An app that sends these bytes once it has read a head, and keeps the connection.
async fn saying(answer: impl Into<Vec<u8>>) -> App {
    let answer = Arc::new(answer.into());
    App::start_raw(move |mut stream| {
        let answer = Arc::clone(&answer);
        async move {
            while !read_head(&mut stream).await.is_empty() {
                let _ = stream.write_all(&answer).await;
            }
        }
    })
    .await
}

/// A body of which the parts come as they are sent.
fn streamed() -> (mpsc::Sender<Bytes>, AppBody) {
    let (sender, receiver) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(receiver, |mut receiver: mpsc::Receiver<Bytes>| async {
        let part = receiver.recv().await?;
        Some((Ok(Frame::data(part)), receiver))
    });
    (sender, StreamBody::new(Box::pin(frames)).boxed())
}

#[tokio::test(flavor = "multi_thread")]
async fn both_sides_may_speak_at_once() {
    let node = TestNode::start().await;
    let echo =
        App::start(|request| async move { http::Response::new(request.into_body().map_err(|_| panic!()).boxed()) });
    let echo = echo.await;
    node.control.publish_and_wait(routes(&[&echo])).await;
    let (parts, body) = streamed();
    let mut client = Client::connect(node.address).await;
    let asked = client.begin(Request::post("/").body(body).unwrap());
    parts.send("zero".into()).await.unwrap();
    let mut answer = within(5, "the head", asked).await.unwrap();
    for part in ["zero", "one", "two", "three"] {
        if part != "zero" {
            parts.send(part.into()).await.unwrap();
        }
        let frame = within(5, part, answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    drop(parts);
    assert!(within(5, "the end", answer.body_mut().frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_while_nobody_reads_the_answer_and_after_it_has_ended() {
    const UPLOAD_BYTES: usize = 20_000_000;
    for answer_bytes in [8, 8_000_000] {
        let node = TestNode::start().await;
        let uploaded = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&uploaded);
        let app = App::start_raw(move |mut stream| {
            let counted = Arc::clone(&counted);
            async move {
                let read = read_head(&mut stream).await;
                let Some(end) = read.windows(4).position(|window| window == b"\r\n\r\n") else {
                    return;
                };
                counted.fetch_add(read.len() - end - 4, Ordering::Relaxed);
                let (mut reading, mut writing) = stream.into_split();
                tokio::spawn(async move {
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {answer_bytes}\r\n\r\n");
                    let answer = [head.into_bytes(), vec![b'a'; answer_bytes]].concat();
                    let _ = writing.write_all(&answer).await;
                    std::future::pending::<()>().await;
                });
                let mut buffer = vec![0; 65_536];
                while let Ok(length @ 1..) = reading.read(&mut buffer).await {
                    counted.fetch_add(length, Ordering::Relaxed);
                }
            }
        })
        .await;
        node.control.publish_and_wait(routes(&[&app])).await;
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let head = format!("POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: {UPLOAD_BYTES}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // The answer has begun, and nobody reads on.
        assert!(
            within(5, "the head", read_head(&mut stream))
                .await
                .starts_with(b"HTTP/1.1 200")
        );
        within(20, "the upload", stream.write_all(&vec![b'u'; UPLOAD_BYTES]))
            .await
            .unwrap();
        eventually("the instance has got it", || {
            uploaded.load(Ordering::Relaxed) >= UPLOAD_BYTES
        })
        .await;
        // Such a connection is not used again; the client's is.
        let client = "GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";
        if answer_bytes == 8 {
            stream.write_all(client.as_bytes()).await.unwrap();
            assert!(
                within(5, "another", read_head(&mut stream))
                    .await
                    .windows(5)
                    .any(|text| text == b"HTTP/")
            );
            assert_eq!(app.connections(), 2);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_may_refuse_before_it_has_read_all() {
    let node = TestNode::start().await;
    let app = App::start_raw(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 3\r\nconnection: close\r\n\r\nno!";
        let _ = stream.write_all(answer).await;
        let _ = stream.shutdown().await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let (parts, body) = streamed();
    let mut client = Client::connect(node.address).await;
    let answer = client.send(
        Request::put("/")
            .header("content-length", 1_000_000)
            .body(body)
            .unwrap(),
    );
    let answer = within(5, "the refusal", answer).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (413, "no!"));
    drop(parts);
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_before_the_final_one_are_not_passed_on() {
    let node = TestNode::start().await;
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n";
    let app = saying(format!("{interim}HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    for _ in 0..3 {
        let answer = client.send(Request::get("/").body(empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
        assert!(!answer.headers.contains_key("link"));
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_could_be_read_in_two_ways_is_none() {
    let node = TestNode::start().await;
    for fields in [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2\r\ncontent-length: 2",
        "content-length: 2\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: xchunked",
        "content-length : 2",
        "content-length: 2\r\nx: a\r\n b",
        "content-length: 2\nx: a",
        "content-length: +2",
    ] {
        let app = saying(format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\nok")).await;
        node.control.publish_and_wait(routes(&[&app])).await;
        let answer = within(5, "an answer", node.get("/")).await;
        let got = (answer.status.as_u16(), answer.weir());
        assert_eq!(got, (502, Some("bad-answer")), "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_follows_an_answer_is_no_answer() {
    let node = TestNode::start().await;
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let app = saying(format!("{answer}{}", answer.replace("ok", "no"))).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    for _ in 0..3 {
        assert_eq!(client.send(Request::get("/").body(empty()).unwrap()).await.text(), "ok");
    }
    assert_eq!(app.connections(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn chunks_that_are_malformed_break_the_answer_visibly() {
    let node = TestNode::start().await;
    for chunks in [
        "2\r\nok\r\nzz\r\n",
        "2\nok\r\n0\r\n\r\n",
        "2\r\nok0\r\n\r\n",
        "2\r\nok\r\n0\r\nx : 1\r\n\r\n",
    ] {
        let app = saying(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}")).await;
        node.control.publish_and_wait(routes(&[&app])).await;
        let mut client = Client::connect(node.address).await;
        let got = within(5, "the end", client.try_send(Request::get("/").body(empty()).unwrap())).await;
        assert!(got.is_err(), "{chunks:?}: {got:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_right_behind_an_upgrade_is_not_lost() {
    let node = TestNode::start().await;
    let app = saying("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\nfirst").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let asked = b"GET / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n";
    let answer = within(5, "the answer", raw(node.address, asked)).await;
    assert!(
        answer.starts_with("HTTP/1.1 101 ") && answer.ends_with("\r\n\r\nfirst"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_a_request_say_nothing_that_weir_says() {
    let node = TestNode::start().await;
    let (noted, mut seen) = mpsc::unbounded_channel();
    let app = App::start_raw(move |mut stream| {
        let noted = noted.clone();
        async move {
            let mut read = Vec::new();
            while !read.ends_with(b"\r\n0\r\n\r\n") && !read.ends_with(b"x-sum: 1\r\n\r\n") {
                if stream.read_buf(&mut read).await.unwrap_or_default() == 0 {
                    return;
                }
            }
            noted.send(String::from_utf8(read).unwrap()).unwrap();
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let asked = "POST / HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: chunked\r\n\
                 trailer: x-sum, x-forwarded-for, content-length\r\n\r\n2\r\nok\r\n0\r\n\
                 x-forwarded-for: 6.6.6.6\r\ncontent-length: 9\r\nx-other: 1\r\nx-sum: 1\r\n\r\n";
    assert!(raw(node.address, asked.as_bytes()).await.starts_with("HTTP/1.1 200"));
    let seen = within(5, "the request", seen.recv()).await.unwrap();
    assert!(seen.ends_with("\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n"), "{seen}");
    assert!(!seen.contains("6.6.6.6") && !seen.contains("x-other"), "{seen}");
}
