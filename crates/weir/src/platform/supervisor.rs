//! Starts `control`, `node` and `deadman`, starts them again when they die, reads what they say,
//! and stops them in order: who decides first, then who carries, last who watches that one. An
//! upgrade ([`super::upgrade`]) puts a newer node beside the one that serves, and hands all of it
//! to a newer program.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use nix::sys::signal::Signal;
use std::os::unix::process::CommandExt as _;
use tokio_util::sync::CancellationToken;

use super::child::Child;
use super::door;
use super::draining::{Draining, Pressure};
use super::executable::this_program;
use super::handover::HandedOver;
use super::log::{Log, Speaker};
use super::options::{DATABASE_VARIABLE, PlatformOptions, SMTP_VARIABLE};
use super::ready::is_ready;
use super::sockets::Sockets;
use super::upgrade::{self, Asker, House, Taken, Word};
use crate::failure::{Failure, Result};

/// First and longest pause before a part is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A part that ran so long was healthy: the next pause is the first one again.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long a part may take to end; a node lets requests in flight end.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// How long a node may drain that was not told so by the program before.
const UNTOLD_DRAIN: Duration = Duration::from_secs(600);
/// How long a new control may take until all is ready.
const READY_PATIENCE: Duration = Duration::from_secs(60);

/// Two tokens, so that the parts are stopped one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Stops {
    /// Stops control.
    pub(crate) control: CancellationToken,
    /// Stops the node.
    pub(crate) node: CancellationToken,
    /// Ends all of them at once.
    pub(crate) at_once: CancellationToken,
}

/// How watching ends.
#[derive(Debug)]
pub(crate) enum End {
    /// All parts have ended, as they were told to.
    Stopped,
    /// This process is to go on as another program, with all this.
    GoOnAs(PathBuf, HandedOver),
}

