//! A root of Debian by `mmdebstrap`, streamed into the engine without a file in between.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use weir_engine::BoxStream;

use crate::build::BuildError;

/// Lines of `mmdebstrap` that are kept for an error.
const TAIL: usize = 30;
/// Bytes that are read at once.
const CHUNK_BYTES: usize = 128 << 10;
/// Debian's own mirror, if the machine names none.
const MIRROR: &str = "http://deb.debian.org/debian";
/// Debian's own mirror of security updates.
const SECURITY: &str = "http://deb.debian.org/debian-security";
/// The keys of Debian's archive.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Arguments of `mmdebstrap` but for mirrors; what they say decides whether a stack is new.
pub(crate) fn arguments(suite: &str) -> Vec<String> {
    let mut arguments: Vec<String> = [
        "--variant=minbase",
        "--mode=auto",
        "--format=tar",
        "--include=ca-certificates",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        "--dpkgopt=path-exclude=/usr/share/info/*",
        "--dpkgopt=force-unsafe-io",
        "--aptopt=Acquire::Languages \"none\"",
        "--aptopt=Acquire::Retries \"3\"",
        "--aptopt=APT::Install-Recommends \"false\"",
        // Containers of builds have no users to spare.
        "--aptopt=APT::Sandbox::User \"root\"",
        "--customize-hook=chroot \"$1\" useradd --uid 1000 --user-group --home-dir /app --create-home --shell /bin/bash app",
        "--customize-hook=rm -rf \"$1\"/app/.[a-z]* \"$1\"/var/log/* \"$1\"/var/cache/debconf/*",
    ]
    .map(str::to_owned)
    .into();
    arguments.push(suite.to_owned());
    arguments.push("-".to_owned());
    arguments
}

/// A running `mmdebstrap`.
#[derive(Debug)]
pub(crate) struct Debootstrap {
    child: Child,
    tail: Arc<Mutex<Vec<String>>>,
}

/// The end of its stream, to be asked whether all went well.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    tail: Arc<Mutex<Vec<String>>>,
}

impl Outcome {
    /// What it said last.
    pub(crate) fn tail(&self) -> Vec<String> {
        self.tail.lock().map(|tail| tail.clone()).unwrap_or_default()
    }
}

impl Debootstrap {
    /// Starts it. `scratch` is where it unpacks. Dropping it ends it.
    pub(crate) fn start(suite: &str, scratch: &Path) -> Result<Self, BuildError> {
        std::fs::create_dir_all(scratch)
            .map_err(|error| BuildError::new(format!("the folder {} cannot be made: {error}", scratch.display())))?;
        let mut command = Command::new("nice");
        command.args(["-n", "10", "mmdebstrap"]);
        if Path::new(KEYRING).exists() {
            command.arg(format!("--keyring={KEYRING}"));
        }
        command.args(arguments(suite)).args(sources(suite));
        command
            .env("TMPDIR", scratch)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().map_err(|error| cannot_start(&error.to_string()))?;
        let tail = Arc::new(Mutex::new(Vec::new()));
        if let Some(stderr) = child.stderr.take() {
            let tail = Arc::clone(&tail);
            // Ends with the program, which ends with this value.
            tokio::spawn(async move {
                let mut lines = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    if let Ok(mut tail) = tail.lock() {
                        if tail.len() == TAIL {
                            tail.remove(0);
                        }
                        tail.push(line);
                    }
                }
            });
        }
        Ok(Self { child, tail })
    }

    /// The root as a tar stream; it ends with an error if the program failed.
    pub(crate) fn into_stream(mut self) -> Option<(BoxStream<std::io::Result<Bytes>>, Outcome)> {
        let stdout = self.child.stdout.take()?;
        let outcome = Outcome {
            tail: Arc::clone(&self.tail),
        };
        let stream = futures_util::stream::unfold(Some((stdout, self.child)), |state| async move {
            let (mut stdout, mut child) = state?;
            match next_chunk(&mut stdout, &mut child).await {
                Ok(None) => None,
                Ok(Some(chunk)) => Some((Ok(chunk), Some((stdout, child)))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Some((Box::pin(stream), outcome))
    }
}

async fn next_chunk(stdout: &mut ChildStdout, child: &mut Child) -> std::io::Result<Option<Bytes>> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let read = stdout.read(&mut buffer).await?;
    if read > 0 {
        buffer.truncate(read);
        return Ok(Some(buffer.into()));
    }
    let status = child.wait().await?;
    if status.success() {
        Ok(None)
    } else {
        Err(std::io::Error::other(format!("mmdebstrap ended with {status}")))
    }
}

/// The error for a machine without `mmdebstrap`.
pub(crate) fn cannot_start(reason: &str) -> BuildError {
    let mut error = BuildError::new(format!(
        "the base of Debian packages cannot be made: mmdebstrap cannot be started ({reason})"
    ));
    error.hint = Some("install it: apt-get install -y mmdebstrap debian-archive-keyring; or name an image to build on in weir.toml: [build] runtime = \"…\"".to_owned());
    error
}

/// The lines for `sources.list`, from the machine's own mirrors where it has them.
fn sources(suite: &str) -> Vec<String> {
    let mut configured = String::new();
    let listed = std::fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    for path in std::iter::once(Path::new("/etc/apt/sources.list").to_owned()).chain(listed) {
        if path
            .extension()
            .is_some_and(|extension| extension == "list" || extension == "sources")
        {
            configured.push_str(&std::fs::read_to_string(path).unwrap_or_default());
            configured.push('\n');
        }
    }
    let (mirror, security) = mirrors(&configured);
    vec![
        format!("deb {mirror} {suite} main"),
        format!("deb {mirror} {suite}-updates main"),
        format!("deb {security} {suite}-security main"),
    ]
}

/// The mirrors of Debian and of its security updates that apt is configured with.
fn mirrors(configured: &str) -> (String, String) {
    let mut found: BTreeSet<&str> = BTreeSet::new();
    for line in configured.lines().map(str::trim) {
        let words = if let Some(rest) = line.strip_prefix("URIs:") {
            rest
        } else if line.starts_with("deb ") {
            line
        } else {
            continue;
        };
        found.extend(
            words
                .split_whitespace()
                .filter(|word| word.starts_with("http://") || word.starts_with("https://"))
                .map(|word| word.trim_end_matches('/')),
        );
    }
    let ends = |name: &str| {
        found
            .iter()
            .find(|address| address.ends_with(name))
            .map(|address| (*address).to_owned())
    };
    (
        ends("/debian").unwrap_or_else(|| MIRROR.to_owned()),
        ends("/debian-security")
            .or_else(|| ends("security.debian.org"))
            .unwrap_or_else(|| SECURITY.to_owned()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirrors_of_the_machine_are_taken() {
        let old = "deb [signed-by=/x] http://mirror.example/debian/ bookworm main\ndeb http://security.debian.org/debian-security bookworm-security main";
        assert_eq!(
            mirrors(old),
            (
                "http://mirror.example/debian".to_owned(),
                "http://security.debian.org/debian-security".to_owned()
            )
        );
        let new = "Types: deb\nURIs: https://mirror.example/debian\nSuites: trixie\n";
        assert_eq!(
            mirrors(new),
            ("https://mirror.example/debian".to_owned(), SECURITY.to_owned())
        );
        assert_eq!(
            mirrors("deb https://packages.example/apt x main"),
            (MIRROR.to_owned(), SECURITY.to_owned())
        );
    }
}
