//! What a run that was killed left behind. Every Weir that a test starts writes its data folder
//! and, once known, its installation into `target/e2e/`; a Weir that was taken down in order
//! removes the note. The next run removes what notes are still there.

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
    let _ = std::fs::remove_file(folder().join(installation));
    Ok(())
}

/// Removes what earlier runs left. Weirs that still run are those of another test run that goes
/// on now; they are left alone.
pub async fn remove_all() -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder()) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        let data = PathBuf::from(std::fs::read_to_string(entry.path()).unwrap_or_default());
        if is_running(&data) {
            continue;
        }
        if let Some(installation) = entry.file_name().to_str() {
            remove(installation).await?;
        }
        // A note is only a file: never remove a folder that no test made.
        if data
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(FOLDER_PREFIX))
        {
            let _ = std::fs::remove_dir_all(&data);
        }
    }
    Ok(())
}

fn is_running(data: &Path) -> bool {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return false;
    };
    processes
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .any(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == data.as_os_str().as_encoded_bytes())
        })
}
