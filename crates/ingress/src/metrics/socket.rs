//! Where control asks for what was counted: a Unix socket for nobody else. Whoever connects gets
//! one document in JSON, and the end.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;
use weir_model::metrics::{NodeMetrics, NodeTotals};

use crate::counters::CounterTotals;
use crate::listen::Crew;
use crate::node::Shared;

/// Longest time that somebody takes to read it.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// Pause after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers until the node stops. Without its socket the node serves all the same.
pub(crate) async fn serve(shared: Arc<Shared>, crew: Arc<Crew>, path: PathBuf) {
    let listener = match listen(&path) {
        Ok(listener) => listener,
        Err(error) => {
            let path = path.display();
            tracing::warn!(%path, %error, "cannot listen there; there are no metrics of the ingress until the node is started again");
            return;
        }
    };
    loop {
        let accepted = tokio::select! {
            () = crew.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            // One after the other: control is the only one who asks.
            Ok((stream, _)) => match timeout(WRITE_TIMEOUT, answer(&shared, &crew, stream)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "metrics were not read to their end"),
                Err(_) => tracing::debug!("metrics were not read in time"),
            },
            Err(error) => {
                tracing::debug!(%error, "cannot accept a question for metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Takes the place of a node that was there before. Nobody can connect before the socket has its
/// permissions.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&fresh)?;
    fs::set_permissions(&fresh, Permissions::from_mode(0o600))?;
    fs::rename(&fresh, path)?;
    Ok(listener)
}

async fn answer(shared: &Arc<Shared>, crew: &Arc<Crew>, mut stream: UnixStream) -> io::Result<()> {
    let (shared, crew) = (Arc::clone(shared), Arc::clone(crew));
    // With very many routes it takes a while, during which reports go on.
    let text = tokio::task::spawn_blocking(move || serde_json::to_vec(&read(&shared, &crew))).await?;
    stream.write_all(&text?).await?;
    stream.shutdown().await
}

/// What was counted until now.
fn read(shared: &Shared, crew: &Crew) -> NodeMetrics {
    let mut sums = CounterTotals::default();
    let mut connections_open = 0;
    for worker in &crew.members {
        worker.counters.add_to(&mut sums);
        let open = worker.open.load(std::sync::atomic::Ordering::Relaxed);
        connections_open += u64::try_from(open).unwrap_or(u64::MAX);
    }
    let totals = NodeTotals {
        connections_accepted: sums.connections_accepted,
        connections_open,
        handshakes: sums.handshakes,
        handshakes_failed: sums.handshakes_failed,
        upstream_connects: sums.upstream_connects,
        upstream_reuses: sums.upstream_reuses,
        retries: sums.retries,
        held: sums.held,
        queued: sums.queued,
        upgrades: sums.upgrades,
        waiting: shared.waiting_now(),
        access_lines_dropped: shared.access_log.dropped(),
    };
    let registry = shared.registry();
    NodeMetrics {
        incarnation: shared.incarnation,
        totals,
        routes: registry.series().read(),
        waiting: registry.waiting(),
    }
}
