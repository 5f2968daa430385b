//! Starts `control`, `node` and `deadman`, starts them again when they die, reads what they say,
//! and stops them in order: who decides first, then who carries, last who watches that one.

use std::process::{ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use super::executable::this_program;
use super::log::{Log, Speaker};
use super::options::{DATABASE_VARIABLE, PlatformOptions, SMTP_VARIABLE};
use super::sockets::Sockets;
use crate::failure::{Failure, Result};

/// First and longest pause before a part is started again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A part that ran so long was healthy: the next pause is the first one again.
const HEALTHY: Duration = Duration::from_secs(30);
/// How long a part may take to end; a node lets requests in flight end.
const END_PATIENCE: Duration = Duration::from_secs(15);
/// Longest line that is passed on, in bytes.
const LINE_BYTES: u64 = 16 << 10;

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

/// Runs all parts until they are stopped.
pub(crate) async fn watch_over(options: &PlatformOptions, log: &Log, stops: &Stops) -> Result<()> {
    let control = Part {
        options,
        log,
        speaker: Speaker::Control,
        sockets: Mutex::default(),
        stop: stops.control.clone(),
        at_once: stops.at_once.clone(),
    };
    let node = Part {
        options,
        log,
        speaker: Speaker::Node,
        sockets: Mutex::new(Sockets::listen(options.http, options.https())),
        stop: stops.node.clone(),
        at_once: stops.at_once.clone(),
    };
    let deadman = Part {
        options,
        log,
        speaker: Speaker::Deadman,
        sockets: Mutex::default(),
        stop: CancellationToken::new(),
        at_once: stops.at_once.clone(),
    };
    let control = async {
        let result = control.watch().await;
        // Also where control could not even be started.
        stops.control.cancel();
        stops.node.cancel();
        result
    };
    let node = async {
        let result = node.watch().await;
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
}

struct Part<'a> {
    options: &'a PlatformOptions,
    log: &'a Log,
    speaker: Speaker,
    /// The part's listening sockets, handed over by its standard input.
    sockets: Mutex<Sockets>,
    stop: CancellationToken,
    at_once: CancellationToken,
}

impl Part<'_> {
    async fn watch(&self) -> Result<()> {
        let mut pause = FIRST_PAUSE;
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            let Some(status) = self.run_once().await? else {
                return Ok(());
            };
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
        let mut child = self.spawn()?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw);
        let output = (child.stdout.take(), child.stderr.take());
        let reading = async {
            tokio::join!(self.read(output.0), self.read(output.1));
        };
        let ending = async {
            tokio::select! {
                status = child.wait() => return status.map(Some),
                () = self.stop.cancelled() => {}
            }
            // Nobody is to wait for a node that does not come back.
            *self.sockets.lock().unwrap_or_else(PoisonError::into_inner) = Sockets::default();
            self.end(&mut child, pid).await.map(|()| None)
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
        status.map_err(|error| {
            Failure::failed(format!("cannot watch over {}", self.speaker.word())).detail(error.to_string())
        })
    }

    fn spawn(&self) -> Result<Child> {
        let start = || -> std::io::Result<Command> {
            let mut command = Command::new(this_program()?);
            command.arg(self.speaker.word());
            Ok(command)
        };
        let cannot = |error: &std::io::Error| {
            Failure::failed(format!("cannot start {}", self.speaker.word())).detail(error.to_string())
        };
        let mut command = start().map_err(|error| cannot(&error))?;
        command
            .args(self.options.arguments()?)
            .args(["--supervisor", &std::process::id().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the supervisor, which stops its parts in order.
            .process_group(0)
            .kill_on_drop(true);
        let sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        // If they cannot be handed over now, the node says that it cannot listen, and is started again.
        if let Ok(Some(input)) = sockets.hand_over() {
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
        command.spawn().map_err(|error| cannot(&error))
    }

    async fn end(&self, child: &mut Child, pid: Option<Pid>) -> std::io::Result<()> {
        if let Some(pid) = pid {
            let _ = kill(pid, Signal::SIGTERM);
        }
        tokio::select! {
            status = child.wait() => return status.map(drop),
            () = tokio::time::sleep(END_PATIENCE) => self.log.warn(&format!("{} does not end; ending it", self.speaker.word())),
            () = self.at_once.cancelled() => {}
        }
        child.kill().await
    }

    async fn read(&self, output: Option<impl AsyncRead + Unpin>) {
        let Some(output) = output else { return };
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        loop {
            line.clear();
            match (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let text = String::from_utf8_lossy(&line);
                    let text = text.trim_end();
                    if !text.is_empty() {
                        self.log.forward(self.speaker, text);
                    }
                }
            }
        }
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
