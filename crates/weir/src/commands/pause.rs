use weir_api::Accepted;

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::follow::{self, Waiting};
use crate::session::Session;

/// Stop all instances of an environment and keep everything else.
///
/// Volumes, images, variables and addresses stay. Visitors see a page that says so, until
/// `weir resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir pause\n  weir pause --env staging")]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let client = session.client()?;
    let accepted: Accepted = client.post_empty(&place.path("/pause")).await?;
    follow::finish(session, &client, accepted, args.waiting, |ui| {
        ui.note(&format!(
            "{} {} is paused; start it again with `weir resume`",
            place.project, place.environment
        ));
        Ok(())
    })
    .await
}
