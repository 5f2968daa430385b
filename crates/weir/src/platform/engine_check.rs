//! Whether a container engine answers, and what to do if not.

use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::failure::{Failure, Result};

const SOCKET: &str = "/var/run/docker.sock";
/// How long an engine may take to come up beside us.
const PATIENCE: Duration = Duration::from_secs(10);

/// Fails with what to do unless Docker Engine answers.
pub(crate) async fn check(say: impl Fn(&str)) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut said = false;
    loop {
        let error = match ping(Path::new(SOCKET)).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Waiting helps only where it is about to come up.
        let starting = matches!(
            error.kind(),
            ErrorKind::ConnectionRefused | ErrorKind::TimedOut | ErrorKind::InvalidData
        );
        if !starting || Instant::now() > end {
            return Err(explain(&error));
        }
        if !std::mem::replace(&mut said, true) {
            say("waiting for the container engine");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn ping(socket: &Path) -> std::io::Result<()> {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream
            .write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
            .await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        let ok = answer.starts_with(b"HTTP/1.1 200") || answer.starts_with(b"HTTP/1.0 200");
        if ok {
            Ok(())
        } else {
            Err(std::io::Error::new(ErrorKind::InvalidData, "it answers with an error"))
        }
    };
    tokio::time::timeout(Duration::from_secs(5), exchange)
        .await
        .unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
}

fn explain(error: &std::io::Error) -> Failure {
    let failure = Failure::unreachable("the container engine does not answer").detail(format!("{SOCKET}: {error}"));
    failure.hint(match error.kind() {
        ErrorKind::PermissionDenied => "run Weir as root, or give yourself the right: sudo usermod -aG docker $USER, then log in again",
        ErrorKind::NotFound => "install Docker Engine: apt-get install docker.io; where it is installed, start it: systemctl start docker (or: dockerd &)",
        _ => "look after it: systemctl status docker (or the log of dockerd)",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_wrong_with_the_engine_decides_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let hint = async |socket: &Path| explain(&ping(socket).await.unwrap_err()).hint.unwrap();
        assert!(
            hint(&folder.path().join("none"))
                .await
                .contains("apt-get install docker.io")
        );
        let socket = folder.path().join("dead");
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(hint(&socket).await.contains("systemctl status docker"));
        let denied = std::io::Error::from(ErrorKind::PermissionDenied);
        assert!(explain(&denied).hint.unwrap().contains("usermod"));
    }
}
