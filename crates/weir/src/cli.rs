//! The command line: its verbs, in the order in which one meets them, and what runs each.

use clap::{Parser, Subcommand};

use crate::commands as verbs;
use crate::failure::{ExitCode, Result};
use crate::session::Session;

/// A cloud of your own: `git push`, and it is live.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    disable_help_subcommand = false,
    max_term_width = 100,
    after_help = "First steps:\n  weir up                     # the platform itself, on this machine\n  weir project create shop    # in the folder of an application\n  git push weir main          # or without git: weir deploy\n\nWEIR_URL and WEIR_TOKEN say which Weir and who you are; on the machine of `weir up` they are\nfound. `weir help VERB` shows examples of each verb."
)]
pub(crate) struct Cli {
    /// Results as JSON on standard output, errors as JSON on standard error.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Up(verbs::up::Args),
    Down(verbs::down::Args),
    Upgrade(verbs::upgrade::Args),
    Login(verbs::login::Args),
    Logout(verbs::logout::Args),
    #[command(visible_alias = "projects")]
    Project(verbs::project::Args),
    Link(verbs::link::Args),
    Deploy(verbs::deploy::Args),
    Propose(verbs::propose::Args),
    Overview(verbs::overview::Args),
    Status(verbs::status::Args),
    Open(verbs::open::Args),
    Logs(verbs::logs::Args),
    AccessLog(verbs::access_log::Args),
    Metrics(verbs::metrics::Args),
    Releases(verbs::releases::Args),
    Rollback(verbs::rollback::Args),
    Canary(verbs::canary::Args),
    Promote(verbs::promote::Args),
    Redeploy(verbs::redeploy::Args),
    Env(verbs::env::Args),
    Set(verbs::var::SetArgs),
    Unset(verbs::var::UnsetArgs),
    Vars(verbs::var::ListArgs),
    #[command(alias = "variable")]
    Var(verbs::var::Args),
    Scale(verbs::scale::Args),
    Restart(verbs::restart::Args),
    Pause(verbs::pause::Args),
    Resume(verbs::resume::Args),
    Run(verbs::run::Args),
    Exec(verbs::exec::Args),
    Domain(verbs::domain::Args),
    Certificate(verbs::certificate::Args),
    Cache(verbs::cache::Args),
    #[command(visible_alias = "volumes")]
    Volume(verbs::volume::Args),
    Access(verbs::access::Args),
    Maintenance(verbs::maintenance::Args),
    Cap(verbs::cap::Args),
    Cost(verbs::cost::Args),
    Guard(verbs::guard::Args),
    #[command(visible_alias = "accounts")]
    Account(verbs::account::Args),
    Prices(verbs::prices::Args),
    Invoice(verbs::invoice::Args),
    Billing(verbs::billing::Args),
    Ledger(verbs::ledger::Args),
    Notify(verbs::notify::Args),
    HelpRequest(verbs::help_request::Args),
    Tasks(verbs::tasks::Args),
    Task(verbs::task::Args),
    Events(verbs::events::Args),
    Token(verbs::token::Args),
    People(verbs::people::Args),
    ServiceAccount(verbs::service_account::Args),
    Sessions(verbs::sessions::Args),
    Audit(verbs::audit::Args),
    Destroy(verbs::destroy::Args),
    Completions(verbs::completions::Args),
    Version(verbs::version::Args),
    #[command(hide = true)]
    Control(verbs::control::Args),
    #[command(hide = true)]
    Node(verbs::node::Args),
    #[command(hide = true)]
    Deadman(verbs::deadman::Args),
    #[command(hide = true)]
    GitCredential(verbs::git_credential::Args),
    #[command(hide = true)]
    GitHook(verbs::git_hook::Args),
    #[command(hide = true)]
    Docs(verbs::docs::Args),
}

impl Verb {
    /// Control is the one part that has much to do at once.
    pub(crate) fn wants_many_threads(&self) -> bool {
        matches!(self, Self::Control(_))
    }
}

