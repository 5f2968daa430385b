use std::path::PathBuf;

use weir_api::{AccessLog, MadeSecret, SetAccessLog, SetAccessLogShipping};

use super::var::read_file;
use crate::client::Client;
use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::output::{Cell, Look, Ui, ago};
use crate::session::Session;

/// Access logs: one line of JSON for each request to an app.
///
/// They are off until they are switched on, here or with `access_log = true` in weir.toml. Read
/// them with `weir logs --access`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir access-log\n  weir access-log on\n  weir access-log on --app api --with-query\n  weir logs --access -f\n  weir access-log ship https://collector.example.org/weir\n  weir access-log off"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    place: PlaceChoice,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Log requests to an app from now on.
    On {
        /// The app; otherwise the only one, or the main app.
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        /// With the query of URLs, in which secrets may be.
        #[arg(long)]
        with_query: bool,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Log them no more. Lines that are there stay.
    Off {
        /// The app; otherwise the only one, or the main app.
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Leave it to weir.toml again.
    Reset {
        /// The app; otherwise the only one, or the main app.
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Ship the lines of all apps of an environment to a collector, in signed batches.
    Ship {
        /// Gets batches of lines by POST; `off`: no more.
        #[arg(value_name = "URL")]
        to: String,
        /// It may be on this machine or in a private network, and without TLS.
        #[arg(long)]
        allow_private: bool,
        /// A file with the secret for the signatures; otherwise Weir makes one and shows it once.
        #[arg(long, value_name = "FILE")]
        secret_from: Option<PathBuf>,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let client = session.client()?;
    let ui = &session.ui;
    match args.verb {
        None => {
            let log: AccessLog = client.get(&args.place.resolve()?.path("/access-log")).await?;
            ui.result(&log, || show(ui, &log))
        }
        Some(Verb::On { app, with_query, place }) => {
            let logging = if with_query { "with-query" } else { "on" };
            set(&client, ui, &place, app, Some(logging)).await
        }
        Some(Verb::Off { app, place }) => set(&client, ui, &place, app, Some("off")).await,
        Some(Verb::Reset { app, place }) => set(&client, ui, &place, app, None).await,
        Some(Verb::Ship {
            to,
            allow_private,
            secret_from,
            place,
        }) => {
            let path = place.resolve()?.path("/access-log/shipping");
            if to == "off" {
                let log: AccessLog = client.delete(&path).await?;
                return ui.result(&log, || {
                    ui.note("lines are shipped no more");
                    Ok(())
                });
            }
            let secret = secret_from.as_deref().map(read_file).transpose()?;
            let wanted = SetAccessLogShipping {
                url: to,
                secret: secret.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
                allow_private,
            };
            let made: MadeSecret = client.put(&path, &wanted).await?;
            ui.result(&made, || {
                ui.note("lines that are written from now on are shipped; `weir access-log` tells how that goes");
                let Some(secret) = &made.secret else { return Ok(()) };
                ui.note("batches are signed with this; it is not shown again");
                ui.data(secret)
            })
        }
    }
}

async fn set(client: &Client, ui: &Ui, place: &PlaceChoice, app: Option<String>, logging: Option<&str>) -> Result<()> {
    let wanted = SetAccessLog {
        app,
        logging: logging.map(str::to_owned),
    };
    let path = place.resolve()?.path("/access-log");
    let log: AccessLog = client.patch(&path, &wanted).await?;
    ui.result(&log, || show(ui, &log))
}

fn show(ui: &Ui, log: &AccessLog) -> Result<()> {
    let rows: Vec<Vec<Cell>> = log
        .apps
        .iter()
        .map(|app| {
            let said = if app.set { "weir access-log" } else { "weir.toml" };
            vec![app.app.as_str().into(), app.logging.as_str().into(), said.into()]
        })
        .collect();
    ui.table(&["APP", "ACCESS LOG", "SAID BY"], &rows, "nothing is deployed here")?;
    let Some(shipping) = &log.shipping else { return Ok(()) };
    let sent = shipping.sent_until.as_deref().map_or_else(
        || "nothing was sent yet".to_owned(),
        |at| format!("sent all that was written until {}", ago(at)),
    );
    ui.data(&format!("shipped to {}: {sent}", ui.out(Look::Bold, &shipping.url)))?;
    if let Some(problem) = &shipping.problem {
        ui.note(&format!(
            "the collector does not take the next lines, which wait: {problem}"
        ));
    }
    Ok(())
}
