//! Compression on the way to a client (RFC 9110, 8.4 and 12.5.3): who gets what, and the coders.
//!
//! What is compressed and could tell a secret: where a page holds a secret beside something that an
//! attacker chose, its compressed length tells whether the two are alike (the BREACH attack). The
//! attacker has to make the victim's browser ask, with its cookies, from a page of his own. So what
//! answers a request with a cookie is compressed only if the browser says that the request comes from
//! the same origin (`Sec-Fetch-Site`, which no page can forge), or the answer is meant for everybody.

use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use brotli::CompressorWriter;
use brotli::enc::BrotliEncoderParams;
use bytes::Bytes;
use flate2::write::GzEncoder;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::cache::{Tally, Weight};

/// Smaller bodies fit into the packet of their head.
const LEAST_BYTES: u64 = 1_024;
/// So much is compressed before others of the same worker have their turn.
const TURN_BYTES: usize = 32 * 1024;

/// A content coding that browsers take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

/// How much time compression may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// On the way to a client.
    Quick,
    /// Once, for all who ask for it afterwards.
    Thorough,
}

impl Coding {
    pub(crate) const COUNT: usize = 3;
    /// Best first, where a client takes several equally well. On the way zstd costs the least for
    /// what it gives; what is made once is smallest in brotli.
    const QUICK: [Self; Self::COUNT] = [Self::Zstd, Self::Brotli, Self::Gzip];
    const THOROUGH: [Self; Self::COUNT] = [Self::Brotli, Self::Zstd, Self::Gzip];

    pub(crate) fn name(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        })
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Zstd => 0,
            Self::Brotli => 1,
            Self::Gzip => 2,
        }
    }

    /// The one that a client likes best, if it takes any.
    pub(crate) fn wanted(headers: &HeaderMap, effort: Effort) -> Option<Self> {
        let order = match effort {
            Effort::Quick => Self::QUICK,
            Effort::Thorough => Self::THOROUGH,
        };
        let offered = Offered::of(headers);
        let mut best: Option<(Self, u16)> = None;
        for coding in order {
            let weight = offered.weight(coding);
            if weight > 0 && weight >= offered.identity && best.is_none_or(|(_, before)| weight > before) {
                best = Some((coding, weight));
            }
        }
        best.map(|(coding, _)| coding)
    }
}

/// What `Accept-Encoding` says, in thousandths.
#[derive(Debug, Default)]
struct Offered {
    codings: [Option<u16>; Coding::COUNT],
    others: Option<u16>,
    /// 0 unless it is named: everything is better than nothing, where a client says what it takes.
    identity: u16,
}

impl Offered {
    fn of(headers: &HeaderMap) -> Self {
        let mut offered = Self::default();
        let lines = headers.get_all(header::ACCEPT_ENCODING).iter();
        for part in lines
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(','))
        {
            let (name, parameters) = part.split_once(';').unwrap_or((part, ""));
            let weight = weight(parameters);
            match name.trim().to_ascii_lowercase().as_str() {
                "zstd" => offered.codings[Coding::Zstd.index()] = Some(weight),
                "br" => offered.codings[Coding::Brotli.index()] = Some(weight),
                "gzip" | "x-gzip" => offered.codings[Coding::Gzip.index()] = Some(weight),
                "*" => offered.others = Some(weight),
                "identity" => offered.identity = weight,
                _ => {}
            }
        }
        offered
    }

    fn weight(&self, coding: Coding) -> u16 {
        // `*` is said by programs that look at nothing; gzip is what all of them read.
        let others = self.others.filter(|_| coding == Coding::Gzip);
        self.codings[coding.index()].or(others).unwrap_or(0)
    }
}

/// `q=0.8` as 800; 1000 where nothing is said, 0 where it cannot be read.
fn weight(parameters: &str) -> u16 {
    let named = parameters.split(';').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then_some(value.trim())
    });
    let Some(text) = named else { return 1_000 };
    match text.split_once('.').unwrap_or((text, "")) {
        ("1", _) => 1_000,
        ("0", digits) if digits.len() <= 3 => format!("{digits:0<3}").parse().unwrap_or(0),
        _ => 0,
    }
}

/// Whether an answer to a request may be compressed at all. Its length is not looked at.
pub(crate) fn may_compress(request: &HeaderMap, status: StatusCode, answer: &HeaderMap) -> bool {
    is_compressible(status, answer) && tells_no_secret(request, answer)
}

