//! The console: pages for browsers, which came into the binary when it was built (`build.rs`).
//!
//! It is a page and what belongs to it, the same for everybody; what is secret comes from the API. An
//! address of the console is given the page itself, whose program then shows what the address says; what
//! programs ask for by mistake is answered as before, so that nobody takes a page for an answer of the API.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

/// A file as it was built.
#[derive(Debug, Clone, Copy)]
struct File {
    /// With a slash at its beginning.
    path: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

const BUILT: &[File] = include!(concat!(env!("OUT_DIR"), "/console.rs"));

/// The console of this binary.
static CONSOLE: LazyLock<Console> = LazyLock::new(|| Console::new(BUILT));

const PAGE: &str = "/index.html";
/// What is below is told apart by hashes in the names.
const ASSETS: &str = "/assets";
/// What is below is no address of the console.
const OTHERS: [&str; 5] = [ASSETS, "/v1", "/git", "/metrics", "/.well-known"];
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_ANEW: &str = "no-cache";

/// On all that the console is made of; the same words stand in `console/API.md`.
const HEADERS: [(&str, &str); 5] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "camera=(), microphone=(), geolocation=()"),
];

const MISSING: &str = "<!doctype html>
<html lang=\"en\">
<meta charset=\"utf-8\">
<title>Weir</title>
<h1>The console is not in this Weir</h1>
<p>This program was built without it. Everything else works: <code>weir --help</code> lists the commands, and <a href=\"/v1/openapi.json\">/v1/openapi.json</a> describes the API.</p>
<p>To get the console, run <code>./up</code> in Weir's source, where Node.js 20.19 or newer is installed. It does this:</p>
<pre>cd console
npm ci
npm run build
cd ..
cargo build --release --package weir
weir upgrade</pre>
</html>
";

/// Whether the console is in this binary.
#[must_use]
pub fn is_built() -> bool {
    CONSOLE.page().is_some()
}

/// The console's answer to a request for which there is no route; `None` if that is none of its business.
pub(crate) fn answer(method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
    CONSOLE.answer(method, path, headers)
}

/// The ways in which a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Brotli,
    Gzip,
    Plain,
}

#[derive(Debug)]
struct Console {
    /// Each with the first half of its SHA-256, in hex.
    files: HashMap<&'static str, (File, String)>,
}

impl Console {
    fn new(files: &[File]) -> Self {
        let files = files.iter().map(|file| {
            let digest: [u8; 32] = Sha256::digest(file.plain).into();
            (file.path, (*file, crate::secrets::hex(&digest[..16])))
        });
        Self { files: files.collect() }
    }

    fn page(&self) -> Option<&(File, String)> {
        self.files.get(PAGE)
    }

    fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        let found = self.files.get(path).filter(|_| path != PAGE);
        if let Some((file, digest)) = found {
            return Some(sent(file, digest, method, headers));
        }
        if !is_address(path, headers) {
            return None;
        }
        match self.page() {
            Some((file, digest)) => Some(sent(file, digest, method, headers)),
            None => (path == "/").then(|| missing(method)),
        }
    }
}

/// Whether a path is one that the console's program reads, asked for by somebody who can show a page.
fn is_address(path: &str, headers: &HeaderMap) -> bool {
    let is_within = |root: &str| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // Names of projects and all else in its addresses have no dot; files that are not there have.
    let is_file = path.contains('.');
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    let shows_pages = accepted.any(|value| value.to_str().is_ok_and(|text| text.contains("text/html")));
    path == "/" || (shows_pages && !is_file && !OTHERS.into_iter().any(is_within))
}

/// The smallest form that the client reads.
fn form_of(file: &File, headers: &HeaderMap) -> (Form, &'static [u8]) {
    if let Some(bytes) = file.brotli.filter(|_| accepts(headers, "br")) {
        return (Form::Brotli, bytes);
    }
    if let Some(bytes) = file.gzip.filter(|_| accepts(headers, "gzip")) {
        return (Form::Gzip, bytes);
    }
    (Form::Plain, file.plain)
}

/// Whether `Accept-Encoding` names a coding, and not to refuse it.
fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    let mut codings = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    codings.any(|one| {
        let mut parts = one.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(coding));
        let refused = |part: &str| {
            let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
            weight.is_some_and(|weight| weight.trim().parse().is_ok_and(|weight: f32| weight <= 0.0))
        };
        named && !parts.any(refused)
    })
}

