use weir_api::{Accepted, CreateDeployment};

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::follow::{self, Waiting};
use crate::session::Session;

/// Replace all instances of the live release with new ones.
///
/// As in a push, new instances are ready before the old ones end: no request fails.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir restart\n  weir restart --env staging --detach")]
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
        kind: "restart".to_owned(),
        release: None,
    };
    let accepted: Accepted = client.post(&place.path("/deployments"), &request).await?;
    follow::finish(session, &client, accepted, args.waiting, |ui| {
        ui.note(&format!(
            "{} {} runs with new instances",
            place.project, place.environment
        ));
        Ok(())
    })
    .await
}
