use weir_api::Release;

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::output::{Cell, Look, ago};
use crate::session::Session;

/// List the releases of an environment, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir releases\n  weir releases --env staging -n 5")]
pub(crate) struct Args {
    /// How many, 1 to 500.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let releases: Vec<Release> = session
        .client()?
        .get_query(&place.path("/releases"), &[("limit", args.limit.to_string())])
        .await?;
    session.ui.result(&releases, || {
        let rows: Vec<Vec<Cell>> = releases.iter().map(row).collect();
        session.ui.table(
            &["RELEASE", "STATE", "CREATED", "SOURCE", "WHAT"],
            &rows,
            "there is no release yet: git push, or weir deploy",
        )
    })
}

fn row(release: &Release) -> Vec<Cell> {
    let state = if release.live {
        "live"
    } else {
        release.outcome.as_deref().unwrap_or("-")
    };
    let number = release.number.to_string();
    vec![
        if release.live {
            Cell::looking(Look::Bold, number)
        } else {
            number.into()
        },
        Cell::state(state),
        ago(&release.created).into(),
        release.source.as_str().into(),
        release.description.as_str().into(),
    ]
}
