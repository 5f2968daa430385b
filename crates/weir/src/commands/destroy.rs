use std::io::{IsTerminal as _, Write as _};

use weir_api::{Accepted, Loss, Project};
use weir_model::ProjectName;

use crate::client::with_query;
use crate::context::{Place, ProjectChoice, environment_name, project_name};
use crate::failure::{Failure, Result};
use crate::follow::{self, Waiting};
use crate::output::{Look, Ui, size};
use crate::session::Session;

/// Remove a project, or one of its environments, with everything it has.
///
/// Containers, images, networks, volumes with their data, variables, addresses and files: nothing
/// remains, and nothing can be brought back. Asks for the name to be typed.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir destroy shop\n  weir destroy shop --env staging\n  weir destroy shop --confirm shop   # asks nothing, and cannot hit another one"
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
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Confirmation {
    /// Ask nothing.
    #[arg(long, short)]
    yes: bool,
    /// Ask nothing, if this is the name of what is to be removed: PROJECT, or PROJECT/ENVIRONMENT.
    #[arg(long, value_name = "NAME", conflicts_with = "yes")]
    confirm: Option<String>,
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
    let full = format!("{}/{}", place.project, place.environment);
    if confirmation.asks() {
        let loss: Loss = client.get(&place.path("/loss")).await?;
        tell(&session.ui, &full, &loss);
    }
    confirm(&session.ui, &what, (place.environment.as_str(), &full), &confirmation)?;
    let accepted: Accepted = client
        .delete(&with_query(&place.path(""), &[("confirm", full)]))
        .await?;
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
    if confirmation.asks() {
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
        for environment in &found.environments {
            let loss: Loss = client
                .get(&format!("{path}/environments/{}/loss", environment.name))
                .await?;
            tell(&session.ui, &format!("{project}/{}", environment.name), &loss);
        }
        confirm(&session.ui, &what, (project.as_str(), project.as_str()), &confirmation)?;
    } else {
        let what = format!("the project {project}, with its volumes and their data");
        confirm(&session.ui, &what, (project.as_str(), project.as_str()), &confirmation)?;
    }
    let accepted: Accepted = client
        .delete(&with_query(&path, &[("confirm", project.to_string())]))
        .await?;
    follow::finish(session, &client, accepted, confirmation.waiting, |ui| {
        ui.note(&format!("nothing of {project} is left"));
        Ok(())
    })
    .await
}

impl Confirmation {
    /// Whether somebody is to be asked.
    fn asks(&self) -> bool {
        !self.yes && self.confirm.is_none()
    }
}

/// Says what is lost with an environment.
fn tell(ui: &Ui, name: &str, loss: &Loss) {
    for volume in &loss.volumes {
        ui.say(&format!(
            "{name}: the volume {}/{} with {}",
            volume.app,
            volume.name,
            size(volume.bytes)
        ));
    }
    if !loss.domains.is_empty() {
        ui.say(&format!("{name}: the addresses {}", loss.domains.join(", ")));
    }
    ui.say(&format!("{name}: {} releases, {} secrets", loss.releases, loss.secrets));
}

/// Asks for the short name to be typed; `--confirm` takes the full one.
fn confirm(ui: &Ui, what: &str, (name, full): (&str, &str), confirmation: &Confirmation) -> Result<()> {
    match confirmation.confirm.as_deref() {
        Some(confirmed) if confirmed == full => Ok(()),
        Some(confirmed) => {
            let words = format!("nothing was removed: --confirm says `{confirmed}`, and this is {full}");
            Err(Failure::usage(words).hint(format!("if that is what you want: --confirm {full}")))
        }
        None => confirm_name(ui, what, name, (confirmation.yes, &format!("--confirm {full}"))),
    }
}

/// Asks for a name to be typed before something is lost, unless it is clear already (`yes`); `option`
/// is what says so where nobody is there to ask.
pub(super) fn confirm_name(ui: &Ui, what: &str, name: &str, (yes, option): (bool, &str)) -> Result<()> {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(
            Failure::usage(format!("this removes {what}, and nobody is there to ask"))
                .hint(format!("add {option} if that is what you want")),
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
