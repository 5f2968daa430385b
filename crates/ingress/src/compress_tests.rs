use std::collections::VecDeque;
use std::convert::Infallible;
use std::io::Read;
use std::time::Instant;

use super::*;
use crate::cache::Whole;

fn map(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split('|').filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        let name = http::HeaderName::try_from(name.trim()).unwrap();
        headers.append(name, value.trim().parse().unwrap());
    }
    headers
}

fn decode(coding: Coding, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => drop(flate2::read::GzDecoder::new(data).read_to_end(&mut out).unwrap()),
        Coding::Brotli => drop(brotli::Decompressor::new(data, 4096).read_to_end(&mut out).unwrap()),
        Coding::Zstd => out = zstd::decode_all(data).unwrap(),
    }
    out
}

#[test]
fn the_coding_that_a_client_likes_best_is_chosen() {
    use Coding::{Brotli, Gzip, Zstd};
    for (accept, quick, thorough) in [
        ("gzip, deflate, br, zstd", Some(Zstd), Some(Brotli)),
        ("gzip, br", Some(Brotli), Some(Brotli)),
        ("br;q=0.5, gzip;q=0.9", Some(Gzip), Some(Gzip)),
        ("br;q=0, gzip", Some(Gzip), Some(Gzip)),
        ("GZIP", Some(Gzip), Some(Gzip)),
        ("x-gzip", Some(Gzip), Some(Gzip)),
        ("*", Some(Gzip), Some(Gzip)),
        ("*;q=0, br", Some(Brotli), Some(Brotli)),
        ("identity", None, None),
        ("identity, gzip;q=0.5", None, None),
        ("identity;q=0.1, gzip;q=0.5", Some(Gzip), Some(Gzip)),
        ("deflate", None, None),
        ("gzip;q=0", None, None),
        ("gzip;q=2", None, None),
        ("gzip;q=abc", None, None),
        ("gzip;q=0.001", Some(Gzip), Some(Gzip)),
        ("", None, None),
    ] {
        let headers = map(&format!("accept-encoding: {accept}"));
        assert_eq!(Coding::wanted(&headers, Effort::Quick), quick, "{accept}");
        assert_eq!(Coding::wanted(&headers, Effort::Thorough), thorough, "{accept}");
    }
    assert_eq!(Coding::wanted(&HeaderMap::new(), Effort::Quick), None);
}

#[test]
fn only_text_that_may_be_changed_and_tells_no_secret_is_compressed() {
    for (request, status, answer, expected) in [
        ("", 200, "content-type: text/html; charset=utf-8", true),
        ("", 200, "content-type: application/json", true),
        ("", 200, "content-type: application/activity+json", true),
        ("", 200, "content-type: image/svg+xml", true),
        ("", 404, "content-type: text/plain", true),
        ("", 200, "content-type: image/png", false),
        ("", 200, "content-type: application/zip", false),
        ("", 200, "content-type: text/event-stream", false),
        ("", 200, "", false),
        ("", 204, "content-type: text/plain", false),
        ("", 304, "content-type: text/plain", false),
        ("", 206, "content-type: text/plain", false),
        ("", 200, "content-type: text/plain | content-range: bytes 0-1/2", false),
        ("", 200, "content-type: text/plain | content-encoding: br", false),
        (
            "",
            200,
            "content-type: text/plain | cache-control: public, No-Transform",
            false,
        ),
        // BREACH.
        ("cookie: a=1", 200, "content-type: text/html", false),
        (
            "cookie: a=1 | sec-fetch-site: cross-site",
            200,
            "content-type: text/html",
            false,
        ),
        (
            "cookie: a=1 | sec-fetch-site: same-site",
            200,
            "content-type: text/html",
            false,
        ),
        (
            "cookie: a=1 | sec-fetch-site: same-origin",
            200,
            "content-type: text/html",
            true,
        ),
        (
            "cookie: a=1 | sec-fetch-site: none",
            200,
            "content-type: text/html",
            true,
        ),
        (
            "cookie: a=1",
            200,
            "content-type: text/css | cache-control: public, max-age=9",
            true,
        ),
        (
            "cookie: a=1",
            200,
            "content-type: text/css | cache-control: public, private",
            false,
        ),
        ("authorization: Basic eDp5", 200, "content-type: text/html", false),
        ("authorization: Bearer x", 200, "content-type: application/json", true),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let found = may_compress(&map(request), status, &map(answer));
        assert_eq!(found, expected, "{request} → {status} {answer}");
    }
}

#[test]
fn the_head_says_what_was_done() {
    let mut headers = map("etag: \"a\" | content-length: 5000 | accept-ranges: bytes | vary: origin");
    mark(&mut headers, Some(Coding::Brotli));
    assert_eq!(headers["etag"], "W/\"a\"");
    assert_eq!(headers["content-encoding"], "br");
    assert_eq!(headers.get_all("vary").iter().count(), 2);
    assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));
    mark(&mut headers, Some(Coding::Brotli));
    assert_eq!(headers["etag"], "W/\"a\"");
    assert_eq!(headers.get_all("vary").iter().count(), 2);
    let mut plain = map("etag: \"a\" | content-length: 5000");
    mark(&mut plain, None);
    assert_eq!(
        (plain["etag"].as_bytes(), plain["vary"].as_bytes()),
        (&b"\"a\""[..], &b"accept-encoding"[..])
    );
}