fn sent(file: &File, digest: &str, method: &Method, headers: &HeaderMap) -> Response {
    let (form, bytes) = form_of(file, headers);
    let (mark, coding) = match form {
        Form::Brotli => ("-br", Some("br")),
        Form::Gzip => ("-gz", Some("gzip")),
        Form::Plain => ("", None),
    };
    let tag = format!("\"{digest}{mark}\"");
    let mut response = match is_known(headers, digest) {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => content(method, bytes),
    };
    let modified = response.status() == StatusCode::OK;
    let lasting = file.path.starts_with("/assets/");
    let put = response.headers_mut();
    set(put, header::ETAG, &tag);
    set(put, header::CACHE_CONTROL, if lasting { FOR_EVER } else { ASK_ANEW });
    set(
        put,
        header::VARY,
        if lasting {
            "accept-encoding"
        } else {
            "accept, accept-encoding"
        },
    );
    for (name, value) in HEADERS {
        set(put, HeaderName::from_static(name), value);
    }
    if modified {
        set(put, header::CONTENT_TYPE, media_type(file.path));
        if let Some(coding) = coding {
            set(put, header::CONTENT_ENCODING, coding);
        }
    }
    response
}

/// An answer with these bytes; for HEAD with their number alone.
fn content(method: &Method, bytes: &'static [u8]) -> Response {
    let body = match *method {
        Method::HEAD => Body::empty(),
        _ => Body::from(Bytes::from_static(bytes)),
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, bytes.len().into());
    response
}

/// Whether the client has the file, in whatever form.
fn is_known(headers: &HeaderMap, digest: &str) -> bool {
    let values = headers.get_all(header::IF_NONE_MATCH).iter();
    let mut tags = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    tags.any(|tag| {
        let tag = tag.trim();
        let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
        let digest_of_tag = tag
            .strip_suffix("-br")
            .or_else(|| tag.strip_suffix("-gz"))
            .unwrap_or(tag);
        tag == "*" || digest_of_tag == digest
    })
}

