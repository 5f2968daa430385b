//! The last snapshot on disk, so that a node starts and serves without control.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use weir_model::route::RouteSnapshot;

/// Why the file gives no snapshot.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotFileError {
    /// It cannot be read.
    #[error("cannot read the last routes from {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is damaged.
    #[error("the last routes in {} are damaged; control will send new ones", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What the reader says.
        source: serde_json::Error,
    },
}

/// The snapshot in the file; none if there is no file.
pub(crate) fn read(path: &Path) -> Result<Option<RouteSnapshot>, SnapshotFileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SnapshotFileError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|source| SnapshotFileError::Damaged {
            path: path.to_owned(),
            source,
        })
}

/// Replaces the file in one step: whoever reads it sees the old one or the new one, whole, even
/// after a loss of power.
pub(crate) fn write(path: &Path, snapshot: &[u8]) -> io::Result<()> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = File::create(&temporary)?;
    file.write_all(snapshot)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/snapshot.json");
        assert!(read(&path).unwrap().is_none());
        let snapshot = RouteSnapshot {
            generation: 7,
            ..RouteSnapshot::default()
        };
        write(&path, &serde_json::to_vec(&snapshot).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(snapshot));
        write(&path, b"{").unwrap();
        assert!(matches!(read(&path), Err(SnapshotFileError::Damaged { .. })));
    }
}
