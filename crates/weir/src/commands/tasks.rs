use weir_api::Task;

use crate::context::ProjectChoice;
use crate::failure::Result;
use crate::output::{Cell, ago};
use crate::session::Session;

/// List tasks, newest first: pushes, deployments, whatever takes time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir tasks\n  weir tasks --all -n 50")]
pub(crate) struct Args {
    /// How many, 1 to 500.
    #[arg(long, short = 'n', default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=500))]
    limit: u32,
    /// Those of all projects, not only of this folder's.
    #[arg(long, conflicts_with = "project")]
    all: bool,
    #[command(flatten)]
    project: ProjectChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    // Without a project there is nothing to narrow the list down to, and all are shown.
    let project = if args.all {
        None
    } else if args.project.project.is_some() {
        Some(args.project.resolve()?)
    } else {
        args.project.resolve().ok()
    };
    // The API lists the tasks of all projects; a few more are asked for where some fall out.
    let asked_for = if project.is_some() { 500 } else { args.limit };
    let mut tasks: Vec<Task> = session
        .client()?
        .get_query("/v1/tasks", &[("limit", asked_for.to_string())])
        .await?;
    tasks.retain(|task| project.as_ref().is_none_or(|project| task.project == project.as_str()));
    tasks.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
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
