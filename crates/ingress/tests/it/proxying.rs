//! A request there and its answer back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Method, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use weir_model::route::RouteState;

use crate::support::*;

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_connection_reach_the_app_over_one_connection() {
    let node = TestNode::start().await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    for _ in 0..20 {
        let answer = client.send(Request::get("/").body(empty()).unwrap()).await;
        assert_eq!(
            (answer.status.as_u16(), answer.text(), answer.weir()),
            (200, "hello", None)
        );
    }
    assert!(app.connections() <= 2, "{} connections", app.connections());
    assert_eq!(node.counters().requests, 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_app_sees_who_asked_and_not_what_the_client_pretends() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let mut lines: Vec<String> = vec![format!("{} {:?}", request.method(), request.uri())];
        lines.extend(
            request
                .headers()
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())),
        );
        let mut answer = Response::new(full(lines.join("\n")));
        answer.headers_mut().insert("x-weir", "forged".parse().unwrap());
        answer.headers_mut().insert("keep-alive", "timeout=5".parse().unwrap());
        answer
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let request = Request::get("/a%20b?c=d")
        .header("host", "Shop.Localhost:8080")
        .header("x-forwarded-for", "6.6.6.6")
        .header("x-forwarded-proto", "https")
        .header("connection", "x-private")
        .header("x-private", "1")
        .header("x-request-id", "mine");
    let answer = node.send(request).await;
    let text = answer.text();
    assert!(text.starts_with("GET /a%20b?c=d\n"), "{text}");
    for line in [
        "host: Shop.Localhost:8080",
        "x-forwarded-host: Shop.Localhost:8080",
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-proto: http",
        "x-request-id: mine",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in {text}");
    }
    assert!(!text.contains("6.6.6.6") && !text.contains("x-private"), "{text}");
    assert_eq!(answer.weir(), None);
    assert!(!answer.headers.contains_key("keep-alive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_path_prefix_answers() {
    let node = TestNode::start().await;
    let (front, api) = (App::says("front").await, App::says("api").await);
    let serve = |prefix: &str, app: &App| route(prefix, RouteState::Serve, vec![app.backend.clone()]);
    node.control
        .publish_and_wait(snapshot(vec![serve("/api", &api), serve("/", &front)]))
        .await;
    for (path, expected) in [
        ("/", "front"),
        ("/api", "api"),
        ("/api/x", "api"),
        ("/apiary", "front"),
        ("/api?x", "api"),
    ] {
        assert_eq!(node.get(path).await.text(), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_every_kind_come_through() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let method = request.method().clone();
        let collected = request.into_body().collect().await.unwrap();
        let trailer = collected.trailers().and_then(|trailers| trailers.get("x-sum").cloned());
        let body = collected.to_bytes();
        let mut answer = Response::new(full(body));
        answer
            .headers_mut()
            .insert("x-method", method.as_str().parse().unwrap());
        if let Some(trailer) = trailer {
            answer.headers_mut().insert("x-trailer", trailer);
        }
        answer
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    for method in [Method::POST, Method::PUT, Method::GET, Method::DELETE] {
        let known = Request::builder()
            .method(method.clone())
            .uri("/")
            .header("content-length", "3")
            .body(full("abc"))
            .unwrap();
        let answer = client.send(known).await;
        assert_eq!(answer.text(), "abc", "{method} with a length");
        let frames = ["ab", "cd"].map(|part| Ok(Frame::data(Bytes::from(part))));
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", "42".parse().unwrap());
        let body = StreamBody::new(stream::iter(frames.into_iter().chain([Ok(Frame::trailers(trailers))]))).boxed();
        let chunked = Request::builder()
            .method(method.clone())
            .uri("/")
            .header("transfer-encoding", "chunked")
            .header("trailer", "x-sum")
            .body(body)
            .unwrap();
        let answer = client.send(chunked).await;
        assert_eq!(answer.text(), "abcd", "{method} in chunks");
        assert_eq!(answer.headers["x-trailer"], "42");
    }
    let head = client.send(Request::head("/").body(empty()).unwrap()).await;
    assert_eq!(
        (head.status.as_u16(), head.headers["x-method"].to_str().unwrap()),
        (200, "HEAD")
    );
    let expected = raw(
        node.address,
        b"POST / HTTP/1.1\r\nhost: shop.localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
    )
    .await;
    assert!(
        expected.starts_with("HTTP/1.1 100 Continue\r\n") && expected.ends_with("\r\n\r\nhi"),
        "{expected}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_without_a_body_keep_their_heads_and_their_connection() {
    let node = TestNode::start().await;
    let app = App::start_raw(|mut stream| async move {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let answer: &[u8] = match buffer[..length].split(|byte| *byte == b' ').nth(1).unwrap() {
                b"/head" => b"HTTP/1.1 200 OK\r\ncontent-length: 12345\r\n\r\n",
                b"/304" => b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n",
                b"/204" => b"HTTP/1.1 103 Early Hints\r\nlink: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            };
            stream.write_all(answer).await.unwrap();
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let host = "HTTP/1.1\r\nhost: shop.localhost\r\n";
    let requests =
        format!("HEAD /head {host}\r\nGET /304 {host}\r\nGET /204 {host}\r\nGET / {host}connection: close\r\n\r\n");
    let answers = raw(node.address, requests.as_bytes()).await;
    let heads: Vec<&str> = answers.split("\r\n\r\n").filter(|head| !head.is_empty()).collect();
    assert_eq!(heads.len(), 4, "{answers}");
    assert!(heads[0].contains("content-length: 12345"), "{answers}");
    assert!(
        heads[1].starts_with("HTTP/1.1 304 ") && heads[1].contains("etag: x"),
        "{answers}"
    );
    assert!(heads[2].starts_with("HTTP/1.1 204 "), "{answers}");
    assert!(app.connections() <= 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_of_an_answer_come_through() {
    let node = TestNode::start().await;
    let app = App::start(|_| async {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", "0".parse().unwrap());
        let frames = [Ok(Frame::data(Bytes::from("data"))), Ok(Frame::trailers(trailers))];
        Response::builder()
            .header("trailer", "grpc-status")
            .body(StreamBody::new(stream::iter(frames)).boxed())
            .unwrap()
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let answer = node.send(Request::get("/").header("te", "trailers")).await;
    assert_eq!(answer.text(), "data");
    assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_answer_come_as_they_are_made() {
    let node = TestNode::start().await;
    let (parts, receiver) = mpsc::channel::<Bytes>(1);
    let receiver = Arc::new(tokio::sync::Mutex::new(Some(receiver)));
    let app = App::start(move |_| {
        let receiver = Arc::clone(&receiver);
        async move {
            let receiver = receiver.lock().await.take().unwrap();
            let frames = stream::unfold(receiver, |mut receiver| async {
                let part = receiver.recv().await?;
                Some((Ok(Frame::data(part)), receiver))
            });
            Response::new(StreamBody::new(Box::pin(frames)).boxed())
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    let mut answer = client.begin(Request::get("/").body(empty()).unwrap()).await.unwrap();
    for part in ["one", "two", "three"] {
        parts.send(part.into()).await.unwrap();
        let frame = within(5, "a part", answer.body_mut().frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), part);
    }
    drop(parts);
    assert!(within(5, "the end", answer.body_mut().frame()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_holds_the_app_back_and_the_node_does_not_buffer() {
    const PART: usize = 64 * 1024;
    let node = TestNode::start().await;
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let app = App::start(move |_| {
        let counted = Arc::clone(&counted);
        async move {
            let frames = stream::iter((0..4_096).map(move |_| {
                counted.fetch_add(1, Ordering::Relaxed);
                Ok(Frame::data(Bytes::from(vec![7; PART])))
            }));
            Response::new(StreamBody::new(frames).boxed())
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    let mut answer = client.begin(Request::get("/").body(empty()).unwrap()).await.unwrap();
    let mut last = 0;
    // It stops by itself: the buffers of the sockets are full.
    eventually("the app is held back", || {
        let now = sent.load(Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(100));
        let stands_still = now > 0 && now == last && now == sent.load(Ordering::Relaxed);
        last = now;
        stands_still
    })
    .await;
    let buffered = sent.load(Ordering::Relaxed) * PART as u64;
    assert!(
        buffered < 40 << 20,
        "{buffered} bytes were taken from the app without a reader"
    );
    let mut read = 0;
    while let Some(frame) = within(30, "the rest", answer.body_mut().frame()).await {
        read += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(read, 4_096 * PART);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_streams_through() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let mut length = 0;
        let mut body = request.into_body();
        while let Some(frame) = body.frame().await {
            length += frame.unwrap().into_data().map_or(0, |data| data.len());
        }
        Response::new(full(length.to_string()))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let frames = stream::iter((0..1_000).map(|_| Ok(Frame::data(Bytes::from(vec![1; 100_000])))));
    let mut client = Client::connect(node.address).await;
    let upload = Request::post("/").body(StreamBody::new(frames).boxed()).unwrap();
    assert_eq!(within(60, "the upload", client.send(upload)).await.text(), "100000000");
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_without_tls_is_understood() {
    let node = TestNode::start().await;
    let app = App::start(|request| async move {
        let cookies = request.headers().get_all("cookie").iter().count();
        let host = request.headers()["host"].to_str().unwrap().to_owned();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        Response::new(full(format!("{host} {cookies} {}", body.len())))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let executor = hyper_util::rt::TokioExecutor::new();
    let io = hyper_util::rt::TokioIo::new(stream);
    let (sender, connection) = hyper::client::conn::http2::handshake::<_, _, AppBody>(executor, io)
        .await
        .unwrap();
    tokio::spawn(connection);
    let requests = (0..50).map(|number: usize| {
        let mut sender = sender.clone();
        let request = Request::post("http://shop.localhost/")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .body(full(vec![0; number * 1_000]))
            .unwrap();
        async move {
            let answer = sender.send_request(request).await.unwrap();
            assert_eq!(answer.status(), 200);
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(body, format!("shop.localhost 1 {}", number * 1_000));
        }
    });
    within(20, "fifty streams", futures_util::future::join_all(requests)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_takes_its_request_along() {
    let node = TestNode::start().await;
    let (dropped_sender, mut dropped) = mpsc::unbounded_channel::<()>();
    let app = App::start(move |_| {
        let dropped_sender = dropped_sender.clone();
        async move {
            let _kept = dropped_sender;
            std::future::pending::<()>().await;
            Response::new(empty())
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n")
        .await
        .unwrap();
    let instance = app.backend.instance;
    eventually("the request is in flight", || {
        node.control.load(instance).in_flight == 1
    })
    .await;
    drop(stream);
    eventually("nothing is in flight", || node.control.load(instance).in_flight == 0).await;
    app.kill();
    assert!(within(5, "the app's side ends", dropped.recv()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_that_dies_in_the_middle_of_an_answer_breaks_it_visibly() {
    let node = TestNode::start().await;
    let app = App::start_raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    let broken = client.try_send(Request::get("/").body(empty()).unwrap()).await;
    assert!(broken.is_err(), "{broken:?}");
    eventually("the place is given back", || {
        node.control.load(app.backend.instance).in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_that_the_app_closed_costs_no_request() {
    let node = TestNode::start().await;
    // Says keep-alive and closes after each answer: the next request meets a closed connection.
    let app = App::start_raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        if stream.read(&mut buffer).await.unwrap_or(0) > 0 {
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await;
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    for _ in 0..200 {
        let answer = client.send(Request::get("/").body(empty()).unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.text()), (200, "ok"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_may_have_had_an_effect_is_not_sent_twice() {
    let node = TestNode::start().await;
    let seen = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&seen);
    let app = App::start_raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            let mut buffer = [0; 1024];
            if stream.read(&mut buffer).await.unwrap_or(0) > 0 {
                counted.fetch_add(1, Ordering::Relaxed);
            }
        }
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let answer = node.send(Request::post("/")).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (502, Some("upstream-closed")));
    assert_eq!(seen.load(Ordering::Relaxed), 1);
    let answer = node.send(Request::get("/")).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (502, Some("upstream-closed")));
    assert!((2..=4).contains(&seen.load(Ordering::Relaxed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_none_and_one_that_is_late_get_pages() {
    let node = TestNode::start().await;
    let nonsense = App::start_raw(|mut stream| async move {
        let mut buffer = [0; 1024];
        let _ = stream.read(&mut buffer).await;
        let _ = stream.write_all(b"\x00\x01nonsense\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    node.control.publish_and_wait(routes(&[&nonsense])).await;
    assert_eq!(node.get("/").await.weir(), Some("bad-answer"));
    let late = App::start(|_| std::future::pending::<Response<AppBody>>()).await;
    node.control
        .publish_and_wait(with_route(routes(&[&late]), |route| route.first_byte_timeout_ms = 100))
        .await;
    let answer = within(5, "the page", node.get("/")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.weir()),
        (504, Some("first-byte-timeout"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn states_have_pages_for_people_and_for_programs() {
    let node = TestNode::start().await;
    let crashed = RouteState::Crashed {
        message: "It crashed 5 times; <b>".to_owned(),
    };
    for (state, status, reason) in [
        (RouteState::Paused, 503, "paused"),
        (RouteState::Undeployed, 404, "undeployed"),
        (crashed, 503, "crashed"),
    ] {
        node.control.publish_and_wait(in_state(state)).await;
        let page = node.send(Request::get("/").header("accept", "text/html")).await;
        assert_eq!((page.status.as_u16(), page.weir()), (status, Some(reason)));
        assert!(page.text().starts_with("<!doctype html>") && !page.text().contains("<b>"));
        let problem = node.get("/").await;
        assert_eq!(problem.headers["content-type"], "application/problem+json");
        let problem: serde_json::Value = serde_json::from_str(problem.text()).unwrap();
        assert_eq!(problem["status"], status);
    }
    let unknown = node.send(Request::get("/").header("host", "nobody.localhost")).await;
    assert_eq!((unknown.status.as_u16(), unknown.weir()), (404, Some("unknown-host")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_control_serves_by_the_last_routes() {
    let mut node = TestNode::start().await;
    let app = App::says("still here").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let kept = node.config.snapshot_file.clone();
    eventually("the snapshot is on disk", || kept.exists()).await;
    node.control.kill();
    assert_eq!(node.get("/").await.text(), "still here");
    node.stop().await;
    node.start_again();
    assert_eq!(node.get("/").await.text(), "still here");
    assert!(node.folder.path().exists());
}