/// Whether an answer is of a kind that gets smaller, and may be changed.
pub(crate) fn is_compressible(status: StatusCode, answer: &HeaderMap) -> bool {
    let whole = !matches!(
        status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::PARTIAL_CONTENT | StatusCode::RESET_CONTENT
    );
    let control = answer.get_all(header::CACHE_CONTROL).iter();
    let mut directives = control
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','));
    whole
        && !status.is_informational()
        && !answer.contains_key(header::CONTENT_ENCODING)
        && !answer.contains_key(header::CONTENT_RANGE)
        && !directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-transform"))
        && answer.get(header::CONTENT_TYPE).is_some_and(is_text)
}

/// Whether a type is text of some sort. Event streams are not touched: each event has to come at once.
fn is_text(content_type: &HeaderValue) -> bool {
    let Ok(text) = content_type.to_str() else { return false };
    let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind == "text/event-stream" {
        return false;
    }
    let known = matches!(
        kind.as_str(),
        "application/javascript"
            | "application/json"
            | "application/manifest+json"
            | "application/wasm"
            | "application/xml"
            | "application/x-javascript"
            | "application/x-ndjson"
            | "application/graphql"
            | "application/rtf"
            | "application/sql"
            | "application/toml"
            | "application/yaml"
            | "application/vnd.ms-fontobject"
            | "font/ttf"
            | "font/otf"
            | "image/svg+xml"
            | "image/bmp"
            | "image/x-icon"
            | "image/vnd.microsoft.icon"
    );
    known || kind.starts_with("text/") || kind.ends_with("+json") || kind.ends_with("+xml") || kind.ends_with("+text")
}

fn tells_no_secret(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let basic = |value: &HeaderValue| {
        value
            .as_bytes()
            .get(..6)
            .is_some_and(|kind| kind.eq_ignore_ascii_case(b"basic "))
    };
    // What a browser adds by itself; a token that a program sends cannot be sent by somebody's page.
    let by_itself = request.contains_key(header::COOKIE) || request.get(header::AUTHORIZATION).is_some_and(basic);
    let from = request.get("sec-fetch-site").map(HeaderValue::as_bytes);
    let own = matches!(from, Some(b"same-origin" | b"none"));
    let control = crate::cache::policy::CacheControl::of(answer);
    let for_all = (control.public || control.s_maxage_s.is_some()) && !control.private;
    !by_itself || own || for_all
}

/// Says in the head that the body is compressed, or would be for another client.
pub(crate) fn mark(headers: &mut HeaderMap, coding: Option<Coding>) {
    let mut named = headers
        .get_all(header::VARY)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let is_named = named.any(|line| {
        line.split(',')
            .any(|name| name.trim() == "*" || name.trim().eq_ignore_ascii_case("accept-encoding"))
    });
    if !is_named {
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    let Some(coding) = coding else { return };
    headers.insert(header::CONTENT_ENCODING, coding.name());
    headers.remove(header::CONTENT_LENGTH);
    headers.remove(header::ACCEPT_RANGES);
    headers.remove("content-md5");
    headers.remove("digest");
    headers.remove("content-digest");
    // The bytes are others now; a strong tag stands for the bytes.
    let weak = headers
        .get(header::ETAG)
        .filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    if let Some(weak) = weak.and_then(|tag| HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()).ok()) {
        headers.insert(header::ETAG, weak);
    }
}

/// A body compressed at once; None if that does not make it smaller.
pub(crate) fn compress(coding: Coding, body: &[u8]) -> Option<Vec<u8>> {
    if length(body) < LEAST_BYTES {
        return None;
    }
    let mut coder = Coder::new(coding, Effort::Thorough).ok()?;
    coder.write(body).ok()?;
    let compressed = coder.finish().ok()?;
    (compressed.len() < body.len()).then_some(compressed)
}

fn length(body: &[u8]) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

/// Chooses how an answer goes to its client, and says so in its head. None: as it is.
pub(crate) fn choose(
    coders: &Arc<Tally>,
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    answer: &mut HeaderMap,
    size: &SizeHint,
) -> Option<OnTheWay> {
    if size.exact().is_some_and(|bytes| bytes < LEAST_BYTES) || !may_compress(request, status, answer) {
        return None;
    }
    let wanted = Coding::wanted(request, Effort::Quick).filter(|_| *method != Method::HEAD);
    let chosen = wanted.and_then(|coding| {
        let place = coders.borrow(1)?;
        let coder = Coder::new(coding, Effort::Quick).ok()?;
        Some((coding, OnTheWay::new(coder, place)))
    });
    mark(answer, chosen.as_ref().map(|(coding, _)| *coding));
    chosen.map(|(_, on_the_way)| on_the_way)
}

