//! What may be kept of an answer, for how long, and for whom (RFC 9111). Pure: no clock, no store.
//!
//! Stricter than the RFC in three places, because a mistake shows one visitor what is meant for
//! another: only answers that say how long they are fresh are kept (nothing is guessed); for requests
//! with a cookie only those that say `public` or `s-maxage`; and a qualified `private="..."` or
//! `no-cache="..."` counts for the whole answer.

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, StatusCode};

/// Longest time, in seconds, that a directive can mean: a hundred years.
const LONGEST_S: u64 = 100 * 365 * 24 * 3600;

/// The directives of `Cache-Control` that mean something to a shared cache.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CacheControl {
    pub(crate) no_store: bool,
    pub(crate) no_cache: bool,
    pub(crate) private: bool,
    pub(crate) public: bool,
    pub(crate) must_revalidate: bool,
    pub(crate) no_transform: bool,
    pub(crate) only_if_cached: bool,
    pub(crate) max_age_s: Option<u64>,
    pub(crate) s_maxage_s: Option<u64>,
    pub(crate) min_fresh_s: Option<u64>,
    pub(crate) stale_while_revalidate_s: Option<u64>,
    pub(crate) stale_if_error_s: Option<u64>,
}

impl CacheControl {
    /// Reads all lines; of several values of a directive the shortest counts, and one that is not a
    /// number counts as 0.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut control = Self::default();
        let lines = headers.get_all(header::CACHE_CONTROL).iter();
        for line in lines {
            // What is not text is understood as little as possible.
            let Ok(line) = line.to_str() else {
                control.no_store = true;
                continue;
            };
            for (name, value) in directives(line) {
                control.note(&name, value);
            }
        }
        // RFC 9111, 5.4: only where nothing else is said.
        if !headers.contains_key(header::CACHE_CONTROL) {
            let pragma = headers.get(header::PRAGMA).map(HeaderValue::as_bytes);
            control.no_cache = pragma.is_some_and(|value| value.eq_ignore_ascii_case(b"no-cache"));
        }
        control
    }

    fn note(&mut self, name: &str, value: Option<&str>) {
        match name {
            "no-store" => self.no_store = true,
            "no-cache" => self.no_cache = true,
            "private" => self.private = true,
            "public" => self.public = true,
            "must-revalidate" | "proxy-revalidate" => self.must_revalidate = true,
            "no-transform" => self.no_transform = true,
            "only-if-cached" => self.only_if_cached = true,
            "max-age" => shortest(&mut self.max_age_s, value),
            "s-maxage" => shortest(&mut self.s_maxage_s, value),
            "min-fresh" => shortest(&mut self.min_fresh_s, value),
            "stale-while-revalidate" => shortest(&mut self.stale_while_revalidate_s, value),
            "stale-if-error" => shortest(&mut self.stale_if_error_s, value),
            _ => {}
        }
    }
}

fn shortest(of: &mut Option<u64>, value: Option<&str>) {
    let seconds = value.map_or(0, seconds);
    *of = Some(of.map_or(seconds, |before| before.min(seconds)));
}

/// `delta-seconds`; too large a number is a long time, anything else none.
fn seconds(text: &str) -> u64 {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    text.parse().unwrap_or(LONGEST_S).min(LONGEST_S)
}

/// Name, in lower case, and value of each directive of a line; a comma in quotes divides nothing.
fn directives(line: &str) -> impl Iterator<Item = (String, Option<&str>)> {
    let mut quoted = false;
    let parts = line.split(move |character: char| {
        if character == '"' {
            quoted = !quoted;
        }
        character == ',' && !quoted
    });
    parts.map(|part| match part.split_once('=') {
        Some((name, value)) => (name.trim().to_ascii_lowercase(), Some(value.trim().trim_matches('"'))),
        None => (part.trim().to_ascii_lowercase(), None),
    })
}

/// What counts of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) control: CacheControl,
    pub(crate) cookie: bool,
    pub(crate) authorization: bool,
}

impl Asked {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            control: CacheControl::of(headers),
            cookie: headers.contains_key(header::COOKIE),
            authorization: headers.contains_key(header::AUTHORIZATION),
        }
    }
}

