//! What must be in place before the parts start.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::failure::{Failure, Result};

/// How long addresses may stay in use: the parts of a supervisor that was killed end within it.
const ADDRESS_PATIENCE: Duration = Duration::from_secs(12);

/// Makes the data folder with its parts; nobody else may look into it.
pub(crate) fn data_folder(data: &Path) -> Result<()> {
    for folder in [data.to_owned(), data.join("run"), data.join("log")] {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| {
                Failure::file("create", &folder, &error)
                    .hint("choose another folder with --data DIR, or run Weir as root")
            })?;
    }
    // It may have been there before, open to everybody.
    std::fs::set_permissions(data, std::fs::Permissions::from_mode(0o700)).map_err(|error| {
        Failure::file("protect", data, &error).hint("the folder must belong to the user that runs Weir")
    })
}

/// Waits until an address can be listened on. Fails if something else keeps it.
pub(crate) async fn free_address(address: SocketAddr, option: &str, say: impl Fn(&str)) -> Result<()> {
    let end = Instant::now() + ADDRESS_PATIENCE;
    let mut said = false;
    loop {
        let error = match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
        if !in_use || Instant::now() > end {
            let failure = Failure::failed(format!("cannot listen on {address}")).detail(error.to_string());
            return Err(failure.hint(format!(
                "see who does with `ss -ltnp`, or choose another address with {option} ADDRESS"
            )));
        }
        if !std::mem::replace(&mut said, true) {
            say(&format!("{address} is in use; waiting for it"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Makes these processes the last that the kernel ends for want of memory, and gives them as
/// many open files as it can. Without the right to, it goes without.
pub(crate) fn protect() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if std::fs::write("/proc/self/oom_score_adj", "-900").is_err() {
        missing.push("Weir may not protect itself here from the kernel ending it when memory runs out");
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        if soft < hard {
            let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
        }
        if hard < 16_384 {
            missing.push("few open files are allowed, which limits connections (ulimit -n)");
        }
    }
    missing
}
