//! What must hold of the cache's reading of headers, whatever they say; for `fuzz/`, and for a test that tries
//! it with headers made by chance.

use http::{HeaderMap, Method, StatusCode};

use super::answer::{Piece, Source, cut};
use super::policy::{self, Asked, Fitness, Timing};
use crate::compress::{self, Coding, Effort};

/// Reads the headers of a request and of the answer to it, of a body of so many bytes.
///
/// # Panics
/// When more is given than is kept, or what is kept for a request is not found by the same request.
pub(crate) fn headers(request: &HeaderMap, answer: &HeaderMap, length: usize) {
    let timing = Timing {
        asked_ms: 1_700_000_000_000,
        came_ms: 1_700_000_000_500,
    };
    let asked = Asked::of(request);
    if let Some(terms) = policy::terms(&asked, StatusCode::OK, answer, timing) {
        let said = policy::CacheControl::of(answer);
        assert!(!said.no_store && !said.private, "what must not be kept is kept");
        assert!(!answer.contains_key("set-cookie"), "a cookie is kept");
        assert!(
            terms.fitness(&asked, timing.came_ms) != Fitness::NotForThis,
            "kept for somebody else"
        );
        let later = timing.came_ms + 200 * 365 * 24 * 3_600_000;
        assert!(terms.fitness(&asked, later) != Fitness::Fresh, "fresh for ever");
    }
    if let Some(selecting) = policy::selecting(answer, request) {
        assert!(
            policy::selects(&selecting, request),
            "the same request does not find it"
        );
    }
    for method in [Method::GET, Method::HEAD] {
        let source = Source {
            status: StatusCode::OK,
            headers: answer,
            length,
        };
        let given = cut(source, &method, request);
        let mut sum = 0;
        for piece in &given.body {
            if let Piece::Kept { first, length: bytes } = piece {
                assert!(first + bytes <= length, "more is given than there is");
                sum += bytes;
            }
        }
        assert!(sum <= length, "much is made out of little");
        assert!(method == Method::GET || given.body.is_empty(), "HEAD has a body");
        let whole = given.status == StatusCode::OK && method == Method::GET;
        assert!(!whole || sum == length, "less than the whole is said to be the whole");
    }
    for effort in [Effort::Quick, Effort::Thorough] {
        let coding = Coding::wanted(request, effort);
        assert!(
            coding.is_none() || request.contains_key("accept-encoding"),
            "nobody asked for it"
        );
        let mut marked = answer.clone();
        compress::mark(&mut marked, coding);
        assert!(marked.contains_key("vary"), "it depends on what the client takes");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 14] = [
        "cache-control",
        "vary",
        "range",
        "if-range",
        "if-none-match",
        "etag",
        "age",
        "date",
        "expires",
        "set-cookie",
        "accept-encoding",
        "content-encoding",
        "last-modified",
        "if-modified-since",
    ];
    const WORDS: [&str; 30] = [
        "max-age=",
        "s-maxage=",
        "public",
        "private",
        "no-store",
        "no-cache",
        "stale-if-error=",
        "bytes=",
        "-",
        "0",
        "9",
        "18446744073709551616",
        ",",
        ";",
        "\"",
        "W/",
        "*",
        "gzip",
        "br",
        "zstd",
        "identity",
        "q=0",
        "q=1.000",
        "accept",
        " ",
        "=",
        "\"a\"",
        "Mon, 01 Jan 2024 00:00:00 GMT",
        "cookie",
        "min-fresh=",
    ];

    fn by_chance() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for _ in 0..fastrand::usize(..6) {
            let words = (0..fastrand::usize(..8)).map(|_| WORDS[fastrand::usize(..WORDS.len())]);
            let value = words.collect::<String>().parse().unwrap();
            headers.append(NAMES[fastrand::usize(..NAMES.len())], value);
        }
        headers
    }

    #[test]
    fn whatever_headers_say_no_more_is_given_than_is_kept_and_nothing_to_the_wrong_one() {
        fastrand::seed(5);
        for _ in 0..50_000 {
            headers(&by_chance(), &by_chance(), fastrand::usize(..20));
        }
    }
}
