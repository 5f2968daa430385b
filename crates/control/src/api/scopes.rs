//! What caps, costs and accounts share: the names of scopes, what may be spent at worst, and
//! the words for what the ledger says.

use std::collections::BTreeMap;

use http::StatusCode;
use weir_ledger::Nano;
use weir_ledger::book::{Command, Refusal, Scope};
use weir_ledger::forecast::{self, Load};
use weir_ledger::protocol::DenialReason;
use weir_model::policy::{Permission, Place};
use weir_model::project::{Environment, EnvironmentMode, Project};
use weir_model::{EnvironmentId, ProjectId, UnixMillis};
use weir_store::Account;

use super::auth::Caller;
use super::error::ApiError;
use super::present::instant;
use crate::context::Context;
use crate::money::MoneyError;
use crate::status::newest_release;
use crate::worst_case;

impl From<MoneyError> for ApiError {
    fn from(error: MoneyError) -> Self {
        let words = error.to_string();
        let retry = |kind, words: String| {
            let mut answer = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, words);
            answer.retry_after_s = Some(1);
            answer.with_hint("try again in a moment; what moves money is done once under its id")
        };
        match error {
            MoneyError::Refused(refusal) => refusal.into(),
            MoneyError::NotRecorded(cause) => {
                let mut answer = retry("ledger-unavailable", "the ledger cannot record anything now".to_owned());
                answer.cause = Some(cause.into_boxed_str());
                answer
            }
            MoneyError::Busy => retry("ledger-busy", words),
            MoneyError::Stopped => retry("ledger-stopped", words),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let words = refusal.to_string();
        match refusal {
            Refusal::Unknown(_) => Self::not_found("not-in-ledger", words),
            Refusal::IdTaken(_) => Self::conflict("id-taken", words).with_hint("use another id for another payment"),
            Refusal::PromiseOpen => Self::conflict("promise-open", words)
                .with_hint("book the payment when it is there: `weir account topup NAME AMOUNT --reference …`"),
            Refusal::NoRoom(reason) => Self::conflict("no-room", reason_words(reason)),
            Refusal::Invalid(_) => Self::invalid(words),
        }
    }
}

/// Has the ledger do something that has no answer but that it is done.
pub(super) async fn command(context: &Context, command: Command) -> Result<(), ApiError> {
    match context.money.command(command).await? {
        weir_ledger::book::Reply::Refused(refusal) => Err(refusal.into()),
        _ => Ok(()),
    }
}

/// Names of everything that costs may be told of; what is gone is told by its identity.
#[derive(Debug, Default)]
pub(super) struct Names {
    projects: BTreeMap<ProjectId, String>,
    environments: BTreeMap<EnvironmentId, String>,
}

impl Names {
    /// Reads the names of these projects and their environments.
    pub(super) async fn of(context: &Context, projects: &[Project]) -> Result<Self, ApiError> {
        let mut names = Self::default();
        for project in projects {
            names.projects.insert(project.id, project.name.to_string());
            for environment in context.store.environment_list(project.id).await? {
                names.environments.insert(environment.id, environment.name.to_string());
            }
        }
        Ok(names)
    }

