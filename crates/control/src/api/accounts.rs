//! Accounts: who pays, with what, for which projects.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::tz::TimeZone;
use weir_api::{CreateAccount, CreateDeposit, CreatePromise, SetBilling, SetStopOrder, Transfer};
use weir_ledger::Nano;
use weir_ledger::book::{AccountStanding, Change, Command, Event, Fund, Settings};
use weir_model::policy::{Permission, Place};
use weir_model::{AccountId, ProjectName};
use weir_store::{Account, JournalRow};

use super::Api;
use super::auth::Caller;
use super::caps::amount;
use super::environments::ListQuery;
use super::error::ApiError;
use super::extract::{InAccount, JsonBody, QueryOf};
use super::present::instant;
use super::scopes;
use crate::civil;
use crate::context::Context;

/// Most accounts on one Weir: every list is bounded.
const ACCOUNTS: usize = 1_000;
const NAME_CHARACTERS: usize = 30;
const ID_CHARACTERS: usize = 100;
const REFERENCE_CHARACTERS: usize = 200;
/// Entries of the journal that are read at once.
const PAGE: i64 = 1_000;
/// Pages of the journal that are looked through for movements of one account.
const PAGES: usize = 200;

type Answer = Result<Json<weir_api::Account>, ApiError>;

/// Lists accounts.
#[utoipa::path(get, path = "/v1/accounts", tag = "accounts", responses((status = 200, body = Vec<weir_api::Account>)))]
pub(super) async fn list_accounts(
    State(api): State<Api>,
    caller: Caller,
) -> Result<Json<Vec<weir_api::Account>>, ApiError> {
    let mut answer = Vec::new();
    for account in api.context.store.account_list().await? {
        if caller.rights.may(Permission::SeeMoney, Place::Account(account.id)) {
            answer.push(present(&api.context, &account).await?);
        }
    }
    Ok(Json(answer))
}

/// Makes an account, with a cap of 100.00 a month and billing off.
#[utoipa::path(post, path = "/v1/accounts", tag = "accounts", request_body = CreateAccount, responses((status = 201, body = weir_api::Account)))]
pub(super) async fn create_account(
    State(api): State<Api>,
    JsonBody(request): JsonBody<CreateAccount>,
) -> Result<(StatusCode, Json<weir_api::Account>), ApiError> {
    let account = create(&api.context, &request.name).await?;
    Ok((StatusCode::CREATED, Json(present(&api.context, &account).await?)))
}

/// One account.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "accounts", params(("account" = String, Path, description = "Name of the account")), responses((status = 200, body = weir_api::Account)))]
pub(super) async fn get_account(State(api): State<Api>, InAccount { account }: InAccount) -> Answer {
    present(&api.context, &account).await.map(Json)
}

/// Books money that came in, or trial credit. The same id with the same content is done once.
#[utoipa::path(post, path = "/v1/accounts/{account}/deposits", tag = "accounts", params(("account" = String, Path, description = "Name of the account")), request_body = CreateDeposit, responses((status = 200, body = weir_api::Account)))]
pub(super) async fn create_deposit(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    JsonBody(request): JsonBody<CreateDeposit>,
) -> Answer {
    let command = Command::Deposit {
        id: check_text("id", &request.id, ID_CHARACTERS)?,
        account: account.id,
        fund: match request.fund.as_str() {
            "cash" => Fund::Cash,
            "trial" => Fund::Trial,
            _ => return Err(ApiError::invalid("a deposit is `cash` or `trial`")),
        },
        amount: amount(&request.amount)?,
        reference: check_text("reference", &request.reference, REFERENCE_CHARACTERS)?,
    };
    done(&api.context, &account, command).await
}

