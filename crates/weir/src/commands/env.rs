use weir_api::{CreateEnvironment, Environment, UpdateEnvironment};

use super::destroy;
use crate::context::{Place, ProjectChoice, environment_name};
use crate::failure::Result;
use crate::output::{Cell, Look};
use crate::session::Session;

/// Environments: running copies of a project with their own variables, network and address.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir env create staging --branch staging\n  weir env list\n  weir env set-branch production release\n  weir env destroy staging"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make an environment.
    Create {
        /// Its name; its address is http://PROJECT-NAME.DOMAIN.
        name: String,
        /// The branch that it follows; without one, only `weir promote` and `weir deploy` fill it.
        #[arg(long, value_name = "BRANCH")]
        branch: Option<String>,
        #[command(flatten)]
        project: ProjectChoice,
    },
    /// List the environments of a project.
    List {
        #[command(flatten)]
        project: ProjectChoice,
    },
    /// Let an environment follow another branch.
    SetBranch {
        /// The environment.
        name: String,
        /// The branch.
        branch: String,
        #[command(flatten)]
        project: ProjectChoice,
    },
    /// Remove an environment with everything it has. Production goes only with its project.
    Destroy {
        /// The environment.
        name: String,
        #[command(flatten)]
        project: ProjectChoice,
        #[command(flatten)]
        confirmation: destroy::Confirmation,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let ui = &session.ui;
    match args.verb {
        Verb::Create { name, branch, project } => {
            let name = environment_name(&name)?;
            let project = project.resolve()?;
            let request = CreateEnvironment {
                name: name.to_string(),
                branch,
            };
            let environment: Environment = session
                .client()?
                .post(&format!("/v1/projects/{project}/environments"), &request)
                .await?;
            ui.result(&environment, || {
                let way = match &environment.branch {
                    Some(branch) => format!("git push weir {branch}"),
                    None => format!("weir promote production {name}, or weir deploy --env {name}"),
                };
                ui.note(&format!("{name} is there; fill it with: {way}"));
                ui.data(&environment.url)
            })
        }
        Verb::List { project } => {
            let environments: Vec<Environment> = session
                .client()?
                .get(&format!("/v1/projects/{}/environments", project.resolve()?))
                .await?;
            ui.result(&environments, || {
                let rows: Vec<Vec<Cell>> = environments.iter().map(row).collect();
                ui.table(
                    &["ENVIRONMENT", "MODE", "BRANCH", "RELEASE", "ADDRESS"],
                    &rows,
                    "there are no environments",
                )
            })
        }
        Verb::SetBranch { name, branch, project } => {
            let place = Place {
                project: project.resolve()?,
                environment: environment_name(&name)?,
            };
            let environment: Environment = session
                .client()?
                .patch(&place.path(""), &UpdateEnvironment { branch })
                .await?;
            ui.result(&environment, || {
                ui.note(&format!(
                    "{name} follows {} from the next push on",
                    environment.branch.as_deref().unwrap_or("no branch")
                ));
                Ok(())
            })
        }
        Verb::Destroy {
            name,
            project,
            confirmation,
        } => {
            let place = Place {
                project: project.resolve()?,
                environment: environment_name(&name)?,
            };
            destroy::environment(session, &place, confirmation).await
        }
    }
}

/// A row of a list.
pub(super) fn row(environment: &Environment) -> Vec<Cell> {
    vec![
        Cell::looking(Look::Bold, environment.name.as_str()),
        Cell::state(&environment.mode),
        environment.branch.clone().into(),
        environment.release.map(|number| number.to_string()).into(),
        Cell::looking(Look::Link, environment.url.as_str()),
    ]
}
