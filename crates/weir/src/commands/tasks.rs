use weir_api::Task;

use crate::context::ProjectChoice;
use crate::failure::Result;
use crate::output::{Cell, ago};
use crate::session::Session;

/// List tasks, newest first: pushes, deployments, whatever takes time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir tasks\n  weir tasks --all -n 50\n  weir tasks --state failed")]
pub(crate) struct Args {
    /// How many, 1 to 500.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Only in this state: `queued`, `running`, `done`, `failed` or `superseded`.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only those that are older than this task, to read further back.
    #[arg(long, value_name = "TASK")]
    before: Option<String>,
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
    query.extend(args.state.map(|state| ("state", state)));
    query.extend(args.before.map(|before| ("before", before)));
    let tasks: Vec<Task> = session.client()?.get_query("/v1/tasks", &query).await?;
    session.ui.result(&tasks, || {
        let rows: Vec<Vec<Cell>> = tasks
            .iter()
            .map(|task| {
                let place = match &task.environment {
                    Some(environment) => format!("{} {environment}", task.project),
                    None => task.project.clone(),
                };
                vec![
                    task.id.as_str().into(),
                    Cell::state(&task.state),
                    ago(&task.created).into(),
                    place.into(),
                    task.title.as_str().into(),
                ]
            })
            .collect();
        session.ui.table(
            &["TASK", "STATE", "ASKED FOR", "WHERE", "WHAT"],
            &rows,
            "there are no tasks",
        )
    })
}
