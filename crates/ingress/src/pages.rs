//! Weir's own answers: what is the matter, and what to do about it.
//!
//! A page never shows anything that an app wrote, and carries its reason in `x-weir`, so that
//! a machine can tell it from the app's own.

mod protection;
mod refusals;

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use weir_model::protection::Maintenance;

use crate::body::AnswerBody;
use crate::headers::{HostError, X_WEIR};

/// What the client can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    /// `application/problem+json`, for everything that does not ask for HTML.
    ProblemJson,
}

impl Format {
    /// Browsers name HTML; whoever does not is a program.
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let html = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.contains("text/html") || value.contains("application/xhtml+xml"));
        if html { Self::Html } else { Self::ProblemJson }
    }
}

/// A page of Weir's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Page {
    status: StatusCode,
    /// For `x-weir`; stable.
    reason: &'static str,
    title: &'static str,
    detail: String,
    /// For the owner: the next command.
    hint: Option<String>,
    retry_after_seconds: Option<u32>,
    /// Where the client is sent.
    location: Option<Box<HeaderValue>>,
    /// How the client says who it is, or what the browser is to keep.
    field: Option<Box<(HeaderName, HeaderValue)>>,
    /// Closed like this: there may be a page of the owner's, instead of ours.
    closed: Option<Arc<Maintenance>>,
}

impl Page {
    fn new(status: StatusCode, reason: &'static str, title: &'static str, detail: String) -> Self {
        Self {
            status,
            reason,
            title,
            detail,
            hint: None,
            retry_after_seconds: None,
            location: None,
            field: None,
            closed: None,
        }
    }

    fn hint(self, hint: String) -> Self {
        Self {
            hint: Some(hint),
            ..self
        }
    }

    fn retry_after(self, seconds: u32) -> Self {
        Self {
            retry_after_seconds: Some(seconds),
            ..self
        }
    }

