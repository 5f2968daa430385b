//! A canary: a part of the visitors gets a new release. Who comes again gets the same release
//! again, by a cookie that holds a random number; which numbers get the canary follows from the
//! share alone, so that a greater share takes nobody away from it. The cookie is between the visitor
//! and Weir: apps do not see it, so that none comes to depend on it, or takes every visitor for one
//! with a session.

use std::sync::Arc;

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use http::uri::Scheme;
use sha2::{Digest, Sha256};
use weir_model::DeploymentId;
use weir_model::cache::CacheRules;
use weir_model::canary::Share;
use weir_model::cookie;
use weir_model::route::{Route, RouteCanary};

use crate::table::CompiledRoute;

/// The cookie by which a visitor stays with a release. Set only while there is a canary.
const COOKIE_NAME: &str = cookie::RELEASE;
/// Digits of the number in the cookie.
const DIGITS: usize = 16;

/// A new release beside the one that serves.
#[derive(Debug)]
pub(crate) struct Canary {
    /// Of so many in [`Share::WHOLE`].
    share: u64,
    header: Option<(HeaderName, HeaderValue)>,
    /// Divides visitors anew for each canary, so that not always the same ones are the first.
    salt: u64,
    /// By which it serves.
    pub(crate) route: Arc<CompiledRoute>,
}

/// A visitor of a host that has a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Visitor {
    number: u64,
    /// It has no cookie yet.
    fresh: bool,
}

impl Canary {
    pub(crate) fn of(canary: &RouteCanary, route: Arc<CompiledRoute>) -> Self {
        let header = canary.header.as_ref().and_then(|header| {
            let name = HeaderName::from_bytes(header.name().as_bytes()).ok()?;
            Some((name, HeaderValue::from_str(header.value()).ok()?))
        });
        Self {
            share: u64::from(canary.share.hundredths()),
            header,
            salt: salt(canary.deployment),
            route,
        }
    }

    /// Whether the visitor with this number gets it.
    fn takes(&self, number: u64) -> bool {
        mixed(number ^ self.salt) % u64::from(Share::WHOLE) < self.share
    }

    fn is_asked_for(&self, headers: &HeaderMap) -> bool {
        let Some((name, value)) = &self.header else {
            return false;
        };
        headers.get_all(name).iter().any(|given| given == value)
    }
}

/// The route of the canary as control says it, made of that of the release that serves.
pub(crate) fn route_of(route: &Route, canary: &RouteCanary) -> Route {
    Route {
        pool: canary.pool.clone(),
        concurrency: canary.concurrency,
        first_byte_timeout_ms: canary.first_byte_timeout_ms,
        class: canary.class.clone(),
        canary: None,
        // While two releases answer, nothing is kept: one would be served what the other said.
        cache: CacheRules {
            store: false,
            ..route.cache.clone()
        },
        ..route.clone()
    }
}

/// The route of the release that this request gets. `visitor` is who it is by its cookie. One that
/// has none is remembered there, so that it gets the same release again if it has to be sent again.
pub(crate) fn choose(
    route: Arc<CompiledRoute>,
    headers: Option<&HeaderMap>,
    visitor: &mut Option<Visitor>,
) -> Arc<CompiledRoute> {
    let Some(canary) = route.canary.as_ref().filter(|canary| !canary.route.pool.is_empty()) else {
        return route;
    };
    if headers.is_some_and(|headers| canary.is_asked_for(headers)) {
        return Arc::clone(&canary.route);
    }
    if canary.share == 0 {
        return route;
    }
    let visitor = visitor.get_or_insert_with(|| Visitor {
        number: fastrand::u64(..),
        fresh: true,
    });
    match canary.takes(visitor.number) {
        true => Arc::clone(&canary.route),
        false => route,
    }
}

/// Gives a visitor that has no cookie its own; one who came over TLS sends it back over TLS only.
pub(crate) fn mark(answer: &mut HeaderMap, visitor: Option<Visitor>, scheme: &str) {
    let Some(visitor) = visitor.filter(|visitor| visitor.fresh) else {
        return;
    };
    let secure = if scheme == Scheme::HTTPS.as_str() {
        "; Secure"
    } else {
        ""
    };
    let cookie = format!(
        "{COOKIE_NAME}={:0DIGITS$x}; Path=/; HttpOnly; SameSite=Lax{secure}",
        visitor.number
    );
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        answer.append(SET_COOKIE, cookie);
    }
}

