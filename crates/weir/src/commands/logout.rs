use crate::context::weir_url;
use crate::credentials::{Stored, normal_url};
use crate::failure::Result;
use crate::session::Session;

/// Forget the token for a Weir.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  weir logout\n  weir logout http://10.0.0.5:8081")]
pub(crate) struct Args {
    /// Address of Weir; otherwise the one that commands use now.
    url: Option<String>,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<()> {
    let url = match &args.url {
        Some(url) => normal_url(url)?,
        None => weir_url()?,
    };
    let mut stored = Stored::read()?;
    let known = stored.remove(&url);
    if known {
        stored.write()?;
    }
    session
        .ui
        .result(&serde_json::json!({ "url": url, "forgotten": known }), || {
            session.ui.note(&if known {
                format!("the token for {url} is forgotten")
            } else {
                format!("there was no token for {url}")
            });
            Ok(())
        })
}
