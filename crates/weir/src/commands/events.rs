use weir_api::Change;

use crate::context::{ProjectChoice, environment_name};
use crate::failure::Result;
use crate::output::{Cell, ago};
use crate::session::Session;

/// List what has changed, newest first: deployments, crashes, stops, whatever was told.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir events\n  weir events --env staging --kind deployment.\n  weir events --all -n 200 --json | jq -r '.[].message'"
)]
pub(crate) struct Args {
    /// How many, 1 to 500.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Only kinds that begin like this, for example `deployment.` or `instance.crashed`.
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only those before this one (the first column), to read further back.
    #[arg(long, value_name = "NUMBER")]
    before: Option<i64>,
    /// Only of this environment.
    #[arg(long, short, value_name = "NAME")]
    env: Option<String>,
    /// Those of all projects, not only of this folder's.
    #[arg(long, conflicts_with = "project")]
    all: bool,
    #[command(flatten)]
    project: ProjectChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let mut query = vec![("limit", args.limit.to_string())];
    if let Some(project) = args.project.narrowed(args.all)? {
        query.push(("project", project.to_string()));
    }
    if let Some(environment) = &args.env {
        query.push(("environment", environment_name(environment)?.to_string()));
    }
    query.extend(args.kind.map(|kind| ("kind", kind)));
    query.extend(args.before.map(|before| ("before", before.to_string())));
    let changes: Vec<Change> = session.client()?.get_query("/v1/events", &query).await?;
    session.ui.result(&changes, || {
        let rows: Vec<Vec<Cell>> = changes.iter().map(row).collect();
        session.ui.table(
            &["NUMBER", "WHEN", "WHERE", "KIND", "WHAT"],
            &rows,
            "nothing has changed",
        )
    })
}

fn row(change: &Change) -> Vec<Cell> {
    let place = match &change.environment {
        Some(environment) => format!("{} {environment}", change.project),
        None => change.project.clone(),
    };
    vec![
        change.sequence.to_string().into(),
        ago(&change.at).into(),
        place.into(),
        change.kind.as_str().into(),
        change.message.as_str().into(),
    ]
}
