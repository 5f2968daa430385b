use weir_api::{Overview, OverviewEnvironment};

use crate::amounts::shown;
use crate::failure::Result;
use crate::output::{Cell, Look, ago, log_text};
use crate::session::Session;

/// Show everything that runs, on one page, and what somebody should look at.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir overview\n  weir overview --json | jq '.troubles'\n  weir overview --json | jq -r '.environments[] | select(.health == \"crashed\") | .project'"
)]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, session: &Session) -> Result<()> {
    let overview: Overview = session.client()?.get("/v1/overview").await?;
    let ui = &session.ui;
    ui.result(&overview, || {
        let rows: Vec<Vec<Cell>> = overview.environments.iter().map(row).collect();
        ui.table(
            &[
                "ENVIRONMENT",
                "STATE",
                "READY",
                "RELEASE",
                "REQUESTS/S",
                "ERRORS/S",
                "PER HOUR",
                "SPENT",
            ],
            &rows,
            "there is nothing yet: weir project create NAME",
        )?;
        for trouble in &overview.troubles {
            let place = match &trouble.environment {
                Some(environment) => format!("{}/{environment}", trouble.project),
                None => trouble.project.clone(),
            };
            let look = if trouble.severity == "error" {
                Look::Bad
            } else {
                Look::Warning
            };
            let since = trouble
                .since
                .as_deref()
                .map_or_else(String::new, |since| format!(" ({})", ago(since)));
            ui.data(&format!(
                "{} {}{since}",
                ui.out(look, &place),
                log_text(&trouble.message, false)
            ))?;
        }
        Ok(())
    })
}

fn row(environment: &OverviewEnvironment) -> Vec<Cell> {
    let dash = || "-".to_owned();
    let money = environment.money.as_ref();
    let state = match money.is_some_and(|money| money.stopped) {
        true => "stopped",
        false => &environment.health,
    };
    let spent = money.map(|money| match &money.limit {
        Some(limit) => format!("{} of {} ({})", shown(&money.spent), shown(limit), money.scope),
        None => shown(&money.spent),
    });
    vec![
        format!("{}/{}", environment.project, environment.environment).into(),
        Cell::state(state),
        format!("{}/{}", environment.ready, environment.wanted).into(),
        environment
            .release
            .map_or_else(dash, |number| number.to_string())
            .into(),
        environment.requests_per_s.to_string().into(),
        environment.errors_per_s.to_string().into(),
        money.map_or_else(dash, |money| shown(&money.burn_per_hour)).into(),
        spent.unwrap_or_else(dash).into(),
    ]
}
