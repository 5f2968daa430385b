use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Result;
use crate::session::Session;

/// Print completions for a shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir completions bash > /etc/bash_completion.d/weir\n  weir completions zsh > \"${fpath[1]}/_weir\"\n  weir completions fish > ~/.config/fish/completions/weir.fish"
)]
pub(crate) struct Args {
    /// The shell.
    shell: Shell,
}

pub(crate) fn run(args: &Args, session: &Session) -> Result<()> {
    let mut bytes = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "weir", &mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    session.ui.result(
        &serde_json::json!({ "shell": args.shell.to_string(), "script": text }),
        || session.ui.data(text.trim_end()),
    )
}
