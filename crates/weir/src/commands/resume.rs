use weir_api::Accepted;

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::follow::{self, Waiting};
use crate::session::Session;

/// Start again what `weir pause` stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir resume\n  weir resume --env staging")]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let client = session.client()?;
    let accepted: Accepted = client.post_empty(&place.path("/resume")).await?;
    follow::finish(session, &client, accepted, args.waiting, |ui| {
        ui.note(&format!("{} {} runs again", place.project, place.environment));
        Ok(())
    })
    .await
}
