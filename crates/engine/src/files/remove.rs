//! Removing a folder with all that is in it, however deep it is.

use std::os::fd::{AsFd as _, BorrowedFd};

use rustix::fs::{self, AtFlags};
use rustix::io::Errno;

use super::{
    Existing, FOLDER, FileError, FileKind, Tree, TreePath, facts_in, hidden_name, names_in, open_below, rename,
};

/// So often a folder is gone through in which somebody makes files meanwhile.
const ROUNDS: usize = 1000;
/// Most folders that are emptied in one go.
const FOLDERS: usize = 10_000_000;

impl Tree {
    /// Removes something with all that is in it. Links in it are removed, not what they lead to.
    pub fn remove(&self, path: &TreePath) -> Result<(), FileError> {
        let (folder, name) = self.parent(path)?;
        let (_, facts) = facts_in(folder.as_fd(), &TreePath::root(), name).map_err(|error| match error {
            FileError::NotFound(_) => FileError::NotFound(path.shown()),
            error => error,
        })?;
        if facts.kind != FileKind::Folder {
            return fs::unlinkat(&folder, name, AtFlags::empty()).map_err(|errno| FileError::from_kernel(path, errno));
        }
        for _ in 0..ROUNDS {
            // What lies deeper is brought up to the top, so that two descriptors are enough for any depth.
            match open_below(folder.as_fd(), name, FOLDER) {
                Ok(top) => {
                    for inside in names_in(&top, path)? {
                        clear(top.as_fd(), path, &inside?)?;
                    }
                }
                Err(Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(FileError::from_kernel(path, errno)),
            }
            match fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(FileError::from_kernel(path, errno)),
            }
        }
        Err(FileError::Refused(format!(
            "{} cannot be emptied: somebody writes into it all the time",
            path.shown()
        )))
    }
}

/// Removes one entry of the folder that is to go, with all that is in it; folders in it come up beside
/// it first.
fn clear(top: BorrowedFd<'_>, path: &TreePath, name: &[u8]) -> Result<(), FileError> {
    let failed = |errno| FileError::from_kernel(path, errno);
    let mut waiting = vec![name.to_vec()];
    for _ in 0..FOLDERS {
        let Some(name) = waiting.pop() else { return Ok(()) };
        if take(top, &name).map_err(failed)? {
            continue;
        }
        let folder = match open_below(top, &name, FOLDER) {
            Ok(folder) => folder,
            // Swapped for something else: the next round sees to it.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => continue,
            Err(errno) => return Err(failed(errno)),
        };
        for inside in names_in(&folder, path)? {
            let inside = inside?;
            if take(folder.as_fd(), &inside).map_err(failed)? {
                continue;
            }
            let above = hidden_name("gone");
            match rename(folder.as_fd(), &inside, top, &above, Existing::Keep) {
                Ok(()) => waiting.push(above),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
        take(top, &name).map_err(failed)?;
    }
    Ok(())
}

/// Removes a file or an empty folder. Says whether it is gone; a folder that is not empty is not.
fn take(folder: BorrowedFd<'_>, name: &[u8]) -> Result<bool, Errno> {
    match fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    match fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
        Err(errno) => Err(errno),
    }
}
