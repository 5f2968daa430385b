//! Limits: sizes of heads and bodies, paces, numbers of connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir_ingress::LeastPace;
use weir_model::protection::{Layer, Protection};
use weir_model::route::RouteSnapshot;

use crate::memory::resident;
use crate::support::*;

/// With these layers before the only host.
pub(crate) fn with_layers(mut snapshot: RouteSnapshot, layers: Vec<Layer>) -> RouteSnapshot {
    for host in snapshot.hosts.values_mut() {
        host.protection = Some(Protection {
            layers: layers.clone(),
            maintenance: None,
        });
    }
    snapshot
}

pub(crate) fn layer(path: &str) -> Layer {
    Layer {
        name: format!("web{path}"),
        path_prefix: path.to_owned(),
        ..Layer::default()
    }
}

fn with_max_body(app: &App, bytes: u64) -> RouteSnapshot {
    let limit = Layer {
        max_body_bytes: Some(bytes),
        ..layer("/")
    };
    with_layers(routes(&[app]), vec![limit])
}

/// Counts the bytes of bodies, and answers with the sum once all have come.
async fn counting_app() -> (App, Arc<AtomicU64>) {
    let sum = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sum);
    let app = App::start(move |request| {
        let counted = Arc::clone(&counted);
        async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                if let Ok(data) = frame.into_data() {
                    counted.fetch_add(u64::try_from(data.len()).unwrap(), Ordering::Relaxed);
                }
            }
            Response::new(full(counted.load(Ordering::Relaxed).to_string()))
        }
    })
    .await;
    (app, sum)
}

