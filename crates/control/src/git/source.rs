//! The source of a commit as an archive.

use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use weir_model::ProjectName;

use super::{git, run_git};
use crate::config::Config;
use crate::context::Context;
use crate::push::PushError;

/// Longest time for the archive of a commit.
const TIMEOUT: Duration = Duration::from_secs(300);
/// Largest archive, in bytes.
const LARGEST: u64 = 5 << 30;
/// Most bytes of a list of files that are looked at.
const LARGEST_LIST: u64 = 64 << 20;
/// Names in a message.
const NAMED: usize = 3;

/// A commit, in a repository or in the quarantine of a push.
#[derive(Debug, Clone)]
pub struct Commit {
    pub(super) config: Arc<Config>,
    pub(super) repository: PathBuf,
    /// In hex, checked.
    pub(super) id: String,
    pub(super) quarantine: Option<Quarantine>,
}

/// Where the objects of a push are until it is accepted.
#[derive(Debug, Clone)]
pub(super) struct Quarantine {
    pub(super) objects: PathBuf,
    pub(super) alternates: String,
}

impl Commit {
    /// A commit of a project, as it was pushed.
    pub(crate) fn of_project(context: &Context, project: &ProjectName, id: String) -> Self {
        Self {
            config: context.config.clone(),
            repository: super::repository_of(&context.config, project),
            id,
            quarantine: None,
        }
    }

    fn git(&self, arguments: &[&str]) -> Command {
        let mut command = git(&self.config, &self.repository, arguments);
        if let Some(quarantine) = &self.quarantine {
            command
                .env("GIT_OBJECT_DIRECTORY", &quarantine.objects)
                .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", &quarantine.alternates);
        }
        command
    }

    /// First line of the commit's message, shortened.
    pub(super) async fn message(&self) -> Result<String, PushError> {
        let output = run_git(self.git(&["show", "--no-patch", "--format=%s", &self.id, "--"]), "show").await?;
        Ok(String::from_utf8_lossy(&output).trim().chars().take(200).collect())
    }

    /// Writes the files of the commit into an archive. Gives warnings about what is not in it.
    pub(crate) async fn archive(&self, path: &Path) -> Result<Vec<String>, PushError> {
        let work = async {
            let (written, warnings) = tokio::join!(self.write_archive(path), self.look_for_what_is_missing());
            written?;
            warnings
        };
        match tokio::time::timeout(TIMEOUT, work).await {
            Ok(result) => result,
            Err(_) => Err(
                PushError::new(format!("reading the commit took longer than {} s", TIMEOUT.as_secs()))
                    .with_hint("leave large files out of the repository, then push again"),
            ),
        }
    }

    async fn write_archive(&self, path: &Path) -> Result<(), PushError> {
        let mut command = self.git(&["archive", "--format=tar", &self.id]);
        let mut child = command.spawn().map_err(super::GitError::NotRun)?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(PushError::new("git gave no output"));
        };
        let mut file = tokio::fs::File::create(path).await?;
        let mut said = Vec::new();
        let mut limited = stdout.take(LARGEST + 1);
        let copy = async {
            let bytes = tokio::io::copy(&mut limited, &mut file).await?;
            file.flush().await?;
            if bytes > LARGEST {
                return Err(
                    PushError::new(format!("the source is larger than {} GiB", LARGEST >> 30))
                        .with_hint("leave large files out of the repository, then push again"),
                );
            }
            Ok(())
        };
        let (copied, _) = tokio::join!(copy, async { (&mut stderr).take(4096).read_to_end(&mut said).await });
        copied?;
        let status = child.wait().await?;
        if !status.success() {
            let reason = String::from_utf8_lossy(&said).trim().to_owned();
            return Err(PushError::new(format!("the commit cannot be read: {reason}")));
        }
        // A tar of no files at all is two empty blocks; git pads it to ten KiB.
        let mut block = [0_u8; 512];
        let file = file.into_std().await;
        if file.metadata()?.len() == 0 || std::fs::File::open(path)?.read_at(&mut block, 0)? == 0 {
            return Err(PushError::new("the commit has no files")
                .with_hint("add your application: `git add`, `git commit`, then push again"));
        }
        Ok(())
    }

    /// Submodules are only named in a commit, and of files in Git LFS it holds pointers.
    async fn look_for_what_is_missing(&self) -> Result<Vec<String>, PushError> {
        let (submodules, pointers) = tokio::join!(self.submodules(), self.large_file_pointers());
        let pointers = pointers?;
        if !pointers.is_empty() {
            return Err(PushError::new(format!(
                "files are kept in Git LFS, and a push does not carry their contents: {}",
                some_of(&pointers)
            ))
            .with_hint("`weir deploy` sends the folder as it is, with the real files; or take them out of Git LFS (`git lfs migrate export`)"));
        }
        let submodules = submodules?;
        if submodules.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![format!(
            "Note: a push does not carry submodules, so these folders are empty: {}. `weir deploy` sends the folder as it is",
            some_of(&submodules)
        )])
    }

    async fn submodules(&self) -> Result<Vec<String>, PushError> {
        let list = self.bounded(&["ls-tree", "-r", "-z", &self.id]).await?;
        let entries = list
            .split(|&byte| byte == 0)
            .filter(|entry| entry.starts_with(b"160000 "));
        Ok(entries
            .filter_map(|entry| entry.splitn(2, |&byte| byte == b'\t').nth(1))
            .map(name)
            .collect())
    }

    /// Files that are pointers of Git LFS. Only looked for where some `.gitattributes` asks for it.
    async fn large_file_pointers(&self) -> Result<Vec<String>, PushError> {
        let asked = [
            "grep",
            "-l",
            "-z",
            "-F",
            "-e",
            "filter=lfs",
            &self.id,
            "--",
            ".gitattributes",
            "**/.gitattributes",
        ];
        if self.bounded(&asked).await?.is_empty() {
            return Ok(Vec::new());
        }
        let pointers = [
            "grep",
            "-l",
            "-z",
            "-e",
            "^version https://git-lfs.github.com/spec/v1$",
            &self.id,
        ];
        let found = self.bounded(&pointers).await?;
        // Each is called `COMMIT:PATH`.
        let names = found.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(name);
        Ok(names
            .map(|name| name.split_once(':').map_or(name.clone(), |(_, path)| path.to_owned()))
            .collect())
    }

    /// What git writes, up to a bound; nothing where `git grep` finds nothing.
    async fn bounded(&self, arguments: &[&str]) -> Result<Vec<u8>, PushError> {
        let mut command = self.git(arguments);
        let mut child = command.stderr(Stdio::null()).spawn().map_err(super::GitError::NotRun)?;
        let Some(stdout) = child.stdout.take() else {
            return Ok(Vec::new());
        };
        let mut output = Vec::new();
        stdout.take(LARGEST_LIST).read_to_end(&mut output).await?;
        drop(child);
        Ok(output)
    }
}

fn name(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first few of several names, in a form that is safe to print.
fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).map(|name| {
        let plain: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
        format!("`{plain}`")
    });
    let mut text = shown.collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        text.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    text
}
