use serde::Serialize;
use weir_api::Health;

use crate::failure::Result;
use crate::platform::upgrade::Build;
use crate::session::Session;

/// Print the version of the CLI, and that of the Weir that it reaches.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir version\n  weir version --json")]
pub(crate) struct Args {
    /// What this program says of itself, for the Weir that it is to take the place of.
    #[arg(long, hide = true)]
    build: bool,
}

#[derive(Serialize)]
struct Versions {
    cli: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    if args.build {
        return session.ui.json(&Build::own());
    }
    let client = session.client()?;
    let health = client.get::<Health>("/v1/health").await.ok();
    let versions = Versions {
        cli: env!("CARGO_PKG_VERSION"),
        url: health.is_some().then(|| client.base().to_owned()),
        server: health.map(|health| health.version),
    };
    session.ui.result(&versions, || {
        session.ui.data(&format!("weir {}", versions.cli))?;
        match (&versions.server, &versions.url) {
            (Some(server), Some(url)) => session.ui.note(&format!("Weir at {url} has version {server}")),
            _ => session.ui.note(&format!("Weir at {} does not answer", client.base())),
        }
        Ok(())
    })
}