fn parts(number: usize, size: usize) -> AppBody {
    let part = Bytes::from(vec![b'x'; size]);
    let frames = (0..number).map(move |_| Ok(Frame::data(part.clone())));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(frames)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_says_that_it_is_too_large_never_reaches_an_instance() {
    let node = TestNode::start().await;
    let (app, sum) = counting_app().await;
    node.control.publish_and_wait(with_max_body(&app, 1 << 20)).await;
    let exact = Request::post("/").body(full(vec![0; 1 << 20])).unwrap();
    let mut client = Client::connect(node.address).await;
    assert_eq!(client.send(exact).await.text(), (1 << 20).to_string());
    // The client is still sending when it is refused; it gets to read why all the same.
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!(
        "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: {}\r\n\r\n",
        8 << 20
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..8 {
        stream.write_all(&vec![0; 1 << 20]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut answer = String::new();
    within(10, "the answer", stream.read_to_string(&mut answer))
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(
        answer.contains("at most 1 MiB (1048576 bytes)") && answer.contains("max_body"),
        "{answer}"
    );
    assert_eq!((app.requests(), sum.load(Ordering::Relaxed)), (1, 1 << 20));
    eventually("the refusal is told", || {
        let refused = node.control.last_report().unwrap().refused;
        refused.values().any(|refused| refused.body == 1)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_turns_out_to_be_too_large_is_cut() {
    let node = TestNode::start().await;
    let (app, sum) = counting_app().await;
    node.control.publish_and_wait(with_max_body(&app, 1 << 20)).await;
    let mut client = Client::connect(node.address).await;
    let fits = Request::post("/").body(parts(16, 64 << 10)).unwrap();
    assert_eq!(client.send(fits).await.text(), (1 << 20).to_string());
    let large = Request::post("/").body(parts(4_000, 64 << 10)).unwrap();
    let answer = within(10, "the answer", client.send(large)).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (413, Some("body-too-large")));
    let passed = sum.load(Ordering::Relaxed) - (1 << 20);
    assert!(passed <= 1 << 20, "{passed} bytes passed");
    // The instance's place is free again.
    eventually("nothing is in flight", || {
        node.control.load(app.backend.instance).in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_with_the_longest_path_counts() {
    let node = TestNode::start().await;
    let (app, _) = counting_app().await;
    let limit = |path, bytes| Layer {
        max_body_bytes: Some(bytes),
        ..layer(path)
    };
    let layers = vec![limit("/upload", 100), limit("/", 10)];
    node.control
        .publish_and_wait(with_layers(routes(&[&app]), layers))
        .await;
    for (path, bytes, expected) in [
        ("/", 10, 200),
        ("/", 11, 413),
        ("/upload", 100, 200),
        ("/upload/x", 101, 413),
        ("/uploads", 11, 413),
    ] {
        let mut client = Client::connect(node.address).await;
        let request = Request::post(path).body(full(vec![0; bytes])).unwrap();
        assert_eq!(client.send(request).await.status, expected, "{path} with {bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_upload_streams_through_without_being_stored() {
    let node = TestNode::start().await;
    let (app, _) = counting_app().await;
    node.control.publish_and_wait(with_max_body(&app, 10 << 30)).await;
    let size = 400_usize << 20;
    let before = resident();
    let peak = Arc::new(AtomicU64::new(0));
    let watched = Arc::clone(&peak);
    let watch = tokio::spawn(async move {
        loop {
            watched.fetch_max(resident(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let mut client = Client::connect(node.address).await;
    let request = Request::post("/").body(parts(size >> 16, 64 << 10)).unwrap();
    let answer = within(120, "the upload", client.send(request)).await;
    watch.abort();
    assert_eq!(answer.text(), size.to_string());
    let grown = peak.load(Ordering::Relaxed).saturating_sub(before);
    println!("400 MiB uploaded, {} KiB more in memory at most", grown >> 10);
    // Other tests run in this process meanwhile; the body would be several times as much.
    assert!(grown < 150 << 20, "{grown} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_too_large_get_a_page_that_says_so() {
    let node = TestNode::start_with(|config| {
        config.limits.header_bytes = 8 * 1024;
        config.limits.headers = 50;
        config.limits.target_bytes = 2 * 1024;
    })
    .await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let long = |bytes: usize| Request::get(format!("/{}", "a".repeat(bytes - 1)));
    assert_eq!(node.send(long(2_048)).await.status, 200);
    let answer = node.send(long(2_049)).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (414, Some("target-too-long")));
    assert!(answer.text().contains("--target-bytes"));
    let large = Request::get("/").header("x", "y".repeat(9_000));
    let answer = node.send(large).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (431, Some("head-too-large")));
    assert!(
        answer.text().contains("8192 bytes") && answer.text().contains("--header-bytes"),
        "{}",
        answer.text()
    );
    let many = (0..60).fold(Request::get("/"), |request, number| {
        request.header(format!("x-{number}"), "y")
    });
    let answer = node.send(many).await;
    assert_eq!((answer.status.as_u16(), answer.weir()), (431, Some("head-too-large")));
    assert_eq!(app.requests(), 1);
}

/// Writes one byte after the other, with pauses, until the node ends the connection; gives all that
/// came back.
async fn dribble(address: SocketAddr, begin: &str, pause: Duration) -> String {
    let (mut reader, mut writer) = TcpStream::connect(address).await.unwrap().into_split();
    writer.write_all(begin.as_bytes()).await.unwrap();
    let writing = tokio::spawn(async move {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut read = Vec::new();
    let _ = within(20, "the slow connection ends", reader.read_to_end(&mut read)).await;
    writing.abort();
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_dribbles_a_head_or_a_body_is_ended() {
    let node = TestNode::start_with(|config| {
        config.limits.header_read_timeout = Duration::from_millis(400);
        config.limits.body_pace = LeastPace {
            bytes_per_s: 10_000,
            window: Duration::from_millis(500),
        };
    })
    .await;
    let (app, _) = counting_app().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let pause = Duration::from_millis(20);
    let head = "GET / HTTP/1.1\r\nhost: shop.localhost\r\nx: ";
    assert_eq!(dribble(node.address, head, pause).await, "", "no request, no answer");
    // The same as the second request of a connection.
    let second = format!("GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n{head}");
    assert!(dribble(node.address, &second, pause).await.starts_with("HTTP/1.1 200 "));
    let body = "POST / HTTP/1.1\r\nhost: shop.localhost\r\ncontent-length: 100000\r\n\r\n";
    let answer = dribble(node.address, body, pause).await;
    assert!(
        answer.starts_with("HTTP/1.1 408 ") && answer.contains("x-weir: body-too-slow"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_instance_is_no_reason_to_cut_its_client_off() {
    let node = TestNode::start_with(|config| {
        config.limits.body_pace = LeastPace {
            bytes_per_s: 100_000_000,
            window: Duration::from_millis(200),
        };
    })
    .await;
    let app = App::start(|request| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let length = request.into_body().collect().await.unwrap().to_bytes().len();
        Response::new(full(length.to_string()))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut client = Client::connect(node.address).await;
    let request = Request::post("/").body(full(vec![0; 4 << 20])).unwrap();
    assert_eq!(client.send(request).await.text(), (4 << 20).to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_end_after_their_time_in_both_versions() {
    let node = TestNode::start_with(|config| {
        config.limits.header_read_timeout = Duration::from_millis(300);
        config.limits.keep_alive_timeout = Duration::from_millis(300);
    })
    .await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let one = "GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n".as_bytes();
    let two = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(),
        &[0, 0, 0, 4, 0, 0, 0, 0, 0],
    ]
    .concat();
    for bytes in [one, &two] {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut read = Vec::new();
        within(
            10,
            &format!("the idle connection of {bytes:?} ends"),
            stream.read_to_end(&mut read),
        )
        .await
        .unwrap();
        assert!(!read.is_empty());
    }
}

async fn is_served(stream: &mut TcpStream) -> bool {
    let request = b"GET / HTTP/1.1\r\nhost: shop.localhost\r\n\r\n";
    let mut begin = [0; 12];
    let exchange = async {
        stream.write_all(request).await?;
        stream.read_exact(&mut begin).await
    };
    let served = within(5, "an answer or the end", exchange).await.is_ok() && begin.ends_with(b"200");
    let mut rest = [0; 4096];
    let _ = stream.try_read(&mut rest);
    served
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_so_many_connections_and_no_more() {
    let node = TestNode::start_with(|config| config.limits.connections_per_address = 3).await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        assert!(is_served(&mut stream).await);
        open.push(stream);
    }
    let mut fourth = TcpStream::connect(node.address).await.unwrap();
    assert!(!is_served(&mut fourth).await);
    assert_eq!(node.counters().connections_refused, 1);
    open.pop();
    let mut served = false;
    for _ in 0..100 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        served = served || is_served(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(served, "the place of one that has ended is given to another");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_there_are_too_many_connections_the_longest_idle_one_makes_room() {
    let node = TestNode::start_with(|config| {
        config.workers = 1;
        config.limits.connections = 3;
    })
    .await;
    let app = App::says("hello").await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        assert!(is_served(&mut stream).await);
        open.push(stream);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // The first one is used again, so the second is the one that is idle for longest.
    assert!(is_served(&mut open[0]).await);
    let mut fourth = TcpStream::connect(node.address).await.unwrap();
    assert!(is_served(&mut fourth).await);
    let mut rest = Vec::new();
    within(5, "the second ends", open[1].read_to_end(&mut rest))
        .await
        .unwrap();
    assert!(is_served(&mut open[0]).await && is_served(&mut open[2]).await);
    assert_eq!(node.counters().connections_refused, 0);
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_requests_only_to_take_them_back_is_cut_off() {
    let node = TestNode::start().await;
    let app = App::start(|_| async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Response::new(full("late"))
    })
    .await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let fields = [
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "shop.localhost"),
        (":path", "/"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| [vec![0], text(name), text(value)].concat())
        .collect();
    let mut bytes = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(4, 0, 0, &[])].concat();
    for number in 0..20_000_u32 {
        let stream = number * 2 + 1;
        bytes.extend(frame(1, 0x05, stream, &block));
        bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
    }
    let (mut reader, mut writer) = TcpStream::connect(node.address).await.unwrap().into_split();
    let writing = tokio::spawn(async move { drop(writer.write_all(&bytes).await) });
    let mut read = Vec::new();
    let _ = within(20, "the connection ends", reader.read_to_end(&mut read)).await;
    writing.abort();
    // GOAWAY, with ENHANCE_YOUR_CALM.
    let told = read
        .windows(17)
        .any(|bytes| bytes[3] == 7 && bytes[13..17] == 11_u32.to_be_bytes());
    assert!(told, "{} bytes came back", read.len());
    assert!(app.requests() < 1_000, "{} requests reached the app", app.requests());
}