    /// The request has no host that could be trusted.
    pub(crate) fn bad_host(error: HostError) -> Self {
        let detail = format!("{error}. It was not passed on.");
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "This request is not valid",
            capitalised(&detail),
        )
    }

    /// The connection was made for a host with another certificate (RFC 9110, 15.5.20).
    pub(crate) fn misdirected(host: &str) -> Self {
        let detail = format!(
            "This connection was made for another host, and {host} has a certificate of its own. \
             Ask again over a connection that was made for {host}."
        );
        Self::new(
            StatusCode::MISDIRECTED_REQUEST,
            "misdirected",
            "This request came over the wrong connection",
            detail,
        )
    }

    /// The host sends everybody there, or everybody who comes without TLS. With the method kept,
    /// and not to be remembered, so that a redirect that is taken back is gone.
    pub(crate) fn elsewhere(location: &str) -> Self {
        let Ok(value) = HeaderValue::from_str(location) else {
            return Self::bad_host(HostError::Malformed);
        };
        let detail = format!("It is now at {location}.");
        let page = Self::new(
            StatusCode::PERMANENT_REDIRECT,
            "redirect",
            "This address has moved",
            detail,
        );
        Self {
            location: Some(Box::new(value)),
            ..page
        }
    }

    /// The body is coded in a way that is not passed on.
    pub(crate) fn bad_coding() -> Self {
        let detail = "The only Transfer-Encoding that is passed on to apps is chunked.".to_owned();
        Self::new(
            StatusCode::NOT_IMPLEMENTED,
            "bad-coding",
            "This request is not valid",
            detail,
        )
    }

    /// The client's body broke off or was malformed.
    pub(crate) fn bad_body() -> Self {
        let detail = "The body of the request broke off or was malformed.".to_owned();
        Self::new(
            StatusCode::BAD_REQUEST,
            "bad-request",
            "This request is not valid",
            detail,
        )
    }

    /// `CONNECT` and `TRACE`.
    pub(crate) fn method_refused(method: &Method) -> Self {
        let detail = format!("The method {method} is not passed on to apps.");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method-refused",
            "This method is not allowed",
            detail,
        )
    }

    /// Nobody has this host.
    pub(crate) fn unknown_host(host: &str) -> Self {
        let detail = format!("Nothing is served under the name {host} here.");
        Self::new(
            StatusCode::NOT_FOUND,
            "unknown-host",
            "There is no app at this address",
            detail,
        )
        .hint(if host.ends_with(".localhost") {
            // Names like these are given by Weir itself and cannot be added.
            "weir project list   shows the projects and their addresses".to_owned()
        } else {
            format!("weir project list   shows the projects\nweir domain add {host}   gives one of them this name")
        })
    }

    /// The host is known, but no route has the path.
    pub(crate) fn no_route(title: &str) -> Self {
        let detail = format!("{title} has nothing that answers under this path.");
        Self::new(
            StatusCode::NOT_FOUND,
            "no-route",
            "Nothing answers under this path",
            detail,
        )
    }

    /// The owner paused it.
    pub(crate) fn paused(title: &str) -> Self {
        let detail = format!("{title} was paused by its owner. Nothing of it is lost.");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "paused", "This app is paused", detail)
            .hint(format!("weir resume {}", scope_arguments(title)))
    }

    /// Nothing was deployed, or nothing with a process that answers.
    pub(crate) fn undeployed(title: &str) -> Self {
        let detail =
            format!("{title} exists, but nothing was deployed to it yet, or nothing that has a process `web`.");
        Self::new(
            StatusCode::NOT_FOUND,
            "undeployed",
            "Nothing is deployed here yet",
            detail,
        )
        .hint(format!("git push weir main\nweir status {}", scope_arguments(title)))
    }

    /// Every instance crashed.
    pub(crate) fn crashed(title: &str, message: &str) -> Self {
        let detail = if message.is_empty() {
            format!("{title} does not run: all its instances crashed.")
        } else {
            message.to_owned()
        };
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "crashed",
            "This app has crashed",
            detail,
        )
        .hint(format!("weir logs {}", scope_arguments(title)))
        .retry_after(10)
    }

    /// The node has no routes yet.
    pub(crate) fn starting() -> Self {
        let detail = "Weir has just started on this machine and has no routes yet.".to_owned();
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "starting", "Weir is starting", detail).retry_after(2)
    }

    /// A held route was held longer than it may.
    pub(crate) fn hold_timeout(title: &str) -> Self {
        let detail = format!("{title} is being switched to another release, and that takes longer than it should.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "hold-timeout",
            "This app is not ready yet",
            detail,
        )
        .hint(format!("weir status {}", scope_arguments(title)))
        .retry_after(5)
    }

    /// It slept, and did not wake within its time.
    pub(crate) fn wake_timeout(title: &str) -> Self {
        let detail =
            format!("{title} was stopped because nobody asked for it, and takes longer to start than it should.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "wake-timeout",
            "This app is not awake yet",
            detail,
        )
        .hint(format!("weir status {}", scope_arguments(title)))
        .retry_after(5)
    }

    /// Too many requests wait at a held route.
    pub(crate) fn hold_full(title: &str) -> Self {
        let detail = format!("{title} is being switched to another release, and too many requests wait for it.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "hold-full",
            "This app is not ready yet",
            detail,
        )
        .retry_after(5)
    }

    /// Too many requests wait for a free instance.
    pub(crate) fn queue_full(title: &str) -> Self {
        let detail = format!("All instances of {title} are busy, and too many requests wait for them.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "queue-full",
            "This app is too busy",
            detail,
        )
        .hint(format!("weir scale web=2 {}", scope_arguments(title)))
        .retry_after(1)
    }

    /// No instance became free in time.
    pub(crate) fn queue_timeout(title: &str) -> Self {
        let detail = format!("All instances of {title} were busy for too long.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "queue-timeout",
            "This app is too busy",
            detail,
        )
        .hint(format!("weir scale web=2 {}", scope_arguments(title)))
        .retry_after(5)
    }

    /// There is no instance.
    pub(crate) fn no_instance(title: &str) -> Self {
        let detail = format!("No instance of {title} is running at the moment.");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no-instance",
            "This app is not running",
            detail,
        )
        .hint(format!("weir status {}", scope_arguments(title)))
        .retry_after(5)
    }

    /// No instance accepts connections.
    pub(crate) fn unreachable(title: &str) -> Self {
        let detail = format!("{title} runs, but does not accept connections.");
        Self::new(
            StatusCode::BAD_GATEWAY,
            "unreachable",
            "This app cannot be reached",
            detail,
        )
        .hint(format!("weir logs {}", scope_arguments(title)))
        .retry_after(5)
    }

    /// The connection broke before an answer came, and the request may not be repeated.
    pub(crate) fn broken(title: &str) -> Self {
        let detail = format!("{title} closed the connection before it answered. The request may have had an effect.");
        Self::new(
            StatusCode::BAD_GATEWAY,
            "upstream-closed",
            "This app did not answer",
            detail,
        )
        .hint(format!("weir logs {}", scope_arguments(title)))
    }

    /// What came back is not an answer in HTTP.
    pub(crate) fn bad_answer(title: &str) -> Self {
        let detail = format!("What {title} sent back is not a valid answer in HTTP/1.1.");
        Self::new(
            StatusCode::BAD_GATEWAY,
            "bad-answer",
            "This app answered with nonsense",
            detail,
        )
        .hint(format!("weir logs {}", scope_arguments(title)))
    }

    /// The first byte of the answer did not come in time.
    pub(crate) fn first_byte_timeout(title: &str, seconds: u64) -> Self {
        let detail = format!("{title} did not begin to answer within {seconds} s.");
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "first-byte-timeout",
            "This app took too long to answer",
            detail,
        )
        .hint(format!("weir logs {}", scope_arguments(title)))
    }

    /// The client stopped sending its body.
    pub(crate) fn body_timeout() -> Self {
        let detail = "The rest of the request's body did not come in time.".to_owned();
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "body-timeout",
            "This request took too long",
            detail,
        )
    }

    /// The client wants what is kept of an answer or nothing, and nothing is kept (RFC 9111, 5.2.1.7).
    pub(crate) fn not_kept(title: &str) -> Self {
        let detail = format!("The request may only be answered from the cache, which has no answer of {title} to it.");
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            "not-cached",
            "This answer is not kept here",
            detail,
        )
    }

    /// The answer that goes to the client.
    pub(crate) fn answer(&self, format: Format) -> Response<AnswerBody> {
        let (content_type, body) = match format {
            Format::Html => ("text/html; charset=utf-8", self.html()),
            Format::ProblemJson => ("application/problem+json", self.problem_json()),
        };
        let mut answer = Response::new(AnswerBody::Page(Bytes::from(body)));
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(X_WEIR, HeaderValue::from_static(self.reason));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(
            header::CONTENT_SECURITY_POLICY,
            HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
        );
        if let Some(seconds) = self.retry_after_seconds {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(location) = &self.location {
            headers.insert(header::LOCATION, HeaderValue::clone(location));
        }
        if let Some((name, value)) = self.field.as_deref() {
            headers.insert(name, value.clone());
        }
        answer
    }

    fn problem_json(&self) -> String {
        let mut problem = serde_json::json!({
            "type": format!("urn:weir:ingress:{}", self.reason),
            "title": self.title,
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let (Some(hint), Some(fields)) = (&self.hint, problem.as_object_mut()) {
            fields.insert("hint".to_owned(), hint.as_str().into());
        }
        let mut text = format!("{problem:#}");
        text.push('\n');
        text
    }

    fn html(&self) -> String {
        if let Some(own) = self.closed.as_ref().and_then(|closed| closed.page.as_ref()) {
            return own.clone();
        }
        let mut page = String::with_capacity(2_048);
        page.push_str(HTML_HEAD);
        let status = self.status.as_u16();
        let (title, detail) = (escaped(self.title), escaped(&self.detail));
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<title>{title}</title>\n{HTML_STYLE}<main>\n<p class=s>{status}</p>\n<h1>{title}</h1>\n<p>{detail}</p>\n"
        );
        if let Some(hint) = &self.hint {
            let _ = write!(
                page,
                "<p class=o>Is it yours? Next:</p>\n<pre>{}</pre>\n",
                escaped(hint)
            );
        }
        page.push_str("<footer>Weir</footer>\n</main>\n");
        page
    }
}

const HTML_HEAD: &str = "<!doctype html>\n<html lang=en>\n<meta charset=utf-8>\n\
    <meta name=viewport content=\"width=device-width,initial-scale=1\">\n\
    <meta name=color-scheme content=\"light dark\">\n<meta name=robots content=noindex>\n";

const HTML_STYLE: &str = "<style>\n\
    :root{--ink:#1b2330;--quiet:#5c6675;--ground:#f5f7f9;--card:#fff;--line:#dde3ea;--mark:#0b6e8a}\n\
    @media(prefers-color-scheme:dark){:root{--ink:#e7ebf0;--quiet:#98a3b3;--ground:#12161c;--card:#1a2029;--line:#2c3541;--mark:#5cc3df}}\n\
    *{box-sizing:border-box}\n\
    body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,sans-serif}\n\
    main{max-width:34rem;width:100%;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:2rem}\n\
    h1{font-size:1.45rem;line-height:1.25;margin:.1rem 0 .75rem}p{margin:0 0 .75rem;overflow-wrap:anywhere}\n\
    .s{color:var(--mark);font-weight:600;letter-spacing:.04em;margin:0}.o{color:var(--quiet);margin:1.25rem 0 .4rem;font-size:.9rem}\n\
    pre{margin:0;padding:.75rem 1rem;background:var(--ground);border:1px solid var(--line);border-radius:9px;overflow:auto;font:14px/1.5 ui-monospace,monospace}\n\
    footer{margin-top:1.5rem;color:var(--quiet);font-size:.8rem}\n</style>\n";

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    characters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// `-p shop -e staging` out of `shop (staging)`.
fn scope_arguments(title: &str) -> String {
    match title.split_once(" (") {
        Some((project, environment)) => format!("-p {project} -e {}", environment.trim_end_matches(')')),
        None => format!("-p {title}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_project_and_environment() {
        assert_eq!(Page::paused("shop").hint.as_deref(), Some("weir resume -p shop"));
        assert_eq!(
            Page::paused("shop (staging)").hint.as_deref(),
            Some("weir resume -p shop -e staging")
        );
    }

    #[test]
    fn pages_escape_what_comes_from_outside() {
        let page = Page::crashed("shop", "<script>alert(1)</script>");
        let html = page.html();
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script>"));
        let problem: serde_json::Value = serde_json::from_str(&page.problem_json()).unwrap();
        assert_eq!(problem["status"], 503);
        assert_eq!(problem["detail"], "<script>alert(1)</script>");
    }

    #[test]
    fn browsers_get_html_and_programs_json() {
        let mut headers = HeaderMap::new();
        assert_eq!(Format::wanted(&headers), Format::ProblemJson);
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_static("text/html,application/xhtml+xml,*/*;q=0.8"),
        );
        assert_eq!(Format::wanted(&headers), Format::Html);
        let answer = Page::paused("shop").answer(Format::Html);
        assert_eq!(answer.headers()["x-weir"], "paused");
        assert_eq!(answer.status(), 503);
    }
}
