//! A process that `weir up` watches over: one that it started, or one that the `weir up` before it
//! started, which was the same process with an older program.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{PidfdFlags, pidfd_open};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe::Receiver;

use super::log::{Log, Speaker};

/// Longest line that is passed on, in bytes.
const LINE_BYTES: u64 = 16 << 10;

/// It is not ended when it is let go: it finds out by itself that nobody watches over it.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    /// Readable once it has ended.
    ended: AsyncFd<OwnedFd>,
    /// Its standard output and standard error.
    output: [OwnedFd; 2],
    /// Once it was waited for, its number may be another's.
    status: Mutex<Option<ExitStatus>>,
}

impl Child {
    /// Starts it; its output has to be piped.
    pub(super) fn spawn(command: &mut Command) -> io::Result<Arc<Self>> {
        let mut child = command.spawn()?;
        let (Some(out), Some(err)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("its output is not piped"));
        };
        let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
        Self::adopt(pid, [out.into(), err.into()])
    }

    /// Watches over one that was started before.
    #[expect(
        deprecated,
        reason = "sound for an owned descriptor; what replaces it may only be called as unsafe"
    )]
    pub(super) fn adopt(pid: i32, output: [OwnedFd; 2]) -> io::Result<Arc<Self>> {
        let number = rustix::process::Pid::from_raw(pid).ok_or_else(|| io::Error::other("that is no process id"))?;
        let ended = AsyncFd::with_interest(pidfd_open(number, PidfdFlags::empty())?, tokio::io::Interest::READABLE)?;
        Ok(Arc::new(Self {
            pid: Pid::from_raw(pid),
            ended,
            output,
            status: Mutex::new(None),
        }))
    }

    /// Its process id.
    pub(super) fn pid(&self) -> i32 {
        self.pid.as_raw()
    }

    /// Its output, to be handed on.
    pub(super) fn output(&self) -> &[OwnedFd; 2] {
        &self.output
    }

    /// Waits until it has ended.
    pub(super) async fn wait(&self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            self.ended.readable().await?.retain_ready();
        }
    }

    fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let mut known = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::from_raw(code << 8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::from_raw(signal as i32)),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(error) => return Err(error.into()),
            };
        }
        Ok(*known)
    }

    /// Sends it a signal, unless it has ended.
    pub(super) fn signal(&self, signal: Signal) {
        let known = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            let _ = kill(self.pid, signal);
        }
    }

    /// Passes on what it says, until it says no more; `also` gets each line as well.
    pub(super) async fn read(&self, speaker: Speaker, log: &Log, also: impl Fn(&str)) {
        let [out, err] = &self.output;
        tokio::join!(pass_on(out, speaker, log, &also), pass_on(err, speaker, log, &also));
    }
}

async fn pass_on(output: &OwnedFd, speaker: Speaker, log: &Log, also: &impl Fn(&str)) {
    let Ok(Ok(receiver)) = output.try_clone().map(Receiver::from_owned_fd) else {
        return;
    };
    let mut reader = BufReader::new(receiver);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {
                let text = String::from_utf8_lossy(&line);
                let text = text.trim_end();
                if !text.is_empty() {
                    log.forward(speaker, text);
                    also(text);
                }
            }
        }
    }
}
