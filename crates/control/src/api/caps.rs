//! Caps: what scopes may cost, how far they are, and what a change would mean.

use axum::Json;
use axum::extract::State;
use weir_api::{CapChange, CapStanding, EnvironmentMoney, SetCap};
use weir_ledger::book::{Cap, Command, Scope, Standing};
use weir_ledger::forecast::{Load, worst_case};
use weir_ledger::{Nano, Period, PriceBook};
use weir_model::UnixMillis;
use weir_model::policy::{Permission, Place, Rights};
use weir_model::project::{Environment, Project};
use weir_store::Account;

use super::Api;
use super::auth::Caller;
use super::error::ApiError;
use super::extract::{InAccount, InEnvironment, InProject, JsonBody};
use super::overview::Inventory;
use super::present::instant;
use super::scopes;
use crate::context::Context;

const DAY_MS: i64 = 86_400_000;

/// How all accounts, projects and environments stand that the token may know of.
#[utoipa::path(get, path = "/v1/caps", tag = "caps", responses((status = 200, body = Vec<CapStanding>)))]
pub(super) async fn list_caps(State(api): State<Api>, caller: Caller) -> Result<Json<Vec<CapStanding>>, ApiError> {
    let inventory = Inventory::read(&api.context, &api.live.releases).await?;
    let rows = all(&api.context, &inventory).into_iter();
    let seen = rows.filter(|(place, _)| caller.rights.may(Permission::SeeMoney, *place));
    Ok(Json(seen.map(|(_, row)| row).collect()))
}

/// How everything stands, each with its place; accounts before their projects, projects before their
/// environments. What the ledger does not know yet is left out for the moment.
pub(super) fn all(context: &Context, inventory: &Inventory) -> Vec<(Place, CapStanding)> {
    let view = View::new(context);
    let mut all = Vec::new();
    for account in &inventory.accounts {
        let (mut rows, mut loads) = (Vec::new(), Vec::new());
        for project in inventory
            .projects
            .iter()
            .filter(|project| project.account == account.id)
        {
            let environments = inventory.environments_of(project.id);
            let environments = environments.map(|environment| (environment, inventory.loads(environment)));
            loads.extend(view.known(account, project, &environments.collect::<Vec<_>>(), &mut rows));
        }
        if let Ok(row) = view.account(account, &loads) {
            all.push((Place::Account(account.id), row));
        }
        all.append(&mut rows);
    }
    all
}

/// How a project stands: its account, itself, its environments.
#[utoipa::path(get, path = "/v1/projects/{project}/cap", tag = "caps", responses((status = 200, body = Vec<CapStanding>)))]
pub(super) async fn get_cap(
    State(api): State<Api>,
    caller: Caller,
    at: InProject,
) -> Result<Json<Vec<CapStanding>>, ApiError> {
    let (account, _) = scopes::path_of(&api.context, &at.project).await?;
    let mut view = View::new(&api.context);
    // What other projects of the account spend is not for somebody of this one.
    if caller.rights.may(Permission::SeeMoney, Place::Account(account.id)) {
        let loads = loads_of_account(&api.context, &account).await?;
        view.rows.push(view.account(&account, &loads)?);
    }
    let mut environments = Vec::new();
    for environment in api.context.store.environment_list(at.project.id).await? {
        let loads = scopes::loads(&api.context, &environment).await?;
        environments.push((environment, loads));
    }
    let environments: Vec<_> = environments
        .iter()
        .map(|(environment, loads)| (environment, loads.clone()))
        .collect();
    scopes::standing(&api.context, Scope::Project(at.project.id))?;
    let mut rows = Vec::new();
    view.known(&account, &at.project, &environments, &mut rows);
    // Who may look at the money of the project may do so at that of its environments.
    view.rows.extend(rows.into_iter().map(|(_, row)| row));
    Ok(Json(view.rows))
}

/// Sets the cap of a project.
#[utoipa::path(put, path = "/v1/projects/{project}/cap", tag = "caps", request_body = SetCap, responses((status = 200, body = CapChange)))]
pub(super) async fn set_project_cap(
    State(api): State<Api>,
    caller: Caller,
    at: InProject,
    JsonBody(request): JsonBody<SetCap>,
) -> Result<Json<CapChange>, ApiError> {
    let (account, _) = scopes::path_of(&api.context, &at.project).await?;
    let of = Of::project(&api.context, &caller.rights, &at.project, &account).await?;
    of.change(&api.context, Some(&request)).await.map(Json)
}