/// Counts on a payment that is to come; one at a time. Raises the balance, never a cap.
#[utoipa::path(post, path = "/v1/accounts/{account}/promises", tag = "accounts", params(("account" = String, Path, description = "Name of the account")), request_body = CreatePromise, responses((status = 200, body = weir_api::Account)))]
pub(super) async fn create_promise(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    JsonBody(request): JsonBody<CreatePromise>,
) -> Answer {
    let command = Command::Promise {
        id: check_text("id", &request.id, ID_CHARACTERS)?,
        account: account.id,
        amount: amount(&request.amount)?,
        due_ms: parse_due(&request.due, &api.context.money.time_zone(), api.context.clock.now_ms())?,
    };
    done(&api.context, &account, command).await
}

/// Says whether the balance bounds what the account spends.
#[utoipa::path(put, path = "/v1/accounts/{account}/billing", tag = "accounts", params(("account" = String, Path, description = "Name of the account")), request_body = SetBilling, responses((status = 200, body = weir_api::Account)))]
pub(super) async fn set_billing(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    JsonBody(request): JsonBody<SetBilling>,
) -> Answer {
    let command = Command::SetBilling {
        account: account.id,
        on: request.on,
    };
    done(&api.context, &account, command).await
}

/// Says which project stops first when the balance ends.
#[utoipa::path(put, path = "/v1/accounts/{account}/stop-order", tag = "accounts", params(("account" = String, Path, description = "Name of the account")), request_body = SetStopOrder, responses((status = 200, body = weir_api::Account)))]
pub(super) async fn set_stop_order(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    JsonBody(request): JsonBody<SetStopOrder>,
) -> Answer {
    let mut projects = Vec::new();
    for name in &request.projects {
        let missing = || crate::projects::no_such_project(name);
        let valid = ProjectName::new(name).map_err(|_| missing())?;
        let project = api.context.store.project_by_name(&valid).await?.ok_or_else(missing)?;
        if project.account != account.id {
            return Err(ApiError::invalid(format!("`{name}` is not paid by `{}`", account.name))
                .with_hint(format!("`weir account {}` shows its projects", account.name)));
        }
        if projects.contains(&project.id) {
            return Err(ApiError::invalid(format!("`{name}` is named twice")));
        }
        projects.push(project.id);
    }
    let command = Command::SetStopOrder {
        account: account.id,
        projects,
    };
    done(&api.context, &account, command).await
}

/// In which time zone periods begin and dates are understood.
#[utoipa::path(get, path = "/v1/time-zone", tag = "accounts", responses((status = 200, body = weir_api::TimeZone)))]
pub(super) async fn get_time_zone(State(api): State<Api>) -> Json<weir_api::TimeZone> {
    Json(weir_api::TimeZone {
        time_zone: api.context.money.settings().time_zone,
    })
}

/// Sets it, for the whole Weir. Periods that run end when they were to end.
#[utoipa::path(put, path = "/v1/time-zone", tag = "accounts", request_body = weir_api::TimeZone, responses((status = 200, body = weir_api::TimeZone)))]
pub(super) async fn set_time_zone(
    State(api): State<Api>,
    JsonBody(request): JsonBody<weir_api::TimeZone>,
) -> Result<Json<weir_api::TimeZone>, ApiError> {
    let settings = Settings {
        time_zone: request.time_zone,
        ..api.context.money.settings()
    };
    scopes::command(&api.context, Command::Configure(settings)).await?;
    Ok(get_time_zone(State(api)).await)
}

/// Payments, promises, corrections and invoices of an account, newest first.
#[utoipa::path(get, path = "/v1/accounts/{account}/transfers", tag = "accounts", params(("account" = String, Path, description = "Name of the account"), ("limit" = Option<i64>, Query, description = "1 to 500; 50 if absent")), responses((status = 200, body = Vec<Transfer>)))]
pub(super) async fn list_transfers(
    State(api): State<Api>,
    InAccount { account }: InAccount,
    QueryOf(query): QueryOf<ListQuery>,
) -> Result<Json<Vec<Transfer>>, ApiError> {
    let limit = usize::try_from(query.limit()).unwrap_or(1);
    transfers(&api.context, account.id, limit).await.map(Json)
}

