//! Clients that mean harm.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Response;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::*;

/// An app that writes down what it was asked.
async fn witness() -> (App, Arc<Mutex<Vec<String>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let app = App::start(move |request: http::Request<hyper::body::Incoming>| {
        let noted = Arc::clone(&noted);
        async move {
            let head = format!("{} {}", request.method(), request.uri());
            let body = request
                .into_body()
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            noted
                .lock()
                .unwrap()
                .push(format!("{head} {}", String::from_utf8_lossy(&body)));
            Response::new(full("ok"))
        }
    })
    .await;
    (app, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_cannot_be_smuggled_in_another_ones_body() {
    let node = TestNode::start().await;
    let (app, seen) = witness().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";
    let attempts = [
        // Both lengths: chunked counts, the connection is closed, nothing after it is a request.
        format!(
            "POST /1 HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!(
            "POST /2 HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{smuggled}"
        ),
        format!("POST /3 HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 4\r\ncontent-length: 0\r\n\r\n{smuggled}"),
        format!("POST /4 HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding: chunked, identity\r\n\r\n{smuggled}"),
        format!("POST /5 HTTP/1.1\r\nhost: shop.localhost\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("POST /6 HTTP/1.1\r\nhost: shop.localhost\r\nx: a\r\n transfer-encoding: chunked\r\n\r\n{smuggled}"),
        format!("POST /7 HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: +4\r\n\r\n{smuggled}"),
        format!("POST /8 HTTP/1.0\r\nhost: shop.localhost\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!(
            "POST /9 HTTP/1.1\r\nhost: shop.localhost\r\nx: a\nb\rc: d\r\ntransfer-encoding: xchunked\r\n\r\n{smuggled}"
        ),
    ];
    for attempt in attempts {
        let answer = raw(node.address, attempt.as_bytes()).await;
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{attempt:?} got {answer:?}");
        let seen = seen.lock().unwrap();
        assert!(
            !seen.iter().any(|line| line.contains("/smuggled ")),
            "{attempt:?} smuggled: {seen:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_exactly_one_sound_host_are_refused() {
    let node = TestNode::start().await;
    let (app, seen) = witness().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    for head in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nhost: shop.localhost\r\n",
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nhost: other.localhost\r\n",
        "GET / HTTP/1.1\r\nhost: shop.localhost, other\r\n",
        "GET / HTTP/1.1\r\nhost: x@shop.localhost\r\n",
        "GET / HTTP/1.1\r\nhost: \r\n",
        "GET http://x@shop.localhost/ HTTP/1.1\r\nhost: shop.localhost\r\n",
    ] {
        let answer = raw(node.address, format!("{head}connection: close\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{head:?} got {answer:?}");
    }
    assert!(seen.lock().unwrap().is_empty());
    // The target of the request counts, not the header.
    let absolute = "GET http://shop.localhost/x HTTP/1.1\r\nhost: nobody\r\nconnection: close\r\n\r\n";
    assert!(
        raw(node.address, absolute.as_bytes())
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert_eq!(*seen.lock().unwrap(), ["GET /x "]);
    for method in ["CONNECT shop.localhost:80", "TRACE /"] {
        let answer = raw(
            node.address,
            format!("{method} HTTP/1.1\r\nhost: shop.localhost\r\n\r\n").as_bytes(),
        )
        .await;
        assert!(answer.starts_with("HTTP/1.1 405 "), "{method} got {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_oversized_heads_are_ended() {
    let node = TestNode::start_with(|config| {
        config.limits.header_read_timeout = Duration::from_millis(300);
        config.limits.header_bytes = 8 * 1024;
    })
    .await;
    let (app, _) = witness().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    for beginning in [
        "",
        "G",
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\n",
        "PRI * HTTP/2.0\r\n",
    ] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let mut rest = Vec::new();
        within(5, "the slow connection ends", stream.read_to_end(&mut rest))
            .await
            .unwrap_or_default();
    }
    let large = format!(
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nx: {}\r\n\r\n",
        "y".repeat(64 * 1024)
    );
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let _ = stream.write_all(large.as_bytes()).await;
    let mut answer = vec![0; 12];
    within(5, "the answer", stream.read_exact(&mut answer)).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 431");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_sending_its_body_is_ended() {
    let node = TestNode::start_with(|config| config.limits.body_idle_timeout = Duration::from_millis(200)).await;
    let (app, seen) = witness().await;
    node.control
        .publish_and_wait(with_route(routes(&[&app]), |route| route.first_byte_timeout_ms = 200))
        .await;
    let answer = raw(
        node.address,
        b"POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 9\r\n\r\nabc",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("x-weir: body-timeout"),
        "{answer}"
    );
    assert!(!seen.lock().unwrap().iter().any(|line| line.contains("abc")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_does_not_keep_an_instance_busy() {
    let node = TestNode::start_with(|config| config.limits.write_stall_timeout = Duration::from_millis(300)).await;
    let app = App::start(|_| async { Response::new(full(vec![0; 64 << 20])) }).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n")
        .await
        .unwrap();
    let instance = app.backend.instance;
    eventually("answered and ended", || {
        let load = node.control.load(instance);
        (load.requests, load.in_flight) == (1, 0)
    })
    .await;
}
