//! Connections to instances: opened, kept while idle, used again.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::body::RequestBody;
use crate::clock::Clock;
use crate::counters::count;
use crate::instance::{Instance, Phase};
use crate::node::Worker;

/// The handle by which requests go into a connection.
pub(crate) type Sender = http1::SendRequest<RequestBody>;

/// Largest head of an answer, in bytes.
const ANSWER_HEAD_BYTES: usize = 256 * 1024;

/// A connection that waits for its next request.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    sender: Sender,
    since: Instant,
}

/// Where a connection goes when its answer has ended.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    worker: usize,
    clock: Clock,
    limit: usize,
}

impl Kept {
    pub(crate) fn new(worker: &Worker) -> Self {
        Self {
            worker: worker.index,
            clock: worker.shared.clock,
            limit: worker.shared.limits.idle_connections,
        }
    }

    /// Microseconds of the node's clock.
    pub(crate) fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Keeps the connection for the next request, if the instance gets any.
    pub(crate) fn keep(&self, instance: &Instance, sender: Sender) {
        if instance.phase() == Phase::Active && !sender.is_closed() {
            let connection = IdleConnection {
                sender,
                since: Instant::now(),
            };
            instance.keep_idle(self.worker, connection, self.limit);
        }
    }
}

/// Whether a request may be sent again when its connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeatable {
    /// It has no body and, executed twice, does no harm.
    Yes,
    /// It could have been executed already.
    No,
}

/// A connection for one request.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: Sender,
    /// Whether it was used before, so that the instance may just have closed it.
    pub(crate) reused: bool,
}

/// A connection to the instance: one that was idle for at most `longest_idle`, else a new one.
pub(crate) async fn connection(
    worker: &Worker,
    instance: &Arc<Instance>,
    longest_idle: Duration,
) -> io::Result<Connection> {
    if let Some(sender) = take_idle(worker, instance, longest_idle) {
        count(&worker.counters.upstream_reuses);
        return Ok(Connection { sender, reused: true });
    }
    match open(worker, instance).await {
        Ok(sender) => {
            instance.clear_suspicion();
            count(&worker.counters.upstream_connects);
            Ok(Connection { sender, reused: false })
        }
        Err(error) => {
            let pause = Duration::from_secs(1).min(worker.shared.limits.unreachable_pause * 4);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(1_000);
            instance.count_connect_failure(worker.shared.clock.now_ms() + pause_ms);
            Err(error)
        }
    }
}

/// The idle connection that was used last, if it is ready and young enough.
fn take_idle(worker: &Worker, instance: &Instance, longest_idle: Duration) -> Option<Sender> {
    instance.with_idle(worker.index, |idle| {
        let mut position = idle.len();
        while position > 0 {
            position -= 1;
            let candidate = &idle[position];
            if candidate.sender.is_closed() {
                idle.remove(position);
                continue;
            }
            if candidate.since.elapsed() > longest_idle {
                // Below lie older ones.
                return None;
            }
            // One whose answer has just ended may need a moment; it stays for the next.
            if candidate.sender.is_ready() {
                return Some(idle.remove(position).sender);
            }
        }
        None
    })?
}

/// Opens a connection; its task ends with it, or when the instance is cut.
async fn open(worker: &Worker, instance: &Arc<Instance>) -> io::Result<Sender> {
    let connect = TcpStream::connect(instance.backend.address);
    let stream = tokio::select! {
        biased;
        () = instance.cut.cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
        connected = tokio::time::timeout(worker.shared.limits.connect_timeout, connect) => {
            connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??
        }
    };
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(ANSWER_HEAD_BYTES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(io::Error::other)?;
    let cut = instance.cut.clone();
    let address = instance.backend.address;
    tokio::spawn(async move {
        tokio::select! {
            biased;
            () = cut.cancelled() => tracing::debug!(%address, "cut a connection to an instance"),
            ended = connection.with_upgrades() => {
                if let Err(error) = ended {
                    tracing::debug!(%address, %error, "a connection to an instance broke");
                }
            }
        }
    });
    Ok(sender)
}

/// Closes the idle connections that nobody has used for long.
pub(crate) fn close_idle(worker: &Worker) {
    let table = worker.shared.table.load_full();
    for instance in &table.instances {
        instance.with_idle(worker.index, |idle| {
            idle.retain(|connection| {
                !connection.sender.is_closed() && connection.since.elapsed() < worker.shared.limits.idle_timeout
            });
        });
    }
}
