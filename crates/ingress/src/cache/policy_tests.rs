use super::*;

const NOW_MS: i64 = 1_700_000_000_000;

fn map(text: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in text.split('|').filter(|line| !line.trim().is_empty()) {
        let (name, value) = line.split_once(':').unwrap();
        headers.append(
            HeaderName::try_from(name.trim()).unwrap(),
            value.trim().parse().unwrap(),
        );
    }
    headers
}

fn at(seconds: i64) -> String {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(NOW_MS / 1000 + seconds).unwrap());
    httpdate::fmt_http_date(time)
}

fn kept(request: &str, status: u16, answer: &str) -> Option<Terms> {
    let timing = Timing {
        asked_ms: NOW_MS,
        came_ms: NOW_MS,
    };
    terms(
        &Asked::of(&map(request)),
        StatusCode::from_u16(status).unwrap(),
        &map(answer),
        timing,
    )
}

#[test]
fn only_what_says_so_is_kept() {
    for (request, status, answer, expected) in [
        ("", 200, "cache-control: max-age=60", true),
        ("", 200, "cache-control: s-maxage=60", true),
        ("", 200, "cache-control: public, max-age=60", true),
        ("", 404, "cache-control: max-age=60", true),
        ("", 301, "cache-control: max-age=60", true),
        // Nothing is guessed.
        ("", 200, "", false),
        ("", 200, "last-modified: Mon, 01 Jan 2024 00:00:00 GMT", false),
        ("", 200, "cache-control: public", false),
        ("", 301, "", false),
        // Forbidden.
        ("", 200, "cache-control: no-store, max-age=60", false),
        ("", 200, "cache-control: private, max-age=60", false),
        ("", 200, "cache-control: private=\"x-a, public\", s-maxage=60", false),
        ("", 200, "cache-control: max-age=60 | set-cookie: a=1", false),
        ("", 200, "cache-control: public, max-age=60 | set-cookie: a=1", false),
        ("", 200, "cache-control: max-age=60 | vary: *", false),
        ("", 200, "cache-control: max-age=60 | vary: accept | vary: x, *", false),
        (
            "cache-control: no-store",
            200,
            "cache-control: public, max-age=60",
            false,
        ),
        // Not whole, or not final.
        ("", 206, "cache-control: max-age=60", false),
        ("", 304, "cache-control: max-age=60", false),
        ("", 500, "cache-control: max-age=60", false),
        ("", 503, "cache-control: public, max-age=60", false),
        // Credentials: RFC 9111, 3.5.
        ("authorization: x", 200, "cache-control: max-age=60", false),
        ("authorization: x", 200, "cache-control: public, max-age=60", true),
        ("authorization: x", 200, "cache-control: s-maxage=60", true),
        (
            "authorization: x",
            200,
            "cache-control: must-revalidate, max-age=60",
            true,
        ),
        // Cookies: stricter than the RFC.
        ("cookie: a=1", 200, "cache-control: max-age=60", false),
        ("cookie: a=1", 200, "cache-control: must-revalidate, max-age=60", false),
        ("cookie: a=1", 200, "cache-control: public, max-age=60", true),
        // Always to be asked again.
        ("", 200, "cache-control: no-cache | etag: \"a\"", false),
        ("", 200, "cache-control: public, no-cache | etag: \"a\"", true),
        ("", 200, "cache-control: public, no-cache", false),
        ("", 200, "cache-control: public, max-age=0 | etag: \"a\"", true),
        ("", 200, "cache-control: max-age=0 | etag: \"a\"", false),
        ("", 200, "cache-control: max-age=-1", false),
        ("", 200, "cache-control: max-age=abc", false),
        ("", 200, "cache-control: max-age=60, max-age=0", false),
        ("", 200, "expires: 0", false),
    ] {
        let found = kept(request, status, answer).is_some();
        assert_eq!(found, expected, "{request} → {status} {answer}");
    }
    assert!(kept("", 200, &format!("expires: {}", at(60))).is_some());
    assert!(kept("", 200, &format!("expires: {}", at(-60))).is_none());
}

