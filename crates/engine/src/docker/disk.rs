//! How much of the disk a folder takes.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The kernel counts disk in blocks of this size, whatever the file system does.
const BLOCK_BYTES: u64 = 512;

/// Bytes on disk of everything in a folder, the folder included; a file of several names counts
/// once. Never leaves its file system and follows no links. What vanishes meanwhile is nothing.
pub(super) fn bytes_in(folder: &Path) -> io::Result<u64> {
    let top = std::fs::symlink_metadata(folder)?;
    let mut bytes = top.blocks() * BLOCK_BYTES;
    let mut seen = HashSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            if facts.dev() != top.dev() || (facts.nlink() > 1 && !facts.is_dir() && !seen.insert(facts.ino())) {
                continue;
            }
            bytes += facts.blocks() * BLOCK_BYTES;
            if facts.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_count_once_and_links_are_not_followed() {
        let folder = std::env::temp_dir().join(format!("weir-disk-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("inner/file"), vec![7; 100_000]).unwrap();
        let before = bytes_in(&folder).unwrap();
        assert!((100_000..200_000).contains(&before), "{before}");
        std::fs::hard_link(folder.join("inner/file"), folder.join("again")).unwrap();
        std::os::unix::fs::symlink("/", folder.join("outside")).unwrap();
        let after = bytes_in(&folder).unwrap();
        assert!(after < before + 50_000, "{before} {after}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
