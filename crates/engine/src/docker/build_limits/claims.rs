//! What the Weirs of one machine tell each other of the limits of builds, where the engine puts
//! the builds of all of them into one group. The strictest of those that are there holds: then no
//! Weir lifts what another one has set, whoever builds last.
//!
//! A claim is a file that is locked while its Weir lives. The kernel lets go of the lock when the
//! process ends, however it ends; whoever finds a claim that is not locked removes it.

use std::fs::{File, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Bounds;

/// Longest wait for another Weir that sets limits at this moment.
const PATIENCE: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(2);
/// Whoever sets limits of the common group holds this file.
const TURN: &str = "turn";
const EXTENSION: &str = "claim";
/// A claim is three numbers.
const MOST_BYTES: u64 = 200;

/// The claim of one Weir.
#[derive(Debug)]
pub(super) struct Claim {
    folder: PathBuf,
    path: PathBuf,
    /// Locked.
    _file: File,
}

impl Claim {
    /// Claims limits, visible to all others from then on.
    pub(super) fn new(folder: &Path, installation: &str, bounds: Bounds) -> io::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let name = format!("{installation}-{:016x}", fastrand::u64(..));
        let (draft, path) = (folder.join(&name), folder.join(format!("{name}.{EXTENSION}")));
        let mut file = File::create_new(&draft)?;
        write!(
            file,
            "{} {} {}",
            bounds.memory_bytes, bounds.cpu_milli, bounds.max_processes
        )?;
        // Locked before others can see it.
        file.lock()?;
        std::fs::rename(&draft, &path)?;
        Ok(Self {
            folder: folder.to_owned(),
            path,
            _file: file,
        })
    }

    /// The strictest limits of all that are claimed, and the turn to set them: until it is dropped
    /// nobody else does.
    pub(super) fn strictest(&self, own: Bounds) -> io::Result<(Bounds, Turn)> {
        let turn = Turn::take(&self.folder)?;
        let mut strictest = own;
        for entry in std::fs::read_dir(&self.folder)?.flatten() {
            let path = entry.path();
            let is_claim = path.extension().is_some_and(|extension| extension == EXTENSION);
            if is_claim
                && path != self.path
                && let Some(bounds) = read(&path)
            {
                strictest = strictest.stricter(bounds);
            }
        }
        Ok((strictest, turn))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Without its lock it counts for nothing anyhow.
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// What a Weir that lives has claimed.
fn read(path: &Path) -> Option<Bounds> {
    let file = File::open(path).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => {}
        Ok(()) => {
            let _gone = std::fs::remove_file(path);
            return None;
        }
        Err(TryLockError::Error(_)) => return None,
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    let mut numbers = text.split(' ');
    Some(Bounds {
        memory_bytes: numbers.next()?.parse().ok()?,
        cpu_milli: numbers.next()?.parse().ok()?,
        max_processes: numbers.next()?.parse().ok()?,
    })
}

/// The right to set the limits of the common group.
#[derive(Debug)]
pub(super) struct Turn {
    /// Locked.
    _file: File,
}

impl Turn {
    /// Waits for one's turn. One who does not let go of it is not waited for long.
    fn take(folder: &Path) -> io::Result<Self> {
        let file = File::create(folder.join(TURN))?;
        let end = Instant::now() + PATIENCE;
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if Instant::now() < end => std::thread::sleep(POLL),
                TryLockError::WouldBlock => break,
                TryLockError::Error(error) => return Err(error),
            }
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds(memory_bytes: u64, cpu_milli: u32) -> Bounds {
        Bounds {
            memory_bytes,
            cpu_milli,
            max_processes: 99,
        }
    }

    #[test]
    fn the_strictest_of_those_that_live_holds_whoever_comes_last() {
        let folder = std::env::temp_dir().join(format!("weir-claims-{:016x}", fastrand::u64(..)));
        let (small, large) = (bounds(256, 1500), bounds(4096, 500));
        let first = Claim::new(&folder, "aaaa", small).unwrap();
        let second = Claim::new(&folder, "bbbb", large).unwrap();
        assert_eq!(first.strictest(small).unwrap().0, bounds(256, 500));
        assert_eq!(second.strictest(large).unwrap().0, bounds(256, 500));
        // One that was killed leaves its file and no lock.
        std::fs::write(folder.join("cccc-1.claim"), "1 1 1").unwrap();
        assert_eq!(second.strictest(large).unwrap().0, bounds(256, 500));
        assert!(!folder.join("cccc-1.claim").exists());
        drop(first);
        assert_eq!(second.strictest(large).unwrap().0, large);
        drop(second);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
