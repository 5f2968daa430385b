//! Git over HTTP: bare repositories under `DIR/git`, served by the `git` program itself, and a
//! hook by which a push waits until what it pushes is live.
//!
//! A push arrives at `http`, which runs `git receive-pack`; that keeps the new objects in a
//! quarantine and runs our hook (`hook`, the same binary), which asks control over its Unix
//! socket (`receive`). Control builds and deploys, and the hook shows every line of it to the
//! person who pushes. Only if the hook ends well does git keep the objects and move the branch:
//! a rejected push leaves nothing behind.
//!
//! Git runs with an empty environment, no configuration of the machine or of a user, and a
//! bound on its memory, because what it reads comes from outside.

pub mod hook;
mod http;
mod options;
mod receive;
mod source;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::process::Command;
use weir_model::ProjectName;

use crate::config::Config;
use crate::context::Context;
use crate::push::PushError;
use receive::Session;

pub use http::router;
pub use receive::hook_router;
pub use source::Commit;

/// Largest pack of a push, in bytes.
const LARGEST_PACK: u64 = 2 << 30;
/// Address space of a git process, in KiB.
const MEMORY_KIB: u64 = 4 << 20;
/// Between two rounds of tidying up repositories.
const MAINTENANCE: Duration = Duration::from_secs(6 * 3600);

/// Why git could not do something.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program is missing or could not be started.
    #[error("the program `git` could not be run: {0}")]
    NotRun(std::io::Error),
    /// It ended badly.
    #[error("`git {what}` failed: {reason}")]
    Failed {
        /// The command of git.
        what: String,
        /// What git said.
        reason: String,
    },
    /// A file or folder failed.
    #[error("{path}: {error}")]
    Files {
        /// Which.
        path: String,
        /// How.
        error: std::io::Error,
    },
}

impl From<GitError> for PushError {
    fn from(error: GitError) -> Self {
        Self::new(error.to_string()).with_hint("look into the log of `weir up`, and push again")
    }
}

/// Git pushes whose hooks may call; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Sessions {
    by_key: Arc<Mutex<HashMap<String, Arc<Session>>>>,
}

impl Sessions {
    fn insert(&self, session: Arc<Session>) {
        self.by_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(session.key.clone(), session);
    }

