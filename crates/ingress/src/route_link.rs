//! From what control says of routes, or what is kept of it on disk, to what the node serves by.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use weir_model::route::RouteSnapshot;
use weir_model::route_feed::{Batch, Head, Line, Log, LogError, Replica, batch_of, read_batch, read_log};

use crate::kept_file;
use crate::kept_routes::{KeptRoutes, Pending};
use crate::node::Shared;

/// Between two attempts to write what could not be written.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// What the node has of control's routes.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    replica: Mutex<Replica>,
    /// Waits for the disk.
    pending: Mutex<Option<Pending>>,
    to_keep: Notify,
    kept: Mutex<Option<KeptRoutes>>,
    /// Whether a wrong digest was told of.
    told: AtomicBool,
}

impl Routes {
    /// What control is asked: everything after this.
    pub(crate) fn question(&self) -> String {
        let replica = locked(&self.replica);
        format!(
            "/node/snapshot?after={}&epoch={}",
            replica.generation(),
            replica.epoch()
        )
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves by what was kept on disk, if there is anything; where it cannot be used, the log says why.
pub(crate) fn start(shared: &Shared, path: &Path) {
    let kept = match read_kept(shared, path) {
        Ok(kept) => kept,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "starting without the routes that control gave last: they are sent anew as soon as control answers");
            None
        }
    };
    *locked(&shared.routes.kept) = Some(kept.unwrap_or_else(|| KeptRoutes::new(path)));
}

fn read_kept(shared: &Shared, path: &Path) -> io::Result<Option<KeptRoutes>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let log = match read_log(&text) {
        Ok(log) => log,
        // As an earlier version wrote it.
        Err(LogError::NoHead) => {
            take(shared, text.into()).map_err(io::Error::other)?;
            return Ok(None);
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    if log.end < text.len() {
        tracing::info!(path = %path.display(), bytes = text.len() - log.end, "left out the end of the kept routes, which was not written to its end");
    }
    apply(shared, &whole(&log), &text).map_err(io::Error::other)?;
    Ok(Some(KeptRoutes::read(path, file, &log)))
}

/// A log as one batch.
fn whole(log: &Log) -> Batch {
    let lines = log.lines.iter();
    Batch {
        head: Head {
            after: None,
            ..log.head.clone()
        },
        lines: lines
            .map(|(environment, range)| (*environment, range.clone(), true))
            .collect(),
    }
}

/// Serves by what control says, and has it kept. Gives the generation.
///
/// # Errors
/// It cannot be understood, or does not follow on what is there; what was served is served still.
pub(crate) fn take(shared: &Shared, text: Bytes) -> Result<u64, String> {
    let (batch, text) = match read_batch(&text) {
        Ok(batch) => (batch, text),
        // As an earlier control says it.
        Err(LogError::NoHead) => {
            let snapshot: RouteSnapshot = serde_json::from_slice(&text).map_err(|error| kept_file::unread(&error))?;
            let text: Bytes = batch_of(&snapshot).map_err(|error| error.to_string())?.into();
            drop(snapshot);
            (read_batch(&text).map_err(|error| error.to_string())?, text)
        }
        Err(error) => return Err(error.to_string()),
    };
    apply(shared, &batch, &text)?;
    // One that makes room for another writes no more: the other one does.
    if !shared.succession.is_draining() {
        let mut pending = locked(&shared.routes.pending);
        *pending = Some(Pending::new(pending.take(), &batch, &text));
        drop(pending);
        shared.routes.to_keep.notify_one();
    }
    Ok(batch.head.generation)
}

fn apply(shared: &Shared, batch: &Batch, text: &[u8]) -> Result<(), String> {
    let mut replica = locked(&shared.routes.replica);
    let taken = match replica.take(batch, text) {
        Ok(taken) => taken,
        Err(refusal) => {
            replica.distrust();
            return Err(refusal.to_string());
        }
    };
    for environment in &taken.gone {
        shared.registry().change(*environment, None);
    }
    let mut misread = None;
    for number in &taken.changed {
        let (environment, range, _) = &batch.lines[*number];
        match serde_json::from_slice::<Line>(&text[range.clone()]) {
            Ok(line) => shared.registry().change(*environment, line.part.as_ref()),
            Err(error) => {
                // It is served as before, and asked for again.
                replica.misread(*environment);
                misread = Some(format!("routes of {environment}: {}", kept_file::unread(&error)));
            }
        }
    }
    shared.serve_by(&batch.head);
    if let Some(misread) = misread {
        return Err(misread);
    }
    if !taken.is_right {
        // After everything was told it cannot be made better by asking again.
        if batch.head.after.is_some() {
            replica.distrust();
        }
        if !shared.routes.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                generation = batch.head.generation,
                "the routes of this node are not those of control; all of them are asked for anew"
            );
        }
    }
    Ok(())
}

fn put_back(routes: &Routes, pending: Pending) {
    let mut waiting = locked(&routes.pending);
    *waiting = Some(pending.before(waiting.take()));
}

/// Writes what is pending to disk, beside the poll, which a slow disk must not delay.
pub(crate) async fn keep(shared: &Arc<Shared>) {
    let mut failed = false;
    loop {
        shared.routes.to_keep.notified().await;
        let Some(pending) = locked(&shared.routes.pending).take() else {
            continue;
        };
        let desk = Arc::clone(shared);
        let written = tokio::task::spawn_blocking(move || {
            let mut kept = locked(&desk.routes.kept);
            let result = kept.as_mut().map_or(Ok(()), |kept| kept.keep(&pending));
            result.err().map(|error| (error, pending))
        });
        match written.await {
            Ok(Some((error, pending))) => {
                if !failed {
                    tracing::warn!(%error, "cannot keep the routes on disk; a restart without control would not know them. Trying again until it works");
                }
                failed = true;
                put_back(&shared.routes, pending);
                shared.routes.to_keep.notify_one();
                tokio::time::sleep(DISK_PAUSE).await;
            }
            _ => failed = false,
        }
    }
}
