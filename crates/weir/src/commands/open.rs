use std::io::IsTerminal as _;
use std::process::{Command, Stdio};

use weir_api::EnvironmentStatus;

use crate::context::PlaceChoice;
use crate::failure::Result;
use crate::session::Session;

/// Print the address of an environment, and open it in a browser where there is one.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir open\n  curl \"$(weir open --env staging)\"")]
pub(crate) struct Args {
    #[command(flatten)]
    place: PlaceChoice,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let place = args.place.resolve()?;
    let status: EnvironmentStatus = session.client()?.get(&place.path("")).await?;
    let url = status.environment.url;
    session
        .ui
        .result(&serde_json::json!({ "url": url }), || session.ui.data(&url))?;
    let somebody_looks = std::io::stdout().is_terminal() && !session.ui.is_json();
    let desktop = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some());
    if somebody_looks && desktop {
        // Without a browser the printed address is all there is; that is no failure.
        let _ = Command::new("xdg-open")
            .arg(&url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
    Ok(())
}