    fn get(&self, key: &str) -> Option<Arc<Session>> {
        self.by_key
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn remove(&self, key: &str) {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    fn is_at_work_in(&self, repository: &Path) -> bool {
        let sessions = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.values().any(|session| session.repository == repository)
    }
}

/// Where the repository of a project is.
fn repository_of(config: &Config, project: &ProjectName) -> PathBuf {
    config.repositories().join(format!("{project}.git"))
}

fn hooks_of(config: &Config) -> PathBuf {
    config.data.join("git-hooks")
}

/// A run of git in a repository, with nothing of the machine's or a user's configuration.
fn git(config: &Config, repository: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("/bin/sh");
    // Hostile packs can make git ask for a lot of memory; better it fails than the machine.
    command
        .arg("-c")
        .arg(format!("ulimit -v {MEMORY_KIB}; exec git \"$@\""))
        .arg("git");
    let mut hooks = OsString::from("core.hooksPath=");
    hooks.push(hooks_of(config));
    command.arg("-c").arg(hooks);
    let largest_pack = format!("receive.maxInputSize={LARGEST_PACK}");
    for setting in [
        "safe.directory=*",
        "core.fsync=committed",
        "core.packedGitLimit=512m",
        "core.packedGitWindowSize=64m",
        "pack.windowMemory=256m",
        "pack.threads=1",
        "receive.fsckObjects=true",
        // Old histories carry these; they harm nobody.
        "receive.fsck.zeroPaddedFilemode=warn",
        "receive.fsck.missingSpaceBeforeDate=warn",
        "receive.fsck.badTimezone=warn",
        // A pack is kept as it came: one file to sync instead of one an object.
        "receive.unpackLimit=1",
        "receive.autogc=false",
        "receive.advertisePushOptions=true",
        &largest_pack,
        "gc.auto=0",
        "uploadpack.allowFilter=true",
    ] {
        command.arg("-c").arg(setting);
    }
    command.args(arguments);
    // The only place where this looks into its own environment: git may be in an unusual place.
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", "/nonexistent")
        .env("LC_ALL", "C.UTF-8")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .current_dir(repository)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Runs git to its end and gives what it wrote.
async fn run_git(mut command: Command, what: &str) -> Result<Vec<u8>, GitError> {
    let output = command.output().await.map_err(GitError::NotRun)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let reason = String::from_utf8_lossy(&output.stderr)
        .trim()
        .chars()
        .take(2000)
        .collect();
    Err(GitError::Failed {
        what: what.to_owned(),
        reason,
    })
}

/// Makes the bare repository of a project. Fine if it is there.
pub async fn create_repository(context: &Context, project: &ProjectName) -> Result<(), GitError> {
    let config = &context.config;
    let repository = repository_of(config, project);
    let files = |error| GitError::Files {
        path: repository.display().to_string(),
        error,
    };
    tokio::fs::create_dir_all(&repository).await.map_err(files)?;
    // What is cloned from here shall show the branch that production follows.
    let branch = production_branch(context, project)
        .await
        .unwrap_or_else(|| "main".to_owned());
    let branch = format!("--initial-branch={branch}");
    run_git(
        git(
            config,
            &repository,
            &["init", "--quiet", "--bare", "--template=", &branch, "."],
        ),
        "init",
    )
    .await?;
    Ok(())
}

async fn production_branch(context: &Context, project: &ProjectName) -> Option<String> {
    let project = context.store.project_by_name(project).await.ok().flatten()?;
    let environments = context.store.environment_list(project.id).await.ok()?;
    environments
        .into_iter()
        .find(|environment| environment.name.is_production())?
        .branch
}

/// Removes the repository of a project with all it has. Fine if it is gone.
pub async fn remove_repository(context: &Context, project: &ProjectName) -> Result<(), GitError> {
    let repository = repository_of(&context.config, project);
    match tokio::fs::remove_dir_all(&repository).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(GitError::Files {
            path: repository.display().to_string(),
            error,
        }),
        _ => Ok(()),
    }
}

/// Writes the hooks, and removes what pushes left behind that a crash cut off. To be called at
/// the start, before anything is served.
pub fn prepare(config: &Config) -> Result<(), GitError> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = hooks_of(config);
    for path in [&folder, &config.repositories()] {
        std::fs::create_dir_all(path).map_err(|error| GitError::Files {
            path: path.display().to_string(),
            error,
        })?;
    }
    for (name, script) in hook::SCRIPTS {
        let path = folder.join(name);
        let write = || {
            std::fs::write(&path, script)?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))
        };
        write().map_err(|error| GitError::Files {
            path: path.display().to_string(),
            error,
        })?;
    }
    crate::push::remove_leftovers(config);
    remove_quarantines(config);
    Ok(())
}

fn remove_quarantines(config: &Config) {
    let repositories = std::fs::read_dir(config.repositories()).into_iter().flatten().flatten();
    for repository in repositories {
        let objects = std::fs::read_dir(repository.path().join("objects"))
            .into_iter()
            .flatten()
            .flatten();
        for entry in objects.filter(|entry| entry.file_name().to_string_lossy().starts_with("tmp_objdir-")) {
            if let Err(error) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), %error, "what an old push left behind was not removed");
            }
        }
    }
}

/// Tidies up repositories at quiet times, until control stops.
pub async fn maintain(context: Context) {
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(MAINTENANCE) => {}
        }
        let projects = match context.store.project_list().await {
            Ok(projects) => projects,
            Err(error) => {
                tracing::warn!(%error, "repositories are not tidied up: projects cannot be listed");
                continue;
            }
        };
        for project in projects.iter().filter(|project| !project.destroying) {
            let repository = repository_of(&context.config, &project.name);
            if !repository.exists() || context.pushes.sessions.is_at_work_in(&repository) {
                continue;
            }
            let tidy = run_git(
                git(
                    &context.config,
                    &repository,
                    &["-c", "gc.auto=2000", "gc", "--auto", "--quiet"],
                ),
                "gc",
            );
            tokio::select! {
                () = context.stop.cancelled() => return,
                tidied = tidy => if let Err(error) = tidied {
                    tracing::warn!(project.name = %project.name, %error, "a repository was not tidied up");
                },
            }
        }
    }
}
