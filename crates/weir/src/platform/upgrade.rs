//! Going on as a newer Weir without a pause: the new node starts beside the old one, with the same
//! sockets; once it could serve it does, and the old one ends what it has. Then `weir up` itself
//! goes on as the new program ([`super::handover`]), replaces control, which may be away for a
//! moment, and at last the deadman.
//!
//! Until the old node is told to drain, nothing has changed: whatever fails before is said, and the
//! service goes on as it was. Whoever is killed after that leaves what `weir up` makes whole.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::UnixListener;
use tokio::time::{Instant, sleep, timeout};

use super::child::Child;
use super::log::{Log, Speaker};
use super::{door, handover};
use crate::failure::{Failure, Result};

/// How long the new program may take to say what it is.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// How long the new node may take until it could serve.
const READY_PATIENCE: Duration = Duration::from_secs(45);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest order, in bytes.
const ORDER_BYTES: u64 = 16 << 10;
/// Lines of a new node that are shown if it fails.
const LINES_KEPT: usize = 20;
/// So many older nodes may drain at once; a further upgrade waits for one of them.
const MOST_DRAINING: usize = 5;
/// At most so long.
const PLACE_PATIENCE: Duration = Duration::from_secs(60);

/// Where the running `weir up` takes orders.
pub(crate) fn socket(data: &Path) -> PathBuf {
    data.join("run/up.sock")
}

/// What the running `weir up` is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    /// The program to go on as, absolute.
    pub(crate) program: PathBuf,
    /// How long the old node may take to end what it has, in seconds.
    pub(crate) drain_s: u64,
    /// Also where the program is older than what the store was written by.
    pub(crate) force: bool,
}

/// What it says meanwhile, one in each line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// What it does now.
    Step(String),
    /// Nothing has changed, unless it says so.
    Failed {
        /// What is wrong.
        message: String,
        /// What the new one said.
        detail: Option<String>,
        /// What to do.
        hint: Option<String>,
    },
    /// It is done.
    Done {
        /// The version of before.
        from: String,
        /// The version of now.
        to: String,
    },
}

/// What a program says of itself (`weir version --build`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Build {
    /// Its version.
    pub(crate) version: String,
    /// The newest version of the store that it understands.
    pub(crate) schema: i64,
    /// The format in which it takes over.
    pub(crate) handover: u32,
}

impl Build {
    /// This program.
    pub(crate) fn own() -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            schema: weir_store::newest_schema(),
            handover: handover::FORMAT,
        }
    }

    /// Why this program cannot go on as the other one.
    fn refuses(&self, new: &Self, program: &Path, force: bool) -> Result<()> {
        let program = program.display();
        if new.handover != self.handover {
            return Err(Failure::conflict(format!(
                "{program} (weir {}) cannot take over from a running weir {}",
                new.version, self.version
            ))
            .hint("stop and start instead, which takes some seconds: weir down && weir up"));
        }
        if new.schema < self.schema && !force {
            return Err(Failure::conflict(format!(
                "{program} (weir {}) is older than the store: it knows its schema up to {}, which is at {}",
                new.version, new.schema, self.schema
            ))
            .hint("take a newer one; or, if you know that it goes well, add --force"));
        }
        Ok(())
    }
}

/// Who waits for the end of the upgrade.
#[derive(Debug)]
pub(super) struct Asker {
    stream: Option<StdUnixStream>,
}

impl Asker {
    pub(super) fn new(stream: Option<OwnedFd>) -> Self {
        let stream = stream.map(StdUnixStream::from);
        let bounded = stream
            .filter(|stream| stream.set_nonblocking(false).is_ok() && stream.set_write_timeout(Some(PAUSE)).is_ok());
        Self { stream: bounded }
    }

    /// Tells it. If nobody listens any more, the upgrade goes on all the same.
    pub(super) fn say(&mut self, word: &Word) {
        if let (Some(stream), Ok(mut line)) = (&mut self.stream, serde_json::to_vec(word)) {
            line.push(b'\n');
            if stream.write_all(&line).is_err() {
                self.stream = None;
            }
        }
    }

