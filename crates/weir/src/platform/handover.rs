//! What `weir up` keeps when it goes on as a newer program: its children, its sockets, the lock of
//! the data folder, and who waits for the upgrade. The process stays the same, so that its number,
//! the service manager's view of it, and its children's view of it stay right.
//!
//! All of it goes through a pair of sockets, one end of which is the standard input of the program
//! that comes: first the words, then one message for each descriptor. A newer program reads what
//! an older one wrote, and may find things missing.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::child::Child;
use super::sockets::{Sockets, pair, receive, send};

/// Of what is handed over. A program takes over from one with the same number only.
pub(crate) const FORMAT: u32 = 1;
/// The hidden option that says that something is handed over.
pub(crate) const OPTION: &str = "--handed-over-on-stdin";

const LOCK: &str = "lock";
const HTTP: &str = "http";
const HTTPS: &str = "https";
const ASKER: &str = "asker";

/// The words.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Words {
    format: u32,
    /// The version that hands over.
    from: String,
    /// Where the ingress speaks TLS, as it was settled at the start.
    #[serde(default)]
    https: Option<SocketAddr>,
    /// Process ids by part; several nodes, the one that serves first.
    children: BTreeMap<String, Vec<i32>>,
    /// How long nodes that drain still may, in seconds, by process id.
    #[serde(default)]
    drain_s: BTreeMap<i32, u64>,
}

/// What is handed over.
#[derive(Debug, Default)]
pub(crate) struct HandedOver {
    /// The version that hands over.
    pub(crate) from: String,
    /// Where the ingress speaks TLS.
    pub(crate) https: Option<SocketAddr>,
    pub(super) control: Option<Arc<Child>>,
    /// The one that serves first, then those that drain.
    pub(super) nodes: Vec<Arc<Child>>,
    /// How long those that drain still may, by process id; none of those of whom it is not known.
    pub(super) drains: BTreeMap<i32, Duration>,
    pub(super) deadman: Option<Arc<Child>>,
    pub(super) sockets: Sockets,
    /// The lock of the data folder.
    pub(crate) lock: Option<OwnedFd>,
    /// Who waits for the end of the upgrade.
    pub(super) asker: Option<OwnedFd>,
}

fn name(pid: i32, which: &str) -> String {
    format!("{pid} {which}")
}

impl HandedOver {
    fn parts(&self) -> BTreeMap<String, Vec<i32>> {
        let one = |child: &Option<Arc<Child>>| child.iter().map(|child| child.pid()).collect();
        BTreeMap::from([
            ("control".to_owned(), one(&self.control)),
            ("node".to_owned(), self.nodes.iter().map(|child| child.pid()).collect()),
            ("deadman".to_owned(), one(&self.deadman)),
        ])
    }

