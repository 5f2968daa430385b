//! Connections to instances: opened, kept while idle, used again; and what goes over them.
//!
//! HTTP/1.1 is spoken by ourselves here, because a client in general has a task of its own for each
//! connection, and two queues between it and whoever asks: a sixth of what a request costs. This one
//! reads and writes within the task that asks. It reads strictly: an answer that could be read in
//! two ways is none.

mod chunks;
mod exchange;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
mod sending;
#[cfg(test)]
mod tests;
mod wire;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::counters::count;
use crate::instance::{Instance, Phase};
use crate::node::Worker;

pub(crate) use self::exchange::{AnswerStream, Broken, Failed, send};
pub(crate) use self::wire::Wire;

/// Why what an instance sends is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the instance sends is no answer: {0}")]
pub(crate) struct BadAnswer(&'static str);

/// A connection that waits for its next request.
#[derive(Debug)]
pub(crate) struct IdleConnection {
    wire: Wire,
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
    pub(crate) fn keep(&self, instance: &Instance, wire: Wire) {
        if instance.phase() == Phase::Active && wire.is_silent() {
            let connection = IdleConnection {
                wire,
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
    pub(crate) wire: Wire,
    /// Whether it was used before, so that the instance may just have closed it.
    pub(crate) reused: bool,
}

/// A connection to the instance: one that was idle for at most `longest_idle`, else a new one.
pub(crate) async fn connection(
    worker: &Worker,
    instance: &Arc<Instance>,
    longest_idle: Duration,
) -> io::Result<Connection> {
    if let Some(wire) = take_idle(worker, instance, longest_idle) {
        count(&worker.counters.upstream_reuses);
        return Ok(Connection { wire, reused: true });
    }
    match open(worker, instance).await {
        Ok(wire) => {
            instance.clear_suspicion();
            count(&worker.counters.upstream_connects);
            Ok(Connection { wire, reused: false })
        }
        Err(error) => {
            let pause = Duration::from_secs(1).min(worker.shared.limits.unreachable_pause * 4);
            let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(1_000);
            instance.count_connect_failure(worker.shared.clock.now_ms() + pause_ms);
            Err(error)
        }
    }
}

/// The idle connection that was used last, if it is young enough. Those that the instance has closed,
/// or on which it has said what nobody asked for, are closed.
fn take_idle(worker: &Worker, instance: &Instance, longest_idle: Duration) -> Option<Wire> {
    instance.with_idle(worker.index, |idle| {
        loop {
            // Below lie older ones.
            let youngest = idle.pop_if(|youngest| youngest.since.elapsed() <= longest_idle)?;
            if youngest.wire.is_silent() {
                return Some(youngest.wire);
            }
        }
    })?
}

/// Opens a connection; it breaks when the instance is cut.
async fn open(worker: &Worker, instance: &Arc<Instance>) -> io::Result<Wire> {
    let connect = TcpStream::connect(instance.backend.address);
    let stream = tokio::select! {
        biased;
        () = instance.cut.cancelled() => return Err(io::ErrorKind::ConnectionAborted.into()),
        connected = tokio::time::timeout(worker.shared.limits.connect_timeout, connect) => {
            connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??
        }
    };
    stream.set_nodelay(true)?;
    Ok(Wire::new(stream, instance.cut.clone()))
}

/// Closes the idle connections that nobody has used for long.
pub(crate) fn close_idle(worker: &Worker) {
    let table = worker.shared.table.load_full();
    for instance in table.instances.values() {
        instance.with_idle(worker.index, |idle| {
            idle.retain(|connection| {
                connection.wire.is_silent() && connection.since.elapsed() < worker.shared.limits.idle_timeout
            });
        });
    }
}
