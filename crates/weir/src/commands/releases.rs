use weir_api::{Release, ReleaseDifference};

use crate::context::{Place, PlaceChoice};
use crate::failure::Result;
use crate::output::{Cell, Look, ago};
use crate::session::Session;

/// List the releases of an environment, newest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir releases\n  weir releases --env staging -n 5\n  weir releases --diff 12   # what a rollback to 12 would change"
)]
pub(crate) struct Args {
    /// Show instead what making this release live would change.
    #[arg(long, value_name = "NUMBER")]
    diff: Option<i64>,
    /// With --diff: against this release instead of the one that serves.
    #[arg(long, value_name = "NUMBER", requires = "diff")]
    to: Option<i64>,
    /// How many, 1 to 500.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    if let Some(number) = args.diff {
        return difference(session, &place, number, args.to).await;
    }
    let releases: Vec<Release> = session
        .client()?
        .get_query(&place.path("/releases"), &[("limit", args.limit.to_string())])
        .await?;
    session.ui.result(&releases, || {
        let rows: Vec<Vec<Cell>> = releases.iter().map(row).collect();
        session.ui.table(
            &["RELEASE", "STATE", "CREATED", "BY", "SOURCE", "WHAT"],
            &rows,
            "there is no release yet: git push, or weir deploy",
        )
    })
}

async fn difference(session: &Session, place: &Place, number: i64, to: Option<i64>) -> Result<()> {
    let path = place.path(&format!("/releases/{number}/difference"));
    let query: Vec<_> = to.map(|to| ("to", to.to_string())).into_iter().collect();
    let difference: ReleaseDifference = session.client()?.get_query(&path, &query).await?;
    let ui = &session.ui;
    ui.result(&difference, || {
        let from = difference
            .from
            .map_or_else(|| "nothing".to_owned(), |from| format!("release {from}"));
        ui.data(&format!("from {from} to release {}", difference.to))?;
        let images = difference.images.iter().map(|it| ("image", &it.app, &it.change, ""));
        let variables = difference.variables.iter().map(|it| {
            let what = if it.secret { "secret" } else { "variable" };
            (what, &it.name, &it.change, "")
        });
        let processes = difference.processes.iter();
        let processes = processes.map(|it| ("process", &it.process, &it.change, it.detail.as_str()));
        let rows: Vec<Vec<Cell>> = images
            .chain(variables)
            .chain(processes)
            .map(|(what, name, change, detail)| {
                vec![what.into(), name.as_str().into(), change.as_str().into(), detail.into()]
            })
            .collect();
        ui.table(&["WHAT", "NAME", "CHANGE", "DETAIL"], &rows, "nothing is different")?;
        difference.notes.iter().try_for_each(|note| ui.data(note))
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
        release.by.as_deref().unwrap_or("-").into(),
        release.source.as_str().into(),
        release.description.as_str().into(),
    ]
}
