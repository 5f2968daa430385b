//! The ingress's listening sockets: `weir up` holds them, so that visitors wait while a node that
//! died is started again, and hands them to each node.
//!
//! They go through a pair of sockets, one end of which is the node's standard input: so no numbers
//! of descriptors have to be agreed on, and no other process inherits any.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// One socket goes with each message, and the text of the message is what is spoken there.
const HTTP: &str = "http";
const HTTPS: &str = "https";
const LONGEST_TEXT: usize = 16;

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
        // Messages keep their bounds; those that nobody has read yet outlive the sender's end.
        let (sender, receiver) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
        for (text, listener) in [(HTTP, &self.http), (HTTPS, &self.https)] {
            if let Some(listener) = listener {
                send(&sender, text, listener)?;
            }
        }
        Ok(Some(receiver))
    }

    /// Takes what was handed over.
    pub(crate) fn take(from: impl AsFd) -> io::Result<Self> {
        let mut taken = Self::default();
        while let Some((text, listener)) = receive(from.as_fd())? {
            match text.as_str() {
                HTTP => taken.http = Some(listener),
                HTTPS => taken.https = Some(listener),
                // Of a newer `weir up`; nothing that we could serve.
                _ => {}
            }
        }
        Ok(taken)
    }
}

fn send(to: &OwnedFd, text: &str, listener: &TcpListener) -> io::Result<()> {
    let descriptors = [listener.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = SendAncillaryBuffer::new(&mut space);
    if !attached.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    sendmsg(to, &[IoSlice::new(text.as_bytes())], &mut attached, SendFlags::empty())?;
    Ok(())
}

/// The next one, until the sender's end is closed and all is read.
fn receive(from: impl AsFd) -> io::Result<Option<(String, TcpListener)>> {
    let mut text = [0; LONGEST_TEXT];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut attached = RecvAncillaryBuffer::new(&mut space);
    let message = recvmsg(
        from,
        &mut [IoSliceMut::new(&mut text)],
        &mut attached,
        RecvFlags::CMSG_CLOEXEC,
    )?;
    if message.bytes == 0 {
        return Ok(None);
    }
    let descriptor = attached.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    let descriptor = descriptor.ok_or_else(|| io::Error::other("there is no socket in a message"))?;
    let text = String::from_utf8_lossy(&text[..message.bytes]).into_owned();
    Ok(Some((text, TcpListener::from(descriptor))))
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
