use std::collections::HashMap;
use std::io::Read as _;

use crate::credentials::{normal_url, token_for};
use crate::failure::Result;
use crate::session::Session;

/// Answer git's question for a password (see gitcredentials(7)).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `get`; git's other words (`store`, `erase`) are none of our business.
    operation: String,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<()> {
    if args.operation != "get" {
        return Ok(());
    }
    let mut question = String::new();
    std::io::stdin().lock().take(64 << 10).read_to_string(&mut question)?;
    let fields: HashMap<&str, &str> = question.lines().filter_map(|line| line.split_once('=')).collect();
    let (Some(protocol), Some(host)) = (fields.get("protocol"), fields.get("host")) else {
        return Ok(());
    };
    let Ok(url) = normal_url(&format!("{protocol}://{host}")) else {
        return Ok(());
    };
    match token_for(&url)? {
        Some(token) => session.ui.data(&format!("username=weir\npassword={}", token.expose())),
        None => {
            session.ui.say(&format!(
                "weir: there is no token for {url}; log in first: weir login {url}"
            ));
            Ok(())
        }
    }
}