/// On what terms an answer is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Terms {
    /// When it came, in milliseconds since 1970.
    came_ms: i64,
    /// How old it was then, in seconds.
    age_s: u64,
    /// How old it may become, in seconds.
    lifetime_s: u64,
    no_cache: bool,
    must_revalidate: bool,
    stale_while_revalidate_s: u64,
    stale_if_error_s: u64,
    /// Also for requests with a cookie.
    with_cookie: bool,
    /// Also for requests with credentials (RFC 9111, 3.5).
    with_authorization: bool,
}

/// What a kept answer is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fitness {
    /// It answers.
    Fresh,
    /// It answers, and a newer one is to be fetched.
    StaleWhileRevalidate,
    /// It is to be asked whether it still holds.
    Revalidate,
    /// It is not for this request.
    NotForThis,
}

/// When a request went to an instance and its answer came, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    pub(crate) asked_ms: i64,
    pub(crate) came_ms: i64,
}

/// The terms on which an answer to `GET` may be kept; none if it may not.
pub(crate) fn terms(asked: &Asked, status: StatusCode, headers: &HeaderMap, timing: Timing) -> Option<Terms> {
    let control = CacheControl::of(headers);
    let kept_out = control.no_store || control.private || asked.control.no_store;
    if kept_out || !keeps(status) || headers.contains_key(header::SET_COOKIE) || varies_by_everything(headers) {
        return None;
    }
    let terms = terms_of(&control, headers, timing)?;
    let for_them = (!asked.cookie || terms.with_cookie) && (!asked.authorization || terms.with_authorization);
    for_them.then_some(terms)
}

