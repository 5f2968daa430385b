use weir_api::{Accepted, CreateDeployment, EnvironmentStatus};

use crate::context::PlaceChoice;
use crate::failure::{Failure, Result};
use crate::follow::{self, Waiting};
use crate::session::Session;

/// Make an earlier release live again.
///
/// Image and variables are those of that release. The one that was live before is kept ready
/// for ten minutes, so that going back to it takes no time; it is the default.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir rollback\n  weir rollback 12\n  weir rollback v12 --env staging")]
pub(crate) struct Args {
    /// Number of the release (see `weir releases`); otherwise the one that was live before.
    release: Option<String>,
    #[command(flatten)]
    place: PlaceChoice,
    #[command(flatten)]
    waiting: Waiting,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let release = args.release.as_deref().map(number).transpose()?;
    let client = session.client()?;
    let request = CreateDeployment {
        kind: "rollback".to_owned(),
        release,
    };
    let accepted: Accepted = client.post(&place.path("/deployments"), &request).await?;
    let json = session.ui.is_json();
    follow::finish(session, &client, accepted, args.waiting, |_| Ok(())).await?;
    if !json && !args.waiting.detach {
        let status: EnvironmentStatus = client.get(&place.path("")).await?;
        if let Some(live) = status.environment.release {
            session.ui.note(&format!("release {live} is live"));
        }
        session.ui.data(&status.environment.url)?;
    }
    Ok(())
}

fn number(text: &str) -> Result<i64> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    digits.parse().ok().filter(|number| *number > 0).ok_or_else(|| {
        Failure::usage(format!("`{text}` is not the number of a release"))
            .hint("see `weir releases`, then for example: weir rollback 12")
    })
}
