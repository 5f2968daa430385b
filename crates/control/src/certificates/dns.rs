//! Makes records in DNS, which show an authority that a name is ours: by a program of the
//! operator, or by updates of a zone.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use super::rfc2136::{self, Change, Zone};
use crate::clock::Clock;

/// Longest run of the operator's program.
const HOOK_TIMEOUT: Duration = Duration::from_secs(120);
/// How much is read of what it says.
const SAID_BYTES: u64 = 4 << 10;

/// Makes records.
#[derive(Debug, Clone)]
pub(super) struct Dns {
    pub(super) way: Arc<Way>,
    /// So long until other servers know a record, too.
    pub(super) wait: Duration,
    pub(super) clock: Arc<dyn Clock>,
}

#[derive(Debug)]
pub(super) enum Way {
    /// `PROGRAM present|cleanup NAME VALUE`.
    Hook(PathBuf),
    Zone(Zone),
}

impl Dns {
    /// Makes TXT records, and waits until they are known. Fails with words.
    pub(super) async fn add(&self, records: &[(String, String)]) -> Result<(), String> {
        for (name, value) in records {
            self.change(name, value, Change::Add).await?;
        }
        tokio::time::sleep(self.wait).await;
        Ok(())
    }

    /// Removes them. What stays hurts nobody.
    pub(super) async fn remove(&self, records: &[(String, String)]) {
        for (name, value) in records {
            if let Err(words) = self.change(name, value, Change::Remove).await {
                tracing::warn!("the record {name} was not removed: {words}");
            }
        }
    }

    async fn change(&self, name: &str, value: &str, change: Change) -> Result<(), String> {
        match &*self.way {
            Way::Zone(zone) => rfc2136::update(zone, name, value, change, self.clock.now_ms()).await,
            Way::Hook(program) => {
                let verb = if change == Change::Add { "present" } else { "cleanup" };
                run(program, &[verb, name, value]).await
            }
        }
    }
}

async fn run(program: &std::path::Path, arguments: &[&str]) -> Result<(), String> {
    let shown = program.display();
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("the program {shown} cannot be run: {error}"))?;
    let errors = child.stderr.take();
    let work = async {
        let mut said = Vec::new();
        if let Some(errors) = errors {
            // Beyond what is kept it is read on, so that the program is not held up.
            let mut errors = errors.take(SAID_BYTES);
            let _ = errors.read_to_end(&mut said).await;
            let _ = tokio::io::copy(&mut errors.into_inner(), &mut tokio::io::sink()).await;
        }
        (child.wait().await, said)
    };
    let Ok((status, said)) = tokio::time::timeout(HOOK_TIMEOUT, work).await else {
        return Err(format!(
            "the program {shown} did not end within {} s",
            HOOK_TIMEOUT.as_secs()
        ));
    };
    let status = status.map_err(|error| format!("the program {shown} got lost: {error}"))?;
    if status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said);
    let last = said
        .lines()
        .map(str::trim)
        .rfind(|line| !line.is_empty())
        .unwrap_or("it said nothing");
    let last: String = last.chars().filter(|c| !c.is_control()).take(200).collect();
    Err(format!("the program {shown} failed ({status}): {last}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::SystemClock;

    fn hook(folder: &std::path::Path, script: &str) -> Dns {
        let program = folder.join("hook");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Dns {
            way: Arc::new(Way::Hook(program)),
            wait: Duration::ZERO,
            clock: Arc::new(SystemClock),
        }
    }

    #[tokio::test]
    async fn the_operators_program_is_called_without_a_shell() {
        let folder = tempfile::tempdir().unwrap();
        let told = folder.path().join("told");
        let dns = hook(folder.path(), &format!("echo \"$#:$1:$2:$3\" >> {}", told.display()));
        let records = [("_acme-challenge.example.org".to_owned(), "$(id);x y".to_owned())];
        dns.add(&records).await.unwrap();
        dns.remove(&records).await;
        let told = std::fs::read_to_string(told).unwrap();
        assert_eq!(
            told,
            "3:present:_acme-challenge.example.org:$(id);x y\n3:cleanup:_acme-challenge.example.org:$(id);x y\n"
        );
    }

    #[tokio::test]
    async fn what_goes_wrong_with_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let records = [("a".to_owned(), "b".to_owned())];
        let dns = hook(folder.path(), "echo one >&2; echo 'no such zone' >&2; exit 3");
        let words = dns.add(&records).await.unwrap_err();
        assert!(
            words.contains("exit status: 3") && words.ends_with("no such zone"),
            "{words}"
        );
        let gone = Dns {
            way: Arc::new(Way::Hook(folder.path().join("nothing"))),
            ..dns
        };
        assert!(gone.add(&records).await.unwrap_err().contains("cannot be run"));
    }
}
