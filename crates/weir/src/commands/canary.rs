use clap::Subcommand;
use serde_json::json;
use weir_api::{Accepted, CanaryRelease, CanaryStatus, EnvironmentStatus, SetCanary};

use crate::context::{Place, PlaceChoice};
use crate::failure::Result;
use crate::follow::{self, Waiting};
use crate::output::{Cell, Look, Ui, ago};
use crate::session::Session;

/// A new release that gets a part of the requests: see how it does, give it more, promote it or
/// give it up.
///
/// One is started with `weir deploy --canary 5%`, or `git push -o canary=5`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir deploy --canary 5%\n  weir canary\n  weir canary set 25%\n  weir canary promote\n  weir canary abort"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    place: PlaceChoice,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Change what part of the requests it gets.
    Set {
        /// The part of the visitors, like 25%. Those who have it keep it.
        #[arg(required_unless_present = "header")]
        share: Option<String>,
        /// Requests with this header get it whatever the share is, like "X-Canary: yes".
        #[arg(long)]
        header: Option<String>,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Make it the release that serves: its workers start, then it gets everything.
    Promote {
        #[command(flatten)]
        place: PlaceChoice,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Give it up: everybody gets the release that serves.
    Abort {
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let ui = &session.ui;
    let client = session.client()?;
    match args.action {
        None => {
            let place = args.place.resolve()?;
            let status: CanaryStatus = client.get(&place.path("/canary")).await?;
            ui.result(&status, || show(ui, &status))
        }
        Some(Action::Set { share, header, place }) => {
            let place = place.resolve()?;
            let status: CanaryStatus = client.put(&place.path("/canary"), &SetCanary { share, header }).await?;
            ui.result(&status, || show(ui, &status))
        }
        Some(Action::Promote { place, waiting }) => promote(session, &place.resolve()?, waiting).await,
        Some(Action::Abort { place }) => {
            let place = place.resolve()?;
            client.delete_quietly(&place.path("/canary")).await?;
            ui.result(&json!({"aborted": true}), || {
                ui.data("the canary was given up; everybody gets the release that serves")
            })
        }
    }
}

async fn promote(session: &Session, place: &Place, waiting: Waiting) -> Result<()> {
    let client = session.client()?;
    let accepted: Accepted = client.post_empty(&place.path("/canary/promote")).await?;
    let detach = waiting.detach;
    follow::finish(session, &client, accepted, waiting, |_| Ok(())).await?;
    if !session.ui.is_json() && !detach {
        let status: EnvironmentStatus = client.get(&place.path("")).await?;
        session.ui.data(&status.environment.url)?;
    }
    Ok(())
}

fn show(ui: &Ui, status: &CanaryStatus) -> Result<()> {
    let header = match &status.header {
        Some(header) => format!(", and requests with `{header}`"),
        None => String::new(),
    };
    let promoted = if status.promoted { "; it is being promoted" } else { "" };
    ui.data(&format!(
        "the canary gets {} of the requests{header}, since {}{promoted}",
        status.share,
        ago(&status.since)
    ))?;
    ui.data("")?;
    let rows: Vec<Vec<Cell>> = status.releases.iter().map(row).collect();
    ui.table(
        &["RELEASE", "", "INSTANCES", "IN FLIGHT", "REQUESTS", "ERRORS"],
        &rows,
        "",
    )
}

fn row(release: &CanaryRelease) -> Vec<Cell> {
    let errors = match (release.failed, release.requests) {
        (0, _) => "0".into(),
        (failed, requests) => {
            // Requests without an answer are no answered ones.
            let hundredths = failed.saturating_mul(10_000) / requests.max(failed);
            let text = format!("{failed} ({}.{:02} %)", hundredths / 100, hundredths % 100);
            Cell::looking(Look::Warning, text)
        }
    };
    vec![
        Cell::looking(Look::Bold, release.release.to_string()),
        if release.canary { "canary" } else { "live" }.into(),
        release.instances.to_string().into(),
        release.in_flight.to_string().into(),
        release.requests.to_string().into(),
        errors,
    ]
}
