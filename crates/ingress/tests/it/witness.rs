//! An instance that reads what it gets as strictly as can be, and writes down whatever two readers
//! could read differently.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::App;

/// A request as it came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) target: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    pub(crate) trailers: Vec<(String, String)>,
    /// False if it broke off.
    pub(crate) whole: bool,
}

impl Got {
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// What it saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) requests: Vec<Got>,
    /// What could be read in two ways.
    pub(crate) faults: Vec<String>,
}

/// Starts it; to every request it answers with the target.
pub(crate) async fn witness() -> (App, Arc<Mutex<Seen>>) {
    let seen = Arc::new(Mutex::new(Seen::default()));
    let noted = Arc::clone(&seen);
    let app = App::start_raw(move |stream| {
        let reader = Reader {
            stream,
            read: Vec::new(),
        };
        serve(reader, Arc::clone(&noted))
    })
    .await;
    (app, seen)
}

async fn serve(mut reader: Reader, seen: Arc<Mutex<Seen>>) {
    loop {
        let mut got = Got::default();
        let end = reader.request(&mut got).await;
        let goes_on = end.is_ok();
        let target = got.target.clone();
        seen.lock().unwrap().note(got, end, &reader.read);
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{target}", target.len());
        if !goes_on || reader.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

impl Seen {
    fn note(&mut self, mut got: Got, end: Result<(), End>, unread: &[u8]) {
        let begun = !got.method.is_empty();
        got.whole = end.is_ok();
        match end {
            Err(End::Fault(fault)) => self.faults.push(format!("{fault} in {got:?}")),
            Err(End::BrokeOff) if !begun && !unread.is_empty() => {
                self.faults
                    .push(format!("half a head: {:?}", String::from_utf8_lossy(unread)));
            }
            _ => {}
        }
        if begun {
            self.requests.push(got);
        }
    }
}

/// Why there is no whole request.
enum End {
    /// The connection ended before.
    BrokeOff,
    Fault(String),
}

fn fault<T>(what: &str, where_: &str) -> Result<T, End> {
    Err(End::Fault(format!("{what}: {where_:?}")))
}

/// A token, RFC 9110, 5.6.2: what a method and a field's name may be.
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

struct Reader {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Reader {
    async fn more(&mut self) -> Result<(), End> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(1..) => Ok(()),
            _ => Err(End::BrokeOff),
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<String, End> {
        while self.read.len() < length {
            self.more().await?;
        }
        let taken: Vec<u8> = self.read.drain(..length).collect();
        Ok(String::from_utf8_lossy(&taken).into_owned())
    }

    /// A line that ends with CR LF and holds neither of them, nor anything else that is not text.
    async fn line(&mut self) -> Result<String, End> {
        let end = loop {
            if let Some(end) = self.read.windows(2).position(|pair| pair == b"\r\n") {
                break end;
            }
            self.more().await?;
        };
        let line: Vec<u8> = self.read.drain(..end + 2).take(end).collect();
        let text = String::from_utf8_lossy(&line).into_owned();
        if line
            .iter()
            .any(|byte| (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f)
        {
            return fault("a line with control characters", &text);
        }
        Ok(text)
    }

    async fn fields(&mut self) -> Result<Vec<(String, String)>, End> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let Some((name, value)) = line.split_once(':') else {
                return fault("a field without a colon", &line);
            };
            if !is_token(name) {
                return fault("a name that is none", &line);
            }
            fields.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
    }

    async fn request(&mut self, got: &mut Got) -> Result<(), End> {
        let line = self.line().await?;
        let parts: Vec<&str> = line.split(' ').collect();
        let [method, target, "HTTP/1.1"] = parts[..] else {
            return fault("a first line that is none", &line);
        };
        (got.method, got.target) = (method.to_owned(), target.to_owned());
        if !is_token(method) || !target.starts_with('/') {
            return fault("a first line that is none", &line);
        }
        got.headers = self.fields().await?;
        check_head(got)?;
        if let [length] = got.values("content-length")[..] {
            let Ok(length) = length.parse() else {
                return fault("a length that is none", length);
            };
            got.body = self.exactly(length).await?;
        } else if !got.values("transfer-encoding").is_empty() {
            self.chunks(got).await?;
        }
        Ok(())
    }

    async fn chunks(&mut self, got: &mut Got) -> Result<(), End> {
        loop {
            let line = self.line().await?;
            let Some(length) = usize::from_str_radix(&line, 16).ok().filter(|_| !line.starts_with('+')) else {
                return fault("a chunk whose size is none", &line);
            };
            if length == 0 {
                got.trailers = self.fields().await?;
                return Ok(());
            }
            got.body += &self.exactly(length).await?;
            if !self.line().await?.is_empty() {
                return fault("a chunk that is longer than it says", &got.body);
            }
        }
    }
}

/// The head leaves no doubt about where the body ends, and says nothing that is not an instance's
/// business.
fn check_head(got: &Got) -> Result<(), End> {
    let [_] = got.values("host")[..] else {
        return fault("not one host", &format!("{:?}", got.values("host")));
    };
    let (length, coding) = (got.values("content-length"), got.values("transfer-encoding"));
    if length.len() + coding.len() > 1 || coding.iter().any(|coding| *coding != "chunked") {
        return fault(
            "two ways to find the end of the body",
            &format!("{length:?} {coding:?}"),
        );
    }
    if !length
        .iter()
        .all(|length| length.bytes().all(|byte| byte.is_ascii_digit()))
    {
        return fault("a length that is none", length[0]);
    }
    if got.values("connection").iter().any(|value| *value != "upgrade") {
        return fault("about another connection", "connection");
    }
    for name in [
        "keep-alive",
        "proxy-connection",
        "http2-settings",
        "expect",
        "x-weir",
        "proxy",
    ] {
        if !got.values(name).is_empty() {
            return fault("about another connection", name);
        }
    }
    // As servers of CGI, WSGI and the like read names.
    let same = |name: &str, other: &str| name.replace('_', "-") == other;
    for name in ["x-forwarded-for", "x-real-ip", "x-forwarded-proto", "x-forwarded-host"] {
        let like = got.headers.iter().filter(|(key, _)| same(key, name)).count();
        if like != 1 || got.values(name).iter().any(|value| value.contains("6.6.6.6")) {
            return fault("forged", name);
        }
    }
    Ok(())
}

#[tokio::test]
async fn the_witness_finds_what_could_be_read_in_two_ways() {
    let ours = "host: a\r\nx-forwarded-for: 1\r\nx-real-ip: 1\r\nx-forwarded-proto: http\r\nx-forwarded-host: a\r\n";
    let sound = format!("GET / HTTP/1.1\r\n{ours}");
    let chunked = format!("{sound}transfer-encoding: chunked\r\n");
    for (bytes, is_fault) in [
        (format!("{sound}\r\n"), false),
        (format!("{sound}content-length: 1\r\n\r\na"), false),
        (format!("{chunked}\r\n1\r\na\r\n0\r\n\r\n"), false),
        (format!("{chunked}content-length: 1\r\n\r\n"), true),
        (format!("{chunked}transfer-encoding: chunked\r\n\r\n"), true),
        (format!("{sound}content-length: 1\r\ncontent-length: 1\r\n\r\na"), true),
        (format!("{sound}content-length: +1\r\n\r\na"), true),
        (format!("{sound}x: a\nb: c\r\n\r\n"), true),
        (format!("{sound}x: a\r\n b\r\n\r\n"), true),
        (format!("{sound}x : a\r\n\r\n"), true),
        (format!("{sound}host: b\r\n\r\n"), true),
        (format!("{sound}x_real_ip: b\r\n\r\n"), true),
        (format!("GET /a b HTTP/1.1\r\n{ours}\r\n"), true),
        (format!("{chunked}\r\n1;x\r\na\r\n0\r\n\r\n"), true),
        (format!("{chunked}\r\n1\r\nab\r\n0\r\n\r\n"), true),
    ] {
        let (app, seen) = witness().await;
        let answer = crate::support::raw(app.backend.address, bytes.as_bytes()).await;
        let seen = seen.lock().unwrap();
        assert_eq!(!seen.faults.is_empty(), is_fault, "{bytes:?}: {seen:?}");
        assert_eq!(answer.is_empty(), is_fault, "{bytes:?}: {answer:?}");
    }
}
