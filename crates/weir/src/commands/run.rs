use crate::context::PlaceChoice;
use crate::failure::{ExitCode, Failure, Result};
use crate::session::Session;
use crate::terminal::{Mode, attach, command_line};

/// Run a command in a container of its own, with image and variables of the live release.
///
/// In a terminal it gets one; pipes work too. It ends with the command's exit status, and the
/// container is removed. One argument is a line for the shell, several are one command.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  weir run python manage.py migrate\n  weir run 'echo $DATABASE_URL | wc -c'\n  weir run bash\n  weir run --env staging psql < dump.sql"
)]
pub(crate) struct Args {
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
    let path = args.place.resolve()?.path("/run");
    let mode = mode_of(session, args.no_terminal);
    let mut query = vec![("command", command_line(&args.command))];
    query.extend(args.app.map(|app| ("app", app)));
    query.extend(mode.query());
    connect(session, &path, &query, mode).await
}

/// Pipes where they are wanted or where the result is to be JSON.
pub(super) fn mode_of(session: &Session, no_terminal: bool) -> Mode {
    if no_terminal || session.ui.is_json() {
        Mode::Pipes
    } else {
        Mode::of_surroundings()
    }
}

/// Runs it; whatever keeps it from running has an exit code that commands hardly use.
pub(super) async fn connect(session: &Session, path: &str, query: &[(&str, String)], mode: Mode) -> Result<ExitCode> {
    let not_run = |failure: Failure| match failure.code {
        ExitCode::PipeClosed => failure,
        _ => failure.code(ExitCode::NotRun),
    };
    let terminal = session.client()?.terminal(path, query).await.map_err(not_run)?;
    attach(session, terminal, mode).await.map_err(not_run)
}