/// Who asks, by its cookie; takes all cookies of Weir, whatever is in them, out of what the app gets to
/// see.
pub(crate) fn take_visitor(headers: &mut HeaderMap) -> Option<Visitor> {
    let is_ours = |pair: &&[u8]| cookie::is_of_weir(pair);
    let lines = headers.get_all(COOKIE);
    if !lines.iter().any(|line| cookies(line).any(|cookie| is_ours(&cookie))) {
        return None;
    }
    let number = lines.iter().flat_map(cookies).find_map(number);
    let others = |line: &HeaderValue| {
        let others: Vec<&[u8]> = cookies(line).filter(|cookie| !is_ours(cookie)).collect();
        HeaderValue::from_bytes(others.join(&b';').trim_ascii_start()).ok()
    };
    let left: Vec<HeaderValue> = lines
        .iter()
        .filter_map(others)
        .filter(|line| !line.is_empty())
        .collect();
    headers.remove(COOKIE);
    for line in left {
        headers.append(COOKIE, line);
    }
    number.map(|number| Visitor { number, fresh: false })
}

fn cookies(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b';')
}

/// What is in a cookie, if it is that by which a visitor stays with a release.
fn content(cookie: &[u8]) -> Option<&[u8]> {
    let rest = cookie.trim_ascii().strip_prefix(COOKIE_NAME.as_bytes())?;
    rest.trim_ascii_start().strip_prefix(b"=")
}

