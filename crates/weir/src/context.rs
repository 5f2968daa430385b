//! Which Weir, project and environment a command is about.

use std::process::Command;

use weir_model::{EnvironmentName, ProjectName};

use crate::credentials::{self, DEFAULT_URL, Stored};
use crate::failure::{Failure, Result};

/// Which project; flattened into the verbs that are about one.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ProjectChoice {
    /// The project; otherwise that of the git remote `weir` of this folder, or WEIR_PROJECT.
    #[arg(long, short, value_name = "NAME", help_heading = "Where")]
    pub(crate) project: Option<String>,
}

/// Which environment of which project.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PlaceChoice {
    #[command(flatten)]
    pub(crate) project: ProjectChoice,
    /// The environment; otherwise `production`.
    #[arg(long, short, value_name = "NAME", help_heading = "Where")]
    pub(crate) env: Option<String>,
}

/// An environment of a project.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The project.
    pub(crate) project: ProjectName,
    /// The environment.
    pub(crate) environment: EnvironmentName,
}

impl Place {
    /// The path of something of the environment in the API: `path("/scale")`.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/projects/{}/environments/{}{rest}", self.project, self.environment)
    }
}

impl ProjectChoice {
    /// The project that is meant. Fails with what to do if nothing says which.
    pub(crate) fn resolve(&self) -> Result<ProjectName> {
        if let Some(name) = &self.project {
            return project_name(name);
        }
        if let Some(remote) = weir_remote() {
            return project_name(&remote.project);
        }
        if let Some(name) = credentials::variable("WEIR_PROJECT") {
            return project_name(&name);
        }
        Err(Failure::usage("which project?")
            .detail("this folder has no git remote `weir`, and neither --project nor WEIR_PROJECT says which")
            .hint("add --project NAME (see `weir project list`), or create one here: weir project create NAME"))
    }
}

impl ProjectChoice {
    /// The project that a list is narrowed down to; `None` where all are meant, or none is known here.
    pub(crate) fn narrowed(&self, all: bool) -> Result<Option<ProjectName>> {
        Ok(match (all, &self.project) {
            (true, _) => None,
            (false, Some(_)) => Some(self.resolve()?),
            (false, None) => self.resolve().ok(),
        })
    }
}

impl PlaceChoice {
    /// The environment that is meant.
    pub(crate) fn resolve(&self) -> Result<Place> {
        let environment = match &self.env {
            Some(name) => environment_name(name)?,
            None => EnvironmentName::production(),
        };
        Ok(Place {
            project: self.project.resolve()?,
            environment,
        })
    }
}

/// Checks the name of a project.
pub(crate) fn project_name(name: &str) -> Result<ProjectName> {
    ProjectName::new(name).map_err(|error| Failure::usage(error.to_string()))
}

/// Checks the name of an environment.
pub(crate) fn environment_name(name: &str) -> Result<EnvironmentName> {
    EnvironmentName::new(name).map_err(|error| Failure::usage(error.to_string()))
}

/// The address of Weir: `WEIR_URL`, that of the git remote, that of the latest log-in, or the
/// default.
pub(crate) fn weir_url() -> Result<String> {
    if let Some(url) = credentials::variable("WEIR_URL") {
        return credentials::normal_url(&url);
    }
    if let Some(remote) = weir_remote() {
        return credentials::normal_url(&remote.url);
    }
    Ok(Stored::read()?.default.unwrap_or_else(|| DEFAULT_URL.to_owned()))
}

/// The git remote `weir` of the current folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Remote {
    /// Address of Weir.
    pub(crate) url: String,
    /// Name of the project.
    pub(crate) project: String,
}

/// Reads the remote of the repository that the current folder is in, if it is one of Weir's.
pub(crate) fn weir_remote() -> Option<Remote> {
    parse_remote(&git_output(&["config", "--get", "remote.weir.url"])?)
}

fn parse_remote(url: &str) -> Option<Remote> {
    let (base, path) = url.trim().rsplit_once("/git/")?;
    let project = path.trim_end_matches('/').strip_suffix(".git")?;
    let mut base = reqwest::Url::parse(base).ok()?;
    base.set_username("").ok()?;
    base.set_password(None).ok()?;
    Some(Remote {
        url: base.as_str().trim_end_matches('/').to_owned(),
        project: project.to_owned(),
    })
}

/// What a git command writes, if it ends well; also `None` where there is no git.
pub(crate) fn git_output(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remotes_name_project_and_address() {
        let remote = Remote {
            url: "http://127.0.0.1:8081".to_owned(),
            project: "shop".to_owned(),
        };
        assert_eq!(
            parse_remote("http://127.0.0.1:8081/git/shop.git\n"),
            Some(remote.clone())
        );
        assert_eq!(
            parse_remote("http://weir:secret@127.0.0.1:8081/git/shop.git"),
            Some(remote)
        );
        assert_eq!(parse_remote("git@github.com:a/shop.git"), None);
        assert_eq!(parse_remote("http://a/git/shop"), None);
    }
}
