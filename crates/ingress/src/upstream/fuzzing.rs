//! What an instance sends, read in pieces, and beside hyper's client: for `fuzz/`, and for the tests that
//! repeat what it found.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};

use super::chunks::{Chunks, Part};
use super::head::{self, EndOfHead, Framing};

/// What was made of an answer, as far as it has come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    interim: Vec<StatusCode>,
    whole: Whole,
    ended: bool,
    refused: bool,
}

/// The final answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Whole {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

/// Reads heads until one is final, then its body, in pieces of this many bytes.
fn read(bytes: &[u8], piece: usize, to_head: bool) -> Told {
    let (mut told, mut read, mut pieces) = (Told::default(), BytesMut::new(), bytes.chunks(piece.max(1)));
    let mut end = EndOfHead::default();
    let framing = loop {
        // As in an exchange: what has not come is not looked at.
        match if read.is_empty() {
            Ok(None)
        } else {
            head::read(&mut read, &mut end, to_head)
        } {
            Ok(Some(head)) if head.status.is_informational() && head.status != StatusCode::SWITCHING_PROTOCOLS => {
                told.interim.push(head.status);
                end = EndOfHead::default();
            }
            Ok(Some(head)) => {
                (told.whole.status, told.whole.headers) = (head.status, head.headers);
                break head.framing;
            }
            Ok(None) => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None => return told,
            },
            Err(_) => {
                told.refused = true;
                return told;
            }
        }
    };
    match framing {
        Framing::Length(length) => {
            pieces.for_each(|piece| read.extend_from_slice(piece));
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            told.ended = read.len() >= length;
            told.whole.body = read[..length.min(read.len())].to_vec();
        }
        Framing::UntilClose => {
            pieces.for_each(|piece| read.extend_from_slice(piece));
            told.ended = true;
            told.whole.body = read.to_vec();
        }
        Framing::Chunked => chunks(&mut told, read, pieces),
    }
    told
}

fn chunks<'a>(told: &mut Told, mut read: BytesMut, mut pieces: impl Iterator<Item = &'a [u8]>) {
    let mut chunks = Chunks::default();
    loop {
        match chunks.next(&mut read) {
            Ok(Part::Data(data)) => told.whole.body.extend_from_slice(&data),
            Ok(Part::Trailers(trailers)) => told.whole.trailers = trailers,
            Ok(Part::End) => {
                assert!(chunks.has_ended(), "an end that is none");
                told.ended = true;
                return;
            }
            Ok(Part::Missing) => match pieces.next() {
                Some(piece) => read.extend_from_slice(piece),
                None => return,
            },
            Err(_) => {
                told.refused = true;
                return;
            }
        }
    }
}

/// An instance that answers once it is asked, in pieces, and closes.
struct Instance {
    asked: bool,
    left: Bytes,
    piece: usize,
}

impl hyper::rt::Read for Instance {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        mut buffer: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.asked {
            return Poll::Pending;
        }
        let length = self.left.len().min(self.piece).min(buffer.remaining());
        buffer.put_slice(&self.left.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Instance {
    fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.asked = true;
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What hyper's client makes of it; none: nothing that is whole.
async fn by_hyper(instance: Instance, method: Method) -> Option<Whole> {
    let mut client = hyper::client::conn::http1::Builder::new();
    let (mut sender, connection) = client.max_headers(head::MOST_FIELDS).handshake(instance).await.ok()?;
    let asking = async move {
        let mut request = Request::new(Empty::<Bytes>::new());
        *request.method_mut() = method;
        let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
        let body = body.collect().await.ok()?;
        let mut whole = Whole {
            status: parts.status,
            headers: parts.headers,
            trailers: body.trailers().cloned().unwrap_or_default(),
            body: Vec::new(),
        };
        whole.body = body.to_bytes().to_vec();
        Some(whole)
    };
    // The connection may fail behind the answer.
    let (_, whole) = futures_util::future::join(connection, asking).await;
    whole
}

/// Runs what waits for nothing but itself, `most` steps at most.
fn run<T>(future: impl Future<Output = T>, most: usize) -> Option<T> {
    let mut future = std::pin::pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    (0..most).find_map(|_| match future.as_mut().poll(&mut cx) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    })
}

/// What an instance sends is read alike, however it comes, and as hyper reads it or not at all. The first
/// byte says in what pieces it comes (its lower bits), and whether HEAD was asked (its highest).
///
/// # Panics
/// When it is not.
pub(crate) fn answer(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    let (piece, to_head) = (usize::from(kind % 32) + 1, kind & 0x80 != 0);
    let (whole, drips) = (read(bytes, bytes.len(), to_head), read(bytes, piece, to_head));
    assert_eq!(whole.refused, drips.refused, "refused depending on how it comes");
    if whole.refused {
        return;
    }
    assert_eq!(whole, drips, "read depending on how it comes");
    if !whole.ended || whole.whole.status == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let instance = Instance {
        asked: false,
        left: Bytes::copy_from_slice(bytes),
        piece,
    };
    let method = if to_head { Method::HEAD } else { Method::GET };
    let steps = 100 + bytes.len() * 4;
    let mut hypers = run(by_hyper(instance, method), steps).flatten();
    if let Some(hypers) = &mut hypers {
        // Trailers that may change what the message is are left out here.
        let all = std::mem::take(&mut hypers.trailers);
        for name in all.keys().filter(|name| head::may_trail(name)) {
            for value in all.get_all(name) {
                hypers.trailers.append(name, value.clone());
            }
        }
    }
    assert_eq!(hypers.as_ref(), Some(&whole.whole), "hyper reads it otherwise, or not");
}
