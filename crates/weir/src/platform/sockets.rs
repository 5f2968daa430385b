//! The ingress's listening sockets: `weir up` holds them, so that visitors wait while a node that
//! died is started again, and hands them to each node.
//!
//! They go through a pair of sockets, one end of which is the node's standard input: so no numbers
//! of descriptors have to be agreed on, and no other process inherits any.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// One socket goes with each message, and the text of the message is what is spoken there.
const HTTP: &str = "http";
const HTTPS: &str = "https";
/// Longest text that goes with a socket, in bytes.
pub(super) const LONGEST_TEXT: usize = 32 << 10;

/// The sockets of the ingress, as far as they could be had.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    pub(crate) http: Option<TcpListener>,
    /// For HTTP inside TLS.
    pub(crate) https: Option<TcpListener>,
}

impl Sockets {
    /// Listens. If an address cannot be had, the node finds out and says so.
    pub(crate) fn listen(http: SocketAddr, https: Option<SocketAddr>) -> Self {
        Self {
            http: TcpListener::bind(http).ok(),
            https: https.and_then(|address| TcpListener::bind(address).ok()),
        }
    }

    /// What a node takes as its standard input, to [`take`](Self::take) them from; none if there
    /// are none.
    pub(crate) fn hand_over(&self) -> io::Result<Option<OwnedFd>> {
        if self.http.is_none() && self.https.is_none() {
            return Ok(None);
        }
        let (sender, receiver) = pair()?;
        for (text, listener) in [(HTTP, &self.http), (HTTPS, &self.https)] {
            if let Some(listener) = listener {
                send(&sender, text.as_bytes(), Some(listener.as_fd()))?;
            }
        }
        Ok(Some(receiver))
    }

    /// Takes what was handed over.
    pub(crate) fn take(from: impl AsFd) -> io::Result<Self> {
        let mut taken = Self::default();
        while let Some((text, descriptor)) = receive(from.as_fd())? {
            let descriptor = descriptor.ok_or_else(|| io::Error::other("there is no socket in a message"))?;
            match text.as_slice() {
                text if text == HTTP.as_bytes() => taken.http = Some(TcpListener::from(descriptor)),
                text if text == HTTPS.as_bytes() => taken.https = Some(TcpListener::from(descriptor)),
                // Of a newer `weir up`; nothing that we could serve.
                _ => {}
            }
        }
        Ok(taken)
    }
}

/// A sender and a receiver. Messages keep their bounds; those that nobody has read yet outlive the
/// sender's end.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

/// Sends a text, which may not be empty, and what belongs to it.
pub(super) fn send(to: impl AsFd, text: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    if !descriptors.is_empty() && !attached.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    sendmsg(to, &[IoSlice::new(text)], &mut attached, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The next one, until the sender's end is closed and all is read.
pub(super) fn receive(from: impl AsFd) -> io::Result<Option<(Vec<u8>, Option<OwnedFd>)>> {
    let mut text = vec![0; LONGEST_TEXT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let parts = &mut [IoSliceMut::new(&mut text)];
    let message = recvmsg(from, parts, &mut attached, RecvFlags::CMSG_CLOEXEC)?;
    if message.bytes == 0 {
        return Ok(None);
    }
    if message.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::other("a message is too long"));
    }
    let descriptor = attached.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    text.truncate(message.bytes);
    Ok(Some((text, descriptor)))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;

    #[test]
    fn sockets_are_handed_over_each_as_what_it_is_and_again_to_the_next_one() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let held = Sockets::listen(any, Some(any));
        let address = |listener: &Option<TcpListener>| listener.as_ref().unwrap().local_addr().unwrap();
        for _ in 0..2 {
            let input = held.hand_over().unwrap().unwrap();
            let taken = Sockets::take(&input).unwrap();
            assert_eq!(address(&taken.http), address(&held.http));
            assert_eq!(address(&taken.https), address(&held.https));
            let client = TcpStream::connect(address(&held.https)).unwrap();
            let (_, from) = taken.https.unwrap().accept().unwrap();
            assert_eq!(from, client.local_addr().unwrap());
        }
        let one = Sockets::listen(any, None);
        let taken = Sockets::take(one.hand_over().unwrap().unwrap()).unwrap();
        assert!(taken.http.is_some() && taken.https.is_none());
        assert!(Sockets::default().hand_over().unwrap().is_none());
    }
}
