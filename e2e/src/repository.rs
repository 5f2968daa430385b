//! A git repository of a user, and what users do in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::weir::{Outcome, Weir, run};

/// A git repository of a user with a project of the same purpose on a Weir.
#[derive(Debug)]
pub struct Repository<'a> {
    /// The Weir that it is pushed to.
    pub weir: &'a Weir,
    /// Name of the project.
    pub project: String,
    folder: tempfile::TempDir,
}

/// A push, as its user saw it.
#[derive(Debug, Clone)]
pub struct Push {
    /// Whether git says that it went well.
    pub accepted: bool,
    /// Everything that git printed, the words of Weir included.
    pub output: String,
    /// How long it took.
    pub took: Duration,
}

impl Push {
    /// Fails with the output unless the push was accepted.
    pub fn ok(self) -> Result<Self> {
        ensure!(self.accepted, "the push was refused:\n{}", self.output);
        Ok(self)
    }

    /// Fails unless the push was refused and says all of these.
    pub fn refused(self, words: &[&str]) -> Result<Self> {
        ensure!(!self.accepted, "the push should have been refused:\n{}", self.output);
        self.says(words)
    }

    /// Fails unless the output contains all of these.
    pub fn says(self, words: &[&str]) -> Result<Self> {
        for word in words {
            ensure!(
                self.output.contains(word),
                "the push does not say {word:?}:\n{}",
                self.output
            );
        }
        Ok(self)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

impl<'a> Repository<'a> {
    /// An empty repository with a project.
    pub async fn empty(weir: &'a Weir, project: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("weir-e2e-repository-").tempdir()?;
        let repository = Self {
            weir,
            project: project.to_owned(),
            folder,
        };
        repository
            .git(&["init", "--quiet", "--initial-branch=main"])
            .await?
            .ok()?;
        repository.cli(&["project", "create", project]).await?.ok()?;
        Ok(repository)
    }

    /// A repository with a project and one commit: the files of a folder.
    pub async fn from_folder(weir: &'a Weir, project: &str, source: &Path) -> Result<Self> {
        let repository = Self::empty(weir, project).await?;
        copy(source, repository.path())?;
        repository.commit("First version").await?;
        Ok(repository)
    }

    /// A repository with the probe app, pushed and live.
    pub async fn live_probe(weir: &'a Weir, project: &str) -> Result<Self> {
        let repository = Self::from_folder(weir, project, &crate::probe()).await?;
        repository.push("main").await?.ok()?;
        Ok(repository)
    }

    /// The same with a volume that admits one writer.
    pub async fn live_probe_with_volume(weir: &'a Weir, project: &str) -> Result<Self> {
        let repository = Self::from_folder(weir, project, &crate::probe()).await?;
        repository.write(
            "weir.toml",
            "[volume.data]\npath = \"/data\"\n\n[deploy]\ndrain = \"4s\"\n",
        )?;
        repository.commit("Keep the count").await?;
        repository.push("main").await?.ok()?;
        Ok(repository)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Host of the production environment.
    pub fn host(&self) -> String {
        format!("{}.localhost", self.project)
    }

    /// Writes a file, with its folders.
    pub fn write(&self, path: &str, text: &str) -> Result<PathBuf> {
        let file = self.path().join(path);
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Replaces text in a file; fails if it is not there.
    pub fn replace(&self, path: &str, old: &str, new: &str) -> Result<()> {
        let file = self.path().join(path);
        let text = std::fs::read_to_string(&file)?;
        ensure!(text.contains(old), "{path} has no {old:?}");
        std::fs::write(file, text.replacen(old, new, 1))?;
        Ok(())
    }

    /// Makes the probe say another version.
    pub fn set_version(&self, version: u32) -> Result<()> {
        let file = self.path().join("app.py");
        let text = std::fs::read_to_string(&file)?;
        let lines: Vec<String> = text
            .lines()
            .map(|line| {
                if line.starts_with("VERSION = ") {
                    format!("VERSION = {version}")
                } else {
                    line.to_owned()
                }
            })
            .collect();
        std::fs::write(file, lines.join("\n") + "\n")?;
        Ok(())
    }

    /// Runs git in it.
    pub async fn git(&self, arguments: &[&str]) -> Result<Outcome> {
        let mut command = self.weir.command("git", self.path())?;
        command.args(arguments);
        run(command, &format!("git {}", arguments.join(" "))).await
    }

    /// Commits everything.
    pub async fn commit(&self, message: &str) -> Result<()> {
        self.git(&["add", "--all", "--force"]).await?.ok()?;
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message])
            .await?
            .ok()?;
        Ok(())
    }

    /// Pushes a branch (or `from:to`) to Weir.
    pub async fn push(&self, branch: &str) -> Result<Push> {
        let outcome = self.git(&["push", "weir", branch]).await?;
        // Something may exist in Docker from now on; make sure that it can be found again.
        let _ = self.weir.installation().await;
        Ok(Push {
            accepted: outcome.status == 0,
            output: outcome.all(),
            took: outcome.took,
        })
    }

    /// Makes the probe another version, commits and pushes it.
    pub async fn push_version(&self, version: u32) -> Result<Push> {
        self.set_version(version)?;
        self.commit(&format!("Version {version}")).await?;
        self.push("main").await
    }

    /// Runs the CLI in it.
    pub async fn cli(&self, arguments: &[&str]) -> Result<Outcome> {
        self.weir.cli(self.path(), arguments).await
    }

    /// A page of production.
    pub async fn page(&self, path: &str) -> Result<crate::Answer> {
        self.weir.get(&self.host(), path).await
    }

    /// Fails unless production answers 200 with a body that contains `text`, at once.
    pub async fn serves(&self, path: &str, text: &str) -> Result<crate::Answer> {
        let answer = self.page(path).await?;
        ensure!(
            answer.status == 200 && answer.body.contains(text),
            "{}{path} should say {text:?}, but answers {}: {}",
            self.host(),
            answer.status,
            answer.body
        );
        Ok(answer)
    }

    /// Destroys the project; fails unless Weir says that it is done.
    pub async fn destroy(&self) -> Result<()> {
        self.cli(&["destroy", &self.project, "--yes"]).await?.ok()?;
        Ok(())
    }
}
