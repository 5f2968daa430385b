use weir_api::{Accepted, EnvironmentStatus, Promote};

use crate::context::{Place, ProjectChoice, environment_name};
use crate::failure::Result;
use crate::follow::{self, Waiting};
use crate::session::Session;

/// Run the live images of one environment in another, without a build.
///
/// Variables are those of the environment that it goes to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir promote staging production")]
pub(crate) struct Args {
    /// The environment that it comes from.
    from: String,
    /// The environment that it goes to.
    to: String,
    #[command(flatten)]
    project: ProjectChoice,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let from = environment_name(&args.from)?;
    let place = Place {
        project: args.project.resolve()?,
        environment: environment_name(&args.to)?,
    };
    let client = session.client()?;
    let accepted: Accepted = client
        .post(&place.path("/promote"), &Promote { from: from.to_string() })
        .await?;
    let json = session.ui.is_json();
    follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await?;
    if !json && !args.waiting.detach {
        let status: EnvironmentStatus = client.get(&place.path("")).await?;
        session.ui.data(&status.environment.url)?;
    }
    Ok(())
}
