//! What meters have left that were killed and that nobody started again: the ledger holds money for
//! them until it is told what they spent.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use weir_ledger::protocol::MeterName;

use crate::client::{Meter, MeterConfig};
use crate::link::LedgerLink;

/// Tells the ledger of them, each once for each time that it was left.
#[derive(Debug, Default)]
pub struct Left {
    /// When the log of each was written last before all of it was told.
    settled: BTreeMap<PathBuf, SystemTime>,
}

impl Left {
    /// Looks into these folders of meters once. One that a process uses, and one without news since
    /// it was settled, is left alone. The ledger is talked to for so long about each.
    ///
    /// The logs keep the time at which they were written last: by it a node that is started again
    /// finds the leases that it had.
    pub async fn settle(
        &mut self,
        meters: &[(PathBuf, MeterName)],
        link: &Arc<dyn LedgerLink>,
        longest: Duration,
        stop: &CancellationToken,
    ) {
        for (folder, name) in meters {
            let log = folder.join("log");
            let Some(written) = written(&log) else { continue };
            if self.settled.get(folder) == Some(&written) {
                continue;
            }
            let config = MeterConfig {
                folder: folder.clone(),
                name: name.clone(),
                shards: 1,
            };
            let Ok(meter) = Meter::open(&config, Arc::clone(link)) else {
                continue;
            };
            let is_settled = meter.settle(longest, stop).await;
            if let Err(error) = File::options()
                .write(true)
                .open(&log)
                .and_then(|log| log.set_modified(written))
            {
                tracing::debug!(%error, folder = %folder.display(), "the time of a log of spending cannot be kept");
            } else if is_settled {
                self.settled.insert(folder.clone(), written);
                tracing::info!(meter = name, "the ledger knows what an earlier node has spent");
            }
            if stop.is_cancelled() {
                return;
            }
        }
    }
}

fn written(log: &Path) -> Option<SystemTime> {
    std::fs::metadata(log).ok()?.modified().ok()
}