/// Gives its parts; a `None` among them is a moment in which nothing is there.
struct Parts(VecDeque<Option<Bytes>>);

impl Body for Parts {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.pop_front() {
            Some(Some(part)) => Poll::Ready(Some(Ok(Frame::data(part)))),
            Some(None) => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn on_the_way(coding: Coding) -> OnTheWay {
    let place = Tally::new(&Whole::new(1_000)).take(1).unwrap();
    OnTheWay::new(Coder::new(coding, Effort::Quick).unwrap(), place)
}

fn next(way: &mut OnTheWay, parts: &mut Parts) -> Poll<Option<Bytes>> {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let frame = way.poll_frame(Pin::new(parts), &mut cx);
    frame.map(|frame| frame.map(|frame| frame.unwrap().into_data().unwrap()))
}

#[test]
fn however_a_body_comes_it_is_the_same_when_it_is_read() {
    fastrand::seed(3);
    for coding in Coding::QUICK {
        for _ in 0..5 {
            let text: Vec<u8> = (0..fastrand::usize(..100_000))
                .map(|at| u8::try_from(at / 7 % 251).unwrap())
                .collect();
            let mut parts = Parts(VecDeque::new());
            let mut rest = Bytes::from(text.clone());
            while !rest.is_empty() {
                let length = fastrand::usize(1..=50_000).min(rest.len());
                parts.0.push_back(Some(rest.split_to(length)));
                (0..fastrand::u8(..2)).for_each(|_| parts.0.push_back(None));
            }
            let (mut way, mut out) = (on_the_way(coding), Vec::new());
            loop {
                match next(&mut way, &mut parts) {
                    Poll::Ready(Some(data)) => out.extend_from_slice(&data),
                    Poll::Ready(None) => break,
                    Poll::Pending => {}
                }
            }
            assert!(way.has_ended());
            assert_eq!(decode(coding, &out), text);
            assert_eq!(
                compress(coding, &text).map_or_else(|| text.clone(), |data| decode(coding, &data)),
                text
            );
        }
    }
}

#[test]
fn what_has_come_is_sent_when_nothing_more_is_there() {
    for coding in Coding::QUICK {
        let mut parts = Parts(VecDeque::from([
            Some("hello".into()),
            None,
            None,
            Some("again".into()),
            None,
        ]));
        let mut way = on_the_way(coding);
        let Poll::Ready(Some(first)) = next(&mut way, &mut parts) else {
            panic!("{coding:?} holds it back");
        };
        let mut sent = first.to_vec();
        // Some coders send their head first.
        while let Poll::Ready(Some(more)) = next(&mut way, &mut parts) {
            sent.extend_from_slice(&more);
            if parts.0.len() <= 2 {
                break;
            }
        }
        let mut read = vec![0; 5];
        match coding {
            Coding::Gzip => flate2::read::GzDecoder::new(&sent[..]).read_exact(&mut read).unwrap(),
            Coding::Brotli => brotli::Decompressor::new(&sent[..], 4096)
                .read_exact(&mut read)
                .unwrap(),
            Coding::Zstd => zstd::Decoder::new(&sent[..]).unwrap().read_exact(&mut read).unwrap(),
        }
        assert_eq!(read, b"hello");
    }
}

#[test]
fn a_huge_part_gives_others_their_turn() {
    let mut parts = Parts(VecDeque::from([Some(Bytes::from(vec![b'x'; 1_000_000]))]));
    let mut way = on_the_way(Coding::Zstd);
    let mut turns = 0;
    loop {
        match next(&mut way, &mut parts) {
            Poll::Pending => turns += 1,
            Poll::Ready(None) => break,
            Poll::Ready(Some(_)) => {}
        }
    }
    assert!(turns >= 1_000_000 / TURN_BYTES - 1, "{turns}");
}

#[test]
fn where_too_many_are_compressed_at_once_answers_go_as_they_are() {
    let tally = Tally::new(&Whole::new(4));
    let mut at_work = Vec::new();
    for expected in [true, true, true, false] {
        let mut headers = map("content-type: text/plain");
        let asked = map("accept-encoding: gzip");
        let chosen = choose(
            &tally,
            &Method::GET,
            &asked,
            StatusCode::OK,
            &mut headers,
            &SizeHint::with_exact(9_000),
        );
        assert_eq!(
            (chosen.is_some(), headers.contains_key("content-encoding")),
            (expected, expected)
        );
        at_work.extend(chosen);
    }
    drop(at_work);
    assert_eq!(tally.own(), 0);
}

#[test]
#[ignore = "measures"]
fn how_fast() {
    let page = std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/src/compress.rs")).unwrap();
    let text = page.repeat(20);
    for coding in Coding::QUICK {
        for effort in [Effort::Quick, Effort::Thorough] {
            let start = Instant::now();
            let mut coder = Coder::new(coding, effort).unwrap();
            text.chunks(TURN_BYTES).for_each(|part| coder.write(part).unwrap());
            let out = coder.finish().unwrap();
            let mib_s = f64::from(u32::try_from(text.len()).unwrap()) / start.elapsed().as_secs_f64() / 1048576.0;
            println!(
                "{coding:?} {effort:?}: {mib_s:.0} MiB/s, to {} of {}",
                out.len(),
                text.len()
            );
        }
    }
}
