use std::io::{BufRead as _, IsTerminal as _, Write as _};

use weir_api::WhoAmI;

use crate::client::Client;
use crate::context::weir_url;
use crate::credentials::{Stored, Token, normal_url};
use crate::failure::{Failure, Result};
use crate::session::Session;

/// Store a token for a Weir, so that commands and `git push` find it.
///
/// It is kept in ~/.config/weir/credentials.json, which only you can read. Tokens are made with
/// `weir token create`; the first one is in DIR/admin-token where `weir up` runs.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir login\n  weir login http://10.0.0.5:8081\n  weir login --token-stdin < /var/lib/weir/admin-token"
)]
pub(crate) struct Args {
    /// Address of Weir; otherwise WEIR_URL or http://127.0.0.1:8081.
    url: Option<String>,
    /// Read the token from standard input instead of asking for it.
    #[arg(long)]
    token_stdin: bool,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<()> {
    let url = match &args.url {
        Some(url) => normal_url(url)?,
        None => weir_url()?,
    };
    let token = if args.token_stdin { read_line()? } else { ask(&url)? };
    let token =
        Token::new(&token).ok_or_else(|| Failure::usage("that is no token").hint("a token looks like weir_…"))?;
    let who: WhoAmI = Client::new(url.clone(), Some(token.clone()))?.get("/v1/whoami").await?;
    let mut stored = Stored::read()?;
    stored.insert(&url, &token);
    let file = stored.write()?;
    session.ui.result(&who, || {
        session.ui.note(&format!(
            "logged in to {url} as `{}`, which may {}; kept in {}",
            who.token,
            who.scope,
            file.display()
        ));
        Ok(())
    })
}

fn read_line() -> Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

fn ask(url: &str) -> Result<String> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("nobody is there to ask for the token").hint("weir login --token-stdin < FILE"));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "Token for {url} (it is not shown): ")?;
    err.flush()?;
    let line = crate::terminal::without_echo(read_line)?;
    writeln!(err)?;
    Ok(line)
}
