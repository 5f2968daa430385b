use crate::failure::{ExitCode, Result};

/// What git runs on the side of Weir when something is pushed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// `pre-receive` or `update`.
    hook: String,
    /// What git gives it.
    arguments: Vec<String>,
}

pub(crate) async fn run(args: Args) -> Result<ExitCode> {
    let status = weir_control::git::hook::hook_main(&args.hook, &args.arguments).await;
    Ok(if status == 0 { ExitCode::Ok } else { ExitCode::Failed })
}
