use std::io::{IsTerminal as _, Write as _};

use weir_api::{Accepted, Project};
use weir_model::ProjectName;

use crate::context::{Place, ProjectChoice, environment_name, project_name};
use crate::failure::{Failure, Result};
use crate::follow::{self, Waiting};
use crate::output::{Look, Ui};
use crate::session::Session;

/// Remove a project, or one of its environments, with everything it has.
///
/// Containers, images, networks, volumes with their data, variables, addresses and files: nothing
/// remains, and nothing can be brought back. Asks for the name to be typed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir destroy shop\n  weir destroy shop --env staging\n  weir destroy shop --yes   # asks nothing"
)]
pub(crate) struct Args {
    /// The project; otherwise that of this folder.
    project: Option<String>,
    /// Only this environment.
    #[arg(long, short, value_name = "NAME")]
    env: Option<String>,
    #[command(flatten)]
    confirmation: Confirmation,
}

/// What stands between a slip and a loss.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Confirmation {
    /// Ask nothing.
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let project = match &args.project {
        Some(name) => project_name(name)?,
        None => ProjectChoice::default().resolve()?,
    };
    match &args.env {
        Some(name) => {
            environment(
                session,
                &Place {
                    project,
                    environment: environment_name(name)?,
                },
                args.confirmation,
            )
            .await
        }
        None => whole_project(session, &project, args.confirmation).await,
    }
}

/// Removes an environment.
pub(super) async fn environment(session: &Session, place: &Place, confirmation: Confirmation) -> Result<()> {
    let client = session.client()?;
    let what = format!(
        "the environment {} of {}, with its volumes and their data",
        place.environment, place.project
    );
    confirm(&session.ui, &what, place.environment.as_str(), confirmation)?;
    let accepted: Accepted = client.delete(&place.path("")).await?;
    follow::finish(session, &client, accepted, confirmation.waiting, |ui| {
        ui.note(&format!("nothing of {} is left", place.environment));
        Ok(())
    })
    .await
}

/// Removes a project.
pub(super) async fn whole_project(session: &Session, project: &ProjectName, confirmation: Confirmation) -> Result<()> {
    let client = session.client()?;
    let path = format!("/v1/projects/{project}");
    if !confirmation.yes {
        // Asking for something that does not exist would be a bad joke.
        let found: Project = client.get(&path).await?;
        let environments: Vec<&str> = found
            .environments
            .iter()
            .map(|environment| environment.name.as_str())
            .collect();
        let what = format!(
            "the project {project} ({}), with its volumes and their data",
            environments.join(", ")
        );
        confirm(&session.ui, &what, project.as_str(), confirmation)?;
    }
    let accepted: Accepted = client.delete(&path).await?;
    follow::finish(session, &client, accepted, confirmation.waiting, |ui| {
        ui.note(&format!("nothing of {project} is left"));
        Ok(())
    })
    .await
}

fn confirm(ui: &Ui, what: &str, name: &str, confirmation: Confirmation) -> Result<()> {
    confirm_name(ui, what, name, confirmation.yes)
}

/// Asks for a name to be typed before something is lost.
pub(super) fn confirm_name(ui: &Ui, what: &str, name: &str, yes: bool) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("this removes {what}, and nobody is there to ask"))
                .hint("add --yes if that is what you want"),
        );
    }
    ui.say(&format!(
        "{} {what}. It cannot be brought back.",
        ui.err(Look::Bad, "This removes")
    ));
    let mut err = std::io::stderr().lock();
    write!(err, "Type {} to go on: ", ui.err(Look::Bold, name))?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() == name {
        Ok(())
    } else {
        Err(Failure::failed("nothing was removed: the name was not typed"))
    }
}
