use weir_api::{AddDomain, Domain};

use crate::context::PlaceChoice;
use crate::failure::{Failure, Result};
use crate::output::{Cell, Look};
use crate::session::Session;

/// Add, list and remove host names of an environment.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir domain add shop.example.org\n  weir domain add api.example.org --app api\n  weir domain list\n  weir domain remove shop.example.org"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Let a host name of your own lead to this environment.
    Add {
        /// The host name.
        host: String,
        /// The app that answers, in a repository with several.
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// List host names.
    List {
        #[command(flatten)]
        place: PlaceChoice,
    },
    /// Remove a host name of your own.
    Remove {
        /// The host name.
        host: String,
        #[command(flatten)]
        place: PlaceChoice,
    },
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let ui = &session.ui;
    match args.verb {
        Verb::Add { host, app, place } => {
            let place = place.resolve()?;
            let domain: Domain = session
                .client()?
                .post(
                    &place.path("/domains"),
                    &AddDomain {
                        host: checked(host)?,
                        app,
                    },
                )
                .await?;
            ui.result(&domain, || {
                ui.note(&format!(
                    "{} leads to {} {}; let its DNS record point to this machine",
                    domain.host, place.project, place.environment
                ));
                ui.data(&domain.url)
            })
        }
        Verb::List { place } => {
            let domains: Vec<Domain> = session.client()?.get(&place.resolve()?.path("/domains")).await?;
            ui.result(&domains, || {
                let rows: Vec<Vec<Cell>> = domains
                    .iter()
                    .map(|domain| {
                        let origin = if domain.platform { "given by Weir" } else { "your own" };
                        vec![
                            Cell::looking(Look::Link, domain.url.as_str()),
                            domain.app.clone().into(),
                            origin.into(),
                        ]
                    })
                    .collect();
                ui.table(&["ADDRESS", "APP", "ORIGIN"], &rows, "there are no host names")
            })
        }
        Verb::Remove { host, place } => {
            let place = place.resolve()?;
            let host = checked(host)?;
            session
                .client()?
                .delete_quietly(&place.path(&format!("/domains/{host}")))
                .await?;
            ui.result(&serde_json::json!({ "removed": host }), || {
                ui.note(&format!("{host} leads nowhere from now on"));
                Ok(())
            })
        }
    }
}

/// Only what may stand in a path; the API checks the rest.
fn checked(host: String) -> Result<String> {
    let sound = !host.is_empty()
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_*".contains(&byte));
    if sound {
        Ok(host)
    } else {
        Err(Failure::usage(format!("`{host}` is not a host name"))
            .hint("for example: weir domain add shop.example.org"))
    }
}
