//! Where this program lies, also after its file was replaced by a newer build while it runs.

use std::path::{Path, PathBuf};

/// What Linux adds to the name of a file that is gone.
const GONE: &str = " (deleted)";

/// The path of this program's file; where it was replaced, that of the file in its place.
pub(crate) fn executable() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    Ok(in_its_place(&path).unwrap_or(path))
}

/// What to start in order to run this very program once more, in the version that runs now.
pub(crate) fn this_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    // Leads to the program that runs even where it has no name any more.
    Ok(in_its_place(&path).map_or(path, |_| PathBuf::from("/proc/self/exe")))
}

fn in_its_place(path: &Path) -> Option<PathBuf> {
    path.to_str()?.strip_suffix(GONE).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_found_by_its_name() {
        assert_eq!(
            in_its_place(Path::new("/bin/weir (deleted)")),
            Some(PathBuf::from("/bin/weir"))
        );
        assert_eq!(in_its_place(Path::new("/bin/weir")), None);
    }
}