/// Sets the cap of an environment, below that of its project.
#[utoipa::path(put, path = "/v1/projects/{project}/environments/{environment}/cap", tag = "caps", request_body = SetCap, responses((status = 200, body = CapChange)))]
pub(super) async fn set_environment_cap(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
    JsonBody(request): JsonBody<SetCap>,
) -> Result<Json<CapChange>, ApiError> {
    let of = Of::environment(&api.context, &caller.rights, &at.project, &at.environment).await?;
    of.change(&api.context, Some(&request)).await.map(Json)
}

/// Takes the cap of an environment away: that of its project binds it from then on.
#[utoipa::path(delete, path = "/v1/projects/{project}/environments/{environment}/cap", tag = "caps", responses((status = 200, body = CapChange)))]
pub(super) async fn unset_environment_cap(
    State(api): State<Api>,
    caller: Caller,
    at: InEnvironment,
) -> Result<Json<CapChange>, ApiError> {
    let of = Of::environment(&api.context, &caller.rights, &at.project, &at.environment).await?;
    of.change(&api.context, None).await.map(Json)
}

/// Sets the cap of an account.
#[utoipa::path(put, path = "/v1/accounts/{account}/cap", tag = "caps", params(("account" = String, Path, description = "Name of the account")), request_body = SetCap, responses((status = 200, body = CapChange)))]
pub(super) async fn set_account_cap(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    JsonBody(request): JsonBody<SetCap>,
) -> Result<Json<CapChange>, ApiError> {
    let of = Of::account(&api.context, &account).await?;
    of.change(&api.context, Some(&request)).await.map(Json)
}

/// What an environment has spent, and the caps that bind it: each is only for those who see money there.
#[derive(Debug)]
pub(crate) struct MoneyOfEnvironment {
    place: Place,
    /// As it is where none of the caps may be seen.
    unbound: EnvironmentMoney,
    bounds: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    place: Place,
    scope: String,
    left: Nano,
    cap: Cap,
}

impl MoneyOfEnvironment {
    /// How an environment stands; `None` where the ledger does not know it yet.
    pub(crate) async fn of(
        context: &Context,
        project: &Project,
        environment: &Environment,
    ) -> Result<Option<Self>, ApiError> {
        let (account, _) = scopes::path_of(context, project).await?;
        let name = project.name.as_str();
        let place = Place::Environment(account.id, project.id, environment.id);
        let own_name = format!("{name}/{}", environment.name);
        let path = [
            (place, own_name.clone(), Scope::Environment(environment.id)),
            (
                Place::Project(account.id, project.id),
                name.to_owned(),
                Scope::Project(project.id),
            ),
            (
                Place::Account(account.id),
                format!("account:{}", account.name),
                Scope::Account(account.id),
            ),
        ];
        let Some(own) = context.money.standing(path[0].2) else {
            return Ok(None);
        };
        let bounds = path.into_iter().filter_map(|(place, scope, of)| {
            let standing = context.money.standing(of)?;
            Some(Bound {
                place,
                scope,
                left: left(&standing),
                cap: standing.cap?,
            })
        });
        let stopped = context.money.stopped(environment.id);
        let unbound = EnvironmentMoney {
            currency: context.money.book().currency,
            spent: own.settled.to_string(),
            scope: own_name,
            cap: None,
            left: None,
            stopped: stopped.map(|reason| weir_api::Stopped {
                kept_until: context.money.kept_until(environment.id).map(instant),
                ..scopes::stopped(reason, &account.name, name, Some(environment.name.as_str()))
            }),
        };
        Ok(Some(Self {
            place,
            unbound,
            bounds: bounds.collect(),
        }))
    }

    /// With the cap that leaves it the least, of those that may be seen; `None` to those who do not see
    /// money there.
    pub(crate) fn seen_by(&self, rights: &Rights) -> Option<EnvironmentMoney> {
        let sees = |place| rights.may(Permission::SeeMoney, place);
        let bounds = self.bounds.iter().filter(|bound| sees(bound.place));
        let tightest = bounds.min_by_key(|bound| bound.left);
        let money = tightest.map(|bound| EnvironmentMoney {
            scope: bound.scope.clone(),
            cap: Some(cap(&bound.cap)),
            left: Some(bound.left.to_string()),
            ..self.unbound.clone()
        });
        sees(self.place).then(|| money.unwrap_or_else(|| self.unbound.clone()))
    }
}