#[test]
fn freshness_ends_when_it_says() {
    let asked = Asked::default();
    for (answer, after_s, expected) in [
        ("cache-control: max-age=60", 59, Fitness::Fresh),
        ("cache-control: max-age=60", 60, Fitness::Revalidate),
        ("cache-control: max-age=60 | age: 50", 9, Fitness::Fresh),
        ("cache-control: max-age=60 | age: 50", 10, Fitness::Revalidate),
        ("cache-control: max-age=60, s-maxage=10", 10, Fitness::Revalidate),
        ("cache-control: max-age=10, s-maxage=60", 30, Fitness::Fresh),
        ("cache-control: max-age=99999999999999999999", 1_000_000, Fitness::Fresh),
        (
            "cache-control: max-age=60, stale-while-revalidate=30",
            89,
            Fitness::StaleWhileRevalidate,
        ),
        (
            "cache-control: max-age=60, stale-while-revalidate=30",
            90,
            Fitness::Revalidate,
        ),
        (
            "cache-control: max-age=60, must-revalidate, stale-while-revalidate=30",
            61,
            Fitness::Revalidate,
        ),
        (
            "cache-control: public, no-cache, max-age=60 | etag: \"a\"",
            0,
            Fitness::Revalidate,
        ),
    ] {
        let terms = kept("", 200, answer).unwrap();
        let found = terms.fitness(&asked, NOW_MS + after_s * 1000);
        assert_eq!(found, expected, "{answer} after {after_s} s");
    }
    let dated = format!("expires: {} | date: {}", at(50), at(-10));
    let terms = kept("", 200, &dated).unwrap();
    assert_eq!(terms.age_s(NOW_MS), 10);
    assert_eq!(terms.fitness(&asked, NOW_MS + 49_000), Fitness::Fresh);
    assert_eq!(terms.fitness(&asked, NOW_MS + 50_000), Fitness::Revalidate);
}

#[test]
fn a_request_may_want_it_newer_and_never_gets_what_is_for_others() {
    let plain = kept("", 200, "cache-control: max-age=60").unwrap();
    let public = kept("", 200, "cache-control: public, max-age=60").unwrap();
    for (request, terms, expected) in [
        ("cache-control: no-cache", &public, Fitness::Revalidate),
        ("pragma: no-cache", &public, Fitness::Revalidate),
        ("cache-control: max-age=5", &public, Fitness::Revalidate),
        ("cache-control: max-age=15", &public, Fitness::Fresh),
        ("cache-control: min-fresh=51", &public, Fitness::Revalidate),
        ("cache-control: min-fresh=50", &public, Fitness::Fresh),
        ("cookie: a=1", &public, Fitness::Fresh),
        ("authorization: x", &public, Fitness::Fresh),
        ("cookie: a=1", &plain, Fitness::NotForThis),
        ("authorization: x", &plain, Fitness::NotForThis),
    ] {
        let found = terms.fitness(&Asked::of(&map(request)), NOW_MS + 10_000);
        assert_eq!(found, expected, "{request}");
    }
}

#[test]
fn stale_answers_stand_in_for_errors_only_where_they_say_so() {
    for (answer, after_s, expected) in [
        ("cache-control: max-age=60, stale-if-error=30", 89, true),
        ("cache-control: max-age=60, stale-if-error=30", 90, false),
        ("cache-control: max-age=60", 60, false),
        (
            "cache-control: max-age=60, must-revalidate, stale-if-error=30",
            70,
            false,
        ),
    ] {
        let terms = kept("", 200, answer).unwrap();
        assert_eq!(
            terms.holds_on_error(NOW_MS + after_s * 1000),
            expected,
            "{answer} after {after_s}"
        );
    }
}

#[test]
fn the_time_that_an_answer_took_counts_as_age_where_another_cache_stands_between() {
    let timing = Timing {
        asked_ms: NOW_MS - 5_000,
        came_ms: NOW_MS,
    };
    let answer = map("cache-control: max-age=60 | age: 10");
    let terms = terms(&Asked::default(), StatusCode::OK, &answer, timing).unwrap();
    assert_eq!(terms.age_s(NOW_MS), 15);
}

#[test]
fn variants_are_told_apart_by_what_vary_names() {
    let answer = map("vary: Accept-Language | vary: accept-encoding");
    let chosen = selecting(
        &answer,
        &map("accept-language: de, en | accept-encoding: gzip, br | x: 1"),
    )
    .unwrap();
    for (request, expected) in [
        ("accept-language: de,en | accept-encoding: br,gzip", true),
        (
            "accept-language: de | accept-language: en | accept-encoding: BR, gzip | x: 2",
            true,
        ),
        ("accept-language: en | accept-encoding: gzip, br", false),
        ("accept-encoding: gzip, br", false),
        ("accept-language: de, en | accept-encoding: gzip", false),
    ] {
        assert_eq!(selects(&chosen, &map(request)), expected, "{request}");
    }
    // Compressed, and nothing said of it.
    let chosen = selecting(&map("content-encoding: gzip"), &map("accept-encoding: gzip")).unwrap();
    assert!(!selects(&chosen, &map("")));
}
