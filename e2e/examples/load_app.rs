//! The app behind `cargo xtask bench zero-loss`: what the probe app shows of a platform under load,
//! fast enough for thousands of requests a second.
//!
//! `/` and `/slow?ms=N` say the version, `/download?mib=N` is paced and each of its bytes says where
//! it stands, `/echo` gives back the body that it got, `/ws` is a websocket that says the version
//! and then sends back what it gets. Its version is `VERSION`, or what the file `/version` holds;
//! it listens on `PORT`. Told to end it ends at once, whatever is going on: who sends it requests
//! has to know when they are over.
#![expect(clippy::unwrap_used, reason = "it fails where it cannot serve")]
#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

/// What is sent at once of a download, and how long it rests before the next.
const PIECE: u64 = 64 << 10;
const REST: Duration = Duration::from_millis(20);
/// Of a slow answer.
const DOTS: u32 = 10;

type Body = BoxBody<Bytes, Infallible>;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let version = std::env::var("VERSION").or_else(|_| std::fs::read_to_string("/version"));
    let version: u32 = version.unwrap().trim().parse().unwrap();
    let port = std::env::var("PORT").map_or(8000, |port| port.parse().unwrap());
    let mut end = signal(SignalKind::terminate()).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await.unwrap();
    println!("version {version} listens on {port}");
    loop {
        tokio::select! {
            _ = end.recv() => return,
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    tokio::spawn(serve(stream, version));
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, version: u32) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| async move { Ok::<_, Infallible>(answer(request, version).await) });
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // Clients end connections as they like.
    let _ = connection.with_upgrades().await;
}

async fn answer(request: Request<Incoming>, version: u32) -> Response<Body> {
    match request.uri().path() {
        "/" => whole(200, format!("probe {version}\n").into()),
        "/slow" => slow(version, number(&request, "ms")),
        "/download" => download(u64::from(number(&request, "mib")) << 20),
        "/echo" => match request.into_body().collect().await {
            Ok(body) => whole(200, body.to_bytes()),
            Err(_) => whole(400, Bytes::from_static(b"the body is cut\n")),
        },
        "/ws" => websocket(request, version),
        _ => whole(404, Bytes::from_static(b"no such page\n")),
    }
}

fn whole(status: u16, text: Bytes) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Full::new(text).boxed())
        .unwrap()
}

/// The number in `?name=…`; 1 if there is none.
fn number(request: &Request<Incoming>, name: &str) -> u32 {
    let pairs = request.uri().query().unwrap_or_default().split('&');
    let values = pairs.filter_map(|pair| pair.split_once('='));
    let value = values
        .filter(|(key, _)| *key == name)
        .find_map(|(_, value)| value.parse().ok());
    value.unwrap_or(1)
}

/// The version, and then dots over so many milliseconds.
fn slow(version: u32, ms: u32) -> Response<Body> {
    let text = format!("probe {version}\n");
    let length = text.len() + DOTS as usize;
    let pause = Duration::from_millis(u64::from(ms)) / DOTS;
    let dots = stream::iter(0..DOTS).then(move |_| async move {
        sleep(pause).await;
        Bytes::from_static(b".")
    });
    let pieces = stream::iter([Bytes::from(text)]).chain(dots);
    streamed(length as u64, pieces)
}

fn download(length: u64) -> Response<Body> {
    let pieces = stream::unfold(0, move |sent| async move {
        if sent >= length {
            return None;
        }
        if sent > 0 {
            sleep(REST).await;
        }
        let end = (sent + PIECE).min(length);
        let piece: Vec<u8> = (sent..end).map(|at| u8::try_from(at % 251).unwrap()).collect();
        Some((Bytes::from(piece), end))
    });
    streamed(length, pieces)
}

fn streamed(length: u64, pieces: impl stream::Stream<Item = Bytes> + Send + Sync + 'static) -> Response<Body> {
    let frames = pieces.map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    Response::builder()
        .header("content-length", length)
        .body(BodyExt::boxed(StreamBody::new(frames)))
        .unwrap()
}

fn websocket(mut request: Request<Incoming>, version: u32) -> Response<Body> {
    let Some(key) = request.headers().get("sec-websocket-key") else {
        return whole(400, Bytes::from_static(b"this is for websockets\n"));
    };
    let accept = derive_accept_key(key.as_bytes());
    tokio::spawn(async move {
        if let Ok(upgraded) = hyper::upgrade::on(&mut request).await {
            let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
            echo(socket, version).await;
        }
    });
    Response::builder()
        .status(101)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", accept)
        .body(Full::default().boxed())
        .unwrap()
}

async fn echo<S>(mut socket: WebSocketStream<S>, version: u32)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    if socket.send(Message::text(format!("probe {version}"))).await.is_err() {
        return;
    }
    // A close is answered by the library.
    while let Some(Ok(message)) = socket.next().await {
        if message.is_text() && socket.send(message).await.is_err() {
            return;
        }
    }
}
