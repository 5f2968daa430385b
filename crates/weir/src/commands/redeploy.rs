use weir_api::{Accepted, CreateDeployment};

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::follow::{self, Waiting};
use crate::session::Session;

/// Deploy the variables that `--no-deploy` left waiting.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir set LOG_LEVEL=debug --no-deploy\n  weir redeploy")]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let client = session.client()?;
    let request = CreateDeployment {
        kind: "redeploy".to_owned(),
        release: None,
    };
    let accepted: Accepted = client.post(&place.path("/deployments"), &request).await?;
    follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await
}