enum Coder {
    Zstd(ZstdEncoder<'static, Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(GzEncoder<Vec<u8>>),
}

impl Coder {
    fn new(coding: Coding, effort: Effort) -> std::io::Result<Self> {
        let quick = effort == Effort::Quick;
        Ok(match coding {
            Coding::Zstd => Self::Zstd(ZstdEncoder::new(Vec::new(), if quick { 1 } else { 12 })?),
            Coding::Brotli => {
                let parameters = BrotliEncoderParams {
                    quality: if quick { 2 } else { 6 },
                    lgwin: if quick { 18 } else { 22 },
                    ..BrotliEncoderParams::default()
                };
                Self::Brotli(Box::new(CompressorWriter::with_params(Vec::new(), 4096, &parameters)))
            }
            Coding::Gzip => {
                let level = flate2::Compression::new(if quick { 1 } else { 7 });
                Self::Gzip(GzEncoder::new(Vec::new(), level))
            }
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Zstd(coder) => coder,
            Self::Brotli(coder) => &mut **coder,
            Self::Gzip(coder) => coder,
        }
    }

    fn write(&mut self, data: &[u8]) -> std::io::Result<()> {
        self.writer().write_all(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer().flush()
    }

    /// What is ready to be sent.
    fn take(&mut self) -> Vec<u8> {
        std::mem::take(match self {
            Self::Zstd(coder) => coder.get_mut(),
            Self::Brotli(coder) => coder.get_mut(),
            Self::Gzip(coder) => coder.get_mut(),
        })
    }

    fn finish(self) -> std::io::Result<Vec<u8>> {
        match self {
            Self::Zstd(coder) => coder.finish(),
            Self::Brotli(coder) => Ok(coder.into_inner()),
            Self::Gzip(coder) => coder.finish(),
        }
    }
}

/// Compresses an answer as it comes. What has come is sent at the latest when nothing more is there.
pub(crate) struct OnTheWay {
    coder: Option<Coder>,
    /// Has come, and is not compressed.
    rest: Bytes,
    /// In the coder, and not sent.
    held_back: bool,
    /// Compressed since others had their turn.
    turn_bytes: usize,
    trailers: Option<Frame<Bytes>>,
    ended: bool,
    _place: Weight,
}

impl std::fmt::Debug for OnTheWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnTheWay")
            .field("rest", &self.rest.len())
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl OnTheWay {
    fn new(coder: Coder, place: Weight) -> Self {
        Self {
            coder: Some(coder),
            rest: Bytes::new(),
            held_back: false,
            turn_bytes: 0,
            trailers: None,
            ended: false,
            _place: place,
        }
    }

    /// Whether nothing more will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended && self.trailers.is_none()
    }

    /// The next compressed part of `body`. Errors of the body are passed on.
    pub(crate) fn poll_frame<B>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
    where
        B: Body<Data = Bytes>,
    {
        loop {
            if self.ended {
                return Poll::Ready(self.trailers.take().map(Ok));
            }
            if self.turn_bytes >= TURN_BYTES {
                self.turn_bytes = 0;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            if !self.rest.is_empty() {
                let part = self.rest.split_to(self.rest.len().min(TURN_BYTES));
                self.turn_bytes += part.len();
                if let Some(frame) = self.press(&part) {
                    return Poll::Ready(Some(Ok(frame)));
                }
                continue;
            }
            let next = match body.as_mut().poll_frame(cx) {
                Poll::Pending if self.held_back => {
                    if let Some(frame) = self.flush() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    return Poll::Pending;
                }
                next => ready!(next),
            };
            match next.transpose() {
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                Ok(Some(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => {
                        self.trailers = Some(trailers);
                        if let Some(frame) = self.finish() {
                            return Poll::Ready(Some(Ok(frame)));
                        }
                    }
                },
                Ok(None) => {
                    if let Some(frame) = self.finish() {
                        return Poll::Ready(Some(Ok(frame)));
                    }
                }
            }
        }
    }

    fn press(&mut self, data: &[u8]) -> Option<Frame<Bytes>> {
        let coder = self.coder.as_mut()?;
        // Into memory, which does not fail.
        let _ = coder.write(data);
        self.held_back = true;
        framed(coder.take())
    }

    fn flush(&mut self) -> Option<Frame<Bytes>> {
        let coder = self.coder.as_mut()?;
        let _ = coder.flush();
        self.held_back = false;
        framed(coder.take())
    }

    fn finish(&mut self) -> Option<Frame<Bytes>> {
        self.ended = true;
        framed(self.coder.take()?.finish().unwrap_or_default())
    }
}

fn framed(data: Vec<u8>) -> Option<Frame<Bytes>> {
    (!data.is_empty()).then(|| Frame::data(data.into()))
}

#[cfg(test)]
#[path = "compress_tests.rs"]
mod tests;
