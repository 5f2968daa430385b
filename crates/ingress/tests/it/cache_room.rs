//! What the cache does about clients that do not read, apps that break off, answers that are large, and
//! disks that fail.

use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use weir_ledger::Sku;
use weir_model::cache::{CacheCounts, CachePurge, CachePurges};
use weir_model::route::RouteSnapshot;

use crate::fund::*;
use crate::paying::{PLENTY, pays_from};
use crate::support::*;

const MIB: usize = 1 << 20;

fn cache_of(answer: &Answer) -> Option<&str> {
    answer.headers.get("x-weir-cache").map(|value| value.to_str().unwrap())
}

fn kept_for(control: &'static str, body: AppBody) -> Response<AppBody> {
    let mut answer = Response::new(body);
    answer.headers_mut().insert("cache-control", control.parse().unwrap());
    answer
}

/// A body whose length is not said.
fn in_parts(bytes: usize) -> AppBody {
    let parts = (0..bytes / 10_000).map(|_| Ok(Frame::data(Bytes::from(vec![b'p'; 10_000]))));
    BodyExt::boxed(StreamBody::new(futures_util::stream::iter(parts.collect::<Vec<_>>())))
}

/// Byte `n` of it is `n` modulo 251, so that a mistake in a place shows.
fn pattern(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

/// Asks, and does not read what comes.
async fn stalled(node: &TestNode, path: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(node.address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    stream
}

fn counts(node: &TestNode) -> CacheCounts {
    let report = node.control.last_report().unwrap_or_default();
    report.cache.get(&environment()).copied().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_who_does_not_read_makes_nobody_wait_and_gets_all_in_the_end() {
    let app = App::start(|_| async { kept_for("max-age=60", full(pattern(16 * MIB))) }).await;
    let node = TestNode::start_with(|config| config.cache_bytes = 256 << 20).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    node.get("/").await;
    node.send(Request::post("/")).await;
    let mut leader = stalled(&node, "/").await;
    eventually("the leader's request is there", || app.requests() == 3).await;
    let others = (0..3).map(|_| node.get("/"));
    let answers = within(6, "nobody waits for it", futures_util::future::join_all(others)).await;
    for answer in answers {
        assert_eq!((answer.body.len(), cache_of(&answer)), (16 * MIB, Some("hit")));
    }
    assert_eq!(app.requests(), 3);
    let mut read = Vec::new();
    within(20, "the leader gets it", leader.read_to_end(&mut read))
        .await
        .unwrap();
    assert!(read.ends_with(&pattern(16 * MIB)), "{}", read.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_what_turned_out_not_to_be_kept() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (of_now, of_most) = (Arc::clone(&now), Arc::clone(&most));
    let app = App::start(move |_| {
        let (now, most) = (Arc::clone(&of_now), Arc::clone(&of_most));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(1)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            kept_for("max-age=60", in_parts(300_000))
        }
    })
    .await;
    // Larger than an eighth of it.
    let node = TestNode::start_with(|config| config.cache_bytes = 1 << 20).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    assert_eq!(node.get("/").await.body.len(), 300_000);
    let asked = (0..12).map(|_| node.get("/"));
    within(20, "all answered", futures_util::future::join_all(asked)).await;
    assert_eq!(most.load(Ordering::SeqCst), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_whose_body_stops_coming_ends() {
    let fetches = Arc::new(AtomicU64::new(0));
    let app = App::start(move |_| {
        let first = fetches.fetch_add(1, Ordering::Relaxed) == 0;
        async move {
            let parts = futures_util::stream::unfold(0, move |part| async move {
                if part == 1 && !first {
                    std::future::pending::<()>().await;
                }
                (part < 2).then(|| (Ok(Frame::data(Bytes::from_static(b"part "))), part + 1))
            });
            let control = "public, max-age=1, stale-while-revalidate=60";
            kept_for(control, BodyExt::boxed(StreamBody::new(Box::pin(parts))))
        }
    })
    .await;
    let node = TestNode::start_with(|config| config.limits.body_idle_timeout = Duration::from_millis(300)).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    assert_eq!(cache_of(&node.get("/").await), Some("miss"));
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(cache_of(&node.get("/").await), Some("stale"));
    eventually("the renewal is at the app", || app.requests() == 2).await;
    within(10, "it ends, and another one begins", async {
        while app.requests() < 3 {
            assert_eq!(node.get("/").await.text(), "part part ");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_304_tells_the_client_reaches_it_and_nobody_else() {
    let told = Arc::new(Mutex::new(("", "")));
    let tells = Arc::clone(&told);
    let app = App::start(move |request: Request<Incoming>| {
        let asks_again = request.headers().contains_key("if-none-match");
        let (name, value) = *tells.lock().unwrap();
        async move {
            let mut answer = kept_for("public, max-age=0", full("text"));
            answer.headers_mut().insert("etag", "\"v\"".parse().unwrap());
            if asks_again {
                *answer.status_mut() = StatusCode::NOT_MODIFIED;
                *answer.body_mut() = empty();
                if !name.is_empty() {
                    answer.headers_mut().insert(name, value.parse().unwrap());
                }
            }
            answer
        }
    })
    .await;
    let node = TestNode::start().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    for (name, value, stays) in [
        ("set-cookie", "a=1", false),
        ("cache-control", "private, max-age=60", false),
        ("x-news", "new", true),
    ] {
        *told.lock().unwrap() = ("", "");
        node.send(Request::post("/")).await;
        assert_eq!(cache_of(&node.get("/").await), Some("miss"), "{name}");
        *told.lock().unwrap() = (name, value);
        let again = node.get("/").await;
        assert_eq!(
            (again.text(), cache_of(&again)),
            ("text", Some("revalidated")),
            "{name}"
        );
        assert_eq!(again.headers[name], value);
        *told.lock().unwrap() = ("", "");
        let next = node.get("/").await;
        assert_eq!(
            cache_of(&next),
            Some(if stays { "revalidated" } else { "miss" }),
            "{name}"
        );
        assert_eq!(
            next.headers.get(name).is_some_and(|said| said == value),
            stays,
            "{name}"
        );
    }
    // About another body than the one that is kept: its tag must not go out with this one.
    *told.lock().unwrap() = ("etag", "\"other\"");
    assert_eq!(node.get("/").await.headers["etag"], "\"v\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_meanwhile_stands_in_for_nothing() {
    let fails = Arc::new(AtomicBool::new(false));
    let failing = Arc::clone(&fails);
    let app = App::start(move |_| {
        let fails = failing.load(Ordering::SeqCst);
        async move {
            let mut answer = kept_for("max-age=1, stale-if-error=60", full("secret"));
            if fails {
                tokio::time::sleep(Duration::from_secs(2)).await;
                *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
                *answer.body_mut() = full("broken");
            }
            answer
        }
    })
    .await;
    let node = TestNode::start().await;
    node.control.publish_and_wait(routes(&[&app])).await;
    node.get("/").await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    fails.store(true, Ordering::SeqCst);
    assert_eq!(node.get("/").await.text(), "secret");
    let (asked, ()) = tokio::join!(node.get("/"), async {
        eventually("it is at the app", || app.requests() == 3).await;
        let list = vec![CachePurge {
            number: 1,
            environment: environment(),
            host: None,
            path: None,
        }];
        let purged = RouteSnapshot {
            cache_purges: CachePurges { dropped: 0, list },
            ..routes(&[&app])
        };
        node.control.publish_and_wait(purged).await;
    });
    assert_eq!((asked.status.as_u16(), asked.text()), (503, "broken"));
}

/// A node that keeps large answers in `cache` in its folder, at most 64 MiB.
async fn with_files(app: &App, change: impl FnOnce(&mut weir_ingress::NodeConfig)) -> TestNode {
    let node = TestNode::start_with(|config| {
        let folder = config.snapshot_file.with_file_name("cache");
        config.cache_files = Some((folder, 64 << 20));
        change(config);
    })
    .await;
    node.control.publish_and_wait(routes(&[app])).await;
    node
}

/// Asks until it is kept, which happens a moment after the client got it.
async fn until_kept(node: &TestNode, path: &str) {
    within(20, "it is kept", async {
        while cache_of(&node.send(Request::head(path)).await) != Some("hit") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_are_kept_in_files_and_given_from_there_whole_and_in_parts() {
    let body = pattern(5 * MIB);
    let sends = body.clone();
    let app = App::start(move |request: Request<Incoming>| {
        let whole = Bytes::from(sends.clone());
        let body = match request.uri().path() {
            // Without a length.
            "/parts" => {
                let parts: Vec<_> = whole
                    .chunks(70_000)
                    .map(|part| Ok(Frame::data(whole.slice_ref(part))))
                    .collect();
                BodyExt::boxed(StreamBody::new(futures_util::stream::iter(parts)))
            }
            _ => full(whole),
        };
        let mut answer = kept_for("public, max-age=60", body);
        answer.headers_mut().insert("etag", "\"v\"".parse().unwrap());
        async move { answer }
    })
    .await;
    let node = with_files(&app, |_| {}).await;
    for path in ["/whole", "/parts"] {
        let first = node.get(path).await;
        assert_eq!((cache_of(&first), first.body == body), (Some("miss"), true), "{path}");
        until_kept(&node, path).await;
        let asked = app.requests();
        let hit = node.get(path).await;
        assert_eq!((cache_of(&hit), hit.body == body), (Some("hit"), true), "{path}");
        let part = node
            .send(Request::get(path).header("range", "bytes=3000000-3700000"))
            .await;
        assert_eq!(
            (part.status.as_u16(), &part.body[..]),
            (206, &body[3_000_000..=3_700_000]),
            "{path}"
        );
        let parts = node
            .send(Request::get(path).header("range", "bytes=0-0,5242879-"))
            .await;
        assert_eq!(parts.status, 206);
        let last = [b"bytes 5242879-5242879/5242880\r\n\r\n", &body[5 * MIB - 1..]].concat();
        assert!(parts.body.windows(last.len()).any(|window| window == last), "{path}");
        let own = node.send(Request::get(path).header("if-none-match", "\"v\"")).await;
        assert_eq!(own.status, 304);
        assert_eq!(app.requests(), asked, "{path}");
    }
    eventually("reported", || {
        let counts = counts(&node);
        counts.disk_bytes == 10 << 20 && counts.bytes < 10_000 && counts.entries == 2
    })
    .await;
    let folder = node.folder.path().join("cache");
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    node.send(Request::post("/whole")).await;
    eventually("its room is free", || counts(&node).disk_bytes == 5 << 20).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_breaks_off_is_not_kept_in_a_file_and_one_that_waits_slows_nobody() {
    let app = App::start(|_| async { kept_for("max-age=60", full(pattern(7 * MIB))) }).await;
    let node = with_files(&app, |_| {}).await;
    let slow = stalled(&node, "/").await;
    eventually("it is at the app", || app.requests() == 1).await;
    for asked in 2..4 {
        let answer = within(5, "nobody waits for it", node.get("/")).await;
        // Somebody writes it already, so this one is not kept.
        assert_eq!((answer.body.len(), app.requests()), (7 * MIB, asked));
    }
    drop(slow);
    eventually("nothing is left of it", || counts(&node).disk_bytes == 0).await;
    node.get("/").await;
    until_kept(&node, "/").await;
    assert!(node.get("/").await.body == pattern(7 * MIB));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_disk_the_cache_goes_on_in_memory() {
    let app = App::start(|request: Request<Incoming>| async move {
        let bytes = if request.uri().path() == "/large" {
            9 * MIB
        } else {
            1_000
        };
        kept_for("max-age=60", full(pattern(bytes)))
    })
    .await;
    let node = with_files(&app, |config| {
        let (folder, _) = config.cache_files.as_ref().unwrap();
        std::fs::write(folder, "in its way").unwrap();
    })
    .await;
    for (path, expected) in [("/small", Some("hit")), ("/large", None)] {
        node.get(path).await;
        assert_eq!(cache_of(&node.get(path).await), expected, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_that_comes_from_a_file_is_paid_and_counted() {
    let fund = Fund::of(PLENTY);
    let app = App::start(|_| async { kept_for("max-age=60", full(pattern(3 * MIB))) }).await;
    let pays = pays_from(&fund);
    let node = with_files(&app, pays).await;
    let mut sent = 0;
    let mut requests = 0;
    let mut ask = async |head: &str| {
        let mut stream = TcpStream::connect(node.address).await.unwrap();
        let ask = format!("{head}\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        within(10, "all is sent", stream.read_to_end(&mut read)).await.unwrap();
        // The node adds this one itself.
        sent += u64::try_from(read.len() - "connection: close\r\n".len()).unwrap();
        requests += 1;
        String::from_utf8_lossy(&read[..400.min(read.len())]).into_owned()
    };
    ask("GET / HTTP/1.1").await;
    within(20, "it is kept", async {
        while !ask("HEAD / HTTP/1.1").await.contains("x-weir-cache: hit") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    ask("GET / HTTP/1.1").await;
    ask("GET / HTTP/1.1\r\nrange: bytes=5-9,1000000-2000000").await;
    eventually("paid", || {
        fund.used(&Sku::EGRESS) == sent && fund.used(&Sku::REQUESTS) == requests
    })
    .await;
    eventually("counted", || {
        let report = node.control.last_report().unwrap_or_default();
        let counts = report.access.get(&environment()).copied().unwrap_or_default();
        (counts.requests, counts.open, counts.egress_bytes) == (requests, 0, sent)
    })
    .await;
}