/// What is left of the limit in force.
fn left(standing: &Standing) -> Nano {
    let left = standing
        .limit
        .saturating_sub(standing.settled)
        .saturating_sub(standing.held);
    left.max(Nano::ZERO)
}

/// Collects the standings of scopes, with what they cost at worst.
struct View<'a> {
    context: &'a Context,
    book: PriceBook,
    now_ms: UnixMillis,
    rows: Vec<CapStanding>,
}

impl<'a> View<'a> {
    fn new(context: &'a Context) -> Self {
        Self {
            context,
            book: context.money.book(),
            now_ms: context.clock.now_ms(),
            rows: Vec::new(),
        }
    }

    fn account(&self, account: &Account, loads: &[Load]) -> Result<CapStanding, ApiError> {
        let standing = scopes::standing(self.context, Scope::Account(account.id))?;
        Ok(self.row(
            format!("account:{}", account.name),
            "account",
            &standing,
            loads,
            |reason| scopes::stopped(reason, &account.name, "PROJECT", None),
        ))
    }

    /// Adds the rows of a project and its environments, as far as the ledger knows them; gives what
    /// their instances may use.
    fn known(
        &self,
        account: &Account,
        project: &Project,
        environments: &[(&Environment, Vec<Load>)],
        rows: &mut Vec<(Place, CapStanding)>,
    ) -> Vec<Load> {
        let name = project.name.as_str();
        let all: Vec<Load> = environments.iter().flat_map(|(_, loads)| loads).copied().collect();
        let why = |reason| scopes::stopped(reason, &account.name, name, None);
        if let Some(standing) = self.context.money.standing(Scope::Project(project.id)) {
            let row = self.row(name.to_owned(), "project", &standing, &all, why);
            rows.push((Place::Project(account.id, project.id), row));
        }
        for (environment, loads) in environments {
            let Some(standing) = self.context.money.standing(Scope::Environment(environment.id)) else {
                continue;
            };
            let own = environment.name.as_str();
            let why = |reason| weir_api::Stopped {
                kept_until: self.context.money.kept_until(environment.id).map(instant),
                ..scopes::stopped(reason, &account.name, name, Some(own))
            };
            let row = self.row(format!("{name}/{own}"), "environment", &standing, loads, why);
            rows.push((Place::Environment(account.id, project.id, environment.id), row));
        }
        all
    }

    fn row(
        &self,
        scope: String,
        kind: &str,
        standing: &Standing,
        loads: &[Load],
        stopped: impl Fn(weir_ledger::protocol::DenialReason) -> weir_api::Stopped,
    ) -> CapStanding {
        let bound = standing.cap.is_some();
        let spendable = spendable(standing, standing.limit);
        let worst = worst_case(&self.book, loads).per_hour;
        let when = |per_hour| {
            bound
                .then(|| scopes::reached(spendable, per_hour, self.now_ms, standing.until_ms))
                .flatten()
        };
        CapStanding {
            scope,
            kind: kind.to_owned(),
            currency: self.book.currency.clone(),
            cap: standing.cap.as_ref().map(cap),
            limit: bound.then(|| standing.limit.to_string()),
            settled: standing.settled.to_string(),
            held: standing.held.to_string(),
            reserved: standing.reserved.to_string(),
            left: bound.then(|| left(standing).to_string()),
            from: instant(standing.from_ms),
            until: standing.until_ms.map(instant),
            burn_per_hour: standing.burn_per_hour.to_string(),
            worst_per_hour: worst.to_string(),
            reached: when(standing.burn_per_hour),
            reached_at_worst: when(worst),
            stopped: standing.stopped.map(stopped),
        }
    }
}

async fn loads_of_project(context: &Context, project: &Project) -> Result<Vec<Load>, ApiError> {
    let mut loads = Vec::new();
    for environment in context.store.environment_list(project.id).await? {
        loads.extend(scopes::loads(context, &environment).await?);
    }
    Ok(loads)
}