/// Statuses whose answers are whole and final.
fn keeps(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 307 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

fn terms_of(control: &CacheControl, headers: &HeaderMap, timing: Timing) -> Option<Terms> {
    let date_s = date(headers, header::DATE);
    let lifetime_s = match control.s_maxage_s.or(control.max_age_s) {
        Some(lifetime) => lifetime,
        None if headers.contains_key(header::EXPIRES) => {
            let from = date_s.unwrap_or(timing.came_ms / 1000);
            let expires = date(headers, header::EXPIRES).unwrap_or(0);
            u64::try_from(expires.saturating_sub(from)).unwrap_or(0).min(LONGEST_S)
        }
        // Said to be for all, and nothing of how long: good for asking whether it still holds.
        None if control.public && control.no_cache => 0,
        None => return None,
    };
    let shared = control.public || control.s_maxage_s.is_some();
    if control.no_cache || lifetime_s == 0 {
        // Only worth keeping where it can be asked whether it still holds; and whether it holds for
        // somebody else, only an answer that is meant for all leaves open to us.
        let validator = headers.contains_key(header::ETAG) || headers.contains_key(header::LAST_MODIFIED);
        let stale = control.stale_while_revalidate_s.is_some() || control.stale_if_error_s.is_some();
        if !shared || !(validator || stale) {
            return None;
        }
    }
    Some(Terms {
        came_ms: timing.came_ms,
        age_s: initial_age_s(headers, date_s, timing),
        lifetime_s,
        no_cache: control.no_cache,
        must_revalidate: control.must_revalidate,
        stale_while_revalidate_s: control.stale_while_revalidate_s.unwrap_or(0),
        stale_if_error_s: control.stale_if_error_s.unwrap_or(0),
        with_cookie: shared,
        with_authorization: shared || control.must_revalidate,
    })
}

/// `corrected_initial_age` of RFC 9111, 4.2.3.
fn initial_age_s(headers: &HeaderMap, date_s: Option<i64>, timing: Timing) -> u64 {
    let apparent_ms = date_s.map_or(0, |date| timing.came_ms - date * 1000);
    let said = headers.get(header::AGE).and_then(|age| age.to_str().ok());
    let said_s = said.map_or(0, |age| seconds(age.split(',').next().unwrap_or_default().trim()));
    let delay_s = whole_seconds(timing.came_ms - timing.asked_ms);
    whole_seconds(apparent_ms).max(said_s.saturating_add(if said_s > 0 { delay_s } else { 0 }))
}

fn whole_seconds(ms: i64) -> u64 {
    u64::try_from(ms / 1000).unwrap_or(0)
}

/// A date of a header, in seconds since 1970.
pub(crate) fn date(headers: &HeaderMap, name: HeaderName) -> Option<i64> {
    let text = headers.get(name)?.to_str().ok()?;
    let time = httpdate::parse_http_date(text).ok()?;
    let since = time.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Whether the answer is another one for each request.
pub(crate) fn varies_by_everything(headers: &HeaderMap) -> bool {
    let mut lines = headers.get_all(header::VARY).iter();
    lines.any(|line| {
        line.to_str()
            .map_or(true, |line| line.split(',').any(|name| name.trim() == "*"))
    })
}

impl Terms {
    /// Of an answer that is given once, and not kept.
    pub(crate) fn of_one_answer(headers: &HeaderMap, timing: Timing) -> Self {
        Self {
            came_ms: timing.came_ms,
            age_s: initial_age_s(headers, date(headers, header::DATE), timing),
            lifetime_s: 0,
            no_cache: true,
            must_revalidate: true,
            stale_while_revalidate_s: 0,
            stale_if_error_s: 0,
            with_cookie: false,
            with_authorization: false,
        }
    }

    /// How old it is, in seconds.
    pub(crate) fn age_s(&self, now_ms: i64) -> u64 {
        self.age_s.saturating_add(whole_seconds(now_ms - self.came_ms))
    }

    /// What it is good for now.
    pub(crate) fn fitness(&self, asked: &Asked, now_ms: i64) -> Fitness {
        if (asked.cookie && !self.with_cookie) || (asked.authorization && !self.with_authorization) {
            return Fitness::NotForThis;
        }
        let age_s = self.age_s(now_ms);
        let control = &asked.control;
        let wants_newer = control.no_cache || control.max_age_s.is_some_and(|most| age_s > most);
        if self.no_cache || wants_newer {
            return Fitness::Revalidate;
        }
        let left_s = self.lifetime_s.saturating_sub(age_s);
        if age_s < self.lifetime_s && control.min_fresh_s.is_none_or(|least| left_s >= least) {
            return Fitness::Fresh;
        }
        let stale_s = age_s.saturating_sub(self.lifetime_s);
        let may_be_stale = !self.must_revalidate && control.min_fresh_s.is_none();
        if may_be_stale && stale_s < self.stale_while_revalidate_s {
            return Fitness::StaleWhileRevalidate;
        }
        Fitness::Revalidate
    }

    /// Whether it may answer where no instance can.
    pub(crate) fn holds_on_error(&self, now_ms: i64) -> bool {
        let stale_s = self.age_s(now_ms).saturating_sub(self.lifetime_s);
        !self.must_revalidate && !self.no_cache && stale_s < self.stale_if_error_s
    }
}

/// What a request must have in common with another one to get the same answer: each header that
/// `Vary` names, with what the request said.
pub(crate) type Selecting = Vec<(HeaderName, Option<Vec<u8>>)>;

/// The part of a request by which an answer was chosen. None: `Vary` names what cannot be a header,
/// or more than anybody needs.
pub(crate) fn selecting(answer: &HeaderMap, request: &HeaderMap) -> Option<Selecting> {
    const MOST_NAMES: usize = 16;
    let mut names = Vec::new();
    for line in answer.get_all(header::VARY) {
        for name in line
            .to_str()
            .ok()?
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty())
        {
            names.push(HeaderName::try_from(name).ok()?);
        }
    }
    // An app that forgets to say so would send compressed bytes to those who cannot read them.
    if answer.contains_key(header::CONTENT_ENCODING) {
        names.push(header::ACCEPT_ENCODING);
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    if names.len() > MOST_NAMES {
        return None;
    }
    Some(names.into_iter().map(|name| said(request, name)).collect())
}

/// Whether another request says the same.
pub(crate) fn selects(selecting: &Selecting, request: &HeaderMap) -> bool {
    selecting
        .iter()
        .all(|(name, value)| said(request, name.clone()).1 == *value)
}

/// What a request says in a header, without differences that mean nothing.
fn said(request: &HeaderMap, name: HeaderName) -> (HeaderName, Option<Vec<u8>>) {
    let lines: Vec<&[u8]> = request.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    if lines.is_empty() {
        return (name, None);
    }
    let text = lines.join(&b","[..]);
    let parts: Vec<&[u8]> = text.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let mut text = parts.join(&b","[..]);
    if name == header::ACCEPT_ENCODING {
        text.make_ascii_lowercase();
        let mut codings: Vec<&[u8]> = text.split(|byte| *byte == b',').collect();
        codings.sort_unstable();
        text = codings.join(&b","[..]);
    }
    (name, Some(text))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
