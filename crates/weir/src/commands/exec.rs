use super::run::{connect, mode_of};
use crate::context::PlaceChoice;
use crate::failure::{ExitCode, Result};
use crate::session::Session;
use crate::terminal::command_line;

/// Run a command inside a running instance.
///
/// In a terminal it gets one; pipes work too. It ends with the command's exit status. One
/// argument is a line for the shell, several are one command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir exec sh\n  weir exec --process worker ps aux\n  weir exec --instance ins_01jd… cat /data/state.json"
)]
pub(crate) struct Args {
    /// The instance (see `weir status`); otherwise the first that is ready.
    #[arg(long, value_name = "ID")]
    instance: Option<String>,
    /// The process; otherwise `web`.
    #[arg(long, value_name = "NAME")]
    process: Option<String>,
    /// The app, in a repository with several.
    #[arg(long, value_name = "NAME")]
    app: Option<String>,
    /// Use pipes even in a terminal.
    #[arg(long, short = 'T')]
    no_terminal: bool,
    #[command(flatten)]
    place: PlaceChoice,
    /// The command.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

pub(crate) async fn run(args: Args, session: &Session) -> Result<ExitCode> {
    let path = args.place.resolve()?.path("/exec");
    let mode = mode_of(session, args.no_terminal);
    let mut query = vec![("command", command_line(&args.command))];
    let named = [
        ("instance", args.instance),
        ("process", args.process),
        ("app", args.app),
    ];
    query.extend(named.into_iter().filter_map(|(name, value)| Some((name, value?))));
    query.extend(mode.query());
    connect(session, &path, &query, mode).await
}