async fn loads_of_account(context: &Context, account: &Account) -> Result<Vec<Load>, ApiError> {
    let mut loads = Vec::new();
    for project in context.store.project_list().await? {
        if project.account == account.id {
            loads.extend(loads_of_project(context, &project).await?);
        }
    }
    Ok(loads)
}

/// What can still be spent up to a limit: all but what is spent and the tail of what is stored.
fn spendable(standing: &Standing, limit: Nano) -> Nano {
    limit.saturating_sub(standing.settled).saturating_sub(standing.reserved)
}

/// A cap as the API tells it.
pub(super) fn cap(cap: &Cap) -> weir_api::Cap {
    weir_api::Cap {
        limit: cap.limit.to_string(),
        period: period_word(cap.period).to_owned(),
        pace: cap.pace,
    }
}

fn period_word(period: Period) -> &'static str {
    match period {
        Period::Day => "day",
        Period::Week => "week",
        Period::Month => "month",
        Period::Total => "total",
    }
}

/// Reads what is asked for. `before` says how the pace was.
fn parse_cap(request: &SetCap, before: Option<Cap>, scope: Scope) -> Result<Cap, ApiError> {
    const EXAMPLE: &str = "for example: `weir cap set shop 7.00/month`";
    let limit = amount(&request.limit)?;
    let periods = [Period::Day, Period::Week, Period::Month, Period::Total];
    let period = periods
        .into_iter()
        .find(|period| period_word(*period) == request.period);
    let period = period.ok_or_else(|| {
        let shown: String = request.period.chars().take(40).collect();
        let near = periods
            .iter()
            .map(|period| period_word(*period))
            .find(|word| strsim::damerau_levenshtein(word, &shown) <= 2);
        ApiError::invalid(format!(
            "`{shown}` is not a period of a cap: day, week, month and total are"
        ))
        .with_hint(near.map_or_else(|| EXAMPLE.to_owned(), |word| format!("did you mean `{word}`?")))
    })?;
    let pace = request.pace.or(before.map(|cap| cap.pace));
    Ok(Cap {
        limit,
        period,
        pace: pace.unwrap_or(matches!(scope, Scope::Project(_))),
    })
}

/// Reads an amount above zero.
pub(super) fn amount(text: &str) -> Result<Nano, ApiError> {
    let shown: String = text.chars().take(40).collect();
    match text.parse::<Nano>() {
        Ok(amount) if amount > Nano::ZERO => Ok(amount),
        Ok(amount) if amount == Nano::ZERO => {
            Err(ApiError::invalid("the amount is zero").with_hint("to stop what runs, pause it: `weir pause`"))
        }
        Ok(_) => Err(ApiError::invalid(format!("`{shown}` is below zero"))),
        Err(error) => Err(ApiError::invalid(error.to_string()).with_hint("write it like 7.00")),
    }
}

/// What a cap is of, with all that a change has to tell.
struct Of {
    scope: Scope,
    name: String,
    loads: Vec<Load>,
    /// The scope above, by name, for those who see money there: its cap may bind first.
    above: Option<(String, Scope)>,
}

impl Of {
    async fn environment(
        context: &Context,
        rights: &Rights,
        project: &Project,
        environment: &Environment,
    ) -> Result<Self, ApiError> {
        crate::projects::ensure_alive(project, Some(environment))?;
        let above = (project.name.to_string(), Scope::Project(project.id));
        let sees = rights.may(Permission::SeeMoney, Place::Project(project.account, project.id));
        Ok(Self {
            scope: Scope::Environment(environment.id),
            name: format!("{}/{}", project.name, environment.name),
            loads: scopes::loads(context, environment).await?,
            above: sees.then_some(above),
        })
    }

    async fn project(
        context: &Context,
        rights: &Rights,
        project: &Project,
        account: &Account,
    ) -> Result<Self, ApiError> {
        crate::projects::ensure_alive(project, None)?;
        let above = (format!("account:{}", account.name), Scope::Account(account.id));
        let sees = rights.may(Permission::SeeMoney, Place::Account(account.id));
        Ok(Self {
            scope: Scope::Project(project.id),
            name: project.name.to_string(),
            loads: loads_of_project(context, project).await?,
            above: sees.then_some(above),
        })
    }

    async fn account(context: &Context, account: &Account) -> Result<Self, ApiError> {
        Ok(Self {
            scope: Scope::Account(account.id),
            name: format!("account:{}", account.name),
            loads: loads_of_account(context, account).await?,
            above: None,
        })
    }