/// Runs all parts until they are stopped, or another program is to go on with them.
pub(crate) async fn watch_over(
    options: &PlatformOptions,
    log: &Log,
    stops: &Stops,
    handed: Option<HandedOver>,
) -> Result<End> {
    let is_upgrade = handed.is_some();
    let handed = handed.unwrap_or_else(|| HandedOver {
        sockets: Sockets::listen(options.http, options.https()),
        ..HandedOver::default()
    });
    let mut nodes = handed.nodes.into_iter();
    let part = |speaker, stop: &CancellationToken, first, sockets| Part {
        options,
        log,
        speaker,
        sockets: Mutex::new(sockets),
        stop: stop.clone(),
        at_once: stops.at_once.clone(),
        child: Mutex::new(first),
        draining: Mutex::default(),
        is_replaced: AtomicBool::new(false),
    };
    let control = part(Speaker::Control, &stops.control, handed.control, Sockets::default());
    let node = part(Speaker::Node, &stops.node, nodes.next(), handed.sockets);
    let deadman = part(
        Speaker::Deadman,
        &CancellationToken::new(),
        handed.deadman,
        Sockets::default(),
    );
    let drains = |child: Arc<Child>| {
        let left = handed.drains.get(&child.pid()).copied();
        Draining::new(child, left.unwrap_or(UNTOLD_DRAIN))
    };
    *lock(&node.draining) = nodes.map(drains).collect();
    let data = options.data()?;
    let parts = async {
        let control = async {
            let result = control.watch().await;
            // Also where control could not even be started.
            stops.control.cancel();
            stops.node.cancel();
            result
        };
        let node = async {
            let (result, ()) = tokio::join!(node.watch(), node.watch_draining());
            stops.control.cancel();
            deadman.stop.cancel();
            result
        };
        let deadman = async {
            let result = deadman.watch().await;
            // Without it nothing may run.
            stops.control.cancel();
            stops.node.cancel();
            result
        };
        let (control, node, deadman) = tokio::join!(control, node, deadman);
        control.and(node).and(deadman)
    };
    let upgrades = async {
        if is_upgrade {
            renew(&control, &deadman, &handed.from, Asker::new(handed.asker)).await;
        }
        tokio::select! {
            biased;
            // Who is told to end does not begin anything.
            () = stops.control.cancelled() => std::future::pending().await,
            taken = upgrade::serve(&node, &data, log) => taken,
        }
    };
    let taken = tokio::select! {
        ended = parts => return ended.map(|()| End::Stopped),
        taken = upgrades => taken?,
    };
    Ok(hand_over(options, taken, &control, &node, &deadman))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rest of an upgrade: this program's control takes the place of the one before, then its
/// deadman does, without a moment in which it hears of nobody.
async fn renew(control: &Part<'_>, deadman: &Part<'_>, from: &str, mut asker: Asker) {
    let to = env!("CARGO_PKG_VERSION");
    control
        .log
        .say(&format!("went on as weir {to} (before: {from}); replacing control"));
    control.replace(Signal::SIGTERM).await;
    let ready = async {
        while !is_ready(control.options).await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let ready = tokio::time::timeout(READY_PATIENCE, ready).await;
    // Asked to end, it would wait for the node to fall silent. It has nothing to lose.
    deadman.replace(Signal::SIGKILL).await;
    let word = match ready {
        Ok(()) => Word::Done {
            from: from.to_owned(),
            to: to.to_owned(),
        },
        Err(_late) => Word::Failed {
            message: format!("weir {to} serves, but its control is not ready"),
            detail: None,
            hint: Some("applications are served; see what control says in the log of `weir up`".to_owned()),
        },
    };
    control.log.say("the upgrade is done");
    asker.say(&word);
}

/// All that the other program goes on with.
fn hand_over(options: &PlatformOptions, taken: Taken, control: &Part<'_>, node: &Part<'_>, deadman: &Part<'_>) -> End {
    let old = lock(&node.child).take().map(|old| Draining::new(old, taken.drain));
    let draining: Vec<Draining> = old.into_iter().chain(lock(&node.draining).drain(..)).collect();
    let drains = draining.iter().map(|older| (older.child.pid(), older.left()));
    let handed = HandedOver {
        from: env!("CARGO_PKG_VERSION").to_owned(),
        https: options.https(),
        control: lock(&control.child).take(),
        drains: drains.collect(),
        nodes: [taken.node]
            .into_iter()
            .chain(draining.into_iter().map(|older| older.child))
            .collect(),
        deadman: lock(&deadman.child).take(),
        sockets: std::mem::take(&mut *lock(&node.sockets)),
        lock: None,
        asker: taken.asker,
    };
    End::GoOnAs(taken.program, handed)
}

struct Part<'a> {
    options: &'a PlatformOptions,
    log: &'a Log,
    speaker: Speaker,
    /// The part's listening sockets, handed over by its standard input.
    sockets: Mutex<Sockets>,
    stop: CancellationToken,
    at_once: CancellationToken,
    /// The process that is this part now.
    child: Mutex<Option<Arc<Child>>>,
    /// Of nodes: those whose place it has taken, and that end what they have.
    draining: Mutex<Vec<Draining>>,
    /// Its end is wanted, and so is the next one at once.
    is_replaced: AtomicBool,
}

impl House for Part<'_> {
    fn node_command(&self, program: &Path, before: i32) -> Result<Command> {
        let mut command = self.command(program)?;
        command.args(["--successor-of", &before.to_string()]);
        Ok(command)
    }

    fn node(&self) -> Option<Arc<Child>> {
        lock(&self.child).clone()
    }

    fn draining(&self) -> Vec<(i32, Duration)> {
        let draining = lock(&self.draining);
        draining.iter().map(|older| (older.child.pid(), older.left())).collect()
    }
}