fn number(cookie: &[u8]) -> Option<u64> {
    let digits = content(cookie).filter(|digits| digits.len() == DIGITS && digits.iter().all(u8::is_ascii_hexdigit))?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The same on every node, and over restarts.
fn salt(deployment: DeploymentId) -> u64 {
    let hash = Sha256::digest(deployment.to_string().as_bytes());
    hash.iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

/// Spreads numbers that lie close together (the finish of SplitMix64).
fn mixed(number: u64) -> u64 {
    let mut mixed = number;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use weir_model::InstanceId;
    use weir_model::route::Backend;

    use super::*;
    use crate::instance::Instance;

    fn canary(share: &str, header: Option<&str>, deployment: u128) -> Arc<CompiledRoute> {
        let said = RouteCanary {
            deployment: DeploymentId::from_parts(1, deployment),
            share: share.parse().unwrap(),
            header: header.map(|header| header.parse().unwrap()),
            pool: Vec::new(),
            concurrency: 1,
            first_byte_timeout_ms: 1_000,
            class: None,
        };
        let backend = Backend {
            instance: InstanceId::from_parts(1, 1),
            address: ([127, 0, 0, 1], 1).into(),
        };
        let report_wanted = Arc::new(tokio::sync::Notify::new());
        let of_canary = Arc::new(CompiledRoute {
            title: "canary".into(),
            pool: vec![Arc::new(Instance::new(backend, 1, report_wanted, None))],
            ..CompiledRoute::for_test()
        });
        Arc::new(CompiledRoute {
            canary: Some(Canary::of(&said, of_canary)),
            ..CompiledRoute::for_test()
        })
    }

    fn gets_canary(route: &Arc<CompiledRoute>, headers: &HeaderMap) -> bool {
        let mut visitor = take_visitor(&mut headers.clone());
        &*choose(Arc::clone(route), Some(headers), &mut visitor).title == "canary"
    }

    fn with_cookie(cookie: &str) -> HeaderMap {
        HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(cookie).unwrap())])
    }

    /// The cookie that a visitor gets, as it sends it back.
    fn cookie_of(visitor: Option<Visitor>) -> Option<String> {
        let mut answer = HeaderMap::new();
        mark(&mut answer, visitor, "http");
        let cookie = answer.get(SET_COOKIE)?.to_str().unwrap().to_owned();
        assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Lax"), "{cookie}");
        Some(cookie.split(';').next().unwrap().to_owned())
    }

    #[test]
    fn the_share_of_visitors_is_what_was_asked_for() {
        for (share, expected) in [("1%", 100), ("5%", 500), ("25%", 2_500), ("50%", 5_000)] {
            let route = canary(share, None, 7);
            let taken = (0..10_000).filter(|_| gets_canary(&route, &HeaderMap::new())).count();
            // Five standard deviations: of a million runs, one would fail.
            let bound = 5 * (expected * (10_000 - expected) / 10_000_usize).isqrt() + 1;
            assert!(taken.abs_diff(expected) <= bound, "{share}: {taken} of 10,000");
        }
        let all = canary("100%", None, 7);
        assert!((0..1_000).all(|_| gets_canary(&all, &HeaderMap::new())));
    }

    #[test]
    fn who_comes_again_gets_the_same_release_and_a_greater_share_takes_nobody_away() {
        let shares = ["5%", "25%", "60%", "100%"].map(|share| canary(share, None, 7));
        for _ in 0..500 {
            let mut visitor = None;
            let first = choose(Arc::clone(&shares[0]), Some(&HeaderMap::new()), &mut visitor);
            let cookie = cookie_of(visitor).unwrap();
            let headers = with_cookie(&format!("theme=dark; {cookie}; other=weir-release"));
            let mut before = &*first.title == "canary";
            assert_eq!(gets_canary(&shares[0], &headers), before);
            for wider in &shares[1..] {
                let now = gets_canary(wider, &headers);
                assert!(now || !before, "a greater share took {cookie} away from the canary");
                before = now;
            }
            let mut known = take_visitor(&mut headers.clone());
            choose(Arc::clone(&shares[0]), Some(&headers), &mut known);
            assert_eq!(cookie_of(known), None, "the cookie is set once");
        }
    }

    #[test]
    fn each_canary_has_other_visitors_first() {
        let (one, other) = (canary("50%", None, 7), canary("50%", None, 8));
        let of_both = (0..1_000_u64).filter(|number| {
            let headers = with_cookie(&format!("{COOKIE_NAME}={number:016x}"));
            gets_canary(&one, &headers) == gets_canary(&other, &headers)
        });
        assert!((400..600).contains(&of_both.count()));
    }

    #[test]
    fn a_header_leads_to_the_canary_and_sets_no_cookie() {
        let route = canary("0%", Some("X-Canary: yes"), 7);
        let asked = HeaderMap::from_iter([(HeaderName::from_static("x-canary"), HeaderValue::from_static("yes"))]);
        let mut visitor = None;
        let chosen = choose(Arc::clone(&route), Some(&asked), &mut visitor);
        assert_eq!((&*chosen.title, visitor), ("canary", None));
        let other = HeaderMap::from_iter([(HeaderName::from_static("x-canary"), HeaderValue::from_static("no"))]);
        let chosen = choose(Arc::clone(&route), Some(&other), &mut visitor);
        assert_eq!((&*chosen.title, visitor), ("shop", None));
    }

    #[test]
    fn forged_cookies_are_none() {
        for cookie in [
            "weir-release=",
            "weir-release=12",
            "weir-release=zzzzzzzzzzzzzzzz",
            "weir-release=+000000000000001",
            "weir-release-x=0000000000000001",
        ] {
            assert_eq!(take_visitor(&mut with_cookie(cookie)), None, "{cookie}");
        }
        let known = take_visitor(&mut with_cookie("a=b;weir-release=00000000000000ff"));
        assert_eq!(known.map(|visitor| visitor.number), Some(255));
    }

    #[test]
    fn apps_see_all_cookies_but_those_of_weir() {
        for (given, left) in [
            ("weir-release=00000000000000ff", None),
            ("weir-release=forged; weir-release =", None),
            ("weir-release=00000000000000ff; a=1;b=2", Some("a=1;b=2")),
            ("a=1; weir-release=00000000000000ff;b=2", Some("a=1;b=2")),
            (
                "weir-releases=1; x-weir-release=2",
                Some("weir-releases=1; x-weir-release=2"),
            ),
            ("weir=secret; __Host-weir=secret;weir-device=1 ; a=1", Some("a=1")),
            ("odd ;; cookies", Some("odd ;; cookies")),
        ] {
            let mut headers = with_cookie(given);
            headers.append(COOKIE, HeaderValue::from_bytes(b"c=\xff").unwrap());
            take_visitor(&mut headers);
            let lines: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
            let expected: Vec<&[u8]> = left.map(str::as_bytes).into_iter().chain([&b"c=\xff"[..]]).collect();
            assert_eq!(lines, expected, "{given}");
        }
    }

    #[test]
    fn over_tls_the_cookie_stays_there() {
        let visitor = Visitor { number: 1, fresh: true };
        for (scheme, is_secure) in [("https", true), ("http", false)] {
            let mut answer = HeaderMap::new();
            mark(&mut answer, Some(visitor), scheme);
            let cookie = answer[SET_COOKIE].to_str().unwrap();
            assert_eq!(cookie.ends_with("; Secure"), is_secure, "{cookie}");
        }
    }
}