    fn step(&mut self, log: &Log, words: &str) {
        log.say(words);
        self.say(&Word::Step(words.to_owned()));
    }

    fn into_descriptor(self) -> Option<OwnedFd> {
        self.stream.map(Into::into)
    }
}

/// The parts that an upgrade has to do with.
pub(super) trait House {
    /// The command of a node of this program that takes the place of another one.
    fn node_command(&self, program: &Path, before: i32) -> Result<std::process::Command>;
    /// The node that serves.
    fn node(&self) -> Option<Arc<Child>>;
    /// The older ones that drain: their processes, and how long each still may.
    fn draining(&self) -> Vec<(i32, Duration)>;
}

/// What came of an order that was carried out.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) program: PathBuf,
    /// The one that serves now.
    pub(super) node: Arc<Child>,
    /// How long the one before it may take to end what it has.
    pub(super) drain: Duration,
    pub(super) asker: Option<OwnedFd>,
}

/// Carries out orders, until one of them has come so far that this process is to go on as another
/// program.
pub(super) async fn serve(house: &impl House, data: &Path, log: &Log) -> Result<Taken> {
    let path = socket(data);
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path)
        .and_then(|listener| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).map(|()| listener))
        .map_err(|error| Failure::file("listen on", &path, &error))?;
    loop {
        let order = match listener.accept().await {
            Ok((stream, _)) => timeout(LOOK_PATIENCE, hear(stream)).await,
            Err(error) => {
                log.warn(&format!("cannot accept orders: {error}"));
                sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let Ok(Ok((order, mut asker))) = order else { continue };
        match carry_out(house, data, log, &order, &mut asker).await {
            Ok(node) => {
                return Ok(Taken {
                    program: order.program,
                    node,
                    drain: Duration::from_secs(order.drain_s),
                    asker: asker.into_descriptor(),
                });
            }
            Err(failure) => {
                log.warn(&format!("the upgrade failed; all goes on as before: {failure}"));
                asker.say(&Word::Failed {
                    message: failure.message,
                    detail: failure.detail,
                    hint: failure.hint,
                });
            }
        }
    }
}

async fn hear(mut stream: tokio::net::UnixStream) -> io::Result<(Order, Asker)> {
    let who = stream.peer_cred()?.uid();
    if who != nix::unistd::geteuid().as_raw() && who != 0 {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut line = String::new();
    BufReader::new((&mut stream).take(ORDER_BYTES))
        .read_line(&mut line)
        .await?;
    let order = serde_json::from_str(&line)?;
    let stream: OwnedFd = stream.into_std()?.into();
    Ok((order, Asker::new(Some(stream))))
}

/// Up to the point from which there is no way back: the new node serves, the old one drains.
async fn carry_out(house: &impl House, data: &Path, log: &Log, order: &Order, asker: &mut Asker) -> Result<Arc<Child>> {
    let own = Build::own();
    let new = look_at(&order.program).await?;
    own.refuses(&new, &order.program, order.force)?;
    asker.step(
        log,
        &format!("upgrading to weir {} ({})", new.version, order.program.display()),
    );
    if house.draining().len() >= MOST_DRAINING {
        asker.step(
            log,
            "several older nodes still end what they have; waiting for one of them",
        );
        wait_for_place(house, PLACE_PATIENCE).await?;
    }
    let old = house.node().ok_or_else(|| {
        Failure::conflict("the node is being started again at this moment").hint("try it again in a few seconds")
    })?;
    let mut command = house.node_command(&order.program, old.pid())?;
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let node = Child::spawn(&mut command).map_err(|error| {
        Failure::failed(format!("cannot start {}", order.program.display())).detail(error.to_string())
    })?;
    let lines = Arc::new(Mutex::new(VecDeque::new()));
    let begun = Begun(Some(Arc::clone(&node)));
    let reading = {
        let (node, log, lines) = (Arc::clone(&node), log.clone(), Arc::clone(&lines));
        tokio::spawn(async move { node.read(Speaker::Node, &log, |line| keep(&lines, line)).await })
    };
    let ready = wait_until_ready(&node, &door::path(data, node.pid())).await;
    // Before it serves, so that nobody who hears of the old one alone takes it for the only one. One
    // of before knows nothing of it.
    let _ = door::succeeded(&door::path(data, old.pid()), node.pid());
    let opened = match ready {
        Ok(()) => door::open(&door::path(data, node.pid())).map_err(|error| format!("it does not open: {error}")),
        Err(words) => Err(words),
    };
    if let Err(words) = opened {
        node.signal(Signal::SIGKILL);
        let _ = timeout(Duration::from_secs(2), node.wait()).await;
        sleep(PAUSE).await;
        reading.abort();
        let said: Vec<String> = lines.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect();
        return Err(Failure::failed(format!("the new node did not become ready: {words}"))
            .detail(said.join("\n"))
            .hint("nothing has changed: the old one serves; what the new one said stands above"));
    }
    begun.serves();
    asker.step(log, "the new node serves; the old one ends what it has");
    if let Err(error) = door::drain(&door::path(data, old.pid()), Duration::from_secs(order.drain_s)) {
        // It may have died, or it hangs; then it is not to stay.
        log.warn(&format!(
            "the old node does not hear that it shall drain ({error}); ending it"
        ));
        old.signal(Signal::SIGTERM);
    }
    reading.abort();
    Ok(node)
}

/// A node that was started and does not serve yet. It does not outlive the upgrade, however that
/// ends: Weir may be stopped meanwhile.
struct Begun(Option<Arc<Child>>);

impl Begun {
    fn serves(mut self) {
        self.0 = None;
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.signal(Signal::SIGKILL);
        }
    }
}

/// Waits until a further node may drain, at most for so long.
async fn wait_for_place(house: &impl House, longest: Duration) -> Result<()> {
    let end = Instant::now() + longest;
    loop {
        let draining = house.draining();
        if draining.len() < MOST_DRAINING {
            return Ok(());
        }
        let next = draining.iter().min_by_key(|(_, left)| *left);
        if let (true, Some((pid, left))) = (Instant::now() >= end, next) {
            let left = humantime::format_duration(Duration::from_secs(left.as_secs().max(1)));
            return Err(Failure::conflict(format!(
                "{} older nodes still end what they have, from upgrades before; nothing has changed",
                draining.len()
            ))
            .hint(format!(
                "try it again when the next of them has had its time, in {left}; or end that one now, which cuts the websockets and downloads that it has: kill {pid}"
            )));
        }
        sleep(PAUSE).await;
    }
}

fn keep(lines: &Mutex<VecDeque<String>>, line: &str) {
    let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() == LINES_KEPT {
        lines.pop_front();
    }
    lines.push_back(line.to_owned());
}

async fn wait_until_ready(node: &Child, path: &Path) -> std::result::Result<(), String> {
    let end = Instant::now() + READY_PATIENCE;
    let mut standing = "it does not answer".to_owned();
    loop {
        let ended = timeout(PAUSE, node.wait()).await;
        if let Ok(Ok(status)) = ended {
            return Err(format!("it ended ({status})"));
        }
        let path = path.to_owned();
        let asked = tokio::task::spawn_blocking(move || door::standing(&path)).await;
        match asked {
            Ok(Ok(Ok(()))) => return Ok(()),
            Ok(Ok(Err(words))) => standing = format!("it waits for {words}"),
            _ => {}
        }
        if Instant::now() > end {
            return Err(format!("after {} s {standing}", READY_PATIENCE.as_secs()));
        }
    }
}

/// What a program says of itself.
async fn look_at(program: &Path) -> Result<Build> {
    let is_program = std::fs::metadata(program).map(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0);
    match is_program {
        Ok(true) => {}
        Ok(false) => {
            return Err(Failure::usage(format!("{} is no program", program.display()))
                .hint("name the new weir: weir upgrade /path/to/weir"));
        }
        Err(error) => return Err(Failure::file("find", program, &error)),
    }
    let mut command = tokio::process::Command::new(program);
    command
        .args(["version", "--build"])
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let not_weir = |why: String| {
        Failure::failed(format!("{} is no Weir that can take over", program.display()))
            .detail(why)
            .hint("name another one: weir upgrade /path/to/weir; or stop and start: weir down && weir up")
    };
    let output = match timeout(LOOK_PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(not_weir(error.to_string())),
        Err(_late) => return Err(not_weir("`version --build` does not end".to_owned())),
    };
    let said = || {
        String::from_utf8_lossy(&output.stderr)
            .chars()
            .take(2_000)
            .collect::<String>()
    };
    match serde_json::from_slice(&output.stdout) {
        Ok(build) if output.status.success() => Ok(build),
        _ => Err(not_weir(format!(
            "`version --build` ended with {}: {}",
            output.status,
            said()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(schema: i64, handover: u32) -> Build {
        Build {
            version: "9.9.9".to_owned(),
            schema,
            handover,
        }
    }

    #[test]
    fn an_older_program_is_refused_unless_forced_and_a_stranger_always() {
        let own = build(7, 1);
        let refuses = |new: Build, force| own.refuses(&new, Path::new("/new"), force);
        assert!(refuses(build(7, 1), false).is_ok());
        assert!(refuses(build(8, 1), false).is_ok());
        let failure = refuses(build(6, 1), false).unwrap_err();
        assert!(failure.message.contains("older than the store"), "{failure}");
        assert!(refuses(build(6, 1), true).is_ok());
        assert!(
            refuses(build(7, 2), true)
                .unwrap_err()
                .message
                .contains("cannot take over")
        );
    }

    struct Full(Mutex<Vec<(i32, Duration)>>);

    impl House for Full {
        fn node_command(&self, program: &Path, _before: i32) -> Result<std::process::Command> {
            let mut command = std::process::Command::new(program);
            command.arg("1000");
            Ok(command)
        }

        fn node(&self) -> Option<Arc<Child>> {
            None
        }

        fn draining(&self) -> Vec<(i32, Duration)> {
            self.0.lock().unwrap().clone()
        }
    }

    #[tokio::test]
    async fn a_place_is_not_waited_for_for_ever() {
        let all = [(1, 599), (2, 598), (3, 597), (4, 596), (5, 595)];
        let all = all.map(|(pid, left)| (pid, Duration::from_secs(left)));
        let house = Full(Mutex::new(all.to_vec()));
        let failure = wait_for_place(&house, PAUSE * 3).await.unwrap_err();
        assert!(failure.message.contains("5 older nodes"), "{failure}");
        let hint = failure.hint.unwrap();
        assert!(hint.contains("in 9m 55s") && hint.ends_with("kill 5"), "{hint}");
        house.0.lock().unwrap().pop();
        wait_for_place(&house, PAUSE * 3).await.unwrap();
    }

    #[tokio::test]
    async fn a_node_that_does_not_serve_yet_ends_with_the_upgrade() {
        let mut command = std::process::Command::new("sleep");
        command.arg("1000").stdout(Stdio::piped()).stderr(Stdio::piped());
        let (begun, serves) = (Child::spawn(&mut command).unwrap(), Child::spawn(&mut command).unwrap());
        Begun(Some(Arc::clone(&serves))).serves();
        // As when Weir is stopped while it waits.
        let guard = Begun(Some(Arc::clone(&begun)));
        let waiting = async {
            let _guard = guard;
            std::future::pending::<()>().await;
        };
        assert!(timeout(PAUSE, waiting).await.is_err());
        let ended = timeout(Duration::from_secs(10), begun.wait()).await.unwrap().unwrap();
        assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
        assert!(timeout(PAUSE, serves.wait()).await.is_err(), "it serves");
        serves.signal(Signal::SIGKILL);
    }

    #[tokio::test]
    async fn what_is_no_weir_is_found_out_before_anything_is_done() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("weir");
        assert!(look_at(&file).await.is_err(), "there is none");
        std::fs::write(&file, "#!/bin/sh\necho broken >&2; exit 4\n").unwrap();
        assert!(look_at(&file).await.unwrap_err().message.contains("is no program"));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        let failure = look_at(&file).await.unwrap_err();
        assert!(
            failure.detail.unwrap().contains("broken"),
            "it says what the program said"
        );
    }
}
