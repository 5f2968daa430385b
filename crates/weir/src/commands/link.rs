use std::process::{Command, Stdio};

use weir_api::Project;

use crate::context::{self, git_output, project_name};
use crate::failure::{Failure, Result};
use crate::platform::executable::executable;
use crate::session::Session;
use crate::terminal::shell_word;

/// Let `git push weir` of this repository go to a project.
///
/// Sets the remote `weir` and a credential helper, so that no token stands in an address.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir link shop\n  git push weir main")]
pub(crate) struct Args {
    /// The project.
    name: String,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let name = project_name(&args.name)?;
    if !in_repository() {
        return Err(
            Failure::usage("this folder is in no git repository").hint("git init, or deploy without git: weir deploy")
        );
    }
    let client = session.client()?;
    let project: Project = client.get(&format!("/v1/projects/{name}")).await?;
    connect_repository(client.base(), &project.git_url)?;
    session.ui.result(&project, || {
        session.ui.note(&format!("the git remote `weir` leads to {name}"));
        session.ui.data(&project.git_url)
    })
}

/// Whether the current folder is in a git repository.
pub(super) fn in_repository() -> bool {
    git_output(&["rev-parse", "--git-dir"]).is_some()
}

/// The branch that production is to follow where nobody says so: `main` if the repository has it,
/// else the one that is checked out (git still begins with `master` on many machines). `None`
/// where there is none, so that Weir takes its own default.
pub(super) fn main_branch() -> Option<String> {
    if git_output(&["rev-parse", "--verify", "--quiet", "refs/heads/main"]).is_some() {
        return None;
    }
    git_output(&["symbolic-ref", "--quiet", "--short", "HEAD"])
}

/// Fails if pushes of this repository go somewhere else already.
pub(super) fn ensure_remote_is_free(base: &str, project: &str) -> Result<()> {
    let Some(url) = git_output(&["config", "--get", "remote.weir.url"]) else {
        return Ok(());
    };
    let ours = context::weir_remote().is_some_and(|remote| remote.url == base && remote.project == project);
    if ours {
        return Ok(());
    }
    Err(Failure::conflict("the git remote `weir` of this repository leads somewhere else already")
        .detail(url)
        .hint(format!("create it without a remote, and connect then: weir project create {project} --no-remote && weir link {project}")))
}

/// Sets the remote and the credential helper in the repository's own configuration.
pub(super) fn connect_repository(base: &str, git_url: &str) -> Result<()> {
    if git_output(&["config", "--get", "remote.weir.url"]).is_some() {
        git(&["remote", "set-url", "weir", git_url])?;
    } else {
        git(&["remote", "add", "weir", git_url])?;
    }
    // Weir may tell another address of itself than the one under which it was reached.
    let told = git_url.rsplit_once("/git/").map_or(base, |(told, _)| told);
    let program = executable()
        .map_err(|error| Failure::failed("cannot find the path of weir itself").detail(error.to_string()))?;
    let helper = format!("!{} git-credential", shell_word(&program.to_string_lossy()));
    let key = format!("credential.{told}.helper");
    // The empty helper takes out those of the machine: they would keep the token in their place.
    git(&["config", "--local", "--replace-all", &key, ""])?;
    git(&["config", "--local", "--add", &key, &helper])?;
    git(&[
        "config",
        "--local",
        "--replace-all",
        &format!("credential.{told}.username"),
        "weir",
    ])
}

fn git(arguments: &[&str]) -> Result<()> {
    let output = Command::new("git")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            Failure::failed("cannot run git")
                .detail(error.to_string())
                .hint("install it: apt-get install git")
        })?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Failure::failed(format!("git {} failed", arguments.first().unwrap_or(&""))).detail(words))
}
