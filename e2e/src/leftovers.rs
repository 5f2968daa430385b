//! What a run that was killed left behind. Every Weir that a test starts writes its data folder
//! and, once known, its installation into `target/e2e/`; a Weir that was taken down in order
//! removes the note. The next run removes what notes are still there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::docker::{containers, docker, images, networks, volumes};

/// The label that everything of one Weir in Docker carries, with the installation as value.
pub const LABEL: &str = "weir.installation";

/// How the data folders of tests begin.
pub const FOLDER_PREFIX: &str = "weir-e2e-";

fn folder() -> PathBuf {
    crate::root().join("target/e2e/running")
}

/// Notes that a Weir with this data folder runs.
pub fn note(data: &Path, installation: &str) -> Result<()> {
    std::fs::create_dir_all(folder())?;
    std::fs::write(folder().join(installation), data.to_string_lossy().as_bytes())?;
    Ok(())
}

/// Removes everything that an installation has in Docker, and the note of it.
pub async fn remove(installation: &str) -> Result<()> {
    let label = format!("{LABEL}={installation}");
    for id in containers(&label).await? {
        let _ = docker(&["rm", "--force", "--volumes", &id]).await;
    }
    for id in networks(&label).await? {
        let _ = docker(&["network", "rm", &id]).await;
    }
    for id in volumes(&label).await? {
        let _ = docker(&["volume", "rm", "--force", &id]).await;
    }
    for id in images(&label).await? {
        let _ = docker(&["rmi", "--force", &id]).await;
    }
    remove_firewall(installation).await;
    let _ = std::fs::remove_file(folder().join(installation));
    Ok(())
}

/// Removes the chains of iptables and the table of nftables that a Weir leaves while instances of it run. Without the
/// right to do so there are none.
async fn remove_firewall(installation: &str) {
    let iptables = |arguments: Vec<String>| async move {
        let run = tokio::process::Command::new("iptables")
            .arg("-w")
            .args(arguments)
            .output()
            .await;
        run.map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
            .unwrap_or_default()
    };
    for (hook, chain) in [
        ("INPUT", format!("WEIR-{installation}")),
        ("DOCKER-USER", format!("WEIR-{installation}-F")),
    ] {
        let rules = iptables(vec!["-S".to_owned(), hook.to_owned()]).await;
        for rule in rules.lines().filter(|rule| rule.ends_with(&format!("-j {chain}"))) {
            let words = rule.replacen("-A", "-D", 1);
            iptables(words.split(' ').map(str::to_owned).collect()).await;
        }
        for order in ["-F", "-X"] {
            iptables(vec![order.to_owned(), chain.clone()]).await;
        }
    }
    let table = format!("weir-{installation}");
    let _ = tokio::process::Command::new("nft")
        .args(["delete", "table", "inet", &table])
        .output()
        .await;
}

/// Removes what earlier runs left: Weirs that go on although the test that started them is
/// gone, what they have in Docker, and their data. Those of a test that goes on are left alone.
pub async fn remove_all() -> Result<()> {
    for data in data_folders() {
        let Some(test) = test_of(&data) else { continue };
        if Path::new("/proc").join(test.to_string()).exists() {
            continue;
        }
        for pid in processes_on(&data) {
            let _ = crate::processes::kill_now(pid);
        }
        for installation in installations_of(&data) {
            remove(&installation).await?;
        }
        let _ = std::fs::remove_dir_all(&data);
        let _ = std::fs::remove_file(data.with_extension("log"));
    }
    Ok(())
}

/// Data folders that tests made, also those of which only the note is left.
fn data_folders() -> BTreeSet<PathBuf> {
    let made = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let made = made.filter(|path| path.is_dir());
    let noted = notes().into_iter().map(|(_, data)| data);
    made.chain(noted).collect()
}

/// The test process that made a data folder, from its name: `weir-e2e-NAME-PID-RANDOM`. `None`
/// for every other folder, so that nothing is removed that no test made.
fn test_of(data: &Path) -> Option<u32> {
    let name = data.file_name()?.to_str()?.strip_prefix(FOLDER_PREFIX)?;
    let mut parts = name.rsplit('-');
    let random = parts.next()?;
    let pid = parts.next()?.parse().ok()?;
    (random.len() == 6 && parts.next().is_some()).then_some(pid)
}

/// Installation and data folder of each note.
fn notes() -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder()).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let data = std::fs::read_to_string(entry.path()).ok()?;
            Some((entry.file_name().to_str()?.to_owned(), PathBuf::from(data)))
        })
        .collect()
}

fn installations_of(data: &Path) -> Vec<String> {
    notes()
        .into_iter()
        .filter(|(_, noted)| noted == data)
        .map(|(installation, _)| installation)
        .collect()
}

/// Processes that have this data folder as a word of their command line.
fn processes_on(data: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let found = line
                .split(|byte| *byte == 0)
                .any(|word| word == data.as_os_str().as_encoded_bytes());
            found.then_some(pid)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_folders_of_tests_are_leftovers() {
        assert_eq!(test_of(Path::new("/tmp/weir-e2e-common-123-0af3b2")), Some(123));
        for other in [
            "/tmp/weir-e2e-repository-Ab12Cd",
            "/tmp/weir-e2e",
            "/var/lib/weir",
            "/tmp/weir-e2e-12-0af3b2",
        ] {
            assert_eq!(test_of(Path::new(other)), None, "{other}");
        }
    }
}
