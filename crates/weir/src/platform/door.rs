//! Where a node is spoken to by `weir up` and by the node after it: a Unix socket in the data
//! folder that is named after the node's process. One question for each connection, in words.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout, socket_peercred};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use weir_ingress::{GatewayUse, Succession};

use super::sockets::{receive, send};

/// Nobody is waited for longer than this.
const PATIENCE: Duration = Duration::from_secs(5);
const BACKLOG: i32 = 16;

/// Questions.
const STANDING: &str = "standing";
const SOCKETS: &str = "sockets";
const OPEN: &str = "open";
const DRAIN: &str = "drain ";
const SUCCEEDED: &str = "succeeded by ";

/// A node that could serve, and waits to be told so.
const READY: &str = "ready";
/// The answer to an order.
const DONE: &str = "done";

/// Where the node with this process id is spoken to.
pub(crate) fn path(data: &Path, pid: i32) -> PathBuf {
    data.join(format!("run/node-{pid}.sock"))
}

/// Which process listens there, as the kernel knows it; also of one that hangs.
pub(crate) fn listener(path: &Path) -> io::Result<i32> {
    let connection = socket()?;
    bound_waits(&connection)?;
    connect(&connection, &SocketAddrUnix::new(path)?)?;
    Ok(socket_peercred(&connection)?.pid.as_raw_nonzero().get())
}

/// What a node says of itself.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    words: Arc<Mutex<String>>,
}

impl Standing {
    /// Not ready; what it waits for.
    pub(crate) fn new(words: &str) -> Self {
        Self {
            words: Arc::new(Mutex::new(words.to_owned())),
        }
    }

    /// It waits for something else.
    pub(crate) fn waits_for(&self, words: &str) {
        words.clone_into(&mut self.words.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// It could serve.
    pub(crate) fn is_ready(&self) {
        self.waits_for(READY);
    }

    fn get(&self) -> String {
        self.words.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers for a node, on a thread of its own, as long as the process lives.
pub(crate) fn answer(path: &Path, succession: Succession, standing: Standing) -> io::Result<()> {
    let _ = std::fs::remove_file(path);
    let listener = socket()?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    listen(&listener, BACKLOG)?;
    std::thread::Builder::new()
        .name("weir-door".to_owned())
        .spawn(move || {
            loop {
                let heard = accept_with(&listener, SocketFlags::CLOEXEC)
                    .map_err(io::Error::from)
                    .and_then(|connection| answer_one(&connection, &succession, &standing));
                if let Err(error) = heard {
                    tracing::debug!(%error, "a question to the node was not answered");
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
        })?;
    Ok(())
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn bound_waits(connection: &OwnedFd) -> io::Result<()> {
    set_socket_timeout(connection, Timeout::Recv, Some(PATIENCE))?;
    set_socket_timeout(connection, Timeout::Send, Some(PATIENCE))?;
    Ok(())
}

fn answer_one(connection: &OwnedFd, succession: &Succession, standing: &Standing) -> io::Result<()> {
    bound_waits(connection)?;
    let Some((question, _)) = receive(connection)? else {
        return Ok(());
    };
    let question = String::from_utf8_lossy(&question).into_owned();
    let seconds = question.strip_prefix(DRAIN).map(str::parse);
    let successor = question.strip_prefix(SUCCEEDED).map(str::parse);
    match question.as_str() {
        STANDING => send(connection, standing.get().as_bytes(), None),
        OPEN => {
            succession.open();
            send(connection, DONE.as_bytes(), None)
        }
        SOCKETS => {
            for (what, socket) in succession.gateway_sockets()? {
                send(
                    connection,
                    what.word().as_bytes(),
                    Some(std::os::fd::AsFd::as_fd(&socket)),
                )?;
            }
            Ok(())
        }
        _ => match (seconds, successor) {
            (Some(Ok(seconds)), _) => {
                succession.drain(Duration::from_secs(seconds));
                send(connection, DONE.as_bytes(), None)
            }
            (_, Some(Ok(pid))) => {
                succession.succeeded_by(pid);
                send(connection, DONE.as_bytes(), None)
            }
            _ => send(connection, b"this question is not understood", None),
        },
    }
}

fn ask(path: &Path, question: &str) -> io::Result<OwnedFd> {
    let connection = socket()?;
    bound_waits(&connection)?;
    connect(&connection, &SocketAddrUnix::new(path)?)?;
    send(&connection, question.as_bytes(), None)?;
    Ok(connection)
}

fn order(path: &Path, words: &str) -> io::Result<()> {
    let answer = receive(ask(path, words)?)?
        .map(|(answer, _)| answer)
        .unwrap_or_default();
    match answer.as_slice() {
        answer if answer == DONE.as_bytes() => Ok(()),
        other => Err(io::Error::other(String::from_utf8_lossy(other).into_owned())),
    }
}

/// Whether a node could serve; if not, what it waits for.
pub(crate) fn standing(path: &Path) -> io::Result<Result<(), String>> {
    let answer = receive(ask(path, STANDING)?)?
        .map(|(answer, _)| answer)
        .unwrap_or_default();
    match String::from_utf8_lossy(&answer).into_owned() {
        words if words == READY => Ok(Ok(())),
        words => Ok(Err(words)),
    }
}

/// Has a node serve.
pub(crate) fn open(path: &Path) -> io::Result<()> {
    order(path, OPEN)
}

/// Has a node end what it has, within this time, and leave.
pub(crate) fn drain(path: &Path, longest: Duration) -> io::Result<()> {
    order(path, &format!("{DRAIN}{}", longest.as_secs().max(1)))
}

/// Tells a node which process takes its place.
pub(crate) fn succeeded(path: &Path, successor: i32) -> io::Result<()> {
    order(path, &format!("{SUCCEEDED}{successor}"))
}

/// The sockets that a node has open at gateways.
pub(crate) fn sockets(path: &Path) -> io::Result<Vec<(GatewayUse, OwnedFd)>> {
    let connection = ask(path, SOCKETS)?;
    let mut sockets = Vec::new();
    while let Some((word, descriptor)) = receive(&connection)? {
        let what = GatewayUse::of_word(&String::from_utf8_lossy(&word));
        if let (Some(what), Some(descriptor)) = (what, descriptor)
            && sockets.len() < weir_ingress::MOST_SOCKETS
        {
            sockets.push((what, descriptor));
        }
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_says_how_it_stands_and_does_what_it_is_told() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        let path = path(folder.path(), 7);
        assert!(standing(&path).is_err(), "nobody is there");
        let succession = Succession::after(Vec::new(), Vec::new()).unwrap();
        let said = Standing::new("money");
        answer(&path, succession.clone(), said.clone()).unwrap();
        assert_eq!(standing(&path).unwrap(), Err("money".to_owned()));
        said.is_ready();
        assert_eq!(standing(&path).unwrap(), Ok(()));
        open(&path).unwrap();
        assert!(sockets(&path).unwrap().is_empty());
        assert!(!succession.is_draining());
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(listener(&path).unwrap(), own);
        succeeded(&path, own).unwrap();
        assert_eq!(succession.beside().len(), 1);
        drain(&path, Duration::from_secs(3)).unwrap();
        assert!(succession.is_draining());
        assert!(order(&path, "sing").unwrap_err().to_string().contains("not understood"));
    }
}
