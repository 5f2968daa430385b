//! What the parts tell each other through the data folder.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often it is looked whether control has written the name.
const LOOK: Duration = Duration::from_millis(100);

/// Which Weir this is, once control has said so.
pub(crate) async fn name(data: &Path) -> String {
    loop {
        let text = std::fs::read_to_string(data.join("installation")).unwrap_or_default();
        if !text.trim().is_empty() {
            return text.trim().to_owned();
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Where the deadman listens.
pub(crate) fn deadman_socket(data: &Path) -> PathBuf {
    data.join("run/deadman.sock")
}

/// What the deadman has frozen and nobody has woken yet.
pub(crate) fn frozen_file(data: &Path) -> PathBuf {
    data.join("run/frozen.json")
}
