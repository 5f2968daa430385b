//! Follows a task to its end: prints its lines as they come, and resumes where it was when the
//! connection breaks, because control may be restarted at any moment.

use std::time::{Duration, Instant};

use weir_api::{Accepted, Task, TaskLine};

use crate::client::{Client, EventReader};
use crate::failure::{ExitCode, Failure, Result};
use crate::output::{Look, Spinner, Ui, log_text};
use crate::session::Session;

/// How long Weir may be away before we give up following.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(300);

/// Whether to stay until the work is done; flattened into the verbs that take long.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Waiting {
    /// Do not wait: print the task and return.
    #[arg(long)]
    pub(crate) detach: bool,
}

/// Waits until what was accepted is done, and prints the result: with `--json` the task, else
/// what `text` says. Fails if the task failed.
pub(crate) async fn finish(
    session: &Session,
    client: &Client,
    accepted: Accepted,
    waiting: Waiting,
    text: impl FnOnce(&Ui) -> Result<()>,
) -> Result<()> {
    let ui = &session.ui;
    let Some(id) = &accepted.task else {
        ui.note(&accepted.message);
        return ui.result(&accepted, || Ok(()));
    };
    if waiting.detach {
        ui.note(&accepted.message);
        return ui.result(&accepted, || ui.data(id));
    }
    let task = follow(ui, client, id).await?;
    if ui.is_json() {
        ui.json(&task)?;
        return outcome(&task);
    }
    outcome(&task)?;
    text(ui)
}

/// Whether a task that has ended ended well.
pub(crate) fn outcome(task: &Task) -> Result<()> {
    match task.state.as_str() {
        "done" => Ok(()),
        "superseded" => {
            let reason = task
                .error
                .clone()
                .unwrap_or_else(|| "a newer one took its place".to_owned());
            Err(Failure::failed(format!("superseded: {}", task.title))
                .detail(reason)
                .hint("see what is live: weir releases"))
        }
        _ => {
            let reason = task
                .error
                .clone()
                .unwrap_or_else(|| format!("{} {}", task.title, task.state));
            Err(Failure::failed(reason).hint(format!("everything that was said: weir task show {}", task.id)))
        }
    }
}

/// Prints the lines of a task until it ends. Ctrl-C stops the looking, not the task.
pub(crate) async fn follow(ui: &Ui, client: &Client, id: &str) -> Result<Task> {
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let mut following = Following {
        ui,
        client,
        id,
        after: None,
        heard: Instant::now(),
        spinner: Spinner::new(ui, "waiting"),
    };
    tokio::select! {
        task = following.run() => task,
        _ = &mut interrupt => Err(Failure::interrupted("stopped watching; the work goes on").hint(format!("watch it again: weir task watch {id}"))),
    }
}

struct Following<'a> {
    ui: &'a Ui,
    client: &'a Client,
    id: &'a str,
    after: Option<String>,
    heard: Instant,
    spinner: Spinner,
}

impl Following<'_> {
    async fn run(&mut self) -> Result<Task> {
        let path = format!("/v1/tasks/{}/log?follow=true", self.id);
        loop {
            let problem = match self.client.events(&path, self.after.as_deref()).await {
                Ok(events) => match self.read(events).await {
                    Ok(Some(task)) => return Ok(task),
                    Ok(None) => Failure::unreachable("Weir ended the connection"),
                    Err(problem) => problem,
                },
                Err(problem) => problem,
            };
            if problem.code != ExitCode::Unreachable {
                return Err(problem);
            }
            if self.heard.elapsed() > PATIENCE {
                return Err(problem.hint(format!(
                    "the work may go on; watch it again: weir task watch {}",
                    self.id
                )));
            }
            self.spinner.set_text("reconnecting");
            let until = Instant::now() + PAUSE;
            while Instant::now() < until {
                tokio::time::sleep(Spinner::PERIOD).await;
                self.spinner.tick();
            }
        }
    }

    async fn read(&mut self, mut events: EventReader) -> Result<Option<Task>> {
        let mut tick = tokio::time::interval(Spinner::PERIOD);
        loop {
            let event = tokio::select! {
                event = events.next() => event?,
                _ = tick.tick() => {
                    self.spinner.tick();
                    continue;
                }
            };
            self.heard = Instant::now();
            let Some(event) = event else { return Ok(None) };
            match event.name.as_str() {
                "line" => {
                    let line: TaskLine = parse(&event.data)?;
                    self.after = event.id.or(self.after.take());
                    if line.kind == "step" {
                        self.spinner.set_text(line.text.clone());
                    }
                    self.spinner.clear();
                    print_line(self.ui, &line);
                }
                "end" => {
                    self.spinner.clear();
                    return parse(&event.data).map(Some);
                }
                _ => {}
            }
        }
    }
}

/// The JSON in an event.
pub(crate) fn parse<T: serde::de::DeserializeOwned>(data: &str) -> Result<T> {
    serde_json::from_str(data).map_err(|error| {
        Failure::failed("Weir said something that this CLI does not understand").detail(error.to_string())
    })
}

/// One line of a task for people, in the style of a push.
pub(crate) fn print_line(ui: &Ui, line: &TaskLine) {
    if ui.is_json() {
        return;
    }
    let text = log_text(&line.text, false);
    ui.say(&match line.kind.as_str() {
        "step" => format!("{} {}", ui.err(Look::Link, "----->"), ui.err(Look::Bold, &text)),
        "output" => format!("       {}", ui.err(Look::Faint, &text)),
        "error" => format!(" {}     {}", ui.err(Look::Bad, "!"), ui.err(Look::Bad, &text)),
        "hint" => format!("       {} {text}", ui.err(Look::Link, "hint:")),
        _ => format!("       {text}"),
    });
}
