//! A request on its way to an instance: the head and the first part of the body in one write, the
//! rest as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::Request;
use http::header::{self, HeaderMap, HeaderName};
use http_body::{Body, Frame};

use super::head;
use crate::body::{RequestBody, Upload};
use crate::headers;

/// How the instance sees the end of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked,
}

/// Why a request does not go on.
#[derive(Debug)]
pub(super) enum Stuck {
    /// The instance takes no more.
    Instance(io::Error),
    /// The client's body broke off, or is not what its head says.
    Body,
}

/// A request that is being written.
#[derive(Debug)]
pub(super) struct Sending {
    request: Request<RequestBody>,
    framing: Framing,
    /// What is to be written next, one after the other.
    front: Vec<u8>,
    front_written: usize,
    data: Bytes,
    back: &'static [u8],
    /// The body has ended; what waits is the last of it.
    body_ended: bool,
    /// Whether the instance has got any of it.
    begun: bool,
}

impl Sending {
    pub(super) fn new(request: Request<RequestBody>) -> Self {
        let body_ended = request.body().is_empty();
        let mut front = Vec::with_capacity(1024);
        head::write(&request, !body_ended, &mut front);
        let length = request.headers().get(header::CONTENT_LENGTH);
        // Heads with another length, or several, do not come this far.
        let length = length.and_then(|length| head::length_of(length.as_bytes()));
        let framing = match length {
            _ if body_ended => Framing::Length(0),
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        };
        Self {
            request,
            framing,
            front,
            front_written: 0,
            data: Bytes::new(),
            back: b"",
            body_ended,
            begun: false,
        }
    }

    /// How far the body has come; none where there is none.
    pub(super) fn upload(&self) -> Option<Arc<Upload>> {
        self.request.body().upload()
    }

    /// Whether all has been written.
    pub(super) fn is_done(&self) -> bool {
        self.body_ended && !self.has_more_to_write()
    }

    /// Whether the instance has got any of it.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The request as it was, if the instance has got nothing of it; else its head alone.
    pub(super) fn into_request(self) -> Request<RequestBody> {
        let mut request = self.request;
        if self.begun {
            *request.body_mut() = RequestBody::empty();
        } else if !self.data.is_empty() || self.body_ended {
            request.body_mut().put_back(self.data);
        }
        request
    }

    fn has_more_to_write(&self) -> bool {
        self.front_written < self.front.len() || !self.data.is_empty() || !self.back.is_empty()
    }

    /// Writes on, until all is written or nothing can be done at the moment.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(&mut Context<'_>, &[IoSlice<'_>]) -> Poll<io::Result<usize>>,
    ) -> Poll<Result<(), Stuck>> {
        loop {
            // The head waits for nothing, but what is there of the body goes with it.
            let missing = self.data.is_empty() && self.back.is_empty() && !self.body_ended;
            if missing && let Poll::Ready(Err(stuck)) = self.poll_body(cx) {
                return Poll::Ready(Err(stuck));
            }
            if !self.has_more_to_write() {
                return match self.body_ended {
                    true => Poll::Ready(Ok(())),
                    // Its waker is registered.
                    false => Poll::Pending,
                };
            }
            let slices = [
                IoSlice::new(&self.front[self.front_written..]),
                IoSlice::new(&self.data),
                IoSlice::new(self.back),
            ];
            let first = slices.iter().position(|slice| !slice.is_empty()).unwrap_or_default();
            match ready!(write(cx, &slices[first..])) {
                Ok(0) => return Poll::Ready(Err(Stuck::Instance(io::ErrorKind::WriteZero.into()))),
                Ok(written) => self.advance(written),
                Err(error) => return Poll::Ready(Err(Stuck::Instance(error))),
            }
        }
    }

    fn advance(&mut self, written: usize) {
        self.begun = true;
        let front = written.min(self.front.len() - self.front_written);
        self.front_written += front;
        if self.front_written == self.front.len() {
            self.front.clear();
            self.front_written = 0;
        }
        let data = (written - front).min(self.data.len());
        self.data.advance(data);
        self.back = &self.back[written - front - data..];
    }

    /// Takes the next part of the body; pending where there is none yet. A frame that is empty makes
    /// no chunk: that would be the end.
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Stuck>> {
        loop {
            let frame = ready!(Pin::new(self.request.body_mut()).poll_frame(cx));
            match frame {
                None => return Poll::Ready(self.end(None)),
                Some(Err(_)) => return Poll::Ready(Err(Stuck::Body)),
                Some(Ok(frame)) => match Frame::into_data(frame) {
                    Ok(data) if data.is_empty() => {}
                    Ok(data) => return Poll::Ready(self.take(data)),
                    Err(frame) => return Poll::Ready(self.end(frame.trailers_ref())),
                },
            }
        }
    }

    fn take(&mut self, data: Bytes) -> Result<(), Stuck> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let ended = self.request.body().is_end_stream();
        match &mut self.framing {
            Framing::Length(left) => *left = left.checked_sub(length).ok_or(Stuck::Body)?,
            Framing::Chunked => {
                self.front.extend_from_slice(format!("{length:x}\r\n").as_bytes());
                self.back = b"\r\n";
            }
        }
        self.data = data;
        if ended { self.end(None) } else { Ok(()) }
    }

    /// Trailers go on if the head announced them, and if they do not pretend to be what Weir says: some
    /// servers put them among the fields of the head.
    fn may_trail(&self, name: &HeaderName) -> bool {
        head::may_trail(name)
            && !headers::is_of_weir(name)
            && headers::has_token(self.request.headers(), header::TRAILER, name.as_str())
    }

    /// The body has ended: as it should, if all of it has come.
    fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Stuck> {
        self.body_ended = true;
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(Stuck::Body),
            Framing::Chunked if !self.back.is_empty() => {
                self.back = b"\r\n0\r\n\r\n";
                Ok(())
            }
            Framing::Chunked => {
                self.front.extend_from_slice(b"0\r\n");
                for (name, value) in trailers.into_iter().flatten() {
                    if self.may_trail(name) {
                        head::write_field(name, value, &mut self.front);
                    }
                }
                self.front.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}