async fn create(context: &Context, name: &str) -> Result<Account, ApiError> {
    let fits = (1..=NAME_CHARACTERS).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !fits {
        return Err(ApiError::invalid(format!(
            "the name of an account has 1 to {NAME_CHARACTERS} of a-z, 0-9 and -"
        )));
    }
    let accounts = context.store.account_list().await?;
    if accounts.iter().any(|account| account.name == name) {
        return Err(
            ApiError::conflict("name-taken", format!("there is an account `{name}` already"))
                .with_hint("list them with `weir account list`"),
        );
    }
    if accounts.len() >= ACCOUNTS {
        return Err(ApiError::conflict(
            "too-many",
            format!("one Weir holds {ACCOUNTS} accounts at most"),
        ));
    }
    let now_ms = context.clock.now_ms();
    let account = Account {
        id: AccountId::from_parts(now_ms, context.clock.random()),
        name: name.to_owned(),
        created_ms: now_ms,
    };
    // First in the ledger: a scope that nobody knows of harms nobody, an account without one does.
    context.money.open_account(account.id).await?;
    context.store.account_insert(&account).await?;
    Ok(account)
}

async fn done(context: &Context, account: &Account, command: Command) -> Answer {
    scopes::command(context, command).await?;
    present(context, account).await.map(Json)
}

/// Text of a person: not empty, not too long, nothing that controls a terminal.
pub(crate) fn check_text(what: &str, text: &str, most: usize) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() || text.chars().count() > most || text.contains(char::is_control) {
        return Err(ApiError::invalid(format!(
            "the {what} has 1 to {most} printable characters"
        )));
    }
    Ok(text.to_owned())
}

/// A date (its end, in the time zone) or an instant; in the future.
fn parse_due(text: &str, zone: &TimeZone, now_ms: i64) -> Result<i64, ApiError> {
    let shown: String = text.chars().take(40).collect();
    let instant = text
        .parse::<jiff::Timestamp>()
        .ok()
        .map(jiff::Timestamp::as_millisecond);
    match instant.or_else(|| civil::end_of(text, zone)) {
        Some(due_ms) if due_ms > now_ms => Ok(due_ms),
        Some(due_ms) => Err(ApiError::invalid(format!("{shown} is not in the future"))
            .with_detail(format!("it ends at {}", civil::shown(due_ms, zone)))),
        None => Err(ApiError::invalid(format!("`{shown}` is neither a date nor an instant"))
            .with_hint("write it like 2026-12-01")),
    }
}

/// Whether an account has money of its own, or owes some.
pub(super) fn has_money(context: &Context, account: AccountId) -> bool {
    context
        .money
        .account(account)
        .is_some_and(|standing| standing.debt != Nano::ZERO || balance(&standing) != Nano::ZERO)
}

fn balance(standing: &AccountStanding) -> Nano {
    let free = standing.free;
    let funds = free.trial.saturating_add(free.promised).saturating_add(free.cash);
    funds.saturating_sub(standing.debt)
}

async fn present(context: &Context, account: &Account) -> Result<weir_api::Account, ApiError> {
    let standing = context
        .money
        .account(account.id)
        .ok_or_else(|| ApiError::internal(format!("the ledger does not know the account {}", account.name)))?;
    let all = context.store.project_list().await?;
    let own = all.iter().filter(|project| project.account == account.id);
    let name_of = |id| {
        all.iter()
            .find(|project| project.id == id)
            .map(|project| project.name.to_string())
    };
    Ok(weir_api::Account {
        name: account.name.clone(),
        id: account.id.to_string(),
        currency: context.money.book().currency,
        billing: standing.billing,
        balance: balance(&standing).to_string(),
        trial: standing.free.trial.to_string(),
        promised: standing.free.promised.to_string(),
        cash: standing.free.cash.to_string(),
        held: standing
            .held
            .total()
            .saturating_add(standing.reserved.total())
            .to_string(),
        debt: standing.debt.to_string(),
        due: standing.promise.map(|promise| instant(promise.due_ms)),
        time_zone: context.money.settings().time_zone,
        stop_order: standing.stop_order.iter().filter_map(|id| name_of(*id)).collect(),
        projects: own.map(|project| project.name.to_string()).collect(),
    })
}

