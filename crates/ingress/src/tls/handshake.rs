//! The handshake with a client, on the core of the worker that serves it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
use tokio_rustls::rustls::{ProtocolVersion, ServerConfig};
use tokio_rustls::server::TlsStream;
use weir_model::tcp::TcpTls;

use super::certificates::ACME_PROTOCOL;
use super::{HTTP2, Session, Tls};
use crate::counters::count;
use crate::node::{Shared, Worker};
use crate::tcp::hello::{Hello, Keep};

/// A record that holds the fatal alert `unrecognized_name` (RFC 6066, section 3).
const UNRECOGNIZED_NAME: [u8; 7] = [21, 3, 3, 0, 2, 2, 112];

/// Handshakes that go on at one worker. Where there are too many, the oldest one makes room: it is
/// that of a client that does not answer, because others take a moment. So those who only begin
/// handshakes keep nobody out.
#[derive(Debug)]
pub(crate) struct Handshakes {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    begun: u64,
    /// By when they began.
    places: BTreeMap<u64, oneshot::Sender<()>>,
}

/// Until it is dropped, the handshake counts.
struct Place<'a> {
    handshakes: &'a Handshakes,
    number: u64,
}

impl Handshakes {
    /// At most so many at once.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            open: Mutex::default(),
        }
    }

    /// A place, and what ends when it has to be given up.
    fn begin(&self) -> (Place<'_>, oneshot::Receiver<()>) {
        let (keep, given_up) = oneshot::channel();
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while open.places.len() >= self.most.max(1) {
            open.places.pop_first();
        }
        open.begun += 1;
        let number = open.begun;
        open.places.insert(number, keep);
        let place = Place {
            handshakes: self,
            number,
        };
        (place, given_up)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut open = self.handshakes.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.places.remove(&self.number);
    }
}

/// What a client of the https port wants.
#[derive(Debug)]
pub(crate) enum Opened<S> {
    /// HTTP inside TLS.
    Http(TlsStream<Hello<S>>, Session),
    /// The TCP service of the host that it named, inside TLS.
    Service(TlsStream<Hello<S>>, Session),
    /// The TCP service of that host, which makes its own TLS: nothing was taken out of the stream.
    Passed(Hello<S>, Box<str>),
}

/// Makes the handshake; none if the client is refused, gives up, or takes too long.
pub(crate) async fn handshake<S>(worker: &Worker, stream: S) -> Option<Opened<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (_place, given_up) = worker.handshakes.begin();
    let most = worker.shared.limits.handshake_timeout;
    let made = tokio::select! {
        biased;
        () = worker.idle_over() => return None,
        made = timeout(most, make(&worker.shared, stream)) => made.unwrap_or_else(|late| Err(late.into())),
        _ = given_up => Err(io::Error::other("newer ones need its place")),
    };
    match made {
        Ok(Some(made)) => {
            count(&worker.counters.handshakes);
            Some(made)
        }
        Ok(None) => None,
        Err(error) => {
            count(&worker.counters.handshakes_failed);
            tracing::debug!(%error, "a handshake did not come about");
            None
        }
    }
}

/// None if all is said with the handshake.
async fn make<S>(shared: &Shared, stream: S) -> io::Result<Option<Opened<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let tls = &shared.tls;
    let keep = match shared.table.load().tcp.passes_on() {
        true => Keep::Yes,
        false => Keep::No,
    };
    let mut begun = pin!(LazyConfigAcceptor::new(Acceptor::default(), Hello::new(stream, keep)));
    let mut begun = begun.as_mut().await?;
    let hello = begun.client_hello();
    let server_name = named_host(&hello).map(|name| Box::from(&*name));
    let asked = hello
        .alpn()
        .is_some_and(|mut offered| offered.any(|protocol| protocol == ACME_PROTOCOL));
    let certificates = tls.certificates.load_full();
    let answer = server_name.as_deref().filter(|_| asked);
    if let Some(config) = answer.and_then(|host| certificates.handshake_answer(host)) {
        // The authority has seen what it wanted; nothing else is said.
        begun.into_stream(config).await?.shutdown().await?;
        return Ok(None);
    }
    let service = server_name
        .as_deref()
        .and_then(|name| shared.table.load().tcp.of_host(name)?.tls);
    if let (Some(TcpTls::Passthrough), Some(name)) = (service, &server_name)
        && begun.io.rewind()
    {
        return Ok(Some(Opened::Passed(begun.io, name.clone())));
    }
    begun.io.forget();
    if certificates.of(server_name.as_deref()).is_none() || service == Some(TcpTls::Passthrough) {
        let mut stream = begun.io;
        stream.write_all(&UNRECOGNIZED_NAME).await?;
        stream.shutdown().await?;
        return Ok(None);
    }
    drop(certificates);
    let config = match service {
        Some(_) => for_service(tls, &begun.client_hello()),
        None => Arc::clone(&tls.config),
    };
    let stream = begun.into_stream(config).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
    let version = match stream.get_ref().1.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let session = Session {
        server_name,
        is_http2,
        version,
    };
    Ok(Some(match service {
        Some(_) => Opened::Service(stream, session),
        None => Opened::Http(stream, session),
    }))
}

/// What is spoken inside is for the app to know: the first protocol that the client names is agreed
/// on, because clients like PostgreSQL's insist on one.
fn for_service(tls: &Tls, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(&tls.config);
    config.alpn_protocols = hello.alpn().into_iter().flatten().map(<[u8]>::to_vec).collect();
    Arc::new(config)
}

/// The host that a client names, as tables have it: lower case, without a dot at the end.
pub(super) fn named_host<'a>(hello: &'a ClientHello<'_>) -> Option<Cow<'a, str>> {
    let name = hello.server_name()?;
    let name = name.strip_suffix('.').unwrap_or(name);
    Some(if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_handshake_makes_room() {
        let handshakes = Handshakes::new(2);
        let (first, mut first_ends) = handshakes.begin();
        let (second, mut second_ends) = handshakes.begin();
        drop(first);
        let (_third, mut third_ends) = handshakes.begin();
        assert!(
            first_ends
                .try_recv()
                .is_err_and(|ended| ended == oneshot::error::TryRecvError::Closed)
        );
        let goes_on = |ends: &mut oneshot::Receiver<()>| ends.try_recv() == Err(oneshot::error::TryRecvError::Empty);
        assert!(goes_on(&mut second_ends) && goes_on(&mut third_ends));
        let (_fourth, mut fourth_ends) = handshakes.begin();
        assert!(!goes_on(&mut second_ends) && goes_on(&mut third_ends) && goes_on(&mut fourth_ends));
        drop(second);
        assert_eq!(handshakes.open.lock().unwrap().places.len(), 2);
    }
}