    /// The name of a project.
    pub(super) fn project(&self, id: ProjectId) -> String {
        self.projects.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    /// The name of an environment.
    pub(super) fn environment(&self, id: EnvironmentId) -> String {
        self.environments.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// The answer for an account that does not exist, or that the one who asks may not know of.
pub(crate) fn no_such_account(name: &str) -> ApiError {
    let shown: String = name.chars().take(80).collect();
    ApiError::not_found("account-not-found", format!("there is no account `{shown}`"))
        .with_hint("list them with `weir account list`, or make one with `weir account create NAME`")
}

/// The account of this name.
pub(crate) async fn account(context: &Context, name: &str) -> Result<Account, ApiError> {
    let found = context.store.account_by_name(name).await?;
    found.ok_or_else(|| no_such_account(name))
}

/// The same, for those who may look at its money.
pub(super) async fn account_for(context: &Context, caller: &Caller, name: &str) -> Result<Account, ApiError> {
    let found = account(context, name).await?;
    let place = Place::Account(found.id);
    caller.require(Permission::SeeMoney, place, &format!("account:{name}"), || {
        no_such_account(name)
    })?;
    Ok(found)
}

/// What the instances of an environment may use, as far as they are asked for.
pub(super) async fn loads(context: &Context, environment: &Environment) -> Result<Vec<Load>, ApiError> {
    if environment.mode != EnvironmentMode::Active {
        return Ok(Vec::new());
    }
    let Some(release) = newest_release(context, environment).await? else {
        return Ok(Vec::new());
    };
    let scales = context.store.scale_list(environment.id).await?;
    Ok(worst_case::loads(&release, &scales))
}

/// When so much is spent at so much per hour, as text; `None` if not within the period, or in
/// no year that can be written down.
pub(super) fn reached(left: Nano, per_hour: Nano, now_ms: UnixMillis, until_ms: Option<UnixMillis>) -> Option<String> {
    const YEAR_10000_MS: UnixMillis = 253_402_300_800_000;
    forecast::reached_at(left, per_hour, now_ms, until_ms)
        .filter(|at_ms| *at_ms < YEAR_10000_MS)
        .map(instant)
}

/// What stands in the way of money, where nobody is named.
fn reason_words(reason: DenialReason) -> &'static str {
    match reason {
        DenialReason::EnvironmentCap => "there is no room for it under the cap of the environment",
        DenialReason::ProjectCap => "there is no room for it under the cap of the project",
        DenialReason::AccountCap => "there is no room for it under the cap of the account",
        DenialReason::Balance => "there is no room for it in the balance of the account",
        DenialReason::Pace | DenialReason::Recalling => "there is no room for it at this moment",
        DenialReason::Gone => "it is gone",
    }
}

/// Why nothing more is spent, and what to do. The names are as `weir cap set` takes them.
pub(super) fn stopped(
    reason: DenialReason,
    account: &str,
    project: &str,
    environment: Option<&str>,
) -> weir_api::Stopped {
    let (kind, hint) = match reason {
        DenialReason::EnvironmentCap => {
            let scope = environment.map_or_else(|| project.to_owned(), |name| format!("{project}/{name}"));
            (
                "environment-cap",
                format!("weir cap set {scope} AMOUNT/month allows more"),
            )
        }
        DenialReason::ProjectCap => (
            "project-cap",
            format!("weir cap set {project} AMOUNT/month allows more"),
        ),
        DenialReason::AccountCap => (
            "account-cap",
            format!("weir cap set account:{account} AMOUNT/month allows more"),
        ),
        DenialReason::Balance => (
            "balance",
            format!("weir account topup {account} AMOUNT --reference … fills it"),
        ),
        DenialReason::Pace => (
            "pace",
            format!(
                "it goes on by itself soon; weir cost shows what spent so much, and `weir cap set {project} AMOUNT/month --no-pace` lets all out"
            ),
        ),
        DenialReason::Recalling => ("recalling", "it goes on by itself within seconds".to_owned()),
        DenialReason::Gone => ("gone", "nothing can be done".to_owned()),
    };
    weir_api::Stopped {
        reason: kind.to_owned(),
        message: crate::reconcile::words(reason, project, environment.unwrap_or_default()),
        hint,
        kept_until: None,
    }
}

/// The parts of a project that can be spent on: its account, itself, its environments.
pub(super) async fn path_of(context: &Context, project: &Project) -> Result<(Account, Vec<Environment>), ApiError> {
    let accounts = context.store.account_list().await?;
    let account = accounts
        .into_iter()
        .find(|account| account.id == project.account)
        .ok_or_else(|| ApiError::internal(format!("{} has no account", project.name)))?;
    Ok((account, context.store.environment_list(project.id).await?))
}

/// How a scope stands, or the problem that the ledger does not know it (yet).
pub(super) fn standing(context: &Context, scope: Scope) -> Result<weir_ledger::book::Standing, ApiError> {
    context.money.standing(scope).ok_or_else(|| {
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "not-in-ledger",
            "the ledger does not know of it yet",
        )
        .with_hint("try again in a moment")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_in_ages_is_not_told() {
        let reached = |left, per_hour| reached(Nano(left), Nano(per_hour), 0, None);
        assert_eq!(reached(10, 5).as_deref(), Some("1970-01-01T02:00:00.000Z"));
        assert_eq!(reached(1_000_000_000_000, 1), None);
        assert_eq!(
            reached(0, 0).as_deref(),
            Some("1970-01-01T00:00:00.000Z"),
            "it is reached now"
        );
    }
}
