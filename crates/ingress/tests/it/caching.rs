//! Answers that may be shared are fetched once, paid each time, and never shown to others.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weir_ledger::Sku;
use weir_model::cache::{CacheCounts, CachePurge, CachePurges};
use weir_model::route::{RouteSnapshot, RouteState};
use weir_model::{DeploymentId, EnvironmentId};

use crate::fund::*;
use crate::paying::{PLENTY, pays_from};
use crate::support::*;

/// An app whose answers carry the fields that the query names: `/x?cache-control=max-age=60&etag="a"`.
/// Its body is the number of the fetch and the request's path.
async fn told() -> App {
    let fetches = Arc::new(AtomicU64::new(0));
    App::start(move |request: Request<Incoming>| {
        let number = fetches.fetch_add(1, Ordering::Relaxed) + 1;
        async move { answer(number, &request) }
    })
    .await
}

fn answer(number: u64, request: &Request<Incoming>) -> Response<AppBody> {
    let mut answer = Response::new(full(format!("{number} {}", request.uri().path())));
    for pair in request.uri().query().unwrap_or_default().split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            continue;
        };
        let value = value.replace("%22", "\"").replace('+', " ");
        if name == "etag"
            && request
                .headers()
                .get("if-none-match")
                .is_some_and(|tag| tag.as_bytes() == value.as_bytes())
        {
            *answer.status_mut() = http::StatusCode::NOT_MODIFIED;
            *answer.body_mut() = empty();
        }
        let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
        answer.headers_mut().append(name, value.parse().unwrap());
    }
    answer
}

async fn node_for(app: &App) -> TestNode {
    let node = TestNode::start().await;
    node.control.publish_and_wait(routes(&[app])).await;
    node
}