    /// Changes the cap, or only tells what that would mean.
    async fn change(&self, context: &Context, request: Option<&SetCap>) -> Result<CapChange, ApiError> {
        let before = scopes::standing(context, self.scope)?;
        let wanted = request
            .map(|request| parse_cap(request, before.cap, self.scope))
            .transpose()?;
        let only_told = request.is_some_and(|request| request.dry_run);
        let mut change = self.told(context, &before, wanted);
        if !only_told {
            let command = Command::SetCap {
                scope: self.scope,
                cap: wanted,
            };
            scopes::command(context, command).await?;
            let after = scopes::standing(context, self.scope)?;
            change.limit = after.cap.map(|_| after.limit.to_string());
            change.done = true;
        }
        Ok(change)
    }

    fn told(&self, context: &Context, before: &Standing, wanted: Option<Cap>) -> CapChange {
        let now_ms = context.clock.now_ms();
        let gone = before.settled.saturating_add(before.held);
        let same_period = before.cap.map(|cap| cap.period) == wanted.map(|cap| cap.period);
        let until_ms = wanted.and_then(|cap| match cap.period {
            _ if same_period => before.until_ms,
            Period::Day => Some(now_ms + DAY_MS),
            Period::Week => Some(now_ms + 7 * DAY_MS),
            Period::Month => Some(now_ms + 31 * DAY_MS),
            Period::Total => None,
        });
        let book = context.money.book();
        let worst = worst_case(&book, &self.loads);
        let reached =
            wanted.and_then(|cap| scopes::reached(spendable(before, cap.limit), worst.per_hour, now_ms, until_ms));
        CapChange {
            scope: self.name.clone(),
            currency: book.currency,
            done: false,
            before: before.cap.as_ref().map(cap),
            after: wanted.as_ref().map(cap),
            limit: wanted.map(|cap| cap.limit.max(gone).to_string()),
            spent_and_held: gone.to_string(),
            worst_per_hour: worst.per_hour.to_string(),
            worst_per_month: worst.per_month.to_string(),
            reached_at_worst: reached,
            notes: self.notes(context, before, wanted, gone),
        }
    }

    fn notes(&self, context: &Context, before: &Standing, wanted: Option<Cap>, gone: Nano) -> Vec<String> {
        let mut notes = Vec::new();
        let Some(wanted) = wanted else { return notes };
        if wanted.limit < gone {
            notes.push(format!(
                "{gone} are spent and held already, so that is the limit until the period ends; what is held and not needed comes back"
            ));
        }
        if before.stopped.is_some() && wanted.limit > gone {
            notes.push("it is stopped now, and goes on within seconds if no other cap stands in the way".to_owned());
        }
        if let Some((name, scope)) = &self.above
            && let Some(above) = context.money.standing(*scope)
            && above.cap.is_some_and(|cap| cap.period == wanted.period)
            && above.limit < wanted.limit
        {
            notes.push(format!(
                "{name} is bound to {} in the same time, so that cap is reached first",
                above.limit
            ));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::ProjectId;

    fn parsed(limit: &str, period: &str, before: Option<Cap>) -> Result<Cap, ApiError> {
        let request = SetCap {
            limit: limit.to_owned(),
            period: period.to_owned(),
            pace: None,
            dry_run: false,
        };
        parse_cap(&request, before, Scope::Project(ProjectId::from_parts(1, 1)))
    }

    #[test]
    fn caps_are_above_zero_and_for_a_period() {
        let cap = parsed("7.00", "month", None).unwrap();
        assert_eq!(
            cap,
            Cap {
                limit: Nano(7_000_000_000),
                period: Period::Month,
                pace: true
            }
        );
        let kept = parsed("8.00", "day", Some(Cap { pace: false, ..cap })).unwrap();
        assert!(!kept.pace, "the pace stays as it was");
        for wrong in ["0", "-1", "7,00", "1e3", "0.0000000001", "99999999999", ""] {
            assert!(parsed(wrong, "month", None).is_err(), "{wrong} was accepted");
        }
        let hint = parsed("7.00", "moth", None).unwrap_err().hint.unwrap();
        assert!(hint.contains("did you mean `month`?"), "{hint}");
    }
}