/// Runs a verb. Most end with `Ok`; a few pass on the exit status of another command.
pub(crate) async fn run(verb: Verb, session: &Session) -> Result<ExitCode> {
    match verb {
        Verb::Up(args) => verbs::up::run(args, session).await?,
        Verb::Down(args) => verbs::down::run(args, session).await?,
        Verb::Upgrade(args) => verbs::upgrade::run(args, session).await?,
        Verb::Login(args) => verbs::login::run(args, session).await?,
        Verb::Logout(args) => verbs::logout::run(&args, session)?,
        Verb::Project(args) => verbs::project::run(args, session).await?,
        Verb::Link(args) => verbs::link::run(args, session).await?,
        Verb::Deploy(args) => verbs::deploy::run(args, session).await?,
        Verb::Propose(args) => verbs::propose::run(args, session).await?,
        Verb::Overview(args) => verbs::overview::run(args, session).await?,
        Verb::Status(args) => verbs::status::run(args, session).await?,
        Verb::Open(args) => verbs::open::run(args, session).await?,
        Verb::Logs(args) => verbs::logs::run(args, session).await?,
        Verb::AccessLog(args) => verbs::access_log::run(args, session).await?,
        Verb::Metrics(args) => verbs::metrics::run(args, session).await?,
        Verb::Releases(args) => verbs::releases::run(args, session).await?,
        Verb::Rollback(args) => verbs::rollback::run(args, session).await?,
        Verb::Canary(args) => verbs::canary::run(args, session).await?,
        Verb::Promote(args) => verbs::promote::run(args, session).await?,
        Verb::Redeploy(args) => verbs::redeploy::run(args, session).await?,
        Verb::Env(args) => verbs::env::run(args, session).await?,
        Verb::Set(args) => verbs::var::set(args, session).await?,
        Verb::Unset(args) => verbs::var::unset(args, session).await?,
        Verb::Vars(args) => verbs::var::list(args, session).await?,
        Verb::Var(args) => verbs::var::run(args, session).await?,
        Verb::Scale(args) => verbs::scale::run(args, session).await?,
        Verb::Restart(args) => verbs::restart::run(args, session).await?,
        Verb::Pause(args) => verbs::pause::run(args, session).await?,
        Verb::Resume(args) => verbs::resume::run(args, session).await?,
        Verb::Run(args) => return verbs::run::run(args, session).await,
        Verb::Exec(args) => return verbs::exec::run(args, session).await,
        Verb::Domain(args) => verbs::domain::run(args, session).await?,
        Verb::Certificate(args) => verbs::certificate::run(args, session).await?,
        Verb::Cache(args) => verbs::cache::run(args, session).await?,
        Verb::Volume(args) => verbs::volume::run(args, session).await?,
        Verb::Access(args) => verbs::access::run(args, session).await?,
        Verb::Maintenance(args) => verbs::maintenance::run(args, session).await?,
        Verb::Cap(args) => verbs::cap::run(args, session).await?,
        Verb::Cost(args) => verbs::cost::run(args, session).await?,
        Verb::Guard(args) => verbs::guard::run(args, session).await?,
        Verb::Account(args) => verbs::account::run(args, session).await?,
        Verb::Prices(args) => verbs::prices::run(args, session).await?,
        Verb::Invoice(args) => verbs::invoice::run(args, session).await?,
        Verb::Billing(args) => verbs::billing::run(args, session).await?,
        Verb::Ledger(args) => return verbs::ledger::run(args, session).await,
        Verb::HelpRequest(args) => verbs::help_request::run(args, session).await?,
        Verb::Notify(args) => verbs::notify::run(args, session).await?,
        Verb::Tasks(args) => verbs::tasks::run(args, session).await?,
        Verb::Task(args) => verbs::task::run(args, session).await?,
        Verb::Events(args) => verbs::events::run(args, session).await?,
        Verb::Token(args) => verbs::token::run(args, session).await?,
        Verb::People(args) => verbs::people::run(args, session).await?,
        Verb::ServiceAccount(args) => verbs::service_account::run(args, session).await?,
        Verb::Sessions(args) => verbs::sessions::run(args, session).await?,
        Verb::Audit(args) => verbs::audit::run(args, session).await?,
        Verb::Destroy(args) => verbs::destroy::run(args, session).await?,
        Verb::Completions(args) => verbs::completions::run(&args, session)?,
        Verb::Version(args) => verbs::version::run(args, session).await?,
        Verb::Control(args) => verbs::control::run(args).await?,
        Verb::Node(args) => verbs::node::run(args).await?,
        Verb::Deadman(args) => verbs::deadman::run(args).await?,
        Verb::GitCredential(args) => verbs::git_credential::run(&args, session)?,
        Verb::GitHook(args) => return verbs::git_hook::run(args).await,
        Verb::Docs(args) => verbs::docs::run(&args, session)?,
    }
    Ok(ExitCode::Ok)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_says_what_it_does_and_shows_an_example() {
        for verb in Cli::command()
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set() && verb.get_name() != "help")
        {
            assert!(verb.get_about().is_some(), "{} says nothing of itself", verb.get_name());
            assert!(verb.get_after_help().is_some(), "{} has no examples", verb.get_name());
        }
    }
}