/// Looks through the journal from its end; leases, of which there are very many, are left out.
async fn transfers(context: &Context, account: AccountId, limit: usize) -> Result<Vec<Transfer>, ApiError> {
    let mut found = Vec::new();
    let mut end = head(context).await?;
    for _ in 0..PAGES {
        if end <= 0 || found.len() >= limit {
            break;
        }
        let after = (end - PAGE).max(0);
        let rows = context.store.ledger_journal(after, end - after).await?;
        for row in rows.iter().rev() {
            found.extend(transfers_of(row, account));
        }
        end = after;
    }
    found.truncate(limit);
    Ok(found)
}

/// The number of the newest entry. A checkpoint is never far behind it.
async fn head(context: &Context) -> Result<i64, ApiError> {
    let store = &context.store;
    let checkpoint = store.ledger_checkpoint_before(i64::MAX).await?;
    let mut head = checkpoint.map_or(0, |checkpoint| checkpoint.sequence);
    while let Some(last) = store.ledger_journal(head, PAGE).await?.last() {
        head = last.sequence;
    }
    Ok(head)
}

/// The movements of an entry, if it is a payment, a promise, a correction or an invoice of this
/// account; the last one first.
fn transfers_of(row: &JournalRow, account: AccountId) -> Vec<Transfer> {
    let Ok(event) = serde_json::from_str::<Event>(&row.body) else {
        return Vec::new();
    };
    let (id, reference) = match &event.change {
        Change::Deposited { id, reference, .. } => (id.clone(), reference.clone()),
        Change::Promised { id, due_ms, .. } => (id.clone(), format!("promised, due {}", instant(*due_ms))),
        Change::PromiseBroken { .. } => (format!("journal-{}", row.sequence), "promise not kept".to_owned()),
        Change::Corrected {
            id, corrects, reason, ..
        } => (id.clone(), format!("corrects {corrects}: {reason}")),
        Change::Invoiced { id, .. } => (id.clone(), "invoice".to_owned()),
        _ => return Vec::new(),
    };
    if event.payer() != Some(account) {
        return Vec::new();
    }
    let movement = |moved: weir_ledger::book::Transfer| Transfer {
        id: id.clone(),
        at: instant(event.at_ms),
        from: moved.debit.to_string(),
        to: moved.credit.to_string(),
        amount: moved.amount.to_string(),
        reference: reference.clone(),
    };
    event.transfers().into_iter().rev().map(movement).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_due_date_is_in_the_future() {
        let now_ms = 1_000_000_000_000;
        let due = |text| parse_due(text, &TimeZone::UTC, now_ms);
        assert_eq!(due("2001-09-10").unwrap(), 1_000_166_400_000);
        assert!(due("2001-09-10T00:00:00Z").unwrap() < due("2001-09-10").unwrap());
        for wrong in ["2001-09-07", "soon", "", "2001-13-01"] {
            assert!(due(wrong).is_err(), "{wrong}");
        }
        // The day ends earlier where it has begun earlier; what is over there is not in the future.
        let auckland = TimeZone::get("Pacific/Auckland").unwrap();
        assert_eq!(parse_due("2001-09-10", &auckland, now_ms).unwrap(), 1_000_123_200_000);
        let over = parse_due("2001-09-08", &auckland, now_ms).unwrap_err();
        assert!(over.detail.unwrap().contains("Pacific/Auckland"));
        assert!(due("2001-09-09").is_ok());
    }

    #[test]
    fn texts_of_payments_can_be_shown() {
        assert_eq!(check_text("id", " a ", 5).unwrap(), "a");
        for wrong in ["", "  ", "abcdef", "a\u{1b}[2J"] {
            assert!(check_text("id", wrong, 5).is_err(), "{wrong:?}");
        }
    }
}
