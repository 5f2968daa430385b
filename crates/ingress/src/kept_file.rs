//! What control gave last, on disk, so that a node starts and serves without control. One of these
//! files holds keys, so nobody else may read any of them.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

/// For the owner only.
const MODE: u32 = 0o600;

/// Why the file gives nothing.
#[derive(Debug, thiserror::Error)]
enum KeptFileError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is damaged.
    #[error("{} is damaged ({what}); control will send anew what was in it", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where.
        what: String,
    },
}

/// What is in the file, if there is one; where it cannot be used, the log says why.
pub(crate) fn read_or_warn<T: DeserializeOwned>(path: &Path) -> Option<T> {
    read(path).unwrap_or_else(|error| {
        tracing::warn!(%error, cause = ?std::error::Error::source(&error), "starting without what control gave last");
        None
    })
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, KeptFileError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(KeptFileError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| KeptFileError::Damaged {
            path: path.to_owned(),
            what: unread(&error),
        })
}

/// Where a text cannot be understood. The reader's own words could quote a key.
pub(crate) fn unread(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("{:?} at line {line}, column {column}", error.classify())
}

/// Replaces the file in one step: whoever reads it sees the old one or the new one, whole, even
/// after a loss of power.
pub(crate) fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    write_with(path, |file| file.write_all(text)).map(|_file| ())
}

/// The same with what `fill` writes. Gives the file, which can be read and written on.
pub(crate) fn write_with(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut temporary = path.as_os_str().to_owned();
    // Two nodes may keep what they have, one beside the other, while one takes the other's place.
    temporary.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(temporary);
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(MODE)
        .open(&temporary)?;
    // It may be left from before, open to others.
    file.set_permissions(fs::Permissions::from_mode(MODE))?;
    let filled = fill(&mut file).and_then(|()| file.sync_all());
    if let Err(error) = filled {
        // A half-written one helps nobody, least of all on a full disk.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use weir_model::route::RouteSnapshot;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_its_owner_only_and_damage_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/snapshot.json");
        assert!(read::<RouteSnapshot>(&path).unwrap().is_none());
        let snapshot = RouteSnapshot {
            generation: 7,
            ..RouteSnapshot::default()
        };
        fs::create_dir(folder.path().join("run")).unwrap();
        fs::write(folder.path().join("run/snapshot.json.new"), "left behind, open to all").unwrap();
        write(&path, &serde_json::to_vec(&snapshot).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(snapshot));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        write(&path, b"{").unwrap();
        assert!(matches!(
            read::<RouteSnapshot>(&path),
            Err(KeptFileError::Damaged { .. })
        ));
    }
}