fn missing(method: &Method) -> Response {
    let mut response = content(method, MISSING.as_bytes());
    *response.status_mut() = StatusCode::NOT_FOUND;
    let put = response.headers_mut();
    set(put, header::CONTENT_TYPE, media_type(PAGE));
    set(put, header::CACHE_CONTROL, ASK_ANEW);
    for (name, value) in HEADERS {
        set(put, HeaderName::from_static(name), value);
    }
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "svg" => "image/svg+xml",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    const FILES: &[File] = &[
        File {
            path: "/index.html",
            plain: b"<!doctype html>page",
            brotli: Some(b"page by brotli"),
            gzip: Some(b"page by gzip"),
        },
        File {
            path: "/assets/index-AbCd1234.js",
            plain: b"program",
            brotli: Some(b"program by brotli"),
            gzip: Some(b"program by gzip"),
        },
        File {
            path: "/icon.svg",
            plain: b"<svg/>",
            brotli: None,
            gzip: None,
        },
    ];
    const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

    fn ask(method: &Method, path: &str, headers: &[(&'static str, &str)]) -> Option<Response> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Console::new(FILES).answer(method, path, &map)
    }

    fn get(path: &str, headers: &[(&'static str, &str)]) -> Response {
        ask(&Method::GET, path, headers).unwrap_or_else(|| panic!("no answer at {path}"))
    }

    fn header<'a>(response: &'a Response, name: &str) -> &'a str {
        response.headers().get(name).map_or("", |value| value.to_str().unwrap())
    }

    async fn body(response: Response) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn addresses_of_the_console_give_its_page_to_browsers() {
        for path in [
            "/",
            "/sign-in",
            "/projects/shop/production/logs",
            "/settings/tokens",
            "/version",
        ] {
            let response = get(path, &[BROWSER]);
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(header(&response, "content-type"), "text/html; charset=utf-8");
            assert_eq!(header(&response, "cache-control"), "no-cache");
            assert_eq!(header(&response, "vary"), "accept, accept-encoding");
            assert_eq!(body(response).await, "<!doctype html>page", "{path}");
        }
        // Whatever says nothing of pages still finds the front door.
        assert_eq!(get("/", &[]).status(), StatusCode::OK);
    }

    #[test]
    fn what_is_no_address_of_the_console_is_not_answered() {
        for path in [
            "/v1",
            "/v1/nothing",
            "/git/shop.git/info/refs",
            "/git",
            "/metrics",
            "/metrics/x",
            "/assets",
            "/assets/",
            "/assets/index-past0000.js",
            "/assets/../index.html",
            "/index.html",
            "/robots.txt",
            "/favicon.ico",
            "/.well-known/security",
            "/.vite/manifest.json",
            "/projects/../../etc/passwd",
            "//evil.example.org/x",
        ] {
            assert!(ask(&Method::GET, path, &[BROWSER]).is_none(), "{path}");
        }
        for headers in [&[][..], &[("accept", "application/json")], &[("accept", "*/*")]] {
            assert!(ask(&Method::GET, "/projects/shop", headers).is_none(), "{headers:?}");
        }
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::OPTIONS,
            Method::PATCH,
        ] {
            assert!(ask(&method, "/", &[BROWSER]).is_none(), "{method}");
        }
    }

    #[tokio::test]
    async fn assets_last_for_ever_and_come_in_the_form_that_is_read() {
        const ASSET: &str = "/assets/index-AbCd1234.js";
        for (accepted, coding, text) in [
            ("gzip, deflate, br, zstd", "br", "program by brotli"),
            ("gzip, br;q=0", "gzip", "program by gzip"),
            ("GZIP;q=0.5", "gzip", "program by gzip"),
            ("br;q=0.000, gzip; q=0", "", "program"),
            ("brotli", "", "program"),
            ("", "", "program"),
        ] {
            let response = get(ASSET, &[("accept-encoding", accepted)]);
            assert_eq!(header(&response, "content-encoding"), coding, "{accepted}");
            assert_eq!(
                header(&response, "cache-control"),
                "public, max-age=31536000, immutable"
            );
            assert_eq!(header(&response, "vary"), "accept-encoding");
            assert_eq!(header(&response, "content-type"), "text/javascript; charset=utf-8");
            assert_eq!(header(&response, "content-length"), text.len().to_string());
            assert_eq!(body(response).await, text, "{accepted}");
        }
        let icon = get("/icon.svg", &[("accept-encoding", "br, gzip")]);
        assert_eq!(header(&icon, "cache-control"), "no-cache");
        assert_eq!(header(&icon, "content-encoding"), "");
        assert_eq!(header(&icon, "content-type"), "image/svg+xml");
    }

    #[tokio::test]
    async fn head_tells_the_same_without_the_bytes() {
        let response = ask(&Method::HEAD, "/", &[("accept-encoding", "gzip")]).unwrap();
        assert_eq!(header(&response, "content-length"), "12");
        assert_eq!(header(&response, "content-encoding"), "gzip");
        assert_eq!(
            header(&response, "etag"),
            header(&get("/", &[("accept-encoding", "gzip")]), "etag")
        );
        assert_eq!(body(response).await, "");
    }

    #[tokio::test]
    async fn who_has_the_page_is_not_sent_it_again() {
        let tags: Vec<String> = ["br", "gzip", ""]
            .map(|coding| header(&get("/", &[("accept-encoding", coding)]), "etag").to_owned())
            .into();
        assert!(
            tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2],
            "{tags:?}"
        );
        for tag in [&tags[0], &tags[2], &format!("\"other\", W/{}", tags[1]), "*"] {
            let response = get("/sign-in", &[BROWSER, ("if-none-match", tag)]);
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{tag}");
            assert_eq!(header(&response, "cache-control"), "no-cache");
            assert!(!header(&response, "content-security-policy").is_empty());
            assert_eq!(body(response).await, "");
        }
        let other = get("/", &[("if-none-match", "\"0123456789abcdef0123456789abcdef\"")]);
        assert_eq!(other.status(), StatusCode::OK);
    }

    #[test]
    fn every_answer_bears_the_headers_of_the_contract() {
        let contract = include_str!("../../../console/API.md");
        let block = contract
            .split("```\n")
            .find(|block| block.starts_with("Content-Security-Policy:"))
            .expect("console/API.md names the headers");
        let promised: Vec<(&str, &str)> = block.lines().filter_map(|line| line.split_once(": ")).collect();
        assert_eq!(promised.len(), HEADERS.len());
        let missing = Console::new(&[]).answer(&Method::GET, "/", &HeaderMap::new()).unwrap();
        for response in [
            get("/", &[]),
            get("/icon.svg", &[]),
            get("/assets/index-AbCd1234.js", &[]),
            missing,
        ] {
            for (name, value) in &promised {
                assert_eq!(header(&response, &name.to_lowercase()), *value);
            }
        }
    }

    #[tokio::test]
    async fn a_binary_without_the_console_says_how_to_get_it() {
        let console = Console::new(&[]);
        let response = console.answer(&Method::GET, "/", &HeaderMap::new()).unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(body(response).await.contains("npm run build"));
        let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static("text/html"))]);
        assert!(console.answer(&Method::GET, "/sign-in", &headers).is_none());
    }

    /// Whatever was built into this binary fits together: what the page names is there.
    #[test]
    fn the_page_of_this_binary_names_only_files_that_are_in_it() {
        let console = Console::new(BUILT);
        let Some((page, _)) = console.page() else {
            assert!(BUILT.is_empty(), "there are files, but no page");
            return;
        };
        let text = std::str::from_utf8(page.plain).unwrap();
        let named: Vec<&str> = text
            .split(['"', '\''])
            .filter(|part| part.starts_with("/assets/"))
            .collect();
        assert!(!named.is_empty());
        for path in named {
            let (file, _) = &console.files[path];
            assert!(
                file.brotli.is_some() && file.gzip.is_some(),
                "{path} is not compressed: `npm run build` does it"
            );
        }
        assert!(
            BUILT
                .iter()
                .all(|file| media_type(file.path) != "application/octet-stream")
        );
    }
}