impl Part<'_> {
    async fn watch(&self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            let Some(status) = self.run_once().await? else {
                return Ok(());
            };
            if self.is_replaced.swap(false, Ordering::SeqCst) {
                continue;
            }
            if started.elapsed() > HEALTHY {
                pause = FIRST_PAUSE;
            }
            self.log.warn(&format!(
                "{} ended ({}); starting it again in {}",
                self.speaker.word(),
                words(status),
                span(pause)
            ));
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => {}
            }
            pause = (pause * 3).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    /// Runs the part until it dies, and gives its status; `None` if it was stopped.
    async fn run_once(&self) -> Result<Option<ExitStatus>> {
        let handed = lock(&self.child).clone();
        let child = match handed {
            Some(child) => child,
            None => self.spawn()?,
        };
        *lock(&self.child) = Some(Arc::clone(&child));
        let reading = child.read(self.speaker, self.log, |_line| {});
        let ending = async {
            tokio::select! {
                status = child.wait() => return status.map(Some),
                () = self.stop.cancelled() => {}
            }
            // Nobody is to wait for a node that does not come back.
            *lock(&self.sockets) = Sockets::default();
            self.end(&child).await.map(|()| None)
        };
        // The output ends with the part, unless somebody it started keeps it open.
        let mut ending = std::pin::pin!(ending);
        let mut reading = std::pin::pin!(reading);
        let status = tokio::select! {
            status = &mut ending => {
                let _ = tokio::time::timeout(Duration::from_millis(200), reading).await;
                status
            }
            () = &mut reading => ending.await,
        };
        *lock(&self.child) = None;
        self.remove_door(&child);
        status.map_err(|error| {
            Failure::failed(format!("cannot watch over {}", self.speaker.word())).detail(error.to_string())
        })
    }

    /// Waits for the nodes that drain.
    async fn watch_draining(&self) {
        let all = lock(&self.draining).clone();
        join_all(all.iter().map(|older| self.watch_one_draining(older))).await;
    }

    async fn watch_one_draining(&self, older: &Draining) {
        let child = &older.child;
        let successor = || lock(&self.child).as_ref().map(|node| node.pid());
        let urged = async {
            match self.options.data() {
                Ok(data) => older.urge(&data, successor, Pressure::default()).await,
                Err(_) => std::future::pending().await,
            }
        };
        let ended = async {
            tokio::select! {
                status = child.wait() => return status.map(drop),
                () = self.stop.cancelled() => {}
                () = urged => self.log.warn(&format!(
                    "the node of before (process {}) hangs, or should have left long ago; ending it", child.pid()
                )),
            }
            self.end(child).await
        };
        let reading = child.read(self.speaker, self.log, |_line| {});
        // What it says last is read, too.
        let (ended, _) = tokio::join!(ended, async {
            tokio::select! {
                () = reading => {}
                _ = child.wait() => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        });
        lock(&self.draining).retain(|other| other.child.pid() != child.pid());
        self.remove_door(child);
        match ended {
            Ok(()) => self.log.say("the node of before has ended what it had"),
            Err(error) => self.log.warn(&format!("cannot watch over a node that drains: {error}")),
        }
    }

    /// Nobody answers there any more.
    fn remove_door(&self, child: &Child) {
        if let Ok(data) = self.options.data() {
            let _ = std::fs::remove_file(door::path(&data, child.pid()));
        }
    }

    /// Has the part started again, as this program, and waits until that has begun.
    async fn replace(&self, signal: Signal) {
        let Some(old) = lock(&self.child).clone() else { return };
        self.is_replaced.store(true, Ordering::SeqCst);
        old.signal(signal);
        let replaced = async {
            while lock(&self.child).as_ref().is_none_or(|child| child.pid() == old.pid()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::pin!(replaced);
        if tokio::time::timeout(END_PATIENCE, &mut replaced).await.is_err() {
            self.log
                .warn(&format!("{} does not end; ending it", self.speaker.word()));
            old.signal(Signal::SIGKILL);
            let _ = tokio::time::timeout(END_PATIENCE, replaced).await;
        }
    }

    fn spawn(&self) -> Result<Arc<Child>> {
        let cannot = |error: std::io::Error| {
            Failure::failed(format!("cannot start {}", self.speaker.word())).detail(error.to_string())
        };
        let mut command = self.command(&this_program().map_err(cannot)?)?;
        Child::spawn(&mut command).map_err(cannot)
    }

    fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        command
            .arg(self.speaker.word())
            .args(self.options.arguments()?)
            .args(["--supervisor", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the supervisor, which stops its parts in order.
            .process_group(0);
        for older in lock(&self.draining).iter() {
            command.args(["--beside", &older.child.pid().to_string()]);
        }
        // If they cannot be handed over now, the node says that it cannot listen, and is started again.
        if let Ok(Some(input)) = lock(&self.sockets).hand_over() {
            command.arg("--sockets-on-stdin").stdin(Stdio::from(input));
        }
        match self.options.database_variable() {
            Some(database) => command.env(DATABASE_VARIABLE, database),
            None => command.env_remove(DATABASE_VARIABLE),
        };
        match self.options.smtp_variable() {
            Some(smtp) => command.env(SMTP_VARIABLE, smtp),
            None => command.env_remove(SMTP_VARIABLE),
        };
        Ok(command)
    }

    async fn end(&self, child: &Child) -> std::io::Result<()> {
        child.signal(Signal::SIGTERM);
        tokio::select! {
            status = child.wait() => return status.map(drop),
            () = tokio::time::sleep(END_PATIENCE) => self.log.warn(&format!("{} does not end; ending it", self.speaker.word())),
            () = self.at_once.cancelled() => {}
        }
        child.signal(Signal::SIGKILL);
        child.wait().await.map(drop)
    }
}

fn words(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => {
            Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string())
        }
        (None, None) => status.to_string(),
    }
}

fn span(pause: Duration) -> String {
    if pause < Duration::from_secs(1) {
        format!("{} ms", pause.as_millis())
    } else {
        format!("{} s", pause.as_secs())
    }
}
