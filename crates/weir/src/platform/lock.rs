//! One `weir up` for a data folder. The file with its process id is locked by the kernel for as
//! long as it lives, so that a process id in it is really ours, whatever was killed before.

use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};

/// The lock that this process holds; let go when dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// To be handed to the program that this process goes on as.
    pub(crate) fn descriptor(&self) -> std::io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    /// Handed over by the program that this process was.
    pub(crate) fn adopt(descriptor: OwnedFd) -> Self {
        Self {
            file: descriptor.into(),
        }
    }
}

/// Whether a `weir up` runs on a data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It does not run.
    Nobody,
    /// It runs as this process.
    Process(i32),
}

fn file_of(data: &Path) -> PathBuf {
    data.join("run/weir.pid")
}

fn open(path: &Path) -> Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|error| Failure::file("open", path, &error))
}

/// Takes the lock and writes down our process id. Fails if another `weir up` has it.
pub(crate) fn take(data: &Path) -> Result<Lock> {
    let path = file_of(data);
    let mut file = open(&path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let words = match read(&mut file) {
                Some(pid) => format!("Weir runs on {} already (process {pid})", data.display()),
                None => format!("Weir runs on {} already", data.display()),
            };
            return Err(Failure::conflict(words)
                .hint(format!("if this program is a newer one, have it take over without a pause: weir upgrade --data {0}; else stop it with `weir down --data {0}`, or run another one beside it: weir up --data DIR --http ADDRESS --control ADDRESS", data.display())));
        }
        Err(TryLockError::Error(error)) => return Err(Failure::file("lock", &path, &error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| Failure::file("write", &path, &error))?;
    Ok(Lock { file })
}

/// Who has the lock.
pub(crate) fn holder(data: &Path) -> Result<Holder> {
    let path = file_of(data);
    let mut file = match File::options().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Holder::Nobody),
        Err(error) => return Err(Failure::file("open", &path, &error).hint("Weir may run as root: try it as root")),
    };
    // It is locked a moment before the process id stands in it.
    let end = Instant::now() + Duration::from_secs(2);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Holder::Nobody),
            Err(TryLockError::Error(error)) => return Err(Failure::file("lock", &path, &error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if let Some(pid) = read(&mut file) {
            return Ok(Holder::Process(pid));
        }
        if Instant::now() > end {
            return Err(Failure::failed(format!(
                "{} is locked, but holds no process id",
                path.display()
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read(file: &mut File) -> Option<i32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_of_the_first_and_a_stalefile_does_not_matter() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
        let lock = take(folder.path()).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(holder(folder.path()).unwrap(), Holder::Process(own));
        let error = take(folder.path()).unwrap_err();
        assert!(error.message.contains(&own.to_string()), "{error}");
        drop(lock);
        assert_eq!(holder(folder.path()).unwrap(), Holder::Nobody);
        take(folder.path()).unwrap();
    }
}
