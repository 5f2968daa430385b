use weir_api::{Task, TaskLine};

use crate::failure::{Failure, Result};
use crate::follow;
use crate::session::Session;

/// Show or watch a task.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir tasks\n  weir task show tsk_01jd…\n  weir task watch tsk_01jd…")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show how far it is and everything that it said.
    Show {
        /// The task.
        task: String,
    },
    /// Follow it to its end; the exit code says how it ended.
    Watch {
        /// The task.
        task: String,
    },
}

#[derive(serde::Serialize)]
struct TaskWithLines {
    #[serde(flatten)]
    task: Task,
    lines: Vec<TaskLine>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        Verb::Show { task: id } => {
            let id = checked(&id)?;
            let task: Task = client.get(&format!("/v1/tasks/{id}")).await?;
            let lines: Vec<TaskLine> = client
                .get_query(&format!("/v1/tasks/{id}/log"), &[("limit", "20000".to_owned())])
                .await?;
            let whole = TaskWithLines { task, lines };
            ui.result(&whole, || {
                for line in &whole.lines {
                    follow::print_line(ui, line);
                }
                ui.data(&format!("{} {}: {}", whole.task.id, whole.task.state, whole.task.title))?;
                whole.task.error.as_ref().map_or(Ok(()), |error| ui.data(error))
            })
        }
        Verb::Watch { task: id } => {
            let task = follow::follow(ui, &client, checked(&id)?).await?;
            if ui.is_json() {
                ui.json(&task)?;
            }
            follow::outcome(&task)
        }
    }
}

fn checked(id: &str) -> Result<&str> {
    let sound = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if sound {
        Ok(id)
    } else {
        Err(Failure::usage(format!("`{id}` is not a task")).hint("list them with: weir tasks"))
    }
}
