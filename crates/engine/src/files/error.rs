//! Why something with files did not work, as far as the one who asked can act on it.

use std::io;

use rustix::io::Errno;

use super::TreePath;

/// Why something with files did not work. Paths in it are for people.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The path itself is none.
    #[error("this is no path: {0}")]
    BadPath(String),
    /// There is nothing there.
    #[error("there is nothing at {0}")]
    NotFound(String),
    /// A folder was needed.
    #[error("{0} is not a folder")]
    NotAFolder(String),
    /// A plain file was needed.
    #[error("{0} is not a plain file")]
    NotAFile(String),
    /// A link is on the way, or at its end.
    #[error("{0} is a link, or lies behind one; links are not followed")]
    Link(String),
    /// Something is there that was not to be replaced.
    #[error("{0} is there already")]
    Exists(String),
    /// It is not any more what the one who asks has seen.
    #[error("{0} has changed since it was read")]
    Changed(String),
    /// It cannot be done with this.
    #[error("{0}")]
    Refused(String),
    /// An archive cannot be read.
    #[error("the archive cannot be read: {0}")]
    BadArchive(String),
    /// The disk is full.
    #[error("the disk of this machine is full")]
    Full,
    /// The machine failed.
    #[error("{what}: {cause}")]
    Failed {
        /// What was tried.
        what: String,
        /// What the machine says.
        cause: io::Error,
    },
}

impl FileError {
    /// From what the kernel says.
    pub(super) fn from_kernel(path: &TreePath, errno: Errno) -> Self {
        let shown = path.shown();
        match errno {
            Errno::NOENT => Self::NotFound(shown),
            Errno::NOTDIR => Self::NotAFolder(shown),
            Errno::ISDIR => Self::NotAFile(shown),
            // XDEV: another file system, or out of the volume.
            Errno::LOOP | Errno::XDEV => Self::Link(shown),
            Errno::EXIST | Errno::NOTEMPTY => Self::Exists(shown),
            Errno::NOSPC | Errno::DQUOT => Self::Full,
            Errno::NAMETOOLONG => Self::BadPath(format!("`{shown}` is too long")),
            errno => Self::Failed {
                what: format!("{shown} cannot be reached"),
                cause: errno.into(),
            },
        }
    }

    /// From what the machine says.
    pub(super) fn from_io(path: &TreePath, error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(errno) => Self::from_kernel(path, errno),
            None => Self::Failed {
                what: path.shown(),
                cause: error,
            },
        }
    }
}