    fn descriptors(&self) -> Vec<(String, BorrowedFd<'_>)> {
        let mut all: Vec<(String, BorrowedFd<'_>)> = Vec::new();
        let children = self.control.iter().chain(&self.nodes).chain(&self.deadman);
        for child in children {
            let [out, err] = child.output();
            all.push((name(child.pid(), "out"), out.as_fd()));
            all.push((name(child.pid(), "err"), err.as_fd()));
        }
        let listeners = [(HTTP, &self.sockets.http), (HTTPS, &self.sockets.https)];
        all.extend(
            listeners
                .into_iter()
                .filter_map(|(name, listener)| Some((name.to_owned(), listener.as_ref()?.as_fd()))),
        );
        let others = [(LOCK, &self.lock), (ASKER, &self.asker)];
        all.extend(
            others
                .into_iter()
                .filter_map(|(name, fd)| Some((name.to_owned(), fd.as_ref()?.as_fd()))),
        );
        all
    }

    /// What is to be the standard input of the program that comes.
    fn pack(&self) -> io::Result<OwnedFd> {
        let (sender, receiver) = pair()?;
        let words = Words {
            format: FORMAT,
            from: self.from.clone(),
            https: self.https,
            children: self.parts(),
            drain_s: self.drains.iter().map(|(pid, left)| (*pid, left.as_secs())).collect(),
        };
        send(&sender, &serde_json::to_vec(&words)?, None)?;
        for (name, descriptor) in self.descriptors() {
            send(&sender, name.as_bytes(), Some(descriptor))?;
        }
        Ok(receiver)
    }

    /// Goes on as this program. Comes back only if that fails.
    pub(crate) fn go_on_as(&self, program: &Path) -> io::Error {
        let input = match self.pack() {
            Ok(input) => input,
            Err(error) => return error,
        };
        let mut arguments: Vec<OsString> = std::env::args_os().skip(1).filter(|word| word != OPTION).collect();
        arguments.push(OPTION.into());
        Command::new(program).args(arguments).stdin(Stdio::from(input)).exec()
    }

    /// Takes what was handed over to this process.
    ///
    /// # Errors
    /// It is not understood. Then everything is as after the death of `weir up`.
    pub(crate) fn take(from: impl AsFd) -> io::Result<Self> {
        let from = from.as_fd();
        let nothing = || io::Error::other("nothing was handed over");
        let (words, _) = receive(from)?.ok_or_else(nothing)?;
        let words: Words = serde_json::from_slice(&words)?;
        let mut descriptors = HashMap::new();
        while let Some((name, descriptor)) = receive(from)? {
            let name = String::from_utf8_lossy(&name).into_owned();
            descriptors.extend(descriptor.map(|descriptor| (name, descriptor)));
        }
        let mut children = |part: &str| -> io::Result<Vec<Arc<Child>>> {
            let mut all = Vec::new();
            for pid in words.children.get(part).into_iter().flatten() {
                let (out, err) = (name(*pid, "out"), name(*pid, "err"));
                let output = descriptors.remove(&out).zip(descriptors.remove(&err));
                let (out, err) = output.ok_or_else(|| io::Error::other("the output of a part was not handed over"))?;
                // One that has ended since is found so by whoever waits for it.
                all.push(Child::adopt(*pid, [out, err])?);
            }
            Ok(all)
        };
        let (control, nodes, deadman) = (children("control")?, children("node")?, children("deadman")?);
        Ok(Self {
            from: words.from,
            https: words.https,
            control: control.into_iter().next(),
            nodes,
            drains: words
                .drain_s
                .into_iter()
                .map(|(pid, left)| (pid, Duration::from_secs(left)))
                .collect(),
            deadman: deadman.into_iter().next(),
            sockets: Sockets {
                http: descriptors.remove(HTTP).map(TcpListener::from),
                https: descriptors.remove(HTTPS).map(TcpListener::from),
            },
            lock: descriptors.remove(LOCK),
            asker: descriptors.remove(ASKER),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn children_and_sockets_are_handed_over_and_the_children_go_on() {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 0.2; echo alive; exit 3"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = Child::spawn(&mut command).unwrap();
        let before = HandedOver {
            from: "0.1.0".to_owned(),
            https: Some(any),
            nodes: vec![Arc::clone(&child)],
            drains: BTreeMap::from([(child.pid(), Duration::from_secs(77))]),
            sockets: Sockets::listen(any, None),
            ..HandedOver::default()
        };
        let input = before.pack().unwrap();
        let address = before.sockets.http.as_ref().unwrap().local_addr().unwrap();
        let after = HandedOver::take(&input).unwrap();
        assert_eq!((after.from.as_str(), after.https), ("0.1.0", Some(any)));
        assert_eq!(after.sockets.http.unwrap().local_addr().unwrap(), address);
        assert_eq!(after.drains, before.drains);
        assert!(after.control.is_none() && after.lock.is_none());
        assert_eq!(after.nodes[0].pid(), child.pid());
        assert_eq!(after.nodes[0].wait().await.unwrap().code(), Some(3));
        assert!(HandedOver::take(&input).is_err(), "it is handed over once");
    }
}
