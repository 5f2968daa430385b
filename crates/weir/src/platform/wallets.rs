//! The folders in which nodes keep the logs of their wallets. One node needs one; while a newer
//! node takes the place of an older one, both spend, each from leases of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;
use weir_meter::{LedgerLink, Left, LogError, Meter, MeterConfig, SocketLink};

use crate::client::chain;
use crate::failure::{Failure, Result};

/// So many nodes at most can live at once.
const MOST: usize = 8;
/// If all folders are in use for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(50);
/// How long the ledger is talked to about what an earlier node left.
const SETTLE: Duration = Duration::from_secs(5);
/// Pause between two looks for what nodes have left: one that drains may die at any time.
const LEFT_PAUSE: Duration = Duration::from_secs(60);

/// All folders, and the meter that belongs to each.
fn all(data: &Path) -> Vec<(PathBuf, String)> {
    let numbered = (2..=MOST).map(|number| {
        (
            data.join(format!("wallet-node-{number}")),
            format!("node:local-{number}"),
        )
    });
    [(data.join("wallet-node"), "node:local".to_owned())]
        .into_iter()
        .chain(numbered)
        .collect()
}

/// The one that was written last comes first: a node that is started again goes on with the leases
/// that the one before it had.
fn newest_first(data: &Path) -> Vec<(PathBuf, String)> {
    let written = |folder: &Path| -> Option<SystemTime> { std::fs::metadata(folder.join("log")).ok()?.modified().ok() };
    let mut all = all(data);
    all.sort_by_key(|(folder, _)| std::cmp::Reverse(written(folder)));
    all
}

/// The meter of the first folder that no other process uses; `None` if told to stop.
pub(crate) async fn open(
    data: &Path,
    shards: usize,
    link: &Arc<SocketLink>,
    stop: &CancellationToken,
) -> Result<Option<Meter>> {
    let began = tokio::time::Instant::now();
    loop {
        for (folder, name) in newest_first(data) {
            let config = MeterConfig { folder, name, shards };
            match Meter::open(&config, Arc::clone(link) as Arc<dyn LedgerLink>) {
                Ok(meter) => return Ok(Some(meter)),
                Err(LogError::InUse(_)) if began.elapsed() < PATIENCE => {}
                Err(error) => return Err(Failure::failed(chain(&error))),
            }
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Tells the ledger what is over of the leases that nodes have left which nobody started again, so
/// that no money stays held for them; now, and again and again.
pub(crate) async fn settle_left(data: PathBuf, link: Arc<SocketLink>, stop: CancellationToken) {
    let (mut left, link) = (Left::default(), link as Arc<dyn LedgerLink>);
    let meters = all(&data);
    while !stop.is_cancelled() {
        left.settle(&meters, &link, SETTLE, &stop).await;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(LEFT_PAUSE) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_node_beside_another_has_a_folder_of_its_own_and_the_next_one_goes_on_with_the_newest() {
        let folder = tempfile::tempdir().unwrap();
        let (data, stop) = (folder.path(), CancellationToken::new());
        let link = Arc::new(SocketLink::new(data.join("nobody.sock")));
        let first = open(data, 1, &link, &stop).await.unwrap().unwrap();
        let second = open(data, 1, &link, &stop).await.unwrap().unwrap();
        assert!(data.join("wallet-node/lock").exists() && data.join("wallet-node-2/lock").exists());
        assert!(!data.join("wallet-node-3").exists());
        drop((first, second));
        std::fs::write(data.join("wallet-node/log"), "").unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        std::fs::write(data.join("wallet-node-2/log"), "").unwrap();
        assert_eq!(newest_first(data)[0].1, "node:local-2");
        assert_eq!(newest_first(data)[1].1, "node:local");
    }
}