fn cache_of(answer: &Answer) -> Option<&str> {
    answer.headers.get("x-weir-cache").map(|value| value.to_str().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_says_so_is_fetched_once_and_what_does_not_each_time() {
    let app = told().await;
    let node = node_for(&app).await;
    for (path, kept) in [
        ("/a?cache-control=max-age=60", true),
        ("/b?cache-control=public,s-maxage=60", true),
        ("/c", false),
        ("/d?cache-control=private,max-age=60", false),
        ("/e?cache-control=no-store", false),
        ("/f?cache-control=max-age=60&set-cookie=a=1", false),
        ("/g?cache-control=max-age=60&vary=*", false),
    ] {
        let before = app.requests();
        let first = node.get(path).await;
        let second = node.get(path).await;
        let expected = if kept {
            (1, Some("miss"), Some("hit"))
        } else {
            (2, None, None)
        };
        let found = (app.requests() - before, cache_of(&first), cache_of(&second));
        assert_eq!(found, expected, "{path}");
        assert_eq!(first.text() == second.text(), kept, "{path}");
        assert_eq!(second.headers.contains_key("age"), kept, "{path}");
    }
    let shop = EnvironmentId::from_parts(1, 1);
    eventually("reported", || {
        let report = node.control.last_report().unwrap_or_default();
        let counts = report.cache.get(&shop).copied().unwrap_or_default();
        (counts.entries, counts.hits, counts.misses) == (2, 2, 2) && counts.bytes > 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_cannot_forge_how_its_answer_came_about() {
    let app = told().await;
    let node = node_for(&app).await;
    let answer = node.get("/?x-weir-cache=hit").await;
    assert_eq!((answer.status.as_u16(), cache_of(&answer)), (200, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn cookies_and_credentials_keep_answers_apart() {
    let app = told().await;
    let node = node_for(&app).await;
    let plain = "/a?cache-control=max-age=60";
    node.send(Request::get(plain).header("cookie", "user=1")).await;
    node.send(Request::get(plain).header("authorization", "Bearer x")).await;
    let anonymous = node.get(plain).await;
    assert!(anonymous.text().starts_with('3'), "{}", anonymous.text());
    for (name, value) in [("cookie", "user=2"), ("authorization", "Bearer y")] {
        let own = node.send(Request::get(plain).header(name, value)).await;
        assert_eq!(cache_of(&own), None);
    }
    let public = "/b?cache-control=public,max-age=60";
    let first = node.send(Request::get(public).header("cookie", "user=1")).await;
    let second = node.send(Request::get(public).header("cookie", "user=2")).await;
    assert_eq!((cache_of(&second), second.text()), (Some("hit"), first.text()));
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_schemes_queries_and_variants_are_told_apart() {
    let app = told().await;
    let node = TestNode::start().await;
    let mut snapshot = routes(&[&app]);
    let other = snapshot.hosts["shop.localhost"].clone();
    snapshot.hosts.insert("other.localhost".to_owned(), other);
    node.control.publish_and_wait(snapshot).await;
    let path = "/a?cache-control=max-age=60&vary=accept-language";
    let ask = |host: &'static str, language: &'static str, path: String| {
        node.send(
            Request::get(path)
                .header("host", host)
                .header("accept-language", language),
        )
    };
    for (host, language, path) in [
        ("shop.localhost", "de", path.to_owned()),
        ("other.localhost", "de", path.to_owned()),
        ("shop.localhost:8080", "de", path.to_owned()),
        ("shop.localhost", "en", path.to_owned()),
        ("shop.localhost", "de", format!("{path}&x=1")),
    ] {
        assert_eq!(
            cache_of(&ask(host, language, path.clone()).await),
            Some("miss"),
            "{host} {language} {path}"
        );
        assert_eq!(
            cache_of(&ask(host, language, path.clone()).await),
            Some("hit"),
            "{host} {language} {path}"
        );
    }
    let upper = ask("SHOP.localhost", "de", path.to_owned()).await;
    assert_eq!(cache_of(&upper), Some("hit"));
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_and_deployments_never_see_each_others_answers() {
    let app = told().await;
    let node = TestNode::start().await;
    let path = "/a?cache-control=max-age=60";
    let by = |environment: u128, deployment: u128| {
        let deployment = Some(DeploymentId::from_parts(1, deployment));
        let mut snapshot = with_route(routes(&[&app]), |route| route.cache.deployment = deployment);
        for host in snapshot.hosts.values_mut() {
            host.environment = EnvironmentId::from_parts(1, environment);
        }
        snapshot
    };
    for (environment, deployment, expected) in [
        (1, 1, "miss"),
        (1, 1, "hit"),
        (1, 2, "miss"),
        (2, 2, "miss"),
        (2, 2, "hit"),
        (1, 2, "miss"),
    ] {
        node.control.publish_and_wait(by(environment, deployment)).await;
        let answer = node.get(path).await;
        assert_eq!(cache_of(&answer), Some(expected), "{environment} {deployment}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_conditions_and_head_are_answered_from_what_is_kept() {
    let app = told().await;
    let node = node_for(&app).await;
    let path = "/abc?cache-control=public,max-age=60&etag=%22v%22";
    assert_eq!(node.get(path).await.text(), "1 /abc");
    let part = node.send(Request::get(path).header("range", "bytes=2-3")).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "/a"));
    assert_eq!(part.headers["content-range"], "bytes 2-3/6");
    let parts = node.send(Request::get(path).header("range", "bytes=0-0,5-")).await;
    assert_eq!(parts.status, 206);
    assert!(
        parts.text().contains("content-range: bytes 5-5/6\r\n\r\nc\r\n"),
        "{}",
        parts.text()
    );
    let beyond = node.send(Request::get(path).header("range", "bytes=6-")).await;
    assert_eq!(
        (beyond.status.as_u16(), &beyond.headers["content-range"]),
        (416, &"bytes */6".parse().unwrap())
    );
    let same = node.send(Request::get(path).header("if-none-match", "\"v\"")).await;
    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0));
    let head = node.send(Request::head(path)).await;
    assert_eq!(
        (head.status.as_u16(), &head.headers["content-length"]),
        (200, &"6".parse().unwrap())
    );
    assert_eq!(app.requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_for_what_was_kept_before_have_it_fetched_once() {
    let app = App::start(|_| async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let mut answer = Response::new(full("slow"));
        answer
            .headers_mut()
            .insert("cache-control", "max-age=60".parse().unwrap());
        answer
    })
    .await;
    let node = node_for(&app).await;
    node.get("/").await;
    node.send(Request::post("/")).await;
    let asked = (0..40).map(|_| node.get("/"));
    let answers = within(10, "all answered", futures_util::future::join_all(asked)).await;
    assert!(answers.iter().all(|answer| answer.text() == "slow"));
    assert_eq!(app.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_whose_answers_may_not_be_kept_do_not_wait_one_after_the_other() {
    let (now, most) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (of_now, of_most) = (Arc::clone(&now), Arc::clone(&most));
    let keeps = Arc::new(AtomicBool::new(false));
    let says = Arc::clone(&keeps);
    let app = App::start(move |_| {
        let (now, most, keeps) = (Arc::clone(&of_now), Arc::clone(&of_most), says.load(Ordering::SeqCst));
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(500)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            let mut answer = Response::new(full("own"));
            if keeps {
                answer
                    .headers_mut()
                    .insert("cache-control", "max-age=60".parse().unwrap());
            }
            answer
        }
    })
    .await;
    let node = node_for(&app).await;
    // Never kept; kept before, so that one goes ahead; and known again.
    for kept_before in [false, true, false] {
        if kept_before {
            keeps.store(true, Ordering::SeqCst);
            node.get("/").await;
            node.send(Request::post("/")).await;
            keeps.store(false, Ordering::SeqCst);
        }
        most.store(0, Ordering::SeqCst);
        let asked = (0..20).map(|_| node.get("/"));
        within(20, "all answered", futures_util::future::join_all(asked)).await;
        let most = most.load(Ordering::SeqCst);
        assert!(most >= 15 && (most < 20 || !kept_before), "{most} at once");
    }
    assert_eq!(app.requests(), 62);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stale_is_asked_about_renewed_beside_or_stands_in_as_it_says() {
    let broken = Arc::new(AtomicBool::new(false));
    let (fetches, fails) = (Arc::new(AtomicU64::new(0)), Arc::clone(&broken));
    let app = App::start(move |request: Request<Incoming>| {
        let (number, fails) = (
            fetches.fetch_add(1, Ordering::Relaxed) + 1,
            fails.load(Ordering::Relaxed),
        );
        async move {
            let mut answer = answer(number, &request);
            if fails {
                *answer.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            }
            answer
        }
    })
    .await;
    let node = node_for(&app).await;
    let asked = "/a?cache-control=public,max-age=0&etag=%22v%22";
    assert_eq!(cache_of(&node.get(asked).await), Some("miss"));
    let again = node.get(asked).await;
    assert_eq!((cache_of(&again), again.text()), (Some("revalidated"), "1 /a"));
    let own_copy = node.send(Request::get(asked).header("if-none-match", "\"v\"")).await;
    assert_eq!(own_copy.status, 304);
    assert_eq!(app.requests(), 3);

    let renewed = "/b?cache-control=public,max-age=1,stale-while-revalidate=60";
    let first = node.get(renewed).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    let stale = node.get(renewed).await;
    assert_eq!((cache_of(&stale), stale.text()), (Some("stale"), first.text()));
    eventually("renewed beside", || app.requests() == 5).await;
    within(5, "a newer one is there", async {
        while node.get(renewed).await.text() == first.text() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;

    let (holds, falls) = (
        "/c?cache-control=max-age=1,stale-if-error=60",
        "/d?cache-control=max-age=1",
    );
    let first = node.get(holds).await;
    node.get(falls).await;
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    broken.store(true, Ordering::Relaxed);
    let stand_in = node.get(holds).await;
    assert_eq!(
        (stand_in.status.as_u16(), cache_of(&stand_in), stand_in.text()),
        (200, Some("stale"), first.text())
    );
    assert_eq!(node.get(falls).await.status, 503);
    app.kill();
    let stand_in = within(30, "stands in for nobody", node.get(holds)).await;
    assert_eq!((stand_in.status.as_u16(), stand_in.text()), (200, first.text()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_invalidates_its_address_and_a_purge_what_it_names() {
    let app = told().await;
    let node = node_for(&app).await;
    let (a, b) = ("/a?cache-control=max-age=60", "/b?cache-control=max-age=60");
    for path in [a, b, a, b] {
        node.get(path).await;
    }
    node.send(Request::post(a)).await;
    assert_eq!(cache_of(&node.get(a).await), Some("miss"));
    assert_eq!(cache_of(&node.get(b).await), Some("hit"));
    let purge = |number, path: &str| CachePurge {
        number,
        environment: EnvironmentId::from_parts(1, 1),
        host: Some("shop.localhost".to_owned()),
        path: Some(path.to_owned()),
    };
    let purged = |dropped, list| RouteSnapshot {
        cache_purges: CachePurges { dropped, list },
        ..routes(&[&app])
    };
    node.control.publish_and_wait(purged(0, vec![purge(1, "/a*")])).await;
    assert_eq!(cache_of(&node.get(a).await), Some("miss"));
    assert_eq!(cache_of(&node.get(b).await), Some("hit"));
    // The same list again changes nothing.
    node.control
        .publish_and_wait(purged(0, vec![purge(1, "/a*"), purge(2, "/x")]))
        .await;
    assert_eq!(cache_of(&node.get(a).await), Some("hit"));
    // Purges that it never got to know: everything goes.
    node.control.publish_and_wait(purged(5, vec![])).await;
    assert_eq!(cache_of(&node.get(b).await), Some("miss"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_app_sleeps_its_kept_answers_are_given_but_not_while_it_is_paused_or_unpaid() {
    let app = told().await;
    let node = node_for(&app).await;
    let path = "/a?cache-control=max-age=60";
    node.get(path).await;
    node.control
        .publish_and_wait(in_state(RouteState::Hold { timeout_ms: 200 }))
        .await;
    assert_eq!(cache_of(&node.get(path).await), Some("hit"));
    assert_eq!(node.get("/other").await.weir(), Some("hold-timeout"));
    // What is kept is no answer to this one, which therefore waits like the others.
    let mut stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
    let ask = format!("GET {path} HTTP/1.1\r\nhost: shop.localhost\r\nif-match: \"x\"\r\nconnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let mut read = String::new();
    let reading = tokio::time::timeout(Duration::from_secs(10), stream.read_to_string(&mut read));
    reading.await.expect("an answer in time").unwrap();
    assert!(read.contains("x-weir: hold-timeout"), "{read}");
    let unpaid = RouteState::Unpaid {
        message: "The cap is reached.".to_owned(),
        retry_after_s: 0,
    };
    for (state, expected) in [(RouteState::Paused, 503), (unpaid, 402)] {
        node.control.publish_and_wait(in_state(state)).await;
        let answer = node.get(path).await;
        assert_eq!((answer.status.as_u16(), cache_of(&answer)), (expected, None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_that_is_given_out_again_is_paid_and_counted() {
    let fund = Fund::of(PLENTY);
    let app = App::start(|_| async {
        let mut answer = Response::new(full(vec![b'x'; 300_000]));
        answer
            .headers_mut()
            .insert("cache-control", "max-age=60".parse().unwrap());
        answer
    })
    .await;
    let node = TestNode::start_with(pays_from(&fund)).await;
    node.control.publish_and_wait(routes(&[&app])).await;
    let mut sent = 0;
    for ask in [
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n",
        "HEAD / HTTP/1.1\r\nhost: shop.localhost\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nrange: bytes=5-9,100000-200000\r\nconnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: shop.localhost\r\nif-modified-since: Mon, 01 Jan 2024 00:00:00 GMT\r\nconnection: close\r\n\r\n",
    ] {
        let mut stream = tokio::net::TcpStream::connect(node.address).await.unwrap();
        stream.write_all(ask.as_bytes()).await.unwrap();
        let mut read = Vec::new();
        within(10, "all is sent", stream.read_to_end(&mut read)).await.unwrap();
        // The node adds this one itself.
        sent += u64::try_from(read.len() - "connection: close\r\n".len()).unwrap();
    }
    assert_eq!(app.requests(), 1);
    eventually("paid", || fund.used(&Sku::EGRESS) == sent).await;
    assert_eq!(fund.used(&Sku::REQUESTS), 5);
    eventually("counted", || {
        let report = node.control.last_report().unwrap_or_default();
        let counts = report.access.get(&environment()).copied().unwrap_or_default();
        (counts.requests, counts.open, counts.turned_away, counts.egress_bytes) == (5, 0, 0, sent)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_off_is_never_kept() {
    let whole = Arc::new(AtomicBool::new(false));
    let is_whole = Arc::clone(&whole);
    let app = App::start_raw(move |mut stream| {
        let whole = is_whole.load(Ordering::Relaxed);
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let body = if whole { "0123456789" } else { "01234" };
            let head =
                "HTTP/1.1 200 OK\r\ncontent-length: 10\r\ncache-control: max-age=60\r\nconnection: close\r\n\r\n";
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    })
    .await;
    let node = node_for(&app).await;
    let mut client = Client::connect(node.address).await;
    assert!(client.try_send(Request::get("/").body(empty()).unwrap()).await.is_err());
    whole.store(true, Ordering::Relaxed);
    let answer = node.get("/").await;
    assert_eq!((answer.text(), cache_of(&answer)), ("0123456789", Some("miss")));
    assert_eq!(cache_of(&node.get("/").await), Some("hit"));
}

fn page() -> String {
    "All work and no play makes Jack a dull boy. ".repeat(500)
}

/// Answers with text, in parts, and says of it what the path says.
async fn texts() -> App {
    App::start(|request: Request<Incoming>| async move {
        let control = request.uri().path().trim_start_matches('/').to_owned();
        let page = Bytes::from(page());
        let parts: Vec<_> = page
            .chunks(5_000)
            .map(|part| Ok(Frame::data(page.slice_ref(part))))
            .collect();
        let mut answer = Response::new(BodyExt::boxed(StreamBody::new(futures_util::stream::iter(parts))));
        answer
            .headers_mut()
            .insert("content-type", "text/html".parse().unwrap());
        answer.headers_mut().insert("etag", "\"v\"".parse().unwrap());
        if !control.is_empty() {
            answer.headers_mut().insert("cache-control", control.parse().unwrap());
        }
        answer
    })
    .await
}

fn unpacked(answer: &Answer) -> String {
    let mut text = String::new();
    match answer
        .headers
        .get("content-encoding")
        .map(|value| value.to_str().unwrap())
    {
        None => text.push_str(answer.text()),
        Some("gzip") => drop(
            flate2::read::GzDecoder::new(&answer.body[..])
                .read_to_string(&mut text)
                .unwrap(),
        ),
        Some("br") => drop(
            brotli::Decompressor::new(&answer.body[..], 4096)
                .read_to_string(&mut text)
                .unwrap(),
        ),
        Some("zstd") => text = String::from_utf8(zstd::decode_all(&answer.body[..]).unwrap()).unwrap(),
        Some(other) => panic!("coded as {other}"),
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn text_is_compressed_for_those_who_take_it_so_and_once_where_it_is_kept() {
    let app = texts().await;
    let node = node_for(&app).await;
    for (path, accepts, codings) in [
        ("/", "gzip", [Some("gzip"), Some("gzip")]),
        ("/", "gzip, br, zstd", [Some("zstd"), Some("zstd")]),
        ("/", "identity", [None, None]),
        ("/no-transform", "gzip", [None, None]),
        ("/max-age=60", "gzip, br, zstd", [Some("zstd"), Some("br")]),
        ("/max-age=61", "identity", [None, None]),
    ] {
        for expected in codings {
            let answer = node.send(Request::get(path).header("accept-encoding", accepts)).await;
            let coding = answer
                .headers
                .get("content-encoding")
                .map(|value| value.to_str().unwrap());
            assert_eq!(coding, expected, "{path} {accepts}");
            assert_eq!(unpacked(&answer), page());
            assert_eq!(
                answer.headers["etag"],
                if coding.is_some() { "W/\"v\"" } else { "\"v\"" }
            );
            assert_eq!(answer.headers.contains_key("vary"), path != "/no-transform");
            assert!(coding.is_none() || answer.body.len() < 2_000);
        }
    }
    let part = Request::get("/max-age=60")
        .header("accept-encoding", "gzip")
        .header("range", "bytes=0-7");
    let part = node.send(part).await;
    assert_eq!((part.status.as_u16(), part.text()), (206, "All work"));
    // A page that may hold a secret, asked for from somebody's page.
    let asked = Request::get("/")
        .header("accept-encoding", "gzip")
        .header("cookie", "session=1");
    let answer = node.send(asked.header("sec-fetch-site", "cross-site")).await;
    assert!(!answer.headers.contains_key("content-encoding"));
    let off = with_route(routes(&[&app]), |route| route.cache.compress = false);
    node.control.publish_and_wait(off).await;
    let answer = node.send(Request::get("/").header("accept-encoding", "gzip")).await;
    assert!(!answer.headers.contains_key("content-encoding") && !answer.headers.contains_key("vary"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_app_sends_bit_by_bit_comes_bit_by_bit_also_compressed() {
    let app = App::start(|_| async {
        let (parts, from) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            for _ in 0..3 {
                let _ = parts
                    .send(Ok(Frame::data(Bytes::from_static(b"a line of text\n"))))
                    .await;
                tokio::time::sleep(Duration::from_millis(400)).await;
            }
        });
        let parts = futures_util::stream::unfold(
            from,
            |mut from| async move { from.recv().await.map(|part| (part, from)) },
        );
        let mut answer = Response::new(BodyExt::boxed(StreamBody::new(Box::pin(parts))));
        answer
            .headers_mut()
            .insert("content-type", "text/plain".parse().unwrap());
        answer
    })
    .await;
    let node = node_for(&app).await;
    let mut client = Client::connect(node.address).await;
    let asked = Request::get("/")
        .header("accept-encoding", "gzip")
        .body(empty())
        .unwrap();
    let mut body = client.begin(asked).await.unwrap().into_body();
    let start = tokio::time::Instant::now();
    let (mut packed, mut firsts) = (Vec::new(), Vec::new());
    while let Some(frame) = body.frame().await {
        packed.extend_from_slice(&frame.unwrap().into_data().unwrap());
        let mut text = Vec::new();
        let _ = flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut text);
        while firsts.len() < text.len() / 15 {
            firsts.push(start.elapsed());
        }
    }
    assert_eq!(firsts.len(), 3);
    assert!(firsts[2] - firsts[0] > Duration::from_millis(500), "{firsts:?}");
}

/// A model of the cache that never keeps anything too long: what it would not give, the node must not.
#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_asked_the_answer_is_one_that_the_app_gave_to_such_a_request() {
    let versions: Arc<Mutex<BTreeMap<String, u64>>> = Arc::default();
    let served = Arc::clone(&versions);
    let app = App::start(move |request: Request<Incoming>| {
        let mut versions = served.lock().unwrap();
        let path = request.uri().path().to_owned();
        let version = versions.entry(path.clone()).or_insert(1);
        if request.method() == "POST" {
            *version += 1;
        }
        let user = request
            .headers()
            .get("cookie")
            .map_or("", |value| value.to_str().unwrap());
        let language = request
            .headers()
            .get("accept-language")
            .map_or("", |value| value.to_str().unwrap());
        let mut answer = Response::new(full(format!("{path} {version} [{user}] [{language}]")));
        let control = match path.as_bytes()[1] % 4 {
            0 => "public, max-age=60",
            1 => "max-age=60",
            2 => "private, max-age=60",
            _ => "no-store",
        };
        answer.headers_mut().insert("cache-control", control.parse().unwrap());
        answer
            .headers_mut()
            .insert("vary", "accept-language, cookie".parse().unwrap());
        async move { answer }
    })
    .await;
    let node = node_for(&app).await;
    let mut client = Client::connect(node.address).await;
    fastrand::seed(11);
    for step in 0..3_000 {
        let path = format!("/{}", char::from(b'a' + fastrand::u8(..8)));
        if fastrand::u8(..20) == 0 {
            client.send(Request::post(&path).body(empty()).unwrap()).await;
            continue;
        }
        let mut request = Request::get(&path);
        let user = ["", "u1", "u2"][fastrand::usize(..3)];
        let language = ["", "de", "en"][fastrand::usize(..3)];
        if !user.is_empty() {
            request = request.header("cookie", user);
        }
        if !language.is_empty() {
            request = request.header("accept-language", language);
        }
        let answer = client.send(request.body(empty()).unwrap()).await;
        let version = versions.lock().unwrap().get(&path).copied().unwrap_or(1);
        assert_eq!(
            answer.text(),
            format!("{path} {version} [{user}] [{language}]"),
            "step {step}"
        );
        let kept = path.as_bytes()[1] % 4 < 2;
        assert!(kept || cache_of(&answer).is_none(), "step {step}: {path}");
    }
    let counts = |node: &TestNode| {
        let report = node.control.last_report().unwrap_or_default();
        report
            .cache
            .get(&EnvironmentId::from_parts(1, 1))
            .copied()
            .unwrap_or_default()
    };
    eventually("much of it was kept", || counts(&node).hits > 300).await;
    let CacheCounts { hits, misses, .. } = counts(&node);
    println!("{hits} hits, {misses} misses, {} fetches", app.requests());
}
